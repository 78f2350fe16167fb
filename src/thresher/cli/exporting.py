"""The command that hands a coreset on: `export`."""

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
@needed("--out", Path, help="File to write; for tdds, folder and webdataset the folder.")
@option("--scores", Path, help="tdds: the score table that the coreset was selected from.")
@option("--column", help="tdds: its score column. Default: the scorer of the coreset.")
@option("--pool", Path, help="uids: the uids of all samples in id order (.txt, .csv, .parquet or .npy).")
@option("--shards", Path, multiple=True, help="webdataset: a shard, or a folder of .tar files; may be given several times.")
@option("--per-shard", int, 10_000, help="webdataset: samples in each new shard.")
@option("--how", click.Choice(["symlink", "copy"]), "symlink", help="folder: how pictures get there.")
@option(
    "--data", help="Data set that the coreset must be of: its fingerprint is compared. Default: the coreset's own, for "
    "folder and with --data-dir; else none.",
    shell_complete=among(*completion.DATA_SETS),
)  # fmt: skip
@given.data_dir
@switch("--force", help="Replace the file, or the older export's folder, at --out.")
@given.speaking
def export(**options: Any) -> None:
    """Write CORESET, a file of `thresher select`, in a format of other tools.

    csv, parquet, npy: the sample ids (positions in the full training set), in csv with the files of a folder of pictures
    that --data-dir names. tdds: the mask and score pair that the official
    TDDS training takes. uids: a DataComp subset file. folder: the kept pictures of an image folder. webdataset: new
    shards with the kept samples. Nothing that exists is replaced without --force, and of folders
    only those of an older export with it.

    \b
    thresher export coreset.parquet --to csv --out kept.csv
    thresher export coreset.parquet --to tdds --scores scores.parquet --out generated_mask
    thresher export coreset.parquet --to folder --data-dir DIR --how copy --out kept
    thresher export coreset.parquet --to webdataset --shards DIR --out kept
    """
    from thresher.commands.exporting import export_command

    export_command(**options)
