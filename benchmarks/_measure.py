"""What the benchmarks share: child processes with wall time and peak memory, alternation, tables, JSON.

Keep the parent small where memory is compared: Linux counts the memory of the process that starts a child into that child's
peak (it is its image until exec), so torch and NumPy are imported here only after the last measurement.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Child:
    """A finished process: wall seconds from start to end, peak resident bytes, what it printed, seconds of its processor."""

    seconds: float
    peak_bytes: int
    output: str
    processor: float


@dataclass(frozen=True)
class Target:
    """A number we hold ourselves to: `value` compared with `limit` by `sense`, "<=" or ">="."""

    name: str
    value: float
    sense: str
    limit: float

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.limit if self.sense == "<=" else self.value >= self.limit


def parser(description: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """Return a parser with `--quick` and `--out`."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="a small size, to see that it works; targets are not judged")
    made.add_argument("--out", type=Path, help="JSON file to write the result to")
    made.set_defaults(**defaults)
    return made


def python(script: str, *arguments: object) -> list[str]:
    """Return the command line of one of the scripts beside this one."""
    return [sys.executable, str(HERE / script), *map(str, arguments)]


def run_child(command: Sequence[str]) -> Child:
    """Run a process to its end; exits with its error output where it fails.

    Python may keep the bytecode of what it imports, whatever this shell says: an installed package has its own.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)  # it is reaped: Popen must not wait for it again
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            script = Path(next(word for word in command[1:] if word not in ("-m", "-c"))).name
            sys.exit(f"{script} ended with {process.returncode}:\n{errors.read().decode()[-4000:]}")
        unit = 1 if sys.platform == "darwin" else 1024
        return Child(seconds, usage.ru_maxrss * unit, output.read().decode(), usage.ru_utime + usage.ru_stime)


def alternate(runs: Mapping[str, Callable[[], Result]], rounds: int) -> dict[str, list[Result]]:
    """Call every run once a round, in turn, every other round backwards, so that drift of the machine hits all alike."""
    results: dict[str, list[Result]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs) if number % 2 == 0 else list(runs)[::-1]:
            results[name].append(runs[name]())
    return results


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that `call` takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


median = statistics.median


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; floats get three significant digits."""
    lines = [list(map(_cell, row)) for row in (header, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    texts = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([texts[0], rule, *texts[1:]])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def finish(
    name: str,
    args: argparse.Namespace,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    sizes: Mapping[str, Any],
    targets: Sequence[Target] = (),
    notes: Sequence[str] = (),
    raw: Mapping[str, Any] | None = None,
) -> None:
    """Print the table, the notes and the targets; write the JSON with everything that the numbers depend on."""
    print(f"## {name} ({', '.join(f'{key} {value}' for key, value in sizes.items())})\n")
    print(markdown(header, rows) + "\n")
    for note in notes:
        print(f"- {note}")
    for target in targets:
        verdict = "not judged (--quick)" if args.quick else "met" if target.met else "MISSED"
        print(f"- target: {target.name} {target.sense} {_cell(target.limit)}; measured {_cell(target.value)}: {verdict}")
    if args.out is None:
        return
    from thresher.experiments.rundir import environment
    from thresher.files import write_json

    said = {k: v for k, v in vars(args).items() if k != "out" and v is not None and not isinstance(v, bool)}
    said |= {"data_dir": "DIR"} if "data_dir" in said else {}  # where it lies is nobody else's place
    spelt = {k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in said.items()}
    options = [f"--{k.replace('_', '-')} {v}" for k, v in spelt.items()]
    flags = [f"--{k.replace('_', '-')}" for k, v in vars(args).items() if v is True]
    content = {
        "benchmark": name,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join([f"python benchmarks/{name}.py", *flags, *options]),
        "quick": args.quick,
        "sizes": dict(sizes),
        "environment": environment(),
        "table": [dict(zip(header, row, strict=True)) for row in rows],
        "targets": [{**asdict(t), "met": None if args.quick else t.met} for t in targets],
        "notes": list(notes),
        "raw": dict(raw or {}),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.out, json.loads(json.dumps(content)))
