"""What a fit tells, against the model written out in full, designs worked by hand, and published analyses."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import bmtme
from bmtme import mixed
from bmtme.errors import UsageError
from bmtme.results.record import read_record
from tests.results.mixed.dense import Dense, project

FITS = ("simple", "rich", "pair")


@pytest.fixture(params=FITS)
def fit(request) -> mixed.MixedFit:
    return request.getfixturevalue(request.param)


# --- against the model written out --------------------------------------------------------------------------------


def test_likelihoods(fit):
    dense = Dense(fit)
    n, rank = len(dense.y), len(dense.kept)
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(dense.log_likelihood, abs=1e-8)
    full = dense.log_likelihood - 0.5 * (n - rank) * math.log(2 * math.pi)
    assert fit.log_likelihood_full == pytest.approx(full, abs=1e-8)
    k = len(fit.components)  # as many as parameters, in these models
    assert fit.n_parameters == k
    assert fit.aic == pytest.approx(-2 * dense.log_likelihood + 2 * k)
    assert fit.bic == pytest.approx(-2 * dense.log_likelihood + k * math.log(n - rank))


def test_no_parameters_do_better(fit):
    """The estimates are the maximum: a step of any of them lowers the likelihood that is written out."""
    table = fit.components
    for k in np.flatnonzero(table["bound"] == ""):
        for factor in (0.99, 1.01):
            moved = table.copy()
            moved.loc[k, "estimate"] *= factor
            assert Dense(fit, moved).log_likelihood < fit.log_likelihood + 1e-9


def test_components(fit):
    table = fit.components
    assert table.columns.tolist() == ["term", "parameter", "estimate", "se", "z", "bound"]
    assert set(table["bound"]) <= {"", "boundary", "fixed"}
    residual = table["term"].str.contains("units")
    assert residual.iloc[-1]
    assert residual.is_monotonic_increasing
    free = (table["bound"] == "").to_numpy()
    spread = np.linalg.inv(Dense(fit).information()[np.ix_(free, free)])
    np.testing.assert_allclose(table["se"][free], np.sqrt(np.diag(spread)), rtol=1e-4)
    np.testing.assert_allclose(table["z"][free], (table["estimate"] / table["se"])[free])


def test_fixed_effects(fit):
    dense, table = Dense(fit), fit.fixed_effects
    assert table.columns.tolist() == ["term", "effect", "estimate", "se", "z", "note"]
    assert table["effect"].tolist() == list(fit.layout.columns.names)
    np.testing.assert_allclose(table["estimate"][dense.kept], dense.b, rtol=1e-7)
    np.testing.assert_allclose(table["se"][dense.kept], np.sqrt(np.diag(dense.C)), rtol=1e-7)
    others = np.setdiff1d(np.arange(len(table)), dense.kept)
    assert (table["note"][others] == "sum of earlier ones").all()
    assert table["estimate"][others].isna().all()
    assert any("sum" in note for note in fit.notes) == bool(len(others))


def test_blups(fit):
    dense = Dense(fit)
    for place, design in enumerate(fit.layout.random):
        table = fit.blup(design.name)
        u, pev = dense.effects(place)
        np.testing.assert_allclose(table["blup"], u, atol=1e-8)
        np.testing.assert_allclose(table["pev"], np.diag(pev), rtol=1e-6, atol=1e-10)
        np.testing.assert_allclose(table["se"] ** 2, table["pev"])
        prior = np.diag(dense.G[place])
        np.testing.assert_allclose(table["reliability"], np.clip(1 - np.diag(pev) / prior, 0, 1), atol=1e-6)
        np.testing.assert_array_equal(table["n"], dense.Z[place].sum(axis=0))


def test_levels_of_blups(rich, pair, relationship):
    table = rich.blup("known(line)")
    assert table["line"].tolist() == list(relationship.lines)  # those without records too
    assert rich.blup("line").equals(table)
    assert rich.blup("at(site, 'N'):col").columns.tolist()[:2] == ["site", "col"]
    assert pair.blup("trait:line")[["trait", "line"]].values.tolist()[5:7] == [["yield", "L5"], ["height", "L0"]]
    with pytest.raises(UsageError, match="no random term 'lien'"):
        rich.blup("lien")


def test_residuals(fit, series):
    dense, table = Dense(fit), fit.residuals()
    fitted = dense.X @ dense.b
    for place, Z in enumerate(dense.Z):
        fitted = fitted + Z @ dense.effects(place)[0]
    rows = fit.layout.rows
    trait = np.zeros(len(rows)) if fit.layout.trait is None else fit.layout.trait.codes
    order = np.lexsort([trait, rows])
    assert table["row_of_table"].tolist() == list(map(str, rows[order]))
    np.testing.assert_allclose(table["residual"], (dense.y - fitted)[order], atol=1e-8)
    np.testing.assert_allclose(table["observed"], table["fitted"] + table["residual"])
    R = dense.V - sum(Z @ G @ Z.T for Z, G in zip(dense.Z, dense.G, strict=True))
    left = np.diag(R @ dense.P @ R)
    np.testing.assert_allclose(table["standardised"], table["residual"] / np.sqrt(left[order]), rtol=1e-6)


def test_wald(fit):
    """Sums of squares as gains of generalised least squares, column by column; degrees of freedom of one column."""
    dense, table = Dense(fit), fit.wald()
    half = np.linalg.cholesky(dense.Q).T
    X, y = half @ dense.X, half @ dense.y
    terms = fit.fixed_effects["term"][dense.kept].tolist()
    for k, row in enumerate(table.to_dict("records")):
        own = [j for j, term in enumerate(terms) if term == row["term"]]
        assert row["df"] == len(own)
        if not own:
            continue
        before = [j for j, term in enumerate(terms) if term in table["term"].tolist()[:k]]
        gain = np.sum(project(X[:, [*before, *own]], y) ** 2) - np.sum(project(X[:, before], y) ** 2 if before else 0.0)
        assert row["wald"] == pytest.approx(gain, rel=1e-6)
        assert row["f"] == pytest.approx(gain / len(own), rel=1e-6)
    last = table.iloc[-1] if table["df"].iloc[-1] == 1 else None
    if last is not None and (fit.components["bound"] == "").all():
        (own,) = [j for j, term in enumerate(terms) if term == last["term"]]
        H = np.eye(1, len(terms), own)
        slopes = dense.slopes_of_fixed(H)[:, 0, 0]
        spread = np.linalg.inv(dense.information())
        satterthwaite = 2 * dense.C[own, own] ** 2 / (slopes @ spread @ slopes)
        assert last["den_df"] == pytest.approx(satterthwaite, rel=1e-3)
        assert last["p"] == pytest.approx(scipy.stats.f.sf(last["f"], 1, last["den_df"]))


def test_conditional_tests_leave_out_what_contains_the_term(series):
    fit = mixed.Model("yield ~ line + site + line:site", "site:col").fit(series)
    dense, table = Dense(fit), fit.wald().set_index("term")
    half = np.linalg.cholesky(dense.Q).T
    X, y = half @ dense.X, half @ dense.y
    terms = np.array(fit.fixed_effects["term"])[dense.kept]

    def explain(*names):
        return np.sum(project(X[:, np.isin(terms, names)], y) ** 2)

    wanted = {
        "line": explain("Intercept", "site", "line") - explain("Intercept", "site"),
        "site": explain("Intercept", "site", "line") - explain("Intercept", "line"),
        "line:site": explain("Intercept", "site", "line", "line:site") - explain("Intercept", "site", "line"),
    }
    for name, gain in wanted.items():
        assert table["f_conditional"][name] * table["df"][name] == pytest.approx(gain, rel=1e-6)
    assert table["wald"]["line"] == pytest.approx(explain("Intercept", "line") - explain("Intercept"), rel=1e-6)


def test_functions_of_parameters(simple, pair):
    g, c, e = simple.components["estimate"]
    ratio = simple.derive("line / (line + site:col + residual)")
    assert ratio.estimate == pytest.approx(g / (g + c + e))
    spread = np.linalg.inv(Dense(simple).information())
    total = g + c + e
    slopes = np.array([(total - g) / total**2, -g / total**2, -g / total**2])
    if (simple.components["bound"] == "").all():
        assert ratio.se == pytest.approx(math.sqrt(slopes @ spread @ slopes), rel=1e-3)
    text = "us(trait):units[height, yield] / sqrt(us(trait):units[yield] * us(trait):units[variance height])"
    table = pair.components.set_index(["term", "parameter"])["estimate"]["us(trait):units"]
    correlation = table["covariance height, yield"] / math.sqrt(table["variance yield"] * table["variance height"])
    assert pair.derive(text).estimate == pytest.approx(correlation)
    assert pair.derive("-2 + exp(log(3)) ** 2").estimate == pytest.approx(7)


def test_correlations(pair):
    """Those of expressions, and as a square."""
    table = pair.correlations("us(trait):units")
    text = "us(trait):units[height, yield] / sqrt(us(trait):units[yield] * us(trait):units[height])"
    r = pair.derive(text)
    assert table[["a", "b"]].to_numpy().tolist() == [["yield", "height"]]
    assert table["correlation"].item() == pytest.approx(r.estimate)
    assert table["se"].item() == pytest.approx(r.se)
    square = pair.correlation_matrix("us(trait):units")
    assert (square.index.tolist(), square.loc["height", "yield"]) == (["yield", "height"], table["correlation"].item())
    with pytest.raises(UsageError, match="has no correlations between levels"):
        pair.correlations("diag(trait):line")


def test_correlations_of_factors():
    """One factor of three levels is any covariance: the same correlations, with the same errors."""
    rng = np.random.default_rng(12)
    u = rng.multivariate_normal(np.zeros(3), [[1, 0.5, 0.6], [0.5, 1, 0.4], [0.6, 0.4, 1]], 40)
    rows = [(f"s{s}", f"L{j}", u[j, s] + rng.normal(0, 0.7)) for j in range(40) for s in range(3) for _ in range(2)]
    plots = pd.DataFrame(rows, columns=["site", "line", "y"])
    us, fa = (mixed.Model("y ~ site", f"{what}:line").fit(plots) for what in ("us(site)", "fa(site, 1)"))
    assert us.log_likelihood == pytest.approx(fa.log_likelihood, abs=1e-6)
    one, two = us.correlations("us(site):line"), fa.correlations("fa(site, 1):line")
    pd.testing.assert_frame_equal(one, two, rtol=1e-3)


def test_what_cannot_be_told_is_refused(series):
    """One mean of each line at each site: variances of lines at sites and of residuals are one."""
    means = series.dropna(subset=["yield"]).groupby(["site", "line"], as_index=False)["yield"].mean()
    two = mixed.Model("yield ~ site", "us(site):line", "units | site").fit(means)
    for ask in (two.heritability, two.correlations, lambda term: two.heritability(term, "cullis")):
        with pytest.raises(UsageError, match=r"cannot be told: the data do not tell 'us\(site\):line"):
            ask("us(site):line")
    one = mixed.Model("yield ~ site", "line", "units").fit(means)
    assert "the degrees of freedom count as parameters of the larger model" in two.lrt(one)["note"].item()


@pytest.mark.parametrize(
    "text, words",
    [
        ("lien / 2", "names 'lien', which is no parameter. Did you mean 'line'?"),
        ("line +", "cannot be read"),
        ("line[A]", "no variance of line"),
        ("sin(line)", "names 'sin'"),
        ("line.real", "names 'line.real'"),
        ("[line]", "not understood"),
        ("line ** line", "not understood"),
    ],
)
def test_functions_that_cannot_be_read(simple, text, words):
    with pytest.raises(UsageError) as raised:
        simple.derive(text)
    assert words in str(raised.value)


def test_several_residual_variances_have_to_be_named(rich):
    with pytest.raises(UsageError, match="the residual has 2 variances: name the one that is meant"):
        rich.derive("residual")
    assert rich.derive('at(site, "N"):units').estimate == rich.components["estimate"].iloc[-3]


# --- means --------------------------------------------------------------------------------------------------------


def test_means_over_the_levels_of_other_factors(rich):
    """Lines at the mean of the two sites and of the covariate, with their effects; errors from all of C."""
    dense = Dense(rich)
    table, covariance = rich.predict("line", cov=True)
    x = np.array([1.0, 0.5, rich.layout.columns.matrix.toarray()[:, 2].mean()])
    u, pev = dense.effects(0)
    np.testing.assert_allclose(table.set_index("line")["mean"][list(rich.blup("line")["line"])], x @ dense.b + u)
    assert table["estimable"].all()
    assert table.attrs["averaged"] == ("site",)
    assert table.attrs["held"] == ("stand",)
    assert table.attrs["ignored"] == ('at(site, "N"):col',)
    # Var(x'b_hat + u_hat - u) with cov(b_hat, u_hat - u) = -C X'Q Z G.
    cross = -dense.C @ dense.X.T @ dense.Q @ dense.Z[0] @ dense.G[0]
    errors = x @ dense.C @ x + (x @ cross)[:, None] + (x @ cross)[None, :] + pev
    order = [list(rich.blup("line")["line"]).index(name) for name in table["line"]]
    np.testing.assert_allclose(covariance, errors[np.ix_(order, order)], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(table["se"] ** 2, np.diag(covariance))


def test_means_contain_terms_over_what_is_averaged(series):
    """Lines over sites are the means of lines at sites, with an effect of each; what is left out is said."""
    fit = mixed.Model("yield ~ site", "us(site):line + site:col").fit(series)
    with pytest.warns(UserWarning, match=r"these means leave out 'site:col', whose effects stand at zero"):
        each = fit.predict("site:line")
    table = fit.predict("line")
    assert table["mean"].nunique() == len(table)
    np.testing.assert_allclose(table["mean"], each.groupby("line")["mean"].mean()[table["line"]], rtol=1e-9)


def test_numbers_of_a_factor_are_averaged(series):
    """A year as a number in C() is a factor like any other: means of others are over its levels, not at its mean."""
    plots = series.assign(year=np.where(series["site"] == "S", 2021, 2019))
    text, number = (mixed.Model(f"yield ~ {year} + stand", "line").fit(plots) for year in ("site", "C(year)"))
    np.testing.assert_allclose(number.predict("line")["mean"], text.predict("line")["mean"], rtol=1e-9)
    assert number.predict("line").attrs["averaged"] == ("year",)
    assert number.predict("year")["year"].tolist() == ["2019", "2021"]


def test_differences_of_means(series):
    """Their standard error over all pairs, and the least significant one by the F test's degrees of freedom."""
    fit = mixed.Model("yield ~ site + line", "site:col").fit(series)
    table, covariance = fit.predict("line", cov=True)
    m = len(table)
    squares = [covariance[i, i] + covariance[j, j] - 2 * covariance[i, j] for i in range(m) for j in range(i)]
    assert table.attrs["sed"] == pytest.approx(math.sqrt(np.mean(squares)))
    df = fit.wald().set_index("term").loc["line", "den_df"]
    assert table.attrs["lsd_df"] == df
    assert table.attrs["lsd"] == pytest.approx(scipy.stats.t.ppf(0.975, df) * table.attrs["sed"])
    assert "lsd" not in mixed.Model("yield ~ site", "line").fit(series).predict("line").attrs


