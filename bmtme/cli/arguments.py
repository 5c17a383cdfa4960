"""The parser and the options that commands share. Nothing heavy is imported here, so that --help is quick."""

from __future__ import annotations

import argparse
import csv
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from bmtme.errors import UsageError
from bmtme.words import first_repeat

__all__ = [
    "Parser",
    "add_common_options",
    "add_data_options",
    "add_format_options",
    "add_ids_option",
    "add_marker_options",
    "check_data_options",
    "file_name",
    "is_folder",
    "number",
    "split_names",
    "whole",
]

#: How the genotypes of tables and arrays may be coded.
CODINGS = ("auto", "012", "-101", "01")

DATA_FORMAT = """\
PHENO is a table with a header as .csv or .tsv, plain or gzipped, as .xlsx or as
.parquet. Wide: a row is a plot or an adjusted mean, with a column for each
trait. Long: a row is one value, with a column for the trait's name (--trait)
and one for the value (--value). Rows may stand in any order; missing values are
empty, NA, NaN, a point, or a code of --missing. Names are text: line 001 is not
line 1.

GRM is a square table with the names of the lines in its first column and in its
header, such as R's write.csv(G) makes; or such a table as .parquet; GCTA's
.grm.bin or .grm.gz with its .grm.id; PLINK's .rel or .rel.bin with its .rel.id;
rows of line, line and value; or ASReml's .giv (an inverse) or .grm. 'bmtme grm'
makes one from markers. Or it is a pedigree, a table with a row for each
individual and the columns of --pedigree-columns; an unknown parent is 0, empty,
a word such as NA or unknown, -9, signs alone (. * ?), or a code of
--pedigree-missing. Lines are matched by name, whatever their order; lines
without a record are predicted too.
"""


class Parser(argparse.ArgumentParser):
    """A parser that raises its complaints, so that all errors are shown in one way."""

    def __init__(self, **settings: object) -> None:
        layout = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
        super().__init__(**{**layout, **settings})  # type: ignore[arg-type]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse, with ``--missing -9`` taken as ``--missing=-9``, which argparse would read as two options."""
        words: list[str] = []
        for word in sys.argv[1:] if args is None else args:
            if words and words[-1] in ("--missing", "--pedigree-missing") and re.match(r"-[0-9.,]", word):
                words[-1] += f"={word}"
            else:
                words.append(word)
        return super().parse_known_args(words, namespace)  # type: ignore[no-any-return, unused-ignore]

    def error(self, message: str) -> NoReturn:
        """Raise the complaint with a hint.

        Raises
        ------
        UsageError
        """
        end = "" if message.endswith("?") else "."
        raise UsageError(f"{message.rstrip('.')}{end} See '{self.prog} --help'.")


# --- values -----------------------------------------------------------------------------------------------------


def whole(least: int) -> Callable[[str], int]:
    """Type of an option: a whole number of at least `least`."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return value

    return convert


def number(text: str) -> float:
    """Type of an option: a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return value


