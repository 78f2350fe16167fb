"""Signals: the few numbers per sample and epoch that nearly every pruning method reads.

Each signal is a pure function of one batch's outputs, `(B, C) -> (B,)`, written once for both NumPy arrays and torch
tensors (through array-api-compat), and computed once per batch however many scorers read it. `SIGNALS` lists them with
range, unit and meaning. Two of them, `change` and `signed_change`, need memory: the guarded log-probabilities of the
previous epoch, which the Recorder keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from array_api_compat import array_namespace

from thresher.errors import UnknownNameError

Array = Any  # a NumPy array or a torch tensor
LOG_GUARD = 1e-8
"""Added to every probability inside TDDS's logarithms, and only there (official code, see methods: TDDS)."""
ENTROPY_GUARD = 1e-10
"""Added inside the logarithm of the entropy (CCS's official code for Coleman et al. 2020)."""


class Outputs:
    """One batch's logits and quantities derived from them, each computed at most once.

    `logits` (B, C) float32; `targets` (B,) integer; `features` (B, D) or None; `previous` (B, C) guarded
    log-probabilities `ln(p + 1e-8)` of the same samples one epoch earlier, with NaN rows for samples without one, or None.
    """

    def __init__(self, logits: Array, targets: Array, features: Array = None, previous: Array = None) -> None:
        self.xp = array_namespace(logits)
        self.logits, self.targets, self.features, self.previous = logits, targets, features, previous

    @cached_property
    def probs(self) -> Array:
        """(B, C) softmax of the logits over the classes."""
        xp = self.xp
        if hasattr(xp, "softmax"):  # torch: one pass over the batch instead of five
            return xp.softmax(self.logits, 1)
        exp = xp.exp(self.logits - xp.max(self.logits, axis=1, keepdims=True))
        exp /= xp.sum(exp, axis=1, keepdims=True)
        return exp

    @cached_property
    def guarded_log_probs(self) -> Array:
        """(B, C) `ln(p + 1e-8)`; between -18.43 and 0."""
        guarded = self.probs + LOG_GUARD
        return self.xp.log(guarded, out=guarded)

    @cached_property
    def changes(self) -> Array:
        """(B, C) `p (ln(p + e) - ln(p' + e))`, each class's contribution to the change; p' is one epoch earlier."""
        changes = self.guarded_log_probs - self.previous
        changes *= self.probs
        return changes

    @cached_property
    def target_index(self) -> Array:
        """(B, 1) int64 column of each sample's own class."""
        return self.xp.astype(self.targets, self.xp.int64)[:, None]

    @cached_property
    def target_prob(self) -> Array:
        """(B,) probability of the sample's own class."""
        return self.xp.take_along_axis(self.probs, self.target_index, axis=1)[:, 0]

    @cached_property
    def target_logit(self) -> Array:
        """(B,) logit of the sample's own class."""
        return self.xp.take_along_axis(self.logits, self.target_index, axis=1)[:, 0]

    @cached_property
    def onehot(self) -> Array:
        """(B, C) bool: True in the column of the sample's own class."""
        classes = self.xp.arange(self.logits.shape[1], device=getattr(self.logits, "device", None))
        return classes[None, :] == self.target_index

    def largest_other(self, values: Array) -> Array:
        """(B,) the largest of the values (B, C) of other classes than the sample's own."""
        return self.xp.max(self.xp.where(self.onehot, -self.xp.inf, values), axis=1)


@dataclass(frozen=True)
class Signal:
    """One row of the table: `fn(Outputs) -> (B,)`, its range `[low, high]`, unit and meaning."""

    name: str
    fn: Callable[[Outputs], Array]
    low: float
    high: float
    unit: str
    doc: str


def correct(out: Outputs) -> Array:
    """1 if the largest logit is the target's (the first wins a tie), else 0."""
    hit = out.xp.argmax(out.logits, axis=1) == out.target_index[:, 0]
    return out.xp.astype(hit, out.logits.dtype)


def loss(out: Outputs) -> Array:
    """Cross-entropy `-ln q`, computed from the logits so that it stays finite."""
    xp = out.xp
    largest = xp.max(out.logits, axis=1, keepdims=True)
    own = out.target_logit - largest[:, 0]
    return xp.log(xp.sum(xp.exp(out.logits - largest), axis=1)) - own


def target_prob(out: Outputs) -> Array:
    """`q = p[y]`, the probability of the sample's own class."""
    return out.target_prob


def prob_margin(out: Outputs) -> Array:
    """`p[y] - max_{c != y} p[c]`."""
    return out.target_prob - out.largest_other(out.probs)


