"""Correlations and heritabilities by loops over draws."""

import numpy as np
import pytest

from bmtme import DataError, Relationship, UsageError
from bmtme.decisions.correlations import measure_once
from bmtme.model.contrasts import measure_contrasts
from bmtme.results.summary import diagnose
from tests.helpers.posteriors import condition, make_fit, make_setting, measure_contrast, measure_spread


def draw_C(s, fit):
    """(S, I, L, I, L) of a general fit, in any layout."""
    groups = fit._groups
    if "columns" in groups:
        return groups["columns"]["C"].values.reshape(-1, *s.C.shape)
    return groups["posterior"]["C"].values.reshape(-1, *s.C.shape)


def leave_out(s):
    """T2 is not recorded in E3."""
    s.y[s.plots[:, 1] == 2, 1] = np.nan
    return s


@pytest.fixture(scope="module", params=["all", "absent column"])
def fitted(request):
    s = make_setting(outside=0.3)
    s = leave_out(s) if request.param == "absent column" else s
    return s, make_fit(s, spread=0.2)


def check(table, label, a, b, draws):
    row = table[(table[label[0]] == label[1]) if label[1] else table[label[0]].isna()]
    row = row[(row["a"] == a) & (row["b"] == b)]
    assert len(row) == 1
    numbers = np.mean(draws), np.std(draws, ddof=1), np.quantile(draws, 0.05), np.quantile(draws, 0.95)
    np.testing.assert_allclose(row[["mean", "sd", "lower", "upper"]].to_numpy()[0], numbers, rtol=1e-9, atol=1e-12)


def test_correlations_of_traits(fitted):
    s, fit = fitted
    C, table = draw_C(s, fit), fit.correlations()
    assert table.columns.tolist() == ["env", "a", "b", "mean", "sd", "lower", "upper", "note"]
    for i, env in enumerate(s.envs):
        check(table, ("env", env), "T1", "T2", [c[i, 0, i, 1] / np.sqrt(c[i, 0, i, 0] * c[i, 1, i, 1]) for c in C])
    overall, deviations = [], []
    for c in C:
        mean, own = np.zeros((2, 2)), np.zeros((2, 2))
        for l in range(2):
            for q in range(2):
                mean[l, q] = np.mean([c[i, l, k, q] for i in range(3) for k in range(3)])
                own[l, q] = np.mean([c[i, l, i, q] for i in range(3)]) - mean[l, q]
        overall.append(mean[0, 1] / np.sqrt(mean[0, 0] * mean[1, 1]))
        deviations.append(own[0, 1] / np.sqrt(own[0, 0] * own[1, 1]))
    check(table, ("env", None), "T1", "T2", overall)
    assert len(table) == 4
    check(fit.correlations("interaction"), ("env", None), "T1", "T2", deviations)
    square = fit.correlation_matrix()
    assert square.loc["T1", "T2"] == square.loc["T2", "T1"] == pytest.approx(np.mean(overall))
    assert fit.correlation_matrix(env="E2").loc["T1", "T2"] == pytest.approx(table["mean"][2])
    absent = "no record of T2 in E3"
    assert [absent in note for note in table["note"]] == [False, False, False, "columns" in fit._groups]


def test_correlations_of_environments(fitted):
    s, fit = fitted
    C, table = draw_C(s, fit), fit.correlations(over="env")
    assert len(table) == 6
    for l, trait in enumerate(s.traits):
        for i, k in ((0, 1), (0, 2), (1, 2)):
            draws = [c[i, l, k, l] / np.sqrt(c[i, l, i, l] * c[k, l, k, l]) for c in C]
            check(table, ("trait", trait), s.envs[i], s.envs[k], draws)
    square = fit.correlation_matrix(over="env", trait="T2")
    np.testing.assert_array_equal(np.diag(square), 1.0)
    assert square.loc["E3", "E1"] == pytest.approx(table["mean"][4])
    with pytest.raises(UsageError, match=r"differ by trait: name one of them with trait=, of 'T1', 'T2'"):
        fit.correlation_matrix(over="env")


