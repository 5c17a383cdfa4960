"""Errors in what is reported: tables, files, record of a run, scores, default priors, simulated truths."""

from __future__ import annotations

from validation.planted.mutant import Mutant

SUMMARIES, RECORD = "reported/test_summary.py::", "reported/test_record.py::"
PRIORS, SIMULATIONS = "reported/test_priors.py::", "reported/test_simulation.py::"
RECORD_TESTS = "results/test_records.py::"
HAND = RECORD_TESTS + "test_records_are_predicted_by_the_other_traits_of_their_plots"
EFFECTS = "results/test_line_effects.py::"
JOINT = EFFECTS + "test_new_lines_are_drawn_jointly_given_the_others"
MOMENTS = EFFECTS + "test_moments_are_those_of_the_dense_conditional_normal[3000]"
ROWS, DIAGNOSTICS = SUMMARIES + "test_every_row_of_the_summary", SUMMARIES + "test_every_diagnostic_of_the_summary"
PREDICTIONS, FILES = "reported/test_predictions.py::test_every_prediction", RECORD + "test_files_hold_every_digit"
REPORT = "reported/test_terminal.py::test_report_of_a_fit"

SUMMARY = (
    Mutant(
        "summary: sign of the correlation of traits 1 and 3",
        "results/derivations.py",
        "values / np.sqrt(variances[..., :, None] * variances[..., None, :])",
        "values / np.sqrt(variances[..., :, None] * variances[..., None, :]) * [[1, 1, -1], [1, 1, 1], [-1, 1, 1]]",
        (ROWS,),
    ),
    Mutant(
        "summary: correlation of traits 1 and 3 scaled by trait 2",
        "results/derivations.py",
        "variances[..., :, None] * variances[..., None, :]",
        "variances[..., :, None] * np.roll(variances, -1, axis=-1)[..., :, None]",
        (ROWS,),
    ),
    Mutant(
        "summary: residual correlations of the genetic covariance",
        "results/quantities.py",
        '"correlation of R_e",\n        needs=(R_E,), derive=lambda values, spread: correlate(values["R_e"])',
        '"correlation of R_e",\n        needs=(R_E,), derive=lambda values, spread: correlate(values["Sigma_t"])',
        (ROWS,),
    ),
    Mutant(
        "posterior: Sigma_E of the environments in reverse",
        "results/derivations.py",
        "chain.s2_E[..., None] * np.eye",
        "chain.s2_E[..., ::-1, None] * np.eye",
        (PREDICTIONS,),
    ),
    Mutant(
        "summary: environment and trait of a row exchanged",
        "results/rows.py",
        "(..., *np.array(places).T)",
        "(..., *np.array(places).T[::-1])",
        (ROWS,),
    ),
    Mutant(
        "marks: slopes along the parameters without their ranges",
        "results/information.py",
        "step * d.spread, spread)",
        "step, spread)",
        ("results/test_register.py::test_slopes_are_derivatives",),
    ),
    Mutant(
        "summary: interval of the first chain",
        "results/summary.py",
        "np.quantile(flat, INTERVAL)",
        "np.quantile(row.draws[0], INTERVAL)",
        (ROWS,),
    ),
    Mutant(
        "summary: diagnostics of another row",
        "results/summary.py",
        "bulk, tail, r_hat = diagnose(draws)",
        "bulk, tail, r_hat = (np.roll(found, 1) for found in diagnose(draws))",
        (DIAGNOSTICS,),
    ),
    Mutant(
        "summary: effective draws of the bulk for those of the tails",
        "results/summary.py",
        'tail = array_stats.ess(draws, method="tail", prob=INTERVAL)',
        'tail = array_stats.ess(draws, method="bulk")',
        (DIAGNOSTICS,),
    ),
    Mutant(
        "summary: effective draws of tails of 11%, as by default with ArviZ 1.x",
        "results/summary.py",
        'method="tail", prob=INTERVAL)',
        'method="tail", prob=(0.11, 0.89))',
        (DIAGNOSTICS,),
    ),
    Mutant(
        "summary: R-hat without ranks",
        "results/summary.py",
        'array_stats.rhat(draws, method="rank")',
        'array_stats.rhat(draws, method="split")',
        (DIAGNOSTICS,),
    ),
    Mutant(
        "summary: few effective draws of the tails not noted",
        "results/summary.py",
        "if min(bulk, tail) < GOOD_ESS",
        "if bulk < GOOD_ESS",
        (SUMMARIES + "test_few_effective_draws_of_the_tails_alone_are_noted",),
    ),
    Mutant(
        "summary: convergence judged by the median R-hat",
        "results/convergence.py",
        'worst_r, worst_e = summary["r_hat"].max()',
        'worst_r, worst_e = summary["r_hat"].median()',
        (SUMMARIES + "test_convergence_is_judged_by_the_worst_row",),
    ),
)

