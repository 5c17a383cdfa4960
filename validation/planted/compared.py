"""Errors in scores of a cross-validation and in the comparison of models."""

from __future__ import annotations

from validation.planted.mutant import Mutant

HAND, ROWS = "cv/test_compare.py::test_the_test_by_hand", "cv/test_compare.py::test_every_row_by_hand"
SCORES, HERITABILITY = "cv/test_scores.py::test_every_score_by_hand", "cv/test_heritability.py::"
STARS = "cv/test_compare.py::test_stars_are_for_differences_beyond_their_error"

COMPARED = (
    Mutant(
        "comparison: shared lines forgotten",
        "cv/differences.py",
        "np.sqrt((1.0 / K + ratio) * values.var(ddof=1))",
        "np.sqrt(1.0 / K * values.var(ddof=1))",
        (HAND, ROWS, STARS),
    ),
    Mutant(
        "comparison: variance over K",
        "cv/differences.py",
        "values.var(ddof=1))",
        "values.var())",
        (HAND, ROWS),
    ),
    Mutant("comparison: one-sided p", "cv/differences.py", "float(2.0 * stdtr(", "float(1.0 * stdtr(", (HAND,)),
    Mutant(
        "comparison: Holm's adjustment not monotone",
        "cv/differences.py",
        "np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1))",
        "p[order] * np.arange(len(order), 0, -1)",
        ("cv/test_compare.py::test_holm_by_hand",),
    ),
    Mutant(
        "comparison: environments hidden in turn counted as lines",
        "cv/compare.py",
        "design.env_ratio if alone else design.ratio",
        "design.ratio",
        ("cv/test_compare.py::test_folds_within_a_new_environment_are_averaged_first",),
    ),
    Mutant(
        "comparison: chance of lines in new environments forgotten",
        "cv/differences.py",
        'return other if other["upper"] > found["upper"] else found',
        "return found",
        ("cv/test_compare.py::test_new_lines_in_new_environments_have_the_chance_of_both",),
    ),
    Mutant(
        "comparison: traits of CV2 counted as replicates",
        "cv/differences.py",
        'if unit == "cells" and _stand_alone(scored):',
        "if False:",
        ("cv/test_compare.py::test_one_trait_of_an_environment_hidden_in_turn",),
    ),
    Mutant(
        "advice: pairs named as if chosen beforehand",
        "cv/advice.py",
        'p_pairs=adjust_holm(rows["p"].to_numpy())',
        'p_pairs=rows["p"]',
        ("cv/test_result.py::test_pairs_named_are_adjusted_for_all_pairs",),
    ),
    Mutant(
        "advice: coverage of few environments taken for that of many lines",
        "cv/calibration.py",
        '(G if name == "env" else cells)',
        "cells",
        ("cv/test_calibration.py::test_calibrated_intervals_raise_no_alarm[10-env-0.9]",),
    ),
    Mutant(
        "runs joined whatever they learnt from",
        "cv/joining.py",
        'if one.run["data"]["trial_digest"] != other.run["data"]["trial_digest"]:',
        "if False:",
        ("cv/test_result.py::test_runs_that_cannot_be_compared_are_refused",),
    ),
    Mutant(
        "comparison: best where errors are largest",
        "cv/compare.py",
        "if score.sign * row.difference > 0 else",
        "if row.difference > 0 else",
        (STARS,),
    ),
    Mutant(
        "bootstrap: a score's lines not drawn alike",
        "cv/resampling.py",
        "_rescore(score.name, values, counts[rows.line[start:end]])",
        "_rescore(score.name, values, counts[: end - start])",
        ("cv/test_compare.py::test_bootstrap_by_hand[msep]",),
    ),
    Mutant(
        "scores: slope of predicted on observed",
        "results/agreement.py",
        "(y @ f) / (f @ f) * (size / size_f)",
        "(y @ f) / (y @ y) * (size_f / size)",
        (SCORES, "cv/test_scores.py::test_bias_and_slope_have_signs"),
    ),
    Mutant(
        "scores: bias with the wrong sign",
        "results/agreement.py",
        "average(self.predicted - self.observed)",
        "average(self.observed - self.predicted)",
        (SCORES,),
    ),
    Mutant(
        "scores: accuracy over the heritability, not its root",
        "results/scores.py",
        "/ math.sqrt(h2)",
        "/ h2",
        (SCORES, "cv/test_scores.py::test_scores_of_means_over_environments"),
    ),
    Mutant(
        "scores: low values never the best",
        "results/agreement.py",
        "sign = -1.0 if lowest else 1.0",
        "sign = 1.0",
        (SCORES, "cv/test_scores.py::test_share_of_the_best_by_hand"),
    ),
    Mutant(
        "heritability: of a plot in the place of a mean",
        "cv/replicates.py",
        "(weight[used] ** 2 / np.maximum(plots.counts[used], 1)).mean()",
        "(weight[used] ** 2).mean()",
        (HERITABILITY + "test_equal_numbers_of_plots_by_hand",),
    ),
    Mutant(
        "heritability: replicates left in the error",
        "checkup/replicates.py",
        "max(self.around - self.explained, 0.0) / (self.freedom - self.rank)",
        "self.around / (self.freedom - self.rank)",
        (HERITABILITY + "test_plots_against_a_dense_twin[complete]",),
    ),
    Mutant(
        "heritability: replicates left in the variance of lines",
        "cv/replicates.py",
        "[used] - shift).var(ddof=1)",
        "[used]).var(ddof=1)",
        (HERITABILITY + "test_plots_against_a_dense_twin[blocks]",),
    ),
    Mutant(
        "heritability: intervals of 90%",
        "cv/replicates.py",
        "[0.975, 0.025]",
        "[0.95, 0.05]",
        (HERITABILITY + "test_equal_numbers_of_plots_by_hand",),
    ),
    Mutant(
        "heritability: likelihood not restricted to contrasts",
        "cv/heritability.py",
        "np.log(variance).sum()))",
        "np.log(variance).sum() * 0.9))",
        (HERITABILITY + "test_restricted_likelihood_against_a_dense_twin[0.5]",),
    ),
)
