"""Numbers of plots that may be mistakes."""

import numpy as np
import pandas as pd

from bmtme import Trial
from bmtme.checkup.precision import find_odd_errors, find_odd_plots


def check(numbers):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"line": [f"L{k}" for k in range(len(numbers))], "env": "E", "n": numbers, "T": rng.normal(size=len(numbers))}
    )
    trial = Trial.from_frame(frame, line="line", env="env", n_plots="n")
    return find_odd_plots(trial), str(trial.check())


def test_far_more_plots_than_usual():
    found, text = check([2, 3, 2, 40, 3, 2])
    assert [(each.severity, len(each.items)) for each in found] == [("warning", 1)]
    assert found[0].items[0]["line"] == "L3"
    assert "L3 in E (40)" in found[0].summary
    assert "means of 2 to 40 plots" in text


def test_the_same_number_everywhere():
    found, text = check([3] * 5)
    assert [each.severity for each in found] == ["note"]
    assert "Every record is the mean of 3 plots" in found[0].summary
    assert "(means of 3 plots)" in text


def test_ordinary_numbers():
    assert check([1, 2, 4, 4, 9])[0] == []


def check_errors(errors, **columns):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"line": [f"L{k}" for k in range(8)], "env": "E", "s": errors})
    frame["T"], frame["U"] = rng.normal(size=(2, 8))
    usual = {"traits": ["T"], "se": "s"}
    return find_odd_errors(Trial.from_frame(frame, line="line", env="env", **usual | columns))


def test_standard_errors():
    assert check_errors([0.2, 0.3] * 4) == []
    large = check_errors([2.0, 3.0] * 4)
    assert [each.severity for each in large] == ["warning"]
    assert "are they standard deviations of plots" in large[0].summary
    odd = check_errors([0.02, *[0.2, 0.3] * 3, 0.3])
    assert [item["line"] for item in odd[0].items] == ["L0"]
    several = check_errors([0.2, 0.3] * 4, traits=["T", "U"], se={"T": "s"})
    assert [each.severity for each in several] == ["note"]
    assert "other traits lack them" in several[0].summary
