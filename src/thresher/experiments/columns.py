"""Names of the score columns that methods read and `thresher score` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from thresher.methods import ResolvedMethod
from thresher.scorers._base import Scorer

Columns = Mapping[tuple[Scorer, int | None], str]
"""The column for each scorer and the number of epochs after which it is asked (None: all of them)."""


def column_names(resolved: Sequence[ResolvedMethod]) -> Columns:
    """Name the columns that methods read: by the scorer, with parameters only if several columns share a scorer."""
    return name_pairs(list(dict.fromkeys(pair for method in resolved for pair in method.columns.values())))


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
        told = ",".join(f"{k}={v}" for k, v in varying.items())
        names[scorer, at] = f"{scorer.name}[{told}]" if told else scorer.name
    return names
