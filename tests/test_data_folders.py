"""Image folders: the ImageNet layout, pictures of every kind, and folders that are not right."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from thresher.data import Data, load
from thresher.data.augment import centre_crop, resized_crop
from thresher.data.batching import Batches
from thresher.data.folders import FolderSplit, load_folder, read_picture
from thresher.errors import CorruptFileError, InputError, MissingFileError, UnknownNameError

SIZES = ((40, 30), (8, 64), (1, 1), (64, 8), (33, 33))


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def write(path: Path, image: Image.Image | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (picture(20, 10) if image is None else image).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes; pictures of all sizes and kinds, one in a deeper folder; things to pass over."""
    for i, size in enumerate(SIZES):
        write(tmp_path / "train" / "cat" / f"{i}.png", picture(*size, seed=i))
    write(tmp_path / "train" / "dog" / "b.JPEG")
    write(tmp_path / "train" / "dog" / "a" / "deep.bmp")
    write(tmp_path / "train" / "dog" / ".hidden.png")
    (tmp_path / "train" / "dog" / "notes.txt").write_text("no picture")
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "list.txt").write_text("no class")
    write(tmp_path / "val" / "dog" / "1.webp")
    return tmp_path


def folder_split(data: Data) -> FolderSplit:
    assert isinstance(data.train, FolderSplit)
    return data.train


def test_what_is_found(root: Path) -> None:
    data = load("folder", root, image_size=16)
    split = folder_split(data)
    assert data.class_names == ("cat", "dog")
    assert data.train.targets.tolist() == [0] * 5 + [1, 1]
    found = [split.path(i).relative_to(root / "train").as_posix() for i in range(len(split))]
    assert found == [*(f"cat/{i}.png" for i in range(5)), "dog/a/deep.bmp", "dog/b.JPEG"]
    assert data.test.targets.tolist() == [1]
    assert data.describe().startswith("folder: 7 training and 1 test images in 2 classes, 16 x 16 colour")
    assert split.name(5) == "train/dog/a/deep.bmp"
    assert load(f"folder:{root}", image_size=16).fingerprint == data.fingerprint


def test_test_is_another_name_for_val(root: Path) -> None:
    (root / "val").rename(root / "test")
    data = load_folder(root)
    assert len(data.test) == 1
    assert "not used" not in data.describe()
    write(root / "val" / "cat" / "1.png")
    write(root / "val" / "cat" / "2.png")
    data = load_folder(root)
    assert len(data.test) == 2
    assert "the folder test is not used, since there is val" in data.describe()


def test_pictures_are_read_when_asked_for(root: Path) -> None:
    data = load_folder(root, image_size=16)
    (root / "train" / "cat" / "0.png").write_bytes(b"broken since")  # listing has not read it
    write(root / "train" / "cat" / "3.png", picture(5, 7, seed=50))
    assert np.array_equal(data.train.image(3), np.asarray(picture(5, 7, seed=50)))
    with pytest.raises(CorruptFileError, match=r"0\.png"):
        data.train[0]


def test_items_and_images_agree(root: Path) -> None:
    split = load_folder(root).train
    for i, (width, height) in enumerate(SIZES):
        image, target = split[i]
        assert (tuple(image.shape), image.dtype, target) == ((3, height, width), torch.uint8, 0)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), split.image(i))
        assert np.array_equal(split.image(i), np.asarray(picture(width, height, seed=i)))


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_any_sizes(root: Path, workers: int) -> None:
    data = load_folder(root, image_size=16)
    source = Batches(data, data.train, 3, train=True, augment=True, seed=1, workers=workers)
    for epoch in (0, 1):
        parts = list(source.epoch(epoch))
        assert sorted(torch.cat([ids for _, _, ids in parts]).tolist()) == list(range(7))
        assert [len(images) for images, _, _ in parts] == [3, 2, 2]
        assert all(images.shape[1:] == (3, 16, 16) and images.isfinite().all() for images, _, _ in parts)
    plain = Batches(data, data.test, 3)
    images, targets, ids = next(plain.epoch(0))
    assert (images.shape, targets.tolist(), ids.tolist()) == ((1, 3, 16, 16), [1], [0])


