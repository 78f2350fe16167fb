"""Coresets and scores in the files of other tools, out and in: a module per format, NumPy and pyarrow only."""
