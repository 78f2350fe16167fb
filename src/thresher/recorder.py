"""The Recorder: turns a training loop's batches into one clean row per sample and epoch.

It owns everything awkward, so that scorers need not: duplicates, missing samples, epoch borders, devices, dtypes, mixed-up
input. Three lines in a loop:

    recorder = Recorder(len(dataset), num_classes, scorers={"tdds": TDDS(window=10)})
    recorder.update(logits, targets, sample_ids)   # every batch, before the optimiser step
    recorder.end_epoch()                           # every epoch

What it accepts, and what it refuses, is in `intake`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from thresher import signals
from thresher.errors import InputError, MissingSamplesError, TooFewEpochsError, UnknownNameError
from thresher.intake import ArrayLike, Batch, Duplicates, Memory, Missing, as_batch, tensor
from thresher.scorers._base import Scorer, State
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Floats, Frame, Pool, Scores

_LOG_PROB_DTYPES = {"float32": torch.float32, "float16": torch.float16}


class Recorder:
    """Records the training dynamics of `n` samples over `num_classes` classes.

    `scorers` maps a column name to a scorer that is updated live. `store` is an open `TrajectoryWriter`; each epoch is
    committed to it before the scorers see it. `extra_signals` are recorded besides those that the scorers need.
    `log_probs` is the dtype of the remembered log-probabilities: with "float32" TDDS's state is 4(C+K) bytes a
    sample, with "float16" the C part is half of that, at a relative error of the score of about 1e-3.
    `missing="allow"` commits epochs in which samples are missing (they keep their state); `duplicates="first"` keeps
    the first of several rows of one sample in an epoch, as padded samplers produce them. `device` is where the
    memory lives; by default that of the first logits.

    >>> from thresher.scorers import EL2N
    >>> recorder = Recorder(2, 2, scorers={"el2n": EL2N()})
    >>> recorder.update(np.array([[0.0, 0.0], [20.0, 0.0]], dtype=np.float32), np.array([0, 0]), np.array([1, 0]))
    >>> recorder.end_epoch()
    >>> [round(float(s), 3) for s in recorder.scores()["el2n"].values]
    [0.0, 0.707]
    """

    def __init__(
        self,
        n: int,
        num_classes: int,
        scorers: Mapping[str, Scorer] | None = None,
        *,
        store: TrajectoryWriter | None = None,
        extra_signals: Iterable[str] = (),
        log_probs: Literal["float32", "float16"] = "float32",
        missing: Missing = "error",
        duplicates: Duplicates = "error",
        device: torch.device | str | None = None,
    ) -> None:
        if n < 1 or num_classes < 2:
            raise InputError(f"Expected n >= 1 samples and num_classes >= 2, but got n={n}, num_classes={num_classes}.")
        for what, value, known in (
            ("log_probs", log_probs, tuple(_LOG_PROB_DTYPES)),
            ("missing", missing, ("error", "allow")),
            ("duplicates", duplicates, ("error", "first")),
        ):
            if value not in known:
                raise InputError(f"Expected {what} to be {known[0]!r} or {known[1]!r}, but got {value!r}.")
        if store is not None and (store.manifest.n, store.manifest.num_classes) != (n, num_classes):
            raise InputError(
                f"Expected a store of {n} samples in {num_classes} classes, but got one of {store.manifest.n} in "
                f"{store.manifest.num_classes}."
            )
        self.n, self.num_classes, self.epoch = n, num_classes, 0
        self.missing: Missing = missing
        self.duplicates: Duplicates = duplicates
        self.scorers: dict[str, Scorer] = dict(scorers or {})
        self.store = store
        names = {need for scorer in self.scorers.values() for need in scorer.needs} | set(extra_signals)
        names |= set(store.signals) if store is not None else set()
        for name in names:
            signals.resolve(name)
        self._train_names = sorted(s for s in names if not s.startswith(signals.EVAL_PREFIX))
        self._eval_names = sorted(s for s in names if s.startswith(signals.EVAL_PREFIX))
        self._remembers = bool(signals.REMEMBERING & set(self._train_names))
        self._log_probs = log_probs
        self._states: dict[str, State] = {name: scorer.init(n) for name, scorer in self.scorers.items()}
        self._device = torch.device(device) if device is not None else None
        self._memory: Memory | None = None
        self._features: Floats | None = None

    @torch.no_grad()
    def update(
        self, logits: ArrayLike, targets: ArrayLike, sample_ids: ArrayLike, features: ArrayLike | None = None
    ) -> None:
        """Take one training batch: the logits of the training forward pass, before the optimiser step.

        `logits` (B, C) float; `targets` (B,) integer in [0, C); `sample_ids` (B,) integer in [0, n), positions in the
        original data set; `features` (B, D) penultimate outputs, needed only by scorers that read them. Torch tensors
        on any device or NumPy arrays. Raises InputError or SampleIdError, and then has changed nothing.
        """
        batch = as_batch(logits, targets, sample_ids, features, self.num_classes)
        need = bool(signals.FEATURE_SIGNALS & set(self._train_names))
        _check_features(batch, need)
        memory = self._place(batch)
        batch = memory.intake.take(memory.moved(batch, need), memory.intake.visits, self.epoch)
        ids = batch.ids
        previous = memory.previous[ids].float() if self._remembers else None
        outputs = signals.Outputs(batch.logits, batch.targets, batch.features, previous)
        for name, values in signals.compute(outputs, self._train_names).items():
            memory.values[name][ids] = values
        if self._remembers:
            memory.previous[ids] = outputs.guarded_log_probs.to(memory.previous.dtype)
        if memory.logits is not None:
            memory.logits[ids] = batch.logits.to(memory.logits.dtype)

    @torch.no_grad()
    def update_eval(
        self, logits: ArrayLike, targets: ArrayLike, sample_ids: ArrayLike, features: ArrayLike | None = None
    ) -> None:
        """Take one batch of the optional evaluation pass (eval mode, no augmentation), before `end_epoch`.

        Same arguments as `update`. Fills the signals named `eval_...` and keeps `features` (for Moderate).
        """
        batch = as_batch(logits, targets, sample_ids, features, self.num_classes)
        plain = [name.removeprefix(signals.EVAL_PREFIX) for name in self._eval_names]
        plain = [name for name in plain if features is not None or name not in signals.FEATURE_SIGNALS]
        memory = self._place(batch)
        moved = memory.moved(batch, with_features=True)
        batch = memory.intake.take(moved, memory.intake.eval_visits, self.epoch)
        if batch.features is not None:
            self._keep_features(batch.features, batch.ids)
        outputs = signals.Outputs(batch.logits, batch.targets, batch.features)
        for name, values in signals.compute(outputs, plain).items():
            memory.values[signals.EVAL_PREFIX + name][batch.ids] = values

    def _place(self, batch: Batch | None = None) -> Memory:
        """Return the memory; the first batch shows where it should live, also where a state was restored before."""
        if self._device is None and batch is not None:
            self._device = batch.logits.device
        before = self._memory
        if before is None or self._device not in (None, before.device):
            device = self._device or torch.device("cpu")
            names = [*self._train_names, *self._eval_names]
            logits = self.store.logits if self.store is not None else None
            previous = _LOG_PROB_DTYPES[self._log_probs] if self._remembers else None
            kept = _LOG_PROB_DTYPES[logits] if logits is not None else None
            self._memory = Memory(self.n, self.num_classes, names, previous, kept, self.duplicates, device)
            if before is not None:
                self._memory.load(before.state())
        assert self._memory is not None
        return self._memory

    def _keep_features(self, features: Tensor, ids: Tensor) -> None:
        if self._features is None or self._features.shape[1] != features.shape[1]:
            self._features = np.full((self.n, features.shape[1]), np.nan, dtype=np.float32)
        self._features[ids.cpu().numpy()] = features.cpu().numpy()

    def end_epoch(self, missing: Missing | None = None) -> None:
        """Commit the epoch: to the store first, then to the scorers.

        Raises MissingSamplesError where samples were not seen (unless `missing="allow"`, here or for the Recorder);
        the epoch then stays open and may be completed, or committed with `end_epoch(missing="allow")`. If the store
        cannot be written, the error passes through and the epoch stays open too.
        """
        memory = self._memory
        if memory is None or not bool((memory.intake.visits > 0).any()):
            raise MissingSamplesError(f"Epoch {self.epoch} has no samples: call update() for each batch first.")
        memory.intake.check_epoch(self.epoch, missing or self.missing)
        frame = self._frame(memory)
        if self.store is not None:
            self._store_epoch(self.store, memory, frame)
        for name, scorer in self.scorers.items():
            scorer.update(self._states[name], frame)
        memory.start_epoch()
        self.epoch += 1

    def _frame(self, memory: Memory) -> Frame:
        ids = np.flatnonzero((memory.intake.visits > 0).cpu().numpy()).astype(np.int64)
        rows: Any = slice(None) if len(ids) == self.n else ids
        # The copy matters on a CPU, where .numpy() would share memory with the buffers that the next epoch fills.
        values = {name: value.cpu().numpy()[rows].copy() for name, value in memory.values.items()}
        return Frame(self.epoch, ids, values, self.n)

    def _store_epoch(self, store: TrajectoryWriter, memory: Memory, frame: Frame) -> None:
        logits = None if memory.logits is None else memory.logits.cpu().numpy()[frame.ids]
        targets = memory.intake.targets.cpu().numpy()
        evaluated = bool((memory.intake.eval_visits > 0).any())
        store.append(
            frame,
            logits,
            targets=targets if self.epoch == 0 or memory.targets_incomplete else None,
            features=self._features if evaluated else None,
        )
        memory.targets_incomplete = bool((targets < 0).any())

    def pool(self) -> Pool:
        """Return what is known besides the dynamics: targets and features."""
        targets = self._memory.intake.targets.cpu().numpy().copy() if self._memory is not None else None
        if targets is not None and (targets < 0).any():
            targets = None
        return Pool(self.n, targets, self._features, self.num_classes)

    def scores(self, names: Iterable[str] | None = None) -> dict[str, Scores]:
        """Return the scores of the completed epochs by column name (all scorers, or those in `names`).

        Pure: recording may go on afterwards. Raises TooFewEpochsError where a scorer needs more epochs.
        """
        result = {}
        pool = self.pool()
        for name in self.scorers if names is None else names:
            if name not in self.scorers:
                raise UnknownNameError(f"Expected a scorer of this Recorder, one of {list(self.scorers)}, but got {name!r}.")
            scorer = self.scorers[name]
            if self.epoch < scorer.min_epochs:
                raise TooFewEpochsError(
                    f"{name} needs at least {scorer.min_epochs} completed epochs, but {self.epoch} are recorded. "
                    "Train longer or choose a smaller window."
                )
            source = {"scorer": scorer.name, "params": scorer.params(), "at": self.epoch}
            result[name] = Scores(scorer.compute(self._states[name], pool), scorer.hard_end, source)
        return result

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to go on: nested dicts of tensors, arrays, numbers and strings, no pickled objects.

        Tensors and arrays are the recorder's own; save them, or copy them, before recording goes on.
        """
        return {
            "n": self.n,
            "num_classes": self.num_classes,
            "epoch": self.epoch,
            "scorers": _identities(self.scorers),
            "states": {name: dict(state) for name, state in self._states.items()},
            "memory": self._place().state(),
            **({} if self._features is None else {"features": self._features}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`; raises InputError if it is of another data set or other scorers.

        A store that is ahead of the state (the checkpoint was written before its last epoch) is cut back to it.
        """
        mine = {"n": self.n, "num_classes": self.num_classes, "scorers": _identities(self.scorers)}
        for key, value in mine.items():
            if state[key] != value:
                raise InputError(f"Expected a recorder state with {key}={value!r}, but got {state[key]!r}.")
        if self.store is not None and self.store.epochs < state["epoch"]:
            raise InputError(
                f"The store holds {self.store.epochs} epochs, but the state is of epoch {state['epoch']}: they are not of "
                "one recording, or the store was cut back. Resume from a state that old, or without one from the start."
            )
        self._place().load(state["memory"])
        if self.store is not None:  # last: what was refused above has cut nothing
            self.store.truncate(state["epoch"])
        self.epoch = int(state["epoch"])
        states = {
            name: {key: np.array(tensor(array).numpy()) for key, array in kept.items()}
            for name, kept in state["states"].items()
        }
        self._states = {name: states.get(name, {}) for name in self.scorers}
        self._features = np.array(tensor(state["features"]).numpy()) if "features" in state else None


def _identities(scorers: Mapping[str, Scorer]) -> dict[str, Any]:
    return {name: [scorer.name, scorer.params()] for name, scorer in scorers.items()}


def _check_features(batch: Batch, need: bool) -> None:
    if need and batch.features is None:
        raise InputError("These scorers need features: pass features=(B, D), the penultimate outputs, to update().")