def test_residual_correlations(fitted):
    s, fit = fitted
    table = fit.correlations("residual")
    for i, env in enumerate(s.envs):
        r = s.R[i, 0, 1] / np.sqrt(s.R[i, 0, 0] * s.R[i, 1, 1])
        assert table.set_index("env").loc[env, "mean"] == pytest.approx(r)
    with pytest.raises(UsageError, match="differ by env: name one of them with env="):
        fit.correlation_matrix("residual")


def test_of_the_paper():
    """Those of traits are the same in every environment, those of environments for every trait."""
    s = make_setting(paper=True)
    fit = make_fit(s, "paper")
    table = fit.correlations()
    St, E = s.C[0, :, 1, :], np.array([s.C[i, 0, i, 0] / s.C[0, 0, 1, 0] - 1 for i in range(3)])
    r = St[0, 1] / np.sqrt(St[0, 0] * St[1, 1])
    assert table["env"].tolist() == [None]
    assert table["mean"][0] == fit.correlation_matrix(env="E1").loc["T1", "T2"] == pytest.approx(r)
    assert fit.correlations("interaction")["mean"][0] == pytest.approx(r)
    assert table["note"][0] == fit.summary().loc["genetic_correlation[T1, T2]", "note"]
    between = fit.correlation_matrix(over="env")
    assert between.loc["E1", "E3"] == pytest.approx(1 / np.sqrt((1 + E[0]) * (1 + E[2])))
    assert fit.correlations("residual")["env"].tolist() == [None]
    summary = fit.summary()
    heritability = fit.heritability()
    for row in heritability.itertuples():
        found = summary.loc[f"heritability[{row.env}, {row.trait}]"]
        assert [row.mean, row.sd, row.lower, row.upper] == pytest.approx(
            found[["mean", "sd", "lower", "upper"]].tolist()
        )


def test_zero_by_the_model():
    fit = make_fit(make_setting(paper=True), "paper")
    fit._groups["posterior"]["Sigma_t"] *= np.eye(2)
    table = fit.correlations()
    assert table["mean"][0] == table["sd"][0] == 0.0
    assert table["note"][0] == "zero by the model"


def test_correlations_that_there_are_not():
    fit, alone = make_fit(make_setting(), draws=10), make_fit(make_setting(), draws=10, alone=True)
    for call, text in (
        (lambda: fit.correlations("phenotypic"), "kind must be one of 'genetic', 'residual', 'interaction'"),
        (lambda: fit.correlations(over="line"), "over must be 'trait' or 'env'"),
        (lambda: fit.correlations("residual", "env"), "of different plots"),
        (lambda: fit.correlations("interaction", "env"), "ask for kind='genetic'"),
        (lambda: fit.correlation_matrix(trait="T1"), "of one env: leave trait= out"),
        (lambda: alone.correlations(), "says nothing of how they correlate"),
        (lambda: make_fit(make_setting(traits=1), draws=10).correlations(), "one trait, 'T1'"),
        (lambda: make_fit(make_setting(envs=1), draws=10).correlations(over="env"), "one environment, 'E1'"),
        (lambda: make_fit(make_setting(envs=1), draws=10).correlations("interaction"), "one environment, and so no"),
    ):
        with pytest.raises(UsageError, match=text):
            call()
    with pytest.raises(DataError, match=r"no trait 't2'\. Did you mean 'T2'"):
        fit.correlation_matrix(over="env", trait="t2")
    assert len(alone.correlations(over="env")) == 6


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("population", ["trial", "base"])
def test_heritability_of_records_and_means(population, alone):
    """Of unequal numbers of plots and environments."""
    s = leave_out(make_setting(outside=0.3))
    s.plots[0, 1] = 1  # one more plot there
    fit = make_fit(s, spread=0.2, alone=alone)
    record, mean = (fit.heritability(kind, population) for kind in ("record", "mean"))
    names = ["env", "trait", "mean", "sd", "lower", "upper", "note"]
    assert record.columns.tolist() == mean.columns.tolist() == names
    for l, trait in enumerate(s.traits):
        part = s.take_trait(l) if alone else s
        c = 1.0 if population == "base" else measure_spread(s.G, part.known)
        if alone:
            C = fit._groups["posterior"]["C"].sel(trait=trait).values.reshape(-1, 3, 3)
        else:
            C = draw_C(s, fit)[:, :, l, :, l]
        r, R = s.Sigma_r[l, l], s.R[:, l, l]
        for i, env in enumerate(s.envs):
            draws = [(c * x[i, i] + r) / (c * x[i, i] + r + R[i]) for x in C]
            row = record[(record["env"] == env) & (record["trait"] == trait)].iloc[0]
            assert row["mean"] == pytest.approx(np.mean(draws))
            assert row["lower"] == pytest.approx(np.quantile(draws, 0.05))
        envs = [0, 1] if l == 1 else [0, 1, 2]
        draws = []
        for x in C:
            off = np.mean([x[i, k] for i in envs for k in envs if i != k])
            V_g, V = c * off + r, c * np.mean([x[i, i] for i in envs]) + r
            interaction, noise = [], []
            for j in range(len(s.G)):
                plots = {i: 0 for i in envs}
                for (line, i), y in zip(s.plots, s.y, strict=True):
                    if line == j and i in envs and not np.isnan(y[l]):
                        plots[i] += 1
                seen = [i for i in envs if plots[i]]
                if seen:
                    interaction.append(1 / len(seen))
                    noise.append(sum(R[i] / plots[i] for i in seen) / len(seen) ** 2)
            draws.append(V_g / (V_g + (V - V_g) * np.mean(interaction) + np.mean(noise)))
        row = mean[mean["trait"] == trait].iloc[0]
        assert row["env"] is None
        assert row["mean"] == pytest.approx(np.mean(draws))
        assert row["sd"] == pytest.approx(np.std(draws, ddof=1))


