"""Several processes train as one: the same figures, and none waits for a lost one."""

import shutil
import signal
import time
from unittest.mock import MagicMock

import numpy as np
import pytest
import tensorflow as tf
from training.helpers import (
    PROSE,
    assert_same_arrays,
    assert_same_end,
    request_of,
    run,
)
from training.together import HALVED_AFTER, LIFE_S, Workers, halving, tf_config

import textgen
from textgen.errors import CheckpointError, OptionError, PeerError
from textgen.saving.model_file import load_model
from textgen.training import step
from textgen.training.checkpoint import read_checkpoint
from textgen.training.cluster import Cluster
from textgen.training.distributed import Team, peers_of
from textgen.training.setup import windows_as_told

TRAINING = {
    "kind": "text", "layers": 1, "units": 8, "seq_length": 5, "batch_size": 16,
    "dropout": 0.3, "schedule": "averaged", "clip_norm": 0.2, "steps": 200,
    "precision": "float32", "seed": 5,
}  # fmt: skip
TIMEOUT_S = 10


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "hour.txt"
    path.write_text(PROSE)
    return path


@pytest.fixture(scope="module")
def start(tmp_path_factory, text):
    """Return a function that starts workers of the training."""
    started = []

    def start_some(output, *more, count=2, **options):
        words = [f"{text}", "--output", f"{output}", "--distribute", "multiworker"]
        for name, value in TRAINING.items():
            option = "window" if name == "seq_length" else name.replace("_", "-")
            words += [f"--{option}", f"{value}"]
        words += ["--peer-timeout", f"{TIMEOUT_S}", "--keep-checkpoint", *more]
        folder = tmp_path_factory.mktemp("workers")
        started.append(Workers(folder, count, words, **options))
        return started[-1]

    yield start_some
    for workers in started:
        for process in workers.processes:
            process.kill()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, start):
    """Two workers that trained to the end, and their model."""
    output = tmp_path_factory.mktemp("whole") / "whole.h5"
    workers = start(output)
    assert workers.ends()[0] == [0, 0], workers.messages
    return workers, output


def alone(text, folder):
    """Train by this process alone; return the model's path."""
    callbacks = [halving(HALVED_AFTER)]
    return run(text, folder / "alone.h5", callbacks=callbacks, **TRAINING).path


def assert_close_ends(output, alone):
    """Compare the end of a training by several processes with that of one."""
    ours, theirs = (read_checkpoint(path)[0].state for path in (output, alone))
    assert (ours.num_shards, ours.rate_scale) == (theirs.num_shards, 0.5)
    np.testing.assert_allclose(ours.epoch_losses, theirs.epoch_losses, atol=1e-4)
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-3)
    records = [load_model(path).metadata["training"] for path in (output, alone)]
    nats = [record["held_out_nats_per_char"] for record in records]
    assert nats[0] == pytest.approx(nats[1], abs=1e-4)


def test_two_processes_train_as_one(undisturbed, text, tmp_path, monkeypatch):
    monkeypatch.setattr(step, "available_cores", lambda: 2)  # as many shards
    assert_close_ends(undisturbed[1], alone(text, tmp_path))


def test_the_processes_weights_are_the_same_and_only_the_chief_writes(undisturbed):
    workers, output = undisturbed
    assert_same_arrays(workers.weights(0), workers.weights(1))
    (out, _), (nothing, role) = workers.messages
    assert (out, nothing) == (f"{output}\n", "")
    assert role.startswith("worker 1 (127.0.0.1:")
    assert role.count("\n") == 1
    names = {path.name for path in output.parent.iterdir()}
    names.discard("whole.png")  # where matplotlib is installed
    assert names == {"whole.h5", "whole.checkpoint", "whole.log.jsonl"}


def test_after_a_signal_or_a_silence_nothing_is_lost(undisturbed, start, tmp_path):
    output = tmp_path / "hurt.h5"
    # A signal to one ends all, and the chief saves.
    workers = start(output, call_s=0.1)
    workers.wait_for_step(output)
    workers.kill(1, signal.SIGTERM)
    assert workers.ends()[0] == [143, 143], workers.messages
    done = read_checkpoint(output)[0].state.global_step
    assert 0 < done < TRAINING["steps"]
    assert load_model(output).metadata["training"]["steps"] == done
    to_go_on, last = workers.messages[0][1].splitlines()[-2:]
    assert ("--resume --distribute multiworker" in to_go_on, last) == (
        True,
        "interrupted",
    )
    # One falls silent: the other says so in time.
    workers = start(output, "--resume", call_s=0.1)
    safe = workers.wait_for_step(output, done)
    assert f"going on at step {done}" in workers.messages[0][1]
    workers.kill(1, signal.SIGSTOP)
    statuses, waited_s = workers.ends(0)
    assert (statuses, waited_s < 2 * TIMEOUT_S) == ([2], True), workers.messages
    last = workers.messages[0][1].splitlines()[-1]
    assert last.startswith("error: expected all 2 workers to take part, but worker 1 ")
    assert last.endswith("start all of them again with --resume")
    workers.kill(1)
    # In the end all is as if nothing had happened, bit for bit.
    assert read_checkpoint(output)[0].state.global_step >= safe
    workers = start(output, "--resume")
    assert workers.ends()[0] == [0, 0], workers.messages
    assert_same_end(output, undisturbed[1])


