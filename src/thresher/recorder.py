"""The Recorder: turns a training loop's batches into one clean row per sample and epoch.

It owns everything awkward, so that scorers need not: duplicates, missing samples, epoch borders, devices, dtypes, mixed-up
input. Three lines in a loop:

    recorder = Recorder(len(dataset), num_classes, scorers={"tdds": TDDS(window=10)})
    recorder.update(logits, targets, sample_ids)   # every batch, before the optimiser step
    recorder.end_epoch()                           # every epoch

On a CPU every batch is checked before anything is changed. On an accelerator the checks are gathered there without a
synchronisation and raised by `end_epoch`, before anything is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from thresher import signals
from thresher.errors import InputError, MissingSamplesError, SampleIdError, TooFewEpochsError
from thresher.scorers._base import Scorer, State
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame, Pool, Scores

ArrayLike = Any
Missing = Literal["error", "allow"]
Duplicates = Literal["error", "first"]
_LOG_PROB_DTYPES = {"float32": torch.float32, "float16": torch.float16}
_FAULTS = ("ids out of range", "ids seen twice", "logits that are NaN or infinite", "targets outside the classes", "")


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
    >>> recorder.scores()["el2n"].values.round(3).tolist()
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
        if log_probs not in _LOG_PROB_DTYPES:
            raise InputError(f"Expected log_probs to be 'float32' or 'float16', but got {log_probs!r}.")
        self.n, self.num_classes, self.epoch = n, num_classes, 0
        self.missing, self.duplicates = missing, duplicates
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
        self._ready = False
        self._features: np.ndarray[Any, np.dtype[np.float32]] | None = None

    # -- one batch ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def update(
        self, logits: ArrayLike, targets: ArrayLike, sample_ids: ArrayLike, features: ArrayLike | None = None
    ) -> None:
        """Take one training batch: the logits of the training forward pass, before the optimiser step.

        `logits` (B, C) float; `targets` (B,) integer in [0, C); `sample_ids` (B,) integer in [0, n), positions in the
        original data set; `features` (B, D) penultimate outputs, needed only by scorers that read them. Torch tensors
        on any device or NumPy arrays. Raises InputError or SampleIdError, and then has changed nothing.
        """
        logits, targets, ids = self._accept(logits, targets, sample_ids)
        logits, targets, ids, features = self._admit(logits, targets, ids, features, self._visits)
        if len(ids) == 0:
            return
        previous = self._previous[ids].float() if self._remembers else None
        outputs = signals.Outputs(logits, targets, _features_of(features, self._train_names, logits), previous)
        for name, values in signals.compute(outputs, self._train_names).items():
            self._values[name][ids] = values
        if self._remembers:
            self._previous[ids] = outputs.guarded_log_probs.to(self._previous.dtype)
        if self._logits is not None:
            self._logits[ids] = logits.to(self._logits.dtype)

    @torch.no_grad()
    def update_eval(
        self, logits: ArrayLike, targets: ArrayLike, sample_ids: ArrayLike, features: ArrayLike | None = None
    ) -> None:
        """Take one batch of the optional evaluation pass (eval mode, no augmentation), before `end_epoch`.

        Same arguments as `update`. Fills the signals named `eval_...` and keeps `features` (for Moderate).
        """
        logits, targets, ids = self._accept(logits, targets, sample_ids)
        logits, targets, ids, features = self._admit(logits, targets, ids, features, self._eval_visits)
        if features is not None:
            self._keep_features(features, ids)
        plain = [name.removeprefix(signals.EVAL_PREFIX) for name in self._eval_names]
        plain = [name for name in plain if features is not None or name not in signals.FEATURE_SIGNALS]
        outputs = signals.Outputs(logits, targets, _features_of(features, plain, logits))
        for name, values in signals.compute(outputs, plain).items():
            self._values[signals.EVAL_PREFIX + name][ids] = values

    def _accept(self, logits: ArrayLike, targets: ArrayLike, sample_ids: ArrayLike) -> tuple[Tensor, Tensor, Tensor]:
        """Turn what came into tensors on the recorder's device, checking kinds and shapes."""
        logits, targets, ids = _tensor(logits), _tensor(targets), _tensor(sample_ids)
        if logits.ndim != 2 or logits.shape[1] != self.num_classes:
            raise InputError(
                f"Expected logits of shape (B, {self.num_classes}), but got {tuple(logits.shape)}. "
                "num_classes is fixed when the Recorder is made."
            )
        if not logits.dtype.is_floating_point:
            raise InputError(f"Expected floating-point logits, but got {logits.dtype}.")
        for what, value in (("sample_ids", ids), ("targets", targets)):
            kind = SampleIdError if what == "sample_ids" else InputError
            if value.dtype.is_floating_point or value.dtype == torch.bool or value.dtype.is_complex:
                raise kind(f"Expected integer {what}, but got {value.dtype}. Convert them to int64 where they are made.")
            if value.shape != logits.shape[:1]:
                raise kind(f"Expected {what} of shape ({logits.shape[0]},), but got {tuple(value.shape)}.")
        if not self._ready:
            self._allocate(self._device or logits.device)
        return (
            logits.to(self._device, torch.float32),
            targets.to(self._device, torch.int64),
            ids.to(self._device, torch.int64),
        )

    def _admit(
        self, logits: Tensor, targets: Tensor, ids: Tensor, features: ArrayLike | None, visits: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Check contents, count the visits, and return the rows to use."""
        feature_rows = None if features is None else _tensor(features)
        if feature_rows is not None and (feature_rows.ndim != 2 or len(feature_rows) != len(logits)):
            raise InputError(f"Expected features of shape ({len(logits)}, D), but got {tuple(feature_rows.shape)}.")
        if self.duplicates == "first":
            keep = _first_rows(ids, visits, self.n)
            logits, targets, ids = logits[keep], targets[keep], ids[keep]
            feature_rows = feature_rows if feature_rows is None else feature_rows[keep.to(feature_rows.device)]
        outside = (ids < 0) | (ids >= self.n)
        safe = torch.where(outside, 0, ids)
        known = self._targets[safe]
        flags = torch.stack(
            [
                outside.any(),
                torch.zeros((), dtype=torch.bool, device=ids.device),
                ~torch.isfinite(logits).all(),
                ((targets < 0) | (targets >= self.num_classes)).any(),
                ((known >= 0) & (known != targets)).any(),
            ]
        )
        on_cpu = ids.device.type == "cpu"
        if on_cpu:
            self._raise_faults(flags, logits, targets, ids)
        visits.index_add_(0, safe, torch.ones_like(safe, dtype=visits.dtype))
        twice = (visits[safe] > 1).any()
        if on_cpu and bool(twice):
            visits.index_add_(0, safe, torch.full_like(safe, -1, dtype=visits.dtype))
            self._raise_twice(ids, visits)
        flags[1] = twice
        self._faults |= flags
        self._targets[safe] = targets
        return logits, targets, safe, feature_rows

    def _raise_faults(self, flags: Tensor, logits: Tensor, targets: Tensor, ids: Tensor) -> None:
        if not bool(flags.any()):
            return
        if flags[0]:
            bad = ids[(ids < 0) | (ids >= self.n)]
            raise SampleIdError(
                f"Expected sample ids in [0, {self.n}), positions in the original data set, but got {bad[0].item()} "
                f"({len(bad)} such ids in this batch). Check that ids come from the unpruned data set."
            )
        if flags[2]:
            bad = ids[~torch.isfinite(logits).all(dim=1)]
            raise InputError(
                f"Expected finite logits, but those of sample {bad[0].item()} (and {len(bad) - 1} more in this batch) "
                f"hold NaN or infinity in epoch {self.epoch}. Training has diverged; the recording up to epoch "
                f"{self.epoch} is intact. Lower the learning rate or leave 16-bit precision, and resume."
            )
        if flags[3]:
            bad = targets[(targets < 0) | (targets >= self.num_classes)]
            raise InputError(f"Expected targets in [0, {self.num_classes}), but got {bad[0].item()}.")
        known = self._targets[ids]
        row = int(torch.nonzero((known >= 0) & (known != targets))[0])
        raise InputError(
            f"Sample {ids[row].item()} came with target {targets[row].item()}, but earlier with {known[row].item()}. "
            "Ids and samples are mixed up, or labels changed; ids must name positions in one fixed data set."
        )

    def _raise_twice(self, ids: Tensor, visits: Tensor) -> None:
        values, counts = torch.unique(ids, return_counts=True)
        repeated = values[(counts > 1) | (visits[values] > 0)]
        raise SampleIdError(
            f"Sample {repeated[0].item()} was seen twice in epoch {self.epoch} ({len(repeated)} such ids in this batch). "
            "Call end_epoch() at the end of every epoch; for a sampler that pads or repeats, make the Recorder with "
            "duplicates='first'."
        )

    def _allocate(self, device: torch.device) -> None:
        self._device, self._ready = device, True
        nan = float("nan")
        names = [*self._train_names, *self._eval_names]
        self._values = {name: torch.full((self.n,), nan, device=device) for name in names}
        self._visits = torch.zeros(self.n, dtype=torch.int16, device=device)
        self._eval_visits = torch.zeros(self.n, dtype=torch.int16, device=device)
        self._targets = torch.full((self.n,), -1, dtype=torch.int64, device=device)
        self._faults = torch.zeros(len(_FAULTS), dtype=torch.bool, device=device)
        shape = (self.n if self._remembers else 0, self.num_classes)
        self._previous = torch.full(shape, nan, dtype=_LOG_PROB_DTYPES[self._log_probs], device=device)
        wanted = self.store.logits if self.store is not None else None
        self._logits: Tensor | None = None
        if wanted is not None:
            self._logits = torch.zeros((self.n, self.num_classes), dtype=_LOG_PROB_DTYPES[wanted], device=device)

    def _keep_features(self, features: Tensor, ids: Tensor) -> None:
        if self._features is None or self._features.shape[1] != features.shape[1]:
            self._features = np.full((self.n, features.shape[1]), np.nan, dtype=np.float32)
        self._features[ids.cpu().numpy()] = features.detach().float().cpu().numpy()

    # -- one epoch ---------------------------------------------------------------------------------------------------

    def end_epoch(self, missing: Missing | None = None) -> None:
        """Commit the epoch: to the store first, then to the scorers.

        Raises MissingSamplesError where samples were not seen (unless `missing="allow"`, here or for the Recorder);
        the epoch then stays open and may be completed, or committed with `end_epoch(missing="allow")`. If the store
        cannot be written, the error passes through and the epoch stays open too.
        """
        self._check_epoch(missing or self.missing)
        frame = self._frame()
        if self.store is not None:
            logits = None if self._logits is None else self._logits[torch.from_numpy(frame.ids)].cpu().numpy()
            if self._features is not None and bool((self._eval_visits > 0).any()):
                self.store.write_features(self._features)
            if self.epoch == 0 or (self._targets < 0).any():
                self.store.write_targets(self._targets.cpu().numpy())
            self.store.append(frame, logits)
        for name, scorer in self.scorers.items():
            scorer.update(self._states[name], frame)
        self._clear()
        self.epoch += 1

    def _check_epoch(self, missing: Missing) -> None:
        if not self._ready or not bool((self._visits > 0).any()):
            raise MissingSamplesError(f"Epoch {self.epoch} has no samples: call update() for each batch first.")
        faults = [text for text, hit in zip(_FAULTS, self._faults.tolist(), strict=True) if hit]
        if faults:
            wrong = ", ".join(text or "targets that changed between epochs" for text in faults)
            raise InputError(
                f"Epoch {self.epoch} was not committed: it held {wrong}. What was committed before is intact; "
                "resume from the last checkpoint."
            )
        absent = torch.nonzero(self._visits == 0)[:, 0]
        if len(absent) and missing != "allow":
            raise MissingSamplesError(
                f"Expected all {self.n} samples in epoch {self.epoch}, but {len(absent)} are missing, the first of them "
                f"{absent[:5].tolist()}. Set drop_last=False and a sampler that visits every sample; to record with "
                "holes on purpose, call end_epoch(missing='allow')."
            )

    def _frame(self) -> Frame:
        seen = (self._visits > 0).cpu().numpy()
        names = list(self._train_names)
        if bool((self._eval_visits > 0).any()):
            names += [n for n in self._eval_names if not bool(self._values[n].isnan().all())]
        ids = np.flatnonzero(seen).astype(np.int64)
        rows: Any = slice(None) if len(ids) == self.n else ids
        # The copy matters on a CPU, where .numpy() would share memory with the buffers that the next epoch fills.
        values = {name: self._values[name].cpu().numpy()[rows].copy() for name in names}
        return Frame(self.epoch, ids, values, self.n)

    def _clear(self) -> None:
        self._visits.zero_()
        self._eval_visits.zero_()
        for values in self._values.values():
            values.fill_(float("nan"))

    # -- what comes out ----------------------------------------------------------------------------------------------

    def pool(self) -> Pool:
        """Return what is known besides the dynamics: targets and features."""
        targets = self._targets.cpu().numpy() if self._ready else None
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
        """Return everything needed to go on: nested dicts of tensors, arrays, numbers and strings, no pickled objects."""
        if not self._ready:
            self._allocate(self._device or torch.device("cpu"))
        return {
            "n": self.n,
            "num_classes": self.num_classes,
            "epoch": self.epoch,
            "scorers": {name: [s.name, s.params()] for name, s in self.scorers.items()},
            "states": {name: dict(state) for name, state in self._states.items()},
            "previous": self._previous,
            "targets": self._targets,
            "visits": self._visits,
            "eval_visits": self._eval_visits,
            "values": dict(self._values),
            **({} if self._features is None else {"features": self._features}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`; raises InputError if it is of another data set or other scorers.

        A store that is ahead of the state (the checkpoint was written before its last epoch) is cut back to it.
        """
        mine = {"n": self.n, "num_classes": self.num_classes}
        mine["scorers"] = {name: [s.name, s.params()] for name, s in self.scorers.items()}  # type: ignore[assignment]
        for key, value in mine.items():
            if state[key] != value:
                raise InputError(f"Expected a recorder state with {key}={value!r}, but got {state[key]!r}.")
        if self.store is not None:
            if self.store.epochs < state["epoch"]:
                raise InputError(
                    f"The store holds {self.store.epochs} epochs, but the state is of epoch {state['epoch']}: "
                    "they are not of one recording."
                )
            self.store.truncate(state["epoch"])
        self._allocate(self._device or torch.device("cpu"))
        self.epoch = int(state["epoch"])
        for attribute in ("previous", "targets", "visits", "eval_visits"):
            getattr(self, "_" + attribute).copy_(_tensor(state[attribute]))
        for name, values in state["values"].items():
            self._values[name].copy_(_tensor(values))
        self._states = {
            name: {key: np.array(_tensor(array).numpy()) for key, array in scorer_state.items()}
            for name, scorer_state in state["states"].items()
        }
        for name in self.scorers:  # a scorer without state leaves no arrays behind
            self._states.setdefault(name, {})
        self._features = np.array(_tensor(state["features"]).numpy()) if "features" in state else None


def _tensor(value: ArrayLike) -> Tensor:
    """Return `value` as a tensor without a copy where that is possible."""
    if isinstance(value, Tensor):
        return value.detach()
    return torch.from_numpy(np.ascontiguousarray(value))


def _features_of(features: Tensor | None, names: Iterable[str], logits: Tensor) -> Tensor | None:
    """Return features ready for the signals, or raise if a signal needs them and they are not there."""
    if not signals.FEATURE_SIGNALS & set(names):
        return None
    if features is None:
        raise InputError("These scorers need features: pass features=(B, D), the penultimate outputs, to update().")
    return features.to(logits.device, torch.float32)


def _first_rows(ids: Tensor, visits: Tensor, n: int) -> Tensor:
    """Return the positions of rows whose sample has no row yet, neither earlier in the epoch nor in this batch."""
    order = torch.argsort(ids, stable=True)
    ordered = ids[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    first &= visits[ordered.clamp(0, n - 1)] == 0
    return order[first].sort().values
