"""`thresher score`; does not import torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from thresher.commands.output import Output
from thresher.commands.recorded import epochs_text, note_unfinished
from thresher.commands.screen import Screen, refuse_idle
from thresher.derivation import derive
from thresher.engines import make_engine
from thresher.errors import InputError
from thresher.exchange.place import check_kind, check_parquet
from thresher.experiments.columns import name_pairs
from thresher.keep import parse_keep, share_of
from thresher.large.scoring import score_store, usual_engine
from thresher.methods import AUTO, find, parse_methods, parse_spec, resolve
from thresher.places import for_engine, storage_errors
from thresher.replay import Request, Source, grid_requests, open_source, provenance
from thresher.score_file import ScoreFile
from thresher.scorers import TDDS, Entropy, Scorer


def parse_numbers(text: str | None, option: str) -> list[int]:
    """Return the integers of a comma-separated option, [] if it was not given."""
    try:
        numbers = [int(part) for part in text.split(",")] if text is not None else []
    except ValueError:
        raise InputError(f"Expected {option} as integers such as 10 or 5,10, but got {text!r}.") from None
    return numbers


@storage_errors()
def score_command(
    *, source: Path, out: Path, method: str, window: str | None, at: str | None, keep: str | None, exact: bool,
    engine: str | None, workers: int | None, address: str | None, say: Output,
) -> None:  # fmt: skip
    """Replay a source with the named scorers (or methods) and write the score table."""
    check_parquet(out, "score table")
    check_kind(out, "score table", lambda place: ScoreFile.open(place).ours)
    refuse_idle(engine, workers)
    labels, windows, ats = parse_methods(method), parse_numbers(window, "--window"), parse_numbers(at, "--at")
    opened = open_source(for_engine(source, engine))
    note_unfinished(source, opened, say)
    with Screen(say) as screen:
        requests = [
            r for label in labels for r in _requests(label, opened, windows, ats, keep, say, screen, len(labels) > 1)
        ]
    if keep is not None and not any(parse_spec(label)[1].get("at") == AUTO for label in labels):
        raise InputError(f"--keep is only for at=auto, to derive (T, K), but got --method {method}. Omit --keep.")
    if windows and not any(request.scorer.name == "tdds" for request in requests):
        raise InputError(f"--window is only for tdds; parameters of {method} follow a colon: {method}:window=5.")
    asked = _told_apart(requests)
    name = engine or usual_engine(opened, asked, workers, exact=exact)
    with make_engine(name, workers, address) as runs, Screen(say) as screen:
        score_store(opened, asked, out, exact=exact, engine=runs, on_step=partial(screen.step, "scoring"))
    say.wrote(out)
    say.line(f"{out}: {opened.n} samples, {', '.join(request.column for request in asked)}; of {epochs_text(opened)}")
    columns = {r.column: provenance(r.scorer, opened.epochs if r.at is None else r.at) for r in asked}
    say.result({"samples": opened.n, "epochs": opened.epochs, "columns": columns, "engine": name})


def _requests(
    label: str, source: Source, windows: list[int], ats: list[int], keep: str | None, say: Output, screen: Screen,
    several: bool,
) -> list[Request]:  # fmt: skip
    """Return the columns that a label, one of `several` or alone, stands for: TDDS's grid, or a method's scorer and the
    additional scores that its selector reads."""
    name, given = parse_spec(label)
    derive = given.get("at") == AUTO
    grid = find(name).scorer_name == "tdds"  # the epochs that a grid asks for are never shortened
    for option, values in (("window", windows if grid else []), ("at", ats)):
        if values and (option in given or derive):
            how = ", which derives both," if derive else ""
            raise InputError(f"Expected {option} once, but got it in {label!r}{how} and as --{option}. Omit one of them.")
    if derive:
        return _derived(label, source, keep, say, screen)
    data = "" if grid else str(source.info.get("data", ""))  # what is published for TDDS depends on the share to keep
    resolved = resolve(label, data, 1.0, epochs_available=None if grid else source.epochs)
    whens: list[int | None] = [*ats] or [resolved.at]
    if resolved.scorer.by_class and ats and several:
        say.note(f"{label}: reads the last evaluation pass, so it is scored at the end")
        whens = [None]
    if grid:
        params = resolved.scorer.params()
        columns = grid_requests("tdds", windows or [params.pop("window")], whens, params)
        return columns + _columns(resolved.aux_scorers.values(), whens)  # `auto` draws by TDDS, and reads other scores, too
    scorers = [resolved.scorer, *resolved.aux_scorers.values()]
    if scorers[0] == Entropy() and "view" not in given and not _evaluated(source):
        scorers[0] = Entropy(view="train")
        say.note("entropy: no evaluation pass was recorded; using the train-mode logits")
    return _columns(scorers, whens)


def _evaluated(source: Source) -> bool:
    """Return whether the last epoch has an evaluation pass; a store with such signals need not hold one."""
    if "eval_entropy" not in source.signals or not source.epochs:
        return False
    (last,) = source.frames(["eval_entropy"], source.epochs - 1, source.epochs)
    return bool(np.isfinite(last.values["eval_entropy"]).any())


def _columns(scorers: Iterable[Scorer], whens: Sequence[int | None]) -> list[Request]:
    """Return a column for every scorer and epoch to score after; the name includes the epoch if there are several."""
    single = len(whens) == 1
    return [
        Request(scorer.name if single else f"{scorer.name}[T={when}]", scorer, when) for scorer in scorers for when in whens
    ]


def _derived(label: str, source: Source, keep: str | None, say: Output, screen: Screen) -> list[Request]:
    """Return TDDS's column with the (T, K) derived from the recording for the share to keep, and the additional scores that
    its selector reads, over the same epochs."""
    if keep is None:
        raise InputError(f"{label} derives (T, K) for a kept share. Give it: --keep 0.1.")
    setting = derive(source, share_of(source.n, parse_keep(keep)), on_step=partial(screen.step, "deriving (T, K)"))
    say.note(f"{label}: T={setting.epochs}, K={setting.window}: {setting.late:.0%} of what it keeps is learned late")
    also = resolve(label, "", 1.0, epochs_available=setting.epochs).aux_scorers.values()
    return [Request("tdds", TDDS(window=setting.window), setting.epochs), *_columns(also, [setting.epochs])]


def _told_apart(requests: Sequence[Request]) -> list[Request]:
    """Return each request once; requests that would share a column are named by what differs between them."""
    distinct = list(dict.fromkeys(requests))
    names = name_pairs([(request.scorer, request.at) for request in distinct])
    sharing = Counter(request.column for request in distinct)
    return [r if sharing[r.column] == 1 else replace(r, column=names[r.scorer, r.at]) for r in distinct]
