"""How well predictions agree with what was observed: a number for the lines of one environment and trait."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from bmtme.errors import UsageError

FloatArray = npt.NDArray[np.float64]

#: Lines from which on a correlation says anything.
FEWEST_LINES = 3

# A spread below this share of the numbers' size is what is left of rounding: a mean over thousands of draws,
# each a sum over a thousand lines, is good to about 1e-14, and data with a true spread this small would itself
# carry a rounding noise of 2e-4 of the spread.
_ROUNDING = 1e-12


def pearson(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Pearson correlation of observed and predicted values.

    Parameters
    ----------
    observed, predicted : array-like, shape (n,)
        In the same units.

    Returns
    -------
    float
        Missing (NaN) for n < 3, where a value is missing, and where a side is constant up to rounding: its range
        is below 1e-12 of the size of its numbers. For the predictions the size of the observed values counts too,
        because rounding in values near zero is relative to the trait, not to the prediction.
    """
    y, f = _pair(observed, predicted)
    if not _vary(y, f):
        return np.nan
    y, f = _centre(y)[0], _centre(f)[0]
    return float(np.clip((y @ f) / np.sqrt((y @ y) * (f @ f)), -1.0, 1.0))


def spearman(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Spearman correlation: that of the ranks, of which ties share the mean.

    Parameters
    ----------
    observed, predicted : array-like, shape (n,)

    Returns
    -------
    float
        Missing (NaN) where the Pearson correlation is.
    """
    y, f = _pair(observed, predicted)
    return pearson(rankdata(y), rankdata(f)) if _vary(y, f) else np.nan


def slope(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Slope of the regression of observed on predicted values: below 1 where predictions spread too much.

    Parameters
    ----------
    observed, predicted : array-like, shape (n,)
        In the same units.

    Returns
    -------
    float
        Missing (NaN) where the Pearson correlation is.
    """
    y, f = _pair(observed, predicted)
    if not _vary(y, f):
        return np.nan
    (y, size), (f, size_f) = _centre(y), _centre(f)
    return float((y @ f) / (f @ f) * (size / size_f))


def bias(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean of predicted - observed, in units of the trait.

    Parameters
    ----------
    observed, predicted : array-like, shape (n,)

    Returns
    -------
    float
        Missing (NaN) for n = 0 or where a value is missing.
    """
    y, f = _pair(observed, predicted)
    return average(f - y)


def msep(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean squared error of prediction, mean of (observed - predicted)^2, in squared units of the trait.

    Parameters
    ----------
    observed, predicted : array-like, shape (n,)

    Returns
    -------
    float
        Missing (NaN) for n = 0 or where a value is missing.
    """
    y, f = _pair(observed, predicted)
    return float(np.mean((y - f) ** 2)) if y.size else np.nan


def share_top(observed: npt.ArrayLike, predicted: npt.ArrayLike, top: float = 0.2, lowest: bool = False) -> float:
    """Share of the k best observed lines among the k best predicted ones, k = max(1, floor(top n + 0.5)).

    Of values that tie at the limit each is among the best with the same chance, on either side apart: the share is the
    expectation over random tie breaking. Predictions that are constant up to rounding tie, which gives k / n.

    Parameters
    ----------
    observed, predicted : array-like, shape (n,)
        In the same units.
    top : float
        Share of the lines taken for the best.
    lowest : bool
        Whether low values are the best.

    Returns
    -------
    float
        Missing (NaN) for n < 3 or where a value is missing.
    """
    y, f = _pair(observed, predicted)
    if not _suffice(y, f):
        return np.nan
    k = max(1, math.floor(top * y.size + 0.5))
    if is_constant(f, y):
        f = np.zeros_like(f)
    sign = -1.0 if lowest else 1.0
    return float(_chances(sign * y, k) @ _chances(sign * f, k) / k)


def average(values: npt.ArrayLike) -> float:
    """Mean in the order of the values, so that no digit depends on that of the lines; NaN for none."""
    values = np.sort(np.asarray(values, dtype=np.float64))
    return float(values.mean()) if values.size else np.nan


def is_constant(values: FloatArray, beside: FloatArray | None = None) -> bool:
    """Whether values are constant up to rounding, which is relative to their size and that of those `beside`."""
    size = max(float(np.abs(each).max(initial=0.0)) for each in (values, values if beside is None else beside))
    return bool(values.size == 0 or np.ptp(values) <= _ROUNDING * size)


def _chances(values: FloatArray, k: int) -> FloatArray:
    """Of each value, the chance to be among the k highest."""
    limit = np.partition(values, values.size - k)[values.size - k]
    above, tied = values > limit, values == limit
    return np.asarray(above + tied * ((k - above.sum()) / tied.sum()))


def _suffice(y: FloatArray, f: FloatArray) -> bool:
    """Whether there are enough lines, and no gaps."""
    return y.size >= FEWEST_LINES and bool(np.isfinite(y).all() and np.isfinite(f).all())


def _vary(y: FloatArray, f: FloatArray) -> bool:
    """Whether a correlation can be told."""
    return _suffice(y, f) and not is_constant(y) and not is_constant(f, y)


def _centre(values: FloatArray) -> tuple[FloatArray, float]:
    """Deviations from the mean over the largest of them, so that squares do not overflow, and that one."""
    deviations = values - values.mean()
    size = float(np.abs(deviations).max())
    return deviations / size, size


def _pair(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both sides as vectors of one length, in the order of their values: no digit depends on that of the lines."""
    y, f = np.asarray(observed, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if y.ndim != 1 or y.shape != f.shape:
        raise UsageError(f"observed and predicted must be vectors of one length, got shapes {y.shape} and {f.shape}.")
    order = np.lexsort((f, y))
    return y[order], f[order]
