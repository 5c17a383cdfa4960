# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Coming from R
#
# For people who fit such models with BMTME, BGLR, sommer, ASReml-R or lme4: where their words are here, one model in
# all of them, what differs in the numbers, and how files are carried over. What is said of the packages is what their
# documentation or source says (sources below); nothing of R is run on this page.
#
# | you use | for | here |
# |---|---|---|
# | `BMTME` | several traits in several environments, Bayesian | `bmtme.fit` |
# | `BGLR`, `Multitrait` | the same, terms written out | `bmtme.fit`, `genetic=bmtme.MainAndInteraction("equal")` |
# | `BGLR`, one trait | GBLUP, with main effect and interaction | `bmtme.fit` of one trait |
# | `sommer`, `asreml`, `lme4` | mixed models by REML | `bmtme.mixed` |
# | `BGLR`, BayesA, BayesB, spike and slab; ordinal traits | | not here |
#
# **The names of ASReml-R, lme4 and sommer beside those of `bmtme.mixed` are on [its
# page](mixed.md#for-those-who-come-from-another-program)**; here follow those of the two Bayesian packages.

# %% [markdown]
# ## Names
#
# | BMTME | here |
# |---|---|
# | `Y`, a matrix with a column for each trait | `traits=[...]`, columns of the table |
# | `X`, design of the environments | `env=`, a column; their means are `beta` |
# | `Z1`, design of the lines times `cholesky(G)` | `line=`, a column, and the relationship as it is; effects are `b1` |
# | `Z2`, design of the interaction | nothing to make; effects are `b2` |
# | `nIter`, `burnIn`, of one chain | `draws` + `tune` and `tune`, of each of `chains` |
# | `thin`, `bs` | not needed |
# | `set.seed(1)` | `seed=1` |
# | `varTrait`, `varEnv`, `vare` | `Sigma_t`, `Sigma_E`, `R_e` in `fit.summary()` |
# | `yHat` | `fit.predictions()` |
# | `CV.RandomPart(pheno, NPartitions=10, PTesting=0.2)` | `bmtme.CV1(partitions=10, test_fraction=0.2)` |
#
# | BGLR, `Multitrait` | here |
# |---|---|
# | `y`, a matrix with a column for each trait, `NA` allowed | `traits=[...]`, gaps allowed |
# | `list(X=..., model="FIXED")`, environments | `env=`: `beta`, random; fixed with `means="flat"` |
# | `list(K=..., model="RKHS")`, lines | the relationship: `Sigma_t` |
# | `list(K=..., model="RKHS")`, lines by environments | `MainAndInteraction("equal")`: `Sigma_gt` |
# | `resCov=list(type="UN")` | `R_e` |
# | `type="DIAG"`, for all terms and residuals | `bmtme.BMTME("diagonal")` |
# | `nIter`, `burnIn`, `thin`, `R2`, `df0`, `S0` | `draws`, `tune`, -, and `prior_t=`, `prior_e=` |
# | `saveAt=`, files of draws | `fit.idata`, `fit.save(folder)` |
# | `fm$ETA$line$Cov$Omega`, `fm$resCov$R`, `fm$ETAHat` | `Sigma_t` and `R_e` in `fit.summary()`; `fit.predictions()` |

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import bmtme
from bmtme import mixed
from bmtme.report.palette import COLOURS

pd.set_option("display.precision", 2)

# %% tags=["parameters"]
LINES, DRAWS, TUNE = 60, 1000, 1000  # of the simulated trial; of each chain

# %% [markdown]
# ## One set
# 60 lines in three environments, a tenth of the cells missing, with heritabilities of a plot of 0.3 (yield) and 0.6
# (protein), simulated, and written as R's `write.csv` would: with row numbers, in no order.

# %%
simulation = bmtme.simulate(
    lines=LINES,
    traits=2,
    heritability=[0.3, 0.6],
    genetic_correlation=0.5,
    residual_correlation=0.2,
    relationship="markers",
    missing=0.1,
    seed=2,
)
plots = simulation.frame.rename(columns={"T1": "yield", "T2": "protein"}).drop(columns="rep")
plots.sample(frac=1, random_state=1).reset_index(drop=True).to_csv("plots.csv", quoting=2)
G = simulation.relationship.blend(0.01)  # as centred markers have no inverse, which REML needs
pd.DataFrame(G.matrix, G.lines, G.lines).to_csv("G.csv", quoting=2)
print("".join(open("plots.csv").readlines()[:3]))

