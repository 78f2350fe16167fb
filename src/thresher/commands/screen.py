"""Live progress from the events of a study, and how many trainings run at once. Imports rich only to draw."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from thresher.cores import cores, threads
from thresher.engines import MOST
from thresher.errors import InputError

if TYPE_CHECKING:
    from thresher.commands.bars import Bars
    from thresher.commands.output import Output

SIGN_SECONDS = 60.0
"""How often a command without a terminal prints its progress, in seconds."""


def parallel(jobs: int | None, device: str, ranks: int = 1) -> tuple[int, int | None]:
    """Return (processes, threads each): on a CPU one single-threaded training per core is fastest for small nets.

    With several ranks, each trains one at a time, with as many threads as torchrun gave it.
    """
    if ranks > 1:
        if jobs not in (None, 1):
            raise InputError(f"Expected no --jobs under torchrun, which starts {ranks} processes itself, but got {jobs}.")
        return 1, None
    if jobs is not None and not 1 <= jobs <= MOST:
        raise InputError(f"Expected --jobs from 1 to {MOST}, but got {jobs}.")
    processes = jobs or (cores() if device == "cpu" else 1)
    return processes, threads(cores() // processes) if device == "cpu" else None


def refuse_idle(engine: str | None, workers: int | None, option: str = "--workers") -> None:
    """Raise InputError for several workers beside the engine `serial`, which would use one and say nothing."""
    if engine == "serial" and workers is not None and workers > 1:
        raise InputError(
            f"Expected {option} with an engine that works on several things at once, but got {workers} with serial. Omit "
            f"{option}, or add --engine processes."
        )


class Screen:
    """Live progress: a bar for everything that takes long, notes above. Without a terminal, at most one line per minute.

    Use it in a `with` block, and pass `notify` to a study and `step` to anything that counts.
    """

    def __init__(self, say: Output) -> None:
        self._say = say
        self._bars: Bars | None = None
        self._last_sign = time.monotonic()
        self._total, self._done = 0, 0
        self._work, self._worked, self._shares = 0.0, 0.0, dict[str, float]()

    def notify(self, event: str, details: dict[str, Any]) -> None:
        """Show one event of a study."""
        if event in ("data", "notice"):
            self._say.note(details["text"])
        elif event == "step":
            self.step(details["label"], details["done"], details["total"], details.get("count"))
        elif event == "epoch":
            epoch, epochs = details["epoch"], details["epochs"]
            label, note = details.get("label", "surrogate"), f"loss {details['loss']:.3f}"
            self._show(label, epoch / epochs, f"{epoch}/{epochs} epochs", note)
        elif event == "scored":
            self._say.note(f"scored: {', '.join(details['columns'])}")
        elif event == "jobs":
            self._total += details["total"]
            self._work += details["work"]
            self._trainings("", anew=True)
        elif event == "training":
            self._shares[details["name"]] = details["work"] * details["epoch"] / details["epochs"]
            self._trainings(f"{details['name']}: epoch {details['epoch']}/{details['epochs']}")
        elif event == "failure":
            text = f"failed: {details['method']} {details['keep']:g} (seed {details['seed']}): {details['reason']}"
            self._say.note(text)
            self._finish(details["work"], "")
        elif event == "result":
            if details.get("diverged"):
                name = f"{details['method']} {details['keep']:g} (seed {details['seed']})"
                self._say.note(f"{name}: the training diverged, its loss is NaN or infinite. Try a lower learning rate.")
            self._finish(details["work"], f"{details['method']} {details['keep']:g}: {100 * details['test_accuracy']:.2f} %")

    def step(self, label: str, done: float, total: float, count: str | None = None) -> None:
        """Show that `done` of `total` is done of `label`; `count` says it in words, "" if the bar is enough."""
        self._show(label, done / total if total else 1.0, count)

    def _finish(self, work: float, note: str) -> None:
        self._done += 1
        self._worked += work
        self._shares.clear()  # one training at a time is watched from within
        self._trainings(note)

    def _trainings(self, note: str, *, anew: bool = False) -> None:
        """Show progress by amount of work, so that the large first trainings do not distort the time left."""
        worked = self._worked + sum(self._shares.values())
        self._show("trainings", worked / self._work if self._work else 1.0, f"{self._done}/{self._total}", note, anew)

    def _show(self, label: str, share: float, count: str | None = None, note: str | None = None, anew: bool = False) -> None:
        if self._bars is not None:
            self._bars.show(label, share, count, note, anew=anew)
        elif time.monotonic() - self._last_sign >= SIGN_SECONDS:
            self._last_sign = time.monotonic()
            self._say.sign(f"{label}: {count or f'{share:.0%}'}{f' ({note})' if note else ''}")

    def __enter__(self) -> Screen:
        if self._say.shows_bars:
            from thresher.commands.bars import Bars

            self._bars = Bars().__enter__()
            self._say.print_notes_by(self._bars.print)
        return self

    def __exit__(self, *reason: object) -> None:
        if self._bars is not None:
            self._bars.__exit__()
            self._bars = None
            self._say.print_notes_by(None)
