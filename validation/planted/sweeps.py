"""Errors in what is imputed or integrated out, and in the order of the sweep."""

from __future__ import annotations

from validation.planted.mutant import Mutant

CONDITIONALS = "engines/rotated/test_conditionals.py::"
MISSING = "engines/rotated/test_missing.py::"
LAYOUT = "model/test_layout.py::"
WALK = "engines/rotated/test_collapsed.py::"
SWEEPS = "engines/rotated/test_geweke.py::test_sweeps_leave_the_joint_distribution"
COLLAPSED = CONDITIONALS + "test_covariances_with_means_and_effects_integrated_out"

UNRECORDED = (
    Mutant(
        "missing trait taken for data: never imputed",
        "engines/rotated/kernels/missing.py",
        "draw_missing(rng, patterns, B, K, part_pattern[q], values, 1.0 / math.sqrt(part_plots[q]), e, part, q)",
        "e[:] = 0.0",
        (MISSING + "test_imputation[missing-unstructured-True]",),
    ),
    Mutant(
        "missing trait taken for data: the record counts as complete",
        "model/layout.py",
        "complete = ~(codes == MISSING).any(axis=1)",
        "complete = np.ones(len(codes), bool)",
        (LAYOUT + "test_partly_seen_records_stand_in_their_cells[missing]",),
    ),
    Mutant(
        "imputation: observed traits not taken as deviations",
        "engines/rotated/kernels/missing.py",
        "s += B[t, l, q] * (values[row, q] - fitted[q])",
        "s += B[t, l, q] * values[row, q]",
        (MISSING + "test_imputation[missing-unstructured-True]",),
    ),
    Mutant(
        "imputation: mean of several unseen plots as spread as one",
        "engines/rotated/kernels/missing.py",
        "1.0 / math.sqrt(cell_pad[c])",
        "1.0",
        (MISSING + "test_imputation[missing-unstructured-True]",),
    ),
    Mutant(
        "absent cross-products: rows of the recorded traits counted twice",
        "engines/rotated/kernels/missing.py",
        "rest = n - span",
        "rest = n",
        (MISSING + "test_cross_products_of_absent_columns[4-given2]",),
    ),
    Mutant(
        "absent b2: variance of the environment forgotten",
        "engines/rotated/kernels/missing.py",
        "root = math.sqrt(s2_E[i])",
        "root = 1.0",
        (MISSING + "test_absent_interaction[absent-unstructured]",),
    ),
    Mutant(
        "absent columns: main effect regressed along with the interaction",
        "engines/rotated/kernels/missing.py",
        "add_row(-B[l, q], main[q], out)",
        "add_row(0.0, main[q], out)",
        (MISSING + "test_expected_genetic_effects_of_absent_columns[absent-unstructured]",),
    ),
    Mutant(
        "absent columns: draws averaged in place of conditional means",
        "engines/rotated/draws.py",
        "out.sum_beta[i, l] += centre",
        "out.sum_beta[i, l] += out.beta[t, i, l]",
        (MISSING + "test_expected_genetic_effects_of_absent_columns[absent-unstructured]",),
    ),
)

