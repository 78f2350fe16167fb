"""Coresets in the files of other tools: what goes out comes back, and what is foreign, cut off or hostile is refused."""

from __future__ import annotations

import csv
import gzip
import io
import os
import shutil
import sys
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from thresher.coreset import Coreset
from thresher.data import Indexed, load
from thresher.errors import (
    CorruptFileError,
    FingerprintError,
    InputError,
    MissingFileError,
    RunDirectoryError,
    SampleIdError,
    ThresherError,
)
from thresher.exchange.folders import export_folder
from thresher.exchange.ids import read_csv, read_npy, write_csv, write_npy
from thresher.exchange.place import MARK, all_or_none, check_apart, check_inside, check_parquet, new_folder
from thresher.exchange.samples import mark_rows, of_rows, sampler, select_rows
from thresher.exchange.tdds import read_mask, read_pair, subset_rate, write_pair
from thresher.exchange.uids import parse_uids, read_pool, read_uids, write_uids
from thresher.exchange.webdataset import keys, reshard
from thresher.score_table import write_scores
from thresher.tracking import open_tracker
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame, Scores

N = 60
DIGITS = load("digits").train
RNG = np.random.default_rng(0)
SCORES = Scores(RNG.random(N).astype(np.float32), source={"scorer": "tdds", "params": {"window": 10}, "at": 30})
KEPT = Coreset(np.sort(np.argsort(SCORES.values)[-12:]), None, N, {"scorer": dict(SCORES.source)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty digits as real pictures in class folders, and six to test on."""
    root = tmp_path_factory.mktemp("pictures")
    for i in range(N + 10):
        place = root / ("train" if i < N else "val") / str(int(DIGITS.targets[i]))
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS.image(i)[..., 0]).save(place / f"{i:03d}.png")
    return root


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same digits as three WebDataset shards of twenty: a picture and its class a sample."""
    root = tmp_path_factory.mktemp("shards")
    for shard in range(3):
        with tarfile.open(root / f"digits-{shard}.tar", "w") as tar:
            for i in range(20 * shard, 20 * shard + 20):
                picture = io.BytesIO()
                Image.fromarray(DIGITS.image(i)[..., 0]).save(picture, "PNG")
                add(tar, f"train/d{i:03d}.image.png", picture.getvalue())
                add(tar, f"train/d{i:03d}.cls", str(int(DIGITS.targets[i])).encode())
    return sorted(root.glob("*.tar"))


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def contents(paths: list[Path]) -> dict[str, bytes]:
    found = {}
    for path in paths:
        with tarfile.open(path) as tar:
            found |= {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    return found


def same(one: Coreset, other: Coreset) -> bool:
    return one.digest == other.digest and one.n == other.n


@pytest.mark.parametrize("weighted", [False, True])
def test_csv_there_and_back(tmp_path: Path, weighted: bool) -> None:
    coreset = Coreset(KEPT.ids, RNG.random(12).astype(np.float32) if weighted else None, N)
    write_csv(coreset, tmp_path / "a.csv")
    assert same(read_csv(tmp_path / "a.csv", N), coreset)


def test_npy_there_and_back_also_as_a_mask(tmp_path: Path) -> None:
    write_npy(KEPT, tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), KEPT.ids)
    np.save(tmp_path / "mask.npy", KEPT.mask)
    np.save(tmp_path / "shuffled.npy", KEPT.ids[::-1].astype(np.uint16))
    assert all(same(read_npy(tmp_path / name, N), KEPT) for name in ("a.npy", "mask.npy", "shuffled.npy"))


def test_the_official_pair_keeps_exactly_the_coreset(tmp_path: Path) -> None:
    """Read as data_subset.py reads it, for TDDS's own choice and for one that TDDS would not make."""
    for coreset in (KEPT, Coreset(np.arange(0, N, 7), None, N)):
        out = tmp_path / str(len(coreset))
        rate = write_pair(coreset, SCORES, out, 10, 30)
        mask, scores = np.load(out / "data_mask_win10_ep30.npy"), np.load(out / "score_win10_ep30.npy")
        np.testing.assert_array_equal(np.sort(mask[int(rate * len(mask)) :]), coreset.ids)
        assert all(scores[np.where(mask == i)] == SCORES.values[i] for i in range(N))
        np.testing.assert_array_equal(read_pair(*sorted(out.iterdir())).values, SCORES.values)
        assert same(read_mask(out / "data_mask_win10_ep30.npy", rate), coreset)
    np.testing.assert_array_equal(np.load(tmp_path / "12" / "data_mask_win10_ep30.npy"), np.argsort(SCORES.values))


def test_a_pair_is_written_as_one_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pair(KEPT, SCORES, tmp_path, 10, 30)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    whole = np.save

    def full(file: Any, array: Any, **options: Any) -> None:
        if array.dtype.kind == "f":
            raise OSError(28, "No space left on device")
        whole(file, array, **options)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space"):
        write_pair(KEPT, Scores(-SCORES.values), tmp_path, 10, 30, force=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_every_count_has_its_subset_rate() -> None:
    assert all(int(subset_rate(n, k) * n) == n - k for n in (60, 1437, 50_000) for k in range(1, n + 1, max(1, n // 997)))


@pytest.mark.parametrize("kind", ["txt", "csv", "npy", "parquet"])
def test_uids_as_the_resharder_reads_them(tmp_path: Path, kind: str) -> None:
    texts = [bytes(RNG.integers(0, 256, 16, dtype=np.uint8)).hex() for _ in range(N)]
    pool = tmp_path / f"pool.{kind}"
    if kind == "npy":
        np.save(pool, parse_uids(texts))
    elif kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"uid": texts}), pool)
    else:
        pool.write_text("\n".join((["uid"] if kind == "csv" else []) + texts) + "\n")
    write_uids(KEPT, read_pool(pool), tmp_path / "kept.npy")
    read = np.load(tmp_path / "kept.npy")
    assert read.dtype == np.dtype("u8,u8")
    assert [f"{a:016x}{b:016x}" for a, b in read.tolist()] == sorted(texts[i] for i in KEPT.ids)
    assert same(read_uids(tmp_path / "kept.npy", read_pool(pool)), KEPT)
    with pytest.raises(SampleIdError, match="12 are not in it"):
        read_uids(tmp_path / "kept.npy", parse_uids(["0" * 32] * N))


def test_a_uid_that_two_samples_have_stands_for_neither(tmp_path: Path) -> None:
    pool = parse_uids([f"{number:032x}" for number in (5, 3, 3, 9)])
    with pytest.raises(SampleIdError, match=r"two samples have 0{31}3"):
        write_uids(Coreset(np.array([2]), None, 4), pool, tmp_path / "kept.npy")
    assert not (tmp_path / "kept.npy").exists()
    np.save(tmp_path / "kept.npy", pool[[1]])
    with pytest.raises(SampleIdError, match=r"two samples have 0{31}3"):
        read_uids(tmp_path / "kept.npy", pool)
    write_uids(Coreset(np.array([0, 3]), None, 4), pool, tmp_path / "others.npy")
    assert read_uids(tmp_path / "others.npy", pool).ids.tolist() == [0, 3]


def test_shards_keep_keys_names_and_bytes(shards: list[Path], tmp_path: Path) -> None:
    written = reshard(KEPT, shards, tmp_path / "out", per_shard=5)
    assert [path.name for path in written] == ["000000.tar", "000001.tar", "000002.tar"]
    before = contents(shards)
    assert contents(written) == {n: c for n, c in before.items() if int(n[7:10]) in KEPT.ids}
    assert keys(written) == [f"train/d{i:03d}" for i in KEPT.ids]
    assert [len(keys([path])) for path in written] == [5, 5, 2]
    with tarfile.open(written[0]) as tar:
        assert {(member.mode, member.mtime, member.uid) for member in tar} == {(0o644, 0, 0)}
    assert same(Coreset.load(tmp_path / "out" / "exported-coreset.parquet"), KEPT)
    again = reshard(KEPT, shards, tmp_path / "again", per_shard=5)
    assert [a.read_bytes() for a in again] == [w.read_bytes() for w in written]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # that package leaves its shards open
def test_the_webdataset_package_reads_them(shards: list[Path], tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    written = reshard(KEPT, shards, tmp_path / "out", per_shard=7)
    samples = list(wds.WebDataset([str(p) for p in written], shardshuffle=False))
    assert [s["__key__"] for s in samples] == [f"train/d{i:03d}" for i in KEPT.ids]
    assert [int(s["cls"]) for s in samples] == DIGITS.targets[KEPT.ids].tolist()
    assert [s["__key__"] for s in wds.WebDataset([str(p) for p in shards], shardshuffle=False)] == keys(shards)


ODD_NAMES = [
    "0001.jpg", "0001.cls", "._0001.jpg", "a/0002.JPG", "a/0002.cls", "a/._0002.jpg", "b.d/0003.jpg", "./0004.jpg",
    "dir.x/0005.cls", "dir.x/0005.jpg", "0006", " 0007.txt", "__m__", "__x__/a.jpg", "y/__x__/a.jpg", "0008.", ".0009",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # that package leaves its shards open
def test_keys_of_odd_names_are_those_of_the_webdataset_package(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "odd.tar", "w") as tar:
        for name in ODD_NAMES:
            add(tar, name, b"1")
    found = keys([tmp_path / "odd.tar"])
    assert found == ["0001", "a/0002", "a/", "b.d/0003", "./0004", "dir.x/0005", " 0007", "y/__x__/a", "0008"]
    webdataset = pytest.importorskip("webdataset")
    assert found == [sample["__key__"] for sample in webdataset.WebDataset(str(tmp_path / "odd.tar"), shardshuffle=False)]


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "a/../../out.png", "a\\..\\out.png"])
def test_members_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        add(tar, "0.png", b"x")
        add(tar, name, b"x")
    with pytest.raises(InputError, match="leads out of the folder"):
        reshard(Coreset(np.array([0]), None, 2), [tmp_path / "bad.tar"], tmp_path / "sub" / "out")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["bad.tar", "sub"]


def test_shards_cut_off_anywhere_are_refused(shards: list[Path], tmp_path: Path) -> None:
    whole = shards[0].read_bytes()
    for size in [0, 100, 512, 700, 5000, *RNG.integers(1, 20_000, 12).tolist()]:
        (tmp_path / "cut.tar").write_bytes(whole[:size])
        with pytest.raises((CorruptFileError, FingerprintError)):
            reshard(KEPT, [tmp_path / "cut.tar", *shards[1:]], tmp_path / "out")
        assert not (tmp_path / "out").exists()
    for start in RNG.integers(0, 600, 8).tolist():  # damaged rather than cut off
        (tmp_path / "cut.tar").write_bytes(
            whole[:start] + bytes(RNG.integers(0, 256, 80, dtype=np.uint8)) + whole[start + 80 :]
        )
        try:
            reshard(KEPT, [tmp_path / "cut.tar", *shards[1:]], tmp_path / "o", force=True)
        except ThresherError as error:
            assert "cut" in str(error)  # noqa: PT017  # a hit in the pictures alone goes unnoticed: tar has no checksum there


def test_what_is_no_pool_or_subset_file_is_refused(tmp_path: Path) -> None:
    for name, content in (
        ("a.txt", b"xyz\n"),
        ("b.txt", bytes(range(128, 256))),
        ("c.csv", b"id\n1\n"),
        ("d.parquet", b"PAR1"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises((InputError, CorruptFileError), match=r"uid|cannot be read|columns"):
            read_pool(tmp_path / name)
    pool = parse_uids([f"{i:032x}" for i in range(N)])
    for other in (pool[1:], np.append(pool, pool[:1])):
        with pytest.raises(FingerprintError):
            write_uids(KEPT, other, tmp_path / "kept.npy")
    np.save(tmp_path / "ids.npy", KEPT.ids)
    with pytest.raises(CorruptFileError, match="u8,u8"):
        read_uids(tmp_path / "ids.npy", pool)


def test_a_sample_of_a_pool_without_a_uid_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"uid": ["ab" * 16, None]}), tmp_path / "pool.parquet")
    with pytest.raises(InputError, match=r"32 hexadecimal digits in .*, but row 1 is ''"):
        read_pool(tmp_path / "pool.parquet")


def test_foreign_shards_are_refused(shards: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FingerprintError, match="the shards hold 40"):
        reshard(KEPT, shards[:2], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["symlink", "copy"])
def test_folders_hold_exactly_the_kept_pictures(folder: Path, tmp_path: Path, how: Any) -> None:
    train: Any = load("folder", folder, image_size=8).train
    assert export_folder(KEPT, train, tmp_path / "out", how=how) == 12
    found = sorted(p.relative_to(tmp_path / "out" / "train") for p in (tmp_path / "out" / "train").rglob("*.png"))
    assert found == sorted(train.path(i).relative_to(train.root) for i in KEPT.ids)
    for path in found:
        place = tmp_path / "out" / "train" / path
        assert place.is_symlink() == (how == "symlink")
        assert place.read_bytes() == (folder / "train" / path).read_bytes()
    if how == "copy":  # Thresher reads its own export back, as soon as it has something to test on
        (tmp_path / "out" / "val").symlink_to("train")
        again = load("folder", tmp_path / "out", image_size=8).train
        assert len(again) == 12


def test_nothing_is_replaced_unless_it_is_an_export(folder: Path, tmp_path: Path) -> None:
    train: Any = load("folder", folder, image_size=8).train
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(RunDirectoryError, match="never replaced"):
            export_folder(KEPT, train, mine, force=force)
    assert (mine / "thesis.txt").read_text() == "mine"
    export_folder(KEPT, train, tmp_path / "out")
    with pytest.raises(RunDirectoryError, match="--force"):
        export_folder(KEPT, train, tmp_path / "out")
    export_folder(Coreset(np.arange(5), None, N), train, tmp_path / "out", force=True)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 5
    assert len(list((folder / "train").rglob("*.png"))) == N  # links were removed, not what they lead to
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match="never replaced"):
        export_folder(KEPT, train, tmp_path / "out", force=True)
    (tmp_path / "out" / "notes.txt").unlink()
    inside: Any = load("folder", folder, image_size=8).train
    inside.root = tmp_path / "out" / "train"
    with pytest.raises(RunDirectoryError, match="is inside"):
        export_folder(KEPT, inside, tmp_path / "out", force=True)
    write_csv(KEPT, tmp_path / "a.csv")
    with pytest.raises(RunDirectoryError, match="already exists"):
        write_csv(KEPT, tmp_path / "a.csv")
    write_csv(KEPT, tmp_path / "a.csv", force=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "mine", "out"]


def test_what_was_added_anywhere_in_an_export_is_never_replaced(folder: Path, shards: list[Path], tmp_path: Path) -> None:
    train: Any = load("folder", folder, image_size=8).train
    export_folder(KEPT, train, tmp_path / "out")
    place = next(path for path in (tmp_path / "out" / "train").iterdir() if path.is_dir())
    mine = place / "mine.png"
    for make, remove in (
        (lambda: mine.write_bytes(b"precious"), mine.unlink),
        (mine.mkdir, mine.rmdir),
        (lambda: mine.symlink_to(folder), mine.unlink),
    ):
        make()
        with pytest.raises(
            RunDirectoryError, match=rf"not an export \(train/{place.name}/mine\.png\); it is never replaced"
        ):
            export_folder(KEPT, train, tmp_path / "out", force=True)
        assert mine.exists()
        remove()
    next(place.iterdir()).unlink()  # what is gone is not missed
    export_folder(KEPT, train, tmp_path / "out", force=True)
    (tmp_path / "out" / "exported-files.json").unlink()
    with pytest.raises(RunDirectoryError, match=r"without exported-files\.json, additions to it cannot be detected"):
        export_folder(KEPT, train, tmp_path / "out", force=True)
    reshard(KEPT, shards, tmp_path / "shards")
    reshard(KEPT, shards, tmp_path / "shards", force=True)
    (tmp_path / "shards" / "000009.tar").write_bytes(b"mine")
    with pytest.raises(RunDirectoryError, match=r"000009\.tar"):
        reshard(KEPT, shards, tmp_path / "shards", force=True)


def test_samplers_draw_the_kept_samples_with_their_ids() -> None:
    images = Indexed([(torch.zeros(1), int(t)) for t in DIGITS.targets[:N]])
    loader = torch.utils.data.DataLoader(images, batch_size=5, sampler=sampler(KEPT, images))
    epochs = [torch.cat([ids for ids, _, _ in loader]).tolist() for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == KEPT.ids.tolist()
    assert epochs[0] != epochs[1]
    with pytest.raises(FingerprintError):
        sampler(KEPT, images.dataset[:59])


def test_datasets_of_hugging_face() -> None:
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_dict(
        {"pixels": DIGITS.images[:N].flatten(1).tolist(), "label": DIGITS.targets[:N].tolist()}
    )
    assert select_rows(KEPT, whole)["label"][:] == DIGITS.targets[KEPT.ids].tolist()
    marked = mark_rows(KEPT, whole)
    assert same(of_rows(marked), KEPT)
    with pytest.raises(InputError, match="already"):
        mark_rows(KEPT, marked)
    with pytest.raises(FingerprintError):
        select_rows(KEPT, whole.select(range(59)))
    with pytest.raises(InputError, match="split"):
        select_rows(KEPT, datasets.DatasetDict(train=whole))


BAD_CSV = {
    "empty": (b"", "sample_id"),
    "foreign": (b"id;score\n1;2\n", "sample_id"),
    "binary": (bytes(range(128, 256)), "cannot be read"),
    "cut off": (b"sample_id,weight\n1,0.5\n2", "1 of 2 fields"),
    "text": (b"sample_id\n1\ntrain/7.png\n", "not a sample id"),
    "negative": (b"sample_id\n-1\n", "not a sample id"),
    "float": (b"sample_id\n1.0\n", "not a sample id"),
    "huge": (b"sample_id\n99999999999999999999\n", "not a sample id"),
    "out of range": (b"sample_id\n60\n", "another data set"),
    "twice": (b"sample_id\n3\n3\n", "more than once"),
    "nan weight": (b"sample_id,weight\n1,nan\n", "not a finite 32-bit number"),
    "quote": (b'sample_id\n"1\n', "cannot be read"),
    "nothing kept": (b"sample_id\n", "at least one"),
    "weight of Python": (b"sample_id,weight\n1,1_0\n", "not a finite 32-bit number"),
    "huge weight": (b"sample_id,weight\n1,1e300\n", "not a finite 32-bit number"),
    "huge negative weight": (b"sample_id,weight\n1,-1e300\n", "not a finite 32-bit number"),
    "more than 64 bits": (b"sample_id\n9999999999999999999\n", "not a sample id"),
    "digits of another script": ("sample_id\n\u0663\n".encode(), "not a sample id"),
    "a column twice": (b"sample_id,sample_id\n1,2\n", "Expected the columns sample_id"),
}


def test_a_file_that_lists_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sample_id,weight\n")
    np.save(tmp_path / "a.npy", np.zeros(N, dtype=np.bool_))
    for name, read in (("a.csv", read_csv), ("a.npy", read_npy)):
        with pytest.raises(SampleIdError, match=f"at least one sample in .*{name}, but it lists none"):
            read(tmp_path / name, N)


def test_spaces_after_commas_lose_no_weights(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfsample_id, weight\r\n7, 0.5\r\n3, 2\r\n")
    read = read_csv(tmp_path / "a.csv", N)
    assert read.weights is not None
    assert (read.ids.tolist(), read.weights.tolist()) == ([3, 7], [2.0, 0.5])


@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_csv_is_one_clear_error(tmp_path: Path, case: str) -> None:
    content, message = BAD_CSV[case]
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ThresherError, match=message):
        read_csv(tmp_path / "a.csv", N)


def test_bad_npy_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    write_npy(KEPT, path)
    whole = path.read_bytes()
    for size in (0, 5, 60, 127, 130, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CorruptFileError):
            read_npy(path, N)
    for array, error in (
        (np.array([1.5]), SampleIdError),
        (np.array([60]), SampleIdError),
        (np.array([2, 2]), SampleIdError),
    ):
        np.save(path, array)
        with pytest.raises(error):
            read_npy(path, N)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(CorruptFileError, match="pickled"):
        read_npy(path, N)


def test_the_command_writes_every_format(folder: Path, shards: list[Path], tmp_path: Path, call: Any) -> None:
    data = load("folder", folder, image_size=224)
    kept = Coreset(KEPT.ids, None, N, {"fingerprint": data.fingerprint, **KEPT.source})
    kept.save(tmp_path / "c.parquet")
    write_scores(tmp_path / "s.parquet", {"tdds": SCORES}, info={"fingerprint": data.fingerprint})
    (tmp_path / "pool.txt").write_text("\n".join(f"{i:032x}" for i in range(N)))
    more: dict[str, tuple[Any, ...]] = {
        "csv": (), "npy": ("--data", "folder", "--data-dir", folder), "parquet": (),
        "tdds": ("--scores", tmp_path / "s.parquet"), "uids": ("--pool", tmp_path / "pool.txt"),
        "folder": ("--data-dir", folder), "webdataset": ("--shards", shards[0].parent),
    }  # fmt: skip
    for to, options in more.items():
        command = ("export", tmp_path / "c.parquet", "--to", to, "--out", tmp_path / f"out-{to}", *options)
        assert "12 of 60 samples" in call(*command)
        assert "force" in call.refused(*command)
        call(*command, "--force")
    assert same(read_csv(tmp_path / "out-csv", N), read_npy(tmp_path / "out-npy", N))
    assert same(Coreset.load(tmp_path / "out-parquet", fingerprint=data.fingerprint), kept)
    assert (tmp_path / "out-tdds" / "score_win10_ep30.npy").is_file()
    assert len(list((tmp_path / "out-folder").rglob("*.png"))) == 12


def test_what_lies_beside_shards_is_none(shards: list[Path], tmp_path: Path, call: Any) -> None:
    """An index or a checksum was read as a shard and called a damaged one; compressed shards are shards."""
    KEPT.save(tmp_path / "c.parquet")
    place = shutil.copytree(shards[0].parent, tmp_path / "shards") / shards[0].name
    place.with_name(f"{place.name}.gz").write_bytes(gzip.compress(place.read_bytes()))
    place.unlink()
    for ending in ("idx", "sha256"):
        place.with_name(f"{place.name}.{ending}").write_text("0")
    options = ("--to", "webdataset", "--shards", place.parent, "--out", tmp_path / "out")
    assert "12 of 60 samples" in call("export", tmp_path / "c.parquet", *options)


def test_the_data_set_is_the_coresets_own(folder: Path, tmp_path: Path, call: Any) -> None:
    """Its size is in the name, and so in the fingerprint; flipped labels change neither files nor ids."""
    pictures: Any = load("folder", folder).train
    for name, mislabel, corrupt in (
        ("folder:size=32", None, None),
        ("folder:size=32+mislabel=0.2:seed=0", "0.2:seed=0", None),
        ("folder:size=32+corrupt=intended:noise=1e+20", None, "intended:noise=1e20"),
    ):
        data = load("folder:size=32", folder, mislabel=mislabel, corrupt=corrupt)
        path = tmp_path / f"{name}.parquet"
        Coreset(KEPT.ids, None, N, {"fingerprint": data.fingerprint, "data": name}).save(path)
        call("export", path, "--to", "folder", "--data-dir", folder, "--out", tmp_path / f"{name}-pictures")
        call("export", path, "--to", "csv", "--data-dir", folder, "--out", tmp_path / f"{name}.csv")
        rows = (tmp_path / f"{name}.csv").read_text().splitlines()
        assert rows[:2] == ["sample_id,path", f"{KEPT.ids[0]},{pictures.path(KEPT.ids[0]).relative_to(folder)}"]
        assert same(read_csv(tmp_path / f"{name}.csv", N), KEPT)
    export = ("export", tmp_path / "folder:size=32.parquet", "--to", "csv", "--out", tmp_path / "out.csv")
    said = call.refused(*export, "--data", "folder", "--data-dir", folder)
    assert "is of folder:size=32, but this is folder: add --data folder:size=32," in said


def test_suspects_are_named_by_their_files_and_left_out(folder: Path, tmp_path: Path, call: Any) -> None:
    data = load("folder:size=32", folder, mislabel="0.2:seed=0")
    margins = np.where(np.arange(N) % 5 == 3, -6, 6) + RNG.normal(0, 0.5, N)
    info = {"data": data.name, "fingerprint": data.fingerprint}
    with TrajectoryWriter.create(tmp_path / "store", N, 10, ["logit_margin"], info=info) as store:
        store.append(Frame(0, np.arange(N), {"logit_margin": margins.astype(np.float32)}, N))
    out, others = tmp_path / "s.csv", tmp_path / "clean.parquet"
    told = call("suspects", tmp_path / "store", "--data-dir", folder, "--out", out, "--keep-others", others)
    first = int(np.argmin(margins))
    train: Any = load("folder", folder).train
    file = train.path(first).relative_to(folder).as_posix()
    assert f"  {file}\n" in told
    assert file in out.read_text().splitlines()[1]
    kept = Coreset.load(others, fingerprint=data.fingerprint, n=N)
    assert kept.ids.tolist() == np.flatnonzero(margins > 0).tolist()
    assert (kept.source["method"], kept.source["suspects"], kept.source["share"]) == ("suspects left out", 12, 0.2)
    suspects = ("suspects", tmp_path / "store", "--keep-others")
    assert "--force" in call.refused(*suspects, others)
    call(*suspects, others, "--force")
    assert "--keep-others" in call.refused(*suspects, out, "--force")  # no coreset
    assert "Name it .parquet" in call.refused(*suspects, tmp_path / "clean.csv")
    with TrajectoryWriter.create(tmp_path / "more", N + 1, 10, ["logit_margin"]) as store:  # of nobody knows which data
        store.append(Frame(0, np.arange(N + 1), {"logit_margin": np.ones(N + 1, np.float32)}, N + 1))
    said = call.refused("suspects", tmp_path / "more", "--data-dir", folder)
    assert f"Expected the {N + 1} pictures recorded in {tmp_path / 'more'}, but there are {N}." in said
    assert "Expected two files" in call.refused(*suspects, tmp_path / "one.parquet", "--out", tmp_path / "one.parquet")
    assert not (tmp_path / "one.parquet").exists()
    assert "picture files" in call.refused(*suspects[:2], "--data", "digits")
    for half in ("train", "val"):
        shutil.copytree(folder / half / "1", tmp_path / "few" / half / "1")
        shutil.copytree(folder / half / "2", tmp_path / "few" / half / "2")
    assert "changed since" in call.refused(*suspects[:2], "--data-dir", tmp_path / "few")
    train_it = ("--data", "folder:size=32", "--data-dir", folder, "--mislabel", "0.2:seed=0", "--model", "tiny")
    short = ("--epochs", 1, "--batch-size", 16, "--jobs", 1, "--seeds", 0, "--device", "cpu")
    assert "suspects left" in call("train", "--coreset", others, *train_it, *short, "--out", tmp_path / "trained")


@pytest.mark.parametrize("own", [False, True])
def test_files_of_other_classes_than_the_recorded_ones_are_doubted(
    folder: Path, tmp_path: Path, call: Any, own: bool
) -> None:
    targets = load("folder", folder).train.targets
    labels = 9 - targets if own else np.roll(targets, 7)  # another numbering of the classes; another order of the samples
    with TrajectoryWriter.create(tmp_path / "store", N, 10, ["logit_margin"], info={"data": "mine"}) as store:
        store.append(Frame(0, np.arange(N), {"logit_margin": np.ones(N, np.float32)}, N), targets=labels)
    said = call("suspects", tmp_path / "store", "--data-dir", folder)
    assert ("not of the recorded classes" in said) != own


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any character in a name")
def test_a_suspect_stays_on_its_line_whatever_its_name(folder: Path, tmp_path: Path, call: Any) -> None:
    shutil.copytree(folder, tmp_path / "odd")
    for path in list((tmp_path / "odd" / "train").rglob("*.png")):
        path.rename(path.with_name(f"{path.stem}\n.png"))
    margins = np.where(np.arange(N) % 5 == 3, -6, 6) + RNG.normal(0, 0.5, N)
    with TrajectoryWriter.create(tmp_path / "store", N, 10, ["logit_margin"], info={"data": "folder"}) as store:
        store.append(Frame(0, np.arange(N), {"logit_margin": margins.astype(np.float32)}, N))
    told = call("suspects", tmp_path / "store", "--data-dir", tmp_path / "odd", "--out", tmp_path / "s.csv")
    assert [line.endswith(r"\n.png") for line in told.splitlines()[2:14]] == [True] * 12
    assert '\n.png"\n' in (tmp_path / "s.csv").read_text()  # a program gets the name of the file


def test_the_command_refuses_what_does_not_belong(folder: Path, tmp_path: Path, call: Any) -> None:
    Coreset(KEPT.ids, None, N, {"fingerprint": "of another"}).save(tmp_path / "c.parquet")
    Coreset(KEPT.ids, None, N).save(tmp_path / "unknown.parquet")
    write_scores(tmp_path / "s.parquet", {"tdds": SCORES}, info={"fingerprint": "mine"})
    export = ("export", tmp_path / "c.parquet", "--out", tmp_path / "out", "--to")
    assert "fingerprint" in call.refused(*export, "folder", "--data-dir", folder)
    assert "of another one" in call.refused(*export, "tdds", "--scores", tmp_path / "s.parquet")
    assert "--scores" in call.refused(*export, "tdds")
    assert "--pool" in call.refused(*export, "uids")
    assert "--shards" in call.refused(*export, "webdataset")
    assert "--pool is only for --to uids, but this is --to csv" in call.refused(*export, "csv", "--pool", "x")
    assert "--how is only for --to folder" in call.refused(*export, "npy", "--how", "copy")
    assert "fingerprint" in call.refused(*export, "csv", "--data", "digits")
    for to, name, ends in (
        ("parquet", "a.csv", ".parquet"), ("csv", "a.NPY", ".csv"), ("npy", "a.parquet", ".npy"),
        ("csv", "a.csv.gz", ".csv"),
    ):  # fmt: skip
        said = " ".join(call.refused("export", tmp_path / "unknown.parquet", "--to", to, "--out", tmp_path / name).split())
        assert f"Expected a name that ends with {ends} for --to {to}, but --out is" in said
        assert not (tmp_path / name).exists()
    before = (tmp_path / "unknown.parquet").read_bytes()
    own = ("export", tmp_path / "unknown.parquet", "--to", "csv", "--out", tmp_path / "unknown.parquet", "--force")
    assert "is a source of this export and would be lost" in call.refused(*own)
    beside = (*own[:-2], tmp_path / "unknown.parquet.json", "--force")  # without it no command takes the coreset
    assert "is a source of this export and would be lost" in call.refused(*beside)
    assert (tmp_path / "unknown.parquet").read_bytes() == before
    (tmp_path / "new.parquet.json").write_text("mine")
    new = ("export", tmp_path / "unknown.parquet", "--to", "parquet", "--out", tmp_path / "new.parquet")
    assert "new.parquet.json already exists" in call.refused(*new)
    assert (tmp_path / "new.parquet.json").read_text() == "mine"
    Coreset(np.arange(3), None, 1437).save(tmp_path / "d.parquet")
    digits = ("export", tmp_path / "d.parquet", "--to", "folder", "--data", "digits", "--out", tmp_path / "out")
    assert "picture files" in call.refused(*digits)
    assert not (tmp_path / "out").exists()


def test_a_shard_packed_from_within_its_folder_begins_with_the_folder(tmp_path: Path) -> None:
    """As `tar -cf shard.tar .` packs it; links and folders are no samples, not even by their names."""
    (tmp_path / "in" / "c.d").mkdir(parents=True)
    for name in ("a.cls", "b.cls"):
        (tmp_path / "in" / name).write_text(name)
    (tmp_path / "in" / "e.cls").symlink_to("a.cls")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(tmp_path / "in", ".")
    assert keys([tmp_path / "shard.tar"]) == ["./a", "./b"]
    written = reshard(Coreset(np.array([1]), None, 2), [tmp_path / "shard.tar"], tmp_path / "out")
    assert contents(written) == {"./b.cls": b"b.cls"}


def test_neighbours_of_one_key_stay_two_samples(tmp_path: Path) -> None:
    """As the end of one shard and the beginning of the next may be."""
    for number in range(2):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
            add(tar, "a.cls", b"%d" % number)
    shards = sorted(tmp_path.glob("*.tar"))
    assert keys(shards) == ["a", "a"]
    written = reshard(Coreset(np.arange(2), None, 2), shards, tmp_path / "out")
    assert [contents([path]) for path in written] == [{"a.cls": b"0"}, {"a.cls": b"1"}]


def test_what_cannot_be_resharded_is_refused(shards: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="per_shard >= 1 samples, but got 0"):
        reshard(KEPT, shards, tmp_path / "out", per_shard=0)
    with pytest.raises(MissingFileError, match="there is none"):
        reshard(KEPT, [], tmp_path / "out")
    with pytest.raises(FingerprintError, match="but the shards hold 60"):
        reshard(Coreset(np.arange(5), None, 59), shards, tmp_path / "out")
    assert not list(tmp_path.iterdir())
    steps = list[tuple[int, int]]()
    written = reshard(KEPT, shards, tmp_path / "out", on_step=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 60) for done in range(1, 61)]
    with pytest.raises(RunDirectoryError, match="is inside"):  # the shards would be gone with the folder
        reshard(Coreset(np.arange(5), None, 12), written, tmp_path / "out", force=True)


def test_a_disk_that_fails_is_no_damaged_shard(shards: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(tarfile, "open", broken)
    with pytest.raises(OSError, match="Input/output error") as raised:
        keys(shards)
    assert not isinstance(raised.value, ThresherError)


def test_an_export_that_a_class_links_into_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    export_folder(KEPT, load("folder", folder, image_size=8).train, out, how="copy")  # type: ignore[arg-type]
    shutil.copytree(out / "train", again / "val")
    for half in sorted((out / "train").iterdir()):
        (again / "train").mkdir(exist_ok=True)
        (again / "train" / half.name).symlink_to(half)
    train: Any = load("folder", again, image_size=8).train
    with pytest.raises(RunDirectoryError, match="is inside"):
        export_folder(Coreset(np.array([0]), None, len(train)), train, out, how="copy", force=True)
    assert train.image(len(train) - 1).size


def test_pictures_that_are_not_those_of_the_coreset_leave_no_folder(folder: Path, tmp_path: Path) -> None:
    pictures = shutil.copytree(folder, tmp_path / "pictures")
    train: Any = load("folder", pictures, image_size=8).train
    with pytest.raises(FingerprintError, match=r"Expected the 59 pictures .* holds 60"):
        export_folder(Coreset(np.arange(5), None, 59), train, tmp_path / "out")
    with pytest.raises(InputError, match="symlink or copy, but got 'move'"):
        export_folder(KEPT, train, tmp_path / "out", how="move")  # type: ignore[arg-type]
    train.path(int(KEPT.ids[-1])).unlink()
    with pytest.raises(MissingFileError, match="is gone now"):
        export_folder(KEPT, train, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes a backslash in a name")
def test_pictures_with_backslashes_in_their_names_are_exported(tmp_path: Path) -> None:
    """As unpacking an archive from Windows leaves them."""
    for half in ("train", "val"):
        for name in ("cat", "d\\g"):
            (tmp_path / half / name).mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(tmp_path / half / name / "a\\0.png")
    pictures: Any = load("folder", tmp_path).train
    assert export_folder(Coreset(np.array([1]), None, 2), pictures, tmp_path / "out", how="copy") == 1
    assert (tmp_path / "out" / "train" / "d\\g" / "a\\0.png").is_file()


def test_a_copy_keeps_its_time_and_every_picture_is_a_step(folder: Path, tmp_path: Path) -> None:
    train: Any = load("folder", folder, image_size=8).train
    steps = list[tuple[int, int]]()
    export_folder(KEPT, train, tmp_path / "out", how="copy", on_step=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 12) for done in range(1, 13)]
    for path in (tmp_path / "out" / "train").rglob("*.png"):
        assert path.stat().st_mtime_ns == (folder / path.relative_to(tmp_path / "out")).stat().st_mtime_ns


def test_an_export_through_a_link_leaves_the_link(folder: Path, tmp_path: Path) -> None:
    train: Any = load("folder", folder, image_size=8).train
    export_folder(KEPT, train, tmp_path / "real")
    (tmp_path / "empty").mkdir()
    for target in ("real", "gone", "empty"):
        (tmp_path / "out").symlink_to(target)
        with pytest.raises(RunDirectoryError, match="never replaced"):
            export_folder(KEPT, train, tmp_path / "out", force=True)
        assert (tmp_path / "out").is_symlink()
        (tmp_path / "out").unlink()
    (tmp_path / "out").mkdir()  # an empty folder may be filled
    export_folder(KEPT, train, tmp_path / "out")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunDirectoryError, match="never replaced"):
        export_folder(KEPT, train, tmp_path / "file", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "out", "real"]


def test_an_export_that_cannot_take_its_place_gives_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_folder(tmp_path / "out") as made:
        KEPT.save(made / MARK)
    before, replace = (tmp_path / "out" / MARK).read_bytes(), os.replace

    def failing(source: Path, place: Path) -> None:
        if place == tmp_path / "out" and not (Path(source) / MARK).exists():
            raise OSError(5, "Input/output error")
        replace(source, place)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="Input/output error"), new_folder(tmp_path / "out", force=True) as made:
        (made / "new").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / MARK).read_bytes() == before


