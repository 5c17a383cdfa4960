"""Posterior of a mixed model: what users ask of its draws, as plain tables; saved to and loaded from a folder."""

from __future__ import annotations

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
from bmtme.choices import POSTERIOR
from bmtme.errors import UsageError
from bmtme.model.mixed.terms import Term
from bmtme.results import quantities
from bmtme.results.entries import type_columns
from bmtme.results.folder import save_result
from bmtme.results.frames import ComponentTable
from bmtme.results.mixed import effects, means
from bmtme.results.mixed.components import Named
from bmtme.results.mixed.expressions import evaluate_draws
from bmtme.results.mixed.groups import describe_draws, take_effects
from bmtme.results.mixed.heritability import list_ratios
from bmtme.results.mixed.storage import name_file
from bmtme.results.posterior import make_tree
from bmtme.results.record import write_record
from bmtme.results.reported import Reported
from bmtme.results.spreadsheets import check_tables, write_tables
from bmtme.results.storage import SUMMARY, read_run, write_groups
from bmtme.results.summary import GOOD_ESS, GOOD_R_HAT, INTERVAL, Digest, diagnose, note_diagnostics, note_width
from bmtme.words import list_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bmtme.results.mixed.fit import MixedFit

__all__ = ["DerivedDraws", "MixedPosterior", "load_posterior"]

