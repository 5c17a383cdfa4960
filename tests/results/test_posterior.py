"""What a fit hands out: posterior and its dimensions, summary, record of the run; saved and loaded."""

import json
import os

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import BMTME, DataError, HalfT, InverseWishart, Relationship, Trial, UsageError, fit, simulate
from bmtme.results import record
from bmtme.results.convergence import describe_agreement
from bmtme.results.summary import COLUMNS

pytestmark = pytest.mark.filterwarnings("ignore:a short run")

DIMS = {
    "beta": ("env", "trait"),
    "b1": ("line", "trait"),
    "b2": ("env", "line", "trait"),
    "Sigma_t": ("trait", "trait_bis"),
    "Sigma_E": ("env", "env_bis"),
    "R_e": ("trait", "trait_bis"),
    "mu": ("trait",),
    "tau": ("trait",),
}
FILES = {"summary.csv", "predictions.csv", "idata.nc", "run.json"}


def run(frame, relationship, model=None, **keywords):
    trial = Trial.from_frame(frame, line="line", env="env", traits=["T1", "T2", "T3"], rep="rep")
    return fit(trial, relationship, model, **{"draws": 60, "tune": 30, "chains": 2, "seed": 1} | keywords)


def small(**keywords):
    return simulate(**{"lines": 12, "missing": 0.1, "relationship": "markers", "seed": 2} | keywords)


@pytest.fixture(scope="module")
def awkward():
    """Lines '001' and 'NA', one without a record, a gap, traits never together, a column and an environment unseen."""
    sim = small(envs=4)
    frame = sim.frame.replace({"line": {"L01": "001", "L02": "NA"}})
    frame = frame[frame["line"] != "L12"]
    lines = ["001", "NA", *sim.relationship.lines[2:]]
    frame.loc[frame["env"] == "E4", ["T1", "T2", "T3"]] = np.nan
    frame.loc[frame["env"] == "E3", "T3"] = np.nan
    first = frame.index % 2 == 0
    frame.loc[first, "T2"] = np.nan
    frame.loc[~first, "T1"] = np.nan
    return run(frame, Relationship(sim.relationship.matrix, lines=lines))


@pytest.fixture(scope="module")
def awkward_lines(awkward):
    table = awkward.idata["observed_data"]["record_line"].values
    return dict.fromkeys(table.tolist())


# --- posterior ----------------------------------------------------------------------------------------------------


def assert_posterior(posterior, names):
    assert set(posterior.data_vars) == set(names)
    for name in names:
        assert posterior[name].dims == ("chain", "draw", *DIMS[name]), name
        assert posterior[name].dtype == np.float64
        assert np.isfinite(posterior[name].values).all(), name


def test_posterior(awkward, awkward_lines):
    posterior = awkward.idata.posterior
    assert_posterior(posterior, DIMS)
    # Lines with a record, in the order of the trial.
    assert posterior["line"].values.tolist() == list(awkward_lines)
    assert posterior["env"].values.tolist() == posterior["env_bis"].values.tolist() == ["E1", "E2", "E3", "E4"]
    assert posterior["trait"].values.tolist() == posterior["trait_bis"].values.tolist() == ["T1", "T2", "T3"]
    assert posterior["chain"].values.tolist() == [0, 1]
    assert posterior["draw"].values.tolist() == list(range(60))
    E = posterior["Sigma_E"].values
    assert (E[..., ~np.eye(4, dtype=bool)] == 0).all()


