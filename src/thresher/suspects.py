"""Suspects: samples whose labels the training argued against, distinguished from hard ones by two humps of the margins.

A network that does not yet fit wrong labels gives such a sample a margin well below zero, epoch after epoch: it sees
another class. With wrong labels in the data the mean margins have a separate hump there; without, they have one hump
with a tail, and a tail is no evidence. So the share of wrong labels is estimated first, and no sample is suspected if the
two humps cannot be told apart.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from thresher.arrays import as_whole_array, same_fields
from thresher.errors import InputError
from thresher.types import Floats

if TYPE_CHECKING:  # scikit-learn takes a second to import
    from sklearn.mixture import GaussianMixture

SEPARATION = 2.0
"""Ashman's D from which two normal humps count as two (Ashman, Bird and Zepf 1994)."""
FEWEST = 50
"""Fewer samples say nothing about humps; up to a few hundred say it with errors, see `find_suspects`."""
DIP = 0.9
"""The highest density in a valley between two humps, as a share of the lower one's height."""
SMALL = 0.25
"""The largest share of the samples in a hump without a dip; the halves of a flat distribution hold more."""
_ENDS = 0.001  # the share of the samples at either end in which no valley is looked for: there a gap is soon found
_MOST, _DENSITY = 200_000, 5_000  # samples that the mixture and the density are made from; more change nothing that matters


@dataclass(frozen=True, eq=False, repr=False)
class Suspects:
    """What the margins say about the labels.

    `margins` (N,) float32: the input. `mask` (N,) bool: the suspects. `wrong` (N,) float32 in [0, 1]: the mixture's
    probability that a sample belongs to the lower hump, 0 for all if no sample is suspected. `share`: the estimated share of
    wrong labels, the mean of `wrong`. `separation`: Ashman's D of the two humps, `centres` their means (of the lower and
    the upper one), in logits. `reason`: why no sample is suspected, "" if some are.
    """

    margins: Floats
    mask: NDArray[np.bool_]
    wrong: Floats
    share: float
    separation: float
    centres: tuple[float, float]
    reason: str = ""

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, Suspects) else NotImplemented

    def __repr__(self) -> str:
        why = f": {self.reason}" if self.reason else f", share of wrong labels {self.share:.3g}"
        return f"<Suspects: {int(self.mask.sum())} of {len(self.mask)} samples{why}>"

    def to_json(self) -> dict[str, Any]:
        """Return plain values: how many, the share, separation and centres."""
        return {
            "suspects": int(self.mask.sum()),
            "share": round(self.share, 4),
            "separation": round(self.separation, 2),
            "centres": [round(centre, 3) for centre in self.centres],
        }


def find_suspects(margins: Floats) -> Suspects:
    """Return the suspects by mean logit margin over a recording (`AUM(margin="logit")`), (N,), low = argued against.

    Fits a mixture of two normal distributions with centres m1 < m2. The suspects are the samples that more likely belong to
    the lower hump, if all of the following holds; otherwise there are none:
    - the two are separate: Ashman's D = (m2 - m1) / sqrt((s1^2 + s2^2) / 2) > 2;
    - the lower one is argued against: m1 < 0;
    - it is a hump of its own, not half of a broad one: between the centres the density of the margins dips to under 0.9 of
      the lower peak. A small hump on a slope makes no dip; it also counts if it holds under a quarter of the samples and is
      argued against more than the others are argued for, m1 < -m2. The outermost thousandth of the samples at either end is
      not searched for a valley, so a hump of one or two samples in a thousand cannot be told from a tail, however far out.
    Below m1 no sample is less suspect than one with a higher margin, even where the tail of a wide upper hump reaches that
    far. Label noise that depends on the sample (a class that is systematically labelled as another) may form no separate
    hump and is not found. If the humps overlap, the start of the fit, and so the order of the samples, affects the samples
    between them: of CIFAR-100 with 20 % wrong labels, shuffled, 8 745 to 9 037 were suspected (decision 0022).
    In a few samples humps arise by chance. Of simulated sets with a single hump, normal (1 ± 2) or with a tail below 0, at
    most 28 % had suspects with 50 samples, 19 % with 100, 3 % with 300 and none with 1 000. Margins spread evenly over -5 to
    5 have no hump, yet 44 % of such sets had suspects with 300 samples, 27 % with 1 000 and 7 % with 5 000.

    Raises InputError if a margin is NaN, infinite or masked, or there is not one per sample.

    Source: the margin as evidence is Pleiss et al. 2020 (AUM); the two-component mixture over training dynamics is Arazo
    et al. 2019, there with Beta distributions of the loss; Ashman, Bird and Zepf 1994 for when two humps are two.
    Differences: no second training with a fake class (AUM's threshold); by default no sample is suspected.

    >>> rng = np.random.default_rng(0)
    >>> margins = np.concatenate([rng.normal(3, 1, 800), rng.normal(-3, 1, 200)]).astype(np.float32)
    >>> found = find_suspects(margins)
    >>> int(found.mask[800:].sum()), int(found.mask[:800].sum()), round(found.share, 2)
    (200, 2, 0.2)
    >>> find_suspects(margins[:800]).share
    0.0
    """
    margins = _checked(margins)
    values = margins.astype(np.float64)
    if len(values) < FEWEST or np.ptp(values) == 0:
        mean = float(values.mean()) if len(values) else 0.0
        few = f"too few samples to tell two humps from one: {len(values)}, not at least {FEWEST}"
        reason = few if len(values) < FEWEST else "the margins are all the same"
        return _nobody(margins, 0.0, (mean, mean), reason)
    mixture = _fit(_some(values, _MOST))
    centres, spreads = mixture.means_[:, 0], mixture.covariances_[:, 0, 0]
    separation = float(abs(centres[0] - centres[1]) / np.sqrt(spreads.mean()))
    low = int(centres.argmin())
    pair = (float(centres[low]), float(centres[1 - low]))
    reason = _why_no_hump(values, pair, separation, float(mixture.weights_[low]))
    if reason:
        return _nobody(margins, separation, pair, reason)
    wrong = _tails_cut(mixture.predict_proba(values[:, None])[:, low], values, pair)
    if not (wrong > 0.5).any():
        return _nobody(margins, separation, pair, "no sample more likely belongs to the lower hump")
    return Suspects(margins, wrong > 0.5, wrong.astype(np.float32), float(wrong.mean()), separation, pair)


