"""The command line: parsing only. Each command turns its options into one call of the library.

Heavy modules are imported inside the commands, so that `thresher score` starts without torch.
"""

from __future__ import annotations

import sys

import typer

from thresher.cli import training, scoring  # isort: skip  # registers the commands, in the order of the help
from thresher.cli._app import app
from thresher.errors import ThresherError

__all__ = ["app", "main", "scoring", "training"]


def main() -> None:
    """Entry point: errors of ours become one clear line and exit status 1."""
    try:
        app(standalone_mode=True)
    except ThresherError as error:
        typer.echo(f"thresher: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("thresher: interrupted; run the same command again to go on.", err=True)
        sys.exit(130)
