"""What ASReml has printed for field trials and for the gryphon pedigree: every fit, to the printed digits."""

import numpy as np
import pytest
import scipy.sparse as sp

from bmtme.engines.mixed.components import describe
from bmtme.engines.mixed.reml import fit_reml
from bmtme.testing.field_trials import PUBLISHED, is_printed


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda published: published.name)
def test_published_fit(published, data_folder, data_file):
    for file in published.files:
        data_file(file)
    problem = published.make(data_folder)
    found = fit_reml(problem)
    assert found.converged
    assert found.log_likelihood == pytest.approx(float(published.log_likelihood), abs=1e-3)
    components = {describe(problem, k): component for k, component in enumerate(found.components)}
    for name, text in published.components.items():
        assert is_printed(components[name].estimate, text), name
    for name, text in published.errors.items():
        assert is_printed(components[name].se, text), name
    for column, (estimate, error) in published.fixed.items():
        K = sp.csr_matrix(([1.0], ([0], [column])), shape=(1, problem.p + sum(map(len, found.effects))))
        assert is_printed(found.fixed[column], estimate)
        assert is_printed(np.sqrt(found.covariance_of(K)[0, 0]), error)
    if published.derived is not None:
        value, error = published.derived.compute(found)
        assert is_printed(value, published.derived.value)
        assert is_printed(error, published.derived.error)
