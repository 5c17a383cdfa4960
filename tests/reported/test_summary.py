"""Every row of the summary, its diagnostics and its notes."""

import numpy as np
import pytest

from bmtme.results.convergence import describe_agreement
from bmtme.results.summary import summarise_posterior
from tests.reported.design import CHAINS, DRAWS

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


def spread_of_lines(G):
    """Genetic variance of the lines with records, per unit of Sigma_t."""
    return (np.trace(G) - G.sum() / len(G)) / (len(G) - 1)


def list_replicates(recorded, envs, traits):
    """Replicates with an effect on a trait: those of an environment where each with a value has five lines of it."""
    found = []
    for env in envs:
        here = recorded[recorded["env"] == env]
        lines = here[here["rep"].notna()].set_index("rep")[traits].notna().groupby(level=0).sum()
        having = {trait: [rep for rep in lines.index if lines.loc[rep, trait] > 0] for trait in traits}
        for rep in here["rep"].unique():
            for trait in traits:
                if rep in having[trait] and len(having[trait]) > 1 and lines.loc[having[trait], trait].min() >= 5:
                    found.append((env, rep, trait))
    return found


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
    for env, rep, trait in list_replicates(recorded, envs, traits):
        made[f"rep_effects[{env}/{rep}, {trait}]"] = p["rep_effects"].sel(replicate=f"{env}/{rep}", trait=trait)
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


def nudge_middle(values):
    """The same values some times: as they are, and one of the two around the median a trifle smaller or larger.

    Both are equally far from the median, and R-hat of the folded draws ranks these distances: which comes first is
    decided by the last bit, which depends on the order of the arithmetic.
    """
    place = np.unravel_index(np.argsort(values, axis=None)[values.size // 2], values.shape)
    for factor in (1.0, *(1.0 + k * 1e-12 for k in (-5, -3, -2, -1, 1, 2, 3, 5))):
        nudged = values.copy()
        nudged[place] *= factor
        yield nudged


def test_every_diagnostic_of_the_summary(fitted, quantities):
    """Each row by itself: the bulk and tail effective sample sizes and the rank-normalised R-hat of ArviZ."""
    import arviz
    import xarray

    def measure(values):
        one = xarray.Dataset({"x": (("chain", "draw"), values)})  # as both lines of ArviZ take it
        tail = arviz.ess(one, method="tail", prob=(0.05, 0.95))  # by default, others on one line of ArviZ
        return [float(v["x"]) for v in (arviz.ess(one, method="bulk"), tail, arviz.rhat(one, method="rank"))]

    table = fitted.summary()
    for name, values in quantities.items():
        found = table.loc[name, ["ess_bulk", "ess_tail", "r_hat"]].astype(float)
        allowed = [measure(nudged) for nudged in nudge_middle(np.asarray(values))]
        assert any(np.allclose(found, expected, rtol=1e-8, atol=0.0) for expected in allowed), (name, found, allowed)
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
    good = table.assign(r_hat=1.001, ess_bulk=900.0, ess_tail=800.0)
    assert describe_agreement(good, fitted.run).startswith("The chains agree")
    good.loc[worst, "r_hat"] = 1.02
    assert describe_agreement(good, fitted.run).startswith("The chains have NOT converged")
    good.loc[worst, ["r_hat", "ess_bulk"]] = 1.001, 399.0
    assert describe_agreement(good, fitted.run).startswith("Few effective draws")
    good.loc[worst, ["ess_bulk", "ess_tail"]] = 900.0, 399.0
    assert describe_agreement(good, fitted.run).startswith(f"Few effective draws: {worst} has 399 in its tails")
