"""A chain stopped anywhere and taken up by another goes on bit for bit; a longer one is one that was asked for."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest

from bmtme.engines.mixed.chain import Halted
from bmtme.engines.mixed.chains import Hamiltonian, Metropolis, Pilot
from bmtme.engines.mixed.draws import KEPT, ROWS
from bmtme.engines.mixed.equations import Equations
from bmtme.engines.mixed.posterior import Target, find_proposal
from bmtme.engines.mixed.priors import AxisPrior
from bmtme.engines.mixed.reml import fit_reml
from bmtme.engines.threads import one_thread_each
from tests.engines.mixed.cases import CASES

TUNE, DRAWS = 6, 16
KINDS = ("metropolis", "hamiltonian")


@pytest.fixture(scope="module")
def setting():
    """A target with relationship, weights and two traits, its proposal."""
    problem = CASES["traits"](np.random.default_rng(5))
    own = [
        AxisPrior(2.0, np.linspace(2.0, 4.0, max((a.n for a in block.axes if a.has_scale), default=1)))
        for block in problem.blocks
    ]
    target = Target(Equations(problem), own)
    with one_thread_each():
        return target, find_proposal(target, fit_reml(problem).phi)


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Effects are drawn every few draws; BLAS as in a run."""
    monkeypatch.setattr("bmtme.engines.mixed.chain.AT_ONCE", 5)
    monkeypatch.setattr("bmtme.engines.mixed.chains.Hamiltonian.tune", TUNE)
    with one_thread_each():
        yield


def make_chain(setting, kind, draws=DRAWS, slots=None, keep=None):
    target, proposal = setting
    slots = np.arange(draws) if slots is None else slots
    seed = np.random.SeedSequence(3, spawn_key=(1,))
    if kind == "metropolis":
        return Metropolis(target.fork(), proposal, draws, slots, seed, TUNE, keep)
    return Hamiltonian(target.fork(), proposal, draws, slots, seed, proposal.mode, keep)


def finish(chain):
    chain.advance(lambda done: None, threading.Event())
    return chain


def cut(chain):
    """Blocks of what it has drawn."""
    return [block for _, block in chain.cut(0, chain.drawn)]


def assert_same(one, other):
    for name in (*ROWS, *KEPT, "slots"):
        np.testing.assert_array_equal(getattr(one.draws, name), getattr(other.draws, name), err_msg=name)
    assert one.rng.bit_generator.state == other.rng.bit_generator.state
    assert one.target.evaluations == other.target.evaluations
    if isinstance(one, Metropolis):
        np.testing.assert_array_equal(one.log_weights, other.log_weights)


@pytest.mark.parametrize("kind", KINDS)
def test_goes_on_bit_for_bit(setting, kind):
    """From every place: before any move, in the moves before those that count, with draws that lack their effects."""
    taken = []
    whole = finish(
        make_chain(
            setting,
            kind,
            keep=lambda chain, last: taken.append(copy.deepcopy((chain.take(), cut(chain)))),
        )
    )
    assert [(one.values["stage"], one.values["done"]) for one, _ in taken] == [
        *((0, k + 1) for k in range(TUNE)), *((1, k + 1) for k in range(DRAWS)), (1, DRAWS),
    ]  # fmt: skip
    assert any(0 < one.values["drawn"] < one.values["done"] for one, _ in taken)
    assert np.isfinite(whole.draws.effects).all()
    assert len(np.unique(whole.draws.phi, axis=0)) > 4
    for place in (0, 3, 5, 6, 9, 13, 21, 22):
        snapshot, blocks = copy.deepcopy(taken[place])
        chain = make_chain(setting, kind)
        chain.restore(snapshot, blocks)
        assert_same(whole, finish(chain))


@pytest.mark.parametrize("evaluations", [1, 2, 5])
def test_a_move_that_is_stopped_on_its_way_is_not_made(setting, evaluations):
    """A path of many evaluations does not hold an interruption up."""
    whole, chain = finish(make_chain(setting, "hamiltonian")), make_chain(setting, "hamiltonian")
    stop, evaluate, left = threading.Event(), chain._evaluate, [0]

    def count(phi, order):
        left[0] -= 1
        if left[0] == 0:
            stop.set()
        return evaluate(phi, order)

    chain._evaluate = count
    ended = 0
    while chain.done < DRAWS or not chain.stage:
        left[0] = evaluations * (1 + ended)
        stop.clear()
        chain.advance(lambda done: None, stop)
        ended += 1
    assert ended > 3
    assert_same(whole, chain)
    chain._stop.set()
    with pytest.raises(Halted):
        chain.propose()


def test_pilot_is_the_beginning(setting):
    """Run by itself, told to be kept, and run no second time."""
    told = []
    chain = make_chain(setting, "metropolis", keep=lambda chain, last: told.append((chain.stage, chain.done, last)))
    Pilot(chain).advance(lambda done: None, threading.Event())
    assert told[-1] == (0, TUNE, True)
    weights = chain.pilot.copy()
    assert np.isfinite(weights).any()
    finish(chain)
    Pilot(chain).advance(lambda done: None, threading.Event())
    np.testing.assert_array_equal(chain.pilot, weights)
    assert_same(finish(make_chain(setting, "metropolis")), chain)


@pytest.mark.parametrize("kind", KINDS)
def test_more_draws_are_those_of_a_longer_run(setting, kind):
    """Also where the effects of fewer and fewer draws are kept as it grows."""
    chain = finish(make_chain(setting, kind, 5))
    for draws, stride in ((6, 1), (11, 2), (18, 4)):
        chain.lengthen(draws, np.arange(0, draws, stride))
        finish(chain)
        assert_same(chain, finish(make_chain(setting, kind, draws, np.arange(0, draws, stride))))


def test_snapshot_of_another_chain_is_refused(setting):
    metropolis, hamiltonian = (finish(make_chain(setting, kind)) for kind in KINDS)
    snapshot, blocks = metropolis.take(), cut(metropolis)
    with pytest.raises(ValueError, match="too many or too few"):
        make_chain(setting, "metropolis").restore(hamiltonian.take(), blocks)
    with pytest.raises(ValueError, match="its draws are 0, not 16"):
        make_chain(setting, "metropolis").restore(snapshot, [])
    with pytest.raises(ValueError, match="draw 32 of 16"):
        make_chain(setting, "metropolis").restore(snapshot, 2 * blocks)
    with pytest.raises(ValueError, match="at move 16 of stage 1"):
        make_chain(setting, "metropolis", 9).restore(snapshot, blocks)
    lacking = finish(make_chain(setting, "metropolis", slots=np.arange(0, DRAWS, 2)))
    with pytest.raises(ValueError, match="lacks effects"):
        make_chain(setting, "metropolis").restore(snapshot, cut(lacking))
    with pytest.raises(ValueError, match="no block of draws"):
        make_chain(setting, "metropolis").restore(snapshot, [{"phi": blocks[0]["phi"]}])
