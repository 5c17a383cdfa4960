"""From the files of a public source to tables with the columns line, env and the traits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bmtme.data.relationship.genomic import vanraden
from bmtme.data.relationship.matrix import Relationship
from bmtme.errors import DataError, blame
from bmtme.extras import require

__all__ = ["PARSERS", "Parts", "read_r"]


@dataclass
class Parts:
    """What a data set consists of; see `bmtme.datasets.DataSet`."""

    frame: pd.DataFrame
    relationship: Relationship | None = None
    pedigree: pd.DataFrame | None = None
    markers: pd.DataFrame | None = None
    others: dict[str, Relationship] = field(default_factory=dict)


Files = Mapping[str, Path]


def read_r(path: Path) -> dict[str, Any]:
    """Objects of an R data file (.rda, .RData) by name.

    Raises
    ------
    DataError
        If it is none.
    UsageError
        If rdata is not installed.
    """
    rdata = require("rdata", "datasets", f"reading {path.name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # classes of R that are plain lists to us
            objects: dict[str, Any] = rdata.read_rda(path, default_encoding="utf-8")
    except OSError as error:
        raise blame(error, DataError)(f"{path} cannot be read: {error.strerror or error}.") from None
    except Exception as error:  # a damaged file makes rdata stumble in many ways
        raise DataError(f"{path.name} is no R data file that can be read ({type(error).__name__}).") from None
    return objects


def _steptoe_morex(files: Files) -> Parts:
    frame = _text_table(files["steptoe.morex.pheno.txt"], sep="\t").rename(columns={"gen": "line"})
    cross = read_r(files["steptoe.morex.geno.rda"])["steptoe.morex.geno"]
    names = cross["pheno"]["gen"].astype(str).to_list()
    blocks = []
    for chromosome in cross["geno"].values():
        data = chromosome["data"]
        # 1 and 2 are the two homozygotes of doubled haploids: 0 and 2 copies of the second parent's allele.
        blocks.append(pd.DataFrame(2 * (np.asarray(data) - 1), index=names, columns=_names(data, 1)))
    markers = pd.concat(blocks, axis=1)
    markers.index.name = "line"
    return Parts(frame, vanraden(markers), markers=markers)


def _belamkar(files: Files) -> Parts:
    frame = _text_table(files["belamkar.augmented.txt"], sep="\t")
    frame = frame.rename(columns={"gen": "line", "loc": "env", "iblock": "block"})
    return Parts(frame[["line", "env", "rep", "row", "col", "block", "yield", "gen_new", "gen_check"]])


def _gryphon(files: Files) -> Parts:
    objects = read_r(files["Gryphon.RData"])
    frame = objects["Gryphon_df"].rename(columns={"ID": "line", "year": "byear"})
    frame = _as_text(frame, ["line", "sex", "byear", "mother"]).assign(env="all")
    pedigree = objects["Gryphon_pedigree"].rename(columns={"ID": "id", "Dam": "dam", "Sire": "sire"})
    pedigree = _as_text(pedigree, ["id", "sire", "dam"])[["id", "sire", "dam"]].reset_index(drop=True)
    return Parts(frame[["line", "env", "sex", "byear", "mother", "BWT", "TARSUS"]], pedigree=pedigree)


def _maize(files: Files) -> Parts:
    objects = read_r(files["Maize_GFR.rda"])
    long = objects["Maize_GFR"].rename(columns={"Line": "line", "Env": "env"})
    # The matrix has no names of its own; its rows are the levels of the factor of the lines.
    lines = [str(level) for level in long["line"].cat.categories]
    frame = _widen(_as_text(long, ["line", "env", "Trait"]), "Trait", "Response")
    return Parts(frame[["line", "env", "Yield", "ASI", "PH"]], _related(objects["Maize_GenomicMatrix"], lines))


def _potato(files: Files) -> Parts:
    parts = [
        _text_table(files[name], sep=",").rename(columns={"id": "line", "range": "col"})
        for name in ("pheno1a.csv", "pheno1b.csv")
    ]
    frame = pd.concat(parts, ignore_index=True)
    pedigree = pd.read_csv(files["ped.csv"], dtype=str, na_values=["NA"], keep_default_na=False)
    names = ["line", "env", "expt", "block", "row", "col", "total.yield", "vine.maturity", "fry.color", "stand.count"]
    return Parts(frame[names].astype({name: "Int64" for name in ("block", "row", "col")}), pedigree=pedigree)


def _wheat250(files: Files) -> Parts:
    objects = read_r(files["MultiEnvWheat.RData"])
    first = _as_text(objects["Trigo.Data"].rename(columns={"Gid": "line", "Env": "env"}), ["line", "env"])
    long = _as_text(read_r(files["Wheat_IBCF.rda"])["Wheat_IBCF"], ["GID", "Trait", "Env"])
    # This source swaps the names of the two environments in beds.
    swapped = {"Bed2IR": "Bed5IR", "Bed5IR": "Bed2IR"}
    long = long.rename(columns={"GID": "line", "Env": "env_in_IBCF"})
    long["env"] = long["env_in_IBCF"].replace(swapped)
    second = _widen(long, "Trait", "Response", keys=["line", "env", "env_in_IBCF"])
    second = second.rename(columns={"GY": "GRYLD"})[["line", "env", "env_in_IBCF", "GRYLD", "NDVI"]]
    frame = first.merge(second, on=["line", "env"], how="left", validate="1:1")
    frame = frame[["line", "env", "DTHD", "GRYLD", "NDVI", "PTHT", "env_in_IBCF"]]
    return Parts(frame, _related(objects["G"], objects["G"].index.astype(str)))


def _wheat599(files: Files) -> Parts:
    objects = read_r(files["wheat.RData"])
    yields, codes = objects["wheat.Y"], objects["wheat.X"]
    lines = _names(yields, 0)
    columns = _names(yields, 1)
    frame = pd.DataFrame(np.asarray(yields), columns=[f"E{name}" for name in columns]).assign(
        line=lines, cv_set=np.asarray(objects["wheat.sets"])
    )
    frame = frame.melt(["line", "cv_set"], var_name="env", value_name="GY")[["line", "env", "GY", "cv_set"]]
    markers = pd.DataFrame(np.asarray(codes), index=pd.Index(lines, name="line"), columns=_names(codes, 1))
    values = markers.to_numpy(dtype=np.float64)
    standard = (values - values.mean(axis=0)) / values.std(axis=0, ddof=1)
    relationship = Relationship(standard @ standard.T / standard.shape[1], lines=lines)
    pedigree = _related(objects["wheat.A"], _names(objects["wheat.A"], 0))
    return Parts(frame, relationship, markers=markers, others={"A_pedigree": pedigree})


def _toy(files: Files) -> Parts:
    (path,) = files.values()
    objects = read_r(path)
    (pheno,) = (value for name, value in objects.items() if name.startswith("pheno"))
    (matrix,) = (value for name, value in objects.items() if name.startswith("geno"))
    frame = _as_text(pheno.set_axis(["line", "env", *pheno.columns[2:]], axis=1), ["line", "env"])
    lines = [str(name) for name in matrix.index] if isinstance(matrix, pd.DataFrame) else _names(matrix, 0)
    return Parts(frame, _related(matrix, lines))


PARSERS: dict[str, Callable[[Files], Parts]] = {
    "barley_steptoe_morex152": _steptoe_morex,
    "belamkar_augmented": _belamkar,
    "gryphon": _gryphon,
    "maize309_mtme": _maize,
    "potato_hancock": _potato,
    "wheat250_mtme": _wheat250,
    "wheat599": _wheat599,
    "toys/MaizeToy": _toy,
    "toys/WheatToy": _toy,
    "toys/WheatIranianToy": _toy,
}


# --- pieces -----------------------------------------------------------------------------------------------------


def _text_table(path: Path, sep: str) -> pd.DataFrame:
    """A delimited file with its identifiers as text and NA as missing."""
    names = {name: str for name in ("gen", "id", "env", "loc", "rep", "gen_check", "iblock", "expt")}
    return pd.read_csv(path, sep=sep, dtype=names, na_values=["NA", ""], keep_default_na=False)


def _as_text(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The frame with these columns as text, None where missing, and rows numbered anew."""
    frame = frame.reset_index(drop=True)
    for name in columns:
        text = frame[name].astype("string").astype(object)
        frame[name] = text.where(text.notna(), None)
    return frame


def _widen(long: pd.DataFrame, trait: str, value: str, keys: list[str] | None = None) -> pd.DataFrame:
    """One row per line and environment in order of first appearance, one column per trait."""
    keys = keys or ["line", "env"]
    wide = long.pivot(index=keys, columns=trait, values=value)
    order = pd.MultiIndex.from_frame(long[keys].drop_duplicates())
    return wide.loc[order].reset_index().rename_axis(columns=None)


def _names(array: Any, axis: int) -> list[str]:
    """Names of the rows (0) or columns (1) of an R matrix."""
    return [str(name) for name in array.coords[array.dims[axis]].to_numpy()]


def _related(matrix: Any, lines: Any) -> Relationship:
    return Relationship(np.asarray(matrix, dtype=np.float64), lines=lines)
