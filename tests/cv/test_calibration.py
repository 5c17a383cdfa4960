"""Coverage in words: no false alarm where values of a cluster miss together, an alarm where intervals are off."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bmtme.cv.calibration import describe_coverage
from tests.helpers.comparisons import make_result

NORMAL = 1.6448536


def draw(rng, clusters, name, sizes, share, sd=(1.0, 1.0)):
    """Values of unit variance, a part of it common to a cluster (an environment or a fold); 90% intervals."""
    rows = []
    for k in range(clusters):
        for trait, scale in zip(("Yield", "ASI"), sd, strict=True):
            common = np.sqrt(share) * rng.normal()
            values = scale * (common + np.sqrt(1.0 - share) * rng.normal(size=sizes))
            env = f"E{k}" if name == "env" else "E0"
            rows += [("m", f"P{k}", env, trait, f"{k if name != 'env' else ''}-{j}", y) for j, y in enumerate(values)]
    table = pd.DataFrame(rows, columns=["model", "partition", "env", "trait", "line", "observed"])
    return table.assign(mean_lower=-NORMAL, mean_upper=NORMAL)


def tell(table, alone):
    return describe_coverage(SimpleNamespace(predictions=table, traits=("Yield", "ASI")), SimpleNamespace(alone=alone))


@pytest.mark.parametrize(
    "clusters, name, share",
    [(3, "env", 0.5), (3, "env", 0.8), (4, "env", 0.5), (6, "env", 0.8), (10, "env", 0.5), (10, "env", 0.9),
     (5, "fold", 0.0), (5, "fold", 0.4)],
)  # fmt: skip
def test_calibrated_intervals_raise_no_alarm(clusters, name, share):
    rng = np.random.default_rng(clusters)
    alarms = [bool(tell(draw(rng, clusters, name, 30, share), name == "env")) for _ in range(60)]
    assert np.mean(alarms) <= 0.02


def test_intervals_that_are_far_off_raise_one():
    rng = np.random.default_rng(1)
    narrow = [tell(draw(rng, 10, "env", 30, 0.3, (4.0, 1.0)), True) for _ in range(20)]
    assert np.mean([bool(text) for text in narrow]) > 0.9
    assert all("ASI" not in text for each in narrow for text in each)
    assert all("% for Yield (too narrow)" in text for each in narrow for text in each)
    folds = [tell(draw(rng, 5, "fold", 30, 0.0, (3.0, 1.0)), False) for _ in range(20)]
    assert np.mean([bool(text) for text in folds]) > 0.9
    # Two environments tell nothing.
    assert tell(draw(rng, 2, "env", 30, 0.3, (4.0, 1.0)), True) == []


def test_one_trait_too_wide_and_another_too_narrow_do_not_cancel():
    cv = make_result({"a": 0.5}, lines=200)
    for trait, half in (("Yield", 3.0), ("ASI", 0.9)):
        rows = cv.predictions["trait"] == trait
        for end, sign in (("mean_lower", -1.0), ("mean_upper", 1.0)):
            cv.predictions.loc[rows, end] = cv.predictions.loc[rows, "mean"] + sign * half
    (text,) = [line for line in [" ".join(cv.advice().split())] if "do not hold" in line]
    assert "% for Yield (too wide)" in text
    assert "% for ASI (too narrow)" in text
