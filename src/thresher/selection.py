"""`select`: the public way from scores to a coreset. Input is checked here, once; the selectors assume it is valid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thresher.arrays import as_floats
from thresher.coreset import Coreset
from thresher.errors import InputError, MissingSamplesError, SampleIdError
from thresher.keep import Keep, keep_count
from thresher.registry import make_selector, parse_spec
from thresher.selectors._base import Selector
from thresher.types import HardEnd, Pool, Scores, check_scores, check_seed
from thresher.version import __version__


def select(
    scores: Scores,
    pool: Pool,
    keep: Keep,
    selector: Selector | str,
    seed: int = 0,
    *,
    source: Mapping[str, Any] | None = None,
) -> Coreset:
    """Return the coreset of exactly the requested size that `selector` picks by `scores`.

    `keep` is a share in (0, 1] or a count; `selector` one of `thresher.selectors`, or the name of one, with
    parameters after colons ("top:balanced=true"); `seed` is the only source of randomness for selectors that draw; `source`
    is JSON-ready provenance to carry along (method, data, fingerprint), to which scorer, selector, keep, count, direction,
    seed, version and, under `why`, the selector's explanation of this choice are added.

    Raises MissingSamplesError if a score is NaN (a sample never, or not often enough, observed); InputError for anything but
    Scores, a Pool and a selector, or if sizes disagree, a score is infinite, `keep` or `seed` (in [0, 2^63)) is out of
    range, or the selector does not return exactly `keep` sorted, unique ids; UnknownNameError for an unknown selector name.

    >>> scores = Scores(np.array([0.1, 0.7, 0.4, 0.9], dtype=np.float32))
    >>> select(scores, Pool(4), 0.5, "top").ids.tolist()
    [1, 3]
    >>> select(scores, Pool(4, np.array([0, 0, 1, 1])), 0.5, "top:end=easy:balanced=true").ids.tolist()
    [0, 2]
    """
    selector = make_selector(*parse_spec(selector)) if isinstance(selector, str) else selector
    _check_kinds(scores, pool, selector)
    check_seed(seed)
    n = pool.n
    _check(scores.values, n, "score")
    for name, values in pool.aux.items():
        _check(as_floats(values), n, name)
    if pool.targets is not None and pool.targets.shape != (n,):
        raise InputError(f"Expected {n} targets, one per sample, but got shape {pool.targets.shape}.")
    count = keep_count(n, keep)
    ids, why = selector.pick_and_tell(scores, pool, count, np.random.default_rng(seed))
    told = {**(source or {}), **provenance(scores.source, scores.hard_end, selector, keep, count, seed)}
    if why:
        told["why"] = dict(why)
    try:
        coreset = Coreset(ids, None, n, told)
    except SampleIdError as error:
        raise InputError(
            f"Expected a valid coreset from the selector {selector.name}, but got none: {error} "
            "Run thresher.testing.check_selector on it."
        ) from error
    check_picked(selector, count, len(coreset))
    return coreset


def check_picked(selector: Selector, count: int, found: int) -> None:
    """Raise InputError if a selector picked another number of samples than it was asked for."""
    if found != count:
        raise InputError(
            f"Expected {count} samples from the selector {selector.name}, but it picked {found}. "
            "A selector must return exactly `keep` ids; run thresher.testing.check_selector on it."
        )


def _check_kinds(scores: object, pool: object, selector: object) -> None:
    """Raise InputError for arguments that are not scores, a pool and a selector."""
    check_scores(scores)
    if not isinstance(pool, Pool):
        raise InputError(
            f"Expected a thresher.Pool, but got {type(pool).__name__}. Give recorder.pool(), or Pool(n, targets=labels)."
        )
    if not isinstance(selector, Selector):
        came = f"the class {selector.__name__}" if isinstance(selector, type) else type(selector).__name__
        raise InputError(f"Expected a selector, such as thresher.selectors.Top(), or the name of one, but got {came}.")


def _check(values: NDArray[Any], n: int, what: str) -> None:
    if values.shape != (n,):
        raise InputError(
            f"Expected the {what} of {n} samples, but got shape {values.shape}. "
            "Scores and pool must come from the same data set."
        )
    missing, infinite = np.flatnonzero(np.isnan(values)), np.flatnonzero(np.isinf(values))
    check_found(n, len(missing), missing[:6].tolist(), int(infinite[0]) if len(infinite) else None, what)


def check_found(n: int, missing: int, first: Sequence[int], infinite: int | None, what: str = "score") -> None:
    """Raise MissingSamplesError if values are NaN (`missing` of them, `first` ids), InputError if one is infinite."""
    if missing == n:
        raise MissingSamplesError(
            f"Expected a {what} for every sample, but none of {n} has one: what it reads was not recorded. A scorer that "
            "reads an evaluation pass needs update_eval() for each batch before the last end_epoch(); others may need more."
        )
    if missing:
        named = ", ".join(map(str, first[:5])) + (", ..." if missing > 5 else "")
        raise MissingSamplesError(
            f"Expected a {what} for every sample, but {missing} of {n} have none (ids {named}): they were not, or not "
            "often enough, observed. Record with drop_last=False and a sampler that visits every sample, or for more "
            "epochs; number the training part alone where a validation part is held out; or assign these samples a value "
            "yourself before selecting."
        )
    if infinite is not None:
        raise InputError(
            f"Expected finite values of {what}, but sample {infinite} has an infinite one. "
            "Replace it with a large number if it is meant to be extreme."
        )


def provenance(
    scorer: Mapping[str, Any], hard_end: HardEnd, selector: Selector, keep: Keep, count: int, seed: int
) -> dict[str, Any]:
    """Return a record of how a coreset was selected, JSON-ready; `scorer` is the provenance of the scores."""
    return {
        "scorer": dict(scorer),
        "direction": f"hard end: {hard_end}",
        "selector": {"name": selector.name, "params": selector.params()},
        "keep": keep if isinstance(keep, str) else getattr(keep, "item", lambda: keep)(),
        "count": count,
        "seed": int(seed),
        "version": __version__,
    }
