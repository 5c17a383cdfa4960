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
# # A field trial, step by step
#
# A nursery is grown in four site-years: some thirty entries, two replicates, plots in rows and ranges. Which model fits
# such a field? There is no list to be ticked off: start with the simplest, ask one question at a time, test it, and
# stop where the answer is no. This page does so with `bmtme.mixed.Model`. Each step says what is asked, what the test
# is, and how to read it; the numbers are below the cells, and the words hold for other numbers, too.
#
# It is a notebook, `field_trial.ipynb`, and a plain script, `field_trial.py`, which prints the tables and writes the
# figures to a folder. All words of the formulas are in [mixed.md](mixed.md). To have the model of each field chosen for
# you and go on to a ranking, see `from_plots_to_ranking.ipynb`.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from bmtme import mixed
from bmtme.report.palette import COLOURS

# %% tags=["parameters"]
TRIALS, COPIES = 10, 100
FIGURES = Path("figures")  # where a script puts them; a notebook shows them
NOTEBOOK = "get_ipython" in globals()


# %%
def show(figure, name):
    """Show a figure in the notebook, or save it."""
    if NOTEBOOK:
        from IPython.display import display

        display(figure)
    else:
        FIGURES.mkdir(exist_ok=True)
        figure.savefig(FIGURES / f"{name}.png", dpi=150)
        print(f"figure: {FIGURES / name}.png")
    plt.close(figure)


def tabulate(table):
    """Show a table as notebooks do, or print it."""
    if NOTEBOOK:
        from IPython.display import display

        display(table)
    else:
        print(table.to_string())


# %% [markdown]
# ## The data
# Simulated, so that we know what is in them. Entries have a main effect with a variance of 1 and an interaction with
# each site-year of 0.4, on yield and on height, with a genetic correlation of 0.5. The fields differ:
#
# | site-year | rows x ranges | entries | field of yield |
# |---|---|---|---|
# | Hill 2023 | 8 x 8 | 32 | autocorrelation along rows 0.8 and ranges 0.5, variance 1.2; plots by themselves 0.3 |
# | Hill 2024 | 10 x 7 | 35 | along both 0.8, variance 1.5; plots 0.4 |
# | Vale 2023 | 10 x 6 | 29 | along rows alone 0.6, variance 1.0; plots 0.3 |
# | Vale 2024 | 10 x 6 | 30 | rows differ, variance 0.5; plots 0.8 |
#
# Height has 0.3 of the same field, in standard deviations of its own, and errors that go with those of yield. The first
# replicate is the upper half of the field, and the second the lower one.

# %%
#: Rows, ranges, entries; autocorrelations along rows and ranges, variances of field, plots and rows.
SITES = {
    "Hill 2023": ((8, 8, 32), (0.8, 0.5), (1.2, 0.3, 0.0)),
    "Hill 2024": ((10, 7, 35), (0.8, 0.8), (1.5, 0.4, 0.0)),
    "Vale 2023": ((10, 6, 29), (0.6, 0.0), (1.0, 0.3, 0.0)),
    "Vale 2024": ((10, 6, 30), (0.0, 0.0), (0.0, 0.8, 0.5)),
}
ENTRIES = np.array([f"N{k:02d}" for k in range(1, 39)])
GENETIC = np.array([[1.0, 0.5], [0.5, 1.0]])
ERRORS = np.array([[1.0, 0.4], [0.4, 1.0]])


def correlate(n, rho):
    """Correlations of n plots in a line, which fall with the distance."""
    return rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))


def grow(seed):
    """The plots of a nursery, and the true values of yield, entries x site-years."""
    rng = np.random.default_rng(seed)
    main = rng.multivariate_normal([0, 0], GENETIC, len(ENTRIES))
    parts, truth = [], {}
    for site, ((rows, ranges, entries), rho, (patches, plots, stripes)) in SITES.items():
        value = main + rng.multivariate_normal([0, 0], 0.4 * GENETIC, len(ENTRIES))
        truth[site] = value[:, 0]
        left, right = (np.linalg.cholesky(correlate(n, r)) for n, r in zip((rows, ranges), rho, strict=True))
        field = np.sqrt(patches) * left @ rng.normal(size=(rows, ranges)) @ right.T
        field += rng.normal(0, np.sqrt(stripes), (rows, 1))
        grown = rng.choice(len(ENTRIES), entries, replace=False)
        half = rows * ranges // 2
        for rep in (0, 1):
            row, col = np.divmod(rep * half + rng.permutation(half)[:entries], ranges)
            entry = rng.permutation(grown)
            error = rng.multivariate_normal([0, 0], plots * ERRORS, entries)
            own = {"site": site, "rep": str(rep + 1), "row": row + 1, "range": col + 1, "gen": ENTRIES[entry]}
            own["yield"] = 5 + value[entry, 0] + field[row, col] + error[:, 0]
            own["height"] = 90 + 5 * (value[entry, 1] + 0.3 * field[row, col] + error[:, 1])
            parts.append(pd.DataFrame(own))
    return pd.concat(parts, ignore_index=True), pd.DataFrame(truth, ENTRIES)


