"""The named methods: what they mean, what was published for them, and what happens where a recording is short."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from thresher import methods
from thresher.errors import InputError, TooFewEpochsError, UnknownNameError
from thresher.methods import METHODS, card, parse_spec, resolve
from thresher.recorder import Recorder
from thresher.scorers import AUM, TDDS
from thresher.scorers._base import Scorer
from thresher.selectors.stratified import Stratified

NINE = ["random", "entropy", "forgetting", "el2n", "aum", "moderate", "ccs", "dyn_unc", "tdds"]


def test_the_studies_nine_and_more() -> None:
    assert list(METHODS)[:9] == NINE
    assert set(METHODS) - set(NINE) == {"grand", "dual", "dual_beta", "auto"}


@pytest.mark.parametrize(
    ("keep", "at", "window"), [(0.7, 70, 10), (0.5, 90, 10), (0.3, 80, 10), (0.2, 30, 10), (0.1, 10, 5)]
)
def test_tdds_takes_the_published_settings_of_cifar10(keep: float, at: int, window: int) -> None:
    found = resolve("tdds", "cifar10", keep, epochs_available=200)
    assert (found.at, found.scorer) == (at, TDDS(window=window))
    assert f"T={at}, K={window}: published for cifar10/resnet18" in found.notice


def test_imagenet_and_cifar100_settings() -> None:
    imagenet = resolve("tdds", "imagenet", 0.3)
    assert (imagenet.at, imagenet.scorer.params()["window"]) == (30, 20)
    cifar100 = resolve("tdds", "cifar100", 0.7)
    assert (cifar100.at, cifar100.scorer.params()["window"]) == (90, 10)
    assert "inference" in resolve("tdds", "cifar100", 0.1).notice
    between = resolve("tdds", "cifar10", 0.15)
    assert "the nearest to 85 %" in between.notice


@pytest.mark.parametrize(("keep", "at"), [("0.75", 200), ("0.7", 180), ("0.6", 150), ("0.5", 100)])
def test_a_swin_has_settings_of_its_own_on_imagenet(keep: str, at: int) -> None:
    found = resolve("tdds", "imagenet", keep, epochs_available=300, surrogate="swin_t")
    assert (found.at, found.scorer) == (at, TDDS(window=10))
    assert "published for imagenet1k/swin_t" in found.notice


@pytest.mark.parametrize("model", ["resnet34_imagenet", "timm:resnet50", None])
def test_other_surrogates_get_the_settings_of_resnet34(model: str | None) -> None:
    found = resolve("tdds", "imagenet", 0.5, epochs_available=90, surrogate=model)
    assert (found.at, "imagenet1k/resnet34" in found.notice) == (20, True)


@pytest.mark.parametrize("method", ["tdds", "ccs", "dual_beta"])
@pytest.mark.parametrize("data", ["cifar10", "cifar100", "imagenet"])
def test_changed_data_get_the_settings_of_their_data_set(method: str, data: str) -> None:
    plain = resolve(method, data, 0.3)
    for change in ("corrupt=intended", "mislabel=0.2:seed=1", "corrupt=intended:share=0.1+mislabel=0.2+holdout=0.1"):
        changed = resolve(method, f"{data}+{change}", 0.3)
        assert (changed.scorer, changed.selector, changed.at) == (plain.scorer, plain.selector, plain.at)
    resized = resolve(method, f"{data}:size=64+mislabel=0.2", 0.3)
    assert (resized.scorer, resized.selector, resized.at) == (plain.scorer, plain.selector, plain.at)


def test_other_data_gets_the_end_of_the_recording() -> None:
    found = resolve("tdds", "digits", 0.1, epochs_available=30)
    assert (found.at, found.scorer.params()["window"]) == (None, 10)
    assert "no (T, K) is published for digits" in found.notice


def test_what_is_given_wins() -> None:
    found = resolve("tdds:window=7:at=25:decay=0.5", "cifar10", 0.1, epochs_available=30)
    assert (found.at, found.scorer) == (25, TDDS(window=7, decay=0.5))
    assert found.notice == ""
    ccs = resolve("ccs:cutoff=0.2:strata=20", "cifar10", 0.1)
    assert ccs.selector == Stratified(cutoff=0.2, strata=20)
    stratified = resolve("el2n:selector=stratified", "cifar10", 0.1)
    assert stratified.selector == Stratified()


@pytest.mark.parametrize(
    ("data", "keep", "cutoff"),
    [
        *zip(["cifar10"] * 5, (0.7, 0.5, 0.3, 0.2, 0.1), (0.0, 0.0, 0.1, 0.1, 0.3), strict=True),
        *zip(["cifar100"] * 5, (0.7, 0.5, 0.3, 0.2, 0.1), (0.1, 0.2, 0.2, 0.4, 0.5), strict=True),
        *zip(["imagenet"] * 5, (0.7, 0.5, 0.3, 0.2, 0.1), (0.0, 0.1, 0.2, 0.2, 0.3), strict=True),
    ],
)
def test_ccs_cuts_what_was_published(data: str, keep: float, cutoff: float) -> None:
    found = resolve("ccs", data, keep)
    assert (found.scorer, found.selector) == (AUM(), Stratified(cutoff=cutoff))
    confirmed = (data, keep) in [("cifar10", 0.1), ("imagenet", 0.2), ("imagenet", 0.1)]  # in the official README
    assert ("not verified" in found.notice) is not confirmed


def test_dual_beta_brings_its_second_score() -> None:
    found = resolve("dual_beta", "cifar10", 0.1, epochs_available=20)
    assert found.scorer.params()["epochs"] == 20
    assert found.aux_scorers["mean_prob"].params() == {"epochs": 20}
    assert found.selector.params()["c_d"] == 5.5


def test_short_recordings_shorten_what_was_not_asked_for() -> None:
    found = resolve("tdds", "cifar10", 0.5, epochs_available=8)
    assert (found.at, found.scorer.params()["window"]) == (None, 8)
    assert "only 8 epochs are recorded" in found.notice
    assert "window shortened from 10 to 8" in found.notice
    assert resolve("el2n", "cifar10", 0.5, epochs_available=8).scorer.params() == {"epochs": 8}
    assert resolve("dyn_unc", "cifar10", 0.5, epochs_available=8).scorer.params()["window"] == 7


@pytest.mark.parametrize(
    ("label", "error", "message"),
    [
        ("nonsense", UnknownNameError, "one of random, entropy"),
        ("tdds:wndow=5", InputError, "parameter wndow.*selector"),
        ("tdds:window", InputError, "Expected a method such as"),
        ("tdds:window=5:window=6", InputError, "Expected a method such as"),
        ("tdds:at=ten", InputError, "whole number"),
        pytest.param("tdds:at=" + "9" * 5000, InputError, "whole number", id="far too many digits"),
        ("tdds:at=31", TooFewEpochsError, "for 31 epochs, but 30"),
        ("tdds:window=31", TooFewEpochsError, "needs at least 31 epochs, but is scored after 30"),
        ("tdds:window=12:at=10", TooFewEpochsError, "needs at least 12 epochs, but is scored after 10"),
        ("tdds:window=2", InputError, "window >= 3"),
        ("tdds:selector=stratifed", UnknownNameError, "Expected a selector.*did you mean stratified"),
        ("last_los", UnknownNameError, r"or a scorer, class_distance.*did you mean last_loss\?"),
        ("uniform", UnknownNameError, "is a selector. Combine it with a method: tdds:selector=uniform"),
        ("random:seed=2", InputError, "random without parameters, since its draw follows the run's seed"),
    ],
)
def test_labels_that_mean_nothing(label: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        resolve(label, "cifar10", 0.1, epochs_available=30)


@pytest.mark.parametrize("keep", [0, 1.5, -0.1])
def test_keep_outside(keep: Any) -> None:
    with pytest.raises(InputError, match="share in"):
        resolve("tdds", "cifar10", keep)


@pytest.mark.parametrize("name", METHODS)
def test_every_card_says_what_one_needs(name: str) -> None:
    text = card(name)
    for word in ("computes", "direction", "parameters", "source"):
        assert f"\n{word}" in text, word
    assert max(map(len, text.splitlines())) <= 125


def test_scorers_without_a_method_of_their_own() -> None:
    found = resolve("mean_prob", "digits", 0.1)
    assert (found.scorer.name, found.selector.name) == ("mean_prob", "top")
    assert parse_spec("mean_prob") == ("mean_prob", {})


def test_the_card_of_a_scorer_is_what_its_docstring_says() -> None:
    text = card("last_loss")
    assert "Fails: when used to keep the hardest samples" in text
    assert "Source: Z. Qin et al." in text
    assert "keeps the highest scores" in text


def test_a_selector_has_a_card_too() -> None:
    text = card("stratified")
    assert text.startswith("stratified: a selector, for the scores of any method (el2n:selector=stratified)")
    assert "parameters  selector stratified(cutoff=0.0, strata=50, balanced=False)" in text
    assert ">>>" not in text + card("last_loss")


def test_notices_tell_what_was_picked_and_nothing_else() -> None:
    """Half an override leaves the other half published, and said; a selector that is not used is not spoken of."""
    half = resolve("tdds:window=4", "cifar10", 0.1)
    assert (half.at, half.scorer.params()["window"]) == (10, 4)
    assert half.notice.endswith("published for cifar10/resnet18 at 90 % pruned, but window=4 as asked for")
    assert resolve("ccs:selector=top", "cifar10", 0.1).notice == ""
    assert resolve("ccs:cutoff=0.2", "cifar10", 0.1).notice == ""
    assert resolve("dual:at=40", "cifar10", 0.1, 200).notice == ""
    assert "c_d=11" not in resolve("dual_beta:c_d=2", "imagenet", 0.1).notice
    assert "60 epochs" in resolve("dual_beta:c_d=2", "imagenet", 0.1).notice


def test_a_window_longer_than_the_published_epochs() -> None:
    found = resolve("tdds:window=20", "cifar10", 0.1)
    assert (found.at, found.scorer) == (None, TDDS(window=20))
    assert "no window of 20: scored at the end" in found.notice


def test_what_a_selector_reads_comes_along() -> None:
    found = resolve("dual:selector=beta", "digits", 0.1, epochs_available=12)
    assert {key: scorer.params() for key, scorer in found.aux_scorers.items()} == {"mean_prob": {"epochs": 12}}
    assert resolve("el2n:selector=beta", "digits", 0.1).aux_scorers["mean_prob"].params() == {"epochs": 30}
    assert resolve("dual_beta:selector=top", "digits", 0.1).aux_scorers == {}
    early = resolve("auto:at=12", "digits", 0.1).columns
    assert {key: (scorer.name, at) for key, (scorer, at) in early.items()} == {
        "": ("tdds", 12), "correctness": ("correctness", 12), "logit_margin": ("aum", 12),
    }  # fmt: skip


@pytest.mark.parametrize(("label", "window"), [("dyn_unc", 9), ("dyn_unc:exclude_last=false", 10), ("tdds:at=4", 4)])
def test_windows_are_shortened_by_what_is_missing(label: str, window: int) -> None:
    assert resolve(label, "digits", 0.1, epochs_available=10).scorer.params()["window"] == window


@pytest.mark.parametrize(
    ("label", "epochs", "least"), [("tdds", 1, 3), ("dyn_unc", 2, 3), ("el2n:epochs=20", 10, 20), ("dual", 1, 2)]
)
def test_too_few_epochs_are_refused_before_scoring(label: str, epochs: int, least: int) -> None:
    """The message has the least number of epochs, and no window that nobody gave."""
    with pytest.raises(TooFewEpochsError, match=f"^{label} needs at least {least} epochs, but is scored after {epochs}"):
        resolve(label, "cifar10", 0.1, epochs_available=epochs)


def test_a_huge_window_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying one number of epochs after another took forever: found by the suite of faults."""
    tries: list[int] = []
    fits = methods._fits

    def counted(scorer: Scorer, asked: set[str], limit: int) -> bool:
        tries.append(limit)
        assert len(tries) < 1000
        return fits(scorer, asked, limit)

    monkeypatch.setattr(methods, "_fits", counted)
    with pytest.raises(TooFewEpochsError, match=f"needs at least {6 * 10**31} epochs"):
        resolve(f"tdds:window={6 * 10**31}", "cifar10", 0.1, epochs_available=30)


