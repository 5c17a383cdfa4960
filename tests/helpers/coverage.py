"""Which lines of the compiled sources the tests reach: a compiled function cannot be watched, so they run as Python.

python -m tests.helpers.coverage      prints the lines that are not reached; exit status 2 below `FLOOR`
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bmtme.linalg.compile import COMPILED, PACKAGE

#: The conditionals, the joint draw and the density against the dense twin, the algebra, and a few sweeps of every
#: sampler. Chains of thousands of sweeps are left out: a sweep takes a hundred times as long as compiled.
TESTS = (
    "tests/linalg/test_small.py",
    "tests/linalg/test_lanes.py",
    "tests/linalg/sparse/test_cholesky.py",
    "tests/data/relationship/test_pedigree.py::test_inverse_times_relationship_is_the_identity",
    "tests/engines/rotated/test_block_draw.py",
    "tests/engines/rotated/test_collapsed.py",
    "tests/engines/rotated/test_conditionals.py",
    "tests/engines/rotated/test_factor_effects.py",
    "tests/engines/rotated/test_line_effect.py",
    "tests/engines/rotated/test_mirror.py",
    "tests/engines/rotated/test_missing.py",
    "tests/engines/rotated/test_chains.py::test_failure_names_matrix_and_sweep",
    "tests/engines/rotated/test_chains.py::test_constants_stay_constant",
    "tests/structures/test_structures.py",
    "tests/structures/test_genetic.py::test_prior_of_main_effects_and_interaction",
    "tests/structures/test_seam.py::test_paper_pair_through_the_seam",
    "tests/results/test_predictions.py::test_mixture_quantiles",
    "tests/results/test_predictions.py::test_rows_of_mixtures",
)
LEFT_OUT = ("tests/engines/rotated/test_mirror.py::test_chains_cross_from_corner_to_corner",)
#: Per cent of the lines; measured less one.
FLOOR = 95
DATA = Path("build") / "coverage"


def list_sources() -> list[str]:
    """The files with compiled functions."""
    files = [file for pattern in COMPILED for file in sorted(PACKAGE.glob(pattern))]
    return [str(file) for file in files if "@compiled(" in file.read_text(encoding="utf-8")]


def main() -> int:
    """Run the tests and report; the exit status of what failed first."""
    DATA.parent.mkdir(exist_ok=True)
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "COVERAGE_FILE": str(DATA)}
    sources = ",".join(list_sources())
    left_out = [word for name in LEFT_OUT for word in ("--deselect", name)]
    run = ["run", f"--include={sources}", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *TESTS]
    for words in ([*run, *left_out], ["report", "--show-missing", "--skip-covered", f"--fail-under={FLOOR}"]):
        status = subprocess.run([sys.executable, "-m", "coverage", *words], env=environment, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
