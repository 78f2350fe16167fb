"""Dynamic pruning on CIFAR-10 with the small network at equal cost: what docs/results/dynamic-pruning/README.md shows.

    python recipes/dynamic_pruning.py --data-dir DIR [--out runs/dynamic-pruning] [--epochs 8] [--seeds 0]

Every arm is shown the same number of samples in batches of 128: as many as InfoBatch shows in `--epochs` epochs with its
published ratio and delta. The others: all samples for the whole number of epochs that comes nearest (`full`, which is
recorded); a coreset of about `--keep`, uniform or by TDDS's score over that recording, for more epochs (`static-...`); a new
uniform draw every epoch (`redraw-random`); TDDS anew every other epoch after a warm-up of three, and a uniform draw in its
place as the control (`redraw-tdds`, `redraw-random-warm`). One training after another, in one thread; run it again to go on
after an interruption.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from thresher.data import Data, load
from thresher.dynamic import DynamicSampler, Fixed, InfoBatch, Redraw, Rule
from thresher.dynamic._base import everything
from thresher.errors import InputError
from thresher.experiments.rundir import environment
from thresher.files import write_json
from thresher.keep import share_of
from thresher.methods import resolve
from thresher.recorder import Recorder
from thresher.selection import select
from thresher.train.loop import fit
from thresher.train.spec import TrainSpec

TDDS = "tdds:window=3"  # the longest window of which a recording this short has several
WARMUP = 3


@dataclass
class Bench:
    """One seed's arms: data, folder, and how to train."""

    data: Data
    out: Path
    seed: int

    @property
    def n(self) -> int:
        """Samples of the training set."""
        return len(self.data.train)

    def train(
        self, arm: str, rule: Rule, epochs: int, more: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], Recorder]:
        """Train by a rule, or read what that gave; returns the result and the Recorder as it ended.

        Raises InputError where what is there was made with other settings, before anything is trained.
        """
        recorder = Recorder(self.n, self.data.num_classes, {**rule.scorers, **(more or {})}, missing="allow")
        sampler = DynamicSampler(rule, recorder, epochs=epochs, seed=self.seed)
        path, checkpoint = self.out / f"{arm}-{self.seed}.json", self.out / "checkpoints" / f"{arm}-{self.seed}.safetensors"
        spec = TrainSpec("small", epochs=epochs, batch_size=128, precision="bf16")
        settings = {"rule": [rule.name, rule.params()], "epochs": epochs, "train": spec.to_json()}
        found = json.loads(path.read_text()) if path.exists() else None
        if found is not None:
            check_same(path, found, settings)
        begun, cpu = checkpoint.exists(), time.process_time()
        fitted = fit(self.data, spec, self.seed, dynamic=sampler, checkpoint=checkpoint, resume=True, on_epoch=print)
        if found is not None:
            return found, recorder
        result = {
            "arm": arm, "seed": self.seed, "test_accuracy": fitted.test_accuracy, "shown": sampler.shown,
            "steps": fitted.steps, "counts": sampler.counts, **settings,
            "wall_seconds": round(fitted.seconds, 1),
            "cpu_seconds": None if begun else round(time.process_time() - cpu, 1),  # of a rest they would say nothing
            "environment": environment(),
        }  # fmt: skip
        write_json(path, result)
        print({k: result[k] for k in ("arm", "seed", "test_accuracy", "shown", "steps", "cpu_seconds")}, flush=True)
        return result, recorder

    def arms(self, epochs: int, keep: float) -> list[dict[str, Any]]:
        """Train all arms and return their results."""
        n = self.n
        first, _ = self.train("infobatch", InfoBatch(), epochs)
        budget = int(first["shown"])
        method = resolve(TDDS, "", keep)
        full, recorder = self.train("full", Fixed(everything(n)), round(budget / n), {"tdds": method.scorer})
        longer = round(budget / (keep * n))
        size = budget // longer
        static = self.static(recorder, size, longer)
        redrawn, _ = self.train("redraw-random", Redraw("random", share_of(n, size), every=1, warmup=0), longer)
        rest = budget - WARMUP * n
        later = round(rest / (keep * n))
        warm = []
        for name, label in (("redraw-tdds", TDDS), ("redraw-random-warm", "random")):
            again = Redraw(label, share_of(n, rest // later), every=2, warmup=WARMUP)
            warm.append(self.train(name, again, WARMUP + later)[0])
        return [first, full, *static, redrawn, *warm]

    def static(self, recorder: Recorder, size: int, epochs: int) -> list[dict[str, Any]]:
        """Train the static coresets of `size` samples."""
        pool, scores = recorder.pool(), recorder.scores()["tdds"]
        results = []
        for name, label in (("static-tdds", TDDS), ("static-random", "random")):
            coreset = select(scores, pool, size, resolve(label, "", share_of(self.n, size)).selector, self.seed)
            results.append(self.train(name, Fixed(coreset), epochs)[0])
        return results


def check_same(path: Path, found: dict[str, Any], settings: dict[str, Any]) -> None:
    """Raise InputError unless the result in `path` was made with these settings."""
    wanted = json.loads(json.dumps(settings))  # as a file holds them
    other = [f"{key} {found.get(key)} instead of {value}" for key, value in wanted.items() if found.get(key) != value]
    if other:
        raise InputError(
            f"Expected a training of these settings in {path}, but it has {'; '.join(other)}. Choose another --out, or move "
            "what is there away."
        )


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = ["| arm | seed | accuracy % | samples shown | steps | epochs | CPU s |", "|---|---:|---:|---:|---:|---:|---:|"]
    for r in results:
        seconds = "interrupted" if r["cpu_seconds"] is None else f"{r['cpu_seconds']:.0f}"
        lines.append(
            f"| {r['arm']} | {r['seed']} | {100 * r['test_accuracy']:.2f} | {r['shown']} | {r['steps']} | {r['epochs']} | "
            f"{seconds} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/dynamic-pruning"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--keep", type=float, default=0.3)
    parser.add_argument("--seeds", default="0")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, results = load(args.data, args.data_dir), []
    for seed in args.seeds.split(","):
        results += Bench(data, args.out, int(seed)).arms(args.epochs, args.keep)
        (args.out / "table.md").write_text(table(results) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