def test_a_url_is_the_place_that_it_names_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(KEPT, (tmp_path / "a b.csv").as_uri())
    assert same(read_csv((tmp_path / "a b.csv").as_uri(), N), KEPT)
    pytest.importorskip("upath")
    monkeypatch.chdir(tmp_path)
    url = "memory://bucket/kept"
    calls: list[tuple[Any, ...]] = [(write_csv, KEPT, url), (read_npy, url, N), (keys, [url]), (read_mask, url, 0.5)]
    for call, *arguments in [*calls, (write_pair, KEPT, SCORES, url, 10, 30), (open_tracker, f"mlflow:{url}", "x")]:
        with pytest.raises(InputError, match="Expected a path on this machine, but got memory://bucket/kept"):
            call(*arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["a b.csv"]


def test_a_link_to_nothing_is_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "kept.csv").symlink_to("gone")
    with pytest.raises(RunDirectoryError, match="already exists"):
        write_csv(KEPT, tmp_path / "kept.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunDirectoryError, match="a folder is there"):
        write_csv(KEPT, tmp_path / "folder", force=True)
    write_csv(KEPT, tmp_path / "new" / "kept.csv")
    assert same(read_csv(tmp_path / "new" / "kept.csv", N), KEPT)


def test_an_export_that_breaks_off_removes_the_folder_that_it_made(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    for name in ("new", "old"):
        with suppress(InputError), all_or_none(tmp_path / name) as part:
            (part / "a").touch()
            raise InputError("Enough.")
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]
    with all_or_none(tmp_path / "old") as part:
        (part / "a").touch()
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["a"]


def test_weights_are_written_in_as_few_digits_as_give_them_back(tmp_path: Path) -> None:
    weights = np.array([0.1, 2], np.float32)
    write_csv(Coreset(np.array([1, 4]), weights, 10), tmp_path / "a.csv", name=lambda i: f"a,{i}.png")
    assert (tmp_path / "a.csv").read_text() == 'sample_id,weight,path\n1,0.1,"a,1.png"\n4,2.0,"a,4.png"\n'


def test_a_coreset_of_a_file_says_where_it_is_from(tmp_path: Path) -> None:
    write_csv(KEPT, tmp_path / "a.csv")
    assert read_csv(tmp_path / "a.csv", N).source == {"file": "a.csv"}
    assert read_csv(tmp_path / "a.csv", N, {"by": "hand"}).source == {"by": "hand"}


def test_the_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    many = b"".join(b"%d\n" % i for i in range(9000))  # more than is read ahead
    for rows, line in ((b"1\nx\n", 3), (b"1\n2,3\n", 3), (b'1\n"2"x\n4\n', 3), (b"1\n\xff\n", 3), (many + b"\xff\n", 9002)):
        (tmp_path / "a.csv").write_bytes(b"sample_id\n" + rows)
        with pytest.raises(CorruptFileError, match=f"line {line}, cannot be read"):
            read_csv(tmp_path / "a.csv", N)


def test_a_mask_of_other_data_and_ids_in_a_table_are_refused(tmp_path: Path) -> None:
    for array in (np.ones(N + 1, np.bool_), np.ones((1, N), np.bool_), np.array([[1, 2]]), np.array([-1, 3])):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(SampleIdError):
            read_npy(tmp_path / "a.npy", N)


def test_what_is_no_pair_of_tdds_is_refused(tmp_path: Path) -> None:
    holes = SCORES.values.copy()
    holes[7] = np.nan
    with pytest.raises(InputError, match="finite score of every sample, but sample 7 has none"):
        write_pair(KEPT, Scores(holes), tmp_path, 10, 30)
    with pytest.raises(FingerprintError, match=r"scores of the 59 samples .* but got 60"):
        write_pair(Coreset(np.arange(5), None, 59), SCORES, tmp_path, 10, 30)
    assert not list(tmp_path.iterdir())
    write_pair(KEPT, SCORES, tmp_path, 10, 30)
    with pytest.raises(RunDirectoryError, match="already exists"):
        write_pair(KEPT, SCORES, tmp_path, 10, 30)
    assert np.load(tmp_path / "data_mask_win10_ep30.npy").dtype == np.int64
    mask, score = tmp_path / "mask.npy", tmp_path / "score.npy"
    cases: list[tuple[Any, Any, type[ThresherError], str]] = [
        ([0, 0, 2], [0.1, 0.2, 0.3], SampleIdError, "every id from 0 to N - 1 once"),
        ([0.0, 1.0, 2.0], [0.1, 0.2, 0.3], SampleIdError, "but got float64"),
        ([0, 1, 2], [0.1, 0.2], InputError, "Expected 3 scores"),
        ([0, 1, 2], [1, 2, 3], InputError, "but got int64"),
        ([0, 1, 2], [0.1, 1e300, 0.3], InputError, "32-bit numbers in the scores"),
    ]
    for order, values, error, said in cases:
        np.save(mask, np.array(order))
        np.save(score, np.array(values))
        with pytest.raises(error, match=said):
            read_pair(mask, score)
    np.save(mask, np.array([2, 0, 1]))
    np.save(score, np.array([0.25, 0.5, 0.75]))
    read = read_pair(mask, score)
    assert (read.values.tolist(), read.hard_end) == ([0.5, 0.75, 0.25], "high")


def test_a_mask_keeps_what_the_official_training_would(tmp_path: Path) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, np.array([2, 0, 1]))
    half = read_mask(path, 0.5)  # int(0.5 * 3) is 1: the first is dropped
    assert (half.ids.tolist(), half.source) == ([0, 1], {"file": "mask.npy", "subset_rate": 0.5})
    assert read_mask(path, 0.0).ids.tolist() == [0, 1, 2]
    for rate in (1.0, -0.1):
        with pytest.raises(InputError, match=r"removed share in \[0, 1\)"):
            read_mask(path, rate)
    for order, error in (([2, 2, 0], SampleIdError), ([[0, 1]], CorruptFileError), ([], CorruptFileError)):
        np.save(path, np.array(order, dtype=np.int64))
        with pytest.raises(error):
            read_mask(path, 0.5)


