"""The real trials that studies use, where BMTME_DATA names the folder that holds them.

``maize309_mtme``, ``wheat250_mtme`` and ``wheat599`` hold ``pheno.csv`` and ``grm.csv.gz``; ``gryphon`` holds
``pheno.csv`` and ``pedigree.csv``; ``toys`` holds a folder with ``pheno.csv`` and ``grm.csv`` for each of ``MaizeToy``,
``WheatToy`` and ``WheatIranianToy``, the examples of the R package BMTME.
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
}


def find_trial(name: str) -> Path | None:
    """Folder of a trial, or None where it is not."""
    folder = Path(os.environ.get("BMTME_DATA", "")) / name
    return folder if "BMTME_DATA" in os.environ and folder.is_dir() else None


def read_trial(name: str) -> tuple[bmtme.Trial, bmtme.Relationship] | None:
    """A trial and its relationship, or None where it is not."""
    folder = find_trial(name)
    if folder is None:
        return None
    line, env, traits = COLUMNS[name]
    trial = bmtme.read_trial(folder / "pheno.csv", line=line, env=env, traits=traits)
    if (folder / "pedigree.csv").is_file():
        return trial, bmtme.pedigree_relationship(bmtme.read_pedigree(folder / "pedigree.csv"))
    return trial, bmtme.read_relationship(folder / "grm.csv.gz")


def skip(check: str, name: str) -> Row:
    """The row of a check whose trial is not there."""
    return Row(check, "", "", f"set BMTME_DATA to a folder with {name}", None)
