"""Docstrings as pages show them: scorers' and selectors' as Markdown, with what fails, source and differences apart; all as
reStructuredText, for Sphinx. They are written for who reads the code: a formula is indented, a list needs no blank lines."""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import dataclass

from writers.markdown import text_block

_LABEL = re.compile(r"(Fails|Source|Differences (?:from|to) the official codes?): ")
_ITEM = re.compile(r"(\d+\.|-) ")


@dataclass(frozen=True)
class Parts:
    """A docstring in parts, each Markdown: its first line, what follows, and what stands behind the labels ("" for none)."""

    summary: str
    body: str
    fails: str
    source: str
    differences: str


def parts(thing: object) -> Parts:
    """Return the docstring in parts; its example, which the tests run where it stands, is left out."""
    summary, _, rest = inspect.getdoc(thing).partition("\n")  # type: ignore[union-attr]
    rest = re.split(r"^>>> ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    found: dict[str, list[str]] = {}
    key, body = "", []
    for line in rest.strip("\n").splitlines():
        label = _LABEL.match(line)
        if label:
            key = label[1].split(" ")[0]
            found[key] = [line[label.end() :]]
        elif key and line.strip():
            found[key].append(line)
        else:
            key = ""
            body.append(line)
    said = {name: _sentence(" ".join(lines)) for name, lines in found.items()}
    return Parts(summary, _markdown(body), said.get("Fails", ""), said.get("Source", ""), said.get("Differences", ""))


def rst(lines: list[str]) -> list[str]:
    """Return a docstring as reStructuredText: what is indented is shown as it is; lists and labels stand apart."""
    out: list[str] = []
    last = ""
    for number, line in enumerate(lines):
        if line.startswith(">>> "):
            return [*out, "", *lines[number:]]
        kind = _kind(line, last)
        if kind != last or kind == "label":
            out += [""] + ["::", ""] * (kind == "block")
        out.append(_LABEL.sub(r"**\1:** ", line, count=1) if kind == "label" else line)
        last = {"": last if last == "block" else "", "label": "prose"}.get(kind, kind)
    return out


def _kind(line: str, last: str) -> str:
    """Return what a line is part of, the last one being of the kind `last`."""
    if not line.strip():
        return last if last == "block" else ""
    if _ITEM.match(line) or (last == "item" and line.startswith("  ")):
        return "item"
    if line.startswith("    "):
        return "block"
    return "label" if _LABEL.match(line) else "prose"


def _markdown(lines: list[str]) -> str:
    """Return prose as it is, and what is indented as a block, which may stand within a paragraph."""
    groups: list[tuple[bool, list[str]]] = []
    for line in lines:
        indented = line.startswith("    ") or (not line.strip() and bool(groups) and groups[-1][0])
        if not groups or groups[-1][0] != indented:
            groups.append((indented, []))
        groups[-1][1].append(line)
    texts = ["\n".join(group).strip("\n") for _, group in groups]
    blocks = [
        text_block(textwrap.dedent(t)) if g[0] else _listed(t) for g, t in zip(groups, texts, strict=True) if t.strip()
    ]
    return "\n\n".join(blocks)


def _listed(text: str) -> str:
    """Return prose in which a numbered list stands apart, with blank lines around it."""
    text = re.sub(r"(?<!\n)\n(?=1\. )", "\n\n", text)
    return re.sub(r"^(\d+\. .*(?:\n   .*)*)\n(?![\d\n ])", r"\1\n\n", text, flags=re.MULTILINE)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
