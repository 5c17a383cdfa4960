"""Trend and residuals of plots, outliers, variograms, pictures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.errors import UsageError
from bmtme.results.stage_one.field import adjust_by_holm, find_outliers
from tests.helpers.figures import find_overlaps, list_texts
from tests.results.stage_one.conftest import COLUMNS


def test_values_are_mean_trend_and_residual(auto):
    means = auto.table.set_index(["env", "line"])["mean"]
    own = auto.plots[auto.plots["residual"].notna()]
    parts = means.loc[list(zip(own["env"], own["line"], strict=True))].to_numpy() + own["trend"] + own["residual"]
    np.testing.assert_allclose(parts, own["value"], atol=1e-9)


def test_trend_is_zero_on_the_average_plot(pair):
    """Replicates alike, and their plots alike; but for blocks and the like, which are zero on average of all blocks."""
    fit = pair.fits["N"]
    design = next(each for each in fit.layout.random if each.name == "diag(trait):rep:block")
    place = fit.layout.random.index(design)
    blocks = pd.Series(fit.result.effects[place][design.cells], fit.layout.plots.label_all(fit.layout.rows))
    traits = np.array(["yield", "protein"])[fit.layout.trait.codes]
    for trait in ("yield", "protein"):
        own = pair.plots[pair.plots["trait"] == trait].set_index("row_of_table")
        rest = own["trend"] - blocks[traits == trait].loc[own.index]
        rep = own.index.map(lambda k: int(k) < 28)
        assert rest.groupby(rep).mean().mean() == pytest.approx(0, abs=1e-9)


def test_holm_by_hand():
    np.testing.assert_allclose(adjust_by_holm(np.array([0.02, 0.01, 0.5, 0.03])), [0.06, 0.04, 0.5, 0.06])
    np.testing.assert_allclose(adjust_by_holm(np.array([0.7, 0.9])), [1.0, 1.0])


def make_table(values, env="N"):
    n = len(values)
    columns = dict.fromkeys(("line", "row_of_table", "row", "col", "value", "trend", "residual", "expected"), "")
    return pd.DataFrame({"env": env, "trait": "t", **columns, "standardised": values}, index=range(n))


def test_outliers_are_rescaled_by_their_median_deviation():
    """Quantiles of a normal distribution three times as wide have none; one far beyond the others is named."""
    from scipy.special import ndtri

    wide = 3 * ndtri((np.arange(101) + 0.5) / 101)
    assert find_outliers(make_table(wide)).empty
    far = np.append(wide, 15.0)
    found = find_outliers(pd.concat([make_table(far), make_table(wide, "S"), make_table([np.nan] * 3, "E")]))
    assert found["standardised"].tolist() == [15.0]
    assert 1e-6 < found["p"].item() < 1e-3


def test_a_planted_error_is_named(plots):
    """A point set wrong: 75.3 for 7.53."""
    wrong = plots[plots["site"] == "N"].copy()
    wrong.loc[24, "yield"] *= 10
    means = bmtme.adjust(wrong, traits="yield", spatial="linear", **COLUMNS)
    first = means.outliers.sort_values("p").iloc[0]
    assert (first["row_of_table"], first["line"], first["trait"]) == ("24", wrong.loc[24, "gen"], "yield")
    assert first["value"] == wrong.loc[24, "yield"]
    assert "row of table" in str(means)
    figure = means.plot_quantiles("N")
    assert wrong.loc[24, "gen"] in [text.get_text() for text in figure.axes[0].texts]


def test_variogram_by_hand(auto):
    table = auto.variogram("N").set_index(["trait", "row", "col"])
    own = auto.plots.query("env == 'N' and residual.notna()", engine="python")
    wanted = []
    for one in own.itertuples():
        for two in own.itertuples():
            if (two.row - one.row, abs(two.col - one.col)) == (1, 2):
                wanted.append((one.residual - two.residual) ** 2)
    assert table.loc[("yield", 1, 2), "n"] == len(wanted)
    assert table.loc[("yield", 1, 2), "gamma"] == pytest.approx(0.5 * np.mean(wanted))


def test_pictures(auto, pair):
    field = pair.plot_field("N")
    panels = [panel for panel in field.axes if panel.get_images()]
    assert [panel.get_title(loc="left") for panel in panels[:3]] == [
        "yield: values", "yield: trend", "yield: residuals",
    ]  # fmt: skip
    first = panels[0].get_images()[0].get_array()
    own = pair.plots.query("trait == 'yield'")
    assert first.shape == (8, 7)
    assert np.ma.count(first) == len(own)
    one = own.iloc[7]
    assert first[int(one["row"]) - 11, int(one["col"]) - 1] == one["value"]
    for draw in (auto.plot_variogram, auto.plot_quantiles, pair.plot_field, pair.plot_variogram, pair.plot_quantiles):
        figure = draw("N")
        assert any(text.startswith("N, model ") for text, _ in list_texts(figure))
        assert find_overlaps(figure) == []
    for draw in (auto.plot_field, auto.plot_variogram, auto.variogram):
        with pytest.raises(UsageError, match="environment 'S' have no rows and columns"):
            draw("S")
    with pytest.raises(UsageError, match=r"no plots of env 'M'.*'N'"):
        auto.plot_quantiles("M")
