"""What a scorer is: a frozen dataclass whose state is a plain dict of NumPy arrays.

A scorer never sees logits, batches, ranks or devices. It takes one `Frame` per epoch (`update`) and can give scores after
any epoch (`compute`), so the trajectory length T is not a parameter: it is the number of epochs seen so far.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from thresher.errors import InputError, TooFewEpochsError, UnknownNameError
from thresher.named import Named
from thresher.signals import EVAL_PREFIX, FEATURE_SIGNALS, resolve
from thresher.types import Floats, Frame, HardEnd, Pool

State = dict[str, NDArray[Any]]
MOST_EPOCHS = int(np.iinfo(np.int16).max)
"""The most epochs that can be scored: states count them in 16 bits."""


def check_count(epochs: int) -> None:
    """Raise InputError for more epochs than states can count."""
    if epochs > MOST_EPOCHS:
        raise InputError(
            f"Expected at most {MOST_EPOCHS} epochs, the most that scorers count, but got {epochs}. Record several passes "
            "over the data as one epoch, or score after fewer."
        )


def check_end(column: str, scorer: Scorer, at: int | None, epochs: int) -> None:
    """Raise InputError if a scorer that reads the last evaluation pass is asked before the end of `epochs`."""
    if scorer.by_class and at is not None and at < epochs:
        raise InputError(
            f"{column} reads the features of the last evaluation pass, so it cannot be scored after {at} of {epochs} "
            f"epochs. Score at the end, or record {at} epochs."
        )


def as_scorers(given: Any) -> dict[str, Scorer]:
    """Return scorers by column name. Raises InputError for anything else."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InputError(f"Expected scorers by name, such as {{'tdds': TDDS(window=5)}}, but got {given!r}.")
    for name, scorer in given.items():
        if not isinstance(scorer, Scorer):
            came = f"the class {scorer.__name__}" if isinstance(scorer, type) else repr(scorer)
            raise InputError(
                f"Expected scorers by name, such as {{'tdds': TDDS(window=5)}}, but {name!r} is {came}. "
                "Give an instance of a class of thresher.scorers, with parentheses: TDDS()."
            )
    return dict(given)


def described(scorers: Mapping[str, Scorer]) -> dict[str, list[Any]]:
    """Return a JSON-ready description of scorers: name and parameters by column."""
    return {name: [scorer.name, scorer.params()] for name, scorer in scorers.items()}


def named(scorers: Mapping[str, Scorer], name: str, epochs: int) -> Scorer:
    """Return the scorer `name` of a Recorder. Raises UnknownNameError, or TooFewEpochsError if it needs more `epochs`."""
    if name not in scorers:
        raise UnknownNameError(f"Expected a scorer of this Recorder, one of {list(scorers)}, but got {name!r}.")
    least = scorers[name].min_epochs
    if epochs < least and not epochs:
        raise TooFewEpochsError(
            f"{name} needs at least {least} completed epochs, but none is recorded. Call update() for each batch and "
            "end_epoch() after each epoch; attach an integration before training."
        )
    if epochs < least:
        raise TooFewEpochsError(
            f"{name} needs at least {least} completed epochs, but {epochs} are recorded. "
            "Train longer or choose a smaller window."
        )
    return scorers[name]


def lacking(scorer: Scorer, there: Collection[str]) -> list[str]:
    """Return the signals that the scorer reads but are not `there`; UnknownNameError for one that does not exist."""
    missing = sorted(set(scorer.needs) - set(there))
    for name in missing:
        resolve(name)
    return missing


def computed(scorer: Scorer, state: State, pool: Pool) -> Floats:
    """Return what the scorer computes. Raises InputError if it is not one number per sample: scorers may be third-party."""
    values = scorer.compute(state, pool)
    shape = getattr(values, "shape", None)
    if shape != (pool.n,):
        came = type(values).__name__ if shape is None else f"shape {shape}"
        raise InputError(
            f"Expected scores of shape ({pool.n},) from the scorer {scorer.name}, one per sample, but got {came}. "
            "Run thresher.testing.check_scorer on it."
        )
    return values


def check_evaluated(name: str, scorer: Scorer, values: Floats) -> None:
    """Raise InputError if a scorer that reads the evaluation pass has no score for any sample."""
    evaluated = bool(scorer.needs) and all(need.startswith(EVAL_PREFIX) for need in scorer.needs)
    if evaluated and bool(np.isnan(values).all()):
        features = not FEATURE_SIGNALS.isdisjoint(need.removeprefix(EVAL_PREFIX) for need in scorer.needs)
        raise InputError(
            f"{name} reads an evaluation pass{' with features' if features else ''}, but none was recorded: call "
            f"update_eval({'..., features=...' if features else '...'}) for each batch before the last end_epoch()."
        )


@dataclasses.dataclass(frozen=True)
class Scorer(Named, ABC):
    """Base of all scorers. Subclasses are final, frozen dataclasses; their fields are their parameters."""

    hard_end: ClassVar[HardEnd]
    by_class: ClassVar[bool] = False
    """True for a scorer without signals whose score of a sample depends only on the pool's samples of the same class: a
    recording on many ranks then gathers the features of one class at a time."""

    @property
    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """Names of the signals (see `thresher.signals`) that `update` reads."""

    @property
    def min_epochs(self) -> int:
        """Completed epochs before `compute` can give a score; 0 if no dynamics are needed."""
        return 1

    @property
    def reads_pool(self) -> bool:
        """True if `compute` reads targets or features, so that it must see all samples at once.

        Other scorers can score some samples without the rest, as workers do with a part of a recording; their pool then has
        no targets or features.
        """
        return not self.needs

    @property
    def trailing_epochs(self) -> int | None:
        """How many of the last epochs replay reads first, if older ones fade from the score; None = all are needed.

        A scorer that returns a number must implement `init_highest`, and each new state must be a monotone function of the
        previous one.
        """
        return None

    def init_highest(self, n: int) -> State:
        """Return the state with the largest score that any earlier dynamics can leave; see `trailing_epochs`.

        By default the state before the first epoch, for scorers on which earlier dynamics leave no trace.
        """
        return self.init(n)

    @abstractmethod
    def init(self, n: int) -> State:
        """Return the state before the first epoch for `n` samples."""

    @abstractmethod
    def update(self, state: State, frame: Frame) -> None:
        """Add one epoch to the state, in place. Samples that are not in the frame keep their state.

        Each row has a value of at least one signal in `needs`; the frame may have no rows.
        """

    @abstractmethod
    def compute(self, state: State, pool: Pool) -> Floats:
        """Return (N,) float32 scores; NaN = not (enough) observed. Pure: changes nothing, may be called after any epoch."""

    @abstractmethod
    def definition(self, values: Mapping[str, NDArray[np.float64]], pool: Pool) -> NDArray[np.float64]:
        """The literal, slow definition over whole trajectories: `values[signal]` is (T, N), NaN = not observed."""