plots, truth = grow(seed=1)
tabulate(plots.head())
counts = plots.groupby("site").agg(plots=("gen", "size"), entries=("gen", "nunique"), mean=("yield", "mean"))
tabulate(counts.round(2))
print(f"{plots['gen'].nunique()} entries in {plots['site'].nunique()} site-years")

# %% [markdown]
# **Look first.** Is there a side of the field that is better, a stripe, a single plot out of all measure? Write down
# what you see before a test tells you what to see. Grey places hold no plot.

# %%
figure, panels = plt.subplots(2, 2, figsize=(8.6, 7), layout="constrained")
figure.get_layout_engine().set(wspace=0.06)
for panel, (site, own) in zip(panels.flat, plots.groupby("site"), strict=True):
    grid = own.pivot(index="row", columns="range", values="yield")
    image = panel.imshow(grid, extent=(0.5, grid.shape[1] + 0.5, grid.shape[0] + 0.5, 0.5), aspect="auto")
    panel.axhline(grid.shape[0] / 2 + 0.5, color="white", linewidth=1.5)
    panel.set_facecolor("#DDDDDD")
    panel.set_title(site, loc="left")
    panel.set(xlabel="range", ylabel="row")
    figure.colorbar(image, ax=panel, pad=0.02)
show(figure, "nursery")

# %% [markdown]
# ## Step 1: plots that know nothing of each other
# We begin with one site-year. **Asked:** what do we get if the place of a plot does not matter? The model is y =
# replicate + entry + error, entries random (variance `gen`) and errors independent (`units`, the residual). This is the
# yardstick for all that follows.

# %%
SITE = "Hill 2024"
field = plots[plots["site"] == SITE]
iid = mixed.Model("yield ~ rep", random="gen", residual="units").fit(field)
print(iid)

# %% [markdown]
# The components are the two variances with their errors. Now the residuals, where they lie: do like colours lie
# together? If errors were independent, this would look like confetti.

# %%
show(iid.plot_field(("range", "row")), "residuals")

# %% [markdown]
# ## Step 2: rows, then ranges
# **Asked:** do whole rows differ? A random effect for each row costs one parameter. **The test:** twice the difference
# of the log likelihoods. Without row effects their variance would be zero, which lies at the edge of what a variance
# can be, and half of the time the estimate would stand there: so p is that of half a chi-square, which `lrt` knows
# (`distribution`). **To conclude:** a small p (below 0.05, say) means that rows differ by more than chance; a large
# one, that this field does not show it, and the term may go. The same is asked of ranges, with rows in the model.

# %%
rows = mixed.Model("yield ~ rep", random="gen + row").fit(field)
both = mixed.Model("yield ~ rep", random="gen + row + range").fit(field)


def test(*pairs):
    """Likelihood-ratio tests, a row for each: larger model, smaller model."""
    tests = {name: larger.lrt(smaller) for name, larger, smaller in pairs}
    table = pd.concat(tests).droplevel(1)[["statistic", "df", "p", "distribution"]]
    table["told"] = np.where(table["p"] < 0.05, "yes", "no")
    tabulate(table.round({"statistic": 2, "p": 4}))


test(("rows against iid", rows, iid), ("ranges beside rows", both, rows))

# %% [markdown]
# ## Step 3: neighbours along one side
# Rows and ranges are straight, and fertility seldom is. **Asked:** are neighbours alike, less so the farther apart? In
# the residual, `range:ar1(row)` means that within a range plots one row apart correlate by rho, two apart by rho
# squared; ranges know nothing of each other. **The test:** rho = 0 is the model of step 1. A correlation may be
# negative, so zero is not at an edge, and p is that of the whole chi-square with one degree of freedom. **To
# conclude:** a small p and a positive rho mean patches or slopes; a negative rho would mean that plots rob their
# neighbours, or that something else is wrong.