def test_means_of_a_factor_never_mix_traits(pair):
    with pytest.raises(UsageError, match=r"taken over the traits .* different units: name trait:site"):
        pair.predict("site")


def test_traits_without_means_of_their_own_are_told(series):
    fit = mixed.Model("yield + height ~ site", "us(trait):line", "us(trait):units").fit(series)
    assert any("all traits share their fixed effects" in note for note in fit.notes)


def test_means_that_are_not_estimable(series):
    plots = series[~((series["site"] == "S") & (series["line"] == "L3"))]
    fit = mixed.Model("yield ~ site + site:line").fit(plots)
    table = fit.predict("site:line")
    lost = (table["site"] == "S") & (table["line"] == "L3")
    assert table["estimable"].tolist() == (~lost).tolist()
    assert table["mean"].isna().tolist() == lost.tolist()
    assert table["note"][lost].tolist() == ["not estimable: no data tell site[S]:line[T.L3]"]
    assert (table["note"][~lost] == "").all()
    cells = plots.dropna(subset=["yield"]).groupby(["site", "line"])["yield"].mean()
    found = table[~lost].set_index(["site", "line"])["mean"]
    np.testing.assert_allclose(found, cells[found.index])  # of a full factorial they are the cells' means
    _, covariance = fit.predict("line", cov=True)
    assert np.isnan(covariance[3]).all()
    assert np.isfinite(np.delete(np.delete(covariance, 3, 0), 3, 1)).all()


