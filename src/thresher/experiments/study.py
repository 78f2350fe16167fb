"""The main job: record one training, score with every method, select, retrain on each coreset, compare.

`run_study` runs all stages, one after another; each leaves complete files in the run directory and is skipped when they are
there. The stages are functions of their own, which the single commands use too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from thresher.arrays import plain_float
from thresher.coreset import Coreset
from thresher.data import Data, load
from thresher.derivation import settle
from thresher.errors import InputError
from thresher.experiments.check import Verdict, check_asked, check_auto, fallen_back, fell_back
from thresher.experiments.classes import emptied, emptied_text
from thresher.experiments.columns import Columns
from thresher.experiments.events import Notify, stepped, watched
from thresher.experiments.job import Job, values_digest
from thresher.experiments.jobs import run_jobs
from thresher.experiments.ledger import Clock
from thresher.experiments.recording import check_recorded, identity, record, timed
from thresher.experiments.rundir import RunDirectory, file_stem, save_coreset
from thresher.experiments.scoring import choose, provenance_of, reasons, score
from thresher.keep import keep_count
from thresher.methods import FULL, RANDOM, ResolvedMethod, parse_spec, resolve
from thresher.models import check_model
from thresher.ranks import current, together
from thresher.score_table import read_scores
from thresher.settings.published import SCALED_LOSS, dataset_key
from thresher.train.spec import TrainSpec
from thresher.trajectory.reader import Trajectory
from thresher.types import Pool, check_seed, is_whole

_SCALE_RULES = ("published", "none", "all")


@dataclass(frozen=True)
class StudySpec:
    """Everything that determines the numbers of a study; JSON-ready through `to_json`.

    `data` is the name that `thresher.data.load` takes, by which published settings are found; `corrupt` and `mislabel`
    change its training split as `load` says. With `check_minutes`, `auto` is first checked on a held-out part, for so long.
    Raises InputError for a seed that is none and an unknown `scale_loss`.
    """

    data: str
    surrogate: TrainSpec
    coreset: TrainSpec
    methods: tuple[str, ...]
    keeps: tuple[float, ...]
    seeds: tuple[int, ...]
    full_seeds: tuple[int, ...] = ()
    surrogate_seed: int = 42
    scale_loss: str = "published"
    options: dict[str, Any] = field(default_factory=dict)
    corrupt: str | None = None
    mislabel: str | None = None
    check_minutes: float | None = None

    def __post_init__(self) -> None:
        for seed in (self.surrogate_seed, *self.seeds, *self.full_seeds):
            check_seed(seed)
        if self.scale_loss not in _SCALE_RULES:
            raise InputError(f"Expected scale_loss as one of {', '.join(_SCALE_RULES)}, but got {self.scale_loss!r}.")
        object.__setattr__(self, "surrogate_seed", int(self.surrogate_seed))  # NumPy's no JSON holds
        for name in ("seeds", "full_seeds"):
            object.__setattr__(self, name, tuple(map(int, getattr(self, name))))
        object.__setattr__(self, "keeps", tuple(int(k) if is_whole(k) else plain_float(k) for k in self.keeps))

    def to_json(self) -> dict[str, Any]:
        """Return nested plain values."""
        return asdict(self)


def select_all(
    run: Path, data: Data, spec: StudySpec, resolved: dict[tuple[str, float], ResolvedMethod],
    names: Columns, verdicts: Sequence[Verdict] = (), notify: Notify = lambda event, details: None,
) -> dict[tuple[str, float, int], Path]:  # fmt: skip
    """Write every coreset: one file per (method, keep), or one per seed where the selection draws at random.

    Where `auto` failed its check, the coreset is Random's. `notify` gets the explanations of methods that give one, and the
    classes that a coreset leaves without a sample.
    """
    lost = {(verdict.method, verdict.keep): verdict for verdict in verdicts if verdict.holds is False}
    scored = read_scores(run / "scores.parquet")
    pool = Pool(scored.n, scored.targets, None, data.num_classes)
    provenance = provenance_of(data)
    paths: dict[tuple[str, float, int], Path] = {}
    for (label, keep), method in resolved.items():
        if (label, keep) in lost:
            chosen = {s: fallen_back(lost[label, keep], pool, s, data) for s in spec.seeds}
        else:
            chosen = {s: choose(method, scored.columns, names, pool, keep, s, provenance) for s in spec.seeds}
        first = chosen[spec.seeds[0]]
        none_of = emptied(data.train.targets, first.ids)
        empty = emptied_text(label, method.selector, none_of, len(first), pool.n, data.class_names)
        why = "" if fell_back(first) else reasons(first)  # the check's verdict has been reported
        drawn = any(not np.array_equal(c.ids, first.ids) for c in chosen.values())
        which = f"keep {keep:g}" + (f", seed {spec.seeds[0]}" if drawn else "")  # another draw may leave others empty
        for text in filter(None, (why, empty and f"{which}: {empty}")):
            notify("notice", {"text": text})
        for seed, coreset in chosen.items():
            suffix = f"-seed{seed}" if drawn else ""
            path = run / "coresets" / f"{file_stem(label, keep)}{suffix}.parquet"
            save_coreset(coreset, path)
            paths[label, keep, seed] = path
    return paths


def common_fields(data: Data, data_dir: str | None, spec: StudySpec) -> dict[str, Any]:
    """Return what all trainings of a study have in common."""
    return {
        "data": spec.data,
        "data_dir": data_dir,
        "corrupt": spec.corrupt,
        "mislabel": spec.mislabel,
        "fingerprint": data.fingerprint,
        "test_fingerprint": data.test_fingerprint,
        "train": spec.coreset.to_json(),
    }


def build_jobs(
    run: Path, data: Data, data_dir: str | None, spec: StudySpec,
    resolved: dict[tuple[str, float], ResolvedMethod], names: Columns,
    coresets: dict[tuple[str, float, int], Path],
) -> list[Job]:  # fmt: skip
    """Return the trainings of a study: full data, then every coreset, seeds outermost so that pairs finish together.

    A coreset that fell back to Random's is not scaled by the scores of the method that did not hold.
    """
    n = len(data.train)
    columns = read_scores(run / "scores.parquet").columns
    common = common_fields(data, data_dir, spec)
    jobs = [Job(FULL, 1.0, n, seed=seed, **common) for seed in spec.full_seeds]
    for seed in spec.seeds:
        for (label, keep), method in resolved.items():
            path = coresets[label, keep, seed]
            coreset = Coreset.load(path)
            scaled = scales_loss(spec.scale_loss, spec.data, method.name) and not fell_back(coreset)
            column = names[method.scorer, method.at]
            jobs.append(
                Job(
                    label, keep, len(coreset.ids), seed=seed, **common,
                    coreset=str(path), coreset_digest=coreset.digest,
                    scores=str(run / "scores.parquet") if scaled else None,
                    scale_column=column if scaled else None,
                    scale_digest=values_digest(columns[column].values) if scaled else None,
                )
            )  # fmt: skip
    return jobs


def scales_loss(rule: str, data: str, method: str) -> bool:
    """Return whether a method's coreset trainings multiply the loss by the score (decision 0007).

    `rule` is "published", "none" or "all". Random's is never scaled: its score is a draw, and all others are measured
    against it.
    """
    name = parse_spec(method)[0]
    published_here = name == "tdds" and dataset_key(data) in SCALED_LOSS
    return (rule == "all" and name != RANDOM) or (rule == "published" and published_here)


def notices(spec: StudySpec, resolved: Iterable[ResolvedMethod]) -> list[str]:
    """Return sentences on the settings that were picked for methods, and why."""
    methods = list(resolved)
    said = [method.notice for method in methods if method.notice]
    tdds = [m for m in methods if parse_spec(m.name)[0] == "tdds"]
    unscaled = [m.name for m in tdds if not scales_loss(spec.scale_loss, spec.data, m.name)]
    if unscaled and spec.scale_loss == "published":
        said.append(
            f"{', '.join(dict.fromkeys(unscaled))}: loss not scaled by the score, which is published for "
            f"{' and '.join(sorted(SCALED_LOSS))} only (--scale-loss all does it everywhere)"
        )
    return list(dict.fromkeys(said))


def resolve_all(spec: StudySpec, epochs: int) -> dict[tuple[str, float], ResolvedMethod]:
    """Resolve every method for every kept share, with the published settings that fit."""
    return {
        (label, keep): resolve(label, spec.data, keep, epochs, spec.surrogate.model)
        for keep in spec.keeps
        for label in spec.methods
    }


def resolve_recorded(spec: StudySpec, recording: Trajectory) -> dict[tuple[str, float], ResolvedMethod]:
    """Resolve every method for every kept share as `resolve_all` does, and derive from the recording what waits for it."""
    resolved = resolve_all(spec, recording.epochs)
    return settle(resolved, {key: key[1] for key in resolved}, recording)


def _score_and_select(
    out: Path, data: Data, data_dir: str | None, spec: StudySpec, resolved: dict[tuple[str, float], ResolvedMethod],
    clock: Clock, notify: Notify, trainings: dict[str, Any],
) -> list[Job]:  # fmt: skip
    """Score the recording, check `auto` where that is wanted, write the coresets, and return what is to be trained.

    `trainings` says how those of the check run: on which device, with how many processes and threads.
    """
    clock.start()
    methods = list(resolved.values())
    names = score(out / "trajectory", methods, out / "scores.parquet", on_step=stepped(notify, "scoring"))
    clock.stage("scored")
    notify("scored", {"columns": list(names.values())})
    verdicts: list[Verdict] = []
    if spec.check_minutes is not None:
        common = common_fields(data, data_dir, spec)
        scaled = [key for key, m in resolved.items() if scales_loss(spec.scale_loss, spec.data, m.name)]
        verdicts = check_auto(
            out, data, common, resolved, names, minutes=spec.check_minutes, notify=notify, scaled=scaled, **trainings
        )  # fmt: skip
    coresets = select_all(out, data, spec, resolved, names, verdicts, notify)
    return build_jobs(out, data, data_dir, spec, resolved, names, coresets)


def _check_possible(spec: StudySpec, data: Data) -> None:
    """Raise what a study would end with, before any training: a misspelled method or model must not cost an hour."""
    for keep in spec.keeps:
        keep_count(len(data.train), keep)
    if spec.check_minutes is not None:
        check_asked(spec.methods, spec.check_minutes, len(data.train))
    for method in resolve_all(spec, spec.surrogate.epochs).values():
        for scorer in method.scorers.values():
            check_recorded(scorer)
    for training in (spec.surrogate, spec.coreset):
        check_model(training.model, data.image_size)


def run_study(
    spec: StudySpec,
    out: Path,
    *,
    data_dir: str | None = None,
    device: str = "cpu",
    processes: int = 1,
    threads: int | None = None,
    notify: Notify = lambda event, details: None,
) -> list[dict[str, Any]]:
    """Run (or continue) a study in `out` and return its results, one record a training (`table` makes lines of them).

    `notify(event, details)` is called for everything worth showing: steps, epochs, notices, finished trainings. The ranks of
    torch.distributed, where it is set up, record together; then rank 0 scores and selects, and each takes its share of the
    coreset trainings, which are those of one process.
    """
    ranks = current()
    if not spec.methods or not spec.seeds or not spec.keeps:
        raise InputError("Expected at least one method, one kept share and one seed.")
    data = load(spec.data, Path(data_dir) if data_dir else None, corrupt=spec.corrupt, mislabel=spec.mislabel)
    _check_possible(spec, data)
    measured_on = {"test_fingerprint": data.test_fingerprint}  # of no matter to the recording, but to all results
    what = {**identity(data, spec.surrogate, spec.surrogate_seed), **measured_on}
    with RunDirectory(out, what, ranks=ranks) as run:
        run.log("study", **spec.to_json())
        notify("data", {"text": data.describe()})
        clock = Clock(run.log)
        recording = record(
            data, spec.surrogate, spec.surrogate_seed, out, device=device,
            on_epoch=timed(clock, lambda p: notify("epoch", {"epoch": p.epoch, "epochs": p.epochs, "loss": p.loss})),
            on_step=stepped(notify, "surrogate"),
        )  # fmt: skip
        resolved = resolve_recorded(spec, recording)
        for text in notices(spec, resolved.values()):
            notify("notice", {"text": text})
        jobs: list[Job] = []
        with together(ranks, "score and select"):
            if ranks.rank == 0:
                trainings = {"device": device, "threads": threads, "processes": processes}
                jobs = _score_and_select(out, data, data_dir, spec, resolved, clock, notify, trainings)
        jobs = [Job(**job) for job in ranks.share("trainings", [asdict(job) for job in jobs])[0]]
        notify("jobs", {"total": len(jobs), "work": sum(job.work for job in jobs)})

        def on_result(job: Job, result: dict[str, Any]) -> None:
            run.log("result", method=job.method, keep=job.keep, seed=job.seed, accuracy=result["test_accuracy"])
            notify("result", {"method": job.method, "keep": job.keep, "seed": job.seed, "work": job.work, **result})

        return run_jobs(
            jobs, out / "results", device=device, processes=processes, threads=threads, on_result=on_result,
            on_epoch=watched(notify),
        )  # fmt: skip
