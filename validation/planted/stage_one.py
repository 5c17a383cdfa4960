"""Errors in stage one: splines, adjusted means, the choice of a model, outliers."""

from __future__ import annotations

from validation.planted.mutant import Mutant

SPLINES, MEANS = "model/mixed/test_splines.py::", "results/stage_one/test_means.py::"
CHOICE, FIELD = "results/stage_one/test_choice.py::", "results/stage_one/test_field.py::"
WRITTEN_OUT = MEANS + "test_every_model_is_the_one_written_out"

STAGE_ONE = (
    Mutant(
        "stage one: penalties of rows and columns multiplied",
        "model/mixed/splines.py",
        "one.roots[:, None] + two.roots",
        "one.roots[:, None] * two.roots",
        (SPLINES + "test_both_axes", WRITTEN_OUT + "[psplines]"),
    ),
    Mutant(
        "stage one: a deviation along rows that does not change along columns",
        "model/mixed/splines.py",
        "Z * line[:, None]",
        "Z * np.abs(line[:, None])",
        (SPLINES + "test_both_axes", WRITTEN_OUT + "[psplines]"),
    ),
    Mutant(
        "stage one: splines that are not zero on average",
        "model/mixed/splines.py",
        "            Z[own] -= weights[own] @ Z[own]\n",
        "",
        (WRITTEN_OUT + "[psplines]", MEANS + "test_two_traits_jointly"),
    ),
    Mutant(
        "stage one: means of the larger replicate rather than of both",
        "model/stage_one.py",
        "weights = 1.0 / counts[place]",
        "weights = 1.0 / np.ones(len(place))",
        (WRITTEN_OUT + "[linear]", FIELD + "test_trend_is_zero_on_the_average_plot"),
    ),
    Mutant(
        "stage one: means of the first replicate in the middle of the field",
        "results/stage_one/means.py",
        "K = np.array([means[t] for t in cells[:, 1]])",
        "K = np.array([0.0 * means[t] for t in cells[:, 1]])",
        (WRITTEN_OUT + "[linear]",),
    ),
    Mutant(
        "stage one: plots predicted with their own value",
        "engines/mixed/equations.py",
        "found = Q.diagonal()[places] - np.einsum",
        "found = Q.diagonal()[places] - 0.0 * np.einsum",
        (
            WRITTEN_OUT + "[linear]",
            "engines/mixed/test_equations.py::test_equations_are_the_model[spatial-DenseCholesky]",
        ),
    ),
    Mutant(
        "stage one: the largest likelihood is chosen",
        "results/stage_one/choice.py",
        "best = min(there, key=lambda name: there[name].aic)",
        "best = max(there, key=lambda name: there[name].log_likelihood)",
        (CHOICE + "test_the_least_aic_is_chosen",),
    ),
    Mutant(
        "stage one: a field without a level is chosen",
        "results/stage_one/choice.py",
        '(table["parameter"].str.startswith("autocorrelation") & (table["bound"] != "")).any()',
        "False",
        (CHOICE + "test_a_field_that_is_a_trend_is_not_chosen",),
    ),
    Mutant(
        "stage one: heritability without a factor of two in the errors of differences",
        "results/stage_one/choice.py",
        "np.sqrt(2.0 * (np.trace(V)",
        "np.sqrt((np.trace(V)",
        (CHOICE + "test_heritability_of_a_balanced_trial",),
    ),
    Mutant(
        "stage one: Bonferroni for Holm",
        "results/stage_one/field.py",
        "(len(p) - np.arange(len(p))) * p[order]",
        "len(p) * p[order]",
        (FIELD + "test_holm_by_hand",),
    ),
    Mutant(
        "stage one: outliers by residuals that are not rescaled",
        "results/stage_one/field.py",
        "scale = np.median(r) / NORMAL_MAD",
        "scale = 1.0",
        (FIELD + "test_outliers_are_rescaled_by_their_median_deviation",),
    ),
)
