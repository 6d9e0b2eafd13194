"""Trainings that are stopped, go wrong or find no room, and go on: end to end, tiny."""

import dataclasses
import errno
import os
import signal
import time
from unittest.mock import Mock

import keras
import numpy as np
import pytest
from training.helpers import (
    PROSE,
    assert_same_end,
    prepared,
    request_of,
    run,
    spoil,
)

from textgen.errors import CheckpointError, OutputError, TrainingError
from textgen.saving.model_file import load_model
from textgen.system import files as atomic_file
from textgen.system.signals import HANG_UP, SIGNALS
from textgen.system.terminal import HungUp, Terminated
from textgen.training import checkpoint, schedule, session
from textgen.training import setup as preparation
from textgen.training import step as train_step
from textgen.training.checkpoint import (
    checkpoint_paths,
    read_checkpoint,
    write_checkpoint,
)
from textgen.training.session import TrainingSession
from textgen.training.setup import prepare

TINY = {
    "layers": 1, "units": 8, "seq_length": 4, "batch_size": 8, "dropout": 0.3,
    "schedule": "averaged",
}  # fmt: skip
pytestmark = pytest.mark.usefixtures("one_step_a_call")
STEPS = 50  # two epochs of 22 steps and a bit
needs_hang_up = pytest.mark.skipif(HANG_UP is None, reason="POSIX only")
EACH_SIGNAL = pytest.mark.parametrize(("number", "expected"), SIGNALS.items())


@pytest.fixture
def always_due(monkeypatch):
    """A checkpoint is written after each compiled call."""
    monkeypatch.setattr(checkpoint, "INTERVAL_S", 0.0)
    monkeypatch.setattr(checkpoint, "MOST_SHARE", 1e9)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    (folder / "hour.txt").write_text(PROSE)
    run(folder / "hour.txt", folder / "whole.h5", steps=STEPS, **TINY)
    return folder / "whole.h5"


# Going on


@pytest.mark.parametrize(
    ("number", "expected", "stops"),
    [
        (signal.SIGINT, KeyboardInterrupt, (1, 23, 49)),
        (signal.SIGTERM, Terminated, (22,)),
        pytest.param(HANG_UP, HungUp, (2,), marks=needs_hang_up),
    ],
)
def test_stopped_and_resumed_it_ends_the_same(
    prose, output, undisturbed, number, expected, stops
):
    options = dict(TINY, steps=STEPS)
    for stop in stops:
        stopping = {"interrupt_after": stop, "number": number}
        report = run(prose, output, **stopping, resume=stop != stops[0], **options)
        assert (report.steps, report.interruption) == (stop, expected)
        assert report.held_out_nats is None
        assert read_checkpoint(output)[0].state.global_step == stop
        assert load_model(output).metadata["training"]["interrupted"] is True
        options = {}  # what is not given is as it was
    report = run(prose, output, resume=True)
    assert (report.steps, report.interruption) == (STEPS, None)
    assert_same_end(output, undisturbed)


def test_more_of_a_finished_training(prose, output):
    run(prose, output, steps=5, **TINY)
    finished = output.read_bytes()
    lines = []
    report = run(prose, output, resume=True, steps=30, say=lines.append)
    assert report.steps == 30
    assert lines[-1].startswith("going on at step 5 of 30, about ")
    assert report.previous.read_bytes() == finished
    record, before = (load_model(p).metadata for p in (output, report.previous))
    assert record["training"]["run"] == before["training"]["run"]
    assert record["training"]["lengthened_at"] == [5]
    assert record["config"]["training"]["steps"] == 30
    assert read_checkpoint(output)[0].total_steps == 30
    # The same two lengths come to the same, wherever else it was stopped.
    other = output.with_name("other.h5")
    run(prose, other, steps=5, **TINY)
    run(prose, other, resume=True, steps=30, interrupt_after=17)
    run(prose, other, resume=True)
    assert_same_end(other, output)


def test_going_on_from_the_older_generation_is_told(prose, output):
    run(prose, output, steps=9, interrupt_after=7, **TINY)
    newest, _ = checkpoint_paths(output)
    newest.write_bytes(newest.read_bytes()[:-9])
    ready = prepared(prose, output=output, resume=True)
    assert ready.checkpoint.state.global_step == 0
    assert "going on from the one before it" in ready.notes[0]


def test_a_saved_model_with_new_symbols_is_gone_on_from_and_resumed(prose, output):
    """Ids are those of the saved model's vocabulary, not of the text's."""
    run(prose, output, steps=3, **TINY)
    text = prose.with_name("more.txt")
    text.write_text("!?" * 20 + PROSE)
    one, other = output.with_name("one.h5"), output.with_name("other.h5")
    run(text, one, init_from=output, steps=9)
    run(text, other, init_from=output, steps=9, interrupt_after=4)
    run(text, other, resume=True)
    assert load_model(other).vocabulary.symbols[-2:] == ("!", "?")
    assert_same_end(other, one)


