"""Corruptions: each against a slow literal one, exact counts, both variants, any size, read late as in memory."""

from __future__ import annotations

import io
import json
import math
import pickle
import tracemalloc
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from thresher.commands.corrupt import _shown, corruption_picture
from thresher.data import ArraySplit, Data, DatasetSplit, load
from thresher.data.corrupt import KINDS, CorruptedSplit, Corruption, assigned, corrupt_data, corrupted_image
from thresher.data.corruptions import fog, gaussian_noise, lower_resolution, motion_blur, occlude, streak
from thresher.data.mislabel import Mislabeling, flip_targets
from thresher.errors import InputError, SampleIdError

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((32, 32)))
GOLDEN = {
    "intended": [4255063974, 2441980059, 1257538535, 2300636824, 3755762372, 2816273114],
    "published-code": [4255063974, 1970594637, 718926777, 2300636824, 1743178116, 2816273114],
}
"""CRC-32 of sample 7, a ramp, with each of KINDS."""


def data_of(images: NDArray[np.uint8], *, lazily: bool = False, classes: int = 4) -> Data:
    """Return a data set of images (N, H, W, C), in memory or read one by one."""
    targets = np.arange(len(images)) % classes
    arrays = ArraySplit(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), targets)
    train = DatasetSplit(list(zip(images, targets.tolist(), strict=True))) if lazily else arrays
    channels = images.shape[3]
    names = tuple(f"class {c}" for c in range(classes))
    return Data("some", train, arrays, names, (0.5,) * channels, (0.2,) * channels, "imagenet", images.shape[1], channels)


# ---- the operations, each against a literal one at the published size


def literal_streak(size: int) -> list[list[int]]:
    """An identity matrix turned by 45 degrees about (size / 2, size / 2), place by place, in 1024ths."""
    cosine = sine = math.cos(math.pi / 4)
    middle = size / 2
    shift_x, shift_y = (1 - cosine) * middle - sine * middle, sine * middle + (1 - cosine) * middle
    back_x, back_y = -(cosine * shift_x - sine * shift_y), -(sine * shift_x + cosine * shift_y)
    kernel = [[0] * size for _ in range(size)]
    for y in range(size):
        for x in range(size):
            fine_x = (round(cosine * x * 1024) + round((-sine * y + back_x) * 1024) + 16) // 32
            fine_y = (round(sine * x * 1024) + round((cosine * y + back_y) * 1024) + 16) // 32
            for dy in (0, 1):
                for dx in (0, 1):
                    row, column = fine_y // 32 + dy, fine_x // 32 + dx
                    weight_y = fine_y % 32 if dy else 32 - fine_y % 32
                    weight_x = fine_x % 32 if dx else 32 - fine_x % 32
                    if row == column and 0 <= row < size:
                        kernel[y][x] += weight_y * weight_x
    return kernel


def mirrored(index: int, size: int) -> int:
    """Reflect an index at the borders without repeating the edge."""
    while not 0 <= index < size:
        index = -index if index < 0 else 2 * (size - 1) - index
    return index


