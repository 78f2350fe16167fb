"""`thresher score` and `thresher select`: no torch is imported here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from thresher.derivation import derive
from thresher.engines import make_engine
from thresher.errors import InputError, UnknownNameError
from thresher.experiments.scoring import Columns, choose, name_pairs, provenance_of
from thresher.keep import parse_keep, share_of
from thresher.large.scoring import score_store, usual_engine
from thresher.large.selecting import select_file
from thresher.methods import AUTO, ResolvedMethod, find, parse_methods, parse_spec, resolve
from thresher.places import is_remote, storage_errors
from thresher.replay import Request, Source, grid_requests, open_source
from thresher.score_table import ScoreFile, read_scores
from thresher.scorers import TDDS, Entropy, Scorer
from thresher.selectors._base import Rule
from thresher.types import Pool


def parse_numbers(text: str | None, option: str) -> list[int]:
    """Return the integers of a comma-separated option, [] where it was not given."""
    try:
        numbers = [int(part) for part in text.split(",")] if text is not None else []
    except ValueError:
        raise InputError(f"Expected {option} as whole numbers such as 10 or 5,10, but got {text!r}.") from None
    return numbers


@storage_errors()
def score_command(
    *, source: Path, out: Path, method: str, window: str | None, at: str | None, keep: str | None, exact: bool,
    engine: str | None, workers: int | None, address: str | None,
) -> None:  # fmt: skip
    """Replay a source with the named scorers (or methods) and write the score table."""
    labels, windows, ats = parse_methods(method), parse_numbers(window, "--window"), parse_numbers(at, "--at")
    opened = open_source(_seen_by_all(source, engine))
    requests = [request for label in labels for request in _requests(label, opened, windows, ats, keep)]
    if windows and not any(request.scorer.name == "tdds" for request in requests):
        raise InputError(f"--window is TDDS's, but {method} does not read it. Parameters follow a colon: {method}:window=5.")
    asked = _told_apart(requests)
    with make_engine(engine or usual_engine(opened, asked, workers, exact=exact), workers, address) as runs:
        score_store(opened, asked, out, exact=exact, engine=runs)
    click.echo(f"{out}: {opened.n} samples, {', '.join(request.column for request in asked)}")


def _seen_by_all(path: Path, engine: str | None) -> Path:
    """Return a path that means the same on all machines of a cluster, whatever folder their workers are in."""
    return path.resolve() if engine == "ray" and not is_remote(path) else path


def _requests(label: str, source: Source, windows: list[int], ats: list[int], keep: str | None) -> list[Request]:
    """Return the columns that a label stands for: TDDS's grid, or a method's scorer and what its selector reads besides."""
    name, given = parse_spec(label)
    if given.get("at") == AUTO:
        return [_derived(label, source, keep)]
    grid = find(name).scorer_name == "tdds"  # what it asks for is never shortened
    for option, values in (("window", windows if grid else []), ("at", ats)):
        if values and option in given:
            raise InputError(f"Expected {option} once, but got it in {label!r} and as --{option}. Leave one of them away.")
    resolved = resolve(label, "", 1.0, epochs_available=None if grid else source.epochs)
    whens: list[int | None] = [*ats] or [resolved.at]
    if grid:
        params = resolved.scorer.params()
        columns = grid_requests("tdds", windows or [params.pop("window")], whens, params)
        return columns + _columns(resolved.aux_scorers.values(), whens)  # `auto` draws by TDDS, and reads more
    scorers = [resolved.scorer, *resolved.aux_scorers.values()]
    if scorers[0] == Entropy() and "view" not in given and "eval_entropy" not in source.signals:
        scorers[0] = Entropy(view="train")
        click.echo("entropy: no evaluation pass was recorded; scoring the train-mode logits", err=True)
    return _columns(scorers, whens)


def _columns(scorers: Iterable[Scorer], whens: Sequence[int | None]) -> list[Request]:
    """Return a column for every scorer and epoch to ask at; the name has the epoch where there are several."""
    single = len(whens) == 1
    return [
        Request(scorer.name if single else f"{scorer.name}[T={when}]", scorer, when) for scorer in scorers for when in whens
    ]


def _derived(label: str, source: Source, keep: str | None) -> Request:
    """Return TDDS's column with the (T, K) that the recording gives for the share to keep."""
    if keep is None:
        raise InputError(f"{label} has (T, K) derived for a share to keep. Name it: --keep 0.1.")
    setting = derive(source, share_of(source.n, parse_keep(keep)))
    click.echo(
        f"{label}: T={setting.epochs}, K={setting.window}: {setting.late:.0%} of what it keeps is learned late", err=True
    )
    return Request("tdds", TDDS(window=setting.window), setting.epochs)


def _told_apart(requests: Sequence[Request]) -> list[Request]:
    """Return each request once; those that would share a column are named by what differs between them."""
    distinct = list(dict.fromkeys(requests))
    names = name_pairs([(request.scorer, request.at) for request in distinct])
    sharing = Counter(request.column for request in distinct)
    return [r if sharing[r.column] == 1 else replace(r, column=names[r.scorer, r.at]) for r in distinct]


@storage_errors()
def select_command(
    *, scores: Path, keep: str, out: Path, method: str, column: str | None, data: str | None, seed: int,
    engine: str, workers: int | None, address: str | None,
) -> None:  # fmt: skip
    """Select a coreset from a score table."""
    file = ScoreFile.open(_seen_by_all(scores, engine))
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
