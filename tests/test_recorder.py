"""The Recorder: its border (everything that must be refused), its memory, and that nothing is lost."""

from __future__ import annotations

import copy
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from thresher.errors import InputError, MissingSamplesError, SampleIdError, TooFewEpochsError, UnknownNameError
from thresher.ranks import Alone
from thresher.ranks.owners import Owners
from thresher.recorder import Recorder
from thresher.recording import memory
from thresher.recording.arguments import as_batch
from thresher.recording.collect import Collector
from thresher.recording.outbox import Outbox
from thresher.replay import Request, replay
from thresher.scorers import AUM, DUAL, EL2N, TDDS, ClassDistance, DynUnc, Entropy, Forgetting, GraNd, LastLoss
from thresher.signals import SIGNALS
from thresher.train.checkpoint import load_checkpoint, save_checkpoint
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame, Pool

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


@pytest.mark.parametrize("n", [3, 200])
def test_scores_do_not_depend_on_how_logits_lie_in_memory(n: int) -> None:
    scorers, generator = {"loss": LastLoss(), "grand": GraNd(view="train"), "tdds": TDDS(window=3)}, torch.Generator()
    logits, features = (torch.randn(4, n, width, generator=generator) for width in (10, 512))
    layouts: list[Callable[[torch.Tensor], torch.Tensor]] = [
        lambda rows: rows, lambda rows: rows.T.contiguous().T, lambda rows: torch.stack([rows, rows], 2)[:, :, 0],
        lambda rows: torch.nn.functional.pad(rows, (0, 3))[:, : rows.shape[1]], lambda rows: rows.double(),
    ]  # fmt: skip
    found = []
    for layout in layouts:
        recorder = Recorder(n, 10, scorers)
        for rows, widths in zip(logits, features, strict=True):
            recorder.update(layout(rows), torch.arange(n) % 10, torch.arange(n), layout(widths))
            recorder.end_epoch()
        found.append({name: scores.values for name, scores in recorder.scores().items()})
    for other in found[1:]:
        for name in scorers:
            np.testing.assert_array_equal(other[name], found[0][name], err_msg=name)


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


def changed(**changes: Any) -> tuple[Any, ...]:
    """Return a good batch with some parts replaced, or with features."""
    logits, targets, ids = batch()
    return tuple(({"logits": logits, "targets": targets, "ids": ids} | changes).values())


def with_value(array: torch.Tensor, position: int, value: float) -> torch.Tensor:
    """Return a copy with one entry replaced."""
    copy = array.clone()
    copy.view(-1)[position] = value
    return copy


