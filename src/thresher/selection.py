"""`select`: the public entrance from scores to a coreset. Input is checked here, once; the selectors assume it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.coreset import Coreset
from thresher.errors import InputError, MissingSamplesError
from thresher.keep import Keep, keep_count
from thresher.selectors._base import Selector
from thresher.types import Pool, Scores


def select(
    scores: Scores,
    pool: Pool,
    keep: Keep,
    selector: Selector,
    seed: int = 0,
    *,
    source: Mapping[str, Any] | None = None,
) -> Coreset:
    """Return the coreset of exactly the asked size that `selector` picks by `scores`.

    `keep` is a share in (0, 1] or a count; `seed` drives the selectors that draw, and nothing else does; `source` is
    JSON-ready provenance to carry along (method, data, fingerprint), to which scorer, selector, keep, count, direction, seed
    and version are added.

    Raises MissingSamplesError where a score is NaN (a sample never, or not often enough, observed), InputError where sizes
    disagree, a score is infinite, or `keep` is impossible.

    >>> from thresher.selectors.top import Top
    >>> scores = Scores(np.array([0.1, 0.7, 0.4, 0.9], dtype=np.float32))
    >>> select(scores, Pool(4), 0.5, Top()).ids.tolist()
    [1, 3]
    """
    n = pool.n
    _check(scores.values, n, "score")
    for name, values in pool.aux.items():
        _check(np.asarray(values), n, name)
    if pool.targets is not None and pool.targets.shape != (n,):
        raise InputError(f"Expected {n} targets, one per sample, but got shape {pool.targets.shape}.")
    count = keep_count(n, keep)
    ids = selector.pick(scores, pool, count, np.random.default_rng(seed))
    if len(ids) != count:
        raise InputError(
            f"Expected {count} samples from the selector {selector.name}, but it picked {len(ids)}. "
            "A selector must return exactly `keep` ids; check it with thresher.testing.selector_checks."
        )
    return Coreset(ids, None, n, {**(source or {}), **_provenance(scores, selector, keep, count, seed)})


def _check(values: NDArray[Any], n: int, what: str) -> None:
    if values.shape != (n,):
        raise InputError(
            f"Expected the {what} of {n} samples, but got shape {values.shape}. "
            "Scores and pool must come from the same data set."
        )
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        first = ", ".join(map(str, missing[:5].tolist())) + (", ..." if len(missing) > 5 else "")
        raise MissingSamplesError(
            f"Expected a {what} for every sample, but {len(missing)} of {n} have none (ids {first}): they were not, or not "
            "often enough, observed. Record with drop_last=False and a sampler that visits every sample, or for more "
            "epochs; or give these samples a value yourself before selecting."
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"Expected finite values of {what}, but sample {int(np.flatnonzero(~np.isfinite(values))[0])} has an infinite "
            "one. Replace it by a large number if it is meant to be extreme."
        )


def _provenance(scores: Scores, selector: Selector, keep: Keep, count: int, seed: int) -> dict[str, Any]:
    from thresher import __version__

    return {
        "scorer": dict(scores.source),
        "direction": f"hard end: {scores.hard_end}",
        "selector": {"name": selector.name, "params": selector.params()},
        "keep": keep if isinstance(keep, str) else getattr(keep, "item", lambda: keep)(),
        "count": count,
        "seed": seed,
        "version": __version__,
    }
