"""Chains in threads: the same numbers however they run, interruption, failures, progress."""

import io
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bmtme import BMTME, NumericalError, fit
from bmtme.choices import SAMPLERS
from bmtme.engines.rotated import chains as chains_module
from bmtme.engines.rotated import rehearsal
from bmtme.engines.rotated.chains import Chain, run_chains
from bmtme.engines.rotated.failures import FAILURES
from bmtme.preparation import build, prepare
from bmtme.progress import Progress
from bmtme.sampling import plan_slots, spawn_seeds
from tests.helpers.trials import make_trial

pytestmark = pytest.mark.filterwarnings("ignore:a short run")
ENDLESS = 10**6  # sweeps of a run that only an interruption ends


@pytest.fixture(scope="module")
def data():
    return make_trial(lines=12, envs=2, missing_traits=0.1, seed=4)


@pytest.fixture
def problem(data):
    return build(prepare(*data), BMTME())[0]


def run(problem, sampler, draws=30, tune=20, chains=3, seed=1, **keywords):
    return run_chains(
        problem, sampler, tune, plan_slots(draws, chains, "all"), True, spawn_seeds(seed, chains), **keywords
    )


def running_threads():
    return {thread for thread in threading.enumerate() if thread.is_alive()}


# --- numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_numbers_depend_on_seeds_only(problem, sampler):
    """One core or several; alone or among other chains; and however many sweeps a compiled call makes."""
    one, several = run(problem, sampler, cores=1), run(problem, sampler, cores=3)
    for a, b in zip(one, several, strict=True):
        for name, x, y in zip(a._fields, a, b, strict=True):
            np.testing.assert_array_equal(x, y, err_msg=name)
    assert not np.array_equal(one[0].Sigma_t, one[1].Sigma_t)
    assert not np.array_equal(one[0].beta, run(problem, sampler, seed=2)[0].beta)
    alone = run_chains(problem, sampler, 20, plan_slots(30, 1, "all"), True, spawn_seeds(1, 3)[1:2])
    np.testing.assert_array_equal(alone[0].Sigma_t, one[1].Sigma_t)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_length_of_compiled_calls_changes_nothing(problem, sampler, monkeypatch):
    one = run(problem, sampler, chains=1)[0]
    monkeypatch.setattr(chains_module, "CALL_SECONDS", 0.0)
    other = run(problem, sampler, chains=1)[0]
    for name, x, y in zip(one._fields, one, other, strict=True):
        np.testing.assert_array_equal(x, y, err_msg=name)


def test_constants_stay_constant(problem):
    """Chains share the problem: none of them may write to it."""
    before = {name: np.copy(value) for name, value in problem._asdict().items() if isinstance(value, np.ndarray)}
    for sampler in SAMPLERS:
        run(problem, sampler)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(problem, name), value, err_msg=name)


# --- interruption -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("tune", [0, ENDLESS])
def test_stop_event_ends_a_chain(problem, sampler, tune):
    """In warm-up as well as in kept sweeps; what was drawn by then stays."""
    stop, told = threading.Event(), []

    def report(sweeps):
        told.append(sweeps)
        if len(told) == 3:
            stop.set()

    chain = Chain(problem, sampler, tune, plan_slots(ENDLESS, 1, "none")[0], False, np.random.SeedSequence(1))
    began = time.monotonic()
    chain.advance(report, stop)
    assert time.monotonic() - began < 5.0
    assert len(told) == 3
    assert told == sorted(told)
    assert 0 < told[-1] < ENDLESS
    if tune == 0:
        assert np.isfinite(chain.draws.beta[: told[-1]]).all()


