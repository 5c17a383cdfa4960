"""``bmtme mixed``: a mixed model of plots by REML, or its posterior, from formulas."""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.choices import KEEP, POSTERIOR
from bmtme.cli.arguments import (
    Parser,
    add_common_options,
    add_format_options,
    add_ids_option,
    add_pedigree_options,
    add_table_options,
    file_name,
    settle_pedigree_options,
    split_names,
    whole,
)
from bmtme.cli.inputs import check_optional_out, describe_file, describe_relationship, record_command
from bmtme.cli.lengths import add_checkpoint_option, add_limit_options, check_limits, draws, list_limits
from bmtme.cli.objects import add_json_option, list_rows, say_object, simplify
from bmtme.cli.outputs import describe_files, describe_run
from bmtme.cli.streams import complain, say, width
from bmtme.errors import UsageError
from bmtme.words import list_names

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.data.tables.files import Table
    from bmtme.mixed import Model
    from bmtme.results.mixed.asked import Asked
    from bmtme.results.mixed.fit import MixedFit
    from bmtme.results.mixed.posterior import MixedPosterior

USAGE = """\
bmtme mixed PLOTS --fixed "yield ~ site"
                   [--random "site:gen + known(line)"]
                   [--residual "ar1(col):ar1(row) | site"]
                   [--known line=A.csv] [--predict gen:site]
                   [--heritability TERM] [--derive "gen / (gen + residual)"]
                   [--posterior] [--out DIR]"""

EPILOG = """\
examples:
  bmtme mixed plots.csv --fixed "yield ~ rep" --random "gen + rep:block" \\
      --out run
  bmtme mixed plots.csv --fixed "yield ~ gen" --residual "ar1(col):ar1(row)"
  bmtme mixed plots.csv --fixed "yield ~ site + C(year)" \\
      --random "at(site):col + us(site):gen" \\
      --residual "ar1(col):ar1(row) | site"
  bmtme mixed animals.csv --fixed "BWT + TARSUS ~ trait + trait:sex" \\
      --random "us(trait):known(id)" --residual "us(trait):units" \\
      --known id=pedigree.csv --out run
  bmtme mixed plots.csv --fixed "yield ~ rep" --random "gen + rep:block" \\
      --predict gen --heritability gen --derive "gen / (gen + residual)"
  bmtme mixed plots.csv --fixed "yield ~ rep" --random "gen" --posterior \\
      --draws 2000 --chains 4 --seed 1 --out post

PLOTS is a table with a header and a row for each plot, in any order; a plot
without a value keeps its place in the field. In --fixed a column of numbers is a
covariate, text a factor, and C(x) makes a factor of numbers. In --random and
--residual names are factors; : is the Kronecker product, and a plain name has
independent levels. There are us(x), diag(x), corh(x), cs(x), fa(x, k), ar1(x),
known(x), and at(x) or at(x, "A") for a term at each, or one, of the levels; units
is the plot, trait the trait where the response has several. Names with blanks or
signs stand in back-quotes, and the whole formula in the shell's quotes.

A relationship (--known NAME=FILE) is in any format that 'bmtme fit --help' lists,
or a pedigree; levels are matched by name.

With --out, DIR holds:
  components.csv     variances, covariances, correlations with errors
  fixed_effects.csv  fixed effects; wald.csv: tests of them
  blup-TERM.csv      predicted effects of each random term, with reliabilities
  residuals.csv      of every value; field.csv: where they lie, of a field
  predict-TERM.csv, heritability.csv, derived.csv: where they were asked for
  run.json           likelihood, formulas, the options and versions

With --posterior, chains draw from the posterior, and DIR holds:
  summary.csv        of every variance, covariance and correlation
  fixed_effects.csv  fixed effects; effects-TERM.csv: of each random term
  predict-TERM.csv, heritability.csv, derived.csv: where they were asked for, of
                     the draws (no heritability of Cullis', which is REML's)
  idata.nc           all draws, for ArviZ; bmtme.load(DIR) gives them in Python
  run.json           formulas, priors, how the chains went, the options and versions
  checkpoint/        what 'bmtme resume DIR' goes on from where a run was stopped, and
                     'bmtme extend DIR --more N' for more draws; may be removed
"""


