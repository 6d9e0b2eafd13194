"""Keras' own callbacks, one by one."""

import csv

import keras
import numpy as np
import pytest
from training.helpers import (
    assert_same_arrays,
    assert_same_state,
    run,
    weights_of,
)

from textgen.errors import ModelFileError, OptionError
from textgen.generation.streaming import generate_output
from textgen.saving.model_file import load_model
from textgen.training.checkpoint import read_checkpoint
from textgen.training.held_out import HeldOut
from textgen.training.loop import TrainingError
from textgen.training.validation import EpochMeasure

PER_EPOCH = 6
SMALL = {
    "layers": 1, "units": 8, "embedding": 4, "seq_length": 4, "batch_size": 32,
    "learning_rate": 0.05, "schedule": "averaged", "precision": "float32",
    "epochs": 6, "seed": 1,
}  # fmt: skip
SAVED_KINDS = ["constant", "averaged"]


TOLD = ("loss", "learning_rate", "val_loss", "val_accuracy")


class Recorder(keras.callbacks.Callback):
    """Keeps each epoch's logs and weights."""

    def __init__(self):
        super().__init__()
        self.logs, self.weights = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append({"epoch": epoch, **logs})
        self.weights.append(self.model.get_weights())


@pytest.fixture
def measured(monkeypatch):
    """Each epoch's held-out loss is the next of these; the second is the lowest."""
    kernels, losses = [], [3.0, 2.0, 2.5, 2.6, 2.7, 2.8]

    def measure(self, model):
        kernels.append(model.network.dense_kernel)
        loss = losses[len(kernels) - 1]
        return {"val_loss": loss, "val_accuracy": 1 / loss}

    def measure_at_end(self, model):
        kernels.append(model.network.dense_kernel)
        return 1.0

    monkeypatch.setattr(EpochMeasure, "__call__", measure)
    monkeypatch.setattr(HeldOut, "measure", measure_at_end)
    return kernels


def train(prose, output, *callbacks, **options):
    return run(prose, output, callbacks=callbacks, **SMALL | options)


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("schedule", SAVED_KINDS)
def test_early_stopping_saves_the_weights_that_were_measured_best(
    prose, output, tmp_path, measured, schedule
):
    stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    recorder = Recorder()
    report = train(prose, output, stop, recorder, schedule=schedule)
    assert report.steps == 5 * PER_EPOCH
    np.testing.assert_array_equal(recorder.weights[1][-2], measured[1])
    np.testing.assert_array_equal(measured[-1], measured[1])  # what the report tells
    assert_same_arrays(weights_of(output), recorder.weights[1])
    assert report.val_loss is None  # the last epoch's was of other weights
    assert load_model(output).record["weights_of_step"] is None
    # A resume goes on from where the training was, and not from those weights.
    plain = tmp_path / "plain.h5"
    measured.clear()
    until = {"schedule": schedule, "epochs": 5}
    train(prose, plain, **until)
    assert_same_state(*(read_checkpoint(x)[0].state for x in (output, plain)))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize(
    ("schedule", "targets"), [("constant", "all"), ("averaged", "last")]
)
def test_a_checkpoint_of_keras_opens_with_its_vocabulary(
    prose, output, tmp_path, measured, suffix, schedule, targets
):
    path = tmp_path / "best" / f"best{suffix}"
    best = keras.callbacks.ModelCheckpoint(path, save_best_only=True)
    recorder = Recorder()
    options = {"schedule": schedule, "targets": targets, "stride": 4, "epochs": 3}
    train(prose, output, recorder, best, **options)
    model = load_model(path)
    assert model.vocabulary == load_model(output).vocabulary
    assert (model.kind, model.windows.targets) == ("text", targets)
    assert model.record["steps"] * 3 == load_model(output).record["steps"] * 2
    np.testing.assert_array_equal(model.network.dense_kernel, measured[1])
    assert generate_output(path, "the ", length=5, seed=1).startswith("the ")
    assert "a snapshot, written while it was trained" in model.remark
    theirs = keras.models.load_model(path)
    assert_same_arrays(theirs.get_weights(), recorder.weights[1])
    assert len(theirs.output_shape) == (3 if targets == "all" else 2)


def test_what_a_callback_saves_is_marked_unless_the_training_has_ended(
    prose, output, tmp_path
):
    each = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.h5")
    last = keras.callbacks.LambdaCallback(
        on_train_end=lambda logs: last.model.save(tmp_path / "end.h5")
    )
    train(prose, output, each, last, epochs=2)
    unfinished = {
        name: load_model(tmp_path / f"{name}.h5").is_unfinished for name in ("1", "2")
    }
    assert unfinished == {"1": True, "2": False}
    assert not load_model(tmp_path / "end.h5").is_unfinished


