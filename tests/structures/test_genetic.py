"""The genetic structures through fits: what they report, refuse and save, against formulas by hand."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.linalg import block_diag, expm, sqrtm

import bmtme
from bmtme.choices import GENETICS, RESIDUALS
from bmtme.model.codes import FULL, HALF_T, CovariancePrior
from bmtme.structures.genetics import GENETIC_STRUCTURES
from bmtme.structures.parameters import pack_covariance
from bmtme.structures.part import Start
from bmtme.structures.residuals import RESIDUAL_STRUCTURES
from bmtme.structures.structure import make_part

SHORT = {"draws": 100, "tune": 100, "chains": 2, "seed": 4}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def simulate(**changes):
    """30 lines, three environments, two traits, with gaps; environments are not in the order of their names."""
    settings = {"lines": 30, "envs": 3, "traits": 2, "reps": 2, "relationship": "markers", "seed": 3} | changes
    missing = 0.2 if settings["envs"] > 1 else 0.0
    sim = bmtme.simulate(**settings, missing=missing, missing_traits=0.1 if settings["traits"] > 1 else 0.0)
    frame = sim.frame[sim.frame["line"] != "L07"].replace({"env": {"E1": "Z"}})
    return frame, sim.relationship


def read(frame):
    traits = [name for name in ("T1", "T2") if name in frame]
    return bmtme.Trial.from_frame(frame, line="line", env="env", traits=traits, rep="rep")


def check_whole(fit, trial, relationship, model, folder):
    """Heritabilities, correlations and predictions by hand; saved, loaded and run again."""
    posterior, summary = fit.idata.posterior, fit.summary()
    C, spread = posterior["C"], fit.run["facts"]["spread"]
    variance = posterior["genetic_variance"]
    for env, trait in ((e, t) for e in trial.envs for t in trial.traits):
        cell = f"{env} x {trait}"
        if cell in C["cell"].values:
            np.testing.assert_allclose(variance.sel(env=env, trait=trait), C.sel(cell=cell, cell_bis=cell))
        residual = posterior["R_e"].sel(trait=trait, trait_bis=trait)
        residual = residual.sel(env=env) if "env" in residual.dims else residual
        genetic = spread * variance.sel(env=env, trait=trait)
        share = float((genetic / (genetic + residual)).mean())
        assert summary.loc[f"heritability[{env}, {trait}]", "mean"] == pytest.approx(share)
    for a, b in combinations(C["cell"].values, 2):
        roots = np.sqrt(C.sel(cell=a, cell_bis=a) * C.sel(cell=b, cell_bis=b))
        correlation = (C.sel(cell=a, cell_bis=b) / roots).values
        name = f"genetic_correlation[{a}, {b}]"
        assert (name in summary.index) == correlation.any()
        assert name not in summary.index or summary.loc[name, "mean"] == pytest.approx(correlation.mean())
    table = fit.predictions().set_index(["line", "env", "trait"])
    assert np.isfinite(table[["mean", "sd", "lower", "upper"]].to_numpy()).all()
    cell = {"env": trial.envs[-1], "trait": trial.traits[0]}
    line = str(posterior["u"]["line"].values[3])
    by_hand = float((posterior["u"].sel(line=line, **cell) + posterior["beta"].sel(cell)).mean())
    assert table.loc[(line, *cell.values()), "mean"] == pytest.approx(by_hand)
    fit.save(folder)
    loaded = bmtme.load(folder)
    pd.testing.assert_frame_equal(loaded.summary(), summary)
    pd.testing.assert_frame_equal(loaded.predictions(), fit.predictions())
    again = bmtme.fit(trial, relationship, model, **SHORT, cores=1)
    pd.testing.assert_frame_equal(again.predictions(), fit.predictions())


def test_names():
    assert tuple(GENETIC_STRUCTURES) == GENETICS
    assert tuple(RESIDUAL_STRUCTURES) == RESIDUALS


NU, SCALE = 2.5, np.array([0.3, 2.0])


def measure_by_hand(build, theta, A):
    """Huang & Wand's log density of a covariance, with scales A, and its Jacobian by differences; up to a constant."""
    p = len(A)
    lower = np.tril_indices(p)
    jacobian = [(build(theta + e)[lower] - build(theta - e)[lower]) / 2e-6 for e in 1e-6 * np.eye(len(theta))]
    C = build(theta)
    inverse = np.diag(np.linalg.inv(C))
    density = -0.5 * (NU + 2 * p) * np.linalg.slogdet(C)[1] - 0.5 * (NU + p) * np.log(NU * inverse + 1 / A**2).sum()
    return density + np.linalg.slogdet(jacobian)[1]


def compare_priors(found, by_hand, thetas):
    """Two log densities differ by a constant."""
    values = np.array([(found(theta), by_hand(theta)) for theta in thetas])
    assert np.ptp(values[:, 0]) > 1.0
    assert np.ptp(values[:, 0] - values[:, 1]) < 1e-5


# --- free -------------------------------------------------------------------------------------------------------------


