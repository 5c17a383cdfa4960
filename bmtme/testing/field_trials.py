"""Published fits by ASReml of field trials and of the gryphon pedigree: problems as arrays, and what was printed.

Data and sources: ``SOURCE.md`` of the folders ``field_trials`` and ``gryphon`` beside the tests' data. Components are
named as `bmtme.engines.mixed.components.describe` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from bmtme.data.relationship.pedigree import pedigree_inverse
from bmtme.engines.mixed.axes import AR1, Axis, Corh, FactorAnalytic, Identity, Known, Unstructured, Variance
from bmtme.engines.mixed.components import describe
from bmtme.engines.mixed.problem import Problem, Section, Term
from bmtme.engines.mixed.result import REML

#: ASReml stops its search early: where it prints more digits than these, its last ones are of the search.
DIGITS = 3e-5
#: The same of variances that are poorly known, printed to four digits.
POOR_DIGITS = 5e-4


def is_printed(value: float, text: str) -> bool:
    """Whether a number is that which was printed: to its last digit, or as near as searches end."""
    step = 10.0 ** -len(text.partition(".")[2])
    share = DIGITS if len(text.replace(".", "").lstrip("-0")) > 4 else POOR_DIGITS
    return abs(value - float(text)) <= max(0.5 * step * (1 + 1e-6), share * abs(float(text)))


@dataclass(frozen=True)
class Derived:
    """A function of the components that was printed with its standard error."""

    compute: Callable[[REML], tuple[float, float]]
    value: str
    error: str


def correlate_additively(found: REML) -> tuple[float, float]:
    """Correlation of two traits' effects in the second block, by the delta method."""
    places = [k for k, component in enumerate(found.components) if component.block == 1]
    a, b, c = found.estimates[places]
    r = b / np.sqrt(a * c)
    slopes = np.zeros(len(found.components))
    slopes[places] = [-r / (2 * a), 1 / np.sqrt(a * c), -r / (2 * c)]
    return float(r), float(found.derive(slopes)[0])


@dataclass(frozen=True)
class Published:
    """A fit as printed: its numbers are texts, so that their digits are known.

    Attributes
    ----------
    name : str
    make : function
        From the folder of data sets to the problem.
    log_likelihood : str
    components : mapping of str to str
        Estimates; of a covariance too.
    errors : mapping of str to str
        Standard errors of components.
    fixed : mapping of int to (str, str)
        Fixed effects with their standard errors, by column.
    derived : Derived, optional
    files : tuple of str
        That the problem needs.
    """

    name: str
    make: Callable[[Path], Problem]
    log_likelihood: str
    components: Mapping[str, str]
    files: tuple[str, ...]
    errors: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    derived: Derived | None = None


def list_differences(published: Published, found: REML) -> list[str]:
    """Numbers that are not those printed, in words."""
    components = {describe(found.problem, k): component for k, component in enumerate(found.components)}
    pairs = [(name, components[name].estimate, text) for name, text in published.components.items()]
    pairs += [(f"error of {name}", components[name].se, text) for name, text in published.errors.items()]
    for column, (estimate, error) in published.fixed.items():
        K = sp.csr_matrix(([1.0], ([0], [column])), shape=(1, found.problem.p + sum(map(len, found.effects))))
        pairs += [
            (f"fixed effect {column + 1}", float(found.fixed[column]), estimate),
            (f"error of fixed effect {column + 1}", float(np.sqrt(found.covariance_of(K)[0, 0])), error),
        ]
    if published.derived is not None:
        value, se = published.derived.compute(found)
        pairs += [("correlation", value, published.derived.value), ("its error", se, published.derived.error)]
    return [f"{name} {value:.6g}, printed {text}" for name, value, text in pairs if not is_printed(value, text)]


def code(*columns: pd.Series) -> np.ndarray:
    """Levels of crossed factors that occur, numbered in their order."""
    return pd.MultiIndex.from_arrays(columns).factorize(sort=True)[0]


def make_columns(levels: np.ndarray) -> sp.csr_matrix:
    """A column of zeros and ones for every level."""
    return sp.csr_matrix((np.ones(len(levels)), (np.arange(len(levels)), levels)))


def make_term(name: str, levels: np.ndarray) -> Term:
    """Independent effects of levels (-1 for none)."""
    return Term(name, (Variance(), Identity(int(levels.max()) + 1)), levels)


def make_units(n: int) -> tuple[Section, ...]:
    """Independent residuals with one variance."""
    return (Section("units", np.arange(n), (Variance(), Identity(n))),)


def make_grid(name: str, frame: pd.DataFrame, rows: np.ndarray, *axes: Callable[[int], Axis]) -> Section:
    """A residual over columns and rows of a field, with these axes."""
    here = frame.iloc[rows]
    n_col, n_row = int(here["col"].max()), int(here["row"].max())
    cells = (here["col"].to_numpy() - 1) * n_row + here["row"].to_numpy() - 1
    return Section(name, rows, (Variance(), axes[0](n_col), axes[1](n_row)), cells)


