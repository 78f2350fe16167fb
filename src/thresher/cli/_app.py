"""The application that the commands register with."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Keep the training samples that matter: record one training, score every sample, select a coreset, "
    "retrain on it and compare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
