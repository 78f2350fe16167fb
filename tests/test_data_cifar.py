"""The CIFAR reader: the real files, small ones of the same layout, broken ones, and pickles that want to run code."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import pickle
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thresher.data import ArraySplit, Data, load
from thresher.data.safe_pickle import read_pickle
from thresher.errors import CorruptFileError, InputError, MissingFileError

ROWS = 6
FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
ARCHIVES = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}
Files = dict[str, dict[Any, Any]]


def small_files(name: str) -> Files:
    """Content of all files of a data set, `ROWS` images in each."""
    rng = np.random.default_rng(3)
    classes = 10 if name == "cifar10" else 100
    labels, names = ("labels", "label_names") if name == "cifar10" else ("fine_labels", "fine_label_names")
    parts = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"] if name == "cifar10" else ["train", "test"]
    files: Files = {
        part: {
            "data": rng.integers(0, 256, (ROWS, 3072), dtype=np.uint8),
            labels: rng.integers(0, classes, ROWS).tolist(),
            "filenames": [f"{i}.png" for i in range(ROWS)],
        }
        for part in parts
    }
    files["batches.meta" if name == "cifar10" else "meta"] = {names: [f"class {i}" for i in range(classes)]}
    return files


def write_folder(root: Path, name: str, files: Files, protocol: int = 4) -> Path:
    folder = root / FOLDERS[name]
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(pickle.dumps(content, protocol=protocol))
    return folder


def write_archive(root: Path, name: str, files: Files, mode: str = "w:gz") -> Path:
    path = root / ARCHIVES[name]
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for file, content in {"readme.html": {}, **files}.items():
            raw = pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(f"{FOLDERS[name]}/{file}")
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return path


def pixels(data: Data) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    assert isinstance(data.train, ArraySplit)
    assert isinstance(data.test, ArraySplit)
    return data.train.images.numpy(), data.test.images.numpy()


# ---- the real files


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_real_folder(cifar_root: Path, name: str, classes: int) -> None:
    data = load(name, cifar_root)
    train, test = pixels(data)
    assert (train.shape, test.shape) == ((50000, 3, 32, 32), (10000, 3, 32, 32))
    assert np.bincount(data.train.targets).tolist() == [50000 // classes] * classes
    assert np.bincount(data.test.targets).tolist() == [10000 // classes] * classes
    assert data.class_names == tuple(sorted(data.class_names))
    # the published constants describe these very images
    assert np.allclose(train[::10].mean(axis=(0, 2, 3)) / 255, data.mean, atol=0.01)
    assert np.allclose(train[::10].std(axis=(0, 2, 3)) / 255, data.std, atol=0.01)
    assert data.describe() == f"{name}: 50000 training and 10000 test images in {classes} classes, 32 x 32 colour"


def test_real_archive_equals_the_folder(cifar_root: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / ARCHIVES["cifar10"], "w:gz", compresslevel=0) as tar:
        tar.add(cifar_root / FOLDERS["cifar10"], arcname=FOLDERS["cifar10"])
    folder, archive = load("cifar10", cifar_root), load("cifar10", tmp_path)
    for one, other in zip(pixels(folder), pixels(archive), strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(folder.train.targets, archive.train.targets)


# ---- small files of the same layout


NORMALISATION = {  # mean and std of the TDDS code, in 255ths
    "cifar10": (125.3, 123.0, 113.9, 63.0, 62.1, 66.7),
    "cifar100": (129.3, 124.1, 112.4, 68.2, 65.4, 70.4),
}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_folder(tmp_path: Path, name: str, protocol: int) -> None:
    files = small_files(name)
    folder = write_folder(tmp_path, name, files, protocol)
    parts = [f for f in files if f.startswith("data_batch") or f == "train"]
    labels = "labels" if name == "cifar10" else "fine_labels"
    for place in (tmp_path, folder):
        data = load(name, place)
        train, test = pixels(data)
        assert np.array_equal(train.reshape(-1, 3072), np.concatenate([files[p]["data"] for p in parts]))
        assert test.shape == (ROWS, 3, 32, 32)
        assert data.train.targets.tolist() == [label for p in parts for label in files[p][labels]]
        assert data.class_names[-1] == f"class {data.num_classes - 1}"
        assert [255 * share for share in (*data.mean, *data.std)] == pytest.approx(NORMALISATION[name], rel=1e-12)


@pytest.mark.parametrize("mode", ["w:gz", "w"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_archive_equals_the_folder(tmp_path: Path, name: str, mode: str) -> None:
    files = small_files(name)
    write_folder(tmp_path / "unpacked", name, files)
    archive = write_archive(tmp_path, name, files, mode)
    folder = load(name, tmp_path / "unpacked")
    for place in (tmp_path, archive):
        assert load(name, place).fingerprint == folder.fingerprint


def test_files_of_python_2(tmp_path: Path) -> None:
    """The official files have byte keys, byte class names and labels of NumPy's integers."""
    files = small_files("cifar10")
    for content in files.values():
        for key in list(content):
            value = content.pop(key)
            if key == "labels":
                value = [np.int64(v) for v in value]
            if key == "label_names":
                value = [v.encode() for v in value]
            content[key.encode()] = value
    write_folder(tmp_path, "cifar10", files, protocol=2)
    assert load("cifar10", tmp_path).class_names[0] == "class 0"


