"""What is written about the code is what the code says."""

from __future__ import annotations

import ast
import csv
import importlib.util
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from thresher import version
from thresher.boards.cells import RULES

ROOT = Path(__file__).parents[1]


def test_generated_pages_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, page in generate.PAGES.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == page(), f"{name} is old: run `make docs`"
    cards = {path.name for path in (ROOT / "docs" / "methods").glob("*.md")}
    assert cards == {Path(name).name for name in generate.PAGES if name.startswith("methods/")}


def test_results_of_earlier_rules_are_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    numbers = importlib.import_module("writers.numbers")
    folder = tmp_path / "study" / "results"
    folder.mkdir(parents=True)
    train = {"model": "small", "batch_size": 32}
    for name, cell, accuracy in (("a", {"rules": RULES}, 0.5), ("b", {"rules": RULES - 1}, 0.6), ("c", {}, 0.7)):
        result = {"data": "cifar10", "method": "random", "keep": 0.1, "seed": 0, "kept": 5000, "seconds": 1.0}
        content = {**result, "train": train, "test_accuracy": accuracy, "cell": cell}
        (folder / f"{name}.json").write_text(json.dumps(content))
    monkeypatch.setattr(numbers, "RESULTS", tmp_path)
    assert [(number.label, number.mean) for number in numbers.ours()] == [("random", 50.0)]


def test_results_of_other_settings_are_not_mixed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    numbers = importlib.import_module("writers.numbers")
    folder = tmp_path / "study" / "results"
    folder.mkdir(parents=True)

    def put(name: str, method: str, accuracy: float, scale_loss: str = "published", **changes: object) -> None:
        train = {"model": "small", "batch_size": 32, "lr": 0.1, **changes}
        content = {"data": "cifar10", "method": method, "keep": 0.1, "seed": 0, "kept": 5000, "seconds": 1.0, "train": train}
        content |= {"test_accuracy": accuracy, "cell": {"rules": RULES, "scale_loss": scale_loss}}
        (folder / f"{name}.json").write_text(json.dumps(content))

    put("a", "random", 0.5)
    put("b", "tdds", 0.6)
    put("c", "tdds", 0.7, scale_loss="none")
    put("d", "random", 0.1, lr=0.03)
    put("e", "tdds", 0.2, schedule_epochs=2000)
    monkeypatch.setattr(numbers, "RESULTS", tmp_path)
    found = [(number.label, number.mean, number.gap and round(number.gap)) for number in numbers.ours()]
    assert found == [("random", 50.0, None), ("tdds", 60.0, 10), ("random", 10.0, None), ("tdds", 20.0, None)]
    put("f", "tdds", 0.8)
    with pytest.raises(ValueError, match="of which recording"):
        numbers.ours()


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)|src=\"([^\"]+)\"", path.read_text()):
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


def test_what_is_cited_is_this_version() -> None:
    cited = pytest.importorskip("yaml").safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == version.__version__
    assert f'license = "{cited["license"]}"' in (ROOT / "pyproject.toml").read_text()
    assert f"{cited['references'][0]['title']}, CVPR 2024" in (ROOT / "docs/sources.md").read_text()


def test_every_framework_has_a_page() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "frameworks").glob("*.md")}
    files = {path.stem for path in (ROOT / "src" / "thresher" / "integrations").glob("*.py") if path.stem[0] != "_"}
    assert pages == {"README", "plain", *files} - {"cleanlab"}  # no framework; docs/files.md has it


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it; a warning, such as a link that leads nowhere, is a failure."""
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package, reason=f"needs {package}: pip install 'thresher[docs]'")
    out = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "-d", str(out / "trees")]
    done = subprocess.run([*build, str(ROOT / "docs"), str(out / "html")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_the_page_of_the_command_line_knows_every_command() -> None:
    from thresher.cli import app

    text = (ROOT / "docs" / "cli.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(app.commands)


def test_the_page_of_the_command_line_knows_every_field_of_a_document() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    fields = {}
    for path in (ROOT / "src" / "thresher" / "commands").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "say.result" and isinstance(call.args[0], ast.Dict):
                keys = [key.value for key in call.args[0].keys if isinstance(key, ast.Constant)]
                fields |= {f"{path.stem}: {key}": key for key in keys}
    assert len(fields) > 30
    assert [field for field, key in fields.items() if f"`{key}`" not in text] == []


def test_the_site_has_every_page_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")} - {Path("scale.in")}
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    assert pages <= built
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"([^\"]+)|<link[^>]*\shref=\"([^\"]+)", text)
        assert not [url for pair in loaded for url in pair if re.match(r"(https?:)?//", url)], path.name
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.search(r"(@import\s+|url\()[\"']?(https?:)?//", styles)


def test_a_card_has_what_its_docstrings_and_files_say() -> None:
    from thresher.scorers import EL2N
    from thresher.settings.tables import published_table

    card = (ROOT / "docs" / "methods" / "el2n.md").read_text(encoding="utf-8")
    fails = re.search(r"Fails: (.+?)\n\n", inspect.getdoc(EL2N) or "", re.DOTALL)
    assert fails is not None
    assert " ".join(fails[1].split()) in card
    for number in published_table("table10"):
        if number.method == "el2n":
            assert f"{number.accuracy:.2f} (" in card
    with (ROOT / "docs" / "results" / "small-scale" / "table6-small.csv").open() as file:
        mine = [row for row in csv.DictReader(file) if row["method"] == "el2n"]
    assert mine
    assert all(f"| {float(row['mean']):.2f} | {float(row['gap']):+.2f} |" in card for row in mine)


def test_every_scorer_and_selector_says_when_it_fails() -> None:
    from thresher.registry import scorers, selectors

    silent = [name for name, cls in {**scorers(), **selectors()}.items() if "\nFails: " not in (inspect.getdoc(cls) or "")]
    assert silent == []
