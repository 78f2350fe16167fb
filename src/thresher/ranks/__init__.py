"""The processes that work on one thing together: what they need of one another, and no more.

`Ranks` is the whole of it: tell each other small values (`share`), send rows to whom they belong (`exchange`). `Alone` is
one process, so that code is written once. `torch.distributed` stands behind it in one module, `ranks.torchrun`, which is not
imported before it is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from thresher.errors import OtherRankError, RankLostError, one_line

Rows = TypeVar("Rows")


class Ranks(Protocol):
    """`size` processes, of which this one is `rank` (from 0). Every rank must make the same calls in the same order."""

    @property
    def rank(self) -> int:
        """Which one this is."""

    @property
    def size(self) -> int:
        """How many there are."""

    def share(self, topic: str, value: Any = None) -> list[Any]:
        """Return the JSON-ready value of every rank, in the order of ranks.

        Raises RankLostError where a rank is gone, InputError where one is at another `topic`.
        """

    def exchange(self, rows: Rows, counts: Sequence[int]) -> tuple[Rows, list[int]]:
        """Send the first `counts[0]` rows to rank 0, the next `counts[1]` to rank 1, ...; counts sum to the rows.

        `rows` (M, ...) is a tensor or a NumPy array, of one dtype and one width on all ranks. Returns the rows that came, in
        the order of ranks and within a rank as they were sent, and how many came from each. Raises RankLostError.
        """


class Alone:
    """One process; `found` says that it was found to be one, not asked to work by itself.

    >>> Alone().share("greeting", "hello"), Alone().exchange([1, 2], [2])
    (['hello'], ([1, 2], [2]))
    """

    rank, size = 0, 1

    def __init__(self, found: bool = False) -> None:
        self.found = found

    def share(self, topic: str, value: Any = None) -> list[Any]:
        """Return the value."""
        return [value]

    def exchange(self, rows: Rows, counts: Sequence[int]) -> tuple[Rows, list[int]]:
        """Return the rows."""
        return rows, list(counts)


def current() -> Ranks:
    """Return the ranks of this process: those of torch.distributed where it was set up with several, else `Alone`.

    The first call in a process group is one that every rank must make.

    >>> current().size
    1
    """
    if not several():
        return Alone(found=True)
    from thresher.ranks.torchrun import ranks_of_default_group

    return ranks_of_default_group()


def several() -> bool:
    """Return whether torch.distributed was set up with more than one process; imports nothing."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return False
    return int(distributed.get_world_size()) > 1


@contextmanager
def together(ranks: Ranks, topic: str) -> Iterator[None]:
    """Run a block that may fail on one rank, and let it fail on all then: no rank goes on, or waits for one that does not.

    The block itself must not talk to other ranks. The rank that failed raises its own error, the others OtherRankError.
    """
    try:
        yield
    except RankLostError:
        raise
    except Exception as error:
        ranks.share(topic, _line(error))
        raise
    for rank, said in enumerate(ranks.share(topic)):
        if said is not None:
            raise OtherRankError(f"Rank {rank} could not go on ({topic}), so none does: {said}")


def _line(error: Exception) -> str:
    return one_line(error) if isinstance(error, OSError) else " ".join(f"{error}".split()) or type(error).__name__
