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
# # Which model shall I use?
#
# Cross-validation hides records that you have, lets a model predict them from the rest, and holds the predictions
# against what was hidden. It answers a question of the kind "had I not grown these, how well would I have known them?"
# It goes wrong in four ways: the question is not yours, nothing stands beside the answer, the answer leaks into the
# training data, or a difference that is noise is taken for one between models. This page goes through all four, and
# ends with what such a comparison cannot tell you.
#
# It is a notebook, `choosing.ipynb`, and a plain script, `choosing.py`, which prints the tables and writes the figures
# to a folder. The same comparisons from the shell: `bmtme cv --help`.

# %%
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import bmtme

# %% tags=["parameters"]
LINES, DRAWS, TUNE = 100, 500, 300
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


# A thousand draws do for the means that are scored here; for intervals that you will publish, take more.
warnings.filterwarnings("ignore", "a short run")
length = {"draws": DRAWS, "tune": TUNE, "chains": 2, "seed": 1}

# %% [markdown]
# ## The data
# Simulated, so that the truth is known: 100 lines in ten families with markers, three environments, two plots of each
# line in each, and three traits whose plots have heritabilities of 0.2, 0.5 and 0.8. The traits are correlated
# genetically (0.85) more than on the plot (0.3), so that a model of several traits has something to gain.

# %%
simulation = bmtme.simulate(
    lines=LINES,
    reps=2,
    relationship="markers",
    genetic_correlation=0.85,
    residual_correlation=0.3,
    seed=1,
)
traits = ["T1", "T2", "T3"]
trial = bmtme.Trial.from_frame(simulation.frame, line="line", env="env", rep="rep", traits=traits)
relationship = simulation.relationship
families = {line: f"family {number // 10 + 1}" for number, line in enumerate(relationship.lines)}
print(trial)

# %% [markdown]
# ## First: which question?
# What will you not have when you use the predictions? A scheme hides just that.
#
# | | known environment | environment never seen |
# |---|---|---|
# | **line seen elsewhere** | `CV1`: trials planted thinly (CV2) | `NewEnvironments`: a new place or year (CV0) |
# | **line never seen** | `NewLines`: new crosses, genotyped only (CV1) | `NewLinesNewEnvironments` (CV00) |
#
# In brackets is what others call it: `CV1` and `CV2` are the names of Montesinos-López et al. (2016), and most of the
# literature has them the other way round. So say what was hidden, and not only the name.
#
# `CV2` asks one thing more: a trait that was not measured in an environment where the others were.
#
# Of new lines there is one thing more to say: do they have sibs in the training data? Folds of lines leave sibs there,
# folds of whole families (`groups=`) do not.
#
# A scheme is a value that makes partitions, and these can be looked at before anything is fitted:

# %%
schemes = {
    "CV1": bmtme.CV1(partitions=5, test_fraction=0.2),
    "NewLines": bmtme.NewLines(folds=5),
    "NewLines, families": bmtme.NewLines(folds=5, groups=families),
    "CV2": bmtme.CV2(),
}
for name, scheme in schemes.items():
    table = scheme.table(trial, seed=1)
    hidden = table.groupby("partition").agg(lines=("line", "nunique"), envs=("env", "nunique"), cells=("line", "size"))
    print(f"{name}: {len(hidden)} partitions, the first hides {hidden.iloc[0].to_dict()}")

# %% [markdown]
# ## Second: two baselines
# A correlation of 0.5 says little by itself. Beside the model stand
#
# * `SingleTrait`: the same model, one trait at a time. If it does as well, the other traits did not help.
# * `EnvironmentMeans`: every line gets the mean of its environment. It has no correlation, as all lines are alike to
#   it, but it has an error; a model whose error is not smaller predicts nothing that the mean does not.

# %%
models = {
    "several": bmtme.BMTME("unstructured"),
    "single": bmtme.SingleTrait(bmtme.BMTME("unstructured")),
    "mean": bmtme.EnvironmentMeans(),
}
runs = {
    name: bmtme.cross_validate(trial, relationship, models=models, scheme=scheme, progress=False, **length)
    for name, scheme in schemes.items()
}
correlations = pd.concat({name: cv.summary() for name, cv in runs.items()}, names=["scheme", None])
correlations = correlations[correlations["model"] != "mean"].groupby(["scheme", "model", "trait"], sort=False)
tabulate(correlations["pearson_mean"].mean().unstack().round(2))

# %% [markdown]
# One model, one data set, and answers that lie far apart: each is right for its own question. Lines of a family that
# was never seen are hardly predicted at all; a line with sibs in the training data is, and one that was seen in other
# environments still better. **Never put the figure of one scheme beside that of another**, be it from another paper.
#
# Look at the columns, too. Where a line loses all its traits together, several traits are little better than one. Where
# the other traits of the line were measured (`CV2`), they tell much of the one that was not: that is what a model of
# several traits is for.
#
# The picture shows the correlations beside what could be reached. What is observed is itself a mean of two plots: no
# prediction can correlate with it better, on average, than the root of its heritability (dashes). That T1 looks worse
# is mostly the fault of its plots. `accuracy` in the tables is the correlation divided by that root.

