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
# # From posterior to selection
#
# BLUPs and their standard errors are one answer for each line. A posterior is thousands of answers for all lines at
# once, each of them possible given the data. Whatever you would compute if you knew the true values, compute it in
# every draw: the share of draws in which something is so is its probability, and the middle 90% of a number are its
# interval. That holds for questions to which no formula is known.
#
# This page does so for ranks, check varieties, several traits, stability and a question of one's own. What the columns
# of the tables mean is written down in [decisions.md](decisions.md).

# %%
import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import bmtme
from bmtme.report.palette import COLOURS

pd.set_option("display.precision", 2)

# %% tags=["parameters"]
LINES, DRAWS, TUNE = 80, 1000, 1000  # of the simulated trial; of each chain

# %% [markdown]
# ## The fit
# Four environments, one plot of a line in three quarters of them, six lines genotyped but not grown; yield (t/ha),
# protein (%) and plant height (cm). Lines change places in E4 more than elsewhere. As it is simulated, answers can be
# held against the truth. The seed was chosen among twelve, so that the ways to select that are compared below choose
# different lines.

# %%
NAMES = {"T1": "yield", "T2": "protein", "T3": "height"}
genetic, residual = np.diag([0.25, 0.35, 3.5]), np.diag([0.55, 0.60, 4.5])  # standard deviations
correlations = np.array([[1.0, -0.4, 0.3], [-0.4, 1.0, 0.0], [0.3, 0.0, 1.0]])
simulation = bmtme.simulate(
    lines=LINES,
    envs=4,
    traits=3,
    relationship="markers",
    missing=0.25,
    seed=3,
    truth={
        "beta": np.array([[6.4, 12.2, 98.0], [5.2, 12.9, 90.0], [7.1, 11.8, 104.0], [4.6, 13.4, 85.0]]),
        "Sigma_t": genetic @ correlations @ genetic,
        "Sigma_E": np.diag([0.2, 0.3, 0.4, 1.5]),
        "R_e": residual**2,
    },
)
new = simulation.relationship.lines[-6:]
plots = simulation.frame.rename(columns=NAMES)
plots = plots[~plots["line"].isin(new)]
trial = bmtme.Trial.from_frame(plots, line="line", env="env", traits=list(NAMES.values()))

main, interaction = (simulation.truth[name].rename(columns=NAMES) for name in ("b1", "b2"))
truth = main + interaction.groupby("line").mean()  # genetic values over the environments, lines x traits

fit = bmtme.fit(trial, simulation.relationship, draws=DRAWS, tune=TUNE, seed=1, progress=False)
print(fit)

# %% [markdown]
# ## Draws
# `fit.line_effects()` holds joint draws of all lines' genetic values, those never grown included: 1,000 of them by
# default. (`fit.idata` has everything that was sampled, for ArviZ: `InferenceData` or `DataTree`.) In each draw, a
# line's merit is its mean over the environments, and its rank its place among the others.

# %%
effects = fit.line_effects()
print(dict(effects.sizes))


def tabulate(values):
    """Draws of something of each line as a table: a row for each draw, a column for each line."""
    return values.stack(sample=("chain", "draw")).transpose("sample", "line").to_pandas()


merit = tabulate(effects.sel(trait="yield").mean("env"))
rank = merit.rank(axis=1, ascending=False)
by_hand = (rank <= 8).mean()

ranking = fit.ranking("yield", top=8, check="L20")
difference = ranking.set_index("line")["p_top"] - by_hand
print(f"largest difference from fit.ranking: {difference.abs().max():.3f}")
ranking.head(8)

# %% [markdown]
# Two lines of code are the whole of it, and the table has the same probabilities. L14 is among the eight best with near
# certainty. Each of the lines behind it may be first or fifteenth, or worse: their order is a guess, and `p_top` says
# how good a guess. All eight are sibs; that their family is good is known better than which of them is best.
#
# The picture has all ranks of all lines: a row is a line, and how dark it is at a rank how probable that rank is.

# %%
order = ranking["line"].to_list()
places = np.arange(1, len(order) + 1)
shares = np.array([[(rank[line] == place).mean() for place in places] for line in order])

figure, panel = plt.subplots(figsize=(7.5, 6), layout="constrained")
image = panel.imshow(shares, cmap="Blues", vmax=0.2, extent=(0.5, len(order) + 0.5, len(order) + 0.5, 0.5))
panel.plot(truth["yield"].rank(ascending=False)[order], places, "x", color=COLOURS[1], markersize=4, label="true rank")
panel.set(xlabel="rank", ylabel="place by expected value")
panel.legend(frameon=False, loc="lower left")
figure.colorbar(image, label="probability", extend="max", shrink=0.6)
plt.show()

# %% [markdown]
# ## What a list of BLUPs does not say
# **How many of the eight chosen are truly among the eight best?** The sum of their probabilities is what to expect.
#
# **How many lines must be kept, to have the best one among them?** Look up in each draw which line is best, and at
# which place of the list it stands. This is not to be had from ranks of single lines: draws must be joint.

