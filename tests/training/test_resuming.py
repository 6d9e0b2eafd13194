"""Trainings that are stopped, go wrong or find no room, and go on: end to end, tiny."""

import dataclasses
import errno
import math
import os
import signal
import time

import keras
import numpy as np
import pytest
from training.helpers import (
    PROSE,
    after,
    assert_same_end,
    prepared,
    press,
    request_of,
    run,
)

from textgen.errors import OutputError, TrainingError
from textgen.saving.model_file import load_model
from textgen.system import files as atomic_file
from textgen.system.terminal import Terminated
from textgen.training import checkpoint, schedule
from textgen.training import setup as preparation
from textgen.training import step as train_step
from textgen.training.checkpoint import (
    checkpoint_paths,
    read_checkpoint,
    write_checkpoint,
)
from textgen.training.loop import Training
from textgen.training.pipeline import train
from textgen.training.session import TrainingSession
from textgen.training.setup import prepare

TINY = {
    "layers": 1, "units": 8, "seq_length": 4, "batch_size": 8, "dropout": 0.3,
    "schedule": "averaged",
}  # fmt: skip
STEPS = 50  # two epochs of 22 steps and a bit


@pytest.fixture
def always_due(monkeypatch):
    """A checkpoint is written after each compiled call."""
    monkeypatch.setattr(checkpoint, "INTERVAL_S", 0.0)
    monkeypatch.setattr(checkpoint, "MOST_SHARE", 1e9)


@pytest.fixture(autouse=True)
def one_step_a_call(monkeypatch):
    """A callback then hits any step, not the end of a call of some length."""
    monkeypatch.setattr(Training, "calibrate", lambda loop: 0.001)
    # Some tests count saves: none is to come because a machine is slow.
    monkeypatch.setattr(checkpoint, "INTERVAL_S", math.inf)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    (folder / "hour.txt").write_text(PROSE)
    run(folder / "hour.txt", folder / "whole.h5", steps=STEPS, **TINY)
    return folder / "whole.h5"


# Going on


@pytest.mark.parametrize(
    ("number", "stops"), [(signal.SIGINT, (1, 23, 49)), (signal.SIGTERM, (22,))]
)
def test_stopped_and_resumed_it_ends_the_same(
    prose, output, undisturbed, number, stops
):
    expected = Terminated if number == signal.SIGTERM else KeyboardInterrupt
    options = dict(TINY, steps=STEPS)
    for stop in stops:
        report = run(
            prose, output, callbacks=[after(stop, press(number))], **options,
            resume=stop != stops[0],
        )  # fmt: skip
        assert report.interruption is expected
        assert report.steps == stop
        assert read_checkpoint(output)[0].state.global_step == stop
        assert load_model(output).metadata["training"]["interrupted"] is True
        options = {}  # what is not given is as it was
    report = run(prose, output, resume=True)
    assert (report.steps, report.interruption) == (STEPS, None)
    assert_same_end(output, undisturbed)


def test_what_an_interruption_saved_is_no_earlier_model(prose, output):
    """The model of another day stays the previous one, however often it is resumed."""
    output.parent.mkdir()
    output.write_bytes(b"another day's")
    stopping = [after(3, press())]
    run(prose, output, steps=9, callbacks=stopping, **TINY)
    previous = output.with_name("model.previous.h5")
    assert previous.read_bytes() == b"another day's"
    report = run(prose, output, resume=True)
    assert report.previous is None
    assert previous.read_bytes() == b"another day's"


def test_more_of_a_finished_training(prose, output):
    run(prose, output, steps=5, **TINY)
    finished = output.read_bytes()
    lines = []
    report = run(prose, output, resume=True, steps=30, say=lines.append)
    assert report.steps == 30
    assert lines[-1].startswith("going on at step 5 of 30, about ")
    assert report.previous.read_bytes() == finished
    record = load_model(output).metadata
    assert record["training"]["lengthened_at"] == [5]
    assert record["config"]["training"]["steps"] == 30
    assert read_checkpoint(output)[0].total_steps == 30
    # The same two lengths come to the same, wherever else it was stopped.
    other = output.with_name("other.h5")
    run(prose, other, steps=5, **TINY)
    stopping = [after(17, press())]
    run(prose, other, resume=True, steps=30, callbacks=stopping)
    run(prose, other, resume=True)
    assert_same_end(other, output)