FROM_CHAINS = (
    Mutant(
        "predictions: from the first two of four chains",
        "results/targets.py",
        "predictor = Predictor(chains, prepared.basis, targets)",
        "predictor = Predictor(chains[:2], prepared.basis, targets)",
        (PREDICTIONS,),
    ),
    Mutant(
        "predictions: standard deviation and interval of the first draws",
        "results/predictions.py",
        "sweeps[take_every(len(sweeps), max(1, KEPT // len(chains)))]",
        "sweeps[: max(1, KEPT // len(chains))]",
        (PREDICTIONS,),
    ),
    Mutant(
        "predictions: mean Sigma_E in the variance of a new line",
        "engines/rotated/draws.py",
        "out.genetic[t, i, l] = s.Sigma_t[l, l] * (1.0 + s.s2_E[i])",
        "out.genetic[t, i, l] = s.Sigma_t[l, l] * (1.0 + np.mean(s.s2_E))",
        (PREDICTIONS,),
    ),
)

WRITTEN = (
    Mutant(
        "files: summary of four decimals",
        "results/storage.py",
        "summary.reset_index()}",
        "summary.round(4).reset_index()}",
        (FILES,),
    ),
    Mutant(
        "files: tables of six digits",
        "results/spreadsheets.py",
        'shown.to_csv(folder / f"{name}.csv", index=False',
        'shown.to_csv(folder / f"{name}.csv", float_format="%.6g", index=False',
        (FILES,),
    ),
    Mutant(
        "groups: eigenvalues of the relationship in other units",
        "collection.py",
        "prepared.basis.values * scaling.m",
        "prepared.basis.values",
        (RECORD + "test_data_and_constants_beside_the_posterior",),
    ),
    Mutant(
        "groups: lines of the records by their places among all lines",
        "collection.py",
        "lines = np.array(prepared.lines, dtype=object)[layout.rec_line]",
        "lines = np.array(trial.lines, dtype=object)[layout.rec_line]",
        (RECORD + "test_data_and_constants_beside_the_posterior",),
    ),
    Mutant(
        "record: missing values of rows that are no records",
        "collection.py",
        "int(np.isnan(prepared.values).sum())",
        "int(np.isnan(trial.values).sum())",
        (RECORD + "test_facts_of_the_run", REPORT),
    ),
    Mutant(
        "record: imputed share of plots in environments without a record too",
        "model/layout.py",
        "self.cell_pad.sum() / (self.plots[seen].sum()",
        "self.cell_pad.sum() / (self.plots.sum()",
        (RECORD + "test_imputed_share[True]",),
    ),
    Mutant(
        "record: prior of R_e described by that of Sigma_t",
        "model/structure.py",
        '"prior_e": plain(self.prior_e)',
        '"prior_e": plain(self.prior_t)',
        (RECORD + "test_model_in_the_record_of_a_run",),
    ),
    Mutant(
        "report: correlations under the wrong traits",
        "report/tables.py",
        "return pairs, across[:-1]",
        "return pairs, across[1:]",
        (REPORT,),
    ),
    Mutant(
        "report: share of filled cells for that of empty ones",
        "report/tables.py",
        "share(cells.size - cells.sum(), cells.size)",
        "share(cells.sum(), cells.size)",
        ("reported/test_terminal.py::test_report_of_empty_cells",),
    ),
)

