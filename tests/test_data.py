"""Digits, the adapters that make a split, sample ids, batches and the fingerprint."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from thresher.data import ArraySplit, Data, DatasetSplit, Indexed, load
from thresher.data.augment import Draws, flip_and_crop, permutation
from thresher.data.base import Augment, as_uint8
from thresher.data.batching import Batch, Batches, batch_sizes
from thresher.errors import InputError, SampleIdError, UnknownNameError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (23, 3, 16, 16), dtype=np.uint8)
TARGETS = RNG.integers(0, 4, 23)


class Slow(DatasetSplit):
    """The same images as the arrays, but read one by one: this takes the way through the DataLoader."""

    def __init__(self) -> None:
        super().__init__([(image.transpose(1, 2, 0), int(t)) for image, t in zip(IMAGES, TARGETS, strict=True)])


def data_of(train: Any, augment: Augment = "crop_flip", **changes: Any) -> Data:
    fields: dict[str, Any] = {
        "name": "tiny", "train": train, "test": train, "class_names": ("a", "b", "c", "d"),
        "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "augment": augment, "image_size": 16, "channels": 3,
    }  # fmt: skip
    return Data(**{**fields, **changes})


def arrays() -> ArraySplit:
    return ArraySplit(torch.from_numpy(IMAGES.copy()), TARGETS)


def batches(split: Any = None, batch_size: int = 5, *, augment_as: Augment = "crop_flip", **options: Any) -> Batches:
    split = arrays() if split is None else split
    return Batches(data_of(split, augment_as), split, batch_size, **{"train": True, "augment": True, "seed": 3, **options})


def gathered(source: Iterator[Batch]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images, targets, ids = zip(*source, strict=True)
    return torch.cat(images), torch.cat(targets), torch.cat(ids)


def by_id(source: Iterator[Batch]) -> dict[int, torch.Tensor]:
    images, _, ids = gathered(source)
    return dict(zip(ids.tolist(), images, strict=True))


# ---- digits


def test_digits_are_split_by_class_without_overlap() -> None:
    from sklearn.datasets import load_digits

    data = load("digits")
    assert data.describe() == "digits: 1437 training and 360 test images in 10 classes, 8 x 8 grey"
    assert isinstance(data.train, ArraySplit)
    assert isinstance(data.test, ArraySplit)
    ours = torch.cat([data.train.images, data.test.images]).numpy().reshape(1797, 64)
    theirs = np.rint(load_digits().data * 255 / 16).astype(np.uint8)
    assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs))  # each image in exactly one half
    shares = np.bincount(data.test.targets) / (np.bincount(data.test.targets) + np.bincount(data.train.targets))
    assert np.allclose(shares, 360 / 1797, atol=0.006)


def test_digits_are_always_the_same() -> None:
    one, other = load("digits"), load("digits")
    assert one.fingerprint == other.fingerprint
    assert np.array_equal(one.test.targets, other.test.targets)
    images, _, _ = gathered(Batches(one, one.train, 500).epoch(0))
    assert abs(float(images.mean())) < 1e-5
    assert abs(float(images.std()) - 1) < 1e-3


@pytest.mark.parametrize("name", ["digit", "cifar", "", "cifar10:x", "digits:x", "Folder"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UnknownNameError, match="digits, cifar10, cifar100, imagenet, folder"):
        load(name)


def test_a_folder_needs_a_place() -> None:
    with pytest.raises(InputError, match="folder:PATH"):
        load("folder")


# ---- splits


@pytest.mark.parametrize("form", ["array", "pil", "float tensor", "uint8 tensor", "turned tensor"])
def test_dataset_split_reads_every_form_alike(form: str) -> None:
    def shown(image: Any) -> Any:
        if form == "pil":
            return Image.fromarray(image.transpose(1, 2, 0))
        if form == "array":
            return image.transpose(1, 2, 0)
        tensor = torch.from_numpy(image.copy())
        if form == "turned tensor":
            return tensor.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        return tensor.float() / 255 if form == "float tensor" else tensor

    split = DatasetSplit([(shown(image), t) for image, t in zip(IMAGES, TARGETS, strict=True)])
    for i in range(len(split)):
        image, target = split[i]
        assert image.dtype == torch.uint8
        assert image.is_contiguous()
        assert np.array_equal(image.numpy(), IMAGES[i])
        assert target == TARGETS[i]
        assert np.array_equal(split.image(i), arrays().image(i))


def test_every_float_of_totensor_comes_back_exactly() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    for dtype in (torch.float32, torch.float64, torch.float16):
        assert torch.equal(as_uint8(levels.to(dtype) / 255), levels)


def test_grey_and_palette_pictures() -> None:
    grey = Image.fromarray(IMAGES[0, 0])
    assert np.array_equal(as_uint8(grey).numpy(), IMAGES[0, :1])
    colour = Image.new("RGB", (4, 4), (250, 10, 20))
    assert as_uint8(colour.convert("P", palette=Image.Palette.ADAPTIVE))[:, 0, 0].tolist() == [250, 10, 20]


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(4, 4),
        torch.zeros(3, 4, 4) - 0.1,
        torch.full((3, 4, 4), 1.5),
        torch.full((3, 4, 4), torch.nan),
        torch.zeros(3, 4, 4, dtype=torch.int64),
        np.zeros((1, 3, 4, 4), np.uint8),
        np.zeros((4, 4), np.int32),
        np.zeros((4, 4), bool),
        np.float32(1),
        "a.png",
        None,
        object(),
    ],
    ids=lambda image: f"{type(image).__name__}",
)
def test_what_is_no_image(image: Any) -> None:
    with pytest.raises(InputError, match="image"):
        as_uint8(image)


def test_where_targets_come_from() -> None:
    class Labelled(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            raise AssertionError("must not be read through")

    labelled: Any = Labelled([None] * 3)
    labelled.labels = torch.tensor([2, 1, 0])
    assert DatasetSplit(labelled).targets.tolist() == [2, 1, 0]
    labelled.targets = [1, 1, 1]
    assert DatasetSplit(labelled).targets.tolist() == [1, 1, 1]
    assert DatasetSplit(labelled, targets=[0, 1, 2]).targets.tolist() == [0, 1, 2]
    read = TensorDataset(torch.zeros(3, 1, 2, 2), torch.tensor([1, 0, 1]))
    assert DatasetSplit(Subset(read, [2, 1])).targets.tolist() == [1, 0]


def test_targets_that_are_read_are_whole() -> None:
    for few in ([0, 1.0], [torch.tensor(0), torch.tensor([1])], [False, np.True_]):
        assert DatasetSplit([(IMAGES[0], target) for target in few]).targets.tolist() == [0, 1]
    for fraction in (0.7, np.float32(1.5), torch.tensor(0.25)):
        with pytest.raises(InputError, match="Expected whole numbers as the targets"):
            DatasetSplit([(IMAGES[0], 0), (IMAGES[1], fraction)])


@pytest.mark.parametrize("targets", [[0, 1], [0.0, 1.0, 0.0], [[0], [1], [0]], [0, -1, 0], ["a", "b", "c"], [True] * 3])
def test_bad_targets(targets: Any) -> None:
    with pytest.raises(InputError, match="targets"):
        ArraySplit(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), targets)


@pytest.mark.parametrize("images", [torch.zeros(3, 1, 2, 2), torch.zeros(3, 2, 2, dtype=torch.uint8)])
def test_bad_images(images: torch.Tensor) -> None:
    with pytest.raises(InputError, match="uint8 images"):
        ArraySplit(images, [0, 0, 0])


@pytest.mark.parametrize(
    "changes",
    [
        {"class_names": ("a", "b")},
        {"mean": (0.5,)},
        {"std": (0.1, 0.0, 0.1)},
        {"std": (0.1, float("nan"), 0.1)},
        {"std": (0.1, float("inf"), 0.1)},
        {"std": (0.1, 0.1)},
        {"test": ArraySplit(torch.from_numpy(IMAGES), np.full(23, 4))},
        {"augment": "cutout"},
        {"image_size": 32},
        {"channels": 1, "mean": (0.5,), "std": (0.5,)},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_data_that_does_not_fit_together(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        data_of(arrays(), **changes)


def test_fingerprint() -> None:
    def fingerprint(images: Any = IMAGES, targets: Any = TARGETS, name: str = "tiny") -> str:
        return data_of(ArraySplit(torch.from_numpy(images.copy()), targets), name=name).fingerprint

    pixel, label = IMAGES.copy(), TARGETS.copy()
    pixel[22, 2, 15, 15] ^= 1
    label[5] = (label[5] + 1) % 4
    swapped = IMAGES[[1, 0, *range(2, 23)]]
    others = [
        fingerprint(pixel),
        fingerprint(targets=label),
        fingerprint(swapped),
        fingerprint(IMAGES[:22], TARGETS[:22]),
        fingerprint(name="other"),
    ]
    assert len({fingerprint(), *others}) == 6
    assert fingerprint() == fingerprint(targets=TARGETS.astype(np.int32))
    # pinned: a coreset of today must still be known in a year
    assert fingerprint() == "e5df83ed41436976cd219a876db6146d99ce59966ac585ff9881f778238d4eed"
    assert data_of(Slow()).fingerprint == data_of(Slow()).fingerprint


# ---- sample ids


def test_indexed_keeps_ids_through_subsets_and_loaders() -> None:
    full = Indexed(TensorDataset(torch.arange(10) * 11, torch.arange(10) % 3))
    part = Subset(Subset(full, [9, 2, 5, 7]), [0, 3, 1])
    seen = [tuple(x.tolist()) for x in next(iter(DataLoader(part, batch_size=3)))]
    assert seen == [(9, 7, 2), (99, 77, 22), (0, 1, 2)]


def test_indexed_gives_a_negative_index_its_own_id() -> None:
    full = Indexed([("a", 0), ["b", 1], ("c", 0)])
    assert full[-1] == full[2] == (2, "c", 0)
    assert full[-3] == full[np.int64(0)] == full[torch.tensor(0)] == (0, "a", 0)  # type: ignore[index]
    for outside in (3, -4):
        with pytest.raises(IndexError, match=r"\[-3, 3\)"):
            full[outside]
    for odd in (1.5, "1", None):
        with pytest.raises(TypeError):
            full[odd]  # type: ignore[index]
    assert [full[i][0] for i in range(len(full))] == [0, 1, 2]


@pytest.mark.parametrize("item", [(1, 2, 3), (1,), "ab", {1, 2}, torch.zeros(2)], ids=repr)
def test_indexed_wants_pairs_or_mappings(item: Any) -> None:
    with pytest.raises(InputError, match=rf"item 0 is a {type(item).__name__}"):
        Indexed([item])[0]


def test_indexed_refuses_streams() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            yield 1, 2

        def __len__(self) -> int:
            return 1

    for stream in (Stream(), iter([(1, 2)]), {1}):
        with pytest.raises(InputError, match="map-style"):
            Indexed(stream)


# ---- batches


@pytest.mark.parametrize("split", [arrays(), Slow()], ids=["memory", "loader"])
@pytest.mark.parametrize("batch_size", [1, 4, 11, 22, 23, 100])
def test_every_sample_once_and_none_dropped(split: Any, batch_size: int) -> None:
    source = batches(split, batch_size)
    sizes, orders = [], []
    for epoch in (0, 1):
        parts = list(source.epoch(epoch))
        assert len(parts) == len(source)
        sizes = [len(ids) for _, _, ids in parts]
        images, targets, ids = gathered(iter(parts))
        assert sizes == batch_sizes(23, batch_size, train=True)
        assert sorted(ids.tolist()) == list(range(23))
        assert targets.tolist() == TARGETS[ids].tolist()
        assert images.shape == (23, 3, 16, 16)
        assert (targets.dtype, ids.dtype, images.dtype) == (torch.int64, torch.int64, torch.float32)
        orders.append(ids.tolist())
    assert orders[0] != orders[1]
    if batch_size in (11, 22):
        assert sizes[-2:] == [batch_size - 1, 2]  # no batch of a single sample, whatever the batch size


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 100])
def test_batch_sizes(train: bool, batch_size: int) -> None:
    for count in range(1, 30):
        sizes = batch_sizes(count, batch_size, train)
        assert sum(sizes) == count
        assert len(sizes) == -(-count // batch_size)
        assert max(sizes) <= batch_size
        assert 1 not in sizes or not train or batch_size <= 2 or count == 1


def test_a_last_batch_is_filled_up_only_if_that_leaves_the_one_before_as_large() -> None:
    assert batch_sizes(5, 2, True) == [2, 2, 1]  # 1 and 2 would be no better
    assert batch_sizes(7, 3, True) == [3, 2, 2]
    assert batch_sizes(11, 5, True, parts=2) == [5, 5, 1]  # 2 and 4
    assert batch_sizes(15, 7, True, parts=2) == [7, 4, 4]
    assert batch_sizes(14, 5, True, parts=2) == [5, 5, 4]  # enough for two a part


@pytest.mark.parametrize("split", [arrays(), Slow()], ids=["memory", "loader"])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("size", [2, 3])
def test_the_parts_of_a_batch_are_the_batch(split: Any, train: bool, size: int) -> None:
    common: dict[str, Any] = {"train": train, "augment": train, "seed": 3}
    data = batches(split, 9).data
    whole = Batches(data, split, 9, part=(0, 1), **common)
    parts = [gathered(Batches(data, split, 9, part=(rank, size), **common).epoch(2)) for rank in range(size)]
    images, targets, ids = gathered(whole.epoch(2))
    joined = [torch.cat(column) for column in zip(*parts, strict=True)]
    back = torch.argsort(joined[2])[torch.argsort(torch.argsort(ids))]
    for found, wanted in zip(joined, (images, targets, ids), strict=True):
        assert torch.equal(found[back], wanted)
    assert max(len(part[2]) for part in parts) - min(len(part[2]) for part in parts) <= len(whole)


@pytest.mark.parametrize("way", [{"train": True, "augment": True}, {}, {"ids": np.arange(3, 20)}, {"part": (1, 2)}])
@pytest.mark.parametrize("at_once", [2, 3, 100])
def test_batches_that_are_prepared_together_are_those_prepared_one_by_one(way: dict[str, Any], at_once: int) -> None:
    data = batches(arrays(), 5).data
    alone, together = (Batches(data, arrays(), 5, seed=1, channels_last=True, **way) for _ in range(2))
    together._at_once = at_once  # as on a GPU
    found, wanted = list(together.epoch(2)), list(alone.epoch(2))
    assert len(found) == len(wanted) > 1
    for batch, other in zip(found, wanted, strict=True):
        assert all(torch.equal(one, two) for one, two in zip(batch, other, strict=True))
        assert batch[0].stride() == other[0].stride()


def test_a_batch_that_is_too_small_for_the_parts_is_refused() -> None:
    with pytest.raises(InputError, match=r"each of 3 ranks, but batches hold 2.*fewer ranks"):
        Batches(batches().data, arrays(), 2, train=True, part=(0, 3))
    assert batch_sizes(23, 10, True, 3) == [10, 7, 6]


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    first, again = gathered(batches().epoch(7)), gathered(batches().epoch(7))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
    source = batches()
    list(source.epoch(0))
    next(source.epoch(1))  # neither earlier epochs nor the global generator matter
    torch.manual_seed(99)
    assert torch.equal(gathered(source.epoch(7))[0], first[0])
    assert not torch.equal(gathered(source.epoch(8))[2], first[2])
    assert not torch.equal(gathered(batches(seed=4).epoch(7))[2], first[2])
    assert not torch.equal(by_id(source.epoch(8))[0], by_id(source.epoch(7))[0])


def test_batches_leave_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    for split in (arrays(), Slow()):
        list(batches(split).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("augment_as", ["crop_flip", "crop", "imagenet"])
@pytest.mark.parametrize("split", [arrays(), Slow()], ids=["memory", "loader"])
def test_what_a_sample_looks_like_depends_on_nothing_but_seed_epoch_and_id(split: Any, augment_as: Augment) -> None:
    expected = by_id(batches(split, augment_as=augment_as).epoch(2))
    kept = np.array([20, 3, 11, 0])
    every: list[dict[str, Any]] = [{"batch_size": 23}, {"batch_size": 1}, {"ids": kept}, {"ids": kept[:1]}]
    for options in every:
        found = by_id(batches(split, augment_as=augment_as, **options).epoch(2))
        assert set(found) == (set(options["ids"].tolist()) if "ids" in options else set(range(23)))
        assert all(torch.equal(image, expected[i]) for i, image in found.items())


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_equals_the_memory_bit_for_bit(workers: int) -> None:
    for options in ({}, {"ids": np.array([5, 1, 22])}, {"train": False}):
        memory, loader = batches(**options), batches(Slow(), workers=workers, **options)
        for epoch in (0, 3):
            for one, other in zip(memory.epoch(epoch), loader.epoch(epoch), strict=True):
                assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_evaluation_comes_in_order_and_plain() -> None:
    images, targets, ids = gathered(batches(train=False).epoch(5))
    assert ids.tolist() == list(range(23))
    assert targets.tolist() == TARGETS.tolist()
    mean, std = np.array([0.5, 0.4, 0.3])[:, None, None], np.array([0.2, 0.3, 0.4])[:, None, None]
    assert np.allclose(images.numpy(), (IMAGES / 255 - mean) / std, atol=1e-5)
    assert by_id(batches(train=False, ids=np.array([9, 2])).epoch(0)).keys() == {9, 2}


def test_batches_do_not_change_the_images() -> None:
    split = arrays()
    every: list[dict[str, Any]] = [{}, {"train": False}]
    for options in every:
        list(batches(split, **options).epoch(0))
    assert np.array_equal(split.images.numpy(), IMAGES)


def test_layout_and_dtype_change_no_values() -> None:
    expected = gathered(batches().epoch(0))[0]
    turned = next(batches(batch_size=23, channels_last=True).epoch(0))[0]
    assert turned.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(turned, expected)
    assert torch.equal(gathered(batches(dtype=torch.bfloat16).epoch(0))[0], expected.to(torch.bfloat16))


@pytest.mark.parametrize("padding", [0, 1, 4])
def test_crop_and_flip_equal_a_literal_loop(padding: int) -> None:
    draws = Draws.of_epoch(23, padding, True, seed=1, epoch=2, device=torch.device("cpu"))
    got = flip_and_crop(torch.from_numpy(IMAGES), draws.flip, draws.top, draws.left, padding).numpy()
    for i, image in enumerate(IMAGES):
        shown = image[:, :, ::-1] if draws.flip[i] else image
        expected = np.zeros_like(image)
        for row in range(16):
            for column in range(16):
                y, x = row + int(draws.top[i]) - padding, column + int(draws.left[i]) - padding
                if 0 <= y < 16 and 0 <= x < 16:
                    expected[:, row, column] = shown[:, y, x]
        assert np.array_equal(got[i], expected), i


def test_draws_are_uniform() -> None:
    draws = Draws.of_epoch(50000, 4, True, seed=0, epoch=0, device=torch.device("cpu"))
    for offsets in (draws.top, draws.left):
        counts = np.bincount(offsets.numpy(), minlength=9)
        assert len(counts) == 9
        assert np.abs(counts / 50000 - 1 / 9).max() < 0.01
    assert abs(float(draws.flip.float().mean()) - 0.5) < 0.01
    assert not Draws.of_epoch(100, 4, False, 0, 0, torch.device("cpu")).flip.any()


def test_draws_of_epochs_seeds_and_samples_are_independent() -> None:
    """Tables of two offsets, and of an offset and a flip, against what independence expects."""
    made = {(s, e): Draws.of_epoch(5000, 4, True, s, e, torch.device("cpu")) for s in range(3) for e in range(3)}
    pairs = {
        "epochs": [(made[s, e], made[s, e + 1]) for s in range(3) for e in range(2)],
        "seeds": [(made[s, e], made[s + 1, e]) for s in range(2) for e in range(3)],
        "seed and epoch exchanged": [(made[s, e + 1], made[s + 1, e]) for s in range(2) for e in range(2)],
    }
    for name, found in pairs.items():
        tops, flips = np.zeros((9, 9)), np.zeros((9, 2))
        for one, other in found:
            np.add.at(tops, (one.top.numpy(), other.top.numpy()), 1)
            np.add.at(flips, (one.left.numpy(), other.flip.long().numpy()), 1)
        assert stats.chi2_contingency(tops).pvalue > 1e-3, name
        assert stats.chi2_contingency(flips).pvalue > 1e-3, name
    neighbours, within = np.zeros((9, 9)), np.zeros((9, 9, 2))
    for one in made.values():
        np.add.at(neighbours, (one.top[:-1].numpy(), one.top[1:].numpy()), 1)
        np.add.at(within, (one.top.numpy(), one.left.numpy(), one.flip.long().numpy()), 1)
    assert stats.chi2_contingency(neighbours).pvalue > 1e-3
    assert stats.chisquare(within.ravel()).pvalue > 1e-3


def test_orders_are_uniform_and_those_of_epochs_and_seeds_are_independent() -> None:
    orders = np.array([[permutation(12, seed, epoch).numpy() for epoch in range(30)] for seed in range(40)])
    places = np.zeros((12, 12))
    np.add.at(places, (np.broadcast_to(np.arange(12), orders.shape), orders), 1)
    chance = 40 * 30 / 12
    assert stats.chi2.sf(((places - chance) ** 2 / chance).sum(), 11 * 11) > 1e-3
    for one, other in ((orders[:, 1:], orders[:, :-1]), (orders[1:], orders[:-1]), (orders[1:, :-1], orders[:-1, 1:])):
        same = (one == other).sum(axis=2)  # on average one id is at its place of before
        assert abs(same.mean() - 1) < 4 / np.sqrt(same.size)


def test_two_epochs_at_once() -> None:
    for split, augment_as in ((arrays(), "crop_flip"), (Slow(), "crop_flip"), (Slow(), "imagenet")):
        source = batches(split, augment_as=augment_as)  # type: ignore[arg-type]
        alone = [gathered(source.epoch(k)) for k in (0, 1)]
        pairs = list(zip(source.epoch(0), source.epoch(1), strict=True))
        for k in (0, 1):
            assert torch.equal(gathered(pair[k] for pair in pairs)[0], alone[k][0])


def test_workers_refuse_two_epochs_at_once_but_an_epoch_may_be_left() -> None:
    source = batches(Slow(), workers=1)
    expected = gathered(batches(Slow()).epoch(1))[0]
    left = source.epoch(0)
    next(left)
    assert torch.equal(gathered(source.epoch(1))[0], expected)
    with pytest.raises(InputError, match="another one was started"):
        list(left)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"batch_size": 0}, InputError),
        ({"workers": -1}, InputError),
        ({"seed": -1}, InputError),
        ({"ids": np.array([], np.int64)}, SampleIdError),
        ({"ids": np.array([1, 1])}, SampleIdError),
        ({"ids": np.array([0, 23])}, SampleIdError),
        ({"ids": np.array([-1])}, SampleIdError),
        ({"ids": np.array([1.0])}, SampleIdError),
        ({"ids": np.array([True] * 23)}, SampleIdError),
        ({"ids": np.array([[1]])}, SampleIdError),
    ],
    ids=str,
)
def test_bad_arguments(options: dict[str, Any], error: type[InputError]) -> None:
    with pytest.raises(error, match="Expected"):
        batches(**options)


def test_no_samples_and_no_epoch() -> None:
    with pytest.raises(InputError, match="at least one sample"):
        batches(ArraySplit(torch.zeros(0, 3, 16, 16, dtype=torch.uint8), np.zeros(0, np.int64)))
    with pytest.raises(InputError, match="epoch >= 0"):
        next(batches().epoch(-1))


def test_images_of_another_size_are_named() -> None:
    split = DatasetSplit([(np.zeros((16, 16, 3), np.uint8), 0), (np.zeros((16, 15, 3), np.uint8), 1)])
    with pytest.raises(InputError, match="sample 1 has"):
        list(batches(split, 1, train=False).epoch(0))


def test_data_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load("digits").name = "other"  # type: ignore[misc]


def test_the_fingerprint_covers_every_image() -> None:
    images = np.zeros((5000, 1, 2, 2), np.uint8)
    prints = set()
    for changed in (0, 4095, 4096, 4999):
        images[changed] = 1
        split = ArraySplit(torch.from_numpy(images.copy()), np.zeros(5000, np.int64))
        prints.add(data_of(split, image_size=2, channels=1, mean=(0.5,), std=(0.5,)).fingerprint)
    assert len(prints) == 4


def test_the_test_fingerprint_is_that_of_the_images_whatever_the_name() -> None:
    few = ArraySplit(torch.from_numpy(IMAGES[:3]), TARGETS[:3])
    one, other = data_of(arrays()), data_of(few, name="other", test=arrays())
    assert one.test_fingerprint == other.test_fingerprint != data_of(few).test_fingerprint


def test_pictures_of_the_same_bytes_in_another_shape_are_others() -> None:
    wide, high = (DatasetSplit([(np.zeros(shape, np.uint8), 0)]) for shape in ((2, 8, 3), (8, 2, 3)))
    assert data_of(wide).fingerprint != data_of(high).fingerprint


def test_a_split_is_sent_to_workers_without_its_copy_on_the_device() -> None:
    split = arrays()
    placed = split.images_on(torch.device("meta"))
    assert split.images_on(torch.device("meta")) is placed
    sent = pickle.loads(pickle.dumps(split))
    assert not sent._placed
    assert torch.equal(sent.images, split.images)


@pytest.mark.parametrize("augment_as", ["crop_flip", "crop"])
def test_crops_reach_an_eighth_beyond_the_side_and_what_is_read_is_not_mirrored(augment_as: Augment) -> None:
    draws = Draws.of_epoch(23, 2, augment_as == "crop_flip", 3, 1, torch.device("cpu"))
    shown = ArraySplit(flip_and_crop(torch.from_numpy(IMAGES), draws.flip, draws.top, draws.left, 2), TARGETS)
    expected = by_id(batches(shown, train=False).epoch(0))
    assert all(torch.equal(image, expected[i]) for i, image in by_id(batches(augment_as=augment_as).epoch(1)).items())


def test_parts_that_hold_nothing_of_a_batch_are_left_out() -> None:
    parts = [list(batches(batch_size=11, train=False, part=(rank, 3)).epoch(0)) for rank in range(3)]
    assert [[len(ids) for _, _, ids in part] for part in parts] == [[3, 3], [4, 4], [4, 4, 1]]


def test_orders_and_crops_stay_the_same_on_every_machine() -> None:
    """A training that is gone on with elsewhere sees what it would have seen here."""
    draws = Draws.of_epoch(8, 4, True, 3, 2, torch.device("cpu"))
    found = [permutation(8, 3, 2).tolist(), draws.top.tolist(), draws.left.tolist(), draws.flip.int().tolist()]
    assert found == [
        [0, 5, 2, 3, 7, 6, 1, 4],
        [0, 1, 1, 4, 8, 8, 0, 3],
        [1, 6, 5, 1, 7, 6, 1, 6],
        [1, 0, 0, 0, 1, 1, 1, 0],
    ]


def test_digits_are_the_same_in_every_year() -> None:
    data = load("digits")
    assert data.fingerprint == "43c20efa659f49491a366d46a53a6f79ba1a4526334fe1cde149c9d48d910021"
    assert (*data.mean, *data.std) == pytest.approx((0.30558037237, 0.37595032299), rel=1e-9)
