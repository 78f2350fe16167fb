"""Score tables as data frames: pandas, Polars, DuckDB and pyarrow all support Arrow, so one conversion serves them all.

Export: `to_arrow(table)`, then `.to_pandas()`, `polars.from_arrow(...)`, or name it in a DuckDB query. (All of them also
read `scores.parquet` itself.) Import: anything that exports an Arrow stream, as pandas and Polars data frames and DuckDB
relations do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from thresher.errors import InputError, MissingSamplesError, SampleIdError
from thresher.exchange.ids import single
from thresher.registry import usual_end
from thresher.score_table import ScoreTable
from thresher.types import HardEnd, Scores

if TYPE_CHECKING:
    import pyarrow as pa


def to_arrow(table: ScoreTable) -> pa.Table:
    """Return `sample_id` (int64), `target` (int64, if known) and one float32 column per score."""
    import pyarrow as pa

    columns: dict[str, Any] = {"sample_id": np.arange(table.n, dtype=np.int64)}
    if table.targets is not None:
        columns["target"] = table.targets
    return pa.table(columns | {name: scores.values for name, scores in table.columns.items()})


def from_frame(frame: Any, hard_end: Mapping[str, HardEnd] | None = None) -> ScoreTable:
    """Return a score table from a data frame with `sample_id`, in any order, and numeric columns; `target` is optional.

    `hard_end` maps columns to their hard end; by default it is "low" for columns named after scorers whose low scores are
    hard (`aum`, `correctness`, `mean_prob`) and "high" for all others. Missing values become NaN (never observed); columns
    that are not numeric are refused, and labels that are not whole.

    Raises InputError (not a data frame, no sample_id, a text column, a `hard_end` of no column), SampleIdError (ids
    duplicated, negative or not integers) or MissingSamplesError (a sample has no row).

    >>> import pyarrow as pa
    >>> from_frame(pa.table({"sample_id": [1, 0], "el2n": [0.5, 0.25]})).columns["el2n"].values.tolist()
    [0.25, 0.5]
    """
    import pyarrow as pa

    try:
        table = pa.table(frame)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"Expected a data frame (pandas, Polars, DuckDB, pyarrow), but got {type(frame).__name__}: {error}."
        ) from None
    has = table.column_names
    if "sample_id" not in has or len(set(has)) != len(has):
        raise InputError(
            f"Expected a column sample_id and every column once, but got {', '.join(has)}. Rename the column of positions, "
            "make it one if it is an index (frame.reset_index()), or number the rows in the order of the data set."
        )
    unknown = [name for name in hard_end or {} if name not in has or name in ("sample_id", "target")]
    if unknown:  # else a misspelt one would silently be of the other end
        raise InputError(f"Expected the hard ends of score columns, but got {', '.join(unknown)} for {', '.join(has)}.")
    order = _order(table.column("sample_id"))
    columns, targets = {}, None
    for name in table.column_names:
        if name == "sample_id" or name.startswith("__index_level_"):  # an index of pandas without a name
            continue
        kind = table.column(name).type
        if name == "target":
            targets = _labels(table.column(name))[order]
            continue
        if not _holds_numbers(kind):
            raise InputError(f"Expected numbers in the column {name}, but got {kind}. Drop the column or convert it.")
        values = single(table.column(name).cast(pa.float64(), safe=False).to_numpy(), f"the column {name}")
        end = (hard_end or {}).get(name) or usual_end(name)
        columns[name] = Scores(values[order], end, {"scorer": name})
    return ScoreTable(len(order), targets, columns)


def _labels(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return class labels, which a data frame may hold as whole floats: pandas does after a join."""

    from thresher.arrow import labels

    if column.null_count:
        raise InputError(
            f"Expected a label in every row of target, but {column.null_count} labels are missing. "
            "Fill them in, or drop the column."
        )
    why = ""
    try:
        if _holds_numbers(column.type):
            return labels(column)
    except ValueError as error:
        why = f"{error.__cause__ or error}. "
    raise InputError(
        f"Expected integer class labels in the column target, but got {column.type}. {why}Drop the column or convert it."
    )


def _holds_numbers(kind: Any) -> bool:
    """Return whether a column of this Arrow type is taken: a flag is no number here, as it may be a mask."""
    import pyarrow as pa

    return any(fits(kind) for fits in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal))


def _order(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    import pyarrow as pa

    if not pa.types.is_integer(column.type) or column.null_count:
        came = f"{column.null_count} rows have none" if column.null_count else f"got {column.type}"
        raise SampleIdError(
            f"Expected an integer in every row of sample_id, but {came}. Convert the column, or drop rows; if the ids are "
            "names, number them: np.unique(names, return_inverse=True)[1] are positions in their sorted order."
        )
    ids = column.to_numpy().astype(np.int64)
    order: np.ndarray[Any, np.dtype[np.int64]] = np.argsort(ids, kind="stable")
    _check_ids(ids[order])
    return order


def _check_ids(ids: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    """Raise SampleIdError or MissingSamplesError if sorted ids are not exactly 0 to N - 1."""
    if not len(ids):
        raise MissingSamplesError("Expected a row for every sample in the data frame, but there is none.")
    twice = ids[1:][np.diff(ids) == 0]
    if len(twice) or ids[0] < 0:
        what = f"{int(twice[0])} appears more than once" if len(twice) else f"{int(ids[0])} is negative"
        raise SampleIdError(f"Expected every sample once in the data frame, but {what}.")
    if ids[-1] != len(ids) - 1:
        gap = int(np.flatnonzero(ids != np.arange(len(ids)))[0])
        raise MissingSamplesError(
            f"Expected a row for every sample in the data frame, but sample {gap} has none. Ids count from 0 without gaps; "
            "a sample without a score has a row with a missing value."
        )
