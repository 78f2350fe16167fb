"""The score table's file: its layout, and reading it block by block, checked, without ever holding it.

`score_table` writes it and reads it whole.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from thresher.ahead import ahead
from thresher.arrow import begins_as_parquet, floats, labels, numbers, values_crc
from thresher.errors import CorruptFileError, InputError, MissingFileError, RunDirectoryError, of_the_system
from thresher.files import check_format, parse_json, seal_of
from thresher.places import as_place, fixed, for_arrow, is_remote
from thresher.ranking.blocks import BLOCK, GLIMPSE, GLIMPSES, MANY, Block
from thresher.registry import usual_end
from thresher.types import HardEnd

_BATCH = 1 << 18  # rows that are read at once
_BUFFER = 1 << 20  # bytes that are read at once; without, a column of a whole row group is
FORMAT = 1
KEY, SUMS = b"thresher", b"thresher.checksums"
"""What the file's metadata hold: the description of the columns, and the checksums of their values."""
FIXED = ("sample_id", "target")
"""The columns that are no scores."""
_OTHERS = (
    "If another tool wrote it: thresher.exchange.frames.from_frame takes rows in any order, and "
    "thresher.score_table.write_scores writes what it returns."
)
_ANEW = f"Move it away and score again. {_OTHERS}"


@dataclass(frozen=True)
class ScoreColumn:
    """Description of a score column: which end is hard, and its provenance."""

    hard_end: HardEnd
    source: Mapping[str, Any]


