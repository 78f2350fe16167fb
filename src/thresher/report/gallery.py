"""Which samples the galleries show: suspects, the ends of each score, and what each class kept and dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from thresher.methods import RANDOM
from thresher.report.content import Content, ScoreColumn, Selection
from thresher.report.thumbnails import data_uri

_MOST_IMAGES = 1300
"""Thumbnails in one report: what keeps a CIFAR report below 8 MB."""
_MOST_CLASSES = 10


@dataclass(frozen=True)
class Thumbnail:
    """One sample as the page shows it."""

    sample_id: int
    source: str
    class_name: str
    score: str

    @property
    def alt(self) -> str:
        """What is read out instead of the image."""
        text = f"sample {self.sample_id}, class {self.class_name}"
        return f"{text}, score {self.score}" if self.score else text


@dataclass(frozen=True)
class ClassRow:
    """Kept and dropped examples of one class."""

    name: str
    kept: int
    size: int
    kept_examples: tuple[Thumbnail, ...]
    dropped_examples: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class Gallery:
    """The samples one method is judged by."""

    method: str
    column: str
    hard_end: str
    highest: tuple[Thumbnail, ...]
    lowest: tuple[Thumbnail, ...]
    classes: tuple[ClassRow, ...]
    all_classes: bool


@dataclass(frozen=True)
class SuspectRow:
    """One list of suspects. `planted` says how many of them have a label that was made wrong on purpose, None if unknown."""

    title: str
    thumbnails: tuple[Thumbnail, ...]
    marked: tuple[bool, ...]
    planted: int | None
    chance: float


Shown = Callable[[NDArray[np.int64]], tuple[Thumbnail, ...]]


def galleries(content: Content, keep: float) -> tuple[Gallery, ...]:
    """Return one gallery per method at this kept share; none where the content has no images.

    Random's is the last, without ends and numbers: a draw says nothing of a sample.
    """
    if content.image is None:
        return ()
    image = content.image
    picture = cache(lambda sample_id: data_uri(image(sample_id)))
    columns = {column.name: column for column in content.scores}
    chosen = content.selected(keep)
    ends, examples = _counts(content, len(chosen))
    made = []
    for selection in sorted(chosen.values(), key=lambda selection: selection.method == RANDOM):
        column = None if selection.method == RANDOM else columns.get(selection.column or "")

        def show(
            ids: NDArray[np.int64], column: ScoreColumn | None = column
        ) -> tuple[Thumbnail, ...]:  # bound now: the loop goes on
            return tuple(_thumbnail(content, picture, column, int(i)) for i in ids)

        made.append(_gallery(content, selection, column, show, ends, examples))
    return tuple(made)


def suspects(content: Content) -> tuple[SuspectRow, ...]:
    """Return the lists of suspects with their images (none where the content has no images).

    `marked` are those whose label is known to have been made wrong.
    """
    picture = cache(lambda sample_id: "" if content.image is None else data_uri(content.image(sample_id)))
    made = []
    for row in content.suspects:
        shown = tuple(
            Thumbnail(i, picture(i), content.class_name(int(content.targets[i])), f"{value:.3g}")
            for i, value in zip(row.ids.tolist(), row.values.tolist(), strict=True)
        )
        planted = content.planted
        marked = tuple(planted is not None and bool(planted[t.sample_id]) for t in shown)
        made.append(
            SuspectRow(
                row.title, shown, marked, sum(marked) if planted is not None else None,
                0.0 if planted is None else float(planted.mean()),
            )
        )  # fmt: skip
    return tuple(made)


def _counts(content: Content, methods: int) -> tuple[int, int]:
    """Return images per end of a score and per (class, kept or dropped), within what one report may hold."""
    classes = min(len(np.unique(content.targets)), _MOST_CLASSES)
    share = _MOST_IMAGES / max(methods, 1)
    examples = int(np.clip((share - 32) / (2 * max(classes, 1)), 1, 6))
    return int(np.clip((share - 2 * classes * examples) / 2, 4, 16)), examples


def _gallery(
    content: Content, selection: Selection, column: ScoreColumn | None, show: Shown, ends: int, examples: int
) -> Gallery:
    n = len(content.targets)
    values = column.values if column is not None else np.full(n, np.nan, dtype=np.float32)
    scored = np.flatnonzero(np.isfinite(values))
    order = scored[np.argsort(values[scored], kind="stable")]
    kept = np.zeros(n, dtype=np.bool_)
    kept[selection.ids] = True
    labels = _classes_to_show(content.targets, kept)
    rows = tuple(_class_row(content, int(label), kept, values, show, examples) for label in labels)
    return Gallery(
        selection.method,
        column.name if column is not None else "",
        column.hard_end if column is not None else "",
        show(order[::-1][:ends]),
        show(order[:ends]),
        rows,
        len(labels) == len(np.unique(content.targets)),
    )


def _classes_to_show(targets: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return all labels where they are few, else those with the smallest and the largest kept share."""
    labels, inverse = np.unique(targets, return_inverse=True)
    if len(labels) <= _MOST_CLASSES:
        return labels
    shares = np.bincount(inverse, weights=kept) / np.bincount(inverse)
    order = np.argsort(shares, kind="stable")
    half = _MOST_CLASSES // 2
    ends: NDArray[np.int64] = labels[np.concatenate([order[-half:][::-1], order[:half][::-1]])]
    return ends


def _class_row(
    content: Content, label: int, kept: NDArray[np.bool_], values: NDArray[np.float32], show: Shown, examples: int
) -> ClassRow:
    members = np.flatnonzero(content.targets == label)
    inside, outside = members[kept[members]], members[~kept[members]]
    return ClassRow(
        content.class_name(label), len(inside), len(members),
        show(_spread(inside, values, examples)), show(_spread(outside, values, examples)),
    )  # fmt: skip


def _spread(ids: NDArray[np.int64], values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return `count` of the ids, evenly spread from the lowest to the highest score."""
    order = ids[np.argsort(values[ids], kind="stable")]
    if len(order) <= count:
        return order
    return order[np.linspace(0, len(order) - 1, count).round().astype(np.int64)]


def _thumbnail(content: Content, picture: Callable[[int], str], column: ScoreColumn | None, sample_id: int) -> Thumbnail:
    value = np.nan if column is None else float(column.values[sample_id])
    score = "" if np.isnan(value) else f"{value:.4g}"
    return Thumbnail(sample_id, picture(sample_id), content.class_name(int(content.targets[sample_id])), score)
