"""TensorBoard's event files (extra `tensorboard`), through torch's own writer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thresher.errors import MissingPackageError
from thresher.tracking import Ended, flat


class TensorBoard:
    """Writes scalars and, as a table of text, the settings into `folder`. Look at them with `tensorboard --logdir`."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingPackageError(
                f"Expected the package tensorboard ({error}). pip install 'thresher[tensorboard]'."
            ) from None
        self._writer = SummaryWriter(str(folder))

    def params(self, values: Mapping[str, Any]) -> None:
        """Write the settings as one table."""
        rows = "\n".join(f"| {key} | {value} |" for key, value in flat(values).items())
        self._writer.add_text("settings", f"| name | value |\n|---|---|\n{rows}")

    def scalar(self, name: str, value: float, step: int) -> None:
        """Write one number."""
        self._writer.add_scalar(name, value, step)

    def close(self, ended: Ended = "finished") -> None:
        """Flush and close the event file, which has no place for how a run ended."""
        self._writer.close()