def test_a_checkpoint_of_weights_alone_fits_the_saved_model(prose, output, tmp_path):
    path, recorder = tmp_path / "{epoch}-{batch}.weights.h5", Recorder()
    weights = keras.callbacks.ModelCheckpoint(
        path, save_weights_only=True, save_freq=PER_EPOCH
    )
    train(prose, output, recorder, weights, epochs=2)
    first = tmp_path / f"1-{PER_EPOCH}.weights.h5"
    theirs = keras.models.load_model(output)
    theirs.load_weights(first)
    assert_same_arrays(theirs.get_weights(), recorder.weights[0])
    with pytest.raises(ModelFileError, match=r"weights alone.*load_weights.*save"):
        load_model(first)


def test_a_plateau_lowers_the_rate_which_each_epoch_tells(prose, output, measured):
    plateau = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=2)
    recorder = Recorder()
    train(prose, output, plateau, recorder, warmup_steps=0, learning_rate=0.25)
    rates = [logs["learning_rate"] for logs in recorder.logs]
    assert rates == [0.25, 0.25, 0.25, 0.25, 0.125, 0.125]


def test_a_scheduler_sets_the_rate_of_each_epoch(prose, output):
    seen, wanted = [], [0.03125, 0.5, 0.25]

    def schedule(epoch, rate):
        seen.append(rate)
        return wanted[epoch]

    recorder = Recorder()
    scheduler = keras.callbacks.LearningRateScheduler(schedule)
    options = {"warmup_steps": 0, "learning_rate": 0.125, "epochs": 3}
    train(prose, output, scheduler, recorder, **options)
    assert [logs["learning_rate"] for logs in recorder.logs] == wanted
    assert seen == [0.125, *wanted[:2]]


def test_a_loss_that_is_no_number_ends_it_before_keras_would(prose, output):
    spoil = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: spoil.model.optimizer.assign(
            spoil.model.optimizer.learning_rate, float("nan")
        )
    )
    terminate = keras.callbacks.TerminateOnNaN(raise_error=True)
    with pytest.raises(TrainingError, match="nan at step 8"):
        train(prose, output, spoil, terminate)
    assert not output.exists()


def test_keras_log_goes_on_where_a_training_is_resumed(prose, output, tmp_path):
    path = tmp_path / "log.csv"
    for options in ({"interrupt_after": 2 * PER_EPOCH}, {"resume": True}):
        log, note = keras.callbacks.CSVLogger(path, append=True), Recorder()
        both = [log, note]
        run(prose, output, callbacks=both, **SMALL | {"epochs": 4} | options)
        rows = rows_of(path)[-len(note.logs) :]
        for row, logs_ in zip(rows, note.logs, strict=True):
            assert {k: float(v) for k, v in row.items()} == pytest.approx(logs_)
    assert [row["epoch"] for row in rows_of(path)] == ["0", "1", "2", "3"]


def test_figures_that_another_callback_adds_may_be_watched(prose, output):
    add = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: logs.update(score=-epoch)
    )
    stop = keras.callbacks.EarlyStopping("score", mode="max", patience=1)
    assert train(prose, output, add, stop).steps == 2 * PER_EPOCH


def test_one_callback_or_none_needs_no_list(prose, output):
    recorder = Recorder()
    for callbacks in (None, recorder):
        run(prose, output, callbacks=callbacks, **SMALL | {"epochs": 1})
    assert set(recorder.logs[0]) == {"epoch", *TOLD}


@pytest.mark.parametrize("kind", ["EarlyStopping", "ModelCheckpoint"])
def test_the_accuracy_is_watched_as_the_greater_the_better(
    prose, output, tmp_path, measured, kind
):
    watched = {"monitor": "val_accuracy"}
    if kind == "EarlyStopping":
        callback = keras.callbacks.EarlyStopping(
            patience=2, restore_best_weights=True, **watched
        )
        saved = output
    else:
        saved = tmp_path / "best.h5"
        callback = keras.callbacks.ModelCheckpoint(
            saved, save_best_only=True, **watched
        )
    train(prose, output, callback)
    np.testing.assert_array_equal(load_model(saved).network.dense_kernel, measured[1])
    assert load_model(saved).is_unfinished is (kind == "ModelCheckpoint")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: keras.callbacks.BackupAndRestore("backup"), "`resume`"),
        (keras.callbacks.SwapEMAWeights, "`schedule` averaged"),
        (lambda: keras.callbacks.EarlyStopping, "must be Keras callbacks"),
        (lambda: print, "must be Keras callbacks"),
        (lambda: [keras.callbacks.History(), None], "one was None"),
    ],
)
def test_what_can_not_work_is_refused_before_the_first_step(
    prose, output, make, expected
):
    with pytest.raises(OptionError, match=expected) as refused:
        run(prose, output, callbacks=make(), **SMALL)
    assert "\n" not in str(refused.value)
    assert not any(output.parent.iterdir())
