"""Marker files whose columns, scale or direction are not what they seem: PLINK's .raw, frequencies, markers in rows."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme import DataError, Markers, UsageError, fit, read_markers, read_relationship, read_trial, vanraden
from bmtme.cli.main import main
from bmtme.data.relationship.files import write_relationship
from tests.helpers.markers import codes_of

SIX = ["FID", "IID", "PAT", "MAT", "SEX", "PHENOTYPE"]


@pytest.fixture
def dosages() -> pd.DataFrame:
    """Copies of an allele of 12 lines at 15 markers."""
    codes = np.random.default_rng(8).integers(0, 3, (12, 15))
    return pd.DataFrame(codes, index=[f"q{j:02d}" for j in range(1, 13)], columns=[f"s{k}_A" for k in range(15)])


def raw(dosages: pd.DataFrame, fid: list[str] | None = None, iid: list[str] | None = None) -> pd.DataFrame:
    """The same as PLINK's .raw, with sexes 1 and 2 and no phenotype."""
    n = len(dosages)
    head = [fid or [f"F{j}" for j in range(n)], iid or list(dosages.index), 0, 0, [1, 2] * (n // 2), -9]
    return pd.DataFrame({**dict(zip(SIX, head, strict=True)), **dosages.reset_index(drop=True).to_dict("list")})


# --- PLINK's .raw -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "separator"),
    [("m.raw", "\t"), ("m.raw", " "), ("m.txt", "\t"), ("m.txt", " "), ("m.csv", ","), ("m.raw.gz", " ")],
)
def test_raw_of_plink(tmp_path, dosages, name, separator):
    table = raw(dosages).astype(object)
    table.loc[3, "s4_A"] = "NA"
    table.to_csv(tmp_path / name, sep=separator, index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        markers = read_markers(tmp_path / name)
    assert markers.lines == tuple(dosages.index)
    assert markers.names == tuple(dosages.columns)
    expected = dosages.to_numpy(dtype=float, copy=True)
    expected[3, 4] = np.nan
    np.testing.assert_array_equal(codes_of(markers), expected)


def test_raw_with_one_individual_id(tmp_path, dosages):
    raw(dosages, fid=list(dosages.index), iid=["1"] * 12).to_csv(tmp_path / "m.raw", sep="\t", index=False)
    with pytest.warns(UserWarning, match=r"second column of m.raw holds the individual's ID '1' throughout") as told:
        markers = read_markers(tmp_path / "m.raw")
    assert markers.lines == tuple(dosages.index)
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"iid": ["a", "a", *"cdefghijkl"]}, r"second column of m.raw names line 'a' twice \(families 'F0' and 'F1'\)"),
        ({"fid": ["1"] * 12, "iid": ["1"] * 12}, r"second column of m.raw names line '1' twice"),
        ({"iid": ["3.92752E+12", *"bcdefghijkl"]}, r"second column of m.raw holds '3.92752E\+12'"),
    ],
)
def test_raw_with_bad_ids(tmp_path, dosages, change, words):
    raw(dosages, **change).to_csv(tmp_path / "m.raw", sep=" ", index=False)
    with pytest.raises(DataError, match=words):
        read_markers(tmp_path / "m.raw")


def test_raw_with_heterozygotes(tmp_path, dosages):
    table = raw(dosages)
    for k in reversed(range(15)):
        table.insert(7 + k, f"s{k}_HET", (dosages[f"s{k}_A"] == 1).astype(int).to_numpy())
    table.to_csv(tmp_path / "m.raw", sep=" ", index=False)
    with pytest.warns(UserWarning, match=r"m.raw: 15 columns of heterozygotes \(_HET\) left out"):
        markers = read_markers(tmp_path / "m.raw")
    np.testing.assert_array_equal(codes_of(markers), dosages)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("line m1\na 1\n", r"m.raw is no .raw of PLINK: expected a header that begins FID IID PAT MAT SEX PHENOTYPE"),
        (" ".join([*SIX, "m1"]) + "\n", "m.raw has no rows below its header"),
        (" ".join([*SIX, "m1"]) + "\na a 0 0 1 -9 1\nb b 0 0 1 -9\n", "m.raw has 6 cells in row 3 but 7 in its head"),
        (" ".join([*SIX, "m1"]) + "\na a 0 0 1 -9 A\n", r"m.raw, row 2: the genotype of line 'a' at marker 'm1' is "),
        (" ".join([*SIX, "m1"]) + "\na a 0 0 1 -9 3\n", r"m.raw: the genotype of line 'a' at marker 'm1' is 3"),
    ],
)
def test_bad_raw(tmp_path, text, words):
    (tmp_path / "m.raw").write_text(text)
    with pytest.raises(DataError, match=words):
        read_markers(tmp_path / "m.raw")
    if "A\n" in text:
        with pytest.raises(UsageError, match=r"m.raw says itself what its genotypes are"):
            read_markers(tmp_path / "m.raw", coding="012")


def test_columns_of_plink_are_no_markers(tmp_path, dosages):
    raw(dosages).drop(columns="FID").to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(DataError, match=r"m.csv has the columns 'PAT', 'MAT', 'SEX', 'PHENOTYPE' beside the markers"):
        read_markers(tmp_path / "m.csv")


@pytest.mark.parametrize("name", ["m.ped", "m.traw", "m.bgen", "m.xlsx", "m.h5"])
def test_formats_that_are_not_read(tmp_path, name):
    (tmp_path / name).write_text("a,m\nb,1\n")
    with pytest.raises(DataError, match=rf"{name} cannot be read as markers: .*(convert|write|save|export) "):
        read_markers(tmp_path / name)


