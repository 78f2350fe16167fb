"""Every error that Thresher raises on purpose. Each is also the matching built-in, so callers may catch either."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Mapping
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # the last two end a line, too
_ADVICE = {
    errno.ENOSPC: "Free some space and run the same command again.",
    errno.EDQUOT: "Free some space and run the same command again.",
    errno.EFBIG: "Raise the file size limit and run the same command again.",
    errno.EACCES: "Give this user access to it, or choose another place.",
    errno.EROFS: "Choose a place that is writable.",
    errno.EISDIR: "Name a file, not a folder.",
    errno.ENOTDIR: "Name a folder, not a file.",
    errno.ENAMETOOLONG: "Choose a shorter name: while a file is written, up to 33 bytes are added to its name.",
    errno.EEXIST: "Name a folder, not a file.",
}


class ThresherError(Exception):
    """Root of all errors raised on purpose; the message says what was expected, what came and what to do."""


class InputError(ThresherError, ValueError):
    """The function cannot work with this value, shape, dtype or option."""


class SampleIdError(InputError):
    """Sample ids are of the wrong kind, out of range, or seen twice in one epoch."""


class MissingSamplesError(InputError):
    """Samples that must be present in an epoch (or a score) are not."""


class TooFewEpochsError(InputError):
    """A score was asked for before enough epochs were recorded."""


class UnknownNameError(ThresherError, KeyError):
    """A method, scorer, selector, model or data set that does not exist was named."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class CorruptFileError(ThresherError, OSError):
    """A file is truncated, has a wrong checksum, or is not in the expected format."""


class LaterFormatError(CorruptFileError):
    """A file is of a later format than this version of Thresher reads: it is whole, and never replaced."""


class MissingFileError(ThresherError, FileNotFoundError):
    """A file or folder that must exist does not."""


class FingerprintError(InputError):
    """A coreset or recording belongs to another data set than the one in use."""

    @classmethod
    def between(
        cls, kind: str, path: object, told: Mapping[str, Any], fingerprint: str, data: str | None, anew: str
    ) -> FingerprintError:
        """Return the error for a file of this `kind` whose provenance `told` names other data than `data`."""
        of = str(told.get("data") or "")
        if not of or not data:
            advice = f"Use it with its own data set, or {anew}."
        elif of == data:
            advice = f"Files have been added, removed or changed since, or are different ones: {anew}."
        elif "+" in of + data:
            advice = f"Give the --data, --corrupt and --mislabel that were recorded, or {anew}."
        else:
            advice = f"The {kind} is of {of}, but this is {data}: add --data {of}, or {anew}."
        return cls(
            f"Expected a {kind} of {data or 'the data set'} at hand (fingerprint {fingerprint[:16]}), but {path} is of "
            f"{of or 'another one'} (fingerprint {str(told.get('fingerprint'))[:16]}). {advice}"
        )


class RunDirectoryError(ThresherError, OSError):
    """A run directory cannot be used: half-written, of another spec, or locked by another writer."""


class MissingPackageError(ThresherError, ImportError):
    """A required optional package is not installed or cannot be imported."""


class RankLostError(ThresherError, RuntimeError):
    """Another process of a distributed job has ended or does not respond."""


class OtherRankError(ThresherError, RuntimeError):
    """Another rank could not continue and said why; this one stops with it."""


class FailedTrainingsError(ThresherError, RuntimeError):
    """Some trainings failed, each with its error printed above; the others are done."""


class StorageError(ThresherError, OSError):
    """Object storage does not respond, or refuses."""


class BusyError(RunDirectoryError):
    """Another process is writing to this file or folder."""


def one_line(error: ThresherError | OSError) -> str:
    """Return an error on one line; for one of the operating system also what to do, where that is known."""
    if isinstance(error, ThresherError):
        return " ".join(str(error).split())
    advice = _ADVICE.get(error.errno or 0, "")
    return " ".join(f"{error}. Files that were complete before are intact. {advice}".split())


_NOT_OF_THE_FILE = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def of_the_system(error: BaseException) -> bool:
    """Return whether an error of reading a file tells that the system did not let it be read (no permission, too many open
    files), and so nothing against what it holds. An offset that a damaged file names is refused by the system, too.

    >>> of_the_system(PermissionError(errno.EACCES, "Permission denied")), of_the_system(OSError(errno.EINVAL, "Invalid"))
    (True, False)
    """
    return isinstance(error, OSError) and error.errno in _NOT_OF_THE_FILE


def printable(text: str) -> str:
    """Return a text, such as the name of a file, with its control characters escaped: it stays on one line, and a terminal
    takes no command from it.

    >>> print(printable("line\\nbreak"), printable("\\x1b[2J"), printable("Käse"))
    line\\nbreak \\x1b[2J Käse
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean ...?)` for a message, or "" if no known word is similar to `word`.

    >>> nearest("intendet", ("intended", "published-code"))
    ' (did you mean intended?)'
    """
    import difflib  # only where a word was wrong

    close = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
