"""What chains call is compiled in the main thread, where an interruption is served, before any chain runs."""

import threading

import pytest

import bmtme
from bmtme import BMTME, Free, NewLines
from bmtme.engines.rotated import held, rehearsal
from tests.helpers.trials import trial_of

SHORT = {"draws": 4, "tune": 4, "chains": 2, "seed": 1}


@pytest.fixture
def threads(monkeypatch):
    """Threads in which steps are looked up at their addresses, with the memory of earlier ones emptied."""
    found = []

    def find(*given, find=held.find_steps):
        found.append(threading.current_thread())
        return find(*given)

    monkeypatch.setattr(held, "FOUND", {})
    monkeypatch.setattr(held, "find_steps", find)
    rehearsal.rehearse.cache_clear()
    yield found
    rehearsal.rehearse.cache_clear()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", [BMTME(), BMTME(genetic=Free(), line_effect=True)])
def test_no_step_is_compiled_while_chains_run(threads, model):
    sim = bmtme.simulate(lines=24, envs=2, traits=2, reps=2, relationship="markers", seed=4)
    trial = trial_of(sim.frame)
    bmtme.cross_validate(trial, sim.relationship, model, NewLines(2), workers=2, **SHORT)
    held.FOUND.clear()
    rehearsal.rehearse.cache_clear()
    bmtme.fit(trial, sim.relationship, model, **SHORT)
    assert threads
    assert set(threads) == {threading.main_thread()}