INTEGRATED = (
    Mutant(
        "collapsed: Jacobian of a covariance off by one",
        "structures/parameters.py",
        "lp += p * math.log(abs(d)) - (p + 1.0) * math.log(n)",
        "lp += p * math.log(abs(d)) - p * math.log(n)",
        (COLLAPSED + "[complete-unstructured]",),
    ),
    Mutant(
        "collapsed: Jacobian of the correlations forgotten",
        "structures/parameters.py",
        "lp += math.log(cosh)",
        "lp += 0.0",
        (COLLAPSED + "[complete-unstructured]",),
    ),
    Mutant(
        "collapsed: Jacobian of the total genetic covariance forgotten",
        "structures/parameters.py",
        "lp = -n * math.log(q)",
        "lp = 0.0",
        (COLLAPSED + "[complete-unstructured]", COLLAPSED + "[complete-diagonal]"),
    ),
    Mutant(
        "collapsed: sign of a correlation lost when the state is packed",
        "structures/parameters.py",
        "theta[t] = sign * math.asinh(K[a, c] / K[a, a])",
        "theta[t] = math.asinh(K[a, c] / K[a, a])",
        (WALK + "test_signs_of_roots[missing-unstructured]",),
    ),
    Mutant(
        "sums over lines: one line of the tail left out",
        "linalg/small.py",
        "for j in range(end, n):\n        s += a[j] * b[j]",
        "for j in range(end + 1, n):\n        s += a[j] * b[j]",
        ("linalg/test_small.py::test_skinny_rotations[7-5]",),
    ),
    Mutant(
        "collapsed: marginal half-t prior with too few degrees of freedom",
        "structures/parameters.py",
        "lp -= (prior.nu + 2.0 * p) * log_root",
        "lp -= (prior.nu + p) * log_root",
        (COLLAPSED + "[complete-unstructured]",),
    ),
    Mutant(
        "collapsed: log|P| of the means forgotten",
        "engines/rotated/density.py",
        "lp = -0.5 * (logs + squares + log_P + (J - 1.0) * pair.log_R[0])",
        "lp = -0.5 * (logs + squares + (J - 1.0) * pair.log_R[0])",
        (COLLAPSED + "[missing-unstructured]", COLLAPSED + "[missing-unstructured-flat]"),
    ),
    Mutant(
        "collapsed: unseen plots without a degree of freedom",
        "engines/rotated/density.py",
        "h.n_within[i] += 1.0",
        "h.n_within[i] += 0.0",
        (COLLAPSED + "[missing-unstructured]",),
    ),
    Mutant(
        "collapsed: gradient in R_e without the plots k",
        "engines/rotated/density.py",
        "h.GR[m, n] / p.k[i]",
        "h.GR[m, n]",
        (COLLAPSED + "[absent-unstructured]",),
    ),
    Mutant(
        "collapsed: every trajectory accepted",
        "engines/rotated/collapsed.py",
        "if rng.random() < probability:",
        "if rng.random() < 1.0:",
        (WALK + "test_hamiltonian_move[missing-unstructured]",),
    ),
    Mutant(
        "collapsed: kinetic energy at the end forgotten",
        "engines/rotated/collapsed.py",
        "        change -= 0.5 * momentum[a] ** 2",
        "        change -= 0.0",
        (WALK + "test_hamiltonian_move[missing-unstructured]",),
    ),
    Mutant(
        "collapsed: cross-products within cells from before the imputation",
        "engines/rotated/collapsed.py",
        "    sum_within(p, s, h)\n    step = ",
        "    step = ",
        (WALK + "test_hamiltonian_move[missing-unstructured]",),
    ),
)

ORDER = (
    Mutant(
        "sweep: stale eigenvectors of (C, R)",
        "engines/rotated/sweep.py",
        "    elif not call_factor_pair(w.steps[FACTOR], (p, s.Sigma_t, s.s2_E, s.R_e, s.Sigma_r, w)):",
        "    elif w.pair.lam[0] == 0.0 and not call_factor_pair(\n"
        "        w.steps[FACTOR], (p, s.Sigma_t, s.s2_E, s.R_e, s.Sigma_r, w)\n"
        "    ):",
        (SWEEPS + "[unstructured-sweep_gibbs]",),
    ),
    Mutant(
        "sweep: stale eigenvectors after a rejected trajectory",
        "engines/rotated/collapsed.py",
        "    accept_trial(p, s, h)\n    return factor_state(p, s, w, h)",
        "    accept_trial(p, s, h)\n    return True",
        (WALK + "test_hamiltonian_move[missing-unstructured]",),
    ),
    Mutant(
        "sweep: R_e after the imputation",
        "engines/rotated/steps.py",
        "    return FINE if draw_residual(rng, p, s, w) else R_E",
        "    return FINE if impute(rng, p, s, w, True) and draw_residual(rng, p, s, w) else R_E",
        (SWEEPS + "[unstructured-sweep_gibbs]",),
    ),
    Mutant(
        "sweep: imputation between the collapsed update and u",
        "engines/rotated/sweep.py",
        "        if p.proportional:\n            draw_unseen_variances(rng, p, s)\n    elif",
        "        draw_unseen_variances(rng, p, s)\n"
        "        call_refill(w.steps[REFILL], (rng, p, s, w, False))\n    elif",
        (WALK + "test_sweep_does_not_read_old_means_or_effects[COLLAPSED-1.0-missing-unstructured]",),
    ),
    Mutant(
        "sweep: Sigma_E of unseen environments forgotten in the collapsed sweep",
        "engines/rotated/sweep.py",
        "        if p.proportional:\n            draw_unseen_variances(rng, p, s)\n    elif",
        "    elif",
        (WALK + "test_unseen_environments_follow_their_prior[collapsed]",),
    ),
    Mutant(
        "sweep: covariances drawn given the effects not handed to the walk",
        "engines/rotated/sweep.py",
        "        if refresh and not pack_state(p, s, h):\n            return SIGMA_T\n",
        "",
        (WALK + "test_covariances_drawn_given_the_effects_reach_the_walk[missing-unstructured]",),
    ),
    Mutant(
        "sweep: stale auxiliaries after the collapsed update",
        "engines/rotated/steps.py",
        "    if stale and not draw_all_auxiliaries(rng, p, s):\n        return SIGMA_T\n",
        "",
        (WALK + "test_collapsed_sweep_does_not_read_auxiliaries[missing-unstructured]",),
    ),
    Mutant(
        "auxiliaries of Sigma_E: degrees of freedom forgotten",
        "engines/rotated/steps.py",
        "rate = p.genetic.prior_env.nu / s.s2_E[i] + 1.0 / p.genetic.prior_env.scale[k] ** 2",
        "rate = 1.0 / s.s2_E[i] + 1.0 / p.genetic.prior_env.scale[k] ** 2",
        (WALK + "test_auxiliaries_given_covariances[missing-unstructured]",),
    ),
    Mutant(
        "sweep: tau before mu, which is drawn without it",
        "engines/rotated/steps.py",
        "    if not draw_beta(rng, w.pair.T, w.sxx, w.sxz, w.P0, w.P0b0, s.beta):\n        return False\n",
        "    if not draw_beta(rng, w.pair.T, w.sxx, w.sxz, w.P0, w.P0b0, s.beta):\n        return False\n"
        "    draw_mean_scales(rng, p, s)\n",
        (SWEEPS + "[unstructured-sweep_gibbs]",),
    ),
    Mutant(
        "sweep: split of the effects of the sweep before",
        "engines/rotated/sweep.py",
        "    for inner in range(p.inner):\n"
        "        if inner > 0 and not call_refill(w.steps[REFILL], (rng, p, s, w, False)):\n            return R_E\n"
        "        if not draw_block(rng, p, s, w):\n            return MEANS\n"
        "    if p.proportional and not split_effects(rng, p, s, w):\n        return SIGMA_T\n",
        "    if p.proportional and not split_effects(rng, p, s, w):\n        return SIGMA_T\n"
        "    for inner in range(p.inner):\n"
        "        if inner > 0 and not call_refill(w.steps[REFILL], (rng, p, s, w, False)):\n            return R_E\n"
        "        if not draw_block(rng, p, s, w):\n            return MEANS\n",
        (SWEEPS + "[unstructured-sweep_gibbs]",),
    ),
    Mutant(
        "sweep: imputed from the fitted values of another sweep",
        "engines/rotated/sweep.py",
        "return FINE if call_refill(w.steps[REFILL], (rng, p, s, w, given_effects)) else R_E",
        "return FINE if call_refill(w.steps[REFILL], (rng, p, s, w, kind == COLLAPSED)) else R_E",
        (WALK + "test_imputation_reads_fitted_values_of_its_own_sweep[COLLAPSED-1.0-missing-unstructured]",),
    ),
    Mutant(
        "rotation: the last line of an incomplete block counted again",
        "linalg/rotation.py",
        "w1 = y[s1, a] if s + 1 < stop else 0.0",
        "w1 = y[s1, a]",
        ("linalg/test_small.py::test_skinny_rotations[5-3]",),
    ),
    Mutant(
        "rotation: lines beyond a whole number of blocks of three traits lost",
        "linalg/rotation.py",
        "for j in range(J // WIDTH * WIDTH, J):",
        "for j in range(J, J):",
        ("linalg/test_small.py::test_skinny_rotations[5-3]",),
    ),
)