def literal_blur(image: NDArray[np.uint8], taps: int) -> NDArray[np.uint8]:
    """Correlate pixel by pixel, round, and stretch everything to 0..255."""
    kernel, (height, width, channels) = literal_streak(taps), image.shape
    weights = [(r, c, kernel[r][c]) for r in range(taps) for c in range(taps) if kernel[r][c]]
    blurred = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            for channel in range(channels):
                total = sum(
                    weight * int(image[mirrored(y + r - taps // 2, height), mirrored(x + c - taps // 2, width), channel])
                    for r, c, weight in weights
                )
                blurred[y, x, channel] = min(round(total / 1024 / taps), 255)
    low, high = blurred.min(), blurred.max()
    return np.rint((blurred - low) * 255 / (high - low)).astype(np.uint8)


@pytest.mark.parametrize("size", [1, 2, 4, 15, 30])
def test_the_streak_is_a_turned_diagonal(size: int) -> None:
    assert streak(size).tolist() == literal_streak(size)


def test_the_streak_at_32() -> None:
    weights = streak(15) / 1024 / 15
    assert np.flatnonzero(weights.any(axis=1)).tolist() == [7, 8]
    assert 0.0175 < weights[7:9].min() < weights.max() < 0.0285
    assert weights.sum() == pytest.approx(0.698, abs=5e-4)


@pytest.mark.parametrize("image", [PICTURE, SMOOTH], ids=["noise", "smooth"])
def test_motion_blur(image: NDArray[np.uint8]) -> None:
    ours = motion_blur(image)
    assert np.array_equal(ours, literal_blur(image, 15))
    assert (int(ours.min()), int(ours.max())) == (0, 255)


def test_motion_blur_of_one_colour_is_black() -> None:
    assert not motion_blur(np.full((32, 32, 3), 99, np.uint8)).any()


def test_fog() -> None:
    wanted = np.zeros_like(PICTURE)
    for y in range(32):
        for x in range(32):
            distance = math.sqrt((y - 16) ** 2 + (x - 16) ** 2)
            through = math.exp(-0.4 * (math.sqrt(32) - 0.04 * distance))
            for channel in range(3):
                wanted[y, x, channel] = int((PICTURE[y, x, channel] / 255 * through + 0.5 * (1 - through)) * 255)
    assert np.array_equal(fog(PICTURE), wanted)
    assert not fog(PICTURE, black=True).any()
    black, white = (fog(np.full((32, 32, 1), v, np.uint8)) for v in (0, 255))
    assert int(white[16, 16, 0]) - int(black[16, 16, 0]) == pytest.approx(0.104 * 255, abs=1)
    assert int(white[0, 0, 0]) - int(black[0, 0, 0]) == pytest.approx(0.149 * 255, abs=1)


@pytest.mark.parametrize("wrap", [False, True])
def test_gaussian_noise(wrap: bool) -> None:
    noise = np.random.default_rng(5).normal(0.2, 1.0, PICTURE.shape)
    wanted = np.zeros_like(PICTURE)
    for place in np.ndindex(PICTURE.shape):
        value = max(min(PICTURE[place] / 255 + noise[place], 1.0), -1.0 if wrap else 0.0)
        wanted[place] = int(value * 255) % 256  # int() cuts towards zero, % is never negative
    assert np.array_equal(gaussian_noise(PICTURE, np.random.default_rng(5), wrap=wrap), wanted)


def test_negative_noise_wraps_as_on_x86() -> None:
    for value, level in ((-0.5, 129), (-1.0, 1), (-3.0, 1), (-0.001, 0), (2.0, 255)):
        black = np.zeros((4, 4, 3), np.uint8)
        assert np.unique(gaussian_noise(black, RNG, mean=value, std=0.0, wrap=True)).tolist() == [level]
    noisy = gaussian_noise(np.zeros((64, 64, 3), np.uint8), np.random.default_rng(0), wrap=False)
    assert (noisy == 0).mean() == pytest.approx(0.42, abs=0.02)


def test_occlusion() -> None:
    wanted = PICTURE.copy()
    for y in range(5, 21):
        for x in range(5, 21):
            wanted[y, x] = 0
    assert np.array_equal(occlude(PICTURE), wanted)
    seen = set()
    for seed in range(40):
        hidden = (occlude(PICTURE | 1, np.random.default_rng(seed)) == 0).all(axis=2)
        rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
        assert hidden.sum() == 256 == len(rows) * len(columns)
        seen.add((int(rows[0]), int(columns[0])))
    assert len(seen) > 30


def test_resolution() -> None:
    small = Image.fromarray(PICTURE).resize((8, 8), Image.Resampling.BICUBIC)
    assert np.array_equal(lower_resolution(PICTURE), np.asarray(small.resize((32, 32), Image.Resampling.BICUBIC)))


def test_pictures_stay_the_same_on_every_machine() -> None:
    ramp = (np.arange(32)[:, None] * 5 + np.arange(32)[None] * 2).astype(np.uint8)[..., None].repeat(3, axis=2)
    checks = {
        variant: [zlib.crc32(corrupted_image(ramp, kind, 7, Corruption(variant)).tobytes()) for kind in KINDS]
        for variant in ("intended", "published-code")
    }
    assert checks == GOLDEN


# ---- any size


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 3, 4]), st.sampled_from(KINDS),
    st.sampled_from(["intended", "published-code"]),
)  # fmt: skip
def test_any_picture_keeps_its_form(height: int, width: int, channels: int, kind: str, variant: str) -> None:
    image = np.random.default_rng(height).integers(0, 256, (height, width, channels), dtype=np.uint8)
    before = image.copy()
    made = corrupted_image(image, kind, 3, Corruption(variant))
    assert (made.shape, made.dtype) == (image.shape, np.uint8)
    assert np.array_equal(image, before)
    assert np.array_equal(made, corrupted_image(image, kind, 3, Corruption(variant)))


