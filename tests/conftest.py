"""Data that several test files share: the real CIFAR folders, where they can be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_UNPACK = Path(__file__).resolve().parents[2] / "shared" / "data" / "unpack_cifar.py"


@pytest.fixture(scope="session")
def cifar_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds `cifar-10-batches-py` and `cifar-100-python`: THRESHER_CIFAR, else unpacked, else a skip."""
    named = os.environ.get("THRESHER_CIFAR")
    if named:
        root = Path(named)
        if not root.is_dir():
            pytest.fail(f"THRESHER_CIFAR names {root}, which is no folder.")
        return root
    if not _UNPACK.is_file():
        pytest.skip("needs CIFAR: set THRESHER_CIFAR to the folder that holds cifar-10-batches-py and cifar-100-python")
    root = tmp_path_factory.mktemp("cifar")
    done = subprocess.run([sys.executable, str(_UNPACK), str(root)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs CIFAR, but unpacking it failed: {done.stderr[-300:]}")
    return root
