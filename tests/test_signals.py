"""Signals against worked values: the small trajectory whose numbers every method's golden test uses."""

import numpy as np
import pytest
import torch

from thresher import signals
from thresher.errors import UnknownNameError

T, N, C = 5, 3, 3
GOLDEN = {
    "target_prob": [[0.079716, 0.570454, 0.836073, 0.291705, 0.028918], [0.502554, 0.051550, 0.047037, 0.123050, 0.797827],
                    [0.101813, 0.722440, 0.684822, 0.037242, 0.036951]],
    "change": [[1.305022, 0.470824, 1.768604, 0.427874], [0.732862, 2.569593, 0.315970, 1.817448],
               [1.739882, 0.851584, 1.298337, 1.545733]],
    "signed_change": [[0.940245, 0.168408, 1.154289, 0.259460], [0.498087, 1.922268, 0.229162, 1.296856],
                      [1.091359, 0.617781, 1.049831, 0.939680]],
    "correct": [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1], [0, 1, 1, 0, 0]],
}  # fmt: skip


def trajectory() -> np.ndarray:
    t, i, c = np.meshgrid(np.arange(T), np.arange(N), np.arange(C), indexing="ij")
    return 2 * np.sin(1.3 * t + 0.7 * i * (c + 1) + c)


def record(convert) -> dict[str, np.ndarray]:
    targets, previous, rows = convert(np.arange(N)), convert(np.full((N, C), np.nan)), []
    for logits in trajectory():
        out = signals.Outputs(convert(logits), targets, convert(logits), previous)
        rows.append({k: np.asarray(v) for k, v in signals.compute(out, signals.SIGNALS).items()})
        previous = out.guarded_log_probs
    return {name: np.stack([row[name] for row in rows]) for name in signals.SIGNALS}


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("name", GOLDEN)
def test_signal_equals_worked_values(name, convert):
    values = record(convert)[name]
    expected = np.array(GOLDEN[name]).T
    np.testing.assert_allclose(values[-len(expected) :], expected, atol=1e-6)


@pytest.mark.parametrize("name", signals.SIGNALS)
def test_range_holds_and_backends_agree(name):
    ours, theirs = record(np.asarray)[name], record(torch.as_tensor)[name]
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    seen = ours[np.isfinite(ours)]
    signal = signals.SIGNALS[name]
    assert len(seen)
    assert (seen >= signal.low).all()
    assert (seen <= signal.high).all()


def test_ranges_are_wide_enough_for_extreme_outputs():
    """Sure of the own class, sure of another one, undecided; features of 0."""
    logits = np.array([[90.0, 0, 0], [0, 90, 0], [0, 0, 0]], dtype=np.float32)
    before = np.log(np.array([[0, 1, 0], [1, 0, 0], [1 / 3] * 3]) + 1e-8).astype(np.float32)
    out = signals.Outputs(logits, np.zeros(3, dtype=np.int64), np.zeros((3, 2), np.float32), before)
    for name, values in signals.compute(out, signals.SIGNALS).items():
        signal = signals.SIGNALS[name]
        assert ((values >= signal.low) & (values <= signal.high)).all(), name


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("classes", [3, 1000, 20_000])
def test_the_signed_change_falls_below_0_by_what_the_guard_does_for_every_class(classes, convert):
    """Sure of a class, then 0.77 of the guard in every other one, where u ln(1 + u) - u is least."""
    probs = np.full((1, classes), 0.77e-8)
    probs[0, 0] = 1 - probs[0, 1:].sum()
    before = np.log(np.eye(1, classes) + signals.LOG_GUARD).astype(np.float32)
    out = signals.Outputs(convert(np.log(probs).astype(np.float32)), convert(np.zeros(1, np.int64)), None, convert(before))
    found = float(signals.signed_change(out)[0])
    assert signals.SIGNALS["signed_change"].low <= found <= 1e-6
    assert found == pytest.approx(-3.3e-9 * classes, rel=0.25, abs=1e-6)


def test_unknown_signal_names_the_choices():
    with pytest.raises(UnknownNameError, match="target_prob"):
        signals.resolve("tp")


def test_what_needs_the_epoch_before_is_no_signal_of_the_evaluation_pass():
    with pytest.raises(UnknownNameError, match="'eval_change': change needs the previous one"):
        signals.resolve("eval_change")
