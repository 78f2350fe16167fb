"""Every example runs, and stays short enough to read."""

from __future__ import annotations

import multiprocessing
import runpy
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

WHOLE = "three_lines"  # in an interpreter of its own; others in forks of one that has imported what takes seconds
FORKED = Path(__file__).with_name("forked.py")


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3
    assert set(NEEDS) <= {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(path.read_text().splitlines()) <= 80
    missing = [package for package in NEEDS.get(path.stem, ()) if find_spec(package) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: pip install 'thresher[{','.join(missing)}]'")
    action, arguments = "default" if path.stem in WARNS else "error", QUICKER.get(path.stem, [])
    if path.stem == WHOLE:
        command = [sys.executable, "-W", action, str(path), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        status, said, told = done.returncode, done.stdout, done.stderr
    else:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch._dynamo", "sklearn.datasets", "scipy.stats"])  # none of ours
        names = {"folder": str(tmp_path), "job": (str(path), arguments, action)}
        process = context.Process(target=runpy.run_path, args=(str(FORKED), names, "__main__"))
        process.start()
        process.join()
        status, said, told = process.exitcode, *((tmp_path / name).read_text() for name in ("stdout", "stderr"))
    assert status == 0, told
    assert said.strip()
