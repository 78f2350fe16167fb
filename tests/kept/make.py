"""Writes a file of each kind with the version at hand: `python tests/kept/make.py tests/kept/VERSION`, once per release.

Later versions must read them and find the same (`test_stability.py`); what is there is never made anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from thresher import Coreset, Pool, Recorder, Trajectory, TrajectoryWriter, replay, select
from thresher.experiments.recording import RECORDED
from thresher.registry import make_scorer
from thresher.replay import Request
from thresher.score_table import write_scores

GOLDEN = Path(__file__).parents[1] / "golden" / "tdds_official_real_dynamics.npz"
SCORERS = ["tdds", "aum", "correctness", "dual", "dyn_unc", "el2n", "entropy", "forgetting", "grand", "mean_prob", "random"]
SCORERS += ["class_distance"]
CORESETS = {"top": "tdds", "uniform": "random", "stratified": "aum"}
CORESETS |= {"near_median": "class_distance", "beta": "dual", "learnable": "tdds"}
"""The selectors, and the column that each selects by."""
AUX = {"mean_prob": "mean_prob", "correctness": "correctness", "logit_margin": "margins"}
"""What selectors read besides, and the columns that hold it."""
KEEP, SEED = 0.3, 5


def main(folder: Path) -> None:
    """Record sixty samples over twelve epochs, in training and in evaluation; score and select."""
    with np.load(GOLDEN) as golden:
        logits, targets = golden["logits"][:12, :60].astype(np.float32), golden["targets"][:60]
    n, stored, info = len(targets), folder / "trajectory", {"data": "sixty images of CIFAR-10"}
    with TrajectoryWriter.create(stored, n, 10, RECORDED, bucket_size=40, logits="float16", info=info) as store:
        recorder = Recorder(n, 10, targets=targets, store=store)
        for epoch in logits:
            recorder.update(epoch, targets, np.arange(n))
            recorder.update_eval(epoch, targets, np.arange(n), epoch[:, :3])
            recorder.end_epoch()
    asked = {name: make_scorer(name) for name in SCORERS} | {"margins": make_scorer("aum", {"margin": "logit"})}
    scores = replay(Trajectory.open(stored), [Request(name, scorer) for name, scorer in asked.items()])
    write_scores(folder / "scores.parquet", scores, targets=targets, info=info)
    write_scores(folder / "unlabelled.parquet", {"tdds": scores["tdds"]})
    pool = Pool(n, targets, aux={name: scores[column].values for name, column in AUX.items()})
    for selector, column in CORESETS.items():
        select(scores[column], pool, KEEP, selector, SEED, source=info).save(folder / f"{selector}.parquet")
    Coreset(np.arange(0, n, 7), np.linspace(0.5, 2, 9, dtype=np.float32), n, info).save(folder / "weighted.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
