"""The slow suite of faults and hostile input, with counts.

    python tests/faults/suite.py --kills 200 --inputs 10000 --out docs/reliability.json      (make faults)
    python tests/faults/suite.py --kills 10 --inputs 200 --only kills,store                  what the tests run of it

Same seed, same mutated inputs and same file operations at which processes are killed; the other kills come at random moments.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before anything is imported: a process with threads should not fork

from kills import JOBS, run_kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    import torch
    torch.set_num_threads(1)
    share, rest = divmod(args.kills, len(JOBS))
    for k, name in enumerate(JOBS):
        with tempfile.TemporaryDirectory() as room:
            print(name, json.dumps(run_kills(name, share + (k < rest), args.seed, Path(room))), file=sys.stderr)


main()
