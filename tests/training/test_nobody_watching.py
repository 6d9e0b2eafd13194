"""Whoever watches a training may leave: it goes on, and saves in the end."""

import contextlib
import io
import os
import select
import signal

import keras
import pytest
from training.helpers import run

from textgen.saving.model_file import load_model
from textgen.system.signals import HANG_UP
from textgen.system.terminal import HungUp, say
from textgen.training import progress, saver
from textgen.training.loop import Training

TINY = {"layers": 1, "units": 8, "seq_length": 4, "batch_size": 8, "steps": 50}


@pytest.fixture(autouse=True)
def shown_at_each_step(monkeypatch):
    monkeypatch.setattr(Training, "calibrate", lambda loop: 0.001)
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0.0)
    monkeypatch.setattr(progress, "SAMPLE_INTERVAL_S", 0.0)


@pytest.fixture
def stderr(monkeypatch):
    """Return a function that lets a file descriptor be standard error."""
    with contextlib.ExitStack() as stack:

        def replace(descriptor):
            file = io.TextIOWrapper(os.fdopen(descriptor, "wb"), line_buffering=True)
            stack.callback(lambda: file.closed or leave_unwritten(file))
            monkeypatch.setattr("sys.stderr", file)
            return file

        yield replace
        monkeypatch.undo()


def leave_unwritten(file):
    os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
    file.close()


def at_step(step, act):
    def after_batch(batch, logs):
        if int(callback.model.optimizer.iterations) == step:
            act()

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=after_batch)
    return callback


def assert_finished(report, output):
    assert (report.steps, report.interruption) == (50, None)
    record = load_model(output).metadata["training"]
    assert (record["steps"], record["interrupted"]) == (50, False)


def test_a_pipe_whose_reader_has_had_enough(prose, output, stderr):
    reading, writing = os.pipe()
    stderr(writing)
    read = []

    def read_and_leave():
        read.append(os.read(reading, 65_536))
        os.close(reading)

    leave = at_step(3, read_and_leave)
    report = run(prose, output, say, [leave], show=True, **TINY)
    assert b"step 2/50" in read[0]
    assert_finished(report, output)


def test_a_log_on_a_full_disk(prose, output, stderr):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    stderr(os.open("/dev/full", os.O_WRONLY))
    report = run(prose, output, say, show=True, **TINY)
    assert_finished(report, output)


def test_a_log_that_was_closed(prose, output, stderr):
    file = stderr(os.open(os.devnull, os.O_WRONLY))
    report = run(prose, output, say, [at_step(3, file.close)], show=True, **TINY)
    assert_finished(report, output)


def test_a_terminal_that_goes_away(prose, output, stderr, capfd, recwarn):
    """Its bar is drawn by another thread, which mustn't fail either."""
    pty = pytest.importorskip("pty")
    watcher, terminal = pty.openpty()
    stderr(terminal)
    seen = bytearray()

    def look():
        while select.select([watcher], [], [], 0)[0]:
            seen.extend(os.read(watcher, 65_536))

    looks = [at_step(step, look) for step in range(1, 30)]
    leave = at_step(30, lambda: os.close(watcher))
    report = run(prose, output, say, [*looks, leave], show=True, **TINY)
    assert b"\x1b[?25l" in seen  # the bar's cursor is hidden
    assert b"epoch 1/3" in seen
    assert_finished(report, output)
    assert not [x for x in recwarn if "thread" in str(x.message).lower()]
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_sample_that_can_not_be_made(prose, output, capsys, monkeypatch):
    def fail(model):
        raise ValueError("expected finite logits")

    monkeypatch.setattr("textgen.training.session.sample_of", fail)
    report = run(prose, output, say, show=True, **TINY)
    assert_finished(report, output)
    assert "(there is no sample: expected finite logits)" in capsys.readouterr().err


@pytest.mark.skipif(HANG_UP is None, reason="needs SIGHUP")
def test_a_terminal_that_goes_away_twice_is_one_end(prose, output, monkeypatch):
    form, signals = saver.saved_form, []

    def hang_up_again(*given):
        if signals:
            signal.raise_signal(HANG_UP)
        return form(*given)

    def hang_up():
        signals.append(HANG_UP)
        signal.raise_signal(HANG_UP)

    monkeypatch.setattr(saver, "saved_form", hang_up_again)
    report = run(prose, output, callbacks=[at_step(9, hang_up)], **TINY)
    assert report.interruption is HungUp
    assert load_model(output).record["interrupted"]
