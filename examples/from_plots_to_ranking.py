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
# # From plots to a ranking
#
# A field gives plots; a breeder wants to know which lines to keep. In between lie two stages. The first takes each
# environment by itself and turns its plots into adjusted means of lines, clear of blocks, rows, columns and trends of
# the field. The second joins the environments and the relatives. This page goes all the way on simulated plots, so that
# at the end the ranking can be held against the truth: is it better than one of raw means, and does it matter what the
# second stage is told of the errors of the first?
#
# It is a notebook, `from_plots_to_ranking.ipynb`, and a plain script, `from_plots_to_ranking.py`, which prints the
# tables and writes the figures to a folder. What `bmtme.adjust` does is written down in [adjust.md](adjust.md); a
# closer look at models of one field is in `field_trial.ipynb`.

# %%
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import bmtme
from bmtme.report.palette import COLOURS

# %% tags=["parameters"]
LINES, DRAWS, TUNE, TRIALS = 60, 500, 300, 6
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


# A few hundred draws do for a page that is read; for a decision, take the thousands of the default.
warnings.filterwarnings("ignore", "a short run")
warnings.filterwarnings("ignore", "few effective draws")
length = {"draws": DRAWS, "tune": TUNE, "chains": 2, "seed": 1, "progress": False}

# %% [markdown]
# ## The data
# 60 lines in families of ten with markers, four environments, one trait with a heritability of 0.5 on a plot of an even
# field. `bmtme.simulate` draws the values; the fields are laid over them here. Each has two replicates of five rows,
# one above the other, with blocks of two columns within each. Nothing is balanced: in every environment some lines are
# not grown, and in E3 and E4 some more have one plot only.
#
# | | trouble of its field |
# |---|---|
# | E1 | a slope, and a hollow |
# | E2 | patches: neighbours are alike |
# | E3 | stripes: rows and columns by themselves |
# | E4 | none |
#
# Where there is trouble, its standard deviation is 1.2 times that of the values without it. That is much.

# %%
TROUBLE = {"E1": "slope and hollow", "E2": "patches", "E3": "stripes", "E4": "none"}


def correlate(n, rho):
    """Correlations of n plots in a line, which fall with the distance."""
    return rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))


def make_field(trouble, rows, cols, rng):
    """What the place of a plot adds, rows x columns, with a mean of 0 and a standard deviation of 1."""
    if trouble == "none":
        return np.zeros((rows, cols))
    if trouble == "slope and hollow":
        across, along = np.meshgrid(np.linspace(-1, 1, cols), np.linspace(-1, 1, rows))
        field = along + 0.5 * across - 2 * np.exp(-((across - 0.3) ** 2 + (along + 0.2) ** 2) / 0.3)
    elif trouble == "patches":
        left, right = (np.linalg.cholesky(correlate(n, 0.9)) for n in (rows, cols))
        field = left @ rng.normal(size=(rows, cols)) @ right.T
    else:
        field = rng.normal(size=(rows, 1)) + rng.normal(size=cols)
    return (field - field.mean()) / field.std()


