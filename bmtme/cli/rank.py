"""``bmtme rank``: the best lines of a fit, by a trait or an index of several."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.cli.arguments import Parser, add_common_options, add_table_options, number, split_names
from bmtme.cli.inputs import check_optional_out
from bmtme.cli.objects import add_json_option, list_rows, say_object
from bmtme.cli.outputs import TableFiles, describe_files
from bmtme.cli.streams import complain, say, width

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.results.fit import Fit

USAGE = """\
bmtme rank RUN [--trait TRAIT [--lowest] | --index A=1,B=-0.5 | --gains A=2,B=0]
                  [--env ENV,...] [--top N] [--check LINE] [--out DIR]"""

EPILOG = """\
examples:
  bmtme rank run --trait Yield --check B73
  bmtme rank run --trait PH --lowest --env E1 --top 20
  bmtme rank run --index Yield=1,PH=-0.5 --sd --env "E1=2,E2=1"

RUN is a folder of 'bmtme fit' or Fit.save. All lines of the relationship are
candidates, with records or without. Values are of the mean over environments, or
over those that --env names, with weights or all alike.

With --out, DIR holds:
  ranking.csv   every line: value, interval, reliability, rank, probabilities
  response.csv  what the selection of the best brings in every trait
  run.json      the run, the options and versions
"""


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "rank",
        help="rank the lines of a fit, by a trait or an index of several",
        description="Rank all lines of a fit, and say how sure that is.",
        usage=USAGE,
        epilog=EPILOG,
    )
    parser.add_argument("fit", metavar="RUN", help="folder of a fit")
    group = parser.add_argument_group("what is wanted")
    kinds = group.add_mutually_exclusive_group()
    kinds.add_argument("--trait", metavar="TRAIT", help="trait to rank by; may be left out where there is one")
    kinds.add_argument("--index", metavar="A=W,...", help="weights of traits; a negative one is to be lowered")
    kinds.add_argument("--gains", metavar="A=D,...", help="gains that are wanted, in proportion; 0: leave as it is")
    group.add_argument("--lowest", action="store_true", help="with --trait: low values are wanted")
    group.add_argument("--sd", action="store_true", help="weights or gains are per genetic standard deviation")
    group.add_argument("--env", metavar="ENV,...", help="target environments, or weights: E1=2,E2=1 (default: all)")
    group.add_argument(
        "--top", type=number, default=0.05, metavar="N", help="the best: a share below 1, or a number (default: 0.05)"
    )
    group.add_argument("--check", dest="check_line", metavar="LINE", help="line that the others are compared with")
    add_json_option(group)
    add_table_options(parser)
    add_common_options(parser, text="folder for the tables; new or empty", required=False)
    parser.set_defaults(parser=parser, check=check, run=run, check_out=check_optional_out)


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not belong together."""
    parser: Parser = args.parser
    several = args.index or args.gains
    if args.lowest and several:
        parser.error("argument --lowest: is for --trait; in an index give the trait a negative number")
    if args.sd and not several:
        parser.error("argument --sd: is for --index and --gains")
    args.index, args.gains = (read_numbers(parser, f"--{name}", getattr(args, name)) for name in ("index", "gains"))
    for name, numbers in (("index", args.index), ("gains", args.gains)):
        if numbers and not any(numbers.values()):
            parser.error(f"argument --{name}: every trait has 0, so that all lines are alike")
    args.env = read_envs(parser, args.env)


def read_numbers(parser: Parser, option: str, text: str | None) -> dict[str, float] | None:
    """Numbers by name, ``A=1,B=-0.5``.

    Raises
    ------
    UsageError
    """
    if text is None:
        return None
    found: dict[str, float] = {}
    for part in split_names(parser, option, [text]) or []:
        name, sign, value = (word.strip() for word in part.rpartition("="))
        try:
            figure = number(value)
        except argparse.ArgumentTypeError:
            sign = ""
        if not sign or not name:
            parser.error(f"argument {option}: expected NAME=NUMBER, as in A=1,B=-0.5, got {part!r}")
        if name in found:
            parser.error(f"argument {option}: {name!r} is there twice")
        found[name] = figure
    return found


def read_envs(parser: Parser, text: str | None) -> list[str] | dict[str, float] | None:
    """Names of environments, or weights by name where each part ends with one."""
    parts = split_names(parser, "--env", None if text is None else [text])
    if parts is None or not all("=" in part for part in parts):
        return parts
    return read_numbers(parser, "--env", text)


def warn_unreliable(fit: Fit) -> None:
    """Say that the chains of a fit do not suffice, if so."""
    if not fit.reliable:
        complain(
            "warning: the chains of this fit do not suffice, as 'bmtme fit' said: do not lean on these numbers before "
            "a longer run."
        )


def run(args: argparse.Namespace, out: Path | None) -> int:
    """Rank, say the best, and write all if that is wanted."""
    from bmtme.decisions.candidates import tabulate_values
    from bmtme.report.ranking import describe_ranking
    from bmtme.results.fit import Fit
    from bmtme.results.storage import read_fit

    fit = Fit(*read_fit(Path(args.fit)))
    if args.index or args.gains:
        units = "sd" if args.sd else "trait"
        table = fit.index(args.index, args.gains, args.top, args.check_line, args.env, units)  # type: ignore[arg-type]
    else:
        best = "low" if args.lowest else "high"
        table = fit.ranking(args.trait, args.env, args.top, best, args.check_line)  # type: ignore[arg-type]
    response = fit.response(table)
    recorded = fit.recorded_lines
    values = None
    warn_unreliable(fit)
    if (args.index or args.gains) and not args.json:
        values = tabulate_values(fit, list(table.attrs["weights"]), args.env)
    if out is not None:
        write(fit, {"ranking": table, "response": response}, args, out)
    if args.json:
        known = set(recorded)
        rows = [row | {"recorded": row["line"] in known} for row in list_rows(table)]
        found = {"ranking": rows, "response": list_rows(response)}
        say_object(args, out, fit=args.fit, reliable=fit.reliable, of=table.attrs, **found)
        return 0
    say(describe_ranking(table, recorded, width(), response, values))
    if out is not None:
        say(f"\n{describe_files(out)}")
    return 0


def write(fit: Fit, tables: dict[str, pd.DataFrame], args: argparse.Namespace, out: Path) -> None:
    """Write the tables and the record, all or nothing."""
    from bmtme import __version__
    from bmtme.results.folder import new_folder
    from bmtme.results.record import write_record

    with new_folder(out) as folder:
        columns = TableFiles.of(args).write(folder, tables)
        run = {"fit": args.fit, "command": args.words, "ranking": tables["ranking"].attrs}
        run |= {"seed": fit.run["settings"]["seed"], "versions": {"bmtme": __version__}}
        write_record(folder, run, "ranking", columns)
