"""train.py: what it prints where, and one line for everything that a user gets wrong.

Most call its `main` in this process, where TensorFlow is already imported; a few run
it as a process of its own.
"""

import codecs
import contextlib
import errno
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from textgen.cli import train as command
from textgen.saving.model_file import load_model
from textgen.system import terminal
from textgen.training.checkpoint import read_checkpoint

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "train.py"
TINY = ("--steps", "2", "--layers", "1", "--units", "4", "--window", "4",
        "--batch-size", "4")  # fmt: skip
TEXT = "Now is the hour; the sea, the hill, and all between, lie still.\n" * 12
MODEL_FILES = [
    "models/letters.checkpoint",
    "models/letters.h5",
    "models/letters.previous.checkpoint",
]
STARTING = "starting TensorFlow …"


class Result:
    """Exit status and both streams of a run."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def train(monkeypatch, capsys, tmp_path):
    """Return a function that runs train.py in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", None)

    def run(*arguments):
        call = partial(command.main, list(map(str, arguments)), "train.py")
        with pytest.raises(SystemExit) as left:
            terminal.run(partial(call, started_s=time.monotonic()))
        captured = capsys.readouterr()
        return Result(left.value.code, captured.out, captured.err)

    return run


def files_under(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def assert_refused(result, *expected):
    """One line on stderr says what is wrong, and nothing else is said."""
    assert result.status == 2
    assert result.out == ""
    lines = [line for line in result.err.splitlines() if line != STARTING]
    told = [line for line in lines if not re.match(r"\w+: [\d,]+ characters, ", line)]
    assert len(told) == 1, result.err
    assert told[0].startswith("error: ")
    assert len(told[0]) < 400
    assert not re.search(r"[\x00-\x1f\x7f]", told[0])
    for part in expected:
        assert part in told[0]


# As a process


def assert_told_as_documented(result, folder, name):
    """The path and nothing else on stdout; on stderr what is documented, no noise."""
    path = Path("models", f"{name}.h5")
    assert result.status == 0
    assert result.out == f"{path}\n"
    first, second, *_, held_out, last = result.err.splitlines()
    assert first == STARTING
    assert re.match(rf"{name}: [\d,]+ characters, \d+ symbols, text", second)
    assert re.match(r"held out: [\d.]+ nats/char, [\d.]+ bits/char, perp", held_out)
    assert re.fullmatch(r"2 steps in \d+ s; saved:", last)
    assert "step 2/2  epoch 1/" in result.err
    assert "\x1b" not in result.err
    assert not re.search(r"^[IWE]\d{4} |WARNING|Warning", result.err, re.MULTILINE)
    assert load_model(folder / path).metadata["training"]["seed"] == 3


@pytest.mark.slow
def test_the_sonnets_as_a_process(tmp_path):
    command = [sys.executable, str(SCRIPT), "--corpus", "sonnets", *TINY, "--seed", "3"]
    done = subprocess.run(command, capture_output=True, timeout=600, cwd=tmp_path)
    result = Result(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert_told_as_documented(result, tmp_path, "sonnets")
    assert files_under(tmp_path / "models") == [
        "sonnets.checkpoint",
        "sonnets.h5",
        "sonnets.previous.checkpoint",
    ]


@contextlib.contextmanager
def long_training(folder, *options):
    """Run train.py for long; hand it over once it trains, and its stderr so far."""
    command = [sys.executable, str(SCRIPT), *TINY, "--steps", "1000000", *options]
    checkpoint = folder / "models" / "sonnets.checkpoint"
    before = written_at(checkpoint)
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            until = time.monotonic() + 600
            # Its first checkpoint is the last thing that it does before it trains.
            while written_at(checkpoint) == before and process.poll() is None:
                assert time.monotonic() < until, "it never began to train"
                time.sleep(0.1)
            time.sleep(1)
            yield process, os.read(process.stderr.fileno(), 65_536).decode()
        finally:
            process.kill()


def written_at(path):
    return path.stat().st_mtime_ns if path.exists() else None


@pytest.mark.slow
def test_stopped_it_saves_says_so_and_goes_on(tmp_path):
    """By Ctrl-C, by SIGTERM while another training is refused, and by Ctrl-C again."""
    done = 0
    for number, options in (
        (signal.SIGINT, ()),
        (signal.SIGTERM, ("--resume",)),
        (signal.SIGINT, ("--resume",)),
    ):
        with long_training(tmp_path, *options) as (process, said):
            if options:
                assert f"going on at step {done:,} of 1,000,000, about " in said
            if number == signal.SIGTERM:
                command = [sys.executable, str(SCRIPT), "--resume"]
                second = subprocess.run(command, cwd=tmp_path, capture_output=True)
                assert second.returncode == 2
                assert second.stderr.startswith(b"error: expected to be the only train")
                assert len(second.stderr.splitlines()) == 1
            process.send_signal(number)
            out, err = process.communicate(timeout=300)
        assert process.returncode == 128 + number
        assert out == b"models/sonnets.h5\n"
        hint = "the same command with --resume goes on from here"
        assert err.decode().splitlines()[-2:] == [hint, "interrupted"]
        record = load_model(tmp_path / "models" / "sonnets.h5").metadata["training"]
        assert record["interrupted"] is True
        assert done < record["steps"] < 1_000_000
        done = record["steps"]
        assert read_checkpoint(tmp_path / "models" / "sonnets.h5")[0].state.step == done
        assert files_under(tmp_path / "models") == [
            "sonnets.checkpoint",
            "sonnets.h5",
            "sonnets.previous.checkpoint",
        ]


def test_errors_of_options_need_no_tensorflow():
    code = (
        "import runpy, sys; sys.argv = ['train.py', '--units', '0']\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit as left: print(left.code, 'tensorflow' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=ROOT, timeout=60
    )
    assert result.stdout == b"2 False\n"
    assert result.stderr.startswith(b"error: --units must be a whole number")
    assert len(result.stderr.splitlines()) == 1


def test_help_names_every_option_and_exits_with_0(train):
    result = train("--help")
    assert result.status == 0
    assert re.search(r"^  --resume  ", result.out, re.MULTILINE)
    for option in ("corpus", "kind", "output", "preset", "init-from", "layers", "units",
                   "embedding", "dropout", "input-dropout", "window", "stride",
                   "targets", "batch-size", "learning-rate", "epochs", "steps",
                   "minutes", "precision", "held-out", "seed"):  # fmt: skip
        assert re.search(rf"^  --{option} [A-Z]+", result.out, re.MULTILINE), option


# What works


def test_a_text_of_ones_own(train, tmp_path):
    Path("letters.txt").write_text(TEXT)
    result = train("--corpus", "letters.txt", *TINY, "--seed", 3)
    assert_told_as_documented(result, tmp_path, "letters")
    assert files_under(tmp_path) == ["letters.txt", *MODEL_FILES]


def test_an_earlier_model_is_kept_and_that_is_said(train, tmp_path):
    Path("letters.txt").write_text(TEXT)
    assert train("--corpus", "letters.txt", *TINY).status == 0
    before = Path("models", "letters.h5").read_bytes()
    result = train("--corpus", "letters.txt", *TINY, "--seed", 5)
    assert result.out == "models/letters.h5\n"
    assert "the earlier model is kept as 'models/letters.previous.h5'" in result.err
    assert Path("models", "letters.previous.h5").read_bytes() == before
    assert files_under(tmp_path) == [
        "letters.txt",
        *MODEL_FILES,
        "models/letters.previous.h5",
    ]


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(train):
    windows = codecs.BOM_UTF8 + TEXT.replace("\n", "\r\n").encode()
    Path("plain.txt").write_bytes(TEXT.encode())
    Path("windows.txt").write_bytes(windows)
    for name in ("plain", "windows"):
        assert train("--corpus", f"{name}.txt", *TINY, "--held-out", 0).status == 0
    plain, other = (load_model(f"models/{n}.h5") for n in ("plain", "windows"))
    assert "\r" not in other.vocabulary.symbols
    assert plain.vocabulary == other.vocabulary
    sha256 = hashlib.sha256(TEXT.encode()).hexdigest()
    assert other.metadata["corpus"]["sha256"] == sha256
    np.testing.assert_array_equal(
        plain.network.dense_kernel, other.network.dense_kernel
    )


def test_every_preset_value_can_be_overridden(train):
    Path("letters.txt").write_text(TEXT)
    result = train(
        "--corpus", "letters.txt", "--kind", "lines", "--output", "new/mine.h5",
        "--preset", "course", "--layers", 1, "--units", 5, "--embedding", 3,
        "--dropout", 0.25, "--input-dropout", 0.125, "--window", 6, "--stride", 2,
        "--targets", "all",
        "--batch-size", 3, "--learning-rate", 0.01, "--epochs", 1, "--precision",
        "float32", "--held-out", 0.5, "--seed", 7,
    )  # fmt: skip
    assert result.out == "new/mine.h5\n"
    model = load_model("new/mine.h5")
    assert model.kind == "lines"
    assert vars(model.config.model) == {
        "layers": 1, "units": 5, "embedding": 3, "dropout": 0.25,
        "input_dropout": 0.125,
    }  # fmt: skip
    assert vars(model.windows) == {
        "seq_length": 6, "stride": 2, "targets": "all",
    }  # fmt: skip
    training = model.config.training
    assert (training.batch_size, training.learning_rate) == (3, 0.01)
    assert (training.epochs, training.steps, training.minutes) == (1, None, None)
    assert (training.precision, training.held_out, training.seed) == ("float32", 0.5, 7)
    assert training.optimizer == "adam"  # the preset's


def test_going_on_from_a_saved_model(train):
    Path("letters.txt").write_text(TEXT)
    train("--corpus", "letters.txt", *TINY)
    result = train(
        "--corpus", "letters.txt", "--init-from", "models/letters.h5", "--epochs", 1,
        "--batch-size", 128,
    )  # fmt: skip
    assert result.status == 0
    config = load_model("models/letters.h5").config
    assert (config.model.units, config.training.epochs) == (4, 1)
    assert config.training.batch_size == 128


# What is refused


def test_an_unknown_corpus_lists_what_there_is(train, tmp_path):
    for name in ("sonets", "nowhere.txt", "", "a\x1b[31m\nb"):
        assert_refused(
            train("--corpus", name, *TINY), "dinos, shakespeare, sonnets", "UTF-8"
        )
    assert files_under(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "holds nothing"),
        (b"x", "holds one character"),
        (codecs.BOM_UTF8, "holds nothing"),
        (b"ab\0cd" * 100, "is binary (a zero byte at offset 2)"),
        (TEXT.encode() + b"caf\xe9 au lait", f"0xe9 at offset {len(TEXT) + 3}"),
        (TEXT.encode("utf-16"), "begins with the mark of UTF-16"),
        (b"abcde", "expected at least 65 symbols"),
        ("é☃".encode(), "expected at least 65 symbols"),
    ],
)
def test_corpora_that_can_not_be_used(train, tmp_path, content, expected):
    (tmp_path / "bad.txt").write_bytes(content)
    assert_refused(train("--corpus", "bad.txt", "--steps", 2), expected)
    assert files_under(tmp_path) == ["bad.txt"]


