"""Scorers, one file each: dynamics in, one number per sample out."""

from thresher.scorers._base import Scorer, State
from thresher.scorers.aum import AUM
from thresher.scorers.class_distance import ClassDistance
from thresher.scorers.correctness import Correctness
from thresher.scorers.dual import DUAL
from thresher.scorers.dyn_unc import DynUnc
from thresher.scorers.el2n import EL2N
from thresher.scorers.entropy import Entropy
from thresher.scorers.forgetting import Forgetting
from thresher.scorers.grand import GraNd
from thresher.scorers.last_loss import LastLoss
from thresher.scorers.mean_prob import MeanProb
from thresher.scorers.random import Random
from thresher.scorers.tdds import TDDS

__all__ = [
    "AUM",
    "DUAL",
    "EL2N",
    "TDDS",
    "ClassDistance",
    "Correctness",
    "DynUnc",
    "Entropy",
    "Forgetting",
    "GraNd",
    "LastLoss",
    "MeanProb",
    "Random",
    "Scorer",
    "State",
]
