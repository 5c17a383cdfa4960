"""Columns of the tables that are made of joint draws; see `bmtme.results.quantities`."""

from __future__ import annotations

from bmtme.results.entries import NONE, NUMBER, OWN, TEXT, VALUE, WHOLE, Column, Unit
from bmtme.results.quantities import ENV, LINE, TRAIT

#: Of a value that is a trait's, or an index.
CRITERION = Unit("trait's unit, or that of the index")

RANKING: tuple[Column, ...] = (
    LINE,
    Column("value", NUMBER, CRITERION, "posterior mean of the line's value in the target environments, means included"),
    Column("sd", NUMBER, CRITERION, "its posterior standard deviation"),
    Column("lower", NUMBER, CRITERION, "lower end of its 90% interval"),
    Column("upper", NUMBER, CRITERION, "upper end of that interval"),
    Column(
        "reliability", NUMBER, NONE,
        "squared correlation of predicted and true deviations from the mean of the trial's lines, as the model expects",
    ),
    Column("rank_mean", NUMBER, NONE, "posterior mean of the rank among the candidates, 1 for the best"),
    Column("rank_lower", WHOLE, NONE, "lower end of the 90% interval of the rank"),
    Column("rank_upper", WHOLE, NONE, "upper end of that interval"),
    Column("p_top", NUMBER, NONE, "probability to be among the best, as many as `top` says"),
    Column("p_above_check", NUMBER, NONE, "probability to be better than the check, missing without one"),
)  # fmt: skip

JOINT: tuple[Column, ...] = (
    LINE,
    Column("p_top", NUMBER, NONE, "probability to be among the best in every criterion at once"),
    Column("p_above_check", NUMBER, NONE, "probability to be better than the check in every criterion at once"),
)

A = Column("a", TEXT, NONE, "name of a trait or environment")
B = Column("b", TEXT, NONE, "name of the other one")
DRAWN: tuple[Column, ...] = (
    Column("mean", NUMBER, OWN, "posterior mean"),
    Column("sd", NUMBER, OWN, "posterior standard deviation"),
    Column("lower", NUMBER, OWN, "lower end of the 90% interval"),
    Column("upper", NUMBER, OWN, "upper end of that interval"),
)
NOTE = Column("note", TEXT, NONE, "empty if all is well, as in the summary")
#: Over traits and over environments.
CORRELATIONS = {"trait": (ENV, A, B, *DRAWN, NOTE), "env": (TRAIT, A, B, *DRAWN, NOTE)}
HERITABILITIES: tuple[Column, ...] = (ENV, TRAIT, *DRAWN)
RESPONSE: tuple[Column, ...] = (TRAIT, *DRAWN)

STABILITY: tuple[Column, ...] = (
    LINE,
    Column("value", NUMBER, VALUE, "posterior mean of the line's value over the environments, means included"),
    Column("env_sd", NUMBER, VALUE, "standard deviation over environments of the line's effect, posterior mean"),
    Column("env_sd_lower", NUMBER, VALUE, "lower end of its 90% interval"),
    Column("env_sd_upper", NUMBER, VALUE, "upper end of that interval"),
    Column(
        "slope", NUMBER, NONE,
        "regression of the line's values on the means of the environments, posterior mean: 1 for an average line",
    ),
    Column("slope_lower", NUMBER, NONE, "lower end of its 90% interval"),
    Column("slope_upper", NUMBER, NONE, "upper end of that interval"),
    Column(
        "p_above_mean", NUMBER, NONE, "probability to be better than the mean of the trial's lines in every environment"
    ),
)  # fmt: skip
