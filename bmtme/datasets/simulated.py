"""Simulated trials with known parameters, drawn from the model itself."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from bmtme.arguments import check_memory, file_path, is_number, show, whole_number
from bmtme.data.relationship.matrix import Relationship
from bmtme.datasets.given import FloatArray, Labels, find_entry, refuse_replaced
from bmtme.datasets.relatives import find_root, make_names, make_relationship, measure_lines
from bmtme.datasets.truths import Around, draw_truth, refuse_line_effect, settle_structures
from bmtme.errors import UsageError
from bmtme.results.derivations import share_genetic
from bmtme.results.rows import derive_rows

if TYPE_CHECKING:
    from bmtme.structures.structure import Genetic, Residual

PAPER_MEANS = np.array([[15.0, 8.0, 7.0], [12.0, 6.0, 7.0], [14.0, 9.0, 8.0]])
"""Means of environment (rows) x trait in the simulations of Montesinos-Lopez et al. (2016)."""

HERITABILITY = (0.2, 0.5, 0.8)

# First word of the spawn keys; the bytes spell "data". A sampler started with the seed of its data must not draw
# the very numbers the data were made of.
DATA_STREAM = 0x64617461
# One stream for each part, so that asking for missing records, say, leaves the values of the others as they are.
_STREAMS = ("markers", "beta", "b1", "b2", "residual", "missing", "missing_traits", "structures", "u", "r")
#: In which the truth of the paper's model is listed first.
_ORDER = ("beta", "Sigma_t", "R_e", "b1", "heritability", "Sigma_E", "b2")


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated trial and the parameters it was drawn with.

    Attributes
    ----------
    frame : pandas.DataFrame
        Wide phenotypes with the columns line, env, rep (text) and one column for every trait; a row is a plot.
    relationship : Relationship
        G of the lines.
    truth : dict of DataFrame or Series
        By the names of the posterior. Of the paper's model: ``beta`` (env x trait), ``Sigma_t`` and ``R_e``
        (trait x trait), ``Sigma_E`` (env x env), ``b1`` (line x trait), ``b2`` (rows: env, line; columns: trait) and
        ``heritability`` (trait). With one environment there is no ``b2`` and no ``Sigma_E``. Of other genetic
        structures ``C`` (cell x cell, a cell being environment and trait), ``genetic_variance`` (env x trait), what
        else they report, and ``u`` (rows: env, line) in place of ``Sigma_t``, ``Sigma_E``, ``b1`` and ``b2``; of other
        residuals ``R_e`` with rows env, trait; of a line effect ``Sigma_r`` and ``r`` (line x trait). Of all of these
        ``heritability`` is env x trait.
    markers : pandas.DataFrame or None
        Allele counts (0 or 2), lines x markers, where the relationship was made from markers.
    """

    frame: pd.DataFrame
    relationship: Relationship
    truth: dict[str, pd.DataFrame | pd.Series]
    markers: pd.DataFrame | None = None

    def parameters(self) -> pd.Series:
        """The truth of each row of `Fit.summary`, by its name.

        Returns
        -------
        pandas.Series
            In the order of a summary, of which it has every row but those of effects of replicates, which are zero.
        """
        beta = self.truth["beta"]
        labels = Labels(list(beta.index), list(beta.columns))
        values = {}
        for name, table in self.truth.items():
            if name not in ("b1", "b2", "u", "r", "heritability"):
                entry = find_entry(name, table.index.nlevels + (table.ndim - 1))
                values[name] = table.to_numpy().reshape(1, 1, *(len(labels.along(dim)) for dim in entry.dims))
        names = {dim: labels.along(dim) for dim in ("env", "trait", "cell")}
        rows = list(derive_rows(values, names, measure_lines(np.asarray(self.relationship.matrix))))
        index = pd.Index([row.name for row in rows], name="parameter")
        return pd.Series([float(row.draws[0, 0]) for row in rows], index=index, name="truth")

    def save(self, folder: str | Path) -> None:
        """Write phenotypes.csv, relationship.csv, truth.json and, where there are markers, markers.csv.

        Parameters
        ----------
        folder : str or Path
            Made where it does not exist.

        Raises
        ------
        UsageError
            If one of the files is there already.
        """
        folder = Path(file_path(folder, "folder"))
        lines = list(self.relationship.lines)
        grm = pd.DataFrame(self.relationship.matrix, index=pd.Index(lines, name="line"), columns=lines)
        texts = {
            "phenotypes.csv": self.frame.to_csv(index=False),
            "relationship.csv": grm.to_csv(),
            "truth.json": json.dumps({name: _nested(values) for name, values in self.truth.items()}, indent=1) + "\n",
        }
        if self.markers is not None:
            texts["markers.csv"] = self.markers.to_csv(index_label="line")
        for name in texts:
            if (folder / name).exists():
                raise UsageError(f"{folder / name} exists already: choose another folder or remove the file.")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for name, text in texts.items():
                (folder / name).write_text(text, encoding="utf-8")
        except OSError:  # half of them would be in the way of the next call
            for name in texts:
                (folder / name).unlink(missing_ok=True)
            raise


