"""Image folders in the ImageNet layout: `root/train/<class>/...` and `root/val/<class>/...` (or `test`).

Pictures are listed once, sorted by path so that sample ids are stable, and read only when needed.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from thresher.data.base import Data, as_targets
from thresher.errors import CorruptFileError, InputError, MissingFileError, of_the_system, printable
from thresher.places import fixed
from thresher.types import is_whole

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp")
OTHERS = (".avif", ".gif", ".heic", ".jfif", ".jp2", ".tif", ".tiff")
"""Endings of pictures that are not read; a folder that holds some should not look as if it had none."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # the ImageNet constants that everybody uses


class FolderSplit:
    """Pictures below one folder, read when needed; `paths` are relative to it with forward slashes.

    Grey, palette, CMYK and transparent pictures are converted to RGB. Raises CorruptFileError naming the file if a picture
    cannot be read.
    """

    def __init__(self, root: Path, paths: list[str], targets: object) -> None:
        self.root = root
        self.targets = as_targets(targets, len(paths))
        # one array instead of a million strings: forked workers would copy those page by page
        self._paths = np.array([os.fsencode(path) for path in paths], dtype=bytes)

    def __len__(self) -> int:
        return len(self.targets)

    def path(self, sample_id: int) -> Path:
        """Return the file of a sample."""
        return self.root / os.fsdecode(self._paths[sample_id])

    def name(self, sample_id: int) -> str:
        """Return a sample's file relative to the data folder: `train/cat/001.jpg`; bytes that are not UTF-8 are escaped."""
        return f"{self.root.name}/{_text(self._paths[sample_id])}"

    def image(self, sample_id: int) -> NDArray[np.uint8]:
        """Return the picture (H, W, 3) uint8 in its own size."""
        return read_picture(self.path(sample_id))

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.image(index).transpose(2, 0, 1).copy()), int(self.targets[index])

    def content(self) -> Iterator[bytes]:
        """Yield path and size of every file; the pictures themselves are not read."""
        for index in range(len(self)):
            try:
                size = self.path(index).stat().st_size
            except FileNotFoundError:
                raise _gone(self.path(index)) from None
            yield bytes(self._paths[index]) + b"\0" + str(size).encode() + b"\n"


def load_folder(root: Path | str, *, image_size: int = 224) -> Data:
    """Return the pictures in `root/train` and `root/val` (`root/test` where there is no `val`), one folder per class.

    Class names are those of the training folders, sorted; control characters and bytes that are not UTF-8 are escaped. A
    class folder may be a symbolic link and hold folders; hidden files, symbolic links in it and files that are not pictures
    are skipped. Samples are numbered class by class, in each in the order of their sorted paths. Raises
    MissingFileError if a split is missing, InputError if a training class has no picture, there is only one class, or the
    test split has a class that the training split lacks.
    """
    root = fixed(Path(root))
    if not is_whole(image_size) or image_size < 1:
        raise InputError(f"Expected image_size as an integer >= 1, but got {image_size!r}.")
    test_root = next((root / half for half in ("val", "test") if (root / half).is_dir()), None)
    lacking = [*(() if (root / "train").is_dir() else ("train",)), *(() if test_root else ("val (or test)",))]
    if test_root is None or lacking:
        found = f"there is no {' and no '.join(lacking)}" if root.is_dir() else "there is no such folder"
        raise MissingFileError(
            f"Expected the folders train and val (or test) in {root}, with one folder of pictures per class in each, "
            f"but {found}."
        )
    names = _class_folders(root / "train")
    if not names:
        raise InputError(f"Expected one folder per class in {root / 'train'}, but there is none.")
    if len(names) < 2:
        raise InputError(f"Expected at least 2 classes in {root / 'train'}, but there is only {_shown(names[0])}.")
    unknown = sorted(set(_class_folders(test_root)) - set(names))
    if unknown:
        raise InputError(
            f"Expected in {test_root} only classes that {root / 'train'} has, but it lacks: "
            f"{', '.join(map(_shown, unknown[:5]))}. {_same_looks(unknown, names)}"
            "Remove these folders, or add their training pictures."
        )
    passed = _Passed()
    train = _split(root / "train", names, passed)
    empty = [names[c] for c in np.flatnonzero(np.bincount(train.targets, minlength=len(names)) == 0)]
    if empty:
        raise InputError(
            f"Training class without a picture in {root / 'train'}: {', '.join(map(_shown, empty[:5]))}. "
            f"Only {', '.join(SUFFIXES)} are read, neither other formats ({len(passed.others)} found) nor symbolic links. "
            "Remove the empty folder or fill it."
        )
    test = _split(test_root, names, passed)
    if not len(test):
        raise InputError(f"Expected pictures in the class folders of {test_root}, but there is none.")
    untested = [names[c] for c in np.flatnonzero(np.bincount(test.targets, minlength=len(names)) == 0)]
    spare = "test" if test_root.name == "val" and (root / "test").is_dir() else ""
    remark = _remark(passed, untested, test_root.name, spare)
    return Data("folder", train, test, tuple(map(_shown, names)), _MEAN, _STD, "imagenet", image_size, 3, remark)


