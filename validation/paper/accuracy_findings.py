"""What the study `accuracy` found, in sentences chosen by its results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from validation.paper.accuracy_known import Known, bound_prediction
from validation.paper.accuracy_sets import ALONE, BD, KNOWN, UN, Accuracy
from validation.paper.published import HIGH_CORRELATION, TABLE_1_SETS, TABLE_2_MEANS
from validation.paper.simulated import SIZES, compare_zero, join_words, mean_error, write_mean

WORDS = {"pearson": "Pearson", "msep": "MSEP"}
#: The trait correlations, high and low.
HIGH, LOW = TABLE_2_MEANS
#: Of the unstructured model's correlation in the paper's table, from the low trait correlation to the high one.
RISE = TABLE_2_MEANS[HIGH]["pearson"] - TABLE_2_MEANS[LOW]["pearson"]
#: What is called a difference of known predictions is above rounding.
ROUNDING = 1e-6


def find(results: Sequence[Accuracy], proportional: bool, correlation: float) -> Accuracy:
    """The sets of a design."""
    return next(r for r in results if (r.design.proportional, r.design.correlation) == (proportional, correlation))


def find_gain(r: Accuracy, score: str = "pearson") -> np.ndarray:
    """(sets,) what the unstructured model gains over the diagonal one, all traits together."""
    return r.gain(UN, BD, score)[:, -1]


def find_rise(results: Sequence[Accuracy], proportional: bool, predictor: str, score: str = "pearson") -> np.ndarray:
    """(sets,) mean score at the high trait correlation less that at the low one, on the same random numbers."""
    high, low = (find(results, proportional, rho) for rho in (HIGH, LOW))
    return high.average(predictor, score) - low.average(predictor, score)


def pair_sets(results: Sequence[Accuracy], proportional: bool, predictor: str) -> tuple[np.ndarray, float]:
    """Rises of Pearson's correlation in all pairs of different sets, one of each trait correlation, and their SD."""
    high, low = (find(results, proportional, rho).average(predictor, "pearson") for rho in (HIGH, LOW))
    steps = high[:, None] - low[None, :]
    return steps[~np.eye(len(steps), dtype=bool)], float(np.sqrt(high.var(ddof=1) + low.var(ddof=1)))


def count_pairs(pairs: np.ndarray) -> str:
    """How many rise as much as the paper's table."""
    return f"{(pairs >= RISE).sum()} of {pairs.size}"


def summarise(results: Sequence[Accuracy], known: Sequence[Known]) -> str:
    """Sentences chosen by the results."""
    return "\n".join(
        [
            answer(results),
            compare_rule(results),
            compare_rise(results),
            tell_bound(known),
            *[tell_design(r) for r in results],
            tell_counts(results),
            tell_chance(results),
        ]
    )


def answer(results: Sequence[Accuracy]) -> str:
    """Whether the model gains from correlated traits."""
    equal, equal_low, unequal, unequal_low = (find(results, even, rho) for even in (True, False) for rho in (HIGH, LOW))
    nothing = max(np.abs(r.gain(KNOWN, ALONE, "pearson")).max() for r in (equal, equal_low)) < ROUNDING
    gains = compare_zero(*mean_error(find_gain(unequal))) > 0
    more = compare_zero(*mean_error(find_gain(unequal) - find_gain(equal))) > 0
    if gains and more and nothing:
        verdict = "not from the correlation alone: the heritabilities of the traits must differ"
    elif gains:
        verdict = "yes, but that the heritabilities of the traits differ makes no difference that is told from none"
    else:
        verdict = "no gain was found"
    told = [write_mean(find_gain(r), 3, "+") for r in (equal, equal_low, unequal, unequal_low)]
    best = "there is nothing to gain with known covariances, and " if nothing else ""
    return (
        f"- *Answer*: {verdict}. With equal heritabilities {best}the unstructured model gains {told[0]} in Pearson's "
        f"correlation over the diagonal one at a trait correlation of {HIGH:g} and {told[1]} at {LOW:g} (SE in "
        f"brackets); with unequal ones {told[2]} and {told[3]}."
    )


