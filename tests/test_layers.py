"""The plan of the house: imports go downward, heavy packages stay where they belong, files stay readable."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "thresher"
LEVELS = [
    {"version", "types", "arrays", "named", "errors", "files", "locks", "places", "ahead", "arrow", "cores", "ranks"}
    | {"stepwise", "held"},
    {"signals", "keep", "ranking", "engines", "suspects", "learned"},
    {"scorers", "selectors", "trajectory", "coreset", "coreset_file", "settings"},
    {"registry", "literature", "selection", "score_file", "score_table", "exchange"},
    {"planning", "recording", "replay", "large"},
    {"recorder", "resolved", "methods", "derivation", "testing"},
    {"data", "models", "report", "tracking"},
    {"dynamic"},
    {"train"},
    {"experiments"},
    {"boards", "explore"},
    {"commands"},
    {"cli", "integrations", "__main__"},
]
LEVEL = {room: height for height, rooms in enumerate(LEVELS) for room in rooms}


def modules() -> list[Path]:
    """Return every module of the package but its front door."""
    return sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


def room(path: Path) -> str:
    """Return the room a module belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Return the names of imported modules, and of what is taken from them, which may be modules too."""
    tree = ast.parse(path.read_text())
    found = set()
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path} imports by dots"
            assert not node.level, f"{path} imports by dots"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_a_module_that_is_taken_from_its_package_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("def late():\n    from thresher import recorder\n    from torch import distributed\n")
    assert imports(path) == {"thresher", "thresher.recorder", "torch", "torch.distributed"}
    path.write_text("from . import recorder\n")
    with pytest.raises(AssertionError, match="by dots"):
        imports(path)


def test_every_room_has_its_place() -> None:
    assert {room(path) for path in modules()} == set(LEVEL)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_downward(path: Path) -> None:
    for name in imports(path):
        if name.startswith("thresher."):
            other = name.split(".")[1]
            assert other in LEVEL, f"{other} is taken through the front door"
            assert LEVEL[other] <= LEVEL[room(path)], f"{room(path)} imports {other}, which lies above it"


def test_one_module_talks_to_other_processes() -> None:
    users = {path.name for path in modules() if any(name.startswith("torch.distributed") for name in imports(path))}
    assert users == {"torchrun.py"}
    for path in (SOURCE / "scorers").glob("*.py"):
        assert not any(name.startswith(("thresher.ranks", "thresher.recording")) for name in imports(path))


@pytest.mark.parametrize("package", ["scorers", "selectors"])
def test_scorers_and_selectors_do_not_know_one_another(package: str) -> None:
    for path in (SOURCE / package).glob("*.py"):
        if path.name != "__init__.py":
            mine = {name for name in imports(path) if name.startswith(f"thresher.{package}.")}
            assert all(name.split(".")[2].startswith("_") for name in mine), path.name


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def loaded_by(code: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has loaded after running `code`."""
    script = f"{code}\nimport sys\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_thresher_loads_nothing_heavy() -> None:
    heavy = {"torch", "pyarrow", "scipy", "sklearn", "matplotlib", "jinja2", "rich", "click", "numpy"}
    assert not loaded_by("import thresher") & heavy


def test_scoring_needs_no_torch(tmp_path: Path) -> None:
    code = "import thresher.cli, thresher.commands.scoring, thresher.trajectory.official, thresher.selection"
    code += "; import thresher.commands.exporting, thresher.exchange.frames, thresher.exchange.cartography"
    code += "; import thresher.commands.planning, thresher.commands.selecting"
    assert not loaded_by(code) & {"torch", "scipy", "sklearn", "matplotlib", "jinja2"}


def test_scoring_leaves_pandas_alone(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="needs pandas: pip install 'thresher[files]'")
    (tmp_path / "dumps").mkdir()
    for epoch in range(4):
        logits = np.random.default_rng(epoch).normal(size=(20, 3)).astype(np.float32)
        np.save(tmp_path / "dumps" / f"{epoch}_Output.npy", logits)
        np.save(tmp_path / "dumps" / f"{epoch}_Index.npy", np.arange(20))
    scores = tmp_path / "scores.parquet"
    run = "from thresher.cli import app\n"
    run += f"app(['score', {str(tmp_path / 'dumps')!r}, '--window', '3', '--out', {str(scores)!r}], standalone_mode=False)"
    assert not loaded_by(run) & {"pandas", "torch", "multiprocessing"}
    assert scores.is_file()
    select = f"['select', {str(scores)!r}, '--keep', '0.5', '--out', {str(tmp_path / 'kept.parquet')!r}]"
    run = f"from thresher.cli import app\napp({select}, standalone_mode=False)"
    for _ in range(2):  # the second time a coreset is there, which is read before it is replaced
        assert not loaded_by(run) & {"pandas", "torch", "multiprocessing"}
    read = f"from pathlib import Path\nfrom thresher.score_table import read_scores\nread_scores(Path({str(scores)!r}))"
    assert not loaded_by(read) & {"pandas", "pyarrow.dataset"}  # the latter reads in threads that may outlive the program


def test_the_front_door_opens_to_everything() -> None:
    import thresher

    for name in thresher.__all__:
        assert getattr(thresher, name) is not None
    with pytest.raises(AttributeError, match="no attribute"):
        _ = thresher.nothing


@pytest.mark.parametrize("first", ["from thresher.replay import Request", "import thresher.derivation"])
def test_a_name_of_the_front_door_is_never_a_module(first: str) -> None:
    for code in (f"{first}\nfrom thresher import replay", f"import thresher\n{first}\nreplay = thresher.replay"):
        subprocess.run([sys.executable, "-c", f"{code}\nassert callable(replay), replay"], check=True)


def test_the_front_door_lists_its_names_before_they_are_loaded() -> None:
    script = "import thresher\nfound = dir(thresher)\nassert set(thresher.__all__) <= set(found)"
    script += "\nassert 'Any' not in found\nimport thresher.errors\nassert 'errors' in dir(thresher)"
    subprocess.run([sys.executable, "-c", script], check=True)
