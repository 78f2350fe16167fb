"""`thresher score` and `thresher select`: no torch is imported here."""

from __future__ import annotations

from pathlib import Path

import typer

from thresher.errors import InputError, UnknownNameError
from thresher.experiments.scoring import choose, column_names
from thresher.keep import keep_count, parse_keep
from thresher.methods import parse_spec, resolve
from thresher.replay import Request, Source, grid_requests, open_source, replay
from thresher.score_table import read_scores, write_scores
from thresher.scorers import Entropy
from thresher.types import Pool


def parse_numbers(text: str | None, option: str) -> list[int]:
    """Return the integers of a comma-separated option, [] where it was not given."""
    try:
        numbers = [int(part) for part in text.split(",")] if text else []
    except ValueError:
        raise InputError(f"Expected {option} as whole numbers such as 10 or 5,10, but got {text!r}.") from None
    return numbers


def score_command(*, source: Path, out: Path, method: str, window: str | None, at: str | None, exact: bool) -> None:
    """Replay a source with the named scorers (or methods) and write the score table."""
    opened = open_source(source)
    windows, ats = parse_numbers(window, "--window"), parse_numbers(at, "--at")
    requests: dict[str, Request] = {}
    for label in (part.strip() for part in method.split(",")):
        for request in _requests(label, opened, windows, ats):
            requests.setdefault(request.column, request)
    columns = replay(opened, list(requests.values()), exact=exact)
    write_scores(out, columns, targets=opened.targets, info=opened.info)
    typer.echo(f"{out}: {opened.n} samples, {', '.join(columns)}")


def _requests(label: str, source: Source, windows: list[int], ats: list[int]) -> list[Request]:
    """Return the columns that a label stands for: TDDS's grid, or a method's scorer and what its selector reads besides."""
    whens: list[int | None] = [*ats] or [None]
    name, params = parse_spec(label)
    if name == "tdds":
        given_at = params.pop("at", None)
        whens = [int(given_at)] if given_at and not ats else whens
        return grid_requests(name, windows or [int(params.pop("window", 10))], whens, params)
    resolved = resolve(label, "", 1.0, epochs_available=source.epochs)
    scorers = [resolved.scorer, *resolved.aux_scorers.values()]
    if scorers[0] == Entropy() and "view" not in params and "eval_entropy" not in source.signals:
        scorers[0] = Entropy(view="train")
        typer.echo("entropy: no evaluation pass was recorded; scoring the train-mode logits", err=True)
    single = len(whens) == 1
    return [
        Request(scorer.name if single else f"{scorer.name}[T={when}]", scorer, resolved.at if when is None else when)
        for scorer in scorers
        for when in whens
    ]


def select_command(*, scores: Path, keep: str, out: Path, method: str, column: str | None, data: str, seed: int) -> None:
    """Select a coreset from a score table."""
    table = read_scores(scores)
    wanted = parse_keep(keep)
    share = keep_count(table.n, wanted) / table.n if isinstance(wanted, int) else wanted
    resolved = resolve(method, data, share)
    names = column_names([resolved])
    main = (resolved.scorer, resolved.at)
    names = {pair: column if column and pair == main else name for pair, name in names.items()}
    missing = sorted({name for name in names.values() if name not in table.columns})
    if missing:
        raise UnknownNameError(
            f"{method} reads the column {', '.join(missing)}, but {scores} has {', '.join(table.columns)}. "
            "Name one with --column, or score again with `thresher score`."
        )
    pool = Pool(table.n, table.targets)
    fingerprint = table.info.get("fingerprint")
    provenance = {"data": data, **({"fingerprint": fingerprint} if fingerprint else {})}
    coreset = choose(resolved, table.columns, names, pool, wanted, seed, provenance)
    coreset.save(out)
    if resolved.notice and column is None:
        typer.echo(resolved.notice, err=True)
    typer.echo(f"{out}: {len(coreset.ids)} of {table.n} samples by {resolved.name}")
