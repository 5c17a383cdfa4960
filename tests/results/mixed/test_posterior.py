"""A posterior's tables against its draws, priors in the units of the data, files, and what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import mixed
from bmtme.errors import DataError, UsageError
from bmtme.model.mixed.design import lay_out
from bmtme.model.mixed.plots import Plots
from bmtme.model.mixed.priors import choose_priors, find_scales
from tests.results.mixed.conftest import make_series

pytestmark = pytest.mark.filterwarnings("ignore:a short run:UserWarning")
MODEL = mixed.Model("yield ~ site + stand", "line + site:line", "units")


def draw(plots, model=MODEL, **words):
    words = {"draws": 60, "chains": 2, "seed": 3, "progress": False, **words}
    return model.posterior(plots, **words)


@pytest.fixture(scope="module", autouse=True)
def short_warm_up():
    """What is asked here, no chain has to converge for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bmtme.engines.mixed.chains.PILOT", 60)
        patch.setattr("bmtme.engines.mixed.chains.FEWEST_PILOT", 30)
        patch.setattr("bmtme.engines.mixed.chains.Hamiltonian.tune", 20)
        yield


@pytest.fixture(scope="module")
def posterior(series) -> mixed.MixedPosterior:
    return draw(series)


def test_summary_is_of_the_draws(posterior):
    table, components = posterior.summary(), posterior.fit.components
    assert table.index.to_frame(index=False).equals(components[["term", "parameter"]])
    assert table.columns.tolist() == ["mean", "sd", "lower", "upper", "ess_bulk", "ess_tail", "r_hat", "note"]
    draws = posterior.idata["posterior"]["components"]
    assert draws.dims == ("chain", "draw", "component")
    assert draws["term"].values.tolist() == components["term"].tolist()
    flat = draws.values.reshape(120, -1)
    np.testing.assert_allclose(table["mean"], flat.mean(axis=0))
    np.testing.assert_allclose(table["sd"], flat.std(axis=0, ddof=1))
    np.testing.assert_allclose(table["lower"], np.quantile(flat, 0.05, axis=0))
    assert (table["note"].str.contains("effective draws")).all()
    assert not posterior.reliable
    assert "Few effective draws" in posterior.diagnose()
    assert "line[variance]" in repr(posterior)


def test_tree(posterior):
    stats = posterior.idata["sample_stats"]
    assert set(stats.data_vars) == {"lp", "acceptance_rate", "n_steps", "diverging"}
    y = posterior.idata["observed_data"]["y"]
    assert len(y) == posterior.fit.result.problem.n
    sampling = posterior.run["sampling"]
    good = sampling["k_hat"] is not None and sampling["k_hat"] <= 0.7
    assert sampling["method"] == ("independence Metropolis" if good else "Hamiltonian")


def test_functions_of_parameters(posterior, series):
    draws = posterior.idata["posterior"]["components"].values
    found = posterior.derive("line / (line + residual)")
    wanted = draws[..., 0] / (draws[..., 0] + draws[..., 2])
    np.testing.assert_allclose(found.draws, wanted)
    assert found.mean == pytest.approx(wanted.mean())
    assert (found.lower, found.upper) == pytest.approx(tuple(np.quantile(wanted, [0.05, 0.95])))
    own = posterior.heritability("line")
    assert own.columns.tolist() == ["level", "kind", "mean", "sd", "lower", "upper", "denominator"]
    assert own["mean"][0] == pytest.approx(wanted.mean())
    assert own["sd"][0] == pytest.approx(wanted.std(ddof=1))
    # Of means: the interaction by the sites of a line, the residual by its plots.
    there = series.dropna(subset="yield").groupby("line")["site"]
    weights = np.array([1.0, (1 / there.nunique()).mean(), (1 / there.size()).mean()])
    reml, mean = posterior.fit.heritability("line", "mean"), posterior.heritability("line", "mean")
    at = posterior.fit.components["estimate"].to_numpy()
    assert reml["estimate"][0] == pytest.approx(at[0] / (at @ weights))
    wanted = draws[..., 0] / (draws @ weights)
    assert mean["mean"][0] == pytest.approx(wanted.mean())
    assert (mean["lower"][0], mean["upper"][0]) == pytest.approx(tuple(np.quantile(wanted, [0.05, 0.95])))
    assert mean["denominator"].equals(reml["denominator"])


