"""Every number that a fit and a cross-validation report, worked out again from the draws and from the table itself.

Nothing here is taken from the code under test but the draws: three traits in units from 1e-3 to 1e4, four chains,
uneven replication, a column without a record, lines without one inside and outside the trial, rows in any order.
"""

import csv
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_predictions import flatten, mixture_quantile, predict_by_hand, trial_of

from bmtme import BMTME, CV1, HalfT, InverseWishart, Relationship, cross_validate, fit, simulate
from bmtme.data.relationship.files import read_relationship
from bmtme.engines.rotated.kernels.beta import draw_paper_scale, draw_tau
from bmtme.engines.rotated.kernels.parameters import prior_of_root
from bmtme.preparation import build, prepare
from bmtme.report.tables import describe_fit
from bmtme.results.convergence import describe_agreement
from bmtme.results.summary import summarise_posterior

pytestmark = pytest.mark.filterwarnings("ignore:a short run")

TRAITS, ENVS = ["T1", "T2", "T3"], ["E1", "E2", "E3"]
UNITS = np.array([1e-3, 1.0, 1e4])
OUTSIDE = ["L03", "L12"]  # of the relationship, not in the trial
EMPTY = "L07"  # in the trial, without a value
CHAINS, DRAWS, KEPT = 4, 60, 25  # KEPT of each chain, behind standard deviations and intervals


@pytest.fixture(scope="module")
def data():
    """Frame and relationship; one to three plots in a cell, and no T3 in E2."""
    sim = simulate(lines=14, reps=3, missing_traits=0.15, relationship="markers", seed=11)
    frame = sim.frame[~sim.frame["line"].isin(OUTSIDE)].sample(frac=1.0, random_state=1)
    frame = frame[(frame["rep"] == "1") | (np.random.default_rng(2).random(len(frame)) < 0.4)]
    frame[TRAITS] *= UNITS
    frame.loc[frame["env"] == "E2", "T3"] = np.nan
    frame.loc[frame["line"] == EMPTY, TRAITS] = np.nan
    return frame.reset_index(drop=True), sim.relationship


@pytest.fixture(scope="module")
def recorded(data):
    """Rows with a value."""
    frame, _ = data
    return frame[frame[TRAITS].notna().any(axis=1)]


@pytest.fixture(scope="module")
def fitted(data):
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr("bmtme.results.predictions.KEPT", KEPT * CHAINS)
        settings = {"draws": DRAWS, "tune": 30, "chains": CHAINS, "seed": 3, "sampler": "gibbs"}
        return fit(trial_of(data[0]), data[1], keep_effects="all", **settings)


