"""Rankings by loops over draws and lines, reliabilities against dense algebra."""

import numpy as np
import pytest

from bmtme import DataError, UsageError
from tests.helpers.posteriors import condition, make_fit, make_setting, measure_contrast

NAMES = [
    *("line", "value", "sd", "lower", "upper", "reliability"),
    *("rank_mean", "rank_lower", "rank_upper", "p_top", "p_above_check"),
]
CASES = {
    "general": {},
    "paper": {"structure": "paper"},
    "thin": {"thin": True},
    "alone": {"alone": True},
    "one environment": {},
    "outside": {},
}


def choose_setting(name):
    if name == "one environment":
        return make_setting(envs=1)
    return make_setting(paper=name == "paper", outside=0.6 if name == "outside" else 0.0)


@pytest.fixture(params=CASES, scope="module")
def fitted(request):
    s = choose_setting(request.param)
    return s, make_fit(s, **CASES[request.param])


def rank_by_hand(fit, weights, a, k, sign, check):
    """Everything but the reliability, with loops: by line."""
    u, beta = fit.line_effects(), fit.idata.posterior["beta"]
    draws = [(c, d) for c in u["chain"].values for d in u["draw"].values]
    lines = u["line"].values.tolist()
    found = {line: {"value": [], "rank": [], "above": []} for line in lines}
    for c, d in draws:
        effects = {line: 0.0 for line in lines}
        mean = 0.0
        for env, w in weights.items():
            for trait, b in a.items():
                mean += w * b * float(beta.sel(chain=c, draw=d, env=env, trait=trait))
                column = u.sel(chain=c, draw=d, env=env, trait=trait)
                for line, value in zip(lines, column.values, strict=True):
                    effects[line] += w * b * value
        for line in lines:
            better = sum(sign * effects[other] > sign * effects[line] for other in lines)
            found[line]["value"].append(mean + effects[line])
            found[line]["rank"].append(1 + better)
            found[line]["above"].append(sign * effects[line] > sign * effects[check])
    table = {}
    for line, own in found.items():
        ordered = sorted(own["rank"])
        S = len(ordered)
        table[line] = {
            "value": np.mean(own["value"]),
            "sd": np.std(own["value"], ddof=1),
            "lower": np.quantile(own["value"], 0.05),
            "upper": np.quantile(own["value"], 0.95),
            "rank_mean": np.mean(own["rank"]),
            "rank_lower": ordered[int(np.ceil(0.05 * S)) - 1],
            "rank_upper": ordered[int(np.ceil(0.95 * S)) - 1],
            "p_top": np.mean([rank <= k for rank in own["rank"]]),
            "p_above_check": np.mean(own["above"]),
        }
    return table


def compare(table, expected):
    assert table.columns.tolist() == NAMES
    for row in table.to_dict("records"):
        for name, value in expected[row["line"]].items():
            assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-12), (row["line"], name)


@pytest.mark.parametrize("best", ["high", "low"])
def test_every_column_by_hand(fitted, best):
    s, fit = fitted
    shares = {env: 1 / len(s.envs) for env in s.envs}
    table = fit.ranking("T2", top=3, best=best, check="L04")
    sign = 1 if best == "high" else -1
    compare(table, rank_by_hand(fit, shares, {"T2": 1.0}, 3, sign, "L04"))
    assert (np.diff(sign * table["value"]) <= 0).all()
    assert sorted(table["line"]) == s.lines
    assert table.set_index("line").loc["L04", "p_above_check"] == 0.0
    assert table["rank_lower"].dtype == table["rank_upper"].dtype == np.int64


def test_target_environments():
    fit = make_fit(make_setting())
    one = rank_by_hand(fit, {"E2": 1.0}, {"T1": 1.0}, 1, 1, "L00")
    compare(fit.ranking("T1", env="E2", check="L00"), one)
    compare(fit.ranking("T1", env={"E2": 7}, check="L00"), one)
    two = rank_by_hand(fit, {"E3": 0.75, "E1": 0.25}, {"T1": 1.0}, 2, 1, "L00")
    compare(fit.ranking("T1", env={"E3": 3, "E1": 1, "E2": 0}, check="L00", top=0.2), two)
    compare(fit.ranking("T1", env=["E3", "E1"], check="L00"), rank_by_hand(
        fit, {"E1": 0.5, "E3": 0.5}, {"T1": 1.0}, 1, 1, "L00"))  # fmt: skip
    assert fit.ranking("T1")["p_above_check"].isna().all()


