"""Genotypes of VCF files."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bmtme.data.markers.codes import DIPLOID, FloatArray, name_alleles
from bmtme.data.markers.genotypes import Markers
from bmtme.data.markers.tables import Collected
from bmtme.data.tables.cells import unique_names
from bmtme.data.tables.limits import LONGEST_LINE, refuse_excess
from bmtme.errors import DataError, blame
from bmtme.extras import require
from bmtme.progress import Progress

__all__ = ["VCF_ENDINGS", "read_vcf"]

#: BCF among them, to be refused with the reason.
VCF_ENDINGS = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")

#: Records read between two looks at the progress.
_BATCH = 200
_MISSING = -1
#: cyvcf2 fills up a haploid genotype among diploid ones with this.
_PADDING = -2


def read_vcf(path: str | os.PathLike[str], progress: bool | None = None, ploidy: int = DIPLOID) -> Markers:
    """Markers of a VCF file: copies of the alternative allele in each sample's GT.

    A genotype with an allele unknown (``./1``) is missing; of diploids, a haploid one counts twice. Sites with several
    alternative alleles are left out, with their number in a warning. All genotypes are kept in memory, a byte for each.

    Raises
    ------
    DataError
        If the file cannot be read, is damaged or a BCF file; if a record has no GT, or more alleles in it than there
        are sets of chromosomes, or two samples have one name.
    UsageError
        If cyvcf2 is not installed.
    """
    source = Path(path).name
    cyvcf2 = require("cyvcf2", "vcf", f"reading {source}")
    _check_columns(path, source)
    names: list[str] = []
    codes = Collected(source)
    alleles: list[tuple[str, str]] = []
    several = 0
    bar = Progress(1, f"reading {source}", progress)
    try:
        with _reasons(source):
            file = cyvcf2.VCF(os.fspath(path))
        lines = unique_names(file.samples, f"the header of {source}")
        records = iter(file)
        while True:
            with _reasons(source):
                batch = list(islice(records, _BATCH))
            for record in batch:
                # Of a record that ends early cyvcf2 may have no more than this: touching the rest would be a crash.
                if record.end <= record.start:
                    raise DataError(f"{source} cannot be read as VCF: record {len(names) + several + 1} is incomplete.")
                if len(record.ALT) > 1:
                    several += 1
                    continue
                names.append(record.ID or f"{record.CHROM}:{record.POS}")
                alleles.append(name_alleles("".join(record.ALT), record.REF))
                codes.append(_count_alternative(record, lines, source, ploidy))
            bar.write(f"reading {source}: {len(names)} markers")
            if len(batch) < _BATCH:
                break
        file.close()
    except UnicodeDecodeError:
        raise DataError(f"{source} is not UTF-8 text: expected the names of samples and markers in UTF-8.") from None
    finally:
        bar.close()
    if not names:
        raise DataError(f"{source} has no site with a single alternative allele: there are no markers to read.")
    if several:
        warnings.warn(
            f"{source}: {several} of {several + len(names)} sites left out, as they have several alternative alleles "
            "(bcftools norm -m- makes a site for each).",
            stacklevel=3,
        )
    genotypes = np.array(codes)

    def read(start: int, stop: int) -> FloatArray:
        block = genotypes[start:stop].T.astype(np.float64)
        block[block == _MISSING] = np.nan
        return block

    return Markers(lines, tuple(names), source, read, ploidy=ploidy, alleles=tuple(alleles))


def _check_columns(path: str | os.PathLike[str], source: str) -> None:
    """Refuse BCF, and a text with a wrong first row, zero bytes, or records of too few or too many columns.

    All of them, damaged BCF above all, may crash the C library and Python with it.
    """
    try:
        with open(path, "rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            with gzip.GzipFile(fileobj=raw) if packed else contextlib.nullcontext(raw) as file:
                if file.peek(3)[:3] == b"BCF":
                    raise DataError(
                        f"{source} is a BCF file, which is not read, as a damaged one cannot be told from a sound one: "
                        f"convert it: bcftools view -Oz {source} > converted.vcf.gz"
                    )
                if isinstance(file, gzip.GzipFile):
                    refuse_excess(file, raw, source)
                tabs = 0
                for row, text in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
                    if len(text) > LONGEST_LINE:
                        raise DataError(f"{source} has a line of more than {LONGEST_LINE:,} characters, row {row}.")
                    if b"\x00" in text:
                        raise DataError(f"{source} holds a zero byte in row {row}: it is no text, or damaged.")
                    if row == 1 and not re.fullmatch(rb"##fileformat=VCFv[0-9.]+\s*", text):
                        raise DataError(f"{source} is no VCF: expected ##fileformat=VCFv4.2 in its first row.")
                    if not text.endswith(b"\n"):  # a cut-off 0/1 reads as 0, a haploid genotype
                        raise DataError(
                            f"{source} ends within row {row}, without a line break: it seems to be cut off. If it is "
                            "whole, end its last row with a line break."
                        )
                    if text.startswith(b"#"):
                        tabs = text.count(b"\t")
                    elif text.count(b"\t") != tabs and text.strip():
                        found = text.count(b"\t") + 1
                        raise DataError(
                            f"{source} has {found} columns in row {row}: expected {tabs + 1}, as in the header."
                        )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{source} is a damaged gzip file ({error}).") from None
    except OSError as error:
        raise blame(error, DataError)(f"{os.fspath(path)} cannot be read: {error.strerror or error}.") from None


def _count_alternative(record: Any, lines: tuple[str, ...], source: str, ploidy: int) -> npt.NDArray[np.int8]:
    """Copies of the alternative allele of every line, -1 where missing."""
    place = f"{source}, marker {record.ID or '.'} at {record.CHROM}:{record.POS}"
    try:
        # The last column says whether alleles are phased.
        alleles = record.genotype.array()[:, :-1]
    except Exception:  # cyvcf2 raises nothing more specific
        raise DataError(f"{place} has no genotypes: expected GT in the FORMAT of every record.") from None
    if alleles.shape[1] > ploidy:
        j = int(np.argmax(alleles[:, ploidy] != _PADDING))
        raise DataError(
            f"{place}: the genotype of line {lines[j]!r} has more than {ploidy} alleles: expected "
            f"{'diploids' if ploidy == DIPLOID else f'ploidy {ploidy}'}; say how many sets of chromosomes there are "
            "(ploidy=, in the shell --ploidy)."
        )
    unknown = int(max(alleles.max(initial=0) - len(record.ALT), 0))
    if unknown:
        j = int(np.argmax(alleles.max(axis=1)))
        raise DataError(
            f"{place}: the genotype of line {lines[j]!r} has allele {alleles[j].max()}, but the record names "
            f"{len(record.ALT)} alternative alleles."
        )
    copies = (alleles != _PADDING).sum(axis=1)
    missing = ((alleles < 0) & (alleles != _PADDING)).any(axis=1)
    count = np.where(alleles > 0, 1, 0).sum(axis=1)
    if ploidy == DIPLOID:
        count = np.where(copies == 1, 2 * count, count)
    elif (few := ~missing & (copies < ploidy)).any():
        j = int(np.argmax(few))
        raise DataError(
            f"{place}: the genotype of line {lines[j]!r} has {copies[j]} alleles: expected {ploidy}, as said by ploidy."
        )
    return np.where(missing, _MISSING, count).astype(np.int8)


@contextlib.contextmanager
def _reasons(source: str) -> Iterator[None]:
    """Turn failures into a DataError with the reason, which the C library behind prints on stderr."""
    with tempfile.TemporaryFile() as heard, _stderr_to(heard):
        try:
            yield
            # Not always an exception: cyvcf2 hands out a record that could not be read if its contig is unknown.
            failed = _grave_reason(heard)
        except Exception as error:  # cyvcf2 raises plain exceptions
            failed = _grave_reason(heard) or str(error)
        if failed:
            raise DataError(f"{source} cannot be read as VCF: {failed}.")


@contextlib.contextmanager
def _stderr_to(file: IO[bytes]) -> Iterator[None]:
    """Send what is written to the process's stderr to a file meanwhile."""
    try:
        kept = os.dup(2)
    except OSError:  # closed, and again afterwards
        kept = None
    try:
        os.dup2(file.fileno(), 2)
        yield
    finally:
        if kept is None:
            os.close(2)
        else:
            os.dup2(kept, 2)
            os.close(kept)


def _grave_reason(heard: IO[bytes]) -> str:
    """What the C library said first that is no mere warning, without the name of its function."""
    heard.seek(0)
    text = heard.read().decode(errors="replace")
    found = re.search(r"\[E::\w+\] *(.+)|\[W::\w+\] *(Invalid contig name.*|.*EOF marker is absent.*)", text)
    return (found[1] or found[2]).strip().rstrip(".") if found else ""