def make_stroup(folder: Path) -> Problem:
    """Wheat at Lincoln: varieties fixed, AR1 x AR1."""
    plots = pd.read_csv(folder / "field_trials" / "stroup_nin.csv").dropna(subset=["yield"])
    X = sp.hstack([np.ones((len(plots), 1)), make_columns(code(plots["gen"]))])
    section = make_grid("field", plots, np.arange(len(plots)), AR1, AR1)
    return Problem(plots["yield"].to_numpy(), X, (), (section,))


def make_burgueno(folder: Path) -> Problem:
    """Rows and columns within replicates, all random."""
    plots = pd.read_csv(folder / "field_trials" / "burgueno_rowcol.csv")
    terms = (
        make_term("rep", code(plots["rep"])),
        make_term("rep:row", code(plots["rep"], plots["row"])),
        make_term("rep:col", code(plots["rep"], plots["col"])),
    )
    return Problem(plots["yield"].to_numpy(), make_columns(code(plots["gen"])), terms, make_units(len(plots)))


def make_john(folder: Path) -> Problem:
    """An alpha design: blocks random, replicates and varieties fixed."""
    plots = pd.read_csv(folder / "field_trials" / "john_alpha.csv")
    X = sp.hstack([make_columns(code(plots["gen"])), make_columns(code(plots["rep"]))])
    block = make_term("rep:block", code(plots["rep"], plots["block"]))
    return Problem(plots["yield"].to_numpy(), X, (block,), make_units(len(plots)))


def make_lupin(folder: Path, *interaction: Callable[[int], Axis], main: bool = False) -> Problem:
    """Lupins at three sites: checks 1 to 6 by site fixed, site:test or test random, a residual for each site.

    Lines above 6 are test lines, all others one level of test; 337 stands in no check's column.
    """
    plots = pd.read_csv(folder / "field_trials" / "vsn_lupin3.csv", dtype={"gen": int})
    n, gen, site = len(plots), plots["gen"].to_numpy(), code(plots["site"])
    check = np.where(gen > 336, 0, np.minimum(gen, 7))
    test = np.where((gen > 6) & (gen < 337), gen - 6, 0)
    by_site = [
        sp.csr_matrix(((check == c) & (site == s)).astype(float)[:, None]) for s in range(3) for c in range(1, 8)
    ]
    X = sp.hstack([np.ones((n, 1)), make_columns(site), *by_site])
    row, col = plots["row"].to_numpy() - 1, plots["col"].to_numpy() - 1
    terms = [make_term(f"at(S{s + 1}):col", np.where(site == s, col, -1)) for s in range(3)]
    terms.append(make_term("at(S3):row", np.where(site == 2, row, -1)))
    lines = int(test.max()) + 1
    if main:
        terms.append(make_term("test", test))
    terms += [
        Term(
            "site:test",
            (axis(3), Identity(lines)) if axis is not Variance else (Variance(), Identity(3 * lines)),
            site * lines + test,
        )
        for axis in interaction
    ]
    sections = tuple(
        make_grid(f"S{s + 1}", plots, np.flatnonzero(site == s), Identity if s == 2 else AR1, AR1) for s in range(3)
    )
    return Problem(plots["yield"].to_numpy(), X, tuple(terms), sections)


def read_gryphon(folder: Path) -> tuple[pd.DataFrame, Known]:
    """Records of the gryphons, with the place of each in the pedigree, and the inverse of its relationship."""
    records = pd.read_csv(folder / "gryphon" / "pheno.csv", dtype={"line": str})
    inverse = pedigree_inverse(pd.read_csv(folder / "gryphon" / "pedigree.csv", dtype=str))
    places = {name: i for i, name in enumerate(inverse.lines)}
    records["animal"] = records["line"].map(places)
    return records, Known(sp.csr_matrix(inverse.matrix), inverse.log_determinant)


def make_gryphon(folder: Path, sex: bool = True, others: bool = False) -> Problem:
    """Birth weight: animals by pedigree, then birth years and mothers."""
    records, known = read_gryphon(folder)
    records = records.dropna(subset=["BWT"])
    X = sp.csr_matrix(np.c_[np.ones(len(records)), records["sex"] == 2] if sex else np.ones((len(records), 1)))
    terms = [Term("animal", (Variance(), known), records["animal"].to_numpy())]
    if others:
        terms += [make_term(name, code(records[name])) for name in ("byear", "mother")]
    return Problem(records["BWT"].to_numpy(), X, tuple(terms), make_units(len(records)))


