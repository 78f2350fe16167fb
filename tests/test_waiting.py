"""Nothing in a training step waits for the device: shown on torch's device without memory, which has no answer to give."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from thresher import recorder as recording
from thresher.data import load
from thresher.data.batching import Batches
from thresher.experiments.recording import RECORDED
from thresher.models import build
from thresher.ranks import Alone
from thresher.ranks.owners import Owners
from thresher.recorder import Recorder
from thresher.recording.collect import Collector
from thresher.scorers import EL2N, TDDS, LastLoss
from thresher.signals import EVAL_PREFIX
from thresher.train.spec import TrainSpec
from thresher.train.step import Step

DIGITS = load("digits")
META = torch.device("meta")


@pytest.mark.parametrize(
    "ask", [torch.Tensor.item, bool, torch.Tensor.tolist, torch.Tensor.cpu, torch.nonzero, torch.unique]
)
def test_the_device_without_memory_has_no_answer(ask: Any) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        ask(torch.zeros(1, device=META))
    with pytest.raises(NotImplementedError):
        torch.zeros(3, device=META)[torch.zeros(3, dtype=torch.bool, device=META)]


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_step_and_its_recording_ask_nothing_of_the_device(ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "check_logits", lambda logits: None)  # of the first batch alone
    n, spec = len(DIGITS.train), TrainSpec("tiny", batch_size=64, clip_norm=1.0, label_smoothing=0.1)
    model = build("tiny", 10, 1, 0).to(META, memory_format=torch.channels_last)  # type: ignore[call-overload]
    step = Step(model, torch.optim.SGD(model.parameters(), 0.1, 0.9), spec, META, torch.ones(n, device=META))
    step.device = torch.device("cpu")  # for autocast
    batches = Batches(DIGITS, DIGITS.train, 64, device=META, train=True, augment=True, channels_last=True)
    batches._at_once = 3
    names = [name for name in RECORDED if not name.startswith(EVAL_PREFIX)]
    recorder = Recorder(n, 10, {"tdds": TDDS(), "el2n": EL2N(), "last": LastLoss()}, extra_signals=names, device=META)
    if ranks > 1:
        recorder._collector = Collector(Alone(), Owners(n, 100, 2), recorder._train_names, [], True)
    shown = 0
    for epoch in range(2):
        step.begin_epoch()
        for number, (images, targets, ids) in enumerate(batches.epoch(epoch)):
            step.set_lr(0.1 / (1 + number))
            recorder.update(step(images, targets, ids), targets, ids)
            shown += len(ids)
        memory = recorder._place()
        memory.settle(recorder._train_names, epoch)
        memory.start_epoch()
    assert shown == 2 * n