# %%
along = mixed.Model("yield ~ rep", random="gen", residual="range:ar1(row)").fit(field)
test(("ar1 along rows against iid", along, iid))
tabulate(along.components[["term", "parameter", "estimate", "se", "bound"]].round(2))

# %% [markdown]
# ## Step 4: along both sides
# **Asked:** do neighbours across ranges correlate as well? `ar1(range):ar1(row)` multiplies both. **The test:** its rho
# along ranges is zero in step 3: one degree of freedom. This does not compare with rows and ranges of step 2: neither
# model is a part of the other, so there is no such test, and `lrt` refuses it. For these there is AIC below.

# %%
plane = mixed.Model("yield ~ rep", random="gen", residual="ar1(range):ar1(row)").fit(field)
test(("ar1 x ar1 against ar1", plane, along))
tabulate(plane.components[["term", "parameter", "estimate", "se", "bound"]].round(2))

# %% [markdown]
# ## Step 5: a nugget
# **Asked:** is all error smooth? A plot has errors of its own, too: of the scales, of plants and of the hand that cut
# them. `units` in the random part is such an error beside the smooth one. Without it, a rho must serve both, and comes
# out too low. **The test:** its variance is zero in step 4, at the edge again. **To conclude:** a small p says that a
# plot has something of its own; a large one that the data do not tell, which is common in small fields, and no proof
# that there is none.

# %%
nugget = mixed.Model("yield ~ rep", random="gen + units", residual="ar1(range):ar1(row)").fit(field)
test(("nugget", nugget, plane))
tabulate(nugget.components[["term", "parameter", "estimate", "se", "bound"]].round(2))

# %% [markdown]
# ## Step 6: all of them beside each other
# AIC = -2 log likelihood + 2 for each parameter of the covariances; less is better. All models here have the same fixed
# part, without which likelihoods by REML could not be compared. **To conclude:** differences below two are none. Then
# take the simpler model, or the one that the eye agrees with.

# %%
MODELS = {
    "iid": ("gen", "units"),
    "rows": ("gen + row", "units"),
    "rows, ranges": ("gen + row + range", "units"),
    "ar1 rows": ("gen", "range:ar1(row)"),
    "ar1 x ar1": ("gen", "ar1(range):ar1(row)"),
    "nugget": ("gen + units", "ar1(range):ar1(row)"),
}


def tabulate_fits(fits):
    """Log likelihood, parameters and AIC of models with one fixed part."""
    rows = {name: (fit.log_likelihood, fit.n_parameters, fit.aic, fit.converged) for name, fit in fits.items()}
    table = pd.DataFrame.from_dict(rows, "index", columns=["log likelihood", "parameters", "AIC", "converged"])
    table.insert(3, "difference", table["AIC"] - table["AIC"].min())
    return table.round(2)


fits = dict(zip(MODELS, (iid, rows, both, along, plane, nugget), strict=True))
tabulate(tabulate_fits(fits))

# %% [markdown]
# **The variogram** is the picture of it: half the mean square of differences between residuals of `iid`, by distance.
# Points that rise say that neighbours are alike. But points rise and fall by chance, and entries and replicates take
# something of them. So ask what they would look like if a model were true: draw yields from it for the same plots, fit
# `iid` to each of these copies, and see where nine in ten of them lie at each distance. As the shape counts and not the
# level, all are divided by the variance of their residuals. **To conclude:** points that leave a band speak against its
# model, but one in ten does so by chance; where bands overlap, the variogram cannot tell the models apart.


# %%
def find_covariance(fit):
    """What a model says of the plots' covariance: entries, plots by themselves, and neighbours."""
    table = fit.components
    variances = table[table["parameter"] == "variance"].set_index("term")["estimate"]
    rho = table.set_index("parameter")["estimate"]
    gen, row, col = (field[name].to_numpy() for name in ("gen", "row", "range"))
    V = variances["gen"] * (gen[:, None] == gen) + variances.get("units", 0.0) * np.eye(len(field))
    for variance in variances.filter(like="ar1"):
        neighbours = rho["autocorrelation row"] ** np.abs(row[:, None] - row)
        V += variance * neighbours * rho["autocorrelation range"] ** np.abs(col[:, None] - col)
    return V


def measure(fit):
    """The variogram of residuals along rows and ranges, in units of their variance, where there are pairs enough."""
    table = fit.variogram(("range", "row"))
    table = table[(table[["row", "range"]].min(axis=1) == 0) & (table["n"] >= 15)].set_index(["row", "range"])
    return table["gamma"].drop((0, 0), errors="ignore") / fit.residuals()["residual"].var(ddof=0)