def test_prior_of_a_free_covariance():
    """With the scale of each column's trait."""
    recorded = np.array([[True, True], [True, True], [False, True]])
    part = make_part(bmtme.Free(), 0, recorded, *[CovariancePrior(HALF_T, FULL, NU, SCALE, 0.0, np.eye(2))] * 2, False)

    def build(theta):
        C = np.empty((5, 5))
        assert bmtme.Free.build(part, theta, C)
        return C

    rng = np.random.default_rng(1)
    compare_priors(
        lambda theta: bmtme.Free.back(part, theta, np.zeros((5, 5)), np.empty(part.size)),
        lambda theta: measure_by_hand(build, theta, SCALE[[0, 1, 0, 1, 1]]),
        rng.standard_normal((5, part.size)),
    )


@pytest.mark.parametrize("residual", ["shared", "by_env"])
def test_free_through_a_fit(residual, tmp_path):
    frame, relationship = simulate()
    trial, model = read(frame), bmtme.BMTME(genetic=bmtme.Free(), residual=residual)
    fit = bmtme.fit(trial, relationship, model, **SHORT)
    assert fit.run["settings"]["model"]["genetic"] == "free"
    C = fit.idata.posterior["C"]
    assert C["cell"].values.tolist() == [f"{env} x {trait}" for env in trial.envs for trait in trial.traits]
    assert C["cell"].values[0].startswith("Z")
    # Not a Kronecker product: variances of the traits are in another proportion in every environment.
    sd = np.sqrt(np.diagonal(C.values, axis1=2, axis2=3))
    assert (np.ptp(sd[..., ::2] / sd[..., 1::2], axis=-1) > 1e-3).all()
    assert not {"Sigma_t", "Sigma_E", "Sigma_gt", "k"} & set(fit.idata.posterior.data_vars)
    check_whole(fit, trial, relationship, model, tmp_path / "run")


@pytest.mark.parametrize("sizes", [{"traits": 1}, {"envs": 1}, {"traits": 1, "envs": 1}])
def test_free_at_its_limits(sizes, tmp_path):
    """One trait, one environment: C is the covariance of the other."""
    frame, relationship = simulate(**sizes)
    trial, model = read(frame), bmtme.BMTME(genetic=bmtme.Free())
    fit = bmtme.fit(trial, relationship, model, **SHORT)
    size = len(trial.envs) * len(trial.traits)
    assert fit.idata.posterior["C"].shape[2:] == (size, size)
    check_whole(fit, trial, relationship, model, tmp_path / "run")


def test_free_is_refused_where_a_column_has_no_record():
    frame, relationship = simulate()
    absent = frame.copy()
    absent.loc[absent["env"] == "E2", "T2"] = np.nan
    model = bmtme.BMTME(genetic=bmtme.Free())
    words = r"cannot serve environment x trait columns without any record \('?E2 x T2'?\).*Proportional\(\) or"
    with pytest.raises(bmtme.UsageError, match=r"^the genetic structure free " + words):
        bmtme.fit(read(absent), relationship, model, **SHORT)
    where = r"^model 'free', partition 'E2:T2', training part: the genetic structure free "
    with pytest.raises(bmtme.UsageError, match=where + words):
        bmtme.cross_validate(
            read(frame), relationship, {"paper": bmtme.BMTME(), "free": model}, bmtme.CV2(["T2"], ["E2"]), **SHORT
        )


@pytest.mark.parametrize("genetic", [bmtme.Free(), bmtme.EnvironmentsByTrait()])
@pytest.mark.parametrize("structure", ["diagonal", "standard"])
def test_what_goes_with_unstructured_only(genetic, structure):
    with pytest.raises(bmtme.UsageError, match=f"genetic structure {genetic.name}, which takes 'unstructured'"):
        bmtme.BMTME(structure, genetic=genetic)


def test_priors_that_a_structure_does_not_take():
    for genetic in (bmtme.Free(), bmtme.EnvironmentsByTrait()):
        with pytest.raises(bmtme.UsageError, match=f"prior_t of the genetic structure {genetic.name} must be a HalfT"):
            bmtme.BMTME(genetic=genetic, prior_t=bmtme.InverseWishart(5, 1.0))
    for genetic in (bmtme.Free(), bmtme.MainAndInteraction(), bmtme.EnvironmentsByTrait(), bmtme.Separable()):
        with pytest.raises(bmtme.UsageError, match=f"{genetic.name} has no Sigma_E"):
            bmtme.BMTME(genetic=genetic, prior_E=bmtme.HalfT(4.0, 1.0))
    assert bmtme.BMTME(genetic=bmtme.MainAndInteraction(), prior_t=bmtme.InverseWishart(5, 1.0))


# --- main effects and interaction -------------------------------------------------------------------------------------


