"""Posteriors of mixed models that are stopped and gone on with: the numbers are those of runs that were left alone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import DataError, MachineError, UsageError, mixed
from bmtme.cli.main import main
from tests.helpers.discs import contents
from tests.helpers.stops import Stopped, keep_often, stop_after
from tests.results.mixed.conftest import make_series

pytestmark = pytest.mark.filterwarnings("ignore")
SHORT = {"draws": 30, "chains": 2, "seed": 2, "progress": False}
#: Of draws until they suffice: more than those of the first round.
ESS = 300
#: Files of a checkpoint at most before draws: request, mode, and every move of the pilot and of the warm-up.
PILOT, WARM_UP = 12, 10


@pytest.fixture(autouse=True)
def every_move(monkeypatch):
    """Short pilots, a checkpoint after each move, effects every few draws."""
    monkeypatch.setattr("bmtme.engines.mixed.chains.PILOT", 2 * PILOT)
    monkeypatch.setattr("bmtme.engines.mixed.chains.FEWEST_PILOT", PILOT)
    monkeypatch.setattr("bmtme.engines.mixed.chains.Hamiltonian.tune", WARM_UP)
    monkeypatch.setattr("bmtme.engines.mixed.chain.AT_ONCE", 7)
    keep_often(monkeypatch)


@pytest.fixture(scope="module")
def plots():
    """With all that a table can hold: levels in an order of their own, gaps, weights, a column that cannot be kept."""
    frame = make_series().assign(w=np.arange(36) % 3 + 1.0, spare=[object()] * 36)
    frame["site"] = pd.Categorical(frame["site"], ["S", "N"])
    frame["row"] = frame["row"].astype("string").where(frame.index != 3)
    return frame


def make_model(kind, relationship):
    if kind == "dense":
        return mixed.Model("yield ~ site + stand", "known(line) + site:col", known={"line": relationship})
    parents = {"id": ["a", "b", *(f"L{j}" for j in range(6))], "sire": ["0", "0", *["a"] * 6]}
    pedigree = pd.DataFrame(parents | {"dam": ["0", "0", *["b"] * 6]})
    return mixed.Model("yield + height ~ trait", "us(trait):known(line)", "us(trait):units", {"line": pedigree})


def assert_same(one, other):
    assert one._groups.keys() == other._groups.keys()
    for name, group in one._groups.items():
        assert group.identical(other._groups[name]), name
    pd.testing.assert_frame_equal(one.summary(), other.summary(), check_exact=True)
    tables, others = one.tables(), other.tables()
    if one.fit is not None and other.fit is not None:
        assert tables.keys() == others.keys()
    for name in tables.keys() & others.keys():
        pd.testing.assert_frame_equal(tables[name], others[name], check_exact=True)
    for name in ("model", "settings", "reml", "facts", "sampling"):
        assert one.run[name] == other.run[name], name


@pytest.mark.parametrize(
    "kind, k, keep",
    [
        ("dense", np.inf, "auto"),
        ("dense", -np.inf, "thin"),
        ("pedigree", np.inf, "thin"),
        ("pedigree", -np.inf, "none"),
    ],
)
def test_resumed_is_never_stopped(plots, relationship, tmp_path, monkeypatch, kind, k, keep):
    """Stopped before the mode, in pilot and warm-up, among the draws; gone on with by what the folder alone knows."""
    monkeypatch.setattr("bmtme.engines.mixed.chains.HIGH_K", k)
    monkeypatch.setattr("bmtme.mixed_posterior.THINNED", 20)
    model = make_model(kind, relationship)
    settings = {"keep_effects": keep, "weights": "w", "prior": {"residual": bmtme.HalfT(4, 2.0)}, **SHORT}
    if kind == "pedigree":
        settings["prior"] = mixed.LKJ(2.0)
    whole = model.posterior(plots, **settings)
    assert whole.run["sampling"]["method"] == ("Hamiltonian" if k < 0 else "independence Metropolis")
    out = tmp_path / "run"
    with stop_after(1), pytest.raises(Stopped):
        model.posterior(plots, checkpoint=out, **settings)
    stages = []
    for writes in (1, 2, 13, 19, 20, 21):
        with stop_after(writes), pytest.raises(Stopped):
            bmtme.resume(out, progress=False)
        stages.append(contents(out / "checkpoint"))
    assert contents(out) == ["checkpoint", "run.json"]
    assert "chain-0-0" not in stages[0]
    assert any(name.startswith(("chain-paths-0" if k < 0 else "chain-0") + "-") for name in stages[-1])
    resumed = bmtme.resume(out, progress=False)
    assert_same(resumed, whole)
    assert_same(bmtme.load(out), whole)
    assert resumed.run["seconds"]["before"] > 0.0
    assert_same(bmtme.resume(out), whole)  # nothing to go on with


@pytest.mark.parametrize("k", [np.inf, -np.inf])
def test_extended_is_asked_for_at_first(plots, relationship, tmp_path, monkeypatch, k):
    """Where all effects are kept and then fewer; also of an extension that was stopped."""
    monkeypatch.setattr("bmtme.engines.mixed.chains.HIGH_K", k)
    monkeypatch.setattr("bmtme.mixed_posterior.THINNED", 20)
    monkeypatch.setattr("bmtme.sampling.LARGE", 14_000)
    model, out = make_model("dense", relationship), tmp_path / "run"
    short = model.posterior(plots, checkpoint=out, **SHORT)
    assert short.run["settings"]["keep_effects"] == "all"
    with stop_after(20), pytest.raises(Stopped):
        bmtme.extend(out, more=25)
    assert_same(bmtme.load(out), short)
    with pytest.raises(UsageError, match="on the way to 55 draws of each chain: 'bmtme resume"):
        bmtme.extend(out, more=7)
    whole = model.posterior(plots, **SHORT | {"draws": 55})
    assert whole.run["settings"]["keep_effects"] == "thin"
    assert_same(bmtme.extend(out, more=25), whole)
    assert_same(bmtme.extend(out, more=1), model.posterior(plots, **SHORT | {"draws": 56}))
    with pytest.raises(UsageError, match="memory"):
        bmtme.extend(out, more=10**11)
    assert_same(bmtme.load(out), bmtme.resume(out))  # a refused extension changes nothing


def test_draws_until_they_suffice(plots, relationship, tmp_path, monkeypatch):
    """The number is one that repeats them, also where the run was stopped on the way."""
    monkeypatch.setattr("bmtme.engines.mixed.chains.HIGH_K", np.inf)
    model = make_model("dense", relationship)
    settings = {"chains": 2, "seed": 2, "keep_effects": "none", "progress": False}
    auto = model.posterior(plots, draws="auto", ess=ESS, **settings)
    verdict, draws = auto.run["auto"], auto.run["settings"]["draws"]
    assert verdict["ended_by"] == "enough"
    assert draws > 250
    table = auto.summary()
    assert table["r_hat"].max() == pytest.approx(verdict["r_hat"], abs=1e-4)
    assert table[["ess_bulk", "ess_tail"]].min(axis=None) == pytest.approx(verdict["ess"], abs=1e-3)
    assert verdict["ess_of"] in {f"{term}[{name}]" for term, name in table.index}
    assert verdict["ess"] >= ESS
    assert "suffice: " in repr(auto)
    plain = model.posterior(plots, draws=draws, **settings)
    assert_same(auto, plain)
    out = tmp_path / "run"
    with stop_after(700), pytest.raises(Stopped):  # in the second round
        model.posterior(plots, draws="auto", ess=ESS, checkpoint=out, **settings)
    assert (out / "checkpoint" / "goal").exists()
    assert_same(bmtme.resume(out), plain)
    longer = bmtme.extend(out, more=10).run["auto"]
    assert (longer["ended_by"], longer["wanted"]) == ("enough", verdict["wanted"])
    short = model.posterior(plots, draws="auto", ess=10**6, time_limit=1e-3, **settings)
    assert short.run["auto"]["ended_by"] == "time"
    assert len(short.idata["posterior"]["draw"]) == 250
    with pytest.raises(UsageError, match="ess and time_limit go with draws='auto'"):
        model.posterior(plots, time_limit=1.0, **SHORT)
    monkeypatch.setattr("bmtme.mixed_posterior._Size.check", refuse_more)
    assert model.posterior(plots, draws="auto", ess=10**6, **settings).run["auto"]["ended_by"] == "memory"
    # Where the first round suffices it is of no interest that there is no memory for a second one.
    monkeypatch.setattr("bmtme.sufficiency.Reached.suffices", lambda reached, until: True)
    assert model.posterior(plots, draws="auto", **settings).run["auto"]["ended_by"] == "enough"


def refuse_more(size, draws, held=0):
    if held:
        raise UsageError("no memory")


# --- what is refused, and what is said ----------------------------------------------------------------------------


@pytest.fixture
def stopped(plots, relationship, tmp_path, monkeypatch):
    monkeypatch.setattr("bmtme.engines.mixed.chains.HIGH_K", np.inf)
    out = tmp_path / "run"
    with stop_after(70), pytest.raises(Stopped):
        make_model("dense", relationship).posterior(plots, checkpoint=out, **SHORT)
    return out


def test_unfinished_is_neither_loaded_nor_overwritten(plots, relationship, stopped):
    with pytest.raises(DataError, match="holds an unfinished mixed posterior: 'bmtme resume"):
        bmtme.load(stopped)
    with pytest.raises(UsageError, match="holds an unfinished run: 'bmtme resume"):
        make_model("dense", relationship).posterior(plots, checkpoint=stopped, **SHORT)
    with pytest.raises(DataError, match="an unfinished mixed posterior"):
        bmtme.extend(stopped, more=3)
    record = json.loads((stopped / "run.json").read_text())
    assert (record["state"], record["kind"], record["settings"]["draws"]) == ("unfinished", "mixed posterior", 30)


def test_damaged_and_foreign_files_are_refused_by_name(plots, relationship, stopped, tmp_path):
    place, model = stopped / "checkpoint", make_model("dense", relationship)
    for name in ("request", "outcome-estimates", "outcome-mode", "chain-0", "chain-0-1"):
        raw = (place / name).read_bytes()
        (place / name).write_bytes(raw[:-50] + bytes([raw[-50] ^ 1]) + raw[-49:])
        with pytest.raises(DataError, match=f"checkpoint/{name} is damaged"):
            bmtme.resume(stopped)
        (place / name).write_bytes(raw)
    (place / "chain-0-0").rename(place / "kept")
    with pytest.raises(DataError, match="checkpoint/chain-0-0 is missing"):
        bmtme.resume(stopped)
    (place / "kept").rename(place / "chain-0-0")
    model.posterior(plots, checkpoint=tmp_path / "other", **SHORT | {"seed": 9})
    for name in ("chain-1", "outcome-mode"):
        raw = (place / name).read_bytes()
        shutil.copy(tmp_path / "other" / "checkpoint" / name, place / name)
        with pytest.raises(DataError, match=f"checkpoint/{name} is of another run"):
            bmtme.resume(stopped)
        (place / name).write_bytes(raw)
    assert_same(bmtme.resume(stopped), model.posterior(plots, **SHORT))


def test_estimates_are_not_extended(simple, tmp_path):
    simple.save(tmp_path / "run")
    with pytest.raises(DataError, match="it holds estimates by REML, which are no draws"):
        bmtme.extend(tmp_path / "run", more=3)


def test_a_full_disc_ends_with_one_message(plots, relationship, tmp_path):
    model, out = make_model("dense", relationship), tmp_path / "run"
    with stop_after(60, MachineError), pytest.raises(MachineError, match="No space left") as caught:
        model.posterior(plots, checkpoint=out, **SHORT)
    assert "'bmtme resume" in str(caught.value)
    assert_same(bmtme.resume(out), model.posterior(plots, **SHORT))


def test_what_cannot_be_fitted_leaves_nothing(plots, tmp_path):
    other = pd.DataFrame(np.eye(2), [0, 1], [0, 1])
    for model in (
        mixed.Model("yield ~ sight", "line"),
        mixed.Model("yield ~ 1", "known(line)", known={"line": other}),
    ):
        with pytest.raises(DataError):
            model.posterior(plots, checkpoint=tmp_path / "run", **SHORT)
    assert contents(tmp_path) == []


# --- the shell ----------------------------------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path):
    table = tmp_path / "plots.csv"
    make_series().to_csv(table, index=False)
    model = ["--fixed", "yield ~ site + stand", "--random", "line + site:line", "--posterior", "--predict", "site:line"]
    asked = ["--heritability", "line", "--derive", "line / residual", "--checkpoint-every", "0.01"]
    return ["mixed", str(table), *model, *asked, "--draws", "30", "--chains", "2"]


def test_shell(words, tmp_path, capsys):
    """A run of the shell has its command, its inputs and what it was asked for; changed files are refused."""
    out = tmp_path / "run"
    with stop_after(60, MachineError):
        assert main([*words, "--out", str(out)]) == 1
    assert f"'bmtme resume {out}' goes on" in capsys.readouterr().err
    assert main([*words, "--out", str(out)]) == 2
    assert f"'bmtme resume {out}'" in capsys.readouterr().err
    table = tmp_path / "plots.csv"
    text = table.read_text()
    table.write_text(text + "\n")
    assert main(["resume", str(out)]) == 3
    assert f"the plots {table} were changed since the run began" in capsys.readouterr().err
    table.unlink()  # the data are in the folder
    assert main(["resume", str(out)]) == 0
    said = capsys.readouterr().out
    table.write_text(text)
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    assert said.replace(str(out), "") == capsys.readouterr().out.replace(str(tmp_path / "whole"), "")
    files = ["derived", "effects-line", "effects-site-line", "fixed_effects", "heritability", "predict-site-line"]
    files = [*(f"{name}.csv" for name in (*files, "summary")), "idata.nc"]
    assert sorted(set(contents(out)) - {"checkpoint", "run.json"}) == sorted(files)
    for name in files:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    record = bmtme.load(out).run
    assert record["command"] == ["bmtme", *words, "--out", str(out)]
    assert record["means"].keys() == {"predict-site:line"}
    assert main(["resume", str(out)]) == 0
    assert "is finished: there is nothing to go on with" in capsys.readouterr().out
    assert main(["extend", str(out), "--more", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["command"], told["settings"]["draws"]) == ("extend", 35)
    assert len(told["predict-site:line"]) == 12
    assert main([*words, "--ess", "9", "--out", str(tmp_path / "new")]) == 2
    assert "goes with --draws auto" in capsys.readouterr().err
    assert main(["mixed", str(table), "--fixed", "yield ~ 1", "--checkpoint-every", "9"]) == 2
    assert "needs --posterior" in capsys.readouterr().err


@pytest.mark.parametrize("number", [pytest.param(signal.SIGKILL, marks=pytest.mark.slow), signal.SIGINT])
def test_processes_that_are_stopped(words, tmp_path, number, monkeypatch):
    """In processes of their own: killed anywhere, or ended within two seconds with a word on how to go on."""
    monkeypatch.undo()  # as they are
    longer, out = [*words[:-3], "2000", "--chains", "2"], tmp_path / "run"
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
        assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[number], said
        if number != signal.SIGKILL:
            assert f"'bmtme resume {out}' goes on" in said
            assert took < 10.0  # a fraction of a second where nothing else runs
        begun = ["resume", str(out)]
    assert main(["resume", str(out)]) == 0
    assert main([*longer, "--out", str(tmp_path / "whole")]) == 0
    for name in ("summary.csv", "effects-line.csv", "idata.nc"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
