"""Dynamic pruning: what the rules draw, that InfoBatch's gradient is unbiased, that a resumed training draws the same."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from thresher.coreset import Coreset
from thresher.data import Indexed, load
from thresher.dynamic import DynamicSampler, Fixed, InfoBatch, Redraw, Rule, parse_rule
from thresher.dynamic._base import Live, draw_seed
from thresher.errors import FingerprintError, InputError, MissingSamplesError, TooFewEpochsError, UnknownNameError
from thresher.methods import METHODS
from thresher.recorder import Recorder
from thresher.scorers import AUM, EL2N
from thresher.selection import select
from thresher.train.checkpoint import load_checkpoint, save_checkpoint
from thresher.train.loop import fit
from thresher.train.spec import TrainSpec
from thresher.types import Pool, Scores

N, C = 61, 3
SPEC = TrainSpec("tiny", epochs=8, batch_size=100)


def live(losses: Any, epoch: int = 1, epochs: int = 8) -> Live:
    """What InfoBatch sees when these are the last losses."""
    values = np.asarray(losses, dtype=np.float32)
    return Live(epoch, epochs, {"last_loss": Scores(values)}, Pool(len(values)))


def logits_of(epoch: int, ids: np.ndarray[Any, Any]) -> torch.Tensor:
    """Logits of samples in an epoch: a function of both, and of nothing else."""
    right = np.eye(C)[np.arange(N) % C] * np.linspace(-1, 1.5, N)[:, None] * (epoch + 1)
    noise = np.random.default_rng(epoch).normal(size=(N, C))
    return torch.from_numpy((right + noise)[ids].astype(np.float32))


def show(sampler: DynamicSampler, evaluate: bool = False) -> list[int]:
    """Go through the running epoch and return the ids in their order."""
    recorder, order = sampler.recorder, list(sampler)
    ids = np.array(order)
    recorder.update(logits_of(recorder.epoch, ids), ids % C, ids)
    if evaluate:
        everyone = np.arange(N)
        outputs = logits_of(1 + recorder.epoch, everyone)
        recorder.update_eval(outputs, everyone % C, everyone, outputs.tanh())
    recorder.end_epoch()
    return order


def sampler_of(rule: Rule, epochs: int = 8, seed: int = 0, **more: Any) -> DynamicSampler:
    """A sampler with a Recorder of its own."""
    return DynamicSampler(rule, Recorder(N, C, {**rule.scorers, **more}, missing="allow"), epochs=epochs, seed=seed)


def test_the_weighted_gradient_is_that_of_everything_on_average() -> None:
    """Per-sample gradients of a real model; m is odd, so that half of it is not whole."""
    data = load("digits")
    images = data.train.images[:80].float().flatten(1) / 255  # type: ignore[attr-defined]
    targets = torch.from_numpy(data.train.targets[:80])
    torch.manual_seed(0)
    model = nn.Linear(64, 10)
    losses = F.cross_entropy(model(images), targets, reduction="none")
    gradients = np.stack([torch.autograd.grad(loss, model.weight, retain_graph=True)[0].numpy().ravel() for loss in losses])
    shown = losses.detach().numpy()
    learned = int((shown < shown.mean()).sum())
    assert learned % 2 == 1
    seeds = 4000
    weights = np.zeros((seeds, 80))
    for seed in range(seeds):
        drawn = InfoBatch().draw(live(shown), seed)
        assert drawn.weights is not None
        weights[seed, drawn.ids] = drawn.weights
    assert weights.sum(axis=1) == pytest.approx(80)
    assert (weights > 0).sum() == seeds * (80 - learned // 2)
    sums = weights @ gradients.astype(np.float64)
    error = sums.mean(axis=0) - gradients.sum(axis=0, dtype=np.float64)
    spread = sums.std(axis=0) / np.sqrt(seeds)
    assert (np.abs(error) < 5 * spread + 1e-9).all()
    unweighted = ((weights > 0) @ gradients.astype(np.float64)).mean(axis=0) - gradients.sum(axis=0)
    assert (np.abs(unweighted) > 5 * spread + 1e-9).mean() > 0.5  # the same check finds what is left out without weights


def test_the_mean_of_a_batch_is_weighed() -> None:
    sampler = sampler_of(InfoBatch())
    show(sampler)
    ids = torch.from_numpy(sampler.coreset.ids)
    assert len(ids) < N
    losses = torch.rand(len(ids), requires_grad=True)
    mean = sampler.mean(losses, ids)
    torch.testing.assert_close(mean, (losses * sampler.weights[ids]).sum() / len(ids))
    (gradient,) = torch.autograd.grad(mean, losses)
    torch.testing.assert_close(gradient * len(ids), sampler.weights[ids])
    assert float(sampler.weights.sum()) == pytest.approx(N)
    with pytest.raises(InputError, match='reduction="none"'):
        sampler.mean(losses.mean(), ids)


def test_a_look_at_the_length_after_the_last_epoch_shows_nothing() -> None:
    sampler = sampler_of(InfoBatch(), epochs=2)
    for _ in range(2):
        show(sampler)
    shown = sampler.shown
    assert len(sampler) > 0
    assert sampler.shown == shown == sum(sampler.counts[:2])


def test_samples_that_were_drawn_and_not_shown_are_told_once() -> None:
    """As where a framework splits a rank's part again, or cuts an epoch to the length of its first."""
    sampler = sampler_of(InfoBatch())
    for epoch in range(3):
        ids = np.array(list(sampler))[: N if epoch < 1 else 20]
        sampler.recorder.update(logits_of(epoch, ids), ids % C, ids)
        sampler.recorder.end_epoch()
        if epoch == 1:
            with pytest.warns(
                UserWarning, match=rf"Epoch 1 drew {sampler.counts[1]} samples, but the Recorder got 20\."
            ) as told:
                len(sampler)
            assert told[0].filename == __file__  # where the sampler was used
    len(sampler)  # no second warning, which would be an error here
    state = sampler.recorder.state_dict()
    again = sampler_of(InfoBatch())
    again.recorder.load_state_dict(state)
    again.load_state_dict(sampler.state_dict())
    show(again)


