"""The training loop: it learns, it resumes bit for bit, its schedule and its loss scale are the published ones."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from thresher.data import load
from thresher.errors import CorruptFileError, InputError, MissingFileError, MissingSamplesError
from thresher.models import build
from thresher.ranks import Alone
from thresher.recorder import Recorder
from thresher.scorers import AUM, EL2N, TDDS
from thresher.train import checkpoint, progress
from thresher.train.checkpoint import load_checkpoint, save_checkpoint
from thresher.train.checks import check_single_samples
from thresher.train.evaluation import evaluate, record_evaluation
from thresher.train.loop import Progress, fit
from thresher.train.loss_scale import normalised
from thresher.train.spec import TrainSpec, learning_rate
from thresher.train.step import KERNEL_SEARCH
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame

DIGITS = load("digits")
SPEC = TrainSpec("tiny", epochs=4, batch_size=64, lr=0.05)


def test_the_search_for_fast_kernels_is_on_while_anybody_trains() -> None:
    before = torch.backends.cudnn.benchmark
    try:
        for usual in (False, True):
            torch.backends.cudnn.benchmark = usual
            first, second = ExitStack(), ExitStack()
            first.enter_context(KERNEL_SEARCH.at(True))
            second.enter_context(KERNEL_SEARCH.at(True))
            first.close()  # the one that began first ends first
            assert torch.backends.cudnn.benchmark
            second.close()
            assert torch.backends.cudnn.benchmark is usual
    finally:
        torch.backends.cudnn.benchmark = before


def test_it_learns() -> None:
    result = fit(DIGITS, SPEC, seed=0)
    assert result.test_accuracy is not None
    assert result.test_accuracy > 0.6
    assert (result.epochs, result.steps) == (4, 4 * math.ceil(1437 / 64))


def test_a_coreset_is_all_that_is_seen() -> None:
    ids = np.arange(100, 200)
    recorder = Recorder(1437, 10, {"el2n": EL2N()}, missing="allow")
    fit(DIGITS, TrainSpec("tiny", epochs=1, batch_size=16), seed=0, ids=ids, recorder=recorder)
    assert np.flatnonzero(~np.isnan(recorder.scores()["el2n"].values)).tolist() == ids.tolist()


def test_a_recorder_changes_nothing_in_training() -> None:
    with_one, without = (
        fit(DIGITS, SPEC, seed=3, recorder=recorder) for recorder in (Recorder(1437, 10, {"aum": AUM()}), None)
    )
    assert with_one.train_loss == without.train_loss
    assert with_one.test_accuracy == without.test_accuracy


class Stopped(Exception):
    """Stands for whatever ends a training in the middle."""


@pytest.mark.parametrize("after", [1, 3])
def test_resuming_gives_the_same_bits(tmp_path: Path, after: int) -> None:
    scorers = {"tdds": TDDS(window=3), "aum": AUM()}
    calm = Recorder(1437, 10, scorers)
    wanted = fit(DIGITS, SPEC, seed=1, recorder=calm)

    def stop(progress: Progress) -> None:
        if progress.epoch == after:
            raise Stopped

    common: dict[str, Any] = {"checkpoint": tmp_path / "c.safetensors", "resume": True}
    with pytest.raises(Stopped):
        fit(DIGITS, SPEC, seed=1, recorder=Recorder(1437, 10, scorers), on_epoch=stop, **common)
    resumed = Recorder(1437, 10, scorers)
    found = fit(DIGITS, SPEC, seed=1, recorder=resumed, **common)
    over = fit(DIGITS, SPEC, seed=1, recorder=Recorder(1437, 10, scorers), **common)  # there is nothing left to do
    for one in (found, over):
        assert (one.train_loss, one.test_accuracy, one.steps) == (wanted.train_loss, wanted.test_accuracy, wanted.steps)
    for name, scores in calm.scores().items():
        np.testing.assert_array_equal(scores.values, resumed.scores()[name].values)


def test_resuming_what_is_complete_only_evaluates(tmp_path: Path) -> None:
    common: dict[str, Any] = {"checkpoint": tmp_path / "c.safetensors", "resume": True}
    first = fit(DIGITS, SPEC, seed=1, **common)
    again = fit(DIGITS, SPEC, seed=1, **common)
    assert again.test_accuracy == first.test_accuracy


def test_what_a_resumed_training_tells_is_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    """Also after its last epoch, and the best accuracy of before the break; an older checkpoint does not know."""
    spec = TrainSpec("tiny", epochs=4, batch_size=200, lr=3.0)  # so large that the last accuracy is not the best one
    common: dict[str, Any] = {"eval_every": 1, "loss_scale": np.full(1437, 0.5, np.float32)}
    path = tmp_path / "c.safetensors"
    whole = fit(DIGITS, spec, 0, **common)
    fit(DIGITS, spec, 0, checkpoint=path, until=3, **common)
    older = load_checkpoint(path)
    for _ in range(2):
        found = fit(DIGITS, spec, 0, checkpoint=path, resume=True, **common)
        assert replace(found, seconds=0) == replace(whole, seconds=0)
    del older["gave"]
    save_checkpoint(path, older)
    found = fit(DIGITS, spec, 0, checkpoint=path, resume=True, until=3, **common)
    assert (found.best_test_accuracy, found.train_loss, found.mean_loss_scale) == (None, None, None)
    found = fit(DIGITS, spec, 0, checkpoint=path, resume=True, **common)
    assert replace(found, seconds=0, best_test_accuracy=whole.best_test_accuracy) == replace(whole, seconds=0)
    assert found.best_test_accuracy is None


@pytest.mark.parametrize(("before", "then"), [(0, 1), (2, 1), (1, 0), (1, 1)])
def test_the_best_accuracy_is_of_the_epochs_asked_for_or_not_told(before: int, then: int, tmp_path: Path) -> None:
    spec = TrainSpec("tiny", epochs=4, batch_size=200, lr=3.0)  # as above
    path = tmp_path / "c.safetensors"
    fit(DIGITS, spec, 0, checkpoint=path, until=3, eval_every=before)
    found = fit(DIGITS, spec, 0, checkpoint=path, resume=True, eval_every=then)
    whole = fit(DIGITS, spec, 0, eval_every=then)
    assert found.test_accuracy == whole.test_accuracy
    assert found.best_test_accuracy == (whole.best_test_accuracy if then in (0, before) else None)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    fit(DIGITS, SPEC, 0, checkpoint=path, until=1)
    for changes, message in (
        ({"model": "small"}, "is of shape .* there and .* here"),
        ({"optimizer": "adamw"}, r"its optimiser keeps \['momentum_buffer'\], this one \['exp_avg'"),
        ({"momentum": 0.0, "nesterov": False}, r"this one \[\]"),
    ):
        with pytest.raises(InputError, match=message):
            fit(DIGITS, replace(SPEC, **changes), 0, checkpoint=path, resume=True, until=2)
    with pytest.raises(InputError, match="without a Recorder, whose first 1 epochs were not recorded"):
        fit(DIGITS, SPEC, 0, checkpoint=path, resume=True, until=2, recorder=Recorder(1437, 10, scorers={"el2n": EL2N()}))


@pytest.mark.parametrize(
    "other",
    [
        {"spec": replace(SPEC, lr=0.5)},
        {"spec": replace(SPEC, epochs=SPEC.epochs + 1)},
        {"seed": 7},
        {"ids": np.arange(100)},
        {"loss_scale": np.full(1437, 0.5, np.float32)},
        {"data": load("digits", mislabel="0.2")},
    ],
    ids=lambda other: next(iter(other)),
)
def test_only_the_same_training_goes_on(tmp_path: Path, other: dict[str, Any]) -> None:
    path = tmp_path / "c.safetensors"
    fit(DIGITS, SPEC, 0, checkpoint=path, until=1)
    changed: dict[str, Any] = {"data": DIGITS, "spec": SPEC, "seed": 0, **other}
    with pytest.raises(InputError, match="other data, another recipe, seed, choice of samples or loss scale"):
        fit(checkpoint=path, resume=True, **changed)
    older = load_checkpoint(path)
    del older["data"]  # which earlier versions did not tell
    save_checkpoint(path, older)
    assert fit(DIGITS, SPEC, 0, checkpoint=path, resume=True).epochs == SPEC.epochs


def test_a_pause_is_kept_and_never_goes_back(tmp_path: Path) -> None:
    common: dict[str, Any] = {"checkpoint": tmp_path / "c.safetensors", "checkpoint_every": 60.0, "resume": True}
    assert fit(DIGITS, SPEC, 0, until=2, **common).epochs == 2
    told: list[int] = []
    found = fit(DIGITS, SPEC, 0, until=1, on_epoch=lambda progress: told.append(progress.epoch), **common)
    assert (found.epochs, told) == (2, [])
    whole = fit(DIGITS, SPEC, 0, on_epoch=lambda progress: told.append(progress.epoch), **common)
    assert told == list(range(3, SPEC.epochs + 1))
    assert whole.train_loss == fit(DIGITS, SPEC, 0).train_loss


def test_resuming_without_a_checkpoint_cuts_no_store_unless_told_to(tmp_path: Path) -> None:
    with TrajectoryWriter.create(tmp_path / "t", 1437, 10, ["loss"]) as store:
        values = {"loss": np.ones(1437, np.float32)}
        store.append(Frame(0, np.arange(1437), values, 1437))
        common: dict[str, Any] = {"checkpoint": tmp_path / "typo.safetensors", "resume": True, "until": 1}
        with pytest.raises(InputError, match=r"since the recorder's store has 1 epochs to continue from, but there is none"):
            fit(DIGITS, SPEC, 0, recorder=Recorder(1437, 10, store=store), **common)
        assert store.epochs == 1
        fit(DIGITS, SPEC, 0, recorder=Recorder(1437, 10, store=store), restart=True, **common)
        assert store.epochs == 1
    assert not (next(Trajectory.open(tmp_path / "t").frames(["loss"])).values["loss"] == 1).all()


def test_the_cosine_is_that_of_the_whole_schedule() -> None:
    rates: list[float] = []
    spec = TrainSpec("tiny", epochs=2, schedule_epochs=4, batch_size=64, lr=0.05)
    fit(DIGITS, spec, seed=0, on_epoch=lambda progress: rates.append(progress.lr))
    steps = math.ceil(1437 / 64)
    assert rates == [learning_rate(0.05, steps - 1, 4 * steps), learning_rate(0.05, 2 * steps - 1, 4 * steps)]
    assert learning_rate(0.1, 100, 100) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("every", "told"), [(0, [None] * 4 + [0.1]), (2, [None, 0.1, 0.1, 0.2, 0.3]), (9, [None] * 4 + [0.1])]
)
def test_the_test_set_is_looked_at_every_so_many_epochs_and_after_the_last(
    every: int, told: list[float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, found = count(1), list[float | None]()
    monkeypatch.setattr("thresher.train.loop.evaluate", lambda *_: next(looks) / 10)
    spec = TrainSpec("tiny", epochs=5, batch_size=1437)
    result = fit(DIGITS, spec, 0, eval_every=every, on_epoch=lambda progress: found.append(progress.test_accuracy))
    assert found == told
    assert (result.test_accuracy, result.best_test_accuracy) == (told[-1], told[-1])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_evaluation_is_in_the_precision_of_the_recipe(precision: Any) -> None:
    seen, kinds = list[bool](), set[torch.dtype]()

    class Watched(torch.nn.Module):
        head = torch.nn.Linear(64, 10)

        def features(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return images.flatten(1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.features(images))  # type: ignore[no-any-return]

    model: Any = Watched()
    recorder: Any = SimpleNamespace(ranks=Alone(), update_eval=lambda logits, *_: kinds.add(logits.dtype))
    evaluate(model, DIGITS, replace(SPEC, precision=precision), torch.device("cpu"))
    record_evaluation(model, DIGITS, replace(SPEC, precision=precision), recorder, torch.device("cpu"))
    assert set(seen) == {precision == "bf16"}
    assert kinds == {torch.float32}


def test_evaluation_is_by_the_running_statistics_which_it_leaves_alone() -> None:
    model = build("tiny", 10, 1, seed=0, image_size=8).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    accuracy, shown = evaluate(model, DIGITS, SPEC, torch.device("cpu")), list[Any]()
    recorder: Any = SimpleNamespace(ranks=Alone(), update_eval=lambda *batch: shown.append(batch))
    record_evaluation(model, DIGITS, SPEC, recorder, torch.device("cpu"))
    assert model.training  # the next epoch goes on
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.double().eval()
    with torch.no_grad():
        test, train = (
            model.features((split.images.double() / 255 - DIGITS.mean[0]) / DIGITS.std[0]).float()
            for split in (DIGITS.test, DIGITS.train)
        )
        model.float()
        assert accuracy == (model.head(test).argmax(1).numpy() == DIGITS.test.targets).mean()
        logits, targets, ids, features = (torch.cat(part) for part in zip(*shown, strict=True))
        assert ids.tolist() == list(range(1437))
        assert targets.tolist() == DIGITS.train.targets.tolist()
        torch.testing.assert_close(features, train, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits, model.head(train), rtol=1e-4, atol=1e-5)


def test_a_warm_up_is_counted_in_epochs() -> None:
    rates: list[float] = []
    spec = TrainSpec("tiny", epochs=4, warmup_epochs=2, batch_size=480, lr=0.1)  # 3 steps an epoch, the warm-up is 6
    fit(DIGITS, spec, seed=0, on_epoch=lambda progress: rates.append(progress.lr))
    assert rates == pytest.approx([0.05, 0.1, 0.075, 0.00669873])  # the last: (1 + cos(5/6 pi)) / 20


def test_the_published_recipe_is_the_default() -> None:
    spec = TrainSpec()
    assert (spec.model, spec.epochs, spec.batch_size, spec.lr) == ("resnet18", 200, 128, 0.1)
    assert (spec.momentum, spec.nesterov, spec.weight_decay, spec.precision) == (0.9, True, 5e-4, "fp32")
    assert (spec.optimizer, spec.augment, spec.schedule_epochs) == ("sgd", True, None)
    assert (spec.warmup_epochs, spec.label_smoothing, spec.clip_norm) == (0, 0.0, None)


def test_the_loss_scale_is_the_batch_mean_of_the_score() -> None:
    scale = np.full(1437, 0.5, dtype=np.float32)
    halved = fit(DIGITS, SPEC, seed=0, loss_scale=scale)
    plain = fit(DIGITS, SPEC, seed=0)
    assert halved.mean_loss_scale == pytest.approx(0.5)
    assert halved.train_loss != plain.train_loss


def test_the_loss_scale_of_samples_that_are_not_shown_does_not_matter() -> None:
    ids = np.arange(100, 300)
    spec = TrainSpec("tiny", epochs=3, batch_size=200, lr=0.5, weight_decay=0.0, augment=False)

    def losses(scale: Any) -> list[float]:
        found: list[float] = []
        fit(DIGITS, spec, 0, ids=ids, loss_scale=scale, on_epoch=lambda progress: found.append(progress.loss))
        return found

    shown = np.isin(np.arange(1437), ids).astype(np.float32)
    assert losses(shown) == losses(None)
    first, second, third = losses(1 - shown)  # nothing is learned
    assert first == pytest.approx(second, rel=1e-6) == pytest.approx(third, rel=1e-6)
    assert losses(None)[2] < 0.95 * first


def test_normalised_is_over_all_samples() -> None:
    np.testing.assert_allclose(normalised(np.array([2.0, 4.0, 3.0], dtype=np.float32)), [0, 1, 0.5])
    np.testing.assert_array_equal(normalised(np.array([2.0, 2.0], dtype=np.float32)), [1, 1])
    with pytest.raises(MissingSamplesError, match=r"2 have none \(NaN\), the first of them 1"):
        normalised(np.array([1.0, np.nan, np.nan], dtype=np.float32))
    with pytest.raises(InputError, match="that of sample 0 is infinite"):
        normalised(np.array([-np.inf, 1.0], dtype=np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs >= 1"),
        ({"batch_size": 0}, "batch_size >= 1"),
        ({"epochs": 5, "schedule_epochs": 4}, "schedule_epochs >= epochs=5"),
        ({"precision": "fp16"}, "precision"),
        ({"lr": -1.0}, "lr > 0"),
        ({"lr": 0.0}, "lr > 0"),
        ({"lr": math.inf}, "finite lr"),
        ({"momentum": -0.1}, r"momentum in \[0, 1\)"),
        ({"momentum": 1.0}, r"momentum in \[0, 1\)"),
        ({"weight_decay": -0.1}, "weight_decay >= 0"),
        ({"weight_decay": math.inf}, "finite weight_decay"),
        ({"optimizer": "adam"}, "'sgd' or 'adamw'"),
        ({"warmup_epochs": 200}, "warmup_epochs in"),
        ({"label_smoothing": 1.0}, "label_smoothing in"),
        ({"clip_norm": 0.0}, "clip_norm > 0"),
        ({"momentum": 0.0}, "nesterov=False with momentum=0"),
    ],
)
def test_impossible_recipes(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainSpec(**arguments)


def test_recipes_at_the_edge_of_the_possible() -> None:
    for spec in (
        TrainSpec(epochs=1, batch_size=1, schedule_epochs=1, momentum=0.0, nesterov=False, weight_decay=0.0),
        TrainSpec(epochs=5, warmup_epochs=4, label_smoothing=0.0),
        TrainSpec(epochs=5, schedule_epochs=6, warmup_epochs=5),
        TrainSpec(clip_norm=1e-3),
        TrainSpec(optimizer="adamw", momentum=0.0),  # which reads neither momentum nor nesterov
    ):
        assert TrainSpec(**spec.to_json()) == spec


def test_fields_that_came_later_leave_old_digests_alone() -> None:
    assert "optimizer" not in TrainSpec().to_json()
    changed = TrainSpec(optimizer="adamw", clip_norm=5.0)
    assert TrainSpec(**changed.to_json()) == changed


def test_the_warm_up_rises_to_the_peak() -> None:
    rates = [learning_rate(0.1, step, 20, 4) for step in range(20)]
    assert rates[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    assert all(a > b for a, b in pairwise(rates[4:]))
    assert [learning_rate(0.1, step, 20, 4) for step in (8, 12, 20)] == pytest.approx([0.085355, 0.05, 0.0], abs=1e-6)


def test_adamw_resumes_to_the_same_bits(tmp_path: Path) -> None:
    spec = TrainSpec(
        "tiny", epochs=3, batch_size=64, lr=0.01, optimizer="adamw", weight_decay=0.05, warmup_epochs=1,
        label_smoothing=0.1, clip_norm=1.0,
    )  # fmt: skip
    straight = fit(DIGITS, spec, seed=1)
    common: dict[str, Any] = {"checkpoint": tmp_path / "c.safetensors", "resume": True}
    stopped = fit(DIGITS, spec, seed=1, until=2, **common)
    assert (stopped.test_accuracy, stopped.epochs) == (None, 2)
    resumed = fit(DIGITS, spec, seed=1, **common)
    assert (resumed.train_loss, resumed.test_accuracy) == (straight.train_loss, straight.test_accuracy)
    assert straight.test_accuracy is not None
    assert straight.test_accuracy > 0.5


def test_clipping_bounds_the_step() -> None:
    spec = TrainSpec("tiny", epochs=2, batch_size=1437, lr=1.0, momentum=0.0, nesterov=False, weight_decay=0.0)
    free, bound = (fit(DIGITS, replace(spec, clip_norm=clip), seed=0).train_loss for clip in (None, 1e-9))
    still = fit(DIGITS, replace(spec, lr=1e-12), seed=0).train_loss
    assert bound == pytest.approx(still, abs=1e-4)
    assert abs(free - still) > 0.05


def test_bf16_learns_too() -> None:
    result = fit(DIGITS, TrainSpec("tiny", epochs=2, batch_size=32, lr=0.05, precision="bf16"), seed=0)
    assert result.test_accuracy is not None
    assert result.test_accuracy > 0.4


def test_a_model_is_tried_on_one_sample_without_its_device() -> None:
    tried: list[torch.device] = []  # on a GPU a first forward pass may break what other threads capture there

    class Elsewhere(torch.nn.Linear):
        def cpu(self) -> torch.nn.Module:  # type: ignore[override]
            return self.to_empty(device="cpu")

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tried.append(images.device)
            return super().forward(images)

    check_single_samples(Elsewhere(8, 2, device="meta"), DIGITS)
    assert tried == [torch.device("cpu")]


def test_one_sample_batches_train() -> None:
    """1437 = 1436 + 1: the last batch holds a single sample, which batch normalisation over 1 x 1 maps would refuse."""
    result = fit(DIGITS, TrainSpec("tiny", epochs=1, batch_size=1436), seed=0)
    assert math.isfinite(result.train_loss)


def test_checkpoints_carry_what_they_were_given(tmp_path: Path) -> None:
    state = {"a": {"b": torch.arange(3), "c": [1, "x", None]}, "n": 3, "array": np.ones((2, 2)), "empty": {}}
    save_checkpoint(tmp_path / "c.safetensors", state)
    found = load_checkpoint(tmp_path / "c.safetensors")
    assert found["a"]["b"].tolist() == [0, 1, 2]
    assert (found["a"]["c"], found["n"], found["empty"]) == ([1, "x", None], 3, {})
    np.testing.assert_array_equal(found["array"].numpy(), np.ones((2, 2)))


def test_an_empty_state_comes_back_empty(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.safetensors", {})
    assert load_checkpoint(tmp_path / "c.safetensors") == {}


def test_damaged_checkpoints_are_named(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(MissingFileError):
        load_checkpoint(path)
    save_checkpoint(path, {"a": torch.arange(300)})
    good = path.read_bytes()
    for bad in (b"", good[:5], good[:-100], b"\x80\x04." + good):
        path.write_bytes(bad)
        with pytest.raises(CorruptFileError, match="not a complete checkpoint"):
            load_checkpoint(path)


def test_a_checkpoint_that_lost_its_checksum_is_no_old_one(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"n": 1, "w": torch.ones(2)})
    content = path.read_bytes()
    assert content.count(b'"crc"') == 1
    path.write_bytes(
        content.replace(b'"crc"', b'"crd"').replace(torch.ones(1).numpy().tobytes(), torch.zeros(1).numpy().tobytes())
    )
    with pytest.raises(CorruptFileError, match="checksum"):
        load_checkpoint(path)


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"n": 1})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, {"n": 2})
    assert load_checkpoint(path) == {"n": 1}


def test_a_recorder_of_another_training_is_refused() -> None:
    spec, recorder = TrainSpec("tiny", epochs=1, batch_size=500), Recorder(1437, 10, {"el2n": EL2N()})

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    fit(DIGITS, spec, seed=0, recorder=recorder)
    broken_off = Recorder(1437, 10, {"el2n": EL2N()}, duplicates="first")
    with pytest.raises(KeyboardInterrupt):
        fit(DIGITS, spec, seed=0, recorder=broken_off, on_step=stop)
    for used, said in ((recorder, "after 0 epochs, but this one has 1, from"), (broken_off, "has 0 and a part of another")):
        with pytest.raises(InputError, match=said):
            fit(DIGITS, spec, seed=1, recorder=used)


@pytest.mark.parametrize("stem", ["c", "c[1]", "c*"])
def test_a_checkpoint_takes_the_place_of_those_of_ranks_alone(tmp_path: Path, stem: str) -> None:
    model = torch.nn.Linear(1, 1)
    for name in (stem, "cx"):
        (tmp_path / f"{name}-epoch1-rank0of2.safetensors").touch()
    path = tmp_path / f"{stem}.safetensors"
    progress.save_progress(path, model, torch.optim.SGD(model.parameters(), lr=0.1), None, 2)
    assert {place.name for place in tmp_path.iterdir()} == {path.name, "cx-epoch1-rank0of2.safetensors"}


def test_progress_without_what_an_epoch_gave_is_gone_on_from(tmp_path: Path) -> None:
    """As the first versions wrote it."""
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    progress.save_progress(tmp_path / "c.safetensors", model, optimizer, None, 3)
    assert set(load_checkpoint(tmp_path / "c.safetensors")) == {"epoch", "model", "optimizer"}
    found = progress.load_progress(tmp_path / "c.safetensors", model, optimizer, None, of={"of": "a name"})
    assert found == progress.Resumed(3)


@pytest.mark.parametrize(
    "said", ["No space left on device (os error 28)", 'IoError(Os { code: 28, kind: StorageFull, message: "" })']
)
def test_a_full_disk_is_told_in_the_words_of_any_safetensors(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError(f"Error while serializing: {said}")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path / "c.safetensors", {"w": torch.ones(2)})


@pytest.mark.parametrize(
    ("cost", "wanted"),
    [(1.0, [1, 12, 23, 30]), (0.21, [*range(1, 30, 3), 30]), (0.19, list(range(1, 31)))],  # below 0.2 it does not matter
)
def test_progress_is_written_as_often_as_it_costs_a_tenth_of_the_time(
    cost: float, wanted: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, written = [0.0], []

    def slow(path: Path, model: Any, optimizer: Any, recorder: Any, epoch: int, *_: Any) -> None:
        clock[0] += cost
        written.append(epoch)

    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(progress, "save_progress", slow)
    saver = progress.Saver(tmp_path / "c.safetensors", Alone())
    model, optimizer = torch.nn.Linear(1, 1), torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), 0.1)
    for epoch in range(1, 31):
        clock[0] += 1.0
        saver.save(model, optimizer, None, epoch, last=epoch == 30)
    assert written == wanted
