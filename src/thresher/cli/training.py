"""Commands that train: `run`, `record`, `train`, `reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thresher.cli._app import app
from thresher.cli._options import BatchSize, Compile, Corrupt, Data, DataDir, Device, Epochs, Lr, Mislabel, Model, Precision


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

    \b
    thresher run
    thresher run --data cifar10 --data-dir DIR --model resnet18 --method tdds,random --keep 0.1,0.2
    thresher run --data cifar100 --data-dir DIR --corrupt intended:share=0.04 --mislabel 0.2:seed=0
    """
    from thresher.commands.training import run_command

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
    from thresher.commands.training import record_command

    record_command(
        out=out, data=data, data_dir=data_dir, corrupt=corrupt, mislabel=mislabel, model=model,
        epochs=epochs, schedule_epochs=schedule_epochs,
        batch_size=batch_size, lr=lr, seed=seed, precision=precision, device=device, features=features, logits=logits,
        compile_model=compile,
    )  # fmt: skip


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
    from thresher.commands.training import train_command

    train_command(
        data=data, data_dir=data_dir, corrupt=corrupt, mislabel=mislabel, coreset=coreset,
        model=model, seeds=seeds, epochs=epochs, batch_size=batch_size,
        lr=lr, precision=precision, device=device, jobs=jobs, out=out, compile_model=compile,
    )  # fmt: skip


@app.command()
def reproduce(
    target: Annotated[
        str, typer.Argument(help="table6 to table10, figure7, figure8 (a picture), imagenet-resnet34, imagenet-swin, all.")
    ],
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

    \b
    thresher reproduce table6 --data-dir DIR --dry-run
    thresher reproduce table10 --data-dir DIR --only 'method=tdds,random keep=0.1' --limit-minutes 60
    thresher reproduce table6 --data-dir DIR --scale small --seeds 0,1
    """
    from thresher.commands.reproduce import reproduce_command

    reproduce_command(
        target=target, scale=scale, only=only, seeds=seeds, jobs=jobs, limit_minutes=limit_minutes, dry_run=dry_run,
        out=out, data_dir=data_dir, device=device, precision=precision, compile_model=compile,
    )  # fmt: skip


@app.command()
def tune(
    keep: Annotated[str, typer.Option(help="Kept share in (0, 1] to tune for.")],
    budget_minutes: Annotated[float, typer.Option(help="Start nothing that cannot finish within this time.")],
    data: Data = "digits",
    data_dir: DataDir = None,
    corrupt: Corrupt = None,
    mislabel: Mislabel = None,
    model: Model = None,
    holdout: Annotated[str, typer.Option(help="Share of the training set to measure on: 0.1 or 0.1:seed=0.")] = "0.1",
    seeds: Annotated[str, typer.Option(help="Seeds per setting: 0-2 or 0,1,5.")] = "0",
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    surrogate_epochs: Annotated[int | None, typer.Option(help="Epochs of the recorded surrogate.")] = None,
    surrogate_batch_size: Annotated[int | None, typer.Option(help="Batch of the surrogate.")] = None,
    lr: Lr = None,
    precision: Precision = "fp32",
    device: Device = "auto",
    jobs: Annotated[int | None, typer.Option(help="Trainings at once.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of recordings and results. Default: runs/tune-DATA.")] = None,
) -> None:
    """Find TDDS's trajectory length T and window K for a data set and a kept share, without the test set.

    Holds out a part of the training set, records the surrogate on the rest, trains on the coresets of as many (T, K) as
    the budget allows, and prints the best with its accuracy on the held-out part. Run it again with more minutes to go on.

    \b
    thresher tune --data cifar10 --data-dir DIR --model small --keep 0.1 --budget-minutes 60
    """
    from thresher.commands.tune import tune_command

    tune_command(
        data=data, data_dir=data_dir, corrupt=corrupt, mislabel=mislabel, model=model, keep=keep,
        budget_minutes=budget_minutes, holdout=holdout, seeds=seeds, epochs=epochs, batch_size=batch_size,
        surrogate_epochs=surrogate_epochs, surrogate_batch_size=surrogate_batch_size, lr=lr, precision=precision,
        device=device, jobs=jobs, out=out,
    )  # fmt: skip
