"""The list of decisions."""

from __future__ import annotations

from pathlib import Path

from writers.markdown import NOTE

FOLDER = Path(__file__).parents[1] / "decisions"


def page() -> str:
    """Return the page that lists them, newest last."""
    files = sorted(FOLDER.glob("[0-9]*.md"))
    titles = [path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for path in files]
    lines = [f"* [{title}]({path.name})" for title, path in zip(titles, files, strict=True)]
    names = "\n".join(path.stem for path in files)
    return f"""{NOTE}
# Decisions

Why things are as they are: the situation, what was decided, what it costs and what was given up. A decision that was
overtaken says so.

{chr(10).join(lines)}

```{{toctree}}
:hidden:

{names}
```
"""
