"""The checkpoint file: exact, whole or refused, two generations."""

import dataclasses
import hashlib
import json
import os

import numpy as np
import pytest

from textgen.config import Config
from textgen.errors import CheckpointError
from textgen.training import checkpoint
from textgen.training.checkpoint import (
    Checkpoint,
    TrainingState,
    checkpoint_paths,
    decode_checkpoint,
    library_versions,
    read_checkpoint,
    write_checkpoint,
)


def test_versions_of_what_is_not_installed_as_a_package(monkeypatch):
    def version(name):
        if name == "tensorflow":
            raise checkpoint.packages.PackageNotFoundError(name)
        return "1.2"

    monkeypatch.setattr(checkpoint.packages, "version", version)
    versions = library_versions()
    assert versions["tensorflow"] == "not installed as a package"
    assert versions["keras"] == "1.2"


def make_checkpoint(step=7, **changes):
    rng = np.random.default_rng(step)
    variables = (
        rng.normal(size=(3, 2)).astype(np.float32),
        np.array(step, np.int64),
        np.array([-0.0, 1e-45, np.float32(np.finfo(np.float32).max)], np.float32),
        np.zeros((0, 4), np.float32),
    )
    losses = rng.random(5).astype(np.float32)
    state = TrainingState(step, 1 / 3, 0.1 + 0.2, 2, losses, variables)
    made = Checkpoint(
        run="5eed",
        config=Config().override(units=16, minutes=0.1),
        corpus={"name": "naïve\n", "kind": "lines", "sha256": "ab" * 32},
        symbols=("\n", "a", "☃"),
        total_steps=900,
        lengthened_at=(300, 600),
        seconds=12.345678901234567,
        versions=library_versions(),
        state=state,
    )
    return dataclasses.replace(made, **changes)


def assert_same(one, two):
    for field in dataclasses.fields(Checkpoint):
        if field.name != "state":
            assert getattr(one, field.name) == getattr(two, field.name)
    for field in dataclasses.fields(TrainingState):
        a, b = (getattr(x.state, field.name) for x in (one, two))
        if field.name == "epoch_losses":
            a, b = (a,), (b,)
        if field.name in ("epoch_losses", "variables"):
            for x, y in zip(a, b, strict=True):
                assert (x.dtype, x.shape, x.tobytes()) == (
                    y.dtype,
                    y.shape,
                    y.tobytes(),
                )
        else:
            assert a == b


@pytest.fixture
def output(tmp_path):
    return tmp_path / "model.h5"


def test_what_is_read_is_what_was_written(output):
    written = make_checkpoint()
    write_checkpoint(written, output)
    found, notes = read_checkpoint(output)
    assert notes == []
    assert_same(found, written)


def test_two_generations_beside_the_model(output):
    for step in (1, 2, 3):
        write_checkpoint(make_checkpoint(step), output)
    assert sorted(os.listdir(output.parent)) == [
        "model.checkpoint",
        "model.previous.checkpoint",
    ]
    newest, previous = (
        decode_checkpoint(path.read_bytes()) for path in checkpoint_paths(output)
    )
    assert (newest.state.step, previous.state.step) == (3, 2)


def test_there_may_be_none(output):
    assert read_checkpoint(output) == (None, [])


def test_the_older_is_used_when_the_newer_is_damaged_and_that_is_said(output):
    for step in (1, 2):
        write_checkpoint(make_checkpoint(step), output)
    newest, previous = checkpoint_paths(output)
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)
    found, notes = read_checkpoint(output)
    assert found.state.step == 1
    (note,) = notes
    assert "model.checkpoint': expected a whole checkpoint, but it is damaged" in note
    assert note.endswith(f"going on from the one before it, {str(previous)!r}")

    write_checkpoint(make_checkpoint(5), output)
    assert read_checkpoint(output)[0].state.step == 5


def test_the_older_is_used_when_the_newer_is_not_there(output):
    for step in (1, 2):
        write_checkpoint(make_checkpoint(step), output)
    checkpoint_paths(output)[0].unlink()
    assert read_checkpoint(output)[0].state.step == 1


