"""Errors in covariance structures and in what reaches them."""

from __future__ import annotations

from validation.planted.mutant import Mutant

STRUCTURES = "structures/test_structures.py::"
LINE = "engines/rotated/test_line_effect.py::"
DENSITY = STRUCTURES + "test_density_and_gradient"
PRIOR = "structures/test_genetic.py::test_prior_of_a_free_covariance"
PRIOR_OF_PRODUCT = "structures/test_genetic.py::test_prior_of_a_separable_covariance"
PRIOR_BY_TRAIT = "structures/test_genetic.py::test_prior_of_environments_by_trait"
PRIOR_OF_TWO = "structures/test_genetic.py::test_prior_of_main_effects_and_interaction"
PRIOR_OF_FACTORS = "structures/test_genetic.py::test_prior_of_factors"

STRUCTURE = (
    Mutant(
        "structures: correlations of residuals not uniform",
        "structures/by_env.py",
        "            lp += 0.5 * math.log(M[k, k] * Mi[k, k])\n",
        "",
        (DENSITY + "[by environment-unstructured-complete]",),
    ),
    Mutant(
        "structures: slope of the correlations' prior forgotten",
        "structures/by_env.py",
        "gradient[k] += 1.0 / math.sqrt(M[k, k])",
        "gradient[k] += 0.0",
        (DENSITY + "[by environment-unstructured-complete]",),
    ),
    Mutant(
        "structures: mean of the log standard deviations without its prior",
        "structures/spreads.py",
        "        lp -= 0.5 * ((mean - CENTRE) / CENTRE_SD) ** 2\n",
        "",
        (DENSITY + "[common correlation-unstructured-complete]",),
    ),
    Mutant(
        "structures: off-diagonal blocks of C count half",
        "engines/rotated/density.py",
        "            h.GC[m, n] *= 0.5\n",
        "            h.GC[m, n] *= 0.5 if p.col_env[n] == i else 0.25\n",
        (DENSITY + "[made up-unstructured-complete]",),
    ),
    Mutant(
        "structures: imputation with the residual covariance of another environment",
        "engines/rotated/problem.py",
        "        np.repeat(np.arange(I), Q),\n",
        "        np.repeat(np.arange(I)[::-1], Q),\n",
        (STRUCTURES + "test_imputation_by_the_residuals_of_the_environment",),
    ),
    Mutant(
        "structures: effects of absent columns without those of the recorded ones",
        "engines/rotated/draws.py",
        "add_row(B[a, p.col_env[m] * L + p.col_trait[m]], s.W[m], w.full[a])",
        "add_row(0.0, s.W[m], w.full[a])",
        (STRUCTURES + "test_effects_of_absent_columns_are_those_given_the_recorded_ones",),
    ),
    Mutant(
        "structures: cross-products within cells by the first residual covariance",
        "engines/rotated/density.py",
        "        first = p.block[i] * L\n        R_e = h.R_e[first : first + L]\n",
        "        first = p.block[i] * L\n        R_e = h.R_e[:L]\n",
        (DENSITY + "[by environment-unstructured-missing]",),
    ),
    Mutant(
        "structures: the prior of the means turned as if all sums over environments were one",
        "engines/rotated/means.py",
        "sums[a] * sums[b] * F[l, q]",
        "sums[a] * sums[a] * F[l, q]",
        ("structures/test_structures.py::test_density_in_many_environments[unstructured]",),
    ),
    Mutant(
        "line effect: imputation without it",
        "engines/rotated/steps.py",
        "        add_line_rows(p, s, i, w.temporary)\n",
        "        pass\n",
        (
            LINE + "test_fitted_values_and_residuals_count_the_line_effects[missing]",
            STRUCTURES + "test_a_look_at_the_joint_distribution[free by environment and line effect]",
        ),
    ),
    Mutant(
        "line effect: its gradient over one environment at a time",
        "engines/rotated/line_effect.py",
        "            G[p.col_trait[m], p.col_trait[n]] += GR[m, n]",
        "            G[p.col_trait[m], p.col_trait[n]] += GR[m, n] if p.col_env[m] == p.col_env[n] else 0.0",
        (LINE + "test_density_and_gradient[paper-complete]",),
    ),
    Mutant(
        "line effect: drawn as if every environment had one plot",
        "engines/rotated/line_effect.py",
        "                P[a, b] += p.k[i] * Ri[a, b]",
        "                P[a, b] += Ri[a, b]",
        (LINE + "test_conditional_of_the_line_effects[paper-missing]",),
    ),
    Mutant(
        "structures: a free covariance with the scale of the first trait in every column",
        "structures/free.py",
        "part.prior.scale[part.col_trait]",
        "part.prior.scale[0 * part.col_trait]",
        (PRIOR,),
    ),
    Mutant(
        "structures: a free covariance with the degrees of freedom of fewer columns",
        "structures/free.py",
        "FULL, part.prior.nu, ",
        "FULL, part.prior.nu + 1.0, ",
        (PRIOR,),
    ),
    Mutant(
        "structures: sizes of the interaction without their prior",
        "structures/main_and_interaction.py",
        "        lp -= 0.5 * a[b] ** 2\n",
        "",
        (PRIOR_OF_TWO, DENSITY + "[interaction of free size-unstructured-complete]"),
    ),
    Mutant(
        "structures: the size of the interaction not held at a mean of one",
        "structures/main_and_interaction.py",
        "        k[part.seen[b]] /= total\n",
        "        k[part.seen[b]] /= 1.0\n",
        (DENSITY + "[interaction of free size-unstructured-complete]",),
    ),
    Mutant(
        "structures: an unseen environment changes the interaction of the others",
        "structures/main_and_interaction.py",
        "math.sqrt(np.mean(np.exp(a)) / seen)",
        "1.0",
        (DENSITY + "[interaction of free size-unstructured-unseen]",),
    ),
    Mutant(
        "structures: variances of a separable covariance without their prior",
        "structures/separable.py",
        "    lp += finish_sizes(",
        "    finish_sizes(",
        (PRIOR_OF_PRODUCT, DENSITY + "[separable-unstructured-complete]"),
    ),
    Mutant(
        "structures: slope in variances of a separable covariance as in standard deviations",
        "structures/separable.py",
        "0.5 * slope[i] / math.sqrt(k[i])",
        "slope[i]",
        (DENSITY + "[separable-unstructured-complete]",),
    ),
    Mutant(
        "structures: K reported as it comes, not around one",
        "structures/separable.py",
        "        k /= k.mean(axis=1, keepdims=True)\n",
        "",
        ("structures/test_genetic.py::test_report_of_a_separable_covariance",),
    ),
    Mutant(
        "environments by trait: the root of one trait for both",
        "structures/environments_by_trait.py",
        "S[l, i, k] * S[q, k, h]",
        "S[l, i, k] * S[l, k, h]",
        ("structures/test_genetic.py::test_covariance_of_environments_by_trait",),
    ),
    Mutant(
        "environments by trait: slope through a root as if all eigenvalues were equal",
        "linalg/small.py",
        "X[a, b] /= s[a] + s[b]",
        "X[a, b] /= 2.0 * s[a]",
        (
            "linalg/test_small.py::test_symmetric_root_and_its_derivative[False-3]",
            DENSITY + "[by trait-unstructured-complete]",
        ),
    ),
    Mutant(
        "environments by trait: slope of a product of roots in one of its two places only",
        "structures/environments_by_trait.py",
        "                    GS[k, i] += P[l, q] * g\n",
        "                    GS[k, i] += 0.0 * g\n",
        (DENSITY + "[by trait-unstructured-complete]",),
    ),
    Mutant(
        "environments by trait: slope of the correlation of traits by one root alone",
        "structures/environments_by_trait.py",
        "GP[l, q] += S[l, i, k] * g",
        "GP[l, q] += S[q, i, k] * g",
        (DENSITY + "[by trait-unstructured-complete]",),
    ),
    Mutant(
        "environments by trait: the scale of the first trait in all",
        "structures/environments_by_trait.py",
        "part.prior.scale[l]",
        "part.prior.scale[0]",
        (PRIOR_BY_TRAIT,),
    ),
    Mutant(
        "environments by trait: correlation of the traits without its prior",
        "structures/environments_by_trait.py",
        "    lp += finish_correlations(",
        "    finish_correlations(",
        (PRIOR_BY_TRAIT, DENSITY + "[by trait-unstructured-complete]"),
    ),
    Mutant(
        "structures: slopes of scales not turned to those of contrasts",
        "structures/scaled.py",
        "    gather_deviations(slope, gradient[n:])\n",
        "    gradient[n:] = slope[1:]\n",
        (DENSITY + "[scaled-unstructured-complete]",),
    ),
    Mutant(
        "structures: scales of residuals without their prior",
        "structures/scaled.py",
        "    lp = finish_spreads(g, np.arange(S).reshape(S, 1), slope)",
        "    lp = 0.0 * finish_spreads(g, np.arange(S).reshape(S, 1), slope)",
        (DENSITY + "[scaled-unstructured-complete]", "structures/test_residual.py::test_prior_of_scaled_residuals"),
    ),
    Mutant(
        "structures: an unseen environment changes the residuals of the others",
        "structures/scaled.py",
        "        whole[l] *= math.exp(mean)\n",
        "        whole[l] *= 1.0\n",
        (DENSITY + "[scaled-unstructured-unseen]",),
    ),
    Mutant(
        "structures: a new environment's residuals vary no more than those known",
        "structures/spreads.py",
        "math.sqrt(variance / n) * rng",
        "0.0 * rng",
        ("structures/test_residual.py::test_environments_without_records_follow_the_prior",),
    ),
    Mutant(
        "structures: loadings without the Jacobian of their triangle",
        "structures/factor_analytic.py",
        "power = k - 1.0 - c\n",
        "power = 0.0\n",
        (PRIOR_OF_FACTORS,),
    ),
    Mutant(
        "structures: loadings of a trait independent between environments",
        "structures/factor_analytic.py",
        "2.0 * (Lambda[m, c] - sums[l, c] / (counts[l] + 1.0))",
        "Lambda[m, c]",
        (PRIOR_OF_FACTORS,),
    ),
    Mutant(
        "structures: loadings of absent columns drawn one without the other",
        "structures/factor_analytic.py",
        "        counts[l] += 1\n        own[a]",
        "        counts[l] += 0\n        own[a]",
        ("structures/test_genetic.py::test_loadings_of_absent_columns",),
    ),
    Mutant(
        "structures: loadings of the columns with a record under the pivots of all",
        "structures/factor_analytic.py",
        "    rotate_to_triangle(every)\n",
        "",
        ("structures/test_genetic.py::test_loadings_of_absent_columns",),
    ),
)