def test_one_hot_input_of_more_symbols_than_memory(train, tmp_path):
    (tmp_path / "many.txt").write_text("".join(map(chr, range(0x10000, 0x20000))))
    result = train("--corpus", "many.txt", "--preset", "course")
    assert_refused(result, "--embedding must be at least 1", "65,536 symbols")
    assert files_under(tmp_path) == ["many.txt"]


@pytest.mark.parametrize("option", ["--corpus", "--output", "--init-from", "--kind"])
def test_a_whole_text_in_the_wrong_place_is_not_repeated(train, tmp_path, option):
    (tmp_path / "letters.txt").write_text(TEXT)
    options = {"--corpus": "letters.txt"} | {option: "a\x1b[2J\n" * 10_000}
    result = train(*[part for pair in options.items() for part in pair], *TINY)
    assert (result.status, result.out) == (2, "")
    assert re.fullmatch(r"error: .*a\\x1b\[2J\\n.*\n", result.err)
    assert len(result.err) < 600
    assert files_under(tmp_path) == ["letters.txt"]


def test_lines_that_are_all_empty(train):
    Path("bad.txt").write_text("\n\n\n")
    result = train("--corpus", "bad.txt", "--kind", "lines", *TINY)
    assert_refused(result, "expected at least one line that isn't empty")


