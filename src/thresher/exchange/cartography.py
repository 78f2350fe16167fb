"""Export and import of training dynamics in the format of Dataset Cartography (Swayamdipta et al. 2020).

    training_dynamics/dynamics_epoch_{t}.jsonl    one line per sample: {"guid": 7, "logits_epoch_{t}": [...], "gold": 3}

Imported files become official TDDS dumps (`{t}_Output.npy` and so on), which `thresher score` streams: one reader of
logits is enough. The authors' writer names its files `.jsonl`, their reader looks for `.json`; both are accepted here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.errors import (
    CorruptFileError,
    InputError,
    MissingFileError,
    MissingSamplesError,
    RunDirectoryError,
    SampleIdError,
)
from thresher.exchange.ids import npy_bytes
from thresher.exchange.place import all_or_none, check_free, write_new
from thresher.files import parse_json
from thresher.places import PathText, as_local
from thresher.trajectory.reader import Trajectory

Guid = int | str
FOLDER = "training_dynamics"
_DYNAMICS = re.compile(r"dynamics_epoch_(\d+)\.jsonl?")
_DUMPS = re.compile(r"(\d+)_(?:Output|Index)\.npy")


def write_dynamics(recording: Trajectory, folder: PathText, *, force: bool = False) -> int:
    """Write the logits of a recording into `folder/training_dynamics`, a file per epoch, and return the number of epochs.

    Raises InputError if no logits or targets were recorded, MissingSamplesError if a sample is missing from an epoch (the
    authors' code needs all), RunDirectoryError if a file exists and `force` is not given. With `force`, files of later
    epochs, which are from an older export, are removed too.
    """
    folder, targets = as_local(folder), recording.targets
    if not recording.has_logits or targets is None:
        raise InputError("Expected a recording with logits and targets. Record with --logits float16 or float32.")
    places = [folder / FOLDER / f"dynamics_epoch_{epoch}.jsonl" for epoch in range(recording.epochs)]
    for place in places:
        check_free(place, force)
    later = _later(folder / FOLDER, _DYNAMICS, recording.epochs, force)
    with all_or_none(folder / FOLDER) as part:
        for epoch, place in enumerate(places):
            logits = recording.logits(epoch)
            missing = np.flatnonzero(np.isnan(logits).any(axis=1))
            if len(missing):
                raise MissingSamplesError(
                    f"Expected every sample in every epoch, but sample {int(missing[0])} is missing from epoch {epoch}."
                )
            with (part / place.name).open("w", encoding="utf-8") as file:
                for guid, (row, gold) in enumerate(zip(logits.tolist(), targets.tolist(), strict=True)):
                    file.write(json.dumps({"guid": guid, f"logits_epoch_{epoch}": row, "gold": gold}) + "\n")
    for path in later:
        path.unlink()
    return recording.epochs


def dynamics_to_dumps(folder: PathText, out: PathText, *, force: bool = False) -> list[Guid]:
    """Convert cartography files to dumps that `thresher score` reads, and return the guid of each sample id.

    `folder` holds `training_dynamics`, or the files themselves. Guids that are exactly 0 to N - 1 are the sample ids; any
    others (strings, gaps) are numbered in the order of epoch 0, and `out/guids.json` lists them. Raises MissingFileError,
    CorruptFileError naming file and line, SampleIdError or MissingSamplesError if epochs hold other samples than epoch 0,
    InputError if labels or the number of classes change, RunDirectoryError if a file exists and `force` is not given; `out`
    is then unchanged. With `force`, files of later epochs, which are from older dumps, are removed too.
    """
    folder, out = as_local(folder), as_local(out)
    epochs = _epoch_files(folder)
    guids, first, gold = _read_epoch(epochs[0], 0)
    if sorted(map(str, guids)) == sorted(map(str, range(len(guids)))) and all(isinstance(g, int) for g in guids):
        listed: list[Guid] = list(range(len(guids)))
    else:
        listed = guids
    place = {guid: sample_id for sample_id, guid in enumerate(listed)}
    targets = np.empty(len(listed), dtype=np.int64)
    targets[[place[guid] for guid in guids]] = gold
    names = [f"{t}_{kind}.npy" for t in range(len(epochs)) for kind in ("Output", "Index")] + ["targets.npy", "guids.json"]
    for name in names:
        check_free(out / name, force)
    later = _later(out, _DUMPS, len(epochs), force)
    with all_or_none(out) as part:  # the first epochs alone, or before older ones, would be scored as a whole
        for epoch, path in enumerate(epochs):
            rows, logits, labels = (guids, first, gold) if epoch == 0 else _read_epoch(path, epoch)
            order = _places(rows, place, path)
            if logits.shape != first.shape or not np.array_equal(targets[order], labels):
                raise InputError(f"Expected the same classes and labels as in epoch 0 in {path}, but they differ.")
            write_new(part / f"{epoch}_Output.npy", npy_bytes(logits))
            write_new(part / f"{epoch}_Index.npy", npy_bytes(order))
        write_new(part / "guids.json", json.dumps(listed).encode())
        write_new(part / "targets.npy", npy_bytes(targets))
    for path in later:
        path.unlink()
    return listed


def _later(folder: Path, names: re.Pattern[str], epochs: int, force: bool) -> list[Path]:
    """Return the files of epochs from `epochs` on, which would be read as if they were part of this export.

    Raises RunDirectoryError if there are any and `force` is not given.
    """
    matches = [(path, names.fullmatch(path.name)) for path in (sorted(folder.iterdir()) if folder.is_dir() else ())]
    later = [path for path, match in matches if match and int(match[1]) >= epochs]
    if later and not force:
        raise RunDirectoryError(
            f"{later[0]} is of an epoch that this export of {epochs} epochs does not have; nothing was written. Choose "
            "another folder, or replace it: --force."
        )
    return later


def _places(rows: list[Guid], place: dict[Guid, int], path: Path) -> NDArray[np.int64]:
    foreign = [guid for guid in rows if guid not in place]
    if foreign:
        raise SampleIdError(f"Expected the samples of epoch 0 in {path}, but guid {foreign[0]!r} is new there.")
    if len(rows) != len(place):
        raise MissingSamplesError(f"Expected the {len(place)} samples of epoch 0 in {path}, but it has {len(rows)}.")
    return np.array([place[guid] for guid in rows], dtype=np.int64)


def _epoch_files(folder: Path) -> list[Path]:
    inner = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    found: dict[int, Path] = {}
    for path in sorted(inner.iterdir()) if inner.is_dir() else ():
        if match := _DYNAMICS.fullmatch(path.name):
            if int(match[1]) in found:
                raise InputError(f"Expected one file per epoch, but there are {path} and {found[int(match[1])].name}.")
            found[int(match[1])] = path
    if sorted(found) != list(range(len(found))) or not found:
        held = f"epochs {sorted(found)}" if found else "none"
        raise MissingFileError(
            f"Expected dynamics_epoch_0.jsonl and so on, without a gap, in {inner}, but there are {held}."
        )
    return [found[epoch] for epoch in range(len(found))]


def _read_epoch(path: Path, epoch: int) -> tuple[list[Guid], NDArray[np.float32], NDArray[np.int64]]:
    guids: dict[Guid, None] = {}
    rows: list[NDArray[np.float32]] = []
    gold: list[int] = []
    for line, record in _records(path):
        try:
            guid, logits, label = record["guid"], record[f"logits_epoch_{epoch}"], record["gold"]
            if (
                isinstance(guid, bool)
                or not isinstance(guid, int | str)
                or isinstance(label, bool)
                or not isinstance(label, int)
            ):
                raise TypeError("guid must be an integer or a string, gold an integer")
            with np.errstate(over="ignore"):  # what 32 bits cannot hold is not finite, and told below
                row = np.array(logits, dtype=np.float32)
            if row.ndim != 1 or len(row) < 2 or not np.isfinite(row).all() or (rows and len(row) != len(rows[0])):
                raise ValueError(f"expected {len(rows[0]) if rows else 'at least 2'} finite logits")
            if not 0 <= label < len(row):
                raise ValueError(f"gold {label} is not one of {len(row)} classes")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            told = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise CorruptFileError(f"{path}, line {line}, is not a cartography record: {told}. Write it again.") from None
        if guid in guids:
            raise SampleIdError(f"Expected every sample once in {path}, but line {line} has guid {guid!r} again.")
        guids[guid] = None
        rows.append(row)
        gold.append(label)
    if not rows:
        raise CorruptFileError(f"Expected a line for every sample in {path}, but it is empty.")
    return list(guids), np.stack(rows), np.array(gold, dtype=np.int64)


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = parse_json(line)
            except ValueError as error:
                raise CorruptFileError(f"{path}, line {number}, is not JSON ({error}). Is the file truncated?") from None
            if not isinstance(record, dict):
                raise CorruptFileError(f"{path}, line {number}, holds a {type(record).__name__}, not an object.")
            yield number, record
