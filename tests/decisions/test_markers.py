"""Marker effects give back the effects of the lines."""

import numpy as np
import pandas as pd
import pytest

from bmtme import DataError, UsageError, vanraden
from tests.helpers.posteriors import make_fit, make_setting


@pytest.fixture(scope="module")
def data():
    """Genotypes with gaps and a marker of one allele, and a setting with their relationship."""
    rng = np.random.default_rng(3)
    codes = rng.choice([0.0, 1.0, 2.0], size=(12, 40))
    codes[rng.random(codes.shape) < 0.05] = np.nan
    codes[:, 7] = 0.0
    s = make_setting(outside=0.4)
    frame = pd.DataFrame(codes, index=s.lines, columns=[f"M{k}" for k in range(40)])
    with pytest.warns(UserWarning, match="1 of 40 markers left out"):
        s.G = np.array(vanraden(frame).matrix)
    return s, frame


def score(frame, table, trait):
    """Sums of (x - 2 p) a over the markers, a missing genotype at the mean."""
    own = table[table["trait"] == trait].set_index("marker")
    found = {}
    for line, codes in frame.iterrows():
        known = codes.dropna()
        found[line] = sum((x - 2 * own.loc[m, "frequency"]) * own.loc[m, "effect"] for m, x in known.items())
    return pd.Series(found)


@pytest.mark.parametrize("alone", [False, True])
def test_scores_are_the_effects_of_the_lines(data, alone):
    s, frame = data
    s.y[s.plots[:, 0] == 5, 1] = np.nan  # no T2 of L05
    fit = make_fit(s, alone=alone)
    table = fit.marker_effects(frame.sample(frac=1.0, random_state=1), env=["E1", "E3"])
    assert len(table) == 80
    assert (table.loc[table["marker"] == "M7", "effect"] == 0).all()
    u = fit.idata.posterior["u"].sel(env=["E1", "E3"]).mean(("chain", "draw", "env"))
    for l, trait in enumerate(s.traits):
        known = (s.take_trait(l) if alone else s).known
        names = [s.lines[j] for j in known]
        found = score(frame, table, trait)
        own = u.sel(trait=trait, line=names).values
        np.testing.assert_allclose(found[names], own, atol=1e-8)
        new = [j for j in range(12) if j not in known]
        expected = s.G[np.ix_(new, known)] @ np.linalg.solve(s.G[np.ix_(known, known)], own)
        np.testing.assert_allclose(found[[s.lines[j] for j in new]], expected, atol=1e-7)


def test_other_markers_are_refused(data):
    s, frame = data
    fit = make_fit(s)
    with pytest.raises(DataError, match=r"not VanRaden's first of these markers and lines \(of line 'L\d\d'"):
        fit.marker_effects(frame.iloc[:, :30])
    with pytest.raises(DataError, match="1 of the 12 lines of the relationship have no genotypes: 'L03'"):
        fit.marker_effects(frame.drop(index="L03"))
    with pytest.raises(UsageError, match="keep_effects='none'"):
        make_fit(s, keep=False).marker_effects(frame)
