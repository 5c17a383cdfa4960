"""``bmtme fit``: one model fitted to one trial."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.choices import AUTO, KEEP
from bmtme.cli.arguments import (
    DATA_FORMAT,
    add_common_options,
    add_data_options,
    add_table_options,
    check_data_options,
    whole,
)
from bmtme.cli.forecast import add_dry_run, rehearse_fit
from bmtme.cli.inputs import check_optional_out, read_inputs
from bmtme.cli.lengths import add_checkpoint_option, add_stream_option, check_limits, list_lengths, list_limits
from bmtme.cli.models import ModelWords, add_model_options, make_model
from bmtme.cli.objects import add_json_option, list_rows, say_object
from bmtme.cli.outputs import check_size, describe_files, describe_run, list_results
from bmtme.cli.streams import say, width

if TYPE_CHECKING:
    from bmtme.data.trial import Trial
    from bmtme.results.fit import Fit

USAGE = """\
bmtme fit PHENO --relationship GRM --line COL --env COL --traits A,B,...
                 --out DIR [options]"""

EPILOG = f"""\
examples:
  bmtme fit pheno.csv --relationship grm.csv.gz --line line --env env \\
      --traits Yield,PH --out run
  bmtme fit pheno.csv --relationship grm.csv.gz --line line --env env \\
      --traits Yield,PH --model single --residual by-env --out run
  bmtme fit pheno.csv --relationship grm.csv.gz --line line --env env \\
      --traits Yield,PH --genetic free --dry-run

{DATA_FORMAT}
First it says whether the chains can be leaned on, at the end which lines are the
highest of each trait; 'bmtme rank DIR' ranks all. With --json all is one object:
settings, data, reliable, diagnosis, summary, best. --dry-run samples and writes
nothing: it says what would run, with memory and a rough time.

Afterwards DIR holds:
  summary.csv      means, covariances, genetic correlations, heritabilities:
                   mean, SD, 90% interval and diagnostics of each
  predictions.csv  every line of GRM in every environment for every trait, with
                   the 90% interval of a new plot
  idata.nc         all draws, for ArviZ; bmtme.load(DIR) gives the fit in Python
  run.json         settings, seed, versions, hashes of the inputs, timings:
                   'bmtme rerun DIR' repeats the run and compares
  checkpoint/      what 'bmtme resume DIR' goes on from where a run was stopped, and
                   'bmtme extend DIR --more N' for more draws; may be removed
"""


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "fit",
        help="fit a model: breeding values, genetic correlations, heritabilities",
        description="Fit a model to the phenotypes of lines in environments and predict all lines of the relationship.",
        usage=USAGE,
        epilog=EPILOG,
    )
    add_data_options(parser)
    add_model_options(parser, chains=4, several=False)
    group = parser.add_argument_group("output")
    group.add_argument(
        "--keep-effects",
        choices=KEEP,
        default=KEEP[0],
        help="draws of the lines' effects: all, at most 500, or none and no predictions; auto: all under 64 MB, else "
        "thin (default: %(default)s)",
    )
    group.add_argument("--cores", type=whole(1), metavar="N", help="chains run at a time (default: all processors)")
    add_stream_option(group)
    add_checkpoint_option(group)
    add_json_option(group)
    add_dry_run(group)
    add_table_options(parser)
    add_common_options(parser)
    parser.set_defaults(parser=parser, check=check, run=run, check_out=check_optional_out)


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not belong together."""
    check_data_options(args)
    check_limits(args)


def run(args: argparse.Namespace, out: Path | None) -> int:
    """Fit, write the folder `out`, and say what came out; or say what would be done."""
    model = make_model(ModelWords.of(args, args.model))
    inputs = read_inputs(args)
    if args.dry_run or out is None:
        return rehearse_fit(args, inputs, model)

    from bmtme.pipeline import compute
    from bmtme.request import Request
    from bmtme.results.checkpoint import Checkpoint
    from bmtme.results.storage import KIND
    from bmtme.sufficiency import FIRST

    draws = FIRST if args.draws == AUTO else args.draws
    check_size(out, inputs.trial, inputs.relationship, model, draws, args.chains, args.keep_effects)
    request = Request.checked(
        inputs.trial,
        inputs.relationship,
        model,
        **list_lengths(args),
        unrelated=args.unrelated,
        keep_effects=args.keep_effects,
        **list_limits(args),
    )
    about, every = describe_run(args, inputs.files, inputs.seconds), args.checkpoint_every
    begin = partial(Checkpoint.begin, out, KIND, request, about=about, every=every, stream=args.stream)
    return tell_fit(args, compute(request, args.cores, None, begin, args.stream), inputs.trial, out)


def tell_fit(args: argparse.Namespace, result: Fit, trial: Trial, out: Path) -> int:
    """Say what came out; returns the exit status."""
    from bmtme.report.best import describe_best, rank_best
    from bmtme.report.tables import describe_fit

    summary, best, files = result.summary(), rank_best(result), list_results(out)
    if args.json:
        say_object(
            args,
            out,
            files=files,
            settings=result.run["settings"],
            data=result.run["data"],
            reliable=result.reliable,
            diagnosis=result._diagnose(),
            auto=result.run.get(AUTO),
            summary=list_rows(summary),
            best={trait: list_rows(table.head(table.attrs["top"])) for trait, table in best.items()},
        )
        return 0
    say(describe_fit(summary, result.run, trial, width(), str(out)))
    if best:
        say(f"\n{describe_best(best, result.recorded_lines, result.reliable, width())}")
    say(f"\n{describe_files(out, files)}")
    return 0