@pytest.fixture(scope="module")
def compared(data):
    models, settings = {"un": BMTME(), "bd": BMTME("diagonal")}, {"draws": 8, "tune": 4, "chains": 3, "seed": 5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cross_validate(trial_of(data[0]), data[1], models, CV1(4, 0.3), sampler="gibbs", **settings)


@pytest.fixture(scope="module")
def orders(data):
    """Environments and traits as in the trial."""
    trial = trial_of(data[0])
    return list(trial.envs), list(trial.traits)


# --- summary ------------------------------------------------------------------------------------------------------


def spread_of_lines(G):
    """Genetic variance of the lines with records, per unit of Sigma_t."""
    return (np.trace(G) - G.sum() / len(G)) / (len(G) - 1)


@pytest.fixture(scope="module")
def quantities(data, recorded, fitted, orders):
    """Draws (chain, draw) of everything that a summary lists, by name and in its order."""
    envs, traits = orders
    p = fitted.idata.posterior
    lines = list(recorded["line"].unique())
    G = data[1].subset(lines).matrix
    C, R = p["Sigma_t"], p["R_e"]
    made = {f"beta[{env}, {trait}]": p["beta"].sel(env=env, trait=trait) for env in envs for trait in traits}
    pairs = [(one, two) for k, one in enumerate(traits) for two in traits[k + 1 :]]
    upper = [(one, two) for k, one in enumerate(traits) for two in traits[k:]]
    made |= {f"Sigma_t[{one}, {two}]": C.sel(trait=one, trait_bis=two) for one, two in upper}
    made |= {f"R_e[{one}, {two}]": R.sel(trait=one, trait_bis=two) for one, two in upper}
    made |= {f"Sigma_E[{env}, {env}]": p["Sigma_E"].sel(env=env, env_bis=env) for env in envs}
    for kind, M in (("genetic", C), ("residual", R)):
        for one, two in pairs:
            product = M.sel(trait=one, trait_bis=one).values * M.sel(trait=two, trait_bis=two).values
            made[f"{kind}_correlation[{one}, {two}]"] = M.sel(trait=one, trait_bis=two) / np.sqrt(product)
    for env in envs:
        for trait in traits:
            V = spread_of_lines(G) * C.sel(trait=trait, trait_bis=trait).values
            V = V * (1.0 + p["Sigma_E"].sel(env=env, env_bis=env).values)
            made[f"heritability[{env}, {trait}]"] = V / (V + R.sel(trait=trait, trait_bis=trait).values)
    return {name: np.asarray(values) for name, values in made.items()}


def test_every_row_of_the_summary(fitted, quantities):
    table = fitted.summary()
    assert table.index.tolist() == list(quantities)
    assert all(values.shape == (CHAINS, DRAWS) for values in quantities.values())
    for name, values in quantities.items():
        row, flat = table.loc[name], np.sort(values.ravel())
        expected = [flat.mean(), flat.std(ddof=1), *np.interp([0.05, 0.95], np.linspace(0, 1, flat.size), flat)]
        found = row[["mean", "sd", "lower", "upper"]].astype(float)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * np.abs(flat).max(), err_msg=name)


def test_every_diagnostic_of_the_summary(fitted, quantities):
    """Each row by itself: the bulk and tail effective sample sizes and the rank-normalised R-hat of ArviZ."""
    import arviz
    import xarray

    table = fitted.summary()
    for name, values in quantities.items():
        one = xarray.Dataset({"x": (("chain", "draw"), np.asarray(values))})  # as both lines of ArviZ take it
        tail = arviz.ess(one, method="tail", prob=(0.05, 0.95))  # by default, others on one line of ArviZ
        found = [arviz.ess(one, method="bulk"), tail, arviz.rhat(one, method="rank")]
        expected = [float(values["x"]) for values in found]
        found = table.loc[name, ["ess_bulk", "ess_tail", "r_hat"]].astype(float)
        np.testing.assert_allclose(found, expected, rtol=1e-8, err_msg=name)
    # The rows differ, and so do the methods: otherwise this test would see nothing.
    assert min(table[name].nunique() for name in ("ess_bulk", "ess_tail", "r_hat")) > 0.9 * len(table)
    assert (table["ess_bulk"] != table["ess_tail"]).all()


def test_notes_of_the_summary(fitted):
    table = fitted.summary()
    assert (table["note"].str.contains("R-hat above 1.01") == (table["r_hat"] > 1.01)).all()
    few = table[["ess_bulk", "ess_tail"]].min(axis=1) < 400
    assert (table["note"].str.contains("fewer than 400 effective draws") == few).all()
    assert table["note"].str.contains("no record").sum() == 1
    assert "no record" in table.loc["beta[E2, T3]", "note"]


def test_few_effective_draws_of_the_tails_alone_are_noted(fitted):
    """The spread of every chain grows after half of it: its middle mixes, its tails do not."""
    rng = np.random.default_rng(8)
    spread = np.repeat([1.0, 4.0], 300)
    posterior = fitted._groups["posterior"].isel(draw=np.zeros(len(spread), dtype=int))
    shape = posterior["beta"].shape
    jumps = rng.normal(size=shape) * spread[None, :, None, None]
    table = summarise_posterior(posterior.assign(beta=(posterior["beta"].dims, jumps)), fitted.run["facts"])
    means = table[table.index.str.startswith("beta")]
    assert (means["ess_bulk"] > 400).all()
    assert (means["ess_tail"] < 400).all()
    assert means["note"].str.contains("fewer than 400 effective draws").all()


