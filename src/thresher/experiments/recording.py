"""The first stage of every experiment: a surrogate is trained and its dynamics are recorded into a run directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from thresher import signals
from thresher.data import Data
from thresher.errors import InputError, RunDirectoryError
from thresher.experiments.ledger import Clock
from thresher.experiments.scoring import provenance_of
from thresher.ranks import current
from thresher.recorder import Recorder
from thresher.scorers._base import Scorer, lacking
from thresher.train.loop import Progress, fit
from thresher.train.spec import TrainSpec
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import LogitsDtype, TrajectoryWriter

RECORDED = (
    "correct",
    "target_prob",
    "prob_margin",
    "logit_margin",
    "error_norm",
    "entropy",
    "change",
    "signed_change",
    "eval_entropy",
    "eval_target_prob",
    "eval_error_norm",
    "eval_feature_norm",
)
"""What a recording holds, so that every method of Thresher can be replayed from it (`last_loss` is for live pruning)."""


def check_recorded(scorer: Scorer) -> None:
    """Raise InputError for a scorer that reads what `record` leaves out, so that its recording would be in vain."""
    missing = lacking(scorer, RECORDED)
    if missing:
        raise InputError(
            f"{scorer.name} reads {', '.join(missing)}, which is not recorded here (only {', '.join(RECORDED)} are). Train "
            f"in your own loop, with a Recorder that has {scorer.name} among its scorers, or a store of what it reads."
        )


def record(
    data: Data,
    spec: TrainSpec,
    seed: int,
    run: Path,
    *,
    device: str = "cpu",
    workers: int = 2,
    eval_pass: bool | None = None,
    logits: LogitsDtype | None = None,
    until: int | None = None,
    on_epoch: Callable[[Progress], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Trajectory:
    """Train the surrogate and record it into `run/trajectory`; continue after a crash, skip when complete.

    `until` stops after that many epochs of the schedule; a later call continues from there. `eval_pass` says whether the
    recording ends with an evaluation pass; None continues a recording as it was begun, and gives a new one the pass.
    `on_epoch` and `on_step` are called as by `fit`.

    After `kill -9` at any moment the same call continues from the last committed epoch, and the recording (and so every
    score) is bit for bit that of an uninterrupted run on the same CPU. The ranks of torch.distributed, if it is set up,
    record together; every rank must make the call. Raises MissingFileError or CorruptFileError if a file of an existing
    recording is missing or truncated, RunDirectoryError if it was begun with other logits or another `eval_pass`.
    """
    ranks = current()
    folder, checkpoint = run / "trajectory", run / "checkpoints" / "surrogate.safetensors"
    if ranks.share("record", (folder / "manifest.json").exists())[0]:
        trajectory = Trajectory.open(folder)
        trajectory.check_files()  # else a store that lost files would be called complete, or continued
        eval_pass = _begun(trajectory, logits, eval_pass)
        if trajectory.epochs >= min(spec.epochs, until or spec.epochs):
            return trajectory
        store = TrajectoryWriter.resume(folder)
    else:
        eval_pass = eval_pass is not False
        names = [s for s in RECORDED if eval_pass or not s.startswith(signals.EVAL_PREFIX)]
        info = {**provenance_of(data), "train": spec.to_json(), "seed": seed}
        store = TrajectoryWriter.create(folder, len(data.train), data.num_classes, names, logits=logits, info=info)
    recorder = Recorder(len(data.train), data.num_classes, store=store)
    try:
        fit(
            data, spec, seed, recorder=recorder, eval_pass=eval_pass, device=device, workers=workers,
            checkpoint=checkpoint, resume=True, restart=True, until=until, on_epoch=on_epoch, on_step=on_step,
        )  # fmt: skip
    finally:
        store.close()
    return Trajectory.open(folder)


def _begun(recording: Trajectory, logits: LogitsDtype | None, eval_pass: bool | None) -> bool:
    """Return whether a recording was begun with an evaluation pass, or raise RunDirectoryError unless it is as asked."""
    folder, features = recording.folder, recording.manifest.features is not None
    has = features or any(name.startswith(signals.EVAL_PREFIX) for name in recording.signals)
    if logits is not None and recording.manifest.logits != logits:
        raise RunDirectoryError(
            f"{folder} was begun with logits={recording.manifest.logits}. Continue so, or choose another --out."
        )
    if eval_pass is not None and eval_pass != has:
        option = "--features" if has else "--no-features"
        raise RunDirectoryError(f"{folder} was begun with {option}. Continue so, or choose another --out.")
    return has


def timed(clock: Clock, then: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Return an `on_epoch` that logs the time of the epoch and then calls `then`."""

    def on_epoch(progress: Progress) -> None:
        clock.epoch(progress.epoch)
        then(progress)

    return on_epoch


def identity(data: Data, surrogate: TrainSpec, seed: int) -> dict[str, Any]:
    """Return what makes a run directory one run: its recording.

    Methods, kept shares, seeds and the coreset recipe are not part of it: results are named by everything that
    determines them, so more of them may be added to a recording at any time.
    """
    return {"data": data.name, "fingerprint": data.fingerprint, "surrogate": surrogate.to_json(), "seed": seed}