def grow(seed):
    """A trial: what was simulated, and the plots that are left, with their fields."""
    simulation = bmtme.simulate(
        lines=LINES, envs=4, traits=1, reps=2, heritability=0.5, interaction=0.5, relationship="markers", seed=seed
    )
    rng = np.random.default_rng(seed)
    values = simulation.frame.rename(columns={"T1": "yield"})
    deviation = values.groupby("env")["yield"].std().mean()
    cols = -(-LINES // 5)
    parts = []
    for (env, rep), plots in values.groupby(["env", "rep"]):
        second = rep != values["rep"].min()
        if not second:
            gone = rng.permutation(LINES)[: LINES // 12]
            field = 1.2 * deviation * make_field(TROUBLE[env], 10, cols, rng)
        elif env in ("E3", "E4"):
            gone = np.append(gone, rng.permutation(LINES)[: LINES // 6])
        place = rng.permutation(5 * cols)[:LINES]
        row, col = place // cols + 5 * second, place % cols
        plots = plots.assign(block=col // 2 + 1, row=row + 1, col=col + 1)
        plots["yield"] += field[row, col]
        lines = np.array(simulation.relationship.lines)
        parts.append(plots[~plots["line"].isin(lines[gone])])
    return simulation, pd.concat(parts, ignore_index=True)


def find_truth(simulation):
    """True values of lines: in each environment, and their mean over the environments."""
    main, interaction = simulation.truth["b1"]["T1"], simulation.truth["b2"]["T1"].unstack("env")
    return interaction.add(main, axis=0), main + interaction.mean(axis=1)


simulation, plots = grow(seed=1)
tabulate(plots.head())
counts = plots.groupby("env").agg(plots=("line", "size"), lines=("line", "nunique"))
counts["lines with one plot"] = 2 * counts["lines"] - counts["plots"]
tabulate(counts)
print(f"{plots['line'].nunique()} lines in {plots['env'].nunique()} environments")

# %% [markdown]
# ## First: look
# Before any model, look at the values where they lie. An eye finds a slope, a stripe or a plot with a misplaced point
# sooner than a test does. Grey places hold no plot.

# %%
figure, panels = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
figure.get_layout_engine().set(wspace=0.06)
for panel, (env, own) in zip(panels.flat, plots.groupby("env"), strict=True):
    grid = own.pivot(index="row", columns="col", values="yield")
    extent = (grid.columns[0] - 0.5, grid.columns[-1] + 0.5, grid.index[-1] + 0.5, grid.index[0] - 0.5)
    image = panel.imshow(grid, extent=extent, aspect="auto")
    panel.axhline(5.5, color="white", linewidth=1.5)
    panel.set_facecolor("#DDDDDD")
    panel.set_title(f"{env}: {TROUBLE[env]}", loc="left")
    panel.set(xlabel="col", ylabel="row")
    figure.colorbar(image, ax=panel, pad=0.02)
show(figure, "plots")

# %% [markdown]
# ## Stage one
# `bmtme.adjust` takes the environments one by one. Lines are *fixed* here: their means are not shrunken, as the second
# stage will do that, once. Replicates are fixed, blocks random; of the field five models are compared.

# %%
means = bmtme.adjust(plots, line="line", env="env", traits="yield", rep="rep", block="block", row="row", col="col")
print(means)

# %% [markdown]
# The whole table of candidates has a row for each model: its likelihood by REML, parameters, AIC, the difference from
# the least of the environment, and a note on what stands at a bound.

# %%
tabulate(means.candidates.drop(columns=["parameters", "converged"]).round(1))

# %% [markdown]
# Read the differences before the stars. Within two of the least, AIC does not tell models apart, and their means are
# much alike. The model that is chosen need not be the one that made the data, either: all candidates have straight
# lines along rows and columns among their fixed effects, random columns can follow a slope, an autoregression a hollow.
# With two plots a line, half of what a field tells goes to the lines.
#
# ### Is the trouble gone?
# The field map shows values, the trend that was taken out, and what is left. Nothing should be seen on the right: no
# patch, no stripe. Of a model `ar1` the residuals *are* the field, and it may be seen there.

# %%
show(means.plot_field("E3"), "field")

# %% [markdown]
# The variogram asks the same of all pairs: half the mean square of the difference between two residuals, by how far
# apart they lie. Without a model of the field it rises where a field has slopes or patches, and lies higher as a whole
# where it has stripes. With one it should be flat, but for `ar1`, where it rises as the model says. Lower is not better
# by itself, as whatever is fitted takes something of the residuals; and the ends are made of few pairs.

# %%
plain = bmtme.adjust(
    plots, line="line", env="env", traits="yield", rep="rep", block="block", row="row", col="col", spatial="none"
)
chosen = means.candidates[means.candidates["chosen"]].set_index("env")["model"]
figure, panels = plt.subplots(1, 4, figsize=(11, 3), sharex=True, layout="constrained")
for panel, env in zip(panels, TROUBLE, strict=True):
    for k, (name, which) in enumerate({"none": plain, chosen[env]: means}.items()):
        table = which.variogram(env)
        for (along, same), style in {("row", "col"): "o-", ("col", "row"): "s--"}.items():
            part = table[(table[same] == 0) & (table[along] > 0) & (table["n"] >= 20)]
            label = f"{name}, along {'a column' if along == 'row' else 'a row'}"
            panel.plot(part[along], part["gamma"], style, color=COLOURS[k], markersize=4, label=label)
    panel.set_ylim(bottom=0, top=1.6 * panel.get_ylim()[1])
    panel.set_title(env, loc="left")
    panel.set_xlabel("plots apart")
    panel.legend(frameon=False, fontsize=7, loc="upper left")
panels[0].set_ylabel("half mean square")
show(figure, "variogram")

# %% [markdown]
# ### What the plots are worth
# Heritability by Cullis says which share of the differences between adjusted means is genetic, and `sed` what the
# standard error of such a difference is. `none` is what they would have been without a model of the field: where there
# is trouble, `sed` should fall by the model. Heritability is an estimate with an error of its own, and a large one from
# one environment alone. How large shows in the column `true`, which only a simulation has: the squared correlation
# between adjusted means and true values.

# %%
within, truth = find_truth(simulation)
true = means.table.pivot(index="line", columns="env", values="mean").corrwith(within) ** 2
worth = means.heritability.set_index("env")[["n_lines", "n_plots", "cullis", "sed"]]
without = plain.heritability.set_index("env")[["cullis", "sed"]].add_suffix(", none")
tabulate(worth.assign(true=true).join(without).assign(model=chosen).round(2))
print(f"{len(means.outliers)} plots are named as outliers")

# %% [markdown]
# ### What goes on to stage two
# Each mean has two standard errors. `se` holds all that is not known, also the level of the whole environment, which
# moves all lines alike and does not bear on which is better: it is for display. `se_stage2` leaves out what is common,
# as far as one number for each mean can. The full covariance leaves nothing out: below is how much errors correlate
# within an environment.

# %%
tabulate(means.table.head(4).round(3))
for env, covariance in means.covariances.items():
    V = covariance.to_numpy()
    correlation = V / np.sqrt(np.outer(np.diag(V), np.diag(V)))
    pairs = correlation[np.triu_indices(len(V), 1)]
    print(f"{env}: correlations of errors from {pairs.min():.2f} to {pairs.max():.2f}, mean {pairs.mean():.2f}")

# %% [markdown]
# ## Stage two
# `bmtme.fit` takes the means as they are, covariance and all, and the relationship. A line that was not grown in an
# environment gets its prediction there from its relatives and from the others. Which is not the same as knowing: its
# interval is wider.

# %%
fit = bmtme.fit(means, simulation.relationship, **length)
ranking = fit.ranking(top=10)
tabulate(
    ranking[["line", "value", "sd", "lower", "upper", "reliability", "rank_lower", "rank_upper", "p_top"]]
    .head(10)
    .round(2)
)

# %% [markdown]
# `value` is the line's mean over the environments, with its 90% interval; `rank_lower` and `rank_upper` are those of
# its rank, and `p_top` is the probability that the line belongs to the ten best. Mind how wide ranks are: the first of
# the table is rarely surely the first. The highest values make the best selection on average; `p_top` says how sure
# each choice is.
#
# As this is a simulation, the true ranks are known. They are the crosses; over many trials about nine in ten should lie
# on their bars.

# %%
ranks = truth.rank(ascending=False).loc[ranking["line"]].to_numpy()
places = np.arange(1, len(ranking) + 1)
figure, panel = plt.subplots(figsize=(9, 3.6), layout="constrained")
panel.vlines(places, ranking["rank_lower"], ranking["rank_upper"], color="0.75", linewidth=4, label="90% interval")
panel.plot(places, ranking["rank_mean"], "o", markersize=4, color=COLOURS[0], label="mean rank of the draws")
panel.plot(places, ranks, "x", markersize=5, color=COLOURS[1], label="true rank")
panel.set(xlabel="place in the ranking", ylabel="rank")
panel.set_ylim(len(ranking) + 1, 0)
panel.set_xlim(0, len(ranking) + 1)
panel.legend(frameon=False)
show(figure, "ranks")
inside = (ranks >= ranking["rank_lower"]) & (ranks <= ranking["rank_upper"])
print(
    f"true ranks within their interval: {inside.mean():.0%}; of the ten best, {(ranks[:10] <= 10).sum()} are placed so"
)

# %% [markdown]
# ## Was it worth the trouble?
# Three answers to the same plots, all with the second stage and its relatives:
#
# * **raw**: plots of a line averaged in each environment as if there were no field; the model knows of how many plots;
# * **se_stage2**: adjusted means, with one standard error each;
# * **full covariance**: adjusted means with all of it, as above.
#
# Besides, raw and adjusted means as they are, without a second stage. Accuracy is the correlation with the truth: of
# lines' means over all environments, and within an environment (mean of the four).


# %%
def compare(simulation, plots, means):
    """Accuracy of each way from plots to lines: over the environments, and within."""
    within, over = find_truth(simulation)
    keys = ["line", "env"]
    raw = plots.groupby(keys, sort=False)["yield"].agg(["mean", "size"]).reset_index()
    adjusted = means.table[means.table["estimable"]]
    trials = {
        "raw, stage two": bmtme.Trial.from_frame(raw, line="line", env="env", traits=["mean"], n_plots="size"),
        "se_stage2, stage two": bmtme.Trial.from_frame(
            adjusted, line="line", env="env", traits=["mean"], se={"mean": "se_stage2"}
        ),
        "full covariance, stage two": means,
    }
    values = {"raw means": raw, "adjusted means": adjusted}
    for name, trial in trials.items():
        values[name] = bmtme.fit(trial, simulation.relationship, **length).predictions()
    found = {}
    for name, table in values.items():
        wide = table.pivot(index="line", columns="env", values="mean")
        found[name] = {
            "over environments": (wide - wide.mean()).mean(axis=1).corr(over),
            "within": wide.corrwith(within).mean(),
        }
    return pd.DataFrame(found).T


accuracy = compare(simulation, plots, means)
tabulate(accuracy.round(3))

# %% [markdown]
# Two or three hundredths between two rows of this table say little: it is one trial, and with another seed they may
# change places. So the same is done with other seeds: other lines, other fields.

# %%
trials = {1: accuracy}
for seed in range(2, TRIALS + 1):
    another, its_plots = grow(seed)
    adjusted = bmtme.adjust(
        its_plots, line="line", env="env", traits="yield", rep="rep", block="block", row="row", col="col"
    )
    trials[seed] = compare(another, its_plots, adjusted)
every = pd.concat(trials, names=["trial", "way"]).unstack("way")
tabulate(pd.concat(trials).groupby(level=1, sort=False).mean().round(3))

# %%
figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.2), sharey=True, layout="constrained")
ways = list(accuracy.index)[::-1]
for panel, what in zip(panels, accuracy.columns, strict=True):
    for table in trials.values():
        panel.plot(table.loc[ways, what], range(len(ways)), "o-", color="0.75", markersize=4, linewidth=0.8)
    panel.plot(
        every[what].mean()[ways], range(len(ways)), "D", color=COLOURS[1], label="mean of the trials", linestyle="none"
    )
    panel.set_title(what, loc="left")
    panel.set_xlabel("accuracy")
panels[0].set_yticks(range(len(ways)), ways)
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", frameon=False)
show(figure, "accuracy")
for other in ("raw, stage two", "se_stage2, stage two"):
    gain = every["within"]["full covariance, stage two"] - every["within"][other]
    error = f", standard error {gain.std() / np.sqrt(len(gain)):.3f}" if len(gain) > 1 else ""
    print(f"within, full covariance against {other}: {gain.mean():+.3f} in {len(gain)} trials{error}")

# %% [markdown]
# ## What to conclude, and what not
# * **Look at the difference and at its standard error.** A gain that is no larger than twice the error has not been
#   shown by these trials, whichever sign it has. A few trials show large gains only.
# * **What adjusting is worth depends on the field.** Here three of four fields have much trouble, and these settings
#   were chosen to show it: with fields a little weaker, and a third of the lines in one plot, six trials showed no
#   gain. On an even field there is nothing to win, and the slopes that are fitted all the same cost a little.
# * **Relatives and environments average trouble, too.** Lines stand in other places elsewhere, and sibs beside them: so
#   a second stage of raw means loses less than the raw means themselves would make one fear.
# * **One standard error or all of the covariance** is a smaller question than whether to adjust. The full covariance is
#   right by itself; take `se_stage2` where a program wants one number.
# * **Not that the model with the least AIC is the true one.** It is the one that does well for its size.
