"""What takes longer than a case may is done before."""

import pytest

from tests.helpers.fuzzing import compile_samplers


@pytest.fixture(scope="package")
def compiled() -> None:
    compile_samplers()
