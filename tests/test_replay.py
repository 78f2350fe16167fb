"""Replay gives exactly the live scores, a grid is one pass, and unread epochs provably do not matter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from thresher import signals
from thresher.errors import InputError, MissingFileError, TooFewEpochsError, UnknownNameError
from thresher.recorder import Recorder
from thresher.registry import make_scorer, scorers
from thresher.replay import Request, grid_requests, open_source, replay
from thresher.scorers import EL2N, TDDS, ClassDistance, LastLoss, Random
from thresher.trajectory.part import Part, Recording
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Pool

N, C, T = 60, 5, 20
ALL_SIGNALS = [*signals.SIGNALS, *(signals.EVAL_PREFIX + name for name in ("entropy", "error_norm", "feature_norm"))]


def all_scorers() -> dict[str, Any]:
    """Return every scorer of the house, GraNd on the training pass too."""
    made = {name: make_scorer(name, {}) for name in scorers()}
    return {**made, "tdds_variance": TDDS(window=4, absolute=False, spread="variance"), "tdds5": TDDS(window=5)}


def record(folder: Path, epochs: int = T, holes: bool = False, settle: float = 1.0) -> Recorder:
    """Record random dynamics live and into a store. `settle` < 1 makes predictions stand still in the end."""
    names = [name for name in ALL_SIGNALS if name not in signals.REMEMBERING] + sorted(signals.REMEMBERING)
    rng = np.random.default_rng(7)
    with TrajectoryWriter.create(folder, N, C, names, bucket_size=25) as store:
        recorder = Recorder(N, C, all_scorers(), store=store, missing="allow" if holes else "error")
        logits = rng.normal(size=(N, C)).astype(np.float32)
        for epoch in range(epochs):
            logits = logits + settle**epoch * rng.normal(size=(N, C)).astype(np.float32)
            ids = rng.permutation(N)
            ids = ids[rng.random(N) < 0.8] if holes else ids
            features = rng.normal(size=(N, 3)).astype(np.float32)
            for part in np.array_split(ids, 4):
                recorder.update(logits[part], part % C, part, features[part])
            if epoch == epochs - 1:
                recorder.update_eval(logits, np.arange(N) % C, np.arange(N), features)
            recorder.end_epoch()
    return recorder


@pytest.mark.parametrize("holes", [False, True], ids=["complete", "with holes"])
def test_replay_gives_exactly_the_live_scores_of_every_scorer(tmp_path: Path, holes: bool) -> None:
    recorder = record(tmp_path / "t", holes=holes)
    requests = [Request(name, scorer) for name, scorer in all_scorers().items()]
    replayed = replay(Trajectory.open(tmp_path / "t"), requests)
    for name, live in recorder.scores().items():
        np.testing.assert_array_equal(replayed[name].values, live.values, err_msg=name)
        assert replayed[name].hard_end == live.hard_end
        assert replayed[name].source == live.source


def test_asking_earlier_is_recording_less(tmp_path: Path) -> None:
    record(tmp_path / "long")
    short = record(tmp_path / "short", epochs=14)
    names = [name for name, scorer in all_scorers().items() if not any(n.startswith("eval_") for n in scorer.needs)]
    names = [name for name in names if name != "class_distance"]  # reads the features of the recording's end
    replayed = replay(Trajectory.open(tmp_path / "long"), [Request(name, all_scorers()[name], 14) for name in names])
    for name in names:
        np.testing.assert_array_equal(replayed[name].values, short.scores([name])[name].values, err_msg=name)


class Counting:
    """A source that notes the first epoch it is asked for, and of how many samples."""

    def __init__(self, source: Trajectory) -> None:
        self.source, self.starts, self.parts = source, list[int](), list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def frames(self, names: Any, start: int, stop: int) -> Any:
        """Note and pass on."""
        self.starts.append(start)
        return self.source.frames(names, start, stop)

    def only(self, ids: Any) -> Any:
        """Note and read on through this one."""
        self.parts.append(len(ids))
        return Part(cast(Recording, self), ids)


def test_a_grid_is_one_pass_and_every_cell_is_exact(tmp_path: Path) -> None:
    record(tmp_path / "t")
    source = Counting(Trajectory.open(tmp_path / "t"))
    grid = replay(source, grid_requests("tdds", [3, 5, 8], [8, 12, 20], {}))
    assert source.starts == [0]
    assert list(grid)[:2] == ["tdds[K=3,T=8]", "tdds[K=5,T=8]"]
    for (window, at), column in {(3, 8): "tdds[K=3,T=8]", (8, 20): "tdds[K=8,T=20]"}.items():
        alone = replay(Trajectory.open(tmp_path / "t"), [Request("x", TDDS(window=window), at)], exact=True)["x"]
        np.testing.assert_array_equal(grid[column].values, alone.values)


@pytest.mark.parametrize("holes", [False, True], ids=["complete", "with holes"])
def test_only_trailing_epochs_are_read_and_the_bits_are_the_same(tmp_path: Path, holes: bool) -> None:
    record(tmp_path / "t", epochs=60, holes=holes)
    source = Counting(Trajectory.open(tmp_path / "t"))
    fast = replay(source, [Request("tdds", TDDS(window=4))])["tdds"]
    assert source.starts[0] == 60 - 16
    if not holes:  # and from the first one on a sample here and there
        assert sum(source.parts) < N / 8
        assert len(source.starts) == 1 + len(source.parts)
    exact = replay(source, [Request("tdds", TDDS(window=4))], exact=True)["tdds"]
    assert source.starts[-1] == 0
    np.testing.assert_array_equal(fast.values, exact.values)


def test_where_none_can_have_changed_no_older_epoch_is_read(tmp_path: Path) -> None:
    record(tmp_path / "t", epochs=60)
    source = Counting(Trajectory.open(tmp_path / "t"))
    found = replay(source, [Request("tdds", TDDS(window=4), 50), Request("random", Random())])["tdds"]
    assert (source.starts, source.parts) == ([50 - 16], [])
    exact = replay(source, [Request("tdds", TDDS(window=4), 50)], exact=True)["tdds"]
    np.testing.assert_array_equal(found.values, exact.values)


def test_where_old_windows_still_matter_more_is_read(tmp_path: Path) -> None:
    record(tmp_path / "t", epochs=60, settle=0.5)  # stands still in the end: tiny scores keep old windows visible
    source = Counting(Trajectory.open(tmp_path / "t"))
    fast = replay(source, [Request("tdds", TDDS(window=4))])["tdds"]
    assert source.starts == [44, 0]
    exact = replay(source, [Request("tdds", TDDS(window=4))], exact=True)["tdds"]
    np.testing.assert_array_equal(fast.values, exact.values)


@pytest.mark.parametrize("holes", [False, True], ids=["complete", "with holes"])
def test_a_few_open_samples_alone_are_read_again(tmp_path: Path, holes: bool) -> None:
    record(tmp_path / "t", epochs=60, holes=holes)
    whole = Trajectory.open(tmp_path / "t")
    ids = np.array([1, 4, N - 1])
    part = whole.only(ids)
    assert (part.n, part.epochs) == (3, 60)
    alone = replay(part, [Request("x", TDDS(window=4))], exact=True)["x"]
    exact = replay(whole, [Request("x", TDDS(window=4))], exact=True)["x"]
    np.testing.assert_array_equal(alone.values, exact.values[ids])
    assert part.targets is not None
    assert whole.targets is not None
    np.testing.assert_array_equal(part.targets, whole.targets[ids])
    last = replay(part.only(np.array([2])), [Request("x", TDDS(window=4))])["x"]
    np.testing.assert_array_equal(last.values, exact.values[[N - 1]])


def test_what_reads_no_epoch_is_answered_whenever_it_is_asked_for(tmp_path: Path) -> None:
    record(tmp_path / "t", epochs=60)
    source = Trajectory.open(tmp_path / "t")
    requests = [Request("late", TDDS(window=4), 50), *(Request(str(at), Random(seed=2), at) for at in (5, 50, 60))]
    found = replay(source, requests)
    assert found["late"].source["at"] == 50
    for at in (5, 50, 60):
        np.testing.assert_array_equal(found[str(at)].values, replay(source, [Request("x", Random(seed=2))])["x"].values)


def test_requests_that_cannot_be_met(tmp_path: Path) -> None:
    record(tmp_path / "t", epochs=6)
    source = Trajectory.open(tmp_path / "t")
    with pytest.raises(InputError, match=r"features of the last evaluation pass.*after 5 of 6 epochs"):
        replay(source, [Request("far", ClassDistance(), 5)])
    with pytest.raises(TooFewEpochsError, match=r"after 7 epochs, but 6 are recorded"):
        replay(source, [Request("tdds", TDDS(window=3), 7)])
    with pytest.raises(TooFewEpochsError, match="needs at least 7 epochs"):
        replay(source, [Request("tdds", TDDS(window=7))])
    with pytest.raises(InputError, match="each score column once"):
        replay(source, [Request("x", TDDS(window=3)), Request("x", EL2N())])
    assert [one.column for one in grid_requests("tdds", [3, 5], [None], {})] == ["tdds[K=3]", "tdds[K=5]"]
    with pytest.raises(InputError, match="window >= 3"):
        grid_requests("tdds", [2], [6], {})
    with TrajectoryWriter.create(tmp_path / "other", N, C, ["loss"]):
        pass
    with pytest.raises(InputError, match="reads change"):
        replay(_with_epochs(tmp_path / "other"), [Request("tdds", TDDS(window=3))])


@dataclass(frozen=True)
class Short(LastLoss):
    """Gives a score too few, as a scorer of another package may."""

    def compute(self, state: Any, pool: Pool) -> Any:
        return super().compute(state, pool)[1:]


@dataclass(frozen=True)
class Misspelt(LastLoss):
    """Reads what is no signal."""

    @property
    def needs(self) -> tuple[str, ...]:
        return ("losss",)


def test_what_scorers_of_other_packages_give_is_looked_at(tmp_path: Path) -> None:
    record(tmp_path / "t", epochs=3)
    source = Trajectory.open(tmp_path / "t")
    with pytest.raises(InputError, match=rf"shape \({N},\) from the scorer .*, but got shape \({N - 1},\).*check_scorer"):
        replay(source, [Request("short", Short())])
    recorder = Recorder(2, 2, {"short": Short()})
    recorder.update(np.zeros((2, 2), np.float32), np.arange(2), np.arange(2))
    recorder.end_epoch()
    with pytest.raises(InputError, match=r"shape \(2,\) from the scorer .*, but got shape \(1,\)"):
        recorder.scores()
    with pytest.raises(UnknownNameError, match=r"Expected a signal, one of .*, but got 'losss'"):
        replay(source, [Request("misspelt", Misspelt())])


def _with_epochs(folder: Path) -> Trajectory:
    from thresher.types import Frame

    with TrajectoryWriter.resume(folder) as store:
        for epoch in range(4):
            store.append(Frame(epoch, np.arange(N), {"loss": np.zeros(N, dtype=np.float32)}, N))
    return Trajectory.open(folder)


def test_open_source_knows_what_it_sees(tmp_path: Path) -> None:
    record(tmp_path / "run" / "trajectory", epochs=3)
    assert open_source(tmp_path / "run").epochs == open_source(tmp_path / "run" / "trajectory").epochs == 3
    with pytest.raises(MissingFileError, match="there is none"):
        open_source(tmp_path / "nowhere")
    (tmp_path / "scores.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingFileError, match="it is a file, not the recording itself"):
        open_source(tmp_path / "scores.parquet")
    with pytest.raises(MissingFileError, match="holds none of these"):
        open_source(tmp_path)
