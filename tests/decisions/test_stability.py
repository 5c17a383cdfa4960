"""Stability by loops over draws."""

import numpy as np
import pytest

from bmtme import UsageError
from tests.helpers.posteriors import make_fit, make_setting


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("best", ["high", "low"])
def test_every_column_by_hand(alone, best):
    s = make_setting(envs=4, outside=0.2)
    s.y[s.plots[:, 1] == 3, 1] = np.nan  # T2 is not recorded in E4
    s.y[s.plots[:, 0] == 5, 1] = np.nan  # nor of L05
    fit = make_fit(s, alone=alone)
    table = fit.stability("T2", best=best).set_index("line")
    envs = s.envs[:3]
    assert fit.stability("T2").attrs["envs"] == envs
    u, beta = fit.line_effects().sel(trait="T2", env=envs), fit.idata.posterior["beta"].sel(trait="T2", env=envs)
    part = s.take_trait(1) if alone else s
    known = [s.lines[j] for j in part.known]
    assert ("L05" in known) != alone
    sign = 1 if best == "high" else -1
    for line in ("L00", "L05", "L11"):
        value, spread, slope, above = [], [], [], []
        for c in range(2):
            for d in u["draw"].values:
                here, b = u.sel(chain=c, draw=d), beta.sel(chain=c, draw=d).values
                own = here.sel(line=line).values
                means = b + here.sel(line=known).values.mean(axis=0)
                x = means - means.mean()
                value.append((own + b).mean())
                spread.append(np.sqrt(((own - own.mean()) ** 2).sum() / 2))
                slope.append((x @ (own + b)) / (x @ x))
                above.append(all(sign * (own + b) > sign * means))
        row = table.loc[line]
        assert row["value"] == pytest.approx(np.mean(value))
        assert row["env_sd"] == pytest.approx(np.mean(spread))
        assert row["env_sd_lower"] == pytest.approx(np.quantile(spread, 0.05))
        assert row["slope"] == pytest.approx(np.mean(slope))
        assert row["slope_upper"] == pytest.approx(np.quantile(slope, 0.95))
        assert row["p_above_mean"] == pytest.approx(np.mean(above))
    assert table.loc[known, "slope"].mean() == pytest.approx(1.0)
    assert (np.diff(sign * table["value"]) <= 0).all()


def test_what_has_no_stability():
    fit = make_fit(make_setting(), draws=10)
    assert len(fit.stability("T1", env=["E1", "E3"])) == 12
    with pytest.raises(UsageError, match="stability is of one trait"):
        fit.stability(["T1", "T2"])
    with pytest.raises(UsageError, match="two environments at least, and there is one: 'E2'"):
        fit.stability("T1", env="E2")
    with pytest.raises(UsageError, match="'E1' is the only one with a record of 'T1'"):
        make_fit(make_setting(envs=1), draws=10).stability("T1")
