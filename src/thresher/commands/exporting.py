"""`thresher export`: a coreset in another tool's format. Does not import torch unless a data set is named."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from thresher.commands.output import Output
from thresher.commands.pictures import load_for, picture_files, usual_data
from thresher.commands.screen import Screen
from thresher.coreset import Coreset
from thresher.coreset_file import sidecar_path
from thresher.errors import FingerprintError, InputError, MissingFileError, RunDirectoryError, UnknownNameError
from thresher.exchange.folders import How, export_folder
from thresher.exchange.ids import write_csv, write_npy
from thresher.exchange.place import check_free, same_file
from thresher.exchange.tdds import write_pair
from thresher.exchange.uids import read_pool, write_uids
from thresher.exchange.webdataset import reshard
from thresher.score_table import read_scores

_READ_BY: dict[str, tuple[str, Any]] = {
    "scores": ("tdds", None), "column": ("tdds", None), "pool": ("uids", None), "shards": ("webdataset", ()),
    "per_shard": ("webdataset", 10_000), "how": ("folder", "symlink"),
}  # fmt: skip
"""Which format reads an option, and the option's default."""
_SHARD = re.compile(r"\.tar(\.(gz|bz2|xz|zst))?$")


def export_command(
    *, coreset: Path, to: str, out: Path, scores: Path | None, column: str | None, pool: Path | None,
    shards: tuple[Path, ...], per_shard: int, how: How, data: str | None, data_dir: Path | None, force: bool,
    say: Output,
) -> None:  # fmt: skip
    """`thresher export`."""
    _refuse_unread(to, scores=scores, column=column, pool=pool, shards=shards, per_shard=per_shard, how=how)
    kept = Coreset.load(coreset)
    _refuse_own(out, coreset, sidecar_path(coreset), scores, pool)
    _refuse_ending(to, out)
    loaded = None
    if data is not None or data_dir is not None or to == "folder":
        loaded, compared = load_for(kept.source, data or usual_data(kept.source, pictures=to == "folder"), data_dir)
        kept.check_data(coreset, compared.fingerprint, len(compared.train), compared.name)
    note, facts = "", dict[str, Any]()
    if to == "csv":
        write_csv(kept, out, force=force, name=getattr(getattr(loaded, "train", None), "name", None))
    elif to == "npy":
        write_npy(kept, out, force=force)
    elif to == "parquet":
        for place in (out, sidecar_path(out)):
            check_free(place, force)
        kept.save(out)
    elif to == "tdds":
        rate = _tdds(kept, out, _needed(scores, "--scores", to), column, force)
        note, facts = f" (train it with --subset_rate {rate!r})", {"subset_rate": rate}
    elif to == "uids":
        write_uids(kept, read_pool(_needed(pool, "--pool", to)), out, force=force)
    elif loaded is not None and to == "folder":
        pictures = picture_files(loaded)
        with Screen(say) as screen:
            step = partial(screen.step, "copying" if how == "copy" else "linking")
            export_folder(kept, pictures, out, how=how, force=force, on_step=step)
    else:
        with Screen(say) as screen:
            step = partial(screen.step, "re-sharding")
            written = reshard(kept, _tar_files(shards), out, per_shard=per_shard, force=force, on_step=step)
        note, facts = f", {len(written)} shards", {"shards": written}
    say.wrote(out)
    say.line(f"{out}: {len(kept)} of {kept.n} samples as {to}{note}")
    say.result({"format": to, "kept": len(kept), "samples": kept.n, **facts})


def _tdds(kept: Coreset, out: Path, scores: Path, column: str | None, force: bool) -> float:
    """Write the pair and return the rate to pass to the official training.

    The files are named by the settings recorded with the column, 0 if it has none.
    """
    table = read_scores(scores)
    of = table.info.get("fingerprint")
    if kept.fingerprint is not None and of not in (None, kept.fingerprint):
        raise FingerprintError(f"Expected scores of the coreset's data set, but {scores} is of another one ({of}).")
    told = kept.source.get("scorer", {})
    name = column or (told.get("scorer", "tdds") if isinstance(told, dict) else "tdds")
    if name not in table.columns:
        raise UnknownNameError(f"{scores} has no column {name}, only {', '.join(table.columns)}. Name one with --column.")
    chosen = table.columns[name]
    window, at = chosen.source.get("params", {}).get("window", 0), chosen.source.get("at", 0)
    return write_pair(kept, chosen, out, window, at, force=force)


def _refuse_unread(to: str, **options: Any) -> None:
    """Raise InputError for an option that the format does not use."""
    for name, (reader, unset) in _READ_BY.items():
        if options[name] != unset and to != reader:
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option} is only for --to {reader}, but this is --to {to}. Omit it.")


def _refuse_ending(to: str, out: Path) -> None:
    """Raise InputError if the name of the file to write has the ending of another format, or of a compressed file: readers
    go by it."""
    ending = out.suffix.lower()
    of = {"csv": (".csv", ".txt"), "npy": (".npy",), "parquet": (".parquet",), "uids": (".npy",)}
    others = (".csv", ".json", ".npy", ".parquet", ".tsv", ".gz", ".bz2", ".xz", ".zip", ".zst")
    if to in of and ending not in of[to] and ending in others:
        raise InputError(f"Expected a name that ends with {of[to][0]} for --to {to}, but --out is {out}. Rename it.")


def _refuse_own(out: Path, *sources: Path | None) -> None:
    """Raise RunDirectoryError if an export would replace one of its sources, even with --force."""
    for source in sources:
        if source is not None and same_file(out, source):
            raise RunDirectoryError(f"{out} is a source of this export and would be lost. Choose another --out.")


def _needed(path: Path | None, option: str, to: str) -> Path:
    if path is None:
        raise InputError(f"Expected {option} for --to {to}; see thresher export --help.")
    return path


def _tar_files(shards: tuple[Path, ...]) -> list[Path]:
    """Return the shards sorted by name, including those of a folder."""
    if not shards:
        raise InputError("Expected --shards for --to webdataset; see thresher export --help.")
    found = [path for place in shards for path in (_tars_of(place) if place.is_dir() else [place])]
    if not found:
        raise MissingFileError(f"Expected .tar files in {', '.join(map(str, shards))}, but there is none.")
    return found


def _tars_of(folder: Path) -> list[Path]:
    """Return the .tar files of a folder, also compressed ones, but not what lies beside them: an index, a checksum."""
    return sorted(path for path in folder.glob("*.tar*") if _SHARD.search(path.name))
