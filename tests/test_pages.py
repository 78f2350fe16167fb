"""Every code block of every page runs, in its page's order and in an empty folder, or says above it why it does not.

Comments above a block, which no reader of the page sees, tell the tests what to do with it:

    <!-- tested with: run --epochs 1; score ... -->   options that are added to a command, so that it takes seconds
    <!-- file: loop.py -->                            the block is written to that file, which a later command runs
    <!-- not run: why -->                             it is not run; its commands are parsed all the same

`<!-- given: runs/digits, ... -->` anywhere in a page names what lies in the folder before the first block (see GIVEN). A
block that begins with `# needs PACKAGE` is left out without that package. `DIR` is a folder of CIFAR with few images.
"""

from __future__ import annotations

import importlib.util
import io
import itertools
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

from thresher.cli import app
from thresher.coreset import Coreset
from thresher.data import load

ROOT = Path(__file__).parents[1]
LANGUAGES = {"python", "sh", "text", "{toctree}", "{include}", "{eval-rst}"}
NEEDS = {"lightning": ("lightning",), "accelerate": ("accelerate",), "transformers": ("transformers", "accelerate")}
PER_FILE = 20  # images that are left of each official file of CIFAR


@dataclass(frozen=True)
class Block:
    """A fenced block: what its fence says, its text, and the comments above it."""

    language: str
    text: str
    comments: dict[str, str]
    line: int


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    found: list[Block] = []
    comments: dict[str, str] = {}
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if line.startswith("```"):
            inside = [text for _, text in itertools.takewhile(lambda pair: pair[1] != "```", lines)]
            found.append(Block(line[3:].split(" ")[0], "\n".join(inside) + "\n", comments, number))
            comments = {}
        elif comment := re.fullmatch(r"<!-- ([a-z ]+): (.*) -->", line):
            comments = {**comments, comment[1]: comment[2]}
        else:
            comments = {}
    return found


def pages() -> list[Path]:
    """Return every page that a reader sees."""
    inside = (path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name != "scale.in.md")
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *inside]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


WITH_CODE = [page for page in pages() if any(block.language in ("python", "sh") for block in blocks(page))]


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_what_looks_like_code_is_a_block_that_runs(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, f"line {block.line}: {block.language!r} is none of {sorted(LANGUAGES)}"
        assert set(block.comments) <= {"tested with", "file", "not run", "given"}, f"line {block.line}"
        if block.language == "text":
            assert not re.search(r"^(thresher|pip|make|torchrun|python|import|from) ", block.text, re.MULTILINE), block.line
        if block.language == "{eval-rst}":  # docstrings, whose examples run where they are written
            assert all(re.match(r"\.\. auto\w+:: |   :[\w-]+:|$", line) for line in block.text.splitlines()), block.line
    plain = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"^    (thresher|pip|make|torchrun|python) ", plain, re.MULTILINE), "a command outside a block"


def commands(block: Block) -> list[list[str]]:
    """Return the words of each command of a shell block."""
    lines = [shlex.split(line, comments=True) for line in block.text.splitlines()]
    parts = [(both, list(words)) for line in lines for both, words in itertools.groupby(line, lambda word: word == "&&")]
    return [words for both, words in parts if not both]


def parse(words: list[str]) -> None:
    """Hold a command to the options that there are, without running it."""
    words = words[words.index("thresher.cli") :] if "thresher.cli" in words else words
    words = words[: words.index(">")] if ">" in words else words
    if Path(words[0]).name not in ("thresher", "thresher.cli"):
        return
    if "s3://" in " ".join(words) and not importlib.util.find_spec("s3fs"):  # its paths could not be read
        return
    command = app.commands[words[1]]
    with click.Context(command, info_name=words[1]) as context:
        command.parse_args(context, words[2:])


# What lies in a page's folder.


def a_run(folder: Path, small_run: Path) -> None:
    shutil.copytree(small_run, folder / "runs" / "digits")


def a_table(folder: Path, small_run: Path) -> None:
    shutil.copy(small_run / "scores.parquet", folder / "scores.parquet")


def a_coreset(folder: Path, small_run: Path) -> None:
    chosen = next((small_run / "coresets").glob("el2n*.parquet"))
    for path in (chosen, chosen.with_name(chosen.name + ".json")):
        shutil.copy(path, folder / ("coreset.parquet" + path.name.removeprefix(chosen.name)))


def by_hand(folder: Path, small_run: Path) -> None:
    (folder / "runs" / "digits" / "selections").mkdir(parents=True)
    data = load("digits")
    chosen = Coreset(np.arange(0, len(data.train), 10), None, len(data.train), {"fingerprint": data.fingerprint})
    chosen.save(folder / "runs" / "digits" / "selections" / "NAME.parquet")


def uids(folder: Path, small_run: Path) -> None:
    (folder / "uids.txt").write_text("".join(f"{place:032x}\n" for place in range(len(load("digits").train))))


