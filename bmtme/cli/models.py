"""The models that ``--model`` names, and the small language that it does so in.

    WORD                a structure, single (one trait at a time) or mean (the means of the environments)
    LABEL=WORD,WORD...  the same under a label, with genetic=, factors=, residual=, rep-effect=, means= and units=, and
                        line-effect, among the words

What the words leave open is as the options of these names say.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bmtme.choices import FACTORED, GENETICS, MEAN, MEANS, REP_EFFECTS, RESIDUALS, SAMPLERS, SINGLE, STRUCTURES, UNITS
from bmtme.cli.arguments import Parser, whole
from bmtme.cli.lengths import add_limit_options, draws
from bmtme.errors import UsageError
from bmtme.words import list_names, suggest

if TYPE_CHECKING:
    from bmtme.cv.models import Model
    from bmtme.model.baselines import SingleTrait
    from bmtme.model.structure import BMTME

__all__ = ["ModelWords", "add_model_options", "make_model", "make_models", "read_models"]

#: Words with a value, and the values; the number of factors is a whole one.
SETTINGS = {
    "genetic": GENETICS,
    "factors": (),
    "residual": RESIDUALS,
    "rep-effect": REP_EFFECTS,
    "means": MEANS,
    "units": UNITS,
}
#: A word without a value.
LINE_EFFECT = "line-effect"
EXAMPLE = "'free=unstructured,genetic=free,residual=by-env'"


@dataclass(frozen=True)
class ModelWords:
    """A model as the command line names it.

    Attributes
    ----------
    structure, genetic, residual, rep_effect, means, units : str
        As of `bmtme.BMTME`.
    factors : int, optional
        Of the genetic structure `FACTORED`, which no other has.
    line_effect : bool
        As of `bmtme.BMTME`.
    single : bool
        Whether it is fitted to one trait at a time.
    mean : bool
        Whether it is the means of the environments, to which none of the others applies.
    """

    structure: str = STRUCTURES[0]
    genetic: str = GENETICS[0]
    factors: int | None = None
    residual: str = RESIDUALS[0]
    rep_effect: str = REP_EFFECTS[0]
    means: str = MEANS[0]
    units: str = UNITS[0]
    line_effect: bool = False
    single: bool = False
    mean: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace, word: str = STRUCTURES[0]) -> ModelWords:
        """What the options of a command say, for a model of this structure or `SINGLE`."""
        genetic, residual = (text.replace("-", "_") for text in (args.genetic, args.residual))
        single = word == SINGLE
        structure = STRUCTURES[0] if single else word
        words = structure, genetic, args.factors, residual, args.rep_effect, args.means, args.units
        return cls(*words, args.line_effect, single)


def hyphenate(text: str) -> str:
    """Type of an option whose words Python's arguments write with underscores."""
    return text.replace("_", "-")


