"""Which published accuracies stand beside a study: of its data set, its changes and, if there are any, its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from thresher.data.corrupt import Corruption
from thresher.data.mislabel import Mislabeling
from thresher.experiments.study import StudySpec
from thresher.report import Published
from thresher.settings.published import dataset_key
from thresher.settings.tables import PublishedNumber, published_table

_SOURCE = "TDDS supplementary (Zhang et al. 2024)"
_BATCH = 128  # where the table does not say, that of the official code
_SURROGATE = ("resnet18", 200)
_CROSS = {"cifar10": "table7", "cifar100": "table8"}


def published_curve(spec: StudySpec) -> tuple[tuple[Published, ...], str]:
    """Return the published accuracies of the study's methods, and a sentence on what they were measured with.

    They were all measured with a ResNet-18 surrogate and 200 epochs; numbers of another network, batch or length than the
    study's, or of another surrogate, are a pattern to look for and no target, and the sentence says so. Nothing comes back
    where nothing is published, as for images corrupted in another share or strength.
    """
    data, model, batch = dataset_key(spec.data), spec.coreset.model, _BATCH
    if spec.corrupt is not None and spec.mislabel is not None:
        return (), ""
    if spec.corrupt is not None:
        corruption = Corruption.parse(spec.corrupt)
        name, network = f"Table 9, corrupted images (here the variant {corruption.variant})", "resnet18"
        published = replace(corruption, seed=0, variant="intended") == Corruption()
        numbers = _of("table9", data) if published else []
    elif spec.mislabel is not None:
        noise = Mislabeling.parse(spec.mislabel).share
        name, network = "Table 10, 20 % wrong labels", "resnet18"
        numbers = _of("table10", data) if noise == 0.2 else []
    elif any(number.model == model for number in _of(_CROSS.get(data, ""), data)):
        table = _CROSS[data]
        name, network = f"Table {table[-1]}", model
        numbers = [number for number in _of(table, data) if number.model == model]
    else:
        found = _of("table6", data)
        batches = [number.batch_size or 0 for number in found]
        batch = min(batches, key=lambda size: (abs(size - spec.coreset.batch_size), size), default=0)
        name, network = "Table 6", "resnet18"
        numbers = [number for number in found if number.batch_size == batch]
    # A label with settings of its own is another method than the published one.
    curve = tuple(
        Published(n.method, n.keep, n.accuracy, n.std) for n in numbers if n.method in spec.methods and not n.remark
    )
    if not curve:
        return (), ""
    own = (model, spec.coreset.epochs, spec.coreset.batch_size)
    surrogate = (spec.surrogate.model, spec.surrogate.schedule_epochs or spec.surrogate.epochs)
    recorded = "" if surrogate == _SURROGATE else f" after a surrogate of {surrogate[0]}, {surrogate[1]} epochs"
    mine = f" This run: {_training(*own)}{recorded}, so they are a pattern and not a target."
    other = "" if own == (network, 200, batch) and not recorded else mine
    return curve, f"Published: {_SOURCE}, {name}; {_training(network, 200, batch)}.{other}"


def _training(model: str, epochs: int, batch: int) -> str:
    return f"{model}, {epochs} epochs, batch {batch}"


def _of(table: str, data: str) -> Sequence[PublishedNumber]:
    return [number for number in published_table(table) if number.dataset == data] if table else []
