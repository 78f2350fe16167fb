"""`DynamicSampler`: a torch sampler that shows each epoch what a rule draws for it.

    rule = InfoBatch()
    recorder = Recorder(n, num_classes, rule.scorers, missing="allow")
    sampler = DynamicSampler(rule, recorder, epochs=30)
    ... DataLoader(Indexed(dataset), batch_size=128, sampler=sampler)
    loss = sampler.mean(losses, sample_ids)     # every batch: the mean of the losses, times the epoch's weights

The epoch is the Recorder's: call `recorder.update` every batch and `recorder.end_epoch()` every epoch, as in any recording.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from thresher.coreset import Coreset
from thresher.data.augment import permutation
from thresher.data.batching import batch_sizes
from thresher.dynamic._base import Live, Rule, draw_seed
from thresher.errors import InputError
from thresher.recorder import Recorder
from thresher.recording.arguments import tensor
from thresher.types import Pool, is_whole


class DynamicSampler(Sampler[int]):
    """Yields the sample ids that `rule` draws for the Recorder's current epoch, shuffled anew for each epoch.

    `epochs` is the length of the training, for rules that stop pruning before its end. Draw and order are a function of
    (`seed`, epoch, scores). The Recorder must have the rule's scorers (`rule.scorers`) and `missing="allow"`, since epochs
    lack samples. The attribute `counts` lists how many samples each epoch drew so far.

    On several ranks of torch.distributed all make the same draw from the scores that they share, and each gets its part, as
    from torch's DistributedSampler: every R-th, with at most R - 1 samples shown twice to make the parts equal. Beginning an
    epoch is then a collective call: call `set_epoch` on every rank.

    Raises InputError if the Recorder lacks a scorer or does not allow missing samples.

    >>> from thresher.dynamic import InfoBatch
    >>> rule = InfoBatch()
    >>> recorder = Recorder(4, 2, rule.scorers, missing="allow")
    >>> sampler = DynamicSampler(rule, recorder, epochs=8)
    >>> logits = torch.tensor([[9.0, 0.0], [8.0, 0.0], [7.0, 0.0], [-9.0, 0.0]])  # the last one is not learned
    >>> recorder.update(logits, torch.zeros(4, dtype=torch.int64), torch.tensor([0, 1, 2, 3]))
    >>> recorder.end_epoch()
    >>> len(sampler), sorted(sampler.weights.tolist())  # one of the three learned is dropped, two count for it
    (3, [0.0, 1.0, 1.5, 1.5])
    """

    def __init__(self, rule: Rule, recorder: Recorder, *, epochs: int, seed: int = 0) -> None:
        _check_kinds(rule, recorder)
        if not (is_whole(epochs) and is_whole(seed) and epochs >= 1 and seed >= 0):
            raise InputError(f"Expected epochs >= 1 and seed >= 0, integers, but got {epochs!r} and {seed!r}.")
        lacking = [name for name, scorer in rule.scorers.items() if recorder.scorers.get(name) != scorer]
        if lacking:
            raise InputError(
                f"The rule {rule.name} needs the scores {lacking}, which this Recorder does not have. Create it with "
                "scorers=rule.scorers, or with {**rule.scorers, ...} to add others."
            )
        if recorder.missing != "allow":
            raise InputError('Samples will be missing from epochs on purpose. Create the Recorder with missing="allow".')
        self.rule, self.recorder, self.epochs, self.seed = rule, recorder, int(epochs), int(seed)  # NumPy's no JSON holds
        self.counts: list[int] = []
        self._epoch = -1  # of the draw
        self._coreset: Coreset | None = None
        self._weights: Tensor | None = None
        self._warned = False

    def __repr__(self) -> str:  # which draws nothing
        return f"<DynamicSampler by {self.rule!r} for {self.epochs} epochs, seed {self.seed}>"

    @property
    def coreset(self) -> Coreset:
        """What the current epoch shows: a `Coreset` like a static one, to save or to make a `Subset` from."""
        epoch = self.recorder.epoch
        if self._coreset is not None and self._epoch == epoch:
            return self._coreset
        if self._coreset is not None and self._epoch != epoch - 1:
            raise InputError(
                f"The Recorder is in epoch {epoch}, but the last draw was for epoch {self._epoch}. Restore the states of "
                "Recorder and sampler that were saved together, and let the sampler show every epoch."
            )
        self._look_back()
        due = self.rule.due(epoch, self.epochs)
        if self._coreset is None and epoch and not due and self.rule.reads(epoch, self.epochs):
            warnings.warn(
                f"Epoch {epoch} shows the draw of an earlier epoch, which this sampler does not have, so it draws now. If a "
                "training is resumed, restore the sampler's state with the Recorder's: sampler.load_state_dict(...).",
                UserWarning, stacklevel=3,
            )  # fmt: skip
        drawn = self._draw(epoch) if self._coreset is None or due else self._coreset
        self._hold(epoch, drawn)
        self.counts.append(len(drawn))
        return drawn

    def _look_back(self) -> None:
        """Warn, once, if the epoch before showed fewer samples than it drew: frameworks leave some out without a word."""
        seen = self.recorder.seen
        if self._coreset is None or self._warned or not 0 < seen < len(self._coreset):
            return
        self._warned = True
        warnings.warn(
            f"Epoch {self._epoch} drew {len(self._coreset)} samples, but the Recorder got {seen}. Under Lightning use "
            "Trainer(use_distributed_sampler=False, reload_dataloaders_every_n_epochs=1); under Accelerate do not prepare "
            "the loader if there are several processes, since each rank has its part already. If the loader drops its last "
            "batch, or you ended the epoch early, this is as it should be.",
            UserWarning, stacklevel=4,
        )  # fmt: skip

    def _draw(self, epoch: int) -> Coreset:
        live = Live(epoch, self.epochs, {}, Pool(self.recorder.n, num_classes=self.recorder.num_classes))
        if self.rule.reads(epoch, self.epochs):
            live = replace(live, scores=self.recorder.scores(self.rule.scorers), pool=self.recorder.pool())
        drawn = self.rule.draw(live, draw_seed(self.seed, epoch))
        about = {"rule": {"name": self.rule.name, "params": self.rule.params()}, "epoch": epoch, "seed": self.seed}
        drawn = Coreset(drawn.ids, drawn.weights, drawn.n, {**drawn.source, "dynamic": about})
        if len(set(self.recorder.ranks.share(f"draw {epoch}", drawn.digest))) > 1:
            raise InputError("Expected the same draw on all ranks. Give every rank the same rule, epochs and seed.")
        return drawn

    def _hold(self, epoch: int, coreset: Coreset) -> None:
        self._epoch, self._coreset, self._weights = epoch, coreset, None

    def set_epoch(self, epoch: int) -> None:
        """Begin epoch `epoch`, which must be the Recorder's; with several ranks, every rank must call this.

        Raises InputError if the Recorder is in another epoch, and what the rule raises.
        """
        if epoch != self.recorder.epoch:
            raise InputError(
                f"Expected the Recorder's epoch {self.recorder.epoch}, but got {epoch}. Call recorder.end_epoch() after "
                "every epoch, and restore the Recorder's state when a training is resumed. A loader that Accelerate "
                "prepared counts from 0 itself: call its set_epoch(epoch), not the sampler's."
            )
        _ = self.coreset

    @property
    def shown(self) -> int:
        """Number of samples shown in all epochs drawn so far: the cost of the training.

        A draw made after the last epoch only to answer `len()`, as Lightning causes, does not count.
        """
        epoch = self.recorder.epoch
        return sum(self.counts[: max(epoch, min(epoch + 1, self.epochs))])

    def steps(self, batch_size: int, epochs: int) -> int:
        """Return the number of optimiser steps of the first `epochs` epochs, in batches as `Batches` cuts them."""
        size = self.recorder.ranks.size
        return sum(len(batch_sizes(count, batch_size, train=True, parts=size)) for count in self.counts[:epochs])

    def needs_evaluation(self, epoch: int) -> bool:
        """Return whether the draw of epoch `epoch` reads an evaluation pass, which must then come before the epoch."""
        rule = self.rule
        return rule.reads_evaluation and rule.due(epoch, self.epochs) and rule.reads(epoch, self.epochs)

    @property
    def weights(self) -> Tensor:
        """(n,) float32: the weight of each sample's loss in the current epoch, 0 for samples that are not shown."""
        coreset = self.coreset
        if self._weights is None:
            weights = np.zeros(coreset.n, dtype=np.float32)
            weights[coreset.ids] = 1 if coreset.weights is None else coreset.weights
            self._weights = torch.from_numpy(weights)
        return self._weights

    def mean(self, losses: Tensor, sample_ids: Tensor) -> Tensor:
        """Return the mean over the batch of the losses (B,), each times its sample's weight: the loss to backpropagate.

        `sample_ids` (B,) are those of the batch, on any device. Raises InputError if the two differ in shape, as with losses
        that are already averaged (`reduction="none"` is needed).
        """
        if losses.shape != sample_ids.shape or losses.ndim != 1:
            raise InputError(
                f"Expected a loss for each of the {tuple(sample_ids.shape)} samples, but got shape {tuple(losses.shape)}. "
                'Compute it with reduction="none".'
            )
        weights = self.weights
        if weights.device != losses.device:
            weights = self._weights = weights.to(losses.device)
        if self.coreset.weights is None:
            return losses.mean()
        return (losses * weights[sample_ids.to(losses.device)]).mean()

    def __len__(self) -> int:
        return math.ceil(len(self.coreset) / self.recorder.ranks.size)

    def __iter__(self) -> Iterator[int]:
        ids, ranks = torch.from_numpy(self.coreset.ids), self.recorder.ranks
        order = ids[permutation(len(ids), self.seed, self.recorder.epoch)]
        padded = order.repeat(math.ceil(len(self) * ranks.size / len(order)))[: len(self) * ranks.size]
        return iter(padded[ranks.rank :: ranks.size].tolist())

    def state_dict(self) -> dict[str, Any]:
        """Return what the sampler needs to resume, the same on every rank; save the Recorder's state with it.

        Its arrays are tensors, which checkpoints of any framework hold without pickled objects.
        """
        held = self._coreset
        return {
            **self._identity(),
            "counts": list(self.counts),
            "epoch": self._epoch,
            **({} if held is None else {"ids": torch.from_numpy(held.ids), "source": dict(held.source)}),
            **({} if held is None or held.weights is None else {"weights": torch.from_numpy(held.weights)}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`; raises InputError if it is of another rule, seed, length or data set."""
        if not isinstance(state, Mapping):
            raise InputError(f"Expected a sampler state as state_dict() returns it, but got {type(state).__name__}.")
        for key, value in self._identity().items():
            if state.get(key) != value:
                raise InputError(f"Expected a sampler state with {key}={value!r}, but got {state.get(key)!r}.")
        lacking = sorted({"counts", "epoch"} - set(state))
        if lacking:
            raise InputError(f"Expected a complete sampler state, but it lacks {', '.join(lacking)}.")
        self.counts = [int(count) for count in state["counts"]]
        self._epoch, self._coreset, self._weights = int(state["epoch"]), None, None
        if "ids" in state:
            ids, weights = (np.array(tensor(state[key]).numpy()) if key in state else None for key in ("ids", "weights"))
            assert ids is not None
            self._coreset = Coreset(ids, weights, self.recorder.n, state["source"])

    def _identity(self) -> dict[str, Any]:
        rule = [self.rule.name, self.rule.params()]
        return {"n": self.recorder.n, "rule": rule, "epochs": self.epochs, "seed": self.seed}


def _check_kinds(rule: object, recorder: object) -> None:
    """Raise InputError for anything but a rule and a Recorder."""
    if not isinstance(rule, Rule):
        came = f"the class {rule.__name__}" if isinstance(rule, type) else repr(rule)
        raise InputError(f"Expected a rule, such as InfoBatch() or parse_rule('infobatch'), but got {came}.")
    if not isinstance(recorder, Recorder):
        raise InputError(f"Expected a thresher.Recorder, but got {type(recorder).__name__}.")
