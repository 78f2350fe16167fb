"""Writes docs/reliability.md from page.md and the counts that the suite left in docs/reliability.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
DOCS = HERE.parents[2] / "docs"


def table(header: list[str], rows: list[list[Any]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (header, *rows)]
    return "\n".join([lines[0], "|---" + "|---:" * (len(header) - 1) + "|", *lines[1:]]) + "\n"


def text(counts: dict[str, Any]) -> str:
    """Return the page."""
    where, parts = counts["environment"], counts["parts"]
    when, cpus = (sorted({part[key] for part in parts.values()}) for key in ("date", "cpu"))  # parts may be run again alone
    kinds = {kind: {n.partition(": ")[2]: p for n, p in parts.items() if n.startswith(kind)} for kind in ("kill", "read")}
    kills = [[n, p["kills"], p["runs"], p["half_written"], p["wrong"]] for n, p in kinds["kill"].items()]
    kills.append(["all", *(sum(row[column] for row in kills) for column in range(1, 5))])
    columns = ("inputs", "refused", "answered", "wrong", "escaped", "hung", "acted", "crashed")
    reads = [[n, *(p[column] for column in columns)] for n, p in kinds["read"].items()]
    flips = parts["flip: store"]
    keys = ("files", "flips", "seen_by_verify", "harmless", "not_seen", "refused_by_scoring", "wrong")
    shown = ["files", "flips", "seen by verify", "same meaning", "not seen", "refused by scoring", "wrong scores"]
    return (
        HERE.with_suffix(".md")
        .read_text()
        .format(
            **where,
            when=f"on {when[0]}" if len(when) == 1 else f"from {when[0]} to {when[-1]}",
            cpus=" and of ".join(cpus),
            every={1: "single", 2: "second", 3: "third"}.get(flips["every"], f"{flips['every']}th"),
            kill_table=table(["job", "kills", "runs", "half-written files", "wrong"], kills),
            flip_table=table(shown, [[flips[key] for key in keys]]),
            read_table=table(["reader", *columns], reads),
        )
    )


if __name__ == "__main__":
    (DOCS / "reliability.md").write_text(text(json.loads((DOCS / "reliability.json").read_text())))
