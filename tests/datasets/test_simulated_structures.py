"""Trials simulated from other structures: effects have the covariances of the truth, and these are of the structure."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.data.relationship.matrix import Relationship
from bmtme.datasets import simulate
from bmtme.errors import UsageError
from bmtme.structures.environments_by_trait import EnvironmentsByTrait
from bmtme.structures.factor_analytic import FactorAnalytic
from bmtme.structures.free import Free
from bmtme.structures.main_and_interaction import MainAndInteraction
from bmtme.structures.proportional import Proportional
from bmtme.structures.separable import Separable
from tests.datasets.test_simulated import close_to_covariance
from tests.structures.double import HalfAlike

GENETICS = {
    "proportional": Proportional(),
    "interaction": MainAndInteraction(k="free"),
    "environments by trait": EnvironmentsByTrait(),
    "separable": Separable(),
    "one factor": FactorAnalytic(1),
    "free": Free(),
    "one's own": HalfAlike(),
}
RESIDUALS = ("shared", "scaled", "common_correlation", "by_env")
SIZE = {"lines": 400, "envs": 3, "traits": 2, "reps": 2, "seed": 3}


def split(simulation):
    """u (I, J, L), r (J, L) and residuals (I, J, K, L), of a trial without gaps."""
    truth, frame = simulation.truth, simulation.frame
    beta, lines = truth["beta"], list(simulation.relationship.lines)
    shape = (len(beta), len(lines), -1)
    if "u" in truth:
        u = truth["u"].to_numpy().reshape(shape)
    else:
        u = truth["b1"].to_numpy() + truth["b2"].to_numpy().reshape(shape)
    r = truth["r"].to_numpy() if "r" in truth else np.zeros_like(u[0])
    plots = frame[list(beta.columns)].to_numpy().reshape(len(beta), len(lines), -1, beta.shape[1])
    return u, r, plots - (beta.to_numpy()[:, None] + u + r)[:, :, None]


def genetic_covariance(truth):
    """C (I L, I L)."""
    if "C" in truth:
        return truth["C"].to_numpy()
    return np.kron(1.0 + truth["Sigma_E"].to_numpy(), truth["Sigma_t"].to_numpy())


@pytest.mark.parametrize(("genetic", "residual"), list(itertools.product(GENETICS, RESIDUALS)))
def test_effects_have_the_covariances_of_the_truth(genetic, residual):
    line_effect = residual in ("shared", "by_env")
    simulation = simulate(**SIZE, genetic=GENETICS[genetic], residual=residual, line_effect=line_effect)
    truth = simulation.truth
    u, r, e = split(simulation)
    assert u.shape == (3, 400, 2)
    whiten = np.linalg.inv(np.linalg.cholesky(simulation.relationship.matrix))
    close_to_covariance(np.hstack(whiten @ u), genetic_covariance(truth))
    R_e = truth["R_e"].to_numpy().reshape(-1, 2, 2)
    assert len(R_e) == (1 if residual == "shared" else 3)
    for i in range(3):
        close_to_covariance(e[i].reshape(-1, 2), R_e[i % len(R_e)])
    if line_effect:
        close_to_covariance(r, truth["Sigma_r"].to_numpy())
        assert abs(np.corrcoef(r[:, 0], (whiten @ u)[0, :, 0])[0, 1]) < 4.5 / 20


def test_truths_are_of_their_structures():
    """Each residual beside the paper's C; each genetic structure by what it says of C."""
    for residual in RESIDUALS[1:]:
        R_e = simulate(**SIZE, residual=residual).truth["R_e"].to_numpy().reshape(3, 2, 2)
        sd = np.sqrt(np.diagonal(R_e, axis1=1, axis2=2))
        assert np.ptp(sd[:, 0]) > 0.01
        correlation, ratio = R_e[:, 0, 1] / sd.prod(axis=1), sd[:, 1] / sd[:, 0]
        assert (np.ptp(ratio) < 1e-9) == (residual == "scaled")
        assert (np.ptp(correlation) < 1e-9) == (residual != "by_env")
    found = {name: simulate(**SIZE, genetic=genetic).truth for name, genetic in GENETICS.items()}
    two = found["interaction"]
    assert two["k"].mean() == pytest.approx(1.0)
    by_hand = np.kron(np.ones((3, 3)), two["Sigma_t"]) + np.kron(np.diag(two["k"]), two["Sigma_gt"])
    assert two["C"].to_numpy() == pytest.approx(by_hand)
    product = found["separable"]
    assert np.diag(product["K"]).mean() == pytest.approx(1.0)
    assert product["C"].to_numpy() == pytest.approx(np.kron(product["K"], product["Sigma_t"]))
    by_trait = found["environments by trait"]
    K = by_trait["env_covariance"].to_numpy().reshape(3, 3, 2)
    assert by_trait["C"].to_numpy()[1::2, 1::2] == pytest.approx(K[:, :, 1])
    C = found["one factor"]["C"].to_numpy()
    tetrad = C[0, 1] * C[2, 3] - C[0, 2] * C[1, 3]  # one factor has none
    assert abs(tetrad) < 1e-12
    free = found["free"]["C"].to_numpy()
    assert abs(free[0, 1] * free[2, 3] - free[0, 2] * free[1, 3]) > 1e-3
    for truth in found.values():
        if "C" in truth:
            variances = np.diag(truth["C"]).reshape(3, 2)
            assert truth["genetic_variance"].to_numpy() == pytest.approx(variances)
            assert list(truth["C"].index[:3]) == ["E1 x T1", "E1 x T2", "E2 x T1"]


