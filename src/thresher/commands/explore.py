"""`thresher explore`: opens a run and serves its page to this machine until it is interrupted."""

from __future__ import annotations

import errno
import webbrowser
from pathlib import Path

import click

from thresher.errors import InputError
from thresher.explore.run import open_run
from thresher.explore.server import LOOPBACK, Server


def explore_command(*, run: Path, data_dir: Path | None, port: int, out: Path | None, browser: bool) -> None:
    """`thresher explore`."""
    opened, notice = open_run(run, data_dir)
    if notice:
        click.echo(notice, err=True)
    try:
        server = Server(opened, port, out)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise InputError(f"Expected a free port, but {LOOPBACK}:{port} is not. Choose another --port (0: any).") from None
    with server:
        click.echo(f"{opened.name}: {opened.n} samples at {server.url} (Ctrl-C ends it)")
        if browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:  # the way to leave, not a failure
            click.echo("")
