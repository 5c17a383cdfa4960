"""A cross-validation, its scores and comparisons as they are printed and shown: what to bear in mind comes first."""

from __future__ import annotations

import pandas as pd
import pytest

from bmtme.cv.advice import advise
from bmtme.cv.result import CrossValidation
from tests.helpers.comparisons import make_result
from tests.helpers.pages import parse

ODD = '<b>&"x"</b>'


@pytest.fixture(scope="module")
def cv() -> CrossValidation:
    made = make_result({ODD: 0.8, "other": 0.2}, folds=True, partitions=5)
    made.warnings = ["the chains do NOT agree on 1 of 5 partitions."]
    return made


def test_printed(cv: CrossValidation) -> None:
    lines = str(cv).splitlines()
    assert max(map(len, lines)) <= 80
    first = len(repr(cv).splitlines())
    assert lines[first] == cv.warnings[0]
    assert "\n".join(lines[first + 1 :]) == cv.advice()


def test_scores(cv: CrossValidation) -> None:
    table = cv.summary()
    lines = repr(table).splitlines()
    assert max(map(len, lines)) <= 80
    (head,) = [k for k, line in enumerate(lines) if line.startswith("trait  env")]
    assert len(lines) - head - 1 == len(table)
    row = table[(table["trait"] == "Yield") & (table["env"] == "E1") & (table["model"] == ODD)].iloc[0]
    (shown,) = [line for line in lines if line.startswith("Yield  E1 ")]
    assert shown.split()[:4] == ["Yield", "E1", ODD, "5"]
    assert f"{row['pearson_mean']:.3f} ({row['pearson_se']:.3f})" in shown
    assert type(table.drop(columns="msep_mean")) is pd.DataFrame


def test_comparison(cv: CrossValidation) -> None:
    table = cv.compare("msep", by="trait")
    text = repr(table)
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("Differences in mean squared error of prediction")
    assert "..." not in text
    page = parse(table._repr_html_())
    assert ODD in page.text
    row = table.iloc[0]
    assert f"{row['difference']:+.3g}{'*' if row['p_adjusted'] < 0.05 else ''}" in page.text
    assert page.text.count("*") == (table["p_adjusted"] < 0.05).sum() + 1  # and what it means


def test_page(cv: CrossValidation) -> None:
    page = parse(cv._repr_html_())
    assert page.text.index(cv.warnings[0]) < page.text.index("partitions", page.text.index("Mean over the partitions"))
    assert ODD in page.text
    for sentence in advise(cv, 10**6).splitlines():
        assert sentence in page.text
    assert page.tags <= {"div", "p", "b", "code", "table", "thead", "tbody", "tr", "th", "td"}
