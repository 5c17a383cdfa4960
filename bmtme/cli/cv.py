"""``bmtme cv``: models compared by how well they predict what was hidden from them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.choices import PREDICTED
from bmtme.cli.arguments import (
    DATA_FORMAT,
    Parser,
    add_common_options,
    add_data_options,
    add_table_options,
    check_data_options,
    file_name,
    number,
    split_names,
    whole,
)
from bmtme.cli.clusters import open_cluster
from bmtme.cli.forecast import add_dry_run, rehearse_cv
from bmtme.cli.inputs import check_optional_out, describe_file, read_inputs
from bmtme.cli.lengths import add_checkpoint_option, list_lengths
from bmtme.cli.models import add_model_options, make_models, read_models
from bmtme.cli.objects import LONG, add_json_option, list_rows, say_object
from bmtme.cli.outputs import describe_files, describe_run, save_figures
from bmtme.cli.streams import complain, say, width
from bmtme.errors import UsageError

if TYPE_CHECKING:
    from bmtme.cv.partitions import Scheme
    from bmtme.cv.result import CrossValidation
    from bmtme.data.trial import Trial

#: Exit status where some tasks failed and the others were written.
SOME_FAILED = 5
#: Stands for the models that `bmtme.suggest_models` finds.
SUGGESTED = "suggested"
#: Options about the models that are named, of which the suggested ones have their own.
MODEL_OPTIONS = ("--genetic", "--factors", "--residual", "--line-effect", "--means", "--units")
#: Schemes, and the options of a scheme with those that each goes with.
SCHEMES = ("cv1", "cv2", "new-lines", "new-envs", "new-lines-new-envs", "file")
GOES_WITH = {
    "--partitions": ("cv1", "new-lines"),
    "--test-fraction": ("cv1", "new-lines"),
    "--folds": ("new-lines", "new-lines-new-envs"),
    "--groups": ("new-lines", "new-lines-new-envs"),
    "--families": ("new-lines", "new-lines-new-envs"),
    "--cv-traits": ("cv2",),
    "--cv-of": ("cv2",),
    "--cv-envs": ("cv2", "new-envs", "new-lines-new-envs"),
    "--partitions-file": ("file",),
}

USAGE = """\
bmtme cv PHENO --relationship GRM --line COL --env COL --traits A,B,...
                --scheme SCHEME --model MODEL [--model MODEL ...] --out DIR
                [options]"""

EPILOG = f"""\
schemes: which question is asked (in brackets, what others call it)
  cv1        lines in environments where they were not grown, known from other
             environments: sparse testing (CV2)
  cv2        a trait in an environment where it was not measured, with the other
             traits seen there (CV0, for one trait)
  new-lines  lines never grown, in known environments (CV1): in --folds, each
             line hidden once, or in random --partitions
  new-envs   known lines in an environment never seen, one at a time (CV0)
  new-lines-new-envs
             lines never grown in an environment never seen (CV00)
  file       the partitions of a table, such as partitions.csv of another run

Clones, lines that are one by the relationship (--clones), do not tell each
other: cv1 hides those of an environment together there; where lines are new,
clones are hidden together, and so are the lines of a family, by a column of the
phenotypes (--groups) or by a pedigree (--families).

models:
  unstructured, diagonal, standard
             free genetic and residual covariances between traits; variances
             only; one variance for all
  single     unstructured, fitted to one trait at a time: do several traits help?
  mean       the means of the environments: does anything help? (by MSEP; it has
             no correlation)
  suggested  the handful that is worth comparing for these data and this scheme,
             which is told; options such as --residual are not for these
  LABEL=WORD,WORD...
             any of these under a label of its own, with genetic=, factors=,
             residual=, rep-effect=, means=, units= and line-effect as of the
             options, such as
             free=unstructured,genetic=free,residual=by-env
             or single=diagonal (single: one trait at a time)

examples:
  bmtme cv pheno.csv --relationship grm.csv.gz --line line --env env \\
      --traits Yield,PH --scheme new-lines --folds 5 --groups family \\
      --model unstructured --model single --model mean --out cvrun
  bmtme cv pheno.csv --relationship grm.csv.gz --line line --env env \\
      --traits Yield,PH --scheme cv1 --partitions 10 \\
      --model unstructured --model "own=unstructured,residual=by-env" --out cvrun

{DATA_FORMAT}
With --json all that is said is one object: settings, data, warnings, failures,
advice, summary, comparison. --dry-run fits and writes nothing: it says what would
run, with memory and a rough time.