@pytest.mark.parametrize("words, message", [
    ("lien", "no such factor. Did you mean 'line'?"), ("stand", "it is a covariate"), ("us(site):line", "joined by"),
    ("site + line", "joined by"), ("units", "no such factor"),
])  # fmt: skip
def test_means_that_cannot_be_taken(simple, words, message):
    with pytest.raises(UsageError) as raised:
        simple.predict(words)
    assert message in str(raised.value)


# --- designs by hand ----------------------------------------------------------------------------------------------


def make_blocks(lines: int = 5, blocks: int = 4, seed: int = 11) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    u, b = rng.normal(0, 1.5, lines), rng.normal(0, 1.0, blocks)
    rows = [(f"L{j}", f"B{k}", 10 + u[j] + b[k] + rng.normal()) for j in range(lines) for k in range(blocks)]
    return pd.DataFrame(rows, columns=["line", "block", "y"])


def test_randomised_blocks():
    """Variances, F and its degrees of freedom, heritabilities: those of the analysis of variance."""
    plots, J, K = make_blocks(), 5, 4
    y = plots.pivot(index="line", columns="block", values="y").to_numpy()
    rest = y - y.mean(1, keepdims=True) - y.mean(0) + y.mean()
    ms_line = K * np.sum((y.mean(1) - y.mean()) ** 2) / (J - 1)
    ms_block = J * np.sum((y.mean(0) - y.mean()) ** 2) / (K - 1)
    ms_rest = np.sum(rest**2) / ((J - 1) * (K - 1))
    fixed = mixed.Model("y ~ line", "block").fit(plots)
    np.testing.assert_allclose(fixed.components["estimate"], [(ms_block - ms_rest) / J, ms_rest], rtol=1e-4)
    wald = fixed.wald().set_index("term")
    assert wald["f"]["line"] == pytest.approx(ms_line / ms_rest, rel=1e-4)
    assert wald["den_df"]["line"] == pytest.approx((J - 1) * (K - 1), rel=1e-3)
    assert wald["p"]["line"] == pytest.approx(scipy.stats.f.sf(ms_line / ms_rest, J - 1, (J - 1) * (K - 1)), rel=1e-3)
    random = mixed.Model("y ~ block", "line").fit(plots)
    g = (ms_line - ms_rest) / K
    record, mean, cullis = (
        random.heritability("line", kind)["estimate"].item() for kind in ("record", "mean", "cullis")
    )
    assert record == pytest.approx(g / (g + ms_rest), rel=1e-4)
    assert mean == pytest.approx(g / (g + ms_rest / K), rel=1e-4)
    assert cullis == pytest.approx(mean, rel=1e-4)  # the same in balanced trials
    said = [random.heritability("line", kind)["denominator"].item() for kind in ("record", "mean", "cullis")]
    assert said == ["line + units", "line + units / 4", "variance of a difference"]
    table = random.predict("line")
    shrunk = y.mean() + mean * (y.mean(1) - y.mean())
    np.testing.assert_allclose(table["mean"], shrunk, rtol=1e-4)