def test_a_folder_is_no_corpus(train, tmp_path):
    (tmp_path / "texts").mkdir()
    assert_refused(train("--corpus", "texts", *TINY), "'texts' is a folder")


def truncated(good):
    return good[: len(good) // 2]


def flipped(good):
    return good[:-100] + bytes([good[-100] ^ 1]) + good[-99:]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda good: b"", "the file is empty"),
        (truncated, "damaged or cut short"),
        (flipped, "damaged or cut short"),
        (lambda good: bytes(range(256)) * 20, "5,120 bytes of something else"),
    ],
    ids=["empty", "truncated", "flipped", "random"],
)
def test_models_that_can_not_be_gone_on_from(
    train, prose_model, tmp_path, make, expected
):
    Path("bad.h5").write_bytes(make(prose_model.read_bytes()))
    result = train("--init-from", "bad.h5", "--output", "new.h5", "--steps", 1)
    assert_refused(result, "'bad.h5': ", expected)
    assert files_under(tmp_path) == ["bad.h5"]


def test_no_model_at_all_to_go_on_from(train, tmp_path):
    with h5py.File("data.h5", "w") as file:
        file["numbers"] = np.arange(5)
    (tmp_path / "folder.h5").mkdir()
    for name in ("data.h5", "folder.h5", "missing.h5"):
        result = train("--init-from", name, "--output", "new.h5", "--steps", 1)
        assert_refused(result, f"'{name}': expected")
    assert files_under(tmp_path) == ["data.h5"]


