"""Values that may be mistakes: outliers, codes of missing values, mixed units and copies."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from bmtme.checkup.constants import list_columns
from bmtme.checkup.coverage import place_record
from bmtme.checkup.findings import Finding, join_texts
from bmtme.data.trial import Trial
from bmtme.words import count_noun, some_names

__all__ = [
    "find_copied_columns",
    "find_gross_outliers",
    "find_missing_codes",
    "find_outliers",
    "find_repeated_records",
    "find_scale_mixes",
    "find_unit_mixes",
    "robust_z",
]

#: Fewer values of a trait in an environment have no outliers.
FEWEST = 8
#: A robust z from which on a value is hardly possible, and not only unusual.
FAR = 6.0
#: A robust z from which on a value is hardly one of the trait; the largest share of a column that such values are, and
#: the least share of its sum of squares that they make up, for a fit to warn of them.
GROSS, FEW, MOST = 20.0, 0.1, 0.5
#: Numbers that people write for a missing value.
CODES = (-1.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0)
#: Medians (or spreads) of two environments that differ by more are hardly in one unit.
UNIT_RATIO, SPREAD_RATIO = 5.0, 10.0
#: Share of equal values from which on a column is a copy of another.
COPY_SHARE = 0.9


def robust_z(values: np.ndarray) -> np.ndarray:
    r"""Distance from the median in robust standard deviations.

    :math:`z = 0.6745 (x - \mathrm{median}) / \mathrm{MAD}` with MAD the median absolute deviation from the median;
    where more than half of the values are the same, the MAD is 0 and the mean absolute deviation times 1.2533 takes its
    place (Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers).

    Parameters
    ----------
    values : (n,) float array without NaN

    Returns
    -------
    (n,) float array
        Zero where all values are the same.
    """
    distance = values - np.median(values)
    scale = np.median(np.abs(distance)) / 0.6745
    if scale == 0:
        scale = 1.2533 * np.abs(distance).mean()
    return distance / scale if scale > 0 else np.zeros_like(distance)


def find_outliers(trial: Trial, threshold: float) -> list[Finding]:
    """Values with a robust z of at least `threshold` in their trait and environment; the farthest first."""
    cases: list[dict[str, Any]] = []
    for _, l, records in list_columns(trial):
        values = trial.values[records, l]
        if len(values) < FEWEST:
            continue
        z = robust_z(values)
        far = np.flatnonzero(np.abs(z) >= threshold)
        middle = np.median(values)
        for k in far:
            cases.append(
                place_record(trial, int(records[k]))
                | {
                    "trait": trial.traits[l],
                    "value": float(values[k]),
                    "median": float(middle),
                    "z": float(z[k]),
                    "message": f"{trial.traits[l]} {values[k]:.6g}, where the median is {middle:.6g} (robust z "
                    f"{z[k]:+.1f})",
                }
            )
    if not cases:
        return []
    cases.sort(key=lambda case: -abs(case["z"]))
    far_off = sum(abs(case["z"]) >= FAR for case in cases)
    total = int((~np.isnan(trial.values)).sum())
    worst = f"; {far_off} of them {FAR:g} or more" if far_off and threshold < FAR else ""
    return [
        Finding.of(
            "warning" if far_off else "note",
            "outlier",
            f"{count_noun(len(cases), 'outlier')} among {total:,} values, {threshold:g} or more robust standard "
            f"deviations (z) from the median of their trait and environment{worst}. A fit leaves none of them out.",
            cases,
        )
    ]


def find_gross_outliers(trial: Trial) -> list[Finding]:
    """Few values, of a robust z of 20 or more, that make up most of the variance of their trait and environment."""
    cases: list[dict[str, Any]] = []
    for i, l, records in list_columns(trial):
        values = trial.values[records, l]
        if len(values) < FEWEST:
            continue
        z = robust_z(values)
        gross = np.abs(z) >= GROSS
        if not 0 < gross.sum() <= max(1.0, FEW * len(values)) or (z[gross] ** 2).sum() < MOST * (z**2).sum():
            continue
        for k in np.flatnonzero(gross):
            text = f"{trial.traits[l]} of {trial.lines[trial.line_index[records[k]]]} in {trial.envs[i]} is "
            text += f"{values[k]:.6g}, where the median is {np.median(values):.6g}"
            place = place_record(trial, int(records[k])) | {"trait": trial.traits[l], "value": float(values[k])}
            cases.append(place | {"z": float(z[k]), "message": text})
    if not cases:
        return []
    cases.sort(key=lambda case: -abs(case["z"]))
    text = (
        f"{count_noun(len(cases), 'value')} far from all others: "
        f"{join_texts([str(case['message']) for case in cases])}. A fit takes "
        f"{'it' if len(cases) == 1 else 'them'} as measured, with a residual variance that is too large, and "
        "heritabilities that are too small, for all environments. Correct or leave out what is a mistake."
    )
    return [Finding.of("warning", "gross outlier", text, cases)]


def find_missing_codes(trial: Trial) -> list[Finding]:
    """Zeros, and numbers such as -9 or 999, that stand apart from the other values of a trait."""
    found = []
    for l, trait in enumerate(trial.traits):
        column = trial.values[:, l]
        seen = column[~np.isnan(column)]
        for code in (0.0, *CODES):
            hits = seen == code
            rest = seen[~hits]
            if not hits.any() or len(rest) < 2 or not _stands_apart(code, int(hits.sum()), rest):
                continue
            records = np.flatnonzero(column == code)
            envs = [trial.envs[i] for i in dict.fromkeys(trial.env_index[records])]
            far = code != 0 or _is_far(code, rest)
            advice = "" if code == 0 else f" If so, have it read as missing: missing=[{code:g}], --missing={code:g}."
            found.append(
                Finding.of(
                    "warning" if far else "note",
                    "missing code",
                    f"{trait} is {code:g} in {count_noun(len(records), 'record')} ({some_names(envs, 6)}), elsewhere "
                    f"{rest.min():.6g} to {rest.max():.6g}: does {code:g} stand for a missing value?{advice}",
                    [
                        place_record(trial, n)
                        | {"trait": trait, "value": code, "message": f"{trait} is {code:g}: a missing value?"}
                        for n in records.tolist()
                    ],
                )
            )
    return found


def _stands_apart(code: float, times: int, rest: np.ndarray) -> bool:
    """Whether a number is outside the other values, by far or (of a trait that is positive) as the only one so low."""
    if code > 0:
        return bool(code > rest.max()) and (_is_far(code, rest) or (times > 1 and code > 1.5 * rest.max()))
    if code < 0:
        return bool(code < rest.min()) and (bool(rest.min() >= 0) or _is_far(code, rest))
    # Zeros are ordinary where values near zero are: lodging, disease scores.
    low = np.quantile(rest, 0.05)
    return bool(rest.min() > 0) and (_is_far(0.0, rest) or (times <= 0.02 * len(rest) and low >= 1))


def _is_far(code: float, rest: np.ndarray) -> bool:
    spread = np.median(np.abs(rest - np.median(rest))) / 0.6745
    return bool(abs(code - np.median(rest)) > FAR * max(float(spread), 1e-12 * abs(code)))


def find_scale_mixes(trial: Trial) -> list[Finding]:
    """Traits whose values in one environment fall into two groups, one many times the other: units or thousands."""
    cases: list[dict[str, Any]] = []
    for i, l, records in list_columns(trial):
        values = np.sort(trial.values[records, l])
        if len(values) < FEWEST or not values[0] > 0:
            continue
        logs = np.log(values)
        gaps = np.diff(logs)
        k = int(gaps.argmax()) + 1
        # Groups of two or more (single values are outliers), each narrow beside the gap (no tail of a wide trait).
        if min(k, len(values) - k) < 2 or gaps[k - 1] < np.log(UNIT_RATIO):
            continue
        if gaps[k - 1] < 2 * max(logs[k - 1] - logs[0], logs[-1] - logs[k]):
            continue
        trait, env = trial.traits[l], trial.envs[i]
        text = f"{trait} in {env} is {values[0]:.6g} to {values[k - 1]:.6g} in {count_noun(k, 'record')} and "
        text += f"{values[k]:.6g} to {values[-1]:.6g} in {len(values) - k:,}"
        cases.append({"trait": trait, "env": env, "value": float(np.exp(gaps[k - 1])), "message": text})
    if not cases:
        return []
    text = (
        f"Values of two magnitudes in one environment: {join_texts([case['message'] for case in cases])}. Another "
        "unit, or a point that separates thousands? A fit takes them as they are: write all in one unit."
    )
    return [Finding.of("warning", "two magnitudes", text, cases)]


def find_unit_mixes(trial: Trial) -> list[Finding]:
    """Traits that are of another magnitude in one environment than in the others: tons and kilograms, cm and m."""
    found = []
    for l, trait in enumerate(trial.traits):
        groups = {i: trial.values[records, l] for i, m, records in list_columns(trial) if m == l}
        groups = {i: values for i, values in groups.items() if len(values) >= 3}
        if len(groups) < 2:
            continue
        positive = all(values.min() > 0 for values in groups.values())
        sizes = {i: float(np.median(values)) for i, values in groups.items()}
        if not positive:
            sizes = {i: float(np.median(np.abs(values - np.median(values)))) for i, values in groups.items()}
            sizes = {i: size for i, size in sizes.items() if size > 0}
        if len(sizes) < 2:
            continue
        usual = float(np.median(list(sizes.values())))
        if len(sizes) == 2:  # no majority: the environment with more records is the usual one
            usual = sizes[max(sizes, key=lambda i: len(groups[i]))]
        limit = UNIT_RATIO if positive else SPREAD_RATIO
        odd = {i: size / usual for i, size in sizes.items() if not 1 / limit < size / usual < limit}
        odd = {i: ratio for i, ratio in odd.items() if not positive or _lies_apart(groups, i, odd)}
        if not odd:
            continue
        what = "median" if positive else "median absolute deviation"
        texts = [f"{trial.envs[i]} ({sizes[i]:.4g}{_known_factor(ratio)})" for i, ratio in odd.items()]
        found.append(
            Finding.of(
                "warning",
                "unit",
                f"{trait} is of another magnitude in {some_names(texts, 6)}: its {what} is usually about {usual:.4g}. "
                "Another unit?",
                [
                    {
                        "trait": trait,
                        "env": trial.envs[i],
                        "value": sizes[i],
                        "message": f"the {what} of {trait} is {ratio:.4g} times the usual",
                    }
                    for i, ratio in odd.items()
                ],
            )
        )
    return found


def _lies_apart(groups: dict[int, np.ndarray], env: int, odd: dict[int, float]) -> bool:
    """Whether the middle half of an environment's values overlaps with none of the usual environments'."""
    low, high = np.quantile(groups[env], [0.25, 0.75])
    quartiles = [np.quantile(values, [0.25, 0.75]) for i, values in groups.items() if i not in odd]
    return all(high < other[0] or low > other[1] for other in quartiles)


def _known_factor(ratio: float) -> str:
    """Words for a ratio near one that units make."""
    larger = max(ratio, 1 / ratio)
    for factor in (10.0, 100.0, 1000.0):
        if factor / 1.6 < larger < factor * 1.6:
            return f"; about {factor:g} times {'more' if ratio > 1 else 'less'}"
    return ""


def find_repeated_records(trial: Trial) -> list[Finding]:
    """Records of one environment with the same values, in the same line or in two, more than chance would have it."""
    seen = ~np.isnan(trial.values)
    twins: dict[tuple[Any, ...], list[int]] = {}
    for n in np.flatnonzero(seen.any(axis=1)):
        values = tuple(value if there else None for value, there in zip(trial.values[n], seen[n], strict=True))
        twins.setdefault((int(trial.env_index[n]), values), []).append(int(n))
    pairs: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for i in range(len(trial.envs)):
        here = np.flatnonzero(trial.env_index == i)
        rates = [_match_rate(trial.values[here, l]) for l in range(len(trial.traits))]
        plots = np.bincount(trial.line_index[here], minlength=1)
        within = float((plots * (plots - 1) / 2).sum())
        possible = {True: within, False: len(here) * (len(here) - 1) / 2 - within}
        matched: dict[bool, list[tuple[int, int, float]]] = {True: [], False: []}
        for (env, values), records in twins.items():
            if env != i or len(records) < 2:
                continue
            chance = _chance_of_a_match(trial.values[here], values, rates)
            several = sum(value is not None for value in values) > 1
            for first, second in combinations(records[:50], 2):
                same = bool(trial.line_index[first] == trial.line_index[second])
                if same or several:
                    matched[same].append((first, second, chance))
        for same, alike in matched.items():
            limit = 0.01 * len(alike)
            pairs[same] += [(first, second) for first, second, chance in alike if chance * possible[same] < limit]
    found = []
    for same, listed in pairs.items():
        if not listed:
            continue
        texts = [_describe_twins(trial, first, second) for first, second in listed]
        where = "of the same line and environment" if same else "of two lines in one environment"
        found.append(
            Finding.of(
                "warning",
                "repeated record" if same else "shared record",
                f"{count_noun(len(listed), 'pair')} of records {where} with the same values, which chance hardly "
                f"makes: {some_names(texts, 5)}. Entered twice?",
                [
                    place_record(trial, second)
                    | {
                        "other": trial.lines[trial.line_index[first]],
                        "message": "the same values as " + ("another record" if same else "another line's record"),
                    }
                    for first, second in listed
                ],
            )
        )
    return found


def _match_rate(column: np.ndarray) -> float:
    """Share of the pairs of values that are equal: how coarse a trait is."""
    _, times = np.unique(column[~np.isnan(column)], return_counts=True)
    n = int(times.sum())
    return float((times * (times - 1)).sum() / (n * (n - 1))) if n > 1 else 1.0


def _chance_of_a_match(here: np.ndarray, values: tuple[float | None, ...], rates: list[float]) -> float:
    """Chance that two records have these values, traits taken as independent.

    Of each trait: its rate of equal pairs, or the share of the other records with this value if that is more.
    """
    chance = 1.0
    for l, value in enumerate(values):
        if value is not None:
            column = here[~np.isnan(here[:, l]), l]
            others = (float((column == value).sum()) - 2) / max(1, len(column) - 2)
            chance *= max(rates[l], others)
    return chance


def _describe_twins(trial: Trial, first: int, second: int) -> str:
    names = [trial.lines[trial.line_index[n]] for n in (first, second)]
    text = f"{names[0]} in" if names[0] == names[1] else f"{names[0]} and {names[1]} in"
    text += f" {trial.envs[trial.env_index[first]]}"
    if trial.reps is not None:
        text += f" (reps {trial.reps[first]} and {trial.reps[second]})"
    return text


def find_copied_columns(trial: Trial) -> list[Finding]:
    """Environments and traits that repeat others with the same values."""
    found = []
    means = trial.cell_means()
    for l, trait in enumerate(trial.traits):
        cases = []
        for i, k in combinations(range(len(trial.envs)), 2):
            if _same_column(means[:, i, l], means[:, k, l], units=False):
                equal = int((means[:, i, l] == means[:, k, l]).sum())
                both = int((~np.isnan(means[:, i, l] + means[:, k, l])).sum())
                text = f"{trial.envs[i]} and {trial.envs[k]} ({equal} of {both} lines)"
                cases.append({"trait": trait, "env": trial.envs[i], "other": trial.envs[k], "message": text})
        if cases:
            texts = [case["message"] for case in cases]
            text = f"{trait} has the same values in {some_names(texts, 6)}: copied from one to the other?"
            found.append(Finding.of("warning", "copied environment", text, cases))
    for p, q in combinations(range(len(trial.traits)), 2):
        how = _same_column(trial.values[:, p], trial.values[:, q], units=True)
        if how:
            first, second = trial.traits[p], trial.traits[q]
            what = "have the same values" if how == "copy" else "are one trait in two units (correlation 1)"
            text = f"{first} and {second} {what}: leave one of them out."
            found.append(
                Finding.of("warning", "copied trait", text, [{"trait": first, "other": second, "message": text}])
            )
    return found


def _same_column(first: np.ndarray, second: np.ndarray, units: bool) -> str:
    """``copy`` where nearly all values are the same, ``unit`` where they are exactly in a line, or nothing."""
    both = ~np.isnan(first) & ~np.isnan(second)
    first, second = first[both], second[both]
    if len(first) < 5:
        return ""
    equal = (first == second).mean() >= COPY_SHARE
    if not (equal or units) or len(np.unique(first)) < 5:
        return ""
    if equal:
        return "copy"
    if second.std() == 0:
        return ""
    return "unit" if abs(np.corrcoef(first, second)[0, 1]) > 1 - 1e-9 else ""
