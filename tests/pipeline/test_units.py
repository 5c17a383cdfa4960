"""The same data in other units give the same answers in those units (the sampler `gibbs`, same seed)."""

import numpy as np
import pytest

from bmtme import BMTME, HalfT, InverseWishart, Relationship, simulate
from tests.helpers.fits import fit_frame

pytestmark = pytest.mark.filterwarnings("ignore:a short run")
TRAITS = ["T1", "T2", "T3"]
FACTOR = np.array([1e-6, 1e6, 1.0])
SHIFT = np.array([0.0, -3e6, 1e4])
G_FACTOR = 0.2
STRUCTURES = ("unstructured", "diagonal", "standard")


def with_clones(relationship):
    """The second five lines become copies of the first five."""
    matrix = np.array(relationship.matrix)
    source = np.r_[0:5, 0:5, 10 : len(matrix)]
    return Relationship(matrix[np.ix_(source, source)], lines=relationship.lines)


def make_data(name):
    """Trial frame and relationship; the awkward ones have gaps, an absent column and lines without a record."""
    if name == "complete":
        sim = simulate(lines=20, relationship="markers", seed=3)
        return sim.frame, sim.relationship
    if name == "replicates, identity":
        sim = simulate(lines=20, reps=2, relationship=Relationship.identity([f"L{j}" for j in range(20)]), seed=3)
        return sim.frame.drop(index=sim.frame.index[::7]), sim.relationship
    sim = simulate(lines=20, relationship="blocks", missing=0.15, missing_traits=0.1, seed=3)
    frame = sim.frame[sim.frame["line"] != "L12"].copy()
    frame.loc[frame["env"] == "E2", "T3"] = np.nan
    if name == "an environment without a record":
        frame.loc[frame["env"] == "E3", TRAITS] = np.nan
    relationship = sim.relationship
    return frame, with_clones(relationship) if name == "clones, absent" else relationship


def in_other_units(frame, relationship):
    other = frame.copy()
    other[TRAITS] = frame[TRAITS] * FACTOR + SHIFT
    return other, Relationship(G_FACTOR * relationship.matrix, lines=relationship.lines)


def run(frame, relationship, model):
    settings = {"draws": 50, "tune": 50, "seed": 5, "sampler": "gibbs", "keep_effects": "all"}
    return fit_frame(frame, relationship, model, **settings)


def assert_same_answers(one, two, tolerance=1e-6):
    """Posterior and predictions of `two`, brought back to the units of `one`, differ by rounding only."""
    p, q = one.idata.posterior, two.idata.posterior
    assert set(p.data_vars) == set(q.data_vars)
    squared = np.outer(FACTOR, FACTOR)
    back = {
        "beta": lambda x: (x - SHIFT) / FACTOR,
        "mu": lambda x: (x - SHIFT) / FACTOR,
        "tau": lambda x: x / FACTOR,
        "b1": lambda x: x / FACTOR,
        "b2": lambda x: x / FACTOR,
        "rep_effects": lambda x: x / FACTOR,
        "Sigma_t": lambda x: x / squared * G_FACTOR,
        "R_e": lambda x: x / squared,
        "Sigma_E": lambda x: x,
    }
    for name in p.data_vars:
        expected = p[name].values
        np.testing.assert_allclose(
            back[name](q[name].values), expected, rtol=tolerance, atol=tolerance * expected.std(), err_msg=name
        )
    P, Q = one.predictions(), two.predictions()
    for column in ("line", "env", "trait", "n_obs"):
        assert P[column].tolist() == Q[column].tolist()
    place = P["trait"].map(TRAITS.index).to_numpy()
    for column in ("observed", "mean", "lower", "upper"):
        again = (Q[column].to_numpy() - SHIFT[place]) / FACTOR[place]
        np.testing.assert_allclose(again, P[column], rtol=tolerance, atol=tolerance, err_msg=column)
    np.testing.assert_allclose(Q["sd"] / FACTOR[place], P["sd"], rtol=tolerance)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(
    "data", ["complete", "replicates, identity", "blocks, absent", "clones, absent", "an environment without a record"]
)
def test_units_change_nothing_but_units(data, structure):
    frame, relationship = make_data(data)
    model = BMTME(structure)
    assert_same_answers(run(frame, relationship, model), run(*in_other_units(frame, relationship), model))


def test_flat_means():
    frame, relationship = make_data("complete")
    model = BMTME(means="flat")
    assert_same_answers(run(frame, relationship, model), run(*in_other_units(frame, relationship), model))


@pytest.mark.parametrize("family", ["half-t", "inverse-Wishart"])
@pytest.mark.parametrize("structure", ["unstructured", "diagonal"])
def test_scales_of_priors_are_in_units_of_the_data_and_of_the_relationship(structure, family):
    """A scale goes with what is reported: A to a A / sqrt(k) for Sigma_t of k G, to a A for R_e; squared for IW."""
    t, e = np.array([0.4, 0.8, 1.5]), np.array([2.0, 0.5, 1.0])

    def model(t, e):
        if family == "half-t":
            return BMTME(
                structure,
                prior_t=HalfT(nu=3, scale=dict(zip(TRAITS, t, strict=True))),
                prior_E=HalfT(nu=4, scale=0.7),
                prior_e=HalfT(nu=4, scale=dict(zip(TRAITS, e, strict=True))),
            )
        correlation = np.full((3, 3), 0.4) + 0.6 * np.eye(3) if structure == "unstructured" else np.eye(3)
        return BMTME(
            structure,
            prior_t=InverseWishart(df=7, scale=np.outer(t, t) * correlation),
            prior_E=InverseWishart(df=5, scale=0.5),
            prior_e=InverseWishart(df=6, scale=np.outer(e, e) * correlation),
        )

    frame, relationship = make_data("clones, absent")
    one = run(frame, relationship, model(t, e))
    two = run(*in_other_units(frame, relationship), model(t * FACTOR / np.sqrt(G_FACTOR), e * FACTOR))
    assert_same_answers(one, two)


def test_a_scale_left_as_it_is_does_matter():
    """The contrast: the same number for data in units ten times smaller is another prior."""
    frame, relationship = make_data("complete")
    small = frame.copy()
    small[TRAITS] *= 0.1
    model = BMTME(prior_e=HalfT(nu=2, scale=0.01))
    one, two = (run(data, relationship, model).idata.posterior["R_e"].values for data in (frame, small))
    assert np.abs(two * 100 - one).max() > 1e-3 * one.std()
