"""An inverse given in place of the relationship is asked about; relationships are not."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from bmtme import Relationship, Trial, pedigree_relationship, read_relationship, vanraden
from bmtme.cli.main import main
from bmtme.data.relationship.inverse import describe_inverse
from bmtme.data.relationship.pedigree import pedigree_inverse
from bmtme.data.relationship.pedigree_table import read_pedigree


def half_sibs(sires: int = 6, each: int = 5) -> pd.DataFrame:
    rows = [(f"s{i}", None, None) for i in range(sires)]
    rows += [(f"o{i}{j}", f"s{i}", None) for i in range(sires) for j in range(each)]
    return pd.DataFrame(rows, columns=["id", "sire", "dam"])


def families(seed: int, inbred: bool = False) -> pd.DataFrame:
    """Markers of eight families of six lines."""
    rng = np.random.default_rng(seed)
    frequencies = np.clip(rng.beta(1, 1, 400), 0.05, 0.95)
    drawn = [np.clip(rng.normal(frequencies, 0.2), 0.02, 0.98) for _ in range(8)]
    codes = np.vstack([2 * rng.binomial(1, f, (6, 400)) if inbred else rng.binomial(2, f, (6, 400)) for f in drawn])
    return pd.DataFrame(codes, index=[f"L{j:02d}" for j in range(48)])


def unrelated(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    codes = rng.binomial(2, rng.uniform(0.1, 0.9, 200), (24, 200))
    return pd.DataFrame(codes, index=[f"q{j:02d}" for j in range(24)])


def quiet_vanraden(markers: pd.DataFrame, method: int = 1) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # markers with one allele
        return vanraden(markers, method=method).matrix


def test_the_inverse_of_a_pedigree():
    pedigree = half_sibs()
    inverse = pedigree_inverse(pedigree)
    assert "most entries off its diagonal are zero or negative" in (describe_inverse(inverse.matrix.toarray()) or "")
    assert describe_inverse(pedigree_relationship(pedigree).matrix) is None
    with pytest.warns(UserWarning, match=r"the relationship matrix: the matrix looks like the inverse of a") as told:
        Relationship(inverse.matrix.toarray(), lines=inverse.lines)
    assert told[0].filename == __file__


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("inbred", [False, True])
@pytest.mark.parametrize("method", [1, 2])
def test_the_inverse_of_a_genomic_relationship(seed, inbred, method):
    G = quiet_vanraden(families(seed, inbred), method)
    for weight in (0.0, 0.02, 0.1):
        blended = (1 - weight) * G + weight * np.eye(len(G))
        assert describe_inverse(blended) is None
        assert describe_inverse(0.2 * blended + 0.1) is None  # another scale and origin
        if weight and not inbred:  # six inbred lines a family are at the limit of what can be told
            assert "strong entries off its diagonal are negative" in (describe_inverse(np.linalg.inv(blended)) or "")


@pytest.mark.parametrize("seed", range(4))
def test_the_inverse_of_unrelated_lines(seed):
    G = quiet_vanraden(unrelated(seed))
    blended = G + 0.05 * np.eye(24)
    assert describe_inverse(blended) is None
    assert "all its rows have the same large sum" in (describe_inverse(np.linalg.inv(blended)) or "")


def test_relationships_of_a_simple_kind():
    identity = np.eye(12)
    crosses = pd.DataFrame([("p", None, None), ("q", None, None), *((f"c{j}", "p", "q") for j in range(20))])
    crosses.columns = ["id", "sire", "dam"]
    kinds = [identity, 2 * identity, identity + 1, 0.5 * identity + 0.5, 0.2 * identity]
    kinds += [pedigree_relationship(crosses).matrix, pedigree_relationship(crosses, selfing=5).matrix]
    outcrosses = [("p", None, None), ("q", None, None), ("r", None, None), ("f", "p", "q")]
    outcrosses += [(f"c{j}", "r", "f") for j in range(20)]
    three_way = pd.DataFrame(outcrosses, columns=["id", "sire", "dam"])
    kinds += [pedigree_relationship(three_way, separate_sexes=False).matrix]  # p and q stand apart from all others
    kinds += [matrix[2:, 2:] for matrix in kinds]
    kinds += [np.kron(np.eye(4), 0.5 * np.eye(5) + 0.5), 1 + 0.1 * np.eye(30), np.eye(2), np.array([[2.0]])]
    assert [describe_inverse(matrix) for matrix in kinds] == [None] * len(kinds)


def test_blocks_of_rows_do_not_matter(monkeypatch):
    inverse = np.linalg.inv(quiet_vanraden(families(1)) + 0.05 * np.eye(48))
    text = describe_inverse(inverse)
    monkeypatch.setattr("bmtme.data.relationship.inverse._BLOCK", 5)
    assert text is not None
    assert describe_inverse(inverse) == text


def test_an_inverse_in_the_shell(tmp_path, capsys):
    inverse = pedigree_inverse(half_sibs())
    lines = list(inverse.lines)
    pd.DataFrame(inverse.matrix.toarray(), index=lines, columns=lines).to_csv(tmp_path / "g.csv")
    with pytest.warns(UserWarning, match=r"g.csv: the matrix looks like the inverse of a relationship") as told:
        relationship = read_relationship(tmp_path / "g.csv")
    assert told[0].filename == __file__
    frame = pd.DataFrame({"line": lines, "env": "E", "y": np.sqrt(np.arange(len(lines)))})
    frame.to_csv(tmp_path / "y.csv", index=False)
    words = ["check", "y.csv", "--line", "line", "--env", "env", "--traits", "y", "--relationship", "g.csv"]
    assert main([str(tmp_path / word) if word.endswith(".csv") else word for word in words]) == 0
    captured = capsys.readouterr()
    assert "looks like the inverse of a relationship" in " ".join(captured.out.split())
    assert captured.err == ""
    findings = Trial.from_frame(frame, line="line", env="env").check(relationship).findings
    assert (findings["kind"] == "inverse").sum() == 1


def test_a_mean_diagonal_far_from_usual_is_a_note():
    G = Relationship(quiet_vanraden(families(2)) * 40 + 0.1, lines=families(2).index)
    frame = pd.DataFrame({"line": G.lines, "env": "E", "y": np.arange(48) + 0.5})
    trial = Trial.from_frame(frame, line="line", env="env")
    finding = trial.check(G).findings.set_index("kind").loc["mean diagonal"]
    assert finding["severity"] == "note"
    assert "mean diagonal" not in set(trial.check(Relationship(G.matrix / 40, lines=G.lines)).findings["kind"])


@pytest.mark.parametrize(
    "name",
    [
        "maize309_mtme/grm.csv.gz",
        "wheat250_mtme/grm.csv.gz",
        "wheat599/grm.csv.gz",
        "wheat599/A_pedigree.csv.gz",
        "barley_steptoe_morex152/grm.csv.gz",
    ],
)
def test_real_relationships_and_their_inverses(data_file: Callable[[str], object], name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        G = read_relationship(data_file(name)).matrix
    assert 0.05 <= G.diagonal().mean() <= 3
    assert describe_inverse(np.linalg.inv(0.98 * G + 0.02 * np.eye(len(G)))) is not None


@pytest.mark.parametrize(
    ("name", "columns"), [("gryphon", ("id", "sire", "dam")), ("potato_hancock", ("id", "parent1", "parent2"))]
)
def test_real_pedigrees_and_their_inverses(data_file: Callable[[str], object], name: str, columns: tuple[str, ...]):
    pedigree = read_pedigree(data_file(f"{name}/pedigree.csv"), *columns)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pedigree_relationship(pedigree, *columns, separate_sexes=False)
    inverse = pedigree_inverse(pedigree, *columns, separate_sexes=False)
    assert describe_inverse(inverse.matrix.toarray()) is not None
