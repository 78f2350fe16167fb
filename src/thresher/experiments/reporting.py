"""From a run directory to `report.html`: gathers what the stages left there and hands it to the report as plain values."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.coreset import Coreset
from thresher.data import Data, load, name_parts
from thresher.data.mislabel import Mislabeling, flip_targets
from thresher.errors import ThresherError, one_line
from thresher.experiments.columns import column_names
from thresher.experiments.defaults import recipe
from thresher.experiments.dynamics import OnStep, means, nothing, settling, spread_over_map, trajectories
from thresher.experiments.ledger import ledger
from thresher.experiments.published_curve import published_curve
from thresher.experiments.rundir import read_json
from thresher.experiments.scoring import reasons
from thresher.experiments.study import StudySpec, notices, resolve_all, resolve_recorded
from thresher.experiments.tables import table
from thresher.files import write_atomic
from thresher.methods import ResolvedMethod, find, parse_spec
from thresher.report import Content, DataMap, Line, ScoreColumn, Selection, Suspects, render
from thresher.score_table import read_scores
from thresher.suspects import find_suspects
from thresher.train.spec import TrainSpec
from thresher.trajectory.reader import Trajectory
from thresher.types import Floats, Ids

Results = Sequence[Mapping[str, Any]]
SHOWN = 2000
"""Samples whose image and trajectory a report carries; of all others it has the place on the map."""
_SUSPECTS = 24
_SCALED = {"published": "TDDS where published", "all": "all but Random"}


def report_run(out: Path, spec: StudySpec, results: Results, data_dir: Path | None, on_step: OnStep = nothing) -> Path:
    """Write `report.html` into the run directory `out` and return its path.

    `results` is what `run_study` returns; `on_step(done, total)` reports progress. What the run does not have (no recording,
    no full-data training) is left out.

    Raises what reading gives: MissingFileError, CorruptFileError, or FingerprintError where `data_dir` holds other data
    than the run was made from.
    """
    data = load(spec.data, data_dir, corrupt=spec.corrupt, mislabel=spec.mislabel)
    path = out / "report.html"
    content = gather(out, spec, results, data, on_step)
    write_atomic(path, render(content).encode(errors="backslashreplace"))  # a folder's name may be no text
    on_step(1, 1)
    return path


def gather(out: Path, spec: StudySpec, results: Results, data: Data, on_step: OnStep = nothing) -> Content:
    """Return what the report of the run in `out` shows; `on_step` reports the passes over the recording."""
    store = out / "trajectory"
    trajectory = Trajectory.open(store) if (store / "manifest.json").exists() else None
    resolved = resolve_all(spec, spec.surrogate.epochs) if trajectory is None else resolve_recorded(spec, trajectory)
    environment = _if_there(out / "env.json")
    columns = read_scores(out / "scores.parquet").columns
    keep = min(spec.keeps, default=0.1)
    shown, suspects, verdict = _map_and_suspects(trajectory, on_step)
    scorers = [method.scorer for (_, kept), method in resolved.items() if kept == keep]
    published, note = published_curve(spec)
    selections, told = _selections(out, resolved, data, results)
    return Content(
        title=f"Dataset pruning on {data.name}",
        description=data.describe() + ".",
        targets=data.train.targets,
        class_names=data.class_names,
        lines=_lines(results),
        scores=tuple(ScoreColumn(name, s.values, s.hard_end) for name, s in columns.items()),
        selections=selections,
        data_map=shown,
        published=published,
        published_note=note,
        settling=() if trajectory is None else settling(trajectory, scorers, keep, _pass(2, on_step)),
        settling_keep=keep,
        suspects=suspects,
        suspects_note=verdict,
        planted=_planted(spec, data),
        ledger=ledger(out / "log.jsonl", len(data.train), spec.surrogate.epochs, spec.coreset.epochs, resolved, results),
        image=data.train.image,
        facts=_facts(spec, data, environment),
        notices=(*notices(spec, resolved.values()), *told, *_made_elsewhere(environment, results)),
        titles={label: find(parse_spec(label)[0]).title for label in spec.methods},
        environment=environment,
        spec=spec.to_json(),
        command=command_line(spec),
    )


def _pass(number: int, on_step: OnStep) -> OnStep:
    """Return the `on_step` of one of the three passes over the recording; drawing is the fourth part of the whole."""
    return lambda done, total: on_step(number + done / total, 4)


def _map_and_suspects(trajectory: Trajectory | None, on_step: OnStep) -> tuple[DataMap | None, tuple[Suspects, ...], str]:
    """Return the data map with the trajectories of some samples, the suspects, which are among these, and what
    `thresher suspects` says of all labels."""
    if trajectory is None or not trajectory.epochs:
        return None, (), ""
    found = means(trajectory, _pass(0, on_step))
    suspects = tuple(
        Suspects(title, ids, sign * values[ids])
        for title, values, sign in (
            ("Lowest mean logit margin", None if found.logit_margin is None else -found.logit_margin, -1),
            ("Highest mean error norm", found.error_norm, 1),
        )
        if values is not None and len(ids := _largest(values, _SUSPECTS))
    )
    shown = spread_over_map(found, SHOWN, [s.ids for s in suspects])
    return found.map(shown, trajectories(trajectory, shown, _pass(1, on_step))), suspects, _verdict(found.logit_margin)


def _verdict(margins: Floats | None) -> str:
    """Return how many labels are suspected, in words; "" where not every sample has a margin."""
    if margins is None or not np.isfinite(margins).all():
        return ""
    found = find_suspects(margins)
    if not found.mask.any():
        return f"thresher suspects finds none here: {found.reason}."
    count = int(found.mask.sum())
    return (  # what is shown may go on beyond the suspects
        f"About {found.share:.1%} of the labels are wrong, judging by the mean logit margins; thresher suspects finds "
        f"{count} sample{'s' if count > 1 else ''}: the first {min(count, _SUSPECTS)} of the lowest mean logit margins "
        "shown here."
    )


def _largest(values: Floats, count: int) -> Ids:
    """Return the ids of the largest values, the largest first."""
    seen = np.flatnonzero(np.isfinite(values))
    ids: Ids = seen[np.argsort(-values[seen], kind="stable")][:count]
    return ids


def command_line(spec: StudySpec) -> str:
    """Return the command that makes this study, or "" where the options of `thresher run` cannot say it.

    The folder of the data differs from reader to reader and is written as DIR.
    """
    surrogate, coreset, base = spec.surrogate, spec.coreset, recipe(spec.data)
    seeds = ",".join(map(str, spec.seeds))
    words = ["thresher", "run", "--data", spec.data]
    words += [] if spec.data == "digits" or name_parts(spec.data)[2] else ["--data-dir", "DIR"]
    words += ["--corrupt", spec.corrupt] if spec.corrupt is not None else []
    words += ["--mislabel", spec.mislabel] if spec.mislabel is not None else []
    words += ["--method", ",".join(spec.methods), "--keep", ",".join(repr(keep) for keep in spec.keeps), "--seeds", seeds]
    words += [] if spec.full_seeds else ["--no-full"]
    words += ["--model", surrogate.model]
    words += ["--coreset-model", coreset.model] if coreset.model != surrogate.model else []
    words += _unless(base.surrogate, surrogate, {"epochs": "surrogate-epochs", "batch_size": "surrogate-batch-size"})
    words += _unless(base.surrogate, surrogate, {"schedule_epochs": "surrogate-schedule"})
    words += _unless(base.coreset, coreset, {"epochs": "epochs", "batch_size": "batch-size"})
    words += _unless(base.coreset, coreset, {"lr": "lr", "precision": "precision"})
    words += ["--compile"] if coreset.compile else []
    words += ["--scale-loss", spec.scale_loss] if spec.scale_loss != "published" else []
    words += ["--check", "--budget-minutes", repr(spec.check_minutes)] if spec.check_minutes is not None else []
    return shlex.join(words) if _sayable(spec) else ""


def _unless(base: TrainSpec, spec: TrainSpec, options: Mapping[str, str]) -> list[str]:
    """Return options with the values in which `spec` departs from `base`."""
    given = [(option, getattr(spec, name)) for name, option in options.items() if getattr(spec, name) != getattr(base, name)]
    return [word for option, value in given for word in (f"--{option}", str(value))]


def _sayable(spec: StudySpec) -> bool:
    """Return whether the options of `thresher run` can express this spec: they set some fields, some for both trainings."""
    base = recipe(spec.data)
    own = ("model", "epochs", "batch_size", "schedule_epochs", "lr", "precision", "compile")
    for mine, theirs in ((spec.surrogate, base.surrogate), (spec.coreset, base.coreset)):
        fixed, standard = mine.to_json(), theirs.to_json()
        if any(fixed[name] != standard[name] for name in fixed if name not in own):
            return False
    shared = all(getattr(spec.surrogate, name) == getattr(spec.coreset, name) for name in ("lr", "precision", "compile"))
    usual = spec.full_seeds in ((), spec.seeds) and spec.surrogate_seed == 42 and not spec.options
    # Options carry single commas only: a label with one would come back as two methods.
    usual = usual and spec.coreset.schedule_epochs == base.coreset.schedule_epochs
    return shared and usual and not any("," in label for label in spec.methods)


def _planted(spec: StudySpec, data: Data) -> NDArray[np.bool_] | None:
    """Return which training samples (N,) were given a wrong label on purpose; None where none was."""
    if spec.mislabel is None:
        return None
    # Which ones are drawn depends on nothing but the number of samples, the share and the seed.
    return flip_targets(data.train.targets, data.num_classes, Mislabeling.parse(spec.mislabel))[0]


def _lines(results: Results) -> tuple[Line, ...]:
    accuracies: dict[tuple[str, float], dict[int, float]] = {}
    for result in results:
        accuracies.setdefault((result["method"], result["keep"]), {})[result["seed"]] = 100 * result["test_accuracy"]
    return tuple(Line(**asdict(row), accuracies=accuracies[row.method, row.keep]) for row in table(results))


def _selections(
    out: Path, resolved: Mapping[tuple[str, float], ResolvedMethod], data: Data, results: Results
) -> tuple[tuple[Selection, ...], list[str]]:
    """Return the study's coresets in its order, and notices: why a coreset has its samples, if it says so, and why a file is
    left out (damaged, or of other data).

    If there is a draw for every seed, that of the lowest seed trained in this study is returned: draws of an earlier study
    may lie in the same folder.
    """
    left_out = []
    trained = _trained(results)
    columns = column_names(list(resolved.values()))
    found: dict[tuple[str, float], Selection] = {}
    reason: dict[tuple[str, float], str] = {}
    for path in sorted((out / "coresets").glob("*.parquet")):
        try:
            coreset = Coreset.load(path, fingerprint=data.fingerprint, n=len(data.train))
        except ThresherError as error:
            why = one_line(error).replace(str(path), path.name)  # a report names no folders of this machine
            left_out.append(f"A coreset is left out: {why}")
            continue
        label, keep, seed = (coreset.source.get(name) for name in ("method", "keep", "seed"))
        method = resolved.get((str(label), keep if isinstance(keep, float) else -1.0))
        if method is None or keep is None or trained.get((str(label), keep), coreset.digest) != coreset.digest:
            continue
        earlier = found.get((str(label), keep))
        if earlier is None or (earlier.seed or 0) > (seed or 0):
            found[str(label), keep] = Selection(str(label), keep, coreset.ids, columns[method.scorer, method.at], seed)
            reason[str(label), keep] = reasons(coreset)
    told = [reason[key] for key in resolved if reason.get(key)]
    return tuple(found[key] for key in resolved if key in found), told + left_out


def _trained(results: Results) -> dict[tuple[str, float], str]:
    """Return by method and kept share the digest of the coreset that was trained with the lowest seed."""
    found: dict[tuple[str, float], str] = {}
    for result in sorted(results, key=lambda result: int(result["seed"])):
        if result.get("coreset_digest") is not None:
            found.setdefault((result["method"], result["keep"]), result["coreset_digest"])
    return found


def _facts(spec: StudySpec, data: Data, environment: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    changes = {"Corrupted images": spec.corrupt, "Wrong labels": spec.mislabel}
    versions = (f"{name} {environment[name]}" for name in ("thresher", "torch", "numpy", "python") if name in environment)
    return (
        ("Surrogate", f"{_training(spec.surrogate)}, seed {spec.surrogate_seed}"),
        ("Coreset trainings", f"{_training(spec.coreset)}, seeds {', '.join(map(str, spec.seeds))}"),
        ("Kept shares", ", ".join(f"{100 * keep:g} %" for keep in spec.keeps)),
        ("Methods", ", ".join(spec.methods)),
        ("Score-scaled loss", _SCALED.get(spec.scale_loss, "none")),
        *((name, f"{text}, training split only") for name, text in changes.items() if text is not None),
        ("Data fingerprint", data.fingerprint[:16]),
        ("Versions", ", ".join(versions) or "not recorded"),
    )


def _made_elsewhere(environment: Mapping[str, Any], results: Results) -> list[str]:
    """Return notices on trainings that ran with other versions or on other hardware than the run began with."""
    found: Counter[str] = Counter()
    for result in results:
        own = result.get("environment") or {}
        differing = [name for name in environment if name in own and own[name] != environment[name]]
        if differing:
            found[", ".join(f"{name} {own[name]} instead of {environment[name]}" for name in differing)] += 1
    return [f"{count} of {len(results)} trainings ran on other versions or hardware: {how}" for how, count in found.items()]


def _training(spec: TrainSpec) -> str:
    schedule = "" if spec.schedule_epochs in (None, spec.epochs) else f" of a schedule of {spec.schedule_epochs}"
    return (
        f"{spec.model}, {spec.epochs} epochs{schedule}, batch {spec.batch_size}, learning rate {spec.lr:g}, {spec.precision}"
    )


def _if_there(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}
