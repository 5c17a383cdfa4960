"""The on-disk cache of compiled code: a change in any kernel file is seen, and no cache is no obstacle."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bmtme

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("NUMBA_DISABLE_JIT", "0").strip("0 ")), reason="nothing is compiled"
)

# `sum_cross_products` of interaction.py calls `dot` of linalg.py.
SCRIPT = """
import sys
import numpy as np
import bmtme
from bmtme.kernels import compile
from bmtme.kernels.interaction import sum_cross_products

assert bmtme.__file__.startswith(sys.argv[1]), bmtme.__file__
X, out = np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros((2, 2))
sum_cross_products(X, np.arange(2), 2, out)
print(out.ravel().tolist(), compile.CACHE_FOLDER, sum(sum_cross_products.stats.cache_hits.values()))
"""
LOOP = "s += a[j] * b[j]"
OTHER = "s -= a[j] * b[j]"


@pytest.fixture
def package(tmp_path):
    """A copy of the package that may be changed."""
    folder = tmp_path / "site" / "bmtme"
    shutil.copytree(Path(bmtme.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run(package, **environment):
    """(result, cache folder or "None", number of cache hits) of the script with this copy."""
    site = str(package.parent)
    env = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    env |= {"PYTHONPATH": site, "PYTHONDONTWRITEBYTECODE": "1"} | environment
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, site], capture_output=True, text=True, env=env, cwd=package.parent, check=False
    )
    assert done.returncode == 0, done.stderr
    values, rest = done.stdout.strip().removeprefix("[").split("] ")
    folder, hits = rest.rsplit(" ", 1)
    return [float(value) for value in values.split(",")], folder, int(hits)


def test_a_change_in_a_helper_of_another_file_is_seen(package, tmp_path):
    """An upgrade in place: same file size, same time stamp, other helper."""
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    products = [5.0, 11.0, 11.0, 25.0]
    first, folder, hits = run(package, **cache)
    assert (first, hits) == (products, 0)
    assert folder.startswith(str(tmp_path / "cache"))
    again, same, hits = run(package, **cache)
    assert (again, same, hits) == (products, folder, 1)

    helper = package / "kernels" / "linalg.py"
    stamp, text = helper.stat(), helper.read_text()
    start = text.index("def dot(")
    assert LOOP in text[start:]
    helper.write_text(text[:start] + text[start:].replace(LOOP, OTHER, 1))
    os.utime(helper, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert helper.stat().st_size == stamp.st_size
    changed, other, hits = run(package, **cache)
    assert (changed, hits) == ([-value for value in products], 0)
    assert other != folder


@pytest.mark.parametrize("variable", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME"])
def test_without_a_folder_that_can_be_written(package, tmp_path, variable):
    """Nothing is cached and everything works (a file stands where the folder would be made)."""
    obstacle = tmp_path / "file"
    obstacle.write_text("")
    values, folder, hits = run(package, **{variable: str(obstacle / "cache")})
    assert (values, folder, hits) == ([5.0, 11.0, 11.0, 25.0], "None", 0)


def test_every_compiled_file_is_hashed():
    """Compiled functions stand in the hashed folders only; the hash changes with any of their files."""
    from bmtme.kernels import compile as compiling

    root = Path(bmtme.__file__).parent
    hashed = {file for folder in compiling.COMPILED_FOLDERS for file in (root / folder).glob("*.py")}
    for file in root.rglob("*.py"):
        if "@compiled(" in file.read_text(encoding="utf-8") or "njit" in file.read_text(encoding="utf-8"):
            assert file in hashed, file


DIGEST = """
import hashlib
import bmtme

sim = bmtme.simulate(lines=14, envs=2, traits=2, missing=0.1, missing_traits=0.1, relationship="markers", seed=4)
trial = bmtme.Trial.from_frame(sim.frame, line="line", env="env", traits=["T1", "T2"], rep="rep")
result = bmtme.fit(trial, sim.relationship, draws=300, tune=300, chains=2, seed=1, keep_effects="none")
digest = hashlib.sha256(result.idata.posterior["Sigma_t"].values.tobytes()).hexdigest()
"""


@pytest.mark.filterwarnings("ignore:a short run")
def test_the_same_numbers_compiled_or_from_the_cache():
    """This process has compiled what it runs (on a machine that is new to it), the other one reads it from disk."""
    names = {}
    exec(DIGEST, names)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DIGEST + "print(digest)"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == names["digest"]
