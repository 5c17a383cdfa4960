"""The paper's wheat trial: estimates, CV1 and CV2 beside Tables 6 to 8 of the paper."""

from __future__ import annotations

import math

import bmtme
from validation.paper.crossvalidation import MODELS, label_means, score_hidden
from validation.paper.estimates import sample_quantities
from validation.paper.findings import SCORES, UNKNOWN, Finding, check_average, check_order, check_wins, order_models
from validation.paper.kept import Data
from validation.paper.published import CV1_PARTITIONS, TABLE_7_BEST, TABLE_7_WINS, TABLE_8_ORDER
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
line and environment, none missing, as deviations whose means are near 0. By their description they are those of the
paper; they were not compared with its own files. Two public copies name the two bed environments the other way round;
the names used here agree with an independent data set of the same lines. Which copy the paper had is not certain, so
that CV2 is compared under the other reading, too."""


def compare(r: Results, seed: int) -> list[Finding]:
    """Tables 6 to 8."""
    found = [Finding("6", "all estimates", "not known", "below", UNKNOWN)]
    for score, printed in TABLE_7_WINS.items():
        found += check_wins(r.cv1, score, printed, "7", CV1_PARTITIONS, seed)
    found += check_average(r.cv1, "pearson", TABLE_7_BEST, None, "7", CV1_PARTITIONS, seed)
    found.append(Finding("7", "the single correlations and MSEP", "not known", "below", UNKNOWN))
    found += compare_orders(r)
    found.append(Finding("8", "the correlations and MSEP themselves", "not known", "below", UNKNOWN))
    return found


def compare_orders(r: Results) -> list[Finding]:
    """Order of the models in CV2."""
    found = []
    for (env, score), printed in TABLE_8_ORDER.items():
        i = r.cv2.envs.index(ENVIRONMENTS[env])
        place = env if env == ENVIRONMENTS[env] else f"{env} ({ENVIRONMENTS[env]})"
        if score == "pearson":
            found.append(check_order(r.cv2, i, score, "exchangeable", printed, "8", place))
        else:
            extra = math.sqrt(2) * r.means[i].wobble
            found.append(check_order(r.cv2, i, score, "paper", printed, "8", place, extra))
    return found


def count_found(r: Results, names: dict[str, str]) -> list[tuple[int, int]]:
    """Printed orders, and printed best models, that are found by Pearson's correlation and by MSEP."""
    counts = []
    for score in SCORES:
        printed = [(env, order) for (env, key), order in TABLE_8_ORDER.items() if key == score]
        here = [order_models(r.cv2, r.cv2.envs.index(names[env]), score, "paper").split(" > ") for env, _ in printed]
        orders = sum(found == list(order) for found, (_, order) in zip(here, printed, strict=True))
        best = sum(found[0] == order[0] for found, (_, order) in zip(here, printed, strict=True))
        counts.append((orders, best))
    return counts


def remark(r: Results) -> str:
    """Which reading of the names agrees more, and what the prior of the means does."""
    readings = {"as used here": ENVIRONMENTS, "bed environments exchanged": EXCHANGED}
    lines = []
    for label, names in readings.items():
        counts = count_found(r, names)
        lines.append((label, *[f"{orders} of 3; best model {best} of 3" for orders, best in counts]))
    used, exchanged = (count_found(r, names) for names in readings.values())
    told = []
    for word, one, other in zip(SCORES.values(), used, exchanged, strict=True):
        told.append(f"{'fewer' if one < other else 'more' if one > other else 'as many'} by {word}")
    verdict = (
        f"With the names as used here, compared with the bed environments exchanged, {told[0]} are found, {told[1]}"
        + ("." if told[0].split()[0] == told[1].split()[0] else ": they do not tell which names the paper used.")
    )
    parts = {}
    for means in ("paper", "exchangeable"):
        k = r.cv2.models.index(label_means("unstructured", means))
        shares = 100 * r.cv2.scores["mean"][k] / r.cv2.scores["msep"][k]
        parts[means] = ", ".join(f"{env} {share:.0f}%" for env, share in zip(r.cv2.envs, shares, strict=True))
    return f"""\
Printed orders that are found, in the three environments, under both readings of the names (the paper's prior of the
means):

{make_table(("names of the environments", "Pearson", "MSEP"), lines)}

{verdict}

The values are deviations with means near 0, so that the paper's prior of the means, which pulls an unrecorded mean to
0, is not far off. The part of the mean in MSEP (unstructured model): {parts["paper"]} under the paper's prior;
{parts["exchangeable"]} under exchangeable means."""


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