def test_effects_and_means(posterior):
    groups = posterior.idata["posterior"]
    random, fixed = groups["random_effects"], groups["fixed_effects"]
    table = posterior.effects("site:line")
    own = random.values[..., random["random_term"].values == "site:line"].reshape(120, -1)
    assert table.columns.tolist() == ["site", "line", "mean", "sd", "lower", "upper", "n"]
    assert [f"site:line[{a}, {b}]" for a, b in zip(table["site"], table["line"], strict=True)] == [
        name for name in random["random_effect"].values if name.startswith("site:line")
    ]
    np.testing.assert_allclose(table["mean"], own.mean(axis=0))
    np.testing.assert_allclose(table["upper"], np.quantile(own, 0.95, axis=0))
    flat = fixed.values.reshape(120, -1)
    np.testing.assert_allclose(posterior.fixed_effects["mean"], flat.mean(axis=0))
    stand = posterior.fit.layout.columns.matrix.toarray()[:, 2].mean()
    lines = random.values[..., random["random_term"].values == "line"].reshape(120, -1)
    means = posterior.predict("site:line")
    wanted = flat[:, 0] + flat[:, 2] * stand + lines[:, 0] + own[:, 0]
    assert means["mean"][0] == pytest.approx(wanted.mean())
    assert means["sd"][0] == pytest.approx(wanted.std(ddof=1))
    assert means["estimable"].all()
    assert means.columns.tolist() == ["site", "line", "mean", "sd", "lower", "upper", "estimable", "note"]


def test_rows_and_cores_do_not_matter(series, posterior):
    shuffled = series.sample(frac=1, random_state=1)
    again = draw(shuffled, cores=1)
    np.testing.assert_array_equal(again.idata["posterior"]["components"], posterior.idata["posterior"]["components"])
    np.testing.assert_array_equal(
        again.idata["posterior"]["random_effects"], posterior.idata["posterior"]["random_effects"]
    )
    other = draw(series, seed=4)
    assert not np.array_equal(other.idata["posterior"]["components"], posterior.idata["posterior"]["components"])


def test_units_do_not_matter(series, posterior):
    """Another unit of the trait changes nothing but units: priors go with the data."""
    pounds = series.assign(**{"yield": series["yield"] * 1000})
    found = draw(pounds).idata["posterior"]["components"].values / 1e6
    np.testing.assert_allclose(found, posterior.idata["posterior"]["components"], rtol=1e-3)


def test_files(posterior, tmp_path):
    posterior.save(tmp_path / "run", predict=["site:line"])
    files = {"summary.csv", "fixed_effects.csv", "effects-line.csv", "effects-site-line.csv", "idata.nc", "run.json"}
    files.add("predict-site-line.csv")
    assert {file.name for file in (tmp_path / "run").iterdir()} == files
    again = bmtme.load(tmp_path / "run")
    assert isinstance(again, mixed.MixedPosterior)
    pd.testing.assert_frame_equal(again.summary(), posterior.summary())
    pd.testing.assert_frame_equal(again.fixed_effects, posterior.fixed_effects)
    pd.testing.assert_frame_equal(again.effects("site:line"), posterior.effects("site:line"))
    assert again.derive("line / residual").mean == posterior.derive("line / residual").mean
    assert again.diagnose() == posterior.diagnose()
    for kind in ("record", "mean"):
        pd.testing.assert_frame_equal(again.heritability("line", kind), posterior.heritability("line", kind))
    pd.testing.assert_frame_equal(again.predict("site:line"), posterior.predict("site:line"))
    with pytest.raises(UsageError, match="those it was saved with of a posterior that was loaded need its plots"):
        again.predict("line")
    for call in (again.effects, again.heritability):
        with pytest.raises(UsageError, match="no random term 'rep'"):
            call("rep")
    again.save(tmp_path / "copy")
    assert (tmp_path / "copy" / "effects-line.csv").read_bytes() == (tmp_path / "run" / "effects-line.csv").read_bytes()
    copy = bmtme.load(tmp_path / "copy")
    assert copy.run == again.run
    pd.testing.assert_frame_equal(copy.predict("site:line"), again.predict("site:line"))
    (tmp_path / "run" / "summary.csv").write_text("")
    with pytest.raises(DataError, match="saved mixed posterior"):
        bmtme.load(tmp_path / "run")