#: Heritabilities that are functions of the parameters.
KINDS = ("record", "mean")
#: What a parameter of these kinds lies between.
_RANGES = {"correlation": (-1.0, 1.0), "autocorrelation": (-1.0, 1.0)}
#: Divergent moves beyond this share of the draws are told.
SOME_DIVERGED = 0.01
#: Tables of effects: the beginning of their files' names, and the file of the fixed ones.
EFFECTS, FIXED = "effects-", "fixed_effects"


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
            the chains do not suffice, and of correlations of which hardly more is known than that they are such.
        """
        return ComponentTable(self._summary.copy())

    @cached_property
    def _summary(self) -> pd.DataFrame:
        draws = np.moveaxis(self._draws, 2, 0)
        bulk, tail, r_hat = diagnose(draws)
        digests = []
        for k, named in enumerate(self._named):
            constant = bool(np.ptp(draws[k]) == 0)
            if constant:
                bulk[k] = tail[k] = r_hat[k] = np.nan
            flat = draws[k].ravel()
            interval = np.quantile(flat, INTERVAL)
            notes = note_width(_RANGES.get(named.kind), interval[1] - interval[0])
            notes += note_diagnostics(draws[k].shape, constant, bulk[k], tail[k], r_hat[k])
            digests.append(Digest(flat, interval, bulk[k], tail[k], r_hat[k], "; ".join(notes)))
        index = pd.MultiIndex.from_tuples(
            [(each.term, each.parameter) for each in self._named], names=["term", "parameter"]
        )
        columns = quantities.SUMMARY
        table = pd.DataFrame({column.name: [column.of(digest) for digest in digests] for column in columns}, index)
        return table.astype(type_columns(columns))

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
        if not is_one_of(kind, KINDS):
            raise UsageError(
                f"kind must be one of {list_names(KINDS)}, got {show(kind)}; Cullis' heritability, of errors at one "
                "set of estimates, is that of MixedFit.heritability."
            )
        fit = self._need_fit("heritabilities")
        draws = self._draws.reshape(-1, len(self._named))
        rows = []
        for ratio in list_ratios(term, kind, fit.random, fit.layout, self._named):
            top, rest = ratio.weigh(draws.shape[1])
            value = (draws @ top) / (draws @ (top + rest))
            told = {k: v[0] for k, v in describe_draws(value[:, None]).items()}
            rows.append({"level": ratio.label, "kind": kind} | told | {"denominator": ratio.describe(self._named)})
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
            As for `MixedFit.blup`; of a posterior that was loaded, as in the formula.

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
            if str(term) not in files:
                raise UsageError(f"The model has no random term {str(term)!r}: it has {list_names(files, 20)}.")
            return self._loaded[files[str(term)]].copy()
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
        """
        fit = self._need_fit("adjusted means")
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
                f"{what} of a posterior that was loaded need its plots, which are not in the folder: "
                "Model.posterior(plots) with the same settings and seed gives the same draws."
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
        around = "All chains are around one mode, that which REML leads to: another one would not be seen."
        return lay_out([verdict, *faults, " ".join([how, around]), *told])

    @property
    def _names(self) -> list[str]:
        return [f"{each.term}[{each.parameter}]" for each in self._named]

    def _list_faults(self) -> list[str]:
        """What speaks against the chains, with what to do."""
        summary, settings, sampling = self._summary, self.run["settings"], self.run["sampling"]
        faults = []
        ess = summary[["ess_bulk", "ess_tail"]].min(axis=1).to_numpy()
        r_hat = summary["r_hat"].to_numpy()
        if not np.isfinite(ess).any():
            return ["Too few draws to judge."]
        worst = int(np.nanargmin(ess))
        if np.nanmin(ess) < GOOD_ESS:
            factor = max(2, int(np.ceil(1.2 * GOOD_ESS / max(ess[worst], 1.0))))
            faults.append(
                f"Few effective draws: {self._names[worst]} has {ess[worst]:.0f}. Ask for more: "
                f"draws={factor * settings['draws']}."
            )
        if np.isfinite(r_hat).any() and np.nanmax(r_hat) > GOOD_R_HAT:
            far = int(np.nanargmax(r_hat))
            faults.append(
                f"The chains do NOT agree: R-hat of {self._names[far]} is {r_hat[far]:.3f}. Ask for more draws."
            )
        diverged = sum(sampling["divergences"])
        if diverged > SOME_DIVERGED * settings["draws"] * settings["chains"]:
            faults.append(
                f"{diverged:,} moves diverged: give terms whose variance is near zero, or whose correlation is near "
                "its end, fewer parameters."
            )
        return faults

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

    def save(self, folder: str | os.PathLike[str], *, safe_text: bool = False, xlsx: bool = False) -> None:
        """Write summary.csv, fixed_effects.csv, effects-TERM.csv, idata.nc and run.json to a new or empty folder.

        Parameters
        ----------
        folder : str or path
        safe_text, xlsx : bool
            As for `bmtme.Fit.save`.

        Raises
        ------
        UsageError, MachineError
        """
        self.write(folder, {}, safe_text, xlsx)

    def write(
        self, folder: str | os.PathLike[str], run: dict[str, Any], safe_text: bool = False, xlsx: bool = False
    ) -> None:
        """As `save`, with further facts for run.json, such as the command and its files."""
        check_tables(safe_text, xlsx)
        save_result(folder, partial(self._write, {**self.run, **run}, safe_text, xlsx))

    def _write(self, run: dict[str, Any], safe_text: bool, xlsx: bool, folder: Path) -> None:
        began = time.perf_counter()
        tables: dict[str, pd.DataFrame] = {}
        terms = dict(run.get("effects", {}))
        for name, table in self.tables().items():
            file = name if self.fit is None else name_file(name, tables)
            tables[file] = table
            if self.fit is not None and name.startswith(EFFECTS):
                terms[f"{file}.csv"] = name.removeprefix(EFFECTS)
        columns = write_tables(folder, tables, safe_text, xlsx)
        write_groups(folder, self._groups)
        write_record(folder, {**run, "effects": terms}, POSTERIOR, columns, began=began)


def load_posterior(folder: Path) -> MixedPosterior:
    """The posterior in a folder; see `bmtme.load`.

    Raises
    ------
    DataError
    """
    groups, run, tables = read_run(folder, POSTERIOR)
    return MixedPosterior(groups, run, None, tables)
