"""Nine methods on CIFAR-10 with the small network, on a CPU: what docs/results/cifar10-small-net/README.md shows.

    python recipes/cifar10_small_net.py --data-dir DIR [--out runs/cifar10-small]
    python recipes/cifar10_small_net.py --data-dir DIR --only loss-scaled,loss-not-scaled  # the control alone

One surrogate (30 epochs of a 30-epoch cosine, batch 100, float32) is recorded. Coresets of a tenth and of a fifth are
trained for 60 epochs of batch 32 with bfloat16 autocast, two seeds each, one single-threaded training per core. TDDS's loss
is scaled by its score as published; a control trains the same TDDS coresets with and without, three seeds each. Run it
again to go on after an interruption.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from thresher.experiments.reporting import report_run
from thresher.experiments.study import StudySpec, run_study
from thresher.experiments.tables import markdown, table
from thresher.files import write_atomic
from thresher.train.spec import TrainSpec

SURROGATE = TrainSpec("small", epochs=30, batch_size=100)
CORESET = TrainSpec("small", epochs=60, batch_size=32, precision="bf16")
NINE = ("random", "entropy", "forgetting", "el2n", "aum", "moderate", "ccs", "dyn_unc", "tdds")


def studies() -> dict[str, StudySpec]:
    """Return the studies by name, in the order in which they run."""

    def study(
        methods: tuple[str, ...], keep: float, seeds: tuple[int, ...] = (0, 1), scale_loss: str = "published"
    ) -> StudySpec:
        return StudySpec("cifar10", SURROGATE, CORESET, methods, (keep,), seeds, scale_loss=scale_loss)

    return {
        "keep-0.1": study(NINE, 0.1),
        "keep-0.2": study(("random", "moderate", "ccs", "tdds"), 0.2),
        "loss-scaled": study(("tdds",), 0.1, (0, 1, 2)),
        "loss-not-scaled": study(("tdds",), 0.1, (0, 1, 2), scale_loss="none"),
    }


def main() -> None:
    """Run what is missing and write a table per study into the run directory."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data-dir", type=Path, required=True)
    arguments.add_argument("--out", type=Path, default=Path("runs/cifar10-small"))
    arguments.add_argument("--only", default=",".join(studies()), help="which of %(default)s")
    args = arguments.parse_args()
    there, chosen = studies(), args.only.split(",")
    if not set(chosen) <= set(there):
        arguments.error(f"expected --only as some of {','.join(there)}, but got {args.only!r}")
    for name in chosen:
        spec = there[name]
        results = run_study(
            spec, args.out, data_dir=str(args.data_dir), processes=os.cpu_count() or 1, threads=1,
            notify=lambda event, details: print(event, {k: v for k, v in details.items() if k != "environment"}, flush=True),
        )  # fmt: skip
        text = markdown(table(results))
        write_atomic(args.out / f"table-{name}.md", text.encode())
        print(f"\n{name}\n\n{text}")
        if name == "keep-0.1":
            report_run(args.out, spec, results, args.data_dir)


if __name__ == "__main__":
    main()
