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
# # Can I trust this run?
#
# Draws from a posterior answer questions only if the chains have forgotten where they started and if there are enough
# of them; and a posterior answers only for a model that fits. This page shows how to check all three on
# `fit.idata`, with a run that is bad on purpose, and how to mend it.
#
# It is a notebook, `diagnostics.ipynb`, and a plain script, `diagnostics.py`, which prints the tables and writes the
# figures to a folder; [jupytext](https://jupytext.readthedocs.io) makes the one of the other. It works with ArviZ 0.x
# and 1.x: the two differ in their plots and in what they call `fit.idata` (`InferenceData` or `DataTree`), so the
# figures here are drawn by matplotlib.

# %%
from pathlib import Path

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import bmtme
from bmtme.report.palette import COLOURS

# %% tags=["parameters"]
LINES, DRAWS, TUNE = 80, 2000, 1000
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


def get_group(idata, name):
    """A group of the draws as an xarray Dataset, with either ArviZ."""
    group = idata[name]
    return group.to_dataset() if hasattr(group, "to_dataset") else group


# %% [markdown]
# ## The data
# 80 lines in families of ten, three environments, two plots of each line in each, three traits with heritabilities of
# 0.2, 0.5 and 0.8.

# %%
simulation = bmtme.simulate(
    lines=LINES,
    reps=2,
    relationship="markers",
    genetic_correlation=0.6,
    residual_correlation=0.3,
    seed=1,
)
trial = bmtme.Trial.from_frame(simulation.frame, line="line", env="env", rep="rep", traits=["T1", "T2", "T3"])
print(trial)

# %% [markdown]
# ## A bad run
# The `gibbs` sampler draws the covariances given the effects and the effects given the covariances. Each holds the
# other back, so that it creeps, and here it gets a tenth of the usual sweeps.

