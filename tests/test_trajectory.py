"""The trajectory store: what is written is read, whatever the holes; damage is seen; a crash costs one epoch."""

from __future__ import annotations

import errno
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thresher.errors import (
    BusyError,
    CorruptFileError,
    InputError,
    MissingFileError,
    RunDirectoryError,
    SampleIdError,
    UnknownNameError,
)
from thresher.files import seal_of
from thresher.recorder import Recorder
from thresher.trajectory import opening
from thresher.trajectory import writer as writing
from thresher.trajectory.layout import load_manifest
from thresher.trajectory.opening import lock_store
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame

SIGNALS = ("change", "loss")


def frame(epoch: int, n: int, seen: np.ndarray[Any, Any] | None = None, seed: int = 0) -> Frame:
    """Return a random frame; `seen` (n,) bool says who was there. The change is NaN in epoch 0."""
    rng = np.random.default_rng([seed, epoch])
    ids = np.arange(n) if seen is None else np.flatnonzero(seen)
    values = {name: rng.normal(size=len(ids)).astype(np.float32) for name in SIGNALS}
    if epoch == 0:
        values["change"][:] = np.nan
    return Frame(epoch, ids.astype(np.int64), values, n)


def store(folder: Path, n: int = 10, epochs: int = 3, **options: Any) -> Path:
    """Write a store of complete epochs and return its folder."""
    with TrajectoryWriter.create(folder / "trajectory", n, 4, SIGNALS, bucket_size=4, **options) as writer:
        for epoch in range(epochs):
            writer.append(frame(epoch, n), targets=np.arange(n) % 4 if epoch == 0 else None)
    return folder / "trajectory"


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 40),
    bucket_size=st.integers(1, 50),
    holes=st.lists(st.floats(0, 1), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
)
def test_what_is_written_is_read(n: int, bucket_size: int, holes: list[float], seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "trajectory"
        rng = np.random.default_rng(seed)
        frames = []
        with TrajectoryWriter.create(folder, n, 3, SIGNALS, bucket_size=bucket_size) as writer:
            for epoch, share in enumerate(holes):
                frames.append(frame(epoch, n, rng.random(n) >= share, seed))
                writer.append(frames[-1])
        trajectory = Trajectory.open(folder)
        trajectory.verify()
        for wanted, found in zip(frames, trajectory.frames(SIGNALS), strict=True):
            assert (wanted.epoch, wanted.n, wanted.complete) == (found.epoch, found.n, found.complete)
            np.testing.assert_array_equal(wanted.ids, found.ids)
            for signal in SIGNALS:
                np.testing.assert_array_equal(wanted.values[signal], found.values[signal])


def test_what_comes_in_another_byte_order_is_read_as_the_same_numbers(tmp_path: Path) -> None:
    """Arrow takes the bytes of an array as they are, and labels turned round are large numbers, not errors."""
    ids, targets = np.arange(4).astype(">i8"), np.array([0, 1, 2, 1], ">i8")
    features = np.arange(8, dtype=">f4").reshape(4, 2)
    with TrajectoryWriter.create(tmp_path / "t", 4, 3, ["loss"], logits="float32") as store:
        frame = Frame(0, ids, {"loss": features[:, 0]}, 4)
        store.append(frame, np.ones((4, 3), ">f4"), targets=targets, features=features)
    opened = Trajectory.open(tmp_path / "t")
    np.testing.assert_array_equal(opened.targets, targets)
    np.testing.assert_array_equal(opened.features, features)
    (read,) = opened.frames(["loss"], 0, 1)
    np.testing.assert_array_equal(read.ids, ids)
    np.testing.assert_array_equal(read.values["loss"], features[:, 0])


def test_targets_features_logits_and_info_come_back(tmp_path: Path) -> None:
    features, logits = np.random.default_rng(0).normal(size=(2, 10, 4)).astype(np.float32)
    features[3] = np.nan
    with TrajectoryWriter.create(tmp_path / "t", 10, 4, SIGNALS, bucket_size=4, logits="float16", info={"a": [1]}) as writer:
        writer.append(frame(0, 10), logits, targets=np.arange(10) % 4, features=features)
    trajectory = Trajectory.open(tmp_path / "t")
    assert trajectory.targets is not None
    assert trajectory.features is not None
    assert trajectory.targets.tolist() == (np.arange(10) % 4).tolist()
    np.testing.assert_array_equal(trajectory.features, features)
    np.testing.assert_array_equal(trajectory.logits(0), logits.astype(np.float16).astype(np.float32))
    assert trajectory.info == {"a": [1]}


def test_any_engine_can_read_it(tmp_path: Path) -> None:
    import pyarrow.dataset as ds

    table = ds.dataset(sorted(store(tmp_path).glob("epoch=*/bucket=*.parquet"))).to_table(columns=["sample_id", "loss"])
    assert table.num_rows == 30


def test_unknown_targets_are_not_guessed(tmp_path: Path) -> None:
    with TrajectoryWriter.create(tmp_path / "t", 3, 4, SIGNALS) as writer:
        writer.append(frame(0, 3), targets=np.array([0, -1, 2]))
    assert Trajectory.open(tmp_path / "t").targets is None


def test_epochs_come_in_order_and_whole(tmp_path: Path) -> None:
    with TrajectoryWriter.create(tmp_path / "t", 3, 4, SIGNALS) as writer:
        with pytest.raises(InputError, match="Expected epoch 0"):
            writer.append(frame(1, 3))
        with pytest.raises(InputError, match="of 3 samples"):
            writer.append(frame(0, 4))
        with pytest.raises(InputError, match="logits"):
            writer.append(frame(0, 3), np.zeros((3, 4), dtype=np.float32))


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    with TrajectoryWriter.create(folder, 3, 4, SIGNALS):
        with pytest.raises(RunDirectoryError, match="another process"):
            TrajectoryWriter.resume(folder)
        with pytest.raises(RunDirectoryError, match="another process"):
            TrajectoryWriter.create(folder, 3, 4, SIGNALS)
    with pytest.raises(RunDirectoryError, match=r"already holds a recording.*TrajectoryWriter\.resume"):
        TrajectoryWriter.create(folder, 3, 4, SIGNALS)
    TrajectoryWriter.resume(folder).close()


def test_a_closed_store_is_left_to_others(tmp_path: Path) -> None:
    folder = store(tmp_path)
    closed = TrajectoryWriter.resume(folder)
    recorder = Recorder(10, 4, store=closed)
    state = recorder.state_dict()
    closed.close()
    closed.close()
    other = TrajectoryWriter.resume(folder)
    with pytest.raises(InputError, match=r"is closed.*resume"):
        closed.truncate(1)  # another is at work there
    with pytest.raises(InputError, match="is closed"), closed:
        pass
    with pytest.raises(InputError, match="is closed"):  # and not at the end of its first epoch
        Recorder(10, 4, store=closed)
    with pytest.raises(InputError, match="is closed"):
        recorder.load_state_dict({**state, "epoch": 3})
    assert other.epochs == Trajectory.open(folder).epochs == 3
    other.close()


def test_a_recording_is_what_replay_takes_to_a_type_checker_too() -> None:
    for name in ("targets", "features"):  # pyright refuses a cached property where a protocol has a property
        assert isinstance(inspect.getattr_static(Trajectory, name), property)


def test_a_crash_costs_the_unfinished_epoch_only(tmp_path: Path) -> None:
    folder = store(tmp_path)
    shutil.copytree(folder / "epoch=0002", folder / "epoch=0003")  # renamed, but the manifest was not reached
    (folder / "epoch=0004.part").mkdir()
    (folder / "targets.parquet.part").write_bytes(b"half")
    assert Trajectory.open(folder).epochs == 3
    with TrajectoryWriter.resume(folder) as writer:
        assert writer.epochs == 3
        assert sorted(p.name for p in folder.glob("*.part")) == []
        writer.append(frame(3, 10, seed=9))
    found = list(Trajectory.open(folder).frames(["loss"], 3))
    np.testing.assert_array_equal(found[0].values["loss"], frame(3, 10, seed=9).values["loss"])


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store(tmp_path)
    before = (folder / "manifest.json").read_bytes()
    with TrajectoryWriter.resume(folder) as writer:

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space left"):
                writer.append(frame(3, 10))
        assert (folder / "manifest.json").read_bytes() == before
        assert writer.epochs == 3
        writer.append(frame(3, 10))
    trajectory = Trajectory.open(folder)
    trajectory.verify()
    assert trajectory.epochs == 4


def test_truncate_goes_back(tmp_path: Path) -> None:
    folder = store(tmp_path, epochs=4)
    with TrajectoryWriter.resume(folder) as writer:
        features = np.ones((10, 2), dtype=np.float32)
        writer.append(frame(4, 10), features=features)
        writer.truncate(3)
        assert writer.epochs == 3
    trajectory = Trajectory.open(folder)
    trajectory.verify()
    assert trajectory.features is None
    assert sorted(p.name for p in folder.glob("epoch=*")) == ["epoch=0000", "epoch=0001", "epoch=0002"]


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99], ids=["empty", "half", "nearly whole"])
def test_truncated_files_are_seen(tmp_path: Path, keep: float) -> None:
    folder = store(tmp_path)
    path = folder / "epoch=0001" / "bucket=001.parquet"
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(CorruptFileError, match=r"bucket=001.*is damaged.*Restore it"):
        list(Trajectory.open(folder).frames(SIGNALS))


