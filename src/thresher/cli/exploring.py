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
@option("--port", click.IntRange(0, 65535), 8765, help="Port on 127.0.0.1; 0 picks a free one.")
@option("--out", Path, help="Folder for exported coresets. Default: the folder selections in the run directory.")
@switch("--open", "browser", help="Open the page in a browser.")
@given.speaking
def explore(**options: Any) -> None:
    """Explore RUN, a run directory, on a local web page.

    The page has a data map that shows every sample's picture and trajectory; sorting and filtering by score, class, and what
    a coreset keeps or drops; a slider for the kept share; and a lasso. A selection can be exported as a coreset, for
    `thresher train --coreset` and `thresher export`. Served on 127.0.0.1 only. Pictures need the data set.

    \b
    thresher explore runs/digits
    thresher explore runs/cifar10 --data-dir DIR --port 0 --open
    """
    from thresher.commands.explore import explore_command

    explore_command(**options)
