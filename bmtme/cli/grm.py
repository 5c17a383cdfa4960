"""``bmtme grm``: a relationship matrix from markers or a pedigree, checked, in the format that is wanted."""

from __future__ import annotations

import argparse
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.cli.arguments import (
    Parser,
    add_common_options,
    add_ids_option,
    add_marker_options,
    add_pedigree_options,
    file_name,
    number,
    settle_pedigree_options,
)
from bmtme.cli.streams import say, width
from bmtme.errors import UsageError
from bmtme.words import count_noun

if TYPE_CHECKING:
    from bmtme.data.relationship.matrix import Relationship

METHODS = ("1", "2", "gaussian")
#: Options about markers.
MARKER_OPTIONS = (
    "coding",
    "missing",
    "ploidy",
    "min_call_rate_line",
    "min_call_rate_marker",
    "min_maf",
    "identical",
    "method",
    "bandwidth",
)
#: Options about a pedigree.
PEDIGREE_OPTIONS = ("pedigree_columns", "pedigree_missing", "selfing")
#: Duplicated lines that are listed; of more, the number is said.
LISTED = 20

USAGE = """\
bmtme grm MARKERS --out GRM [options]
       bmtme grm PED --pedigree --out GRM [--selfing COL|N] [--blend W] [--bend]
       bmtme grm GRM --matrix --out GRM [--blend W] [--bend]"""

