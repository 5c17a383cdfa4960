"""The paper's maize trial: estimates, CV1 and CV2 beside Tables 3 to 5 of the paper."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from scipy.stats import norm

import bmtme
from validation.paper.crossvalidation import PAPER_MODELS, STRUCTURES, score_hidden
from validation.paper.estimates import list_pairs, sample_quantities
from validation.paper.findings import (
    AGREE,
    DEFAULTS,
    DISAGREE,
    PAPER,
    RARE,
    SCALED,
    SCORES,
    UNKNOWN,
    Finding,
    check_average,
    check_correlations,
    check_order,
    check_residuals,
    check_wins,
    order_models,
)
from validation.paper.hidden_means import HiddenMean, warn_of_draws
from validation.paper.kept import Data
from validation.paper.machinery import check_machinery
from validation.paper.pages import tell_means
from validation.paper.published import (
    CV1_PARTITIONS,
    DRAWS,
    TABLE_3_GENETIC_CORRELATIONS,
    TABLE_4_BEST,
    TABLE_4_PEARSON_WINS,
    TABLE_4_WORST,
    TABLE_5_FIRST,
    TABLE_5_ORDER,
)
from validation.paper.trialstudy import Results, TrialStudy
from validation.registry import Options, Row, register
from validation.trials import read_trial, skip

NAME = "maize309_mtme"
#: The paper numbers its environments; in which order is not known, so it is that of their names.
ENVIRONMENTS = {"E1": "EBU", "E2": "KAK", "E3": "KTI"}
PRINTED_MSEP = {model: msep for model, (_, msep) in TABLE_5_FIRST.items()}
#: Printed scores of CV2 that are this near count as found: a correlation, and an MSEP in relative terms.
NEAR_PEARSON, NEAR_MSEP = 0.05, 0.1
#: Mean correlations that differ by less are the same to a breeder.
UNNOTICED = 0.02

ABOUT = """\
Data: 309 doubled-haploid lines of maize in three environments (EBU, KAK, KTI), one adjusted mean of grain yield
(Yield), anthesis-silking interval (ASI) and plant height (PH) a line and environment, none missing; the relationship
from markers as published with them (R package GFR). Units are not given with the data; from their size t/ha, days and
cm. By their description they are those of the paper; they were not compared with its own files. Which of the
environments the paper calls its first, second and third is not certain: here it is the order of their names."""


def compare(r: Results, seed: int) -> list[Finding]:
    """Tables 3 to 5."""
    found = check_correlations(r.summaries[r.default], TABLE_3_GENETIC_CORRELATIONS, "3")
    found.append(check_residuals(r.samples[r.default], list(list_pairs(r.data[0].traits)), "3"))
    rest = "all variances, Sigma_E, the residual correlations, standard errors"
    found.append(Finding("3", rest, "not known", "below", UNKNOWN))
    found.append(check_wins(r.cv1, "pearson", TABLE_4_PEARSON_WINS, "4", CV1_PARTITIONS, seed))
    found += [
        check_average(r.cv1, score, TABLE_4_BEST, TABLE_4_WORST, "4", CV1_PARTITIONS, seed)
        for score in ("pearson", "msep")
    ]
    found.append(Finding("4", "the single correlations and MSEP", "not known", "below", UNKNOWN))
    for (number, score), printed in TABLE_5_ORDER.items():
        name = ENVIRONMENTS[number]
        found.append(check_order(r.cv2, r.cv2.envs.index(name), score, printed, "5", f"{number} ({name})"))
    found += compare_first(r)
    found.append(Finding("5", "the other correlations and MSEP", "not known", "below", UNKNOWN))
    return found


def find_scores(r: Results, score: str, labels: tuple[str, ...] = PAPER) -> np.ndarray:
    """Of the models whose scores are printed for the first environment."""
    env = r.cv2.envs.index(ENVIRONMENTS["E1"])
    return r.cv2.scores[score][[r.cv2.models.index(labels[STRUCTURES.index(name)]) for name in TABLE_5_FIRST], env]


def find_first(r: Results) -> HiddenMean:
    """What is known of the first environment."""
    return next(mean for mean in r.means if mean.env == ENVIRONMENTS["E1"])


def compare_first(r: Results) -> list[Finding]:
    """The scores printed for the first environment."""
    printed = np.array(list(TABLE_5_FIRST.values())).T
    found = []
    for score, values, limit in zip(("pearson", "msep"), printed, (NEAR_PEARSON, NEAR_MSEP), strict=True):
        paper, default = (find_scores(r, score, labels) for labels in (PAPER, DEFAULTS))
        off = np.abs(paper - values) if score == "pearson" else np.abs(paper / values - 1)
        digits, within = (".3f", f"{limit:g}") if score == "pearson" else (".1f", f"{100 * limit:.0f}%")
        tell = partial(tell_models, digits=digits)
        here = f"{tell(paper)}; under exchangeable means, `standard` in scaled units, {tell(default)}"
        statement = f"E1 ({ENVIRONMENTS['E1']}): {SCORES[score]}, each within {within}"
        found.append(Finding("5", statement, tell(values), here, AGREE if off.max() <= limit else DISAGREE))
    return found


def tell_models(values: np.ndarray, digits: str) -> str:
    """A figure for every model whose scores are printed."""
    return ", ".join(f"{name} {value:{digits}}" for name, value in zip(TABLE_5_FIRST, values, strict=True))


def summarise(r: Results) -> str:
    """The page in a breeder's words."""
    summary, first = r.summaries[r.default], find_first(r)
    rows = {pair: summary.loc[f"genetic_correlation[{pair[0]}, {pair[1]}]"] for pair in TABLE_3_GENETIC_CORRELATIONS}
    told = "; ".join(
        f"{' and '.join(pair)} {row['mean']:.2f} (the paper {TABLE_3_GENETIC_CORRELATIONS[pair]:.2f})"
        for pair, row in rows.items()
    )
    clear = [" and ".join(pair) for pair, row in rows.items() if row["lower"] > 0 or row["upper"] < 0]
    certain = "Clear of zero (95% interval): " + ("; ".join(clear) or "none") + "."
    same = sum(row["mean"] * TABLE_3_GENETIC_CORRELATIONS[pair] > 0 for pair, row in rows.items())
    signs = "All have the paper's sign." if same == len(rows) else f"{same} of {len(rows)} have the paper's sign."
    means = r.cv1.cell_means("pearson").mean(axis=(1, 2))
    gap = float(np.ptp(means))
    notice = (
        f"They differ by {gap:.3f} at most: no breeder would notice the difference."
        if gap < UNNOTICED
        else f"They differ by up to {gap:.3f}, which choosing among many lines may show."
    )
    printed, default = np.array(list(PRINTED_MSEP.values())), find_scores(r, "msep", DEFAULTS)
    zero = ("is" if is_zero(r) else "is not") + " what predicting 0 for every line gives"
    reach = f"{default.max():.1f}" if np.ptp(default) < 0.05 else f"{default.min():.1f} to {default.max():.1f}"
    return f"""\
- Genetic correlations: {told}. {signs} {certain}
- A line predicted in an environment where it was not grown (CV1): mean correlation of predicted and observed values
  over traits and environments {tell_means(r.cv1)}. {notice} (The paper: {TABLE_4_BEST} best, {TABLE_4_WORST} worst.)
- Yield predicted in an environment where no line's Yield was recorded (CV2): the printed MSEP of {printed.min():.0f} to
  {printed.max():.0f} (t/ha)² {zero} ({first.square:.1f} in {first.env}); with the other environments' means, as this
  package predicts by default, it is {reach}. For choosing lines within that environment only the correlation counts:
  {tell_models(find_scores(r, "pearson"), ".3f")} (the paper:
  {", ".join(f"{pearson:.3f}" for pearson, _ in TABLE_5_FIRST.values())})."""


