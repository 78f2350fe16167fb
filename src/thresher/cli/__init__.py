"""The command line: parsing only. Each command turns its options into one call of the library.

Heavy modules are imported inside the commands, so that `thresher score` starts without torch.
"""

from __future__ import annotations

import sys

import typer

from thresher.cli import training, scoring  # isort: skip  # registers the commands, in the order of the help
from thresher.cli._app import app
from thresher.errors import ThresherError, one_line

__all__ = ["app", "main", "scoring", "training"]


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
