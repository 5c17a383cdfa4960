"""Random and residual formulas: what they say, how they print, and what is said of those that cannot be read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmtme.errors import UsageError
from bmtme.model.mixed.parser import parse_random, parse_residual
from bmtme.model.mixed.terms import STRUCTURES, At, Axis, Random, Residual, Term

NAMES = st.one_of(
    st.sampled_from(["site", "us", "at", "rep.block", "gène", "x1", "plot no", "a:b", "1st", "Ø m²", "a+b", "fa(x)"]),
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1).filter(lambda s: "`" not in s),
)
LEVELS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1).map(str.strip)


@st.composite
def make_terms(draw, structures=STRUCTURES, place=None):
    names = draw(st.lists(NAMES, min_size=3, max_size=5, unique=True))
    axes = [Axis(name) for name in names[: draw(st.integers(1, 3))]]
    structure = draw(st.sampled_from(("identity", *structures)))
    k = draw(st.integers(1, 4)) if structure == "fa" else None
    axes[draw(st.integers(0, len(axes) - 1))] = Axis(names[0], structure, k)
    if len({axis.name for axis in axes}) < len(axes):
        axes = [Axis(names[0], structure, k)]
    at = ()
    if draw(st.booleans()) if place is None else place:
        at = (At(names[-1], tuple(draw(st.lists(LEVELS, max_size=2, unique=True)))),) if len(names) > len(axes) else ()
    return Term(tuple(axes), at)


@given(st.lists(make_terms(), max_size=4, unique_by=str))
@settings(max_examples=60, deadline=None)
def test_random_parts_print_as_their_formula(terms):
    part = Random(tuple(terms))
    assert parse_random(str(part)) == part


@given(make_terms(structures=tuple(name for name in STRUCTURES if name != "known")))
@settings(max_examples=40, deadline=None)
def test_residual_parts_print_as_their_formula(term):
    part = Residual((term,))
    assert parse_residual(str(part)) == part


def test_a_formula_term_by_term():
    part = parse_random('at(site):col + us(site) : gen+known(line) + at(year, "2019", 2020):`plot no` + fa(site, 2):g')
    assert part == Random(
        (
            Term((Axis("col"),), (At("site"),)),
            Term((Axis("site", "us"), Axis("gen"))),
            Term((Axis("line", "known"),)),
            Term((Axis("plot no"),), (At("year", ("2019", "2020")),)),
            Term((Axis("site", "fa", 2), Axis("g"))),
        )
    )
    pair = parse_random("us(id,`my dam`):known(id)")
    assert pair == Random((Term((Axis("id", "us", other="my dam"), Axis("id", "known"))),))
    assert str(pair) == "us(id, `my dam`):known(id)"
    assert hash(part) == hash(parse_random(part))
    assert parse_random(None) == parse_random(" ") == Random()


def test_sections_are_one_value_however_they_are_written():
    sections = parse_residual("ar1(col):ar1(row) | site")
    assert sections == parse_residual("at(site):ar1(col):ar1(row)")
    assert str(sections) == "ar1(col):ar1(row) | site"
    assert sections.terms[0].at == (At("site"),)
    text = 'at(site, "A", "B"):ar1(col):ar1(row) + at(site, "C"):col:ar1(row)'
    assert str(parse_residual(text)) == text


@pytest.mark.parametrize(
    "text, place, words",
    [
        ("us(site:gen", 8, "the bracket of us( is not closed"),
        ("a + + b", 5, "is expected, not +"),
        ("a +", 4, "not the end"),
        ("a*b", 2, "a + b + a:b"),
        ("rep/block", 4, "a + a:b"),
        ("a - b", 3, "leave it out"),
        ("(1 | gen)", 1, "(1 | x) is written x"),
        ("gen + vm(line, A)", 7, "known(x)"),
        ("us(trait):vsr(id)", 11, "known(x)"),
        ("corgh(site):gen", 1, "us(x)"),
        ("sus(site)", 1, "did you mean 'us'?"),
        ("fa(site)", 1, "number of factors"),
        ("fa(site, 0)", 10, "at least one factor"),
        ("fa(site, 1.5)", 1, "number of factors"),
        ("us(site):diag(gen)", 1, "variances twice"),
        ("gen:gen", 1, "'gen' twice"),
        ("at(site)", 1, "as in at(site):col"),
        ("at(site, S3):row", 10, "levels stand in quotes"),
        ("at(site, 'A', 'A'):row", 1, "names a level twice"),
        ("gen | site", 5, "for the residual formula"),
        ("gen rep", 5, "a + or : is expected"),
        ("`plot", 1, "opened and not closed"),
        ('at(site, "A):row', 10, "opened and not closed"),
        ("us(site, 2)", 10, "takes a name alone"),
        ("us(2)", 4, "needs the name of a column"),
        ("diag(id, dam):known(id)", 10, "a number is expected"),
        ("us(id, id):known(id)", 1, "two different columns"),
        ("a + us(id, dam)", 5, "write us(id, dam):known(id)"),
        ("us(trait):us(id, dam):known(id)", 1, "share a relationship"),
        ("gen + plot#", 11, "back-quotes"),
    ],
)
def test_what_cannot_be_read_is_shown_with_its_place(text, place, words):
    with pytest.raises(UsageError) as raised:
        parse_random(text)
    message = str(raised.value)
    assert f"random formula cannot be read at character {place}, after >>>" in message
    assert repr(f"{text[: place - 1]}>>>{text[place - 1 :]}") in message
    assert words in message


@pytest.mark.parametrize(
    "text, words",
    [
        ("units + col", "units is for all plots"),
        ("units | us(site)", "the plain name of the column"),
        ("units | site | year", "stands once"),
        ("at(site, 'A'):units | site", "in a sum, each has its at()"),
        ("known(line)", "for random terms"),
        ("", "is expected, not the end"),
    ],
)
def test_residuals_that_make_no_sense(text, words):
    with pytest.raises(UsageError, match=r"residual") as raised:
        parse_residual(text)
    assert words in str(raised.value)


def test_a_term_stands_once():
    with pytest.raises(UsageError, match="term gen stands there twice"):
        parse_random("gen + site + gen")


def test_values_that_make_no_sense():
    for make in (
        lambda: Axis("a`b"),
        lambda: Axis(""),
        lambda: Axis("a", "usx"),
        lambda: Axis("a", "us", 2),
        lambda: Axis("a", "fa"),
        lambda: Term(()),
        lambda: Residual(()),
    ):
        with pytest.raises(UsageError):
            make()
