"""Output of a command whose work takes hours: refused before where it would not fit, never lost at the end."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.cli.objects import list_files

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.cv.result import CrossValidation
    from bmtme.data.relationship.matrix import Relationship
    from bmtme.data.trial import Trial
    from bmtme.model.baselines import SingleTrait
    from bmtme.model.structure import BMTME

__all__ = ["TableFiles", "check_size", "describe_files", "describe_run", "list_results", "measure_size", "save_figures"]

#: Bytes from which on the size of a file is said.
LARGE = 10**6
#: Bytes of a name in that of a file.
MOST_BYTES = 60


@dataclass(frozen=True)
class TableFiles:
    """How tables are written, by the options."""

    safe_text: bool
    xlsx: bool

    @classmethod
    def of(cls, args: argparse.Namespace) -> TableFiles:
        """The options' values."""
        return cls(args.safe_text, args.xlsx)

    def write(self, folder: Path, tables: dict[str, pd.DataFrame]) -> dict[str, dict[str, str]]:
        """Write tables by the names of their files without the ending; the types of their columns."""
        from bmtme.results.spreadsheets import write_tables

        return write_tables(folder, tables, self.safe_text, self.xlsx)


def list_results(out: Path) -> list[str]:
    """Names of the files of a fit, without those that others have put beside them."""
    from bmtme.results.record import RECORD, REPORT, read_seal
    from bmtme.results.spreadsheets import WORKBOOK

    ours = {*read_seal(out)[1]["files"], RECORD, REPORT, WORKBOOK}
    return [name for name in list_files(out) if name in ours]


def describe_files(out: Path, names: list[str] | None = None) -> str:
    """A sentence of what was written, all that is in the folder or files of these names, with sizes of large ones."""
    files = []
    for path in (out / name for name in names or list_files(out)):
        size = path.stat().st_size
        files.append(f"{path.name} ({size / 1e6:,.0f} MB)" if size >= LARGE else path.name)
    return f"written to {out}: {', '.join(files)}"


def measure_size(
    trial: Trial, relationship: Relationship, model: BMTME | SingleTrait, draws: int, chains: int, keep: str
) -> int:
    """Bytes of the draws of a fit, with the effects that are kept, and of the relationship where that is kept."""
    import numpy as np

    from bmtme.model.baselines import SingleTrait
    from bmtme.results.posterior import THINNED
    from bmtme.results.unrecorded import MOST_RELATED
    from bmtme.sampling import choose_keep, count_draw_bytes, count_effect_bytes

    J, I, L = len(set(trial.lines) & set(relationship.lines)), len(trial.envs), len(trial.traits)
    sweeps = draws * chains
    kept = {"all": sweeps, "thin": min(sweeps, THINNED), "none": 0}
    parts, inner = (L, model.model) if isinstance(model, SingleTrait) else (1, model)
    r = inner.line_effect
    size = parts * count_draw_bytes(I, L // parts, sweeps, inner)
    counts = (~np.isnan(trial.values)).sum(axis=0)
    if not relationship.is_identity and (counts.max() if parts > 1 else counts.sum()) <= MOST_RELATED:
        size += 8 * J**2
    return size + count_effect_bytes(J, I, L, kept[choose_keep(keep, count_effect_bytes(J, I, L, sweeps, r))], r)


def check_size(
    out: Path,
    trial: Trial,
    relationship: Relationship,
    model: BMTME | SingleTrait,
    draws: int,
    chains: int,
    keep: str,
) -> None:
    """Refuse a fit whose draws would not fit on the disc.

    Raises
    ------
    MachineError
    """
    from bmtme.results.folder import check_space

    size = measure_size(trial, relationship, model, draws, chains, keep)
    # The draws, and in the checkpoint the same again and the relationship.
    check_space(out, 2 * size + (0 if relationship.is_identity else 8 * len(relationship) ** 2))


def describe_run(args: argparse.Namespace, files: dict[str, Any], read: float, **options: Any) -> dict[str, Any]:
    """What the checkpoint of a run keeps of the command, of its input files and of the seconds that these took to read.

    options : for what is said at its end
    """
    return {
        "command": args.words,
        "inputs": files,
        "read": round(read, 3),
        "directory": os.getcwd(),
        "tables": asdict(TableFiles.of(args)),
        "options": options,
    }


def save_figures(cv: CrossValidation, out: Path) -> None:
    """Draw accuracy.png, with several models differences.png, and of each calibration-LABEL.png, into the folder."""
    from bmtme.report.cv_plots import choose_metric, plot_accuracy, plot_calibration, plot_differences

    models = list(dict.fromkeys(cv.predictions["model"]))
    figures = {"accuracy": plot_accuracy(cv)}
    if len(models) > 1:
        figures["differences"] = plot_differences(cv, choose_metric(cv))
    for model, name in name_files(models).items():
        figures[f"calibration-{name}"] = plot_calibration(cv, model)
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png", dpi=150)


def name_files(labels: Iterable[str], signs: str = r"\w.+-") -> dict[str, str]:
    """For each label a part of a file's name, all different, also where capitals do not count.

    signs : that stand as they are, for a regular expression; others become an underscore
    """
    bare = {label: re.sub(f"[^{signs}]+", "_", label).encode()[:MOST_BYTES].decode(errors="ignore") for label in labels}
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in sorted(bare, key=lambda label: bare[label] != label):  # those that need no other come first
        name, number = bare[label], 1
        while name.casefold() in taken:
            number += 1
            name = f"{bare[label]}_{number}"
        names[label] = name
        taken.add(name.casefold())
    return {label: names[label] for label in bare}