def test_a_preset_with_a_saved_model(train, prose_model):
    result = train("--init-from", prose_model, "--preset", "sonnets")
    assert_refused(result, "give --preset or --init-from, not both")
    assert_refused(train("--preset", "sonets"), "sonnets, dinos, lines, course")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("here/mine.h5", "'here' can't be written (it is a file)"),
        ("here/there/mine.h5", "can't be written (Not a directory)"),
        ("/proc/mine.h5", "'/proc' can't be written"),
        ("mine.keras", "must end in .h5"),
        ("sonnets-pretrained.h5", "must not be a pretrained model"),
        ("folder.h5", "is a folder"),
        ("x" * 300 + ".h5", "File name too long"),
    ],
)
def test_an_output_that_can_not_be_written(train, tmp_path, output, expected):
    Path("here").write_text("a file")
    Path("folder.h5").mkdir()
    started = time.monotonic()
    result = train("--output", output, "--steps", 100_000)
    assert_refused(result, expected)
    assert time.monotonic() - started < 10, "it was found after training"
    assert files_under(tmp_path) == ["here"]


@pytest.mark.parametrize(
    "option",
    [
        *(f"--units={value}" for value in ("0", "-1", "1.5", "1e3", "nan", "x", "")),
        *(f"--steps={value}" for value in ("0", "-3", "1000000000000000", "9" * 400)),
        *(f"--epochs={value}" for value in ("0", "-1", "inf")),
        *(f"--minutes={value}" for value in ("0", "-1", "nan", "inf", "-inf", "1e400")),
        *(f"--learning-rate={value}" for value in ("0", "-1", "nan", "inf", "many")),
        *(f"--dropout={value}" for value in ("-0.1", "1", "nan", "inf")),
        *(f"--held-out={value}" for value in ("-0.1", "1", "nan", "inf")),
        *(f"--seed={value}" for value in ("-1", "4294967296", "0.5")),
        *(f"--{name}=0" for name in ("layers", "window", "stride", "batch-size")),
        *(f"--{name}=-2" for name in ("layers", "embedding", "window", "batch-size")),
        "--layers=1000000",
        "--targets=some",
        "--precision=float16",
    ],
)
def test_numbers_and_choices_that_make_no_sense(train, tmp_path, option):
    name = option.split("=")[0]
    result = train(option)
    assert_refused(result, f"{name} must be ", "but was")
    assert STARTING not in result.err, "it was found before the slow import"
    assert files_under(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--steps", 3, "--epochs", 1), "but --steps and --epochs were given"),
        (("--step", 3), "unrecognized arguments: --step 3: did you mean --steps?"),
        (("extra",), "unrecognized arguments: extra"),
        (("--units",), "--units: expected one argument"),
        (("--kind", "odd"), "--kind must be one of lines, text, but was 'odd'"),
    ],
)
def test_arguments_that_make_no_sense(train, arguments, expected):
    assert_refused(train(*arguments), expected)


