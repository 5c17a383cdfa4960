"""The register of posterior variables: name, dimensions and meaning of everything that is stored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """One stored variable; its leading dimensions are chain and draw."""

    name: str
    dims: tuple[str, ...]
    meaning: str


VARIABLES = {
    variable.name: variable
    for variable in (
        Variable("beta", ("env", "trait"), "environment means, in the trait's unit"),
        Variable("b1", ("line", "trait"), "genetic effects across environments, in the trait's unit"),
        Variable("b2", ("env", "line", "trait"), "trait x genotype x environment effects, in the trait's unit"),
        Variable("Sigma_t", ("trait", "trait_bis"), "genetic covariance of the traits, for the relationship as given"),
        Variable("Sigma_E", ("env", "env_bis"), "variance of the interaction relative to the main effect, diagonal"),
        Variable("R_e", ("trait", "trait_bis"), "residual covariance of the traits on one plot"),
        Variable("mu", ("trait",), "mean over environments, in the trait's unit (exchangeable means)"),
        Variable("tau", ("trait",), "standard deviation between environment means (exchangeable means)"),
    )
}
