"""Fits whose draws are on the disc alone: the numbers of others, bit for bit, and no step that holds all draws."""

import errno
import mmap
import os
import tracemalloc
from contextlib import closing

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import BMTME, Free, MachineError, SingleTrait, UsageError
from bmtme.cli.main import main
from bmtme.results.checkpoint import Checkpoint
from bmtme.sufficiency import describe_draws
from tests.helpers.trials import make_trial
from tests.pipeline.test_resume import Stopped, drop_time, every_sweep, stop_after  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore")
SETTINGS = {"draws": 150, "tune": 30, "chains": 2, "seed": 4, "progress": False}
MODELS = {
    "paper": BMTME(),
    "free": BMTME(genetic=Free(), residual="by_env", line_effect=True),
    "single": SingleTrait(BMTME()),
}
MODULES = ("mapped", "engines.rotated.draws", "results.posterior", "results.rows", "results.summary", "results.storage")


def set_slabs(monkeypatch, size):
    for name in MODULES:
        monkeypatch.setattr(f"bmtme.{name}.SLAB", size)


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch):
    """So that small fits have what only large ones have: arrays in files, slabs and blocks, and more than one each."""
    set_slabs(monkeypatch, 2**11)
    monkeypatch.setattr("bmtme.mapped.FEW", 7)
    monkeypatch.setattr("bmtme.engines.rotated.snapshots.BLOCK", 2**13)


@pytest.fixture(scope="module")
def data():
    """Two traits of which one lacks a line, environments out of order, lines without a record."""
    trial, relationship = make_trial(lines=14, missing=0.2, seed=4)
    frame = pd.DataFrame(trial.values, columns=trial.traits)
    frame["line"] = [trial.lines[j] for j in trial.line_index]
    frame["env"] = [f"F{3 - i}" for i in trial.env_index]
    frame.loc[frame["line"] == trial.lines[3], "T2"] = np.nan
    frame = frame[frame["line"] != trial.lines[5]]
    return bmtme.Trial.from_frame(frame, line="line", env="env", traits=trial.traits), relationship


def find_map(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return getattr(array, "obj", None)


def assert_same(one, other):
    assert one._groups.keys() == other._groups.keys()
    for name, group in one._groups.items():
        assert group.identical(other._groups[name]), name
    pd.testing.assert_frame_equal(one.summary(), other.summary(), check_exact=True)
    if one._predictions is not None:
        pd.testing.assert_frame_equal(one.predictions(), other.predictions(), check_exact=True)


def read_files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".csv", ".nc")}


@pytest.mark.parametrize("keep", ["all", "thin", "none"])
@pytest.mark.parametrize("name", MODELS)
def test_the_same_numbers(data, tmp_path, name, keep):
    asked = {**SETTINGS, "keep_effects": keep}
    plain = bmtme.fit(*data, MODELS[name], checkpoint=tmp_path / "plain", **asked)
    streamed = bmtme.fit(*data, MODELS[name], checkpoint=tmp_path / "run", stream=True, **asked)
    assert_same(plain, streamed)
    assert read_files(tmp_path / "run") == read_files(tmp_path / "plain")
    large = {
        str(each): array.values
        for each, array in streamed._groups["posterior"].data_vars.items()
        if array.nbytes >= 2**11 and array.ndim > 1
    }
    assert len(large) > 4
    for values in large.values():
        assert isinstance(find_map(values), mmap.mmap)
        assert not values.flags.writeable
    assert {name for name in os.listdir(tmp_path / "run") if name[0] != "."} == {
        "checkpoint", "idata.nc", "run.json", "summary.csv", *(["predictions.csv"] if keep != "none" else [])
    }  # fmt: skip


def test_draws_of_the_chains_are_in_files(data, tmp_path, monkeypatch):
    seen = []
    keep = Checkpoint.keep

    def look(self, key, chain, last=True):
        seen.extend(array for array in chain.draws if isinstance(array, np.ndarray) and array.nbytes >= 2**14)
        keep(self, key, chain, last)

    monkeypatch.setattr(Checkpoint, "keep", look)
    bmtme.fit(*data, checkpoint=tmp_path / "run", stream=True, keep_effects="all", **{**SETTINGS, "draws": 400})
    assert len({id(array) for array in seen}) >= 6
    assert all(isinstance(find_map(array), mmap.mmap) for array in seen)


