"""``bmtme rerun``: records of runs, and runs made again from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.results.record import read_seal, write_record
from tests.helpers.shell import COLUMNS, SMALL, Run

pytestmark = pytest.mark.filterwarnings("ignore:a short run")


@pytest.fixture
def place(trial_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with the trial's files, in which the commands are given."""
    for name in ("pheno.csv", "relationship.csv"):
        shutil.copy(trial_folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def words(place: Path) -> list[str]:
    return ["pheno.csv", "--relationship", "relationship.csv", *COLUMNS, "--rep", "rep", "--traits", "T1,T2"]


def read(folder: str) -> dict[str, Any]:
    return json.loads((Path(folder) / "run.json").read_text())


def test_a_fit_comes_out_the_same(words: list[str], run: Run) -> None:
    assert run("fit", *words, *SMALL, "--out=first")[0] == 0
    record = read("first")
    assert list(record["seconds"]) == ["read", "prepare", "compile", "search", "warm_up", "sample", "collect", "write"]
    assert all(seconds >= 0.0 for seconds in record["seconds"].values())
    assert record["seconds"]["read"] > 0.0
    assert record["seconds"]["write"] > 0.0
    assert {"bmtme", "sources", "python", "numpy", "scipy", "numba", "arviz", "blas"} <= set(record["versions"])
    assert set(record["machine"]) == {"system", "architecture", "processor", "cores", "memory_bytes"}
    trial = bmtme.read_trial("pheno.csv", line="line", env="env", traits=["T1", "T2"], rep="rep")
    relationship = bmtme.read_relationship("relationship.csv")
    fit = bmtme.fit(trial, relationship, draws=1, tune=0, chains=1)
    for name in ("trial_digest", "effects_digest", "relationship_digest"):
        assert record["data"][name] == fit.run["data"][name]

    code, said, complained = run("rerun", "first", "--out", "again")
    assert code == 0, complained
    assert "identical byte for byte: 'idata.nc', 'predictions.csv', 'summary.csv'" in said
    for name in ("idata.nc", "predictions.csv", "summary.csv"):
        assert Path("again", name).read_bytes() == Path("first", name).read_bytes()
    assert read("again")["command"] == ["bmtme", "fit", *words, *SMALL, "--out", "again"]
    shutil.rmtree("first")
    assert run("rerun", "again")[0] == 0
    assert sorted(path.name for path in Path().iterdir()) == ["again", "pheno.csv", "relationship.csv"]


@pytest.mark.parametrize("kind", ["cv", "mixed", "posterior"])
def test_others_come_out_the_same(kind: str, words: list[str], run: Run) -> None:
    command = {
        "cv": ["cv", *words, "--partitions", "2", "--model", "diagonal", "--model", "mean", *SMALL],
        "mixed": ["mixed", "pheno.csv", "--fixed", "T1 ~ env", "--random", "known(line)", "--known",
                  "line=relationship.csv"],
        "posterior": ["mixed", "pheno.csv", "--fixed", "T1 ~ env", "--random", "line", "--posterior", *SMALL[:2],
                      *SMALL[4:]],
    }[kind]  # fmt: skip
    code, _, complained = run(*command, "--out", "first")
    assert code == 0, complained
    record = read("first")
    assert {"read", "write"} <= set(record["seconds"])
    assert "blas" in record["versions"]
    assert "cores" in record["machine"]
    code, said, complained = run("rerun", "first", "--json")
    assert code == 0, complained
    found = json.loads(said)
    assert found["identical"] is True
    assert set(found["outputs"].values()) == {"identical byte for byte"}
    assert set(found["outputs"]) == {path.name for path in Path("first").iterdir()} - {"run.json", "checkpoint"}


def test_inputs_that_changed_are_refused_by_name(words: list[str], run: Run) -> None:
    assert run("fit", *words, *SMALL, "--out", "first")[0] == 0
    text = Path("pheno.csv").read_text()
    Path("pheno.csv").write_text(text + "\n")
    code, _, complained = run("rerun", "first", "--out", "again")
    assert code == 3
    assert "pheno.csv, the phenotypes of first, has changed since" in complained
    Path("pheno.csv").write_text(text)
    Path("relationship.csv").unlink()
    code, _, complained = run("rerun", "first", "--out", "again")
    assert code == 3
    assert "relationship.csv, the relationship of first, is missing" in complained
    assert not Path("again").exists()


def test_names_of_a_relationship_count(words: list[str], run: Run) -> None:
    relationship = bmtme.read_relationship("relationship.csv")
    bmtme.write_relationship(relationship, "kin.grm.bin")
    words[2] = "kin"
    assert run("fit", *words, *SMALL, "--out", "first")[0] == 0
    assert set(read("first")["inputs"]["relationship"]["sha256"]) == {"kin.grm.bin", "kin.grm.id", "kin.grm.N.bin"}
    names = Path("kin.grm.id").read_text().split("\n")
    Path("kin.grm.id").write_text("\n".join([names[1], names[0], *names[2:]]))
    code, _, complained = run("rerun", "first")
    assert code == 3
    assert "its file kin.grm.id has changed" in complained


def test_stage_one_comes_out_the_same_and_serves_a_fit(words: list[str], run: Run) -> None:
    assert run("adjust", "pheno.csv", *COLUMNS, "--traits", "T1", "--rep", "rep", "--out", "means")[0] == 0
    assert list(read("means")["seconds"]) == ["read", "fit", "write"]
    assert run("fit", "means", "--relationship", "relationship.csv", *SMALL, "--out", "first")[0] == 0
    code, said, complained = run("rerun", "means", "--out", "other")
    assert code == 0, complained
    assert "quantiles-E1.png" in said  # pictures, too
    shutil.rmtree("means")
    Path("other").rename("means")
    code, _, complained = run("rerun", "first")
    assert code == 0, complained


def test_damage_in_the_folder_is_told(words: list[str], run: Run) -> None:
    """What comes out is compared with what was written, and the folder has something else by now."""
    assert run("fit", *words, *SMALL, "--out", "first")[0] == 0
    assert " folder as recorded " in " ".join(run("rerun", "first")[1].split())
    with open("first/summary.csv", "a") as file:
        file.write("more\n")
    Path("first/predictions.csv").unlink()
    code, said, complained = run("rerun", "first", "--json")
    found = json.loads(said)
    assert (code, found["identical"]) == (0, True)
    assert found["damaged"] == {"predictions.csv": "missing", "summary.csv": "changed"}
    assert "first is not as it was written: 'predictions.csv' is missing, 'summary.csv' is changed." in complained
    assert run("extend", "first", "--more", "5")[0] == 3
    assert run("rerun", "first", "--out", "again")[0] == 0
    assert run("extend", "again", "--more", "5")[0] == 0
    code, said, _ = run("rerun", "again")
    assert code == 0
    assert " settings draws=35, as recorded " in " ".join(said.split())


def test_a_difference_is_measured(words: list[str], run: Run) -> None:
    """A record of other numbers: what was written, with a mean doubled, under a seal of its own."""
    assert run("fit", *words, *SMALL, "--keep-effects", "none", "--out", "first")[0] == 0
    record, added = read_seal(Path("first"))
    table = pd.read_csv("first/summary.csv")
    apart = abs(table["mean"][0]) / np.abs(np.r_[2 * table["mean"][0], table["mean"][1:]]).max()
    table.loc[0, "mean"] *= 2
    table.to_csv("first/summary.csv", index=False)
    Path("first/run.json").unlink()
    record["versions"]["numpy"] = "1.0"
    write_record(Path("first"), record, added["kind"], added["columns"])
    code, said, complained = run("rerun", "first", "--json")
    assert code == 1
    found = json.loads(said)
    assert found["identical"] is False
    assert found["outputs"]["summary.csv"] == f"different: by up to {apart:.2g} of the largest number of a column"
    assert found["outputs"]["idata.nc"] == "identical byte for byte"
    assert found["changed"] == {"numpy": ["1.0", np.__version__]}
    assert f"numpy 1.0, here {np.__version__}: digits may differ" in complained


def test_what_cannot_be_repeated_is_refused(words: list[str], run: Run) -> None:
    assert run("fit", *words, *SMALL, "--out", "first")[0] == 0
    bmtme.load("first").save("again")
    assert run("rerun", "again")[0] == 0  # it still knows its command
    assert run("rank", "first", "--trait", "T1", "--out", "ranked")[0] == 0
    code, _, complained = run("rerun", "ranked")
    assert code == 3
    assert "what 'bmtme rank' wrote" in complained
    trial = bmtme.read_trial("pheno.csv", line="line", env="env", traits=["T1"], rep="rep")
    bmtme.fit(trial, bmtme.read_relationship("relationship.csv"), draws=2, tune=0, chains=1).save("made")
    code, _, complained = run("rerun", "made")
    assert code == 3
    assert "made was written from Python" in complained
    code, _, complained = run("rerun", "nowhere")
    assert code == 3
    assert "nowhere holds no run.json" in complained
