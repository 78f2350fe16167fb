"""Experiment tracking through one small interface. Off by default; every tracker here only writes local files.

`tracked("tensorboard:runs/tb", name, params)` opens one for a `with` block, in which `followed(notify, tracker)` passes it
a command's events. Your own tracker needs only the three methods of `Tracker`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from thresher.errors import UnknownNameError, nearest
from thresher.places import as_local

TRACKERS = ("tensorboard", "mlflow")
Notify = Callable[[str, dict[str, Any]], None]
Ended = Literal["finished", "failed", "killed"]
"""How a run ended: `killed` by an interrupt, `failed` with any other exception."""


class Tracker(Protocol):
    """A destination for the numbers of a run."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Log the settings, once, at the beginning."""

    def scalar(self, name: str, value: float, step: int) -> None:
        """Log one number."""

    def close(self, ended: Ended = "finished") -> None:
        """Write everything to disk; `ended` says how the run ended."""


def open_tracker(spec: str, name: str) -> Tracker:
    """Return the tracker that `KIND:FOLDER` names, for a run called `name`; it writes only into that folder.

    Raises UnknownNameError for an unknown kind or without a folder, MissingPackageError if its package is not installed,
    InputError for object storage.
    """
    kind, _, folder = spec.partition(":")
    if kind not in TRACKERS or not folder:
        raise UnknownNameError(
            f"Expected --track tensorboard:FOLDER or mlflow:FOLDER, but got {spec!r}{nearest(kind, TRACKERS)}."
        )
    if kind == "tensorboard":
        from thresher.tracking.tensorboard import TensorBoard

        return TensorBoard(as_local(folder) / name)
    from thresher.tracking.mlflow import MLflow

    return MLflow(as_local(folder), name)


@contextmanager
def tracked(spec: str | None, name: str, params: Mapping[str, Any]) -> Iterator[Tracker | None]:
    """Open the tracker that `spec` names, log the settings, and close it at the end; without `spec`, yield None.

    >>> with tracked(None, "digits", {}) as tracker:
    ...     tracker is None
    True
    """
    tracker = open_tracker(spec, name) if spec else None
    ended: Ended = "failed"
    try:
        if tracker is not None:
            tracker.params(params)
        yield tracker
        ended = "finished"
    except KeyboardInterrupt:
        ended = "killed"
        raise
    finally:
        if tracker is not None:
            tracker.close(ended)


def followed(notify: Notify, tracker: Tracker | None) -> Notify:
    """Return a `notify` for a study that also logs every epoch's loss and every finished training to the tracker.

    An epoch of a surrogate becomes `surrogate/loss` at its number, one of a training in this process `NAME/loss`; a finished
    training becomes `test_accuracy/METHOD/KEEP` (a share in [0, 1]) at its seed; if there are trainings of several kinds,
    their label is included: `LABEL/NAME/loss`, `test_accuracy/LABEL/METHOD/KEEP`.

    >>> class Printing:
    ...     def params(self, values): ...
    ...     def scalar(self, name, value, step): print(name, value, step)
    ...     def close(self, ended="finished"): ...
    >>> told = followed(lambda event, details: None, Printing())
    >>> told("epoch", {"epoch": 2, "epochs": 9, "loss": 0.5})
    surrogate/loss 0.5 2
    """
    if tracker is None:
        return notify

    def both(event: str, details: dict[str, Any]) -> None:
        notify(event, details)
        label = [details["label"]] if "label" in details else []
        if event == "epoch":
            tracker.scalar(f"{details.get('label', 'surrogate')}/loss", details["loss"], details["epoch"])
        elif event == "training":
            tracker.scalar("/".join([*label, details["name"], "loss"]), details["loss"], details["epoch"])
        elif event == "result":
            name = "/".join(["test_accuracy", *label, details["method"], f"{details['keep']:g}"])
            tracker.scalar(name, details["test_accuracy"], details["seed"])

    return both


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Return nested settings as text by dotted name.

    >>> flat({"data": "digits", "train": {"lr": 0.1}})
    {'data': 'digits', 'train.lr': '0.1'}
    """
    found: dict[str, str] = {}
    for key, value in values.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": str(value)}
    return found