LOGITS, TARGETS, IDS = batch()
BAD: dict[str, tuple[tuple[Any, ...], type[Exception], str]] = {
    "NaN logits": (changed(logits=with_value(LOGITS, 4, float("nan"))), InputError, "finite"),
    "infinite logits": (changed(logits=with_value(LOGITS, 4, float("inf"))), InputError, "finite.* Training has diverged"),
    "masked classes": (changed(logits=with_value(LOGITS, 4, float("-inf"))), InputError, "If -inf masks classes, .*-1e4"),
    "wrong C": (changed(logits=torch.randn(N, C + 1)), InputError, r"\(B, 3\)"),
    "one-dimensional logits": (changed(logits=torch.randn(N)), InputError, "shape"),
    "float8 logits": (changed(logits=torch.ones(N, C).to(torch.float8_e4m3fn)), InputError, "of 16 bits or more"),
    "complex logits": (changed(logits=torch.ones(N, C) * 1j), InputError, "floating"),
    "features without width": (changed(features=torch.ones(N, 0)), InputError, r"of shape \(12, D\), but got \(12, 0\)"),
    "float8 features": (changed(features=torch.ones(N, 2).to(torch.float8_e5m2)), InputError, "features as real numbers"),
    "complex features": (changed(features=torch.ones(N, 2) * 1j), InputError, "features as real numbers"),
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
    "ignored target": (changed(targets=with_value(TARGETS, 0, -100)), InputError, "loss ignores, from the batch"),
    "ids and targets swapped": (changed(ids=TARGETS, targets=IDS), InputError, "are logits, targets, sample_ids"),
    "ids of text": (changed(ids=[f"u{i}" for i in IDS]), SampleIdError, "sample_ids, but got list of <U3.*Indexed"),
    "a model's whole output": (changed(logits={"logits": LOGITS}), InputError, r"but got dict\..*output\.logits"),
    "a tuple of loss and logits": (changed(logits=(LOGITS.sum(), LOGITS)), InputError, r"but got tuple\..*output\.logits"),
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


@pytest.mark.parametrize("rows", [2, 32_768, 40_000, 65_536])
@pytest.mark.parametrize("which", ["update", "update_eval"])
def test_an_id_seen_however_often_is_refused(rows: int, which: str) -> None:
    recorder = Recorder(3, 2, {"el2n": EL2N()}, missing="allow")
    logits, zeros = np.tile(np.float32([0.5, -1]), (rows, 1)), np.zeros(rows, dtype=np.int64)
    with pytest.raises(SampleIdError, match="Sample 0 was seen twice in epoch 0"):
        getattr(recorder, which)(logits, zeros, zeros)
    recorder.update(logits[:1], zeros[:1], zeros[:1])  # what was refused is forgotten
    recorder.end_epoch()
    assert np.isfinite(recorder.scores()["el2n"].values).tolist() == [True, False, False]


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


def test_a_word_for_missing_that_is_none_is_refused() -> None:
    recorder = Recorder(N, C, {"el2n": EL2N()})
    recorder.update(LOGITS, TARGETS, IDS)
    with pytest.raises(InputError, match=r"'error' or 'allow', but got 'alow'"):
        recorder.end_epoch("alow")  # type: ignore[arg-type]
    recorder.end_epoch()


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
    assert not other.pool().need_targets("this").any(), "what was refused has changed nothing"


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.zeros(N - 1, dtype=np.int64), "12 integer labels"), (np.zeros(N), "of torch.float64"),
        (np.arange(N), r"in \[0, 3\), but sample 3 has 3 \(9 such"), (np.full(N, -1), "but sample 0 has -1"),
    ],
)  # fmt: skip
def test_impossible_targets_are_refused_at_once(targets: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recorder(N, C, {}, targets=targets)


def test_soft_labels_are_told_what_to_do() -> None:
    recorder = Recorder(N, C, {"el2n": EL2N()})
    logits, targets, ids = batch()
    hard = torch.nn.functional.one_hot(targets, C)
    for given in (hard, hard * 0.9 + 0.1 / C):
        with pytest.raises(InputError, match=r"labels\.argmax\(1\)\. The output for a mixed image .* belongs to no"):
            recorder.update(logits, given, ids)
    with pytest.raises(SampleIdError, match=r"but got \(12, 3\)\.$"):
        recorder.update(logits, targets, hard)


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
    [
        {"n": 0}, {"n": range(N)}, {"n": 12.0}, {"num_classes": 1}, {"num_classes": "3"}, {"log_probs": "int8"},
        {"missing": "drop"}, {"duplicates": "last"}, {"store": "runs/mine"},
    ],
)  # fmt: skip
def test_bad_settings(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Expected"):
        Recorder(**({"n": N, "num_classes": C, "scorers": {}} | arguments))


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


def test_an_evaluation_pass_that_waits_is_told() -> None:
    recorder = Recorder(N, C, {"entropy": Entropy()})
    assert not recorder.amid_evaluation
    recorder.update(LOGITS, TARGETS, IDS)
    assert (recorder.amid_epoch, recorder.amid_evaluation) == (True, False)
    recorder.update_eval(LOGITS, TARGETS, IDS)
    assert recorder.amid_evaluation
    again = Recorder(N, C, {"entropy": Entropy()})
    again.load_state_dict(recorder.state_dict())
    assert again.amid_evaluation
    recorder.end_epoch()
    assert not recorder.amid_evaluation


def test_a_recorder_says_what_it_records(tmp_path: Path) -> None:
    with TrajectoryWriter.create(tmp_path / "t", N, C, ["loss"]) as store:
        told = repr(Recorder(N, C, {"el2n": EL2N(), "aum": AUM()}, store=store))
    assert told == f"<thresher.Recorder of 12 samples in 3 classes, 0 epochs: el2n, aum, into {tmp_path / 't'}>"
    assert repr(Recorder(N, C, {})) == "<thresher.Recorder of 12 samples in 3 classes, 0 epochs: no scorers>"


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
    save_checkpoint(str(tmp_path / "state.safetensors"), first.state_dict())
    second.load_state_dict(load_checkpoint(str(tmp_path / "state.safetensors")))
    second.update(logits[5 if inside else 0 :], targets[5 if inside else 0 :], ids[5 if inside else 0 :])
    second.end_epoch()
    feed(second, 3, first=4)
    for name, scores in whole.scores().items():
        np.testing.assert_array_equal(scores.values, second.scores()[name].values)


def test_numbers_of_numpy_go_into_files_as_pythons_do(tmp_path: Path) -> None:
    """`num_classes` is `labels.max() + 1` in many a loop."""
    n, c, window = np.int64(N), np.int64(C), np.int64(3)
    store = TrajectoryWriter.create(tmp_path / "t", n, c, ["change"])  # type: ignore[arg-type]
    first = Recorder(n, c, {"tdds": TDDS(window=window)}, store=store)  # type: ignore[arg-type]
    feed(first, 3)
    store.close()
    save_checkpoint(tmp_path / "state.safetensors", first.state_dict())
    second = Recorder(N, C, {"tdds": TDDS(window=3)})
    second.load_state_dict(load_checkpoint(tmp_path / "state.safetensors"))
    assert second.epoch == Trajectory.open(tmp_path / "t").epochs == 3
    assert json.loads(json.dumps(first.scores()["tdds"].source))["params"]["window"] == 3


def test_a_state_that_was_not_copied_is_not_restored_after_another_epoch() -> None:
    """It is the memory itself, so the epochs since would be counted as those before."""
    recorder = Recorder(N, C, {"el2n": EL2N()})
    feed(recorder, 2)
    own, copied = recorder.state_dict(), copy.deepcopy(recorder.state_dict())
    recorder.load_state_dict(own)
    before = recorder.scores()["el2n"].values
    feed(recorder, 1, first=2)
    with pytest.raises(InputError, match=r"as it was in epoch 2, but .* now in epoch 3\. Copy a state to restore"):
        recorder.load_state_dict(own)
    recorder.load_state_dict(copied)
    np.testing.assert_array_equal(recorder.scores()["el2n"].values, before)


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


@pytest.mark.parametrize("duplicates", ["error", "first"])
def test_what_the_evaluation_pass_alone_shows_is_kept(tmp_path: Path, duplicates: Any) -> None:
    """Scores by that pass are fresh, those of the training untouched, stored logits not those of an earlier epoch."""
    scorers = {
        "entropy": Entropy(),
        "forgetting": Forgetting(),
        "dual": DUAL(window=2),
        "unc": DynUnc(window=2),
        "el2n": EL2N(),
    }
    with TrajectoryWriter.create(tmp_path / "t", N, C, sorted(needs(scorers)), logits="float32", bucket_size=4) as store:
        recorder = Recorder(N, C, scorers, store=store, missing="allow", duplicates=duplicates)
        plain = Recorder(N, C, {key: scorers[key] for key in scorers if key != "entropy"}, missing="allow")
        for epoch in range(4):
            ids = torch.arange(N)
            logits, targets = torch.randn(N, C, generator=torch.Generator().manual_seed(epoch)), ids % C
            shown = ids[ids % 3 == epoch % 3] if epoch else ids
            for target in (recorder, plain):
                target.update(logits[shown], targets[shown], shown)
            recorder.update_eval(logits * 2, targets, ids)
            recorder.end_epoch()
            plain.end_epoch()
            probs = (logits * 2).softmax(1)
            entropy = -(probs * (probs + 1e-10).log()).sum(1)
            np.testing.assert_allclose(recorder.scores(["entropy"])["entropy"].values, entropy, rtol=1e-5)
    for name, scores in plain.scores().items():
        np.testing.assert_array_equal(recorder.scores()[name].values, scores.values, err_msg=name)
    recording = Trajectory.open(tmp_path / "t")
    seen = ~np.isnan(recording.logits(3)).any(axis=1)
    assert np.flatnonzero(seen).tolist() == np.flatnonzero(np.arange(N) % 3 == 0).tolist()
    replayed = replay(recording, [Request(name, scorer) for name, scorer in scorers.items()])
    for name, scores in recorder.scores().items():
        np.testing.assert_array_equal(replayed[name].values, scores.values, err_msg=name)


def test_an_epoch_is_told_also_to_a_scorer_that_saw_nothing_of_it() -> None:
    """The last epoch's windows do not count for DynUnc, even where that epoch showed nothing of what it reads."""
    scorer = DynUnc(window=2)
    state = scorer.init(2)
    for epoch in range(3):
        prob = np.full(2, np.nan if epoch == 2 else epoch, np.float32)
        frame = Frame(epoch, np.arange(2), {"target_prob": prob, "eval_loss": np.ones(2, np.float32)}, 2)
        scorer.update(state, frame.having(scorer.needs))
    assert not np.isnan(scorer.compute(state, Pool(2))).any()


def needs(scorers: dict[str, Any]) -> set[str]:
    return {need for scorer in scorers.values() for need in scorer.needs}


def test_features_of_a_state_reach_the_store_that_was_cut_back_to_it(tmp_path: Path) -> None:
    features, later = torch.randn(2, N, 4, generator=torch.Generator().manual_seed(0))
    logits, targets, ids = batch()
    with TrajectoryWriter.create(tmp_path / "t", N, C, ["loss"]) as store:
        recorder = Recorder(N, C, {"moderate": ClassDistance()}, store=store)
        for shown in (features, later):
            state = copy.deepcopy(recorder.state_dict())
            recorder.update(logits, targets, ids)
            recorder.update_eval(logits, targets, ids, shown)
            recorder.end_epoch()
        resumed = Recorder(N, C, {"moderate": ClassDistance()}, store=store)
        resumed.load_state_dict(state)
        resumed.update(logits, targets, ids)
        resumed.end_epoch()
    found = replay(Trajectory.open(tmp_path / "t"), [Request("moderate", ClassDistance())])
    assert found == resumed.scores()


def test_features_of_two_widths_in_one_pass_are_refused() -> None:
    recorder = Recorder(4, 2, {"distance": ClassDistance()})
    logits, targets, ids = torch.randn(4, 2), torch.tensor([0, 0, 1, 1]), torch.arange(4)
    recorder.update(logits, targets, ids)
    recorder.update_eval(logits[:2], targets[:2], ids[:2], torch.ones(2, 5))
    again = Recorder(4, 2, {"distance": ClassDistance()})
    again.load_state_dict(copy.deepcopy(recorder.state_dict()))
    for target in (recorder, again):
        with pytest.raises(InputError, match="features of width 5, as before in this evaluation pass, but got 4"):
            target.update_eval(logits[2:], targets[2:], ids[2:], torch.ones(2, 4))
        target.update_eval(logits[2:], targets[2:], ids[2:], torch.ones(2, 5))
        target.end_epoch()
        assert not np.isnan(target.scores()["distance"].values).any()
        target.update(logits, targets, ids)
        target.update_eval(logits, targets, ids, torch.ones(4, 3))  # another pass may read another layer


@pytest.mark.parametrize("place", ["float16", "float32"])
def test_logits_that_a_store_cannot_hold_are_refused(tmp_path: Path, place: Any) -> None:
    logits, targets, ids = torch.tensor([[7e4, 0.0], [65504.0, -65519.0]]), torch.tensor([0, 1]), torch.arange(2)
    with TrajectoryWriter.create(tmp_path / "t", 2, 2, ["loss"], logits=place) as store:
        recorder = Recorder(2, 2, {"distance": ClassDistance()}, store=store)
        if place == "float16":
            with pytest.raises(InputError, match=r"of sample 0 are larger .* logits='float32'"):
                recorder.update(logits, targets, ids)
            logits[0] /= 2
        recorder.update(logits, targets, ids)
        recorder.update_eval(logits * 9, targets, ids, torch.ones(2, 3))  # these are not stored
        recorder.end_epoch()
    assert np.isfinite(Trajectory.open(tmp_path / "t").logits(0)).all()


def test_dropped_copies_are_looked_at_too() -> None:
    recorder = Recorder(2, 2, {"el2n": EL2N()}, duplicates="first")
    ids, targets, logits = torch.tensor([0, 1, 0]), torch.tensor([0, 1, 0]), torch.zeros(3, 2)
    with pytest.raises(InputError, match="Sample 0 came with target 1, but earlier with 0"):
        recorder.update(logits, torch.tensor([0, 1, 1]), ids)
    bad = logits.clone()
    bad[2] = float("nan")
    with pytest.raises(InputError, match="those of sample 0"):
        recorder.update(bad, targets, ids)
    recorder.update(logits, targets, ids)
    with pytest.raises(InputError, match="Sample 1 came with target 0, but earlier with 1"):
        recorder.update(logits[:1], targets[:1], ids[1:2])
    recorder.update(logits[:0], targets[:0], ids[:0])
    recorder.end_epoch()


@pytest.mark.parametrize("of_training", [True, False])
def test_copies_of_a_whole_training_epoch_are_told(of_training: bool, recwarn: pytest.WarningsRecorder) -> None:
    """As many rows again as samples: ids counted anew somewhere. An evaluation pass may be shown twice."""
    recorder, ids = Recorder(4, 2, {"el2n": EL2N()}, duplicates="first"), torch.arange(4)
    for turn in range(2):
        if of_training or not turn:
            recorder.update(torch.zeros(4, 2), ids % 2, ids)
        recorder.update_eval(torch.zeros(4, 2), ids % 2, ids)
    recorder.end_epoch()
    told = [str(warning.message) for warning in recwarn]
    assert len(told) == of_training
    assert all("4 samples, and 4 more rows that were dropped as copies" in text for text in told)


def test_a_recorder_belongs_to_the_ranks_that_write_its_store(tmp_path: Path) -> None:
    with TrajectoryWriter.create(tmp_path / "t", N, C, ["loss"], ranks=Alone()) as store:
        assert Recorder(N, C, store=store).ranks is store.ranks


def test_labels_of_samples_that_come_late_reach_the_store(tmp_path: Path) -> None:
    ids = torch.arange(4)
    with TrajectoryWriter.create(tmp_path / "t", 4, 3, ["loss"]) as store:
        recorder = Recorder(4, 3, store=store, missing="allow")
        for seen in (ids[:2], ids[1:3], ids[3:]):
            recorder.update(torch.zeros(len(seen), 3), seen % 3, seen)
            recorder.end_epoch()
            known = Trajectory.open(tmp_path / "t").targets
            wanted = [0, 1, 2, 0] if 3 in seen else None
            assert (None if known is None or (known < 0).any() else known.tolist()) == wanted


@pytest.mark.parametrize("evaluated", [False, True])
def test_labels_that_came_before_a_resume_amid_an_epoch_reach_the_store(tmp_path: Path, evaluated: bool) -> None:
    ids = torch.arange(4)
    with TrajectoryWriter.create(tmp_path / "t", 4, 3, ["loss"]) as store:
        recorder = Recorder(4, 3, store=store, missing="allow")
        recorder.update(torch.zeros(2, 3), ids[:2] % 3, ids[:2])
        recorder.end_epoch()
        (recorder.update_eval if evaluated else recorder.update)(torch.zeros(3, 3), ids[1:] % 3, ids[1:])
        resumed = Recorder(4, 3, store=store, missing="allow")
        resumed.load_state_dict(recorder.state_dict())
        resumed.update(torch.zeros(1, 3), ids[:1] % 3, ids[:1])
        resumed.end_epoch()
    assert (Trajectory.open(tmp_path / "t").targets == ids.numpy() % 3).all()


@pytest.mark.parametrize(
    ("targets", "ids", "advice"),
    [
        ([5, 50], [0, 2], "but got 5. They may be the ids"), ([5, 100], [0, 2], "but got 5. Number them from 0.$"),
        ([5, 50], [0, 3], "but got 5. Number them from 0.$"), ([1, 3], [0, 60], "but got 3. Number them from 0.$"),
        ([1, -100], [0, 2], "but got -100. Number them from 0, and drop rows without a label"),
    ],
)  # fmt: skip
def test_targets_that_are_no_classes_are_told_what_they_may_be(targets: list[int], ids: list[int], advice: str) -> None:
    recorder = Recorder(100, 3, {"el2n": EL2N()})
    with pytest.raises(InputError, match=rf"targets in \[0, 3\), {advice}"):
        recorder.update(torch.zeros(2, 3), torch.tensor(targets), torch.tensor(ids))


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "uint64"])
def test_labels_that_are_known_may_be_of_any_integer_type(kind: str) -> None:
    known = np.array([0, 2, 1], dtype=kind)
    recorder = Recorder(3, 3, {"el2n": EL2N()}, targets=known)
    recorder.update(torch.zeros(3, 3), known, torch.arange(3))
    recorder.end_epoch()
    assert recorder.pool().targets.tolist() == [0, 2, 1]  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"in \[0, 2\), but sample 1 has 2 \(1 such labels\)"):
        Recorder(3, 2, {"el2n": EL2N()}, targets=known)


