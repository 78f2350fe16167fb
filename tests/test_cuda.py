"""On a GPU: the same scores as on the CPU, captured steps that train as plain ones do, nothing that waits for the device."""

from __future__ import annotations

import copy
import gc
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thresher.data import load
from thresher.data.base import ArraySplit, Data
from thresher.data.batching import Batches
from thresher.engines import make_engine
from thresher.errors import InputError
from thresher.models import MODELS, build
from thresher.ranks import Alone
from thresher.ranks.owners import Owners
from thresher.recorder import Recorder
from thresher.recording.collect import Collector
from thresher.registry import make_scorer, scorers
from thresher.score_table import read_scores
from thresher.stepwise import Steps, stepwise
from thresher.train.loop import fit
from thresher.train.spec import TrainSpec, build_optimizer
from thresher.train.step import GraphedStep, make_step

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
N, C = 4000, 100


@pytest.fixture(autouse=True)
def full_float32() -> Iterator[None]:
    """Compare in float32, without TensorFloat-32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def random_images(count: int = 640, classes: int = 10) -> Data:
    """Return images of CIFAR's shape that can be learned by heart."""
    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=source)
    split = ArraySplit(images, np.arange(count) % classes)
    return Data("random", split, split, tuple(map(str, range(classes))), (0.5,) * 3, (0.25,) * 3, "crop_flip", 32, 3)


def test_scores_agree_with_the_cpu() -> None:
    found: dict[str, dict[str, Any]] = {}
    for way in ("cpu", "cuda", "rank"):  # a rank's rows come back to itself
        device = "cpu" if way == "cpu" else "cuda"
        recorder = Recorder(N, C, {name: make_scorer(name) for name in scorers() if name != "random"})
        if way == "rank":
            names = recorder._train_names, recorder._eval_names
            recorder._collector = Collector(Alone(), Owners(N, N, 1), *names, logits=False)
        for epoch in range(16):
            source = torch.Generator().manual_seed(epoch)
            for ids in torch.randperm(N, generator=source).split(128):  # type: ignore[no-untyped-call]
                logits = torch.randn(len(ids), C, generator=source) * 2
                targets = ids % C
                logits[torch.arange(len(ids)), targets] += epoch / 2
                recorder.update(logits.to(device), targets.to(device), ids.to(device))
            for ids in torch.arange(N).split(512):  # type: ignore[no-untyped-call]
                logits, features = torch.randn(len(ids), C, generator=source), torch.randn(len(ids), 8, generator=source)
                recorder.update_eval(logits.to(device), (ids % C).to(device), ids.to(device), features.to(device))
            recorder.end_epoch()
        found[way] = {name: scores.values for name, scores in recorder.scores().items()}
    assert len(found["cpu"]) >= 8
    for name, values in found["cpu"].items():
        for way in ("cuda", "rank"):
            np.testing.assert_allclose(found[way][name], values, rtol=2e-5, atol=2e-6, err_msg=f"{name}, {way}")


def test_captured_steps_train_as_plain_ones() -> None:
    data, spec = random_images(), TrainSpec("small", epochs=3, batch_size=100, lr=0.01)
    recorders = [Recorder(640, 10, {}, extra_signals=["target_prob"]) for _ in range(3)]
    frames: list[list[Any]] = [[], [], []]
    scale = np.linspace(0.2, 1, 640, dtype=np.float32)
    results = []
    for recorder, seen, way in zip(recorders, frames, ({}, {"graphs": False}, {"device": "cpu"}), strict=True):
        watched = recorder.end_epoch

        def end_epoch(*args: Any, watched: Any = watched, recorder: Any = recorder, seen: Any = seen) -> None:
            memory = recorder._place()
            memory.settle(recorder._train_names, recorder.epoch)
            seen.append(memory.values["target_prob"].cpu().numpy().copy())
            watched(*args)

        recorder.end_epoch = end_epoch  # type: ignore[method-assign]
        arguments: dict[str, Any] = {"device": "cuda", **way}
        results.append(fit(data, spec, 0, recorder=recorder, loss_scale=scale, **arguments))
    graphed, plain, cpu = frames
    for epoch, tolerance in enumerate((1e-4, 1e-3, 1e-2)):  # rounding grows from step to step
        np.testing.assert_allclose(graphed[epoch], plain[epoch], atol=tolerance)
        np.testing.assert_allclose(graphed[epoch], cpu[epoch], atol=5 * tolerance)
    assert results[0].mean_loss_scale == pytest.approx(results[1].mean_loss_scale, rel=1e-5)