def find_reliability(s, w, a):
    """1 - Var(u_j - ubar | y) / Var(u_j - ubar) by the dense posterior at the true covariances."""
    J, (I, L) = len(s.G), s.C.shape[:2]
    M, known = I * L, s.known
    _, covariance = condition(s)
    sigma2 = sum(
        w[i] * w[k] * a[l] * a[q] * s.C[i, l, k, q]
        for i in range(I) for k in range(I) for l in range(L) for q in range(L)
    )  # fmt: skip
    outside = a @ s.Sigma_r @ a
    found = []
    for j in range(J):
        t = np.zeros(len(covariance))
        for i in range(I):
            for l in range(L):
                for n in range(J):
                    share = (n == j) - (n in known) / len(known)
                    t[M + n * M + i * L + l] += share * w[i] * a[l]
                    t[M + J * M + n * L + l] += share * w[i] * a[l]
        own = sum(((n == j) - (n in known) / len(known)) ** 2 for n in range(J))
        found.append(1 - t @ covariance @ t / (sigma2 * measure_contrast(s.G, known, j) + outside * own))
    return np.array(found)


@pytest.mark.parametrize("name", ["general", "paper", "outside", "alone"])
def test_reliability_against_the_dense_posterior(name):
    """10,000 exact draws at fixed covariances; of lines with a record and of new ones."""
    s = choose_setting(name)
    fit = make_fit(s, **CASES[name] | {"draws": 5000, "spread": 0.0})
    w = np.full(3, 1 / 3)
    table = fit.ranking("T1", draws=10_000).set_index("line")["reliability"]
    expected = find_reliability(s.take_trait(0), w, np.ones(1)) if name == "alone" else (
        find_reliability(s, w, np.array([1.0, 0.0])))  # fmt: skip
    assert expected.max() - expected.min() > 0.2
    np.testing.assert_allclose(table[s.lines], np.maximum(expected, 0), atol=0.03 * (1 - expected.min()))
    w = np.array([0.0, 1.0, 0.0])
    one = fit.ranking("T1", env="E2", draws=10_000).set_index("line")["reliability"]
    if name != "alone":
        expected = find_reliability(s, w, np.array([1.0, 0.0]))
        np.testing.assert_allclose(one[s.lines], np.maximum(expected, 0), atol=0.03)


def test_reliability_of_a_centred_form():
    """Lines all related by 0.7: what they share is no merit of the trial's."""
    s = make_setting(lines=30, new=0, traits=1, envs=1, reps=1)
    s.G[:] = 0.3 * np.eye(30) + 0.7
    s.C[:], s.R[:] = 1.0, 0.3
    s.y = np.random.default_rng(1).normal(size=s.y.shape)
    found = make_fit(s, draws=4000, spread=0.0).ranking(draws=8000)["reliability"]
    expected = find_reliability(s, np.ones(1), np.ones(1))
    seen = [j for j in range(30) if j in s.known]
    assert expected[seen].mean() == pytest.approx(0.5, abs=0.03)
    assert found.sort_values()[-20:].mean() == pytest.approx(np.sort(expected)[-20:].mean(), abs=0.02)


def test_sigma2_is_the_posterior_mean():
    """Of every draw, also of those that are not looked at."""
    s = make_setting()
    fit = make_fit(s, spread=0.5)
    table = fit.ranking("T1", env="E1", draws=40).set_index("line")["reliability"]
    u = fit.line_effects(40).sel(env="E1", trait="T1").values.reshape(40, -1)
    known = s.known
    left = (u - u[:, known].mean(axis=1, keepdims=True)).var(axis=0, ddof=1)
    sigma2 = float(fit.idata.posterior["C"].sel(cell="E1 x T1", cell_bis="E1 x T1").mean())
    expected = [max(0.0, 1 - left[j] / (sigma2 * measure_contrast(s.G, known, j))) for j in range(len(s.G))]
    np.testing.assert_allclose(table[s.lines], expected, rtol=1e-9)


def test_invariances():
    """Order of the lines; units of a trait; a weight for all environments alike."""
    s = make_setting()
    one, other = make_fit(s), make_fit(s, order=list(np.random.default_rng(2).permutation(12)))
    assert one.ranking("T1", check="L02").equals(other.ranking("T1", check="L02"))
    assert one.index({"T1": 1, "T2": -1}).equals(other.index({"T1": 1, "T2": -1}))
    table = one.ranking("T1", check="L02")
    s.y[:, 0] *= 1000.0
    s.C[:, 0] *= 1000.0
    s.C[:, :, :, 0] *= 1000.0
    s.R[:, 0] *= 1000.0
    s.R[:, :, 0] *= 1000.0
    scaled = make_fit(s, draws=3000).ranking("T1", check="L02", draws=6000)
    table = make_fit(make_setting(), draws=3000).ranking("T1", check="L02", draws=6000).set_index("line")
    scaled = scaled.set_index("line").loc[table.index]
    np.testing.assert_allclose(scaled["reliability"], table["reliability"], atol=0.03)
    np.testing.assert_allclose(scaled["p_above_check"], table["p_above_check"], atol=0.04)
    np.testing.assert_allclose(scaled["sd"] / 1000, table["sd"], rtol=0.06)