def test_convergence_is_judged_by_the_worst_row(fitted):
    table = fitted.summary()
    text = describe_agreement(table, fitted.run)
    worst, fewest = table["r_hat"].idxmax(), table["ess_bulk"].idxmin()
    assert f"the largest R-hat is {table.loc[worst, 'r_hat']:.3f} ({worst})" in text
    assert f"{fewest} has the fewest effective draws, {table.loc[fewest, 'ess_bulk']:.0f}" in text
    good = table.assign(r_hat=1.001, ess_bulk=900.0)
    assert describe_agreement(good, fitted.run).startswith("The chains agree")
    good.loc[worst, "r_hat"] = 1.02
    assert describe_agreement(good, fitted.run).startswith("The chains have NOT converged")
    good.loc[worst, ["r_hat", "ess_bulk"]] = 1.001, 399.0
    assert describe_agreement(good, fitted.run).startswith("Few effective draws")


# --- predictions --------------------------------------------------------------------------------------------------


def test_every_prediction(data, fitted, orders):
    """Means over all draws of all chains; standard deviations and intervals over evenly kept ones of each."""
    frame, relationship = data
    posterior = fitted.idata.posterior
    table = fitted.predictions()
    keys = pd.MultiIndex.from_product([relationship.lines, *orders], names=["line", "env", "trait"])
    assert list(table[keys.names].itertuples(index=False, name=None)) == keys.tolist()
    expected, drawn, spare = predict_by_hand(frame, relationship, posterior)
    sd = table["sd"].to_numpy()
    off = table["mean"].to_numpy() - expected.mean(axis=0).ravel()
    assert np.abs(off / sd).max() < 1e-8
    kept = np.round(np.linspace(0, DRAWS - 1, KEPT)).astype(int)
    kept = (np.arange(CHAINS)[:, None] * DRAWS + kept).ravel()
    residual = np.einsum("sll->sl", flatten(posterior, "R_e"))[kept]
    drawn, spare = drawn[kept], spare[kept]
    np.testing.assert_allclose(sd, np.sqrt(drawn.var(axis=0, ddof=1) + spare.mean(axis=0)).ravel(), rtol=1e-7)
    for row, (n, i, l) in enumerate(np.ndindex(drawn.shape[1:])):
        for column, p in (("lower", 0.05), ("upper", 0.95)):
            quantile = mixture_quantile(drawn[:, n, i, l], spare[:, n, i, l] + residual[:, l], p)
            assert abs(table[column][row] - quantile) < 1e-4 * sd[row], (*keys[row], column)


def test_what_was_observed_stands_beside_the_predictions(recorded, fitted):
    plots = recorded.melt(["line", "env", "rep"], TRAITS, "trait").dropna()
    cells = plots.groupby(["line", "env", "trait"])["value"].agg(["size", "mean"])
    assert cells["size"].nunique() == 3
    table = fitted.predictions().set_index(["line", "env", "trait"])
    cells = cells.reindex(table.index)
    assert table["n_obs"].tolist() == cells["size"].fillna(0).tolist()
    np.testing.assert_allclose(table["observed"], cells["mean"], rtol=1e-12)
    assert table.loc[[*OUTSIDE, EMPTY], "n_obs"].eq(0).all()


# --- record of the run, other groups, files -----------------------------------------------------------------------


def test_facts_of_the_run(data, recorded, fitted, orders):
    frame, relationship = data
    facts, values = fitted.run["data"], recorded[TRAITS].notna()
    lines = recorded["line"].unique()
    assert len(frame) > len(recorded)
    assert facts["lines"] == len(lines) == 11
    assert facts["lines_predicted"] == 14
    assert facts["lines_dropped"] == []
    assert (facts["envs"], facts["traits"]) == (3, 3)
    assert facts["records"] == len(recorded)
    assert facts["missing_values"] == int((~values).to_numpy().sum())
    assert facts["absent_columns"] == ["E2 x T3"]
    assert facts["relationship_rank"] == np.linalg.matrix_rank(relationship.subset(list(lines)).matrix, tol=1e-6)
    columns = recorded[TRAITS].notna().groupby(recorded["env"]).any().loc[orders[0]]
    assert fitted.run["facts"]["recorded"] == columns.to_numpy().tolist()
    assert fitted.run["facts"]["together"] == [
        [bool((values[one] & values[two]).any()) for two in orders[1]] for one in orders[1]
    ]
    settings = fitted.run["settings"]
    assert (settings["draws"], settings["tune"], settings["chains"], settings["seed"]) == (DRAWS, 30, CHAINS, 3)