def test_the_last_evaluation_pass_is_asked_at_the_end_only() -> None:
    assert resolve("moderate:at=3", "digits", 0.1, epochs_available=3).at == 3
    with pytest.raises(InputError, match="moderate:at=2 reads the features of the last evaluation pass"):
        resolve("moderate:at=2", "digits", 0.1, epochs_available=3)


def test_ccs_never_cuts_more_than_is_pruned() -> None:
    found = resolve("ccs", "cifar100", 0.95)
    assert found.selector == Stratified(cutoff=0.05)
    assert "lowered to 0.05" in found.notice


@pytest.mark.parametrize("label", ["auto", "dual_beta", "ccs", "tdds:window=3", "random"])
def test_a_method_selects_from_a_recorder_of_its_own_scorers(label: str) -> None:
    rng = np.random.default_rng(0)
    method = resolve(label, "mine", 0.25)
    recorder = Recorder(80, 4, method.scorers)
    targets = np.arange(80) % 4
    for _ in range(12):
        recorder.update(rng.normal(size=(80, 4)).astype(np.float32), targets, np.arange(80))
        recorder.end_epoch()
    chosen = method.select(recorder.scores(), recorder.pool(), 0.25, seed=1, source={"data": "mine"})
    assert len(chosen) == 20
    assert (chosen.source["method"], chosen.source["data"]) == (label, "mine")
    assert set(chosen.source.get("also_read", {})) == set(method.aux_scorers)
    with pytest.raises(InputError, match=r"scorers=method\.scorers"):
        method.select({}, recorder.pool(), 0.25)
