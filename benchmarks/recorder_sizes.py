"""The Recorder's state, memory and time an epoch against samples and classes, up to ImageNet and to a stream of 10^8.

    python benchmarks/recorder_sizes.py                  all sizes, each in a process of its own
    python benchmarks/recorder_sizes.py side N C B E     one of them: N samples, C classes, batches of B, E epochs

TDDS(10) and 16-bit log-probabilities. State is what `state_dict` holds, peak that of the process, time that of `update`
for all batches and of `end_epoch`, without making the logits: processor seconds of one thread, which other work on the
machine changes little, and the clock beside them. Samples come in a random order. The first epoch has no change to compute
and is not counted; for the others TDDS's windows are full, as they are from epoch K on: their changes are filled in by hand.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial

from _growth import Series, drawn
from _measure import Target, finish, median, parser, python, run_child

WINDOW = 10


def size_of(state: object) -> int:
    """Return the bytes of all tensors and arrays in nested dicts."""
    return sum(map(size_of, state.values())) if isinstance(state, dict) else int(getattr(state, "nbytes", 0))


def record(n: int, classes: int, batch: int, epochs: int) -> dict[str, object]:
    """Record so many epochs; return each one's processor and clock seconds, and the bytes of the state."""
    import torch

    from thresher.recorder import Recorder
    from thresher.scorers.tdds import TDDS

    torch.set_num_threads(1)
    source = torch.Generator().manual_seed(0)
    logits = [3 * torch.randn(batch, classes, generator=source) for _ in range(4)]
    order = torch.randperm(n, generator=source, dtype=torch.int32)
    recorder = Recorder(n, classes, {"tdds": TDDS(window=WINDOW)}, log_probs="float16")
    seconds: list[list[float]] = []
    for epoch in range(epochs):
        spent = [0.0, 0.0]

        def timed(call: Callable[[], None], spent: list[float] = spent) -> None:
            before = time.process_time(), time.perf_counter()
            call()
            spent[0] += time.process_time() - before[0]
            spent[1] += time.perf_counter() - before[1]

        for number, part in enumerate(order.split(batch)):  # type: ignore[no-untyped-call]
            ids = part.long()
            targets, rows = ids % classes, logits[(number + epoch) % 4][: len(ids)]
            timed(partial(recorder.update, rows, targets, ids))
        timed(recorder.end_epoch)
        seconds.append(spent)
        if epoch == 0:
            recorder.state_dict()["states"]["tdds"]["changes"].fill(1)
    return {"seconds": seconds, "state": size_of(recorder.state_dict())}


def main() -> None:
    """Measure, fit, report."""
    if sys.argv[1:2] == ["side"]:
        n, classes, batch, epochs = map(int, sys.argv[2:])
        print(json.dumps(record(n, classes, batch, epochs)))
        return
    arguments = parser(__doc__)
    arguments.add_argument("--stream", type=int, default=10**8, help="samples of the stream in 10 classes")
    arguments.add_argument("--imagenet", type=int, default=1_281_167, help="samples in 1 000 classes")
    arguments.add_argument("--some", type=int, default=100_000, help="samples in ever more classes")
    args = arguments.parse_args()
    if args.quick:
        args.stream, args.imagenet, args.some = 10**6, 40_000, 5_000
    stream = [(args.stream // part, 10, 8192) for part in (1000, 100, 10, 1)]
    imagenet = [(args.imagenet // part, 1000, 1024) for part in (64, 16, 4, 1)]
    classes = [(args.some, count, 1024) for count in (10, 100, 1000, 10_000)]
    found: dict[tuple[int, int, int], tuple[float, float, float]] = {}
    rows, raw = [], {}
    for n, count, batch in [*stream, *imagenet, *classes]:
        epochs = 2 if n * count >= 5 * 10**8 else 4
        child = run_child(python("recorder_sizes.py", "side", n, count, batch, epochs))
        said = json.loads(child.output)
        seconds, clock = (median(column) for column in zip(*said["seconds"][1:], strict=True))
        found[n, count, batch] = said["state"] / 1e9, child.peak_bytes / 1e9, seconds
        each = [said["state"] / n, 1e9 * seconds / n, 1e9 * seconds / (n * count)]
        rows.append([f"N = {n:_}, C = {count:_}".replace("_", " "), *found[n, count, batch], clock, *each])
        raw[f"{n} x {count}, batch {batch}"] = {**said, "peak": child.peak_bytes}
    lines = [("N", "C = 10", 0, stream), ("N", "C = 1000", 0, imagenet), ("C", f"N = {args.some}", 1, classes)]
    series = [
        Series(cost, unit, size, line, [(place[axis], found[place][which]) for place in places])
        for size, line, axis, places in lines
        for which, cost, unit in ((0, "state", "GB"), (1, "peak of the process", "GB"), (2, "an epoch", "s"))
    ]
    header = ["", "state GB", "peak GB of the process", "processor s an epoch", "clock s"]
    header += ["state bytes a sample", "processor ns a sample", "processor ns a sample and class"]
    state = {places[-1]: found[places[-1]][0] for places in (stream, imagenet)}
    (many, wide), (many_gb, wide_gb) = state, state.values()
    finish(
        "recorder_sizes", args, header, rows,
        sizes={"K": WINDOW, "log-probabilities": "float16", "batch": "8192 where C = 10 and N is large, else 1024"},
        targets=[
            Target(f"state in GB, {wide[0]} x {wide[1]}", wide_gb, "<=", 2.7),
            Target(f"state in GB, {many[0]} x {many[1]}", many_gb, "<=", 8.0),
        ],
        notes=[one.note() for one in series],
        raw={"growth": drawn(series), **raw},
    )  # fmt: skip


if __name__ == "__main__":
    main()
