"""Walks of the collapsed sampler with scripted numbers."""

import numpy as np

from bmtme.testing.scripted import ScriptedGenerator, import_plain

PLAIN = import_plain()
LENGTH = 4  # leapfrog steps of a trajectory


class ScriptedWalk(ScriptedGenerator):
    """Scripted normals, and scripted uniforms: the jitter of the step, then the throw for acceptance."""

    def __init__(self, normals=None, uniforms=(0.5, 0.5)):
        super().__init__(normals)
        self.uniforms = list(uniforms)

    def random(self):
        return self.uniforms.pop(0)


def start_walk(scene, step=0.1):
    """A walk at the scene's covariances, with a centre and a metric of its own."""
    p, s, w = scene.problem, scene.state(), PLAIN.state.allocate_work(scene.problem)
    h = PLAIN.collapsed.allocate_walk(p)
    PLAIN.collapsed.pack_state(p, s, h)
    q = len(h.theta)
    rng = np.random.default_rng(8)
    h.tuning.centre[:] = h.theta + 0.1 * rng.standard_normal(q)
    h.tuning.metric[:] = np.tril(0.1 * rng.standard_normal((q, q)), -1) + np.diag(rng.uniform(0.3, 0.6, q))
    h.tuning.step[0], h.tuning.leapfrogs[0], h.tuning.mirror_every[0] = step, LENGTH, 0  # no mirror moves
    return p, s, w, h


def check_pair(scene, s, w):
    """The eigenvectors at hand are those of the state's covariances."""
    p, here = scene.problem, scene.case.recorded.ravel()
    C = np.kron(np.ones((p.n_env, p.n_env)) + np.diag(s.s2_E), s.Sigma_t)[np.ix_(here, here)]
    R = np.kron(np.diag(1 / p.k), s.R_e)[np.ix_(here, here)]
    np.testing.assert_allclose(w.pair.T.T @ R @ w.pair.T, np.eye(here.sum()), atol=1e-9)
    np.testing.assert_allclose(w.pair.T.T @ C @ w.pair.T, np.diag(w.pair.lam), atol=1e-8 * w.pair.lam.max())
