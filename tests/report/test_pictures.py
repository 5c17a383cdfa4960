"""Every picture, at a size and with names that ask much of it: nothing lies over anything, names are as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import bmtme
from bmtme import mixed
from bmtme.report.palette import plain
from bmtme.report.panels import make_figure
from bmtme.report.pictures import draw_picture, list_pictures
from bmtme.results.fit import Fit
from tests.helpers.comparisons import make_result
from tests.helpers.figures import find_overlaps, list_texts
from tests.report.conftest import ODD

OPTIONS = {"trait": ODD[0], "check": ODD[1]}
NAMES = (
    "ranking",
    "probabilities",
    "reaction-norms",
    "trait-correlations",
    "env-correlations",
    "heritability",
    "chains",
)


def read(figure: Figure) -> set[str]:
    """Texts as they are seen."""
    return {text.replace(r"\$", "$").strip() for text, _ in list_texts(figure)}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_overlaps(crowded: Fit, name: str, tmp_path: Path) -> None:
    assert name in [picture.name for picture in list_pictures(crowded)]
    takes = next(picture.arguments for picture in list_pictures(crowded) if picture.name == name)
    figure = draw_picture(crowded, name, {key: value for key, value in OPTIONS.items() if key in takes})
    assert find_overlaps(figure) == []
    assert max(figure.get_size_inches()) < 20
    texts = read(figure)
    if name in ("heritability", "trait-correlations"):
        assert texts >= {ODD[0], ODD[1], f"{'T' * 15}…{'T' * 8}", "_T", "Grain protein c…tent (%)", r"\x1b[31mred"}
    if name in ("heritability", "env-correlations", "reaction-norms"):
        assert texts >= {"../../etc", "$x_{$", f"{'E' * 15}…{'E' * 8}"}
    if name in ("ranking", "probabilities"):
        assert f"{ODD[1]} (check)" in texts
    figure.savefig(tmp_path / "figure.svg")
    assert "\x1b" not in (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert plt.get_fignums() == []


@pytest.mark.usefixtures("_sufficient")
def test_calibration(small: Fit) -> None:
    names = ("E1", "E2", "E3")
    figure = small.plot_calibration()
    assert find_overlaps(figure) == []
    table = small.leave_one_out()
    for panel in figure.axes:
        own = table[table["trait"] == panel.get_title().split("\n")[0]]
        points = [line for line in panel.lines if line.get_linestyle() == "None"]
        assert len(points) == len(names)
        for env, line in zip(names, points, strict=True):
            here = own[own["env"] == env]
            assert sorted(line.get_ydata()) == sorted(here["observed"])
            assert sorted(line.get_xdata()) == sorted(here["mean"])
        slopes = [np.polyfit(here["mean"], here["observed"], 1)[0] for _, here in own.groupby("env")]
        inside = (own["lower"] <= own["observed"]) & (own["observed"] <= own["upper"])
        half = (own["observed"] - own["mean"]).abs() <= 0.67449 * own["sd"]
        told = f"slope {np.mean(slopes):.2f}, coverage {100 * half.mean():.0f}% and {100 * inside.mean():.0f}%"
        assert panel.get_title().split("\n")[1] == told


def test_which_go_with_a_run(small: Fit, crowded: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {picture.name for picture in list_pictures(small)} == {*NAMES, "calibration"}
    # More than 5,000 values are not left out.
    assert {picture.name for picture in list_pictures(crowded)} == set(NAMES)
    monkeypatch.setattr(small, "_predictions", None)
    assert {picture.name for picture in list_pictures(small)} == {
        "trait-correlations", "env-correlations", "heritability", "calibration", "chains",
    }  # fmt: skip
    for name in ("ranking", "probabilities", "reaction-norms"):
        with pytest.raises(bmtme.UsageError, match="kept no effects"):
            draw_picture(small, name, {"trait": "T1"})
    one = make_result({"alone": 0.5})
    assert [picture.name for picture in list_pictures(one)] == ["accuracy", "calibration"]


def test_chains_that_do_not_suffice(small: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Titles say so, of all but the chains themselves, and nothing lies over them."""
    words = "do not lean on this"
    for reliable in (True, False):
        monkeypatch.setattr(Fit, "reliable", reliable)
        figures = [small.plot_env_correlations(), small.plot_heritability(), small.plot_chains(["beta[E1, T1]"])]
        told = [any(words in text for text, _ in list_texts(figure)) for figure in figures]
        assert told == [not reliable, not reliable, False]


