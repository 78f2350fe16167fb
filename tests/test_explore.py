"""The explorer: what it reads of a run, what its server answers and refuses, and the coresets it writes."""

from __future__ import annotations

import errno
import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thresher.coreset import Coreset
from thresher.data import load, split_name
from thresher.errors import FingerprintError, InputError, MissingFileError
from thresher.experiments.dynamics import _agreement, means, settling, spread_over_map, trajectories
from thresher.experiments.ledger import Clock, epochs_needed, ledger
from thresher.experiments.study import StudySpec, resolve_all
from thresher.explore.export import export
from thresher.explore.run import OpenRun, open_run
from thresher.explore.server import Server
from thresher.files import seal_of
from thresher.methods import resolve
from thresher.score_table import read_scores, write_scores
from thresher.scorers.el2n import EL2N
from thresher.scorers.random import Random
from thresher.scorers.tdds import TDDS
from thresher.train.spec import TrainSpec
from thresher.trajectory.reader import Trajectory
from thresher.trajectory.writer import TrajectoryWriter
from thresher.types import Frame, Scores


@pytest.fixture(scope="module")
def opened(small_run: Path) -> OpenRun:
    run, notice = open_run(small_run)
    assert notice == ""
    return run


@contextmanager
def serving(run: OpenRun, out: Path) -> Iterator[Server]:
    with Server(run, 0, out) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(opened: OpenRun, tmp_path: Path) -> Iterator[Server]:
    with serving(opened, tmp_path / "selections") as made:
        yield made


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    """Send one request as given and return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def post(server: Server, content: Any, **headers: str) -> tuple[int, bytes]:
    usual = {"Content-Type": "application/json", "X-Thresher-Token": server.explorer.token}
    return ask(server, "POST", "/export", json.dumps(content), **(usual | headers))


def test_a_run_is_opened_with_everything_it_holds(opened: OpenRun, small_run: Path) -> None:
    data = load("digits", mislabel="0.1:seed=0")
    assert (opened.n, opened.fingerprint) == (1437, data.fingerprint)
    assert {"el2n", "aum", "mean target probability"} <= set(opened.columns)
    assert list(opened.columns)[-1] == "random"  # never what is shown at first
    assert opened.image is not None
    np.testing.assert_array_equal(opened.image(3), data.train.image(3))
    assert set(opened.coresets()) == {"random-0.1", "el2n-0.1", "aum-0.1"}
    trajectory = Trajectory.open(small_run / "trajectory")
    direct = np.array([frame.values["target_prob"][7] for frame in trajectory.frames(["target_prob"])])
    np.testing.assert_allclose(opened.trajectory_of(7), direct, atol=1e-4)
    np.testing.assert_allclose(opened.means.target_prob[7], direct.mean(), rtol=1e-5)


@pytest.mark.parametrize("method", ["el2n", "aum"])
def test_the_ranking_is_that_of_select(opened: OpenRun, method: str) -> None:
    coreset = opened.coresets()[f"{method}-0.1"]
    assert np.sort(opened.ranking(method, "hard")[: len(coreset)]).tolist() == coreset.ids.tolist()
    assert len(np.unique(opened.ranking(method, "easy"))) == opened.n


def test_arrays_arrive_whole(server: Server, opened: OpenRun) -> None:
    names = [column["name"] for column in json.loads(ask(server, "GET", "/run.json")[1])["columns"]]
    status, body = ask(server, "GET", f"/array/score/{names.index('el2n')}")
    assert status == 200
    np.testing.assert_array_equal(np.frombuffer(body, "<f4"), opened.columns["el2n"].values)
    kept = np.frombuffer(ask(server, "GET", "/array/kept/el2n-0.1")[1], "u1")
    np.testing.assert_array_equal(np.flatnonzero(kept), opened.coresets()["el2n-0.1"].ids)
    picture = np.asarray(Image.open(io.BytesIO(ask(server, "GET", "/image/5")[1])))
    assert opened.image is not None
    np.testing.assert_array_equal(picture, opened.image(5)[..., 0])


@pytest.mark.parametrize(
    "path",
    [
        "/image/1437",
        "/sample/" + "9" * 5000,
        "/array/score/" + "1" * 5000,
        "/image/-1",
        "/image/../spec.json",
        "/sample/x",
        "/array/score/99",
        "/array/kept/no",
        "/spec.json",
    ],
)
def test_what_is_not_there_is_not_found(server: Server, path: str) -> None:
    assert ask(server, "GET", path)[0] == 404


def test_it_listens_on_this_machine_only(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "0.0.0.0:8765", ""])
def test_a_foreign_host_name_is_refused(server: Server, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/run.json"), ("POST", "/export")):
        assert ask(server, method, path, None if method == "GET" else "{}", Host=host)[0] == 403


def test_pages_elsewhere_cannot_export(server: Server) -> None:
    content = {"name": "mine", "ids": [1, 2], "filters": {}}
    assert post(server, content, **{"X-Thresher-Token": ""})[0] == 403
    assert post(server, content, Origin="http://evil.example")[0] == 403
    assert post(server, content, **{"Content-Type": "text/plain"})[0] == 400
    assert post(server, [1])[0] == 400
    assert not server.explorer.out.exists()
    assert post(server, content, Origin=server.url.rstrip("/"))[0] == 200


def test_an_export_is_a_coreset_with_provenance(server: Server, opened: OpenRun) -> None:
    filters = {"score": "el2n", "end": "hard", "keep": 0.5, "classes": [3], "nonsense": "x"}
    status, body = post(server, {"name": "three", "ids": [9, 4, 2], "filters": filters})
    assert status == 200
    path = server.explorer.out / "three.parquet"
    assert json.loads(body)["path"] == str(path)
    coreset = Coreset.load(path, fingerprint=opened.fingerprint, n=1437)
    assert coreset.ids.tolist() == [2, 4, 9]
    assert coreset.source["scorer"]["scorer"] == "el2n"
    assert coreset.source["selector"]["params"] == {key: filters[key] for key in ("score", "end", "keep", "classes")}
    status, body = post(server, {"name": "three", "ids": [1], "filters": {}})
    assert (status, b"already exists" in body) == (409, True)
    assert Coreset.load(path).ids.tolist() == [2, 4, 9]


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "x" * 81, "a b", 5, None])
def test_a_name_cannot_lead_elsewhere(opened: OpenRun, tmp_path: Path, name: Any) -> None:
    with pytest.raises(InputError, match="Expected a name"):
        export(opened, tmp_path, name, [1], {})


@pytest.mark.parametrize("ids", [[], [1, 1], [-1], [1437], [True], ["1"], [1.5], None, {"a": 1}])
def test_only_samples_can_be_exported(opened: OpenRun, tmp_path: Path, ids: Any) -> None:
    with pytest.raises(InputError):
        export(opened, tmp_path, "x", ids, {})
    assert not list(tmp_path.iterdir())


def test_coresets_that_cannot_be_read_are_left_out_and_named(small_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "run"
    shutil.copytree(small_run, other)
    damaged = other / "coresets" / "el2n-0.1.parquet"
    damaged.write_bytes(damaged.read_bytes()[:100])
    Coreset(np.array([1, 2]), None, 1437, {"fingerprint": "another"}).save(other / "coresets" / "foreign.parquet")
    run, _ = open_run(other)
    assert set(run.coresets()) == {"random-0.1", "aum-0.1"}
    with serving(run, tmp_path / "out") as server:
        status, body = ask(server, "GET", "/run.json")
        assert ask(server, "GET", "/sample/3")[0] == 200
    left_out = json.loads(body)["left_out"]
    assert (status, len(left_out)) == (200, 2)
    assert "el2n-0.1.parquet" in left_out[0]
    assert "fingerprint" in left_out[1]
    assert "foreign.parquet" in left_out[1]


def test_a_name_is_split_at_its_changes_only() -> None:
    corrupted = load("digits", corrupt="intended:noise=1e20", mislabel="0.1")
    found = ("digits", {"corrupt": "intended:noise=1e+20", "mislabel": "0.1"})
    assert split_name(corrupted.name) == found
    assert split_name("my+own+data") == ("my+own+data", {})


def test_names_are_shown_as_text(opened: OpenRun, tmp_path: Path) -> None:
    odd = replace(opened, name="<img src=x onerror=alert(1)>")
    with serving(odd, tmp_path) as server:
        page = ask(server, "GET", "/")[1].decode()
    assert "&lt;img src=x" in page
    assert "<img" not in page


def test_what_is_no_run_is_refused(small_run: Path, tmp_path: Path, call: Any) -> None:
    with pytest.raises(MissingFileError, match="holds none"):
        open_run(tmp_path)
    assert "thresher record" in call.refused("explore", tmp_path)
    other = tmp_path / "run"
    shutil.copytree(small_run, other)
    manifest = other / "trajectory" / "manifest.json"
    content = json.loads(manifest.read_text().replace("mislabel=0.1", "mislabel=0.2"))
    manifest.write_text(json.dumps({**content, "seal": seal_of(content)}))
    with pytest.raises(FingerprintError, match="--data-dir it was recorded with"):
        open_run(other)


def test_scores_of_other_data_are_refused(small_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "run"
    shutil.copytree(small_run, other)
    table = read_scores(other / "scores.parquet")
    write_scores(other / "scores.parquet", table.columns, table.targets, {**table.info, "fingerprint": "f" * 64})
    with pytest.raises(FingerprintError, match=r"scores\.parquet is of another one \(f{16}\)"):
        open_run(other)


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """A recording of ten samples that calls its data digits, without a fingerprint."""
    with TrajectoryWriter.create(tmp_path / "trajectory", 10, 10, ["target_prob"], info={"data": "digits"}) as store:
        store.append(Frame(0, np.arange(10), {"target_prob": np.full(10, 0.5, np.float32)}, 10), targets=np.arange(10) % 3)
    return tmp_path


def test_a_data_set_of_another_size_is_not_taken_for_the_recorded_one(ten: Path) -> None:
    run, notice = open_run(ten)
    assert "recording is of 10 samples, but digits has 1437" in notice
    assert (run.image, run.class_names) == (None, ())
    np.testing.assert_array_equal(run.targets, np.arange(10) % 3)


def test_a_recording_of_an_own_loop_shows_the_pictures_of_the_folder_named(tmp_path: Path) -> None:
    for half in ("train", "val"):
        for number in range(4):
            place = tmp_path / "pictures" / half / str(number % 2)
            place.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), number).save(place / f"{number}.png")
    with TrajectoryWriter.create(tmp_path / "trajectory", 4, 2, ["target_prob"], info={"data": "mine"}) as store:
        frame = Frame(0, np.arange(4), {"target_prob": np.full(4, 0.5, np.float32)}, 4)
        store.append(frame, targets=np.arange(4) // 2)
    run, notice = open_run(tmp_path, tmp_path / "pictures")
    assert notice == ""
    assert run.image is not None
    assert run.class_names == ("0", "1")


def test_a_coreset_that_is_written_again_is_held_once(ten: Path) -> None:
    run, _ = open_run(ten)
    path = ten / "coresets" / "some.parquet"
    path.parent.mkdir()
    for count in (1, 2, 3):
        Coreset(np.arange(count), None, run.n).save(path)
        os.utime(path, ns=(count, count))
        assert len(run.coresets()["some"]) == count
    assert len(run._loaded) == 1


def test_a_run_without_its_data_has_no_pictures(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from thresher.explore import run as module

    def gone(*_: object, **__: object) -> None:
        raise MissingFileError("Expected the data at DIR.")

    monkeypatch.setattr(module, "load", gone)
    run, notice = open_run(small_run)
    assert "--data-dir" in notice
    with serving(run, tmp_path) as server:
        assert json.loads(ask(server, "GET", "/run.json")[1])["images"] is False
        assert ask(server, "GET", "/image/1")[0] == 404


def test_the_command_serves_until_it_is_interrupted(small_run: Path) -> None:
    command = [sys.executable, "-u", "-m", "thresher.cli", "explore", str(small_run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        port = int(line.split("127.0.0.1:")[1].split("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(2)
        assert process.wait(60) == 0


@pytest.mark.parametrize(("number", "why"), [(errno.EADDRINUSE, "is in use"), (errno.EACCES, "is not for this user")])
def test_a_port_that_cannot_be_had_is_told_with_the_reason(
    number: int, why: str, small_run: Path, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    def refuse(*given: Any) -> None:
        raise OSError(number, "")

    monkeypatch.setattr("thresher.commands.explore.Server", refuse)
    assert why in call.refused("explore", small_run, "--port", "80")


def test_trajectories_and_means_agree(small_run: Path) -> None:
    trajectory = Trajectory.open(small_run / "trajectory")
    found = means(trajectory)
    ids = spread_over_map(found, 200, [np.array([5, 1400])])
    assert len(ids) == 200
    assert {5, 1400} <= set(ids.tolist())
    rows = trajectories(trajectory, ids)
    np.testing.assert_allclose(rows.mean(axis=1), found.target_prob[ids], rtol=1e-4)
    np.testing.assert_allclose(rows.std(axis=1), found.variability[ids], atol=1e-4)
    # Rare places are shown, too: the least sure sample of all is among the first that the map gives.
    assert int(np.nanargmin(found.target_prob)) in spread_over_map(found, 700)


def test_means_are_over_the_epochs_in_which_a_sample_was_seen(tmp_path: Path) -> None:
    names, nan = ("target_prob", "correct", "error_norm", "logit_margin"), np.nan
    seen: list[tuple[list[int], list[list[float]]]] = [
        ([0, 1, 2], [[0.25, 0.5, 1.0], [0, 1, 1], [3, 2, 1], [-4, 1, 8]]),
        ([0, 2], [[0.75, 0.5], [1, 1], [1, 5], [2, 0]]),
        ([1], [[nan], [nan], [nan], [nan]]),
    ]  # fmt: skip
    with TrajectoryWriter.create(tmp_path / "t", 4, 2, names) as store:
        for epoch, (ids, values) in enumerate(seen):
            rows = dict(zip(names, np.array(values, dtype=np.float32), strict=True))
            store.append(Frame(epoch, np.array(ids), rows, 4))
    trajectory = Trajectory.open(tmp_path / "t")
    found = means(trajectory)
    for of, wanted in (
        (found.target_prob, [0.5, 0.5, 0.75, nan]), (found.variability, [0.25, 0, 0.25, nan]),
        (found.correct, [0.5, 1, 1, nan]), (found.error_norm, [2, 2, 3, nan]), (found.logit_margin, [-1, 1, 4, nan]),
    ):  # fmt: skip
        np.testing.assert_array_equal(of, np.array(wanted, dtype=np.float32))
    rows = trajectories(trajectory, np.array([1, 2, 3]))
    np.testing.assert_array_equal(rows, np.array([[0.5, nan, nan], [1, 0.5, nan], [nan] * 3], dtype=np.float32))


def test_rankings_agree_by_their_hard_ends_over_samples_that_both_have() -> None:
    early, last = (Scores(np.array(v, dtype=np.float32), "low") for v in ([1, 2, 3, 4, np.nan], [2, 1, 3, 4, 0]))
    assert _agreement(early, last, 1) == (pytest.approx(0.8), 0.0)  # 1 - 6 (1 + 1) / (4 (16 - 1)); the lowest differ
    assert _agreement(early, last, 3) == (pytest.approx(0.8), 1.0)
    assert _agreement(early, last, 5) == (pytest.approx(0.8), 1.0)  # more than there are


def test_rankings_settle_at_one(small_run: Path) -> None:
    trajectory = Trajectory.open(small_run / "trajectory")
    (found,) = settling(trajectory, [EL2N(), Random()], 0.1)
    assert (found.name, found.at[-1], found.correlation[-1], found.overlap[-1]) == ("el2n", 5, 1.0, 1.0)
    (late,) = settling(trajectory, [TDDS(window=4)], 0.1)
    assert late.at == (4, 5)  # before there is no score of a window of 4
    assert 0 < found.overlap[0] < 1
    assert found.correlation[0] < found.correlation[-2] < 1


def test_of_many_samples_the_rankings_of_evenly_spaced_ones_are_compared(
    small_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trajectory = Trajectory.open(small_run / "trajectory")
    some = settling(trajectory.only(np.array([0, 359, 718, 1077, 1436])), [EL2N()], 0.5)
    assert some != settling(trajectory, [EL2N()], 0.5)
    monkeypatch.setattr("thresher.experiments.dynamics._MOST_RANKED", 5)  # of 1437
    assert settling(trajectory, [EL2N()], 0.5) == some


def test_the_log_is_the_ledger(small_run: Path, tmp_path: Path) -> None:
    train = TrainSpec("tiny", epochs=5)
    spec = StudySpec("digits", train, train, ("random", "el2n"), (0.1,), (0,), (0,))
    resolved = resolve_all(spec, 5)
    results = [
        {"method": "full", "keep": 1.0, "kept": 1437, "seconds": 9.0},
        {"method": "el2n", "keep": 0.1, "kept": 144, "seconds": 2.0},
    ]
    measured = ledger(small_run / "log.jsonl", 1437, 5, 5, resolved, results)
    assert measured.surrogate_seconds is not None
    assert measured.surrogate_seconds > 0
    assert measured.scoring_seconds is not None
    lines = [{"event": "epoch", "epoch": e, "seconds": 2.0} for e in (1, 2, 3)]
    lines += [{"event": "epoch", "epoch": e, "seconds": 1.0} for e in (3, 4, 5)]  # the third was trained again
    (tmp_path / "log").write_text("\n".join(map(json.dumps, lines)) + '\n{"event": "ep')
    found = ledger(tmp_path / "log", 1437, 5, 5, resolved, results)
    assert (found.surrogate_seconds, found.scoring_seconds, found.full_seconds) == (7.0, None, 9.0)
    assert [(c.method, c.epochs, c.seconds, c.passes) for c in found.costs] == [("el2n", 5, 2.0, 720)]
    assert ledger(tmp_path / "none", 1437, 5, 5, resolved, results).surrogate_seconds is None


def test_costs_are_means_over_seeds_and_random_needs_no_surrogate(tmp_path: Path) -> None:
    train = TrainSpec("tiny", epochs=6)
    resolved = resolve_all(StudySpec("digits", train, train, ("random", "el2n"), (0.1,), (0, 1), (0, 1)), 6)
    methods = (("random", (1.0, 3.0)), ("el2n", (2.0, 7.0)))
    results = [{"method": m, "keep": 0.1, "kept": 10, "seconds": s} for m, times in methods for s in times]
    lines = [{"event": "epoch", "epoch": epoch, "seconds": 2.0} for epoch in range(1, 6)]  # the last one is missing
    lines += [{"event": "scored", "seconds": seconds} for seconds in (5.0, 4.0)]
    (tmp_path / "log").write_text("\n".join(map(json.dumps, lines)))
    found = ledger(tmp_path / "log", 100, 6, 40, resolved, results)
    assert (found.epochs, found.surrogate_passes, found.full_passes, found.full_seconds) == (6, 600, 4000, None)
    assert (found.surrogate_seconds, found.scoring_seconds) == (None, 4.0)  # scored again: the last time counts
    assert [(c.method, c.epochs, c.seconds, c.passes) for c in found.costs] == [
        ("random", 0, 2.0, 400), ("el2n", 6, 4.5, 400),
    ]  # fmt: skip


def test_the_clock_writes_how_long_each_took_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks, told = iter((10.0, 12.0, 15.5, 20.0, 21.25)), list[tuple[str, float]]()
    monkeypatch.setattr("thresher.experiments.ledger.time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    clock = Clock(lambda event, **details: told.append((event, details["seconds"])))
    clock.epoch(1)
    clock.epoch(2)
    clock.start()
    clock.stage("scored")
    assert told == [("epoch", 2.0), ("epoch", 3.5), ("scored", 1.25)]


def test_a_method_is_charged_the_epochs_that_it_reads() -> None:
    def needed(label: str, data: str = "cifar10", keep: float = 0.1) -> int:
        return epochs_needed(resolve(label, data, keep, epochs_available=200), 200)

    assert [needed(label) for label in ("el2n", "el2n:epochs=3", "aum", "tdds")] == [10, 3, 200, 10]
    assert [needed("dual", keep=0.3), needed("tdds", keep=0.3), needed("tdds:at=5:window=5")] == [30, 80, 5]
    assert needed("el2n:epochs=2:selector=learnable") == 200  # which reads margins of every epoch
    auto = replace(resolve("tdds:at=auto", "cifar10", 0.1, epochs_available=200), at=20, derive=False)
    assert epochs_needed(auto, 200) == 200  # the whole recording was read to derive it


def test_published_curves_stand_beside_their_own_kind() -> None:
    from thresher.experiments.published_curve import published_curve

    train = TrainSpec("resnet18", epochs=200, batch_size=128)
    spec = StudySpec("cifar100", train, train, ("random", "tdds"), (0.1,), (0,))
    curve, note = published_curve(spec)
    assert {p.method for p in curve} == {"random", "tdds"}
    assert "Table 6" in note
    assert "pattern" not in note
    for methods in (("tdds:window=5", "tdds"), ("tdds", "tdds:window=5")):  # of which one is as published
        assert {p.method for p in published_curve(replace(spec, methods=methods))[0]} == {"tdds"}
    assert published_curve(replace(spec, methods=("tdds:window=5",))) == ((), "")
    small = replace(spec, coreset=replace(train, model="small", epochs=30))
    assert "pattern and not a target" in published_curve(small)[1]
    short = published_curve(replace(spec, surrogate=replace(train, epochs=30)))[1]
    assert "batch 128 after a surrogate of resnet18, 30 epochs, so they are a pattern" in short
    assert published_curve(replace(spec, surrogate=replace(train, epochs=30, schedule_epochs=200))) == (curve, note)
    noisy, note = published_curve(replace(spec, mislabel="0.2:seed=1"))
    assert "Table 10" in note
    assert {round(p.keep, 1) for p in noisy if p.method == "tdds"} >= {0.1, 0.7}
    assert published_curve(replace(spec, mislabel="0.3")) == ((), "")
    large = published_curve(replace(spec, mislabel="0.2", coreset=replace(train, batch_size=512)))[1]
    assert "resnet18, 200 epochs, batch 128. This run: resnet18, 200 epochs, batch 512" in large
    assert "pattern and not a target" in large
    for corrupt in ("intended", "published-code:seed=3", "intended:share=0.04"):
        corrupted, note = published_curve(replace(spec, corrupt=corrupt))
        assert {p.method for p in corrupted} == {"random", "tdds"}
        assert f"Table 9, corrupted images (here the variant {corrupt.partition(':')[0]})" in note
    for corrupt in ("intended:share=0.06", "intended:noise=0.5", "published-code:blur=7"):
        assert published_curve(replace(spec, corrupt=corrupt)) == ((), "")
    assert published_curve(replace(spec, data="digits")) == ((), "")
    middle, note = published_curve(replace(spec, coreset=replace(train, batch_size=64)))
    found = [(p.method, round(p.keep, 6), p.accuracy, p.std) for p in middle]
    assert found == [("random", 0.2, 57.79, 0.24), ("tdds", 0.2, 63.01, 0.12)]
    assert note.endswith("Table 6; resnet18, 200 epochs, batch 64.")
    cross, note = published_curve(replace(spec, methods=("tdds",), coreset=replace(train, model="vgg16")))
    assert {round(p.keep, 6): p.accuracy for p in cross} == {0.7: 74.23, 0.5: 70.66, 0.3: 64.08}
    assert note.endswith("Table 8; vgg16, 200 epochs, batch 128.")
    doubtful = replace(spec, data="cifar10", coreset=replace(train, model="resnet50"))
    assert {p.method for p in published_curve(doubtful)[0]} == {"tdds"}  # Random's may be another network's
    own = published_curve(replace(spec, methods=("tdds:window=5",)))[0]
    assert all(p.method != "tdds:window=5" for p in own)  # other settings are another method
