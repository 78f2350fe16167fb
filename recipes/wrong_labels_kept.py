"""How many wrong labels TDDS keeps, over a grid of (T, K), in a recording with known wrong labels.

    thresher record --data cifar100 --data-dir DIR --mislabel 0.2 --model small --epochs 40 --schedule-epochs 200 --out RUN
    python recipes/wrong_labels_kept.py RUN --data cifar100 --data-dir DIR [--keep 0.1,0.3] [--out kept.json]

The wrong labels are those that differ from the clean data set's. For each T and K it prints the share of wrong labels among
the samples of the highest scores, which is what TDDS keeps. What docs/results/full-scale says of them was made by this.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from thresher.data import load
from thresher.experiments.rundir import environment
from thresher.files import write_json
from thresher.keep import keep_count
from thresher.replay import Request, open_source, replay
from thresher.scorers import TDDS

LENGTHS = (4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 60, 70, 80, 90, 100, 150, 200)
WINDOWS = (3, 5, 10, 20)


def main() -> None:
    """Score, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--keep", default="0.1,0.3,0.5")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    source = open_source(given.recording)
    assert source.targets is not None
    wrong = source.targets != load(given.data, given.data_dir).train.targets
    grid = {f"T={t} K={k}": (t, k) for t in LENGTHS for k in WINDOWS if k <= t <= source.epochs}
    scores = replay(source, [Request(name, TDDS(window=k), t) for name, (t, k) in grid.items()])
    orders = {name: np.argsort(-score.difficulty, kind="stable") for name, score in scores.items()}
    kept = {
        keep: {name: float(wrong[order[: keep_count(len(order), float(keep))]].mean()) for name, order in orders.items()}
        for keep in given.keep.split(",")
    }
    for keep, shares in kept.items():
        print(f"keep {keep}: {100 * min(shares.values()):.1f} to {100 * max(shares.values()):.1f} % wrong labels; {shares}")
    told = {"recording": source.info.get("data"), "epochs": source.epochs, "wrong": float(wrong.mean()), "kept": kept}
    if given.out:
        write_json(given.out, {**told, "environment": environment()})


if __name__ == "__main__":
    main()
