"""A simulated population of animals under selection by phenotype, with its pedigree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bmtme.arguments import check_memory, is_number, show, whole_number
from bmtme.data.relationship.pedigree import measure_sampling
from bmtme.datasets.relatives import make_names
from bmtme.datasets.simulated import DATA_STREAM
from bmtme.errors import UsageError

__all__ = ["Selection", "simulate_selection"]

#: Second word of the first stream, behind those of other simulations.
_FIRST_STREAM = 100
#: Youngest and oldest age at weighing, in days; the mean is of an animal in the middle.
AGES = (175, 235)


@dataclass(frozen=True, eq=False)
class Selection:
    """A simulated population and what it was drawn with.

    Attributes
    ----------
    frame : pandas.DataFrame
        A row for each animal, the oldest first: id, generation (0 of the founders), sex (``male``, ``female``), age
        (days), weight.
    pedigree : pandas.DataFrame
        Columns id, sire, dam of the same animals; ``0`` for the parents of founders.
    truth : dict
        ``mean``, ``sex`` (Series by sex), ``slope``, ``genetic_variance``, ``residual_variance``, ``heritability`` as
        given, and by animal (Series) ``breeding_value`` and ``inbreeding``.
    """

    frame: pd.DataFrame
    pedigree: pd.DataFrame
    truth: dict[str, Any]


def simulate_selection(
    animals: int = 200,
    generations: int = 5,
    *,
    mean: float = 294.0,
    sex: float = 25.0,
    slope: float = 0.75,
    residual_variance: float = 490.0,
    heritability: float = 0.30,
    keep_males: float = 0.10,
    keep_females: float = 0.50,
    seed: int = 1,
) -> Selection:
    r"""Draw animals that are selected by their phenotype over generations.

    Selection lowers the genetic variance among the animals and makes them inbred. An analysis with the whole pedigree
    and every record allows for both and finds the variances of the founders; one of the last generation alone does not.

    Parameters
    ----------
    animals : int
        In each generation, half of them male; at least 4.
    generations : int
        After the founders; with 0 nothing is selected.
    mean : float
        Weight of an animal without genetic superiority, between the sexes, 205 days old.
    sex : float
        Males weigh so much more than the mean, females so much less.
    slope : float
        Weight gained a day.
    residual_variance : float
        Above 0.
    heritability : float
        Among the founders, from 0, and below 1.
    keep_males, keep_females : float
        Shares of a generation that become parents of the next, above 0 and up to 1; at least one of each sex.
    seed : int
        The same seed gives the same population.

    Returns
    -------
    Selection

    Raises
    ------
    UsageError
        For values out of range.

    Notes
    -----
    An animal i of s_i = 1 (male) or -1 (female) weighs

    .. math:: y_i = \mu + s_i\,\delta + \beta (x_i - 205) + a_i + e_i, \quad e_i \sim N(0, \sigma^2_e)

    with ages x uniform from 175 to 235 days. Founders have :math:`a \sim N(0, \sigma^2_a)`,
    :math:`\sigma^2_a = \sigma^2_e h^2 / (1 - h^2)`; an animal of sire f and dam m has

    .. math:: a_i = (a_f + a_m) / 2 + N(0, d_i \sigma^2_a), \quad d_i = 1/2 - (F_f + F_m) / 4

    with the parents' coefficients of inbreeding F (Quaas 1976, Biometrics 32:949-953), so that the variance of a is
    :math:`A \sigma^2_a` with the A of the pedigree. In each generation the males and the females with the largest y
    are kept. Every dam is mated at random and has the same number of offspring, to one more or less.
    """
    animals = whole_number(animals, "animals", 4)
    generations = whole_number(generations, "generations", 0)
    seed = whole_number(seed, "seed", 0)
    for name, given, fits, wanted in (
        ("mean", mean, is_number(mean), "a number"),
        ("sex", sex, is_number(sex), "a number"),
        ("slope", slope, is_number(slope), "a number"),
        ("residual_variance", residual_variance, is_number(residual_variance) and residual_variance > 0, "above 0"),
        ("heritability", heritability, is_number(heritability) and 0 <= heritability < 1, "from 0, and below 1"),
        ("keep_males", keep_males, is_number(keep_males) and 0 < keep_males <= 1, "above 0 and up to 1"),
        ("keep_females", keep_females, is_number(keep_females) and 0 < keep_females <= 1, "above 0 and up to 1"),
    ):
        if not fits:
            raise UsageError(f"{name} must be {wanted}, got {show(given)}.")
    n = animals * (generations + 1)
    check_memory(500.0 * n, f"animals={animals}, generations={generations}")
    mating, sampling, residual, ages = (
        np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(DATA_STREAM, _FIRST_STREAM + number)))
        for number in range(4)
    )
    genetic_variance = residual_variance * heritability / (1.0 - heritability)

    male = np.tile(np.arange(animals) % 2 == 0, generations + 1)
    age = ages.integers(AGES[0], AGES[1], n, endpoint=True)
    fixed = mean + np.where(male, sex, -sex) + slope * (age - sum(AGES) / 2)
    noise = residual.normal(0.0, math.sqrt(residual_variance), n)
    parents = np.full((n, 2), -1, dtype=np.int64)
    value, weight, diagonal = np.zeros(n), np.zeros(n), np.ones(n)
    for first in range(0, n, animals):
        last = first + animals
        now = slice(first, last)
        if first > 0:
            before = np.arange(first - animals, first)
            sires = _keep_best(before[male[before]], weight, keep_males)
            dams = _keep_best(before[~male[before]], weight, keep_females)
            # Shuffled, so that the sex of an animal tells nothing of its dam.
            parents[now] = np.column_stack(
                [mating.choice(sires, animals), mating.permutation(np.resize(dams, animals))]
            )
        so_far, variances = measure_sampling(parents[:last], np.ones(last))
        diagonal[now] = so_far[now]
        middle = 0.5 * value[parents[now]].sum(axis=1) if first > 0 else 0.0
        value[now] = middle + sampling.standard_normal(animals) * np.sqrt(variances[now] * genetic_variance)
        weight[now] = fixed[now] + value[now] + noise[now]

    names = np.array(make_names("A", n))
    index = pd.Index(names, name="id")
    frame = pd.DataFrame(
        {
            "id": names,
            "generation": np.repeat(np.arange(generations + 1), animals),
            "sex": np.where(male, "male", "female"),
            "age": age,
            "weight": weight,
        }
    )
    labels = np.where(parents >= 0, names[parents], "0")
    pedigree = pd.DataFrame({"id": names, "sire": labels[:, 0], "dam": labels[:, 1]})
    truth = {
        "mean": float(mean),
        "sex": pd.Series({"male": float(sex), "female": -float(sex)}, name="sex"),
        "slope": float(slope),
        "genetic_variance": float(genetic_variance),
        "residual_variance": float(residual_variance),
        "heritability": float(heritability),
        "breeding_value": pd.Series(value, index=index, name="breeding_value"),
        "inbreeding": pd.Series(diagonal - 1.0, index=index, name="inbreeding"),
    }
    return Selection(frame, pedigree, truth)


def _keep_best(candidates: np.ndarray, weight: np.ndarray, share: float) -> np.ndarray:
    """The heaviest, at least one."""
    count = max(1, math.floor(share * len(candidates) + 0.5))
    return candidates[np.argsort(-weight[candidates], kind="stable")[:count]]
