"""Sphinx's settings for the site that `make docs` builds from the Markdown pages of this folder into build/site.

Decision 0024 says why Sphinx. A built page loads nothing from elsewhere: scripts, styles and the search index lie beside it.
"""

import sys
from pathlib import Path

import thresher

sys.path.insert(0, str(Path(__file__).parent))  # for _links below

project = "Thresher"
author = "Thresher"
version = release = thresher.__version__
copyright = "the authors of Thresher, Apache-2.0"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["scale.in.md"]
nitpicky = True

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
