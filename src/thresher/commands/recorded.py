"""What a command prints about the recording that it reads."""

from __future__ import annotations

from pathlib import Path

from thresher.commands.output import Output
from thresher.files import parse_json
from thresher.places import as_place
from thresher.replay import Source


def note_unfinished(place: Path, source: Source, say: Output) -> None:
    """Note if fewer epochs are recorded than planned for the run at `place` or above it; a store alone does not say."""
    place = as_place(place)
    for run in (place, place.parent):
        file = run / "spec.json"
        if not file.is_file():
            continue
        try:
            wanted = int(parse_json(file.read_bytes())["surrogate"]["epochs"])
        except (ValueError, KeyError, TypeError):  # whoever continues the run gets the error; the recording can be read
            return
        if source.epochs < wanted:
            say.note(f"{source.epochs} of {wanted} epochs are recorded; first repeat the command that began {run}")
        return


def epochs_text(source: Source) -> str:
    """Return how many epochs were recorded, in words."""
    return f"{source.epochs} epoch{'' if source.epochs == 1 else 's'}"
