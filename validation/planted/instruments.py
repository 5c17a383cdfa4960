"""Errors in simulated truths, and in what calibration makes of them."""

from __future__ import annotations

from validation.planted.mutant import Mutant

SIMULATED = "datasets/test_simulated_structures.py::"
MOMENTS = SIMULATED + "test_effects_have_the_covariances_of_the_truth"
GIVEN = SIMULATED + "test_what_is_given_is_the_truth"
CALIBRATION = "testing/test_sbc.py::"

INSTRUMENTS = (
    Mutant(
        "simulation: environments and traits of C change places",
        "datasets/simulated.py",
        ".reshape(lines, envs, traits).swapaxes(0, 1)",
        ".reshape(lines, traits, envs).transpose(2, 0, 1)",
        (MOMENTS + "[free-shared]",),
    ),
    Mutant(
        "simulation: residuals of the first environment in all",
        "datasets/simulated.py",
        'drawn["R_e"].reshape(-1, 1, traits, traits)',
        'drawn["R_e"].reshape(-1, 1, traits, traits)[:1]',
        (MOMENTS + "[proportional-by_env]",),
    ),
    Mutant(
        "simulation: line effects of unrelated traits",
        "datasets/simulated.py",
        '@ find_root(drawn["Sigma_r"])',
        '* np.sqrt(np.diag(drawn["Sigma_r"]))',
        (MOMENTS + "[free-shared]",),
    ),
    Mutant(
        "simulation: residuals know nothing of the line effect",
        "datasets/truths.py",
        '        among = among + np.diag(values["Sigma_r"])\n',
        "",
        (SIMULATED + "test_without_spread_structures_are_the_paper_s",),
    ),
    Mutant(
        "simulation: interaction of one size",
        "datasets/truths.py",
        'np.kron(np.diag(k), values["Sigma_gt"])',
        'np.kron(np.eye(len(k)), values["Sigma_gt"])',
        (GIVEN + "[genetic2-by_env-names2]",),
    ),
    Mutant(
        "simulation: tables that are given are taken in their own order",
        "datasets/given.py",
        "value = value.loc[rows] if columns is None else value.loc[rows, columns]",
        "value = value.copy()",
        (GIVEN + "[genetic2-by_env-names2]",),
    ),
    Mutant(
        "calibration: log likelihood of the truth without line effects",
        "testing/ranked.py",
        " - u[i, :, j] - truth.r[:, j]",
        " - u[i, :, j]",
        (CALIBRATION + "test_truths_and_draws_are_the_same_quantities[free]",),
    ),
    Mutant(
        "calibration: new lines without a line effect",
        "testing/ranked.py",
        " + draws.Sigma_r[kept, l, l]",
        "",
        (CALIBRATION + "test_held_plots_are_predicted_as_users_see_them[paper]",),
    ),
)