# %%
bad = bmtme.fit(trial, simulation.relationship, draws=DRAWS // 10, tune=TUNE // 10, chains=4, sampler="gibbs", seed=1)
table = bad.summary()
worst = table.nsmallest(8, "ess_bulk")
tabulate(worst[["mean", "sd", "ess_bulk", "ess_tail", "r_hat", "note"]].round(2))
print(f"{(table['note'] != '').sum()} of {len(table)} rows have a note.")

# %% [markdown]
# What to read, in this order:
#
# * `r_hat` compares the spread between and within chains (rank-normalised, split). Above **1.01** the chains
#   disagree: none of them has seen the whole posterior, and neither the means nor the intervals can be used.
# * `ess_bulk` and `ess_tail` say how many independent draws the mean and the ends of the interval are worth. With 400,
#   the Monte Carlo error of a mean is a twentieth of the posterior standard deviation; with 40 it is a sixth.
# * `note` says it in words wherever one of them fails.
#
# `Sigma_t[T1, T1]` is the genetic variance of T1 over all environments, and `Sigma_E[E2, E2]` the variance of the
# interaction in E2, relative to it; [outputs.md](outputs.md) explains every row.
#
# The same numbers from ArviZ, for those who want others besides; it takes the posterior as a Dataset:

# %%
tabulate(az.summary(get_group(bad.idata, "posterior"), var_names=["beta", "mu", "tau"], kind="diagnostics"))

# %% [markdown]
# The pictures say why; each colour is a chain. On the left the chains wander slowly, each somewhere else, instead of
# looking like grass. On the right the ranks of each chain's draws among all draws should be level along the dotted
# line; these are not.

# %%
names = worst.index[:4].tolist()
figure = bad.plot_chains(names)
show(figure, "bad")

# %% [markdown]
# ## Mended
# More sweeps would do in the end. Better is the default sampler, `collapsed`: it moves the covariances with means and
# effects integrated out, so that they do not hold each other back.

# %%
good = bmtme.fit(trial, simulation.relationship, draws=DRAWS, tune=TUNE, chains=4, seed=1)
mended = good.summary()
columns = ["mean", "sd", "ess_bulk", "r_hat"]
both = pd.concat({"bad": table.loc[names, columns], "mended": mended.loc[names, columns]}, axis=1)
tabulate(both.round(3))
print(f"of all: largest R-hat {mended['r_hat'].max():.3f}, fewest effective draws {mended['ess_bulk'].min():.0f}")

# %% [markdown]
# More effective draws than draws are no mistake: where a draw tends to lie on the other side of the mean from the one
# before, their errors cancel.

# %%
figure = good.plot_chains(names)
show(figure, "good")

# %% [markdown]
# How the effective draws grow: in a healthy run they rise in proportion to the draws. Where the line bends down, later
# draws found something that earlier ones had not seen. Here is the genetic variance or covariance with the fewest.

# %%
posterior = get_group(good.idata, "posterior")
parts = np.unique(np.linspace(max(DRAWS // 10, 4), DRAWS, 10).astype(int))
slowest = mended.filter(like="Sigma_t", axis=0)["ess_bulk"].idxmin()
row, column = slowest.removeprefix("Sigma_t[").removesuffix("]").split(", ")
variance = posterior[["Sigma_t"]].sel(trait=row, trait_bis=column)
effective = [float(az.ess(variance.isel(draw=slice(0, n)), method="bulk")["Sigma_t"]) for n in parts]

figure, panel = plt.subplots(figsize=(6, 3.2), layout="constrained")
panel.plot(parts * posterior.sizes["chain"], effective, "o-", color=COLOURS[0], label=f"{slowest}, mended run")
panel.axhline(400, color="0.5", linestyle=":", label="400: do not report fewer")
panel.set(xlabel="draws of all chains", ylabel="effective draws", xlim=(0, None), ylim=(0, None))
panel.legend(frameon=False)
show(figure, "effective")

# %% [markdown]
# ## Does the model fit? A posterior predictive check
# Simulate each record again with parameters of the posterior, and ask whether the real data look like such replicates.
# Look at what the model does not fit by itself. Means and variances it does; here are, for each trait, the skewness of
# the values within environments (the model says normal), and the standard deviation of the records of each environment
# (the model has one residual covariance for all environments).

# %%
data = get_group(good.idata, "observed_data")
observed = data["Y"].to_numpy()  # records x traits
line = posterior.indexes["line"].get_indexer(data["record_line"].to_numpy())
env = posterior.indexes["env"].get_indexer(data["record_env"].to_numpy())
traits = posterior["trait"].to_numpy()
rng = np.random.default_rng(1)


def replicate(chain, draw):
    """All records again, from one draw of the posterior."""
    one = {name: values.to_numpy() for name, values in posterior.isel(chain=chain, draw=draw).data_vars.items()}
    expected = one["beta"][env] + one["b1"][line] + one["b2"][env, line]
    noise = rng.multivariate_normal(np.zeros(len(traits)), one["R_e"], size=len(line))
    return np.where(np.isnan(observed), np.nan, expected + noise)


def skewness(values):
    """Of each trait, within environments."""
    centred = np.concatenate([values[env == i] - np.nanmean(values[env == i], axis=0) for i in np.unique(env)])
    return np.nanmean(centred**3, axis=0) / np.nanmean(centred**2, axis=0) ** 1.5


def spread(values):
    """Standard deviation of the records of each environment and trait."""
    return np.concatenate([np.nanstd(values[env == i], axis=0) for i in np.unique(env)])


draws = [(c, d) for c in range(4) for d in np.linspace(0, DRAWS - 1, min(100, DRAWS)).astype(int)]
replicates = [replicate(*draw) for draw in draws]
rows = ["skewness", *(f"SD in {name}" for name in trial.envs)]
statistics = np.array([np.concatenate([skewness(values), spread(values)]) for values in replicates])
actual = np.concatenate([skewness(observed), spread(observed)])
above = (statistics >= actual).mean(axis=0)

# %%
figure, panels = plt.subplots(len(rows), len(traits), figsize=(9, 8), layout="constrained")
for column in panels.T:  # the standard deviations of a trait on one scale, to be compared between environments
    for panel in column[2:]:
        panel.sharex(column[1])
for k, panel in enumerate(panels.flat):
    panel.hist(statistics[:, k], bins=25, color="0.8", label="replicates of the data, from the model")
    panel.axvline(actual[k], color=COLOURS[1], linewidth=2, label="the data")
    panel.set_title(f"{100 * above[k]:.0f}% of replicates above", loc="right", fontsize=8)
    panel.set_yticks([])
for trait, panel in zip(traits, panels[0], strict=True):
    panel.set_title(trait, loc="left", fontweight="bold")
for name, panel in zip(rows, panels[:, 0], strict=True):
    panel.set_ylabel(name)
figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
show(figure, "predictive")
print(f"shares of replicates above the data: {above.min():.2f} to {above.max():.2f}")

# %% [markdown]
# A line far out in a tail (less than 1% or more than 99% above) is a feature
# of the data that the model does not know: a skewed trait may want its logarithm, an environment of unlike variance a
# look at its plots. One of twelve in the outer tenth is no news.
#
# Does it matter for prediction? Ask directly: `bmtme.cross_validate` predicts what it has not seen.
