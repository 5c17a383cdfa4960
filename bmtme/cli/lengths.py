"""Options of runs with draws: how many, until when, how often they are written, and where they are meanwhile."""

from __future__ import annotations

import argparse
from typing import Any

from bmtme.choices import AUTO, SAMPLERS
from bmtme.cli.arguments import number, whole

__all__ = [
    "add_checkpoint_option",
    "add_limit_options",
    "add_stream_option",
    "check_limits",
    "draws",
    "list_lengths",
    "list_limits",
    "seconds",
]


def draws(text: str) -> int | str:
    """Type of an option: a number of draws, or the word auto."""
    return text if text == AUTO else whole(1)(text)


def seconds(text: str) -> float:
    """Type of an option: a positive number of seconds."""
    value = number(text)
    if value <= 0.0:
        raise argparse.ArgumentTypeError(f"expected a positive number of seconds, got {text!r}")
    return value


def add_limit_options(group: Any) -> None:
    """When draws suffice."""
    group.add_argument(
        "--ess", type=whole(1), metavar="N", help="with --draws auto: effective draws wanted (default: 400)"
    )
    group.add_argument(
        "--time-limit",
        type=seconds,
        metavar="SECONDS",
        help="with --draws auto: time after which no more draws are asked for",
    )


def check_limits(args: argparse.Namespace) -> None:
    """Refuse these where a number of draws is asked for."""
    for option, given in (("--ess", args.ess), ("--time-limit", args.time_limit)):
        if given is not None and args.draws != AUTO:
            args.parser.error(f"argument {option}: goes with --draws auto, which goes on until the draws suffice")


def list_limits(args: argparse.Namespace) -> dict[str, Any]:
    """Those that are given, as arguments; none of a run that is repeated with the number that it came to."""
    given = {name: getattr(args, name) for name in ("ess", "time_limit") if getattr(args, name) is not None}
    return given if args.draws == AUTO else {}


def add_checkpoint_option(group: Any, default: float | None = 60.0) -> None:
    """How often a run is written while it is under way."""
    group.add_argument(
        "--checkpoint-every",
        type=seconds,
        default=default,
        metavar="SECONDS",
        help="time between two checkpoints, from which 'bmtme resume DIR' goes on (default: 60)",
    )


def add_stream_option(group: Any) -> None:
    """Where the draws of a fit are while it is under way."""
    group.add_argument(
        "--stream",
        action="store_true",
        help="have draws on the disc, in the folder of the run, and not in memory, for fits whose draws exceed it; the "
        "numbers are the same",
    )


def list_lengths(args: Any) -> dict[str, Any]:
    """Length, number, seed and kind of the chains by the options of a command."""
    lengths = {name: getattr(args, name) for name in ("draws", "tune", "chains", "seed")}
    return lengths | {"sampler": args.sampler or SAMPLERS[0]}
