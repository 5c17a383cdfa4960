"""Every design with every variant of the model."""

import pytest

from bmtme.testing.cases import SCENES, make_scene


@pytest.fixture(params=SCENES, ids="-".join)
def scene(request):
    return make_scene(*request.param)
