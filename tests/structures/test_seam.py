"""The seam for structures: the paper's pair through it, and a made-up structure that nothing else knows."""

import numba
import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.engines.rotated.density import evaluate, measure_prior
from bmtme.linalg.pointers import call_bool, find_address
from bmtme.structures.part import Start
from bmtme.structures.proportional import Proportional, Shared
from bmtme.structures.structure import Genetic, Residual
from bmtme.testing.cases import SCENES, make_scene
from bmtme.testing.pairs import build_pair_problem, open_walk
from tests.structures.double import HalfAlike

SCENE = make_scene("complete", "unstructured")


class Twin(Genetic):
    """The paper's genetic structure, not known as such: it takes the way of any other."""

    build = staticmethod(Proportional.build)
    back = staticmethod(Proportional.back)
    complete = staticmethod(Proportional.complete)
    count, start, list_flips = Proportional.count, Proportional.start, Proportional.list_flips


@pytest.mark.parametrize(("design", "variant"), SCENES)
def test_paper_pair_through_the_seam(design, variant):
    """Density, gradient and prior are those of the native form, Kronecker or not."""
    scene = make_scene(design, variant)
    t = scene.t
    p = scene.problem
    q = build_pair_problem(scene.case, (Twin(), Shared()), scene.values)
    assert p.native
    assert not q.native
    assert not q.proportional
    parts = (Twin(), p.genetic), (Shared(), p.residual)
    start = Start(t.Sigma_t, t.s2_E, t.R_e)
    theta = np.concatenate([structure.start(part, start) for structure, part in parts])
    theta += 0.2 * np.random.default_rng(1).standard_normal(len(theta))
    found = []
    for problem in (p, q):
        _, held = open_walk(problem, scene.state())
        gradient = np.empty(len(theta))
        found.append((evaluate(theta, *held, gradient), gradient, measure_prior(theta, held[0], held[3])))
    (value, slope, prior), (other, other_slope, other_prior) = found
    assert other == pytest.approx(value, rel=1e-10)
    assert other_prior == pytest.approx(prior, rel=1e-10)
    np.testing.assert_allclose(other_slope, slope, rtol=0, atol=1e-9 * np.abs(slope).max())


@pytest.fixture(scope="module")
def trial_and_relationship():
    """A column without a record, a line without one, missing traits, replicates."""
    sim = bmtme.simulate(
        lines=30, envs=3, traits=2, reps=2, relationship="markers", seed=3, missing=0.2, missing_traits=0.1
    )
    frame = sim.frame[sim.frame["line"] != "L07"].copy()
    frame.loc[frame["env"] == "E2", "T2"] = np.nan
    return bmtme.Trial.from_frame(frame, line="line", env="env", traits=["T1", "T2"], rep="rep"), sim.relationship


@pytest.mark.filterwarnings("ignore")
def test_made_up_structure_through_a_fit(trial_and_relationship, tmp_path):
    """Fit, summary, predictions, files and cross-validation know nothing of it."""
    model = bmtme.BMTME(genetic=HalfAlike())
    fit = bmtme.fit(*trial_and_relationship, model, draws=100, tune=100, chains=2, seed=4)
    assert fit.run["settings"]["model"]["genetic"] == "half-alike"
    posterior = fit.idata.posterior
    C = posterior["C"]
    assert C.dims == ("chain", "draw", "cell", "cell_bis")
    assert list(C["cell"].values) == ["E1 x T1", "E1 x T2", "E2 x T1", "E3 x T1", "E3 x T2"]
    # Half of what the scales make of it: the correlation of two environments in one trait.
    sd = np.sqrt(np.diagonal(C.values, axis1=2, axis2=3))
    np.testing.assert_allclose(C.values[..., 0, 2] / (sd[..., 0] * sd[..., 2]), 0.5)
    variance = posterior["genetic_variance"]
    np.testing.assert_allclose(variance.sel(env="E3", trait="T2"), C.values[..., 4, 4])
    # Sigma_t is common: ratios of variances between environments are those of f^2, the same for both traits.
    np.testing.assert_allclose(
        variance.sel(env="E1", trait="T1") / variance.sel(env="E3", trait="T1"),
        variance.sel(env="E1", trait="T2") / variance.sel(env="E3", trait="T2"),
    )
    summary = fit.summary()
    spread = fit.run["facts"]["spread"]
    genetic = spread * variance.sel(env="E2", trait="T2").values
    share = genetic / (genetic + posterior["R_e"].sel(trait="T2", trait_bis="T2").values)
    assert summary.loc["heritability[E2, T2]", "mean"] == pytest.approx(share.mean())
    assert "genetic_correlation[E1 x T1, E3 x T2]" in summary.index
    table = fit.predictions().set_index(["line", "env", "trait"])
    u, beta = posterior["u"], posterior["beta"]
    line = str(u["line"].values[3])
    by_hand = (u.sel(line=line) + beta).sel(env="E3", trait="T1").mean()
    assert table.loc[(line, "E3", "T1"), "mean"] == pytest.approx(float(by_hand))
    assert np.isfinite(table.loc["L07"][["mean", "sd", "lower", "upper"]].to_numpy()).all()
    assert table.loc["L07"]["sd"].mean() > table.drop("L07")["sd"].mean()
    fit.save(tmp_path / "run")
    loaded = bmtme.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.summary(), summary)
    again = bmtme.fit(*trial_and_relationship, model, draws=100, tune=100, chains=2, seed=4, cores=1)
    pd.testing.assert_frame_equal(again.predictions(), fit.predictions())