def test_what_is_no_signal_is_refused_before_anything_is_recorded() -> None:
    with pytest.raises(UnknownNameError, match="but got 'losss'"):
        Recorder(N, C, extra_signals=["losss"])


def test_a_state_without_logits_does_not_go_with_a_store_of_them(tmp_path: Path) -> None:
    scorers = {"el2n": EL2N()}
    source = Recorder(N, C, scorers, extra_signals=["loss"])
    feed(source, 1)
    with TrajectoryWriter.create(tmp_path / "t", N, C, ["loss"], logits="float16") as store:
        recorder = Recorder(N, C, scorers, store=store)
        feed(recorder, 1)
        before = copy.deepcopy(recorder.state_dict())
        with pytest.raises(InputError, match="keeps logits as float16, but the state is of a recording without them"):
            recorder.load_state_dict(source.state_dict())
        torch.testing.assert_close(recorder.state_dict()["memory"], before["memory"], equal_nan=True)


def test_faults_of_an_accelerator_are_part_of_the_state() -> None:
    """They are told at the epoch's end, also after a resume amid it; an older state clears them."""
    recorder, ids = Recorder(4, 2, {"el2n": EL2N()}), torch.arange(4)
    recorder.update(torch.zeros(4, 2), ids % 2, ids)
    recorder.end_epoch()
    good = copy.deepcopy(recorder.state_dict())
    recorder.update(torch.zeros(4, 2), ids % 2, ids)
    memory = recorder._memory
    assert memory is not None
    memory.intake.faults[2] = True  # as a batch with NaN on an accelerator leaves it
    resumed = Recorder(4, 2, {"el2n": EL2N()})
    resumed.load_state_dict(copy.deepcopy(recorder.state_dict()))
    older = {**good, "memory": {key: value for key, value in good["memory"].items() if key != "faults"}}
    for target, state in ((recorder, good), (resumed, older)):
        with pytest.raises(InputError, match=r"Epoch 1 was not committed: it held logits that are NaN"):
            target.end_epoch()
        target.load_state_dict(state)
        target.update(torch.zeros(4, 2), ids % 2, ids)
        target.end_epoch()