#: Options of the posterior, and what holds where they are not given.
SETTINGS = {"draws": 2000, "chains": 4, "seed": 1, "keep_effects": "auto"}
DEFAULTS = SETTINGS | {"ess": None, "time_limit": None, "cores": None, "checkpoint_every": 60.0}
#: What is made of a fit or a posterior besides.
ASKED = ("predict", "heritability", "derive")


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "mixed",
        help="fit a mixed model of plots by REML: designs, fields, pedigrees",
        description="Fit a mixed model by restricted maximum likelihood, or draw from its posterior.",
        usage=USAGE,
        epilog=EPILOG,
    )
    group = parser.add_argument_group("data")
    group.add_argument("plots", type=file_name, metavar="PLOTS", help="table of plots")
    add_format_options(group)
    group = parser.add_argument_group("model")
    group.add_argument("--fixed", required=True, metavar="FORMULA", help="response and fixed part, 'yield ~ site'")
    group.add_argument("--random", metavar="FORMULA", help="random terms (default: none)")
    group.add_argument(
        "--residual", default="units", metavar="FORMULA", help="residual (default: units, independent plots)"
    )
    group.add_argument(
        "--known", action="append", metavar="NAME=FILE", help="relationship for known(NAME); once for each"
    )
    group.add_argument("--weights", metavar="COL", help="column with weights, such as plots behind a mean")
    group = parser.add_argument_group("what is made of it, once for each")
    group.add_argument("--predict", action="append", metavar="TERM", help="adjusted means, of gen or gen:site")
    group.add_argument("--heritability", action="append", metavar="TERM", help="heritabilities of a random term")
    group.add_argument(
        "--derive", action="append", metavar="EXPR", help="a function of the variances, 'gen / (gen + residual)'"
    )
    group = parser.add_argument_group("relationships")
    add_ids_option(group)
    add_pedigree_options(parser.add_argument_group("pedigree"))
    group = parser.add_argument_group("posterior")
    group.add_argument("--posterior", action="store_true", help="draw from the posterior, with weak priors")
    for name, kind, text in (
        ("draws", draws, "draws of each chain, or auto: as many as suffice"),
        ("chains", whole(1), "chains"),
        ("seed", whole(0), "same seed, same numbers"),
    ):
        group.add_argument(f"--{name}", type=kind, metavar="N", help=f"{text} (default: {DEFAULTS[name]})")
    add_limit_options(group)
    group.add_argument(
        "--keep-effects", choices=KEEP, help="effects of all draws, of 500 at most, or of none (default: auto)"
    )
    group.add_argument("--cores", type=whole(1), metavar="N", help="chains run at a time (default: all processors)")
    add_checkpoint_option(group, None)
    add_json_option(parser)
    add_table_options(parser)
    add_common_options(parser, text="folder for the tables; new or empty", required=False)
    parser.set_defaults(parser=parser, check=check, run=run, check_out=check_optional_out)


def check(args: argparse.Namespace) -> None:
    """Refuse options that do not belong together; names become lists, relationships a dict of files."""
    parser: Parser = args.parser
    args.missing = split_names(parser, "--missing", args.missing)
    settle_pedigree_options(args)
    for name, default in DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
        elif not args.posterior:
            parser.error(f"argument --{name.replace('_', '-')}: needs --posterior")
    check_limits(args)
    files: dict[str, str] = {}
    for text in args.known or []:
        name, sign, file = (part.strip() for part in text.partition("="))
        if not sign or not name or not file:
            parser.error(f"argument --known: expected NAME=FILE, as in line=A.csv, got {text!r}")
        if name in files:
            parser.error(f"argument --known: {name!r} is there twice")
        files[name] = file
    args.known = files


def run(args: argparse.Namespace, out: Path | None) -> int:
    """Fit, say what was found, and write all if that is wanted."""
    from bmtme.cli.inputs import name_format
    from bmtme.data.tables.files import read_table
    from bmtme.mixed import Model
    from bmtme.report.mixed import describe_fit, describe_table
    from bmtme.results.mixed.asked import Asked, list_facts

    clock = [time.perf_counter()]
    model = Model(args.fixed, args.random, args.residual)  # formulas first: files may be large
    table = read_table(args.plots, name_format(args), args.sheet)
    model = Model(model.fixed, model.random, model.residual, read_known(args))
    asked = Asked(*(tuple(getattr(args, name) or ()) for name in ASKED))
    clock.append(time.perf_counter())
    read = {"read": clock[1] - clock[0]}
    if args.posterior:
        return draw(args, model, table, asked, read, out)
    fit = model.fit(table, args.weights)
    seconds = read | {"fit": time.perf_counter() - clock[1]}
    more = asked.make_tables(fit)
    if not fit.converged:
        complain(f"warning: the fit {fit.message}")
    if out is not None:
        write(fit, args, out, more, seconds)
    if args.json:
        both = {**fit.tables(), **more}
        tables = {name: list_rows(found) for name, found in both.items() if name not in ("residuals", "field")}
        say_object(args, out, **fit.record(), means=list_facts(more), **tables)
        return 0
    say("\n\n".join([describe_fit(fit, width()), *(describe_table(*each, width()) for each in more.items())]))
    if out is not None:
        say(f"\n{describe_files(out)}")
    return 0