def add_model_options(parser: Parser, chains: int, several: bool) -> None:
    """Model and length of the run.

    Parameters
    ----------
    parser : Parser
    chains : int
        Default number of chains.
    several : bool
        Whether several models may be named.
    """
    group = parser.add_argument_group("model")
    if several:
        group.add_argument(
            "--model",
            action="append",
            metavar="MODEL",
            help=f"{', '.join(STRUCTURES)}, {SINGLE}, {MEAN}, or LABEL=WORD,WORD... (see below); once for each model "
            f"to compare (default: {STRUCTURES[0]})",
        )
    else:
        group.add_argument(
            "--model",
            choices=(*STRUCTURES, SINGLE),
            default=STRUCTURES[0],
            help="free genetic and residual covariances between traits; variances only; one variance for all; or one "
            "trait at a time, in one run (default: %(default)s)",
        )
    group.add_argument(
        "--genetic",
        type=hyphenate,
        choices=[name.replace("_", "-") for name in GENETICS],
        default=GENETICS[0],
        help="genetic covariance over environments and traits: the same of the traits in main effects and interaction; "
        "one for each of the two; a covariance of the environments for each trait, or one for all traits; factors in "
        "common and variances of their own; free (default: %(default)s)",
    )
    group.add_argument(
        "--factors", type=whole(1), metavar="N", help="factors of --genetic factor-analytic (default: 2)"
    )
    group.add_argument(
        "--residual",
        type=hyphenate,
        choices=[name.replace("_", "-") for name in RESIDUALS],
        default=RESIDUALS[0],
        help="residual covariance of the traits: one for all environments; SDs of each environment with one "
        "correlation; a covariance of each environment (default: %(default)s)",
    )
    group.add_argument(
        "--line-effect",
        action="store_true",
        help="lines differ beyond the relationship: an effect of each line outside it",
    )
    group.add_argument(
        "--rep-effect",
        choices=REP_EFFECTS,
        default=REP_EFFECTS[0],
        help="effects of the replicates of an environment (--rep): fixed where each holds five lines or more; none; "
        "fixed; or random (default: %(default)s)",
    )
    group.add_argument(
        "--means", choices=MEANS, default=MEANS[0], help="prior of the environments' means (default: %(default)s)"
    )
    group.add_argument(
        "--units",
        choices=UNITS,
        default=UNITS[0],
        help="of the standard model: raw if all traits share one unit (default: %(default)s)",
    )
    group = parser.add_argument_group("sampling")
    for option, least, default, text in (
        ("--draws", 1, 2000, "draws kept of each chain"),
        ("--tune", 0, 1000, "warm-up sweeps of each chain"),
        ("--chains", 1, chains, "chains"),
        ("--seed", 0, 1, "same seed, same numbers"),
    ):
        auto = option == "--draws" and not several
        group.add_argument(
            option,
            type=draws if auto else whole(least),
            default=default,
            metavar="N",
            help=f"{text}{', or auto: as many as suffice' if auto else ''} (default: %(default)s)",
        )
    if not several:
        add_limit_options(group)
    group.add_argument("--sampler", choices=SAMPLERS, help="default: the one that suits most data")


def read_models(parser: Parser, args: argparse.Namespace) -> dict[str, ModelWords]:
    """The models of ``--model`` by label; without the option, the default structure.

    Raises
    ------
    UsageError
        For a word that is none, one too many, or a label that is missing, misleading or used twice.
    """
    models: dict[str, ModelWords] = {}
    # Units are a matter of the standard model, so that the option is no default of others.
    usual = replace(ModelWords.of(args), units=UNITS[0])
    for text in args.model or [STRUCTURES[0]]:
        try:
            label, model = _read_model(text, usual, args.units)
        except UsageError as error:
            parser.error(f"argument --model: {error}")
        if label in models:
            parser.error(
                f"argument --model: two models are called {label!r}: give each a label of its own, such as {EXAMPLE}"
            )
        models[label] = model
    if args.units != UNITS[0] and all(model.units == UNITS[0] for model in models.values()):
        parser.error(f"argument --units: {args.units} belongs to the model standard only, and none is named")
    if args.factors is not None and all(model.factors is None for model in models.values()):
        parser.error(f"argument --factors: only genetic={FACTORED.replace('_', '-')} has factors, and none is named")
    return models


def _read_model(text: str, usual: ModelWords, units: str) -> tuple[str, ModelWords]:
    """Label and model of one ``--model``; complaints without the option's name."""
    label, equals, spec = (part.strip() for part in text.partition("="))
    from bmtme.arguments import as_label  # which loads NumPy: help needs none

    label = as_label(label, "the label of a model")
    if not equals:
        label, spec = "", label
    words = [word.strip() for word in spec.split(",")]
    if not all(words):
        raise UsageError(f"a word is empty in {text!r}, expected a model or LABEL=WORD,WORD..., such as {EXAMPLE}")
    # Of genetic=free, or diagonal,residual=by-env, the label is missing.
    unlabelled = label.replace("_", "-") in SETTINGS or "," in label
    if unlabelled or (not equals and len(words) > 1):
        raise UsageError(f"{text!r} needs a label before it, as in {f'LABEL={text}'!r}, to stand under in the results")
    if equals and not label:
        raise UsageError(f"the label is empty in {text!r}, expected LABEL=WORD,WORD..., such as {EXAMPLE}")
    model = _read_words(words, usual, with_settings=bool(equals))
    if label == SINGLE:
        if model.mean:
            raise UsageError(f"in {text!r}, {MEAN!r} is no model of one trait at a time: give it another label")
        model = replace(model, single=True)
    if model.structure == "standard" and not model.mean and not any(word.startswith("units=") for word in words):
        model = replace(model, units=units)
    own = MEAN if model.mean else SINGLE if model.single else model.structure
    if label in (*STRUCTURES, MEAN) and label != own:
        raise UsageError(f"in {text!r}, the label {label!r} is the name of another model: give it another label")
    return label or own, model


