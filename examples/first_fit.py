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
# # The first half hour
#
# From two files, plots and markers, to a ranking of the lines that can be acted on: read, check, fit, see whether the
# fit can be trusted, rank, predict, save. It asks for no Bayesian statistics; words are explained where they come up,
# and all of them in the [glossary](models.md#glossary).
#
# With your own files in place of the two that are made here, these are the steps of every analysis. In the shell they
# are `bmtme grm`, `check`, `fit`, `rank` and `report` ([README](../README.md#use)).

# %%
import numpy as np
import pandas as pd

import bmtme

pd.set_option("display.precision", 2)

# %% tags=["parameters"]
LINES, DRAWS, TUNE = 60, 2000, 1000  # of the simulated trial; of each chain (the defaults)

# %% [markdown]
# ## Two files
# Wheat lines in North, South and West, two plots of each, not all of them grown everywhere: yield in t/ha, protein in
# %. L02 is a check variety. The last two lines were genotyped and never grown. All is simulated, and then spoilt as
# such files are; you may skip this cell.

# %%
simulation = bmtme.simulate(
    lines=LINES,
    traits=2,
    reps=2,
    heritability=[0.4, 0.6],
    genetic_correlation=-0.5,
    residual_correlation=0.1,
    relationship="markers",
    missing=0.15,
    seed=7,
)
plots = simulation.frame.replace({"env": {"E1": "North", "E2": "South", "E3": "West"}})
plots["yield"] = (6 + 0.3 * (plots.pop("T1") - 14)).round(2)
plots["protein"] = (12.5 + 0.5 * (plots.pop("T2") - 7.5)).round(1)
plots.loc[plots.index[[8, 47]], "protein"] = -9  # not measured
plots.loc[plots.index[23], "yield"] *= 10  # a decimal point that slipped
plots.loc[(plots["line"] == "L07") & (plots["env"] == "North"), "line"] = "l-07"  # one line, two spellings
plots = pd.concat([plots, plots.iloc[[30]]])  # a plot entered twice
plots = plots[~plots["line"].isin(simulation.relationship.lines[-2:])]
plots = plots.sample(frac=1, random_state=1).sort_values("env", kind="stable")
plots.to_csv("plots.csv", index=False)
simulation.markers.drop(index="L12").to_csv("markers.csv")  # L12 was not genotyped

# %% [markdown]
# ## Read
# A row of `plots.csv` is a plot. A row of `markers.csv` has a line's genotypes, which become the relationship: how much
# of their genome any two lines share. Both are matched by the lines' names, so that the order of rows never matters.

# %%
pd.read_csv("plots.csv").head()

# %%
pd.read_csv("markers.csv", index_col=0).iloc[:3, :8]  # copies of one allele

# %%
markers = bmtme.read_markers("markers.csv")
markers, quality = bmtme.filter_markers(markers, min_call_rate_marker=0.8, min_maf=0.05, progress=False)
relationship = bmtme.vanraden(markers)
print(relationship)

columns = {"line": "line", "env": "env", "rep": "rep", "traits": ["yield", "protein"]}
try:
    trial = bmtme.read_trial("plots.csv", **columns)
except bmtme.DataError as error:
    print(error)

# %% [markdown]
# What cannot be used is refused, with the place where it is. Here a plot was entered twice, and one of the two rows
# must go. Mend the file, or a table in pandas (names read as text: `001` is not `1`); `Trial.from_frame` takes the
# table.

# %%
table = pd.read_csv("plots.csv", dtype={"line": str, "rep": str}).drop_duplicates()
trial = bmtme.Trial.from_frame(table, **columns)
print(trial.check(relationship))

# %% [markdown]
# ## Mend
# The check found all that was wrong: two spellings, a code for missing values, a point that slipped, a line without
# markers. It changes nothing: what is a mistake, you decide. L12 stays in the table, and the fit is told below to leave
# it out (markers or a pedigree would keep it in).

# %%
table["line"] = table["line"].replace({"l-07": "L07"})
table["protein"] = table["protein"].replace({-9: np.nan})
table.loc[table["yield"] > 20, "yield"] /= 10
trial = bmtme.Trial.from_frame(table, **columns)
trial.plot_records()

# %% [markdown]
# ## Fit
# One call. The model takes a plot's value as the mean of its environment, the line's genetic value over all
# environments, what is special to the line there, and error; both traits together, and relatives learn from each other.
# A seed makes the numbers come out the same again. The first fit on a machine takes some minutes, as the sampler is
# compiled; from then on this one takes seconds.