def test_lengths_grow_with_the_side() -> None:
    double = PICTURE.repeat(2, axis=0).repeat(2, axis=1)
    hidden = np.flatnonzero((occlude(double | 1) == 0).all(axis=(1, 2)) | (occlude(double | 1)[:, 20] == 0).all(axis=1))
    assert (hidden[0], hidden[-1]) == (10, 41)
    small, large = fog(PICTURE).astype(int), fog(double)[::2, ::2].astype(int)
    assert np.abs(small - large).max() <= 1
    wide = np.asarray(Image.fromarray(SMOOTH).resize((128, 128)))
    shrunk = np.asarray(Image.fromarray(motion_blur(wide)).resize((32, 32), Image.Resampling.BOX)).astype(int)
    assert np.abs(shrunk - motion_blur(SMOOTH)).mean() < 8
    tall = RNG.integers(1, 256, (64, 16, 1), dtype=np.uint8)
    hidden_rows, hidden_columns = (np.flatnonzero((occlude(tall) == 0).any(axis=(axis, 2))) for axis in (1, 0))
    assert (len(hidden_rows), len(hidden_columns)) == (32, 8)


def test_a_long_blur_against_the_literal_one() -> None:
    image = RNG.integers(0, 256, (9, 47, 1), dtype=np.uint8)  # more taps than rows: mirrored more than once
    assert np.array_equal(motion_blur(image), literal_blur(image, 22))


def test_a_blur_in_several_bands_against_the_literal_one() -> None:
    image = RNG.integers(0, 256, (133, 6, 1), dtype=np.uint8)
    assert np.array_equal(motion_blur(image, length=3.0), literal_blur(image, 12))


def test_a_photograph_is_blurred_in_a_few_times_its_own_memory() -> None:
    """The spectrum of all rows took gigabytes for twelve megapixels, in every worker."""
    image = RNG.integers(0, 256, (900, 600, 3), dtype=np.uint8)
    tracemalloc.start()
    try:
        motion_blur(image)
        assert tracemalloc.get_traced_memory()[1] < 5 * 8 * image.size
    finally:
        tracemalloc.stop()


# ---- which samples


