"""Records a training loop under Accelerate (`pip install 'thresher[accelerate]'`).

attach(accelerator, recorder)                   # save_state and load_state then include the Recorder
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

    The loop calls the Recorder itself. `name` is that of the file in the checkpoint folder, so that several Recorders can
    be attached; each process writes its own file. Raises InputError for anything but an Accelerator, for a name already used
    by another Recorder, and if the Recorder was created for another number of processes; `load_state` raises
    MissingFileError if the checkpoint has no such file.

    >>> from thresher.scorers import EL2N
    >>> accelerator = _accelerate.Accelerator(cpu=True)
    >>> attach(accelerator, Recorder(100, 10, scorers={"el2n": EL2N()}))
    """
    if not isinstance(accelerator, _accelerate.Accelerator):
        raise InputError(
            f"Expected an accelerate.Accelerator, but got {type(accelerator).__name__}. Call attach(accelerator, "
            "recorder) in this order."
        )
    check_recorder(recorder)
    check_processes(recorder, accelerator.num_processes)
    names: set[str] = vars(accelerator).setdefault("_thresher_names", set())
    if name in names:
        raise InputError(
            f"Expected a unique name for each Recorder of an Accelerator, but {name!r} is taken and its file would be "
            f"replaced. Use attach(accelerator, recorder, {name + '-2'!r}); to train again, create a new Accelerator."
        )
    names.add(name)

    def save(models: Any, weights: Any, folder: str) -> None:
        save_checkpoint(state_path(Path(folder), recorder, name), recorder.state_dict())

    def load(models: Any, folder: str) -> None:
        recorder.load_state_dict(load_checkpoint(state_path(Path(folder), recorder, name)))

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)
