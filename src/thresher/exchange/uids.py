"""DataComp's subset files: the uids of the kept samples, sorted, as .npy of pairs of unsigned 64-bit numbers.

A uid is a 128-bit number written as 32 hexadecimal digits; its halves are the fields of dtype "u8,u8" (the format that the
DataComp resharder and submissions use). Thresher's ids are positions, so the uids of the whole pool are needed too:
in a text file (one per line), a CSV or Parquet file with a column `uid`, or a .npy file of the same pairs, not sorted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thresher.coreset import Coreset
from thresher.errors import CorruptFileError, FingerprintError, InputError, MissingFileError, SampleIdError
from thresher.exchange.ids import collect, csv_rows, load_npy, npy_bytes
from thresher.exchange.place import write_new
from thresher.places import PathText, as_local
from thresher.types import Ids

PAIR = np.dtype("u8,u8")
Uids = np.ndarray[Any, np.dtype[np.void]]
_UID = re.compile("[0-9a-fA-F]{32}")  # int() would take 0x for digits, too


def parse_uids(texts: Sequence[str], where: str = "the uids") -> Uids:
    """Return (N,) "u8,u8" from uids in hexadecimal; raises InputError naming the first invalid one.

    >>> parse_uids(["139e4a9b22a614771f06c700a8ebe150"]).tolist()
    [(1413649363202610295, 2235693070683988304)]
    """
    pairs = np.empty(len(texts), dtype=PAIR)
    for row, text in enumerate(texts):
        text = text.strip()
        if not _UID.fullmatch(text):
            raise InputError(f"Expected uids of 32 hexadecimal digits in {where}, but row {row} is {text[:40]!r}.")
        pairs[row] = (int(text[:16], 16), int(text[16:], 16))
    return pairs


def read_pool(path: PathText) -> Uids:
    """Return the uids of a whole pool in the order of its sample ids, (N,) "u8,u8"; for formats see the module docstring."""
    path = as_local(path)
    if not path.is_file():
        raise MissingFileError(f"Expected the uids of the pool at {path}, but there is no such file.")
    if path.suffix == ".npy":
        return _pairs(path)
    if path.suffix == ".parquet":
        return parse_uids(_parquet_column(path), str(path))
    if path.suffix == ".csv":
        return parse_uids([row["uid"] for _, row in csv_rows(path, ("uid",))], str(path))
    try:
        return parse_uids(path.read_text(encoding="ascii").split(), str(path))
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"Expected one uid per line in {path}, but it is not text ({error.reason}).") from None


def write_uids(coreset: Coreset, pool: Uids, path: PathText, *, force: bool = False) -> None:
    """Write the subset file of a coreset; `pool` (N,) are the uids of all samples in the order of their ids.

    Raises FingerprintError if the pool has another number of samples, SampleIdError if a kept uid appears twice in the
    pool: readers of the file would keep both samples.
    """
    if len(pool) != coreset.n:
        raise FingerprintError(
            f"Expected the uids of the {coreset.n} samples that this coreset was selected from, but got {len(pool)}."
        )
    kept = np.sort(pool[coreset.ids])
    _check_once(kept, pool, np.argsort(pool))
    write_new(path, npy_bytes(kept), force)


def read_uids(path: PathText, pool: Uids) -> Coreset:
    """Return the coreset that a subset file lists, given the uids of the whole pool.

    Raises SampleIdError if a uid is not in the pool or appears twice in either, CorruptFileError if it is not a subset file.
    """
    path = as_local(path)
    wanted, order = _pairs(path), np.argsort(pool)
    place = np.searchsorted(pool[order], wanted).clip(0, max(len(pool) - 1, 0))
    foreign = np.flatnonzero(pool[order][place] != wanted) if len(pool) else np.arange(len(wanted))
    if len(foreign):
        high, low = wanted[foreign[0]].tolist()
        raise SampleIdError(
            f"Expected uids of the pool in {path}, but {len(foreign)} are not in it, the first {high:016x}{low:016x}."
        )
    _check_once(wanted, pool, order)
    return collect(order[place].astype(np.int64), len(pool), path)


def _check_once(wanted: Uids, pool: Uids, order: Ids) -> None:
    """Raise SampleIdError if a uid of `wanted` belongs to two samples of the pool, whose argsort is `order`."""
    ascending = pool[order]
    doubled = ascending[1:][ascending[1:] == ascending[:-1]]
    found = doubled[np.isin(doubled, wanted)]
    if len(found):
        high, low = found[0].tolist()
        raise SampleIdError(f"Expected every uid once in the pool, but two samples have {high:016x}{low:016x}.")


def _pairs(path: Path) -> Uids:
    array = load_npy(path)
    if array.dtype != PAIR or array.ndim != 1:
        raise CorruptFileError(f'Expected uids as (k,) of dtype "u8,u8" in {path}, but got {array.dtype} of {array.shape}.')
    return array


def _parquet_column(path: Path) -> list[str]:
    import pyarrow as pa

    from thresher.arrow import read_whole

    content = path.read_bytes()
    try:
        column = read_whole(content, ["uid"]).column("uid").cast(pa.string())
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise CorruptFileError(f"Expected a Parquet file with a column uid at {path}, but: {error}.") from None
    return [text or "" for text in column.to_pylist()]
