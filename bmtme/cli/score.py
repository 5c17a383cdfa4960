"""``bmtme score``: genomic values of new genotypes by the markers of a fit."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.cli.arguments import (
    add_common_options,
    add_ids_option,
    add_marker_options,
    add_table_options,
    file_name,
    number,
)
from bmtme.cli.inputs import check_optional_out, describe_file
from bmtme.cli.objects import add_json_option, list_rows, say_object
from bmtme.cli.outputs import TableFiles, describe_files
from bmtme.cli.rank import read_envs, warn_unreliable
from bmtme.cli.streams import say, width

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.data.markers.genotypes import Markers
    from bmtme.results.fit import Fit

USAGE = """\
bmtme score RUN MARKERS [--training MARKERS] [--env ENV,...] [--out DIR]"""

EPILOG = """\
examples:
  bmtme score run all.vcf.gz --min-maf 0.05 --out scores
  bmtme score run new.csv --training markers.csv --env "E1=2,E2=1"

RUN is a folder of 'bmtme fit' or Fit.save whose relationship is that of
'bmtme grm' by VanRaden's first method, neither blended nor bent. The genotypes
of which it was made are those of --training or, without it, of MARKERS, of the
lines of the relationship; they go through the same quality control: give
--min-call-rate-marker and --min-maf as 'bmtme grm' had them. Both files may be
in any format of 'bmtme grm'. Markers are matched by name, and turned round where
both files name the alleles and count another one; a genotype that is missing
counts as the marker's mean, and widens the interval. Values are of the mean
over environments, or over those that --env names, without these environments'
means.

With --out, DIR holds:
  gebv.csv  every line and trait: value, interval, reliability, share missing
  run.json  the run, the options and versions
"""


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "score",
        help="genomic values of new genotypes, from a fit",
        description="Score the genotypes of lines that no fit has seen by the marker effects of a fit.",
        usage=USAGE,
        epilog=EPILOG,
    )
    parser.add_argument("fit", metavar="RUN", help="folder of a fit")
    parser.add_argument("markers", type=file_name, metavar="MARKERS", help="genotypes to be scored")
    parser.add_argument(
        "--training", type=file_name, metavar="MARKERS", help="genotypes of which the relationship was made"
    )
    parser.add_argument("--env", metavar="ENV,...", help="target environments, or weights: E1=2,E2=1 (default: all)")
    group = parser.add_argument_group("genotypes of both files")
    add_marker_options(group)
    add_ids_option(group)
    group = parser.add_argument_group("quality control of the markers in training, as 'bmtme grm' had it")
    group.add_argument("--min-call-rate-marker", type=number, default=0.0, metavar="F", help="see 'bmtme grm --help'")
    group.add_argument("--min-maf", type=number, default=0.0, metavar="F", help="see 'bmtme grm --help'")
    add_json_option(parser)
    add_table_options(parser)
    add_common_options(parser, text="folder for the table; new or empty", required=False)
    parser.set_defaults(parser=parser, check=check, run=run, check_out=check_optional_out)


def check(args: argparse.Namespace) -> None:
    """Read the environments."""
    args.env = read_envs(args.parser, args.env)


def run(args: argparse.Namespace, out: Path | None) -> int:
    """Score, say the best, and write all if that is wanted."""
    from bmtme.report.scores import describe_scores
    from bmtme.results.fit import Fit
    from bmtme.results.storage import read_fit

    fit = Fit(*read_fit(Path(args.fit)))
    markers = read(args, args.markers)
    training = markers if args.training is None else read(args, args.training)
    training = choose_training(fit, training, args)
    table = fit.score(markers, training, args.env)
    if out is not None:
        write(fit, table, args, out)
    warn_unreliable(fit)
    if args.json:
        known = set(fit.recorded_lines)
        rows = [row | {"recorded": row["line"] in known} for row in list_rows(table)]
        say_object(args, out, fit=args.fit, reliable=fit.reliable, of=table.attrs, scores=rows)
        return 0
    say(describe_scores(table, fit.recorded_lines, training.lines, width()))
    if out is not None:
        say(f"\n{describe_files(out)}")
    return 0


def read(args: argparse.Namespace, path: str) -> Markers:
    """Genotypes of a file."""
    from bmtme.data.markers.files import read_markers

    return read_markers(path, coding=args.coding, missing=args.missing or (), ploidy=args.ploidy, ids=args.ids)


def choose_training(fit: Fit, markers: Markers, args: argparse.Namespace) -> Markers:
    """The lines of the relationship, and the markers that quality control leaves of them."""
    import numpy as np

    from bmtme.data.markers.quality import filter_markers
    from bmtme.decisions.covariances import list_related

    there = np.isin(markers.lines, list_related(fit))
    if not there.any():
        return markers  # which the fit refuses by name
    chosen, _ = filter_markers(
        markers.select(lines=there), min_call_rate_marker=args.min_call_rate_marker, min_maf=args.min_maf
    )
    return chosen


def write(fit: Fit, table: pd.DataFrame, args: argparse.Namespace, out: Path) -> None:
    """Write the table and the record, all or nothing."""
    from bmtme import __version__
    from bmtme.results.folder import new_folder
    from bmtme.results.record import write_record

    with new_folder(out) as folder:
        columns = TableFiles.of(args).write(folder, {"gebv": table})
        files = {"markers": describe_file(args.markers)}
        if args.training is not None:
            files["training"] = describe_file(args.training)
        run = {"fit": args.fit, "command": args.words, "inputs": files, "scores": table.attrs}
        run |= {"seed": fit.run["settings"]["seed"], "versions": {"bmtme": __version__}}
        write_record(folder, run, "scores", columns)
