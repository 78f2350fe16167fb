"""The server behind `thresher explore`: the standard library's, on the loopback interface only.

A web page elsewhere could make a browser send requests here. It cannot read the answers, and a name of its own that points
to 127.0.0.1 is refused by the Host header; what writes also needs the token that only this page holds.
"""

from __future__ import annotations

import io
import json
import secrets
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from thresher.errors import RunDirectoryError, ThresherError, one_line
from thresher.explore.export import export
from thresher.explore.run import SELECTIONS, OpenRun
from thresher.files import parse_json
from thresher.report._environment import templates
from thresher.report.thumbnails import as_picture

LOOPBACK = "127.0.0.1"
_LARGEST_BODY = 64 << 20
_ASSETS = {
    "/style.css": ("thresher.report", "style.css", "text/css"),
    "/map.js": ("thresher.report", "map.js", "text/javascript"),
    "/explore.css": ("thresher.explore", "explore.css", "text/css"),
    "/explore.js": ("thresher.explore", "explore.js", "text/javascript"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self'; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Answer:
    """What a request gets."""

    status: int
    kind: str
    body: bytes


class Refused(Exception):
    """A request that gets no answer but this status and sentence."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, eq=False)
class Explorer:
    """Answers requests about one run; `out` is where exports go."""

    run: OpenRun
    out: Path
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def get(self, path: str) -> Answer:
        """Return the answer to a GET. Raises Refused where there is nothing."""
        if path == "/":
            return Answer(200, "text/html; charset=utf-8", self._page.encode())
        if path == "/favicon.ico":  # browsers ask, whatever the page says
            return Answer(204, "image/x-icon", b"")
        if path in _ASSETS:
            package, name, kind = _ASSETS[path]
            return Answer(200, f"{kind}; charset=utf-8", (files(package) / "templates" / name).read_bytes())
        what, _, rest = path[1:].partition("/")
        if path == "/run.json":
            return _json(self._about())
        if what == "array":
            return Answer(200, "application/octet-stream", self._array(rest.split("/")).tobytes())
        if what == "image" and self.run.image is not None:
            return Answer(200, "image/png", _png(self.run.image(self._sample(rest))))
        if what == "sample":
            return _json(self._facts(self._sample(rest)))
        raise Refused(404, "There is nothing here.")

    def post(self, path: str, body: bytes) -> Answer:
        """Export a selection. Raises Refused for another address or what is no JSON object."""
        if path != "/export":
            raise Refused(404, "There is nothing here.")
        try:
            asked = parse_json(body)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            raise Refused(400, "Expected a JSON object.")
        try:
            written, coreset = export(self.run, self.out, asked.get("name"), asked.get("ids"), asked.get("filters"))
        except RunDirectoryError as error:  # the page has no --force to offer
            raise Refused(409, one_line(error).replace(", or replace it: --force", "")) from None
        except (ThresherError, OSError) as error:
            raise Refused(400, one_line(error)) from None
        return _json({"path": str(written), "count": len(coreset), "digest": coreset.digest})

    @cached_property
    def _page(self) -> str:
        template = templates("thresher.explore").get_template("explore.html.j2")
        return str(template.render(run=self.run, token=self.token, out=self.out.name))

    def _about(self) -> dict[str, Any]:
        return {
            "name": self.run.name,
            "n": self.run.n,
            "epochs": self.run.trajectory.epochs,
            "classes": list(self.run.class_names),
            "columns": [{"name": name, "hard_end": scores.hard_end} for name, scores in self.run.columns.items()],
            "coresets": [{"name": name, "count": len(coreset)} for name, coreset in self.run.coresets().items()],
            "left_out": self.run.left_out(),
            "images": self.run.image is not None,
            "right": self.run.means.correct is not None,
        }

    def _array(self, parts: list[str]) -> NDArray[Any]:
        """Return the numbers of all samples that an address names, little-endian."""
        found = self.run.means
        plain: dict[str, Any] = {"x": found.variability, "y": found.target_prob, "right": found.correct}
        names = list(self.run.columns)
        match parts:
            case [("x" | "y" | "right") as name] if plain[name] is not None:
                return np.asarray(plain[name]).astype("<f4")
            case ["target"]:
                return self.run.targets.astype("<i4")
            case ["score", number] if _below(len(names), number):
                return self.run.columns[names[int(number)]].values.astype("<f4")
            case ["order", number, ("hard" | "easy") as end] if _below(len(names), number):
                return self.run.ranking(names[int(number)], end).astype("<u4")
            case ["kept", *name]:
                coreset = self.run.coresets().get(unquote("/".join(name)))
                if coreset is not None:
                    return coreset.mask.astype("u1")
        raise Refused(404, "There is no such array.")

    def _sample(self, text: str) -> int:
        if not _below(self.run.n, text):
            raise Refused(404, f"Expected a sample id from 0 to {self.run.n - 1}.")
        return int(text)

    def _facts(self, sample_id: int) -> dict[str, Any]:
        values = {name: float(scores.values[sample_id]) for name, scores in self.run.columns.items()}
        return {
            "trajectory": self.run.trajectory_of(sample_id),
            "scores": [{"name": name, "value": value if np.isfinite(value) else None} for name, value in values.items()],
            "kept": [name for name, coreset in self.run.coresets().items() if coreset.mask[sample_id]],
        }


def _below(end: int, text: str) -> bool:
    """Return whether a text is a whole number in [0, end); Python refuses to read thousands of digits, so they are counted.

    >>> _below(10, "9"), _below(10, "10"), _below(10, "-1"), _below(10, "9" * 5000)
    (True, False, False, False)
    """
    return text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < end


def _json(content: Any) -> Answer:
    return Answer(200, "application/json", json.dumps(content, allow_nan=False).encode())


def _png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    as_picture(image).save(buffer, "PNG")
    return buffer.getvalue()


class _Handler(BaseHTTPRequestHandler):
    """One request: is it ours, and what does the Explorer say?"""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        self._answer(lambda: self.server.explorer.get(self.path.partition("?")[0]))

    def do_POST(self) -> None:
        self._answer(self._post)

    def _post(self) -> Answer:
        length = self.headers.get("Content-Length", "")
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            raise Refused(403, "Expected a request of this page.")
        if not secrets.compare_digest(
            self.headers.get("X-Thresher-Token", "").encode(), self.server.explorer.token.encode()
        ):
            raise Refused(403, "Expected this page's token. Reload the page.")
        if self.headers.get_content_type() != "application/json" or not length.isdecimal():
            raise Refused(400, "Expected JSON of a known length.")
        if not _below(_LARGEST_BODY + 1, length):
            raise Refused(413, "That is too much for one request.")
        return self.server.explorer.post(self.path, self.rfile.read(int(length)))

    def _answer(self, ask: Any) -> None:
        try:
            if self.headers.get("Host") not in self.server.hosts:  # a foreign name that points to this machine
                raise Refused(403, "Expected a request to 127.0.0.1 or localhost.")
            answer = ask()
        except Refused as refusal:
            # What was not read of the request must not be taken for the next one.
            self.close_connection = True
            answer = Answer(refusal.status, "text/plain; charset=utf-8", str(refusal).encode())
        except (ThresherError, OSError) as error:
            self.close_connection = True
            answer = Answer(500, "text/plain; charset=utf-8", one_line(error).encode())
        self.send_response(answer.status)
        for name, value in {**_HEADERS, "Content-Type": answer.kind, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is for what matters."""


class Server(ThreadingHTTPServer):
    """Serves one run on 127.0.0.1; `port` 0 takes a free one. `url` is where it is.

    Closing it ends every connection and waits for its thread: one that lets go of a tensor while the interpreter is torn
    down aborts the process.
    """

    daemon_threads = False

    def __init__(self, run: OpenRun, port: int = 0, out: Path | None = None) -> None:
        self.explorer = Explorer(run, run.path / SELECTIONS if out is None else out)
        self._connections: set[Any] = set()
        super().__init__((LOOPBACK, port), _Handler)
        self.hosts = {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}
        self.url = f"http://{LOOPBACK}:{self.server_port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Take no more connections, end those that are open, and wait for their threads."""
        for connection in list(self._connections):
            with suppress(OSError):  # it may be gone already
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let go of a browser that went away; show everything else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
