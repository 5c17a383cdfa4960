"""Which variances are the prior's in models with other structures than the paper's."""

import warnings

import numpy as np
import pytest

import bmtme
from bmtme.preparation import lay_level, prepare
from bmtme.results import trait_variances
from bmtme.results.trait_variances import Variances, list_cells, list_directions, measure
from tests.helpers.fits import fit_covariances, trial_of

LINE = bmtme.BMTME(line_effect=True)


def make_data(relationship="markers", **sizes):
    return bmtme.simulate(**{"lines": 60, "envs": 3, "traits": 1, "relationship": relationship, "seed": 3} | sizes)


def relate(matrix, lines):
    return bmtme.Relationship(matrix, lines=list(lines))


def fit_notes(frame, relationship, model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fit_covariances(frame, relationship, model).summary()["note"]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("line_effect", [True, False])
def test_information_of_one_dense_covariance(shared, line_effect, monkeypatch):
    """1/2 tr(P V_a P V_b) over every single plot, with missing cells, replicates, and multiples where there may be."""
    monkeypatch.setattr(trait_variances, "SCORES", 40_000)
    sim = make_data(lines=14, envs=2, traits=2, reps=3)
    frame = sim.frame[(sim.frame["rep"] == "1") | (np.random.default_rng(1).random(len(sim.frame)) < 0.3)]
    frame = frame[(frame["line"] != "L03") | (frame["env"] != "E1")].copy()
    frame.loc[frame.index[::7], "T2"] = np.nan
    prepared = prepare(trial_of(frame), sim.relationship)
    prepared = lay_level(prepared, bmtme.BMTME(line_effect=line_effect))
    envs, r = np.array([0, 1]), 0.4 * line_effect
    at = Variances(np.array([[1.0, 0.3], [0.3, 0.6]]), np.array([0.8, 1.3]), r, prepared.basis.spread)
    directions = list_directions(at, shared, line_effect)
    found = measure(prepared, list_cells(prepared, 1, envs), at, directions)

    rows = frame.dropna(subset="T2")
    line = np.array([prepared.lines.index(name) for name in rows["line"]])
    env = np.array([prepared.trial.envs.index(name) for name in rows["env"]])
    G = np.array(sim.relationship.matrix)[np.ix_(*[sim.relationship.index(rows["line"])] * 2)]
    same = np.equal.outer(line, line)
    V = G * at.C[np.ix_(env, env)] + at.r * same + np.diag(at.R[env])
    changes = []
    for k in range(len(directions.kinds)):
        here = directions.own[k][env]
        change = directions.common[k] * G + G * np.equal.outer(env, env) * here
        changes.append(change + np.diag(directions.residual[k][env]) + directions.line[k] * same)
    W, X = np.linalg.inv(V), np.eye(2)[env]
    P = W - W @ X @ np.linalg.solve(X.T @ W @ X, X.T @ W)
    by_hand = np.array([[np.trace(P @ a @ P @ b) / 2 for b in changes] for a in changes])
    scale = np.sqrt(np.outer(np.diag(by_hand), np.diag(by_hand)))
    assert np.abs((found - by_hand) / scale).max() < 0.05
    assert len(changes) == 3 + (1 if shared else 2) + line_effect


MODELS = {
    "by environment": bmtme.BMTME(residual="by_env"),
    "common correlation": bmtme.BMTME(residual="common_correlation"),
    "free": bmtme.BMTME(genetic=bmtme.Free()),
    "factors": bmtme.BMTME(genetic=bmtme.FactorAnalytic(1), residual="by_env"),
    "interaction": bmtme.BMTME(genetic=bmtme.MainAndInteraction("equal")),
    "single": bmtme.SingleTrait(bmtme.BMTME(genetic=bmtme.Free(), residual="by_env")),
}


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, id=name, marks=() if name in ("by environment", "single") else pytest.mark.slow)
        for name, model in MODELS.items()
    ],
)
def test_lines_related_alike_with_single_plots(model):
    """Whatever the structure; the same lines with markers, or with replicates, tell."""
    sim = make_data()
    lines = sim.relationship.lines
    alike = relate(0.4 * np.eye(60) + 0.6, lines)
    nearly = relate(np.diag(np.linspace(0.95, 1.05, 60)), lines)
    for relationship in (alike, nearly, bmtme.Relationship.identity(lines)):
        notes = fit_notes(sim.frame, relationship, model)
        marked = {name.split("[")[0] for name in notes.index[notes.str.contains("prior only")]}
        assert {"heritability", "R_e"} <= marked
        assert ("genetic_variance" in marked) or ("Sigma_E" in marked)
        assert all("prior only" in note for name, note in notes.items() if name.startswith("heritability"))
        assert not any(name.startswith("Sigma_t") for name in notes.index[notes.str.contains("prior only")])
    assert not fit_notes(sim.frame, sim.relationship, model).str.contains("prior only").any()
    twice = make_data(reps=2)
    assert not fit_notes(twice.frame, alike, model).str.contains("prior only").any()