def test_notes_of_heritabilities():
    """Of one environment that of the summary; over several, where the prior alone speaks."""
    fit = make_fit(make_setting(paper=True), "paper")
    reason = "nothing tells it"
    fit.run["facts"]["prior_only"] = {f"heritability[{env}, T1]": reason for env in ("E1", "E3")}
    fit.run["facts"]["prior_only"]["heritability[E2, T2]"] = "nor this"
    known = fit.summary()["note"]
    for population in ("trial", "base"):
        for row in fit.heritability(population=population).itertuples():
            assert row.note == known[f"heritability[{row.env}, {row.trait}]"]
            assert ("prior only" in row.note) == ((row.env, row.trait) in {("E1", "T1"), ("E3", "T1"), ("E2", "T2")})
    for kind in ("mean", "cullis"):
        notes = fit.heritability(kind)["note"].tolist()
        assert notes == [f"prior only: {reason} (E1, E3)", "prior only: nor this (E2)"]
        assert fit.heritability(kind, env=["E1", "E2"])["note"].tolist()[0] == f"prior only: {reason} (E1)"
        assert fit.heritability(kind, env=["E2"])["note"].tolist()[0] == known["heritability[E2, T1]"]


def test_fits_from_before_a_variable():
    fit = make_fit(make_setting(), draws=10)
    fit.run["versions"] = {"bmtme": "0.1"}
    fit._groups["constant_data"] = fit._groups["constant_data"].drop_vars("relationship_contrast")
    with pytest.raises(DataError, match=r"is of bmtme 0\.1, which did not keep 'relationship_contrast'.*again"):
        fit.ranking("T1")
    assert len(fit.heritability()) == 6


def test_an_entry_mean_of_a_balanced_trial():
    """V_g / (V_g + V_ge / I + R / (I r)) with one number of plots."""
    s = make_setting(paper=True, traits=1)
    s.plots = np.array([(j, i) for j in range(10) for i in range(3) for _ in range(4)])
    s.y = np.random.default_rng(1).normal(size=(120, 1))
    fit = make_fit(s, "paper", spread=0.0)
    c, C, R = measure_spread(s.G, s.known), s.C[:, 0, :, 0], s.R[0, 0, 0]
    V_g = c * C[0, 1]
    V_ge = c * np.diag(C).mean() - V_g
    assert fit.heritability("mean")["mean"][0] == pytest.approx(V_g / (V_g + V_ge / 3 + R / 12))
    one = fit.heritability("mean", env="E2")
    assert one["mean"][0] == pytest.approx(c * C[1, 1] / (c * C[1, 1] + R / 4))
    assert one["env"][0] == "E2"


