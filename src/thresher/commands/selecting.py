"""`thresher select`; does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from thresher.commands.output import Output
from thresher.commands.screen import Screen, refuse_idle
from thresher.coreset import Coreset
from thresher.engines import make_engine
from thresher.errors import InputError, UnknownNameError, nearest
from thresher.exchange.place import check_kind, check_parquet
from thresher.experiments.classes import emptied, emptied_text
from thresher.experiments.columns import Columns
from thresher.experiments.scoring import choose, reasons
from thresher.keep import parse_keep, share_of
from thresher.large.selecting import select_file
from thresher.methods import ResolvedMethod, is_selector, parse_spec, resolve
from thresher.places import for_engine, storage_errors
from thresher.registry import make_selector
from thresher.score_file import ScoreColumn, ScoreFile
from thresher.score_table import read_scores
from thresher.scorers import Scorer
from thresher.selectors._base import Rule
from thresher.types import Pool

_MOST_CHECKED = 10_000_000  # labels; reading more takes too long for a note


@storage_errors()
def select_command(
    *, scores: Path, keep: str, out: Path, method: str | None, column: str | None, data: str | None, seed: int,
    engine: str, workers: int | None, address: str | None, say: Output,
) -> None:  # fmt: skip
    """Select a coreset from a score table."""
    refuse_idle(engine, workers)
    file = ScoreFile.open(for_engine(scores, engine))
    check_parquet(out, "coreset")
    check_kind(out, "coreset", Coreset.load)
    if not file.columns:
        raise InputError(f"Expected a score table, but {scores} has no scores. Write one with `thresher score`.")
    wanted = parse_keep(keep)
    scored = str(file.info.get("data", ""))
    chosen, alone = _chosen(method, column, file, data or scored, share_of(file.n, wanted))
    names, notice = _columns_read(chosen, file, column, scores)
    resolved = replace(chosen, notice="" if alone else notice)
    fingerprint = file.info.get("fingerprint")
    main, why = names[resolved.columns[""]], ""
    # not the data set whose settings were asked for: by this one the coreset is found again, and compared
    provenance = {"data": scored or data or "", **({"fingerprint": fingerprint} if fingerprint else {})}
    provenance |= {"column": main} if alone else {}
    with make_engine(engine, workers, address) as runs, Screen(say) as screen:
        if isinstance(resolved.selector, Rule):
            source = {**resolved.provenance(wanted), **provenance}
            count = select_file(
                file, main, out, wanted, resolved.selector, seed, source=source, engine=runs,
                on_step=lambda number, done, total: screen.step(f"pass {number} over the scores", done, total),
            )  # fmt: skip
        else:  # it must see all samples at once
            table = read_scores(scores)
            coreset = choose(resolved, table.columns, names, Pool(table.n, table.targets), wanted, seed, provenance)
            coreset.save(out)
            count, why = len(coreset), reasons(coreset)
    for text in filter(None, (resolved.notice, why)):
        say.note(text)
    if wanted == 1 and isinstance(wanted, int) and file.n > 1:
        say.note("--keep 1 means one sample; 1.0 keeps everything")
    empty = _emptied(file, main, out)
    if empty:
        say.note(emptied_text(resolved.name, resolved.selector, empty, count, file.n))
    say.wrote(out)
    say.line(f"{out}: {count} of {file.n} samples by {resolved.name}{f' of the column {main}' if alone else ''}")
    say.result({"kept": count, "samples": file.n, "method": resolved.name, "column": main, "seed": seed, "emptied": empty})


def _chosen(
    method: str | None, column: str | None, file: ScoreFile, data: str, share: float
) -> tuple[ResolvedMethod, bool]:  # fmt: skip
    """Return the method, and whether it is a selector alone, whose scorer stands for the column that the user names."""
    if column and column not in file.columns:
        near, known = nearest(column, file.columns), ", ".join(_described(file))
        raise UnknownNameError(f"Expected a score column of {file.path}, one of {known}, but got {column!r}{near}.")
    rule = _rule_of(method, column, file)
    if not rule:
        return resolve(method or "tdds", data, share, surrogate=_model(file.info)), False
    name, given = parse_spec(rule)
    bare = resolve(f"tdds:selector={name}", "", 1.0)
    return replace(bare, name=rule, selector=make_selector(name, given), notice=""), True


def _rule_of(method: str | None, column: str | None, table: ScoreFile) -> str:
    """Return the selector to apply to a column whatever scores it holds, with its parameters; "" for a whole method.

    That is a selector that is named as the method, and `top` for a column that is not TDDS's if no method is named.
    """
    if method is not None:
        name = parse_spec(method)[0]
        if not is_selector(name):
            return ""
        if not column:
            raise InputError(
                f"Expected a score column for the selector {name}: name one of {', '.join(table.columns)} with --column, or "
                f"combine it with a method: tdds:selector={name}."
            )
        return method
    if not column:
        return ""
    return "" if _scorer_of(table, column) == "tdds" else "top"


def _columns_read(method: ResolvedMethod, file: ScoreFile, column: str | None, path: Path) -> tuple[Columns, str]:
    """Return the column of each scorer that the method reads, and a notice on the settings of the main one, "" for none.

    `column` names the main one, if the user did; then a notice on published settings would not be about it.
    """
    notice = method.notice if method.derive or not column else ""
    if method.derive and not column:
        column = _only_column(method.scorer.name, file, path)
        notice = f"{method.name}: (T, K) as derived when the table was scored: {', '.join(_described(file, column))}"
    names, differs = _find_columns(method, file, column)
    if differs:
        notice = f"{method.name}: {differs}" + (f" ({notice.partition(': ')[2]})" if notice else "")
    return names, notice


def _model(info: Mapping[str, Any]) -> str | None:
    """Return the name of the recorded model, if the recording was made by `thresher record` and says so."""
    train = info.get("train")
    return str(train["model"]) if isinstance(train, Mapping) and "model" in train else None


def _emptied(file: ScoreFile, column: str, out: Path) -> dict[int, int] | None:
    """Return the classes that the coreset at `out` leaves empty, None if labels are unknown or too many to check."""
    if not file.labelled or file.n > _MOST_CHECKED:
        return None
    targets = [block.targets for block in file.blocks(column, labelled=True, checked=False) if block.targets is not None]
    return emptied(np.concatenate(targets), Coreset.load(out).ids)


def _find_columns(method: ResolvedMethod, table: ScoreFile, column: str | None) -> tuple[Columns, str]:
    """Return the column of each scorer that the method reads, and how the main one differs from what it should be.

    Additional columns that a selector reads must have its settings and the same epochs as the main one.
    """
    read = method.columns
    scorer, at = main = read.pop("")
    settings = _settings(scorer, at)
    differs = ""
    if not column:
        asked = {key for key in parse_spec(method.name)[1] if key in settings}
        column, differs = _best_column(scorer.name, settings, asked, table)
    names = {main: column}
    held = _held(table.columns[column]) if column in table.columns else {}
    of = _scorer_of(table, column) if column in table.columns else scorer.name
    if of != scorer.name:  # only if the user named it: the coreset will have the method's name
        differs = f"the column {column} holds scores of {of}, not of {scorer.name}"
    for also, _ in read.values():
        wanted = {key: held.get(key, value) if key in settings else value for key, value in also.params().items()}
        wanted |= {"at": held["at"]} if held.get("at") is not None else {}
        names[also, at] = _best_column(also.name, wanted, set(wanted), table)[0]
    missing = sorted(name for name in names.values() if name not in table.columns)
    if missing:
        name = parse_spec(method.name)[0]
        alone = is_selector(name)  # of which the main column is there
        whole, advice = (f"tdds:selector={name}", "Add it") if alone else (method.name, "Name the score with --column")
        raise UnknownNameError(
            f"{method.name} reads the column {', '.join(missing)}, but {table.path} has {', '.join(_described(table))}. "
            f"{advice}, or score again with `thresher score --method {whole}`."
        )
    return names, differs


def _settings(scorer: Scorer, at: int | None) -> dict[str, Any]:
    """Return the settings that a scorer's column must have been made with."""
    return {**scorer.params(), **({} if at is None else {"at": at})}


