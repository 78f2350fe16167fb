"""Commands that train: `run`, `record`, `train`, `reproduce`, `tune`."""

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
@given.which_data
@given.model
@option(
    "--coreset-model", help="Model for the coreset trainings, if different.", shell_complete=among(*completion.MODELS)
)  # fmt: skip
@option(
    "--method",
    help="Methods, comma-separated, or all; with parameters: tdds:window=5:at=10. Default: random,auto; digits: all.",
    shell_complete=completion.methods,
)  # fmt: skip
@option("--keep", help="Shares in (0, 1] or counts, comma-separated. Default: 0.1.")
@option("--seeds", default="0-2", help="Seeds of the coreset trainings: 0-2 or 0,1,5.")
@switch("--full/--no-full", default=True, help="Also train on the full set, for comparison.")
@given.epochs
@given.batch_size
@given.surrogate_epochs
@option("--surrogate-schedule", int, help="Length of the surrogate's cosine schedule, if it stops earlier.")
@given.surrogate_batch_size
@given.lr
@given.scale_loss
@given.precision
@given.device
@option("--jobs", int, help="Coreset trainings at once. Default: one per CPU core, or 1 on a GPU.")
@switch("--check", help="Measure on a held-out tenth whether auto beats Random; where it does not, use Random.")
@option("--budget-minutes", float, help="Time for --check, for all kept shares together.")
@option("--out", Path, help="Run directory. Default: runs/DATA.")
@switch("--resume/--no-resume", default=True, help="Continue an existing run directory.")
@switch("--report/--no-report", default=True, help="Write report.html.")
@given.compile_model
@given.track
@given.speaking
def run(**options: Any) -> None:
    """Record, score, select, retrain and compare, in one go.

    Trains a surrogate on DATA while recording it, scores every sample with each METHOD, keeps the share KEEP, retrains
    on each coreset with each seed, and prints a table: accuracy with its 95 % interval and the gap to Random, paired by
    seed. Writes the recording, scores.parquet, the coresets, all results and report.html to the run directory. Run the same
    command again to continue after a crash or an interruption. Under torchrun the surrogate is trained data-parallel, and
    the coreset trainings are distributed among the ranks.

    \b
    thresher run
    thresher run --data cifar10 --data-dir DIR --model resnet18 --method tdds,random --keep 0.1,0.2
    thresher run --data cifar100 --data-dir DIR --corrupt intended:share=0.04 --mislabel 0.2:seed=0
    thresher run --data folder --data-dir DIR --check --budget-minutes 30
    """
    from thresher.commands.training import run_command

    run_command(**options)


@app.command()
@needed("--out", Path, help="Run directory to record into.")
@given.which_data
@given.model
@given.epochs
@option("--schedule-epochs", int, help="Length of the cosine schedule. For TDDS: stop at T, but keep the schedule of 200.")
@given.batch_size
@given.lr
@option("--seed", int, 42, help="Seed of initial weights, sample order and augmentation.")
@given.precision
@given.device
@switch(
    "--features/--no-features", default=True, help="Run the final evaluation pass (Entropy, Moderate and GraNd need it)."
)
@option("--logits", help="Also store all logits, as float16 or float32.", shell_complete=among("float16", "float32"))
@given.compile_model
@given.track
@given.speaking
def record(**options: Any) -> None:
    """Only train the surrogate and record its dynamics into OUT/trajectory.

    It can be stopped at any time; the same command continues where it stopped. Under torchrun all ranks train and record
    together; continue with the same number of ranks.

    \b
    thresher record --out runs/mine
    torchrun --nproc-per-node 8 -m thresher.cli record --data imagenet --data-dir DIR --out runs/imagenet
    """
    from thresher.commands.training import record_command

    record_command(**options)


@app.command()
@given.which_data
@option("--coreset", PLACE, help="Coreset to train on. Default: the full training set.")
@option(
    "--dynamic", help="Prune during training, by live scores: infobatch, redraw:method=tdds:keep=0.3:every=5:warmup=10.",
    shell_complete=among("infobatch", "redraw"),
)  # fmt: skip
@given.model
@option("--seeds", default="0", help="Seeds: 0-2 or 0,1,5.")
@given.epochs
@given.batch_size
@given.lr
@given.precision
@given.device
@given.jobs
@given.eval_every
@option("--out", Path, Path("runs/train"), help="Folder for the result files.")
@given.compile_model
@given.track
@given.speaking
def train(**options: Any) -> None:
    """Train on a coreset (or on the full training set) with several seeds and print the accuracies.

    With --dynamic there is no coreset: each epoch shows what the rule draws by the scores of the current training.
    Under torchrun the trainings are distributed among the ranks. It can be stopped at any time; the same command continues.

    \b
    thresher train --coreset coreset.parquet --seeds 0-2
    thresher train --data cifar10 --data-dir DIR --model small --dynamic infobatch
    """
    from thresher.commands.training import train_command

    train_command(**options)


