"""The training loop, readable top to bottom, with the published recipe as its defaults.

The recipe is that of the TDDS study (Zhang et al. 2024, official code): 200 epochs, SGD 0.1 with Nesterov momentum 0.9,
weight decay 5e-4 on all parameters, cosine per iteration down to 0, batch 100 for the surrogate and 128 for coresets,
crop and flip. One function serves both: a surrogate is a `fit` with a recorder, a coreset training one with `ids`. A
recording on several ranks is trained data-parallel on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thresher.data.base import Data
from thresher.data.batching import Batches
from thresher.dynamic.sampler import DynamicSampler
from thresher.errors import InputError, MissingSamplesError
from thresher.models import Classifier, build
from thresher.ranks import Alone, Ranks, torchrun
from thresher.recorder import Recorder
from thresher.train.checks import check_dynamic, check_single_samples
from thresher.train.progress import Resumed, Saver, load_progress
from thresher.train.spec import TrainSpec, build_optimizer, learning_rate
from thresher.train.step import make_step, on_device


@dataclass(frozen=True)
class FitResult:
    """What a training gave. Accuracies are shares in [0, 1] on the clean test set, `None` where not evaluated.

    `train_loss` and `mean_loss_scale` are those of the last epoch. What a checkpoint of an earlier version does not tell is
    None.
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
    """What `on_epoch` is told: completed epochs, their total, mean loss and learning rate."""

    epoch: int
    epochs: int
    loss: float
    lr: float
    test_accuracy: float | None = None


