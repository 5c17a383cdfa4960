"""From a simulation to a plot: cross-validated accuracy of three models by environment and trait.

    python examples/accuracy.py --out accuracy.png

The traits are correlated, and a fifth of the lines of every environment is predicted from the other environments and
from relatives. The unstructured model can borrow from the other traits, the diagonal and the standard ones cannot.
"""

from __future__ import annotations

import argparse

import bmtme

MODELS = ("unstructured", "diagonal", "standard")


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulate a trial, compare models by cross-validation, plot.")
    parser.add_argument("--out", default="accuracy.png", help="file of the plot (default: %(default)s)")
    parser.add_argument("--lines", type=int, default=80)
    parser.add_argument("--partitions", type=int, default=10)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--tune", type=int, default=300)
    args = parser.parse_args()

    simulation = bmtme.simulate(lines=args.lines, reps=2, relationship="markers", genetic_correlation=0.85, seed=2)
    trial = bmtme.Trial.from_frame(simulation.frame, line="line", env="env", rep="rep", traits=["T1", "T2", "T3"])

    cv = bmtme.cross_validate(
        trial,
        simulation.relationship,
        models={name: bmtme.BMTME(name) for name in MODELS},
        scheme=bmtme.CV1(partitions=args.partitions, test_fraction=0.2),
        draws=args.draws,
        tune=args.tune,
        chains=2,
        seed=1,
    )
    print(cv.summary().round(3).to_string(index=False))

    cv.plot_accuracy().savefig(args.out, dpi=150)
    print(f"\nwritten to {args.out}")


if __name__ == "__main__":
    main()
