"""A CSV for FiftyOne (`fo.types.CSVDataset`) and Renumics Spotlight: a row per picture with label, kept and scores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from thresher.coreset import Coreset
from thresher.errors import FingerprintError, InputError
from thresher.exchange.folders import Pictures
from thresher.exchange.ids import quoted
from thresher.exchange.place import write_new
from thresher.places import PathText
from thresher.score_table import ScoreTable


def write_explorer(
    path: PathText, pictures: Pictures, table: ScoreTable, coreset: Coreset | None = None,
    class_names: Sequence[str] = (), *, force: bool = False,
) -> None:  # fmt: skip
    """Write `filepath,sample_id`, then `label` and `kept` if known, then one column per score (empty: never observed).

    A label without a name in `class_names`, as -1 for an unknown one, is written as its number.

    Raises FingerprintError if pictures, scores and coreset differ in the number of samples, InputError for a picture whose
    name is not UTF-8, RunDirectoryError if `path` exists and `force` is not given.
    """
    sizes = {len(pictures), table.n, *(() if coreset is None else (coreset.n,))}
    if len(sizes) != 1:
        raise FingerprintError(
            f"Expected pictures, scores and coreset of one data set, but they have {sorted(sizes)} samples."
        )
    labels = ["label"] if table.targets is not None else []
    kept = ["kept"] if coreset is not None else []
    lines = [quoted("filepath", "sample_id", *labels, *kept, *table.columns)]
    scores = [["" if value == "nan" else value for value in s.values.astype(str)] for s in table.columns.values()]
    mask = coreset.mask if coreset is not None else None
    for i in range(table.n):
        row = [_text(pictures.path(i).resolve()), str(i)]
        if table.targets is not None:
            label = int(table.targets[i])
            row.append(class_names[label] if 0 <= label < len(class_names) else str(label))
        if mask is not None:
            row.append(str(bool(mask[i])))
        lines.append(quoted(*row, *(column[i] for column in scores)))
    write_new(path, ("\n".join(lines) + "\n").encode(), force)


def _text(path: Path) -> str:
    """Return a path as text for a UTF-8 CSV, or raise InputError for bytes that are not UTF-8."""
    try:
        return str(path).encode().decode()
    except UnicodeEncodeError:
        raise InputError(f"Expected picture names in UTF-8, but got {os.fsencode(path)!r}. Rename it.") from None