def compare_rule(results: Sequence[Accuracy]) -> str:
    """What becomes of the paper's advice."""
    follows = [
        compare_zero(*mean_error(find_gain(find(results, even, HIGH)) - find_gain(find(results, even, LOW)))) > 0
        for even in (True, False)
    ]
    verdict = {
        (False, True): "therefore needs heritabilities that differ: only then the high correlation gains more",
        (True, True): "is followed by the gains with equal and with unequal heritabilities",
        (True, False): "is followed by the gains with equal heritabilities only",
        (False, False): "is not followed by these gains: none is larger at the high correlation by two standard errors",
    }[follows[0], follows[1]]
    return (
        f"- *The paper's rule*, the unstructured model where traits have correlations above {HIGH_CORRELATION:g} and a "
        f"simpler one where they are low, {verdict} (in Pearson's correlation, against the diagonal model)."
    )


def compare_rise(results: Sequence[Accuracy]) -> str:
    """The paper's rise beside ours."""
    rises = {word: find_rise(results, even, UN) for word, even in (("equal", True), ("unequal", False))}
    told = [
        f"{write_mean(rise, 3, '+')} with {word} heritabilities"
        + (f", {100 * rise.mean() / RISE:.0f}% of the paper's" if rise.mean() > 0 else "")
        for word, rise in rises.items()
    ]
    within = [word for word, rise in rises.items() if compare_zero(*mean_error(RISE - rise)) <= 0]
    verdict = (
        f"is not told by two standard errors from what is found with {join_words(within)} heritabilities"
        if within
        else "is larger than what is found either way, by more than two standard errors"
    )
    return (
        f"- *The paper's rise* of the unstructured model's correlation, {RISE:.2f} from trait correlation {LOW:g} to "
        f"{HIGH:g}, {verdict}: {join_words(told)}."
    )


def tell_bound(known: Sequence[Known]) -> str:
    """Which reading of the relationship can have the paper's level at all."""
    level = TABLE_2_MEANS[HIGH]["pearson"]
    told = [f"{write_mean(r.pure, 2)} under *{r.reading}*" for r in known]
    below = [f"*{r.reading}*" for r in known if compare_zero(*mean_error(level - r.pure)) > 0]
    verdict = (
        f"the paper's {level:.2f} cannot be the average under {join_words(below)}, whatever the variances of traits "
        "and residuals"
        if below
        else f"the paper's {level:.2f} is above none of them"
    )
    return (
        "- *Level*: with Sigma_E = I and no residual at all the best predictions have correlations of "
        f"{join_words(told)} on average: {verdict}."
    )


def explain_bound(known: Sequence[Known]) -> str:
    """Below the table of known covariances."""
    bound, others = bound_prediction(1.0, SIZES["envs"] - 1), SIZES["envs"] - 1
    high = TABLE_2_MEANS[HIGH]["pearson"]
    text = (
        "Under *compound* what all lines share goes into the environment means, and a line informs on no other. With "
        f"Sigma_E = I and no residual a genetic value then has a correlation of sqrt(1/{1 / bound**2:.0f}) = "
        f"{bound:.2f} with its best prediction from the {others} other environments"
    )
    text += (
        f", below the paper's {high:.2f}: that cannot be the average over sets under this relationship, whatever the "
        "variances in Sigma_t and R_e. (Lines hidden in more than one environment, environment means that are "
        "estimated, and correlations of few lines keep the figure in the table below this one.)"
        if high > bound
        else f", not below the paper's {high:.2f}."
    )
    reach = [f"*{r.reading}*" for r in known if r.pure.mean() >= high]
    if reach:
        text += f" Under {join_words(reach)}, where relatives inform too, such a level is within reach."
    gain = max(r.gain for r in known)
    text += (
        " That R_e proportional to Sigma_t leaves nothing to gain from the correlations holds under both: no "
        "prediction changes by more than rounding."
        if gain < ROUNDING
        else f" The correlations change predictions by up to {gain:.2g}, which R_e proportional to Sigma_t forbids."
    )
    return text


def tell_design(r: Accuracy) -> str:
    """Gains in one design."""
    gain = find_gain(r, "msep")
    best = r.gain(KNOWN, ALONE, "msep")[:, -1]
    known = "nothing" if r.design.proportional else f"{write_mean(best, 1, '+')}% of MSEP"
    sign = compare_zero(*mean_error(gain))
    verdict = {1: "a gain", 0: "not to be told from none", -1: "a loss"}[sign]
    if r.design.proportional and sign > 0:
        verdict = "a gain, which can come only from better estimates of the covariances"
    return (
        f"- *{r.design.name}*: with known covariances, using the correlations saves {known}. The unstructured model "
        f"saves {write_mean(gain, 1, '+')}% of the diagonal one's MSEP ({verdict}), and gains "
        f"{write_mean(find_gain(r), 3, '+')} in Pearson's correlation."
    )