def pictures(folder: Path, small_run: Path) -> None:
    """Forty digits as pictures in class folders, four to test on, and a coreset of them."""
    train = load("digits").train
    for place in range(44):
        target = folder / "pictures" / ("train" if place < 40 else "val") / str(int(train.targets[place % 4]))
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.kron(train.images[place, 0].numpy(), np.ones((4, 4), np.uint8))).save(target / f"{place:03d}.png")
    data = load("folder", folder / "pictures", image_size=224)
    Coreset(np.arange(0, 40, 4), None, 40, {"fingerprint": data.fingerprint}).save(folder / "pictures.parquet")


def shards(folder: Path, small_run: Path) -> None:
    """The training digits in two shards of WebDataset."""
    (folder / "shards").mkdir()
    targets = load("digits").train.targets
    for shard, part in enumerate(np.array_split(np.arange(len(targets)), 2)):
        with tarfile.open(folder / "shards" / f"{shard:06d}.tar", "w") as tar:
            for place in part:
                content = str(int(targets[place])).encode()
                member = tarfile.TarInfo(f"{place:06d}.cls")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


GIVEN: dict[str, Callable[[Path, Path], None]] = {
    "runs/digits": a_run, "scores.parquet": a_table, "coreset.parquet": a_coreset, "a selection by hand": by_hand,
    "uids.txt": uids, "pictures": pictures, "shards": shards,
}  # fmt: skip


@pytest.fixture(scope="module")
def few_cifar(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both official folders of CIFAR with the first few real images of each file; skips where CIFAR is not there."""
    root = request.getfixturevalue("cifar_root")
    few = tmp_path_factory.mktemp("few") / "cifar"
    for path in [*root.glob("cifar-10-batches-py/*"), *root.glob("cifar-100-python/*")]:
        target = few / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name.startswith(("data_batch", "test", "train")):
            whole = pickle.loads(path.read_bytes(), encoding="bytes")  # the official files, which the repository trusts
            count = PER_FILE if "batch" in path.name else 5 * PER_FILE
            kept = {key: value[:count] if isinstance(value, list | np.ndarray) else value for key, value in whole.items()}
            target.write_bytes(pickle.dumps(kept))
        elif path.suffix != ".txt":
            shutil.copy(path, target)
    return few


class Reader:
    """Runs a page's blocks as a reader would type them."""

    def __init__(self, page: Path, call: Any, cifar: Callable[[], Path]) -> None:
        self.page, self.call, self.cifar = page, call, cifar
        self.names: dict[str, object] = {"__name__": page.stem}

    def read(self, block: Block) -> None:
        """Run one block."""
        where = f"{name_of(self.page)}, line {block.line}"
        if block.language == "python":
            code = compile(block.text, where, "exec")
            if "file" in block.comments:
                Path(block.comments["file"]).write_text(block.text)
            elif "not run" not in block.comments and self.has(block.text):
                exec(code, self.names)
        elif block.language == "sh":
            run = "not run" not in block.comments and self.has(block.text)
            for words in commands(block):
                parse(words)
                if run:
                    self.run(self.completed(words, block.comments.get("tested with", "")))

    def has(self, text: str) -> bool:
        """Tell whether the packages that a block names are there."""
        needed = re.match(r"# needs ([\w, ]+)", text)
        return needed is None or all(importlib.util.find_spec(name) for name in needed[1].split(", "))

    def completed(self, words: list[str], extra: str) -> list[str]:
        """Put in the folder of the data and the options of the tests."""
        words = [str(self.cifar()) if word == "DIR" else word for word in words]
        for more in extra.split(";"):
            name, *options = shlex.split(more) or [""]
            if name in words[:8]:
                end = words.index(">") if ">" in words else len(words)
                words = [*words[:end], *options, *words[end:]]
        return words

    def run(self, words: list[str]) -> None:
        """Run a command."""
        if words[:2] == ["thresher", "explore"]:
            explore(words)
        elif words[0] == "thresher":
            end = words.index(">") if ">" in words else len(words)
            said = self.call(*words[1:end])
            for file in words[end + 1 :]:
                Path(file).write_text(said)
        elif words[0] in ("torchrun", "python"):
            module = ["-m", "torch.distributed.run"] if words[0] == "torchrun" else []
            done = subprocess.run(
                [sys.executable, *module, *words[1:]], capture_output=True, text=True, check=False, timeout=300
            )
            assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        else:
            pytest.fail(f"{self.page.name}: nothing here runs {words}; say why above its block with <!-- not run: ... -->")


def explore(words: list[str]) -> None:
    """Start the explorer as a program, look at its page, and end it as a person would."""
    command = [sys.executable, "-m", "thresher.cli", *words[1:], "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None
        with urllib.request.urlopen(address[0]) as answer:
            assert b"<html" in answer.read()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.filterwarnings("ignore::Warning:lightning.*")
@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_blocks_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    for package in NEEDS.get(page.stem, ()):
        pytest.importorskip(package, reason=f"needs {package}: pip install 'thresher[{package}]'")
    text = page.read_text(encoding="utf-8")
    for names in re.findall(r"^<!-- given: (.*) -->$", text, re.MULTILINE):
        for name in names.split(", "):
            GIVEN[name](tmp_path, request.getfixturevalue("small_run"))
    reader = Reader(page, call, lambda: request.getfixturevalue("few_cifar"))
    for block in blocks(page):
        reader.read(block)