def draw(
    args: argparse.Namespace, model: Model, table: Table, asked: Asked, read: dict[str, float], out: Path | None
) -> int:
    """Draw from the posterior, and write all while it is under way if that is wanted."""
    from bmtme.mixed_posterior import PosteriorRequest, compute_posterior
    from bmtme.results.checkpoint import Checkpoint

    options = {name: getattr(args, name) for name in SETTINGS} | list_limits(args)
    request = PosteriorRequest.checked(
        model.fixed, model.random, model.residual, model.known, table, args.weights, asked=asked, **options
    )
    begin = None
    if out is not None:
        about = describe_run(args, describe_inputs(args), read["read"])
        begin = partial(Checkpoint.begin, out, POSTERIOR, request.trim(), about=about, every=args.checkpoint_every)
    return tell_posterior(args, compute_posterior(request, args.cores, None, begin), out)


def tell_posterior(args: argparse.Namespace, posterior: MixedPosterior, out: Path | None) -> int:
    """Say what was drawn; returns the exit status."""
    from bmtme.report.mixed import describe_table
    from bmtme.report.mixed_posterior import describe_posterior
    from bmtme.results.checkpoint import SHELL
    from bmtme.results.mixed.asked import list_facts

    if args.json:
        tables = {name: list_rows(found) for name, found in {**posterior.tables(), **posterior.asked}.items()}
        run = {name: value for name, value in posterior.run.items() if name not in SHELL}
        say_object(args, out, **run | {"means": list_facts(posterior.asked)}, **tables)
        return 0
    texts = [describe_table(*each, width()) for each in posterior.asked.items()]
    say("\n\n".join([describe_posterior(posterior, width(), None if out is None else str(out)), *texts]))
    if out is not None:
        say(f"\n{describe_files(out)}")
    return 0


def read_known(args: argparse.Namespace) -> dict[str, Any]:
    """Relationships by factor, and inverses of those of pedigrees, to which alone the options of pedigrees apply.

    Raises
    ------
    DataError, UsageError
    """
    from bmtme.cli.kinship import name_pedigree
    from bmtme.data.relationship.files import read_relationship
    from bmtme.data.relationship.pedigree import pedigree_inverse
    from bmtme.data.relationship.pedigree_table import is_pedigree, read_pedigree

    id, sire, dam = args.pedigree_columns
    for name, path in args.known.items():
        if path == "identity":
            raise UsageError(f"argument --known: unrelated levels are {name} in the random formula, without known().")
    pedigrees = {name for name, path in args.known.items() if is_pedigree(path, id, sire, dam)}
    if not pedigrees and args.named_pedigree and len(args.known) == 1:
        pedigrees = set(args.known)  # its reader names the column that is not there
    options = {
        "--pedigree-columns": args.named_pedigree,
        "--pedigree-missing": args.pedigree_missing,
        "--selfing": args.selfing is not None,
    }
    for option in (option for option, given in options.items() if given and not pedigrees):
        files = list_names(Path(path).name for path in args.known.values())
        has = f"{files} {'has' if len(args.known) == 1 else 'have'} no columns {id}, {sire}, {dam}"
        raise UsageError(
            f"argument {option}: is for a pedigree as --known, but {has if args.known else 'there is none'}: name "
            "those of a pedigree with --pedigree-columns, or leave it out."
        )
    found: dict[str, Any] = {}
    for name, path in args.known.items():
        if name in pedigrees:
            frame = read_pedigree(path, id, sire, dam)
            found[name] = pedigree_inverse(frame, **name_pedigree(args, frame))
        else:
            found[name] = read_relationship(path, ids=args.ids)
    return found


def write(
    fit: MixedFit, args: argparse.Namespace, out: Path, more: dict[str, pd.DataFrame], seconds: dict[str, float]
) -> None:
    """Write the tables and the record, all or nothing."""
    from bmtme.results.mixed.asked import list_facts
    from bmtme.results.mixed.storage import save_mixed

    run = record_command(args.words, describe_inputs(args), seconds) | {"means": simplify(list_facts(more))}
    save_mixed(out, fit, run, args.safe_text, args.xlsx, more)


def describe_inputs(args: argparse.Namespace) -> dict[str, Any]:
    """The files of the command, for the record."""
    files = {"plots": describe_file(args.plots)}
    return files | {f"known {name}": describe_relationship(path) for name, path in args.known.items()}
