"""A search for settings: fair trials that save nothing, judged by a validation part."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from training.helpers import PROSE, prepared, press_after

optuna = pytest.importorskip("optuna")

from textgen.config import Config  # noqa: E402
from textgen.errors import OptionError, TrainingError  # noqa: E402
from textgen.saving.model_file import load_model  # noqa: E402
from textgen.training import tuning  # noqa: E402
from textgen.training.session import TrainingSession  # noqa: E402
from textgen.training.setup import trial_of  # noqa: E402
from textgen.training.tuning import (  # noqa: E402
    Found,
    Trial,
    line_of,
    ranges_of,
    search,
)

FOREVER = float("inf")
SMALL = {"layers": 1, "units": 8, "seq_length": 16, "validation": 0.2}


@pytest.fixture
def ready(prose, output):
    return prepared(prose, output, stateful=None, steps=3, batch_size=8, **SMALL)


class FakeSession:
    """Predicts the better the higher its rate is; has a call at each sixth."""

    steps_taken = 3

    def __init__(self, ready):
        self.config, self.share_taken = ready.config, 0.0

    def rehearse(self, callbacks):
        self.log.append(self.config)
        after = type(self).after
        if after and len(self.log) > 3:
            after()
        for callback in callbacks:
            callback.set_model(self)
            for step in range(1, 7):
                self.share_taken = step / 6
                callback.on_train_batch_end(step - 1)
                if self.stop_training:
                    self.ended.append(self.share_taken)
                    return None
        return self.interruption

    def measure(self):
        self.measured.append(round(self.share_taken, 2))
        return {"val_loss": 1 / self.config.training.learning_rate / self.share_taken}

    stop_training = False
    interruption = None
    after = None


@pytest.fixture
def fake(monkeypatch):
    """Let trials take no time; return their class, with a log of their configs."""
    session = type("Session", (FakeSession,), {"log": [], "ended": [], "measured": []})
    monkeypatch.setattr(tuning, "TrainingSession", session)
    monkeypatch.setattr(tuning, "_free_memory", lambda: None)
    return session


def test_trials_are_real_trainings_of_which_nothing_is_left(prose, output, tmp_path):
    options = {"steps": 3, "batch_size": 8, "learning_rate": 0.01, "stateful": None}
    ready = prepared(prose, output, **options, **SMALL)
    told = []
    given = {"layers": 1, "units": 8, "seq_length": 16, "batch_size": 8}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    first = search(ready, given, until_s=FOREVER, most_trials=2, say=told.append)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert len(told) == len(first.trials) == 2
    assert first.trials[0].settings == {"learning_rate": 0.01, "dropout": 0.35}
    assert first.trials[1].settings.keys() == first.trials[0].settings.keys()
    # The same as of a training that is saved, and measured on the same part.
    session = TrainingSession(trial_of(ready, ready.config, output))
    session.run()
    model = load_model(output)
    split = ready.corpus.split(0.1)
    cut = int(len(split.training) * 0.8)
    measure = ready.epoch_measure
    np.testing.assert_array_equal(measure.ids, split.training[cut:])
    expected = measure(model)["val_loss"]
    assert first.trials[0].nats == pytest.approx(expected, abs=1e-4)
    again = search(ready, given, until_s=FOREVER, most_trials=1)
    assert again.trials == first.trials[:1]


def test_the_first_trial_is_the_usual_one_and_the_best_is_chosen(ready, fake):
    found = search(ready, {}, until_s=FOREVER, most_trials=9)
    assert fake.log[0] == ready.config
    assert len(found.trials) == len(fake.log) == 9
    rates = [config.training.learning_rate for config in fake.log]
    assert len(set(rates)) == 9
    assert found.config.training.learning_rate == max(rates)
    best = found.best_first[0]
    state = {"stateful": found.config.windows.stateful}
    assert found.config == ready.config.override(**best.settings, **state)
    assert best.nats == pytest.approx(1 / max(rates), rel=1e-6)


def test_the_seed_and_the_number_of_trials_repeat_a_search(prose, output, fake):
    def proposed(seed):
        fake.log.clear()
        ready = prepared(prose, output, steps=3, validation=0.2, seed=seed)
        search(ready, {}, until_s=FOREVER, most_trials=8)
        return [(x.model, x.windows, x.training.learning_rate) for x in fake.log]

    assert proposed(1) == proposed(1)
    assert proposed(1) != proposed(2)


def test_what_is_given_is_not_searched_for(ready, fake):
    given = {"units": 8, "learning_rate": 0.1, "dropout": None}
    search(ready, given, until_s=FOREVER, most_trials=6)
    assert {config.model.units for config in fake.log} == {8}
    assert {config.training.learning_rate for config in fake.log} == {0.02}
    assert len({config.model.dropout for config in fake.log}) > 3
    assert "seq_length" in ranges_of(ready, {})
    assert "seq_length" not in ranges_of(ready, {"stride": 16})
    everything = dict.fromkeys(ranges_of(ready, {}), 1)
    with pytest.raises(OptionError, match="nothing to search for"):
        search(ready, everything, until_s=FOREVER)


@pytest.mark.parametrize("given", [None, True, False])
def test_a_trial_carries_the_state_if_its_own_streams_are_long(
    prose, output, tmp_path, fake, given
):
    long = tmp_path / "long.txt"
    long.write_text(Path(prose).read_text() * 5)
    ready = prepared(long, output, stateful=given, steps=3, batch_size=8, **SMALL)
    found = search(ready, {"stateful": given}, until_s=FOREVER, most_trials=12)
    carried = [config.windows.stateful for config in fake.log]
    if given is None:
        trained_on = len(ready.corpus.ids) * (1 - 0.1 - 0.9 * 0.2)
        a_batch = [x.training.batch_size * x.windows.seq_length for x in fake.log]
        assert carried == [trained_on >= 10 * size for size in a_batch]
        assert set(carried) == {True, False}
    else:
        assert set(carried) == {given}
    best = found.trials.index(found.best_first[0])
    assert found.config.windows.stateful == carried[best]


def test_going_on_from_a_model_the_state_is_never_carried_on(
    prose, prose_model, output, tmp_path, fake
):
    long = tmp_path / "long.txt"
    long.write_text(Path(prose).read_text() * 20)
    options = {"stateful": None, "steps": 3, "validation": 0.2}
    ready = prepared(long, output, init_from=prose_model, **options)
    search(ready, {}, until_s=FOREVER, most_trials=5)
    assert {config.windows.stateful for config in fake.log} == {False}


def test_a_saved_models_network_is_kept(prose, output, names_model, names):
    start = prepared(names, output, init_from=names_model, epochs=1, validation=0.2)
    expected = {"batch_size", "learning_rate", "dropout"}
    assert set(ranges_of(start, {})) == expected


@pytest.mark.parametrize("symbols", [500, 2_000, 1_000_000])
def test_ranges_hold_what_a_text_of_this_size_can_use(symbols, prose, output):
    """The usual value is always among them, and every value makes a `Config`."""
    prose.write_text((PROSE * (1 + symbols // len(PROSE)))[:symbols])
    ready = prepared(prose, output, minutes=1, validation=0.1, from_scratch=True)
    ranges, usual = ranges_of(ready, {}), ready.config.flat()
    for name, values in ranges.items():
        assert values._contains(values.to_internal_repr(usual[name])), name
        if isinstance(values, optuna.distributions.CategoricalDistribution):
            tried = values.choices
        else:
            tried = (values.low, values.high)
        for value in tried:
            Config().override(**{name: value})
    longest = max(ranges["seq_length"].choices)
    assert longest <= max(usual["seq_length"], symbols / 20)
    assert ranges["units"].low * 4 >= usual["units"]


def test_poor_trials_are_given_up_at_a_third_or_two(ready, fake):
    found = search(ready, {}, until_s=FOREVER, most_trials=16)
    given_up = [trial for trial in found.trials if trial.ended_early]
    assert 2 <= len(given_up) < 14
    assert not any(trial.ended_early for trial in found.trials[:3])
    assert {round(share, 2) for share in fake.ended} <= {0.33, 0.67}
    assert fake.measured[:3] == [0.33, 0.67, 1]
    assert fake.measured.count(0.33) == 16
    assert fake.measured.count(1) == 16 - len(given_up)
    ranked = found.best_first
    assert [trial.ended_early for trial in ranked] == sorted(
        trial.ended_early for trial in ranked
    )


def test_no_trial_is_begun_that_has_no_time(ready, fake):
    fake.after = lambda: time.sleep(0.2)
    until_s = time.monotonic() + 0.5
    found = search(ready, {}, until_s=until_s)
    assert time.monotonic() < until_s
    assert len(found.trials) >= 4
    fake.log.clear()
    assert len(search(ready, {}, until_s=0).trials) == 1


def test_a_trial_that_diverges_is_worse_than_all_others(ready, fake):
    def diverge():
        raise TrainingError("the loss was NaN; 't.h5' is the model of step 9")

    fake.after = diverge
    found = search(ready, {}, until_s=FOREVER, most_trials=5)
    assert [trial.steps for trial in found.trials] == [3, 3, 3, 0, 0]
    assert found.best_first[-1].steps == 0
    line = line_of(4, found.trials[3], ["units"])
    assert line == "trial 4: failed (the loss was NaN), with `units` 8"
    fake.log += [None] * 3
    with pytest.raises(TrainingError):
        search(ready, {}, until_s=FOREVER, most_trials=5)


def test_a_trial_that_can_not_be_built_is_worse_than_all_others(
    ready, fake, monkeypatch
):
    def build(ready, config, path):
        if len(fake.log) == 2:
            fake.log.append(None)
            raise OptionError("`units` must be less")
        return trial_of(ready, config, path)

    monkeypatch.setattr(tuning, "trial_of", build)
    found = search(ready, {}, until_s=FOREVER, most_trials=4)
    assert [trial.problem for trial in found.trials] == [
        "", "", "`units` must be less", ""
    ]  # fmt: skip


def test_ctrl_c_ends_a_search_with_the_best_so_far(ready, fake):
    def interrupt():
        fake.interruption = KeyboardInterrupt

    fake.after = interrupt
    found = search(ready, {}, until_s=FOREVER)
    assert found.interruption is KeyboardInterrupt
    assert len(found.trials) == 3
    fake.log += [None] * 3
    with pytest.raises(KeyboardInterrupt):
        search(ready, {}, until_s=FOREVER)


def test_a_trial_has_nothing_that_is_held_out(ready, output):
    trial = trial_of(ready, ready.config, output)
    assert len(trial.corpus.split(ready.config.training.held_out).held_out)
    nobody = None  # is asked to predict anything
    assert trial.held_out.measure(nobody) is None


def test_a_real_trial_stops_at_a_signal(ready, output):
    session = TrainingSession(trial_of(ready, ready.config, output))
    callback = press_after(1, signal.SIGINT)
    assert session.rehearse([callback]) is KeyboardInterrupt
    assert session.steps_taken < 3 or session.share_taken == 1
    assert not Path(output).exists()


def test_those_given_up_come_last():
    best, early = Trial({}, 1.5, 3), Trial({}, 1.2, 1, ended_early=True)
    worst = Trial({}, 1.9, 3)
    found = Found([worst, early, best], Config(), None)
    assert found.best_first == [best, worst, early]