def test_a_draw_that_was_lost_with_the_samplers_state_is_told() -> None:
    rule = Redraw("el2n", 0.5, every=3, warmup=2)
    sampler = sampler_of(rule)
    for _ in range(4):
        show(sampler)
    state, draw = sampler.recorder.state_dict(), sampler.state_dict()
    for restored in (True, False):
        again = sampler_of(rule)
        again.recorder.load_state_dict(state)
        if restored:
            again.load_state_dict(draw)
            assert again.coreset.ids.tolist() == sampler.coreset.ids.tolist()
            continue
        with pytest.warns(UserWarning, match=r"Epoch 4 shows the draw of an earlier epoch, which .* so it draws now"):
            again.set_epoch(4)


def test_a_prepared_loader_counts_epochs_by_itself(tmp_path: Path) -> None:
    """Accelerate's loaders pass their own count to the sampler: `loader.set_epoch` is what tells them better."""
    accelerate = pytest.importorskip("accelerate", reason="needs accelerate: pip install 'thresher[accelerate]'")
    from thresher.integrations.accelerate import attach

    inputs, targets = torch.randn(N, 4, generator=torch.Generator().manual_seed(0)), torch.arange(N) % C
    pairs, rule = Indexed(TensorDataset(inputs, targets)), Redraw("el2n", 0.5, every=3, warmup=2)

    def train(stop: int, resume: bool = False) -> dict[int, list[int]]:
        accelerator = accelerate.Accelerator(cpu=True)
        sampler = sampler_of(rule)
        attach(accelerator, sampler.recorder)
        accelerator.register_for_checkpointing(sampler)
        loader = accelerator.prepare(DataLoader(pairs, batch_size=8, sampler=sampler))
        if resume:
            accelerator.load_state(tmp_path / "state")
            with pytest.raises(InputError, match=r"epoch 4, but got 0\..*call its set_epoch\(epoch\), not the sampler's"):
                list(loader)
        shown = {}
        for epoch in range(sampler.recorder.epoch, stop):
            loader.set_epoch(epoch)
            batches = list(loader)
            for ids, _, labels in batches:
                sampler.recorder.update(logits_of(epoch, ids.numpy()), labels, ids)
            sampler.recorder.end_epoch()
            shown[epoch] = torch.cat([ids for ids, _, _ in batches]).tolist()
        accelerator.save_state(tmp_path / "state")
        return shown

    whole = train(8)
    train(4)
    assert train(8, resume=True) == {epoch: whole[epoch] for epoch in range(4, 8)}


def test_weights_are_float32_whatever_torchs_default() -> None:
    sampler = sampler_of(InfoBatch())
    show(sampler)
    torch.set_default_dtype(torch.float64)
    try:
        assert sampler.weights.dtype == torch.float32
        assert float(sampler.weights.sum()) == pytest.approx(N)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("epochs", "delta", "pruned"),
    [(8, 0.875, range(1, 7)), (10, 0.875, range(1, 9)), (5, 0.0, range(0)), (4, 1.0, range(1, 4))],
)
def test_infobatch_shows_everything_first_and_last(epochs: int, delta: float, pruned: range) -> None:
    sampler = sampler_of(InfoBatch(delta=delta), epochs)
    for epoch in range(epochs + 1):
        assert (len(sampler) < N) == (epoch in pruned), epoch
        assert (sampler.weights.max() > 1) == (epoch in pruned), epoch
        show(sampler)
    assert sampler.shown == sum(sampler.counts) == sum(sampler.counts[:epochs]) + N