def imitate(name):
    """Variograms of copies of the field that are drawn from a model."""
    rng = np.random.default_rng(1)
    draws = rng.multivariate_normal(np.zeros(len(field)), find_covariance(fits[name]), COPIES)
    copies = [mixed.Model("yield ~ rep", random="gen").fit(field.assign(**{"yield": draw})) for draw in draws]
    return pd.concat([measure(copy) for copy in copies], axis=1)


points = measure(iid)
bands = {name: imitate(name).quantile([0.05, 0.95], axis=1).T for name in ("iid", "ar1 x ar1")}
figure, panels = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
for panel, (axis, other) in zip(panels, (("row", "range"), ("range", "row")), strict=True):
    for k, (name, band) in enumerate(bands.items()):
        own = band.xs(0, level=other)
        panel.fill_between(own.index, own[0.05], own[0.95], color=COLOURS[k], alpha=0.3, label=f"if {name} were true")
    own = points.xs(0, level=other)
    panel.plot(own.index, own, "o-", color="0.2", label="the field")
    panel.set(xlabel=f"{axis}s apart", xticks=own.index)
panels[0].set(ylabel="half mean square / variance", ylim=(0, None))
panels[0].legend(frameon=False, fontsize=8, loc="lower right")
show(figure, "curves")

# %% [markdown]
# ## Step 7: the other site-years, each by itself
# **Asked:** does the same model serve everywhere? Each column below is AIC above the least of its site-year. **To
# conclude:** where the zeros stand in different rows, no; and where many numbers of a column are below two, that field
# does not tell.


# %%
def climb(own):
    """All models of a site-year."""
    return {name: mixed.Model("yield ~ rep", random, residual).fit(own) for name, (random, residual) in MODELS.items()}


steps = {site: climb(own) for site, own in plots.groupby("site")}
aic = pd.DataFrame({site: {name: fit.aic for name, fit in own.items()} for site, own in steps.items()})
tabulate((aic - aic.min()).round(1))

# %% [markdown]
# ## Step 8: all site-years together
# **Asked:** have site-years a residual variance of their own (`units | site`), a field of their own
# (`ar1(range):ar1(row) | site`), and each a nugget (`at(site):units`)? Entries now have an effect in all site-years,
# `gen`, and one of each, `site:gen`. **The tests:** one variance is a special case of four, which lies inside: the
# whole chi-square, three degrees of freedom. Two rhos for each of four: eight. Four nuggets at zero: a mixture of
# chi-squares. Last, whether entries change places between site-years at all: `site:gen` left out.

# %%
JOINT = {
    "one variance": ("gen + site:gen", "units"),
    "by site-year": ("gen + site:gen", "units | site"),
    "ar1 x ar1": ("gen + site:gen", "ar1(range):ar1(row) | site"),
    "nuggets": ("gen + site:gen + at(site):units", "ar1(range):ar1(row) | site"),
    "no site:gen": ("gen", "ar1(range):ar1(row) | site"),
}
joint = {name: mixed.Model("yield ~ site + site:rep", *parts).fit(plots) for name, parts in JOINT.items()}
tabulate(tabulate_fits(joint))
test(
    ("a variance for each", joint["by site-year"], joint["one variance"]),
    ("a field for each", joint["ar1 x ar1"], joint["by site-year"]),
    ("a nugget for each", joint["nuggets"], joint["ar1 x ar1"]),
    ("site:gen", joint["ar1 x ar1"], joint["no site:gen"]),
)

# %% [markdown]
# Where a model has not converged, its test is not to be used; `print(fit)` then says what to do. Note that a sum of
# tests by site-year and one test of all need not agree: one strong field makes the test of all small, and says nothing
# of the weak ones.
#
# What was it for? The order of the entries, and how sure it is. Below are predicted effects of the entries over
# site-years from the simplest model and from two with more, against the truth. Reliability is what a model expects of
# itself, and only as right as the model is.

# %%
worth = {}
for name in ("one variance", "by site-year", "ar1 x ar1"):
    entries = joint[name].blup("gen").set_index("gen")
    accuracy = entries["blup"].corr(truth.mean(axis=1))
    worth[name] = {"reliability, mean": entries["reliability"].mean(), "correlation with the truth": accuracy}
tabulate(pd.DataFrame(worth).T.round(3))

