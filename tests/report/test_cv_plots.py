"""Figures of a cross-validation show what they should, at any size, without anything laid over anything."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import bmtme
from bmtme.cv.result import CrossValidation
from bmtme.report.cv_plots import plot_accuracy, plot_calibration, plot_differences
from bmtme.report.panels import shorten_names
from tests.helpers.comparisons import make_result

pytestmark = pytest.mark.usefixtures("no_windows")

MODELS = {"un": 0.8, "single": 0.3, "mean": float("nan")}
BASELINES = {"single": "single", "mean": "means"}


@pytest.fixture(scope="module")
def cv() -> CrossValidation:
    return make_result(MODELS, baselines=BASELINES)


@pytest.fixture(scope="module")
def large() -> CrossValidation:
    """Ten environments, eight traits, six models, some names a formula or hidden to matplotlib."""
    models = MODELS | {"diagonal": 0.5, "standard": 0.4, "_free, by-env": 0.6}
    envs = tuple(f"Site{k}_2019" for k in range(10))
    traits = ("Yield", "ASI", "$\\frac{$", "_PH", "TKW", "Protein", "Lodging", "DTF")
    return make_result(models, baselines=BASELINES, envs=envs, traits=traits, lines=40, partitions=4)


@pytest.fixture(scope="module")
def long() -> CrossValidation:
    """Names that would leave no room for anything else, and are told apart by their middle alone."""
    tail = "z" * 150
    models = {f"{'m' * 150}{k}{tail}": r for k, r in enumerate((0.8, 0.3, 0.5))}
    envs = tuple(f"{'E' * 150}{k}{tail}" for k in range(3))
    return make_result(models, envs=envs, traits=(f"{'T' * 150}1{tail}", f"{'T' * 150}2{tail}", "$x_{"), lines=40)


def list_legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def list_bars(panel: Any) -> dict[str, list[float]]:
    """Heights of the points by colour."""
    return {
        to_hex(bars[0].get_color()).upper(): bars[0].get_ydata().tolist() for bars in panel.containers if len(bars) == 3
    }


def test_accuracy(cv: CrossValidation) -> None:
    figure = plot_accuracy(cv)
    assert [panel.get_title() for panel in figure.axes] == ["Yield", "ASI"]
    summary = cv.summary().set_index(["trait", "model", "env"]).sort_index()
    for panel in figure.axes:
        assert [label.get_text() for label in panel.get_xticklabels()] == ["E1", "E2"]
        points = list_bars(panel)
        assert list(points) == ["#0072B2", "#D55E00"]
        for values, model in zip(points.values(), ("un", "single"), strict=True):
            assert values == summary.loc[(panel.get_title(), model)]["pearson_mean"].tolist()
        (segments,) = panel.containers[0][2]
        half = np.ptp(segments.get_segments()[0][:, 1]) / 2
        assert half == pytest.approx(summary.loc[(panel.get_title(), "un", "E1"), "pearson_se"])
        levels = [line.get_ydata()[0] for line in panel.lines if len(set(line.get_ydata())) == 1]
        assert levels.count(0.0) == 1
        assert levels.count(0.8) == 2  # the root of 0.64, in each environment
    assert list_legend(figure) == ["un", "single", "mean (no value)", "ceiling: root of the heritability"]
    assert "naive standard error, 10 partitions" in figure.get_supxlabel()


def test_accuracy_of_a_summary(cv: CrossValidation) -> None:
    """Without a ceiling; of errors every model has one, and traits have units of their own."""
    figure = plot_accuracy(cv.summary(), "msep")
    assert list_legend(figure) == ["un", "single", "mean"]
    assert not any(len(set(line.get_ydata())) == 1 and len(line.get_ydata()) == 2 for line in figure.axes[0].lines)
    slope = plot_accuracy(cv, "slope").axes[0]
    assert [line.get_ydata() for line in slope.lines if len(line.get_ydata()) == 2 and line.get_xdata()[0] == 0] == [
        [1.0, 1.0]
    ]
    one = cv.summary().assign(n_partitions=1, pearson_se=np.nan)
    assert "one partition" in plot_accuracy(one).get_supxlabel()


def test_differences(cv: CrossValidation) -> None:
    """The points, intervals and fillings are those of the comparison; from the single-trait model by default."""
    figure = plot_differences(cv)
    table = cv.compare(against="single").query("model == 'un'").set_index(["trait", "env"])
    told = []
    for panel in figure.axes:
        zero, *lines = panel.lines
        assert zero.get_xdata() == [0.0, 0.0]
        for env, bar, point in zip(cv.envs, lines[::2], lines[1::2], strict=True):
            row = table.loc[(panel.get_title(), env)]
            assert list(bar.get_xdata()) == [row["lower"], row["upper"]]
            assert point.get_xdata() == [row["difference"]]
            told.append(bool(row["p_adjusted"] < 0.05))
            assert (point.get_markerfacecolor() != "white") == told[-1]
    assert any(told)
    assert "difference from single" in figure.get_supxlabel()
    assert "(right of the line" in figure.get_supxlabel().replace("\n", " ")
    errors = plot_differences(cv, "msep", "mean")
    assert "(left of the line" in errors.get_supxlabel().replace("\n", " ")
    assert list_legend(errors) == ["un", "single"]


def test_differences_that_are_noise_are_hollow() -> None:
    alike = make_result({"a": 0.5, "b": 0.5}, seed=5)
    table = alike.compare(against="a")
    assert (table["p_adjusted"] > 0.05).all()
    points = [line for panel in plot_differences(alike).axes for line in panel.lines[2::2]]
    assert {point.get_markerfacecolor() for point in points} == {"white"}


def test_differences_over_hidden_environments() -> None:
    hidden = make_result({"a": 0.7, "b": 0.5}, hide="envs", envs=("A", "B", "C", "D"))
    figure = plot_differences(hidden)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["all"]
    row = hidden.compare(against="a", by="trait").iloc[0]
    assert figure.axes[0].lines[2].get_xdata() == [row["difference"]]


def test_calibration(cv: CrossValidation) -> None:
    figure = plot_calibration(cv, "un")
    for panel in figure.axes:
        trait = panel.get_title().split("\n")[0]
        part = cv.predictions[(cv.predictions["model"] == "un") & (cv.predictions["trait"] == trait)]
        points = [line for line in panel.lines if line.get_linestyle() == "None"]
        assert [len(line.get_xdata()) for line in points] == part.groupby("env", sort=False).size().tolist()
        assert sorted(points[0].get_ydata()) == sorted(part[part["env"] == "E1"]["observed"])
        here = part[part["env"] == "E1"]
        slope = np.polyfit(here["mean"], here["observed"], 1)[0]
        line = panel.lines[2]  # after the points and its white rim
        assert np.ptp(line.get_ydata()) / np.ptp(line.get_xdata()) == pytest.approx(slope)
        mine = cv.scores[(cv.scores["model"] == "un") & (cv.scores["trait"] == trait)]
        shares = [np.average(mine[f"coverage_{level}"], weights=mine["n_test"]) for level in (50, 90)]
        words = f"slope {mine['slope'].mean():.2f}, coverage {100 * shares[0]:.0f}% and {100 * shares[1]:.0f}%"
        assert panel.get_title().split("\n")[1] == words
        assert panel.get_xlim() == panel.get_ylim()
    assert plot_calibration(cv).legends[0].get_title().get_text().startswith("un (NewLines, 10 partitions)")
    assert "constant predictions" in plot_calibration(cv, "mean").axes[0].get_title()


def test_constant_predictions_have_no_regression_line(cv: CrossValidation) -> None:
    """Also where they are another constant in each partition, as means of environments are."""
    table = cv.predictions.copy()
    means = table["model"] == "mean"
    table.loc[means, "mean"] = 0.01 * table.loc[means, "partition"].astype(int)
    other = CrossValidation(table, cv.line_means, cv.partitions, cv.heritability, [], [], cv.run, cv.envs, cv.traits)
    sloped, constant = (plot_calibration(other, model).axes[0] for model in ("un", "mean"))
    assert "constant predictions" in constant.get_title()
    assert len(constant.lines) == len(sloped.lines) - 2 * len(cv.envs)  # a line and its white rim


def test_a_planted_inflation_is_seen(cv: CrossValidation) -> None:
    """Predictions that spread twice as much have half the slope, in the title and in the line."""
    table = cv.predictions.assign(mean=2 * cv.predictions["mean"])
    wide = CrossValidation(table, cv.line_means, cv.partitions, cv.heritability, [], [], cv.run, cv.envs, cv.traits)
    slopes = [
        float(plot_calibration(each, "un").axes[0].get_title().split("slope ")[1].split(",")[0]) for each in (cv, wide)
    ]
    assert slopes[1] == pytest.approx(slopes[0] / 2, abs=0.011)


@pytest.mark.parametrize("plot", [plot_accuracy, plot_differences, plot_calibration])
@pytest.mark.parametrize("size", ["cv", "large", "long"])
@pytest.mark.filterwarnings("error")
def test_nothing_overlaps(plot: Any, size: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Panels, their titles and labels, the legend and the names of the axes; and all of it inside the figure."""
    figure = plot(request.getfixturevalue(size))
    figure.savefig(tmp_path / "figure.png")
    drawn = figure.canvas.get_renderer()
    boxes = [panel.get_tightbbox(drawn).shrunk(0.98, 0.98) for panel in figure.axes if panel.axison]
    boxes += [text.get_window_extent(drawn) for text in (figure._supxlabel, figure._supylabel)]
    boxes.append(figure.legends[0].get_window_extent(drawn))
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    for panel in figure.axes:  # not squeezed out by their labels
        assert not panel.axison or min(panel.get_window_extent(drawn).size) > 0.5 * figure.dpi
    width, height = figure.canvas.get_width_height()
    for box in boxes:
        assert -2 <= box.x0 <= box.x1 <= width + 2
        assert -2 <= box.y0 <= box.y1 <= height + 2
    assert max(figure.get_size_inches()) < 20
    for panel in figure.axes:
        labels = [label.get_window_extent(drawn) for label in panel.get_xticklabels() if label.get_rotation() == 0]
        assert not any(one.overlaps(other) for one, other in combinations(labels[:10], 2))


