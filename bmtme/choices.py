"""The words that name a choice, for the library and for the shell, which starts without numpy and numba."""

from __future__ import annotations

#: Structures of `BMTME`, priors of its means, and units of the variances of "standard".
STRUCTURES = ("unstructured", "diagonal", "standard")
MEANS = ("exchangeable", "flat", "paper")
UNITS = ("scaled", "raw")
#: Models beside these structures: one trait at a time; the means of the environments.
SINGLE, MEAN = "single", "mean"
#: Genetic and residual structures by name.
GENETICS = (
    "proportional",
    "main_and_interaction",
    "environments_by_trait",
    "separable",
    "factor_analytic",
    "free",
)
RESIDUALS = ("shared", "scaled", "common_correlation", "by_env")
#: Effects of replicates within environments.
REP_EFFECTS = ("auto", "none", "fixed", "random")
#: The genetic structure that has a number of factors.
FACTORED = "factor_analytic"
#: The first is the default.
SAMPLERS = ("collapsed", "gibbs", "stepwise")
#: In place of a number of draws: as many as suffice.
AUTO = "auto"
#: What is kept of the draws of the effects.
KEEP = ("auto", "all", "thin", "none")
#: What a prediction is of: the genetic value; a record, by what its other traits tell of its residual. The first is the
#: default.
GENETIC, RECORD = PREDICTED = ("genetic", "record")
#: Relationships of simulated lines.
RELATIONSHIPS = ("compound", "blocks", "markers")
#: What stage one makes of the field, the simplest first; the first word chooses.
SPATIAL = ("auto", "none", "linear", "rows_cols", "ar1", "ar1_nugget", "psplines")
#: What folders say that they hold: a mixed model's fit and its posterior, adjusted means.
MIXED, POSTERIOR, ADJUSTMENT = "mixed", "mixed posterior", "adjustment"
