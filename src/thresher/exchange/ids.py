"""The ids of a coreset as CSV or NPY. (For Parquet, use the coreset's own file, which any engine reads: `Coreset.save`.)

    CSV   the header `sample_id`, then `weight` if there are weights and `path` if files are known; one line per
                sample, ids ascending
    NPY   (k,) int64, ids ascending

Neither says which data set it belongs to, so reading one takes the number of samples.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thresher.arrays import narrow
from thresher.coreset import Coreset
from thresher.errors import CorruptFileError, InputError, MissingFileError, SampleIdError
from thresher.exchange.place import write_new
from thresher.places import PathText, as_local
from thresher.trajectory.npy import read_header
from thresher.types import Floats, Ids

_LARGEST = float(np.finfo(np.float32).max)


def write_csv(coreset: Coreset, path: PathText, *, force: bool = False, name: Callable[[int], str] | None = None) -> None:
    """Write ids (and weights) as CSV; `name` returns the file of a sample for a column `path`.

    Raises RunDirectoryError if `path` exists and `force` is not given.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "kept.csv"
    >>> write_csv(Coreset(np.array([1, 4]), None, 10), path)
    >>> path.read_text().split()
    ['sample_id', '1', '4']
    """
    weights = coreset.weights
    lines = ["sample_id" if weights is None else "sample_id,weight"]
    ids = coreset.ids.tolist()
    if weights is None:
        lines += map(str, ids)
    else:  # str of a float32, not of the float64 next to it: the shortest text that gives the same bits back
        lines += [f"{i},{w}" for i, w in zip(ids, weights.astype(str), strict=True)]
    if name is not None:
        lines = [f"{line},{quoted(file)}" for line, file in zip(lines, ["path", *map(name, ids)], strict=True)]
    write_new(path, ("\n".join(lines) + "\n").encode(), force)


def quoted(*fields: str) -> str:
    """Return fields as a line of a CSV file, without its end.

    >>> quoted("train/cat/1.png"), quoted("train/a,b/1.png", "7")
    ('train/cat/1.png', '"train/a,b/1.png",7')
    """
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(fields)  # what may end a line is quoted, and no more
    return buffer.getvalue().removesuffix("\r\n")


def read_csv(path: PathText, n: int, source: Mapping[str, Any] | None = None) -> Coreset:
    """Return the coreset of a data set of `n` samples that a CSV file lists; other columns are ignored.

    Raises MissingFileError, CorruptFileError (missing columns, an invalid line) or SampleIdError (out of range, duplicated).
    """
    path, ids, weights = as_local(path), [], []
    for number, row in csv_rows(path, ("sample_id",)):
        ids.append(whole_number(row["sample_id"], path, number))
        if "weight" in row:
            weights.append(real_number(row["weight"], path, number))
    return _coreset(np.array(ids, dtype=np.int64), np.array(weights, np.float32) if weights else None, n, path, source)


def write_npy(coreset: Coreset, path: PathText, *, force: bool = False) -> None:
    """Write the ids as (k,) int64, without weights. Raises RunDirectoryError if `path` exists and `force` is not given."""
    write_new(path, npy_bytes(coreset.ids), force)


def read_npy(path: PathText, n: int, source: Mapping[str, Any] | None = None) -> Coreset:
    """Return the coreset of a data set of `n` samples from a .npy file of ids or of a mask (n,) bool.

    Raises MissingFileError, CorruptFileError (truncated, not a .npy file, pickled objects) or SampleIdError.
    """
    path = as_local(path)
    array = load_npy(path)
    if array.dtype == np.bool_ and array.shape == (n,):
        array = np.flatnonzero(array)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise SampleIdError(f"Expected (k,) integer ids in {path}, but got {array.dtype} of shape {array.shape}.")
    return _coreset(array.astype(np.int64), None, n, path, source)


def load_npy(path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the array of a .npy file; pickled objects are refused, as is a file whose size does not match its header."""
    found = read_header(path)
    return np.fromfile(path, found.dtype, int(np.prod(found.shape)), offset=found.offset).reshape(found.shape)


def npy_bytes(array: np.ndarray[Any, np.dtype[Any]]) -> bytes:
    """Return what `np.save` would write."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def csv_rows(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, fields by name) of a CSV file with these columns; raises MissingFileError or CorruptFileError."""
    if not path.is_file():
        raise MissingFileError(f"Expected a CSV file at {path}, but there is none.")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]  # "sample_id, weight" has weights, too
            if not set(needed) <= set(header) or len(set(header)) != len(header):
                told = ",".join(header)[:80]
                raise CorruptFileError(
                    f"Expected the columns {', '.join(needed)} in {path}, but its first line is {told!r}."
                )
            for row in reader:
                if len(row) != len(header):
                    raise _bad_line(
                        path, reader.line_num, f"it has {len(row)} of {len(header)} fields (is the file truncated?)"
                    )
                yield reader.line_num, dict(zip(header, row, strict=True))
        except csv.Error as error:
            raise _bad_line(path, reader.line_num, str(error)) from None
        except UnicodeDecodeError as error:  # in what was read ahead of the reader
            ahead = error.object[: error.start].count(b"\n")
            raise _bad_line(path, reader.line_num + 1 + ahead, str(error)) from None


def whole_number(text: str, path: Path, line: int) -> int:
    """Return a sample id, or raise CorruptFileError naming file and line."""
    if not text.strip().isascii() or not text.strip().isdigit() or len(text.strip()) > 18:
        raise _bad_line(path, line, f"{text[:40]!r} is not a sample id (a position in the data set, from 0)")
    return int(text)


def real_number(text: str, path: Path, line: int) -> float:
    """Return a number that is finite in float32 too, or raise CorruptFileError naming file and line."""
    try:
        value = float(text) if "_" not in text else np.nan  # to Python 1_0 is ten
    except ValueError:
        value = np.nan
    if not abs(value) <= _LARGEST:
        raise _bad_line(path, line, f"{text[:40]!r} is not a finite 32-bit number")
    return value


def single(values: np.ndarray[Any, np.dtype[Any]], where: str) -> Floats:
    """Return numbers as float32, or raise InputError if that would make a finite one infinite.

    >>> single(np.array([0.5, np.inf]), "a column").tolist()
    [0.5, inf]
    """
    made, lost = narrow(values, "float32")
    if lost:
        raise InputError(f"Expected 32-bit numbers in {where}, but got {lost}. Scale them, or use ranks.")
    return made


def _bad_line(path: Path, line: int, why: str) -> CorruptFileError:
    return CorruptFileError(f"{path}, line {line}, cannot be read: {why}. Write the file again.")


def _coreset(ids: Ids, weights: Any, n: int, path: Path, source: Mapping[str, Any] | None) -> Coreset:
    if not len(ids):
        raise SampleIdError(f"Expected at least one sample in {path}, but it lists none.")
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    twice = ids[1:][np.diff(ids) == 0]
    if len(twice):
        raise SampleIdError(f"Expected every sample once in {path}, but {int(twice[0])} appears more than once.")
    if ids[0] < 0 or ids[-1] >= n:
        raise SampleIdError(
            f"Expected ids in [0, {n}) in {path}, but they span {ids[0]} to {ids[-1]}: it belongs to another data set, or "
            "its ids are not positions."
        )
    return Coreset(ids, None if weights is None else weights[order], n, source or {"file": path.name})


def collect(ids: Ids, n: int, path: Path) -> Coreset:
    """Return the coreset of ids that a file lists in any order, checked as in `read_csv`."""
    return _coreset(ids, None, n, path, None)