@pytest.mark.parametrize("unseen", [False, True])
def test_imputed_share(data, unseen):
    """Of k_i c_j plots that the layout has for every line and environment with records."""
    frame = data[0].copy()
    if unseen:
        frame.loc[frame["env"] == "E3", TRAITS] = np.nan
    prepared = prepare(trial_of(frame), data[1])
    rows = frame[frame[TRAITS].notna().any(axis=1)]
    counts = pd.crosstab(rows["line"], rows["env"]).reindex(prepared.lines)
    layout = prepared.layout
    k = dict(zip(prepared.trial.envs, layout.plots, strict=True))
    whole = sum(k[env] * c for env in counts.columns for c in layout.multiples)
    assert layout.imputed_share == pytest.approx(1.0 - counts.to_numpy().sum() / whole)
    assert layout.imputed_share > 0.1


def test_model_in_the_record_of_a_run():
    priors = {
        "prior_t": InverseWishart(df=7.5, scale=[[2.0, 0.5], [0.5, 3.0]]),
        "prior_E": HalfT(nu=5, scale={"E1": 0.5, "E2": 0.25}),
        "prior_e": HalfT(nu=3, scale=40.0),
    }
    assert BMTME("unstructured", means="flat", **priors).describe() == {
        "structure": "unstructured",
        "means": "flat",
        "units": "scaled",
        "prior_t": {"InverseWishart": {"df": 7.5, "scale": [[2.0, 0.5], [0.5, 3.0]]}},
        "prior_E": {"HalfT": {"nu": 5.0, "scale": {"E1": 0.5, "E2": 0.25}}},
        "prior_e": {"HalfT": {"nu": 3.0, "scale": 40.0}},
    }


def test_data_and_constants_beside_the_posterior(data, recorded, fitted, orders):
    observed, constant = fitted.idata["observed_data"], fitted.idata["constant_data"]
    assert observed["record_line"].values.tolist() == recorded["line"].tolist()
    assert observed["record_env"].values.tolist() == recorded["env"].tolist()
    np.testing.assert_array_equal(observed["Y"].values, recorded[TRAITS])
    np.testing.assert_allclose(constant["trait_mean"], recorded[TRAITS].mean(), rtol=1e-12)
    np.testing.assert_allclose(constant["trait_sd"], recorded[TRAITS].std(ddof=1), rtol=1e-12)
    prepared = prepare(trial_of(data[0]), data[1])
    G = data[1].subset(prepared.lines).matrix
    root = np.sqrt(prepared.layout.multiples)
    values = np.linalg.eigvalsh(G * np.outer(root, root))[::-1]
    np.testing.assert_allclose(constant["relationship_eigenvalues"], values, atol=1e-8 * values[0])
    np.testing.assert_allclose(constant["relationship_mean_diagonal"], np.diag(G).mean())


