"""Records a Lightning training (`pip install 'thresher[lightning]'`).

    callback = RecorderCallback(Recorder(len(train_set), num_classes, scorers={"tdds": TDDS(window=10)}))
    trainer = Trainer(max_epochs=30, callbacks=[callback])
    trainer.fit(module, DataLoader(Indexed(train_set), shuffle=True))    # batches are (sample_ids, images, targets)

`training_step` returns its logits beside the loss: `{"loss": loss, "logits": logits}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from thresher.data.base import SAMPLE_ID
from thresher.errors import InputError
from thresher.integrations._common import check_epoch, check_processes, column
from thresher.models._base import optional_package
from thresher.recorder import Recorder

_lightning: Any = optional_package("lightning.pytorch", "this integration")


class RecorderCallback(_lightning.Callback):
    """Feeds a Recorder from `training_step`, ends its epochs, and keeps its state in Lightning's checkpoints.

    `sample_ids` and `targets` say where they are in a batch: a position in a tuple, a name in a mapping. By default they are
    where `thresher.data.Indexed` puts them: first and last in a tuple, "sample_id" in a mapping, where targets are "labels".
    `logits` is their name in what `training_step` returns; they are taken before the optimiser's step.

    An epoch is committed with its last batch, before any checkpoint of it is written, so `trainer.fit(ckpt_path=...)` goes
    on without holes from any checkpoint of an epoch's end. An epoch that `max_steps` breaks off is not committed, and a
    `fast_dev_run` is not recorded. Raises InputError for batches or outputs without these columns, for a training resumed
    without the Recorder's state, and for several processes where the Recorder is of one; and what the Recorder raises.

    >>> from thresher.scorers import EL2N
    >>> callback = RecorderCallback(Recorder(100, 10, scorers={"el2n": EL2N()}))
    >>> callback.state_dict()["epoch"]
    0
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        sample_ids: str | int | None = None,
        targets: str | int | None = None,
        logits: str = "logits",
    ) -> None:
        super().__init__()
        self.recorder, self._sample_ids, self._targets, self._logits = recorder, sample_ids, targets, logits

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse a training whose processes would each see a part."""
        check_processes(self.recorder, trainer.world_size)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Refuse a training that is in another epoch than the recording."""
        if not trainer.fast_dev_run:
            check_epoch(self.recorder, trainer.current_epoch)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Record the batch, and commit the epoch with its last one."""
        if trainer.fast_dev_run:
            return
        if not isinstance(outputs, Mapping) or self._logits not in outputs:
            raise InputError(
                f"Expected training_step to return {{'loss': loss, {self._logits!r}: logits}}, but it returned "
                f"{'only a loss' if not isinstance(outputs, Mapping) else sorted(map(str, outputs))}. "
                "Return the logits beside the loss, or name their key: RecorderCallback(recorder, logits=...)."
            )
        named = isinstance(batch, Mapping)
        ids = self._sample_ids if self._sample_ids is not None else (SAMPLE_ID if named else 0)
        targets = self._targets if self._targets is not None else ("labels" if named else -1)
        self.recorder.update(outputs[self._logits], column(batch, targets, "targets"), column(batch, ids, "sample ids"))
        if trainer.is_last_batch:
            self.recorder.end_epoch()

    def state_dict(self) -> dict[str, Any]:
        """Return the Recorder's state with tensors in the place of arrays, which torch reads without unpickling objects."""
        state: dict[str, Any] = _with_tensors(self.recorder.state_dict())
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the Recorder; a store that is ahead is cut back."""
        self.recorder.load_state_dict(state_dict)


def _with_tensors(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _with_tensors(value) for key, value in node.items()}
    return torch.from_numpy(node) if isinstance(node, np.ndarray) else node
