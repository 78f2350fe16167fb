"""The coreset file: what goes in comes out, and nothing else ever does."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from thresher.coreset import Coreset
from thresher.coreset_file import _gathered, sidecar_path, write_coreset
from thresher.data import Indexed
from thresher.errors import CorruptFileError, FingerprintError, InputError, MissingFileError, SampleIdError
from thresher.exchange.ids import read_csv
from thresher.exchange.samples import sampler

SOURCE = {"method": "tdds", "keep": 0.3, "fingerprint": "abc", "epochs": [0, 90], "seed": 7, "params": {"window": 10}}


def small(weights: bool = False) -> Coreset:
    ids = np.array([0, 3, 4, 9])
    return Coreset(ids, np.array([1, 0.1, 2.5, -3], np.float32) if weights else None, 10, SOURCE)


def same(one: Coreset, other: Coreset) -> bool:
    if (one.weights is None) != (other.weights is None):
        return False
    equal = one.weights is None or one.weights.tobytes() == other.weights.tobytes()  # type: ignore[union-attr]
    return equal and np.array_equal(one.ids, other.ids) and one.n == other.n and one.source == other.source


@pytest.mark.parametrize("weights", [False, True])
def test_round_trip(tmp_path: Path, weights: bool) -> None:
    coreset, path = small(weights), tmp_path / "deep" / "er" / "core.parquet"
    coreset.save(path)
    loaded = Coreset.load(path)
    assert same(loaded, coreset)
    assert loaded.ids.dtype == np.int64
    assert loaded.digest == coreset.digest
    assert sorted(p.name for p in path.parent.iterdir()) == ["core.parquet", "core.parquet.json"]
    told = json.loads(sidecar_path(path).read_text())
    assert (told["n"], told["count"], told["source"]) == (10, 4, SOURCE)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_coreset_round_trips(tmp_path: Path, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 10**9))
    ids = sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=40)))
    number = st.floats(width=32, allow_nan=False, allow_infinity=False)
    weights = data.draw(st.none() | st.lists(number, min_size=len(ids), max_size=len(ids)))
    source = data.draw(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text(), max_size=3))
    coreset = Coreset(np.array(ids), None if weights is None else np.array(weights, np.float32), n, source)
    coreset.save(tmp_path / "core.parquet")
    assert same(Coreset.load(tmp_path / "core.parquet"), coreset)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 9])
def test_ids_that_come_in_chunks_are_all_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Row groups of four ids or more: the last one may be full, and chunks may be empty."""
    monkeypatch.setattr("thresher.coreset_file._GROUP", 4)
    ids, path = np.arange(count), tmp_path / "core.parquet"
    for size in (1, 2, 3, 4):
        chunks = [ids[first : first + size] for first in range(0, count, size)]
        assert write_coreset(path, 10, SOURCE, [chunks[0], ids[:0], *chunks[1:]]) == count
        assert same(Coreset.load(path), Coreset(ids, None, 10, SOURCE))


def test_each_chunk_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Mock(side_effect=len)
    monkeypatch.setattr("thresher.coreset_file.len", counted, raising=False)
    assert sum(map(len, _gathered([np.arange(5)] * 300))) == 1500
    assert counted.call_count == 300, "a selection of few samples from many has a chunk for each block that was read"


def test_a_folder_in_the_place_of_a_coreset_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    sidecar_path(tmp_path / "kept").write_text("of something else")
    with pytest.raises(IsADirectoryError, match=r"kept'$"):
        small().save(tmp_path / "kept")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "kept.json"]


def test_the_digest_tells_coresets_apart() -> None:
    others = [
        small(),
        small(True),
        Coreset(np.array([0, 3, 4, 8]), None, 10),
        Coreset(np.array([0, 3, 4]), None, 10),
        Coreset(np.array([0, 3, 4, 9]), np.ones(4, np.float32), 10),
    ]
    assert len({c.digest for c in others}) == len(others)
    assert small().digest == Coreset(np.array([0, 3, 4, 9], np.uint8), None, 10).digest


