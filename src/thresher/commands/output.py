"""A command's output: the result on stdout, notes and progress on stderr; `--quiet` and `--json` work for all commands.

Every command gets an `Output` as `say` and prints only through it, so no command can forget a mode.
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

_USUAL, _NARROWEST = 80, 20  # characters; with fewer than the latter beside its lines, rich empties a table's columns


class Output:
    """A command's output.

    `quiet` omits notes, progress, lines and tables; `as_json` prints one JSON document in place of lines and tables. With
    both, there is only the document.
    """

    def __init__(self, command: str = "", *, quiet: bool = False, as_json: bool = False) -> None:
        self.command, self.quiet, self.as_json = command, quiet, as_json
        self._wrote: list[str] = []
        self._notes: list[str] = []
        self._print_note: Callable[[str], None] = _on_stderr

    @property
    def shows_bars(self) -> bool:
        """Whether progress bars are drawn: on a terminal, and not with `--quiet`."""
        return not self.quiet and sys.stderr is not None and sys.stderr.isatty()  # None: it was closed

    def hush(self) -> None:
        """Print nothing from now on, as on ranks other than the first."""
        self.quiet, self.as_json = True, False

    def note(self, text: str) -> None:
        """Print something that is not the result, such as what was picked and why."""
        self._notes.append(text)
        self.sign(text)

    def sign(self, text: str) -> None:
        """Print progress for a log; it is not part of the result."""
        if not self.quiet:
            self._print_note(text)

    def failure(self, text: str) -> None:
        """Print that a part failed while the rest continued; also with `--quiet`."""
        self._print_note(text)

    def line(self, text: str = "") -> None:
        """Print a line of the result, for people."""
        if not (self.quiet or self.as_json):
            click.echo(text)

    def table(self, make: Callable[[], Table]) -> None:
        """Show a table of the result, for people; it is only made if it is shown."""
        if not (self.quiet or self.as_json):
            from rich.console import Console

            view = make()
            for column in view.columns:  # a narrow terminal wraps words, but cuts off no digits
                words = " ".join(map(str, (column.header, *column.cells))).split()
                column.min_width = 1 if column.overflow == "fold" else max(map(len, words), default=1)
            console = Console()  # which takes COLUMNS=0, as where the width is unknown, for a terminal without any
            console.width = max(console.width or _USUAL, _NARROWEST + len(view.columns))
            console.print(view, crop=False)

    def wrote(self, *paths: Path) -> None:
        """Record files or folders that the command has written."""
        self._wrote += map(str, paths)

    def result(self, facts: Mapping[str, Any]) -> None:
        """Set the result for programs, in a command's last call; with `--json` this is the document.

        Dataclasses, paths and NumPy numbers become plain values, numbers that are not finite become null.
        """
        if self.as_json:
            head = {"command": self.command, "version": thresher.__version__, "wrote": self._wrote}
            document = plain({**head, **facts, "notes": self._notes})
            text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
            if not _fits(text):
                text = json.dumps(document, indent=2, allow_nan=False)  # JSON can escape the others
            click.echo(text)

    def print_notes_by(self, print_note: Callable[[str], None] | None) -> None:
        """Print notes with this function from now on; None prints them plainly on stderr."""
        self._print_note = print_note or _on_stderr


def plain(value: Any) -> Any:
    """Return a value in JSON's types.

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


def _fits(text: str) -> bool:
    """Return whether the encoding of stdout has all characters of a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeError:
        return False
    return True


def _on_stderr(text: str) -> None:
    click.echo(text, err=True)
