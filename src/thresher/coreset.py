"""The coreset: which samples are kept, where they come from, and the file they are stored in.

The file is Parquet (`sample_id`, and `weight` if there are weights). Its metadata hold the provenance, a checksum of the
contents and a checksum over all of this; a JSON sidecar repeats them for people and other tools.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thresher.errors import CorruptFileError, FingerprintError, InputError, MissingFileError, SampleIdError
from thresher.files import check_plain, json_ready, parse_json, part_of, replacing, seal_of, sync_folder, write_atomic
from thresher.places import as_place, is_remote, send
from thresher.types import Floats, Ids, as_floats, as_whole_array, is_whole

if TYPE_CHECKING:
    from torch.utils.data import Dataset, Subset

_KEY = b"thresher"
_FORMAT = 1
_GROUP = 1 << 20


@dataclass(frozen=True, eq=False)
class Coreset:
    """The samples kept from a data set of `n` samples.

    `ids` is (k,) int64, sorted and unique, in [0, n), positions in the original data set; `weights` is (k,) float32 or
    None; `source` is JSON-ready provenance (method, scorer, selector, keep, seed, data fingerprint, version).

    Raises SampleIdError if the ids are not sorted, unique integers in range; InputError for weights of another shape or an
    `n` that is not an integer.

    >>> coreset = Coreset(np.array([1, 4]), None, 10)
    >>> len(coreset), coreset.mask.tolist()[:5]
    (2, [False, True, False, False, True])
    """

    ids: Ids
    weights: Floats | None
    n: int
    source: Mapping[str, Any] = field(default_factory=dict)

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
        object.__setattr__(self, "source", dict(self.source))

    def __len__(self) -> int:
        return len(self.ids)

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
        """SHA-256 (hex) of ids and weights: equal digests mean equal coresets."""
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
        coreset, info = _read(cls, path)
        sidecar = sidecar_path(path)
        if sidecar.is_file() and _read_sidecar(sidecar) != info:
            raise _corrupt(path, f"it disagrees with its sidecar {sidecar.name}")
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


def write_coreset(
    path: str | os.PathLike[str],
    n: int,
    source: Mapping[str, Any],
    chunks: Iterable[Ids],
    weights: Floats | None = None,
) -> int:
    """Write a coreset whose ids come in ascending chunks and return their number: `Coreset.save` for any size.

    `weights` are those of all ids, in one chunk. Raises InputError if the provenance in `source` is not JSON-ready.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from thresher.arrow import table_of

    path = as_place(path)
    json_ready(source, "a coreset's source")
    if is_remote(path):
        with tempfile.TemporaryDirectory(prefix="thresher-") as folder:
            local = Path(folder) / path.name
            count = write_coreset(local, n, source, chunks, weights)
            sidecar_path(path).unlink(missing_ok=True)  # as below: a Parquet file alone is complete
            for made in (local, sidecar_path(local)):
                send(made, path.with_name(made.name))
        return count
    fields = [("sample_id", pa.int64()), *([] if weights is None else [("weight", pa.float32())])]
    # Without Arrow's own schema in the file, the metadata may follow the rows, when the checksum is known.
    options: dict[str, Any] = {"use_dictionary": False, "write_page_checksum": True, "store_schema": False}
    options["column_encoding"] = {"sample_id": "DELTA_BINARY_PACKED"} | ({} if weights is None else {"weight": "PLAIN"})
    places = (path, sidecar_path(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    check_plain(path)
    staged = [part_of(place) for place in places]
    digest, count = hashlib.sha256(), 0
    try:  # Both are on disk before either takes its place: a full disk leaves the old pair as it was.
        with replacing(staged[0]) as part, part.open("wb") as file:
            with pq.ParquetWriter(file, pa.schema(fields), **options) as writer:
                for ids in _gathered(chunks):
                    count += len(ids)
                    digest.update(ids.astype("<i8", copy=False).data)
                    writer.write_table(table_of([ids, *([] if weights is None else [weights])], pa.schema(fields)))
                if weights is not None:
                    digest.update(b"weights" + weights.astype("<f4").tobytes())
                found = {"count": count, "checksum": digest.hexdigest()}
                plain = json_ready({"format": _FORMAT, "n": n, "source": source, **found}, "a coreset's source")
                info = json.dumps({**plain, "seal": seal_of(plain)}, indent=2, sort_keys=True)
                writer.add_key_value_metadata({_KEY.decode(): info})
            file.flush()
            os.fsync(file.fileno())
        write_atomic(staged[1], (info + "\n").encode())
        # The old sidecar goes first: a Parquet file alone is complete, one with another's sidecar is not.
        places[1].unlink(missing_ok=True)
        for part, place in zip(staged, places, strict=True):
            os.replace(part, place)
        sync_folder(path.parent)
    finally:
        for part in staged:
            part.unlink(missing_ok=True)
    return count


def _gathered(chunks: Iterable[Ids]) -> Iterator[Ids]:
    """Yield ids in chunks of a row group's size, or larger."""
    waiting: list[Ids] = []
    for ids in chunks:
        waiting.append(ids)
        if sum(map(len, waiting)) >= _GROUP:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def sidecar_path(path: Path) -> Path:
    """Return the JSON sidecar's path.

    >>> sidecar_path(Path("tdds-0.1.parquet")).name
    'tdds-0.1.parquet.json'
    """
    return path.with_name(path.name + ".json")


def _read(cls: type[Coreset], path: Path) -> tuple[Coreset, dict[str, Any]]:
    import pyarrow as pa

    from thresher.arrow import all_numbers, read_whole

    content = path.read_bytes()
    if content and not content.startswith(b"PAR1"):
        made = "thresher.exchange.ids.read_csv(path, n).save('kept.parquet') makes one of a CSV file of ids"
        raise CorruptFileError(f"{path} is not a coreset file. Give one that `thresher select` wrote; in Python, {made}.")
    try:
        table = read_whole(content)
        metadata = table.schema.metadata or {}
        if _KEY not in metadata:
            raise _corrupt(path, "it has no coreset provenance")
        info = parse_json(metadata[_KEY])
        if "columns" in info:
            raise _corrupt(path, "it is a score table, from which a coreset has yet to be selected")
        if info["format"] != _FORMAT:
            raise _corrupt(path, f"its format is {info['format']!r}, and this version of Thresher reads {_FORMAT}")
        ids = all_numbers(table.column("sample_id"))
        weights = all_numbers(table.column("weight")) if "weight" in table.column_names else None
        if ids.dtype != np.int64 or table.column("sample_id").null_count:
            raise _corrupt(path, f"its ids are {ids.dtype}, not int64")
        coreset = cls(ids, weights, int(info["n"]), info["source"])
        whole = coreset.digest == info["checksum"] and len(coreset) == info["count"]
        sealed = info.get("seal", seal_of(info)) == seal_of(info)  # files of the first days have no seal
    except CorruptFileError:
        raise
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise _corrupt(path, f"{type(error).__name__}: {str(error).rstrip('.')}") from error
    if not whole:
        raise _corrupt(path, "its ids or weights do not match their checksum")
    if not sealed:
        raise _corrupt(path, "its provenance was altered")
    return coreset, info


def _read_sidecar(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _corrupt(path, str(error)) from error


def _corrupt(path: Path, why: str) -> CorruptFileError:
    return CorruptFileError(f"Expected a complete coreset file at {path}, but {why}. Move it away and select again.")
