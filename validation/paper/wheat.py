"""The paper's wheat trial: estimates, CV1 and CV2 beside Tables 6 to 8 of the paper.

250 lines in three environments, days to heading, grain yield, a vegetation index and plant height.
"""

from __future__ import annotations

import bmtme
from validation.paper.crossvalidation import MODELS, score_hidden
from validation.paper.estimates import sample_quantities
from validation.paper.kept import Data
from validation.paper.published import TABLE_7_WINS, TABLE_8_ORDER
from validation.paper.trialstudy import TrialStudy
from validation.registry import Options, Row, register
from validation.trials import read_trial, skip

NAME = "wheat250_mtme"
#: The paper's names of the environments, and those of the data.
ENVIRONMENTS = {"Bed2I": "Bed2IR", "Bed5I": "Bed5IR", "Drip": "Drip"}

STUDY = TrialStudy(
    name="wheat",
    trait="GRYLD",
    unit="unit of the data",
    correlations={},
    first={},
    wins=TABLE_7_WINS,
    orders={(ENVIRONMENTS[env], score): order for (env, score), order in TABLE_8_ORDER.items()},
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
    """Estimates and both cross-validations, where the data are there."""
    data = read_trial(NAME)
    if data is None:
        return [skip("wheat: the tables", NAME)]
    return STUDY.run(options, data, check_data(options, data))


register("wheat", run_quick, run_full)
