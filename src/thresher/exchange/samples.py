"""A coreset applied to data sets in Python: torch samplers, and data sets of the `datasets` package.

(`Coreset.subset` returns torch's `Subset`.) Nothing is imported here that the caller has not already imported.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Any

import numpy as np

from thresher.coreset import Coreset
from thresher.errors import InputError

if TYPE_CHECKING:
    from torch.utils.data import SubsetRandomSampler


def sampler(coreset: Coreset, dataset: Sized, seed: int = 0) -> SubsetRandomSampler:
    """Return a torch sampler of the kept samples of the full `dataset`, in a new random order every epoch.

    `DataLoader(Indexed(dataset), sampler=sampler(coreset, dataset))` keeps the original sample ids. Under
    DistributedDataParallel use `DistributedSampler(coreset.subset(dataset))`. Raises what `Coreset.subset` raises
    for another data set.
    """
    import torch
    from torch.utils.data import SubsetRandomSampler

    coreset.check_size(dataset)
    return SubsetRandomSampler(coreset.ids.tolist(), generator=torch.Generator().manual_seed(seed))


def select_rows(coreset: Coreset, dataset: Any) -> Any:
    """Return the kept rows of a `datasets.Dataset`, in the order of their ids (its own `select`, no copy).

    Raises FingerprintError if it has another number of rows, InputError for anything but a `datasets.Dataset` (for a
    DatasetDict, pass one of its splits).
    """
    if not callable(getattr(dataset, "select", None)) or isinstance(dataset, dict):
        raise InputError(f"Expected a datasets.Dataset, but got {type(dataset).__name__}. Of a DatasetDict name the split.")
    coreset.check_size(dataset)
    return dataset.select(coreset.ids.tolist())


def mark_rows(coreset: Coreset, dataset: Any, column: str = "kept") -> Any:
    """Return a `datasets.Dataset` with an added boolean column that says which rows are kept.

    Raises what `select_rows` raises, and InputError if it already has a column of that name.
    """
    if not callable(getattr(dataset, "add_column", None)):
        raise InputError(f"Expected a datasets.Dataset, but got {type(dataset).__name__}. Of a DatasetDict name the split.")
    coreset.check_size(dataset)
    if column in dataset.column_names:
        raise InputError(f"The data set already has a column {column}. Choose another name.")
    return dataset.add_column(column, coreset.mask.tolist())


def of_rows(dataset: Any, column: str = "kept") -> Coreset:
    """Return the coreset that a boolean column of a data set marks; raises InputError if there is no such column."""
    if column not in dataset.column_names:
        raise InputError(f"Expected a column {column}, but the data set has {', '.join(dataset.column_names)}.")
    mask = np.asarray(dataset[column])
    if mask.dtype != np.bool_:
        raise InputError(f"Expected a boolean column {column}, but got {mask.dtype}.")
    return Coreset(np.flatnonzero(mask), None, len(mask), {"column": column})
