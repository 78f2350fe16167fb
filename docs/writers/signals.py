"""The table of signals."""

from __future__ import annotations

from thresher.experiments.recording import RECORDED
from thresher.signals import SIGNALS
from writers.markdown import NOTE, table


def page() -> str:
    """Return the page of all signals."""
    stored = ", ".join(f"`{name}`" for name in RECORDED)
    rows = [[f"`{s.name}`", s.unit, s.doc, f"{s.low:g}", f"{s.high:g}"] for s in SIGNALS.values()]
    return f"""{NOTE}
# Signals

What is recorded: each signal is one float32 number per sample and epoch, computed once per batch for all scorers that
read it.

{table(["signal", "unit", "meaning", "low", "high"], rows, left=3)}

With the prefix `eval_`: the same signals of the evaluation pass (evaluation mode, no augmentation), except the two changes.

`thresher record` and `thresher run` store what the built-in methods read: {stored}. For a scorer that reads
any other signal, [record in your own loop](frameworks/plain.md).
"""
