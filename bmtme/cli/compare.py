"""``bmtme compare``: the models of cross-validations that were run apart."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.cli.arguments import Parser, add_common_options, add_table_options
from bmtme.cli.inputs import check_optional_out
from bmtme.cli.objects import LONG, add_json_option, list_rows, say_object
from bmtme.cli.outputs import TableFiles, describe_files
from bmtme.cli.streams import complain, say, width

if TYPE_CHECKING:
    from bmtme.cv.result import CrossValidation

USAGE = """\
bmtme compare RUN [RUN ...] [--metric NAME] [--against LABEL]
                     [--by cell|trait|all] [--out DIR]"""

EPILOG = """\
example:
  bmtme compare cvrun cvrun2 --metric msep --against single --by trait

RUN is a folder that 'bmtme cv' or CrossValidation.save wrote. Models of several
runs are compared where the same cells of the same data were hidden: the same
scheme and seed do that, and so does '--scheme file' with the partitions.csv of
another run. Where they were not, the difference is named and nothing is compared.

METRIC is a column of scores.csv: pearson, spearman, msep, rmse, bias, slope, crps,
log_score, coverage_50, coverage_90, top_share or accuracy.

With --out, DIR holds:
  comparison.csv  every difference, with intervals and p
  summary.csv     scores of all models: means over partitions, ranks
  run.json        the runs, their settings and versions
"""


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "compare",
        help="compare the models of several cross-validations",
        description="Tell differences between the models of cross-validations from noise.",
        usage=USAGE,
        epilog=EPILOG,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a cross-validation")
    parser.add_argument("--metric", default="pearson", metavar="NAME", help="score to compare (default: %(default)s)")
    parser.add_argument(
        "--against", metavar="LABEL", help="model that the others are compared with (default: all pairs)"
    )
    parser.add_argument(
        "--by",
        choices=("cell", "trait", "all"),
        default="cell",
        help="every environment and trait; traits, their environments averaged; all averaged (default: %(default)s)",
    )
    add_json_option(parser)
    add_table_options(parser)
    add_common_options(parser, text="folder for the tables; new or empty", required=False)
    parser.set_defaults(parser=parser, check=check, run=run, check_out=check_optional_out)


def check(args: argparse.Namespace) -> None:
    """Refuse a run that is named twice."""
    parser: Parser = args.parser
    args.runs = name_runs(args.runs)
    paths = [Path(path).resolve() for path in args.runs.values()]
    for name, path in zip(args.runs, paths, strict=True):
        if paths.count(path) > 1:
            parser.error(f"argument RUN: {name!r} is named twice")


def name_runs(folders: list[str]) -> dict[str, str]:
    """Folders by a name for each: its last part where these differ, else the path as given."""
    last = [Path(folder).name or folder for folder in folders]
    return dict(zip(last if len(set(last)) == len(last) else folders, folders, strict=True))


def run(args: argparse.Namespace, out: Path | None) -> int:
    """Compare, say what came out, and write it if that is wanted."""
    from bmtme.cv.advice import advise
    from bmtme.cv.joining import join_runs
    from bmtme.cv.result import load_cross_validation
    from bmtme.report.comparison import describe_comparison, describe_runs

    joined = join_runs({name: load_cross_validation(folder) for name, folder in args.runs.items()})
    table = joined.compare(args.metric, args.against, args.by)
    for text in joined.warnings:
        complain(f"warning: {text}")
    if out is not None:
        write(joined, table.assign(metric=args.metric)[["metric", *table]], args, out)
    if args.json:
        rows = list_rows(table)
        say_object(args, out, metric=args.metric, runs=joined.run["runs"], comparison=rows,
                   advice=advise(joined, LONG).splitlines())  # fmt: skip
        return 0
    say(describe_runs(joined.run, width()))
    say(f"\n{describe_comparison(table, args.metric, width())}")
    say(f"\n{joined.advice()}")
    if out is not None:
        say(f"\n{describe_files(out)}")
    return 0


def write(joined: CrossValidation, table: Any, args: argparse.Namespace, out: Path) -> None:
    """Write the tables and the record, all or nothing."""
    from bmtme import __version__
    from bmtme.results.folder import new_folder
    from bmtme.results.record import write_record

    tables = {"comparison": table, "summary": joined.summary()}
    with new_folder(out) as folder:
        columns = TableFiles.of(args).write(folder, tables)
        run = {"runs": joined.run["runs"], "command": args.words, "versions": {"bmtme": __version__}}
        write_record(folder, run, "comparison", columns)
