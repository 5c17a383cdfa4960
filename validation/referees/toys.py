"""The R package BMTME on the example sets that it ships, beside bmtme: what agrees, what cannot, and why.

Three ways of running it: as its help page says; with inputs that keep its known defects from doing harm; and so without
an interaction, where both programs have one model. Needs the sets (BMTME_DATA) and R with BMTME (see
`validation.rscript`).
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from validation.referees.estimates import ENOUGH, ENOUGH_QUICK, compare, describe_size, is_settled
from validation.referees.toyruns import READ, TRAITS, Pair, analyse, pair, read_toy, run_documented, run_repaired
from validation.referees.toytables import draw_heritability, draw_pairs, list_tables
from validation.registry import LEVEL, Options, Row, register, write_figure, write_tables
from validation.rscript import find_version, skip_r
from validation.trials import skip

CHECK = "toys: bmtme and BMTME in R"
#: Kept and dropped sweeps of BMTME: as documented; repaired; repaired without interaction, each of two chains.
LENGTHS = {"documented": (1500, 500), "repaired": (5000, 500), "main": (7000, 500)}
CHAINS = 2
#: The sets on which the one model is compared.
COMPARED = ("WheatIranianToy", "WheatToy")


def judge(one: Pair, enough: float = ENOUGH) -> list[Row]:
    """Two rows: the means, and whether the fault of the fitted values is what it was read to be."""
    z, p = compare(one.ours, one.theirs)
    off, left = one.offset
    fitted = f"{CHECK}, the error of its fitted values is explained by the start: {one.toy.name}"
    found = find_version("BMTME")
    return [
        Row(f"{CHECK}, main effects: {one.toy.name}", describe_size(one.ours, one.theirs),
            "largest difference, in errors", f"{np.abs(z).max():.1f}; p (x {len(z)}) {p:.2g}",
            bool(p > LEVEL and is_settled(one.ours, one.theirs, enough=enough))),
        Row(fitted, f"{len(one.toy.scaled.values)} records", "size of the error; what is left",
            f"{off:.2g}; {left:.1g} SDs", off > 1e-3 and left < 1e-9)
        if found == READ else Row(fitted, "", "", f"a fault of BMTME {READ}, here is {found}", None),
    ]  # fmt: skip


def run_quick(options: Options) -> list[Row]:
    """One short chain on the smallest set, without interaction."""
    toy = read_toy(COMPARED[0])
    if toy is None:
        return [skip(CHECK, "toys")]
    if find_version("BMTME") is None:
        return [skip_r(CHECK, "BMTME")]
    return judge(pair(toy, [run_repaired(toy, 2000, 200, options.seed, False)], options), ENOUGH_QUICK)


def run_full(options: Options) -> list[Row]:
    """All sets as documented and repaired, two of them without interaction."""
    found = [read_toy(name) for name in TRAITS]
    toys = [toy for toy in found if toy is not None]
    if len(toys) < len(found):
        return [skip(CHECK, "toys")]
    if find_version("BMTME") is None:
        return [skip_r(CHECK, "BMTME")]
    began = time.perf_counter()
    long = toys[::-1]  # the longest first
    with ThreadPoolExecutor(options.cores) as pool:
        main = {
            (toy.name, c): pool.submit(run_repaired, toy, *LENGTHS["main"], 100 * options.seed + c, False)
            for toy in long if toy.name in COMPARED for c in range(CHAINS)
        }  # fmt: skip
        as_said = {toy.name: pool.submit(run_documented, toy, *LENGTHS["documented"], options.seed) for toy in long}
        mended = {toy.name: pool.submit(run_repaired, toy, *LENGTHS["repaired"], options.seed, True) for toy in long}
    results = [analyse(toy, as_said[toy.name].result(), mended[toy.name].result(), options) for toy in toys]
    pairs = [pair(toy, [main[toy.name, c].result() for c in range(CHAINS)], options)
             for toy in toys if toy.name in COMPARED]  # fmt: skip
    rows = [row for one in pairs for row in judge(one)]
    write_figure(options, "toys", draw_pairs(pairs))
    write_figure(options, "toys-heritability", draw_heritability(results))
    write_tables(options, "toys", rows, list_tables(results, pairs), time.perf_counter() - began)
    return rows


register("toys", run_quick, run_full)
