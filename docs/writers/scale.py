"""What data sets of several sizes take: scale.in.md with its numbers filled in."""

from __future__ import annotations

from pathlib import Path

from thresher import planning
from thresher.planning import MEASURED, Setup, bytes_text, seconds_text

DOCS = Path(__file__).parents[1]
SETUPS = {
    "CIFAR-100": Setup(50_000, 100, 200, 1, 512),
    "ImageNet, 8 ranks": Setup(1_281_167, 1000, 90, 8, 2048),
    "10^8 x 10, 8 ranks": Setup(10**8, 10, 20, 8, 512, workers=8),
    "10^9 x 1000, 256 ranks": Setup(10**9, 1000, 10, 256, 1024, 2, workers=256),
    "10^9 x 1000, 256 ranks, no evaluation pass": Setup(10**9, 1000, 10, 256, 0, 2, workers=256),
}
_SIZES = ("state_bytes", "feature_bytes", "waiting_bytes", "memory_bytes", "network_bytes", "store_bytes", "score_bytes")
_TIMES = ("record_seconds", "scoring_seconds", "selecting_seconds")


def page() -> str:
    """Return what data sets of several sizes take, from the functions of `thresher plan`."""
    lines = (DOCS / "scale.in.md").read_text().splitlines()
    cells = [["", *SETUPS], ["", *([""] * len(SETUPS))]]
    cells[1] = ["---", *["---:"] * len(SETUPS)]
    for name in ("n", "classes", "epochs", "ranks", "features", "log_prob_bytes", "workers"):
        cells.append([name.replace("_", " "), *(f"{getattr(setup, name):,}".replace(",", " ") for setup in SETUPS.values())])
    for names, text in ((_SIZES, bytes_text), (_TIMES, seconds_text)):
        for name in names:
            call = getattr(planning, name)
            cells.append([f"`{name}`", *(text(call(setup)) for setup in SETUPS.values())])
    grid = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    big = SETUPS["10^9 x 1000, 256 ranks"]
    train, evaluated = planning.row_bytes(big)
    pays = planning.payback(big, 0.3, 10)
    numbers = {
        "table": grid, "machine": MEASURED.machine, "rows": f"{big.rows:,}".replace(",", " "),
        "train": train, "eval": evaluated,
        "state": bytes_text(planning.state_bytes(big)), "waiting": bytes_text(planning.waiting_bytes(big)),
        "features": bytes_text(planning.feature_bytes(big)), "memory": bytes_text(planning.memory_bytes(big)),
        "network": bytes_text(planning.network_bytes(big, evaluated=False)), "last": bytes_text(planning.network_bytes(big)),
        "each": bytes_text(planning.network_bytes(big, evaluated=False) / 256),
        "store": bytes_text(planning.store_bytes(big)), "scores": bytes_text(planning.score_bytes(big)),
        "score": seconds_text(planning.scoring_seconds(big)), "select": seconds_text(planning.selecting_seconds(big)),
        "record_ns": f"{MEASURED.record_seconds * 1e9:.3g}", "score_ns": f"{MEASURED.score_seconds * 1e9:.3g}",
        "select_ns": f"{MEASURED.select_seconds * 1e9:.3g}", "write": f"{MEASURED.write_bytes / 1e6:.3g}",
        "overhead": f"{100 * MEASURED.overhead:.2g}", "trainings": pays.trainings, "seconds": seconds_text(pays.seconds),
        "files": -(-big.n // planning.even_bucket(big.n, big.ranks)),
    }  # fmt: skip
    text = "\n".join(lines)
    for name, value in numbers.items():
        text = text.replace(f"<{name}>", str(value))
    return text + "\n"
