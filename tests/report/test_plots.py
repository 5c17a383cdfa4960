"""Figures show what they should."""

from __future__ import annotations

import pandas as pd
import pytest

import bmtme
from bmtme.report.plots import plot_accuracy, plot_chains

pytestmark = [pytest.mark.usefixtures("no_windows"), pytest.mark.filterwarnings("ignore:a short run")]


def make_summary(partitions: int = 5) -> pd.DataFrame:
    error = 0.05 if partitions > 1 else float("nan")
    rows = [
        (model, env, trait, partitions, k / 10, error, float(k), 10 * error)
        for trait in ("Yield", "PH")
        for env in ("North", "South", "East")
        for k, model in enumerate(("un", "st"))
    ]
    columns = ["model", "env", "trait", "n_partitions", "pearson_mean", "pearson_se", "msep_mean", "msep_se"]
    return pd.DataFrame(rows, columns=columns)


def test_plot_accuracy() -> None:
    figure = plot_accuracy(make_summary())
    panels = figure.axes
    assert [panel.get_title() for panel in panels] == ["Yield", "PH"]
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["North", "South", "East"]
    points = panels[0].containers[1][0]  # the second model
    assert points.get_ydata().tolist() == [0.1, 0.1, 0.1]
    (bars,) = panels[0].containers[1][2]
    assert bars.get_segments()[0][:, 1].tolist() == pytest.approx([0.05, 0.15])
    assert "naive standard error, 5 partitions" in figure.get_supxlabel()


def test_plot_accuracy_of_one_partition() -> None:
    assert "one partition" in plot_accuracy(make_summary(partitions=1), "msep").get_supxlabel()


def test_plot_accuracy_refuses() -> None:
    with pytest.raises(bmtme.UsageError, match="score must be one of"):
        plot_accuracy(make_summary(), "Pearson's r")
    with pytest.raises(bmtme.UsageError, match="no column 'msep_mean'"):
        plot_accuracy(make_summary().drop(columns="msep_mean"), "msep")


def test_plot_chains() -> None:
    simulation = bmtme.simulate(lines=10, envs=2, traits=2, seed=1)
    trial = bmtme.Trial.from_frame(simulation.frame, line="line", env="env", rep="rep", traits=["T1", "T2"])
    fit = bmtme.fit(trial, simulation.relationship, draws=30, tune=20, chains=3)
    assert len(plot_chains(fit).axes) == 8
    name = "genetic_correlation[T1, T2]"
    left, right = plot_chains(fit, [name]).axes
    assert left.get_title(loc="left") == name
    assert [len(line.get_ydata()) for line in left.lines] == [30, 30, 30]
    assert sum(patch.get_data().values.sum() for patch in right.patches) == 90
    with pytest.raises(bmtme.UsageError, match="no parameter 'Sigma_t"):
        plot_chains(fit, ["Sigma_t[T9, T9]"])
