"""Columns (environment x trait) that are exact linear functions of others, such as a mean of two years."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from threadpoolctl import threadpool_limits

from bmtme.checkup.constants import list_columns
from bmtme.checkup.findings import Finding, join_texts
from bmtme.data.trial import Trial
from bmtme.words import some_names

__all__ = ["Dependence", "describe_dependence", "describe_dependences", "find_dependences", "list_pairs"]

#: Lines beyond its columns that a relation needs, with half a line more for each column; and different rows of values
#: beyond them.
MORE_LINES, MORE_ROWS = 8, 5
#: What rounding leaves of a relation has to be small beside every column's part in it, as standard deviations.
SMALL = 0.1
#: Rounding errors may be so many times what the digits of the values let one expect.
LEEWAY = 1.5
#: Digits after the point that are looked at, and the relative error of a number in single precision.
DIGITS, EPSILON = 12, 1e-7
#: Patterns of missing values that are tried as the lines of a relation, the most frequent first.
PATTERNS = 12
#: Columns and lines (p^3 J) up to which every three columns are tried where lines lack some of them.
MOST_TRIPLES = 1e9
#: Relations of three columns that are looked at closely.
MOST_CANDIDATES = 200
#: Terms of a relation that are written out.
MOST_TERMS = 6


@dataclass(frozen=True)
class Dependence:
    """An exact linear relation: the first column is ``constant`` plus ``coefficients`` times the others, in all lines.

    Attributes
    ----------
    columns : tuple of (int, int)
        Places of environment and trait.
    coefficients : tuple of float
        Of the columns after the first.
    constant : float
    n_lines : int
        Lines with a value in all of the columns.
    """

    columns: tuple[tuple[int, int], ...]
    coefficients: tuple[float, ...]
    constant: float
    n_lines: int


@threadpool_limits.wrap(1)  # type: ignore[untyped-decorator]  # of many small products, threads wait for one another
def find_dependences(trial: Trial) -> list[Dependence]:
    r"""Exact linear relations of the lines' means in the environment x trait columns.

    A relation holds where what is left over is no more than the rounding of the values as recorded: with columns given
    in steps of :math:`q_m` and coefficients :math:`a_m` (-1 for the column explained), the mean square left over may
    be at most :math:`1.5^2 \sum_m a_m^2 q_m^2 / 12`. That has to be small beside the part of every column, and the
    relation to hold in at least eight lines more than it has columns.

    Looked for are relations of two columns, of three columns of one trait or of one environment, and, of any number,
    among all columns, those of a trait and those of an environment, on lines that have them all; and relations of
    traits that hold for the records of all environments together.

    Returns
    -------
    list of Dependence
        Fewest columns first; of relations that follow from one another, not all.
    """
    I, L = len(trial.envs), len(trial.traits)
    found: dict[frozenset[int], Dependence] = {}

    def keep(members: Sequence[int], relation: _Relation, n_lines: int) -> None:
        # What says less is there already.
        if not any(known <= frozenset(members) for known in found):
            columns = tuple((m // L, m % L) for m in members)
            found[frozenset(members)] = Dependence(columns, relation.coefficients, relation.constant, n_lines)

    seen = ~np.isnan(trial.values)
    steps = np.array([_find_step(trial.values[seen[:, l], l]) for l in range(L)])
    for relation in _search(_Table(trial.values, steps), [list(range(L))]):
        traits = list(relation.columns)
        complete = seen[:, traits].all(axis=1)
        for i in range(I):
            n_lines = len(np.unique(trial.line_index[complete & (trial.env_index == i)]))
            if n_lines:
                keep([i * L + l for l in traits], relation, n_lines)
    square = np.arange(I * L).reshape(I, L)
    groups = [*square.T.tolist(), *square.tolist(), square.ravel().tolist()]
    # The steps are those of the records: a mean of three plots has digits without end.
    steps = np.zeros(I * L)
    for i, l, records in list_columns(trial):
        steps[i * L + l] = _find_step(trial.values[records, l])
    for relation in _search(_Table(trial.cell_means().reshape(len(trial.lines), I * L), steps), groups):
        keep(relation.columns, relation, relation.n_rows)
    return sorted(found.values(), key=lambda dependence: len(dependence.columns))


def _search(table: _Table, groups: list[list[int]]) -> Iterator[_Relation]:
    """Relations of two columns, and of more within each of the groups; the last group holds all columns."""
    spare: set[int] = set()
    for first, second in table.list_alike():
        relation = table.relate([first, second])
        if relation is not None:
            spare.add(second if table.n_seen[second] <= table.n_seen[first] else first)
            yield relation
    groups = [[m for m in group if table.varies[m] and m not in spare] for group in groups]
    candidates = [list(triple) for group in groups[:-1] for triple in table.list_triples(group)]
    blocks = [block for group in groups for block in table.list_blocks(group)]
    for members in chain(candidates, *(table.list_dependent(columns, rows) for columns, rows in blocks)):
        relation = table.relate(members)
        if relation is not None:
            yield relation


def describe_dependences(trial: Trial, listed: Sequence[Dependence]) -> list[Finding]:
    """Relations as a finding, if there are any."""
    if not listed:
        return []
    texts = [describe_dependence(trial, each) for each in listed]
    items = [
        {
            "trait": trial.traits[each.columns[0][1]],
            "env": trial.envs[each.columns[0][0]],
            "value": each.n_lines,
            "message": text,
        }
        for each, text in zip(listed, texts, strict=True)
    ]
    text = (
        f"Values that follow from others: {join_texts(_join_alike(trial, listed))}. They add nothing to the "
        "data and draw residual variances to zero, and in a cross-validation they tell what is hidden. Leave one "
        "column of each relation out (its values as missing), or the trait."
    )
    return [Finding.of("warning", "dependent columns", text, items)]


def describe_dependence(trial: Trial, dependence: Dependence, lines: bool = True) -> str:
    """``Yield in 2020 = 0.5 x Yield in 2018 + 0.5 x Yield in 2019 for all 327 lines``."""
    names = [f"{trial.traits[l]} in {trial.envs[i]}" for i, l in dependence.columns]
    text = _write_relation(names, dependence)
    return f"{text} for all {dependence.n_lines:,} lines" if lines else text


def _write_relation(names: Sequence[str], dependence: Dependence) -> str:
    text = ""
    terms = list(zip(dependence.coefficients, names[1:], strict=True))
    for coefficient, name in terms[:MOST_TERMS]:
        size = f"{abs(coefficient):.4g}"
        part = name if size == "1" else f"{size} x {name}"
        sign = "-" if coefficient < 0 else "+"
        text += f" {sign} {part}" if text else (f"-{part}" if coefficient < 0 else part)
    if len(terms) > MOST_TERMS:
        text += f" + ... ({len(terms)} terms)"
    if dependence.constant:
        text += f" {'-' if dependence.constant < 0 else '+'} {abs(dependence.constant):.6g}"
    return f"{names[0]} = {text}"


def _join_alike(trial: Trial, listed: Sequence[Dependence]) -> list[str]:
    """Texts of relations, those among the same traits of several environments together."""
    joined: dict[str, list[Dependence]] = {}
    for each in listed:
        envs = {i for i, _ in each.columns}
        names = [trial.traits[l] for _, l in each.columns]
        key = describe_dependence(trial, each) if len(envs) > 1 else _write_relation(names, each)
        joined.setdefault(key, []).append(each)
    texts = []
    for key, members in joined.items():
        where = list(dict.fromkeys(trial.envs[i] for each in members for i, _ in each.columns))
        if len({i for i, _ in members[0].columns}) > 1:
            texts.append(key)
        elif len(where) == 1:
            texts.append(f"{key} for all {members[0].n_lines:,} lines of {where[0]}")
        else:
            texts.append(f"{key} for all lines of {len(where)} environments ({some_names(where, 6)})")
    return texts


def list_pairs(copied: Sequence[Finding], trial: Trial) -> set[frozenset[tuple[int, int]]]:
    """Pairs of columns that findings of copied environments and traits name."""
    env_of = {name: i for i, name in enumerate(trial.envs)}
    trait_of = {name: l for l, name in enumerate(trial.traits)}
    pairs: set[frozenset[tuple[int, int]]] = set()
    for finding in copied:
        for item in finding.items:
            l = trait_of[item["trait"]]
            if finding.kind == "copied trait":
                other = trait_of[item["other"]]
                pairs |= {frozenset([(i, l), (i, other)]) for i in range(len(trial.envs))}
            else:
                pairs.add(frozenset([(env_of[item["env"]], l), (env_of[item["other"]], l)]))
    return pairs


# --- the search ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Relation:
    columns: tuple[int, ...]
    coefficients: tuple[float, ...]
    constant: float
    n_rows: int


class _Table:
    """Rows (lines or records) x columns, missing values allowed, and the steps in which a column's values are given."""

    def __init__(self, values: np.ndarray, steps: np.ndarray) -> None:
        self.seen = ~np.isnan(values)
        self.n_seen = self.seen.sum(axis=0)
        count = np.maximum(self.n_seen, 1)
        self.centre = np.where(self.seen, values, 0.0).sum(axis=0) / count
        deviations = np.where(self.seen, values - self.centre, 0.0)
        largest = np.abs(deviations).max(axis=0, initial=0.0)
        largest[largest == 0] = 1.0
        self.scale = largest * np.sqrt(((deviations / largest) ** 2).sum(axis=0) / count)
        size = np.where(self.seen, np.abs(values), 0.0).max(axis=0, initial=0.0)
        self.varies = (self.n_seen >= _count_needed(2)) & (self.scale > 1e-9 * size)
        self.scale[~self.varies] = 1.0
        #: In standard deviations, zero where missing.
        self.z = np.where(self.varies, deviations / self.scale, 0.0)
        #: Variance of the rounding of a value, in squared standard deviations.
        self.rounding = (steps / self.scale) ** 2 / 12 + (EPSILON * size / self.scale) ** 2

    def list_alike(self) -> Iterator[tuple[int, int]]:
        """Pairs of columns that correlate as an exact relation has to."""
        n = self.seen.T.astype(float) @ self.seen
        sums = self.z.T @ self.seen  # of the first over lines with the second too
        squares = (self.z**2).T @ self.seen
        products = self.z.T @ self.z
        with np.errstate(all="ignore"):
            own = squares - sums**2 / n
            both = products - sums * sums.T / n
            left = 1 - both**2 / (own * own.T)
        close = np.triu((n >= _count_needed(2)) & (left < SMALL**2), 1) & np.outer(self.varies, self.varies)
        yield from map(tuple, np.argwhere(close).tolist())

    def list_triples(self, group: list[int]) -> list[tuple[int, int, int]]:
        """Three columns of a group, of which two explain the third, where lines lack some columns of the group."""
        p = len(group)
        seen, z = self.seen[:, group], self.z[:, group]
        if p < 3 or seen.all() or p**3 * len(z) > MOST_TRIPLES:
            return []
        found: dict[frozenset[int], float] = {}
        for c in range(2, p):
            rows = seen[:, c]
            here, x, y = seen[rows, :c].astype(float), z[rows, :c], z[rows, c]
            n = here.T @ here
            with np.errstate(all="ignore"):
                mean = (x.T @ here) / n  # [a, b]: of a, over the lines with b too
                mean_y = ((here * y[:, None]).T @ here) / n
                aa = (x**2).T @ here - n * mean**2
                ab = x.T @ x - n * mean * mean.T
                ay = (x * y[:, None]).T @ here - n * mean * mean_y
                yy = (here * y[:, None] ** 2).T @ here - n * mean_y**2
                bb, by = aa.T, ay.T
                part = (ay**2 * bb - 2 * ay * by * ab + by**2 * aa) / (aa * bb - ab**2)
                left = 1 - part / yy
            close = np.triu((n >= _count_needed(3)) & (left < SMALL**2), 1)
            for a, b in np.argwhere(close).tolist():
                found[frozenset((group[a], group[b], group[c]))] = float(left[a, b])
        best = sorted(found, key=lambda triple: found[triple])[:MOST_CANDIDATES]
        return [tuple(sorted(triple)) for triple in best]  # type: ignore[misc]

    def list_blocks(self, group: list[int]) -> Iterator[tuple[list[int], np.ndarray]]:
        """Columns of a group, and the lines that have them all: enough of these for a relation among the columns."""
        if len(group) < 3:
            return
        seen = self.seen[:, group]
        patterns, times = np.unique(seen, axis=0, return_counts=True)
        chosen = [patterns[k] for k in np.argsort(-times, kind="stable")[:PATTERNS]]
        columns = np.ones(len(group), dtype=bool)
        while columns.sum() > 2 and seen[:, columns].all(axis=1).sum() < _count_needed(columns.sum()):
            columns[np.flatnonzero(columns)[seen[:, columns].sum(axis=0).argmin()]] = False
        tried: set[bytes] = set()
        for pattern in [columns, *chosen]:
            rows = seen[:, pattern].all(axis=1)
            if pattern.sum() > 2 and rows.sum() >= _count_needed(pattern.sum()) and pattern.tobytes() not in tried:
                tried.add(pattern.tobytes())
                yield [group[k] for k in np.flatnonzero(pattern)], rows

    def list_dependent(self, columns: list[int], rows: np.ndarray) -> Iterator[list[int]]:
        """Columns that those before them explain, with these.

        Each column is made orthogonal to the ones before it (Gram and Schmidt, twice); where hardly anything is left,
        the relation is worked out.
        """
        z = self.z[rows][:, columns]
        z = z - z.mean(axis=0)
        basis = np.empty(z.shape, order="F")
        chosen: list[int] = []
        for k in range(len(columns)):
            whole = np.linalg.norm(z[:, k])
            rest = z[:, k]
            for _ in range(2):
                rest = rest - basis[:, : len(chosen)] @ (basis[:, : len(chosen)].T @ rest)
            left = np.linalg.norm(rest)
            if left < SMALL * whole:
                coefficients = np.linalg.lstsq(z[:, chosen], z[:, k], rcond=None)[0]
                size = np.abs(coefficients) * np.linalg.norm(z[:, chosen], axis=0) / max(whole, 1e-300)
                members = [columns[chosen[m]] for m in np.flatnonzero(size > SMALL / 10).tolist()]
                if members:
                    yield [*members, columns[k]]
            if left > 1e-6 * whole:
                basis[:, len(chosen)] = rest / left
                chosen.append(k)

    def relate(self, columns: list[int]) -> _Relation | None:
        """The relation among columns, less those that are not needed, if there is one."""
        members = list(columns)
        while True:
            weights, worst = self._fit(members)
            if weights is None or (worst >= 0 and len(members) == 2):
                return None
            if worst < 0:
                break
            del members[worst]
        for m in list(members):
            fewer = [other for other in members if other != m]
            if len(fewer) > 1:
                lighter, worst = self._fit(fewer)
                if lighter is not None and worst < 0:
                    members, weights = fewer, lighter
        rows = self.seen[:, members].all(axis=1)
        raw = weights / self.scale[members]
        # The column explained: the others' coefficients positive if that can be, and small.
        signs = np.array([np.sum(np.delete(-raw / value, k) > 0) for k, value in enumerate(raw)])
        k = max(range(len(members)), key=lambda m: (signs[m], round(np.log(abs(raw[m])), 3), members[m]))
        order = [members[k], *members[:k], *members[k + 1 :]]
        values = self.z[rows][:, order] * self.scale[order]
        means = values.mean(axis=0) + self.centre[order]
        values = values - values.mean(axis=0)
        coefficients = exact = -np.delete(raw, k) / raw[k]
        steps = self.rounding[order] * self.scale[order] ** 2
        for digits in (1, 2, 3):  # the simplest numbers that do
            simple = np.array([float(f"{value:.{digits}g}") for value in exact])
            left = float(((values[:, 0] - values[:, 1:] @ simple) ** 2).mean())
            if left <= LEEWAY**2 * float(np.concatenate([[1.0], simple]) ** 2 @ steps):
                coefficients = simple
                break
        allowed = 2 * np.sqrt(float(np.concatenate([[1.0], coefficients]) ** 2 @ steps))
        offset = float(means[0] - coefficients @ means[1:])
        return _Relation(
            tuple(order), tuple(coefficients.tolist()), 0.0 if abs(offset) <= allowed else offset, int(rows.sum())
        )

    def _fit(self, columns: list[int]) -> tuple[np.ndarray | None, int]:
        """Weights w, in standard deviations, with sum_m w_m z_m the same in all lines; None where there are none.

        Also the place of the column whose part is smallest beside what is left over, if it is too small; else -1.
        """
        rows = self.seen[:, columns].all(axis=1)
        n, p = int(rows.sum()), len(columns)
        if n < _count_needed(p):
            return None, -1
        z = self.z[rows][:, columns]
        if len(np.unique(z.round(9), axis=0)) < p + MORE_ROWS:
            return None, -1
        z = z - z.mean(axis=0)
        _, sizes, rotation = np.linalg.svd(z, full_matrices=False)
        weights: np.ndarray = rotation[-1]
        left = sizes[-1] ** 2 / (n - p)
        if left > LEEWAY**2 * float(weights**2 @ self.rounding[columns]):
            return None, -1
        own = weights**2 * (z**2).mean(axis=0)
        worst = int(own.argmin())
        return weights, worst if left > SMALL**2 * own[worst] or own[worst] < 1e-12 else -1


def _count_needed(columns: int) -> int:
    """Rows that a relation of so many columns needs."""
    return int(columns) + MORE_LINES + int(columns) // 2


def _find_step(values: np.ndarray) -> float:
    """Largest q such that all values are whole numbers of q apart; 0 where digits do not end, or without values."""
    if not len(values):
        return 0.0
    largest = float(np.abs(values).max())
    for digits in range(-6, DIGITS + 1):
        scaled = values * 10.0**digits
        if largest * 10.0**digits > 2.0**52:
            return 0.0
        if (np.abs(scaled - np.round(scaled)) <= 8 * np.finfo(float).eps * np.abs(scaled)).all():
            steps = (np.round(scaled) - np.round(scaled[0])).astype(np.int64)
            return float(np.gcd.reduce(steps)) / 10.0**digits
    return 0.0
