"""``bmtme plot``: a picture of a run."""

from __future__ import annotations

import argparse
import hashlib
import textwrap
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.cli.arguments import Parser, add_common_options, number
from bmtme.cli.outputs import name_files
from bmtme.cli.rank import read_envs, warn_unreliable
from bmtme.cli.streams import say, width
from bmtme.errors import UsageError
from bmtme.results.record import PICTURES

if TYPE_CHECKING:
    from bmtme.report.pictures import Picture

USAGE = """\
bmtme plot RUN [NAME] [--trait TRAIT] [--env ENV] [--check LINE] [--top N]
                  [--lowest] [--score SCORE] [--model MODEL] [--parameter NAME]
                  [--out FILE.png|svg|pdf]"""

EPILOG = """\
examples:
  bmtme plot run
  bmtme plot run ranking --trait Yield --check B73
  bmtme plot run env-correlations --trait Yield --out yield.pdf
  bmtme plot cvrun calibration --model unstructured
  bmtme plot means field --env "Lincoln 2019"

RUN is a folder of 'bmtme fit', 'bmtme cv', 'bmtme adjust' or 'bmtme mixed'.
Without NAME the pictures that go with it are listed, with their options. Names of
traits, environments and lines are those of the data. Without --out the picture is
put into RUN/pictures, named by what it shows, in place of an earlier one.
"""

#: Endings of files.
ENDINGS = (".png", ".svg", ".pdf")
#: Dots to an inch.
DPI = 150
#: Bytes of a file's name; longer ones are cut, and a hash of the whole follows.
MOST_BYTES_IN_ALL = 180
#: Options that pictures take, in the order in which they name a file.
WORDS = {"best": "lowest"}
OPTIONS = ("trait", "env", "check", "top", "best", "score", "model", "parameter")


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "plot",
        help="draw a picture of a run: rankings, correlations, fields, chains, ...",
        description="Draw a picture of a run, or list those that go with it.",
        usage=USAGE,
        epilog=EPILOG,
    )
    parser.add_argument("result", metavar="RUN", help="folder of a run")
    parser.add_argument("name", metavar="NAME", nargs="?", help="name of the picture; without it they are listed")
    group = parser.add_argument_group("what is drawn")
    group.add_argument("--trait", metavar="TRAIT", help="trait; may be left out where there is one")
    group.add_argument("--env", metavar="ENV", help="environment; of rankings several, or weights: E1=2,E2=1")
    group.add_argument("--check", dest="check_line", metavar="LINE", help="line that the others are compared with")
    group.add_argument("--top", type=number, metavar="N", help="the best: a share below 1, or a number")
    group.add_argument("--lowest", action="store_true", help="low values are wanted")
    group.add_argument("--score", metavar="SCORE", help="of a cross-validation, such as pearson or msep")
    group.add_argument("--model", metavar="MODEL", help="of a cross-validation, by its label")
    group.add_argument("--parameter", action="append", metavar="NAME", help="name in the summary; once for each")
    add_common_options(
        parser, "FILE", "file for the picture, as .png, .svg or .pdf; an earlier one is replaced", required=False
    )
    parser.set_defaults(parser=parser, check=check, run=run, check_out=check_out)


def check(args: argparse.Namespace) -> None:
    """Gather the options that were given; without a picture there are none."""
    parser: Parser = args.parser
    given = {
        "trait": args.trait,
        "env": args.env,
        "check": args.check_line,
        "top": args.top,
        "best": "low" if args.lowest else None,
        "score": args.score,
        "model": args.model,
        "parameter": args.parameter,
    }
    args.options = {name: value for name, value in given.items() if value is not None}
    if args.name is None and (args.options or args.out is not None):
        parser.error("name the picture before its options: 'bmtme plot RUN' lists them")


def check_out(name: str | None) -> Path | None:
    """The file, refused before any work where it could not be written.

    Raises
    ------
    UsageError
    """
    from bmtme.arguments import check_place, file_path

    if name is None:
        return None
    path = Path(file_path(name, "argument --out"))
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"argument --out: expected a file as {', '.join(ENDINGS)}, got {name!r}.")
    if path.is_dir():
        raise UsageError(f"argument --out: {name} is a folder: name a file in it, such as {path / 'picture.png'}.")
    check_place(path, f"the file {name}")
    return path


