"""What recording costs a training step: pairs of steps with and without `Recorder.update`, in random order.

The step is the small network's on CIFAR-shaped batches (forward, loss, backward, SGD), as in `thresher.train.loop.fit`.
The overhead is the median difference within pairs over the median plain step; the cost of `end_epoch`, spread over the
steps of an epoch, is added to it. No store is written.
"""

from __future__ import annotations

import random
import time
from typing import Any

import torch
from _measure import Target, finish, median, parser
from torch import Tensor, nn
from torch.nn import functional as F

from thresher.experiments.recording import RECORDED
from thresher.models import build
from thresher.recorder import Recorder
from thresher.scorers.tdds import TDDS
from thresher.signals import EVAL_PREFIX

CLASSES = 100


class Training:
    """A model with its optimiser, and batches that visit every id once an epoch."""

    def __init__(self, model: str, n: int, batch: int) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = build(model, CLASSES, 3, seed=0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, 0.9, weight_decay=5e-4, nesterov=True, fused=True)
        self.images = [torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last) for _ in range(4)]
        self.targets = torch.randint(0, CLASSES, (n,))
        self.n, self.batch = n, batch

    def step(self, number: int, ids: Tensor, recorder: Recorder | None) -> float:
        """Run one step and return its seconds."""
        images, targets = self.images[number % len(self.images)], self.targets[ids]
        started = time.perf_counter()
        logits = self.model(images).float()
        if recorder is not None:
            recorder.update(logits, targets, ids)
        loss = F.cross_entropy(logits, targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return time.perf_counter() - started

    def begun(self, recorder: Recorder) -> list[float]:
        """Record epochs of random logits until scores flow; return the seconds of each `end_epoch`."""
        seconds = []
        for _ in range(12):
            for ids in torch.randperm(self.n).split(1000):  # type: ignore[no-untyped-call]
                recorder.update(torch.randn(len(ids), CLASSES), self.targets[ids], ids)
            started = time.perf_counter()
            recorder.end_epoch()
            seconds.append(time.perf_counter() - started)
        return seconds


def measure(training: Training, recorder: Recorder, pairs: int) -> dict[str, Any]:
    """Run the pairs and return the medians in milliseconds."""
    ending = median(training.begun(recorder)[-3:]) * training.batch / training.n  # a step's part of it
    order = random.Random(0)
    ids = torch.randperm(training.n).split(training.batch)  # type: ignore[no-untyped-call]
    for number in range(5):
        training.step(number, ids[-1], None)  # warm-up
    plain, differences = [], []
    for pair in range(pairs):
        position = pair % len(ids)
        if pair and position == 0:
            recorder.end_epoch(missing="allow")
        found: dict[bool, float] = {}
        for recording in order.sample((True, False), 2):
            found[recording] = training.step(pair, ids[position], recorder if recording else None)
        plain.append(found[False])
        differences.append(found[True] - found[False])
    step, difference = median(plain), median(differences)
    quarters = sorted(differences)[pairs // 4], sorted(differences)[3 * pairs // 4]
    return {
        "step": step,
        "update": difference,
        "ending": ending,
        "share": (difference + ending) / step,
        "quarters": quarters,
    }


def main() -> None:
    """Measure, report."""
    arguments = parser(__doc__)
    for name, default in (("samples", 50_000), ("batch", 100), ("pairs", 400), ("threads", 2)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    arguments.add_argument("--model", default="small")
    args = arguments.parse_args()
    if args.quick:
        args.samples, args.pairs = 5_000, 30
    torch.set_num_threads(args.threads)
    every = [name for name in RECORDED if not name.startswith(EVAL_PREFIX)]
    recorders = {
        "TDDS alone": Recorder(args.samples, CLASSES, {"tdds": TDDS(window=10)}),
        "all methods' signals": Recorder(args.samples, CLASSES, extra_signals=every),
    }
    found = {}
    for name, recorder in recorders.items():
        found[name] = measure(Training(args.model, args.samples, args.batch), recorder, args.pairs)
    milliseconds = {name: {k: 1000 * r[k] for k in ("step", "update", "ending")} for name, r in found.items()}
    finish(
        "recorder_overhead",
        args,
        ["", "plain step ms", "update ms", "quartiles of update ms", "end_epoch a step ms", "overhead %"],
        [
            [name, ms["step"], ms["update"], " to ".join(f"{1000 * q:.2f}" for q in found[name]["quarters"]), ms["ending"],
             100 * found[name]["share"]]
            for name, ms in milliseconds.items()
        ],
        sizes={
            "model": args.model, "N": args.samples, "C": CLASSES, "batch": args.batch, "pairs": args.pairs,
            "threads": args.threads,
        },
        targets=[Target(f"overhead of recording, {name}", r["share"], "<=", 0.03) for name, r in found.items()],
        raw=found,
    )  # fmt: skip


if __name__ == "__main__":
    main()