def test_refusals(small: Fit) -> None:
    with pytest.raises(bmtme.UsageError, match=r"no picture 'rankings' of this run\. Did you mean 'ranking'\?"):
        draw_picture(small, "rankings", {})
    with pytest.raises(bmtme.UsageError, match="picture 'heritability' does not take 'trait': it takes no option"):
        draw_picture(small, "heritability", {"trait": "T1"})
    with pytest.raises(bmtme.UsageError, match="trait must be named"):
        draw_picture(small, "ranking", {})
    with pytest.raises(bmtme.DataError, match=r"no trait 'T'\. Did you mean"):
        draw_picture(small, "ranking", {"trait": "T"})


def test_planted_overlap_is_found() -> None:
    """The test of overlaps finds some."""
    figure, ((panel,),) = make_figure(1, 1, (3.0, 2.0))
    panel.text(0.3, 0.5, "a name that is long")
    panel.text(0.4, 0.52, "another")
    figure.text(0.9, 0.9, "over the edge of the figure")
    found = find_overlaps(figure)
    assert ("a name that is long", "another") in found
    assert ("over the edge of the figure", "edge") in found
    assert len(found) == 2


def test_names_as_they_are() -> None:
    assert plain("$a$ \\$") == r"\$a\$ \\$"
    assert plain("_a") == " _a"
    assert plain("\x1b[2J\u202e\ufeffö中") == r"\x1b[2J\u202e\ufeffö中"


def test_notebooks_show_a_figure() -> None:
    figure, _ = make_figure(1, 1, (2.0, 2.0))
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert plt.get_fignums() == []


ACROSS = "place in the row, counted from the gate"


@pytest.fixture(scope="module")
def field() -> mixed.MixedFit:
    """Two sections with a long name, rows and columns."""
    rng = np.random.default_rng(4)
    rows = [
        (site, str(r), str(c), f"g{(7 * r + c) % 15}", float(y))
        for site in ("$S_{$" + "x" * 100, "<b>S</b>")
        for r in range(1, 9)
        for c in range(1, 7)
        for y in [rng.normal(10, 1) + np.sin(r)]
    ]
    plots = pd.DataFrame(rows, columns=["site", "row", "col", "gen", "yield"])
    plots = plots.rename(columns={"col": ACROSS})
    plots.loc[5, "yield"] = np.nan
    return mixed.Model("yield ~ site", random="gen", residual=f"`{ACROSS}`:ar1(row) | site").fit(plots)


def test_residuals(field: mixed.MixedFit, tmp_path: Path) -> None:
    """The same from the fit and from its folder."""
    from bmtme.results.runs import open_run

    field.save(tmp_path / "run")
    read_back = open_run(tmp_path / "run")
    table = field.residuals()
    for run in (field, read_back):
        assert [picture.name for picture in list_pictures(run)] == ["residuals", "field", "variogram"]
        left, right = run.plot_residuals().axes  # type: ignore[union-attr]
        assert left.lines[1].get_ydata().tolist() == table["residual"].tolist()
        assert right.lines[1].get_ydata().tolist() == sorted(table["standardised"])
        figures: dict[str, Any] = {name: draw_picture(run, name, {}) for name in ("field", "variogram")}
        for figure in figures.values():
            assert find_overlaps(figure) == []
        images = [panel.images[0].get_array().filled(np.nan) for panel in figures["field"].axes[:2]]
        assert [image.shape for image in images] == [(8, 6), (8, 6)]
        assert images[0][1, 1] == table.set_index("row_of_table")["residual"]["7"]
        assert np.isnan(images[0][0, 5])
        gamma = field.variogram()
        own = gamma[(gamma["section"] == "<b>S</b>") & (gamma["n"] >= 20)]
        across, down, level = figures["variogram"].axes[3].lines
        np.testing.assert_allclose(across.get_ydata(), own[own["row"] == 0]["gamma"])
        np.testing.assert_allclose(down.get_ydata(), own[own[ACROSS] == 0]["gamma"])
        assert level.get_ydata()[0] == pytest.approx(np.nanvar(images[1]))
    with pytest.raises(bmtme.UsageError, match=f"has the positions '{ACROSS}', 'row', not 'a', 'b'"):
        read_back.plot_field(("a", "b"))  # type: ignore[union-attr]


def test_no_positions(tmp_path: Path) -> None:
    from bmtme.results.runs import open_run

    plots = pd.DataFrame({"gen": list("ABCD") * 3, "yield": np.arange(12.0) ** 1.3})
    mixed.Model("yield ~ 1", random="gen").fit(plots).save(tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert [picture.name for picture in list_pictures(run)] == ["residuals"]
    with pytest.raises(bmtme.UsageError, match=r"does not say where plots lie.* units, has no rows and columns"):
        draw_picture(run, "field", {})
