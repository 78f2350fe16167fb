"""The Recorder: its border (everything that must be refused), its memory, and that nothing is lost."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thresher.errors import InputError, MissingSamplesError, SampleIdError, TooFewEpochsError, UnknownNameError
from thresher.recorder import Recorder
from thresher.scorers import AUM, EL2N, TDDS, Entropy, GraNd
from thresher.train.checkpoint import load_checkpoint, save_checkpoint
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter

N, C = 12, 3


def batch(seed: int = 0, n: int = N, c: int = C) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits, targets and ids of one epoch in one batch, in shuffled order."""
    source = torch.Generator().manual_seed(seed)
    ids = torch.randperm(n, generator=source)
    return torch.randn(n, c, generator=source) * 3, ids % c, ids


def feed(recorder: Recorder, epochs: int, first: int = 0, size: int = 5) -> None:
    """Record whole epochs in batches of `size`."""
    for epoch in range(first, first + epochs):
        logits, targets, ids = batch(epoch, recorder.n, recorder.num_classes)
        for start in range(0, recorder.n, size):
            rows = slice(start, start + size)
            recorder.update(logits[rows], targets[rows], ids[rows])
        recorder.end_epoch()


def test_batch_size_and_order_do_not_matter() -> None:
    scores = []
    for size in (1, 5, N):
        recorder = Recorder(N, C, {"tdds": TDDS(window=3), "el2n": EL2N(), "aum": AUM()})
        feed(recorder, 5, size=size)
        scores.append(recorder.scores())
    for other in scores[1:]:
        for name, found in scores[0].items():
            np.testing.assert_array_equal(found.values, other[name].values)
            assert np.isfinite(found.values).all()


def test_numpy_and_torch_agree() -> None:
    ours, theirs = (Recorder(N, C, {"tdds": TDDS(window=3)}) for _ in range(2))
    for epoch in range(4):
        logits, targets, ids = batch(epoch)
        ours.update(logits, targets, ids)
        theirs.update(logits.numpy(), targets.numpy().astype(np.int32), ids.numpy().astype(np.uint16))
        ours.end_epoch()
        theirs.end_epoch()
    np.testing.assert_array_equal(ours.scores()["tdds"].values, theirs.scores()["tdds"].values)


def test_half_precision_logits_are_admitted() -> None:
    recorder = Recorder(N, C, {"el2n": EL2N()})
    logits, targets, ids = batch()
    recorder.update(logits.bfloat16(), targets, ids)
    recorder.end_epoch()
    assert recorder.scores()["el2n"].values.dtype == np.float32


def test_sixteen_bit_memory_stays_close() -> None:
    exact, half = (Recorder(200, 10, {"tdds": TDDS(window=5)}, log_probs=d) for d in ("float32", "float16"))
    for recorder in (exact, half):
        feed(recorder, 12, size=64)
    wanted, found = exact.scores()["tdds"].values, half.scores()["tdds"].values
    np.testing.assert_allclose(found, wanted, rtol=5e-3)
    assert half.state_dict()["memory"]["previous"].dtype == torch.float16


@pytest.mark.parametrize(("log_probs", "size"), [("float32", 4), ("float16", 2)])
def test_state_of_tdds_is_as_small_as_promised(log_probs: Any, size: int) -> None:
    """4(C + K) bytes a sample, the C part halved with 16 bits, and nothing grows with T (signals are one row each)."""
    n, c, k = 500, 20, 7
    recorder = Recorder(n, c, {"tdds": TDDS(window=k)}, log_probs=log_probs)
    sizes = []
    for epoch in range(2):
        feed(recorder, 6, first=6 * epoch, size=100)
        state = recorder.state_dict()
        memory, scorer = state["memory"]["previous"], state["states"]["tdds"]
        sizes.append(memory.nbytes + sum(array.nbytes for array in scorer.values()))
    assert sizes[0] == sizes[1]
    assert sizes[0] <= n * (size * c + 4 * k) + 64


