"""`aum_values.csv`, as the aum package (Pleiss et al. 2020) writes it: `sample_id,aum`, largest margin first.

The package averages margins of logits; the published pruning tables, and so the scorer's default, use margins of
probabilities. Only logit margins belong in that file: score with `aum:margin=logit`.
"""

from __future__ import annotations

import numpy as np

from thresher.errors import InputError, SampleIdError
from thresher.exchange.ids import csv_rows, real_number, whole_number
from thresher.exchange.place import write_new
from thresher.places import PathText, as_local
from thresher.types import Scores


def write_aum(scores: Scores, path: PathText, *, force: bool = False) -> None:
    """Write the file; samples that were never observed are left out, as in the package.

    Raises InputError for other scores than logit margins, RunDirectoryError if `path` exists and `force` is not given.

    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "aum_values.csv"
    >>> write_aum(Scores(np.array([0.5, 2.0, np.nan]), "low"), path)
    >>> path.read_text().split()
    ['sample_id,aum', '1,2.0', '0,0.5']
    """
    if scores.hard_end != "low":
        raise InputError(f"Expected margins, whose low end is hard, but these scores say {scores.hard_end}. Score with aum.")
    scorer = scores.source.get("scorer", "aum")
    if scorer != "aum":
        raise InputError(f"Expected scores of aum, but these are of {scorer}. Score with aum:margin=logit.")
    margin = scores.source.get("params", {}).get("margin", "logit")
    if margin != "logit":
        raise InputError(
            f"Expected margins of logits, as the aum package has, but got {margin}. Score with aum:margin=logit."
        )
    observed = np.flatnonzero(~np.isnan(scores.values))
    order = observed[np.argsort(-scores.values[observed], kind="stable")]
    lines = [f"{i},{value}" for i, value in zip(order.tolist(), scores.values[order].astype(str), strict=True)]
    write_new(path, ("\n".join(["sample_id,aum", *lines]) + "\n").encode(), force)


def read_aum(path: PathText, n: int) -> Scores:
    """Return the scores (n,) float32, hard end "low", NaN for samples without a line.

    The package accepts any ids, Thresher only positions: names like `train/7.png` are refused with CorruptFileError. Also
    raises MissingFileError, and SampleIdError for an id that is out of range or appears twice.
    """
    path, values = as_local(path), np.full(n, np.nan, dtype=np.float32)
    seen = np.zeros(n, dtype=np.bool_)
    for line, row in csv_rows(path, ("sample_id", "aum")):
        sample_id = whole_number(row["sample_id"], path, line)
        if sample_id >= n:
            raise SampleIdError(
                f"Expected ids in [0, {n}) in {path}, but line {line} has {sample_id}. Is it of another data set?"
            )
        if seen[sample_id]:
            raise SampleIdError(f"Expected every sample once in {path}, but line {line} has {sample_id} again.")
        seen[sample_id] = True
        values[sample_id] = real_number(row["aum"], path, line)
    return Scores(values, "low", {"scorer": "aum", "params": {"margin": "logit", "skip": 0}, "file": path.name})