def assert_file_holds(path, table):
    """Every number of a table stands in the file so that reading it gives the very same number."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(table.columns)
    assert len(rows) == len(table)
    for name in table.columns:
        texts = [row[name] for row in rows]
        if table[name].dtype.kind == "f":
            found = np.array([float(text or "nan") for text in texts])
            np.testing.assert_array_equal(found, table[name].to_numpy(), err_msg=name)
        else:
            assert texts == table[name].astype(str).tolist(), name


def test_files_hold_every_digit(fitted, compared, tmp_path):
    fitted.save(tmp_path / "fit")
    assert_file_holds(tmp_path / "fit" / "summary.csv", fitted.summary().reset_index())
    assert_file_holds(tmp_path / "fit" / "predictions.csv", fitted.predictions())
    record = json.loads((tmp_path / "fit" / "run.json").read_text(encoding="utf-8"))
    assert record | fitted.run == record
    compared.save(tmp_path / "cv")
    assert_file_holds(tmp_path / "cv" / "scores.csv", compared.scores)
    assert_file_holds(tmp_path / "cv" / "predictions.csv", compared.predictions)
    assert_file_holds(tmp_path / "cv" / "summary.csv", compared.summary())


# --- what the terminal shows --------------------------------------------------------------------------------------


def read_table(text, title):
    """Cells of a table of `describe_fit` by (row, column), without the mark of the prior."""
    part = next(part for part in text.split("\n\n") if part.startswith(title)).splitlines()
    header = part[1].split()
    rows = {line.split()[0]: line.strip().split("  ")[1:] for line in part[2:] if not line.startswith("  *")}
    cells = {row: [cell.strip().rstrip("*") for cell in found if cell.strip()] for row, found in rows.items()}
    return {(row, column): cell for row, found in cells.items() for column, cell in zip(header, found, strict=False)}


def test_report_of_a_fit(data, recorded, fitted, orders):
    envs, traits = orders
    summary = fitted.summary()
    text = describe_fit(summary, fitted.run, trial_of(data[0]), width=200)

    def cell(name):
        row = summary.loc[name]
        numbers = [f"{row[column]:.2f}".replace("-0.00", "0.00") for column in ("mean", "lower", "upper")]
        return "{} ({}, {})".format(*numbers)

    expected = {(env, trait): cell(f"heritability[{env}, {trait}]") for env in envs for trait in traits}
    assert read_table(text, "Heritability") == expected
    for kind in ("Genetic", "Residual"):
        pairs = [(two, one) for k, one in enumerate(traits) for two in traits[k + 1 :]]
        expected = {(two, one): cell(f"{kind.lower()}_correlation[{one}, {two}]") for two, one in pairs}
        assert read_table(text, f"{kind} correlation") == expected
    missing = recorded[TRAITS].isna().to_numpy().mean()
    assert f"{len(recorded)} records, {100 * missing:.1f}% of their values missing" in text


def test_report_of_empty_cells(data):
    """Lines with a record, in environments where they have none."""
    sim = simulate(lines=12, missing=0.25, relationship="markers", seed=2)
    result = fit(trial_of(sim.frame), sim.relationship, draws=4, tune=2, chains=1, sampler="gibbs")
    text = describe_fit(result.summary(), result.run, trial_of(sim.frame))
    assert "25.0% of the line x environment cells without one" in text


# --- cross-validation ---------------------------------------------------------------------------------------------


def test_hidden_cells(data, recorded, compared):
    """Of n lines recorded in an environment, floor(0.3 n + 0.5) lose all their values, the same ones for all models."""
    plots = recorded.melt(["line", "env", "rep"], TRAITS, "trait").dropna()
    cells = plots.groupby(["line", "env", "trait"])["value"].agg(["size", "mean"])
    here = recorded.groupby("env")["line"].nunique()
    tested = {entry["partition"]: entry["test_cells"] for entry in compared.run["data"]["partitions"]}
    assert list(tested) == ["1", "2", "3", "4"]
    for (model, partition), table in compared.predictions.groupby(["model", "partition"]):
        assert tested[partition] == len(table)
        lost = table[["line", "env"]].drop_duplicates()
        for env, n in here.items():
            assert (lost["env"] == env).sum() == int(0.3 * n + 0.5), (model, partition, env)
        wanted = pd.MultiIndex.from_frame(lost)
        expected = cells[cells.index.droplevel("trait").isin(wanted)]
        found = table.set_index(["line", "env", "trait"]).sort_index()
        assert found.index.tolist() == expected.index.tolist()
        assert found["n_obs"].tolist() == expected["size"].tolist()
        np.testing.assert_allclose(found["observed"], expected["mean"], rtol=1e-12)
    keys = ["partition", "line", "env", "trait"]
    masks = [set(table[keys].itertuples(index=False, name=None)) for _, table in compared.predictions.groupby("model")]
    assert masks[0] == masks[1]


def test_scores_and_their_summary(compared, orders):
    predictions, scores, summary = compared.predictions, compared.scores, compared.summary()
    keys = ["model", "partition", "env", "trait"]
    groups = dict(list(predictions.groupby(keys)))
    assert {tuple(row) for row in scores[keys].itertuples(index=False)} == set(groups)
    for row in scores.itertuples():
        y, f = groups[row.model, row.partition, row.env, row.trait][["observed", "mean"]].to_numpy().T
        assert row.n_test == len(y)
        assert row.msep == pytest.approx(((y - f) ** 2).sum() / len(y), rel=1e-12)
        r = stats.pearsonr(y, f).statistic if len(y) > 2 else np.nan
        assert row.pearson == pytest.approx(r, abs=1e-9, nan_ok=True)
    assert len(summary) == 2 * len(scores[["env", "trait"]].drop_duplicates())
    for row in summary.itertuples():
        alike = scores[(scores["env"] == row.env) & (scores["trait"] == row.trait)]
        assert row.n_partitions == (alike["model"] == row.model).sum()
        for name, sign in (("pearson", -1), ("msep", 1)):
            there = {model: found.dropna() for model, found in alike.groupby("model")[name]}
            means = {model: found.sum() / len(found) for model, found in there.items() if len(found)}
            own = there[row.model]
            mean = means.get(row.model, np.nan)
            error = np.sqrt(((own - mean) ** 2).sum() / (len(own) - 1) / len(own)) if len(own) > 1 else np.nan
            rank = 1 + sum(sign * other < sign * mean for other in means.values()) if len(own) else np.nan
            assert getattr(row, f"{name}_mean") == pytest.approx(mean, rel=1e-12, nan_ok=True)
            assert getattr(row, f"{name}_se") == pytest.approx(error, rel=1e-9, nan_ok=True)
            assert getattr(row, f"{name}_rank") == pytest.approx(rank, nan_ok=True)


# --- priors -------------------------------------------------------------------------------------------------------


def follows_half_t(draws, nu, scale):
    """Whether draws are from |t| with nu degrees of freedom and a scale, by Kolmogorov and Smirnov's test."""
    return stats.kstest(draws, lambda x: 2.0 * stats.t.cdf(x, nu, scale=scale) - 1.0).pvalue > 1e-3