def logit_margin(out: Outputs) -> Array:
    """`z[y] - max_{c != y} z[c]`."""
    return out.target_logit - out.largest_other(out.logits)


def error_norm(out: Outputs) -> Array:
    """`|| p - onehot(y) ||_2` (Paul et al. 2021)."""
    xp = out.xp
    difference = out.probs - xp.astype(out.onehot, out.probs.dtype)
    return xp.sqrt(xp.sum(difference * difference, axis=1))


def entropy(out: Outputs) -> Array:
    """`-sum_c p ln(p + 1e-10)`."""
    return -out.xp.sum(out.probs * out.xp.log(out.probs + ENTROPY_GUARD), axis=1)


def change(out: Outputs) -> Array:
    """`sum_c | p (ln(p + e) - ln(p' + e)) |`, p' one epoch earlier: TDDS's first depth, with the absolute value inside."""
    return out.xp.linalg.vector_norm(out.changes, axis=1, ord=1)


def signed_change(out: Outputs) -> Array:
    """`sum_c p (ln(p + e) - ln(p' + e))`: the Kullback-Leibler form, in which terms of opposite sign cancel."""
    return out.xp.sum(out.changes, axis=1)


def feature_norm(out: Outputs) -> Array:
    """`|| h ||_2` of the penultimate features."""
    return out.xp.sqrt(out.xp.sum(out.features * out.features, axis=1))


_INF = float("inf")
_BELOW_0 = -1e-4
"""The guard lets the Kullback-Leibler form fall below 0, by at most 3.4e-9 a class: -3e-6 with 1 000, -7e-5 with 21 841."""
SIGNALS: dict[str, Signal] = {
    s.name: s
    for s in (
        Signal("correct", correct, 0, 1, "0 or 1", "classified correctly"),
        Signal("loss", loss, 0, _INF, "nat", "cross-entropy"),
        Signal("target_prob", target_prob, 0, 1, "probability", "probability of the own class"),
        Signal("prob_margin", prob_margin, -1, 1, "probability", "own class's probability minus the largest other"),
        Signal("logit_margin", logit_margin, -_INF, _INF, "logit", "own class's logit minus the largest other"),
        Signal("error_norm", error_norm, 0, 2**0.5, "1", "L2 norm of the error vector"),
        Signal("entropy", entropy, 0, _INF, "nat", "entropy of the prediction"),
        Signal("change", change, 0, 18.43, "nat", "absolute change of the prediction since the previous epoch"),
        Signal("signed_change", signed_change, _BELOW_0, 18.43, "nat", "KL of the prediction from the previous epoch's"),
        Signal("feature_norm", feature_norm, 0, _INF, "1", "L2 norm of the penultimate features"),
    )
}
EVAL_PREFIX = "eval_"
"""A signal of the optional evaluation pass (model in eval mode, no augmentation) carries this prefix."""
REMEMBERING = frozenset({"change", "signed_change"})
FEATURE_SIGNALS = frozenset({"feature_norm"})


def resolve(name: str) -> Signal:
    """Return the signal behind `name`, which may carry the `eval_` prefix. Raises UnknownNameError.

    >>> resolve("eval_entropy").name
    'entropy'
    """
    base = name.removeprefix(EVAL_PREFIX)
    if base not in SIGNALS:
        raise UnknownNameError(f"Expected a signal, one of {sorted(SIGNALS)}, but got {name!r}.")
    if base != name and base in REMEMBERING:
        raise UnknownNameError(f"Expected a signal of one evaluation pass, but got {name!r}: {base} needs the previous one.")
    return SIGNALS[base]


def computable(evaluated: Iterable[str], with_features: bool) -> list[str]:
    """Return the names without their prefix of those signals of an evaluation pass that can be computed from a batch.

    >>> computable(["eval_entropy", "eval_feature_norm"], with_features=False)
    ['entropy']
    """
    plain = (name.removeprefix(EVAL_PREFIX) for name in evaluated)
    return [name for name in plain if with_features or name not in FEATURE_SIGNALS]


def compute(out: Outputs, names: Iterable[str]) -> dict[str, Array]:
    """Compute the named signals of one batch: `{name: (B,)}`.

    >>> import numpy as np
    >>> out = Outputs(np.array([[0.0, 0.0]], dtype=np.float32), np.array([1]))
    >>> compute(out, ["target_prob", "correct"])
    {'target_prob': array([0.5], dtype=float32), 'correct': array([0.], dtype=float32)}
    """
    return {name: resolve(name).fn(out) for name in names}
