"""`thresher score` and `thresher select`: no torch is imported here."""

from __future__ import annotations

from pathlib import Path

import typer

from thresher.errors import InputError, UnknownNameError
from thresher.experiments.scoring import choose, column_names
from thresher.keep import keep_count, parse_keep
from thresher.methods import METHODS, resolve
from thresher.registry import make_scorer, scorers
from thresher.replay import Request, grid_requests, open_source, replay
from thresher.score_table import read_scores, write_scores
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
    whens: list[int | None] = [*ats] or [None]
    requests: list[Request] = []
    for label in (part.strip() for part in method.split(",")):
        name, *pairs = label.split(":")
        params = dict(pair.partition("=")[::2] for pair in pairs)
        name = METHODS[name].scorer_name if name not in scorers() and name in METHODS else name
        if name == "tdds":
            requests += grid_requests(name, windows or [int(params.pop("window", 10))], whens, params)
        else:
            scorer = make_scorer(name, params)
            if name == "entropy" and "view" not in params and "eval_entropy" not in opened.signals:
                scorer = make_scorer(name, {"view": "train"})
                typer.echo("entropy: no evaluation pass was recorded; scoring the train-mode logits", err=True)
            requests += [Request(name if len(ats) < 2 else f"{name}[T={t}]", scorer, t) for t in whens]
    columns = replay(opened, requests, exact=exact)
    write_scores(out, columns, targets=opened.targets, info=opened.info)
    typer.echo(f"{out}: {opened.n} samples, {', '.join(columns)}")


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