def test_family_id_where_individuals_have_one_in_other_files(tmp_path):
    relationship = vanraden(pd.DataFrame(np.eye(3), index=list("abc")).assign(m=[0, 1, 2]))
    write_relationship(relationship, tmp_path / "g.grm.bin")
    (tmp_path / "g.grm.id").write_text("a 1\nb 1\nc 1\n")
    with pytest.warns(UserWarning, match=r"second column of g.grm.id holds the individual's ID '1' throughout") as told:
        assert read_relationship(tmp_path / "g.grm.bin").lines == ("a", "b", "c")
    assert told[0].filename == __file__


# --- scales -----------------------------------------------------------------------------------------------------


def test_frequencies_are_asked_about(tmp_path, dosages):
    halves = dosages / 2
    halves.to_csv(tmp_path / "f.csv")
    words = r"the genotypes go from 0 to 1, with values between: are they frequencies .* Say coding='01'"
    with pytest.raises(DataError, match=words):
        read_markers(tmp_path / "f.csv")
    with pytest.raises(DataError, match=words):
        vanraden(halves)
    assert main(["grm", str(tmp_path / "f.csv"), "--out", str(tmp_path / "g.csv")]) == 3
    assert not (tmp_path / "g.csv").exists()
    as_copies = vanraden(read_markers(tmp_path / "f.csv", coding="01"), method=2)
    np.testing.assert_allclose(as_copies.matrix, vanraden(dosages, method=2).matrix, atol=1e-12)
    np.testing.assert_array_equal(codes_of(read_markers(tmp_path / "f.csv", coding="012")), halves)


@pytest.mark.parametrize("scale", [0.4, 0.25, 0.9])
def test_centred_codes_are_asked_about(dosages, scale):
    centred = (dosages - dosages.mean()) * scale
    with pytest.raises(DataError, match=r"the genotypes? .*([Aa]re they|If they are) centred or scaled"):
        Markers.from_frame(centred)


def test_codes_that_do_not_reach_minus_one_are_asked_about():
    with pytest.raises(DataError, match=r"the genotypes go from -0.5 to 1: are they centred or scaled\?"):
        Markers.from_frame(pd.DataFrame([[-0.5, 1.0], [1.0, 0.5], [0.0, -0.5]], index=list("abc")))


def test_usual_scales_are_not_asked_about(dosages):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Markers.from_frame(dosages)
        Markers.from_frame(dosages.astype(float).mask(dosages == 1, 1.03))
        Markers.from_frame((dosages - 1) * 1.0, coding="-101")
    with pytest.warns(UserWarning, match="the codes lie between -1 and 1 and are taken as"):
        Markers.from_frame(dosages - 1)
    with pytest.warns(UserWarning, match="the only codes are 0 and 1"):
        Markers.from_frame(dosages.clip(upper=1))


# --- direction --------------------------------------------------------------------------------------------------


def test_markers_in_rows_are_asked_about(tmp_path, dosages):
    turned = pd.concat([dosages.T, dosages.T.rename(lambda name: name + "2")])
    turned.to_csv(tmp_path / "m.csv")
    words = r"30 rows \(s0_A, s1_A, s2_A and 27 more\) are taken as lines and 12 columns \(q01, .*\) as markers"
    with pytest.warns(UserWarning, match=words) as told:
        read_markers(tmp_path / "m.csv")
    assert told[0].filename == __file__
    np.savez(tmp_path / "m.npz", markers=turned.to_numpy(), line=turned.index.to_numpy(dtype=str))
    for attempt in (lambda: read_markers(tmp_path / "m.npz"), lambda: Markers.from_frame(turned)):
        with pytest.warns(UserWarning, match=r"30 rows .* are taken as lines"):
            attempt()
    turned.rename_axis("SNP_ID").to_csv(tmp_path / "headed.csv")
    with pytest.raises(DataError, match=r"headed.csv has 'SNP_ID' at the head of its first column, so that its rows"):
        read_markers(tmp_path / "headed.csv")


def test_names_of_markers_in_a_relationship(tmp_path, dosages, capsys):
    plots = pd.DataFrame({"line": dosages.index, "env": "E", "y": np.arange(12.0) + 0.5})
    plots.to_csv(tmp_path / "y.csv", index=False)
    trial = read_trial(tmp_path / "y.csv", line="line", env="env")
    words = r"12 lines have records .* such as 's0_A', 's1_A', 's2_A': if these are markers, it was made of a table"
    with pytest.raises(DataError, match=words):
        fit(trial, vanraden(dosages.T))
    write_relationship(vanraden(dosages.T), tmp_path / "g.csv")
    options = ["--line", "line", "--env", "env", "--traits", "y", "--relationship"]
    assert main(["check", str(tmp_path / "y.csv"), *options, str(tmp_path / "g.csv")]) == 3
    assert "If these are markers, the relationship was made" in " ".join(capsys.readouterr().out.split())
    dosages.to_csv(tmp_path / "m.csv")
    with pytest.raises(DataError, match=r"If it is a table of markers, make the matrix of it first: 'bmtme grm'"):
        read_relationship(tmp_path / "m.csv")


@pytest.mark.parametrize("name", ["barley_steptoe_morex152/markers.npz", "wheat599/markers.npz"])
def test_real_markers_raise_no_question(data_file, name: str):
    path: Path = data_file(name)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        read_markers(path)
    assert all("the only codes are 0 and 1" in str(each.message) for each in told)
