"""Sphinx's settings for the site that `make docs` builds from the Markdown pages of this folder into build/site.

Decision 0024 says why Sphinx. A built page loads nothing from elsewhere: scripts, styles and the search index lie beside it.
"""

import re
import sys
from pathlib import Path
from typing import Any

import thresher

sys.path.insert(0, str(Path(__file__).parent))

from writers.docstrings import rst

project = "Thresher"
author = "Thresher"
version = release = thresher.__version__
copyright = "the authors of Thresher, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["scale.in.md"]
nitpicky = True  # a type that a signature of docs/api names and no page describes is a warning
nitpick_ignore_regex = [
    ("py:.*", r"(?!thresher\b).*"),  # other packages' types: their sites would have to be asked for them
    ("py:.*", r"thresher\.(ranks\.Rows|registry\.Room|ranking\..*|trajectory\.(layout\.Manifest|part\.Part))"),  # not public
]

default_role = "code"  # docstrings write `name`, as the pages do
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}  # which is a screenful
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

myst_heading_anchors = 3  # [text](page.md#a-heading) leads there, as on code hosts
highlight_language = "text"
smartquotes = False  # "--corrupt" is an option, no dash

html_theme = "furo"
html_title = "Thresher"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": False}
html_static_path = ["_static"]
html_css_files = ["site.css"]

_ANY = r"~?(?:typing\.)?Any"
_SHAPE = rf"(?:tuple\[{_ANY}, \.\.\.\]|{_ANY})"
_ARRAY = re.compile(rf"~?(?:numpy\.)?ndarray\[{_SHAPE}, ~?(?:numpy\.)?dtype\[~?(?:[a-z]+\.)?(\w+)\]\]")


def docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Have a docstring read as `rst` writes it."""
    lines[:] = rst(lines)


def signature(
    app: Any, what: str, name: str, thing: Any, options: Any, arguments: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Return a signature as the source has it, where autodoc spells an array's type out or names a default that is made."""

    def plain(text: str | None) -> str | None:
        text = text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text.replace("<factory>", "..."))
        return text and _ARRAY.sub(r"NDArray[\1]", text)

    return plain(arguments), plain(returned)


def setup(app: Any) -> None:
    """Connect both to autodoc."""
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-process-signature", signature)
