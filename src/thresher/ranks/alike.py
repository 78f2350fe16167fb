"""What ranks must agree on: a Recorder is made alike on each and asked for the same, and what they train is one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thresher.errors import InputError
from thresher.ranks import Alone, Ranks, several

_HINTS = {
    "n": "n counts the whole data set, not a rank's part of it: len(dataset), whose positions are the ids.",
    "signals": "Give every rank the same extra_signals and the same store.",
    "its manifest": "Choose a folder that all machines share.",
    "data": "These are fingerprints: every rank must read the same files, in the same order and with the same labels.",
}


def check_alike(ranks: Ranks, made: Mapping[str, Any], what: str = "Recorder") -> None:
    """Raise InputError on all ranks where `what` they have differs in what it is `made` of, JSON-ready; all must call."""
    first, *others = ranks.share(what, dict(made))
    for rank, other in enumerate(others, 1):
        for part, value in first.items():
            if other[part] != value:
                raise InputError(
                    f"Expected the same {what} on all ranks, but {part} is {value} on rank 0 and {other[part]} on rank "
                    f"{rank}. {_HINTS.get(part, 'Make it from the same settings everywhere.')}"
                )


def check_asked(ranks: Ranks, names: Sequence[str]) -> None:
    """Raise InputError on all ranks where they ask for other scores; all must call."""
    asked = ranks.share("scores", list(names))
    for rank, other in enumerate(asked):
        if other != asked[0]:
            raise InputError(
                f"Expected all ranks to ask for the same scores, but rank 0 asks for {asked[0]} and rank {rank} for {other}."
            )


def check_same_epoch(ranks: Ranks, epoch: int) -> None:
    """Raise InputError on all ranks where the states that they load are of other epochs; all must call."""
    epochs = ranks.share("load_state_dict", epoch)
    if len(set(epochs)) > 1:
        raise InputError(f"Expected states of one epoch on all ranks, but they are of {epochs}. Load those saved together.")


def check_still_alone(ranks: Ranks) -> None:
    """Raise InputError where this process has become one of several since it was found to be alone."""
    if isinstance(ranks, Alone) and ranks.found and several():
        raise InputError(
            "This Recorder, or its store, was made before torch.distributed was set up, so it would see its own process's "
            "share of the samples only. Make it after init_process_group, or with ranks=thresher.ranks.Alone() where every "
            "process is to record by itself."
        )
