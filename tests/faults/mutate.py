"""Mutations of file contents and texts: each is a function of a seeded generator, so an input can be made again."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator
_NUMBERS = (0, 1, -1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_LARGEST = 1 << 16  # bytes that a mutation adds


def mutated(content: bytes, rng: Rng, others: Sequence[bytes] = ()) -> bytes:
    """Return `content` after one to four mutations; where it is JSON or a .npy file, often one that keeps it so."""
    if rng.random() < 0.5:
        shaped = _shaped(content, rng)
        if shaped is not None:
            return shaped
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        content = _BYTES[int(rng.integers(len(_BYTES)))](content, rng, others)
    return content


def _shaped(content: bytes, rng: Rng) -> bytes | None:
    """Return JSON, JSON lines or a .npy file with another value somewhere; None for anything else."""
    if content[:6] == b"\x93NUMPY":
        return _npy(content, rng)
    lines = content.split(b"\n")
    row = int(rng.integers(len(lines))) if content[:1] == b"{" and len(lines) > 1 and lines[0][-1:] == b"}" else None
    try:
        value = json.loads(content if row is None else lines[row])
    except ValueError:
        return None
    value = mutated_json(value, rng)
    text = json.dumps(value, indent=2 if row is None else None)
    if rng.random() < 0.05:
        text = text.replace("1", "[" * 3000 + "]" * 3000, 1)
    if row is not None:
        lines[row] = text.encode()
        return b"\n".join(lines)
    return text.encode()


def mutated_json(value: Any, rng: Rng) -> Any:
    """Return a JSON value with one of the values inside it replaced, removed, renamed or moved."""
    places = list(_places(value, ()))
    path = places[int(rng.integers(len(places)))]
    if not path or rng.random() < 0.02:
        return strange(rng)
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    choice, last = rng.random(), path[-1]
    if choice < 0.15:
        del holder[last]
    elif choice < 0.25 and isinstance(holder, dict):
        holder[f"{last}x"] = holder.pop(last)
    elif choice < 0.35 and isinstance(holder, list):
        holder.insert(int(rng.integers(len(holder) + 1)), holder[last])
    elif choice < 0.55 and isinstance(holder[last], int | float):
        holder[last] = holder[last] + [1, -1, 0.5, 2**31, -(2**63)][int(rng.integers(5))]
    else:
        holder[last] = strange(rng)
    return value


def _places(value: Any, path: tuple[Any, ...]) -> Any:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from _places(inner, (*path, key))


def strange(rng: Rng) -> Any:
    """Return a value that hardly belongs where it is put."""
    values: list[Any] = [
        None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 2**70, 10**400, 0.5, -0.0, float("nan"), float("inf"), 1e308,
        "", "x", "0", "high", "low", "/etc/passwd", "../../x", "epoch=0000/bucket=000.parquet", "a" * 5000, "\x00",
        "\ud800", "<script>", [], {}, [[]], [None], [0, "a"], {"a": 1}, {"": {}}, [1] * 300,
    ]  # fmt: skip
    return values[int(rng.integers(len(values)))]


def _npy(content: bytes, rng: Rng) -> bytes | None:
    """Return a .npy file whose header says something else."""
    size = int.from_bytes(content[8:10], "little")
    try:
        header = ast.literal_eval(content[10 : 10 + size].decode("latin1"))
    except (ValueError, SyntaxError):
        return None
    shape = header["shape"]
    shapes = [
        (),
        (0,),
        (-1,),
        shape[::-1],
        (*shape, 1),
        (*shape, 0),
        (2**40,),
        (2**63,),
        (True,),
        (shape[0], 2**33),
        (1.5,),
        "x",
    ]
    kinds = [
        "|O",
        "<f4",
        ">f4",
        "<f8",
        "<f2",
        "<i8",
        ">i8",
        "<u8",
        "<i4",
        "|b1",
        "|V8",
        "<U4",
        "<M8[s]",
        "<c8",
        "x",
        "<f4,<i4",
        "|S0",
    ]
    kinds += [[("a", "<f4")], [("a", "|O")], None, "<f16", "|V0"]
    choice = rng.random()
    if choice < 0.4:
        header["shape"] = shapes[int(rng.integers(len(shapes)))]
    elif choice < 0.8:
        header["descr"] = kinds[int(rng.integers(len(kinds)))]
    elif choice < 0.9:
        header["fortran_order"] = [True, 0, "a"][int(rng.integers(3))]
    else:
        header[["x", "shape "][int(rng.integers(2))]] = 1
    text = repr(header)
    if rng.random() < 0.1:
        text = text.replace("}", ["", "}" * 50, ", 'a': __import__('os').mkdir('x')}", "(" * 300][int(rng.integers(4))])
    raw = text.encode().ljust(size - 1) + b"\n"
    stream = io.BytesIO()
    stream.write(content[:6] + bytes([int(rng.choice([1, 1, 1, 2, 3, 9])), 0]) + len(raw).to_bytes(2, "little") + raw)
    stream.write(content[10 + size :])
    return stream.getvalue()


def _spot(content: bytes, rng: Rng) -> int:
    """Return a position: anywhere, or near either end, where headers and footers lie."""
    where = rng.random()
    span = len(content) if where < 0.6 else min(64, len(content))
    spot = int(rng.integers(max(1, span)))
    return len(content) - 1 - spot if where > 0.8 and content else spot


def _flip(content: bytes, rng: Rng, _: Sequence[bytes]) -> bytes:
    changed = bytearray(content or b"\0")
    changed[_spot(bytes(changed), rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _set(content: bytes, rng: Rng, _: Sequence[bytes]) -> bytes:
    changed = bytearray(content or b"\0")
    changed[_spot(bytes(changed), rng)] = int(rng.integers(256))
    return bytes(changed)


def _number(content: bytes, rng: Rng, _: Sequence[bytes]) -> bytes:
    spot, width = _spot(content, rng), int(rng.choice([1, 2, 4, 8]))
    value = _NUMBERS[int(rng.integers(len(_NUMBERS)))] & (256**width - 1)
    return content[:spot] + value.to_bytes(width, ["little", "big"][int(rng.integers(2))]) + content[spot + width :]


def _cut(content: bytes, rng: Rng, _: Sequence[bytes]) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def _remove(content: bytes, rng: Rng, _: Sequence[bytes]) -> bytes:
    spot, length = _spot(content, rng), int(2 ** rng.uniform(0, 9))
    return content[:spot] + content[spot + length :]


def _repeat(content: bytes, rng: Rng, _: Sequence[bytes]) -> bytes:
    spot, length = _spot(content, rng), int(2 ** rng.uniform(0, 7))
    times = int(min(2 ** rng.uniform(0, 12), _LARGEST / length))
    return content[:spot] + content[spot : spot + length] * times + content[spot:]


def _swap(content: bytes, rng: Rng, _: Sequence[bytes]) -> bytes:
    a, b = sorted((_spot(content, rng), _spot(content, rng)))
    length = min(int(2 ** rng.uniform(0, 8)), b - a)
    return content[:a] + content[b : b + length] + content[a + length : b] + content[a : a + length] + content[b + length :]


def _noise(content: bytes, rng: Rng, _: Sequence[bytes]) -> bytes:
    spot, length = _spot(content, rng), int(2 ** rng.uniform(0, 8))
    return content[:spot] + rng.bytes(length) + content[spot + length :]


def _zero(content: bytes, rng: Rng, _: Sequence[bytes]) -> bytes:
    spot, length = _spot(content, rng), int(2 ** rng.uniform(0, 10))
    return content[:spot] + bytes(length) + content[spot + length :]


def _splice(content: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    other = others[int(rng.integers(len(others)))] if others else content
    return content[: _spot(content, rng)] + other[_spot(other, rng) :]


def _replace(content: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    return others[int(rng.integers(len(others)))] if others and rng.random() < 0.5 else _set(content, rng, others)


_BYTES: list[Callable[[bytes, Rng, Sequence[bytes]], bytes]] = [
    _flip, _flip, _set, _number, _number, _cut, _remove, _repeat, _swap, _noise, _zero, _splice, _replace,
]  # fmt: skip


def mutated_text(text: str, rng: Rng, words: Sequence[str]) -> str:
    """Return a text with characters and words changed, moved, doubled or put in."""
    odd = ["", " ", ":", "=", ",", ".", "-", "_", "0", "1", "9" * 30, "9" * 5000, "1e", "1e999", "1e-999999999", "nan",
           "inf", "-0", "0x1", "1_0", "١", "½", "²", "\x00", "\n",
           "\u202e", "\ud800", "é", "{", "}", "{0}", "%s", "[" * 2000,
           "None", "True", "__class__", "../", "/", "\\", "'", '"', ";", "$(x)", "::", "=="]  # fmt: skip
    for _ in range(int(rng.choice([1, 1, 2, 3, 6]))):
        a, b = sorted(int(i) for i in rng.integers(0, len(text) + 1, 2))
        put = [*odd, *words][int(rng.integers(len(odd) + len(words)))]
        text = [
            text[:a] + put + text[a:], text[:a] + put + text[b:], text[:a] + text[b:], text[:b] + text[a:], text[:a],
        ][int(rng.integers(5))]  # fmt: skip
    return text
