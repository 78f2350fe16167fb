"""The published tables of the TDDS supplementary, shipped inside the package as targets to compare with.

`published_tables/table6.csv` to `table10.csv`: X. Zhang et al., "Spanning Training Progress: Temporal Dual-Depth Scoring
(TDDS) for Enhanced Dataset Pruning", CVPR 2024, supplementary material, Tables 6 to 10. Accuracies in percent on the clean
test set.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files

TABLES = ("table6", "table7", "table8", "table9", "table10")
_OURS = {
    "Full": "full", "Random": "random", "Entropy": "entropy", "Forgetting": "forgetting", "EL2N": "el2n", "AUM": "aum",
    "Moderate": "moderate", "CCS": "ccs", "Dyn-Unc": "dyn_unc", "TDDS": "tdds",
}  # fmt: skip
_MODELS = {"resnet50": "resnet50", "vgg16": "vgg16", "mobilenet_v2": "mobilenet_v2", "shufflenet": "shufflenet_v2"}


@dataclass(frozen=True)
class PublishedNumber:
    """One entry of a published table.

    `method` is our name; `keep` the share kept (the tables print what is removed); `model` and `batch_size` are those of the
    coreset training, None where the table does not say; `accuracy` and its standard deviation `std` (None where not
    given) in percent; `remark` says what is doubtful about it, "" for most.
    """

    table: str
    dataset: str
    method: str
    keep: float
    accuracy: float
    std: float | None = None
    model: str | None = None
    batch_size: int | None = None
    remark: str = ""


@cache
def published_table(name: str) -> tuple[PublishedNumber, ...]:
    """Return the entries of `table6` to `table10`, in the order of the table.

    >>> smallest = [n for n in published_table("table6") if n.dataset == "cifar100" and n.keep == 0.1]
    >>> max((n.accuracy, n.method, n.batch_size) for n in smallest)
    (54.51, 'tdds', 32)
    """
    with (files("thresher.settings") / "published_tables" / f"{name}.csv").open(encoding="utf-8") as file:
        return tuple(_number(name, row) for row in csv.DictReader(file))


def _number(table: str, row: dict[str, str]) -> PublishedNumber:
    model = _MODELS[row["coreset_architecture"]] if "coreset_architecture" in row else None
    std, batch = row.get("std"), row.get("coreset_batch_size")
    return PublishedNumber(
        table,
        row["dataset"],
        _OURS[row["method"]],
        float(1 - Fraction(row["pruning_rate"])),
        float(row["accuracy"]),
        float(std) if std else None,
        model,
        int(batch) if batch else None,
        _remark(table, model, _OURS[row["method"]]),
    )


def _remark(table: str, model: str | None, method: str) -> str:
    if table == "table7" and model == "resnet50" and method not in ("tdds", "dyn_unc"):
        return "coincides with the ResNet-18 curves of the CCS paper; not a target"
    if table == "table7" and model == "mobilenet_v2" and method == "entropy":
        return "not monotone in the kept share; two entries are probably swapped"
    return ""
