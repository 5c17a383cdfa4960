"""Animals under selection: their pedigree, their values, and what selection does to both."""

import math

import numpy as np
import pandas as pd
import pytest

import bmtme


def test_weights_are_what_the_docstring_says():
    pop = bmtme.simulate_selection(animals=100, generations=3, seed=4)
    frame, truth = pop.frame, pop.truth
    assert list(frame.columns) == ["id", "generation", "sex", "age", "weight"]
    assert frame.groupby(["generation", "sex"], observed=True).size().tolist() == [50] * 8
    assert frame["age"].between(175, 235).all()
    assert truth["genetic_variance"] == pytest.approx(210)
    sex = frame["sex"].map({"male": 25.0, "female": -25.0})
    noise = frame["weight"] - (294 + sex + 0.75 * (frame["age"] - 205)) - truth["breeding_value"].to_numpy()
    assert abs(noise.mean()) < 4 * math.sqrt(490 / 400)
    assert abs(noise.var(ddof=1) - 490) < 4 * 490 * math.sqrt(2 / 400)


def test_parents_are_the_heaviest_of_the_generation_before():
    pop = bmtme.simulate_selection(animals=80, generations=2, seed=2)
    frame = pop.frame.set_index("id").join(pop.pedigree.set_index("id"))
    assert (frame.loc[frame["generation"] == 0, ["sire", "dam"]] == "0").all(axis=None)
    for generation in (1, 2):
        now, before = (frame[frame["generation"] == g] for g in (generation, generation - 1))
        for role, sex, kept in (("sire", "male", 4), ("dam", "female", 20)):
            best = before[before["sex"] == sex].nlargest(kept, "weight").index
            assert set(now[role]) <= set(best)
        assert (now["dam"].value_counts() == 4).all()
        assert now["dam"].nunique() == 20


def test_values_have_the_relationship_of_the_pedigree():
    """Transformed by A^-1/2, values are independent, inbreeding and all."""
    pop = bmtme.simulate_selection(animals=20, generations=12, keep_males=0.2, heritability=0.6, seed=3)
    A = bmtme.pedigree_relationship(pop.pedigree)
    np.testing.assert_allclose(pop.truth["inbreeding"].loc[list(A.lines)], np.diag(A.matrix) - 1, atol=1e-12)
    assert pop.truth["inbreeding"].iloc[-20:].mean() > 0.2
    # Mendelian sampling alone: selected parents have a mean that is not that of their generation.
    value = pop.truth["breeding_value"]
    ped = pop.pedigree.set_index("id")
    inbreeding = pop.truth["inbreeding"]
    z = []
    for name in ped.index[20:]:
        sire, dam = ped.loc[name, ["sire", "dam"]]
        d = 0.5 - 0.25 * (inbreeding[sire] + inbreeding[dam])
        z.append((value[name] - (value[sire] + value[dam]) / 2) / math.sqrt(d * pop.truth["genetic_variance"]))
    assert abs(np.mean(z)) < 4 / math.sqrt(len(z))
    assert abs(np.var(z) - 1) < 4 * math.sqrt(2 / len(z))


def test_selection_pays():
    """Response of the first generation to selection: h2 times the mean superiority of the parents."""
    pops = [bmtme.simulate_selection(animals=400, generations=1, slope=0.0, seed=seed) for seed in range(8)]
    gains, expected = [], []
    for pop in pops:
        frame = pop.frame.set_index("id")
        superior = frame["weight"] - frame["sex"].map({"male": 319.0, "female": 269.0})
        young = pop.pedigree[pop.pedigree["sire"] != "0"]
        expected.append(0.3 * (superior.loc[young["sire"]].mean() + superior.loc[young["dam"]].mean()) / 2)
        gains.append(pop.truth["breeding_value"].loc[young["id"]].mean())
    difference = np.array(gains) - expected
    assert np.mean(expected) > 8
    assert abs(difference.mean()) < 4 * difference.std(ddof=1) / math.sqrt(len(pops)) + 0.1


def test_seeds_and_founders_only():
    first, again, other = (bmtme.simulate_selection(animals=10, generations=2, seed=seed) for seed in (5, 5, 6))
    pd.testing.assert_frame_equal(first.frame, again.frame)
    pd.testing.assert_frame_equal(first.pedigree, again.pedigree)
    assert not first.frame["weight"].equals(other.frame["weight"])
    alone = bmtme.simulate_selection(animals=7, generations=0, heritability=0.0)
    assert len(alone.frame) == 7
    assert (alone.truth["breeding_value"] == 0).all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"animals": 3}, "animals"),
        ({"generations": -1}, "generations"),
        ({"heritability": 1.0}, "heritability must be from 0, and below 1, got 1.0"),
        ({"residual_variance": 0}, "residual_variance must be above 0"),
        ({"keep_males": 0.0}, "keep_males must be above 0 and up to 1"),
        ({"slope": math.nan}, "slope must be a number"),
    ],
)
def test_values_out_of_range(values, words):
    with pytest.raises(bmtme.UsageError, match=words):
        bmtme.simulate_selection(**values)
