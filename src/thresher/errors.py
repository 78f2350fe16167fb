"""Every error Thresher raises on purpose. Each is also the matching built-in, so callers may catch either."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from typing import Any

_ADVICE = {
    errno.ENOSPC: "Make room and run the same command again.",
    errno.EDQUOT: "Make room and run the same command again.",
    errno.EFBIG: "Raise the limit on the size of files and run the same command again.",
    errno.EACCES: "Let this user read it, or choose a place that may be written to.",
    errno.EROFS: "Choose a place that may be written to.",
    errno.EISDIR: "Name a file, not a folder.",
    errno.ENOTDIR: "Name a folder, not a file.",
    errno.EEXIST: "Name a folder, not a file.",
}


class ThresherError(Exception):
    """Root of all errors raised on purpose; the message says what was expected, what came and what to do."""


class InputError(ThresherError, ValueError):
    """A value, shape, dtype or option is not what the function can work with."""


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
    """A file is truncated, has a wrong checksum, or is not of the format its place says it is."""


class MissingFileError(ThresherError, FileNotFoundError):
    """A file or folder that must exist does not."""


class FingerprintError(InputError):
    """A coreset or recording belongs to another data set than the one at hand."""

    @classmethod
    def between(
        cls, kind: str, path: object, told: Mapping[str, Any], fingerprint: str, data: str | None, anew: str
    ) -> FingerprintError:
        """Return the error of a file of this `kind` that is `told` to be of other data than `data` with `fingerprint`."""
        of = str(told.get("data") or "")
        if not of or not data:
            advice = f"Use it with its own data set, or {anew}."
        elif of == data:
            advice = f"Files were added, removed or changed since, or these are others: {anew}."
        elif "+" in of + data:
            advice = f"Give the --data, --corrupt and --mislabel that were recorded, or {anew}."
        else:
            advice = f"The {kind} is of {of}, this is {data}: add --data {of}, or {anew}."
        return cls(
            f"Expected a {kind} of {data or 'the data set'} at hand (fingerprint {fingerprint[:16]}), but {path} is of "
            f"{of or 'another one'} (fingerprint {str(told.get('fingerprint'))[:16]}). {advice}"
        )


class RunDirectoryError(ThresherError, OSError):
    """A run directory cannot be used as it is: half-written, of another spec, or locked by another writer."""


class MissingPackageError(ThresherError, ImportError):
    """An optional package that is needed here is not installed or cannot be imported."""


class RankLostError(ThresherError, RuntimeError):
    """Another process of a job over several ranks has ended or does not answer."""


class OtherRankError(ThresherError, RuntimeError):
    """Another rank could not go on and said why; this one stops with it."""


class FailedTrainingsError(ThresherError, RuntimeError):
    """Some of many trainings have failed; the others are done, and what each of the failed ones said stands above."""


class StorageError(ThresherError, OSError):
    """Object storage does not answer, or refuses."""


class BusyError(RunDirectoryError):
    """Another process is writing this very file or folder."""


def one_line(error: ThresherError | OSError) -> str:
    """Return an error in one line; of what the operating system refused also what to do, where that can be said."""
    if isinstance(error, ThresherError):
        return " ".join(str(error).split())
    advice = _ADVICE.get(error.errno or 0, "")
    return " ".join(f"{error}. What was complete before is intact. {advice}".split())


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean ...?)` for a message, or "" where nothing known is like `word`.

    >>> nearest("intendet", ("intended", "published-code"))
    ' (did you mean intended?)'
    """
    import difflib  # only where a word was wrong

    close = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
