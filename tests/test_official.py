"""Official TDDS dumps: the official scores come out, and whatever is wrong with a folder is named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from thresher.errors import (
    CorruptFileError,
    InputError,
    MissingFileError,
    SampleIdError,
    ThresherError,
    TooFewEpochsError,
    UnknownNameError,
)
from thresher.recorder import Recorder
from thresher.replay import Request, grid_requests, open_source, replay
from thresher.scorers import AUM, EL2N, TDDS, Entropy, Forgetting
from thresher.trajectory.official import OfficialDumps

GOLDEN = np.load(Path(__file__).parent / "golden" / "tdds_official_real_dynamics.npz")
LOGITS, ORDERS, TARGETS = GOLDEN["logits"].astype(np.float32), GOLDEN["orders"], GOLDEN["targets"]
CELLS = [tuple(map(int, name.removeprefix("tdds_T").split("_K"))) for name in GOLDEN.files if name.startswith("tdds_T")]


def dump(folder: Path, epochs: int = 30, targets: bool = True, dtype: Any = np.float32) -> Path:
    """Write the golden dynamics as the official code does: in the order of the loader."""
    folder.mkdir(exist_ok=True)
    for epoch in range(epochs):
        np.save(folder / f"{epoch}_Output.npy", LOGITS[epoch][ORDERS[epoch]].astype(dtype))
        np.save(folder / f"{epoch}_Index.npy", ORDERS[epoch])
        np.save(folder / f"{epoch}_Loss.npy", np.zeros(3))
    if targets:
        np.save(folder / "targets.npy", TARGETS)
    return folder


def test_there_are_golden_scores() -> None:
    assert len(CELLS) >= 3


@pytest.mark.parametrize(("at", "window"), CELLS)
@pytest.mark.parametrize("exact", [False, True], ids=["trailing", "exact"])
def test_official_scores_come_out(tmp_path: Path, at: int, window: int, exact: bool) -> None:
    found = replay(open_source(dump(tmp_path / "d")), [Request("tdds", TDDS(window=window), at)], exact=exact)["tdds"]
    np.testing.assert_allclose(found.values, GOLDEN[f"tdds_T{at}_K{window}"], rtol=1e-5)


def test_the_whole_grid_in_one_pass(tmp_path: Path) -> None:
    windows, ats = sorted({k for _, k in CELLS}), sorted({t for t, _ in CELLS})
    grid = [r for r in grid_requests("tdds", windows, ats, {}) if r.at is not None and r.at >= r.scorer.min_epochs]
    columns = replay(open_source(dump(tmp_path / "d")), grid)
    for at, window in CELLS:
        np.testing.assert_allclose(columns[f"tdds[K={window},T={at}]"].values, GOLDEN[f"tdds_T{at}_K{window}"], rtol=1e-5)


def test_dumps_and_recording_agree_up_to_rounding(tmp_path: Path) -> None:
    scorers = {"tdds": TDDS(), "aum": AUM(), "el2n": EL2N(), "forgetting": Forgetting(), "entropy": Entropy(view="train")}
    recorder = Recorder(len(TARGETS), 10, scorers)
    for epoch, order in enumerate(ORDERS):
        for ids in np.array_split(order, 4):
            recorder.update(LOGITS[epoch, ids], TARGETS[ids], ids)
        recorder.end_epoch()
    replayed = replay(open_source(dump(tmp_path / "d")), [Request(name, scorer) for name, scorer in scorers.items()])
    for name, live in recorder.scores().items():
        np.testing.assert_allclose(replayed[name].values, live.values, rtol=2e-5, atol=1e-6, err_msg=name)


def test_the_fast_way_is_the_signal_itself(tmp_path: Path) -> None:
    source = OfficialDumps(dump(tmp_path / "d", epochs=4), threads=3)
    fast, general = (list(source.frames(names, 1, 4)) for names in (["change"], ["change", "loss"]))
    for one, other in zip(fast, general, strict=True):
        np.testing.assert_array_equal(one.values["change"], other.values["change"])
    for epoch, frame in enumerate(fast, 1):
        logs = np.log(softmax(LOGITS[epoch - 1 : epoch + 1].astype(np.float64), axis=2) + 1e-8)
        wanted = np.abs(softmax(LOGITS[epoch].astype(np.float64), axis=1) * (logs[1] - logs[0])).sum(1)
        np.testing.assert_allclose(frame.values["change"], wanted, rtol=1e-5, atol=1e-6)
    assert np.isnan(next(source.frames(["change"])).values["change"]).all()


def test_a_score_of_dumps_is_the_same_whatever_is_scored_beside_it(tmp_path: Path) -> None:
    source, tdds = open_source(dump(tmp_path / "d")), Request("tdds", TDDS(window=5))
    alone = replay(source, [tdds])["tdds"].values
    for other in (EL2N(), TDDS(window=5, absolute=False)):
        for exact in (False, True):
            np.testing.assert_array_equal(replay(source, [tdds, Request("b", other)], exact=exact)["tdds"].values, alone)


@pytest.mark.parametrize("scale", [1.0, 300.0], ids=["usual", "huge"])
@pytest.mark.parametrize("names", [["change"], ["change", "loss"], ["loss"]])
def test_a_part_has_the_bits_of_the_whole(tmp_path: Path, names: list[str], scale: float) -> None:
    folder = dump(tmp_path / "d", epochs=5)
    for path in folder.glob("3_Output.npy"):  # some rows leave the range in which exponentials are safe
        logits = np.load(path)
        logits[::7] *= scale
        np.save(path, logits)
    whole, ids = OfficialDumps(folder), np.array([0, 3, 77, len(TARGETS) - 1])
    part = whole.only(ids)
    for mine, theirs in zip(part.frames(names, 1, 5), whole.frames(names, 1, 5), strict=True):
        assert (mine.epoch, mine.n) == (theirs.epoch, 4)
        for name in names:
            np.testing.assert_array_equal(mine.values[name], theirs.values[name][ids])
    assert np.isfinite(next(whole.frames(["change"], 3, 4)).values["change"]).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types(tmp_path: Path, dtype: Any) -> None:
    one, other = (OfficialDumps(dump(tmp_path / str(d), 3, dtype=d)) for d in (np.dtype("f4").name, np.dtype(dtype).name))
    for a, b in zip(one.frames(["change"]), other.frames(["change"]), strict=True):
        np.testing.assert_array_equal(a.values["change"], b.values["change"])


def test_without_targets_what_needs_them_is_refused(tmp_path: Path) -> None:
    source = open_source(dump(tmp_path / "d", epochs=4, targets=False))
    assert source.targets is None
    assert np.isfinite(replay(source, [Request("tdds", TDDS(window=3))])["tdds"].values).all()
    with pytest.raises(InputError, match=r"targets\.npy"):
        replay(source, [Request("el2n", EL2N())])
    with pytest.raises(UnknownNameError, match="no signal loss"):
        list(source.frames(["loss"], 0, 1))
    with pytest.raises(TooFewEpochsError):
        replay(source, [Request("tdds", TDDS(window=5))])


def test_reading_ahead_shows_every_good_epoch_before_a_bad_one(tmp_path: Path) -> None:
    folder = dump(tmp_path / "d", epochs=6)
    np.save(folder / "4_Output.npy", np.full_like(LOGITS[4], np.inf))
    (folder / "5_Index.npy").write_bytes(b"hello")
    frames = OfficialDumps(folder).frames(["change"])
    assert [next(frames).epoch for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(InputError, match=r"4_Output.*at <= 4"):
        next(frames)


def replaced(name: str, array: Any) -> Any:
    """Return damage that saves another array in place of a file."""
    return lambda folder: np.save(folder / name, array, allow_pickle=True)


def with_entry(array: Any, index: Any, value: Any) -> Any:
    """Return a copy with one entry replaced."""
    copy = array.copy()
    copy[index] = value
    return copy


def cut(name: str, size: int) -> Any:
    """Return damage that cuts a file to `size` bytes."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


