"""Values of another kind than what is expected: each is refused by name, at once, by one clear error."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thresher import Coreset, Frame, Pool, Recorder, Scores, Trajectory, TrajectoryWriter, select
from thresher.data import load
from thresher.dynamic import DynamicSampler, Fixed, InfoBatch, Redraw
from thresher.errors import InputError, MissingFileError
from thresher.exchange import aum, cartography, ids, tdds, uids, webdataset
from thresher.methods import resolve
from thresher.models import build
from thresher.planning import Setup
from thresher.replay import Request, replay
from thresher.score_table import ScoreTable, read_scores, write_scores
from thresher.scorers import AUM, EL2N, TDDS, DynUnc, Random
from thresher.scorers.last_loss import LastLoss
from thresher.selectors import Beta, Learnable, NearMedian, Stratified, Top, Uniform
from thresher.suspects import find_suspects
from thresher.train.checkpoint import load_checkpoint
from thresher.train.loop import fit
from thresher.train.spec import TrainSpec

DIGITS, SHORT = load("digits"), TrainSpec("tiny", epochs=1, batch_size=32)
LOSS = np.array([0.5, 0.25], dtype=np.float32)
MASKED = np.ma.masked_array([0.5, 0.25], [False, True])


@pytest.mark.parametrize(
    ("make", "field", "value", "wanted"),
    [
        (TDDS, "window", "5", "an integer"),
        (TDDS, "window", 5.0, "an integer"),
        (TDDS, "window", True, "an integer"),
        (TDDS, "window", [5], "an integer"),
        (TDDS, "decay", "0.9", "a number"),
        (TDDS, "absolute", "false", "True or False"),
        (EL2N, "epochs", None, "an integer"),
        (AUM, "skip", 1.5, "an integer"),
        (DynUnc, "exclude_last", 1, "True or False"),
        (Random, "seed", "0", "an integer"),
        (Top, "balanced", "false", "True or False"),
        (Uniform, "balanced", "no", "True or False"),
        (NearMedian, "balanced", None, "True or False"),
        (Learnable, "suspects", "false", "True or False"),
        (Stratified, "strata", 50.0, "an integer"),
        (Stratified, "cutoff", "0.2", "a number"),
        (Beta, "c_d", None, "a number"),
        (Redraw, "every", 2.5, "an integer"),
        (Redraw, "method", TDDS(), "a text"),
        (Redraw, "dataset", None, "a text"),
        (InfoBatch, "ratio", "0.5", "a number"),
        (TrainSpec, "epochs", "5", "an integer"),
        (TrainSpec, "batch_size", 128.0, "an integer"),
        (TrainSpec, "lr", "0.1", "a number"),
        (TrainSpec, "nesterov", "false", "True or False"),
        (TrainSpec, "model", None, "a text"),
        (TrainSpec, "schedule_epochs", "9", "an integer or None"),
        (TrainSpec, "clip_norm", "5", "a number or None"),
    ],
)
def test_a_parameter_of_another_kind(make: Callable[..., Any], field: str, value: Any, wanted: str) -> None:
    """Texts are what a configuration file gives; of a truth value each of them would be true."""
    with pytest.raises(InputError, match=f"Expected {field} of {make.__name__} as {wanted}, but got ".replace("[", r"\[")):
        make(**{field: value})


def test_numbers_of_numpy_are_numbers() -> None:
    assert TDDS(window=np.int64(5), decay=np.float64(0.9)).params() == TDDS(window=5).params()
    assert Top(balanced=np.bool_(True)).params()["balanced"] is True
    spec = TrainSpec(epochs=np.int64(5), lr=np.float64(0.1), nesterov=np.bool_(False), clip_norm=None)
    assert json.loads(json.dumps(spec.to_json())) == TrainSpec(epochs=5, nesterov=False).to_json()


def test_sizes_to_plan_and_coresets_to_show_are_looked_at() -> None:
    with pytest.raises(InputError, match="Expected n of Setup as an integer, but got '100'"):
        Setup("100", 10, 5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"Expected a thresher\.Coreset to show, but got ndarray"):
        Fixed(np.array([1]))  # type: ignore[arg-type]


def small_recorder(**given: Any) -> Recorder:
    return Recorder(2, 3, scorers={"tdds": TDDS(window=3)}, **given)


LACKS = "Expected a complete recorder state, but "


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda state: None, "Expected a recorder state as state_dict.. returns it, but got NoneType"),
        (lambda state: [state], "but got list"),
        (lambda state: without(state, "memory"), LACKS + "it lacks memory"),
        (lambda state: without(state, "epoch"), LACKS + "it lacks epoch"),
        (lambda state: without(state, "states"), LACKS + "it lacks states"),
        (lambda state: {**state, "memory": None}, LACKS + "its memory lacks everything"),
        (lambda state: {**state, "memory": without(state["memory"], "visits")}, LACKS + "its memory lacks visits"),
        (
            lambda state: {**state, "memory": {**state["memory"], "values": None}},
            LACKS + "its memory's values lacks everything",
        ),
        (lambda state: {**state, "states": {}}, LACKS + "its state of tdds lacks changes, score"),
        (lambda state: {**state, "epoch": "1"}, "with a number of epochs, but got epoch='1'"),
        (
            lambda state: {**state, "memory": {**state["memory"], "previous": torch.zeros(3, 3)}},
            r"Expected previous of shape \(2, 3\) in a recorder state, but got \(3, 3\)",
        ),
    ],
)
def test_a_recorder_state_that_is_not_whole(change: Callable[[dict[str, Any]], Any], wanted: str) -> None:
    recorder, state = small_recorder(), small_recorder().state_dict()
    state["memory"]["targets"] = torch.tensor([1, 2])
    with pytest.raises(InputError, match=wanted):
        recorder.load_state_dict(change(state))
    assert recorder.state_dict()["memory"]["targets"].tolist() == [-1, -1], "what was refused has changed nothing"
    recorder.load_state_dict(state)
    assert recorder.state_dict()["memory"]["targets"].tolist() == [1, 2]


def test_provenance_of_numbers_of_numpys_is_json_ready(tmp_path: Path) -> None:
    kept = select(Scores(np.arange(4.0)), Pool(np.int64(4)), np.float64(0.5), Top(), seed=np.int64(1))  # type: ignore[arg-type]
    assert json.loads(json.dumps(kept.source)) == kept.source
    with TrajectoryWriter.create(tmp_path / "t", 2, 2, ["loss"]) as store:
        store.append(Frame(0, np.arange(2), {"loss": LOSS}, 2))
    found = replay(Trajectory.open(tmp_path / "t"), [Request("loss", LastLoss(), np.int64(1))])  # type: ignore[arg-type]
    assert json.loads(json.dumps(found["loss"].source))["at"] == 1


def without(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


def test_a_dynamic_sampler_of_other_things() -> None:
    rule = InfoBatch()
    recorder = Recorder(2, 3, rule.scorers, missing="allow")
    with pytest.raises(InputError, match=r"Expected a rule, such as .*, but got 'infobatch'"):
        DynamicSampler("infobatch", recorder, epochs=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="but got the class InfoBatch"):
        DynamicSampler(InfoBatch, recorder, epochs=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"Expected a thresher\.Recorder, but got InfoBatch"):
        DynamicSampler(rule, rule, epochs=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="integers, but got '3' and 0"):
        DynamicSampler(rule, recorder, epochs="3")  # type: ignore[arg-type]
    sampler = DynamicSampler(rule, recorder, epochs=3)
    with pytest.raises(InputError, match=r"Expected a sampler state as state_dict.. returns it, but got NoneType"):
        sampler.load_state_dict(None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="but it lacks counts"):
        sampler.load_state_dict(without(sampler.state_dict(), "counts"))


def written(folder: Path) -> Trajectory:
    with TrajectoryWriter.create(folder, 2, 3, ["loss"]) as store:
        store.append(Frame(0, np.arange(2), {"loss": LOSS}, 2))
    return Trajectory.open(folder)


def test_a_name_is_not_read_letter_by_letter(tmp_path: Path) -> None:
    """A text is a sequence of texts, too."""
    for call in (
        lambda: Recorder(2, 3, extra_signals="loss"),
        lambda: small_recorder().scores("tdds"),
        lambda: TrajectoryWriter.create(tmp_path / "a", 2, 3, "loss"),
        lambda: list(written(tmp_path / "b").frames("loss")),
    ):
        with pytest.raises(InputError, match=r"as a list of names, such as \['name'\], but got '(loss|tdds)'"):
            call()
    with pytest.raises(InputError, match="but got None"):
        Recorder(2, 3, extra_signals=None)  # type: ignore[arg-type]


def test_a_device_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Expected a torch device, .* but got 'gpu'"):
        small_recorder(device="gpu")
    with pytest.raises(InputError, match=r"Expected a torch device, .* but got 'gpu'"):
        fit(DIGITS, SHORT, 0, device="gpu")
    there = torch.cuda.device_count()
    for device in [f"cuda:{there}", *([] if there else ["cuda"])]:
        for call in (partial(fit, DIGITS, SHORT, 0), small_recorder):
            with pytest.raises(InputError, match=f"but got '{device}', and torch finds {there or 'no'} GPU"):
                call(device=device)


@pytest.mark.parametrize(
    ("frame", "beside", "wanted"),
    [
        (Frame(0, [0, 1], {"loss": LOSS}, 2), {}, "Expected the ids of an epoch as a NumPy array, but got list"),  # type: ignore[arg-type]
        (Frame(0, np.arange(2), {"loss": torch.from_numpy(LOSS)}, 2), {}, "the loss of an epoch .* but got Tensor"),  # type: ignore[dict-item]
        (Frame(0, np.arange(2), {"loss": LOSS}, 2), {"targets": [0, 1]}, "the targets of an epoch .* but got list"),
        ({"loss": LOSS}, {}, "Expected a thresher.Frame to append, but got dict"),
        (Frame(0, np.arange(2.0), {"loss": LOSS}, 2), {}, "integers as the ids of an epoch, but got float64"),  # type: ignore[arg-type]
        (Frame(0, np.arange(2), {"loss": LOSS + 1j}, 2), {}, "real numbers as the loss of an epoch, but got complex64"),
        (Frame(0, np.arange(2), {"loss": MASKED}, 2), {}, "the loss of an epoch without a mask, but 1 of 2 are masked"),
        (Frame(0, np.arange(2), {"loss": LOSS}, 2), {"targets": MASKED.astype(int)}, "targets of an epoch without a mask"),
        (
            Frame(0, np.arange(2), {"loss": LOSS * np.float64(1e300)}, 2),
            {},
            r"values of loss that float32 can hold, but got 5e\+299",
        ),
        (
            Frame(0, np.arange(2), {"loss": LOSS}, 2),
            {"features": np.full((2, 1), -1e39)},
            r"features that float32 can hold, but got -1e\+39",
        ),
    ],
)
def test_an_epoch_of_other_things(frame: Any, beside: dict[str, Any], wanted: str, tmp_path: Path) -> None:
    with TrajectoryWriter.create(tmp_path / "t", 2, 3, ["loss"]) as store:
        with pytest.raises(InputError, match=wanted):
            store.append(frame, **beside)
        store.append(Frame(0, np.arange(2), {"loss": LOSS}, 2))


def test_logits_that_a_store_makes_infinite_are_refused(tmp_path: Path) -> None:
    frame, large = Frame(0, np.arange(2), {"loss": LOSS}, 2), np.array([[70000.0, 0, 0], [0, 1, 2]])
    with TrajectoryWriter.create(tmp_path / "t", 2, 3, ["loss"], logits="float16") as store:
        with pytest.raises(InputError, match=r"logits that float16 can hold, but got 70000.*logits='float32'"):
            store.append(frame, large)
        assert store.epochs == 0
        store.append(frame, large / 2)
    assert Trajectory.open(tmp_path / "t").logits(0)[0, 0] == 35008
    with TrajectoryWriter.create(tmp_path / "u", 2, 3, ["loss"], logits="float32") as store:
        store.append(frame, np.where(large > 1e4, np.inf, np.nan))  # what was not finite before may be stored


def test_a_store_is_not_cut_back_to_fewer_than_none(tmp_path: Path) -> None:
    """-1 took the last epoch away, as it does of a list."""
    with TrajectoryWriter.create(tmp_path / "t", 2, 3, ["loss"]) as store:
        for epoch in range(2):
            store.append(Frame(epoch, np.arange(2), {"loss": LOSS}, 2))
        for epochs in (-1, "1", 1.0):
            with pytest.raises(InputError, match="Expected a number of epochs to keep"):
                store.truncate(epochs)  # type: ignore[arg-type]
        assert store.epochs == 2


def test_what_json_cannot_hold_is_told_before_anything_is_made(tmp_path: Path) -> None:
    for info in ({"lr": float("nan")}, {"of": np.arange(2)}, "text"):
        with pytest.raises(InputError, match="Expected JSON-ready values in a store's info"):
            TrajectoryWriter.create(tmp_path / "t", 2, 3, ["loss"], info=info)  # type: ignore[arg-type]
        assert not (tmp_path / "t").exists()
        with pytest.raises(InputError, match="Expected JSON-ready values in a score table's info"):
            write_scores(tmp_path / "s.parquet", {"a": Scores(LOSS)}, info=info)  # type: ignore[arg-type]
    given = {"lr": np.float32(0.5), "at": tmp_path, "of": (1, 2)}
    read = {"lr": 0.5, "at": str(tmp_path), "of": [1, 2]}
    with TrajectoryWriter.create(tmp_path / "t", 2, 3, ["loss"], info=given):
        pass
    assert Trajectory.open(tmp_path / "t").info == read
    write_scores(tmp_path / "s.parquet", {"a": Scores(LOSS, "high", given)}, info=given)
    assert read_scores(tmp_path / "s.parquet").info == read_scores(tmp_path / "s.parquet").columns["a"].source == read


def test_a_score_table_of_other_things(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    for columns in (Scores(LOSS), [Scores(LOSS)], {1: Scores(LOSS)}):
        with pytest.raises(InputError, match="Expected scores by column name"):
            write_scores(path, columns)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Give its `columns`"):
        write_scores(path, ScoreTable(2, None, {"loss": Scores(LOSS)}))  # type: ignore[arg-type]
    for targets in ([0.5, 1.7], ["a", "b"]):  # the former were cut to whole numbers
        with pytest.raises(InputError, match=r"Expected targets as \(N,\) integer class labels"):
            write_scores(path, {"a": Scores(LOSS)}, targets)  # type: ignore[arg-type]
    assert not path.exists()


def test_requests_of_other_things(tmp_path: Path) -> None:
    opened = written(tmp_path / "t")
    for source, requests, wanted in (
        (tmp_path / "t", [Request("a", LastLoss())], "Expected an open recording, .* but got PosixPath"),
        (opened, Request("a", LastLoss()), "Expected a list of requests"),
        (opened, [Request("a", "last_loss")], "Expected scorers by name, .* but 'a' is 'last_loss'"),  # type: ignore[arg-type]
        (opened, [Request("a", LastLoss)], "but 'a' is the class LastLoss"),  # type: ignore[arg-type]
        (opened, [Request("a", LastLoss(), "1")], "an integer, but got '1'"),  # type: ignore[arg-type]
        (opened, [Request("a", LastLoss(), 1.0)], "an integer, but got 1.0"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=wanted):
            replay(source, requests)  # type: ignore[arg-type]
    for start, stop in ((0, "1"), (0, 1.0)):
        with pytest.raises(InputError, match="Expected epochs within"):
            list(opened.frames(["loss"], start, stop))  # type: ignore[arg-type]


def test_numbers_of_samples_are_integers() -> None:
    for n in ("10", 10.0, None, True):
        with pytest.raises(InputError, match="Expected n, the number of samples selected from, as an integer"):
            Coreset(np.array([0]), None, n)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="Expected n, the number of samples, as an integer"):
            Pool(n)  # type: ignore[arg-type]
    assert Coreset(np.array([0]), None, np.int64(10)).mask.sum() == Pool(np.int64(1)).n == 1  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Expected weights as numbers"):
        Coreset(np.array([0]), ["a"], 10)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Expected numeric margins"):
        find_suspects("abc")  # type: ignore[arg-type]


def test_labels_and_ids_of_types_that_numpy_lacks_are_refused() -> None:
    for given in (torch.zeros(3, dtype=torch.bfloat16), torch.zeros(3).to(torch.float8_e4m3fn)):
        with pytest.raises(InputError, match=rf"targets as an array, but got a Tensor of {given.dtype}"):
            Pool(3, given)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=rf"ids as an array, but got a Tensor of {given.dtype}"):
            Coreset(given, None, 3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="targets as an array, but got a list with parts of other lengths"):
        Pool(3, [[1], [1, 2]])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"Expected a seed.*but got True"):
        select(Scores(np.zeros(3)), Pool(3), 1, "top", True)


def test_scores_are_what_stands_there_not_what_lies_below_a_mask() -> None:
    half = torch.tensor([0.5, 0.25], requires_grad=True)
    assert Scores(half).values.tolist() == Scores(half.bfloat16()).values.tolist() == [0.5, 0.25]  # type: ignore[arg-type]
    masked = np.ma.masked_array([0.5, 9.0], [False, True])
    np.testing.assert_array_equal(Scores(masked).values, np.array([0.5, np.nan], np.float32))
    assert Scores(np.ma.masked_array([0.5, 9.0])).values.tolist() == [0.5, 9.0]
    for values, wanted in (
        (np.array([1j, 2.0]), "numeric scores, but got a ndarray of complex128"),
        (torch.tensor([1j, 2.0]), "numeric scores, but got a Tensor of torch.complex64"),
        (np.array(["2024-01-01"], "M8[D]"), r"numeric scores, but got a ndarray of datetime64\[D\]"),
        (torch.tensor([0.5, 0.0]).to_sparse(), "numeric scores, but got a Tensor of torch.float32"),
        (np.array([1.0, -1e300]), r"32-bit numbers as scores, but got -1e\+300"),
        ([10**400], "numeric scores"),
        ([None, 1e300], r"32-bit numbers as scores, but got 1e\+300"),
    ):
        with pytest.raises(InputError, match=wanted):
            Scores(values)  # type: ignore[arg-type]
    assert np.isinf(Scores(np.array([np.inf, 1.0])).values[0])
    with pytest.raises(InputError, match="margins without a mask, but 1 of 60 are masked"):
        find_suspects(np.ma.masked_equal(np.append(np.full(59, 5.0, np.float32), -99), -99))
    assert not find_suspects(torch.full((60,), 5.0, requires_grad=True)).mask.any()  # type: ignore[arg-type]


def test_masked_ids_labels_and_logits_are_refused() -> None:
    masked = np.ma.masked_array([0, 1], [False, True])
    recorder = Recorder(2, 2, {"el2n": EL2N()})
    logits = np.ma.masked_array(np.eye(2, dtype=np.float32), [[0, 1], [0, 0]])
    for call, wanted in (
        (lambda: Pool(2, masked), "targets without a mask, but 1 of 2 are masked"),
        (lambda: Coreset(masked, None, 2), "ids without a mask, but 1 of 2 are masked"),
        (lambda: recorder.update(logits, [0, 1], [0, 1]), "logits without a mask, but 1 of 4 are masked"),
        (lambda: recorder.update(np.eye(2), masked, [0, 1]), "targets without a mask"),
        (lambda: recorder.update(np.eye(2), [0, 1], masked), "sample_ids without a mask"),
        (
            lambda: recorder.update(torch.eye(2).to_sparse(), [0, 1], [0, 1]),
            "logits as a dense tensor, but got a torch.sparse",
        ),
    ):
        with pytest.raises(InputError, match=wanted):
            call()  # type: ignore[no-untyped-call]
    scores, texts = Scores(np.arange(2.0)), Pool(2, aux={"mean_prob": np.array(["a", "b"])})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="numeric scores"):
        select(scores, texts, 1, Beta())


def test_names_that_are_none(tmp_path: Path) -> None:
    for call, wanted in (
        (lambda: resolve(TDDS(), "", 0.1), "Expected a method by its name"),
        (lambda: resolve("tdds", None, 0.1), "Expected the name of a data set"),
        (lambda: load(None), "Expected the name of a data set"),
        (lambda: load("digits", mislabel=0.2), "Expected a text such as .*, but got 0.2"),
        (lambda: load("digits", holdout=0.1), "Expected a text such as .*, but got 0.1"),
        (lambda: load("folder", tmp_path, image_size="32"), "Expected image_size as an integer"),
        (lambda: build(None, 10), "Expected the name of a model"),
        (lambda: build("tiny", "10"), "Expected num_classes as an integer >= 2, but got '10'"),
        (lambda: build("tiny", 1), "Expected num_classes as an integer >= 2, but got 1"),
        (lambda: build("tiny", 10, "1"), "Expected channels as an integer"),
        (lambda: build("tiny", 10, 0), "Expected channels as an integer >= 1, but got 0"),
        (lambda: build("tiny", 10, image_size=0), "Expected image_size as an integer >= 1, but got 0"),
        (lambda: build("tiny", 10, 1, "0"), "Expected a seed"),
    ):
        with pytest.raises(InputError, match=wanted):
            call()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"data": "digits"}, "Expected a data set, such as"),
        ({"spec": {"model": "tiny"}}, "Expected a TrainSpec, but got dict"),
        ({"until": "1"}, "Expected until as a number of epochs, but got '1'"),
        ({"eval_every": -1}, "Expected eval_every as a number of epochs, but got -1"),
        ({"loss_scale": np.ones(32, np.float32)}, r"Expected loss_scale of shape \(1437,\), .* but got \(32,\)"),
        ({"seed": "0"}, "Expected a seed"),
    ],
)
def test_a_training_of_other_things(given: dict[str, Any], wanted: str) -> None:
    asked: dict[str, Any] = {"data": DIGITS, "spec": SHORT, "seed": 0, "ids": np.arange(32), "workers": 0}
    with pytest.raises(InputError, match=wanted):
        fit(**{**asked, **given})


def test_a_checkpoint_is_named_by_a_text_and_a_seed_by_a_number_of_numpys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first epoch was trained before its checkpoint failed; and it stays where it was when the program moves on."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    spec = TrainSpec("tiny", epochs=2, batch_size=32)
    fit(
        DIGITS,
        spec,
        np.int64(3),
        ids=np.arange(32),
        workers=0,
        checkpoint="kept.safetensors",
        on_epoch=lambda _: os.chdir("/"),
    )  # type: ignore[arg-type]
    assert load_checkpoint(tmp_path / "kept.safetensors")["epoch"] == 2


def test_files_of_other_tools_are_named_by_texts(tmp_path: Path) -> None:
    at, kept = f"{tmp_path}/", Coreset([0], None, 2)
    ids.write_csv(kept, at + "kept.csv")
    ids.write_npy(kept, at + "kept.npy")
    assert ids.read_csv(at + "kept.csv", 2).digest == ids.read_npy(at + "kept.npy", 2).digest == kept.digest
    aum.write_aum(Scores(LOSS, "low"), at + "aum.csv")
    assert aum.read_aum(at + "aum.csv", 2).values.tolist() == LOSS.tolist()
    rate = tdds.write_pair(kept, Scores(LOSS), at + "pair", 10, 30)
    mask, score = at + "pair/data_mask_win10_ep30.npy", at + "pair/score_win10_ep30.npy"
    assert tdds.read_mask(mask, rate).digest == kept.digest
    assert tdds.read_pair(mask, score).values.tolist() == LOSS.tolist()
    pool = uids.parse_uids(["139e4a9b22a614771f06c700a8ebe150", "139e4a9b22a614771f06c700a8ebe151"])
    uids.write_uids(kept, pool, at + "kept-uids.npy")
    assert uids.read_uids(at + "kept-uids.npy", pool).digest == kept.digest
    (tmp_path / "pool.txt").write_text("139e4a9b22a614771f06c700a8ebe150\n")
    assert uids.read_pool(at + "pool.txt") == pool[:1]
    with pytest.raises(MissingFileError, match="Expected a WebDataset shard at"):
        webdataset.reshard(kept, [at + "0.tar"], at + "out")
    with pytest.raises(InputError, match="Expected a list of shards, but got"):
        webdataset.keys(at + "0.tar")
    with pytest.raises(MissingFileError, match=r"Expected dynamics_epoch_0\.jsonl"):
        cartography.dynamics_to_dumps(at + "none", at + "dumps")
    with TrajectoryWriter.create(at + "store", 2, 3, ["loss"], logits="float32") as store:
        frame = Frame(0, np.arange(2), {"loss": LOSS}, 2)
        store.append(frame, np.zeros((2, 3), np.float32), targets=np.array([0, 1]))
    assert cartography.write_dynamics(Trajectory.open(at + "store"), at + "dynamics") == 1
    assert cartography.dynamics_to_dumps(at + "dynamics", at + "dumps") == [0, 1]
