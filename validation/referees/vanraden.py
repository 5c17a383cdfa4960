"""Relationships from markers against independent programs: sgkit, and PLINK 1.9 where it is on the PATH.

sgkit wants older libraries than bmtme does by default, so it gets an environment of its own, into which both go::

    python3.11 -m venv referee
    referee/bin/pip install sgkit '.[plink,vcf]'
    referee/bin/python validation/referees/vanraden.py [MARKERS.npz ...]

Without files, simulated markers are compared. Every line of the table is a matrix by bmtme, the same by a referee, and
the largest difference of their entries, relative to the mean diagonal. The exit status is 1 if one is above its limit,
which is set by what the referee writes: PLINK's text has six digits, its binary files 32-bit floats.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

import bmtme

LIMITS = {"sgkit": 1e-12, "PLINK --make-rel cov": 1e-5, "PLINK --make-grm-bin": 1e-6, "PLINK's fileset": 1e-12}


def by_sgkit(copies: np.ndarray) -> np.ndarray:
    """VanRaden's first method of complete (lines, markers) dosages."""
    import sgkit
    import xarray

    data = xarray.Dataset({"call_dosage": (("variants", "samples"), copies.T)})
    data["frequency"] = ("variants", copies.mean(axis=0) / 2)
    result = sgkit.genomic_relationship(data, estimator="VanRaden", ancestral_frequency="frequency", ploidy=2)
    return result["stat_genomic_relationship"].to_numpy()


def run_plink(folder: Path, *words: str) -> None:
    subprocess.run(["plink1.9", "--allow-no-sex", *words], cwd=folder, check=True, capture_output=True)


def compare_plink(markers: bmtme.Markers, copies: np.ndarray) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """What PLINK computes from a fileset, and what it makes of files of ours, for complete 0, 1, 2 genotypes."""
    from bed_reader import to_bed

    frequency = copies.mean(axis=0) / 2
    # PLINK gives covariances per marker.
    factor = len(frequency) / (2 * frequency * (1 - frequency)).sum()
    first, second = (bmtme.vanraden(markers, method=method) for method in (1, 2))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = [f"M{k}" for k in range(copies.shape[1])]
        labels = {"fid": ["F"] * len(markers.lines), "iid": list(markers.lines), "sid": names}
        places = {"chromosome": ["1"] * len(names), "bp_position": np.arange(1, len(names) + 1)}
        alleles = {"allele_1": ["A"] * len(names), "allele_2": ["C"] * len(names)}
        to_bed(folder / "m.bed", copies.astype(np.int8), properties={**labels, **places, **alleles})
        run_plink(folder, "--bfile", "m", "--make-rel", "cov", "square", "--out", "cov")
        run_plink(folder, "--bfile", "m", "--make-grm-bin", "--out", "grm")
        run_plink(folder, "--bfile", "m", "--recode", "vcf-iid", "--out", "m")
        yield "method 1", "PLINK --make-rel cov", first.matrix, factor * np.loadtxt(folder / "cov.rel")
        theirs = bmtme.read_relationship(folder / "grm.grm.bin")
        yield "method 2, file read", "PLINK --make-grm-bin", second.matrix, theirs.subset(markers.lines).matrix
        for file in ("m.bed", "m.vcf"):
            read = bmtme.vanraden(bmtme.read_markers(folder / file))
            yield f"method 1 from {file[1:]}", "PLINK's fileset", first.matrix, read.subset(markers.lines).matrix
        bmtme.write_relationship(second, folder / "ours.grm.bin", markers=len(names))
        theirs, ours = (np.fromfile(folder / f"{name}.grm.bin", dtype="<f4") for name in ("grm", "ours"))
        yield "method 2, file written", "PLINK --make-grm-bin", square(ours), square(theirs)
        if (folder / "ours.grm.N.bin").read_bytes() != (folder / "grm.grm.N.bin").read_bytes():
            raise SystemExit("the numbers of markers in .grm.N.bin differ")
        # PLINK reads such files only to prune relatives: those that stay must be the same.
        for name in ("grm", "ours"):
            run_plink(folder, "--grm-bin", name, "--rel-cutoff", "0.1", "--out", f"pruned-{name}")
        stay = [(folder / f"pruned-{name}.grm.id").read_text().split()[1::2] for name in ("grm", "ours")]
        if stay[0] != stay[1]:
            raise SystemExit(f"PLINK prunes to other lines by our file: {len(stay[1])} stay, not {len(stay[0])}")


def square(triangle: np.ndarray) -> np.ndarray:
    """The lower triangle, row by row, as a matrix that is zero above."""
    n = int(np.sqrt(2 * len(triangle)))
    matrix = np.zeros((n, n))
    matrix[np.tril_indices(n)] = triangle
    return matrix


def simulated() -> dict[str, bmtme.Markers]:
    held = bmtme.simulate(lines=200, relationship="markers", seed=7).markers
    rng = np.random.default_rng(7)
    copies = rng.binomial(2, rng.uniform(0.05, 0.95, held.shape[1]), held.shape)
    outbred = pd.DataFrame(copies, index=held.index, columns=held.columns)
    gaps = outbred.astype(float).mask(rng.random(held.shape) < 0.1)
    frames = {"simulated, inbred": held, "simulated, outbred": outbred, "simulated, 10% missing": gaps}
    return {name: bmtme.Markers.from_frame(frame) for name, frame in frames.items()}


def main(files: list[str]) -> int:
    sets = simulated()
    for file in files:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 0 and 1 only: both sides take them as copies
            sets[Path(file).parent.name or file] = bmtme.read_markers(file)
    worst = 0.0
    print(f"{'markers':28s} {'bmtme':26s} {'referee':24s} {'lines':>6s} {'markers':>8s} {'difference':>11s}")
    for name, read in sets.items():
        markers, _ = bmtme.filter_markers(read)
        codes = np.hstack([block for _, block in markers.blocks()])
        complete = not np.isnan(codes).any()
        copies = np.where(np.isnan(codes), np.nanmean(codes, axis=0), codes)
        rows = [("method 1", "sgkit", bmtme.vanraden(markers).matrix, by_sgkit(copies))]
        if shutil.which("plink1.9") and complete:
            rows.extend(compare_plink(markers, copies))
        for what, referee, ours, theirs in rows:
            difference = float(np.abs(ours - theirs).max() / ours.diagonal().mean())
            worst = max(worst, difference / LIMITS[referee])
            print(f"{name:28s} {what:26s} {referee:24s} {len(ours):6d} {codes.shape[1]:8d} {difference:11.1e}")
    return int(worst > 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
