"""The wheel holds the whole package and nothing else: every module, `py.typed`, and the files that the code reads."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of these sources, built from a copy, so that what an earlier build left behind is not taken for them."""
    if find_spec("setuptools") is None:
        pytest.skip("needs setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(SOURCE, folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return zipfile.ZipFile(folder / done.stdout.splitlines()[-1])


def test_it_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    there = {name for name in wheel.namelist() if not name.startswith("thresher-")}
    wanted = {
        path.relative_to(SOURCE).as_posix()
        for path in (SOURCE / "thresher").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert there == wanted
    assert "thresher/py.typed" in there
    kinds = {Path(name).suffix for name in there}
    assert kinds >= {".csv", ".css", ".js", ".j2"}  # settings, and the pages' templates


def test_it_names_its_command_licence_and_core_dependencies(wheel: zipfile.ZipFile) -> None:
    texts = {name.partition("/")[2]: wheel.read(name).decode() for name in wheel.namelist() if name.startswith("thresher-")}
    assert "thresher = thresher.cli:main" in texts["entry_points.txt"]
    assert "licenses/LICENSE" in texts
    needed = [line.removeprefix("Requires-Dist: ") for line in texts["METADATA"].splitlines() if "Requires-Dist" in line]
    core = {line.partition(">")[0] for line in needed if "extra ==" not in line}
    assert core == {
        "torch", "numpy", "pyarrow", "array-api-compat", "safetensors", "scikit-learn", "scipy", "pillow", "click", "rich",
        "jinja2", "matplotlib",
    }  # fmt: skip


def test_make_lowest_installs_the_lowest_versions_that_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.search(r"-c constraints-lowest\.txt \\\n\s+-e '\.\[(.*?)\]'", (ROOT / "Makefile").read_text())
    assert extras is not None
    declared = project["dependencies"] + [
        need for extra in extras[1].split(",") for need in project["optional-dependencies"][extra]
    ]
    lines = [line for line in (ROOT / "constraints-lowest.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    assert "torch" not in pinned  # it is pinned in constraints.txt only
    lowest = dict(need.split(">=") for need in declared if not need.startswith("torch>="))
    assert set(pinned) >= set(lowest)
    assert [name for name, version in lowest.items() if not f"{pinned[name]}.".startswith(f"{version}.")] == []
