"""`thresher select`: no torch is imported here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from thresher.engines import make_engine
from thresher.errors import UnknownNameError
from thresher.experiments.columns import Columns
from thresher.experiments.scoring import choose, provenance_of
from thresher.keep import parse_keep, share_of
from thresher.large.selecting import select_file
from thresher.methods import ResolvedMethod, parse_spec, resolve
from thresher.places import seen_by_all, storage_errors
from thresher.score_table import ScoreFile, read_scores
from thresher.scorers import Scorer
from thresher.selectors._base import Rule
from thresher.types import Pool


@storage_errors()
def select_command(
    *, scores: Path, keep: str, out: Path, method: str, column: str | None, data: str | None, seed: int,
    engine: str, workers: int | None, address: str | None,
) -> None:  # fmt: skip
    """Select a coreset from a score table."""
    file = ScoreFile.open(seen_by_all(scores, engine))
    wanted = parse_keep(keep)
    data = data or str(file.info.get("data", ""))
    resolved = resolve(method, data, share_of(file.n, wanted))
    if resolved.derive and not column:
        column = _only_column(resolved.scorer.name, file, scores)
        held = file.columns[column].source
        told = f"the column {column} holds {held.get('params', {})} after {held.get('at', '?')} epochs"
        resolved = replace(resolved, notice=f"{method}: {told}")
    names, differs = _find_columns(resolved, file, column)
    notice = resolved.notice if resolved.derive or not column else ""
    if differs:
        notice = f"{method}: {differs}" + (f" ({notice.partition(': ')[2]})" if notice else "")
    resolved = replace(resolved, notice=notice)
    fingerprint = file.info.get("fingerprint")
    provenance = {"data": data, **({"fingerprint": fingerprint} if fingerprint else {})}
    with make_engine(engine, workers, address) as runs:
        if isinstance(resolved.selector, Rule):
            source = provenance_of(resolved, wanted, provenance)
            main = names[resolved.scorer, resolved.at]
            count = select_file(file, main, out, wanted, resolved.selector, seed, source=source, engine=runs)
        else:  # it must see all samples at once
            table = read_scores(scores)
            coreset = choose(resolved, table.columns, names, Pool(table.n, table.targets), wanted, seed, provenance)
            coreset.save(out)
            count = len(coreset)
    if notice:
        click.echo(notice, err=True)
    click.echo(f"{out}: {count} of {file.n} samples by {resolved.name}")


def _find_columns(method: ResolvedMethod, table: ScoreFile, column: str | None) -> tuple[Columns, str]:
    """Return the column of each scorer that the method reads, and in what the main one differs from what it should be."""
    asked = {key for key in parse_spec(method.name)[1] if key in {"at", *method.scorer.params()}}
    main = (method.scorer, method.at)
    names: dict[tuple[Scorer, int | None], str] = {}
    differs = ""
    for scorer, at in (main, *((other, None) for other in method.aux_scorers.values())):
        if column and (scorer, at) == main:
            names[main] = column
        else:
            names[scorer, at], other = _best_column(scorer, at, asked if (scorer, at) == main else set(), table)
            differs = other if (scorer, at) == main else differs
    missing = sorted(name for name in names.values() if name not in table.columns)
    if missing:
        raise UnknownNameError(
            f"{method.name} reads the column {', '.join(missing)}, but {table.path} has {', '.join(table.columns)}. "
            "Name one with --column, or score again with `thresher score`."
        )
    return names, differs


def _only_column(scorer: str, table: ScoreFile, path: Path) -> str:
    """Return the only column of a scorer whose settings are not published but were derived."""
    found = [name for name, scores in table.columns.items() if scores.source.get("scorer", name) == scorer]
    if len(found) != 1:
        raise UnknownNameError(
            f"Expected one column of {scorer} in {path}, for its settings were derived, but it has "
            f"{', '.join(found) or 'none'} among {', '.join(table.columns)}. Name one with --column."
        )
    return found[0]


def _best_column(scorer: Scorer, at: int | None, asked: set[str], table: ScoreFile) -> tuple[str, str]:
    """Return the column with the scorer's settings, else the scorer's own with what differs, unless that was asked for.

    Columns of other tools say nothing of their settings; they are taken by their names. Where none fits, the name that
    the column would have comes back.
    """
    settings = {**scorer.params(), **({} if at is None else {"at": at})}
    differing: dict[str, dict[str, Any]] = {}
    for name, scores in table.columns.items():
        if scores.source.get("scorer") == scorer.name:
            held = {**scores.source.get("params", {}), "at": scores.source.get("at")}
            differing[name] = {key: held[key] for key, value in settings.items() if key in held and held[key] != value}
    fitting = [name for name, other in differing.items() if not other]
    if len(fitting) == 1 or scorer.name in fitting:
        return (scorer.name if scorer.name in fitting else fitting[0]), ""
    if len(fitting) > 1:
        raise UnknownNameError(f"The columns {', '.join(fitting)} all fit. Name one with --column.")
    other = differing.get(scorer.name, {})
    if asked & set(other):
        return f"{scorer.name}[{','.join(f'{key}={value}' for key, value in settings.items())}]", ""
    told = ", ".join(f"{key}={value} instead of {settings[key]}" for key, value in other.items())
    return scorer.name, f"the column {scorer.name} holds {told}" if told else ""
