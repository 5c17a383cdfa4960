"""The record of the run, the groups beside the posterior, and files."""

import json

import numpy as np
import pandas as pd
import pytest

from bmtme import BMTME, HalfT, InverseWishart
from bmtme.preparation import prepare
from tests.helpers.tables import assert_file_holds
from tests.helpers.trials import trial_of
from tests.reported.design import CHAINS, DRAWS, TRAITS

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


def test_facts_of_the_run(data, recorded, fitted, orders):
    frame, relationship = data
    facts, values = fitted.run["data"], recorded[TRAITS].notna()
    lines = recorded["line"].unique()
    assert len(frame) > len(recorded)
    assert facts["lines"] == len(lines) == 11
    assert facts["lines_predicted"] == 14
    assert facts["lines_dropped"] == []
    assert (facts["envs"], facts["traits"]) == (3, 3)
    assert facts["records"] == len(recorded)
    assert facts["missing_values"] == int((~values).to_numpy().sum())
    assert facts["absent_columns"] == ["E2 x T3"]
    assert facts["relationship_rank"] == np.linalg.matrix_rank(relationship.subset(list(lines)).matrix, tol=1e-6)
    columns = recorded[TRAITS].notna().groupby(recorded["env"]).any().loc[orders[0]]
    assert fitted.run["facts"]["recorded"] == columns.to_numpy().tolist()
    assert fitted.run["facts"]["together"] == [
        [bool((values[one] & values[two]).any()) for two in orders[1]] for one in orders[1]
    ]
    settings = fitted.run["settings"]
    assert (settings["draws"], settings["tune"], settings["chains"], settings["seed"]) == (DRAWS, 30, CHAINS, 3)


@pytest.mark.parametrize("unseen", [False, True])
def test_imputed_share(data, unseen):
    """Of k_i c_j plots that the layout has for every line and environment with records."""
    frame = data[0].copy()
    if unseen:
        frame.loc[frame["env"] == "E3", TRAITS] = np.nan
    prepared = prepare(trial_of(frame), data[1])
    rows = frame[frame[TRAITS].notna().any(axis=1)]
    counts = pd.crosstab(rows["line"], rows["env"]).reindex(prepared.lines)
    layout = prepared.layout
    k = dict(zip(prepared.trial.envs, layout.plots, strict=True))
    whole = sum(k[env] * c for env in counts.columns for c in layout.multiples)
    assert layout.imputed_share == pytest.approx(1.0 - counts.to_numpy().sum() / whole)
    assert layout.imputed_share > 0.1


def test_model_in_the_record_of_a_run():
    priors = {
        "prior_t": InverseWishart(df=7.5, scale=[[2.0, 0.5], [0.5, 3.0]]),
        "prior_E": HalfT(nu=5, scale={"E1": 0.5, "E2": 0.25}),
        "prior_e": HalfT(nu=3, scale=40.0),
    }
    assert BMTME("unstructured", means="flat", **priors).describe() == {
        "structure": "unstructured",
        "means": "flat",
        "units": "scaled",
        "genetic": "proportional",
        "residual": "shared",
        "line_effect": False,
        "rep_effect": "auto",
        "prior_t": {"InverseWishart": {"df": 7.5, "scale": [[2.0, 0.5], [0.5, 3.0]]}},
        "prior_E": {"HalfT": {"nu": 5.0, "scale": {"E1": 0.5, "E2": 0.25}}},
        "prior_e": {"HalfT": {"nu": 3.0, "scale": 40.0}},
    }


def test_data_and_constants_beside_the_posterior(data, recorded, fitted, orders):
    observed, constant = fitted.idata["observed_data"], fitted.idata["constant_data"]
    assert observed["record_line"].values.tolist() == recorded["line"].tolist()
    assert observed["record_env"].values.tolist() == recorded["env"].tolist()
    np.testing.assert_array_equal(observed["Y"].values, recorded[TRAITS])
    np.testing.assert_allclose(constant["trait_mean"], recorded[TRAITS].mean(), rtol=1e-12)
    np.testing.assert_allclose(constant["trait_sd"], recorded[TRAITS].std(ddof=1), rtol=1e-12)
    prepared = prepare(trial_of(data[0]), data[1])
    G = data[1].subset(prepared.lines).matrix
    root = np.sqrt(prepared.layout.multiples)
    values = np.linalg.eigvalsh(G * np.outer(root, root))[::-1]
    np.testing.assert_allclose(constant["relationship_eigenvalues"], values, atol=1e-8 * values[0])
    np.testing.assert_allclose(constant["relationship_mean_diagonal"], np.diag(G).mean())


def test_files_hold_every_digit(fitted, compared, tmp_path):
    fitted.save(tmp_path / "fit")
    assert_file_holds(tmp_path / "fit" / "summary.csv", fitted.summary().reset_index())
    assert_file_holds(tmp_path / "fit" / "predictions.csv", fitted.predictions())
    record = json.loads((tmp_path / "fit" / "run.json").read_text(encoding="utf-8"))
    assert record.pop("seconds").items() >= fitted.run["seconds"].items()
    assert record | {name: value for name, value in fitted.run.items() if name != "seconds"} == record
    compared.save(tmp_path / "cv")
    assert_file_holds(tmp_path / "cv" / "scores.csv", compared.scores)
    assert_file_holds(tmp_path / "cv" / "predictions.csv", compared.predictions)
    assert_file_holds(tmp_path / "cv" / "summary.csv", compared.summary())
