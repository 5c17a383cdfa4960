"""Parts of the pages on the two real trials."""

from __future__ import annotations

import textwrap

from validation.paper.crossvalidation import CV1, RAW, RESAMPLED, SHORT
from validation.paper.estimates import DRAWS, TUNE
from validation.paper.rawstandard import VARIANCES
from validation.registry import make_table

SOURCE = """\
*The paper* is Montesinos-López et al. (2016), *G3* 6:2725-2744, doi 10.1534/g3.116.032359. Most cells of its Tables 3
to 8 are not known here: what stands below as the paper's is what its text says of them."""
#: What the other models are compared with.
COMPARED = ("unstructured", "standard", RAW)


def reflow(text: str) -> str:
    """Paragraphs and items of Markdown in lines of even length; tables, headings and figures as they are."""
    blocks = []
    for block in filter(None, (block.strip("\n") for block in text.split("\n\n"))):
        if block.startswith(("|", "#", "!")):
            blocks.append(block)
            continue
        items = [" ".join(item.split()) for item in block.split("\n- ")]
        if block.startswith("- "):
            items = [f"- {item.removeprefix('- ')}" for item in items]
        indent = "  " if block.startswith("- ") else ""
        fold = textwrap.TextWrapper(118, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        blocks.append("\n".join(fold.fill(item) for item in items))
    return "\n\n".join(blocks)


def describe_models() -> str:
    """The models and how they were run."""
    return f"""\
Models: `unstructured`, `diagonal` and `standard` (the paper's un, bd, st) with the default priors of this package, as
the values that the paper chose for its own are not known here. `standard` comes twice: with variances in units of each
trait's own (the default), and in raw units (`{RAW}`), one variance for all traits whatever their units, as the paper
writes it. In CV2 every model has two priors of the environment means, exchangeable (the default) and the paper's,
`{RAW}` only the latter. The paper's statements are compared with what the paper has: `{RAW}` in CV1 and CV2, in CV2 all
models under its prior of the means. Each fit: {SHORT["chains"]} chains of {SHORT["draws"]:,} draws after
{SHORT["tune"]} of warm-up, sampler `collapsed`; for the estimates 4 chains of {DRAWS:,} after {TUNE:,}. In raw units
the draws of a trait with small figures are as wide as those of the one with the largest, and their mean would be mostly
noise: there the conditional expectations, computed exactly, are averaged over {VARIANCES} draws of the variances."""


def tell_means(cv: CV1) -> str:
    """Correlation of every model, mean of the cells."""
    means = dict(zip(cv.models, cv.cell_means("pearson").mean(axis=(1, 2)), strict=True))
    return (
        f"unstructured {means['unstructured']:.3f}, diagonal {means['diagonal']:.3f}, standard {means[RAW]:.3f} (in "
        f"raw units, as the paper's; {means['standard']:.3f} in scaled units)"
    )


def describe_errors(cv: CV1) -> str:
    """What the standard errors mean."""
    return f"""\
{cv.partitions} random partitions: in each environment 20% of the lines lose all traits (and are seen in another one).
Differences between models are paired over partitions and have two standard errors:

- *over partitions*, SD / sqrt(partitions): how far the mean may be from that over all possible partitions of this very
  trial. Partitions of one trial are no independent data sets, and this error says nothing of other lines.
- *over lines* (lines drawn again {RESAMPLED} times with replacement, their predictions scored again): what another
  sample of as many lines would change, with the training left as it is. It takes lines for independent; other seasons
  would change more.

Of many differences, one in twenty exceeds two standard errors by chance."""


def count_decided(cv: CV1) -> str:
    """In how many cells each model differs from the diagonal one."""
    lines = []
    for name in COMPARED:
        told = []
        for score, sign in (("pearson", 1), ("relative", -1)):
            step, _, error = (part[:-1] for part in cv.compare(name, "diagonal", score))
            told += [str(int((sign * step > 2 * error).sum())), str(int((-sign * step > 2 * error).sum()))]
        lines.append((name, *told))
    head = ("beyond two errors over lines", "Pearson: better", "Pearson: worse", "MSEP: better", "MSEP: worse")
    return make_table(head, lines)


def tabulate_cells(cv: CV1, score: str) -> str:
    """Means of each model in every environment x trait, and differences to the diagonal model."""
    means = cv.cell_means(score)
    steps = [cv.compare(name, "diagonal", "pearson" if score == "pearson" else "relative") for name in COMPARED]
    digits = ".3f" if score == "pearson" else ".4g"
    sign = 1 if score == "pearson" else -1

    def write(trait: str, env: str, values: list[float], place: int) -> tuple[str, ...]:
        best = max(range(len(values)), key=lambda m: sign * values[m])
        told = [f"{d[place]:+.3f} ({p[place]:.3f}; {s[place]:.3f})" for d, p, s in steps]
        return (trait, env, *[f"{value:{digits}}" for value in values], cv.models[best], *told)

    lines = [
        write(trait, env, list(means[:, i, l]), i * len(cv.traits) + l)
        for l, trait in enumerate(cv.traits)
        for i, env in enumerate(cv.envs)
    ]
    if score == "pearson":
        lines.append(write("mean", "all", list(means.mean(axis=(1, 2))), -1))
    else:
        lines.append((*write("mean", "all", list(means.mean(axis=(1, 2))), -1)[: -len(steps)], *[""] * len(steps)))
        relative = list(cv.cell_means("relative").mean(axis=(1, 2)))
        lines.append(write("mean of MSEP / variance", "all", relative, -1))
    return make_table(("trait", "environment", *cv.models, "best", *[f"{n} - diagonal" for n in COMPARED]), lines)


def describe_cv1(cv: CV1, figure: str) -> str:
    """The section on CV1, after its verdicts."""
    return f"""\
{describe_errors(cv)}

![Differences between models in CV1]({figure})

Cells (of {len(cv.envs) * len(cv.traits)}) in which a model differs from the diagonal one by more than two standard
errors:

{count_decided(cv)}

Pearson's correlation of predicted and hidden values; in brackets the standard errors of the differences, over
partitions and over lines.

{tabulate_cells(cv, "pearson")}

MSEP in the units of each trait, squared; differences as MSEP / variance of the observed values of the cell, because a
mean over traits in their own units is a statement on the trait with the largest figures.

{tabulate_cells(cv, "msep")}"""
