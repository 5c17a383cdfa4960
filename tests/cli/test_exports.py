"""Files shaped as programs export them: from the file to `check` in one command, or a message that leads there."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bmtme.cli.main import main

LINES = ["TMS-14F1001", "TMS-14F1002", "TMEB419", "IITA 011", "0042"]
MATRIX = np.full((5, 5), 0.25) + np.diag([0.9, 1.0, 1.1, 0.8, 1.05])
Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command in the folder of the files: its status, and all it said on one line."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str]:
        code = main(list(words))
        said = capsys.readouterr()
        return code, " ".join((said.out + said.err).split())

    return call


@pytest.fixture
def plots(tmp_path: Path) -> list[str]:
    """A table of plots, and the words of `check` for it."""
    rng = np.random.default_rng(4)
    rows = [(line, env, rep, rng.normal(5, 1)) for env in ("N", "S") for rep in "12" for line in LINES]
    pd.DataFrame(rows, columns=["line", "env", "rep", "y"]).to_csv(tmp_path / "y.csv", index=False)
    return ["check", "y.csv", "--line", "line", "--env", "env", "--rep", "rep", "--traits", "y"]


def takes(answer: tuple[int, str]) -> bool:
    return answer[0] == 0 and "5 lines, among them all 5 lines with records" in answer[1]


def test_phenotypes_of_breedbase(tmp_path, ask):
    """Many columns about the trial in front, traits with the terms of an ontology behind."""
    about = "studyYear programDbId programName studyDbId studyName studyDesign plotWidth locationName germplasmDbId"
    columns = [*about.split(), "germplasmName", "replicate", "blockNumber", "plotNumber", "entryType"]
    traits = ["fresh root yield|CO_334:0000013", "dry matter content percentage|CO_334:0000092"]
    rng = np.random.default_rng(5)
    rows = []
    for site in ("Ibadan", "Mokwa"):
        for rep in (1, 2):
            for k, line in enumerate(LINES):
                front = [2019, 162, "IITA", 3, f"19.{site}", "RCBD", "", site, 100 + k, line, rep, rep]
                rows.append([*front, 100 * rep + k, "test", f"{rng.normal(20, 3):.1f}", "" if k == 2 else rng.normal()])
    pd.DataFrame(rows, columns=[*columns, *traits]).to_csv(tmp_path / "pheno.csv", index=False)
    words = ["check", "pheno.csv", "--line", "germplasmName", "--rep", "replicate", "--traits", ",".join(traits)]
    code, said = ask(*words, "--env", "locationName")
    assert code == 0
    assert "5 lines, 2 environments (Ibadan, Mokwa), 2 traits" in said
    code, said = ask(*words)
    assert code == 3
    assert "the column 'studyName' with 2 different entries ('19.Ibadan', '19.Mokwa')" in said


def test_relationships_of_breedbase(tmp_path, ask, plots):
    pd.DataFrame(MATRIX, LINES, LINES).to_csv(tmp_path / "grm.tsv", sep="\t", index_label="stock_uniquename")
    assert takes(ask(*plots, "--relationship", "grm.tsv"))
    rows = [(a, b, MATRIX[j, k]) for j, a in enumerate(LINES) for k, b in enumerate(LINES[: j + 1])]
    pd.DataFrame(rows).to_csv(tmp_path / "long.tsv", sep="\t", index=False, header=False)
    assert takes(ask(*plots, "--relationship", "long.tsv"))


def test_relationships_of_gcta_and_asreml(tmp_path, ask, plots):
    rows = "".join(f"{j + 1}\t{k + 1}\t900\t{MATRIX[j, k]}\n" for j in range(5) for k in range(j + 1))
    (tmp_path / "g.grm.gz").write_bytes(gzip.compress(rows.encode()))
    (tmp_path / "g.grm.id").write_text("".join(f"{line.replace(' ', '_')}\t1\n" for line in LINES))
    code, said = ask(*plots, "--relationship", "g.grm.gz", "--ids", "fid")
    assert code == 3
    assert "Mistyped? 'IITA 011' is nearly 'IITA_011'" in said
    assert takes(ask(*plots, "--relationship", "g.grm.gz", "--ids", "fid", "--drop-unrelated")) is False
    inverse = np.linalg.inv(MATRIX)
    rows = "".join(f"{j + 1} {k + 1} {inverse[j, k]}\n" for j in range(5) for k in range(j + 1))
    (tmp_path / "g.giv").write_text(rows)
    code, said = ask(*plots, "--relationship", "g.giv")
    assert code == 3
    assert "put these into g.giv.id beside it, one a row, in the order of the numbers" in said
    names = "".join(f"{line.replace(' ', '_')}\n" for line in LINES)
    (tmp_path / "g.giv.id").write_text(names)
    code, said = ask(*plots, "--relationship", "g.giv")
    assert (code, "Mistyped? 'IITA 011' is nearly 'IITA_011'" in said) == (3, True)


def test_a_workbook_with_two_header_rows(tmp_path, ask):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["Genotype", "Site", "Yield"])
    book.active.append([None, None, "t/ha"])
    for k, line in enumerate(LINES):
        book.active.append([line, "N", 5 + k / 2])
    book.save(tmp_path / "field.xlsx")
    words = ["check", "field.xlsx", "--line", "Genotype", "--env", "Site", "--traits", "Yield"]
    code, said = ask(*words)
    assert code == 3
    assert "1 row without a name in 'Genotype', 'Site' (row 2 of field.xlsx)" in said
    assert "If row 2 is part of the header (units, say), take it out." in said
    book.active.delete_rows(2)
    book.save(tmp_path / "field.xlsx")
    assert ask(*words)[0] == 0


#: As R writes the matrix G, and a data frame with its three columns of pairs.
WRITTEN_BY_R = {
    "write.csv(G, 'G.csv')": ("G.csv", ",", True),
    "write.table(G, 'G.txt')": ("G.txt", " ", False),
    "write.table(G, 'G.txt', sep = '\\t', col.names = NA)": ("G.txt", "\t", True),
    "write.table(G, 'G.csv', sep = ',')": ("G.csv", ",", False),
}


@pytest.mark.parametrize("call", WRITTEN_BY_R)
def test_matrices_of_r(tmp_path, ask, plots, call):
    file, sep, corner = WRITTEN_BY_R[call]
    quoted = [f'"{line}"' for line in LINES]
    rows = [sep.join([label, *map(repr, row.tolist())]) for label, row in zip(quoted, MATRIX, strict=True)]
    (tmp_path / file).write_text("\n".join([sep.join(['""'] * corner + quoted), *rows]) + "\n")
    assert takes(ask(*plots, "--relationship", file))


def test_pairs_of_r(tmp_path, ask, plots):
    """write.table(as.data.frame(as.table(G)), 'G.txt'): numbers of rows in front, without a header of their own."""
    pairs = [(a, b, MATRIX[j, k]) for k, b in enumerate(LINES) for j, a in enumerate(LINES)]
    rows = [f'"{n}" "{a}" "{b}" {value}' for n, (a, b, value) in enumerate(pairs, start=1)]
    (tmp_path / "G.txt").write_text("\n".join(['"Var1" "Var2" "Freq"', *rows]) + "\n")
    assert takes(ask(*plots, "--relationship", "G.txt"))
    rows = [f'"{n}","{a}","{b}",{value}' for n, (a, b, value) in enumerate(pairs, start=1)]
    (tmp_path / "G.csv").write_text("\n".join(['"","Var1","Var2","Freq"', *rows]) + "\n")  # write.csv
    assert takes(ask(*plots, "--relationship", "G.csv"))


def test_phenotypes_of_r(tmp_path, ask, plots):
    frame = pd.read_csv(tmp_path / "y.csv", dtype=str)
    quoted = frame.assign(line='"' + frame["line"] + '"', env='"' + frame["env"] + '"')
    rows = [f'"{n}" {" ".join(row)}' for n, row in enumerate(quoted.to_numpy(), start=1)]
    (tmp_path / "y.txt").write_text("\n".join(['"line" "env" "rep" "y"', *rows]) + "\n")
    words = ["y.txt" if word == "y.csv" else word for word in plots]
    code, said = ask(*words)
    assert (code, "5 lines, 2 environments (N, S), 1 trait (y)" in said) == (0, True)
    # write.csv2: semicolons and decimal commas.
    text = frame.assign(y=frame["y"].str.replace(".", ",")).to_csv(sep=";", quoting=2)
    (tmp_path / "y.csv").write_text(text)
    code, said = ask(*plots)
    assert (code, "--decimal ," in said) == (3, True)
    assert ask(*plots, "--decimal", ",")[0] == 0
    # Names as names of rows, which the header does not name.
    (tmp_path / "y.txt").write_text('"env" "y"\n' + "".join(f'"{line}" "N" 1.5\n' for line in LINES))
    code, said = ask("check", "y.txt", "--line", "line", "--env", "env", "--traits", "y")
    assert code == 3
    assert "R's write.table leaves out the header of the row names" in said


def test_an_object_of_r(tmp_path, ask, plots):
    (tmp_path / "G.rds").write_bytes(gzip.compress(b"X\n\x00\x00\x00\x03"))
    code, said = ask(*plots, "--relationship", "G.rds")
    assert code == 3
    assert (
        "G.rds cannot be read as a relationship matrix: by its ending it is an object of R: write the matrix with"
        in said
    )
    (tmp_path / "G.csv").write_bytes((tmp_path / "G.rds").read_bytes())
    code, said = ask(*plots, "--relationship", "G.csv")
    assert code == 3
    assert "G.csv holds a zero byte in row 2: by its first bytes it is an object of R: write it with write.csv" in said


def test_asreml_and_gcta(tmp_path, ask, plots):
    """With names that have no blanks, as these programs want: read as they are."""
    frame = pd.read_csv(tmp_path / "y.csv", dtype=str)
    frame.assign(line=frame["line"].str.replace(" ", "_")).to_csv(tmp_path / "y.csv", index=False)
    names = [line.replace(" ", "_") for line in LINES]
    inverse = np.linalg.inv(MATRIX)
    rows = "".join(f"{j + 1} {k + 1} {inverse[j, k]}\n" for j in range(5) for k in range(j + 1))
    (tmp_path / "g.giv").write_text(rows)
    (tmp_path / "g.giv.id").write_text("\n".join(names) + "\n")
    assert takes(ask(*plots, "--relationship", "g.giv"))
    rows = "".join(f"{j + 1}\t{k + 1}\t900\t{MATRIX[j, k]}\n" for j in range(5) for k in range(j + 1))
    (tmp_path / "h.grm.gz").write_bytes(gzip.compress(rows.encode()))
    (tmp_path / "h.grm.id").write_text("".join(f"0\t{name}\n" for name in names))
    assert takes(ask(*plots, "--relationship", "h"))


DART = "AlleleID,CloneID,AlleleSequence,SNP,CallRate,RepAvg"


def test_a_report_of_dart(tmp_path, ask, plots):
    """Rows of stars above the header, one row a marker; as a relationship it is told what to do."""
    rng = np.random.default_rng(2)
    rows = [f"*,*,*,*,*,*,{','.join(['DCas21-6035'] * 5)}", f"*,*,*,*,*,*,{','.join('ABCDE')}"]
    rows.append(f"{DART},{','.join(LINES)}")
    for m in range(30):
        codes = ["-" if code > 2 else str(code) for code in rng.integers(0, 4, 5)]
        rows.append(f"{m}|F|0-12:A>G-12:A>G,{m},TGCAGAC,12:A>G,0.9,1,{','.join(codes)}")
    (tmp_path / "Report_DCas21-6035_SNP_1.csv").write_text("\n".join(rows) + "\n")
    code, said = ask(*plots, "--relationship", "Report_DCas21-6035_SNP_1.csv")
    assert code == 3
    assert "holds genotypes, by its first row: make the relationship of them first, with bmtme grm" in said
    assert ask("grm", "Report_DCas21-6035_SNP_1.csv", "--out", "grm.csv")[0] == 0
    assert takes(ask(*plots, "--relationship", "grm.csv"))


@pytest.mark.parametrize("name", ["m.vcf.gz", "m.bed", "m.hmp.txt", "m.raw"])
def test_genotypes_as_the_relationship(tmp_path, ask, plots, name):
    (tmp_path / name).write_bytes(b"")
    code, said = ask(*plots, "--relationship", name)
    assert code == 3
    assert (
        f"{name} cannot be read as a relationship matrix: by its ending it is a file of genotypes: make the rel" in said
    )


def test_markers_as_the_relationship(tmp_path, ask, plots):
    codes = pd.DataFrame(np.random.default_rng(1).integers(0, 3, (5, 40)), LINES)
    codes.columns = pd.Index([f"m{k}" for k in range(40)])
    codes.to_csv(tmp_path / "m.csv")
    code, said = ask(*plots, "--relationship", "m.csv")
    assert code == 3
    assert "If it is a table of markers, make the matrix of it first: 'bmtme grm'" in said
