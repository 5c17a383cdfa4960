"""A chain stopped at any sweep and taken up by another goes on bit for bit; a longer one is one that was asked for."""

import copy
import threading

import numpy as np
import pytest

import bmtme
from bmtme import BMTME
from bmtme.choices import SAMPLERS
from bmtme.engines.rotated import chains as chains_module
from bmtme.engines.rotated.chains import Chain
from bmtme.engines.rotated.snapshots import cut_draws
from bmtme.engines.snapshots import Snapshot
from bmtme.preparation import build, lay_model, prepare
from bmtme.sampling import plan_slots

TUNE, DRAWS = 20, 16
#: Of a model: settings, and whether the data have known errors, or blocks and covariates.
MODELS = {
    "paper": {},
    "standard": {"structure": "standard"},
    "paper's means": {"means": "paper"},
    "free by environment": {"genetic": bmtme.Free(), "residual": "by_env"},
    "two factors": {"genetic": bmtme.FactorAnalytic(2), "residual": "common_correlation"},
    "by trait": {"genetic": bmtme.EnvironmentsByTrait(), "residual": "scaled"},
    "separable": {"genetic": bmtme.Separable()},
    "interaction": {"genetic": bmtme.MainAndInteraction(), "line_effect": True},
    "line effect": {"line_effect": True},
}
#: The others at length.
QUICK = ("paper", "paper's means", "free by environment", "line effect")
CASES = [
    pytest.param(sampler, name, marks=() if name in QUICK else pytest.mark.slow)
    for sampler, names in (("collapsed", MODELS), *((each, ("paper", "standard")) for each in SAMPLERS[1:]))
    for name in names
]


@pytest.fixture(scope="module")
def data():
    sim = bmtme.simulate(
        lines=12, envs=3, traits=2, reps=2, missing=0.2, missing_traits=0.1, relationship="blocks", seed=4
    )
    return bmtme.Trial.from_frame(sim.frame, line="line", env="env", traits=["T1", "T2"], rep="rep"), sim.relationship


def make_chain(data, sampler, name, draws=DRAWS, keep="all", hook=None):
    settings = dict(MODELS[name])
    model = BMTME(settings.pop("structure", "unstructured"), rep_effect="random", **settings)
    problem = build(lay_model(prepare(*data), model), model)[0]
    slots = plan_slots(draws, 2, keep)[0]
    seed = np.random.SeedSequence(5)
    return Chain(problem, sampler, TUNE, slots, True, seed, structures=model.structures, keep=hook)


def finish(chain, monkeypatch=None):
    chain.advance(lambda done: None, threading.Event())
    return chain


def spoil(work):
    """Fill all scratch by what would be seen in the draws."""
    for values in work:
        if isinstance(values, np.ndarray) and values.dtype == float:
            values[...] = np.nan
        elif hasattr(values, "_fields"):
            spoil(values)


def assert_same(one, other):
    for name, x, y in zip(one.draws._fields, one.draws, other.draws, strict=True):
        np.testing.assert_array_equal(x, y, err_msg=name)
    assert one.rng.bit_generator.state == other.rng.bit_generator.state


@pytest.mark.parametrize(("sampler", "name"), CASES)
def test_goes_on_bit_for_bit(data, sampler, name, monkeypatch):
    """From every place after which a snapshot is taken: in each stage of the warm-up, between two, among the draws."""
    monkeypatch.setattr(chains_module, "CALL_SECONDS", 0.0)  # a sweep a call
    taken = []

    def take(chain, last):
        taken.append((copy.deepcopy(chain.take()), copy.deepcopy(cut_draws(chain.draws, 0, chain.drawn))))

    whole = finish(make_chain(data, sampler, name, hook=take))
    assert len(taken) == TUNE + DRAWS + 1
    for place in (0, 1, 3, 5, 11, 19, 20, 27, 36):
        snapshot, block = taken[place]
        chain = make_chain(data, sampler, name)
        spoil(chain.work)
        chain.restore(snapshot, [block] if len(block["mu"]) else [])
        assert_same(whole, finish(chain))


@pytest.mark.parametrize("keep", ["all", "thin", "none"])
def test_more_draws_are_those_of_a_longer_run(data, keep, monkeypatch):
    """Also where the effects of fewer and fewer draws are kept as it grows."""
    monkeypatch.setattr("bmtme.sampling.KEPT", 8)
    chain = finish(make_chain(data, "collapsed", "paper", 3, keep))
    for draws in (9, 10, 30):
        chain.lengthen(plan_slots(draws, 2, keep)[0])
        finish(chain)
        assert_same(chain, make_and_finish(data, draws, keep))


def make_and_finish(data, draws, keep):
    return finish(make_chain(data, "collapsed", "paper", draws, keep))


def test_kept_draws_of_a_longer_run_are_among_those_of_a_shorter(monkeypatch):
    monkeypatch.setattr("bmtme.sampling.KEPT", 20)
    before = None
    for draws in range(1, 200):
        slots = plan_slots(draws, 2, "thin")[0]
        kept = np.flatnonzero(slots >= 0)
        np.testing.assert_array_equal(slots[kept], np.arange(len(kept)))
        assert min(draws, 5) <= len(kept) <= 10
        assert len(set(np.diff(kept))) <= 1
        if before is not None:
            assert set(kept[kept < draws - 1]) <= set(before)
        before = kept


def test_stopped_chain_is_told_to_be_kept(data):
    """In its own thread, once all is as after a sweep."""
    told, stop = [], threading.Event()
    chain = make_chain(
        data, "collapsed", "paper", hook=lambda chain, last: told.append((chain.stage, chain.done, last))
    )
    stop.set()
    chain.advance(lambda done: None, stop)
    assert told == []  # nothing to keep
    stop.clear()
    chain.advance(lambda done: stop.set(), stop)
    assert told == [(0, 1, False), (0, 1, True)]


def test_snapshot_of_another_chain_is_refused(data):
    paper, other = finish(make_chain(data, "collapsed", "paper")), make_chain(data, "collapsed", "free by environment")
    snapshot, blocks = paper.take(), [cut_draws(paper.draws, 0, DRAWS)]
    with pytest.raises(ValueError, match=r"too many or too few|is float64"):
        other.restore(snapshot, blocks)
    with pytest.raises(ValueError, match=r"its draws are 0, not 16"):
        make_chain(data, "collapsed", "paper").restore(snapshot, [])
    with pytest.raises(ValueError, match="draw 32 of 16"):
        make_chain(data, "collapsed", "paper").restore(snapshot, 2 * blocks)
    lacking = cut_draws(finish(make_chain(data, "collapsed", "paper", keep="none")).draws, 0, DRAWS)
    with pytest.raises(ValueError, match="lacks effects"):
        make_chain(data, "collapsed", "paper").restore(snapshot, [lacking])
    far = Snapshot(snapshot.values | {"done": 99}, snapshot.arrays)
    with pytest.raises(ValueError, match="sweep 99 of stage 4"):
        make_chain(data, "collapsed", "paper").restore(far, blocks)
