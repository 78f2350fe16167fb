"""The options that several commands share, each with its type and help text, and the functions that create options."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from thresher.cli import completion
from thresher.cli.completion import among

Command = TypeVar("Command", bound=Callable[..., Any])


def option(flag: str, kind: Any = str, default: Any = None, *, help: str, **more: Any) -> Callable[[Command], Command]:
    """Return the decorator of an option; `kind` is the type of its value, `default` None if it may be omitted."""
    return click.option(flag, type=LOCAL if kind is Path else kind, default=default, help=help, **more)


def needed(flag: str, kind: Any = str, *, help: str) -> Callable[[Command], Command]:
    """Return the decorator of an option that must be given."""
    return click.option(flag, type=LOCAL if kind is Path else kind, required=True, help=help)


def switch(flag: str, name: str | None = None, default: bool = False, *, help: str) -> Callable[[Command], Command]:
    """Return the decorator of an option without a value: `--exact`, or `--full/--no-full`."""
    return click.option(
        *[flag, *([name] if name else [])], is_flag=True, default=default, show_default="/" in flag, help=help
    )


class Place(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions only
    """A path, or a URL of object storage."""

    name = "path or URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the place that a text names; refuses an empty text, which would mean the current folder."""
        from thresher.errors import InputError
        from thresher.places import as_place

        if value == "":
            raise InputError(f"Expected {_name(param)} to be a {self.name}, but it is empty. Is a shell variable not set?")
        return as_place(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell complete it as a file."""
        return [CompletionItem(incomplete, type="file")]


class Local(Place):
    """A path on this machine."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path that a text names, also as a `file://` URL; refuses URLs of object storage."""
        from thresher.errors import InputError
        from thresher.places import is_remote

        place = super().convert(value, param, ctx)
        if is_remote(place):
            raise InputError(
                f"Expected {_name(param)} to be a path on this machine, but got {value}. Object storage is read and written "
                "by score and select, and read by suspects, export and train --coreset; copy other files there when done."
            )
        return place


def _name(parameter: click.Parameter | None) -> str:
    if parameter is None:
        return "a value"
    return parameter.opts[0] if isinstance(parameter, click.Option) else str(parameter.name).upper()


PLACE = Place()
LOCAL = Local()

data = option(
    "--data", default="digits",
    help="Data set: digits (built in), cifar10, cifar100, imagenet, or folder (pictures in DIR/train/CLASS "
    "and DIR/val/CLASS; folder:size=64 resizes them to 64x64).",
    shell_complete=among(*completion.DATA_SETS),
)  # fmt: skip
data_dir = option(
    "--data-dir", Path, help="Location of the data: the official CIFAR archive or its unpacked folder; the root of folders."
)
model = option(
    "--model",
    help="Small: tiny, small. For 32x32: resnet18, resnet34, resnet50, resnet101, vgg16, mobilenet_v2, shufflenet_v2 "
    "(also _x0_5, _x1_5, _x2_0), shufflenet_g2, shufflenet_g3. For 224x224: resnet34_imagenet, resnet50_imagenet, "
    "swin_t. Or timm:NAME. Default: fits the data set.",
    shell_complete=among(*completion.MODELS),
)
corrupt = option(
    "--corrupt", help="Corrupt training images: intended or published-code, then :share=0.04:seed=0 and strengths.",
    shell_complete=among("intended", "published-code"),
)  # fmt: skip
mislabel = option("--mislabel", help="Give this share of the training samples wrong labels: 0.2 or 0.2:seed=0.")
device = option(
    "--device", default="auto", help="cpu, cuda, cuda:1, or auto (cuda if available).",
    shell_complete=among("auto", "cpu", "cuda"),
)  # fmt: skip
precision = option(
    "--precision", default="fp32", help="fp32 or bf16 (autocast; weights stay fp32).",
    shell_complete=among("fp32", "bf16"),
)  # fmt: skip
scale_loss = option(
    "--scale-loss", default="published",
    help="Scale the loss by the score, as in the TDDS code: published (only TDDS on CIFAR), none, all (but Random).",
    shell_complete=among("published", "none", "all"),
)  # fmt: skip
epochs = option("--epochs", int, help="Epochs to train. Default: the data set's recipe (CIFAR: 200).")
batch_size = option("--batch-size", int, help="Samples per step. Default: the recipe's (100 surrogate, 128 coreset).")
surrogate_epochs = option("--surrogate-epochs", int, help="Epochs of the recorded surrogate.")
surrogate_batch_size = option("--surrogate-batch-size", int, help="Batch size of the surrogate.")
lr = option("--lr", float, help="Peak learning rate. Default: the recipe's (0.1).")
jobs = option(
    "--jobs", int, help="Trainings at once, each on its share of a CPU's cores (1: one after another, on all of them). "
    "Default: one per core, or 1 on a GPU.",
)  # fmt: skip
eval_every = option(
    "--eval-every", int, 0, help="Also evaluate on the test set every so many epochs; report the best. 0: only at the end."
)
compile_model = switch("--compile", "compile_model", help="Run the model through torch.compile.")
track = option("--track", help="Also log to local files: tensorboard:FOLDER or mlflow:FOLDER. Default: nothing.")
workers = option("--workers", int, help="Number of workers. Default: one per core of this machine or of the cluster.")
address = option("--address", help="Address of a running Ray cluster. Default: the one Ray finds, else one started here.")


def speaking(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--quiet` and `--json`, passed to the command as an `Output`, `say`. Must be the innermost decorator."""

    @wraps(command)
    def spoken(*, quiet: bool, as_json: bool, **options: Any) -> Any:
        from thresher.commands.output import Output

        return command(say=Output(command.__name__, quiet=quiet, as_json=as_json), **options)

    quiet = switch("--quiet", help="Print only errors: no notes, no progress, no tables.")
    as_json = switch("--json", "as_json", help="Print the result as one JSON document; notes and progress go to stderr.")
    return quiet(as_json(spoken))


def which_data(command: Command) -> Command:
    """Add the options for the data and for changes to it, in the order of the help."""
    for add in (mislabel, corrupt, data_dir, data):
        command = add(command)
    return command
