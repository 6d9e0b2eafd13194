"""The loop: its place in an epoch, callbacks, stopping and padding."""

import keras
import numpy as np
import pytest

from textgen.config import ModelConfig, TrainingConfig, WindowConfig
from textgen.model import build_model
from textgen.schedule import learning_rates
from textgen.training import Training, TrainingError, pad, padded_length, stack
from textgen.windows import Batch, make_windows

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


def make_training(targets="all", kind="stream", dropout=0, window_chars=4, **config):
    options = {"batch_size": 8, "learning_rate": 0.02, "seed": 1} | config
    training_config = TrainingConfig(**options)
    shape = ModelConfig(layers=1, units=12, embedding=4, dropout=dropout)
    if kind == "stream":
        ids = ids_of_a_cycle()
    else:
        rng = np.random.default_rng(0)
        lines = [np.arange(rng.integers(9, 20)) % (V - 1) + 1 for _ in range(30)]
        ids = np.concatenate([[0], *[np.append(line, 0) for line in lines]])
    windows = make_windows(
        ids, kind, WindowConfig(window_chars, targets=targets), 8, 1, 0
    )
    return Training(build_model(shape, V, seed=1), windows, training_config)


def test_hooks_fire_in_order_and_a_run_may_end_inside_an_epoch():
    training, recorder = make_training(), Recorder()
    assert training.windows.steps_per_epoch == 3
    outcome = training.run(5, measure=lambda: {"extra": 7.0}, callbacks=[recorder])
    assert outcome.steps == 5
    assert not outcome.interrupted
    assert recorder.seen == [
        "begin", ("epoch", 0), ("batch", 0), ("batch", 1), ("batch", 2), ("end", 0),
        ("epoch", 1), ("batch", 3), ("batch", 4), ("end", 1), "end",
    ]  # fmt: skip
    assert [logs["extra"] for logs in recorder.epoch_logs] == [7.0, 7.0]


@pytest.mark.parametrize("kind", ["stream", "lines"])
@pytest.mark.parametrize("targets", ["all", "last"])
def test_it_learns(kind, targets):
    training, recorder = make_training(targets, kind), Recorder()
    training.run(300, callbacks=[recorder])
    losses = [logs["loss"] for logs in recorder.epoch_logs]
    assert losses[0] > 1.2
    assert losses[-1] < (0.2 if kind == "stream" else 0.5)


def test_calibrating_changes_nothing():
    plain, timed = make_training(), make_training()
    assert timed.calibrate() > 0
    plain.run(4)
    timed.run(4)
    for one, two in zip(
        plain.model.get_weights(), timed.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_stops_on_request_and_when_a_callback_says_so():
    training = make_training()
    asking = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: training.request_stop()
    )
    outcome = training.run(9, callbacks=[asking])
    assert (outcome.steps, outcome.interrupted) == (1, True)

    training = make_training()

    def stop(epoch, logs):
        training.model.stop_training = True

    ending = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    outcome = training.run(9, callbacks=[ending])
    assert (outcome.steps, outcome.interrupted) == (3, False)


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


def test_a_loss_that_is_no_number_stops_with_advice():
    training = make_training(learning_rate=100.0, clip_norm=0.0)
    kernel = training.model.layers[-1].kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    with pytest.raises(TrainingError, match=r"was nan at step 1; .*--learning-rate"):
        training.run(3)


def test_a_batch_is_padded_with_weight_zero_to_one_of_few_lengths():
    def batch(length):
        ids = np.ones((2, length), np.int32)
        return Batch(ids, ids, np.ones((2, length), np.float32))

    padded = pad(batch(3), 5)
    assert [x.tolist() for x in padded] == [[[1, 1, 1, 0, 0]] * 2] * 3
    assert [x.shape for x in stack([padded, batch(5)])] == [(2, 2, 5)] * 3
    lengths = {padded_length(length, 27): length for length in range(1, 28)}
    assert lengths == {27: 27, 14: 14, 7: 7, 4: 4, 2: 2, 1: 1}
    assert {padded_length(length, 1) for length in (0, 1)} == {1}


def test_steps_in_a_call_change_nothing():
    """Lines are padded, and dropout drawn, by batch, however many a call takes."""
    weights = []
    for steps_per_call in (1, 5):
        training = make_training(kind="lines", dropout=0.3, window_chars=20)
        training._steps_per_call = steps_per_call
        training.run(12)
        weights.append(training.model.get_weights())
    for one, five in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, five)
