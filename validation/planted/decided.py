"""Errors in what a breeder decides by: reliabilities, ranks, indices, correlations, heritabilities."""

from __future__ import annotations

from validation.planted.mutant import Mutant

RANKS, INDEX = "decisions/test_ranking.py::", "decisions/test_index.py::"
COVARIANCES, STABILITY = "decisions/test_covariances.py::", "decisions/test_stability.py::"
LEFT_OUT, SCORES = "decisions/test_leave_one_out.py::", "decisions/test_scoring.py::"
DRAWN = "report/"
RELIABLE = RANKS + "test_reliability_against_the_dense_posterior"

DECIDED = (
    Mutant(
        "reliability: variance of u itself, not of its deviation from the mean",
        "decisions/candidates.py",
        "left = (self.effects @ a - (self.averages @ a)[:, None]).var(axis=0, ddof=1)",
        "left = (self.effects @ a).var(axis=0, ddof=1)",
        (RELIABLE + "[general]", RELIABLE + "[paper]"),
    ),
    Mutant(
        "reliability: lines without a record as those of the trial in a line effect",
        "decisions/candidates.py",
        "own=1.0 + sign / ",
        "own=1.0 - 1.0 / ",
        (RELIABLE + "[outside]",),
    ),
    Mutant(
        "reliability: contrast with a mean of which the line is no part",
        "model/contrasts.py",
        "- 2.0 * means + means[known].sum() / n",
        "+ means[known].sum() / n",
        (COVARIANCES + "test_contrasts_by_hand[False]",),
    ),
    Mutant(
        "ranking: rank 1 is the worst",
        "decisions/ranking.py",
        'rankdata(-values, method="min", axis=1)',
        'rankdata(values, method="min", axis=1)',
        (RANKS + "test_every_column_by_hand[general-high]", INDEX + "test_joint_probabilities_by_hand[False]"),
    ),
    Mutant(
        "ranking: ranks of posterior means in place of those of the draws",
        "decisions/ranking.py",
        "ranks = rank_draws(sign * effects)",
        "ranks = rank_draws(sign * np.broadcast_to(effects.mean(axis=0), effects.shape))",
        (RANKS + "test_every_column_by_hand[general-high]",),
    ),
    Mutant(
        "ranking: intervals without the means of the environments",
        "decisions/ranking.py",
        "np.quantile(values, INTERVAL, axis=0)",
        "np.quantile(effects, INTERVAL, axis=0)",
        (RANKS + "test_every_column_by_hand[paper-low]",),
    ),
    Mutant(
        "index: desired gains by the genetic covariance",
        "decisions/weights.py",
        "S = np.atleast_2d(np.cov(predicted, rowvar=False))",
        "S = candidates.genetic",
        (INDEX + "test_desired_gains[trait]",),
    ),
    Mutant(
        "leave-one-out: the means have not learnt from the record",
        "decisions/leave_one_out.py",
        "P -= A @",
        "A @",
        (LEFT_OUT + "test_refits_of_forty_lines", LEFT_OUT + "test_blocks[line-exchangeable]"),
    ),
    Mutant(
        "leave-one-out: value by value, not by blocks",
        "decisions/leave_one_out.py",
        "np.linalg.eigh(P[np.ix_(rows, rows)])",
        "np.linalg.eigh(np.diag(P[rows, rows]))",
        (LEFT_OUT + "test_blocks[cell-flat]",),
    ),
    Mutant(
        "score: markers centred by the frequencies of the new lines",
        "decisions/scoring.py",
        "own - ploidy * p)",
        "own - np.nanmean(own, axis=0))",
        (SCORES + "test_every_column[False]", SCORES + "test_as_lines_of_the_relationship"),
    ),
    Mutant(
        "score: nothing is unknown of missing genotypes",
        "decisions/scoring.py",
        "+ gap @ expected",
        "+ 0.0 * gap @ expected",
        (SCORES + "test_squares_by_hand", SCORES + "test_less_is_known_the_more_is_missing"),
    ),
    Mutant(
        "score: the interval without what markers leave open",
        "decisions/scoring.py",
        "variance = left[:, None] * within[:, l]",
        "variance = 0.0 * left[:, None] * within[:, l]",
        (SCORES + "test_as_lines_of_the_relationship",),
    ),
    Mutant(
        "joint probabilities: a product of those of the traits",
        "decisions/joint.py",
        "top_all = top_all & (rank_draws(values) <= k)",
        "top_all = top_all * (rank_draws(values) <= k).mean(axis=0, keepdims=True)",
        (INDEX + "test_joint_probabilities_by_hand[True]",),
    ),
    Mutant(
        "response: selected anew in each draw",
        "decisions/response.py",
        "candidates.effects[:, rows].mean(axis=1)",
        "np.sort(candidates.effects, axis=1)[:, -rows.sum() :].mean(axis=1)",
        (INDEX + "test_response_by_hand",),
    ),
    Mutant(
        "correlations: of interactions with the main effect in them",
        "decisions/correlations.py",
        "np.diagonal(C, axis1=2, axis2=4).mean(axis=-1) - C.mean(axis=(2, 4))",
        "np.diagonal(C, axis1=2, axis2=4).mean(axis=-1)",
        (COVARIANCES + "test_correlations_of_traits[all]",),
    ),
    Mutant(
        "heritability: of an entry mean with the mean number of plots",
        "decisions/heritability.py",
        "(inverse / number[:, None] ** 2).mean(axis=0)",
        "(inverse > 0).mean(axis=0) / plots.mean(axis=0) / number.mean() ** 2",
        (COVARIANCES + "test_heritability_of_records_and_means[trial-False]",),
    ),
    Mutant(
        "heritability: Cullis with the variance of a line's own effect",
        "decisions/heritability.py",
        "vbar = 2.0 * left.var(axis=1, ddof=1)",
        "vbar = 2.0 * (left**2).mean(axis=1)",
        (COVARIANCES + "test_cullis_against_the_dense_posterior",),
    ),
    Mutant(
        "stability: slopes on means over all candidates",
        "decisions/stability.py",
        "u.values[:, :, known][:, :, :, places, l].mean(axis=2)",
        "u.values[:, :, :, places, l].mean(axis=2)",
        (STABILITY + "test_every_column_by_hand[high-False]",),
    ),
    Mutant(
        "reaction norms: deviations from the mean of all candidates",
        "decisions/norms.py",
        "effects[:, own].mean(axis=1)",
        "effects.mean(axis=1)",
        (DRAWN + "test_line_plots.py::test_reaction_norms",),
    ),
    Mutant(
        "picture of correlations: triangles exchanged",
        "report/estimate_plots.py",
        "grid[i, j] = row.mean",
        "grid[j, i] = row.mean",
        (DRAWN + "test_estimate_plots.py::test_env_correlations",),
    ),
    Mutant(
        "calibration: half of a normal distribution within one standard deviation",
        "report/calibration.py",
        "HALF * part",
        "1.0 * part",
        (DRAWN + "test_pictures.py::test_calibration",),
    ),
    Mutant(
        "Sigma_E: correlation of environments without the root",
        "report/glossary.py",
        "1.0 / math.sqrt((1.0 + a) * (1.0 + b))",
        "1.0 / ((1.0 + a) * (1.0 + b))",
        (DRAWN + "test_glossary.py::test_interaction_by_an_example",),
    ),
    Mutant(
        "page: lowest lines counted among the highest",
        "report/html/lines.py",
        "tabulate_ranking(candidates, alone, top, LOW)",
        "tabulate_ranking(candidates, alone, top, HIGH)",
        (DRAWN + "test_html.py::test_ranking",),
    ),
    Mutant(
        "page: response of one line more than was selected",
        "report/html/lines.py",
        'table["line"].head(top)]',
        'table["line"].head(top + 1)]',
        (DRAWN + "test_html.py::test_what_selection_brings",),
    ),
    Mutant(
        "page: names are not escaped",
        "report/html/page.py",
        "autoescape=True",
        "autoescape=False",
        (DRAWN + "test_html.py::test_names_are_texts",),
    ),
    Mutant(
        "correlations: the diagnostics of another pair",
        "decisions/correlations.py",
        "values[place] for values in found",
        "values[::-1] for values in found",
        ("decisions/test_covariances.py::test_diagnostics_are_computed_once",),
    ),
)
