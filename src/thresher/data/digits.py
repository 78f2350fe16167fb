"""The embedded data set: the 1797 grey 8 x 8 handwritten digits that come with scikit-learn.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998 (its test part).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from thresher.data.base import ArraySplit, Data

_TEST_SIZE = 360
_SPLIT_SEED = 0  # part of the data set's definition: everybody has the same 1437 training images


def load_digits() -> Data:
    """Return the digits: 1437 training and 360 test images, in a fixed random split within each class.

    Images are (N, 1, 8, 8) uint8: the original 0..16 scaled by 255/16 and rounded.

    >>> data = load_digits()
    >>> len(data.train), len(data.test), data.num_classes
    (1437, 360, 10)
    """
    from sklearn.datasets import load_digits as read  # here: importing scikit-learn takes a second

    bunch = read()
    images = torch.from_numpy(np.rint(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    targets = bunch.target.astype(np.int64)
    test = stratified_test(targets, _TEST_SIZE, _SPLIT_SEED)
    train = np.setdiff1d(np.arange(len(targets)), test)
    pixels = images[train].double() / 255
    return Data(
        name="digits",
        train=ArraySplit(images[train], targets[train]),
        test=ArraySplit(images[test], targets[test]),
        class_names=tuple(str(digit) for digit in range(10)),
        mean=(float(pixels.mean()),),
        std=(float(pixels.std(correction=0)),),
        augment="crop",
        image_size=8,
        channels=1,
    )


def stratified_test(targets: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """Return the sorted ids (size,) of a test part that holds each class in proportion (largest remainders first).

    >>> stratified_test(np.array([0, 0, 1, 1]), 2, seed=0).shape
    (2,)
    """
    classes, counts = np.unique(targets, return_counts=True)
    quota = counts * size / len(targets)
    take = np.floor(quota).astype(np.int64)
    by_remainder = np.argsort(take - quota, kind="stable")
    take[by_remainder[: size - int(take.sum())]] += 1
    rng = np.random.default_rng(seed)
    parts = [rng.permutation(np.flatnonzero(targets == c))[:k] for c, k in zip(classes, take, strict=True)]
    return np.sort(np.concatenate(parts)).astype(np.int64)
