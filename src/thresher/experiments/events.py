"""The events of a running study: `notify(event, details)`. Events and the names of their details:

data, notice    text
step            label, done, total: of anything that takes long, in its smallest countable steps
epoch           epoch, epochs, loss (and label): a completed epoch of a surrogate
scored          columns
jobs            total, work: the number of trainings to come, and their work (as in "training" and "result")
training        name, epoch, epochs, work, loss (and label, beside others): a completed epoch of a training in this process
result          method, keep, seed, work, test_accuracy and the rest of a result (and label, beside others)
failure         method, keep, seed, work, reason
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thresher.data import pathless
from thresher.experiments.job import Job
from thresher.train.loop import Progress

Notify = Callable[[str, dict[str, Any]], None]


def stepped(notify: Notify, label: str) -> Callable[[float, float], None]:
    """Return an `on_step(done, total)` that reports a step with this `label`.

    >>> stepped(print, "scoring")(1, 5)
    step {'label': 'scoring', 'done': 1, 'total': 5}
    """
    return lambda done, total: notify("step", {"label": label, "done": done, "total": total})


def kind_of(job: Job) -> str:
    """Return a label for trainings that differ only in method, kept share and seed.

    >>> train = {"model": "small", "epochs": 60, "batch_size": 32}
    >>> kind_of(Job("tdds", 0.1, 144, "digits", None, "f", train, 0, mislabel="0.2"))
    'small on digits+mislabel=0.2, 60 epochs, batch 32'
    """
    changes = {"corrupt": job.corrupt, "mislabel": job.mislabel, "holdout": job.holdout}
    data = "+".join([pathless(job.data), *(f"{key}={value}" for key, value in changes.items() if value is not None)])
    return f"{job.train['model']} on {data}, {job.train['epochs']} epochs, batch {job.train['batch_size']}"


def watched(notify: Notify, work: float | None = None) -> Callable[[Job, Progress], None]:
    """Return an `on_epoch` that reports epochs; with `work`, for a training among those of other kinds, also its label."""

    def on_epoch(job: Job, progress: Progress) -> None:
        name = f"{job.method} {job.keep:g} (seed {job.seed})"
        size = job.work if work is None else work
        done = {"epoch": progress.epoch, "epochs": progress.epochs, "loss": progress.loss}
        notify("training", {"name": name, "work": size, **done, **({} if work is None else {"label": kind_of(job)})})

    return on_epoch
