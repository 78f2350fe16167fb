"""Every reader of files and texts that may come from elsewhere: how a good input is made and read, what answer is right."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from mutate import Rng, mutated, mutated_json, mutated_text

from thresher.coreset import Coreset
from thresher.data.cifar import load_cifar
from thresher.data.corrupt import Corruption
from thresher.data.holdout import Holdout
from thresher.data.mislabel import Mislabeling
from thresher.errors import ThresherError
from thresher.exchange import aum, cartography, ids, tdds, uids, webdataset
from thresher.experiments.defaults import parse_keeps, parse_seeds
from thresher.experiments.rundir import RunDirectory, read_result
from thresher.files import seal_of
from thresher.keep import keep_count
from thresher.large.selecting import select_file
from thresher.methods import METHODS, parse_methods, resolve
from thresher.replay import Request, open_source, replay
from thresher.score_table import ScoreFile, read_scores, write_scores
from thresher.scorers import EL2N, TDDS, Forgetting
from thresher.selectors.top import Top
from thresher.train.checkpoint import load_checkpoint, save_checkpoint
from thresher.trajectory.official import OfficialDumps
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame, Scores

SEEN = 40
CLASSES = 4


@dataclass(frozen=True)
class Reader:
    """`make(folder)` lays good files out; those that `files` matches are mutated; `read(folder)` gives an answer.

    `right(answer, good, folder)` says whether it may be given: by default only what the good files gave. Some mutate in
    a way of their own (`mutate`), which may hand `read` a text in `folder/text`.
    """

    make: Callable[[Path], object]
    read: Callable[[Path], Any]
    files: Sequence[str] = ("**/*",)
    right: Callable[[Any, Any, Path], bool] = lambda answer, good, folder: bool(answer == good)
    mutate: Callable[[Path, Rng], bool] = lambda folder, rng: False
    others: tuple[bytes, ...] = ()


def bits(array: Any) -> str | None:
    """Return what tells arrays apart: dtype, shape and contents."""
    if array is None:
        return None
    plain = np.ascontiguousarray(array)
    return f"{plain.dtype}{plain.shape}{hashlib.sha256(plain.tobytes()).hexdigest()}"


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
    forged = json.loads((folder / "trajectory" / "manifest.json").read_text()) != json.loads(
        (folder / "kept.json").read_text()
    )
    return forged or bool(answer == good)


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


# ---- official dumps


def make_dumps(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for epoch in range(3):
        np.save(folder / f"{epoch}_Output.npy", (3 * rng.normal(size=(24, CLASSES))).astype(np.float32))
        np.save(folder / f"{epoch}_Index.npy", rng.permutation(24))
    np.save(folder / "targets.npy", np.arange(24) % CLASSES)


def read_dumps(folder: Path) -> Any:
    source = OfficialDumps(folder, threads=1)
    entropies = [frame.values["entropy"] for frame in source.frames(["entropy", "change"])]
    return [source.n, source.num_classes, np.stack(entropies), source.targets]


def right_dumps(answer: Any, good: Any, folder: Path) -> bool:
    """Compare with what NumPy reads, in double precision."""
    n, classes, entropies, targets = answer
    for epoch, found in enumerate(entropies):
        logits = np.load(folder / f"{epoch}_Output.npy").astype(np.float64)
        order = np.load(folder / f"{epoch}_Index.npy")
        if logits.shape != (n, classes) or sorted(order.tolist()) != list(range(n)):
            return False
        shifted = logits - logits.max(axis=1, keepdims=True)
        probs = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        wanted = np.empty(n)
        wanted[order] = -(probs * np.log(np.maximum(probs, 1e-300))).sum(axis=1)
        if not np.allclose(found, wanted, atol=1e-4):
            return False
    there = (folder / "targets.npy").is_file()
    return np.array_equal(targets, np.load(folder / "targets.npy")) if there else targets is None


# ---- CIFAR


def make_cifar(folder: Path) -> None:
    rng = np.random.default_rng(0)
    inner = folder / "cifar-10-batches-py"
    inner.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        held = {
            b"data": rng.integers(0, 256, (3, 3072), dtype=np.uint8),
            b"labels": [0, 1, 2],
            b"batch_label": name.encode(),
        }
        (inner / name).write_bytes(pickle.dumps(held, protocol=2))
    meta = {b"label_names": [f"class {i}".encode() for i in range(10)], b"num_vis": 3072}
    (inner / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))


def read_cifar(folder: Path) -> Any:
    data = load_cifar("cifar10", folder)
    train, test = data.train, data.test
    return [bits(s.images.numpy()) for s in (train, test)], [s.targets.tolist() for s in (train, test)], data.class_names  # type: ignore[attr-defined]


def right_cifar(answer: Any, good: Any, folder: Path) -> bool:
    """Pixels and names carry no checksum there, so another picture is a right answer; another kind of answer is none."""
    (train, _), (labels, test_labels), names = answer
    return (
        train.startswith(f"uint8({len(labels)}, 3, 32, 32)")
        and all(isinstance(name, str) for name in names)
        and all(0 <= label < len(names) for label in labels + test_labels)
    )


def make_archive(folder: Path) -> None:
    make_cifar(folder)
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(folder / "cifar-10-batches-py", "cifar-10-batches-py")
    (folder / "cifar-10-batches-py").rename(folder / "apart")


def _tuples(depth: int) -> bytes:
    """Return a pickle of a dict whose key is a tuple of the same tuple twice, and so on: hashing it would take for ever."""
    return b"\x80\x02}" + b"N" + b"q\x00h\x00h\x00\x86" * depth + b"K\x01s."


def hostile_pickles(touched: str) -> tuple[bytes, ...]:
    """Return pickles that would do harm: make a folder, run a command, import, set attributes, take time or memory."""

    class Touch:
        def __reduce__(self) -> Any:
            import os

            return os.mkdir, (touched,)

    calls = [f"cposix\nsystem\n(S'mkdir {touched}'\ntR.", f'cbuiltins\neval\n(S\'__import__("os").mkdir("{touched}")\'\ntR.']
    calls += [f"cnumpy\nload\n(S'{touched}'\ntR.", "cnumpy\ndtype\n(S'O'\ntR.", "c_codecs\nencode\n(S'x'\ntR."]
    heavy = [b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f", b"\x80\x02\x8a" + b"\xff" * 5, b"\x80\x02r" + b"\xff" * 4 + b"N."]
    heavy += [
        b"\x80\x02" + b"(" * 5000,
        b"\x80\x02" + b"]" + b"]a" * 3000 + b".",
        _tuples(60),
        b"\x80\x04(" + _tuples(60)[2:-3] + b"\x91.",
    ]
    nested = b"\x80\x02]" + b"q\x00]h\x00ah\x00a" * 60 + b"."
    return (*(pickle.dumps(Touch(), p) for p in (0, 2, 4)), *(c.encode() for c in calls), *heavy, nested)


# ---- files of other tools


def make_foreign(folder: Path) -> None:
    kept = Coreset(np.arange(0, 36, 4), np.linspace(0.5, 2, 9, dtype=np.float32), SEEN)
    scores = Scores(np.random.default_rng(0).random(SEEN, dtype=np.float32), "low")
    ids.write_csv(kept, folder / "kept.csv")
    ids.write_npy(kept, folder / "kept.npy")
    tdds.write_pair(kept, scores, folder, 10, 30)
    aum.write_aum(scores, folder / "aum_values.csv")
    pool = uids.parse_uids([f"{i * 7919:032x}" for i in range(SEEN)])
    (folder / "pool.txt").write_text("\n".join(f"{i * 7919:032x}" for i in range(SEEN)))
    uids.write_uids(kept, pool, folder / "uids.npy")
    make_store(folder / "recording")
    cartography.write_dynamics(Trajectory.open(folder / "recording" / "trajectory"), folder / "cartography")
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for i in range(6):
            for suffix in ("png", "cls"):
                info = tarfile.TarInfo(f"train/{i:04d}.{suffix}")
                info.size = 5
                tar.addfile(info, io.BytesIO(b"%05d" % i))
    (folder / "which").write_text("kept.csv")


FOREIGN = (
    "kept.csv", "kept.npy", "data_mask_win10_ep30.npy", "score_win10_ep30.npy", "aum_values.csv", "pool.txt", "uids.npy",
    "cartography/training_dynamics/dynamics_epoch_1.jsonl", "shard.tar",
)  # fmt: skip


def mutate_foreign(folder: Path, rng: Rng) -> bool:
    name = FOREIGN[int(rng.integers(len(FOREIGN)))]
    path = folder / name
    path.write_bytes(mutated(path.read_bytes(), rng, hostile_tars()))
    (folder / "which").write_text(name)
    return True


def hostile_tars() -> tuple[bytes, ...]:
    """Return shards with members that lead out of the folder, links, devices and sizes that are not so."""
    made = []
    for name, kind in (("../out.png", tarfile.REGTYPE), ("/tmp/out.png", tarfile.REGTYPE), ("a.png", tarfile.SYMTYPE),
                       ("b.png", tarfile.LNKTYPE), ("c.png", tarfile.CHRTYPE), ("d.png", tarfile.DIRTYPE)):  # fmt: skip
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info, io.BytesIO(b""))
        made.append(stream.getvalue())
    return tuple(made)


def read_foreign(folder: Path) -> Any:
    name = (folder / "which").read_text()
    kept = Coreset(np.arange(0, 6, 2), None, 6)
    if name == "kept.csv":
        return [name, ids.read_csv(folder / name, SEEN)]
    if name == "kept.npy":
        return [name, ids.read_npy(folder / name, SEEN)]
    if "win10" in name:
        found = tdds.read_pair(folder / FOREIGN[2], folder / FOREIGN[3])
        return [name, found, tdds.read_mask(folder / FOREIGN[2], 0.5)]
    if name == "aum_values.csv":
        return [name, aum.read_aum(folder / name, SEEN)]
    if name in ("pool.txt", "uids.npy"):
        return [name, uids.read_uids(folder / "uids.npy", uids.read_pool(folder / "pool.txt"))]
    if name == "shard.tar":
        return [name, len(webdataset.reshard(kept, [folder / name], folder / "out" / "shards", force=True))]
    out = folder / "out" / "dumps"
    guids = cartography.dynamics_to_dumps(folder / "cartography", out, force=True)
    return [name, guids, OfficialDumps(out, threads=1)]


def right_foreign(answer: Any, good: Any, folder: Path) -> bool:
    """Compare with what the plainest reading of the same file gives."""
    name, found, *more = answer
    if name == "kept.csv":
        lines = [line.split(",") for line in (folder / name).read_text("utf-8-sig").splitlines()]
        column = lines[0].index("sample_id") if '"' not in lines[0] else 0
        return (
            '"' in (folder / name).read_text()
            or sorted(int(line[column]) for line in lines[1:] if line != [""]) == found.ids.tolist()
        )
    if name == "kept.npy":
        array = np.load(folder / name)
        return np.array_equal(np.sort(np.flatnonzero(array) if array.dtype == bool else array), found.ids)
    if "win10" in name:
        order, values = np.load(folder / FOREIGN[2]), np.load(folder / FOREIGN[3])
        return np.array_equal(found.values[order], values.astype(np.float32), equal_nan=True) and set(more[0].ids) <= set(
            order
        )
    if name == "aum_values.csv":
        return len(found.values) == SEEN and found.hard_end == "low"
    if name in ("pool.txt", "uids.npy"):
        pool = (folder / "pool.txt").read_text().split()
        pairs = np.load(folder / "uids.npy")
        return sorted(f"{a:016x}{b:016x}" for a, b in pairs.tolist()) == sorted(pool[i].lower() for i in found.ids)
    if name == "shard.tar":
        return bool(found == 1)
    return sorted(map(str, found)) == sorted(map(str, range(SEEN))) or len(found) == more[0].n


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
        result = read_result(folder / "run" / "results" / "one.json")
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


READERS = {
    "store": Reader(
        make_store,
        score_store,
        ("trajectory/*.json", "trajectory/*.parquet", "trajectory/*/*.parquet"),
        right_store,
        forge_store,
    ),
    "score table": Reader(make_scores, read_table, ("scores.parquet",)),
    "selection from a score table": Reader(make_scores, select_table, ("scores.parquet",)),
    "coreset": Reader(make_coreset, read_coreset, ("coreset.parquet", "coreset.parquet.json"), right_coreset, forge_coreset),
    "official dumps": Reader(make_dumps, read_dumps, ("*.npy",), right_dumps),
    "CIFAR files": Reader(make_cifar, read_cifar, ("*/*",), right_cifar),
    "CIFAR archive": Reader(make_archive, read_cifar, ("*.tar.gz",)),
    "files of other tools": Reader(make_foreign, read_foreign, (), right_foreign, mutate_foreign),
    "run directory": Reader(make_run, read_run, ("run/spec.json", "run/results/*", "run/checkpoints/*"), right_run),
    "specs": Reader(make_spec, read_spec, (), right_spec, mutate_spec),
}
__all__ = ["READERS", "Reader", "ThresherError", "hostile_pickles"]
