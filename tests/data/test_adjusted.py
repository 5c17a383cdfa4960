"""Adjusted means with the covariance of their errors: matched by name, checked, saved and read back."""

import pickle

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.errors import DataError, UsageError

NAMES = {"E1": [("b", "Y"), ("a", "Y"), ("a", "Z")], "E2": [("a", "Y"), ("c", "Y"), ("c", "Z"), ("b", "Z")]}


def make_table() -> pd.DataFrame:
    rows = [(line, env, trait, 1.0 + k, 2) for env, names in NAMES.items() for k, (line, trait) in enumerate(names)]
    rows.append(("001", "E2", "Y", np.nan, 0))
    return pd.DataFrame(rows, columns=["line", "env", "trait", "mean", "n_plots"])


def make_covariances(seed: int = 1) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    made = {}
    for env, names in NAMES.items():
        A = rng.standard_normal((len(names), 9))
        index = pd.MultiIndex.from_tuples(names)
        made[env] = pd.DataFrame(A @ A.T, index=index, columns=index)
    return made


def test_rows_and_labels_in_any_order() -> None:
    covariances = make_covariances()
    means = bmtme.AdjustedMeans(make_table(), covariances)
    assert means.lines == ["b", "a", "c", "001"]
    assert (means.envs, means.traits) == (["E1", "E2"], ["Y", "Z"])
    assert list(means.table) == ["line", "env", "trait", "mean", "se", "se_stage2", "n_plots", "estimable"]
    assert means.table["estimable"].tolist() == [True] * 7 + [False]
    assert np.isnan(means.table.loc[7, ["se", "se_stage2"]].astype(float)).all()
    turned = {env: V.iloc[::-1, ::-1].T for env, V in reversed(covariances.items())}
    again = bmtme.AdjustedMeans(make_table().iloc[::-1], turned)
    one, other = (m.table.sort_values(["env", "line", "trait"], ignore_index=True) for m in (means, again))
    pd.testing.assert_frame_equal(one, other)
    for env, names in NAMES.items():
        assert list(means.covariances[env].index) == list(means.covariances[env].columns) == names
        np.testing.assert_allclose(means.covariances[env], covariances[env], rtol=1e-15)
        np.testing.assert_allclose(again.covariances[env].loc[names, names], covariances[env], rtol=1e-15)


def test_standard_errors_come_from_the_covariance() -> None:
    covariances = make_covariances()
    table = bmtme.AdjustedMeans(make_table(), covariances).table
    V = covariances["E2"].to_numpy()
    here = table[(table["env"] == "E2") & table["estimable"]]
    np.testing.assert_allclose(here["se"], np.sqrt(np.diag(V)))
    weights = [1.0 / np.sqrt(np.diag(np.linalg.inv(V[np.ix_(own, own)]))) for own in ([0, 1], [2, 3])]
    np.testing.assert_allclose(here["se_stage2"], np.concatenate(weights), rtol=1e-9)


def test_singular_errors_and_an_environment_without_means() -> None:
    table = pd.concat([make_table(), pd.DataFrame([{"line": "a", "env": "E3", "trait": "Y", "n_plots": 1}])])
    covariances = make_covariances()
    covariances["E1"][:] = 4.0  # one error for all
    means = bmtme.AdjustedMeans(table, covariances)
    assert means.covariances["E3"].shape == (0, 0)
    np.testing.assert_allclose(means.table["se"][:3], 2.0)
    assert (means.table["se_stage2"][:2] < 1e-4).all()
    assert means.table["se_stage2"][2] == pytest.approx(2.0)


def test_some_environments_and_traits() -> None:
    """Their part of the covariance, and the weights of that part; a line without any of these means goes."""
    covariances = make_covariances()
    means = bmtme.AdjustedMeans(make_table(), covariances)
    some = means.take(envs=["E2"], traits=["Z"])
    assert (some.lines, some.envs, some.traits) == (["c", "b"], ["E2"], ["Z"])
    own = [("c", "Z"), ("b", "Z")]
    V = covariances["E2"].loc[own, own].to_numpy()
    np.testing.assert_allclose(some.covariances["E2"], V)
    np.testing.assert_allclose(some.table["se_stage2"], 1 / np.sqrt(np.diag(np.linalg.inv(V))))
    pd.testing.assert_frame_equal(means.take().table, means.table)
    with pytest.raises(UsageError, match="no means of trait 'z'"):
        means.take(traits=["z"])
    with pytest.raises(UsageError, match="no mean that can be estimated is left"):
        means.take(envs=[])


def test_copies() -> None:
    table, covariances = make_table(), make_covariances()
    means = bmtme.AdjustedMeans(table, covariances)
    table.loc[0, "mean"] = 99.0
    covariances["E1"].iloc[0, 0] = 99.0
    assert means.table["mean"][0] == 1.0
    assert means.covariances["E1"].iloc[0, 0] != 99.0
    again = pickle.loads(pickle.dumps(means))
    pd.testing.assert_frame_equal(again.table, means.table)
    assert repr(again) == "AdjustedMeans(4 lines x 2 environments x 2 traits; 7 means, 1 not estimable)"


