"""Whole environments hidden, for lines known from others or for new lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bmtme.arguments import check_memory, whole_number
from bmtme.cv.arguments import advise, as_unique_names, check_trial, find_places, refuse_empty
from bmtme.cv.groups import Grouped, Groups, GroupTable
from bmtme.cv.new_lines import FOLDS, NewLines, deal_folds, gather_blocks
from bmtme.cv.partitions import Partition, Tabulated, check_partition
from bmtme.data.trial import Trial
from bmtme.errors import DataError
from bmtme.words import list_names

__all__ = ["NewEnvironments", "NewLinesNewEnvironments"]


@dataclass(frozen=True)
class NewEnvironments(Tabulated):
    """An environment is hidden for all lines and traits, one partition for each; lines known from others are scored.

    Called CV0 elsewhere (Jarquin et al. 2017, The Plant Genome 10(2), doi 10.3835/plantgenome2016.12.0130). Lines
    recorded nowhere else are hidden, too, and not scored. There is nothing random in it.

    Parameters
    ----------
    envs : sequence of str, optional
        Environments to hide; by default all with a record.

    Raises
    ------
    UsageError
        If the list is empty or holds a name twice.
    """

    envs: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "envs", as_unique_names(self.envs, "envs", "NewEnvironments"))

    def masks(self, trial: Trial, seed: int = 0) -> list[Partition]:
        """List the partitions, environments in the order asked for.

        Parameters
        ----------
        trial : Trial
            Only the pattern of its records is looked at.
        seed : int
            Not used; all schemes are called alike.

        Returns
        -------
        list of Partition
            Labelled by the environment.

        Raises
        ------
        DataError
            If a name is not in the trial or has no record, if there is one environment only, if a trait is recorded in
            no other environment, or none of an environment's lines is.
        """
        places = _choose_envs(trial, self.envs, "NewEnvironments")
        counts = trial.counts()
        check_memory(len(places) * counts.size, "the masks of NewEnvironments")
        recorded = np.asarray(counts > 0)
        made = []
        for i in places:
            hidden = np.zeros(counts.shape, dtype=bool)
            hidden[:, i] = True
            known = np.asarray((recorded & ~hidden).any(axis=(1, 2)))
            if not (recorded[:, i].any(axis=1) & known).any():
                others = advise(trial, NewLinesNewEnvironments(envs=(trial.envs[i],)), NewLines())
                raise DataError(
                    f"NewEnvironments, environment {trial.envs[i]!r}: none of its lines is recorded in another "
                    f"environment, so there is nothing to score: leave this environment out. {others}".strip()
                )
            partition = Partition(trial.envs[i], hidden, hidden & known[:, None, None])
            _check(partition, trial, counts, i, "NewEnvironments")
            made.append(partition)
        return made


@dataclass(frozen=True)
class NewLinesNewEnvironments(Grouped):
    """A fold of the lines is hidden everywhere and an environment for all lines; where they meet is scored.

    Called CV00 elsewhere (Jarquin et al. 2017, The Plant Genome 10(2), doi 10.3835/plantgenome2016.12.0130). One
    partition for each environment and fold; a fold without a record in the environment is left out of it.

    Parameters
    ----------
    folds : int, default 5
        Number of folds of the lines, 2 or more, the same ones as of `NewLines` with this seed.
    groups : dict or pandas.Series, optional
        Of each line, by name, its group, as of `NewLines`.
    envs : sequence of str, optional
        Environments to hide; by default all with a record.

    Raises
    ------
    UsageError
        If folds is out of range, or the list of environments is empty or holds a name twice.
    DataError
        If a line is in two groups, or a name is neither text nor a whole number.
    """

    folds: int = FOLDS
    groups: Groups | GroupTable | None = None
    envs: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folds", whole_number(self.folds, "folds", least=2))
        object.__setattr__(self, "groups", Groups.of(self.groups))
        object.__setattr__(self, "envs", as_unique_names(self.envs, "envs", "NewLinesNewEnvironments"))

    def masks(self, trial: Trial, seed: int = 0) -> list[Partition]:
        """Draw the folds and list the partitions: environments in the order asked for, in each the folds.

        `bmtme.cross_validate` first joins clones to the scheme (`join`); ``cv.partitions`` is what it hid.

        Parameters
        ----------
        trial : Trial
            Only the pattern of its records is looked at.
        seed : int
            Seed of the folds, 0 or more.

        Returns
        -------
        list of Partition
            Labelled ``"env:fold"``, or ``"env:group"`` where every fold is one of the groups given.

        Raises
        ------
        DataError
            If a name is not in the trial or has no record, if there is one environment only, fewer than two groups of
            lines or fewer groups than folds, or if a partition leaves fewer than two lines or no value of a trait for
            training.
        UsageError
            If the seed is not a whole number of at least 0.
        """
        seed = whole_number(seed, "seed", least=0)
        places = _choose_envs(trial, self.envs, "NewLinesNewEnvironments")
        counts = trial.counts()
        recorded = np.asarray(counts > 0)
        blocks = gather_blocks(self, trial)
        folds = deal_folds(blocks, self.folds, seed, "NewLinesNewEnvironments")
        check_memory(2 * len(places) * len(folds) * counts.size, f"the masks of folds={self.folds}")
        labels = [f"{trial.envs[i]}:{fold}" for i in places for fold in folds]
        if len(set(labels)) < len(labels):  # names with a colon in them
            folds = {str(number): lines for number, lines in enumerate(folds.values(), start=1)}
        made = []
        for i in places:
            for fold, lines in folds.items():
                scored = np.zeros(counts.shape, dtype=bool)
                scored[lines, i] = True
                if (scored & recorded).any():
                    hidden = np.zeros(counts.shape, dtype=bool)
                    hidden[lines] = hidden[:, i] = True
                    partition = Partition(f"{trial.envs[i]}:{fold}", hidden, scored)
                    _check(partition, trial, counts, i, "NewLinesNewEnvironments")
                    made.append(partition)
        return made


def _choose_envs(trial: Trial, envs: tuple[str, ...] | None, scheme: str) -> list[int]:
    """Places of the environments to hide."""
    recorded = np.asarray((check_trial(trial).counts() > 0).any(axis=(0, 2)))
    places = find_places(envs, trial.envs, "environment", scheme)
    there = np.flatnonzero(recorded).tolist()
    if envs is not None:
        refuse_empty(places, there, trial.envs, "environment", "any trait", scheme)
    if len(there) < 2:
        one = f"is recorded in {trial.envs[there[0]]!r} only" if there else "has no record"
        raise DataError(
            f"{scheme} hides an environment and learns from the others, and the trial {one}. "
            f"{advise(trial, NewLines())}".strip()
        )
    return [i for i in places if recorded[i]]


def _check(partition: Partition, trial: Trial, counts: np.ndarray, env: int, scheme: str) -> None:
    """Refuse a partition that cannot be fitted, saying what can be done."""
    recorded = np.asarray((counts > 0).any(axis=0))
    others = np.delete(recorded, env, axis=0).any(axis=0)
    alone = np.flatnonzero(recorded[env] & ~others)
    if alone.size:
        serving = [trial.envs[i] for i in np.flatnonzero((~recorded[:, alone]).all(axis=1) & recorded.any(axis=1))]
        rest = f", or hide other environments (envs={serving[:5]!r})" if serving else ""
        raise DataError(
            f"{scheme}, environment {trial.envs[env]!r}: trait {list_names(trial.traits[k] for k in alone)} is "
            f"recorded in no other environment, so nothing of it is left to learn from: leave the trait out{rest}. "
            f"{advise(trial, NewLines())}".strip()
        )
    try:
        check_partition(partition, trial, counts)
    except DataError as error:
        raise DataError(f"{scheme}: {error} {advise(trial, NewLines())}".strip()) from None