EPILOG = """\
example:
  bmtme grm markers.vcf.gz --min-call-rate-marker 0.8 --min-maf 0.05 \\
      --out grm.csv.gz
  bmtme fit pheno.csv --relationship grm.csv.gz --line line --env env \\
      --traits Yield,PH --out run
  bmtme grm ped.csv --pedigree --pedigree-columns animal,father,mother \\
      --out a.csv.gz

MARKERS, by its ending:
  .bed                PLINK, with .bim and .fam (pip install 'bmtme[plink]')
  .vcf .vcf.gz        GT of every sample (pip install 'bmtme[vcf]')
  .npz                NumPy arrays: markers (lines x markers), line (the lines'
                      names) and, optionally, snp (the markers' names)
  any other           text with commas, tabs or blanks, plain or gzipped, known
                      by its first row: PLINK's .raw (--recode A, --export A),
                      HapMap, DArT's reports (one or two rows a marker,
                      SilicoDArT); else a table, lines in rows with their names
                      first and the markers' names in the header
Genotypes of tables and arrays are copies of one allele, 0, 1 or 2 (with
--ploidy 4, 0 to 4), or -1, 0, 1; frequencies (0, 0.5, 1) are read with
--coding 01. Missing ones are empty, NA, NaN, a point, -9, -127 or -128; they
are replaced by the marker's mean. Lines of PLINK's and GCTA's files are named
by the individual's ID, or by the family's where all have the same; --ids says
which.

With --pedigree, the file is a table with a row for each individual and its
parents: the additive relationship, with inbreeding. An unknown parent is 0,
empty, NA or another code of --pedigree-missing.

With --matrix, the relationship may be in any format that fit, cv and check read
(see 'bmtme fit --help'); --inverse if the file holds the inverse of it.

GRM, by its ending:
  .csv .csv.gz .tsv .tsv.gz   labelled square table, every digit kept
  .parquet                    the same (pip install 'bmtme[parquet]')
  .grm.bin                    GCTA, with .grm.id and .grm.N.bin: 32-bit floats,
                              seven digits; so is a name without an ending
"""


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "grm",
        help="make a relationship matrix from markers or a pedigree",
        description="Make the relationship matrix of lines from their markers (VanRaden 2008), with\n"
        "quality control, or from their pedigree; or blend, bend or convert one.",
        usage=USAGE,
        epilog=EPILOG,
    )
    parser.add_argument("markers", type=file_name, metavar="MARKERS", help="file of marker genotypes")
    group = parser.add_argument_group("genotypes")
    add_marker_options(group)
    add_ids_option(group)
    group = parser.add_argument_group("quality control: lines first, then markers among the lines that stay")
    for option, text in (
        ("--min-call-rate-line", "least share of the markers with a genotype, for a line to stay (default: 0)"),
        ("--min-call-rate-marker", "least share of the lines with a genotype, for a marker to stay (default: 0)"),
        ("--min-maf", "least frequency of the rarer allele; markers alike in all lines never stay (default: 0)"),
    ):
        group.add_argument(option, type=number, default=0.0, metavar="F", help=text)
    group.add_argument(
        "--identical",
        type=number,
        default=0.99,
        metavar="F",
        help="lines with at least this share of equal genotypes are listed as duplicated; they stay (default: "
        "%(default)s)",
    )
    group = parser.add_argument_group("relationship")
    group.add_argument(
        "--method",
        choices=METHODS,
        default=METHODS[0],
        help="VanRaden's first or second method, or a Gaussian kernel (default: %(default)s)",
    )
    group.add_argument(
        "--bandwidth", type=number, metavar="H", help="of the Gaussian kernel exp(-H d^2 / median d^2) (default: 1)"
    )
    group.add_argument(
        "--blend", type=number, metavar="W", help="take (1 - W) of the matrix and W of the identity, or of --with"
    )
    group.add_argument(
        "--with", dest="other", type=file_name, metavar="GRM", help="relationship to blend with, such as a pedigree's"
    )
    group.add_argument(
        "--bend",
        nargs="?",
        type=number,
        const=1e-6,
        metavar="F",
        help="raise eigenvalues below F of the largest to it (default F: %(const)s)",
    )
    group.add_argument(
        "--matrix", action="store_true", help="MARKERS is a relationship matrix already: blend, bend or convert it"
    )
    group.add_argument(
        "--inverse", action="store_true", help="with --matrix: the file holds the inverse of the relationship"
    )
    group = parser.add_argument_group("pedigree")
    group.add_argument("--pedigree", action="store_true", help="MARKERS is a pedigree, a table")
    add_pedigree_options(group)
    add_common_options(parser, "GRM", "file for the relationship; new")
    parser.set_defaults(parser=parser, check=check, check_out=check_out, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not belong together."""
    parser: Parser = args.parser
    if args.other is not None and args.blend is None:
        parser.error("argument --with: needs --blend W, the weight of that relationship")
    # In Python these have other names.
    for option, value, fits, range_ in (
        ("--blend", args.blend, args.blend is None or 0 <= args.blend <= 1, "from 0 to 1"),
        ("--bend", args.bend, args.bend is None or 0 < args.bend < 1, "above 0 and below 1"),
        ("--identical", args.identical, 0 < args.identical <= 1, "above 0 and up to 1"),
    ):
        if not fits:
            parser.error(f"argument {option}: expected a number {range_}, got {value:g}")
    if args.bandwidth is not None and args.method != "gaussian":
        parser.error("argument --bandwidth: is for --method gaussian")
    if args.inverse and not args.matrix:
        parser.error("argument --inverse: is for --matrix")
    if args.matrix and args.pedigree:
        parser.error("argument --pedigree: a file is a pedigree or a --matrix, not both")
    instead = "--matrix" if args.matrix else "--pedigree" if args.pedigree else None
    if instead:
        _refuse_others(args, MARKER_OPTIONS, f"is about markers, which {instead} excludes")
    if args.pedigree:
        _refuse_others(args, ("ids",), "is about files of PLINK and GCTA, which --pedigree excludes")
        settle_pedigree_options(args)
    else:
        _refuse_others(args, PEDIGREE_OPTIONS, "is for --pedigree")


def _refuse_others(args: argparse.Namespace, options: Sequence[str], reason: str) -> None:
    parser: Parser = args.parser
    for option in options:
        if getattr(args, option) != parser.get_default(option):
            parser.error(f"argument --{option.replace('_', '-')}: {reason}")


def check_out(name: str) -> Path:
    """The output file (of GCTA's three, the matrix), refused before any work where it could not be written.

    Raises
    ------
    UsageError
    """
    from bmtme.data.relationship.files import relationship_targets

    if not name.strip():
        raise UsageError("argument --out: the name of the file is empty.")
    return relationship_targets(name)[-1]


def run(args: argparse.Namespace, out: Path) -> int:
    """Compute, write the file `out`, and say what came out."""
    from bmtme.checkup.kin import describe_centring, find_identical_lines
    from bmtme.data.relationship.files import read_relationship, relationship_targets, write_relationship

    other = None if args.other is None else read_relationship(args.other)
    if args.matrix:
        relationship, n_markers = read_relationship(args.markers, ids=args.ids, inverse=args.inverse or None), 0
        say(f"read: {len(relationship)} lines")
    elif args.pedigree:
        relationship, n_markers = _from_pedigree(args), 0
    else:
        relationship, n_markers = _from_markers(args)
    if args.blend is not None:
        relationship = relationship.blend(args.blend, other)
    if args.bend is not None:
        relationship = relationship.bend(args.bend)
    _say_wrapped([*relationship.notes, _describe_range(relationship), describe_centring(relationship.matrix)])
    if args.matrix:
        _say_wrapped([finding.summary for finding in find_identical_lines(relationship)])
    targets = relationship_targets(out)
    write_relationship(relationship, out, markers=n_markers)
    say(f"written to {', '.join(str(target) for target in targets)}")
    return 0


def _from_pedigree(args: argparse.Namespace) -> Relationship:
    """Relationship of a pedigree; what it holds is said."""
    from bmtme.checkup.kin import find_odd_parents
    from bmtme.cli.kinship import name_pedigree
    from bmtme.data.relationship.pedigree import pedigree_relationship
    from bmtme.data.relationship.pedigree_table import read_pedigree

    id, sire, dam = args.pedigree_columns
    frame = read_pedigree(args.markers, id, sire, dam)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* without (a row of its|rows of their) own")  # said below
        relationship = pedigree_relationship(frame, **name_pedigree(args, frame))
    inbreeding = relationship.matrix.diagonal() - 1.0
    founders = len(relationship) - len(frame)
    added = f", {count_noun(founders, 'founder')} among them without a row" if founders else ""
    say(f"read: {count_noun(len(relationship), 'individual')}{added}")
    inbred = int((inbreeding > 1e-12).sum())
    say(f"inbreeding: mean {inbreeding.mean():.4g}, largest {inbreeding.max():.4g}; {inbred} inbred")
    for finding in find_odd_parents(frame, id, sire, dam, args.pedigree_missing):
        _say_wrapped([finding.summary])
    return relationship


def _from_markers(args: argparse.Namespace) -> tuple[Relationship, int]:
    """Relationship and the number of markers behind it; the quality of the markers is said."""
    from bmtme.data.markers.files import read_markers
    from bmtme.data.markers.quality import duplicated_lines, filter_markers
    from bmtme.data.relationship.genomic import gaussian_kernel, vanraden

    markers, quality = filter_markers(
        read_markers(args.markers, coding=args.coding, missing=args.missing or (), ploidy=args.ploidy, ids=args.ids),
        min_call_rate_marker=args.min_call_rate_marker,
        min_call_rate_line=args.min_call_rate_line,
        min_maf=args.min_maf,
    )
    _say_wrapped(quality.describe().splitlines())
    if args.method == "gaussian":
        relationship = gaussian_kernel(markers, bandwidth=1.0 if args.bandwidth is None else args.bandwidth)
        made = f"Gaussian kernel, bandwidth {1.0 if args.bandwidth is None else args.bandwidth:g}"
    else:
        relationship = vanraden(markers, method=int(args.method))
        made = f"VanRaden's method {args.method}" + (f", ploidy {args.ploidy}" if args.ploidy > 2 else "")
    twins = duplicated_lines(markers, relationship, least=args.identical)
    text = f"duplicated lines: {len(twins)} with at least {100 * args.identical:g}% of the genotypes of an earlier line"
    say(text + _describe_largest(twins["line"], twins["same_as"]))
    for line, same_as, identical, compared in twins.head(LISTED).to_numpy(dtype=object):
        say(f"  {line} and {same_as}: {100 * identical:.2f}% of {compared:,} markers")
    if len(twins) > LISTED:
        say(f"  and {len(twins) - LISTED} more")
    say(f"computed: {made}, {len(relationship)} lines, {len(markers.names):,} markers")
    return relationship, len(markers.names)


def _describe_largest(lines: Iterable[str], earlier: Iterable[str]) -> str:
    """Size of the largest group of duplicated lines, where it is more than a pair."""
    first: dict[str, str] = {}
    for line, same_as in zip(lines, earlier, strict=True):
        first[line] = first.get(same_as, same_as)
    largest = 1 + max(Counter(first.values()).values(), default=0)
    return f"; the largest group holds {largest}" if largest > 2 else ""


def _say_wrapped(texts: Sequence[str]) -> None:
    for text in texts:
        say(textwrap.fill(text, width(), subsequent_indent="  ", break_on_hyphens=False, break_long_words=False))


def _describe_range(relationship: Relationship) -> str:
    import numpy as np

    matrix = relationship.matrix
    diagonal = matrix.diagonal()
    text = f"diagonal: mean {diagonal.mean():.4g}, {diagonal.min():.4g} to {diagonal.max():.4g}"
    if len(diagonal) > 1:
        least = min(float(row[:j].min()) for j, row in enumerate(matrix) if j)
        most = max(float(row[:j].max()) for j, row in enumerate(matrix) if j)
        mean = (float(np.sum(matrix)) - float(diagonal.sum())) / (len(diagonal) * (len(diagonal) - 1))
        text += f"; off the diagonal: mean {mean:.4g}, {least:.4g} to {most:.4g}"
    return text