def test_more_epochs_than_scorers_count_are_refused() -> None:
    recorder = Recorder(N, C, {"el2n": EL2N()})
    recorder.epoch = 32_766
    feed(recorder, 1, 32_766)
    recorder.update(*batch())
    with pytest.raises(InputError, match="at most 32767 epochs, the most that scorers count, but got 32768"):
        recorder.end_epoch()
    assert recorder.epoch == 32_767


class NoFloat64(TorchDispatchMode):
    """A device that has none, such as Apple's."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else [result]:
            assert not isinstance(value, torch.Tensor) or value.dtype != torch.float64, func
        return result


@pytest.mark.parametrize("waits", [False, True])
def test_batches_are_looked_at_without_float64(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "defers", lambda device: waits)
    recorder = Recorder(N, C, extra_signals=[*SIGNALS, "eval_entropy", "eval_feature_norm"], duplicates="first")
    with NoFloat64():
        for epoch in range(2):
            logits, targets, ids = batch(epoch)
            recorder.update(logits.abs(), targets, ids, features=logits)
            recorder.update_eval(logits, targets, ids, features=logits)
            recorder.end_epoch()


def test_probabilities_are_no_logits() -> None:
    recorder = Recorder(8, 3, {"el2n": EL2N()})
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match=r"as probabilities are: all scores would be wrong.*logits_of"):
        recorder.update(logits.softmax(1), torch.zeros(8, dtype=torch.int64), torch.arange(8))
    assert recorder._device is None  # nothing was changed
    recorder.update(logits, torch.zeros(8, dtype=torch.int64), torch.arange(8))
    recorder.end_epoch()
    with pytest.raises(InputError, match=r"Turn class names into numbers: np\.unique"):
        recorder.update(logits, np.array(["cat"] * 8), torch.arange(8))


@pytest.mark.parametrize("before", ["one sample", "a state", "a restored state", "known targets"])
def test_probabilities_are_noticed_whatever_came_before(before: str) -> None:
    logits, targets, ids = batch()
    recorder = Recorder(N, C, {"el2n": EL2N()}, targets=torch.arange(N) % C if before == "known targets" else None)
    if before == "one sample":
        recorder.update(logits[:1], targets[:1], ids[:1])
    elif before == "known targets":
        recorder.pool()
    else:
        state = recorder.state_dict()
        recorder = recorder if before == "a state" else Recorder(N, C, {"el2n": EL2N()}, device="cpu")
        recorder.load_state_dict(copy.deepcopy(state))
    with pytest.raises(InputError, match="as probabilities are"):
        recorder.update(logits[1:].softmax(1), targets[1:], ids[1:])
    recorder.update(logits[1:], targets[1:], ids[1:])


@pytest.mark.parametrize(
    ("scorers", "message"),
    [
        ([EL2N()], r"but got \[EL2N"), ({"el2n": "el2n"}, "'el2n' is 'el2n'. Give an instance"),
        ({"el2n": EL2N}, "'el2n' is the class EL2N. Give an instance"),
    ],
)  # fmt: skip
def test_scorers_are_given_by_name(scorers: Any, message: str) -> None:
    with pytest.raises(InputError, match="Expected scorers by name, such as .*" + message):
        Recorder(8, 3, scorers)


def test_a_recorder_that_would_record_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"nothing would be recorded.*scorers=\{'tdds': TDDS\(\)\}, or store="):
        Recorder(N, C)
    feed(Recorder(N, C, {}), 1)  # as a rule of dynamic pruning without scores wants it
    feed(Recorder(N, C, extra_signals=["loss"]), 1)


def test_scores_of_an_evaluation_pass_that_never_came_are_refused() -> None:
    recorder = Recorder(N, C, {"entropy": Entropy(), "grand": GraNd(), "el2n": EL2N()})
    recorder.update(*batch())
    recorder.update_eval(*batch())
    recorder.end_epoch()
    assert list(recorder.scores(["entropy", "el2n"])) == ["entropy", "el2n"]
    with pytest.raises(InputError, match=r"grand reads an evaluation pass with features, but none was recorded"):
        recorder.scores()
    recorder = Recorder(N, C, {"entropy": Entropy()})
    feed(recorder, 2)
    with pytest.raises(InputError, match=r"none was recorded: call update_eval\(\.\.\.\) .* before the last end_epoch"):
        recorder.scores()


def test_a_store_that_is_ahead_is_noticed_at_the_first_batch(tmp_path: Path) -> None:
    with TrajectoryWriter.create(tmp_path / "t", N, C, ["loss"]) as store:
        first = Recorder(N, C, store=store)
        feed(first, 2)
        again = Recorder(N, C, store=store)
        for take in (again.update, again.update_eval):
            with pytest.raises(InputError, match=r"holds 2 epochs, but the Recorder has 0.*load_state_dict.*a new folder"):
                take(*batch())
        again.load_state_dict(first.state_dict())
        feed(again, 1, first=2)


@pytest.mark.parametrize("shape", [(4, 1), (4,)])
def test_one_logit_of_a_binary_model_is_told_what_to_do(shape: tuple[int, ...]) -> None:
    recorder, z = Recorder(4, 2, {"el2n": EL2N()}), torch.randn(shape)
    with pytest.raises(InputError, match=r"the two classes have the logits \[0, z\]: .*torch\.cat"):
        recorder.update(z, torch.arange(4) % 2, torch.arange(4))
    z = z.reshape(-1, 1)
    recorder.update(torch.cat([torch.zeros_like(z), z], 1), torch.arange(4) % 2, torch.arange(4))


def test_a_recorder_that_saw_no_training_says_so() -> None:
    with pytest.raises(TooFewEpochsError, match=r"but none is recorded.*attach an integration before training"):
        Recorder(N, C, {"tdds": TDDS(window=5)}).scores()


def test_stores_are_named_by_texts_too(tmp_path: Path) -> None:
    with TrajectoryWriter.create(str(tmp_path / "run" / "trajectory"), N, C, ["loss"]):
        pass
    with TrajectoryWriter.resume(str(tmp_path / "run" / "trajectory")) as store:
        assert store.epochs == 0
    assert Trajectory.open(str(tmp_path / "run")).epochs == 0  # a run directory stands for its recording


def test_a_recorder_made_before_its_ranks_refuses_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = np.array([[1, 2, 3], [0, 9, 4]], dtype=np.float32), np.array([0, 1]), np.arange(2)
    early, alone = Recorder(2, 3, {"el2n": EL2N()}), Recorder(2, 3, {"el2n": EL2N()}, ranks=Alone())
    begun = Recorder(2, 3, {"el2n": EL2N()})
    begun.update(*batch)
    monkeypatch.setattr("thresher.ranks.alike.several", lambda: True)
    with pytest.raises(InputError, match="Make it after init_process_group"):
        early.update(*batch)
    alone.update(*batch)
    for recorder in (alone, begun):
        recorder.end_epoch()
        assert recorder.epoch == 1


def test_a_tensor_of_which_ranks_hold_parts_is_refused() -> None:
    """As tensor parallelism gives them; torch would refuse a sum of one with an ordinary tensor, in its own words."""
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        logits = DTensor.from_local(torch.zeros(2, 2), init_device_mesh("cpu", (2,)), [Shard(1)], run_check=False)
        with pytest.raises(InputError, match=r"logits as an ordinary tensor, but got a DTensor.*full_tensor\(\)"):
            Recorder(2, 4, {"el2n": EL2N()}, ranks=Alone()).update(logits, torch.arange(2), torch.arange(2))
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("waits", [False, True])
def test_a_pass_in_inference_mode_may_be_recorded(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first batch makes is changed outside of that mode too."""
    monkeypatch.setattr(memory, "defers", lambda device: waits)
    scorers = {"tdds": TDDS(window=3), "el2n": EL2N()}
    plain, inside = Recorder(N, C, scorers), Recorder(N, C, scorers)
    feed(plain, 4)
    for epoch in range(4):
        with torch.inference_mode():
            logits, targets, ids = batch(epoch)
            inside.update(logits * 1, targets, ids)
        inside.end_epoch()
    for name, found in plain.scores().items():
        np.testing.assert_array_equal(found.values, inside.scores()[name].values)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_torchs_defaults_change_nothing(dtype: torch.dtype) -> None:
    scorers = {"tdds": TDDS(window=3), "el2n": EL2N()}
    plain, other = Recorder(N, C, scorers, duplicates="first"), Recorder(N, C, scorers, duplicates="first")
    feed(plain, 4)
    given = [batch(epoch) for epoch in range(4)]
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            for logits, targets, ids in given:
                other.update(logits, targets, ids)
                other.end_epoch()
    finally:
        torch.set_default_dtype(before)
    for name, found in plain.scores().items():
        np.testing.assert_array_equal(found.values, other.scores()[name].values)


