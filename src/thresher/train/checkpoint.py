"""Checkpoints without pickles: nested dicts of tensors and plain values in one safetensors file.

Tensors go into the file as they are; everything else (numbers, strings, lists) into its JSON header. Reading one cannot run
code. Written aside, synced and renamed, so a crash leaves the previous checkpoint.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from thresher.errors import CorruptFileError, MissingFileError
from thresher.files import parse_json, replacing
from thresher.places import PathText

_SEPARATOR = "\x1f"  # a unit separator cannot occur in our keys


def save_checkpoint(path: PathText, state: Mapping[str, Any]) -> None:
    """Write `state`, nested dicts with string keys whose leaves are tensors, NumPy arrays or JSON values.

    Raises OSError if the disk is full or gone; the previous checkpoint is then unchanged.
    """
    tensors: dict[str, Tensor] = {}
    plain: list[tuple[list[str], Any]] = []
    _flatten(state, [], tensors, plain)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.touch()
        usual = part.stat().st_mode
        try:
            text = json.dumps(plain)
            save_file(tensors, part, metadata={"plain": text, "crc": str(_crc(tensors, text))})
        except SafetensorError as error:  # the system's error is only in its text
            raise _as_os_error(error) from error
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        if part.stat().st_mode != usual:  # newer safetensors make a file that only its owner may read
            part.chmod(stat.S_IMODE(usual))


def load_checkpoint(path: PathText) -> dict[str, Any]:
    """Return what `save_checkpoint` wrote; raises MissingFileError or CorruptFileError."""
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"Expected a checkpoint at {path}, but there is none.")
    state: dict[str, Any] = {}
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            text = metadata["plain"]
            if metadata not in ({"plain": text, "crc": str(_crc(tensors, text))}, {"plain": text}):  # the first had none
                raise ValueError("its contents do not match their checksum")
            for name, value in tensors.items():
                _put(state, name.split(_SEPARATOR), value)
            for keys, value in parse_json(text):
                if keys:  # an empty state has none
                    _put(state, keys, value)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFileError(f"{path} is not a complete checkpoint ({error}). Delete it to start over.") from error
    return state


def _crc(tensors: Mapping[str, Tensor], text: str) -> int:
    """Return the CRC-32 of everything that a checkpoint holds; safetensors itself has no checksum."""
    crc = zlib.crc32(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].cpu().contiguous()
        crc = zlib.crc32(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode(), crc)
        if tensor.numel():
            crc = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, crc)
    return crc


def _as_os_error(error: SafetensorError) -> OSError:
    """Return the system's error that a SafetensorError tells of in its text."""
    found = re.search(r"(?:os error|Os \{ code:) (\d+)", str(error))  # before safetensors 0.6: the latter
    number = int(found[1]) if found else errno.EIO
    return OSError(number, os.strerror(number))


def _flatten(node: Any, keys: list[str], tensors: dict[str, Tensor], plain: list[tuple[list[str], Any]]) -> None:
    if isinstance(node, Mapping):
        if not node:
            plain.append((keys, {}))
        for key, value in node.items():
            _flatten(value, [*keys, str(key)], tensors, plain)
    elif isinstance(node, Tensor):
        tensors[_SEPARATOR.join(keys)] = node.detach().contiguous()
    elif isinstance(node, np.ndarray):
        tensors[_SEPARATOR.join(keys)] = torch.from_numpy(np.ascontiguousarray(node))
    else:
        plain.append((keys, node))


def _put(state: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        state = state.setdefault(key, {})
    state[keys[-1]] = value
