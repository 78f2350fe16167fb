"""Samples as small images inside the page: the original pixels where they are few, else scaled down."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

_LARGEST = 64
"""Longest side that is embedded pixel by pixel; larger images are scaled down to it."""


def as_picture(image: NDArray[np.uint8]) -> Image.Image:
    """Return an image (H, W, C) or (H, W) uint8 as a picture: grey for up to two channels, else the first three in colour.

    >>> as_picture(np.zeros((8, 4, 1), np.uint8)).mode, as_picture(np.zeros((8, 4, 4), np.uint8)).mode
    ('L', 'RGB')
    """
    array = image[..., 0] if image.ndim == 3 and image.shape[2] in (1, 2) else image
    return Image.fromarray(np.ascontiguousarray(array[..., :3] if array.ndim == 3 else array))


def data_uri(image: NDArray[np.uint8]) -> str:
    """Return an image (H, W, C) or (H, W) uint8 as a `data:` URI; up to 64 pixels lossless, larger ones scaled and lossy.

    >>> data_uri(np.zeros((8, 8, 1), np.uint8)).split(",")[0]
    'data:image/png;base64'
    """
    picture = as_picture(image)
    if max(picture.size) > _LARGEST:
        picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
        kind, content = _lossy(picture)
    else:
        kind, content = "png", _encoded(picture, "PNG", optimize=True)
        if len(content) > 400 and features.check("webp"):
            other = _encoded(picture, "WEBP", lossless=True, method=4)
            kind, content = ("webp", other) if len(other) < len(content) else (kind, content)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _lossy(picture: Image.Image) -> tuple[str, bytes]:
    if features.check("webp"):
        return "webp", _encoded(picture, "WEBP", quality=80, method=4)
    return "jpeg", _encoded(picture, "JPEG", quality=85)


def _encoded(picture: Image.Image, kind: str, **options: bool | int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
