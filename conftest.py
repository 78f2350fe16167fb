"""For all tests and doctests: one torch thread, so that small trainings do not wait for each other's threads."""

import os
from importlib.util import find_spec

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; for commands and what tests start, too

import torch

torch.set_num_threads(1)

# The doctests of an integration need its package; without it there is nothing to import.
collect_ignore = [
    f"src/thresher/integrations/{name}.py" for name in ("accelerate", "lightning", "transformers") if find_spec(name) is None
]
