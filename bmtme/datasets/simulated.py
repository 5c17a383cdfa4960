"""Simulated trials with known parameters, drawn from the model itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmtme.arguments import check_memory, file_path, is_number, is_one_of, show, whole_number
from bmtme.choices import RELATIONSHIPS
from bmtme.data.relationship.genomic import vanraden
from bmtme.data.relationship.matrix import Relationship
from bmtme.errors import DataError, UsageError
from bmtme.model.eigenbasis import measure_spread

FloatArray = npt.NDArray[np.float64]

PAPER_MEANS = np.array([[15.0, 8.0, 7.0], [12.0, 6.0, 7.0], [14.0, 9.0, 8.0]])
"""Means of environment (rows) x trait in the simulations of Montesinos-Lopez et al. (2016)."""

HERITABILITY = (0.2, 0.5, 0.8)
FAMILY = 10  # lines of a family, in "blocks" and "markers"

# First word of the spawn keys; the bytes spell "data". A sampler started with the seed of its data must not draw
# the very numbers the data were made of.
_DATA_STREAM = 0x64617461
# One stream for each part, so that asking for missing records, say, leaves the values of the others as they are.
_STREAMS = ("markers", "beta", "b1", "b2", "residual", "missing", "missing_traits")


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated trial and the parameters it was drawn with.

    Attributes
    ----------
    frame : pandas.DataFrame
        Wide phenotypes with the columns line, env, rep (text) and one column for every trait; a row is a plot.
    relationship : Relationship
        G of the lines.
    truth : dict of DataFrame or Series
        ``beta`` (env x trait), ``Sigma_t`` and ``R_e`` (trait x trait), ``Sigma_E`` (env x env), ``b1``
        (line x trait), ``b2`` (rows: env, line; columns: trait) and ``heritability`` (trait). With one
        environment there is no ``b2`` and no ``Sigma_E``.
    markers : pandas.DataFrame or None
        Allele counts (0 or 2), lines x markers, where the relationship was made from markers.
    """

    frame: pd.DataFrame
    relationship: Relationship
    truth: dict[str, pd.DataFrame | pd.Series]
    markers: pd.DataFrame | None = None

    def save(self, folder: str | Path) -> None:
        """Write phenotypes.csv, relationship.csv, truth.json and, where there are markers, markers.csv.

        Parameters
        ----------
        folder : str or Path
            Made where it does not exist.

        Raises
        ------
        UsageError
            If one of the files is there already.
        """
        folder = Path(file_path(folder, "folder"))
        lines = list(self.relationship.lines)
        grm = pd.DataFrame(self.relationship.matrix, index=pd.Index(lines, name="line"), columns=lines)
        texts = {
            "phenotypes.csv": self.frame.to_csv(index=False),
            "relationship.csv": grm.to_csv(),
            "truth.json": json.dumps({name: _nested(values) for name, values in self.truth.items()}, indent=1) + "\n",
        }
        if self.markers is not None:
            texts["markers.csv"] = self.markers.to_csv(index_label="line")
        for name in texts:
            if (folder / name).exists():
                raise UsageError(f"{folder / name} exists already: choose another folder or remove the file.")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for name, text in texts.items():
                (folder / name).write_text(text, encoding="utf-8")
        except OSError:  # half of them would be in the way of the next call
            for name in texts:
                (folder / name).unlink(missing_ok=True)
            raise


