"""The readers of our own files and texts: how a good input is made and read, and what answer is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from mutate import Rng, mutated_json, mutated_text
from reader import CLASSES, SEEN, bits

from thresher.coreset import Coreset
from thresher.data.corrupt import Corruption
from thresher.data.holdout import Holdout
from thresher.data.mislabel import Mislabeling
from thresher.experiments.defaults import parse_keeps, parse_seeds
from thresher.experiments.rundir import RunDirectory, read_training
from thresher.files import seal_of
from thresher.keep import keep_count
from thresher.large.selecting import select_file
from thresher.methods import METHODS, parse_methods, resolve
from thresher.replay import Request, open_source, replay
from thresher.score_file import ScoreFile
from thresher.score_table import read_scores, write_scores
from thresher.scorers import EL2N, TDDS, Forgetting
from thresher.selectors.top import Top
from thresher.train.checkpoint import load_checkpoint, save_checkpoint
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame, Scores

# ---- a store


def make_store(folder: Path) -> None:
    names = ("correct", "error_norm", "change")
    ids_ = np.arange(SEEN)
    info = {"data": "digits", "fingerprint": "f" * 16}
    with TrajectoryWriter.create(
        folder / "trajectory", SEEN, CLASSES, names, bucket_size=16, logits="float16", info=info
    ) as writer:
        for epoch in range(4):
            rng = np.random.default_rng(epoch)
            values = dict(zip(names, rng.random((3, SEEN)).astype(np.float32), strict=True))
            values["correct"] = np.round(values["correct"])
            logits = rng.normal(size=(SEEN, CLASSES)).astype(np.float32)
            frame = Frame(epoch, ids_, values, SEEN)
            features = rng.random((SEEN, 2)).astype(np.float32) if epoch == 3 else None
            writer.append(frame, logits, targets=ids_ % CLASSES, features=features)
    (folder / "kept.json").write_bytes((folder / "trajectory" / "manifest.json").read_bytes())


REQUESTS = [Request("tdds", TDDS(window=3)), Request("el2n", EL2N(epochs=4)), Request("forgetting", Forgetting())]


def score_store(folder: Path) -> dict[str, Any]:
    """Return everything that a store tells."""
    source = open_source(folder)
    assert isinstance(source, Trajectory)
    scores = replay(source, REQUESTS)
    told = [source.n, source.num_classes, source.epochs, source.signals, dict(source.info)]
    return {
        **{name: bits(one.values) for name, one in scores.items()},
        "targets": bits(source.targets),
        "features": bits(source.features),
        "logits": bits(source.logits(1)),
        "told": json.dumps(told),
    }


def forge_store(folder: Path, rng: Rng) -> bool:
    """Now and then write a manifest that tells another story under the right seal, as somebody could."""
    if rng.random() > 0.2:
        return False
    path = folder / "trajectory" / "manifest.json"
    raw = json.loads(path.read_text())
    del raw["seal"]
    raw = mutated_json(raw, rng)
    path.write_text(json.dumps({**raw, "seal": seal_of(raw)} if isinstance(raw, dict) else raw))
    return True


def right_store(answer: Any, good: Any, folder: Path) -> bool:
    """Somebody who forges a whole manifest, seal and checksums, may tell another story; anything else may not."""
    raw, kept = (json.loads((folder / name).read_text()) for name in ("trajectory/manifest.json", "kept.json"))
    forged = raw != kept and raw.get("seal") in (None, seal_of(raw))  # stores of the first days have none
    return bool(forged or answer == good)


# ---- scores


def make_scores(folder: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {
        "tdds": Scores(rng.random(SEEN, dtype=np.float32), "high", {"scorer": "tdds", "at": 4}),
        "aum": Scores(rng.random(SEEN, dtype=np.float32), "low", {"scorer": "aum"}),
    }
    write_scores(folder / "scores.parquet", columns, np.arange(SEEN) % CLASSES, {"data": "digits", "fingerprint": "f" * 16})


def read_table(folder: Path) -> dict[str, Any]:
    table = read_scores(folder / "scores.parquet")
    columns = {name: [bits(one.values), one.hard_end, dict(one.source)] for name, one in table.columns.items()}
    return {"columns": columns, "targets": bits(table.targets), "n": table.n, "info": dict(table.info)}


def select_table(folder: Path) -> Any:
    out = folder / "out" / "coreset.parquet"
    count = select_file(ScoreFile.open(folder / "scores.parquet"), "tdds", out, 0.3, Top())
    kept = Coreset.load(out)
    return [count, kept.ids.tolist(), kept.n, dict(kept.source)]


# ---- coresets


def make_coreset(folder: Path) -> None:
    weights = np.linspace(0.5, 2, 9, dtype=np.float32)
    source = {"method": "tdds", "keep": 0.3, "fingerprint": "f" * 16}
    Coreset(np.arange(0, 36, 4), weights, SEEN, source).save(folder / "coreset.parquet")
    Coreset(np.arange(0, 36, 4), weights, SEEN, source).save(folder / "good.parquet")


def read_coreset(folder: Path) -> Any:
    kept = Coreset.load(folder / "coreset.parquet")
    return [kept.ids.tolist(), bits(kept.weights), kept.n, json.dumps(dict(kept.source))]


def forge_coreset(folder: Path, rng: Rng) -> bool:
    """Now and then write a coreset with odd provenance under the right seal, as somebody could."""
    if rng.random() > 0.3:
        return False
    table = pq.read_table(pa.BufferReader((folder / "good.parquet").read_bytes()))
    info = json.loads(table.schema.metadata[b"thresher"])
    del info["seal"]
    info = mutated_json(info, rng)
    if isinstance(info, dict):
        info["seal"] = seal_of(info)
    path = folder / "coreset.parquet"
    pq.write_table(table.replace_schema_metadata({"thresher": json.dumps(info)}), path)
    (folder / "coreset.parquet.json").unlink(missing_ok=True)
    return True


def right_coreset(answer: Any, good: Any, folder: Path) -> bool:
    if (folder / "coreset.parquet.json").is_file():
        return bool(answer == good)
    ids_, weights, n, _ = answer  # it came with another story, but ids and weights are those of its checksum
    return ids_ == good[0] and weights == good[1] and isinstance(n, int) and n > max(ids_)


# ---- what a run leaves


def make_run(folder: Path) -> None:
    with RunDirectory(folder / "run", {"data": "digits", "surrogate": {"epochs": 2, "model": "tiny"}, "seed": 1}):
        result = {
            "method": "el2n",
            "seed": 0,
            "kept": 9,
            "keep": 0.1,
            "test_accuracy": 0.5,
            "seconds": 1.5,
            "train": {"lr": 0.1},
        }
        (folder / "run" / "results" / "one.json").write_text(json.dumps(result))
    save_checkpoint(
        folder / "run" / "checkpoints" / "surrogate.safetensors",
        {
            "epoch": 3,
            "model": {"w": torch.arange(12.0).reshape(3, 4)},
            "recorder": {"seen": np.arange(5), "names": ["a", "b"]},
        },
    )


def read_run(folder: Path) -> Any:
    with RunDirectory(folder / "run", {"data": "digits", "surrogate": {"epochs": 2, "model": "tiny"}, "seed": 1}):
        result = read_training(folder / "run" / "results" / "one.json")
        state = load_checkpoint(folder / "run" / "checkpoints" / "surrogate.safetensors")
    return result, _plain(state)


def right_run(answer: Any, good: Any, folder: Path) -> bool:
    """A result is JSON that people may edit: whole, and of numbers; a checkpoint is what was saved."""
    result, state = answer
    whole = all(isinstance(result[key], int | float) for key in ("seed", "kept", "keep", "test_accuracy", "seconds"))
    return whole and isinstance(result["method"], str) and state == good[1]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return bits(value.numpy()) if isinstance(value, torch.Tensor) else value


# ---- specs


def _method(text: str) -> Any:
    return [
        (m.name, m.scorer.params(), m.at, sorted(m.aux_scorers)) for m in (
            resolve(label, "cifar10", 0.1, epochs_available=30) for label in parse_methods(text)
        )
    ]  # fmt: skip


SPECS: dict[str, tuple[Callable[[str], Any], tuple[str, ...]]] = {
    "methods": (
        _method,
        ("tdds:window=5:at=10", "ccs:cutoff=0.2", "el2n:selector=stratified,aum", "tdds:at=auto", "dual", "all"),
    ),
    "corrupt": (Corruption.parse, ("intended:share=0.06:fog=0.2", "published-code:seed=3")),
    "mislabel": (Mislabeling.parse, ("0.2", "0.4:seed=7")),
    "holdout": (Holdout.parse, ("0.1:seed=2", "0.25")),
    "keep": (partial(keep_count, 1437), ("0.1", "500", "1.0", "1e-2")),
    "keeps": (parse_keeps, ("0.1,0.2", "100,1.0")),
    "seeds": (parse_seeds, ("0-4", "0,7,12", "3")),
}
WORDS = (
    *METHODS,
    "window",
    "at",
    "keep",
    "seed",
    "share",
    "cutoff",
    "selector",
    "auto",
    "epochs",
    "decay",
    "0.5",
    "1e9",
    "-1",
    "=5",
    ":at=",
)


def make_spec(folder: Path) -> None:
    (folder / "text").write_text(json.dumps(["keep", "0.1"]))


def mutate_spec(folder: Path, rng: Rng) -> bool:
    kind = list(SPECS)[int(rng.integers(len(SPECS)))]
    texts = SPECS[kind][1]
    text = mutated_text(texts[int(rng.integers(len(texts)))], rng, WORDS)
    (folder / "text").write_text(json.dumps([kind, text]))
    return True


def read_spec(folder: Path) -> Any:
    kind, text = json.loads((folder / "text").read_text())
    return kind, SPECS[kind][0](text)


def right_spec(answer: Any, good: Any, folder: Path) -> bool:
    """What was understood is in range, and understood the same way again."""
    kind, found = answer
    if kind in ("corrupt", "mislabel", "holdout"):
        again = type(found).parse(str(found)) if "__str__" in vars(type(found)) else found
        return bool(again == found)
    if kind == "keep":
        return 1 <= found <= 1437
    if kind == "keeps":
        return len(found) > 0 and all(0 < keep_count(1437, one) <= 1437 for one in found if 0 < one <= 1)
    if kind == "seeds":
        return len(found) > 0 and all(isinstance(seed, int) and seed >= 0 for seed in found)
    return len(found) > 0 and bool(read_spec(folder)[1] == found)