@settings(max_examples=50, deadline=None)
@given(st.integers(25, 3000), st.sampled_from([0.04, 0.06, 0.1, 0.13, 0.2]), st.integers(0, 5))
def test_counts_are_exact(n: int, share: float, seed: int) -> None:
    codes = assigned(n, Corruption(share=share, seed=seed))
    counts = np.bincount(codes, minlength=len(KINDS))
    hundredths = round(share * 100)
    assert counts[1:].tolist() == [n * hundredths // 100] * 5
    assert counts.sum() == n == len(codes)
    assert codes.dtype == np.int8
    assert not codes.flags.writeable


def test_published_shares_of_cifar() -> None:
    assert np.bincount(assigned(50_000, Corruption())).tolist() == [40_000, *[2_000] * 5]
    assert np.bincount(assigned(50_000, Corruption(share=0.06))).tolist() == [35_000, *[3_000] * 5]
    assert np.bincount(assigned(100_000, Corruption(share=0.2)), minlength=6).tolist() == [0, *[20_000] * 5]


def test_seeds_draw_other_samples_and_other_pixels() -> None:
    one, same, other = (assigned(1000, Corruption(seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    looks = {corrupted_image(PICTURE, "gaussian_noise", i, Corruption(seed=s)).tobytes() for i in (0, 1) for s in (0, 1)}
    assert len(looks) == 4


# ---- whole data sets


@pytest.mark.parametrize("variant", ["intended", "published-code"])
@pytest.mark.parametrize("form", [(16, 16, 3), (64, 64, 3), (24, 40, 3), (8, 8, 1)], ids=str)
def test_read_late_as_in_memory(form: tuple[int, ...], variant: str) -> None:
    images = RNG.integers(0, 256, (60, *form), dtype=np.uint8)
    spec = f"{variant}:share=0.1:seed=4"
    now, late = corrupt_data(data_of(images), spec), corrupt_data(data_of(images, lazily=True), spec)
    assert isinstance(now.data.train, ArraySplit)
    assert isinstance(late.data.train, CorruptedSplit)
    assert np.array_equal(now.codes, late.codes)
    assert np.bincount(now.codes).tolist() == [30, 6, 6, 6, 6, 6]
    for i in range(60):
        image, target = late.data.train[i]
        assert torch.equal(image, now.data.train[i][0])
        assert np.array_equal(late.data.train.image(i), now.data.train.image(i))
        assert target == i % 4
        wanted = corrupted_image(images[i], KINDS[now.codes[i]], i, Corruption(variant, share=0.1, seed=4))
        assert np.array_equal(now.data.train.image(i), wanted)
        assert now.codes[i] or np.array_equal(wanted, images[i])
    assert torch.equal(late.data.train[-1][0], late.data.train[59][0])
    sent = pickle.loads(pickle.dumps(late.data.train))
    assert torch.equal(sent[5][0], late.data.train[5][0])


@pytest.mark.parametrize("lazily", [False, True])
def test_what_stays_and_what_differs(lazily: bool) -> None:
    images = RNG.integers(0, 256, (100, 16, 16, 3), dtype=np.uint8)
    data = data_of(images, lazily=lazily)
    print_before = data.fingerprint
    made = [corrupt_data(data, spec).data for spec in ("intended", "published-code", "intended:seed=1", "intended:fog=0.3")]
    assert len({print_before, *(d.fingerprint for d in made)}) == 5
    assert [d.name for d in made[:3]] == [
        "some+corrupt=intended", "some+corrupt=published-code", "some+corrupt=intended:seed=1",
    ]  # fmt: skip
    for changed in made:
        assert changed.test is data.test
        assert np.array_equal(changed.train.targets, data.train.targets)
        assert (changed.mean, changed.class_names, changed.image_size) == (data.mean, data.class_names, data.image_size)
    assert corrupt_data(data, "intended").data.fingerprint == made[0].fingerprint
    assert data_of(images, lazily=lazily).fingerprint == print_before  # the original was not written to


def test_published_fog_is_black_in_the_data_set() -> None:
    made = corrupt_data(load("digits"), "published-code")
    foggy = np.flatnonzero(made.codes == KINDS.index("fog"))
    assert len(foggy) == 57
    assert not any(made.data.train.image(int(i)).any() for i in foggy)


def test_load_takes_the_text() -> None:
    assert load("digits", corrupt="intended").fingerprint == corrupt_data(load("digits")).data.fingerprint


def test_folders_are_corrupted_when_read(tmp_path: Path) -> None:
    for half in ("train", "val"):
        for label in ("a", "b"):
            (tmp_path / half / label).mkdir(parents=True)
            for i in range(15):
                pixels = RNG.integers(0, 256, (20 + i, 31, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / half / label / f"{i:02}.png")
    clean = load("folder", tmp_path, image_size=16)
    made = corrupt_data(clean, "intended:share=0.2")
    assert np.bincount(made.codes, minlength=6).tolist() == [0, 6, 6, 6, 6, 6]
    for i in (0, 7, 29):
        wanted = corrupted_image(clean.train.image(i), KINDS[made.codes[i]], i, Corruption(share=0.2))
        assert np.array_equal(made.data.train.image(i), wanted)
    assert len({clean.fingerprint, made.data.fingerprint, load("folder", tmp_path, corrupt="intended").fingerprint}) == 3


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5, 1), (5, 1, 1), (2, 2, 3)])
def test_low_resolution_leaves_a_pixel_of_the_smallest_picture(shape: tuple[int, int, int]) -> None:
    picture = np.full(shape, 90, np.uint8)
    assert np.array_equal(lower_resolution(picture), picture)


def test_real_cifar(cifar_root: Path) -> None:
    clean = load("cifar100", cifar_root)
    made = corrupt_data(clean, "intended:seed=0:share=0.01")
    n = len(clean.train)
    assert np.bincount(made.codes).tolist() == [n - 5 * (n // 100), *[n // 100] * 5]
    assert isinstance(clean.train, ArraySplit)
    assert isinstance(made.data.train, ArraySplit)
    same = (clean.train.images == made.data.train.images).flatten(1).all(dim=1).numpy()
    assert np.array_equal(same, made.codes == 0)


# ---- text and bad input


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["intended", "published-code"]), st.floats(0.001, 0.2), st.integers(0, 2**40), st.floats(0, 5))
def test_text_there_and_back(variant: str, share: float, seed: int, noise: float) -> None:
    spec = Corruption(variant, share=share, seed=seed, noise=noise)
    assert Corruption.parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("intendet", "did you mean intended?"),
        ("published", "did you mean published-code?"),
        ("", "Expected a corruption intended or published-code"),
        ("intended:share=0.21", r"Expected a share in \(0, 0\.2\].*1\.05 of the images"),
        ("intended:share=0", "For no corruption, omit it"),
        ("intended:share=-0.1", r"Expected share as a number in \[0, 1\], but got -0\.1"),
        ("intended:share=nan", "Expected share as a number"),
        ("intended:noise=-1", "Expected noise as a number >= 0, but got -1.0"),
        ("intended:fog=inf", "Expected fog as a number >= 0, but got inf"),
        ("intended:blur=-3", "Expected blur as a number >= 0"),
        ("intended:occlusion=1.5", r"Expected occlusion as a number in \[0, 1\]"),
        ("intended:resolution=1.01", r"Expected resolution as a number in \[0, 1\]"),
        ("intended:noise=-0.01", "Expected noise as a number >= 0"),
        ("intended:noise_mean=1.01", r"Expected noise_mean as a number in \[-1, 1\]"),
        ("intended:noise_mean=-1.01", r"Expected noise_mean as a number in \[-1, 1\]"),
        ("intended:resolution=two", "Expected resolution as a number, as in intended:share"),
        ("intended:seed=1.5", "Expected seed as a whole number"),
        ("intended:seed=-1", "Expected seed as a whole number >= 0"),
        ("intended:shares=0.1", "There is no 'shares' in .*did you mean share?"),
        ("intended:share=0.1:share=0.1", "each key once"),
        ("intended:share", "Expected values such as"),
        ("intended:variant=intended", "each key once"),
    ],
)
def test_impossible_texts(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load("digits", corrupt=text)


def test_equal_specs_are_one_whatever_their_numbers_are_made_of() -> None:
    late = data_of(np.zeros((50, 8, 8, 3), dtype=np.uint8), lazily=True)
    of_numpy = Corruption(share=np.float64(0.04), seed=np.int64(3), fog=1)  # type: ignore[arg-type]
    plain = Corruption(seed=3, fog=1.0)
    assert repr(of_numpy) == repr(plain)
    assert str(of_numpy) == str(plain) == "intended:seed=3:fog=1.0"
    assert corrupt_data(late, of_numpy).data.fingerprint == corrupt_data(late, plain).data.fingerprint
    for share in (np.float32(0.29), np.float16(0.29), Fraction(1, 3), 1):
        noise = Mislabeling(share)  # type: ignore[arg-type]
        assert Mislabeling.parse(str(noise)) == noise
        marks = [flip_targets(np.arange(100) % 5, 5, spec)[0] for spec in (noise, Mislabeling.parse(str(noise)))]
        np.testing.assert_array_equal(*marks)
    assert Mislabeling(np.float32(0.7)) == Mislabeling(0.7)  # type: ignore[arg-type]
    assert Corruption(share=np.float16(0.2)).share == 0.2  # type: ignore[arg-type]  # all are corrupted, and no more
    assert Mislabeling.parse(f"0.2:seed={10**400}").seed == 10**400


def test_impossible_inputs() -> None:
    with pytest.raises(InputError, match="Expected seed as a whole number"):
        Corruption(seed=1.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Expected share as a number"):
        Corruption(share="much")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least one of 10 samples"):
        corrupt_data(data_of(RNG.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)), "intended")
    with pytest.raises(InputError, match=r"uint8 image \(H, W, C\).*got float64 .*Multiply floats"):
        corrupted_image(np.zeros((8, 8, 3)), "fog", 0, Corruption())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="give a grey image one channel"):
        corrupted_image(np.zeros((8, 8), np.uint8), "fog", 0, Corruption())
    with pytest.raises(InputError, match=r"did you mean fog\?"):
        corrupted_image(PICTURE, "foggy", 0, Corruption())