COMPARED = (
    Mutant(
        "cross-validation: noise of single chains for that of their mean",
        "cv/precision.py",
        "/ (C * (C - 1) * lines)",
        "/ (C * lines)",
        ("cv/test_precision.py::test_noise_has_the_variance_of_the_mean_over_chains",),
    ),
    Mutant(
        "cross-validation: test cells without a value counted",
        "cv/run.py",
        '"test_cells": int(partition.test_cells(trial).sum())',
        '"test_cells": int(partition.hidden.sum())',
        ("reported/test_cross_validation.py::test_hidden_cells",),
    ),
    Mutant(
        "cross-validation: CV1 takes environments in the order of the trial",
        "cv/schemes.py",
        "for i in rng.permutation(len(needed)):",
        "for i in range(len(needed)):",
        ("cv/test_schemes.py::test_cv1_with_unequal_lines_has_the_distribution_worked_out_by_hand",),
    ),
)

ASSUMED = (
    Mutant(
        "priors: degrees of freedom of tau",
        "model/scaling.py",
        "TAU_NU = 4.0",
        "TAU_NU = 2.0",
        (PRIORS + "test_prior_of_the_spread_between_environment_means",),
    ),
    Mutant(
        "priors: scale of tau",
        "preparation.py",
        "TAU_NU, np.ones(L), scale",
        "TAU_NU, np.full(L, 5.0), scale",
        (PRIORS + "test_prior_of_the_spread_between_environment_means",),
    ),
    Mutant(
        "priors: scale of the paper's means",
        "model/scaling.py",
        "PAPER_SCALE = 2.0, 1e5",
        "PAPER_SCALE = 2.0, 1e3",
        (PRIORS + "test_prior_of_the_papers_means",),
    ),
    Mutant(
        "simulation: relationship of six decimals",
        "datasets/simulated.py",
        '"relationship.csv": grm.to_csv()',
        '"relationship.csv": grm.to_csv(float_format="%.6f")',
        (SIMULATIONS + "test_files_of_a_simulation_hold_every_digit",),
    ),
    Mutant(
        "simulation: spread of the means beyond the third",
        "datasets/simulated.py",
        'streams["beta"].normal(10.0, 3.0,',
        'streams["beta"].normal(10.0, 1.0,',
        (SIMULATIONS + "test_truth_of_a_simulation",),
    ),
)

UNRECORDED = (
    Mutant(
        "line effects: lines without a record drawn one by one",
        "results/unrecorded.py",
        "return np.asarray(np.linalg.cholesky(left))",
        "return np.diag(np.sqrt(np.diag(left)))",
        (JOINT + "[sibs paper]", MOMENTS),
    ),
    Mutant(
        "line effects: lines without a record as if the others told nothing of them",
        "results/unrecorded.py",
        " - basis.scale * (A @ A.T)",
        "",
        (JOINT + "[sibs paper]", MOMENTS),
    ),
    Mutant(
        "line effects: environments of lines without a record unrelated",
        "results/line_effects.py",
        "        root = factor_singular(C[c, d])\n",
        "        root = np.diag(np.sqrt(np.diag(C[c, d])))\n",
        (JOINT + "[sibs main]", JOINT + "[sibs one trait at a time]", MOMENTS),
    ),
)

RECORDS = (
    Mutant(
        "records: regression on the residual of a plot trait by trait",
        "results/residuals.py",
        "np.linalg.solve(R[:, b[:, None], b], R_ab[..., None])[..., 0]",
        "R_ab / R[:, b, b]",
        (HAND + "[shared]", HAND + "[by environment]"),
    ),
    Mutant(
        "records: variance as if the other traits told nothing",
        "results/residuals.py",
        "R[:, l, l] - (weights * R_ab).sum(axis=1)",
        "R[:, l, l]",
        (HAND + "[shared]", RECORD_TESTS + "test_intervals_of_hidden_records_cover_them"),
    ),
    Mutant(
        "records: residual covariance of another environment",
        "results/predictions.py",
        "first = i * L if R.shape[1] > L else 0",
        "first = L if R.shape[1] > L else 0",
        (RECORD_TESTS + "test_hidden_records_are_predicted_as_those_that_a_fit_lacks[by environment]",),
    ),
)

REPORTED = (*SUMMARY, *RECORDS, *UNRECORDED, *FROM_CHAINS, *WRITTEN, *COMPARED, *ASSUMED)
