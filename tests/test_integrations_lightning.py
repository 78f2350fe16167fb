"""The callback under the real Lightning: what a plain loop records, resumed without holes, mixed-up input refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler, Subset, TensorDataset

from thresher import Recorder, TrajectoryWriter
from thresher.coreset import Coreset
from thresher.data import Indexed
from thresher.dynamic import DynamicSampler, Redraw
from thresher.dynamic._base import Live, everything
from thresher.errors import InputError, MissingSamplesError, SampleIdError
from thresher.scorers import AUM, TDDS, Entropy

L = pytest.importorskip("lightning.pytorch", reason="needs the package lightning: pip install 'thresher[lightning]'")
from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging  # noqa: E402

from thresher.integrations.lightning import RecorderCallback  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::Warning:lightning.*")  # it warns of few workers, of no logger, ...
N = 300
X, Y = (torch.tensor(part[:N]) for part in load_digits(return_X_y=True))
PAIRS = TensorDataset(X.float() / 16, Y)


class Net(L.LightningModule):
    def __init__(self, bare: bool = False) -> None:
        super().__init__()
        self.bare, self.net = bare, nn.Linear(64, 10)
        nn.init.zeros_(self.net.weight)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        named = isinstance(batch, dict)
        images, targets = (batch["pixels"], batch["labels"]) if named else (batch[1], batch[2])
        logits = self.net(images)
        loss = nn.functional.cross_entropy(logits, targets)
        return loss if self.bare else {"loss": loss, "logits": logits}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("accuracy", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.net(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.5)


class Shuffled(Sampler[int]):
    """A new order every epoch, which a resumed training repeats."""

    def __init__(self) -> None:
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return N

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng(self.epoch).permutation(N).tolist())


def new_recorder() -> Recorder:
    return Recorder(N, 10, scorers={"aum": AUM(), "tdds": TDDS(window=3)})


def fit(
    recorder: Recorder, folder: Path, dataset: Dataset[Any] | None = None, resume: Path | None = None, **options: Any
) -> Any:
    """Train four epochs of ten batches with a checkpoint an epoch."""
    module = options.pop("module", None) or Net()
    validation = DataLoader(PAIRS, batch_size=N) if options.pop("validate", False) else None
    every, sampler = options.pop("every", None), options.pop("sampler", None) or Shuffled()
    more, callback = options.pop("more", []), options.pop("callback", None) or RecorderCallback(recorder)
    keeper = ModelCheckpoint(dirpath=folder, save_top_k=-1, filename="{step}", every_n_train_steps=every)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = L.Trainer(callbacks=[callback, keeper, *more], **{"max_epochs": 4, **quiet, **options})
    loader = DataLoader(Indexed(PAIRS) if dataset is None else dataset, batch_size=32, sampler=sampler)
    trainer.fit(module, loader, validation, ckpt_path=resume)
    return trainer


def same_scores(one: Recorder, other: Recorder) -> None:
    assert one.epoch == other.epoch == 4
    for name, scores in one.scores().items():
        np.testing.assert_array_equal(scores.values, other.scores()[name].values)


@pytest.fixture(scope="module")
def plain() -> Recorder:
    """What the loop that everybody can write records."""
    net, recorder, sampler = nn.Linear(64, 10), new_recorder(), Shuffled()
    with torch.no_grad():
        net.weight.zero_()
        net.bias.copy_(Net().net.bias.zero_())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for epoch in range(4):
        sampler.set_epoch(epoch)
        for sample_ids, images, targets in DataLoader(Indexed(PAIRS), batch_size=32, sampler=sampler):
            logits = net(images)
            recorder.update(logits, targets, sample_ids)
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, targets).backward()
            optimizer.step()
        recorder.end_epoch()
    return recorder


class ZeroNet(Net):
    def __init__(self, bare: bool = False) -> None:
        super().__init__(bare)
        nn.init.zeros_(self.net.bias)


@pytest.mark.parametrize("options", [{}, {"validate": True}, {"every": 5}], ids=["plain", "validation", "steps"])
def test_it_records_what_a_plain_loop_records_and_resumes_without_holes(
    plain: Recorder, tmp_path: Path, options: dict[str, Any]
) -> None:
    recorder = new_recorder()
    fit(recorder, tmp_path / "first", **options, module=ZeroNet())
    same_scores(plain, recorder)
    for step in (10, 20):  # the first lies before the epochs that TDDS needs, the second amid them
        again = new_recorder()
        fit(again, tmp_path / "second", resume=tmp_path / "first" / f"step={step}.ckpt", **options, module=ZeroNet())
        same_scores(plain, again)


def test_a_checkpoint_opens_without_pickles(tmp_path: Path) -> None:
    recorder = new_recorder()
    fit(recorder, tmp_path, max_epochs=1)
    state = torch.load(tmp_path / "step=10.ckpt", weights_only=True)["callbacks"]
    assert state["RecorderCallback"]["epoch"] == 1


def test_batches_may_be_mappings(plain: Recorder, tmp_path: Path) -> None:
    rows = [{"pixels": image, "labels": int(target)} for image, target in PAIRS]
    recorder = new_recorder()
    fit(recorder, tmp_path, Indexed(rows), module=ZeroNet())
    same_scores(plain, recorder)


def test_a_broken_off_epoch_is_not_committed(tmp_path: Path) -> None:
    recorder = new_recorder()
    fit(recorder, tmp_path, max_epochs=-1, max_steps=25)
    assert recorder.epoch == 2


@pytest.mark.parametrize("what", ["validate", "test", "predict"])
def test_evaluating_a_checkpoint_leaves_the_recording_alone(tmp_path: Path, what: str) -> None:
    with TrajectoryWriter.create(tmp_path / "store", N, 10, ["loss"]) as store:
        recorder = Recorder(N, 10, scorers={"aum": AUM()}, store=store)
        module = Net()
        trainer = fit(recorder, tmp_path, max_epochs=3, module=module)
        getattr(trainer, what)(module, DataLoader(PAIRS, batch_size=N), ckpt_path=tmp_path / "step=10.ckpt")
        assert (recorder.epoch, store.epochs) == (3, 3)
        trainer.fit_loop.max_epochs = 4
        loader = DataLoader(Indexed(PAIRS), batch_size=32, sampler=Shuffled())
        trainer.fit(module, loader, ckpt_path=tmp_path / "step=20.ckpt")  # a training that goes on is restored
        assert (recorder.epoch, store.epochs) == (4, 4)


def test_a_fast_dev_run_is_not_recorded(tmp_path: Path) -> None:
    recorder = new_recorder()
    fit(recorder, tmp_path, fast_dev_run=True)
    assert recorder.epoch == 0


class Mixed(Dataset[Any]):
    """Its ids no longer belong to its samples: they are drawn anew whenever one is read."""

    def __init__(self) -> None:
        self.orders = [np.random.default_rng(seed).permutation(N) for seed in range(4)]
        self.reads = 0

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        order = self.orders[self.reads // N]
        self.reads += 1
        return (int(order[index]), *PAIRS[index])


def test_a_recorder_that_this_process_does_not_have_is_explained(tmp_path: Path) -> None:
    """As before `fit`, or after one whose processes have ended."""
    callback = RecorderCallback(new_recorder)
    with pytest.raises(InputError, match=r"not called in this process.*Use strategy='ddp'"):
        _ = callback.recorder
    assert not callback.state_dict()  # after such a fit, the model can be saved all the same
    fit(new_recorder(), tmp_path, max_epochs=1, callback=callback)
    assert callback.recorder.epoch == 1


def test_a_function_that_returns_no_recorder_is_refused(tmp_path: Path) -> None:
    forgetful = RecorderCallback(lambda: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(InputError, match=r"returns the Recorder that it creates, but it returned None\. End it with"):
        fit(new_recorder(), tmp_path, max_epochs=1, callback=forgetful)


def test_the_epoch_that_only_updates_batch_normalisation_is_not_recorded(tmp_path: Path) -> None:
    """StochasticWeightAveraging adds it after the last epoch; nothing is learned in it."""
    recorder, module = new_recorder(), Net()
    module.net = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Linear(16, 10))
    averaging = StochasticWeightAveraging(0.1, swa_epoch_start=2)
    trainer = fit(recorder, tmp_path, module=module, more=[averaging])
    assert trainer.current_epoch == 5
    assert recorder.epoch == 4
    assert not recorder.amid_epoch


class Evaluation(L.Callback):
    """A pass over the training set: in time for the epoch's commit, or after it."""

    def __init__(self, recorder: Recorder, late: bool) -> None:
        self.recorder, self.late, self.logits = recorder, late, torch.empty(0)

    def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
        if trainer.is_last_batch and not self.late:
            self.look(module)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        if self.late:
            self.look(module)

    def look(self, module: Any) -> None:
        with torch.no_grad():
            self.logits = module.net(PAIRS.tensors[0])
        self.recorder.update_eval(self.logits, Y, torch.arange(N))


