"""Values of another kind than what is expected: each is refused by name, at once, by one clear error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from thresher import Recorder
from thresher.dynamic import DynamicSampler, Fixed, InfoBatch, Redraw
from thresher.errors import InputError
from thresher.planning import Setup
from thresher.scorers import AUM, EL2N, TDDS, DynUnc, Random
from thresher.selectors import Beta, Learnable, NearMedian, Stratified, Top, Uniform
from thresher.train.spec import TrainSpec


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


LACKS = "Expected a whole recorder state, but "


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