@pytest.mark.parametrize(("delta", "epochs", "pruned"), [(0.55, 100, 55), (0.07, 100, 7), (0.875, 10, 9)])
def test_the_epochs_that_prune_end_where_the_decimal_text_says(delta: float, epochs: int, pruned: int) -> None:
    """0.55 * 100 and 0.07 * 100 are floats above 55 and 7."""
    rule = InfoBatch(delta=delta)
    assert [epoch for epoch in range(epochs) if rule.reads(epoch, epochs)] == list(range(1, pruned))


def test_infobatch_drops_the_share_that_the_decimal_text_names() -> None:
    losses = np.append(np.full(100, 0.1), 9.0)
    assert len(InfoBatch(ratio=0.29).draw(live(losses), 0)) == 72  # 0.29 * 100 is 28.999... in binary


def test_infobatch_keeps_what_is_hard_and_what_was_never_seen() -> None:
    losses = [np.nan, 0.1, 0.2, 0.3, 9.0, np.nan]
    kept = [set(InfoBatch().draw(live(losses), seed).ids.tolist()) for seed in range(30)]
    assert all({0, 4, 5} <= ids and len(ids) == 5 for ids in kept)
    assert set.intersection(*kept) == {0, 4, 5}
    assert len(InfoBatch(ratio=0.9).draw(live(losses), 0)) == 4
    assert InfoBatch(ratio=0.0).draw(live(losses), 0).weights is None
    assert len(InfoBatch().draw(live([1.0, 1.0, 1.0]), 0)) == 3  # nothing lies below the mean


def test_the_losses_of_what_was_dropped_stay() -> None:
    sampler = sampler_of(InfoBatch())
    losses = np.zeros(N)
    for epoch in range(4):
        ids = np.array(show(sampler))
        losses[ids] = F.cross_entropy(logits_of(epoch, ids), torch.from_numpy(ids % C), reduction="none")
        found = sampler.recorder.scores()["last_loss"].values
        np.testing.assert_allclose(found, losses, rtol=1e-4, atol=1e-6)


def test_order_and_draw_hang_on_seed_and_epoch_alone() -> None:
    one, other, third = (sampler_of(InfoBatch(), seed=seed) for seed in (3, 3, 4))
    global_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index, union-attr]  # noqa: NPY002
    orders = [[show(sampler) for _ in range(4)] for sampler in (one, other, third)]
    assert orders[0] == orders[1] != orders[2]
    assert all(sorted(order) == sorted(set(order)) for order in orders[0])
    assert orders[0][0] != sorted(orders[0][0])
    assert torch.equal(global_state[0], torch.get_rng_state())
    assert (global_state[1] == np.random.get_state()[1]).all()  # type: ignore[index]  # noqa: NPY002


@pytest.mark.parametrize("method", list(METHODS))
def test_any_method_is_drawn_again_from_the_live_scores(method: str) -> None:
    label = {"tdds": "tdds:window=3", "auto": "auto:window=3", "dyn_unc": "dyn_unc:window=3"}.get(method, method)
    label = f"{label}:window=3:epochs=9" if method.startswith("dual") else label
    rule = Redraw(label, keep=0.5, every=2, warmup=4)
    sampler = sampler_of(rule, epochs=9)
    drawn: list[Coreset] = []
    for epoch in range(9):
        sampler.set_epoch(epoch)
        drawn.append(sampler.coreset)
        if epoch in (4, 6):
            scores, pool = sampler.recorder.scores(), sampler.recorder.pool()
            aux = {key.partition(".")[2]: s.values for key, s in scores.items() if "." in key}
            static = select(
                scores["redraw"], Pool(N, pool.targets, None, C, aux), 0.5, rule.resolved.selector,
                drawn[-1].source["seed"],
            )  # fmt: skip
            assert static.ids.tolist() == drawn[-1].ids.tolist()
        show(sampler, evaluate=rule.reads_evaluation)
    assert [len(coreset) for coreset in drawn] == [N] * 4 + [31] * 5
    assert drawn[4] is not drawn[6]
    assert drawn[4].ids.tolist() == drawn[5].ids.tolist()
    assert (drawn[4].ids.tolist() != drawn[6].ids.tolist()) or method == "forgetting"  # whose few counts need not change
    assert drawn[6].source["dynamic"] == {
        "rule": {"name": "redraw", "params": rule.params()}, "epoch": 6, "seed": 0,
    }  # fmt: skip
    assert [epoch for epoch in range(9) if sampler.needs_evaluation(epoch)] == [4, 6, 8] * rule.reads_evaluation