def _read_words(words: Sequence[str], usual: ModelWords, with_settings: bool) -> ModelWords:
    """The model that the words make of the usual one; settings go with a label only."""
    given: dict[str, Any] = {}
    plain = (*STRUCTURES, SINGLE, MEAN, *([LINE_EFFECT] if with_settings else []))
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if equals:
            name = name.replace("_", "-")
            if name not in SETTINGS:
                raise UsageError(
                    f"{word!r}: a model has no {name!r}; its settings are {list_names(SETTINGS)}."
                    f"{suggest(name, SETTINGS)}"
                )
            key, found = name, _read_value(word, name, value)
        elif word in plain:
            key, found = ("structure" if word in STRUCTURES else word), word
        else:
            known = (*plain, *(f"{setting}=" for setting in SETTINGS)) if with_settings else plain
            more = "" if with_settings else f"; others need a label, such as {EXAMPLE}"
            raise UsageError(f"{word!r} is none of {list_names(known)}{more}.{suggest(word, known)}")
        if key in given:
            raise UsageError(f"{word!r}: the {key} of the model is named twice, name it once")
        given[key] = found
    if MEAN in given and len(given) > 1:
        raise UsageError(f"{MEAN!r} stands alone: the means of the environments have no other words")
    flags = {name: name in given for name in (SINGLE, MEAN)}
    if given.pop(LINE_EFFECT, None):
        flags["line_effect"] = True
    model = replace(usual, **{name.replace("-", "_"): value for name, value in {**given, **flags}.items()})
    if model.genetic == FACTORED and not model.mean:
        return model
    if "factors" in given:
        raise UsageError(f"only genetic={FACTORED.replace('_', '-')} has factors: name it, or leave factors= out")
    return replace(model, factors=None)


def _read_value(word: str, name: str, value: str) -> Any:
    """The value of a setting."""
    if name == "factors":
        try:
            return whole(1)(value)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"{word!r}: {error}") from error
    allowed = [choice.replace("_", "-") for choice in SETTINGS[name]]
    if value.replace("_", "-") not in allowed:
        raise UsageError(f"{word!r}: {name} is one of {list_names(allowed)}, got {value!r}.{suggest(value, allowed)}")
    return value.replace("-", "_")


def make_model(words: ModelWords) -> BMTME | SingleTrait:
    """The model of all traits, or of one at a time.

    Raises
    ------
    UsageError
        If its units, genetic or residual structure do not fit its structure, or it has no factors.
    """
    from bmtme.model.baselines import SingleTrait
    from bmtme.model.structure import BMTME
    from bmtme.structures.factor_analytic import FactorAnalytic
    from bmtme.structures.genetics import GENETIC_STRUCTURES

    genetic = GENETIC_STRUCTURES[words.genetic]
    if words.factors is not None:
        if words.genetic != FACTORED:
            raise UsageError(
                f"factors belong to the genetic structure {FACTORED.replace('_', '-')}, not to {words.genetic}: name "
                "it, or leave them out."
            )
        genetic = FactorAnalytic(words.factors)
    model = BMTME(
        words.structure,  # type: ignore[arg-type]
        means=words.means,  # type: ignore[arg-type]
        units=words.units,  # type: ignore[arg-type]
        genetic=genetic,
        residual=words.residual,  # type: ignore[arg-type]
        line_effect=words.line_effect,
        rep_effect=words.rep_effect,  # type: ignore[arg-type]
    )
    return SingleTrait(model) if words.single else model


def make_models(models: dict[str, ModelWords]) -> dict[str, Model]:
    """The models to compare by label, baselines among them.

    Raises
    ------
    UsageError
        As for `make_model`, naming the model.
    """
    from bmtme.model.baselines import EnvironmentMeans

    made: dict[str, Model] = {}
    for label, words in models.items():
        if words.mean:
            made[label] = EnvironmentMeans()
            continue
        try:
            made[label] = make_model(words)
        except UsageError as error:
            raise UsageError(f"model {label!r}: {error}") from error
    return made