def test_the_same_command_with_resume_goes_on(prose, output, monkeypatch):
    """Whatever it began with; other first weights are refused."""
    monkeypatch.chdir(prose.parent)
    run(prose, output, steps=3, **TINY)
    scratch = output.with_name("scratch.h5")
    run(prose, scratch, from_scratch=True, steps=9, interrupt_after=4, **TINY)
    on = output.with_name("on.h5")
    run(None, on, init_from=output, steps=9, interrupt_after=4)
    ready = prepared(None, on, init_from=output, resume=True, steps=9)
    assert ready.checkpoint.state.global_step == 4
    for path, options in (
        (on, {"from_scratch": True}),
        (scratch, {"init_from": on}),
    ):
        with pytest.raises(CheckpointError, match="leave `"):
            prepared(prose, path, resume=True, **options)
    resumed = run(prose, scratch, from_scratch=True, resume=True, steps=9, **TINY)
    assert resumed.steps == 9


def test_minutes_go_on_counting(prose, output, monkeypatch):
    """As planned after 29.9 minutes of 33; a slow machine starts within two of them."""
    monkeypatch.setattr(schedule, "BUDGET_EPOCHS", 10**6)
    # Only the step's time, of the fixture above, makes the plan.
    monkeypatch.setattr(preparation.HeldOut, "measure", lambda *_, **__: None)
    run(prose, output, minutes=30, interrupt_after=3, **TINY)
    stopped, _ = read_checkpoint(output)
    planned = stopped.total_steps
    write_checkpoint(dataclasses.replace(stopped, seconds=29.9 * 60), output)
    lines = []
    report = run(prose, output, lines.append, resume=True, interrupt_after=5)
    assert report.seconds > 29.9 * 60
    going_on = [line for line in lines if line.startswith("going on")]
    assert f" of {planned:,}, " in going_on[0], "planned once"
    longer = run(prose, output, resume=True, minutes=33, interrupt_after=7)
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


def test_one_that_a_callback_stopped_is_finished_and_leaves_no_checkpoint(
    prose, output
):
    stop = keras.callbacks.EarlyStopping("loss", patience=0, mode="max")
    report = run(
        prose, output, callbacks=[stop], keep_checkpoint=False, steps=STEPS, **TINY
    )
    assert report.steps == 44  # when the loss of a second epoch was no greater
    assert sorted(os.listdir(output.parent)) == ["model.h5", "model.log.jsonl"]
    ready = prepared(prose, output, resume=True)
    assert ready.finished
    assert "all its 44 steps are in" in ready.notes[0]
    with pytest.raises(CheckpointError, match="its checkpoint is gone"):
        prepared(prose, output, resume=True, steps=STEPS + 1)


@pytest.mark.parametrize("writes_last", [True, False])
def test_one_that_was_killed_after_it_was_saved_is_finished(
    prose, output, monkeypatch, disk_full_at, writes_last
):
    """Its checkpoints are there still, the last of them if it could be written."""

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "MOST_SHARE", 1e-9)
        patch.setattr(session, "remove_checkpoints", Mock(side_effect=SystemExit))
        if not writes_last:
            disk_full_at(2)
        with pytest.raises(SystemExit):
            run(prose, output, keep_checkpoint=False, steps=3, **TINY)
    assert read_checkpoint(output)[0].state.global_step == 3 * writes_last
    model = output.read_bytes()
    assert not any("unfinished" in x for x in prepared(prose, output, **TINY).notes)
    if writes_last:
        longer = prepared(prose, output, resume=True, steps=4)
        assert (longer.finished, longer.checkpoint.state.global_step) == (False, 3)
        kept = prepared(prose, output, resume=True, keep_checkpoint=True)
        assert (kept.finished, read_checkpoint(output)[0] is None) == (True, False)
    ready = prepared(prose, output, resume=True)
    assert ready.finished
    assert "all its 3 steps are in" in ready.notes[0]
    assert ready.notes[0].endswith("for more go on from it with `init_from`")
    assert sorted(os.listdir(output.parent)) == ["model.h5", "model.log.jsonl"]
    assert output.read_bytes() == model


def test_a_checkpoint_is_not_of_the_model_of_an_earlier_training(prose, output):
    """Which is finished, has more steps, and was not replaced since it was killed."""
    run(prose, output, steps=5, keep_checkpoint=False, **TINY)
    before = output.read_bytes()
    run(prose, output, steps=9, interrupt_after=3, **TINY)
    output.write_bytes(before)
    notes = prepared(prose, output, steps=9, **TINY).notes
    assert any("an unfinished training, 3 of 9 steps" in note for note in notes)
    ready = prepared(prose, output, resume=True)
    assert (ready.finished, ready.checkpoint.state.global_step) == (False, 3)


def test_a_kept_checkpoint_stays_where_it_is_asked_if_there_is_more(prose, output):
    run(prose, output, steps=3, **TINY)
    for _ in range(2):
        ready = prepared(prose, output, resume=True)
        assert ready.finished
        assert ready.notes[0].endswith("for more give a greater length, `steps` 6 say")
    assert read_checkpoint(output)[0].state.global_step == 3


# What is refused


