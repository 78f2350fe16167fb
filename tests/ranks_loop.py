"""A user's loop on several ranks, for `test_ranks.py`: run under torchrun it feeds the Recorder of every rank, run alone it
feeds one Recorder the same rows in the order that counts. Everything is a function of epoch, batch and sample."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler

from thresher.data import load
from thresher.errors import InputError, MissingFileError, MissingSamplesError, OtherRankError, SampleIdError, ThresherError
from thresher.experiments.job import Job
from thresher.experiments.jobs import run_jobs
from thresher.models import Classifier
from thresher.ranks import Alone, current
from thresher.recorder import Recorder
from thresher.recording import intake, memory, pending
from thresher.scorers import AUM, DUAL, EL2N, TDDS, ClassDistance, DynUnc, Entropy, Forgetting, GraNd, MeanProb, Random
from thresher.scorers._base import Scorer
from thresher.train import loop
from thresher.train.checkpoint import load_checkpoint, save_checkpoint
from thresher.train.spec import TrainSpec
from thresher.trajectory.layout import Manifest
from thresher.trajectory.writer import TrajectoryWriter

N, C, D, EPOCHS = 53, 4, 6, 5
SCORERS: dict[str, Scorer] = {
    "tdds": TDDS(window=3), "signed": TDDS(window=4, absolute=False), "el2n": EL2N(), "aum": AUM(margin="logit"),
    "forgetting": Forgetting(), "dyn_unc": DynUnc(window=3), "dual": DUAL(window=3, epochs=5), "mean_prob": MeanProb(),
    "entropy": Entropy(), "grand": GraNd(), "class_distance": ClassDistance(), "random": Random(seed=3),
}  # fmt: skip
SIGNALS = ("aum", "tdds", "signed")
Steps = list[list[np.ndarray[Any, Any]]]  # [rank][step] -> ids


def padded(epoch: int, size: int) -> Steps:
    """What torch's DistributedSampler gives: shuffled, and padded with its first samples."""
    ranks = []
    for rank in range(size):
        sampler: DistributedSampler[Any] = DistributedSampler(range(N), size, rank, shuffle=True, seed=7)  # type: ignore[arg-type]
        sampler.set_epoch(epoch)
        ids = np.array(list(sampler))
        ranks.append(np.array_split(ids, -(-len(ids) // 5)))
    return ranks


def uneven(epoch: int, size: int) -> Steps:
    """Each sample once, but rank r sees about r times as many as rank 1, in other batches; in epoch 1 the last rank sees
    none, and in epoch 2 it begins with an empty batch."""
    order = np.random.default_rng(epoch).permutation(N)
    shares = np.cumsum([0.1, *range(1, size)]) / np.sum([0.1, *range(1, size)])
    parts = np.split(order, (shares[:-1] * N).astype(int))
    if epoch == 1:
        parts[0], parts[-1] = np.concatenate([parts[0], parts[-1]]), parts[-1][:0]
    steps = [[part[start : start + 3 + 2 * rank] for start in range(0, len(part), 3 + 2 * rank)] for rank, part in
             enumerate(parts)]  # fmt: skip
    return [[order[:0]] * (epoch == 2 and rank == size - 1) + some for rank, some in enumerate(steps)]


def overlapping(epoch: int, size: int) -> Steps:
    """Every rank draws with replacement, then all samples in its own order: copies everywhere."""
    ranks = []
    for rank in range(size):
        rng = np.random.default_rng([epoch, rank])
        ids = np.concatenate([rng.integers(N, size=20 + 7 * rank), rng.permutation(N)[: N if rank == 0 else N // 2]])
        ranks.append(np.array_split(ids, 4 + 3 * rank))
    return ranks


def pruned(epoch: int, size: int) -> Steps:
    """Shows a part of the samples in the last epoch, of which the evaluation pass shows all; rank 1 shows none of them."""
    order = np.random.default_rng(epoch).permutation(N)
    if epoch == EPOCHS - 1:
        order = order[order % 3 > 0]
        return [np.array_split(order if rank == 0 else order[:0], 4) for rank in range(size)]
    return [np.array_split(order[rank::size], 4) for rank in range(size)]


SAMPLERS: dict[str, Callable[[int, int], Steps]] = {
    "padded": padded, "uneven": uneven, "overlapping": overlapping, "pruned": pruned
}  # fmt: skip
LOGITS = {"uneven": "float16", "pruned": "float32"}


@contextmanager
def waiting(rows: int) -> Iterator[None]:
    """Let batches wait, at most that many rows, and their faults be told at the epoch's end, as on an accelerator."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (memory, intake):
            patch.setattr(module, "defers", lambda device: True)
        patch.setattr(pending, "_VALUES", rows * (C + 4))
        yield


def rows(epoch: int, batch: int, ids: np.ndarray[Any, Any]) -> tuple[Any, Any, Any, Any]:
    """Return a batch: logits that differ from batch to batch, so that it shows which copy of a sample was taken."""
    rng = np.random.default_rng(epoch)
    table = rng.normal(size=(N, C)) * 2
    noise = np.random.default_rng([epoch, batch]).normal(size=(N, C))
    features = rng.normal(size=(N, D)).astype(np.float32)
    logits = (table + noise)[ids].astype(np.float32)
    return torch.from_numpy(logits), torch.from_numpy(ids % C), torch.from_numpy(ids), torch.from_numpy(features[ids])


def in_order(steps: Steps, rank: int | None) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    """Yield (number, ids) of each batch of one rank; of all ranks, step by step and in a step rank by rank, where `rank` is
    None. The number tells a batch from all others of the epoch."""
    for step in range(max(map(len, steps))):
        for r, some in enumerate(steps):
            if r == (r if rank is None else rank) and step < len(some):
                yield 10 * step + r, some[step]


def feed(recorder: Recorder, epoch: int, steps: Steps, rank: int | None, evaluate: bool) -> None:
    """Feed one epoch; the evaluation pass gives each sample to rank id % size."""
    for batch, ids in in_order(steps, rank):
        recorder.update(*rows(epoch, batch, ids)[:3])
    if evaluate:
        for batch, ids in in_order([[np.arange(r, N, len(steps))] for r in range(len(steps))], rank):
            recorder.update_eval(*rows(epoch, 1000 + batch, ids))
            assert recorder.amid_evaluation or not len(ids)
    assert recorder.amid_evaluation == evaluate or rank is not None


def record(name: str, size: int, rank: int | None, folder: Path) -> dict[str, Any]:
    """Record all epochs with one sampler into a store and return the scores."""
    needs = sorted({need for scorer in SCORERS.values() for need in scorer.needs})
    logits: Any = LOGITS.get(name)
    with TrajectoryWriter.create(folder / f"store-{name}", N, C, needs, logits=logits) as store:
        known = rows(0, 0, np.arange(N))[1] if name == "padded" else None  # which changes nothing but errors
        missing: Any = "allow" if name == "pruned" else "error"
        recorder = Recorder(N, C, SCORERS, targets=known, store=store, duplicates="first", missing=missing)
        for epoch in range(EPOCHS):
            feed(recorder, epoch, SAMPLERS[name](epoch, size), rank, evaluate=epoch == EPOCHS - 1)
            recorder.end_epoch()
        pool = recorder.pool()
        assert pool.targets is not None
        return {**{key: s.values for key, s in recorder.scores().items()}, "targets": pool.targets}


def errors(size: int, rank: int, folder: Path) -> None:
    """What must be refused is refused on every rank, and what was complete stays."""
    recorder = Recorder(
        N, C, {"tdds": TDDS(window=3)}, store=TrajectoryWriter.create(folder / "store-errors", N, C, ["loss"])
    )
    assert recorder.store is not None
    own = [np.arange(r, N, size) for r in range(size)][rank]

    late = own[:1] if rank == size - 1 else own[:0]  # one sample comes late
    recorder.update(*rows(0, 0, np.setdiff1d(own, late))[:3])
    for _ in range(2):
        raises(MissingSamplesError, f"1 are missing, the first of them [{size - 1}]", recorder.end_epoch)
    recorder.update(*rows(0, 0, late)[:3])
    recorder.end_epoch()
    recorder.update(*rows(1, 0, own)[:3])

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    usual = recorder.store._write_bucket
    if rank == 1:
        recorder.store._write_bucket = full  # type: ignore[method-assign]
    raises(OSError if rank == 1 else OtherRankError, "No space left", recorder.end_epoch)
    assert (recorder.epoch, recorder.store.epochs) == (1, 1)
    recorder.store._write_bucket = usual  # type: ignore[method-assign]
    recorder.end_epoch()
    recorder.update(*rows(2, 0, own)[:3])
    raises(InputError, "rank 0 is at scores", recorder.scores if rank == 0 else recorder.end_epoch)
    raises(InputError, "rank 1 at pool", recorder.scores if rank == 0 else recorder.pool)

    strict = Recorder(N, C, {"el2n": EL2N()}, duplicates="error")
    strict.update(*rows(0, 0, np.arange(N) if rank == 0 else np.array([52]))[:3])
    for _ in range(2):  # the epoch cannot be committed any more
        raises((SampleIdError, OtherRankError), "Sample 52 was seen twice in epoch 0", strict.end_epoch)

    changed = Recorder(N, C, {"el2n": EL2N()})
    changed.update(*rows(0, 0, own)[:3])
    changed.end_epoch()
    logits, targets, ids, _ = rows(1, 0, own)
    changed.update(logits, (targets + (ids == 51)) % C, ids)
    raises((InputError, OtherRankError), "Sample 51 came with target", changed.end_epoch)

    labels = rows(0, 0, np.arange(N))[1]
    told = Recorder(N, C, {"el2n": EL2N()}, targets=(labels + (np.arange(N) == 51)) % C)
    told.update(*rows(0, 0, own)[:3])
    raises((InputError, OtherRankError), f"but targets= says {(int(labels[51]) + 1) % C}", told.end_epoch)

    outside = np.asarray(labels) + C * (np.arange(N) == 51) * (rank == 1)
    kind = InputError if rank == 1 else OtherRankError
    raises(kind, "but sample 51 has", lambda: Recorder(N, C, {"el2n": EL2N()}, targets=outside))
    empty = Recorder(N, C, {"el2n": EL2N()}, missing="allow")
    raises(MissingSamplesError, "Epoch 0 has no samples", empty.end_epoch)
    apart = Recorder(N, C, {"grand": GraNd()})
    apart.update(*rows(0, 0, own)[:3])
    logits, targets, ids, features = rows(0, 0, own)
    apart.update_eval(logits, targets, ids, features if rank else None)
    raises(InputError, "as many numbers for each sample on every rank", apart.end_epoch)
    other = Recorder(N, C, {"el2n": EL2N()})
    state = changed.state_dict()
    state["samples"] = [0, 1]
    raises(InputError, "as many ranks", lambda: other.load_state_dict(state))


def errors_of_what_waits(size: int, rank: int) -> None:
    """A bad batch of one rank, which it took without a word, ends the epoch on every rank; what is missing may come late."""
    own = [np.arange(r, N, size) for r in range(size)][rank]
    last = rank == size - 1
    for position, text in enumerate(("logits that are NaN", "targets outside the classes", "ids out of range")):
        bad = Recorder(N, C, {"tdds": TDDS(window=3)}, missing="allow")
        logits, targets, ids, _ = rows(0, 0, own.copy())
        if last:
            (logits, targets, ids)[position][0] = float("nan") if position == 0 else N
        bad.update(logits, targets, ids)
        assert bad.amid_epoch
        for _ in range(2):
            raises(InputError, f"Epoch 0 was not committed: it held {text}", bad.end_epoch)
        assert bad.epoch == 0

    strict = Recorder(N, C, {"el2n": EL2N()}, duplicates="error")
    strict.update(*rows(0, 0, np.arange(N) if rank == 0 else np.array([52]))[:3])
    raises(InputError, "it held ids seen twice", strict.end_epoch)

    recorder = Recorder(N, C, {"el2n": EL2N()})
    recorder.update(*rows(0, 0, own[1:] if last else own)[:3])
    raises(MissingSamplesError, f"1 are missing, the first of them [{size - 1}]", recorder.end_epoch)
    state = recorder.state_dict()
    recorder.update(*rows(0, 0, own[:3])[:3])  # forgotten with the state that is loaded now
    recorder.load_state_dict(state)
    raises(MissingSamplesError, f"1 are missing, the first of them [{size - 1}]", recorder.end_epoch)
    recorder.update(*rows(0, 0, own[:1] if last else own[:0])[:3])
    recorder.end_epoch()
    assert recorder.seen == N


def differing(size: int, rank: int, folder: Path) -> None:
    """Recorders that are not made alike, or not asked alike, are refused on all ranks, with what differs."""
    last = rank == size - 1
    raises(InputError, f"n is {N} on rank 0 and 5 on rank {size - 1}. n counts", lambda: Recorder(5 if last else N, C, {}))
    scorers = {"tdds": TDDS(window=3 if last else 4)}
    raises(InputError, "scorers is {'tdds'", lambda: Recorder(N, C, scorers))
    raises(InputError, "log_probs is", lambda: Recorder(N, C, {}, log_probs="float16" if last else "float32"))
    raises(InputError, "missing is", lambda: Recorder(N, C, {}, missing="allow" if last else "error"))
    raises(InputError, "signals is", lambda: Recorder(N, C, {}, extra_signals=["loss"] if last else []))
    recorder = Recorder(N, C, {"a": EL2N(), "b": EL2N()})
    feed(recorder, 0, padded(0, size), rank, evaluate=False)
    recorder.end_epoch()
    raises(InputError, "rank 0 asks for ['a'] and rank", lambda: recorder.scores(["b"] if last else ["a"]))
    assert set(recorder.scores(["b"])) == {"b"}

    def trouble(*_: Any) -> None:
        raise InputError("a scorer's own trouble")

    failing, usual = Recorder(N, C, {"el2n": EL2N()}), EL2N.update
    feed(failing, 0, padded(0, size), rank, evaluate=False)
    if last:
        EL2N.update = trouble  # type: ignore[method-assign]
    raises(InputError if last else OtherRankError, "a scorer's own trouble", failing.end_epoch)
    EL2N.update = usual  # type: ignore[method-assign]

    apart = folder / f"store-apart-{int(last)}"  # as on a machine whose folder of that name is its own
    if last:
        TrajectoryWriter.create(apart, N, C, ["entropy"], ranks=Alone()).close()
    raises(InputError, "same store on all ranks, but its manifest", lambda: TrajectoryWriter.create(apart, N, C, ["loss"]))

    digits = load("digits")
    changed = load("digits", mislabel="0.2") if last else digits
    spec, whole = TrainSpec("tiny", epochs=1, batch_size=100, lr=0.05), Recorder(1437, 10, {"el2n": EL2N()})
    raises(InputError, f"data is {digits.fingerprint} on rank 0", lambda: loop.fit(changed, spec, 0, recorder=whole))
    other = replace(spec, lr=0.1 if last else 0.05)
    raises(InputError, f"same training on all ranks, but lr is 0.05 on rank 0 and 0.1 on rank {size - 1}",
           lambda: loop.fit(digits, other, 0, recorder=whole))  # fmt: skip
    raises(InputError, "eval_pass is", lambda: loop.fit(digits, spec, 0, recorder=whole, eval_pass=last))

    part = Recorder(N, C, {"el2n": EL2N()}, missing="allow")  # every rank counts its own ids from 0
    part.update(*rows(0, 0, np.arange(N // size))[:3])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        part.end_epoch()
    (told,) = (str(one.message) for one in said if one.category is UserWarning)  # what is collected just then may warn, too
    assert f"showed {N // size} samples, and {(size - 1) * (N // size)} more rows" in told


def dealt_out(size: int, rank: int, folder: Path) -> None:
    """Trainings that are dealt out must be the same list on all ranks, and their results lie where all see them."""
    digits, spec = load("digits"), TrainSpec("tiny", epochs=1, batch_size=500, lr=0.05)
    about = ("digits", None, digits.fingerprint, spec.to_json())
    jobs = [Job("full", 1.0, 1437, *about, seed=seed) for seed in range(size)]
    apart = folder / f"results-{rank}"
    last = rank == size - 1
    counts = f"their number is {size} on rank 0 and {size - 1} on rank {size - 1}"
    raises(InputError, f"same trainings on all ranks, but {counts}", lambda: run_jobs(jobs[last:], apart))
    raises(InputError, "but result 0 is full-1-0-", lambda: run_jobs(jobs[::-1] if last else jobs, apart))
    assert not apart.exists()
    raises(MissingFileError, f"Rank {rank} does not see", lambda: run_jobs(jobs, apart))
    assert len(list(apart.glob("*.json"))) == 1  # what was trained here is kept


def opened_before(stores: list[TrajectoryWriter]) -> None:
    """A store that was opened before the processes stood is one of each, and would hold its share of the samples."""
    raises(InputError, "or its store, was made before torch.distributed was set up", lambda: Recorder(N, C, store=stores[0]))
    own = Recorder(N, C, store=stores[1])  # one that is asked for
    own.update(*rows(0, 0, np.arange(N))[:3])
    own.end_epoch()
    assert (own.epoch, own.ranks.size) == (1, 1)


def few(size: int, rank: int | None, folder: Path) -> dict[str, Any]:
    """Record five samples in one bucket, so that all ranks but the last own nothing, and then fewer samples than ranks."""
    found = {}
    needs = sorted({need for scorer in SCORERS.values() for need in scorer.needs})
    for n, bucket in ((5, 8), (size - 1, None)):
        with TrajectoryWriter.create(folder / f"few-{n}", n, C, needs, bucket_size=bucket) as store:
            recorder = Recorder(n, C, SCORERS, store=store, duplicates="first")
            for epoch in range(EPOCHS):
                order = np.random.default_rng(epoch).permutation(n)
                feed(recorder, epoch, [[order[r::size]] for r in range(size)], rank, evaluate=False)
                if epoch == EPOCHS - 1:
                    for batch, ids in in_order([[np.arange(r, n, size)] for r in range(size)], rank):
                        recorder.update_eval(*rows(epoch, 1000 + batch, ids))
                recorder.end_epoch()
            found |= {f"{n}-{key}": s.values for key, s in recorder.scores().items()}
    return found


def partly_evaluated(size: int, rank: int | None, folder: Path) -> dict[str, Any]:
    """Evaluate all samples, and later a few that one rank owns: what others own keeps its features, as in one process."""
    with TrajectoryWriter.create(folder / "store-partly", N, C, ["loss"]) as store:
        recorder = Recorder(N, C, {"moderate": ClassDistance()}, store=store, duplicates="first")
        for epoch, evaluated in enumerate((N, 0, 9)):
            feed(recorder, epoch, padded(epoch, size), rank, evaluate=False)
            for batch, ids in in_order([[np.arange(r, evaluated, size)] for r in range(size)] if evaluated else [[]], rank):
                recorder.update_eval(*rows(epoch, 1000 + batch, ids))
            recorder.end_epoch()
        return {key: s.values for key, s in recorder.scores().items()}


def raises(kinds: Any, text: str, call: Callable[[], Any]) -> None:
    """Check that a call raises."""
    said = "nothing"
    try:
        call()
    except kinds as error:
        said = str(error)
    assert text in said, said


def resumed(size: int, rank: int, folder: Path) -> dict[str, Any]:
    """Stop inside epoch 3, go on from the states that were saved there and return the scores."""
    first, second = (Recorder(N, C, SCORERS) for _ in range(2))
    for epoch in range(3):
        feed(first, epoch, overlapping(epoch, size), rank, evaluate=False)
        first.end_epoch()
    steps = list(in_order(overlapping(3, size), rank))
    for batch, ids in steps[:2]:
        first.update(*rows(3, batch, ids)[:3])
    save_checkpoint(folder / f"state-{rank}.safetensors", first.state_dict())
    second.load_state_dict(load_checkpoint(folder / f"state-{rank}.safetensors"))
    for batch, ids in steps[2:]:
        second.update(*rows(3, batch, ids)[:3])
    second.end_epoch()
    feed(second, 4, overlapping(4, size), rank, evaluate=True)
    second.end_epoch()
    return {key: s.values for key, s in second.scores().items()}


def trained(size: int, rank: int, folder: Path) -> dict[str, Any]:
    """A plain DistributedDataParallel loop on digits, with the logits that it saw."""
    data = load("digits")
    images = data.train.images.float().flatten(1) / 255  # type: ignore[attr-defined]
    targets = torch.from_numpy(data.train.targets)
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    recorder = Recorder(len(targets), 10, {"tdds": TDDS(window=3), "el2n": EL2N()})
    sampler: DistributedSampler[Any] = DistributedSampler(range(len(targets)))  # type: ignore[arg-type]
    seen: dict[str, Any] = {}
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for step, ids in enumerate(torch.tensor(list(sampler)).split(100)):  # type: ignore[no-untyped-call]
            logits = model(images[ids])
            recorder.update(logits, targets[ids], ids)
            seen[f"{epoch}-{step:02d}-{rank}"] = np.concatenate([ids[:, None].numpy(), logits.detach().numpy()], axis=1)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, targets[ids]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        recorder.end_epoch()
    np.savez(folder / f"seen-{rank}.npz", **seen)
    return {key: s.values for key, s in recorder.scores().items()}


def mortal(rank: int, size: int, folder: Path, victim: int) -> dict[str, Any]:
    """Record with a state saved every epoch and go on from it; rank `victim` is killed in the middle of committing epoch 2:
    rank 0 when the files are in place but the manifest is not, another one when it should write its first file."""
    there = current().share("begin", (folder / "store" / "manifest.json").exists())[0]
    needs = sorted({need for scorer in SCORERS.values() for need in scorer.needs})
    store = TrajectoryWriter.resume(folder / "store") if there else TrajectoryWriter.create(folder / "store", N, C, needs)
    recorder, path = Recorder(N, C, SCORERS, store=store), folder / f"state-{rank}.safetensors"
    if there:
        recorder.load_state_dict(load_checkpoint(path))
    for epoch in range(recorder.epoch, EPOCHS):
        feed(recorder, epoch, padded(epoch, size), rank, evaluate=epoch == EPOCHS - 1)
        if epoch == 2 and rank == victim:
            dying = Manifest if rank == 0 else TrajectoryWriter
            setattr(dying, "save" if rank == 0 else "_write_bucket", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        recorder.end_epoch()
        save_checkpoint(path, recorder.state_dict())
    return {key: s.values for key, s in recorder.scores().items()}


class Plain(Classifier):
    """A network without batch normalisation, which would see a rank's part of a batch only."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.hidden, self.head = torch.nn.Linear(64, 24), torch.nn.Linear(24, 10)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the hidden layer."""
        return torch.relu(self.hidden(images.flatten(1)))


def fitted(folder: Path) -> dict[str, Any]:
    """Train with the house's own loop, on as many ranks as there are: last batches are of uneven parts."""
    loop.build = lambda *_: Plain()  # type: ignore[attr-defined]
    recorder = Recorder(1437, 10, {"aum": AUM(margin="logit"), "tdds": TDDS(window=3), "moderate": ClassDistance()})
    spec = TrainSpec("plain", epochs=3, batch_size=100, lr=0.05, clip_norm=1.0, channels_last=False)
    result = loop.fit(load("digits"), spec, 0, recorder=recorder, eval_pass=True, checkpoint=folder / "fit.safetensors")
    scores = {key: s.values for key, s in recorder.scores().items()}
    return {**scores, "loss": np.array(result.train_loss), "accuracy": np.array(result.test_accuracy)}


def main() -> None:
    """Join the others, run what is asked for on this rank, and leave in order."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    own = folder / f"before-{os.environ['RANK']}"
    kinds = {"found": None, "asked": Alone()} if len(sys.argv) == 2 else {}
    before = [TrajectoryWriter.create(own / name, N, C, ["loss"], ranks=kind) for name, kind in kinds.items()]
    dist.init_process_group("gloo", timeout=timedelta(hours=3))
    rank, size = dist.get_rank(), dist.get_world_size()
    assert (current().rank, current().size) == (rank, size)
    group: Any = current()._host  # type: ignore[attr-defined]  # which waits as long, else a long evaluation on rank 0 ends all
    assert group._get_backend(torch.device("cpu")).options._timeout == timedelta(hours=3)
    if len(sys.argv) > 2:
        np.savez(folder / f"mortal-{rank}.npz", **mortal(rank, size, folder, int(sys.argv[2])))
    else:
        opened_before(before)
        everything(size, rank, folder)
    current().share("farewell")  # who leaves while another still listens looks like one who died
    dist.destroy_process_group()  # gloo's threads, left running, may abort the interpreter on its way out


def everything(size: int, rank: int, folder: Path) -> None:
    """Leave what came out of every part of this file."""
    for name in SAMPLERS:
        np.savez(folder / f"{name}-{rank}.npz", **record(name, size, rank, folder))
    np.savez(folder / f"resumed-{rank}.npz", **resumed(size, rank, folder))
    with waiting(24):  # of which larger batches do not wait
        (folder / "waiting").mkdir(exist_ok=True)
        for name in SAMPLERS:
            np.savez(folder / "waiting" / f"{name}-{rank}.npz", **record(name, size, rank, folder / "waiting"))
        np.savez(folder / "waiting" / f"resumed-{rank}.npz", **resumed(size, rank, folder / "waiting"))
    with waiting(2 * N):
        errors_of_what_waits(size, rank)
    np.savez(folder / f"trained-{rank}.npz", **trained(size, rank, folder))
    np.savez(folder / f"fitted-{rank}.npz", **fitted(folder))
    np.savez(folder / f"few-{rank}.npz", **few(size, rank, folder))
    np.savez(folder / f"partly-{rank}.npz", **partly_evaluated(size, rank, folder))
    errors(size, rank, folder)
    differing(size, rank, folder)
    dealt_out(size, rank, folder)
    (folder / f"done-{rank}").touch()


if __name__ == "__main__":
    try:
        main()
    except ThresherError as error:
        sys.stderr.write(f"rank {os.environ['RANK']}: {type(error).__name__}: {error}\n")
        raise
