"""Errors in mixed models: axes of covariances, the equations, the search, what is reported."""

from __future__ import annotations

from validation.planted.mutant import Mutant

AXES, REML = "engines/mixed/test_axes.py::", "engines/mixed/test_reml.py::"
EQUATIONS = "engines/mixed/test_equations.py::test_equations_are_the_model"
SPATIAL, TRAITS, SECTIONS = (f"{EQUATIONS}[{case}-DenseCholesky]" for case in ("spatial", "traits", "sections"))
POSTERIOR = "engines/mixed/test_posterior.py::"
PRIOR = POSTERIOR + "test_prior_is_its_definition"
DEFINITION = AXES + "test_axis_is_its_definition"

MIXED = (
    Mutant(
        "mixed: a determinant of an autoregression with a plot too many",
        "engines/mixed/axes.py",
        "return -2 * (self.n - 1) * math.log(math.cosh(phi[0])), np",
        "return -2 * self.n * math.log(math.cosh(phi[0])), np",
        (DEFINITION + "[AR1(n=5)]", SPATIAL),
    ),
    Mutant(
        "mixed: an autoregression without ends",
        "engines/mixed/axes.py",
        "inner[[0, -1]] = 0.0",
        "inner[[0, -1]] = 1.0",
        (DEFINITION + "[AR1(n=5)]", SPATIAL),
    ),
    Mutant(
        "mixed: an autoregression that counts each plot twice",
        "engines/mixed/axes.py",
        "axis=0)[::-1] - X)[None]",
        "axis=0)[::-1])[None]",
        (DEFINITION + "[AR1(n=5)]", SPATIAL),
    ),
    Mutant(
        "mixed: the determinant of an inverse for that of a known covariance",
        "engines/mixed/axes.py",
        "return self.log_det, np.zeros(0)",
        "return -self.log_det, np.zeros(0)",
        (TRAITS, SECTIONS),
    ),
    Mutant(
        "mixed: correlations that several levels share are never negative",
        "engines/mixed/covariances.py",
        "    low = -1.0 / (n - 1)\n    p = float",
        "    low = 0.0\n    p = float",
        (DEFINITION + "[Corh(n=4)]", SECTIONS),
    ),
    Mutant(
        "mixed: slopes as if the diagonal of a Cholesky factor were no logarithm",
        "engines/mixed/covariances.py",
        "(T[:, i] * np.where(i == j, L[i, j], 1.0)).T",
        "T[:, i].T",
        (DEFINITION + "[Unstructured(n=4)]", SPATIAL, TRAITS),
    ),
    Mutant(
        "mixed: entries off the diagonal count once in traces",
        "engines/mixed/equations.py",
        "off = self.pattern.indices != np",
        "off = self.pattern.indices < 0 * np",
        (SPATIAL, TRAITS, SECTIONS),
    ),
    Mutant(
        "mixed: the information of maximum likelihood",
        "engines/mixed/equations.py",
        "information -= moved.T @ self.factor.solve(moved)",
        "information -= 0.0 * moved.T @ self.factor.solve(moved)",
        (SPATIAL, TRAITS, SECTIONS),
    ),
    Mutant(
        "mixed: the determinant of weights with the wrong sign",
        "engines/mixed/equations.py",
        "-float(np.log(problem.weights).sum())",
        "float(np.log(problem.weights).sum())",
        (TRAITS,),
    ),
    Mutant(
        "mixed: slopes along one axis without the precision of the others",
        "engines/mixed/equations.py",
        "others = weigh_all(axes, parts, x, but=a)",
        "others = x",
        (SPATIAL, TRAITS),
    ),
    Mutant(
        "mixed: fixed effects without what least squares took",
        "engines/mixed/equations.py",
        "solution[: problem.rank] + problem.least_squares",
        "solution[: problem.rank]",
        (SPATIAL, REML + "test_balanced_groups_have_the_estimates_of_an_analysis_of_variance"),
    ),
    Mutant(
        "mixed: sums of earlier columns stay",
        "engines/mixed/problem.py",
        "if own[j] > 0 and A[j, j] > OWN_SHARE * own[j]:",
        "if own[j] > 0:",
        (SPATIAL,),
    ),
    Mutant(
        "mixed: whatever leaves dropped columns alone is estimable",
        "engines/mixed/problem.py",
        "gap = np.abs(K[:, others].toarray() - K[:, kept] @ sums)",
        "gap = np.abs(K[:, others].toarray())",
        (REML + "test_residuals_and_combinations",),
    ),
    Mutant(
        "mixed: searches end where a Cholesky diagonal vanishes",
        "engines/mixed/covariances.py",
        "(j == column) & (i > column), -phi, phi)",
        "(j == column) & (i > column), phi, phi)",
        (REML + "test_any_start_reaches_the_same_top",),
    ),
    Mutant(
        "mixed: standard errors of logarithms",
        "engines/mixed/components.py",
        "covariance = slopes @ spread @ slopes.T",
        "covariance = spread",
        (REML + "test_errors_are_those_of_the_average_information",),
    ),
    Mutant(
        "mixed: a full likelihood of all records, without the fixed effects taken off",
        "engines/mixed/result.py",
        "(self.problem.n - self.problem.rank) * math.log",
        "self.problem.n * math.log",
        (REML + "test_balanced_groups_have_the_estimates_of_an_analysis_of_variance",),
    ),
    Mutant(
        "mixed: precisions next to a singular covariance with half their digits",
        "engines/mixed/covariances.py",
        "return T.T @ T, L @ A @ T, -(T.T @ A @ T)",
        "return super().invert(phi)",
        (AXES + "test_nearly_singular_covariance_keeps_its_digits",),
    ),
    Mutant(
        "mixed: memory of the equations without their factor",
        "engines/mixed/equations.py",
        "sum(sizes) + self.factor.memory + 8 * numbers",
        "sum(sizes) + 8 * numbers",
        ("engines/mixed/test_equations.py::test_memory_is_known_beforehand",),
    ),
    Mutant(
        "mixed: a prior of standard deviations as if they were no logarithms",
        "engines/mixed/priors.py",
        "value = phi - 0.5 * (prior.nu + 1) * np.logaddexp(0.0, x)",
        "value = -0.5 * (prior.nu + 1) * np.logaddexp(0.0, x)",
        (PRIOR + "[Variance(n=1)-None]", PRIOR + "[Diagonal(n=3)-None]"),
    ),
    Mutant(
        "mixed: a Jacobian of a Cholesky factor without that of its logarithms",
        "engines/mixed/priors.py",
        "jacobian[i == j] = p - np.arange(p) + 1.0",
        "jacobian[i == j] = p - np.arange(p) + 0.0",
        (PRIOR + "[Unstructured(n=3)-None]", PRIOR + "[Unstructured(n=3)-2.5]"),
    ),
    Mutant(
        "mixed: Huang and Wand's prior with the auxiliaries of a diagonal",
        "engines/mixed/priors.py",
        "value = -0.5 * (nu + 2 * p) * log_det - 0.5 * (nu + p)",
        "value = -0.5 * (nu + 2 * p) * log_det - 0.5 * (nu + 1)",
        (PRIOR + "[Unstructured(n=3)-None]",),
    ),
    Mutant(
        "mixed: loadings without the Jacobian of their triangle",
        "engines/mixed/priors.py",
        "np.where(level == factor, axis.k - 1.0 - factor, 0.0)",
        "np.where(level == factor, 0.0 * factor, 0.0)",
        (PRIOR + "[FactorAnalytic(n=4, k=2)-None]",),
    ),
    Mutant(
        "mixed: weights as if the proposal were normal",
        "engines/mixed/posterior.py",
        "-0.5 * (DF + len(e)) * float(np",
        "-0.5 * DF * float(np",
        (POSTERIOR + "test_proposals_have_their_density",),
    ),
    Mutant(
        "mixed: a density at other places than those drawn, as if stretched on the other side",
        "engines/mixed/posterior.py",
        "np.where(e > 0, self.stretch[1], self.stretch[0])",
        "np.where(e < 0, self.stretch[1], self.stretch[0])",
        (POSTERIOR + "test_proposals_have_their_density",),
    ),
    Mutant(
        "mixed: partial correlations without their volume",
        "engines/mixed/coordinates.py",
        "log_volume += i * size - float(powers @ logs)",
        "log_volume += i * size",
        (POSTERIOR + "test_coordinates_are_their_definition[4]",),
    ),
    Mutant(
        "mixed: the volume of standard deviations of a correlation less",
        "engines/mixed/coordinates.py",
        "log_volume += i * size - float(powers @ logs)",
        "log_volume += (i - 1) * size - float(powers @ logs)",
        (
            POSTERIOR + "test_coordinates_are_their_definition[2]",
            POSTERIOR + "test_density_is_likelihood_times_prior[traits]",
        ),
    ),
    Mutant(
        "mixed: a variance of few levels keeps a standard deviation that it does not have",
        "results/mixed/digest.py",
        "tail_power > 2, tail_power > 4",
        "tail_power > 2, tail_power > 2",
        ("results/mixed/test_posterior.py::test_a_variance_of_few_levels_has_no_standard_deviation",),
    ),
    Mutant(
        "mixed: effects drawn with the factor in place of its transpose",
        "engines/mixed/equations.py",
        "self.factor.draw(z))",
        "self.factor.solve(z))",
        tuple(POSTERIOR + f"test_effects_given_covariances[{case}]" for case in ("spatial", "traits", "sections")),
    ),
)
