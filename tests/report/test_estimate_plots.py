"""Pictures of correlations and heritabilities show the numbers of the tables."""

from __future__ import annotations

from typing import Any

import pytest

import bmtme
from bmtme.results.fit import Fit
from tests.helpers.posteriors import make_fit, make_setting

pytestmark = pytest.mark.usefixtures("_sufficient")


def read_cells(panel: Any) -> dict[tuple[str, str], tuple[str, str]]:
    """Number and weight in each cell, by the names of its row and column."""
    across = dict(zip(panel.get_xticks(), (t.get_text() for t in panel.get_xticklabels()), strict=True))
    down = dict(zip(panel.get_yticks(), (t.get_text() for t in panel.get_yticklabels()), strict=True))
    return {
        (down[text.get_position()[1]], across[text.get_position()[0]]): (text.get_text(), text.get_fontweight())
        for text in panel.texts
    }


def test_env_correlations(small: Fit) -> None:
    table = small.correlations(over="env")
    panels = small.plot_env_correlations().axes[:2]
    assert [panel.get_title() for panel in panels] == ["T1", "T2"]
    weights = set()
    for panel in panels:
        cells = read_cells(panel)
        grid = panel.images[0].get_array()
        own = table[table["trait"] == panel.get_title()]
        assert len(cells) == len(own) == 3
        for row in own.itertuples():
            text, weight = cells[row.b, row.a]
            assert float(text) == pytest.approx(row.mean, abs=0.0051)
            assert (weight == "bold") == (row.lower > 0 or row.upper < 0)
            weights.add(weight)
        assert grid[2, 0] == own.set_index(["a", "b"])["mean"]["E1", "E3"]
        assert grid.mask[0, 2]
    assert len(small.plot_env_correlations("T2").axes) == 2  # with the scale
    with pytest.raises(bmtme.DataError, match="no trait 'T9'"):
        small.plot_env_correlations("T9")


def test_trait_correlations(small: Fit) -> None:
    """Residual ones differ by environment here; one that is named has its own genetic ones."""
    titles = [panel.get_title() for panel in small.plot_trait_correlations().axes[:-1]]
    assert titles[:5] == [
        "genetic, means over environments",
        "interaction",
        "residual, E1",
        "residual, E2",
        "residual, E3",
    ]
    genetic, residual = small.plot_trait_correlations("E2").axes[:2]
    for panel, kind in ((genetic, "genetic"), (residual, "residual")):
        table = small.correlations(kind)
        ((_, (text, _)),) = read_cells(panel).items()
        assert float(text) == pytest.approx(table.set_index("env")["mean"]["E2"], abs=0.0051)
    with pytest.raises(bmtme.DataError, match="no environment 'E9'"):
        small.plot_trait_correlations("E9")


def test_what_is_alike_is_shown_once() -> None:
    paper = make_fit(make_setting(lines=12, new=2, paper=True), "paper")
    assert [panel.get_title() for panel in paper.plot_env_correlations().axes[:-1]] == ["every trait"]
    titles = [panel.get_title() for panel in paper.plot_trait_correlations().axes[:-1]]
    assert titles == ["genetic, every environment", "residual, every environment"]


def test_what_the_prior_says_alone_is_hatched(small: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    table = small.correlations(over="env")
    table.loc[1, "note"] = "prior only: no record"
    monkeypatch.setattr(type(small), "correlations", lambda *given, **named: table)
    figure = small.plot_env_correlations()
    assert [len(panel.patches) for panel in figure.axes[:2]] == [1, 0]
    assert figure.axes[0].patches[0].get_xy() == (-0.5, 1.5)  # E1 with E3
    assert "hatched" in figure.get_suptitle()


def test_heritability(small: Fit) -> None:
    record, mean = small.heritability(), small.heritability("mean").set_index("trait")
    figure = small.plot_heritability()
    for panel in figure.axes:
        trait = panel.get_title()
        own = record[record["trait"] == trait].set_index("env")
        assert [label.get_text() for label in panel.get_yticklabels()] == ["E1", "E2", "E3", "mean of a line"]
        rows = [own.loc[env] for env in ("E1", "E2", "E3")] + [mean.loc[trait]]
        for y, (row, bar, point) in enumerate(zip(rows, panel.lines[::2], panel.lines[1::2], strict=True)):
            assert list(bar.get_xdata()) == [row["lower"], row["upper"]]
            assert (point.get_xdata(), point.get_ydata()) == ([row["mean"]], [y])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["of a record", "of a line's mean over its plots"]
    assert small.heritability()["note"].str.contains("prior only").sum() == 0