def test_every_flipped_byte_is_seen_by_verify_and_never_changes_a_value_in_silence(tmp_path: Path) -> None:
    folder = store(tmp_path)
    path = folder / "epoch=0001" / "bucket=000.parquet"
    good = path.read_bytes()
    wanted = next(Trajectory.open(folder).frames(SIGNALS, 1, 2))
    unseen = 0
    for position in range(0, len(good), 7):
        path.write_bytes(good[:position] + bytes([good[position] ^ 0x40]) + good[position + 1 :])
        with pytest.raises(CorruptFileError):
            Trajectory.open(folder).verify()
        try:
            found = next(Trajectory.open(folder).frames(SIGNALS, 1, 2))
        except CorruptFileError:
            continue
        unseen += 1  # a byte of the footer that reading does not need
        for name in SIGNALS:
            np.testing.assert_array_equal(found.values[name], wanted.values[name])
    assert unseen < len(good) / 7


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = store(tmp_path)
    (folder / "epoch=0001" / "bucket=002.parquet").unlink()
    with pytest.raises(MissingFileError, match=r"epoch=0001/bucket=002"):
        list(Trajectory.open(folder).frames(SIGNALS))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 99}'])
def test_a_broken_manifest_is_named(tmp_path: Path, content: str) -> None:
    folder = store(tmp_path)
    (folder / "manifest.json").write_text(content)
    with pytest.raises(CorruptFileError, match=r"manifest\.json"):
        Trajectory.open(folder)


