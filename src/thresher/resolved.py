"""A method ready to run: what a Recorder must be given for it, and the coreset that its scores lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from thresher.coreset import Coreset
from thresher.errors import InputError
from thresher.keep import Keep
from thresher.scorers._base import Scorer
from thresher.selection import select
from thresher.selectors._base import Selector
from thresher.types import Pool, Scores


@dataclass(frozen=True)
class ResolvedMethod:
    """A method ready to run: scorers and selector built, `at` completed epochs to ask at (None = the end of the recording).

    `name` is the label it was asked for by; `notice` says what was picked and why, "" where nothing was to pick. `derive`
    says that scorer and `at` are to be replaced by `thresher.derivation.settle` once there is a recording.
    """

    name: str
    scorer: Scorer
    selector: Selector
    aux_scorers: Mapping[str, Scorer] = field(default_factory=dict)
    notice: str = ""
    at: int | None = None
    derive: bool = False

    @property
    def columns(self) -> dict[str, tuple[Scorer, int | None]]:
        """What each score that the method reads is made by and after how many epochs: its own under "", then its
        selector's further ones by their names, all of the same epochs."""
        return {"": (self.scorer, self.at), **{key: (scorer, self.at) for key, scorer in self.aux_scorers.items()}}

    @property
    def scorers(self) -> dict[str, Scorer]:
        """The scorers that a Recorder needs for this method: its own first, then those its selector reads."""
        return {self.scorer.name: self.scorer, **self.aux_scorers}

    def provenance(self, keep: Keep) -> dict[str, Any]:
        """Return the JSON-ready record of the method that a coreset keeps."""
        return {"method": self.name, "notice": self.notice, "keep": keep}

    def select(
        self, scores: Mapping[str, Scores], pool: Pool, keep: Keep, seed: int = 0, *, source: Mapping[str, Any] | None = None
    ) -> Coreset:  # fmt: skip
        """Return a coreset of `keep`, a share in (0, 1] or a count, of the samples of `pool`.

        `scores` are keyed by the names of `scorers`, as `Recorder.scores` returns them; if `at` is a number they must be
        those after that many epochs. `seed` drives the draw of methods that draw; `source` is JSON-ready provenance to carry
        along, such as the data set's `fingerprint`. Raises InputError if a score is missing, and what `thresher.select`
        raises.

        >>> import numpy as np
        >>> from thresher.methods import resolve
        >>> method = resolve("dual_beta", "mine", 0.5)
        >>> list(method.scorers)
        ['dual', 'mean_prob']
        >>> scores = {name: Scores(np.linspace(0, 1, 8, dtype=np.float32)) for name in method.scorers}
        >>> len(method.select(scores, Pool(8), 0.5))
        4
        """
        missing = [name for name in self.scorers if name not in scores]
        if missing:
            raise InputError(
                f"Expected the scores {', '.join(self.scorers)} for {self.name}, but got {', '.join(scores) or 'none'}. "
                "Create the Recorder with this method's `scorers`: Recorder(..., scorers=method.scorers)."
            )
        also = {key: scores[key] for key in self.aux_scorers}
        told = {**self.provenance(keep), **(source or {})}
        if also:
            told["also_read"] = {key: dict(found.source) for key, found in also.items()}
        filled = replace(pool, aux={**pool.aux, **{key: found.values for key, found in also.items()}})
        return select(scores[self.scorer.name], filled, keep, self.selector, seed=seed, source=told)
