"""The engine for many machines: Ray with its own scheduling. This is the only file that imports it.

Every node needs Thresher installed, and must see files under the same paths: a folder that all nodes mount. When a node
dies, Ray runs its tasks on another one, and computes results again that were lost with it.
"""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from thresher.engines import Call
from thresher.engines.local import WorkerDied
from thresher.engines.turns import raise_failure
from thresher.errors import InputError, MissingPackageError

T = TypeVar("T")


class Ray:
    """Tasks of a Ray cluster; see `make_engine`."""

    def __init__(self, address: str | None = None, workers: int | None = None, gpus: float = 0) -> None:
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise MissingPackageError(
                f"Expected Ray for --engine ray, but it cannot be imported ({error}). Install thresher[ray]."
            ) from error
        self._address, self._workers, self._gpus = address, workers, gpus
        self._mine = False

    @property
    def workers(self) -> int:
        """How many calls run at once: as asked for, else one per core of the cluster as it is now."""
        if self._workers is not None:
            return self._workers
        self._connect()
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def run(
        self,
        items: Sequence[T],
        call: Callable[[T], Call],
        *,
        on_result: Callable[[T, Any], None],
        on_failure: Callable[[T, Exception], None] | None = None,
        admit: Callable[[T], bool] = lambda item: True,
    ) -> None:
        """See `Engine.run`."""
        self._connect()
        task = self._ray.remote(_call).options(num_cpus=1, num_gpus=self._gpus)
        failed = on_failure or raise_failure
        waiting, running = list(items), dict[Any, T]()
        try:
            while waiting or running:
                room = self.workers - len(running) if waiting else 0
                while waiting and room > 0:
                    item = waiting.pop(0)
                    if admit(item):
                        running[task.remote(*call(item))] = item
                        room -= 1
                if running:
                    for reference in self._ray.wait(list(running), num_returns=1)[0]:
                        self._take(running.pop(reference), reference, on_result, failed)
        except BaseException:
            for reference in running:
                self._ray.cancel(reference, force=True)
            raise

    def _take(
        self, item: T, reference: Any, on_result: Callable[[T, Any], None], failed: Callable[[T, Exception], None]
    ) -> None:
        try:
            result = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # what the function raised, wrapped
            failed(item, error.cause if isinstance(error.cause, Exception) else error)
        except self._ray.exceptions.RayError as error:
            failed(item, WorkerDied(f"A Ray task was lost and could not be run again: {error}"))
        else:
            on_result(item, result)

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        host, colon, port = (self._address or "").rpartition(":")
        try:
            if colon and port.isdigit() and "/" not in host:  # Ray itself tries for minutes if nobody listens
                socket.create_connection((host, int(port)), timeout=10).close()
            self._ray.init(address=self._address, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"Expected a running Ray cluster at {self._address or 'the address Ray found'}, but: {error}. Start one "
                "with `ray start --head` and give its address, or omit --address to start one here."
            ) from error
        self._mine = True

    def __enter__(self) -> Ray:
        return self

    def __exit__(self, *reason: object) -> None:
        if self._mine:
            self._ray.shutdown()
            self._mine = False


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(*arguments)
