"""The theorem behind TDDS, executable: the loss from replacing series over epochs by constants is their variance.

`series` is G, (T, N): row t is epoch t, column n a sample. The columns of `basis` W, (N, N), are orthonormal axes; by
default the axes are the samples themselves. The coordinates `kept` are unchanged; each other one becomes one constant
for all epochs:

    J(b) = 1/T sum_t || G[t] - sum_{m kept} (G[t] . W[:,m]) W[:,m] - sum_{n dropped} b[n] W[:,n] ||^2

`reconstruction_error` builds J literally and minimises it numerically over b; `variance_sum` is the closed form. The
identity is that both agree; `docs/score_variance.md` derives it and says where the released score departs from it.

Source: X. Zhang et al., "Spanning Training Progress: Temporal Dual-Depth Scoring (TDDS) for Enhanced Dataset Pruning", CVPR
2024, supplementary section A, equations 14 to 22.

>>> G = np.array([[0.0, 1.0, 5.0], [2.0, 1.0, 9.0]])
>>> temporal_variances(G).tolist()
[1.0, 0.0, 4.0]
>>> variance_sum(G, kept=[2]), round(reconstruction_error(G, kept=[2]), 12)
(1.0, 1.0)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thresher.errors import InputError

Matrix = NDArray[np.float64]
Ids = NDArray[np.int64]


def reconstruction_error(
    series: ArrayLike, kept: Sequence[int] | Ids, basis: ArrayLike | None = None, constants: ArrayLike | None = None
) -> float:
    """Return J of the module's formula: its minimum over b, or, with `constants` (N - M,), its value at these.

    `series` (T, N) finite; `kept` M distinct coordinates; `constants` in ascending order of the dropped ones. The minimum
    is found by least squares over all T N numbers, without using what the theorem claims about it, so keep N small.
    Raises InputError for other input.

    >>> reconstruction_error([[0.0, 1.0], [2.0, 1.0]], kept=[1], constants=[4.0])  # ((0 - 4)^2 + (2 - 4)^2) / 2
    10.0
    """
    values, axes = _checked(series, basis)
    stay, gone = _split(kept, values.shape[1])
    residual = values - values @ axes[:, stay] @ axes[:, stay].T
    if constants is None:
        unknowns = np.tile(axes[:, gone], (len(values), 1))
        b = np.linalg.lstsq(unknowns, residual.ravel(), rcond=None)[0]
    else:
        b = np.asarray(constants, dtype=np.float64)
        if b.shape != gone.shape:
            raise InputError(f"Expected {len(gone)} constants, one per dropped coordinate, but got shape {b.shape}.")
    return float(((residual - axes[:, gone] @ b) ** 2).sum(axis=1).mean())


def best_constants(series: ArrayLike, kept: Sequence[int] | Ids, basis: ArrayLike | None = None) -> Matrix:
    """Return the best b according to the theorem, (N - M,): the mean over the epochs of each dropped coordinate (eq. 21).

    >>> best_constants([[0.0, 1.0], [2.0, 1.0]], kept=[1]).tolist()
    [1.0]
    """
    values, axes = _checked(series, basis)
    _, gone = _split(kept, values.shape[1])
    means: Matrix = (values @ axes[:, gone]).mean(axis=0)
    return means


def variance_sum(series: ArrayLike, kept: Sequence[int] | Ids, basis: ArrayLike | None = None) -> float:
    """Return the smallest J according to the theorem: the sum of the dropped coordinates' temporal variances (eq. 22).

    >>> variance_sum([[0.0, 1.0], [2.0, 1.0]], kept=[1])
    1.0
    """
    variances = temporal_variances(series, basis)
    return float(variances[_split(kept, len(variances))[1]].sum())


def temporal_variances(series: ArrayLike, basis: ArrayLike | None = None) -> Matrix:
    """Return the population variance over the epochs of each coordinate, (N,).

    >>> temporal_variances([[0.0, 1.0], [2.0, 1.0]]).tolist()
    [1.0, 0.0]
    """
    values, axes = _checked(series, basis)
    variances: Matrix = (values if basis is None else values @ axes).var(axis=0)
    return variances


def _checked(series: ArrayLike, basis: ArrayLike | None) -> tuple[Matrix, Matrix]:
    """Return the series and the axes in float64."""
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape or not np.isfinite(values).all():
        raise InputError(
            f"Expected a series of shape (T, N) without NaN, but got shape {values.shape}"
            f"{'' if np.isfinite(values).all() else ' with NaN or infinity'}. A `change` has no value in the first epoch: "
            "leave that row out."
        )
    n = values.shape[1]
    axes = np.eye(n) if basis is None else np.asarray(basis, dtype=np.float64)
    if axes.shape != (n, n) or not np.allclose(axes.T @ axes, np.eye(n), atol=1e-8):
        raise InputError(f"Expected a basis of {n} orthonormal columns, but got others (shape {axes.shape}).")
    return values, axes


def _split(kept: Sequence[int] | Ids, n: int) -> tuple[Ids, Ids]:
    """Return the kept and the dropped coordinates, both ascending."""
    given = np.asarray(kept)
    stay = np.unique(given.astype(np.int64))
    numbers = given.dtype.kind in "iu" or not given.size  # a mask or 0.5 would be taken for 0 and 1
    if not numbers or len(stay) != len(given) or (len(stay) and not 0 <= stay[0] <= stay[-1] < n):
        raise InputError(f"Expected distinct coordinates in [0, {n}) to keep, integers, but got {given.tolist()}.")
    return stay, np.setdiff1d(np.arange(n), stay)