def test_split_plots():
    """Each stratum has its error: the whole plots' factor is tested in fewer degrees of freedom."""
    rng = np.random.default_rng(5)
    rows = []
    for block in range(4):
        for a in range(3):
            whole = rng.normal(0, 1.2)
            rows += [(f"b{block}", f"a{a}", f"s{s}", 0.5 * a + whole + rng.normal(0, 0.8)) for s in range(3)]
    plots = pd.DataFrame(rows, columns=["block", "a", "s", "y"])
    wald = mixed.Model("y ~ block + a * s", "block:a").fit(plots).wald().set_index("term")
    y = plots["y"].to_numpy().reshape(4, 3, 3)
    ms_a = 12 * np.var(y.mean((0, 2)), ddof=1)
    whole = y.mean(2) - y.mean((1, 2))[:, None] - y.mean((0, 2)) + y.mean()
    ms_whole = 3 * np.sum(whole**2) / 6
    assert wald["f"]["a"] == pytest.approx(ms_a / ms_whole, rel=1e-3)
    assert wald["den_df"]["a"] == pytest.approx(6, rel=1e-2)
    assert wald["den_df"]["s"] == pytest.approx(18, rel=1e-2)
    assert wald["den_df"]["a:s"] == pytest.approx(18, rel=1e-2)
    assert wald["df"].tolist() == [1, 3, 2, 2, 4]


