"""Which published accuracies stand beside a study: of its data set, its changes and, if there are any, its network."""

from __future__ import annotations

from collections.abc import Sequence

from thresher.data.mislabel import Mislabeling
from thresher.experiments.study import StudySpec
from thresher.methods import parse_spec
from thresher.report import Published
from thresher.settings.published import dataset_key
from thresher.settings.tables import PublishedNumber, published_table

_SOURCE = "TDDS supplementary (Zhang et al. 2024)"
_CROSS = {"cifar10": "table7", "cifar100": "table8"}


def published_curve(spec: StudySpec) -> tuple[tuple[Published, ...], str]:
    """Return the published accuracies of the study's methods, and a sentence on what they were measured with.

    They were all measured with a ResNet-18 surrogate and 200 epochs; numbers of another network than the study's are a
    pattern to look for and no target, and the sentence says so. Nothing comes back where nothing is published.
    """
    data, model = dataset_key(spec.data.partition(":")[0]), spec.coreset.model
    if spec.corrupt is not None and spec.mislabel is not None:
        return (), ""
    if spec.corrupt is not None:
        name, numbers, network = "Table 9, corrupted images", _of("table9", data), "resnet18"
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
        name, network = f"Table 6, batch {batch}", "resnet18"
        numbers = [number for number in found if number.batch_size == batch]
    labels = {parse_spec(label)[0]: label for label in reversed(spec.methods)}
    # A label with settings of its own is another method than the published one.
    curve = tuple(
        Published(n.method, n.keep, n.accuracy, n.std) for n in numbers if labels.get(n.method) == n.method and not n.remark
    )
    if not curve:
        return (), ""
    same = network == model and spec.coreset.epochs == 200
    mine = f" This run: {model}, {spec.coreset.epochs} epochs, so they are a pattern and not a target."
    other = "" if same else mine
    return curve, f"Published: {_SOURCE}, {name}; {network}, 200 epochs.{other}"


def _of(table: str, data: str) -> Sequence[PublishedNumber]:
    return [number for number in published_table(table) if number.dataset == data] if table else []
