"""Dynamic pruning in a loop of your own: InfoBatch drops what is learned well, epoch by epoch, without bias, and resumes."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thresher import Recorder
from thresher.data import Indexed
from thresher.dynamic import DynamicSampler, InfoBatch, Rule

EPOCHS = 16
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).flatten(1) / 16
labels = torch.tensor(digits.target)
train_set = Indexed(TensorDataset(images[:1400], labels[:1400]))  # items become (sample_id, image, label)
test_images, test_labels = images[1400:], labels[1400:]


class Training:
    """A model, its optimiser and what draws its epochs, with one state for all of them."""

    def __init__(self, rule: Rule) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.recorder = Recorder(len(train_set), 10, rule.scorers, missing="allow")
        self.sampler = DynamicSampler(rule, self.recorder, epochs=EPOCHS)

    def run(self, until: int) -> None:
        """Train up to epoch `until`, from wherever it stands."""
        loader = DataLoader(train_set, batch_size=32, sampler=self.sampler)
        for epoch in range(self.recorder.epoch, until):
            self.sampler.set_epoch(epoch)  # on several ranks, every rank must come here
            for sample_ids, batch, targets in loader:
                logits = self.model(batch)
                self.recorder.update(logits, targets, sample_ids)
                losses = nn.functional.cross_entropy(logits, targets, reduction="none")
                loss = self.sampler.mean(losses, sample_ids)  # those that stand for dropped ones count for more
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            self.recorder.end_epoch()

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer | Recorder | DynamicSampler]:
        """Everything that has a state."""
        return {"model": self.model, "optimizer": self.optimizer, "recorder": self.recorder, "sampler": self.sampler}


whole = Training(InfoBatch())
whole.run(EPOCHS)
accuracy = float((whole.model(test_images).argmax(1) == test_labels).float().mean())
saved = 1 - whole.sampler.shown / (EPOCHS * len(train_set))
print(f"InfoBatch: {accuracy:.3f}, {saved:.0%} fewer samples shown than in {EPOCHS} full epochs: {whole.sampler.counts}")

first, second = Training(InfoBatch()), Training(InfoBatch())
first.run(9)
for name, part in second.parts.items():
    part.load_state_dict(first.parts[name].state_dict())
second.run(EPOCHS)
assert second.sampler.counts == whole.sampler.counts
assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True))
print("broken off after 9 epochs and resumed: the same, bit for bit")