@pytest.mark.parametrize("structure", ["unstructured", "diagonal", "standard"])
@pytest.mark.parametrize("means", ["exchangeable", "flat", "paper"])
def test_covariances_have_their_structure(structure, means):
    sim = small(missing=0.0)
    posterior = run(sim.frame, sim.relationship, BMTME(structure, means=means)).idata.posterior
    assert_posterior(posterior, set(DIMS) - (set() if means == "exchangeable" else {"mu", "tau"}))
    for name in ("Sigma_t", "R_e"):
        values = posterior[name].values
        np.testing.assert_array_equal(values, np.swapaxes(values, -1, -2))
        assert np.linalg.eigvalsh(values).min() > 0
        assert (values[..., 0, 1] == 0).all() == (structure != "unstructured")
    s2 = np.einsum("cdii->cdi", posterior["Sigma_E"].values)
    assert (s2 > 0).all()
    assert (np.ptp(s2, axis=-1) == 0).all() == (structure == "standard")
    if structure == "standard":
        for name in ("Sigma_t", "R_e"):
            ratio = np.einsum("cdll->cdl", posterior[name].values) / posterior[name].values[..., :1, 0]
            variances = sim.frame[["T1", "T2", "T3"]].var().to_numpy()
            np.testing.assert_allclose(ratio, np.broadcast_to(variances / variances[0], ratio.shape))


def test_standard_model_in_raw_units():
    sim = small()
    posterior = run(sim.frame, sim.relationship, BMTME("standard", units="raw")).idata.posterior
    for name in ("Sigma_t", "R_e"):
        diagonal = np.einsum("cdll->cdl", posterior[name].values)
        np.testing.assert_allclose(diagonal, np.repeat(diagonal[..., :1], 3, axis=-1))


def test_other_groups(awkward):
    idata = awkward.idata
    data = idata["observed_data"]
    assert data["Y"].dims == ("record", "trait")
    assert "NA" in data["record_line"].values.tolist()
    assert "E4" not in data["record_env"].values
    constant = idata["constant_data"]
    assert constant["recorded"].values.tolist() == [[1, 1, 1], [1, 1, 1], [1, 1, 0], [0, 0, 0]]
    assert float(constant["relationship_mean_diagonal"]) == pytest.approx(awkward.run["facts"]["mean_diagonal"])
    stats = idata["sample_stats"]
    assert stats["completed_log_density"].dims == ("chain", "draw")
    assert np.isfinite(stats["completed_log_density"].values).all()


def test_divergences_are_true_or_false():
    """ArviZ picks draws by them."""
    sim = small()
    stats = run(sim.frame, sim.relationship, sampler="collapsed").idata["sample_stats"]
    assert stats["diverging"].dtype == bool
    assert ((stats["acceptance"] >= 0) & (stats["acceptance"] <= 1)).all()
    assert (stats["step_size"] > 0).all()


def test_arviz_takes_the_result(awkward):
    import arviz

    posterior = bmtme_dataset(awkward.idata)
    table = arviz.summary(posterior[["Sigma_t", "R_e"]])
    assert "Sigma_t[T1, T2]" in table.index
    for function in (arviz.ess, arviz.rhat):
        assert function(posterior[["beta", "R_e"]])["beta"].shape == (4, 3)
    hasattr(arviz, "InferenceData") and arviz.summary(awkward.idata, var_names=["R_e"])


def bmtme_dataset(idata):
    """The posterior as a Dataset, from InferenceData or DataTree."""
    posterior = idata["posterior"]
    return posterior.to_dataset() if hasattr(posterior, "to_dataset") else posterior


# --- summary ------------------------------------------------------------------------------------------------------


def test_summary(awkward):
    table = awkward.summary()
    assert tuple(table.columns) == COLUMNS == (
        "mean", "sd", "lower", "upper", "ess_bulk", "ess_tail", "r_hat", "note"
    )  # fmt: skip
    assert table.index.is_unique
    covariances = {"Sigma_t[T1, T1]", "Sigma_t[T1, T2]", "R_e[T2, T3]", "Sigma_E[E3, E3]"}
    derived = {"genetic_correlation[T1, T3]", "residual_correlation[T1, T2]", "heritability[E1, T1]"}
    assert {"beta[E4, T3]"} | covariances | derived <= set(table.index)
    assert len(table) == 12 + 6 + 6 + 4 + 3 + 3 + 12
    posterior = awkward.idata.posterior
    flat = posterior["Sigma_t"].sel(trait="T1", trait_bis="T2").values.ravel()
    expected = [flat.mean(), flat.std(ddof=1), *np.quantile(flat, [0.05, 0.95])]
    np.testing.assert_allclose(table.loc["Sigma_t[T1, T2]", ["mean", "sd", "lower", "upper"]].astype(float), expected)
    h2 = table.loc[[name for name in table.index if name.startswith("heritability")]]
    assert ((h2["lower"] > 0) & (h2["upper"] < 1)).all()


