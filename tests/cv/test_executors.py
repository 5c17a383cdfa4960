"""Fits of a cross-validation in executors: the same numbers wherever they run, whatever is lost on the way."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import warnings
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

import bmtme
import bmtme.cv.executors
from bmtme import BMTME, CV1, EnvironmentMeans, HalfT, NewLines, SingleTrait, UsageError, cross_validate
from bmtme.cli.main import main
from tests.helpers.shell import COLUMNS
from tests.helpers.trials import make_trial

SETTINGS = {"draws": 12, "tune": 6, "chains": 2, "seed": 5}
MODELS = {
    "un": BMTME(),
    "bd": BMTME("diagonal", residual="by_env"),
    "single": SingleTrait(),
    "mean": EnvironmentMeans(),
}
SCHEME = CV1(3, 0.25)
#: Two models on three partitions, and one of two traits apart.
TASKS = 12
pytestmark = pytest.mark.filterwarnings(
    "ignore:a short run", "ignore:few", "ignore:the differences", "ignore:the chains do NOT", "ignore:divergent"
)


@pytest.fixture(scope="module")
def data():
    return make_trial()


@pytest.fixture(scope="module")
def finished(data):
    """With one worker of this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cross_validate(*data, MODELS, SCHEME, workers=1, **SETTINGS)


class Away(Executor):
    """Runs what is submitted at once, as elsewhere: what goes there and comes back is pickled.

    losing : how often each task is lost, by its place among those that were submitted
    """

    def __init__(self, losing=()):
        self.losing, self.places, self.count = dict(losing), {}, 0

    def submit(self, function, task):  # type: ignore[override]
        future, self.count = Future(), self.count + 1
        place = self.places.setdefault(task.seeds[0].spawn_key, len(self.places))
        self.losing[place] = self.losing.get(place, 0) - 1
        if self.losing[place] >= 0:
            future.set_exception(BrokenExecutor("the worker was killed"))
            return future
        try:
            future.set_result(pickle.loads(pickle.dumps(function(pickle.loads(pickle.dumps(task))))))
        except Exception as error:
            future.set_exception(error)
        return future


def assert_same(found, expected):
    for name in ("predictions", "line_means", "scores", "overall"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(expected, name), check_exact=True)
    assert found.run["diagnostics"] == expected.run["diagnostics"]
    assert found.failures == expected.failures == []


def test_lost_tasks_are_given_away_again(data, finished):
    executor = Away({0: 1, 4: 2})
    cv = cross_validate(*data, MODELS, SCHEME, executor=executor, **SETTINGS)
    assert_same(cv, finished)
    assert executor.count == TASKS + 3
    assert cv.run["executor"] == "Away"
    assert cv.run["workers"] is None
    assert (finished.run["executor"], finished.run["workers"]) == (None, 1)
    assert cv.run["seconds"]["warm_up"] > 0.0


