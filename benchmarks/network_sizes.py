"""What ranks send one another at the end of an epoch, against samples, classes, ranks and the width of features.

    python benchmarks/network_sizes.py                    all sizes, each with processes of its own
    python benchmarks/network_sizes.py side N C R D       one of them: N samples, C classes, R ranks, features of width D

Real processes of torch.distributed (gloo) on one machine, each fed by a DistributedSampler. Bytes are counted where rows
leave (`Ranks.exchange`), without those that a rank keeps for itself; beside them stand what the loopback device carried
during `end_epoch` (everything on it, of all programs) and what `thresher plan` says. All signals of a training pass are
recorded; with features also those of the evaluation pass.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _growth import Series, drawn
from _measure import Target, finish, parser, python, run_child

BATCH = 512


def carried() -> int:
    """Return the bytes that the loopback device has sent; 0 where the system does not tell."""
    try:
        line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    except (OSError, StopIteration):
        return 0
    return int(line.split(":")[1].split()[8])


def one_rank(rank: int, size: int, n: int, classes: int, width: int, folder: str) -> None:
    """Be one rank: record an epoch, and write what it sent into the folder."""
    import torch
    import torch.distributed as dist
    from torch.utils.data import DistributedSampler

    from thresher.experiments.recording import RECORDED
    from thresher.ranks.torchrun import TorchRanks
    from thresher.recorder import Recorder

    sent = [0]

    class Counting(TorchRanks):
        """Ranks that count what leaves."""

        def exchange(self, rows: Any, counts: Sequence[int]) -> Any:
            """Count the bytes for others, and exchange."""
            if len(rows):
                sent[0] += (len(rows) - counts[self.rank]) * rows.nbytes // len(rows)
            return super().exchange(rows, counts)

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    ranks = Counting()
    names = [name for name in RECORDED if width or not name.startswith("eval_")]
    recorder = Recorder(n, classes, extra_signals=names, log_probs="float16", ranks=ranks)
    sampler: DistributedSampler[Any] = DistributedSampler(range(n), size, rank, shuffle=True, seed=0)  # type: ignore[arg-type]
    source = torch.Generator().manual_seed(rank)
    logits = torch.randn(BATCH, classes, generator=source)
    features = torch.randn(BATCH, width, generator=source)
    for ids in torch.tensor(list(sampler)).split(BATCH):  # type: ignore[no-untyped-call]
        recorder.update(logits[: len(ids)], ids % classes, ids)
        if width:
            recorder.update_eval(logits[: len(ids)], ids % classes, ids, features[: len(ids)])
    ranks.share("recorded")
    before, started = carried(), time.perf_counter()
    recorder.end_epoch()
    ranks.share("sent")
    said = {"bytes": sent[0], "seconds": time.perf_counter() - started, "loopback": carried() - before}
    Path(folder, f"{rank}.json").write_text(json.dumps(said))
    ranks.leave()
    dist.destroy_process_group()


def record(n: int, classes: int, size: int, width: int) -> dict[str, float]:
    """Start the ranks and add up what they sent."""
    import multiprocessing

    import torch  # noqa: F401  (once, for all ranks)

    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("fork")
        ranks = [context.Process(target=one_rank, args=(r, size, n, classes, width, folder)) for r in range(size)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        if any(process.exitcode for process in ranks):
            sys.exit("A rank has failed.")
        said = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
    return {
        "bytes": sum(one["bytes"] for one in said),
        "most": max(one["bytes"] for one in said),
        "seconds": max(one["seconds"] for one in said),
        "loopback": said[0]["loopback"],
    }


def main() -> None:
    """Measure, fit, compare with the plan, report."""
    if sys.argv[1:2] == ["side"]:
        print(json.dumps(record(*map(int, sys.argv[2:]))))
        return
    arguments = parser(__doc__)
    arguments.add_argument("--imagenet", type=int, default=1_281_167, help="samples in 1 000 classes, on 4 ranks")
    arguments.add_argument("--some", type=int, default=40_000, help="samples where the other sizes grow")
    args = arguments.parse_args()
    if args.quick:
        args.imagenet, args.some = 20_000, 5_000
    groups = {
        ("N", "C = 1000, R = 4"): [(args.imagenet // part, 1000, 4, 0) for part in (64, 16, 4, 1)],
        ("C", f"N = {args.some}, R = 4"): [(args.some, classes, 4, 0) for classes in (10, 100, 1000, 4000)],
        ("R", f"N = {args.some}, C = 100"): [(args.some, 100, ranks, 0) for ranks in (2, 4, 8, 16)],
        ("D", f"N = {args.some}, C = 100, R = 4"): [(args.some, 100, 4, width) for width in (64, 256, 1024, 4096)],
    }
    sizes = list(dict.fromkeys(size for group in groups.values() for size in group))
    found = {size: json.loads(run_child(python("network_sizes.py", "side", *size)).output) for size in sizes}
    report(args, groups, found)


def report(args: Any, groups: dict[tuple[str, str], list[tuple[int, ...]]], found: dict[tuple[int, ...], Any]) -> None:
    """Print the table and judge the plan."""
    from thresher.planning import Setup, network_bytes

    rows, off = [], []
    for size, said in found.items():
        n, classes, ranks, width = size
        planned = network_bytes(Setup(n, classes, 1, ranks, width))
        off.append(abs(said["bytes"] / planned - 1))
        label = f"N = {n:_}, C = {classes:_}, R = {ranks}, D = {width}".replace("_", " ")
        row = [label, said["bytes"] / 1e6, planned / 1e6, said["loopback"] / 1e6, said["most"] / 1e6]
        rows.append([*row, said["bytes"] / n, said["seconds"]])
    axes = {"N": 0, "C": 1, "R": 2, "D": 3}
    series = [
        Series(cost, unit, size, line, [(place[axes[size]], found[place][key] / by) for place in places])
        for (size, line), places in groups.items()
        for cost, unit, key, by in (("sent an epoch", "GB", "bytes", 1e9), ("end_epoch", "s", "seconds", 1))
    ]
    header = ["", "sent MB, all ranks", "thresher plan MB", "loopback MB", "sent MB, the busiest rank"]
    finish(
        "network_sizes", args, [*header, "bytes a sample", "seconds of end_epoch"], rows,
        sizes={"sampler": "DistributedSampler", "backend": "gloo", "batch": BATCH},
        targets=[Target("largest relative difference to thresher plan", max(off), "<=", 0.02)],
        notes=[
            *(one.note() for one in series),
            "all ranks share this machine's cores: seconds are those of computing as much as of sending",
        ],
        raw={"growth": drawn(series), **{" x ".join(map(str, size)): said for size, said in found.items()}},
    )  # fmt: skip


if __name__ == "__main__":
    main()
