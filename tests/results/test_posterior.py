"""What a fit hands out: the posterior and its dimensions, and the other groups beside it."""

import numpy as np
import pytest

from bmtme import BMTME
from tests.helpers.fits import fit_frame
from tests.helpers.trials import simulate_small

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
    sim = simulate_small(missing=0.0)
    posterior = fit_frame(sim.frame, sim.relationship, BMTME(structure, means=means)).idata.posterior
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
    sim = simulate_small()
    posterior = fit_frame(sim.frame, sim.relationship, BMTME("standard", units="raw")).idata.posterior
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
    related = idata["relationship"]["G"]
    assert "NA" in related["line"].values.tolist()
    assert related.sizes["line"] == related.sizes["line_bis"] == 11  # those with a record
    stats = idata["sample_stats"]
    assert stats["completed_log_density"].dims == ("chain", "draw")
    assert np.isfinite(stats["completed_log_density"].values).all()


def test_divergences_are_true_or_false():
    """ArviZ picks draws by them."""
    sim = simulate_small()
    stats = fit_frame(sim.frame, sim.relationship, sampler="collapsed").idata["sample_stats"]
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