# ---- the picture


def shown(png: bytes) -> NDArray[Any]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_the_picture_shows_every_kind() -> None:
    digits = load("digits")
    one, other = (shown(corruption_picture(digits, Corruption(v), (0, 5, 9))) for v in ("intended", "published-code"))
    assert one.shape == other.shape
    assert one.shape[1] > one.shape[0] > 300
    assert not np.array_equal(one, other)
    assert corruption_picture(digits, Corruption(), (3,)) == corruption_picture(digits, Corruption(), (3,))
    with pytest.raises(SampleIdError, match=r"ids in \[0, 1437\), but got 1437"):
        corruption_picture(digits, Corruption(), (0, 1437))
    with pytest.raises(InputError, match="1 to 50 samples"):
        corruption_picture(digits, Corruption(), tuple(range(51)))


def test_the_samples_stay_the_same_on_every_machine() -> None:
    assert [np.flatnonzero(assigned(25, Corruption()) == code).tolist() for code in range(1, 6)] == [
        [6],
        [18],
        [0],
        [24],
        [14],
    ]


@pytest.mark.parametrize(
    ("kind", "strength", "wanted"),
    [
        ("random_occlusion", {"occlusion": 0.25}, occlude(PICTURE, side=0.25)),
        ("resolution", {"resolution": 1.0}, PICTURE),
        ("motion_blur", {"blur": 4.0}, motion_blur(PICTURE, length=4)),
        ("gaussian_noise", {"noise": 0.0, "noise_mean": 1.0}, np.full_like(PICTURE, 255)),
    ],
)
def test_a_strength_is_that_of_its_kind(kind: str, strength: dict[str, float], wanted: NDArray[np.uint8]) -> None:
    made = corrupted_image(PICTURE, kind, 0, Corruption("published-code", **strength))  # type: ignore[arg-type]
    assert np.array_equal(made, wanted)
    assert not np.array_equal(corrupted_image(PICTURE, kind, 0, Corruption("published-code")), wanted)