# %%
chosen = order[:8]
print(f"expected among the eight best: {by_hand[chosen].sum():.1f} of 8")
print(f"truly among them:             {(truth['yield'].rank(ascending=False)[chosen] <= 8).sum()} of 8")

best = merit.idxmax(axis=1).map(order.index) + 1
kept = np.array([(best <= place).mean() for place in places])
enough = places[kept >= 0.9][0]

figure, panel = plt.subplots(figsize=(6, 3), layout="constrained")
panel.step(places, kept, where="post", color=COLOURS[0])
panel.axhline(0.9, color="0.6", linestyle=":")
panel.plot(enough, kept[enough - 1], "o", color=COLOURS[1], label=f"{enough} lines: probability {kept[enough - 1]:.2f}")
panel.set(xlabel="lines kept, by expected value", ylabel="the best is among them", ylim=(0, 1.02), xlim=(1, None))
panel.legend(frameon=False, loc="lower right")
plt.show()

# %% [markdown]
# **What will they bring?** Raw means of the eight lines that look best promise too much: they look best partly by luck.
# Posterior means are drawn back by as much as luck is to be expected, and `fit.response` has the interval of the
# promise.

# %%
deviation = plots["yield"] - plots.groupby("env")["yield"].transform("mean")
raw = deviation.groupby(plots["line"]).mean().nlargest(8)
response = fit.response(ranking).set_index("trait").loc["yield"]
true = truth["yield"] - truth["yield"].mean()
print(f"eight highest raw means: promised {raw.mean():+.2f} t/ha, truly {true[raw.index].mean():+.2f}")
print(
    f"eight highest values:    promised {response['mean']:+.2f} ({response['lower']:.2f} to {response['upper']:.2f}), "
    f"truly {true[chosen].mean():+.2f}"
)

# %% [markdown]
# Here the one choice is as good as the other; what differs is the promise.
#
# ## Check varieties
# L20 is the check. `p_above_check` in the table above is the probability to be better; a new variety may have to be
# better by a margin, say 0.2 t/ha. That needs the difference in each draw. The error of a difference does not follow
# from two standard errors: what is not known of relatives is partly the same, and drops out.

# %%
over = merit[chosen].sub(merit["L20"], axis=0)
pd.DataFrame(
    {
        "difference": over.mean(),
        "lower": over.quantile(0.05),
        "upper": over.quantile(0.95),
        "P(better)": (over > 0).mean(),
        "P(better by 0.2)": (over > 0.2).mean(),
        "sd": over.std(),
        "sd if independent": np.sqrt(merit[chosen].var() + merit["L20"].var()),
    }
)

# %% [markdown]
# ## Reliability
# How much is known of a line: 1 less the share of its variance that the data have left. It follows what was recorded.

# %%
recorded = plots.groupby("line").size().reindex(simulation.relationship.lines, fill_value=0).rename("plots")
ranking.set_index("line")["reliability"].groupby(recorded).agg(["size", "mean", "min", "max"])

# %% [markdown]
# Lines without a plot are known through relatives, and how well depends on who these are. A line of which little is
# known and that may be among the best (low `reliability`, `p_top` not small) is where another plot tells most.
#
# ## Several traits
# Genetic correlations come first: what goes together, and how well that is known. (`kind="residual"` has those of the
# errors of plots, which are no use for selection.)

# %%
fit.correlations()

# %% [markdown]
# Yield and protein are opposed; of height the trial hardly tells, as the intervals reach far to both sides of zero.
# Three ways to choose eight lines:
#
# * by yield alone;
# * by an **index**: a tonne is worth 100, a per cent of protein 40, a centimetre less in height 2;
# * by **desired gains**: as much protein as now, height down by 2 cm for each 0.2 t/ha. The weights follow.
#
# Weights apply to genetic values. Classical index weights for phenotypes would shrink them twice.

# %%
ways = {
    "yield": ranking,
    "index": fit.index({"yield": 100, "protein": 40, "height": -2}, top=8),
    "desired gains": fit.index(gains={"yield": 0.2, "protein": 0.0, "height": -2.0}, top=8),
}
print(
    "weights for the desired gains:", {name: round(w, 2) for name, w in ways["desired gains"].attrs["weights"].items()}
)

figure, panels = plt.subplots(1, 3, figsize=(9, 2.4), sharey=True, layout="constrained")
for trait, panel in zip(truth, panels, strict=True):
    for row, table in enumerate(ways.values()):
        gain = fit.response(table).set_index("trait").loc[trait]
        picked = table["line"].head(8)
        panel.plot([gain["lower"], gain["upper"]], [row, row], color=COLOURS[0])
        panel.plot(gain["mean"], row, "o", color=COLOURS[0], label="expected, 90% interval" if row == 0 else None)
        real = truth.loc[picked, trait].mean() - truth[trait].mean()
        panel.plot(real, row, "x", color=COLOURS[1], label="true" if row == 0 else None)
    panel.axvline(0, color="0.7", linewidth=0.8)
    panel.set_title(trait, loc="left")
