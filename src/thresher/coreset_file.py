"""The file of a coreset: Parquet (`sample_id`, and `weight` if there are weights).

Its metadata hold the provenance, a checksum of the contents and a checksum over all of this; a JSON sidecar repeats them for
people and other tools.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thresher.errors import CorruptFileError
from thresher.files import (
    check_format,
    check_plain,
    json_ready,
    parse_json,
    part_of,
    replacing,
    seal_of,
    sync_folder,
    write_atomic,
)
from thresher.places import as_place, is_remote, send
from thresher.types import Floats, Ids

if TYPE_CHECKING:
    from thresher.coreset import Coreset

_KEY = b"thresher"
_FORMAT = 1
_GROUP = 1 << 20


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
    path = as_place(path)
    json_ready(source, "a coreset's source")  # before anything is written
    if is_remote(path):
        return _write_remote(path, n, source, chunks, weights)
    places = (path, sidecar_path(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    check_plain(path)
    if path.is_dir():  # before the sidecar goes: it would be that of another file
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    staged = [part_of(place) for place in places]
    try:  # Both are on disk before either takes its place: a full disk leaves the old pair as it was.
        count, metadata = _write_parquet(staged[0], n, source, chunks, weights)
        write_atomic(staged[1], (metadata + "\n").encode())
        # The old sidecar goes first: a Parquet file alone is complete, one with another's sidecar is not.
        places[1].unlink(missing_ok=True)
        for part, place in zip(staged, places, strict=True):
            os.replace(part, place)
        sync_folder(path.parent)
    finally:
        for part in staged:
            with suppress(OSError):  # a read-only place, or too long a name: the first error says more
                part.unlink(missing_ok=True)
    return count


def _write_remote(
    path: Path, n: int, source: Mapping[str, Any], chunks: Iterable[Ids], weights: Floats | None
) -> int:  # fmt: skip
    """Write a coreset on this machine, send both files to `path` on object storage, and return the number of ids."""
    with tempfile.TemporaryDirectory(prefix="thresher-") as folder:
        local = Path(folder) / path.name
        count = write_coreset(local, n, source, chunks, weights)
        sidecar_path(path).unlink(missing_ok=True)  # first, as in `write_coreset`
        for made in (local, sidecar_path(local)):
            send(made, path.with_name(made.name))
    return count


def _write_parquet(
    path: Path, n: int, source: Mapping[str, Any], chunks: Iterable[Ids], weights: Floats | None
) -> tuple[int, str]:  # fmt: skip
    """Write the Parquet file to disk; return the number of ids and the metadata as JSON text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from thresher.arrow import table_of

    schema = pa.schema([("sample_id", pa.int64()), *([] if weights is None else [("weight", pa.float32())])])
    # Without Arrow's own schema in the file, the metadata may follow the rows, when the checksum is known.
    options: dict[str, Any] = {"use_dictionary": False, "write_page_checksum": True, "store_schema": False}
    options["column_encoding"] = {"sample_id": "DELTA_BINARY_PACKED"} | ({} if weights is None else {"weight": "PLAIN"})
    digest, count = hashlib.sha256(), 0
    with replacing(path) as part, part.open("wb") as file:
        with pq.ParquetWriter(file, schema, **options) as writer:
            for ids in _gathered(chunks):
                count += len(ids)
                digest.update(ids.astype("<i8", copy=False).data)
                writer.write_table(table_of([ids, *([] if weights is None else [weights])], schema))
            if weights is not None:
                digest.update(b"weights" + weights.astype("<f4").tobytes())
            found = {"count": count, "checksum": digest.hexdigest()}
            plain = json_ready({"format": _FORMAT, "n": n, "source": source, **found}, "a coreset's source")
            metadata = json.dumps({**plain, "seal": seal_of(plain)}, indent=2, sort_keys=True)
            writer.add_key_value_metadata({_KEY.decode(): metadata})
        file.flush()
        os.fsync(file.fileno())
    return count, metadata


def _gathered(chunks: Iterable[Ids]) -> Iterator[Ids]:
    """Yield ids in chunks of a row group's size, or larger."""
    waiting: list[Ids] = []
    rows = 0
    for ids in chunks:
        waiting.append(ids)
        rows += len(ids)
        if rows >= _GROUP:
            yield np.concatenate(waiting)
            waiting, rows = [], 0
    if waiting:
        yield np.concatenate(waiting)


def sidecar_path(path: Path) -> Path:
    """Return the JSON sidecar's path.

    >>> sidecar_path(Path("tdds-0.1.parquet")).name
    'tdds-0.1.parquet.json'
    """
    return path.with_name(path.name + ".json")


def read_coreset(cls: type[Coreset], path: Path) -> tuple[Coreset, dict[str, Any]]:
    """Return the coreset at `path`, checked against its checksums, and what its metadata say. Raises CorruptFileError."""
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
            raise corrupt(path, "it has no coreset provenance")
        info = parse_json(metadata[_KEY])
        if "columns" in info:
            raise corrupt(path, "it is a score table, from which a coreset has yet to be selected")
        check_format(path, info["format"], _FORMAT)
        ids = all_numbers(table.column("sample_id"))
        weights = all_numbers(table.column("weight")) if "weight" in table.column_names else None
        if ids.dtype != np.int64 or table.column("sample_id").null_count:
            raise corrupt(path, f"its ids are {ids.dtype}, not int64")
        coreset = cls(ids, weights, int(info["n"]), info["source"])
        whole = coreset.digest == info["checksum"] and len(coreset) == info["count"]
        sealed = info.get("seal", seal_of(info)) == seal_of(info)  # files of the first days have no seal
    except CorruptFileError:
        raise
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise corrupt(path, f"{type(error).__name__}: {str(error).rstrip('.')}") from error
    if not whole:
        raise corrupt(path, "its ids or weights do not match their checksum")
    if not sealed:
        raise corrupt(path, "its provenance was altered")
    return coreset, info


def read_sidecar(path: Path) -> Any:
    """Return what a sidecar says. Raises CorruptFileError."""
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise corrupt(path, str(error)) from error


def corrupt(path: Path, why: str) -> CorruptFileError:
    """Return the error for a coreset file that is not whole."""
    return CorruptFileError(f"Expected a complete coreset file at {path}, but {why}. Move it away and select again.")
