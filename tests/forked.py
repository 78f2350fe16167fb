"""Runs a script for `test_examples.py` in a child of the fork server; the globals are what the test gives."""

from __future__ import annotations

import os
import runpy
import sys
import warnings


def run(script: str, arguments: list[str], action: str) -> None:
    """Run it as a program of its own, which says what it says to two files."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600), number)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
    warnings.resetwarnings()
    warnings.simplefilter(action)
    sys.argv = [script, *arguments]
    sys.path.insert(0, os.path.dirname(script))
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    os.chdir(globals()["folder"])
    run(*globals()["job"])