def tell_counts(results: Sequence[Accuracy]) -> str:
    """How much the counts of best cells vary where there is nothing to gain."""
    wins = find(results, True, HIGH).count_wins("pearson")[:, 0]
    return (
        f"- *Counts of best cells*: with equal heritabilities and correlations of {HIGH:g} the unstructured model, "
        f"which has nothing to gain from them, is best by Pearson in {wins.min()} to {wins.max()} of nine cells, "
        f"depending on the set, and in the majority in {100 * (wins >= 5).mean():.0f}% of the sets."
    )


def tell_chance(results: Sequence[Accuracy]) -> str:
    """Whether two sets may differ as much as the paper's two columns."""
    pairs, _ = pair_sets(results, True, UN)
    sets = find(results, True, HIGH).sets
    share = float((pairs >= RISE).mean())
    return (
        f"- *Chance*: with equal heritabilities {count_pairs(pairs)} pairs of different sets, one of each trait "
        f"correlation, rise by {RISE:.2f} or more ({sets} sets of each, which share random numbers: a rough share). So "
        f"chance {'may make' if share >= 0.05 else 'hardly makes'} such a rise if each of the two columns of the "
        f"paper's Table 2 is one data set; if they are means of {TABLE_1_SETS} sets, as in its Table 1, chance is "
        f"{'' if exclude_chance(results) else 'not '}excluded."
    )


def exclude_chance(results: Sequence[Accuracy]) -> bool:
    """Whether means of as many sets as in Table 1 cannot differ as much: not by three standard errors."""
    spread = pair_sets(results, True, UN)[1] / np.sqrt(TABLE_1_SETS)
    step, error = mean_error(find_rise(results, True, UN))
    return bool(RISE - step > 3 * np.hypot(spread, error))


def explain_rise(results: Sequence[Accuracy]) -> str:
    """What is said of the paper's figures, chosen by ours."""
    low, high = (TABLE_2_MEANS[rho] for rho in (LOW, HIGH))
    expected = low["msep"] * (1 - high["pearson"] ** 2) / (1 - low["pearson"] ** 2)
    spread, apart = find(results, True, HIGH).average(UN, "pearson").std(ddof=1), pair_sets(results, True, UN)[1]
    more, saved = (
        find_gain(find(results, False, HIGH), score) - find_gain(find(results, False, LOW), score) for score in WORDS
    )
    sure = "more than two standard errors from zero"
    verdict = {1: sure, 0: f"not {sure}", -1: f"a fall, {sure}"}
    points = [
        f"The paper's MSEP does not fall as the correlation rises: {low['msep']:.2f} at {LOW:g}, {high['msep']:.2f} at "
        f"{HIGH:g}. Better predictions of hidden values with the same variance would take it to about {expected:.2f}, "
        "in proportion to 1 - r^2. A correlation that rises while MSEP stays is what one expects, for instance, if the "
        "hidden values varied more in that set.",
        f"From one set to another the mean of the nine correlations has an SD of {spread:.2f} (unstructured model, "
        f"equal heritabilities, correlation {HIGH:g}): nine cells of the same few lines are no nine independent "
        f"results. The difference of two such means, of one set each, has an SD of {apart:.3f}; that of two means over "
        f"{TABLE_1_SETS} sets each, as Table 1 has, would have {apart:.3f} / sqrt({TABLE_1_SETS}) = "
        f"{apart / np.sqrt(TABLE_1_SETS):.3f}.",
        f"With unequal heritabilities the unstructured model can gain. From {LOW:g} to {HIGH:g} its gain over the "
        f"diagonal one changes by {write_mean(more, 3, '+')} in correlation "
        f"({verdict[compare_zero(*mean_error(more))]}), and by {write_mean(saved, 1, '+')} percentage points of MSEP "
        f"saved. Its correlation itself changes by {write_mean(find_rise(results, False, UN), 3, '+')}, the paper's by "
        f"{RISE:+.2f}.",
    ]
    return "\n".join(f"- {point}" for point in points)
