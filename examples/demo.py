"""A short run from phenotypes to predictions, on simulated data whose true parameters are known.

    make demo                                 or
    python examples/demo.py --out demo        to keep the files

It gives three shell commands, bmtme simulate, fit and cv, and compares what came out with the truth.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd

from bmtme.cli.main import main as bmtme

TRAITS = ("T1", "T2", "T3")


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulate a trial, fit it, compare models; takes about a minute.")
    parser.add_argument("--out", help="folder to keep the files in (default: a temporary one, removed at the end)")
    parser.add_argument("--lines", type=int, default=80)
    parser.add_argument("--partitions", type=int, default=5)
    parser.add_argument("--draws", type=int, default=2000, help="of the fit; a quarter of it in cross-validation")
    parser.add_argument("--tune", type=int, default=1000)
    args = parser.parse_args()
    if args.out:
        Path(args.out).mkdir(parents=True, exist_ok=True)
        with contextlib.chdir(args.out):
            run(args)
        print(f"\nAll files are in {args.out}.")
    else:
        with tempfile.TemporaryDirectory(prefix="bmtme-demo-") as folder, contextlib.chdir(folder):
            run(args)
        print("\nTo keep the files: python examples/demo.py --out demo")


def run(args: argparse.Namespace) -> None:
    """The demonstration, with its files in the working directory."""
    head("1. Simulate a trial: lines with markers, two plots in each of three environments, 20% not grown")
    shell(
        f"simulate --lines {args.lines} --reps 2 --relationship markers --missing 0.2",
        "--genetic-correlation 0.85 --residual-correlation 0.3 --seed 2 --out sim",
    )
    explain("\nThe phenotypes (here rounded) are what a breeder has: a row for each plot, a column for each trait.\n")
    print(pd.read_csv("sim/phenotypes.csv", nrows=3).round(2).to_csv(index=False).rstrip())

    data = (
        "sim/phenotypes.csv --relationship sim/relationship.csv",
        f"--line line --env env --rep rep --traits {','.join(TRAITS)}",
    )
    head("2. Fit the model (the first fit after an installation compiles the sampler: two or three minutes)")
    shell("fit", *data, f"--draws {args.draws} --tune {args.tune} --chains 4 --seed 1 --out fit")
    explain(
        "\nLook at 'convergence' first: only where the chains agree do the numbers below it mean anything. Then at the "
        "heritabilities: trait T1 is hard to breed for (true: 0.2), T3 is easy (0.8). Genetic correlations well away "
        "from zero say that one trait helps to predict another."
    )

    head("3. Compare with the truth, which only a simulation has")
    truth = json.loads(Path("sim/truth.json").read_text(encoding="utf-8"))
    compare_parameters(truth, pd.read_csv("fit/summary.csv", index_col="parameter"))
    compare_effects(truth, pd.read_csv("fit/predictions.csv"))

    head("4. Which model predicts best? Hide a fifth of every environment, predict it, and compare")
    shell(
        "cv",
        *data,
        f"--scheme cv1 --partitions {args.partitions} --model unstructured --model diagonal --model standard",
        f"--draws {max(args.draws // 4, 1)} --tune {args.tune // 4} --chains 2 --seed 1 --out cv",
    )
    explain(
        "\nThe unstructured model alone knows the correlations of the traits. They should help T1 most, whose own "
        "plots say least, and T3 least. Differences about as large as the standard errors may be chance: with 80 lines "
        "and another seed, the order of the models can change."
    )


def compare_parameters(truth: dict, summary: pd.DataFrame) -> None:
    """True parameters beside their estimates."""
    names: dict[str, float] = {}
    for env, means in truth["beta"].items():
        names |= {f"beta[{env}, {trait}]": value for trait, value in means.items()}
    names |= {f"Sigma_E[{env}, {env}]": values[env] for env, values in truth["Sigma_E"].items()}
    for kind, matrix in (("genetic", truth["Sigma_t"]), ("residual", truth["R_e"])):
        for l, trait in enumerate(TRAITS):
            for other in TRAITS[l + 1 :]:
                value = matrix[trait][other] / np.sqrt(matrix[trait][trait] * matrix[other][other])
                names[f"{kind}_correlation[{trait}, {other}]"] = value
    # The true heritability is that of an average environment; all are alike here.
    names |= {f"heritability[{env}, {t}]": value for env in truth["beta"] for t, value in truth["heritability"].items()}
    table = summary.loc[list(names), ["mean", "lower", "upper"]]
    table.insert(0, "truth", list(names.values()))
    within = (table["lower"] <= table["truth"]) & (table["truth"] <= table["upper"])
    table["inside"] = np.where(within, "yes", "no")
    print(table.round(2).to_string(index_names=False))
    explain(
        f"\n{within.sum()} of {len(within)} true values lie inside their 90% intervals; about nine in ten should (not "
        "in every data set: one unlucky draw of the lines moves many of them together).\n"
    )


def compare_effects(truth: dict, predictions: pd.DataFrame) -> None:
    """Predicted genetic values beside the true ones, for cells with and without plots."""
    predictions["true"] = [
        truth["beta"][env][trait] + truth["b1"][line][trait] + truth["b2"][env][line][trait]
        for line, env, trait in zip(predictions["line"], predictions["env"], predictions["trait"], strict=True)
    ]
    cells = np.where(predictions["n_obs"] > 0, "with plots", "without plots")
    # Within an environment: its mean is easy to know and would flatter the correlation.
    groups = predictions.groupby(["trait", cells, "env"])[["mean", "true"]]
    accuracy = groups.apply(lambda cell: cell["mean"].corr(cell["true"])).groupby(level=[0, 1]).mean().unstack()
    accuracy.index.name = None
    explain(
        "Correlation of predicted and true genetic values, in an environment (mean of the three). Cells without plots, "
        "where a line was not grown, are predicted from its other environments, its other traits and its relatives:\n"
    )
    print(accuracy.round(2).to_string())


def head(text: str) -> None:
    print(f"\n{text}\n{'=' * len(text)}")


def explain(text: str) -> None:
    print("\n".join(textwrap.fill(line, 100) for line in text.split("\n")))


def shell(*parts: str) -> None:
    """Show a command and run it as the shell would."""
    print("$ bmtme", " \\\n      ".join(parts), flush=True)
    code = bmtme([word for part in parts for word in part.split()])
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