def test_crops_do_not_depend_on_workers_or_neighbours(root: Path) -> None:
    data = load_folder(root, image_size=16)

    def seen(ids: list[int], size: int, workers: int, epoch: int) -> dict[int, torch.Tensor]:
        source = Batches(data, data.train, size, train=True, augment=True, seed=1, workers=workers, ids=np.array(ids))
        return {int(i): image for images, _, rows in source.epoch(epoch) for i, image in zip(rows, images, strict=True)}

    everything = seen(list(range(7)), 4, 0, 3)
    for found in (seen([6, 0, 3], 2, 1, 3), seen([3], 1, 0, 3)):
        assert all(torch.equal(image, everything[i]) for i, image in found.items())
    assert not torch.equal(seen([0], 1, 0, 4)[0], everything[0])


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16", "CMYK"])
def test_every_kind_of_picture_becomes_colour(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 6), 204 * 256 + 7, np.uint16))
    else:
        image = Image.new("RGB", (6, 4), (204, 204, 204) if mode != "1" else (255, 255, 255)).convert(mode)
    path = write(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"), image)
    shown = read_picture(path)
    assert shown.shape == (4, 6, 3)
    assert shown.dtype == np.uint8
    assert abs(int(shown.min()) - (255 if mode == "1" else 204)) <= 2
    assert shown.flags.writeable


def test_a_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new("RGBA", (6, 4), (10, 200, 30, 255)).convert("P", palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / "a.png", transparency=bytes([255, 0, 128]))
    assert read_picture(tmp_path / "a.png")[0, 0].tolist() == [10, 200, 30]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_values_without_a_known_range_are_refused(tmp_path: Path, kind: type[np.generic]) -> None:
    """They were cut off at 255: [0, 1] became black."""
    Image.fromarray(np.linspace(0, 1, 12, dtype=kind).reshape(3, 4)).save(tmp_path / "a.tif")
    (tmp_path / "a.tif").rename(tmp_path / "a.png")
    with pytest.raises(CorruptFileError, match=r"a\.png cannot be read as a picture \(its TIFF values of 32 bits"):
        read_picture(tmp_path / "a.png")


TEXTURE = b"DDS \x7c" + bytes(75) + b"\x11" + bytes(47)  # of a kind that Pillow knows, but not in this form


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"P5\n9999 9\n255\n", TEXTURE]
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".pgm"])
def test_a_broken_picture_is_named(tmp_path: Path, content: bytes, suffix: str) -> None:
    (tmp_path / f"broken{suffix}").write_bytes(content)
    with pytest.raises(CorruptFileError, match=rf"broken{suffix} cannot be read"):
        read_picture(tmp_path / f"broken{suffix}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".ppm"])
def test_damaged_pictures_raise_one_error_or_none(tmp_path: Path, suffix: str) -> None:
    raw = write(tmp_path / f"whole{suffix}", picture(12, 9)).read_bytes()
    path, rng = tmp_path / f"damaged{suffix}", np.random.default_rng(0)
    for position in [*range(min(60, len(raw))), *rng.integers(0, len(raw), 40)]:
        for damaged in (raw[:position], raw[:position] + bytes([raw[position] ^ 1 << position % 8]) + raw[position + 1 :]):
            path.write_bytes(damaged)
            with contextlib.suppress(CorruptFileError):
                assert read_picture(path).ndim == 3


def test_a_broken_picture_is_named_through_a_worker(root: Path) -> None:
    (root / "train" / "cat" / "2.png").write_bytes(b"broken")
    data = load_folder(root, image_size=8)
    for workers in (0, 1):
        with pytest.raises(CorruptFileError, match=r"2\.png cannot be read.*Replace or remove it\.$") as found:
            list(Batches(data, data.train, 4, workers=workers).epoch(0))
        assert str(found.value).startswith(str(root))  # without the worker's traceback


def test_a_picture_that_is_gone(root: Path) -> None:
    data = load_folder(root)
    (root / "train" / "cat" / "2.png").unlink()
    with pytest.raises(MissingFileError, match=r"2\.png was there"):
        data.train[2]
    with pytest.raises(MissingFileError, match=r"2\.png was there"):
        data.fingerprint


def test_fingerprint(root: Path) -> None:
    first = load_folder(root).fingerprint
    assert load_folder(root).fingerprint == first
    write(root / "val" / "dog" / "2.png")
    assert load_folder(root).fingerprint == first  # the training half alone
    (root / "train" / "cat" / "0.png").rename(root / "train" / "cat" / "9.png")
    renamed = load_folder(root).fingerprint
    write(root / "train" / "cat" / "9.png", picture(41, 30))
    assert len({first, renamed, load_folder(root).fingerprint}) == 3


# ---- folders that are not right


@pytest.mark.parametrize("gone", ["train", "val"])
def test_half_a_data_set(root: Path, gone: str) -> None:
    (root / gone).rename(root / "elsewhere")
    lacking = {"train": "train", "val": r"val \(or test\)"}[gone]
    with pytest.raises(MissingFileError, match=rf"train and val.* but there is no {lacking}\.$"):
        load_folder(root)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"train and val.* but there is no such folder\.$"):
        load("folder", tmp_path / "nowhere")


