"""Models that are saved while a training goes on, and don't change it."""

import errno
import math
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
from training.helpers import assert_same_end, prepared, run

from textgen.errors import OptionError
from textgen.generation.streaming import generate_output
from textgen.saving.model_file import load_model
from textgen.system import files
from textgen.training import checkpoint, snapshots
from textgen.training.loop import Training
from textgen.training.snapshots import ModelOnTheWay, SnapshotWriter, snapshot_path

pytestmark = pytest.mark.usefixtures("one_step_a_call")
TINY = {
    "layers": 1, "units": 8, "seq_length": 4, "batch_size": 8, "dropout": 0.3,
    "schedule": "averaged", "learning_rate": 0.05, "warmup_steps": 0, "steps": 50,
}  # fmt: skip


@pytest.fixture
def always_due(monkeypatch):
    monkeypatch.setattr(snapshots, "MOST_SHARE", 1e9)


def test_snapshots_are_what_a_shorter_training_saves_and_change_nothing(
    prose, output, always_due, monkeypatch
):
    lines = []
    run(prose, output, lines.append, save_every=1e-9, **TINY)
    paths = [snapshot_path(output, step) for step in range(1, 51)]
    assert sorted(output.parent.glob("model.step-*.h5")) == sorted(paths)
    said = [line for line in lines if "snapshot" in line]
    assert said == [f"a snapshot is saved: {str(path)!r}" for path in paths]
    whole, shorter = output.with_name("whole.h5"), output.with_name("shorter.h5")
    run(prose, whole, **TINY)
    assert_same_end(output, whole)
    run(prose, shorter, **TINY | {"steps": 30})
    snapshot, saved = load_model(paths[29]), load_model(shorter)
    np.testing.assert_array_equal(
        snapshot.network.dense_kernel, saved.network.dense_kernel
    )
    record = snapshot.metadata["training"]
    assert (record["steps"], record["interrupted"]) == (30, False)
    assert record["held_out_nats_per_char"] is None
    assert snapshot.is_unfinished
    assert not load_model(output).is_unfinished
    monkeypatch.chdir(output.parent)
    os.mkdir("models")
    os.rename(paths[29], "models/model.step-30.h5")
    named = generate_output("model.step-30", "Now", length=9, seed=1)
    assert named == generate_output(shorter, "Now", length=9, seed=1)


def test_a_disk_that_is_full_for_snapshots_is_told_once(
    prose, output, always_due, monkeypatch
):
    write = files._write

    def full(path, data):
        if ".step-" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr(files, "_write", full)
    lines = []
    report = run(prose, output, lines.append, save_every=1e-9, **TINY)
    assert (report.steps, load_model(output).is_unfinished) == (50, False)
    (told,) = (line for line in lines if "No space left" in line)
    assert "model.step-1.h5" in told
    assert told.endswith("training goes on without that snapshot")
    assert not list(output.parent.glob("*step*"))


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now_s=0.0, monotonic=lambda: clock.now_s)
    monkeypatch.setattr(snapshots, "time", clock)
    return clock


def test_they_come_every_so_many_minutes_and_take_a_tenth_of_the_time_at_most(
    tmp_path, clock
):
    def current():
        clock.now_s += took_s
        return ModelOnTheWay(int(clock.now_s), b"a model")

    writer = SnapshotWriter(current, tmp_path / "m.h5", 1, print, cost_s=3)
    assert writer.share == 3 / 60
    took_s = 5
    for _ in range(300):
        clock.now_s += 1
        writer.write_if_due()
    # Every 60 seconds after the last one.
    written = sorted(int(re.search(r"\d+", x.name)[0]) for x in tmp_path.iterdir())
    assert written == [65, 130, 195, 260, 325]
    took_s = 30
    for _ in range(700):
        clock.now_s += 1
        writer.write_if_due()
    later = [int(re.search(r"\d+", x.name)[0]) for x in tmp_path.iterdir()]
    assert sorted(later)[5:] == [415, 745, 1075]
    assert writer.share == 0.1
    never = SnapshotWriter(pytest.fail, tmp_path / "m.h5", None, print, cost_s=3)
    clock.now_s += 1e9
    never.write_if_due()
    assert never.share == 0


def test_minutes_leave_time_for_them(prose, output, monkeypatch):
    monkeypatch.setattr(Training, "calibrate", lambda loop: 1.0)
    monkeypatch.setattr("textgen.training.schedule.BUDGET_EPOCHS", 10**6)
    monkeypatch.setattr("textgen.training.setup.HeldOut.measure", lambda *_, **__: None)
    planned = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(SnapshotWriter, "share", share)
        minutes = TINY | {"steps": None, "minutes": 30}
        run(prose, output, interrupt_after=1, **minutes)
        planned.append(checkpoint.read_checkpoint(output)[0].total_steps)
    assert planned[0] / planned[1] == pytest.approx(2.01 / 1.01, rel=0.02)


@pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf, "5", True])
def test_minutes_that_make_no_sense(prose, output, minutes):
    with pytest.raises(OptionError, match="`save_every` must be a number above 0"):
        prepared(prose, output, save_every=minutes, **TINY)
    assert not output.parent.exists()


def test_what_a_killed_process_left_of_them_is_removed(prose, output):
    output.parent.mkdir()
    left = output.with_name(".model.step-120.h5.01234567.tmp")
    others = [
        output.with_name(name)
        for name in ("model.step-120.h5", ".other.step-1.h5.01234567.tmp")
    ]
    for file in (left, *others):
        file.write_bytes(b"half")
    prepared(prose, output, **TINY)
    assert not left.exists()
    assert all(file.exists() for file in others)
