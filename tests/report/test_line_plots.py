"""Pictures of lines show the numbers of the tables."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

import bmtme
from bmtme.report import line_plots
from bmtme.results.fit import Fit

pytestmark = pytest.mark.usefixtures("_sufficient")


def list_rows(panel) -> list[str]:
    return [label.get_text() for label in panel.get_yticklabels()]


def test_ranking(small: Fit) -> None:
    table = small.ranking("T1", env="E2", top=4, check="L07")
    figure = small.plot_ranking("T1", env="E2", top=4, check="L07")
    (panel,) = figure.axes  # all lines have a row
    names = table["line"].tolist()
    assert list_rows(panel) == [f"{name} (check)" if name == "L07" else name for name in names]
    level, *lines = panel.lines
    own = table.set_index("line")
    assert set(level.get_xdata()) == {own.loc["L07", "value"]}
    for y, (name, bar, point) in enumerate(zip(names, lines[::2], lines[1::2], strict=True)):
        assert list(bar.get_xdata()) == [own.loc[name, "lower"], own.loc[name, "upper"]]
        assert (point.get_xdata(), point.get_ydata()) == ([own.loc[name, "value"]], [y])
        colour = "#D55E00" if name == "L07" else "#0072B2" if y < 4 else "#8C8C8C"
        assert to_hex(point.get_color()).upper() == colour
        assert (point.get_markerfacecolor() == "white") == (name in ("L27", "L28", "L29"))
    title = figure.legends[0].get_title().get_text()
    assert title == "T1, high values wanted: 30 lines\nE2"


def test_ranking_of_many_lines(small: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones and the check have rows; all stand beside by their rank."""
    monkeypatch.setattr(line_plots, "MOST_ROWS", 10)
    table = small.ranking("T2", top=3, best="low")
    last = table["line"].iloc[-1]
    left, right = small.plot_ranking("T2", top=3, best="low", check=last).axes
    assert list_rows(left) == [*table["line"][:10], f"{last} (check)"]
    points = [line for line in right.lines if line.get_marker() == "."]
    assert np.concatenate([line.get_xdata() for line in points]).tolist() == list(range(1, 31))
    assert np.concatenate([line.get_ydata() for line in points]).tolist() == table["value"].tolist()
    (mark,) = (line for line in right.lines if line.get_marker() == "D")
    assert (mark.get_xdata(), mark.get_ydata()) == ([30], [table["value"].iloc[-1]])


def test_ranking_by_an_index(small: Fit) -> None:
    table = small.index({"T1": 1.0, "T2": -0.5})
    (panel,) = line_plots.draw_ranking(table, small.recorded_lines).axes
    values = [line.get_xdata()[0] for line in panel.lines[1::2]]
    np.testing.assert_allclose(values, table["value"] - table["value"].mean())


def test_probabilities(small: Fit) -> None:
    table = small.ranking("T1", top=0.2, check="L07").set_index("line")
    figure = small.plot_probabilities("T1", top=0.2, check="L07")
    (panel,) = figure.axes
    names = [name.removesuffix(" (check)") for name in list_rows(panel)]
    chance, best, above = panel.lines
    assert set(chance.get_xdata()) == {6 / 30}
    np.testing.assert_array_equal(best.get_xdata(), table.loc[names, "p_top"])
    assert (np.diff(best.get_xdata()) <= 0).all()
    expected = table.loc[names, "p_above_check"].where([name != "L07" for name in names])
    np.testing.assert_array_equal(above.get_xdata(), expected)
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == [
        "to be among the best 6",
        "to be better than the check L07",
    ]


def test_reaction_norms(small: Fit) -> None:
    """Values and deviations by hand from the joint draws; the environment with the lowest mean of the lines first."""
    u = small.line_effects().sel(trait="T1")
    beta = small.idata["posterior"]["beta"].sel(trait="T1")
    known = u.sel(line=small.recorded_lines)
    level = (beta + known.mean("line")).mean(["chain", "draw"])
    order = [str(level["env"].values[k]) for k in np.argsort(level.values)]
    off = (u - known.mean("line")).sel(env=order)
    figure = small.plot_reaction_norms("T1", top=2, check="L07")
    above, below = figure.axes
    assert [label.get_text() for label in below.get_xticklabels()] == order
    overall = off.mean(["chain", "draw", "env"])
    best = [name for name in overall["line"].values[np.argsort(-overall.values)][:2] if name != "L07"]
    named = {line.get_label(): line for line in above.lines[-len(best) - 1 :]}
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [*best, "L07 (check)"]
    values = (u + beta).mean(["chain", "draw"]).sel(env=order)
    deviations = off.mean(["chain", "draw"])
    for name, line, other in zip([*best, "L07"], named.values(), below.lines[-len(best) - 2 : -1], strict=True):
        np.testing.assert_allclose(line.get_ydata(), values.sel(line=name))
        np.testing.assert_allclose(other.get_ydata(), deviations.sel(line=name))
    assert len(above.lines) + len(above.collections[0].get_segments()) == 30
    bars = below.collections[-1].get_segments()
    low, high = (off.sel(line="L07").quantile(q, ["chain", "draw"]) for q in (0.05, 0.95))
    np.testing.assert_allclose([bar[:, 1] for bar in bars], np.stack([low, high], axis=1))
    with pytest.raises(bmtme.UsageError, match="two environments at least, and there is one: 'E1'"):
        small.plot_reaction_norms("T1", env=["E1"])
    with pytest.raises(bmtme.DataError, match="no line 'L77'"):
        small.plot_reaction_norms("T1", check="L77")
    assert len(small.plot_reaction_norms("T1", env=["E1", "E3"], top=300).axes[0].lines) == 6