# %% [markdown]
# ## The same call
# In R. BMTME and BGLR need records and G in one order, that of the levels of `line`.
#
# ```r
# plots <- read.csv("plots.csv", row.names = 1, stringsAsFactors = TRUE)
# plots <- plots[order(plots$env, plots$line), ]
# G <- as.matrix(read.csv("G.csv", row.names = 1))[levels(plots$line), levels(plots$line)]
#
# # BMTME, as its help page has it; it needs a row for each line in each environment, NA where it was not grown
# full <- merge(expand.grid(line = levels(plots$line), env = levels(plots$env)), plots, all.x = TRUE)
# full <- full[order(full$env, full$line), ]
# Z1 <- model.matrix(~ 0 + line, full) %*% cholesky(G)
# Z2 <- model.matrix(~ 0 + line:env, full) %*% cholesky(kronecker(diag(nlevels(full$env)), G))
# fm <- BMTME(Y = as.matrix(full[, c("yield", "protein")]), X = model.matrix(~ 0 + env, full), Z1 = Z1, Z2 = Z2,
#             nIter = 15000, burnIn = 5000, thin = 2, bs = 50)
#
# # BGLR
# Z <- model.matrix(~ 0 + line, plots)
# K <- Z %*% G %*% t(Z)
# same <- outer(plots$env, plots$env, "==")
# ETA <- list(env  = list(X = model.matrix(~ env, plots)[, -1, drop = FALSE], model = "FIXED"),
#             line = list(K = K, model = "RKHS"),
#             int  = list(K = K * same, model = "RKHS"))
# Y <- as.matrix(plots[, c("yield", "protein")])
# fm <- Multitrait(Y, ETA, nIter = 12000, burnIn = 2000, thin = 1, saveAt = "bglr_")
#
# # sommer, one trait, REML
# E <- diag(nlevels(plots$env)); dimnames(E) <- list(levels(plots$env), levels(plots$env))
# EG <- kronecker(E, G, make.dimnames = TRUE)
# fm <- mmes(yield ~ env, random = ~ vsm(ism(line), Gu = G) + vsm(ism(env:line), Gu = EG), rcov = ~ units, data = plots)
#
# # ASReml-R, one trait, REML
# fm <- asreml(yield ~ env, random = ~ vm(line, G) + idv(env):vm(line, G), residual = ~ units, data = plots)
# ```
#
# Here, with rows in any order and gaps where they are:

# %%
trial = bmtme.read_trial("plots.csv", line="line", env="env", traits=["yield", "protein"])
relationship = bmtme.read_relationship("G.csv")
length = {"draws": DRAWS, "tune": TUNE, "seed": 1, "progress": False}

fits = {
    "bmtme, default": bmtme.fit(trial, relationship, **length),  # the paper's model
    "bmtme, BGLR's model": bmtme.fit(
        trial, relationship, bmtme.BMTME(genetic=bmtme.MainAndInteraction("equal")), **length
    ),
}
reml = {
    trait: mixed.Model(f"{trait} ~ env", "known(line) + env:known(line)", known={"line": relationship}).fit(plots)
    for trait in ("yield", "protein")
}  # as sommer and ASReml-R
for name, fit in fits.items():
    print(f"{name}: {fit.diagnose()}\n")
print(reml["yield"].components)

# %% [markdown]
# ## What differs
# ### Priors
# REML has none. The packages have inverse-Wishart priors with scales made of the data: they pull variances towards
# shares that were set beforehand.
#
# | | genetic covariance | residual covariance |
# |---|---|---|
# | BMTME 1.0.19 | df L + 4, scale 7 x 0.25 V | df L + 4, scale 7 x 0.5 V |
# | BGLR 1.1.4, `R2=0.5` | df L + 1, scale (L + 1) V / (terms x k) | df 5, scale (L + 6) x 0.5 V |
# | here | half-t for standard deviations, 5 SDs of the trait wide; correlations uniform | the same |
#
# L is the number of traits, V the covariance of *all* records, differences between environments included, and k the
# mean diagonal of K less its mean entry. (BGLR's sampler adds L to the documented degrees of freedom of the genetic
# covariance: [seen here](../validation/results/wheat599.md).) Neither kind of prior is right or wrong; with 60 lines it
# shows. `prior_t` and `prior_e` take either; here BMTME's:

# %%
V = plots[["yield", "protein"]].cov()
fits["bmtme, BMTME's priors"] = bmtme.fit(
    trial,
    relationship,
    bmtme.BMTME(
        prior_t=bmtme.InverseWishart(5 + 2 - 1, 7 * 0.25 * V), prior_e=bmtme.InverseWishart(5 + 2 - 1, 7 * 0.5 * V)
    ),
    **length,
)

# %% [markdown]
# ### Heritability
# `fit.heritability()` is of a record *among the lines of the trial*: `V / (V + R_e)` with `V = c Sigma_t (1 +
# Sigma_E)`, where c = (tr G - 1'G1 / J) / (J - 1) is the variance that G leads to expect among its J lines. `Sigma_t`
# alone is on the scale of G. A ratio of variance components as it is often computed, V1 / (V1 + V2), takes c for 1.
# Here c is 2:

# %%
g = relationship.matrix
c = (np.trace(g) - g.sum() / LINES) / (LINES - 1)
print(f"c = {c:.2f}")

rows = {}
for trait, found in reml.items():
    genetic = "(known(line) + env:known(line))"
    for name, scale in {"REML, V1 / (V1 + V2)": 1.0, "REML, among the lines": c}.items():
        share = found.derive(f"{scale} * {genetic} / ({scale} * {genetic} + residual)")
        rows[name, trait] = [share.estimate, share.estimate - 1.645 * share.se, share.estimate + 1.645 * share.se]
for name, fit in fits.items():
    for trait, own in fit.heritability("record").groupby("trait", sort=False):
        rows[name, trait] = own.loc[own["env"] == "E1", ["mean", "lower", "upper"]].squeeze().to_list()
table = pd.DataFrame(rows, index=["estimate", "lower", "upper"]).T

figure, panels = plt.subplots(1, 2, figsize=(9, 2.8), sharey=True, layout="constrained")
names = list(dict.fromkeys(name for name, _ in rows))
for trait, true, panel in zip(reml, (0.3, 0.6), panels, strict=True):
    own = table.xs(trait, level=1).loc[names]
    panel.hlines(range(len(names)), own["lower"], own["upper"], color=COLOURS[0])
    panel.plot(own["estimate"], range(len(names)), "o", color=COLOURS[0], label="estimate, 90% interval")
    panel.axvline(true, color=COLOURS[1], linestyle="--", label="true")
    panel.set_title(trait, loc="left")
    panel.set_xlim(0, 1)
panels[0].set_yticks(range(len(names)), names)
panels[0].set_ylim(len(names) - 0.5, -0.5)
figure.supxlabel("heritability of a plot in E1", fontsize=9)
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
plt.show()

# %% [markdown]
# Of yield, REML puts the variance of the interaction at its bound, zero, and has no standard error then; a posterior
# has an interval all the same. BMTME's priors bring both heritabilities up, towards the shares that they were set to.
#
# ### Scale of G
# VanRaden's matrix of inbred lines has a mean diagonal of 2, a pedigree's of non-inbred ones 1, a product of centred
# and scaled markers whatever one divided by. Genetic variances go with it, heritabilities and predictions here do not:

# %%
twice = bmtme.fit(trial, bmtme.Relationship(2 * g, relationship.lines), **length)
both = {"G": fits["bmtme, default"].summary()["mean"], "2 G": twice.summary()["mean"]}
pd.DataFrame(both).loc[["Sigma_t[yield, yield]", "heritability[E1, yield]", "heritability[E1, protein]"]]

# %% [markdown]
# BGLR's prior follows the scale of K, too; BMTME's does not, so that its estimates depend on how G was scaled.
#
# ### What the interaction is
# * **BMTME**: `varEnv` is a full covariance of environments beside a main effect, which says one thing twice (what is
#   common to all environments can stand in either).
# * **Here**, as in the paper: `Sigma_E` is diagonal, and relative to `Sigma_t`: with 0.5 in two environments, these
#   have a genetic correlation of 1 / (1 + 0.5).
# * **BGLR** with two terms: a covariance of the traits of its own for the interaction, and all environments alike:
#   `MainAndInteraction("equal")`.
# * **sommer**, **ASReml** `us(env)`, `fa(env, 2)` of one trait: `genetic=bmtme.Free()`, `bmtme.FactorAnalytic(2)`, of
#   one trait or several.
#
# ### Chains
# BMTME and BGLR run one chain. Whether it has converged has to be seen from several, started one after the other. Here
# four run, R-hat and effective draws are in every summary, and `fit.diagnose()` says what they mean. One `seed` gives
# the same numbers to the last digit, whatever the number of cores and the order of rows (on one machine, with the same
# versions).
#
# ### Predictions
# Estimates of variances differ more than predictions do. BLUPs of REML beside the values of the same lines here:

# %%
values = fits["bmtme, default"].ranking("yield").set_index("line")["value"]
blups = reml["yield"].blup("known(line)").set_index("line")["blup"]
print(f"correlation of BLUPs and posterior means of yield: {blups.corr(values):.3f}")
print(
    f"of the ten best by one, {len(set(blups.nlargest(10).index) & set(values.nlargest(10).index))} are so by the other"
)

