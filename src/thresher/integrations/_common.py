"""What the integrations share: a column of a batch, and the checks that keep a recording whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from thresher.errors import InputError, SampleIdError
from thresher.recorder import Recorder


def column(batch: Any, key: str | int, what: str) -> Any:
    """Return one column of a batch: by name of a mapping, by position of a tuple or list.

    Raises InputError, naming `what` was looked for and what there is.

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
        "thresher.data.Indexed, which adds sample ids, or name the column where they are."
    )


def ids_of(batch: Any, key: str | int) -> Any:
    """Return the sample ids of a batch; raises InputError where there is something else, such as the images.

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
    """Raise InputError for what is no Recorder."""
    if not isinstance(recorder, Recorder):
        raise InputError(f"Expected a thresher.Recorder, but got {type(recorder).__name__}. Check the order of arguments.")


def check_epoch(recorder: Recorder, epoch: int) -> None:
    """Raise InputError unless the Recorder is in the epoch that the training is in; else the recording would have holes."""
    if recorder.epoch != epoch:
        raise InputError(
            f"The training is in epoch {epoch}, but the Recorder has {recorder.epoch} epochs. Resume from a checkpoint that "
            "was written while this Recorder was attached, and not after an epoch that was broken off (max_steps); for a "
            "training from the start, make a new Recorder."
        )


def check_start(recorder: Recorder, step: int) -> None:
    """Raise InputError where a training that begins after `step` steps has a Recorder of another one.

    That is a Recorder that holds rows of an epoch which another training broke off, or nothing of one that is resumed.
    """
    amid = recorder.amid_epoch
    if amid and not step:
        raise InputError(
            f"The training is at its start, but the Recorder holds a part of epoch {recorder.epoch}, of a training that was "
            "broken off. Make a new Recorder."
        )
    if step and not amid and not recorder.epoch:
        raise InputError(
            f"The training goes on after {step} steps, but the Recorder is empty. Resume from a checkpoint that was written "
            "while this Recorder was attached."
        )


def check_processes(recorder: Recorder, processes: int) -> None:
    """Raise InputError unless the Recorder works across as many processes as the training has."""
    if processes != recorder.ranks.size:
        raise InputError(
            f"Expected a training of {recorder.ranks.size} process(es), as this Recorder was made for, but it has "
            f"{processes}. Each would see only its own share of the samples. "
            "Make the Recorder when all processes have started."
        )


def state_path(folder: Path, recorder: Recorder, name: str = "recorder") -> Path:
    """Return the file of this process in a checkpoint's folder; every rank keeps its own part of the recording."""
    return folder / (f"{name}.safetensors" if recorder.ranks.size == 1 else f"{name}-{recorder.ranks.rank}.safetensors")
