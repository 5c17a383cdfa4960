"""What a summary notes beside a row: where its number comes from, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import gammaincinv

if TYPE_CHECKING:
    from bmtme.results.rows import Row

#: Stored draws (chain, draw, ...) by name.
Values = Mapping[str, np.ndarray]
#: Notes on a row, given the facts of the run (`bmtme.collection.find_facts`) and all that is stored; empty for none.
Note = Callable[["Row", Mapping[str, Any], Values], list[str]]

PRIOR_ONLY, BOUNDS_ONLY = "prior only", "bounds only"
HARDLY = "the data hardly say"
SPREAD = "residual SD"
COPIES = "traits that are nearly copies"
CLONES = "no genetic variance"
ABSENT = "no record"
#: A standard deviation of records below the residual one is told where chance brings it less often than this.
CHANCE = 1e-3


def first_of(*notes: Note) -> Note:
    """The first of these that has something to say."""

    def note(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
        return next((said for each in notes if (said := each(row, facts, values))), [])

    return note


def note_prior_only(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
    """What the prior alone informs, or the data give bounds of, as found by `bmtme.results.information`."""
    found = ((PRIOR_ONLY, facts["prior_only"]), (BOUNDS_ONLY, facts["bounds_only"]))
    return [f"{kind}: {reasons[row.name]}" for kind, reasons in found if row.name in reasons]


def note_absent_mean(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
    """Where the mean of a column without a record comes from."""
    recorded = np.array(facts["recorded"], bool)
    (i,), (l,) = row.at("env"), row.at("trait")
    if recorded[i, l]:
        return []
    if facts["means"] == "paper":
        return [f"{ABSENT}: from the prior around zero"]
    if recorded[:, l].sum() == 1:
        return [f"{PRIOR_ONLY}: no record, and one other environment cannot say how far apart means are"]
    return [f"{ABSENT}: from the other environments"]


def note_unseen(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
    """An environment without a record; one variance of all environments is informed by those with records."""
    if facts["shared_variance"] or all(any(facts["recorded"][i]) for i in row.at("env")):
        return []
    return [f"{PRIOR_ONLY}: nothing was recorded in this environment"]


def note_no_replicates(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
    """Where no replicate has an effect on the trait."""
    (l,) = row.at("trait")
    told = np.any(values["rep_effects"][..., l] != 0)
    return [] if told else [f"{PRIOR_ONLY}: no environment has the trait in two replicates"]


def note_no_blocks(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
    """Where no block of the factor has an effect on the trait."""
    (f,), (l,) = row.at("factor"), row.at("trait")
    told = facts["blocks"][f][l]
    return [] if told else [f"{PRIOR_ONLY}: no environment has the trait in two of these blocks"]


def note_apart(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
    """Traits that are never on one record, of whose residuals together nothing is known."""
    l, q = row.at("trait")
    return [] if facts["together"][l][q] else [f"{PRIOR_ONLY}: never on one record"]


def note_line_apart(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
    """Traits that no line has on different records, so that effects of lines cannot be told from residuals."""
    l, q = row.at("trait")
    return [] if facts["apart"][l][q] else [f"{PRIOR_ONLY}: no line has the two traits on different records"]


def note_clones(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
    """Lines that do not differ genetically by the relationship."""
    return [] if facts["spread"] > 0 else [f"{CLONES}: by the relationship all lines are clones of one"]


def note_absent_here(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
    """Residual variances and covariances of an environment where a trait has no record to tell them.

    Their standard deviation is that of the other environments times the exponential of a Student's t, for the variance
    between environments is unknown, too: it has a median and quantiles, and no mean.
    """
    (i,) = row.at("env")
    if all(facts["residual_here"][i][l] for l in row.at("trait")):
        return []
    return [f"{ABSENT}: from the other environments; its tail is so long that it has no mean, read the interval"]


def note_apart_here(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
    """Traits that are never on one record of an environment, or of any where all have one residual correlation."""
    (i,), traits = row.at("env"), row.at("trait")
    if not row.is_pair or facts["together_here"][i][traits[0]][traits[1]]:
        return []
    return [f"{PRIOR_ONLY}: the two traits are never on one record in this environment"]


def note_single(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
    """Lines with one plot a cell that are related alike: nothing tells genetic from residual variance."""
    if not facts["single_alike"]:
        return []
    return [
        f"{PRIOR_ONLY}: lines are unrelated, or all related alike, and have one plot each, the data do not tell it "
        "from the residual"
    ]


def note_spread(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
    """A trait's residual SD that is more than all that an environment's records vary.

    Told where chance cannot be the reason: (n - 1) s^2 of n records with residual variance R_e at least exceeds
    R_e times the `CHANCE` quantile of chi-squared with n - 1 degrees of freedom in all but `CHANCE` of cases.
    """
    if row.is_pair:
        return []
    l = row.at("trait")[0]
    residual = float(np.median(np.sqrt(values["R_e"][..., l, l])))
    few = []
    for i in row.at("env") or range(len(facts["envs"])):
        count, sd = facts["records"][i][l], facts["observed_sd"][i][l]
        if count > 2 and (count - 1) * sd**2 < 2 * gammaincinv((count - 1) / 2, CHANCE) * residual**2:
            few.append(f"{sd:.3g} in {facts['envs'][i]}")
    if not few:
        return []
    where = ", ".join(few[:4]) + (f" and {len(few) - 4} more" if len(few) > 4 else "")
    return [f"{SPREAD} {residual:.3g} above the observed SD {where}: residual variances differ by environment"]


def note_likeness(row: Row, facts: Mapping[str, Any], values: Values) -> list[str]:
    """Traits that are nearly copies of each other, in whose variances and heritabilities little can be trusted."""
    traits, envs = set(row.at("trait")), set(row.at("env"))
    notes = []
    for each in facts["alike"]:
        env = each["env"]
        here = env in envs or (bool(traits) and (env is None or not envs))
        if here and traits <= set(each["traits"]):
            where = "" if env is None else f" in {facts['envs'][env]}"
            notes.append(f"{COPIES}{where} (r {each['r']:.3f}): see `bmtme check`")
    return notes