MIRROR = (
    Mutant(
        "mirror: accepted by the density of the trajectory's start",
        "engines/rotated/collapsed.py",
        "        h.theta[:] = theta\n        density = after\n",
        "        h.theta[:] = theta\n",
        ("engines/rotated/test_mirror.py::test_odds_after_a_trajectory_that_moved",),
    ),
    Mutant(
        "mirror: always accepted",
        "engines/rotated/collapsed.py",
        "    if math.log(rng.random()) < change:",
        "    if rng.random() < 2.0 and change > -np.inf:",
        ("engines/rotated/test_mirror.py::test_odds_are_those_of_the_density[missing-unstructured]",),
    ),
    Mutant(
        "mirror: traits outside the corners take part",
        "engines/rotated/collapsed.py",
        "    chosen = cornered.copy()",
        "    chosen = np.ones(p.n_trait, np.bool_)",
        ("engines/rotated/test_mirror.py::test_only_cornered_traits_take_part",),
    ),
    Mutant(
        "observed density: residual covariance of another trait",
        "engines/rotated/observed.py",
        "V += np.equal.outer(record, record) * R_e[np.ix_(trait, trait)]",
        "V += np.equal.outer(record, record) * np.diag(R_e)[trait]",
        ("engines/rotated/test_modes.py::test_density_of_the_observed_values[exchangeable-missing]",),
    ),
    Mutant(
        "modes: no climb from a tight environment",
        "engines/rotated/modes.py",
        "for i in find_tight(p, pooled, each):",
        "for i in find_tight(p, pooled, each)[:0]:",
        ("engines/rotated/test_modes.py::test_likelier_mode_is_found[0.0]",),
    ),
    Mutant(
        "modes: data completed without the record's other traits",
        "engines/rotated/state.py",
        "part[n, wanted] = means[i, wanted] + V[np.ix_(wanted, seen)] @ rest",
        "part[n, wanted] = means[i, wanted]",
        ("engines/rotated/test_modes.py::test_missing_values_are_filled_from_the_record",),
    ),
)