def test_no_classes(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a.png")
    (tmp_path / "val").mkdir()
    with pytest.raises(InputError, match="one folder per class"):
        load_folder(tmp_path)


def test_an_empty_class_is_named(root: Path) -> None:
    (root / "train" / "bird").mkdir()
    (root / "train" / "bird" / "a.txt").write_text("no picture")
    with pytest.raises(InputError, match=r"without a picture.*bird"):
        load_folder(root)


def test_one_class_is_too_few(tmp_path: Path) -> None:
    write(tmp_path / "train" / "cat" / "0.png")
    write(tmp_path / "val" / "cat" / "0.png")
    with pytest.raises(InputError, match=r"at least 2 classes .* there is only cat"):
        load_folder(tmp_path)


def test_what_is_not_used_is_told(root: Path) -> None:
    for half, name in (("train", "a.gif"), ("train", "b.TIFF"), ("val", "c.gif")):
        (root / half / "dog" / name).write_bytes(b"")
    described = load("folder:size=8", root).describe()
    assert described.endswith(
        "; 3 pictures are not read (.gif, .tiff): convert them to .png or .jpg; 1 class has no picture in val (cat)"
    )
    write(root / "val" / "cat" / "0.png")
    assert "no picture" not in load("folder", root).describe()


def test_pictures_beside_the_class_folders_are_told(root: Path) -> None:
    for half, name in (("train", "a.JPG"), ("train", ".b.png"), ("val", "c.gif")):
        (root / half / name).write_bytes(b"")
    assert "; 2 pictures are in no class folder and not used" in load_folder(root).describe()


def test_ids_go_class_by_class(root: Path) -> None:
    write(root / "train" / "cat 2" / "0.png")  # all paths sorted together, it would come before cat/0.png
    split = folder_split(load_folder(root))
    assert [split.name(i) for i in (0, 4, 5, 6)] == [
        "train/cat/0.png", "train/cat/4.png", "train/cat 2/0.png", "train/dog/a/deep.bmp"
    ]  # fmt: skip


def test_a_class_folder_may_be_a_link(root: Path) -> None:
    before = load_folder(root)
    (root / "train" / "cat").rename(root / "cats")
    os.symlink(root / "cats", root / "train" / "cat")
    after = load_folder(root)
    assert after.fingerprint == before.fingerprint
    assert "link" not in after.describe()


def test_names_that_are_nearly_right(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"no 'siz' in 'folder:siz=32' \(did you mean size\?\)"):
        load("folder:siz=32", root)
    monkeypatch.chdir(root.parent)
    with pytest.raises(UnknownNameError, match=f"--data folder --data-dir {root.name}"):
        load(root.name)


def test_two_folders_are_one_too_many(root: Path, tmp_path: Path) -> None:
    """The one in the name was read, and the other passed over."""
    with pytest.raises(InputError, match=r"Expected one folder of pictures, but got .*elsewhere beside it\. Omit one"):
        load(f"folder:{root}", tmp_path / "elsewhere")
    assert len(load(f"folder:{root}", root / "train" / "..").train) == 7
    with pytest.raises(InputError, match="Expected the image folder of 'folder:size=8:': give --data-dir"):
        load("folder:size=8:")


def test_a_class_of_links_counts_as_empty(root: Path) -> None:
    (root / "train" / "bird").mkdir()
    os.symlink(root / "train" / "cat" / "0.png", root / "train" / "bird" / "0.png")
    with pytest.raises(InputError, match="symbolic links"):
        load_folder(root)


def test_a_loop_of_links_ends(root: Path) -> None:
    os.symlink(root / "train", root / "train" / "cat" / "loop")
    assert len(load_folder(root).train) == 7


def test_links_that_are_passed_over_are_told(root: Path) -> None:
    os.symlink(root / "train" / "cat" / "0.png", root / "val" / "dog" / "2.png")
    assert "symbolic link is skipped" in load_folder(root).describe()
    os.symlink(root / "train" / "cat", root / "train" / "dog" / "more")
    os.symlink(root / "nowhere.png", root / "train" / "dog" / "gone.png")
    os.symlink(root / "train" / "dog" / "notes.txt", root / "train" / "dog" / "more.txt")
    data = load_folder(root)
    assert "3 symbolic links are skipped" in data.describe()
    assert (len(data.train), len(data.test)) == (7, 1)


def test_the_size_is_part_of_the_name_where_it_is_given(root: Path) -> None:
    for name, size in (("folder", 224), ("folder:size=16", 16), ("imagenet", 224)):
        data = load(name, root)
        assert (data.name, data.image_size) == (name, size)
    assert load(f"folder:size=16:{root}").name == "folder:size=16"
    assert (load_folder(root).image_size, load_folder(root, image_size=1).image_size) == (224, 1)
    with pytest.raises(InputError, match="image_size as an integer >= 1, but got 0"):
        load_folder(root, image_size=0)


def test_pictures_are_normalised_as_those_of_imagenet(root: Path) -> None:
    data = load_folder(root)
    assert (data.mean, data.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_a_test_class_without_training(root: Path) -> None:
    write(root / "val" / "wolf" / "1.png")
    with pytest.raises(InputError, match=r"lacks: wolf\. Remove these folders, or add"):
        load_folder(root)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that keeps both names apart")
def test_a_test_class_that_only_looks_like_a_training_class(root: Path) -> None:
    write(root / "train" / "Bär" / "1.png")
    write(root / "val" / "Ba\u0308r" / "1.png")
    write(root / "train" / "Zoë" / "1.png")
    write(root / "val" / "Zoe\u0308" / "1.png")
    with pytest.raises(
        InputError, match=r"lacks: .*\. 'Ba\\u0308r' and 'B\\xe4r' look the same: rename one as the other\. "
    ):
        load_folder(root)


def test_no_test_pictures(root: Path) -> None:
    (root / "val" / "dog" / "1.webp").unlink()
    with pytest.raises(InputError, match="Expected pictures"):
        load_folder(root)


def test_a_bad_size(root: Path) -> None:
    with pytest.raises(InputError, match="image_size"):
        load_folder(root, image_size=0)


# ---- crops


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 1), (50, 40), (16, 16), (3, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_crops_have_the_size_asked_for(shape: tuple[int, int], channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, channels), dtype=np.uint8)
    for seed in range(10):
        assert resized_crop(image, 16, np.random.default_rng(seed)).shape == (16, 16, channels)
    assert centre_crop(image, 16).shape == (16, 16, channels)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_no_channel_is_taken_for_transparency(channels: int) -> None:
    """Pillow multiplies colours by what it takes for their opacity before it resizes them."""
    image = np.random.default_rng(0).integers(0, 256, (30, 40, channels), dtype=np.uint8)
    image[..., -1] = 0
    cut = centre_crop(image, 16)
    for channel in range(channels):
        assert np.array_equal(cut[..., channel], centre_crop(image[..., channel : channel + 1], 16)[..., 0])
    assert cut[..., 0].any()
    assert resized_crop(image, 16, np.random.default_rng(0))[..., 0].any()


def test_the_centre_is_cut_out() -> None:
    image = np.zeros((256, 512, 3), np.uint8)
    image[16:240, 144:368] = 255
    assert centre_crop(image, 224).min() == 255
    assert centre_crop(image, 224).shape == (224, 224, 3)


def test_a_side_twice_as_long_stays_twice_as_long() -> None:
    # 98 * (256 / 49) is a little less than 512 in float64
    image = np.random.default_rng(0).integers(0, 256, (49, 98, 3), dtype=np.uint8)
    whole = Image.fromarray(image).resize((512, 256), Image.Resampling.BILINEAR)
    assert np.array_equal(centre_crop(image, 224), np.asarray(whole)[16:240, 144:368])


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes for a name")
def test_a_class_whose_name_is_no_text_can_be_written_of(tmp_path: Path) -> None:
    """The report did, after all trainings."""
    for half, names in (("train", (b"cat", b"d\xfcg", b"\xff")), ("val", (b"cat", b"d\xfcg"))):
        for name in names:
            folder = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), half.encode(), name)))
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / "0.png")
    data = load_folder(tmp_path)
    assert data.class_names == ("cat", r"d\xfcg", r"\xff")
    assert data.train.image(1).shape == (8, 8, 3)
    assert rb"no picture in val (\xff)" in data.describe().encode()


