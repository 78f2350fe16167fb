"""A loop under Accelerate that is broken off and resumed: the Recorder is saved and restored with everything else."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thresher import Recorder
from thresher.data import Indexed
from thresher.integrations.accelerate import attach
from thresher.scorers import TDDS

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).flatten(1) / 16
train_set = Indexed(TensorDataset(images, torch.tensor(digits.target)))  # items become (sample_id, image, label)


def train(epochs: range, resume: str | None = None) -> Recorder:
    """Train for these epochs and return the Recorder; what `resume` holds is restored first."""
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    recorder = Recorder(len(train_set), 10, scorers={"tdds": TDDS(window=5)})
    attach(accelerator, recorder)
    if resume is not None:
        accelerator.load_state(resume)
    for epoch in epochs:
        order = torch.Generator().manual_seed(epoch)  # an order that depends on the epoch alone can be resumed
        for sample_ids, batch, targets in accelerator.prepare(DataLoader(train_set, 64, shuffle=True, generator=order)):
            logits = model(batch)
            recorder.update(logits, targets, sample_ids)
            optimizer.zero_grad()
            accelerator.backward(nn.functional.cross_entropy(logits, targets))
            optimizer.step()
        recorder.end_epoch()
        accelerator.save_state("checkpoint")
    return recorder


whole = train(range(8)).scores()["tdds"].values
train(range(5))  # the job ends here
resumed = train(range(5, 8), resume="checkpoint").scores()["tdds"].values
print(f"largest difference between one job and two: {np.abs(whole - resumed).max():.1e}")
print(f"hardest digits by TDDS: {np.argsort(-whole)[:5].tolist()}")
