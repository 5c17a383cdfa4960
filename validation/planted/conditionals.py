"""Errors in the full conditionals of means, effects and covariances."""

from __future__ import annotations

from validation.planted.mutant import Mutant

CONDITIONALS = "engines/rotated/test_conditionals.py::"
BLOCK = "engines/rotated/test_block_draw.py::"
MISSING = "engines/rotated/test_missing.py::"
GENETIC = CONDITIONALS + "test_genetic_covariances_and_auxiliaries"
RESIDUAL = CONDITIONALS + "test_residual_covariance_and_auxiliaries"
CROSS_PRODUCTS = MISSING + "test_residual_cross_products_of_recorded_plots"

MEANS = (
    Mutant(
        "beta: mu integrated out with the wrong weight",
        "engines/rotated/kernels/beta.py",
        "shared = 1.0 / (count[l] + mu_precision[l] * tau2[l])",
        "shared = 1.0 / (count[l] + mu_precision[l])",
        (
            CONDITIONALS + "test_means_given_effects[missing-unstructured-iw]",
            BLOCK + "test_block_draw[missing-diagonal]",
        ),
    ),
    Mutant(
        "beta: plot multiples of the lines forgotten",
        "engines/rotated/kernels/beta.py",
        "        xx += x[j] * x[j]",
        "        xx += 1.0",
        (CONDITIONALS + "test_means_given_effects[missing-unstructured]",),
    ),
    Mutant(
        "mu: drawn without its prior mean",
        "engines/rotated/kernels/beta.py",
        "mean = (s / tau2[l] + mu_precision[l] * mu_mean[l]) / precision",
        "mean = s / tau2[l] / precision",
        (CONDITIONALS + "test_means_given_effects[missing-diagonal]",),
    ),
    Mutant(
        "tau: degrees of freedom off by one",
        "engines/rotated/kernels/beta.py",
        "tau2[l] = draw_inverse_gamma(rng, 0.5 * (nu + n), nu / aux[l] + 0.5 * s)",
        "tau2[l] = draw_inverse_gamma(rng, 0.5 * (nu + n - 1.0), nu / aux[l] + 0.5 * s)",
        (CONDITIONALS + "test_scales_of_the_means[missing-unstructured]",),
    ),
    Mutant(
        "the paper's prior of the means in centred units",
        "engines/rotated/kernels/beta.py",
        "s += (scale[l] * beta[m] + centre[l]) ** 2",
        "s += (scale[l] * beta[m]) ** 2",
        (CONDITIONALS + "test_scales_of_the_means[missing-standard]",),
    ),
    Mutant(
        "mean of the wrong environment behind imputed values",
        "engines/rotated/steps.py",
        "fitted[c, a] = beta[first + a] + u / roots[c]",
        "fitted[c, a] = beta[a] + u / roots[c]",
        (MISSING + "test_imputation[missing-unstructured-True]",),
    ),
)

EFFECTS = (
    Mutant(
        "effects: shrinkage without the eigenvalue",
        "engines/rotated/kernels/genetic.py",
        "z[j] = root_d[j] * s * (z[j] - x[j] * beta) + math.sqrt(s) * noise[j]",
        "z[j] = s * (z[j] - x[j] * beta) + math.sqrt(s) * noise[j]",
        (BLOCK + "test_block_draw[missing-unstructured]",),
    ),
    Mutant(
        "effects: variance taken for a standard deviation",
        "engines/rotated/kernels/genetic.py",
        "z[j] = root_d[j] * s * (z[j] - x[j] * beta) + math.sqrt(s) * noise[j]",
        "z[j] = root_d[j] * s * (z[j] - x[j] * beta) + s * noise[j]",
        (BLOCK + "test_block_draw[absent-unstructured]",),
    ),
    Mutant(
        "b1 given b2: eigenvalue forgotten in the precision",
        "engines/rotated/kernels/genetic.py",
        "v = 1.0 / (1.0 + d[j] * max(lam[b], 0.0))",
        "v = 1.0 / (1.0 + max(lam[b], 0.0))",
        (
            CONDITIONALS + "test_main_effects_given_interaction[missing-unstructured]",
            CONDITIONALS + "test_interaction_given_main_effects[missing-unstructured]",
        ),
    ),
    Mutant(
        "b2 given b1: plots of the environment forgotten",
        "engines/rotated/stepwise.py",
        "P[a, b] = p.k[i] * Ri[traits[a], traits[b]]",
        "P[a, b] = Ri[traits[a], traits[b]]",
        (CONDITIONALS + "test_interaction_given_main_effects[missing-unstructured]",),
    ),
    Mutant(
        "split: variance of the interaction forgotten",
        "engines/rotated/kernels/interaction.py",
        "inverse[i, a, b] /= s2_E[i]",
        "inverse[i, a, b] *= 1.0",
        (BLOCK + "test_split_into_main_effects_and_interaction[missing-unstructured]",),
    ),
    Mutant(
        "pair: plots k forgotten where columns are absent",
        "engines/rotated/kernels/pair.py",
        "col_trait[b]] / k[i] if i == col_env[b]",
        "col_trait[b]] if i == col_env[b]",
        (BLOCK + "test_pair_diagonalises_both_covariances[absent-unstructured]",),
    ),
    Mutant(
        "pair: plots k forgotten in the product form",
        "engines/rotated/kernels/pair.py",
        "B[a, a] += ka * s2_E[seen[a]]",
        "B[a, a] += s2_E[seen[a]]",
        (BLOCK + "test_pair_diagonalises_both_covariances[missing-unstructured]",),
    ),
)

