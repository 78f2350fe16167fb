"""Parquet files of a store, written in pieces, and the rows of many ranks as pieces in id order."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.arrays import as_whole_array, narrow
from thresher.arrow import column, values_crc
from thresher.errors import InputError, SampleIdError
from thresher.ranks import Ranks
from thresher.ranks.owners import Owners
from thresher.trajectory.layout import FileEntry, entry_of
from thresher.types import Frame, Ids

_BYTES = 32 << 20  # of a piece that travels


def write(path: Path, name: str, pieces: Iterable[dict[str, pa.Array]]) -> FileEntry:
    """Write one Parquet file, one row group per piece, sync it to disk and return its entry. Needs at least one piece."""
    rest = iter(pieces)
    piece = next(rest)
    schema, rows, crcs = pa.table(piece).schema, 0, dict.fromkeys(piece, 0)
    # Floats hardly compress and are read often, so they lie there as they are; sorted ids shrink to nearly nothing.
    options: dict[str, Any] = {
        "compression": "none", "use_dictionary": False, "write_statistics": False, "write_page_checksum": True,
        "column_encoding": {"sample_id": "DELTA_BINARY_PACKED"},
    }  # fmt: skip
    try:
        with pa.OSFile(os.fsencode(path), "wb") as opened, pq.ParquetWriter(opened, schema, **options) as writer:
            for columns in itertools.chain([piece], rest):
                table = pa.table(columns)
                writer.write_table(table)
                rows += table.num_rows
                crcs = {name: values_crc(table.column(name), crcs[name]) for name in crcs}
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return entry_of(path, name, rows, crcs)


def check_arrays(frame: object, beside: Mapping[str, object]) -> None:
    """Raise InputError unless `frame` is a Frame of NumPy arrays, and each value of `beside` is such an array or None."""
    if not isinstance(frame, Frame):
        raise InputError(f"Expected a thresher.Frame to append, but got {type(frame).__name__}.")
    named = {"ids": frame.ids, **frame.values, **{name: array for name, array in beside.items() if array is not None}}
    for name, array in named.items():
        if not isinstance(array, np.ndarray):
            raise InputError(
                f"Expected the {name} of an epoch as a NumPy array, but got {type(array).__name__}. Convert it: "
                "np.asarray(values), or tensor.cpu().numpy()."
            )
        as_whole_array(array, f"the {name} of an epoch")
        kinds, wanted = ("iu", "integers") if name == "ids" else ("fiub", "real numbers")
        if array.dtype.kind not in kinds:
            raise InputError(f"Expected {wanted} as the {name} of an epoch, but got {array.dtype}.")


def check_rows(frame: Frame, span: tuple[int, int]) -> None:
    """Raise SampleIdError unless a frame's ids ascend within `span`, InputError for values that do not fit them."""
    ids, (first, end) = frame.ids, span
    ascend = (ids[1:] > ids[:-1]).all()  # their differences, where they are unsigned, are never below 0
    if len(ids) and (ids[0] < first or ids[-1] >= end or not ascend):
        raise SampleIdError(
            f"Expected sorted, unique ids in [{first}, {end}), but the frame of epoch {frame.epoch} has other ids."
        )
    wrong = [name for name, values in frame.values.items() if values.shape != ids.shape]
    if wrong:
        raise InputError(f"Expected {len(ids)} values, one per id, but {wrong[0]} has shape {frame.values[wrong[0]].shape}.")


def check_beside(
    logits: NDArray[Any] | None,
    targets: NDArray[Any] | None,
    features: NDArray[Any] | None,
    rows: int,
    own: int,
    classes: int,
) -> None:
    """Raise InputError for logits that do not match a frame's `rows`, or targets and features not of all `own` samples.

    Readers would call such files damaged, or take their values for those of other samples.
    """
    if logits is not None and logits.shape != (rows, classes):
        raise InputError(f"Expected logits of shape {(rows, classes)}, one row per id, but got {logits.shape}.")
    if targets is not None and (targets.shape != (own,) or targets.dtype.kind not in "iu"):
        raise InputError(
            f"Expected {own} integer targets, one per sample, but got {targets.dtype} of shape {targets.shape}. Use -1 for "
            "unknown ones."
        )
    if features is not None and (features.ndim != 2 or len(features) != own):
        raise InputError(f"Expected features of shape ({own}, D), one row per sample, but got {features.shape}.")


def narrowed(values: NDArray[Any], dtype: str, what: str) -> NDArray[Any]:
    """Return values in the dtype in which they are stored, without a copy where they are. Raises InputError, in which they
    are called `what`, where that makes a finite one infinite."""
    made, lost = narrow(values, dtype)
    if lost:
        wide = ": create the store with logits='float32'" if dtype == "float16" else ""
        raise InputError(f"Expected {what} that {dtype} can hold, but got {lost}. Scale them{wide}.")
    return made


def gathered(ranks: Ranks, owners: Owners, rows: NDArray[Any]) -> Iterator[tuple[Ids, NDArray[Any]]]:
    """Collect the rows of all samples on rank 0, piece by piece: yields ids and their rows there, empty arrays elsewhere.

    `rows` (n, ...) are those of the samples that this rank owns. Every rank must consume all pieces.
    """
    width = rows.itemsize * int(np.prod(rows.shape[1:], dtype=np.int64))
    step = owners.n if ranks.size == 1 else max(1, _BYTES // max(1, width))
    for rank in range(ranks.size):
        first, end = owners.span(rank)
        for low in range(first, end, step):
            high = min(end, low + step)
            mine = rows[low - first : high - first] if rank == ranks.rank else rows[:0]
            came, _ = ranks.exchange(mine, [len(mine), *[0] * (ranks.size - 1)])
            yield np.arange(low, low + len(came)), came


def matrix(values: NDArray[Any]) -> pa.Array:
    """Return (M, D) values as a column of fixed-size lists."""
    return pa.FixedSizeListArray.from_arrays(column(np.ascontiguousarray(values).reshape(-1)), values.shape[1])
