"""TDDS's (T, K) from the recording alone: how hard the coreset would be, and nothing else decides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thresher.coreset import Coreset
from thresher.derivation import Setting, best, derive, grid, ranks, settle, target
from thresher.errors import InputError
from thresher.methods import resolve
from thresher.recorder import Recorder
from thresher.replay import Request, replay
from thresher.score_table import read_scores
from thresher.scorers import AUM, TDDS
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter

N, C, T = 400, 4, 30
SIGNALS = ("prob_margin", "change")


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


def test_ranks_are_the_mean_aum_ranks_of_what_is_kept(tmp_path: Path) -> None:
    source = record(tmp_path / "t")
    settings = ranks(source, [0.1, 0.5])
    aum = replay(source, [Request("aum", AUM())])["aum"].values
    assert [(s.epochs, s.window) for s in settings[0.1]] == grid(T)
    for keep, found in settings.items():
        for setting in found:
            scores = replay(source, [Request("s", TDDS(window=setting.window), setting.epochs)])["s"].values
            kept = sorted(range(N), key=lambda i: (-scores[i], i))[: round(N * keep)]
            mean = np.mean([(np.sum(aum < aum[i]) + 0.5) / N for i in kept])
            assert setting.rank == pytest.approx(mean, abs=1e-12)


def test_longer_trajectories_keep_harder_samples_and_the_nearest_to_the_target_wins(tmp_path: Path) -> None:
    source = record(tmp_path / "t")
    found = ranks(source, [0.1])[0.1]
    of_window = [s.rank for s in found if s.window == 5]
    assert of_window[0] > 0.7
    assert of_window == sorted(of_window, reverse=True)
    chosen = derive(source, 0.1)
    assert abs(chosen.rank - target(0.1)) == min(abs(s.rank - target(0.1)) for s in found)
    assert 5 < chosen.epochs < T
    assert best([Setting(5, 5, 0.8), Setting(10, 5, 0.4), Setting(10, 10, 0.4)], keep=0.5) == Setting(10, 5, 0.4)


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


def test_recordings_that_tell_nothing_leave_methods_as_they_are(tmp_path: Path) -> None:
    for source in (record(tmp_path / "short", epochs=4), record(tmp_path / "bare", names=("change",))):
        methods = {"auto": resolve("tdds:at=auto", "digits", 0.1, source.epochs)}
        assert settle(methods, {"auto": 0.1}, source) == methods
    with pytest.raises(InputError, match="but 7 of 400 were never seen"):
        derive(record(tmp_path / "holes", unseen=7), 0.1)


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
