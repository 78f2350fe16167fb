"""Locates the array in a .npy file, so that parts of it can be read; files that hold pickled objects are refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thresher.errors import CorruptFileError, InputError, MissingFileError


@dataclass(frozen=True)
class NpyArray:
    """The position of an array inside a .npy file."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int


def read_header(path: Path) -> NpyArray:
    """Locate the array in a .npy file; raises MissingFileError or CorruptFileError. Pickled objects are refused."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
            offset = file.tell()
    except FileNotFoundError:
        raise MissingFileError(f"Expected {path}, but it is not there.") from None
    except Exception as error:  # NumPy reads the header as Python text, and a broken one raises almost anything
        raise CorruptFileError(f"{path} is not a .npy file ({error}). Copy it again.") from error
    if dtype.hasobject:
        raise CorruptFileError(f"{path} holds pickled objects, which could run code; nothing was read. Save plain numbers.")
    if fortran and len(shape) > 1:
        raise InputError(f"Expected {path} in row order (C), but it is in column order. Save np.ascontiguousarray of it.")
    wanted = offset + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if path.stat().st_size != wanted:
        raise cut_off(path)
    return NpyArray(path, shape, dtype, offset)


def cut_off(path: Path) -> CorruptFileError:
    return CorruptFileError(f"{path} is truncated or too long: its size does not match its header. Copy it again.")