def test_all_that_rest_on_one_split_are_noted_and_none_that_hardly_moves_with_it():
    """Means of unrelated lines with known errors: as E1 has little interaction, little is left for R_e anywhere."""
    sim = make_data(lines=150, heritability=0.98, interaction=(0.02, 1.5, 2.0))
    trial = bmtme.Trial.from_frame(sim.frame.assign(se=0.1), line="line", env="env", traits=["T1"], se={"T1": "se"})
    relationship = bmtme.Relationship.identity(trial.lines)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        fit = bmtme.fit(trial, relationship, draws=1000, tune=300, chains=2, keep_effects="none")
    kinds = {name: note.split(":")[0] for name, note in fit.summary()["note"].items() if "do not tell" in note}
    shares = {f"heritability[E{i}, T1]": "bounds only" for i in (1, 2, 3)}
    assert kinds == shares | {"R_e[T1, T1]": "prior only", "Sigma_E[E1, E1]": "prior only"}
    assert "Known within bounds only (3 of 11)" in fit.diagnose()


def test_one_environment():
    """Sigma_t is all there is of genetic variance then."""
    sim = make_data(envs=1)
    notes = fit_notes(sim.frame, relate(0.4 * np.eye(60) + 0.6, sim.relationship.lines), MODELS["by environment"])
    for name in ("Sigma_t[T1, T1]", "R_e[E1, T1, T1]", "heritability[E1, T1]"):
        assert "prior only" in notes[name], name
    assert not fit_notes(sim.frame, sim.relationship, MODELS["by environment"]).str.contains("prior only").any()


def test_a_trait_of_one_environment_among_several():
    """Of its main effect and interaction only the sum is known, unless another trait says how they go together."""
    sim = make_data(traits=2)
    frame = sim.frame.copy()
    frame.loc[frame["env"] != "E1", "T2"] = np.nan
    notes = fit_notes(frame, sim.relationship, bmtme.SingleTrait(MODELS["by environment"]))
    for name in ("Sigma_t[T2, T2]", "Sigma_E[E1, E1, T2]"):
        assert notes[name].startswith("prior only: the data do not tell Sigma_t and Sigma_E apart")
    assert "prior only" not in notes["Sigma_t[T1, T1]"]
    notes = fit_notes(frame, sim.relationship, MODELS["by environment"])
    assert "prior only" not in notes["Sigma_t[T2, T2]"]


def test_a_sharp_prior_makes_no_bounds():
    """Where the data do not tell, an interval that the prior made short is the prior's, whatever the structure."""
    sim = make_data(envs=1)
    unrelated = bmtme.Relationship.identity(sim.relationship.lines)
    sharp = {"prior_e": bmtme.InverseWishart(400.0, 400.0)}
    for model in (bmtme.BMTME(**sharp), bmtme.BMTME(genetic=bmtme.Free(), **sharp)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            summary = fit_covariances(sim.frame, unrelated, model).summary()
        row = summary.loc["R_e[T1, T1]"]
        assert row["upper"] - row["lower"] < 0.33 * row["mean"]
        assert "prior only" in row["note"]
        assert not summary["note"].str.contains("bounds only").any()


def test_a_sharp_prior_of_what_one_environment_has_of_its_own():
    """Of Sigma_t and Sigma_E of a trait with records in one environment only the sum is known."""
    sim = make_data(traits=2)
    frame = sim.frame.copy()
    frame.loc[frame["env"] != "E1", "T2"] = np.nan
    model = bmtme.BMTME(residual="by_env", prior_E=bmtme.InverseWishart(400.0, 200.0))
    notes = fit_notes(frame, sim.relationship, bmtme.SingleTrait(model))
    assert notes["Sigma_E[E1, E1, T2]"].startswith("prior only: the data do not tell Sigma_t and Sigma_E apart")


def test_line_effects_beside_a_relationship_that_tells_little():
    """In lines that are related nearly alike, effects in the relationship and outside it are one."""
    sim = make_data(heritability=0.6, reps=2, lines=80)
    little = relate(np.diag(np.linspace(0.7, 1.3, 80)), sim.relationship.lines)
    for model in (LINE, bmtme.BMTME(genetic=bmtme.Free(), residual="by_env", line_effect=True)):
        notes = fit_notes(sim.frame, little, model)
        assert notes["Sigma_r[T1, T1]"].startswith(
            "prior only: the data do not tell genetic variance and Sigma_r apart"
        )
        assert not any("prior only" in note for name, note in notes.items() if name.startswith(("R_e", "herit")))
        assert not fit_notes(sim.frame, sim.relationship, model).str.contains("prior only").any()