def test_thinned_effects_and_none(series, posterior, tmp_path, monkeypatch):
    monkeypatch.setattr("bmtme.mixed_posterior.THINNED", 40)
    thin = draw(series, keep_effects="thin")
    group = thin.idata["effects"]
    assert "random_effects" not in thin.idata["posterior"]
    drawn = thin.idata["posterior"].sizes
    kept = f"of {group.sizes['effect_draw']} of the {drawn['chain'] * drawn['draw']:,} draws"
    assert kept in " ".join(thin.diagnose().split())
    assert "keep_effects='all'" not in posterior.diagnose()
    assert group["effect_chain"].values.tolist() == [0] * 15 + [1] * 15
    assert group["effect_draw_index"].values.tolist() == [*range(0, 60, 4)] * 2
    whole = posterior.idata["posterior"]["random_effects"].values
    np.testing.assert_array_equal(group["random_effects"], whole[:, ::4].reshape(30, 18))
    np.testing.assert_allclose(thin.effects("line")["mean"], group["random_effects"].values[:, :6].mean(axis=0))
    none = draw(series, keep_effects="none")
    np.testing.assert_array_equal(none.idata["posterior"]["components"], posterior.idata["posterior"]["components"])
    for call in (lambda: none.effects("line"), lambda: none.predict("line"), lambda: none.fixed_effects):
        with pytest.raises(UsageError, match="kept no effects"):
            call()
    none.save(tmp_path / "run")
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["idata.nc", "run.json", "summary.csv"]


def test_a_variance_of_few_levels_has_no_standard_deviation(series, tmp_path):
    """Two levels beside a mean are one contrast: with half-t(2) its variance has a mean and no more."""
    plots = series.dropna(subset="yield")
    one = draw(plots, mixed.Model("yield ~ 1", "site + line"))
    table = one.summary()
    site, line = table.loc[("site", "variance")], table.loc[("line", "variance")]
    sites = one.idata["posterior"]["components"].values[..., 0]
    assert plots["site"].nunique() == 2
    assert site["mean"] == pytest.approx(sites.mean())
    assert np.isnan(site["sd"])
    assert site["note"].startswith(f"median {np.median(sites):.4g}: too few levels for a standard deviation")
    assert np.isfinite(line["sd"])
    assert "median" not in line["note"]
    assert one.run["facts"]["contrasts"] == [1, 5, None]
    one.save(tmp_path / "run")
    pd.testing.assert_frame_equal(bmtme.load(tmp_path / "run").summary(), table)
    # A prior with longer tails takes the mean, too; one with shorter ones gives both.
    long, short = (
        draw(plots, mixed.Model("yield ~ 1", "site + line"), prior={"site": bmtme.HalfT(nu)}).summary().iloc[0]
        for nu in (1, 5)
    )
    assert np.isnan(long[["mean", "sd"]].astype(float)).all()
    assert "too few levels for a mean" in long["note"]
    assert np.isfinite(short[["mean", "sd"]].astype(float)).all()


def test_terms_without_a_heritability_say_so_when_loaded(series, tmp_path):
    found = draw(series, mixed.Model("yield ~ site", "fa(site, 1):line"))
    found.save(tmp_path / "run")
    for each in (found, bmtme.load(tmp_path / "run")):
        with pytest.raises(UsageError, match="not one of its parameters"):
            each.heritability("fa(site, 1):line")


# --- priors -------------------------------------------------------------------------------------------------------


def test_scales_go_with_data_and_relationship(series, relationship):
    model = mixed.Model(
        "yield + height ~ trait", "us(trait):known(line) + site:trait", "us(trait):units", {"line": relationship}
    )
    layout = model.fit(series).layout
    lines = [f"L{j}" for j in range(6)]
    places = [relationship.lines.index(name) for name in lines]
    m = np.diag(relationship.matrix)[places].mean()
    sd = series[["yield", "height"]].std(ddof=1).to_numpy()
    residual, genetic, site = (*layout.residual, *layout.random)
    prior = bmtme.HalfT()
    np.testing.assert_allclose(find_scales(prior, genetic, layout), 5 * sd / np.sqrt(m))
    np.testing.assert_allclose(find_scales(prior, residual, layout), 5 * sd)
    np.testing.assert_allclose(find_scales(prior, site, layout), [5 * np.sqrt(np.mean(sd**2))])
    own = bmtme.HalfT(3, {"height": 2.0, "yield": 1.0})
    assert find_scales(own, genetic, layout).tolist() == [1.0, 2.0]
    with pytest.raises(UsageError, match="must be one number"):
        find_scales(own, site, layout)
    chosen = choose_priors({"residual": own, "us(trait):known(line)": mixed.LKJ(2)}, layout)
    assert chosen == [own, mixed.LKJ(2), bmtme.HalfT()]


