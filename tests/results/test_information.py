"""What the likelihood says beside the prior: information against a dense computation, and what is marked."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bmtme
from bmtme import BMTME, HalfT, InverseWishart, Relationship, fit, simulate
from bmtme.model.eigenbasis import decompose_relationship, measure_spread
from bmtme.preparation import build, prepare
from bmtme.results import fisher
from bmtme.results.fisher import Direction, Point, measure_information
from bmtme.results.information import draw_covariances, draw_prior
from bmtme.results.rows import derive_rows
from tests.helpers.fits import fit_covariances
from tests.helpers.trials import trial_of

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


def names(n):
    return [f"L{j:0{len(str(n))}d}" for j in range(1, n + 1)]


def marked(result):
    notes = result.summary()["note"]
    return {name: note for name, note in notes.items() if "prior only" in note}


# --- heritability -------------------------------------------------------------------------------------------------


def test_spread_is_what_lines_differ_in():
    """One c for G, G centred and G + a 11', unequal replication or not; the mean diagonal is another number."""
    rng = np.random.default_rng(1)
    Z = rng.standard_normal((9, 12))
    G = Z @ Z.T / 12 + 0.4
    K = np.eye(9) - 1 / 9
    effects = np.linalg.cholesky(G) @ rng.standard_normal((9, 100_000))
    expected = effects.var(axis=0, ddof=1).mean()
    multiples = np.array([1.0, 1, 2, 1, 5, 1, 1, 3, 1])
    for matrix in (G, K @ G @ K, G + 3.0):
        assert measure_spread(np.trace(matrix), matrix.sum(), 9) == pytest.approx(expected, rel=0.01)
        for c in (np.ones(9), multiples):
            assert decompose_relationship(matrix, c).spread == pytest.approx(np.trace(K @ G @ K) / 8, rel=1e-6)
    assert decompose_relationship(np.empty((9, 0)), np.ones(9), is_identity=True).spread == 1.0
    assert decompose_relationship(np.full((9, 9), 2.0)).spread == 0.0


def test_centring_the_relationship_changes_no_heritability():
    """The same draws of the covariance of differences give the same numbers whatever is added to G."""
    sim = simulate(lines=12, envs=3, traits=2, relationship="markers", seed=3)
    G = sim.relationship.matrix
    K = np.eye(12) - 1 / 12
    rng = np.random.default_rng(2)
    S, R = (np.cov(rng.standard_normal((2, 50)))[None, None] for _ in range(2))
    E = np.diag([0.3, 1.0, 2.0])[None, None]
    found = []
    for matrix in (G, K @ G @ K, G + 2.5):
        prepared = prepare(trial_of(sim.frame), Relationship(matrix, lines=sim.relationship.lines))
        labels = {"env": ("E1", "E2", "E3"), "trait": ("T1", "T2")}
        rows = derive_rows({"Sigma_t": S, "Sigma_E": E, "R_e": R}, labels, prepared.basis.spread)
        found.append([row.draws.item() for row in rows if row.quantity.name == "heritability"])
    c = np.trace(K @ G @ K) / 11
    expected = [c * S[0, 0, l, l] * (1 + e) / (c * S[0, 0, l, l] * (1 + e) + R[0, 0, l, l])
                for e in (0.3, 1.0, 2.0) for l in (0, 1)]  # fmt: skip
    for values in found:
        np.testing.assert_allclose(values, expected, rtol=1e-9)


def test_clones_have_no_heritability():
    sim = simulate(lines=8, envs=2, traits=1, seed=1)
    result = fit_covariances(sim.frame, Relationship(np.ones((8, 8)), lines=names(8)))
    row = result.summary().loc["heritability[E1, T1]"]
    assert row["mean"] == 0
    assert "clones" in row["note"]
    assert "does not vary" in row["note"]
    with pytest.raises(bmtme.DataError, match="clones"):
        simulate(lines=8, relationship=Relationship(np.ones((8, 8)), lines=names(8)))


# --- information --------------------------------------------------------------------------------------------------