@on_device
def fit(
    data: Data,
    spec: TrainSpec,
    seed: int,
    *,
    ids: np.ndarray[Any, np.dtype[np.int64]] | None = None,
    recorder: Recorder | None = None,
    dynamic: DynamicSampler | None = None,
    eval_pass: bool = False,
    loss_scale: np.ndarray[Any, np.dtype[np.float32]] | None = None,
    device: torch.device | str = "cpu",
    workers: int = 2,
    eval_every: int = 0,
    checkpoint: Path | None = None,
    checkpoint_every: float = 0.0,
    resume: bool = False,
    restart: bool = False,
    until: int | None = None,
    graphs: bool = True,
    on_epoch: Callable[[Progress], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Train `spec.model` on `data.train` (on the samples `ids`, if given) and evaluate on the clean test set.

    `recorder` gets every batch's train-mode logits, of before the optimiser step, as published; with `eval_pass` also one
    un-augmented pass in eval mode after the last epoch, with features (Entropy, Moderate and GraNd read it).
    `dynamic` restricts each epoch to what it draws and weighs the losses; its Recorder is fed. The learning rate goes by the
    share of the epochs that is done, whatever they show; with `eval_pass` a pass precedes every draw that reads one.
    `loss_scale` (N,) multiplies each batch's mean loss by the mean over the batch's samples (the TDDS code's trick).
    `eval_every` > 0 evaluates on the test set during training too; the reported accuracy is always the last one.
    `checkpoint` is written after every epoch, or at most every `checkpoint_every` seconds (`Saver`); `resume` continues
    from it, or begins anew where there is none: a recorder's store that has epochs is then cut back if `restart` allows it,
    else InputError is raised. `until` stops after that many of the spec's epochs, without an evaluation; with a checkpoint
    a later call goes on from there.
    `graphs` replays the steps on a GPU as a CUDA graph where that can be done. `on_epoch` is told of every completed epoch,
    `on_step` of the steps that are done and those there are in all. Raises what the recorder raises.

    Where the recorder is one of several ranks, each trains on its part of every batch and gradients are averaged over the
    whole batch (DistributedDataParallel): order, augmentation, batch size and steps are those of one process. Batch
    normalisation sees a rank's part only, and rank 0's running statistics are kept, so the trained network, and with it the
    logits, differ a little with the number of ranks. `ids` and `loss_scale` are for one process.
    """
    started = time.perf_counter()
    if dynamic is not None:
        check_dynamic(dynamic, spec, recorder, eval_pass, alone=ids is None and loss_scale is None)
        recorder = dynamic.recorder
    ranks: Ranks = Alone() if recorder is None else recorder.ranks
    if ranks.size > 1 and (ids is not None or loss_scale is not None):
        raise InputError(f"Expected ids and loss_scale in one process only, but there are {ranks.size} ranks.")
    device = torch.device(device)
    model = build(spec.model, data.num_classes, data.channels, seed, data.image_size).to(device)
    if spec.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(spec, model)
    batches = train_batches(data, spec, seed, ids, device, workers, ranks)
    if min(batches.sizes) // ranks.size == 1:
        check_single_samples(model, data)
    steps = len(batches)  # of an epoch that shows everything: the unit of the schedule
    total_steps = (spec.schedule_epochs or spec.epochs) * steps
    scale = None if loss_scale is None else torch.from_numpy(np.asarray(loss_scale, np.float32)).to(device)
    before = Resumed()
    if resume and checkpoint:
        before = load_progress(checkpoint, model, optimizer, recorder, dynamic, restart=restart)
    wrapped: nn.Module = model
    if ranks.size > 1:
        example = torch.zeros(2, data.channels, data.image_size, data.image_size, device=device)
        layout = torch.channels_last if spec.channels_last else torch.contiguous_format
        wrapped = torchrun.parallel(model, example.to(memory_format=layout))
    forward = torch.compile(wrapped) if spec.compile else wrapped
    weighed = None if dynamic is None else dynamic.mean
    train_step = make_step(forward, optimizer, spec, device, scale, weighed, graphs and ranks.size == 1)
    saver = Saver(checkpoint, ranks, dynamic, checkpoint_every)
    best, accuracy = before.best, None
    stop = spec.epochs if until is None else min(until, spec.epochs)

    def mean_loss() -> float:
        sums: list[float] = ranks.share("loss", train_step.loss_sum.item())
        return sum(sums) / ranks.size / len(batches)

    def mean_scale() -> float | None:
        return None if scale is None else train_step.scale_sum.item() / len(batches)

    def gave() -> dict[str, float | None]:
        return {"best": best, "loss": mean_loss(), "loss_scale": mean_scale(), "seconds": spent()}

    def spent() -> float:
        return before.seconds + time.perf_counter() - started

    for epoch in range(before.epochs, stop):
        model.train()
        train_step.begin_epoch()
        if dynamic is not None:
            dynamic.set_epoch(epoch)
            batches.restrict(dynamic.coreset.ids)
        for number, (images, targets, sample_ids) in enumerate(batches.epoch(epoch)):
            step = epoch * steps + number * steps // len(batches)
            lr = learning_rate(spec.lr, step, total_steps, spec.warmup_epochs * steps)
            train_step.set_lr(lr)
            # of uneven parts: averaged over the ranks this is the mean over the whole batch
            share = len(targets) * ranks.size / batches.sizes[number]
            logits = train_step(images, targets, sample_ids, share)
            if recorder is not None:
                recorder.update(logits, targets, sample_ids)
            if on_step is not None:
                on_step(step + 1, stop * steps)
        if ranks.size > 1:
            torchrun.send_from_first(list(model.buffers()))
        last = epoch + 1 == spec.epochs
        with train_step.exclusive():
            if recorder is not None:
                if eval_pass and (last or (dynamic is not None and dynamic.needs_evaluation(epoch + 1))):
                    record_evaluation(model, data, spec, recorder, device, workers)
                recorder.end_epoch()
            if last or (eval_every and (epoch + 1) % eval_every == 0):
                accuracy = evaluate(model, data, spec, device, workers, ranks)
                best = accuracy if best is None else max(best, accuracy)
            saver.save(model, optimizer, recorder, epoch + 1, stop, gave)
        if on_epoch is not None:
            on_epoch(Progress(epoch + 1, stop, mean_loss(), lr, accuracy))

    if accuracy is None and stop == spec.epochs:  # resumed after the last epoch was already committed
        accuracy = evaluate(model, data, spec, device, workers, ranks)
        best = accuracy if best is None else max(best, accuracy)
    trained = before.epochs < stop
    return FitResult(
        accuracy,
        best if before.complete or not eval_every else None,
        mean_loss() if trained else before.loss,
        stop * steps if dynamic is None else dynamic.steps(spec.batch_size, stop),
        spent(),
        stop,
        mean_scale() if trained else before.loss_scale,
    )


def train_batches(
    data: Data,
    spec: TrainSpec,
    seed: int,
    ids: np.ndarray[Any, np.dtype[np.int64]] | None,
    device: torch.device,
    workers: int,
    ranks: Ranks,
) -> Batches:
    """Return this rank's part of the training batches: shuffled, augmented, every sample once an epoch, none dropped."""
    return Batches(
        data,
        data.train,
        spec.batch_size,
        device=device,
        train=True,
        augment=spec.augment,
        seed=seed,
        ids=ids,
        channels_last=spec.channels_last,
        workers=workers,
        part=(ranks.rank, ranks.size),
    )


def plain_batches(data: Data, split: Any, spec: TrainSpec, device: torch.device, workers: int, ranks: Ranks) -> Batches:
    """Return this rank's part of batches of a split in order, without augmentation, for evaluation."""
    return Batches(
        data, split, 512 * ranks.size, device=device, channels_last=spec.channels_last, workers=workers,
        part=(ranks.rank, ranks.size),
    )  # fmt: skip


@torch.no_grad()
def evaluate(
    model: nn.Module, data: Data, spec: TrainSpec, device: torch.device, workers: int = 0, ranks: Ranks | None = None
) -> float:
    """Return the share of test samples classified correctly, in eval mode; `ranks` share the work."""
    ranks = ranks or Alone()
    model.eval()
    correct = torch.zeros((), dtype=torch.int64, device=device)
    for images, targets, _ in plain_batches(data, data.test, spec, device, workers, ranks).epoch(0):
        with torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bf16"):
            logits = model(images)
        correct += (logits.argmax(1) == targets).sum()
    hits: list[int] = ranks.share("evaluate", int(correct))
    return sum(hits) / len(data.test)


@torch.no_grad()
def record_evaluation(
    model: Classifier, data: Data, spec: TrainSpec, recorder: Recorder, device: torch.device, workers: int = 0
) -> None:
    """Run the optional evaluation pass: eval mode, no augmentation, logits and penultimate features."""
    model.eval()
    for images, targets, sample_ids in plain_batches(data, data.train, spec, device, workers, recorder.ranks).epoch(0):
        with torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bf16"):
            features = model.features(images)
            logits = model.head(features)
        recorder.update_eval(logits.float(), targets, sample_ids, features.float())
    model.train()


def normalised(scores: Tensor | np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return scores scaled to [0, 1] over ALL samples, the multiplier of the TDDS code's coreset training.

    `s = (S - min S) / (max S - min S)`; constant scores give ones. Raises MissingSamplesError where a sample has no score
    (NaN), InputError for an infinite one: either would spoil the loss of every sample.
    """
    values = np.asarray(scores, dtype=np.float32)
    if np.isnan(values).any():
        raise MissingSamplesError(
            f"Expected a score of every sample, but {int(np.isnan(values).sum())} have none (NaN), the first of them "
            f"{int(np.flatnonzero(np.isnan(values))[0])}. Record more epochs, or scale by another score."
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"Expected finite scores, but that of sample {int(np.flatnonzero(~np.isfinite(values))[0])} is infinite. "
            "Scale by another score."
        )
    low, high = float(values.min()), float(values.max())
    return np.ones_like(values) if high <= low else ((values - low) / (high - low)).astype(np.float32)
