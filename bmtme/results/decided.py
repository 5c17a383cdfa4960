"""Columns of the tables that are made of joint draws; see `bmtme.results.quantities`."""

from __future__ import annotations

from bmtme.results.entries import GIVEN, NONE, NUMBER, OWN, TEXT, VALUE, WHOLE, Column, Unit, bound
from bmtme.results.quantities import ENV, LINE, TRAIT

#: Of a value that is a trait's, or an index.
CRITERION = Unit("trait's unit, or that of the index")

RELIABILITY = Column(
    "reliability", NUMBER, NONE,
    "squared correlation of predicted and true deviations from the mean of the trial's lines, as the model expects",
)  # fmt: skip

RANKING: tuple[Column, ...] = (
    LINE,
    Column("value", NUMBER, CRITERION, "posterior mean of the line's value in the target environments, means included"),
    Column("sd", NUMBER, CRITERION, "its posterior standard deviation"),
    *bound(CRITERION),
    RELIABILITY,
    Column("rank_mean", NUMBER, NONE, "posterior mean of the rank among the candidates, 1 for the best"),
    *bound(NONE, "the 90% interval of the rank", "rank_", kind=WHOLE),
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
    *bound(OWN, "the 90% interval"),
)
NOTE = Column("note", TEXT, NONE, "empty if all is well, as in the summary")
#: Over traits and over environments.
CORRELATIONS = {"trait": (ENV, A, B, *DRAWN, NOTE), "env": (TRAIT, A, B, *DRAWN, NOTE)}
HERITABILITIES: tuple[Column, ...] = (ENV, TRAIT, *DRAWN, NOTE)
RESPONSE: tuple[Column, ...] = (TRAIT, *DRAWN)

STABILITY: tuple[Column, ...] = (
    LINE,
    Column("value", NUMBER, VALUE, "posterior mean of the line's value over the environments, means included"),
    Column("env_sd", NUMBER, VALUE, "standard deviation over environments of the line's effect, posterior mean"),
    *bound(VALUE, prefix="env_sd_"),
    Column(
        "slope", NUMBER, NONE,
        "regression of the line's values on the means of the environments, posterior mean: 1 for an average line",
    ),
    *bound(NONE, prefix="slope_"),
    Column(
        "p_above_mean", NUMBER, NONE, "probability to be better than the mean of the trial's lines in every environment"
    ),
)  # fmt: skip

MARKER_EFFECTS: tuple[Column, ...] = (
    Column("marker", TEXT, NONE, "name of the marker"),
    TRAIT,
    Column("frequency", NUMBER, NONE, "p, that of the allele whose copies are counted, over the lines given"),
    Column("effect", NUMBER, VALUE, "a, of one copy: x copies of two score the sum of (x - 2 p) a over the markers"),
)  # fmt: skip

LEFT_OUT: tuple[Column, ...] = (
    Column("record", WHOLE, NONE, "place of the record in `idata.observed_data`, from 0"),
    LINE,
    ENV,
    TRAIT,
    Column("observed", NUMBER, GIVEN, "its value"),
    Column("mean", NUMBER, GIVEN, "what the records that were not left out with it make of it"),
    Column("sd", NUMBER, GIVEN, "standard deviation of a record around that"),
    *bound(GIVEN, "the 90% interval for the record"),
)

SCORED: tuple[Column, ...] = (
    LINE,
    TRAIT,
    Column("mean", NUMBER, GIVEN, "genomic value over the target environments, without their means: posterior mean"),
    Column(
        "sd",
        NUMBER,
        GIVEN,
        "its posterior standard deviation, with what the markers, and missing genotypes, leave open",
    ),
    *bound(GIVEN),
    RELIABILITY,
    Column("missing", NUMBER, NONE, "share of the markers of the fit at which the line has no genotype"),
)