def test_heritability(awkward):
    """V / (V + R_e), V the expected sample variance of u over the lines with a record: u's by tr(K G K) / (J - 1)."""
    p = awkward.idata.posterior
    G = small(envs=4).relationship.matrix[:11, :11]
    K = np.eye(11) - 1 / 11
    c = np.trace(K @ G @ K) / 10
    genetic = c * p["Sigma_t"].sel(trait="T2", trait_bis="T2") * (1 + p["Sigma_E"].sel(env="E2", env_bis="E2"))
    expected = (genetic / (genetic + p["R_e"].sel(trait="T2", trait_bis="T2"))).mean()
    assert awkward.summary().loc["heritability[E2, T2]", "mean"] == pytest.approx(float(expected))


def test_what_only_the_prior_informs_is_marked(awkward):
    notes = awkward.summary()["note"]
    marked = set(notes[notes.str.contains("prior only")].index)
    assert marked == {
        "R_e[T1, T2]", "residual_correlation[T1, T2]", "Sigma_E[E4, E4]",
        *(f"heritability[E4, T{l}]" for l in (1, 2, 3)),
        "genetic_correlation[T1, T3]", "Sigma_t[T1, T3]",  # eleven lines, T1 on every other record
    }  # fmt: skip
    assert "never on one record" in notes["R_e[T1, T2]"]
    unrecorded = set(notes[notes.str.contains("no record")].index)
    assert unrecorded == {"beta[E3, T3]", "beta[E4, T1]", "beta[E4, T2]", "beta[E4, T3]"}


def test_names_with_commas_are_not_mixed_up():
    """An environment 'A' without a record says nothing about an environment 'A, B' with records."""
    sim = small()
    frame = sim.frame.replace({"env": {"E1": "A", "E2": "A, B", "E3": "B"}})
    frame.loc[frame["env"] == "A", ["T1", "T2", "T3"]] = np.nan
    notes = run(frame, sim.relationship).summary()["note"]
    assert "prior only" in notes["Sigma_E[A, A]"]
    assert "prior only" not in notes["Sigma_E[A, B, A, B]"]
    assert "prior only" not in notes["heritability[A, B, T1]"]


def test_complete_data_carry_no_mark():
    sim = small(missing=0.0)
    assert not run(sim.frame, sim.relationship).summary()["note"].str.contains("prior only|no record").any()


@pytest.mark.parametrize("draws, chains", [(1, 1), (3, 2), (5, 1)])
def test_very_short_runs_are_summarised(draws, chains):
    """Numbers come out and diagnostics are missing or flagged, without an error."""
    sim = small()
    result = run(sim.frame, sim.relationship, draws=draws, tune=0, chains=chains)
    table = result.summary()
    assert np.isfinite(table["mean"]).all()
    assert (table["sd"] >= 0).all()
    if draws < 4:
        assert table["r_hat"].isna().all()
        assert describe_agreement(table, result.run).startswith("Too few")
    assert not result.predictions()[["mean", "sd", "lower", "upper"]].isna().any(axis=None)


def test_tables_are_copies(awkward):
    for table in (awkward.summary(), awkward.predictions()):
        table.loc[:, "mean"] = 0.0
    assert (awkward.summary()["mean"] != 0).any()
    assert (awkward.predictions()["mean"] != 0).any()


# --- record of the run --------------------------------------------------------------------------------------------


def test_record_of_the_run_is_plain_json(awkward):
    run = awkward.run
    assert json.loads(json.dumps(run, allow_nan=False)) == run
    assert run["settings"]["seed"] == 1
    assert run["settings"]["model"]["structure"] == "unstructured"
    assert run["data"]["absent_columns"] == ["E3 x T3", "E4 x T1", "E4 x T2", "E4 x T3"]
    assert run["data"]["lines"] == 11
    assert run["data"]["lines_predicted"] == 12
    assert run["versions"]["bmtme"] == bmtme.__version__


# --- save and load ------------------------------------------------------------------------------------------------