def simulate(
    lines: int = 80,
    envs: int = 3,
    traits: int = 3,
    reps: int = 1,
    genetic_correlation: float = 0.85,
    residual_correlation: float = 0.85,
    heritability: float | Sequence[float] = HERITABILITY,
    interaction: float | Sequence[float] = 0.5,
    relationship: str | Relationship = "compound",
    missing: float = 0.0,
    missing_traits: float = 0.0,
    seed: int = 1,
    *,
    genetic: Genetic | None = None,
    residual: Literal["shared", "scaled", "common_correlation", "by_env"] | Residual = "shared",
    line_effect: bool = False,
    spread: float = 0.2,
    truth: Mapping[str, Any] | None = None,
) -> Simulation:
    """Draw a trial from the Bayesian multi-trait multi-environment model, with any of its structures.

    ``y_ijk = beta_i + b1_j + b2_ij + e_ijk`` for environment i, line j and plot k, with
    ``b1 ~ MN(0, G, Sigma_t)``, ``b2 ~ MN(0, Sigma_E (x) G, Sigma_t)`` and ``e ~ N(0, R_e)``.
    Every trait has ``Sigma_t[l, l] = 1``; all genetic correlations are alike, and so are all residual ones. With
    three environments and three traits the means are the paper's (`PAPER_MEANS`); beyond the third, means are drawn
    from N(10, 3^2). ``simulate(reps=20, interaction=1.0)`` has the design of the paper's simulation: 80 lines, 3
    environments, 3 traits, 20 replicates, Sigma_E = I and correlations 0.85.

    With other structures effects are ``u ~ N(0, C (x) G)`` in place of b1 and b2, and residuals have the covariance of
    their environment. Structures have parameters around those of the covariances above: C around
    (1 1' + Sigma_E) (x) Sigma_t, each R_e around the one that the heritability gives. A line effect has a quarter of
    the genetic variance among the lines, and the genetic correlations.

    Parameters
    ----------
    lines, envs, traits, reps : int
        Numbers of lines (named L01, ...), environments (E1, ...), traits (T1, ...) and plots of every line in
        every environment.
    genetic_correlation, residual_correlation : float
        Correlation of every two traits in Sigma_t and in R_e; between -1 / (traits - 1) and 1.
    heritability : float or sequence of float
        h2 of each trait on a plot basis, strictly between 0 and 1: genetic variance among the lines (main effect and
        average interaction) over the total,
        ``h2_l = c Sigma_t[l,l] (1 + s) / (c Sigma_t[l,l] (1 + s) + R_e[l,l])``, ``s = mean_i Sigma_E[i,i]``
        (0 with one environment), with ``c = (tr G - 1'G1 / J) / (J - 1)`` the expected sample variance of an effect
        per unit of its variance, as in `Fit.summary` (0.3 for "compound"; G's element for one line). It fixes
        R_e[l, l]. The default is cut or repeated to the number of traits.
    interaction : float or sequence of float
        Diagonal of Sigma_E, the variance of the interaction relative to the main effect; 0 or more. Not used with
        one environment.
    relationship : {"compound", "blocks", "markers"} or Relationship
        ``"compound"``: G = 0.3 I + 0.7 11'. ``"blocks"``: unrelated families of 10 lines, 0.3 I + 0.7 11' in
        each. ``"markers"``: VanRaden's G of simulated markers, 1,000 on 10 chromosomes (those
        with one allele are left out): families of 10 doubled haploids, from two parents each, in four populations
        with F_st = 0.1. Or the relationship of
        `lines` lines of one's own, whose names are used.
    missing : float
        Share of the line x env cells without any record. Every line keeps one environment.
    missing_traits : float
        Share of the single trait values missing in the remaining records. Every record keeps one trait.
    seed : int
        Everything follows from it, in a stream for each part: the values do not depend on what is missing.
    genetic, residual, line_effect
        As of `BMTME`; by default the paper's. The paper's C and its R_e are those above, nothing of them is drawn. A
        line effect needs lines that are related unequally, so that "compound" is refused.
    spread : float
        Standard deviation of the parameters of other structures around the paper's covariances: of standard
        deviations where Sigma_t has 1, of logarithms and inverse hyperbolic sines.
    truth : dict, optional
        Values given by the names of `Simulation.truth` in place of drawn ones: ``beta``, ``R_e``, ``Sigma_r``, and
        what makes C: ``Sigma_t`` and ``Sigma_E``; ``Sigma_t``, ``Sigma_gt`` and ``k`` of `MainAndInteraction`;
        ``Sigma_t`` and ``K`` of `Separable`; ``C`` as a whole of other structures. Tables are matched by their
        labels, arrays are in the order of environments and traits (``R_e`` of environments is env x trait x trait).

    Returns
    -------
    Simulation

    Raises
    ------
    UsageError
        If an argument is out of its range, or one does not go with another.
    DataError
        If a relationship of one's own has a negative eigenvalue, or makes all lines clones.
    """
    lines, envs, traits, reps = (
        whole_number(value, what, 1)
        for value, what in ((lines, "lines"), (envs, "envs"), (traits, "traits"), (reps, "reps"))
    )
    seed = whole_number(seed, "seed", 0)
    check_memory(
        8.0 * (4 * lines**2 + 4 * (envs * traits) ** 2 + 4 * envs * lines * reps * traits),
        f"lines={lines}, envs={envs}, traits={traits}, reps={reps}",
    )
    whole_h2 = heritability is HERITABILITY
    if whole_h2:
        heritability = [HERITABILITY[k % len(HERITABILITY)] for k in range(traits)]
    h2 = _numbers(heritability, traits, "heritability", "trait")
    if not ((h2 > 0) & (h2 < 1)).all():
        raise UsageError(f"heritability must lie strictly between 0 and 1, got {show(heritability)}.")
    sigma_e = _numbers(interaction, envs, "interaction", "environment")
    if not (np.isfinite(sigma_e) & (sigma_e >= 0)).all():
        raise UsageError(f"interaction must be finite and not negative, got {show(interaction)}.")
    if not is_number(spread) or not 0.0 <= spread < math.inf:
        raise UsageError(f"spread must be a number of at least 0, got {show(spread)}.")
    streams = {
        name: np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(DATA_STREAM, number)))
        for number, name in enumerate(_STREAMS)
    }

    rel, markers = make_relationship(relationship, lines, streams["markers"])
    env_names, trait_names = make_names("E", envs), make_names("T", traits)
    labels = Labels(env_names, trait_names)
    structures = settle_structures(genetic, residual, line_effect, labels)
    if line_effect:
        refuse_line_effect(rel, labels, envs * reps)
    given = {} if truth is None else truth
    refuse_replaced(
        given, simulate, genetic_correlation=genetic_correlation, residual_correlation=residual_correlation,
        heritability=None if whole_h2 else heritability, interaction=interaction,
    )  # fmt: skip
    G = np.asarray(rel.matrix)
    g_root, c = find_root(G), measure_lines(G)
    sigma_t = _correlation(genetic_correlation, traits, "genetic_correlation")
    p_e = _correlation(residual_correlation, traits, "residual_correlation")
    around = Around(sigma_t, p_e, sigma_e if envs > 1 else np.zeros(1), h2, c, float(spread))
    C, drawn = draw_truth(structures, line_effect, around, given, labels, streams["structures"])

    beta = streams["beta"].normal(10.0, 3.0, (envs, traits))
    known = PAPER_MEANS[:envs, :traits]
    beta[: known.shape[0], : known.shape[1]] = known
    beta = drawn.pop("beta", beta)
    effects: dict[str, FloatArray] = {}  # (line, trait) or (env, line, trait)
    if "C" in drawn:
        normal = streams["u"].standard_normal((lines, envs * traits))
        effects["u"] = (g_root @ normal @ find_root(C)).reshape(lines, envs, traits).swapaxes(0, 1)
    else:
        t_root = np.linalg.cholesky(drawn["Sigma_t"])
        effects["b1"] = g_root @ streams["b1"].standard_normal((lines, traits)) @ t_root.T
        if envs > 1:
            normal = streams["b2"].standard_normal((envs, lines, traits))
            effects["b2"] = np.sqrt(np.diag(drawn["Sigma_E"]))[:, None, None] * (g_root @ normal @ t_root.T)
    if line_effect:
        effects["r"] = streams["r"].standard_normal((lines, traits)) @ find_root(drawn["Sigma_r"])
    fitted = beta[:, None, :]
    for effect in effects.values():
        fitted = fitted + effect
    fitted = np.broadcast_to(fitted, (envs, lines, traits))
    e_root = np.linalg.cholesky(drawn["R_e"].reshape(-1, 1, traits, traits))
    noise = streams["residual"].standard_normal((envs, lines, reps, traits)) @ e_root.swapaxes(2, 3)
    values = fitted[:, :, None, :] + noise

    line_names = list(rel.lines)
    recorded = ~_absent(streams["missing"], lines, envs, missing, "missing", "line", "environment").T
    keep = np.repeat(recorded.reshape(-1), reps)
    table = values.reshape(-1, traits)[keep]
    gone = _absent(streams["missing_traits"], len(table), traits, missing_traits, "missing_traits", "record", "trait")
    table = np.where(gone, np.nan, table)
    plots = pd.MultiIndex.from_product([env_names, line_names, make_names("", reps)], names=["env", "line", "rep"])
    frame = plots[keep].to_frame(index=False)[["line", "env", "rep"]]
    frame[trait_names] = table

    share: pd.DataFrame | pd.Series
    if structures is not None:
        share = pd.DataFrame(share_genetic(drawn, c), index=pd.Index(env_names, name="env"), columns=trait_names)
    else:
        own = average_heritability(drawn, c) if given else h2
        share = pd.Series(own, index=pd.Index(trait_names, name="trait"), name="heritability")
    tables = {name: labels.label(name, array) for name, array in ({"beta": beta} | drawn).items()}
    tables["heritability"] = share
    cells = pd.MultiIndex.from_product([env_names, line_names], names=["env", "line"])
    for name, effect in effects.items():
        index = cells if effect.ndim == 3 else pd.Index(line_names, name="line")
        tables[name] = pd.DataFrame(effect.reshape(-1, traits), index=index, columns=trait_names)
    return Simulation(frame, rel, {name: tables[name] for name in (*_ORDER, *tables) if name in tables}, markers)