@pytest.mark.parametrize("late", [False, True])
def test_an_evaluation_pass_comes_before_the_epoch_is_committed(tmp_path: Path, late: bool) -> None:
    recorder = Recorder(N, 10, scorers={"entropy": Entropy()})
    evaluation, callback = Evaluation(recorder, late), RecorderCallback(recorder)
    with warnings.catch_warnings(record=True) as told:  # of Lightning's own too
        warnings.simplefilter("always")
        fit(recorder, tmp_path, callback=evaluation, more=[callback], max_epochs=2)
    assert late == any("pass came after epoch 1 was committed" in str(warning.message) for warning in told)
    probabilities = evaluation.logits.softmax(1)
    expected = -(probabilities * (probabilities + 1e-10).log()).sum(1).numpy()
    assert late != np.allclose(recorder.scores()["entropy"].values, expected, rtol=1e-5)


class Pruned(ZeroNet):
    """Keeps its sampler's draw in the checkpoints."""

    def __init__(self, sampler: DynamicSampler) -> None:
        super().__init__()
        self.sampler, self.shown = sampler, {}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.shown.setdefault(self.sampler.recorder.epoch, []).extend(batch[0].tolist())
        return super().training_step(batch, batch_idx)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["sampler"] = self.sampler.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.sampler.load_state_dict(checkpoint["sampler"])