def simulate(
    lines: int = 80,
    envs: int = 3,
    traits: int = 3,
    reps: int = 1,
    genetic_correlation: float = 0.85,
    residual_correlation: float = 0.85,
    heritability: float | Sequence[float] = HERITABILITY,
    interaction: float | Sequence[float] = 0.5,
    relationship: str | Relationship = "compound",
    missing: float = 0.0,
    missing_traits: float = 0.0,
    seed: int = 1,
) -> Simulation:
    """Draw a trial from the Bayesian multi-trait multi-environment model.

    ``y_ijk = beta_i + b1_j + b2_ij + e_ijk`` for environment i, line j and plot k, with
    ``b1 ~ MN(0, G, Sigma_t)``, ``b2 ~ MN(0, Sigma_E (x) G, Sigma_t)`` and ``e ~ N(0, R_e)``.
    Every trait has ``Sigma_t[l, l] = 1``; all genetic correlations are alike, and so are all residual ones. With
    three environments and three traits the means are the paper's (`PAPER_MEANS`); beyond the third, means are drawn
    from N(10, 3^2). ``simulate(reps=20, interaction=1.0)`` has the design of the paper's simulation: 80 lines, 3
    environments, 3 traits, 20 replicates, Sigma_E = I and correlations 0.85.

    Parameters
    ----------
    lines, envs, traits, reps : int
        Numbers of lines (named L01, ...), environments (E1, ...), traits (T1, ...) and plots of every line in
        every environment.
    genetic_correlation, residual_correlation : float
        Correlation of every two traits in Sigma_t and in R_e; between -1 / (traits - 1) and 1.
    heritability : float or sequence of float
        h2 of each trait on a plot basis, strictly between 0 and 1: genetic variance among the lines (main effect and
        average interaction) over the total,
        ``h2_l = c Sigma_t[l,l] (1 + s) / (c Sigma_t[l,l] (1 + s) + R_e[l,l])``, ``s = mean_i Sigma_E[i,i]``
        (0 with one environment), with ``c = (tr G - 1'G1 / J) / (J - 1)`` the expected sample variance of an effect
        per unit of its variance, as in `Fit.summary` (0.3 for "compound"; G's element for one line). It fixes
        R_e[l, l]. The default is cut or repeated to the number of traits.
    interaction : float or sequence of float
        Diagonal of Sigma_E, the variance of the interaction relative to the main effect; 0 or more. Not used with
        one environment.
    relationship : {"compound", "blocks", "markers"} or Relationship
        ``"compound"``: G = 0.3 I + 0.7 11'. ``"blocks"``: unrelated families of 10 lines, 0.3 I + 0.7 11' in
        each. ``"markers"``: VanRaden's G of simulated markers, 1,000 on 10 chromosomes (those
        with one allele are left out): families of 10 doubled haploids, from two parents each, in four populations
        with F_st = 0.1. Or the relationship of
        `lines` lines of one's own, whose names are used.
    missing : float
        Share of the line x env cells without any record. Every line keeps one environment.
    missing_traits : float
        Share of the single trait values missing in the remaining records. Every record keeps one trait.
    seed : int
        Everything follows from it, in a stream for each part: the values do not depend on what is missing.

    Returns
    -------
    Simulation

    Raises
    ------
    UsageError
        If an argument is out of its range.
    DataError
        If a relationship of one's own has a negative eigenvalue, or makes all lines clones.
    """
    lines, envs, traits, reps = (
        whole_number(value, what, 1)
        for value, what in ((lines, "lines"), (envs, "envs"), (traits, "traits"), (reps, "reps"))
    )
    seed = whole_number(seed, "seed", 0)
    check_memory(
        8.0 * (4 * lines**2 + 4 * traits**2 + 4 * envs * lines * reps * traits),
        f"lines={lines}, envs={envs}, traits={traits}, reps={reps}",
    )
    if heritability is HERITABILITY:
        heritability = [HERITABILITY[k % len(HERITABILITY)] for k in range(traits)]
    h2 = _numbers(heritability, traits, "heritability", "trait")
    if not ((h2 > 0) & (h2 < 1)).all():
        raise UsageError(f"heritability must lie strictly between 0 and 1, got {show(heritability)}.")
    sigma_e = _numbers(interaction, envs, "interaction", "environment")
    if not (np.isfinite(sigma_e) & (sigma_e >= 0)).all():
        raise UsageError(f"interaction must be finite and not negative, got {show(interaction)}.")
    streams = {
        name: np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_DATA_STREAM, number)))
        for number, name in enumerate(_STREAMS)
    }

    rel, markers = _relationship(relationship, lines, streams["markers"])
    g_root = _root(np.asarray(rel.matrix))
    share = (1.0 + sigma_e.mean()) if envs > 1 else 1.0
    genetic = _spread(np.asarray(rel.matrix)) * share
    sigma_t = _correlation(genetic_correlation, traits, "genetic_correlation")
    r_sd = np.sqrt(genetic * (1.0 - h2) / h2)
    r_e = _correlation(residual_correlation, traits, "residual_correlation") * np.outer(r_sd, r_sd)
    t_root = np.linalg.cholesky(sigma_t)

    beta = streams["beta"].normal(10.0, 3.0, (envs, traits))
    known = PAPER_MEANS[:envs, :traits]
    beta[: known.shape[0], : known.shape[1]] = known
    b1 = g_root @ streams["b1"].standard_normal((lines, traits)) @ t_root.T
    b2 = np.zeros((envs, lines, traits))
    if envs > 1:
        b2 = np.sqrt(sigma_e)[:, None, None] * (g_root @ streams["b2"].standard_normal(b2.shape) @ t_root.T)
    noise = streams["residual"].standard_normal((envs, lines, reps, traits)) @ np.linalg.cholesky(r_e).T
    values = beta[:, None, None, :] + b1[None, :, None, :] + b2[:, :, None, :] + noise

    line_names, env_names, trait_names = list(rel.lines), _labels("E", envs), _labels("T", traits)
    recorded = ~_absent(streams["missing"], lines, envs, missing, "missing", "line", "environment").T
    keep = np.repeat(recorded.reshape(-1), reps)
    table = values.reshape(-1, traits)[keep]
    gone = _absent(streams["missing_traits"], len(table), traits, missing_traits, "missing_traits", "record", "trait")
    table = np.where(gone, np.nan, table)
    plots = pd.MultiIndex.from_product([env_names, line_names, _labels("", reps)], names=["env", "line", "rep"])
    frame = plots[keep].to_frame(index=False)[["line", "env", "rep"]]
    frame[trait_names] = table

    truth: dict[str, pd.DataFrame | pd.Series] = {
        "beta": _labelled(beta, env_names, "env", trait_names),
        "Sigma_t": _labelled(sigma_t, trait_names, "trait", trait_names),
        "R_e": _labelled(r_e, trait_names, "trait", trait_names),
        "b1": _labelled(b1, line_names, "line", trait_names),
        "heritability": pd.Series(h2, index=pd.Index(trait_names, name="trait"), name="heritability"),
    }
    if envs > 1:
        truth["Sigma_E"] = _labelled(np.diag(sigma_e), env_names, "env", env_names)
        cells = pd.MultiIndex.from_product([env_names, line_names], names=["env", "line"])
        truth["b2"] = pd.DataFrame(b2.reshape(-1, traits), index=cells, columns=trait_names)
    return Simulation(frame, rel, truth, markers)


