"""The checkpoint file: exact, whole or refused, two generations; when it is written."""

import hashlib
import io
import json
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from training.helpers import assert_same_arrays, assert_same_state, make_checkpoint

from textgen.errors import CheckpointError, OutputError, TrainingError
from textgen.training import checkpoint
from textgen.training.checkpoint import (
    HASH_CHARS,
    INTERVAL_S,
    MOST_SHARE,
    CheckpointWriter,
    TrainingState,
    checkpoint_paths,
    decode_checkpoint,
    encode_checkpoint,
    library_versions,
    read_checkpoint,
    write_checkpoint,
)


def test_versions_of_what_is_not_installed_as_a_package(monkeypatch):
    missing = checkpoint.packages.PackageNotFoundError("tensorflow-cpu, say")
    monkeypatch.setattr(checkpoint.packages, "version", Mock(side_effect=missing))
    assert library_versions()["tensorflow"] == "not installed as a package"


@pytest.fixture
def output(tmp_path):
    return tmp_path / "model.h5"


def test_what_is_read_is_what_was_written(output):
    written = make_checkpoint()
    write_checkpoint(written, output)
    found, notes = read_checkpoint(output)
    assert notes == []
    assert_same_arrays(found.best_weights, written.best_weights)
    plain = [vars(replace(x, state=None, best_weights=())) for x in (found, written)]
    assert plain[0] == plain[1]
    assert_same_state(found.state, written.state)


def test_the_older_is_used_when_the_newer_is_damaged_and_that_is_said(output):
    assert read_checkpoint(output) == (None, [])
    for step in (1, 2, 3):
        write_checkpoint(make_checkpoint(step), output)
    newest, previous = checkpoint_paths(output)
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)
    found, (note,) = read_checkpoint(output)
    assert found.state.global_step == 2
    assert "damaged" in note
    assert note.endswith(f"going on from the one before it, {str(previous)!r}")
    newest.unlink()
    assert read_checkpoint(output)[0].state.global_step == 2
    write_checkpoint(make_checkpoint(5), output)
    assert read_checkpoint(output)[0].state.global_step == 5
    assert sorted(output.parent.iterdir()) == [newest, previous]


def test_only_damaged_ones_are_refused(output):
    newest, previous = checkpoint_paths(output)
    newest.write_bytes(b"")
    previous.mkdir()
    with pytest.raises(CheckpointError, match="leave out `resume`") as caught:
        read_checkpoint(output)
    assert "Is a directory" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_flipped_bit_and_every_truncation_is_noticed():
    data = encode_checkpoint(make_checkpoint())
    assert len(data) < 8000
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            with pytest.raises(CheckpointError, match="damaged"):
                decode_checkpoint(bytes(flipped))
        with pytest.raises(CheckpointError, match="damaged"):
            decode_checkpoint(data[:at])
    with pytest.raises(CheckpointError, match="damaged"):
        decode_checkpoint(data + b"\0")


@pytest.mark.parametrize(
    "change",
    [
        lambda record, arrays: record.pop("run"),
        lambda record, arrays: record.update(more=1),
        lambda record, arrays: record.update(format=3),
        lambda record, arrays: record["config"]["model"].update(units=0),
        lambda record, arrays: record["config"].pop("windows"),
        lambda record, arrays: record["state"].pop("global_step"),
        lambda record, arrays: record.update(symbols=None),
        lambda record, arrays: arrays.pop("epoch_losses"),
        lambda record, arrays: arrays.pop("variable_0"),
        lambda record, arrays: arrays.update(variable_1=np.array([None])),
        lambda record, arrays: arrays.update(record=np.zeros(3, np.uint8)),
    ],
)
def test_what_another_version_wrote_is_refused(change):
    """Whole, but not what this version writes."""
    with np.load(io.BytesIO(encode_checkpoint(make_checkpoint()))) as file:
        arrays = dict(file)
    record = json.loads(arrays["record"].tobytes())
    arrays["record"] = None
    change(record, arrays)
    if arrays["record"] is None:
        arrays["record"] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, **arrays)
    body = file.getvalue()[:-2] + HASH_CHARS.to_bytes(2, "little")
    data = body + hashlib.sha256(body).hexdigest().encode()
    with pytest.raises(CheckpointError, match="go on with the version") as caught:
        decode_checkpoint(data)
    assert "\n" not in str(caught.value)


# When checkpoints are written, by a clock of our own


class Scene:
    """A training whose time passes only when told, and a disk that can be full."""

    def __init__(self, monkeypatch, write_s=0.1):
        self.now_s, self.write_s = 0.0, write_s
        self.full = False
        self.weight = 1.0
        self.written, self.said = [], []
        clock = SimpleNamespace(monotonic=lambda: self.now_s)
        monkeypatch.setattr(checkpoint, "time", clock)
        monkeypatch.setattr(checkpoint, "write_checkpoint", self.write)
        self.writer = CheckpointWriter(self.current, "model.h5", self.said.append)
        self.writer.write()

    def current(self):
        arrays = (np.array([self.weight]), np.array([3]))
        state = TrainingState(len(self.written), 1.0, 0.1, 1, np.zeros(0), arrays)
        return make_checkpoint(state=state)

    def write(self, made, output):
        assert output == "model.h5"
        self.now_s += self.write_s
        if self.full:
            raise OutputError("the disk is full")
        self.written.append(self.now_s)

    def pass_time(self, seconds, epoch_ended=False):
        """Return whether a checkpoint was written after so many seconds."""
        before = len(self.written)
        self.now_s += seconds
        self.writer.write_if_due(epoch_ended)
        return len(self.written) > before


def test_it_writes_at_first_at_intervals_and_after_epochs_that_are_not_too_near(
    monkeypatch,
):
    scene = Scene(monkeypatch)
    assert len(scene.written) == 1
    assert not scene.pass_time(INTERVAL_S - 1)
    assert scene.pass_time(1)
    assert not scene.pass_time(scene.write_s / MOST_SHARE - 0.5, epoch_ended=True)
    assert not scene.pass_time(1)
    assert scene.pass_time(0, epoch_ended=True)


def test_slow_writes_are_as_rare_as_they_must_be(monkeypatch):
    scene = Scene(monkeypatch, write_s=2.0)
    calls, call_s = 4000, 0.5
    written = sum(scene.pass_time(call_s, epoch_ended=True) for _ in range(calls))
    assert written > 5
    assert written * scene.write_s <= MOST_SHARE * calls * call_s


def test_a_later_one_that_fails_is_told_and_tried_again(monkeypatch):
    scene = Scene(monkeypatch)
    scene.full = True
    assert not scene.pass_time(INTERVAL_S)
    assert scene.said == ["the disk is full; training goes on and will try again"]
    assert "full" in str(scene.writer.failure)
    assert scene.writer.last_good.state.global_step == 1
    scene.full = False
    assert scene.pass_time(INTERVAL_S)
    assert scene.writer.failure is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_never_written(monkeypatch, bad):
    scene = Scene(monkeypatch)
    scene.weight = bad
    with pytest.raises(TrainingError, match="finite"):
        scene.writer.write()
    assert len(scene.written) == 1
    assert scene.writer.last_good.state.global_step == 0
