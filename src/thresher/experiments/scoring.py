"""From recorded dynamics to score columns and from these to coresets. Imports no torch, so that scoring starts at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thresher.coreset import Coreset
from thresher.engines import make_engine
from thresher.experiments.columns import Columns, column_names
from thresher.large.scoring import score_store, usual_engine
from thresher.methods import ResolvedMethod
from thresher.replay import Request, open_source
from thresher.selection import select
from thresher.types import Pool, Scores


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