def test_prior_of_main_effects_and_interaction():
    """Two covariances with the traits' prior, and log sizes from N(0, 1)."""
    structure, prior = bmtme.MainAndInteraction("free"), CovariancePrior(HALF_T, FULL, NU, SCALE, 0.0, np.eye(2))
    part = make_part(structure, 0, np.ones((3, 2), bool), prior, prior, False)

    def by_hand(theta):
        parts = []
        for first, name in ((0, "Sigma_t"), (3, "Sigma_gt")):

            def build(own, first=first, name=name):
                whole = np.array([*theta[:first], *own, *theta[first + 3 :]])
                return structure.report(part, part.seen, whole[None])[name][0]

            parts.append(measure_by_hand(build, theta[first : first + 3], SCALE))
        return sum(parts) - 0.5 * (theta[6:] ** 2).sum()

    compare_priors(
        lambda theta: structure.back(part, theta, np.zeros((6, 6)), np.empty(part.size)),
        by_hand,
        np.random.default_rng(1).standard_normal((5, part.size)),
    )


@pytest.mark.parametrize(
    ("structure", "residual", "k"),
    [("unstructured", "shared", "equal"), ("unstructured", "by_env", "free"), ("diagonal", "shared", "free")],
)
def test_main_and_interaction_through_a_fit(structure, residual, k, tmp_path):
    """With a column, and in the last case an environment, without a record."""
    frame, relationship = simulate()
    frame.loc[frame["env"] == "E2", "T2"] = np.nan
    if structure == "diagonal":
        frame.loc[frame["env"] == "Z", ["T1", "T2"]] = np.nan
    trial = read(frame)
    default = k == "free" if residual == "by_env" else k == "equal"
    model = bmtme.BMTME(structure, genetic=bmtme.MainAndInteraction(None if default else k), residual=residual)
    fit = bmtme.fit(trial, relationship, model, **SHORT)
    assert fit.run["settings"]["model"]["genetic"] == {"main_and_interaction": {"k": k}}
    posterior, summary = fit.idata.posterior, fit.summary()
    assert ("k" in posterior) == (k == "free")
    seen = [env for env in trial.envs if trial.counts()[:, list(trial.envs).index(env)].any()]
    sizes = posterior["k"] if k == "free" else None
    if sizes is not None:
        np.testing.assert_allclose(sizes.sel(env=seen).mean("env"), 1.0)
        assert float(sizes.std("draw").min()) > 0.05
    for env in trial.envs:
        size = 1.0 if sizes is None else sizes.sel(env=env)
        for trait in trial.traits:
            pair = {"trait": trait, "trait_bis": trait}
            total = posterior["Sigma_t"].sel(pair) + size * posterior["Sigma_gt"].sel(pair)
            np.testing.assert_allclose(posterior["genetic_variance"].sel(env=env, trait=trait), total)
    C, cells = posterior["C"], list(posterior["C"]["cell"].values)
    assert "E2 x T2" not in cells
    for a in cells:
        for b in cells:
            (i, l), (h, q) = a.split(" x "), b.split(" x ")
            expected = posterior["Sigma_t"].sel(trait=l, trait_bis=q)
            if i == h:
                size = 1.0 if sizes is None else sizes.sel(env=i)
                expected = expected + size * posterior["Sigma_gt"].sel(trait=l, trait_bis=q)
            np.testing.assert_allclose(C.sel(cell=a, cell_bis=b), expected, atol=1e-12)
    names = set(summary.index)
    assert {"Sigma_t[T1, T1]", "Sigma_gt[T2, T2]"} <= names
    assert ("genetic_correlation[T1, T2]" in names) == (structure == "unstructured")
    if structure == "diagonal":
        assert summary.loc["k[Z]", "note"].startswith("prior only: nothing was recorded")
    check_whole(fit, trial, relationship, model, tmp_path / "run")


def test_what_is_said_of_an_environment_without_records():
    """Its variances are those of the others if k is equal, and the prior's otherwise."""
    frame, relationship = simulate()
    frame.loc[frame["env"] == "Z", ["T1", "T2"]] = np.nan
    for k in ("equal", "free"):
        model = bmtme.BMTME(genetic=bmtme.MainAndInteraction(k))
        note = bmtme.fit(read(frame), relationship, model, **SHORT).summary().loc["heritability[Z, T1]", "note"]
        assert ("nothing was recorded in this environment" in note) == (k == "free")


def test_main_and_interaction_in_a_cross_validation():
    """Of the scheme that hides whole columns, too; R-hat counts what the structure reports."""
    frame, relationship = simulate()
    model = bmtme.BMTME(genetic=bmtme.MainAndInteraction("free"))
    cv = bmtme.cross_validate(read(frame), relationship, model, bmtme.CV2(["T2"], ["E2"]), **SHORT)
    assert cv.scores["msep"].notna().all()


def test_main_and_interaction_needs_two_environments():
    frame, relationship = simulate()
    model = bmtme.BMTME(genetic=bmtme.MainAndInteraction())
    with pytest.raises(bmtme.UsageError, match=r"needs records in two environments at least.*Proportional"):
        bmtme.fit(read(frame[frame["env"] == "Z"]), relationship, model, **SHORT)


def test_size_of_the_interaction_is_named():
    with pytest.raises(bmtme.UsageError, match="k of MainAndInteraction must be one of 'equal', 'free', got 'Free'"):
        bmtme.MainAndInteraction("Free")


