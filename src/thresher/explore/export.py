"""From what is selected on the page to a coreset file with its provenance."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thresher.coreset import Coreset
from thresher.errors import InputError
from thresher.exchange.place import check_free
from thresher.explore.run import OpenRun
from thresher.version import __version__

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_FILTERS = ("score", "end", "keep", "classes", "coreset", "state", "low", "high", "lasso")


def export(run: OpenRun, folder: Path, name: Any, ids: Any, filters: Any) -> tuple[Path, Coreset]:
    """Write `folder/name.parquet` with the samples `ids` and return its path and the coreset.

    `filters` says how they were chosen, and is kept in the provenance beside the score's own. Raises InputError for what is
    no name, no set of samples or no filters, RunDirectoryError where the file exists.

    What comes from the page is checked like any other input.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(
            "Expected a name of letters, digits, dots, dashes and underscores, at most 80, that starts with a letter or "
            f"digit, but got {name!r}."
        )
    if not isinstance(ids, list) or not ids or not all(type(i) is int for i in ids):
        raise InputError("Expected at least one sample to export. Widen the filters.")
    if not all(0 <= i < run.n for i in (min(ids), max(ids))) or len(set(ids)) != len(ids):
        raise InputError(
            f"Expected sample ids in [0, {run.n}), each once, but got {len(ids)} from {min(ids)} to {max(ids)}."
        )
    if not isinstance(filters, Mapping):
        raise InputError("Expected how the samples were chosen as an object.")
    path = folder / f"{name}.parquet"
    check_free(path)
    coreset = Coreset(np.sort(np.array(ids, dtype=np.int64)), None, run.n, _source(run, len(ids), filters))
    coreset.save(path)
    return path, coreset


def _source(run: OpenRun, count: int, filters: Mapping[str, Any]) -> dict[str, Any]:
    scores = run.columns.get(str(filters.get("score")))
    return {
        "method": "explore",
        "data": run.name,
        **({} if run.fingerprint is None else {"fingerprint": run.fingerprint}),
        **({} if scores is None else {"scorer": dict(scores.source), "direction": f"hard end: {scores.hard_end}"}),
        "selector": {"name": "by hand", "params": {key: filters[key] for key in _FILTERS if key in filters}},
        "keep": count,
        "count": count,
        "version": __version__,
    }
