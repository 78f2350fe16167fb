"""`redraw`: any static method, applied again every few epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from thresher.coreset import Coreset
from thresher.dynamic._base import Live, Rule, everything
from thresher.errors import InputError, TooFewEpochsError
from thresher.keep import keep_share
from thresher.methods import ResolvedMethod, parse_spec, resolve
from thresher.scorers._base import Scorer
from thresher.selection import select
from thresher.signals import EVAL_PREFIX
from thresher.types import Pool

_COLUMN = "redraw"


@dataclass(frozen=True)
class Redraw(Rule):
    """Show everything for `warmup` epochs, then what `method` keeps by the current scores, redrawn every `every` epochs.

    `method` is a label of `thresher.methods.resolve`, optionally with parameters after colons (`tdds:window=5`,
    `ccs:cutoff=0.3`); `keep` is the share in (0, 1] that is kept; `dataset` names the data set whose published settings to
    use. Scores are computed at the epoch of the draw, so the published T does not apply. A method that draws at random makes
    a new draw each time, from (seed, epoch). Samples that are not shown keep their score, or get a new one from an
    evaluation pass, which shows all; losses are not rescaled.

    `random` needs no warm-up: with `every=1` it is repeated random sampling with independent draws (P. Okanovic et al.,
    "Repeated Random Sampling for Minimizing the Time-to-Accuracy of Learning", ICLR 2024), the baseline to beat. Methods
    that read an evaluation pass (Entropy, Moderate, GraNd) need one before every draw: `Recorder.update_eval` in your own
    loop, `eval_pass=True` in `thresher.train.loop.fit`.

    Raises InputError for invalid values and for `at` in the label, TooFewEpochsError if the warm-up is shorter than the
    method needs for a score, and what `resolve` raises.

    >>> rule = Redraw("tdds:window=3", keep=0.5, every=2, warmup=4)
    >>> [epoch for epoch in range(10) if rule.due(epoch, 10)]
    [0, 4, 6, 8]
    """

    method: str = "tdds"
    keep: float = 0.5
    every: int = 5
    warmup: int = 10
    dataset: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every < 1 or self.warmup < 0:
            raise InputError(f"Expected every >= 1 and warmup >= 0 epochs, but got {self.every} and {self.warmup}.")
        keep_share(self.keep)
        if "at" in parse_spec(self.method)[1]:
            raise InputError(
                f"Expected a method without at, since a redraw uses the current scores, but got {self.method!r}."
            )
        needed = max(scorer.min_epochs for scorer in self.scorers.values())
        if needed > self.warmup:
            raise TooFewEpochsError(
                f"{self.method} has scores after {needed} epochs, but the warm-up has {self.warmup}. Make it that long, "
                "or choose a shorter window (tdds:window=3)."
            )

    @cached_property
    def resolved(self) -> ResolvedMethod:
        """The method with its settings; its `at` is not used."""
        return resolve(self.method, self.dataset, self.keep)

    @property
    def scorers(self) -> Mapping[str, Scorer]:
        """The method's scorer, and those of the additional scores that its selector reads."""
        aux = {f"{_COLUMN}.{key}": scorer for key, scorer in self.resolved.aux_scorers.items()}
        return {_COLUMN: self.resolved.scorer, **aux}

    @property
    def reads_evaluation(self) -> bool:
        """True for Entropy, Moderate and GraNd as published."""
        return any(s.by_class or any(need.startswith(EVAL_PREFIX) for need in s.needs) for s in self.scorers.values())

    def due(self, epoch: int, epochs: int) -> bool:
        """In epoch 0, after the warm-up, and every `every` epochs from then on."""
        return epoch == 0 or (epoch >= self.warmup and (epoch - self.warmup) % self.every == 0)

    def reads(self, epoch: int, epochs: int) -> bool:
        """After the warm-up."""
        return epoch >= self.warmup

    def draw(self, live: Live, seed: int) -> Coreset:
        """Return what the method keeps now. Raises what `thresher.select` raises, such as MissingSamplesError."""
        n = live.pool.n
        if not self.reads(live.epoch, live.epochs):
            return everything(n)
        prefix = f"{_COLUMN}."
        aux = {key.removeprefix(prefix): s.values for key, s in live.scores.items() if key.startswith(prefix)}
        pool = Pool(n, live.pool.targets, live.pool.features, live.pool.num_classes, aux)
        source = {"method": self.method, "notice": self.resolved.notice}
        return select(live.scores[_COLUMN], pool, float(self.keep), self.resolved.selector, seed, source=source)