def _relationship(
    kind: str | Relationship, lines: int, rng: np.random.Generator
) -> tuple[Relationship, pd.DataFrame | None]:
    """G of the lines and the markers it was made from, if any."""
    if isinstance(kind, Relationship):
        if len(kind.lines) != lines:
            raise UsageError(f"the relationship has {len(kind.lines)} lines but lines={lines} are asked for.")
        return kind, None
    names = _labels("L", lines)
    family = np.arange(lines) // FAMILY
    if not is_one_of(kind, RELATIONSHIPS):
        raise UsageError(f"relationship must be one of {', '.join(RELATIONSHIPS)} or a Relationship, got {show(kind)}.")
    if kind == "compound":
        return Relationship(0.3 * np.eye(lines) + 0.7, lines=names), None
    if kind == "blocks":
        return Relationship(0.3 * np.eye(lines) + 0.7 * (family[:, None] == family), lines=names), None
    counts = _genotypes(family, rng)
    counts = counts[:, counts.min(axis=0) < counts.max(axis=0)]
    markers = pd.DataFrame(counts, index=pd.Index(names, name="line"), columns=_labels("M", counts.shape[1]))
    return vanraden(markers, method=1), markers


def _genotypes(
    family: npt.NDArray[np.int64],
    rng: np.random.Generator,
    populations: int = 4,
    f_st: float = 0.1,
    chromosomes: int = 10,
    per_chromosome: int = 100,
) -> npt.NDArray[np.int8]:
    """Allele counts of doubled haploids in families, families in populations.

    Allele frequencies of the populations are those of Balding and Nichols: beta with the mean of the ancestral
    frequency p and variance f_st p (1 - p). The two parents of a family are gametes of its population; a doubled
    haploid changes from one parent to the other with probability 0.01 between neighbouring markers (chromosomes
    of about one Morgan) and 0.5 between chromosomes.
    """
    count = chromosomes * per_chromosome
    families = int(family.max()) + 1
    ancestral = rng.uniform(0.1, 0.9, count)
    spread = (1.0 - f_st) / f_st
    frequency = rng.beta(ancestral * spread, (1.0 - ancestral) * spread, (populations, count))
    parents = rng.random((families, 2, count)) < frequency[np.arange(families) % populations][:, None, :]
    change = np.where(np.arange(count) % per_chromosome == 0, 0.5, 1.0 / per_chromosome)
    from_second = np.cumsum(rng.random((family.size, count)) < change, axis=1) % 2 == 1
    alleles = np.where(from_second, parents[family, 1], parents[family, 0])
    return np.asarray(2 * alleles, dtype=np.int8)


