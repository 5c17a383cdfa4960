"""``bmtme simulate``: a trial with known parameters, as files for the other commands."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bmtme.choices import FACTORED, GENETICS, RELATIONSHIPS, RESIDUALS
from bmtme.cli.arguments import Parser, add_common_options, number, whole
from bmtme.cli.streams import say

#: Options that are keywords of `bmtme.simulate`.
OPTIONS = (
    "lines",
    "envs",
    "traits",
    "reps",
    "genetic_correlation",
    "residual_correlation",
    "heritability",
    "interaction",
    "missing",
    "missing_traits",
    "relationship",
    "seed",
    "residual",
    "line_effect",
    "spread",
)

EPILOG = """\
example:
  bmtme simulate --lines 80 --reps 2 --missing 0.2 --out sim

Afterwards DIR holds:
  phenotypes.csv    wide: line, env, rep and the traits T1, T2, ...
  relationship.csv  the relationship of the lines
  truth.json        the parameters and effects that the phenotypes were drawn with
  markers.csv       allele counts, with --relationship markers
"""


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "simulate",
        help="make a trial with known parameters",
        description="Draw a trial from the model itself, with known parameters.",
        epilog=EPILOG,
    )
    for option, default, text in (
        ("--lines", 80, "lines"),
        ("--envs", 3, "environments"),
        ("--traits", 3, "traits"),
        ("--reps", 1, "plots of a line in an environment"),
    ):
        parser.add_argument(option, type=whole(1), default=default, metavar="N", help=f"{text} (default: %(default)s)")
    for option, what in (("--genetic-correlation", "genetic"), ("--residual-correlation", "residual")):
        parser.add_argument(
            option,
            type=number,
            default=0.85,
            metavar="R",
            help=f"{what} correlation of any two traits (default: %(default)s)",
        )
    parser.add_argument(
        "--heritability",
        metavar="H,...",
        help="of a plot: one number, or one for each trait (default: 0.2,0.5,0.8 in turn)",
    )
    parser.add_argument(
        "--interaction",
        metavar="V,...",
        help="variance of line x environment effects relative to the main effects: one number, or one for each "
        "environment (default: 0.5)",
    )
    for option, what in (("--missing", "line x environment cells"), ("--missing-traits", "values of the records")):
        parser.add_argument(
            option, type=number, default=0.0, metavar="F", help=f"share of the {what} that is missing (default: 0)"
        )
    parser.add_argument(
        "--relationship",
        choices=RELATIONSHIPS,
        default=RELATIONSHIPS[0],
        help="all lines alike, families of 10, or made from simulated markers (default: %(default)s)",
    )
    parser.add_argument(
        "--genetic",
        choices=[name.replace("_", "-") for name in GENETICS],
        default=GENETICS[0],
        help="genetic covariance over environments and traits, as of bmtme fit (default: %(default)s)",
    )
    parser.add_argument(
        "--factors", type=whole(1), metavar="N", help="factors of --genetic factor-analytic (default: 2)"
    )
    parser.add_argument(
        "--residual",
        choices=[name.replace("_", "-") for name in RESIDUALS],
        default=RESIDUALS[0],
        help="residual covariance of the traits, as of bmtme fit (default: %(default)s)",
    )
    parser.add_argument(
        "--line-effect", action="store_true", help="lines differ beyond the relationship, by a quarter of the genetic "
        "variance"
    )  # fmt: skip
    parser.add_argument(
        "--spread",
        type=number,
        default=0.2,
        metavar="S",
        help="standard deviation of the parameters of other structures than proportional and shared, around these "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=whole(0), default=1, metavar="N", help="same seed, same data (default: %(default)s)"
    )
    add_common_options(parser)
    parser.set_defaults(parser=parser, check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Turn lists of numbers into numbers, and words into those of the library."""
    if args.factors is not None and args.genetic.replace("-", "_") != FACTORED:
        args.parser.error(f"argument --factors: only --genetic {FACTORED.replace('_', '-')} has factors")
    args.residual = args.residual.replace("-", "_")
    args.heritability = split_numbers(args.parser, "--heritability", args.heritability)
    args.interaction = split_numbers(args.parser, "--interaction", args.interaction)


def split_numbers(parser: Parser, option: str, text: str | None) -> float | list[float] | None:
    """One number, or several between commas."""
    if text is None:
        return None
    try:
        numbers = [number(part.strip()) for part in text.split(",")]
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument {option}: {error}")
    return numbers[0] if len(numbers) == 1 else numbers


def name_model(args: argparse.Namespace) -> str:
    """Options of `bmtme fit` for the structures that are not its defaults."""
    words = []
    if args.genetic != GENETICS[0]:
        words.append(f" --genetic {args.genetic}")
    if args.factors is not None:
        words.append(f" --factors {args.factors}")
    if args.residual != RESIDUALS[0]:
        words.append(f" --residual {args.residual.replace('_', '-')}")
    if args.line_effect:
        words.append(" --line-effect")
    return "".join(words)


def choose_genetic(args: argparse.Namespace) -> dict[str, Any]:
    """The genetic structure as a keyword; none for the default, which compiles nothing."""
    name = args.genetic.replace("-", "_")
    if name == GENETICS[0]:
        return {}
    from bmtme.structures.factor_analytic import FactorAnalytic
    from bmtme.structures.genetics import GENETIC_STRUCTURES

    return {"genetic": FactorAnalytic(args.factors) if args.factors else GENETIC_STRUCTURES[name]}


def run(args: argparse.Namespace, out: Path) -> int:
    """Simulate, write the folder `out`, and say how to go on."""
    from bmtme.datasets import simulate
    from bmtme.results.folder import new_folder

    given = {name: value for name in OPTIONS if (value := getattr(args, name)) is not None}
    simulation = simulate(**given, **choose_genetic(args))
    with new_folder(out) as folder:
        simulation.save(folder)
    traits = ",".join(simulation.frame.columns[3:])
    say(f"{args.lines} lines, {args.envs} environments, {args.traits} traits, {len(simulation.frame)} records")
    say(f"written to {out}: {', '.join(sorted(path.name for path in out.iterdir()))}")
    say(
        f"fit them with: bmtme fit {out / 'phenotypes.csv'} --relationship {out / 'relationship.csv'} --line line "
        f"--env env --rep rep --traits {traits}{name_model(args)} --out run"
    )
    return 0
