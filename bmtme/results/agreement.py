"""How well predictions agree with what was observed: a number for the lines of one environment and trait."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bmtme.errors import UsageError

FloatArray = npt.NDArray[np.float64]

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
    if y.size < 3 or not (np.isfinite(y).all() and np.isfinite(f).all()):
        return np.nan
    size = np.abs(y).max()
    if np.ptp(y) <= _ROUNDING * size or np.ptp(f) <= _ROUNDING * max(size, np.abs(f).max()):
        return np.nan
    y, f = y - y.mean(), f - f.mean()
    y, f = y / np.abs(y).max(), f / np.abs(f).max()
    return float(np.clip((y @ f) / np.sqrt((y @ y) * (f @ f)), -1.0, 1.0))


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


def _pair(observed: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both sides as vectors of one length, in the order of their values: no digit depends on that of the lines."""
    y, f = np.asarray(observed, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if y.ndim != 1 or y.shape != f.shape:
        raise UsageError(f"observed and predicted must be vectors of one length, got shapes {y.shape} and {f.shape}.")
    order = np.lexsort((f, y))
    return y[order], f[order]
