"""The pictures that go with a run, by name: a register for the shell and the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bmtme.cv.result import CrossValidation
from bmtme.decisions.covariances import is_alone, list_names_along
from bmtme.errors import DataError, UsageError
from bmtme.results.fit import Fit
from bmtme.results.mixed.pictures import ResidualPictures
from bmtme.results.mixed.posterior import MixedPosterior
from bmtme.results.residuals import RECORD_OWN_SE
from bmtme.results.stage_one.result import Adjustment
from bmtme.results.unrecorded import MOST_RELATED
from bmtme.words import list_names, suggest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURES", "Picture", "draw_picture", "list_pictures"]


@dataclass(frozen=True)
class Picture:
    """A picture, which the method ``plot_`` with its name draws.

    Attributes
    ----------
    name : str
    words : str
        What it shows.
    arguments : dict
        Argument of the method by option.
    suits : callable
        Whether the run has what it takes; if not, the method says what is missing.
    several : bool
        Whether ``env`` may name several environments, else it is one.
    """

    name: str
    words: str
    arguments: Mapping[str, str]
    suits: Callable[[Any], bool] = lambda run: True
    several: bool = False

    @property
    def method(self) -> str:
        """Its name in Python."""
        return f"plot_{self.name.replace('-', '_')}"


def _take(*options: str, **renamed: str) -> dict[str, str]:
    return {option: option for option in options} | renamed


# --- which go with a run ----------------------------------------------------------------------------------------


def _has_effects(fit: Fit) -> bool:
    return fit._predictions is not None


def _has_envs(fit: Fit) -> bool:
    return len(list_names_along(fit, "env")) > 1


def _has_norms(fit: Fit) -> bool:
    return _has_effects(fit) and _has_envs(fit)


def _has_traits(fit: Fit) -> bool:
    return len(list_names_along(fit, "trait")) > 1 and not is_alone(fit)


def _has_left_out(fit: Fit) -> bool:
    observed = fit._groups["observed_data"]
    counts = observed["Y"].notnull().sum("record")
    return RECORD_OWN_SE not in observed.coords and int(counts.max() if is_alone(fit) else counts.sum()) <= MOST_RELATED


def _has_models(cv: CrossValidation) -> bool:
    return cv.scores["model"].nunique() > 1


def _has_plots(means: Adjustment) -> bool:
    return any(means.has_field(env) for env in dict.fromkeys(means.plots["env"]))


def _has_grids(run: ResidualPictures) -> bool:
    try:
        return bool(run.grids())
    except UsageError:
        return False


_RANKED = _take("trait", "env", "top", "best", "check")
_CHAINS = Picture("chains", "traces and ranks of parameters, R-hat, effective draws", _take(parameter="names"))
#: Pictures by the type of the run.
PICTURES: dict[type, tuple[Picture, ...]] = {
    Fit: (
        Picture("ranking", "values of the best lines with intervals, and of all by rank", _RANKED, _has_effects, True),
        Picture("probabilities", "of being among the best, and better than the check", _RANKED, _has_effects, True),
        Picture("reaction-norms", "values from environment to environment", _RANKED, _has_norms, True),
        Picture("trait-correlations", "genetic and residual, a matrix for each", _take("env"), _has_traits),
        Picture("env-correlations", "genetic, of environments", _take("trait"), _has_envs),
        Picture("heritability", "of a record in each environment, and of a line's mean", {}),
        Picture("calibration", "observed against predicted, each record left out", {}, _has_left_out),
        _CHAINS,
    ),
    CrossValidation: (
        Picture("accuracy", "of the models, by environment and trait", _take("score")),
        Picture("differences", "of the models from one, with intervals", _take(score="metric"), _has_models),
        Picture("calibration", "observed against predicted, of a model", _take("model")),
    ),
    Adjustment: (
        Picture("field", "values, trend, residuals of an environment where they lie", _take("env"), _has_plots),
        Picture("variogram", "of the residuals of an environment", _take("env"), _has_plots),
        Picture("quantiles", "standardised residuals of an environment, outliers named", _take("env")),
    ),
    ResidualPictures: (
        Picture("residuals", "against fitted values and normal quantiles", {}),
        Picture("field", "residuals where they lie", {}, _has_grids),
        Picture("variogram", "of the residuals", {}, _has_grids),
    ),
    MixedPosterior: (_CHAINS,),
}


def list_all(run: Any) -> tuple[Picture, ...]:
    """Pictures of runs of its kind."""
    return next(pictures for kind, pictures in PICTURES.items() if isinstance(run, kind))


def list_pictures(run: Any) -> tuple[Picture, ...]:
    """The pictures that go with a run, and can be drawn of it."""
    return tuple(picture for picture in list_all(run) if picture.suits(run))


def find_picture(run: Any, name: str) -> Picture:
    """The picture of a name.

    Raises
    ------
    UsageError
    """
    pictures = {picture.name: picture for picture in list_all(run)}
    if name not in pictures:
        raise UsageError(f"there is no picture {name!r} of this run.{suggest(name, pictures)} {list_names(pictures)}.")
    return pictures[name]


def draw_picture(run: Any, name: str, options: Mapping[str, Any]) -> Figure:
    """Draw a picture of a run.

    Parameters
    ----------
    run : Fit, CrossValidation, Adjustment, MixedFit, MixedTables or MixedPosterior
    options : those that were given, by name

    Raises
    ------
    UsageError
        For a picture that there is not, or an option that it does not take.
    DataError
        For names that the run does not have.
    """
    picture = find_picture(run, name)
    for option in options:
        if option not in picture.arguments:
            takes = list_names(picture.arguments) if picture.arguments else "no option"
            raise UsageError(f"the picture {name!r} does not take {option!r}: it takes {takes}.")
    found = {picture.arguments[option]: value for option, value in options.items()}
    if isinstance(run, Adjustment):
        found["env"] = choose_env(run, found.get("env"))
    figure: Figure = getattr(run, picture.method)(**found)
    return figure


def choose_env(means: Adjustment, env: str | None) -> str:
    """The environment that is named, or the only one.

    Raises
    ------
    UsageError, DataError
    """
    envs = list(dict.fromkeys(means.plots["env"]))
    if env is None:
        if len(envs) > 1:
            raise UsageError(f"env must be named, as these means have several: {list_names(envs)}.")
        return envs[0]
    if env not in envs:
        raise DataError(f"there is no environment {env!r}.{suggest(env, envs)} {list_names(envs)}.")
    return env
