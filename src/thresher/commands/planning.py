"""`thresher plan`; does not import torch."""

from __future__ import annotations

from thresher import planning
from thresher.commands.output import Output
from thresher.errors import InputError
from thresher.keep import keep_count, parse_keep
from thresher.planning import MEASURED, Setup, bytes_text, seconds_text

_SIZES = ("state", "feature", "waiting", "memory", "network", "store", "score")
_TIMES = ("record", "scoring", "selecting")
_BYTES = {"float32": 4, "float16": 2}


def plan_command(
    *, n: int, classes: int, epochs: int, gpus: int, features: int, log_probs: str, workers: int, keep: str,
    surrogate_epochs: int | None, say: Output,
) -> None:  # fmt: skip
    """Print what a recording takes."""
    if log_probs not in _BYTES:
        raise InputError(f"Expected --log-probs as float32 or float16, but got {log_probs!r}.")
    recorded = epochs if surrogate_epochs is None else surrogate_epochs
    whole = Setup(n, classes, epochs, gpus, features, _BYTES[log_probs], workers)
    pays = planning.payback(whole, parse_keep(keep), recorded)
    setup = Setup(n, classes, recorded, gpus, features, _BYTES[log_probs], workers)
    kept = keep_count(n, parse_keep(keep))
    for title, value, about in rows(setup):
        say.line(f"{title:<28}{value:>10}  {about}".rstrip())
    say.line(payback_text(pays, kept, setup, epochs))
    say.line(
        f"Sizes are calculated (docs/scale.md). Times, also of recording, were measured on {MEASURED.machine} "
        "(docs/results/benchmarks.md); on a GPU recording adds one percent to a step (docs/results/gpu.md)."
    )
    say.result(
        {
            "setup": setup, "bytes": {part: getattr(planning, f"{part}_bytes")(setup) for part in _SIZES},
            "seconds": {part: getattr(planning, f"{part}_seconds")(setup) for part in _TIMES},
            "kept": kept, "pays_after_trainings": pays.trainings, "where_a_full_training_takes_seconds": pays.seconds,
            "measured_on": MEASURED.machine,
        }
    )  # fmt: skip


def rows(setup: Setup) -> list[tuple[str, str, str]]:
    """Return the lines of a plan: title, value, breakdown."""
    state, features, waiting = (
        part(setup) for part in (planning.state_bytes, planning.feature_bytes, planning.waiting_bytes)
    )
    parts = f"state {bytes_text(state)}, features {bytes_text(features)}, waiting rows {bytes_text(waiting)}"
    store, table = planning.store_bytes(setup), planning.score_bytes(setup)
    evaluated = setup.features and setup.ranks > 1
    cores = "one core" if setup.workers == 1 else f"{setup.workers} cores"
    return [
        ("memory per rank", bytes_text(planning.memory_bytes(setup)), parts),
        (
            "network per epoch, all ranks",
            bytes_text(planning.network_bytes(setup, evaluated=False)),
            f"{setup.ranks} ranks, all to all"
            + (f"; {bytes_text(planning.network_bytes(setup))} in the epoch of the evaluation pass" if evaluated else ""),
        ),
        (
            "disk",
            bytes_text(store + table),
            f"store {bytes_text(store)} ({setup.signals} signals), scores {bytes_text(table)}",
        ),
        (
            "recording",
            seconds_text(planning.record_seconds(setup)),
            f"on top of the training, per rank, {setup.epochs} epochs, with logits on a CPU; "
            "a lower bound, measured with one signal",
        ),
        ("scoring", seconds_text(planning.scoring_seconds(setup)), f"six methods in one pass, {cores}"),
        ("selecting", seconds_text(planning.selecting_seconds(setup)), "one core"),
    ]


def payback_text(pays: planning.Payback, kept: int, setup: Setup, epochs: int) -> str:
    """Return a sentence on when a surrogate has paid for itself."""
    if pays.trainings is None:
        return "pruning never pays for its surrogate if everything is kept"
    of = f"{setup.epochs} of {epochs} epochs" if setup.epochs < epochs else f"all {epochs} epochs"
    return (
        f"pruning to {kept} samples pays for a surrogate of {of} from training {pays.trainings} on the coreset on, if a "
        f"full training takes more than {seconds_text(pays.seconds)}"
    )
