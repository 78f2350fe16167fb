"""The time of imports, in fresh processes: `import thresher` and all of its public names, against `import torch` alone.

Whole processes, the interpreter's start included, with bytecode as an installation has it. Names of thresher load when they
are first used, so the front door alone is nearly free; a program that uses the Recorder imports torch by it, and what it
costs beside torch is the third line. Ratios are of processor time, which other work on the machine disturbs least: what is
imported is read from the page cache by one thread. Run it where nothing but the core dependencies is installed.
"""

from __future__ import annotations

import sys

from _measure import Target, alternate, finish, median, parser, run_child

TORCH, DOOR, RECORDER, ALL = "import torch", "import thresher", "thresher.Recorder", "all public names of thresher"
CODE = {
    TORCH: "import torch",
    DOOR: "import thresher",
    RECORDER: "from thresher import Recorder",
    ALL: "import thresher; [getattr(thresher, name) for name in thresher.__all__]",
}


def main() -> None:
    """Measure, compare, report."""
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    args = arguments.parse_args()
    if args.quick:
        args.rounds = 2
    runs = {name: lambda code=code: run_child([sys.executable, "-c", code]) for name, code in CODE.items()}
    alternate(runs, 1)  # reads files, and writes bytecode where there is none
    found = alternate(runs, args.rounds)
    wall = {name: median([child.seconds for child in children]) for name, children in found.items()}
    seconds = {name: median([child.processor for child in children]) for name, children in found.items()}
    peaks = {name: median([child.peak_bytes for child in children]) for name, children in found.items()}
    finish(
        "import_time", args, ["", "processor seconds", "times import torch", "wall seconds", "peak MiB"],
        [[name, seconds[name], seconds[name] / seconds[TORCH], wall[name], peaks[name] / 2**20] for name in CODE],
        sizes={"rounds": args.rounds},
        targets=[
            Target("import thresher / import torch", seconds[DOOR] / seconds[TORCH], "<=", 1.2),
            Target("thresher.Recorder / import torch", seconds[RECORDER] / seconds[TORCH], "<=", 1.2),
            Target("all public names / import torch", seconds[ALL] / seconds[TORCH], "<=", 1.2),
        ],
        notes=["medians; fresh processes in turn, the interpreter's start included"],
        raw={name: [[round(c.seconds, 4), round(c.processor, 4)] for c in children] for name, children in found.items()},
    )  # fmt: skip


if __name__ == "__main__":
    main()
