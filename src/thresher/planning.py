"""What recording, scoring and selecting will take, before they begin: memory, disk, network and time, by arithmetic.

Sizes follow from what the code keeps and are exact but for file headers. Times are measured constants (`MEASURED`) times
the size; `docs/scale.md` shows the arithmetic, and tests compare the sizes with real recorders, rows that travel and files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from fractions import Fraction

from thresher.errors import InputError
from thresher.keep import Keep, keep_count
from thresher.named import check_fields
from thresher.ranks.owners import Owners, even_bucket

TRAIN_SIGNALS = 8
"""Of the signals that `thresher record` stores, those of the training pass; two need the logits of the epoch before."""

EVAL_SIGNALS = 4
"""Of the signals that `thresher record` stores, those of the evaluation pass."""

_REMEMBERING = 2
_KEPT = 12  # bytes a sample: its target (int64), and how often it was seen in both passes (int16 each)
_WAITING = 24  # bytes of a waiting row besides its numbers: id, target, step (int64 each)


@dataclass(frozen=True)
class Measured:
    """Constants from `docs/results/benchmarks/` (the file of each is named beside it), all on the CPU of one machine.

    `record_seconds` is a lower bound: it was measured with two epochs of TDDS's one signal, where `thresher record` stores
    the signals of all methods.
    """

    machine: str = "2 cores of Intel(R) Xeon(R) Processor"
    record_seconds: float = 5.100061e-9  # a sample, class and epoch, on two threads (imagenet_epoch)
    write_bytes: float = 64e6  # a second: a store written and synced (replay_grid)
    score_seconds: float = 157.6883e-9  # a sample and epoch, of one core: six methods in one pass (scoring)
    select_seconds: float = 40.29053e-9  # a score: a tenth of 10^8 kept, whole process (selection)
    overhead: float = 0.01850892  # share of a training step that recording all signals takes (recorder_overhead)


MEASURED = Measured()


@dataclass(frozen=True)
class Setup:
    """A recording to be planned: `n` samples in `classes` classes for `epochs` epochs on `ranks` ranks.

    `features` is the width of the penultimate layer, which the evaluation pass keeps for Moderate and GraNd (0: no
    such pass); `log_prob_bytes` is 4 or 2 (16-bit log-probabilities); `workers` score at once. Raises InputError for sizes
    that cannot be.

    >>> Setup(1281167, 1000, 90, 8).rows
    160146
    """

    n: int
    classes: int
    epochs: int
    ranks: int = 1
    features: int = 512
    log_prob_bytes: int = 4
    workers: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        lowest = {"classes": 2, "features": 0}
        highest = {"n": 10**15, "ranks": 10**6}
        for field in fields(self):
            value, low = getattr(self, field.name), lowest.get(field.name, 1)
            if value < low:
                raise InputError(f"Expected {field.name.replace('_', ' ')} of at least {low}, but got {value}.")
            if value > (most := highest.get(field.name, 10**9)):
                raise InputError(f"Expected {field.name.replace('_', ' ')} of at most {most:.0e}, but got {value}.")
        if self.log_prob_bytes not in (2, 4):
            raise InputError(f"Expected log-probabilities of 2 or 4 bytes, but got {self.log_prob_bytes}.")

    @property
    def signals(self) -> int:
        """How many signals are stored, those of the evaluation pass among them."""
        return TRAIN_SIGNALS + (EVAL_SIGNALS if self.features else 0)

    @property
    def rows(self) -> int:
        """The most samples that a rank owns."""
        return Owners(self.n, even_bucket(self.n, self.ranks), self.ranks).largest


def state_bytes(setup: Setup, window: int = 0) -> int:
    """Return the bytes that the Recorder keeps on a rank between epochs: p C + 4 S + 12 a sample, and 4 K for TDDS live.

    p are the bytes of a log-probability, S the signals, K the `window` of a live TDDS (0: the store alone is written).
    Features come on top.

    >>> state_bytes(Setup(1281167, 1000, 90)) == 1281167 * (4 * 1000 + 4 * 12 + 12)
    True
    """
    return setup.rows * (setup.log_prob_bytes * setup.classes + 4 * setup.signals + _KEPT + 4 * window)


def feature_bytes(setup: Setup) -> int:
    """Return the bytes of the features of a rank's samples, float32, in main memory."""
    return 4 * setup.rows * setup.features


def row_bytes(setup: Setup) -> tuple[int, int]:
    """Return the bytes of one sample's row on its way to its owner: of the training pass, of the evaluation pass.

    24 bytes of integers; then a float32 for each signal that needs no memory, and the C logits for those that do.
    """
    train = _WAITING + 4 * (TRAIN_SIGNALS - _REMEMBERING + setup.classes)
    return train, _WAITING + 4 * (EVAL_SIGNALS + setup.features) if setup.features else 0


