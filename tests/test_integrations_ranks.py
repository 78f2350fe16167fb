"""The integrations on two real processes: every rank gets all scores, and a resumed job those of one that ran through."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("ranks_frames.py")


@pytest.mark.parametrize("framework", ["lightning", "transformers", "accelerate"])
def test_two_ranks_record_and_resume(framework: str, tmp_path: Path) -> None:
    for package in {framework, "accelerate" if framework == "transformers" else framework}:
        module = pytest.importorskip(package, reason=f"needs {package}: pip install 'thresher[{package}]'")
        if package == "transformers" and tuple(map(int, module.__version__.split(".")[:2])) < (5, 18):
            pytest.skip("transformers before 5.18 resumes no training on several CPU processes")
    command = [sys.executable, str(SCRIPT.with_name("ranks_start.py")), "2", str(SCRIPT)]
    done = subprocess.run([*command, framework, str(tmp_path)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (dict(np.load(tmp_path / f"{framework}-{rank}.npz")) for rank in range(2))
    assert first["epochs"].tolist() == [4, 4]
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
        assert np.isfinite(values).all()
    for name in ("aum", "tdds"):
        np.testing.assert_array_equal(first[f"whole_{name}"], first[f"resumed_{name}"])
        assert first[f"whole_{name}"].std() > 0.001
