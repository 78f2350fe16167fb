"""Run by test_integrations_ranks on two ranks: a training under each framework, whole and resumed, with a real gloo group.

Each leaves the scores of all samples, of one job and of two, in `{framework}-{rank}.npz`.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thresher import Recorder
from thresher.data import Indexed
from thresher.errors import InputError
from thresher.scorers import AUM, TDDS

FRAMEWORKS = {"lightning": "lightning.pytorch", "transformers": "transformers.trainer", "accelerate": "accelerate"}
importlib.import_module(FRAMEWORKS[sys.argv[1]])  # once, before ranks are forked
N = 151  # odd, so that the samplers pad
X, Y = (torch.tensor(part[:N]) for part in load_digits(return_X_y=True))
PAIRS = Indexed(TensorDataset(X.float() / 16, Y))
ROWS = Indexed([{"pixels": image, "labels": int(target)} for _, image, target in PAIRS])  # type: ignore[attr-defined]


def new_recorder() -> Recorder:
    return Recorder(N, 10, scorers={"aum": AUM(), "tdds": TDDS(window=3)})


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(64, 10)
        nn.init.zeros_(self.net.weight)
        nn.init.zeros_(self.net.bias)

    def forward(self, pixels: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.net(pixels)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def with_lightning(folder: Path) -> tuple[Recorder, Recorder]:
    import lightning.pytorch as lightning

    from thresher.integrations.lightning import RecorderCallback

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.net(batch[1], batch[2])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.5)

    def fit(epochs: int, resume: Any = None) -> tuple[Recorder, Any]:
        callback = RecorderCallback(new_recorder)
        trainer = lightning.Trainer(
            max_epochs=epochs, callbacks=[callback], accelerator="cpu", devices=2, strategy="ddp", logger=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        )  # fmt: skip
        trainer.fit(Module(), DataLoader(PAIRS, batch_size=16, shuffle=True), ckpt_path=resume)
        return callback.recorder, trainer.checkpoint_callback

    whole, _ = fit(4)
    _, kept = fit(2)
    resumed, _ = fit(4, kept.best_model_path)
    return whole, resumed


def with_transformers(folder: Path) -> tuple[Recorder, Recorder]:
    import transformers

    from thresher.integrations.transformers import attach

    def fit(epochs: int, where: str, resume: Any = None) -> Recorder:
        arguments = transformers.TrainingArguments(
            str(folder / where), num_train_epochs=epochs, per_device_train_batch_size=16, learning_rate=0.01, use_cpu=True,
            lr_scheduler_type="constant", save_strategy="epoch", report_to=[], disable_tqdm=True, logging_strategy="no",
            dataloader_pin_memory=False, ddp_backend="gloo",
        )  # fmt: skip
        trainer = transformers.Trainer(Net(), arguments, train_dataset=ROWS)
        recorder = new_recorder()
        attach(trainer, recorder)
        trainer.train(resume_from_checkpoint=resume)
        return recorder

    whole = fit(4, "whole")
    fit(2, "two")
    return whole, fit(4, "two", resume=True)


def with_accelerate(folder: Path) -> tuple[Recorder, Recorder]:
    from accelerate import Accelerator

    from thresher.integrations.accelerate import attach

    def fit(epochs: int, resume: str | None = None) -> Recorder:
        accelerator = Accelerator(cpu=True)
        net = Net()
        net, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.5))
        recorder = new_recorder()
        attach(accelerator, recorder)
        if resume is not None:
            accelerator.load_state(resume)
        for epoch in range(recorder.epoch, epochs):
            order = torch.Generator().manual_seed(epoch)
            for sample_ids, images, targets in accelerator.prepare(DataLoader(PAIRS, 16, shuffle=True, generator=order)):
                outputs = net(images, targets)
                recorder.update(outputs["logits"], targets, sample_ids)
                optimizer.zero_grad()
                accelerator.backward(outputs["loss"])
                optimizer.step()
            recorder.end_epoch()
        accelerator.save_state(str(folder / "state"))
        return recorder

    whole = fit(4)
    fit(2)
    return whole, fit(4, str(folder / "state"))


def main() -> None:
    """Train under the framework that was asked for, and leave the scores."""
    framework, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    alone = new_recorder() if framework != "transformers" else None  # made before there are processes
    whole, resumed = globals()[f"with_{framework}"](folder / framework)
    scores = {
        f"{job}_{name}": s.values for job, r in (("whole", whole), ("resumed", resumed)) for name, s in r.scores().items()
    }
    if framework == "accelerate":
        from accelerate import Accelerator

        from thresher.integrations.accelerate import attach

        with pytest.raises(InputError, match="Create the Recorder after all processes have started"):
            attach(Accelerator(cpu=True), alone)  # type: ignore[arg-type]
    np.savez(folder / f"{framework}-{whole.ranks.rank}.npz", epochs=[whole.epoch, resumed.epoch], **scores)


if __name__ == "__main__":
    main()
