"""Errors in the effects of replicates, and in what is predicted of plots that contain them."""

from __future__ import annotations

from validation.planted.mutant import Mutant

EFFECTS = "engines/rotated/factor_effects.py"
TESTS = "engines/rotated/test_factor_effects.py::"
FITS = "pipeline/test_replicates.py::"

REPLICATES = (
    Mutant(
        "replicates: fixed effects brought to sum zero in each trait by itself",
        EFFECTS,
        "t[l] += Vi[l, q] * sum_b[q]",
        "t[l] += (1.0 / sum_V[l, l] if l == q else 0.0) * sum_b[q]",
        (TESTS + "test_fixed_effects_sum_to_zero[missing-False-False-0.0]",),
    ),
    Mutant(
        "replicates: a record that lacks a trait counts as complete",
        EFFECTS,
        "add_information(p.part_plots[q], P[p.part_pattern[q]], e, A[k], h[k])",
        "add_information(p.part_plots[q], Ri, e, A[k], h[k])",
        (TESTS + "test_information_on_the_effects[missing-False-False-fixed]",),
    ),
    Mutant(
        "replicates: effects of another factor left in the records",
        EFFECTS,
        "e[l] = t - effects[k - start, a] - others[k - start, l]",
        "e[l] = t - effects[k - start, a]",
        (TESTS + "test_information_on_the_effects[complete-False-False-both]",),
    ),
    Mutant(
        "replicates: differences between the plots of a line keep the effects",
        EFFECTS,
        "s.within[i, l, g] = t",
        "s.within[i, l, g] = p.within[i, l, g]",
        (TESTS + "test_data_less_the_effects[missing-False-False]",),
    ),
    Mutant(
        "replicates: records that lack a trait keep the effects",
        EFFECTS,
        "s.part[q, l] -= x.part_mark[q, g] * b[x.part_level[q, g], l]",
        "s.part[q, l] -= 0.0",
        (TESTS + "test_data_less_the_effects[missing-False-False]",),
    ),
    Mutant(
        "replicates: standard deviation given effects, their number forgotten",
        EFFECTS,
        "draw_inverse_gamma(rng, 0.5 * (x.nu + n), x.nu / a",
        "draw_inverse_gamma(rng, 0.5 * x.nu, x.nu / a",
        (TESTS + "test_standard_deviations_of_random_effects",),
    ),
    Mutant(
        "replicates: standard deviation given standard effects, without its prior",
        EFFECTS,
        "Q[l, l] = 1.0 / (x.scale[f, l] ** 2 * draw_inverse_gamma(rng, 0.5 * (x.nu + 1.0), rate))",
        "Q[l, l] = 0.0 * draw_inverse_gamma(rng, 0.5 * (x.nu + 1.0), rate)",
        (TESTS + "test_standard_deviations_of_random_effects",),
    ),
    Mutant(
        "replicates: effects and mean shifted without the prior of the mean",
        EFFECTS,
        "t = (precision * (s.beta[m] - centre) - total * inverse) / P",
        "t = -total * inverse / P",
        (TESTS + "test_effects_and_means_move_together[exchangeable]",),
    ),
    Mutant(
        "replicates: what is imputed afterwards lies around the means before the shift",
        EFFECTS,
        "w.fitted[c, a] -= t",
        "w.fitted[c, a] -= 0.0",
        (TESTS + "test_effects_and_means_move_together[flat]",),
    ),
    Mutant(
        "replicates: labels that number plots have effects",
        "model/factors.py",
        "if np.count_nonzero(lines >= FEWEST_LINES) > 1 and (lines >= part).all():",
        "if len(lines) > 1 and (lines >= part).all():",
        ("model/test_factors.py::test_of_several_columns_the_first_tells_replicates_if_it_can",),
    ),
    Mutant(
        "replicates: five plots of a line count as five lines",
        "model/factors.py",
        "lines[k] = [len(np.unique(line[here[mine]][seen])) for seen in observed[here[mine]].T]",
        "lines[k] = observed[here[mine]].sum(axis=0)",
        ("model/test_factors.py::test_what_cannot_be_told_is_refused_by_name",),
    ),
    Mutant(
        "replicates: hidden plots predicted for an average one",
        "results/predictions.py",
        "shift = told.shift + reps.shift",
        "shift = told.shift + 0.0 * reps.shift",
        (FITS + "test_hidden_plots_contain_the_effects_of_their_replicates[False-fixed]",),
    ),
    Mutant(
        "replicates: of one hidden as a whole its variance forgotten",
        "results/predictions.py",
        "extra=predictor.add(rows, predictor.genetic[:, i, l], l) + reps.variance,",
        "extra=predictor.add(rows, predictor.genetic[:, i, l], l) + 0.0 * reps.variance,",
        (FITS + "test_hidden_plots_contain_the_effects_of_their_replicates[True-random]",),
    ),
    Mutant(
        "replicates: other traits of a plot taken with the effect of its replicate",
        "results/residuals.py",
        "deviation = deviation - take(here[members], t)",
        "deviation = deviation - 0.0",
        (FITS + "test_records_are_predicted_with_their_replicates",),
    ),
)
