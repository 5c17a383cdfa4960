"""A relationship of lines whose names are easily changed."""

import numpy as np
import pytest

from bmtme.data.relationship.matrix import Relationship
from tests.helpers.tables import NAMES


@pytest.fixture
def relationship() -> Relationship:
    rng = np.random.default_rng(8)
    z = rng.standard_normal((len(NAMES), 20)) / 3
    return Relationship(z @ z.T, lines=NAMES)
