"""The readers of files of other tools: how a good input is made and read, and what answer is right."""

from __future__ import annotations

import csv
import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from mutate import Rng, mutated
from ours import make_store
from reader import CLASSES, SEEN, bits

from thresher.coreset import Coreset
from thresher.data.cifar import load_cifar
from thresher.exchange import aum, cartography, ids, tdds, uids, webdataset
from thresher.trajectory.official import OfficialDumps
from thresher.trajectory.reader import Trajectory
from thresher.types import Scores

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


def _tuples(depth: int, key: bool = True) -> bytes:
    """A pickled dict with a tuple of the same tuple twice, and so on; as a key, hashing it would take for ever."""
    nested = b"N" + b"q\x00h\x00\x86" * depth
    return b"\x80\x02}" + (nested + b"K\x01s." if key else b"U\x01a" + nested + b"s.")


def hostile_pickles(touched: str) -> tuple[bytes, ...]:
    """Return pickles that would do harm: make a folder, run a command, import, set attributes, take time or memory."""

    class Touch:
        def __reduce__(self) -> Any:
            import os

            return os.mkdir, (touched,)

    calls = [f"cposix\nsystem\n(S'mkdir {touched}'\ntR.", f'cbuiltins\neval\n(S\'__import__("os").mkdir("{touched}")\'\ntR.']
    calls += [f"cnumpy\nload\n(S'{touched}'\ntR.", "cnumpy\ndtype\n(S'O'\ntR.", "c_codecs\nencode\n(S'x'\ntR."]
    heavy = [b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f", b"\x80\x02\x8a" + b"\xff" * 5, b"\x80\x02r" + b"\xff" * 4 + b"N."]
    heavy += [b"\x80\x02" + b"(" * 5000, b"\x80\x02" + b"]" + b"]a" * 3000 + b".", _tuples(60), _tuples(60, key=False)]
    heavy += [b"\x80\x04}\x8c\x01a\x8f(" + _tuples(60)[3:-4] + b"\x90s."]  # the same in a set
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
    OfficialDumps(out, threads=1)
    return [name, guids]


def right_foreign(answer: Any, good: Any, folder: Path) -> bool:
    """Compare with what the plainest reading of the same file gives."""
    name, found, *more = answer
    if name in ("kept.csv", "aum_values.csv"):
        head, *rows = csv.reader(io.StringIO((folder / name).read_bytes().decode("utf-8-sig"), newline=""))
        columns = {title.strip(): [row[place] for row in rows if row] for place, title in enumerate(head)}
        places = [int(text) for text in columns["sample_id"]]
        if name == "kept.csv":
            return sorted(places) == found.ids.tolist()
        values = np.full(SEEN, np.nan, dtype=np.float32)
        values[places] = [float(text) for text in columns["aum"]]
        return np.array_equal(found.values, values, equal_nan=True) and found.hard_end == "low"
    if name == "kept.npy":
        array = np.load(folder / name)
        return np.array_equal(np.sort(np.flatnonzero(array) if array.dtype == bool else array), found.ids)
    if "win10" in name:
        order, values = np.load(folder / FOREIGN[2]), np.load(folder / FOREIGN[3])
        return np.array_equal(found.values[order], values.astype(np.float32), equal_nan=True) and set(more[0].ids) <= set(
            order
        )
    if name in ("pool.txt", "uids.npy"):
        pool = (folder / "pool.txt").read_text().split()
        pairs = np.load(folder / "uids.npy")
        return sorted(f"{a:016x}{b:016x}" for a, b in pairs.tolist()) == sorted(pool[i].lower() for i in found.ids)
    if name == "shard.tar":
        return bool(found == 1)
    lines = [json.loads(line) for line in (folder / name).read_bytes().split(b"\n") if line.strip()]
    logits, order = (np.load(folder / "out" / "dumps" / f"1_{kind}.npy") for kind in ("Output", "Index"))
    shown = np.array([line["logits_epoch_1"] for line in lines], dtype=np.float32)
    return [found[i] for i in order.tolist()] == [line["guid"] for line in lines] and np.array_equal(logits, shown)
