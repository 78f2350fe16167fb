"""From recorded dynamics to score columns and from these to coresets. Imports no torch, so that scoring starts at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thresher.coreset import Coreset
from thresher.engines import make_engine
from thresher.errors import LaterFormatError, ThresherError
from thresher.experiments.columns import Columns, column_names
from thresher.large.scoring import score_store, usual_engine
from thresher.methods import ResolvedMethod
from thresher.replay import Request, open_source
from thresher.score_file import ScoreFile
from thresher.types import Pool, Scores

if TYPE_CHECKING:  # torch comes with it
    from thresher.data import Data


def score(
    source_path: Path, resolved: Sequence[ResolvedMethod], out: Path, *,
    on_step: Callable[[int, int], None] | None = None,
) -> Columns:  # fmt: skip
    """Replay a store or dumps for these methods and write the score table; return the column of each (scorer, at).

    `on_step(done, total)` reports progress. Raises LaterFormatError for a table of a later format, which is not replaced,
    and what scoring raises.
    """
    _refuse_later(out)
    names = column_names(resolved)
    source = open_source(source_path)
    requests = [Request(column, scorer, at) for (scorer, at), column in names.items()]
    with make_engine(usual_engine(source, requests)) as engine:
        score_store(source, requests, out, engine=engine, on_step=on_step)
    return names


def _refuse_later(table: Path) -> None:
    """Raise LaterFormatError if there is a score table of a later format; any other file may be replaced."""
    try:
        ScoreFile.open(table)
    except LaterFormatError:
        raise
    except (ThresherError, OSError):
        pass


def provenance_of(data: Data) -> dict[str, Any]:
    """Return what recordings and coresets say of the data that they are of."""
    return {"fingerprint": data.fingerprint, "data": data.name}


def choose(
    method: ResolvedMethod, columns: Mapping[str, Scores], names: Columns,
    pool: Pool, keep: float, seed: int, provenance: dict[str, Any],
) -> Coreset:  # fmt: skip
    """Select one coreset with a resolved method from the columns of a score table; `provenance` goes into its source."""
    scores = {name: columns[names[pair]] for name, pair in zip(method.scorers, method.columns.values(), strict=True)}
    return method.select(scores, pool, keep, seed, source=provenance)


def reasons(coreset: Coreset) -> str:
    """Return in words why it has these samples, where its selector or a check says so; "" where neither does.

    >>> import numpy as np
    >>> of = {"method": "auto", "keep": 0.5, "why": {"text": "no suspects; drew 1 of the 2 others"}}
    >>> reasons(Coreset(np.array([0]), None, 2, of))
    'auto, keep 0.5: no suspects; drew 1 of the 2 others'
    """
    check, why = (coreset.source.get(key) for key in ("check", "why"))
    if isinstance(check, Mapping):
        return str(check.get("text", ""))
    told = why.get("text") if isinstance(why, Mapping) else None
    return f"{coreset.source.get('method')}, keep {coreset.source.get('keep')}: {told}" if told else ""


def unrecorded(method: ResolvedMethod, pool: Pool) -> tuple[dict[str, Scores], Columns]:
    """Return the score column of a method that looks at no recording (Random), as `choose` takes it."""
    scores = Scores(method.scorer.compute(method.scorer.init(pool.n), pool), method.scorer.hard_end)
    return {method.scorer.name: scores}, {(method.scorer, method.at): method.scorer.name}
