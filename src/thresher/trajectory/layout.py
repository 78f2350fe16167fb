"""The layout of a trajectory store on disk, and its manifest.

    manifest.json                      what is complete; replaced last, so a crash costs only the unfinished epoch
    targets.parquet                    sample_id, target
    features.parquet                   sample_id, feature (of the evaluation pass; absent without one)
    targets-2.parquet, features-2.parquet   their replacements, if any; the manifest names the current ones
    epoch=0000/bucket=000.parquet ...  sample_id and one float32 column per signal (and `logits`, if requested)

Bucket `b` holds the ids `[b * bucket_size, (b + 1) * bucket_size)`, sorted. A signal that no sample had in an epoch (the
change at epoch 0) has no column there. Any engine that reads Parquet can read the glob `epoch=*/bucket=*.parquet`.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from thresher.errors import CorruptFileError, MissingFileError
from thresher.files import check_format, parse_json, seal_of, write_json

FORMAT = 1
MANIFEST = "manifest.json"
TARGETS = ("targets.parquet", "targets-2.parquet")
FEATURES = ("features.parquet", "features-2.parquet")
LOCK = "writer.lock"
_NAME = re.compile(r"(epoch=[0-9]{4,9}/bucket=[0-9]{3,9}|(targets|features)(-2)?)\.parquet")
_CHUNK = 16 << 20


@dataclass(frozen=True)
class FileEntry:
    """One file as written: `rows`, `size` in bytes, `crc` (CRC-32 of the whole file), its columns.

    `crcs` are the CRC-32 of each column's values, for readers of some columns only: they also reveal an intact file in
    another one's place. The earliest stores have none.
    """

    name: str
    rows: int
    size: int
    crc: int
    columns: tuple[str, ...]
    crcs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """What a store holds; see the module docstring. `epochs[t]` lists the bucket files of epoch t."""

    n: int
    num_classes: int
    bucket_size: int
    signals: tuple[str, ...]
    logits: str | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    epochs: tuple[tuple[FileEntry, ...], ...] = ()
    targets: FileEntry | None = None
    features: FileEntry | None = None
    features_epoch: int | None = None
    format: int = FORMAT

    def save(self, folder: Path) -> None:
        """Replace the manifest of `folder`."""
        content = {**asdict(self), "info": dict(self.info)}
        plain = parse_json(json.dumps(content))  # as it will be read: keys are texts, tuples lists
        write_json(folder / MANIFEST, {**plain, "seal": seal_of(plain)})

    def bucket_range(self, bucket: int) -> tuple[int, int]:
        """Return the first id of a bucket and the one after its last."""
        return bucket * self.bucket_size, min(self.n, (bucket + 1) * self.bucket_size)


def load_manifest(folder: Path) -> Manifest:
    """Return the manifest of a store; raises MissingFileError or CorruptFileError."""
    path = folder / MANIFEST
    if not path.is_file():
        raise MissingFileError(f"Expected a trajectory store in {folder}, but it has no {MANIFEST}.")
    try:
        raw = parse_json(path.read_text(encoding="utf-8"))
        check_format(path, raw["format"], FORMAT)
        if raw.pop("seal", None) not in (None, seal_of(raw)):  # stores of the first days have none
            raise ValueError("it was altered")
        raw["signals"] = tuple(raw["signals"])
        raw["epochs"] = tuple(tuple(entry_from(entry) for entry in files) for files in raw["epochs"])
        raw["targets"], raw["features"] = (None if raw[k] is None else entry_from(raw[k]) for k in ("targets", "features"))
        return _checked(Manifest(**raw))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFileError(
            f"{path} is not a complete manifest ({error}). It is replaced as a whole when an epoch is committed; "
            "restore it from a copy, or record again."
        ) from error


def _checked(manifest: Manifest) -> Manifest:
    """Return the manifest if it is consistent, else raise ValueError or TypeError; readers can then rely on it."""
    for name in ("n", "num_classes", "bucket_size"):
        _whole(name, getattr(manifest, name), 1)
    buckets = -(-manifest.n // manifest.bucket_size)
    for number, files in enumerate(manifest.epochs):
        if len(files) != buckets:
            raise ValueError(f"epoch {number} has {len(files)} files, not {buckets}")
        for bucket, entry in enumerate(files):
            first, end = manifest.bucket_range(bucket)
            _check_entry(entry, end - first)
    for whole in (manifest.targets, manifest.features):
        if whole is not None:
            _check_entry(whole, manifest.n)
    if not all(isinstance(name, str) for name in manifest.signals) or not isinstance(manifest.info, Mapping):
        raise TypeError("its signals are not names, or its info is not an object")
    return manifest


def _check_entry(entry: FileEntry, most: int) -> None:
    if not isinstance(entry.name, str) or not _NAME.fullmatch(entry.name):
        raise ValueError(f"it names a file that cannot belong to a store, {entry.name!r}"[:80])
    for name, high in (("rows", most), ("size", None), ("crc", None)):
        _whole(f"{name} of {entry.name}", getattr(entry, name), 0, high)
    if not all(isinstance(column, str) for column in entry.columns):
        raise TypeError(f"the columns of {entry.name} are not names")
    if len(entry.crcs) not in (0, len(entry.columns)):
        raise ValueError(f"{entry.name} has {len(entry.crcs)} checksums for {len(entry.columns)} columns")


def _whole(what: str, value: object, low: int, high: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        raise ValueError(f"{what} is {value!r}"[:80])


def entry_from(raw: Mapping[str, Any]) -> FileEntry:
    """Return the entry that a manifest holds as `raw`."""
    return FileEntry(**{**raw, "columns": tuple(raw["columns"]), "crcs": tuple(raw.get("crcs", ()))})


def entry_of(path: Path, name: str, rows: int, columns: Mapping[str, int]) -> FileEntry:
    """Return the entry of a file just written to `path`; `columns` maps each to the CRC-32 of its values."""
    crc, size = crc_and_size(path)
    return FileEntry(name, rows, size, crc, tuple(columns), tuple(columns.values()))


def crc_and_size(path: Path) -> tuple[int, int]:
    """Return the CRC-32 of a whole file and its size in bytes."""
    crc, size = 0, 0
    with path.open("rb") as file:
        while content := file.read(_CHUNK):  # a file of all features need not fit the memory
            crc, size = zlib.crc32(content, crc), size + len(content)
    return crc, size


def epoch_folder(epoch: int) -> str:
    """Return an epoch's folder name.

    >>> epoch_folder(7)
    'epoch=0007'
    """
    return f"epoch={epoch:04d}"
