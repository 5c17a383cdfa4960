"""The on-disk cache of compiled code: a change in a kernel file is seen, damage is mended, no cache is no obstacle."""

import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
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
from bmtme.linalg import compile
from bmtme.engines.rotated.kernels.interaction import sum_cross_products

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
    values, rest = start(package, **environment)[0].strip().removeprefix("[").split("] ")
    folder, hits = rest.rsplit(" ", 1)
    return [float(value) for value in values.split(",")], folder, int(hits)


def start(package, **environment):
    """What the script says on stdout and stderr with this copy."""
    site = str(package.parent)
    env = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    env |= {"PYTHONPATH": site, "PYTHONDONTWRITEBYTECODE": "1"} | environment
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, site], capture_output=True, text=True, env=env, cwd=package.parent, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_change_in_a_helper_of_another_file_is_seen(package, tmp_path):
    """An upgrade in place: same file size, same time stamp, other helper."""
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    products = [5.0, 11.0, 11.0, 25.0]
    first, folder, hits = run(package, **cache)
    assert (first, hits) == (products, 0)
    assert folder.startswith(str(tmp_path / "cache"))
    again, same, hits = run(package, **cache)
    assert (again, same, hits) == (products, folder, 1)

    helper = package / "linalg" / "small.py"
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


def flip(raw, place):
    return raw[:place] + bytes([raw[place] ^ 4]) + raw[place + 1 :]


DAMAGES = {
    "empty": lambda raw: b"",
    "cut off": lambda raw: raw[: len(raw) // 2],
    "garbage": lambda raw: b"no compiled code " * 40,
    "another program": lambda raw: pickle.dumps((numba.__version__, {})),
    "zeros": lambda raw: raw[:-200] + bytes(200),
    "longer": lambda raw: raw + raw,
    "flipped at its start": lambda raw: flip(raw, 3),
    "flipped in its middle": lambda raw: flip(raw, len(raw) // 2),  # of a .nbc: in the machine code
    "flipped at its end": lambda raw: flip(raw, len(raw) - 1),
}
PRODUCTS = [5.0, 11.0, 11.0, 25.0]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache with the functions of the script."""
    base = tmp_path_factory.mktemp("cache")
    assert run(Path(bmtme.__file__).parent, NUMBA_CACHE_DIR=str(base))[0] == PRODUCTS
    return base


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize(
    "damage",
    ["flipped in its middle", "a folder"]
    + [pytest.param(kind, marks=pytest.mark.slow) for kind in [*DAMAGES, "gone"] if kind != "flipped in its middle"],
)
def test_a_damaged_file_is_compiled_again(cache, tmp_path, ending, damage):
    """Once: the next start finds it whole."""
    base = tmp_path / "cache"
    shutil.copytree(cache, base)
    (file,) = base.rglob(f"*sum_cross_products*{ending}")
    raw = file.read_bytes()
    if damage in DAMAGES:
        file.write_bytes(DAMAGES[damage](raw))
    else:
        file.unlink()
        damage == "a folder" and file.mkdir()
    package = Path(bmtme.__file__).parent
    said, complained = start(package, NUMBA_CACHE_DIR=str(base))
    assert (said.split("]")[0], said.split()[-1]) == ("[5.0, 11.0, 11.0, 25.0", "0"), said
    assert ("was damaged: it is compiled again" in complained) == (damage in DAMAGES), complained
    # A folder in its place is left alone, so that nothing can be kept there.
    assert ("compiled code cannot be kept" in complained) == (damage == "a folder"), complained
    if damage != "a folder":
        said, complained = start(package, NUMBA_CACHE_DIR=str(base))
        assert (said.split()[-1], complained) == ("1", ""), said


def test_a_file_of_another_function_or_signature_is_not_run(cache, tmp_path):
    """Sound files in the wrong place: two processes that compile at a time may give one number to two signatures."""
    from bmtme.linalg.compile import SealedFile

    base = tmp_path / "cache"
    shutil.copytree(cache, base)
    (file,) = base.rglob("*sum_cross_products*.nbc")
    (other,) = base.rglob("*small.dot*.nbc")
    shutil.copy(other, file)
    assert run(Path(bmtme.__file__).parent, NUMBA_CACHE_DIR=str(base))[::2] == (PRODUCTS, 0)

    made = {"filename_base": "f", "source_stamp": "stamp"}
    one = SealedFile(str(tmp_path), **made)
    one.save("one", 1)
    assert (one.load("one"), one.load("two")) == (1, None)
    one._save_index({"two": "f.1.nbc"})
    assert (one.load("one"), one.load("two")) == (None, None)
    one.save("two", 2)
    assert SealedFile(str(tmp_path), **made).load("two") == 2
    assert SealedFile(str(tmp_path), **made | {"source_stamp": "other"}).load("two") is None


def test_a_full_disc_costs_time_only(package, tmp_path):
    """What is compiled runs, whether or not it can be kept."""
    file = package / "linalg" / "compile.py"
    full = "content = dumps((self._source_stamp, value))\n        raise OSError(28, 'No space left on device')"
    file.write_text(file.read_text().replace("content = dumps((self._source_stamp, value))", full))
    said, complained = start(package, NUMBA_CACHE_DIR=str(tmp_path))
    assert said.startswith("[5.0, 11.0, 11.0, 25.0]")
    assert "compiled code cannot be kept" in complained


def test_several_processes_mend_one_cache(cache, tmp_path):
    """All files are damaged, and four processes start at once."""
    base = tmp_path / "cache"
    shutil.copytree(cache, base)
    for file in base.rglob("*.nb?"):
        file.write_bytes(file.read_bytes()[:-20])
    package = Path(bmtme.__file__).parent
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: run(package, NUMBA_CACHE_DIR=str(base))[0], range(4)))
    assert runs == [PRODUCTS] * 4
    assert run(package, NUMBA_CACHE_DIR=str(base))[::2] == (PRODUCTS, 1)
    assert not list(base.rglob("*.tmp.*"))


def test_every_compiled_file_is_hashed():
    """Compiled functions stand in the hashed folders only; the hash changes with any of their files."""
    from bmtme.linalg import compile as compiling

    root = Path(bmtme.__file__).parent
    hashed = {file for pattern in compiling.COMPILED for file in root.glob(pattern)}
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