def test_scales_of_a_residual_are_of_weight_one(series):
    """A mean of w plots has a w-th of the residual variance; effects are not those of plots."""
    plots = series.dropna(subset="yield").assign(w=4.0)
    model, prior = mixed.Model("yield ~ 1", "line"), bmtme.HalfT()
    plain, weighed = (model.fit(plots, weights).layout for weights in (None, "w"))
    for designs, factor in (("residual", 2.0), ("random", 1.0)):
        (one,), (other,) = (getattr(layout, designs) for layout in (plain, weighed))
        np.testing.assert_allclose(find_scales(prior, other, weighed), factor * find_scales(prior, one, plain))


def test_scales_are_of_the_traits_in_the_records(series):
    """A trait that is not measured at a site, terms and residuals of one trait, a variance that is shared."""
    plots = series.assign(height=series["height"].where(series["site"] == "S"))
    sd = {name: plots[name].std(ddof=1) for name in ("yield", "height")}
    random = "at(site):us(trait):line + at(trait):site + cs(trait):col"
    model = mixed.Model("yield + height ~ trait", random, "diag(trait):units")
    layout = lay_out(model.fixed, model.random, model.residual, {}, Plots.of(plots))
    prior, both = bmtme.HalfT(), np.sqrt(np.mean(np.square(list(sd.values()))))
    found = {design.name: find_scales(prior, design, layout) / 5 for design in (*layout.residual, *layout.random)}
    np.testing.assert_allclose(found['at(site, "N"):us(trait):line'], [sd["yield"]])
    np.testing.assert_allclose(found['at(site, "S"):us(trait):line'], [sd["yield"], sd["height"]])
    for name in sd:
        np.testing.assert_allclose(found[f'at(trait, "{name}"):site'], [sd[name]])
        np.testing.assert_allclose(found[f'at(trait, "{name}"):units'], [sd[name]])
    np.testing.assert_allclose(found["cs(trait):col"], [both])
    with pytest.raises(UsageError, match="must be one number"):
        find_scales(bmtme.HalfT(2, {"yield": 1.0, "height": 2.0}), layout.random[-1], layout)


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        ({"lime": bmtme.HalfT()}, "no term with 'lime'.*'line'"),
        ({"line": 2.0}, "the prior of line must be"),
        (2.0, "prior must be"),
        (bmtme.HalfT(2, {"A": 1.0}), "must be one number"),
    ],
)
def test_bad_priors(series, prior, words):
    with pytest.raises(UsageError, match=words):
        draw(series, prior=prior)


@pytest.mark.parametrize(
    ("words", "message"),
    [({"draws": 0}, "draws"), ({"chains": 1.5}, "chains"), ({"keep_effects": "some"}, "keep_effects must be one of")],
)
def test_bad_calls(series, words, message):
    with pytest.raises(UsageError, match=message):
        draw(series, **words)


def test_factors_of_the_chains_take_memory(series, posterior, monkeypatch):
    factor = posterior.fit.result.equations.factor.memory
    monkeypatch.setattr("bmtme.arguments.measure_free_memory", lambda: 50 * factor)
    with pytest.raises(UsageError, match=r"draws=1, chains=50, .* would take"):
        draw(series, draws=1, chains=50, keep_effects="none")


def test_a_strong_prior_is_seen(series):
    free, tight = (draw(series, prior=prior) for prior in (None, {"line": bmtme.HalfT(30, 0.05)}))
    assert tight.summary()["mean"].iloc[0] < 0.01 < 0.1 < free.summary()["mean"].iloc[0]


def test_short_runs_are_told():
    with pytest.warns(UserWarning, match="one chain cannot show"):
        draw(make_series(), chains=1)