def assert_same_fit(one, two):
    pd.testing.assert_frame_equal(one.summary(), two.summary())
    pd.testing.assert_frame_equal(one.predictions(), two.predictions())
    assert one.run == two.run
    assert repr(one) == repr(two)
    names = ("posterior", "sample_stats", "observed_data", "constant_data")
    for name in (*names, *(["effects"] if one.run["settings"]["keep_effects"] == "thin" else [])):
        a, b = one.idata[name], two.idata[name]
        assert set(a.data_vars) == set(b.data_vars)
        for variable in a.data_vars:
            assert a[variable].dims == b[variable].dims
            assert a[variable].dtype == b[variable].dtype, variable
            np.testing.assert_array_equal(a[variable].values, b[variable].values, err_msg=variable)
        for coordinate in a.coords:
            assert a[coordinate].values.tolist() == b[coordinate].values.tolist()


@pytest.mark.parametrize("keep", ["all", "thin"])
def test_save_and_load(awkward, tmp_path, keep):
    result = awkward
    if keep == "thin":
        sim = small()
        result = run(sim.frame, sim.relationship, keep_effects="thin")
    result.save(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert_same_fit(result, bmtme.load(tmp_path / "run"))
    bmtme.load(tmp_path / "run").save(tmp_path / "again")
    assert_same_fit(result, bmtme.load(tmp_path / "again"))


def test_saved_without_effects(tmp_path):
    sim = small()
    result = run(sim.frame, sim.relationship, keep_effects="none")
    result.save(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES - {"predictions.csv"}
    again = bmtme.load(tmp_path / "run")
    pd.testing.assert_frame_equal(result.summary(), again.summary())
    with pytest.raises(UsageError, match="no predictions"):
        again.predictions()


@pytest.mark.parametrize(
    "prior", [HalfT(nu=np.int64(3), scale=np.float32(2.0)), InverseWishart(df=np.int64(8), scale=np.eye(3))]
)
def test_numbers_of_numpy_in_a_prior_can_be_saved(tmp_path, prior):
    sim = small()
    run(sim.frame, sim.relationship, BMTME(prior_t=prior)).save(tmp_path / "run")
    assert bmtme.load(tmp_path / "run").run["settings"]["model"]["prior_t"] != "default"


def test_text_files_keep_names(awkward, tmp_path):
    awkward.save(tmp_path / "run")
    table = pd.read_csv(tmp_path / "run" / "predictions.csv", dtype=str, keep_default_na=False)
    assert list(dict.fromkeys(table["line"]))[:2] == ["001", "NA"]
    assert table["observed"].eq("").any()
    json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["empty folder", "nested", "current folder"])
def test_folders_that_will_do(awkward, tmp_path, kind, monkeypatch):
    target = tmp_path / "run"
    if kind == "nested":
        target = tmp_path / "a" / "b" / "run"
    else:
        target.mkdir()
    if kind == "current folder":
        monkeypatch.chdir(target)
    awkward.save("." if kind == "current folder" else target)
    assert {path.name for path in target.iterdir()} == FILES
    assert not list(tmp_path.glob(".*"))


def test_a_folder_in_use_is_refused(awkward, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        awkward.save(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        awkward.save(tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_failure_leaves_nothing_behind(awkward, tmp_path, monkeypatch):
    """The disk is full when the last file is written: no folder, no draft; the same call works afterwards."""

    def fail(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(record.json, "dumps", fail)
        with pytest.raises(Exception, match="No space left"):
            awkward.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    awkward.save(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_what_is_no_saved_fit_is_named(awkward, tmp_path):
    with pytest.raises(DataError, match=r"holds no idata\.nc"):
        bmtme.load(tmp_path)
    awkward.save(tmp_path / "run")
    (tmp_path / "run" / "idata.nc").write_bytes(b"no netCDF")
    with pytest.raises(DataError, match="cannot be read as a saved fit"):
        bmtme.load(tmp_path / "run")
    os.remove(tmp_path / "run" / "run.json")
    with pytest.raises(DataError, match=r"holds no run\.json"):
        bmtme.load(tmp_path / "run")
