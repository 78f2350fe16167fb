"""`thresher explore`: opens a run and serves its page on this machine until interrupted."""

from __future__ import annotations

import errno
import webbrowser
from pathlib import Path

from thresher.commands.output import Output
from thresher.errors import InputError
from thresher.explore.run import open_run
from thresher.explore.server import LOOPBACK, Server


def explore_command(*, run: Path, data_dir: Path | None, port: int, out: Path | None, browser: bool, say: Output) -> None:
    """`thresher explore`."""
    opened, notice = open_run(run, data_dir)
    if notice:
        say.note(notice)
    try:
        server = Server(opened, port, out)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = "is in use" if error.errno == errno.EADDRINUSE else "is not for this user"
        raise InputError(f"Expected a free port, but {LOOPBACK}:{port} {why}. Choose another --port (0: any).") from None
    with server:
        say.line(f"{opened.name}: {opened.n} samples at {server.url} (press Ctrl-C to stop)")
        say.result({"run": run, "data": opened.name, "samples": opened.n, "url": server.url})
        if browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:  # the way to leave, not a failure
            say.line()
