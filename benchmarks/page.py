"""Writes docs/results/benchmarks.md and its figure from the JSON files that `--out` left in docs/results/benchmarks/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import figure

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
TITLES = {
    "score_dumps": "Scoring official dumps: whole process, imports included",
    "score_dumps-epyc": "The same dumps on another processor",
    "replay_grid": "A grid of (T, K) from a store",
    "recorder_overhead": "What recording costs a training step",
    "throughput": "Training throughput",
    "throughput-gpu": "Training throughput on a GPU",
    "gpu_recording": "What recording costs a training step on a GPU",
    "gpu_recording-1024": "The same at batch 1024",
    "recorder_sizes": "State and time of the Recorder, by samples and classes",
    "store_sizes": "Size and write time of a store, by samples and epochs",
    "network_sizes": "What ranks send one another per epoch",
    "imagenet_epoch": "One simulated ImageNet epoch through the Recorder",
    "packing": "Several coreset trainings on one GPU",
    "gpu_streams": "Captured steps of several trainings, launched in turn by one thread",
    "scoring": "Scoring a store, by its size and with several workers",
    "selection": "Selecting a tenth from a score file, in bounded memory",
    "selection-epyc": "The same selection on another processor, and since then: the file is read once less",
    "import_time": "Import time",
    "browsing": "The report and the explorer in a browser",
}
HEAD = """# Speed and memory

Each benchmark measures Thresher and the alternative side by side in one run; the ratios matter most. `make bench` runs
those for a CPU, `make gpu DATA=DIR` those for a GPU. `python benchmarks/NAME.py --out docs/results/benchmarks/NAME.json`
saves one, with every repetition, the sizes and the versions, and `python benchmarks/page.py` writes this page and draws its
figure. An exponent is the slope of a least-squares line through all points of a cost in log-log space: 1 means proportional
growth. "Last" is the slope between the two largest sizes, where a process's fixed costs weigh least.

![How memory, disk, network and time grow with samples, classes, epochs, workers and ranks](../images/growth.svg)
"""


def shown(value: Any) -> str:
    """Return a cell: three significant digits for numbers, whole ones from a thousand on."""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def section(title: str, found: dict[str, Any]) -> str:
    """Return a benchmark's part of the page."""
    rows = found["table"]
    columns = ["", *dict.fromkeys(key for row in rows for key in row if key)]
    where, sizes = found["environment"], ", ".join(f"{key} {value}" for key, value in found["sizes"].items())
    machine = f"{where['gpu']}, " if where["gpu"] else ""
    versions = ", ".join(f"{name} {where[name]}" for name in ("torch", "numpy", "python"))
    machine += f"{where['cores']} cores of {where['cpu']}, {versions}"
    lines = [f"## {title}", "", f"`{found['command']}`, {found['date']}; {machine}. {sizes}", ""]
    lines += [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(shown(row.get(column)) for column in columns)} |" for row in rows]
    lines += ["", *(f"* {note}" for note in found["notes"])]
    for target in found["targets"]:
        verdict = {True: "met", False: "MISSED", None: "not judged (--quick)"}[target["met"]]
        asked = f"{target['name']} {target['sense']} {target['limit']:.3g}"
        lines.append(f"* target: {asked}; measured {target['value']:.3g}: {verdict}")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the page from what is there."""
    parts = [HEAD]
    for name, title in TITLES.items():
        path = RESULTS / "benchmarks" / f"{name}.json"
        if path.exists():
            parts.append(section(title, json.loads(path.read_text())))
    return "\n".join(parts)


def main() -> None:
    """Write the page and the figure."""
    (RESULTS / "benchmarks.md").write_text(page(), encoding="utf-8")
    figure.main()


if __name__ == "__main__":
    main()