def run(args: argparse.Namespace, out: Path | None) -> int:
    """List the pictures of a run, or draw one."""
    from bmtme.report.pictures import draw_picture, find_picture, list_pictures
    from bmtme.results.fit import Fit
    from bmtme.results.runs import open_run

    folder = Path(args.result)
    result = open_run(folder)
    if args.name is None:
        say("\n".join(describe_picture(each, width()) for each in list_pictures(result)))
        return 0
    picture = find_picture(result, args.name)
    takes = name_options(picture)
    for option in args.options:
        word = WORDS.get(option, option)
        if word not in takes:
            there = ", ".join(f"--{name}" for name in takes) if takes else "no option"
            args.parser.error(f"the picture {args.name!r} does not take --{word}: it takes {there}")
    options = dict(args.options)
    if "env" in options and picture.several:
        options["env"] = read_envs(args.parser, options["env"])
    figure = draw_picture(result, args.name, options)
    path = folder / PICTURES / name_file(args.name, options, partial(list_choices, result)) if out is None else out
    if isinstance(result, Fit) and picture.name != "chains":
        warn_unreliable(result)
    save(figure, path)
    say(f"written to {path}")
    return 0


def describe_picture(picture: Picture, columns: int) -> str:
    """Name, what it shows, and the options of the shell that it takes."""
    options = " ".join(f"--{name}" for name in name_options(picture))
    text = f"{picture.name:<20}{picture.words}{'; ' if options else ''}{options}"
    return textwrap.fill(text, columns, subsequent_indent=20 * " ", break_on_hyphens=False)


def name_options(picture: Picture) -> list[str]:
    """Options of the shell that a picture takes."""
    return [WORDS.get(name, name) for name in OPTIONS if name in picture.arguments]


def name_file(name: str, options: Mapping[str, Any], choose: Callable[[str], Iterable[str]]) -> str:
    """A file for a picture, by what it shows; other options give another name, also where capitals do not count.

    choose : the names that an option may have in this run, in its order
    """
    parts = [name]
    for option in OPTIONS:
        value = options.get(option)
        if value is None:
            continue
        names = name_files(choose(option), r"\w.")  # - and + stand between names
        if option == "env" and isinstance(value, dict):
            words = ["+".join(f"{names[env]}={weight:.15g}" for env, weight in value.items())]
        elif option == "env" and isinstance(value, list):
            words = ["+".join(names[env] for env in value)]
        elif option == "parameter":
            words = [names[each] for each in value]
        else:
            words = [f"{value:.15g}" if option == "top" else names.get(value, value)]
        # The trait comes first, and before each other word stands of what it is.
        parts += words if option == "trait" else [part for word in words for part in (option, word)]
    whole = "-".join(parts)
    if len(whole.encode()) > MOST_BYTES_IN_ALL:
        digest = hashlib.sha256(whole.encode()).hexdigest()[:12]
        whole = f"{whole.encode()[:MOST_BYTES_IN_ALL].decode(errors='ignore')}-{digest}"
    return f"{whole}.png"


def list_choices(result: Any, option: str) -> list[str]:
    """The names that an option may have in a run, in its order; of other options none."""
    from bmtme.decisions.covariances import list_names_along
    from bmtme.results.mixed.posterior import MixedPosterior
    from bmtme.results.stage_one.result import Adjustment

    if option == "parameter":
        return list(result._names) if isinstance(result, MixedPosterior) else list(result.summary().index)
    if option == "model":
        return list(dict.fromkeys(result.scores["model"]))
    if option == "check":
        return list(dict.fromkeys(result.predictions()["line"]))
    if option == "env" and isinstance(result, Adjustment):
        return list(dict.fromkeys(result.plots["env"]))
    return list_names_along(result, option) if option in ("trait", "env") else []


def save(figure: Any, path: Path) -> None:
    """Write a picture, whole or not at all.

    Raises
    ------
    OSError
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem[:100]}.part{path.suffix.lower()}")
    try:
        figure.savefig(temporary, dpi=DPI)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