# --- environments by trait --------------------------------------------------------------------------------------------


def make_by_trait(I, L):
    """The part of I environments and L traits, and a function that builds C."""
    prior = CovariancePrior(HALF_T, FULL, NU, np.resize(SCALE, L), 0.0, np.eye(L))
    part = make_part(bmtme.EnvironmentsByTrait(), 0, np.ones((I, L), bool), prior, prior, False)

    def build(theta):
        C = np.empty((I * L, I * L))
        assert bmtme.EnvironmentsByTrait.build(part, theta, C)
        return C

    return part, build


def report_by_trait(part, theta):
    """K (I, I, L) and P (L, L)."""
    found = bmtme.EnvironmentsByTrait().report(part, part.seen, theta[None])
    return found["env_covariance"][0], found["P"][0]


def compose_by_trait(K, P):
    """C of K (I, I, L) and P, by roots of scipy and one large product, environment-major."""
    I, L = K.shape[0], K.shape[2]
    roots = block_diag(*[sqrtm(K[..., l]).real for l in range(L)])
    C = (roots @ np.kron(P, np.eye(I)) @ roots).reshape(L, I, L, I)
    return C.transpose(1, 0, 3, 2).reshape(I * L, I * L)


def test_covariance_of_environments_by_trait():
    """By hand from what is reported; one positive definite matrix, correlations within an environment P at most."""
    part, build = make_by_trait(4, 3)
    theta = np.random.default_rng(1).standard_normal(part.size)
    C, (K, P) = build(theta), report_by_trait(part, theta)
    np.testing.assert_allclose(C, compose_by_trait(K, P), atol=1e-12)
    np.testing.assert_allclose(np.diag(P), 1.0)
    assert np.linalg.eigvalsh(C)[0] > 0
    for l in range(3):
        np.testing.assert_allclose(C[l::3, l::3], K[..., l], rtol=1e-12)
    sd = np.sqrt(np.diag(C))
    within = [C[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] / np.outer(*[sd[3 * i : 3 * i + 3]] * 2) for i in range(4)]
    share = np.array(within)[:, *np.tril_indices(3, -1)] / P[np.tril_indices(3, -1)]
    assert (share > 0).all()
    assert (share < 1).all()


def test_order_of_environments_does_not_matter():
    """The same K and P with environments in another order: C with its columns in that order."""
    part, build = make_by_trait(4, 2)
    theta = np.random.default_rng(2).standard_normal(part.size)
    K, order = report_by_trait(part, theta)[0], [2, 0, 3, 1]
    other, n = theta.copy(), 10
    for l in range(2):
        pack_covariance(FULL, np.linalg.cholesky(K[..., l][np.ix_(order, order)]), other[l * n : (l + 1) * n])
    columns = [2 * i + l for i in order for l in range(2)]
    assert np.abs(build(theta)[np.ix_(columns, columns)] - build(theta)).max() > 0.1
    np.testing.assert_allclose(build(other), build(theta)[np.ix_(columns, columns)], atol=1e-12)


@pytest.mark.parametrize("place", ["anywhere", "equal eigenvalues", "nearly singular", "a small variance"])
def test_gradient_of_environments_by_trait(place):
    """Of tr(G C) and the prior, against differences, for three environments of three traits."""
    part, build = make_by_trait(3, 3)
    rng = np.random.default_rng(3)
    theta = rng.standard_normal(part.size)
    if place == "equal eigenvalues":
        theta[:6] = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
        theta[6:12] = [2.0, -2.0, 1.0, 0.0, 0.0, 0.0]
    elif place == "nearly singular":
        theta[3] = 9.0
    elif place == "a small variance":
        theta[:2] = 1e-3, -1e-2
    G = rng.standard_normal((9, 9))
    G += G.T

    def measure(theta):
        return (G * build(theta)).sum() + bmtme.EnvironmentsByTrait.back(part, theta, np.zeros((9, 9)), scratch)

    gradient, scratch = np.empty((2, part.size))
    bmtme.EnvironmentsByTrait.back(part, theta, G.copy(), gradient)
    step = 1e-6
    slopes = [(measure(theta + e) - measure(theta - e)) / (2 * step) for e in step * np.eye(part.size)]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-6 * np.abs(gradient).max())


def test_environments_by_trait_at_the_bounds():
    """Where a covariance is singular to rounding all is finite or refused; beyond the bounds it is refused."""
    part, _ = make_by_trait(3, 2)
    structure, (gradient, theta) = bmtme.EnvironmentsByTrait, np.random.default_rng(4).standard_normal((2, part.size))
    found = []
    for t in (*np.linspace(10.0, 199.0, 64), 201.0, np.nan):
        theta[3] = t
        C = np.zeros((6, 6))
        value = structure.back(part, theta, np.ones((6, 6)), gradient)
        found.append(np.isfinite(value))
        assert found[-1] == structure.build(part, theta, C)
        if found[-1]:
            assert np.isfinite(gradient).all()
            assert np.linalg.eigvalsh(C)[0] > -1e-12
        else:
            assert value == -np.inf
    assert found[0]
    assert not any(found[-2:])