@pytest.mark.parametrize("safe_text", [False, True])
def test_folder(tmp_path, safe_text: bool) -> None:
    table = make_table().replace({"line": {"b": "=b"}})
    covariances = {
        env: V.rename(index={"b": "=b"}, columns={"b": "=b"}, level=0) for env, V in make_covariances().items()
    }
    means = bmtme.AdjustedMeans(table, covariances)
    means.save(tmp_path / "means", safe_text=safe_text)
    assert sorted(path.name for path in (tmp_path / "means").iterdir()) == ["covariances.npz", "means.csv", "run.json"]
    again = bmtme.read_means(tmp_path / "means")
    pd.testing.assert_frame_equal(again.table, means.table)
    for env in means.envs:
        pd.testing.assert_frame_equal(again.covariances[env], means.covariances[env])
    with pytest.raises(UsageError, match="is not empty"):
        means.save(tmp_path / "means")
    with pytest.raises(DataError, match=r"holds adjusted means: bmtme\.read_means"):
        bmtme.load(tmp_path / "means")
    (tmp_path / "means" / "covariances.npz").unlink()
    with pytest.raises(DataError, match=r"covariances\.npz is missing"):
        bmtme.read_means(tmp_path / "means")
    with pytest.raises(DataError, match=r"holds no run\.json: expected a folder with a saved adjustment"):
        bmtme.read_means(tmp_path)


def change(env: str, row: int, column: int, value: float):
    def changed(table: pd.DataFrame, covariances: dict[str, pd.DataFrame]) -> None:
        covariances[env].iloc[row, column] = value

    return changed


def drop(table: pd.DataFrame, covariances: dict[str, pd.DataFrame]) -> None:
    covariances["E1"] = covariances["E1"].iloc[1:, 1:]


def drop_mean(table: pd.DataFrame, covariances: dict[str, pd.DataFrame]) -> None:
    table.loc[1, "mean"] = np.nan


def forget(table: pd.DataFrame, covariances: dict[str, pd.DataFrame]) -> None:
    del covariances["E2"]


def misspell(table: pd.DataFrame, covariances: dict[str, pd.DataFrame]) -> None:
    covariances["e1"] = covariances.pop("E1")


def repeat(table: pd.DataFrame, covariances: dict[str, pd.DataFrame]) -> None:
    table.loc[1, ["line", "trait"]] = ["b", "Y"]


def repeat_label(table: pd.DataFrame, covariances: dict[str, pd.DataFrame]) -> None:
    covariances["E1"] = covariances["E1"].iloc[[0, 1, 2, 2], [0, 1, 2, 2]]


def flatten(table: pd.DataFrame, covariances: dict[str, pd.DataFrame]) -> None:
    covariances["E1"] = covariances["E1"].droplevel(1)


def tell(table: pd.DataFrame, covariances: dict[str, pd.DataFrame]) -> None:
    table["se"] = 5.0


def count(table: pd.DataFrame, covariances: dict[str, pd.DataFrame]) -> None:
    table["n_plots"] = 1.5


def count_many(table: pd.DataFrame, covariances: dict[str, pd.DataFrame]) -> None:
    table["n_plots"] = 1e30


def bend(table: pd.DataFrame, covariances: dict[str, pd.DataFrame]) -> None:
    """One entry of a trait whose errors are small beside those of another."""
    scale = np.array([1.0, 1.0, 1e6, 1e6])
    covariances["E2"] = covariances["E2"] * np.multiply.outer(scale, scale)
    covariances["E2"].iloc[0, 1] += 0.01


def correlate(table: pd.DataFrame, covariances: dict[str, pd.DataFrame]) -> None:
    covariances["E1"].iloc[0, 1] = covariances["E1"].iloc[1, 0] = 100.0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change("E1", 0, 0, -1.0), r"'E1' holds the variance -1 of line 'b', trait 'Y': expected one above zero"),
        (change("E1", 0, 2, np.inf), r"'E1' holds inf between line 'b', trait 'Y' and line 'a', trait 'Z'"),
        (change("E2", 1, 3, 0.5), r"'E2' is not symmetric: 0.5 and .* between line 'c', trait 'Y' and line 'b', tra"),
        (correlate, r"'E1' is not positive semi-definite .* of line 'b', trait 'Y' with line 'a', trait 'Y'"),
        (drop, r"'E1' lacks the mean of line 'b' and trait 'Y' in environment 'E1' on its rows \(1 in all\)"),
        (drop_mean, r"'E1' has line 'a' and trait 'Y' on its rows, of which there is no mean"),
        (forget, r"covariances has none for environment 'E2', which has 4 means"),
        (misspell, r"covariances holds environment 'e1', which has no means. Did you mean 'E1'"),
        (repeat, r"has the mean of line 'b' and trait 'Y' in environment 'E1' twice: row 1 .* and row 2"),
        (repeat_label, r"'E1' has line 'a' and trait 'Z' twice on its rows"),
        (flatten, r"'E1' must have \(line, trait\) on its rows, got 1 level of labels"),
        (tell, r"has the standard error 5 for the mean of line 'b' and trait 'Y' in environment 'E1', and the cov"),
        (count, r"n_plots column of the table of adjusted means holds 1.5 in row 1"),
        (count_many, r"n_plots column of the table of adjusted means holds 1e\+30 in row 1"),
        (bend, r"'E2' is not symmetric: .* between line '[ac]', trait 'Y' and line '[ac]', trait 'Y'"),
    ],
)
def test_refusals(spoil, message: str) -> None:
    table, covariances = make_table(), make_covariances()
    spoil(table, covariances)
    with pytest.raises(DataError, match=message):
        bmtme.AdjustedMeans(table, covariances)


def test_other_values() -> None:
    with pytest.raises(UsageError, match="table must be a DataFrame"):
        bmtme.AdjustedMeans([1], {})
    with pytest.raises(UsageError, match="covariances must be a dict"):
        bmtme.AdjustedMeans(make_table(), make_covariances()["E1"])
    with pytest.raises(UsageError, match="'E1' must be a DataFrame labelled by line and trait"):
        bmtme.AdjustedMeans(make_table(), {env: V.to_numpy() for env, V in make_covariances().items()})