def test_asking_for_what_is_not_there(tmp_path: Path) -> None:
    trajectory = Trajectory.open(store(tmp_path))
    with pytest.raises(UnknownNameError, match="no signal entropy"):
        list(trajectory.frames(["entropy"]))
    with pytest.raises(InputError, match="epochs within"):
        list(trajectory.frames(["loss"], 0, 4))
    with pytest.raises(InputError, match="no logits"):
        trajectory.logits(0)
    with pytest.raises(MissingFileError, match="no manifest"):
        Trajectory.open(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "arguments",
    [
        {"n": 0}, {"num_classes": 1}, {"signals": ["loss", "loss"]}, {"bucket_size": 0},
        {"n": 3.5}, {"n": "3"}, {"num_classes": 2.5}, {"logits": "float64"},
    ],
)  # fmt: skip
def test_impossible_stores(tmp_path: Path, arguments: dict[str, Any]) -> None:
    options = {"n": 3, "num_classes": 2, "signals": ["loss"], "bucket_size": 5} | arguments
    with pytest.raises(InputError, match="Expected"):
        TrajectoryWriter.create(tmp_path / "t", **options)


def test_the_manifest_is_plain_json(tmp_path: Path) -> None:
    folder = store(tmp_path)
    raw = json.loads((folder / "manifest.json").read_text())
    assert (raw["n"], raw["bucket_size"], len(raw["epochs"])) == (10, 4, 3)
    assert load_manifest(folder).signals == SIGNALS


