"""The loop: its place in an epoch, callbacks, stopping, going on."""

import dataclasses

import keras
import numpy as np
import pytest
from training.helpers import assert_same_arrays, assert_same_state

from textgen.config import ModelConfig, TrainingConfig, WindowConfig
from textgen.data.windows import make_windows
from textgen.errors import CheckpointError
from textgen.modeling.model import build_model
from textgen.training.loop import Training, TrainingError
from textgen.training.schedule import averaging_factors, learning_rates
from textgen.training.step import TrainStep

V = 5


class Recorder(keras.callbacks.Callback):
    """Writes down every hook that fires, and the rate after each call."""

    def __init__(self):
        super().__init__()
        self.seen, self.epoch_logs, self.rates = [], [], []

    def on_train_begin(self, logs=None):
        self.seen.append(("begin", self.params))

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(("epoch", epoch))

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(("from", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(("to", batch))
        self.rates.append(float(self.model.optimizer.learning_rate))
        assert np.isfinite(logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(("end", epoch))
        self.epoch_logs.append(dict(logs))

    def on_train_end(self, logs=None):
        self.seen.append(("last logs", logs))


class Scaling(keras.callbacks.Callback):
    """Multiplies the rate, as ReduceLROnPlateau may: at first, and at each epoch."""

    def __init__(self, first=1.0, each=0.5):
        super().__init__()
        self.first, self.each = first, each

    def scale(self, factor):
        optimizer = self.model.optimizer
        optimizer.learning_rate = float(optimizer.learning_rate) * factor

    def on_train_begin(self, logs=None):
        self.scale(self.first)

    def on_epoch_end(self, epoch, logs=None):
        self.scale(self.each)


def make_training(
    targets="all", kind="text", dropout=0, seq_length=4, batch_size=8, **config
):
    options = {"batch_size": batch_size, "learning_rate": 0.02, "seed": 1} | config
    options["precision"] = "float32"
    shape = ModelConfig(layers=1, units=12, embedding=4, dropout=dropout)
    if kind == "text":
        ids = (np.arange(97) % V).astype(np.uint8)
    else:
        rng = np.random.default_rng(0)
        lines = [np.arange(rng.integers(3, 20)) % (V - 1) + 1 for _ in range(30)]
        ids = np.concatenate([[0], *[np.append(line, 0) for line in lines]])
    windows = WindowConfig(seq_length, targets=targets)
    windows = make_windows(ids, kind, windows, batch_size, 1, end_id=0)
    return Training(build_model(shape, V, seed=1), windows, TrainingConfig(**options))


def assert_same_weights(one, other):
    assert_same_arrays(one.model.get_weights(), other.model.get_weights())


def test_hooks_fire_as_those_of_fit_and_a_run_may_end_inside_an_epoch():
    training, recorder = make_training(), Recorder()
    assert training.windows.steps_per_epoch == 3
    training._steps_per_call = 2
    figures = iter([{"val_loss": 7.0}, {}])
    training.run(5, measure=lambda: next(figures), callbacks=[recorder])
    assert training.global_step == 5
    assert not training.stop_requested
    last = recorder.epoch_logs[1]
    assert recorder.seen == [
        ("begin", {"epochs": 2, "steps": 3, "verbose": 0}),
        ("epoch", 0), ("from", 0), ("to", 1), ("from", 2), ("to", 2), ("end", 0),
        ("epoch", 1), ("from", 0), ("to", 1), ("end", 1), ("last logs", last),
    ]  # fmt: skip
    assert [logs.get("val_loss") for logs in recorder.epoch_logs] == [7.0, None]
    assert set(last) == {"loss", "learning_rate"}
    assert last["learning_rate"] == recorder.rates[-1]


def test_what_fit_tells_a_callback_is_told():
    training, ours, theirs = make_training(), Recorder(), Recorder()
    training._steps_per_call = 3
    training.run(6, measure=lambda: {"val_loss": 1.0}, callbacks=[ours])
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=3)
    x, rate = np.zeros((3, 1)), keras.callbacks.ReduceLROnPlateau()  # tells the rate
    data = {"x": x, "y": x, "validation_data": (x, x), "batch_size": 1}
    model.fit(**data, epochs=2, callbacks=[rate, theirs], verbose=0)
    assert [name for name, _ in ours.seen] == [name for name, _ in theirs.seen]
    assert ours.seen[:-1] == theirs.seen[:-1]  # the logs differ
    pairs = zip(ours.epoch_logs, theirs.epoch_logs, strict=True)
    assert all(set(one) == set(other) for one, other in pairs)


def test_each_step_takes_the_windows_of_its_epoch(monkeypatch):
    training, seen = make_training(), []
    take, per_epoch = TrainStep.__call__, training.windows.steps_per_epoch

    def note(step, stacks, *others):
        stacks = list(stacks)
        seen.extend(inputs for stack in stacks for inputs in stack.inputs)
        return take(step, stacks, *others)

    monkeypatch.setattr(TrainStep, "__call__", note)
    training.run(7)
    places = [divmod(step, per_epoch) for step in range(7)]
    expected = [training.windows.batch(*place).inputs for place in places]
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_epoch_end"])
def test_stops_on_request_and_when_a_callback_says_so(hook):
    training, asked = make_training(), hook == "on_train_batch_end"

    def stop(number, logs):
        if asked:
            training.request_stop()
        else:
            training.result.stop_training = True

    training.run(9, callbacks=[keras.callbacks.LambdaCallback(**{hook: stop})])
    assert (training.global_step, training.stop_requested) == (1 if asked else 3, asked)


@pytest.mark.parametrize(("first", "each"), [(0.1, 1.0), (1.0, 0.5)])
def test_a_callback_may_change_the_rate_and_the_schedule_goes_on_from_there(
    first, each
):
    training, recorder = make_training(), Recorder()
    training.calibrate()
    training._steps_per_call = 1
    training.run(9, callbacks=[Scaling(first, each), recorder])
    planned = learning_rates(training.config, 9, 0, 9)
    factors = np.repeat([first * each**epoch for epoch in range(3)], 3)
    np.testing.assert_allclose(recorder.rates, planned * factors, rtol=1e-6)


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf, 10 * np.log(V) + 1])
def test_unsound_losses_are_noticed_with_their_step(loss, monkeypatch):
    training, losses = make_training(), np.array([1.5, loss], np.float32)
    training.run(2)
    monkeypatch.setattr(TrainStep, "__call__", lambda *_: losses)
    with pytest.raises(TrainingError, match=r"at most 16\b.* step 4$"):
        training.run(5)
    assert training.global_step == 2
    losses = np.array([16.0], np.float32)
    training.run(3)