@pytest.mark.parametrize("name", [name for name in MODELS if not name.endswith("_imagenet") and name != "swin_t"])
def test_every_model_can_be_captured(name: str) -> None:
    data = random_images(96)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*CUDA graphs.*")
        result = fit(data, TrainSpec(name, epochs=3, batch_size=32, lr=0.01, precision="bf16"), 0, device="cuda")
    assert np.isfinite(result.train_loss)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_a_step_and_its_recording_wait_for_nothing() -> None:
    data, spec, device = random_images(650), TrainSpec("small", batch_size=64), torch.device("cuda")
    recorder = Recorder(650, 10, {"tdds": make_scorer("tdds", {"window": 3})})
    with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
        model = build("small", 10, 3, 0).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        step = make_step(model, build_optimizer(spec, model), spec, device)
        batches = Batches(data, data.train, 64, device=device, train=True, augment=True, channels_last=True)
        for epoch in range(2):
            shown = batches.epoch(epoch)
            for number in range(len(batches)):
                if number == 1:  # the epoch's order and draws are on the device now
                    torch.cuda.set_sync_debug_mode("error" if epoch else "default")
                images, targets, ids = next(shown)
                step.set_lr(0.01)
                recorder.update(step(images, targets, ids), targets, ids)
            torch.cuda.set_sync_debug_mode("default")
            recorder.end_epoch()
    assert 64 in step._captured  # type: ignore[attr-defined]


def test_a_label_that_is_no_class_refuses_the_epoch_and_nothing_else() -> None:
    recorder = Recorder(N, C, {name: make_scorer(name) for name in ("el2n", "aum", "tdds")}, extra_signals=["loss"])
    logits, ids = torch.randn(N, C, device="cuda"), torch.arange(N, device="cuda")
    state = copy.deepcopy(recorder.state_dict())
    for targets in (torch.where(ids == 5, -100, ids % C), torch.where(ids == 5, C, ids % C)):
        recorder.update(logits, targets, ids)
        with pytest.raises(InputError, match="targets outside the classes"):
            recorder.end_epoch()
        recorder.load_state_dict(state)
    recorder.update(logits, ids % C, ids)
    recorder.end_epoch()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rows", [128, 4000])
def test_a_single_logit_that_is_not_finite_refuses_the_epoch(value: float, rows: int) -> None:
    for row in (0, 1, rows - 1):
        recorder = Recorder(N, C, {"el2n": make_scorer("el2n")}, missing="allow", device="cuda")
        ids, logits = torch.arange(rows, device="cuda"), torch.full((rows, C), 3e38, device="cuda")
        recorder.update(logits, ids % C, ids)
        recorder.end_epoch()  # of which only a sum would be infinite
        logits[row, row % C] = value
        recorder.update(logits, ids % C, ids)
        with pytest.raises(InputError, match="Epoch 1 was not committed: it held logits that are NaN or infinite"):
            recorder.end_epoch()


def test_a_step_that_cannot_be_captured_goes_on_and_others_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    data, spec, train = random_images(160), TrainSpec("small", epochs=3, batch_size=32, lr=0.01), GraphedStep._train

    def waits(self: GraphedStep, *args: Any) -> torch.Tensor:
        logits = train(self, *args)
        logits.sum().item()
        return logits

    wanted = fit(data, spec, 0, device="cuda", graphs=False).train_loss
    monkeypatch.setattr(GraphedStep, "_train", waits)
    with pytest.warns(UserWarning, match="continues without CUDA graphs"):
        refused = fit(data, spec, 0, device="cuda").train_loss
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*CUDA graphs.*")
        captured = fit(data, spec, 0, device="cuda").train_loss
    assert [refused, captured] == pytest.approx([wanted, wanted], rel=0.02)


def test_memory_that_ran_out_is_free_for_the_next_training() -> None:
    data, spec = random_images(160), TrainSpec("small", epochs=3, batch_size=32, lr=0.01)
    left, failed = list[int](), list[str]()

    def run(batch: int) -> None:
        small = batch == 32
        changes = replace(spec, batch_size=batch, model="small" if small else "resnet50")
        fit(data if small else random_images(batch), changes, 0, device="cuda")

    def note(*_: Any) -> None:
        gc.collect()
        left.append(torch.cuda.memory_allocated())

    def told(batch: int, error: Exception) -> None:
        failed.append(type(error).__name__)
        note()

    whole = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + 3e9) / whole))
    try:
        with make_engine("serial") as engine:
            engine.run([32, 32, 4096, 32], lambda batch: (run, (batch,)), on_result=note, on_failure=told)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert failed == ["OutOfMemoryError"]
    assert max(left) - left[0] < 2**26, left