def _spread(matrix: FloatArray) -> float:
    """Expected sample variance of effects with this covariance: what lines differ in."""
    if len(matrix) == 1:
        return float(matrix[0, 0])
    spread = measure_spread(float(np.trace(matrix)), float(matrix.sum()), len(matrix))
    if not spread > 0:
        raise DataError(
            "by the relationship all lines are clones of one: there is no genetic variance between them, whatever the "
            "heritability. Expected lines that differ."
        )
    return spread


def _root(matrix: FloatArray) -> FloatArray:
    """Symmetric square root; unlike a root from the eigenvectors alone it is unique, hence the same everywhere."""
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < -1e-6 * values[-1]:
        raise DataError(f"The relationship has a negative eigenvalue, {values[0]:.3g}: it is no covariance matrix.")
    return np.asarray((vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T)


def _correlation(value: float, size: int, name: str) -> FloatArray:
    """Correlation matrix with one value off the diagonal."""
    lowest = -1.0 / (size - 1) if size > 1 else -math.inf
    if not is_number(value) or (size > 1 and not lowest < value < 1.0):
        raise UsageError(f"{name} must lie between {lowest:.3g} and 1 for {size} traits, got {show(value)}.")
    matrix = np.full((size, size), float(value))
    np.fill_diagonal(matrix, 1.0)
    return matrix


def _absent(
    rng: np.random.Generator, rows: int, columns: int, share: float, name: str, row: str, column: str
) -> npt.NDArray[np.bool_]:
    """Cells which are missing: a random share of all, with one cell of every row spared."""
    most = (columns - 1) / columns
    count = math.floor(share * rows * columns + 0.5) if is_number(share) and 0.0 <= share <= most else -1
    if count < 0:
        raise UsageError(
            f"{name} must lie between 0 and {most:.3g}, as every {row} keeps one {column}; got {show(share)}."
        )
    spared = np.zeros((rows, columns), dtype=bool)
    spared[np.arange(rows), rng.integers(columns, size=rows)] = True
    absent = np.zeros(rows * columns, dtype=bool)
    free = np.flatnonzero(~spared.reshape(-1))
    absent[rng.choice(free, size=min(count, free.size), replace=False)] = True
    return absent.reshape(rows, columns)


def _numbers(value: float | Sequence[float], size: int, name: str, of: str) -> FloatArray:
    """One number for all, or one for each."""
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{name} must be a number or one number for each {of}, got {show(value)}.") from None
    if numbers.ndim and numbers.shape != (size,):
        raise UsageError(f"{name} must be a number or one number for each of the {size} {of}s, got {show(value)}.")
    return np.array(np.broadcast_to(numbers, (size,)))


def _labels(prefix: str, count: int) -> list[str]:
    """Names that sort in their order: L01, ..., L80."""
    width = len(str(count))
    return [f"{prefix}{number:0{width}d}" for number in range(1, count + 1)]


def _labelled(values: FloatArray, rows: Sequence[str], name: str, columns: Sequence[str]) -> pd.DataFrame:
    """A matrix with its labels."""
    return pd.DataFrame(values, index=pd.Index(rows, name=name), columns=list(columns))


def _nested(values: pd.DataFrame | pd.Series) -> dict[str, object]:
    """Labelled values as nested dictionaries, outermost label first."""
    if isinstance(values, pd.Series):
        return {str(label): float(value) for label, value in values.items()}
    if values.index.nlevels > 1:
        outer = values.index.get_level_values(0).unique()
        return {str(label): _nested(values.loc[label]) for label in outer}
    return {str(label): _nested(values.loc[label]) for label in values.index}
