"""The default recipe of every data set: what is trained unless options say otherwise.

CIFAR's is the published one of the TDDS study (200 epochs, surrogate batch 100, coreset batch 128). That of the digits is
ours: small enough for the whole job to run in under three minutes on two CPU cores. So is that of larger pictures: ResNet-34
with the ImageNet stem, as in the study, for the usual 90 epochs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thresher.data import OWN, name_parts, pathless
from thresher.data.corrupt import Corruption
from thresher.data.mislabel import Mislabeling
from thresher.errors import InputError
from thresher.keep import parse_keep
from thresher.methods import AUTO, RANDOM
from thresher.train.spec import Precision, TrainSpec
from thresher.types import SEEDS


@dataclass(frozen=True)
class Recipe:
    """Surrogate and coreset training, and the kept shares and methods a study starts with.

    The usual method is `auto`, beside Random, which it must beat; `docs/results/auto` shows where it did (decision 0022).
    """

    surrogate: TrainSpec
    coreset: TrainSpec
    keeps: tuple[float, ...]
    methods: str = f"{RANDOM},{AUTO}"


_CIFAR = Recipe(TrainSpec("resnet18", batch_size=100), TrainSpec("resnet18", batch_size=128), (0.1,))
_DIGITS = Recipe(
    TrainSpec("tiny", epochs=30, batch_size=32, lr=0.05), TrainSpec("tiny", epochs=40, batch_size=16, lr=0.05), (0.1,),
    "all",  # they are there to show
)  # fmt: skip
_PICTURES = TrainSpec("resnet34_imagenet", epochs=90, batch_size=128)
_SMALL = 64
"""Pictures of fewer pixels a side get CIFAR's recipe: the ImageNet stem leaves little of them."""

_MOST = 1_000_000  # seeds or samples that an option may name; more is a typing error


def recipe(data: str) -> Recipe:
    """Return the recipe of a data set.

    >>> recipe("folder").surrogate.model, recipe("folder:size=32").surrogate.model
    ('resnet34_imagenet', 'resnet18')
    >>> recipe("folder").methods, recipe("digits").methods
    ('random,auto', 'all')
    """
    kind, size, _ = name_parts(data)
    if kind in OWN and (size or _SMALL) >= _SMALL:
        return Recipe(_PICTURES, _PICTURES, (0.1,))
    return _DIGITS if kind == "digits" else _CIFAR


def run_folder(data: str, corrupt: str | None = None, mislabel: str | None = None, prefix: str = "") -> Path:
    """Return the default folder of a run, another one for every change of the data.

    >>> run_folder("digits", None, "0.2:seed=1").as_posix(), run_folder("folder:size=32:my/pictures", prefix="tune-").name
    ('runs/digits+mislabel=0.2_seed=1', 'tune-folder_size=32')
    """
    changes = f"+corrupt={Corruption.parse(corrupt)}" if corrupt is not None else ""
    changes += f"+mislabel={Mislabeling.parse(mislabel)}" if mislabel is not None else ""
    return Path("runs") / f"{prefix}{pathless(data)}{changes}".replace(":", "_")


def adjusted(
    spec: TrainSpec, *, model: str | None, epochs: int | None, schedule: int | None, batch_size: int | None,
    lr: float | None, precision: Precision, compile_model: bool,
) -> TrainSpec:  # fmt: skip
    """Return `spec` with the options that were given; TrainSpec refuses a run that is longer than its schedule."""
    options: dict[str, Any] = {
        "model": model, "epochs": epochs, "schedule_epochs": schedule, "batch_size": batch_size, "lr": lr,
    }  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    return replace(spec, precision=precision, compile=compile_model, **given)


def parse_keeps(text: str) -> tuple[int | float, ...]:
    """Return kept shares and counts from `0.1,0.2,500`; as everywhere, `1` is one sample and `1.0` is everything.

    >>> parse_keeps("0.1,0.2,500")
    (0.1, 0.2, 500)
    """
    keeps = tuple(parse_keep(part) for part in text.split(","))
    if len(set(map(repr, keeps))) != len(keeps):
        raise InputError(f"Expected distinct shares or counts to keep, but got {text!r}.")
    return keeps


def parse_seeds(text: str, what: str = "seeds") -> tuple[int, ...]:
    """Return the seeds (or other numbers, called `what` in errors) that `0-2` or `0,1,5` names.

    >>> parse_seeds("0-2,7")
    (0, 1, 2, 7)
    """
    seeds: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            several = range(int(first), int(last if dash else first) + 1)
            if not several or "_" in part:
                raise ValueError  # 5-3 names none, and 0_2 is 2 to Python
            if len(several) + len(seeds) > _MOST:
                raise InputError(f"Expected at most {_MOST} {what}, but got {text[:80]!r}.")
            seeds += several
    except (ValueError, OverflowError):
        seeds = []
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"Expected distinct {what} such as 0-2 or 0,1,5, but got {text!r}.")
    if max(seeds) >= SEEDS:
        raise InputError(f"Expected {what} below 2^63, but got {text[:80]!r}.")
    return tuple(seeds)