def test_a_draw_is_a_coreset_like_a_static_one(tmp_path: Path) -> None:
    sampler = sampler_of(InfoBatch())
    show(sampler)
    sampler.coreset.save(tmp_path / "epoch1.parquet")
    loaded = Coreset.load(tmp_path / "epoch1.parquet", n=N)
    assert loaded.digest == sampler.coreset.digest
    assert loaded.source["dynamic"]["epoch"] == 1
    again = sampler_of(Fixed(loaded))
    assert sorted(show(again)) == sorted(show(again)) == loaded.ids.tolist()
    torch.testing.assert_close(again.weights, sampler.weights)
    subset = loaded.subset(TensorDataset(torch.arange(N)))
    assert [int(item[0]) for item in subset] == loaded.ids.tolist()


@pytest.mark.parametrize("rule", [InfoBatch(), Redraw("random", 0.4, every=3, warmup=1)], ids=["infobatch", "redraw"])
def test_a_loop_broken_off_amid_an_epoch_goes_on(rule: Rule, tmp_path: Path) -> None:
    """A plain loop over a DataLoader with workers' order; states are saved after two batches of epoch 3."""
    dataset = Indexed(TensorDataset(torch.zeros(N), torch.arange(N) % C))

    def run(sampler: DynamicSampler, start: int = 0, stop: tuple[int, int] | None = None) -> list[list[int]]:
        seen = []
        for epoch in range(sampler.recorder.epoch, 6):
            sampler.set_epoch(epoch)
            for number, (ids, _, targets) in enumerate(islice(DataLoader(dataset, 10, sampler=sampler), start, None), start):
                if (epoch, number) == stop:
                    return seen
                sampler.recorder.update(logits_of(epoch, ids.numpy()), targets, ids)
                seen.append(ids.tolist())
            sampler.recorder.end_epoch()
            start = 0
        return seen

    whole, broken, resumed = (sampler_of(rule) for _ in range(3))
    expected = run(whole)
    first = run(broken, stop=(3, 2))
    save_checkpoint(tmp_path / "state", {"sampler": broken.state_dict(), "recorder": broken.recorder.state_dict()})
    state = load_checkpoint(tmp_path / "state")
    resumed.load_state_dict(state["sampler"])
    resumed.recorder.load_state_dict(state["recorder"])
    assert first + run(resumed, start=2) == expected
    assert resumed.counts == whole.counts
    for name, scores in whole.recorder.scores().items():
        np.testing.assert_array_equal(resumed.recorder.scores()[name].values, scores.values)


