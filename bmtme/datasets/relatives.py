"""Relationships of simulated lines: alike, in families, or made from simulated markers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmtme.arguments import is_one_of, show
from bmtme.choices import RELATIONSHIPS
from bmtme.data.relationship.genomic import vanraden
from bmtme.data.relationship.matrix import Relationship
from bmtme.errors import DataError, UsageError
from bmtme.model.eigenbasis import measure_spread

FloatArray = npt.NDArray[np.float64]

FAMILY = 10  # lines of a family, in "blocks" and "markers"


def make_relationship(
    kind: str | Relationship, lines: int, rng: np.random.Generator
) -> tuple[Relationship, pd.DataFrame | None]:
    """G of the lines and the markers it was made from, if any."""
    if isinstance(kind, Relationship):
        if len(kind.lines) != lines:
            raise UsageError(f"the relationship has {len(kind.lines)} lines but lines={lines} are asked for.")
        return kind, None
    names = make_names("L", lines)
    family = np.arange(lines) // FAMILY
    if not is_one_of(kind, RELATIONSHIPS):
        raise UsageError(f"relationship must be one of {', '.join(RELATIONSHIPS)} or a Relationship, got {show(kind)}.")
    if kind == "compound":
        return Relationship(0.3 * np.eye(lines) + 0.7, lines=names), None
    if kind == "blocks":
        return Relationship(0.3 * np.eye(lines) + 0.7 * (family[:, None] == family), lines=names), None
    counts = draw_genotypes(family, rng)
    counts = counts[:, counts.min(axis=0) < counts.max(axis=0)]
    markers = pd.DataFrame(counts, index=pd.Index(names, name="line"), columns=make_names("M", counts.shape[1]))
    return vanraden(markers, method=1), markers


def draw_genotypes(
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


def measure_lines(matrix: FloatArray) -> float:
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


def find_root(matrix: FloatArray) -> FloatArray:
    """Symmetric square root; unlike a root from the eigenvectors alone it is unique, hence the same everywhere."""
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < -1e-6 * values[-1]:
        raise DataError(f"The relationship has a negative eigenvalue, {values[0]:.3g}: it is no covariance matrix.")
    return np.asarray((vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T)


def make_names(prefix: str, count: int) -> list[str]:
    """Names that sort in their order: L01, ..., L80."""
    width = len(str(count))
    return [f"{prefix}{number:0{width}d}" for number in range(1, count + 1)]
