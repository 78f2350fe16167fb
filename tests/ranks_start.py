"""What torchrun does on one machine, but the ranks are forks of a process that has imported everything: imports are most of
what they cost. `SIZE SCRIPT ...` calls the main of a file on that many ranks, `SIZE thresher ...` runs a command.

The agent is torchrun's own, but where several ranks have died when it looks, it tells of any: jobs that are killed, the calm
one of tests/test_ranks_train.py and docs/distributed.md are started by torchrun itself.
"""

from __future__ import annotations

import gc
import importlib
import signal
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.errors import record
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

USED = ("torch._dynamo", "sklearn.datasets", "thresher.commands.training", "thresher.commands.screen", "thresher.train.loop",
        "thresher.ranks.torchrun", "thresher.trajectory.writer")  # fmt: skip


def made(name: str) -> Callable[[], Any]:
    """Return what a rank calls, with all that it imports."""
    for module in USED:
        importlib.import_module(module)
    sys.path.insert(0, str(Path(name).parent))
    return importlib.import_module("thresher.cli" if name == "thresher" else Path(name).stem).main  # type: ignore[no-any-return]


@record
def main() -> None:
    """Start the ranks and wait for them."""
    size, *sys.argv = sys.argv[1:]
    run = made(sys.argv[0])

    def rank() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the agent's
        run()

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=int(size), run_id=str(uuid.uuid4()), rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", max_restarts=0, monitor_interval=0.1, start_method="fork",
    )  # fmt: skip
    gc.freeze()
    elastic_launch(config, rank)()


if __name__ == "__main__":
    main()
