"""What a command would run (``--dry-run``): the model as resolved, sizes, memory, and roughly how long it takes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bmtme.choices import AUTO
from bmtme.cli.inputs import Inputs
from bmtme.cli.lengths import list_lengths
from bmtme.cli.objects import say_object
from bmtme.cli.streams import say, width
from bmtme.columns import label_facts
from bmtme.memory import show_bytes

if TYPE_CHECKING:
    from bmtme.cv.models import Model
    from bmtme.cv.partitions import Scheme
    from bmtme.data.trial import Trial
    from bmtme.estimates import Part
    from bmtme.model.baselines import SingleTrait
    from bmtme.model.structure import BMTME
    from bmtme.preparation import Prepared
    from bmtme.sufficiency import Until

__all__ = ["Forecast", "add_dry_run", "describe_forecast", "foresee", "rehearse_cv", "rehearse_fit"]

#: A busy or slow machine may take so many times as long.
SLOW = 10.0
#: Draws of each chain that are reckoned with where as many are drawn as suffice.
USUAL_DRAWS = 2000


@dataclass(frozen=True)
class Forecast:
    """Of one model: what it is, and what a fit of it takes.

    Attributes
    ----------
    settings : of the model, as in ``run.json``
    facts : (label, text) on replicates and columns without a record
    parts : what has chains of its own, by its sizes
    draw_bytes : of what is drawn of means and covariances, and of the effects that are kept
    """

    settings: dict[str, Any]
    facts: list[tuple[str, str]]
    parts: list[Part]
    draw_bytes: int


def foresee(args: Any, inputs: Inputs, model: Model, keep: str) -> tuple[Forecast, Prepared]:
    """What a fit would be; data that it would refuse before a decomposition are refused.

    keep : what is kept of the effects

    Raises
    ------
    DataError, UsageError
    """
    from bmtme.checkup.blocks import refuse_effects
    from bmtme.cli.outputs import measure_size
    from bmtme.model.baselines import EnvironmentMeans, SingleTrait
    from bmtme.preparation import prepare, refuse_model, stand_in
    from bmtme.report.replicates import list_block_facts, list_covariate_facts, list_replicate_facts
    from bmtme.results.levels import describe_blocks, describe_replicates
    from bmtme.sampling import Sampling
    from bmtme.trait_sets import list_sets, naming

    trial, relationship, chains = inputs.trial, inputs.relationship, args.chains
    whole = prepare(trial, relationship, args.unrelated, stand_in)
    refuse_effects(whole.given)
    if isinstance(model, EnvironmentMeans):
        return Forecast(model.describe(), [], [], 0), whole
    sampling = Sampling.checked(**list_lengths(args), warn=False)
    sampling.refuse(model, whole.given)
    sampling.refuse_covariates(whole.given)
    sets = list_sets(whole, model, stand_in)
    for own in sets:
        with naming(own.trait):
            refuse_model(own.prepared, own.model)
    described = {own.trait: describe_replicates(own.prepared, own.model) for own in sets}
    facts = list_replicate_facts(described if isinstance(model, SingleTrait) else described[""], whole.given)
    facts += list_block_facts({own.trait: describe_blocks(own.prepared) for own in sets})
    facts += list_covariate_facts(list(whole.given.covariates))
    size = measure_size(trial, relationship, model, args.draws, chains, keep)
    return Forecast(model.describe(), facts, [own.part for own in sets], size), whole


def describe_forecast(
    trial: Trial,
    whole: Prepared,
    forecasts: Mapping[str, Forecast],
    sampling: Mapping[str, Any],
    cores: int | None,
    partitions: int = 0,
    hidden: int = 0,
    keep: str = "none",
    stream: bool = False,
    until: Until | None = None,
) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """The same as (label, text), and as an object for programs.

    Parameters
    ----------
    whole : all traits, with a `bmtme.preparation.stand_in`
    forecasts : by the label of the model, empty for a fit
    sampling : of ``run.json``
    cores : chains run at a time, all processors if None
    partitions : of a cross-validation, on each of which every model is fitted
    hidden : cells of all partitions that are predicted
    keep : what is kept of the effects of a fit
    stream : whether draws of a fit are on the disc alone
    until : where as many draws are taken as suffice; those of `sampling` are reckoned with
    """
    from bmtme.collection import describe_data
    from bmtme.engines.rotated.rehearsal import is_compiled
    from bmtme.estimates import estimate_cv, estimate_fit
    from bmtme.machine import count_cores
    from bmtme.report.tables import list_data_facts, name_model
    from bmtme.sampling import Sampling
    from bmtme.sufficiency import FIRST
    from bmtme.words import count_noun

    cores = cores or count_cores()
    data = describe_data(whole)
    for name in ("relationship_rank", "imputed_share"):  # not known without a decomposition, or of a training part
        data.pop(name)
    length, fits = Sampling(**sampling), max(1, partitions)
    parts = [part for forecast in forecasts.values() for part in forecast.parts] * fits
    together = max(1, min(cores, length.chains * len(parts)))
    if partitions:
        bases = [data["lines"]] * (0 if whole.relationship.is_identity else partitions)
        rows = hidden * len(forecasts)
        estimate = estimate_cv(parts, bases, rows, length, cores, True)
    else:
        estimate = estimate_fit(parts, length, keep, cores, stream)
    memory, seconds = estimate.memory, estimate.seconds
    size = max(forecast.draw_bytes for forecast in forecasts.values())
    compiled = is_compiled(sampling["sampler"])
    facts = list_data_facts(data, trial)
    for label, forecast in forecasts.items():
        words = name_words(forecast, name_model)
        facts.append(("model", f"{label}: {words}" if label else words))
        facts += forecast.facts
    drawn = count_noun(sampling["draws"], "draw")
    if until is not None:
        drawn = f"as many draws as give {until.ess:,} effective ones, {FIRST} at first,"
    swept = f"{drawn} after {count_noun(sampling['tune'], 'warm-up sweep')}"
    each = f" on each of {count_noun(partitions, 'partition')}" if partitions else ""
    chains = f"{count_noun(sampling['chains'], 'chain')} of {swept}{each}, {sampling['sampler']} sampler"
    facts.append(("chains", f"{chains}, seed {sampling['seed']}; {together} at a time"))
    if until is not None:
        limit = "" if until.time_limit is None else f", and no more are asked for after {until.time_limit:g} s"
        facts.append(("reckoned", f"with {USUAL_DRAWS:,} draws of each chain: how many it takes, the run shows{limit}"))
    written = "" if partitions or stream else f", {show_bytes(size)} of it draws that are written"
    facts.append(("memory", f"about {show_bytes(memory)}{written}"))
    if stream:
        facts.append(("disc", f"about {show_bytes(estimate.disc)} at the most, and {show_bytes(size)} at the end"))
    time = (
        f"roughly {show_seconds(seconds)} on a fast machine with nothing else to do; a slow or busy one may take ten "
        "times as long"
    )
    time += "" if compiled else "; two or three minutes more, once, to compile the sampler"
    facts.append(("time", time))
    content = {
        "dry_run": True,
        "data": data,
        "models": {label or "model": forecast.settings for label, forecast in forecasts.items()},
        "sampling": dict(sampling) | ({} if until is None else {"draws": AUTO, "reckoned_draws": USUAL_DRAWS}),
        "partitions": partitions or None, "at_a_time": together,
        "memory_bytes": int(memory), "disc_bytes": int(estimate.disc) or None, "draw_bytes": int(size),
        "seconds": [round(seconds, 1), round(SLOW * seconds, 1)],
        "compiled": compiled,
    }  # fmt: skip
    return facts, content


def name_words(forecast: Forecast, name: Any) -> str:
    """A model in words, with the prior of its means."""
    settings = forecast.settings
    if "structure" not in settings:
        return "means of the environments, nothing to be sampled"
    return f"{name(settings)}, means {settings['means']}"


def show_seconds(seconds: float) -> str:
    """A time to about two digits."""
    if seconds < 90:
        return f"{max(1.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.2g} hours"


class DryRun(argparse.Action):
    """A flag beside which ``--out`` may be left out, as nothing is written."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: Any, **__: Any) -> None:
        """Set the flag."""
        setattr(namespace, self.dest, True)
        for action in parser._actions:
            if action.dest == "out":
                action.required = False


