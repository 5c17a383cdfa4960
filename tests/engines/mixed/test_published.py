"""What ASReml has printed for field trials and for the gryphon pedigree: every fit, to the printed digits."""

import pytest

from bmtme.engines.mixed.reml import fit_reml
from bmtme.testing.field_trials import PUBLISHED, list_differences


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda published: published.name)
def test_published_fit(published, data_folder, data_file):
    for file in published.files:
        data_file(file)
    problem = published.make(data_folder)
    found = fit_reml(problem)
    assert found.converged
    assert found.log_likelihood == pytest.approx(float(published.log_likelihood), abs=1e-3)
    assert not list_differences(published, found)
