"""The run directory: one folder per run, in which every file is complete.

    spec.json  env.json  log.jsonl  trajectory/  scores.parquet  coresets/  results/<digest>.json  report.html

Stages write aside and rename, so an interrupted run is continued by running it again. A lock (freed by the operating
system when its holder dies) keeps a second writer out.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from thresher.coreset import Coreset
from thresher.errors import CorruptFileError, FingerprintError, LaterFormatError, MissingFileError, RunDirectoryError
from thresher.files import parse_json, remove_parts, write_json
from thresher.locks import free_lock, take_lock
from thresher.ranks import Alone, Ranks, together
from thresher.trajectory.layout import MANIFEST, load_manifest
from thresher.version import __version__

_OWN = ("spec.json", "env.json", "scores.parquet", "table.md", "report.html")
"""Files beside the folders that only a run writes, so that what is half-written of them is a killed one's."""
_LATELY_KNOWN = ("test_fingerprint",)
"""Fields that runs of earlier versions lack; they are compared only if both sides have them."""


def digest_of(content: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that name JSON content, whatever the order of its keys.

    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_json(path: Path, advice: str = "Delete it and run the same command again.") -> dict[str, Any]:
    """Return the object that a JSON file holds, or raise CorruptFileError naming it and what to do."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptFileError(f"{path} is not valid JSON ({error}). {advice}") from error
    except IsADirectoryError:
        raise CorruptFileError(f"Expected {path} to hold a JSON object, but it is a folder. {advice}") from None
    if not isinstance(content, dict):
        raise CorruptFileError(f"Expected {path} to hold a JSON object, but it holds {type(content).__name__}. {advice}")
    return content


def read_training(path: Path) -> dict[str, Any]:
    """Return a finished training's record; raises CorruptFileError if it is incomplete."""
    result = read_json(path)
    numbers = ("seed", "kept", "keep", "test_accuracy", "seconds")
    wrong = [name for name in numbers if isinstance(result.get(name), bool) or not isinstance(result.get(name), int | float)]
    if wrong or not isinstance(result.get("method"), str):
        missing = ", ".join(wrong) or "method"
        raise CorruptFileError(f"{path} is incomplete: it lacks {missing}. Delete it and run the same command again.")
    return result


def of_other_data(found: Mapping[str, Any], fingerprint: str, test_fingerprint: str | None) -> str:
    """Return how the data of a result or recording differ from those with these fingerprints, "" if they do not.

    A fingerprint that one of the two lacks is not compared.

    >>> of_other_data({"fingerprint": "a", "test_fingerprint": "b"}, "a", "c")
    'test samples b instead of c'
    >>> of_other_data({"fingerprint": "a"}, "a", "c")
    ''
    """
    halves = (("training samples", "fingerprint", fingerprint), ("test samples", "test_fingerprint", test_fingerprint))
    pairs = [(half, found.get(key), wanted) for half, key, wanted in halves]
    return ", ".join(
        f"{half} {str(there)[:16]} instead of {wanted[:16]}"
        for half, there, wanted in pairs
        if there is not None and wanted is not None and there != wanted
    )


def refuse_other_data(
    what: str, found: Mapping[str, Any], fingerprint: str, test_fingerprint: str | None,
    advice: str = "Give the --data-dir it was made with, or choose another --out.",
) -> None:  # fmt: skip
    """Raise FingerprintError if `found`, which should be `what`, is of other data than those with these fingerprints."""
    differs = of_other_data(found, fingerprint, test_fingerprint)
    if differs:
        raise FingerprintError(f"Expected {what}, but it is of other data: {differs}. {advice}")


def file_stem(label: str, keep: float) -> str:
    """Return the name, without an ending, of files of a method at a kept share.

    >>> file_stem("tdds:window=5:at=10", 0.1)
    'tdds_window=5_at=10-0.1'
    """
    return f"{label.replace(':', '_').replace(',', '_')}-{keep}"


def save_coreset(coreset: Coreset, path: Path) -> None:
    """Write a coreset unless the file already holds it, with the same provenance; a damaged file is replaced, one of a later
    format never (LaterFormatError)."""
    try:
        there = coreset.is_at(path)
    except LaterFormatError:
        raise
    except (MissingFileError, CorruptFileError):
        there = False
    if not there:
        coreset.save(path)


def environment(device: str | None = None) -> dict[str, Any]:
    """Return the versions and hardware that numbers depend on; names no machine and no path.

    `gpu` is the name of `device`, None if that is no GPU; without a `device`, the name of the first GPU.
    """
    import numpy
    import pyarrow
    import torch

    asked = torch.device(device or "cuda")
    gpu = torch.cuda.get_device_name(asked) if torch.cuda.is_available() and asked.type == "cuda" else None
    return {
        "thresher": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "pyarrow": pyarrow.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpu": gpu,
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:  # macOS, Windows
        pass
    return platform.processor() or "unknown"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; raises BusyError where another process holds it.

    The operating system frees it when its holder dies. The file is removed at the end, while it is held.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _hold(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def _hold(path: Path) -> IO[str]:
    """Open and lock a lock file."""
    while True:
        file = take_lock(path, f"{path.with_suffix('.json').name} is being made by another process.")
        if _stands_at(file, path):
            return file
        file.close()  # its holder removed it after it was opened here, so others would lock a new one


def _stands_at(file: IO[str], path: Path) -> bool:
    """Return whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _difference(key: str, there: Any, here: Any) -> str:
    """Return in words how two values of a spec differ; for nested ones, in which fields.

    >>> _difference("surrogate", {"model": "tiny", "lr": 0.1}, {"model": "small", "lr": 0.1})
    'surrogate: model tiny there, small here'
    """
    if not (isinstance(there, dict) and isinstance(here, dict)):
        return f"{key} {str(there)[:40]} there, {str(here)[:40]} here"
    parts = [name for name in sorted({*there, *here}) if there.get(name) != here.get(name)]
    return f"{key}: " + ", ".join(_difference(name, there.get(name), here.get(name)) for name in parts)


class RunDirectory:
    """A run's folder, held by one writer at a time. Use as a context manager.

    A new or empty folder is set up with `spec`; one that holds the same spec is continued; one of another spec is
    refused with RunDirectoryError, as is one that another process is writing. On several ranks each makes one, and rank 0
    is the writer.
    """

    def __init__(self, path: Path, spec: Mapping[str, Any], *, ranks: Ranks | None = None) -> None:
        self.path, self._ranks = path, ranks or Alone()
        self._lock: IO[str] | None = None
        with together(self._ranks, "run directory"):
            if self._ranks.rank == 0:
                self._begin(spec)

    def _begin(self, spec: Mapping[str, Any]) -> None:
        path = self.path
        path.mkdir(parents=True, exist_ok=True)
        busy = f"{path} is being written by another process. Wait for it, or choose another --out."
        self._lock = take_lock(path / "run.lock", busy)
        try:
            self._check_spec(spec)
            for folder in ("coresets", "results", "checkpoints"):
                (path / folder).mkdir(exist_ok=True)
                remove_parts(path / folder)
            for name in _OWN:  # others, as of a board's score tables, may be being written: that takes no lock
                remove_parts(path, name)
            if not (path / "env.json").exists():
                write_json(path / "env.json", environment())
        except BaseException:
            self.close()
            raise

    def _check_spec(self, spec: Mapping[str, Any]) -> None:
        file = self.path / "spec.json"
        mine = json.loads(json.dumps(spec))
        if file.exists():
            theirs = read_json(file, "Restore it from a copy, or choose another --out.")
            unknown = {key for key in _LATELY_KNOWN if key not in theirs or key not in mine}
            differing = [key for key in sorted({*theirs, *mine} - unknown) if theirs.get(key) != mine.get(key)]
            if differing and self._is_empty():
                self._clear()
                write_json(file, mine)
            elif differing:
                told = "; ".join(_difference(key, theirs.get(key), mine.get(key)) for key in differing)
                raise RunDirectoryError(
                    f"{self.path} holds a run of another spec (different: {told}). "
                    "Choose another --out, or repeat the command that made it to continue it."
                )
        elif (self.path / "trajectory").exists() or (self.path / "scores.parquet").exists():
            raise RunDirectoryError(f"{self.path} holds data but no spec.json; it is not a run. Choose another --out.")
        else:
            write_json(file, mine)

    def _is_empty(self) -> bool:
        """Whether nothing was finished here, not even an epoch."""
        if any(self.path.glob("results/*.json")) or any(self.path.glob("*.parquet")):
            return False
        store = self.path / "trajectory"
        if not any(store.glob("epoch=*")):
            return True
        try:
            return not load_manifest(store).epochs  # the rest of an epoch that was killed while it was written is none
        except (MissingFileError, CorruptFileError):
            return False

    def _clear(self) -> None:
        """Remove what a recording leaves that was ended before its first epoch was written."""
        store = self.path / "trajectory"
        for epoch in store.glob("epoch=*"):
            shutil.rmtree(epoch)
        for begun in (store / MANIFEST, *self.path.glob("checkpoints/surrogate*")):
            begun.unlink(missing_ok=True)

    def log(self, event: str, **details: Any) -> None:
        """Append one line to log.jsonl, after what may be there of one that a full disk cut off."""
        if self._ranks.rank != 0:
            return
        line = json.dumps({"time": round(time.time(), 3), "event": event, **details}) + "\n"
        with (self.path / "log.jsonl").open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - 1, 0))
            file.write((line if file.read(1) in (b"", b"\n") else "\n" + line).encode())

    def results(self) -> list[dict[str, Any]]:
        """Return all finished trainings."""
        return [read_training(p) for p in sorted((self.path / "results").glob("*.json"))]

    def close(self) -> None:
        """Free the lock."""
        if self._lock is not None:
            free_lock(self._lock)
            self._lock = None

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