@pytest.mark.parametrize("cores", [1, 3])
def test_exception_from_the_report_ends_all_chains(problem, cores):
    """The error comes through, promptly, and no thread stays behind."""

    class Enough(Exception):
        pass

    def report(chain, sweeps):
        if sweeps > 50:
            raise Enough

    before, began = running_threads(), time.monotonic()
    slots = plan_slots(ENDLESS, 3, "none")
    with pytest.raises(Enough):
        run_chains(problem, "gibbs", 0, slots, False, spawn_seeds(1, 3), cores, report)
    assert time.monotonic() - began < 5.0
    assert running_threads() <= before


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("cores", [1, 2])
def test_interrupt_from_the_keyboard(problem, cores):
    before, sent = running_threads(), threading.Event()

    def report(chain, sweeps):
        if sweeps > 20 and not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGINT)

    began = time.monotonic()
    slots = plan_slots(ENDLESS, 2, "none")
    with pytest.raises(KeyboardInterrupt):
        run_chains(problem, "gibbs", 0, slots, False, spawn_seeds(1, 2), cores, report)
    assert time.monotonic() - began < 5.0
    assert running_threads() <= before


def test_interrupt_while_chains_are_submitted(problem, monkeypatch):
    """A thread that the pool does not know yet, as the interruption came while it was started, runs no chain."""
    before, told = running_threads(), []

    class Interrupted(ThreadPoolExecutor):
        def submit(self, *given):
            super().submit(*given)
            self._threads.clear()  # not waited for at the end
            time.sleep(0.5)  # time enough for a chain to begin
            raise KeyboardInterrupt

    monkeypatch.setattr("bmtme.engines.threads.ThreadPoolExecutor", Interrupted)
    slots = plan_slots(ENDLESS, 2, "none")
    with pytest.raises(KeyboardInterrupt):
        run_chains(problem, "gibbs", 0, slots, False, spawn_seeds(1, 2), 2, lambda *given: told.append(given))
    for thread in running_threads() - before:
        thread.join(1.0)
    assert running_threads() <= before
    assert not told


# --- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("sampler", ["gibbs", "stepwise"])
def test_failure_names_matrix_and_sweep(problem, sampler, cores):
    """Cross-products that are not finite make R_e fail in the first sweep, in every chain."""
    problem.within[:] = np.nan
    before = running_threads()
    with pytest.raises(NumericalError, match=r"sweep 1: R_e .* is not positive definite") as error:
        run(problem, sampler, chains=2, cores=cores)
    assert error.value.exit_code == 4
    assert running_threads() <= before


def test_failure_of_the_collapsed_sampler(problem):
    """Where the density is nowhere defined the moves stay, and the draws given the effects name the matrix."""
    problem.fixed[:] = np.nan
    with pytest.raises(NumericalError, match=r"sweep 1: Sigma_t .* is not positive definite"):
        run(problem, "collapsed", tune=0)


@pytest.mark.parametrize("code, matrix", list(FAILURES.items()))
def test_sweeps_are_counted_from_the_start_of_the_warm_up(problem, monkeypatch, code, matrix):
    """A failure in the eighth sweep kept after 20 of warm-up is that of sweep 28."""

    def pretend(rng, kind, p, s, w, h, start, stop, keep, out, trail):
        return (7, code) if keep and stop > 7 else (stop, 0)

    monkeypatch.setattr(chains_module, "run_sweeps", pretend)
    with pytest.raises(NumericalError) as error:
        run(problem, "gibbs", chains=1)
    assert str(error.value).startswith(f"sweep 28: {matrix}")


def test_failure_in_one_chain_ends_the_others(problem, monkeypatch):
    real = chains_module.run_sweeps
    failing = threading.Event()

    def fail_once(*arguments):
        if not failing.is_set():
            failing.set()
            return 0, 1
        return real(*arguments)

    monkeypatch.setattr(chains_module, "run_sweeps", fail_once)
    before, began = running_threads(), time.monotonic()
    with pytest.raises(NumericalError, match="Sigma_t"):
        run_chains(problem, "gibbs", 0, plan_slots(ENDLESS, 3, "none"), False, spawn_seeds(1, 3), 3)
    assert time.monotonic() - began < 5.0
    assert running_threads() <= before


# --- progress -----------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self):
        return True


