"""The training loop, with the published recipe as its defaults: `fit` says what happens when, `_Training` does it.

The recipe is that of the TDDS study (Zhang et al. 2024, official code): 200 epochs, SGD 0.1 with Nesterov momentum 0.9,
weight decay 5e-4 on all parameters, cosine per iteration down to 0, batch 100 for the surrogate and 128 for coresets,
crop and flip. One function serves both: a surrogate is a `fit` with a recorder, a coreset training one with `ids`. A
recording on several ranks is trained data-parallel on them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thresher.data.base import Data
from thresher.data.batching import Batches
from thresher.dynamic.sampler import DynamicSampler
from thresher.errors import InputError
from thresher.models import build
from thresher.ranks import Alone, Ranks, torchrun
from thresher.ranks.alike import check_alike
from thresher.recorder import Recorder
from thresher.stepwise import Steps, stepwise
from thresher.train.checks import check_dynamic, check_given, check_recorded, check_single_samples
from thresher.train.evaluation import evaluate, record_evaluation
from thresher.train.progress import Resumed, Saver, load_progress
from thresher.train.spec import TrainSpec, build_optimizer, learning_rate
from thresher.train.step import Step, make_step, on_device
from thresher.types import Floats, Ids, check_seed


@dataclass(frozen=True)
class FitResult:
    """The result of a training. Accuracies are shares in [0, 1] on the clean test set, `None` if not evaluated.

    `train_loss` and `mean_loss_scale` are those of the last epoch. Values missing from a checkpoint of an earlier version
    are None, and so is the best accuracy of a training that was begun with another `eval_every`.
    """

    test_accuracy: float | None
    best_test_accuracy: float | None
    train_loss: float | None
    steps: int
    seconds: float
    epochs: int
    mean_loss_scale: float | None = None


@dataclass
class Progress:
    """What `on_epoch` receives: completed epochs, their total, mean loss and learning rate."""

    epoch: int
    epochs: int
    loss: float
    lr: float
    test_accuracy: float | None = None


@stepwise
@on_device
def fit(
    data: Data,
    spec: TrainSpec,
    seed: int,
    *,
    ids: Ids | None = None,
    recorder: Recorder | None = None,
    dynamic: DynamicSampler | None = None,
    eval_pass: bool = False,
    loss_scale: Floats | None = None,
    device: torch.device | str = "cpu",
    workers: int = 2,
    eval_every: int = 0,
    checkpoint: Path | str | None = None,
    checkpoint_every: float = 0.0,
    resume: bool = False,
    restart: bool = False,
    until: int | None = None,
    graphs: bool = True,
    on_epoch: Callable[[Progress], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Steps[FitResult]:
    """Train `spec.model` on `data.train` (on the samples `ids`, if given) and evaluate on the clean test set.

    `recorder` gets every batch's train-mode logits from before the optimiser step, as published; with `eval_pass` also
    one un-augmented pass in eval mode after the last epoch, with features (Entropy, Moderate and GraNd read it).
    `dynamic` restricts each epoch to the samples it draws and weights their losses; its Recorder gets the batches. The
    learning rate depends on the share of completed epochs, however many samples they show; with `eval_pass`, an evaluation
    pass precedes every draw that reads one.
    `loss_scale` (N,) multiplies each batch's mean loss by the mean over the batch's samples (the TDDS code's trick).
    `eval_every` > 0 evaluates on the test set during training too; the reported accuracy is always the last one.
    `checkpoint` is written after every epoch, or at most every `checkpoint_every` seconds (`Saver`); `resume` continues
    from it, or starts over if there is none: a recorder's store that has epochs is then cut back if `restart` allows it,
    else InputError is raised. `until` stops after that many of the spec's epochs, without an evaluation; with a checkpoint
    a later call continues from there.
    `graphs` replays the steps on a GPU as a CUDA graph where possible. `on_epoch(progress)` is called after every epoch,
    `on_step(done, total)` as steps are done. Raises InputError for invalid arguments, such as a recorder that holds another
    training's epochs, and what the recorder raises.
    `fit.steps` takes the same arguments and returns the training as a generator of steps, so that several can take turns
    (`stepwise`).

    If the recorder is on several ranks, each trains on its part of every batch and gradients are averaged over the whole
    batch (DistributedDataParallel): order, augmentation, batch size and steps are those of one process. Batch
    normalisation sees only a rank's part, and rank 0's running statistics are kept, so the trained network, and with it the
    logits, differ a little with the number of ranks. `ids` and `loss_scale` are for one process. Raises InputError on all
    ranks if their arguments differ.
    """
    check_given(data, spec, until, eval_every, loss_scale)
    check_seed(seed)
    seed, checkpoint = int(seed), None if checkpoint is None else Path(checkpoint).absolute()  # whatever folder is next
    if dynamic is not None:
        check_dynamic(dynamic, spec, recorder, eval_pass, alone=ids is None and loss_scale is None)
        recorder = dynamic.recorder
    if recorder is not None and recorder.ranks.size > 1:  # gradients would be averaged even over different trainings
        numbers = {"until": until if until is None else int(until), "eval_every": int(eval_every)}
        asked = {**asdict(spec), "seed": seed, **numbers, "eval_pass": eval_pass, "resume": resume, "restart": restart}
        parts = {"ids": ids, "dynamic": dynamic, "loss_scale": loss_scale, "checkpoint": checkpoint, "on_epoch": on_epoch}
        asked |= {name: "not given" if part is None else "given" for name, part in parts.items()}
        check_alike(recorder.ranks, {"data": data.fingerprint, **asked}, "training")
    of = {} if checkpoint is None else {"of": _name(spec, seed, ids, loss_scale), "data": data.fingerprint}
    training = _Training(
        data, spec, seed, ids, recorder, dynamic, loss_scale, torch.device(device), workers, graphs,
        checkpoint if resume else None, restart, of, eval_every,
    )  # fmt: skip
    saver = Saver(checkpoint, training.ranks, dynamic, checkpoint_every, of)
    stop = max(training.before.epochs, spec.epochs if until is None else min(until, spec.epochs))
    for epoch in range(training.before.epochs, stop):
        lr = yield from training.epoch(epoch, stop, on_step)
        completed, last = epoch + 1, epoch + 1 == spec.epochs
        with training.step.exclusive():
            training.record(completed, eval_pass)
            if last or (eval_every and completed % eval_every == 0):
                training.evaluate()
            saver.save(
                training.model, training.optimizer, recorder, completed, last=completed == stop, ended=last,
                gave=training.gave,
            )  # fmt: skip
        if on_epoch is not None:
            on_epoch(Progress(completed, stop, training.loss(), lr, training.accuracy))
    if training.accuracy is None and stop == spec.epochs:  # resumed after the last epoch was already committed
        with training.step.exclusive():
            training.evaluate()
    return training.result(stop)


class _Training:
    """The state of one call of `fit` on this rank: model, optimiser, batches, accuracy so far."""

    def __init__(
        self, data: Data, spec: TrainSpec, seed: int, ids: Ids | None, recorder: Recorder | None,
        dynamic: DynamicSampler | None, loss_scale: Floats | None, device: torch.device, workers: int, graphs: bool,
        checkpoint: Path | None, restart: bool, of: Mapping[str, str], eval_every: int,
    ) -> None:  # fmt: skip
        self._started = time.perf_counter()
        self._data, self._spec, self._recorder, self._dynamic = data, spec, recorder, dynamic
        self._device, self._workers, self._eval_every = device, workers, eval_every
        self.ranks: Ranks = Alone() if recorder is None else recorder.ranks
        rank, size = self.ranks.rank, self.ranks.size
        if size > 1 and (ids is not None or loss_scale is not None):
            raise InputError(f"Expected ids and loss_scale only in a single process, but there are {size} ranks.")
        self.model = build(spec.model, data.num_classes, data.channels, seed, data.image_size).to(device)
        if spec.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(spec, self.model)
        self._batches = Batches(
            data, data.train, spec.batch_size, device=device, train=True, augment=spec.augment, seed=seed, ids=ids,
            channels_last=spec.channels_last, workers=workers, part=(rank, size),
        )  # fmt: skip
        if min(self._batches.sizes) // size == 1:
            check_single_samples(self.model, data)
        self._steps = len(self._batches)  # of an epoch that shows everything: the unit of the schedule
        self._scale = None if loss_scale is None else torch.from_numpy(np.asarray(loss_scale, np.float32)).to(device)
        self.before = Resumed() if checkpoint is None else load_progress(
            checkpoint, self.model, self.optimizer, recorder, dynamic, restart=restart, of=of
        )  # fmt: skip
        if recorder is not None:
            check_recorded(recorder, self.before.epochs)
        self.best = self.before.best
        self.accuracy: float | None = None
        self.step = self._make_step(graphs)

    def _make_step(self, graphs: bool) -> Step:
        """Return the step of the model as it stands: gradients averaged over the ranks, compiled, captured as wanted."""
        data, spec = self._data, self._spec
        forward: nn.Module = self.model
        if self.ranks.size > 1:
            example = torch.zeros(2, data.channels, data.image_size, data.image_size, device=self._device)
            layout = torch.channels_last if spec.channels_last else torch.contiguous_format
            forward = torchrun.parallel(self.model, example.to(memory_format=layout))
        weighed = None if self._dynamic is None else self._dynamic.mean
        return make_step(
            torch.compile(forward) if spec.compile else forward, self.optimizer, spec, self._device, self._scale, weighed,
            graphs and self.ranks.size == 1,
        )  # fmt: skip

    def epoch(self, epoch: int, stop: int, on_step: Callable[[int, int], None] | None) -> Steps[float]:
        """Train for one epoch, step by step, and return its last learning rate; `stop` is the total for `on_step`."""
        spec, size, lr = self._spec, self.ranks.size, 0.0
        total_steps = (spec.schedule_epochs or spec.epochs) * self._steps
        self.model.train()
        self.step.begin_epoch()
        if self._dynamic is not None:
            self._dynamic.set_epoch(epoch)
            self._batches.restrict(self._dynamic.coreset.ids)
        for number, (images, targets, sample_ids) in enumerate(self._batches.epoch(epoch)):
            step = epoch * self._steps + number * self._steps // len(self._batches)
            lr = learning_rate(spec.lr, step, total_steps, spec.warmup_epochs * self._steps)
            self.step.set_lr(lr)
            # parts may be unequal: weighted so, the average over the ranks is the mean over the whole batch
            share = len(targets) * size / self._batches.sizes[number]
            logits = self.step(images, targets, sample_ids, share)
            if self._recorder is not None:
                self._recorder.update(logits, targets, sample_ids)
            if on_step is not None:
                on_step(step + 1, stop * self._steps)
            yield
        if size > 1:
            torchrun.send_from_first(list(self.model.buffers()))
        return lr

    def record(self, completed: int, eval_pass: bool) -> None:
        """Commit the epoch that makes it `completed` epochs, after an evaluation pass where one is due."""
        if self._recorder is None:
            return
        due = completed == self._spec.epochs or (self._dynamic is not None and self._dynamic.needs_evaluation(completed))
        if eval_pass and due:
            record_evaluation(self.model, self._data, self._spec, self._recorder, self._device, self._workers)
        self._recorder.end_epoch()

    def evaluate(self) -> None:
        """Measure the test accuracy."""
        self.accuracy = evaluate(self.model, self._data, self._spec, self._device, self._workers, self.ranks)
        self.best = self.accuracy if self.best is None else max(self.best, self.accuracy)

    def loss(self) -> float:
        """Return the mean loss of the epoch that was trained last, over all ranks; waits for the device."""
        sums: list[float] = self.ranks.share("loss", self.step.loss_sum.item())
        return sum(sums) / self.ranks.size / len(self._batches)

    def gave(self) -> dict[str, float | None]:
        """Return what the last epoch gave, as a checkpoint keeps it: the fields of `Resumed`."""
        scale = None if self._scale is None else self.step.scale_sum.item() / len(self._batches)
        of_epoch = {"best": self.best, "loss": self.loss(), "loss_scale": scale, "seconds": self._seconds()}
        return {**of_epoch, "eval_every": self._eval_every}

    def result(self, stop: int) -> FitResult:
        """Return the result of `stop` completed epochs, including those before a resumption."""
        before, dynamic = self.before, self._dynamic
        kept = {"loss": before.loss, "loss_scale": before.loss_scale}
        last = self.gave() if before.epochs < stop else kept
        best = self.best
        if before.epochs and before.eval_every != self._eval_every:  # it is the best of other epochs than those asked for
            best = None if self._eval_every else self.accuracy
        return FitResult(
            self.accuracy,
            best,
            last["loss"],
            stop * self._steps if dynamic is None else dynamic.steps(self._spec.batch_size, stop),
            self._seconds(),
            stop,
            last["loss_scale"],
        )

    def _seconds(self) -> float:
        return self.before.seconds + time.perf_counter() - self._started


def _name(spec: TrainSpec, seed: int, ids: Ids | None, loss_scale: Floats | None) -> str:
    """Return a digest that tells a training from others on the same data."""
    digest = hashlib.sha256(json.dumps([spec.to_json(), seed], sort_keys=True).encode())
    for part, kind in ((ids, np.int64), (loss_scale, np.float32)):
        digest.update(b"-" if part is None else np.asarray(part, kind).tobytes())
    return digest.hexdigest()[:16]
