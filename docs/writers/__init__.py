"""What writes the generated pages of the site: each module returns the text of its pages, `docs/generate.py` saves it."""
