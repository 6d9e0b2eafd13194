"""The command `train`: what it prints where, and one line for what a user gets wrong.

Most tests run it in this process, where TensorFlow is already imported.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from textgen.saving.model_file import load_model
from textgen.training import logs, snapshots
from textgen.training.checkpoint import read_checkpoint

with contextlib.suppress(ImportError):  # POSIX only
    import fcntl
    import pty
    import termios

ROOT = Path(__file__).parents[2]

SMALL = ("--layers", "1", "--units", "4", "--window", "4", "--batch-size", "4")
TINY = ("--steps", "2", *SMALL)
TEXT = "Now is the hour; the sea, the hill, and all between, lie still.\n" * 12
LETTERS = ("--corpus", "letters.txt")
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


@pytest.fixture
def train(run, monkeypatch, tmp_path):
    """Return a function that runs train.py in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    return partial(run, "train")


@pytest.fixture
def letters(tmp_path) -> Path:
    """A text of one's own in the folder in which `train` runs."""
    (tmp_path / "letters.txt").write_text(TEXT)
    return tmp_path / "letters.txt"


@pytest.fixture
def trained(train, letters) -> None:
    """A finished training of that text."""
    assert train(*LETTERS, *TINY).status == 0


# As a process


@pytest.mark.slow
def test_it_tells_what_is_documented_and_nothing_else(start, letters, tmp_path):
    """The path alone on stdout; on stderr no noise of TensorFlow's."""
    process = start("train.py", *LETTERS, *TINY, "--seed", 3, cwd=tmp_path)
    out, err = (stream.decode() for stream in process.communicate(timeout=600))
    assert process.returncode == 0
    assert out == f"{Path('models', 'letters.h5')}\n"
    first, second, *_, held_out, last = err.splitlines()
    assert first == "starting TensorFlow …"
    assert re.match(r"letters: [\d,]+ characters, \d+ symbols, text", second)
    assert re.match(r"held out: [\d.]+ nats/char, [\d.]+ bits/char, perp", held_out)
    assert re.fullmatch(r"2 steps in \d+ s; saved:", last)
    assert "step 2/2  epoch 1/" in err
    assert "\x1b" not in err
    assert not re.search(r"^[IWE]\d{4} |WARNING|Warning", err, re.MULTILINE)
    assert load_model(tmp_path / out.strip()).metadata["training"]["seed"] == 3


@contextlib.contextmanager
def long_training(start, folder: Path, *options: str):
    """Start a long training; yield it once it trains, and its stderr so far."""
    checkpoint, started = folder / "models" / "sonnets.checkpoint", time.time()
    process = start("train.py", *SMALL, "--steps", 1_000_000, *options, cwd=folder)
    until = time.monotonic() + 600
    # Its first checkpoint is the last thing that it does before it trains.
    while not checkpoint.exists() or checkpoint.stat().st_mtime < started:
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < until, "it never began to train"
        time.sleep(0.1)
    time.sleep(1)
    yield process, os.read(process.stderr.fileno(), 65_536).decode()


@pytest.mark.slow
def test_stopped_it_saves_says_so_and_goes_on(start, tmp_path):
    """By Ctrl-C, and by SIGTERM once it goes on and another training was refused."""
    done = 0
    anew = "--save-every", "5", "--csv", "my log.csv", "--peer-timeout", "7.5"
    for number, options in ((signal.SIGINT, anew), (signal.SIGTERM, ("--resume",))):
        with long_training(start, tmp_path, *options) as (process, said):
            if number == signal.SIGTERM:
                assert f"going on at step {done:,} of 1,000,000, about " in said
                second = start("train.py", "--resume", cwd=tmp_path)
                _, err = second.communicate()
                assert second.returncode == 2
                assert err.startswith(b"error: expected to be the only train")
                assert len(err.splitlines()) == 1
            process.send_signal(number)
            out, err = process.communicate(timeout=300)
        assert process.returncode == 128 + number
        assert out == b"models/sonnets.h5\n"
        command = "train.py sonnets --output models/sonnets.h5 --resume"
        if options == anew:
            command += " --save-every 5.0 --csv 'my log.csv' --peer-timeout 7.5"
        hint = f"to go on from here: {command}"
        assert err.decode().splitlines()[-2:] == [hint, "interrupted"]
        record = load_model(tmp_path / "models" / "sonnets.h5").metadata["training"]
        assert record["interrupted"] is True
        checkpoint, _ = read_checkpoint(tmp_path / "models" / "sonnets.h5")
        assert done < record["steps"] == checkpoint.state.global_step < 1_000_000
        done = record["steps"]


