"""The loop: its place in an epoch, callbacks, stopping."""

import dataclasses

import keras
import numpy as np
import pytest

from textgen.config import ModelConfig, TrainingConfig, WindowConfig
from textgen.data.windows import make_windows, padded_length
from textgen.errors import CheckpointError
from textgen.modeling.model import build_model
from textgen.training.loop import Training, TrainingError
from textgen.training.schedule import averaging_factors, learning_rates
from textgen.training.step import TrainStep

V = 5


class Recorder(keras.callbacks.Callback):
    """Writes down every hook that fires."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.epoch_logs = []

    def on_train_begin(self, logs=None):
        self.seen.append("begin")

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(("epoch", epoch))

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(("batch", batch))
        assert np.isfinite(logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(("end", epoch))
        self.epoch_logs.append(dict(logs))

    def on_train_end(self, logs=None):
        self.seen.append("end")


def ids_of_a_cycle(length=97):
    return (np.arange(length) % V).astype(np.uint8)


def make_training(targets="all", kind="text", dropout=0, seq_length=4, **config):
    options = {"batch_size": 8, "learning_rate": 0.02, "seed": 1} | config
    training_config = TrainingConfig(**options)
    shape = ModelConfig(layers=1, units=12, embedding=4, dropout=dropout)
    if kind == "text":
        ids = ids_of_a_cycle()
    else:
        rng = np.random.default_rng(0)
        lines = [np.arange(rng.integers(9, 20)) % (V - 1) + 1 for _ in range(30)]
        ids = np.concatenate([[0], *[np.append(line, 0) for line in lines]])
    windows = make_windows(
        ids, kind, WindowConfig(seq_length, targets=targets), 8, 1, 0
    )
    return Training(build_model(shape, V, seed=1), windows, training_config)


def test_hooks_fire_in_order_and_a_run_may_end_inside_an_epoch():
    training, recorder = make_training(), Recorder()
    assert training.windows.steps_per_epoch == 3
    training.run(5, measure=lambda: {"extra": 7.0}, callbacks=[recorder])
    assert training.step == 5
    assert not training.stop_requested
    assert recorder.seen == [
        "begin", ("epoch", 0), ("batch", 0), ("batch", 1), ("batch", 2), ("end", 0),
        ("epoch", 1), ("batch", 3), ("batch", 4), ("end", 1), "end",
    ]  # fmt: skip
    assert [logs["extra"] for logs in recorder.epoch_logs] == [7.0, 7.0]


def test_a_rate_that_a_callback_sets_before_the_first_step_counts():
    class Tenth(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 0:
                self.model.optimizer.learning_rate = 0.002

    training = make_training()
    rates = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.append(
            float(training.model.optimizer.learning_rate)
        )
    )
    training.calibrate()
    training._steps_per_call = 1
    training.run(6, callbacks=[Tenth(), note])
    planned = learning_rates(training.config, 6, 0, 6)
    np.testing.assert_allclose(rates, planned / 10, rtol=1e-6)


@pytest.mark.parametrize("kind", ["text", "lines"])
@pytest.mark.parametrize("targets", ["all", "last"])
def test_it_learns(kind, targets):
    training, recorder = make_training(targets, kind), Recorder()
    training.run(300, callbacks=[recorder])
    losses = [logs["loss"] for logs in recorder.epoch_logs]
    assert losses[0] > 1.2
    assert losses[-1] < (0.2 if kind == "text" else 0.5)


def test_calibrating_changes_nothing():
    plain, timed = make_training(), make_training()
    assert timed.calibrate() > 0
    plain.run(4)
    timed.run(4)
    for one, two in zip(
        plain.model.get_weights(), timed.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_calibrating_times_steps_that_hardly_ever_average(monkeypatch):
    """The first ones average each time, which would take from a budget's steps."""
    training, seen = make_training(schedule="averaged"), []
    take = TrainStep.__call__

    def note(self, *arguments):
        seen.append(arguments[-1])
        return take(self, *arguments)

    monkeypatch.setattr(TrainStep, "__call__", note)
    monkeypatch.setattr(training, "_compile_lengths", lambda most: None)
    training.calibrate()
    steps = np.concatenate(seen)
    assert len(steps) >= 3
    assert np.count_nonzero(steps) <= len(steps) / 8


