"""`thresher suspects`: the samples whose labels a recording argues against. No torch is imported here."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from thresher.commands.output import Output
from thresher.commands.recorded import epochs_text, note_unfinished
from thresher.errors import InputError
from thresher.exchange.place import check_free, write_new
from thresher.places import storage_errors
from thresher.replay import Request, open_source, replay
from thresher.scorers.aum import AUM
from thresher.suspects import Suspects, find_suspects

SHOWN = 20


@storage_errors()
def suspects_command(*, source: Path, out: Path | None, force: bool, say: Output) -> None:
    """Print the estimated share of wrong labels and the most suspect samples; write all suspects where asked to."""
    if out is not None:
        _check_out(out, force)
    opened = open_source(source)
    note_unfinished(source, opened, say)
    with say.screen() as screen:
        step = partial(screen.step, "reading")
        margins = replay(opened, [Request("margin", AUM(margin="logit"))], on_step=step)["margin"].values
    found = find_suspects(margins)
    count, shown = int(found.mask.sum()), _shown(found, opened.targets)
    humps = f"separation {found.separation:.2f}, centres {found.centres[0]:+.2f} and {found.centres[1]:+.2f}"
    if not count:
        say.line(f"{opened.n} samples, {epochs_text(opened)}, nobody suspected: {found.reason} ({humps}).")
    else:
        say.line(
            f"{opened.n} samples, {epochs_text(opened)}, about {found.share:.1%} wrong labels: {count} suspects ({humps})\n"
            f"{'sample_id':>10} {'target':>7} {'margin':>8} {'wrong':>6}"
        )
        for row in shown:
            label = row.get("target", "")
            say.line(f"{row['sample_id']:>10} {label:>7} {row['margin']:>8.2f} {row['wrong']:>6.3f}")
        if count > SHOWN:
            say.line(f"... and {count - SHOWN} more" + ("" if out else "; --out writes all of them"))
    if out is not None:
        write(found, opened.targets, out, force)
        say.wrote(out)
        say.line(f"{out}: {count} suspects")
    say.result({"samples": opened.n, "epochs": opened.epochs, **found.to_json(), "rows": shown})


def _shown(found: Suspects, targets: np.ndarray[tuple[int], np.dtype[np.int64]] | None) -> list[dict[str, Any]]:
    """Return the most suspect samples, as they are printed."""
    return [
        {
            "sample_id": i, **({} if targets is None else {"target": int(targets[i])}),
            "margin": float(found.margins[i]), "wrong": float(found.wrong[i]),
        }
        for i in ranked(found)[:SHOWN].tolist()
    ]  # fmt: skip


def ranked(found: Suspects) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the ids of the suspects, the most argued against first."""
    ids = np.flatnonzero(found.mask)
    return ids[np.argsort(found.margins[ids], kind="stable")]


def write(found: Suspects, targets: np.ndarray[tuple[int], np.dtype[np.int64]] | None, path: Path, force: bool) -> None:
    """Write sample_id, target (where known), margin and wrong of every suspect, the most suspect first, as the name says.

    Raises InputError for another ending than .csv and .parquet, RunDirectoryError where `path` exists and not `force`.
    """
    _check_out(path, force)
    ids = ranked(found)
    columns = {"sample_id": ids, **({} if targets is None else {"target": targets[ids]})}
    table = pa.table({**columns, "margin": found.margins[ids], "wrong": found.wrong[ids]})
    buffer = io.BytesIO()
    if path.suffix == ".csv":
        pa_csv.write_csv(table, buffer)
    else:
        pq.write_table(table, buffer)
    write_new(path, buffer.getvalue(), force)


def _check_out(path: Path, force: bool) -> None:
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"Expected --out as a .csv or .parquet file, but got {path}.")
    check_free(path, force)