@dataclass(frozen=True)
class ScoreFile:
    """A score table on disk, without its scores: a description of its contents, and its rows, block by block.

    `group_rows` are the numbers of rows of its row groups, the smallest parts that a worker reads alone; `checksums` are
    those of the values of each group's columns, none in tables from other tools and in the earliest ones. `ours` says that
    the file was written by Thresher, judging by its metadata. `stamp` tells its content from another's.
    """

    path: Path
    n: int
    labelled: bool
    columns: Mapping[str, ScoreColumn]
    info: Mapping[str, Any]
    group_rows: tuple[int, ...]
    checksums: tuple[Mapping[str, int], ...] = ()
    ours: bool = False
    stamp: tuple[int, ...] = ()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> ScoreFile:
        """Read the description of the table at `path`, which may be a URL. Raises MissingFileError or CorruptFileError."""
        path = fixed(as_place(path))
        if not path.is_file():
            raise MissingFileError(f"Expected a score table at {path}, but there is none. Write one with `thresher score`.")
        with sound(path), for_arrow(path) as opened, pq.ParquetFile(opened) as file:
            names, metadata = file.schema_arrow.names, file.metadata
            told_of_file = metadata.metadata or {}
            header = parse_json(told_of_file.get(KEY, b"{}"))
            if KEY in told_of_file:
                check_format(path, header["format"], FORMAT)
            about = header.get("columns", {})
            if "sample_id" not in names:
                raise KeyError("it has no column sample_id")
            if header.get("seal", seal_of(header)) != seal_of(header) or (about and set(about) != set(names) - set(FIXED)):
                raise ValueError("the description of its columns was altered")
            columns = {}
            for name in names:
                if name not in FIXED:
                    told = about.get(name, {})
                    end = told.get("hard_end") or usual_end(name)
                    columns[name] = ScoreColumn(end, told.get("source", {"scorer": name}))
            rows = tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
            if sum(rows) != metadata.num_rows or (rows and min(rows) < 0):
                raise ValueError(f"it has row groups of {sum(rows)} rows, not {metadata.num_rows}")
            if not told_of_file.keys() & {KEY, SUMS} and _laid_out_by_us(metadata):
                raise ValueError("its description is missing")
            sums = _checksums(told_of_file, header, len(rows))
            n, labelled, info = metadata.num_rows, "target" in names, header.get("info", {})
            return cls(path, n, labelled, columns, info, rows, sums, bool(about), _stamp_of(file, path))

    def blocks(
        self, column: str, *, first: int = 0, stop: int | None = None, labelled: bool = False, checked: bool = True
    ) -> Iterator[Block]:
        """Yield the blocks of a score column in the row groups `first` to `stop - 1`, with labels if requested.

        `checked` also checks the sample id of every row and the checksums of all values. Raises CorruptFileError if the file
        is damaged, InputError if the column holds no numbers.
        """
        wanted = [*(["sample_id"] if checked else []), *(["target"] if labelled else []), column]
        stop = len(self.group_rows) if stop is None else stop
        start, hard_end = sum(self.group_rows[:first]), self.columns[column].hard_end
        with self._opened() as file:
            batches = file.iter_batches(_BATCH, row_groups=range(first, stop), columns=wanted, use_threads=False)
            if checked and self.checksums:
                sums = RunningSums(self, first, [name for name in wanted if name != "sample_id"])  # ids are known beforehand
                batches = map(sums.add, batches)  # in the thread that reads ahead
            for batch in ahead(batches):
                found = dict(zip(batch.schema.names, batch.columns, strict=True))
                values = floats(found[column], f"the column {column} of {self.path}")
                targets = labels(found["target"]) if labelled else None
                ids = numbers(found["sample_id"]) if checked else None
                for row in range(0, len(values), BLOCK):
                    rows = slice(row, row + BLOCK)
                    block = Block(start, values[rows], hard_end, None if targets is None else targets[rows])
                    start += len(block)
                    if ids is not None and not np.array_equal(ids[rows], np.arange(block.first, start)):
                        raise out_of_order(self.path, self.n)
                    yield block
        if start != sum(self.group_rows[:stop]):
            raise out_of_order(self.path, self.n)

    def glimpse(self, column: str) -> Iterator[Block]:
        """Yield a short block of a score column from the beginning of every so many row groups; none of a small file, of one
        with few row groups, or of one far away. Raises CorruptFileError if the file is damaged."""
        groups = len(self.group_rows)
        if self.n < MANY or groups < GLIMPSES // 2 or is_remote(self.path):
            return
        starts, hard_end = np.append(0, np.cumsum(self.group_rows)), self.columns[column].hard_end
        with self._opened() as file:
            for group in range(0, groups, -(-groups // GLIMPSES)):
                batch = next(file.iter_batches(GLIMPSE, row_groups=[group], columns=[column], use_threads=False), None)
                if batch is not None:
                    values = floats(batch.column(0), f"the column {column} of {self.path}")
                    yield Block(int(starts[group]), values, hard_end)

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        """Open the file to be read page by page, each checked. Raises RunDirectoryError if another one took its place since
        it was described: what is read several times must be the same each time."""
        with sound(self.path), for_arrow(self.path) as opened, pq.ParquetFile(
            opened, page_checksum_verification=True, buffer_size=_BUFFER, pre_buffer=False
        ) as file:  # fmt: skip
            if _stamp_of(file, self.path) != self.stamp:
                raise RunDirectoryError(f"{self.path} was replaced or written to while it was read. Read it again.")
            yield file


def _stamp_of(file: pq.ParquetFile, path: Path) -> tuple[int, ...]:
    """Return what tells a file from the one that takes its place: the checksums that it states, so that copies on several
    machines are the same file; of another tool's, which states none, size and time, if it is here."""
    stated = (file.metadata.metadata or {}).get(SUMS)
    if stated is not None:
        return (zlib.crc32(stated),)
    if is_remote(path):
        return ()
    about = path.stat()
    return about.st_size, about.st_mtime_ns


class RunningSums:
    """The checksums of some columns, batch by batch from row group `group` on, compared at the end of each group."""

    def __init__(self, file: ScoreFile, group: int, names: Sequence[str]) -> None:
        self._file, self._group, self._seen = file, group, 0
        self._sums = dict.fromkeys(names, 0)

    def add(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Add a batch, which may extend into the next group, and return it. Raises ValueError if values are not those that
        were written."""
        rest = batch
        while len(rest) and self._group < len(self._file.group_rows):
            left = self._file.group_rows[self._group] - self._seen
            part, rest = rest.slice(0, left), rest.slice(left)
            self._sums = {name: values_crc(pa.chunked_array([part.column(name)]), crc) for name, crc in self._sums.items()}
            self._seen += len(part)
            if self._seen == self._file.group_rows[self._group]:
                written = self._file.checksums[self._group]
                wrong = [name for name, crc in self._sums.items() if written.get(name) != crc]
                if wrong:
                    raise ValueError(f"the values of {wrong[0]} do not match their checksum")
                self._group, self._seen, self._sums = self._group + 1, 0, dict.fromkeys(self._sums, 0)
        return batch


def _laid_out_by_us(metadata: pq.FileMetaData) -> bool:
    """Return whether ids are encoded as by `write_score_parts`, which differs from Arrow's defaults."""
    chunks = [metadata.row_group(0).column(k) for k in range(metadata.num_columns)] if metadata.num_row_groups else []
    encodings = {encoding for chunk in chunks if chunk.path_in_schema == "sample_id" for encoding in chunk.encodings}
    writer = metadata.created_by or ""
    other = writer[:1].isalpha() and not writer.startswith("parquet-cpp-arrow")  # where its name was, anything may stand
    return not other and "DELTA_BINARY_PACKED" in encodings


def _checksums(metadata: Mapping[bytes, bytes], header: Mapping[str, Any], groups: int) -> tuple[Mapping[str, int], ...]:
    """Return the checksums in a file's metadata, or raise ValueError if they do not match its header."""
    if SUMS not in metadata:
        if header.get("checksums"):
            raise ValueError("its checksums are missing")
        return ()
    said = parse_json(metadata[SUMS])
    found = said["groups"]
    if said.get("seal") != seal_of(said) or said["of"] != seal_of(header) or len(found) != groups:
        raise ValueError("its checksums do not match the description of its columns")
    return tuple(found)


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """Turn what reading a damaged file may raise into one clear error."""
    try:
        yield
    except (CorruptFileError, InputError, RunDirectoryError):
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        if of_the_system(error):
            raise
        if not begins_as_parquet(as_place(path)):
            raise CorruptFileError(
                f"{path} is not a score table. Give one that `thresher score` wrote. {_OTHERS}"
            ) from error
        raise CorruptFileError(f"{path} is not a complete score table ({error}). {_ANEW}") from error


def out_of_order(path: Path, n: int) -> CorruptFileError:
    return CorruptFileError(f"Expected sample_id 0 to {n - 1}, ascending, in {path}. {_ANEW}")
