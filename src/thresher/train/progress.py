"""What a training keeps after every epoch to go on from: one file, and on several ranks one more of each rank's recorder.

The file of the training is replaced last, when the recorders' are there, and names their epoch; so what it names is whole,
whichever process is killed when.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thresher.dynamic.sampler import DynamicSampler
from thresher.errors import CorruptFileError, InputError
from thresher.ranks import Alone, Ranks, together
from thresher.recorder import Recorder
from thresher.train.checkpoint import load_checkpoint, save_checkpoint


class Saver:
    """Writes a training's progress after its epochs: after every one where that is cheap beside an epoch.

    Where writing takes long (more than 0.2 s) and epochs do not, as on a fast GPU, it waits until writing costs at most a
    tenth of the time. What a crash then loses is trained again; the recording stays bit for bit what it would have been.
    """

    def __init__(self, path: Path | None, ranks: Ranks, dynamic: DynamicSampler | None = None) -> None:
        self.path, self.ranks, self.dynamic = path, ranks, dynamic
        self._ended, self._cost = time.monotonic(), 0.0

    def save(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, recorder: Recorder | None, epoch: int, stop: int
    ) -> None:
        """Write after `epoch` of `stop` epochs, if it is worth it; after the last one always. Raises as `save_progress`."""
        waited = time.monotonic() - self._ended
        due = epoch == stop or self._cost < 0.2 or waited > 10 * self._cost
        if self.path is None or not self.ranks.share("due", due)[0]:
            return
        begun = time.monotonic()
        save_progress(self.path, model, optimizer, recorder, epoch, self.dynamic)
        self._ended = time.monotonic()
        self._cost = self._ended - begun


def save_progress(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, recorder: Recorder | None, epoch: int,
    dynamic: DynamicSampler | None = None,
) -> None:  # fmt: skip
    """Write what is needed to go on after `epoch` completed epochs; every rank of the recorder must call this.

    Raises OSError where the disk is full or gone; what was written before is then as it was.
    """
    ranks: Ranks = Alone() if recorder is None else recorder.ranks
    moments = {str(i): dict(s) for i, s in optimizer.state_dict()["state"].items()}
    state: dict[str, Any] = {"epoch": epoch, "model": model.state_dict(), "optimizer": moments}
    if dynamic is not None:
        state["dynamic"] = dynamic.state_dict()
    if recorder is not None and ranks.size == 1:
        state["recorder"] = recorder.state_dict()
    elif recorder is not None:
        state["ranks"] = ranks.size
        with together(ranks, "checkpoint"):
            save_checkpoint(_of_rank(path, epoch, ranks), recorder.state_dict())
    with together(ranks, "checkpoint"):
        if ranks.rank == 0:
            save_checkpoint(path, state)
    mine, ours = (f"-rank{ranks.rank}of{ranks.size}{path.suffix}", f"of{ranks.size}{path.suffix}")
    for old in path.parent.glob(f"{path.stem}-epoch*-rank*of*{path.suffix}"):
        foreign = ranks.rank == 0 and not old.name.endswith(ours)  # of an earlier start on other ranks
        if foreign or (old.name.endswith(mine) and old != _of_rank(path, epoch, ranks)):
            old.unlink()


def load_progress(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, recorder: Recorder | None,
    dynamic: DynamicSampler | None = None,
) -> int:  # fmt: skip
    """Load what was saved, if anything was, and return the number of completed epochs; every rank must call this.

    Raises InputError where it is of another number of ranks, CorruptFileError where it is no such file.
    """
    ranks: Ranks = Alone() if recorder is None else recorder.ranks
    if not ranks.share("resume", path.is_file())[0]:
        if recorder is not None and recorder.store is not None:
            recorder.store.truncate(0)
        return 0
    with together(ranks, "resume"):
        state = load_checkpoint(path)
        size = state.get("ranks", 1)
        if recorder is not None and size != ranks.size:
            raise InputError(
                f"{path} is of a recording on {size} rank{'s' if size > 1 else ''}, but this one has {ranks.size}. Go on "
                "with as many as before (torchrun --nproc-per-node), or choose another --out."
            )
        if recorder is not None and size > 1:
            state["recorder"] = load_checkpoint(_of_rank(path, int(state["epoch"]), ranks))
        extra = [*(["recorder"] if recorder is not None else []), *(["dynamic"] if dynamic is not None else [])]
        if not {"epoch", "model", "optimizer", *extra} <= set(state):
            raise CorruptFileError(
                f"{path} is no checkpoint of such a training, it holds {sorted(state)}. Delete it to start over."
            )
    model.load_state_dict(state["model"])
    parameters = list(model.parameters())
    for position, moments in state["optimizer"].items():
        parameter = parameters[int(position)]
        for name, value in moments.items():
            # In the layout of its parameter: the fused step walks both as they lie in memory.
            whole = value.shape == parameter.shape and value.ndim > 0
            placed = torch.empty_like(parameter).copy_(value) if whole else value.to(parameter.device)
            optimizer.state[parameter][name] = placed
    if dynamic is not None:
        dynamic.load_state_dict(state["dynamic"])
    if recorder is not None:
        recorder.load_state_dict(state["recorder"])
    return int(state["epoch"])


def _of_rank(path: Path, epoch: int, ranks: Ranks) -> Path:
    return path.with_name(f"{path.stem}-epoch{epoch}-rank{ranks.rank}of{ranks.size}{path.suffix}")
