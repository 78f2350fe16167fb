"""TDDS's (T, K) from the recording alone: how hard the coreset would be, and nothing else decides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thresher.coreset import Coreset
from thresher.derivation import MOST_LATE, Setting, best, candidates, derive, grid, settle
from thresher.errors import InputError, TooFewEpochsError
from thresher.methods import resolve
from thresher.recorder import Recorder
from thresher.replay import Request, replay
from thresher.score_table import read_scores
from thresher.scorers import TDDS, Correctness
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter

N, C, T = 400, 4, 30
SIGNALS = ("correct", "change")


def record(folder: Path, epochs: int = T, names: tuple[str, ...] = SIGNALS, unseen: int = 0) -> Trajectory:
    """Record samples that are learned one after another, the lower the id the sooner: what moves grows harder."""
    rng = np.random.default_rng(3)
    ids, targets = np.arange(N - unseen), np.arange(N - unseen) % C
    with TrajectoryWriter.create(folder, N, C, names) as store:
        recorder = Recorder(N, C, store=store, missing="allow")
        for epoch in range(epochs):
            strength = 6 / (1 + np.exp(-(epoch - T * ids / N) / 2))
            logits = rng.normal(0, 0.05, (len(ids), C))
            logits[ids, targets] += strength
            recorder.update(logits.astype(np.float32), targets, ids)
            recorder.end_epoch()
    return Trajectory.open(folder)


def test_settings_say_how_much_of_a_coreset_is_learned_late(tmp_path: Path) -> None:
    source = record(tmp_path / "t")
    settings = candidates(source, [0.1, 0.5])
    wrong = 1 - replay(source, [Request("c", Correctness())])["c"].values.astype(np.float64)
    typical = sorted(wrong)[int(np.ceil(0.55 * N)) - 1]
    assert [(s.epochs, s.window) for s in settings[0.1]] == grid(T)
    for keep, found in settings.items():
        lates = wrong > typical + keep * (1 - typical) + 1e-6
        for setting in found:
            scores = replay(source, [Request("s", TDDS(window=setting.window), setting.epochs)])["s"].values
            kept = sorted(range(N), key=lambda i: (-scores[i], i))[: round(N * keep)]
            assert setting.late == pytest.approx(lates[kept].mean(), abs=1e-12)


def test_longer_trajectories_keep_later_samples_and_the_longest_that_fits_wins(tmp_path: Path) -> None:
    source = record(tmp_path / "t")
    found = candidates(source, [0.1])[0.1]
    of_window = [s.late for s in found if s.window == 5]
    assert of_window[0] == 0
    assert of_window[-1] > MOST_LATE
    chosen = derive(source, 0.1)
    assert chosen.late <= MOST_LATE
    longer = [s for s in found if (s.epochs, -s.window) > (chosen.epochs, -chosen.window)]
    assert longer
    assert all(s.late > MOST_LATE for s in longer)


def test_of_equals_the_longest_is_best_and_the_smallest_window() -> None:
    pairs = [(5, 5), (10, 5), (10, 10), (20, 20), (20, 5), (20, 10)]
    for share in (MOST_LATE, 0.6):  # a third may be late, no more
        assert best([Setting(*pair, share) for pair in pairs]) == Setting(20, 5, share)
    assert best([Setting(5, 5, MOST_LATE), Setting(10, 5, MOST_LATE + 1e-9)]).epochs == 5
    assert best([Setting(5, 5, 0.1), Setting(10, 5, MOST_LATE)]).epochs == 10
    assert best([Setting(5, 5, 0.7), Setting(10, 5, 0.5), Setting(20, 5, 0.6)]).epochs == 10


def test_methods_that_wait_are_settled_and_others_left_alone(tmp_path: Path) -> None:
    source = record(tmp_path / "t")
    methods = {label: resolve(label, "digits", 0.1, T) for label in ("tdds", "tdds:at=auto", "tdds:at=20", "random")}
    assert [m.derive for m in methods.values()] == [False, True, False, False]
    settled = settle(methods, dict.fromkeys(methods, 0.1), source)
    wanted = derive(source, 0.1)
    found = settled["tdds:at=auto"]
    assert (found.at, found.scorer) == (wanted.epochs, TDDS(window=wanted.window))
    assert f"T={wanted.epochs}, K={wanted.window}: derived from the recording" in found.notice
    assert settled["tdds"] is methods["tdds"]
    assert settled["tdds:at=20"] is methods["tdds:at=20"]
    assert settled["random"] is methods["random"]
    assert resolve("tdds", "cifar10", 0.1).derive is False
    assert resolve("tdds:at=auto", "cifar10", 0.1).derive is True


def test_each_method_is_settled_for_its_own_kept_share(tmp_path: Path) -> None:
    source, shares = record(tmp_path / "t"), {"few": 0.1, "many": 0.7}
    settled = settle({k: resolve("tdds:at=auto", "digits", keep, T) for k, keep in shares.items()}, shares, source)
    wanted = {k: derive(source, keep) for k, keep in shares.items()}
    assert wanted["few"] != wanted["many"]
    for k, found in settled.items():
        assert (found.at, found.scorer) == (wanted[k].epochs, TDDS(window=wanted[k].window))
        assert f" {wanted[k].late:.0%} of what it keeps is learned late" in found.notice


def test_five_epochs_are_enough_to_settle(tmp_path: Path) -> None:
    source = record(tmp_path / "t", epochs=5)
    (found,) = settle({0: resolve("tdds:at=auto", "digits", 0.1, 5)}, {0: 0.1}, source).values()
    assert (found.derive, found.at, found.scorer) == (False, 5, TDDS(window=5))


def test_recordings_that_tell_nothing_leave_methods_as_they_are(tmp_path: Path) -> None:
    for source in (record(tmp_path / "short", epochs=4), record(tmp_path / "bare", names=("change",))):
        methods = {"auto": resolve("tdds:at=auto", "digits", 0.1, source.epochs)}
        assert settle(methods, {"auto": 0.1}, source) == methods
    with pytest.raises(InputError, match="but 7 of 400 were never seen"):
        derive(record(tmp_path / "holes", unseen=7), 0.1)
    with pytest.raises(TooFewEpochsError, match="at least 5 epochs to derive"):
        derive(record(tmp_path / "shorter", epochs=4), 0.1)


@pytest.mark.parametrize("label", ["el2n:at=auto", "tdds:at=auto:window=5", "tdds:at=soon"])
def test_labels_that_cannot_be(label: str) -> None:
    with pytest.raises(InputError, match=re.escape(repr(label))):
        resolve(label, "digits", 0.1)


def test_score_and_select_derive_and_say_so(call: Any, tmp_path: Path) -> None:
    source = record(tmp_path / "t")
    wanted = derive(source, 0.2)
    scores, coreset = tmp_path / "scores.parquet", tmp_path / "coreset.parquet"
    said = call.refused("score", tmp_path / "t", "--method", "tdds:at=auto", "--out", scores)
    assert "--keep 0.1" in said
    call("score", tmp_path / "t", "--method", "tdds:at=auto", "--keep", "0.2", "--out", scores)
    column = read_scores(scores).columns["tdds"]
    assert (column.source["at"], column.source["params"]["window"]) == (wanted.epochs, wanted.window)
    call("select", scores, "--method", "tdds:at=auto", "--keep", "0.2", "--out", coreset)
    kept = Coreset.load(coreset)
    assert kept.ids.tolist() == sorted(np.argsort(-column.values, kind="stable")[: N // 5].tolist())
    call("score", tmp_path / "t", "--window", "5,10", "--out", scores)
    said = call.refused("select", scores, "--method", "tdds:at=auto", "--keep", "0.2", "--out", coreset)
    assert "Expected one column of tdds" in said
