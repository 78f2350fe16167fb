"""Conformance suites for scorers and selectors, for Thresher's tests and those of third parties.

>>> from thresher.testing import check_scorer
>>> from thresher.scorers import EL2N
>>> check_scorer(EL2N())
"""

from thresher.testing.scorer_checks import check_scorer
from thresher.testing.selector_checks import check_selector

__all__ = ["check_scorer", "check_selector"]