# %% [markdown]
# ## Step 9: two traits
# **Asked:** do yield and height go together, and is it by genes or by plots? `diag(trait)` gives each trait a variance
# and no covariance, `us(trait)` the covariance as well. First for the residual, then for entries with the residual's in
# the model: a covariance that is left out in one place shows up in the other. **The tests:** one covariance each, which
# may have either sign: a chi-square with one degree of freedom. Rows and ranges stand for the fields here.

# %%
PLACES = "diag(trait):site:gen + diag(trait):site:row + diag(trait):site:range"
PAIRS = {
    "neither": ("diag(trait):gen", "diag(trait):units"),
    "plots": ("diag(trait):gen", "us(trait):units"),
    "plots, entries": ("us(trait):gen", "us(trait):units"),
}
pairs = {
    name: mixed.Model("yield + height ~ trait + trait:site + trait:site:rep", f"{gen} + {PLACES}", residual).fit(plots)
    for name, (gen, residual) in PAIRS.items()
}
tabulate(tabulate_fits(pairs))
test(
    ("covariance of plots", pairs["plots"], pairs["neither"]),
    ("covariance of entries", pairs["plots, entries"], pairs["plots"]),
)
tabulate(pairs["plots, entries"].correlations("us(trait):gen").round(2))

# %% [markdown]
# **To conclude:** where the second is told, selecting for yield changes height, the more the larger the correlation.
# Where only the first is, tall plots yield more, but tall entries need not. The standard error of a genetic correlation
# from some thirty entries is large: look at it before the estimate.
#
# ## Would another nursery say the same?
# One nursery is one draw. Here are some more, with the same truth: how often each model has the least AIC in each
# site-year, and how well entries are ranked in it (correlation of predicted with true values) by `iid`, by the model of
# least AIC, and by ar1 x ar1 whatever AIC says.

# %%
chosen, accuracy = [], []
for seed in range(1, TRIALS + 1):
    more, its_truth = (plots, truth) if seed == 1 else grow(seed)
    for site, own in more.groupby("site"):
        found = steps[site] if seed == 1 else climb(own)
        least = min(found, key=lambda name: found[name].aic)
        chosen.append((site, least))
        which = {"iid": "iid", "least AIC": least, "ar1 x ar1": "ar1 x ar1"}
        known = its_truth[site]
        scores = {way: found[name].blup("gen").set_index("gen")["blup"].corr(known) for way, name in which.items()}
        accuracy.append({"site": site, **scores})
print(f"in {TRIALS} trial{'s' * (TRIALS > 1)} of each site-year")
counts = pd.DataFrame(chosen, columns=["site", "model"]).value_counts().unstack("site", fill_value=0)
tabulate(counts.reindex(list(MODELS), fill_value=0))
accuracy = pd.DataFrame(accuracy)
tabulate(accuracy.groupby("site").mean().round(3))

# %%
figure, panel = plt.subplots(figsize=(7, 3.2), layout="constrained")
for k, site in enumerate(SITES):
    own = accuracy[accuracy["site"] == site]
    for step, (way, marker) in enumerate({"least AIC": "o", "ar1 x ar1": "s"}.items()):
        gains = (own[way] - own["iid"]).to_numpy()
        x = k + 0.3 * step - 0.15
        panel.plot(np.full(len(gains), x), gains, marker, color=COLOURS[step], alpha=0.4, markersize=5)
        panel.hlines(gains.mean(), x - 0.1, x + 0.1, color=COLOURS[step], linewidth=3, label="" if k else way)
panel.axhline(0, color="0.5", linestyle=":")
panel.set_xticks(range(len(SITES)), SITES)
panel.set_ylabel("accuracy gained over iid")
panel.legend(frameon=False)
show(figure, "gains")

# %% [markdown]
# ## What to take home
# * **One question, one test.** Each step adds one thing to a model that is known; the test says whether the data ask
#   for it. Where models are no part of each other, AIC compares them.
# * **Fields of sixty plots tell little.** The model of least AIC is often not the one that made the data, and a model
#   near to it does as well. That is what the last tables are to show.
# * **Test variances at their edge, correlations inside.** `lrt` does, and says which in `distribution`.
# * **Never compare likelihoods of different fixed parts** by REML. For fixed effects there is `fit.wald()`.
# * **A test that says no is not a proof that there is nothing**, only that this field does not show it.
# * **The better model of the field is a means.** Ask of what it changes: the order of the entries, and its standard
#   errors.
