"""The paper's maize trial: estimates, CV1 and CV2 beside Tables 3 to 5 of the paper."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import norm

import bmtme
from validation.paper.crossvalidation import label_means, score_hidden
from validation.paper.estimates import list_pairs, sample_quantities
from validation.paper.findings import (
    AGREE,
    DISAGREE,
    UNKNOWN,
    Finding,
    check_average,
    check_correlations,
    check_order,
    check_residuals,
    check_wins,
)
from validation.paper.kept import Data
from validation.paper.machinery import check_machinery
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

ABOUT = """\
Data: 309 doubled-haploid lines of maize in three environments (EBU, KAK, KTI), one adjusted mean of grain yield
(Yield, t/ha by its size), anthesis-silking interval (ASI, days) and plant height (PH, cm by its size) a line and
environment, none missing; the relationship from markers as published with them (R package GFR). By their description
they are those of the paper; they were not compared with its own files. Which of the environments the paper calls its
first, second and third is not certain: here it is the order of their names."""


def compare(r: Results, seed: int) -> list[Finding]:
    """Tables 3 to 5."""
    found = check_correlations(r.summaries[r.default], TABLE_3_GENETIC_CORRELATIONS, "3")
    found.append(check_residuals(r.samples[r.default], list(list_pairs(r.data[0].traits)), "3"))
    rest = "all variances, Sigma_E, the residual correlations, standard errors"
    found.append(Finding("3", rest, "not known", "below", UNKNOWN))
    found += check_wins(r.cv1, "pearson", TABLE_4_PEARSON_WINS, "4", CV1_PARTITIONS, seed)
    for score in ("pearson", "msep"):
        found += check_average(r.cv1, score, TABLE_4_BEST, TABLE_4_WORST, "4", CV1_PARTITIONS, seed)
    found.append(Finding("4", "the single correlations and MSEP", "not known", "below", UNKNOWN))
    for (number, score), printed in TABLE_5_ORDER.items():
        env = r.cv2.envs.index(ENVIRONMENTS[number])
        place = f"{number} ({ENVIRONMENTS[number]})"
        if score == "pearson":
            found.append(check_order(r.cv2, env, score, "exchangeable", printed, "5", place))
        else:
            extra = math.sqrt(2) * r.means[env].wobble
            found.append(check_order(r.cv2, env, score, "paper", printed, "5", place, extra))
    found += compare_first(r)
    found.append(Finding("5", "the other correlations and MSEP", "not known", "below", UNKNOWN))
    return found


def find_scores(r: Results, score: str, means: str) -> np.ndarray:
    """Of the models whose scores are printed for the first environment."""
    env = r.cv2.envs.index(ENVIRONMENTS["E1"])
    return r.cv2.scores[score][[r.cv2.models.index(label_means(name, means)) for name in TABLE_5_FIRST], env]


def compare_first(r: Results) -> list[Finding]:
    """The scores printed for the first environment."""
    place, names = f"E1 ({ENVIRONMENTS['E1']})", list(TABLE_5_FIRST)
    pearson, msep = (np.array(column) for column in zip(*TABLE_5_FIRST.values(), strict=True))
    here = find_scores(r, "pearson", "exchangeable")

    def tell(values: np.ndarray, digits: str) -> str:
        return ", ".join(f"{name} {value:{digits}}" for name, value in zip(names, values, strict=True))

    near = AGREE if np.abs(here - pearson).max() <= NEAR_PEARSON else DISAGREE
    statement = f"{place}: Pearson, each within {NEAR_PEARSON:g}"
    found = [Finding("5", statement, tell(pearson, ".3f"), tell(here, ".3f"), near)]
    paper, default = (find_scores(r, "msep", means) for means in ("paper", "exchangeable"))
    near = AGREE if np.abs(paper / msep - 1).max() <= NEAR_MSEP else DISAGREE
    told = f"{tell(paper, '.1f')}; under exchangeable means {tell(default, '.2f')}"
    statement = f"{place}: MSEP, each within {100 * NEAR_MSEP:.0f}%, the paper's prior of the means"
    return [*found, Finding("5", statement, tell(msep, ".1f"), told, near)]


def remark(r: Results) -> str:
    """What the paper's MSEP are."""
    printed = np.array(list(PRINTED_MSEP.values()))
    paper, default = (find_scores(r, "msep", means) for means in ("paper", "exchangeable"))
    first = next(m for m in r.means if m.env == ENVIRONMENTS["E1"])
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


def weigh_error(r: Results) -> str:
    """Whether differences between the printed MSEP can be chance."""
    first = next(m for m in r.means if m.env == ENVIRONMENTS["E1"])
    printed = np.array(list(PRINTED_MSEP.values()))
    implied = first.observed - np.sqrt(np.maximum(printed - find_scores(r, "lines", "paper"), 0))
    told = ", ".join(f"{name} {value:+.2f}" for name, value in zip(PRINTED_MSEP, implied, strict=True))
    error = first.spread / math.sqrt(DRAWS)
    inside = float((2 * norm.cdf(np.abs(implied).max() / error) - 1) ** len(implied))
    small = np.ptp(implied) < 2 * math.sqrt(2) * error
    text = f"""\
With the lines' parts found here, the printed figures mean mean predictions of {told} t/ha. Under that prior the
unrecorded mean has a posterior standard deviation of {first.spread:.0f} t/ha (its variance is that of all means,
those of plant height among them), so that an average of {DRAWS:,} independent draws of it, as many as the paper has,
would have a Monte Carlo error of {error:.2f} t/ha, and MSEP one of {first.wobble:.0f}."""
    if not small:
        return text + " The printed figures differ by more than such an error: they may well rank the models."
    text += " The printed figures differ by less than such an error, so that they would not rank the models. "
    if inside < 0.05:
        text += (
            f"But all three lie nearer to 0 than such an error makes likely (probability {inside:.2g}): the paper's "
            "prior may have had one variance for each trait (its exact form is not known here), with a smaller error. "
        )
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