@pytest.mark.filterwarnings("ignore")
def test_made_up_structure_in_a_cross_validation(trial_and_relationship):
    cv = bmtme.cross_validate(
        *trial_and_relationship, {"half": bmtme.BMTME(genetic=HalfAlike()), "paper": bmtme.BMTME()},
        bmtme.CV1(partitions=2), draws=50, tune=50, chains=2, seed=1,
    )  # fmt: skip
    assert set(cv.scores["model"]) == {"half", "paper"}
    assert cv.scores["msep"].notna().all()


def test_other_samplers_refuse_it(trial_and_relationship):
    with pytest.raises(bmtme.UsageError, match="half-alike"):
        bmtme.fit(*trial_and_relationship, bmtme.BMTME(genetic=HalfAlike()), sampler="gibbs")
    with pytest.raises(bmtme.UsageError, match="residual 'by_env'"):
        bmtme.fit(*trial_and_relationship, bmtme.BMTME(residual="by_env"), sampler="stepwise")
    with pytest.raises(bmtme.UsageError, match="which takes 'unstructured', 'diagonal'"):
        bmtme.BMTME("standard", genetic=HalfAlike())


class Unnamed(Twin):
    """The twin, which a model can name."""

    name = "unnamed"
    shapes = ("unstructured", "diagonal")


class OneBlock(Residual):
    """The paper's residual, not known as such."""

    name = "one block"
    build = staticmethod(Shared.build)
    back = staticmethod(Shared.back)
    complete = staticmethod(Shared.complete)
    count, start, list_flips = Shared.count, Shared.start, Shared.list_flips


@pytest.mark.filterwarnings("ignore")
def test_paper_pair_through_the_seam_and_a_fit(trial_and_relationship):
    """The same posterior as that of the native form, within Monte Carlo error."""
    run = {"draws": 1500, "tune": 500, "chains": 2, "seed": 1}
    native = bmtme.fit(*trial_and_relationship, **run).summary()
    other = bmtme.fit(*trial_and_relationship, bmtme.BMTME(genetic=Unnamed(), residual=OneBlock()), **run).summary()
    rows = [name for name in native.index if name.startswith(("beta", "R_e", "heritability", "residual_correlation"))]
    assert set(rows) <= set(other.index)
    native, other = native.loc[rows], other.loc[rows]
    error = np.sqrt(native["sd"] ** 2 / native["ess_bulk"] + other["sd"] ** 2 / other["ess_bulk"])
    assert ((native["mean"] - other["mean"]).abs() / error).max() < 4.5
    np.testing.assert_allclose(other["sd"], native["sd"], rtol=0.25)


def test_functions_at_addresses_are_looked_at():
    """A type that is not the expected one would end the process."""

    @numba.njit
    def wrong(part, theta, matrix):
        return 1

    part = build_pair_problem(SCENE.case, (Twin(), Shared()), SCENE.values).genetic
    with pytest.raises(TypeError, match="wrong returns int64 where bool is expected"):
        find_address(wrong, True, part, np.zeros(1), np.zeros((1, 1)))
    with pytest.raises(TypeError, match="is not compiled"):
        find_address(wrong.py_func, True, part, np.zeros(1), np.zeros((1, 1)))


def test_a_step_without_an_address_is_refused():
    """A jump to address zero would end the process as well."""

    @numba.njit
    def step(address, x):
        return call_bool(address, (x,))

    with pytest.raises(RuntimeError, match="a step without an address"):
        step(0, 1.0)
