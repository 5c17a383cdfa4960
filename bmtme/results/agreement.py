"""How well predictions agree with what was observed: a number for the lines of one environment and trait."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bmtme.errors import UsageError

FloatArray = npt.NDArray[np.float64]

#: Lines from which on a correlation says anything.
FEWEST_LINES = 3

# A spread below this share of the numbers' size is what is left of rounding: a mean over thousands of draws,
# each a sum over a thousand lines, is good to about 1e-14, and data with a true spread this small would itself
# carry a rounding noise of 2e-4 of the spread.
_ROUNDING = 1e-12


class Pair:
    """Observed and predicted values of n lines, and how they agree, each number worked out once.

    Correlations and the slope are missing (NaN) for n < 3, where a value is missing, and where a side is constant up to
    rounding: its range is below 1e-12 of the size of its numbers. For the predictions the size of the observed values
    counts too, because rounding in values near zero is relative to the trait, not to the prediction. Means of errors
    are missing for n = 0 or where a value is missing.

    Parameters
    ----------
    observed, predicted : array-like, shape (n,)
        In the same units. They are kept in the order of their values, so that no digit depends on that of the lines.

    Raises
    ------
    UsageError
        If they are no vectors of one length.
    """

    def __init__(self, observed: npt.ArrayLike, predicted: npt.ArrayLike) -> None:
        y, f = np.asarray(observed, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
        if y.ndim != 1 or y.shape != f.shape:
            raise UsageError(
                f"observed and predicted must be vectors of one length, got shapes {y.shape} and {f.shape}."
            )
        order = np.lexsort((f, y))
        self.observed: FloatArray = y[order]
        self.predicted: FloatArray = f[order]

    @cached_property
    def suffices(self) -> bool:
        """Whether there are enough lines, and no gaps."""
        y, f = self.observed, self.predicted
        return y.size >= FEWEST_LINES and bool(np.isfinite(y).all() and np.isfinite(f).all())

    @cached_property
    def constant(self) -> tuple[bool, bool]:
        """Whether the observed and the predicted values are constant up to rounding."""
        return is_constant(self.observed), is_constant(self.predicted, self.observed)

    @property
    def varies(self) -> bool:
        """Whether a correlation can be told."""
        return self.suffices and not any(self.constant)

    @cached_property
    def pearson(self) -> float:
        """Pearson correlation."""
        return _correlate(self._centred[0][0], self._centred[1][0]) if self.varies else np.nan

    @property
    def spearman(self) -> float:
        """Spearman correlation: that of the ranks, of which ties share the mean."""
        if not self.varies:
            return np.nan
        return _correlate(*(_centre(_rank(values))[0] for values in (self.observed, self.predicted)))

    @property
    def slope(self) -> float:
        """Slope of the regression of observed on predicted values: below 1 where predictions spread too much."""
        if not self.varies:
            return np.nan
        (y, size), (f, size_f) = self._centred
        return float((y @ f) / (f @ f) * (size / size_f))

    @property
    def bias(self) -> float:
        """Mean of predicted - observed, in units of the trait."""
        return average(self.predicted - self.observed)

    @cached_property
    def msep(self) -> float:
        """Mean squared error of prediction, mean of (observed - predicted)^2, in squared units of the trait."""
        return float(np.mean((self.observed - self.predicted) ** 2)) if self.observed.size else np.nan

    def share_top(self, top: float = 0.2, lowest: bool = False) -> float:
        """Share of the k best observed lines among the k best predicted ones, k = max(1, floor(top n + 0.5)).

        Of values that tie at the limit each is among the best with the same chance, on either side apart: the share is
        the expectation over random tie breaking. Predictions that are constant up to rounding tie, which gives k / n.
        Missing (NaN) for n < 3 or where a value is missing.

        Parameters
        ----------
        top : float
            Share of the lines taken for the best.
        lowest : bool
            Whether low values are the best.
        """
        if not self.suffices:
            return np.nan
        y, f = self.observed, self.predicted
        k = max(1, math.floor(top * y.size + 0.5))
        if self.constant[1]:
            f = np.zeros_like(f)
        sign = -1.0 if lowest else 1.0
        return float(_chances(sign * y, k) @ _chances(sign * f, k) / k)

    @cached_property
    def _centred(self) -> tuple[tuple[FloatArray, float], tuple[FloatArray, float]]:
        return _centre(self.observed), _centre(self.predicted)


def average(values: npt.ArrayLike) -> float:
    """Mean in the order of the values, so that no digit depends on that of the lines; NaN for none."""
    values = np.sort(np.asarray(values, dtype=np.float64))
    return float(values.mean()) if values.size else np.nan


def is_constant(values: FloatArray, beside: FloatArray | None = None) -> bool:
    """Whether values are constant up to rounding, which is relative to their size and that of those `beside`."""
    if not values.size:
        return True
    low, high = float(values.min()), float(values.max())
    size = max(abs(low), abs(high))
    if high - low > _ROUNDING * size and beside is not None and beside.size:
        size = max(size, abs(float(beside.min())), abs(float(beside.max())))
    return high - low <= _ROUNDING * size


def _chances(values: FloatArray, k: int) -> FloatArray:
    """Of each value, the chance to be among the k highest."""
    limit = np.partition(values, values.size - k)[values.size - k]
    above, tied = values > limit, values == limit
    return np.asarray(above + tied * ((k - above.sum()) / tied.sum()))


def _correlate(y: FloatArray, f: FloatArray) -> float:
    """Correlation of centred values."""
    return min(max(float((y @ f) / np.sqrt((y @ y) * (f @ f))), -1.0), 1.0)


def _rank(values: FloatArray) -> FloatArray:
    """Ranks from 1 on, of which ties share the mean."""
    order = np.argsort(values, kind="stable")
    sorted_ = values[order]
    starts = np.flatnonzero(np.concatenate([[True], sorted_[1:] != sorted_[:-1]]))
    ends = np.append(starts[1:], values.size)
    ranks = np.empty(values.size)
    ranks[order] = np.repeat(0.5 * (starts + ends + 1), ends - starts)
    return ranks


def _centre(values: FloatArray) -> tuple[FloatArray, float]:
    """Deviations from the mean over the largest of them, so that squares do not overflow, and that one."""
    deviations = values - values.mean()
    size = float(np.abs(deviations).max())
    return deviations / size, size
