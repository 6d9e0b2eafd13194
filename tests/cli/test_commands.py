"""What the commands have in common: the front door, help, and refusals in one line."""

import os
import re
from pathlib import Path

import pytest

import textgen
from textgen import __main__, cli
from textgen.cli import generate, train

STARTING = "starting TensorFlow …"
WHOLE_TEXT = "Shall I compare thee\n\x1b[2J" * 4_000


def test_textgen_lists_its_commands_and_their_modules_exist(run):
    result = run("textgen")
    assert (result.status, result.err) == (0, "")
    assert run("textgen", "--help") == result
    for name, command in __main__.COMMANDS.items():
        assert re.search(rf"^  {name} +{command.summary}$", result.out, re.MULTILINE)
        assert Path(cli.__file__).with_name(f"{name}.py").exists()


def test_textgen_tells_its_version(run):
    assert run("textgen", "--version") == (0, f"textgen {textgen.__version__}\n", "")


def test_python_m_textgen_is_the_same(start):
    process = start("textgen/__main__.py", "--version", cwd=Path(__file__).parents[2])
    assert process.communicate()[0] == f"textgen {textgen.__version__}\n".encode()


@pytest.mark.parametrize(
    ("name", "options", "most_lines"),
    [
        ("generate", "model corpus prompt prompt-file length temperature top-k top-p "
         "seed count stop strict jsonl vocabulary-from min-p typical-p "
         "repetition-penalty no-repeat-ngram beam", 80),
        ("train", "corpus kind output preset init-from resume layers units embedding "
         "dropout input-dropout window stride targets batch-size learning-rate epochs "
         "steps minutes precision held-out seed", 80),
    ],
)  # fmt: skip
def test_help_names_every_option_and_fits_two_screens(run, name, options, most_lines):
    result = run(name, "--help")
    assert result.status == 0
    example = "sonnets" if name == "train" else "--corpus"
    assert f"  {name}.py {example}" in result.out
    for option in options.split():
        assert re.search(rf"^  --{option} ", result.out, re.MULTILINE), option
    assert result.out.count("\n") <= most_lines


def test_help_shows_defaults_and_what_the_presets_set(run):
    assert "(default: 400)" in run("generate", "--help").out
    out = run("train", "--help").out
    assert "(default: 2, dinos 1)" in out
    assert re.search(r"128,\s+sonnets\s+224,\s+dinos\s+256\)", out)
    assert re.search(r"\(default:\s+course\s+3\)", out)
    assert re.search(r"\(default:\s+sonnets\s+0.2,\s+dinos\s+0.1,", out)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("textgen trian", "there is no command 'trian': did you mean train?"),
        ("textgen --versoin", "did you mean --version?"),
        ("textgen generate --promt=x", "--prompt? (textgen generate --help"),
        ("generate --temprature 1", "did you mean --temperature?"),
        ("train --model m.h5", "did you mean --output, or --init-from"),
        ("generate stray\x1b", r"stray\x1b"),
        ("generate --length ten", "--length must be a whole number, but was 'ten'"),
        ("generate --stop=", "--stop must be"),
        ("generate --seed -1", "--seed must be"),
        ("generate --count 0", "--count must be"),
        ("generate --model missing.h5", "missing.h5"),
        ("generate --model letters.txt", "letters.txt"),
        ("generate --corpus no-such-corpus", "no-such-corpus"),
        ("generate --prompt-file none.txt", "'none.txt' can't be read (No such file"),
        ("generate --prompt-file .", "--prompt-file must be a text file, but '.'"),
        ("generate --prompt-file a --prompt b", "not allowed with"),
        ("generate --model x.h5 --corpus dinos", "not allowed with"),
        ("generate --corpus dinos --corpus a", "--corpus must be given once"),
        ("train --step 3", "unrecognized arguments: --step: did you mean --steps?"),
        ("train --seq_length 3", "arguments: --seq_length: did you mean --window? ("),
        ("train --rnn_size 128", "did you mean --units?"),
        ("train -num_layers 2", "did you mean --layers?"),
        ("train a.txt --tune 30", "no option any more: search for settings by"),
        ("train --label author", "did you mean --label-column?"),
        ("textgen evaluate --model m.h5 a.txt", "--model: MODEL is given without it"),
        ("train --units=0", "--units must be a whole number of at least 1"),
        ("train --window=0", "--window must be"),
        ("train --targets=some", "--targets must be one of all, last"),
        ("train --kind odd", "--kind must be one of lines, text, but was 'odd'"),
        ("train --preset sonets", "sonnets, dinos, lines, course"),
        ("train --steps 3 --epochs 1", "but --steps and --epochs were given"),
        ("train --corpus sonets", "did you mean 'sonnets'?"),
        ("train --corpus latin.txt", "0xe9 at offset 3"),
        ("train --corpus folder", "'folder' has no file"),
        ("train --init-from missing.h5", "'missing.h5': "),
        ("train --init-from letters.txt", "'letters.txt': "),
        ("train --init-from x.h5 --preset dinos", "--preset or --init-from, not both"),
        ("train --output letters.txt/mine.h5", "'letters.txt' can't be written"),
        ("train --output mine.keras", "must end in .h5"),
        ("train --output sonnets-pretrained.h5", "must not be a pretrained model"),
    ],
)
def test_what_makes_no_sense_is_one_line(run, tmp_path, monkeypatch, line, expected):
    """It is found before anything slow or lasting is done."""
    monkeypatch.chdir(tmp_path)
    Path("letters.txt").write_text("All work and no play.\n" * 40)
    Path("latin.txt").write_bytes(b"caf\xe9 au lait\n" * 40)
    Path("folder").mkdir()
    result = run(*line.split(" "))
    result.assert_refused(expected)
    assert STARTING not in result.err
    assert len(list(tmp_path.rglob("*"))) == 3


@pytest.mark.parametrize(
    ("command", "others", "choices"),
    [
        (train, [], {"kind": "lines", "preset": "dinos", "distribute": "mirrored"}),
        (train, [], {"cell": "gru", "level": "bpe", "precision": "float32"}),
        (train, [], {"targets": "last", "schedule": "constant", "optimizer": "adam"}),
        (generate, [], {"form": "haiku"}),
    ],
)
def test_choices_are_taken_in_any_case(command, others, choices):
    as_listed = [f"--{name}={choice}" for name, choice in choices.items()]
    shouted = [f"--{name}={choice.upper()}" for name, choice in choices.items()]
    read = command.parse_arguments([*others, *shouted], "prog")
    assert read == command.parse_arguments([*others, *as_listed], "prog")


@pytest.mark.parametrize("name", ["textgen", "generate", "train"])
def test_a_whole_text_in_the_wrong_place_is_not_repeated(
    run, tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    options = {"generate": ["--corpus", "--model", "--seed", "--oops"]}
    options |= {"train": ["--corpus", "--output", "--init-from", "--kind"]}
    for option in options.get(name, [WHOLE_TEXT]):
        run(name, option, WHOLE_TEXT).assert_refused(r"thee\n\x1b")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_options_needs_no_tensorflow(start, tmp_path):
    for name in ("tensorflow", "keras", "rich"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    process = start("train.py", "--units", 0, env=environment)
    out, err = process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert err.startswith(b"error: --units must be a whole number")