def test_what_is_lost_for_good_is_a_failure(data, finished):
    with pytest.warns(UserWarning, match=r"1 of 12 fits failed and have no scores \('bd on 1'\)"):
        cv = cross_validate(*data, MODELS, SCHEME, executor=Away({1: 9}), **SETTINGS)
    reason = "its worker was lost 3 times, at last with BrokenExecutor: the worker was killed"
    assert cv.failures == [("bd", "1", reason)]
    whole = finished.predictions
    kept = whole[whole["model"] + whole["partition"] != "bd1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(cv.predictions, kept, check_exact=True)


def test_new_lines_and_few_tasks_at_a_time(data):
    scheme, models = NewLines(folds=3), {"un": BMTME()}
    expected = cross_validate(*data, models, scheme, **SETTINGS)
    with ThreadPoolExecutor(2) as executor:
        assert_same(cross_validate(*data, models, scheme, executor=executor, workers=1, **SETTINGS), expected)


def test_other_versions_of_a_worker_are_refused(data, monkeypatch):
    class Elsewhere(Away):
        def submit(self, function, task):
            there = {**bmtme.cv.executors.find_versions(), "scipy": "1.0"}
            with monkeypatch.context() as patch:
                patch.setattr(bmtme.cv.executors, "find_versions", lambda: there)
                return super().submit(function, task)

    with pytest.raises(UsageError, match=r"a worker has another scipy \(1\.0\) than this process"):
        cross_validate(*data, executor=Elsewhere(), **SETTINGS)


def test_what_is_no_executor_or_cannot_be_sent_is_refused(data):
    class Client:
        def get_executor(self): ...

    with pytest.raises(UsageError, match=r"executor must be an executor .* such as client\.get_executor\(\)"):
        cross_validate(*data, executor=Client(), **SETTINGS)

    class Mine(HalfT):
        """Of a function's own."""

    with pytest.raises(UsageError, match=r"cannot be sent to other processes: .*Mine"):
        cross_validate(*data, BMTME(prior_e=Mine()), executor=Away(), **SETTINGS)


def test_processes(data, finished):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert_same(cross_validate(*data, MODELS, SCHEME, executor=executor, **SETTINGS), finished)


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two workers on loopback."""
    distributed = pytest.importorskip("distributed")
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


class Killing(Executor):
    """Kills a process when the third task has ended."""

    def __init__(self, executor, victim):
        self.executor, self.victim, self.ended = executor, victim, 0

    def submit(self, function, task):  # type: ignore[override]
        future = self.executor.submit(function, task)
        future.add_done_callback(self.count)
        return future

    def count(self, future):
        self.ended += 1
        if self.ended == 3:
            os.kill(self.victim, signal.SIGKILL)


def test_a_cluster_and_the_loss_of_one_of_its_workers(cluster, data, finished):
    assert_same(cross_validate(*data, MODELS, SCHEME, executor=cluster.get_executor(), **SETTINGS), finished)
    workers = list(cluster.run(os.getpid).values())
    assert len(set(workers)) == 2
    executor = Killing(cluster.get_executor(), workers[0])
    assert_same(cross_validate(*data, MODELS, SCHEME, executor=executor, **SETTINGS), finished)
    assert executor.ended == TASKS
    assert workers[0] not in cluster.run(os.getpid).values()


def test_the_shell_on_a_cluster(cluster, data, tmp_path, capsys):
    trial, relationship = data
    trial.to_frame().to_csv(tmp_path / "pheno.csv", index=False)
    bmtme.write_relationship(relationship, tmp_path / "kin.csv")
    words = ["cv", str(tmp_path / "pheno.csv"), "--relationship", str(tmp_path / "kin.csv"), *COLUMNS, "--rep", "rep"]
    words += ["--traits", ",".join(trial.traits), "--partitions", "2", "--draws", "12", "--tune", "6"]
    address = cluster.scheduler.address
    assert main([*words, "--out", str(tmp_path / "here"), "--workers", "2"]) == 0
    assert main([*words, "--out", str(tmp_path / "there"), "--scheduler", address]) == 0
    for name in ("predictions.csv", "scores.csv", "summary.csv"):
        assert Path(tmp_path, "there", name).read_bytes() == Path(tmp_path, "here", name).read_bytes()
    capsys.readouterr()
    assert main(["rerun", str(tmp_path / "there")]) == 0


@pytest.mark.parametrize("address, code, told", [
    ("tcp://127.0.0.1:9", 1, "no Dask scheduler answers at tcp://127.0.0.1:9 within 0.3 s"),
    ("nonsense://x", 2, "argument --scheduler: 'nonsense://x' is no address of a Dask scheduler"),
])  # fmt: skip
def test_addresses_without_a_scheduler(address, code, told, tmp_path, capsys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("bmtme.cli.clusters.PATIENCE", 0.3)
    assert main(["simulate", "--lines", "8", "--out", str(tmp_path / "sim")]) == 0
    words = ["cv", str(tmp_path / "sim" / "phenotypes.csv"), "--relationship", "identity", *COLUMNS]
    assert main([*words, "--traits", "T1", "--scheduler", address, "--out", str(tmp_path / "out")]) == code
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
