"""The Recorder: turns a training loop's batches into one clean row per sample and epoch.

It deals with everything awkward, so that scorers need not: duplicates, missing samples, epoch boundaries, devices, dtypes,
mixed-up input. Three lines in a loop:

    recorder = Recorder(len(dataset), num_classes, scorers={"tdds": TDDS(window=10)})
    recorder.update(logits, targets, sample_ids)   # every batch, before the optimiser step
    recorder.end_epoch()                           # every epoch

What it accepts and refuses is in `recording`. On several ranks the lines are the same, and the scores: see `Recorder`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch

from thresher import signals
from thresher.ranks import Ranks, current, together
from thresher.ranks.alike import check_alike, check_asked, check_same_epoch, check_still_alone
from thresher.ranks.owners import Owners, even_bucket
from thresher.recording.arguments import (
    ArrayLike,
    Batch,
    Duplicates,
    Missing,
    as_batch,
    as_device,
    check_features,
    check_settings,
    known_targets,
    tensor,
)
from thresher.recording.checks import check_logits, check_memory, check_state, check_together, check_use
from thresher.recording.collect import Collector
from thresher.recording.gather import everywhere, if_all_known, scores_of_all
from thresher.recording.intake import check_epoch, no_samples
from thresher.recording.memory import DTYPES, Memory
from thresher.scorers._base import Scorer, State, as_scorers, check_count, check_evaluated, described, named
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame, Pool, Scores, as_names


class Recorder:
    """Records the training dynamics of `n` samples over `num_classes` classes.

    `scorers` maps a column name to a scorer that is updated live. `targets` (n,) are the class labels, if they are known
    up front: every batch's targets are checked against them, and samples that are never seen have labels too. `store` is
    an open `TrajectoryWriter`; each epoch is committed to it before the scorers see it. `extra_signals` are recorded in
    addition to those that the scorers need. Give at least one of scorers, store and extra_signals; `scorers={}` records
    nothing on purpose. `log_probs` is the dtype of the remembered log-probabilities: with "float32" TDDS's state is
    4(C+K) bytes per sample; "float16" halves the C part, at a relative error of the score of about 1e-3, a tenth where
    logits hardly change. `missing="allow"` commits epochs in which samples are missing (they keep their state).
    `duplicates="first"` keeps the first of several rows of one sample in an epoch, as padded samplers produce them;
    "error", the default in a single process, refuses them. `device` is where the memory lives, by default the first logits'.
    The attribute `epoch` counts the committed epochs, `seen` the samples that the training showed in the last one (0 if
    that is not known).

    On several ranks of torch.distributed (`ranks`; by default the process group that is set up; `thresher.ranks.Alone()`
    records in this process alone), each rank feeds whatever its sampler shows it. A rank keeps the state of the samples it
    owns, about N / R of them, and until the epoch ends the logits of those it has seen: 4(2C + K) bytes per sample with
    TDDS. Creating a Recorder (with the same arguments everywhere), `end_epoch`, `scores`, `pool` and `load_state_dict` are
    collective calls, which every rank must make; `scores` returns all N scores on each. Copies of a sample are dropped as if
    the ranks' batches of one step were one batch: the earliest step counts, then the lowest rank. An error in a collective
    call is raised on all ranks; one in `update` or `update_eval` only on the rank of that batch, and the job must be ended.

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
        targets: ArrayLike | None = None,
        store: TrajectoryWriter | None = None,
        extra_signals: Iterable[str] = (),
        log_probs: Literal["float32", "float16"] = "float32",
        missing: Missing = "error",
        duplicates: Duplicates | None = None,
        device: torch.device | str | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        extra = set(as_names(extra_signals, "extra_signals"))
        check_use(scorers, extra, store)
        self.ranks = ranks or (current() if store is None else store.ranks)
        check_still_alone(self.ranks)
        self.epoch = self.seen = 0  # epochs committed; samples the training showed in the last one, 0 if not known
        self.scorers = as_scorers(scorers)
        self.store = store
        names = extra.union(() if store is None else store.signals, *(scorer.needs for scorer in self.scorers.values()))
        with together(self.ranks, "Recorder"):
            check_settings(n, num_classes, log_probs, missing, duplicates)
            if store is not None:
                store.check(n, num_classes, self.ranks)
            for name in names:
                signals.resolve(name)
            known = None if targets is None else known_targets(targets, n, num_classes)
        self.n, self.num_classes = n, num_classes = int(n), int(num_classes)  # of NumPy's, no checkpoint could be written
        self._made = {"n": n, "num_classes": num_classes, "scorers": described(self.scorers)}
        more = {"signals": sorted(names), "log_probs": log_probs, "missing": missing, "duplicates": duplicates}
        check_alike(self.ranks, {**self._made, **more})
        bucket = even_bucket(n, self.ranks.size) if store is None else store.manifest.bucket_size
        owners = Owners(n, bucket, self.ranks.size)
        self._span = owners.span(self.ranks.rank)
        self._made["samples"] = list(self._span)  # what a state must have in common with this Recorder
        own = self._own = self._span[1] - self._span[0]
        self._known = None if known is None else known[slice(*self._span)]
        self.missing: Missing = missing
        self.duplicates: Duplicates = duplicates or ("first" if self.ranks.size > 1 else "error")
        self._train_names = sorted(s for s in names if not s.startswith(signals.EVAL_PREFIX))
        self._eval_names = sorted(s for s in names if s.startswith(signals.EVAL_PREFIX))
        self._remembers = bool(signals.REMEMBERING & set(self._train_names))
        self._log_probs = log_probs
        self._states: dict[str, State] = {name: scorer.init(own) for name, scorer in self.scorers.items()}
        self._device = as_device(device) if device is not None else None
        self._memory: Memory | None = None
        self._collector: Collector | None = None
        if self.ranks.size > 1:
            stored = store is not None and store.logits is not None
            self._collector = Collector(self.ranks, owners, self._train_names, self._eval_names, stored)

    def __repr__(self) -> str:
        size = f"{self.n} samples in {self.num_classes} classes, {self.epoch} epochs"
        where = "" if self.store is None else f", into {self.store.folder}"
        rank = f", rank {self.ranks.rank} of {self.ranks.size}" if self.ranks.size > 1 else ""
        return f"<thresher.Recorder of {size}: {', '.join(self.scorers) or 'no scorers'}{where}{rank}>"

    @torch.no_grad()
    def update(
        self, logits: ArrayLike, targets: ArrayLike, sample_ids: ArrayLike, features: ArrayLike | None = None
    ) -> None:
        """Take one training batch: the logits of the training forward pass, before the optimiser step.

        `logits` (B, C) float; `targets` (B,) integer in [0, C); `sample_ids` (B,) integer in [0, n), positions in the
        original data set; `features` (B, D) penultimate outputs, needed only by scorers that read them. Torch tensors
        on any device or NumPy arrays. Raises InputError or SampleIdError, in which case nothing has changed.
        """
        batch = as_batch(logits, targets, sample_ids, features, self.num_classes)
        need = check_features(batch, self._train_names)
        self._place(batch).take(batch, self._train_names, self.epoch, need)

    @torch.no_grad()
    def update_eval(
        self, logits: ArrayLike, targets: ArrayLike, sample_ids: ArrayLike, features: ArrayLike | None = None
    ) -> None:
        """Take one batch of the optional evaluation pass (eval mode, no augmentation), before `end_epoch`.

        Takes the same arguments as `update`. Fills the signals named `eval_...` and keeps `features` (for Moderate).
        """
        batch = as_batch(logits, targets, sample_ids, features, self.num_classes)
        plain = signals.computable(self._eval_names, features is not None)
        memory = self._place(batch)
        if self._collector is not None:
            self._collector.add_eval(memory, memory.moved(batch, with_features=True), plain, self.epoch)
        else:
            memory.settle(self._train_names, self.epoch)
            memory.take_eval(batch, plain, self.epoch)

    def _place(self, batch: Batch | None = None) -> Memory:
        """Return the memory; the first batch decides which device it lives on, also after a state was restored."""
        memory, wanted = self._memory, self._device or (None if batch is None else batch.logits.device)
        if batch is not None and self.store is not None:
            check_together(self.store.epochs, self.epoch)
        if memory is None:
            check_still_alone(self.ranks)
        if batch is not None and self.epoch == 0 and not (memory is not None and memory.shown):
            check_logits(batch.logits)
        if memory is None or wanted not in (None, memory.device):
            previous = DTYPES[self._log_probs] if self._remembers else None
            kept = DTYPES[self.store.logits] if self.store is not None and self.store.logits else None
            names, device = (*self._train_names, *self._eval_names), wanted or torch.device("cpu")
            collect = None if self._collector is None else self._collector.add
            settings = (previous, kept, self.duplicates, device, self._span[0], collect)
            memory = Memory(self._own, self.num_classes, names, *settings).after(memory, self._known)
        self._memory, self._device = memory, wanted
        memory.shown |= batch is not None and len(batch.ids) > 1
        return memory

    def end_epoch(self, missing: Missing | None = None) -> None:
        """Commit the epoch: to the store first, then to the scorers.

        Raises MissingSamplesError if samples were not seen (unless `missing="allow"`, here or for the Recorder);
        the epoch then stays open and may be completed, or committed with `end_epoch(missing="allow")`. If the store
        cannot be written, that error is raised and the epoch stays open too.
        """
        memory = self._memory if self._collector is None else self._place()
        if memory is None:
            raise no_samples(self.epoch)
        check_count(self.epoch + 1)
        memory.settle(self._train_names, self.epoch)
        if self._collector is not None:
            self._collector.collect(memory, self.epoch)
        asked = {"targets": self.epoch == 0 or memory.targets_incomplete, "missing": missing or self.missing}
        parts = self.ranks.share(f"end_epoch {self.epoch}", {**asked, **memory.intake.seen()})
        self.seen = check_epoch(self.epoch, parts)
        frame = memory.frame(self.epoch)
        if self.store is not None:
            shown = Frame(frame.epoch, frame.ids + self._span[0], frame.values, self.n)
            self.store.append(shown, **memory.beside(frame, any(part["targets"] for part in parts)))
        memory.targets_incomplete = bool((memory.intake.targets < 0).any())
        with together(self.ranks, f"end_epoch {self.epoch}"):
            for name, scorer in self.scorers.items() if self._own else ():
                scorer.update(self._states[name], frame.having(scorer.needs))
        memory.start_epoch()
        self.epoch += 1

    @property
    def amid_epoch(self) -> bool:
        """True if this process has taken training batches since the last epoch was committed; copies nothing."""
        waiting = self._collector is not None and self._collector.waits
        return waiting or (self._memory is not None and self._memory.amid_epoch)

    @property
    def amid_evaluation(self) -> bool:
        """True if this process has taken batches of an evaluation pass since the last epoch was committed."""
        waiting = self._collector is not None and self._collector.eval_waits
        return waiting or (self._memory is not None and self._memory.amid_evaluation)

    def pool(self) -> Pool:
        """Return what is known besides the dynamics: targets and features; on several ranks, the targets of all samples.

        Features are the Recorder's own array: copy them before a later evaluation pass, which writes there.
        """
        own = self._own_pool()
        if self._collector is None:
            return own
        targets = None if own.targets is None else everywhere(self.ranks, own.targets)
        return Pool(self.n, targets, None, self.num_classes)

    def _own_pool(self) -> Pool:
        """Return what is known of the owned samples; targets only if those of all samples are known."""
        memory = self._memory if self._known is None else self._place()
        if memory is not None:
            memory.settle(self._train_names, self.epoch)
        targets = if_all_known(self.ranks, None if memory is None else memory.intake.targets.cpu().numpy().copy())
        return Pool(self._own, targets, None if memory is None else memory.features, self.num_classes)

    def scores(self, names: Iterable[str] | None = None) -> dict[str, Scores]:
        """Return the scores of the completed epochs by column name (all scorers, or those in `names`).

        Pure: recording may continue afterwards. On several ranks every rank must call it, and each gets all N scores. Raises
        TooFewEpochsError if a scorer needs more epochs, InputError if one needs an evaluation pass and there was none.
        """
        result = {}
        wanted = list(self.scorers if names is None else as_names(names, "scorers"))
        check_asked(self.ranks, wanted)
        pool = self._own_pool()
        for name in wanted:
            scorer = named(self.scorers, name, self.epoch)
            source = {"scorer": scorer.name, "params": scorer.params(), "at": self.epoch}
            values = scores_of_all(self.ranks, scorer, self._states[name], pool, self.n)
            check_evaluated(name, scorer, values)
            result[name] = Scores(values, scorer.hard_end, source)
        return result

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to resume: nested dicts of tensors, arrays, numbers and strings, no pickled objects.

        Tensors and arrays are the Recorder's own, not copies: save or copy them before recording continues. On several ranks
        this is this rank's part: save it on every rank, in a separate file.
        """
        self._place().settle(self._train_names, self.epoch)
        return {
            **self._made,
            "epoch": self.epoch,
            "states": {name: dict(state) for name, state in self._states.items()},
            "memory": self._place().state(),
            **({} if self._collector is None else {"waiting": self._collector.state()}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`; raises InputError if it is of another data set, other scorers or another rank.

        A store that is ahead of the state (the checkpoint was written before its last epoch) is cut back to match. A
        recording on several ranks must be resumed on the same number of ranks.
        """
        with together(self.ranks, "load_state_dict"):
            check_state(state, self._made, self.scorers, self.store)
            memory = self._place()
            check_memory(state, memory, self._known, self.epoch)
        check_same_epoch(self.ranks, int(state["epoch"]))
        if self.store is not None:  # last: what was refused above, on any rank, has cut and changed nothing
            self.store.truncate(state["epoch"])
            memory.features_cut = self.store.manifest.features is None
        memory.load(state["memory"], self._known)
        self.epoch, self.seen = int(state["epoch"]), 0
        kept = {name: state["states"].get(name, {}) for name in self.scorers}
        self._states = {name: {k: np.array(tensor(v).numpy()) for k, v in arrays.items()} for name, arrays in kept.items()}
        if self._collector is not None:
            self._collector.load(state.get("waiting", {}), self._place().device)
