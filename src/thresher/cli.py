"""The command line: parsing only. Each command turns its options into one call of the library.

Heavy modules are imported inside the commands, so that `thresher score` starts without torch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from thresher.cli_options import (
    BatchSize,
    Compile,
    Corrupt,
    Data,
    DataDir,
    Device,
    Epochs,
    Lr,
    Mislabel,
    Model,
    Precision,
)
from thresher.errors import ThresherError, one_line

app = typer.Typer(
    help="Keep the training samples that matter: record one training, score every sample, select a coreset, "
    "retrain on it and compare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def run(
    data: Data = "digits",
    data_dir: DataDir = None,
    corrupt: Corrupt = None,
    mislabel: Mislabel = None,
    model: Model = None,
    coreset_model: Annotated[str | None, typer.Option(help="Another model for the coreset trainings.")] = None,
    method: Annotated[
        str, typer.Option(help="Methods, comma-separated, or all. Parameters after a colon: tdds:window=5:at=10.")
    ] = "all",
    keep: Annotated[str | None, typer.Option(help="Shares in (0, 1] or counts, comma-separated. Default: 0.1.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the coreset trainings: 0-2 or 0,1,5.")] = "0-2",
    full: Annotated[bool, typer.Option(help="Also train on the full set, for comparison.")] = True,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    surrogate_epochs: Annotated[int | None, typer.Option(help="Epochs of the recorded surrogate.")] = None,
    surrogate_schedule: Annotated[
        int | None, typer.Option(help="Length of the surrogate's cosine, where it stops earlier.")
    ] = None,
    surrogate_batch_size: Annotated[int | None, typer.Option(help="Batch of the surrogate.")] = None,
    lr: Lr = None,
    scale_loss: Annotated[
        str, typer.Option(help="Scale the loss by the score (TDDS code): published (TDDS on CIFAR only), none, all.")
    ] = "published",
    precision: Precision = "fp32",
    device: Device = "auto",
    jobs: Annotated[
        int | None, typer.Option(help="Coreset trainings at once. Default: one per CPU core, or 1 on a GPU.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory. Default: runs/DATA.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with a run directory that is there.")] = True,
    report: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    compile: Compile = False,
) -> None:
    """Record, score, select, retrain and compare, in one go.

    Trains a surrogate on DATA while recording it, scores every sample with each method, keeps the share KEEP, retrains
    on each coreset with each seed, and prints one table: accuracy with its 95 % interval and the gap to Random, paired
    by seed. Leaves the recording, scores.parquet, the coresets, all results and report.html in the run directory.
    Run the same command again to go on after a crash or an interruption.

    thresher run
    thresher run --data cifar10 --data-dir DIR --model resnet18 --method tdds,random --keep 0.1,0.2
    thresher run --data cifar100 --data-dir DIR --corrupt intended:share=0.04 --mislabel 0.2:seed=0
    """
    from thresher.experiments.command import run_command

    run_command(
        data=data, data_dir=data_dir, corrupt=corrupt, mislabel=mislabel, model=model,
        coreset_model=coreset_model, method=method, keep=keep, seeds=seeds,
        full=full, epochs=epochs, batch_size=batch_size, surrogate_epochs=surrogate_epochs,
        surrogate_schedule=surrogate_schedule, surrogate_batch_size=surrogate_batch_size, lr=lr, scale_loss=scale_loss,
        precision=precision, device=device, jobs=jobs, out=out, resume=resume, report=report, compile_model=compile,
    )  # fmt: skip


@app.command()
def record(
    out: Annotated[Path, typer.Option(help="Run directory to record into.")],
    data: Data = "digits",
    data_dir: DataDir = None,
    corrupt: Corrupt = None,
    mislabel: Mislabel = None,
    model: Model = None,
    epochs: Epochs = None,
    schedule_epochs: Annotated[
        int | None, typer.Option(help="Length of the cosine. TDDS: stop at T, but keep the schedule of 200.")
    ] = None,
    batch_size: BatchSize = None,
    lr: Lr = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 42,
    precision: Precision = "fp32",
    device: Device = "auto",
    features: Annotated[
        bool, typer.Option(help="Run the final evaluation pass (Entropy, Moderate and GraNd need it).")
    ] = True,
    logits: Annotated[str | None, typer.Option(help="Also store all logits, as float16 or float32.")] = None,
    compile: Compile = False,
) -> None:
    """Train the surrogate and record its dynamics into OUT/trajectory, nothing else.

    Continues where it stopped: kill it at any moment and run it again.
    """
    from thresher.experiments.command import record_command

    record_command(
        out=out, data=data, data_dir=data_dir, corrupt=corrupt, mislabel=mislabel, model=model,
        epochs=epochs, schedule_epochs=schedule_epochs,
        batch_size=batch_size, lr=lr, seed=seed, precision=precision, device=device, features=features, logits=logits,
        compile_model=compile,
    )  # fmt: skip


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

    thresher score runs/digits --method tdds,el2n --out scores.parquet
    thresher score dumps/ --method tdds --window 5,10 --at 10,20,30 --out grid.parquet
    """
    from thresher.experiments.score_command import score_command

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

    thresher select scores.parquet --method tdds --keep 0.1 --out coreset.parquet
    """
    from thresher.experiments.score_command import select_command

    select_command(scores=scores, keep=keep, out=out, method=method, column=column, data=data, seed=seed)


@app.command()
def train(
    data: Data = "digits",
    data_dir: DataDir = None,
    corrupt: Corrupt = None,
    mislabel: Mislabel = None,
    coreset: Annotated[Path | None, typer.Option(help="Coreset to train on. Default: the full training set.")] = None,
    model: Model = None,
    seeds: Annotated[str, typer.Option(help="Seeds: 0-2 or 0,1,5.")] = "0",
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: Lr = None,
    precision: Precision = "fp32",
    device: Device = "auto",
    jobs: Annotated[int | None, typer.Option(help="Trainings at once.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the result files.")] = Path("runs/train"),
    compile: Compile = False,
) -> None:
    """Train on a coreset (or on everything) with several seeds and print the accuracies."""
    from thresher.experiments.command import train_command

    train_command(
        data=data, data_dir=data_dir, corrupt=corrupt, mislabel=mislabel, coreset=coreset,
        model=model, seeds=seeds, epochs=epochs, batch_size=batch_size,
        lr=lr, precision=precision, device=device, jobs=jobs, out=out, compile_model=compile,
    )  # fmt: skip


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

    thresher corrupt --show corruptions.png --data cifar10 --data-dir DIR
    thresher corrupt --show black-fog.png --data cifar10 --data-dir DIR --variant published-code
    """
    from thresher.experiments.corrupt_command import corrupt_command

    corrupt_command(show=show, data=data, data_dir=data_dir, variant=variant, sample=sample)


