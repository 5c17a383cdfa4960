"""Methods of a fit as a text to be pasted: the model, priors, sampler and numbers as they were run, with citations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bmtme.choices import FACTORED, SINGLE
from bmtme.report.html.content import Block, Notice, Prose
from bmtme.report.html.references import Citations
from bmtme.report.html.settings import write_plain
from bmtme.report.replicates import list_block_facts, list_covariate_facts, list_replicate_facts
from bmtme.words import count_noun, some_names

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.data.trial import Trial

__all__ = ["describe_model", "describe_software", "list_methods", "write_fit_methods"]

#: What only its author knows.
UNSOUND = "Not for a publication yet: what speaks against these numbers stands at the beginning of the page."
GAPS = "Words in square brackets are for you to fill in. Numbers are those of this run."

#: Genetic structures: the covariance C of a line's effects over environments and traits.
GENETIC = {
    "main_and_interaction": "C = 11' (x) Sigma_t + diag(k) (x) Sigma_gt, main effects with covariance Sigma_t of the "
    "traits and interactions with covariance Sigma_gt and size k in each environment",
    "environments_by_trait": "C with a covariance of the environments for each trait and one correlation P of traits",
    "separable": "C = K (x) Sigma_t, K the covariance of the environments and Sigma_t that of the traits",
    "free": "C a free covariance over all combinations of environment and trait",
}
RESIDUAL = {
    "shared": "one residual covariance R_e of the traits in all environments",
    "scaled": "one residual covariance of the traits, larger or smaller in each environment",
    "common_correlation": "residual standard deviations of each environment and one residual correlation of the traits",
    "by_env": "a residual covariance of the traits in each environment",
}
SAMPLERS = {
    "collapsed": "Hamiltonian Monte Carlo on the covariances with means and genetic effects integrated out, which were "
    "then drawn given these",
    "gibbs": "Gibbs sampling of the covariances given the effects, means and effects in one block",
    "stepwise": "Gibbs sampling in the separate steps of the original publication",
}
MEANS = {
    "exchangeable": "normal around a mean of the trait, with a flat prior, and with a standard deviation between "
    "environments that is half-t with 4 degrees of freedom and a scale of one standard deviation of the trait",
    "flat": "flat",
    "paper": "normal around zero, with a half-t standard deviation",
}


def list_methods(paragraphs: list[str], cite: Citations, sound: bool = True) -> list[Block]:
    """The text and its references.

    sound : whether the numbers can be leaned on
    """
    blocks: list[Block] = [] if sound else [Notice("bad", UNSOUND)]
    return [*blocks, Prose([GAPS]), Prose([*paragraphs, "References", *cite.list_full()], copied=True)]


def write_fit_methods(
    run: Mapping[str, Any], trial: Trial, summary: pd.DataFrame, identity: bool | None, sound: bool
) -> list[Block]:
    """Of a fit.

    identity : whether lines are unrelated; None where nothing tells
    sound : whether the numbers can be leaned on
    """
    cite = Citations()
    data, settings = run["data"], run["settings"]
    model = settings["model"]
    paragraphs = [
        describe_data(data, trial, identity),
        describe_model(model, len(trial.envs), len(trial.traits), cite) + describe_further(data, trial),
        describe_priors(model, len(trial.envs), cite),
        describe_chains(settings, summary, run, cite),
        describe_quantities(settings, len(trial.envs), cite),
        describe_software(run),
    ]
    return list_methods([text for text in paragraphs if text], cite, sound)


def describe_data(data: Mapping[str, Any], trial: Trial, identity: bool | None) -> str:
    """What was analysed."""
    values = data["records"] * data["traits"] - data["missing_values"]
    text = (
        f"{count_noun(len(trial.traits), 'trait')} ({some_names(trial.traits, 20)}) of "
        f"{count_noun(data['lines'], 'line')} in {count_noun(len(trial.envs), 'environment')} "
        f"({some_names(trial.envs, 20)}) were analysed: {count_noun(data['records'], 'record')} with "
        f"{count_noun(values, 'value')}"
    )
    if data.get("error_covariances"):
        text += ", adjusted means with the covariance of their errors"
    elif data.get("standard_errors"):
        text += ", adjusted means with known standard errors"
    elif data.get("plots"):
        text += ", means of several plots, whose numbers were counted"
    text += ". "
    if identity:
        return text + "Lines were taken as unrelated (G the identity)."
    n = count_noun(data["lines_predicted"], "line")
    return (
        text + f"G is the relationship matrix of {n} [say here from which markers or pedigree, and how, it was made]."
    )


def describe_model(model: Mapping[str, Any], envs: int, traits: int, cite: Citations) -> str:
    """The model as a formula in words."""
    genetic, own = take_structure(model.get("genetic", "proportional"))
    residual, _ = take_structure(model.get("residual", "shared"))
    alone = model.get("baseline") == SINGLE
    cov = "variance" if alone or traits == 1 else "covariance"
    if genetic == "proportional":
        text = (
            f"The Bayesian multi-trait multi-environment model of {cite.name('model')} was fitted"
            if not alone
            else f"The model of {cite.name('model')} was fitted to one trait at a time"
        )
        formula = "beta_il + b1_jl + b2_ijl + e_ijkl" if envs > 1 else "beta_il + b1_jl + e_ijkl"
        text += f": y_ijkl = {formula} for line j in environment i, trait l and plot k, with environment means beta"
        text += f", genetic effects b1 with covariance G between lines and {cov} Sigma_t of the traits"
        if envs > 1:
            text += (
                ", line x environment effects b2 with the same covariance times a variance of each environment (the "
                "diagonal of Sigma_E, relative to b1)"
            )
    else:
        covariance = GENETIC.get(genetic, f"C of the structure {genetic}")
        if genetic == FACTORED:
            factors = count_noun(own.get("factors", 0), "factor")
            covariance = f"C = Lambda Lambda' + diag(psi^2) of {factors} ({cite('factors')})"
        text = (
            f"A Bayesian mixed model was fitted{' to one trait at a time' if alone else ''}: y_ijkl = beta_il + u_ijl "
            "+ e_ijkl for line j in environment i, trait l and plot k, with environment means beta, genetic effects u "
            f"with covariance G between lines and {covariance} over environments and traits"
        )
    text += f", and residuals e with {RESIDUAL.get(residual, f'the residual structure {residual}')}"
    if model["structure"] == "diagonal":
        text += "; covariances of the traits are diagonal"
    if model["structure"] == "standard":
        text += "; all traits share one genetic and one residual variance"
    if model.get("line_effect"):
        text += (
            "; lines have a further effect with covariance Sigma_r of the traits, independent between lines, beside "
            "the relationship"
        )
    return text + "."


def take_structure(said: Any) -> tuple[str, Mapping[str, Any]]:
    """The name of a structure and its settings, as a record of a run has them."""
    if isinstance(said, Mapping):
        name, own = next(iter(said.items()))
        return str(name), own if isinstance(own, Mapping) else {}
    return str(said), {}


def describe_further(data: Mapping[str, Any], trial: Trial) -> str:
    """Effects of replicates, blocks and covariates."""
    facts = [*list_replicate_facts(data.get("rep_effects"), trial), *list_block_facts(data.get("blocks"))]
    facts += list_covariate_facts(data.get("covariates"))
    texts = [f"{label} {text}" if label else text for label, text in facts if "without effects" not in text]
    return f" Further effects: {'; '.join(texts)}." if texts else ""


def describe_priors(model: Mapping[str, Any], envs: int, cite: Citations) -> str:
    """The priors, as they were or by default."""
    genetic, _ = take_structure(model.get("genetic", "proportional"))
    residual, _ = take_structure(model.get("residual", "shared"))
    texts = [f"Priors: means of environments were {MEANS[model['means']] if envs > 1 else MEANS['flat']}"]
    given = {name: model.get(name, "default") for name in ("prior_t", "prior_E", "prior_e")}
    names = {"prior_t": "Sigma_t", "prior_E": "Sigma_E", "prior_e": "R_e"}
    for name, prior in given.items():
        if prior != "default":
            texts.append(f"{names[name]} had the prior {write_plain(prior)}")
    standard = (
        "half-t with 2 degrees of freedom and a scale of 5 standard deviations of the trait, correlations uniform"
    )
    if genetic == FACTORED:
        texts.append(
            "loadings were normal with a standard deviation of one (that of the trait), those of two environments of a "
            "trait correlated by 1/2, and psi half-t with 4 degrees of freedom and scale 1"
        )
    elif given["prior_t"] == "default":
        texts.append(f"genetic standard deviations were {standard} ({cite('half-t')})")
    if genetic == "proportional" and envs > 1 and given["prior_E"] == "default":
        texts.append("the square roots of the diagonal of Sigma_E were half-t with 4 degrees of freedom and scale 1")
    if residual in ("shared", "scaled") and given["prior_e"] == "default":
        texts.append(f"residual standard deviations were {standard} ({cite('half-t')})")
    elif residual in ("common_correlation", "by_env"):
        texts.append(
            "logarithms of the residual standard deviations of the environments were normal around a mean of the "
            "trait, in units of its standard deviation, that mean N(log 0.6, 4) and their variance inverse-gamma(2, "
            "0.18)"
        )
    if model.get("line_effect"):
        texts.append(
            "standard deviations of Sigma_r were half-t with 2 degrees of freedom and a scale of 2.5 standard "
            "deviations of the trait"
        )
    return "; ".join(texts) + "."


def describe_chains(settings: Mapping[str, Any], summary: pd.DataFrame, run: Mapping[str, Any], cite: Citations) -> str:
    """How draws were made, and how well the chains agree."""
    chains, draws = settings["chains"], settings["draws"]
    text = (
        f"The posterior was sampled with {count_noun(chains, 'chain')} of {count_noun(draws, 'draw')} after "
        f"{count_noun(settings['tune'], 'warm-up sweep')} each (seed {settings['seed']}), by "
        f"{SAMPLERS.get(settings['sampler'], settings['sampler'])}"
    )
    if settings["sampler"] == "collapsed":
        text += f"; step sizes were adapted by dual averaging ({cite('adaptation')})"
    text += ". "
    r_hat, ess = summary["r_hat"].max(), summary[["ess_bulk", "ess_tail"]].min(axis=1).min()
    if np.isfinite(r_hat):
        text += f"Over all reported parameters R-hat was at most {r_hat:.3f}"
        text += f" and the effective number of draws, of bulk and tails, at least {ess:.0f}" if np.isfinite(ess) else ""
        text += f" ({cite('r-hat')}). "
    sampling = run["sampling"]
    own = sampling.get("traits")
    counts = [each["divergences"] for each in own.values()] if own else [sampling["divergences"]]
    total = sum(map(sum, counts))
    text += (
        f"{total:,} of {draws * chains * len(counts):,} moves diverged." if settings["sampler"] == "collapsed" else ""
    )
    return text.strip()


def describe_quantities(settings: Mapping[str, Any], envs: int, cite: Citations) -> str:
    """What is reported, and by which definitions."""
    text = (
        "Estimates are posterior means, intervals equal-tailed and of 90%. Heritabilities are those among the trial's "
        f"lines, whose expected variance counts the relationship ({cite('spread')}), of a record, of an entry mean "
        f"({cite('entry means')}) and by the precision of differences ({cite('cullis')})."
    )
    if settings["keep_effects"] != "none":
        text += (
            f" Lines were ranked by posterior means of their values{' over environments' if envs > 1 else ''}; ranks "
            f"and probabilities to be among the best are of joint draws ({cite('probabilities')}); reliabilities are "
            f"those of deviations from the mean of the trial's lines ({cite('reliability')})."
        )
        if envs > 1:
            text += f" Stability over environments is described by slopes on their means ({cite('stability')})."
    return text


def describe_software(run: Mapping[str, Any]) -> str:
    """Versions of what computed."""
    versions = dict(run.get("versions", {}))
    own = versions.pop("bmtme", "")
    others = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"All was computed with bmtme {own}{f' ({others})' if others else ''}."
