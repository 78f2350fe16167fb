"""Checks that are made before a training begins, for what would fail in it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from thresher.data.base import Data
from thresher.dynamic.sampler import DynamicSampler
from thresher.errors import InputError
from thresher.ranks import together
from thresher.recorder import Recorder
from thresher.train.spec import TrainSpec
from thresher.types import is_whole


def check_given(data: Any, spec: Any, until: Any, eval_every: Any, loss_scale: Any) -> None:
    """Raise InputError for an invalid data set, recipe, number of epochs or loss scale."""
    if not isinstance(data, Data):
        raise InputError(f"Expected a data set, such as thresher.data.load('digits'), but got {data!r}.")
    if not isinstance(spec, TrainSpec):
        raise InputError(f"Expected a TrainSpec, but got {type(spec).__name__}. From a dict, use TrainSpec(**fields).")
    for what, number in (("until", until), ("eval_every", eval_every)):
        if number is not None and not (is_whole(number) and number >= 0):
            raise InputError(f"Expected {what} as a number of epochs, but got {number!r}.")
    n = len(data.train)
    if loss_scale is not None and np.shape(loss_scale) != (n,):
        raise InputError(
            f"Expected loss_scale of shape ({n},), one number for each training sample, coreset or not, but got "
            f"{np.shape(loss_scale)}."
        )


def check_single_samples(model: nn.Module, data: Data) -> None:
    """Raise InputError if the model cannot train on one sample, as with batch normalisation over 1 x 1 maps."""
    size = data.image_size
    try:  # on the CPU: on a GPU others may capture their steps, which a first forward pass may break
        copy.deepcopy(model).cpu().train()(torch.zeros(1, data.channels, size, size, device="cpu"))
    except ValueError as error:
        raise InputError(
            f"Expected batches of 2 samples or more for this model at {size} x {size} pixels, but some have 1, and batch "
            "normalisation needs more than one value per channel. Choose another batch size, or keep more samples."
        ) from error


def check_recorded(recorder: Recorder, epochs: int) -> None:
    """Raise InputError, on all ranks, unless a recorder holds the completed `epochs` of its training and nothing else."""
    with together(recorder.ranks, "training"):
        if recorder.epoch != epochs or recorder.amid_epoch:
            part = " and a part of another" if recorder.amid_epoch else ""
            raise InputError(
                f"Expected a Recorder of this training, which begins after {epochs} epochs, but this one has "
                f"{recorder.epoch}{part}, from another call. Create a new Recorder for every training; to go on with one, "
                "give fit its checkpoint and resume=True."
            )


def check_dynamic(
    dynamic: DynamicSampler, spec: TrainSpec, recorder: Recorder | None, evaluates: bool, *, alone: bool
) -> None:
    """Raise InputError if a dynamic sampler does not fit the other arguments of a training.

    `alone` says that neither a static coreset nor a loss scale is given, `evaluates` that evaluation passes are made.
    """
    if not alone:
        raise InputError("Expected dynamic without ids and loss_scale: it determines an epoch's samples and their weights.")
    if recorder is not None and recorder is not dynamic.recorder:
        raise InputError("Expected the Recorder of the dynamic sampler, but got another one. Omit recorder=.")
    if dynamic.epochs != spec.epochs:
        raise InputError(f"Expected a dynamic sampler made for {spec.epochs} epochs, but got one for {dynamic.epochs}.")
    if dynamic.rule.reads_evaluation and not evaluates:
        raise InputError(
            "This rule uses scores of an evaluation pass. Give eval_pass=True, or choose a method that reads only the "
            "training (entropy:view=train)."
        )
