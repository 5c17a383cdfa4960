"""Full-sib families of a pedigree."""

import numpy as np
import pandas as pd
import pytest

from bmtme import find_families
from bmtme.errors import DataError


def test_full_sibs_have_the_same_two_parents():
    frame = pd.DataFrame(
        [
            ("A", None, "0"),
            ("B", "", np.nan),
            ("1", "A", "B"),
            ("2", "B", "A"),  # the reciprocal cross
            ("3", "A", "unknown"),
            ("4", "*", "B"),
            ("5", "A", "C"),
            ("006", "C", "C"),
            ("7", "bulk", "B"),
        ],
        columns=["id", "sire", "dam"],
    )
    found = find_families(frame)
    assert found == {"1": "A x B", "2": "A x B", "5": "A x C", "006": "C x C", "7": "B x bulk"}
    assert find_families(frame, missing=["bulk"]) == {name: f for name, f in found.items() if name != "7"}
    assert find_families(frame.sample(frac=1.0, random_state=1)) == found


def test_names_of_crosses_make_no_family_of_two():
    frame = pd.DataFrame({"x": [1, 2], "father": ["A x B", "A"], "mother": ["C", "B x C"]})
    found = find_families(frame, "x", "father", "mother")
    assert found == {"1": "(A x B) x C", "2": "A x (B x C)"}


def test_refusals():
    frame = pd.DataFrame({"id": ["a", "a"], "sire": ["A", "B"], "dam": ["C", "C"]})
    with pytest.raises(DataError, match=r"the individual 'a' twice, in row 1 .* and row 2"):
        find_families(frame)
    with pytest.raises(DataError, match="no column 'father', given as the sire column"):
        find_families(frame[:1], sire="father")
