"""Lightning: one callback records the training and travels in its checkpoints, then the coreset is trained on."""

from __future__ import annotations

import lightning.pytorch as lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from thresher import Recorder, select
from thresher.data import Indexed
from thresher.integrations.lightning import RecorderCallback
from thresher.methods import resolve

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).flatten(1) / 16
labels = torch.tensor(digits.target)
train_set = Indexed(TensorDataset(images[:1400], labels[:1400]))  # items become (sample_id, image, label)
test_images, test_labels = images[1400:], labels[1400:]


class Net(lightning.LightningModule):
    """A small network; its training step returns the logits beside the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch: tuple, batch_idx: int) -> dict:
        """Return the loss and the logits."""
        _, images, targets = batch
        logits = self.net(images)
        return {"loss": nn.functional.cross_entropy(logits, targets), "logits": logits}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return SGD with momentum."""
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def train(dataset: Dataset, epochs: int, *callbacks: lightning.Callback) -> float:
    """Train a new network and return its accuracy on the test set."""
    lightning.seed_everything(0, verbose=False)
    net = Net()
    trainer = lightning.Trainer(
        max_epochs=epochs, callbacks=list(callbacks), accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(net, DataLoader(dataset, batch_size=32, shuffle=True))
    return float((net.net(test_images).argmax(1) == test_labels).float().mean())


method = resolve("dyn_unc", "digits", keep=0.1)
recorder = Recorder(len(train_set), 10, scorers={"score": method.scorer})
print(f"all {len(train_set)} samples: {train(train_set, 15, RecorderCallback(recorder)):.3f}")

coreset = select(recorder.scores()["score"], recorder.pool(), keep=0.1, selector=method.selector)
print(f"{len(coreset)} kept by {method.name}: {train(coreset.subset(train_set), 60):.3f}")
