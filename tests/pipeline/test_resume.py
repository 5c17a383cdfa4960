"""Runs that are stopped and gone on with: the numbers are those of runs that were left alone."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import DataError, MachineError, NumericalError, UsageError, machine
from bmtme.cli.main import main
from bmtme.engines.rotated import chains as chains_module
from bmtme.results.checkpoint import Checkpoint
from tests.helpers.discs import contents
from tests.helpers.stops import Stopped, keep_often, stop_after
from tests.helpers.trials import make_trial

pytestmark = pytest.mark.filterwarnings("ignore")
SHORT = {"draws": 30, "tune": 20, "chains": 2, "seed": 2}


@pytest.fixture(scope="module")
def data():
    return make_trial(lines=12, missing=0.2, seed=4)


@pytest.fixture
def every_sweep(monkeypatch):
    """A checkpoint after each sweep."""
    monkeypatch.setattr(chains_module, "CALL_SECONDS", 0.0)
    keep_often(monkeypatch)


def drop_time(text):
    return re.sub(r"would take about [\d.]+ (s|min|h)", "", text)


def assert_same(one, other):
    assert one._groups.keys() == other._groups.keys()
    for name, group in one._groups.items():
        assert group.identical(other._groups[name]), name
    if one._predictions is not None:
        pd.testing.assert_frame_equal(one.predictions(), other.predictions(), check_exact=True)
    pd.testing.assert_frame_equal(one.summary(), other.summary(), check_exact=True)
    assert one.run["settings"] == other.run["settings"]
    assert one.run["sampling"] == other.run["sampling"]


@pytest.mark.parametrize(
    "model, keep",
    [
        (bmtme.BMTME(), "auto"),
        (bmtme.BMTME(), "thin"),
        (bmtme.BMTME(genetic=bmtme.Free()), "none"),
        (bmtme.SingleTrait(bmtme.BMTME(residual="by_env")), "auto"),
    ],
)
def test_resumed_is_never_stopped(data, tmp_path, every_sweep, model, keep):
    """Stopped at many places, in the warm-up too, and gone on with each time by what the folder alone knows."""
    whole = bmtme.fit(*data, model, keep_effects=keep, **SHORT)
    out = tmp_path / "run"
    with stop_after(31), pytest.raises(Stopped):
        bmtme.fit(*data, model, keep_effects=keep, checkpoint=out, **SHORT)
    assert contents(out) == ["checkpoint", "run.json"]
    for writes in (1, 20, 50):
        with stop_after(writes), pytest.raises(Stopped):
            bmtme.resume(out)
    resumed = bmtme.resume(out)
    assert_same(resumed, whole)
    assert_same(bmtme.load(out), whole)
    assert resumed.run["seconds"]["before"] > 0.0
    assert_same(bmtme.resume(out), whole)  # nothing to go on with


def test_extended_is_asked_for_at_first(data, tmp_path, every_sweep, monkeypatch):
    """Where all effects are kept, and where fewer and fewer are; also of an extension that was stopped."""
    monkeypatch.setattr("bmtme.sampling.KEPT", 20)
    out = tmp_path / "run"
    for keep in ("all", "thin"):
        short = bmtme.fit(*data, checkpoint=out, keep_effects=keep, **SHORT)
        with stop_after(40), pytest.raises(Stopped):
            bmtme.extend(out, more=25)
        assert_same(bmtme.load(out), short)
        with pytest.raises(UsageError, match="on the way to 55 draws of each chain: 'bmtme resume"):
            bmtme.extend(out, more=7)
        whole = bmtme.fit(*data, keep_effects=keep, **SHORT | {"draws": 55})
        assert_same(bmtme.extend(out, more=25), whole)
        assert_same(bmtme.extend(out, more=1), bmtme.fit(*data, keep_effects=keep, **SHORT | {"draws": 56}))
        assert_same(bmtme.load(out), bmtme.resume(out))
        shutil.rmtree(out)


@pytest.mark.parametrize("means", [False, True])
def test_other_data_are_gone_on_with(tmp_path, every_sweep, means):
    """Blocks, covariates and numbers of plots; adjusted means with the covariance of their errors."""
    sim = bmtme.simulate(lines=12, envs=2, traits=2, reps=2, relationship="blocks", seed=4, missing=0.1)
    frame = sim.frame.assign(block=sim.frame["line"].str[-1], stand=np.arange(len(sim.frame)) % 7.0)
    trial = bmtme.Trial.from_frame(
        frame, line="line", env="env", traits=["T1", "T2"], rep="rep", blocks=["block"], covariates=["stand"]
    )
    if means:
        first = sim.frame.groupby(["line", "env"], sort=False)[["T1", "T2"]].mean().stack().reset_index()
        first.columns = ["line", "env", "trait", "mean"]
        covariances = {}
        for env, part in first.groupby("env"):
            names = pd.MultiIndex.from_frame(part[["line", "trait"]])
            V = 0.1 * np.eye(len(part)) + 0.02
            covariances[env] = pd.DataFrame(V, names, names)
        trial = bmtme.Trial.from_means(bmtme.AdjustedMeans(first, covariances))
    whole = bmtme.fit(trial, sim.relationship, **SHORT)
    with stop_after(70), pytest.raises(Stopped):
        bmtme.fit(trial, sim.relationship, checkpoint=tmp_path / "run", **SHORT)
    assert_same(bmtme.resume(tmp_path / "run"), whole)


def test_draws_until_they_suffice(tmp_path):
    """The number is one that repeats them, also where the run was stopped on the way."""
    data = make_trial(lines=40, seed=4)
    settings = {"tune": 200, "chains": 2, "seed": 2, "keep_effects": "none"}
    auto = bmtme.fit(*data, draws="auto", ess=150, **settings)
    verdict, draws = auto.run["auto"], auto.run["settings"]["draws"]
    assert verdict["ended_by"] == "enough"
    assert verdict["ess"] >= 150
    assert verdict["r_hat"] <= 1.01
    assert draws > 250
    table = auto.summary()
    assert table["r_hat"].max() == pytest.approx(verdict["r_hat"], abs=1e-4)
    assert table[["ess_bulk", "ess_tail"]].min(axis=None) == pytest.approx(verdict["ess"], abs=1e-3)
    plain = bmtme.fit(*data, draws=draws, **settings)
    assert_same(auto, plain)
    out = tmp_path / "run"
    with stop_after(7), pytest.raises(Stopped):
        bmtme.fit(*data, draws="auto", ess=150, checkpoint=out, **settings)
    assert_same(bmtme.resume(out), plain)


def test_time_limit_ends_it(data):
    began = time.perf_counter()
    fit = bmtme.fit(*data, draws="auto", ess=10**6, time_limit=1.0, tune=20, chains=2)
    assert time.perf_counter() - began < 20.0
    verdict = fit.run["auto"]
    assert verdict["ended_by"] == "time"
    assert verdict["more"] > 0
    assert verdict["more_seconds"] > 0
    with pytest.raises(UsageError, match="ess and time_limit go with draws='auto'"):
        bmtme.fit(*data, time_limit=1.0, **SHORT)
    with pytest.raises(UsageError, match="time_limit must be a positive number"):
        bmtme.fit(*data, draws="auto", time_limit=0)


@pytest.mark.parametrize("wait", [3, 9, 14])
def test_cross_validation_resumed_is_never_stopped(data, tmp_path, every_sweep, wait):
    models = {"un": bmtme.BMTME(), "single": bmtme.SingleTrait(), "mean": bmtme.EnvironmentMeans()}
    settings = {"draws": 12, "tune": 10, "chains": 2, "seed": 3}
    scheme = bmtme.NewLines(folds=2)
    whole = bmtme.cross_validate(*data, models, scheme, **settings)
    out = tmp_path / "run"
    with stop_after(10 * wait), pytest.raises(Stopped):
        bmtme.cross_validate(*data, models, scheme, folder=out, **settings)
    with pytest.raises(DataError, match="an unfinished cross-validation: 'bmtme resume"):
        bmtme.load(out)
    resumed = bmtme.resume(out)
    for name in ("predictions", "line_means", "scores", "overall", "partitions"):
        pd.testing.assert_frame_equal(getattr(resumed, name), getattr(whole, name), check_exact=True)
    assert resumed.run["diagnostics"] == whole.run["diagnostics"]
    assert [drop_time(text) for text in resumed.warnings] == [drop_time(text) for text in whole.warnings]
    assert "checkpoint" not in contents(out)
    pd.testing.assert_frame_equal(bmtme.load(out).predictions, whole.predictions, check_exact=True)


# --- what is refused, and what is said ----------------------------------------------------------------------------


@pytest.fixture
def stopped(data, tmp_path, every_sweep):
    out = tmp_path / "run"
    with stop_after(130), pytest.raises(Stopped):
        bmtme.fit(*data, checkpoint=out, **SHORT)
    return out


def test_unfinished_is_neither_loaded_nor_overwritten(data, stopped, capsys):
    with pytest.raises(DataError, match="holds an unfinished fit: 'bmtme resume"):
        bmtme.load(stopped)
    assert main(["rank", str(stopped), "--trait", "T1"]) == 3
    with pytest.raises(UsageError, match="holds an unfinished run: 'bmtme resume"):
        bmtme.fit(*data, checkpoint=stopped, **SHORT)
    with pytest.raises(DataError, match="an unfinished fit"):
        bmtme.extend(stopped, more=3)
    record = json.loads((stopped / "run.json").read_text())
    assert (record["state"], record["kind"]) == ("unfinished", "fit")
    assert record["settings"]["draws"] == 30


def test_a_refused_extension_changes_nothing(data, tmp_path):
    out = tmp_path / "run"
    bmtme.fit(*data, checkpoint=out, **SHORT)
    with pytest.raises(UsageError, match="memory"):
        bmtme.extend(out, more=10**11)
    assert_same(bmtme.extend(out, more=5), bmtme.fit(*data, **SHORT | {"draws": 35}))


def test_two_processes_do_not_go_on_with_one_run(stopped):
    held = Checkpoint.open(stopped)
    with pytest.raises(UsageError, match="another process is at work"):
        bmtme.resume(stopped)
    held.close()
    bmtme.resume(stopped)


def test_damaged_and_foreign_files_are_refused_by_name(data, stopped, tmp_path):
    place = stopped / "checkpoint"
    for name in ("request", "chain-0", "chain-0-1"):
        raw = (place / name).read_bytes()
        (place / name).write_bytes(raw[:-50] + b"?" + raw[-49:])
        with pytest.raises(DataError, match=f"checkpoint/{name} is damaged"):
            bmtme.resume(stopped)
        (place / name).write_bytes(raw)
    (place / "chain-0-0").rename(place / "kept")
    with pytest.raises(DataError, match="checkpoint/chain-0-0 is missing") as caught:
        bmtme.resume(stopped)
    assert str(caught.value).count("Take it from a copy") == 1
    shutil.copy(place / "chain-0-1", place / "chain-0-0")
    with pytest.raises(DataError, match="checkpoint/chain-0-0 is not the file that was written there"):
        bmtme.resume(stopped)
    (place / "kept").rename(place / "chain-0-0")
    bmtme.fit(*data, checkpoint=tmp_path / "other", **SHORT | {"seed": 9})
    raw = (place / "chain-1").read_bytes()
    shutil.copy(tmp_path / "other" / "checkpoint" / "chain-1", place / "chain-1")
    with pytest.raises(DataError, match="checkpoint/chain-1 is of another run"):
        bmtme.resume(stopped)
    (place / "chain-1").write_bytes(raw)
    assert_same(bmtme.resume(stopped), bmtme.fit(*data, **SHORT))


def test_a_damaged_record_is_named(stopped):
    record = stopped / "run.json"
    text = record.read_text()
    for damaged in (
        text[:200],
        text.replace('"unfinished"', '"unfinishd"'),
        text.replace('"draws": 30', '"draws": 31'),
    ):
        assert damaged != text
        record.write_text(damaged)
        with pytest.raises(DataError, match=r"its run\.json is damaged"):
            bmtme.resume(stopped)
    record.unlink()
    with pytest.raises(DataError, match=r"cannot be gone on with: its run\.json is missing"):
        bmtme.resume(stopped)


@pytest.mark.filterwarnings("always:.*is run anew")
def test_a_chain_without_its_state_is_run_anew_and_that_is_said(data, stopped):
    (stopped / "checkpoint" / "chain-0").unlink()
    with pytest.warns(UserWarning, match="checkpoint/chain-0 is missing, .* it is run anew"):
        resumed = bmtme.resume(stopped)
    assert_same(resumed, bmtme.fit(*data, **SHORT))


def test_a_chain_that_cannot_go_on_ends_the_others(data, stopped, monkeypatch):
    """Before they have come to their end, which may be hours away."""
    (stopped / "checkpoint" / "chain-1").write_bytes(b"")
    swept = []
    advance = chains_module.Chain.advance

    def tell(self, report, stop):
        stop.wait(5.0)
        swept.append(stop.is_set())
        advance(self, report, stop)

    monkeypatch.setattr(chains_module.Chain, "advance", tell)
    with pytest.raises(DataError, match="chain-1 is no file of a checkpoint"):
        bmtme.resume(stopped, cores=2)
    assert swept == [True]


def test_folders_without_a_run(fitted_folder, tmp_path):
    with pytest.raises(DataError, match="nowhere is no folder"):
        bmtme.resume(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"cannot be gone on with: it has no checkpoint/request"):
        bmtme.extend(fitted_folder, more=5)
    bmtme.resume(fitted_folder)


@pytest.fixture
def fitted_folder(data, tmp_path):
    bmtme.fit(*data, **SHORT).save(tmp_path / "saved")
    return tmp_path / "saved"


def test_other_versions_are_told(stopped, monkeypatch):
    versions = machine.find_versions() | {"numba": "0.1"}
    monkeypatch.setattr(machine, "find_versions", lambda: versions)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match=r"was begun with numba [\d.]+, and other versions go on"):
            bmtme.resume(stopped)


def test_a_full_disc_ends_with_one_message(data, tmp_path, every_sweep):
    out = tmp_path / "run"
    with stop_after(90, MachineError), pytest.raises(MachineError, match="No space left") as caught:
        bmtme.fit(*data, checkpoint=out, **SHORT)
    assert "'bmtme resume" in str(caught.value)
    assert_same(bmtme.resume(out), bmtme.fit(*data, **SHORT))


def test_a_run_that_breaks_down_leaves_nothing(data, tmp_path, monkeypatch):
    def fail(*given, **named):
        raise NumericalError("sweep 3: R_e is not positive definite.")

    monkeypatch.setattr("bmtme.running.find_modes", fail)
    with pytest.raises(NumericalError):
        bmtme.fit(*data, checkpoint=tmp_path / "run", **SHORT)
    assert contents(tmp_path) == []


def test_structures_of_the_user_cannot_be_kept(data, tmp_path):
    from tests.structures.double import HalfAlike

    with pytest.raises(UsageError, match="holds a HalfAlike, which is none of bmtme's own"):
        bmtme.fit(*data, bmtme.BMTME(genetic=HalfAlike()), checkpoint=tmp_path / "run", **SHORT)
    assert contents(tmp_path) == []


# --- the shell ----------------------------------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path):
    simulate = ["simulate", "--lines", "10", "--envs", "2", "--traits", "2", "--out", str(tmp_path / "sim")]
    assert main(simulate) == 0
    data = [str(tmp_path / "sim" / name) for name in ("phenotypes.csv", "relationship.csv")]
    columns = ["--line", "line", "--env", "env", "--traits", "T1,T2", "--checkpoint-every", "0.01"]
    return ["fit", data[0], "--relationship", data[1], *columns, "--draws", "300", "--tune", "300", "--chains", "2"]


def test_shell(words, tmp_path, every_sweep, capsys):
    """A run of the shell has its command and inputs; input files that have changed are refused."""
    out = tmp_path / "run"
    with stop_after(300, MachineError):
        assert main([*words, "--out", str(out)]) == 1
    assert f"'bmtme resume {out}' goes on" in capsys.readouterr().err
    assert main([*words, "--out", str(out)]) == 2
    assert f"'bmtme resume {out}'" in capsys.readouterr().err
    table = tmp_path / "sim" / "phenotypes.csv"
    text = table.read_text()
    table.write_text(text + "\n")
    assert main(["resume", str(out)]) == 3
    assert f"the phenotypes {table} were changed since the run began" in capsys.readouterr().err
    table.write_text(text)
    assert main(["resume", str(out)]) == 0
    said = capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    whole = capsys.readouterr().out
    tables = [text[text.index("Heritability") : text.index("written to")] for text in (said, whole)]
    assert tables[0] == tables[1]  # before them stands the time
    for name in ("summary.csv", "predictions.csv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    record = bmtme.load(out).run
    assert record["command"] == ["bmtme", *words, "--out", str(out)]
    assert main(["resume", str(out)]) == 0
    assert "is finished: there is nothing to go on with" in capsys.readouterr().out
    assert main(["extend", str(out), "--more", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["command"], told["settings"]["draws"]) == ("extend", 305)
    assert main([*words, "--ess", "9", "--out", str(tmp_path / "new")]) == 2
    assert "goes with --draws auto" in capsys.readouterr().err


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_processes_that_are_stopped(words, tmp_path, number):
    """In processes of their own: killed anywhere, or ended within two seconds with a word on how to go on."""
    longer = [*words[:-6], "--draws", "3000", "--tune", "1000", "--chains", "2"]
    out = tmp_path / "run"
    command = [sys.executable, "-m", "bmtme"]
    here = dict(os.environ, PYTHONPATH=str(Path(bmtme.__file__).parents[1]))
    begun = [*longer, "--out", str(out)]
    for _ in range(2):
        with subprocess.Popen(
            [*command, *begun], env=here, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            place = out / "checkpoint" / "chain-0"
            before = place.stat().st_mtime_ns if place.exists() else 0
            while process.poll() is None and not (place.exists() and place.stat().st_mtime_ns > before):
                time.sleep(0.005)
            sent = time.monotonic()
            process.send_signal(number)
            said = process.communicate(timeout=60)[1].decode()
            took = time.monotonic() - sent
        if process.returncode == 0:
            break
        assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[number], said
        if number != signal.SIGKILL:
            assert f"'bmtme resume {out}' goes on" in said
            assert took < 10.0  # a fraction of a second where nothing else runs
        begun = ["resume", str(out)]
    assert main(begun if begun[0] == "resume" else ["resume", str(out)]) == 0
    assert main([*longer, "--out", str(tmp_path / "whole")]) == 0
    assert_same(bmtme.load(out), bmtme.load(tmp_path / "whole"))
