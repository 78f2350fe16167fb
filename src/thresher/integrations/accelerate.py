"""Records a loop that runs under Accelerate (`pip install 'thresher[accelerate]'`).

attach(accelerator, recorder)                   # save_state and load_state then hold the Recorder too
recorder.update(logits, targets, sample_ids)    # every batch, before accelerator.backward(loss)
recorder.end_epoch()                            # every epoch, before save_state
"""

from __future__ import annotations

from typing import Any

from thresher.errors import InputError
from thresher.integrations._common import check_processes
from thresher.models._base import optional_package
from thresher.recorder import Recorder

_accelerate: Any = optional_package("accelerate", "this integration")


def attach(accelerator: Any, recorder: Recorder) -> None:
    """Let `accelerator.save_state` write the Recorder's state and `load_state` restore it.

    The loop calls the Recorder itself. Objects are restored in the order in which they were attached. Raises InputError for
    what is no Accelerator, and for several processes where the Recorder is of one.

    >>> from thresher.scorers import EL2N
    >>> accelerator = _accelerate.Accelerator(cpu=True)
    >>> attach(accelerator, Recorder(100, 10, scorers={"el2n": EL2N()}))
    """
    if not isinstance(accelerator, _accelerate.Accelerator):
        raise InputError(f"Expected an accelerate.Accelerator, but got {type(accelerator).__name__}.")
    check_processes(recorder, accelerator.num_processes)
    accelerator.register_for_checkpointing(recorder)