@pytest.mark.parametrize(
    "rule",
    [InfoBatch(), Redraw("tdds:window=3", 0.5, every=2, warmup=3), Redraw("entropy", 0.5, every=2, warmup=2)],
    ids=["infobatch", "tdds", "entropy"],
)
def test_a_resumed_training_is_the_same_bit_for_bit(rule: Rule, tmp_path: Path) -> None:
    data = load("digits")

    def train(checkpoint: Path, until: int | None = None, resume: bool = False) -> tuple[Any, DynamicSampler]:
        recorder = Recorder(len(data.train), 10, {**rule.scorers, "aum": AUM()}, missing="allow")
        sampler = DynamicSampler(rule, recorder, epochs=SPEC.epochs)
        fitted = fit(
            data,
            SPEC,
            0,
            dynamic=sampler,
            eval_pass=rule.reads_evaluation,
            checkpoint=checkpoint,
            until=until,
            resume=resume,
        )
        return fitted, sampler

    whole, sampler = train(tmp_path / "whole")
    train(tmp_path / "parts", until=4)  # epoch 4 goes on with a draw of before
    fitted, resumed = train(tmp_path / "parts", resume=True)
    assert (fitted.test_accuracy, fitted.train_loss, fitted.steps) == (whole.test_accuracy, whole.train_loss, whole.steps)
    assert resumed.counts == sampler.counts
    assert resumed.coreset.digest == sampler.coreset.digest
    for name, scores in sampler.recorder.scores().items():
        np.testing.assert_array_equal(resumed.recorder.scores()[name].values, scores.values)
    assert whole.test_accuracy > 0.5
    assert whole.steps == sum(-(-count // 100) for count in sampler.counts[:8]) < 8 * 15
    for key, value in load_checkpoint(tmp_path / "whole")["model"].items():
        assert torch.equal(value, load_checkpoint(tmp_path / "parts")["model"][key]), key


def test_a_static_training_does_not_go_on_with_a_dynamic_one(tmp_path: Path) -> None:
    data, spec, path, rule = load("digits"), TrainSpec("tiny", epochs=1, batch_size=256), tmp_path / "c", InfoBatch()
    recorder = Recorder(1437, 10, rule.scorers, missing="allow")
    static: dict[str, Any] = {"recorder": recorder, "checkpoint": path, "resume": True}
    fit(data, spec, 0, dynamic=DynamicSampler(rule, recorder, epochs=1), checkpoint=path)
    with pytest.raises(InputError, match="is of another training"):
        fit(data, spec, 0, **static)
    path.unlink()
    recorder = static["recorder"] = Recorder(1437, 10, rule.scorers, missing="allow")
    fit(data, spec, 0, **static)
    with pytest.raises(InputError, match="is of another training"):
        fit(data, spec, 0, dynamic=DynamicSampler(rule, recorder, epochs=1), checkpoint=path, resume=True)


def test_a_static_coreset_trains_alike_by_both_roads() -> None:
    data = load("digits")
    coreset = Coreset(np.arange(0, 1437, 5), None, 1437)
    sampler = DynamicSampler(Fixed(coreset), Recorder(1437, 10, {}, missing="allow"), epochs=3)
    spec = TrainSpec("tiny", epochs=3, batch_size=50)
    dynamic, static = fit(data, spec, 1, dynamic=sampler), fit(data, spec, 1, ids=coreset.ids)
    assert dynamic.steps == static.steps
    # the schedule is cut from as many steps as all samples make, so learning rates differ by less than a step of it
    assert dynamic.train_loss == pytest.approx(static.train_loss, rel=0.05)
    assert dynamic.test_accuracy == pytest.approx(static.test_accuracy, abs=0.03)


def test_the_learning_rate_hangs_on_the_share_of_an_epoch_whatever_it_shows() -> None:
    """Of everything an epoch is 3 steps; these 2 batches of one are at 0 and at half of it, of whole steps the first."""
    coreset = Coreset(np.arange(700), None, 1437)
    sampler = DynamicSampler(Fixed(coreset), Recorder(1437, 10, {}, missing="allow"), epochs=2)
    spec, done, rates = TrainSpec("tiny", epochs=2, batch_size=480, lr=0.1), list[tuple[int, int]](), list[float]()
    fit(
        load("digits"), spec, 1, dynamic=sampler, on_step=lambda *step: done.append(step),
        on_epoch=lambda progress: rates.append(progress.lr),
    )  # fmt: skip
    assert done == [(1, 6), (2, 6), (4, 6), (5, 6)]
    assert rates == [pytest.approx(0.05 * (1 + np.cos(np.pi * step / 6))) for step in (1, 4)]


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(InputError, match="last_loss"):
        DynamicSampler(InfoBatch(), Recorder(N, C, {"el2n": EL2N()}, missing="allow"), epochs=3)
    with pytest.raises(InputError, match='missing="allow"'):
        DynamicSampler(InfoBatch(), Recorder(N, C, InfoBatch().scorers), epochs=3)
    sampler = sampler_of(InfoBatch())
    with pytest.raises(InputError, match="Recorder's epoch 0"):
        sampler.set_epoch(1)
    state = sampler.state_dict()
    with pytest.raises(InputError, match="seed"):
        sampler_of(InfoBatch(), seed=1).load_state_dict(state)
    with pytest.raises(InputError, match="rule"):
        sampler_of(InfoBatch(ratio=0.3)).load_state_dict(state)
    show(sampler)
    show(sampler)
    late = sampler_of(InfoBatch())
    late.load_state_dict(sampler.state_dict())
    for _ in range(3):
        late.recorder.update(logits_of(0, np.arange(N)), np.arange(N) % C, np.arange(N))
        late.recorder.end_epoch()
    with pytest.raises(InputError, match="saved together"):
        late.set_epoch(3)
    with pytest.raises(FingerprintError, match="selected from 5"):
        list(sampler_of(Fixed(Coreset(np.arange(3), None, 5))))
    holes = sampler_of(Redraw("el2n", 0.5, every=1, warmup=1))
    holes.recorder.update(logits_of(0, np.arange(9)), np.arange(9) % C, np.arange(9))
    holes.recorder.end_epoch()
    with pytest.raises(MissingSamplesError, match="52 of 61"):
        len(holes)


def test_a_training_refuses_what_does_not_go_with_its_sampler() -> None:
    data = load("digits")

    def sampler(rule: Rule, epochs: int = 8) -> DynamicSampler:
        return DynamicSampler(rule, Recorder(1437, 10, rule.scorers, missing="allow"), epochs=epochs)

    with pytest.raises(InputError, match="without ids"):
        fit(data, SPEC, 0, dynamic=sampler(InfoBatch()), ids=np.arange(9))
    with pytest.raises(InputError, match="another one"):
        fit(data, SPEC, 0, dynamic=sampler(InfoBatch()), recorder=Recorder(1437, 10, {}))
    with pytest.raises(InputError, match="for 8 epochs, but got one for 3"):
        fit(data, SPEC, 0, dynamic=sampler(InfoBatch(), 3))
    with pytest.raises(InputError, match="entropy:view=train"):
        fit(data, SPEC, 0, dynamic=sampler(Redraw("entropy", 0.5, warmup=2)))


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("infobach", UnknownNameError, "did you mean infobatch"),
        ("infobatch:window=3", InputError, "no parameter window"),
        ("infobatch:ratio=1", InputError, r"\[0, 1\)"),
        ("infobatch:delta=2", InputError, r"\[0, 1\]"),
        ("redraw:every=often", InputError, "every as int"),
        ("redraw:every=0", InputError, "every >= 1"),
        ("redraw:keep=2", InputError, "share"),
        ("redraw:method=tdds:at=3", InputError, "without at"),
        ("redraw:method=tdds:window=5:warmup=4", TooFewEpochsError, "after 5 epochs, but the warm-up has 4"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        parse_rule(text)


def test_the_command_trains_by_a_rule(call: Any, tmp_path: Path) -> None:
    options = ("train", "--epochs", 3, "--batch-size", 128, "--seeds", "0", "--jobs", 1, "--out", tmp_path)
    said = call(*options, "--dynamic", "redraw:method=entropy:keep=0.25:warmup=1:every=1")
    assert "50.0% of all samples shown" in said  # 1437 + 360 + 360 of 3 * 1437
    (path,) = tmp_path.glob("redraw*.json")
    result = json.loads(path.read_text())
    assert (result["shown"], result["dynamic"][:6], result["steps"]) == (1437 + 2 * 360, "redraw", 12 + 2 * 3)
    assert "not both" in call.refused(*options, "--dynamic", "infobatch", "--coreset", "c.parquet")
    assert "did you mean infobatch" in call.refused(*options, "--dynamic", "infobach")


def test_weights_of_a_saved_draw_are_not_left_out_without_a_word(call: Any, tmp_path: Path) -> None:
    n = len(load("digits").train)
    Coreset(np.array([1, 4]), np.array([1, 2], np.float32), n).save(tmp_path / "c.parquet")
    said = call.refused("train", "--coreset", tmp_path / "c.parquet", "--epochs", 1, "--out", tmp_path / "out")
    assert "has weights, which this command would ignore" in said
    assert not (tmp_path / "out").exists()


def test_several_ranks_draw_and_train_as_one(tmp_path: Path) -> None:
    script = Path(__file__).with_name("ranks_dynamic.py")
    command = [sys.executable, script.with_name("ranks_start.py"), "2", script, tmp_path]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in tmp_path.glob("done-*")) == ["done-0", "done-1"], done.stderr


def test_a_state_goes_to_its_own_coreset_length_and_data_set_alone() -> None:
    one, other = (Fixed(Coreset(np.array(ids), None, N)) for ids in ([0, 1], [0, 2]))
    with pytest.raises(InputError, match=r"with rule=\['fixed'"):
        sampler_of(other).load_state_dict(sampler_of(one).state_dict())
    state = sampler_of(InfoBatch()).state_dict()
    with pytest.raises(InputError, match="with epochs=9, but got 8"):
        sampler_of(InfoBatch(), epochs=9).load_state_dict(state)
    larger = Recorder(N + 1, C, InfoBatch().scorers, missing="allow")
    with pytest.raises(InputError, match=f"with n={N + 1}, but got {N}"):
        DynamicSampler(InfoBatch(), larger, epochs=8).load_state_dict(state)


def test_a_state_holds_the_draw_with_its_weights_and_is_not_changed_by_going_on(tmp_path: Path) -> None:
    sampler, resumed = sampler_of(InfoBatch()), sampler_of(InfoBatch())
    assert float(resumed.weights.max()) == 1  # of a first epoch, to be forgotten with the state
    show(sampler)
    drawn = sampler.coreset
    state, recorded = sampler.state_dict(), sampler.recorder.state_dict()
    save_checkpoint(tmp_path / "state", {"sampler": state, "recorder": recorded})
    show(sampler)
    assert len(sampler) < N
    assert state["counts"] == [N, len(drawn)]
    loaded = load_checkpoint(tmp_path / "state")
    resumed.load_state_dict(loaded["sampler"])
    resumed.recorder.load_state_dict(loaded["recorder"])
    assert (resumed.coreset.digest, resumed.coreset.source) == (drawn.digest, drawn.source)
    assert sorted(set(resumed.weights.tolist())) == sorted({0.0, *drawn.weights.tolist()})  # type: ignore[union-attr]


def test_a_state_of_numpys_integers_is_one_of_pythons(tmp_path: Path) -> None:
    numpys: dict[str, Any] = {"epochs": np.int64(8), "seed": np.int64(1)}
    sampler = sampler_of(InfoBatch(), **numpys)
    show(sampler)
    save_checkpoint(tmp_path / "state", sampler.state_dict())
    assert json.loads(json.dumps(dict(sampler.coreset.source)))["dynamic"]["seed"] == 1
    resumed = sampler_of(InfoBatch(), epochs=8, seed=1)
    resumed.load_state_dict(load_checkpoint(tmp_path / "state"))


def test_what_is_shown_counts_from_the_draw_on() -> None:
    sampler = sampler_of(Fixed(Coreset(np.arange(5), None, N)), epochs=2)
    shown = [sampler.shown]
    for _ in range(2):
        sampler.set_epoch(sampler.recorder.epoch)
        shown.append(sampler.shown)
        show(sampler)
    len(sampler)
    assert [*shown, sampler.shown] == [0, 5, 10, 10]
    assert (sampler.counts, sampler.steps(2, 2)) == ([5, 5, 5], 6)


class Alike:
    """Three ranks that say the same."""

    size = 3

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def share(self, topic: str, value: Any = None) -> list[Any]:
        return [value] * 3

    def exchange(self, rows: Any, counts: Any) -> Any:
        raise AssertionError("nothing is recorded")


@pytest.mark.parametrize("count", [1, 4, 6])
def test_every_rank_gets_as_many_of_a_draw_and_none_is_left_out(count: int) -> None:
    rule = Fixed(Coreset(np.arange(count), None, N))
    order = list(sampler_of(rule))
    recorders = [Recorder(N, C, {}, missing="allow", ranks=Alike(rank)) for rank in range(3)]
    parts = [list(DynamicSampler(rule, recorder, epochs=1)) for recorder in recorders]
    padded = {1: order * 3, 4: order + order[:2], 6: order}[count]
    assert parts == [padded[0::3], padded[1::3], padded[2::3]]
    assert len(DynamicSampler(rule, recorders[0], epochs=1)) == len(padded) / 3


def test_losses_that_are_not_one_a_sample_are_refused() -> None:
    sampler = sampler_of(Fixed(Coreset(np.array([0, 1]), None, N)))
    assert float(sampler.mean(torch.tensor([1.0, 4.0]), torch.tensor([0, 1]))) == 2.5
    for losses, ids in (
        (torch.ones(2, 1), torch.zeros(2, 1)),
        (torch.ones(2), torch.zeros(3)),
        (torch.ones(()), torch.ones(())),
    ):
        with pytest.raises(InputError, match='reduction="none"'):
            sampler.mean(losses, ids.long())


def test_a_redraw_by_its_name_takes_what_is_not_its_own_for_its_method() -> None:
    assert parse_rule("redraw") == Redraw("tdds", 0.5, every=5, warmup=10)
    text = "redraw:method=aum:margin=logit:skip=1:keep=0.3:warmup=2"
    assert parse_rule(text, "cifar10") == Redraw("aum:margin=logit:skip=1", 0.3, warmup=2, dataset="cifar10")
    assert parse_rule("redraw:dataset=cifar100", "cifar10").params()["dataset"] == "cifar100"


def test_a_redraw_has_the_settings_published_for_its_data_set_and_share() -> None:
    windows = {keep: Redraw("tdds", keep, dataset="cifar10").scorers["redraw"].params()["window"] for keep in (0.1, 0.3)}
    assert windows == {0.1: 5, 0.3: 10}  # Zhang et al. 2024, for 90 and 70 % pruned
    sampler = sampler_of(Redraw("tdds", 0.1, every=1, warmup=5, dataset="cifar10"), epochs=7)
    for _ in range(5):
        show(sampler)
    source = sampler.coreset.source
    assert (source["method"], source["notice"]) == ("tdds", sampler.rule.resolved.notice)  # type: ignore[attr-defined]
    assert "published for cifar10" in source["notice"]


def test_a_warm_up_of_less_than_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="warmup >= 0 epochs, but got 5 and -1"):
        Redraw("random", warmup=-1)


def test_a_redraw_counts_its_epochs_from_the_warm_up_on() -> None:
    rule = Redraw("random", every=3, warmup=4)
    assert [epoch for epoch in range(11) if rule.due(epoch, 11)] == [0, 4, 7, 10]


def test_a_fixed_coreset_comes_in_a_new_order_every_epoch_and_for_every_seed() -> None:
    rule = Fixed(Coreset(np.arange(20), None, N))
    sampler, other = sampler_of(rule), sampler_of(rule, seed=1)
    orders = [show(sampler), show(sampler), show(other)]
    assert len(set(map(tuple, orders))) == 3


def test_a_sampler_that_joins_late_draws_at_once() -> None:
    recorder = sampler_of(Redraw("random", 0.4, every=5, warmup=1)).recorder
    for epoch in range(3):
        recorder.update(logits_of(epoch, np.arange(N)), np.arange(N) % C, np.arange(N))
        recorder.end_epoch()
    late = DynamicSampler(Redraw("random", 0.4, every=5, warmup=1), recorder, epochs=8)
    with pytest.warns(UserWarning, match="the draw of an earlier epoch, which this sampler does not have"):
        assert len(late) == 25  # 24.4 of 61


def test_a_sampler_ahead_of_its_recorder_and_one_of_other_settings_are_refused() -> None:
    sampler, behind = sampler_of(InfoBatch()), sampler_of(InfoBatch())
    show(sampler)
    show(sampler)
    behind.load_state_dict(sampler.state_dict())
    with pytest.raises(InputError, match="epoch 0, but the last draw was for epoch 1"):
        len(behind)
    recorder = Recorder(N, C, Redraw("tdds:window=4").scorers, missing="allow")
    with pytest.raises(InputError, match=r"needs the scores \['redraw'\]"):
        DynamicSampler(Redraw("tdds:window=3"), recorder, epochs=8)
    for epochs, seed in ((0, 0), (1.0, 0), (1, -1), (1, 0.5)):
        with pytest.raises(InputError, match="Expected epochs >= 1 and seed >= 0, integers"):
            sampler_of(InfoBatch(), epochs=epochs, seed=seed)  # type: ignore[arg-type]


def test_draws_hang_on_the_seed_and_stay_the_same_on_every_machine() -> None:
    one, other = (sampler_of(Redraw("random", 0.4, every=1, warmup=0), seed=seed).coreset for seed in (0, 1))
    assert one.ids.tolist() != other.ids.tolist()
    assert draw_seed(3, 2) == 4279062613


def test_draws_of_epochs_and_of_seeds_are_independent() -> None:
    """Two of them share as much as two draws of as many of N do, whether of the same seed or of the same epoch."""
    seeds, epochs, kept = 60, 12, 18
    drawn = np.zeros((seeds, epochs, N), dtype=np.bool_)
    for seed in range(seeds):
        rule = Redraw("random", kept / N, every=1, warmup=0)
        for epoch in range(epochs):
            ids = rule.draw(
                Live(epoch, epochs, {"redraw": Scores(np.zeros(N, np.float32))}, Pool(N)), draw_seed(seed, epoch)
            ).ids
            drawn[seed, epoch, ids] = True
    assert (drawn.sum(axis=2) == kept).all()
    pairs = {
        "next epoch": (drawn[:, 1:], drawn[:, :-1]),
        "next seed": (drawn[1:], drawn[:-1]),
        "seed and epoch exchanged": (drawn[1:, :-1], drawn[:-1, 1:]),
    }
    for name, (one, other) in pairs.items():
        common = (one & other).sum(axis=2)
        error = common.std() / np.sqrt(common.size)
        assert abs(common.mean() - kept**2 / N) < 4 * error, name


@pytest.mark.parametrize("rule", [InfoBatch(), Redraw("random", 0.4, every=1, warmup=0), Redraw("ccs", 0.4, 3, 2)], ids=str)
def test_a_resume_after_any_epoch_draws_and_weighs_the_same(rule: Rule) -> None:
    def epochs_of(sampler: DynamicSampler, until: int) -> list[tuple[list[int], list[float]]]:
        found = []
        while sampler.recorder.epoch < until:
            weights = sampler.weights.tolist()
            found.append((show(sampler), weights))
        return found

    whole = epochs_of(sampler_of(rule), 8)
    for after in range(1, 8):
        sampler, resumed = sampler_of(rule), sampler_of(rule)
        first = epochs_of(sampler, after)
        resumed.load_state_dict(sampler.state_dict())
        resumed.recorder.load_state_dict(sampler.recorder.state_dict())
        assert first + epochs_of(resumed, 8) == whole, after