@pytest.mark.parametrize("waits", [False, True])
def test_a_recorder_tells_whether_it_is_amid_an_epoch(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without making a memory, which the first batch places, and without looking at what waits."""
    monkeypatch.setattr(memory, "defers", lambda device: waits)
    recorder = Recorder(N, C, {"el2n": EL2N()})
    assert not recorder.amid_epoch
    assert recorder._memory is None
    logits, targets, ids = batch()
    recorder.update_eval(logits, targets, ids)
    assert not recorder.amid_epoch
    recorder.update(logits[:5], targets[:5], ids[:5])
    assert recorder.amid_epoch
    assert recorder._memory is not None
    assert waits == bool((recorder._memory.intake.visits == 0).all())
    resumed = Recorder(N, C, {"el2n": EL2N()})
    resumed.load_state_dict(copy.deepcopy(recorder.state_dict()))
    assert resumed.amid_epoch
    recorder.update(logits[5:], targets[5:], ids[5:])
    recorder.end_epoch()
    assert not recorder.amid_epoch


def test_a_batch_without_rows_is_a_step_also_for_one_who_goes_on_from_a_state() -> None:
    """Steps of all ranks say which copy of a sample counts."""
    box, other = (Outbox(Owners(N, N, 1)) for _ in range(2))
    assert box.state() == {}
    logits, targets, ids = batch()
    box.add(as_batch(logits[:0], targets[:0], ids[:0], None, C), [logits[:0]])
    for _ in range(2):  # before there are rows, and with some
        other.load(box.state(), torch.device("cpu"))
        for one in (box, other):
            one.add(as_batch(logits, targets, ids, None, C), [logits])
        torch.testing.assert_close(other.state(), box.state())
    assert box.state()["integers"][:, 2].unique().tolist() == [1, 2]


def test_rows_of_a_state_go_to_the_device_on_which_the_epoch_goes_on() -> None:
    """A state is loaded before the first batch shows the device, and the rows leave together."""
    first, second = (Outbox(Owners(N, N, 1)) for _ in range(2))
    logits, targets, ids = batch()
    first.add(as_batch(logits, targets, ids, None, C), [logits])
    second.load(first.state(), torch.device("cpu"))
    logits, targets, ids = (part.to("meta") for part in (logits, targets, ids))
    second.add(as_batch(logits, targets, ids, None, C), [logits])
    assert {part.device.type for block in second._blocks for part in block} == {"meta"}


def test_rows_that_wait_for_other_ranks_are_float32_and_may_come_in_inference_mode() -> None:
    collector = Collector(Alone(), Owners(N, N, 1), ["error_norm"], ["eval_loss"], False)
    recorder = Recorder(N, C, extra_signals=["error_norm", "eval_loss"])
    holder = recorder._place()
    logits, targets, ids = batch()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            collector.add(holder, as_batch(logits[:5], targets[:5], ids[:5], None, C), 0)
        collector.add(holder, as_batch(logits[5:], targets[5:], ids[5:], None, C), 0)
        assert collector.waits
        collector.add_eval(holder, as_batch(logits, targets, ids, None, C), ["loss"], 0)
        collector.collect(holder, 0)
        assert not collector.waits
    finally:
        torch.set_default_dtype(torch.float32)
    error = (logits.softmax(1) - torch.nn.functional.one_hot(targets, C)).norm(dim=1)
    torch.testing.assert_close(holder.values["error_norm"][ids], error)
    torch.testing.assert_close(
        holder.values["eval_loss"][ids], torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    )
