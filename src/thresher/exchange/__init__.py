"""Export and import of coresets and scores in other tools' files: one module per format, with NumPy and pyarrow only."""
