"""Errors of known covariance that correlate between records: their parts, conditionals and whole sweeps."""

import re

import numpy as np
import pytest

from bmtme.model.errors import Errors, find_dependence, share_covariances, share_errors
from bmtme.structures.by_env import ByEnv
from bmtme.structures.free import Free
from bmtme.structures.proportional import Proportional
from bmtme.structures.tied import Tied
from bmtme.testing import pairs
from bmtme.testing.cases import DESIGNS, Case, draw_tame, make_case
from bmtme.testing.laws import join_laws, join_restrictions
from bmtme.testing.pairs import build_pair_problem, compare_pair, draw_errors, find_rest, make_joint_errors
from bmtme.testing.scripted import ScriptedGenerator, import_plain, read_normal
from tests.structures.test_structures import FULL_SPARSE

PLAIN = import_plain()
PAIRS = {"tied": (Proportional(), Tied()), "by environment": (Free(), ByEnv())}
#: Of `DESIGNS`, with one record of each line in an environment.
PLACES = ["missing", "absent", "one-trait"]


def make_plain_case(design: str, **options) -> Case:
    """A design with the first record of each cell, all uncertain."""
    plots = tuple(tuple(re.sub("x[0-9]", "", cell).split()[0] for cell in row) for row in DESIGNS[design])
    return make_case(plots, joint=True, **options)