# What works


def test_an_earlier_model_is_kept_and_that_is_said(train, trained):
    before = Path("models", "letters.h5").read_bytes()
    result = train(*LETTERS, *TINY, "--seed", 5)
    assert result.out == "models/letters.h5\n"
    assert "the earlier model is kept as 'models/letters.previous.h5'" in result.err
    assert Path("models", "letters.previous.h5").read_bytes() == before


def test_what_was_chosen_is_told_and_inspect_shows_it_with_the_curve(
    train, run, letters
):
    result = train(*LETTERS, *TINY, "--keep-best")
    assert "the best validation figure is that of step 2, " in result.err
    assert "  validation " in result.err
    assert "\nheld out: " in result.err
    shown = run("textgen", "inspect", "models/letters.h5").out
    assert "validation on 10.0% of the training part; the weights are those of" in shown
    assert re.search(r"curve +loss +▁ +\d.*\n +val_loss +▁ +\d.* at step 2\)", shown)


def test_resuming_as_documented(train, letters):
    corpus = (*LETTERS, "--resume")
    kept = (*corpus, "--keep-checkpoint")
    assert "there is no checkpoint" in train(*kept, *TINY).err.splitlines()[0]
    train(*corpus, "--units", 5).assert_refused("--units must be what this training")
    finished = train(*corpus)
    assert (finished.status, finished.out) == (0, "models/letters.h5\n")
    assert "this training is finished, all its 2 steps are in" in finished.err
    assert "--steps 4" in finished.err
    assert finished.err.count("\n") == 1
    assert listed() == ["letters.checkpoint", "letters.h5"]
    assert "going on at step 2 of 4, about " in train(*corpus, "--steps", 4).err
    assert load_model("models/letters.h5").metadata["training"]["steps"] == 4
    assert listed() == ["letters.h5", "letters.previous.h5"]


def listed() -> list[str]:
    others = (".log.jsonl", ".png")
    names = (path.name for path in Path("models").iterdir())
    return sorted(name for name in names if not name.endswith(others))


def test_a_finished_training_without_checkpoint_says_so(train, trained):
    corpus = (*LETTERS, "--resume")
    assert listed() == ["letters.h5"]
    before = Path("models", "letters.h5").read_bytes()
    for same in ((), TINY):
        finished = train(*corpus, *same)
        assert (finished.status, finished.out) == (0, "models/letters.h5\n")
        assert "finished, all its 2 steps are in 'models/letters.h5'" in finished.err
        assert "--init-from" in finished.err
        assert finished.err.count("\n") == 1
    train(*corpus, "--steps", 4).assert_refused("its checkpoint is gone: go on from")
    train(*corpus, "--epochs", 9).assert_refused("--keep-checkpoint")
    train(*corpus, "--steps", 1).assert_refused("at least the 2 steps planned")
    train(*corpus, "--units", 5).assert_refused("--units must be what this training")
    Path("letters.txt").write_text(TEXT + "More.\n")
    train(*corpus).assert_refused("expected the text that this training began with")
    assert Path("models", "letters.h5").read_bytes() == before
    assert listed() == ["letters.h5"]


def test_logs_are_written_where_asked_and_never_over_a_text(train, letters):
    assert train(*LETTERS, *TINY, "--csv", "logs/letters.csv").status == 0
    head, row = Path("logs", "letters.csv").read_text().splitlines()
    assert {"epoch", "loss", "val_loss", "val_accuracy"} <= set(head.split(","))
    assert row.startswith("1,")
    train(*LETTERS, *TINY, "--csv", "letters.txt").assert_refused("--csv must be a new")
    assert letters.read_text() == TEXT


