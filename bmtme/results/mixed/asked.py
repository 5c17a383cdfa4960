"""What is asked of a mixed model beside the tables that every run has, and the tables of that."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bmtme.choices import HERITABILITY_KINDS, HERITABILITY_RATIOS
from bmtme.results.mixed.expressions import evaluate_draws
from bmtme.results.mixed.fit import MixedFit
from bmtme.results.mixed.heritability import list_ratios
from bmtme.results.mixed.posterior import MEANS, MixedPosterior

__all__ = ["NOTHING", "Asked", "list_facts"]

#: Columns of functions of the parameters, as estimated and as drawn.
DERIVED = ("expression", "estimate", "se")
DRAWN = ("expression", "mean", "sd", "lower", "upper")


@dataclass(frozen=True)
class Asked:
    """What is asked, each as for the method of `MixedFit` of that name.

    Attributes
    ----------
    predict, heritability, derive : tuples of str
    """

    predict: tuple[str, ...] = ()
    heritability: tuple[str, ...] = ()
    derive: tuple[str, ...] = ()

    def make_tables(self, result: MixedFit | MixedPosterior) -> dict[str, pd.DataFrame]:
        """Tables by name; of draws with means, standard deviations and intervals, and no heritability of Cullis'.

        Raises
        ------
        UsageError
        """
        estimated = isinstance(result, MixedFit)
        found = {f"{MEANS}{term}": result.predict(term) for term in self.predict}
        if self.heritability:
            kinds: Any = HERITABILITY_KINDS if estimated else HERITABILITY_RATIOS
            table = pd.concat(
                [result.heritability(term, kind).assign(term=term) for term in self.heritability for kind in kinds],
                ignore_index=True,
            )
            found["heritability"] = table[["term", *table.columns.drop("term")]]
        if self.derive:
            columns = DERIVED if estimated else DRAWN
            derived = [result.derive(expression) for expression in self.derive]
            found["derived"] = pd.DataFrame(
                [[getattr(each, name) for name in columns] for each in derived], columns=list(columns)
            )
        return found

    def refuse_unknown(self, fit: MixedFit) -> None:
        """What cannot be made of this model, before chains are drawn for it.

        Raises
        ------
        UsageError
        """
        for term in self.heritability:
            list_ratios(term, "mean", fit.random, fit.layout, fit.named)
        for expression in self.derive:
            evaluate_draws(expression, fit.named, fit.result.estimates[None])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of the posterior follow
            for term in self.predict:
                fit.predict(term)


#: Nothing.
NOTHING = Asked()


def list_facts(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """What is to be known of tables of means beside their rows: errors of differences, and what was averaged over."""
    return {name: table.attrs for name, table in tables.items() if table.attrs}
