"""Publications that a text of methods cites: those that the package's own docstrings and pages name."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["REFERENCES", "Citations", "Reference"]


@dataclass(frozen=True)
class Reference:
    """A publication.

    Attributes
    ----------
    short : as it is cited in a text
    full : as it stands in the list
    """

    short: str
    full: str


REFERENCES: dict[str, Reference] = {
    "model": Reference(
        "Montesinos-López et al. 2016",
        "Montesinos-López OA, Montesinos-López A, Crossa J, Toledo FH, Pérez-Hernández O, Eskridge KM, Rutkoski J "
        "(2016). A genomic Bayesian multi-trait and multi-environment model. G3 6:2725-2744. doi:10.1534/g3.116.032359",
    ),
    "half-t": Reference(
        "Huang & Wand 2013",
        "Huang A, Wand MP (2013). Simple marginally noninformative prior distributions for covariance matrices. "
        "Bayesian Analysis 8:439-452.",
    ),
    "lkj": Reference(
        "Lewandowski et al. 2009",
        "Lewandowski D, Kurowicka D, Joe H (2009). Generating random correlation matrices based on vines and extended "
        "onion method. Journal of Multivariate Analysis 100:1989-2001.",
    ),
    "adaptation": Reference(
        "Hoffman & Gelman 2014",
        "Hoffman MD, Gelman A (2014). The No-U-Turn sampler: adaptively setting path lengths in Hamiltonian Monte "
        "Carlo. Journal of Machine Learning Research 15:1593-1623.",
    ),
    "independence": Reference(
        "Geweke 1989",
        "Geweke J (1989). Bayesian inference in econometric models using Monte Carlo integration. Econometrica "
        "57:1317-1339.",
    ),
    "pareto": Reference(
        "Vehtari et al. 2024",
        "Vehtari A, Simpson D, Gelman A, Yao Y, Gabry J (2024). Pareto smoothed importance sampling. Journal of "
        "Machine Learning Research 25:72.",
    ),
    "r-hat": Reference(
        "Vehtari et al. 2021",
        "Vehtari A, Gelman A, Simpson D, Carpenter B, Bürkner PC (2021). Rank-normalization, folding, and "
        "localization: an improved R-hat for assessing convergence of MCMC. Bayesian Analysis 16:667-718.",
    ),
    "factors": Reference(
        "Smith et al. 2001",
        "Smith A, Cullis B, Thompson R (2001). Analyzing variety by environment data using multiplicative mixed models "
        "and adjustments for spatial field trend. Biometrics 57:1138-1147.",
    ),
    "spread": Reference(
        "Legarra 2016",
        "Legarra A (2016). Comparing estimates of genetic variance across different relationship models. Theoretical "
        "Population Biology 107:26-30.",
    ),
    "entry means": Reference(
        "Piepho & Möhring 2007",
        "Piepho HP, Möhring J (2007). Computing heritability and selection response from unbalanced plant breeding "
        "trials. Genetics 177:1881-1888.",
    ),
    "cullis": Reference(
        "Cullis et al. 2006",
        "Cullis BR, Smith AB, Coombes NE (2006). On the design of early generation variety trials with correlated "
        "data. Journal of Agricultural, Biological, and Environmental Statistics 11:381-393.",
    ),
    "reliability": Reference(
        "Henderson 1975",
        "Henderson CR (1975). Best linear unbiased estimation and prediction under a selection model. Biometrics "
        "31:423-447.",
    ),
    "probabilities": Reference(
        "Dias et al. 2022",
        "Dias KOG, dos Santos JPR, Krause MD, Piepho HP, Guimarães LJM, Pastina MM, Garcia AAF (2022). Leveraging "
        "probability concepts for cultivar recommendation in multi-environment trials. Theoretical and Applied "
        "Genetics 135:1385-1399.",
    ),
    "stability": Reference(
        "Finlay & Wilkinson 1963",
        "Finlay KW, Wilkinson GN (1963). The analysis of adaptation in a plant-breeding programme. Australian Journal "
        "of Agricultural Research 14:742-754.",
    ),
    "two stages": Reference(
        "Piepho et al. 2012",
        "Piepho HP, Möhring J, Schulz-Streeck T, Ogutu JO (2012). A stage-wise approach for the analysis of "
        "multi-environment trials. Biometrical Journal 54:844-860.",
    ),
    "weights": Reference(
        "Smith et al. 2001",
        "Smith A, Cullis B, Gilmour A (2001). The analysis of crop variety evaluation data in Australia. Australian & "
        "New Zealand Journal of Statistics 43:129-145.",
    ),
    "reml": Reference(
        "Gilmour et al. 1995",
        "Gilmour AR, Thompson R, Cullis BR (1995). Average information REML: an efficient algorithm for variance "
        "parameter estimation in linear mixed models. Biometrics 51:1440-1450.",
    ),
    "tests": Reference(
        "Kenward & Roger 1997",
        "Kenward MG, Roger JH (1997). Small sample inference for fixed effects from restricted maximum likelihood. "
        "Biometrics 53:983-997.",
    ),
    "pedigree": Reference(
        "Henderson 1976",
        "Henderson CR (1976). A simple method for computing the inverse of a numerator relationship matrix used in "
        "prediction of breeding values. Biometrics 32:69-83.",
    ),
    "variogram": Reference(
        "Gilmour et al. 1997",
        "Gilmour AR, Cullis BR, Verbyla AP (1997). Accounting for natural and extraneous variation in the analysis of "
        "field experiments. Journal of Agricultural, Biological, and Environmental Statistics 2:269-293.",
    ),
    "splines": Reference(
        "Rodríguez-Álvarez et al. 2018",
        "Rodríguez-Álvarez MX, Boer MP, van Eeuwijk FA, Eilers PHC (2018). Correcting for spatial heterogeneity in "
        "plant breeding experiments with P-splines. Spatial Statistics 23:52-71.",
    ),
    "outliers": Reference(
        "Bernal-Vasquez et al. 2016",
        "Bernal-Vasquez AM, Utz HF, Piepho HP (2016). Outlier detection methods for generalized lattices: a case study "
        "on the transition from ANOVA to REML. Theoretical and Applied Genetics 129:787-804.",
    ),
    "holm": Reference(
        "Holm 1979",
        "Holm S (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics "
        "6:65-70.",
    ),
    "resampled": Reference(
        "Nadeau & Bengio 2003",
        "Nadeau C, Bengio Y (2003). Inference for the generalization error. Machine Learning 52:239-281.",
    ),
    "sparse testing": Reference(
        "Burgueño et al. 2012",
        "Burgueño J, de los Campos G, Weigel K, Crossa J (2012). Genomic prediction of breeding values when modeling "
        "genotype × environment interaction using pedigree and dense molecular markers. Crop Science 52:707-719.",
    ),
    "new environments": Reference(
        "Jarquín et al. 2017",
        "Jarquín D, Lemes da Silva C, Gaynor RC, Poland J, Fritz A, Howard R, Battenfield S, Crossa J (2017). "
        "Increasing genomic-enabled prediction accuracy by modeling genotype × environment interactions in Kansas "
        "wheat. The Plant Genome 10(2). doi:10.3835/plantgenome2016.12.0130",
    ),
}  # fmt: skip


class Citations:
    """What a text cites, collected as it is written."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}

    def __call__(self, *keys: str) -> str:
        """The short forms of publications, which are kept for the list."""
        self._keys |= dict.fromkeys(keys)
        return "; ".join(REFERENCES[key].short for key in keys)

    def name(self, key: str) -> str:
        """A publication as a part of a sentence, its year in brackets."""
        names, _, year = self(key).rpartition(" ")
        return f"{names} ({year})"

    def list_full(self) -> list[str]:
        """The list of what was cited, by authors."""
        return sorted((REFERENCES[key].full for key in self._keys), key=str.casefold)
