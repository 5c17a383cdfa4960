"""Posterior of a mixed model: what users ask of its draws, as plain tables; saved to and loaded from a folder."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from bmtme.arguments import is_one_of, show
from bmtme.choices import HERITABILITY_RATIOS, POSTERIOR
from bmtme.errors import UsageError
from bmtme.model.mixed.parser import parse_random
from bmtme.model.mixed.terms import Random, Term
from bmtme.results.folder import save_result
from bmtme.results.frames import ComponentTable
from bmtme.results.mixed import effects, means
from bmtme.results.mixed.components import Named
from bmtme.results.mixed.digest import list_faults, summarise
from bmtme.results.mixed.effects import match_term
from bmtme.results.mixed.expressions import evaluate_draws
from bmtme.results.mixed.groups import describe_draws, take_effects
from bmtme.results.mixed.storage import name_file
from bmtme.results.posterior import make_tree
from bmtme.results.record import write_record
from bmtme.results.reported import Reported
from bmtme.results.spreadsheets import check_tables, write_tables
from bmtme.results.storage import SUMMARY, read_run, write_groups
from bmtme.words import list_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bmtme.results.mixed.fit import MixedFit

__all__ = ["DerivedDraws", "MixedPosterior", "load_posterior"]

#: The beginning of the names of tables of effects and of means, and the name of that of fixed effects.
EFFECTS, MEANS, FIXED = "effects-", "predict-", "fixed_effects"


@dataclass(frozen=True)
class DerivedDraws:
    """A function of the parameters, in every draw.

    Attributes
    ----------
    expression : str
    mean, sd : float
    lower, upper : float
        90% interval, equal-tailed.
    draws : (chain, draw) float array
    """

    expression: str
    mean: float
    sd: float
    lower: float
    upper: float
    draws: np.ndarray = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.expression}: {self.mean:.4g} (SD {self.sd:.2g}, 90% {self.lower:.4g} to {self.upper:.4g})"


class MixedPosterior(Reported):
    """Draws from the posterior of a mixed model.

    Attributes
    ----------
    idata : arviz.InferenceData (ArviZ 0.x) or xarray.DataTree (ArviZ 1.x)
        Groups posterior (``components``, by term and parameter; fixed and random effects, where all draws have them),
        ``effects`` where some draws have them, sample_stats, observed_data.
    run : dict
        Model, priors, settings, how the chains went, versions, timings: ``run.json``.
    fit : MixedFit or None
        The fit by REML from which the mode was looked for; none of a posterior that was loaded.
    asked : dict of DataFrames
        Tables by name that the command asked for besides, which are written with it.
    """

    def __init__(
        self,
        groups: dict[str, Any],
        run: dict[str, Any],
        fit: MixedFit | None = None,
        tables: Mapping[str, pd.DataFrame] | None = None,
    ) -> None:
        self._groups = groups
        self._loaded = dict(tables or {})
        self.run = run
        self.fit = fit
        self.asked: dict[str, pd.DataFrame] = {}

    def __repr__(self) -> str:
        from bmtme.report.mixed_posterior import describe_posterior
        from bmtme.results.frames import WIDTH

        return describe_posterior(self, WIDTH)

    @cached_property
    def idata(self) -> Any:
        """The draws as ArviZ wants them."""
        return make_tree(self._groups)

    @cached_property
    def _named(self) -> tuple[Named, ...]:
        """Parameters in the order of ``components``."""
        return tuple(
            Named(k, each["term"], each["parameter"], each["kind"], tuple(each["levels"]), each["is_residual"])
            for k, each in enumerate(self.run["facts"]["components"])
        )

    @cached_property
    def _random(self) -> Random:
        """The random part of the model."""
        return parse_random(self.run["model"]["random"] or None)

    @property
    def _draws(self) -> np.ndarray:
        """(chain, draw, component)."""
        return np.asarray(self._groups["posterior"]["components"].values)

    # --- parameters ---------------------------------------------------------------------------------------------

    def summary(self) -> pd.DataFrame:
        """Summary of the parameters, by term and parameter as in `MixedFit.components`.

        Returns
        -------
        DataFrame
            mean, sd, lower, upper (90% interval, equal-tailed), ess_bulk, ess_tail, r_hat, note. The note says where
            the chains do not suffice, and of correlations of which hardly more is known than that they are such. A
            variance of so few levels that its posterior has no standard deviation, or no mean, has none here; its
            note has the median.
        """
        return ComponentTable(self._summary.copy())

    @cached_property
    def _summary(self) -> pd.DataFrame:
        priors = self.run["settings"]["priors"]
        nu = {name: next(iter(each.values()))["nu"] for name, each in priors.items()}
        return summarise(self._draws, self._named, self.run["facts"]["contrasts"], nu)

    def derive(self, expression: str) -> DerivedDraws:
        """A function of the parameters in every draw.

        Parameters
        ----------
        expression : str
            As for `MixedFit.derive`, such as ``"gen / (gen + residual)"``.

        Returns
        -------
        DerivedDraws
            expression, mean, sd, lower, upper, draws.

        Raises
        ------
        UsageError
        """
        draws = self._draws
        values = evaluate_draws(expression, self._named, draws.reshape(-1, draws.shape[-1]))
        numbers = {name: float(value[0]) for name, value in describe_draws(values[:, None]).items()}
        return DerivedDraws(expression, **numbers, draws=values.reshape(draws.shape[:2]))

    def heritability(self, term: str, kind: Literal["record", "mean"] = "record") -> pd.DataFrame:
        """Heritability of a term in every draw.

        Parameters
        ----------
        term : str
        kind : {"record", "mean"}
            As for `MixedFit.heritability`, which has Cullis' by REML.

        Returns
        -------
        DataFrame
            level, kind, mean, sd, lower, upper, denominator (in words).

        Raises
        ------
        UsageError
        """
        if not is_one_of(kind, HERITABILITY_RATIOS):
            raise UsageError(
                f"kind must be one of {list_names(HERITABILITY_RATIOS)}, got {show(kind)}; Cullis' "
                "heritability, of errors at one set of estimates, is that of MixedFit.heritability."
            )
        known = self.run["facts"]["heritabilities"]
        text = match_term(term, self._random, {each["design"] for each in known if "design" in each})
        own = [each for each in known if text in (each["term"], each.get("design"))]
        if refused := [each["refused"] for each in own if "refused" in each]:
            raise UsageError(refused[0])
        draws = self._draws.reshape(-1, len(self._named))
        rows = []
        for each in own:
            if each["kind"] == kind:
                top, rest = np.array(each["top"]), np.array(each["rest"])
                told = describe_draws(((draws @ top) / (draws @ (top + rest)))[:, None])
                numbers = {name: value[0] for name, value in told.items()}
                rows.append({"level": each["level"], "kind": kind, **numbers, "denominator": each["denominator"]})
        return pd.DataFrame(rows, columns=["level", "kind", "mean", "sd", "lower", "upper", "denominator"])

    # --- effects ------------------------------------------------------------------------------------------------

    @property
    def fixed_effects(self) -> pd.DataFrame:
        """Fixed effects: term, effect, mean, sd, lower, upper, note; one that is a sum of earlier ones has no number.

        Raises
        ------
        UsageError
            If effects were not kept.
        """
        if self.fit is None and f"{FIXED}.csv" in self._loaded:
            return self._loaded[f"{FIXED}.csv"].copy()
        fixed, _ = self._need_effects()
        table = effects.list_columns(self._need_fit("fixed effects").layout)
        absent = np.isnan(fixed).any(axis=0)
        table = table.assign(**describe_draws(fixed))
        table["note"] = np.where(absent, effects.LEFT_OUT, "")
        return table

    def effects(self, term: str | Term) -> pd.DataFrame:
        """Effects of a random term.

        Parameters
        ----------
        term : str or Term
            As for `MixedFit.blup`; of a posterior that was loaded all levels of an ``at()`` together.

        Returns
        -------
        DataFrame
            A column for each factor, then mean, sd, lower, upper (90% interval) and n (records).

        Raises
        ------
        UsageError
            If the model has no such term, or effects were not kept.
        """
        if self.fit is None and self.run["effects"]:
            files = {name: file for file, name in self.run["effects"].items()}
            return self._loaded[files[match_term(term, self._random, ())]].copy()
        _, random = self._need_effects()
        fit = self._need_fit("effects")
        ends = np.cumsum([0, *(each.q for each in fit.result.problem.terms)])
        tables = []
        for place in effects.find_designs(term, fit.random, fit.layout):
            design = fit.layout.random[place]
            table = effects.list_levels(design).assign(**describe_draws(random[:, ends[place] : ends[place + 1]]))
            table["n"] = effects.count_records(design, len(table))
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def predict(self, classify: str) -> pd.DataFrame:
        """Adjusted means of the levels of some factors.

        Parameters
        ----------
        classify : str
            As for `MixedFit.predict`, of which these are the means, such as ``"gen:site"``.

        Returns
        -------
        DataFrame
            A column for each factor, then mean, sd, lower, upper, estimable, note (why a mean is missing).

        Raises
        ------
        UsageError

        Notes
        -----
        The draws are those of the combination of fixed and random effects that `MixedFit.predict` describes. Effects
        of blocks and the like that are averaged, or left out, stand at zero; but fixed effects carry what is not known
        of them: with two blocks the mean of a line is no better known than the mean of the blocks is, and intervals
        are wider than those of differences between lines, from which this cancels. A posterior that was loaded has the
        means that were asked for when it was saved.
        """
        files = {name: file for file, name in self.run["predictions"].items()}
        if self.fit is None and classify in files:
            table = self._loaded[files[classify]].copy()
            table.attrs = {name: tuple(words) for name, words in self.run["means"][f"{MEANS}{classify}"].items()}
            return table
        fit = self._need_fit("other adjusted means than those it was saved with")
        fixed, random = self._need_effects()
        found = means.predict_means(classify, fit.fixed, fit.layout, fit.result)
        found.tell_ignored(fit.layout, stacklevel=2)
        draws = found.combinations @ np.hstack([np.nan_to_num(fixed), random]).T
        table = found.table.drop(columns=["mean", "se", "estimable", "note"])
        gone = ~found.table["estimable"].to_numpy()
        for name, values in describe_draws(np.asarray(draws).T).items():
            table[name] = np.where(gone, np.nan, values)
        table["estimable"], table["note"] = ~gone, found.table["note"]
        table.attrs = {"averaged": found.averaged, "held": found.held, "ignored": found.ignored}
        return table

    def _need_effects(self) -> tuple[np.ndarray, np.ndarray]:
        found = take_effects(self._groups)
        if found is None:
            raise UsageError(
                "this posterior kept no effects (keep_effects='none'): draw it again with keep_effects='auto', 'thin' "
                "or 'all' (in the shell --keep-effects auto, thin or all)."
            )
        return found

    def _need_fit(self, what: str) -> MixedFit:
        if self.fit is None:
            raise UsageError(
                f"{what} of a posterior that was loaded need its plots and relationships, which are not in the folder: "
                "save(folder, predict=[...]), in the shell --predict, keeps means with it, and Model.posterior(plots) "
                "with the same settings and seed gives the same draws."
            )
        return self.fit

    # --- diagnostics --------------------------------------------------------------------------------------------

    @property
    def reliable(self) -> bool:
        """Whether the chains can be leaned on: they agree, their draws suffice, few moves diverged."""
        return not self._list_faults()

    def diagnose(self) -> str:
        """Whether the draws can be leaned on, and how they were made, in words."""
        from bmtme.results.diagnosis import lay_out

        sampling = self.run["sampling"]
        faults = self._list_faults()
        verdict = "Do not lean on these numbers yet." if faults else "The numbers can be leaned on."
        k = "not to be told" if sampling["k_hat"] is None else f"{sampling['k_hat']:.2f}"
        how = (
            f"Sampled by {sampling['method']}, as Pareto k-hat of the proposal at the mode is {k} (good: 0.7 at most)."
        )
        hardly = [name for name, note in zip(self._names, self._summary["note"], strict=True) if "hardly" in note]
        told = [f"The data hardly tell {list_names(hardly, 5)}."] if hardly else []
        if "effects" in self._groups:
            kept, drawn = (
                self._groups["effects"].sizes["effect_draw"],
                math.prod(self.idata["posterior"].sizes[dim] for dim in ("chain", "draw")),
            )
            told.append(
                f"Effects, predictions and means are of {kept:,} of the {drawn:,} draws, which leaves their posterior "
                f"means an error of {1 / np.sqrt(kept):.2f} standard deviations; keep_effects='all' (in the shell "
                "--keep-effects all) keeps all."
            )
        around = "All chains are around one mode, that which REML leads to: another one would not be seen."
        return lay_out([verdict, *faults, " ".join([how, around]), *told])

    @property
    def _names(self) -> list[str]:
        return [f"{each.term}[{each.parameter}]" for each in self._named]

    def _list_faults(self) -> list[str]:
        """What speaks against the chains, with what to do."""
        return list_faults(self._summary, self._names, self.run["settings"], self.run["sampling"]["divergences"])

    def plot_chains(self, names: Sequence[str] | None = None) -> Figure:
        """Traces and ranks of some parameters, by chain, as of `bmtme.Fit.plot_chains`.

        Parameters
        ----------
        names : sequence of str, optional
            Such as ``"gen[variance]"``, term and parameter of the summary; by default the four with the fewest
            effective draws.

        Raises
        ------
        UsageError
            For a name that is not in the summary.
        """
        from bmtme.report.chain_plots import plot_chains

        return plot_chains(self, names)

    # --- files --------------------------------------------------------------------------------------------------

    def tables(self) -> dict[str, pd.DataFrame]:
        """What is written: summary, and where effects were kept fixed_effects and those of each random term."""
        found = {Path(SUMMARY).stem: self._summary.reset_index()}
        if self.fit is None:
            return found | {Path(file).stem: table for file, table in self._loaded.items() if file != SUMMARY}
        if take_effects(self._groups) is not None:
            found[FIXED] = self.fixed_effects
            for term in self.fit.random.terms:
                found[f"{EFFECTS}{term}"] = self.effects(str(term))
        return found

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        predict: Sequence[str] = (),
        safe_text: bool = False,
        xlsx: bool = False,
    ) -> None:
        """Write summary.csv, fixed_effects.csv, effects-TERM.csv, idata.nc and run.json to a new or empty folder.

        Parameters
        ----------
        folder : str or path
        predict : sequence of str
            Adjusted means that go with it, each as for `predict`: they need the plots, which are not in the folder.
        safe_text, xlsx : bool
            As for `bmtme.Fit.save`.

        Raises
        ------
        UsageError, MachineError
        """
        kept = self.run["predictions"].values()
        more = {f"{MEANS}{term}": self.predict(term) for term in predict if term not in kept}
        check_tables(safe_text, xlsx)
        save_result(folder, partial(self._write, safe_text=safe_text, xlsx=xlsx, more=more))

    def _write(
        self, folder: Path, safe_text: bool = False, xlsx: bool = False, more: Mapping[str, pd.DataFrame] | None = None
    ) -> None:
        began, run, more = time.perf_counter(), self.run, {**self.asked, **(more or {})}
        tables: dict[str, pd.DataFrame] = {}
        named = {EFFECTS: dict(run["effects"]), MEANS: dict(run["predictions"])}
        for name, table in {**self.tables(), **more}.items():
            old = self.fit is None and name not in more  # a file's name, as it was
            file = name if old else name_file(name, tables)
            tables[file] = table
            for start, own in named.items():
                if not old and name.startswith(start):
                    own[f"{file}.csv"] = name.removeprefix(start)
        facts = {name: {key: list(words) for key, words in table.attrs.items()} for name, table in more.items()}
        kept = {"effects": named[EFFECTS], "predictions": named[MEANS]}
        kept["means"] = run["means"] | {name: told for name, told in facts.items() if told}
        columns = write_tables(folder, tables, safe_text, xlsx)
        write_groups(folder, self._groups)
        write_record(folder, {**run, **kept}, POSTERIOR, columns, began=began)


def load_posterior(folder: Path) -> MixedPosterior:
    """The posterior in a folder; see `bmtme.load`.

    Raises
    ------
    DataError
    """
    groups, run, tables = read_run(folder, POSTERIOR)
    return MixedPosterior(groups, run, None, tables)