def make_gryphon_pair(folder: Path) -> Problem:
    """Birth weight and tarsus length, unstructured; traits that were not measured are missing cells."""
    records, known = read_gryphon(folder)
    n = len(records)
    y = records[["BWT", "TARSUS"]].to_numpy().T
    trait, unit = np.nonzero(np.isfinite(y))
    animal = Term("trait:animal", (Unstructured(2), known), trait * known.n + records["animal"].to_numpy()[unit])
    section = Section("trait:units", np.arange(len(unit)), (Unstructured(2), Identity(n)), trait * n + unit)
    return Problem(y[trait, unit], make_columns(trait), (animal,), (section,))


LUPIN = ("field_trials/vsn_lupin3.csv",)
GRYPHON = ("gryphon/pheno.csv", "gryphon/pedigree.csv")

PUBLISHED = (
    Published(
        "stroup_nin, AR1 x AR1",
        make_stroup,
        "-399.3238",
        {
            "the variance of field": "48.7128",
            "the autocorrelation of field, axis 2": "0.65552",
            "the autocorrelation of field, axis 3": "0.43746",
        },
        ("field_trials/stroup_nin.csv",),
    ),
    Published(
        "burgueno_rowcol, rows and columns",
        make_burgueno,
        "-25.5287",
        {
            "the variance of rep": "0.1916",
            "the variance of rep:row": "0.1646",
            "the variance of rep:col": "0.2189",
            "the variance of units": "0.1796",
        },
        ("field_trials/burgueno_rowcol.csv",),
    ),
    Published(
        "john_alpha, blocks",
        make_john,
        "9.822",
        {"the variance of rep:block": "0.06194", "the variance of units": "0.08523"},
        ("field_trials/john_alpha.csv",),
    ),
    Published(
        "vsn_lupin3, test",
        lambda folder: make_lupin(folder, main=True),
        "-314.2616",
        {
            "the variance of at(S1):col": "0.6228",
            "the variance of at(S2):col": "0.159",
            "the variance of at(S3):col": "0.04832",
            "the variance of at(S3):row": "0.0235",
            "the variance of test": "0.1031",
            "the variance of S1": "2.771",
            "the autocorrelation of S1, axis 2": "0.1959",
            "the autocorrelation of S1, axis 3": "0.6503",
            "the variance of S2": "0.9926",
            "the autocorrelation of S2, axis 2": "0.2868",
            "the autocorrelation of S2, axis 3": "0.5744",
            "the variance of S3": "0.1205",
            "the autocorrelation of S3": "0.6394",
        },
        LUPIN,
    ),
    Published(
        "vsn_lupin3, + site:test", lambda folder: make_lupin(folder, Variance, main=True), "-310.8794", {}, LUPIN
    ),
    Published("vsn_lupin3, corh", lambda folder: make_lupin(folder, Corh), "-288.4837", {}, LUPIN),
    Published(
        "vsn_lupin3, us",
        lambda folder: make_lupin(folder, Unstructured),
        "-286.8239",
        {
            "the variance (1) of site:test": "0.992",
            "the covariance (2, 1) of site:test": "0.158",
            "the covariance (3, 1) of site:test": "0.132",
            "the variance (2) of site:test": "0.073",
            "the covariance (3, 2) of site:test": "0.078",
            "the variance (3) of site:test": "0.122",
        },
        LUPIN,
    ),
    Published("vsn_lupin3, fa", lambda folder: make_lupin(folder, FactorAnalytic), "-286.8484", {}, LUPIN),
    Published(
        "gryphon, animal",
        lambda folder: make_gryphon(folder, sex=False),
        "-1247.183",
        {"the variance of animal": "3.395398", "the variance of units": "3.828602"},
        GRYPHON,
        {"the variance of animal": "0.6349915", "the variance of units": "0.5185919"},
    ),
    Published(
        "gryphon, + sex",
        make_gryphon,
        "-1165.093",
        {"the variance of animal": "3.060441", "the variance of units": "2.938412"},
        GRYPHON,
        fixed={1: ("2.206996", "0.1619974")},
    ),
    Published(
        "gryphon, + byear + mother",
        lambda folder: make_gryphon(folder, others=True),
        "-1094.815",
        {
            "the variance of byear": "0.8820313",
            "the variance of mother": "1.1184698",
            "the variance of animal": "2.2985320",
            "the variance of units": "1.6290034",
        },
        GRYPHON,
    ),
    Published(
        "gryphon, two traits",
        make_gryphon_pair,
        "-2679.741",
        {
            "the variance (1) of trait:animal": "3.368397",
            "the covariance (2, 1) of trait:animal": "2.459809",
            "the variance (2) of trait:animal": "12.345792",
            "the variance (1) of trait:units": "3.849916",
            "the covariance (2, 1) of trait:units": "3.313282",
            "the variance (2) of trait:units": "17.646432",
        },
        GRYPHON,
        derived=Derived(correlate_additively, "0.3814436", "0.1299759"),
    ),
)