def add_dry_run(group: Any) -> None:
    """The option."""
    group.add_argument(
        "--dry-run",
        action=DryRun,
        nargs=0,
        default=False,
        help="say what would run, with sizes, memory and a rough time, and write nothing; --out may be left out",
    )


def rehearse_fit(args: argparse.Namespace, inputs: Inputs, model: BMTME | SingleTrait) -> int:
    """Say what would run."""
    from bmtme.results.summary import GOOD_ESS
    from bmtme.sufficiency import Until

    until = None
    if args.draws == AUTO:
        until, args.draws = Until.checked(args.ess or GOOD_ESS, args.time_limit), USUAL_DRAWS
    lengths = list_lengths(args)
    forecast, whole = foresee(args, inputs, model, args.keep_effects)
    facts, content = describe_forecast(
        inputs.trial,
        whole,
        {"": forecast},
        lengths,
        args.cores,
        keep=args.keep_effects,
        until=until,
        stream=args.stream,
    )
    return tell(args, facts, content)


def rehearse_cv(
    args: argparse.Namespace, inputs: Inputs, models: Mapping[str, Model], scheme: Scheme, clones: dict[str, Any]
) -> int:
    """Say what would run."""
    from bmtme.cv.clones import choose_clones
    from bmtme.cv.partitions import draw_partitions
    from bmtme.data.relationship.clones import CLONES

    forecasts, whole = {}, None
    for label, model in models.items():
        forecasts[label], whole = foresee(args, inputs, model, "none")
    assert whole is not None
    same, _ = choose_clones(clones.get("clones", CLONES), whole.given, inputs.relationship)
    joined: Any = scheme
    if same and callable(getattr(scheme, "join", None)):
        joined = joined.join(same)
    partitions = draw_partitions(joined, whole.given, args.seed)
    hidden = sum(int(partition.test_cells(whole.given).sum()) for partition in partitions)
    lengths = list_lengths(args)
    facts, content = describe_forecast(inputs.trial, whole, forecasts, lengths, args.workers, len(partitions), hidden)
    return tell(args, facts, content)


def tell(args: argparse.Namespace, facts: list[tuple[str, str]], content: dict[str, Any]) -> int:
    """Say it, for people or for programs."""
    if args.json:
        say_object(args, None, **content)
    else:
        say(label_facts([("dry run", "nothing is sampled, nothing is written"), *facts], width()))
    return 0