def test_two_trainings_of_one_output(prose, output):
    with prepare(request_of(prose, output, steps=3, **TINY)) as first:
        for options in ({}, {"resume": True}):
            with pytest.raises(OutputError, match="another is running"):
                prepared(prose, output, steps=3, **TINY, **options)
        TrainingSession(first).run()
    run(prose, output, steps=3, **TINY)


def test_an_unfinished_training_is_not_replaced_silently(prose, output):
    run(prose, output, steps=9, interrupt_after=3, **TINY)
    ready = prepared(prose, output=output, steps=9, **TINY)
    assert "an unfinished training, 3 of 9 steps, is about to" in ready.notes[0]
    for path in checkpoint_paths(output):
        path.write_bytes(b"of another program")
    ready = prepared(prose, output=output, steps=9, **TINY)
    assert "about to be replaced" in ready.notes[0]


@pytest.mark.parametrize("resume", [False, True])
def test_what_killed_trainings_left_is_removed(prose, output, resume):
    output.parent.mkdir()
    left = [
        output.with_name(f".{name}.01234567.tmp")
        for name in ("model.h5", "model.checkpoint", "model.previous.checkpoint")
    ]
    other = output.with_name(".other.h5.01234567.tmp")
    for file in (*left, other):
        file.write_bytes(b"half")
    prepared(prose, output, steps=3, resume=resume, **TINY)
    assert list(output.parent.glob(".*.tmp")) == [other]


# Losses that are no numbers


def test_the_last_good_model_is_saved_when_the_loss_is_none(
    prose, output, always_due, undisturbed
):
    with pytest.raises(TrainingError) as caught:
        run(prose, output, steps=STEPS, callbacks=[spoil(9)], **TINY)
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


# Disks that are full


@pytest.fixture
def disk_full_at(monkeypatch):
    """Return a function: the n-th file to be written finds the disk full."""

    def fill_at(n):
        write, calls = atomic_file._write, []

        def fill(path, data):
            calls.append(path)
            write(path, data)
            if len(calls) == n:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(atomic_file, "_write", fill)

    return fill_at


@pytest.mark.parametrize(
    ("failing", "match", "step", "saved"),
    [
        (1, "No space left", None, False),  # the first checkpoint
        (2, r"is saved, but no checkpoint: .*No sp", 0, True),  # the last one
        (3, "No space left", 3, False),  # the model
    ],
)
def test_a_disk_that_is_full_for_one_file_leaves_the_others(
    prose, output, monkeypatch, disk_full_at, failing, match, step, saved
):
    """And with room again it goes on, and all is there."""
    # Checkpoints only at the beginning and at the end.
    monkeypatch.setattr(checkpoint, "MOST_SHARE", 1e-9)
    disk_full_at(failing)
    with pytest.raises(OutputError, match=match):
        run(prose, output, steps=3, **TINY)
    found, notes = read_checkpoint(output)
    assert notes == []
    assert (found and found.state.global_step) == step
    assert output.exists() == saved
    assert not list(output.parent.glob(".*"))
    run(prose, output, resume=True, steps=3, **TINY)
    assert load_model(output).metadata["training"]["steps"] == 3
    assert read_checkpoint(output)[0].state.global_step == 3


def test_a_last_checkpoint_that_would_be_removed_need_not_be_written(
    prose, output, monkeypatch, disk_full_at
):
    monkeypatch.setattr(checkpoint, "MOST_SHARE", 1e-9)
    disk_full_at(2)
    assert run(prose, output, keep_checkpoint=False, steps=3, **TINY).steps == 3
    assert sorted(os.listdir(output.parent)) == ["model.h5", "model.log.jsonl"]


def test_a_disk_that_is_full_for_a_while_is_told_and_training_goes_on(
    prose, output, always_due, disk_full_at
):
    disk_full_at(2)
    lines = []
    assert run(prose, output, lines.append, steps=3, **TINY).steps == 3
    (told,) = (line for line in lines if "No space left" in line)
    assert told.endswith("training goes on and will try again")


# Stopping


def test_a_second_interrupt_while_saving_leaves_the_save_before(
    prose, output, monkeypatch, undisturbed
):
    write, calls = atomic_file._write, []

    def interrupted(path, data):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(data[:100])
            os.kill(os.getpid(), signal.SIGINT)
        write(path, data)

    monkeypatch.setattr(atomic_file, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(prose, output, steps=STEPS, interrupt_after=3, **TINY)
    assert sorted(os.listdir(output.parent)) == ["model.checkpoint", "model.log.jsonl"]
    assert read_checkpoint(output)[0].state.global_step == 0
    monkeypatch.undo()
    run(prose, output, resume=True)
    assert_same_end(output, undisturbed)


@EACH_SIGNAL
def test_interrupted_while_measuring_at_the_end(
    prose, output, monkeypatch, number, expected, undisturbed
):
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


@EACH_SIGNAL
def test_stopped_while_it_compiles_nothing_changes(prose, output, number, expected):
    before = signal.getsignal(number)
    run(prose, output, steps=9, interrupt_after=3, **TINY)
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
    assert line.startswith("batches can't be cut into as many shards as before, 2,")
    assert read_checkpoint(output)[0].state.num_shards == 1
