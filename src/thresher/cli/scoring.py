"""Commands that read and draw: `score`, `select`, `methods`, `corrupt`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thresher.cli._app import app
from thresher.cli._options import Data, DataDir


@app.command()
def score(
    source: Annotated[Path, typer.Argument(help="A run directory, a trajectory store, or a folder of official TDDS dumps.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    method: Annotated[str, typer.Option(help="Scorers or methods (or all); parameters after a colon.")] = "tdds",
    window: Annotated[str | None, typer.Option(help="TDDS's window K; several, comma-separated, make a grid.")] = None,
    at: Annotated[str | None, typer.Option(help="Trajectory length T (completed epochs); several make a grid.")] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Read every epoch, also those that change no score.")] = False,
) -> None:
    """Score recorded dynamics: ours, or a folder of the official TDDS dumps.

    Official dumps are {t}_Output.npy (logits in loader order) and {t}_Index.npy per epoch, and optionally targets.npy.
    Writes sample_id (ascending), target where known, and one float32 column per score.

    \b
    thresher score runs/digits --method tdds,el2n --out scores.parquet
    thresher score dumps/ --method tdds --window 5,10 --at 10,20,30 --out grid.parquet
    """
    from thresher.commands.scoring import score_command

    score_command(source=source, out=out, method=method, window=window, at=at, exact=exact)


@app.command()
def select(
    scores: Annotated[Path, typer.Argument(help="A score table written by `thresher score` or `thresher run`.")],
    keep: Annotated[str, typer.Option(help="Share in (0, 1], or a count of samples.")],
    out: Annotated[Path, typer.Option(help="Coreset file to write (Parquet).")],
    method: Annotated[str, typer.Option(help="Method, see `thresher methods`; parameters after a colon.")] = "tdds",
    column: Annotated[str | None, typer.Option(help="Score column. Default: the one with the method's settings.")] = None,
    data: Annotated[str, typer.Option(help="Whose published settings to take. Default: the score table's data set.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of selectors that draw at random.")] = 0,
) -> None:
    """Select a coreset from scores.

    \b
    thresher select scores.parquet --method tdds --keep 0.1 --out coreset.parquet
    """
    from thresher.commands.scoring import select_command

    select_command(scores=scores, keep=keep, out=out, method=method, column=column, data=data, seed=seed)


@app.command()
def methods(name: Annotated[str | None, typer.Argument(help="A method's name.")] = None) -> None:
    """List the methods, or show the card of one: formula, parameters, direction, source, differences.

    A method is a scorer with a selector and the settings that were published for them. Wherever a command takes
    methods, parameters of both may follow after colons: tdds:window=5:at=10, ccs:cutoff=0.2, el2n:selector=stratified.

    \b
    thresher methods
    thresher methods tdds
    """
    from thresher.methods import METHODS, card

    if name is not None:
        typer.echo(card(name))
        return
    width = max(map(len, METHODS))
    for key, method in METHODS.items():
        typer.echo(f"{key:<{width}}  {method.title}")


@app.command()
def corrupt(
    show: Annotated[Path, typer.Option(help="Picture to write (PNG).")],
    data: Data = "digits",
    data_dir: DataDir = None,
    variant: Annotated[
        str, typer.Option(help="What --corrupt takes: intended or published-code, seed and strengths after colons.")
    ] = "intended",
    sample: Annotated[
        str | None, typer.Option(help="Training sample ids: 0-2 or 0,7. Default: the first of each of six classes.")
    ] = None,
) -> None:
    """Show what --corrupt does: one row per sample, clean and with each of the five corruptions.

    They look as in a training with the same variant, seed and strengths, where every corrupted sample has one of them.

    \b
    thresher corrupt --show corruptions.png --data cifar10 --data-dir DIR
    thresher corrupt --show black-fog.png --data cifar10 --data-dir DIR --variant published-code
    """
    from thresher.commands.corrupt import corrupt_command

    corrupt_command(show=show, data=data, data_dir=data_dir, variant=variant, sample=sample)
