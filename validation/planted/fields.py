"""Errors in what surrounds the engine of mixed models: designs, tables, tests of a fit."""

from __future__ import annotations

from validation.planted.mutant import Mutant

DESIGN, FIT = "model/mixed/test_design.py::", "results/mixed/test_fit.py::"
RATIO = "results/mixed/test_likelihood_ratio.py::"

FIELDS = (
    Mutant(
        "mixed: a field without the rows and columns that no plot has",
        "model/mixed/design.py",
        "return tuple(map(str, range(least, most + 1)))",
        "return factor.levels",
        (DESIGN + "test_a_field_is_filled_to_a_grid",),
    ),
    Mutant(
        "mixed: plots computed in the order of the file",
        "model/mixed/design.py",
        "order = rows[np.lexsort([key[rows] for key in keys[::-1]])]",
        "order = rows",
        (DESIGN + "test_rows_in_any_order_give_the_same_arrays",),
    ),
    Mutant(
        "mixed: a relationship in the order of the factor's levels",
        "model/mixed/design.py",
        "return np.asarray(codes[factor.codes])",
        "return factor.codes",
        (DESIGN + "test_known_levels_are_matched_by_name",),
    ),
    Mutant(
        "mixed: reliability without the relationship's diagonal",
        "results/mixed/effects.py",
        "own = precision.diagonal",
        "own = np.ones(axis.n)",
        (FIT + "test_blups[rich]",),
    ),
    Mutant(
        "mixed: slope of a quotient",
        "results/mixed/expressions.py",
        "(da * b - a * db",
        "(da * b + a * db",
        (FIT + "test_functions_of_parameters",),
    ),
    Mutant(
        "mixed: means with covariates at zero",
        "results/mixed/means.py",
        "np.full(n, frame[name].to_numpy(dtype=float).mean())",
        "np.zeros(n)",
        (FIT + "test_means_over_the_levels_of_other_factors",),
    ),
    Mutant(
        "mixed: conditional tests after all other terms, those that contain the term among them",
        "results/mixed/wald.py",
        "if other != name and not _contains(fixed, other, name)",
        "if other != name",
        (FIT + "test_conditional_tests_leave_out_what_contains_the_term",),
    ),
    Mutant(
        "mixed: degrees of freedom of one column",
        "results/mixed/wald.py",
        "return 2.0 / a2, 1.0",
        "return 1.0 / a2, 1.0",
        (FIT + "test_wald[simple]",),
    ),
    Mutant(
        "mixed: degrees of freedom of several columns",
        "results/mixed/wald.py",
        "den = 4 + (q + 2) / (q * rho - 1)",
        "den = (q + 2) / (q * rho - 1)",
        (FIT + "test_randomised_blocks", FIT + "test_split_plots"),
    ),
    Mutant(
        "mixed: Cullis by errors, not by those of differences",
        "results/mixed/heritability.py",
        "error = (trace - total / n) / (n - 1)",
        "error = trace / n",
        (FIT + "test_heritability_over_a_relationship",),
    ),
    Mutant(
        "mixed: heritability of a mean with the arithmetic mean of the plots",
        "results/mixed/heritability.py",
        "float(len(counts) / np.sum(1.0 / counts))",
        "float(np.mean(counts))",
        (FIT + "test_heritability_of_a_mean_over_sites",),
    ),
    Mutant(
        "mixed: a variogram of one diagonal",
        "results/mixed/field.py",
        "if b and a:",
        "if b and a and False:",
        (FIT + "test_variogram",),
    ),
    Mutant(
        "mixed: likelihood ratio of a variance without the half at zero",
        "results/mixed/likelihood_ratio.py",
        "math.comb(variances, k) / 2.0**variances",
        "float(k == variances)",
        (RATIO + "test_tests_of_fits",),
    ),
    Mutant(
        "mixed: likelihood ratio of split residuals halved",
        "results/mixed/likelihood_ratio.py",
        "inside = df - variances - sum(steps)",
        "variances, inside = df, 0",
        (RATIO + "test_residuals_lie_inside",),
    ),
    Mutant(
        "mixed: residuals standardised as if nothing had been fitted",
        "results/mixed/field.py",
        "left = variances - result.find_fitted_variances()",
        "left = variances",
        (FIT + "test_residuals[simple]",),
    ),
    Mutant(
        "mixed: differences of means as if their errors were independent",
        "results/mixed/means.py",
        "(variances.sum() - total / m) / (m - 1)",
        "variances.sum() / m",
        (FIT + "test_differences_of_means",),
    ),
    Mutant(
        "mixed: numbers of a factor at their mean",
        "results/mixed/means.py",
        "(_is_factor(frame[name]) or name in coded)",
        "_is_factor(frame[name])",
        (FIT + "test_numbers_of_a_factor_are_averaged",),
    ),
    Mutant(
        "mixed: errors of correlations as if variances were known",
        "results/mixed/correlations.py",
        "slope -= 0.5 * r *",
        "slope -= 0.0 * r *",
        (FIT + "test_correlations",),
    ),
    Mutant(
        "mixed: maternal effects in the place of the mothers' own direct ones",
        "model/mixed/design.py",
        "np.concatenate([cells, m + codes])",
        "np.concatenate([cells, codes])",
        (FIT + "test_direct_and_maternal_effects_with_their_covariance",),
    ),
)
