"""Joint draws of every line against the dense conditional normal distribution."""

import warnings

import numpy as np
import pytest

import bmtme
from bmtme import BMTME, DataError, MainAndInteraction, Relationship, SingleTrait, UsageError, fit, simulate
from bmtme.results import unrecorded
from bmtme.results.line_effects import draw_unrecorded
from bmtme.sampling import count_effect_bytes
from tests.helpers.fits import fit_frame
from tests.helpers.trials import trial_of

pytestmark = pytest.mark.filterwarnings("ignore:a short run")
TRAITS = ["T1", "T2"]
NEW = ["L03", "L15", "L16"]  # never recorded; the last two are sibs
MODELS = {
    "paper": BMTME(),
    "main": BMTME(genetic=MainAndInteraction(), residual="by_env"),
    "line effect": BMTME(line_effect=True),
    "one trait at a time": SingleTrait(BMTME(genetic=MainAndInteraction())),
    "paper's, one trait at a time": SingleTrait(BMTME()),
}


def make_relationship(kind):
    """Sixteen lines; L16 is a sib of L15, or its clone; few markers leave nothing to new lines."""
    rng = np.random.default_rng(4)
    markers = rng.normal(size=(16, 9 if kind == "few markers" else 30))
    markers[15] = markers[14] + (0.0 if kind == "clones" else 0.4) * markers[15]
    if kind == "identity":
        return Relationship.identity([f"L{n:02d}" for n in range(1, 17)])
    return Relationship(markers @ markers.T / markers.shape[1], lines=[f"L{n:02d}" for n in range(1, 17)])


def make_frame():
    """Rows out of order; T2 is not recorded in E2, and for line L05 nowhere."""
    sim = simulate(lines=16, envs=3, traits=2, reps=2, missing_traits=0.1, seed=7)
    frame = sim.frame[~sim.frame["line"].isin(NEW)].sample(frac=1.0, random_state=2)
    frame.loc[(frame["env"] == "E2") | (frame["line"] == "L05"), "T2"] = np.nan
    return frame


KINDS = ("sibs", "clones", "few markers", "identity")


CASES = [*((kind, "paper") for kind in KINDS), *(("sibs", name) for name in MODELS if name != "paper")]


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def fitted(request):
    kind, name = request.param
    settings = {"draws": 300, "tune": 60, "chains": 2, "seed": 2, "keep_effects": "all"}
    relationship = make_relationship(kind)
    return relationship, MODELS[name], fit(trial_of(make_frame()), relationship, MODELS[name], **settings)


def condition(relationship, new, known):
    """B = G_no G_oo^+ and G_nn - G_no G_oo^+ G_on, by a pseudo-inverse."""
    G, n, o = np.array(relationship.matrix), relationship.index(new), relationship.index(known)
    B = G[np.ix_(n, o)] @ np.linalg.pinv(G[np.ix_(o, o)], rcond=1e-9, hermitian=True)
    return B, G[np.ix_(n, n)] - B @ G[np.ix_(o, n)]


def find_covariance(result, trait):
    """(chain, draw, I, I) genetic covariance of the environments for a trait, from what the fit stores."""
    p = result.idata.posterior
    if "C" in p and "trait" in p["C"].dims:
        return p["C"].sel(trait=trait).values
    if "C" in p:
        return result._groups["columns"]["C"].sel(trait=trait, trait_bis=trait).values
    one = {"trait": trait} | ({"trait_bis": trait} if "trait_bis" in p["Sigma_t"].dims else {})
    E = p["Sigma_E"].sel(trait=trait) if "trait" in p["Sigma_E"].dims else p["Sigma_E"]
    return (1.0 + E.values) * p["Sigma_t"].sel(one).values[..., None, None]


