"""Live progress in a terminal, and how many trainings run at once."""

from __future__ import annotations

import os
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from thresher.errors import InputError


def parallel(jobs: int | None, device: str, ranks: int = 1) -> tuple[int, int | None]:
    """Return (processes, threads each): on a CPU one single-threaded training per core is fastest for small nets.

    With several ranks each trains one at a time, with as many threads as torchrun gave it.
    """
    if ranks > 1:
        if jobs not in (None, 1):
            raise InputError(
                f"Expected --jobs only without torchrun, which starts {ranks} processes itself, but got {jobs}."
            )
        return 1, None
    if jobs is not None and jobs < 1:
        raise InputError(f"Expected --jobs >= 1 trainings at once, but got {jobs}.")
    cores = os.cpu_count() or 1
    processes = jobs or (cores if device == "cpu" else 1)
    return processes, max(1, cores // processes) if device == "cpu" else None


class Screen:
    """Live progress: one bar for the surrogate's epochs, one for the coreset trainings, notices above them."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"), console=console,
        )  # fmt: skip
        self.tasks: dict[str, Any] = {}
        self._total, self._done = 0, 0

    def notify(self, event: str, details: dict[str, Any]) -> None:
        """Show one event of a study."""
        if event in ("data", "notice"):
            self.console.print(details["text"], highlight=False, markup=False, soft_wrap=True)
        elif event == "epoch":
            label = details.get("label", "surrogate")
            self._advance(label, details["epochs"], details["epoch"], f"loss {details['loss']:.3f}")
        elif event == "scored":
            self.console.print(f"scored: {', '.join(details['columns'])}", highlight=False, markup=False, soft_wrap=True)
        elif event == "failure":
            text = f"failed: {details['method']} {details['keep']:g} (seed {details['seed']}): {details['reason']}"
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)
            self._step("")
        elif event == "jobs":
            self._total += details["total"]
            self._advance("trainings", self._total, self._done, "")
        elif event == "result":
            self._step(f"{details['method']} {details['keep']:g}: {100 * details['test_accuracy']:.2f} %")

    def _step(self, note: str) -> None:
        self._done += 1
        self._advance("trainings", self._total, self._done, note)

    def _advance(self, name: str, total: int, completed: int, note: str) -> None:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=total, note=note)
        self.progress.update(self.tasks[name], completed=completed, note=note)
