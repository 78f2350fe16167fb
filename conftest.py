"""For all tests and doctests: one torch thread, so that small trainings do not wait for each other's threads."""

import torch

torch.set_num_threads(1)
