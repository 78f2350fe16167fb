"""Export and import of the official TDDS pair (Zhang et al. 2024, official code: importance_evaluation.py, data_subset.py).

    data_mask_win{K}_ep{T}.npy   (N,) int64: the sample ids, in the order in which to drop them
    score_win{K}_ep{T}.npy       (N,) float: the scores in the order of the mask

The official training keeps `mask[int(P * N):]`, where P is its --subset_rate (the removed share), and multiplies a batch's
loss by the mean of the scores scaled to [0, 1]. It looks scores up through the mask, so it accepts any coreset: dropped
samples come first, and each part ascends by score. For TDDS's own coresets that is the official code's argsort.
"""

from __future__ import annotations

import numpy as np

from thresher.coreset import Coreset
from thresher.errors import CorruptFileError, FingerprintError, InputError, SampleIdError
from thresher.exchange.ids import load_npy, npy_bytes, single
from thresher.exchange.place import all_or_none, check_free, write_new
from thresher.places import PathText, as_local
from thresher.types import Floats, Scores


def write_pair(
    coreset: Coreset, scores: Scores, folder: PathText, window: int, epochs: int, *, force: bool = False
) -> float:  # fmt: skip
    """Write the pair for `--mask_path` and `--score_path` and return the --subset_rate that keeps exactly `coreset`.

    `scores` are those of all samples; `window` and `epochs` only name the files. Raises FingerprintError if there are not
    `coreset.n` scores, InputError if one is missing, RunDirectoryError if a file exists and `force` is not given.

    >>> import tempfile
    >>> from pathlib import Path
    >>> scores = Scores(np.array([0.3, 0.1, 0.4, 0.2]))
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_pair(Coreset(np.array([0, 2]), None, 4), scores, folder, 10, 30)
    0.5
    >>> np.load(folder / "data_mask_win10_ep30.npy").tolist()
    [1, 3, 0, 2]
    """
    values = scores.values
    if len(values) != coreset.n:
        raise FingerprintError(
            f"Expected the scores of the {coreset.n} samples that this coreset was selected from, but got {len(values)}."
        )
    if not np.isfinite(values).all():
        first = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(
            f"Expected a finite score of every sample, but sample {first} has none. The official code needs all."
        )
    order = np.lexsort((values, coreset.mask)).astype(np.int64)
    folder = as_local(folder)
    places = [folder / f"{kind}_win{window}_ep{epochs}.npy" for kind in ("data_mask", "score")]
    for place in places:
        check_free(place, force)
    with all_or_none(folder) as part:  # a mask with another one's scores would pass for a pair
        write_new(part / places[0].name, npy_bytes(order))
        write_new(part / places[1].name, npy_bytes(values[order]))
    return subset_rate(coreset.n, len(coreset))


def subset_rate(n: int, count: int) -> float:
    """Return the P in [0, 1) for which `int(P * n)`, as the official code computes it, drops all but `count` samples.

    >>> int(subset_rate(50000, 4999) * 50000)
    45001
    """
    rate = (n - count) / n
    while int(rate * n) < n - count:
        rate = float(np.nextafter(rate, 1))
    return rate


def read_pair(mask: PathText, score: PathText) -> Scores:
    """Return the scores of a pair by sample id, (N,) float32, with the sorting undone.

    Raises MissingFileError, CorruptFileError, SampleIdError if the mask is not a permutation, InputError if they disagree.
    """
    mask, score = as_local(mask), as_local(score)
    order, values = load_npy(mask), load_npy(score)
    if order.ndim != 1 or order.dtype.kind not in "iu" or not np.array_equal(np.sort(order), np.arange(len(order))):
        raise SampleIdError(
            f"Expected every id from 0 to N - 1 once in {mask}, but got {order.dtype} of shape {order.shape}."
        )
    if values.dtype.kind != "f" or values.shape != order.shape:
        raise InputError(f"Expected {len(order)} scores in {score}, but got {values.dtype} of shape {values.shape}.")
    by_id: Floats = np.empty(len(order), dtype=np.float32)
    by_id[order] = single(values, f"the scores of {score}")
    return Scores(by_id, "high", {"scorer": "tdds", "file": score.name})


def read_mask(mask: PathText, rate: float) -> Coreset:
    """Return the coreset that the official training would take from a mask at this --subset_rate (the removed share).

    Raises CorruptFileError for anything but ids (N,), SampleIdError unless each appears once, InputError for a share outside
    [0, 1), MissingFileError if there is no file.
    """
    mask = as_local(mask)
    order = load_npy(mask)
    if not 0 <= rate < 1:
        raise InputError(f"Expected a removed share in [0, 1), as the official --subset_rate, but got {rate}.")
    if order.ndim != 1 or order.dtype.kind not in "iu" or not len(order):
        raise CorruptFileError(f"Expected a mask of ids (N,) in {mask}, but got {order.dtype} of shape {order.shape}.")
    n = len(order)
    if not np.array_equal(np.sort(order), np.arange(n)):
        raise SampleIdError(f"Expected every id from 0 to {n - 1} once in {mask}.")
    return Coreset(np.sort(order[int(rate * n) :]), None, n, {"file": mask.name, "subset_rate": rate})
