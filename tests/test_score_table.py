"""The score table: columns keep what they are; damage and nonsense are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thresher.errors import CorruptFileError, InputError, MissingFileError
from thresher.score_table import read_scores, write_scores
from thresher.types import Scores


def columns() -> dict[str, Scores]:
    """Return two columns of opposite direction, one with a hole."""
    return {
        "tdds[K=10,T=30]": Scores(np.array([0.5, np.nan, 2.0]), "high", {"scorer": "tdds", "at": 30}),
        "aum": Scores(np.array([0.1, 0.2, -0.3]), "low", {"scorer": "aum"}),
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "scores.parquet"
    write_scores(path, columns(), np.array([2, 0, 1]), {"fingerprint": "f"})
    table = read_scores(path)
    assert (table.n, table.info) == (3, {"fingerprint": "f"})
    assert table.targets is not None
    assert table.targets.tolist() == [2, 0, 1]
    for name, scores in columns().items():
        found = table.columns[name]
        np.testing.assert_array_equal(found.values, scores.values)
        assert (found.hard_end, found.source) == (scores.hard_end, scores.source)


def test_the_schema_is_the_promised_one(tmp_path: Path) -> None:
    write_scores(tmp_path / "s.parquet", columns(), np.array([2, 0, 1]))
    schema = pq.read_schema(tmp_path / "s.parquet")
    assert schema.names == ["sample_id", "target", "tdds[K=10,T=30]", "aum"]
    assert [str(t) for t in schema.types] == ["int64", "int64", "float", "float"]


def test_tables_of_other_tools_work(tmp_path: Path) -> None:
    pq.write_table(pa.table({"sample_id": [0, 1], "mine": [0.1, 0.2]}), tmp_path / "s.parquet")
    assert read_scores(tmp_path / "s.parquet").columns["mine"].hard_end == "high"


@pytest.mark.parametrize(
    "bad", [{}, {"sample_id": Scores(np.zeros(2))}, {"a": Scores(np.zeros(2)), "b": Scores(np.zeros(3))}]
)
def test_impossible_tables(tmp_path: Path, bad: dict[str, Scores]) -> None:
    with pytest.raises(InputError, match="Expected score columns"):
        write_scores(tmp_path / "s.parquet", bad)


def test_damage_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    with pytest.raises(MissingFileError, match="thresher score"):
        read_scores(path)
    write_scores(path, columns())
    good = path.read_bytes()
    for bad in (b"", good[:40], good[:-9], b"PAR1" + bytes(50)):
        path.write_bytes(bad)
        with pytest.raises(CorruptFileError, match="not a complete score table"):
            read_scores(path)
    pq.write_table(pa.table({"sample_id": [1, 0], "mine": [0.1, 0.2]}), path)
    with pytest.raises(CorruptFileError, match="ascending"):
        read_scores(path)