Afterwards DIR holds:
  scores.csv        correlations, errors, coverage and other scores of each model,
                    partition, environment and trait
  overall.csv       the same scores of the lines' means over environments
  predictions.csv   every scored value and its prediction, with 90% intervals for
                    a new plot and for the mean of the cell's hidden plots
  line_means.csv    the same of the lines' means over environments
  partitions.csv    what was hidden and scored; --partitions-file takes it
  summary.csv       means over partitions, naive standard errors, ranks of models
  comparison.csv    differences between models by Pearson and MSEP, with intervals
                    and p that mind what partitions share
  heritability.csv  of what was observed, the same for all models
  run.json          settings, seed, versions, hashes of the inputs, timings, and
                    R-hat, divergent draws and acceptance of every fit
and, with --figures,
  accuracy.png      Pearson correlations of the models, in every environment
  differences.png   differences between them, with intervals
  calibration-MODEL.png
                    observed against predicted values, for each model
'bmtme compare' compares the models of several such runs.
While it runs, DIR holds checkpoint/, from which 'bmtme resume DIR' goes on.
Exit status 5: some fits failed; the scores of the others are written.
"""


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "cv",
        help="compare models by cross-validation",
        description="Cross-validate models: hide values, fit, and score the predictions of what was hidden.",
        usage=USAGE,
        epilog=EPILOG,
    )
    add_data_options(parser)
    group = parser.add_argument_group("scheme")

    def add(option: str, text: str, **settings: Any) -> None:
        group.add_argument(option, help=f"{', '.join(GOES_WITH[option])}: {text}", **settings)

    group.add_argument(
        "--scheme",
        choices=SCHEMES,
        default=SCHEMES[0],
        metavar="SCHEME",
        help=f"{', '.join(SCHEMES)}; see below (default: %(default)s)",
    )
    add("--folds", "folds of the lines, each hidden in turn (default: 5)", type=whole(2), metavar="N")
    add("--partitions", "random partitions (default of cv1: 10)", type=whole(1), metavar="N")
    add("--test-fraction", "share of the lines hidden in one (default: 0.2)", type=number, metavar="F")
    add("--groups", "column with the family of each line; families are never split", metavar="COL")
    add("--families", "pedigree, of which full sibs are a family, in place of --groups", type=file_name, metavar="PED")
    add("--cv-traits", "traits to hide (default: all)", action="append", metavar="A,B,...")
    add(
        "--cv-of",
        "what is predicted: the genetic value, or the record, with what the other traits of the plot tell of its "
        f"residual: {' or '.join(PREDICTED)} (default: {PREDICTED[0]})",
        choices=PREDICTED,
        metavar="WHAT",
    )
    add("--cv-envs", "environments to hide, or to hide them in (default: all)", action="append", metavar="A,B,...")
    add(
        "--partitions-file",
        "table with the columns partition, line and, if not all are meant, env, trait, scored",
        type=file_name,
        metavar="F",
    )
    group.add_argument(
        "--clones",
        type=clone_limit,
        metavar="R",
        help="correlation by the relationship from which on lines count as one genotype and are hidden together, or "
        "the word none; lower it where duplicates differ by errors of their markers (default: 0.999)",
    )
    group = parser.add_argument_group("scores")
    group.add_argument(
        "--score",
        action="append",
        metavar="NAME,...",
        help="scores in the table that is printed, columns of scores.csv; the files hold all (default: pearson,msep)",
    )
    group.add_argument(
        "--top",
        type=number,
        default=0.2,
        metavar="F",
        help="share of the lines taken for the best ones, which are to be found (default: %(default)s)",
    )
    group.add_argument(
        "--lowest", action="append", metavar="A,B,...", help="traits of which the lowest values are the best"
    )
    add_model_options(parser, chains=2, several=True)
    group = parser.add_argument_group("output")
    group.add_argument("--figures", action="store_true", help="draw figures into DIR; see below")
    group.add_argument(
        "--workers",
        type=whole(1),
        metavar="N",
        help="chains run at a time (default: all processors), or with --scheduler fits under way",
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="address of a Dask scheduler, such as tcp://10.0.0.1:8786, whose workers run the fits",
    )
    add_checkpoint_option(group)
    add_json_option(group)
    add_dry_run(group)
    add_table_options(parser)
    add_common_options(parser)
    parser.set_defaults(parser=parser, check=check, run=run, check_out=check_optional_out)


def clone_limit(text: str) -> float | bool:
    """Type of an option: a correlation above 0 and up to 1, or False for the word none."""
    if text.strip().lower() == "none":
        return False
    try:
        value = number(text)
    except argparse.ArgumentTypeError:
        value = 0.0
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a correlation above 0 and up to 1, or none, got {text!r}")
    return value


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not belong together."""
    parser: Parser = args.parser
    check_data_options(args)
    check_scheme_options(args)
    args.score = split_names(parser, "--score", args.score) or []
    check_scores(parser, args.score)
    if not 0.0 < args.top < 1.0:
        parser.error(f"argument --top: expected a share between 0 and 1, got {args.top:g}")
    args.lowest = split_names(parser, "--lowest", args.lowest) or []
    args.suggested = SUGGESTED in (args.model or [])
    named = [text for text in args.model or [] if text != SUGGESTED]
    if args.suggested and len(named) < len(args.model) - 1:
        parser.error(f"argument --model: {SUGGESTED} is named twice, name it once")
    args.model = named
    if args.suggested and not named:
        refuse_model_options(args)
    args.models = read_models(parser, args) if named or not args.suggested else {}


