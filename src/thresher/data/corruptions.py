"""The five image corruptions of the TDDS study, as functions of one picture (H, W, C) uint8.

Lengths are given for a 32 x 32 picture and scale with its side; at 32 x 32 they are exactly the published ones. The
authors' own numbers for Tiny-ImageNet (64 x 64: rectangle of 41 pixels, blur of 15, no scaling of the fog) differ from
that. Arithmetic that determines a pixel is exact or in float64, so that every platform gives the same picture.

Source: X. Xia et al., "Moderate Coreset", ICLR 2023, official code (what is computed); X. Zhang et al., "Spanning Training
Progress", CVPR 2024, supplementary Figure 8 (what it should look like).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from thresher.errors import InputError

Picture = NDArray[np.uint8]
SIDE = 32
"""The side for which lengths are given."""

_FIRST = 5  # row and column where the published rectangle begins
_AIR_LIGHT = 0.5
_THINNING = 0.04  # by how much fog gets thinner per pixel away from the centre
_BAND = 64  # rows that are transformed at once: the spectrum of a whole photograph takes gigabytes
_BITS = 1024  # rotation coordinates and bilinear weights are fixed-point, as in the library that the authors call


def checked_picture(image: NDArray[np.generic]) -> Picture:
    """Return `image`, or raise InputError unless it is (H, W, C) uint8 with at least one pixel."""
    if image.dtype != np.uint8 or image.ndim != 3 or not image.size:
        raise InputError(
            f"Expected a uint8 image (H, W, C) with values 0 to 255, but got {image.dtype} of shape {image.shape}. "
            "Multiply floats in [0, 1] by 255 and convert them; give a grey image one channel."
        )
    return image.astype(np.uint8, copy=False)


def gaussian_noise(
    image: Picture, rng: np.random.Generator, *, mean: float = 0.2, std: float = 1.0, wrap: bool = False
) -> Picture:
    """Return `image` with N(mean, std) added to every value on the [0, 1] scale, clipped to it.

    With `wrap` it does what the authors' code does on x86: values down to -1 are kept and negative ones wrap modulo 256 (C
    leaves that conversion undefined), so that dark pixels turn bright.

    >>> black = np.zeros((1, 1, 1), np.uint8)
    >>> [int(gaussian_noise(black, np.random.default_rng(0), mean=-0.5, std=0.0, wrap=w)[0, 0, 0]) for w in (False, True)]
    [0, 129]
    """
    noisy = image / 255 + rng.normal(mean, std, image.shape)
    low = -1.0 if wrap and (noisy < 0).any() else 0.0
    levels = np.trunc(np.clip(noisy, low, 1.0) * 255).astype(np.int64)
    return (levels % 256).astype(np.uint8)


def occlude(image: Picture, rng: np.random.Generator | None = None, *, side: float = 0.5) -> Picture:
    """Return `image` with a black rectangle, `side` of the height by `side` of the width, at a random or fixed place.

    Without `rng` it is where the authors' code puts it: at 32 x 32 from pixel (5, 5) to (20, 20).

    >>> np.flatnonzero(occlude(np.ones((32, 32, 1), np.uint8))[8, :, 0] == 0)[[0, -1]].tolist()
    [5, 20]
    """
    height, width = image.shape[:2]
    rows, columns = round(side * height), round(side * width)
    if rng is None:
        top = min(round(_FIRST * height / SIDE), height - rows)
        left = min(round(_FIRST * width / SIDE), width - columns)
    else:
        top, left = (int(rng.integers(0, room + 1)) for room in (height - rows, width - columns))
    covered = image.copy()
    covered[top : top + rows, left : left + columns] = 0
    return covered


def lower_resolution(image: Picture, *, factor: float = 0.25) -> Picture:
    """Return `image` scaled to `factor` of its sides and back, both bicubic (Pillow; scaling down averages areas).

    >>> image = np.zeros((32, 32, 1), np.uint8)
    >>> image[:16] = 200
    >>> lower_resolution(image)[[0, 14, 16, 31], 0, 0].tolist()
    [200, 170, 74, 0]
    """
    height, width = image.shape[:2]
    small = max(1, round(factor * width)), max(1, round(factor * height))
    restored = np.empty_like(image)
    for channel in range(image.shape[2]):  # one by one: any number of channels, and the same as together
        picture = Image.fromarray(np.ascontiguousarray(image[..., channel]))
        shrunk = picture.resize(small, Image.Resampling.BICUBIC)
        restored[..., channel] = np.asarray(shrunk.resize((width, height), Image.Resampling.BICUBIC))
    return restored


def fog(image: Picture, *, density: float = 0.4, black: bool = False) -> Picture:
    """Return `image` in grey fog, thickest at the centre: x t + 0.5 (1 - t), t = exp(-density (sqrt(32) - 0.04 r)).

    r is the distance to pixel (H // 2, W // 2), in pixels of a picture whose longer side has 32. With `black` it does what
    the authors' code does: values in [0, 1) are stored as uint8, which gives a black picture.

    >>> white = np.full((32, 32, 1), 255, np.uint8)
    >>> fog(white)[16, 16].tolist(), int(fog(white, black=True).max())
    ([140], 0)
    """
    height, width = image.shape[:2]
    down, right = np.ogrid[:height, :width]
    distance = np.hypot(down - height // 2, right - width // 2) * (SIDE / max(height, width))
    transmission = np.exp(-density * (np.sqrt(SIDE) - _THINNING * distance))[..., None]
    veiled = image / 255 * transmission + _AIR_LIGHT * (1 - transmission)
    levels: NDArray[np.float64] = veiled if black else veiled * 255
    return levels.astype(np.uint8)


def motion_blur(image: Picture, *, length: float = 15.0) -> Picture:
    """Return `image` blurred horizontally over `length` pixels of 32, then stretched to 0..255 over all channels together.

    The kernel is a diagonal rotated by 45 degrees, see `streak`; borders are mirrored without repeating the edge. A picture
    of a single colour becomes black, since there is no range to stretch.

    >>> step = np.repeat(np.array([0, 90], np.uint8), 16)[None, :, None].repeat(32, axis=0)
    >>> motion_blur(step)[0, [0, 10, 15, 20, 31], 0].tolist()
    [0, 32, 117, 202, 255]
    """
    taps = max(1, round(length * max(image.shape[:2]) / SIDE))
    sums = _correlate(image, streak(taps))
    levels = np.clip(np.rint(sums / (_BITS * taps)), 0, 255)
    low, high = levels.min(), levels.max()
    if low == high:
        return np.zeros_like(image)
    stretched: NDArray[np.float64] = np.rint((levels - low) * 255 / (high - low))
    return stretched.astype(np.uint8)


@lru_cache(maxsize=64)
def streak(taps: int) -> NDArray[np.int64]:
    """Return the blur kernel (taps, taps) in 1024ths, not yet divided by `taps`: the identity matrix rotated by 45 degrees.

    It is rotated about (taps / 2, taps / 2) with bilinear weights at coordinates rounded to 1/32 pixel, zero outside. Its
    two rows of weights do not sum to one (15 taps sum to 0.7); the stretch that follows compensates for that.

    >>> kernel = streak(15)
    >>> np.flatnonzero(kernel.any(axis=1)).tolist(), float(kernel.sum() / 1024 / 15)
    ([7, 8], 0.6979166666666666)
    """
    root, centre = float(np.sqrt(0.5)), taps / 2
    y, x = np.mgrid[:taps, :taps].astype(np.float64)
    # where each place comes from: the turn undone, in 1024ths; half a 32nd added before the lower bits are dropped
    shift_x, shift_y = centre, centre - 2 * root * centre
    from_x = (np.rint(root * x * _BITS) + np.rint((-root * y + shift_x) * _BITS)).astype(np.int64) + 16 >> 5
    from_y = (np.rint(root * x * _BITS) + np.rint((root * y + shift_y) * _BITS)).astype(np.int64) + 16 >> 5
    column, row = from_x >> 5, from_y >> 5
    part_x, part_y = from_x & 31, from_y & 31
    kernel = np.zeros((taps, taps), np.int64)
    for step_y, weight_y in ((0, 32 - part_y), (1, part_y)):
        for step_x, weight_x in ((0, 32 - part_x), (1, part_x)):
            on_diagonal = (row + step_y == column + step_x) & (row + step_y >= 0) & (row + step_y < taps)
            kernel += np.where(on_diagonal, weight_y * weight_x, 0)
    kernel.setflags(write=False)  # the cache hands out the same array to everybody
    return kernel


def _correlate(image: Picture, kernel: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the correlation (H, W, C) with a kernel of few rows, borders mirrored; whole numbers, hence exact.

    Row by row through the Fourier transform: a photograph takes hundreds of taps.
    """
    height, width, _ = image.shape
    taps = len(kernel)
    before, after = taps // 2, taps - 1 - taps // 2
    planes = np.pad(image.transpose(2, 0, 1), ((0, 0), (before, after), (before, after)), mode="reflect")
    length = 1 << (planes.shape[2] - 1).bit_length()  # longer than needed, but a length that transforms fast
    rows = np.flatnonzero(kernel.any(axis=1))
    weights = np.fft.rfft(kernel[rows].astype(np.float64), n=length).conj()
    sums = np.empty((height, width, planes.shape[0]))
    for top in range(0, height, _BAND):
        bottom = min(top + _BAND, height)
        spectrum = np.fft.rfft(planes[:, top + rows[0] : bottom + rows[-1]].astype(np.float64), n=length)
        places = (rows - rows[0]).tolist()
        summed = sum(spectrum[:, at : at + bottom - top] * weight for at, weight in zip(places, weights, strict=True))
        sums[top:bottom] = np.rint(np.fft.irfft(summed, n=length)[..., :width]).transpose(1, 2, 0)
    return sums
