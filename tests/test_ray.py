"""The engine ray, on a real cluster of three nodes on this machine; one of them is killed while it works."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thresher import score_table
from thresher.coreset import Coreset
from thresher.engines import make_engine
from thresher.errors import CorruptFileError, InputError
from thresher.large import scoring
from thresher.large.selecting import select_file
from thresher.score_file import ScoreFile
from thresher.score_table import read_scores, write_scores
from thresher.selection import select
from thresher.selectors.stratified import Stratified
from thresher.selectors.top import Top
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame, Pool, Scores

ray = pytest.importorskip("ray", reason="needs Ray: pip install thresher[ray]")
pytestmark = pytest.mark.filterwarnings("ignore")  # what Ray's own modules warn of is not ours
N, EPOCHS = 400, 30


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and two further nodes, each a raylet of its own with two cores; workers import what this process imports."""
    from ray.cluster_utils import Cluster

    paths = [str(Path(score_table.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("RAY_health_check_failure_threshold", "2")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
        try:
            for _ in range(2):
                made.add_node(num_cpus=2)
            made.wait_for_nodes()
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


@pytest.fixture
def engine(cluster: Any) -> Iterator[Any]:
    with make_engine("ray", address=cluster.address) as made:
        yield made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of eight buckets."""
    folder = tmp_path_factory.mktemp("ray") / "store"
    rng = np.random.default_rng(0)
    with TrajectoryWriter.create(folder, N, 5, ["change", "target_prob"], bucket_size=50) as writer:
        for epoch in range(EPOCHS):
            values = {name: rng.random(N, dtype=np.float32) for name in ("change", "target_prob")}
            targets = rng.integers(5, size=N) if epoch == 0 else None
            writer.append(Frame(epoch, np.arange(N), values, N), targets=targets)
    return folder


def table(path: Path, n: int = 6000) -> tuple[Scores, Pool]:
    """Write a score table with ties in twenty row groups."""
    rng = np.random.default_rng(1)
    scores, pool = Scores(np.round(rng.normal(size=n), 2)), Pool(n, rng.integers(5, size=n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_table, "_GROUP", n // 20)
        write_scores(path, {"x": scores}, pool.targets)
    return scores, pool


def test_the_workers_are_those_of_all_nodes(engine: Any) -> None:
    assert engine.workers == 6
    nodes: set[str] = set()
    engine.run(range(18), lambda item: (_where_am_i, (0.3,)), on_result=lambda item, node: nodes.add(node))
    assert len(nodes) == 3


def _where_am_i(seconds: float) -> str:
    time.sleep(seconds)
    return str(ray.get_runtime_context().get_node_id())


@pytest.mark.parametrize("selector", [Top(), Top(balanced=True), Stratified(cutoff=0.2)], ids=str)
def test_a_cluster_selects_what_one_process_does(tmp_path: Path, engine: Any, selector: Any) -> None:
    scores, pool = table(tmp_path / "scores.parquet")
    select_file(ScoreFile.open(tmp_path / "scores.parquet"), "x", tmp_path / "c.parquet", 0.1, selector, engine=engine)
    assert Coreset.load(tmp_path / "c.parquet").digest == select(scores, pool, 0.1, selector).digest


def test_the_commands_give_the_same_files(tmp_path: Path, cluster: Any, store: Path, call: Callable[..., str]) -> None:
    there = ["--engine", "ray", "--address", cluster.address]
    for name, options in {"here": ["--engine", "serial"], "there": there}.items():
        scores = tmp_path / f"{name}.parquet"
        call("score", store, "--method", "tdds,dyn_unc", "--window", "5", "--out", scores, *options)
        call("select", scores, "--method", "tdds", "--keep", "0.2", "--out", tmp_path / f"{name}-kept.parquet", *options)
    for name in ("{}.parquet", "{}-kept.parquet"):
        assert (tmp_path / name.format("here")).read_bytes() == (tmp_path / name.format("there")).read_bytes()


def test_failures_come_back_as_they_are(engine: Any) -> None:
    failed: dict[int, Exception] = {}
    done: dict[int, Any] = {}
    engine.run(
        range(3), lambda item: (_fail if item == 1 else abs, (item,)), on_result=done.__setitem__,
        on_failure=failed.__setitem__, admit=lambda item: item != 2,
    )  # fmt: skip
    assert done == {0: 0}
    assert type(failed[1]) is CorruptFileError
    with pytest.raises(CorruptFileError, match="of item 1"):
        engine.run([1], lambda item: (_fail, (item,)), on_result=done.__setitem__)


def _fail(item: int) -> None:
    raise CorruptFileError(f"The file of item {item} is damaged.")


def test_a_cluster_that_is_not_there() -> None:
    if ray.is_initialized():
        ray.shutdown()
    with (
        pytest.raises(InputError, match="Expected a running Ray cluster"),
        make_engine("ray", address="127.0.0.1:1") as engine,
    ):
        engine.run([1], lambda item: (abs, (item,)), on_result=lambda item, found: None)


def test_experiments_on_a_cluster_give_the_same_coresets_and_results(tmp_path: Path, cluster: Any) -> None:
    from thresher.boards.cells import Cell
    from thresher.boards.place import Place, read_result
    from thresher.boards.reproduce import run_cells
    from thresher.experiments.pace import Pace
    from thresher.train.spec import TrainSpec

    spec = TrainSpec("tiny", epochs=1, batch_size=64, lr=0.05)
    cells = [Cell("digits", "random", 0.1, spec, spec, seed=seed) for seed in (0, 1)]
    here = Place(tmp_path / "here", threads=1)
    there = Place(tmp_path / "there", processes=None, threads=1, engine="ray", address=cluster.address)
    for place in (here, there):
        outcome = run_cells(cells, place, Pace(threads=1))
        assert (set(outcome.done), outcome.failed, outcome.left) == (set(cells), {}, {})
    for cell in cells:
        one, other = read_result(here, cell), read_result(there, cell)
        assert one is not None
        assert other is not None
        assert (one["coreset_digest"], one["test_accuracy"]) == (other["coreset_digest"], other["test_accuracy"])


def test_a_node_is_killed_while_a_job_runs(
    tmp_path: Path, cluster: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is the right one: what ran on the lost node runs again on the others."""
    from thresher.registry import make_scorer
    from thresher.replay import Request
    from thresher.trajectory.reader import Trajectory

    source, requests = Trajectory.open(store), [Request("tdds", make_scorer("tdds", {"window": 5}))]
    scoring.score_store(source, requests, tmp_path / "here.parquet")
    running = tmp_path / "running"
    running.mkdir()
    monkeypatch.setattr(scoring, "_call", lambda parts, requests, exact, number: (
        _slow_part, (parts[number], requests, exact, str(running), number),
    ))  # fmt: skip
    victim = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    killed: list[int] = []

    def kill_when_it_works(item: Any, result: Any) -> None:
        if not killed:
            killed.extend(int(path.name.split("-")[0]) for path in running.glob(f"*-{victim.node_id}"))
            cluster.remove_node(victim, allow_graceful=False)

    with make_engine("ray", address=cluster.address) as engine:
        run = engine.run
        monkeypatch.setattr(
            engine, "run",
            lambda items, call, on_result: run(
                items, call, on_result=lambda item, found: (kill_when_it_works(item, found), on_result(item, found))
            ),
        )  # fmt: skip
        scoring.score_store(source, requests, tmp_path / "there.parquet", engine=engine)
    assert killed, "no task had begun on the node that was killed"
    again = [number for number in killed if len(list(running.glob(f"{number}-*"))) > 1]
    assert again, "no task of the lost node ran again on another"
    assert (tmp_path / "here.parquet").read_bytes() == (tmp_path / "there.parquet").read_bytes()
    assert len(read_scores(tmp_path / "there.parquet").columns["tdds"].values) == N


def _slow_part(source: Any, requests: Any, exact: bool, running: str, number: int) -> Any:
    """Note that a part has begun, and on which node; then score it, the first at once and the others slowly."""
    (Path(running) / f"{number}-{ray.get_runtime_context().get_node_id()}").touch()
    time.sleep(0.5 if number == 0 else 4)
    return scoring._score_part(source, requests, exact)