def test_long_names_stay_apart(long: CrossValidation) -> None:
    short = f"{'m' * 15}…{'z' * 8}"
    assert list_legend(plot_accuracy(long))[:3] == [short, f"{short} (2)", f"{short} (3)"]
    assert shorten_names(["x" * 24, "a\nb", "$"]) == {"x" * 24: "x" * 24, "a\nb": "a b", "$": r"\$"}


def test_differences_do_not_pay_for_a_bootstrap(cv: CrossValidation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bmtme.cv.compare, "resample_lines", lambda *given: pytest.fail("drawn"))
    with pytest.raises(pytest.fail.Exception):
        cv.compare()
    assert plot_differences(cv).axes


def test_refusals(cv: CrossValidation) -> None:
    with pytest.raises(bmtme.UsageError, match=r"must be one of .*Did you mean 'pearson'"):
        plot_accuracy(cv, "Pearson")
    with pytest.raises(bmtme.UsageError, match="without the column 'msep_mean'"):
        plot_accuracy(cv.summary().drop(columns="msep_mean"), "msep")
    with pytest.raises(bmtme.UsageError, match="expected a cross-validation or its summary, got a table without"):
        plot_accuracy(pd.DataFrame())
    with pytest.raises(bmtme.UsageError, match=r"expected a cross-validation or its summary, got None\."):
        plot_accuracy(None)  # type: ignore[arg-type]
    with pytest.raises(bmtme.UsageError, match="has no rows"):
        plot_accuracy(cv.summary().iloc[:0])
    with pytest.raises(bmtme.UsageError, match=r"must be one of .*got \['pearson'\]"):
        plot_differences(cv, ["pearson"])  # type: ignore[arg-type]
    with pytest.raises(bmtme.UsageError, match="Did you mean 'single'"):
        plot_differences(cv, against="singel")
    with pytest.raises(bmtme.UsageError, match="model must be one of 'un', 'single', 'mean', got 'unn'"):
        plot_calibration(cv, "unn")
    with pytest.raises(bmtme.UsageError, match="nothing to compare"):
        plot_differences(make_result({"alone": 0.5}))
