"""Fits and cross-validations of adjusted means with the covariance of their errors: what comes out, what is refused."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme import (
    BMTME,
    CV1,
    CV2,
    AdjustedMeans,
    DataError,
    SingleTrait,
    Trial,
    UsageError,
    cross_validate,
    fit,
    simulate,
)
from bmtme.data.digests import digest_trial
from bmtme.data.order import sort_trial
from bmtme.data.selection import take_trait
from bmtme.decisions.covariances import average_errors, count_plots
from bmtme.model.scaling import Scaling
from bmtme.preparation import prepare
from bmtme.report.tables import describe_fit
from bmtme.results.known_errors import find_known_errors
from tests.engines.rotated.test_joint_errors import find_rest

pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in ("a short run", "few effective draws")]
SHORT = {"draws": 60, "tune": 60, "chains": 2, "seed": 1}


def make_means(lines=20, traits=("T1", "T2"), seed=2) -> tuple[AdjustedMeans, bmtme.Relationship]:
    """Means of two environments; one lacks some, and errors of blocks of four and of all lines are shared."""
    sim = simulate(lines=lines, envs=2, traits=2, reps=1, missing=0.0, relationship="markers", seed=seed)
    rng = np.random.default_rng(3)
    frame = sim.frame.melt(["line", "env"], list(traits), "trait", "mean")
    frame = frame.sample(frac=1.0, random_state=1, ignore_index=True)
    frame.loc[
        frame["env"].eq("E2") & frame["line"].isin(sim.relationship.lines[:3]) & frame["trait"].eq("T2"), "mean"
    ] = np.nan
    frame.loc[frame["env"].eq("E1") & frame["line"].eq(sim.relationship.lines[5]), "mean"] = np.nan
    covariances = {}
    for env, own in frame.dropna().groupby("env"):
        line, trait = own["line"].to_numpy(), own["trait"].to_numpy()
        block = np.array([sim.relationship.lines.index(name) // 4 for name in line])
        alike = np.equal.outer(line, line) + 0.5 * np.equal.outer(block, block) + 0.4
        V = 0.3 * alike * np.where(np.equal.outer(trait, trait), 1.0, 0.5) + 0.05 * np.diag(rng.uniform(size=len(own)))
        index = pd.MultiIndex.from_arrays([line, trait])
        covariances[env] = pd.DataFrame(V, index=index, columns=index)
    return AdjustedMeans(frame, covariances), sim.relationship


@pytest.fixture(scope="module")
def data():
    return make_means()


def read_covariance(trial: Trial, env: str) -> pd.DataFrame:
    """Of the values of an environment, labelled."""
    here = np.flatnonzero(trial.env_index == trial.envs.index(env))
    n, l = np.nonzero(~np.isnan(trial.values[here]))
    names = [(trial.lines[trial.line_index[here[k]]], trial.traits[t]) for k, t in zip(n, l, strict=True)]
    index = pd.MultiIndex.from_tuples(names)
    V = trial.error_covariances[env][n[:, None], l[:, None], n, l]
    return pd.DataFrame(V, index=index, columns=index)


def test_covariances_go_with_their_values(data) -> None:
    means, _ = data
    trial = Trial.from_means(means)
    assert trial.n_records == 40
    for env, whole in means.covariances.items():
        own = read_covariance(trial, env)
        assert set(own.index) == set(whole.index)
        pd.testing.assert_frame_equal(own, whole.loc[own.index, own.columns], check_names=False)
    table = means.table.pivot(index=["line", "env"], columns="trait", values="se")
    for n, (j, i) in enumerate(zip(trial.line_index, trial.env_index, strict=True)):
        np.testing.assert_allclose(trial.se[n], table.loc[(trial.lines[j], trial.envs[i]), list(trial.traits)])
    mask = np.zeros(trial.values.shape, bool)
    mask[3:9] = True
    dropped = trial.drop_lines([trial.lines[2], trial.lines[7]])
    for other in (sort_trial(trial)[0], trial.hide(mask), dropped, replace(trial), take_trait(trial, 1)):
        for env, whole in means.covariances.items():
            own = read_covariance(other, env)
            assert len(own) > 3
            pd.testing.assert_frame_equal(own, whole.loc[own.index, own.columns], check_names=False)
    one = take_trait(trial, 0, np.array([False, True]))
    assert list(one.error_covariances) == [trial.envs[1]] == list(one.envs)


def test_own_errors_are_those_of_differences(data) -> None:
    """On average half the variance of the difference of two errors of one trait."""
    means, _ = data
    trial = Trial.from_means(means)
    own = trial.own_errors()
    for env, whole in means.covariances.items():
        for l, trait in enumerate(trial.traits):
            of = whole.index.get_level_values(1) == trait
            V = whole.to_numpy()[np.ix_(of, of)]
            differences = V.diagonal()[:, None] + V.diagonal() - 2.0 * V
            here = trial.env_index == trial.envs.index(env)
            assert own[here, l].sum() == pytest.approx(differences.sum() / 2 / (len(V) - 1))


def test_digests_know_the_covariance(data) -> None:
    means, _ = data
    trial, other = Trial.from_means(means), Trial.from_means(AdjustedMeans(means.table.iloc[::-1], means.covariances))
    assert trial.lines != other.lines
    assert digest_trial(trial) == digest_trial(other)
    diagonal = {env: V * np.eye(len(V)) for env, V in means.covariances.items()}
    assert digest_trial(trial) != digest_trial(Trial.from_means(AdjustedMeans(means.table, diagonal)))


def test_errors_of_the_sampler(data) -> None:
    """Those of the means, in the order of the sampler."""
    means, relationship = data
    prepared = prepare(Trial.from_means(means), relationship)
    trial, layout = prepared.trial, prepared.layout
    for i, env in enumerate(trial.envs):
        records, traits, rest = find_rest(prepared.errors, i)
        names = [(prepared.lines[layout.rec_line[n]], trial.traits[l]) for n, l in zip(records, traits, strict=True)]
        common = prepared.errors.common[i][traits[:, None], traits] * np.equal.outer(records, records)
        np.testing.assert_allclose(common + rest, means.covariances[env].loc[names, names], rtol=1e-9)


def test_a_fit_of_several_traits(data, tmp_path) -> None:
    means, relationship = data
    result = fit(means, relationship, **SHORT)
    trial = Trial.from_means(means)
    assert "(with covariances of their errors)" in describe_fit(result.summary(), result.run, trial)
    seen = ~np.isnan(trial.values).all(axis=1)
    np.testing.assert_array_equal(result.idata["observed_data"]["record_se"].values, trial.se[seen])
    table = means.table.sort_values(["trait", "line"], ascending=[means.traits[0] == "T1", False])
    again = fit(AdjustedMeans(table, means.covariances), relationship, **SHORT)
    one, other = (found.predictions().set_index(["line", "env", "trait"]) for found in (result, again))
    pd.testing.assert_frame_equal(other.loc[one.index], one, check_exact=True)
    result.save(tmp_path / "fit")
    loaded = bmtme.load(tmp_path / "fit")
    for found in (result, loaded):
        with pytest.raises(UsageError, match=r"leave_one_out does not serve adjusted means with the covariance"):
            found.leave_one_out()
        with pytest.raises(UsageError, match=r"posterior_predictive does not serve adjusted means"):
            found.to_arviz(posterior_predictive=True)
        with pytest.raises(UsageError, match=r"log_likelihood does not serve adjusted means"):
            found.to_arviz(log_likelihood=True)
        with pytest.raises(UsageError, match=r"predictions\(of='record'\) do not serve"):
            found.predictions(of="record")
    errors = average_errors(loaded, list(trial.lines), count_plots(loaded, list(trial.lines)))
    own = trial.own_errors()
    for n, (j, i) in enumerate(zip(trial.line_index, trial.env_index, strict=True)):
        np.testing.assert_allclose(errors[j, i], own[n])


def test_hidden_means(data) -> None:
    """Models learn from the covariance of what is shown; intervals of hidden means have their variance."""
    cv = cross_validate(*data, BMTME(), CV1(1, 0.3), draws=40, tune=30, chains=1, workers=1)
    table = cv.predictions
    assert (table["mean_upper"] - table["mean_lower"] > table["upper"] - table["lower"]).all()
    with pytest.raises(UsageError, match=r"of='record' does not serve records with standard errors"):
        cross_validate(*data, BMTME(), CV2(["T1"], ["E1"], of="record"), draws=10, tune=10, chains=1)


def test_errors_of_hidden_means_given_those_shown(data) -> None:
    """By one dense normal, with covariances by name, for made up deviations."""
    means, relationship = data
    trial = Trial.from_means(means)
    hidden = np.isin(trial.line_index, np.arange(4)) & (trial.env_index == trial.envs.index("E1"))
    prepared = prepare(trial.hide(np.repeat(hidden[:, None], 2, axis=1)), relationship)
    ordered = sort_trial(trial)[0]
    i, l = ordered.envs.index("E1"), ordered.traits.index("T2")
    cells = np.zeros((len(ordered.lines), 2, 2), bool)
    cells[[ordered.lines.index(name) for name in trial.lines[:4]], i, l] = True
    cells &= ordered.plots() > 0
    scaling = Scaling(np.array([1.0, 2.0]), np.array([3.0, 0.5]), 1.0)
    rng = np.random.default_rng(6)
    fitted, residual = rng.standard_normal((len(ordered.lines), 3)), np.array([0.1, 1.0, 4.0])
    rows = np.flatnonzero(cells[:, i, l])
    found = find_known_errors(prepared, scaling, ordered, cells).add_up(i, l, rows, lambda n: fitted[n], residual)
    V = means.covariances["E1"].xs("T2", level=1).xs("T2", axis=1, level=1) / scaling.scale[l] ** 2
    wanted = [ordered.lines[j] for j in rows]
    rest = [name for name in V.index if name not in trial.lines[:4]]
    values = means.table.query("env == 'E1' and trait == 'T2'").set_index("line")["mean"][rest].to_numpy()
    places = [ordered.lines.index(name) for name in rest]
    off = (values[:, None] - scaling.centre[l]) / scaling.scale[l] - fitted[places]
    for s, r in enumerate(residual):
        gain = V.loc[wanted, rest].to_numpy() @ np.linalg.inv(V.loc[rest, rest] + r * np.eye(len(rest)))
        np.testing.assert_allclose(found.shift[:, s], gain @ off[:, s], rtol=1e-9)
        left = V.loc[wanted, wanted].to_numpy() - gain @ V.loc[rest, wanted].to_numpy()
        np.testing.assert_allclose(found.variance[:, s], left.diagonal(), rtol=1e-9)


def test_an_error_of_all_lines_counts_once() -> None:
    """What all lines share is a part of the mean of the environment: intervals of hidden means are as without it."""
    means, relationship = make_means(traits=("T1",), lines=40)
    settings = {"scheme": CV1(1, 0.3), "draws": 300, "tune": 150, "chains": 1, "workers": 1, "seed": 1}
    widths = []
    for common in (0.0, 30.0):
        table = means.table.drop(columns=["se", "se_stage2"])
        given = AdjustedMeans(table, {env: V + common for env, V in means.covariances.items()})
        cv = cross_validate(given, relationship, BMTME(means="flat"), **settings)
        widths.append((cv.predictions["mean_upper"] - cv.predictions["mean_lower"]).to_numpy())
    np.testing.assert_allclose(widths[1], widths[0], rtol=0.2)


def test_check_looks_at_errors_without_what_lines_share(data) -> None:
    means, _ = data
    shared = {env: V + 100.0 for env, V in means.covariances.items()}
    table = means.table.drop(columns=["se", "se_stage2"])
    assert "standard errors" not in set(Trial.from_means(AdjustedMeans(table, shared)).check().findings["kind"])
    one = {env: V * 0.0 + 1.0 for env, V in means.covariances.items()}
    findings = Trial.from_means(AdjustedMeans(table, one)).check().findings
    text = findings.loc[findings["kind"] == "standard errors", "message"].item()
    assert re.search(r"other traits exactly in E[12], E[12]: fits of all traits together are refused", text)


def test_one_trait_at_a_time(data) -> None:
    """Errors of two traits that are one and the same are refused of both together."""
    means, relationship = data
    covariances = {}
    for env, V in means.covariances.items():
        line = V.index.get_level_values(0).to_numpy()
        covariances[env] = V * 0.0 + np.equal.outer(line, line) * 0.2 + 0.1
    same = AdjustedMeans(means.table.drop(columns=["se", "se_stage2"]), covariances)
    with pytest.raises(DataError, match=r"errors of the adjusted means of environment 'E1' are linearly dependent"):
        fit(same, relationship, **SHORT)
    result = fit(same, relationship, SingleTrait(BMTME(residual="by_env", line_effect=True)), **SHORT)
    assert np.isfinite(result.summary()["mean"]).all()


def test_what_is_refused(data) -> None:
    means, relationship = data
    with pytest.raises(UsageError, match=r"sampler='gibbs' does not serve standard errors"):
        fit(means, relationship, **SHORT | {"sampler": "gibbs"})
    with pytest.raises(UsageError, match=r"rep_effect='random' does not go with standard errors"):
        fit(means, relationship, BMTME(rep_effect="random"), **SHORT)
    trial = Trial.from_means(means)
    with pytest.raises(DataError, match="n_plots and se do not go together"):
        replace(trial, n_plots=np.ones(trial.n_records, int))
    with pytest.raises(DataError, match="se_correlation does not go with error_covariances"):
        replace(trial, se_correlation=np.eye(2))
    with pytest.raises(UsageError, match="blocks and covariates do not go with standard errors"):
        fit(replace(trial, covariates={"x": np.arange(trial.n_records)}), relationship, **SHORT)
    with pytest.raises(DataError, match=r"environment 'E1' must be over its records .* expected \(20, 2, 20, 2\), got"):
        replace(trial, error_covariances={**trial.error_covariances, "E1": np.eye(2)})
    with pytest.raises(DataError, match=r"error_covariances holds environment 'e1'. Did you mean 'E1'"):
        replace(trial, error_covariances={"e1": np.eye(2)})
    with pytest.raises(DataError, match=r"environment 'E[12]' must be finite, with a positive variance"):
        replace(trial, error_covariances={env: V * 0.0 for env, V in trial.error_covariances.items()})
    with pytest.raises(DataError, match=r"one record for each line in an environment"):
        trial.take_records(np.zeros(2, int))
    with pytest.raises(UsageError, match=r"expected AdjustedMeans"):
        Trial.from_means(means.table)
