"""Shells complete names as they would be typed: bash for real, zsh and fish through the protocol their scripts speak."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from thresher.cli import completion

SCRIPT = f"#!{sys.executable}\nfrom thresher.cli import main\nmain()\n"  # what an installation writes


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A search path on which the command `thresher` is."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "thresher").write_text(SCRIPT)
    (folder / "thresher").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def run(path: str, *command: str, **variables: str) -> str:
    environment = {**os.environ, "PATH": path, **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout


def in_bash(path: str, *lines: tuple[str, ...]) -> list[list[str]]:
    """Load the script as the documentation says, and let it complete the last word of each command line."""
    program = 'eval "$(_THRESHER_COMPLETE=bash_source thresher)"\n'
    program += "compopt() { :; }\n"  # which works while a key is pressed, and not here
    for words in lines:
        quoted = " ".join(f"'{word}'" for word in words)
        program += f"COMPREPLY=()\nCOMP_WORDS=({quoted})\nCOMP_CWORD={len(words) - 1}\n"
        program += '_thresher_completion thresher\nprintf "%s " "${COMPREPLY[@]}"\necho\n'
    return [line.split() for line in run(path, "bash", "--norc", "-c", program).splitlines()]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(path: str) -> None:
    commands, several, model, target, data, one, engine, rule = in_bash(
        path,
        ("thresher", "re"),
        ("thresher", "run", "--method", "random,dua"),
        ("thresher", "record", "--model", "resnet5"),
        ("thresher", "reproduce", "table1"),
        ("thresher", "train", "--data", "cif"),
        ("thresher", "methods", "td"),
        ("thresher", "score", "--engine", ""),
        ("thresher", "select", "--method", "str"),
    )
    assert commands == ["record", "reproduce"]
    assert several == ["random,dual", "random,dual_beta"]
    assert model == ["resnet50", "resnet50_imagenet"]
    assert target == ["table10"]
    assert data == ["cifar10", "cifar100"]
    assert one == ["tdds"]
    assert engine == ["serial", "threads", "processes", "ray"]
    assert rule == ["stratified"]


def test_zsh_and_fish_are_answered(path: str) -> None:
    """Their scripts ask the same command; zsh is answered in threes: kind, name, help."""
    words = {"COMP_WORDS": "thresher methods tdd", "COMP_CWORD": "2"}
    kind, name, about = run(path, "thresher", _THRESHER_COMPLETE="zsh_complete", **words).splitlines()
    assert (kind, name) == ("plain", "tdds")
    assert "dual-depth" in about
    words["COMP_CWORD"] = "tdd"  # fish tells the word itself
    assert "tdds" in run(path, "thresher", _THRESHER_COMPLETE="fish_complete", **words)
    for shell, sign in (("zsh", "#compdef thresher"), ("fish", "complete --no-files --command thresher")):
        assert sign in run(path, "thresher", _THRESHER_COMPLETE=f"{shell}_source")


def test_the_names_are_those_that_there_are() -> None:
    from thresher.boards.targets import TARGETS
    from thresher.commands.reproduce import PICTURE
    from thresher.data import NAMES
    from thresher.models import MODELS
    from thresher.registry import selectors

    assert set(completion.DATA_SETS) == set(NAMES)
    assert set(completion.MODELS) == set(MODELS)
    assert set(completion.TARGETS) == {*TARGETS, PICTURE, "all"}
    assert list(completion.SELECTORS) == selectors()._files


def test_completing_imports_nothing_heavy() -> None:
    code = "import sys, atexit\natexit.register(lambda: print('loaded', *sys.modules, file=sys.stderr))\n"
    code += "sys.argv = ['thresher']\nfrom thresher.cli import main\nmain()"
    words = {"COMP_WORDS": "thresher run --method td", "COMP_CWORD": "3", "_THRESHER_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **words}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "plain,tdds\n"
    loaded = set(done.stderr.split())
    assert "thresher.literature" in loaded
    assert not loaded & {"torch", "numpy", "pyarrow", "rich", "scipy"}


def test_scorers_of_installed_packages_are_completed_and_not_imported(path: str, tmp_path: Path) -> None:
    about = tmp_path / "my_scores-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-scores\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[thresher.scorers]\ntdds_late = not.there:Late\ntdds = not.there:TDDS\n"
        "[thresher.selectors]\ntdds_rule = not.there:Rule\n"
    )
    site = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(completion.__file__).parents[2])])}
    words = {"COMP_WORDS": "thresher methods tdds", "COMP_CWORD": "2"}
    found = run(path, "thresher", _THRESHER_COMPLETE="zsh_complete", **words, **site).splitlines()
    assert found[1::3] == ["tdds", "tdds_late", "tdds_rule"]
    assert found[5] == "from the package my-scores"
    words = {"COMP_WORDS": "thresher score --method tdds_late,td", "COMP_CWORD": "3"}
    assert run(path, "thresher", _THRESHER_COMPLETE="bash_complete", **words, **site) == "plain,tdds_late,tdds\n"


def test_places_are_completed_as_files(path: str, tmp_path: Path) -> None:
    words = {"COMP_WORDS": "thresher score run", "COMP_CWORD": "2"}
    assert run(path, "thresher", _THRESHER_COMPLETE="bash_complete", **words) == "file,run\n"
