"""Shared by the integrations: a column of a batch, and the checks that keep a recording complete."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from thresher.errors import InputError, SampleIdError
from thresher.recorder import Recorder


def column(batch: Any, key: str | int, what: str) -> Any:
    """Return one column of a batch: by name of a mapping, by position of a tuple or list.

    Raises InputError naming `what` was expected and what was found.

    >>> column({"sample_id": [3], "labels": [0]}, "sample_id", "sample ids"), column(([3], "x", [0]), -1, "targets")
    ([3], [0])
    """
    if isinstance(batch, Mapping) and key in batch:
        return batch[key]
    if isinstance(batch, (tuple, list)) and isinstance(key, int) and -len(batch) <= key < len(batch):
        return batch[key]
    if isinstance(batch, Mapping):
        found = f"with the columns {list(batch)}"
    else:
        found = f"of {len(batch)} parts" if isinstance(batch, (tuple, list)) else f"of type {type(batch).__name__}"
    raise InputError(
        f"Expected a batch with {what} at {key!r}, but got one {found}. Wrap the training set once in "
        "thresher.data.Indexed, which adds sample ids, or name the column that holds them."
    )


def ids_of(batch: Any, key: str | int) -> Any:
    """Return the sample ids of a batch; raises InputError if there is something else, such as the images.

    >>> ids_of((torch.tensor([3, 4]), "images", "targets"), 0).tolist()
    [3, 4]
    """
    ids = column(batch, key, "sample ids")
    shape = getattr(ids, "shape", None)
    if shape is None or (len(shape) == 1 and not _fractional(ids.dtype)):
        return ids  # what else may be wrong the Recorder says
    found = f"with the columns {list(batch)}" if isinstance(batch, Mapping) else f"of {len(batch)} parts"
    raise SampleIdError(
        f"Expected integer sample ids at {key!r} of a batch {found}, but got {ids.dtype} of shape {tuple(shape)} there. "
        "Wrap the training set once in thresher.data.Indexed, which adds sample ids, or say where they are: sample_ids=..."
    )


def _fractional(dtype: Any) -> bool:
    return dtype.is_floating_point if isinstance(dtype, torch.dtype) else dtype.kind == "f"


def check_recorder(recorder: object) -> None:
    """Raise InputError for anything but a Recorder."""
    if not isinstance(recorder, Recorder):
        raise InputError(f"Expected a thresher.Recorder, but got {type(recorder).__name__}. Check the argument order.")


def check_epoch(recorder: Recorder, epoch: int) -> None:
    """Raise InputError unless the Recorder is in the epoch that the training is in; the recording would have gaps."""
    if recorder.epoch != epoch:
        raise InputError(
            f"The training is in epoch {epoch}, but the Recorder has {recorder.epoch} epochs. Resume from a checkpoint that "
            "was written while this Recorder was attached, but not in the middle of an epoch (max_steps); to train from the "
            "start, create a new Recorder."
        )


def check_start(recorder: Recorder, step: int) -> None:
    """Raise InputError if a training that begins after `step` steps has a Recorder of another training.

    Such a Recorder holds rows of an epoch that another training left unfinished, or is empty though a training is resumed.
    """
    amid = recorder.amid_epoch
    if amid and not step:
        raise InputError(
            f"The training is at its start, but the Recorder holds a part of epoch {recorder.epoch}, from a training that "
            "was interrupted. Create a new Recorder."
        )
    if step and not amid and not recorder.epoch:
        raise InputError(
            f"The training resumes after {step} steps, but the Recorder is empty. Resume from a checkpoint that was written "
            "while this Recorder was attached."
        )


def check_end(recorder: Recorder) -> None:
    """Warn if an evaluation pass came after the last epoch was committed, so that it is in no score."""
    if recorder.amid_evaluation and not recorder.amid_epoch:
        warnings.warn(
            f"An evaluation pass came after epoch {recorder.epoch - 1} was committed with its last batch, so it is in "
            "no score, and passes after earlier epochs counted for the next one. Call update_eval at an epoch's last "
            "batch, in a callback that comes before the Recorder's.",
            UserWarning, stacklevel=3,
        )  # fmt: skip


def check_processes(recorder: Recorder, processes: int) -> None:
    """Raise InputError unless the Recorder was created for as many processes as the training has."""
    if processes != recorder.ranks.size:
        raise InputError(
            f"Expected a training of {recorder.ranks.size} process(es), for which this Recorder was created, but it has "
            f"{processes}. Each would see only its own share of the samples. "
            "Create the Recorder after all processes have started."
        )


def state_path(folder: Path, recorder: Recorder, name: str = "recorder") -> Path:
    """Return this process's file in a checkpoint folder; every rank keeps its own part of the recording."""
    return folder / (f"{name}.safetensors" if recorder.ranks.size == 1 else f"{name}-{recorder.ranks.rank}.safetensors")
