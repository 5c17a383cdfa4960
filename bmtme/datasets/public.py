"""Public trials: fetched with their checksums, or read from a local folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bmtme.arguments import as_text, file_path, is_one_of, show
from bmtme.data.markers.archives import load_archive
from bmtme.data.relationship.files import read_relationship
from bmtme.data.relationship.matrix import Relationship
from bmtme.data.tables.files import read_table
from bmtme.data.trial import Trial
from bmtme.datasets.parsers import PARSERS, Parts
from bmtme.datasets.sources import SOURCES, RemoteFile, Source
from bmtme.errors import DataError, UsageError, blame, is_of_machine
from bmtme.extras import require
from bmtme.words import list_names, suggest

__all__ = ["DataSet", "fetch", "list_sets"]

#: Where files of public repositories are served; a mirror has the same layout: repository/commit/path.
HOME = "https://raw.githubusercontent.com"


@dataclass(frozen=True, eq=False)
class DataSet:
    """A public trial.

    Attributes
    ----------
    name : str
    frame : pandas.DataFrame
        Wide phenotypes: line, env, the columns of plots, and the traits.
    source : Source
        Title, licence, traits with their units, citation and what to know.
    relationship : Relationship or None
    pedigree : pandas.DataFrame or None
        Individuals and their parents in the first three columns.
    markers : pandas.DataFrame or None
        Genotypes, lines in rows.
    others : dict of Relationship
        Further relationships by name.
    """

    name: str
    frame: pd.DataFrame
    source: Source
    relationship: Relationship | None = None
    pedigree: pd.DataFrame | None = None
    markers: pd.DataFrame | None = None
    others: dict[str, Relationship] = field(default_factory=dict)

    @property
    def trial(self) -> Trial:
        """The phenotypes as a trial."""
        rep = list(self.source.rep) or None
        return Trial.from_frame(self.frame, line="line", env="env", traits=self.source.traits, rep=rep)

    def __repr__(self) -> str:
        parts = [name for name in ("relationship", "pedigree", "markers") if getattr(self, name) is not None]
        return f"DataSet({self.name}: {self.source.title}{'; with ' if parts else ''}{', '.join(parts)})"


def list_sets() -> pd.DataFrame:
    """The public sets that `fetch` knows: DataFrame with name, title, traits, licence and cite."""
    rows = [(name, set_.title, ", ".join(set_.traits), set_.licence, set_.cite) for name, set_ in SOURCES.items()]
    return pd.DataFrame(rows, columns=["name", "title", "traits", "licence", "cite"])


def fetch(
    name: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    mirror: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> DataSet:
    """Get a public trial.

    Parameters
    ----------
    name : str
        One of `list_sets`.
    folder : str or path, optional
        Nothing is downloaded: either ``folder/name`` holds ``pheno.csv`` and, where the set has them, ``grm.csv`` (or
        ``.csv.gz``), ``pedigree.csv`` and ``markers.npz``; or `folder` holds the files of the source under their own
        names, whose checksums are compared.
    mirror : str, optional
        Address in place of https://raw.githubusercontent.com, with the same layout below it.
    cache : str or path, optional
        Where downloads are kept; by default the user's cache folder (or the environment variable BMTME_DATA_CACHE).

    Returns
    -------
    DataSet

    Raises
    ------
    DataError
        If a file cannot be fetched or read, or is not the one expected (by its SHA-256; nothing is kept then).
    UsageError
        If there is no such set, a library is needed that is not installed (extra ``datasets``), or nothing can be
        written in the cache.
    MachineError
        If the machine fails, as a full disc does.

    Notes
    -----
    Every file comes from a fixed commit of a public repository. The licence of each set is in ``source.licence``.
    """
    if not is_one_of(name, SOURCES):
        close = suggest(name, SOURCES) if isinstance(name, str) else ""
        raise UsageError(f"there is no data set {show(name)}.{close} There are {list_names(SOURCES, 20)}.")
    mirror = None if mirror is None else as_text(mirror, "mirror")
    if folder is not None and mirror is not None:
        raise UsageError("folder= and mirror= exclude each other: a folder is read, a mirror is downloaded from.")
    source = SOURCES[name]
    if folder is not None:
        parts = _read_folder(name, Path(file_path(folder, "folder")), source)
    else:
        place = None if cache is None else file_path(cache, "cache")
        parts = PARSERS[name]({file.name: _download(file, mirror or HOME, place) for file in source.files})
    return DataSet(name, parts.frame, source, parts.relationship, parts.pedigree, parts.markers, parts.others)


def _read_folder(name: str, folder: Path, source: Source) -> Parts:
    """A set that is there already, as plain tables or as the files of its source."""
    if (folder / name / "pheno.csv").is_file():
        return _read_plain(folder / name, source)
    files = {file.name: folder / file.name for file in source.files}
    lacking = [file for file, path in files.items() if not path.is_file()]
    if lacking:
        raise DataError(
            f"{folder} holds neither {name}/pheno.csv nor the files of the source ({list_names(lacking)} lacking): "
            f"put one or the other there."
        )
    for file in source.files:
        found = hashlib.sha256(files[file.name].read_bytes()).hexdigest()
        if found != file.sha256:
            raise DataError(_describe_mismatch(str(files[file.name]), file, found))
    return PARSERS[name](files)


def _read_plain(folder: Path, source: Source) -> Parts:
    """Plain tables; columns of traits and whole numbers become numbers, all others stay text."""
    table = read_table(folder / "pheno.csv")
    frame = table.frame.reset_index(drop=True)
    for column in frame.columns:
        if column in source.traits:
            frame[column] = table.numbers(column, "trait")
        else:
            frame[column] = frame[column].where(frame[column] != "", None)
    parts = Parts(frame)
    for grm in ("grm.csv", "grm.csv.gz"):
        if (folder / grm).is_file():
            parts.relationship = read_relationship(folder / grm)
    if (folder / "pedigree.csv").is_file():
        parts.pedigree = read_table(folder / "pedigree.csv").frame.reset_index(drop=True)
    if (folder / "markers.npz").is_file():
        parts.markers = _read_markers(folder / "markers.npz")
    for path in sorted(folder.glob("*.csv.gz")):
        if not path.name.startswith("grm."):
            parts.others[path.name.removesuffix(".csv.gz")] = read_relationship(path)
    return parts


def _read_markers(path: Path) -> pd.DataFrame:
    """Genotypes of a NumPy archive; negative codes are missing."""
    codes, lines, names = load_archive(path)
    values = np.where(codes < 0, np.nan, codes.astype(np.float64))
    return pd.DataFrame(values, index=pd.Index(lines, name="line"), columns=names)


def _download(file: RemoteFile, home: str, cache: str | os.PathLike[str] | None) -> Path:
    """The file in the cache, fetched if it is not there yet."""
    pooch = require("pooch", "datasets", "fetching data")
    url = "/".join([home.rstrip("/"), file.repository, file.commit, file.path])
    place = Path(cache or os.environ.get("BMTME_DATA_CACHE") or pooch.os_cache("bmtme"))
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        kept = pooch.retrieve(
            url, known_hash=f"sha256:{file.sha256}", fname=f"{file.commit[:12]}-{file.name}", path=place
        )
    except ValueError as error:
        if "hash" not in str(error):
            raise DataError(f"{file.name} could not be fetched from {url}: {str(error).rstrip('.')}.") from None
        raise DataError(_describe_mismatch(url, file)) from None
    except OSError as error:  # of the net as well as of the disc: requests' errors are such
        if is_of_machine(error) or isinstance(error, (PermissionError, FileExistsError, NotADirectoryError)):
            reason = error.strerror or " ".join(str(error).split()).rstrip(".")
            raise blame(error)(
                f"{file.name} cannot be kept in {place}: {reason}. Name another folder for downloads as cache=, or in "
                "the environment variable BMTME_DATA_CACHE."
            ) from None
        # Of the many words for a server that cannot be reached, none helps.
        reason = "no connection" if type(error).__name__ == "ConnectionError" else " ".join(str(error).split())
        raise DataError(
            f"{file.name} could not be fetched from {url} ({reason}): name a mirror=, or put the file into a folder "
            "and name that as folder=."
        ) from None
    finally:
        logger.setLevel(level)
    return Path(kept)


def _describe_mismatch(place: str, file: RemoteFile, found: str | None = None) -> str:
    seen = f", got {found}" if found else ""
    return (
        f"{place} is not the file that was expected: its SHA-256 should be {file.sha256}{seen}. It is damaged or "
        "another version and was not used."
    )