@dataclass
class _Passed:
    """Names that were skipped: of pictures in formats that are not read, of links to pictures or folders, and of pictures
    that lie beside the class folders."""

    others: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)


def _remark(passed: _Passed, untested: list[str], half: str, spare: str) -> str:
    """Return a remark on pictures that are not used, also those of the folder `spare`, and classes without test pictures."""
    words, others = [], passed.others
    if others:
        endings = ", ".join(sorted({Path(name).suffix.lower() for name in others}))
        words.append(f"{_count(others, 'picture is', 'pictures are')} not read ({endings}): convert them to .png or .jpg")
    if passed.links:
        words.append(f"{_count(passed.links, 'symbolic link is', 'symbolic links are')} skipped")
    if passed.beside:
        words.append(f"{_count(passed.beside, 'picture is', 'pictures are')} in no class folder and not used")
    if spare:
        words.append(f"the folder {spare} is not used, since there is {half}")
    if untested:
        told = ", ".join([*map(_shown, untested[:3]), *(["..."] if len(untested) > 3 else [])])
        words.append(f"{_count(untested, 'class has', 'classes have')} no picture in {half} ({told})")
    return "; ".join(words)


def _count(found: list[str], one: str, many: str) -> str:
    return f"{len(found)} {one if len(found) == 1 else many}"


def _text(name: str | bytes) -> str:
    """Return a file's name as text that can be written anywhere: bytes that are not UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _shown(name: str) -> str:
    """Return a class's name as tables, pages and pictures show it."""
    return printable(_text(name))


def _same_looks(unknown: list[str], names: list[str]) -> str:
    """Return a hint if two names differ in their bytes only, as those of macOS and Linux do, so that they look the same."""
    composed = {unicodedata.normalize("NFC", name): name for name in names}
    twins = [name for name in unknown if unicodedata.normalize("NFC", name) in composed]
    if not twins:
        return ""
    other = composed[unicodedata.normalize("NFC", twins[0])]
    return f"{twins[0]!a} and {other!a} look the same: rename one as the other. "


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return a picture file as (H, W, 3) uint8; raises CorruptFileError naming it if it cannot be read."""
    try:
        with Image.open(path) as picture:
            return np.array(_rgb(picture))
    except FileNotFoundError:
        raise _gone(path) from None
    # Pillow's errors; the last but one for a kind of picture that it knows by its header and has no decoder for.
    except (OSError, SyntaxError, ValueError, EOFError, NotImplementedError, Image.DecompressionBombError) as error:
        if of_the_system(error):
            raise
        raise CorruptFileError(f"{path} cannot be read as a picture ({error}). Replace or remove it.") from error


def _gone(path: Path) -> MissingFileError:
    return MissingFileError(f"{path} was there when the folder was listed but is gone now.")


def _rgb(picture: Image.Image) -> Image.Image:
    # such as a TIFF file under another name; Pillow would cut values off at 255, whatever stands for white
    if picture.mode == "F" or (picture.mode == "I" and picture.format not in ("PNG", "PPM")):
        raise ValueError(f"its {picture.format} values of 32 bits have no known range")
    if picture.mode.startswith("I"):  # 16 bits: Pillow would cut values off at 255 instead of scaling them
        grey = np.asarray(picture).astype(np.int64) >> 8
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("P", "PA", "LA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _class_folders(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _split(root: Path, names: list[str], passed: _Passed) -> FolderSplit:
    """Return the pictures of all classes; what is skipped is added to `passed`."""
    paths: list[str] = []
    targets: list[int] = []
    with os.scandir(root) as entries:
        named = (e.name for e in entries if not e.is_dir() and not e.name.startswith("."))
        passed.beside += [name for name in named if name.lower().endswith((*SUFFIXES, *OTHERS))]
    for target, name in enumerate(names):
        found = sorted(_pictures(root / name, name, passed)) if (root / name).is_dir() else []
        paths += found
        targets += [target] * len(found)
    return FolderSplit(root, paths, np.array(targets, dtype=np.int64))


def _pictures(folder: Path, prefix: str, passed: _Passed) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                if entry.name.lower().endswith((*SUFFIXES, *OTHERS)) or entry.is_dir():
                    passed.links.append(entry.name)
            elif entry.is_dir():
                yield from _pictures(Path(entry.path), f"{prefix}/{entry.name}", passed)
            elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                yield f"{prefix}/{entry.name}"
            elif entry.name.lower().endswith(OTHERS):
                passed.others.append(entry.name)
