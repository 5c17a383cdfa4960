"""Errors on the way of the data into the sampler, and of its draws to what is reported."""

from __future__ import annotations

from validation.planted.mutant import Mutant

LAYOUT = "model/test_layout.py::"
EIGENBASIS = "model/test_eigenbasis.py::"
PRIORS = "model/test_priors.py::"
PREDICTIONS = "results/test_predictions.py::"
ALONE = "pipeline/test_single_trait.py::"
OWN = ALONE + "test_each_trait_has_the_numbers_of_its_own_fit[main-T3]"
BASELINES = "cv/test_baselines.py::"
MEANS = "cv/test_mean_intervals.py::test_intervals_are_those_of_the_mixture_with_the_residual_over_the_plots"
CRPS = "cv/test_mean_intervals.py::test_the_crps_of_a_mixture_is_that_of_its_distribution_function"
LEAK = "cv/test_cross_validate.py::test_hidden_values_do_not_leak[model0-1]"

DATA = (
    Mutant(
        "layout: recorded plots not taken off what is imputed",
        "model/layout.py",
        "pad = k * c[:, None] - counts",
        "pad = k * c[:, None] - (counts > 0)",
        (LAYOUT + "test_plots_seen_and_imputed_fill_the_layout[missing]",),
    ),
    Mutant(
        "layout: plots k of an environment too few",
        "model/layout.py",
        "k = np.where(seen, (counts / c[:, None]).max(axis=0), 1.0)",
        "k = np.where(seen, (counts / c[:, None]).mean(axis=0), 1.0)",
        (LAYOUT + "test_chosen_plots_cover_every_cell",),
    ),
    Mutant(
        "eigenbasis: wrong rank, every direction counted",
        "model/eigenbasis.py",
        "rank = int(np.count_nonzero(values))",
        "rank = J",
        (EIGENBASIS + "test_decomposition[False-True]",),
    ),
    Mutant(
        "eigenbasis: plot multiples forgotten",
        "model/eigenbasis.py",
        "scaled *= np.sqrt(c)[:, None]",
        "scaled *= 1.0",
        (EIGENBASIS + "test_decomposition[True-False]",),
    ),
    Mutant(
        "eigenbasis: signs of the eigenvectors left to LAPACK",
        "model/eigenbasis.py",
        "block *= np.where(block[first, np.arange(block.shape[1])] < 0, -1.0, 1.0)",
        "block *= 1.0",
        (EIGENBASIS + "test_signs_are_fixed",),
    ),
    Mutant(
        "units: scaling by m forgotten in reported Sigma_t",
        "model/scaling.py",
        "return self.restore_residual(Sigma_t) / self.m",
        "return self.restore_residual(Sigma_t)",
        (PRIORS + "test_user_units_and_back",),
    ),
    Mutant(
        "units: prior scale of Sigma_t with m squared",
        "model/scaling.py",
        "genetic = scaling.scale / np.sqrt(scaling.m)",
        "genetic = scaling.scale / scaling.m",
        (PRIORS + "test_half_t_scales_are_for_what_is_reported", PRIORS + "test_inverse_wishart_scales"),
    ),
    Mutant(
        "units: spread of the lines forgotten in heritabilities",
        "results/derivations.py",
        "genetic = spread * diagonal",
        "genetic = diagonal",
        ("results/test_summary.py::test_heritability",),
    ),
    Mutant(
        "cross-validation: nothing hidden from the training part",
        "cv/training.py",
        "prepare(trial.hide(hidden), relationship",
        "prepare(trial, relationship",
        (LEAK,),
    ),
    Mutant(
        "cross-validation: centre and scale from hidden data",
        "cv/tasks.py",
        "                problem, scaling = build(prepared, self.model)\n",
        "                from bmtme.model.scaling import measure_traits\n"
        "                problem, scaling = build(prepared, self.model)\n"
        "                found = measure_traits(self.training.trial.values, self.training.trial.traits, False)\n"
        "                scaling = Scaling(*found, scaling.m)\n",
        (LEAK,),
    ),
    Mutant(
        "one trait at a time: fitted to all records of the other traits' environments",
        "cv/training.py",
        "envs = np.bincount(trial.env_index[there], minlength=len(trial.envs)) > 0",
        "envs = np.ones(len(trial.envs), bool)",
        (BASELINES + "test_environments_where_the_trait_is_not_recorded_are_left_out",),
    ),
    Mutant(
        "one trait at a time: all traits with one stream",
        "trait_sets.py",
        "[ALONE, self.place]",
        "[ALONE, 0]",
        (ALONE + "test_traits_have_streams_of_their_own", OWN),
    ),
    Mutant(
        "one trait at a time: rows of the summary from the next trait",
        "results/traits.py",
        "array.isel(trait=l).values",
        "array.isel(trait=l - 1).values",
        (OWN,),
    ),
    Mutant(
        "one trait at a time: draws joined in the reverse order of the traits",
        "results/traits.py",
        "enumerate(zip(columns, own_lines",
        "enumerate(zip(columns[::-1], own_lines",
        (OWN,),
    ),
    Mutant(
        "one trait at a time: the hidden values of another trait",
        "cv/training.py",
        "hidden[envs[trial.env_index]][:, [trait]], scored",
        "hidden[envs[trial.env_index]][:, [trait - 1]], scored",
        ("cv/test_no_leaks.py::test_hidden_values_change_no_prediction[CV2]",),
    ),
    Mutant(
        "means of environments: a new line without the error of the mean",
        "cv/means.py",
        "max(total - shrunk, 0.0) + total / n",
        "max(total - shrunk, 0.0)",
        (BASELINES + "test_one_plot_a_line_is_predicted_by_students_t",),
    ),
    Mutant(
        "means of lines: the residual over the environments, not over their square",
        "results/linemeans.py",
        "(weight**2 / n_obs[part, i, l])",
        "(weight / n_obs[part, i, l])",
        (MEANS,),
    ),
    Mutant(
        "means of lines: a new line's effects independent between environments",
        "results/linemeans.py",
        '1.0 + predictor.join("s2_E")[:, :, None] * np.eye(n_env)',
        '(1.0 + predictor.join("s2_E")[:, :, None]) * np.eye(n_env)',
        (MEANS,),
    ),
    Mutant(
        "CRPS: the spread of the mixture in full",
        "engines/rotated/kernels/mixture.py",
        "away / S - 0.5 * expect_apart",
        "away / S - 1.0 * expect_apart",
        (CRPS,),
    ),
)