def test_a_later_change_of_the_callers_arrays_changes_nothing() -> None:
    ids, weights = np.array([1, 2]), np.ones(2, np.float32)
    coreset = Coreset(ids, weights, 3)
    ids[:], weights[:] = 0, 0
    assert coreset.ids.tolist() == [1, 2]
    assert coreset.weights is not None
    assert coreset.weights.tolist() == [1, 1]


# ---- use


def test_subset_keeps_ids_through_a_loader() -> None:
    full = Indexed(TensorDataset(torch.arange(10) * 11, torch.arange(10) % 2))
    seen: dict[int, int] = {}
    for ids, values, _ in DataLoader(small().subset(full), batch_size=3, shuffle=True):
        seen.update(zip(ids.tolist(), values.tolist(), strict=True))
    assert seen == {0: 0, 3: 33, 4: 44, 9: 99}


@pytest.mark.parametrize("size", [4, 9, 11])
def test_subset_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(FingerprintError, match="10 samples"):
        small().subset(TensorDataset(torch.zeros(size)))


@pytest.mark.parametrize("use", [lambda kept, data: kept.subset(data), sampler])
def test_a_stream_is_told_what_to_do(use: Any) -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(10))

    with pytest.raises(InputError, match=r"a length, .* but got Stream\. .* `coreset\.mask`"):
        use(small(), Stream())


def test_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "core.parquet"
    small().save(path)
    assert Coreset.load(path, fingerprint="abc").fingerprint == "abc"
    with pytest.raises(FingerprintError, match=r"fingerprint other.*abc"):
        Coreset.load(path, fingerprint="other")
    Coreset(np.array([1]), None, 10).save(path)
    assert Coreset.load(path, fingerprint="other").fingerprint is None


def test_a_coreset_is_at_a_path_with_all_that_it_says(tmp_path: Path) -> None:
    path, coreset = tmp_path / "core.parquet", small()
    coreset.save(path)
    assert coreset.is_at(path)
    assert not Coreset(np.array([0, 3, 4, 8]), None, 10, SOURCE).is_at(path)
    assert not Coreset(coreset.ids, None, 10, {**SOURCE, "seed": 8}).is_at(path)
    sidecar_path(path).unlink()
    assert not coreset.is_at(path)


# ---- what is refused


@pytest.mark.parametrize(
    "ids",
    [[3, 1], [1, 1], [-1, 2], [2, 10], [0.0, 1.0], [], [[1, 2]], [True, False], ["1"], 3, [2**63], [None]],
    ids=repr,
)
def test_bad_ids(ids: Any) -> None:
    with pytest.raises(SampleIdError):
        Coreset(np.array(ids), None, 10)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]], [1.0, np.nan], [1.0, np.inf]], ids=repr)
def test_bad_weights(weights: Any) -> None:
    with pytest.raises(InputError, match="weights"):
        Coreset(np.array([1, 2]), np.array(weights), 10)


def test_provenance_that_json_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="JSON-ready"):
        Coreset(np.array([1]), None, 10, {"model": object()}).save(tmp_path / "core.parquet")
    assert not any(tmp_path.iterdir())


def test_numpy_scalars_and_paths_in_provenance(tmp_path: Path) -> None:
    params = MappingProxyType({"window": np.int16(10)})
    source = {"keep": np.float64(0.5), "seed": np.int64(3), "file": Path("scores.parquet"), "params": params}
    Coreset(np.array([1]), None, 10, source).save(tmp_path / "core.parquet")
    assert Coreset.load(tmp_path / "core.parquet").source == {
        "keep": 0.5, "seed": 3, "file": "scores.parquet", "params": {"window": 10}
    }  # fmt: skip


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="thresher select"):
        Coreset.load(tmp_path / "core.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1"])
def test_what_was_cut_off(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "core.parquet").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"a complete coreset file .*[^.]\. Move it away and select again\.$"):
        Coreset.load(tmp_path / "core.parquet")