def test_cullis_against_the_dense_posterior():
    """Mean posterior variance of a difference, pair by pair, with draws at fixed covariances."""
    s = make_setting(outside=0.3)
    fit = make_fit(s, draws=4000, spread=0.0)
    _, covariance = condition(s)
    J, M = len(s.G), 6
    for env, w in ((None, np.full(3, 1 / 3)), ("E2", np.array([0.0, 1.0, 0.0]))):
        found = fit.heritability("cullis", env=env).set_index("trait")["mean"]
        for l, trait in enumerate(s.traits):
            variances = []
            for j in s.known:
                for k in s.known:
                    if j < k:
                        t = np.zeros(len(covariance))
                        for i in range(3):
                            t[M + j * M + 2 * i + l], t[M + k * M + 2 * i + l] = w[i], -w[i]
                        t[M + J * M + 2 * j + l], t[M + J * M + 2 * k + l] = 1.0, -1.0
                        variances.append(t @ covariance @ t)
            sigma2 = measure_spread(s.G, s.known) * w @ s.C[:, l, :, l] @ w + s.Sigma_r[l, l]
            assert found[trait] == pytest.approx(1 - np.mean(variances) / (2 * sigma2), abs=0.03)


def test_heritabilities_that_there_are_not():
    fit = make_fit(leave_out(make_setting()), draws=10)
    for call, text in (
        (lambda: fit.heritability("narrow"), "kind must be one of 'record', 'mean', 'cullis'"),
        (lambda: fit.heritability(population="all"), "population must be 'trial' or 'base'"),
        (lambda: fit.heritability("cullis", "base"), "of the lines of a trial"),
        (lambda: fit.heritability("mean", env="E3"), "'T2' has no record in these environments"),
        (lambda: fit.heritability("mean", env={"E1": 2, "E2": 1}), "count alike"),
    ):
        with pytest.raises(UsageError, match=text):
            call()


@pytest.mark.parametrize("identity", [False, True])
def test_contrasts_by_hand(identity):
    """Against t'G t, whatever the order of the relationship, and where a constant is added to it."""
    rng = np.random.default_rng(1)
    Z = rng.normal(size=(400, 500))
    G = np.eye(400) if identity else Z @ Z.T / 500
    lines = [f"L{n:03d}" for n in rng.permutation(400)]
    known = sorted(rng.choice(lines, 150, replace=False).tolist())
    relationship = Relationship.identity(lines) if identity else Relationship(G, lines=lines)
    found = measure_contrasts(relationship, known)
    places = np.array([lines.index(name) for name in known])
    np.testing.assert_allclose(found, [measure_contrast(G, places, j) for j in range(400)], rtol=1e-10)
    if not identity:
        order = rng.permutation(400)
        other = Relationship(np.array(relationship.matrix)[np.ix_(order, order)], lines=[lines[n] for n in order])
        np.testing.assert_array_equal(measure_contrasts(other, known), found[order])
        np.testing.assert_allclose(measure_contrasts(Relationship(G + 3.0, lines=lines), known), found, rtol=1e-9)


def test_diagnostics_are_computed_once():
    """Of pairs with the same draws once, and of pairs that a summary knows not at all."""
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(6, 2, 50)).cumsum(axis=2)  # chains that move slowly, each pair in its own way
    draws[3] = draws[1] + 1e-12
    draws[5] = draws[0]
    wanted = [True, True, False, True, True, False]
    measured, plain = measure_once(draws, wanted), diagnose(draws)
    for found, own in zip(measured, plain, strict=True):
        np.testing.assert_allclose(found[[0, 1, 3, 4]], own[[0, 1, 3, 4]], rtol=1e-6)
        assert np.isnan(found[[2, 5]]).all()
    assert len(np.unique(measured[2][[0, 1, 4]])) == 3
