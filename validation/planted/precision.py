"""Errors in how precise records are: means of several plots, and known standard errors."""

from __future__ import annotations

from validation.planted.mutant import Mutant

MEANS = "engines/rotated/test_means_of_plots.py::"
ERRORS = "engines/rotated/test_known_errors.py::"
JOINT = "engines/rotated/test_joint_errors.py::"
NUMBERS = "results/test_numbers_of_plots.py::"
CELLS = "engines/rotated/kernels/residual.py"

PRECISION = (
    Mutant(
        "means of plots: records weigh alike in the mean of a cell",
        CELLS,
        "total[c, l] += rec_plots[n] * values[n, l]",
        "total[c, l] += values[n, l]",
        (MEANS + "test_density[pair0-plots0]",),
    ),
    Mutant(
        "means of plots: records weigh alike around the mean of a cell",
        CELLS,
        "within[rec_env[n], a, b] += rec_plots[n] * t",
        "within[rec_env[n], a, b] += t",
        (
            "engines/rotated/test_missing.py::"
            "test_residual_cross_products_of_recorded_plots[means-of-plots-unstructured]",
        ),
    ),
    Mutant(
        "means of plots: a missing trait varies as in one plot",
        "engines/rotated/kernels/missing.py",
        "1.0 / math.sqrt(part_plots[q])",
        "1.0",
        ("engines/rotated/test_missing.py::test_imputation[means-of-plots-unstructured-True]",),
    ),
    Mutant(
        "means of plots: a partly seen record weighs as one plot in what is known of R_e alone",
        "engines/rotated/density.py",
        "t += p.part_plots[q] * (s.part[q, a] - mean[a])",
        "t += (s.part[q, a] - mean[a])",
        (
            "engines/rotated/test_conditionals.py::"
            "test_covariances_with_means_and_effects_integrated_out[means-of-plots-unstructured]",
        ),
    ),
    Mutant(
        "means of plots: a record has as many degrees of freedom as plots",
        "model/layout.py",
        "np.bincount(self.rec_env, minlength=len(self.recorded)).astype(float)",
        "np.bincount(self.rec_env, self.rec_plots, minlength=len(self.recorded)).astype(float)",
        ("model/test_layout.py::test_plots_seen_and_imputed_fill_the_layout[means-of-plots]",),
    ),
    Mutant(
        "means of plots: a record without a trait tells of the effect of its replicate as one plot",
        "engines/rotated/factor_effects.py",
        "e *= p.part_plots[q]",
        "e *= 1.0",
        ("engines/rotated/test_factor_effects.py::test_information_on_the_effects[means-of-plots-False-False-fixed]",),
    ),
    Mutant(
        "means of plots: what other traits tell, every record alike",
        "results/residuals.py",
        "number[members] * weight * deviation",
        "weight * deviation",
        (NUMBERS + "test_what_other_traits_of_a_plot_tell",),
    ),
    Mutant(
        "means of plots: effects of replicates, every record alike",
        "results/replicates.py",
        "np.add.at(share, (cell, place.ravel()), number)",
        "np.add.at(share, (cell, place.ravel()), 1.0)",
        (NUMBERS + "test_effects_of_replicates_in_a_mean",),
    ),
    Mutant(
        "means of plots: a cell's mean without their numbers",
        "data/trial.py",
        "columns = np.nan_to_num(self.values, nan=0.0).T * weight",
        "columns = np.nan_to_num(self.values, nan=0.0).T",
        ("data/test_precision.py::test_cells_count_plots_and_their_means_weigh_records_by_them",),
    ),
    Mutant(
        "known errors: what they have in common left out of the residuals",
        "engines/rotated/density.py",
        "h.R_e[:] += p.common",
        "h.R_e[:] += 0.0",
        (ERRORS + "test_density_and_gradient[missing-False-tied]",),
    ),
    Mutant(
        "known errors: slope of the first environment's residuals for all",
        "structures/tied.py",
        "GR += G[i * L : (i + 1) * L]",
        "GR += G[:L]",
        (ERRORS + "test_density_and_gradient[missing-False-tied]",),
    ),
    Mutant(
        "known errors: true values drawn as if records had no more than the common one",
        "engines/rotated/known_errors.py",
        "R[seen[a], seen[b]] + p.part_error[q, l, traits[seen[b]]]",
        "R[seen[a], seen[b]]",
        (ERRORS + "test_true_values[missing-False-tied]",),
    ),
    Mutant(
        "known errors: true values without the spread of the errors",
        "engines/rotated/known_errors.py",
        "x[a] -= p.part_root[q, l, k] * noise[k]",
        "x[a] -= 0.0 * noise[k]",
        (ERRORS + "test_true_values[missing-False-tied]",),
    ),
    Mutant(
        "known errors: a residual covariance reported with them in it",
        "engines/rotated/draws.py",
        "out.R_e[t] = s.R_e[: p.n_trait] - p.common[: p.n_trait]",
        "out.R_e[t] = s.R_e[: p.n_trait]",
        (ERRORS + "test_residuals_are_reported_without_errors",),
    ),
    Mutant(
        "known errors: all of the smallest taken for common, whatever the traits",
        "model/errors.py",
        "common[i] = min([1.0, *shares]) * shared",
        "common[i] = shared",
        (ERRORS + "test_common_part_of_several_traits",),
    ),
    Mutant(
        "errors of means: the environment's mean drawn without its prior",
        "engines/rotated/joint_errors.py",
        "total = precision * (centre - s.beta[m])",
        "total = 0.0",
        (JOINT + "test_draw_leaves_the_conditional[missing-tied-exchangeable]",),
    ),
    Mutant(
        "errors of means: what the errors of other traits tell, with the wrong sign",
        "engines/rotated/joint_errors.py",
        "X[:, 0] -= np.dot(",
        "X[:, 0] += np.dot(",
        (JOINT + "test_draw_leaves_the_conditional[missing-tied-exchangeable]",),
    ),
    Mutant(
        "errors of means: true values follow the mean only as far as they follow the data",
        "engines/rotated/joint_errors.py",
        "share * (turned[v, 0] - delta * x.ones[first + v])",
        "share * turned[v, 0]",
        (JOINT + "test_draw_leaves_the_conditional[one-trait-by environment-exchangeable]",),
    ),
    Mutant(
        "errors of means: of a trait, not less what the others tell of it",
        "model/errors.py",
        "own = np.linalg.inv(P) if several else left",
        "own = left[np.ix_(a, a)]",
        (JOINT + "test_common_part_and_rest_are_the_covariance[missing]",),
    ),
    Mutant(
        "errors of means: those of other records, where some are taken",
        "data/covariances.py",
        "covariances[envs[i]][place][:, :, place]",
        "covariances[envs[i]][: len(place), :, : len(place)]",
        ("pipeline/test_adjusted_means.py::test_covariances_go_with_their_values",),
    ),
    Mutant(
        "errors of means: heritabilities of means count what the errors of all lines have in common",
        "data/covariances.py",
        "np.maximum(V.diagonal() - common, 0.0)",
        "V.diagonal()",
        ("pipeline/test_adjusted_means.py::test_own_errors_are_those_of_differences",),
    ),
    Mutant(
        "known errors: left-out records without theirs",
        "decisions/leave_one_out.py",
        "errors = values.errors[values.record[:, None], trait[0], trait[1]]",
        "errors = 0.0",
        ("pipeline/test_standard_errors.py::test_left_out_records[record]",),
    ),
    Mutant(
        "known errors: hidden values scored as if they had none",
        "results/predictions.py",
        "told.variance / np.maximum(plots, 1)[:, None] + error.variance",
        "told.variance / np.maximum(plots, 1)[:, None]",
        ("pipeline/test_standard_errors.py::test_hidden_means_have_their_errors",),
    ),
    Mutant(
        "known errors: what all lines share counts twice in hidden means",
        "results/predictions.py",
        "return self.fitted + self.error, self.extra + self.noise",
        "return self.fitted, self.extra + self.noise",
        ("pipeline/test_adjusted_means.py::test_an_error_of_all_lines_counts_once",),
    ),
    Mutant(
        "known errors: those of hidden means given the errors of others without residuals",
        "results/known_errors.py",
        "total = known.spread[:, None] + residual",
        "total = known.spread[:, None] + 0.0 * residual",
        ("pipeline/test_adjusted_means.py::test_errors_of_hidden_means_given_those_shown",),
    ),
)