def test_progress_on_a_terminal(data, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    fit(*data, draws=40, tune=20, chains=2)
    text = sys.stderr.getvalue()
    assert "sampling, 2 chains: 100%" in text
    assert "\n" not in text
    assert text.endswith("\r")
    assert text.rsplit("\r", 2)[1].strip() == ""  # the line is cleared


def test_no_progress_elsewhere(data, capfd):
    fit(*data, draws=40, tune=20, chains=2)
    assert capfd.readouterr() == ("", "")


def test_progress_may_be_asked_for_or_silenced(data, monkeypatch):
    for stream, progress, shown in ((io.StringIO(), True, True), (Terminal(), False, False)):
        monkeypatch.setattr(sys, "stderr", stream)
        fit(*data, draws=40, tune=20, chains=2, progress=progress)
        assert ("100%" in stream.getvalue()) == shown


def test_progress_without_a_stderr(data, monkeypatch):
    """A process without one (pythonw, 2>&-) has None there."""
    monkeypatch.setattr(sys, "stderr", None)
    fit(*data, draws=40, tune=20, chains=2)


def test_time_left(monkeypatch):
    """From the rate since the first report, which may have waited for a compiler."""
    clock = iter([100.0, 110.0, 110.01, 130.0])
    monkeypatch.setattr("bmtme.progress.time.monotonic", lambda: next(clock))
    stream = Terminal()
    bar = Progress(1000, "work", stream=stream)
    bar.update(100)
    bar.update(200)
    bar.update(210)  # too soon to be worth a line
    bar.update(400)
    lines = [line.rstrip() for line in stream.getvalue().split("\r")[1:]]
    assert lines == ["work:  10%", "work:  20%, 1:20 left", "work:  40%, 1:00 left"]


@pytest.mark.parametrize(("show", "lines"), [(None, ["work:  30%, 2:20 left", "work:  60%, 1:20 left"]), (False, [])])
def test_a_log_gets_a_line_a_minute(monkeypatch, show, lines):
    clock = iter([100.0, 110.0, 160.0, 170.0, 219.0, 220.0, 300.0])
    monkeypatch.setattr("bmtme.progress.LOG_EVERY", 60.0)
    monkeypatch.setattr("bmtme.progress.time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    bar = Progress(1000, "work", show, stream)
    for done in (0, 50, 300, 400, 500, 600, 1000):
        bar.update(done)
    bar.close()
    assert stream.getvalue().splitlines() == lines


@pytest.mark.parametrize(("progress", "said"), [(None, 1), (False, 0), (True, 1)])
def test_compilation_is_announced_in_a_log_too(data, monkeypatch, capsys, progress, said):
    """Where stderr is no terminal, nothing else would tell why nothing happens for a minute or two."""
    monkeypatch.setattr("bmtme.running.is_compiled", lambda sampler: False)
    with pytest.warns(UserWarning, match="a short run"):
        fit(*data, draws=10, tune=5, chains=1, progress=progress)
    err = capsys.readouterr().err
    assert err.count("compiling the sampler (once after an installation") == said
    assert err.endswith("...\n") or progress is not None


def test_each_sampler_is_announced_that_is_not_compiled(monkeypatch, tmp_path):
    monkeypatch.setattr(rehearsal, "CACHE_FOLDER", str(tmp_path))
    assert not any(rehearsal.is_compiled(sampler) for sampler in SAMPLERS)
    (tmp_path / "rotated_1").mkdir()
    (tmp_path / "rotated_1" / "sweep.run_sweeps-95.py311.nbi").touch()
    assert [sampler for sampler in SAMPLERS if rehearsal.is_compiled(sampler)] == ["collapsed", "gibbs"]
    (tmp_path / "rotated_1" / "stepwise.run_stepwise-125.py311.nbi").touch()
    assert all(rehearsal.is_compiled(sampler) for sampler in SAMPLERS)


def test_lines_that_get_shorter_leave_nothing_behind():
    stream = Terminal()
    bar = Progress(10, "work", stream=stream)
    bar.write("a long line")
    bar.write("short")
    bar.close()
    assert stream.getvalue() == "\ra long line\rshort      \r     \r"
