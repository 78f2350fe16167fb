"""`--check`: does a method's coreset beat Random's, on a held-out part of the training set? The test set stays unseen.

The surrogate is not trained again: its scores, of all samples, choose coresets among the samples that are left, and these
coresets, and Random's, are trained as the study's own and measured on the samples that were held out. Where the training set
was given wrong labels or corrupted images, these have them too, and the verdict says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from thresher.coreset import Coreset
from thresher.data import Data
from thresher.data.holdout import Holdout, included, split_rows
from thresher.engines import engine_of, make_engine
from thresher.errors import InputError
from thresher.experiments.columns import Columns
from thresher.experiments.events import Notify, stepped
from thresher.experiments.job import Job, Task, values_digest
from thresher.experiments.jobs import cached_data, run_task
from thresher.experiments.pace import Pace
from thresher.experiments.rundir import file_stem, save_coreset
from thresher.experiments.scoring import choose, provenance_of, unrecorded
from thresher.experiments.tables import mean_interval
from thresher.files import write_json
from thresher.keep import keep_count
from thresher.methods import AUTO, RANDOM, ResolvedMethod, parse_spec, resolve
from thresher.report.percent import plus_minus
from thresher.score_table import ScoreTable, read_scores, write_scores
from thresher.train.spec import TrainSpec
from thresher.types import Ids, Pool, Scores

HOLDOUT = "0.1"
_FEWEST = 10  # samples of which a tenth can be held out
PAIRS = 5
"""The most pairs of trainings of a check; the budget may end it earlier."""


@dataclass(frozen=True)
class Verdict:
    """What the held-out part says of a method at a kept share; accuracies in percent, one pair per seed.

    `holds` is None if the budget was too short for a single pair: then nothing is known, and the method's coreset is used.
    `changes` says in words how the held-out samples were changed, as all others were (`holdout.included`).
    """

    method: str
    keep: float
    accuracies: tuple[float, ...]
    random: tuple[float, ...]
    changes: str = ""

    @property
    def gaps(self) -> list[float]:
        """Differences to Random, seed by seed."""
        return [one - other for one, other in zip(self.accuracies, self.random, strict=True)]

    @property
    def gap(self) -> tuple[float, float | None]:
        """Mean difference to Random and the half-width of its 95 % interval; there must be a pair."""
        mean, half = mean_interval(self.gaps)
        return round(mean, 6) + 0.0, half  # a tie is 0, whatever the binary fractions of the accuracies leave of it

    @property
    def holds(self) -> bool | None:
        """Whether the mean gap is not below 0."""
        return self.gap[0] >= 0 if self.gaps else None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "holds": self.holds, "text": self.text}

    @property
    def text(self) -> str:
        """What to tell people.

        >>> Verdict("auto", 0.1, (72.0, 73.0), (71.0, 70.5)).text
        'auto, keep 0.1: +1.75 ± 9.53 to Random on a held-out tenth of the training set (2 pairs): it holds'
        """
        start = f"{self.method}, keep {self.keep:g}: "
        if self.holds is None:
            return f"{start}the budget was too short to check it; raise --budget-minutes or use a smaller network"
        pairs = f"{len(self.gaps)} pair{'s' if len(self.gaps) > 1 else ''}"
        measured = f"to Random on a held-out tenth of the training set{self.changes} ({pairs}): "
        told = f"{start}{plus_minus(*self.gap, signed=True)} {measured}"
        return told + ("it holds" if self.holds else "it does not hold, so Random's coreset is taken")


def check_asked(methods: Collection[str], minutes: float, n: int) -> None:
    """Raise InputError if these methods cannot be checked in so many minutes on a part of n samples: now, not after hours of
    training."""
    if not any(parse_spec(label)[0] == AUTO for label in methods):
        raise InputError(
            f"Expected {AUTO} among the methods, since --check measures nothing else, but got {', '.join(methods)}. Add it "
            "to --method, or omit --check."
        )
    if not 0 < minutes < float("inf"):
        raise InputError(f"Expected --budget-minutes as a number above 0, such as 30, but got {minutes:g}.")
    if n < _FEWEST:
        raise InputError(f"--check holds out a tenth of the training set, which is none of {n} samples. Omit --check.")


def check(
    method: ResolvedMethod, keep: float, table: ScoreTable, names: Columns, data: Data, job: Mapping[str, Any],
    folder: Path, pace: Pace, *, scaled: bool = False, processes: int = 1,
    on_step: Callable[[float, float], None] = lambda done, total: None,
) -> Verdict:  # fmt: skip
    """Train pairs of coresets of the method and of Random on what is left, and return what the held-out part says.

    `table` and `names` are the scores of `data`; `job` has the fields that the study's jobs share. If
    `scaled`, the loss of the method's trainings is multiplied by its scores, as in the study. Results are kept in `folder`,
    so that a check that was interrupted goes on. Pairs are started while `pace` has time for them; `on_step(done, most)` is
    called after each pair.
    """
    held = cached_data(job["data"], job["data_dir"], job["corrupt"], job["mislabel"], HOLDOUT)
    left, _ = split_rows(len(data.train), Holdout.parse(HOLDOUT))
    columns = {name: replace(scores, values=scores.values[left]) for name, scores in table.columns.items()}
    targets = None if table.targets is None else table.targets[left]
    pool = Pool(len(left), targets, None, data.num_classes)
    spec = TrainSpec(**job["train"])
    made: dict[str, dict[int, float]] = {method.name: {}, RANDOM: {}}
    scale = _scale(method.name, table.columns[names[method.columns[""]]], left, folder) if scaled else {}

    def task(label: str, seed: int) -> Task:
        if label == RANDOM:
            kept = _random(pool, keep, seed, held)
        else:
            kept = choose(method, columns, names, pool, keep, seed, provenance_of(held))
        path = folder / "coresets" / f"{file_stem(label, keep)}-seed{seed}.parquet"
        save_coreset(kept, path)
        shared = {**job, "fingerprint": held.fingerprint, "test_fingerprint": held.test_fingerprint, "holdout": HOLDOUT}
        shared |= scale if label == method.name else {}
        one = Job(label, keep, len(kept.ids), seed=seed, coreset=str(path), coreset_digest=kept.digest, **shared)
        return Task(one, one.result_path(folder / "results"))

    def finished(done: Task, result: dict[str, Any]) -> None:
        made[done.job.method][done.job.seed] = 100 * result["test_accuracy"]

    count = keep_count(len(left), keep)
    with make_engine(engine_of(pace.device), processes) as engine:
        for seed in range(PAIRS):  # pair by pair, so that a budget that ends early has whole ones
            pair = [task(label, seed) for label in (RANDOM, method.name)]
            todo = [one for one in pair if not one.path.exists()]
            if todo and pace.training(held, spec, count) * -(-len(todo) // processes) > pace.left:
                break  # what is there counts, however short the budget
            engine.run(pair, lambda one: (run_task, (one, pace.device, pace.threads)), on_result=finished)
            on_step(seed + 1, PAIRS)
    seeds = sorted(made[RANDOM])
    own, other = (tuple(made[label][seed] for seed in seeds) for label in (method.name, RANDOM))
    return Verdict(method.name, keep, own, other, included(job["corrupt"], job["mislabel"]))


def _scale(name: str, scores: Scores, left: Ids, folder: Path) -> dict[str, str]:
    """Write a method's scores of the samples that are left; return the job fields that scale a loss by them."""
    column = replace(scores, values=scores.values[left])
    digest = values_digest(column.values)
    path = folder / f"scores-{digest}.parquet"
    write_scores(path, {name: column})
    return {"scores": str(path), "scale_column": name, "scale_digest": digest}


