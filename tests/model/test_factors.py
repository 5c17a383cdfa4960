"""Which replicates have effects."""

import numpy as np
import pytest

from bmtme.errors import UsageError
from bmtme.model.factors import FEWEST_LINES, find_blocks, find_replicates, name_replicates

ENVS = ("E1", "E2")


def make_records(*replicates):
    """Records of (environment, label, lines, traits seen of two): line, env, observed, reps."""
    rows = [(j, e, seen, label) for e, label, lines, seen in replicates for j in lines]
    line, env, seen, reps = zip(*rows, strict=True)
    observed = np.array([[str(l) in text for l in range(2)] for text in seen])
    return np.array(line), np.array(env), observed, list(reps)


def find(kind, *replicates):
    line, env, observed, reps = make_records(*replicates)
    return find_replicates(kind, reps, line, env, observed, ENVS)


def test_levels_are_labels_within_environments_in_their_order():
    found = find(
        "auto", (0, "2", range(5), "01"), (0, "1", range(5), "01"), (1, "1", range(6), "01"), (1, "2", range(6), "01")
    )
    assert found.labels == ("1", "2", "1", "2")
    np.testing.assert_array_equal(found.env, [0, 0, 1, 1])
    np.testing.assert_array_equal(found.level, [1] * 5 + [0] * 5 + [2] * 6 + [3] * 6)
    assert found.active.all()
    assert not found.random
    assert find("random", (0, "1", range(5), "01"), (0, "2", range(5), "01")).random


@pytest.mark.parametrize("kind", ["auto", "fixed", "random"])
def test_an_environment_of_one_replicate_has_no_effect(kind):
    found = find(kind, (0, "1", range(9), "01"), (1, "1", range(6), "01"), (1, "2", range(6), "01"))
    assert found.env.tolist() == [1, 1]
    np.testing.assert_array_equal(found.level, [-1] * 9 + [0] * 6 + [1] * 6)


def test_every_replicate_holds_five_lines():
    few = range(FEWEST_LINES - 1)
    assert find("auto", (0, "1", range(9), "01"), (0, "2", range(9), "01"), (0, "3", few, "01")) is None
    fixed = find("fixed", (0, "1", range(9), "01"), (0, "2", range(9), "01"), (0, "3", few, "01"))
    assert fixed.active.shape == (3, 2)
    # Five plots of one line are one line.
    assert find("auto", (0, "1", range(9), "01"), (0, "2", [0] * 5, "01")) is None


def test_labels_that_number_plots_have_no_effect():
    assert find("auto", *((0, str(j), [j], "01") for j in range(12))) is None
    # A check with twenty plots, 1 to 20, among lines with one.
    assert find("auto", (0, "1", range(12), "01"), *((0, str(k), [0], "01") for k in range(2, 21))) is None


def test_effects_are_there_by_trait():
    found = find("auto", (0, "1", range(6), "01"), (0, "2", range(6), "01"), (0, "3", range(6), "1"))
    np.testing.assert_array_equal(found.active, [[True, True], [True, True], [False, True]])
    found = find("auto", (0, "1", range(6), "01"), (0, "2", range(6), "1"))  # trait 0 in one replicate
    np.testing.assert_array_equal(found.active, [[False, True], [False, True]])
    few = [(0, "2", range(3), "01"), (0, "2", range(3, 6), "1")]  # trait 0 on three lines of the second
    np.testing.assert_array_equal(find("auto", (0, "1", range(6), "01"), *few).active, [[False, True], [False, True]])


def test_of_several_columns_the_first_tells_replicates_if_it_can():
    plots = [(0, f"{rep}:{j}", [j], "01") for rep in "AB" for j in range(6)]
    assert find("auto", *plots).labels == ("A", "B")
    blocks = [(0, f"A:{block}", range(6), "01") for block in "xy"]
    assert find("auto", *blocks).labels == ("A:x", "A:y")
    assert set(name_replicates(["1", "2"] * 3, np.arange(6))) == set()
    # Rows and columns of a field, six plots to a row; and a third label of a few plots only.
    assert find("auto", *((0, f"{j // 6}:{j % 6}", [j], "01") for j in range(60))) is None
    assert find("auto", *plots, (0, "C:1", [0], "01")) is None


def test_what_cannot_be_told_is_refused_by_name():
    line, env, observed, _ = make_records((0, "1", range(6), "01"))
    assert find_replicates("auto", None, line, env, observed, ENVS) is None
    assert find_replicates("none", ["1"] * 6, line, env, observed, ENVS) is None
    for kind in ("fixed", "random"):
        with pytest.raises(UsageError, match=f"rep_effect='{kind}' needs to know the replicates: name their column"):
            find_replicates(kind, None, line, env, observed, ENVS)
        with pytest.raises(UsageError, match=f"rep_effect='{kind}' needs an environment with two replicates"):
            find(kind, (0, "1", range(6), "01"), (1, "x", range(6), "01"))
    with pytest.raises(UsageError, match=r"replicate '3' of environment 'E2' holds one line only.*\(1 such"):
        find("fixed", (1, "1", range(6), "01"), (1, "2", range(6), "01"), (1, "3", [4, 4], "01"))
    with pytest.raises(UsageError, match=r"replicate '2' of environment 'E1' holds one line only"):
        find("fixed", (0, "1", range(6), "01"), (0, "2", [1], "01"), (0, "2", [2], "1"))  # of trait 0
    with pytest.raises(UsageError, match=r"rep_effect='random': every replicate of every environment holds one line"):
        find("random", *((0, str(j), [j], "01") for j in range(12)))
    assert find("random", (1, "1", range(6), "01"), (1, "2", range(6), "01"), (1, "3", [4], "01")).active.all()


def test_blocks_are_levels_within_environments():
    """The second trait stands in one block of E1 alone; E2 has one block, E3 no record, E4 no labels."""
    env = np.array([0, 0, 0, 1, 1, 3, 3])
    observed = np.array([[1, 1], [1, 1], [1, 0], [1, 1], [1, 1], [1, 1], [1, 1]], bool)
    found = find_blocks("row", ["2", "2", "1", "1", "1", "", ""], env, observed, 4)
    assert (found.name, found.labels, found.random, found.kind) == ("row", ("1", "2"), True, "block")
    np.testing.assert_array_equal(found.level, [1, 1, 0, -1, -1, -1, -1])
    np.testing.assert_array_equal(found.env, [0, 0])
    np.testing.assert_array_equal(found.active, [[True, False], [True, False]])
    none = find_blocks("row", ["1"] * 7, env, observed, 4)
    assert none.active.shape == (0, 2)
    assert (none.level == -1).all()