def test_a_finished_training_is_told_and_left_alone(prose, output):
    run(prose, output, steps=3, **TINY)
    before = {path: path.read_bytes() for path in output.parent.iterdir()}
    ready = prepared(prose, output=output, resume=True)
    assert ready.finished
    assert "is finished, all its 3 steps" in ready.notes[0]
    assert train(prose, output=output, resume=True, steps=3) == output
    assert {path: path.read_bytes() for path in output.parent.iterdir()} == before


def test_killed_before_its_model_was_saved_it_is_not_finished(
    prose, output, undisturbed
):
    run(prose, output, steps=STEPS, **TINY)
    output.unlink()
    report = run(prose, output, resume=True)
    assert report.steps == STEPS
    assert_same_end(output, undisturbed)


def test_from_the_older_generation_it_ends_the_same(prose, output, undisturbed):
    run(prose, output, steps=STEPS, callbacks=[after(7, press())], **TINY)
    newest, _ = checkpoint_paths(output)
    newest.write_bytes(newest.read_bytes()[:-9])
    ready = prepared(prose, output=output, resume=True)
    assert ready.checkpoint.state.global_step == 0
    assert "it is damaged; going on from the one before it" in ready.notes[0]
    run(prose, output, resume=True)
    assert_same_end(output, undisturbed)


def test_a_saved_model_with_new_symbols_is_gone_on_from_and_resumed(prose, output):
    """Ids are those of the saved model's vocabulary, not of the text's."""
    run(prose, output, steps=3, **TINY)
    text = prose.with_name("more.txt")
    text.write_text("!?" * 20 + PROSE)
    ends = []
    for name, stop in (("one.h5", 99), ("two.h5", 4)):
        path = output.with_name(name)
        stopping = [after(stop, press())]
        run(text, path, init_from=output, steps=9, callbacks=stopping)
        ends.append(path)
    run(text, ends[1], resume=True)
    assert load_model(ends[1]).vocabulary.symbols[-2:] == ("!", "?")
    assert_same_end(ends[1], ends[0])


def test_minutes_go_on_counting(prose, output, monkeypatch):
    """As planned after 29.9 minutes of 33; a slow machine starts within two of them."""
    monkeypatch.setattr(schedule, "BUDGET_EPOCHS", 10**6)
    # Only the step's time, of the fixture above, makes the plan.
    monkeypatch.setattr(preparation.HeldOut, "measure_briefly", lambda *_: {})
    stopping = [after(3, press())]
    run(prose, output, minutes=30, callbacks=stopping, **TINY)
    stopped, _ = read_checkpoint(output)
    planned = stopped.total_steps
    write_checkpoint(dataclasses.replace(stopped, seconds=29.9 * 60), output)
    lines = []
    report = run(prose, output, resume=True, minutes=30, say=lines.append,
                 callbacks=[after(5, press())])  # fmt: skip
    assert report.seconds > 29.9 * 60
    going_on = [line for line in lines if line.startswith("going on")]
    assert f" of {planned:,}, " in going_on[0], "planned once"
    longer = run(prose, output, resume=True, minutes=33, say=lines.append,
                 callbacks=[after(7, press())])  # fmt: skip
    planned_anew, _ = read_checkpoint(output)
    assert longer.steps == 7
    left_s = (33 - 29.9) * 60
    assert 5 + (left_s - 120) / 0.02 < planned_anew.total_steps < 5 + left_s / 0.001
    assert planned_anew.lengthened_at == (5,)


def test_more_minutes_do_not_go_beyond_what_is_worth_it(prose, output, monkeypatch):
    monkeypatch.setattr(schedule, "BUDGET_EPOCHS", 1)
    lines = []
    first = run(prose, output, lines.append, minutes=30, **TINY)
    assert first.steps == 22
    assert lines[-1].startswith("the text is short, 1 epochs are all that it is worth")
    again = prepared(prose, output=output, minutes=40, resume=True)
    assert again.finished
    assert "1 epochs are all that a budget comes to" in again.notes[0]
    assert "finished, all its 22 steps are in" in again.notes[1]
    output.unlink()  # with the checkpoint alone it is saved once more
    assert run(prose, output, minutes=40, resume=True).steps == 22


