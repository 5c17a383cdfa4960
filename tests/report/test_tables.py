"""Tables of the terminal: columns, what is marked, what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd

import bmtme
from bmtme.columns import align
from bmtme.report.tables import describe_cv, describe_fit, name_model


def test_align_wraps_columns() -> None:
    rows = [["a", "1", "22", "3"], ["bb", "1", "2", "333"]]
    assert align(rows, ["", "x", "y", "z"], left=1, width=80) == "    x   y    z\na   1  22    3\nbb  1   2  333"
    assert align(rows, ["", "x", "y", "z"], left=1, width=9) == (
        "    x   y\na   1  22\nbb  1   2\n\n      z\na     3\nbb  333"
    )


def two_traits() -> bmtme.Trial:
    frame = pd.DataFrame(
        {"line": list("abab"), "env": ["E", "E", "F", "F"], "Y": [1.0, 2, 3, 4], "Z, dry": [1, 2, 3, 4]}
    )
    return bmtme.Trial.from_frame(frame, line="line", env="env", traits=["Y", "Z, dry"])


def test_describe_fit_marks_what_only_the_prior_knows() -> None:
    names = [f"heritability[{env}, {trait}]" for env in "EF" for trait in ("Y", "Z, dry")]
    names += ["residual_correlation[Y, Z, dry]", "genetic_correlation[Y, Z, dry]"]
    summary = pd.DataFrame(
        {"mean": 0.5, "lower": -0.001, "upper": 0.9, "ess_bulk": 900.0, "ess_tail": 900.0, "r_hat": 1.0, "note": ""},
        index=names,
    )
    summary.loc["residual_correlation[Y, Z, dry]", "note"] = "prior only: never on one record"
    run = {
        "data": {"lines": 2, "lines_predicted": 2, "lines_dropped": [], "records": 4, "traits": 2, "missing_values": 0},
        "settings": {
            "model": {"structure": "unstructured"},
            "chains": 1,
            "draws": 1000,
            "tune": 0,
            "seed": 1,
            "sampler": "gibbs",
            "keep_effects": "all",
        },
        "sampling": {"modes": [], "divergences": [0], "acceptance": None, "corners": []},
        "seconds": {"sample": 0.25},
    }
    text = describe_fit(summary, run, two_traits())
    assert "2 traits ('Y', 'Z, dry')" in text
    assert "4 records, nothing missing" in text
    assert "  Z, dry  0.50 (0.00, 0.90)*\n  * known from the prior only" in text
    assert text.count("*") == 2
    assert max(map(len, text.splitlines())) <= 100
    narrow = describe_fit(summary, run, two_traits(), width=40)
    table = "Heritability of a record: mean (intervals are in the summary)\n        Y  Z, dry\n  E  0.50    0.50\n"
    assert table in narrow
    assert "sampler, seed 1, 0.2 s\n" in text
    run["seconds"] |= {"search": 0.5, "compile": 105.07}
    assert "sampler, seed 1, 0.8 s (and 105 s to compile it first)\n" in describe_fit(summary, run, two_traits())
    # A prior-only entry is not told again as one of which the data say little; others are.
    hardly = "the data hardly say: the interval covers 0.98 of (0, 1)"
    summary.loc["heritability[E, Y]", "note"] = f"prior only: why; {hardly}"
    summary.loc["heritability[F, Y]", "note"] = hardly
    assert "almost all of (0, 1): Y in F\n" in describe_fit(summary, run, two_traits())


def test_describe_cv_shows_missing_scores_and_units() -> None:
    rows = [
        ("un", "E", "Y", 2, 0.5, 0.02, 1234.5, 20.0, 1, 2),
        ("un", "F", "Y", 2, np.nan, np.nan, 4.0, np.nan, np.nan, 1),
        ("bd", "E", "Y", 2, 0.4, 0.03, 999.0, 30.0, 2, 1),
        ("bd", "F", "Y", 2, -0.0001, 0.1, 9.0, 1.0, 1, 2),
        ("un", "E", "Z, dry", 2, 0.5, 0.02, 1.5e-12, 1e-13, 1, 1),
    ]
    columns = ["model", "env", "trait", "n_partitions", "pearson_mean", "pearson_se", "msep_mean", "msep_se"]
    summary = pd.DataFrame(rows, columns=[*columns, "pearson_rank", "msep_rank"])
    run = {
        "data": {
            "lines": 2,
            "lines_dropped": ["x"],
            "records": 4,
            "traits": 2,
            "missing_values": 1,
            "partitions": [{"partition": "1"}, {"partition": "2"}],
        },
        "settings": {
            "scheme": {"name": "CV1", "partitions": 2, "test_fraction": 0.25},
            "chains": 2,
            "draws": 1,
            "tune": 1,
            "seed": 1,
            "sampler": "gibbs",
        },
        "seconds": {"sample": 1.0},
    }
    best = {("pearson", "E", "Y", "un"), ("msep", "E", "Y", "bd"), ("msep", "F", "Y", "un")}
    text = describe_cv(summary, run, two_traits(), best=best)
    lines = [line.split() for line in text.splitlines()]
    assert ["Y", "E", "un", "2", "0.500", "(0.020)*", "1234", "(20)"] in lines
    assert ["bd", "2", "0.400", "(0.030)", "999", "(30)*"] in lines
    assert ["Y", "F", "un", "2", "-", "4*"] in lines
    assert ["bd", "2", "0.000", "(0.100)", "9", "(1)"] in lines
    assert ["Z,", "dry", "E", "un", "2", "0.500", "(0.020)", "1.5e-12", "(1e-13)"] in lines
    assert "* better than every other model" in " ".join(text.split())
    assert "how often that test errs has not been measured for such partitions" in " ".join(text.split())
    assert text.endswith("- means that there is no score.")
    notes = [("bd", "E", "Y", "few; heritability unknown: why"), ("un", "F", "Y", "few; the predictions are constant")]
    scores = pd.DataFrame(notes, columns=["model", "env", "trait", "note"])
    text = describe_cv(summary, run, two_traits(), best=best, scores=scores)
    assert text.endswith("- means that there is no score: few ('un'); the predictions are constant ('un').")
    summary.loc[summary["model"] == "bd", "pearson_mean"] = np.nan
    text = " ".join(describe_cv(summary, run, two_traits(), best=best, scores=scores).split())
    assert text.endswith("no score: few (all models); the predictions are constant ('un').")
    assert "means that" not in describe_cv(summary, run, two_traits(), shown=["msep"], scores=scores)
    accuracy = summary.assign(accuracy_mean=np.nan, accuracy_se=np.nan)
    text = " ".join(describe_cv(accuracy, run, two_traits(), shown=["accuracy", "msep"], scores=scores).split())
    assert "the predictions are constant ('un'); heritability unknown: why ('bd')." in text
    assert "trait env model partitions accuracy MSEP" in text
    told = describe_cv(summary, run, two_traits(), best=best, sizes={"pearson": 0.101, "msep": 0.125})
    assert "tells them apart in about 10% by Pearson and 12% by MSEP (nominally 5%)" in " ".join(told.split())
    assert "2 partitions, 25% of the lines" in text
    assert "12.5% of their values missing" in text
    assert "1 line without a relationship: x" in text


def test_models_are_named_with_all_that_is_not_the_papers():
    names = {
        "unstructured": bmtme.BMTME(),
        "diagonal, residual by env": bmtme.BMTME("diagonal", residual="by_env"),
        "unstructured, genetic factor analytic, 1 factor, line effect": bmtme.BMTME(
            genetic=bmtme.FactorAnalytic(factors=1), line_effect=True
        ),
        "unstructured, genetic factor analytic, 3 factors": bmtme.BMTME(genetic=bmtme.FactorAnalytic(factors=3)),
        "unstructured, genetic main and interaction": bmtme.BMTME(genetic=bmtme.MainAndInteraction()),
        "one trait at a time, genetic free, line effect": bmtme.SingleTrait(
            bmtme.BMTME(genetic=bmtme.Free(), line_effect=True)
        ),
    }
    for name, model in names.items():
        assert name_model(model.describe()) == name