@app.command()
def reproduce(
    target: Annotated[str, typer.Argument(help="table6 to table10, figure7, figure8 (a picture), or all.")],
    data_dir: DataDir = None,
    scale: Annotated[str, typer.Option(help="full: the published recipe. small: a miniature for a CPU.")] = "full",
    only: Annotated[str, typer.Option(help="Conditions on the entries: 'method=tdds,random keep=0.1'.")] = "",
    seeds: Annotated[str, typer.Option(help="Seeds of selection and coreset training: 0-2 or 0,1,5.")] = "0-2",
    jobs: Annotated[
        int | None, typer.Option(help="Trainings at once, also on one GPU. Default: one per core, 1 on a GPU.")
    ] = None,
    limit_minutes: Annotated[float | None, typer.Option(help="Start nothing that cannot finish within this time.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how much is to run and how long it would take.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder of recordings and results; shared by all targets.")] = Path(
        "runs/reproduce"
    ),
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16, or recipe (what the target's recipe says).")] = "recipe",
    compile: Compile = False,
) -> None:
    """Reproduce a published table or figure, with our number beside the published one.

    Runs the cells of TARGET that have no result in OUT yet: records what they share once, selects, trains, and writes the
    board as Markdown, CSV and HTML. Stop it at any moment and run it again to go on; results of several machines are
    merged by copying their results folders together.

    thresher reproduce table6 --data-dir DIR --dry-run
    thresher reproduce table10 --data-dir DIR --only 'method=tdds,random keep=0.1' --limit-minutes 60
    thresher reproduce table6 --data-dir DIR --scale small --seeds 0,1
    """
    from thresher.experiments.reproduce_command import reproduce_command

    reproduce_command(
        target=target, scale=scale, only=only, seeds=seeds, jobs=jobs, limit_minutes=limit_minutes, dry_run=dry_run,
        out=out, data_dir=data_dir, device=device, precision=precision, compile_model=compile,
    )  # fmt: skip


@app.command()
def methods(name: Annotated[str | None, typer.Argument(help="A method's name.")] = None) -> None:
    """List the methods, or show the card of one: formula, parameters, direction, source, differences.

    A method is a scorer with a selector and the settings that were published for them. Wherever a command takes
    methods, parameters of both may follow after colons: tdds:window=5:at=10, ccs:cutoff=0.2, el2n:selector=stratified.

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


def main() -> None:
    """Entry point: what was refused, and what the system refuses, becomes one clear line and exit status 1."""
    try:
        app(standalone_mode=True)
    except (ThresherError, OSError) as error:
        typer.echo(f"thresher: {one_line(error)}", err=True)
        sys.exit(1)
    except SystemExit as end:
        if end.code == 130:  # how typer ends after Ctrl-C, as shells expect it
            typer.echo("thresher: interrupted; run the same command again to go on.", err=True)
        raise


if __name__ == "__main__":
    main()