COVARIANCES = (
    Mutant(
        "half-t covariance: degrees of freedom off by one",
        "engines/rotated/kernels/covariance.py",
        "draw_inverse_wishart(rng, S, prior.nu + p - 1.0 + n, out)",
        "draw_inverse_wishart(rng, S, prior.nu + p + n, out)",
        (GENETIC + "[complete-unstructured]", RESIDUAL + "[complete-unstructured]"),
    ),
    Mutant(
        "half-t covariance: factor 2 nu of the scale halved",
        "engines/rotated/kernels/covariance.py",
        "S[a, a] += 2.0 * prior.nu / aux[a]",
        "S[a, a] += prior.nu / aux[a]",
        (GENETIC + "[complete-unstructured]", RESIDUAL + "[complete-unstructured]"),
    ),
    Mutant(
        "auxiliaries: prior scale not squared",
        "engines/rotated/kernels/covariance.py",
        "rng, 0.5 * (prior.nu + p), prior.nu * Mi[k, k] + 1.0 / prior.scale[k] ** 2",
        "rng, 0.5 * (prior.nu + p), prior.nu * Mi[k, k] + 1.0 / prior.scale[k]",
        (GENETIC + "[missing-unstructured]",),
    ),
    Mutant(
        "inverse-Wishart on a diagonal: df/2 without the halved scale",
        "engines/rotated/kernels/covariance.py",
        "0.5 * (prior.matrix[k, k] + scatter[k, k])",
        "prior.matrix[k, k] + 0.5 * scatter[k, k]",
        (RESIDUAL + "[missing-diagonal-iw]",),
    ),
    Mutant(
        "standard model: one trait's worth of degrees of freedom",
        "engines/rotated/kernels/covariance.py",
        "s2 = draw_inverse_gamma(rng, 0.5 * (prior.nu + n * p), prior.nu / aux[0] + 0.5 * total)",
        "s2 = draw_inverse_gamma(rng, 0.5 * (prior.nu + n), prior.nu / aux[0] + 0.5 * total)",
        (GENETIC + "[missing-standard]",),
    ),
    Mutant(
        "inverse-Wishart: Bartlett factor with equal degrees of freedom",
        "structures/priors.py",
        "A[a, a] = math.sqrt(2.0 * rng.standard_gamma(0.5 * (df - a)))",
        "A[a, a] = math.sqrt(2.0 * rng.standard_gamma(0.5 * df))",
        ("linalg/test_small.py::test_moments_of_the_inverse_wishart[2-9.0]", RESIDUAL + "[complete-unstructured]"),
    ),
    Mutant(
        "Sigma_E of an unseen environment: scale of another law",
        "structures/priors.py",
        "a = draw_inverse_gamma(rng, 0.5, 1.0 / prior.scale[k] ** 2)",
        "a = draw_inverse_gamma(rng, 0.5, prior.scale[k] ** 2)",
        (GENETIC + "[unseen-unstructured]",),
    ),
    Mutant(
        "Sigma_t: b2 forgotten",
        "engines/rotated/steps.py",
        "            w.scatter_1[:] += S\n            S *= s.s2_E[i]\n            n += p.rank",
        "            S *= s.s2_E[i]",
        (GENETIC + "[missing-unstructured]",),
    ),
    Mutant(
        "Sigma_t: b2 not divided by Sigma_E",
        "engines/rotated/steps.py",
        "S[a, b] /= s.s2_E[i]",
        "S[a, b] /= 1.0",
        (GENETIC + "[missing-unstructured]",),
    ),
    Mutant(
        "Sigma_t: wrong rank, all lines counted",
        "engines/rotated/steps.py",
        "    n = float(p.rank)\n",
        "    n = float(p.d.shape[0])\n",
        (GENETIC + "[missing-unstructured]", GENETIC + "[one-environment-unstructured]"),
    ),
    Mutant(
        "Sigma_E: wrong rank, all lines counted",
        "engines/rotated/steps.py",
        "rng, squares, float(p.rank * L), p.is_seen, p.genetic.prior_env, s.aux_E, s.s2_E",
        "rng, squares, float(p.d.shape[0] * L), p.is_seen, p.genetic.prior_env, s.aux_E, s.s2_E",
        (GENETIC + "[complete-unstructured]", GENETIC + "[complete-standard]"),
    ),
    Mutant(
        "R_e: imputed plots in the degrees of freedom only",
        "engines/rotated/steps.py",
        "        n += p.n_recorded[i]\n",
        "        n += p.n_recorded[i] + np.sum(p.cell_pad[p.cell_offset[i] : p.cell_offset[i + 1]] > 0.0)\n",
        (RESIDUAL + "[missing-unstructured]",),
    ),
    Mutant(
        "R_e: differences between plots of a cell forgotten",
        "engines/rotated/steps.py",
        "out[a, b] += s.within[i, a, b]",
        "out[a, b] += 0.0",
        (CROSS_PRODUCTS + "[missing-unstructured]", RESIDUAL + "[missing-diagonal]"),
    ),
    Mutant(
        "R_e: unseen plots not taken off",
        "engines/rotated/kernels/residual.py",
        "add_outer(-plots, e, traits, out)",
        "add_outer(-cell_count[c], e, traits, out)",
        (CROSS_PRODUCTS + "[missing-unstructured]",),
    ),
)
