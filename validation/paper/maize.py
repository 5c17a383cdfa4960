"""The paper's maize trial: estimates, CV1 and CV2 beside Tables 3 to 5 of the paper.

309 doubled-haploid lines in three environments, grain yield, anthesis-silking interval and plant height. The paper
numbers its environments; in which order is not known, so it is that of their names.
"""

from __future__ import annotations

import bmtme
from validation.paper.crossvalidation import score_hidden
from validation.paper.estimates import sample_quantities
from validation.paper.kept import Data
from validation.paper.machinery import check_machinery
from validation.paper.published import (
    TABLE_3_GENETIC_CORRELATIONS,
    TABLE_4_PEARSON_WINS,
    TABLE_5_FIRST,
    TABLE_5_ORDER,
)
from validation.paper.trialstudy import TrialStudy
from validation.registry import Options, Row, register
from validation.trials import read_trial, skip

NAME = "maize309_mtme"
ENVIRONMENTS = {"E1": "EBU", "E2": "KAK", "E3": "KTI"}
PRINTED_MSEP = {model: msep for model, (_, msep) in TABLE_5_FIRST.items()}
#: Printed MSEP that are this near count as found, in relative terms.
NEAR_MSEP = 0.1

STUDY = TrialStudy(
    name="maize",
    trait="Yield",
    unit="t/ha",
    correlations=TABLE_3_GENETIC_CORRELATIONS,
    first=PRINTED_MSEP,
    wins={"pearson": TABLE_4_PEARSON_WINS},
    orders={(ENVIRONMENTS[env], score): order for (env, score), order in TABLE_5_ORDER.items()},
)


def check_data(options: Options, data: Data) -> list[Row]:
    """Short runs on the trial: what is printed and must come out."""
    _, summary = sample_quantities(data, bmtme.BMTME(), options.seed, options.cores, 500, 2000)
    rows = {pair: summary.loc["genetic_correlation[{}, {}]".format(*pair)] for pair in TABLE_3_GENETIC_CORRELATIONS}
    printed = TABLE_3_GENETIC_CORRELATIONS.items()
    inside = sum(rows[pair]["lower"] <= value <= rows[pair]["upper"] for pair, value in printed)
    models = {means: bmtme.BMTME(means=means) for means in ("paper", "exchangeable")}
    scores = score_hidden(data, models, "Yield", ENVIRONMENTS["E1"], options.seed, options.cores)
    msep, lines = ([scores[means][key] for means in models] for key in ("msep", "lines"))
    low, high = min(PRINTED_MSEP.values()), max(PRINTED_MSEP.values())
    margin = 1 + NEAR_MSEP
    return [
        STUDY.check_convergence({"short": summary}),
        Row(
            "maize: printed genetic correlations", f"{len(rows)} of Table 3", "inside our 95% intervals",
            f"{inside}", inside == len(rows),
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
    """Estimates and both cross-validations, where the data are there."""
    data = read_trial(NAME)
    if data is None:
        return [*check_machinery(options), skip("maize: the tables", NAME)]
    return STUDY.run(options, data, [*check_machinery(options), *check_data(options, data)])


register("maize", run_quick, run_full)
