"""Mutated inputs for every reader, in children that are watched: refused with an error of ours, or rightly answered."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from children import ended, fork
from foreign import hostile_pickles
from mutate import mutated
from reader import Reader
from readers import READERS
from watch import Watch, limit_memory, verdict

BATCH = 250
SECONDS = 60  # an input may take; on a machine with other work most of them take milliseconds
_MORE_MEMORY = 3 << 30
FAULTS = ("wrong", "escaped", "hung", "acted", "crashed")


def run_fuzz(name: str, count: int, seed: int, room: Path) -> dict[str, Any]:
    """Read `count` mutated inputs and return how many were refused, rightly answered, or went wrong in which way."""
    found: Counter[str] = Counter()
    told: dict[str, str] = {}
    first = 0
    while first < count:
        stop = min(count, first + BATCH)
        last = first
        for number, how, word in _batch(name, first, stop, seed, room):
            last = number + 1
            found[how] += 1
            if how in FAULTS:
                told.setdefault(f"{how}: {word}", f"input {number}")
        first = max(last, first + 1)
    counts = {how: found[how] for how in ("refused", "answered", *FAULTS)}
    return {"inputs": count, **counts, "told": [f"{number}: {word}" for word, number in list(told.items())[:40]]}


def _batch(name: str, first: int, stop: int, seed: int, room: Path) -> list[tuple[int, str, str]]:
    """Read some inputs in a child; where it dies, the input that it died of counts as a crash."""
    reading, writing = os.pipe()

    def work() -> None:
        os.close(reading)
        with os.fdopen(writing, "w", buffering=1) as pipe:
            inside = room / f"{first}"
            for number, how, word in read_all(READERS[name], name, first, stop, seed, inside):
                pipe.write(json.dumps([number, how, word]) + "\n")

    child = fork(work)
    os.close(writing)
    found: list[tuple[int, str, str]] = []
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        rest = b""
        while True:
            ready, _, _ = select.select([pipe], [], [], 4 * SECONDS)
            if not ready:
                os.kill(child, signal.SIGKILL)
            chunk = pipe.read(1 << 16) if ready else b""
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            found += [tuple(json.loads(line)) for line in lines]
    status = ended(child)
    if status > 0:
        raise RuntimeError("the suite itself failed; what it said is above")
    if status < 0:
        found.append((found[-1][0] + 1 if found else first, "crashed", f"ended by signal {-status}"))
    shutil.rmtree(room / f"{first}", ignore_errors=True)
    return found


def read_all(reader: Reader, name: str, first: int, stop: int, seed: int, folder: Path) -> Any:
    """Yield (number, verdict, word) of the inputs `first` to `stop - 1`."""
    warnings.simplefilter("ignore")
    folder.mkdir(parents=True)
    files = folder / "input"
    files.mkdir()
    reader.make(files)
    good = reader.read(files)  # imports what is imported late
    assert reader.right(good, good, files)
    (files / "out").mkdir(exist_ok=True)
    kept = {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    outside = sorted(os.listdir(folder))
    places = sorted({path for pattern in reader.files for path in files.glob(pattern) if path.is_file()})
    others = [kept[path] for path in places if len(kept[path]) < 100_000]
    if name.startswith("CIFAR"):
        others += hostile_pickles(str(folder / "touched"))
    watch = Watch(files)
    limit_memory(_MORE_MEMORY)
    for number in range(first, stop):
        rng = np.random.default_rng([seed, number, *name.encode()])
        if not reader.mutate(files, rng):
            path = places[int(rng.integers(len(places)))]
            path.write_bytes(mutated(kept[path], rng, others))
        how, word = verdict(lambda: reader.read(files), lambda found: reader.right(found, good, files), watch, SECONDS)
        if sorted(os.listdir(folder)) != outside:
            how, word = "acted", f"left {os.listdir(folder)}"
        yield number, how, word
        _restore(files, kept)


def _restore(files: Path, kept: dict[Path, bytes]) -> None:
    """Bring the good files back."""
    for path in [p for p in files.rglob("*") if p.is_file() and p not in kept]:
        path.unlink()
    for path, content in kept.items():
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
    shutil.rmtree(files / "out", ignore_errors=True)
    (files / "out").mkdir()
