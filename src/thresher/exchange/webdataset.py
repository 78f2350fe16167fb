"""A coreset of WebDataset shards: tar in, tar out, one sample in memory at a time.

Sample `i` is the i-th sample met when the shards are read in the order they are given (by the command: sorted by name).
Consecutive files with the same key (the path up to the first dot of the file's name) are one sample, as the webdataset
package reads them. Keys, names and bytes are kept; what is not a plain file, has no key or is in a `__folder__` is skipped,
as in that package.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

from thresher.coreset import Coreset
from thresher.errors import CorruptFileError, FingerprintError, InputError, MissingFileError
from thresher.exchange.place import MARK, check_apart, check_inside, new_folder
from thresher.places import PathText, as_local

Sample = list[tuple[str, bytes]]
_KEYED = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")  # as webdataset.tariterators.base_plus_ext has it
_ASIDE = re.compile(r"__[^/]*__($|/)")  # as webdataset.tariterators.meta_prefix and its suffix have it


def reshard(
    coreset: Coreset, shards: Sequence[PathText], out: PathText, *, per_shard: int = 10_000, force: bool = False,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:  # fmt: skip
    """Write the kept samples of `shards` into `out` as `000000.tar` and so on, and return these files.

    `per_shard` samples go into each. The coreset itself is saved next to them. `on_step(done, total)` is called as samples
    are read. Raises MissingFileError, CorruptFileError (truncated, not a tar file), InputError (a member whose name leads
    out of its folder), FingerprintError if the shards do not hold `coreset.n` samples, RunDirectoryError if `out` may not
    be replaced; `out` is then unchanged.
    """
    if per_shard < 1:
        raise InputError(f"Expected per_shard >= 1 samples, but got {per_shard}.")
    shards, out = _files(shards), as_local(out)
    check_apart(shards, out)
    mask, seen, written = coreset.mask, 0, 0
    names: list[str] = []
    with new_folder(out, force) as folder:
        target: tarfile.TarFile | None = None
        last = ""
        try:
            for key, sample in _samples(shards):
                if seen < coreset.n and mask[seen]:
                    if (
                        target is None or written % per_shard == 0 or key == last
                    ):  # neighbours of one key would melt together
                        if target is not None:
                            target.close()
                        names.append(f"{len(names):06d}.tar")
                        target = tarfile.open(folder / names[-1], "w", format=tarfile.GNU_FORMAT)  # noqa: SIM115
                    _write(target, sample)
                    written, last = written + 1, key
                seen += 1
                on_step(seen, coreset.n)
        finally:
            if target is not None:
                target.close()
        if seen != coreset.n:
            raise FingerprintError(
                f"Expected the {coreset.n} samples that this coreset was selected from, but the shards hold {seen}. "
                "Name all shards of the full training set."
            )
        coreset.save(folder / MARK)
    return [out / name for name in names]


def keys(shards: Sequence[PathText]) -> list[str]:
    """Return the key of every sample in id order; contents are skipped. Raises what `reshard` raises."""
    return [key for key, _ in _samples(_files(shards))]


def _files(shards: Sequence[PathText]) -> list[Path]:
    if isinstance(shards, (str, os.PathLike)):
        raise InputError(f"Expected a list of shards, but got {shards!r}. Put it in a list: [path].")
    return [as_local(shard) for shard in shards]


def _samples(shards: Sequence[Path]) -> Iterator[tuple[str, Sample]]:
    """Yield (key, files) of every sample; each shard starts a new one."""
    if not shards:
        raise MissingFileError("Expected WebDataset shards (.tar), but there is none. Name the files or their folder.")
    for path in shards:
        sample: Sample = []
        current = ""
        for name, content in _members(path):
            key = _key(name)
            if sample and key != current:
                yield current, sample
                sample = []
            current = key
            sample.append((name, content))
        if sample:
            yield current, sample


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    if not path.is_file():
        raise MissingFileError(f"Expected a WebDataset shard at {path}, but there is none.")
    try:
        with tarfile.open(path, "r|*") as shard:  # a stream: nothing is sought, members are forgotten as they pass
            for member in shard:
                shard.members = []  # type: ignore[attr-defined]  # else the list grows with every file of the shard
                if member.isdir():  # of which nothing is written; `tar -cf shard.tar .` begins with the folder itself
                    continue
                check_inside(member.name, path)
                if not member.isreg() or _ASIDE.match(member.name) or not _KEYED.match(member.name):
                    continue
                file = shard.extractfile(member)
                content = b"" if file is None else file.read()
                if len(content) != member.size:
                    raise tarfile.ReadError("unexpected end of data")
                yield member.name, content
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise CorruptFileError(f"{path} is truncated or not a tar file ({error}). Copy it again.") from error


def _key(name: str) -> str:
    """Return a file's key.

    >>> _key("images/0007.seg.png")
    'images/0007'
    """
    match = _KEYED.match(name)
    return match[1] if match else ""


def _write(target: tarfile.TarFile, sample: Sample) -> None:
    for name, content in sample:
        info = tarfile.TarInfo(name)  # no owner, no time: the same coreset gives the same bytes
        info.size, info.mode = len(content), 0o644
        target.addfile(info, BytesIO(content))
