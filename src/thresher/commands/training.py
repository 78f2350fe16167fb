"""The commands that train: options to specs, live progress to the terminal, the table and the report at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from thresher.commands.options import (
    as_logits,
    as_precision,
    as_shares,
    check_eval_every,
    check_place,
    check_scale_loss,
    pick_device,
    untold_best,
)
from thresher.commands.output import Output
from thresher.commands.screen import Screen, parallel
from thresher.coreset import Coreset
from thresher.data import Data, load
from thresher.dynamic import parse_rule
from thresher.errors import InputError
from thresher.experiments.defaults import adjusted, parse_seeds, recipe, run_folder
from thresher.experiments.events import watched
from thresher.experiments.job import Job
from thresher.experiments.jobs import run_jobs
from thresher.experiments.ledger import Clock
from thresher.experiments.recording import identity, record, timed
from thresher.experiments.rundir import RunDirectory
from thresher.experiments.study import StudySpec, run_study
from thresher.experiments.tables import Row, keep_text, looked_at, markdown, mean_best, table
from thresher.files import write_atomic
from thresher.methods import FULL, parse_methods
from thresher.models import check_model
from thresher.ranks import Ranks
from thresher.ranks.torchrun import joined
from thresher.report.percent import gap_text, plus_minus, seeds_text
from thresher.tracking import Tracker, followed, tracked
from thresher.types import check_seed


def results_table(rows: list[Row]) -> Table:
    """Return the results for a terminal."""
    view = Table(title="accuracy on the test set, 95 % intervals over seeds")
    view.add_column("method", overflow="fold")
    for heading in ("keep", "kept", "accuracy %", "gap to Random", "seeds", "seconds"):
        view.add_column(heading, justify="right")
    for r in rows:
        view.add_row(
            r.method, keep_text(r.keep), str(r.kept), plus_minus(r.accuracy_mean, r.accuracy_half_width),
            gap_text(r.gap_mean, r.gap_half_width, r.n_pairs, r.n_seeds),
            seeds_text(r.n_seeds, r.n_diverged), f"{r.seconds:.1f}",
        )  # fmt: skip
    return view


@contextmanager
def _begun(
    device: str, say: Output, track: str | None, name: str, params: Mapping[str, Any]
) -> Iterator[tuple[Ranks, str, Tracker | None]]:
    """Join the processes that torchrun started, of which only the first prints and tracks.

    Yields the ranks, this process's device and the tracker.
    """
    with joined(device) as (ranks, own_device):
        if ranks.rank > 0:
            say.hush()
        with tracked(track if ranks.rank == 0 else None, name, params) as tracker:
            yield ranks, own_device, tracker


def run_command(
    *, data: str, data_dir: Path | None, corrupt: str | None, mislabel: str | None, model: str | None,
    coreset_model: str | None, method: str | None, keep: str | None,
    seeds: str, full: bool, epochs: int | None, batch_size: int | None, surrogate_epochs: int | None,
    surrogate_schedule: int | None, surrogate_batch_size: int | None, lr: float | None, scale_loss: str,
    precision: str, device: str, jobs: int | None, out: Path | None, resume: bool, report: bool, compile_model: bool,
    check: bool, budget_minutes: float | None, track: str | None, say: Output,
) -> None:  # fmt: skip
    """`thresher run`."""
    started = time.perf_counter()
    check_place(data, data_dir)
    device = pick_device(device)
    base = recipe(data)
    common: dict[str, Any] = {"lr": lr, "precision": as_precision(precision), "compile_model": compile_model}
    surrogate = adjusted(
        base.surrogate, model=model, epochs=surrogate_epochs, schedule=surrogate_schedule,
        batch_size=surrogate_batch_size, **common,
    )  # fmt: skip
    coreset = adjusted(
        base.coreset, model=coreset_model or model, epochs=epochs, schedule=None, batch_size=batch_size, **common
    )
    check_scale_loss(scale_loss)
    chosen = parse_seeds(seeds)
    if check != (budget_minutes is not None):
        raise InputError("Expected --check and --budget-minutes (the time for the check) together, or neither.")
    keeps = base.keeps if keep is None else as_shares(keep, data, data_dir)
    spec = StudySpec(
        data, surrogate, coreset, parse_methods(base.methods if method is None else method), keeps, chosen,
        chosen if full else (), scale_loss=scale_loss, corrupt=corrupt, mislabel=mislabel,
        check_minutes=budget_minutes,
    )  # fmt: skip
    out = out or run_folder(data, corrupt, mislabel)
    if not resume and (out / "spec.json").exists():
        raise InputError(f"{out} already holds a run. Choose another --out, or omit --no-resume to continue it.")
    with _begun(device, say, track, out.name, spec.to_json()) as (ranks, own_device, tracker):
        processes, threads = parallel(jobs, device, ranks.size)
        with Screen(say) as screen:
            results = run_study(
                spec, out, data_dir=str(data_dir) if data_dir else None, device=own_device, processes=processes,
                threads=threads, notify=followed(screen.notify, tracker),
            )  # fmt: skip
    if ranks.rank > 0:
        return
    rows = table(results)
    write_atomic(out / "table.md", markdown(rows).encode())
    say.table(lambda: results_table(rows))
    if report:
        from thresher.experiments.reporting import report_run

        with Screen(say) as screen:
            report_run(out, spec, results, data_dir, partial(screen.step, "report"))
    seconds = time.perf_counter() - started
    names = ["scores.parquet", "coresets", "results", "table.md", *(["report.html"] if report else [])]
    say.wrote(out / "trajectory", *(out / name for name in names))
    say.line(
        f"\n{out}/ holds scores.parquet, coresets/, results/, table.md{' and report.html' if report else ''} "
        f"({seconds:.0f} s)"
    )
    say.result({"run": out, "rows": rows, "trainings": len(results), "seconds": round(seconds, 1)})


def record_command(
    *, out: Path, data: str, data_dir: Path | None, corrupt: str | None, mislabel: str | None, model: str | None,
    epochs: int | None, schedule_epochs: int | None, batch_size: int | None, lr: float | None, seed: int, precision: str,
    device: str, features: bool, logits: str | None, compile_model: bool, track: str | None, say: Output,
) -> None:  # fmt: skip
    """`thresher record`."""
    check_place(data, data_dir)
    check_seed(seed)  # before anything is written
    device = pick_device(device)
    dtype = as_logits(logits)
    spec = adjusted(
        recipe(data).surrogate, model=model, epochs=epochs, schedule=schedule_epochs, batch_size=batch_size, lr=lr,
        precision=as_precision(precision), compile_model=compile_model,
    )  # fmt: skip
    loaded = load(data, data_dir, corrupt=corrupt, mislabel=mislabel)
    check_model(spec.model, loaded.image_size)  # before anything is written
    what = identity(loaded, spec, seed)
    with (
        _begun(device, say, track, out.name, what) as (ranks, own_device, tracker),
        RunDirectory(out, what, ranks=ranks) as run,
        Screen(say) as screen,
    ):
        say.note(f"{loaded.describe()}; {spec.model}, {spec.epochs} epochs of batch {spec.batch_size}")
        notify = followed(screen.notify, tracker)
        trajectory = record(
            loaded, spec, seed, out, device=own_device, eval_pass=features, logits=dtype,
            on_epoch=timed(
                Clock(run.log),
                lambda p: notify("epoch", {"epoch": p.epoch, "epochs": p.epochs, "loss": p.loss}),
            ),
            on_step=partial(screen.step, "surrogate"),
        )  # fmt: skip
    say.wrote(out / "trajectory")
    say.line(f"{out}/trajectory holds {trajectory.epochs} epochs of {trajectory.n} samples")
    say.result({"run": out, "epochs": trajectory.epochs, "samples": trajectory.n, "signals": trajectory.signals})


def train_command(
    *, data: str, data_dir: Path | None, corrupt: str | None, mislabel: str | None, coreset: Path | None,
    dynamic: str | None, model: str | None, seeds: str, epochs: int | None,
    batch_size: int | None, lr: float | None, precision: str, device: str, jobs: int | None, eval_every: int, out: Path,
    compile_model: bool, track: str | None, say: Output,
) -> None:  # fmt: skip
    """`thresher train`."""
    check_eval_every(eval_every)
    check_place(data, data_dir)
    device = pick_device(device)
    if coreset is not None and dynamic is not None:
        raise InputError("Expected --coreset or --dynamic, not both: a dynamic training draws its own samples.")
    spec = adjusted(
        recipe(data).coreset, model=model, epochs=epochs, schedule=None, batch_size=batch_size, lr=lr,
        precision=as_precision(precision), compile_model=compile_model,
    )  # fmt: skip
    loaded = load(data, data_dir, corrupt=corrupt, mislabel=mislabel)
    common: dict[str, Any] = {
        "data": data, "data_dir": str(data_dir) if data_dir else None, "fingerprint": loaded.fingerprint,
        "test_fingerprint": loaded.test_fingerprint,
        "train": spec.to_json(), "corrupt": corrupt, "mislabel": mislabel, **_trained_on(loaded, data, coreset, dynamic),
    }  # fmt: skip
    todo = [Job(seed=seed, eval_every=eval_every, **common) for seed in parse_seeds(seeds)]
    out.mkdir(parents=True, exist_ok=True)
    with _begun(device, say, track, out.name, {**common, "data_dir": None}) as (ranks, own_device, tracker):
        processes, threads = parallel(jobs, device, ranks.size)
        with Screen(say) as screen:
            notify = followed(screen.notify, tracker)
            notify("jobs", {"total": len(todo), "work": sum(job.work for job in todo)})
            results = run_jobs(
                todo, out, device=own_device, processes=min(processes, len(todo)), threads=threads,
                on_result=lambda job, r: notify(
                    "result", {**r, "method": job.method, "keep": job.keep, "work": job.work}
                ),
                on_epoch=watched(notify),
            )  # fmt: skip
    rows = table(results)
    say.table(lambda: results_table(rows))
    facts = _tell_best(results, eval_every, say)
    if dynamic is not None:
        all_samples = len(loaded.train) * spec.epochs * len(results)
        facts["shown_share"] = sum(int(r["shown"]) for r in results) / all_samples
        say.line(f"{facts['shown_share']:.1%} of all samples shown, on average over the epochs")
    say.wrote(*(job.result_path(out) for job in todo))
    say.line(f"results in {out}/")
    say.result({"rows": rows, "trainings": len(results), **facts})


def _trained_on(loaded: Data, data: str, coreset: Path | None, dynamic: str | None) -> dict[str, Any]:
    """Return the fields of jobs that say which samples they train on: a coreset, what a dynamic rule draws, or all.

    Raises InputError for an unknown rule and for a coreset with weights, and what loading a coreset raises.
    """
    n = len(loaded.train)
    if dynamic is not None:
        parse_rule(dynamic, data)
        return {"method": dynamic, "keep": 1.0, "kept": n, "dynamic": dynamic}
    if coreset is None:
        return {"method": FULL, "keep": 1.0, "kept": n}
    kept = Coreset.load(coreset, fingerprint=loaded.fingerprint, n=n, data=loaded.name)
    if kept.weights is not None:
        raise InputError(
            f"Expected a coreset without weights, but {coreset} has weights, which this command would "
            "ignore. In Python thresher.dynamic.Fixed trains with them; or save a coreset of the ids alone."
        )
    return {
        "method": str(kept.source.get("method", coreset.stem)), "keep": round(len(kept) / n, 6), "kept": len(kept),
        "coreset": str(coreset), "coreset_digest": kept.digest,
    }  # fmt: skip


def _tell_best(results: Sequence[Mapping[str, Any]], eval_every: int, say: Output) -> dict[str, float]:
    """Print the mean of the trainings' best accuracies, or how many do not know theirs; return it for programs."""
    unknown = sum(not looked_at(result, eval_every) for result in results) if eval_every else 0
    best = mean_best(results, eval_every)
    if unknown:
        say.note(untold_best(f"{unknown} of {len(results)} trainings", eval_every))
    elif best is not None:
        say.line(f"best over the epochs: {best:.2f} %, chosen on the test set")
        return {"best_accuracy_mean": best}
    return {}
