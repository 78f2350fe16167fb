"""The named methods of the literature: which scorer with which selector, and what was published about them.

This is only the table; `methods` fills in the published settings and makes it run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from thresher.settings import published
from thresher.settings.published import Published


@dataclass(frozen=True)
class Method:
    """A scorer and a selector that the literature knows by one name.

    `scorer_params` and `selector_params` are what the method fixes beyond their defaults; `aux` maps the names of further
    scores the selector reads (`pool.aux`) to scorers, with parameters after colons; `settings(dataset, share,
    surrogate)` gives what was published for a case.
    """

    name: str
    title: str
    scorer_name: str
    selector_name: str = "top"
    computes: str = ""
    formula: str = ""
    direction: str = "keeps the highest scores"
    settings_text: str = ""
    paper: str = ""
    differences: str = ""
    scorer_params: Mapping[str, Any] = field(default_factory=dict)
    selector_params: Mapping[str, Any] = field(default_factory=dict)
    aux: Mapping[str, str] = field(default_factory=dict)
    settings: Callable[[str, Fraction, str | None], Published] | None = None


_TABLE = (
    Method(
        "random",
        "uniform draw, the baseline",
        "random",
        "uniform",
        computes="Nothing: a new uniform draw without replacement for every seed.",
        direction="keeps any",
        paper="the baseline of every study",
    ),
    Method(
        "entropy",
        "uncertain at the end of training (Coleman et al. 2020)",
        "entropy",
        computes="The entropy of the trained network's prediction, evaluation mode, no augmentation.",
        formula="s = - sum_c p_c ln(p_c + 1e-10)",
        paper="C. Coleman et al., Selection via Proxy, ICLR 2020; constants from CCS's official code",
        differences="inputs are normalised as in training, which CCS's code omits",
    ),
    Method(
        "forgetting",
        "learned, then forgotten (Toneva et al. 2019)",
        "forgetting",
        computes="How often a sample is misclassified after having been right at its previous presentation.",
        formula="F = #{ t >= 1 : correct[t-1] and not correct[t] }",
        settings_text="never-learned samples count 0, as in the published tables; never_learned=max is Toneva's rule",
        paper="M. Toneva et al., ICLR 2019, Algorithm 1; the rule for never-learned samples from CCS's official code",
        differences="one run, where Toneva sums five",
    ),
    Method(
        "el2n",
        "norm of the early error vector (Paul et al. 2021)",
        "el2n",
        computes="The L2 norm of prediction minus one-hot label, averaged over the first ten epochs.",
        formula="s = mean_{t<10} || p[t] - onehot(y) ||_2",
        settings_text="10 epochs",
        paper="M. Paul et al., Deep Learning on a Data Diet, NeurIPS 2021, Definition 2.2; train-mode form from CCS's code",
        differences="a mean instead of CCS's sum (same ranking); one run, where Data Diet averages ten",
    ),
    Method(
        "aum",
        "area under the margin, hardest first (Pleiss et al. 2020)",
        "aum",
        computes="The mean over all epochs of the own class's probability minus the largest other one.",
        formula="s = mean_t ( p[t,y] - max_{c != y} p[t,c] )",
        direction="keeps the LOWEST scores (hardest first), as the published tables do",
        paper="G. Pleiss et al., NeurIPS 2020; the probability form from CCS's official code",
        differences="the TDDS supplementary says the highest are important, which its own numbers contradict",
    ),
    Method(
        "moderate",
        "around the median distance to the class centre (Xia et al. 2023)",
        "class_distance",
        "near_median",
        computes="The distance of the penultimate features from the median of the class.",
        formula="s = || h - median_y(h) ||_2",
        direction="keeps the middle ranks over the whole set",
        paper="X. Xia et al., Moderate Coreset, ICLR 2023",
        differences="features in evaluation mode, from the last checkpoint; the count is exact",
    ),
    Method(
        "ccs",
        "coverage-centric, strata of AUM after cutting the hardest (Zheng et al. 2023)",
        "aum",
        "stratified",
        computes="AUM; the hardest share beta is cut off, the rest is drawn evenly from 50 score strata.",
        direction="keeps an even spread of what the cutoff leaves",
        settings_text="beta by data set and pruning rate; the official README has three of them, the rest are from memory",
        paper="H. Zheng et al., Coverage-centric Coreset Selection for High Pruning Rates, ICLR 2023, Algorithm 1",
        differences="seeded; too large a beta is an error instead of a smaller coreset",
        settings=published.ccs,
    ),
    Method(
        "dyn_unc",
        "uncertainty inside sliding windows (He et al. 2024)",
        "dyn_unc",
        computes="The standard deviation of the own class's probability inside windows of ten epochs, averaged.",
        formula="s = mean_t 10 std(q[t-9..t])",
        settings_text="J = 10; the window that ends with the last epoch is left out, as in the official code",
        paper="M. He et al., Large-scale Dataset Pruning with Dynamic Uncertainty, CVPR 2024 workshops",
        differences="train-mode probabilities instead of a second forward pass, as in reproductions on CIFAR",
    ),
    Method(
        "tdds",
        "temporal dual-depth scoring (Zhang et al. 2024)",
        "tdds",
        computes="How unevenly a prediction changes from epoch to epoch in windows of K epochs, the latest weighing most.",
        formula="d[t] = sum_c |p[t,c] (ln(p[t,c]+e) - ln(p[t-1,c]+e))|,  v[k] = || d - mean d || over K-1 changes,\n"
        "S = sum_k b (1-b)^(T-K-k) v[k],  e = 1e-8, b = 0.9",
        settings_text="(T, K) by data set and pruning rate, from the supplementary; CIFAR-100's are not in it: CIFAR-10's "
        "stand in (an inference), but for (90, 10) at keep 0.7, which a thread of the official repository quotes; others: "
        "K = 10 at the end; at=auto derives them from the recording (an experiment, decision 0012)",
        paper="X. Zhang et al., Spanning Training Progress: Temporal Dual-Depth Scoring, CVPR 2024, and official code",
        differences="streaming; samples assigned by id instead of summed; in `thresher run` the coreset's loss is scaled by "
        "the score on CIFAR, as in the official code (--scale-loss none turns it off)",
        settings=published.tdds,
    ),
    Method(
        "grand",
        "gradient norm of the last layer (Paul et al. 2021)",
        "grand",
        computes="The norm of the loss's gradient with respect to the last layer, in closed form.",
        formula="s = || p - onehot(y) ||_2 sqrt(1 + || h ||_2^2)",
        paper="M. Paul et al., NeurIPS 2021, Definition 2.1; last layer only as in DeepCore (Guo et al. 2022)",
        differences="one run, at the end of the recording instead of early; without DeepCore's factor 1/B, which favours "
        "the last batch",
    ),
    Method(
        "dual",
        "uncertainty times difficulty, early (Cho et al. 2025)",
        "dual",
        computes="Deviation of the own class's probability times one minus its mean, over windows of ten early epochs.",
        formula="s = mean_k 10 sd[k] (1 - mu[k])",
        settings_text="the first 30 epochs (ImageNet: 60)",
        paper="Y. Cho et al., Lightweight Dataset Pruning without Full Training (DUAL), ICML 2025",
        settings=published.dual,
    ),
    Method(
        "dual_beta",
        "DUAL's score drawn with a Beta density over the mean probability (Cho et al. 2025)",
        "dual",
        "beta",
        computes="DUAL's score; samples are drawn by score times a density that moves to easier ones the more are pruned.",
        direction="draws",
        settings_text="c_d by data set (CIFAR-10's is recalled, not verified); the first 30 epochs (ImageNet: 60)",
        paper="Y. Cho et al., Lightweight Dataset Pruning without Full Training (DUAL), ICML 2025",
        differences="seeded; exactly as many as asked for; guarded against infinite densities",
        aux={"mean_prob": "mean_prob"},
        settings=published.dual_beta,
    ),
    Method(
        "auto",
        "TDDS drawn from what can be learned in time, without suspects (this library, decision 0022)",
        "tdds",
        "learnable",
        computes="Suspected wrong labels (by two humps of the mean logit margin) are left out, as are samples learned "
        "much later than the typical one; the rest are drawn by TDDS's score, class by class.",
        formula="S of tdds at the end, K = 10;  suspects: mixture of mean_t ( x[t,y] - max_{c != y} x[t,c] );\n"
        "late: w > t + keep / N (1 - t),  w = 1 - mean_t correct[t],  t its 0.55 quantile",
        direction="draws by score, classes in the data's proportions",
        settings_text="none: everything follows from the recording and the kept share",
        paper="this library; combines TDDS (Zhang et al. 2024), AUM (Pleiss et al. 2020), the correctness of Dataset "
        "Cartography (Swayamdipta et al. 2020) and DUAL's weighted draw (Cho et al. 2025)",
        aux={"logit_margin": "aum:margin=logit", "correctness": "correctness"},
    ),
)
METHODS: dict[str, Method] = {method.name: method for method in _TABLE}
"""Every method by name, in the order in which they are shown."""