def test_a_full_disk_while_saving_leaves_the_earlier_model(
    train, monkeypatch, tmp_path
):
    Path("letters.txt").write_text(TEXT)
    Path("models").mkdir()
    Path("models", "letters.h5").write_bytes(b"an earlier model")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = train("--corpus", "letters.txt", *TINY)
    assert result.status == 2
    assert result.out == ""
    last = result.err.splitlines()[-1]
    assert last.startswith(
        "error: expected to write 'models/letters.checkpoint', but N"
    )
    assert "Traceback" not in result.err
    assert Path("models", "letters.h5").read_bytes() == b"an earlier model"
    assert files_under(tmp_path / "models") == ["letters.h5"]


def test_resuming_as_documented(train, tmp_path):
    Path("letters.txt").write_text(TEXT)
    corpus = ("--corpus", "letters.txt", "--resume")
    first = train(*corpus, *TINY)
    assert first.status == 0
    expected = "there is no checkpoint 'models/letters.checkpoint' yet: starting afresh"
    assert first.err.splitlines()[0] == expected
    finished = train(*corpus)
    assert (finished.status, finished.out) == (0, "models/letters.h5\n")
    assert finished.err == (
        "this training is finished, all its 2 steps are in 'models/letters.h5': for "
        "more give a greater length, --steps 4 say\n"
    )
    more = train(*corpus, "--steps", 4)
    assert more.status == 0
    assert "going on at step 2 of 4, about " in more.err
    assert load_model("models/letters.h5").metadata["training"]["steps"] == 4
    assert files_under(tmp_path) == [
        "letters.txt",
        *MODEL_FILES,
        "models/letters.previous.h5",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--units", 5), "--units must be what this training began with, 4, but was 5"),
        (("--steps", 1), "at least the 2 steps planned, but 1 were asked for"),
        (("--kind", "lines"), "--kind must be what this training began with, text"),
        (("--init-from", "x.h5"), "give --resume or --init-from, not both"),
        (("--minutes", 1), "planned as 2 steps, but --minutes 1 was asked for"),
    ],
)
def test_what_can_not_be_resumed_so(train, trained, arguments, expected):
    result = train("--corpus", "letters.txt", "--resume", *arguments)
    assert_refused(result, expected)
    assert STARTING not in result.err


def test_checkpoints_that_are_damaged_can_not_be_resumed(train, trained):
    for path in Path("models").glob("*.checkpoint"):
        path.write_bytes(path.read_bytes()[:100])
    result = train("--corpus", "letters.txt", "--resume")
    assert_refused(result, "it is damaged", "leave out --resume to train anew")
    assert train("--corpus", "letters.txt", *TINY).status == 0


@pytest.fixture
def trained(train):
    """A finished training of letters.txt."""
    Path("letters.txt").write_text(TEXT)
    assert train("--corpus", "letters.txt", *TINY).status == 0


@pytest.mark.parametrize("small_disk", ["512k"], indirect=True)
def test_a_disk_with_room_for_a_checkpoint_but_no_model(train, small_disk):
    """Refused before anything is trained, so that nothing is lost."""
    Path("letters.txt").write_text(TEXT)
    options = ("--units", 80, "--layers", 1, "--steps", 5)
    output = small_disk / "mine.h5"
    result = train("--corpus", "letters.txt", *options, "--output", output)
    assert result.status == 2
    assert "bytes free" in result.err
    assert "step" not in result.err
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("small_disk", ["512k"], indirect=True)
def test_a_small_disk_that_is_full(train, small_disk):
    """One line, and the model and the checkpoint that were there."""
    Path("letters.txt").write_text(TEXT)
    output = small_disk / "mine.h5"
    small = ("--corpus", "letters.txt", *TINY, "--output", output)
    assert train(*small).status == 0
    before = {path: path.read_bytes() for path in small_disk.iterdir()}
    room = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(max(0, room - 4096)))
    result = train(*small, "--resume", "--steps", 9)
    assert result.status == 2
    assert result.err.splitlines()[-1].startswith("error: expected ")
    assert "bytes free" in result.err
    (small_disk / "filler").unlink()
    assert {path: path.read_bytes() for path in small_disk.iterdir()} == before
    assert train(*small, "--resume", "--steps", 9).status == 0
