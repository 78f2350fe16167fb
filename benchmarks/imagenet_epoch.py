"""One simulated ImageNet epoch through the Recorder, against collecting the logits as the official code does.

    python benchmarks/imagenet_epoch.py                       N = 1 281 167, C = 1 000, batches of 1 024
    python benchmarks/imagenet_epoch.py side ours|collect ... the child processes that are measured

Each side is a process of its own. Ours: `Recorder` with TDDS(10) and 16-bit log-probabilities, state as `state_dict` counts
it, time of the second epoch (the first has no change to compute), `end_epoch` included. The alternative keeps every batch's
logits, joins them at the end of the epoch and saves them. Making logits is outside both clocks.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _measure import Child, Target, alternate, finish, median, parser, python, run_child

OURS, COLLECT = "Recorder, TDDS, 16-bit log-probabilities", "collect all logits and save them"


def batches(n: int, classes: int, batch: int) -> Any:
    """Yield (logits, targets, ids) of an epoch in a random order; a few logit tensors take turns."""
    import torch

    source = torch.Generator().manual_seed(0)
    logits = [3 * torch.randn(batch, classes, generator=source) for _ in range(4)]
    targets = torch.randint(0, classes, (n,), generator=source)
    for number, ids in enumerate(torch.randperm(n, generator=source).split(batch)):  # type: ignore[no-untyped-call]
        yield logits[number % 4][: len(ids)], targets[ids], ids


def size_of(state: Any) -> int:
    """Return the bytes of all tensors and arrays in nested dicts."""
    if isinstance(state, dict):
        return sum(size_of(value) for value in state.values())
    return int(getattr(state, "nbytes", 0))


def ours(n: int, classes: int, batch: int) -> dict[str, float]:
    """Record two epochs; return the seconds of both and the bytes of the state."""
    import torch

    from thresher.recorder import Recorder
    from thresher.scorers.tdds import TDDS

    torch.set_num_threads(2)
    recorder = Recorder(n, classes, {"tdds": TDDS(window=10)}, log_probs="float16")
    seconds = []
    for _ in range(2):
        spent = 0.0
        for logits, targets, ids in batches(n, classes, batch):
            started = time.perf_counter()
            recorder.update(logits, targets, ids)
            spent += time.perf_counter() - started
        started = time.perf_counter()
        recorder.end_epoch()
        seconds.append(spent + time.perf_counter() - started)
    return {"seconds": seconds[1], "first": seconds[0], "state": size_of(recorder.state_dict())}


def collect(n: int, classes: int, batch: int, folder: str) -> dict[str, float]:
    """Keep, join and save one epoch's logits; return the seconds and the bytes held."""
    import numpy as np
    import torch

    torch.set_num_threads(2)
    kept, order, spent = [], [], 0.0
    for logits, _, ids in batches(n, classes, batch):
        started = time.perf_counter()
        kept.append(logits.detach().clone().numpy())
        order.append(ids.numpy())
        spent += time.perf_counter() - started
    started = time.perf_counter()
    joined = np.concatenate(kept)
    np.save(Path(folder) / "0_Output.npy", joined)
    np.save(Path(folder) / "0_Index.npy", np.concatenate(order))
    spent += time.perf_counter() - started
    return {"seconds": spent, "state": joined.nbytes + sum(part.nbytes for part in kept)}


def main() -> None:
    """Measure, compare, report."""
    if sys.argv[1:2] == ["side"]:
        side, n, classes, batch, *folder = sys.argv[2:]
        sizes = (int(n), int(classes), int(batch))
        print(json.dumps(ours(*sizes) if side == "ours" else collect(*sizes, *folder)))
        return
    arguments = parser(__doc__)
    for name, default in (("samples", 1_281_167), ("classes", 1000), ("batch", 1024), ("rounds", 2)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    args = arguments.parse_args()
    if args.quick:
        args.samples, args.classes, args.rounds = 20_000, 100, 1
    report(args, measure(args))


def measure(args: argparse.Namespace) -> dict[str, list[Child]]:
    """Run both sides in turn."""
    sizes = (args.samples, args.classes, args.batch)

    def collecting() -> Child:
        with tempfile.TemporaryDirectory() as folder:
            return run_child(python("imagenet_epoch.py", "side", "collect", *sizes, folder))

    runs = {OURS: lambda: run_child(python("imagenet_epoch.py", "side", "ours", *sizes)), COLLECT: collecting}
    return alternate(runs, args.rounds)


def report(args: argparse.Namespace, results: dict[str, list[Child]]) -> None:
    """Print the table and judge the targets."""
    said = {side: [json.loads(child.output) for child in found] for side, found in results.items()}
    seconds = {side: median([one["seconds"] for one in found]) for side, found in said.items()}
    state = {side: found[0]["state"] / 1e9 for side, found in said.items()}
    peak = {side: median([child.peak_bytes for child in found]) / 1e9 for side, found in results.items()}
    finish(
        "imagenet_epoch",
        args,
        ["", "seconds an epoch", "state GB", "peak GB of the process"],
        [[side, seconds[side], state[side], peak[side]] for side in results],
        sizes={"N": args.samples, "C": args.classes, "batch": args.batch, "K": 10, "rounds": args.rounds},
        targets=[Target("seconds an epoch", seconds[OURS], "<=", 20.0), Target("state in GB", state[OURS], "<=", 2.7)],
        notes=[
            "the state does not grow with the number of epochs; collected logits, of which two copies are held when they "
            f"are joined, leave a file of {4 * args.samples * args.classes / 1e9:.3g} GB every epoch"
        ],
        raw=said,
    )


if __name__ == "__main__":
    main()
