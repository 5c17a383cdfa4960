"""Errors in what data are taken to tell: line effects, variances that the prior alone informs, suggested models."""

from __future__ import annotations

from validation.planted.mutant import Mutant

LINE, VARIANCES = "checkup/test_telling.py::", "results/test_trait_variances.py::"
DENSE, SUGGESTED = VARIANCES + "test_information_of_one_dense_covariance", "test_suggestions.py::"

TOLD = (
    Mutant(
        "line effect: contrasts as if means were known",
        "checkup/line_effect.py",
        "    m1 = (trace - total / J) / (J - 1)",
        "    m1 = trace / J",
        (LINE + "test_contrasts_by_the_eigenvalues[500]",),
    ),
    Mutant(
        "line effect: contrasts as if genetic variances were known",
        "checkup/line_effect.py",
        "max(0.0, 1.0 - m1**2 / m2)",
        "1.0",
        (
            LINE + "test_contrasts_by_the_eigenvalues[5]",
            LINE + "test_no_contrast_where_lines_are_related_alike",
            LINE + "test_the_likelihood_is_flat_where_nothing_tells",
        ),
    ),
    Mutant(
        "line effect: records counted over all traits",
        "preparation.py",
        "    np.add.at(counts, prepared.layout.rec_line, prepared.observed)",
        "    np.add.at(counts, prepared.layout.rec_line, prepared.observed.any(axis=1, keepdims=True))",
        (LINE + "test_lines_with_two_traits_on_different_records",),
    ),
    Mutant(
        "line effect: two traits of one record as if they were on different ones",
        "collection.py",
        "counts[:, l] * counts[:, q] > both",
        "counts[:, l] * counts[:, q] >= both",
        (LINE + "test_lines_with_two_traits_on_different_records",),
    ),
    Mutant(
        "variances: plots around their mean forgotten",
        "results/trait_variances.py",
        " + (directions.residual * within) @ directions.residual.T",
        "",
        (DENSE + "[True-True]", DENSE + "[False-False]"),
    ),
    Mutant(
        "variances: means as if they were known",
        "results/trait_variances.py",
        "        z = z - means @ shift\n",
        "",
        (DENSE + "[True-True]",),
    ),
    Mutant(
        "variances: a line effect in every environment by itself",
        "results/trait_variances.py",
        "np.outer(directions.line, (of_line**2).sum(axis=0))",
        "np.outer(directions.line, (by_env**2).sum(axis=(0, 1)))",
        (DENSE + "[True-True]", DENSE + "[True-False]"),
    ),
    Mutant(
        "variances: interactions may be negative where the genetic covariance bears it",
        "results/trait_variances.py",
        "    if proportional and len(at.R) > 1:",
        "    if False:",
        (VARIANCES + "test_all_that_rest_on_one_split_are_noted_and_none_that_hardly_moves_with_it",),
    ),
    Mutant(
        "variances: whatever moves at all along what is flat rests on it",
        "results/information.py",
        "reach >= MUCH * np.ptp",
        "reach >= 0.0 * np.ptp",
        (VARIANCES + "test_all_that_rest_on_one_split_are_noted_and_none_that_hardly_moves_with_it",),
    ),
    Mutant(
        "suggestions: a line effect that few records tell",
        "suggestions.py",
        "            describe_weakness(part.trial.traits, count_records(part)) for part in parts\n",
        "            False for part in parts\n",
        (SUGGESTED + "test_line_effects_are_suggested_where_something_tells_them",),
    ),
    Mutant(
        "suggestions: as if a scheme hid nothing",
        "suggestions.py",
        "    if scheme is None:\n        whole",
        "    if True:\n        whole",
        (SUGGESTED + "test_what_a_scheme_hides_decides",),
    ),
)
