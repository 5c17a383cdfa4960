"""``bmtme check``: a look at the phenotypes, and at how they fit a relationship, before any fit."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.cli.arguments import (
    DATA_FORMAT,
    Parser,
    add_common_options,
    add_data_options,
    add_table_options,
    check_data_options,
    is_folder,
    number,
)
from bmtme.cli.inputs import check_optional_out, name_columns, name_format, read_adjusted, warn_of_unnamed_traits
from bmtme.cli.kinship import read_kinship
from bmtme.cli.objects import add_json_option, list_rows, say_object
from bmtme.cli.outputs import TableFiles, describe_files
from bmtme.cli.streams import complain, say, width
from bmtme.errors import DataError

if TYPE_CHECKING:
    from bmtme.checkup.findings import Finding
    from bmtme.checkup.overview import Checkup
    from bmtme.data.relationship.matrix import Relationship
    from bmtme.data.trial import Trial

USAGE = """\
bmtme check PHENO --line COL --env COL --traits A,B,... [--rep COL,...]
                   [--blocks COL,...] [--covariates COL,...] [--relationship GRM]
                   [--out DIR [--plot]] [options]"""

EPILOG = f"""\
example:
  bmtme check pheno.csv --line line --env env --traits Yield,PH --rep rep \\
      --relationship grm.csv.gz

What it says, the most important first: for what a fit would be refused (lines
without a relationship, values that are no numbers, repeated plots, a matrix
that is no covariance matrix); what may be mistakes (names that are nearly the
same, outliers, codes for missing values, mixed units, copies, values that follow
from others, traits that are nearly one, replicates that differ); what is good to
know (absent environment x trait blocks, sparseness, checks, standard deviations
that differ between environments). No data are changed or left out.

{DATA_FORMAT}
With --out, DIR holds:
  report.txt        the text
  findings.csv      every case: severity (stop, warning, note), kind, trait, env,
                    line, other, rep, row, value, median and z (outliers),
                    message
  columns.csv       every environment x trait: lines, records, range, mean, SD
  lines.csv         every line: records, environments, traits, relationship
  common_lines.csv  lines in common of each two environments
  replicates.csv    with replicates: their means by environment and trait
  records.png       with --plot: where each line has values of all traits, of
                    some or of none
Exit status 0: a fit would take the data; 3: it would refuse them, or they cannot
be read.
"""


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "check",
        help="look the data over before a fit: gaps, names, strange values",
        description="Look phenotypes over before a fit, alone or beside a relationship.",
        usage=USAGE,
        epilog=EPILOG,
    )
    add_data_options(parser, relationship_required=False)
    group = parser.add_argument_group("check")
    group.add_argument(
        "--outlier",
        type=number,
        default=3.5,
        metavar="Z",
        help="list values at least so many robust standard deviations from the median of their trait and environment "
        "(default: %(default)s)",
    )
    group.add_argument("--plot", action="store_true", help="draw the records by line and environment into DIR")
    add_json_option(group)
    add_table_options(parser)
    add_common_options(parser, text="folder for the text and the tables; new or empty", required=False)
    parser.set_defaults(parser=parser, check=check, run=run, check_out=check_optional_out)


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not belong together."""
    parser: Parser = args.parser
    check_data_options(args)
    if args.outlier <= 0:
        parser.error(f"argument --outlier: expected a positive number, got {args.outlier:g}")
    if args.plot and args.out is None:
        parser.error("argument --plot: needs --out, the folder that it draws into")


def run(args: argparse.Namespace, out: Path | None) -> int:
    """Look the data over, say what was found, and write it if that is wanted."""
    from bmtme.checkup.faults import read_in_spite
    from bmtme.checkup.overview import look_over
    from bmtme.checkup.text import describe_checkup
    from bmtme.data.records import name_environment
    from bmtme.data.tables.files import read_table
    from bmtme.data.trial import Trial

    faults: list[Finding] = []
    if is_folder(args.phenotypes):
        trial = read_adjusted(args)
    else:
        names = name_columns(args)
        table = read_table(args.phenotypes, name_format(args), args.sheet)
        table, names["env"] = name_environment(table, *names.values())
        records, faults = read_in_spite(table, *names.values())
        trial = Trial(*records)
        warn_of_unnamed_traits(args, trial.traits)
    relationship, oddities = read_kin(args, trial)
    checkup = look_over(trial, relationship, args.outlier, args.unrelated, [*faults, *oddities])
    if out is not None:
        write(checkup, out, TableFiles.of(args), trial if args.plot else None)
    if args.json:
        findings = [
            {"severity": n.severity, "kind": n.kind, "summary": n.summary, "items": n.items} for n in checkup.notes
        ]
        sizes, columns = checkup.sizes, list_rows(checkup.columns)
        say_object(args, out, ok=checkup.ok, sizes=sizes, findings=findings, columns=columns)
    else:
        say(describe_checkup(checkup, width()))
    if out is not None and not args.json:
        say(f"\n{describe_files(out)}")
    if checkup.ok:
        return 0
    complain("bmtme: error: a fit of these data would be refused, for the reasons named in the report.")
    return DataError.exit_code


def read_kin(args: argparse.Namespace, trial: Trial) -> tuple[Relationship | None, list[Finding]]:
    """The relationship, if one is named, and what a look at its pedigree finds."""
    from bmtme.checkup.kin import find_odd_parents

    if args.relationship is None:
        return None, []
    with warnings.catch_warnings():
        # Of what the report tells.
        warnings.filterwarnings(
            "ignore", ".* looks like the inverse of a relationship|.* without (a row of its|rows of their) own"
        )
        kinship = read_kinship(args, trial.lines)
    if kinship.pedigree is None:
        return kinship.relationship, []
    id, sire, dam = args.pedigree_columns
    return kinship.relationship, find_odd_parents(kinship.pedigree, id, sire, dam, args.pedigree_missing)


def write(checkup: Checkup, out: Path, files: TableFiles, drawn: Trial | None) -> None:
    """Write the text, the tables, and a picture of a trial that is to be drawn, all or nothing."""
    from bmtme.checkup.text import describe_checkup
    from bmtme.results.folder import new_folder

    with new_folder(out) as folder:
        (folder / "report.txt").write_text(describe_checkup(checkup) + "\n", encoding="utf-8")
        tables = {"findings": checkup.findings, "columns": checkup.columns, "lines": checkup.lines}
        # Its columns are environments, one of which may have any name.
        common = checkup.common_lines.reset_index(names="env", allow_duplicates=True)
        tables |= {"common_lines": common}
        if len(checkup.replicates):
            tables["replicates"] = checkup.replicates
        files.write(folder, tables)
        if drawn is not None:
            draw(drawn, folder / "records.png")


def draw(trial: Trial, file: Path) -> None:
    """Draw the records of a trial."""
    from bmtme.report.trial_plots import plot_records

    plot_records(trial).savefig(file, dpi=150)