def test_prior_of_environments_by_trait():
    """Huang & Wand's for each trait's covariance, with the scale of the trait; correlations of traits uniform."""
    part, _ = make_by_trait(2, 2)

    def by_hand(theta):
        parts = []
        for l in range(2):

            def build(own, l=l):
                whole = theta.copy()
                whole[3 * l : 3 * l + 3] = own
                return report_by_trait(part, whole)[0][..., l]

            parts.append(measure_by_hand(build, theta[3 * l : 3 * l + 3], np.full(2, SCALE[l])))
        # P is uniform: of t, whose tanh it is, d tanh / dt.
        return sum(parts) - 2.0 * np.log(np.cosh(theta[6]))

    compare_priors(
        lambda theta: bmtme.EnvironmentsByTrait.back(part, theta, np.zeros((4, 4)), np.empty(part.size)),
        by_hand,
        np.random.default_rng(1).standard_normal((5, part.size)),
    )


def test_start_of_environments_by_trait():
    """At the paper's."""
    part, build = make_by_trait(3, 2)
    Sigma_t, s2_E = np.array([[0.5, -0.2], [-0.2, 0.3]]), np.array([0.4, 1.5, 0.1])
    C = build(bmtme.EnvironmentsByTrait().start(part, Start(Sigma_t, s2_E, np.eye(2))))
    np.testing.assert_allclose(C, np.kron(1.0 + np.diag(s2_E), Sigma_t), rtol=1e-10)


@pytest.mark.parametrize("residual", ["shared", "by_env"])
def test_environments_by_trait_through_a_fit(residual, tmp_path):
    frame, relationship = simulate()
    frame["T2"] *= 10.0
    trial, model = read(frame), bmtme.BMTME(genetic=bmtme.EnvironmentsByTrait(), residual=residual)
    fit = bmtme.fit(trial, relationship, model, **SHORT)
    assert fit.run["settings"]["model"]["genetic"] == "environments_by_trait"
    posterior, summary = fit.idata.posterior, fit.summary()
    K, P, C = posterior["env_covariance"], posterior["P"], posterior["C"]
    assert K.dims == ("chain", "draw", "env", "env_bis", "trait")
    cells = [f"{env} x {trait}" for env in trial.envs for trait in trial.traits]
    assert C["cell"].values.tolist() == cells
    for chain, draw in ((0, 3), (1, 60)):
        at = {"chain": chain, "draw": draw}
        by_hand = compose_by_trait(K.isel(at).values, P.isel(at).values)
        np.testing.assert_allclose(C.isel(at), by_hand, rtol=1e-6, atol=1e-9 * by_hand.max())
    assert K.std("draw").min() > 0
    for env in trial.envs:
        own = posterior["genetic_variance"].sel(env=env)
        np.testing.assert_allclose(own, K.sel(env=env, env_bis=env))
    for a, b in [*combinations(trial.envs, 2), (trial.envs[0], trial.envs[0])]:
        name = f"env_covariance[{a}, {b}, T2]"
        assert summary.loc[name, "mean"] == pytest.approx(float(K.sel(env=a, env_bis=b, trait="T2").mean()))
    assert summary.index.str.startswith("env_covariance[").sum() == 2 * 6
    assert summary.loc["P[T1, T2]", "mean"] == pytest.approx(float(P.sel(trait="T1", trait_bis="T2").mean()))
    assert "P[T1, T1]" not in summary.index
    check_whole(fit, trial, relationship, model, tmp_path / "run")


def test_environments_by_trait_are_refused_where_a_column_has_no_record():
    """By fits, and by cross-validations that hide whole columns or environments, not by others."""
    frame, relationship = simulate()
    model = bmtme.BMTME(genetic=bmtme.EnvironmentsByTrait())
    absent = frame.copy()
    absent.loc[absent["env"] == "E2", "T2"] = np.nan
    words = r"cannot serve environment x trait columns without any record \('?E2 x T2'?\): there lines would be .*Use "
    with pytest.raises(bmtme.UsageError, match=r"^the genetic structure environments_by_trait " + words):
        bmtme.fit(read(absent), relationship, model, **SHORT)
    where = r"^model 'it', partition '[^']+', training part: the genetic structure environments_by_trait cannot serve "
    for scheme in (bmtme.CV2(["T2"], ["E2"]), bmtme.NewEnvironments(["E2"])):
        with pytest.raises(bmtme.UsageError, match=where + r".*E2 x T2.*Use bmtme.FactorAnalytic\(\)"):
            bmtme.cross_validate(read(frame), relationship, {"it": model}, scheme, **SHORT)
    with pytest.raises(bmtme.UsageError, match=r"environments_by_trait needs two traits at least.*bmtme.Free"):
        bmtme.cross_validate(read(frame), relationship, {"it": bmtme.SingleTrait(model)}, bmtme.CV1(2), **SHORT)
    cv = bmtme.cross_validate(read(frame), relationship, model, bmtme.NewLines(folds=2), **SHORT)
    assert cv.scores["msep"].notna().all()