def test_without_spread_structures_are_the_paper_s():
    wanted = simulate(**SIZE, interaction=0.4)
    C = genetic_covariance(wanted.truth)
    for name in ("interaction", "free"):
        truth = simulate(**SIZE, interaction=0.4, genetic=GENETICS[name], residual="by_env", spread=0.0).truth
        assert truth["C"].to_numpy() == pytest.approx(C)
        assert truth["R_e"].to_numpy().reshape(3, 2, 2) == pytest.approx(np.tile(wanted.truth["R_e"], (3, 1, 1)))
        assert truth["heritability"].to_numpy() == pytest.approx(np.tile([0.2, 0.5], (3, 1)))
    beside = simulate(**SIZE, genetic=Free(), line_effect=True, spread=0.0).truth["heritability"].to_numpy()
    assert beside == pytest.approx(np.tile([0.2, 0.5], (3, 1)))
    other = simulate(**SIZE, genetic=Free(), spread=1e-3).truth["C"].to_numpy()
    assert np.abs(other - genetic_covariance(simulate(**SIZE).truth)).max() < 0.02


def test_heritability_is_that_of_the_summary():
    simulation = simulate(**SIZE, genetic=Free(), residual="by_env", line_effect=True)
    truth, G = simulation.truth, simulation.relationship.matrix
    c = (np.trace(G) - G.sum() / 400) / 399
    V = c * np.diag(truth["C"]).reshape(3, 2) + np.diag(truth["Sigma_r"])
    residual = np.array([np.diag(truth["R_e"].loc[env]) for env in truth["beta"].index])
    assert truth["heritability"].to_numpy() == pytest.approx(V / (V + residual))
    genetic = c * np.diag(truth["C"]).reshape(3, 2).mean(axis=0)
    assert np.diag(truth["Sigma_r"]) == pytest.approx(0.25 * genetic)