def explain(r: Results) -> str:
    """Why printed correlations may differ from ours."""
    default, vague = r.summaries.values()
    names = [f"genetic_correlation[{a}, {b}]" for a, b in TABLE_3_GENETIC_CORRELATIONS]
    printed, here = np.array(list(TABLE_3_GENETIC_CORRELATIONS.values())), default.loc[names, "mean"].to_numpy()
    moved = np.abs(vague.loc[names, "mean"].to_numpy() - here).max()
    error = (default.loc[names, "sd"] / np.sqrt(default.loc[names, "ess_bulk"])).max()
    off = np.abs(printed - here)
    if (off <= 2 * error).all():
        return "The printed correlations and ours are the same within the Monte Carlo error of ours."
    further = (np.sign(printed) == np.sign(here)) & (np.abs(printed) > np.abs(here))
    which = (
        "All three printed genetic correlations are further from zero than ours"
        if further.all()
        else f"{further.sum()} of the three printed genetic correlations are further from zero than ours"
    )
    cause = (
        f"vague priors move ours by only {moved:.2f}"
        if moved < off.min()
        else f"vague priors move ours by up to {moved:.2f}, which may be a part of it"
    )
    return f"""\
Inside our intervals is a weak test: these say how well the trial tells the correlations, and two analyses of the same
trial should differ by much less. {which} (they differ by {off.min():.2f} to {off.max():.2f}). Sampling error cannot be
the cause, as the data are meant to be the same; {cause}; the Monte Carlo error of ours is {error:.3f} at most. Another
relationship matrix, other adjusted means or the Monte Carlo error of the paper's chains are left."""


