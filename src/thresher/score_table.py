"""The score table: one Parquet file with a row per sample and a float32 column per score.

`sample_id` ascends from 0; `target` is present if known. The description of each column (direction, scorer, parameters,
epoch) is in the file's metadata, so that a table is enough to select from, as are the checksums of every column's values in
every row group: each page has its own checksum, but only these detect an intact page in another one's place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.ahead import ahead
from thresher.arrow import begins_as_parquet, labels, numbers, read_whole, table_of, values_crc
from thresher.errors import CorruptFileError, InputError, MissingFileError
from thresher.files import json_ready, parse_json, replacing, seal_of
from thresher.places import as_place, fixed, for_arrow, staged
from thresher.ranking.blocks import BLOCK, Block
from thresher.registry import usual_end
from thresher.types import Floats, HardEnd, Scores, as_labels, check_scores

_GROUP = 1 << 20  # rows of a row group
_BATCH = 1 << 18  # rows that are read at once
_BUFFER = 1 << 20  # bytes that are read at once; without, a column of a whole row group is
_KEY, _SUMS = b"thresher", b"thresher.checksums"
_FIXED = ("sample_id", "target")


@dataclass(frozen=True)
class ScoreTable:
    """A score table in memory: `columns` by name, `targets` (N,) int64 or None, `info` JSON-ready provenance."""

    n: int
    targets: NDArray[np.int64] | None
    columns: dict[str, Scores]
    info: Mapping[str, Any] = field(default_factory=dict)


def write_scores(
    path: str | os.PathLike[str],
    columns: Mapping[str, Scores],
    targets: NDArray[np.int64] | None = None,
    info: Mapping[str, Any] | None = None,
) -> None:
    """Write a score table; an older one at `path` remains intact until the new one is safe.

    Raises InputError if a column is not Scores, the columns differ in length, none is given, or one has a reserved name;
    also for labels that are not integers, and provenance that JSON cannot hold.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scores.parquet"
    >>> write_scores(path, {"tdds": Scores(np.array([0.5, 0.25]))})
    >>> read_scores(path).columns["tdds"].values.tolist()
    [0.5, 0.25]
    """
    if not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in columns):
        raise InputError(f"Expected scores by column name, such as {{'tdds': scores}}, but got {columns!r}.")
    for name, scores in columns.items():
        check_scores(scores, f" in the column {name!r}")
    targets = None if targets is None else as_labels(targets)
    sizes = {len(scores.values) for scores in columns.values()} | ({len(targets)} if targets is not None else set())
    if len(sizes) != 1 or not columns or set(columns) & set(_FIXED):
        raise InputError(f"Expected score columns of one length under their own names, but got {list(columns)} of {sizes}.")
    about = {name: ScoreColumn(scores.hard_end, scores.source) for name, scores in columns.items()}
    write_score_parts(path, about, targets is not None, [({name: s.values for name, s in columns.items()}, targets)], info)


def write_score_parts(
    path: str | os.PathLike[str],
    columns: Mapping[str, ScoreColumn],
    labelled: bool,
    parts: Iterable[tuple[Mapping[str, Floats], NDArray[np.int64] | None]],
    info: Mapping[str, Any] | None = None,
) -> int:
    """Write a score table part by part, in id order, each with the values of every column and the labels.

    Returns the number of samples. An older table at `path` remains intact until the new one is safe.
    """
    sources = {name: {"hard_end": c.hard_end, "source": dict(c.source)} for name, c in columns.items()}
    about, info = json_ready(sources, "the sources of scores"), json_ready(info or {}, "a score table's info")
    header = {"format": 1, "columns": about, "info": info, "checksums": True}
    header_seal = seal_of(header)
    metadata = json.dumps({**header, "seal": header_seal})
    fields = [("sample_id", pa.int64()), *([("target", pa.int64())] if labelled else [])]
    schema = pa.schema([*fields, *((name, pa.float32()) for name in columns)]).with_metadata({_KEY: metadata.encode()})
    # Consecutive ids shrink to nothing, labels to their digits, and what scores hold cannot be compressed.
    encoding = {"sample_id": "DELTA_BINARY_PACKED"} | dict.fromkeys(columns, "PLAIN")
    options = {"compression": "none", "column_encoding": encoding, "write_page_checksum": True}
    rows = 0
    sums: list[dict[str, int]] = []

    def write(table: pa.Table) -> None:
        for first in range(0, max(1, len(table)), _GROUP):
            group = table.slice(first, _GROUP)
            sums.append({name: values_crc(group.column(name)) for name in schema.names})
            writer.write_table(group, row_group_size=_GROUP)

    with staged(as_place(path)) as local, replacing(local) as part, part.open("wb") as file:
        with pq.ParquetWriter(file, schema, use_dictionary=["target"] if labelled else False, **options) as writer:
            waiting: list[pa.Table] = []  # row groups do not depend on how the parts were cut
            for values, targets in parts:
                arrays = [np.asarray(values[name], dtype=np.float32) for name in columns]
                ids = np.arange(rows, rows + len(arrays[0]), dtype=np.int64)
                classes = [np.asarray(targets, dtype=np.int64)] if labelled else []
                waiting.append(table_of([ids, *classes, *arrays], schema))
                rows += len(ids)
                if sum(map(len, waiting)) >= _GROUP:
                    table = pa.concat_tables(waiting)
                    whole = len(table) - len(table) % _GROUP
                    write(table[:whole])
                    waiting = [table[whole:]]
            write(pa.concat_tables(waiting))
            said = {"groups": sums, "of": header_seal}
            writer.add_key_value_metadata({_SUMS: json.dumps({**said, "seal": seal_of(said)})})
        file.flush()
        os.fsync(file.fileno())
    return rows


def read_scores(path: str | os.PathLike[str]) -> ScoreTable:
    """Return the table at `path`.

    A table from another tool works too if it has `sample_id` = 0..N-1; its scores count as high = hard, except columns
    named after a scorer whose low scores are hard (`aum`, `correctness`). Raises MissingFileError or CorruptFileError.
    """
    file = ScoreFile.open(path)
    with _sound(file.path):
        table = read_whole(file.path.read_bytes())
        if file.checksums:
            sums = _Running(file, 0, table.column_names)
            for batch in table.to_batches():
                sums.add(batch)
        ids = table.column("sample_id").to_numpy()
        columns = {name: Scores(table.column(name).to_numpy(), c.hard_end, c.source) for name, c in file.columns.items()}
        targets = labels(table.column("target")) if file.labelled else None
    if not np.array_equal(ids, np.arange(len(ids))):
        raise _out_of_order(file.path, len(ids))
    return ScoreTable(len(ids), targets, columns, file.info)


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
    the file was written by Thresher, judging by its metadata.
    """

    path: Path
    n: int
    labelled: bool
    columns: Mapping[str, ScoreColumn]
    info: Mapping[str, Any]
    group_rows: tuple[int, ...]
    checksums: tuple[Mapping[str, int], ...] = ()
    ours: bool = False

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> ScoreFile:
        """Read the description of the table at `path`, which may be a URL. Raises MissingFileError or CorruptFileError."""
        path = fixed(as_place(path))
        if not path.is_file():
            raise MissingFileError(f"Expected a score table at {path}, but there is none. Write one with `thresher score`.")
        with _sound(path), pq.ParquetFile(for_arrow(path)) as file:
            names, metadata = file.schema_arrow.names, file.metadata
            told_of_file = metadata.metadata or {}
            header = parse_json(told_of_file.get(_KEY, b"{}"))
            about = header.get("columns", {})
            if "sample_id" not in names:
                raise KeyError("it has no column sample_id")
            if header.get("seal", seal_of(header)) != seal_of(header) or (about and set(about) != set(names) - set(_FIXED)):
                raise ValueError("the description of its columns was altered")
            columns = {}
            for name in names:
                if name not in _FIXED:
                    told = about.get(name, {})
                    end = told.get("hard_end") or usual_end(name)
                    columns[name] = ScoreColumn(end, told.get("source", {"scorer": name}))
            rows = tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
            if sum(rows) != metadata.num_rows or (rows and min(rows) < 0):
                raise ValueError(f"it has row groups of {sum(rows)} rows, not {metadata.num_rows}")
            if not told_of_file.keys() & {_KEY, _SUMS} and _laid_out_by_us(metadata):
                raise ValueError("its description is missing")
            sums = _checksums(told_of_file, header, len(rows))
            return cls(path, metadata.num_rows, "target" in names, columns, header.get("info", {}), rows, sums, bool(about))

    def blocks(
        self, column: str, *, first: int = 0, stop: int | None = None, labelled: bool = False, checked: bool = True
    ) -> Iterator[Block]:
        """Yield the blocks of a score column in the row groups `first` to `stop - 1`, with labels if requested.

        `checked` also checks the sample id of every row and the checksums of all values. Raises CorruptFileError if the file
        is damaged.
        """
        wanted = [*(["sample_id"] if checked else []), *(["target"] if labelled else []), column]
        stop = len(self.group_rows) if stop is None else stop
        start, hard_end = sum(self.group_rows[:first]), self.columns[column].hard_end
        with _sound(self.path), pq.ParquetFile(
            for_arrow(self.path), page_checksum_verification=True, buffer_size=_BUFFER, pre_buffer=False
        ) as file:  # fmt: skip
            batches = file.iter_batches(_BATCH, row_groups=range(first, stop), columns=wanted, use_threads=False)
            if checked and self.checksums:
                sums = _Running(self, first, [name for name in wanted if name != "sample_id"])  # ids are known beforehand
                batches = map(sums.add, batches)  # in the thread that reads ahead
            for batch in ahead(batches):
                found = dict(zip(batch.schema.names, batch.columns, strict=True))
                values = np.asarray(numbers(found[column]), dtype=np.float32)
                targets = labels(found["target"]) if labelled else None
                ids = numbers(found["sample_id"]) if checked else None
                for row in range(0, len(values), BLOCK):
                    rows = slice(row, row + BLOCK)
                    block = Block(start, values[rows], hard_end, None if targets is None else targets[rows])
                    start += len(block)
                    if ids is not None and not np.array_equal(ids[rows], np.arange(block.first, start)):
                        raise _out_of_order(self.path, self.n)
                    yield block
        if start != sum(self.group_rows[:stop]):
            raise _out_of_order(self.path, self.n)


