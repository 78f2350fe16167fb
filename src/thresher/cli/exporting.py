"""The command that converts a coreset for other tools: `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from thresher.cli import _options as given
from thresher.cli import completion
from thresher.cli._app import app
from thresher.cli._options import PLACE, needed, option, switch
from thresher.cli.completion import among


@app.command()
@click.argument("coreset", type=PLACE)
@needed("--to", click.Choice(["csv", "parquet", "npy", "tdds", "uids", "folder", "webdataset"]), help="The format.")
@needed("--out", Path, help="File to write; for tdds, folder and webdataset a folder.")
@option("--scores", Path, help="tdds: the score table that the coreset was selected from.")
@option("--column", help="tdds: its score column. Default: the coreset's scorer.")
@option("--pool", Path, help="uids: the uids of all samples in id order (.txt, .csv, .parquet or .npy).")
@option("--shards", Path, multiple=True, help="webdataset: a shard, or a folder of .tar files; can be repeated.")
@option("--per-shard", int, 10_000, help="webdataset: samples in each new shard.")
@option("--how", click.Choice(["symlink", "copy"]), "symlink", help="folder: link or copy the pictures.")
@option(
    "--data", help="Data set that the coreset must belong to, checked by fingerprint. Default: the coreset's own for "
    "folder and with --data-dir; otherwise no check.",
    shell_complete=among(*completion.DATA_SETS),
)  # fmt: skip
@given.data_dir
@switch("--force", help="Replace the file, or the folder of an older export, at --out.")
@given.speaking
def export(**options: Any) -> None:
    """Write CORESET, a file from `thresher select`, in another tool's format.

    csv, parquet, npy: the sample ids (positions in the full training set); csv also lists the file of each picture if
    --data-dir names an image folder. tdds: the mask and score pair that the official TDDS training takes. uids: a DataComp
    subset file. folder: the kept pictures of an image folder. webdataset: new shards with the kept samples. Nothing is
    replaced without --force; with it, of folders only older exports.

    \b
    thresher export coreset.parquet --to csv --out kept.csv
    thresher export coreset.parquet --to tdds --scores scores.parquet --out generated_mask
    thresher export coreset.parquet --to folder --data-dir DIR --how copy --out kept
    thresher export coreset.parquet --to webdataset --shards DIR --out kept
    """
    from thresher.commands.exporting import export_command

    export_command(**options)
