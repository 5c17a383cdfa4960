"""The shell command ``bmtme``: parses, calls, and turns every error into one message and an exit status."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import sys
import threading
import traceback
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from bmtme import __version__
from bmtme.cli import adjust, check, compare, cv, fit, grm, mixed, plot, rank, report, rerun, resume, score, simulate
from bmtme.cli.arguments import Parser, check_table_options
from bmtme.cli.inputs import check_out
from bmtme.cli.streams import complain, flush, plain_warnings
from bmtme.errors import BmtmeError

INTERRUPTED, TERMINATED, FAILED = 130, 143, 1
#: New objects between searches for unreachable ones: imports make a million, all of which stay.
SEARCH_EVERY = 50_000
#: What the loader of libraries says where memory is short.
_UNMAPPED = re.compile("failed to map segment|cannot allocate memory|Cannot allocate memory")
#: Signs of a message; more are cut out of its middle.
LONGEST = 2_000

EPILOG = """\
example:
  bmtme simulate --out sim
  bmtme check sim/phenotypes.csv --relationship sim/relationship.csv \\
      --line line --env env --traits T1,T2,T3
  bmtme fit sim/phenotypes.csv --relationship sim/relationship.csv \\
      --line line --env env --traits T1,T2,T3 --out run
  bmtme rank run --trait T1
  bmtme plot run ranking --trait T1
  bmtme report run
  bmtme cv sim/phenotypes.csv --relationship sim/relationship.csv \\
      --line line --env env --traits T1,T2,T3 --out cvrun

Each command has more in its own help, such as 'bmtme fit --help'.

exit status:
  0    done
  1    a failure of the machine, or a fault in bmtme; a rerun that differs
  2    a command that makes no sense, or --out is in use
  3    data that cannot be used
  4    a computation that broke down
  5    some fits of a cross-validation failed
  130  interrupted; 143 terminated. 'bmtme resume DIR' goes on
"""


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM), which is dealt with as Ctrl-C is."""


def run_process() -> int:
    """Run the command and end, with few garbage collections and none at the end: a fifth of a short command."""
    gc.set_threshold(SEARCH_EVERY)
    code = main()
    gc.freeze()  # what is left goes with the process, and need not be searched at its end
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Words after ``bmtme``; by default those of the process.

    Returns
    -------
    int
        Exit status: 0 done, 1 unexpected failure, 2 usage, 3 data, 4 numerical, 5 some CV tasks failed, 130
        interrupted, 143 terminated.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    out: Path | None = None
    try:
        with _end_on_sigterm(), plain_warnings():
            args = parse(words)
            # Most commands write a folder; one that does not has a check of its own.
            out = getattr(args, "check_out", check_out)(args.out)
            code: int = args.run(args, out)
            return code
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt as stop:
        complain(f"bmtme: interrupted; {_state(out)}")
        return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    except Exception as error:
        if "--debug" in words or os.environ.get("BMTME_DEBUG", "0") not in ("", "0"):
            traceback.print_exc()
        complain(f"bmtme: error: {explain(error, out)}")
        return error.exit_code if isinstance(error, BmtmeError) else FAILED
    finally:
        flush()


def parse(words: Sequence[str]) -> Namespace:
    """Parse the command line, and refuse options that do not belong together.

    Raises
    ------
    UsageError
    """
    parser = Parser(
        prog="bmtme", description="Bayesian multi-trait multi-environment genomic prediction.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"bmtme {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in (check, grm, adjust, fit, rank, plot, score, cv, compare, mixed, report, resume, rerun, simulate):
        module.add_command(commands)
    args, unknown = parser.parse_known_args(words)
    if "run" not in args:
        args.parser = parser
    if unknown:
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if "run" not in args:
        parser.error(f"a command is needed: {', '.join(commands.choices)}")
    args.words = ["bmtme", *words]
    args.check(args)
    if "xlsx" in args:
        check_table_options(args)
    return args


def explain(error: Exception, out: Path | None) -> str:
    """One message for any error."""
    if isinstance(error, BmtmeError):
        text = str(error)
        # A cell or a header of a file that is no table may fill many screens.
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 3 :]}"
    if isinstance(error, MemoryError) or (isinstance(error, ImportError) and _UNMAPPED.search(str(error))):
        detail = f" ({str(error).rstrip('.')})" if str(error) and isinstance(error, MemoryError) else ""
        return f"not enough memory{detail}; {_state(out)}. Ask for fewer draws, or take fewer lines."
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; {_state(out)}."
    detail = " ".join(str(error).split())
    return (
        f"unexpected {type(error).__name__}{f' ({detail})' if detail else ''}; {_state(out)}. This is a fault in "
        "bmtme: please report it, with the command and what it shows under --debug."
    )


def _state(out: Path | None) -> str:
    """Whether the output, absent or an empty folder at the start, has been written: it is, as a whole, or is not.

    Or it is on its way, and can be gone on with.
    """
    from bmtme.results.record import UNFINISHED, read_state
    from bmtme.results.standing import is_finished

    try:
        if out is not None and read_state(out) == UNFINISHED:
            return f"what was drawn up to the last checkpoint is kept: 'bmtme resume {out}' goes on"
        if out is not None and out.is_dir() and read_state(out) and not is_finished(out):
            return f"the results in {out} are as they were, and 'bmtme resume {out}' goes on for more draws"
        written = out is not None and (out.is_file() or (out.is_dir() and any(out.iterdir())))
    except (OSError, BmtmeError):
        written = False
    return f"the results are complete in {out}" if written else "nothing was written"


@contextlib.contextmanager
def _end_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does, so that nothing half-written stays."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
