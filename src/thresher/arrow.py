"""NumPy arrays as Arrow columns and back, without what Arrow imports on the way, and checksums of columns.

If pandas is installed, `pyarrow.array` imports it to see whether it was given something of pandas, and `Array.to_numpy`
does too: 0.2 s of a command that takes less than one. Numbers need neither; their memory is taken as it is.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.arrays import narrow
from thresher.errors import InputError


def column(values: NDArray[Any]) -> pa.Array:
    """Return (M,) numbers as a column without nulls; NaN stays NaN. The memory is shared where it is contiguous and in
    this machine's byte order.

    >>> column(np.array([0.5, np.nan], dtype=np.float32)).to_pylist()
    [0.5, nan]
    >>> column(np.array([1, 2], dtype=">i8")).to_pylist()
    [1, 2]
    """
    packed = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))  # Arrow takes the bytes as they are
    return pa.Array.from_buffers(pa.from_numpy_dtype(packed.dtype), len(packed), [None, pa.py_buffer(packed)])


def table_of(columns: Sequence[NDArray[Any]], schema: pa.Schema) -> pa.Table:
    """Return a table of columns of numbers, in the order and of the types of the schema.

    >>> table_of([np.arange(2), np.ones(2, np.float32)], pa.schema([("id", pa.int64()), ("s", pa.float32())])).num_rows
    2
    """
    return pa.Table.from_arrays([column(values) for values in columns], schema=schema)


def numbers(values: pa.Array) -> NDArray[Any]:
    """Return a column of numbers as an array: read-only, without a copy if none is missing, else as Arrow converts it.

    `Array.to_numpy` gives the same, but imports pandas as well.

    >>> numbers(pa.array([0.5, 0.25], pa.float32())[1:]).tolist()
    [0.25]
    """
    if values.null_count or not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        converted: NDArray[Any] = values.to_numpy(zero_copy_only=False)
        return converted
    kind = "f" if pa.types.is_floating(values.type) else "i" if pa.types.is_signed_integer(values.type) else "u"
    dtype = np.dtype(f"{kind}{values.type.bit_width // 8}")
    if not len(values):
        return np.zeros(0, dtype)
    return np.frombuffer(values.buffers()[1], dtype, len(values), values.offset * dtype.itemsize)


def all_numbers(values: pa.ChunkedArray) -> NDArray[Any]:
    """Return a whole column of numbers as an array, as `numbers` gives those of each chunk: no copy of a single one.

    >>> all_numbers(pa.chunked_array([[0.5], [0.25, 1.0]], pa.float32())).tolist()
    [0.5, 0.25, 1.0]
    """
    parts = [numbers(chunk) for chunk in values.chunks] or [numbers(pa.nulls(0, values.type))]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def floats(values: pa.Array | pa.ChunkedArray, where: str) -> NDArray[np.float32]:
    """Return a column of scores as (M,) float32, the missing ones NaN, without a copy where they are. Raises InputError,
    which names it by `where`, for what are no numbers (dates are none) and for finite ones that float32 cannot hold.

    >>> floats(pa.array([0.5, None]), "the column el2n").tolist()
    [0.5, nan]
    """
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    fits = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
    if not any(fit(kind) for fit in fits):
        raise InputError(f"Expected numbers in {where}, but got {kind}. Drop the column or convert it.")
    found = all_numbers(values) if isinstance(values, pa.ChunkedArray) else numbers(values)
    made, lost = narrow(found, "float32")
    if lost:
        raise InputError(f"Expected 32-bit numbers in {where}, but got {lost}. Scale the column, or use ranks.")
    return made


def labels(values: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """Return a column of class labels as (M,) int64. Raises ValueError where one is missing or is no whole number.

    >>> labels(pa.array([0, 2], pa.int8())).tolist()
    [0, 2]
    """
    if values.null_count:
        raise ValueError(f"the target of {values.null_count} rows is missing")
    try:
        cast = values.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise ValueError(f"its target is no class number in every row: {error}") from error
    return numbers(cast) if isinstance(cast, pa.Array) else all_numbers(cast)


def read_whole(content: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Return what a Parquet file of this content holds, or some of its columns; a column that is not there is left out.

    Raises what Arrow raises for a damaged file. `pyarrow.parquet.read_table` would do the same in threads, which it does not
    wait for: a program that ends soon after may be aborted by them.
    """
    with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
        return file.read(columns, use_threads=False)


def begins_as_parquet(path: Path) -> bool:
    """Return whether the first bytes of a file, which may lie at a URL, are those of Parquet, whatever follows; so do those
    of an empty one, which was cut off."""
    with path.open("rb") as file:
        return file.read(4) in (b"PAR1", b"")


def values_crc(values: pa.ChunkedArray, crc: int = 0) -> int:
    """Return the CRC-32 of a column's numbers as they lie in memory, those of lists too, going on from `crc`.

    Missing ones, which no file of ours has, change it. Raises ValueError for what are no numbers of whole bytes.

    >>> values_crc(pa.chunked_array([column(np.zeros(2, np.float32))])) == zlib.crc32(bytes(8))
    True
    """
    for chunk in values.chunks:
        numbers = chunk.flatten() if pa.types.is_fixed_size_list(chunk.type) else chunk
        if not (pa.types.is_integer(numbers.type) or pa.types.is_floating(numbers.type)):
            raise ValueError(f"its values are {numbers.type}, not numbers")
        if numbers.null_count:
            crc = zlib.crc32(b"missing", crc)
        if len(numbers):
            size = numbers.type.bit_width // 8
            whole = memoryview(numbers.buffers()[1])
            crc = zlib.crc32(whole[numbers.offset * size : (numbers.offset + len(numbers)) * size], crc)
    return crc
