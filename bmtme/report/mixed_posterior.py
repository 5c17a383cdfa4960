"""A mixed model's posterior as a breeder reads it: what was drawn, whether to trust it, the variances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmtme.columns import label_facts
from bmtme.report.mixed import list_facts
from bmtme.report.summaries import describe_summary
from bmtme.results.frames import ComponentTable
from bmtme.sufficiency import describe_draws
from bmtme.words import count_noun

if TYPE_CHECKING:
    from bmtme.results.mixed.posterior import MixedPosterior

__all__ = ["describe_posterior"]


def describe_posterior(posterior: MixedPosterior, width: int = 80, folder: str | None = None) -> str:
    """The posterior as text.

    folder : of a run that can be gone on with
    """
    run = posterior.run
    model, settings = run["model"], run["settings"]
    facts = [(name, model[name] or "none") for name in ("fixed", "random", "residual")]
    if posterior.fit is not None:
        facts += [fact for fact in list_facts(posterior.fit) if fact[0] == "data"]
    drawn = f"{count_noun(settings['chains'], 'chain')} of {count_noun(settings['draws'], 'draw')}"
    facts.append(("draws", f"{drawn}, {run['sampling']['evaluations']:,} evaluations of the likelihood"))
    if enough := describe_draws(run, folder):
        facts.append(("", enough))
    table = describe_summary(ComponentTable(posterior.summary()).join_names(), width)
    return "\n\n".join([label_facts(facts, width), posterior.diagnose(), table])
