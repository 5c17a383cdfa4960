"""Sums over lines have the order of additions that the source says, compiled or not."""

import importlib
import os
from fractions import Fraction

import numba
import numpy as np
import pytest

from bmtme.engines.rotated.kernels import beta, interaction, pair, scores
from bmtme.linalg import rotation, small
from bmtme.linalg.lanes import FUSED, add_up, load, load_row, multiply_add, spread, store, store_row
from bmtme.testing.scripted import COMPILED, import_plain

compiled_only = pytest.mark.skipif(
    bool(os.environ.get("NUMBA_DISABLE_JIT", "0").strip("0 ")), reason="nothing is compiled"
)
LENGTHS = [0, 1, 3, 4, 7, 8, 9, 31, 309]


@numba.njit
def compute(x, X, out, rows):
    a = load(x, 1)
    b = load_row(X, 1, 2)
    store(out, 0, a + b)
    store(out, 4, a - b)
    store(out, 8, a * b)
    store(out, 12, a / b)
    store(out, 16, multiply_add(a, b, a))
    total = spread(0.5)
    total += a
    store_row(rows, 1, 1, total)
    return add_up(a)


def test_arithmetic():
    rng = np.random.default_rng(1)
    x, X = rng.standard_normal(6), rng.standard_normal((3, 7))
    out, rows = np.full(21, np.nan), np.full((2, 6), np.nan)
    total = compute(x, X, out, rows)
    a, b = x[1:5], X[1, 2:6]
    np.testing.assert_array_equal(out[:16], np.concatenate([a + b, a - b, a * b, a / b]))
    np.testing.assert_array_equal(out[16:20], multiply_add_exactly(a, b, a))
    assert np.isnan(out[20])
    np.testing.assert_array_equal(rows[1], [np.nan, *(0.5 + a), np.nan])
    assert np.isnan(rows[0]).all()
    assert total == (a[0] + a[2]) + (a[1] + a[3])


@compiled_only
@pytest.mark.parametrize("array", [np.ones(8)[::2], np.ones((2, 8))])
def test_only_contiguous_vectors(array):
    @numba.njit
    def read(x):
        return add_up(load(x, 0))

    with pytest.raises(numba.TypingError, match="contiguous arrays of 1 dimensions"):
        read(array)


def call(module, name, n):
    """What a function of sums returns and writes, on vectors of length n."""
    rng = np.random.default_rng(n)
    vectors = [rng.uniform(0.1, 3.0, n) * rng.choice([-1.0, 1.0], n) for _ in range(5)]
    a, b, c, d, e = vectors
    Z, P = rng.standard_normal((3, n)), rng.standard_normal((3, n))
    d = np.abs(d)
    weight, product, rows = np.abs(rng.standard_normal((3, n))), np.abs(e) + 1.0, np.zeros((2, n))
    four = rng.standard_normal((4, n))
    function = getattr(module, name)
    arguments = {
        "dot": (a, b, n),
        "dot_four_rows": (four, 2, 0, 1, 3, Z, 1),
        "add_four_rows": (0.3, -0.2, 0.9, 0.4, four, 2, 0, 1, 3, P, 1),
        "sum_mean_information": (a, b, d, 0.7, c),
        "sum_residual_products": (a, b, c, d),
        "sum_density_terms": (Z, 1, b, d, 0.7, weight, product),
        "turn_to_scores": (Z, P, 1, b, d, weight, 0.3),
        "sum_pair": (Z, 0, 2, d),
        "sum_two_pairs": (Z, P, 2, 1, 0.3, d),
        "combine_rows": (np.array([0.3, -0.2, 0.9, 0.4]), rng.standard_normal((4, n)), 0, 1, rows, 1),
        "add_row": (0.3, a, b),
    }[name]
    returned = function(*arguments)
    written = [np.array(x) for x in arguments if isinstance(x, np.ndarray)]
    return [np.array(returned if returned is not None else 0.0), *written]


SUMS = (
    (small, "dot"),
    (rotation, "dot_four_rows"),
    (rotation, "add_four_rows"),
    (beta, "sum_mean_information"),
    (beta, "sum_residual_products"),
    (scores, "sum_density_terms"),
    (scores, "turn_to_scores"),
    (scores, "sum_pair"),
    (scores, "sum_two_pairs"),
    (pair, "combine_rows"),
    (interaction, "add_row"),
)


def multiply_add_exactly(a, b, c):
    """What the processor does: rounded once where it multiplies and adds in one instruction."""
    if not FUSED:
        return a * b + c
    return np.array([float(Fraction(x) * Fraction(y) + Fraction(z)) for x, y, z in zip(a, b, c, strict=True)])


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize(("module", "name"), SUMS, ids=[name for _, name in SUMS])
def test_compiled_sums_are_those_of_the_source(module, name, n, monkeypatch):
    """To the last bit: a compiler that reorders or contracts would give others."""
    plain = getattr(import_plain(), module.__name__.rpartition(".")[2])
    monkeypatch.setattr(plain, "multiply_add", multiply_add_exactly, raising=False)
    for one, two in zip(call(module, name, n), call(plain, name, n), strict=True):
        np.testing.assert_array_equal(one, two)


def test_sum_of_logs():
    rng = np.random.default_rng(2)
    for product in (np.ones(3), 1.0 + rng.random(400), 10.0 ** rng.uniform(0, 149, 200), np.zeros(0)):
        np.testing.assert_allclose(scores.sum_logs(product), np.log(product).sum(), rtol=1e-13)
    assert not np.isfinite(scores.sum_logs(np.array([2.0, np.inf])))


@compiled_only
def test_nothing_is_compiled_with_liberties():
    """Floating-point liberties make bits depend on what a function is inlined into: see `bmtme.linalg.lanes`."""
    found = 0
    for folder, names in COMPILED.items():
        for name in names:
            module = importlib.import_module(f"bmtme.{folder}.{name}")
            for function in vars(module).values():
                if isinstance(function, numba.core.registry.CPUDispatcher):
                    assert not function.targetoptions.get("fastmath"), function
                    found += 1
    assert found > 100
