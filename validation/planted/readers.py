"""Errors of readers: codes taken for others, triangles and scales mixed up, flags passed over."""

from __future__ import annotations

from validation.planted.mutant import Mutant

DART = "data/markers/test_dart.py::test_reports_of_snps"
HAPMAP = "data/markers/test_hapmap.py::test_copies_of_the_second_allele[m.txt-1]"
PLOIDY = "data/markers/test_ploidy.py::"
SPARSE = "data/relationship/test_sparse.py::"
TRIANGLES = "data/relationship/test_triangles.py::"

READERS = (
    Mutant(
        "DArT, one row: 1 and 2 as copies",
        "data/markers/dart.py",
        "np.array([0, 2, 1, MISSING_BYTE], dtype=np.int8)",
        "np.array([0, 1, 2, MISSING_BYTE], dtype=np.int8)",
        (DART + "[True-one_row]",),
    ),
    Mutant(
        "DArT, two rows: the absence of both alleles as a heterozygote",
        "data/markers/dart.py",
        "(other == MISSING_BYTE) | (reference + other == 0)",
        "(other == MISSING_BYTE)",
        ("data/markers/test_dart.py::test_absence_of_both_alleles_is_no_genotype",),
    ),
    Mutant(
        "HapMap: the letters of two heterozygotes for one another",
        "data/markers/hapmap.py",
        '"K": "GT", "M": "AC"',
        '"K": "AC", "M": "GT"',
        (HAPMAP,),
    ),
    Mutant(
        "HapMap: the first allele counted",
        "data/markers/hapmap.py",
        "if allele in seen][1]",
        "if allele in seen][0]",
        (HAPMAP,),
    ),
    Mutant(
        "polyploids: the variance of diploids",
        "data/relationship/genomic.py",
        "variance = ploidy * frequency * (1 - frequency)",
        "variance = 2 * frequency * (1 - frequency)",
        (PLOIDY + "test_vanraden[1-4]", PLOIDY + "test_the_mean_diagonal_is_one_under_random_mating"),
    ),
    Mutant(
        "polyploids: rare alleles by the frequency of diploids",
        "data/markers/quality.py",
        "float(markers.ploidy) * by_marker",
        "2.0 * by_marker",
        (PLOIDY + "test_frequencies_and_rare_alleles",),
    ),
    Mutant(
        "ASReml: an inverse taken as the relationship",
        "data/relationship/sparse.py",
        'inverse = "by its ending" if path.lower().endswith(INVERSE_ENDINGS) else None',
        "inverse = None",
        (SPARSE + "test_an_inverse_of_asreml_is_inverted[]",),
    ),
    Mutant(
        "long tables: one triangle alone filled",
        "data/relationship/sparse.py",
        "np.where(np.isnan(entries), mirror, entries)",
        "entries",
        (SPARSE + "test_rows_with_names[False-g.csv-Row,Column,value\\n-,]",),
    ),
    Mutant(
        "PLINK: zeros above the diagonal as relationships",
        "data/relationship/triangles.py",
        "entries = entries + np.tril(entries, -1).T",
        "pass",
        (TRIANGLES + "test_every_shape[square0-g.rel.gz]",),
    ),
    Mutant(
        "R's write.table: names of the rows as the first column",
        "data/tables/dialects.py",
        "            del cells[0]",
        "            del cells[-1]",
        ("data/tables/test_dialects.py::test_a_table_is_the_same_however_r_wrote_it[p.txt-write.table]",),
    ),
    Mutant(
        "founders that the pedigree does not mention left out",
        "data/relationship/pedigree_table.py",
        "place.setdefault(name.strip(), len(place))",
        "name.strip()",
        ("cli/test_kinship.py::test_founders",),
    ),
)
