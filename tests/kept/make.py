"""Writes a file of each kind with the version at hand: `python tests/kept/make.py tests/kept/VERSION`, once per release.

Later versions must read them and find the same (`test_stability.py`); what is there is never made anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from thresher import Pool, Recorder, Trajectory, TrajectoryWriter, replay, select
from thresher.experiments.recording import RECORDED
from thresher.registry import make_scorer
from thresher.replay import Request
from thresher.score_table import write_scores

GOLDEN = Path(__file__).parents[1] / "golden" / "tdds_official_real_dynamics.npz"
SCORERS = ["tdds", "aum", "correctness", "dual", "dyn_unc", "el2n", "entropy", "forgetting", "grand", "mean_prob", "random"]
CORESETS = {"top": "tdds", "uniform": "random", "stratified": "aum"}
"""The selectors, and the column that each selects by."""
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
    scores = replay(Trajectory.open(stored), [Request(name, make_scorer(name)) for name in SCORERS])
    write_scores(folder / "scores.parquet", scores, targets=targets, info=info)
    for selector, column in CORESETS.items():
        coreset = select(scores[column], Pool(n, targets), KEEP, selector, SEED, source=info)
        coreset.save(folder / f"{selector}.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