# %%
show(runs["CV1"].plot_accuracy(), "accuracy")

# %% [markdown]
# ## Third: no leaks
# A fold must hide a line *whole*: all its plots, and every line that has the same genotype. Here is what happens
# otherwise. Each plot gets a name of its own, as in a table where entries were numbered, and folds are dealt over these
# names. The second plot of a hidden line then stands in the training data, under another name.

# %%
plots = simulation.frame.copy()
plots["line"] = plots["line"] + "/" + plots["rep"].astype(str)
by_plot = bmtme.Trial.from_frame(plots, line="line", env="env", traits=traits)
names = [line.rsplit("/", 1)[0] for line in by_plot.lines]
place = [relationship.lines.index(name) for name in names]
clones = bmtme.Relationship(relationship.matrix[np.ix_(place, place)], lines=by_plot.lines)

rng = np.random.default_rng(1)
folds = pd.DataFrame({"line": by_plot.lines, "partition": rng.permutation(len(by_plot.lines)) % 5 + 1})
model = {"several": bmtme.BMTME("unstructured")}
leaky = bmtme.cross_validate(
    by_plot, clones, models=model, scheme=bmtme.Partitions.from_frame(folds), progress=False, **length
)
fair = bmtme.cross_validate(by_plot, clones, models=model, scheme=bmtme.NewLines(folds=5), progress=False, **length)
both = {name: cv.scores.groupby("trait")["pearson"].mean() for name, cv in (("leaky", leaky), ("fair", fair))}
tabulate(pd.DataFrame(both).T.round(2))

# %% [markdown]
# The leaky figures look better and are worth nothing: nobody will have a plot of the line that is to be predicted.
# `bmtme` warns of it, as above. `NewLines` needs no telling: clones are found in the relationship and hidden together,
# and so are the plots of a line. Sibs are no clones: whether they may stand in the training data is a matter of your
# question, and `groups=` says so, with a column of families or with `bmtme.find_families` of a pedigree.
#
# ## Fourth: difference or noise?
# The partitions of a cross-validation share most of their lines, and all of them come from the same 100. So standard
# errors over partitions are too small, and the model with the highest mean is not for that the better one. `compare`
# pairs the models partition by partition and minds what these share (Nadeau & Bengio 2003).

# %%
cv = runs["CV1"]
columns = ["model", "against", "trait", "difference", "lower", "upper", "p", "p_adjusted", "boot_lower", "boot_upper"]
tabulate(cv.compare(against="single", by="trait").dropna(subset="difference")[columns].round(3))

# %%
show(cv.plot_differences(), "differences")

# %% [markdown]
# Filled points would be told from noise: environment by environment, none is, though `several` is ahead in most. With
# 20 hidden lines in an environment, a correlation has a standard error of up to 0.2; it takes all of them together, and
# often more partitions than these, to tell anything. `advice` puts it into words, here for each scheme:

# %%
for name, cv in runs.items():
    print(f"{name}\n{cv.advice()}\n")

# %% [markdown]
# ## Are the numbers right, too?
# A correlation only asks for the order of the lines. If you select across trials, or weigh gain against cost, the size
# of the predictions and their intervals count. Below, the points should lie around the dashed line with a slope of 1
# (below 1: predictions spread too much), and nine in ten observed values inside their 90% intervals.

# %%
show(runs["CV1"].plot_calibration("several"), "calibration")

# %%
scores = runs["CV1"].scores
scores = scores[scores["model"] != "mean"].groupby(["model", "trait"], sort=False)
tabulate(scores[["slope", "bias", "crps", "coverage_50", "coverage_90", "top_share"]].mean().round(2))

# %% [markdown]
# ## What not to conclude
# * **Not that a model is best because its mean is highest.** If `compare` cannot tell it, take the simpler model, or
#   the one that you would have taken anyway.
# * **Not that two models are the same because no difference was told.** Look at the interval: it says how large a
#   difference may hide. More lines make it narrower; more partitions of the same lines soon do no more.
# * **Not from one trial to all.** These lines, these years. Another set of lines moves every figure by more than the
#   bars show, which are about this set.
# * **Not from one scheme to another question**, as seen above. Of new environments in particular, a trial in three
#   environments has three replicates, and hardly anything can be told (`NewEnvironments` says so).
# * **Not by trying models until one wins.** The more you compare, the better the luckiest looks. Decide beforehand
#   which comparison counts, and let the others be ideas for the next trial.
# * **Not that a low correlation means a bad model.** Hold it against the ceiling first.
