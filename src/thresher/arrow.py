"""NumPy arrays as Arrow columns, without what `pyarrow.array` imports on the way.

Where pandas is installed, `pyarrow.array` imports it to see whether it was handed something of pandas: 0.2 s of a
command that takes less than one. Numbers need no such look; their memory is taken as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def column(values: NDArray[Any]) -> pa.Array:
    """Return (M,) numbers as a column without nulls; NaN stays NaN. The memory is shared where it is contiguous.

    >>> column(np.array([0.5, np.nan], dtype=np.float32)).to_pylist()
    [0.5, nan]
    """
    packed = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(packed.dtype), len(packed), [None, pa.py_buffer(packed)])


def table_of(columns: Sequence[NDArray[Any]], schema: pa.Schema) -> pa.Table:
    """Return a table of columns of numbers, in the order and of the types of the schema.

    >>> table_of([np.arange(2), np.ones(2, np.float32)], pa.schema([("id", pa.int64()), ("s", pa.float32())])).num_rows
    2
    """
    return pa.Table.from_arrays([column(values) for values in columns], schema=schema)
