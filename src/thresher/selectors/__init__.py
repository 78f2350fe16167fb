"""Selectors, one file each: rules that turn scores into a coreset. The file's name is the selector's name."""

from thresher.selectors._base import Rule, Selector
from thresher.selectors.beta import Beta
from thresher.selectors.learnable import Learnable
from thresher.selectors.near_median import NearMedian
from thresher.selectors.stratified import Stratified
from thresher.selectors.top import Top
from thresher.selectors.uniform import Uniform

__all__ = ["Beta", "Learnable", "NearMedian", "Rule", "Selector", "Stratified", "Top", "Uniform"]