def test_fog_without_density_changes_nothing_and_lies_at_the_centre_of_any_form() -> None:
    clear = corrupted_image(PICTURE, "fog", 0, Corruption(fog=0.0)).astype(int)
    assert np.abs(clear - PICTURE).max() <= 1
    wide = fog(np.full((16, 32, 1), 255, np.uint8))[..., 0]
    square = fog(np.full((32, 32, 1), 255, np.uint8))[..., 0]
    assert np.array_equal(wide, square[8:24])
    assert np.array_equal(fog(np.full((32, 16, 1), 255, np.uint8))[..., 0], wide.T)


def test_a_rectangle_stays_within_the_picture_and_may_touch_every_border() -> None:
    assert not occlude(PICTURE, side=1.0).any()
    hidden = np.argwhere(occlude(np.ones((64, 32, 1), np.uint8))[..., 0] == 0)
    assert (hidden.min(axis=0).tolist(), hidden.max(axis=0).tolist()) == ([10, 5], [41, 20])
    places = set()
    for seed in range(60):
        hidden = np.argwhere(occlude(np.ones((4, 2, 1), np.uint8), np.random.default_rng(seed))[..., 0] == 0)
        assert len(hidden) == 2
        places.add(tuple(hidden.min(axis=0).tolist()))
    assert places == {(top, left) for top in range(3) for left in range(2)}


def test_the_picture_takes_any_class_name_as_it_is() -> None:
    images = np.stack([PICTURE] * 4)

    def drawn(*names: str) -> NDArray[Any]:
        return shown(corruption_picture(replace(data_of(images), class_names=names), Corruption(), (0, 1, 2, 3)))

    plain = drawn("a", "b", "c", "d")
    odd = drawn(r"$\frac$", "$x$", "\N{DOG FACE}", "long " * 50)  # no formula, no such letter in the font, no room
    assert odd.shape == plain.shape
    assert (odd != 255).any(-1).sum() > 0.7 * (plain != 255).any(-1).sum()  # the images are nearly as large
    assert not np.array_equal(drawn("$x$", "b", "c", "d"), drawn("x", "b", "c", "d"))


def test_pictures_of_any_channels_are_shown_in_grey_or_colour() -> None:
    picture = np.arange(20, dtype=np.uint8).reshape(2, 2, 5)
    assert [_shown(picture[..., :count]).shape for count in (1, 2, 3, 4, 5)] == [(2, 2)] * 2 + [(2, 2, 3)] * 3
    assert _shown(picture[..., :2]).tolist() == [[0, 5], [10, 15]]
    assert _shown(picture)[0, 0].tolist() == [0, 1, 2]


def test_without_ids_the_first_sample_of_each_class_is_shown(tmp_path: Path, call: Any) -> None:
    for name in ("train/a/0", "train/a/1", "train/b/0", "train/b/1", "val/a/0"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PICTURE).save(tmp_path / f"{name}.png")
    command = ("corrupt", "--show", tmp_path / "shown.png", "--json", "--quiet")
    assert json.loads(call(*command, "--data", "folder", "--data-dir", tmp_path))["sample_ids"] == [0, 2]
    assert len(json.loads(call(*command))["sample_ids"]) == 6  # of the ten classes of digits


def test_fingerprints_of_pictures_read_late_name_the_revision_of_the_corruptions() -> None:
    split = CorruptedSplit(DatasetSplit([(PICTURE, 0)] * 25), Corruption())
    assert next(split.content()) == b"corrupt 1 " + repr(Corruption()).encode() + b"\n"