def test_a_missing_tensorboard_is_said_before_anything(train, letters, monkeypatch):
    monkeypatch.setattr(logs, "is_installed", lambda name: False)
    expected = "--tensorboard needs the package tensorboard, which isn't installed: "
    train(*LETTERS, *TINY, "--tensorboard", "x").assert_refused(expected + "install it")
    assert not Path("models").exists()


def test_checkpoints_that_are_damaged_can_not_be_resumed(train, letters):
    assert train(*LETTERS, *TINY, "--keep-checkpoint").status == 0
    for path in Path("models").glob("*.checkpoint"):
        path.write_bytes(path.read_bytes()[:100])
    train(*LETTERS, "--resume").assert_refused("leave out --resume")
    assert train(*LETTERS, *TINY).status == 0


# Who starts it may leave


@pytest.mark.slow
@posix
def test_a_log_that_is_cut_off_ends_nothing_and_nohup_is_heeded(letters, tmp_path):
    """As by ``nohup … 2>&1 | head -1``, with the terminal gone meanwhile."""
    reading, writing = os.pipe()
    command = [sys.executable, ROOT / "train.py", *LETTERS, *TINY]
    ignored = partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    options = {"stdout": writing, "stderr": writing, "preexec_fn": ignored}
    with subprocess.Popen(command, cwd=tmp_path, **options) as process:
        os.close(writing)
        assert os.read(reading, 65_536).startswith(b"starting TensorFlow")
        os.close(reading)
        process.send_signal(signal.SIGHUP)
        assert process.wait(600) == 0
    record = load_model(tmp_path / "models" / "letters.h5").metadata["training"]
    assert (record["steps"], record["interrupted"]) == (2, False)


@pytest.mark.slow
@posix
def test_a_terminal_that_goes_away_saves(tmp_path):
    """The system itself sends SIGHUP to whom the terminal belonged."""
    checkpoint = tmp_path / "models" / "sonnets.checkpoint"
    watcher, terminal = pty.openpty()
    command = [sys.executable, ROOT / "train.py", *SMALL, "--steps", "1000000"]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)

    def own_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    options = {"cwd": tmp_path, "preexec_fn": own_terminal}
    with subprocess.Popen(command, **streams, **options) as process:
        os.close(terminal)
        until = time.monotonic() + 600
        while not checkpoint.exists() or b"loss" not in os.read(watcher, 65_536):
            assert process.poll() is None
            assert time.monotonic() < until
        os.close(watcher)
        assert process.wait(300) == 129
    record = load_model(tmp_path / "models" / "sonnets.h5").metadata["training"]
    assert record["interrupted"] is True
    state = read_checkpoint(tmp_path / "models" / "sonnets.h5")[0].state
    assert 0 < state.global_step == record["steps"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_path_that_can_not_be_printed_is_a_model_all_the_same(
    train, letters, monkeypatch
):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        result = train(*LETTERS, *TINY)
    assert result.status == 0
    assert "models/letters.h5 (standard output can't be written: No sp" in result.err
    assert load_model("models/letters.h5").metadata["training"]["steps"] == 2


def test_snapshots_and_their_use(train, run, letters, monkeypatch):
    monkeypatch.setattr(snapshots, "MOST_SHARE", 1e9)
    saved = train(*LETTERS, *TINY, "--save-every", "1e-9")
    assert (saved.status, saved.out) == (0, "models/letters.h5\n")
    assert "a snapshot is saved: 'models/letters.step-2.h5'" in saved.err
    for model in ("models/letters.step-2.h5", "letters.step-2"):
        made = run("generate", "--model", model, "--prompt", "N", "--length", 3)
        assert made.status == 0
        assert "letters.step-2.h5' (a snapshot, written while it was" in made.err
    train(*LETTERS, *TINY, "--save-every", 0).assert_refused("--save-every must be")
