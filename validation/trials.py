"""The real trials that studies use, where BMTME_DATA names the folder that holds them.

``maize309_mtme``, ``wheat250_mtme``, ``wheat599`` and ``barley_steptoe_morex152`` hold ``pheno.csv`` and
``grm.csv.gz``; ``gryphon`` holds ``pheno.csv`` and ``pedigree.csv``; ``belamkar_augmented`` holds ``pheno.csv`` alone;
``field_trials`` holds plots with rows and columns (``SOURCE.md`` there);
``toys`` holds a folder with ``pheno.csv`` and ``grm.csv`` for each of ``MaizeToy``, ``WheatToy`` and
``WheatIranianToy``, the examples of the R package BMTME.
"""

from __future__ import annotations

import os
from pathlib import Path

import bmtme
from validation.registry import Row

#: Column names and traits of each trial.
COLUMNS = {
    "maize309_mtme": ("line", "env", ["Yield", "ASI", "PH"]),
    "wheat250_mtme": ("line", "env", ["DTHD", "GRYLD", "NDVI", "PTHT"]),
    "wheat599": ("line", "env", ["GY"]),
    "gryphon": ("line", "env", ["BWT", "TARSUS"]),
    "barley_steptoe_morex152": (
        "line",
        "env",
        ["amylase", "diapow", "hddate", "lodging", "malt", "height", "protein", "yield"],
    ),
    "belamkar_augmented": ("line", "env", ["yield"]),
}


def find_trial(name: str) -> Path | None:
    """Folder of a trial, or None where it is not."""
    folder = Path(os.environ.get("BMTME_DATA", "")) / name
    return folder if "BMTME_DATA" in os.environ and folder.is_dir() else None


def read_trial(name: str) -> tuple[bmtme.Trial, bmtme.Relationship] | None:
    """A trial and its relationship, of unrelated lines where none is given, or None where it is not.

    Lines that the relationship lacks are left out.
    """
    folder = find_trial(name)
    if folder is None:
        return None
    line, env, traits = COLUMNS[name]
    trial = bmtme.read_trial(folder / "pheno.csv", line=line, env=env, traits=traits)
    if (folder / "pedigree.csv").is_file():
        return trial, bmtme.pedigree_relationship(bmtme.read_pedigree(folder / "pedigree.csv"))
    if not (folder / "grm.csv.gz").is_file():
        return trial, bmtme.Relationship.identity(trial.lines)
    relationship = bmtme.read_relationship(folder / "grm.csv.gz")
    strangers = [line for line in trial.lines if line not in set(relationship.lines)]
    return trial.drop_lines(strangers) if strangers else trial, relationship


def skip(check: str, name: str) -> Row:
    """The row of a check whose trial is not there."""
    return Row(check, "", "", f"set BMTME_DATA to a folder with {name}", None)
