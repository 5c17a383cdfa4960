"""What a fit or a cross-validation takes, before it is begun: memory at the peak, and seconds.

Constants are those of measurements (`validation/estimates.py`), with a relationship that is read from a text file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bmtme.arguments import check_memory
from bmtme.mapped import SLAB
from bmtme.memory import measure_memory, measure_own_memory, show_bytes
from bmtme.model.baselines import SingleTrait
from bmtme.model.structure import BMTME
from bmtme.preparation import KEPT_SHARE, Prepared, choose_inner
from bmtme.progress import Progress, write_duration
from bmtme.results.checkpoint import DISC
from bmtme.results.posterior import THINNED
from bmtme.results.predictions import KEPT
from bmtme.results.unrecorded import MOST_RELATED
from bmtme.sampling import Sampling, choose_keep, count_draw_bytes, count_effect_bytes, count_kept
from bmtme.structures.proportional import Proportional, is_paper_pair

__all__ = ["Estimate", "Part", "check_estimate", "estimate_cv", "estimate_fit", "list_parts", "measure_sweep"]

#: Milliseconds of a sweep: once; for each line x column^2; for each imputed share x line^2 x column. By the study
#: `speed` (validation/results/tables/speed.md), whose sweeps of 80 to 5,000 lines, 2 to 20 environments and 1 to 8
#: traits it meets within a third.
ONCE, COLUMNS, IMPUTED = 0.06, 3.3e-6, 2.9e-7
#: Structures but the paper's take so many times as long (seen: 3 to 6).
OTHER = 5.0
#: Seconds of a decomposition, for each line^3; of a prediction, for each draw behind it; of a draw of an effect that is
#: rotated back, for each line^2; of a byte that is kept, looked at and written; of each part; and of loading what is
#: compiled.
DECOMPOSITION, PREDICTION, ROTATION, BYTE, EACH, REST = 1.8e-10, 2.3e-7, 1e-10, 4e-9, 0.4, 1.1
#: Bytes of Python and its libraries when a relationship is decomposed, and at the end.
STARTED, PROGRAM = 290 * 2**20, 430 * 2**20
#: Matrices of line x line beside the relationship: at the peak of its decomposition, and of the predictions.
DECOMPOSING, PREDICTING = 4.5, 3.0
#: Bytes of a draw that stay in memory where draws are on the disc, and of the slabs of these that are looked at.
STATS, SLABS = 300.0, 6 * SLAB
#: Bytes of a row of a table of predictions.
ROW = 300
#: From so many bytes beyond the program itself, or seconds, on, a log is told too.
LARGE, LONG = 2**29, 60.0


@dataclass(frozen=True)
class Part:
    """What has chains of its own, all traits or one of them, by its sizes.

    Attributes
    ----------
    lines, predicted : with records, and of the relationship
    levels : of factors of the records
    columns : environment x trait, with a record
    share : of the plots, that is imputed
    values : recorded
    related : whether the relationship is a matrix, and no identity
    """

    model: BMTME
    lines: int
    predicted: int
    envs: int
    traits: int
    levels: int
    columns: int
    share: float
    values: int
    related: bool

    @classmethod
    def of(cls, prepared: Prepared, model: BMTME, trait: int | None = None) -> Part:
        """Of what is laid out, perhaps with a `stand_in`; or of one of its traits, by its place."""
        recorded, observed = prepared.layout.recorded, prepared.observed
        if trait is not None:
            recorded, observed = recorded[:, [trait]], observed[:, [trait]]
        return cls(
            model,
            lines=len(prepared.lines),
            predicted=len(prepared.relationship.lines),
            envs=len(recorded),
            traits=recorded.shape[1],
            levels=sum(len(factor.env) for factor in prepared.factors),
            columns=int(recorded.sum()),
            share=prepared.layout.imputed_share,
            values=int(observed.sum()),
            related=not prepared.relationship.is_identity,
        )

    def count_chains(self, draws: int, kept: int) -> float:
        """Bytes of what chains hold: all draws of small things, the kept ones of the effects."""
        I, L, J = self.envs, self.traits, self.lines
        genetic, residual = self.model.structures
        own = L * L + I if type(genetic) is Proportional else (I * L) ** 2 / 2
        size = own + (I if residual.by_env else 1) * L * L + L * L + (3 * I + 2 + self.levels) * L + 5
        return 8.0 * draws * size + count_effect_bytes(J, I, L, kept, self.model.line_effect)

    def count_draws(self, draws: int) -> float:
        """Bytes of the posterior without effects."""
        return count_draw_bytes(self.envs, self.traits, draws, self.model, self.levels)

    def count_effects(self, draws: int) -> float:
        """Bytes of effects."""
        return count_effect_bytes(self.lines, self.envs, self.traits, draws, self.model.line_effect)


@dataclass(frozen=True)
class Estimate:
    """What is taken.

    Attributes
    ----------
    memory : bytes at the peak of the process
    seconds : of the clock on a machine with nothing else to do, without compilation
    shares : bytes by what they are of, in words, with what would make them fewer
    disc : bytes there at the most, of a fit whose draws are there alone; else zero
    """

    memory: float
    seconds: float
    shares: dict[str, float]
    disc: float = 0.0

    def describe(self) -> dict[str, float]:
        """For the record of a run."""
        told = {"memory_bytes": int(self.memory), "seconds": round(self.seconds, 1)}
        return told | ({DISC: int(self.disc)} if self.disc else {})


#: What takes memory, and what makes it less.
MATRICES = "leave lines out of the relationship that have no records and are not to be predicted"
DRAWS = "ask for fewer draws or chains, or a model with fewer covariances"
EFFECTS = "keep the effects of fewer draws (keep_effects='thin' or 'none'; in the shell --keep-effects)"
WORKERS = "ask for fewer workers"
#: What makes that of draws and effects nearly nothing; where the run has no folder, and where it has.
STREAM = "have draws on the disc (checkpoint=FOLDER, stream=True)"
STREAM_ON = "have draws on the disc (stream=True; in the shell --stream)"


def list_parts(prepared: Prepared, model: BMTME | SingleTrait) -> list[Part]:
    """What has chains of its own in a model of what is laid out."""
    if isinstance(model, SingleTrait):
        traits = prepared.trial.traits
        return [Part.of(prepared, model.take_trait(trait), l) for l, trait in enumerate(traits)]
    return [Part.of(prepared, model)]


def estimate_fit(
    parts: Sequence[Part], sampling: Sampling, keep_effects: str, cores: int, stream: bool = False
) -> Estimate:
    """What a fit takes, with its files.

    stream : whether draws are on the disc alone
    """
    n, first = sampling.kept, parts[0]
    keep = choose_keep(keep_effects, int(sum(part.count_effects(n) for part in parts)))
    kept = count_kept(sampling.draws, sampling.chains, keep)
    stored = min(kept, THINNED) if keep == "thin" else kept
    square = [8.0 * part.lines**2 if part.related else 0.0 for part in parts]
    given = 8.0 * first.predicted**2 if first.related else 0.0
    draws = sum(part.count_chains(n, 0) + part.count_draws(n) for part in parts)
    effects = sum(part.count_effects(kept) + part.count_effects(stored) for part in parts)
    # One of these at a time: effects rotated back, draws looked at, predictions.
    rotated = sum(part.count_effects(stored) for part in parts) * (0.8 if keep == "thin" else 2.0 / sampling.chains)
    looked_at = 3.0 * sum(part.count_draws(n) for part in parts)
    disc = 0.0
    if stream:
        stored_bytes = sum(part.count_draws(n) + part.count_effects(stored) for part in parts)
        # In files of their own, and in the checkpoint or in those of the results.
        disc = 2.0 * (sum(part.count_chains(n, kept) for part in parts) + stored_bytes) + given
        sums = sum(part.count_effects(sampling.chains) for part in parts)
        draws, effects, rotated, looked_at = STATS * n * len(parts) + sums, 0.0, 0.0, float(SLABS)
    tables = float(ROW) * first.predicted * sum(part.envs * part.traits for part in parts)
    if first.related and max(part.values for part in parts) <= MOST_RELATED:
        tables += square[0]
    matrices = given + sum(square) + tables
    extra = max(rotated, looked_at, PREDICTING * max(square))
    decomposing = STARTED + given + DECOMPOSING * max(square)
    memory = max(decomposing, PROGRAM + matrices + draws + effects + extra)
    shares = {MATRICES: matrices + PREDICTING * max(square), DRAWS: draws, EFFECTS: effects + rotated}
    shares[DRAWS] += 0.0 if stream else looked_at
    bases = [part.lines for part in parts if part.related]
    cells = first.predicted * sum(part.envs * part.traits for part in parts) if kept else 0
    after = PREDICTION * cells * min(n, KEPT)
    after += BYTE * sum(part.count_draws(n) + part.count_effects(kept) for part in parts)
    after += ROTATION * sum(part.count_effects(kept) / 8.0 * part.lines for part in parts if part.related)
    return Estimate(memory, measure_time(parts, bases, sampling, cores) + after, shares, disc)


def estimate_cv(
    parts: Sequence[Part], bases: Sequence[int], hidden: int, sampling: Sampling, workers: int, here: bool
) -> Estimate:
    """What a cross-validation takes.

    Parameters
    ----------
    parts : one for each job
    bases : lines of each decomposition that differs from the others
    hidden : rows of all tables of predictions
    workers : chains run at a time
    here : whether they are run in this process
    """
    kept = count_kept(sampling.draws, sampling.chains, "thin")
    at_work = min(len(parts), -(-workers // sampling.chains) + 1)
    largest = sorted((part.count_chains(sampling.kept, kept) for part in parts), reverse=True)
    squares = sorted((8.0 * lines**2 for lines in bases), reverse=True)
    given = max((8.0 * part.predicted**2 for part in parts if part.related), default=0.0)
    top = squares[0] if squares else 0.0
    matrices = given + min(sum(squares), max(int(KEPT_SHARE * measure_memory()), at_work * top))
    # Of several at a time, some decompose while others predict.
    extra = min(at_work, max(1, len(squares))) * DECOMPOSING * top
    draws = sum(largest[:at_work])
    if not here:
        matrices, extra, draws = given, 0.0, 0.0
    memory = PROGRAM + matrices + extra + draws + ROW * hidden
    return Estimate(
        memory,
        measure_time(parts, bases, sampling, workers) + PREDICTION * hidden * min(sampling.kept, KEPT),
        {MATRICES: matrices, DRAWS: draws, WORKERS: extra + draws},
    )


def measure_time(parts: Sequence[Part], bases: Sequence[int], sampling: Sampling, cores: int) -> float:
    """Seconds of chains, so many at a time, of decompositions of so many lines, and of what each run takes."""
    work = sum(sampling.chains * sampling.sweeps * measure_sweep(part) / 1e3 for part in parts)
    together = max(1, min(cores, sampling.chains * len(parts)))
    return work / together + sum(DECOMPOSITION * lines**3 for lines in bases) + EACH * len(parts) + REST


def measure_sweep(part: Part) -> float:
    """Milliseconds of a sweep, roughly."""
    J, M, share = part.lines, part.columns, part.share
    time = ONCE + COLUMNS * J * M**2 + IMPUTED * share * J**2 * M * choose_inner(share)
    return time if is_paper_pair(*part.model.structures) and not part.model.line_effect else OTHER * time


def check_estimate(estimate: Estimate, what: str, progress: bool | None, name: str, stream: str = "") -> None:
    """Refuse what the memory at hand could not hold, and say what is taken: in a log, too, where it is much.

    Parameters
    ----------
    what : that was asked for, with the names of the arguments
    name : of the work
    stream : how draws would be on the disc, in words

    Raises
    ------
    UsageError
    """
    advice = max(estimate.shares, key=lambda share: estimate.shares[share])
    advice += f", or {stream}" if stream and advice in (DRAWS, EFFECTS) else ""
    own = measure_own_memory()
    check_memory(estimate.memory - own, f"{what}, with {show_bytes(own)} in use already,", advice)
    bar = Progress(1, name, progress)
    much = estimate.memory > PROGRAM + LARGE or estimate.seconds > LONG
    disc = f", {show_bytes(estimate.disc)} on the disc" if estimate.disc else ""
    text = f"{name}: about {show_bytes(estimate.memory)} of memory{disc}, roughly {write_duration(estimate.seconds)}"
    (bar.announce if much else bar.write)(text)
    bar.close()