def refuse_model_options(args: argparse.Namespace) -> None:
    """Refuse options about models where none is named that they could be about."""
    parser: Parser = args.parser
    given = {word.partition("=")[0] for word in args.words}
    for option in MODEL_OPTIONS:
        if option in given:
            parser.error(
                f"argument {option}: the suggested models have their own; leave the option out, or name a model that "
                "it is for with another --model"
            )


def check_scores(parser: Parser, names: Sequence[str]) -> None:
    """Refuse names of scores that are none, or stand there twice."""
    if not names:
        return
    from bmtme.results.scores import SCORES
    from bmtme.words import list_names, suggest

    known = [score.name for score in SCORES]
    for name in names:
        if name not in known:
            parser.error(
                f"argument --score: {name!r} is no score, which are {list_names(known, len(known))}"
                f"{suggest(name, known).replace(' Did', '. Did')}"
            )
        if names.count(name) > 1:
            parser.error(f"argument --score: {name!r} stands there twice")


def check_scheme_options(args: argparse.Namespace) -> None:
    """Refuse options of other schemes than the one that is named, and those that contradict each other."""
    parser: Parser = args.parser
    for option, schemes in GOES_WITH.items():
        if getattr(args, option[2:].replace("-", "_")) is not None and args.scheme not in schemes:
            parser.error(
                f"argument {option}: does not go with --scheme {args.scheme}, but with --scheme {' or '.join(schemes)}"
            )
    if args.scheme == "new-lines":
        if args.folds is not None and args.partitions is not None:
            parser.error(
                "argument --partitions: does not go with --folds: lines are hidden once each, in folds, or in random "
                "partitions; leave one of the options out"
            )
        if args.test_fraction is not None and args.partitions is None:
            parser.error(
                "argument --test-fraction: goes with random partitions, of which --partitions says how many; of k "
                "folds each hides a share of 1/k"
            )
    if args.test_fraction is not None and not 0.0 < args.test_fraction < 1.0:
        parser.error(f"argument --test-fraction: expected a share between 0 and 1, got {args.test_fraction:g}")
    if args.scheme == "file" and args.partitions_file is None:
        parser.error("argument --scheme: file needs --partitions-file, the table of the partitions")
    args.cv_traits = split_names(parser, "--cv-traits", args.cv_traits)
    args.cv_envs = split_names(parser, "--cv-envs", args.cv_envs)
    if args.groups is not None and args.families is not None:
        parser.error("argument --families: does not go with --groups: both say which lines are a family")
    if args.groups is not None:
        roles = {"--line": [args.line], "--env": [args.env], "--trait": [args.trait], "--value": [args.value]}
        roles |= {"--traits": args.traits or [], "--rep": args.rep or [], "--n-plots": [args.n_plots]}
        roles |= {"--blocks": args.blocks or [], "--covariates": args.covariates or []}
        roles |= {"--se": list(args.se.values()) if isinstance(args.se, dict) else [args.se]}
        for option, columns in roles.items():
            if args.groups in columns:
                parser.error(f"argument --groups: the column {args.groups!r} is that of {option} already")