# What is refused


def test_two_trainings_of_one_output(prose, output):
    with prepare(request_of(prose, output, steps=3, **TINY)) as first:
        for options in ({}, {"resume": True}):
            with pytest.raises(OutputError, match="another is running"):
                prepared(prose, output, steps=3, **TINY, **options)
        TrainingSession(first).run()
    run(prose, output, steps=3, **TINY)


def test_an_unfinished_training_is_not_replaced_silently(prose, output):
    run(prose, output, steps=9, callbacks=[after(3, press())], **TINY)
    ready = prepared(prose, output=output, steps=9, **TINY)
    assert "an unfinished training, 3 of 9 steps, is about to" in ready.notes[0]
    former = b"textgen checkpoint, format 1\n" + b"0" * 64 + b"\n{}\nthe arrays"
    for path in checkpoint_paths(output):
        path.write_bytes(former)
    ready = prepared(prose, output=output, steps=9, **TINY)
    assert "about to be replaced" in ready.notes[0]
    assert "an earlier form" in ready.notes[0]


def test_what_killed_trainings_left_is_removed(prose, output):
    output.parent.mkdir()
    names = (".model.h5", ".model.checkpoint", ".model.previous.checkpoint")
    left = [output.with_name(f"{name}.01234567.tmp") for name in names]
    other = output.with_name(".other.h5.01234567.tmp")
    for resume in (False, True):
        for file in (*left, other):
            file.write_bytes(b"half")
        run(prose, output, steps=3 + resume, resume=resume, **TINY)
        assert not any(file.exists() for file in left)
        assert other.exists()


# Losses that are no numbers


