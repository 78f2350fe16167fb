"""Options that several commands take: checked, and turned into what the lab takes."""

from __future__ import annotations

from pathlib import Path

import torch

from thresher.data import name_parts
from thresher.errors import InputError
from thresher.experiments.defaults import parse_keeps
from thresher.experiments.jobs import cached_data
from thresher.keep import share_of
from thresher.train.spec import Precision
from thresher.trajectory.writer import LogitsDtype


def pick_device(name: str) -> str:
    """Return the device to use; `auto` is cuda if available. Raises InputError for a device that is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.is_available():  # trying it would take memory of the first GPU from each process
        return name
    try:
        torch.zeros(1, device=name).item()  # which "meta" refuses, a device that computes nothing
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"Expected an available device (cpu, cuda, cuda:1), but got {name!r}: {reason}") from None
    return name


def as_precision(text: str) -> Precision:
    """Return the precision that `--precision` names. Raises InputError for another text."""
    if text == "fp32":
        return "fp32"
    if text == "bf16":
        return "bf16"
    raise InputError(f"Expected --precision fp32 or bf16, but got {text!r}.")


def as_logits(text: str | None) -> LogitsDtype | None:
    """Return the dtype that `--logits` names, None without the option. Raises InputError for another text."""
    if text is None:
        return None
    if text == "float16":
        return "float16"
    if text == "float32":
        return "float32"
    raise InputError(f"Expected --logits float16 or float32, but got {text!r}.")


def check_place(data: str, data_dir: Path | None) -> None:
    """Raise InputError for a folder beside the digits, which are built in: they would be taken instead of what it holds."""
    if data_dir is not None and name_parts(data)[0] == "digits":
        raise InputError(
            f"Expected no --data-dir with the digits, which are built in and the default, but got {data_dir}. Say which "
            f"data are there: --data folder --data-dir {data_dir}, or cifar10, cifar100 or imagenet for folder."
        )


def as_shares(text: str, data: str, data_dir: Path | None) -> tuple[float, ...]:
    """Return the shares that `--keep` names; counts become the shares of the data set that keep exactly as many samples."""
    keeps = parse_keeps(text)
    if any(isinstance(keep, int) and keep == 1 for keep in keeps):
        raise InputError("--keep 1 means one sample, from which nothing can be learned. 1.0 keeps everything.")
    if any(isinstance(keep, int) for keep in keeps):
        n = len(cached_data(data, str(data_dir) if data_dir else None, None, None).train)
        keeps = tuple(share_of(n, keep) for keep in keeps)
    if len(set(keeps)) != len(keeps):
        raise InputError(f"Expected distinct shares or counts to keep, but got {text!r}.")
    return tuple(map(float, keeps))


def check_scale_loss(rule: str) -> None:
    """Raise InputError for a text that `--scale-loss` does not take."""
    if rule not in ("published", "none", "all"):
        raise InputError(f"Expected --scale-loss published, none or all, but got {rule!r}.")


def check_eval_every(epochs: int) -> None:
    """Raise InputError for an invalid number of epochs between evaluations."""
    if epochs < 0:
        raise InputError(f"Expected --eval-every as a number of epochs, or 0 for only the last one, but got {epochs}.")


def untold_best(which: str, eval_every: int) -> str:
    """Return a note on the trainings `which` whose best accuracy over the epochs of `--eval-every` is not known."""
    return (
        f"{which} had run, or had begun, without --eval-every {eval_every}: their best accuracy over these epochs is not "
        "known. Choose another --out to train them again."
    )
