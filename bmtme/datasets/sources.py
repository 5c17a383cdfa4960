"""Where the public data sets come from: files at a fixed commit with their SHA-256, licences, and what to know."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SOURCES", "RemoteFile", "Source"]


@dataclass(frozen=True)
class RemoteFile:
    """A file of a public repository at a fixed commit.

    Attributes
    ----------
    repository, commit, path : str
        Owner and name, full hash, and path inside the repository.
    sha256 : str
        Of its content.
    """

    repository: str
    commit: str
    path: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Source:
    """A public data set.

    Attributes
    ----------
    title : str
        What it is, on one line.
    licence : str
        Of the package or repository that publishes it.
    files : tuple of RemoteFile
    traits : tuple of str
        Its traits, columns of the frame.
    units : dict
        Unit or meaning of each trait.
    rep : tuple of str
        Columns that tell the plots of a line in an environment apart; empty without replicates.
    cite : str
        Where the data were published.
    notes : str
        What one has to know.
    """

    title: str
    licence: str
    files: tuple[RemoteFile, ...]
    traits: tuple[str, ...]
    units: dict[str, str]
    rep: tuple[str, ...] = ()
    cite: str = ""
    notes: str = ""


_AGRIDAT = ("cran/agridat", "6807cd2f74d7c053077203474c2f2992d1904414")
_BGLR = ("cran/BGLR", "0b9951a1560a6055503acf525b9650e89105f3e1")
_BMTME = ("frahik/BMTME", "2a891050bb5bf5735d58e09e83d4908d3a28398b")
_GFR = ("frahik/GFR", "d3d5f2ad3cf7ab361e9e35ca7ce3f1a5f042274b")
_IBCF = ("frahik/IBCF.MTME", "c525c9a7685401377fe03e61d3c0fd485bfba265")
_MPS = ("bjesusvh/MPS", "b16070e7c5c89aa35f61b1d2bf6ea0ff43b8eaea")
_SPAMM = ("cran/spaMM", "52663847325ba68f7a25a08dcab0f3838fa40ffc")
_STAGEWISE = ("jendelman/StageWise", "93c60c1fcd5e78a9a7c59a09b6fe83cef88fb617")

_PAPER = "Montesinos-Lopez et al. (2016), G3 6:2725-2744, doi:10.1534/g3.116.032359"
_TOY_TITLE = "example of the R package BMTME: 30 lines"
_WHEAT_UNITS = {
    "DTHD": "days to heading, adjusted",
    "GRYLD": "grain yield, adjusted",
    "NDVI": "vegetation index, adjusted",
    "PTHT": "plant height, adjusted",
}

SOURCES: dict[str, Source] = {
    "barley_steptoe_morex152": Source(
        title="barley, Steptoe x Morex: 150 doubled haploids and the parents, 16 environments, 8 traits, 223 markers",
        licence="MIT (agridat)",
        files=(
            RemoteFile(
                *_AGRIDAT,
                "data/steptoe.morex.pheno.txt",
                "caf60f0582703b1049b1ab91225c1a0ebc51c1862eb0f616207a6f85ed698a8d",
            ),
            RemoteFile(
                *_AGRIDAT,
                "data/steptoe.morex.geno.rda",
                "7f66212f2941ab28a433d7d72a7485bdc9ecbb51ac5a39b0db18db181b43a608",
            ),
        ),
        traits=("amylase", "diapow", "hddate", "lodging", "malt", "height", "protein", "yield"),
        units={
            "amylase": "20 deg units",
            "diapow": "diastatic power, deg",
            "hddate": "heading, Julian day",
            "lodging": "%",
            "malt": "extract, %",
            "height": "cm",
            "protein": "%",
            "yield": "Mt/ha",
        },
        cite="R package agridat, steptoe.morex.pheno",
        notes="What is missing is missing in whole blocks: hddate, height and yield are in all environments, the "
        "others in 6 to 9. Both parents and SM8 have no markers; SM9 has no phenotypes.",
    ),
    "belamkar_augmented": Source(
        title="wheat, Nebraska: 273 lines in 8 augmented trials, 2,700 plots",
        licence="CC-BY 4.0 (data), MIT (agridat)",
        files=(
            RemoteFile(
                *_AGRIDAT,
                "data/belamkar.augmented.txt",
                "648212c7cc11ffc0e2dc9a31602f4b9ecae0f6d286d0a4131dbb256db26d2c88",
            ),
        ),
        traits=("yield",),
        units={"yield": "bu/ac"},
        rep=("row", "col"),
        cite="doi:10.25387/g3.6249410",
        notes="Three checks stand in every block: 10 to 20 plots of each in an environment.",
    ),
    "gryphon": Source(
        title="gryphons, simulated animals: 1,084 with phenotypes, a pedigree of 1,309",
        licence="CeCILL-2 (spaMM); tutorial CC-BY 4.0",
        files=(
            RemoteFile(
                *_SPAMM,
                "data/Gryphon.RData",
                "aad800c8402b096e5c65bdbd36a7ec6d6b609bfe58bcb2668253def1afc6c273",
            ),
        ),
        traits=("BWT", "TARSUS"),
        units={"BWT": "birth weight", "TARSUS": "tarsus length"},
        cite="Wilson et al. (2010), J. Anim. Ecol. 79:13-26",
        notes="One environment, a dummy. sex is 1 female, 2 male. The pedigree of the R package sommer holds factor "
        "codes in place of names: this one agrees with the column mother.",
    ),
    "maize309_mtme": Source(
        title="maize: 309 lines, 3 environments, 3 traits, with a genomic relationship",
        licence="LGPL-3 (GFR)",
        files=(
            RemoteFile(
                *_GFR,
                "data/Maize_GFR.rda",
                "9caa5fa0a0e89444f587a55dea5215df4bb43e82c9ccc44dc3b21071a87ee8c5",
            ),
        ),
        traits=("Yield", "ASI", "PH"),
        units={"Yield": "t/ha by its magnitude", "ASI": "days", "PH": "cm by its magnitude"},
        cite=_PAPER,
        notes="Means, no replicates. The relationship comes without names, in the order of the lines' names; its mean "
        "diagonal is 0.208.",
    ),
    "potato_hancock": Source(
        title="potato, Hancock: 1,318 clones, 6 years, 3 traits, with a pedigree",
        licence="GPL-3 (StageWise)",
        files=(
            RemoteFile(
                *_STAGEWISE,
                "inst/vignette_data/pheno1a.csv",
                "ceb0d591345934f21a37b16451afbb6945e2eadd64b5869b86ed15ada067dcb9",
            ),
            RemoteFile(
                *_STAGEWISE,
                "inst/vignette_data/pheno1b.csv",
                "1ecec797903e1981c07d4891edcbf4ed50dc6d6516ed43627b4f2eade33c43bd",
            ),
            RemoteFile(
                *_STAGEWISE,
                "inst/vignette_data/ped.csv",
                "43d14e766c84885345e5567a87dcb5cf1fa705a024b5236123a85e4d3e39ba68",
            ),
        ),
        traits=("total.yield", "vine.maturity", "fry.color"),
        units={"total.yield": "Mg/ha", "vine.maturity": "score 1 to 9", "fry.color": "Hunter L"},
        cite="R package StageWise, vignette",
        notes="Most clones are in one year only; checks stand several times in a block. The pedigree covers 959 of the "
        "1,318 clones.",
    ),
    "wheat250_mtme": Source(
        title="wheat: 250 lines, 3 environments, 4 traits, with a genomic relationship",
        licence="GPL-3 (MPS), LGPL-3 (IBCF.MTME)",
        files=(
            RemoteFile(
                *_MPS,
                "data/MultiEnvWheat.RData",
                "4115df6e6746170dc43fe06f51671edce8c02c9619f87857a38a39d4e4afc423",
            ),
            RemoteFile(
                *_IBCF,
                "data/Wheat_IBCF.rda",
                "54bd292874bbc59045541abaa2a10f97d61403fc8ec066573cb759656583be6c",
            ),
        ),
        traits=("DTHD", "GRYLD", "NDVI", "PTHT"),
        units=_WHEAT_UNITS,
        cite=_PAPER,
        notes="Values are adjusted for the design: deviations, many of them negative. The two sources swap the names "
        "of the bed environments; env has those of MPS, which independent yields confirm, env_in_IBCF the others.",
    ),
    "wheat599": Source(
        title="wheat, CIMMYT: 599 lines, 4 mega-environments, grain yield, 1,279 markers, pedigree relationship",
        licence="GPL-3 (BGLR)",
        files=(
            RemoteFile(
                *_BGLR,
                "data/wheat.RData",
                "8710523389007dd8b7c88a5deb74ee16aea0bae158496bc11f0626fb43b5ea21",
            ),
        ),
        traits=("GY",),
        units={"GY": "grain yield, standardised"},
        cite="R package BGLR, wheat",
        notes="The relationship is that of the standardised markers; that of the pedigree is in `others`.",
    ),
    "toys/MaizeToy": Source(
        title=f"{_TOY_TITLE} of maize309_mtme, 3 environments",
        licence="LGPL-3 (BMTME)",
        files=(
            RemoteFile(
                *_BMTME,
                "data/MaizeToy.rda",
                "f3f2d4e4cfc09d4c6fac559350b352051c30a4c8049ad3183c05897f17776a1f",
            ),
        ),
        traits=("Yield", "ASI", "PH"),
        units={"Yield": "t/ha by its magnitude", "ASI": "days", "PH": "cm by its magnitude"},
        cite=_PAPER,
    ),
    "toys/WheatToy": Source(
        title=f"{_TOY_TITLE} of wheat250_mtme, 3 environments",
        licence="LGPL-3 (BMTME)",
        files=(
            RemoteFile(
                *_BMTME,
                "data/WheatToy.rda",
                "557096b677102ff85ed5dcb255522441b6b25063097df617b0a88080e334bb43",
            ),
        ),
        traits=("DTHD", "PTHT"),
        units={name: _WHEAT_UNITS[name] for name in ("DTHD", "PTHT")},
        cite=_PAPER,
    ),
    "toys/WheatIranianToy": Source(
        title=f"{_TOY_TITLE} of Iranian wheat, 2 environments",
        licence="LGPL-3 (BMTME)",
        files=(
            RemoteFile(
                *_BMTME,
                "data/WheatIranianToy.rda",
                "590f6e14f18478061b2da85e3322327d2fe6472dbd6e0d1c577d5c3c760eec2b",
            ),
        ),
        traits=("DTH", "DTM"),
        units={"DTH": "days to heading", "DTM": "days to maturity"},
        cite="R package BMTME, WheatIranianToy",
    ),
}