def test_targets_and_features_are_replaced_with_the_epoch_or_not_at_all(tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "t"

    def parts(epoch: int) -> dict[str, Any]:
        return {"targets": np.full(10, epoch), "features": np.full((10, 2), epoch, dtype=np.float32)}

    with TrajectoryWriter.create(folder, 10, 9, SIGNALS) as writer:
        for epoch in range(3):
            writer.append(frame(epoch, 10), **parts(epoch))

        def crash(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("thresher.trajectory.layout.Manifest.save", crash)  # the last thing before it counts
            with pytest.raises(KeyboardInterrupt):
                writer.append(frame(3, 10), **parts(3))
    for _ in range(2):  # as it lies there, and after a resume
        kept = Trajectory.open(folder)
        kept.verify()
        assert kept.targets is not None
        assert kept.features is not None
        assert (kept.epochs, kept.targets[0], kept.features[0, 0]) == (3, 2, 2)
        TrajectoryWriter.resume(folder).close()
    assert len(list(folder.glob("targets*.parquet"))) == len(list(folder.glob("features*.parquet"))) == 1


def test_epochs_without_a_manifest_are_not_written_over(tmp_path: Path) -> None:
    folder = store(tmp_path)
    (folder / "manifest.json").unlink()
    before = {p: p.read_bytes() for p in folder.rglob("*.parquet")}
    with pytest.raises(RunDirectoryError, match=r"manifest\.json is missing"):
        TrajectoryWriter.create(folder, 10, 4, SIGNALS)
    assert {p: p.read_bytes() for p in folder.rglob("*.parquet")} == before


def test_what_is_left_of_a_store_that_was_killed_in_the_making_is_swept(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from thresher.trajectory.writer import TrajectoryWriter\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "TrajectoryWriter.create(Path(sys.argv[1]), 7, 3, ['error_norm'])\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == -signal.SIGKILL
    (tmp_path / "film.part").write_text("of somebody else")
    assert len(list(tmp_path.glob("manifest.json.*.part"))) == 1
    TrajectoryWriter.create(tmp_path, 7, 3, ["error_norm"]).close()
    assert [path.name for path in tmp_path.glob("*.part")] == ["film.part"]


@pytest.mark.parametrize(
    "name", ["\x00", "\ud800", "a" * 300, "../epoch=0000/bucket=000.parquet", "epoch=0000/bucket=000.parquet\n"]
)
def test_a_forged_manifest_cannot_name_other_files(tmp_path: Path, name: str) -> None:
    def change(raw: dict[str, Any]) -> None:
        raw["epochs"][0][0]["name"] = name

    forge(tmp_path, change)
    with pytest.raises(CorruptFileError, match="names a file that cannot belong to a store"):
        Trajectory.open(tmp_path)


def test_a_forged_number_of_classes_is_seen_in_the_logits(tmp_path: Path) -> None:
    forge(tmp_path, lambda raw: raw.update(num_classes=4))
    with pytest.raises(CorruptFileError, match="logits are of 3 classes, not 4"):
        Trajectory.open(tmp_path).logits(0)


def forge(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Make a store with logits, and change its manifest under a right seal."""
    with TrajectoryWriter.create(folder, 7, 3, SIGNALS, logits="float16") as store:
        store.append(frame(0, 7), np.zeros((7, 3), np.float32), targets=np.zeros(7, np.int64))
    raw = json.loads((folder / "manifest.json").read_text())
    del raw["seal"]
    change(raw)
    (folder / "manifest.json").write_text(json.dumps({**raw, "seal": seal_of(raw)}))


def test_a_writer_that_commits_while_another_resumes_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is swept away goes by the manifest as it is once the lock is held."""
    folder = store(tmp_path, epochs=1)
    older = TrajectoryWriter.resume(folder)

    def commit_and_end(place: Path) -> Any:
        older.append(frame(1, 10))
        older.close()
        return lock_store(place)

    monkeypatch.setattr(opening, "lock_store", commit_and_end)
    with TrajectoryWriter.resume(folder) as writer:
        assert writer.epochs == 2
    assert [len(found.ids) for found in Trajectory.open(folder).frames(["loss"])] == [10, 10]


def test_processes_that_were_forked_meanwhile_keep_no_store(tmp_path: Path, bystander: Callable[[], None]) -> None:
    """A loader's workers inherit the open lock file, and live on between epochs."""
    writer = TrajectoryWriter.create(tmp_path / "t", 10, 4, SIGNALS)
    with pytest.raises(BusyError, match="not closed"):
        TrajectoryWriter.resume(tmp_path / "t")
    bystander()
    writer.close()
    TrajectoryWriter.resume(tmp_path / "t").close()


def test_a_closed_store_takes_no_epoch(tmp_path: Path) -> None:
    """Another writer may have it by now."""
    with TrajectoryWriter.create(tmp_path / "t", 10, 4, SIGNALS) as writer:
        writer.append(frame(0, 10))
    with TrajectoryWriter.resume(tmp_path / "t") as other:
        (tmp_path / "t" / "epoch=0001.part").mkdir()  # what the other is at
        with pytest.raises(InputError, match="is closed"):
            writer.append(frame(1, 10))
        assert (tmp_path / "t" / "epoch=0001.part").exists()
        other.append(frame(1, 10))
    assert Trajectory.open(tmp_path / "t").epochs == 2


def test_a_store_stays_where_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with TrajectoryWriter.create("t", 10, 4, SIGNALS) as writer:
        writer.append(frame(0, 10))
        monkeypatch.chdir(tmp_path / "there")
        writer.append(frame(1, 10))
    assert Trajectory.open(tmp_path / "here" / "t").epochs == 2
    assert not list((tmp_path / "there").iterdir())


def test_resuming_what_is_no_store_or_cannot_be_swept_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingFileError):
        TrajectoryWriter.resume(tmp_path)
    assert not list(tmp_path.iterdir())
    folder = store(tmp_path)

    def gone(*_: object) -> None:
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "sweep", gone)
        with pytest.raises(OSError, match="gone") as kept:  # with its traceback, and so with all that was open
            TrajectoryWriter.resume(folder)
    TrajectoryWriter.resume(folder).close()
    assert kept.value is not None


def test_logits_where_a_bucket_has_no_rows(tmp_path: Path) -> None:
    seen = np.arange(10) < 3
    with TrajectoryWriter.create(tmp_path / "t", 10, 4, SIGNALS, bucket_size=4, logits="float32") as writer:
        writer.append(frame(0, 10, seen), np.ones((3, 4), np.float32))
    logits = Trajectory.open(tmp_path / "t").logits(0)
    assert (~np.isnan(logits).any(axis=1)).tolist() == seen.tolist()


def test_what_was_replaced_since_a_store_was_opened_is_not_called_damaged(tmp_path: Path) -> None:
    with TrajectoryWriter.create(tmp_path / "t", 10, 4, SIGNALS, bucket_size=4) as writer:
        writer.append(frame(0, 10), features=np.zeros((10, 3), np.float32))
        opened = [Trajectory.open(tmp_path / "t"), Trajectory.open(tmp_path / "t")]
        for found, epoch in zip(opened, (1, 2), strict=True):  # first its file is gone, then another one has its name
            writer.append(frame(epoch, 10), features=np.full((10, 3 + epoch), epoch, np.float32))
            with pytest.raises(RunDirectoryError, match=r"features\.parquet was replaced: .* Open it again"):
                _ = found.features
        part = Trajectory.open(tmp_path / "t").part(0, 2)
        writer.truncate(1)
        with pytest.raises(RunDirectoryError, match=r"continued or was cut back\. Open it again"):
            list(part.frames(["loss"]))
    (tmp_path / "t" / "epoch=0000" / "bucket=000.parquet").write_bytes(b"")
    with pytest.raises(CorruptFileError, match="is damaged"):
        list(Trajectory.open(tmp_path / "t").frames(["loss"]))


def test_a_store_is_verified_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TrajectoryWriter.create(tmp_path / "t", 10, 4, SIGNALS) as writer:
        writer.append(Frame(0, np.arange(10), {"loss": np.ones(10, np.float32)}, 10))
    monkeypatch.setattr("thresher.trajectory.layout._CHUNK", 100)
    monkeypatch.delattr(Path, "read_bytes")  # a file of all features need not fit the memory
    Trajectory.open(tmp_path / "t").verify()


@pytest.mark.parametrize("ids", [[3, 1, 0, 2], [0, 1, 1, 2], [-1, 0, 1, 2], [0, 1, 2, 10]])
def test_frames_with_other_ids_than_sorted_ones_are_refused(tmp_path: Path, ids: list[int]) -> None:
    values = {"loss": np.ones(4, np.float32)}
    with TrajectoryWriter.create(tmp_path / "t", 10, 4, SIGNALS, bucket_size=4) as writer:
        with pytest.raises(SampleIdError, match=r"sorted, unique ids in \[0, 10\), but the frame of epoch 0 has other ids"):
            writer.append(Frame(0, np.array(ids), values, 10))
        with pytest.raises(SampleIdError, match="sorted, unique ids"):
            writer.append(Frame(0, np.array(ids).astype(np.uint64), values, 10))  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"Expected 3 values, one per id, but loss has shape \(4,\)"):
            writer.append(Frame(0, np.arange(3), values, 10))
        writer.append(Frame(0, np.arange(4), values, 10))


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({"logits": np.zeros((7, 4), np.float32)}, r"logits of shape \(7, 3\), one row per id, but got \(7, 4\)"),
        ({"logits": np.zeros((6, 3), np.float32)}, r"logits of shape \(7, 3\)"),
        ({"targets": np.zeros(6, np.int64)}, r"7 integer targets, one per sample, but got int64 of shape \(6,\)"),
        ({"targets": np.zeros(7)}, r"7 integer targets, one per sample, but got float64"),
        ({"features": np.zeros((6, 2), np.float32)}, r"features of shape \(7, D\), one row per sample, but got \(6, 2\)"),
        ({"features": np.zeros(7, np.float32)}, r"features of shape \(7, D\)"),
    ],
)
def test_what_does_not_fit_the_samples_is_refused_and_the_epoch_may_come_again(
    tmp_path: Path, beside: dict[str, Any], message: str
) -> None:
    whole: dict[str, Any] = {"logits": np.zeros((7, 3), np.float32), "targets": np.zeros(7, np.int64)}
    with TrajectoryWriter.create(tmp_path / "t", 7, 3, SIGNALS, bucket_size=4, logits="float32") as writer:
        with pytest.raises(InputError, match=message):
            writer.append(frame(0, 7), **{**whole, **beside})
        writer.append(frame(0, 7), **whole)
    found = Trajectory.open(tmp_path / "t")
    found.verify()
    assert found.epochs == 1
    assert found.logits(0).shape == (7, 3)
    with pytest.raises(InputError, match=r"an epoch in \[0, 1\), but got 1"):
        found.logits(1)
