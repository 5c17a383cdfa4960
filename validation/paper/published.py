"""Figures that Montesinos-Lopez et al. (2016), G3 6:2725-2744, doi 10.1534/g3.116.032359, print of their results.

Only what studies of this package compare with.
"""

from __future__ import annotations

# --- Tables 1 and 2: simulated data ---------------------------------------------------------------------------------

#: Table 1: data sets over which means and standard deviations of the estimates are taken.
TABLE_1_SETS = 50

#: Table 2, unstructured model: correlation of the traits -> mean over the nine environments x traits of Pearson's
#: correlation and of the MSEP.
TABLE_2_MEANS = {0.85: {"pearson": 0.67, "msep": 1.07}, 0.2: {"pearson": 0.57, "msep": 1.06}}

#: Table 2: correlation of the traits -> environments x traits (of nine) in which a model is the best.
TABLE_2_WINS = {
    0.85: {
        "pearson": {"unstructured": 5, "diagonal": 1, "standard": 3},
        "msep": {"unstructured": 6, "diagonal": 2, "standard": 1},
    },
    0.2: {
        "pearson": {"unstructured": 5, "diagonal": 1, "standard": 3},
        "msep": {"unstructured": 5, "diagonal": 4, "standard": 0},
    },
}

# --- Tables 3 to 8: maize and wheat ---------------------------------------------------------------------------------
# What the text says of them; the cells of these tables are not known here, but for those below.

#: Table 3, maize: genetic correlations. The residual ones are said to be smaller, without figures.
TABLE_3_GENETIC_CORRELATIONS = {("Yield", "ASI"): -0.27, ("Yield", "PH"): 0.41, ("ASI", "PH"): -0.25}

#: Random partitions of Tables 4 and 7.
CV1_PARTITIONS = 10

#: Table 4, maize, CV1: environments x traits (of nine) in which a model is the best by Pearson's correlation, as far as
#: known.
TABLE_4_PEARSON_WINS = {"standard": 5}

#: Table 5, maize, CV2, Yield in the first environment: model -> Pearson's correlation and MSEP.
TABLE_5_FIRST = {"standard": (0.215, 41.714), "diagonal": (0.168, 43.691), "unstructured": (0.163, 46.407)}
#: Table 5: (environment, score) -> models, the best first, as far as known.
TABLE_5_ORDER = {
    ("E1", "pearson"): ("standard", "diagonal", "unstructured"),
    ("E1", "msep"): ("standard", "diagonal", "unstructured"),
    ("E2", "pearson"): ("unstructured",),
    ("E2", "msep"): ("unstructured",),
    ("E3", "pearson"): ("unstructured",),
    ("E3", "msep"): ("standard",),
}

#: Table 7, wheat, CV1: environments x traits (of twelve) in which a model is the best. As printed: the sums are not 12.
TABLE_7_WINS = {
    "pearson": {"unstructured": 6, "diagonal": 3, "standard": 1},
    "msep": {"unstructured": 5, "diagonal": 3, "standard": 1},
}

#: Table 8, wheat, CV2, grain yield: (environment, score) -> models, the best first.
TABLE_8_ORDER = {
    ("Bed2I", "pearson"): ("unstructured", "standard", "diagonal"),
    ("Bed2I", "msep"): ("diagonal", "standard", "unstructured"),
    ("Bed5I", "pearson"): ("standard", "diagonal", "unstructured"),
    ("Bed5I", "msep"): ("unstructured", "standard", "diagonal"),
    ("Drip", "pearson"): ("unstructured", "diagonal", "standard"),
    ("Drip", "msep"): ("unstructured", "diagonal", "standard"),
}

#: Draws of a chain that the paper averages on its two real trials (60,000 less 30,000 of burn-in, no thinning).
DRAWS = 30_000