class Spoil(keras.callbacks.Callback):
    """Makes weights NaN, as a rate too high does, after so many steps."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.steps:
            self.model.set_weights([w * np.nan for w in self.model.get_weights()])


def test_the_last_good_model_is_saved_when_the_loss_is_none(
    prose, output, always_due, undisturbed
):
    with pytest.raises(TrainingError) as caught:
        run(prose, output, steps=STEPS, callbacks=[Spoil(9)], **TINY)
    message = str(caught.value)
    assert "but was nan at step 10; " in message
    assert "is the model of step 9, when all was well" in message
    assert "`learning_rate`" in message
    model = load_model(output)
    assert np.isfinite(model.network.dense_kernel).all()
    record = model.metadata["training"]
    assert record["steps"] == 9
    assert "nan at step 10" in record["diverged"]
    assert record["interrupted"] is False
    # The checkpoint is sound as well: without what spoilt it, it goes on.
    run(prose, output, resume=True)
    assert_same_end(output, undisturbed)


def test_weights_that_are_none_are_not_saved_at_the_end(prose, output):
    spoil = after(3, lambda: None)
    spoil = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: spoil.model.set_weights(
            [w * np.inf for w in spoil.model.get_weights()]
        )
    )
    with pytest.raises(TrainingError, match=r"weights must be finite .*nothing w"):
        run(prose, output, steps=3, callbacks=[spoil], **TINY)
    assert not output.exists()
    assert read_checkpoint(output)[0].state.global_step == 0


# Disks that are full


def full_from(monkeypatch, n, until=None):
    """Let the n-th file written find the disk full, and those after it."""
    write, calls = atomic_file._write, []

    def fill(path, data):
        calls.append(path.name)
        if n <= len(calls) <= (until or len(calls)):
            path.write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr(atomic_file, "_write", fill)
    return calls


@pytest.mark.slow
def test_a_disk_full_from_any_write_on_leaves_what_was_there(
    prose, output, monkeypatch, undisturbed, always_due
):
    """For every n; and with room again, it goes on and ends the same."""
    stop = 3
    writes = 1 + stop + 1 + 1  # checkpoints: first, each step, last; and the model
    for n in range(1, writes + 1):
        path = output.with_name(f"{n}.h5")
        with monkeypatch.context() as patch:
            full_from(patch, n)
            with pytest.raises(OutputError, match="No space left") as caught:
                run(prose, path, steps=STEPS, callbacks=[after(stop, press())], **TINY)
        assert "\n" not in str(caught.value)
        found, notes = read_checkpoint(path)
        assert notes == []
        step = None if found is None else found.state.global_step
        assert step == (None if n == 1 else min(n - 2, stop))
        assert not path.exists(), "checkpoints come first, and then the model"
        assert not list(path.parent.glob(".*"))
        run(prose, path, resume=True, steps=STEPS, **TINY)
        assert_same_end(path, undisturbed)
    with monkeypatch.context() as patch:
        calls = full_from(patch, writes + 1)
        run(prose, output, steps=STEPS, callbacks=[after(stop, press())], **TINY)
    assert len(calls) == writes, "there is no other write"


def test_a_disk_full_for_a_while_is_told_and_training_goes_on(
    prose, output, monkeypatch, undisturbed, always_due
):
    full_from(monkeypatch, 4, until=6)
    lines = []
    run(prose, output, steps=STEPS, say=lines.append, **TINY)
    told = [line for line in lines if "No space left" in line]
    assert len(told) == 3
    assert all(line.endswith("training goes on and will try again") for line in told)
    assert_same_end(output, undisturbed)


def test_a_model_saved_without_its_last_checkpoint_is_no_success(
    prose, output, monkeypatch
):
    monkeypatch.setattr(checkpoint, "MOST_SHARE", 1e-9)  # only at the beginning and end
    full_from(monkeypatch, 2, until=2)
    with pytest.raises(OutputError, match=r"is saved, but no checkpoint: .*No sp"):
        run(prose, output, steps=3, **TINY)
    assert load_model(output).metadata["training"]["steps"] == 3
    assert read_checkpoint(output)[0].state.global_step == 0


# Stopping


def test_a_second_interrupt_while_saving_leaves_the_save_before(
    prose, output, monkeypatch, undisturbed
):
    write, calls = atomic_file._write, []

    def interrupted(path, data):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(data[:100])
            press()()
        write(path, data)

    monkeypatch.setattr(atomic_file, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(prose, output, steps=STEPS, callbacks=[after(3, press())], **TINY)
    assert sorted(os.listdir(output.parent)) == ["model.checkpoint"]
    assert read_checkpoint(output)[0].state.global_step == 0
    monkeypatch.undo()
    run(prose, output, resume=True)
    assert_same_end(output, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_measuring_at_the_end(
    prose, output, monkeypatch, number, undisturbed
):
    expected = Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def measure(held_out, model):
        os.kill(os.getpid(), number)
        time.sleep(1)

    with monkeypatch.context() as patch:
        patch.setattr(preparation.HeldOut, "measure", measure)
        report = run(prose, output, steps=STEPS, **TINY)
    assert report.interruption is expected
    assert load_model(output).metadata["training"]["interrupted"] is True
    report = run(prose, output, resume=True)
    assert report.interruption is None
    assert_same_end(output, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_it_compiles_nothing_changes(prose, output, number):
    expected = Terminated if number == signal.SIGTERM else KeyboardInterrupt
    before = signal.getsignal(number)
    run(prose, output, steps=9, callbacks=[after(3, press())], **TINY)
    files = {path: path.read_bytes() for path in output.parent.iterdir()}

    def say(line):
        if "batches of 8 windows" in line:
            os.kill(os.getpid(), number)

    with pytest.raises(expected):
        run(prose, output, resume=True, say=say)
    assert {path: path.read_bytes() for path in output.parent.iterdir()} == files
    assert signal.getsignal(number) is before


def test_shards_are_what_they_were_where_that_can_be(prose, output, monkeypatch):
    lines = []
    monkeypatch.setattr(train_step, "available_cores", lambda: 2)
    run(prose, output, steps=3, precision="float32", **TINY)
    monkeypatch.setattr(train_step, "available_cores", lambda: 1)
    run(prose, output, lines.append, resume=True, steps=4)
    (line,) = [line for line in lines if "shards as before" in line]
    assert line.startswith("batches are cut into as many shards as before, 2;")
    assert line.endswith("for this machine's cores it would be 1")
    assert read_checkpoint(output)[0].state.num_shards == 2
    lines.clear()
    monkeypatch.setattr(train_step, "_on_gpu", lambda: True)
    run(prose, output, lines.append, resume=True, steps=5)
    (line,) = [line for line in lines if "shards as before" in line]
    assert line.startswith("batches aren't cut into as many shards as before, 2,")
    assert read_checkpoint(output)[0].state.num_shards == 1
