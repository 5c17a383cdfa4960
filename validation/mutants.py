"""Plant known errors one at a time and check that the tests named beside them find each.

    python -m validation.mutants [--list] [--only TEXT] [-j WORKERS]

Package and tests are copied to a temporary folder and changed there. The tests run with numba switched off: a mutant
is the same error as plain Python, and not a second goes into compiling. A mutant counts as caught where every test
named for it fails on a number, not on a name that is not defined; and the same tests must pass on the unchanged copy.
The exit code is 1 where a mutant survives.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from validation.planted import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("bmtme", "tests", "validation", "pyproject.toml")
#: A mutant that makes a loop endless is stopped after so many seconds.
LIMIT = 1800.0
#: Errors that come from a mutant that was planted badly, not from a test that looked at a number.
CLUMSY = ("NameError", "UnboundLocalError", "AttributeError", "TypeError", "ImportError", "SyntaxError")
#: Runs pytest after a look at which package it will import.
START = (
    "import sys, bmtme, pytest; assert bmtme.__file__.startswith(sys.argv.pop(1)), bmtme.__file__; "
    "sys.exit(pytest.main(sys.argv[1:]))"
)


@dataclass(frozen=True)
class Outcome:
    """What became of some tests on one copy: how many passed and failed, and what kept others from a verdict."""

    passed: int
    failed: int
    other: tuple[str, ...]
    seconds: float


def change(mutant: Mutant, folder: Path) -> str:
    """The source of a mutant's file in the copy in `folder`, with the error in it.

    Raises
    ------
    SystemExit
        Where the text to be replaced does not occur exactly once.
    """
    source = (folder / "bmtme" / mutant.file).read_text(encoding="utf-8")
    found = source.count(mutant.old)
    if found != 1:
        raise SystemExit(
            f"mutant {mutant.name!r}: the text to replace occurs {found} times in bmtme/{mutant.file}, expected once. "
            f"Bring validation/planted up to date:\n{mutant.old}"
        )
    changed = source.replace(mutant.old, mutant.new)
    compile(changed, mutant.file, "exec")
    return changed


def copy_project(root: Path, folder: Path) -> None:
    """Package, tests and the studies that some tests import, without what they left behind when they ran."""
    folder.mkdir()
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)


def run_tests(folder: Path, tests: tuple[str, ...]) -> Outcome:
    """Run pytest nodes in a process of its own that imports the copy.

    Raises
    ------
    SystemExit
        Where pytest could not run (a test that does not exist, an import that fails).
    """
    report = folder / "report.xml"
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_DISABLE_JIT": "1",
        "NUMBA_CACHE_DIR": str(folder / "cache"),
    }
    nodes = [f"tests/{test}" for test in tests]
    command = [sys.executable, "-c", START, str(folder), "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *nodes]
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        return Outcome(0, 0, ("no end",), time.perf_counter() - began)
    seconds = time.perf_counter() - began
    if done.returncode not in (0, 1) or not report.is_file():
        raise SystemExit(f"pytest could not run {', '.join(nodes)}:\n{done.stdout}\n{done.stderr}")
    passed, failed, other = 0, 0, []
    for case in ElementTree.parse(report).iter("testcase"):
        failure = case.find("failure")
        if failure is not None:
            message = failure.get("message", "")
            if message.startswith(CLUMSY):
                other.append(message.splitlines()[0])
            else:
                failed += 1
        elif case.find("error") is not None or case.find("skipped") is not None:
            other.append(f"{case.get('name')} did not run")
        else:
            passed += 1
    return Outcome(passed, failed, tuple(other), seconds)


def try_mutant(mutant: Mutant, unchanged: Path, folder: Path) -> Outcome:
    """The named tests on a copy with the mutant in it."""
    copy_project(unchanged, folder)
    (folder / "bmtme" / mutant.file).write_text(change(mutant, folder), encoding="utf-8")
    outcome = run_tests(folder, mutant.tests)
    shutil.rmtree(folder)
    return outcome


def choose(text: str | None) -> tuple[Mutant, ...]:
    """Mutants whose name has a text in it, all without one."""
    chosen = tuple(mutant for mutant in MUTANTS if text is None or text.lower() in mutant.name.lower())
    if not chosen:
        raise SystemExit(f"no mutant has {text!r} in its name; --list shows all")
    return chosen


def describe(mutant: Mutant, outcome: Outcome) -> tuple[bool, str]:
    """Whether a mutant was caught, and the line of the table."""
    caught = outcome.failed == len(mutant.tests) and not outcome.other
    verdict = "caught" if caught else "SURVIVED" if outcome.passed else "NO VERDICT"
    lines = [f"{verdict:10} {outcome.seconds:6.1f}  {mutant.name}"]
    lines += [f"{'':19}{test}" for test in mutant.tests]
    lines += [f"{'':19}! {text}" for text in outcome.other]
    return caught, "\n".join(lines)


def main() -> int:
    """Run what the command line asks for; 0 where every mutant was caught."""
    parser = argparse.ArgumentParser(prog="validation.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--list", action="store_true", help="show the mutants and their tests, run nothing")
    parser.add_argument("--only", metavar="TEXT", help="mutants with this text in their name")
    parser.add_argument("-j", dest="workers", type=int, default=2, help="processes at a time (default 2)")
    options = parser.parse_args()
    chosen = choose(options.only)
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name} (bmtme/{mutant.file})", *mutant.tests, sep="\n    ")
        return 0
    began = time.perf_counter()
    tests = tuple(dict.fromkeys(test for mutant in chosen for test in mutant.tests))
    survived = []
    with tempfile.TemporaryDirectory(prefix="bmtme-mutants-") as base, ThreadPoolExecutor(options.workers) as pool:
        # One copy serves all, so that work on the checkout may go on meanwhile.
        original = Path(base) / "unchanged"
        copy_project(ROOT, original)
        for mutant in chosen:
            change(mutant, original)
        plain = pool.submit(run_tests, original, tests)
        runs = [pool.submit(try_mutant, mutant, original, Path(base) / f"mutant{n}") for n, mutant in enumerate(chosen)]
        print(f"{'':10} {'s':>6}  mutant\n{'':19}tests that must fail", flush=True)
        try:
            for mutant, run in zip(chosen, runs, strict=True):
                caught, text = describe(mutant, run.result())
                print(text, flush=True)
                if not caught:
                    survived.append(mutant.name)
            unchanged = plain.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    sound = unchanged.passed == len(tests) and not unchanged.failed and not unchanged.other
    print(
        f"{len(chosen) - len(survived)} of {len(chosen)} mutants caught; on the unchanged code {unchanged.passed} of "
        f"the {len(tests)} tests pass; {time.perf_counter() - began:.0f} s"
    )
    for name in survived:
        print(f"not caught: {name}", file=sys.stderr)
    if not sound:
        print(f"the unchanged code fails: {unchanged.failed} failures, {unchanged.other}", file=sys.stderr)
    return 0 if sound and not survived else 1


if __name__ == "__main__":
    sys.exit(main())
