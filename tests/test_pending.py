"""Batches that wait, as they do on an accelerator: here on a CPU, so that both ways can be compared bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from thresher import signals
from thresher.errors import InputError, SampleIdError
from thresher.ranks import Alone
from thresher.ranks.owners import Owners
from thresher.recorder import Recorder
from thresher.recording import intake, memory, pending
from thresher.recording.collect import Collector
from thresher.scorers import AUM, EL2N, TDDS, Entropy, GraNd

N, C = 200, 7


@contextmanager
def waiting(rows: int) -> Iterator[None]:
    """Let batches wait on every device, at most that many rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "defers", lambda device: True)
        patch.setattr(pending, "_VALUES", rows * (C + 4))
        yield


def recorder(**changes: object) -> Recorder:
    return Recorder(N, C, {"tdds": TDDS(window=3), "el2n": EL2N(), "aum": AUM()}, **changes)  # type: ignore[arg-type]


def feed(target: Recorder, epochs: int, size: int = 16) -> Recorder:
    """Record epochs; the logits of every batch are written to one place, as a captured step does."""
    place = torch.empty(size, C)
    for epoch in range(target.epoch, target.epoch + epochs):
        source = torch.Generator().manual_seed(epoch)
        for ids in torch.randperm(N, generator=source).split(size):  # type: ignore[no-untyped-call]
            logits = place[: len(ids)].copy_(torch.randn(len(ids), C, generator=source))
            target.update(logits, ids % C, ids)
        place.fill_(float("nan"))
        target.end_epoch()
    return target


@pytest.mark.parametrize("rows", [8, 50, 8192])
def test_waiting_changes_no_bit(rows: int) -> None:
    at_once = feed(recorder(), 5).scores()
    with waiting(rows):
        later = feed(recorder(), 5).scores()
    for name, found in at_once.items():
        np.testing.assert_array_equal(found.values, later[name].values)


def test_batches_of_any_dtype_wait_as_float32_and_int64() -> None:
    ids = torch.arange(N)
    logits = torch.randn(N, C, generator=torch.Generator().manual_seed(0))
    for given in (
        (logits.bfloat16(), (ids % C).int(), ids.short()), (logits.double().numpy(), (ids % C).numpy(), ids.numpy()),
        (logits.half(), ids % C, ids.int(), logits),  # features that nobody asked for
    ):  # fmt: skip
        found = []
        for rows_at_once in (0, 64):
            with waiting(rows_at_once) if rows_at_once else nullcontext():
                target = recorder()
                for rows in torch.arange(N).split(16):  # type: ignore[no-untyped-call]
                    target.update(*(part[rows] for part in given))
                target.end_epoch()
                found.append(target.scores(["aum"])["aum"].values)
        np.testing.assert_array_equal(*found)


def test_what_waits_is_in_the_state_and_goes_on() -> None:
    whole = feed(recorder(), 4).scores()["tdds"].values
    with waiting(64):
        first = feed(recorder(), 2)
        source = torch.Generator().manual_seed(2)
        batches = torch.randperm(N, generator=source).split(16)  # type: ignore[no-untyped-call]
        logits = [torch.randn(len(ids), C, generator=source) for ids in batches]
        for ids, rows in list(zip(batches, logits, strict=True))[:6]:
            first.update(rows, ids % C, ids)
        second = recorder()
        second.update(logits[0], batches[0] % C, batches[0])  # of another life: forgotten when the state is loaded
        second.load_state_dict(first.state_dict())
        for ids, rows in list(zip(batches, logits, strict=True))[6:]:
            second.update(rows, ids % C, ids)
        second.end_epoch()
        np.testing.assert_array_equal(feed(second, 1).scores()["tdds"].values, whole)


def test_faults_keep_the_epoch_from_being_committed() -> None:
    ids = torch.arange(N)
    wrong = torch.zeros(N, C)
    wrong[3, 2] = float("nan")
    for logits, targets, samples, text in (
        (wrong, ids % C, ids, "finite logits"),
        (torch.zeros(N, C), ids % (C + 1), ids, "targets in"),
        (torch.zeros(N, C), torch.where(ids == 5, 4, ids) % C, torch.where(ids == 5, 4, ids), "seen twice"),
        (torch.zeros(N, C), ids % C, torch.where(ids == 5, N, ids), "sample ids in"),
    ):
        with waiting(8192):
            target = feed(recorder(), 1)
            for rows in torch.arange(N).split(32):  # type: ignore[no-untyped-call]
                target.update(logits[rows], targets[rows], samples[rows])
            with pytest.raises((InputError, SampleIdError), match=text):
                target.end_epoch()
            assert target.epoch == 1


