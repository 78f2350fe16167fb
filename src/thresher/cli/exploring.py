"""The command that shows a run: `explore`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from thresher.cli import _options as given
from thresher.cli._app import app
from thresher.cli._options import LOCAL, option, switch


@app.command()
@click.argument("run", type=LOCAL)
@given.data_dir
@option("--port", click.IntRange(0, 65535), 8765, help="Port on 127.0.0.1; 0 takes a free one.")
@option("--out", Path, help="Folder for exported coresets. Default: selections in the run directory.")
@switch("--open", "browser", help="Open the page in a browser.")
@given.speaking
def explore(**options: Any) -> None:
    """Walk through RUN, a run directory, on a page of this machine.

    A data map in which every sample shows its picture and trajectory; sort and filter by score, class, and what a coreset
    keeps or drops; a slider for the kept share; a lasso. What is selected can be exported as a coreset, which
    `thresher train --coreset` and `thresher export` take. Served on 127.0.0.1 only. Pictures need the data set.

    \b
    thresher explore runs/digits
    thresher explore runs/cifar10 --data-dir DIR --port 0 --open
    """
    from thresher.commands.explore import explore_command

    explore_command(**options)
