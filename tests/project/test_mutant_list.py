"""The list of planted errors fits the source: each text is found once, each named test exists. Nothing is run."""

import re

import pytest

from tests.helpers.checkout import ROOT
from validation.planted import MUTANTS


def test_enough_mutants_of_everything():
    assert len(MUTANTS) >= 20
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    folders = {mutant.file.split("/")[0] for mutant in MUTANTS}
    assert {"linalg", "engines", "model", "cv", "results"} <= folders


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_can_be_planted(mutant):
    source = (ROOT / "bmtme" / mutant.file).read_text(encoding="utf-8")
    assert source.count(mutant.old) == 1
    assert mutant.new != mutant.old
    compile(source.replace(mutant.old, mutant.new), mutant.file, "exec")
    assert mutant.tests
    for test in mutant.tests:
        file, function = test.split("::")
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {re.escape(function.split('[')[0])}\(", text, re.MULTILINE), test
