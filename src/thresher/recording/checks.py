"""What a Recorder refuses beyond a batch's types and values: uses that record nothing, and states and stores that do not go
with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from thresher.errors import InputError
from thresher.recording.memory import Memory
from thresher.scorers._base import Scorer
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import is_whole


def check_use(scorers: object, extra_signals: Collection[str], store: object) -> None:
    """Raise InputError for what is no open store, and where nothing would be recorded; `scorers={}` asks for that."""
    if store is not None and not isinstance(store, TrajectoryWriter):
        raise InputError(
            f"Expected store as an open TrajectoryWriter, but got {store!r}. Create one: TrajectoryWriter.create(folder, "
            "n, num_classes, signals)."
        )
    if scorers is None and not extra_signals and store is None:
        raise InputError(
            "Expected scorers or a store, but got neither, so nothing would be recorded. "
            "Give scorers={'tdds': TDDS()}, or store=TrajectoryWriter.create(...) to score later."
        )


def check_logits(logits: Tensor) -> None:
    """Raise InputError for rows that are probabilities: all of a batch in [0, 1] and of sum 1. It waits for a device."""
    if len(logits) > 1 and bool((logits >= 0).all() & ((logits.float().sum(1) - 1).abs() < 1e-3).all()):
        raise InputError(
            "Expected logits, but every row is non-negative and sums to 1, as probabilities are: all scores would be wrong. "
            "Pass the softmax's input, or thresher.integrations.probabilities.logits_of(probabilities)."
        )


def check_together(stored: int, recorded: int) -> None:
    """Raise InputError unless a store has the epochs that its Recorder has: a training would find out at its epoch's end."""
    if stored != recorded:
        raise InputError(
            f"The store holds {stored} epochs, but the Recorder has {recorded}. Restore the Recorder's state before the "
            "first batch: load_state_dict(...). If no checkpoint is left, record into a new folder."
        )


def check_memory(state: Mapping[str, Any], memory: Memory, known: Tensor | None, epoch: int) -> None:
    """Raise InputError for a state that this memory cannot take (`Memory.check`), or that is this memory itself, which has
    gone on to another epoch since."""
    if state["memory"]["visits"] is memory.intake.visits and state["epoch"] != epoch:
        raise InputError(
            f"Expected a state as it was in epoch {state['epoch']}, but this one is the Recorder's own memory, which is now "
            f"in epoch {epoch}. Copy a state to restore it later: copy.deepcopy(recorder.state_dict())."
        )
    memory.check(state["memory"], known)


def _check_whole(what: str, part: object, wanted: Collection[str]) -> None:
    """Raise InputError for a part of a Recorder's state that is no mapping, or has not all of what is `wanted`."""
    lacking = ", ".join(sorted(set(wanted) - set(part))) if isinstance(part, Mapping) else "everything"
    if lacking:
        raise InputError(
            f"Expected a complete recorder state, but {what} lacks {lacking}. Pass it as state_dict() returned it."
        )


def check_state(
    state: object, identity: Mapping[str, Any], scorers: Mapping[str, Scorer], store: TrajectoryWriter | None
) -> None:
    """Raise InputError unless a Recorder's state is whole, of the recording that `identity` names, and goes with the store.

    The store may be ahead of the state, not behind.
    """
    if not isinstance(state, Mapping):
        raise InputError(f"Expected a recorder state as state_dict() returns it, but got {type(state).__name__}.")
    for key, value in identity.items():
        found = state.get(key, [0, state["n"]] if key == "samples" else None)
        if found != value:
            about = " Resume on as many ranks as recorded it, each with its own state." if key == "samples" else ""
            raise InputError(f"Expected a recorder state with {key}={value!r}, but got {found!r}.{about}")
    _check_whole("it", state, ("epoch", "memory", "states"))
    _check_whole("its memory", state["memory"], ("values", "previous", "targets", "visits", "eval_visits"))
    _check_whole("its memory's values", state["memory"]["values"], ())
    _check_whole("its states", state["states"], ())
    for name, scorer in scorers.items():
        _check_whole(f"its state of {name}", state["states"].get(name, {}), scorer.init(1))
    if not is_whole(state["epoch"]) or state["epoch"] < 0:
        raise InputError(f"Expected a recorder state with a number of epochs, but got epoch={state['epoch']!r}.")
    if store is not None:
        store.check(state["n"], state["num_classes"], store.ranks)
    if store is not None and store.logits is not None and "logits" not in state["memory"]:
        raise InputError(
            f"This store keeps logits as {store.logits}, but the state is of a recording without them. Resume from a state "
            "saved with this store, or open the store that belongs to the state."
        )
    if store is not None and store.epochs < state["epoch"]:
        raise InputError(
            f"The store holds {store.epochs} epochs, but the state is of epoch {state['epoch']}: they are not of one "
            "recording, or the store was cut back. Resume from a state that old, or without one from the start."
        )
