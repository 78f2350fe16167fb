"""The score table: one Parquet file with a row per sample and a float32 column per score.

`sample_id` ascends from 0; `target` is there where known. What each column is (direction, scorer, parameters, epoch) stands
in the file's metadata, so that a table is enough to select from.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from thresher.errors import CorruptFileError, InputError, MissingFileError
from thresher.files import write_atomic
from thresher.types import Scores

_KEY = b"thresher"
_FIXED = ("sample_id", "target")


@dataclass(frozen=True)
class ScoreTable:
    """A score table in memory: `columns` by name, `targets` (N,) int64 or None, `info` JSON-ready provenance."""

    n: int
    targets: NDArray[np.int64] | None
    columns: dict[str, Scores]
    info: Mapping[str, Any] = field(default_factory=dict)


def write_scores(
    path: Path,
    columns: Mapping[str, Scores],
    targets: NDArray[np.int64] | None = None,
    info: Mapping[str, Any] | None = None,
) -> None:
    """Write a score table; an older one at `path` stays intact until the new one is safe.

    Raises InputError where the columns differ in length, none is given, or one has a reserved name.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scores.parquet"
    >>> write_scores(path, {"tdds": Scores(np.array([0.5, 0.25]))})
    >>> read_scores(path).columns["tdds"].values.tolist()
    [0.5, 0.25]
    """
    sizes = {len(scores.values) for scores in columns.values()} | ({len(targets)} if targets is not None else set())
    if len(sizes) != 1 or not columns or set(columns) & set(_FIXED):
        raise InputError(f"Expected score columns of one length under their own names, but got {list(columns)} of {sizes}.")
    table: dict[str, pa.Array] = {"sample_id": pa.array(np.arange(sizes.pop(), dtype=np.int64))}
    if targets is not None:
        table["target"] = pa.array(np.asarray(targets, dtype=np.int64))
    table |= {name: pa.array(scores.values) for name, scores in columns.items()}
    about = {name: {"hard_end": s.hard_end, "source": dict(s.source)} for name, s in columns.items()}
    metadata = json.dumps({"format": 1, "columns": about, "info": dict(info or {})})
    buffer = io.BytesIO()
    pq.write_table(pa.table(table).replace_schema_metadata({_KEY: metadata.encode()}), buffer, write_page_checksum=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())


def read_scores(path: Path) -> ScoreTable:
    """Return the table at `path`.

    A table of another origin works too if it has `sample_id` = 0..N-1; its scores count as high = hard, but for a column
    named `aum`. Raises MissingFileError or CorruptFileError.
    """
    if not path.is_file():
        raise MissingFileError(f"Expected a score table at {path}, but there is none. Write one with `thresher score`.")
    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()), page_checksum_verification=True)
        header = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
        ids = table.column("sample_id").to_numpy()
        about = header.get("columns", {})
        columns = {
            name: Scores(
                table.column(name).to_numpy(),
                about.get(name, {}).get("hard_end", "low" if name == "aum" else "high"),
                about.get(name, {}).get("source", {"scorer": name}),
            )
            for name in table.column_names
            if name not in _FIXED
        }
        targets = table.column("target").to_numpy().astype(np.int64) if "target" in table.column_names else None
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise CorruptFileError(f"{path} is not a complete score table ({error}). Score again to replace it.") from error
    if not np.array_equal(ids, np.arange(len(ids))):
        raise CorruptFileError(f"Expected sample_id 0 to {len(ids) - 1}, ascending, in {path}. Score again to replace it.")
    return ScoreTable(len(ids), targets, columns, header.get("info", {}))