def is_zero(r: Results) -> bool:
    """Whether a prediction of 0 for every line has an MSEP near all printed ones."""
    return max(abs(find_first(r).square / msep - 1) for msep in PRINTED_MSEP.values()) <= NEAR_MSEP


def imply_means(r: Results) -> tuple[np.ndarray, float, float]:
    """Mean predictions that printed MSEP imply, the Monte Carlo error of an average of raw draws, and the probability
    of all being as near to 0 as they are with such an error."""
    first, printed = find_first(r), np.array(list(PRINTED_MSEP.values()))
    implied = first.observed - np.sqrt(np.maximum(printed - find_scores(r, "lines"), 0))
    error = first.spread / math.sqrt(DRAWS)
    return implied, error, float((2 * norm.cdf(np.abs(implied).max() / error) - 1) ** len(implied))


def describe_limits(r: Results) -> str:
    """What verdicts on this trial need to be understood."""
    zero = (
        f"; for MSEP a prediction of 0 for every line ({find_first(r).square:.1f}) is within {100 * NEAR_MSEP:.0f}% of "
        "the printed figures too, so that this statement is one on the prior of the means and not on the models"
        if is_zero(r)
        else ""
    )
    spread = (
        f"the spread of its printed figures speaks against that (probability {imply_means(r)[2]:.2g}, see Table 5)"
        if imply_means(r)[2] < RARE
        else "the spread of its printed figures does not exclude that (see Table 5)"
    )
    return f"""\
Printed scores of the first environment agree within {NEAR_PEARSON:g} (Pearson) and {100 * NEAR_MSEP:.0f}% (MSEP),
limits chosen here{zero}. {warn_of_draws(r.means, r.cv2, "(t/ha)²")}; {spread}.

{weigh_units(r)}"""


def remark(r: Results) -> str:
    """What the paper's MSEP are."""
    printed = np.array(list(PRINTED_MSEP.values()))
    paper, default = (find_scores(r, "msep", labels) for labels in (PAPER, DEFAULTS))
    first = find_first(r)
    near = min(r.means, key=lambda m: abs(m.square - printed.mean()))
    found = np.abs(paper / printed - 1).max() <= NEAR_MSEP
    order = (
        f"{near.env} has the mean square nearest to the printed figures"
        + (", which speaks for the order taken here." if near is first else ": the order taken here may be wrong.")
    )  # fmt: skip
    why = (
        "So the printed figures have the size of predictions with a mean near 0: that prior pulls an unrecorded mean "
        f"there and does not look at {r.cv2.trait} in the other environments."
        if found
        else "So this prior of the means alone does not explain the printed figures."
    )
    return f"""\
What the printed MSEP are. The paper prints {printed.min():.1f} to {printed.max():.1f} (t/ha)² for its first
environment. Under its prior of the means, N(0, s²) in the units of the data with one s² for all means,
{paper.min():.1f} to {paper.max():.1f} come out here; under exchangeable means {default.min():.2f} to
{default.max():.2f}. A prediction of 0 for every line would have {first.square:.1f} in {first.env}; of the three
environments {order} {why}

{weigh_error(r)}"""


def weigh_units(r: Results) -> str:
    """With which of the two `standard` models more of what the paper prints is found."""
    names = (PAPER_MODELS, STRUCTURES)
    found = []
    for models, labels in zip(names, (PAPER, SCALED), strict=True):
        count = 0
        for score, sign in (("pearson", 1), ("msep", -1)):
            means = sign * r.cv1.cell_means(score)[[r.cv1.models.index(name) for name in models]].mean(axis=(1, 2))
            count += (STRUCTURES[means.argmax()], STRUCTURES[means.argmin()]) == (TABLE_4_BEST, TABLE_4_WORST)
        for (number, score), printed in TABLE_5_ORDER.items():
            order = order_models(r.cv2, r.cv2.envs.index(ENVIRONMENTS[number]), score, labels)
            count += tuple(order[: len(printed)]) == printed
        found.append(count)
    raw, scaled = found
    more = (
        "as many with it in scaled units"
        if raw == scaled
        else f"{scaled} with it in scaled units; in which units the paper's program had it is not known here"
    )
    return f"""\
Which `standard`? Of the {2 + len(TABLE_5_ORDER)} statements of Tables 4 and 5 on the order of the models (means of the
cells; environments) {raw} are found with `standard` in raw units, as the paper writes the model, {more}."""