PREDICTED = (
    Mutant(
        "predictions: interval of a new plot without R_e",
        "results/predictions.py",
        "self.extra + self.residual, LOW",
        "self.extra + 0.0 * self.residual, LOW",
        (PREDICTIONS + "test_predictions_are_those_of_the_draws[one environment]",),
    ),
    Mutant(
        "predictions: quantiles of the wrong sides",
        "results/predictions.py",
        "LOW, HIGH = 0.05, 0.95",
        "LOW, HIGH = 0.95, 0.05",
        (PREDICTIONS + "test_predictions_are_those_of_the_draws[one environment]",),
    ),
    Mutant(
        "quantile: bisection towards the wrong side",
        "engines/rotated/kernels/mixture.py",
        "x = centre + spread * (start if p > 0.5 else -start)",
        "p = 1.0 - p\n    x = centre + spread * (start if p > 0.5 else -start)",
        (PREDICTIONS + "test_mixture_quantiles[0.05-30]", PREDICTIONS + "test_rows_of_mixtures"),
    ),
    Mutant(
        "predictions: spare variance of a new line forgotten",
        "results/predictions.py",
        "spare[new] = targets.spare",
        "spare[new] = 0.0 * targets.spare",
        (PREDICTIONS + "test_predictions_are_those_of_the_draws[one environment]",),
    ),
    Mutant(
        "predictions: variance of a new line without its interaction",
        "engines/rotated/draws.py",
        "out.genetic[t, i, l] = s.Sigma_t[l, l] * (1.0 + s.s2_E[i])",
        "out.genetic[t, i, l] = s.Sigma_t[l, l]",
        (PREDICTIONS + "test_predictions_are_those_of_the_draws[identity]",),
    ),
    Mutant(
        "predictions: effects of the wrong environment",
        "results/predictions.py",
        "m = i * self.mean_beta.shape[1] + l",
        "m = l * self.mean_beta.shape[0] + i",
        (PREDICTIONS + "test_predictions_are_those_of_the_draws[identity]",),
    ),
    Mutant(
        "fewer markers than lines: vectors over the eigenvalue, not over its root",
        "model/eigenbasis.py",
        "(P @ V[:, :kept]) / np.sqrt(d[:kept])",
        "(P @ V[:, :kept]) / d[:kept]",
        ("model/test_eigenbasis.py::test_fewer_markers_than_lines[False-False]",),
    ),
    Mutant(
        "new lines: multiples of the recorded ones forgotten",
        "model/eigenbasis.py",
        "A = covariance * np.sqrt(self.multiples) / self.scale",
        "A = covariance / self.scale",
        (EIGENBASIS + "test_lines_without_a_record[False]",),
    ),
)
