"""What a selection brings: the selected lines against all candidates, draw by draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bmtme.arguments import as_list
from bmtme.decisions.candidates import Candidates, draw_candidates
from bmtme.decisions.covariances import list_names_along
from bmtme.decisions.targets import choose_lines
from bmtme.errors import UsageError
from bmtme.results.decided import RESPONSE
from bmtme.results.entries import name_columns
from bmtme.results.summary import INTERVAL

if TYPE_CHECKING:
    from bmtme.results.fit import Fit


def digest(values: np.ndarray) -> tuple[np.ndarray, ...]:
    """The columns `DRAWN` of draws (S, n): mean, standard deviation, ends of the 90% interval."""
    low, high = np.quantile(values, INTERVAL, axis=0)
    return values.mean(axis=0), values.std(axis=0, ddof=min(1, len(values) - 1)), low, high


def measure_response(fit: Fit, selected: Any, env: Any, lines: Any = None, draws: int = 1000) -> pd.DataFrame:
    """See `bmtme.results.fit.Fit.response`."""
    traits = list_names_along(fit, "trait")
    if isinstance(selected, pd.DataFrame):
        if "top" not in selected.attrs or "line" not in selected:
            raise UsageError("selected must be a table of fit.ranking or fit.index as it came, or a list of lines.")
        env = selected.attrs["env"] if env is None else env
        lines = selected["line"].tolist() if lines is None else lines
        chosen = selected["line"].tolist()[: selected.attrs["top"]]
    else:
        chosen = as_list(selected, "selected")
    candidates = draw_candidates(fit, traits, env, lines, None, draws)
    chosen = choose_lines(chosen, candidates.lines)
    columns = (np.array(traits, dtype=object), *compare_selected(candidates, chosen))
    table = pd.DataFrame(dict(zip(name_columns(RESPONSE), columns, strict=True)))
    table.attrs = {"selected": len(chosen), "candidates": len(candidates.lines), "env": candidates.target.shares}
    return table


def compare_selected(candidates: Candidates, chosen: Sequence[str]) -> tuple[np.ndarray, ...]:
    """The columns `DRAWN` for each trait: the mean of the chosen lines less that of all candidates."""
    rows = np.isin(candidates.lines, chosen)
    return digest(candidates.effects[:, rows].mean(axis=1) - candidates.effects.mean(axis=1))
