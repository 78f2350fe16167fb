"""Every scorer of the house passes the conformance suite, and the golden values of a worked example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from thresher import signals
from thresher.errors import InputError, UnknownNameError
from thresher.registry import build, fault_of, make_scorer, scorers
from thresher.scorers import AUM, DUAL, EL2N, TDDS, DynUnc, Entropy, Forgetting, GraNd, MeanProb, Random, Scorer, State
from thresher.scorers.class_distance import ClassDistance
from thresher.testing import check_scorer
from thresher.testing.generators import trajectories
from thresher.testing.scorer_checks import run
from thresher.types import Frame, HardEnd, Pool

VARIANTS: list[Scorer] = [
    TDDS(window=3),
    TDDS(window=5, decay=0.5),
    TDDS(window=4, decay=1.0),
    TDDS(window=4, absolute=False),
    TDDS(window=4, spread="variance"),
    Forgetting(never_learned="max"),
    EL2N(epochs=2),
    MeanProb(epochs=2),
    AUM(margin="logit", skip=1),
    Entropy(view="train"),
    GraNd(view="train"),
    DynUnc(window=3),
    DynUnc(window=2, exclude_last=False),
    DUAL(window=3, epochs=6),
]


@pytest.mark.parametrize("scorer", [make_scorer(name) for name in scorers()] + VARIANTS, ids=str)
def test_conformance(scorer: Scorer) -> None:
    check_scorer(scorer)


HOUSE = {
    "aum", "class_distance", "correctness", "dual", "dyn_unc", "el2n", "entropy", "forgetting", "grand", "last_loss",
    "mean_prob", "random", "tdds",
}  # fmt: skip


def test_every_scorer_is_found() -> None:
    assert set(scorers()) >= HOUSE


@pytest.mark.parametrize("scorer", [make_scorer(name) for name in scorers()] + VARIANTS, ids=str)
def test_min_epochs_are_the_first_that_give_a_score(scorer: Scorer) -> None:
    least = scorer.min_epochs
    values, pool = trajectories(2, max(1, least), 6)
    found = scorer.compute(run(scorer, values), pool)
    assert not np.isnan(found).any()
    if least > 1:
        too_short = {name: rows[: least - 1] for name, rows in values.items()}
        assert np.isnan(scorer.compute(run(scorer, too_short), pool)).all()


@pytest.mark.parametrize("holes", [0.0, 0.5], ids=["complete", "with holes"])
@pytest.mark.parametrize("scorer", [TDDS(window=3), TDDS(window=4, decay=0.3), TDDS(window=4, spread="variance")], ids=str)
def test_what_is_read_late_lies_between_its_lowest_and_its_highest(scorer: TDDS, holes: float) -> None:
    """Replay trusts that whatever earlier epochs held, the score lies between these two; holes let windows fill apart."""
    values, pool = trajectories(4, 24, 60, holes=holes)
    for start in range(24):
        low = scorer.compute(run(scorer, values, first=start), pool)
        high = scorer.compute(run(scorer, values, state=scorer.init_highest(60), first=start), pool)
        true = scorer.compute(run(scorer, values), pool)
        scored = ~np.isnan(true)
        assert ((low <= true) | np.isnan(low))[scored].all()
        assert (true <= high)[scored].all()


@pytest.mark.parametrize(
    ("decay", "trailing"), [(0.9, 22), (0.99, 16), (0.5, 50), (0.1, 273), (1, 10), (1e-17, 32777), (5e-324, 32777)]
)
def test_any_decay_says_how_many_epochs_matter(decay: float, trailing: int) -> None:
    assert TDDS(decay=decay).trailing_epochs == trailing


def test_samples_without_features_have_no_distance() -> None:
    features = np.array([[1, 2], [3, np.nan], [np.nan, np.nan], [2, 4], [7, 7]], dtype=np.float32)
    pool = Pool(5, np.array([0, 0, 1, 0, 2]), features)  # class 1 has none at all
    found = ClassDistance().compute({}, pool)
    np.testing.assert_allclose(found, [1.25**0.5, np.nan, np.nan, 1.25**0.5, 0], rtol=1e-6)
    np.testing.assert_allclose(found, ClassDistance().definition({}, pool), rtol=1e-6)


def test_the_smallest_parameters_are_accepted() -> None:
    smallest = [
        TDDS(window=3, decay=1),
        EL2N(epochs=1),
        MeanProb(epochs=1),
        AUM(skip=0),
        DynUnc(window=2),
        DUAL(2, 2),
        Random(0),
    ]
    for scorer in smallest:
        check_scorer(scorer)


def test_defaults_are_the_published_ones() -> None:
    assert TDDS() == TDDS(window=10, decay=0.9, absolute=True, spread="norm")
    assert EL2N() == EL2N(epochs=10)
    assert AUM() == AUM(margin="prob", skip=0)  # of the published tables; the AUM paper's own are logit and 1
    assert Forgetting() == Forgetting(never_learned="zero")
    assert (Entropy(), GraNd()) == (Entropy(view="eval"), GraNd(view="eval"))
    assert DynUnc() == DynUnc(window=10, exclude_last=True)
    assert DUAL() == DUAL(window=10, epochs=30)
    assert MeanProb() == MeanProb(epochs=30)


def test_hard_ends_are_the_published_ones() -> None:
    """Large is hard or informative, but for margins, for the probability of the own class and for being right."""
    low = {"aum", "mean_prob", "correctness"}
    ends = {name: make_scorer(name).hard_end for name in HOUSE}
    assert ends == {name: "low" if name in low else "high" for name in HOUSE}


def worked_example() -> dict[str, np.ndarray[Any, Any]]:
    """Return all signals (5, 3) of z[t,i,c] = 2 sin(1.3 t + 0.7 i (c+1) + c), labels (0, 1, 2), in double precision."""
    t, i, c = np.ogrid[:5, :3, :3]
    logits = 2 * np.sin(1.3 * t + 0.7 * i * (c + 1) + c)
    previous = np.full((3, 3), np.nan)
    values: dict[str, list[Any]] = {name: [] for name in signals.SIGNALS}
    for z in logits:
        out = signals.Outputs(z, np.arange(3), np.tile([1.0, 2.0, 2.0], (3, 1)), previous)
        for name, value in signals.compute(out, signals.SIGNALS).items():
            values[name].append(value)
        previous = out.guarded_log_probs
    return {name: np.array(rows) for name, rows in values.items()}


GOLDEN: list[tuple[Scorer, list[float], float]] = [
    (TDDS(window=3), [0.941135, 1.110643, 0.191527], 1),
    (EL2N(epochs=5), [0.819926, 0.941490, 0.913873], 1),
    (AUM(), [-0.550712, -1.594580, -1.276072], 5),  # the accumulated margin is a sum
    (AUM(margin="logit"), [-0.689774, -1.160297, -1.213695], 1),
    (AUM(margin="logit", skip=1), [-0.407569, -1.465993, -0.982849], 1),
    (Forgetting(), [1, 1, 1], 1),
    (Entropy(view="train"), [0.537389, 0.621238, 0.820818], 1),
    (DynUnc(window=3), [3.279658, 1.521716, 3.665842], 1),
    (DynUnc(window=3, exclude_last=False), [3.558712, 2.392068, 3.690444], 1),
    (DUAL(window=3), [1.882301, 1.762305, 2.173357], 1),
]


@pytest.mark.parametrize(("scorer", "wanted", "factor"), GOLDEN, ids=lambda value: str(value)[:60])
def test_golden_values(scorer: Scorer, wanted: list[float], factor: float) -> None:
    values = worked_example()
    state = scorer.init(3)
    for epoch in range(5):
        row = {name: values[name][epoch].astype(np.float32) for name in scorer.needs}
        scorer.update(state, Frame(epoch, np.arange(3), row, 3))
    np.testing.assert_allclose(factor * scorer.compute(state, Pool(3)), wanted, rtol=3e-6, atol=2e-6)
    exact = scorer.definition({name: values[name] for name in scorer.needs}, Pool(3))
    np.testing.assert_allclose(factor * exact, wanted, rtol=2e-6, atol=6e-7)


def test_golden_grand() -> None:
    values = worked_example()
    row = {name: values[name][4].astype(np.float32) for name in ("error_norm", "feature_norm")}
    scorer = GraNd(view="train")
    state = scorer.init(3)
    scorer.update(state, Frame(0, np.arange(3), row, 3))
    by_hand = values["error_norm"][4] * np.sqrt(1 + 9)
    np.testing.assert_allclose(scorer.compute(state, Pool(3)), by_hand, rtol=1e-6)


def test_golden_orders() -> None:
    """The published direction: samples 2, 0, 1 by rising TDDS."""
    values = worked_example()
    exact = TDDS(window=3).definition({"change": values["change"]}, Pool(3))
    assert np.argsort(exact).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("tdds", {"window": 2}, "window >= 3"),
        ("tdds", {"window": "ten"}, "window as int"),
        ("tdds", {"decay": 0}, "decay"),
        ("tdds", {"decay": "1.5"}, "decay"),
        ("tdds", {"spread": "range"}, "one of norm, variance"),
        ("tdds", {"absolute": "maybe"}, "absolute as bool"),
        ("tdds", {"windw": 3}, "no parameter windw; its parameters are window"),
        ("tdds", {"window": float("inf")}, "window as int, but got inf"),
        pytest.param("tdds", {"decay": 10**400}, "decay as float", id="beyond floats"),
        ("el2n", {"epochs": 0}, "epochs >= 1"),
        ("aum", {"skip": -1}, "skip >= 0"),
        ("forgetting", {"never_learned": "often"}, "one of zero, max"),
        ("dyn_unc", {"window": 1}, "window >= 2"),
        ("dual", {"window": 11, "epochs": 10}, "window <= epochs"),
        ("random", {"seed": -1}, "seed >= 0"),
        ("class_distance", {"k": 1}, "it has none"),
    ],
)
def test_impossible_parameters(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_scorer(name, params)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: TDDS(spread="range"), "spread to be 'norm' or 'variance'"),  # type: ignore[arg-type]
        (lambda: AUM(margin="loss"), "margin to be 'prob' or 'logit'"),  # type: ignore[arg-type]
        (lambda: Forgetting(never_learned="often"), "never_learned to be 'zero' or 'max'"),  # type: ignore[arg-type]
        (lambda: Entropy(view="test"), "view to be 'eval' or 'train'"),  # type: ignore[arg-type]
        (lambda: GraNd(view="test"), "view to be 'eval' or 'train'"),  # type: ignore[arg-type]
        (lambda: MeanProb(epochs=0), "epochs >= 1"),
    ],
)  # fmt: skip
def test_impossible_parameters_of_a_class(made: Callable[[], Scorer], message: str) -> None:
    """A class is built past what checks the parameters of a name."""
    with pytest.raises(InputError, match=message):
        made()


def test_unknown_names_and_text() -> None:
    with pytest.raises(UnknownNameError, match="one of aum, class_distance"):
        make_scorer("ttds")
    assert make_scorer("tdds", {"window": "5", "absolute": "false", "decay": "0.5"}) == TDDS(5, 0.5, absolute=False)


@dataclass(frozen=True)
class Greedy(Scorer):
    """A scorer that breaks the rules: it remembers every epoch. Source: none."""

    hard_end: ClassVar[HardEnd] = "high"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("loss",)

    def init(self, n: int) -> State:
        return {"all": np.zeros((0, n), dtype=np.float32)}

    def update(self, state: State, frame: Frame) -> None:
        row = np.zeros((1, frame.n), dtype=np.float32)
        row[0, frame.ids] = frame.values["loss"]
        state["all"] = np.concatenate([state["all"], row])

    def compute(self, state: State, pool: Pool) -> Any:
        return state["all"].sum(axis=0)

    def definition(self, values: Any, pool: Pool) -> Any:
        return np.nansum(values["loss"], axis=0)


def test_the_suite_sees_a_scorer_that_breaks_the_rules() -> None:
    with pytest.raises(AssertionError, match="changed"):
        check_scorer(Greedy())


@dataclass(frozen=True)
class Trusting(Greedy):
    """Sums the changes, and relies on what `update` is promised: no row is without a value. Source: the contract."""

    @property
    def needs(self) -> tuple[str, ...]:
        return ("change",)

    def init(self, n: int) -> State:
        return {"sum": np.zeros(n), "count": np.zeros(n)}

    def update(self, state: State, frame: Frame) -> None:
        state["sum"][frame.ids] += frame.values["change"]
        state["count"][frame.ids] += 1

    def compute(self, state: State, pool: Pool) -> Any:
        return np.where(state["count"] == 0, np.nan, state["sum"]).astype(np.float32)

    def definition(self, values: Any, pool: Pool) -> Any:
        return np.where(np.isnan(values["change"]).all(axis=0), np.nan, np.nansum(values["change"], axis=0))


def test_the_suite_shows_a_scorer_only_the_rows_that_a_recorder_does() -> None:
    check_scorer(Trusting())


@dataclass(frozen=True)
class Nothing(Greedy):
    """Computes nothing. Source: a mistake."""

    def compute(self, state: State, pool: Pool) -> Any:
        return None


@dataclass(frozen=True)
class Misspelt(Greedy):
    """Reads what is no signal. Source: a mistake."""

    @property
    def needs(self) -> tuple[str, ...]:
        return ("losss",)


@pytest.mark.parametrize(
    ("scorer", "message"), [(Nothing(), "scores are NoneType, not an array"), (Misspelt(), "one of .*, but got 'losss'")]
)
def test_the_suite_names_the_scorer_whatever_it_gives(scorer: Scorer, message: str) -> None:
    with pytest.raises(AssertionError, match=f"{scorer.name}: .*{message}"):
        check_scorer(scorer)


def test_the_suite_asks_for_an_instance() -> None:
    with pytest.raises(AssertionError, match="an instance of a class that extends Scorer, but got the class TDDS, without"):
        check_scorer(TDDS)  # type: ignore[arg-type]


class Undecorated(AUM):  # type: ignore[misc]
    """Has a field that is no parameter. Source: a mistake."""

    scale: float = 1.0


@dataclass(frozen=True)
class Endless(Greedy):
    """Does not say which end is hard. Source: a mistake."""

    hard_end: ClassVar[Any] = None


@dataclass(frozen=True)
class Demanding(Greedy):
    """Cannot be made by its name alone. Source: a mistake."""

    scale: float


@dataclass(frozen=True)
class Obscure(Greedy):
    """Has a parameter of a type that nobody knows. Source: a mistake."""

    scale: Unheard = 1.0  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (Obscure(), "the types of its parameters cannot be resolved: NameError: name 'Unheard'"),
        (Undecorated(), r"lacks @dataclass\(frozen=True\)"),
        (Endless(), "hard_end must be 'high' or 'low'"),
        (Demanding(2.0), "its parameter scale has no default"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_suite_sees_what_no_name_can_make(scorer: Scorer, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_scorer(scorer)


@dataclass(frozen=True)
class Open(Greedy):
    """Has a parameter that no text gives. Source: a mistake."""

    scale: float | None = None


def test_a_parameter_that_no_text_gives_says_so() -> None:
    assert build("scorer", {"open": Open}, "open", {}) == Open()
    with pytest.raises(InputError, match=r"open's scale cannot be given as text, since its type is float \| None"):
        build("scorer", {"open": Open}, "open", {"scale": "3"})


def test_a_scorer_that_lacks_its_definition_is_named() -> None:
    assert "does not define compute, definition" in fault_of(Scorer, Scorer)
