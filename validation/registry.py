"""What a study has to offer, and how its results are written down.

A study is a module or package of this folder that, when it is imported, calls

    register("speed", quick=check_quickly, full=check_fully)

with functions from `Options` to a list of `Row`, one a line of the printed table. `full` also writes
``validation/results/tables/<name>.md`` with `write_tables`; without it, `quick` is all there is. What the tables say is
written by hand, in ``validation/results/<name>.md``.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bmtme.linalg.compile import hash_sources
from bmtme.machine import count_cores, find_versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A statistical check fails where its smallest p-value, times the number of comparisons, is below this.
LEVEL = 1e-3
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Options:
    """How to run.

    Attributes
    ----------
    cores : threads at most
    seed : of everything random
    results : folder of the written results
    replicates : folder where long studies keep what they have done, to go on after an interruption
    """

    cores: int
    seed: int
    results: Path
    replicates: Path


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    check : what was checked
    size : how much of it
    statistic : what `figure` is
    figure : a p-value, or a number with its Monte Carlo error
    ok : the verdict; None where nothing was run, and `figure` says why
    """

    check: str
    size: str
    statistic: str
    figure: str
    ok: bool | None

    @property
    def verdict(self) -> str:
        """In one word."""
        return "not run" if self.ok is None else "ok" if self.ok else "FAILED"


Run = Callable[[Options], list[Row]]


@dataclass(frozen=True)
class Study:
    """A registered study; `group` is the module or package of this folder that it is in."""

    name: str
    quick: Run
    full: Run | None
    group: str


STUDIES: dict[str, Study] = {}


def register(name: str, quick: Run, full: Run | None = None) -> None:
    """Add a study to the table of `validation.run`."""
    STUDIES[name] = Study(name, quick, full, quick.__module__.split(".")[1])


def find_studies(names: Sequence[str]) -> list[str]:
    """Names of studies from names of studies and of groups, each once."""
    chosen = [study.name for name in names for study in STUDIES.values() if name in (study.name, study.group)]
    return list(dict.fromkeys(chosen))


def make_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded so that it also reads as plain text."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(len(row[c]) for row in cells) for c in range(len(head))]
    lines = ["| " + " | ".join(x.ljust(w) for x, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def tabulate(rows: Sequence[Row]) -> str:
    """Rows as the table that is printed."""
    head = ("check", "size", "statistic", "figure", "verdict")
    return make_table(head, [(r.check, r.size, r.statistic, r.figure, r.verdict) for r in rows])


def write_tables(
    options: Options, name: str, rows: Sequence[Row], tables: Mapping[str, str], seconds: float | None = None
) -> Path:
    """Write ``tables/<name>.md``: date, command and versions, the checks, and the tables under their headings.

    seconds : wall time, where it is that of the whole study
    """
    versions = ", ".join(f"{library} {version}" for library, version in find_versions().items())
    head = [
        f"- Date: {datetime.date.today().isoformat()}",
        f"- Command: `python -m validation.run --only {name} --seed {options.seed}` ([what it needs](../../README.md))",
        f"- Versions: {versions}; compiled sources {hash_sources()}",
    ]
    if seconds is not None:
        threads = f"{options.cores} thread{'s' if options.cores > 1 else ''}"
        head.append(f"- Wall time: {seconds / 60:.1f} minutes, {threads}")
    parts = [f"# Tables of the study `{name}`", "\n".join(head)]
    parts += [f"## {heading}\n\n{table}" for heading, table in {"Checks": tabulate(rows), **tables}.items()]
    folder = options.results / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def write_figure(options: Options, name: str, figure: Figure) -> None:
    """Write ``<name>.png`` into the folder of the results."""
    options.results.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.results / f"{name}.png", dpi=120, bbox_inches="tight", metadata={"Software": None})


def report_progress(what: str) -> Callable[[int, int], None]:
    """A callback that shows how far a study is, on stderr, where that is a terminal."""

    def report(done: int, total: int) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            print(f"\r{what}: {done} of {total}", end="\n" if done >= total else "", file=sys.stderr, flush=True)

    return report


def default_options() -> Options:
    """All processors, seed 1, the folders of this package."""
    return Options(count_cores(), 1, RESULTS, Path("build") / "validation")
