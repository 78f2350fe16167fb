"""Accuracies, gaps and what they are the means of, as text: in tables, on boards and in reports alike."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal


def two_places(value: float) -> Decimal:
    """Round as on paper, a half away from zero: what is left of a mean's own rounding must not decide.

    >>> float(two_places(39.99499999999999)), float(two_places(-0.125))
    (40.0, -0.13)
    >>> two_places(-1e-15)  # a tie, whose sign binary fractions left
    Decimal('0.00')
    """
    return Decimal(repr(round(float(value), 9) + 0.0)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def plus_minus(mean: float | None, half: float | None, signed: bool = False) -> str:
    """Format a mean with its half-width.

    >>> plus_minus(1.234, 0.125), plus_minus(1.234, None, signed=True), plus_minus(None, None)
    ('1.23 ± 0.13', '+1.23', '')
    >>> plus_minus((28.15 + 28.80) / 2, None), plus_minus(39.995, None), plus_minus(-0.005, None, signed=True)
    ('28.48', '40.00', '-0.01')
    """
    if mean is None:
        return ""
    text = f"{two_places(mean):{'+' if signed else ''}.2f}"
    return text if half is None else f"{text} ± {two_places(half):.2f}"


def gap_text(gap: float | None, half: float | None, pairs: int, seeds: int) -> str:
    """Format a gap; where fewer seeds are paired with Random than the mean beside it has, say how many.

    >>> gap_text(-0.02, None, 1, 2), gap_text(1.5, 0.3, 2, 3), gap_text(1.5, 0.3, 3, 3), gap_text(None, None, 0, 2)
    ('-0.02 (1 pair)', '+1.50 ± 0.30 (2 pairs)', '+1.50 ± 0.30', '')
    """
    text = plus_minus(gap, half, signed=True)
    return text if pairs in (0, seeds) else f"{text} ({pairs} pair{'s' if pairs > 1 else ''})"


def seeds_text(seeds: int, diverged: int) -> str:
    """Say of how many seeds a mean is, and how many of their trainings diverged, where some did.

    >>> seeds_text(3, 0), seeds_text(3, 1)
    ('3', '3 (1 diverged)')
    """
    return f"{seeds} ({diverged} diverged)" if diverged else str(seeds)