def whiten(result, relationship, model, trait):
    """What new lines differ in from their expectation, for a trait, by the covariance of the environments in each draw.

    Returns (lines, S, I), with the covariance of the Schur complement over lines, and that complement.
    """
    u = result.line_effects(draws=10**6)
    frame = make_frame()
    known = sorted(set(frame["line"]))
    if isinstance(model, SingleTrait):
        known = sorted(set(frame.loc[frame[trait].notna(), "line"]))
    new = [line for line in relationship.lines if line not in known]
    B, left = condition(relationship, new, known)
    e = u.sel(line=new, trait=trait).values - np.einsum("nj,cdji->cdni", B, u.sel(line=known, trait=trait).values)
    inverse = np.linalg.inv(np.linalg.cholesky(find_covariance(result, trait)))
    white = np.einsum("cdab,cdnb->ncda", inverse, e)
    return white.reshape(len(new), -1, white.shape[-1]), left


def test_new_lines_are_drawn_jointly_given_the_others(fitted):
    """Mean zero, and over lines the covariance that the relationship leaves, in every environment by itself."""
    relationship, model, result = fitted
    if model is MODELS["line effect"]:
        pytest.skip("has a part of each line beside; see the predictions below")
    for trait in TRAITS:
        white, left = whiten(result, relationship, model, trait)
        S, I = white.shape[1:]
        error = 1.0 / np.sqrt(S * I)
        sd = np.sqrt(np.maximum(np.diag(left), 0.0))
        assert np.all(np.abs(white.mean(axis=(1, 2))) < 4.0 * error * sd + 1e-6)
        found = np.einsum("nsi,msi->nm", white, white) / (S * I)
        np.testing.assert_allclose(found, left, atol=4.0 * np.sqrt(2.0) * error * np.diag(left).max() + 1e-9)
        between = np.einsum("nsi,nsk->nik", white, white) / S  # of environments none is left
        off = between[:, ~np.eye(I, dtype=bool)]
        assert np.all(np.abs(off) < 4.5 * np.diag(left)[:, None] / np.sqrt(S) + 1e-6)


def test_lines_with_a_record_have_the_draws_of_the_chains(fitted):
    _, model, result = fitted
    u, p = result.line_effects(draws=10**6), result.idata.posterior
    assert u.dims == ("chain", "draw", "line", "env", "trait")
    drawn = p["u"] if "u" in p else p["b1"] + p["b2"]
    drawn = drawn + p["r"] if "r" in p else drawn
    drawn = drawn.transpose(*u.dims)
    there = ~np.isnan(drawn.values)
    assert there.all() != isinstance(model, SingleTrait)
    np.testing.assert_array_equal(u.sel(line=drawn["line"]).values[there], drawn.values[there])


def test_predictions_agree_with_the_draws(fitted):
    """Mean and standard deviation, of all lines; interval of a new plot, of new lines."""
    _, _, result = fitted
    table = result.predictions().set_index(["line", "env", "trait"])
    p, u = result.idata.posterior, result.line_effects(draws=10**6)
    value = u + p["beta"]

    def arrange(array):
        return array.to_series().reorder_levels(["line", "env", "trait"]).reindex(table.index)

    S = u.sizes["chain"] * u.sizes["draw"]
    mean, sd = (arrange(getattr(value, name)(("chain", "draw"))) for name in ("mean", "std"))
    assert np.all(np.abs(mean - table["mean"]) < 5.0 * table["sd"] / np.sqrt(S))
    assert np.all(np.abs(np.log(sd / table["sd"])) < 0.25)
    residual = p["R_e"]
    if "trait_bis" in residual.dims:
        residual = np.diagonal(residual.values, axis1=-2, axis2=-1)
    else:
        residual = np.moveaxis(residual.values, residual.dims.index("trait"), -1)
    if residual.ndim == 3:
        residual = residual[:, :, None]
    noise = np.random.default_rng(1).standard_normal(value.shape) * np.sqrt(residual)[:, :, None]
    plots = (value.transpose(*u.dims) + noise).sel(line=NEW).to_series()
    inside = plots.unstack(["chain", "draw"])
    bounds = table.reindex(inside.index.reorder_levels(["line", "env", "trait"]))
    share = ((inside.values > bounds[["lower"]].values) & (inside.values < bounds[["upper"]].values)).mean(axis=1)
    assert np.all(np.abs(share - 0.9) < 5.0 * np.sqrt(0.09 / S))