class Growing(Redraw):
    """Half of the samples first, all of them in the last epochs, so that epochs grow."""

    def due(self, epoch: int, epochs: int) -> bool:
        return epoch != 3

    def draw(self, live: Live, seed: int) -> Coreset:
        return super().draw(live, seed) if live.epoch < 4 else everything(live.pool.n)


def test_dynamic_pruning_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    """Also with epochs that are longer than that in which it goes on, if Lightning asks how long they are."""

    def prune(folder: str, resume: Path | None = None, **options: Any) -> dict[int, list[int]]:
        rule = Growing("random", 0.5, every=1, warmup=0)
        sampler = DynamicSampler(rule, Recorder(N, 10, rule.scorers, missing="allow"), epochs=6)
        module = Pruned(sampler)
        fit(sampler.recorder, tmp_path / folder, module=module, resume=resume, sampler=sampler, max_epochs=6, **options)
        assert len(sampler) == N
        return module.shown

    whole = prune("whole", reload_dataloaders_every_n_epochs=1)
    assert [len(ids) for ids in whole.values()] == [150] * 4 + [300] * 2
    checkpoint = tmp_path / "whole" / "step=15.ckpt"  # the end of epoch 2; epoch 3 shows its draw once more
    again = prune("again", checkpoint, reload_dataloaders_every_n_epochs=1)
    assert again == {epoch: whole[epoch] for epoch in range(3, 6)}
    with warnings.catch_warnings(record=True) as told:  # of Lightning's own too
        warnings.simplefilter("always")
        prune("cut", checkpoint)
    assert any("Epoch 4 drew 300 samples, but the Recorder got 160" in str(warning.message) for warning in told)


def test_shuffled_ids_are_noticed_and_not_scored(tmp_path: Path) -> None:
    recorder = new_recorder()
    with pytest.raises(InputError, match="Ids and samples are mixed up"):
        fit(recorder, tmp_path, Mixed())
    assert recorder.epoch == 1


def test_lost_ids_and_samples_are_noticed(tmp_path: Path) -> None:
    with pytest.raises(SampleIdError, match=r"sample ids at 0 of a batch of 3 parts.*Wrap the training set once in"):
        fit(new_recorder(), tmp_path, TensorDataset(X.float(), X.float(), Y))  # images come first
    with pytest.raises(InputError, match=r"Expected a thresher\.Recorder, but got int"):
        RecorderCallback(5)  # type: ignore[arg-type]
    with pytest.raises(MissingSamplesError, match="Expected all 300 samples in epoch 0, but 44 are missing"):
        fit(new_recorder(), tmp_path, limit_train_batches=8)
    rows = [{"pixels": image, "labels": int(target)} for image, target in PAIRS]
    with pytest.raises(InputError, match="sample ids at 'sample_id', but got one with the columns"):
        fit(new_recorder(), tmp_path, Subset(rows, range(N)))  # type: ignore[arg-type]


def test_a_training_does_not_begin_with_rows_of_one_that_was_broken_off(tmp_path: Path) -> None:
    recorder = Recorder(N, 10, scorers={"aum": AUM()}, duplicates="first")
    fit(recorder, tmp_path, max_steps=3)
    with pytest.raises(InputError, match="holds a part of epoch 0, from a training that was interrupted"):
        fit(recorder, tmp_path)


def test_training_step_must_return_logits(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\{'loss': loss, 'logits': logits\}, but it returned \['loss'\]"):
        fit(new_recorder(), tmp_path, module=Net(bare=True))
    skipping = Net()
    skipping.training_step = lambda batch, batch_idx: None  # type: ignore[method-assign]
    with pytest.raises(InputError, match="but it returned None"):
        fit(new_recorder(), tmp_path, module=skipping)


def test_resuming_without_the_recorders_state_or_amid_an_epoch_is_refused(tmp_path: Path) -> None:
    fit(new_recorder(), tmp_path, every=5, max_epochs=2)
    unrecorded = torch.load(tmp_path / "step=10.ckpt", weights_only=True)
    del unrecorded["callbacks"]["RecorderCallback"]
    torch.save(unrecorded, tmp_path / "unrecorded.ckpt")
    with pytest.raises(InputError, match=r"resumes after 10 steps, but the Recorder is empty\. Resume from a checkpoint"):
        fit(new_recorder(), tmp_path, resume=tmp_path / "unrecorded.ckpt")
    fit(new_recorder(), tmp_path / "b", max_epochs=-1, max_steps=15)
    with pytest.raises(InputError, match=r"in epoch 2, but the Recorder has 1 epochs\..*middle of an epoch \(max_steps\)"):
        fit(new_recorder(), tmp_path, resume=tmp_path / "b" / "step=15.ckpt")
    with pytest.raises(SampleIdError, match="seen twice in epoch 1"):  # the order starts anew
        fit(new_recorder(), tmp_path, resume=tmp_path / "step=15.ckpt")