# --- separable --------------------------------------------------------------------------------------------------------


def make_separable(recorded):
    prior = CovariancePrior(HALF_T, FULL, NU, SCALE, 0.0, np.eye(2))
    return make_part(bmtme.Separable(), 0, np.array(recorded, bool), prior, prior, False)


def test_prior_of_a_separable_covariance():
    """The traits' prior, log sizes from N(0, 1), and correlations of IW(I, p + 1), uniform each."""
    part = make_separable(np.ones((3, 2)))

    def correlate(t):
        K = bmtme.Separable().report(part, part.seen, np.array([[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, *t]]))["K"][0]
        return K[np.tril_indices(3, -1)]

    def by_hand(theta):
        def build(own):
            return bmtme.Separable().report(part, part.seen, np.array([[*own, *theta[3:]]]))["Sigma_t"][0]

        t = theta[6:]
        P = np.eye(3)
        P[np.tril_indices(3, -1)] = correlate(t)
        P = P + P.T - np.eye(3)
        law = -4.0 * np.linalg.slogdet(P)[1] - 2.0 * np.log(np.diag(np.linalg.inv(P))).sum()
        jacobian = [(correlate(t + e) - correlate(t - e)) / 2e-6 for e in 1e-6 * np.eye(3)]
        law += np.linalg.slogdet(jacobian)[1]
        return measure_by_hand(build, theta[:3], SCALE) + law - 0.5 * (theta[3:6] ** 2).sum()

    compare_priors(
        lambda theta: bmtme.Separable.back(part, theta, np.zeros((6, 6)), np.empty(part.size)),
        by_hand,
        np.random.default_rng(1).standard_normal((5, part.size)),
    )


def test_report_of_a_separable_covariance():
    """C is the Kronecker product of what is reported, and K is one on average on its diagonal."""
    part = make_separable([[1, 1], [0, 1], [1, 1]])
    theta = np.random.default_rng(2).standard_normal(part.size)
    C = np.empty((5, 5))
    assert bmtme.Separable.build(part, theta, C)
    found = bmtme.Separable().report(part, part.seen, theta[None])
    K, Sigma_t = found["K"][0], found["Sigma_t"][0]
    assert np.trace(K) == pytest.approx(3.0)
    size = np.exp(theta[3:6])
    np.testing.assert_allclose(np.diag(K), size / size.mean())
    cells = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(C, np.kron(K, Sigma_t)[np.ix_(cells, cells)], rtol=1e-12)


def test_start_of_a_separable_covariance():
    """At the paper's."""
    part = make_separable(np.ones((3, 2)))
    Sigma_t, s2_E = np.array([[0.5, -0.2], [-0.2, 0.3]]), np.array([0.4, 1.5, 0.1])
    C = np.empty((6, 6))
    assert bmtme.Separable.build(part, bmtme.Separable().start(part, Start(Sigma_t, s2_E, np.eye(2))), C)
    np.testing.assert_allclose(C, np.kron(1.0 + np.diag(s2_E), Sigma_t), rtol=1e-10)


@pytest.mark.parametrize(("structure", "residual"), [("unstructured", "by_env"), ("diagonal", "shared")])
def test_separable_through_a_fit(structure, residual, tmp_path):
    """With a column without a record."""
    frame, relationship = simulate()
    frame.loc[frame["env"] == "E2", "T2"] = np.nan
    trial, model = read(frame), bmtme.BMTME(structure, genetic=bmtme.Separable(), residual=residual)
    fit = bmtme.fit(trial, relationship, model, **SHORT)
    assert fit.run["settings"]["model"]["genetic"] == "separable"
    posterior, summary = fit.idata.posterior, fit.summary()
    K, Sigma_t, C = posterior["K"], posterior["Sigma_t"], posterior["C"]
    assert K.dims == ("chain", "draw", "env", "env_bis")
    sizes = np.diagonal(K.values, axis1=2, axis2=3)
    np.testing.assert_allclose(sizes.mean(axis=-1), 1.0)
    assert sizes.std(axis=1).min() > 0.05
    cells = list(C["cell"].values)
    assert len(cells) == 5
    assert "E2 x T2" not in cells
    for a in cells:
        for b in cells:
            (i, l), (h, q) = a.split(" x "), b.split(" x ")
            expected = K.sel(env=i, env_bis=h) * Sigma_t.sel(trait=l, trait_bis=q)
            np.testing.assert_allclose(C.sel(cell=a, cell_bis=b), expected, atol=1e-12)
    for env in trial.envs:
        total = K.sel(env=env, env_bis=env) * Sigma_t.sel(trait="T2", trait_bis="T2")
        np.testing.assert_allclose(posterior["genetic_variance"].sel(env=env, trait="T2"), total)
    for a, b in combinations(trial.envs, 2):
        roots = np.sqrt(K.sel(env=a, env_bis=a) * K.sel(env=b, env_bis=b))
        expected = float((K.sel(env=a, env_bis=b) / roots).mean())
        assert summary.loc[f"env_correlation[{a}, {b}]", "mean"] == pytest.approx(expected)
        assert f"K[{a}, {b}]" in summary.index
    check_whole(fit, trial, relationship, model, tmp_path / "run")


