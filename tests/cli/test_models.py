"""The words of --model: what they make, and what is said of a word that is none."""

from __future__ import annotations

import string

import numpy as np
import pytest

import bmtme
from bmtme.choices import STRUCTURES
from bmtme.cli.arguments import Parser
from bmtme.cli.models import ModelWords, add_model_options, make_models, read_models
from bmtme.structures.free import Free


def read(*words: str) -> dict[str, ModelWords]:
    parser = Parser(prog="bmtme cv")
    add_model_options(parser, chains=2, several=True)
    return read_models(parser, parser.parse_args(list(words)))


def name(*models: str) -> list[str]:
    return [word for model in models for word in ("--model", model)]


def test_default() -> None:
    assert read() == {"unstructured": ModelWords()}
    assert make_models(read()) == {"unstructured": bmtme.BMTME()}


def test_plain_words() -> None:
    made = make_models(read(*name("diagonal", "single", "mean", "standard")))
    assert list(made) == ["diagonal", "single", "mean", "standard"]
    assert made["diagonal"] == bmtme.BMTME("diagonal")
    assert made["single"] == bmtme.SingleTrait(bmtme.BMTME("unstructured"))
    assert made["mean"] == bmtme.EnvironmentMeans()


def test_labels() -> None:
    models = name("a = diagonal , residual = by-env", "b=genetic=free,residual=by_env", "single=diagonal,means=flat")
    made = make_models(read(*models, *name("c=single,genetic=main-and-interaction", "d=mean", "e=standard,units=raw")))
    assert made["a"] == bmtme.BMTME("diagonal", residual="by_env")
    assert made["b"] == bmtme.BMTME(genetic=Free(), residual="by_env")
    assert made["single"] == bmtme.SingleTrait(bmtme.BMTME("diagonal", means="flat"))
    assert made["c"] == bmtme.SingleTrait(bmtme.BMTME(genetic=bmtme.MainAndInteraction()))
    assert made["d"] == bmtme.EnvironmentMeans()
    assert made["e"] == bmtme.BMTME("standard", units="raw")
    made = make_models(read(*name("f=single,genetic=free,line-effect", "diagonal"), "--residual", "by-env"))
    assert made["f"] == bmtme.SingleTrait(bmtme.BMTME(genetic=Free(), residual="by_env", line_effect=True))
    assert made["diagonal"] == bmtme.BMTME("diagonal", residual="by_env")
    made = make_models(read(*name("g=genetic=environments-by-trait", "unstructured"), "--genetic", "separable"))
    assert made["g"] == bmtme.BMTME(genetic=bmtme.EnvironmentsByTrait())
    assert made["unstructured"] == bmtme.BMTME(genetic=bmtme.Separable())
    assert make_models(read("--line-effect"))["unstructured"] == bmtme.BMTME(line_effect=True)


def test_effects_of_replicates() -> None:
    made = make_models(read(*name("a=unstructured,rep-effect=none", "b=diagonal,rep_effect=random", "diagonal")))
    assert made["a"] == bmtme.BMTME(rep_effect="none")
    assert made["b"] == bmtme.BMTME("diagonal", rep_effect="random")
    assert made["diagonal"] == bmtme.BMTME("diagonal", rep_effect="auto")
    made = make_models(read("--rep-effect", "fixed", *name("single", "c=single,rep-effect=auto")))
    assert made["single"] == bmtme.SingleTrait(bmtme.BMTME(rep_effect="fixed"))
    assert made["c"] == bmtme.SingleTrait(bmtme.BMTME())


def test_factors() -> None:
    text = "fa3=unstructured,genetic=factor-analytic,factors=3"
    assert make_models(read(*name(text))) == {"fa3": bmtme.BMTME(genetic=bmtme.FactorAnalytic(3))}
    options = ["--genetic", "factor-analytic", "--factors", "1"]
    made = make_models(read(*options, *name("unstructured", "a=genetic=free", "b=factors=4", "mean")))
    factors = [getattr(getattr(model, "genetic", None), "factors", None) for model in made.values()]
    assert factors == [1, None, 4, None]
    assert make_models(read(*options[:2]))["unstructured"] == bmtme.BMTME(genetic=bmtme.FactorAnalytic())


