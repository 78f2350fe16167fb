"""Reads foreign pickles (the official CIFAR files) without running any code in them.

A pickle is a program that may call whatever it names. Here a name is resolved to one of a few stand-ins that only
record their arguments; arrays are then built from these with `numpy.frombuffer`. Any other name is an error.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from thresher.errors import CorruptFileError


class _ForbiddenNameError(pickle.UnpicklingError):
    """The pickle names something that is neither an array nor a plain container."""


class _Dtype:
    """Stands for `numpy.dtype`: numbers only, no objects and no records."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = _text(code), "="

    def __setstate__(self, state: Any) -> None:
        self.order = _text(state[1])

    def build(self) -> np.dtype[Any]:
        dtype = np.dtype(self.code)
        if dtype.kind not in "biuf":
            raise pickle.UnpicklingError(f"an array of {dtype}")
        return dtype.newbyteorder("=" if self.order == "|" else self.order)  # type: ignore[arg-type]


class _Array:
    """Stands for `numpy.ndarray` until `build`."""

    __slots__ = ("data", "dtype", "fortran", "shape")

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state

    def build(self) -> NDArray[Any]:
        shape = tuple(int(size) for size in self.shape)
        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data
        flat = np.frombuffer(data, dtype=self.dtype.build())
        if any(size < 0 for size in shape) or math.prod(shape) != flat.size:
            raise pickle.UnpicklingError(f"an array of shape {shape} with {flat.size} values")
        return flat.reshape(shape, order="F" if self.fortran else "C")


class _Call:
    """A callable without attributes, so a pickle cannot rewrite it."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"the pickle tries to set {name}")

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)


def _text(value: Any) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> _Array:
    if _text(order) not in ("C", "F"):  # NumPy 2.3 writes "K" with the order of the axes for arrays of 3 axes and more
        raise pickle.UnpicklingError(f"an array in memory order {order!r}")
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype: _Dtype, data: Any) -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype=dtype.build(), count=1)[0].item()


def _encode(text: Any, encoding: Any = "latin1", *_: Any) -> bytes:
    return str(text).encode("latin1") if _text(encoding) in ("latin1", "latin-1") else b""


_NUMPY: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "_reconstruct": (("numpy.core.multiarray", "numpy._core.multiarray"), _reconstruct),
    "scalar": (("numpy.core.multiarray", "numpy._core.multiarray"), _scalar),
    "_frombuffer": (("numpy.core.numeric", "numpy._core.numeric"), _from_buffer),
    "ndarray": (("numpy",), _reconstruct),
    "dtype": (("numpy",), _Dtype),
    "encode": (("_codecs",), _encode),
}
_ADMITTED = {(module, name): _Call(stand_in) for name, (modules, stand_in) in _NUMPY.items() for module in modules}


class _Reader(pickle._Unpickler):
    """The pure-Python reader: the one in C allocates as many values as a damaged number claims, up to 32 GB.

    Keys must be strings or numbers, and sets are refused: hashing deeply nested tuples could take forever.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _ForbiddenNameError(f"{module}.{name}")
        return _ADMITTED[module, name]


def _with_plain_keys(load: Callable[[Any], None], keys: slice) -> Callable[[Any], None]:
    """Return the reader's step that fills a dict, for keys (in this part of its stack) that are strings or numbers."""

    def checked(reader: Any) -> None:
        odd = [type(key).__name__ for key in reader.stack[keys] if not isinstance(key, str | bytes | int)]
        if odd:
            raise pickle.UnpicklingError(f"a {odd[0]} as the key of a dict")
        load(reader)

    return checked


def _refuse_set(reader: Any) -> None:
    raise pickle.UnpicklingError("a set")


_EVERY_OTHER = slice(None, None, 2)
for _code, _keys in ((pickle.SETITEM, slice(-2, -1)), (pickle.SETITEMS, _EVERY_OTHER), (pickle.DICT, _EVERY_OTHER)):
    _Reader.dispatch[_code[0]] = _with_plain_keys(_Reader.dispatch[_code[0]], _keys)
for _code in (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET):
    _Reader.dispatch[_code[0]] = _refuse_set


def read_pickle(content: bytes, where: str) -> dict[str, Any]:
    """Return the dict that a pickle holds: string keys; values arrays of numbers, lists, numbers or strings.

    It may be written by Python 2 or 3, in any protocol. `where` names the file in errors. Raises CorruptFileError if the
    pickle is truncated, is not a dict, or names anything but arrays and plain containers; nothing it names is ever called.

    >>> read_pickle(pickle.dumps({"data": np.zeros((2, 3), np.uint8)}), "a file")["data"].shape
    (2, 3)
    """
    try:
        loaded = _Reader(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(loaded, dict):
            raise pickle.UnpicklingError(f"a {type(loaded).__name__} where a dict belongs")
        return {_text(key): v.build() if isinstance(v, _Array) else v for key, v in loaded.items()}
    except _ForbiddenNameError as error:
        raise CorruptFileError(
            f"{where} is a pickle that contains code (it names {error}); only arrays and plain containers are read, "
            "and nothing was run. Download the file from its official source."
        ) from None
    except Exception as error:  # a broken pickle raises almost anything
        raise CorruptFileError(
            f"{where} is truncated or not a pickle of arrays ({type(error).__name__}: {error}). Download it again."
        ) from error
