"""Cross-validation: tables, streams of random numbers, no leak, failures, interruption, Monte Carlo error."""

import json
import os
import signal
import threading
import time
import warnings

import numpy as np
import pandas as pd
import pytest

import bmtme.cv.run
import bmtme.cv.tasks
import bmtme.pipeline
import bmtme.preparation
from bmtme import (
    BMTME,
    CV1,
    CV2,
    DataError,
    EnvironmentMeans,
    NewLines,
    NumericalError,
    Relationship,
    Trial,
    UsageError,
    cross_validate,
)
from bmtme.choices import SAMPLERS
from bmtme.cv import Partition, score, summarise
from bmtme.cv.models import label_models
from bmtme.data.order import sort_trial
from bmtme.engines.rotated.chains import Chain, run_chains
from bmtme.engines.rotated.modes import branch_seed, choose_starts, find_modes
from bmtme.preparation import DecompositionCache, build, observe, prepare
from bmtme.results.predictions import arrange_predictions
from bmtme.results.targets import predict_hidden
from bmtme.sampling import plan_slots, spawn_seeds
from tests.helpers.trials import make_trial

COLUMNS = ["model", "partition", "line", "env", "trait", "n_obs", "observed", "mean", "sd", "lower", "upper"]
COLUMNS += ["mean_lower", "mean_upper", "mean_lower_50", "mean_upper_50", "log_score", "crps"]
#: Of the predictions, what the hidden values say something of.
JUDGED = ["observed", "log_score", "crps"]
SHORT = {"draws": 12, "tune": 6, "chains": 2, "seed": 5}
MODELS = {"un": BMTME(), "bd": BMTME("diagonal")}
pytestmark = pytest.mark.filterwarnings(
    "ignore:a short run",
    "ignore:few effective",
    "ignore:the differences between",
    "ignore:the chains do NOT",
    "ignore:divergent moves",
    "ignore:few moves",
)


@pytest.fixture(scope="module")
def data():
    return make_trial()


@pytest.fixture(scope="module")
def finished(data):
    """Two models on three partitions, with one worker."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cross_validate(*data, MODELS, CV1(3, 0.25), workers=1, **SHORT)


def fails_where(wanted, message="sweep 3: R_e is not positive definite."):
    """A chain that fails where its stream's key is wanted."""

    class Failing(Chain):
        def __init__(self, problem, sampler, tune, slots, track, seed, *others):
            super().__init__(problem, sampler, tune, slots, track, seed, *others)
            self.key = seed.spawn_key

        def advance(self, report, stop):
            if wanted(self.key):
                raise NumericalError(message)
            super().advance(report, stop)

    return Failing


def cv_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("bmtme-cv")]


