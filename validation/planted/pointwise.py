"""Errors in the log likelihood of a record given the others, and in what a fit says of itself."""

from __future__ import annotations

from validation.planted.mutant import Mutant

ARVIZ, SAID = "results/test_arviz.py::", "results/test_diagnosis.py::"
FORMULA, FIT = ARVIZ + "test_formula[False-exchangeable]", ARVIZ + "test_of_a_fit[model0]"
PIT, DENSITY = ARVIZ + "test_loo_pit_of_a_correct_model[left_out]", ARVIZ + "test_as_leave_one_out"

POINTWISE = (
    Mutant(
        "log likelihood: the means have not learnt from the record",
        "results/pointwise.py",
        "        P = P - VX @ solved[:, 1:] @ VX.transpose(0, 2, 1)",
        "        P = P - 0.0 * VX @ solved[:, 1:] @ VX.transpose(0, 2, 1)",
        (FORMULA, FIT),
    ),
    Mutant(
        "log likelihood: cells with other plots than most not put right",
        "results/pointwise.py",
        "            self.weights = (W + W.T) / 2",
        "            self.weights = 0.0 * (W + W.T)",
        (FORMULA, FIT),
    ),
    Mutant(
        "log likelihood: no effect outside the relationship",
        "results/pointwise.py",
        "+ np.tile(held.C_r, (I, I))",
        "+ 0.0 * np.tile(held.C_r, (I, I))",
        (FORMULA,),
    ),
    Mutant(
        "log likelihood: a value given the others without those of its record",
        "results/pointwise.py",
        "    variance = 1.0 / np.diagonal(P, axis1=1, axis2=2)",
        "    variance = np.diagonal(np.linalg.inv(P), axis1=1, axis2=2)",
        (FORMULA,),
    ),
    Mutant(
        "log likelihood: in scaled units",
        "results/arviz_groups.py",
        "UNITS[RECORD](P, q, observed) - lost.sum(axis=1)",
        "UNITS[RECORD](P, q, observed) - 0.0 * lost.sum(axis=1)",
        (FIT,),
    ),
    Mutant(
        "left-out values: around what was observed",
        "results/arviz_groups.py",
        "rng.standard_normal(q.shape) - q * variance",
        "rng.standard_normal(q.shape) - 0.0 * q * variance",
        (PIT, DENSITY),
    ),
    Mutant(
        "log likelihood: effects of replicates on the wrong side",
        "results/arviz_groups.py",
        "Y = records.Y - records.shift(",
        "Y = records.Y + records.shift(",
        (FIT,),
    ),
    Mutant(
        "diagnosis: effective draws of the tails do not count",
        "results/convergence.py",
        'min(summary["ess_bulk"].min(), summary["ess_tail"].min())',
        'summary["ess_bulk"].min()',
        (SAID + "test_chains_that_do_not_suffice[cells2]",),
    ),
    Mutant(
        "diagnosis: divergences do not count",
        "results/convergence.py",
        'if apart or describe_divergences(sampling, run["settings"]):',
        "if apart:",
        (SAID + "test_divergences_and_corners",),
    ),
)
