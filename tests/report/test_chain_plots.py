"""Figures of a fit show what they should."""

from __future__ import annotations

import pytest

import bmtme

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


def test_plot_chains() -> None:
    simulation = bmtme.simulate(lines=10, envs=2, traits=2, seed=1)
    trial = bmtme.Trial.from_frame(simulation.frame, line="line", env="env", rep="rep", traits=["T1", "T2"])
    fit = bmtme.fit(trial, simulation.relationship, draws=30, tune=20, chains=3)
    assert len(fit.plot_chains().axes) == 8
    name = "genetic_correlation[T1, T2]"
    left, right = fit.plot_chains([name]).axes
    row = fit.summary().loc[name]
    assert left.get_title(loc="left") == (
        f"{name}: R-hat {row['r_hat']:.3f}, ESS {row['ess_bulk']:.0f} (tail {row['ess_tail']:.0f})"
    )
    figure = fit.plot_chains([name])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["chain 0", "chain 1", "chain 2"]
    assert [len(line.get_ydata()) for line in left.lines] == [30, 30, 30]
    assert sum(patch.get_data().values.sum() for patch in right.patches) == 90
    with pytest.raises(bmtme.UsageError, match="no parameter 'Sigma_t"):
        fit.plot_chains(["Sigma_t[T9, T9]"])