def _checked(margins: Floats) -> Floats:
    """Return margins as float32. Raises InputError unless they are one finite number per sample."""
    whole = as_whole_array(margins, "margins")
    try:
        values = np.asarray(whole, dtype=np.float32)
    except (TypeError, ValueError):  # texts
        raise InputError(f"Expected numeric margins, but got a {type(margins).__name__} with other values.") from None
    if values.ndim != 1:
        raise InputError(
            f"Expected margins of shape (N,), one per sample, but got {values.shape}. Average them over the epochs."
        )
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values))
        raise InputError(
            f"Expected a finite margin for every sample, but {len(bad)} of {len(values)} have none: sample {bad[0]} has "
            f"{values[bad[0]]}. Record every sample at least once: with drop_last=False, or for more epochs."
        )
    return values


def _fit(values: NDArray[np.float64]) -> GaussianMixture:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    starts = np.quantile(values, [0.05, 0.6])[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a poor fit has no separation, which is looked at
        return GaussianMixture(2, means_init=starts, max_iter=500, tol=1e-5, random_state=0).fit(values[:, None])


def _why_no_hump(values: NDArray[np.float64], centres: tuple[float, float], separation: float, weight: float) -> str:
    """Return why the lower component of the mixture is no hump of wrong labels, "" if it is one.

    `centres` are those of the lower and the upper component, `weight` is the share of the samples in the lower one.
    """
    low, high = centres
    if separation <= SEPARATION:
        return f"the logit margins have one hump: separation {separation:.1f}, not over {SEPARATION:g}"
    if low >= 0:
        return f"the lower of two humps is argued for, by {low:.1f} logits"
    on_a_slope = low < -high and weight < SMALL
    if on_a_slope or _dips(values, low, high):
        return ""
    if low < np.quantile(values, _ENDS):
        count = round(weight * len(values))
        return f"the lower of two humps holds about {count} of {len(values)} samples, too few to be told from a tail"
    return "the logit margins have one broad hump, without a valley"


def _tails_cut(
    wrong: NDArray[np.float64], values: NDArray[np.float64], centres: tuple[float, float]
) -> NDArray[np.float64]:  # fmt: skip
    """Return the probabilities of the lower hump without the tails that a wider hump has beyond the other's centre.

    Below the lower centre they never fall as the margins do; from the upper centre on they are 0.
    """
    low, high = centres
    below = np.flatnonzero(values <= low)
    below = below[np.argsort(-values[below])]
    cut = wrong.copy()
    cut[below] = np.maximum.accumulate(wrong[below])
    cut[values >= high] = 0.0
    return cut


def _some(values: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Return at most `most` values, spread evenly over the sorted ones: whose sample has which id says nothing."""
    step = -(-len(values) // most)
    return values if step == 1 else np.sort(values)[step // 2 :: step]


def _dips(values: NDArray[np.float64], low: float, high: float) -> bool:
    """Whether the density has a valley between the two centres."""
    from scipy.stats import gaussian_kde

    grid = np.linspace(np.quantile(values, _ENDS), np.quantile(values, 1 - _ENDS), 256)
    density = gaussian_kde(_some(values, _DENSITY))(grid)
    between = np.flatnonzero((grid > low) & (grid < high))
    if not len(between):
        return False
    valley = between[density[between].argmin()]
    return bool(density[valley] < DIP * min(density[: valley + 1].max(), density[valley:].max()))


def _nobody(margins: Floats, separation: float, centres: tuple[float, float], reason: str) -> Suspects:
    n = len(margins)
    return Suspects(margins, np.zeros(n, dtype=bool), np.zeros(n, dtype=np.float32), 0.0, separation, centres, reason)
