"""Dynamic pruning on several ranks, for `test_dynamic.py`, under torchrun: every rank compares what it sees with what one
process would."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from ranks_loop import Plain
from thresher.coreset import Coreset
from thresher.data import Indexed, load
from thresher.dynamic import DynamicSampler, Fixed, InfoBatch, Redraw, Rule
from thresher.errors import InputError
from thresher.ranks import Alone, Ranks, current
from thresher.recorder import Recorder
from thresher.train import loop
from thresher.train.checkpoint import load_checkpoint, save_checkpoint
from thresher.train.spec import TrainSpec

N, C, EPOCHS = 53, 4, 7
RULES: dict[str, Rule] = {
    "infobatch": InfoBatch(),
    "tdds": Redraw("tdds:window=3", 0.5, every=2, warmup=3),
    "random": Redraw("random:balanced=true", 0.3, every=1, warmup=1),
}


def made(rule: Rule, ranks: Ranks, seed: int = 0) -> DynamicSampler:
    """A sampler on these ranks."""
    recorder = Recorder(N, C, rule.scorers, missing="allow", duplicates="first", ranks=ranks)
    return DynamicSampler(rule, recorder, epochs=EPOCHS, seed=seed)


def logits_of(epoch: int, ids: Any) -> torch.Tensor:
    """A function of epoch and sample."""
    table = np.random.default_rng(epoch).normal(size=(N, C)) + np.eye(C)[np.arange(N) % C] * epoch
    return torch.from_numpy(table[np.asarray(ids)].astype(np.float32))


def draws_are_those_of_one_process(rank: int, size: int, folder: Path) -> None:
    """Each rank's loader shows its part of the draw, which is that of one process; a resume in epoch 4 changes nothing."""
    dataset = Indexed(TensorDataset(torch.zeros(N), torch.arange(N) % C))
    for name, rule in RULES.items():
        one, mine = made(rule, Alone()), made(rule, current())
        for epoch in range(EPOCHS):
            if epoch == 4:
                save_checkpoint(folder / f"{name}-{rank}", {"s": mine.state_dict(), "r": mine.recorder.state_dict()})
                mine, state = made(rule, current()), load_checkpoint(folder / f"{name}-{rank}")
                mine.load_state_dict(state["s"])
                mine.recorder.load_state_dict(state["r"])
            mine.set_epoch(epoch)
            one.set_epoch(epoch)
            assert mine.coreset.digest == one.coreset.digest, (name, epoch)
            order = list(one)
            ids = [int(i) for batch, _, _ in DataLoader(dataset, 8, sampler=mine) for i in batch]
            padded = [*order, *order[: -len(order) % size]]
            assert ids == padded[rank::size], (name, epoch)
            assert len(mine) == len(ids) == -(-len(order) // size)
            mine.recorder.update(logits_of(epoch, ids), np.array(ids) % C, np.array(ids))
            one.recorder.update(logits_of(epoch, order), np.array(order) % C, np.array(order))
            mine.recorder.end_epoch()
            one.recorder.end_epoch()
        for column, scores in mine.recorder.scores().items():
            np.testing.assert_array_equal(scores.values, one.recorder.scores()[column].values, err_msg=name)


def different_draws_are_noticed(rank: int) -> None:
    """A rank with another seed stops all."""
    sampler = made(Redraw("random", 0.3, every=1, warmup=0), current(), seed=rank)
    with pytest.raises(InputError, match="same rule, epochs and seed"):
        sampler.set_epoch(0)


def the_gradient_is_that_of_the_whole_draw(rank: int, size: int) -> None:
    """What DistributedDataParallel averages is the gradient of the weighted mean over all ranks' batches."""
    torch.manual_seed(0)
    images = torch.randn(N, 5)
    model = torch.nn.Linear(5, C)
    sampler = made(InfoBatch(), current())
    everyone = np.arange(rank, N, size)
    sampler.recorder.update(logits_of(0, everyone), everyone % C, everyone)
    sampler.set_epoch(0)
    sampler.recorder.end_epoch()
    sampler.set_epoch(1)
    assert sampler.coreset.weights is not None
    whole = torch.tensor([i for part in zip(*everybodys(sampler), strict=True) for i in part])
    wanted = torch.nn.functional.cross_entropy(model(images[whole]), whole % C, reduction="none") * sampler.weights[whole]
    expected = torch.autograd.grad(wanted.mean(), model.weight)[0]
    parallel = DistributedDataParallel(model)
    ids = torch.tensor(list(sampler))
    losses = torch.nn.functional.cross_entropy(parallel(images[ids]), ids % C, reduction="none")
    sampler.mean(losses, ids).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(model.weight.grad, expected)


def everybodys(sampler: DynamicSampler) -> list[list[int]]:
    """Return the ids of every rank."""
    return sampler.recorder.ranks.share("ids", list(sampler))


def our_loop_trains_as_one_process(folder: Path, rank: int) -> None:
    """With the weights of a draw that is given, steps are those of one process; InfoBatch draws the same on all ranks."""
    loop.build = lambda *_: Plain()  # type: ignore[attr-defined]
    data, spec = load("digits"), TrainSpec("plain", epochs=4, batch_size=100, lr=0.05, channels_last=False)
    ids = np.sort(np.random.default_rng(0).permutation(1437)[:777])
    given = Fixed(Coreset(ids, np.linspace(0.5, 2, 777, dtype=np.float32), 1437))

    def train(rule: Rule, ranks: Ranks, name: str, until: int | None = None, resume: bool = False) -> Any:
        recorder = Recorder(1437, 10, rule.scorers, missing="allow", ranks=ranks)
        sampler = DynamicSampler(rule, recorder, epochs=4)
        return sampler, loop.fit(data, spec, 0, dynamic=sampler, checkpoint=folder / name, until=until, resume=resume)

    _, ours = train(given, current(), "given.safetensors")
    _, one = train(given, Alone(), f"alone-{rank}.safetensors")
    np.testing.assert_allclose(ours.train_loss, one.train_loss, rtol=2e-3)
    np.testing.assert_allclose(ours.test_accuracy, one.test_accuracy, atol=0.01)
    assert ours.steps == one.steps

    sampler, whole = train(InfoBatch(), current(), "whole.safetensors")
    train(InfoBatch(), current(), "parts.safetensors", until=2)
    resumed, parts = train(InfoBatch(), current(), "parts.safetensors", resume=True)
    assert sampler.counts[0] == 1437 > max(sampler.counts[1:])
    assert sampler.counts == resumed.counts
    assert (whole.train_loss, whole.test_accuracy) == (parts.train_loss, parts.test_accuracy)
    said = current().share("draws", [sampler.coreset.digest, *sampler.counts])
    assert all(one == said[0] for one in said)


def main() -> None:
    """Join the others, run everything, and leave in order."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    draws_are_those_of_one_process(rank, size, folder)
    the_gradient_is_that_of_the_whole_draw(rank, size)
    our_loop_trains_as_one_process(folder, rank)
    different_draws_are_noticed(rank)
    (folder / f"done-{rank}").touch()
    current().share("farewell")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
