"""The score table: one Parquet file with a row per sample and a float32 column per score.

`sample_id` ascends from 0; `target` is present if known. The description of each column (direction, scorer, parameters,
epoch) is in the file's metadata, so that a table is enough to select from, as are the checksums of every column's values in
every row group: each page has its own checksum, but only these detect an intact page in another one's place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.arrays import as_labels, same_fields
from thresher.arrow import all_numbers, floats, labels, read_whole, table_of, values_crc
from thresher.errors import InputError
from thresher.files import json_ready, replacing, seal_of
from thresher.places import as_place, staged
from thresher.score_file import FIXED, FORMAT, KEY, SUMS, RunningSums, ScoreColumn, ScoreFile, out_of_order, sound
from thresher.types import Floats, Scores, check_scores

_GROUP = 1 << 20  # rows of a row group


@dataclass(frozen=True, eq=False, repr=False)
class ScoreTable:
    """A score table in memory: `columns` by name, `targets` (N,) int64 or None, `info` JSON-ready provenance."""

    n: int
    targets: NDArray[np.int64] | None
    columns: dict[str, Scores]
    info: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, ScoreTable) else NotImplemented

    def __repr__(self) -> str:
        labelled = "" if self.targets is None else " with targets"
        return f"<ScoreTable of {self.n} samples{labelled}: {', '.join(self.columns)}>"


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
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "scores.parquet"
    >>> write_scores(path, {"tdds": Scores(np.array([0.5, 0.25]))})
    >>> read_scores(path).columns["tdds"].values.tolist()
    [0.5, 0.25]
    """
    if not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in columns):
        more = ". Give its `columns`, and its `targets` and `info` if they are to be kept." * isinstance(columns, ScoreTable)
        raise InputError(f"Expected scores by column name, such as {{'tdds': scores}}, but got {columns!r}{more or '.'}")
    for name, scores in columns.items():
        check_scores(scores, f" in the column {name!r}")
    targets = None if targets is None else as_labels(targets)
    sizes = {len(scores.values) for scores in columns.values()} | ({len(targets)} if targets is not None else set())
    if len(sizes) != 1 or not columns or set(columns) & set(FIXED):
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
    header = {"format": FORMAT, "columns": about, "info": info, "checksums": True}
    header_seal = seal_of(header)
    metadata = json.dumps({**header, "seal": header_seal})
    fields = [("sample_id", pa.int64()), *([("target", pa.int64())] if labelled else [])]
    schema = pa.schema([*fields, *((name, pa.float32()) for name in columns)]).with_metadata({KEY: metadata.encode()})
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
            writer.add_key_value_metadata({SUMS: json.dumps({**said, "seal": seal_of(said)})})
        file.flush()
        os.fsync(file.fileno())
    return rows


def read_scores(path: str | os.PathLike[str]) -> ScoreTable:
    """Return the table at `path`.

    A table from another tool works too if it has `sample_id` = 0..N-1; its scores count as high = hard, except columns
    named after a scorer whose low scores are hard (`aum`, `correctness`). Raises MissingFileError or CorruptFileError,
    and InputError if another tool's table has a column that holds no numbers.
    """
    file = ScoreFile.open(path)
    with sound(file.path):
        table = read_whole(file.path.read_bytes())
        if file.checksums:
            sums = RunningSums(file, 0, table.column_names)
            for batch in table.to_batches():
                sums.add(batch)
        ids = all_numbers(table.column("sample_id"))
        columns = {
            name: Scores(floats(table.column(name), f"the column {name} of {file.path}"), told.hard_end, told.source)
            for name, told in file.columns.items()
        }
        targets = labels(table.column("target")) if file.labelled else None
    if not np.array_equal(ids, np.arange(len(ids))):
        raise out_of_order(file.path, len(ids))
    return ScoreTable(len(ids), targets, columns, file.info)
