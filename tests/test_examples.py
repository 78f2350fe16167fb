"""Every example runs, and stays short enough to read."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
NEEDS = {
    "accelerate_loop": ("accelerate",),
    "lightning_digits": ("lightning",),
    "transformers_text": ("transformers", "accelerate"),
}
QUICKER = {"score_variance": ["--quick"]}
WARNS = {"lightning_digits"}  # Lightning uses what torch has deprecated, and warns of few workers


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3
    assert set(NEEDS) <= {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 80
    missing = [package for package in NEEDS.get(path.stem, ()) if find_spec(package) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: pip install 'thresher[{','.join(missing)}]'")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "default" if path.stem in WARNS else "error", str(path), *QUICKER.get(path.stem, ())]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
