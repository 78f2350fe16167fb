"""The list of decisions."""

from __future__ import annotations

from pathlib import Path

from writers.markdown import NOTE

FOLDER = Path(__file__).parents[1] / "decisions"


def _missing(files: list[Path]) -> str:
    """Return a sentence on the numbers that no decision has, so that nobody looks for them; "" where there are none."""
    numbers = {int(path.name[:4]) for path in files}
    absent = [f"{number:04}" for number in range(1, max(numbers)) if number not in numbers]
    return f" There is no {' or '.join(absent)}: numbers are not reused." if absent else ""


def page() -> str:
    """Return the page that lists them, newest last."""
    files = sorted(FOLDER.glob("[0-9]*.md"))
    titles = [path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for path in files]
    lines = [f"* [{title}]({path.name})" for title, path in zip(titles, files, strict=True)]
    names = "\n".join(path.stem for path in files)
    return f"""{NOTE}
# Decisions

Why things are the way they are: the situation, the decision, its cost and what was given up. A superseded decision says
so.{_missing(files)}

{chr(10).join(lines)}

```{{toctree}}
:hidden:

{names}
```
"""
