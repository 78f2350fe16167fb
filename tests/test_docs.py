"""What is written about the code is what the code says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_generated_pages_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, page in generate.PAGES.items():
        assert (ROOT / "docs" / name).read_text() == page(), f"{name} is old: run `make docs`"


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)|src=\"([^\"]+)\"", path.read_text()):
        link = target[0] or target[1]
        if not link.startswith(("http:", "https:")):
            assert (path.parent / link).exists(), f"{path.name} links to {link}, which is not there"


def test_commands_of_the_readme_exist() -> None:
    from click.testing import CliRunner

    from thresher.cli import app

    text = (ROOT / "README.md").read_text()
    names = "run|record|score|select|train|methods|plan|suspects|reproduce|tune|corrupt|export|explore"
    commands = set(re.findall(rf"thresher ({names})\b([^`\n]*)", text))
    assert {name for name, _ in commands} == {
        "run",
        "record",
        "score",
        "select",
        "train",
        "methods",
        "plan",
        "suspects",
        "reproduce",
        "tune",
        "export",
        "explore",
    }
    for name, rest in commands:
        options = re.findall(r"--[a-z-]+", rest)
        said = CliRunner().invoke(app, [name, "--help"]).output
        assert all(option in said for option in options), (name, options)


def run_blocks(path: Path) -> int:
    """Run a page's Python blocks one after another, as a reader would type them, and return how many there are.

    What a page claims is in its assertions.
    """
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {"__name__": path.stem}
    for number, block in enumerate(blocks):
        needed = re.match(r"# needs ([\w, ]+)", block)
        if needed is None or all(importlib.util.find_spec(name) for name in needed[1].split(", ")):
            exec(compile(block, f"{path.name}, block {number}", "exec"), names)
    return len(blocks)


def test_code_of_the_dynamic_page_runs() -> None:
    assert run_blocks(ROOT / "docs" / "dynamic.md") >= 1


def test_code_of_the_score_variance_page_runs() -> None:
    assert run_blocks(ROOT / "docs" / "score_variance.md") >= 3


@pytest.mark.filterwarnings("ignore::Warning:lightning.*")
@pytest.mark.parametrize(
    ("page", "packages"),
    [
        ("plain", ()),
        ("probabilities", ()),
        ("accelerate", ("accelerate",)),
        ("lightning", ("lightning",)),
        ("transformers", ("transformers", "accelerate")),
    ],
)
def test_code_of_the_frameworks_pages_runs(
    page: str, packages: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in packages:
        pytest.importorskip(package, reason=f"needs {package}: pip install 'thresher[{package}]'")
    monkeypatch.chdir(tmp_path)
    assert run_blocks(ROOT / "docs" / "frameworks" / f"{page}.md") >= 1


def test_every_framework_has_a_page() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "frameworks").glob("*.md")}
    files = {path.stem for path in (ROOT / "src" / "thresher" / "integrations").glob("*.py") if path.stem[0] != "_"}
    assert pages == {"README", "plain", *files} - {"cleanlab"}  # no framework; docs/files.md has it


def test_code_of_the_files_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks run one after another in an empty folder; one that needs a package says so and is left out without it."""
    monkeypatch.chdir(tmp_path)
    assert run_blocks(ROOT / "docs" / "files.md") >= 8


def test_code_of_the_page_of_the_command_line_runs() -> None:
    assert run_blocks(ROOT / "docs" / "cli.md") >= 1


def test_the_page_of_the_command_line_knows_every_command() -> None:
    from thresher.cli import app

    text = (ROOT / "docs" / "cli.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(app.commands)


@pytest.mark.parametrize(
    ("page", "commands"), [
        ("files", {"export", "run"}), ("explore", {"explore", "train", "export"}), ("cli", {"run", "score"}),
    ],
)  # fmt: skip
def test_commands_of_a_page_exist(page: str, commands: set[str]) -> None:
    from click.testing import CliRunner

    from thresher.cli import app

    text = (ROOT / "docs" / f"{page}.md").read_text()
    lines = re.findall(r"^thresher (\w+)([^\n#]*)", text, re.MULTILINE)
    assert commands <= {name for name, _ in lines}
    for name, rest in lines:
        said = CliRunner().invoke(app, [name, "--help"]).output
        assert all(option in said for option in re.findall(r"--[a-z-]+", rest)), (name, rest)
