"""Simulated sets of any size as problems of the sampler, and as arrays for other programs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import bmtme
from bmtme.engines.rotated.problem import Problem
from bmtme.preparation import build, prepare


class Data(NamedTuple):
    """One simulated set."""

    trial: bmtme.Trial
    relationship: bmtme.Relationship

    @property
    def problem(self) -> Problem:
        """Constants of the sampler, for the default model."""
        return build(prepare(self.trial, self.relationship), bmtme.BMTME())[0]

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Standardised values (J, I, L), zero where missing; mask (J, I) of missing cells; G of mean diagonal one."""
        trial = self.trial
        order = {line: j for j, line in enumerate(self.relationship.lines)}
        values = np.full((len(order), len(trial.envs), len(trial.traits)), np.nan)
        place = np.array([order[line] for line in trial.lines])
        values[place[trial.line_index], trial.env_index] = trial.values
        mask = np.isnan(values).any(axis=2)
        values = (values - np.nanmean(values, axis=(0, 1))) / np.nanstd(values, axis=(0, 1))
        G = np.asarray(self.relationship.matrix)
        return np.where(mask[:, :, None], 0.0, values), mask, G / np.diag(G).mean()


def simulate(lines: int, envs: int, traits: int, missing: float, seed: int, correlation: float = 0.85) -> Data:
    """The design of `bmtme.simulate`: heritability one half, markers, a share of the cells missing.

    correlation : of the traits, genetic and residual
    """
    sim = bmtme.simulate(
        lines=lines, envs=envs, traits=traits, missing=missing, heritability=0.5, relationship="markers", seed=seed,
        genetic_correlation=correlation, residual_correlation=correlation,
    )  # fmt: skip
    names = [f"T{l + 1}" for l in range(traits)]
    return Data(bmtme.Trial.from_frame(sim.frame, line="line", env="env", traits=names), sim.relationship)