def test_prior_of_the_spread_between_environment_means(data, recorded):
    """tau_l ~ HalfT(4, s_l) with s_l the SD of the trait: its two conditionals, without a mean to tell anything."""
    problem, scaling = build(prepare(trial_of(data[0]), data[1]), BMTME())
    prior, rng = problem.means, np.random.default_rng(1)
    tau2, aux, none = np.ones(3), np.ones(3), np.empty(0)
    made = np.empty((40_000, 3))
    for draw in made:
        draw_tau(rng, none, np.zeros(3), none.astype(np.int64), 3, prior.tau_nu, prior.tau_scale, tau2, aux)
        draw[:] = np.sqrt(tau2)
    tau = made[100::10] * scaling.scale
    for l, sd in enumerate(recorded[TRAITS].std(ddof=1)):
        assert follows_half_t(tau[:, l], 4, sd)
        assert not follows_half_t(tau[:, l], 2, sd)
        assert not follows_half_t(tau[:, l], 4, 1.2 * sd)


def test_prior_of_the_papers_means(data):
    """beta ~ N(0, s2_b) with sqrt(s2_b) ~ HalfT(2, 1e5), in the units of the data."""
    problem, _ = build(prepare(trial_of(data[0]), data[1]), BMTME(means="paper"))
    prior, rng, none = problem.means, np.random.default_rng(2), np.empty(0)
    s2, aux = np.array([1e10]), np.array([1e-10])
    made = np.empty(40_000)
    for k in range(len(made)):
        draw_paper_scale(
            rng, none, none.astype(np.int64), prior.scale, prior.centre, prior.s2_nu, prior.s2_scale, s2, aux
        )
        made[k] = np.sqrt(s2[0])
    assert follows_half_t(made[100::10], 2, 1e5)
    assert not follows_half_t(made[100::10], 2, 1.2e5)


ROOTS = np.array([1e-3, 0.1, 0.7, 3.0, 40.0])  # inside, in standard deviations of the trait


def assert_prior(prior, k, unit, log_density):
    """The prior of a root, told apart by ratios, where `unit` is the root as reported for one inside."""
    found = [prior_of_root(prior, root, k)[0] for root in ROOTS]
    np.testing.assert_allclose(np.diff(found), np.diff(log_density(ROOTS * unit)), rtol=1e-9)


