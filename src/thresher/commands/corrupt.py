"""`thresher corrupt`: a picture of what the corruptions do to some samples."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from thresher.commands.options import check_place
from thresher.commands.output import Output
from thresher.commands.screen import Screen
from thresher.data import Data, load
from thresher.data.corrupt import KINDS, Corruption, corrupted_image
from thresher.errors import InputError, SampleIdError
from thresher.experiments.defaults import parse_seeds
from thresher.files import write_atomic

_ROWS = 6
_MOST = 50


def corrupt_command(*, show: Path, data: str, data_dir: Path | None, variant: str, sample: str | None, say: Output) -> None:
    """`thresher corrupt`."""
    if show.suffix.lower() != ".png":
        raise InputError(f"Expected a .png file to write, but got {show}.")
    check_place(data, data_dir)
    spec = Corruption.parse(variant)
    ids = parse_seeds(sample, "sample ids") if sample is not None else None
    loaded = load(data, data_dir)
    if ids is None:
        ids = tuple(np.sort(np.unique(loaded.train.targets, return_index=True)[1])[:_ROWS].tolist())
    show.parent.mkdir(parents=True, exist_ok=True)
    with Screen(say) as screen:
        picture = corruption_picture(loaded, spec, ids, partial(screen.step, "drawing"))
    write_atomic(show, picture)
    say.wrote(show)
    say.line(f"{show} shows {len(ids)} samples of {loaded.name}, clean and corrupted ({spec})")
    say.result({"data": loaded.name, "variant": str(spec), "sample_ids": ids, "kinds": KINDS})


def corruption_picture(
    data: Data, spec: Corruption, ids: tuple[int, ...], on_step: Callable[[int, int], None] = lambda done, total: None
) -> bytes:
    """Return a PNG with a row for each of the training samples `ids` and a column for each of `KINDS`, both labelled.

    Every sample is shown as it would look if it got that corruption. `on_step(done, total)` is called after each row and
    after encoding. Raises SampleIdError for an id that the training split lacks, InputError for more than 50.
    """
    outside = [i for i in ids if not 0 <= i < len(data.train)]
    if outside:
        raise SampleIdError(f"Expected training sample ids in [0, {len(data.train)}), but got {outside[0]}.")
    if not 0 < len(ids) <= _MOST:
        raise InputError(f"Expected 1 to {_MOST} samples to show, but got {len(ids)}.")
    figure = Figure(figsize=(1.5 * len(KINDS) + 1.2, 1.5 * len(ids) + 0.5), dpi=120, layout="constrained")
    places = figure.subplots(len(ids), len(KINDS), squeeze=False)
    for number, (row, sample_id) in enumerate(zip(places, ids, strict=True), start=1):
        image = data.train.image(sample_id)
        for place, kind in zip(row, KINDS, strict=True):
            place.imshow(_shown(corrupted_image(image, kind, sample_id, spec)), cmap="gray", vmin=0, vmax=255)
            place.set_xticks([])
            place.set_yticks([])
        name = data.class_names[int(data.train.targets[sample_id])]
        label = "\n".join([*textwrap.wrap(name, 24, max_lines=4), f"({sample_id})"])  # a long line would squeeze the images
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", parse_math=False)  # in a name $ is no formula
        on_step(number, len(ids) + 1)
    for place, kind in zip(places[0], KINDS, strict=True):
        place.set_title(kind.replace("_", " "), fontsize="medium")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from .*font")  # a box takes its place, and the id is below
        figure.savefig(buffer, format="png", metadata={"Software": None})
    on_step(1, 1)
    return buffer.getvalue()


def _shown(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image[..., 0] if image.shape[2] < 3 else image[..., :3]
