"""The command `train`: what it prints where, and one line for what a user gets wrong.

Most tests run it in this process, where TensorFlow is already imported.
"""

import contextlib
import os
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from textgen.saving.model_file import load_model
from textgen.training.checkpoint import read_checkpoint

TINY = ("--steps", "2", "--layers", "1", "--units", "4", "--window", "4",
        "--batch-size", "4")  # fmt: skip
TEXT = "Now is the hour; the sea, the hill, and all between, lie still.\n" * 12
LETTERS = ("--corpus", "letters.txt")


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
    process = start("train.py", *TINY, "--steps", 1_000_000, *options, cwd=folder)
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
    """By Ctrl-C, by SIGTERM while another training is refused, and by Ctrl-C again."""
    done = 0
    for number, options in (
        (signal.SIGINT, ()),
        (signal.SIGTERM, ("--resume",)),
        (signal.SIGINT, ("--resume",)),
    ):
        with long_training(start, tmp_path, *options) as (process, said):
            if options:
                assert f"going on at step {done:,} of 1,000,000, about " in said
            if number == signal.SIGTERM:
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
    assert "there is no checkpoint" in train(*corpus, *TINY).err.splitlines()[0]
    train(*corpus, "--units", 5).assert_refused("--units must be what this training")
    finished = train(*corpus)
    assert (finished.status, finished.out) == (0, "models/letters.h5\n")
    assert "this training is finished, all its 2 steps are in" in finished.err
    assert "--steps 4" in finished.err
    assert finished.err.count("\n") == 1
    assert "going on at step 2 of 4, about " in train(*corpus, "--steps", 4).err
    assert load_model("models/letters.h5").metadata["training"]["steps"] == 4
    assert Path("models", "letters.previous.h5").exists()


def test_checkpoints_that_are_damaged_can_not_be_resumed(train, trained):
    for path in Path("models").glob("*.checkpoint"):
        path.write_bytes(path.read_bytes()[:100])
    train(*LETTERS, "--resume").assert_refused("leave out --resume")
    assert train(*LETTERS, *TINY).status == 0