def test_heritability_over_a_relationship(rich, relationship):
    """By errors of differences, pair by pair; in each section by its residual."""
    dense = Dense(rich)
    G = relationship.matrix
    _, pev = dense.effects(0)
    recorded = [j for j, line in enumerate(relationship.lines) if not line.startswith("new")]
    pairs = [(i, j) for i in recorded for j in recorded if i < j]
    error = np.mean([pev[i, i] + pev[j, j] - 2 * pev[i, j] for i, j in pairs])
    spread = np.mean([G[i, i] + G[j, j] - 2 * G[i, j] for i, j in pairs]) * rich.components["estimate"][0]
    assert rich.heritability("line", "cullis")["estimate"].item() == pytest.approx(1 - error / spread, rel=1e-6)
    table = rich.heritability("line").set_index("level")["estimate"]
    values = rich.components.set_index(["term", "parameter"])["estimate"]
    g = values["known(line)", "variance"]
    assert table["N"] == pytest.approx(g / (g + values['at(site, "N"):units', "variance"]))
    assert table["S"] == pytest.approx(g / (g + values['at(site, "S"):col:ar1(row):units', "variance"]))
    with pytest.raises(UsageError, match="kind must be one of"):
        rich.heritability("line", "plot")


def test_heritability_of_a_mean_over_sites(series):
    """Harmonic means of plots and sites of each line, with the interaction."""
    fit = mixed.Model("yield ~ site", "line + site:line").fit(series)
    g, ge, e = fit.components["estimate"]
    plots = series.dropna(subset=["yield"])
    n = np.mean(1 / plots.groupby("line").size())
    sites = np.mean(1 / plots.groupby("line")["site"].nunique())
    found = fit.heritability("line", "mean")["estimate"].item()
    assert found == pytest.approx(g / (g + ge * sites + e * n), rel=1e-9)


