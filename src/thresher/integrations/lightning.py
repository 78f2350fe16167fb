"""Records a Lightning training (`pip install 'thresher[lightning]'`).

    callback = RecorderCallback(Recorder(len(train_set), num_classes, scorers={"tdds": TDDS(window=10)}))
    trainer = Trainer(max_epochs=30, callbacks=[callback])
    trainer.fit(module, DataLoader(Indexed(train_set), shuffle=True))    # batches are (sample_ids, images, targets)

`training_step` must return its logits with the loss: `{"loss": loss, "logits": logits}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from thresher.data.base import SAMPLE_ID
from thresher.errors import InputError
from thresher.integrations._common import (
    check_end,
    check_epoch,
    check_processes,
    check_recorder,
    check_start,
    column,
    ids_of,
)
from thresher.models._base import optional_package
from thresher.recorder import Recorder

_lightning: Any = optional_package("lightning.pytorch", "this integration")


class RecorderCallback(_lightning.Callback):
    """Feeds a Recorder from `training_step`, ends its epochs, and keeps its state in Lightning's checkpoints.

    `sample_ids` and `targets` say where they are in a batch: a position in a tuple, a key in a mapping. By default they are
    where `thresher.data.Indexed` puts them: first and last in a tuple; "sample_id" and "labels" in a mapping. `logits` is
    the key of the logits in what `training_step` returns; they are taken before the optimiser step.

    An epoch is committed with its last batch, before any checkpoint of it is written, so `trainer.fit(ckpt_path=...)`
    resumes without gaps from any end-of-epoch checkpoint; `validate`, `test` and `predict` do not change the Recorder,
    whatever checkpoint they load. An epoch cut short by `max_steps` is not committed, and a `fast_dev_run` is not
    recorded, nor is the additional epoch in which `StochasticWeightAveraging` only updates batch normalisation. Raises
    InputError for batches or outputs without these columns, for a training resumed without the Recorder's state, and for a
    Recorder created for another number of processes; and what the Recorder raises.

    With several devices the Recorder must be created after all processes have started: pass a function that creates it, such
    as `lambda: Recorder(...)`; it is called once, and `callback.recorder` is the result. With strategies that start and end
    their processes within `fit` (`ddp_spawn`, `ddp_fork`, `ddp_notebook`) the Recorder ends with them, and then
    `callback.recorder` raises InputError.

    >>> from thresher.scorers import EL2N
    >>> callback = RecorderCallback(Recorder(100, 10, scorers={"el2n": EL2N()}))
    >>> callback.state_dict()["epoch"]
    0
    """

    def __init__(
        self,
        recorder: Recorder | Callable[[], Recorder],
        *,
        sample_ids: str | int | None = None,
        targets: str | int | None = None,
        logits: str = "logits",
    ) -> None:
        super().__init__()
        if not callable(recorder):
            check_recorder(recorder)
        self._sample_ids, self._targets, self._logits = sample_ids, targets, logits
        self._make = None if isinstance(recorder, Recorder) else recorder
        self._strategy: Any = None
        self._stage = "fit"
        self._recorder = recorder if isinstance(recorder, Recorder) else None

    @property
    def recorder(self) -> Recorder:
        """The Recorder; raises InputError if this process has none."""
        if self._recorder is None:
            raise InputError(
                "Expected a Recorder, but the function that creates it was not called in this process. `fit` calls it in "
                "the processes that train; those of ddp_spawn, ddp_fork and ddp_notebook end with `fit`. Use "
                "strategy='ddp', or call scores() in on_train_end, or give the Recorder a store."
            )
        return self._recorder

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Create the Recorder, now that the processes have started; Lightning restores states after this."""
        self._strategy, self._stage = trainer.strategy, stage
        if self._make is not None:
            made = self._make()
            if not isinstance(made, Recorder):
                raise InputError(
                    f"Expected a function that returns the Recorder that it creates, but it returned {made!r}. End it with: "
                    "return recorder."
                )
            self._recorder, self._make = made, None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse a training with another number of processes than the Recorder's, or one the Recorder does not belong to."""
        check_processes(self.recorder, trainer.world_size)
        if not trainer.fast_dev_run:
            check_start(self.recorder, trainer.global_step)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Refuse a training that is in another epoch than the Recorder."""
        if _trains(trainer):
            check_epoch(self.recorder, trainer.current_epoch)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Record the batch, and commit the epoch with its last one."""
        if not _trains(trainer):
            return
        if not isinstance(outputs, Mapping) or self._logits not in outputs:
            came = (sorted(map(str, outputs)) or None) if isinstance(outputs, Mapping) else "only a loss"
            raise InputError(
                f"Expected training_step to return {{'loss': loss, {self._logits!r}: logits}}, but it returned {came}. "
                "Return the logits with the loss, or name their key: RecorderCallback(recorder, logits=...)."
            )
        named = isinstance(batch, Mapping)
        ids = self._sample_ids if self._sample_ids is not None else (SAMPLE_ID if named else 0)
        targets = self._targets if self._targets is not None else ("labels" if named else -1)
        self.recorder.update(outputs[self._logits], column(batch, targets, "targets"), ids_of(batch, ids))
        if trainer.is_last_batch:
            self.recorder.end_epoch()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Warn of an evaluation pass that came too late for the last epoch."""
        check_end(self.recorder)

    def state_dict(self) -> dict[str, Any]:
        """Return the Recorder's state with tensors in place of arrays, which torch reads without unpickling objects.

        With several ranks it holds the parts of all, since Lightning asks every rank but saves only what rank 0 returns. It
        is empty where this process has no Recorder, as after `fit` with processes that end with it.
        """
        if self._recorder is None:
            return {}
        state: dict[str, Any] = _with_tensors(self.recorder.state_dict())
        size = self.recorder.ranks.size
        return state if size == 1 else {"ranks": [self._strategy.broadcast(state, src=rank) for rank in range(size)]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the Recorder when training resumes; a store that is ahead is cut back.

        Raises InputError for a state of another number of ranks.
        """
        if self._stage != "fit":
            return
        ranks = self.recorder.ranks
        states = state_dict.get("ranks", [state_dict])
        if len(states) != ranks.size:
            raise InputError(f"Expected a state of {ranks.size} rank(s), but got one of {len(states)}. Resume on as many.")
        self.recorder.load_state_dict(states[ranks.rank])


def _trains(trainer: Any) -> bool:
    """Return whether batches train the module: not in a trial run, nor in a pass that only updates batch normalisation."""
    return not trainer.fast_dev_run and not getattr(trainer.fit_loop, "_skip_backward", False)


def _with_tensors(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _with_tensors(value) for key, value in node.items()}
    if isinstance(node, torch.Tensor):
        return node.cpu()  # of a GPU, another rank would put it on that one
    return torch.from_numpy(node) if isinstance(node, np.ndarray) else node
