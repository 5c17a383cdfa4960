"""The residual structures by name."""

from __future__ import annotations

from bmtme.structures.by_env import ByEnv
from bmtme.structures.common_correlation import CommonCorrelation
from bmtme.structures.proportional import Shared
from bmtme.structures.scaled import Scaled
from bmtme.structures.structure import Residual

RESIDUAL_STRUCTURES: dict[str, Residual] = {
    structure.name: structure
    for structure in (
        Shared(),
        Scaled(),
        CommonCorrelation(),
        ByEnv(),
    )
}
