"""Dynamic pruning: the coreset is redrawn during training, from the current scores.

A rule decides what an epoch shows, as a `Coreset`: `InfoBatch` (unbiased), `Redraw` (any static method, every few epochs),
`Fixed` (a static coreset). `DynamicSampler` applies it in any loop.
"""

from thresher.dynamic._base import Live, Rule
from thresher.dynamic.fixed import Fixed
from thresher.dynamic.infobatch import InfoBatch
from thresher.dynamic.naming import parse_rule
from thresher.dynamic.redraw import Redraw
from thresher.dynamic.sampler import DynamicSampler

__all__ = ["DynamicSampler", "Fixed", "InfoBatch", "Live", "Redraw", "Rule", "parse_rule"]
