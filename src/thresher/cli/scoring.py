"""Commands that do not train: `score`, `select`, `suspects`, `plan`, `methods`, `corrupt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from thresher.cli import _options as given
from thresher.cli import completion
from thresher.cli._app import app
from thresher.cli._options import PLACE, address, data, data_dir, needed, option, switch, workers
from thresher.cli.completion import among


@app.command()
@click.argument("source", type=PLACE)
@needed("--out", PLACE, help="Parquet file to write.")
@option(
    "--method", default="tdds", help="Scorers or methods, comma-separated, or all; parameters after a colon.",
    shell_complete=completion.methods,
)  # fmt: skip
@option("--window", help="TDDS's window K; several, comma-separated, make a grid.")
@option("--at", help="Trajectory length T (completed epochs); several, comma-separated, make a grid.")
@option("--keep", help="Kept share to derive (T, K) for, with --method tdds:at=auto.")
@switch("--exact", help="Read every epoch, even those that cannot change a score.")
@option(
    "--engine", help="Where to score: serial, threads, processes, or ray (many machines). Default: the fastest here.",
    shell_complete=among("serial", "threads", "processes", "ray"),
)  # fmt: skip
@workers
@address
@given.speaking
def score(**options: Any) -> None:
    """Score the samples of a recording.

    SOURCE is a run directory, a trajectory store, or a folder of official TDDS dumps: {t}_Output.npy (logits in loader
    order) and {t}_Index.npy per epoch, and optionally targets.npy. Writes sample_id (ascending), target if known, and
    one float32 column per score. A store is scored bucket by bucket, by several workers if that is faster, or on all
    machines of a Ray cluster that see it under the same path; the scores are bit for bit the same.

    \b
    thresher score runs/digits --method tdds,el2n --out scores.parquet
    thresher score dumps/ --method tdds --window 5,10 --at 10,20,30 --out grid.parquet
    thresher score s3://bucket/store --out s3://bucket/scores.parquet      # a recording that was uploaded
    """
    from thresher.commands.scoring import score_command

    score_command(**options)


@app.command()
@click.argument("scores", type=PLACE)
@needed("--keep", help="Share in (0, 1], or a count of samples.")
@needed("--out", PLACE, help="Coreset file to write (Parquet).")
@option(
    "--method", help="Method, see `thresher methods`; parameters after a colon. With --column also a selector: "
    "top:balanced=true. Default: tdds; top for a --column of other scores.",
    shell_complete=completion.method,
)  # fmt: skip
@option("--column", help="Score column, also one of your own. Default: the column with the method's settings.")
@option(
    "--data", help="Data set whose published settings to use. Default: that of the score table.",
    shell_complete=among(*completion.DATA_SETS),
)  # fmt: skip
@option("--seed", int, 0, help="Seed of selectors that draw at random.")
@option(
    "--engine", default="serial", help="Where to read the scores: serial, processes, or ray (many machines).",
    shell_complete=among("serial", "processes", "ray"),
)  # fmt: skip
@workers
@address
@given.speaking
def select(**options: Any) -> None:
    """Select a coreset from SCORES, a score table written by `thresher score` or `thresher run`.

    The table may be larger than memory: it is read a few times, block by block, and never held as a whole (except for auto
    and dual_beta). Samples with equal scores are ordered by a hash of their ids.

    \b
    thresher select scores.parquet --method tdds --keep 0.1 --out coreset.parquet
    thresher select mine.parquet --column loss --method top:balanced=true --keep 0.1 --out coreset.parquet
    """
    from thresher.commands.selecting import select_command

    select_command(**options)


@app.command()
@click.argument("source", type=PLACE)
@option("--out", Path, help="File to write all suspects to: .csv or .parquet.")
@option("--keep-others", Path, help="Coreset file to write (Parquet): all samples except the suspects.")
@option(
    "--data", help="Recorded data set of picture files (folder, imagenet), to list each suspect's file. Default: the "
    "recording's, with --data-dir.",
    shell_complete=among(*completion.DATA_SETS),
)  # fmt: skip
@data_dir
@switch("--force", help="Replace older files at --out and --keep-others.")
@given.speaking
def suspects(**options: Any) -> None:
    """List the samples whose labels the training argued against.

    SOURCE is a run directory, a trajectory store, or a folder of official TDDS dumps. The mean logit margins of wrong labels
    form a separate hump below zero; if there is none, no sample is suspected. Prints the estimated share of wrong labels and
    the most suspect samples; `margin` is the mean logit margin, `wrong` the probability of belonging to the lower hump.

    \b
    thresher suspects runs/digits
    thresher suspects runs/mine --data-dir pictures --out suspects.csv
    thresher suspects runs/mine --keep-others clean.parquet   # then: thresher train --coreset clean.parquet
    """
    from thresher.commands.suspects import suspects_command

    suspects_command(**options)


@app.command()
@needed("--n", int, help="Number of training samples.")
@needed("--classes", int, help="Classes.")
@needed("--epochs", int, help="Epochs of a full training.")
@option("--gpus", int, 1, help="Number of GPUs: ranks that record together.")
@option("--features", int, 512, help="Width of the penultimate layer; 0 without an evaluation pass.")
@option(
    "--log-probs", default="float32", help="Dtype of the Recorder's log-probabilities: float32 or float16.",
    shell_complete=among("float32", "float16"),
)  # fmt: skip
@option("--workers", int, 1, help="Number of cores for scoring.")
@option("--keep", default="0.7", help="Share or count to keep, to estimate when pruning pays off.")
@option("--surrogate-epochs", int, help="Epochs that are recorded. Default: all.")
@given.speaking
def plan(**options: Any) -> None:
    """Estimate what a recording will take: memory per rank, network, disk, time, and when pruning pays off.

    Sizes are calculated; times come from measured constants. docs/scale.md shows how, and what a billion samples take.

    \b
    thresher plan --n 1281167 --classes 1000 --epochs 90 --gpus 8
    """
    from thresher.commands.planning import plan_command

    plan_command(**options)


@app.command()
@click.argument("name", required=False, shell_complete=completion.method)
@given.speaking
def methods(**options: Any) -> None:
    """List the methods, scorers and selectors, or show the card of one of them: formula, parameters, source.

    A method is a scorer with a selector and their published settings. Wherever a command takes methods, parameters of both
    may follow after colons: tdds:window=5:at=10, ccs:cutoff=0.2, el2n:selector=stratified.

    \b
    thresher methods
    thresher methods tdds
    thresher methods stratified
    """
    from thresher.commands.methods import methods_command

    methods_command(**options)


@app.command()
@needed("--show", Path, help="Picture to write (PNG).")
@data
@data_dir
@option(
    "--variant",
    default="intended",
    help="As for --corrupt: intended or published-code, with seed and strengths after colons.",
    shell_complete=among("intended", "published-code"),
)
@option("--sample", help="Training sample ids: 0-2 or 0,7. Default: the first sample of each of six classes.")
@given.speaking
def corrupt(**options: Any) -> None:
    """Show what --corrupt does: one row per sample, clean and with each of the five corruptions.

    The samples look as in a training with the same variant, seed and strengths, where each corrupted sample has one of the
    five.

    \b
    thresher corrupt --show corruptions.png --data cifar10 --data-dir DIR
    thresher corrupt --show black-fog.png --data cifar10 --data-dir DIR --variant published-code
    """
    from thresher.commands.corrupt import corrupt_command

    corrupt_command(**options)