# %%
fit = bmtme.fit(trial, relationship, unrelated="drop", draws=DRAWS, tune=TUNE, seed=1, progress=False)

# %% [markdown]
# ## Can it be trusted?
# Ask this first. The fit is made of *draws*: values of all the unknowns that are possible given the data, thousands of
# them, from four *chains* that run apart. If the chains agree (R-hat below 1.01) and there are enough independent draws
# (effective draws above 400), the numbers can be used:

# %%
print(fit.diagnose())

# %% [markdown]
# Had it been stopped too early, it would have said so, and what to do:

# %%
short = bmtme.fit(trial, relationship, unrelated="drop", draws=40, tune=20, seed=1, progress=False)
print(short.diagnose())

# %% [markdown]
# ## What the trial says
# `fit.summary()` has a row for every mean, variance, correlation and heritability. These are a good beginning:

# %%
summary = fit.summary().filter(regex="^(genetic_correlation|heritability|Sigma_E)", axis=0)
summary[["mean", "lower", "upper", "note"]].round(2)

# %% [markdown]
# `mean` is the estimate; given the model and the data, the true value lies between `lower` and `upper` with a
# probability of 90%. A `note` would say that the number must not be used yet, or that the data say nothing of it.
#
# * `genetic_correlation`: lines of high yield have low protein. Selecting for the one costs the other.
# * `heritability`: the genetic share of the differences between single plots. Means of lines over all their plots have
#   higher ones, as the picture shows.
# * `Sigma_E`: how much lines change places between environments. At 0 they do not; with 0.5 in two environments, the
#   genetic correlation of these is 1 / (1 + 0.5) = 0.67.

# %%
fit.plot_heritability()

# %% [markdown]
# ## Which lines?

# %%
ranking = fit.ranking("yield", top=5, check="L02")
ranking.head(10)

# %% [markdown]
# * `value`: expected yield, as a mean over the environments. It is drawn towards the mean of the relatives, the more so
#   the less is known of the line: so it may be compared between lines with many plots and with few.
# * `reliability`: how much is known of the line's value, from 0 to 1.
# * `rank_lower` to `rank_upper`: its true rank is here, with a probability of 90%. Mind how wide that is.
# * `p_top`: probability to be truly among the five best.
# * `p_above_check`: probability to be better than L02.
#
# The highest values make the best selection on average. The other columns say how sure each choice is: a line with a
# high `p_top` behind the fifth place is worth another year, and one that is hardly better than the check is not.

# %%
fit.plot_ranking("yield", top=5, check="L02")

# %% [markdown]
# What would the five best bring? They are compared with the mean of all lines, in every trait, also in the one that
# nobody selected for:

# %%
fit.response(ranking)

# %% [markdown]
# More yield, and less protein. If that is not what you want, take an index of both: `fit.index({"yield": 1.0,
# "protein": 0.5})`, or say which gains you want; [from_posterior_to_selection](from_posterior_to_selection.ipynb) has
# it all.
#
# ## Where it was not grown
# Every line has a prediction in every environment: also where it was not grown (`n_obs` is 0), and also lines that were
# only genotyped, such as the last one. The less there is to go by, the larger `sd` is.

# %%
predictions = fit.predictions()
predictions[predictions["line"].isin(["L18", relationship.lines[-1]]) & (predictions["trait"] == "yield")]

# %% [markdown]
# `mean` is the genetic value to select on. `lower` and `upper` are for a single new plot there, error included.
#
# ## Keep it
# A folder holds the tables as CSV, all draws, and a record of data, settings and versions. It can be opened again, in
# another session or by the shell (`bmtme rank run --trait yield`). The report is one page for a browser, with pictures,
# diagnostics, and a text for the methods section of a paper.

# %%
fit.save("run")
again = bmtme.load("run")
again.report("run/report.html")
print(again)
again.ranking("yield", top=5, check="L02").head(3)

# %% [markdown]
# ## What next
# * Several traits, check varieties, stability, your own questions:
#   [from_posterior_to_selection](from_posterior_to_selection.ipynb).
# * Blocks, rows and columns, trends of the field: [from_plots_to_ranking](from_plots_to_ranking.ipynb).
# * Does this model predict better than a simpler one? [choosing](choosing.ipynb).
# * Chains that do not agree: [diagnostics](diagnostics.ipynb).
# * File formats, pedigrees, no markers at all: [formats](formats.md). All pages: [examples](README.md).