@pytest.mark.usefixtures("every_sweep")
def test_stopped_and_longer(data, tmp_path, monkeypatch):
    set_slabs(monkeypatch, 2**9)
    asked = {**SETTINGS, "draws": 25, "tune": 10, "keep_effects": "all"}
    plain = bmtme.fit(*data, checkpoint=tmp_path / "plain", **asked)
    with pytest.raises(Stopped), stop_after(80):  # among the blocks of draws
        bmtme.fit(*data, checkpoint=tmp_path / "run", stream=True, **asked)
    resumed = bmtme.resume(tmp_path / "run", progress=False)
    assert isinstance(find_map(resumed._groups["posterior"]["b2"].values), mmap.mmap)
    assert_same(plain, resumed)
    longer = bmtme.fit(*data, **{**asked, "draws": 40})
    assert_same(longer, bmtme.extend(tmp_path / "run", more=15, progress=False))
    streamed = bmtme.extend(tmp_path / "plain", more=15, stream=True, progress=False)
    assert isinstance(find_map(streamed._groups["posterior"]["b2"].values), mmap.mmap)
    assert_same(longer, streamed)
    with closing(Checkpoint.open(tmp_path / "plain")) as checkpoint:
        assert checkpoint.stream  # it stays so
    loaded = bmtme.load(tmp_path / "run")
    assert_same(longer, loaded)
    assert find_map(loaded._groups["posterior"]["b2"].values) is None
    monkeypatch.setattr("bmtme.results.storage.measure_free_memory", lambda: 2**10)
    assert isinstance(find_map(bmtme.load(tmp_path / "run")._groups["posterior"]["b2"].values), mmap.mmap)


def test_no_more_draws_than_the_disc_takes(data, tmp_path, monkeypatch):
    """What there is is kept, and nothing is wanted that no resumption could reach."""
    monkeypatch.setattr("bmtme.running.measure_space", lambda folder: 2**10)
    asked = {**SETTINGS, "draws": "auto", "ess": 10**6}
    fit = bmtme.fit(*data, checkpoint=tmp_path / "run", stream=True, **asked)
    assert fit.run["auto"]["ended_by"] == "disc"
    assert "more would not fit on the disc" in describe_draws(fit.run)
    assert not (tmp_path / "run" / "checkpoint" / "goal").exists()


def test_as_many_as_suffice(data, tmp_path):
    asked = {"draws": "auto", "ess": 60, "chains": 2, "seed": 4, "keep_effects": "none", "progress": False}
    streamed = bmtme.fit(*data, checkpoint=tmp_path / "run", stream=True, **asked)
    assert_same(bmtme.fit(*data, **{**asked, "draws": streamed.run["settings"]["draws"], "ess": 400}), streamed)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_made_of_it(data, tmp_path, name):
    asked = {**SETTINGS, "keep_effects": "all"}
    plain = bmtme.fit(*data, MODELS[name], **asked)
    streamed = bmtme.fit(*data, MODELS[name], checkpoint=tmp_path / "run", stream=True, **asked)
    for make in (
        lambda fit: fit.ranking("T1", top=3),
        lambda fit: fit.correlations(over="env"),
        lambda fit: fit.heritability("mean"),
        lambda fit: fit.stability("T1"),
        lambda fit: fit.leave_one_out(),
    ):
        pd.testing.assert_frame_equal(make(plain), make(streamed), check_exact=True)
    assert plain.line_effects(40).identical(streamed.line_effects(40))
    assert plain.to_arviz(log_likelihood=True).posterior.identical(streamed.to_arviz(log_likelihood=True).posterior)
    assert drop_time(plain.diagnose()) == drop_time(streamed.diagnose())
    assert len(streamed.plot_chains().axes) > 0
    streamed.save(tmp_path / "again")
    assert_same(plain, bmtme.load(tmp_path / "again"))


def test_no_step_holds_all_draws(tmp_path, monkeypatch):
    """Memory of Python and NumPy, at its peak, does not grow with what draws take."""
    data = make_trial(lines=30, envs=6)
    set_slabs(monkeypatch, 2**15)
    monkeypatch.setattr("bmtme.results.predictions.KEPT", 50)
    monkeypatch.setattr("bmtme.collection.MOST_FACTS", 2**14)
    monkeypatch.setattr("bmtme.collection.FEWEST_FACTS", 20)

    def measure(draws):
        tracemalloc.start()
        try:
            fit = bmtme.fit(
                *data, BMTME(genetic=Free()), checkpoint=tmp_path / f"{draws}", stream=True, draws=draws, tune=20,
                chains=2, keep_effects="all", progress=False,
            )  # fmt: skip
            return tracemalloc.get_traced_memory()[1], fit._groups["posterior"].nbytes
        finally:
            tracemalloc.stop()

    measure(20)  # whatever is imported
    small, own = measure(100)
    large, more = measure(700)
    assert more - own > 5e6
    assert large - small < 0.1 * (more - own)