def test_candidates_top_and_names():
    fit = make_fit(make_setting())
    some = fit.ranking("T1", lines=["L03", "L11", "L03", "L05"], check="L00", top=2)
    assert sorted(some["line"]) == ["L03", "L05", "L11"]
    assert some["rank_mean"].sum() == pytest.approx(6.0)
    assert some["p_top"].sum() == pytest.approx(2.0)
    whole = fit.ranking("T1", top=0.3)
    assert whole.attrs["top"] == 4
    assert whole["p_top"].sum() == pytest.approx(4.0)
    assert fit.ranking("T1", top=0.01)["p_top"].sum() == pytest.approx(1.0)
    assert whole.attrs | {"env": None} == {"env": None, "top": 4, "best": "high", "trait": "T1", "check": None}


def test_clones_share_their_rank():
    """None of them is above the other, whatever rounding says."""
    fit = make_fit(make_setting(new=0))
    posterior = fit._groups["posterior"]
    rng = np.random.default_rng(1)
    noise = 1e-9 * rng.standard_normal(posterior["u"].sel(line="L00").shape)
    posterior["u"].loc[{"line": "L01"}] = posterior["u"].sel(line="L00").values + noise
    table = fit.ranking("T1", check="L01").set_index("line")
    assert table.loc["L00", "p_above_check"] == table.loc["L01", "p_above_check"] == 0.0


def test_saved_and_loaded(tmp_path):
    from bmtme.results.fit import Fit
    from bmtme.results.storage import read_fit, write_fit

    fit = make_fit(make_setting(), thin=True, draws=50)
    write_fit(tmp_path, fit._groups, fit.run, fit.summary(), fit._predictions)
    assert Fit(*read_fit(tmp_path)).ranking("T1", check="L01").equals(fit.ranking("T1", check="L01"))


@pytest.mark.parametrize(
    "given, error, text",
    [
        ({"trait": "T3"}, DataError, r"no trait 'T3'\. Its traits are 'T1', 'T2'"),
        ({}, UsageError, "trait must be named, as this fit has several: 'T1', 'T2'"),
        ({"trait": ["T1", "T2"]}, UsageError, r"fit\.index or fit\.joint_probabilities"),
        ({"trait": "T1", "env": "e1"}, DataError, r"no environment 'e1'\. Did you mean 'E1'"),
        ({"trait": "T1", "env": ["E1", "E1"]}, UsageError, "twice"),
        ({"trait": "T1", "env": []}, UsageError, "names no environment"),
        ({"trait": "T1", "env": {"E1": -1}}, UsageError, "weight of 'E1' must be a number of at least 0"),
        ({"trait": "T1", "env": {"E1": 0}}, UsageError, "no environment has a weight"),
        ({"trait": "T1", "check": "L1"}, DataError, r"no line 'L1'\. Did you mean 'L01'\? It has 12 lines"),
        ({"trait": "T1", "check": 3}, UsageError, "name of the line must be a text"),
        ({"trait": "T1", "lines": ["L99"]}, DataError, "no line 'L99'"),
        ({"trait": "T1", "lines": []}, UsageError, "names no line"),
        ({"trait": "T1", "top": 0}, UsageError, "top must be a share"),
        ({"trait": "T1", "top": 1.5}, UsageError, "top must be a share"),
        ({"trait": "T1", "top": 13}, UsageError, "top is 13 lines, and there are 12 candidates"),
        ({"trait": "T1", "best": "highest"}, UsageError, "best must be 'high' or 'low'"),
        ({"trait": "T1", "draws": 0}, UsageError, "draws must be a whole number"),
    ],
)
def test_what_cannot_be_ranked_is_refused(given, error, text):
    with pytest.raises(error, match=text):
        make_fit(make_setting(), draws=10).ranking(**given)


def test_without_effects():
    fit = make_fit(make_setting(), keep=False)
    for call in (
        lambda: fit.ranking("T1"),
        lambda: fit.index({"T1": 1}),
        lambda: fit.joint_probabilities(),
        lambda: fit.response(["L01"]),
        lambda: fit.stability("T1"),
        lambda: fit.heritability("cullis"),
    ):
        with pytest.raises(UsageError, match="keep_effects='none'"):
            call()
    assert len(fit.heritability()) == 6
    assert len(fit.correlations()) == 4
