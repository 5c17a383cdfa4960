"""How records lie on the balanced layout: every plot counted once, little imputed, patterns right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmtme.model.codes import ABSENT, MISSING, OBSERVED
from bmtme.model.layout import choose_plots, lay_out
from bmtme.testing.cases import DESIGNS, read_design


def lay_out_counts(counts, L=1):
    """Layout of complete records with these (J, I) counts."""
    line, env = (np.repeat(index, counts.ravel()) for index in np.indices(counts.shape).reshape(2, -1))
    return lay_out(np.ones((len(line), L), bool), line, env, *counts.shape)


@pytest.mark.parametrize("design", DESIGNS)
def test_plots_seen_and_imputed_fill_the_layout(design):
    observed, line, env, plots = read_design(DESIGNS[design])
    I, J = len(DESIGNS[design]), len(DESIGNS[design][0])
    layout = lay_out(observed, line, env, J, I, rec_plots=plots)
    counts = np.zeros((J, I))
    np.add.at(counts, (line, env), plots)
    assert layout.n_line == J
    np.testing.assert_array_equal(layout.n_recorded, np.bincount(env, minlength=I))
    np.testing.assert_array_equal(layout.n_cells, (counts > 0).sum(axis=0))
    cell_env = np.repeat(np.arange(I), np.diff(layout.cell_offset))
    filled = counts.copy()
    np.add.at(filled, (layout.cell_line, cell_env), layout.cell_pad)
    seen = layout.recorded.any(axis=1)
    balanced = layout.plots * layout.multiples[:, None]
    np.testing.assert_allclose(filled[:, seen], balanced[:, seen], rtol=1e-9)
    assert (layout.cell_pad >= 0).all()
    assert len(np.unique(cell_env * J + layout.cell_line)) == len(cell_env)
    assert seen[cell_env].all()
    assert 0 <= layout.imputed_share < 1


@pytest.mark.parametrize("design", DESIGNS)
def test_partly_seen_records_stand_in_their_cells(design):
    observed, line, env, _ = read_design(DESIGNS[design])
    I, J = len(DESIGNS[design]), len(DESIGNS[design][0])
    layout = lay_out(observed, line, env, J, I)
    recorded = np.array([observed[env == i].any(axis=0) for i in range(I)])
    np.testing.assert_array_equal(layout.recorded, recorded)
    partly = (recorded[env] & ~observed).any(axis=1)
    np.testing.assert_array_equal(layout.rec_complete, ~partly)
    assert sorted(layout.part_record) == np.flatnonzero(partly).tolist()
    cell_env = np.repeat(np.arange(I), np.diff(layout.cell_offset))
    part_cell = np.repeat(np.arange(len(layout.cell_line)), np.diff(layout.part_offset))
    np.testing.assert_array_equal(line[layout.part_record], layout.cell_line[part_cell])
    np.testing.assert_array_equal(env[layout.part_record], cell_env[part_cell])
    for record, pattern in zip(layout.part_record, layout.patterns[layout.part_pattern], strict=True):
        wanted = np.where(observed[record], OBSERVED, np.where(recorded[env[record]], MISSING, ABSENT))
        np.testing.assert_array_equal(pattern, wanted)
    np.testing.assert_array_equal(layout.patterns[layout.cell_pattern], np.where(recorded[cell_env], MISSING, ABSENT))


def test_one_record_a_cell_needs_nothing():
    layout = lay_out_counts(np.ones((5, 3), int), L=2)
    assert len(layout.cell_line) == 0
    assert layout.imputed_share == 0
    np.testing.assert_array_equal(layout.plots, 1)
    np.testing.assert_array_equal(layout.multiples, 1)


@pytest.mark.parametrize(
    "counts",
    [
        np.full((6, 3), 4),  # the same replicates everywhere
        np.tile([1, 2, 5], (6, 1)),  # by environment
        np.array([[1, 1]] * 9 + [[20, 20]]),  # one check
        np.outer([1, 1, 1, 3, 6], [1, 2]),  # both at once
    ],
)
def test_replication_that_is_a_product_imputes_nothing(counts):
    """A check with twenty plots among lines with one must not have all others padded to twenty."""
    layout = lay_out_counts(counts)
    assert len(layout.cell_line) == 0
    np.testing.assert_allclose(layout.plots * layout.multiples[:, None], counts)


def test_a_check_in_one_environment_only():
    counts = np.ones((20, 3), int)
    counts[0] = [20, 1, 1]
    layout = lay_out_counts(counts)
    assert len(layout.cell_line)
    assert set(layout.cell_line) == {0}
    assert np.diff(layout.cell_offset)[0] == 0


@given(
    st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=2, max_size=8).filter(
        lambda rows: all(any(row) for row in rows)
    )
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_chosen_plots_cover_every_cell(rows):
    counts = np.array(rows, float)
    k, c = choose_plots(counts)
    assert (k > 0).all()
    assert (c > 0).all()
    assert (k * c[:, None] >= counts * (1 - 1e-9)).all()
    seen = counts.sum(axis=0) > 0
    share = (1 - counts[:, seen] / (k[seen] * c[:, None])).mean()
    assert share <= (1 - counts[:, seen] / counts.max()).mean() + 1e-9  # never worse than padding all to the largest


def test_columns_and_environments_without_a_record_are_not_laid_out():
    observed, line, env, _ = read_design(DESIGNS["unseen"])
    layout = lay_out(observed, line, env, 5, 3)
    np.testing.assert_array_equal(layout.recorded.any(axis=1), [True, False, True])
    assert np.diff(layout.cell_offset)[1] == 0
    assert layout.n_recorded[1] == 0