def test_val_goes_before_test(root: Path) -> None:
    write(root / "test" / "cat" / "1.png")
    write(root / "test" / "cat" / "2.png")
    assert load_folder(root).test.targets.tolist() == [1]


def test_no_more_than_three_classes_without_pictures_are_named(root: Path) -> None:
    for name in ("eel", "fox"):
        write(root / "train" / name / "0.png")
    assert load_folder(root).describe().endswith("3 classes have no picture in val (cat, eel, fox)")
    write(root / "train" / "gnu" / "0.png")
    assert load_folder(root).describe().endswith("4 classes have no picture in val (cat, eel, fox, ...)")


def test_a_pipe_is_no_picture(root: Path) -> None:
    os.mkfifo(root / "train" / "cat" / "7.png")
    assert len(load_folder(root).train) == 7


def test_another_seed_cuts_another_part(root: Path) -> None:
    data = load_folder(root, image_size=16)
    one, other = (Batches(data, data.train, 7, train=True, augment=True, seed=seed) for seed in (1, 2))
    first, second = (
        dict(zip(ids.tolist(), images, strict=True)) for images, _, ids in (next(b.epoch(0)) for b in (one, other))
    )
    assert not torch.equal(first[0], second[0])


def test_a_random_part_is_of_the_published_sizes_anywhere_and_half_are_mirrored() -> None:
    """Every pixel tells its row and its column."""
    side = 200
    image = np.zeros((side, side, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(side)[:, None], np.arange(side)
    found = []
    for seed in range(400):
        part = resized_crop(image, 20, np.random.default_rng(seed)).astype(int)
        (top, left), (bottom, right) = part[0, 0, :2], part[-1, -1, :2]
        rows, columns = (bottom - top) / 0.95 / side, abs(right - left) / 0.95 / side  # from centre to centre of 20 pixels
        middle = (top + bottom) / 2 / side, (left + right) / 2 / side
        found.append((rows * columns, columns / rows, rows, right < left, *middle))
    area, ratio, rows, mirrored, down, across = np.array(found).T
    assert (rows > 0).all()
    assert (0.06 < area.min() < 0.12, 0.9 < area.max() < 1.05, abs(area.mean() - 0.5) < 0.05) == (True, True, True)
    assert 0.7 < ratio.min() < 0.8 < 1.25 < ratio.max() < 1.45
    assert abs(np.log(ratio).mean()) < 0.02
    assert abs(mirrored.mean() - 0.5) < 0.08
    small = area < 0.3
    for middle in (down[small], across[small]):
        assert middle.min() < 0.3
        assert middle.max() > 0.7


@pytest.mark.parametrize("shape", [(10, 400), (400, 10)])
def test_of_a_picture_too_narrow_for_any_part_the_middle_is_shown(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    middle = image[:, 193:206] if shape[1] == 400 else image[193:206]  # 13 is 4/3 of 10, rounded
    whole = np.asarray(Image.fromarray(middle).resize((16, 16), Image.Resampling.BILINEAR))
    shown = {resized_crop(image, 16, np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert shown == {whole.tobytes(), whole[:, ::-1].tobytes()}


def test_a_centre_between_two_pixels_is_rounded_as_by_torchvision() -> None:
    image = np.random.default_rng(0).integers(0, 256, (18, 23, 3), dtype=np.uint8)
    assert np.array_equal(centre_crop(image, 16), image[1:17, 4:20])  # 3.5 is rounded to 4
    assert np.array_equal(centre_crop(image.transpose(1, 0, 2), 16), image[1:17, 4:20].transpose(1, 0, 2))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any character in a name")
def test_control_characters_in_a_class_name_are_shown_escaped(tmp_path: Path) -> None:
    """They would break the tables, and a terminal would obey them; a file's own path stays as it is."""
    for half, name in (("train", "cat"), ("train", "two\nlines"), ("train", "\x1b[2J"), ("val", "cat")):
        write(tmp_path / half / name / "0.png")
    data = load_folder(tmp_path)
    assert data.class_names == (r"\x1b[2J", "cat", r"two\nlines")
    assert r"no picture in val (\x1b[2J, two\nlines)" in data.describe()
    assert folder_split(data).name(2) == "train/two\nlines/0.png"