def make_scheme(args: argparse.Namespace) -> Scheme:
    """The scheme that the options name; the groups of lines are not read yet."""
    from bmtme.cv import CV1, CV2, NewEnvironments, NewLines, NewLinesNewEnvironments, Partitions

    if args.scheme == "file":
        return Partitions.read(args.partitions_file)
    if args.scheme == "cv2":
        return CV2(traits=args.cv_traits, envs=args.cv_envs, of=args.cv_of or PREDICTED[0])
    if args.scheme == "new-envs":
        return NewEnvironments(envs=args.cv_envs)
    if args.scheme == "new-lines-new-envs":
        folds = {} if args.folds is None else {"folds": args.folds}
        return NewLinesNewEnvironments(envs=args.cv_envs, **folds)
    if args.scheme == "new-lines":
        return NewLines(args.folds, args.partitions, args.test_fraction)
    given = {"partitions": args.partitions, "test_fraction": args.test_fraction}
    return CV1(**{name: value for name, value in given.items() if value is not None})


def run(args: argparse.Namespace, out: Path | None) -> int:
    """Cross-validate, write the folder `out`, and say what came out; or say what would be done."""
    models, scheme = make_models(args.models), make_scheme(args)
    inputs = read_inputs(args, args.groups, args.families)
    if args.partitions_file is not None:
        inputs.files["partitions"] = describe_file(args.partitions_file)
    if inputs.groups is not None:
        scheme = replace(scheme, groups=inputs.groups)  # type: ignore[type-var]  # of new lines, which have them

    clones = {} if args.clones is None else {"clones": args.clones}
    if args.suggested:
        from bmtme.suggestions import suggest_models

        suggestions = suggest_models(inputs.trial, inputs.relationship, scheme, seed=args.seed, **clones)
        if not args.json:
            say(f"{suggestions}\n")
        if twice := [label for label in suggestions if label in models]:
            raise UsageError(
                f"--model: two models are called {twice[0]!r}, one of them suggested: give yours another label, such "
                f"as mine={twice[0]}."
            )
        models = {**suggestions, **models}
    if args.dry_run or out is None:
        return rehearse_cv(args, inputs, models, scheme, clones)
    from bmtme.cv.request import CVRequest
    from bmtme.cv.result import KIND
    from bmtme.cv.run import compare_models
    from bmtme.data.relationship.clones import CLONES
    from bmtme.results.checkpoint import Checkpoint

    request = CVRequest.checked(
        inputs.trial,
        inputs.relationship,
        models,
        scheme,
        **list_lengths(args),
        unrelated=args.unrelated,
        top=args.top,
        lowest=args.lowest,
        clones=clones.get("clones", CLONES),
    )
    about = describe_run(args, inputs.files, inputs.seconds, score=args.score, figures=args.figures)
    begin = partial(Checkpoint.begin, out, KIND, request, about=about, every=args.checkpoint_every)
    with open_cluster(args.scheduler) as executor:
        result = compare_models(request, args.workers, None, begin, executor)
    return tell_cv(args, result, inputs.trial, out)


def tell_cv(args: argparse.Namespace, result: CrossValidation, trial: Trial, out: Path) -> int:
    """Draw figures if they are wanted, and say what came out; returns the exit status."""
    from bmtme.cv.advice import STARRED, advise, find_best
    from bmtme.cv.result import tabulate_differences
    from bmtme.report.tables import describe_cv

    if args.figures:
        save_figures(result, out)
    if args.json:
        say_object(
            args,
            out,
            settings=result.run["settings"],
            data=result.run["data"],
            warnings=result.warnings,
            failures=[dict(zip(("model", "partition", "message"), each, strict=True)) for each in result.failures],
            advice=advise(result, LONG).splitlines(),
            summary=list_rows(result.summary()),
            comparison=list_rows(tabulate_differences(result)),
        )
        return finish(result.failures)
    best, known = find_best(result, args.score or STARRED)
    starred = {metric for metric, *_ in best}
    sizes = {metric: size for metric, size in known.items() if metric in starred}
    say(describe_cv(result.summary(), result.run, trial, width(), best, args.score, result.scores, sizes))
    advice = result.advice()
    if advice:
        say(f"\n{advice}")
    say(f"\n{describe_files(out)}")
    return finish(result.failures)


def finish(failures: Sequence[Any]) -> int:
    """The exit status; that some fits failed is said."""
    if not failures:
        return 0
    # Which, and why, is in a warning already.
    failed = len(failures)
    complain(
        f"bmtme: error: {failed} fit{'' if failed == 1 else 's'} failed (see run.json); the scores of the others are "
        "written."
    )
    return SOME_FAILED
