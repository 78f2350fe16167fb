"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

import inspect
import re
from pathlib import PurePath

import click

from thresher.cli import app
from writers.markdown import NOTE, table

_NOT_RUN = "<!-- not run: reference examples; tests check that they parse -->"


def page() -> str:
    """Return the page of all commands."""
    listed = [[f"[`{name}`](#{name})", _brief(command)] for name, command in sorted(app.commands.items())]
    sections = "\n\n".join(_section(name, command) for name, command in sorted(app.commands.items()))
    return f"""{NOTE}
# Commands

`thresher COMMAND --help` prints the same. Commands that train or record go on where they were interrupted; the others write
their files whole or not at all. The exit status is 0 on success; 1 with one line that says what was expected, what was found
and what to do; 2 for invalid options; 130 after Ctrl-C. [The command line](cli.md) has what all commands share.

{table(["command", "what it does"], listed, left=2)}

{sections}
"""


def _brief(command: click.Command) -> str:
    return _paragraphs(command)[0].replace("\n", " ")


def _paragraphs(command: click.Command) -> list[str]:
    return [text.strip("\n") for text in inspect.cleandoc(command.help or "").split("\n\n")]


def _section(name: str, command: click.Command) -> str:
    """Return what a command does, its examples, and its arguments and options."""
    text = []
    for paragraph in _paragraphs(command):
        if paragraph.startswith("\b"):
            example = paragraph.removeprefix("\b").strip("\n")
            text.append(f"{_NOT_RUN}\n```sh\n{example}\n```")
        else:
            text.append(_prose(" ".join(paragraph.split())))
    rows = [row for parameter in command.params if (row := _row(parameter))]
    options, *arguments = command.collect_usage_pieces(click.Context(command))
    usage = f"`{' '.join(['thresher', name, *arguments, options])}`"
    return "\n\n".join([f"## {name}", usage, *text, table(["option", "value", "meaning"], rows, left=3)])


def _prose(text: str) -> str:
    """Return help as Markdown: options and file names with braces or stars must not be taken for markup."""
    return re.sub(r"(?<!`)(\{t\}_\w+\.npy)(?!`)", r"`\1`", text).replace("*", "\\*")


def _row(parameter: click.Parameter) -> list[str] | None:
    if not isinstance(parameter, click.Option):
        return None
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    kind = "" if parameter.is_flag else _kind(parameter.type)
    default = parameter.default
    said = [parameter.help or ""]
    if parameter.required:
        said.append("Required.")
    elif parameter.secondary_opts:
        said.append(f"Default: `{parameter.opts[0] if default else parameter.secondary_opts[0]}`.")
    elif isinstance(default, (str, int, float, PurePath)) and not isinstance(default, bool) and str(default):
        said.append(f"Default: `{default}`.")
    return [names, kind, _prose(" ".join(said))]


def _kind(kind: click.ParamType) -> str:  # type: ignore[type-arg]
    if isinstance(kind, click.Choice):
        return ", ".join(f"`{choice}`" for choice in kind.choices)
    return {"integer": "whole number", "integer range": "whole number", "float": "number"}.get(kind.name, kind.name)