def test_only_damaged_ones_are_refused(output):
    newest, previous = checkpoint_paths(output)
    newest.write_bytes(b"")
    previous.mkdir()
    with pytest.raises(CheckpointError, match="leave out --resume to train anew") as e:
        read_checkpoint(output)
    assert "Is a directory" in str(e.value)
    assert "\n" not in str(e.value)


def test_every_flipped_bit_and_every_truncation_is_noticed(output):
    write_checkpoint(make_checkpoint(), output)
    data = checkpoint_paths(output)[0].read_bytes()
    assert len(data) < 4000
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            with pytest.raises(CheckpointError):
                decode_checkpoint(bytes(flipped))
        with pytest.raises(CheckpointError, match="damaged"):
            decode_checkpoint(data[:at])
    with pytest.raises(CheckpointError, match="damaged"):
        decode_checkpoint(data + b"\0")


def test_another_format_is_refused(output, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 2)
    write_checkpoint(make_checkpoint(), output)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="of format 1, but received format 2"):
        decode_checkpoint(checkpoint_paths(output)[0].read_bytes())


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.pop("run"),
        lambda header: header.update(more=1),
        lambda header: header["config"]["model"].update(units=0),
        lambda header: header["config"].pop("windows"),
        lambda header: header["state"].pop("step"),
        lambda header: header["arrays"].append(["<f4", [1 << 40]]),
        lambda header: header["arrays"].pop(0),
        lambda header: header["arrays"][1].__setitem__(0, "O"),
        lambda header: header["arrays"][1].__setitem__(0, "no type"),
        lambda header: header["arrays"][1].__setitem__(1, [-1]),
        lambda header: header["arrays"].clear(),
        lambda header: header["arrays"][0].__setitem__(1, [5, 1]),
        lambda header: header["arrays"][1].__setitem__(1, [1 << 40, 1 << 40]),
        lambda header: header["corpus"].pop("sha256"),
        lambda header: header["corpus"].pop("kind"),
        lambda header: header["corpus"].update(kind="verses"),
        lambda header: header["corpus"].update(name=None),
        lambda header: header.update(corpus=["name", "kind", "sha256"]),
        lambda header: header.update(config="none"),
        lambda header: header.update(run=5),
        lambda header: header.update(versions=["keras"]),
        lambda header: header.update(versions={"keras": 3}),
        lambda header: header.update(symbols="aa"),
        lambda header: header.update(symbols=[97]),
        lambda header: header.update(symbols=[]),
        lambda header: header.update(total_steps=0),
        lambda header: header.update(total_steps=1.5),
        lambda header: header.update(lengthened_at=["300"]),
        lambda header: header.update(seconds=-1),
        lambda header: header.update(seconds=10**400),
        lambda header: header["state"].update(step="7"),
        lambda header: header["state"].update(step=901),
        lambda header: header["state"].update(parts=0),
        lambda header: header["state"].update(parts=True),
        lambda header: header["state"].update(parts=33),
        lambda header: header["state"].update(rate_scale=None),
        lambda header: header["state"].update(last_rate=float("nan")),
    ],
)
def test_what_another_version_wrote_is_refused(output, change):
    """Whole, but not what this version writes."""
    write_checkpoint(make_checkpoint(), output)
    magic, _, line, rest = checkpoint_paths(output)[0].read_bytes().split(b"\n", 3)
    header = json.loads(line)
    change(header)
    body = json.dumps(header).encode() + b"\n" + rest
    digest = hashlib.sha256(body).hexdigest().encode()
    with pytest.raises(CheckpointError, match="use the version that wrote it") as e:
        decode_checkpoint(b"\n".join([magic, digest, body]))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("line", ["[]", "7", "null", '"header"', "[" * 200_000, "x"])
def test_a_header_that_is_no_object_is_refused(line):
    body = line.encode() + b"\n"
    preface = b"textgen checkpoint, format 1\n"
    digest = hashlib.sha256(body).hexdigest().encode()
    with pytest.raises(CheckpointError, match="use the version that wrote it"):
        decode_checkpoint(preface + digest + b"\n" + body)


def test_states_that_are_no_numbers_are_known():
    state = make_checkpoint().state
    assert state.is_finite
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = np.array([0, bad], np.float32)
        assert not dataclasses.replace(state, variables=(spoilt,)).is_finite
