"""TDDS beside the variance that its derivation asks for, on recorded dynamics: how alike? Arguments: seeds (0), --quick."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from thresher import Recorder, Trajectory, TrajectoryWriter, replay, select
from thresher.data.digits import load_digits
from thresher.experiments.defaults import recipe
from thresher.replay import Request
from thresher.scorers import TDDS
from thresher.selectors.top import Top
from thresher.testing.identity import best_constants, reconstruction_error, temporal_variances, variance_sum
from thresher.train.loop import fit
from thresher.types import Pool, Scores

KEEP = 0.1
SCORERS = {  # each row takes one step away from the variance over all epochs
    "one window (K=30)": (TDDS(window=30), 30),
    "K=10, weights almost equal (decay=0.01)": (TDDS(decay=0.01), 30),
    "K=10, spread=variance": (TDDS(spread="variance"), 30),
    "K=10, as released": (TDDS(), 30),
    "K=10 after 20 epochs, as released": (TDDS(), 20),
    "K=10 after 10 epochs, as released": (TDDS(), 10),
}


def record(seed: int) -> Trajectory:
    """Train the small network of `thresher run` on digits and return what was recorded."""
    data = load_digits()
    folder, spec = Path(tempfile.mkdtemp()), recipe("digits").surrogate
    spec = replace(spec, batch_size=256) if "--quick" in sys.argv else spec
    n, classes = len(data.train), data.num_classes
    with TrajectoryWriter.create(folder, n, classes, ["change", "loss"]) as store:
        fit(data, spec, seed, recorder=Recorder(n, classes, store=store))
    return Trajectory.open(folder)


def compare(seed: int) -> dict[str, tuple[float, float, float]]:
    """Return of each score its Spearman correlation with the variance, the shared part of the kept tenth, and its error J.

    J is in units of the smallest that a kept tenth of the samples can have.
    """
    recording = record(seed)
    pool = Pool(recording.n)
    frames = list(recording.frames(["change", "loss"]))
    changes = np.stack([frame.values["change"] for frame in frames[1:]]).astype(np.float64)
    loss_steps = np.diff(np.stack([frame.values["loss"] for frame in frames]).astype(np.float64), axis=0)
    variance = Scores(temporal_variances(changes).astype(np.float32))
    columns = {"variance over all epochs": variance}
    columns["variance of the loss's steps"] = Scores(temporal_variances(loss_steps).astype(np.float32))
    columns |= replay(recording, [Request(name, scorer, at) for name, (scorer, at) in SCORERS.items()])
    columns["random"] = Scores(np.random.default_rng(seed).random(pool.n, dtype=np.float32))
    best = select(variance, pool, KEEP, Top()).ids
    least = variance_sum(changes, best)
    np.testing.assert_allclose(reconstruction_error(changes, best, None, best_constants(changes, best)), least)
    rows = {}
    for name, scores in columns.items():
        kept = select(scores, pool, KEEP, Top()).ids
        rank = float(spearmanr(scores.values, variance.values).statistic)
        rows[name] = rank, len(np.intersect1d(kept, best)) / len(best), variance_sum(changes, kept) / least
    return rows


seeds = [int(text) for text in sys.argv[1:] if text != "--quick"] or [0]
runs = [compare(seed) for seed in seeds]
print(f"digits, tiny, 30 epochs, keep {KEEP}, seeds {seeds}: mean (smallest to largest)")
print("| score | Spearman with the variance | shared part of the kept tenth | error J / smallest J |\n|---|---:|---:|---:|")
for name in runs[0]:
    cells = np.array([run[name] for run in runs]).T
    print(f"| {name} | " + " | ".join(f"{c.mean():.3f} ({c.min():.3f} to {c.max():.3f})" for c in cells) + " |")
