"""Run the studies and print one table; exit status 1 where one fails.

python -m validation.run --quick                the small size of everything, under 20 minutes on two cores
python -m validation.run                        the full size; writes validation/results/tables/<name>.md
python -m validation.run --only sbc --cores 1   one study (or several, or a group: --only geweke paper)
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import validation
from validation.registry import STUDIES, Options, Row, Study, default_options, find_studies, tabulate

#: Modules that are no studies: programs of their own, and what studies share.
ASIDE = {"run", "registry", "mutants", "planted", "trials", "rscript", "gblup"}


def import_studies() -> None:
    """Import every module of the package, so that they register their studies."""
    for module in pkgutil.iter_modules(validation.__path__):
        if module.name not in ASIDE:
            importlib.import_module(f"validation.{module.name}")


def run_one(study: Study, quick: bool, options: Options) -> list[Row]:
    """The rows of one study; one that breaks off is a failed row, so that the others still run."""
    run = study.quick if quick or study.full is None else study.full
    try:
        return run(options)
    except Exception as error:
        return [Row(study.name, "", type(error).__name__, str(error).split("\n")[0][:100], False)]


def parse_options(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, Options]:
    """Read the command line."""
    options = default_options()
    parser = argparse.ArgumentParser(prog="python -m validation.run", description="Statistical validation of bmtme.")
    parser.add_argument("--quick", action="store_true", help="the small size of everything; writes no results")
    groups = sorted({study.group for study in STUDIES.values()} - set(STUDIES))
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        choices=[*sorted(STUDIES), *groups],
        help=f"studies: {', '.join(sorted(STUDIES))}; or groups of them: {', '.join(groups)}",
    )
    parser.add_argument("--cores", type=int, default=options.cores, help="threads (default: all, %(default)s)")
    parser.add_argument("--seed", type=int, default=options.seed)
    parser.add_argument("--results", type=Path, default=options.results, help="folder of the written results")
    parser.add_argument(
        "--replicates",
        type=Path,
        default=options.replicates,
        help="folder of finished replicates, with which an interrupted run goes on (default: %(default)s)",
    )
    given = parser.parse_args(arguments)
    if given.cores < 1 or given.seed < 0:
        parser.error("--cores must be at least 1 and --seed at least 0.")
    return given, replace(
        options, cores=given.cores, seed=given.seed, results=given.results, replicates=given.replicates
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and return the exit status."""
    import_studies()
    given, options = parse_options(arguments)
    began = time.perf_counter()
    rows: list[Row] = []
    for name in find_studies(given.only or sorted(STUDIES)):
        start = time.perf_counter()
        rows += run_one(STUDIES[name], given.quick, options)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    print(tabulate(rows))
    ran = [row for row in rows if row.ok is not None]
    failed = sum(not row.ok for row in ran)
    verdict = f"{failed} of {len(ran)} checks FAILED" if failed else f"all {len(ran)} checks passed"
    if len(ran) < len(rows):
        verdict += f", {len(rows) - len(ran)} not run"
    print(f"{verdict}, {(time.perf_counter() - began) / 60:.1f} minutes")
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
