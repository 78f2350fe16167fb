"""The suite of faults and hostile input, with counts.

    python tests/faults/suite.py --out docs/reliability.json              the slow one (make faults)
    python tests/faults/suite.py --kills 10 --inputs 0 --every 0          what CI runs of it, in two parts
    python tests/faults/suite.py --kills 0 --inputs 200 --every 61

Same seed: same mutated inputs, same flipped bits, same file operations at which processes are killed. The other kills come
at random moments. Parts that have been run are kept in `--out`; `--only` runs some anew. Ends with status 1 where something
went wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before anything is imported: a process with threads must not fork

import torch
from children import answer
from flips import run_flips
from fuzz import FAULTS, run_fuzz
from kills import JOBS, run_kills
from readers import READERS

from thresher.experiments.rundir import environment
from thresher.files import write_json


def parts(kills: int, inputs: int, every: int, seed: int) -> dict[str, Callable[[Path], Any]]:
    """Return what is to be run, by name."""
    found: dict[str, Callable[[Path], Any]] = {}
    share, rest = divmod(kills, len(JOBS))
    for number, job in enumerate(JOBS if kills else ()):
        found[f"kill: {job}"] = lambda room, job=job, count=share + (number < rest): run_kills(job, count, seed, room)  # type: ignore[misc]
    if every:
        found["flip: store"] = lambda room: answer(lambda: run_flips(every, seed, room))
    for reader in READERS if inputs else ():
        found[f"read: {reader}"] = lambda room, reader=reader: run_fuzz(reader, inputs, seed, room)  # type: ignore[misc]
    return found


def faults_of(found: dict[str, Any]) -> int:
    """Return how often something went wrong in a part."""
    return sum(found.get(key, 0) for key in ("wrong", "half_written", "not_seen", "not_named", *FAULTS[1:]))


def main() -> None:
    """Run, tell, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="processes to kill, over all kinds of jobs")
    parser.add_argument("--inputs", type=int, default=10_000, help="mutated inputs for each reader")
    parser.add_argument(
        "--every", type=int, default=1, help="flip a bit of every byte of a store, or of each so many; 0: none"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="names of parts, or their beginnings, with commas between")
    parser.add_argument("--out", type=Path, help="JSON file to keep the counts in")
    args = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(args.out.read_text()) if args.out and args.out.exists() else {"parts": {}}
    bad = 0
    for name, run in parts(args.kills, args.inputs, args.every, args.seed).items():
        if args.only and not any(name.startswith(only) for only in args.only.split(",")):
            continue
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as room:
            found = {
                **run(Path(room)),
                "seed": args.seed,
                "cpu": environment()["cpu"],
                "date": f"{datetime.now(UTC):%Y-%m-%d}",
            }
        bad += faults_of(found)
        print(json.dumps({name: found, "seconds": round(time.perf_counter() - started, 1)}), flush=True)
        if args.out:
            kept = {"environment": environment(), "parts": {**kept["parts"], name: found}}
            write_json(args.out, kept)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