def changed(**changes: Any) -> tuple[Any, Any, Any]:
    """Return a good batch with some parts replaced."""
    logits, targets, ids = batch()
    parts = {"logits": logits, "targets": targets, "ids": ids} | changes
    return parts["logits"], parts["targets"], parts["ids"]


def with_value(array: torch.Tensor, position: int, value: float) -> torch.Tensor:
    """Return a copy with one entry replaced."""
    copy = array.clone()
    copy.view(-1)[position] = value
    return copy


LOGITS, TARGETS, IDS = batch()
BAD: dict[str, tuple[tuple[Any, Any, Any], type[Exception], str]] = {
    "NaN logits": (changed(logits=with_value(LOGITS, 4, float("nan"))), InputError, "finite"),
    "infinite logits": (changed(logits=with_value(LOGITS, 4, float("inf"))), InputError, "finite"),
    "wrong C": (changed(logits=torch.randn(N, C + 1)), InputError, r"\(B, 3\)"),
    "one-dimensional logits": (changed(logits=torch.randn(N)), InputError, "shape"),
    "integer logits": (changed(logits=torch.ones(N, C, dtype=torch.int64)), InputError, "floating"),
    "float ids": (changed(ids=IDS.float()), SampleIdError, "integer sample_ids"),
    "boolean ids": (changed(ids=IDS > 3), SampleIdError, "integer sample_ids"),
    "float targets": (changed(targets=TARGETS.float()), InputError, "integer targets"),
    "id too large": (changed(ids=with_value(IDS, 2, N)), SampleIdError, r"\[0, 12\)"),
    "negative id": (changed(ids=with_value(IDS, 2, -1)), SampleIdError, r"\[0, 12\)"),
    "id twice in a batch": (
        changed(ids=with_value(IDS, 2, int(IDS[3])), targets=with_value(TARGETS, 2, int(TARGETS[3]))),
        SampleIdError,
        "seen twice",
    ),
    "too few ids": (changed(ids=IDS[:-1]), SampleIdError, "shape"),
    "target too large": (changed(targets=with_value(TARGETS, 0, C)), InputError, r"targets in \[0, 3\)"),
    "negative target": (changed(targets=with_value(TARGETS, 0, -1)), InputError, r"targets in \[0, 3\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_batches_are_refused_and_change_nothing(case: str) -> None:
    arguments, error, message = BAD[case]
    disturbed, calm = (Recorder(N, C, {"tdds": TDDS(window=3)}) for _ in range(2))
    for recorder in (disturbed, calm):
        feed(recorder, 4)
    with pytest.raises(error, match=message):
        disturbed.update(*arguments)
    for recorder in (disturbed, calm):
        feed(recorder, 2, first=4)
    np.testing.assert_array_equal(disturbed.scores()["tdds"].values, calm.scores()["tdds"].values)


def test_an_id_seen_twice_in_an_epoch_is_refused() -> None:
    recorder = Recorder(N, C, {"el2n": EL2N()})
    recorder.update(LOGITS[:6], TARGETS[:6], IDS[:6])
    with pytest.raises(SampleIdError, match="seen twice in epoch 0"):
        recorder.update(LOGITS[5:], TARGETS[5:], IDS[5:])
    recorder.update(LOGITS[6:], TARGETS[6:], IDS[6:])
    recorder.end_epoch()
    assert recorder.epoch == 1


def test_padded_samplers_may_be_admitted() -> None:
    padded, plain = Recorder(N, C, {"el2n": EL2N()}, duplicates="first"), Recorder(N, C, {"el2n": EL2N()})
    plain.update(LOGITS, TARGETS, IDS)
    padded.update(LOGITS, TARGETS, IDS)
    padded.update(-LOGITS[:4], TARGETS[:4], IDS[:4])
    for recorder in (padded, plain):
        recorder.end_epoch()
    np.testing.assert_array_equal(padded.scores()["el2n"].values, plain.scores()["el2n"].values)


def test_missing_samples_keep_the_epoch_open() -> None:
    recorder = Recorder(N, C, {"el2n": EL2N()})
    recorder.update(LOGITS[:-2], TARGETS[:-2], IDS[:-2])
    with pytest.raises(MissingSamplesError, match=r"2 are missing.*drop_last=False"):
        recorder.end_epoch()
    recorder.update(LOGITS[-2:], TARGETS[-2:], IDS[-2:])
    recorder.end_epoch()
    assert np.isfinite(recorder.scores()["el2n"].values).all()


def test_holes_on_purpose() -> None:
    recorder = Recorder(N, C, {"el2n": EL2N()}, missing="allow")
    recorder.update(LOGITS[:-2], TARGETS[:-2], IDS[:-2])
    recorder.end_epoch()
    assert sorted(np.flatnonzero(np.isnan(recorder.scores()["el2n"].values))) == sorted(IDS[-2:].tolist())


def test_an_empty_epoch_is_refused() -> None:
    with pytest.raises(MissingSamplesError, match="no samples"):
        Recorder(N, C, {"el2n": EL2N()}).end_epoch()


def test_targets_that_change_between_epochs_are_refused() -> None:
    recorder = Recorder(N, C, {"el2n": EL2N()})
    feed(recorder, 1)
    with pytest.raises(InputError, match="came with target"):
        recorder.update(LOGITS, (TARGETS + 1) % C, IDS)


def test_targets_known_up_front_are_compared_with_the_first_batch() -> None:
    recorder = Recorder(N, C, {"el2n": EL2N()}, targets=np.arange(N) % C)
    logits, targets, ids = batch()
    mixed_up = targets.clone()
    mixed_up[3] = (targets[3] + 1) % C
    named = f"Sample {int(ids[3])} came with target {int(mixed_up[3])}, but targets= says {int(targets[3])}"
    with pytest.raises(InputError, match=named):
        recorder.update(logits, mixed_up, ids)
    recorder.update(logits, targets, ids)  # nothing was changed
    recorder.end_epoch()
    assert np.isfinite(recorder.scores()["el2n"].values).all()


def test_targets_known_up_front_are_those_of_missing_samples_too(tmp_path: Path) -> None:
    labels = np.arange(N) % C
    for known in (None, labels.astype(np.uint8)):
        folder = tmp_path / str(known is None)
        with TrajectoryWriter.create(folder, N, C, ("correct",)) as store:
            recorder = Recorder(N, C, {"el2n": EL2N()}, targets=known, store=store, missing="allow")
            before = recorder.pool().targets
            logits, targets, ids = batch()
            recorder.update(logits[:7], targets[:7], ids[:7])
            recorder.end_epoch()
        found = (before, recorder.pool().targets, Trajectory.open(folder).targets)
        if known is None:
            assert found == (None, None, None)
        else:
            for these in found:
                np.testing.assert_array_equal(these, labels)


def test_targets_are_compared_with_those_of_a_state() -> None:
    recorder = Recorder(N, C, {"el2n": EL2N()}, missing="allow")
    logits, targets, ids = batch()
    recorder.update(logits[:7], targets[:7], ids[:7])
    recorder.end_epoch()
    later = Recorder(N, C, {"el2n": EL2N()}, targets=np.arange(N) % C, missing="allow")
    later.load_state_dict(recorder.state_dict())
    np.testing.assert_array_equal(later.pool().targets, np.arange(N) % C)
    other = Recorder(N, C, {"el2n": EL2N()}, targets=np.zeros(N, dtype=np.int64), missing="allow")
    with pytest.raises(InputError, match=r"was recorded with target \d, but targets= says 0"):
        other.load_state_dict(recorder.state_dict())


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.zeros(N - 1, dtype=np.int64), "12 integer labels"), (np.zeros(N), "of torch.float64"),
        (np.arange(N), r"in \[0, 3\), but sample 3 has 3 \(9 such"), (np.full(N, -1), "but sample 0 has -1"),
    ],
)  # fmt: skip
def test_impossible_targets_are_refused_at_once(targets: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recorder(N, C, targets=targets)


def test_one_sample_batches() -> None:
    recorder = Recorder(1, 2, {"tdds": TDDS(window=3), "aum": AUM(margin="logit")})
    for epoch in range(4):
        recorder.update(np.array([[float(epoch), 0.0]]), np.array([0]), np.array([0]))
        recorder.end_epoch()
    assert recorder.scores()["aum"].values.tolist() == [1.5]
    assert recorder.scores()["tdds"].values.shape == (1,)


def test_a_window_longer_than_the_recording_is_refused() -> None:
    recorder = Recorder(N, C, {"tdds": TDDS(window=5)})
    feed(recorder, 4)
    with pytest.raises(TooFewEpochsError, match="at least 5 completed epochs, but 4"):
        recorder.scores()


@pytest.mark.parametrize(
    "arguments",
    [{"n": 0}, {"num_classes": 1}, {"log_probs": "int8"}, {"missing": "drop"}, {"duplicates": "last"}],
)
def test_bad_settings(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Expected"):
        Recorder(**({"n": N, "num_classes": C} | arguments))


def test_the_evaluation_pass_is_apart_from_training() -> None:
    scorers = {"eval": Entropy(), "train": Entropy(view="train"), "grand": GraNd()}
    recorder = Recorder(N, C, scorers)
    recorder.update(LOGITS, TARGETS, IDS)
    recorder.update_eval(torch.zeros(N, C), TARGETS, IDS, torch.ones(N, 3))
    recorder.end_epoch()
    scores = recorder.scores()
    np.testing.assert_allclose(scores["eval"].values, np.log(C), rtol=1e-6)
    np.testing.assert_allclose(scores["grand"].values, np.sqrt(4 / 9 + 2 / 9) * 2, rtol=1e-6)
    assert (scores["train"].values < np.log(C)).all()
    pool = recorder.pool()
    assert pool.features is not None
    assert pool.features.shape == (N, 3)


def test_features_are_asked_for_where_they_are_needed() -> None:
    recorder = Recorder(N, C, {"grand": GraNd(view="train")})
    with pytest.raises(InputError, match="features"):
        recorder.update(LOGITS, TARGETS, IDS)
    recorder.update(LOGITS, TARGETS, IDS, torch.ones(N, 3))
    recorder.end_epoch()
    assert np.isfinite(recorder.scores()["grand"].values).all()


@pytest.mark.parametrize("inside", [False, True], ids=["between epochs", "inside an epoch"])
def test_state_goes_through_a_file_bit_for_bit(tmp_path: Path, inside: bool) -> None:
    scorers = {"tdds": TDDS(window=3), "aum": AUM(), "el2n": EL2N()}
    whole, first, second = (Recorder(N, C, scorers) for _ in range(3))
    feed(whole, 7)
    feed(first, 3)
    logits, targets, ids = batch(3)
    if inside:
        first.update(logits[:5], targets[:5], ids[:5])
    save_checkpoint(tmp_path / "state.safetensors", first.state_dict())
    second.load_state_dict(load_checkpoint(tmp_path / "state.safetensors"))
    second.update(logits[5 if inside else 0 :], targets[5 if inside else 0 :], ids[5 if inside else 0 :])
    second.end_epoch()
    feed(second, 3, first=4)
    for name, scores in whole.scores().items():
        np.testing.assert_array_equal(scores.values, second.scores()[name].values)


def test_a_state_of_something_else_is_refused() -> None:
    recorder = Recorder(N, C, {"el2n": EL2N()})
    feed(recorder, 1)
    for other in (Recorder(N + 1, C, {"el2n": EL2N()}), Recorder(N, C, {"el2n": EL2N(epochs=3)})):
        with pytest.raises(InputError, match="recorder state"):
            other.load_state_dict(recorder.state_dict())


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TrajectoryWriter.create(tmp_path / "trajectory", N, C, ["change", "error_norm"])
    recorder = Recorder(N, C, {"el2n": EL2N()}, store=store)
    feed(recorder, 2)
    recorder.update(LOGITS, TARGETS, IDS)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.ParquetWriter.write_table", full)
        with pytest.raises(OSError, match="No space left"):
            recorder.end_epoch()
    assert (recorder.epoch, store.epochs) == (2, 2)
    Trajectory.open(tmp_path / "trajectory").verify()
    recorder.end_epoch()  # room was made
    store.close()
    trajectory = Trajectory.open(tmp_path / "trajectory")
    trajectory.verify()
    assert trajectory.epochs == recorder.epoch == 3


def test_a_store_of_other_samples_is_refused(tmp_path: Path) -> None:
    with (
        TrajectoryWriter.create(tmp_path / "trajectory", N, C, ["loss"]) as store,
        pytest.raises(InputError, match="Expected a store"),
    ):
        Recorder(N + 1, C, store=store)


def test_an_id_out_of_range_does_not_hide_as_a_duplicate() -> None:
    recorder = Recorder(N, C, {"el2n": EL2N()}, duplicates="first")
    recorder.update(LOGITS, TARGETS, IDS)
    for bad in (N, -1, N + 7):
        with pytest.raises(SampleIdError, match=r"\[0, 12\)"):
            recorder.update(LOGITS[:1], TARGETS[:1], torch.tensor([bad]))


def test_arrays_that_cannot_be_written_or_read() -> None:
    recorder = Recorder(N, C, {"el2n": EL2N()})
    frozen = LOGITS.numpy().copy()
    frozen.flags.writeable = False
    recorder.update(frozen, TARGETS, IDS)  # and no warning
    recorder.end_epoch()
    for logits in (np.array([["a"] * C] * N), np.full((N, C), None), LOGITS.numpy().astype(">f4")):
        with pytest.raises(InputError, match="array of numbers"):
            recorder.update(logits, TARGETS, IDS)
    with pytest.raises(UnknownNameError, match="Expected a scorer of this Recorder"):
        recorder.scores(["aum"])


def test_a_state_that_is_refused_cuts_no_store(tmp_path: Path) -> None:
    with TrajectoryWriter.create(tmp_path / "t", N, C, ["loss", "error_norm"]) as store:
        recorder = Recorder(N, C, {"el2n": EL2N()}, store=store)
        feed(recorder, 1)
        other = Recorder(N, C, {"el2n": EL2N()})
        feed(other, 1)
        feed(recorder, 2, first=1)
        with pytest.raises(InputError, match=r"state with the signals.*'loss'"):
            recorder.load_state_dict(other.state_dict())
        assert store.epochs == 3
        feed(other, 4, first=1)
        with pytest.raises(InputError, match=r"holds 3 epochs.*Resume from a state that old"):
            recorder.load_state_dict(other.state_dict())
        assert store.epochs == 3


def test_a_restored_recorder_does_not_write_the_targets_anew(tmp_path: Path) -> None:
    with TrajectoryWriter.create(tmp_path / "t", N, C, ["error_norm"]) as store:
        recorder = Recorder(N, C, {"el2n": EL2N()}, store=store)
        feed(recorder, 2)
        written = (tmp_path / "t" / "targets.parquet").stat()
        again = Recorder(N, C, {"el2n": EL2N()}, store=store)
        again.load_state_dict(recorder.state_dict())
        feed(again, 1, first=2)
    assert (tmp_path / "t" / "targets.parquet").stat() == written


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_restored_recorder_follows_the_first_batch_to_its_device() -> None:
    first, second = (Recorder(N, C, {"tdds": TDDS(window=3)}) for _ in range(2))
    feed(first, 3)
    second.load_state_dict(first.state_dict())
    logits, targets, ids = (part.cuda() for part in batch(3))
    second.update(logits, targets, ids)
    second.end_epoch()
    feed(first, 1, first=3)
    assert second.state_dict()["memory"]["previous"].device.type == "cuda"
    np.testing.assert_allclose(second.scores()["tdds"].values, first.scores()["tdds"].values, rtol=1e-5)


def test_large_logits_whose_sum_overflows_are_finite() -> None:
    recorder = Recorder(2, 3, {"el2n": EL2N()})
    huge = np.array([[3e38, 3e38, 0], [0, 0, 3e38]], dtype=np.float32)
    recorder.update(huge, np.array([0, 2]), np.array([0, 1]))
    recorder.end_epoch()
    np.testing.assert_allclose(recorder.scores()["el2n"].values, [np.sqrt(0.5), 0], atol=1e-6)