def file_name(text: str) -> str:
    """Type of an option: the name of a file, which is not empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name of the file is empty")
    return text


def split_names(parser: Parser, option: str, texts: Sequence[str] | None) -> list[str] | None:
    """Names given by an option.

    Given once, the text is split at commas outside double quotes; given several times, each text is one name.
    """
    if texts is None:
        return None
    try:
        parts = next(csv.reader(texts, skipinitialspace=True), []) if len(texts) == 1 else texts
    except csv.Error as error:
        parser.error(f"argument {option}: {', '.join(map(repr, texts))} cannot be split into names ({error})")
    names = [part.strip() for part in parts]
    if not names or not all(names):
        parser.error(f"argument {option}: a name is empty in {', '.join(map(repr, texts))}")
    return names


# --- shared options ---------------------------------------------------------------------------------------------


def add_common_options(
    parser: Parser, metavar: str = "DIR", text: str = "folder for the results; new or empty", required: bool = True
) -> None:
    """What every command has: where to write, and the traceback for reports."""
    parser.add_argument("--out", required=required, metavar=metavar, help=text)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error (or set BMTME_DEBUG=1)")


def add_table_options(parser: Parser) -> None:
    """How tables are written, for people and their spreadsheet programs."""
    group = parser.add_argument_group("tables")
    group.add_argument("--xlsx", action="store_true", help="write all tables as sheets of DIR/tables.xlsx, too")
    group.add_argument(
        "--safe-text",
        action="store_true",
        help="put an apostrophe in front of names in the CSV files that a spreadsheet program would run, as they begin "
        "with = + - @ or a tab",
    )


def check_table_options(args: argparse.Namespace) -> None:
    """Refuse them where nothing is written, and a workbook that could not be."""
    for option, given in (("--xlsx", args.xlsx), ("--safe-text", args.safe_text)):
        if given and args.out is None and not getattr(args, "dry_run", False):
            args.parser.error(f"argument {option}: needs --out, the folder for the tables")
    if args.xlsx:
        from bmtme.results.spreadsheets import check_tables

        check_tables(args.safe_text, args.xlsx)


def add_data_options(parser: Parser, relationship_required: bool = True) -> None:
    """Phenotypes and relationship."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "phenotypes",
        type=file_name,
        metavar="PHENO",
        help="table of phenotypes, or a folder of adjusted means with the covariances of their errors (AdjustedMeans."
        "save), which needs no options that name columns: --traits and --envs are which to take",
    )
    group.add_argument(
        "--relationship",
        type=file_name,
        required=relationship_required,
        metavar="GRM",
        help="relationship matrix, or pedigree, or the word identity for unrelated lines",
    )
    add_ids_option(group)
    group.add_argument("--line", metavar="COL", help="column with the names of the lines; needed for a table")
    group.add_argument(
        "--env", metavar="COL", help="column with the names of the environments; not needed if there is one only"
    )
    group.add_argument(
        "--traits",
        action="append",
        metavar="A,B,...",
        help="trait columns (wide), or which traits to take (long; default all). For names with commas, put these in "
        "double quotes or give the option once for each name. Of a folder of adjusted means: which to take",
    )
    group.add_argument(
        "--envs",
        action="append",
        metavar="A,B,...",
        help="of a folder of adjusted means: environments to take (default all)",
    )
    group.add_argument(
        "--rep",
        action="append",
        metavar="COL,...",
        help="column, or columns together, that tell the plots of a line in an environment apart",
    )
    group.add_argument(
        "--blocks",
        action="append",
        metavar="COL,...",
        help="factors within environments with random effects, such as blocks or rows; rep:block for blocks numbered "
        "anew in each replicate",
    )
    group.add_argument(
        "--covariates",
        action="append",
        metavar="COL,...",
        help="numbers of each plot, such as its stand, on which traits depend with a slope",
    )
    group.add_argument(
        "--n-plots", metavar="COL", help="column with the number of plots of which a record is the mean (default: one)"
    )
    group.add_argument(
        "--se",
        action="append",
        metavar="TRAIT=COL",
        help="column with the known standard errors of a trait's adjusted means; once for each trait. COL alone for a "
        "long table, or for one trait",
    )
    group.add_argument(
        "--se-correlation",
        metavar="FILE|R",
        help="correlation of the errors of a record's traits: a square table with their names, or, of two traits, a "
        "number; without it, --se of several traits needs --model single",
    )
    group.add_argument("--trait", metavar="COL", help="long table: column with the names of the traits")
    group.add_argument("--value", metavar="COL", help="long table: column with the values")
    add_format_options(group)
    group.add_argument(
        "--drop-unrelated",
        action="store_const",
        dest="unrelated",
        const="drop",
        default="error",
        help="leave out lines that GRM does not hold, instead of refusing them",
    )
    group = parser.add_argument_group("pedigree")
    add_pedigree_options(group)
    _add_founders_option(group)


def add_format_options(group: Any) -> None:
    """How a table of phenotypes is written."""
    group.add_argument(
        "--missing",
        action="append",
        metavar="CODE,...",
        help="further codes for a missing value, such as -9,x; they count among the values only",
    )
    group.add_argument(
        "--decimal",
        choices=(".", ","),
        default=".",
        metavar="SIGN",
        help="decimal sign, a point or a comma; with a comma, semicolons may separate the columns (default: a point)",
    )
    group.add_argument("--sheet", metavar="NAME", help="sheet of an Excel workbook (default: the first)")


#: Options, as they are parsed, about a table of phenotypes.
OF_TABLES = (
    *("line", "env", "rep", "trait", "value", "blocks", "covariates", "n_plots", "se", "se_correlation"),
    *("missing", "sheet", "groups"),
)


def is_folder(path: str) -> bool:
    """Whether phenotypes are a folder of adjusted means, not a table."""
    return os.path.isdir(path)  # Path.is_dir fails for a name that is too long