@pytest.mark.parametrize("keep", ["all", "thin"])
def test_draws_kept_seeded_and_saved(keep, tmp_path):
    """The draws are those of the run that they say they are, whatever is asked for; a loaded fit has the same ones."""
    frame, relationship = make_frame(), make_relationship("sibs")
    result = fit_frame(frame, relationship, keep_effects=keep)
    u = result.line_effects()
    assert u["line"].values.tolist() == list(relationship.lines)
    assert u.sizes["chain"] * u.sizes["draw"] == 120
    assert u.identical(result.line_effects(1000))
    few = result.line_effects(draws=10)
    assert (few.sizes["chain"], few.sizes["draw"]) == (2, 5)
    np.testing.assert_array_equal(few.values, u.sel(draw=few["draw"]).values)
    assert result.line_effects(draws=1).sizes["draw"] == 1
    result.save(tmp_path / "run")
    assert bmtme.load(tmp_path / "run").line_effects().identical(u)
    full = fit_frame(frame, relationship, keep_effects="all").line_effects()
    np.testing.assert_allclose(u.values, full.sel(draw=u["draw"]).values, rtol=1e-12)
    other = fit_frame(frame, relationship, keep_effects=keep, seed=2).line_effects()
    assert not np.isclose(u.sel(line="L03"), other.sel(line="L03")).any()


def test_order_of_the_relationship_does_not_matter():
    relationship = make_relationship("sibs")
    order = np.random.default_rng(3).permutation(16)
    names = [relationship.lines[n] for n in order]
    other = Relationship(np.array(relationship.matrix)[np.ix_(order, order)], lines=names)
    frame = make_frame()
    one, two = (fit_frame(rows, given).line_effects() for rows, given in ((frame, relationship), (frame[::-1], other)))
    assert two["line"].values.tolist() == names
    np.testing.assert_array_equal(one.values, two.sel({name: one[name] for name in ("line", "env")}).values)


def test_clones_without_a_record_are_the_same():
    u = fit_frame(make_frame(), make_relationship("clones")).line_effects()
    np.testing.assert_allclose(u.sel(line="L16").values, u.sel(line="L15").values, atol=1e-6)
    assert u.sel(line="L15").values.std() > 0.01


def test_a_clone_of_a_recorded_line_has_its_effects():
    matrix = np.array(make_relationship("sibs").matrix)
    source = np.arange(16)
    source[2] = 3
    relationship = Relationship(matrix[np.ix_(source, source)], lines=[f"L{n:02d}" for n in range(1, 17)])
    u = fit_frame(make_frame(), relationship).line_effects()
    np.testing.assert_allclose(u.sel(line="L03").values, u.sel(line="L04").values, atol=1e-6)


@pytest.mark.parametrize("block", [3000, 2])
def test_moments_are_those_of_the_dense_conditional_normal(block, monkeypatch):
    """20,000 draws with one C and one u: means, covariances over lines and columns, also with a recorded line.

    In blocks, new lines of different blocks are alike through recorded ones alone.
    """
    monkeypatch.setattr(unrecorded, "BLOCK", block)
    relationship = make_relationship("sibs")
    new, known = ["L03", "L15", "L16"], [line for line in relationship.lines if line not in NEW]
    result = fit_frame(make_frame(), relationship)
    group = result._groups["unrecorded"]
    rng = np.random.default_rng(5)
    C = np.cov(rng.normal(size=(3, 9)))
    G = np.array(relationship.matrix)
    o, n = relationship.index(known), relationship.index(new)
    root, count = np.linalg.cholesky(C), 20_000
    eigenvalues, vectors = np.linalg.eigh(G[np.ix_(o, o)])
    half = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))
    u = half @ rng.standard_normal((count, len(o), 3)) @ root.T
    drawn = draw_unrecorded(group, u[None], np.broadcast_to(C, (1, count, 3, 3)), (1, 0), np.arange(count))[0]
    whole = np.concatenate([drawn, u], axis=1).reshape(count, -1)
    joint = G[np.ix_([*n, *o], [*n, *o])].copy()
    if block == 2:  # L16 is in a block of its own
        _, left = condition(relationship, new, known)
        joint[2, :2] -= left[2, :2]
        joint[:2, 2] -= left[:2, 2]
    expected = np.kron(joint, C)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs((np.cov(whole.T) - expected) / scale).max() < 5.0 / np.sqrt(count) * np.sqrt(2.0)
    B, left = condition(relationship, new, known)
    rest = (drawn - np.einsum("nj,sjm->snm", B, u)).reshape(count, -1)
    assert np.abs(rest.mean(axis=0)).max() < 5.0 * np.sqrt(np.diag(left).max() * np.diag(C).max() / count)