def test_a_list_of_ids_becomes_a_coreset_as_the_error_says(tmp_path: Path) -> None:
    (tmp_path / "kept.csv").write_text("sample_id\n1\n")
    with pytest.raises(CorruptFileError, match=r"kept\.csv is not a coreset file\. .*read_csv\(path, n\)\.save"):
        Coreset.load(tmp_path / "kept.csv")
    read_csv(tmp_path / "kept.csv", 3).save(tmp_path / "kept.parquet")
    assert Coreset.load(tmp_path / "kept.parquet", n=3).ids.tolist() == [1]


def test_another_parquet_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for info in ({}, {b"thresher": b"[]"}, {b"thresher": b"{}"}, {b"thresher": b'{"n": 5, "source": 3}'}):
        table = pa.table({"sample_id": pa.array([1, 2])}).replace_schema_metadata(info)
        pq.write_table(table, tmp_path / "core.parquet")
        with pytest.raises(CorruptFileError):
            Coreset.load(tmp_path / "core.parquet")


# ---- damage


def test_flipped_bytes(tmp_path: Path) -> None:
    coreset, path = small(True), tmp_path / "core.parquet"
    coreset.save(path)
    raw = path.read_bytes()
    for position in range(0, len(raw), 3):
        damaged = bytearray(raw)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            assert same(Coreset.load(path), coreset), position
        except CorruptFileError:
            continue


def test_truncated(tmp_path: Path) -> None:
    path = tmp_path / "core.parquet"
    small().save(path)
    raw = path.read_bytes()
    for length in range(0, len(raw), 7):
        path.write_bytes(raw[:length])
        with pytest.raises(CorruptFileError):
            Coreset.load(path)


def test_altered_ids_with_a_good_parquet_checksum(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "core.parquet"
    small().save(path)
    table = pq.read_table(path)
    other = table.set_column(0, "sample_id", pa.array([0, 3, 4, 8])).replace_schema_metadata(table.schema.metadata)
    pq.write_table(other, path)
    with pytest.raises(CorruptFileError, match="checksum"):
        Coreset.load(path)


def test_a_sidecar_that_disagrees(tmp_path: Path) -> None:
    path = tmp_path / "core.parquet"
    small().save(path)
    sidecar = sidecar_path(path)
    told = json.loads(sidecar.read_text())
    for text in (json.dumps({**told, "n": 11}), json.dumps({**told, "source": {}}), "{}", "not json", "", "\xff"):
        sidecar.write_text(text, encoding="latin1")
        with pytest.raises(CorruptFileError):
            Coreset.load(path)
    sidecar.unlink()
    assert same(Coreset.load(path), small())  # the Parquet file alone is whole


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "core.parquet"
    small().save(path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Coreset(np.array([1]), None, 10).save(path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert same(Coreset.load(path), small())


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_a_crash_between_the_two_files_leaves_a_whole_coreset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / "core.parquet"
    small().save(path)
    new, replace = Coreset(np.array([1]), None, 10), os.replace

    def crash(source: Any, target: Any) -> None:
        if Path(target).suffix == suffix:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        new.save(path)
    assert same(Coreset.load(path), small() if suffix == ".parquet" else new)
    assert {p.name for p in tmp_path.iterdir()} <= {path.name, path.name + ".json"}


def test_an_upload_that_ends_between_the_two_files_leaves_a_whole_coreset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, new = tmp_path / "core.parquet", Coreset(np.array([1]), None, 10)
    small().save(path)

    def send(local: Path, place: Path) -> None:
        if place.suffix == ".json":
            raise ConnectionError("gone")
        shutil.copy(local, place)

    monkeypatch.setattr("thresher.coreset_file.is_remote", lambda place: place == path)
    monkeypatch.setattr("thresher.coreset_file.send", send)
    with pytest.raises(ConnectionError):
        new.save(path)
    assert same(Coreset.load(path), new)
