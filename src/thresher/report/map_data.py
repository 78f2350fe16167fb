"""The data map as the page's script reads it: every sample's place in a few bytes, images and trajectories of some."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image, features

from thresher.report.content import Content, DataMap, ImageOf
from thresher.report.plots import share
from thresher.report.thumbnails import as_picture
from thresher.types import Ids

_TILE = 48
"""Longest side of an image in the sheet; smaller ones keep their pixels."""
_SHEET_BYTES = 4_500_000
_MISSING = 255
_RIGHT = 64_800
"""What a share of epochs counts to: sixths, where colours change, and what most numbers of epochs give, are whole in it."""


def map_data(content: Content) -> Markup | None:
    """Return the JSON that a script element holds, without a character that could end the element; None without a map.

    Places and how often right are whole numbers of 16 bits, trajectories of 8 (0 to 254, 255 where there is none), what a
    method kept is one bit a sample: 50 000 samples take half a megabyte, and 2 000 trajectories of 200 epochs as much again.
    """
    found = content.data_map
    if found is None:
        return None
    n = len(found.mean)
    shown = found.shown[found.shown < n]
    widest = float(np.nanmax(found.variability, initial=0.05))
    keep = content.keeps[0] if content.keeps else None
    chosen = {} if keep is None else content.selected(keep)
    return safe_json(
        {
            "n": n,
            "epochs": found.epochs,
            "widest": widest,
            "x": _packed(_scaled(found.variability / widest, 65534, 65535), "<u2"),
            "y": _packed(_scaled(found.mean, 65534, 65535), "<u2"),
            "right": None if found.correctness is None else _packed(_scaled(found.correctness, _RIGHT, 65535), "<u2"),
            "target": _packed(content.targets, "<u2" if len(content.targets) and content.targets.max() < 65536 else "<u4"),
            "classes": list(content.class_names),
            "kept": [{"name": s.method, "bits": _bits(s.ids, n)} for s in chosen.values()],
            "keep": None if keep is None else share(keep),
            "planted": None if content.planted is None else _bits(np.flatnonzero(content.planted), n),
            "shown": _packed(shown, "<u4"),
            "trajectories": _trajectories(found, shown),
            "scores": [{"name": c.name, "values": _packed(c.values[shown], "<f4")} for c in content.scores],
            "sheet": None if content.image is None or not len(shown) else sheet(content.image, shown),
        }
    )


def safe_json(value: Any) -> Markup:
    """Return JSON for a script element.

    >>> print(safe_json({"name": "</script><b>"}))
    {"name":"\\u003c/script\\u003e\\u003cb\\u003e"}
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":  # the last two end a line of a script in old browsers
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _scaled(values: NDArray[Any], top: int, missing: int) -> NDArray[Any]:
    """Return shares in [0, 1] as whole numbers up to `top`, NaN as `missing`."""
    return np.where(np.isfinite(values), np.rint(np.clip(np.nan_to_num(values), 0, 1) * top), missing)


def _packed(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()


def _bits(ids: Ids, n: int) -> str:
    mask = np.zeros(n, dtype=np.bool_)
    mask[ids[ids < n]] = True
    return base64.b64encode(np.packbits(mask, bitorder="little").tobytes()).decode()


def _trajectories(found: DataMap, shown: Ids) -> str | None:
    if found.trajectories is None or not len(shown):
        return None
    return _packed(_scaled(found.trajectories[: len(shown)], 254, _MISSING), "u1")


def sheet(image: ImageOf, ids: Ids) -> dict[str, Any]:
    """Return one picture that holds the images of `ids` in rows of square tiles: `src`, `tile` (pixels) and `columns`.

    Images up to 16 pixels stay exact; larger ones are lossy, and the more so the less they compress.
    """
    pictures = [_picture(image(sample_id)) for sample_id in ids.tolist()]
    tile = max(max(picture.size) for picture in pictures)  # of all: the first may be the smallest
    columns = int(np.ceil(np.sqrt(len(ids))))
    grey = all(picture.mode == "L" for picture in pictures)
    whole = Image.new("L" if grey else "RGB", (columns * tile, -(-len(ids) // columns) * tile))
    for place, picture in enumerate(pictures):
        where = (
            place % columns * tile + (tile - picture.width) // 2,
            place // columns * tile + (tile - picture.height) // 2,
        )
        whole.paste(picture.convert(whole.mode), where)
    kind, content = _encoded(whole, exact=tile <= 16)
    return {"src": f"data:image/{kind};base64,{base64.b64encode(content).decode()}", "tile": tile, "columns": columns}


def _picture(array: NDArray[np.uint8]) -> Image.Image:
    picture = as_picture(array)
    if max(picture.size) > _TILE:
        picture.thumbnail((_TILE, _TILE), Image.Resampling.LANCZOS)
    return picture


def _encoded(picture: Image.Image, exact: bool) -> tuple[str, bytes]:
    kind = "WEBP" if features.check("webp") and max(picture.size) < 16383 else "PNG" if exact else "JPEG"
    for quality in (82, 60, 35):
        buffer = io.BytesIO()
        options: dict[str, Any] = {"lossless": True} if exact and kind == "WEBP" else {} if exact else {"quality": quality}
        picture.save(buffer, kind, **options)
        if exact or buffer.tell() <= _SHEET_BYTES:
            break
    return kind.lower(), buffer.getvalue()
