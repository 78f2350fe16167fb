"""The coreset: which samples are kept, and where they come from. (The file it is stored in is that of `coreset_file.py`.)"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from thresher.arrays import ArrayLike, as_asked, as_floats, as_whole_array
from thresher.coreset_file import corrupt, read_coreset, read_sidecar, sidecar_path, write_coreset
from thresher.errors import FingerprintError, InputError, MissingFileError, SampleIdError
from thresher.files import json_ready
from thresher.places import as_place
from thresher.types import Floats, Ids, as_source, is_whole

if TYPE_CHECKING:
    from torch.utils.data import Dataset, Subset


@dataclass(frozen=True, eq=False, repr=False)
class Coreset:
    """The samples kept from a data set of `n` samples.

    `ids` is (k,) int64, sorted and unique, in [0, n), positions in the original data set; `weights` is (k,) float32 or
    None; `source` is JSON-ready provenance (method, scorer, selector, keep, seed, data fingerprint, version). The arrays are
    copies; do not write to them, since the digest is computed once. (They are not locked: torch warns of locked arrays.)
    `len`, iteration, `in` and `np.asarray` are those of the ids. Two are equal if they keep the same samples of as many
    with the same weights, wherever they come from.

    Raises SampleIdError if the ids are not sorted, unique integers in range; InputError for weights of another shape, an `n`
    that is not an integer, or a `source` that is no mapping.

    >>> coreset = Coreset(np.array([1, 4]), None, 10, {"method": "mine"})
    >>> len(coreset), list(coreset), 4 in coreset, coreset.mask.tolist()[:5]
    (2, [1, 4], True, [False, True, False, False, True])
    >>> coreset
    <thresher.Coreset of 2 of 10 samples by mine>
    """

    ids: Ids
    weights: Floats | None
    n: int
    source: Mapping[str, Any] = field(default_factory=dict)

    if TYPE_CHECKING:  # what is taken is more than what is held

        def __init__(self, ids: ArrayLike, weights: ArrayLike | None, n: int, source: Mapping[str, Any] = ...) -> None: ...

    def __post_init__(self) -> None:
        if not is_whole(self.n):
            raise InputError(f"Expected n, the number of samples selected from, as an integer, but got {self.n!r}.")
        ids = as_whole_array(self.ids, "ids")
        if ids.ndim != 1 or ids.dtype.kind not in "iu" or not len(ids):
            raise SampleIdError(f"Expected (k,) integer ids, at least one, but got {ids.dtype} of shape {ids.shape}.")
        ids = ids.astype(np.int64)
        if (np.diff(ids) <= 0).any():
            raise SampleIdError("Expected sorted ids, each once. Sort them with np.unique before making a Coreset.")
        if ids[0] < 0 or ids[-1] >= self.n:
            raise SampleIdError(f"Expected ids in [0, {self.n}), but got {ids[0]} to {ids[-1]}.")
        object.__setattr__(self, "ids", ids)
        if self.weights is not None:
            try:
                weights = as_floats(self.weights)
            except InputError:  # texts
                raise InputError("Expected weights as numbers, one per id, but got something else.") from None
            if weights.shape != ids.shape or not np.isfinite(weights).all():
                raise InputError(f"Expected {len(ids)} finite weights, one per id, but got shape {weights.shape}.")
            object.__setattr__(self, "weights", weights.copy())
        object.__setattr__(self, "source", as_source(self.source))

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids.tolist())

    def __contains__(self, sample_id: Any) -> bool:
        place = np.searchsorted(self.ids, sample_id) if is_whole(sample_id) else len(self)
        return bool(place < len(self) and self.ids[place] == sample_id)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return as_asked(self.ids, dtype, copy)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Coreset):
            return NotImplemented
        return (self.n, len(self)) == (other.n, len(other)) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash((self.n, self.digest))

    def __repr__(self) -> str:
        by = f" by {self.source['method']}" if isinstance(self.source.get("method"), str) else ""
        weighted = "" if self.weights is None else ", weighted"
        return f"<thresher.Coreset of {len(self)} of {self.n} samples{by}{weighted}>"

    @property
    def mask(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(n,) bool, True where a sample is kept."""
        mask = np.zeros(self.n, dtype=np.bool_)
        mask[self.ids] = True
        return mask

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the data set that the ids refer to, if known."""
        value = self.source.get("fingerprint")
        return None if value is None else str(value)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of ids and weights: equal digests mean the same samples with the same weights."""
        digest = hashlib.sha256(self.ids.astype("<i8", copy=False).data)
        if self.weights is not None:
            digest.update(b"weights" + self.weights.astype("<f4").tobytes())
        return digest.hexdigest()

    def subset(self, dataset: Dataset[Any]) -> Subset[Any]:
        """Return a `torch.utils.data.Subset` of exactly these samples of the original, unpruned `dataset`.

        Raises FingerprintError if the data set has another number of samples than the one selected from, InputError if
        it has no length, as a stream.
        """
        from torch.utils.data import Subset

        self.check_size(dataset)
        return Subset(dataset, self.ids.tolist())

    def check_size(self, dataset: object) -> None:
        """Raise what `subset` does for a data set that is not the one selected from."""
        try:
            size = len(dataset)  # type: ignore[arg-type]
        except TypeError:
            raise InputError(
                f"Expected a data set with a length, whose sample i is dataset[i], but got {type(dataset).__name__}. "
                "From a stream take those samples whose number, counted from 0, is True in `coreset.mask`."
            ) from None
        if size != self.n:
            raise FingerprintError(
                f"Expected the data set of {self.n} samples that this coreset was selected from, but got {size} samples. "
                "Give the full, unpruned training set."
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `path` (Parquet) and `path` + `.json`; a crash leaves the old file or the new one, never a partial one."""
        write_coreset(path, self.n, self.source, [self.ids], self.weights)

    def is_at(self, path: str | os.PathLike[str]) -> bool:
        """Return whether `path` and its sidecar hold this coreset with this provenance. Raises what `load` raises."""
        there = Coreset.load(path)
        same = there.digest == self.digest and dict(there.source) == json_ready(self.source, "a coreset's source")
        return same and sidecar_path(as_place(path)).is_file()

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], fingerprint: str | None = None, n: int | None = None, data: str | None = None
    ) -> Coreset:
        """Return the coreset stored at `path`, fully checked.

        `fingerprint` and `n`, the number of samples, describe the data set in use: the coreset must have been selected from
        it. If the coreset has no fingerprint of its data set, only `n` is compared. `data`, the name of the data set in use,
        appears in the error if they differ.

        Raises MissingFileError, CorruptFileError (truncated, altered, disagreeing with its sidecar, not a coreset) or
        FingerprintError.
        """
        path = as_place(path)
        if not path.is_file():
            raise MissingFileError(f"Expected a coreset at {path}, but there is none. Write one with `thresher select`.")
        coreset, info = read_coreset(cls, path)
        sidecar = sidecar_path(path)
        if sidecar.is_file() and read_sidecar(sidecar) != info:
            raise corrupt(path, f"it disagrees with its sidecar {sidecar.name}")
        coreset.check_data(path, fingerprint, n, data)
        return coreset

    def check_data(self, path: object, fingerprint: str | None, n: int | None, data: str | None = None) -> None:
        """Raise FingerprintError if this coreset, read from `path`, is of other data, as `load` compares them."""
        if fingerprint is not None and self.fingerprint not in (None, fingerprint):
            anew = "select again from this one"
            raise FingerprintError.between("coreset", path, self.source, fingerprint, data, anew)
        if n is not None and self.n != n:
            raise FingerprintError(
                f"Expected a coreset for a data set of {n} samples, but {path} was selected from {self.n}. "
                "Use it with its own data set, or select again from this one."
            )
