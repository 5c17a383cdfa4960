"""A fit as ArviZ wants it: variables that all vary, one flat dimension of observations; see `Fit.to_arviz`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bmtme.arguments import check_memory, show
from bmtme.errors import DataError, UsageError
from bmtme.results.entries import Quantity
from bmtme.results.levels import RecordEffects
from bmtme.results.line_effects import leave_lines, relate_columns, relate_lines, take_kept
from bmtme.results.pointwise import RECORD, UNITS, VALUE, Covariances, Plan, list_flat_orphans, measure
from bmtme.results.predictions import spread_evenly
from bmtme.results.quantities import BLOCK_EFFECTS
from bmtme.results.residuals import list_residuals, refuse_correlated, take_errors, take_numbers
from bmtme.results.rows import untwin
from bmtme.results.traits import BY_TRAIT, list_entries
from bmtme.results.unrecorded import COLUMNS, take_relationship
from bmtme.words import list_names

#: First words of the spawn keys of new values; see `bmtme.results.line_effects.STREAM`.
STREAM, LEFT_OUT_STREAM = 4, 5
#: Of new values that have not seen the value that they go with.
LEFT_OUT = "left_out"
#: Copies of the draws that are made: variances, correlations, a look at which vary.
COPIES = 3
#: What a matrix that is zero off its diagonal becomes.
VARIANCES = {
    "Sigma_E": "sigma2_E", "Sigma_t": "sigma2_t", "Sigma_gt": "sigma2_gt", "R_e": "sigma2_e", "Sigma_r": "sigma2_r",
}  # fmt: skip
#: The variable of the observations.
Y = "y"
#: What a log likelihood asks.
ASKED = {
    RECORD: "log density of a record, joint over its traits, given all other records: one more record of a line that "
    "is mostly seen elsewhere; it does not replace a cross-validation",
    VALUE: "log density of a value given all others, those of its own record among them; it does not replace a "
    "cross-validation",
}
#: What new values are.
DRAWN = {
    True: "new value of the same plot, given the effects of lines, which have seen the value: for plot_ppc",
    LEFT_OUT: "value drawn given all others, those of its own record among them: for loo_pit and plot_loo_pit",
}


def make_arviz_groups(
    groups: Mapping[str, Any], run: Mapping[str, Any], unit: bool | str, predictive: bool | str, draws: int
) -> dict[str, Any]:
    """Datasets by group; parameters as of `Fit.to_arviz`, draws of all chains at most where data are asked for."""
    unit = check_unit(unit, predictive)
    records = Records(groups)
    left_out, given = predictive == LEFT_OUT, predictive is True
    u, r, posterior = take_draws(groups, draws, given, bool(unit) or left_out)
    made = {"posterior": vary(posterior, run["facts"])}
    stats = groups["sample_stats"].sel(draw=posterior["draw"])
    energy = -stats["completed_log_density"]
    energy = energy.sum("trait") if "trait" in energy.dims else energy
    made["sample_stats"] = stats.assign(energy=energy.assign_attrs(meaning="minus completed_log_density"))
    with threadpool_limits(1):  # the same bits whatever the number of cores
        logs, values = leave_each_out(groups, run, posterior, records, unit, left_out)
        if unit:
            made["log_likelihood"] = records.flatten(logs, unit)
            made["log_likelihood"][Y].attrs |= {"meaning": ASKED[unit]}
        if predictive:
            values = replicate(posterior, u, r, records, run) if given else values
            made["posterior_predictive"] = records.flatten(values)
            made["posterior_predictive"][Y].attrs |= {"meaning": DRAWN[predictive]}
    made["observed_data"] = records.flatten(records.Y[records.observed])
    made["constant_data"] = groups["constant_data"]
    return {name: dataset.assign_attrs(groups["posterior"].attrs) for name, dataset in made.items()}


def check_predictive(predictive: Any) -> bool | str:
    """Which new values a user asked for.

    Raises
    ------
    UsageError
    """
    if isinstance(predictive, bool) or (isinstance(predictive, str) and predictive == LEFT_OUT):
        return predictive
    raise UsageError(f"posterior_predictive must be False, True or {LEFT_OUT!r}, got {show(predictive)}.")


def check_unit(unit: Any, predictive: bool | str) -> str:
    """Unit of the log likelihood by what a user gave, empty for none.

    predictive : whether new values are asked for, beside which functions of ArviZ want the log likelihood of values

    Raises
    ------
    UsageError
    """
    if isinstance(unit, bool):
        return "" if not unit else VALUE if predictive else RECORD
    if not isinstance(unit, str) or unit not in UNITS:
        raise UsageError(f"log_likelihood must be False, True or one of {list_names(UNITS)}, got {show(unit)}.")
    return unit


def take_draws(groups: Mapping[str, Any], draws: int, effects: bool, fewer: bool) -> tuple[Any, Any, Any]:
    """Effects if they are wanted, and what else the posterior has, in all draws or in those that are kept of them."""
    if effects:
        return take_kept(groups, draws)
    posterior = leave_lines(groups["posterior"])
    if not fewer:
        needed = COPIES * sum(array.nbytes for array in posterior.data_vars.values())
        check_memory(needed, f"to_arviz() of {posterior.sizes['draw']:,} draws of each chain", "look at fit.idata")
    if fewer:
        each = max(1, draws // posterior.sizes["chain"])
        posterior = posterior.isel(draw=spread_evenly(posterior.sizes["draw"], each))
    return None, None, posterior


# --- variables ------------------------------------------------------------------------------------------------------


def vary(posterior: Any, facts: Mapping[str, Any]) -> Any:
    """Variables of which every entry varies, stored and derived ones; effects of lines left out."""
    import xarray

    made: dict[str, Any] = {}
    for name, array in posterior.data_vars.items():
        new, array = take_variances(str(name), array)
        made[new] = drop_zeros(array) if new == BLOCK_EFFECTS.name else array
    derived: dict[tuple[str, tuple[str, ...]], list[Any]] = {}
    for entry in list_entries(posterior, facts):
        quantity = entry.row.quantity
        if quantity.derive is not None or quantity.sparse or not quantity.diagonal:
            derived.setdefault((quantity.name, quantity.dims), []).append(entry)
    for entries in derived.values():
        quantity = entries[0].row.quantity
        made[quantity.name] = arrange(quantity, entries, posterior)
    empty = [
        name for name, array in made.items() if (array.max(("chain", "draw")) == array.min(("chain", "draw"))).all()
    ]
    return xarray.Dataset({name: array for name, array in made.items() if name not in empty})


def drop_zeros(array: Any) -> Any:
    """Effects of blocks as they are where all vary, else those that do along one dimension of labels."""
    import xarray

    there = (array != 0).any(("chain", "draw")).values
    if there.all():
        return array
    a, b = np.nonzero(there)
    flat = "_".join([*map(str, array.dims[2:]), "row"])
    names = [array[dim].values.astype(str)[k] for dim, k in zip(array.dims[2:], (a, b), strict=True)]
    labels = [", ".join(pair) for pair in zip(*names, strict=True)]
    at = {dim: xarray.DataArray(k, dims=flat) for dim, k in zip(array.dims[2:], (a, b), strict=True)}
    return array.drop_vars(list(array.dims[2:])).isel(at).assign_coords({flat: labels})


def take_variances(name: str, array: Any) -> tuple[str, Any]:
    """What varies of a matrix that is zero in places, and its name; anything else as it is.

    That is its diagonal where it is zero elsewhere, or the pairs that vary, along one dimension of labels.
    """
    import xarray

    twin = next((str(dim) for dim in array.dims if str(dim).endswith("_bis")), "")
    if not twin or array.sizes[twin] < 2:
        return name, array
    dim, count = untwin(twin), array.sizes[twin]
    values = array.transpose(..., dim, twin).values
    zero = (values == 0).reshape(-1, count, count).all(axis=0)
    if not zero.any():
        return name, array
    a, b = np.nonzero(np.triu(~zero))
    if (a == b).all() and name in VARIANCES:
        name, flat, labels = VARIANCES[name], dim, array[dim].values
    else:
        names, flat = array[dim].values.tolist(), f"{name}_pair"
        labels = np.array([f"{names[i]}, {names[j]}" for i, j in zip(a.tolist(), b.tolist(), strict=True)])
    left = array.drop_vars((dim, twin)).isel(
        {dim: xarray.DataArray(a, dims=flat), twin: xarray.DataArray(b, dims=flat)}
    )
    dims = dict.fromkeys(flat if d in (dim, twin) else d for d in array.dims)
    return name, left.assign_coords({flat: labels}).transpose(*dims)


def arrange(quantity: Quantity, entries: list[Any], posterior: Any) -> Any:
    """Rows of the summary as one variable: in a grid where every place has one, else along one dimension of labels."""
    import xarray

    draws = np.stack([entry.row.draws for entry in entries], axis=-1)
    lead = {name: posterior[name].values for name in ("chain", "draw")}
    about = {"meaning": quantity.meaning, "unit": quantity.unit.words}
    dims = quantity.dims
    if not any(dim.endswith("_bis") for dim in dims):
        shape = [posterior.sizes[dim] for dim in dims]
        if np.prod(shape) == len(entries):
            coords = lead | {dim: posterior[dim].values for dim in dims}
            return xarray.DataArray(
                draws.reshape(*draws.shape[:2], *shape), coords, ("chain", "draw", *dims), attrs=about
            )
    labels = [entry.name.removeprefix(f"{quantity.name}[").removesuffix("]") for entry in entries]
    flat = "_".join(
        [*dict.fromkeys(untwin(dim) for dim in dims), "pair" if len(set(map(untwin, dims))) < len(dims) else "row"]
    )
    return xarray.DataArray(draws, lead | {flat: labels}, ("chain", "draw", flat), attrs=about)


# --- observations ---------------------------------------------------------------------------------------------------


class Records:
    """The records of a fit.

    Attributes
    ----------
    Y : (N, L), NaN where a trait is missing
    observed : (N, L) bool
    number : (N,) plots of which each is the mean
    errors : (N, L, L) known error covariances; None for none
    line, env, trait : names along the dimensions of the effects, and names of the records' lines and environments
    """

    def __init__(self, groups: Mapping[str, Any]) -> None:
        data = groups["observed_data"]
        self.Y = data["Y"].transpose("record", "trait").values
        self.observed = ~np.isnan(self.Y)
        self.lines, self.envs = data["record_line"].values.astype(str), data["record_env"].values.astype(str)
        self.traits = data["trait"].values.astype(str)
        self.number = take_numbers(data)
        self.errors = take_errors(data)
        self.data = data

    def flatten(self, values: np.ndarray, unit: str = VALUE) -> Any:
        """A Dataset of values along ``obs``, with chain and draw in front or not.

        unit : of which there are values; of records, where they have several traits
        """
        import xarray

        record, trait = np.nonzero(self.observed)
        own = {"trait": ("obs", self.traits[trait])}
        if unit == RECORD and self.Y.shape[1] > 1:
            record, own = np.arange(len(self.Y)), {}
        coords: dict[str, Any] = {"line": ("obs", self.lines[record]), "env": ("obs", self.envs[record])} | own
        coords |= {"record": ("obs", record), "obs": np.arange(len(record))}
        lead = ("chain", "draw")[: values.ndim - 1]
        return xarray.Dataset({Y: ((*lead, "obs"), values)}, coords)

    def shift(self, posterior: Any) -> np.ndarray | float:
        """Effects of the records' replicates and blocks, (chain, draw, N, traits), or none."""
        return RecordEffects(posterior, self.data).add_up_all(self.Y.shape)

    def place(self, lines: Any, envs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Places of the records among these names."""
        line, env = ({str(name): k for k, name in enumerate(names)} for names in (lines, envs))
        return np.array([line[name] for name in self.lines]), np.array([env[name] for name in self.envs])


def list_parts(posterior: Any, run: Mapping[str, Any]) -> Iterator[tuple[slice, str, np.ndarray]]:
    """Traits with chains of their own, or all: their places, kind of means, and R (chain, draw, I, L, L) of them."""
    I, traits = posterior.sizes["env"], posterior["trait"].values.tolist()
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    if BY_TRAIT not in run["facts"]:
        R = list_residuals(posterior)
        yield slice(None), run["facts"]["means"], R.reshape(*shape, *R.shape[1:])
        return
    R = posterior["R_e"]
    R = R if "env" in R.dims else R.expand_dims(env=I)
    R = R.transpose("chain", "draw", "env", "trait").values[..., None, None]
    for l, trait in enumerate(traits):
        yield slice(l, l + 1), run["facts"][BY_TRAIT][trait]["means"], R[:, :, :, l]


def leave_each_out(
    groups: Mapping[str, Any], run: Mapping[str, Any], posterior: Any, records: Records, unit: str, draw: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Log density of each record or value given the others, and values drawn so, both (chain, draw, obs) if asked for.

    unit : of the log density, empty for none
    draw : whether values are wanted: of N(y_i - q_i / P_ii, 1 / P_ii) in each draw; see `bmtme.results.pointwise`

    Raises
    ------
    UsageError, DataError
    """
    lead = posterior.sizes["chain"], posterior.sizes["draw"]
    record, trait = np.nonzero(records.observed)
    several = len(records.traits) > 1 and unit == RECORD
    wanted = {"log_likelihood": (len(records.Y) if several else len(record)) * bool(unit)}
    wanted["posterior_predictive"] = len(record) * draw
    for name, count in wanted.items():
        check_memory(8.0 * np.prod(lead) * count, f"{name} of {count:,} observations in {np.prod(lead):,} draws")
    logs, values = (np.zeros((*lead, count)) for count in wanted.values())
    if not unit and not draw:
        return logs, values
    rng = np.random.default_rng(np.random.SeedSequence(run["settings"]["seed"], spawn_key=(LEFT_OUT_STREAM,)))
    for c, d, l, there, scale, P, q in measure_draws(groups, run, posterior, records):
        observed = records.observed[there, l]
        lost = observed * np.log(scale)
        mine = np.isin(trait, np.arange(len(records.traits))[l])
        if several:
            logs[c, d, there] += UNITS[RECORD](P, q, observed) - lost.sum(axis=1)
        elif unit:
            logs[c, d, mine] = UNITS[VALUE](P, q, observed) - lost[observed]
        if draw:
            variance = 1.0 / np.diagonal(P, axis1=1, axis2=2)
            new = np.sqrt(variance) * rng.standard_normal(q.shape) - q * variance
            values[c, d, mine] = (records.Y[there, l] + scale * new)[observed]
    return logs, values


def measure_draws(
    groups: Mapping[str, Any], run: Mapping[str, Any], posterior: Any, records: Records
) -> Iterator[tuple[int, int, slice, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Chain, draw, traits, which records have some (N,), units (L,) of what follows; P, q as of `measure`.

    Raises
    ------
    UsageError, DataError
    """
    refuse_correlated(records.data, "log_likelihood")
    if records.errors is not None:
        raise UsageError(
            "log_likelihood and left-out values do not serve records with standard errors (se): use "
            "bmtme.cross_validate, or Fit.leave_one_out, which do."
        )
    names, G = take_relationship(groups)
    line, env = records.place(names, posterior["env"].values)
    traits, I = posterior["trait"].values.tolist(), posterior.sizes["env"]
    chains, count = posterior.sizes["chain"], posterior.sizes["draw"]
    beta = posterior["beta"].transpose("chain", "draw", "env", "trait").values
    whole = groups[COLUMNS]["C"] if COLUMNS in groups else None
    for l, means, R in list_parts(posterior, run):
        own = traits[l]
        there = records.observed[:, l].any(axis=1)
        observed = records.observed[there, l]
        kept = np.unique(line[there])
        scale = np.nanstd(records.Y[:, l], axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        pair, units = scale[:, None] * scale, np.tile(scale, I)
        plan = Plan(
            None if G is None else G[np.ix_(kept, kept)], observed, np.searchsorted(kept, line[there]), env[there],
            (len(kept), I), records.number[there],
        )  # fmt: skip
        C = relate_columns(posterior, whole, own) / (units[:, None] * units)
        C_r = relate_lines(posterior, own)
        exchangeable = "tau" in posterior
        scales = posterior["tau"].transpose("chain", "draw", "trait").values[..., l] if exchangeable else None
        held = means == "paper" and I > 1
        if not exchangeable and not held:
            refuse_orphans(plan, posterior["env"].values.tolist(), own)
        Y = records.Y - records.shift(posterior)
        Y = np.broadcast_to(Y, (chains, count, *records.Y.shape))[:, :, there][..., l]
        if exchangeable:
            Y = Y - posterior["mu"].transpose("chain", "draw", "trait").values[:, :, None, l]
        elif held:
            Y = Y - beta[:, :, env[there]][..., l]
        for c, d in np.ndindex(chains, count):
            precision = None if held else np.zeros(len(own))
            if scales is not None:
                precision = (scale / scales[c, d]) ** 2
            given = Covariances(
                C[c, d], np.zeros_like(pair) if C_r is None else C_r[c, d] / pair, R[c, d] / pair, precision
            )
            yield c, d, l, there, scale, *measure(plan, Y[c, d] / scale, given)


def refuse_orphans(plan: Plan, envs: list[str], traits: list[str]) -> None:
    """Refuse columns whose one record nothing predicts, as their mean is free.

    Raises
    ------
    DataError
    """
    lone = [f"{envs[i]} x {traits[l]}" for i, l in list_flat_orphans(plan)]
    if lone:
        raise DataError(
            f"log_likelihood, left-out values: {list_names(lone)} have one record, which nothing else predicts where "
            "means have a flat prior: leave them out, or fit with means='exchangeable'."
        )


def replicate(posterior: Any, u: Any, r: Any, records: Records, run: Mapping[str, Any]) -> np.ndarray:
    """New values of the same plots given effects, (chain, draw, obs); residuals of a plot are drawn jointly.

    Raises
    ------
    UsageError
        For records whose known errors correlate between records.
    """
    refuse_correlated(records.data, "posterior_predictive")
    line, env = records.place(u["line"].values, posterior["env"].values)
    shape = posterior.sizes["chain"], posterior.sizes["draw"], *records.Y.shape
    check_memory(24.0 * np.prod(shape), f"posterior_predictive of {records.observed.sum():,} values")
    rng = np.random.default_rng(np.random.SeedSequence(run["settings"]["seed"], spawn_key=(STREAM,)))
    out = posterior["beta"].transpose("chain", "draw", "env", "trait").values[:, :, env]
    out = out + u.transpose("chain", "draw", "line", "env", "trait").values[:, :, line, env]
    if not isinstance(r, float):
        out += r.transpose("chain", "draw", "line", "trait").values[:, :, line]
    out += records.shift(posterior)
    for l, _, R in list_parts(posterior, run):
        noise = rng.standard_normal((*shape[:3], R.shape[-1])) / np.sqrt(records.number)[:, None]
        out[..., l] += np.einsum("cdnlq,cdnq->cdnl", np.linalg.cholesky(R)[:, :, env], noise)
        if records.errors is not None:
            root = [_find_root(each[l, l]) for each in records.errors]
            out[..., l] += np.einsum("nlq,cdnq->cdnl", np.array(root), rng.standard_normal(noise.shape))
    return np.asarray(out[:, :, records.observed])


def _find_root(covariance: np.ndarray) -> np.ndarray:
    """A root of a covariance that may be singular, as zero for missing values makes it."""
    values, vectors = np.linalg.eigh(covariance)
    root: np.ndarray = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
