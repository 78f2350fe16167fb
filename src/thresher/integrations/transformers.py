"""Records a training of Hugging Face's `Trainer` (`pip install 'thresher[transformers,accelerate]'`).

recorder = Recorder(len(train_set), num_classes, scorers={"tdds": TDDS(window=10)})
trainer = Trainer(model, arguments, train_dataset=Indexed(train_set))    # adds a column "sample_id"
attach(trainer, recorder)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
    state_path,
)
from thresher.models._base import optional_package
from thresher.recorder import Recorder
from thresher.train.checkpoint import load_checkpoint, save_checkpoint

_transformers: Any = optional_package("transformers", "this integration")


def attach(trainer: Any, recorder: Recorder, *, sample_ids: str = SAMPLE_ID, targets: str = "labels") -> None:
    """Let `recorder` see every training batch of `trainer`, a `transformers.Trainer` for classification.

    `sample_ids` and `targets` name the columns with the ids and the labels, as the collator names them. The logits are
    those of the model's output, taken where the loss is computed, before the optimiser step; evaluation is not recorded.
    The Recorder's state is written into every checkpoint and read from the one that `train(resume_from_checkpoint=...)`
    resumes, so the recording has no gaps. An epoch cut short by `max_steps` is not committed. If `auto_find_batch_size`
    restarts the loop with smaller batches, the recording restarts with it; a copy of the Recorder's state is kept for that
    during training.

    Three methods of this trainer instance are wrapped: `compute_loss` and `train`, since callbacks see neither the logits
    nor which checkpoint is resumed, and `prediction_step`, so that no model sees the ids. InputError is raised for a Trainer
    that has a Recorder already; during training, for batches without these columns, outputs without logits, an epoch that
    ends before its last batch, a training resumed without the Recorder's state, and a Recorder created for another number
    of processes; and what the Recorder raises. Under torchrun, create the Recorder after the Trainer, which sets up the
    processes.
    """
    if not isinstance(trainer, _transformers.Trainer):
        raise InputError(
            f"Expected a transformers.Trainer, but got {type(trainer).__name__}. Call attach(trainer, recorder) in this "
            "order."
        )
    check_recorder(recorder)
    if any(isinstance(callback, RecorderCallback) for callback in trainer.callback_handler.callbacks):
        raise InputError(
            "Expected a Trainer without a Recorder, but this one has a Recorder already. Give one Recorder all scorers; to "
            "train again, create a new Trainer and a new Recorder."
        )
    callback = RecorderCallback(recorder)
    trainer.add_callback(callback)
    trainer.compute_loss = _seeing_logits(trainer.compute_loss, recorder, sample_ids, targets)
    trainer.prediction_step = _without_ids(trainer.prediction_step, sample_ids)
    trainer.train = _seeing_checkpoint(trainer.train, callback)
    # The Trainer drops columns that the model does not take before a batch is made; the ids are dropped after it instead.
    trainer._set_signature_columns_if_needed()
    trainer._signature_columns = [*trainer._signature_columns, sample_ids]


class RecorderCallback(_transformers.TrainerCallback):
    """Ends the Recorder's epochs and saves its state with the Trainer's; `attach` adds it and the access to the logits."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.resumed: Path | None = None
        self.start: dict[str, Any] | None = None  # the state that the training began with, where it may begin again

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore the Recorder if the training is resumed, or restarts after an out-of-memory error."""
        check_processes(self.recorder, args.world_size)
        if not _transformers.trainer_utils.has_length(kwargs["train_dataloader"]):
            raise InputError(
                "Expected training data with a length, but got a stream: the Trainer does not know where its epochs end, so "
                "none could be committed. Give its class a __len__, the number of samples in one pass."
            )
        path = state_path(self.resumed or _folder(args, state), self.recorder)
        if state.global_step > 0 and path.is_file():  # without the file, the check below says what is wrong
            self.recorder.load_state_dict(load_checkpoint(path))
        elif self.start is not None:
            self.recorder.load_state_dict(self.start)
        check_start(self.recorder, state.global_step)
        if args.auto_find_batch_size and self.start is None:
            self.start = copy.deepcopy(self.recorder.state_dict())

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Drop the state that the training began with; warn of an evaluation pass that came too late."""
        self.start = None
        check_end(self.recorder)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse a training that is in another epoch than the Recorder."""
        check_epoch(self.recorder, int(state.epoch or 0))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Commit the epoch with its last step, before a checkpoint of that step is written."""
        if float(state.epoch).is_integer():
            self.recorder.end_epoch()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse to go on after an epoch that ended before its last batch, unless the training ends with it."""
        ended = control.should_training_stop or state.global_step >= state.max_steps
        if not ended and not float(state.epoch).is_integer():
            raise InputError(
                f"Epoch {int(state.epoch)} ended after {float(state.epoch) % 1:.0%} of the batches that the Trainer counted "
                "at its start, so it cannot be committed. Give all epochs the same number of batches, and let none end "
                "early. For dynamic pruning with epochs of different sizes use Lightning, Accelerate or a loop of your own."
            )

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the Recorder's state into the checkpoint folder; every process writes its own part."""
        save_checkpoint(state_path(_folder(args, state), self.recorder), self.recorder.state_dict())


def _seeing_logits(
    compute_loss: Callable[..., Any], recorder: Recorder, sample_ids: str, targets: str
) -> Callable[..., Any]:
    """Return a `compute_loss` that passes each training batch's logits to the Recorder; the model never sees the ids."""

    def seeing(model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        if not model.training:
            return compute_loss(model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch)
        ids, labels = ids_of(inputs, sample_ids), column(inputs, targets, "targets")
        rest = {name: value for name, value in inputs.items() if name != sample_ids}
        found = compute_loss(model, rest, return_outputs=True, num_items_in_batch=num_items_in_batch)
        if not isinstance(found, tuple):
            raise InputError(
                f"Expected compute_loss to return (loss, outputs) where return_outputs is True, but got a "
                f"{type(found).__name__}. End it with: return (loss, outputs) if return_outputs else loss."
            )
        loss, outputs = found
        logits = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
        if logits is None:
            raise InputError(
                f"Expected a model whose output has logits, but {type(model).__name__} returned a {type(outputs).__name__}. "
                "Use a model for sequence or image classification, with return_dict=True; a model of your own must return "
                "{'loss': loss, 'logits': logits}."
            )
        recorder.update(logits, labels, ids)
        return (loss, outputs) if return_outputs else loss

    return seeing


def _without_ids(step: Callable[..., Any], sample_ids: str) -> Callable[..., Any]:
    """Return a `prediction_step` whose model never sees the ids, also where there are no labels and so no loss."""

    def without(model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        return step(model, {name: value for name, value in inputs.items() if name != sample_ids}, *arguments, **options)

    return without


def _seeing_checkpoint(train: Callable[..., Any], callback: RecorderCallback) -> Callable[..., Any]:
    """Return a `train` that tells the callback which checkpoint it resumes, if one is given."""

    def seeing(resume_from_checkpoint: Any = None, *arguments: Any, **options: Any) -> Any:
        named = resume_from_checkpoint is not None and not isinstance(resume_from_checkpoint, bool)
        callback.resumed, callback.start = Path(resume_from_checkpoint) if named else None, None
        return train(resume_from_checkpoint, *arguments, **options)

    return seeing


def _folder(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"{_transformers.trainer_utils.PREFIX_CHECKPOINT_DIR}-{state.global_step}"