@pytest.mark.parametrize("ranks", [1, 2])
def test_batches_that_are_lost_to_an_error_keep_the_epoch_from_being_committed(
    ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute(outputs: object, names: object, real: Any = signals.compute) -> dict[str, Any]:
        if room:
            return real(outputs, names)  # type: ignore[no-any-return]
        raise torch.OutOfMemoryError

    monkeypatch.setattr(signals, "compute", compute)
    ids, room = torch.arange(N), False
    with waiting(N // 2):
        target = recorder(missing="allow") if ranks == 1 else rank(missing="allow")
        before = copy.deepcopy(target.state_dict())
        quarters = [(torch.zeros(N // 4, C), some % C, some) for some in ids.split(N // 4)]
        for batch in quarters[:2]:
            target.update(*batch)
        with pytest.raises(torch.OutOfMemoryError):  # those that came first are looked at when others need their room
            target.update(*quarters[2])
        room = True
        for batch in quarters[2:]:
            target.update(*batch)
        with pytest.raises(InputError, match="not committed: it held batches that an error kept from being looked at"):
            target.end_epoch()
        target.load_state_dict(before)
        target.update(torch.zeros(N, C), ids % C, ids)
        target.end_epoch()
        assert (target.epoch, target.seen) == (1, N)


@pytest.mark.parametrize("target", [-100, -1, C])
def test_a_label_that_is_no_class_is_never_an_index(target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A GPU ends what uses an index that is outside, so nothing there may come so far: the epoch is refused at its end.
    monkeypatch.setattr(intake, "defers", lambda device: True)
    monkeypatch.setattr(
        torch, "take_along_dim", lambda values, index, dim: values.gather(dim, index)
    )  # as torch did in earlier versions
    ids = torch.arange(N)
    with waiting(8192):
        for ours in (recorder(), Recorder(N, C, {"el2n": EL2N()}, extra_signals=["loss"], duplicates="first")):
            ours.update(torch.zeros(N, C), torch.where(ids == 5, target, ids % C), ids)
            with pytest.raises(InputError, match="Epoch 0 was not committed: it held targets outside the classes"):
                ours.end_epoch()


def test_padded_duplicates_are_dropped_also_across_batches() -> None:
    at_once = Recorder(N, C, {"el2n": EL2N()}, duplicates="first")
    with waiting(64):
        later = Recorder(N, C, {"el2n": EL2N()}, duplicates="first")
    for target in (at_once, later):
        source = torch.Generator().manual_seed(0)
        ids = torch.cat([torch.randperm(N, generator=source), torch.arange(10)])
        for rows in ids.split(30):  # type: ignore[no-untyped-call]
            target.update(torch.randn(len(rows), C, generator=source), rows % C, rows)
        target.end_epoch()
    np.testing.assert_array_equal(at_once.scores()["el2n"].values, later.scores()["el2n"].values)


def test_features_of_training_batches_wait_with_them() -> None:
    def run() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        target = Recorder(N, C, {"grand": GraNd(view="train")})
        source = torch.Generator().manual_seed(0)
        for ids in torch.arange(N).split(32):  # type: ignore[no-untyped-call]
            target.update(
                torch.randn(len(ids), C, generator=source), ids % C, ids, torch.randn(len(ids), 4, generator=source)
            )
        target.end_epoch()
        return target.scores()["grand"].values

    at_once = run()
    assert np.isfinite(at_once).all()
    with waiting(64):
        np.testing.assert_array_equal(run(), at_once)


@pytest.mark.parametrize(("classes", "width"), [(2, 0), (10, 512), (1000, 0), (1000, 2048)])
def test_what_waits_is_bounded_whatever_its_width(classes: int, width: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thresher.recorder.check_logits", lambda logits: None)
        target = Recorder(N, classes, {"grand": GraNd(view="train")} if width else {"el2n": EL2N()}, device="meta")
        ids = torch.zeros(8, dtype=torch.int64)
        target.update(torch.zeros(8, classes), ids, ids, torch.zeros(8, width) if width else None)
    waits = target._place()._pending
    assert waits is not None
    assert waits._places is not None
    held = sum(place.numel() * place.element_size() for place in waits._places)
    assert 0.99 * (32 << 20) < held <= 32 << 20


@pytest.mark.parametrize("rank", [False, True])
def test_the_evaluation_pass_comes_beside_what_waits(rank: bool) -> None:
    def run() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        target = Recorder(N, C, {"entropy": Entropy(), "grand": GraNd(), "seen": GraNd(view="train")})
        if rank:
            target._collector = Collector(Alone(), Owners(N, N, 1), target._train_names, target._eval_names, False)
        source = torch.Generator().manual_seed(0)
        for update in (target.update, target.update_eval):
            for ids in torch.arange(N).split(32):  # type: ignore[no-untyped-call]
                features = torch.randn(len(ids), 4, generator=source)
                update(torch.randn(len(ids), C, generator=source), ids % C, ids, features)
        assert target.amid_evaluation
        target.end_epoch()
        return {name: found.values for name, found in target.scores().items()}

    at_once = run()
    with waiting(64):
        later = run()
    for name, values in at_once.items():
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(values, later[name])


def rank(logits: bool = False, **changes: object) -> Recorder:
    """A Recorder that does what one of several ranks does, with rows that come back to itself."""
    target = recorder(duplicates="first", **changes)
    target._collector = Collector(Alone(), Owners(N, N, 1), target._train_names, target._eval_names, logits)
    return target


def uneven(epoch: int) -> Iterator[tuple[Any, Any, Any]]:
    """Batches of several sizes, some without rows, in which some samples come twice."""
    source = torch.Generator().manual_seed(epoch)
    ids = torch.cat([torch.randperm(N, generator=source), torch.arange(30)])
    sizes = [0, 16, 16, 16, 1, 0, 0, 1, 40, 16, 7, 0, 60, 16, 16, 16, 9, 0]
    for rows in ids.split(sizes):  # type: ignore[no-untyped-call]
        yield torch.randn(len(rows), C, generator=source), rows % C, rows


@pytest.mark.parametrize("rows", [8, 33, 64, 8192])
@pytest.mark.parametrize("block", [5, 1 << 20], ids=["small blocks", "one block"])
def test_rows_of_a_rank_leave_as_if_none_had_waited(rows: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thresher.recording.outbox._rows_of", lambda width, n: min(n, block))
    at_once, later, one = rank(), rank(), recorder(duplicates="first")
    for epoch in range(4):
        for batch in uneven(epoch):
            at_once.update(*batch)
            one.update(*batch)
            with waiting(rows):
                later.update(*batch)
            assert later.amid_epoch == at_once.amid_epoch
        found, wanted = ({part: target.state_dict()[part] for part in ("memory", "waiting")} for target in (later, at_once))
        torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)
        for target in (at_once, later, one):
            target.end_epoch()
            assert not target.amid_epoch
    for name, found in one.scores().items():
        np.testing.assert_array_equal(later.scores()[name].values, found.values)


def test_what_waits_on_a_rank_is_in_its_state_and_goes_on() -> None:
    """Its steps too: the earliest copy of a sample counts."""
    whole, batches = rank(), list(uneven(0))
    for batch in batches:
        whole.update(*batch)
    for stop in range(len(batches)):
        with waiting(64):
            first, second = rank(), rank()
            for batch in batches[:stop]:
                first.update(*batch)
            second.update(*batches[3])  # of another life: forgotten when the state is loaded
            assert second.amid_epoch
            second.load_state_dict(first.state_dict())
            assert second.amid_epoch == any(len(ids) for _, _, ids in batches[:stop])
            for batch in batches[stop:]:
                second.update(*batch)
            found, wanted = (target.state_dict()["waiting"] for target in (second, whole))
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_faults_of_rows_that_wait_on_a_rank_keep_the_epoch_from_being_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "defers", lambda device: True)
    logits, ids = torch.zeros(N, C), torch.arange(N)
    wrong = logits.clone()
    wrong[3, 2] = float("nan")
    for batch, text in (
        ((wrong, ids % C, ids), "logits that are NaN or infinite"),
        ((logits, ids % (C + 1), ids), "targets outside the classes"),
        ((logits, ids % C, torch.where(ids == 5, N, ids)), "ids out of range"),
    ):
        with waiting(8192):
            target = rank(missing="allow")
            target.update(*batch)
            for _ in range(2):
                with pytest.raises(InputError, match=f"Epoch 0 was not committed: it held {text}"):
                    target.end_epoch()
            assert target.epoch == 0
