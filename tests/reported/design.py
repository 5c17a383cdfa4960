"""The design of the trial and of the fit."""

import numpy as np

TRAITS, ENVS = ["T1", "T2", "T3"], ["E1", "E2", "E3"]
UNITS = np.array([1e-3, 1.0, 1e4])
OUTSIDE = ["L03", "L12"]  # of the relationship, not in the trial
EMPTY = "L07"  # in the trial, without a value
CHAINS, DRAWS, KEPT = 4, 60, 25  # KEPT of each chain, behind standard deviations and intervals