def test_options_are_defaults_of_all() -> None:
    options = ["--residual", "common-correlation", "--means", "flat"]
    made = make_models(read(*options, *name("unstructured", "a=diagonal,residual=shared", "single", "mean")))
    assert made["unstructured"] == bmtme.BMTME(residual="common_correlation", means="flat")
    assert made["a"] == bmtme.BMTME("diagonal", means="flat")
    assert made["single"] == bmtme.SingleTrait(bmtme.BMTME(residual="common_correlation", means="flat"))
    units = make_models(read("--units", "raw", *name("unstructured", "standard", "s=standard,units=scaled")))
    assert [model.units for model in units.values()] == ["scaled", "raw", "scaled"]


@pytest.mark.parametrize(
    "models, parts",
    [
        (["diagnoal"], ["'diagnoal' is none of", "'unstructured', 'diagonal'", "Did you mean 'diagonal'? See 'bmtme"]),
        (["Unstructured"], ["Did you mean 'unstructured'?"]),
        (["genetic=free"], ["needs a label", "'LABEL=genetic=free'"]),
        (["diagonal,residual=by-env"], ["needs a label", "'LABEL=diagonal,residual=by-env'"]),
        (["diagonal,single"], ["needs a label"]),
        (["=diagonal"], ["the label is empty"]),
        (["a\rb=diagonal"], ["label of a model", r"control character '\r'"]),
        (["\udcff=diagonal"], ["label of a model", "half of a pair"]),
        ([f"{'x' * 201}=diagonal"], ["label of a model", "201 characters"]),
        (["a="], ["a word is empty in 'a='"]),
        (["a=diagonal,,single"], ["a word is empty"]),
        ([""], ["a word is empty"]),
        (["a=diagonal,standard"], ["'standard': the structure of the model is named twice"]),
        (["a=genetic=free,genetic=free"], ["the genetic of the model is named twice"]),
        (["a=genetics=free"], ["no 'genetics'", "Did you mean 'genetic'?"]),
        (["a=genetic=fee"], ["genetic is one of 'proportional', 'main-and-interaction'", "Did you mean 'free'?"]),
        (["a=residual=by env"], ["Did you mean 'by-env'?"]),
        (["a=genetic=factor-analytic,factors=0"], ["expected a whole number of at least 1, got '0'"]),
        (["a=genetic=factor-analytic,factors=two"], ["expected a whole number of at least 1, got 'two'"]),
        (["a=genetic=free,factors=2"], ["only genetic=factor-analytic has factors"]),
        (["a=mean,diagonal"], ["'mean' stands alone"]),
        (["single=mean"], ["'mean' is no model of one trait at a time"]),
        (["diagonal=standard"], ["the label 'diagonal' is the name of another model"]),
        (["mean=unstructured"], ["the label 'mean' is the name of another model"]),
        (["diagonal", "diagonal"], ["two models are called 'diagonal'", "label of its own"]),
        (["a=diagonal", " a = standard"], ["two models are called 'a'"]),
    ],
)
def test_what_is_no_model(models: list[str], parts: list[str]) -> None:
    with pytest.raises(bmtme.UsageError) as caught:
        read(*name(*models))
    message = str(caught.value)
    assert message.startswith("argument --model: ")
    assert message.count("--help") == 1
    for part in parts:
        assert part in message


def test_what_does_not_go_together() -> None:
    with pytest.raises(bmtme.UsageError, match="--units: raw belongs to the model standard only"):
        read("--units", "raw", *name("diagonal", "mean"))
    with pytest.raises(bmtme.UsageError, match="--factors: only genetic=factor-analytic has factors"):
        read("--factors", "3", *name("diagonal", "mean"))
    with pytest.raises(bmtme.UsageError, match="model 'a': structure='standard' does not go with"):
        make_models(read(*name("unstructured", "a=standard,genetic=free")))
    with pytest.raises(bmtme.UsageError, match="model 'a': units='raw' belongs to the standard model"):
        make_models(read(*name("a=diagonal,units=raw")))


def test_any_text_is_a_model_or_one_complaint() -> None:
    """Words, their pieces and signs at random: models come out, or a UsageError, and nothing else."""
    rng = np.random.default_rng(1)
    pieces = [*STRUCTURES, "single", "mean", "genetic=", "residual=", "units=", "means=", "free", "by-env", "raw"]
    pieces += ["factors=", "2", *"=,, ", "é", "x", *rng.choice(list(string.printable), 5)]
    made, complaints = 0, []
    for _ in range(2000):
        text = "".join(rng.choice(pieces, rng.integers(1, 6)))
        try:
            models = read(f"--model={text}")
        except bmtme.UsageError as error:
            complaints.append(str(error))
        else:
            made += 1
            assert len(models) == 1
    assert 20 < made < 1000
    assert all(text.startswith("argument --model: ") and text.endswith("--help'.") for text in complaints)