def test_column_major_pixels(tmp_path: Path) -> None:
    files = small_files("cifar10")
    write_folder(tmp_path / "plain", "cifar10", files)
    files["data_batch_2"]["data"] = np.asfortranarray(files["data_batch_2"]["data"])
    write_folder(tmp_path / "turned", "cifar10", files)
    assert load("cifar10", tmp_path / "plain").fingerprint == load("cifar10", tmp_path / "turned").fingerprint


# ---- files that are not right


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"cifar-10-python.tar.gz or the folder cifar-10-batches-py"):
        load("cifar10", tmp_path)


def test_another_data_set(tmp_path: Path) -> None:
    from thresher.data.cifar import load_cifar

    with pytest.raises(InputError, match="cifar10 or cifar100"):
        load_cifar("cifar1000", tmp_path)


@pytest.mark.parametrize("file", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_file_is_missing(tmp_path: Path, file: str) -> None:
    files = small_files("cifar10")
    del files[file]
    folder = write_folder(tmp_path / "folder", "cifar10", files)
    with pytest.raises(MissingFileError, match=f"lacks {file}"):
        load("cifar10", folder.parent)
    with pytest.raises(CorruptFileError, match=f"lacks {file}"):
        load("cifar10", write_archive(tmp_path, "cifar10", files))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    folder = write_folder(tmp_path, "cifar10", small_files("cifar10"))
    raw = (folder / "data_batch_4").read_bytes()
    (folder / "data_batch_4").write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(CorruptFileError, match=r"data_batch_4 is truncated"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("mode", ["w:gz", "w"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.8])
def test_a_truncated_archive(tmp_path: Path, share: float, mode: str) -> None:
    archive = write_archive(tmp_path, "cifar10", small_files("cifar10"), mode)
    raw = archive.read_bytes()
    archive.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(CorruptFileError, match="Download it again"):
        load("cifar10", archive)


def test_flipped_bytes_in_a_gzipped_archive_never_pass_as_other_data(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, "cifar100", small_files("cifar100"))
    raw, fingerprint = archive.read_bytes(), load("cifar100", archive).fingerprint
    caught = 0
    for position in np.random.default_rng(0).integers(0, len(raw), 60):
        damaged = bytearray(raw)
        damaged[position] ^= 0x10
        archive.write_bytes(damaged)
        try:
            assert load("cifar100", archive).fingerprint == fingerprint  # gzip's own header may change
        except CorruptFileError:
            caught += 1
    assert caught > 50


def _altered(key: str, value: Any) -> Callable[[Files], None]:
    def alter(files: Files) -> None:
        files["data_batch_1"][key] = value

    return alter


@pytest.mark.parametrize(
    "alter",
    [
        _altered("data", np.zeros((ROWS, 3071), np.uint8)),
        _altered("data", np.zeros((ROWS, 3072), np.int16)),
        _altered("data", np.zeros(ROWS * 3072, np.uint8)),
        _altered("data", [1, 2, 3]),
        _altered("data", np.zeros((ROWS - 1, 3072), np.uint8)),
        _altered("labels", [0] * (ROWS + 1)),
        _altered("labels", [10] * ROWS),
        _altered("labels", [-1] * ROWS),
        _altered("labels", [3.7] * ROWS),
        _altered("labels", [2**70] * ROWS),
        _altered("labels", ["cat"] * ROWS),
        _altered("labels", [[0, 1]] + [[0]] * (ROWS - 1)),
        _altered("labels", None),
        lambda files: files["data_batch_1"].pop("data"),
        lambda files: files["data_batch_1"].pop("labels"),
    ],
)
def test_wrong_contents(tmp_path: Path, alter: Callable[[Files], None]) -> None:
    files = small_files("cifar10")
    alter(files)
    write_folder(tmp_path, "cifar10", files)
    with pytest.raises(CorruptFileError, match="data_batch_1"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("meta", [{}, {"label_names": "cat"}, {"label_names": []}])
def test_wrong_names(tmp_path: Path, meta: dict[Any, Any]) -> None:
    write_folder(tmp_path, "cifar10", {**small_files("cifar10"), "batches.meta": meta})
    with pytest.raises(CorruptFileError, match="label_names"):
        load("cifar10", tmp_path)


# ---- pickles that would run code


class Calls:
    """Pickles into a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def touching(path: Path) -> list[Any]:
    import torch

    command, code = f"touch '{path}'", f"open({str(path)!r}, 'w').close()"
    return [
        Calls(os.system, command),
        Calls(builtins.eval, code),
        Calls(builtins.exec, code),
        Calls(os.mkdir, str(path)),
        Calls(subprocess.getoutput, command),
        np.array([Calls(os.system, command)], dtype=object),
        Calls(np.save, str(path) + ".npy", [1]),
        Calls(np.load, str(path)),
        Calls(builtins.getattr, "x", "join"),
        Calls(torch.load, str(path)),
        Calls(torch.tensor, [1]),
        torch.zeros(2),
        path,
    ]


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("which", range(13))
def test_code_is_refused_and_not_run(tmp_path: Path, which: int, protocol: int) -> None:
    touched = tmp_path / "touched"
    trap = touching(touched)[which]
    for content in ({"data": trap}, {"data": [trap]}, [trap], trap):
        with pytest.raises(CorruptFileError, match=r"contains code|not a pickle of arrays"):
            read_pickle(pickle.dumps(content, protocol=protocol), "trap")
        assert not any(tmp_path.iterdir())


def test_the_traps_work(tmp_path: Path) -> None:
    """Without the guard the very same pickles do run: else the test above would prove nothing."""
    for which in range(6):
        touched = tmp_path / f"touched{which}"
        pickle.loads(pickle.dumps(touching(touched)[which]))
        assert touched.exists(), which


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_code_in_a_cifar_file_is_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    touched = tmp_path / "touched"
    files = small_files("cifar10")
    files["data_batch_2"]["labels"] = Calls(os.system, f"touch '{touched}'")
    (write_folder if kind == "folder" else write_archive)(tmp_path, "cifar10", files)
    with pytest.raises(CorruptFileError, match=r"data_batch_2 is a pickle that contains code \(it names posix.system\)"):
        load("cifar10", tmp_path)
    assert not touched.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"data": np.array(["a", None], dtype=object)},
        {"data": np.array(["a", "b"])},
        {"data": np.zeros(2, dtype="u1,u2")},
        {"data": np.zeros(2, dtype="datetime64[s]")},
        {"data": np.zeros((2, 3, 4), np.uint8).transpose(1, 0, 2)},
        [1, 2],
        "text",
    ],
)
def test_other_contents_are_refused(content: Any) -> None:
    raw = pickle.dumps(content, protocol=5)
    try:
        loaded = read_pickle(raw, "here")
    except CorruptFileError:
        return
    # the one thing that may pass is a plain array, and then as it was written
    assert np.array_equal(loaded["data"], content["data"])
    assert content["data"].dtype == np.uint8


@pytest.mark.parametrize(
    "raw",
    [
        b"cposix\nsystem\n(S'true'\ntR.",
        b"\x80\x02cnumpy\ndtype\n}S'__call__'\nK\x01sb.",  # sets an attribute of what stands for a NumPy name
        b"\x80\x02cnumpy\ndtype\nN}S'_function'\nK\x01s\x86b.",
        b"\x80\x02cnumpy\ndtype.__class__\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
        b"Pperson\n.",
        b"\x82\x01.",
        b"",
        b"\x80",
        b"not a pickle at all",
    ],
)
def test_handmade_pickles_are_refused(raw: bytes) -> None:
    with pytest.raises(CorruptFileError):
        read_pickle(raw, "here")


@pytest.mark.parametrize("raw", [b"}(K\x01K\x02tK\x03s.", b"}((K\x01K\x02tK\x03u.", b"((K\x01K\x02tK\x03d."])
def test_keys_that_could_take_forever_are_refused_however_they_are_put_in(raw: bytes) -> None:
    assert pickle.loads(raw) == {(1, 2): 3}
    with pytest.raises(CorruptFileError, match="a tuple as the key of a dict"):
        read_pickle(raw, "here")


def test_stand_ins_survive_an_attack() -> None:
    with pytest.raises(CorruptFileError):
        read_pickle(b"\x80\x02cnumpy\ndtype\nN}S'_function'\nK\x01s\x86b.", "here")
    array = np.arange(6, dtype=">i4").reshape(2, 3)
    assert np.array_equal(read_pickle(pickle.dumps({"data": array}), "here")["data"], array)


def test_flipped_bytes_in_a_pickle_only_ever_raise_one_error() -> None:
    raw = pickle.dumps({"data": np.arange(12, dtype=np.uint8).reshape(3, 4), "labels": [1, 2, 3]}, protocol=2)
    for position in range(len(raw)):
        for bit in range(8):
            damaged = bytearray(raw)
            damaged[position] ^= 1 << bit
            with contextlib.suppress(CorruptFileError):
                assert isinstance(read_pickle(bytes(damaged), "here"), dict)