panels[0].set_yticks(range(len(ways)), ways)
panels[0].set_ylim(len(ways) - 0.5, -0.5)
figure.supxlabel("mean of the eight less that of all lines (t/ha, %, cm)", fontsize=9)
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
plt.show()

# %% [markdown]
# By yield alone, plants get taller and protein falls. The index buys back some of both. Desired gains have the signs
# that were asked for, at a third of the yield; with eight lines the proportions come out roughly. The crosses are the
# truth, which nobody will know; nine in ten should lie on their bars.
#
# Where a line has to be good in each trait, an index is the wrong question. The probability to be among the best fifth
# in yield and in protein at once is counted in the draws, too. The product of the two is too large here: the traits are
# opposed.

# %%
best = {"yield": "high", "protein": "high"}
together = fit.joint_probabilities(list(best), best=best, top=16).set_index("line")["p_top"]
alone = {trait: fit.ranking(trait, best=way, top=16).set_index("line")["p_top"] for trait, way in best.items()}
table = pd.DataFrame(alone).assign(product=lambda each: each.prod(axis=1), joint=together)
table.nlargest(5, "joint")

# %% [markdown]
# ## Environments
# Do lines keep their places? Genetic correlations of environments tell: E4 goes its own way. (In the default model they
# are the same for every trait; `genetic=bmtme.Free()` lets them differ, see [models](models.md).)

# %%
fit.correlation_matrix(over="env", trait="yield").round(2)

# %% [markdown]
# Reaction norms show it line by line.

# %%
fit.plot_reaction_norms("yield", top=3, check="L20")

# %% [markdown]
# `fit.stability` has it in numbers: how much a line varies (`env_sd`), its slope on the means of the environments
# (Finlay and Wilkinson's), and the probability to be above the mean of the trial in *every* environment, which is what
# a cautious breeder wants to know.

# %%
stability = fit.stability("yield")
stability[["line", "value", "env_sd", "slope", "slope_lower", "slope_upper", "p_above_mean"]].head(6)

# %% [markdown]
# Slopes from four environments have wide intervals, and none of these lines is told from 1. A table of point estimates
# would have ranked lines by them all the same. If one environment counts more, say so: `fit.ranking("yield", env={"E3":
# 2, "E1": 1})`.
#
# ## A question of your own
# What a tonne is paid depends on its protein: 200 for each, and 30 more in an environment where the line reaches 12.5%.
# That is no weighted sum, so no index gives it; and it is not enough to put predicted values into the rule, as a line
# at 12.4% has nearly an even chance. In each draw the rule is simply applied:


# %%
def earn(values):
    """Money per hectare, over the environments; values as the lines' in each environment."""
    price = 200 + 30 * (values.sel(trait="protein") >= 12.5)
    return (values.sel(trait="yield") * price).mean("env")


values = effects + fit.idata["posterior"]["beta"]  # xarray finds the draws that belong together
money = earn(values)
draws = tabulate(money)
table = pd.DataFrame(
    {
        "expected": draws.mean(),
        "lower": draws.quantile(0.05),
        "upper": draws.quantile(0.95),
        "P(best 8)": (draws.rank(axis=1, ascending=False) <= 8).mean(),
        "of predicted values": earn(values.mean(("chain", "draw"))).to_pandas(),
    }
)
table.nlargest(6, "expected").round({"expected": 0, "lower": 0, "upper": 0, "of predicted values": 0})

# %% [markdown]
# `of predicted values` jumps where a prediction crosses 12.5%, and puts lines in another order: a nonlinear function of
# means is not the mean of the function.
#
# A quantity of your own has an error of its own from the number of draws; ArviZ tells it of any array with chains and
# draws.

# %%
dataset = money.to_dataset(name="money")
checks = {"R-hat": az.rhat(dataset), "effective draws": az.ess(dataset), "Monte Carlo error": az.mcse(dataset)}
pd.DataFrame({name: check["money"].to_pandas() for name, check in checks.items()}).agg(["min", "max"]).map(
    "{:.4g}".format
)

# %% [markdown]
# ## What these probabilities are worth
# They are those of the model: if lines vary as it says, nine in ten true values lie in 90% intervals, and of lines with
# a probability of 0.3 three in ten are among the best. That was [measured](../validation/results/decisions.md) over
# many simulated trials. In this one:

# %%
truly = truth["yield"].rank(ascending=False)[ranking["line"]].to_numpy()
inside = (truly >= ranking["rank_lower"]) & (truly <= ranking["rank_upper"])
print(f"true ranks within their 90% interval: {inside.mean():.0%} of {len(ranking)} lines")

# %% [markdown]
# No posterior knows of what its model leaves out: a trend in the field, a year unlike these four environments, a
# mistake in the names. Check the [chains](diagnostics.ipynb), the [records that do not
# fit](decisions.md#records-that-do-not-fit), and by [cross-validation](choosing.ipynb) what predictions are worth.