@pytest.mark.long
def test_four_processes_of_which_one_is_killed_end_as_if_none_had_been(
    start, text, tmp_path, monkeypatch
):
    whole, output = tmp_path / "whole.h5", tmp_path / "hurt.h5"
    workers = start(whole, count=4)
    assert workers.ends()[0] == [0] * 4, workers.messages
    for index in (1, 2, 3):
        assert_same_arrays(workers.weights(0), workers.weights(index))
    monkeypatch.setattr(step, "available_cores", lambda: 4)  # as many shards
    assert_close_ends(whole, alone(text, tmp_path))
    workers = start(output, count=4, call_s=0.2)
    workers.wait_for_step(output)
    workers.kill(2)
    statuses, waited_s = workers.ends(0, 1, 3)
    assert (statuses, waited_s < 3 * TIMEOUT_S) == ([2] * 3, True), workers.messages
    assert "worker 2 (127" in workers.messages[0][1].splitlines()[-1]
    workers = start(output, "--resume", count=4)
    assert workers.ends()[0] == [0] * 4, workers.messages
    assert_same_end(output, whole)


# What is refused


@pytest.fixture
def team(monkeypatch):
    """The chief of three that aren't there."""
    addresses = ("here:1", "there:1", "there:2")
    tasks = tuple(("worker", n) for n in range(3))
    made = Team(Cluster(tasks, addresses, 0), several(1, 3), timeout_s=0.3)
    monkeypatch.setattr(made, "_answers", lambda index: True)
    return made


def test_what_waits_for_a_silent_process_ends_in_time(team, monkeypatch):
    def wait():
        with pytest.raises(PeerError) as caught:
            team.call(lambda: time.sleep(LIFE_S))
        return str(caught.value)

    started = time.monotonic()
    assert "they only answer that they are there" in wait()
    assert 3 < time.monotonic() - started < 60
    monkeypatch.setattr(team, "_answers", lambda index: index != 2)
    started = time.monotonic()
    assert "but worker 2 (there:2) does not answer to the chief (here:1)" in wait()
    assert time.monotonic() - started < 3
    monkeypatch.setattr(team, "_answers", lambda index: False)
    assert "worker 1 (there:1), worker 2 (there:2) do not answer" in wait()


def test_what_fails_elsewhere_is_raised_here_as_it_is_or_as_a_loss(team):
    def fail(error):
        raise error

    with pytest.raises(ZeroDivisionError):
        team.call(lambda: 1 / 0)
    lost = tf.errors.UnavailableError(None, None, "socket closed\nsecond line")
    with pytest.raises(PeerError, match=r"was lost \(socket closed\)") as caught:
        team.call(lambda: fail(lost))
    assert "\n" not in str(caught.value)


def test_a_worker_that_cannot_take_part_is_named_to_the_others(team, monkeypatch):
    monkeypatch.setattr(team, "exchange", lambda mine: np.array([mine, [1], [0]]))
    with pytest.raises(PeerError, match=r"worker 2 \(there:2\) can't"):
        team.all_ready()
    team.all_ready(False)  # it raises its own reason instead


def test_a_finished_training_dismisses_its_workers(start, undisturbed, tmp_path):
    output = tmp_path / "done.h5"
    shutil.copy(undisturbed[1], output)
    workers = start(output, "--resume")
    assert workers.ends()[0] == [0, 0], workers.messages
    assert output.read_bytes() == undisturbed[1].read_bytes()
    assert "is finished" in workers.messages[0][1]
    assert workers.messages[1][1].count("\n") == 1, workers.messages


def test_a_worker_refuses_another_text_than_the_chiefs(undisturbed, tmp_path):
    plan, _ = read_checkpoint(undisturbed[1])
    other = tmp_path / "hour.txt"
    other.write_text(PROSE + "and a word")
    with pytest.raises(CheckpointError, match="expected the text"):
        windows_as_told(request_of(other, None), plan)


# Of one machine


@pytest.mark.parametrize("distribute", ["mirrored", "multiworker"])
def test_one_device_of_one_machine_trains_as_ever(
    distribute, text, tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("TF_CONFIG", tf_config(["localhost:5000"], 0))
    options = TRAINING | {"steps": 3, "keep_checkpoint": True}
    paths = [tmp_path / "usual.h5", tmp_path / "distributed.h5"]
    textgen.train(text, output=paths[0], stateful=False, **options)
    textgen.train(text, output=paths[1], distribute=distribute, **options)
    assert_same_end(*paths)
    before = paths[1].read_bytes()
    again = textgen.train(text, output=paths[1], distribute=distribute, resume=True)
    assert (again, paths[1].read_bytes()) == (paths[1], before)
    assert "WARNING" not in capfd.readouterr().err


def several(devices_here, devices):
    strategy = MagicMock(num_replicas_in_sync=devices)
    strategy.extended.worker_devices = ["CPU:0"] * devices_here
    return strategy


@pytest.mark.parametrize(
    ("distribute", "strategy", "said"),
    [("mirrored", several(1, 1), "`distribute` or `strategy`, not both"),
     (None, several(1, 2), "for several machines give `distribute` multiworker")],
)  # fmt: skip
def test_strategies_that_are_refused(distribute, strategy, said):
    with pytest.raises(OptionError, match=said):
        peers_of(distribute, None, 60, strategy)