@pytest.mark.parametrize(
    ("genetic", "residual", "names"),
    [
        (None, "shared", ("Sigma_t", "Sigma_E", "R_e", "beta")),
        (Proportional(), "common_correlation", ("Sigma_t", "R_e")),
        (MainAndInteraction(), "by_env", ("Sigma_t", "Sigma_gt", "k", "R_e")),
        (MainAndInteraction(), "shared", ("Sigma_gt",)),
        (Separable(), "scaled", ("Sigma_t", "K", "R_e")),
        (FactorAnalytic(1), "shared", ("C",)),
        (Free(), "by_env", ("C", "R_e", "beta", "Sigma_r")),
    ],
)
def test_what_is_given_is_the_truth(genetic, residual, names):
    """The truth of another seed, as tables in another order and as arrays."""
    options = {"genetic": genetic, "residual": residual, "line_effect": "Sigma_r" in names}
    other = simulate(**{**SIZE, "seed": 8}, **options).truth
    arrays = {name: other[name].to_numpy() for name in names}
    arrays = {name: a.reshape(3, 2, 2) if name == "R_e" and len(a) > 2 else a for name, a in arrays.items()}
    tables = {name: other[name].iloc[::-1] for name in names}
    tables = {name: t if t.ndim == 1 else t.iloc[:, ::-1] for name, t in tables.items()}
    for given in (arrays, tables):
        simulation = simulate(**SIZE, **options, truth=given)
        for name in names:
            assert simulation.truth[name].to_numpy() == pytest.approx(other[name].to_numpy(), abs=1e-12), name
        assert simulation.truth["beta"].index.equals(other["beta"].index)
        if "Sigma_t" in names and "R_e" in names and "C" in other:  # C is made of what is given
            assert simulation.truth["C"].to_numpy() == pytest.approx(other["C"].to_numpy())
        whiten = np.linalg.inv(np.linalg.cholesky(simulation.relationship.matrix))
        u, _, e = split(simulation)
        close_to_covariance(np.hstack(whiten @ u), genetic_covariance(simulation.truth))
        close_to_covariance(e[-1].reshape(-1, 2), simulation.truth["R_e"].to_numpy()[-2:])
    if genetic is None:
        h2 = simulation.truth["heritability"]
        share = 0.3 * np.diag(other["Sigma_t"]) * (1 + np.diag(other["Sigma_E"]).mean())
        assert h2.to_numpy() == pytest.approx(share / (share + np.diag(other["R_e"])))


def test_everything_follows_from_the_seed_in_streams():
    """The paper's values stay as they are beside other residuals; a line effect moves no other effect."""
    plain, spread = simulate(**SIZE), simulate(**SIZE, residual="by_env")
    for name in ("beta", "b1", "b2"):
        pd.testing.assert_frame_equal(plain.truth[name], spread.truth[name])
    without, with_r = (simulate(**SIZE, genetic=Free(), line_effect=effect) for effect in (False, True))
    pd.testing.assert_frame_equal(without.truth["u"], with_r.truth["u"])
    again = simulate(**SIZE, genetic=Free(), line_effect=True)
    pd.testing.assert_frame_equal(with_r.frame, again.frame, check_exact=True)
    pd.testing.assert_frame_equal(
        simulate(**SIZE, genetic=Proportional(), residual="shared").frame, plain.frame, check_exact=True
    )


def test_save_writes_the_truth(tmp_path):
    simulation = simulate(lines=12, traits=2, genetic=MainAndInteraction(), residual="by_env", line_effect=True)
    simulation.save(tmp_path / "data")
    truth = json.loads((tmp_path / "data" / "truth.json").read_text())
    assert truth["R_e"]["E2"]["T1"]["T2"] == pytest.approx(simulation.truth["R_e"].loc[("E2", "T1"), "T2"])
    assert truth["k"] == pytest.approx(simulation.truth["k"].to_dict())
    assert truth["C"]["E1 x T1"]["E3 x T2"] == pytest.approx(simulation.truth["C"].loc["E1 x T1", "E3 x T2"])
    assert truth["u"]["E3"]["L05"]["T2"] == pytest.approx(simulation.truth["u"].loc[("E3", "L05"), "T2"])