DAMAGE: dict[str, tuple[Any, type[ThresherError], str]] = {
    "missing epoch": (lambda f: (f / "2_Output.npy").unlink(), MissingFileError, r"2_Output\.npy.*count from 1"),
    "missing index": (lambda f: (f / "1_Index.npy").unlink(), MissingFileError, r"1_Index\.npy.*np\.arange\(n\)"),
    "cut off": (cut("3_Output.npy", 5000), CorruptFileError, r"3_Output\.npy is truncated"),
    "cut off in the header": (cut("3_Output.npy", 7), CorruptFileError, r"3_Output\.npy is not"),
    "no array": (lambda f: (f / "3_Index.npy").write_bytes(b"hello"), CorruptFileError, "not a .npy file"),
    "NaN": (replaced("3_Output.npy", with_entry(LOGITS[3], (5, 2), np.nan)), InputError, "row 5 .*at <= 3"),
    "minus infinity": (replaced("3_Output.npy", with_entry(LOGITS[3], (5, 2), -np.inf)), InputError, "finite logits"),
    "integer logits": (replaced("3_Output.npy", LOGITS[3].astype(np.int32)), InputError, "floating-point"),
    "other C": (replaced("3_Output.npy", LOGITS[3][:, :9]), InputError, r"\(400, 10\)"),
    "drop_last": (replaced("3_Output.npy", LOGITS[3][:300]), InputError, "drop_last=False"),
    "float ids": (replaced("3_Index.npy", ORDERS[3].astype(float)), SampleIdError, "integer ids"),
    "too few ids": (replaced("3_Index.npy", ORDERS[3][:10]), SampleIdError, "400 integer ids"),
    "id twice": (replaced("3_Index.npy", with_entry(ORDERS[3], 0, ORDERS[3][1])), SampleIdError, "Expected every id once"),
    "id too large": (replaced("3_Index.npy", with_entry(ORDERS[3], 0, 400)), SampleIdError, r"\[0, 400\)"),
    "negative id": (replaced("3_Index.npy", with_entry(ORDERS[3], 0, -1)), SampleIdError, r"\[0, 400\)"),
    "objects": (replaced("3_Index.npy", np.array([print] * 400, dtype=object)), CorruptFileError, "could run code"),
    "column order": (replaced("3_Output.npy", np.asfortranarray(LOGITS[3])), InputError, "column order"),
    "too few targets": (replaced("targets.npy", TARGETS[:5]), InputError, "400 integer labels"),
    "float targets": (replaced("targets.npy", TARGETS * 1.0), InputError, "integer labels"),
    "target too large": (replaced("targets.npy", TARGETS + 1), InputError, r"labels in \[0, 10\)"),
    "one class": (replaced("0_Output.npy", LOGITS[0][:, :1]), InputError, r"C >= 2, in .*\(400, 1\)"),
    "one dimension": (replaced("0_Output.npy", LOGITS[0][:, 0]), InputError, r"shape \(N, C\)"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named(tmp_path: Path, case: str) -> None:
    damage, error, message = DAMAGE[case]
    folder = dump(tmp_path / "d", epochs=5)
    damage(folder)
    with pytest.raises(error, match=message):
        replay(open_source(folder), [Request("tdds", TDDS(window=3))], exact=True)


def test_a_single_sample_is_a_data_set(tmp_path: Path) -> None:
    for epoch in range(4):
        np.save(tmp_path / f"{epoch}_Output.npy", LOGITS[epoch][:1])
        np.save(tmp_path / f"{epoch}_Index.npy", np.zeros(1, dtype=np.int64))
    found = replay(OfficialDumps(tmp_path), [Request("tdds", TDDS(window=3))], exact=True)["tdds"]
    assert found.values.shape == (1,)
    assert np.isfinite(found.values).all()


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is none"):
        OfficialDumps(tmp_path / "nowhere")
    with pytest.raises(MissingFileError, match="0_Output"):
        OfficialDumps(tmp_path)


def test_the_first_epochs_need_not_be_sound_to_score_the_last(tmp_path: Path) -> None:
    folder = dump(tmp_path / "d")
    shutil.copy(folder / "29_Output.npy", folder / "0_Output.npy")  # another epoch in place of epoch 0
    found = replay(open_source(folder), [Request("tdds", TDDS(window=10), 30)])["tdds"]
    np.testing.assert_allclose(found.values, GOLDEN["tdds_T30_K10"], rtol=1e-5)
