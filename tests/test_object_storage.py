"""Stores, score tables and coresets at URLs: a `file://` one, and a real S3-compatible server that the test starts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thresher.coreset import Coreset
from thresher.errors import CorruptFileError, FingerprintError, InputError, MissingFileError, MissingPackageError
from thresher.places import as_place, is_remote
from thresher.replay import open_source
from thresher.score_table import read_scores
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame

N = 500
SIGNALS = ("change", "error_norm", "prob_margin")
METHODS = ("--method", "tdds,el2n,aum", "--window", "3")


def record(folder: Path) -> Path:
    """Write a store with holes and features."""
    info = {"data": "digits", "fingerprint": "f" * 16}
    with TrajectoryWriter.create(folder / "trajectory", N, 10, SIGNALS, bucket_size=100, info=info) as store:
        for epoch in range(12):
            rng = np.random.default_rng(epoch)
            ids = np.flatnonzero(rng.random(N) < 0.9) if epoch == 2 else np.arange(N)
            values = dict(zip(SIGNALS, rng.random((3, len(ids)), dtype=np.float32), strict=True))
            features = rng.random((N, 3), dtype=np.float32)
            store.append(Frame(epoch, ids, values, N), targets=np.arange(N) % 10, features=features)
    return folder / "trajectory"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Start an S3-compatible server and return its address."""
    pytest.importorskip("upath", reason="needs universal_pathlib: pip install 'thresher[s3]'")
    pytest.importorskip("s3fs", reason="needs s3fs: pip install 'thresher[s3]'")
    moto = pytest.importorskip("moto.server", reason="needs an S3 server: pip install 'moto[server]'")
    running = moto.ThreadedMotoServer(port=0)
    running.start()
    try:
        host, port = running.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        running.stop()


