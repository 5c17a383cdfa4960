"""The picture of a trial: every cell has the colour and the number that a naive count gives it."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import bmtme
from bmtme.report import trial_plots
from bmtme.report.trial_plots import ALL, NONE, SOME, plot_records

pytestmark = pytest.mark.usefixtures("no_windows")

LONG = "a name that is longer than any figure has room for, "
ROWS = [  # line, env, rep, Y, Z
    ("b", "E2", "1", 1.0, 1.0),
    ("a", "E1", "1", 1.0, np.nan),
    ("a", "E1", "2", 2.0, np.nan),
    ("c", "E1", "1", 1.0, 2.0),
    ("c", "E2", "1", np.nan, np.nan),
    ("d$\\frac{$", "E1", "1", 1.0, 2.0),
    ("d$\\frac{$", "E2", "1", 1.0, np.nan),
    ("d$\\frac{$", "E2", "2", np.nan, 2.0),
    ("d$\\frac{$", "E2", "3", 5.0, np.nan),
]


def make_trial(rows: list[tuple]) -> bmtme.Trial:
    frame = pd.DataFrame(rows, columns=["line", "env", "rep", "Y", "Z"])
    return bmtme.Trial.from_frame(frame, line="line", env="env", rep="rep", traits=["Y", "Z"])


def read_cells(figure: Figure) -> list[tuple[str, list[int]]]:
    """Every line with the kinds of its cells, over all blocks."""
    found = []
    for panel in figure.axes:
        cells = panel.images[0].get_array()
        labels = [label.get_text() for label in panel.get_yticklabels()]
        found += list(zip(labels, cells.tolist(), strict=True))
    return found


def test_cells_by_hand() -> None:
    figure = make_trial(ROWS).plot_records()
    (panel,) = figure.axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["E2", "E1"]
    # In both environments first, then those of the first environment of the file.
    assert read_cells(figure) == [
        ("d\\$\\frac{\\$", [ALL, ALL]),
        ("b", [ALL, NONE]),
        ("a", [NONE, SOME]),
        ("c", [NONE, ALL]),
    ]
    # Plots with a value of the trait that has most.
    assert {(text.get_position(), text.get_text()) for text in panel.texts} == {
        ((0, 0), "2"),
        ((1, 0), "1"),
        ((0, 1), "1"),
        ((1, 2), "2"),
        ((1, 3), "1"),
    }
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "values of all traits (4 cells)",
        "of some traits (1 cell)",
        "none (3 cells)",
        "numbers: plots",
    ]
    assert figure.get_suptitle() == "Records of 4 lines in 2 environments"
    figure.canvas.draw()


def test_many_lines_with_long_names() -> None:
    """All names of lines are there, each once, and none is cut off or stands over another."""
    rng = np.random.default_rng(3)
    grown = rng.random((150, 10)) < 0.6
    grown[:, 0] = True
    trial = make_trial([(f"{LONG}{j}", f"{LONG}{i}", "1", 1.0, 2.0) for j, i in np.argwhere(grown)])
    figure = plot_records(trial)
    cells = read_cells(figure)
    assert len({name for name, _ in cells}) == 150
    assert sum(sum(kinds) for _, kinds in cells) == ALL * grown.sum()
    assert not any(panel.texts for panel in figure.axes)  # one plot each: there is nothing to number
    assert len(figure.axes) > 1
    figure.canvas.draw()
    whole = figure.bbox
    for panel in figure.axes:
        boxes = [label.get_window_extent() for label in panel.get_yticklabels()]
        assert all(upper.y0 >= lower.y1 - 1.0 for upper, lower in itertools.pairwise(boxes))
        beside = [other.get_window_extent() for other in figure.axes if other is not panel]
        for box in (*boxes, *(label.get_window_extent() for label in panel.get_xticklabels())):
            assert whole.x0 <= box.x0
            assert box.x1 <= whole.x1
            assert box.y1 <= whole.y1
            assert not any(box.overlaps(other) for other in beside)


def test_more_lines_than_names() -> None:
    J = trial_plots.MOST_NAMED + 1
    figure = plot_records(make_trial([(str(j), "E", "1", 1.0, 2.0) for j in range(J)]))
    (panel,) = figure.axes
    assert panel.get_ylabel() == "1,001 lines"
    assert len(panel.images[0].get_array()) == J
    assert max(figure.get_size_inches()) <= trial_plots.BARE_INCHES