def test_steps_in_a_call_change_nothing():
    """Lines are padded, and dropout drawn, by batch, however many a call takes."""
    options = {"kind": "lines", "dropout": 0.3, "seq_length": 20, "batch_size": 1}
    one, eight = make_training(**options), make_training(**options)
    stacks = list(one.windows.stacked_batches(0, 0, 8))
    lengths = [stack.inputs.shape[2] for stack in stacks]
    assert len(set(lengths)) < len(lengths) < 8  # some return, some are stacked
    eight._steps_per_call = 8
    for training in (one, eight):
        training.run(12)
    assert_same_weights(one, eight)


def test_calibrating_leaves_new_and_resumed_states_as_they_were():
    plain, timed = (make_training(kind="lines", dropout=0.3) for _ in range(2))
    assert timed.calibrate() > 0
    for training in (plain, timed):
        training.run(4, callbacks=[Scaling()])
    assert_same_state(plain.state(), timed.state())
    timed.calibrate()
    assert_same_state(plain.state(), timed.state())


def test_calibrating_times_steps_that_hardly_ever_average(monkeypatch):
    """The first ones average each time, which would take from a budget's steps."""
    training, seen = make_training(schedule="averaged"), []
    take = TrainStep.__call__

    def note(step, stacks, rates, first_step, factors=None):
        if factors is not None:
            seen.append(factors)
        return take(step, stacks, rates, first_step, factors)

    monkeypatch.setattr(TrainStep, "__call__", note)
    training.calibrate()
    steps = np.concatenate(seen)
    assert len(steps) >= 3
    assert np.count_nonzero(steps) <= len(steps) / 8


