"""The version, which coresets, results and recordings carry."""

__version__ = "0.1.0"
