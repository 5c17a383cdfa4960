"""Errors in blocks and covariates: their draws, what they add to hidden plots, and what is refused of them."""

from __future__ import annotations

from validation.planted.mutant import Mutant

SLOPES = "engines/rotated/slopes.py"
EFFECTS = "engines/rotated/test_factor_effects.py::"
FITS = "pipeline/test_blocks.py::"
CHECKUP = "checkup/test_blocks.py::"

BLOCKS = (
    Mutant(
        "slopes: plots around the mean of their cell tell nothing",
        SLOPES,
        "    if not add_plots(p, s, S, r):\n        return False\n",
        "    if not add_plots(p, s, S.copy(), r.copy()):\n        return False\n",
        (EFFECTS + "test_slopes[missing-False-False-0.0]",),
    ),
    Mutant(
        "slopes: drawn given the means, not with them integrated out",
        SLOPES,
        "                t -= B[q, a] * B[g, a]\n",
        "",
        (EFFECTS + "test_slopes[complete-False-False-0.0]",),
    ),
    Mutant(
        "slopes: a plot that lacks a trait counts for it",
        "engines/rotated/factors.py",
        "here = np.flatnonzero((layout.rec_env == i) & observed[:, l])",
        "here = np.flatnonzero(layout.rec_env == i)",
        (EFFECTS + "test_slopes[missing-False-False-0.0]",),
    ),
    Mutant(
        "slopes: other effects left in the plots around the means",
        SLOPES,
        "own[g] -= x.together[row + q] * s.level_effects[q, g]",
        "own[g] -= 0.0",
        (EFFECTS + "test_slopes[complete-False-False-0.0]",),
    ),
    Mutant(
        "slopes: rotated data keep the slopes before",
        SLOPES,
        "add_row(-r[c * L + p.col_trait[m]], x.design[c, m], s.Y[m])",
        "add_row(0.0, x.design[c, m], s.Y[m])",
        (EFFECTS + "test_slopes[missing-False-False-0.0]",),
    ),
    Mutant(
        "covariates: records that lack a trait keep the whole slope",
        "engines/rotated/factor_effects.py",
        "s.part[q, l] -= x.part_mark[q, g] * b[x.part_level[q, g], l]",
        "s.part[q, l] -= b[x.part_level[q, g], l]",
        (EFFECTS + "test_data_less_the_effects[missing-False-False-slopes]",),
    ),
    Mutant(
        "covariates: slopes in units of their standard deviation",
        "results/quantities.py",
        "chain.level_effects[:, at, np.arange(at.shape[1])] / units",
        "chain.level_effects[:, at, np.arange(at.shape[1])] + 0.0 * units",
        ("pipeline/test_covariates.py::test_hidden_plots_contain_their_covariates",),
    ),
    Mutant(
        "covariates: hidden plots predicted at an average value",
        "results/replicates.py",
        "return Shift(shift + (sums / plots[:, None]) @ effects[:, self.slope[:, l]].T, variance)",
        "return Shift(shift, variance)",
        ("pipeline/test_covariates.py::test_hidden_plots_contain_their_covariates",),
    ),
    Mutant(
        "blocks: of several factors the first alone counts in hidden plots",
        "results/replicates.py",
        "for f in range(self.level.shape[1]):",
        "for f in range(1):",
        (FITS + "test_hidden_plots_contain_the_effects_of_their_blocks[False]",),
    ),
    Mutant(
        "blocks: the variance of one hidden as a whole forgotten",
        "results/replicates.py",
        "variance += np.outer((strange**2).sum(axis=1), sd[:, f] ** 2)",
        "variance += 0.0 * np.outer((strange**2).sum(axis=1), sd[:, f] ** 2)",
        (FITS + "test_hidden_plots_contain_the_effects_of_their_blocks[True]",),
    ),
    Mutant(
        "blocks: effects of levels in the order of their factors",
        "engines/rotated/factors.py",
        "place = np.argsort(np.lexsort((of, env)))",
        "place = np.argsort(np.lexsort((env, of)))",
        (FITS + "test_hidden_plots_contain_the_effects_of_their_blocks[False]",),
    ),
    Mutant(
        "blocks: an effect where the trait stands in one block only",
        "model/factors.py",
        "there &= there.sum(axis=0) > 1",
        "there &= there.sum(axis=0) > 0",
        (FITS + "test_one_trait_at_a_time_and_other_samplers[gibbs]",),
    ),
    Mutant(
        "blocks: plots of a line in the order of their values",
        "data/order.py",
        "*map(rank_labels, labels), env, line]",
        "*map(rank_labels, labels[-1:]), env, line]",
        ("data/test_blocks.py::test_plots_of_a_line_are_put_in_order_by_their_blocks",),
    ),
    Mutant(
        "blocks: two values of one block independent when one is left out",
        "decisions/leave_one_out.py",
        "V += share_level(level, values.trait) * own[values.trait]",
        "V += 0.0 * share_level(level, values.trait) * own[values.trait]",
        ("decisions/test_leave_one_out.py::test_effects_of_blocks",),
    ),
    Mutant(
        "blocks: parts that a line joins counted apart",
        "checkup/blocks.py",
        "joined = coo_matrix((np.ones(len(row)), (row, n + column)), shape=(size, size))",
        "joined = coo_matrix((np.ones(len(row)), (row, row)), shape=(size, size))",
        (CHECKUP + "test_connected_parts",),
    ),
    Mutant(
        "blocks: a plot without a label beside others passes",
        "checkup/blocks.py",
        "            if not label:\n",
        "            if label is None:\n",
        (CHECKUP + "test_what_nothing_tells_is_refused[missing]",),
    ),
)
