"""``bmtme cv``: models compared by how well they predict what was hidden from them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.choices import STRUCTURES
from bmtme.cli.arguments import (
    DATA_FORMAT,
    Parser,
    add_common_options,
    add_data_options,
    add_model_options,
    check_data_options,
    number,
    split_names,
    whole,
)
from bmtme.cli.inputs import make_model, read_inputs
from bmtme.cli.outputs import save
from bmtme.cli.streams import complain, say, width

if TYPE_CHECKING:
    from bmtme.cv.schemes import CV1, CV2
    from bmtme.model.structure import BMTME

#: Exit status where some tasks failed and the others were written.
SOME_FAILED = 5

USAGE = """\
bmtme cv PHENO --relationship GRM --line COL --env COL --traits A,B,...
                --scheme cv1|cv2 --model NAME [--model NAME ...] --out DIR [options]"""

EPILOG = f"""\
schemes:
  cv1  in every environment, a random share of the lines loses all its traits;
       each of them keeps records in other environments
  cv2  one trait is hidden for all lines in one environment, in turn for every
       environment and trait

example:
  bmtme cv pheno.csv --relationship grm.csv.gz --line line --env env \\
      --traits Yield,PH --scheme cv1 --partitions 10 --model unstructured \\
      --model diagonal --workers 2 --out cvrun

{DATA_FORMAT}
Afterwards DIR holds:
  scores.csv       correlations, errors, coverage and other scores of each model,
                   partition, environment and trait; overall.csv: of means over
                   environments (line_means.csv)
  predictions.csv  every hidden value and its prediction, with 90% intervals for
                   a new plot and for the mean of the cell's hidden plots
  summary.csv      means over partitions, naive standard errors, ranks of models
  partitions.csv   what was hidden; heritability.csv: of what was observed
  run.json         settings, seed, versions, hashes of the inputs, timings, and
                   R-hat, divergent draws and acceptance of every fit
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
    group.add_argument("--scheme", choices=("cv1", "cv2"), default="cv1", help="see below (default: %(default)s)")
    group.add_argument("--partitions", type=whole(1), metavar="N", help="cv1: random partitions (default: 10)")
    group.add_argument(
        "--test-fraction",
        type=number,
        metavar="F",
        help="cv1: share of the lines hidden in an environment (default: 0.2)",
    )
    group.add_argument("--cv-traits", action="append", metavar="A,B,...", help="cv2: traits to hide (default: all)")
    group.add_argument(
        "--cv-envs", action="append", metavar="A,B,...", help="cv2: environments to hide them in (default: all)"
    )
    add_model_options(parser, chains=2, several=True)
    group = parser.add_argument_group("output")
    group.add_argument("--workers", type=whole(1), metavar="N", help="chains run at a time (default: all processors)")
    add_common_options(parser)
    parser.set_defaults(parser=parser, check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not belong together."""
    parser: Parser = args.parser
    check_data_options(args)
    others = ("--cv-traits", "--cv-envs") if args.scheme == "cv1" else ("--partitions", "--test-fraction")
    for option in others:
        if getattr(args, option[2:].replace("-", "_")) is not None:
            parser.error(f"argument {option}: does not go with --scheme {args.scheme}")
    args.cv_traits = split_names(parser, "--cv-traits", args.cv_traits)
    args.cv_envs = split_names(parser, "--cv-envs", args.cv_envs)
    args.model = args.model or [STRUCTURES[0]]
    for model in args.model:
        if args.model.count(model) > 1:
            parser.error(f"argument --model: {model} is named twice")
    if args.units == "raw" and "standard" not in args.model:
        parser.error("argument --units: raw belongs to --model standard only")


def make_scheme(args: argparse.Namespace) -> CV1 | CV2:
    """The scheme that the options name."""
    from bmtme.cv.schemes import CV1, CV2

    if args.scheme == "cv2":
        return CV2(traits=args.cv_traits, envs=args.cv_envs)
    given = {"partitions": args.partitions, "test_fraction": args.test_fraction}
    return CV1(**{name: value for name, value in given.items() if value is not None})


def make_models(args: argparse.Namespace) -> dict[str, BMTME]:
    """The models to compare by name; the units are a matter of the standard one."""
    return {
        name: make_model(name, args.means, args.units if name == "standard" else "scaled", args.genetic, args.residual)
        for name in args.model
    }


def run(args: argparse.Namespace, out: Path) -> int:
    """Cross-validate, write the folder `out`, and say what came out."""
    scheme, models = make_scheme(args), make_models(args)
    inputs = read_inputs(args)

    from bmtme.cv.run import cross_validate
    from bmtme.report.tables import describe_cv

    result = cross_validate(
        inputs.trial,
        inputs.relationship,
        models=models,
        scheme=scheme,
        draws=args.draws,
        tune=args.tune,
        chains=args.chains,
        seed=args.seed,
        workers=args.workers,
        unrelated="drop" if args.drop_unrelated else "error",
        sampler=args.sampler,
    )
    result.run |= {"command": args.words, "inputs": inputs.files}
    save(result, out)
    say(describe_cv(result.summary(), result.run, inputs.trial, width(), result.best()))
    say(f"\nwritten to {out}: {', '.join(sorted(path.name for path in out.iterdir()))}")
    if not result.failures:
        return 0
    # Which, and why, is in a warning already.
    failed = len(result.failures)
    complain(
        f"bmtme: error: {failed} fit{'' if failed == 1 else 's'} failed (see run.json); the scores of the others are "
        "written."
    )
    return SOME_FAILED
