"""Relationships computed from markers: VanRaden's two methods and the Gaussian kernel."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.linalg.blas import dsyrk

from bmtme.arguments import is_number, show
from bmtme.data.markers.codes import DIPLOID
from bmtme.data.markers.genotypes import Markers
from bmtme.data.relationship.matrix import Relationship
from bmtme.errors import DataError, UsageError

__all__ = ["gaussian_kernel", "vanraden"]

FloatArray = npt.NDArray[np.float64]


def vanraden(
    markers: pd.DataFrame | Markers, method: int = 1, progress: bool | None = None, ploidy: int | None = None
) -> Relationship:
    r"""Genomic relationship of lines from their marker genotypes.

    Parameters
    ----------
    markers : (n, m) pandas.DataFrame or Markers
        A frame has lines in rows (their names are the index) and markers in columns: copies of one allele, 0, 1 or 2,
        or a dosage between (other codes: `Markers.from_frame`). Missing genotypes (NaN, None, NA) are replaced by the
        marker's mean.
    method : {1, 2}
        VanRaden's first or second method.
    progress : bool, optional
        Whether to show on stderr how far it is; by default only where that is a terminal.
    ploidy : int, optional
        Sets of chromosomes of a frame's lines, 2 by default: of tetraploids 4, with 0 to 4 copies of an allele.
        `Markers` know theirs.

    Returns
    -------
    Relationship
        Of the n lines, in the order given.

    Warns
    -----
    UserWarning
        With the number of markers left out because only one allele, or nothing, was seen; and where the codes of a
        frame leave doubts (see `read_markers`).

    Raises
    ------
    DataError
        For a code outside 0 to the ploidy or text (line and marker are named), if no marker with two alleles is left,
        if a line is named twice or has no genotype.

    Notes
    -----
    With M the n x m codes of lines with c sets of chromosomes, :math:`p_k` the mean of column k divided by c, and
    :math:`Z_{jk} = M_{jk} - c p_k`, method 1 is :math:`G = Z Z' / \sum_k c p_k (1 - p_k)` and method 2 is
    :math:`G = \frac{1}{m} \sum_k z_k z_k' / (c p_k (1 - p_k))` (VanRaden 2008, J. Dairy Sci. 91:4414-4423,
    doi 10.3168/jds.2007-0980, where c is 2; :math:`c p (1 - p)` is the variance of the dosage under random mating of
    polyploids too, Endelman et al. 2018, Genetics 209:77-87, doi 10.1534/genetics.118.300685), allele frequencies
    being those of the lines given. Markers are taken in blocks: beside the n x n result, memory holds one block.
    """
    if not is_number(method) or method not in (1, 2):
        raise UsageError(f"method must be 1 or 2, got {show(method)}.")
    chosen = _as_markers(markers, ploidy)
    product, used, heterozygosity = _products(chosen, method == 2, progress)
    product /= used if method == 2 else heterozygosity
    diagonal = product.diagonal()
    if diagonal.min() <= 0:
        line = chosen.lines[int(diagonal.argmin())]
        raise DataError(
            f"{chosen.source}: line {line!r} has no genotype at any of the {used} markers with two alleles, or only "
            "genotypes at the mean: nothing is known of its relationship. Leave the line out (min_call_rate_line, in "
            "the shell --min-call-rate-line)."
        )
    return Relationship(product, lines=chosen.lines)


def gaussian_kernel(
    markers: pd.DataFrame | Markers,
    bandwidth: float = 1.0,
    progress: bool | None = None,
    ploidy: int | None = None,
) -> Relationship:
    r"""Gaussian kernel of lines from their marker genotypes: similarity that need not be additive.

    Parameters
    ----------
    markers : (n, m) pandas.DataFrame or Markers
        As for `vanraden`.
    bandwidth : float
        h below, positive. The larger it is, the faster the similarity falls with the distance.
    progress : bool, optional
        Whether to show on stderr how far it is; by default only where that is a terminal.
    ploidy : int, optional
        As for `vanraden`; the kernel is the same whatever it is.

    Returns
    -------
    Relationship
        Of the n lines, with ones on the diagonal.

    Raises
    ------
    DataError
        As for `vanraden`, and if half of all pairs of lines, or more, are identical.

    Notes
    -----
    :math:`K_{ij} = \exp(-h\, d_{ij}^2 / q)`, with :math:`d_{ij}` the Euclidean distance between the codes of lines i
    and j (missing ones at the marker's mean) and q the median of :math:`d_{ij}^2` over all pairs of different lines
    (de los Campos et al. 2010, Genet. Res. 92:295-308, doi 10.1017/S0016672310000285; the scaling by the median as in
    Pérez-Elizalde et al. 2015, JABES 20:512-532, doi 10.1007/s13253-015-0229-y).
    """
    if not is_number(bandwidth) or bandwidth <= 0:
        raise UsageError(f"bandwidth must be a positive number, got {show(bandwidth)}.")
    chosen = _as_markers(markers, ploidy)
    product, _, _ = _products(chosen, False, progress)
    if len(product) < 2:
        raise DataError(f"{chosen.source}: a Gaussian kernel needs at least two lines, got {chosen.lines[0]!r} only.")
    squares = product.diagonal().copy()
    # d_ij^2 = z_i'z_i + z_j'z_j - 2 z_i'z_j, in place.
    product *= -2.0
    product += squares[:, None]
    product += squares[None, :]
    np.maximum(product, 0.0, out=product)
    np.fill_diagonal(product, 0.0)
    n = len(product)
    # Rounding leaves two identical lines some 1e-16 apart.
    pairs = np.concatenate([product[j, :j] for j in range(n)])
    median = float(np.median(pairs, overwrite_input=True))
    if median <= 1e-12 * float(squares.max()):
        raise DataError(
            f"{chosen.source}: at least half of all pairs of lines have the same genotypes, so that the median "
            "distance, the unit of the bandwidth, is zero."
        )
    product /= median
    with np.errstate(over="ignore"):  # a similarity of zero
        product *= -bandwidth
    np.exp(product, out=product)
    return Relationship(product, lines=chosen.lines)


def _as_markers(markers: pd.DataFrame | Markers, ploidy: int | None) -> Markers:
    if not isinstance(markers, Markers):
        return Markers.from_frame(markers, ploidy=DIPLOID if ploidy is None else ploidy)
    if ploidy is not None and ploidy != markers.ploidy:
        raise UsageError(
            f"ploidy={show(ploidy)}, but the markers of {markers.source} were read with ploidy={markers.ploidy}: give "
            "it where they are read."
        )
    return markers


def _products(markers: Markers, standardise: bool, progress: bool | None) -> tuple[FloatArray, int, float]:
    """Z Z' over the markers with two alleles, their number, and the sum of c p (1 - p), c being the ploidy.

    Columns of Z are centred, and divided by the root of c p (1 - p) under `standardise`.
    """
    n, ploidy = len(markers.lines), markers.ploidy
    product = np.zeros((n, n), order="F")
    heterozygosity = 0.0
    used = 0
    for _, codes in markers.blocks("computing the relationship", progress):
        absent = np.isnan(codes)
        n_seen = n - absent.sum(axis=0)
        codes[absent] = 0.0
        frequency = np.divide(codes.sum(axis=0), ploidy * n_seen, out=np.zeros(codes.shape[1]), where=n_seen > 0)
        polymorphic = (frequency > 0) & (frequency < 1)
        frequency = frequency[polymorphic]
        if not len(frequency):
            continue
        # Centred first: a missing genotype at the marker's mean is a zero.
        centred = codes[:, polymorphic]
        centred -= ploidy * frequency
        centred[absent[:, polymorphic]] = 0.0
        variance = ploidy * frequency * (1 - frequency)
        if standardise:
            centred /= np.sqrt(variance)
        heterozygosity += float(variance.sum())
        used += len(variance)
        # Adds to one triangle in place; the transposed block is in Fortran's order as it is.
        product = dsyrk(1.0, centred.T, beta=1.0, c=product, trans=1, lower=1, overwrite_c=1)
    total = len(markers.names)
    if not used:
        raise DataError(
            f"{markers.source}: none of the {total} markers shows both alleles among the {n} lines, so that no "
            "relationship can be computed."
        )
    if used < total:
        warnings.warn(
            f"{total - used} of {total} markers left out: they show only one allele, or no genotype at all, "
            f"among the {n} lines.",
            stacklevel=3,
        )
    for j in range(n):
        product[j, j + 1 :] = product[j + 1 :, j]
    return product, used, heterozygosity
