"""Records a loop that runs under Accelerate (`pip install 'thresher[accelerate]'`).

attach(accelerator, recorder)                   # save_state and load_state then hold the Recorder too
recorder.update(logits, targets, sample_ids)    # every batch, before accelerator.backward(loss)
recorder.end_epoch()                            # every epoch, before save_state
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from thresher.errors import InputError
from thresher.integrations._common import check_processes, check_recorder, state_path
from thresher.models._base import optional_package
from thresher.recorder import Recorder
from thresher.train.checkpoint import load_checkpoint, save_checkpoint

_accelerate: Any = optional_package("accelerate", "this integration")


def attach(accelerator: Any, recorder: Recorder, name: str = "recorder") -> None:
    """Let `accelerator.save_state` write the Recorder's state and `load_state` restore it.

    The loop calls the Recorder itself. `name` is that of the file in the checkpoint's folder, so that several Recorders may
    be attached; each process writes a file of its own. Raises InputError for what is no Accelerator, for a name that another
    Recorder has there, and where the Recorder was made for another number of processes; `load_state` raises
    MissingFileError where the checkpoint has no such file.

    >>> from thresher.scorers import EL2N
    >>> accelerator = _accelerate.Accelerator(cpu=True)
    >>> attach(accelerator, Recorder(100, 10, scorers={"el2n": EL2N()}))
    """
    if not isinstance(accelerator, _accelerate.Accelerator):
        raise InputError(
            f"Expected an accelerate.Accelerator, but got {type(accelerator).__name__}. Call attach(accelerator, "
            "recorder), in this order."
        )
    check_recorder(recorder)
    check_processes(recorder, accelerator.num_processes)
    names: set[str] = vars(accelerator).setdefault("_thresher_names", set())
    if name in names:
        raise InputError(
            f"Expected a name of its own for each Recorder of an Accelerator, but {name!r} has one, whose file this would "
            f"replace. Name it: attach(accelerator, recorder, {name + '-2'!r}); for a training anew make a new Accelerator."
        )
    names.add(name)

    def save(models: Any, weights: Any, folder: str) -> None:
        save_checkpoint(state_path(Path(folder), recorder, name), recorder.state_dict())

    def load(models: Any, folder: str) -> None:
        recorder.load_state_dict(load_checkpoint(state_path(Path(folder), recorder, name)))

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)