SYMMETRIC = np.array([[1.0, 0.5], [0.4, 1.0]])
UNRELATED = Relationship.identity(["a", "b"])
UNLIKE = np.array([np.eye(2), [[1.0, 0.5], [0.5, 1.0]], np.eye(2)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"genetic": "free"}, "genetic of a model must be a structure as a value"),
        ({"residual": "by-env"}, "residual of a model must be one of 'shared', 'scaled'"),
        ({"line_effect": 1}, "line_effect of a model must be True or False"),
        ({"line_effect": True, "envs": 1, "reps": 1}, "needs two environments or replicates"),
        ({"line_effect": True, "lines": 2, "relationship": UNRELATED}, "more than the identity"),
        ({"genetic": Separable(), "traits": 1}, "separable needs two traits at least"),
        ({"genetic": MainAndInteraction(), "envs": 1}, "main_and_interaction needs records in two environments"),
        ({"genetic": FactorAnalytic(6)}, "needs fewer factors than environment x trait columns"),
        ({"spread": -0.1}, "spread must be a number of at least 0"),
        ({"genetic": Free(), "spread": 1e9}, "leads to covariances of free that are none"),
        ({"truth": [1.0]}, "truth must map names"),
        ({"truth": {"C": np.eye(6)}}, "the model has no 'C' to be given, but 'Sigma_t', 'Sigma_E', 'R_e', 'beta'"),
        ({"genetic": Free(), "truth": {"Sigma_t": np.eye(2)}}, "no 'Sigma_t' to be given, but 'C', 'R_e', 'beta'"),
        ({"truth": {"Sigma_r": np.eye(2)}}, "no 'Sigma_r' to be given"),
        ({"truth": {"Sigma_t": np.eye(3)}}, r"Sigma_t must be trait x trait, \(2, 2\), of finite numbers"),
        ({"truth": {"Sigma_t": "x"}}, "Sigma_t must be made of numbers"),
        ({"truth": {"Sigma_t": SYMMETRIC}}, "Sigma_t must be symmetric"),
        ({"truth": {"R_e": np.ones((2, 2))}}, "R_e must be positive definite"),
        ({"genetic": Free(), "truth": {"C": np.eye(6) - 0.4}}, "C must be positive semi-definite"),
        ({"truth": {"Sigma_E": np.ones((3, 3))}}, "Sigma_E must be diagonal"),
        ({"truth": {"R_e": pd.DataFrame(np.eye(2))}}, "R_e must have the labels of the simulation, 'T1', 'T2'"),
        ({"genetic": MainAndInteraction(k="free"), "truth": {"k": [1, 1, 4]}}, "k must be 1 on average"),
        ({"genetic": MainAndInteraction(k="free"), "truth": {"k": [4, -2, 1]}}, "k must be positive"),
        ({"genetic": Separable(), "truth": {"K": 2 * np.eye(3)}}, "the diagonal of K must be 1 on average"),
        ({"residual": "common_correlation", "truth": {"R_e": UNLIKE}}, "residual correlations are the same"),
        ({"residual": "scaled", "truth": {"R_e": np.array([np.eye(2), np.diag([1.0, 2.0]), np.eye(2)])}}, "ratios of"),
        ({"truth": {"R_e": np.eye(2)}, "heritability": 0.3}, "R_e, which stands in place of heritability"),
        ({"truth": {"Sigma_t": np.eye(2)}, "genetic_correlation": 0.1}, "stands in place of genetic_correlation=0.1"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        simulate(**{"lines": 10, "traits": 2, **arguments})


@pytest.mark.slow
@pytest.mark.parametrize("genetic", [None, MainAndInteraction(), Separable(), Free()], ids=lambda g: g and g.name)
def test_a_fit_has_the_rows_of_the_truth_and_finds_it(genetic):
    """Two traits in three environments; standardised errors of C, R_e and Sigma_r are those of a posterior."""
    residual, effect = ("shared", False) if genetic is None else ("by_env", True)
    options = {"residual": residual, "line_effect": effect} | ({} if genetic is None else {"genetic": genetic})
    simulation = simulate(120, 3, 2, 2, relationship="markers", seed=4, **options)
    trial = bmtme.Trial.from_frame(simulation.frame, line="line", env="env", traits=["T1", "T2"], rep="rep")
    model = bmtme.BMTME(**options)
    summary = bmtme.fit(trial, simulation.relationship, model, draws=400, tune=400, chains=3, seed=1).summary()
    truth = simulation.parameters()
    assert list(truth.index) == list(summary.index)
    z = (summary["mean"] - truth) / summary["sd"]
    assert np.sqrt((z**2).mean()) < 1.8
    assert ((summary["lower"] <= truth) & (truth <= summary["upper"])).mean() > 0.6
    assert np.corrcoef(truth, summary["mean"])[0, 1] > 0.95
