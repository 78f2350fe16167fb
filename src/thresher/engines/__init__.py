"""Engines run independent pieces of work: in this process, in several on this machine, or on the machines of a Ray cluster.

A piece is an item and a call that a worker can make for it: a function of a module, and its arguments. What runs is the same
code everywhere, so the engine never changes an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from thresher.cores import cores
from thresher.errors import InputError, nearest

T = TypeVar("T")
Call = tuple[Callable[..., Any], tuple[Any, ...]]
NAMES = ("serial", "turns", "threads", "processes", "ray")
MOST = 65536
"""The most calls that may run at once: the semaphores of a process pool count no further."""


class Engine(Protocol):
    """Runs calls. Use it in a `with` block: its workers live as long as the block and serve every `run` in it."""

    @property
    def workers(self) -> int:
        """How many calls run at once."""

    def run(
        self,
        items: Sequence[T],
        call: Callable[[T], Call],
        *,
        on_result: Callable[[T, Any], None],
        on_failure: Callable[[T, Exception], None] | None = None,
        admit: Callable[[T], bool] = ...,
    ) -> None:
        """Run `call(item)` for every item, as many at a time as there are workers, and pass each result to `on_result`.

        A failure is passed to `on_failure`, and the other items continue; without it the first failure ends everything and
        is raised. `admit` is called just before an item would start; if it returns False, the item is skipped. An interrupt
        ends the workers at once, whatever they are doing, and is raised.
        """

    def __enter__(self) -> Engine: ...
    def __exit__(self, *reason: object) -> None: ...


def make_engine(name: str, workers: int | None = None, address: str | None = None, gpus: float = 0) -> Engine:
    """Return the engine of that name: `serial`, `turns`, `threads`, `processes` or `ray`.

    `workers` is how many calls run at once (default: one per core, of this machine or of the cluster). `address` is that of
    a running Ray cluster; without one Ray uses the cluster that it finds, or starts one here. `gpus` is what each call
    uses of a Ray cluster's GPUs.

    Raises InputError for an unknown name, an address for another engine, or workers outside 1 to `MOST`;
    MissingPackageError if Ray is not installed.

    >>> make_engine("processes", workers=2).workers
    2
    """
    check_engine(name, workers, address)
    if name == "ray":
        from thresher.engines.ray import Ray

        return Ray(address, workers, gpus)
    if name in ("serial", "turns"):
        from thresher.engines.turns import Serial, Turns

        return Serial() if name == "serial" else Turns(workers or cores())
    from thresher.engines.local import Processes, Threads

    return (Threads if name == "threads" else Processes)(workers or cores())


def check_engine(name: str, workers: int | None = None, address: str | None = None) -> None:
    """Raise InputError for what `make_engine` refuses; for a check before there is any work."""
    if name not in NAMES:
        raise InputError(f"Expected the engine as one of {', '.join(NAMES)}, but got {name!r}{nearest(name, NAMES)}.")
    if workers is not None and not 1 <= workers <= MOST:
        raise InputError(f"Expected 1 to {MOST} workers, but got {workers}.")
    if address is not None and name != "ray":
        raise InputError(f"Expected an address only with the engine ray, but got {address!r} with {name}.")


def engine_of(device: str) -> str:
    """Return the name of the engine for trainings on a device: `turns` on a GPU, where only the work of a single process
    overlaps.

    >>> engine_of("cpu"), engine_of("cuda:0")
    ('processes', 'turns')
    """
    return "turns" if device.startswith("cuda") else "processes"
