"""Progress bars in a terminal, each with progress, elapsed time and remaining time. Drawn by rich."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

_SETTLE = 1.0  # seconds; progress before is of earlier runs (a resumed training, results on disk) and tells no speed


class TimeLeft(ProgressColumn):
    """The remaining time at the speed so far; empty while no speed is known.

    rich's own column uses the last 30 seconds, in which an epoch or a training rarely ends.
    """

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Return `0:12:34 left`."""
        left = time_left(task.fields["seen"], time.monotonic())
        return Text("" if left is None else f"{timedelta(seconds=round(left))} left", style="progress.remaining")


def time_left(seen: tuple[float, float, float, float], now: float) -> float | None:
    """Return seconds until everything is done, None if that is not known or nothing is left.

    `seen` is (time when counting began, share in [0, 1] done then, time of the latest update, share done then).

    >>> time_left((0.0, 0.2, 10.0, 0.4), 12.0)
    28.0
    >>> time_left((0.0, 0.2, 0.0, 0.2), 12.0) is None
    True
    """
    began, first, heard, share = seen
    if heard <= began or share <= first or share >= 1:
        return None
    return max(0.0, (1 - share) * (heard - began) / (share - first) - (now - heard))


class Bars:
    """The bars, by name, on stderr. Use it in a `with` block."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[count]}", markup=False),
            TimeElapsedColumn(), TimeLeft(), TextColumn("{task.fields[note]}", markup=False), console=self._console,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}
        self._counted: set[str] = set()
        self._seen: dict[str, tuple[float, float, float, float]] = {}

    def show(
        self, name: str, share: float, count: str | None = None, note: str | None = None, *, anew: bool = False
    ) -> None:
        """Draw the bar `name` up to `share` in [0, 1]; `count` (by default percent) and `note` are unchanged if None.

        `anew` resets the measured speed, since something else was done in between.
        """
        now, share = time.monotonic(), min(1.0, share)
        if count is not None:
            self._counted.add(name)
        elif name not in self._counted:
            count = f"{share:.0%}"
        if name not in self._tasks:
            self._seen[name] = (now, share, now, share)
            self._tasks[name] = self._progress.add_task(name, total=1.0, count=count, note="", seen=self._seen[name])
        began, first, _, before = self._seen[name]
        if anew or share < before:
            began, first = now, share
        elif now - began < _SETTLE:
            first = share
        self._seen[name] = (began, first, now, share)
        fields: dict[str, Any] = {"seen": self._seen[name]}
        if count is not None:
            fields["count"] = count
        if note is not None:
            fields["note"] = note
        self._progress.update(self._tasks[name], completed=share, **fields)

    def print(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._progress.stop()
