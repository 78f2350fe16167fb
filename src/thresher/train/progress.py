"""The checkpoint of a training: one file, and on several ranks one more for each rank's recorder.

The training's file is replaced last, when those of the recorders are there, and names their epoch. So whatever it names is
complete, whichever process is killed and when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from thresher.dynamic.sampler import DynamicSampler
from thresher.errors import CorruptFileError, InputError
from thresher.ranks import Alone, Ranks, together
from thresher.recorder import Recorder
from thresher.train.checkpoint import load_checkpoint, save_checkpoint

_UNTOLD: Mapping[str, str] = {}


@dataclass(frozen=True)
class Resumed:
    """Where a training goes on: completed `epochs`, what the last of them gave, and the `seconds` that all have taken.

    None stands for what does not exist or is not known. `best` is the best accuracy after every `eval_every` epochs.
    """

    epochs: int = 0
    best: float | None = None
    loss: float | None = None
    loss_scale: float | None = None
    seconds: float = 0.0
    eval_every: int | None = None


class Saver:
    """Writes a training's progress after its epochs: after every epoch where writing is cheap.

    Where writing takes more than 0.2 s, it waits until writing costs at most a tenth of the time, which matters where epochs
    are short, as on a fast GPU. What a crash then loses is trained again; the recording stays bit for bit what it would have
    been. With `every` > 0 it waits at least so many seconds, and writes nothing when the training has ended. `of` tells the
    training from others.
    """

    def __init__(
        self, path: Path | None, ranks: Ranks, dynamic: DynamicSampler | None = None, every: float = 0.0,
        of: Mapping[str, str] = _UNTOLD,
    ) -> None:  # fmt: skip
        self.path, self.ranks, self.dynamic, self.every, self.of = path, ranks, dynamic, every, of
        self._ended, self._cost = time.monotonic(), 0.0

    def save(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, recorder: Recorder | None, epoch: int, *,
        last: bool = False, ended: bool = False, gave: Callable[[], Mapping[str, float | None]] = dict,
    ) -> None:  # fmt: skip
        """Write after `epoch` completed epochs, if that is due; it always is after the `last` epoch before a pause.

        `ended` says that the training is over. `gave` returns what this epoch gave, the fields of `Resumed`; it is called
        only when something is written, then on every rank. Raises what `save_progress` raises.
        """
        waited = time.monotonic() - self._ended
        due = last or (waited > self.every and (self._cost < 0.2 or waited > 10 * self._cost))
        due = due and not (ended and self.every)
        if self.path is None or not self.ranks.share("due", due)[0]:
            return
        begun = time.monotonic()
        save_progress(self.path, model, optimizer, recorder, epoch, self.dynamic, gave(), self.of)
        self._ended = time.monotonic()
        self._cost = self._ended - begun


def save_progress(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, recorder: Recorder | None, epoch: int,
    dynamic: DynamicSampler | None = None, gave: Mapping[str, float | None] | None = None,
    of: Mapping[str, str] = _UNTOLD,
) -> None:  # fmt: skip
    """Write what is needed to go on after `epoch` completed epochs; every rank of the recorder must call this.

    `of` tells the training from others, so that none of these goes on from it. Raises OSError if the disk is full or gone;
    the previous checkpoint is then unchanged.
    """
    ranks: Ranks = Alone() if recorder is None else recorder.ranks
    moments = {str(i): dict(s) for i, s in optimizer.state_dict()["state"].items()}
    state: dict[str, Any] = {**of, "epoch": epoch, "model": model.state_dict(), "optimizer": moments}
    if gave:
        state["gave"] = dict(gave)
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
    for old in path.parent.glob(f"{escape(path.stem)}-epoch*-rank*of*{escape(path.suffix)}"):
        foreign = ranks.rank == 0 and not old.name.endswith(ours)  # of an earlier start on other ranks
        if foreign or (old.name.endswith(mine) and old != _of_rank(path, epoch, ranks)):
            old.unlink()


def load_progress(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, recorder: Recorder | None,
    dynamic: DynamicSampler | None = None, *, restart: bool = False, of: Mapping[str, str] = _UNTOLD,
) -> Resumed:  # fmt: skip
    """Load what was saved, if anything was, and return where the training goes on; every rank must call this.

    Where nothing was saved, the training starts over; a store that has epochs is then cut back to none if `restart` allows
    it. Raises InputError where it does not, or where the checkpoint is of another number of ranks, another model or
    optimiser, or another training than `of` says (checkpoints of earlier versions tell less of theirs); CorruptFileError
    where the file is not such a checkpoint.
    """
    ranks: Ranks = Alone() if recorder is None else recorder.ranks
    if not ranks.share("resume", path.is_file())[0]:
        _cut_back(path, recorder, restart)
        return Resumed()
    with together(ranks, "resume"):
        state = _read(path, recorder, ranks)
        _check_alike(path, state, model, optimizer)
        told = all(state.get(key, value) == value for key, value in of.items())
        if not told or ("dynamic" in state) != (dynamic is not None):
            raise InputError(
                f"{path} is of another training: of other data, another recipe, seed, choice of samples or loss scale. "
                "Continue with those it was made with, or name another checkpoint."
            )
        model.load_state_dict(state["model"])
    _load_moments(model, optimizer, state["optimizer"])
    if dynamic is not None:
        dynamic.load_state_dict(state["dynamic"])
    if recorder is not None:
        recorder.load_state_dict(state["recorder"])
    return Resumed(int(state["epoch"]), **state.get("gave", {}))


def _cut_back(path: Path, recorder: Recorder | None, restart: bool) -> None:
    """Empty the recorder's store, since there is no checkpoint at `path` to go on from; raises InputError where it has
    epochs and `restart` does not allow that."""
    if recorder is None or recorder.store is None:
        return
    if recorder.store.epochs and not restart:
        raise InputError(
            f"Expected a checkpoint at {path}, since the recorder's store has {recorder.store.epochs} epochs to "
            "continue from, but there is none. Name the checkpoint, or cut the store back with restart=True."
        )
    recorder.store.truncate(0)


def _read(path: Path, recorder: Recorder | None, ranks: Ranks) -> dict[str, Any]:
    """Return the state in a checkpoint, with that of this rank's recorder.

    Raises InputError where it is of another number of ranks or of a training that was not recorded, CorruptFileError where
    something is missing.
    """
    state = load_checkpoint(path)
    size = state.get("ranks", 1)
    if recorder is not None and size != ranks.size:
        raise InputError(
            f"{path} is of a recording on {size} rank{'s' if size > 1 else ''}, but this one has {ranks.size}. Continue "
            "with as many as before (torchrun --nproc-per-node), or choose another --out."
        )
    if not {"epoch", "model", "optimizer"} <= set(state):
        raise CorruptFileError(
            f"{path} is not a checkpoint of such a training: it holds {sorted(state)}. Delete it to start over."
        )
    if recorder is not None and size > 1:
        state["recorder"] = load_checkpoint(_of_rank(path, int(state["epoch"]), ranks))
    if recorder is not None and "recorder" not in state:
        raise InputError(
            f"{path} is of a training without a Recorder, whose first {state['epoch']} epochs were not recorded. "
            "Continue it without one, or name another checkpoint."
        )
    return state


def _load_moments(model: nn.Module, optimizer: torch.optim.Optimizer, saved: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Load what the optimiser keeps of every parameter, by the parameter's position."""
    parameters = list(model.parameters())
    for position, moments in saved.items():
        parameter = parameters[int(position)]
        for name, value in moments.items():
            # In the layout of its parameter: the fused step walks both as they lie in memory.
            whole = value.shape == parameter.shape and value.ndim > 0
            placed = torch.empty_like(parameter).copy_(value) if whole else value.to(parameter.device)
            optimizer.state[parameter][name] = placed


def _check_alike(path: Path, state: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Raise InputError unless a checkpoint is of this model and of an optimiser that keeps the same moments."""
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    saved = {name: tuple(value.shape) for name, value in state["model"].items()}
    moments = {name for kept in state["optimizer"].values() for name in kept}
    wanted: set[str] = set()
    if isinstance(optimizer, torch.optim.AdamW):
        wanted = {"step", "exp_avg", "exp_avg_sq"}
    elif optimizer.defaults["momentum"]:
        wanted = {"momentum_buffer"}
    if saved != shapes:
        name = min(name for name in {*shapes, *saved} if shapes.get(name) != saved.get(name))
        what = f"{name} is of shape {saved.get(name, 'none')} there and {shapes.get(name, 'none')} here"
    elif moments != wanted:
        what = f"its optimiser keeps {sorted(moments)}, this one {sorted(wanted)}"
    else:
        return
    raise InputError(f"{path} is of another training: {what}. Use its model and recipe, or name another checkpoint.")


def _of_rank(path: Path, epoch: int, ranks: Ranks) -> Path:
    return path.with_name(f"{path.stem}-epoch{epoch}-rank{ranks.rank}of{ranks.size}{path.suffix}")