def check_auto(
    run: Path, data: Data, job: Mapping[str, Any], resolved: Mapping[tuple[str, float], ResolvedMethod], names: Columns,
    device: str, threads: int | None, minutes: float, processes: int, notify: Notify,
    scaled: Collection[tuple[str, float]] = (),
) -> list[Verdict]:  # fmt: skip
    """Check `auto` at every kept share of a run directory, in `minutes` altogether, and write the verdicts into `check/`.

    `scaled` are those of `resolved` whose trainings have their loss multiplied by the score.
    """
    asked = [key for key in resolved if parse_spec(key[0])[0] == AUTO]
    table, verdicts = read_scores(run / "scores.parquet"), []
    (run / "check").mkdir(exist_ok=True)
    for key in asked:
        pace = Pace.shared(device, threads, minutes / len(asked), min(processes, 2))
        verdicts.append(
            check(
                resolved[key], key[1], table, names, data, job, run / "check", pace, scaled=key in scaled,
                processes=processes, on_step=stepped(notify, f"checking {key[0]} at {key[1]:g}"),
            )
        )  # fmt: skip
        write_json(run / "check" / f"verdict-{file_stem(*key)}.json", verdicts[-1].to_json())
        notify("notice", {"text": verdicts[-1].text})
    return verdicts


def fallen_back(verdict: Verdict, pool: Pool, seed: int, data: Data) -> Coreset:
    """Return Random's coreset in place of the method's; its provenance says why."""
    kept = _random(pool, verdict.keep, seed, data)
    return replace(kept, source={**kept.source, "method": verdict.method, "check": verdict.to_json()})


def fell_back(coreset: Coreset) -> bool:
    """Return whether this is Random's coreset in place of that of a method that failed its check."""
    return "check" in coreset.source


def _random(pool: Pool, keep: float, seed: int, data: Data) -> Coreset:
    method = resolve(RANDOM, "", keep)
    return choose(method, *unrecorded(method, pool), pool, keep, seed, provenance_of(data))
