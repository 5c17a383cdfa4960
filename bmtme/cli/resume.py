"""``bmtme resume`` and ``bmtme extend``: runs that are gone on with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.cli.arguments import whole
from bmtme.cli.lengths import add_stream_option
from bmtme.cli.objects import add_json_option, say_object
from bmtme.cli.streams import say

if TYPE_CHECKING:
    from bmtme.results.checkpoint import Checkpoint

RESUME = """\
examples:
  bmtme resume run
  bmtme resume cvrun --cores 1

RUN is a folder of 'bmtme fit', 'bmtme cv' or 'bmtme mixed --posterior' (or of
checkpoint=, folder= in Python) whose run was stopped: by Ctrl-C, by a queue, by a
full disk, by a power cut. It goes on from the last checkpoint, in the warm-up too,
with the numbers of a run that was never stopped. The data are those in RUN; files
that have changed since are refused. Of a run that is finished, that is said.
"""
EXTEND = """\
examples:
  bmtme extend run --more 2000

RUN is a folder of 'bmtme fit' or 'bmtme mixed --posterior'. The numbers are those
of a run that was asked for so many draws at first. The results take the place of
those in RUN when they are complete; 'bmtme resume RUN' goes on with an extension
that was stopped. A report.html in RUN is made anew, and the folder of pictures gets
the number of its draws in its name.
"""


def add_command(commands: Any) -> None:
    """Add both commands to the parser."""
    for name, help_text, description, epilog in (
        ("resume", "go on with a run that was stopped", "Go on with a fit, a posterior or a cross-validation.", RESUME),
        ("extend", "give a finished run more draws", "Give a finished run more draws of each chain.", EXTEND),
    ):
        parser = commands.add_parser(name, help=help_text, description=description, epilog=epilog)
        parser.add_argument("out", metavar="RUN", help="folder of the run")
        if name == "extend":
            parser.add_argument("--more", type=whole(1), required=True, metavar="N", help="draws of each chain to add")
        parser.add_argument(
            "--cores", type=whole(1), metavar="N", help="chains run at a time (default: all processors)"
        )
        add_stream_option(parser)
        add_json_option(parser)
        parser.add_argument(
            "--debug", action="store_true", help="show the traceback of an error (or set BMTME_DEBUG=1)"
        )
        run = run_resume if name == "resume" else run_extend
        parser.set_defaults(parser=parser, check=lambda args: None, run=run, check_out=Path)


def run_resume(args: argparse.Namespace, out: Path | None) -> int:
    """Go on, and say what came out."""
    from bmtme.results.checkpoint import Checkpoint
    from bmtme.results.standing import is_finished
    from bmtme.resumption import renew_finished

    assert out is not None
    if is_finished(out):
        renew_finished(out)
        text = f"the run in {out} is finished: there is nothing to go on with."
        if args.json:
            say_object(args, out, finished=True)
        else:
            say(text)
        return 0
    return go_on(args, Checkpoint.open(out), out)


def run_extend(args: argparse.Namespace, out: Path | None) -> int:
    """Go on with a finished fit, and say what came out."""
    from bmtme.resumption import open_longer

    assert out is not None
    return go_on(args, open_longer(out, args.more), out)


def go_on(args: argparse.Namespace, checkpoint: Checkpoint, out: Path) -> int:
    """Run, and say what the command that began it would have said."""
    from bmtme import resumption
    from bmtme.cli.cv import tell_cv
    from bmtme.cli.fit import tell_fit
    from bmtme.cli.mixed import tell_posterior
    from bmtme.cv.result import CrossValidation
    from bmtme.results.mixed.posterior import MixedPosterior

    options = checkpoint.about.get("options", {})
    result = resumption.go_on(checkpoint, args.cores, None, args.stream)
    if isinstance(result, MixedPosterior):
        return tell_posterior(args, result, out)
    trial = checkpoint.request.trial
    if isinstance(result, CrossValidation):
        args.score, args.figures = options.get("score", []), options.get("figures", False)
        return tell_cv(args, result, trial, out)
    return tell_fit(args, result, trial, out)
