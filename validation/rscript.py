"""Programs in R as referees: where R is, with which packages, and how a script of ours runs in it.

``Rscript`` is the program that BMTME_RSCRIPT names, or the one on the PATH; R_LIBS names a folder with packages, as R
itself has it. Scripts are run by ``rscript.R``, with matrices going in and out through files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from validation.registry import Row

RUNNER = Path(__file__).with_suffix(".R")
#: One thread of linear algebra: times are for one core.
SERIAL = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def find_rscript() -> str | None:
    """Path of Rscript, or None."""
    return shutil.which(os.environ.get("BMTME_RSCRIPT") or "Rscript")


@cache
def find_version(package: str) -> str | None:
    """Version of an R package, or None where it, or R, is not there."""
    program = find_rscript()
    if program is None:
        return None
    question = f'cat(if (requireNamespace("{package}", quietly = TRUE)) as.character(packageVersion("{package}")))'
    done = subprocess.run([program, "--no-init-file", "-e", question], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


@cache
def describe_r(*packages: str) -> str:
    """R, its linear algebra and the packages, with versions."""
    program = find_rscript()
    assert program is not None
    question = 'cat(paste0(R.version$major, ".", R.version$minor), basename(dirname(extSoftVersion()["BLAS"])))'
    done = subprocess.run([program, "--no-init-file", "-e", question], capture_output=True, text=True, check=True)
    version, blas = (done.stdout.split() + [""])[:2]
    return ", ".join([f"R {version} (BLAS: {blas})", *[f"{name} {find_version(name)}" for name in packages]])


def skip_r(check: str, package: str) -> Row:
    """The row of a check whose R package is not there."""
    return Row(check, "", "", f"needs R with {package} (validation/README.md)", None)


def write_matrix(folder: Path, name: str, values: np.ndarray) -> None:
    """As ``read_matrix`` of rscript.R wants it: rows, columns, entries by columns."""
    values = np.atleast_2d(np.asarray(values, float))
    np.concatenate([np.array(values.shape, float), values.ravel(order="F")]).tofile(folder / f"{name}.bin")


def read_matrix(path: Path) -> np.ndarray:
    """What ``write_matrix`` of rscript.R wrote."""
    entries = np.fromfile(path)
    return entries[2:].reshape(entries[:2].astype(int), order="F")


def run_r(script: Path, matrices: Mapping[str, np.ndarray], *numbers: float) -> dict[str, np.ndarray]:
    """Run a script on matrices and numbers; the matrices that it wrote, by name.

    Raises
    ------
    RuntimeError
        Where R stops with an error: its last words.
    """
    program = find_rscript()
    assert program is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for key, values in matrices.items():
            write_matrix(folder, key, values)
        words = [program, "--no-init-file", str(RUNNER), str(script), name, *[f"{number:.17g}" for number in numbers]]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | SERIAL)
        if done.returncode:
            said = " ".join(done.stderr.split()[-30:])
            raise RuntimeError(f"{script.name} stopped in R: {said}")
        return {path.stem: read_matrix(path) for path in sorted(folder.glob("*.bin")) if path.stem not in matrices}
