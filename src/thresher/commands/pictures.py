"""Loads the data sets that coresets and recordings name, to compare their fingerprints and to find the files of samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thresher.errors import InputError
from thresher.types import Ids

if TYPE_CHECKING:  # torch comes with it
    from thresher.data import Data
    from thresher.data.folders import FolderSplit


def usual_data(told: Mapping[str, Any], *, pictures: bool = False) -> str:
    """Return the unchanged data set that the provenance `told` names; `folder` if that cannot be loaded, or if with
    `pictures` it has no file per sample.

    >>> usual_data({"data": "folder:size=32+mislabel=0.2"}), usual_data({"data": "my own"}), usual_data({})
    ('folder:size=32', 'folder', 'folder')
    """
    from thresher.data import NAMES, OWN

    name = str(told.get("data") or "").partition("+")[0]
    return name if name.partition(":")[0] in (OWN if pictures else NAMES) else "folder"


def load_for(told: Mapping[str, Any], data: str, data_dir: Path | None) -> tuple[Data, Data]:
    """Return the data set `data` unchanged, and changed for a comparison with the provenance `told`: corrupted and
    mislabelled as that says, if it names this data set. Raises what `thresher.data.load` raises."""
    from thresher.data import load, split_name
    from thresher.data.corrupt import corrupt_data
    from thresher.data.mislabel import mislabel_data

    plain = load(data, data_dir)
    name, changes = split_name(str(told.get("data") or ""))
    changed = plain
    if name == plain.name:
        if "corrupt" in changes:
            changed = corrupt_data(changed, changes["corrupt"]).data
        if "mislabel" in changes:
            changed = mislabel_data(changed, changes["mislabel"]).data
    return plain, changed


def same_classes(ours: Ids, theirs: Ids) -> bool:
    """Return whether two labellings of the same samples (N,) agree, however each numbers its classes.

    >>> same_classes(np.array([0, 0, 1]), np.array([5, 5, 2])), same_classes(np.array([0, 0, 1]), np.array([5, 2, 2]))
    (True, False)
    """
    pairs = np.unique(np.stack([ours, theirs]), axis=1).shape[1]
    return bool(pairs == len(np.unique(ours)) == len(np.unique(theirs)))


def picture_files(data: Data) -> FolderSplit:
    """Return the training pictures of a data set. Raises InputError if it has no file per sample."""
    from thresher.data.folders import FolderSplit

    if not isinstance(data.train, FolderSplit):
        raise InputError(f"Expected a data set of picture files (folder, imagenet), but {data.name} holds none.")
    return data.train