def test_digits_that_only_python_reads_are_no_uid() -> None:
    for text in ("0x" + 30 * "1", 16 * "1" + "0X" + 14 * "1", 31 * "1", 31 * "1" + "\u0661", 31 * "1" + "_", "+" + 31 * "1"):
        with pytest.raises(InputError, match="row 1 is"):
            parse_uids([32 * "0", text])
    assert parse_uids([f" {'AB' * 16}\n"]) == parse_uids(["ab" * 16])


def test_a_pool_without_samples_has_no_uids(tmp_path: Path) -> None:
    write_uids(KEPT, parse_uids([f"{i:032x}" for i in range(N)]), tmp_path / "kept.npy")
    with pytest.raises(SampleIdError, match="12 are not in it"):
        read_uids(tmp_path / "kept.npy", parse_uids([]))
    np.save(tmp_path / "table.npy", parse_uids(["ab" * 16]).reshape(1, 1))
    with pytest.raises(CorruptFileError, match="u8,u8"):
        read_uids(tmp_path / "table.npy", parse_uids(["ab" * 16]))


def test_a_path_with_the_end_of_a_line_in_it_comes_back(tmp_path: Path) -> None:
    """It was not quoted, and this package refused its own file."""
    names = ["a\nb.png", "a\rb.png", "a\r\nb.png", 'a"b.png', "a,b.png", " a.png", "", "a.png"]
    kept = Coreset(np.arange(0, 16, 2), None, 16)
    write_csv(kept, tmp_path / "kept.csv", name=lambda sample_id: names[sample_id // 2])
    assert same(read_csv(tmp_path / "kept.csv", 16), kept)
    with (tmp_path / "kept.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == names
    assert (tmp_path / "kept.csv").read_bytes().endswith(b"\n14,a.png\n")


def test_a_sampler_is_seeded_and_a_mark_fits_its_rows() -> None:
    rows = list(range(N))
    one, same_seed, other = (list(sampler(KEPT, rows, seed)) for seed in (3, 3, 4))
    assert one == same_seed != other
    datasets = pytest.importorskip("datasets")
    short = datasets.Dataset.from_dict({"label": [0, 1, 0], "note": ["a", "b", "c"]})
    with pytest.raises(FingerprintError, match="data set of 60 samples"):
        mark_rows(KEPT, short)
    with pytest.raises(InputError, match="name the split"):
        mark_rows(KEPT, datasets.DatasetDict(train=short))
    with pytest.raises(InputError, match="Expected a column kept, but the data set has label, note"):
        of_rows(short)
    with pytest.raises(InputError, match="Expected a boolean column label, but got int64"):
        of_rows(short, "label")


def test_what_leads_out_or_lies_inside_is_told_from_what_looks_like_it(tmp_path: Path) -> None:
    check_apart([tmp_path / "outer" / "a", tmp_path], tmp_path / "out")
    for source in ("out", "out/train/cat", "other/../out/a"):
        with pytest.raises(RunDirectoryError, match="is inside"):
            check_apart([tmp_path / "elsewhere", tmp_path / source], tmp_path / "out")
    for name in ("a..b/..c.png", "a\\b.png", "a\\..b.png"):  # a backslash is a letter, and leads nowhere elsewhere
        assert check_inside(name, tmp_path) == name
    for name in ("", ".", "a/..", "a\0b", "..\\b", "a\\../b", "\\b", "c:\\b"):
        with pytest.raises(InputError, match="leads out"):
            check_inside(name, tmp_path)
    with pytest.raises(InputError, match=r"Name it \.parquet"):
        check_parquet(tmp_path / "KEPT.CSV", "coreset")


class Relative:
    """Two pictures, named from where the program runs."""

    root = Path("pictures")

    def __len__(self) -> int:
        return 2

    def path(self, sample_id: int) -> Path:
        return self.root / f"{sample_id}.png"


def test_links_lead_to_the_pictures_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for name in "01":
        Path(f"pictures/{name}.png").write_text(name)
    export_folder(Coreset([1], None, 2), Relative(), "out")
    monkeypatch.chdir("/")
    assert (tmp_path / "out" / "train" / "1.png").read_text() == "1"
