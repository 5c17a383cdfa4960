"""Fits to be drawn: a small one, and one of a size and with names that ask much of a figure."""

from __future__ import annotations

import warnings

import pytest

import bmtme
from bmtme.results.fit import Fit
from tests.helpers.posteriors import make_fit, make_setting

#: Names that are no formula, no markup, no command to a terminal, not hidden and not cut off unseen.
ODD = ("$\\frac{$", '<b>&"x"</b>', "T" * 200, "_T", "Grain protein content (%)", "\x1b[31mred")


@pytest.fixture
def _sufficient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains that suffice."""
    monkeypatch.setattr(Fit, "reliable", True)


@pytest.fixture(scope="package")
def small() -> Fit:
    """Thirty lines, three of them without a record, a covariance of its own for every cell."""
    fit = make_fit(make_setting(lines=30, new=3))
    fit.run["facts"]["means"] = "flat"  # as they were drawn
    return fit


@pytest.fixture(scope="package")
def crowded() -> Fit:
    """300 lines in 10 environments, 8 traits."""
    simulated = bmtme.simulate(lines=300, envs=10, traits=8, seed=3)
    frame = simulated.frame
    lines, envs = (list(dict.fromkeys(frame[name])) for name in ("line", "env"))
    called = dict(zip(lines, ["L" * 200 + "end", *ODD[:2], *ODD[3:], *lines[6:]], strict=True))
    places = dict(zip(envs, ["../../etc", "$x_{$", "E" * 200, *(f"Site{k}_2019" for k in range(7))], strict=True))
    traits = {f"T{k + 1}": name for k, name in enumerate((*ODD, "Yield", "ASI"))}
    frame = frame.assign(line=frame["line"].map(called), env=frame["env"].map(places)).rename(columns=traits)
    related = bmtme.Relationship(simulated.relationship.matrix, [called[line] for line in simulated.relationship.lines])
    trial = bmtme.Trial.from_frame(frame, line="line", env="env", rep="rep", traits=list(traits.values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bmtme.fit(trial, related, draws=5, tune=5, chains=2, cores=1, progress=False)