def test_tables(data, finished):
    trial, _ = data
    assert list(finished.predictions.columns) == COLUMNS
    assert list(finished.scores.columns[:6]) == ["model", "partition", "env", "trait", "n_test", "pearson"]
    contract = ["pearson_mean", "pearson_se", "msep_mean", "msep_se", "pearson_rank", "msep_rank"]
    assert list(finished.summary().columns[:4]) == ["model", "env", "trait", "n_partitions"]
    assert set(contract) <= set(finished.summary().columns)
    pd.testing.assert_frame_equal(finished.partitions, CV1(3, 0.25).table(trial, SHORT["seed"]))
    # The hidden cells with a recorded value and no others, in the order of model, partition, line, env, trait.
    cells = CV1(3, 0.25).table(trial, SHORT["seed"])
    keys = ["partition", "line", "env", "trait"]
    for name in MODELS:
        table = finished.predictions[finished.predictions["model"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(table[keys], cells[keys], check_dtype=False)
    assert finished.predictions["model"].unique().tolist() == ["un", "bd"]
    frame = trial.to_frame().melt(["line", "env", "rep"], list(trial.traits), "trait", "value").dropna()
    plots = frame.groupby(["line", "env", "trait"])["value"].agg(["size", "mean"])
    expected = plots.loc[list(finished.predictions[["line", "env", "trait"]].itertuples(index=False, name=None))]
    assert finished.predictions["n_obs"].tolist() == expected["size"].tolist()
    np.testing.assert_allclose(finished.predictions["observed"], expected["mean"])
    assert (finished.predictions["lower"] < finished.predictions["mean"]).all()
    assert (finished.predictions["mean"] < finished.predictions["upper"]).all()
    assert finished.failures == []
    assert finished.predictions["partition"].map(type).eq(str).all()


def test_scores_are_those_of_the_predictions(data, finished):
    orders = {"envs": data[0].envs, "traits": data[0].traits}
    pd.testing.assert_frame_equal(
        finished.scores, score(finished.predictions, heritability=finished.heritability, **orders)
    )
    pd.testing.assert_frame_equal(finished.summary(), summarise(finished.scores, **orders))
    assert len(finished.scores) == 2 * 3 * 3 * 2


def test_workers_do_not_change_a_digit(data, finished):
    again = cross_validate(*data, MODELS, CV1(3, 0.25), workers=2, **SHORT)
    pd.testing.assert_frame_equal(again.predictions, finished.predictions, check_exact=True)
    pd.testing.assert_frame_equal(again.scores, finished.scores, check_exact=True)
    assert again.run["effective_draws"] == finished.run["effective_draws"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers(data, sampler):
    one, two = (cross_validate(*data, MODELS, CV1(2), sampler=sampler, workers=n, **SHORT) for n in (1, 2))
    pd.testing.assert_frame_equal(one.predictions, two.predictions, check_exact=True)
    assert np.isfinite(one.predictions[["mean", "sd", "lower", "upper"]]).all(axis=None)
    assert one.run["settings"]["sampler"] == sampler


def test_seed(data, finished):
    other = cross_validate(*data, MODELS["un"], CV1(3, 0.25), **SHORT | {"seed": 6})
    assert not other.predictions["line"].tolist() == finished.predictions["line"][: len(other.predictions)].tolist()
    # CV2 has no random masks: only the chains differ.
    one, two, same = (
        cross_validate(*data, MODELS["un"], CV2(["T1"], ["E1"]), **SHORT | {"seed": seed}).predictions
        for seed in (1, 2, 1)
    )
    assert (one["mean"] != two["mean"]).all()
    pd.testing.assert_frame_equal(one, same, check_exact=True)


def test_streams_are_told_by_model_partition_and_chain(data, monkeypatch):
    keys = []

    class Listening(Chain):
        def __init__(self, problem, sampler, tune, slots, track, seed, *others):
            super().__init__(problem, sampler, tune, slots, track, seed, *others)
            keys.append((seed.entropy, seed.spawn_key))

    monkeypatch.setattr(bmtme.cv.tasks, "Chain", Listening)
    monkeypatch.setattr("bmtme.running.rehearse", lambda *_: None)
    cross_validate(*data, MODELS, CV1(2, 0.2), workers=1, **SHORT)
    assert set(keys) == {(5, (1, m, k, c)) for m in range(2) for k in range(2) for c in range(2)}
    assert len(keys) == 8


def test_an_appended_model_and_partition_change_nothing_else(data, finished):
    models = {**MODELS, "st": BMTME("standard")}
    more = cross_validate(*data, models, CV1(4, 0.25), workers=2, **SHORT)
    shared = more.predictions[more.predictions["model"].isin(MODELS) & more.predictions["partition"].ne("4")]
    pd.testing.assert_frame_equal(shared.reset_index(drop=True), finished.predictions, check_exact=True)


def test_predictions_are_those_of_the_pipeline(data, finished):
    # One fit by hand: training part, own stream, all values hidden from it.
    shown, relationship = data
    trial = sort_trial(shown)[0]
    partition = CV1(3, 0.25).masks(trial, SHORT["seed"])[1]
    prepared = prepare(trial.hide(partition.record_mask(trial)), relationship)
    problem, scaling = build(prepared, MODELS["bd"])
    slots, seeds = plan_slots(SHORT["draws"], SHORT["chains"], "thin"), spawn_seeds(SHORT["seed"], 2, 1, 1, 1)
    starts = choose_starts(find_modes(problem, observe(prepared, scaling), branch_seed(seeds[0])), 2)
    chains = run_chains(problem, "collapsed", SHORT["tune"], slots, True, seeds, starts=starts)
    table = predict_hidden(prepared, problem, scaling, chains, trial, partition.test_cells(trial))[0]
    found = finished.predictions.query("model == 'bd' and partition == '2'").reset_index(drop=True)
    table = arrange_predictions(table, shown.lines, shown.envs, shown.traits)
    pd.testing.assert_frame_equal(found[COLUMNS[2:]], table, check_exact=True)


@pytest.mark.parametrize("reps", [1, 2])
@pytest.mark.parametrize("model", [BMTME(), BMTME("standard", units="raw"), BMTME("diagonal", means="paper")])
def test_hidden_values_do_not_leak(model, reps):
    trial, relationship = make_trial(reps=reps)
    partition = CV1(1, 0.25).masks(trial, SHORT["seed"])[0]
    values = trial.values.copy()
    hidden = partition.record_mask(trial) & ~np.isnan(values)
    assert hidden.any()
    values[hidden] = 1e4 + np.random.default_rng(1).normal(0.0, 1e3, int(hidden.sum()))
    other = Trial(trial.lines, trial.envs, trial.traits, trial.line_index, trial.env_index, values, trial.reps)
    one, two = (cross_validate(t, relationship, model, CV1(1, 0.25), **SHORT).predictions for t in (trial, other))
    free = [column for column in COLUMNS if column not in JUDGED]
    pd.testing.assert_frame_equal(one[free], two[free], check_exact=True)
    assert (one["observed"] != two["observed"]).all()


def test_cv2_with_absent_columns(data):
    trial, relationship = data
    cv = cross_validate(trial, relationship, MODELS, CV2(traits=["T2"]), workers=2, **SHORT)
    assert cv.predictions["partition"].unique().tolist() == ["E1:T2", "E2:T2", "E3:T2"]
    counts = trial.counts()
    for i, env in enumerate(trial.envs):
        here = cv.predictions[cv.predictions["model"].eq("un") & cv.predictions["partition"].eq(f"{env}:T2")]
        assert here["line"].tolist() == [line for j, line in enumerate(trial.lines) if counts[j, i, 1]]
    assert np.isfinite(cv.predictions[["mean", "sd", "lower", "upper"]]).all(axis=None)
    assert len(cv.scores) == 6
    with pytest.raises(DataError, match=r"^model 'flat', partition 'E1:T1', training part: means='flat' cannot serve"):
        cross_validate(trial, relationship, {"flat": BMTME(means="flat")}, CV2(["T1"]), **SHORT)


def test_identity_and_dropped_lines(data):
    trial, relationship = data
    identity = Relationship.identity(trial.lines)
    assert len(cross_validate(trial, identity, BMTME(), CV1(1), **SHORT).scores) == 6
    fewer = relationship.subset(relationship.lines[1:])
    with pytest.raises(DataError, match="no relationship: 'L01'"):
        cross_validate(trial, fewer, BMTME(), CV1(1), **SHORT)
    cv = cross_validate(trial, fewer, BMTME(), CV1(1), unrelated="drop", **SHORT)
    assert "L01" not in set(cv.predictions["line"])
    assert cv.run["data"]["lines_dropped"] == ["L01"]


def test_lines_without_a_training_record(data):
    class Unseen:
        """Hides three lines altogether."""

        def masks(self, trial, seed):
            hidden = np.zeros((len(trial.lines), len(trial.envs), len(trial.traits)), dtype=bool)
            hidden[[0, 5, 9]] = True
            return [Partition("new", hidden)]

    cv = cross_validate(*data, BMTME(), Unseen(), **SHORT)
    assert set(cv.predictions["line"]) == {data[0].lines[j] for j in (0, 5, 9)}
    assert np.isfinite(cv.predictions["sd"]).all()
    assert cv.run["effective_draws"]["unstructured"]["new"] > 0


@pytest.fixture
def decomposed(monkeypatch):
    """Numbers of lines of the decompositions made."""
    calls = []
    real = bmtme.preparation.decompose_lines

    def counting(relationship, lines, multiples):
        calls.append(len(lines))
        return real(relationship, lines, multiples)

    monkeypatch.setattr(bmtme.preparation, "decompose_lines", counting)
    return calls


def test_one_decomposition_for_all_partitions(data, decomposed):
    models = {**MODELS, "mean": EnvironmentMeans()}
    cross_validate(*data, models, CV1(3), **SHORT)
    assert decomposed == [14]
    cross_validate(*data, models, NewLines(3), workers=2, **SHORT)
    assert sorted(decomposed[1:]) == [9, 9, 10, 14]
    cross_validate(*data, EnvironmentMeans(), NewLines(3), seed=1)
    assert len(decomposed) == 6


def test_decompositions_are_shared_and_forgotten(data, decomposed, monkeypatch):
    _, relationship = data
    lines, ones = relationship.lines, np.ones(14)
    cache = DecompositionCache()
    assert cache(relationship, lines, ones) is cache(relationship, lines, ones.copy())
    other = cache(relationship, lines, 2 * ones)
    assert other is not cache(relationship, lines, ones)
    monkeypatch.setattr(bmtme.preparation, "KEPT_SHARE", 0.0)
    assert cache(relationship, lines[1:], ones[1:]) is cache(relationship, lines[1:], ones[1:])
    assert cache(relationship, lines, 2 * ones) is other  # somebody has it
    assert decomposed == [14, 14, 13]
    del other
    cache(relationship, lines[:5], ones[:5])
    cache(relationship, lines, 2 * ones)
    assert decomposed == [14, 14, 13, 5, 14]


def test_a_failure_is_an_entry_and_the_others_go_on(data, finished, monkeypatch):
    failing = fails_where(lambda key: key in [(1, 0, 1, 1), (1, 0, 1, 0), (1, 1, 2, 1)])
    monkeypatch.setattr(bmtme.cv.tasks, "Chain", failing)
    message = "sweep 3: R_e is not positive definite."
    expected = [("un", "2", f"chain 1 of 2: {message}"), ("bd", "3", f"chain 2 of 2: {message}")]
    for workers in (1, 2):
        with pytest.warns(UserWarning, match="2 of 6 fits failed and have no scores \\('un on 2', 'bd on 3'\\)"):
            cv = cross_validate(*data, MODELS, CV1(3, 0.25), workers=workers, **SHORT)
        assert cv.failures == expected
        whole = finished.predictions
        failed = (whole["model"] + whole["partition"]).isin(["un2", "bd3"])
        pd.testing.assert_frame_equal(cv.predictions, whole[~failed].reset_index(drop=True), check_exact=True)
        assert cv.summary()["n_partitions"].eq(2).all()
        assert "2 of 6 fits failed" in cv.warnings[0]


def test_all_failing_raises(data, monkeypatch):
    monkeypatch.setattr(bmtme.cv.tasks, "Chain", fails_where(lambda key: True))
    with pytest.raises(NumericalError, match=r"^all 2 fits failed; the first, model 'un' on partition 'E1:T1': chain"):
        cross_validate(*data, MODELS, CV2(["T1"], ["E1"]), **SHORT)


def test_other_errors_are_not_swallowed(data, monkeypatch):
    class Broken(Chain):
        def advance(self, report, stop):
            if len(self.draws.slot) > 1:
                raise MemoryError("no more")
            super().advance(report, stop)

    monkeypatch.setattr(bmtme.cv.tasks, "Chain", Broken)
    with pytest.raises(MemoryError, match="no more"):
        cross_validate(*data, MODELS, CV1(3), workers=2, **SHORT)
    assert not cv_threads()


@pytest.mark.parametrize("workers", [1, 2])
def test_interruption_out_of_a_thread(data, monkeypatch, workers):
    def interrupt(self, done):
        raise KeyboardInterrupt

    monkeypatch.setattr("bmtme.progress.Progress.update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(*data, MODELS, CV1(2), workers=workers, **SHORT | {"tune": 10**6})
    assert not cv_threads()


def test_interruption_by_a_signal(data):
    sent = []

    def send():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(1.0, send)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        cross_validate(*data, MODELS, CV1(2), workers=2, **SHORT | {"tune": 10**6})
    assert time.perf_counter() - sent[0] < 10.0  # about half a second where nothing else runs
    timer.join()
    assert not cv_threads()


def test_progress(data, capsys, monkeypatch):
    cross_validate(*data, MODELS, CV1(2), progress=True, **SHORT)
    out, err = capsys.readouterr()
    assert out == ""
    assert "cross-validation, 4 fits: 100%" in err
    cross_validate(*data, MODELS, CV1(1), progress=False, **SHORT)
    assert capsys.readouterr().err == ""
    # Sweeps that a failure leaves undone are not waited for.
    monkeypatch.setattr(bmtme.cv.tasks, "Chain", fails_where(lambda key: key == (1, 0, 0, 0)))
    with pytest.warns(UserWarning, match="1 of 4 fits failed"):
        cross_validate(*data, MODELS, CV1(2), workers=1, progress=True, **SHORT)
    assert "cross-validation, 4 fits: 100%" in capsys.readouterr().err


def test_save(finished, tmp_path):
    folder = tmp_path / "out"
    finished.save(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    tables = ["comparison", "heritability", "line_means", "overall", "partitions", "predictions", "scores", "summary"]
    files = sorted(path.name for path in folder.iterdir())
    assert files == sorted(["run.json", *(f"{name}.csv" for name in tables)])
    for name, table in (
        ("scores", finished.scores),
        ("predictions", finished.predictions),
        ("summary", finished.summary()),
    ):
        read = pd.read_csv(folder / f"{name}.csv", dtype={"partition": object})
        pd.testing.assert_frame_equal(read.fillna({"note": ""} if "note" in read else {}), table, check_dtype=False)
    run = json.loads((folder / "run.json").read_text())
    assert run["settings"]["scheme"] == {"name": "CV1", "partitions": 3, "test_fraction": 0.25}
    assert list(run["settings"]["models"]) == ["un", "bd"]
    assert run["settings"]["seed"] == 5
    assert run["failures"] == []
    assert [entry["partition"] for entry in run["data"]["partitions"]] == ["1", "2", "3"]
    assert {"versions", "seconds", "workers", "effective_draws"} <= set(run)
    with pytest.raises(UsageError, match="is not empty"):
        finished.save(folder)
    assert "CV1; 2 models x 3 partitions; 2 chains of 12 draws" in repr(finished)


def test_labels():
    un, st = BMTME(), BMTME("standard")
    assert label_models(None) == {"unstructured": un}
    assert list(label_models([st, un])) == ["standard", "unstructured"]
    assert list(label_models({" a ": st})) == ["a"]
    for models, message in [
        ([un, BMTME(means="flat")], "two models are called 'unstructured'"),
        ({"a": un, "a ": st}, "two models are called 'a'"),
        ({}, "models is empty"),
        ({1: un}, "label of a model must be a text"),
        ({" ": un}, "label of a model must be a text"),
        ({"a\nb": un}, r"label of a model holds the control character '\\n'"),
        ({"a\ud800": un}, "label of a model holds half of a pair"),
        ({"x" * 201: un}, "label of a model has 201 characters"),
        ({"a": "unstructured"}, "must hold models .* got 'unstructured' under 'a'"),
        (["unstructured"], "must hold models .* got 'unstructured'"),
        ("unstructured", "models must be a model, a list of them"),
    ]:
        with pytest.raises(UsageError, match=message):
            label_models(models)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"draws": 0}, "draws must be a whole number of at least 1"),
        ({"tune": -1}, "tune must be a whole number of at least 0"),
        ({"chains": 0}, "chains must be a whole number of at least 1"),
        ({"seed": 1.5}, "seed must be a whole number of at least 0"),
        ({"workers": 0}, "workers must be a whole number of at least 1"),
        ({"sampler": "nuts"}, "sampler must be one of"),
        ({"unrelated": "keep"}, "unrelated must be 'error' or 'drop'"),
        ({"scheme": CV1}, "scheme must be a scheme such as"),
        ({"scheme": "cv1"}, "scheme must be a scheme such as"),
        ({"models": {}}, "models is empty"),
    ],
)
def test_arguments(data, settings, message):
    with pytest.raises(UsageError, match=message):
        cross_validate(*data, **SHORT | settings)


def test_a_scheme_of_ones_own_is_checked(data):
    class Own:
        def __init__(self, *labels):
            self.labels = labels

        def masks(self, trial, seed):
            hidden = np.zeros(trial.counts().shape, dtype=bool)
            hidden[:, :, 1] = True
            return [Partition(label, hidden) for label in self.labels]

    with pytest.raises(UsageError, match="made no partition"):
        cross_validate(*data, BMTME(), Own(), **SHORT)
    with pytest.raises(UsageError, match="two partitions called 'a'"):
        cross_validate(*data, BMTME(), Own("a", "a"), **SHORT)
    with pytest.raises(DataError, match=r"^Partition 'a' leaves no training value of trait 'T2'"):
        cross_validate(*data, BMTME(), Own("a"), **SHORT)


def test_a_scheme_is_described_before_the_sampling(data, monkeypatch):
    class Own:
        def masks(self, trial, seed):
            return CV1(1, 0.25).masks(trial, seed)

        def describe(self):
            return 1 / 0

    order = []
    described, trained = bmtme.cv.run.describe_scheme, bmtme.cv.run.train
    monkeypatch.setattr(bmtme.cv.run, "describe_scheme", lambda *given: order.append(1) or described(*given))
    monkeypatch.setattr(bmtme.cv.run, "train", lambda *given: order.append(2) or trained(*given))
    run = cross_validate(*data, EnvironmentMeans(), Own(), **SHORT).run
    assert order == [1, 2]
    assert run["settings"]["scheme"] == {"name": "Own"}


def test_a_short_run_is_told_once_it_is_to_be_sampled(data):
    def tell(model, **settings):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                cross_validate(*data, model, CV1(1, 0.25), **SHORT | settings)
            except UsageError:
                assert settings
        return [each.filename for each in caught if str(each.message).startswith("a short run: ")]

    assert tell(EnvironmentMeans()) == tell(BMTME(), top=2) == []
    assert tell(BMTME()) == [__file__]


def test_errors_of_the_data_come_before_the_sampling(data, monkeypatch):
    trial, relationship = data
    monkeypatch.setattr("bmtme.running.rehearse", lambda *_: pytest.fail("sampled"))
    with pytest.raises(UsageError, match="expected a Trial"):
        cross_validate(trial.to_frame(), relationship, **SHORT)
    # A trait that is constant in the training part of one partition only.
    values = np.where(np.isnan(trial.values), np.nan, 1.0)
    partition = CV1(2, 0.25).masks(trial, SHORT["seed"])[1]
    values[:, 0] = trial.values[:, 0]
    hidden = partition.record_mask(trial)[:, 1] & ~np.isnan(values[:, 1])
    values[hidden, 1] = 2.0
    constant = Trial(trial.lines, trial.envs, trial.traits, trial.line_index, trial.env_index, values, trial.reps)
    with pytest.raises(DataError, match=r"^model 'un', partition '2', training part: trait 'T2' has the same value"):
        cross_validate(constant, relationship, MODELS, CV1(2, 0.25), **SHORT)
