"""What a hostile input might do besides being refused, seen as it happens: run code, write elsewhere, hang."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thresher.errors import ThresherError

_RUNS = {
    "exec", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen",
    "pickle.find_class", "socket.connect", "socket.bind", "urllib.Request", "ctypes.dlopen", "marshal.loads", "os.kill",
}  # fmt: skip
_WRITES = {
    "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "shutil.rmtree", "shutil.move",
}  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Hung(BaseException):
    """A reader took too long. No reader may catch this by accident."""


class Watch:
    """Watches a process from now on; `acts` are what was done while `on` that no reader should do."""

    def __init__(self, inside: Path) -> None:
        self.inside, self.on = os.path.realpath(inside), False
        self.acts: list[str] = []
        sys.addaudithook(self._look)

    def _look(self, name: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if name in _RUNS and not _importing():
            self.acts.append(f"{name} {arguments!r}"[:200])
        elif name == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and not self._is_inside(path):
                self.acts.append(f"open for writing {path!r}"[:200])
        elif name in _WRITES:
            handles = [f for f in arguments[1:] if isinstance(f, int) and f > 2 and os.path.isdir(f"/proc/self/fd/{f}")]
            above = os.readlink(f"/proc/self/fd/{handles[-1]}") if handles and name != "os.chmod" else ""
            for path in arguments[:2]:
                if isinstance(path, str | bytes | os.PathLike) and not self._is_inside(
                    os.path.join(above, os.fsdecode(path))
                ):
                    self.acts.append(f"{name} {path!r}"[:200])

    def _is_inside(self, path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return True  # a descriptor that was opened before
        return os.path.realpath(os.fsdecode(path)).startswith(self.inside + os.sep)


def _importing() -> bool:
    """Return whether a module of the installed packages is being imported, or annotations are looked up: both run code."""
    frame = sys._getframe(2)
    while frame is not None:
        # typing evaluates the annotations of our own classes, which are texts
        if frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_globals.get("__name__") == "typing":
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def limit_memory(more: int) -> None:
    """Let this process take so many bytes more than it has; what asks for more gets a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more,) * 2)


def verdict(read: Callable[[], Any], right: Callable[[Any], bool], watch: Watch, seconds: int) -> tuple[str, str]:
    """Return how reading ended and a word on it: refused or answered, or (faults) wrong, escaped, hung, acted."""

    def too_long(*_: Any) -> None:
        raise Hung

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    watch.acts.clear()
    watch.on = True
    try:
        found = read()
        watch.on = False
        how, told = ("answered", "") if right(found) else ("wrong", repr(found)[:300])
    except ThresherError as error:
        how, told = "refused", str(error)
    except Hung:
        how, told = "hung", f"after {seconds} s"
    except BaseException as error:
        import traceback

        where = traceback.extract_tb(error.__traceback__)[-1]
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "thresher" in f.filename]
        place = ours[-1] if ours else where
        how, told = "escaped", f"{type(error).__name__}: {error}"[:300] + f" in {Path(place.filename).name}:{place.lineno}"
    finally:
        watch.on = False
        signal.alarm(0)
    return ("acted", watch.acts[0]) if watch.acts else (how, told)
