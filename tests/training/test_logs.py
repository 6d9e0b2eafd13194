"""The logs of a training: the file beside the model, --csv and --tensorboard."""

import csv
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from training.helpers import make_row, run, timeless, written_rows

from textgen.errors import OptionError, OutputError
from textgen.saving.model_file import load_model
from textgen.system.process import is_installed
from textgen.training import logs
from textgen.training.history import EpochRow, history_path
from textgen.training.logs import NO_LOGS, Logs, row_logs

TINY = {"layers": 1, "units": 8, "seq_length": 4, "batch_size": 8, "dropout": 0.3}
OWN_FILES = [
    "model.h5", "model.previous.h5", "model.checkpoint", "model.previous.checkpoint",
    "model.log.jsonl", "model.png",
]  # fmt: skip


# The file beside the model


@pytest.fixture
def rows():
    return [make_row(n, 3.0 - n, sample=f"{n}\n☃") for n in range(4)]


def test_lines_are_appended_as_rows_come(tmp_path, rows):
    path, said = tmp_path / "model.log.jsonl", []
    path.write_text("of another training\n")
    (file,) = row_logs(NO_LOGS, path.with_name("model.h5"), said.append)
    for count in (0, 1, 2, 4):
        file.update(rows[:count])
        lines = path.read_text().splitlines()
        assert [EpochRow(**json.loads(line)) for line in lines] == rows[:count]
    path.write_text("what is there is not touched\n")
    file.update([*rows, rows[0]])
    assert path.read_text().startswith("what is there is not touched\n{")
    assert said == []


def test_a_file_that_can_not_be_written_is_told_once_and_made_anew(tmp_path, rows):
    path, said = tmp_path / "model.log.jsonl", []
    (file,) = row_logs(NO_LOGS, path.with_name("model.h5"), said.append)
    path.mkdir()
    file.update(rows[:1])
    file.update(rows[:2])
    (line,) = said
    assert "model.log.jsonl" in line
    assert line.endswith("ordinary file; training goes on without it")
    path.rmdir()
    file.update(rows[:3])
    assert [json.loads(x)["epoch"] for x in path.read_text().splitlines()] == [0, 1, 2]
    path.unlink()
    os.mkfifo(path)  # nobody reads it, so that opening it would never end
    file.update(rows)
    path.unlink()
    file.update([*rows, rows[0]])
    epochs = [json.loads(x)["epoch"] for x in path.read_text().splitlines()]
    assert epochs == [0, 1, 2, 3, 0]
    assert len(said) == 1


@pytest.mark.parametrize("place", ["a folder", "/dev/full"])
def test_it_ends_no_training(prose, output, place):
    output.parent.mkdir()
    if place == "a folder":
        history_path(output).mkdir()
    else:
        history_path(output).symlink_to(place)
    lines = []
    report = run(prose, output, lines.append, steps=30, **TINY)
    assert report.steps == 30
    assert sum("training goes on without it" in line for line in lines) == 1
    assert timeless(load_model(output).record["history"])[-1]["step"] == 30


# What the options --csv and --tensorboard write


def test_a_table_of_a_resumed_training_has_each_epoch_once(prose, output, tmp_path):
    """Also of a training that was killed after the last checkpoint."""
    path = tmp_path / "deep" / "log.csv"
    options = TINY | {"steps": 70, "csv": path}
    run(prose, output, interrupt_after=50, **options)
    with open(path, "a") as file:
        file.write("2,9,9,9\r\n3,")
    run(prose, output, resume=True, **options)
    with open(path, newline="") as file:
        table = list(csv.DictReader(file))
    expected = written_rows(output)
    assert len(expected) == 4
    for found, row in zip(table, expected, strict=True):
        assert row.pop("sample")
        assert {name: float(value) for name, value in found.items()} == row
    run(prose, output, **options | {"steps": 1})
    assert len(path.read_text().splitlines()) == 2  # a new training begins it anew


def test_what_was_not_measured_is_empty(prose, output, tmp_path):
    path = tmp_path / "log.csv"
    run(prose, output, csv=path, held_out=0, steps=1, **TINY)
    (row,) = csv.DictReader(path.read_text().splitlines())
    assert (row["val_loss"], row["step"]) == ("", "1")