def list_changes(L, I):
    """Every free parameter of the unstructured model."""
    found, none = [], np.zeros((L, L))
    for kind in ("Sigma_t", "R_e"):
        for l in range(L):
            for q in range(l, L):
                change = none.copy()
                change[l, q] = change[q, l] = 1.0
                found.append(Direction(kind, *((change, np.zeros(I), none) if kind == "Sigma_t" else
                                               (none, np.zeros(I), change)), 1.0))  # fmt: skip
    if I > 1:
        found += [Direction("Sigma_E", none, row, none, 1.0) for row in np.eye(I)]
    return found


def inform_densely(trial, G, point, directions):
    """1/2 tr(P V_a P V_b), plot by plot and value by value."""
    at = np.argwhere(~np.isnan(trial.values))
    line, env = trial.line_index[at[:, 0]], trial.env_index[at[:, 0]]
    record, trait = at.T

    def cover(S, E, R, main=1.0):
        alike = env[:, None] == env
        C = (main + alike * E[env]) * S[np.ix_(trait, trait)]
        return G[np.ix_(line, line)] * C + (record[:, None] == record) * R[np.ix_(trait, trait)]

    V = cover(point.S, point.E, point.R)
    X = np.zeros((len(at), len(trial.envs) * len(trial.traits)))
    X[np.arange(len(at)), env * len(trial.traits) + trait] = 1.0
    X = X[:, X.any(axis=0)]
    W = np.linalg.inv(V)
    P = W - W @ X @ np.linalg.inv(X.T @ W @ X) @ X.T @ W
    rows = [P @ (cover(d.S, point.E, d.R) + cover(point.S, d.E, 0 * point.R, 0.0)) for d in directions]
    return np.array([[np.trace(a @ b) / 2 for b in rows] for a in rows])


POINT = Point(
    np.array([[1.0, 0.3, -0.2], [0.3, 0.5, 0.1], [-0.2, 0.1, 2.0]]),
    np.array([0.2, 1.0]),
    np.array([[0.8, 0.1, 0.2], [0.1, 1.5, -0.4], [0.2, -0.4, 1.0]]),
)


