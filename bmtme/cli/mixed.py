"""``bmtme mixed``: a mixed model of plots by REML, or its posterior, from formulas."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmtme.choices import HERITABILITY_KINDS, HERITABILITY_RATIOS, KEEP
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
from bmtme.cli.objects import add_json_option, list_rows, say_object, simplify
from bmtme.cli.outputs import describe_files
from bmtme.cli.streams import complain, say, width
from bmtme.errors import UsageError
from bmtme.words import list_names

if TYPE_CHECKING:
    import pandas as pd

    from bmtme.results.mixed.fit import MixedFit
    from bmtme.results.mixed.posterior import MixedPosterior

DERIVED = ["expression", "estimate", "se"]
DRAWN = ["expression", "mean", "sd", "lower", "upper"]
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
"""


#: Options of the posterior and what holds where they are not given; of numbers the least, and what they are.
DEFAULTS = {"draws": 2000, "chains": 4, "seed": 1, "keep_effects": "auto"}
LENGTHS = {"draws": (1, "draws of each chain"), "chains": (1, "chains"), "seed": (0, "same seed, same numbers")}


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
    for name, (least, text) in LENGTHS.items():
        group.add_argument(f"--{name}", type=whole(least), metavar="N", help=f"{text} (default: {DEFAULTS[name]})")
    group.add_argument(
        "--keep-effects", choices=KEEP, help="effects of all draws, of 500 at most, or of none (default: auto)"
    )
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

    clock = [time.perf_counter()]
    model = Model(args.fixed, args.random, args.residual)  # formulas first: files may be large
    table = read_table(args.plots, name_format(args), args.sheet)
    model = Model(model.fixed, model.random, model.residual, read_known(args))
    clock.append(time.perf_counter())
    read = {"read": clock[1] - clock[0]}
    if args.posterior:
        if args.predict or args.heritability or args.derive:
            refuse_unknown(model.fit(table, args.weights, False), args)
        return run_posterior(args, model.posterior(table, weights=args.weights, **take_options(args)), read, out)
    fit = model.fit(table, args.weights)
    seconds = read | {"fit": time.perf_counter() - clock[1]}
    more = make_tables(fit, args)
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


def take_options(args: argparse.Namespace) -> dict[str, Any]:
    """Options of the posterior as arguments."""
    return {name: getattr(args, name) for name in DEFAULTS}


def run_posterior(args: argparse.Namespace, posterior: MixedPosterior, read: dict[str, float], out: Path | None) -> int:
    """Say what was drawn, and write all if that is wanted."""
    from bmtme.report.mixed import describe_table
    from bmtme.report.mixed_posterior import describe_posterior

    more = describe_draws(posterior, args)
    if out is not None:
        posterior.write(out, describe_command(args, read | posterior.run["seconds"]), args.safe_text, args.xlsx, more)
    if args.json:
        tables = {name: list_rows(found) for name, found in {**posterior.tables(), **more}.items()}
        say_object(args, out, **posterior.run | {"means": list_facts(more)}, **tables)
        return 0
    texts = [describe_table(*each, width()) for each in more.items()]
    say("\n\n".join([describe_posterior(posterior, width()), *texts]))
    if out is not None:
        say(f"\n{describe_files(out)}")
    return 0


def refuse_unknown(fit: MixedFit, args: argparse.Namespace) -> None:
    """What cannot be made of this model, before chains are drawn for it.

    Raises
    ------
    UsageError
    """
    from bmtme.results.mixed.expressions import evaluate_draws
    from bmtme.results.mixed.heritability import list_ratios

    for term in args.heritability or []:
        list_ratios(term, "mean", fit.random, fit.layout, fit.named)
    for expression in args.derive or []:
        evaluate_draws(expression, fit.named, fit.result.estimates[None])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the posterior follow
        for term in args.predict or []:
            fit.predict(term)


def describe_draws(posterior: MixedPosterior, args: argparse.Namespace) -> dict[str, pd.DataFrame]:
    """As `make_tables`, of draws: with means, standard deviations and intervals; no heritability of Cullis'.

    Raises
    ------
    UsageError
    """
    import pandas as pd

    found = {f"predict-{term}": posterior.predict(term) for term in args.predict or []}
    if args.heritability:
        found["heritability"] = tabulate_heritabilities(posterior, args.heritability, HERITABILITY_RATIOS)
    if args.derive:
        derived = [posterior.derive(expression) for expression in args.derive]
        found["derived"] = pd.DataFrame([[getattr(each, name) for name in DRAWN] for each in derived], columns=DRAWN)
    return found


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


def make_tables(fit: MixedFit, args: argparse.Namespace) -> dict[str, pd.DataFrame]:
    """Means, heritabilities and functions of the variances that were asked for, by name.

    Raises
    ------
    UsageError
    """
    import pandas as pd

    found = {f"predict-{term}": fit.predict(term) for term in args.predict or []}
    if args.heritability:
        found["heritability"] = tabulate_heritabilities(fit, args.heritability, HERITABILITY_KINDS)
    if args.derive:
        derived = [fit.derive(expression) for expression in args.derive]
        found["derived"] = pd.DataFrame([(d.expression, d.estimate, d.se) for d in derived], columns=DERIVED)
    return found


def tabulate_heritabilities(
    result: MixedFit | MixedPosterior, terms: Sequence[str], kinds: Sequence[Any]
) -> pd.DataFrame:
    """Heritabilities of several terms, the term first."""
    import pandas as pd

    table = pd.concat(
        [result.heritability(term, kind).assign(term=term) for term in terms for kind in kinds], ignore_index=True
    )
    return table[["term", *table.columns.drop("term")]]


def list_facts(more: dict[str, pd.DataFrame]) -> Any:
    """What is to be known of tables of means beside their rows: errors of differences, and what was averaged over."""
    return simplify({name: table.attrs for name, table in more.items() if table.attrs})


def write(
    fit: MixedFit, args: argparse.Namespace, out: Path, more: dict[str, pd.DataFrame], seconds: dict[str, float]
) -> None:
    """Write the tables and the record, all or nothing."""
    from bmtme.results.mixed.storage import save_mixed

    save_mixed(out, fit, describe_command(args, seconds) | {"means": list_facts(more)}, args.safe_text, args.xlsx, more)


def describe_command(args: argparse.Namespace, seconds: dict[str, float]) -> dict[str, Any]:
    """The command and its files, for the record."""
    files = {"plots": describe_file(args.plots)}
    files |= {f"known {name}": describe_relationship(path) for name, path in args.known.items()}
    return record_command(args.words, files, seconds)