def test_separable_in_a_cross_validation():
    """Columns may be hidden, environments and traits may not."""
    frame, relationship = simulate()
    trial, model = read(frame), bmtme.BMTME(genetic=bmtme.Separable())
    cv = bmtme.cross_validate(trial, relationship, model, bmtme.CV2(["T2"], ["E2"]), **SHORT)
    assert cv.scores["msep"].notna().all()
    words = "separable cannot serve environments without any record.*bmtme.Proportional"
    with pytest.raises(bmtme.UsageError, match="training part: .*" + words):
        bmtme.cross_validate(trial, relationship, {"it": model}, bmtme.NewEnvironments(), **SHORT)
    with pytest.raises(bmtme.UsageError, match=r"needs two traits at least.*bmtme.Free"):
        bmtme.cross_validate(trial, relationship, {"it": bmtme.SingleTrait(model)}, bmtme.CV1(2), **SHORT)


@pytest.mark.parametrize("genetic", [bmtme.Separable(), bmtme.EnvironmentsByTrait()])
@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"traits": 1}, "needs two traits at least.*bmtme.Free"),
        ({"envs": 1}, "needs records in two environments.*bmtme.Proportional"),
    ],
)
def test_products_are_refused_at_their_limits(genetic, sizes, words):
    frame, relationship = simulate(**sizes)
    with pytest.raises(bmtme.UsageError, match=f"^the genetic structure {genetic.name} " + words):
        bmtme.fit(read(frame), relationship, bmtme.BMTME(genetic=genetic), **SHORT)


def test_separable_is_refused_where_an_environment_has_no_record():
    frame, relationship = simulate()
    frame.loc[frame["env"] == "Z", ["T1", "T2"]] = np.nan
    with pytest.raises(bmtme.UsageError, match=r"^the genetic structure separable cannot serve .*\('?Z'?\)"):
        bmtme.fit(read(frame), relationship, bmtme.BMTME(genetic=bmtme.Separable()), **SHORT)


# --- factors ----------------------------------------------------------------------------------------------------------


def make_factors(k, recorded):
    """Parts of the recorded and of all columns."""
    L = recorded.shape[1]
    prior = CovariancePrior(HALF_T, FULL, NU, np.ones(L), 0.0, np.eye(L))
    structure = bmtme.FactorAnalytic(k)
    return structure, *[make_part(structure, 0, columns, prior, prior, False) for columns in (recorded, recorded >= 0)]


def correlate_loadings(recorded):
    """Omega of these columns: 1 on the diagonal, 1/2 between environments of a trait."""
    trait = np.nonzero(recorded)[1]
    return 0.5 * np.eye(len(trait)) + 0.5 * np.equal.outer(trait, trait)


def test_prior_of_factors():
    """That of free loadings with correlated rows: the Jacobian of a triangle times a rotation by differences."""
    recorded = np.array([[True, True], [True, True], [False, True]])
    structure, part, _ = make_factors(3, recorded)
    M, k, Omega = 5, 3, correlate_loadings(recorded)
    pivots, wanted = np.array([0, 2, 4]), np.ones((M, k), bool)
    wanted[pivots] = np.tri(k, dtype=bool)

    def rotate(values):
        Lambda, turn = np.zeros((M, k)), np.zeros((k, k))
        Lambda[wanted], turn[np.tril_indices(k, -1)] = values[:-3], values[-3:]
        return (Lambda @ expm(turn - turn.T)).ravel()

    def by_hand(theta):
        values = np.concatenate([theta[:-M], np.zeros(3)])
        jacobian = [(rotate(values + e) - rotate(values - e)) / 2e-6 for e in 1e-6 * np.eye(len(values))]
        Lambda = rotate(values).reshape(M, k)
        density = stats.multivariate_normal.logpdf(Lambda.T, np.zeros(M), Omega).sum()
        return density + np.linalg.slogdet(jacobian)[1] + stats.t.logpdf(theta[-M:], 4).sum()

    compare_priors(
        lambda theta: structure.back(part, theta, np.zeros((M, M)), np.empty(part.size)),
        by_hand,
        np.random.default_rng(1).standard_normal((5, part.size)),
    )