def check_data_options(args: argparse.Namespace) -> None:
    """Refuse data options that do not belong together; names become lists."""
    parser: Parser = args.parser
    if is_folder(args.phenotypes):
        for name in OF_TABLES:
            if getattr(args, name, None) is not None:
                option = f"--{name.replace('_', '-')}"
                parser.error(
                    f"argument {option}: {args.phenotypes} is a folder, expected to hold adjusted means, and {option} "
                    "is about a table: leave it out, or name a table"
                )
    elif args.line is None:
        parser.error("the following arguments are required: --line")
    elif args.envs is not None:
        parser.error(
            f"argument --envs: is for a folder of adjusted means, and {args.phenotypes} is a table: leave out the rows "
            "of other environments in it"
        )
    args.envs = split_names(parser, "--envs", args.envs)
    if (args.trait is None) != (args.value is None):
        given, lacking = ("--value", "--trait") if args.trait is None else ("--trait", "--value")
        parser.error(f"argument {given}: needs {lacking} too: a long table has both columns, a wide one neither")
    args.traits = split_names(parser, "--traits", args.traits)
    args.rep = split_names(parser, "--rep", args.rep)
    args.blocks = split_names(parser, "--blocks", args.blocks)
    args.covariates = split_names(parser, "--covariates", args.covariates)
    args.missing = split_names(parser, "--missing", args.missing)
    if args.se is not None and args.n_plots is not None:
        parser.error("argument --se: does not go with --n-plots: both say how precise records are")
    for option, columns in (("--blocks", args.blocks), ("--covariates", args.covariates)):
        if args.se is not None and columns:
            parser.error(f"argument --se: does not go with {option}: adjusted means are free of such effects already")
    if args.se_correlation is not None and args.se is None:
        parser.error("argument --se-correlation: needs --se")
    args.se = _split_errors(parser, args.se)
    _check_pedigree_options(args)


def _split_errors(parser: Parser, texts: Sequence[str] | None) -> str | dict[str, str] | None:
    """Columns of standard errors by trait, or one column."""
    if texts is None or (len(texts) == 1 and "=" not in texts[0]):
        return texts[0] if texts else None
    pairs = [text.rpartition("=") for text in texts]
    repeat = first_repeat([trait.strip() for trait, _, _ in pairs])
    if repeat is not None:
        parser.error(f"argument --se: names {pairs[repeat[1]][0].strip()!r} twice")
    for text, (trait, _, column) in zip(texts, pairs, strict=True):
        if not trait.strip() or not column.strip():
            parser.error(f"argument --se: expected TRAIT=COL, got {text!r}")
    return {trait.strip(): column.strip() for trait, _, column in pairs}


def add_ids_option(group: Any) -> None:
    """What names the lines of files in which they have two IDs."""
    group.add_argument(
        "--ids",
        choices=("auto", "iid", "fid"),
        default="auto",
        help="what names lines in PLINK's and GCTA's files: the individual's ID or the family's (default: the "
        "individual's, or the family's where all individuals have the same)",
    )


def add_marker_options(group: Any) -> None:
    """How genotypes are written."""
    group.add_argument(
        "--coding",
        choices=CODINGS,
        default=CODINGS[0],
        help="of tables and arrays: copies of an allele; copies less one; 1 for two copies. auto tells the first two "
        "apart and says so (default: %(default)s)",
    )
    group.add_argument(
        "--missing", action="append", metavar="CODE", help="a further code for missing genotypes; may be given again"
    )
    group.add_argument(
        "--ploidy",
        type=whole(2),
        default=2,
        metavar="N",
        help="sets of chromosomes: 4 for tetraploids with 0 to 4 copies of an allele (default: %(default)s)",
    )


def add_pedigree_options(group: Any) -> None:
    """How a table of a pedigree is written, and generations of selfing."""
    group.add_argument(
        "--pedigree-columns",
        action="append",
        metavar="ID,SIRE,DAM",
        help="its columns with the individual and its parents (default: id,sire,dam)",
    )
    group.add_argument(
        "--pedigree-missing",
        action="append",
        metavar="CODE,...",
        help="further codes for an unknown parent, such as open,999",
    )
    group.add_argument(
        "--selfing",
        metavar="COL|N",
        help="generations of selfing between cross and line: a column of the pedigree, or one number for all",
    )


def settle_pedigree_options(args: argparse.Namespace) -> None:
    """Names become lists; three columns are expected."""
    parser: Parser = args.parser
    columns = split_names(parser, "--pedigree-columns", args.pedigree_columns)
    args.pedigree_missing = split_names(parser, "--pedigree-missing", args.pedigree_missing)
    args.named_pedigree = columns is not None
    args.pedigree_columns = columns or ["id", "sire", "dam"]
    if len(args.pedigree_columns) != 3:
        parser.error(
            f"argument --pedigree-columns: expected three columns (individual, sire, dam), got {len(columns or [])}"
        )


def _add_founders_option(group: Any) -> None:
    group.add_argument(
        "--founders",
        action="store_true",
        help="lines that the pedigree does not mention are founders, unrelated to all",
    )


def _check_pedigree_options(args: argparse.Namespace) -> None:
    """Refuse them without a pedigree; names become lists."""
    parser: Parser = args.parser
    args.families = getattr(args, "families", None)
    file = args.relationship not in (None, "identity")
    for option, given, there in (
        ("--pedigree-columns", args.pedigree_columns, file or args.families is not None),
        ("--pedigree-missing", args.pedigree_missing, file or args.families is not None),
        ("--selfing", args.selfing is not None, file),
        ("--founders", args.founders, file),
    ):
        if given and not there:
            parser.error(f"argument {option}: needs a pedigree, as --relationship")
    settle_pedigree_options(args)
