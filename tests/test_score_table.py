"""The score table: columns keep what they are; damage and nonsense are refused."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thresher import score_file, score_table
from thresher.coreset import Coreset
from thresher.errors import CorruptFileError, InputError, MissingFileError
from thresher.files import seal_of
from thresher.score_file import ScoreFile
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
    path = tmp_path / "s.parquet"
    pq.write_table(
        pa.table({"sample_id": [0, 1], "mine": [0.1, 0.2], "correctness": [1.0, 0.5], "aum[T=3]": [1.0, 0.5]}), path
    )
    ends = {name: column.hard_end for name, column in read_scores(path).columns.items()}
    assert ends == {"mine": "high", "correctness": "low", "aum[T=3]": "low"}


def test_a_text_in_a_table_of_another_tool_is_no_damage(tmp_path: Path, call: Any) -> None:
    path, core = tmp_path / "s.parquet", tmp_path / "c.parquet"
    columns = {"sample_id": range(9), "mine": np.arange(9.0), "file": list("abcdefghi"), "seen": [True] * 9}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InputError, match=r"numbers in the column file of .*, but got string\. Drop the column"):
        read_scores(path)
    wanted = ("select", path, "--method", "el2n", "--keep", 2, "--out", core, "--column")
    assert "column file" in call.refused(*wanted, "file")
    call(*wanted, "mine")  # which reads no other column
    assert Coreset.load(core).ids.tolist() == [7, 8]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([0, None], "target of 1 rows is missing"),
        ([0.0, 1.5], "target is no class.*truncated"),
        (["a", "b"], "target is no class.*parse string"),
    ],
)
def test_labels_of_other_tools_that_are_none_are_refused(tmp_path: Path, target: list[object], message: str) -> None:
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"sample_id": [0, 1], "target": pa.array(target), "mine": [0.1, 0.2]}), path)
    with pytest.raises(CorruptFileError, match=message):
        read_scores(path)
    with pytest.raises(CorruptFileError, match=message):
        list(ScoreFile.open(path).blocks("mine", labelled=True))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([0, 1], pa.timestamp("s")), r"numbers in the column mine of .*, but got timestamp\[.+\]\. Drop"),
        (pa.array(["a", "b"]), "numbers in the column mine of .*, but got string"),
        (pa.array([[0.5], [1.0]]), "numbers in the column mine of .*, but got list"),
        (pa.array([Decimal(10**60), None], pa.decimal256(70, 0)), r"32-bit numbers in the column mine.*, but got 1e\+60"),
        (pa.array([1e300, 0.0]), r"32-bit numbers in the column mine of .*, but got 1e\+300\. Scale"),
    ],
)
def test_scores_of_other_tools_that_are_none_are_refused(tmp_path: Path, column: pa.Array, message: str) -> None:
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"sample_id": [0, 1], "mine": column}), path)
    with pytest.raises(InputError, match=message):
        read_scores(path)
    with pytest.raises(InputError, match=message):
        list(ScoreFile.open(path).blocks("mine"))


def test_decimals_and_dictionaries_of_other_tools_are_numbers(tmp_path: Path) -> None:
    values, path = [0.5, 0.25, 0.5], tmp_path / "s.parquet"
    for column in (pa.array(values).cast(pa.decimal128(18, 6)), pa.array(values).dictionary_encode(), pa.array(values)):
        pq.write_table(pa.table({"mine": column, "sample_id": pa.array([0, 1, 2], pa.uint64())}), path)
        assert read_scores(path).columns["mine"].values.tolist() == values
        assert [block.values.tolist() for block in ScoreFile.open(path).blocks("mine")] == [values]


@pytest.mark.parametrize(
    "bad", [{}, {"sample_id": Scores(np.zeros(2))}, {"a": Scores(np.zeros(2)), "b": Scores(np.zeros(3))}]
)
def test_impossible_tables(tmp_path: Path, bad: dict[str, Scores]) -> None:
    with pytest.raises(InputError, match="Expected score columns"):
        write_scores(tmp_path / "s.parquet", bad)
    with pytest.raises(InputError, match=r"Expected thresher\.Scores in the column 'a', but got ndarray"):
        write_scores(tmp_path / "s.parquet", {"a": np.zeros(2)})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="Expected score columns"):
        write_scores(tmp_path / "s.parquet", {"a": Scores(np.zeros(2))}, np.zeros(3, dtype=np.int64))


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
    path.write_text("sample_id,el2n")
    with pytest.raises(CorruptFileError, match=r"s\.parquet is not a score table\..*from_frame"):
        read_scores(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyarrow.parquet.ParquetFile", Mock(side_effect=PermissionError(13, "not for you")))
        with pytest.raises(PermissionError, match="not for you"):
            read_scores(path)
    pq.write_table(pa.table({"sample_id": [1, 0], "mine": [0.1, 0.2]}), path)
    with pytest.raises(CorruptFileError, match="ascending"):
        read_scores(path)


def test_a_page_of_another_tool_is_compared_with_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    values = np.arange(1000) / 8
    pq.write_table(
        pa.table({"sample_id": np.arange(1000), "mine": values}), path,
        use_dictionary=False, compression="none", write_statistics=False, write_page_checksum=True,
    )  # fmt: skip
    assert {block.values.dtype for block in ScoreFile.open(path).blocks("mine")} == {np.dtype(np.float32)}
    content = path.read_bytes()
    page = values.tobytes()
    assert content.count(page) == 1
    changed = np.where(values == 64, 65, values).tobytes()
    path.write_bytes(content.replace(page, changed))
    with pytest.raises(CorruptFileError):
        read_scores(path)
    with pytest.raises(CorruptFileError):
        list(ScoreFile.open(path).blocks("mine"))


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, bytes]:
    """A table, and another of the same columns and length but other scores."""
    rng = np.random.default_rng(0)
    for name in ("one", "other"):
        columns = {"tdds": Scores(rng.random(40, dtype=np.float32), "high", {"scorer": "tdds", "at": 4})}
        write_scores(tmp_path / f"{name}.parquet", columns, np.arange(40) % 4, {"data": "digits"})
    return tmp_path / "one.parquet", (tmp_path / "other.parquet").read_bytes()


def test_sound_pages_in_the_place_of_others_are_seen(written: tuple[Path, bytes]) -> None:
    path, other = written
    mine = path.read_bytes()
    start = len(mine) - 8 - int.from_bytes(mine[-8:-4], "little")  # of the footer
    assert len(mine) == len(other)
    path.write_bytes(other[:start] + mine[start:])
    with pytest.raises(CorruptFileError, match="the values of tdds do not match their checksum"):
        read_scores(path)
    with pytest.raises(CorruptFileError, match="the values of tdds do not match their checksum"):
        list(ScoreFile.open(path).blocks("tdds"))


@pytest.mark.parametrize("key", [b"thresher", b"thresher.checksums"])
def test_a_lost_key_is_no_table_of_other_origin(key: bytes, written: tuple[Path, bytes]) -> None:
    path, _ = written
    content = path.read_bytes()
    marked = bytes([len(key)]) + key  # as the footer has it
    assert content.count(marked) == 1
    path.write_bytes(content.replace(marked, bytes([len(key)]) + key.replace(b"r", b"x", 1)))
    with pytest.raises(CorruptFileError, match="checksums"):
        read_scores(path)


def test_a_table_that_lost_all_metadata_is_no_table_of_other_origin(written: tuple[Path, bytes]) -> None:
    path, _ = written
    plain = pq.read_table(path).replace_schema_metadata(None)
    pq.write_table(
        plain, path, use_dictionary=False, column_encoding={"sample_id": "DELTA_BINARY_PACKED"}, compression="none"
    )
    with pytest.raises(CorruptFileError, match="its description is missing"):
        ScoreFile.open(path)
    content = path.read_bytes()
    assert content.count(b"parquet-cpp-arrow") == 1
    path.write_bytes(content.replace(b"parquet-cpp-arrow", b'{"format": 1, "c}'))  # a damaged footer named it so
    with pytest.raises(CorruptFileError, match="its description is missing"):
        ScoreFile.open(path)
    path.write_bytes(content.replace(b"parquet-cpp-arrow", b"another-tool-2026"))
    assert read_scores(path).n == 40
    pq.write_table(plain, path)
    assert read_scores(path).n == 40


def test_tables_without_checksums_are_read(tmp_path: Path) -> None:
    """Those of the first days, and of other programs."""
    path = tmp_path / "old.parquet"
    header = {"format": 1, "columns": {"tdds": {"hard_end": "high", "source": {"scorer": "tdds"}}}, "info": {}}
    table = pa.table({"sample_id": np.arange(3), "tdds": np.arange(3, dtype=np.float32)})
    pq.write_table(table.replace_schema_metadata({"thresher": json.dumps({**header, "seal": seal_of(header)})}), path)
    assert read_scores(path).columns["tdds"].values.tolist() == [0, 1, 2]
    assert [block.values.tolist() for block in ScoreFile.open(path).blocks("tdds")] == [[0, 1, 2]]


def test_checksums_go_by_row_group_whatever_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_table, "_GROUP", 10)
    monkeypatch.setattr(score_file, "_BATCH", 7)
    monkeypatch.setattr(score_file, "BLOCK", 3)
    values = np.arange(25, dtype=np.float32)
    write_scores(tmp_path / "s.parquet", {"tdds": Scores(values)})
    file = ScoreFile.open(tmp_path / "s.parquet")
    assert file.group_rows == (10, 10, 5)
    assert np.concatenate([block.values for block in file.blocks("tdds")]).tolist() == values.tolist()
    assert np.concatenate([block.values for block in file.blocks("tdds", first=1)]).tolist() == values[10:].tolist()