@pytest.fixture
def bucket(server: str, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of a bucket that holds a copy of the recording, `store`."""
    import s3fs

    for name, value in (
        ("AWS_ENDPOINT_URL", server), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    storage = s3fs.S3FileSystem()
    storage.mkdir("bucket")
    storage.put(str(recorded), "bucket/store", recursive=True)
    yield "s3://bucket"
    storage.rm("bucket", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_file_url_is_a_path(recorded: Path, tmp_path: Path, call: Any) -> None:
    call("score", recorded, *METHODS, "--out", tmp_path / "plain.parquet")
    out = tmp_path / "with space" / "scores.parquet"
    call("score", recorded.as_uri(), *METHODS, "--out", out.as_uri())
    assert out.read_bytes() == (tmp_path / "plain.parquet").read_bytes()
    call("select", out.as_uri(), "--keep", "0.2", "--out", (tmp_path / "kept.parquet").as_uri())
    assert len(Coreset.load((tmp_path / "kept.parquet").as_uri())) == 100


def test_a_file_url_of_more_than_a_path_is_no_other_file(tmp_path: Path) -> None:
    """What follows # and ? is no path to a URL, nor is what stands before the first slash: both named another file."""
    for name in ("a#b", "a?b", "a b", "a%20b", "#", "?"):
        assert as_place((tmp_path / name).as_uri()) == as_place(tmp_path / name) == tmp_path / name
        assert as_place(f"FILE://localhost{(tmp_path / name).as_uri().removeprefix('file://')}") == tmp_path / name
    for url in ("file:///data/a#b", "file:///data/a?b=1", "file:///data/a#", "file:///data/a?", "file://data/a", "file://"):
        with pytest.raises(InputError, match="with # as %23"):
            as_place(url)


def test_scoring_and_selecting_where_everything_is_in_a_bucket(
    bucket: str, recorded: Path, tmp_path: Path, call: Any
) -> None:
    local, remote = tmp_path / "scores.parquet", f"{bucket}/out/scores.parquet"
    call("score", recorded, *METHODS, "--out", local)
    call("score", f"{bucket}/store", *METHODS, "--out", remote)
    assert as_place(remote).read_bytes() == local.read_bytes()
    wanted, found = read_scores(local), read_scores(as_place(remote))
    np.testing.assert_array_equal(wanted.columns["tdds"].values, found.columns["tdds"].values)
    for method in ("tdds", "ccs:cutoff=0.1"):
        call("select", local, "--method", method, "--keep", "0.2", "--out", tmp_path / "kept.parquet")
        call("select", remote, "--method", method, "--keep", "0.2", "--out", f"{bucket}/out/kept.parquet")
        mine, theirs = Coreset.load(tmp_path / "kept.parquet"), Coreset.load(f"{bucket}/out/kept.parquet", "f" * 16, N)
        assert (mine.digest, mine.source) == (theirs.digest, theirs.source)
    assert as_place(f"{bucket}/out/kept.parquet.json").is_file()
    assert sorted(place.name for place in as_place(f"{bucket}/out").iterdir()) == [
        "kept.parquet", "kept.parquet.json", "scores.parquet",
    ]  # fmt: skip
    with pytest.raises(FingerprintError):
        Coreset.load(f"{bucket}/out/kept.parquet", fingerprint="other")


def test_several_processes_read_a_bucket(bucket: str, tmp_path: Path, recorded: Path, call: Any) -> None:
    call("score", recorded, *METHODS, "--out", tmp_path / "scores.parquet")
    out = f"{bucket}/many.parquet"
    call("score", f"{bucket}/store", *METHODS, "--out", out, "--engine", "processes", "--workers", 2)
    assert as_place(out).read_bytes() == (tmp_path / "scores.parquet").read_bytes()


def test_a_store_in_a_bucket_tells_what_the_local_one_does(bucket: str, recorded: Path) -> None:
    wanted, found = Trajectory.open(recorded), open_source(f"{bucket}/store")
    assert isinstance(found, Trajectory)
    found.verify()
    for name in ("targets", "features"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    for one, other in zip(wanted.frames(SIGNALS), found.frames(SIGNALS), strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.values["change"], other.values["change"])


def test_what_is_damaged_or_not_there_in_a_bucket_is_named(bucket: str, tmp_path: Path, call: Any) -> None:
    place = as_place(f"{bucket}/store/epoch=0011/bucket=002.parquet")
    good = place.read_bytes()
    place.write_bytes(good[:60] + bytes([good[60] ^ 1]) + good[61:])
    with pytest.raises(CorruptFileError, match=r"epoch=0011/bucket=002"):
        open_source(f"{bucket}/store").verify()  # type: ignore[attr-defined]
    place.unlink()
    assert "bucket=002" in call.refused("score", f"{bucket}/store", *METHODS, "--out", f"{bucket}/new.parquet")
    assert not as_place(f"{bucket}/new.parquet").exists()
    with pytest.raises(MissingFileError, match="nothing"):
        open_source(f"{bucket}/nothing")
    assert "nothing.parquet" in call.refused("select", f"{bucket}/nothing.parquet", "--keep", 5, "--out", tmp_path / "c")


def test_a_server_that_does_not_answer_is_told_in_one_line(bucket: str, tmp_path: Path, call: Any, monkeypatch: Any) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    line = call.refused("score", f"{bucket}/store", "--out", tmp_path / "scores.parquet")
    assert "object storage cannot be used" in line
    monkeypatch.undo()
    s3fs.S3FileSystem.clear_instance_cache()


def test_what_writes_here_takes_file_urls_and_refuses_others(
    bucket: str, recorded: Path, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept, scores = f"{bucket}/kept.parquet", tmp_path / "scores.parquet"
    call("score", recorded, "--method", "el2n", "--out", scores)
    call("select", scores, "--method", "el2n", "--keep", 5, "--out", kept)
    there = sorted(tmp_path.iterdir())
    for command in (
        ("record", "--epochs", 1, "--out", f"{bucket}/run"), ("train", "--coreset", kept, "--out", f"{bucket}/results"),
        ("export", kept, "--to", "csv", "--out", f"{bucket}/kept.csv"), ("reproduce", "table6", "--out", f"{bucket}/study"),
        ("suspects", f"{bucket}/store", "--out", f"{bucket}/suspects.csv"),
    ):  # fmt: skip
        said = call.refused(*command)
        assert f"Expected --out to be a path on this machine, but got {bucket}" in said
    assert f"Expected RUN to be a path on this machine, but got {bucket}" in call.refused("explore", bucket)
    for make in (TrajectoryWriter.create, lambda folder, *_: TrajectoryWriter.resume(folder)):
        for folder in (f"{bucket}/run", as_place(f"{bucket}/run")):
            with pytest.raises(InputError, match="a folder on this machine to record into"):
                make(folder, 4, 2, ["loss"])  # type: ignore[operator]
    assert sorted(tmp_path.iterdir()) == there
    call("export", kept, "--to", "csv", "--out", (tmp_path / "kept.csv").as_uri())
    assert len((tmp_path / "kept.csv").read_text().splitlines()) == 6
    with TrajectoryWriter.create((tmp_path / "made").as_uri(), 4, 2, ["loss"]) as store:
        assert store.folder == tmp_path / "made"


def test_a_coreset_in_a_bucket_is_trained_on(bucket: str, small_run: Path, tmp_path: Path, call: Any) -> None:
    here, there = tmp_path / "kept.parquet", f"{bucket}/kept.parquet"
    for out in (here, there):
        call("select", small_run / "scores.parquet", "--method", "random", "--keep", "0.05", "--out", out)
    accuracies = []
    for number, coreset in enumerate((here, there)):
        options, out = (
            ("--mislabel", "0.1:seed=0", "--model", "tiny", "--epochs", 1, "--jobs", 1),
            tmp_path / f"results{number}",
        )
        call("train", "--coreset", coreset, *options, "--out", out)
        accuracies += [json.loads(path.read_text())["test_accuracy"] for path in out.glob("*.json")]
    assert len(accuracies) == 2
    assert accuracies[0] == accuracies[1]


def test_urls_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not is_remote(as_place(tmp_path))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "upath", None)
        with pytest.raises(MissingPackageError, match=r"thresher\[s3\]"):
            as_place("s3://bucket/store")
        with pytest.raises(MissingPackageError, match=r"thresher\[gcs\]"):
            as_place("gs://bucket/store")
    pytest.importorskip("upath", reason="needs universal_pathlib: pip install 'thresher[s3]'")
    with pytest.raises(InputError, match="s3://bucket/name"):
        as_place("nosuch://bucket/store")
