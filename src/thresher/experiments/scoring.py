"""From recorded dynamics to score columns and from these to coresets. Imports no torch, so that scoring starts at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thresher.coreset import Coreset
from thresher.engines import make_engine
from thresher.large.scoring import score_store, usual_engine
from thresher.methods import ResolvedMethod
from thresher.replay import Request, open_source
from thresher.scorers._base import Scorer
from thresher.selection import select
from thresher.types import Pool, Scores

Columns = Mapping[tuple[Scorer, int | None], str]
"""The column that holds the scores of a scorer asked at an epoch."""


def column_names(resolved: Sequence[ResolvedMethod]) -> Columns:
    """Name the columns that methods read: the scorer's name, with parameters only where it must differ."""
    pairs: list[tuple[Scorer, int | None]] = []
    for method in resolved:
        for pair in ((method.scorer, method.at), *((s, None) for s in method.aux_scorers.values())):
            if pair not in pairs:
                pairs.append(pair)
    return name_pairs(pairs)


def name_pairs(pairs: Sequence[tuple[Scorer, int | None]]) -> Columns:
    """Name one column per distinct (scorer, at)."""
    names: dict[tuple[Scorer, int | None], str] = {}
    for scorer, at in pairs:
        alike = [p for p in pairs if p[0].name == scorer.name]
        if len(alike) == 1:
            names[scorer, at] = scorer.name
            continue
        varying = {k: v for k, v in scorer.params().items() if any(p[0].params()[k] != v for p in alike)}
        if scorer.name == "tdds":
            varying = {"K": scorer.params()["window"], **{k: v for k, v in varying.items() if k != "window"}}
        if at is not None and any(p[1] != at for p in alike):
            varying["T"] = at
        names[scorer, at] = f"{scorer.name}[{','.join(f'{k}={v}' for k, v in varying.items())}]"
    return names


def score(source_path: Path, resolved: Sequence[ResolvedMethod], out: Path, *, exact: bool = False) -> Columns:
    """Replay a store or dumps for these methods and write the score table; return the column of each (scorer, at)."""
    names = column_names(resolved)
    source = open_source(source_path)
    requests = [Request(column, scorer, at) for (scorer, at), column in names.items()]
    with make_engine(usual_engine(source, requests, exact=exact)) as engine:
        score_store(source, requests, out, exact=exact, engine=engine)
    return names


def choose(
    method: ResolvedMethod, columns: Mapping[str, Scores], names: Columns,
    pool: Pool, keep: float, seed: int, provenance: dict[str, Any],
) -> Coreset:  # fmt: skip
    """Select one coreset with a resolved method from a score table."""
    aux = {key: columns[names[scorer, None]].values for key, scorer in method.aux_scorers.items()}
    filled = Pool(pool.n, pool.targets, pool.features, pool.num_classes, aux=aux)
    scores = columns[names[method.scorer, method.at]]
    return select(scores, filled, keep, method.selector, seed=seed, source=provenance_of(method, keep, provenance))


def unrecorded(method: ResolvedMethod, pool: Pool) -> tuple[dict[str, Scores], Columns]:
    """Return the score column of a method that looks at no recording (Random), as `choose` takes it."""
    scores = Scores(method.scorer.compute(method.scorer.init(pool.n), pool), method.scorer.hard_end)
    return {method.scorer.name: scores}, {(method.scorer, method.at): method.scorer.name}


def provenance_of(method: ResolvedMethod, keep: float, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a coreset remembers of the method it was selected by."""
    return {"method": method.name, "notice": method.notice, "keep": keep, **provenance}