def test_loadings_of_absent_columns():
    """Given the recorded ones of their trait, the first column among them: mean, covariance; psi from the prior."""
    recorded = np.array([[False, True], [True, True], [True, True], [False, False]])
    structure, part, whole = make_factors(2, recorded)
    rng = np.random.default_rng(1)
    theta = rng.standard_normal(part.size)
    C, psi = np.empty((4000, 8, 8)), np.empty((4000, 8))
    for t in range(len(C)):
        every = np.empty(whole.size)
        assert structure.complete(rng, part, theta, every)
        assert structure.build(whole, every, C[t])
        psi[t] = every[-8:]
        C[t] -= np.diag(psi[t] ** 2)
    here, Omega = recorded.ravel(), correlate_loadings(recorded >= 0)
    common = np.empty((5, 5))
    assert structure.build(part, theta, common)
    common -= np.diag(theta[-5:] ** 2)
    np.testing.assert_allclose(C[:, here][:, :, here], np.tile(common, (4000, 1, 1)), atol=1e-10)
    np.testing.assert_allclose(psi[:, here], np.tile(theta[-5:], (4000, 1)))
    B = Omega[~here][:, here] @ np.linalg.inv(Omega[here][:, here])
    spread = Omega[~here][:, ~here] - B @ Omega[here][:, ~here]
    assert (np.abs(spread) > 0.1).sum() == 5
    by_hand = ((C[:, ~here][:, :, here], B @ common), (C[:, ~here][:, :, ~here], B @ common @ B.T + 2 * spread))
    for found, expected in by_hand:
        error = found.std(axis=0) / np.sqrt(len(C))
        assert (np.abs(found.mean(axis=0) - expected) < 4.5 * error).all()
    assert stats.kstest(psi[:, ~here].ravel(), stats.t(4).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("k", "residual"), [(1, "shared"), (2, "by_env")])
def test_factors_through_a_fit(k, residual, tmp_path):
    """With a column without a record, and in the second case an environment."""
    frame, relationship = simulate()
    frame.loc[frame["env"] == "E2", "T2"] = np.nan
    if k == 2:
        frame.loc[frame["env"] == "Z", ["T1", "T2"]] = np.nan
    trial, model = read(frame), bmtme.BMTME(genetic=bmtme.FactorAnalytic(k), residual=residual)
    fit = bmtme.fit(trial, relationship, model, **SHORT)
    assert fit.run["settings"]["model"]["genetic"] == {"factor_analytic": {"factors": k}}
    C, names = fit.idata.posterior["C"], set(fit.idata.posterior.data_vars)
    seen = [f"{env} x {trait}" for env in trial.envs for trait in trial.traits]
    seen = [cell for cell in seen if cell != "E2 x T2" and not (k == 2 and cell.startswith("Z"))]
    assert C["cell"].values.tolist() == seen
    assert not {"Sigma_t", "Sigma_E", "Sigma_gt", "Lambda", "psi"} & names
    variance = fit.idata.posterior["genetic_variance"].sel(env="E2")
    # An absent column has its trait's loadings, not the means of others: its variance is spread like a prior's.
    assert (variance.sel(trait="T2").std() > variance.sel(trait="T1").std()).all()
    check_whole(fit, trial, relationship, model, tmp_path / "run")


def test_factors_of_one_trait(tmp_path):
    """Of one trait in several environments, alone or one at a time."""
    frame, relationship = simulate(traits=1)
    trial, model = read(frame), bmtme.BMTME(genetic=bmtme.FactorAnalytic(1))
    fit = bmtme.fit(trial, relationship, model, **SHORT)
    assert fit.idata.posterior["C"].shape[2:] == (3, 3)
    check_whole(fit, trial, relationship, model, tmp_path / "run")


def test_factors_in_a_cross_validation():
    """Of schemes that hide whole columns and whole environments."""
    frame, relationship = simulate()
    model = bmtme.BMTME(genetic=bmtme.FactorAnalytic(2))
    for scheme in (bmtme.CV2(["T2"], ["E2"]), bmtme.NewEnvironments()):
        cv = bmtme.cross_validate(read(frame), relationship, model, scheme, **SHORT)
        assert cv.scores["msep"].notna().all()


def test_factors_are_fewer_than_columns():
    frame, relationship = simulate()
    words = r"^the genetic structure factor_analytic needs fewer factors than .* with a record, got 6 and 6: .*Free\(\)"
    with pytest.raises(bmtme.UsageError, match=words):
        bmtme.fit(read(frame), relationship, bmtme.BMTME(genetic=bmtme.FactorAnalytic(6)), **SHORT)
    frame, relationship = simulate(traits=1, envs=1)
    words = r"needs records in two environment x trait columns at least: .*Proportional\(\)"
    with pytest.raises(bmtme.UsageError, match=words):
        bmtme.fit(read(frame), relationship, bmtme.BMTME(genetic=bmtme.FactorAnalytic(1)), **SHORT)


def test_settings_of_factors():
    for wrong in (0, -1, 1.5, True, "2", None):
        with pytest.raises(bmtme.UsageError, match="factors of FactorAnalytic must be a whole number of at least 1"):
            bmtme.FactorAnalytic(wrong)
    assert bmtme.FactorAnalytic(np.int64(3)) == bmtme.FactorAnalytic(factors=3)
    for name in ("diagonal", "standard"):
        with pytest.raises(bmtme.UsageError, match="genetic structure factor_analytic, which takes 'unstructured'"):
            bmtme.BMTME(name, genetic=bmtme.FactorAnalytic())
    with pytest.raises(bmtme.UsageError, match="prior_t is no prior of the genetic structure factor_analytic"):
        bmtme.BMTME(genetic=bmtme.FactorAnalytic(), prior_t=bmtme.HalfT(2.0))