def test_stops_on_request_and_when_a_callback_says_so():
    training = make_training()
    asking = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: training.request_stop()
    )
    training.run(9, callbacks=[asking])
    assert (training.step, training.stop_requested) == (1, True)

    training = make_training()

    def stop(epoch, logs):
        training.model.stop_training = True

    ending = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    training.run(9, callbacks=[ending])
    assert (training.step, training.stop_requested) == (3, False)


def test_a_callback_may_change_the_rate_and_the_schedule_goes_on_from_there():
    training, seen = make_training(), []

    def halve(epoch, logs):
        rate = float(training.model.optimizer.learning_rate)
        if epoch == 0:
            training.model.optimizer.learning_rate = rate / 2

    def note(batch, logs):
        seen.append(float(training.model.optimizer.learning_rate))

    hooks = keras.callbacks.LambdaCallback(on_epoch_end=halve, on_train_batch_end=note)
    training.run(9, callbacks=[hooks])
    planned = learning_rates(training.config, 9, 0, 9)
    np.testing.assert_allclose(seen[:3], planned[:3], rtol=1e-6)
    np.testing.assert_allclose(seen[3:], planned[3:] / 2, rtol=1e-6)


def test_a_loss_that_is_no_number_stops():
    training = make_training(learning_rate=100.0, clip_norm=0.0)
    kernel = training.model.layers[-1].kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    with pytest.raises(TrainingError, match=r"loss must be .*, but was nan at step 1"):
        training.run(3)


def test_steps_in_a_call_change_nothing():
    """Lines are padded, and dropout drawn, by batch, however many a call takes."""
    weights = []
    for steps_per_call in (1, 5):
        training = make_training(kind="lines", dropout=0.3, seq_length=20)
        training._steps_per_call = steps_per_call
        training.run(12)
        weights.append(training.model.get_weights())
    for one, five in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, five)


def test_a_call_of_several_lengths_is_as_several_calls():
    ids = [0]
    for length in (2, 19, 3, 18, 2, 17, 3, 19):
        ids += [*range(1, 1 + length % V % (V - 1)), *[1] * (length - 1), 0]
    windows = make_windows(
        np.array(ids, np.uint8), "lines", WindowConfig(20), 1, 1, end_id=0
    )
    lengths = [
        padded_length(x.inputs.shape[1], windows.longest)
        for x in windows.batches(0, 0, 8)
    ]
    assert lengths != sorted(lengths)
    weights = []
    for steps_per_call in (1, 8):
        config = TrainingConfig(learning_rate=0.02, batch_size=1, warmup_steps=3)
        shape = ModelConfig(layers=1, units=12, embedding=4, dropout=0.3)
        training = Training(build_model(shape, V, seed=1), windows, config)
        training._steps_per_call = steps_per_call
        training.run(8)
        weights.append(training.model.get_weights())
    for one, eight in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, eight)


# Going on


class Halving(keras.callbacks.Callback):
    """Halves the rate after each epoch, as ReduceLROnPlateau may."""

    def on_epoch_end(self, epoch, logs=None):
        optimizer = self.model.optimizer
        optimizer.learning_rate = float(optimizer.learning_rate) / 2