# Going on


@pytest.mark.parametrize(
    ("kind", "schedule"), [("text", "cosine"), ("lines", "averaged")]
)
def test_going_on_from_any_state_ends_the_same(kind, schedule):
    """Inside an epoch and at its end, with dropout and a rate that callbacks change."""
    options = {"kind": kind, "dropout": 0.3, "seq_length": 20, "schedule": schedule}
    whole, states, recorder = make_training(**options), [], Recorder()
    per_epoch = whole.windows.steps_per_epoch
    steps = 3 * per_epoch + 1
    whole.run(
        steps,
        callbacks=[Scaling(), recorder],
        after_call=lambda ended: states.append((whole.state(), ended)),
    )
    assert [state.global_step for state, _ in states] == list(range(1, steps + 1))
    ends = [*range(per_epoch, steps, per_epoch), steps]
    assert [state.global_step for state, ended in states if ended] == ends
    other = make_training(**options)
    other._steps_per_call = 3
    for state, _ in states[:-1:2]:
        again, at = Recorder(), state.global_step
        other.restore(state)
        other.run(steps, callbacks=[Scaling(), again])
        assert_same_state(other.state(), whole.state())
        assert_same_arrays(other.result.get_weights(), whole.result.get_weights())
        assert again.epoch_logs == recorder.epoch_logs[at // per_epoch :]
        assert again.seen[1:3] == [("epoch", at // per_epoch), ("from", at % per_epoch)]


def test_the_result_is_the_average_of_the_weights_or_the_network_itself():
    assert (plain := make_training()).result is plain.model
    training, seen = make_training(schedule="averaged"), []
    training.run(24, after_call=lambda _: seen.append(training.model.get_weights()))
    average = seen[0]
    for step, factor in enumerate(averaging_factors(training.config, 0, 24)):
        pairs = zip(average, seen[step], strict=True)
        average = [mean + factor * (weight - mean) for mean, weight in pairs]
    for ours, theirs in zip(training.result.get_weights(), average, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not np.allclose(training.result.get_weights()[1], seen[-1][1], atol=1e-4)


def test_a_longer_run_goes_on_at_the_longer_schedule():
    training, recorder = make_training(), Recorder()
    training.run(6, callbacks=[recorder])
    training.run(20, callbacks=[recorder])
    config = training.config
    planned = [*learning_rates(config, 6, 0, 6), *learning_rates(config, 20, 6, 14)]
    np.testing.assert_allclose(recorder.rates, planned, rtol=1e-6)


def test_shards_are_those_of_the_state_even_after_some_steps():
    """So that sums are the same on a machine with more or fewer cores."""
    one, other = make_training(), make_training()
    one._step.num_shards, other._step.num_shards = 2, 1
    one.run(1)
    state = dataclasses.replace(one.state(), num_shards=1)
    for training in (one, other):
        training.restore(state)
        assert training.num_shards == 1
        training.run(3)
    assert_same_weights(one, other)


def test_a_state_of_another_network_is_refused():
    state = make_training().state()
    fewer = state.variables[:-1]
    wider = [x.astype(np.float64) for x in state.variables]
    for variables in (fewer, wider):
        other = dataclasses.replace(state, variables=variables)
        with pytest.raises(CheckpointError, match="other"):
            make_training().restore(other)
