"""What a compiled draw draws: its code as plain Python, fed with numbers instead of random ones.

A kernel that draws hides the parameters of its distribution. Run as plain Python with a generator that
returns scripted numbers, it shows them: a normal draw is affine in the standard normals that it consumes, so
zeros give its mean and unit vectors the columns of a factor of its covariance; a gamma draw records its shape.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType, SimpleNamespace

import numba
import numpy as np

COMPILED = {
    "linalg": ("lanes", "pointers", "small", "rotation"),
    "structures": ("parameters", "priors", "part", "structure", "proportional"),
    "engines.rotated.kernels": (
        "pair", "covariance", "beta", "genetic", "interaction", "missing", "residual", "scores",
    ),
    "engines.rotated": (
        "line_effect", "factors", "groups", "problem", "state", "known_errors", "joint_errors", "steps",
        "factor_effects", "slopes", "draws", "density",
        "collapsed", "stepwise", "sweep",
    ),
}  # fmt: skip

#: Value of every scripted standard gamma draw: the Bartlett factor of a Wishart draw is then the identity, so that
#: IW(S, n) gives S, and IG(a, b) gives 2 b.
HALF = 0.5


@contextmanager
def _set_aside(prefixes: tuple[str, ...]) -> Iterator[None]:
    """Take modules out of the import system, and put them back afterwards in place of whatever was imported."""

    def matches(name: str) -> bool:
        return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)

    before = {name: module for name, module in sys.modules.items() if matches(name)}
    for name in before:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in [name for name in sys.modules if matches(name)]:
            del sys.modules[name]
        sys.modules.update(before)
        for prefix in prefixes:
            parent, _, child = prefix.rpartition(".")
            setattr(sys.modules[parent], child, before[prefix])


@cache
def import_plain() -> SimpleNamespace:
    """The compiled modules as plain Python: a second copy, imported with numba switched off.

    Returns
    -------
    SimpleNamespace
        One attribute a module (``small``, ``pair``, ..., ``steps``, ``sweep``).
    """
    for folder, names in COMPILED.items():
        for name in names:
            importlib.import_module(f"bmtme.{folder}.{name}")
    config = numba.config
    before = config.DISABLE_JIT
    modules: dict[str, ModuleType] = {}
    config.DISABLE_JIT = 1
    try:
        with _set_aside(tuple(f"bmtme.{folder}" for folder in COMPILED)):
            for folder, names in COMPILED.items():
                for name in names:
                    modules[name] = importlib.import_module(f"bmtme.{folder}.{name}")
    finally:
        config.DISABLE_JIT = before
    return SimpleNamespace(**modules)


class ScriptedGenerator:
    """Stands in for a `numpy.random.Generator`: returns given normals (then zeros) and gammas of 1/2.

    Attributes
    ----------
    count : normals asked for so far
    shapes : shape parameter of every gamma asked for so far
    """

    def __init__(self, normals: np.ndarray | None = None) -> None:
        self.normals = np.zeros(0) if normals is None else np.asarray(normals, float)
        self.count = 0
        self.shapes: list[float] = []

    def standard_normal(self) -> float:
        value = self.normals[self.count] if self.count < len(self.normals) else 0.0
        self.count += 1
        return float(value)

    def standard_gamma(self, shape: float) -> float:
        self.shapes.append(float(shape))
        return HALF


def read_normal(draw: Callable[[ScriptedGenerator], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a normal draw.

    Parameters
    ----------
    draw : runs the draw with a generator, from the same state every time, and returns the drawn vector

    Raises
    ------
    AssertionError
        Where the draw is not affine in the normals that it consumes.
    """
    rng = ScriptedGenerator()
    mean = np.array(draw(rng), float).ravel()
    n = rng.count
    factor = np.array([np.ravel(draw(ScriptedGenerator(row))) - mean for row in np.eye(n)]).reshape(n, mean.size).T
    probe = np.cos(np.arange(n))
    size = 1.0 + np.abs(mean).max(initial=0.0)
    error = np.abs(np.ravel(draw(ScriptedGenerator(probe))) - mean - factor @ probe).max(initial=0.0)
    assert error < 1e-9 * size, f"the draw is not affine in its {n} normals: off by {error}"
    return mean, factor @ factor.T


def assert_normal(
    draw: Callable[[ScriptedGenerator], np.ndarray], mean: np.ndarray, covariance: np.ndarray, tolerance: float = 1e-9
) -> None:
    """A draw has this mean and covariance, relative to their largest entries (and to one)."""
    got_mean, got_covariance = read_normal(draw)
    for got, wanted in ((got_mean, mean), (got_covariance, covariance)):
        size = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * size)
