"""The application that the commands register with."""

from __future__ import annotations

import click

import thresher


@click.group(context_settings={"show_default": True, "max_content_width": 100, "help_option_names": ["-h", "--help"]})
@click.version_option(thresher.__version__, prog_name="thresher")
def app() -> None:
    """Keep the training samples that matter: record one training, score every sample, select a coreset, retrain on it
    and compare."""
