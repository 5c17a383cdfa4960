"""The paper's wheat trial: estimates, CV1 and CV2 beside Tables 6 to 8 of the paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

import bmtme
from validation.paper.crossvalidation import MODELS, STRUCTURES, label_means, score_hidden
from validation.paper.estimates import sample_quantities
from validation.paper.findings import (
    PAPER,
    SCALED,
    SCORES,
    UNKNOWN,
    Finding,
    check_average,
    check_order,
    check_wins,
    find_steps,
    order_models,
)
from validation.paper.hidden_means import warn_of_draws
from validation.paper.kept import Data
from validation.paper.pages import tell_means
from validation.paper.published import CV1_PARTITIONS, TABLE_7_BEST, TABLE_7_WINS, TABLE_8_ORDER
from validation.paper.simulated import join_words
from validation.paper.trialstudy import Results, TrialStudy
from validation.registry import Options, Row, make_table, register
from validation.trials import read_trial, skip

NAME = "wheat250_mtme"
#: The paper's names of the environments, and those of the data.
ENVIRONMENTS = {"Bed2I": "Bed2IR", "Bed5I": "Bed5IR", "Drip": "Drip"}
#: The names of the bed environments exchanged, as in one of the public copies.
EXCHANGED = {"Bed2I": "Bed5IR", "Bed5I": "Bed2IR", "Drip": "Drip"}

ABOUT = """\
Data: 250 lines of wheat in three environments (Bed2IR and Bed5IR: on beds; Drip: drip irrigation), one adjusted value
of days to heading (DTHD), grain yield (GRYLD), a vegetation index (NDVI; the paper's GNDVI) and plant height (PTHT) a
line and environment, none missing, as deviations; their units are not given. By their description they are those of the
paper; they were not compared with its own files. Two public copies name the two bed environments the other way round;
the names used here agree with an independent data set of the same lines. Which copy the paper had is not certain, so
that CV2 is compared under the other reading, too."""


def compare(r: Results, seed: int) -> list[Finding]:
    """Tables 6 to 8."""
    found = [Finding("6", "all estimates", "not known", "below", UNKNOWN)]
    found += [check_wins(r.cv1, score, printed, "7", CV1_PARTITIONS, seed) for score, printed in TABLE_7_WINS.items()]
    found.append(check_average(r.cv1, "pearson", TABLE_7_BEST, None, "7", CV1_PARTITIONS, seed))
    found.append(Finding("7", "the single correlations and MSEP", "not known", "below", UNKNOWN))
    for (env, score), printed in TABLE_8_ORDER.items():
        name = ENVIRONMENTS[env]
        found.append(check_order(r.cv2, r.cv2.envs.index(name), score, printed, "8", name_place(env)))
    found.append(Finding("8", "the correlations and MSEP themselves", "not known", "below", UNKNOWN))
    return found


def name_place(env: str) -> str:
    """An environment by the paper's name and that of the data."""
    return env if env == ENVIRONMENTS[env] else f"{env} ({ENVIRONMENTS[env]})"


def find_order(r: Results, name: str, score: str, labels: Sequence[str] = PAPER) -> tuple[str, ...]:
    """The models, the best first, in an environment by its name in the data."""
    return tuple(order_models(r.cv2, r.cv2.envs.index(name), score, labels))


def count_found(r: Results, names: Mapping[str, str], score: str, labels: Sequence[str] = PAPER) -> tuple[int, int]:
    """Printed orders, and printed best models, that are found by a score."""
    pairs = [
        (find_order(r, names[env], score, labels), order) for (env, key), order in TABLE_8_ORDER.items() if key == score
    ]
    return sum(here == order for here, order in pairs), sum(here[0] == order[0] for here, order in pairs)


def summarise(r: Results) -> str:
    """The page in a breeder's words."""
    cv = r.cv1
    best = cv.models[int(cv.cell_means("pearson").mean(axis=(1, 2)).argmax())]
    as_printed = "as the paper prints" if best == TABLE_7_BEST else f"the paper has {TABLE_7_BEST}"
    step, _, error = (part[:-1].reshape(len(cv.envs), -1) for part in cv.compare(TABLE_7_BEST, "diagonal", "pearson"))

    def list_cells(sign: int) -> str:
        told = []
        for l, trait in enumerate(cv.traits):
            cells = [f"{env} {step[i, l]:+.2f}" for i, env in enumerate(cv.envs) if sign * step[i, l] > 2 * error[i, l]]
            told += [f"{trait} ({', '.join(cells)})"] if cells else []
        return join_words(told) or "none"

    found = {
        score: [
            name_place(env)
            for (env, key), order in TABLE_8_ORDER.items()
            if key == score and find_order(r, ENVIRONMENTS[env], score) == order
        ]
        for score in SCORES
    }
    told = "; ".join(
        f"by {word} in {len(found[score])} of {len(ENVIRONMENTS)} environments"
        + (f" ({join_words(found[score])})" if found[score] else "")
        for score, word in SCORES.items()
    )
    orders = [find_order(r, env, "pearson") for env in r.cv2.envs]
    places = {
        name: [env for env, order in zip(r.cv2.envs, orders, strict=True) if order[0] == name] for name in STRUCTURES
    }
    tops = "; ".join(f"{name} in {join_words(envs)}" for name, envs in places.items() if envs)
    scores = r.cv2.scores["pearson"][[r.cv2.models.index(label) for label in PAPER]]
    reach = ", ".join(
        f"{env} {low:.2f} to {high:.2f}"
        for env, low, high in zip(r.cv2.envs, scores.min(axis=0), scores.max(axis=0), strict=True)
    )
    return f"""\
- A line predicted in an environment where it was not grown (CV1): {best} is the best on average ({as_printed}); mean
  correlation of predicted and observed values {tell_means(cv)}. Beyond
  two errors over lines {TABLE_7_BEST} is better than diagonal in {list_cells(1)}; worse in {list_cells(-1)}.
- {r.cv2.trait} predicted in an environment where no line's {r.cv2.trait} was recorded (CV2): the models are in the
  printed order {told}. Best by correlation: {tops}. Correlations of the three models: {reach}.
- What the paper estimates of this trial (Table 6) is not known here."""


def describe_limits(r: Results) -> str:
    """What verdicts on this trial need to be understood."""
    warning = warn_of_draws(r.means, r.cv2, "(unit of GRYLD)²")
    return f"{warning}; no printed MSEP of this trial is known here that could tell."


def remark(r: Results) -> str:
    """Which reading of the names agrees more, what is not found, and what the prior of the means does."""
    return "\n\n".join([compare_readings(r), explain_orders(r), explain_means(r)])


def compare_readings(r: Results) -> str:
    """Printed orders found with the names as used and with the bed environments exchanged."""
    readings = {"as used here": ENVIRONMENTS, "bed environments exchanged": EXCHANGED}
    counts = {label: [count_found(r, names, score) for score in SCORES] for label, names in readings.items()}
    lines = [
        (label, *[f"{orders} of 3; best model {best} of 3" for orders, best in pairs])
        for label, pairs in counts.items()
    ]
    used, exchanged = counts.values()

    def change(before: int, after: int) -> str:
        """In words."""
        if before == after:
            return f"stay {before} of 3"
        return f"{'rise' if after > before else 'fall'} from {before} to {after} of 3"

    told = "; ".join(
        f"by {word} the orders found {change(one[0], other[0])}, the best models {change(one[1], other[1])}"
        for word, one, other in zip(SCORES.values(), used, exchanged, strict=True)
    )
    changes = [step for one, other in zip(used, exchanged, strict=True) for step in np.subtract(other, one)]
    if max(changes) > 0 > min(changes) or not any(changes):
        verdict = "That does not tell which names the paper used."
    else:
        verdict = f"That speaks for the names {'exchanged' if max(changes) > 0 else 'as used here'}."
    return f"""\
Printed orders that are found, in the three environments, under both readings of the names (models as the paper's):

{make_table(("names of the environments", "Pearson", "MSEP"), lines)}

When the bed environments are exchanged: {told}. {verdict}"""


def explain_orders(r: Results) -> str:
    """What of the printed orders is found, and what could explain the rest."""
    pearson = {env: order for (env, score), order in TABLE_8_ORDER.items() if score == "pearson"}
    msep = {env: order for (env, score), order in TABLE_8_ORDER.items() if score == "msep"}
    best = {env: find_order(r, ENVIRONMENTS[env], "pearson")[0] for env in pearson}
    hit = [f"{model} in {name_place(env)}" for env, model in best.items() if model == pearson[env][0]]
    miss = [
        f"{name_place(env)} ({pearson[env][0]} printed, {model} here)"
        for env, model in best.items()
        if model != pearson[env][0]
    ]
    turned = []
    for env, order in pearson.items():
        for one, other, step, error in find_steps(r.cv2, r.cv2.envs.index(ENVIRONMENTS[env]), "pearson", order):
            if step < 0:
                turned.append(f"{one} over {other} in {name_place(env)} (here {step:+.3f}, SE {error:.3f})")
    text = f"By Pearson's correlation the printed best model is found: {join_words(hit) or 'nowhere'}"
    text += f"; not found: {join_words(miss)}." if miss else "."
    if turned:
        text += f" Printed steps that are the other way round here: {join_words(turned)}."
    crossed = [env for env in msep if msep[env][0] == pearson[env][-1]]
    ours = [
        env for env in crossed
        if find_order(r, ENVIRONMENTS[env], "msep")[0] == find_order(r, ENVIRONMENTS[env], "pearson")[-1]
    ]  # fmt: skip
    if crossed:
        text += (
            f" In {join_words([name_place(env) for env in crossed])} the model that the paper prints as the best by "
            "MSEP is the one that it prints as the worst by Pearson's correlation; here that is so "
            + (f"in {join_words([name_place(env) for env in ours])}." if ours else "nowhere.")
        )
    raw, scaled = ([count_found(r, ENVIRONMENTS, score, labels)[0] for score in SCORES] for labels in (PAPER, SCALED))
    if raw == [len(pearson), len(msep)]:
        return text
    exchanged = [count_found(r, EXCHANGED, "msep", labels)[0] for labels in (PAPER, SCALED)]
    return f"""\
{text}

What could explain the rest? Names exchanged for the MSEP alone: {exchanged[0]} of 3 printed orders by MSEP are found
then ({raw[1]} with the names as used here); with `standard` in scaled units {exchanged[1]} ({scaled[1]}). Another
`standard` model: by Pearson's correlation {raw[0]} of 3 printed orders are found with the one in raw units, as the
paper writes it, {scaled[0]} with the one in scaled units. The paper's priors of the variances and the Monte Carlo error
of its chains are not known here. We cannot decide."""


def explain_means(r: Results) -> str:
    """What the prior of the means does to MSEP."""
    below = {m.env: -m.observed / math.sqrt(m.centred) for m in r.means}
    paper, default = (
        r.cv2.scores["msep"][r.cv2.models.index(label_means("unstructured", means))]
        for means in ("paper", "exchangeable")
    )
    told = {env: f"{env} {a:.3f} against {b:.3f}" for env, a, b in zip(r.cv2.envs, paper, default, strict=True)}
    better = [env for env, a, b in zip(r.cv2.envs, paper, default, strict=True) if a < b]
    worse = [env for env in r.cv2.envs if env not in better]
    nearest = min(below, key=lambda env: abs(below[env]))
    where = " where the mean is nearest to 0" if better == [nearest] else ""
    sides = []
    if better:
        sides.append(f"better than exchangeable means{where} ({'; '.join(told[env] for env in better)})")
    if worse:
        where = "in the others" if better else "than exchangeable means in all environments"
        sides.append(f"worse {where} ({'; '.join(told[env] for env in worse)})")
    side = "below" if min(below.values()) > 0 else "away from"
    sizes = [abs(value) for value in below.values()]
    means = ", ".join(f"{m.env} {m.observed:.2f}" for m in r.means)
    return f"""\
The observed means of {r.cv2.trait} ({means}) are {min(sizes):.1f} to {max(sizes):.1f} standard deviations of the lines
{side} 0. So by the MSEP of the unstructured model the paper's prior, which predicts a mean near 0, is
{", ".join(sides)}."""


STUDY = TrialStudy(
    name="wheat",
    title="The paper's wheat trial",
    trait="GRYLD",
    unit="unit of the data",
    tables=("6", "7", "8"),
    correlations={},
    first={},
    about=ABOUT,
    compare=compare,
    short=summarise,
    legend=describe_limits,
    why=lambda r: "",
    remark=remark,
)


def check_data(options: Options, data: Data) -> list[Row]:
    """Short runs on the trial: printed results that are too large to be chance."""
    _, summary = sample_quantities(data, bmtme.BMTME(), options.seed, options.cores, 500, 2000)
    rows = [STUDY.check_convergence({"short": summary})]
    models = {name: MODELS[name] for name in ("unstructured", "diagonal")}
    for printed in ("Bed2I", "Drip"):
        scores = score_hidden(data, models, "GRYLD", ENVIRONMENTS[printed], options.seed, options.cores)
        one, other = (scores[name]["pearson"] for name in models)
        check = f"wheat: CV2, GRYLD in {printed}, {' above '.join(models)}"
        rows.append(Row(check, f"{len(data[0].lines)} lines", "Pearson", f"{one:.3f}, {other:.3f}", one > other))
    return rows


def run_quick(options: Options) -> list[Row]:
    """Short runs where the data are there."""
    data = read_trial(NAME)
    return check_data(options, data) if data is not None else [skip("wheat: estimates and CV2", NAME)]


def run_full(options: Options) -> list[Row]:
    """The page, where the data are there."""
    data = read_trial(NAME)
    if data is None:
        return [skip("wheat: the page", NAME)]
    return [*check_data(options, data), *STUDY.run(options, data)]


register("wheat", run_quick, run_full)