# %% [markdown]
# ### Cross-validation
# In the paper, CV1 hides lines in some environments and CV2 a trait in one; most of the literature has the names the
# other way round, or for other things. [choosing](choosing.ipynb) has the table. BMTME reports Pearson's correlation
# and MAAPE, which changes with the zero of a scale; `cv.summary()` has Pearson's correlation, MSEP, slope, coverage and
# more.
#
# ## If you have results of BMTME 1.0.19
# These were found in its source and
# [measured](../validation/results/toys.md#what-is-wrong-with-bmtme-1019-as-far-as-it-was-found); other versions were
# not looked at.
#
# 1. Fitted values are off by a constant for each record: main effects start at 0.1, and the start is never taken off
#    the data.
# 2. The interaction's design on the help page mixes environments, so that `varEnv` does not say what it seems to.
# 3. Priors are scaled by the variance of all records, differences between environments included; that of `varEnv` mixes
#    the units of all traits.
# 4. The prior of `varTrait` ignores the scale of G.
# 5. The prior of the environment means takes a covariance for a precision; its strength depends on the unit.
# 6. It stops with an error on one trait, one environment, a row that is missing, replicates, a line that was not grown,
#    or a trait that one environment lacks.
#
# Main effects alone, with inputs that avoid all this, agree with `bmtme` within Monte Carlo error. So does BGLR where
# both fit [one model with one prior](../validation/results/wheat599.md).
#
# ## Carry your files over
#
# | in R | here |
# |---|---|
# | `write.csv(plots, "plots.csv")` | `read_trial("plots.csv", line=..., env=..., traits=[...])` |
# | `write.csv(G, "G.csv")`, with names of the lines as row names | `read_relationship("G.csv")` |
# | an inverse of three columns, as ASReml-R takes it, with `rowNames` | `A.giv` with `A.giv.id`, as below |
# | `write.csv(M, "M.csv")`, lines in rows, 0, 1, 2 or -1, 0, 1 | `read_markers("M.csv")`, then `vanraden` |
# | a pedigree | `read_pedigree`, `pedigree_relationship` |
# | a matrix of one trait with environments as columns (BGLR's `wheat.Y`, `Y` of `BMTME::BME`) | `melt`, as below |
# | back: `read.csv("run/predictions.csv")` | `fit.save("run")`; draws as a table, below |
#
# Names are matched, so nothing has to be sorted. [formats](formats.md) has all the rest.
#
# ```r
# write.table(ainv, "A.giv", row.names = FALSE, col.names = FALSE)  # Row, Column, Ainverse
# writeLines(attr(ainv, "rowNames"), "A.giv.id")
# write.csv(Y, "Y.csv")  # rows are lines, columns environments
# ```

# %%
inverse = np.linalg.inv(g)  # stands for what R wrote
pd.DataFrame([(i + 1, j + 1, inverse[i, j]) for i in range(LINES) for j in range(i + 1)]).to_csv(
    "A.giv", sep=" ", header=False, index=False
)
open("A.giv.id", "w").write("\n".join(relationship.lines))
plots.pivot(index="line", columns="env", values="yield").to_csv("Y.csv")

back = bmtme.read_relationship("A.giv")
print("the inverse gives G back:", back.lines == relationship.lines and np.allclose(back.matrix, g))
wide = pd.read_csv("Y.csv", index_col=0).rename_axis("line").reset_index()
long = wide.melt("line", var_name="env", value_name="yield").dropna()
print(bmtme.Trial.from_frame(long, line="line", env="env", traits=["yield"]))
draws = fits["bmtme, default"].idata["posterior"]["Sigma_t"].to_dataframe()  # for R: draws.to_csv("draws.csv")
print(draws.head(4))

# %% [markdown]
# ## Sources
# * BMTME 1.0.19: [manual](https://www.rdocumentation.org/packages/BMTME/versions/1.0.19),
#   [source](https://github.com/frahik/BMTME/blob/master/R/BMTME.R).
# * BGLR: [`Multitrait`](https://search.r-project.org/CRAN/refmans/BGLR/html/Multitrait.html),
#   [source](https://github.com/gdlc/BGLR-R/blob/master/R/Multitrait.R).
# * sommer 4.4: [`mmes`](https://rdocumentation.org/packages/sommer/versions/4.4.1/topics/mmes), [vignette of genotype
#   by environment models](https://cran.r-project.org/web/packages/sommer/vignettes/sommer.gxe.html). With
#   `henderson=TRUE` it takes the inverse in place of G.
# * ASReml-R 4: `vm()` takes G, or its inverse, marked by `attr(, "INVERSE")`, as
#   [`sm2asreml`](https://rdrr.io/github/jarrodhadfield/MCMCglmm/src/R/sm2asreml.R) of MCMCglmm makes it.
# * The model: Montesinos-López et al. (2016), [doi:10.1534/g3.116.032359](https://doi.org/10.1534/g3.116.032359).
