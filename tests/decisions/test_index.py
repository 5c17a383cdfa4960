"""Indices, joint probabilities and responses, by loops over draws."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bmtme import DataError, NumericalError, UsageError
from bmtme.decisions.weights import weigh_gains
from tests.decisions.test_ranking import compare, find_reliability, rank_by_hand
from tests.helpers.posteriors import make_fit, make_setting, measure_spread


@pytest.fixture(scope="module")
def fitted():
    s = make_setting(outside=0.4)
    return s, make_fit(s)


def find_sd(s, fit):
    """Genetic standard deviation of each trait, of means over environments, with the posterior mean of C."""
    C = fit.idata.posterior["C"].mean(("chain", "draw")).values.reshape(s.C.shape)
    c, (I, L) = measure_spread(s.G, s.known), s.C.shape[:2]
    within = [sum(C[i, l, k, l] for i in range(I) for k in range(I)) / I**2 for l in range(L)]
    return np.sqrt(c * np.array(within) + s.Sigma_r.diagonal())


def test_weights_by_hand(fitted):
    s, fit = fitted
    shares = {env: 1 / 3 for env in s.envs}
    table = fit.index({"T2": -0.5, "T1": 2.0}, top=4, check="L06")
    compare(table, rank_by_hand(fit, shares, {"T1": 2.0, "T2": -0.5}, 4, 1, "L06"))
    assert table.attrs["weights"] == {"T2": -0.5, "T1": 2.0}
    sd = find_sd(s, fit)
    scaled = fit.index({"T1": 2.0, "T2": -0.5}, units="sd", env="E1")
    found = fit.index({"T1": 1.0, "T2": 0.0}, units="sd")
    assert found.attrs["weights"]["T1"] == pytest.approx(1 / sd[0], rel=1e-9)
    assert scaled.attrs["weights"]["T2"] < 0
    alone = fit.index({"T1": 1.0}, check="L06").drop(columns="line")
    assert np.allclose(alone, fit.ranking("T1", check="L06").drop(columns="line"))


def test_reliability_of_an_index():
    s = make_setting(outside=0.4)
    fit = make_fit(s, draws=20_000, spread=0.0)
    a = np.array([1.0, -0.7])
    table = fit.index({"T1": 1.0, "T2": -0.7}, draws=40_000).set_index("line")["reliability"]
    expected = np.maximum(find_reliability(s, np.full(3, 1 / 3), a), 0)
    np.testing.assert_allclose(table[s.lines], expected, atol=0.03)  # three Monte Carlo errors: 0.02


@pytest.mark.parametrize("units", ["trait", "sd"])
def test_desired_gains(fitted, units):
    """Along the index, posterior means of the traits move in the proportions wanted, over the candidates."""
    s, fit = fitted
    table = fit.index(gains={"T1": 3.0, "T2": -1.0}, units=units)
    a = np.array(list(table.attrs["weights"].values()))
    u = fit.line_effects().mean(("chain", "draw", "env")).values
    S = np.cov(u.T)
    moved = S @ a
    wanted = np.array([3.0, -1.0]) * (find_sd(s, fit) if units == "sd" else 1.0)
    np.testing.assert_allclose(moved, wanted, rtol=1e-8)
    index = u @ a
    slopes = [np.polyfit(index, u[:, l], 1)[0] for l in range(2)]
    assert slopes[0] / slopes[1] == pytest.approx(wanted[0] / wanted[1], rel=1e-6)
    nothing = fit.index(gains={"T1": 1.0, "T2": 0.0})
    b = np.array(list(nothing.attrs["weights"].values()))
    assert abs((S @ b)[1]) < 1e-9


@threadpool_limits.wrap(limits=1)  # many small matrices
def test_desired_gains_are_realised():
    """True gains are equal where these are wanted, at heritabilities 0.8 and 0.2; C^-1 d brings more of the former.

    80 lines, one plot, a genetic correlation of 0.3; posterior means by the mixed model equations, covariances known.
    """
    rng = np.random.default_rng(1)
    C, R, lines = np.array([[1.0, 0.3], [0.3, 1.0]]), np.diag([0.25, 4.0]), [f"L{j:02d}" for j in range(80)]
    gains = []
    for _ in range(150):
        Z = rng.normal(size=(80, 60)) / np.sqrt(60)
        u = Z @ rng.normal(size=(60, 2)) @ np.linalg.cholesky(C).T
        y = u + rng.normal(size=(80, 2)) * np.sqrt(np.diag(R))
        covariance = np.kron(Z @ Z.T, C)
        means = (covariance @ np.linalg.solve(covariance + np.kron(np.eye(80), R), y.ravel())).reshape(80, 2)
        candidates = SimpleNamespace(effects=means[None], lines=lines, traits=["T1", "T2"])
        each = []
        for a in (weigh_gains(candidates, np.ones(2)), np.linalg.solve(C, np.ones(2))):
            chosen = np.argsort(-means @ a)[:16]
            each.append(u[chosen].mean(axis=0) - u.mean(axis=0))
        gains.append(each)
    apart = np.diff(gains, axis=2)[..., 0]
    error = apart.std(axis=0, ddof=1) / np.sqrt(len(apart))
    assert error.max() < 0.03
    assert abs(apart.mean(axis=0)[0]) < 2.5 * error[0]
    assert apart.mean(axis=0)[1] < -10 * error[1]


def test_traits_one_at_a_time_are_told():
    fit = make_fit(make_setting(), alone=True)
    with pytest.warns(UserWarning, match=r"fitted one at a time.*probabilities of an index"):
        table = fit.index({"T1": 1.0, "T2": 1.0})
    with pytest.warns(UserWarning, match="of several traits take them for unrelated"):
        fit.joint_probabilities()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = fit.index({"T1": 1.0})
        fit.joint_probabilities(["T2"])
    assert table["reliability"].between(0, 1).all()
    assert one["value"].equals(fit.ranking("T1")["value"])


@pytest.mark.parametrize("each_env", [False, True])
def test_joint_probabilities_by_hand(fitted, each_env):
    s, fit = fitted
    u = fit.line_effects()
    table = fit.joint_probabilities(best={"T2": "low"}, each_env=each_env, top=4, check="L02")
    values = u.values.reshape(-1, *u.shape[2:])  # draws, line, env, trait
    values = values if each_env else values.mean(axis=2, keepdims=True)
    counts, above = np.zeros(len(s.lines)), np.zeros(len(s.lines))
    for draw in values:
        for j in range(len(s.lines)):
            good, better = True, True
            for i in range(draw.shape[1]):
                for l, sign in enumerate((1, -1)):
                    own = sign * draw[j, i, l]
                    good &= sum(sign * draw[n, i, l] > own for n in range(len(s.lines))) < 4
                    better &= own > sign * draw[2, i, l]
            counts[j] += good
            above[j] += better
    table = table.set_index("line").loc[s.lines]
    np.testing.assert_allclose(table["p_top"], counts / len(values))
    np.testing.assert_allclose(table["p_above_check"], above / len(values))


def test_joint_probabilities_are_no_products():
    """Of one trait those of the ranking; of correlated traits not the product."""
    s = make_setting(paper=True)
    s.C[:] = np.kron(s.C[:, 0, :, 0], [[1.0, 0.95], [0.95, 1.0]]).reshape(s.C.shape)
    s.R[:] = 4 * np.eye(2)
    fit = make_fit(s, "paper", draws=1000)
    one = fit.joint_probabilities(["T1"], check="L03", top=3).set_index("line").loc[s.lines]
    ranking = fit.ranking("T1", check="L03", top=3).set_index("line").loc[s.lines]
    assert one.equals(ranking[["p_top", "p_above_check"]])
    both = fit.joint_probabilities(check="L03", top=3).set_index("line").loc[s.lines]
    other = fit.ranking("T2", check="L03", top=3).set_index("line").loc[s.lines]
    product = ranking["p_above_check"] * other["p_above_check"]
    assert (both["p_above_check"] - product).max() > 0.1


def test_response_by_hand(fitted):
    s, fit = fitted
    table = fit.index({"T1": 1.0, "T2": 1.0}, top=3, env=["E1", "E2"])
    chosen = table["line"][:3].tolist()
    found = fit.response(table).set_index("trait")
    u = fit.line_effects().sel(env=["E1", "E2"]).mean("env")
    for trait in s.traits:
        here = u.sel(trait=trait)
        draws = []
        for c in range(2):
            for d in here["draw"].values:
                one = here.sel(chain=c, draw=d)
                draws.append(np.mean([float(one.sel(line=x)) for x in chosen]) - float(one.mean()))
        assert found.loc[trait, "mean"] == pytest.approx(np.mean(draws), rel=1e-9)
        assert found.loc[trait, "sd"] == pytest.approx(np.std(draws, ddof=1), rel=1e-9)
        assert found.loc[trait, "upper"] == pytest.approx(np.quantile(draws, 0.95), rel=1e-9)
    assert found.loc["T1", "mean"] == pytest.approx(
        u.mean(("chain", "draw")).sel(trait="T1", line=chosen).mean() - u.sel(trait="T1").mean()
    )
    listed = fit.response(chosen, env=["E1", "E2"])
    assert listed.set_index("trait").equals(found)
    some = fit.response(["L00"], lines=["L00", "L01"], env="E1").set_index("trait")
    draws = (u * 0 + fit.line_effects().sel(env="E1")).sel(trait="T2")
    assert some.loc["T2", "mean"] == pytest.approx(float((draws.sel(line="L00") - draws.sel(line="L01")).mean()) / 2)


@pytest.mark.parametrize(
    "given, error, text",
    [
        ({}, UsageError, "either weights= or gains="),
        ({"weights": {"T1": 1}, "gains": {"T1": 1}}, UsageError, "either weights= or gains="),
        ({"weights": 3}, UsageError, "weights must be a dict"),
        ({"weights": {}}, UsageError, "weights must be a dict"),
        ({"weights": {"T1": "x"}}, UsageError, "expected a number for trait 'T1'"),
        ({"weights": {"T1": 0}}, UsageError, "every trait has 0"),
        ({"gains": {"T9": 1}}, DataError, "no trait 'T9'"),
        ({"weights": {"T1": 1}, "units": "SD"}, UsageError, "units must be 'trait' or 'sd'"),
        ({"gains": {"T1": 1, "T2": 1}, "lines": ["L00", "L01"]}, NumericalError, "too few candidates"),
    ],
)
def test_what_is_no_index_is_refused(fitted, given, error, text):
    with pytest.raises(error, match=text):
        fitted[1].index(**given)


def test_other_calls_that_make_no_sense(fitted):
    _, fit = fitted
    with pytest.raises(UsageError, match="best names 'T3'"):
        fit.joint_probabilities(["T1"], best={"T3": "low"})
    with pytest.raises(UsageError, match="each_env must be True or False"):
        fit.joint_probabilities(each_env="yes")
    with pytest.raises(UsageError, match=r"a table of fit\.ranking or fit\.index"):
        fit.response(fit.ranking("T1").rename(columns={"line": "name"}))
    with pytest.raises(DataError, match="no line 'L99'"):
        fit.response(["L99"])


def test_gains_in_traits_that_are_one_are_refused():
    s = make_setting()
    fit = make_fit(s)
    fit._groups["posterior"]["u"].loc[{"trait": "T2"}] = 2 * fit._groups["posterior"]["u"].sel(trait="T1").values
    fit._groups["constant_data"]["recorded"][:] = 1
    known = [s.lines[j] for j in s.known]
    with pytest.raises(NumericalError, match=r"'T1' and 'T2' have a correlation of 1\.0"):
        fit.index(gains={"T1": 1, "T2": 1}, lines=known)
