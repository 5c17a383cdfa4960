"""Observed against predicted values: of a cross-validation, or of a fit with each value left out in turn."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bmtme.decisions.covariances import list_names_along
from bmtme.report.palette import style
from bmtme.report.panels import add_legend, make_panels, name_axes, shorten_names
from bmtme.results.agreement import Pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bmtme.results.fit import Fit

__all__ = ["describe_calibration", "draw_calibration", "plot_left_out"]

#: Of a normal distribution, half of whose draws lie within so many standard deviations.
HALF = 0.6744897501960817
#: What is left out together, in words.
LEFT_OUT = {"record": "each record", "cell": "each line in an environment", "line": "each line"}


def draw_calibration(panel: Axes, part: pd.DataFrame, envs: Sequence[str], sloping: Collection[str]) -> None:
    """Points of a trait with the line where both are equal, and regressions within environments.

    Parameters
    ----------
    part : env, observed, mean
    envs : in the order of their colours
    sloping : environments whose regression is drawn
    """
    ends = [part[["observed", "mean"]].min().min(), part[["observed", "mean"]].max().max()]
    margin = 0.04 * (ends[1] - ends[0]) or 1.0
    limits = (ends[0] - margin, ends[1] + margin)
    for e, env in enumerate(envs):
        here = part[part["env"] == env].sort_values(["mean", "observed"])
        looks = style(e)
        panel.plot(
            here["mean"],
            here["observed"],
            **looks,
            linestyle="none",
            markersize=3,
            markeredgewidth=0,
            alpha=min(0.7, max(0.15, 150 / max(len(part) / len(envs), 1))),
            rasterized=True,
        )
        x, y = here["mean"].to_numpy(), here["observed"].to_numpy()
        b = Pair(y, x).slope
        if math.isfinite(b) and env in sloping:
            among = np.array([x.min(), x.max()])
            line = y.mean() + b * (among - x.mean())
            panel.plot(among, line, color="white", linewidth=3.2, zorder=3)
            panel.plot(among, line, color=looks["color"], linewidth=1.6, zorder=4)
    panel.plot(limits, limits, color="0.2", linestyle="--", linewidth=1, zorder=2.5)
    panel.set(xlim=limits, ylim=limits, aspect="equal")
    panel.locator_params(nbins=5)


def describe_calibration(slope: float, shares: Sequence[float]) -> str:
    """Slope and coverage, for a title; shares : of the values within their 50% and 90% intervals."""
    texts = ["constant predictions" if math.isnan(slope) else f"slope {slope:.2f}"]
    if shares:
        texts.append(f"coverage {' and '.join(f'{100 * share:.0f}%' for share in shares)}")
    return ", ".join(texts)


def plot_left_out(fit: Fit, by: str = "record") -> Figure:
    """See `bmtme.results.pictures.FitPictures.plot_calibration`."""
    table = fit.leave_one_out(by)  # type: ignore[arg-type]
    table = table[table["mean"].notna()]
    envs = [env for env in list_names_along(fit, "env") if env in set(table["env"])]
    traits = [trait for trait in list_names_along(fit, "trait") if trait in set(table["trait"])]
    names = shorten_names(traits)
    figure, panels = make_panels(traits, 3.4, 3.9)
    for panel, trait in zip(panels, traits, strict=True):
        part = table[table["trait"] == trait]
        draw_calibration(panel, part, envs, envs)
        pairs = [Pair(own["observed"].to_numpy(), own["mean"].to_numpy()).slope for _, own in part.groupby("env")]
        slopes = [slope for slope in pairs if math.isfinite(slope)]
        half = ((part["observed"] - part["mean"]).abs() <= HALF * part["sd"]).mean()
        most = ((part["lower"] <= part["observed"]) & (part["observed"] <= part["upper"])).mean()
        told = describe_calibration(float(np.mean(slopes)) if slopes else math.nan, [half, most])
        panel.set_title(f"{names[trait]}\n{told}", fontsize=9)
    name_axes(figure, "predicted", "observed")
    title = (
        f"{LEFT_OUT[by]} predicted from the others, at the covariances that have seen it\n"
        "slope within environments (best: 1), coverage of 50% and 90% intervals"
    )
    add_legend(figure, {env: style(e) for e, env in enumerate(shorten_names(envs).values())}, title)
    return figure
