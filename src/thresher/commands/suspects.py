"""`thresher suspects`: the samples whose labels a recording argues against. Does not import torch."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from thresher.commands.output import Output
from thresher.commands.pictures import load_for, picture_files, same_classes, usual_data
from thresher.commands.recorded import epochs_text, note_unfinished
from thresher.commands.screen import Screen
from thresher.coreset import Coreset
from thresher.errors import FingerprintError, InputError, printable
from thresher.exchange.place import check_free, check_kind, check_parquet, same_file, write_new
from thresher.places import storage_errors
from thresher.replay import Request, Source, open_source, replay
from thresher.scorers.aum import AUM
from thresher.suspects import Suspects, find_suspects
from thresher.types import Ids
from thresher.version import __version__

SHOWN = 20
Namer = Callable[[int], str]


@storage_errors()
def suspects_command(
    *, source: Path, out: Path | None, keep_others: Path | None, data: str | None, data_dir: Path | None, force: bool,
    say: Output,
) -> None:  # fmt: skip
    """Print the estimated share of wrong labels and the most suspect samples; if requested, write all of them, and a coreset
    of all other samples."""
    if out is not None:
        _check_out(out, force)
    if keep_others is not None:
        check_parquet(keep_others, "coreset", "--keep-others")
        check_free(keep_others, force)
        check_kind(keep_others, "coreset", Coreset.load, "--keep-others")
        if out is not None and same_file(out, keep_others):
            raise InputError(f"Expected two files, but --out and --keep-others are both {out}. Choose another name for one.")
    opened = open_source(source)
    name = _namer(opened, source, data, data_dir, say) if data is not None or data_dir is not None else None
    note_unfinished(source, opened, say)
    with Screen(say) as screen:
        step = partial(screen.step, "reading")
        margins = replay(opened, [Request("margin", AUM(margin="logit"))], on_step=step)["margin"].values
    found = find_suspects(margins)
    if found.share > 0.5:  # a network learns whole classes late, and their samples form a hump as wrong labels do
        say.note(
            f"More than half of the labels are suspected: likely the network had not learned some classes yet, after "
            f"{epochs_text(opened)}. Record more epochs, or look at some samples before you leave any out."
        )
    count, shown = int(found.mask.sum()), _shown(found, opened.targets, name)
    _tell(found, opened, shown, say, more="" if out else "; --out writes all of them")
    if out is not None:
        write(found, opened.targets, out, force, name)
        say.wrote(out)
        say.line(f"{out}: {count} suspects")
    if keep_others is not None:
        others = without(found, opened.info)
        others.save(keep_others)
        say.wrote(keep_others)
        say.line(f"{keep_others}: {len(others)} of {opened.n} samples, all but the suspects")
    say.result({"samples": opened.n, "epochs": opened.epochs, **found.to_json(), "rows": shown})


def _tell(found: Suspects, opened: Source, shown: list[dict[str, Any]], say: Output, more: str) -> None:
    """Print what was found, and the most suspect samples."""
    count = int(found.mask.sum())
    centres = f"centres {found.centres[0]:+.2f} and {found.centres[1]:+.2f}"
    if not count:
        looked = f" ({centres})" if found.separation else ""  # of too few nothing was fitted
        say.line(f"{opened.n} samples, {epochs_text(opened)}, none suspected: {found.reason}{looked}.")
        say.note(
            "Labels may be wrong all the same. To look at the samples with the lowest margins: "
            "thresher score ... --method aum:margin=logit, then thresher select ... --keep 20, and export them to csv."
        )
        return
    humps = f"separation {found.separation:.2f}, {centres}"
    path = "  path" if "path" in shown[0] else ""
    say.line(
        f"{opened.n} samples, {epochs_text(opened)}, about {found.share:.1%} wrong labels: {count} suspects ({humps})\n"
        f"{'sample_id':>10} {'target':>7} {'margin':>8} {'wrong':>6}{path}"
    )
    for row in shown:
        place = f"  {printable(row['path'])}" if path else ""
        say.line(f"{row['sample_id']:>10} {row.get('target', ''):>7} {row['margin']:>8.2f} {row['wrong']:>6.3f}{place}")
    if count > SHOWN:
        say.line(f"... and {count - SHOWN} more{more}")


def _namer(opened: Source, source: Path, data: str | None, data_dir: Path | None, say: Output) -> Namer:
    """Return a function that gives the path of a sample's picture; raises FingerprintError unless the data are those that
    were recorded. Where the recording has no fingerprint to compare, other classes are noted."""
    told = opened.info
    plain, compared = load_for(told, data or usual_data(told, pictures=True), data_dir)
    name, of = picture_files(plain).name, told.get("fingerprint")
    if of not in (None, compared.fingerprint):
        anew = "record this one"
        raise FingerprintError.between("recording", source, told, compared.fingerprint, compared.name, anew)
    if len(plain.train) != opened.n:
        raise FingerprintError(f"Expected the {opened.n} pictures recorded in {source}, but there are {len(plain.train)}.")
    if of is None and opened.targets is not None and not same_classes(opened.targets, compared.train.targets):
        say.note(
            "The pictures are not of the recorded classes. The files named are the right ones only if the recording's "
            "sample ids go as Thresher's do: class folder by class folder, in each by sorted path."
        )
    return name


def without(found: Suspects, info: Mapping[str, Any]) -> Coreset:
    """Return the coreset of all samples except the suspects of a recording with the provenance `info`."""
    ids = np.flatnonzero(~found.mask)
    of = {key: info[key] for key in ("data", "fingerprint") if info.get(key)}
    source = {"method": "suspects left out", "keep": len(ids), **found.to_json(), "version": __version__, **of}
    return Coreset(ids, None, len(found.mask), source)


def _shown(found: Suspects, targets: Ids | None, name: Namer | None) -> list[dict[str, Any]]:
    """Return the most suspect samples, as printed."""
    return [
        {
            "sample_id": i, **({} if targets is None else {"target": int(targets[i])}),
            "margin": float(found.margins[i]), "wrong": float(found.wrong[i]),
            **({} if name is None else {"path": name(i)}),
        }
        for i in ranked(found)[:SHOWN].tolist()
    ]  # fmt: skip


def ranked(found: Suspects) -> Ids:
    """Return the ids of the suspects, the most suspect first."""
    ids = np.flatnonzero(found.mask)
    return ids[np.argsort(found.margins[ids], kind="stable")]


def write(
    found: Suspects, targets: Ids | None, path: Path, force: bool,
    name: Namer | None = None,
) -> None:  # fmt: skip
    """Write sample_id, target (if known), margin, wrong and, with `name`, the path of every suspect, the most suspect
    first, in the format given by the ending of `path`.

    Raises InputError for an ending other than .csv and .parquet, RunDirectoryError if `path` exists without `force`.
    """
    _check_out(path, force)
    ids = ranked(found)
    columns: dict[str, Any] = {"sample_id": ids, **({} if targets is None else {"target": targets[ids]})}
    columns |= {"margin": found.margins[ids], "wrong": found.wrong[ids]}
    table = pa.table(columns | ({} if name is None else {"path": pa.array(map(name, ids.tolist()), pa.string())}))
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
