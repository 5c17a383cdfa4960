"""The seam for structures: the paper's pair through it, and a made-up structure that nothing else knows."""

import numpy as np
import pytest

from bmtme.engines.rotated.density import evaluate, measure_prior
from bmtme.structures.part import Start
from bmtme.structures.proportional import Proportional, Shared
from bmtme.structures.structure import Genetic
from bmtme.testing.cases import SCENES, make_scene
from bmtme.testing.pairs import build_pair_problem, open_walk


class Twin(Genetic):
    """The paper's genetic structure, not known as such: it takes the way of any other."""

    build = staticmethod(Proportional.build)
    back = staticmethod(Proportional.back)
    complete = staticmethod(Proportional.complete)
    count, start, list_flips = Proportional.count, Proportional.start, Proportional.list_flips


@pytest.mark.parametrize(("design", "variant"), SCENES)
def test_paper_pair_through_the_seam(design, variant):
    """Density, gradient and prior are those of the native form, Kronecker or not."""
    scene = make_scene(design, variant)
    t = scene.t
    p = scene.problem
    q = build_pair_problem(scene.case, (Twin(), Shared()), scene.values)
    assert p.native
    assert not q.native
    assert not q.proportional
    parts = (Twin(), p.genetic), (Shared(), p.residual)
    start = Start(t.Sigma_t, t.s2_E, t.R_e)
    theta = np.concatenate([structure.start(part, start) for structure, part in parts])
    theta += 0.2 * np.random.default_rng(1).standard_normal(len(theta))
    found = []
    for problem in (p, q):
        _, held = open_walk(problem, scene.state())
        gradient = np.empty(len(theta))
        found.append((evaluate(theta, *held, gradient), gradient, measure_prior(theta, held[0], held[3])))
    (value, slope, prior), (other, other_slope, other_prior) = found
    assert other == pytest.approx(value, rel=1e-10)
    assert other_prior == pytest.approx(prior, rel=1e-10)
    np.testing.assert_allclose(other_slope, slope, rtol=0, atol=1e-9 * np.abs(slope).max())
