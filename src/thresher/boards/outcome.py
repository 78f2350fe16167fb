"""What becomes of the cells of a study: done, failed with the reason, or left for another time."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from thresher.boards.cells import Cell
from thresher.boards.place import Place, read_result
from thresher.errors import BusyError, CorruptFileError, FingerprintError, ThresherError
from thresher.experiments.events import Notify
from thresher.files import write_json

Made = TypeVar("Made")
Fail = Callable[[Cell, Exception], None]


@dataclass
class Outcome:
    """What became of the cells that were asked for; `left` are those that were not started, with the reason."""

    done: list[Cell] = field(default_factory=list)
    failed: dict[Cell, str] = field(default_factory=dict)
    left: dict[Cell, str] = field(default_factory=dict)

    def open(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return the cells that have no outcome yet."""
        known = {*self.done, *self.failed, *self.left}
        return [cell for cell in cells if cell not in known]

    def add_finished(self, cells: Iterable[Cell], place: Place, notify: Notify) -> list[Cell]:
        """Count the cells that have a result as done, and return those that have none.

        A cell fails if its file is not its result, or of other data than those at hand. Notices say how many of these there
        are, and how many results could not be compared with their data.
        """
        todo: list[Cell] = []
        refused: list[str] = []
        unread: Counter[str] = Counter()
        for cell in cells:
            try:
                result = read_result(place, cell)
            except (CorruptFileError, FingerprintError) as error:
                self.failed[cell] = str(error)
                refused.append(str(error))
                continue
            if result is None:
                todo.append(cell)
                continue
            self.done.append(cell)
            if place.unread(cell):
                unread[f"results on {cell.data} could not be compared with the data: {place.unread(cell)}"] += 1
        for text, count in unread.items():
            notify("notice", {"text": f"{count} {text}"})
        if refused:
            notify("notice", {"text": f"{len(refused)} results that are there are not used; the first: {refused[0]}"})
        return todo


def mark_failed(outcome: Outcome, place: Place, notify: Notify, cell: Cell, error: Exception) -> None:
    """Write down why a cell failed; one that another process works on is left to that process."""
    if isinstance(error, BusyError):
        outcome.left[cell] = str(error)
        return
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    outcome.failed[cell] = reason
    place.failure(cell).parent.mkdir(parents=True, exist_ok=True)
    write_json(place.failure(cell), {"cell": cell.to_json(), "reason": reason})
    notify("failure", {"method": cell.method, "keep": cell.keep, "seed": cell.seed, "work": work_of(cell), "reason": reason})


@contextmanager
def spared(fail: Callable[[Exception], None]) -> Iterator[None]:
    """Pass an error that need not affect others, such as running out of memory, to `fail`, and end the block there.

    A full disk affects all, and a programming error must be seen: these are raised.
    """
    try:
        yield
    except (ThresherError, RuntimeError, MemoryError, OSError) as error:
        if disk_full(error):
            raise
        fail(error)


def disk_full(error: Exception) -> bool:
    """Return whether an error says that there is no room left, which ends everything: no other cell has any."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def each(cells: Iterable[Cell], make: Callable[[Cell], Made], fail: Fail) -> dict[Cell, Made]:
    """Return what `make` gives for every cell, without those for which it fails (`spared`): these go to `fail`."""
    made = {}
    for cell in cells:
        with spared(partial(fail, cell)):
            made[cell] = make(cell)
    return made


def work_of(cell: Cell) -> float:
    """Return the length of a cell's training, for comparison with others: in epochs of the whole data set."""
    return cell.keep * cell.coreset.epochs
