"""The genetic structures by name."""

from __future__ import annotations

from bmtme.structures.environments_by_trait import EnvironmentsByTrait
from bmtme.structures.factor_analytic import FactorAnalytic
from bmtme.structures.free import Free
from bmtme.structures.main_and_interaction import MainAndInteraction
from bmtme.structures.proportional import Proportional
from bmtme.structures.separable import Separable
from bmtme.structures.structure import Genetic

GENETIC_STRUCTURES: dict[str, Genetic] = {
    structure.name: structure
    for structure in (
        Proportional(),
        MainAndInteraction(),
        EnvironmentsByTrait(),
        Separable(),
        FactorAnalytic(),
        Free(),
    )
}