@pytest.fixture(scope="module")
def units(data, recorded):
    """Standard deviation of each trait, and that divided by the root of the mean diagonal: of sqrt(Sigma_t)."""
    G = data[1].subset(list(recorded["line"].unique())).matrix
    sd = recorded[TRAITS].std(ddof=1).to_numpy()
    return sd, sd / np.sqrt(np.diag(G).mean())


def test_default_priors_of_variances(data, units):
    """HalfT(2) with 5 standard deviations of the trait for an average line and for a plot; HalfT(4, 1) for Sigma_E."""
    prepared = prepare(trial_of(data[0]), data[1])
    problem, _ = build(prepared, BMTME("diagonal"))
    for prior, unit in ((problem.prior_t, units[1]), (problem.prior_e, units[0])):
        for l in range(3):
            assert_prior(prior, l, unit[l], lambda s, A=5 * unit[l]: stats.t.logpdf(s, 2, scale=A))
    for i in range(3):
        assert_prior(problem.prior_E, i, 1.0, lambda s: stats.t.logpdf(s, 4))
    free, _ = build(prepared, BMTME())
    one, _ = build(prepared, BMTME("standard"))
    for name in ("prior_t", "prior_E", "prior_e"):
        known = getattr(problem, name)
        for other in (getattr(free, name), getattr(one, name)):
            assert (other.family, other.nu) == (known.family, known.nu)
            np.testing.assert_array_equal(other.scale, known.scale)


def test_priors_of_ones_own(data, units):
    """In the units of what is reported: standard deviations of a half-t, variances of an inverse gamma."""
    sizes = {"T1": 2e-3, "T2": 1.5, "T3": 4e3}
    for name, unit in (("prior_t", units[1]), ("prior_e", units[0])):
        half_t = BMTME("diagonal", **{name: HalfT(nu=3, scale=sizes)})
        wishart = BMTME("diagonal", **{name: InverseWishart(df=6, scale={k: v**2 for k, v in sizes.items()})})
        problems = [build(prepare(trial_of(data[0]), data[1]), model)[0] for model in (half_t, wishart)]
        for l, A in enumerate(sizes.values()):
            assert_prior(getattr(problems[0], name), l, unit[l], lambda s, A=A: stats.t.logpdf(s, 3, scale=A))
            assert_prior(
                getattr(problems[1], name),
                l,
                unit[l],
                lambda s, A=A: stats.invgamma.logpdf(s**2, 3, scale=A**2 / 2) + np.log(2 * s),
            )


# --- simulated trials ---------------------------------------------------------------------------------------------


def test_truth_of_a_simulation():
    """A plot is its mean, its effects and a residual; means beyond the third are from N(10, 3^2)."""
    wide = simulate(lines=2, envs=40, traits=40, relationship=Relationship.identity(["a", "b"]), seed=4)
    means = wide.truth["beta"].to_numpy()[3:, 3:].ravel()
    assert abs(means.mean() - 10) < 4.5 * 3 / np.sqrt(means.size)
    assert abs(means.std(ddof=1) - 3) < 4.5 * 3 / np.sqrt(2 * means.size)
    assert abs(stats.skew(means)) < 4.5 * np.sqrt(6 / means.size)


def test_files_of_a_simulation_hold_every_digit(tmp_path):
    sim = simulate(lines=12, reps=2, relationship="markers", missing_traits=0.2, seed=3)
    sim.save(tmp_path)
    np.testing.assert_array_equal(read_relationship(tmp_path / "relationship.csv").matrix, sim.relationship.matrix)
    assert_file_holds(tmp_path / "phenotypes.csv", sim.frame)
    truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    for name in ("beta", "Sigma_t", "R_e", "Sigma_E", "b1"):
        table = sim.truth[name]
        found = [[truth[name][row][column] for column in table.columns] for row in table.index]
        np.testing.assert_array_equal(found, table, err_msg=name)
    for (env, line), row in sim.truth["b2"].iterrows():
        assert truth["b2"][env][line] == row.to_dict()
