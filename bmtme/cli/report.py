"""``bmtme report``: the folder of a run as one page for a browser."""

from __future__ import annotations

import argparse
from typing import Any

from bmtme.cli.objects import add_json_option, say_object
from bmtme.cli.streams import say

USAGE = "bmtme report RUN [--check LINE] [--out FILE]"

EPILOG = """\
examples:
  bmtme report run
  bmtme report run --check B73
  bmtme report cvrun --out cv.html

RUN is a folder of 'bmtme fit', 'cv', 'adjust' or 'mixed', or of a result's save.
The page is one HTML file that needs no other and no network, and prints: what can
be trusted and what to do if not, rankings, correlations, heritabilities,
diagnostics, what a look at the data finds, settings, and a text of the methods
with citations. It may be made again; without --out it is RUN/report.html.
"""


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "report",
        help="make one page for a browser of a run",
        description="Make one page for a browser, or for print, of the folder of a run.",
        usage=USAGE,
        epilog=EPILOG,
    )
    parser.add_argument("folder", metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--check", dest="check_line", metavar="LINE", help="of a fit, line that the others are compared with"
    )
    add_json_option(parser)
    parser.add_argument("--out", metavar="FILE", help="the page (default: report.html in the folder)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error (or set BMTME_DEBUG=1)")
    parser.set_defaults(parser=parser, check=lambda args: None, run=run, check_out=check_out)


def check_out(name: str | None) -> None:
    """Refuse a page that could not be written before the run is read. An earlier one stays where anything fails."""
    if name is not None:
        from bmtme.report.html.page import check_report

        check_report(name)


def run(args: argparse.Namespace, out: None) -> int:
    """Make the page, and say where it is."""
    from bmtme.report.html.runs import report_run

    page = report_run(args.folder, args.out, args.check_line)
    if args.json:
        say_object(args, page, run=args.folder)
        return 0
    size = page.stat().st_size
    say(f"written to {page} ({max(size / 1e6, 0.1):.1f} MB): open it in a browser")
    return 0
