"""Tables that show first what one should look at first, in a terminal of 80 columns and in notebooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

#: Columns of a terminal for which tables are laid out where they are printed from Python.
WIDTH = 80


class Alike(type):
    """Any DataFrame counts as one of these: it is the same table, and `pandas.testing` compares the two as such."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, pd.DataFrame)


class Shown(pd.DataFrame, metaclass=Alike):
    """A DataFrame that is printed in another way, if it has the columns for it; what is made of it is a plain one.

    Pandas hides columns in the middle where a terminal is narrow, and these are those of diagnostics.
    """

    #: Columns without which it is printed as any other.
    needed: tuple[str, ...] = ()

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def _is_whole(self) -> bool:
        return len(self) > 0 and set(self.needed) <= set(self.columns)

    def _text(self) -> str:
        raise NotImplementedError

    def _html(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return self._text() if self._is_whole() else super().__repr__()

    def _repr_html_(self) -> str | None:
        return self._html() if self._is_whole() else super()._repr_html_()  # type: ignore[misc]


class SummaryTable(Shown):
    """Of `Fit.summary`."""

    needed = ("mean", "lower", "upper", "ess_bulk", "ess_tail", "r_hat", "note")

    def _text(self) -> str:
        from bmtme.report.summaries import describe_summary

        return describe_summary(self, WIDTH)

    def _html(self) -> str:
        from bmtme.report.markup import show_summary

        return show_summary(self)


class ComponentTable(SummaryTable):
    """Of a mixed model's posterior, by term and parameter: as one name in print."""

    def join_names(self) -> pd.DataFrame:
        """With one name for each row."""
        table = pd.DataFrame(self)
        if isinstance(table.index, pd.MultiIndex):
            table.index = pd.Index([f"{term}[{parameter}]" for term, parameter in table.index], name="parameter")
        return table

    def _text(self) -> str:
        from bmtme.report.summaries import describe_summary

        return describe_summary(self.join_names(), WIDTH)

    def _html(self) -> str:
        from bmtme.report.markup import show_summary

        return show_summary(self.join_names())


class ScoreTable(Shown):
    """Of `CrossValidation.summary`."""

    needed = ("model", "env", "trait", "n_partitions", "pearson_mean", "pearson_se", "msep_mean", "msep_se")

    def _text(self) -> str:
        from bmtme.report.summaries import describe_scores

        return describe_scores(self, WIDTH)

    def _html(self) -> str:
        from bmtme.report.markup import show_scores

        return show_scores(self)


class ComparisonTable(Shown):
    """Of `CrossValidation.compare`; ``attrs`` has the metric."""

    needed = ("model", "against", "env", "trait", "difference", "lower", "upper", "p", "p_adjusted", "note")

    def _is_whole(self) -> bool:
        return super()._is_whole() and "metric" in self.attrs

    def _text(self) -> str:
        from bmtme.report.comparison import describe_comparison

        return describe_comparison(self, self.attrs["metric"], WIDTH)

    def _html(self) -> str:
        from bmtme.report.markup import show_comparison

        return show_comparison(self, self.attrs["metric"])