def average_heritability(drawn: dict[str, FloatArray], c: float) -> FloatArray:
    """(L,) of a plot under the paper's model, on average over environments."""
    share = 1.0 + (np.diag(drawn["Sigma_E"]).mean() if "Sigma_E" in drawn else 0.0)
    genetic = c * np.diag(drawn["Sigma_t"]) * share
    return np.asarray(genetic / (genetic + np.diag(drawn["R_e"])))


def _correlation(value: float, size: int, name: str) -> FloatArray:
    """Correlation matrix with one value off the diagonal."""
    lowest = -1.0 / (size - 1) if size > 1 else -math.inf
    if not is_number(value) or (size > 1 and not lowest < value < 1.0):
        raise UsageError(f"{name} must lie between {lowest:.3g} and 1 for {size} traits, got {show(value)}.")
    matrix = np.full((size, size), float(value))
    np.fill_diagonal(matrix, 1.0)
    return matrix


def _absent(
    rng: np.random.Generator, rows: int, columns: int, share: float, name: str, row: str, column: str
) -> npt.NDArray[np.bool_]:
    """Cells which are missing: a random share of all, with one cell of every row spared."""
    most = (columns - 1) / columns
    count = math.floor(share * rows * columns + 0.5) if is_number(share) and 0.0 <= share <= most else -1
    if count < 0:
        raise UsageError(
            f"{name} must lie between 0 and {most:.3g}, as every {row} keeps one {column}; got {show(share)}."
        )
    spared = np.zeros((rows, columns), dtype=bool)
    spared[np.arange(rows), rng.integers(columns, size=rows)] = True
    absent = np.zeros(rows * columns, dtype=bool)
    free = np.flatnonzero(~spared.reshape(-1))
    absent[rng.choice(free, size=min(count, free.size), replace=False)] = True
    return absent.reshape(rows, columns)


def _numbers(value: float | Sequence[float], size: int, name: str, of: str) -> FloatArray:
    """One number for all, or one for each."""
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{name} must be a number or one number for each {of}, got {show(value)}.") from None
    if numbers.ndim and numbers.shape != (size,):
        raise UsageError(f"{name} must be a number or one number for each of the {size} {of}s, got {show(value)}.")
    return np.array(np.broadcast_to(numbers, (size,)))


def _nested(values: pd.DataFrame | pd.Series) -> dict[str, object]:
    """Labelled values as nested dictionaries, outermost label first."""
    if isinstance(values, pd.Series):
        return {str(label): float(value) for label, value in values.items()}
    if values.index.nlevels > 1:
        outer = values.index.get_level_values(0).unique()
        return {str(label): _nested(values.loc[label]) for label in outer}
    return {str(label): _nested(values.loc[label]) for label in values.index}