def waiting_bytes(setup: Setup) -> int:
    """Return the bytes of the rows that wait on a rank at the end of an epoch; nothing waits where there is one rank.

    Each rank sees about as many samples as it owns, whichever they are.
    """
    return -(-setup.n // setup.ranks) * sum(row_bytes(setup)) if setup.ranks > 1 else 0


def memory_bytes(setup: Setup) -> int:
    """Return the bytes of a rank at the end of an epoch, when its rows leave: state, features, waiting rows."""
    return state_bytes(setup) + feature_bytes(setup) + waiting_bytes(setup)


def network_bytes(setup: Setup, evaluated: bool = True) -> int:
    """Return the bytes that all ranks send one another in an epoch: every row but those that are seen by their owner.

    A sampler deals samples out anew, so of R ranks all but one in R rows travel. `evaluated`: in the epoch of the
    evaluation pass, which is one; without it, in any other.
    """
    rows = sum(row_bytes(setup)) if evaluated else row_bytes(setup)[0]
    return int(Fraction(setup.ranks - 1, setup.ranks) * setup.n * rows)


def store_bytes(setup: Setup) -> int:
    """Return the bytes of the store: 4 a sample, epoch and signal of the training pass (the change has none at epoch 0);
    signals of the evaluation pass, targets and features once.

    Ids shrink to nearly nothing, but for features, which they stand beside; a file's header takes some kilobytes.
    """
    evaluated = setup.signals - TRAIN_SIGNALS
    numbers = 4 * setup.n * (TRAIN_SIGNALS * setup.epochs - _REMEMBERING + evaluated)
    return numbers + 8 * setup.n + 4 * setup.n * setup.features


def score_bytes(setup: Setup, columns: int = 6) -> int:
    """Return the bytes of a score table with so many columns, float32 each, and labels (a byte or two each)."""
    return setup.n * (4 * columns + (1 if setup.classes <= 256 else 2))


def record_seconds(setup: Setup) -> float:
    """Return the seconds that recording takes a rank over the whole training, on a CPU, its part of the store included.

    A lower bound, see `Measured`.
    """
    values = setup.rows * setup.classes * setup.epochs
    return values * MEASURED.record_seconds + store_bytes(setup) / setup.ranks / MEASURED.write_bytes


def scoring_seconds(setup: Setup) -> float:
    """Return the seconds that scoring with six methods takes the workers, where reading is no slower than computing."""
    return setup.n * setup.epochs * MEASURED.score_seconds / setup.workers


def selecting_seconds(setup: Setup) -> float:
    """Return the seconds that a selection from a score file takes, with one process."""
    return setup.n * MEASURED.select_seconds


@dataclass(frozen=True)
class Payback:
    """When a surrogate pays: with the `trainings`-th training on the coreset, where a full training takes `seconds` or more.

    `trainings` is None if everything is kept, so that it never does.
    """

    trainings: int | None
    seconds: float


def payback(setup: Setup, keep: Keep, surrogate_epochs: int) -> Payback:
    """Return from which training on the coreset on, and for how long full trainings, pruning has paid for its surrogate.

    With F seconds for a full training, m trainings on a share k save m (1 - k) F and cost a surrogate of s F (s: the part
    of the epochs that it trains, (1 + o) times for the overhead o) and c seconds of recording, scoring, selecting. m is the
    least number with m (1 - k) > s (1 + o), and F >= c / (m (1 - k) - s (1 + o)).

    >>> found = payback(Setup(1281167, 1000, 90, 8), 0.7, 30)
    >>> found.trainings, round(found.seconds)
    (2, 147)
    """
    if not 1 <= surrogate_epochs <= setup.epochs:
        raise InputError(f"Expected a surrogate of 1 to {setup.epochs} epochs, but got {surrogate_epochs}.")
    saved = 1 - keep_count(setup.n, keep) / setup.n
    if not saved:
        return Payback(None, math.inf)
    surrogate = surrogate_epochs / setup.epochs * (1 + MEASURED.overhead)
    trainings = math.floor(surrogate / saved) + 1
    recorded = Setup(**{**vars(setup), "epochs": surrogate_epochs})
    fixed = sum(cost(recorded) for cost in (record_seconds, scoring_seconds, selecting_seconds))
    return Payback(trainings, fixed / (trainings * saved - surrogate))


def bytes_text(count: float) -> str:
    """Return bytes for people.

    >>> bytes_text(2.5e12), bytes_text(1.28e9), bytes_text(3e6), bytes_text(1000), bytes_text(999)
    ('2.5 TB', '1.28 GB', '3 MB', '1 kB', '999 bytes')
    >>> bytes_text(999_700), bytes_text(2.5e15)
    ('1 MB', '2.5 PB')
    """
    for unit, size in (("EB", 1e18), ("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.9995 * size:  # what three digits make a thousand of the smaller unit is one of this
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def seconds_text(seconds: float) -> str:
    """Return seconds for people.

    >>> [seconds_text(seconds) for seconds in (0.05, 5.44, 102, 120, 9000, 4e5)]
    ['0.05 s', '5.4 s', '102 s', '2.0 min', '2.5 h', '4.6 days']
    """
    for unit, size, least in (("days", 86400, 172800), ("h", 3600, 7200), ("min", 60, 120)):
        if seconds >= least:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