@pytest.mark.parametrize("kind", ["text", "lines"])
@pytest.mark.parametrize("schedule", ["cosine", "averaged"])
def test_going_on_from_any_state_ends_the_same(kind, schedule):
    """Inside an epoch and at its end, with dropout and a rate that callbacks change."""
    options = {"kind": kind, "dropout": 0.3, "seq_length": 20, "weight_decay": 0.1}
    options["schedule"] = schedule
    whole, states, recorder = make_training(**options), [], Recorder()
    per_epoch = whole.windows.steps_per_epoch
    steps = 3 * per_epoch + 1
    whole.run(
        steps,
        callbacks=[Halving(), recorder],
        after_call=lambda ended: states.append((whole.state(), ended)),
    )
    assert [state.step for state, _ in states] == list(range(1, steps + 1))
    assert [s.step for s, ended in states if ended] == [
        *range(per_epoch, steps, per_epoch),
        steps,
    ]
    for state, _ in states[:: max(1, per_epoch // 2)]:
        other, again = make_training(seed=1, **options), Recorder()
        other.restore(state)
        other._steps_per_call = 3
        other.run(steps, callbacks=[Halving(), again])
        assert_same_state(other.state(), whole.state())
        logs = (
            recorder.epoch_logs[state.step // per_epoch :] if state.step < steps else []
        )
        assert again.epoch_logs == logs


def assert_same_state(one, two):
    assert (one.step, one.rate_scale, one.last_rate, one.parts) == (
        two.step, two.rate_scale, two.last_rate, two.parts,
    )  # fmt: skip
    for a, b in zip(one.variables, two.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.epoch_losses, two.epoch_losses)


@pytest.mark.parametrize("schedule", ["cosine", "averaged"])
def test_everything_that_changes_while_training_is_in_the_state(schedule):
    """All variables there are, but for random generators that nothing asks."""
    training = make_training(dropout=0.3, schedule=schedule)
    held = {id(variable) for variable in training._variables}
    variables = [
        *training.model.variables,
        *training.model.optimizer.variables,
        *training.result.variables,
    ]
    left = [variable.path for variable in variables if id(variable) not in held]
    assert left
    assert all("seed_generator_state" in path for path in left)
    before = training.state()
    training.run(2)
    after = training.state()
    same = [
        variable.path
        for variable, a, b in zip(
            training._variables, before.variables, after.variables, strict=True
        )
        if np.array_equal(a, b)
    ]
    # Without a cosine the rate is the peak throughout.
    rate = [] if schedule == "cosine" else [training.model.optimizer.learning_rate.path]
    assert same == rate


def test_the_result_is_the_average_of_the_weights_or_the_network_itself():
    assert (plain := make_training()).result is plain.model
    training, seen = make_training(schedule="averaged"), []
    training._steps_per_call = 1
    take = lambda ended: seen.append(training.model.get_weights())  # noqa: E731
    training.run(24, after_call=take)
    average = seen[0]
    for step, share in enumerate(averaging_factors(training.config, 0, 24)):
        average = [
            mean + share * (weight - mean)
            for mean, weight in zip(average, seen[step], strict=True)
        ]
    for ours, theirs in zip(training.result.get_weights(), average, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not np.allclose(training.result.get_weights()[1], seen[-1][1], atol=1e-4)


def test_calibrating_leaves_a_resumed_state_as_it_was():
    training = make_training(kind="lines", dropout=0.3)
    training.run(4, callbacks=[Halving()])
    before = training.state()
    training.calibrate()
    assert_same_state(training.state(), before)


def test_a_longer_run_goes_on_at_the_longer_schedule():
    training, rates = make_training(), []

    def note(batch, logs):
        rates.append(float(training.model.optimizer.learning_rate))

    hook = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    training.run(6, callbacks=[hook])
    training.run(20, callbacks=[hook])
    np.testing.assert_allclose(rates[:6], learning_rates(training.config, 6, 0, 6))
    np.testing.assert_allclose(
        rates[6:], learning_rates(training.config, 20, 6, 14), rtol=1e-6
    )


def test_parts_are_those_of_the_state():
    """So that sums are the same on a machine with more or fewer cores."""
    training = make_training()
    other = dataclasses.replace(training.state(), parts=2)
    training.restore(other)
    assert training.parts == 2
    training.run(2)
    assert training.step == 2


def test_parts_may_change_after_some_steps():
    one, other = make_training(), make_training()
    one._step.parts = 2
    one.run(1)
    state = dataclasses.replace(one.state(), parts=1)
    other._step.parts = 1
    for training in (one, other):
        training.restore(state)
        training.run(3)
    for ours, theirs in zip(
        one.model.get_weights(), other.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_state_of_another_network_is_refused():
    state = make_training(seq_length=4).state()
    fewer = state.variables[:-1]
    wider = [x.astype(np.float64) for x in state.variables]
    for variables in (fewer, wider):
        other = dataclasses.replace(state, variables=variables)
        with pytest.raises(CheckpointError, match="expected the state of this network"):
            make_training().restore(other)


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf, 10 * np.log(V) + 1])
def test_unsound_losses_are_noticed_with_their_step(loss, monkeypatch):
    training = make_training()
    training.run(2)
    monkeypatch.setattr(
        training, "_take_steps", lambda *_: np.array([1.5, loss], np.float32)
    )
    with pytest.raises(TrainingError, match=r"at most 16, but was .* at step 4$"):
        training.run(5)
    assert training.step == 2
    monkeypatch.setattr(
        training, "_take_steps", lambda *_: np.array([16.0], np.float32)
    )
    training.run(3)
