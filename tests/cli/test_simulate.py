"""``bmtme simulate``: what it writes and says."""

from __future__ import annotations

import json
from pathlib import Path

import bmtme
from tests.helpers.shell import Run


def test_simulate(tmp_path: Path, run: Run) -> None:
    words = ["simulate", "--lines", "12", "--envs", "2", "--traits", "2", "--reps", "3", "--seed", "5"]
    words += ["--genetic-correlation", "0.3", "--residual-correlation", "-0.1", "--heritability", "0.4"]
    words += ["--interaction", "0.2,0.6", "--missing", "0.25", "--missing-traits", "0.1", "--relationship", "markers"]
    code, said, complained = run(*words, "--out", tmp_path / "sim")
    assert (code, complained) == (0, "")
    names = ["markers.csv", "phenotypes.csv", "relationship.csv", "truth.json"]
    assert sorted(path.name for path in (tmp_path / "sim").iterdir()) == names
    same = bmtme.simulate(12, 2, 2, 3, 0.3, -0.1, 0.4, [0.2, 0.6], "markers", 0.25, 0.1, 5)
    assert (tmp_path / "sim" / "phenotypes.csv").read_text() == same.frame.to_csv(index=False)
    truth = json.loads((tmp_path / "sim" / "truth.json").read_text())
    assert truth["Sigma_E"]["E2"]["E2"] == 0.6
    assert f"--relationship {tmp_path / 'sim' / 'relationship.csv'}" in said
    code, _, complained = run(*words, "--out", tmp_path / "sim")
    assert code == 2
    assert "is not empty" in complained


def test_simulate_other_structures(tmp_path: Path, run: Run) -> None:
    words = ["simulate", "--lines", "12", "--envs", "2", "--traits", "2", "--seed", "5", "--spread", "0.1"]
    other = ["--genetic", "factor-analytic", "--factors", "1", "--residual", "by-env", "--line-effect"]
    code, said, complained = run(*words, *other, "--out", tmp_path / "sim")
    assert (code, complained) == (0, "")
    assert f"--traits T1,T2 {' '.join(other)} --out run" in said
    genetic = bmtme.FactorAnalytic(1)
    same = bmtme.simulate(12, 2, 2, seed=5, spread=0.1, genetic=genetic, residual="by_env", line_effect=True)
    assert (tmp_path / "sim" / "phenotypes.csv").read_text() == same.frame.to_csv(index=False)
    truth = json.loads((tmp_path / "sim" / "truth.json").read_text())
    assert {"C", "R_e", "Sigma_r", "u", "r"} <= set(truth)
    assert set(truth["R_e"]) == {"E1", "E2"}
    code, _, complained = run(*words, "--factors", "2", "--out", tmp_path / "other")
    assert code == 2
    assert "only --genetic factor-analytic has factors" in complained
    code, _, complained = run(*words, "--genetic", "separable", "--traits", "1", "--out", tmp_path / "other")
    assert code == 2
    assert "separable needs two traits" in complained
