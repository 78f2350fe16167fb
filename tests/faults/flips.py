"""Every byte of a store flipped in turn: seen by `verify`, named, and never another score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ours import make_store, score_store

from thresher.errors import ThresherError
from thresher.trajectory.reader import Trajectory


def run_flips(every: int, seed: int, folder: Path) -> dict[str, Any]:
    """Flip a random bit of every `every`-th byte of every file; return how many, and how many were not seen or misled."""
    make_store(folder)
    store = folder / "trajectory"
    rng, good = np.random.default_rng(seed), score_store(folder)
    plain = json.loads((store / "manifest.json").read_text())
    keys = ("flips", "files", "seen_by_verify", "harmless", "refused_by_scoring", "not_seen", "not_named", "wrong")
    counts = dict.fromkeys(keys, 0)
    told: list[str] = []
    for path in sorted(p for p in store.rglob("*") if p.suffix in (".json", ".parquet")):
        content = path.read_bytes()
        counts["files"] += 1
        for position in range(int(rng.integers(every)), len(content), every):
            changed = bytearray(content)
            changed[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(changed)
            counts["flips"] += 1
            name = str(path.relative_to(store))
            how = _seen(store, name, plain)
            counts[how] += 1
            if how == "not_seen":
                told.append(f"{name}, byte {position}: not seen")
            try:
                found = score_store(folder)
            except ThresherError as error:
                counts["refused_by_scoring"] += 1
                if name not in str(error):
                    counts["not_named"] += 1
                    told.append(f"{name}, byte {position}: not named in {error}")
            else:
                if found != good:
                    counts["wrong"] += 1
                    told.append(f"{name}, byte {position}: another answer")
        path.write_bytes(content)
    return {**counts, "every": every, "told": told[:40]}


def _seen(store: Path, name: str, plain: Any) -> str:
    """Return whether a complete check notices; white space and spellings of the manifest that mean the same are harmless."""
    try:
        Trajectory.open(store).verify()
    except ThresherError as error:
        return "seen_by_verify" if name in str(error) else "not_seen"
    try:
        same = json.loads((store / "manifest.json").read_text()) == plain
    except ValueError:
        same = False
    return "harmless" if name == "manifest.json" and same else "not_seen"