def test_refused_with_the_way_out(data, tmp_path, monkeypatch):
    asked = {**SETTINGS, "draws": 100_000, "keep_effects": "all"}
    monkeypatch.setattr("bmtme.arguments.measure_free_memory", lambda: 400 * 2**20)
    monkeypatch.setattr("bmtme.estimates.measure_own_memory", lambda: 400 * 2**20)
    monkeypatch.setattr("bmtme.pipeline.list_sets", lambda *given: pytest.fail("not refused"))
    with pytest.raises(UsageError, match=r"or have draws on the disc \(checkpoint=FOLDER, stream=True\)\.$"):
        bmtme.fit(*data, **asked)
    with pytest.raises(UsageError, match=r"or have draws on the disc \(stream=True; in the shell --stream\)\.$"):
        bmtme.fit(*data, checkpoint=tmp_path / "run", **asked)
    with pytest.raises(pytest.fail.Exception, match="not refused"):
        bmtme.fit(*data, checkpoint=tmp_path / "run", stream=True, **asked)


def test_room_on_the_disc(data, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: os.terminal_size((0, 0)) and type("U", (), {"free": 2**16}))
    with pytest.raises(MachineError, match=r"would take about .* MB, and there are .* MB free"):
        bmtme.fit(*data, checkpoint=tmp_path / "run", stream=True, **SETTINGS)
    assert not (tmp_path / "run").exists()
    monkeypatch.undo()

    def fill(*given):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("bmtme.mapped.SLAB", 2**11)
        patch.setattr("bmtme.mapped.claim_space", fill)
        with pytest.raises(MachineError, match=r"cannot make room for draws in .*No space left.*bmtme resume"):
            bmtme.fit(*data, checkpoint=tmp_path / "run", stream=True, **SETTINGS)
    assert_same(bmtme.fit(*data, **SETTINGS), bmtme.resume(tmp_path / "run", progress=False))


def test_what_has_to_be_in_memory_is_refused_by_message(data, tmp_path, monkeypatch):
    fit = bmtme.fit(*data, checkpoint=tmp_path / "run", stream=True, keep_effects="all", **SETTINGS)
    monkeypatch.setattr("bmtme.arguments.measure_free_memory", lambda: 2**10)
    for make in (fit.correlations, fit.heritability):
        with pytest.raises(UsageError, match=r"what is asked of all 150 draws of each chain would take .* of memory"):
            make()
    with pytest.raises(UsageError, match=r"to_arviz\(\) of 150 draws of each chain would take"):
        fit.to_arviz()
    with pytest.raises(UsageError, match=r"line_effects\(draws=1000\)"):
        fit.line_effects()


def test_bad_arguments(data, tmp_path):
    with pytest.raises(UsageError, match=r"name one, as in checkpoint='run'"):
        bmtme.fit(*data, stream=True, **SETTINGS)
    with pytest.raises(UsageError, match="stream must be True or False, got 'yes'"):
        bmtme.fit(*data, stream="yes", checkpoint=tmp_path / "run", **SETTINGS)
    with pytest.raises(Stopped), stop_after(2):
        bmtme.cross_validate(*data, scheme=bmtme.CV1(2), folder=tmp_path / "cv", **SETTINGS)
    with pytest.raises(UsageError, match="stream is for fits"):
        bmtme.resume(tmp_path / "cv", stream=True)


def test_the_shell(tmp_path, capsys):
    sim = bmtme.simulate(lines=12, envs=2, traits=2, relationship="markers", seed=1)
    sim.frame.to_csv(tmp_path / "pheno.csv", index=False)
    words = ["fit", str(tmp_path / "pheno.csv"), "--relationship", "identity", "--line", "line", "--env", "env"]
    words += ["--traits", "T1,T2", "--draws", "60", "--tune", "20", "--chains", "2", "--keep-effects", "all"]
    assert main([*words, "--out", str(tmp_path / "plain")]) == 0
    assert main([*words, "--stream", "--out", str(tmp_path / "run")]) == 0
    assert read_files(tmp_path / "run") == read_files(tmp_path / "plain")
    capsys.readouterr()
    assert main([*words, "--stream", "--dry-run"]) == 0
    assert "disc" in capsys.readouterr().out
    assert main(["extend", str(tmp_path / "plain"), "--more", "20", "--stream"]) == 0
    assert main(["extend", str(tmp_path / "run"), "--more", "20"]) == 0
    assert read_files(tmp_path / "run") == read_files(tmp_path / "plain")
