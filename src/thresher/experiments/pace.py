"""How long trainings take here, measured before they start, and whether they still fit into the time that is left."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from thresher.data import Data
from thresher.errors import InputError
from thresher.experiments.jobs import THREADS
from thresher.train.loop import fit
from thresher.train.spec import TrainSpec

_STEPS = 8
_MARGIN = 1.15  # for evaluation, reading, and a machine that is busier at times


class Pace:
    """Measures the seconds of a training step once for every kind of training, and keeps the time limit.

    `limit_minutes` None is no limit; `threads` are those of one training. `sharing` trainings run at once on one device;
    until one has ended (`learn`), each is assumed to take `sharing` times as long as alone. `beside` trainings run beside a
    recording, which is assumed to take 1 + `beside` times as long.
    """

    def __init__(
        self, device: str = "cpu", threads: int | None = None, limit_minutes: float | None = None, sharing: int = 1,
        beside: int = 0,
    ) -> None:  # fmt: skip
        if limit_minutes is not None and not 0 < limit_minutes < float("inf"):
            raise InputError(f"Expected a limit of more than 0 minutes, a number, but got {limit_minutes!r}.")
        self.device, self.threads = device, threads
        self._until = None if limit_minutes is None else time.monotonic() + 60 * limit_minutes
        self._seconds: dict[tuple[object, ...], float] = {}
        self._sharing: dict[tuple[object, ...], float] = {}
        self._at_first = float(sharing)
        self._beside = beside

    @classmethod
    def shared(cls, device: str, threads: int | None, limit_minutes: float | None, processes: int) -> Pace:
        """Return the pace of `processes` trainings at once: on a GPU they share it, on a CPU each has cores of its own."""
        return cls(device, threads, limit_minutes, processes if device.startswith("cuda") else 1)

    @property
    def left(self) -> float:
        """Seconds until the limit, infinite without one."""
        return float("inf") if self._until is None else self._until - time.monotonic()

    def step(self, data: Data, spec: TrainSpec) -> float:
        """Return the seconds of one optimiser step, measured over a few of them after a warm-up of as many."""
        key = _kind(data, spec)
        if key not in self._seconds:
            self._seconds[key] = self._measured(data, spec)
        return self._seconds[key]

    def _measured(self, data: Data, spec: TrainSpec) -> float:
        ids = np.arange(min(len(data.train), _STEPS * spec.batch_size))
        ends: list[float] = []
        with THREADS.at(self.threads or torch.get_num_threads()):
            short = replace(spec, epochs=3, schedule_epochs=None, warmup_epochs=0)
            fit(
                data, short, 0, ids=ids, device=self.device, workers=0, until=2,
                on_epoch=lambda progress: ends.append(time.perf_counter()),
            )  # fmt: skip
        return (ends[1] - ends[0]) / -(-len(ids) // spec.batch_size)

    def training(self, data: Data, spec: TrainSpec, kept: int) -> float:
        """Return the estimated seconds of a training on `kept` samples, with its evaluation, beside others of its kind."""
        return self.alone(data, spec, kept) * self._sharing.get(_kind(data, spec), self._at_first)

    def learn(self, data: Data, spec: TrainSpec, kept: int, seconds: float) -> None:
        """Remember how long a training took beside others of its kind."""
        self._sharing[_kind(data, spec)] = max(1.0, seconds / self.alone(data, spec, kept))

    def alone(self, data: Data, spec: TrainSpec, kept: int) -> float:
        """Return the estimated seconds of a training or recording that runs alone."""
        steps = spec.epochs * -(-kept // spec.batch_size) + len(data.test) / spec.batch_size / 3
        return _MARGIN * steps * self.step(data, spec)

    def fits(self, data: Data, spec: TrainSpec, kept: int) -> bool:
        """Return whether a training would end before the limit."""
        return self._until is None or self.training(data, spec, kept) <= self.left

    def steps_left(self, data: Data, spec: TrainSpec) -> int:
        """Return how many steps of a recording end before the limit; without one, more than anybody runs."""
        if self._until is None:
            return 2**62
        return max(0, int(self.left / (_MARGIN * (1 + self._beside) * self.step(data, spec))))


def _kind(data: Data, spec: TrainSpec) -> tuple[object, ...]:
    """Return what the seconds of a step depend on."""
    return (
        spec.model, spec.batch_size, spec.precision, spec.channels_last, spec.compile, data.image_size, data.channels,
        data.num_classes,
    )  # fmt: skip
