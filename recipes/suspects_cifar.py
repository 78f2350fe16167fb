"""How well suspects are found: `thresher suspects` beside AUM, EL2N and cleanlab on one recording with known wrong labels.

    thresher record --data cifar10 --data-dir DIR --mislabel 0.2 --model small --epochs 30 --logits float16 --out RUN
    python recipes/suspects_cifar.py RUN --data cifar10 --data-dir DIR [--out suspects.json]

The wrong labels are those that differ from the clean data set's. Scores rank all samples (AUROC); precision and recall are
those of as many samples as `thresher suspects` names, and of as many as there are wrong labels. cleanlab (extra `cleanlab`)
needs a recording with logits, and also names suspects of its own; what it ranks by, the mean probability of the label, is
computed without it, too. What docs/results/auto shows was made by this.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from thresher.data import load
from thresher.errors import InputError, MissingPackageError
from thresher.experiments.rundir import environment
from thresher.files import write_json
from thresher.integrations.cleanlab import label_quality, suspected_label_errors
from thresher.replay import Request, open_source, replay
from thresher.scorers import AUM, EL2N, TDDS, MeanProb
from thresher.suspects import find_suspects


def named(chosen: NDArray[np.int64], wrong: NDArray[np.bool_]) -> dict[str, float]:
    """Return precision and recall of the samples that were chosen."""
    found = int(wrong[chosen].sum())
    return {"count": len(chosen), "precision": found / max(1, len(chosen)), "recall": found / int(wrong.sum())}


def main() -> None:
    """Compare on one recording and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    source, clean = open_source(given.recording), load(given.data, given.data_dir).train.targets
    if source.targets is None or len(source.targets) != len(clean) or (source.targets == clean).all():
        raise InputError(
            f"Expected a recording of the {len(clean)} samples of {given.data} with wrong labels, but {given.recording} has "
            "none, or is of other data. Record with --mislabel."
        )
    wrong = source.targets != clean
    scorers = {
        "logit margin (ours)": AUM(margin="logit"), "AUM of probabilities": AUM(), "AUM of logits, epoch 0 skipped":
        AUM(margin="logit", skip=1), "EL2N, 10 epochs": EL2N(), "EL2N, all epochs": EL2N(epochs=source.epochs),
        "mean probability of the label, all epochs": MeanProb(epochs=source.epochs), "TDDS": TDDS(),
    }  # fmt: skip
    scores = replay(source, [Request(name, scorer) for name, scorer in scorers.items()])
    found = find_suspects(scores["logit margin (ours)"].values)
    suspicion = {name: score.difficulty for name, score in scores.items()}
    result: dict[str, Any] = {
        "recording": source.info.get("data"), "epochs": source.epochs, "wrong": float(wrong.mean()),
        "estimated": found.to_json(), "suspects": named(np.flatnonzero(found.mask), wrong), "environment": environment(),
    }  # fmt: skip
    try:
        suspicion["cleanlab self-confidence"] = label_quality(source).difficulty  # type: ignore[arg-type]
        result["cleanlab suspects"] = named(suspected_label_errors(source), wrong)  # type: ignore[arg-type]
    except (MissingPackageError, InputError) as error:
        result["cleanlab suspects"] = f"not run: {error}"
    result["ranked"] = {
        name: {
            "auroc": float(roc_auc_score(wrong, values)),
            "at our count": named(np.argsort(-values, kind="stable")[: int(found.mask.sum())], wrong),
            "at the true count": named(np.argsort(-values, kind="stable")[: int(wrong.sum())], wrong),
        }
        for name, values in suspicion.items()
    }
    print(json.dumps(result, indent=2))
    if given.out:
        write_json(given.out, result)


if __name__ == "__main__":
    main()
