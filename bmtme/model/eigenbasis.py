"""The eigenvectors of the relationship among lines with a record, computed once per set of lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, lapack
from threadpoolctl import threadpool_limits

from bmtme.errors import DataError

#: From so many lines on, LAPACK's evr: half the memory of evd, as fast, orthogonal to 1e-12 instead of 1e-14.
LARGE = 2000
#: From so many lines on it pays to see whether the rank is below this share of them; a pivot below this is rounding.
MANY, LOW, NOTHING = 1000, 0.6, 1e-11
#: Eigenvalues below this share of the largest count as zero (clones, inbred duplicates).
ZERO = 1e-8
#: An eigenvalue below minus this share of the largest is no rounding error.
NEGATIVE = 1e-6
#: Eigenvalues closer than this share of the largest are one repeated eigenvalue.
REPEATED = 1e-11
#: What lines differ in, below this share of their mean variance, is rounding: they are clones of one.
CLONES = 1e-9
#: What to do about negative eigenvalues once the matrix is known to be right, for messages.
BENDING = "bend it (Relationship.bend(); in the shell bmtme grm GRM --matrix --bend --out BENT)"


def measure_spread(trace: float, total: float, lines: int) -> float:
    """c = (tr G - 1'G1 / J) / (J - 1): the sample variance of effects to be expected per unit of their covariance.

    The same for G, for G centred (KGK, K = 1 - 11'/J) and for G + a 11', which are one likelihood where the means are
    free; the mean diagonal is not. Zero where all lines are clones of one.

    Parameters
    ----------
    trace, total : tr G and 1'G1, the sum of all entries
    lines : J, at least two
    """
    spread = (trace - total / lines) / (lines - 1)
    return spread if spread > CLONES * trace / lines else 0.0


@dataclass(frozen=True)
class Eigenbasis:
    """W G W / m = U diag(d) U', W = diag(sqrt(c)) with c the plot multiples of the lines.

    Attributes
    ----------
    vectors : (J, J) U, or None for an identity relationship (U = I)
    values : (J,) d, zero beyond the rank; descending unless the relationship is an identity
    rank : number of positive directions r
    scale : m, mean diagonal of G over the lines, in the user's G
    multiples : (J,) c
    """

    vectors: np.ndarray | None
    values: np.ndarray
    rank: int
    scale: float
    multiples: np.ndarray

    @property
    def rotated_ones(self) -> np.ndarray:
        """x = U' sqrt(c), the design of an environment mean in this basis."""
        root = np.sqrt(self.multiples)
        return root if self.vectors is None else root @ self.vectors

    @property
    def spread(self) -> float:
        """c of `measure_spread` over the lines, in the user's G."""
        if self.vectors is None:
            return 1.0
        root = np.sqrt(self.values) * ((1.0 / np.sqrt(self.multiples)) @ self.vectors)
        return self.scale * measure_spread(len(root), float(root @ root), len(root))

    def rotate_back(self, w: np.ndarray) -> np.ndarray:
        """Effects of the lines, u = diag(1/sqrt(c)) U diag(sqrt(d)) w, in units of G / m; w (..., J)."""
        scaled = w * np.sqrt(self.values)
        if self.vectors is not None:
            scaled = (scaled.reshape(-1, len(self.values)) @ self.vectors.T).reshape(w.shape)
        return scaled / np.sqrt(self.multiples)

    def turn_lines(self, r: np.ndarray, lines: np.ndarray) -> np.ndarray:
        """Effects of some lines outside the relationship: r (S, J) to (lines, S)."""
        return np.ascontiguousarray(r[:, lines].T) if self.vectors is None else self.vectors[lines] @ r.T

    def rotate_plain(self, r: np.ndarray) -> np.ndarray:
        """Effects of the lines outside the relationship, U r; r (..., J)."""
        if self.vectors is None:
            return r
        return np.asarray((r.reshape(-1, len(self.values)) @ self.vectors.T).reshape(r.shape))

    def rotate_lines(self, w: np.ndarray, lines: np.ndarray) -> np.ndarray:
        """The same for some lines: w (S, J) to (lines, S)."""
        root = np.sqrt(self.multiples[lines])[:, None]
        if self.vectors is None:
            return np.ascontiguousarray(w[:, lines].T) * np.sqrt(self.values[lines])[:, None] / root
        return (self.vectors[lines] * np.sqrt(self.values)) @ w.T / root

    def project(self, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lines without a record given those with one: u_new | w ~ N(A w, v), in units of G / m.

        Parameters
        ----------
        covariance : (n, J) relationship of the new lines with the recorded ones, user's G

        Returns
        -------
        A : (n, J) G_no W U d^(-1/2) / m over the positive directions, zero elsewhere
        explained : (n,) the row sums of A^2; v = G_nn / m - explained
        """
        root = np.zeros_like(self.values)
        positive = self.values > 0
        root[positive] = 1.0 / np.sqrt(self.values[positive])
        A = covariance * np.sqrt(self.multiples) / self.scale
        if self.vectors is not None:
            A = A @ self.vectors
        A = A * root
        return A, (A**2).sum(axis=1)

    def weigh(self, A: np.ndarray) -> np.ndarray:
        """The weights of the recorded lines themselves, B u = A w with B = G_no G_oo^+; A (n, J) of `project`."""
        root = np.zeros_like(self.values)
        positive = self.values > 0
        root[positive] = 1.0 / np.sqrt(self.values[positive])
        B = A * root
        if self.vectors is not None:
            B = B @ self.vectors.T
        return np.asarray(B * np.sqrt(self.multiples))


def decompose_relationship(
    matrix: np.ndarray, multiples: np.ndarray | None = None, is_identity: bool = False, overwrite: bool = False
) -> Eigenbasis:
    """Decompose the relationship of the lines with a record.

    Parameters
    ----------
    matrix : (J, J) relationship in the user's scale (not read for an identity)
    multiples : (J,) plot multiples c of the lines, default all one
    is_identity : whether the relationship is an identity, which needs no rotation
    overwrite : whether the memory of `matrix` may be used, which is lost then

    Raises
    ------
    DataError
        Where an eigenvalue is negative beyond rounding.
    """
    J = len(matrix)
    c = np.ones(J) if multiples is None else np.asarray(multiples, float)
    if is_identity:
        return Eigenbasis(None, c.copy(), J, 1.0, c)
    scale = float(np.mean(np.diag(matrix)))
    # In place, as a matrix of some thousand lines fills memory: LAPACK wants columns, a symmetric matrix has the same.
    scaled = np.multiply(matrix, np.sqrt(c) / scale, out=matrix if overwrite else None)
    scaled *= np.sqrt(c)[:, None]
    with threadpool_limits(1):
        found = decompose_low_rank(scaled) if J >= MANY else None
        if found is None:
            driver = "evd" if J < LARGE else "evr"
            values, vectors = eigh(scaled.T, overwrite_a=True, check_finite=False, driver=driver)
            found = values[::-1].copy(), np.ascontiguousarray(vectors[:, ::-1])
    del scaled
    values, vectors = found
    top = values[0]
    if values[-1] < -NEGATIVE * top:
        raise DataError(
            f"the relationship matrix is not positive semi-definite: among the {J} lines with a record its smallest "
            f"eigenvalue is {values[-1] * scale:.3g} and its largest {top * scale:.3g}. Expected no eigenvalue below "
            f"{-NEGATIVE:g} of the largest; check how the matrix was made, or {BENDING} before the fit."
        )
    values[values < ZERO * top] = 0.0
    rank = int(np.count_nonzero(values))
    _settle_repeated(values, vectors, rank)
    return Eigenbasis(vectors, values, rank, scale, c)


def decompose_low_rank(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Eigenvalues (descending) and vectors of a positive semi-definite matrix of a low rank, None for another one.

    With fewer markers than lines: G = P P' by Cholesky with pivots, P (J, r). P'P = V diag(d) V' has the positive
    eigenvalues of G, whose vectors are P V d^(-1/2); the others complete the basis by Householder reflections. A third
    of the time of a decomposition from scratch at r = J / 3, and nothing lost: errors are those of rounding.

    matrix : (J, J) symmetric, left as it is
    """
    J = len(matrix)
    L, pivots, rank, _ = lapack.dpstrf(matrix.T, tol=NOTHING * matrix.diagonal().max(), lower=1)
    if not 0 < rank < LOW * J:
        return None
    P = np.empty((J, rank), order="F")
    P[pivots - 1] = np.tril(L[:, :rank])
    del L
    # Where an eigenvalue is negative the pivots stop early, with something left.
    probe = np.random.default_rng(0).standard_normal((J, 4))
    left = np.abs(matrix @ probe - P @ (P.T @ probe)).max()
    if left > 1e-3 * ZERO * np.abs(matrix @ probe).max():
        return None
    d, V = eigh(P.T @ P, overwrite_a=True, check_finite=False)
    d, V = d[::-1], V[:, ::-1]
    kept = int(np.count_nonzero(d >= ZERO * d[0]))
    basis = (P @ V[:, :kept]) / np.sqrt(d[:kept])
    reflectors, tau, _, _ = lapack.dgeqrf(np.asfortranarray(basis))
    rest = np.zeros((J, J - kept), order="F")
    rest[np.arange(kept, J), np.arange(J - kept)] = 1.0
    rest = lapack.dormqr("L", "N", reflectors, tau, rest, lwork=64 * J, overwrite_c=1)[0]
    values = np.zeros(J)
    values[:kept] = d[:kept]
    return values, np.concatenate([basis, rest], axis=1)


def _settle_repeated(values: np.ndarray, vectors: np.ndarray, rank: int) -> None:
    """Make the eigenvectors a function of the matrix: fix signs, and a basis for repeated eigenvalues.

    Eigenvectors of a repeated eigenvalue are arbitrary up to a rotation that rounding decides, so that G and
    2 G would give other draws from one seed. The projector on their span is not: Gram-Schmidt on its columns,
    taken greedily from the first line, gives one basis.
    """
    start = 0
    while start < rank:
        stop = start + 1
        while stop < rank and values[stop - 1] - values[stop] <= REPEATED * values[0]:
            stop += 1
        if stop - start > 1:
            values[start:stop] = values[start:stop].mean()
            block = vectors[:, start:stop]
            basis = np.zeros((0, stop - start))
            left = (block**2).sum(axis=1)
            for _ in range(stop - start):
                pivot = int(np.argmax(left >= left.max() - 1e-6))
                row = block[pivot] - (basis @ block[pivot]) @ basis
                row = row - (basis @ row) @ basis
                row /= np.linalg.norm(row)
                basis = np.vstack([basis, row])
                left = left - (block @ row) ** 2
            vectors[:, start:stop] = block @ basis.T
        start = stop
    for start in range(0, vectors.shape[1], 256):
        block = vectors[:, start : start + 256]
        size = np.abs(block)
        first = np.argmax(size >= size.max(axis=0) * (1.0 - 1e-9), axis=0)
        block *= np.where(block[first, np.arange(block.shape[1])] < 0, -1.0, 1.0)
