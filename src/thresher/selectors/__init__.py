"""Selectors: one file per rule that turns scores into a coreset. The file's name is the selector's name."""