def test_heritability_of_means_that_have_weights(series):
    """Records of weight four are four plots each: the model without weights, of plots of four times the variance."""
    model = mixed.Model("yield ~ site", "line")
    plain, weighted = model.fit(series), model.fit(series.assign(w=4.0), weights="w")
    found = [fit.heritability("line", "mean")["estimate"].item() for fit in (plain, weighted)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_nugget_is_a_part_of_the_residual(series):
    fit = mixed.Model("yield ~ site", "line + units", "ar1(col):ar1(row) | site").fit(series)
    values = fit.components.set_index(["term", "parameter"])["estimate"]
    g, nugget = values["line", "variance"], values["units", "variance"]
    e = values['at(site, "N"):ar1(col):ar1(row):units', "variance"]
    found = fit.heritability("line").set_index("level")["estimate"]["N"]
    assert found == pytest.approx(g / (g + nugget + e))


def test_heritability_of_each_trait_in_each_section(series):
    fit = mixed.Model("yield + height ~ trait:site", "us(trait):line", "us(trait):units | site").fit(series)
    table = fit.heritability("trait:line").set_index("level")["estimate"]
    values = fit.components.set_index(["term", "parameter"])["estimate"]
    assert table.index.tolist() == ["yield, N", "yield, S", "height, N", "height, S"]
    for level, found in table.items():
        trait, site = level.split(", ")
        g = values["us(trait):line", f"variance {trait}"]
        assert found == pytest.approx(g / (g + values[f'at(site, "{site}"):us(trait):units', f"variance {trait}"]))


def test_weights():
    """A mean of n plots with weight n counts as much as its plots."""
    rng = np.random.default_rng(2)
    plots = pd.DataFrame({"line": np.repeat([f"L{j}" for j in range(8)], 5), "site": np.tile(list("AABBB"), 8)})
    plots["y"] = np.repeat(rng.normal(0, 1, 8), 5) + rng.normal(0, 1, 40) + rng.normal(0, 0.3, 40)
    cells = plots.groupby(["line", "site"])["y"].agg(["mean", "size"]).reset_index()
    model = mixed.Model("mean ~ site", "line")
    fit = model.fit(cells, weights="size")
    dense = Dense(fit)
    assert fit.log_likelihood == pytest.approx(dense.log_likelihood, abs=1e-8)
    np.testing.assert_allclose(fit.fixed_effects["estimate"], dense.b, rtol=1e-8)
    assert fit.log_likelihood != pytest.approx(model.fit(cells).log_likelihood, abs=1e-3)
    R = np.diag(fit.components["estimate"].iloc[-1] / fit.layout.weights)
    standardised = R @ dense.P @ dense.y / np.sqrt(np.diag(R @ dense.P @ R))
    np.testing.assert_allclose(np.sort(fit.residuals()["standardised"]), np.sort(standardised), rtol=1e-8)


def test_rows_in_another_order_give_the_same_digits(series, rich, relationship):
    model = mixed.Model(str(rich.fixed), rich.random, rich.residual, {"line": relationship})
    other = model.fit(series.sample(frac=1, random_state=4))
    assert other.log_likelihood == rich.log_likelihood
    pd.testing.assert_frame_equal(other.components, rich.components, check_exact=True)
    pd.testing.assert_frame_equal(other.blup("line"), rich.blup("line"), check_exact=True)


# --- the field ----------------------------------------------------------------------------------------------------


def test_variogram(series):
    fit = mixed.Model("yield ~ site", residual="ar1(col):ar1(row) | site").fit(series)
    e = fit.residuals().set_index("row_of_table")["residual"]
    places = series.loc[e.index.astype(int), ["site", "col", "row"]].astype({"col": int, "row": int}).to_numpy()
    table = fit.variogram()
    assert table["section"].value_counts().to_dict() == {"N": 5 * 4 - 1, "S": 4 * 4 - 1}
    for section, col, row, n, gamma in table.itertuples(index=False):
        squares = [
            (e.iloc[i] - e.iloc[j]) ** 2
            for i in range(len(e))
            for j in range(i)
            if places[i][0] == places[j][0] == section
            and abs(places[i][1] - places[j][1]) == col
            and abs(places[i][2] - places[j][2]) == row
        ]
        assert n == len(squares)
        assert gamma == pytest.approx(0.5 * np.mean(squares))
    with pytest.raises(UsageError, match="no rows and columns of a field"):
        mixed.Model("yield ~ site").fit(series).variogram()


def test_field_map(rich, no_windows):
    figure = rich.plot_field(axes=("col", "row"))
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [panel.get_title(loc="left") for panel in panels] == ["N", "S"]
    image = np.asarray(panels[0].images[0].get_array().filled(np.nan))
    assert image.shape == (4, 5)
    e = rich.residuals().set_index("row_of_table")["residual"]
    assert image[2, 1] == pytest.approx(e["6"])
    assert np.isnan(image[3, 0])


# --- published ----------------------------------------------------------------------------------------------------


def digits(text: str) -> float:
    """A unit of the last digit."""
    return 1.1 * 10.0 ** -len(text.partition(".")[2])


def check(fit, log_likelihood: str, **components: str) -> None:
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(float(log_likelihood), abs=max(1e-3, digits(log_likelihood)))
    values = {f"{row.term} {row.parameter}": row.estimate for row in fit.components.itertuples()}
    for name, text in components.items():
        # ASReml stops where parameters still move in the fourth digit.
        assert values[name] == pytest.approx(float(text), abs=max(digits(text), 5e-4 * abs(float(text)))), name


def test_dyestuff():
    """Batches of dyestuff (Davies 1947), as lme4 has them: REML criterion 319.6543."""
    strengths = """1545 1440 1440 1520 1580  1540 1555 1490 1560 1495  1595 1550 1605 1510 1560
        1445 1440 1595 1465 1545  1595 1630 1515 1635 1625  1520 1455 1450 1480 1445"""
    plots = pd.DataFrame({"Batch": np.repeat(list("ABCDEF"), 5), "Yield": list(map(int, strengths.split()))})
    fit = mixed.Model("Yield ~ 1", "Batch").fit(plots)
    assert -2 * fit.log_likelihood_full == pytest.approx(319.6543, abs=5e-5)
    np.testing.assert_allclose(fit.components["estimate"], [1764.05, 2451.25], rtol=1e-5)
    assert fit.fixed_effects["se"].item() == pytest.approx(19.383, abs=5e-4)


def test_field_trials(data_file):
    nin = pd.read_csv(data_file("field_trials/stroup_nin.csv"))
    field = "ar1(col):ar1(row):units"
    check(
        mixed.Model("yield ~ gen", residual="ar1(col):ar1(row)").fit(nin),
        "-399.3238",
        **{f"{field} variance": "48.71", f"{field} autocorrelation col": "0.65552"},
        **{f"{field} autocorrelation row": "0.43746"},
    )
    burgueno = pd.read_csv(data_file("field_trials/burgueno_rowcol.csv"))
    names = {"rep variance": "0.1916", "rep:row variance": "0.1646", "rep:col variance": "0.2189"}
    check(
        mixed.Model("yield ~ gen", "rep + rep:row + rep:col").fit(burgueno),
        "-25.5287",
        **names,
        **{"units variance": "0.1796"},
    )
    alpha = pd.read_csv(data_file("field_trials/john_alpha.csv"))
    names = {"rep:block variance": "0.06194", "units variance": "0.08523"}
    check(mixed.Model("yield ~ gen + rep", "rep:block").fit(alpha), "9.822", **names)
    # Piepho and Moehring (2007) have 0.809 of these data by the errors of differences.
    random = mixed.Model("yield ~ rep", "gen + rep:block").fit(alpha)
    assert random.heritability("gen", "cullis")["estimate"].item() == pytest.approx(0.809, abs=0.0005)


@pytest.fixture(scope="module")
def lupins(data_file) -> pd.DataFrame:
    plots = pd.read_csv(data_file("field_trials/vsn_lupin3.csv"), dtype=str).astype({"yield": float})
    gen = plots["gen"].astype(int)
    plots["check"] = np.where(gen > 336, "0", np.where(gen >= 7, "7", plots["gen"]))
    plots["test"] = np.where((gen > 6) & (gen < 337), plots["gen"], "0")
    return plots


def test_a_series_of_trials(lupins):
    def fit(words: str) -> mixed.MixedFit:
        residual = 'at(site, "S1", "S2"):ar1(col):ar1(row) + at(site, "S3"):col:ar1(row)'
        random = f'at(site):col + at(site, "S3"):row + {words}'
        return mixed.Model("yield ~ site + check:site", random, residual).fit(lupins)

    one = fit("test")
    s1, s3 = 'at(site, "S1"):ar1(col):ar1(row):units', 'at(site, "S3"):col:ar1(row):units'
    check(
        one,
        "-314.2616",
        **{'at(site, "S1"):col variance': "0.6228", 'at(site, "S2"):col variance': "0.159"},
        **{
            'at(site, "S3"):col variance': "0.04832",
            'at(site, "S3"):row variance': "0.0235",
            "test variance": "0.1031",
        },
        **{f"{s1} variance": "2.771", f"{s1} autocorrelation col": "0.1959", f"{s1} autocorrelation row": "0.6503"},
        **{f"{s3} variance": "0.1205", f"{s3} autocorrelation row": "0.6394"},
    )
    two = fit("us(site):test")
    names = {"us(site):test variance S1": "0.992", "us(site):test covariance S2, S1": "0.158"}
    check(two, "-286.8239", **names, **{"us(site):test covariance S3, S1": "0.132"})
    assert two.components["bound"].tolist().count("boundary") == 1
    assert 'the variance of at(site, "S1"):col is zero: the term may be left out' in two.notes
    three = fit("corh(site):test")
    check(three, "-288.4837")
    test = three.lrt(two).iloc[0]
    assert test["statistic"] == pytest.approx(2 * (288.4837 - 286.8239), abs=2e-3)
    assert (test["df"], test["distribution"], test["note"]) == (2, "chi2(2)", "")
    assert test["p"] == test["p_plain"] == pytest.approx(math.exp(-test["statistic"] / 2))


def test_animals(data_file):
    plots = pd.read_csv(data_file("gryphon/pheno.csv"), dtype={"line": str, "sex": str, "byear": str, "mother": str})
    pedigree = pd.read_csv(data_file("gryphon/pedigree.csv"), dtype=str)
    animal = mixed.Model.animal
    fit = animal("BWT ~ sex", pedigree, id="line").fit(plots)
    check(fit, "-1165.093", **{"known(line) variance": "3.06044", "units variance": "2.93841"})
    sex = fit.fixed_effects.set_index("effect").loc["sex[T.2]"]
    assert (sex["estimate"], sex["se"]) == (pytest.approx(2.206996, abs=2e-6), pytest.approx(0.1619974, abs=2e-6))
    check(
        animal("BWT ~ sex", pedigree, id="line", dam="mother", random="byear").fit(plots),
        "-1094.815",
        **{"byear variance": "0.8820", "mother variance": "1.1185"},
        **{"known(line) variance": "2.2985", "units variance": "1.6290"},
    )
    both = animal("BWT + TARSUS ~ trait", pedigree, id="line").fit(plots)
    G, R = "us(trait):known(line)", "us(trait):units"
    check(
        both,
        "-2679.741",
        **{f"{G} variance BWT": "3.3684", f"{G} covariance TARSUS, BWT": "2.4598", f"{G} variance TARSUS": "12.346"},
        **{f"{R} variance BWT": "3.8499", f"{R} covariance TARSUS, BWT": "3.3133", f"{R} variance TARSUS": "17.646"},
    )
    r = both.derive(f"{G}[TARSUS, BWT] / sqrt({G}[BWT] * {G}[TARSUS])")
    assert r.estimate == pytest.approx(0.3814436, abs=2e-5)
    assert r.se == pytest.approx(0.1299759, rel=2e-3)


def test_the_words_of_an_animal_model():
    pedigree = pd.DataFrame({"id": ["a", "b", "c"], "sire": ["", "", "a"], "dam": ["", "", "b"]})
    model = mixed.Model.animal("w ~ 1", pedigree, id="animal", dam="mother", maternal=True, random="year")
    assert str(model.random) == "known(animal) + known(mother) + mother + year"
    assert str(model.residual) == "units"
    assert set(model.known) == {"animal", "mother"}
    several = mixed.Model.animal("w + z ~ trait", pedigree)
    assert (str(several.random), str(several.residual)) == ("us(trait):known(id)", "us(trait):units")
    for words, fixed in (({"maternal": "correlated"}, "w + z ~ trait"), ({"maternal": "yes"}, "w ~ 1")):
        with pytest.raises(UsageError, match="maternal"):
            mixed.Model.animal(fixed, pedigree, dam="mother", **words)
    with pytest.raises(UsageError, match="needs dam="):
        mixed.Model.animal("w ~ 1", pedigree, maternal=True)
    with pytest.raises(UsageError, match="known must be a dict"):
        mixed.Model("w ~ 1", "known(id)", known=pedigree)
    with pytest.raises(UsageError, match="got int"):
        mixed.Model("w ~ 1", "known(id)", known={"id": 3})
    assert repr(mixed.Model("w ~ 1", "x")) == "Model('w ~ 1', random='x', residual='units')"
    assert bmtme.mixed.Model is mixed.Model


@pytest.fixture(scope="module")
def mothers() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Animals with direct and maternal effects, correlated by -0.4, and their pedigree."""
    rng = np.random.default_rng(3)
    pedigree = bmtme.simulate_selection(30, 3, keep_males=0.3, keep_females=0.8, seed=4).pedigree
    A = bmtme.pedigree_relationship(pedigree)
    u = np.linalg.cholesky(A.matrix) @ rng.standard_normal((len(A.lines), 2))
    u = pd.DataFrame(u @ np.linalg.cholesky([[1, -0.3], [-0.3, 0.5]]).T, index=A.lines)
    frame = pedigree[pedigree["dam"] != "0"].reset_index(drop=True)
    y = 5 + u[0][frame["id"]].to_numpy() + u[1][frame["dam"]].to_numpy() + rng.normal(0, 0.8, len(frame))
    return frame.assign(y=y), pedigree


def test_direct_and_maternal_effects_with_their_covariance(mothers):
    frame, pedigree = mothers
    model = mixed.Model.animal("y ~ 1", pedigree, id="id", dam="dam", maternal="correlated")
    assert str(model.random) == "us(id, dam):known(id) + dam"
    fit = model.fit(frame)
    dense = Dense(fit)
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(dense.log_likelihood, abs=1e-7)
    rows, n = np.arange(len(frame)), len(pedigree)
    wanted = np.zeros((len(frame), 2 * n))
    place = dict(zip(pedigree["id"], range(n), strict=True))
    wanted[rows, frame["id"].map(place)] = wanted[rows, n + frame["dam"].map(place).to_numpy()] = 1.0
    levels = [place[name] for name in fit.layout.random[0].axes[1].levels]
    np.testing.assert_array_equal(dense.Z[0], wanted[fit.layout.rows][:, [*levels, *(n + k for k in levels)]])
    table = fit.blup("us(id, dam):known(id)")
    u, pev = dense.effects(0)
    np.testing.assert_allclose(table["blup"], u, atol=1e-7)
    np.testing.assert_allclose(table["pev"], np.diag(pev), rtol=1e-6, atol=1e-9)
    assert table["effect"].tolist() == ["id"] * n + ["dam"] * n
    offspring = frame["dam"].value_counts()
    assert table["n"][n:].tolist() == [offspring.get(name, 0) for name in table["id"][n:]]
    assert fit.correlations("us(id, dam):known(id)")[["a", "b"]].to_numpy().tolist() == [["id", "dam"]]
    ratio = fit.heritability("us(id, dam):known(id)")
    assert ratio["denominator"].tolist() == ["us(id, dam):known(id)[id] + units"]
    for name in ("id", "dam"):
        with pytest.warns(UserWarning, match=r"leave out 'us\(id, dam\):known\(id\)'.*are those of blup\(\) alone"):
            fit.predict(name)


def test_tests_of_maternal_effects(mothers):
    """Their covariance lies inside, their variance at the boundary."""
    frame, pedigree = mothers
    known = {"id": pedigree, "dam": pedigree}
    both = mixed.Model.animal("y ~ 1", pedigree, id="id", dam="dam", maternal="correlated").fit(frame)
    apart = mixed.Model("y ~ 1", "known(id) + known(dam) + dam", known=known).fit(frame)
    none = mixed.Model("y ~ 1", "known(id) + dam", known={"id": pedigree}).fit(frame)
    assert both.lrt(apart)["distribution"].item() == "chi2(1)"
    assert both.lrt(none)["distribution"].item() == "0.5 chi2(1) + 0.5 chi2(2)"
    with pytest.raises(UsageError, match="neither is a part of the other"):
        both.lrt(mixed.Model("y ~ 1", "dam + sire").fit(frame))


def test_compiling_is_announced(series, monkeypatch, capsys):
    monkeypatch.setattr("bmtme.results.mixed.search.is_compiled", lambda: False)
    model = mixed.Model("yield ~ site", "line")
    model.fit(series)
    assert capsys.readouterr().err == "compiling the sparse algebra (once after an installation, about a minute) ...\n"
    model.fit(series, progress=False)
    assert capsys.readouterr().err == ""
    model.fit(series, progress=True)
    assert "REML: evaluation" in capsys.readouterr().err


def test_the_size_is_known_before_the_start(series, monkeypatch, capsys):
    from bmtme.linalg.sparse import SparseCholesky

    model = mixed.Model("yield ~ site", "line")
    monkeypatch.setattr("bmtme.results.mixed.search.is_compiled", lambda: True)
    monkeypatch.setattr("bmtme.results.mixed.search.LARGE", 0)
    fit = model.fit(series)
    first = fit.result.equations
    said = capsys.readouterr().err
    assert said == f"REML: {first.n} equations, {first.factor.fill} entries in their factor, about 1 MB of memory\n"
    record = fit.record()
    sizes = (first.n, first.factor.fill, first.memory)
    assert (record["equations"], record["factor_entries"], record["memory_bytes"]) == sizes
    monkeypatch.setattr("bmtme.results.mixed.search.measure_free_memory", lambda: 999)
    monkeypatch.setattr(SparseCholesky, "factor", lambda *_: pytest.fail("factored"))
    with pytest.raises(UsageError, match=r"about 1 MB of memory, of which 1 MB are free\. Give a relationship as a"):
        model.fit(series)


def test_a_folder_of_it(rich, tmp_path):
    rich.save(tmp_path / "run", safe_text=True)
    record, columns = read_record(tmp_path / "run", "mixed")
    assert record["notes"] == list(rich.notes)
    assert record["parameters"] == rich.n_parameters
    assert record["blups"] == {"blup-known-line.csv": "known(line)", "blup-at-site-N-col.csv": 'at(site, "N"):col'}
    assert columns["blup-known-line.csv"]["line"] == "escaped text"
    with pytest.raises(UsageError, match="is not empty"):
        rich.save(tmp_path / "run")
