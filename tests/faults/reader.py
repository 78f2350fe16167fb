"""What the suite knows of a reader of files or texts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mutate import Rng

SEEN = 40
CLASSES = 4


@dataclass(frozen=True)
class Reader:
    """`make(folder)` lays good files out; those that `files` matches are mutated; `read(folder)` gives an answer.

    `right(answer, good, folder)` says whether it may be given: by default only what the good files gave. Some mutate in
    a way of their own (`mutate`), which may hand `read` a text in `folder/text`.
    """

    make: Callable[[Path], object]
    read: Callable[[Path], Any]
    files: Sequence[str] = ("**/*",)
    right: Callable[[Any, Any, Path], bool] = lambda answer, good, folder: bool(answer == good)
    mutate: Callable[[Path, Rng], bool] = lambda folder, rng: False
    others: tuple[bytes, ...] = ()


def bits(array: Any) -> str | None:
    """Return what tells arrays apart: dtype, shape and contents."""
    if array is None:
        return None
    plain = np.ascontiguousarray(array)
    return f"{plain.dtype}{plain.shape}{hashlib.sha256(plain.tobytes()).hexdigest()}"