@pytest.mark.parametrize(
    ("option", "place", "expected"),
    [
        ("csv", "hour.txt", "`csv` must be a new file, or a log .*'hour.txt'"),
        ("csv", "hour.txt/log.csv", "can't be written .it is a file"),
        ("csv", "epochs.txt", "can't be that"),
        ("csv", ".", "can't be that"),
        ("csv", "a\0b", "can't be written"),
        ("csv", "deep/" + "long" * 70, "can't be written"),
        ("tensorboard", "hour.txt", "`tensorboard` needs a folder.*it is a file"),
    ],
)
def test_bad_places_for_logs_are_refused_before_the_text_is_read(
    prose, tmp_path, monkeypatch, option, place, expected
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "is_installed", lambda name: True)
    Path("epochs.txt").write_text("epoch, thou epoch of the sea")
    before = prose.read_text()
    with pytest.raises(OutputError, match=expected):
        run("no such text.txt", None, **TINY, **{option: place})
    assert prose.read_text() == before


@pytest.mark.parametrize("name", OWN_FILES)
def test_a_log_is_none_of_the_trainings_own_files(prose, output, name):
    with pytest.raises(OptionError, match="`csv` must write another file than"):
        run(prose, output, csv=output.with_name(name), **TINY)


def test_a_missing_tensorboard_is_said_before_the_text_is_read(monkeypatch):
    monkeypatch.setattr(logs, "is_installed", lambda name: False)
    with pytest.raises(OptionError, match=r"pip install 'textgen-lstm\[tensorboard\]'"):
        run("no such text.txt", None, **TINY, tensorboard="logs")


has_tensorboard = pytest.mark.skipif(
    not is_installed("tensorboard"), reason="needs tensorboard"
)


@has_tensorboard
def test_tensorboard_finds_each_epoch_once(rows, tmp_path, monkeypatch):
    """Also where a killed process had written more, and begun another event."""
    folder, said = tmp_path / "board", []
    folder.mkdir()
    for second, count in enumerate((4, 2)):
        for file in folder.glob("*/*"):
            with open(file, "ab") as more:
                more.write(file.read_bytes()[:30])
        clock = SimpleNamespace(time=lambda second=second: 1e9 + second)
        monkeypatch.setattr(logs, "time", clock)
        log = row_logs(Logs(tensorboard=folder), tmp_path / "m.h5", said.append)[1]
        for end in range(count + 1):
            log.update(rows[:end])
    log.update([rows[0], rows[1], make_row(2, None, loss=9.0)])
    assert scalars(folder / "train", "epoch_loss") == {0: 2.0, 1: 2.0, 2: 9.0}
    assert scalars(folder / "train", "epoch_learning_rate")[1] == np.float32(0.1)
    assert scalars(folder / "validation", "epoch_loss") == {0: 3.0, 1: 2.0}
    assert said == []


@has_tensorboard
def test_tensorboard_is_told_of_a_training(prose, output, tmp_path):
    folder = tmp_path / "board"
    run(prose, output, tensorboard=folder, steps=30, **TINY)
    rows = written_rows(output)
    for part, tag, name in (
        ("train", "epoch_loss", "loss"),
        ("validation", "epoch_loss", "val_loss"),
        ("validation", "epoch_accuracy", "val_accuracy"),
    ):
        expected = {row["epoch"]: np.float32(row[name]) for row in rows}
        assert scalars(folder / part, tag) == expected


def scalars(folder, tag):
    """Return the values of a tag by their steps, as TensorBoard reads them."""
    from tensorboard.backend.event_processing import plugin_event_accumulator

    events = plugin_event_accumulator.EventAccumulator(str(folder))
    events.Reload()
    found, times = {}, []
    for event in events.Tensors(tag):
        assert event.step not in found
        (found[event.step],) = event.tensor_proto.float_val or np.frombuffer(
            event.tensor_proto.tensor_content, "f4"
        )
        times.append(event.wall_time)
    assert times == sorted(times)
    return found
