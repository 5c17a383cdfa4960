"""A finished fit: posterior, summary, predictions; saved to and loaded from a folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from bmtme.arguments import file_path
from bmtme.errors import DataError, UsageError
from bmtme.results.posterior import make_tree
from bmtme.results.summary import summarise_posterior


class Fit:
    """Result of `bmtme.fit`.

    Attributes
    ----------
    idata : arviz.InferenceData (ArviZ 0.x) or xarray.DataTree (ArviZ 1.x)
        Groups posterior, sample_stats, observed_data, constant_data, and ``effects`` where they were thinned.
    run : dict
        Settings, seed, versions, timings and facts about the data, as written to ``run.json``.
    """

    def __init__(self, groups: dict[str, Any], run: dict[str, Any], predictions: pd.DataFrame | None) -> None:
        self._groups = groups
        self._predictions = predictions
        self._idata: Any = None
        self._summary: pd.DataFrame | None = None
        self.run = run

    def __repr__(self) -> str:
        data, settings = self.run["data"], self.run["settings"]
        return (
            f"Fit({settings['model']['structure']}; {data['lines']} lines x {data['envs']} environments x "
            f"{data['traits']} traits; {settings['chains']} chains of {settings['draws']} draws)"
        )

    @property
    def idata(self) -> Any:
        if self._idata is None:
            self._idata = make_tree(self._groups)
        return self._idata

    def summary(self) -> pd.DataFrame:
        """Posterior summary by name, such as ``Sigma_t[Yield, ASI]``.

        Returns
        -------
        DataFrame
            mean, sd, lower, upper (90% equal-tailed), ess_bulk, ess_tail, r_hat (rank-normalised, split), and a note
            where an entry is informed by its prior only or the chains do not suffice. Beside the model's parameters:
            genetic and residual correlations, and the heritability of a plot.
        """
        if self._summary is None:
            self._summary = summarise_posterior(self._groups["posterior"], self.run["facts"])
        return self._summary.copy()

    def predictions(self) -> pd.DataFrame:
        """Predictions of every line of the relationship in every environment for every trait.

        Returns
        -------
        DataFrame
            line, env, trait; n_obs, observed: number and mean of the cell's recorded plots; mean, sd of
            beta + b1 + b2; lower, upper: 90% equal-tailed interval for a new plot. Traits' units.

        Raises
        ------
        UsageError
            If the effects were not kept.
        """
        if self._predictions is None:
            raise UsageError(
                "this fit kept no effects (keep_effects='none'), so there are no predictions: fit again with "
                "keep_effects='auto', 'thin' or 'all'."
            )
        return self._predictions.copy()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write summary.csv, predictions.csv, idata.nc and run.json to a new or empty folder.

        Raises
        ------
        UsageError
            If the folder holds something already.
        """
        with new_folder(folder) as path:
            self.summary().to_csv(path / "summary.csv")
            if self._predictions is not None:
                self._predictions.to_csv(path / "predictions.csv", index=False)
            _reserve(path / "idata.nc", sum(dataset.nbytes for dataset in self._groups.values()))
            for k, (name, dataset) in enumerate(self._groups.items()):
                dataset.to_netcdf(path / "idata.nc", mode="a" if k else "w", group=name, engine="h5netcdf")
            (path / "run.json").write_text(json.dumps(self.run, indent=2) + "\n", encoding="utf-8")


def load(folder: str | os.PathLike[str]) -> Fit:
    """Load a fit saved by `Fit.save` or by ``bmtme fit``.

    Raises
    ------
    DataError
        If the folder is not such a folder, or a file of it cannot be read.
    """
    import xarray

    path = Path(file_path(folder, "folder"))
    for name in ("idata.nc", "run.json"):
        if not (path / name).is_file():
            raise DataError(f"{path} holds no {name}: expected a folder written by Fit.save or 'bmtme fit'.")
    try:
        run = json.loads((path / "run.json").read_text(encoding="utf-8"))
        with xarray.open_datatree(path / "idata.nc", engine="h5netcdf") as tree:
            groups = {name: node.to_dataset().load() for name, node in tree.children.items()}
        predictions = None
        if (path / "predictions.csv").is_file():
            # As text first: names such as NA stay, and numbers are read back exactly by any pandas.
            predictions = pd.read_csv(path / "predictions.csv", dtype=str, keep_default_na=False)
            predictions["n_obs"] = [int(cell) for cell in predictions["n_obs"]]
            for name in ("observed", "mean", "sd", "lower", "upper"):
                predictions[name] = [float(cell or "nan") for cell in predictions[name]]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a saved fit: {error}") from error
    return Fit(groups, run, predictions)


def check_new_folder(folder: str | os.PathLike[str]) -> Path:
    """The path of an output folder, refused where something is there already."""
    path = Path(file_path(folder, "folder"))
    if path.is_dir() and any(path.iterdir()):
        raise UsageError(f"the output folder {path} is not empty: name another one, or remove what is in it.")
    if path.exists() and not path.is_dir():
        raise UsageError(f"the output folder {path} is a file: name another one.")
    return path


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a whole folder or nothing: files go to a hidden draft and take their places at the end.

    A folder that exists (and is empty) stays itself, so that mount points, links and "." serve too.
    """
    path = check_new_folder(folder)
    existed = path.is_dir()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path if existed else path.parent))
    except OSError as error:
        raise UsageError(f"cannot write the output folder {path}: {error.strerror}.") from error
    try:
        yield draft
        if existed:
            for file in sorted(draft.iterdir(), key=lambda file: (file.name == "run.json", file.name)):
                file.rename(path / file.name)
        else:
            os.chmod(draft, 0o777 & ~_umask())
            draft.rename(path)
    except OSError as error:  # of HDF5, too, which has words of its own
        reason = error.strerror or " ".join(str(error).split())
        raise UsageError(f"cannot write the output folder {path}: {reason}.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _reserve(path: Path, size: int) -> None:
    """Make sure that a file of about so many bytes can be written: HDF5 may crash where a disc is full halfway.

    Raises
    ------
    OSError
    """
    size += size // 20 + 2**20  # what HDF5 adds: names, trees, alignment
    try:
        with open(path, "wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:  # macOS
                for _ in range(size // 2**20 + 1):
                    file.write(bytes(2**20))
    finally:
        path.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
