"""A loop under the real Accelerate: what a plain loop records, saved and restored with everything else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thresher import Recorder
from thresher.data import Indexed
from thresher.errors import InputError
from thresher.scorers import AUM, TDDS

accelerate = pytest.importorskip("accelerate", reason="needs the package accelerate: pip install 'thresher[accelerate]'")

from thresher.integrations.accelerate import attach  # noqa: E402

N = 200
X, Y = (torch.tensor(part[:N]) for part in load_digits(return_X_y=True))
PAIRS = Indexed(TensorDataset(X.float() / 16, Y))


def new_recorder() -> Recorder:
    return Recorder(N, 10, scorers={"aum": AUM(), "tdds": TDDS(window=3)})


def train(recorder: Recorder, folder: Path, epochs: range, stop: int | None = None, resume: Path | None = None) -> None:
    """Train with a checkpoint an epoch; `stop` breaks off after so many batches of the last epoch and saves that."""
    accelerator = accelerate.Accelerator(cpu=True)
    torch.manual_seed(0)
    net = nn.Linear(64, 10)
    net, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.5))
    attach(accelerator, recorder)
    if resume is not None:
        accelerator.load_state(str(resume))
    for epoch in epochs:
        order = np.random.default_rng(epoch).permutation(N).tolist()
        loader = accelerator.prepare(DataLoader(PAIRS, batch_size=32, sampler=order))
        skipped = stop if resume is not None and stop and epoch == epochs[0] else 0
        for step, (sample_ids, images, targets) in enumerate(accelerate.skip_first_batches(loader, skipped)):
            if resume is None and step == stop and epoch == epochs[-1]:
                accelerator.save_state(str(folder / "amid"))
                return
            logits = net(images)
            recorder.update(logits, targets, sample_ids)
            optimizer.zero_grad()
            accelerator.backward(nn.functional.cross_entropy(logits, targets))
            optimizer.step()
        recorder.end_epoch()
        accelerator.save_state(str(folder / str(epoch)))


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def plain() -> Recorder:
    recorder = new_recorder()
    torch.manual_seed(0)
    net = nn.Linear(64, 10)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for epoch in range(4):
        order = np.random.default_rng(epoch).permutation(N).tolist()
        for sample_ids, images, targets in DataLoader(PAIRS, batch_size=32, sampler=order):
            logits = net(images)
            recorder.update(logits, targets, sample_ids)
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, targets).backward()
            optimizer.step()
        recorder.end_epoch()
    return recorder


def same_scores(one: Recorder, other: Recorder) -> None:
    assert one.epoch == other.epoch == 4
    for name, scores in one.scores().items():
        np.testing.assert_array_equal(scores.values, other.scores()[name].values)


def test_it_records_what_a_plain_loop_records_and_resumes_without_holes(plain: Recorder, tmp_path: Path) -> None:
    recorder, again = new_recorder(), new_recorder()
    train(recorder, tmp_path, range(4))
    same_scores(plain, recorder)
    train(again, tmp_path, range(2, 4), resume=tmp_path / "1")
    same_scores(plain, again)


def test_it_resumes_amid_an_epoch(plain: Recorder, tmp_path: Path) -> None:
    train(new_recorder(), tmp_path, range(3), stop=2)
    again = new_recorder()
    train(again, tmp_path, range(2, 4), stop=2, resume=tmp_path / "amid")
    same_scores(plain, again)


def test_restored_ids_must_be_those_of_before(tmp_path: Path) -> None:
    """A data set that was put in another order between the jobs is noticed."""
    train(new_recorder(), tmp_path, range(1))
    again = new_recorder()
    accelerator = accelerate.Accelerator(cpu=True)
    attach(accelerator, again)
    net = accelerator.prepare(nn.Linear(64, 10))
    accelerator.prepare(torch.optim.SGD(net.parameters(), lr=0.5))
    accelerator.load_state(str(tmp_path / "0"))
    with pytest.raises(InputError, match="Ids and samples are mixed up"):
        again.update(torch.zeros(N, 10), Y.flip(0), torch.arange(N))


def test_recorders_of_one_accelerator_have_names_of_their_own(tmp_path: Path) -> None:
    """Under one name the first would be restored as the second."""
    accelerator, recorders = accelerate.Accelerator(cpu=True), [new_recorder(), new_recorder()]
    accelerator.prepare(nn.Linear(1, 1))
    attach(accelerator, recorders[0])
    with pytest.raises(InputError, match=r"'recorder' is taken.*attach\(accelerator, recorder, 'recorder-2'\)"):
        attach(accelerator, recorders[1])
    attach(accelerator, recorders[1], "second")
    for scale, recorder in enumerate(recorders):
        for _ in range(3):
            recorder.update(torch.eye(10)[Y] * (scale + 2), Y, torch.arange(N))
            recorder.end_epoch()
    before = [recorder.scores()["aum"].values for recorder in recorders]
    accelerator.save_state(str(tmp_path))
    accelerator.load_state(str(tmp_path))
    for values, recorder in zip(before, recorders, strict=True):
        np.testing.assert_array_equal(recorder.scores()["aum"].values, values)
    assert (before[0] != before[1]).all()


def test_what_is_no_accelerator_or_has_other_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"Expected an accelerate\.Accelerator, but got Linear"):
        attach(nn.Linear(1, 1), new_recorder())
    accelerator = accelerate.Accelerator(cpu=True)
    with pytest.raises(InputError, match=r"Expected a thresher\.Recorder, but got Linear"):
        attach(accelerator, nn.Linear(1, 1))  # type: ignore[arg-type]
    monkeypatch.setattr(type(accelerator), "num_processes", 2)
    with pytest.raises(InputError, match=r"training of 1 process.*but it has 2"):
        attach(accelerator, new_recorder())