def make_joint_scene(design: str, name: str = "tied", means: str = "exchangeable"):
    """A case, its covariances and errors, unknowns, values, the problem and its state."""
    case = make_plain_case(design, means=means)
    covariances, errors = make_joint_errors(case)
    rng = np.random.default_rng(5)
    t = draw_tame(rng, case.model)
    true, pads = case.model.draw_values(rng, t), case.pads().draw_values(rng, t)
    values = true + draw_errors(rng, errors)
    p = build_pair_problem(case, PAIRS[name], values, errors=errors)
    s = case.pack(p, t, true, pads)
    L = p.n_trait
    s.R_e[:] = np.vstack([t.R_e * (1.0 + 0.3 * k) for k in range(len(s.R_e) // L)]) + p.common
    return case, covariances, errors, t, values, p, s


@pytest.mark.parametrize("design", PLACES)
def test_common_part_and_rest_are_the_covariance(design: str) -> None:
    case = make_plain_case(design)
    covariances, errors = make_joint_errors(case)
    env = case.model.env
    assert errors.uncertain.all()
    for i in np.unique(env):
        here = np.flatnonzero(env == i)
        records, traits, rest = find_rest(errors, i)
        n = np.searchsorted(here, records)
        V = covariances[str(i)][n[:, None], traits[:, None], n, traits]
        common = errors.common[i][traits[:, None], traits] * np.equal.outer(n, n)
        np.testing.assert_allclose(common + rest, V, rtol=1e-9, atol=1e-9)
        assert np.linalg.eigvalsh(rest)[0] > -1e-9
        assert errors.common[i].trace() > 0.05
        for k, l in zip(records, traits, strict=True):
            own = (records == k) & (traits == l)
            np.testing.assert_allclose(errors.rest[k, l, l], rest[own, own], rtol=1e-9, atol=1e-12)
    scale = np.arange(2.0, 2.0 + case.observed.shape[1])
    scaled = errors.rescale(scale)
    for i in np.unique(env):
        records, traits, rest = find_rest(errors, i)
        units = np.outer(scale[traits], scale[traits])
        np.testing.assert_allclose(find_rest(scaled, i)[2] * units, rest, rtol=1e-9, atol=1e-9)


def test_independent_errors_are_those_of_standard_errors() -> None:
    """With one trait, the same common part and rest; with several, another division of the same."""
    rng = np.random.default_rng(2)
    se, env = rng.uniform(0.5, 2.0, (7, 1)), np.array([0, 0, 0, 0, 1, 1, 1])
    V = {str(i): np.diag(se[env == i, 0] ** 2).reshape(-1, 1, int((env == i).sum()), 1) for i in (0, 1)}
    joint = share_covariances(V, np.ones((7, 1), bool), env, ["0", "1"])
    alone = share_errors(se, np.eye(1), env, 2)
    np.testing.assert_allclose(joint.common, alone.common)
    np.testing.assert_allclose(joint.rest, alone.rest, atol=1e-12)
    for i in (0, 1):
        records, _, rest = find_rest(joint, i)
        np.testing.assert_allclose(rest, np.diag(alone.rest[records, 0, 0]), atol=1e-12)
    # All of one error: nothing is left.
    same = share_covariances({"0": np.eye(3).reshape(3, 1, 3, 1)}, np.ones((3, 1), bool), np.zeros(3, int), ["0"])
    assert same.common.item() == pytest.approx(1.0)
    assert same.groups == ()
    assert not same.uncertain.any()


def test_errors_that_follow_from_others_are_found() -> None:
    V = np.ones((3, 2, 3, 2)) * np.eye(3)[:, None, :, None]
    data = np.ones((3, 2), bool), np.zeros(3, int), ["E1"]
    assert find_dependence({"E1": V}, *data) == ["E1"]
    assert find_dependence({"E1": V * (0.5 + 0.5 * np.eye(2))[:, None]}, *data) == []
    one = np.ones((3, 1, 3, 1)), np.ones((3, 1), bool)
    assert find_dependence({"E1": one[0]}, one[1], *data[1:]) == []
    assert share_covariances({"E1": one[0]}, one[1], *data[1:]).common.item() == pytest.approx(0.0, abs=1e-12)


def find_posterior(case: Case, errors: Errors, t, values, p, s, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the means beta_i and the true values of an environment, given effects and covariances.

    By one dense normal: the columns of beta recorded there, then all recorded traits of each record in turn.
    """
    L = p.n_trait
    g = np.flatnonzero(case.recorded[i])
    here = np.flatnonzero(case.model.env == i)
    R = s.R_e[p.block[i] * L : (p.block[i] + 1) * L][np.ix_(g, g)]
    u = case.total(t)[i][g][:, case.model.line[here]].T.ravel()
    X = np.tile(np.eye(len(g)), (len(here), 1))
    kind = case.model.law_beta
    if kind.kind == "flat":
        prior, centre = np.zeros(len(g)), np.zeros(len(g))
    elif kind.kind == "paper":
        prior, centre = kind.scale[g] ** 2 / t.s2_b, -(kind.centre / kind.scale)[g]
    else:
        prior, centre = 1.0 / t.tau2[g], t.mu[g]
    inside = np.kron(np.eye(len(here)), R)
    records, traits, rest = find_rest(errors, i)
    place = np.searchsorted(here, records) * len(g) + np.searchsorted(g, traits)
    gain = np.linalg.solve(inside[np.ix_(place, place)] + rest, inside[place]).T
    # t = u + X beta + gain (y - u_o - X_o beta) + noise
    W = inside[np.ix_(place, place)] + rest
    covariance = np.linalg.inv(np.diag(prior) + X[place].T @ np.linalg.solve(W, X[place]))
    e = values[records, traits] - u[place]
    mean = covariance @ (prior * centre + X[place].T @ np.linalg.solve(W, e))
    slope = np.vstack([np.eye(len(g)), X - gain @ X[place]])
    whole = slope @ covariance @ slope.T
    whole[len(g) :, len(g) :] += inside - gain @ inside[place]
    return np.concatenate([np.zeros(len(g)), u + gain @ e]) + slope @ mean, whole


CONDITIONALS = [
    ("missing", "tied", "exchangeable"),
    ("missing", "by environment", "paper"),
    ("absent", "tied", "exchangeable"),
    ("one-trait", "tied", "flat"),
    ("one-trait", "by environment", "exchangeable"),
]


@pytest.mark.parametrize(("design", "name", "means"), CONDITIONALS)
def test_draw_leaves_the_conditional(design: str, name: str, means: str) -> None:
    """As a linear map with noise: the normal of means and true values given the rest comes out as it went in.

    With one trait, it comes out wherever one starts.
    """
    case, _, errors, t, values, p, s = make_joint_scene(design, name, means)
    w = PLAIN.state.allocate_work(p)
    PLAIN.steps.fill_fitted(p, s, w)
    for i in range(p.n_env):
        m, V = find_posterior(case, errors, t, values, p, s, i)
        g = np.flatnonzero(case.recorded[i])
        columns = p.env_first[i] + np.arange(len(g))
        record = case.layout.part_record
        of = np.flatnonzero(case.model.env[record] == i)
        of = of[np.argsort(record[of])]

        here = slice(p.cell_offset[i], p.cell_offset[i + 1])
        effects = w.fitted[here, : len(g)] - s.beta[columns]

        def draw(rng, start, i=i, g=g, columns=columns, of=of, here=here, effects=effects):
            own = s._replace(part=s.part.copy(), beta=s.beta.copy())
            own.beta[columns] = start[: len(g)]
            own.part[np.ix_(of, g)] = start[len(g) :].reshape(len(of), len(g))
            w.fitted[here, : len(g)] = effects + own.beta[columns]
            assert PLAIN.joint_errors.draw_joint_values(rng, p, own, w, i)
            np.testing.assert_allclose(
                w.fitted[here, : len(g)] - effects, np.tile(own.beta[columns], (len(effects), 1))
            )
            return np.concatenate([own.beta[columns], own.part[np.ix_(of, g)].ravel()])

        zero = np.zeros(len(m))
        constant, noise = read_normal(lambda rng: draw(rng, zero))  # noqa: B023 called at once
        still = np.array([draw(ScriptedGenerator(), e) - constant for e in np.eye(len(m))]).T
        np.testing.assert_allclose(constant + still @ m, m, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(still @ V @ still.T + noise, V, rtol=1e-9, atol=1e-9 * np.abs(V).max())
        if len(g) == 1:
            np.testing.assert_allclose(still, 0.0, atol=1e-9)
        assert np.abs(np.linalg.eigvals(still)).max() < 0.95


def compare_sweeps(name: str, line_effect: bool, size: int, sweeps: int):
    pair = PAIRS[name]
    plots = tuple(tuple(re.sub("x[0-9]", "", cell).split()[0] for cell in row) for row in FULL_SPARSE)
    case = make_case(plots, shape="full", mu_sd=1.0, nu=4.0, scale=1.0, even=line_effect, joint=True)
    laws = join_laws(*pair), join_restrictions(*pair)
    return compare_pair(case, pair, *laws, size, sweeps, 1, line_effect, errors=make_joint_errors(case)[1])


GEWEKE = [("tied", False), ("by environment", True)]


@pytest.mark.parametrize(("name", "line_effect"), GEWEKE)
def test_a_look_at_the_joint_distribution(name: str, line_effect: bool) -> None:
    comparison = compare_sweeps(name, line_effect, 20, 2)
    assert np.isfinite(comparison.z).all()
    assert comparison.p_value > 1e-6, str(comparison)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "line_effect"), GEWEKE)
def test_sweeps_leave_the_joint_distribution(name: str, line_effect: bool) -> None:
    comparison = compare_sweeps(name, line_effect, 2000, 5)
    assert comparison.p_value > 1e-3, str(comparison)
    assert len(comparison.z) > 150


@pytest.mark.slow
def test_errors_that_are_independent_after_all_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of the right variances that do not correlate: sweeps that say they do leave another distribution."""

    def draw(rng: np.random.Generator, errors: Errors) -> np.ndarray:
        variances = np.diagonal(errors.rest, axis1=1, axis2=2)
        return np.sqrt(np.maximum(variances, 0.0)) * rng.standard_normal(variances.shape)

    monkeypatch.setattr(pairs, "draw_errors", draw)
    assert compare_sweeps("tied", False, 2000, 5).p_value < 1e-6


def test_arrays_have_one_type() -> None:
    """A sampler of complete records, on which `rehearse` compiles it, serves all others."""
    with_errors = make_joint_scene("missing")[-2]
    plain = make_case(DESIGNS["complete"])
    complete = plain.problem(np.zeros(plain.observed.shape))
    assert len(complete.part_values) == 0 < len(with_errors.part_values)
    assert describe_arrays(complete) == describe_arrays(with_errors)


def describe_arrays(record, name="") -> dict[str, object]:
    """Kind of number and dimensions of every array of a record."""
    if isinstance(record, np.ndarray):
        return {name: (record.dtype, record.ndim)}
    if not isinstance(record, tuple):
        return {name: type(record)}
    return {key: kind for k, own in enumerate(record) for key, kind in describe_arrays(own, f"{name}.{k}").items()}
