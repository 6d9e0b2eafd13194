"""The rows of a training: which there are, where they are written, what is kept."""

import json
import math

import pytest
from training.helpers import make_row, prepared, run, timeless, written_rows

from textgen.errors import TrainingError
from textgen.evaluation.curve import read_history
from textgen.saving.model_file import load_model
from textgen.training import checkpoint
from textgen.training.checkpoint import read_checkpoint, write_checkpoint
from textgen.training.history import (
    MOST_SAVED_ROWS,
    best_row,
    history_path,
    out_of_patience,
    read_rows,
    saved_rows,
)
from textgen.training.loop import Training
from textgen.training.progress import sample_of

TINY = {"layers": 1, "units": 8, "seq_length": 4, "batch_size": 8, "dropout": 0.3}


@pytest.mark.parametrize(
    ("figures", "best", "patient_for"),
    [
        ([3.0, 2.0, 2.0, 2.5], 2, 2),  # the first of equals
        ([3.0, None, 1.0], 3, 0),
        ([1.0, None, math.inf], 1, 2),
        ([None, None], None, None),
        ([], None, None),
    ],
)
def test_the_best_row_and_for_how_long_none_is_better(figures, best, patient_for):
    rows = [
        make_row(n, figure if figure is None or figure < 9 else None)
        for n, figure in enumerate(figures, 1)
    ]
    found = best_row(rows)
    assert (found and found.epoch) == best
    out = [n for n in range(1, 9) if out_of_patience(rows, n)]
    assert out == list(range(1, (patient_for or 0) + 1))
    assert not out_of_patience(rows, None)


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 5000, 12_345])
def test_a_file_keeps_a_limited_number_of_rows_with_the_best_and_the_last(count):
    best = count // 3
    rows = [make_row(n, 1.0 if n == best else 2.0) for n in range(count)]
    kept = saved_rows(rows)
    numbers = [row["epoch"] for row in kept]
    assert MOST_SAVED_ROWS / 3 < len(kept) <= MOST_SAVED_ROWS or len(kept) == count
    assert numbers == sorted(set(numbers))
    assert {best, count - 1} <= set(numbers)
    every = -(-count // (MOST_SAVED_ROWS - 1))
    assert set(numbers) == {best, *range(count - 1, -1, -every)}
    assert all("sample" not in row for row in kept)
    assert len(json.dumps(kept)) < 1 << 18
    assert [point.step for point in read_history({"history": kept})] == [
        row["step"] for row in kept
    ]


def test_nothing_is_lost_of_few_rows():
    rows = (make_row(1, 2.5, sample="s"), make_row(2, None))
    kept = saved_rows(rows)
    assert [row.pop("val_loss") for row in kept] == [2.5, None]
    assert read_rows({"history": kept}) == ()  # a row needs its val_loss
    assert read_rows({"history": saved_rows(rows)}) == (make_row(1, 2.5), rows[1])


@pytest.mark.parametrize(
    "history",
    [
        None, 7, "abc", {}, {"step": 1}, [None], [[1, 2]], [{}], [{"step": 1}], [[]],
        *([vars(make_row(1, 2.0)) | odd] for odd in (
            {"loss": "3"}, {"loss": math.nan}, {"loss": None}, {"step": 10**400},
            {"seconds": math.inf}, {"val_loss": []}, {"sample": 3}, {"odd": 1},
            {"learning_rate": {}},
        )),
    ],
)  # fmt: skip
def test_what_is_no_history_has_no_rows(history):
    assert read_rows({"history": history}) == ()
    read_history({"history": history})


# A training's rows


@pytest.fixture
def one_step_a_call(monkeypatch):
    monkeypatch.setattr(Training, "calibrate", lambda loop: 0.001)


def test_a_row_is_what_callbacks_and_eyes_see(prose, output):
    import keras

    seen = []

    def see(epoch, logs):
        rate = float(note.model.optimizer.learning_rate)
        seen.append((epoch + 1, logs["loss"], logs["val_loss"], rate))

    note = keras.callbacks.LambdaCallback(on_epoch_end=see)
    options = {"schedule": "cosine", "learning_rate": 0.01, "steps": 50}
    report = run(prose, output, callbacks=[note], **TINY, **options)
    rows = report.history
    per_epoch = prepared(prose, output, **TINY).windows.steps_per_epoch
    assert [row.step for row in rows] == [per_epoch, 2 * per_epoch, 50]
    for row, (epoch, loss, val_loss, rate) in zip(rows, seen, strict=True):
        assert (row.epoch, row.loss, row.val_loss) == (epoch, loss, val_loss)
        assert row.learning_rate == pytest.approx(rate, rel=1e-5)
    assert rows[0].learning_rate > 2 * rows[1].learning_rate > rows[2].learning_rate
    assert [row.seconds for row in rows] == sorted(row.seconds for row in rows)
    assert rows[-1].sample == sample_of(load_model(output))
    assert rows[-1].val_loss == report.val_loss
    assert [vars(row) for row in rows] == written_rows(output)
    points = read_history(load_model(output).record)
    assert [(p.step, p.loss, p.val_loss) for p in points] == [
        (row.step, row.loss, row.val_loss) for row in rows
    ]


def test_rows_of_a_killed_training_are_those_of_the_undisturbed_one(
    prose, output, monkeypatch, one_step_a_call
):
    """A power cut loses what came after the last checkpoint, but not its lines."""
    whole = output.with_name("whole.h5")
    run(prose, whole, steps=70, **TINY)
    monkeypatch.setattr(checkpoint, "INTERVAL_S", math.inf)
    run(prose, output, steps=70, interrupt_after=30, **TINY)
    kept, _ = read_checkpoint(output)
    run(prose, output, resume=True, interrupt_after=68)
    assert [row["step"] for row in written_rows(output)] == [22, 44, 66]
    with open(history_path(output), "a") as file:
        file.write('{"epoch": 3, "st')
    write_checkpoint(kept, output)
    report = run(prose, output, resume=True)
    expected = timeless(written_rows(whole))
    assert [row["step"] for row in expected] == [22, 44, 66, 70]
    assert timeless(written_rows(output)) == expected
    assert timeless(map(vars, report.history)) == expected
    seconds = [row.seconds for row in report.history]
    assert seconds == sorted(seconds)


def test_weights_that_are_no_numbers_at_an_epochs_end_are_told(prose, output):
    import keras

    def spoil(batch, logs):
        if batch == 21:
            weights = callback.model.get_weights()
            callback.model.set_weights([w * math.nan for w in weights])

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=spoil)
    with pytest.raises(TrainingError, match=r"nothing was saved|must be"):
        run(prose, output, steps=70, callbacks=[callback], **TINY)


def test_a_new_training_begins_a_new_file_and_a_longer_one_goes_on(prose, output):
    run(prose, output, steps=30, **TINY)
    run(prose, output, steps=25, **TINY)
    assert [row["step"] for row in written_rows(output)] == [22, 25]
    run(prose, output, steps=45, resume=True)
    steps = [22, 25, 44, 45]
    assert [row["step"] for row in written_rows(output)] == steps
    assert [row["step"] for row in load_model(output).record["history"]] == steps
    assert [row["epoch"] for row in written_rows(output)] == [1, 2, 2, 3]
