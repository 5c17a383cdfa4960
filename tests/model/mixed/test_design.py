"""Where records lie in terms and sections: small designs by hand, any order of rows, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bmtme
from bmtme.data.tables.cells import NumberFormat
from bmtme.data.tables.files import Table
from bmtme.errors import BmtmeError, DataError, UsageError
from bmtme.model.mixed.design import lay_out
from bmtme.model.mixed.fixed import parse_fixed
from bmtme.model.mixed.parser import parse_random, parse_residual
from bmtme.model.mixed.plots import Plots, guess_numbers
from bmtme.results.mixed.problem import make_problem

#: Two sites; site B has a missing plot, and a plot without a value; the columns are numbers as text.
FIELD = pd.DataFrame(
    [
        ("A", "1", "1", "g1", 1.0, 5.0),
        ("A", "1", "2", "g2", 2.0, 6.0),
        ("A", "2", "1", "g3", 3.0, np.nan),
        ("A", "2", "2", "g1", 4.0, 8.0),
        ("B", "3", "1", "g2", 5.0, 9.0),
        ("B", "3", "3", "g3", np.nan, np.nan),
        ("B", "5", "2", "g1", 7.0, 11.0),
        ("B", "5", "10", "g2", 8.0, 12.0),
    ],
    columns=["site", "col", "row", "gen", "yield", "height"],
)


def lay(fixed="yield ~ site", random=None, residual="units", plots=FIELD, known=None, weights=None):
    return lay_out(
        parse_fixed(fixed), parse_random(random), parse_residual(residual), known or {}, Plots.of(plots), weights
    )


def find(layout, **where):
    """Place of the record of a plot in the layout."""
    plots = layout.plots.table.frame
    row = next(k for k in range(len(plots)) if all(plots.iloc[k][name] == value for name, value in where.items()))
    return layout.rows.tolist().index(row)


def test_fixed_columns_by_hand():
    layout = lay("yield ~ site + gen:site")
    wanted = [
        [1.0, site == "B", (gen == "g2") * (site == "A"), (gen == "g3") * (site == "A"), (gen == "g2") * (site == "B")]
        for site, gen in zip(FIELD["site"].iloc[layout.rows], FIELD["gen"].iloc[layout.rows], strict=True)
    ]
    columns = list(layout.columns.names)
    places = [
        columns.index(name)
        for name in ("Intercept", "site[T.B]", "gen[T.g2]:site[A]", "gen[T.g3]:site[A]", "gen[T.g2]:site[B]")
    ]
    np.testing.assert_array_equal(layout.columns.matrix.toarray()[:, places], wanted)
    assert layout.columns.terms["site"] == slice(1, 2)
    np.testing.assert_array_equal(layout.y, FIELD["yield"].to_numpy()[layout.rows])
    assert 5 not in layout.rows  # without a value


def test_random_terms_by_hand():
    layout = lay(random='at(site):col + at(site, "B"):row + us(site):gen')
    names = ['at(site, "A"):col', 'at(site, "B"):col', 'at(site, "B"):row', "us(site):gen"]
    assert [design.name for design in layout.random] == names
    a, b, row, cross = layout.random
    assert a.axes[0].levels == ("1", "2")
    assert b.axes[0].levels == ("3", "5")
    assert row.axes[0].levels == ("1", "2", "10")
    assert [axis.levels for axis in cross.axes] == [("A", "B"), ("g1", "g2", "g3")]
    first, last = find(layout, site="A", col="2", row="1"), find(layout, site="B", row="10")
    assert [design.cells[first] for design in layout.random] == [1, -1, -1, 2]
    assert [design.cells[last] for design in layout.random] == [-1, 1, 2, 4]


def test_a_field_is_filled_to_a_grid():
    layout = lay(residual="ar1(col):ar1(row) | site")
    A, B = layout.residual
    assert [A.name, B.name] == ['at(site, "A"):ar1(col):ar1(row):units', 'at(site, "B"):ar1(col):ar1(row):units']
    assert [axis.levels for axis in A.axes] == [("1", "2"), ("1", "2")]
    assert B.axes[0].levels == ("3", "4", "5")  # no plot has column 4
    assert B.axes[1].levels == tuple(map(str, range(1, 11)))
    assert B.cells[find(layout, site="B", row="10")] == 2 * 10 + 9
    assert sorted(A.cells[A.cells >= 0]) == [0, 1, 2, 3]
    assert set(B.cells) == {-1, 0, 21, 29}


def test_sections_of_different_structure():
    layout = lay(residual='at(site, "B"):col:ar1(row) + at(site, "A"):units')
    A, B = layout.residual  # sorted by name
    assert (A.name, B.name) == ('at(site, "A"):units', 'at(site, "B"):col:ar1(row):units')
    assert [len(axis.levels) for axis in B.axes] == [2, 10]


def test_variances_of_units_are_sections():
    split, diagonal = lay(residual="units | site"), lay(residual="diag(site):units")
    assert [design.name for design in split.residual] == [design.name for design in diagonal.residual]
    for one, other in zip(split.residual, diagonal.residual, strict=True):
        np.testing.assert_array_equal(one.cells, other.cells)


def test_several_traits_keep_what_is_missing():
    layout = lay("yield + height ~ trait", "us(trait):gen", "us(trait):units")
    assert layout.trait is not None
    assert layout.trait.levels == ("yield", "height")
    assert len(layout.y) == 7 + 6
    units = layout.residual[0]
    assert [len(axis.levels) for axis in units.axes] == [2, 7]  # one plot has neither
    pairs = {(int(layout.rows[k]), int(layout.trait.codes[k])): units.cells[k] for k in range(len(layout.y))}
    for row in (0, 1, 3, 4, 6, 7):
        assert pairs[row, 1] == pairs[row, 0] + 7
    assert (2, 1) not in pairs
    cell = layout.random[0].cells[[k for k in range(13) if layout.rows[k] == 7]]
    assert sorted(cell) == [1, 3 + 1]


def test_rows_in_any_order_give_the_same_arrays():
    words = {"fixed": "yield ~ site + height", "random": "us(site):gen", "residual": "ar1(col):ar1(row) | site"}
    plots = FIELD.assign(height=FIELD["height"].fillna(3.0))
    one = lay(**words, plots=plots)
    for seed in range(3):
        other = lay(**words, plots=plots.sample(frac=1, random_state=seed))
        np.testing.assert_array_equal(one.y, other.y)
        np.testing.assert_array_equal(one.columns.matrix.toarray(), other.columns.matrix.toarray())
        for a, b in zip((*one.random, *one.residual), (*other.random, *other.residual), strict=True):
            np.testing.assert_array_equal(a.cells, b.cells)


def test_known_levels_are_matched_by_name():
    G = bmtme.Relationship(np.array([[1.0, 0.2, 0.1], [0.2, 1.1, 0.3], [0.1, 0.3, 0.9]]), ["g3", "new", "g1"])
    plots = FIELD[FIELD["gen"] != "g2"]
    layout = lay("yield ~ 1", "known(gen)", plots=plots, known={"gen": G})
    (design,) = layout.random
    assert design.axes[0].levels == ("g3", "new", "g1")
    assert [design.cells[find(layout, site="A", row=row, col="2")] for row in "12"] == [0, 2]
    precision = design.axes[0].precision
    assert precision is not None
    np.testing.assert_allclose(precision.matrix.toarray() @ G.matrix, np.eye(3), atol=1e-12)
    assert precision.log_det == pytest.approx(np.linalg.slogdet(G.matrix)[1])


def test_relationships_of_every_kind_agree():
    pedigree = pd.DataFrame({"id": ["g1", "g2", "g3"], "sire": ["", "g1", "g1"], "dam": ["", "", "g2"]})
    A = bmtme.pedigree_relationship(pedigree, separate_sexes=False)
    frame = pd.DataFrame(A.matrix, A.lines, A.lines).iloc[::-1]
    found = []
    for value in (A, frame, pedigree, bmtme.pedigree_inverse(pedigree, separate_sexes=False)):
        precision = lay("yield ~ 1", "known(gen)", known={"gen": value}).random[0].axes[0].precision
        assert precision is not None
        order = np.argsort(precision.levels)
        found.append((precision.matrix.toarray()[np.ix_(order, order)], precision.log_det, precision.diagonal[order]))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-10)


def test_numbers_are_covariates_and_names_are_factors():
    plots = FIELD.assign(year=[2019, 2019, 2020, 2020, 2019, 2019, 2020, 2020])
    assert lay("yield ~ year", plots=plots).columns.names == ("Intercept", "year")
    assert lay("yield ~ C(year)", plots=plots).columns.names == ("Intercept", "C(year)[T.2020]")
    assert lay("yield ~ year", plots=plots).columns.covariates == ("year",)
    assert lay("yield ~ C(year)", plots=plots).columns.covariates == ()
    assert lay("log(yield) ~ center(year) + gen", plots=plots).columns.covariates == ("center(year)",)
    assert lay("yield ~ 1", "year", plots=plots).random[0].axes[0].levels == ("2019", "2020")
    order = plots.assign(gen=pd.Categorical(plots["gen"], ["g3", "g1", "g2", "g9"]))
    assert lay("yield ~ gen", plots=order).columns.names == ("Intercept", "gen[T.g1]", "gen[T.g2]")


def test_columns_of_files_that_are_numbers():
    cells = {
        "line": ["001", "002", "003"],
        "site": ["1", "2", "2"],
        "y": ["1,5", "x", " -2e1 "],
        "z": ["", "NA", "."],
        "w": ["1", "", "b"],
    }
    table = Table(pd.DataFrame(cells, dtype=object), "plots.csv", form=NumberFormat(",", ("x",)))
    frame = guess_numbers(table)
    assert frame["line"].tolist() == ["001", "002", "003"]
    assert frame["site"].tolist() == [1.0, 2.0, 2.0]
    np.testing.assert_array_equal(frame["y"], [1.5, np.nan, -20.0])
    assert frame["w"].fillna("-").tolist() == ["1", "-", "b"]
    assert frame["z"].fillna("-").tolist() == ["-", "NA", "."]  # as names, which are asked about
    assert table.frame["y"].tolist() == cells["y"]


def test_a_number_that_divides_plots_is_asked_about(recwarn):
    plots = FIELD.assign(site=[1, 1, 1, 1, 2, 2, 2, 2])
    lay("yield ~ C(site)", residual="units | site", plots=plots)
    lay("yield ~ site", "gen", plots=plots)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="'site' holds numbers and is a covariate in the fixed formula"):
        lay("yield ~ site", residual="units | site", plots=plots)


def test_a_level_like_a_code_for_missing_is_asked_about():
    with pytest.warns(UserWarning, match="'NA' in the column 'gen' of the table is taken as a level"):
        layout = lay(random="gen", plots=FIELD.assign(gen=["NA", *FIELD["gen"][1:]]))
    assert layout.random[0].axes[0].levels == ("NA", "g1", "g2", "g3")


def test_columns_named_like_words_of_python():
    plots = FIELD.assign(**{"class": FIELD["gen"], "plot no": range(8)})
    layout = lay("log(yield) ~ C(class) + log(yield + 1) + `plot no`", plots=plots)
    assert layout.columns.names == ("Intercept", "C(class)[T.g2]", "C(class)[T.g3]", "log(yield + 1)", "plot no")
    assert list(layout.columns.terms) == ["Intercept", "C(class)", "log(yield + 1)", "plot no"]
    np.testing.assert_allclose(layout.y, np.log(FIELD["yield"].to_numpy()[layout.rows]))
    with pytest.raises(DataError, match="no column 'class', which the fixed formula names"):
        lay("yield ~ class")


def test_weights_are_those_of_the_records():
    layout = lay(plots=FIELD.assign(n=np.arange(1.0, 9.0)), weights="n")
    np.testing.assert_array_equal(layout.weights, layout.rows + 1.0)


TWICE = pd.concat([FIELD, FIELD.iloc[[3]]], ignore_index=True)
ONE = FIELD.assign(col=list("11221122"))
WIDE = FIELD.assign(row=[*FIELD["row"][:-1], "150"])
SINGULAR = bmtme.Relationship(np.ones((3, 3)), ["g1", "g2", "g3"])
IDENTITY = bmtme.Relationship.identity(["g1", "g3", "G02"])


@pytest.mark.parametrize(
    "words, error, message",
    [
        ({"random": "gne"}, DataError, "no column 'gne', which the random formula names. Did you mean 'gen'?"),
        ({"fixed": "yield ~ sit"}, DataError, "no column 'sit', which the fixed formula names. Did you mean 'site'?"),
        ({"fixed": "yeild ~ site"}, DataError, "no column 'yeild'"),
        ({"fixed": "site ~ 1"}, DataError, "'A' in row 1"),
        ({"fixed": "yield ~ height"}, DataError, "covariate 'height' of the table is missing in 1 row with a value"),
        (
            {"random": "gen", "plots": FIELD.assign(gen=["g1", None, "", *FIELD["gen"][3:]])},
            DataError,
            "'gen' of the table is missing in 2 rows",
        ),
        ({"fixed": "yield ~ gen", "plots": FIELD.assign(gen=None)}, DataError, "'gen' of the table is missing"),
        (
            {"residual": "ar1(col):ar1(row) | site", "plots": TWICE},
            DataError,
            "Two plots lie in one cell of the residual at(site, \"A\"):ar1(col):ar1(row), col 2, row 2: row 4",
        ),
        ({"residual": "ar1(col):ar1(row)", "plots": ONE}, DataError, "name what tells the plots apart"),
        (
            {"residual": "units | site", "plots": FIELD.assign(site=["C", *FIELD["site"][1:]])},
            DataError,
            'The section at(site, "C") of the residual has one plot (row 1',
        ),
        ({"residual": 'at(site, "A"):units'}, DataError, "is in no section of the residual"),
        ({"residual": 'at(site):units + at(site, "A"):units'}, DataError, "is in 2 sections"),
        ({"residual": "ar1(gen):ar1(row)"}, DataError, "positions as whole numbers in 'gen', which has 'g1'"),
        ({"residual": "ar1(row):site:gen:units", "plots": WIDE}, DataError, "nearly all of them empty"),
        ({"random": 'at(site, "Z"):gen'}, DataError, "names the level 'Z' of 'site'"),
        ({"random": "corh(site):gen", "plots": FIELD[FIELD["site"] == "A"], "fixed": "yield ~ 1"}, DataError,
         "has one level of 'site', 'A', and corh(site) needs two"),
        ({"random": "fa(site, 2):gen"}, DataError, "there must be fewer factors than levels"),
        ({"random": "known(gen)"}, UsageError, "needs a relationship of 'gen'"),
        ({"known": {"gen": IDENTITY}}, UsageError, "which no random term names"),
        (
            {"random": "known(gen)", "known": {"gen": IDENTITY}},
            DataError,
            "1 of 3 levels of 'gen' have no entry in the relationship known['gen'] of the random term known(gen): 'g2'",
        ),
        ({"random": "known(gen)", "known": {"gen": SINGULAR}}, DataError, "has no inverse: 2 of its eigenvalues"),
        ({"random": "trait:gen"}, UsageError, "names trait, but the model has one response"),
        ({"fixed": "yield + height ~ trait"}, UsageError, "us(trait):units"),
        ({"fixed": "yield + height ~ trait", "residual": "ar1(trait):units"}, UsageError, "traits have no order"),
        ({"plots": FIELD.assign(units=1), "random": "units"}, DataError, "a column 'units', a word that stands for"),
        ({"fixed": "yield ~ units"}, UsageError, "units, the plot"),
        ({"plots": FIELD.assign(**{"yield": np.nan})}, DataError, "no value of 'yield'"),
        ({"plots": FIELD.iloc[:0]}, DataError, "no rows"),
        ({"plots": FIELD.assign(n=0.0), "weights": "n"}, DataError, "weight 'n' of the table is 0"),
        ({"fixed": "yield ~ log(height - 5)", "plots": FIELD.fillna(6.0)}, DataError, "no finite value"),
        ({"fixed": "yield ~ np.foo(height)", "plots": FIELD.fillna(6.0)}, DataError, "no attribute 'foo'"),
    ],
)  # fmt: skip
def test_what_is_refused(words, error, message):
    with pytest.raises(BmtmeError) as raised:
        lay(**words)
    assert type(raised.value) is error
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("yield", "has no response"),
        ("~ site", "has no response"),
        ("yield ~ (site", "cannot be read"),
        ("lgo(yield) ~ site", "has a function lgo(), which there is not. Did you mean 'log'? There are C, "),
        ("cbind(yield, height) ~ trait", "Several traits are written as in 'A + B ~ trait'"),
        ("yield ~ as.factor(site)", "C(x) makes a factor of numbers"),
        ("yield ~ (1|gen)", "are written x in the random formula"),
        ("yield ~ site | gen", "for the residual formula"),
    ],
)
def test_fixed_formulas_that_cannot_be_read(text, message):
    with pytest.raises(UsageError) as raised:
        parse_fixed(text)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "words, message",
    [
        ({"fixed": "yield ~ site", "random": "site"}, "The random term site is in the fixed part"),
        ({"fixed": "yield ~ site:gen", "random": "us(site):gen"}, "The random term us(site):gen is in the fixed part"),
        ({"random": "site:col + col"}, "The random terms site:col and col divide the plots alike"),
        ({"random": "site:col:row"}, "The random term site:col:row has a level for each plot"),
        ({"random": "units"}, "The random term units has a level for each plot"),
        ({"random": 'at(site, "A"):units', "residual": "units | site"}, "has a level for each plot"),
    ],
)
def test_terms_that_cannot_be_told(words, message):
    with pytest.raises(UsageError) as raised:
        make_problem(lay(**words))
    assert message in str(raised.value)


def test_a_nugget_beside_a_field_is_no_alias():
    problem = make_problem(lay("yield ~ 1", "units", "ar1(col):ar1(row) | site"))
    assert [term.name for term in problem.terms] == ["units"]
