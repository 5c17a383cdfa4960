"""Blocks whose effects nothing tells, and what others lean on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bmtme import BMTME, DataError, Relationship, Trial, cross_validate, fit
from bmtme.checkup.blocks import count_parts, find_block_faults, find_covariate_faults
from bmtme.words import list_names


def make_trial(blocks, lines=8, rep=True, **more):
    """Two replicates of every line in two environments; columns of blocks from places in E1 and E2 (line, rep)."""
    rows = [(f"L{j}", env, f"R{r + 1}", j, r) for env in ("E1", "E2") for j in range(lines) for r in range(2)]
    frame = pd.DataFrame(rows, columns=["line", "env", "rep", "j", "r"])
    frame["y"] = np.random.default_rng(1).normal(size=len(frame))
    for name, label in blocks.items():
        frame[name] = [label(*row) for row in frame[["env", "j", "r"]].itertuples(index=False)]
    return Trial.from_frame(
        frame, line="line", env="env", traits="y", rep="rep" if rep else None, blocks=list(blocks), **more
    )


GOOD = {"block": lambda env, j, r: f"{r}{(j + 3 * r) % 4 // 2}"}
STOPS = {
    "missing": ({"block": lambda env, j, r: "" if (env, j) == ("E2", 3) else str(r)},
                "2 plots without a label of 'block' beside plots that have one (line 'L3' in environment 'E2'"),
    "none": ({"block": lambda env, j, r: ""}, "'block' has no label beside a value"),
    "environment": ({"block": lambda env, j, r: env}, "'block' has one block in every environment, whose effect"),
    "plot": ({"block": lambda env, j, r: f"{j} {r}"}, "Every block of 'block' is a single plot"),
    "line": ({"block": lambda env, j, r: str(j)}, "Every block of 'block' holds one line only"),
    "twins": (GOOD | {"row": lambda env, j, r: f"r{GOOD['block'](env, j, r)}"}, "'block' and 'row' are the same"),
}  # fmt: skip


@pytest.mark.parametrize("name", STOPS)
def test_what_nothing_tells_is_refused(name):
    """By `check` in words, by a fit and a cross-validation before anything is sampled."""
    blocks, words = STOPS[name]
    trial = make_trial(blocks)
    (found,) = [finding for finding in find_block_faults(trial) if finding.severity == "stop"]
    assert found.summary.startswith(words)
    assert not trial.check().ok
    relationship = Relationship.identity(trial.lines)
    for call in (fit, cross_validate):
        with pytest.raises(DataError) as raised:
            call(trial, relationship, BMTME())
        assert str(raised.value) == found.summary


NOTES = {
    "none": ({"block": lambda env, j, r: "" if env == "E1" else GOOD["block"](env, j, r)},
             "'block' has no labels in E1, where plots have no such effect."),
    "one": ({"block": lambda env, j, r: "1" if env == "E1" else GOOD["block"](env, j, r)},
            "'block' has one block in E1, whose effect is part of the environment's mean."),
    "lone": ({"block": lambda env, j, r: "alone" if (env, j, r) == ("E2", 1, 1) else GOOD["block"](env, j, r)},
             "'block' has blocks of a single plot (1 of 5 in E2), which add hardly anything to what is known."),
    "apart": ({"block": lambda env, j, r: str((j + (env == "E2")) % 2)},
              "'block' has no line in two blocks of E1, E2: effects of blocks and lines are told apart by"),
    "parts": ({"block": lambda env, j, r: f"{r}{j % 2}" if env == "E1" else GOOD["block"](env, j, r)},
              "'block' falls into 2 parts in E1 that have no line in common"),
    "replicates": ({"block": lambda env, j, r: str(r) if env == "E1" else GOOD["block"](env, j, r)},
                   "'block' has the replicates of E1 for blocks, which count as blocks there."),
    "crossed": ({"block": lambda env, j, r: str((j + r) % 3)},
                "'block' has each block of E1, E2 in several replicates. If blocks are numbered anew in each, name "
                "both columns as one factor: rep:block."),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTES)
def test_what_effects_lean_on_is_noted(name):
    blocks, words = NOTES[name]
    found = find_block_faults(make_trial(blocks))
    assert {finding.severity for finding in found} == {"note"}
    assert any(finding.summary.startswith(words) for finding in found), list_names(f.summary for f in found)


def test_good_blocks():
    """Every two of four blocks with a line in common, two in each replicate."""
    trial = make_trial(GOOD)
    assert find_block_faults(trial) == []
    said = str(trial.check())
    assert "blocks       block: 4 in each of 2 environments, of 4 plots" in said


def test_connected_parts():
    """Lines 0 and 1 share block a, line 2 is alone in b; joined by a plot of line 1 in b."""
    assert count_parts(np.array([0, 1, 2]), ["a", "a", "b"]) == 2
    assert count_parts(np.array([0, 1, 2, 1]), ["a", "a", "b", "b"]) == 1


def test_a_factor_of_lines_is_warned_of():
    """The same label of a line in both environments."""
    (found,) = [
        f for f in find_block_faults(make_trial({"group": lambda env, j, r: str(j % 2)})) if f.severity != "note"
    ]
    assert found.severity == "warning"
    assert found.summary.startswith("'group' is the same for all plots of a line in every environment: it groups lines")


# --- covariates -------------------------------------------------------------------------------------------------------

GRADIENT = np.arange(32.0) % 7


def test_good_covariates():
    trial = replace(make_trial(GOOD), covariates={"stand": GRADIENT})
    assert find_covariate_faults(trial) == []
    assert "covariates   stand" in str(trial.check())


@pytest.mark.parametrize(
    ("covariates", "words"),
    [
        ({"stand": np.where(np.arange(32) == 3, np.nan, GRADIENT)},
         "The covariate 'stand' is missing of 1 plot with a value (line 'L1' in 'E1'): fill it in, take"),
        ({"stand": np.repeat([0.1 + 0.2, 5.0], 16)}, "The covariate 'stand' does not vary between the plots of 'y'"),
        ({"stand": GRADIENT, "twice": 3 - 2 * GRADIENT},
         "The covariate 'twice' follows from 'stand' among the plots of 'y'"),
    ],
)  # fmt: skip
def test_covariates_that_tell_no_slope_are_refused(covariates, words):
    trial = replace(make_trial(GOOD), covariates=covariates)
    (found,) = [finding for finding in find_covariate_faults(trial) if finding.severity == "stop"]
    assert found.summary.startswith(words)
    for call in (fit, cross_validate):
        with pytest.raises(DataError) as raised:
            call(trial, Relationship.identity(trial.lines), BMTME())
        assert str(raised.value) == found.summary


def test_an_environment_that_tells_nothing_of_a_slope_is_noted():
    values = np.where(np.arange(32) < 16, 3.0, GRADIENT)
    (found,) = find_covariate_faults(replace(make_trial(GOOD), covariates={"stand": values}))
    assert found.severity == "note"
    assert found.summary == "The covariate 'stand' is the same for all plots of E1, which tell nothing of it."