def test_blocks_are_told(monkeypatch):
    monkeypatch.setattr(unrecorded, "BLOCK", 2)
    monkeypatch.setattr(bmtme.results.line_effects, "BLOCK", 2)
    result = fit_frame(make_frame(), make_relationship("sibs"))
    with pytest.warns(UserWarning, match="3 lines without a record are drawn in blocks of 2"):
        result.line_effects()


def test_without_lines_to_predict_nothing_more_is_kept():
    relationship = make_relationship("sibs")
    known = [line for line in relationship.lines if line not in NEW]
    index = relationship.index(known)
    result = fit_frame(make_frame(), Relationship(np.array(relationship.matrix)[np.ix_(index, index)], lines=known))
    assert "unrecorded" not in result._groups
    assert result.line_effects()["line"].values.tolist() == known


def test_what_cannot_be_drawn_is_refused(monkeypatch):
    frame, relationship = make_frame(), make_relationship("sibs")
    with pytest.raises(UsageError, match=r"keep_effects='none'.*no draws of them.*'thin' or 'all'"):
        fit_frame(frame, relationship, keep_effects="none").line_effects()
    result = fit_frame(frame, relationship)
    with pytest.raises(UsageError, match="draws must be a whole number of at least 1"):
        result.line_effects(draws=0)
    monkeypatch.setattr("bmtme.results.line_effects.ANNOUNCED", 1000)
    with pytest.warns(UserWarning, match=r"the draws of 16 lines take .* GB of memory; fewer draws= take less"):
        result.line_effects()
    monkeypatch.setattr("bmtme.arguments.measure_free_memory", lambda: 10_000)
    with pytest.raises(UsageError, match=r"line_effects\(draws=1000\) of 16 lines.*would take about"):
        result.line_effects()


def test_memory_is_that_of_the_draws_there_are(monkeypatch):
    """Thinned effects have fewer draws than the run."""
    result = fit_frame(make_frame(), make_relationship("sibs"), draws=400, keep_effects="thin")
    u = result.line_effects(10**6)
    assert u.sizes["draw"] == 200  # every second
    monkeypatch.setattr("bmtme.results.line_effects.ANNOUNCED", u.nbytes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result.line_effects(10**6)
    monkeypatch.setattr("bmtme.results.line_effects.ANNOUNCED", u.nbytes - 1)
    with pytest.warns(UserWarning, match="the draws of 16 lines take"):
        result.line_effects(10**6)


@pytest.mark.parametrize("name", ["paper", "line effect"])
def test_memory_of_kept_effects_is_counted(name):
    relationship, model = make_relationship("sibs"), MODELS[name]
    posterior = fit_frame(make_frame(), relationship, model, keep_effects="all").idata.posterior
    size = sum(posterior[effect].nbytes for effect in ("b1", "b2", "r") if effect in posterior)
    assert count_effect_bytes(13, 3, 2, posterior.sizes["chain"] * posterior.sizes["draw"], model.line_effect) == size


def test_impossible_relationships_among_new_lines_are_refused():
    """Each of the new lines by itself may stand beside the recorded ones, but not all of them together."""
    relationship = make_relationship("sibs")
    matrix = np.array(relationship.matrix)
    n = relationship.index(NEW)
    matrix[np.ix_(n, n)] += np.array([[3.0, 2.9, -2.9], [2.9, 3.0, 2.9], [-2.9, 2.9, 3.0]])
    with pytest.raises(DataError, match=r"among the lines without records .*not positive semi-definite"):
        fit_frame(make_frame(), Relationship(matrix, lines=relationship.lines))