@app.command()
@click.argument("target", shell_complete=among(*completion.TARGETS))
@given.data_dir
@option(
    "--scale", default="full", help="full: the published recipe. small: a reduced version for a CPU.",
    shell_complete=among("full", "small"),
)  # fmt: skip
@option("--only", default="", help="Only these entries: 'method=tdds,random keep=0.1'.", show_default=False)
@option("--seeds", default="0-2", help="Seeds of selection and coreset training: 0-2 or 0,1,5.")
@option("--jobs", int, help="Trainings at once, also on one GPU. Default: one per core, or 1 on a GPU.")
@option("--limit-minutes", float, help="Start only what can finish within this time.")
@given.eval_every
@switch("--dry-run", help="Only print how much there is to run and how long it would take.")
@option("--out", Path, Path("runs/reproduce"), help="Folder for recordings and results; shared by all targets.")
@given.device
@option(
    "--precision", default="recipe", help="fp32, bf16, or recipe (that of the target's recipe).",
    shell_complete=among("recipe", "fp32", "bf16"),
)  # fmt: skip
@given.scale_loss
@option(
    "--engine",
    help="Where to run the coreset trainings: processes, turns (one thread starts a step of each in turn), threads, "
    "serial, or ray (many machines). Default: turns on a GPU, otherwise processes.",
    shell_complete=among("processes", "turns", "threads", "serial", "ray"),
)
@given.address
@given.compile_model
@given.track
@given.speaking
def reproduce(**options: Any) -> None:
    """Reproduce a published table or figure, with the new numbers next to the published ones.

    TARGET is table6 to table10, figure7, figure8 (a picture), imagenet-resnet34, imagenet-swin, all of these (all), or
    auto (the evaluation of the method auto, for which nothing is published). Runs the trainings (cells) that have no result
    in OUT yet: makes each shared recording once, selects, trains, and writes the board as Markdown, CSV and HTML. With
    --only it runs and prints some entries; the written board has all of them. It can be stopped at any time; the same
    command continues. Results of several machines are merged by copying their results folders together; a copy of the
    folder coresets lets the trainings go on without the recordings. With --engine ray the machines of a cluster share the
    coreset trainings; they must see OUT and the data under the same paths.

    \b
    thresher reproduce table6 --data-dir DIR --dry-run
    thresher reproduce table10 --data-dir DIR --only 'method=tdds,random keep=0.1' --limit-minutes 60
    thresher reproduce table6 --data-dir DIR --scale small --seeds 0,1
    """
    from thresher.commands.reproduce import reproduce_command

    reproduce_command(**options)


@app.command()
@needed("--keep", help="Kept share in (0, 1] to tune for.")
@needed("--budget-minutes", float, help="Start only what can finish within this time.")
@given.which_data
@given.model
@option("--holdout", default="0.1", help="Share of the training set to measure on: 0.1 or 0.1:seed=0.")
@option("--seeds", default="0", help="Seeds for each setting: 0-2 or 0,1,5.")
@given.epochs
@given.surrogate_epochs
@given.batch_size
@given.surrogate_batch_size
@given.lr
@given.precision
@given.device
@given.jobs
@option("--out", Path, help="Folder for recordings and results. Default: runs/tune-DATA.")
@given.track
@given.speaking
def tune(**options: Any) -> None:
    """Find TDDS's trajectory length T and window K for a data set and a kept share, without the test set.

    Holds out a part of the training set, records the surrogate on the rest, trains on the coresets of as many (T, K) as
    the budget allows, and prints the best with its accuracy on the held-out part. Run it again with more minutes to try
    more.

    \b
    thresher tune --data cifar10 --data-dir DIR --model small --keep 0.1 --budget-minutes 60
    """
    from thresher.commands.tune import tune_command

    tune_command(**options)
