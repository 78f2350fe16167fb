"""The Recorder in a loop of your own: make it, update it, end the epoch. Then keep a tenth and train on that."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thresher import Recorder, select
from thresher.data import Indexed
from thresher.methods import resolve

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).flatten(1) / 16
labels = torch.tensor(digits.target)
train_set = Indexed(TensorDataset(images[:1400], labels[:1400]))  # items become (sample_id, image, label)
test_images, test_labels = images[1400:], labels[1400:]


def train(dataset: torch.utils.data.Dataset, recorder: Recorder | None = None, epochs: int = 15) -> float:
    """Train a small network and return its accuracy on the test set."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(epochs):
        for sample_ids, batch, targets in DataLoader(dataset, batch_size=32, shuffle=True):
            logits = model(batch)
            if recorder is not None:
                recorder.update(logits, targets, sample_ids)
            loss = nn.functional.cross_entropy(logits, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if recorder is not None:
            recorder.end_epoch()
    return float((model(test_images).argmax(1) == test_labels).float().mean())


method = resolve("dyn_unc", "digits", keep=0.1)
recorder = Recorder(len(train_set), 10, scorers={"score": method.scorer})
print(f"all {len(train_set)} samples: {train(train_set, recorder):.3f}")

coreset = select(recorder.scores()["score"], recorder.pool(), keep=0.1, selector=method.selector)
print(f"{len(coreset)} kept by {method.name}: {train(coreset.subset(train_set), epochs=60):.3f}")
coreset.save("coreset.parquet")
