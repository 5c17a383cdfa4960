"""Memory that is estimated before the start, against what arrays hold; refused where it is not there."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

import bmtme
import bmtme.estimates
from bmtme import BMTME, CV1, Free, NewLines, UsageError, cross_validate, fit
from bmtme.engines.rotated.draws import allocate_draws
from bmtme.estimates import PROGRAM, Part, estimate_fit, list_parts
from bmtme.memory import measure_own_memory, measure_peak_memory
from bmtme.preparation import build, lay_model, prepare
from bmtme.sampling import Sampling, plan_slots
from tests.helpers.trials import make_trial

SETTINGS = {"draws": 12, "tune": 6, "chains": 2, "seed": 5}
pytestmark = pytest.mark.filterwarnings(
    "ignore:a short run", "ignore:few", "ignore:the differences", "ignore:the chains", "ignore:divergent"
)
MODELS = {"paper": BMTME(), "by env": BMTME(residual="by_env", line_effect=True), "free": BMTME(genetic=Free())}


@pytest.fixture(scope="module")
def data():
    return make_trial()


@pytest.mark.parametrize("keep", ["all", "thin", "none"])
@pytest.mark.parametrize("name", MODELS)
def test_what_chains_hold(data, name, keep):
    """Against the arrays themselves, but for sums and what grows with neither draws nor lines."""
    model = MODELS[name]
    prepared = lay_model(prepare(*data), model)
    problem, _ = build(prepared, model)
    slots = plan_slots(4000, 2, keep)[0]
    arrays = allocate_draws(problem, 4000, slots, True)
    held = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray)) - arrays.sum_W.nbytes
    told = Part.of(prepared, model).count_chains(4000, 1 + int(slots.max()))
    assert told == pytest.approx(held, rel=0.2)


def test_what_a_result_holds(data):
    sampling = Sampling(200, 6, 2, 5, "collapsed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = fit(*data, draws=200, tune=6, chains=2, seed=5, keep_effects="all")
    part = Part.of(prepare(*data), BMTME())
    told = part.count_draws(sampling.kept) + part.count_effects(sampling.kept)
    assert told == pytest.approx(result._groups["posterior"].nbytes, rel=0.15)


def test_what_is_larger_takes_more(data):
    prepared = prepare(*data)
    base = Sampling(2000, 1000, 4, 1, "collapsed")
    parts = list_parts(prepared, BMTME())

    def take(parts=parts, keep="all", cores=1, **others):
        return estimate_fit(parts, replace(base, **others), keep, cores)

    one = take()
    assert one.memory > PROGRAM
    assert take(draws=4000).memory - PROGRAM > 1.8 * (one.memory - PROGRAM)
    assert take(keep="thin").memory < one.memory
    assert take(keep="none").memory < take(keep="thin").memory
    assert take(cores=4).seconds < one.seconds


def test_the_record_has_it(data):
    result = fit(*data, **SETTINGS)
    told = result.run["estimate"]
    assert told["memory_bytes"] == int(
        estimate_fit(list_parts(prepare(*data), BMTME()), Sampling(12, 6, 2, 5, "collapsed"), "auto", 1).memory
    )
    assert told["seconds"] > 0.0
    assert 0 < measure_own_memory() <= measure_peak_memory()
    assert 0 < result.run["peak_memory_bytes"] <= measure_peak_memory()
    cv = cross_validate(*data, scheme=CV1(2), **SETTINGS)
    assert {"memory_bytes", "seconds"} == set(cv.run["estimate"])


def test_what_the_memory_cannot_hold_is_refused(data, monkeypatch):
    """Before anything is decomposed; with what to change about what takes most."""
    monkeypatch.setattr("bmtme.pipeline.decompose_lines", lambda *of: pytest.fail("decomposed"))
    asked = (
        "draws=1000000000, chains=2, keep_effects='all', with .* would take about .* GB of memory, of which .* are free"
    )
    with pytest.raises(UsageError, match=f"{asked}: keep the effects of fewer draws"):
        fit(*data, draws=10**9, chains=2, keep_effects="all")
    with pytest.raises(UsageError, match="are free: ask for fewer draws or chains, or a model with fewer covariances"):
        fit(*data, draws=10**9, chains=2, keep_effects="none")
    monkeypatch.setattr("bmtme.estimates.measure_own_memory", lambda: 2**28)
    monkeypatch.setattr("bmtme.arguments.measure_free_memory", lambda: 2**27)
    with pytest.raises(UsageError, match=r"'auto', with 256 MB in use already, would take about .* 128 MB are free"):
        fit(*data, **SETTINGS)
    with pytest.raises(
        UsageError, match=r"^6 fits with draws=12, chains=2, with 256 MB in use .* are free: ask for few"
    ):
        cross_validate(*data, [BMTME(), BMTME("diagonal")], NewLines(folds=3), **SETTINGS)


def test_much_is_said_in_a_log(data, capsys, monkeypatch):
    fit(*data, **SETTINGS)
    assert "of memory" not in capsys.readouterr().err
    monkeypatch.setattr(bmtme.estimates, "LARGE", -(10**9))
    fit(*data, **SETTINGS)
    said = capsys.readouterr().err
    assert said.startswith("fit: about 4")
    assert " MB of memory, roughly 2 s" in said
    fit(*data, progress=False, **SETTINGS)
    assert "of memory" not in capsys.readouterr().err