def _scorer_of(table: ScoreFile, column: str) -> str:
    """Return the scorer that made a column; for a column from another tool, what its name says."""
    return str(table.columns[column].source.get("scorer", column.partition("[")[0]))


def _held(column: ScoreColumn) -> dict[str, Any]:
    """Return the settings that a column was made with; empty for a column from another tool."""
    source = column.source
    return {**source.get("params", {}), "at": source.get("at")} if "scorer" in source else {}


def _described(table: ScoreFile, *names: str) -> list[str]:
    """Return the names of some columns, or of all, each with its settings."""
    found = []
    for name in names or table.columns:
        column = table.columns[name]
        held = ", ".join(f"{key}={value}" for key, value in _held(column).items() if value is not None)
        found.append(f"{name} ({held})" if held else name)
    return found


def _only_column(scorer: str, table: ScoreFile, path: Path) -> str:
    """Return the only column of a scorer whose settings are not published but were derived."""
    found = [name for name, scores in table.columns.items() if scores.source.get("scorer", name) == scorer]
    if len(found) != 1:
        raise UnknownNameError(
            f"Expected one column of {scorer} in {path}, since its settings were derived, but it has "
            f"{', '.join(found) or 'none'} among {', '.join(table.columns)}. Name one with --column."
        )
    return found[0]


def _best_column(scorer: str, settings: Mapping[str, Any], asked: set[str], table: ScoreFile) -> tuple[str, str]:
    """Return the column with the scorer's settings; if there is none, the column named like the scorer and how its settings
    differ, unless the differing ones were `asked` for.

    Columns from other tools do not record their settings; they are taken by name. If no column fits, the name that it would
    have is returned.
    """
    differing: dict[str, dict[str, Any]] = {}
    for name, scores in table.columns.items():
        if scores.source.get("scorer") == scorer:
            held = _held(scores)
            differing[name] = {key: held[key] for key, value in settings.items() if key in held and held[key] != value}
    fitting = [name for name, other in differing.items() if not other]
    if len(fitting) == 1 or scorer in fitting:
        return (scorer if scorer in fitting else fitting[0]), ""
    if len(fitting) > 1:
        raise UnknownNameError(f"The columns {', '.join(fitting)} all fit. Name one with --column.")
    other = differing.get(scorer, {})
    if asked & set(other) or (differing and scorer not in table.columns):
        return f"{scorer}[{','.join(f'{key}={value}' for key, value in settings.items())}]", ""
    told = ", ".join(f"{key}={value} instead of {settings[key]}" for key, value in other.items())
    return scorer, f"the column {scorer} holds {told}" if told else ""
