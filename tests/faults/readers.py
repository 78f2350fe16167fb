"""Every reader of files and texts that may come from elsewhere, by the name it has in the counts."""

from __future__ import annotations

from foreign import (
    make_archive,
    make_cifar,
    make_dumps,
    make_foreign,
    mutate_foreign,
    read_cifar,
    read_dumps,
    read_foreign,
    right_cifar,
    right_dumps,
    right_foreign,
)
from ours import (
    forge_coreset,
    forge_store,
    make_coreset,
    make_run,
    make_scores,
    make_spec,
    make_store,
    mutate_spec,
    read_coreset,
    read_run,
    read_spec,
    read_table,
    right_coreset,
    right_run,
    right_spec,
    right_store,
    score_store,
    select_table,
)
from reader import Reader

READERS = {
    "store": Reader(
        make_store,
        score_store,
        ("trajectory/*.json", "trajectory/*.parquet", "trajectory/*/*.parquet"),
        right_store,
        forge_store,
    ),
    "score table": Reader(make_scores, read_table, ("scores.parquet",)),
    "selection from a score table": Reader(make_scores, select_table, ("scores.parquet",)),
    "coreset": Reader(make_coreset, read_coreset, ("coreset.parquet", "coreset.parquet.json"), right_coreset, forge_coreset),
    "official dumps": Reader(make_dumps, read_dumps, ("*.npy",), right_dumps),
    "CIFAR files": Reader(make_cifar, read_cifar, ("*/*",), right_cifar),
    "CIFAR archive": Reader(make_archive, read_cifar, ("*.tar.gz",)),
    "files of other tools": Reader(make_foreign, read_foreign, (), right_foreign, mutate_foreign),
    "run directory": Reader(make_run, read_run, ("run/spec.json", "run/results/*", "run/checkpoints/*"), right_run),
    "specs": Reader(make_spec, read_spec, (), right_spec, mutate_spec),
}