@pytest.mark.parametrize("relationship", ["markers", "identity"])
@pytest.mark.parametrize("reps", ["one", "uneven"])
def test_information_of_complete_data(relationship, reps):
    """Three traits, two environments; a line with many plots."""
    sim = simulate(lines=10, envs=2, reps=3, relationship="markers", seed=4)
    frame = sim.frame
    keep = frame["rep"] == "1" if reps == "one" else (frame["rep"] == "1") | (frame["line"] == "L03")
    rel = sim.relationship if relationship == "markers" else Relationship.identity(names(10))
    prepared = prepare(trial_of(frame[keep]), rel)
    assert len(prepared.layout.cell_line) == 0
    directions = list_changes(3, 2)
    G = rel.subset(prepared.lines).matrix if relationship == "markers" else np.eye(10)
    expected = inform_densely(prepared.trial, np.asarray(G), POINT, directions)
    np.testing.assert_allclose(measure_information(prepared, POINT, directions), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("relationship", ["markers", "identity"])
def test_information_of_data_with_gaps(relationship, monkeypatch):
    """Missing cells, traits and a whole column, replicates: simulated scores, within their error."""
    monkeypatch.setattr(fisher, "SCORES", 20_000)
    monkeypatch.setattr(fisher, "UNRELATED_BLOCK", 30)
    sim = simulate(lines=16, envs=2, reps=2, missing=0.2, missing_traits=0.2, relationship="markers", seed=5)
    frame = sim.frame.drop(index=sim.frame.index[::5])
    frame.loc[frame["env"] == "E2", "T3"] = np.nan
    rel = sim.relationship if relationship == "markers" else Relationship.identity(names(16))
    trial = trial_of(frame.dropna(how="all", subset=["T1", "T2", "T3"]))
    prepared = prepare(trial, rel)
    assert len(prepared.layout.cell_line) > 0
    directions = list_changes(3, 2)
    G = np.asarray(rel.subset(trial.lines).matrix) if relationship == "markers" else np.eye(len(trial.lines))
    expected = inform_densely(trial, G, POINT, directions)
    scale = np.sqrt(np.diag(expected))
    found = measure_information(prepared, POINT, directions)
    np.testing.assert_allclose(found / np.outer(scale, scale), expected / np.outer(scale, scale), atol=0.05)


@pytest.mark.parametrize("relationship", ["blocks", "identity"])
def test_a_part_of_the_lines_stands_for_all(relationship, monkeypatch):
    """Blocks that hold half of the values: about the same information."""
    for name, value in {"SCORES": 10_000, "DENSE": 10, "UNRELATED_BLOCK": 60, "BLOCK": 60, "RUN": 5}.items():
        monkeypatch.setattr(fisher, name, value)
    monkeypatch.setattr(fisher, "BLOCKS", 2)
    monkeypatch.setattr(fisher, "UNRELATED_VALUES", 120)
    sim = simulate(lines=60, envs=2, traits=3, missing=0.2, relationship="blocks", seed=5)
    rel = sim.relationship if relationship == "blocks" else Relationship.identity(names(60))
    prepared = prepare(trial_of(sim.frame), rel)
    directions = list_changes(3, 2)
    G = np.asarray(rel.subset(prepared.lines).matrix) if relationship == "blocks" else np.eye(60)
    expected = inform_densely(prepared.trial, G, POINT, directions)
    ratio = np.diag(measure_information(prepared, POINT, directions)) / np.diag(expected)
    assert ((ratio > 0.7) & (ratio < 1.4)).all()


def test_a_fit_is_not_lost_where_information_is_not_computed(monkeypatch):
    sim = simulate(lines=10, envs=2, traits=1, relationship="markers", seed=1)
    monkeypatch.setattr(fisher, "MOST", 3)
    with pytest.warns(UserWarning, match="as there are too many of them"):
        result = fit_covariances(sim.frame, sim.relationship, draws=20, tune=0)
    assert result.run["facts"]["prior_only"] == {}
    monkeypatch.undo()
    monkeypatch.setattr(fisher, "inform_complete", lambda *arguments: np.full((4, 4), np.nan))
    with pytest.warns(UserWarning, match="as they are nearly singular"):
        fit_covariances(sim.frame, sim.relationship, draws=20, tune=0)


def test_blocks_of_many_lines():
    """Every line once, runs of neighbours together; a part of them stands for all where there are too many."""
    sizes = np.full(5000, 3)
    blocks, share = fisher.deal_lines(sizes, unrelated=False)
    held = np.concatenate(blocks)
    assert len(np.unique(held)) == len(held)
    assert share == pytest.approx(sizes[held].sum() / sizes.sum())
    assert len(blocks) == fisher.BLOCKS
    assert (np.diff(blocks[0])[: fisher.RUN - 1] == 1).all()
    blocks, share = fisher.deal_lines(np.full(100, 3), unrelated=True)
    assert share == 1.0
    assert sorted(np.concatenate(blocks).tolist()) == list(range(100))


# --- prior --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure", ["unstructured", "diagonal", "standard"])
def test_draws_from_the_priors(structure):
    """Half-t standard deviations in the data's units, and correlations uniform for two degrees of freedom."""
    sim = simulate(lines=10, envs=2, relationship="markers", seed=4)
    frame = sim.frame.assign(T2=sim.frame["T2"] * 1000)
    prepared = prepare(trial_of(frame), sim.relationship)
    problem, scaling = build(prepared, BMTME(structure))
    S, E, R = draw_prior(problem, scaling)
    sd = frame[["T1", "T2", "T3"]].std().to_numpy()
    for l in range(3):
        for draws, scale in ((R[0, :, l, l], 5 * sd[l]), (S[0, :, l, l] * prepared.basis.scale, 5 * sd[l])):
            assert stats.kstest(np.sqrt(draws) / scale, stats.t(2).cdf, alternative="less").pvalue >= 0
            assert stats.kstest(np.sqrt(draws) / scale, lambda x: 2 * stats.t(2).cdf(x) - 1).pvalue > 1e-4
    assert stats.kstest(np.sqrt(E[0, :, 1, 1]), lambda x: 2 * stats.t(4).cdf(x) - 1).pvalue > 1e-4
    if structure == "unstructured":
        r = R[0, :, 0, 2] / np.sqrt(R[0, :, 0, 0] * R[0, :, 2, 2])
        assert stats.kstest((r + 1) / 2, "uniform").pvalue > 1e-4
    else:
        assert (R[0, :, 0, 2] == 0).all()


def test_draws_from_an_inverse_wishart():
    sim = simulate(lines=10, envs=2, traits=2, relationship="markers", seed=4)
    scale = np.array([[2.0, 0.5], [0.5, 1.0]])
    prepared = prepare(trial_of(sim.frame), sim.relationship)
    problem, scaling = build(prepared, BMTME(prior_e=InverseWishart(9, scale), prior_E=InverseWishart(7, 3.0)))
    R = scaling.restore_residual(draw_covariances(problem.residual.prior, np.random.default_rng(3), 40_000))
    np.testing.assert_allclose(R.mean(axis=0), scale / 6, atol=0.01)
    E = draw_covariances(problem.genetic.prior_env, np.random.default_rng(4), 4000)
    assert stats.kstest(E[:, 1, 1], stats.invgamma(3.5, scale=1.5).cdf).pvalue > 1e-4


# --- what is marked -----------------------------------------------------------------------------------------------


CELLS = {f"heritability[E{i}, T{l}]" for i in (1, 2, 3) for l in (1, 2)}


def test_one_record_a_line_says_nothing_of_heritability():
    """Unrelated lines, or lines equally related, in one environment with one plot each: Sigma_t + R_e is known."""
    sim = simulate(lines=40, envs=1, traits=1, heritability=0.5, seed=2)
    for relationship in (Relationship.identity(names(40)), sim.relationship):
        notes = marked(fit_covariances(sim.frame, relationship))
        assert set(notes) == {"Sigma_t[T1, T1]", "R_e[T1, T1]", "heritability[E1, T1]"}
        assert "the data do not tell Sigma_t and R_e apart" in notes["heritability[E1, T1]"]
        assert "the data hardly say: the interval covers 0.9" in notes["heritability[E1, T1]"]


def test_single_plots_of_unrelated_lines_in_three_environments():
    """What environments share is known, interaction and residual are not told apart; with two plots they are."""
    sim = simulate(lines=60, envs=3, traits=2, reps=2, heritability=0.7, seed=3)
    unrelated = Relationship.identity(names(60))
    single = sim.frame[sim.frame["rep"] == "1"]
    notes = marked(fit_covariances(single, unrelated, draws=2000, chains=4))  # slow where nothing tells them apart
    assert CELLS | {"Sigma_E[E1, E1]", "Sigma_E[E2, E2]", "Sigma_E[E3, E3]"} <= set(notes)
    assert "Sigma_E and R_e apart" in notes["heritability[E2, T1]"]
    assert not {"Sigma_t[T1, T1]", "Sigma_t[T2, T2]", "Sigma_t[T1, T2]", "genetic_correlation[T1, T2]"} & set(notes)
    assert not marked(fit_covariances(sim.frame, unrelated))


@pytest.mark.parametrize("structure", ["diagonal", "standard"])
def test_other_structures(structure):
    sim = simulate(lines=60, envs=3, traits=2, reps=2, heritability=0.5, seed=3)
    unrelated = Relationship.identity(names(60))
    notes = marked(fit_covariances(sim.frame[sim.frame["rep"] == "1"], unrelated, BMTME(structure)))
    assert CELLS <= set(notes)
    assert "Sigma_t[T1, T1]" not in notes
    assert not marked(fit_covariances(sim.frame, unrelated, BMTME(structure)))


def test_lines_in_one_environment_each():
    """Nothing but the relationship links environments; with unrelated lines nothing does."""
    sim = simulate(lines=60, envs=3, traits=2, heritability=0.5, seed=3)
    number = sim.frame["line"].str[1:].astype(int) % 3 + 1
    frame = sim.frame[sim.frame["env"] == "E" + number.astype(str)]
    notes = fit_covariances(frame, Relationship.identity(names(60)), draws=2000, chains=4).summary()["note"]
    # Which of these is marked, and which has an interval over nearly all there is, is a matter of where the chains are.
    for name in [name for name in notes.index if name.startswith(("heritability", "Sigma_E"))]:
        assert "prior only" in notes[name] or "hardly say" in notes[name], name


def test_correlation_with_a_trait_of_no_genetic_variance():
    """Lines hardly differ in T2: the genetic correlation with it is anything, the residual one is known."""
    sim = simulate(
        lines=60, envs=1, traits=2, reps=4, heritability=(0.6, 0.01), genetic_correlation=0.0,
        residual_correlation=0.0, seed=5,
    )  # fmt: skip
    frame = sim.frame.assign(T2=sim.frame["T2"] - 0.999 * sim.frame.groupby("line")["T2"].transform("mean"))
    notes = marked(fit_covariances(frame, Relationship.identity(names(60))))
    assert {"genetic_correlation[T1, T2]", "Sigma_t[T1, T2]"} <= set(notes)
    assert not {"residual_correlation[T1, T2]", "heritability[E1, T1]", "R_e[T2, T2]"} & set(notes)


def test_what_is_known_within_narrow_bounds_is_not_marked():
    """Between environments lines keep their values: 0.95 of the variance is known to be genetic, the rest is not told
    apart. The heritability is known to lie above that, and what remains is the prior's."""
    sim = simulate(lines=80, envs=2, traits=1, heritability=0.97, interaction=0.02, seed=6)
    result = fit_covariances(sim.frame, Relationship.identity(names(80)))
    notes = marked(result)
    assert result.summary().loc["heritability[E1, T1]", "lower"] > 0.9
    assert "heritability[E1, T1]" not in notes
    assert "R_e[T1, T1]" in notes
    for env in ("E1", "E2"):
        note = result.summary().loc[f"heritability[{env}, T1]", "note"]
        assert note.startswith("bounds only: the data do not tell Sigma_E and R_e apart")


def test_a_strong_prior_is_told():
    """Forty lines against a prior as sharp as a hundred thousand: the posterior is the prior."""
    sim = simulate(lines=40, envs=1, traits=1, reps=2, heritability=0.5, seed=2)
    unrelated = Relationship.identity(names(40))
    assert not marked(fit_covariances(sim.frame, unrelated))
    model = BMTME(prior_e=InverseWishart(1e5, 1e5 * 0.4))
    assert "R_e[T1, T1]" in marked(fit_covariances(sim.frame, unrelated, model))
    wide = BMTME(prior_t=HalfT(2, 1e5), prior_e=HalfT(2, 1e5))
    assert not marked(fit_covariances(sim.frame, unrelated, wide))


def test_priors_of_many_environments_make_no_knowledge():
    """Unrelated lines on single plots, heritability 0.92: priors of 24 interactions make an interval around 0.4."""
    rng = np.random.default_rng(1)
    main, rows = rng.standard_normal(60), []
    for i in range(24):
        y = 10 + main + np.sqrt(2.0) * rng.standard_normal(60) + 0.5 * rng.standard_normal(60)
        rows += [(name, f"E{i:02d}", "1", value) for name, value in zip(names(60), y, strict=True)]
    result = fit_covariances(pd.DataFrame(rows, columns=["line", "env", "rep", "T1"]), Relationship.identity(names(60)))
    row = result.summary().loc["heritability[E00, T1]"]
    assert row["upper"] < 0.8
    assert "do not tell Sigma_E and R_e apart" in row["note"]
    assert {"R_e[T1, T1]", "Sigma_E[E00, E00]", "heritability[E23, T1]"} <= set(marked(result))
    assert "Sigma_t[T1, T1]" not in marked(result)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_nothing_is_marked_where_data_inform(missing):
    sim = simulate(lines=60, missing=missing, missing_traits=missing / 2, relationship="markers", seed=7)
    assert not marked(fit_covariances(sim.frame, sim.relationship))


def test_saved_fits_keep_the_marks(tmp_path):
    sim = simulate(lines=40, envs=1, traits=1, seed=2)
    result = fit_covariances(sim.frame, Relationship.identity(names(40)))
    result.save(tmp_path / "run")
    pd.testing.assert_frame_equal(bmtme.load(tmp_path / "run").summary(), result.summary())


def test_real_data_that_inform_carry_no_note(data_file):
    traits = ["Yield", "ASI", "PH"]
    trial = bmtme.read_trial(data_file("maize309_mtme/pheno.csv"), line="line", env="env", traits=traits)
    relationship = bmtme.read_relationship(data_file("maize309_mtme/grm.csv.gz"))
    result = fit(trial, relationship, draws=1000, tune=500, chains=2, seed=1, keep_effects="none")
    assert not result.summary()["note"].str.contains("prior|hardly|residual SD").any()