def weigh_error(r: Results) -> str:
    """Whether differences between the printed MSEP can be chance."""
    first = find_first(r)
    implied, error, inside = imply_means(r)
    told = ", ".join(f"{value:+.2f} ({name})" for name, value in zip(PRINTED_MSEP, implied, strict=True))
    text = f"""\
With the lines' part found here, an MSEP as printed implies that the average predicted Yield was {told} t/ha; observed
are {first.observed:.2f}. Under that prior the unrecorded mean has a posterior standard deviation of {first.spread:.0f}
t/ha (its variance is that of all means, those of plant height among them), so that an average of {DRAWS:,} independent
draws of it, as many as the paper has, would have a Monte Carlo error of {error:.2f} t/ha, and MSEP one of
{first.wobble:.0f} (t/ha)²."""
    if np.ptp(implied) >= 2 * math.sqrt(2) * error:
        text += " The printed figures differ by more than such an error: they may well rank the models. "
    elif inside < RARE:
        text += (
            " With such an error the printed figures would not rank the models. But all three lie nearer to 0 than it "
            f"makes likely (probability {inside:.2g}): the paper may have averaged expectations instead of draws, or "
            "its prior may have had one variance for each trait (its exact form is not known here), with a smaller "
            "error. "
        )
    else:
        text += " The printed figures differ by less than such an error, so that they would not rank the models. "
    return text + (
        "Our own figures have no such error: conditional means of the unrecorded mean are averaged, not draws of it. "
        "Whichever holds, the differences are in the part of the mean: they say nothing of how lines are told apart."
    )


STUDY = TrialStudy(
    name="maize",
    title="The paper's maize trial",
    trait="Yield",
    unit="t/ha",
    tables=("3", "4", "5"),
    correlations=TABLE_3_GENETIC_CORRELATIONS,
    first=PRINTED_MSEP,
    about=ABOUT,
    compare=compare,
    short=summarise,
    legend=describe_limits,
    why=explain,
    remark=remark,
)


def check_data(options: Options, data: Data) -> list[Row]:
    """Short runs on the trial: what is printed and must come out."""
    _, summary = sample_quantities(data, bmtme.BMTME(), options.seed, options.cores, 500, 2000)
    found = check_correlations(summary, TABLE_3_GENETIC_CORRELATIONS, "3")
    inside = sum(finding.verdict == AGREE for finding in found)
    models = {means: bmtme.BMTME(means=means) for means in ("paper", "exchangeable")}
    scores = score_hidden(data, models, "Yield", ENVIRONMENTS["E1"], options.seed, options.cores)
    msep, lines = ([scores[means][key] for means in models] for key in ("msep", "lines"))
    low, high = min(PRINTED_MSEP.values()), max(PRINTED_MSEP.values())
    margin = 1 + NEAR_MSEP
    return [
        STUDY.check_convergence({"short": summary}),
        Row(
            "maize: printed genetic correlations", f"{len(found)} of Table 3", "inside our 95% intervals",
            f"{inside}", inside == len(found),
        ),
        Row(
            "maize: CV2, Yield in EBU, the paper's prior", "309 lines", f"MSEP, printed {low:.1f} to {high:.1f}",
            f"{msep[0]:.1f}", low / margin < msep[0] < high * margin,
        ),
        Row(
            "maize: the same, exchangeable means", "309 lines", "MSEP, below a tenth of it", f"{msep[1]:.2f}",
            msep[1] < 0.1 * msep[0],
        ),
        Row(
            "maize: the prior of the means leaves the lines", "309 lines", "lines' part of MSEP, both priors",
            f"{lines[0]:.3f}, {lines[1]:.3f}", abs(lines[0] / lines[1] - 1) < 0.05,
        ),
    ]  # fmt: skip


def run_quick(options: Options) -> list[Row]:
    """A simulated trial, and short runs on maize where it is there."""
    data = read_trial(NAME)
    found = check_data(options, data) if data is not None else [skip("maize: estimates and CV2", NAME)]
    return [*check_machinery(options), *found]


def run_full(options: Options) -> list[Row]:
    """The page, where the data are there."""
    data = read_trial(NAME)
    if data is None:
        return [*check_machinery(options), skip("maize: the page", NAME)]
    return [*check_machinery(options), *check_data(options, data), *STUDY.run(options, data)]


register("maize", run_quick, run_full)
