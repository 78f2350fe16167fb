"""What a command says, and where: the result on stdout; notes and progress on stderr; `--quiet` and `--json` for all alike.

Every command is given an `Output` as `say`. It prints nothing itself, so no command can forget a mode.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import thresher

if TYPE_CHECKING:
    from rich.table import Table


class Output:
    """Where a command speaks.

    `quiet` leaves notes, progress, lines and tables away; `as_json` prints one JSON document in the place of lines and
    tables. With both there is the document and nothing else.
    """

    def __init__(self, command: str = "", *, quiet: bool = False, as_json: bool = False) -> None:
        self.command, self.quiet, self.as_json = command, quiet, as_json
        self._wrote: list[str] = []
        self._notes: list[str] = []
        self._print_note: Callable[[str], None] = _on_stderr

    @property
    def shows_bars(self) -> bool:
        """Whether progress is drawn: where somebody looks at a terminal, and nobody asked for silence."""
        return not self.quiet and sys.stderr.isatty()

    def hush(self) -> None:
        """Say nothing from now on, as ranks do that only help."""
        self.quiet, self.as_json = True, False

    def note(self, text: str) -> None:
        """Say what is not the result: what was picked and why, what failed."""
        self._notes.append(text)
        self.sign(text)

    def sign(self, text: str) -> None:
        """Say how far the work is, for those who read a log; it belongs to no result."""
        if not self.quiet:
            self._print_note(text)

    def failure(self, text: str) -> None:
        """Say that a part failed while the rest went on; in silence too."""
        self._print_note(text)

    def line(self, text: str = "") -> None:
        """Say a line of the result, for people."""
        if not (self.quiet or self.as_json):
            click.echo(text)

    def table(self, make: Callable[[], Table]) -> None:
        """Show a table of the result, for people; it is only made where it is shown."""
        if not (self.quiet or self.as_json):
            from rich.console import Console

            Console().print(make())

    def wrote(self, *paths: Path) -> None:
        """Note files or folders that the command has written."""
        self._wrote += map(str, paths)

    def result(self, facts: Mapping[str, Any]) -> None:
        """Give the result, for programs: the last call of a command; with `--json` this is the document.

        Dataclasses, paths and NumPy's numbers become plain values, numbers that are not finite become null.
        """
        if self.as_json:
            head = {"command": self.command, "version": thresher.__version__, "wrote": self._wrote}
            document = plain({**head, **facts, "notes": self._notes})
            click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))

    def print_notes_by(self, print_note: Callable[[str], None] | None) -> None:
        """Print notes by this function from now on, None for plainly on stderr."""
        self._print_note = print_note or _on_stderr


def plain(value: Any) -> Any:
    """Return a value as JSON knows it.

    >>> plain({"path": Path("a"), "share": float("nan"), "ids": (1, 2)})
    {'path': 'a', 'share': None, 'ids': [1, 2]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, str | bool | int | None):
        return value
    if hasattr(value, "item"):  # NumPy's numbers
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def _on_stderr(text: str) -> None:
    click.echo(text, err=True)