def test_a_training_goes_on_where_it_was(tmp_path: Path) -> None:
    data, spec = random_images(), TrainSpec("small", epochs=4, batch_size=64, lr=0.01)
    whole = fit(data, spec, 0, device="cuda")
    fit(data, spec, 0, device="cuda", until=2, checkpoint=tmp_path / "c.safetensors")
    resumed = fit(data, spec, 0, device="cuda", checkpoint=tmp_path / "c.safetensors", resume=True)
    assert resumed.train_loss == pytest.approx(whole.train_loss, rel=0.02)


@stepwise
def _train(seed: int) -> Steps[float | None]:
    recorder = Recorder(1437, 10, {"el2n": make_scorer("el2n")})
    spec = TrainSpec("tiny", epochs=8, batch_size=64, lr=0.05)
    result = yield from fit.steps(load("digits"), spec, seed, device="cuda", recorder=recorder, eval_every=1)
    return result.train_loss


@pytest.mark.parametrize("name", ["turns", "threads"])
def test_trainings_side_by_side_are_those_one_by_one(name: str) -> None:
    alone = {seed: _train(seed) for seed in range(6)}
    found: dict[int, float | None] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*CUDA graphs.*")
        with make_engine(name, 4) as engine:
            engine.run(list(alone), lambda seed: (_train, (seed,)), on_result=found.__setitem__)
    assert found.keys() == alone.keys()
    for seed, loss in alone.items():
        assert found[seed] == pytest.approx(loss, rel=0.1)


_NCCL = """
import sys, torch, torch.distributed as dist
from thresher.ranks import torchrun
store = dist.FileStore(sys.argv[1], 1)
dist.init_process_group("nccl", store=store, rank=0, world_size=1)
ranks = torchrun.TorchRanks()
assert ranks._nccl and ranks.share("greeting", [1]) == [[1]]
for dtype in (torch.int64, torch.float32):
    for rows in (torch.arange(6, device="cuda").view(3, 2).to(dtype), torch.empty((0, 2), dtype=dtype)):
        found, came = ranks.exchange(rows, [len(rows)])
        assert torch.equal(found, rows) and came == [len(rows)] and found.device == rows.device
model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)).cuda()
wrapped = torchrun.parallel(model, torch.randn(5, 4, device="cuda"))
assert int(model[1].num_batches_tracked) == 0
wrapped(torch.randn(5, 4, device="cuda")).sum().backward()
torchrun.send_from_first(list(model.buffers()))
assert model[0].weight.grad is not None and int(model[1].num_batches_tracked) == 1
ranks.leave()
dist.destroy_process_group()
"""


def test_rows_gradients_and_buffers_travel_through_nccl(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NCCL, str(tmp_path / "store")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_one_rank_under_torchrun_gives_the_same_scores(tmp_path: Path) -> None:
    common = ["--data", "digits", "--device", "cuda"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1", "-m", "thresher.cli", "record"]
    for out, command in (("ranks", launch), ("alone", [sys.executable, "-m", "thresher.cli", "record"])):
        subprocess.run([*command, *common, "--out", str(tmp_path / out)], check=True, capture_output=True, timeout=300)
        score = [sys.executable, "-m", "thresher.cli", "score", str(tmp_path / out), "--method", "el2n"]
        subprocess.run([*score, "--out", str(tmp_path / f"{out}.parquet")], check=True, capture_output=True, timeout=300)
    ranks, alone = (read_scores(tmp_path / f"{out}.parquet").columns["el2n"].values for out in ("ranks", "alone"))
    assert np.corrcoef(ranks, alone)[0, 1] > 0.9  # two trainings on a GPU are never the same


def test_bf16_learns_what_float32_does() -> None:
    spec = TrainSpec("tiny", epochs=12, batch_size=64, lr=0.05)
    for precision in ("fp32", "bf16"):
        accuracy = fit(load("digits"), replace(spec, precision=precision), 0, device="cuda").test_accuracy  # type: ignore[arg-type]
        assert accuracy is not None
        assert accuracy > 0.85
