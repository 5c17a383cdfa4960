"""Parsers of the files of public data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bmtme.datasets import parsers
from bmtme.datasets.sources import SOURCES


def parse(name: str, monkeypatch: pytest.MonkeyPatch, **objects: dict[str, object]) -> parsers.Parts:
    """Parse R objects by the names of their files (a point written as two underscores)."""
    files = {file.name: Path(file.name) for file in SOURCES[name].files}
    by_file = {file.replace("__", "."): held for file, held in objects.items()}
    monkeypatch.setattr(parsers, "read_r", lambda path: by_file[path.name])
    return parsers.PARSERS[name](files)


def matrix(values: object, rows: list[str] | None, columns: list[str] | None) -> xr.DataArray:
    """As rdata gives a matrix with names."""
    names = {"dim_0": rows, "dim_1": columns}
    coords = {dim: name for dim, name in names.items() if name is not None}
    return xr.DataArray(np.asarray(values, dtype=float), dims=["dim_0", "dim_1"], coords=coords)


def test_steptoe_morex(tmp_path, monkeypatch):
    table = tmp_path / "steptoe.morex.pheno.txt"
    table.write_text("gen\tenv\tamylase\tyield\nSM1\tMN92\tNA\t5.5\nSM2\tMN92\t22.7\t6\n")
    genotypes = {"1": {"data": matrix([[1, 2], [2, np.nan]], None, ["m1", "m2"])}}
    cross = {"pheno": pd.DataFrame({"gen": ["SM1", "SM2"]}), "geno": genotypes}
    monkeypatch.setattr(parsers, "read_r", lambda path: {"steptoe.morex.geno": cross})
    with pytest.warns(UserWarning, match="1 of 2 markers"):
        parts = parsers.PARSERS["barley_steptoe_morex152"](
            {"steptoe.morex.pheno.txt": table, "steptoe.morex.geno.rda": Path("x")}
        )
    assert list(parts.frame.columns) == ["line", "env", "amylase", "yield"]
    np.testing.assert_array_equal(parts.frame["amylase"], [np.nan, 22.7])
    np.testing.assert_array_equal(parts.markers.to_numpy(), [[0, 2], [2, np.nan]])
    assert parts.relationship.lines == ("SM1", "SM2")


def test_belamkar(tmp_path):
    path = tmp_path / "belamkar.augmented.txt"
    path.write_text(
        '"loc"\t"rep"\t"iblock"\t"gen_new"\t"gen_check"\t"gen"\t"col"\t"row"\t"yield"\n'
        '"Alliance"\t"R1"\t"I01"\t0\t"Camelot"\t"Camelot"\t1\t16\t71.4\n'
        '"Alliance"\t"R1"\t"I01"\t1\t"0"\t"007"\t1\t17\tNA\n'
    )
    frame = parsers.PARSERS["belamkar_augmented"]({path.name: path}).frame
    assert frame["line"].tolist() == ["Camelot", "007"]
    assert frame["block"].tolist() == ["I01", "I01"]
    np.testing.assert_array_equal(frame["yield"], [71.4, np.nan])


def test_gryphon(monkeypatch):
    animals = pd.DataFrame(
        {"ID": [5, 6], "sex": ["1", "2"], "year": ["968", "970"], "mother": ["1", "1"], "BWT": [1.0, np.nan]}
    ).assign(TARSUS=[np.nan, 2.0])
    pedigree = pd.DataFrame(
        {"ID": [1, 5], "Dam": pd.array([None, 1], "Int32"), "Sire": pd.array([None, None], "Int32")}
    )
    objects = {"Gryphon_df": animals.astype({"ID": "Int32", "sex": "category"}), "Gryphon_pedigree": pedigree}
    parts = parse("gryphon", monkeypatch, Gryphon__RData=objects)
    assert parts.frame["line"].tolist() == ["5", "6"]
    assert parts.frame["env"].tolist() == ["all", "all"]
    assert parts.pedigree.to_numpy().tolist() == [["1", None, None], ["5", None, "1"]]  # id, sire, dam


def test_maize(monkeypatch):
    rows = [(line, env, trait) for trait in ("Yield", "ASI", "PH") for env in ("B", "A") for line in ("L2", "L1")]
    long = pd.DataFrame(rows, columns=["Line", "Env", "Trait"])
    long["Response"] = np.arange(12.0)
    long["Line"] = pd.Categorical(long["Line"], categories=["L1", "L2"])
    objects = {"Maize_GFR": long, "Maize_GenomicMatrix": matrix([[1, 0.2], [0.2, 2]], ["V1", "V2"], ["V1", "V2"])}
    parts = parse("maize309_mtme", monkeypatch, Maize_GFR__rda=objects)
    assert parts.frame.to_numpy().tolist() == [
        ["L2", "B", 0, 4, 8],
        ["L1", "B", 1, 5, 9],
        ["L2", "A", 2, 6, 10],
        ["L1", "A", 3, 7, 11],
    ]
    assert parts.relationship.lines == ("L1", "L2")  # the levels of the factor, not the rows
    assert parts.relationship.matrix[1, 1] == 2


def test_potato(tmp_path):
    texts = {
        "pheno1a.csv": "env,id,block,total.yield,vine.maturity,fry.color,stand.count\nH15,007,2,68.1,8,NA,15\n",
        "pheno1b.csv": "env,expt,row,range,id,total.yield,vine.maturity,fry.color,stand.count\n"
        "H20,x,1,4,W,44,3,58,15\n",
        "ped.csv": "id,parent1,parent2\n007,NA,NA\nW,007,NA\n",
    }
    files = {name: tmp_path / name for name in texts}
    for name, path in files.items():
        path.write_text(texts[name])
    parts = parsers.PARSERS["potato_hancock"](files)
    assert parts.frame["line"].tolist() == ["007", "W"]
    assert parts.frame["col"].tolist() == [pd.NA, 4]
    assert parts.pedigree["parent1"].fillna("").tolist() == ["", "007"]


def test_wheat250_mends_the_swapped_names(monkeypatch):
    first = pd.DataFrame({"Gid": [1, 2, 1, 2], "Env": ["Bed5IR", "Bed5IR", "Bed2IR", "Bed2IR"]})
    first["DTHD"], first["PTHT"] = [1.0, 2, 3, 4], [5.0, 6, 7, 8]
    rows = [(gid, trait, env) for trait in ("DH", "GY", "NDVI", "PH") for env in ("Bed2IR", "Bed5IR") for gid in (1, 2)]
    long = pd.DataFrame(rows, columns=["GID", "Trait", "Env"])
    long["Response"] = [1.0, 2, 3, 4, 10, 20, 30, 40, 0.1, 0.2, 0.3, 0.4, 5, 6, 7, 8]
    related = pd.DataFrame(np.eye(2), index=["1", "2"], columns=["1", "2"])
    parts = parse(
        "wheat250_mtme",
        monkeypatch,
        MultiEnvWheat__RData={"Trigo.Data": first, "G": related},
        Wheat_IBCF__rda={"Wheat_IBCF": long},
    )
    assert parts.frame.to_numpy().tolist() == [
        ["1", "Bed5IR", 1, 10, 0.1, 5, "Bed2IR"],
        ["2", "Bed5IR", 2, 20, 0.2, 6, "Bed2IR"],
        ["1", "Bed2IR", 3, 30, 0.3, 7, "Bed5IR"],
        ["2", "Bed2IR", 4, 40, 0.4, 8, "Bed5IR"],
    ]


def test_wheat599(monkeypatch):
    lines = ["775", "2166", "2167"]
    objects = {
        "wheat.Y": matrix([[1, 2], [3, 4], [5, 6]], lines, ["1", "4"]),
        "wheat.X": matrix([[0, 1], [1, 1], [1, 0]], None, ["m1", "m2"]),
        "wheat.A": matrix(2 * np.eye(3), lines, lines),
        "wheat.sets": np.array([1, 2, 3]),
    }
    parts = parse("wheat599", monkeypatch, wheat__RData=objects)
    assert parts.frame["env"].tolist() == ["E1"] * 3 + ["E4"] * 3
    assert parts.frame["GY"].tolist() == [1, 3, 5, 2, 4, 6]
    assert parts.frame["cv_set"].tolist() == [1, 2, 3, 1, 2, 3]
    # markers standardised by their own SD: (-2, 1, 1) / sqrt(3) and (1, 1, -2) / sqrt(3)
    np.testing.assert_allclose(parts.relationship.matrix[0], [(4 + 1) / 6, (-2 + 1) / 6, (-2 - 2) / 6], atol=1e-15)
    assert parts.others["A_pedigree"].matrix[0, 0] == 2


def test_toy_with_a_named_matrix(monkeypatch):
    pheno = pd.DataFrame({"Line": ["a", "b"], "Env": ["E", "E"], "Yield": [1.0, 2], "ASI": [1.0, 2], "PH": [1.0, 2]})
    objects = {"phenoMaizeToy": pheno, "genoMaizeToy": matrix(np.eye(2), ["b", "a"], ["b", "a"])}
    parts = parse("toys/MaizeToy", monkeypatch, MaizeToy__rda=objects)
    assert list(parts.frame.columns) == ["line", "env", "Yield", "ASI", "PH"]
    assert parts.relationship.lines == ("b", "a")