class _Running:
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
    writer = metadata.created_by or "parquet-cpp-arrow"  # its name may be gone, too
    return writer.startswith("parquet-cpp-arrow") and "DELTA_BINARY_PACKED" in encodings


def _checksums(metadata: Mapping[bytes, bytes], header: Mapping[str, Any], groups: int) -> tuple[Mapping[str, int], ...]:
    """Return the checksums in a file's metadata, or raise ValueError if they do not match its header."""
    if _SUMS not in metadata:
        if header.get("checksums"):
            raise ValueError("its checksums are missing")
        return ()
    said = parse_json(metadata[_SUMS])
    found = said["groups"]
    if said.get("seal") != seal_of(said) or said["of"] != seal_of(header) or len(found) != groups:
        raise ValueError("its checksums do not match the description of its columns")
    return tuple(found)


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Turn what reading a damaged file may raise into one clear error."""
    try:
        yield
    except (CorruptFileError, PermissionError):
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        if not begins_as_parquet(as_place(path)):
            raise CorruptFileError(f"{path} is not a score table. Give one that `thresher score` wrote.") from error
        raise CorruptFileError(f"{path} is not a complete score table ({error}). Move it away and score again.") from error


def _out_of_order(path: Path, n: int) -> CorruptFileError:
    return CorruptFileError(f"Expected sample_id 0 to {n - 1}, ascending, in {path}. Move it away and score again.")
