"""The command line: parsing only. Each command turns its options into one call of the library.

Heavy modules are imported inside the commands, so that `thresher score` starts without torch.
"""

from __future__ import annotations

import gc
import io
import os
import sys

import click

from thresher.cli import training, scoring, exporting, exploring  # isort: skip  # registers the commands, in the order of the help
from thresher.cli._app import app
from thresher.errors import ThresherError, one_line

__all__ = ["app", "exploring", "exporting", "main", "scoring", "training"]

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells expect it: 128 plus the number of SIGINT."""
_OBJECTS = 10_000
"""New objects until the garbage collector looks for cycles. Imports make many that all stay, and with Python's 700 a short
command spends a twentieth of its time looking through them."""


def main() -> None:
    """Entry point: errors of Thresher and of the operating system become one clear line and exit status 1."""
    gc.set_threshold(_OBJECTS)
    os.environ["MPLBACKEND"] = "agg"  # a notebook's, which its commands inherit, stops Matplotlib where it is not installed
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")  # a terminal without ± shows an escape, so no result is lost
    try:
        status = app.main(standalone_mode=False) or 0
    except click.Abort:
        click.echo("thresher: interrupted; run the same command again to continue.", err=True)
        status = INTERRUPTED
    except click.ClickException as error:  # options that are no such options
        error.show()
        status = error.exit_code
    except (ThresherError, OSError) as error:
        click.echo(f"thresher: {one_line(error)}", err=True)
        status = 1
    gc.freeze()  # at exit the collector would look through all modules once more
    sys.exit(status)
