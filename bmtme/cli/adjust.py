"""``bmtme adjust``: stage one, from plots to adjusted means with the covariance of their errors."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.choices import SPATIAL
from bmtme.cli.arguments import (
    Parser,
    add_common_options,
    add_format_options,
    add_table_options,
    file_name,
    split_names,
)
from bmtme.cli.inputs import check_optional_out, describe_file, record_command
from bmtme.cli.objects import add_json_option, list_rows, say_object
from bmtme.cli.outputs import describe_files
from bmtme.cli.streams import complain, say, width

if TYPE_CHECKING:
    from bmtme.results.stage_one.result import Adjustment

USAGE = """\
bmtme adjust PLOTS --line COL --env COL --traits A,B,... [--rep COL] [--block COL]
                    [--row COL] [--col COL] [--spatial auto|none|...] [--out DIR]"""

EPILOG = """\
examples:
  bmtme adjust plots.csv --line line --env env --traits yield --rep rep \\
      --block block --row row --col col --out means
  bmtme fit means --relationship grm.csv --out run

PLOTS is a table with a header and a row for each plot, in any order; a plot
without a value keeps its place in the field. In each environment lines and
replicates are fixed and blocks within replicates random; several traits are
fitted jointly. --row and --col are positions as whole numbers. What is made of
the field by --spatial:
  auto        the one with the least AIC of these, which have one fixed part
  linear      straight lines along rows and columns, and their product
  rows-cols   random rows and columns, too
  ar1         residuals that correlate along rows and columns (AR1 x AR1)
  ar1-nugget  the same beside independent errors
  psplines    two-dimensional P-splines
  none        positions do not count

With --out, DIR holds:
  means.csv         line, env, trait, mean, se (for display), se_stage2 (where
                    one number must stand for the errors), n_plots, estimable
  covariances.npz   of the errors over lines and traits, by environment
  candidates.csv    every model: log likelihood, parameters, AIC, the choice
  heritability.csv  by Cullis, with lines random in the model that is chosen;
                    sed, the standard error of a difference of two means
  outliers.csv      plots that differ from what the others predict; all stay in
  plots.csv         every plot: value, trend, residual, standardised
  field-ENV.png     values, trend and residuals where they lie
  variogram-ENV.png of the residuals, where enough lines have several plots
  quantiles-ENV.png standardised residuals against normal quantiles
  run.json          models, the options and versions
'bmtme fit DIR' and 'bmtme cv DIR' take the folder in place of a table.
"""


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "adjust",
        help="make plots into adjusted means: designs and fields, stage one",
        description="Adjust plots for their design and field: means of lines, and the covariance of their errors.",
        usage=USAGE,
        epilog=EPILOG,
    )
    group = parser.add_argument_group("data")
    group.add_argument("plots", type=file_name, metavar="PLOTS", help="table of plots")
    group.add_argument("--line", required=True, metavar="COL", help="column with the names of the lines")
    group.add_argument(
        "--env", metavar="COL", help="column with the names of the environments; not needed if there is one only"
    )
    group.add_argument(
        "--traits", required=True, action="append", metavar="A,B,...", help="columns with values, fitted jointly"
    )
    group.add_argument("--envs", action="append", metavar="A,B,...", help="environments to adjust (default: all)")
    add_format_options(group)
    group = parser.add_argument_group("design")
    group.add_argument("--rep", metavar="COL", help="column with the replicates")
    group.add_argument("--block", metavar="COL", help="column with the blocks within replicates")
    group.add_argument("--row", metavar="COL", help="column with the row of the field, a whole number")
    group.add_argument("--col", metavar="COL", help="column with the column of the field, a whole number")
    group.add_argument(
        "--spatial",
        choices=[name.replace("_", "-") for name in SPATIAL],
        default=SPATIAL[0],
        metavar="MODEL",
        help="what is made of the field; see below (default: %(default)s)",
    )
    add_json_option(parser)
    add_table_options(parser)
    add_common_options(parser, text="folder for the means; new or empty", required=False)
    parser.set_defaults(parser=parser, check=check, run=run, check_out=check_optional_out)


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not belong together; names become lists."""
    parser: Parser = args.parser
    args.missing = split_names(parser, "--missing", args.missing)
    args.traits = split_names(parser, "--traits", args.traits)
    args.envs = split_names(parser, "--envs", args.envs)
    args.spatial = args.spatial.replace("-", "_")
    if args.spatial not in SPATIAL[:2] and args.row is None and args.col is None:
        parser.error(f"argument --spatial: {args.spatial.replace('_', '-')} needs --row and --col")


def run(args: argparse.Namespace, out: Path | None) -> int:
    """Adjust, say what was found, and write all if that is wanted."""
    import numpy as np

    from bmtme.cli.inputs import name_format
    from bmtme.data.tables.files import read_table
    from bmtme.report.stage_one import describe_adjustment
    from bmtme.stage_one import adjust

    clock = [time.perf_counter()]
    table = read_table(args.plots, name_format(args), args.sheet)
    clock.append(time.perf_counter())
    design = args.rep, args.block, args.row, args.col
    means = adjust(table, args.line, args.env, args.traits, *design, args.spatial, args.envs)
    clock.append(time.perf_counter())
    for env, fit in means.fits.items():
        if not fit.converged:
            complain(f"warning: the fit of environment {env} {fit.message}")
    if out is not None:
        write(means, args, out, dict(zip(("read", "fit"), np.diff(clock).tolist(), strict=True)))
    if args.json:
        tables = {name: list_rows(found) for name, found in means.tables().items() if name != "plots"}
        say_object(args, out, means=list_rows(means.table), notes=list(means.notes), **tables)
        return 0
    say(describe_adjustment(means, width()))
    if out is not None:
        say(f"\n{describe_files(out)}")
    return 0


def write(means: Adjustment, args: argparse.Namespace, out: Path, seconds: dict[str, float]) -> None:
    """Write the means with all tables and pictures, all or nothing."""
    from bmtme.results.stage_one.storage import save_adjustment

    columns = {name: getattr(args, name) for name in ("line", "env", "traits", "rep", "block", "row", "col")}
    facts = {
        **record_command(args.words, {"plots": describe_file(args.plots)}, seconds),
        "columns_of_plots": columns,
        "spatial": args.spatial,
    }
    save_adjustment(out, means, facts, args.safe_text, args.xlsx, figures=True)
