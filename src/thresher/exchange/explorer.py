"""A CSV that FiftyOne (`fo.types.CSVDataset`) and Renumics Spotlight read: a row per picture with label, kept and scores."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from thresher.coreset import Coreset
from thresher.errors import FingerprintError, InputError
from thresher.exchange.folders import Pictures
from thresher.exchange.place import write_new
from thresher.places import PathText
from thresher.score_table import ScoreTable


def write_explorer(
    path: PathText, pictures: Pictures, table: ScoreTable, coreset: Coreset | None = None,
    class_names: Sequence[str] = (), *, force: bool = False,
) -> None:  # fmt: skip
    """Write `filepath,sample_id`, then `label` and `kept` where known, then one column per score (empty: never observed).

    Raises FingerprintError where pictures, scores and coreset are not of one number of samples, InputError for a picture
    whose name is no text, RunDirectoryError where `path` exists and `force` is not given.
    """
    sizes = {len(pictures), table.n, *(() if coreset is None else (coreset.n,))}
    if len(sizes) != 1:
        raise FingerprintError(
            f"Expected pictures, scores and coreset of one data set, but they have {sorted(sizes)} samples."
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    labels = ["label"] if table.targets is not None else []
    kept = ["kept"] if coreset is not None else []
    writer.writerow(["filepath", "sample_id", *labels, *kept, *table.columns])
    scores = [["" if value == "nan" else value for value in s.values.astype(str)] for s in table.columns.values()]
    mask = coreset.mask if coreset is not None else None
    for i in range(table.n):
        row = [_text(pictures.path(i).resolve()), str(i)]
        if table.targets is not None:
            row.append(class_names[table.targets[i]] if class_names else str(table.targets[i]))
        if mask is not None:
            row.append(str(bool(mask[i])))
        writer.writerow([*row, *(column[i] for column in scores)])
    write_new(path, text.getvalue().encode(), force)


def _text(path: Path) -> str:
    """Return a path as a CSV of UTF-8 can hold it, or raise InputError for bytes that are no text."""
    try:
        return str(path).encode().decode()
    except UnicodeEncodeError:
        raise InputError(f"Expected names of pictures that are UTF-8, but got {os.fsencode(path)!r}. Rename it.") from None
