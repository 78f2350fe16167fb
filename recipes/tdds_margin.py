"""What TDDS's margin over Random is made of: the samples it keeps, the loss that it scales by their scores, the schedule.

    python recipes/tdds_margin.py --data-dir DATA --out DIR                       # the small network, on a CPU
    python recipes/tdds_margin.py --data-dir DATA --out DIR --model resnet18      # on a GPU

Beside the published comparison, a tenth of CIFAR-100 at batch 128, stand its controls: TDDS without the scaled loss; Random
with the learning rate and weight decay that a loss scaled by TDDS's mean score amounts to; all of them also with the cosine
as the official code computed it until June 2024: over as many steps as the whole training set has, so that at a tenth kept
the learning rate ends at 0.098. On clean data, and with 20 % wrong labels. Trainings are cells of `thresher reproduce`: the
command can be stopped and goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from thresher.boards.cells import Cell
from thresher.boards.place import read_result
from thresher.boards.reproduce import Place, run_cells
from thresher.commands.options import pick_device
from thresher.commands.screen import parallel
from thresher.engines import engine_of
from thresher.experiments.defaults import parse_seeds
from thresher.experiments.pace import Pace
from thresher.experiments.tables import mean_interval
from thresher.report.percent import plus_minus
from thresher.train.spec import TrainSpec

KEEP = 0.1
SCALE = 0.29
"""The mean score by which TDDS's loss was multiplied at full scale: 0.287 with wrong labels, 0.299 without."""
KINDS = ("random", "tdds", "tdds without the scaled loss", "random at TDDS's learning rate")
SCHEDULES = {"of the coreset": 1, "of the full set": round(1 / KEEP)}
CHANGES = {"clean": None, "20 % wrong labels": "0.2"}


def cell(kind: str, schedule: str, change: str, model: str, batch: int, epochs: int, seed: int) -> Cell:
    """Return the training of one control."""
    surrogate = TrainSpec(model, epochs=200, batch_size=100, precision="bf16")
    coreset = TrainSpec(model, epochs=epochs, batch_size=batch, precision="bf16")
    if SCHEDULES[schedule] > 1:
        coreset = replace(coreset, schedule_epochs=epochs * SCHEDULES[schedule])
    if kind == KINDS[3]:  # the same steps: lr (scale g + decay w) = lr scale (g + decay / scale w)
        coreset = replace(coreset, lr=coreset.lr * SCALE, weight_decay=coreset.weight_decay / SCALE)
    method = "random" if kind.startswith("random") else "tdds"
    scale_loss = "none" if kind == KINDS[2] else "published"
    return Cell("cifar100", method, KEEP, surrogate, coreset, seed, scale_loss=scale_loss, mislabel=CHANGES[change])


def table(cells: dict[tuple[str, str, str], list[Cell]], place: Place) -> list[str]:
    """Return the accuracies as a Markdown table: a line for each control, a column for each change."""
    lines = ["| schedule | method | " + " | ".join(CHANGES) + " |", "|---|---|" + "---|" * len(CHANGES)]
    for schedule in SCHEDULES:
        for kind in KINDS:
            shown = [_shown(cells.get((kind, schedule, change), []), place) for change in CHANGES]
            lines.append(f"| {schedule} | {kind} | " + " | ".join(shown) + " |")
    return lines


def _shown(cells: Sequence[Cell], place: Place) -> str:
    """Return mean and interval of what is there, and of how many seeds; with the best over the epochs if it was measured."""
    found = [result for result in (read_result(place, one) for one in cells) if result is not None]
    if not found:
        return "not run"
    text = plus_minus(*_percent(result["test_accuracy"] for result in found))
    if all("best_test_accuracy" in result for result in found):
        text += f", best {plus_minus(*_percent(result['best_test_accuracy'] for result in found))}"
    return text if len(found) == 1 else f"{text} ({len(found)})"


def _percent(accuracies: Iterable[float]) -> tuple[float, float | None]:
    """Return mean and half-width in percent."""
    return mean_interval([100 * accuracy for accuracy in accuracies])


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="small")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit-minutes", type=float)
    parser.add_argument("--eval-every", type=int, default=10, help="measure the test set every so many epochs, too")
    given = parser.parse_args()
    device = pick_device(given.device)
    processes, threads = parallel(given.jobs, device)
    engine, every = engine_of(device), given.eval_every
    place = Place(given.out, given.data_dir, device, processes, threads, engine, eval_every=every)
    pace = Pace.shared(device, threads, given.limit_minutes, processes)
    size = (given.model, given.batch, given.epochs)
    cells = {
        (kind, schedule, change): [cell(kind, schedule, change, *size, seed) for seed in parse_seeds(given.seeds)]
        for schedule in SCHEDULES
        for kind in KINDS
        for change in CHANGES
    }

    def tell(event: str, details: dict[str, Any]) -> None:
        keys = ("label", "epoch", "method", "seed", "test_accuracy", "seconds", "reason")
        if event in ("epoch", "result", "failure"):
            print(event, *(f"{details[key]}" for key in keys if key in details), flush=True)

    for kinds in (KINDS[:2], KINDS[2:]):  # the published comparison before its controls
        wanted = [one for (kind, *_), ones in cells.items() if kind in kinds for one in ones]
        outcome = run_cells(wanted, place, pace, tell)
        for one, why in [*outcome.failed.items(), *outcome.left.items()]:
            print(f"not done: {one.method} {one.mislabel or 'clean'} seed {one.seed}: {why}", flush=True)
    print("\n".join(table(cells, place)))


if __name__ == "__main__":
    main()
