"""The command `inspect`: what a file holds, ours or another program's."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from keras_fixtures import keras_2_lstm, keras_3_mixed, write_archive
from model_files import write_own_file

import textgen
from textgen import cli
from textgen.config import Config

SYMBOLS = "\n abcdef"
VERSE = {"name": "verse", "kind": "text", "sha256": "a1" * 32, "held_out": 0.02,
         "learning_rate": 2.5e-3, "schedule": "cosine"}  # fmt: skip
OWN = {**VERSE, "name": "own", "sha256": "b2" * 32, "held_out": 0.0}
HISTORY = [
    {"step": 100, "loss": 3.0, "val_loss": 2.5},
    {"step": 200, "loss": 2.0, "val_loss": 1.5},
    {"step": 300, "loss": 1.0, "val_loss": 2.0},
]
RECORD = {
    "steps": 1300,
    "seconds": 61.4,
    "held_out_nats_per_char": 1.632,
    "interrupted": False,
    "versions": {"python": "3.11.7", "keras": "3.15.1"},
    "date": "2026-11-27",
    "history": HISTORY,
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def inspect(run):
    """Return a function that inspects a file: lines by their labels, and the rest."""

    def inspect_one(*arguments):
        result = run("inspect", *arguments)
        assert (result.status, result.err) == (0, "")
        facts, _, samples = result.out.partition("\n\n")
        found: dict[str, list[str]] = {}
        for line in facts.splitlines():
            if label := line[:12].strip():
                lines = found[label] = []
            if line.startswith(14 * " "):
                lines[-1] += f" {line.strip()}"
            else:
                lines.append(line[12:])
        return found, samples

    return inspect_one


def test_a_model_of_ours_tells_all_that_is_known(inspect):
    write_own_file(Path("m.h5"), SYMBOLS, texts=[VERSE, OWN], training=RECORD)
    found, samples = inspect("m.h5")
    size = Path("m.h5").stat().st_size
    assert found == {
        "file": [
            "'m.h5'",
            f"{size:,} bytes, 252 weights; written by textgen with Keras 3.0.5",
        ],
        "layers": [
            "embed: Embedding, 8 × 3",
            "lstm: LSTM, 5 units, tanh, gates sigmoid",
            "dense: Dense, 8 units, softmax",
        ],
        "symbols": ["8: newline, space, abcdef"],
        "reads": ["a text, its state carried from character to character"],
        "trained on": [
            "verse: text, 2.0% held out, SHA-256 a1a1a1a1a1a1…",
            "own: text, all of it, SHA-256 b2b2b2b2b2b2…",
        ],
        "training": [
            "1,300 steps of 32 windows of 10 characters, targets all, 61 s",
            "adamw, rate 0.003 (cosine), weight decay 0.01, dropout 0, input dropout "
            "0, auto, seed 0",
            "2026-11-27, python 3.11.7, keras 3.15.1",
        ],
        "held out": ["1.632 nats/char, 2.354 bits/char, perplexity 5.11"],
        "curve": [
            "loss      █▅▁  3.000 → 1.000",
            "val_loss  █▁▅  2.500 → 2.000 (1.500 at step 200)",
        ],
    }
    made = textgen.generate_many("m.h5", 3, length=200, seed=1)
    texts = [f"sample, seed {x.seed}:\n{x.text}\n" for x in made]
    assert samples == "\n".join(texts)
    assert len(made) == 3


def test_lines_windows_and_an_unfinished_training_are_told(inspect):
    unfinished = {"training": {**RECORD, "interrupted": True}}
    write_own_file(Path("m.h5"), SYMBOLS, "lines", **unfinished)
    found, samples = inspect("m.h5")
    told = "'m.h5' (unfinished; training with --resume goes on with it)"
    assert found["file"][0] == told
    assert found["reads"] == ["a line at a time, its state carried from character to "
                              "character"]  # fmt: skip
    assert len(re.findall(r"(?m)^sample, seed \d+:\n.+$", samples)) == 3
    write_own_file(Path("m.h5"), f"\0{SYMBOLS}", targets="last", seq_length=7)
    found, _ = inspect("m.h5")
    assert found["reads"] == ["a text, at each step the last 7 characters and nothing "
                              "before them"]  # fmt: skip
    assert found["symbols"] == ["9: end of text, newline, space, abcdef"]
    assert found["held out"] == ["not measured"]
    assert "curve" not in found


def test_of_a_training_that_carried_its_state_on_that_is_told(inspect):
    carried = Config().override(units=5, layers=1, embedding=3, stateful=True)
    write_own_file(Path("m.h5"), SYMBOLS, config=carried.to_dict(), training=RECORD)
    found, _ = inspect("m.h5")
    assert ", targets all, stateful, 61 s" in found["training"][0]


def test_the_shipped_models_are_told_by_their_names(inspect):
    found, samples = inspect("dinos")
    assert found["layers"][2] == "lstm_1: LSTM, 256 units, tanh, gates sigmoid"
    assert found["symbols"] == ["27: newline, abcdefghijklmnopqrstuvwxyz"]
    assert found["held out"][0].startswith("1.527 nats/char")
    assert samples.startswith("sample, seed 1:\n")
    path = textgen.load_model("dinos").path
    shutil.copy(path, "copy.h5")
    again, same = inspect("copy.h5")
    assert same == samples
    assert {**again, "file": 0} == {**found, "file": 0}


def test_json_holds_all_of_it(run):
    write_own_file(Path("m.h5"), SYMBOLS, texts=[VERSE, OWN], training=RECORD)
    (line,) = run("inspect", "m.h5", "--json").out.splitlines()
    record = json.loads(line)
    model = textgen.load_model("m.h5")
    assert record["symbols"] == list(SYMBOLS)
    assert (record["texts"], record["kind"]) == ([VERSE, OWN], "text")
    assert record["training"] == RECORD
    assert record["config"] == model.config.to_dict()
    made = textgen.generate_many(model, 3, length=200, seed=1)
    assert record["samples"] == [{"seed": x.seed, "text": x.text} for x in made]
    assert (record["weights"], record["targets"], record["assumed"]) == (252, "all", [])


# Of other programs


def test_a_strangers_file_tells_what_was_understood_and_what_assumed(inspect, run):
    theirs = keras_2_lstm().without("recurrent_activation", "2.1.5")
    theirs.write(Path("theirs.h5"))
    found, samples = inspect("theirs.h5")
    assert found["file"][1].endswith("505 weights; written by another program with "
                                     "Keras 2.1.5")  # fmt: skip
    assert found["layers"][0].startswith("lstm_1: LSTM, 5 units, tanh, gates hard_sig")
    wanted = "9 that the file doesn't name; --vocabulary-from tells them"
    assert found["symbols"] == [wanted]
    assert found["reads"] == [
        "a text, at each step the last 6 characters and nothing before them",
        "a symbol is one of 9 inputs (one-hot)",
    ]
    assert found["trained on"] == ["a text that isn't known"]
    assert found["assumed"][0].startswith("recurrent_activation isn't in the file")
    assert not {"training", "held out", "curve"} & set(found)
    assert samples == ""
    Path("theirs.txt").write_text(theirs.symbols + "AB", newline="")
    found, samples = inspect("theirs.h5", "--vocabulary-from", "theirs.txt")
    assert found["symbols"] == ["9: newline, space, abcdefg"]
    assert found["assumed"][1].endswith("fits the model's 9 symbols in lower case")
    assert "its symbols are those of 'theirs.txt', sorted" in found["assumed"]
    assert samples.count("sample, seed") == 3
    record = json.loads(run("inspect", "theirs.h5", "--json").out)
    for unknown in ("symbols", "kind", "texts", "config", "training"):
        assert record[unknown] is None
    assert (record["vocabulary_size"], record["seq_length"]) == (9, 6)
    assert (record["assumed"], record["samples"]) == (found["assumed"][:1], [])
    theirs.version = "2.1" + 90 * "\x1b"
    theirs.write(Path("theirs.h5"))
    assert len(inspect("theirs.h5")[0]["file"][1]) < 250


def test_an_archive_of_keras_3_is_told_too(inspect):
    write_archive(Path("theirs.keras"), keras_3_mixed())
    found, _ = inspect("theirs.keras")
    told = "each way, concat"
    assert any(line.endswith(told) for line in found["layers"])
    assert "from 0 to 8 / 9, are assumed" in found["assumed"][0]


def test_a_model_whose_numbers_overflow_is_told_without_samples(run):
    theirs = keras_2_lstm()
    for x in theirs.items:
        if x["class_name"] == "LSTM":
            x["config"]["activation"] = "linear"
    grown = [(name, 1e14 * array) for name, array in theirs.arrays["lstm_1"]]
    theirs.arrays["lstm_1"] = grown
    theirs.write(Path("theirs.h5"))
    Path("theirs.txt").write_text(theirs.symbols, newline="")
    result = run("inspect", "theirs.h5", "--vocabulary-from", "theirs.txt")
    assert result.status == 0
    assert result.err.startswith("note: no samples: this model's numbers grow beyond")
    assert result.out.startswith("file        'theirs.h5'\n")


# What files of bad will hold


@pytest.mark.parametrize(
    "training",
    [
        7,
        [],
        {"steps": "many", "seconds": "long", "held_out_nats_per_char": "low"},
        {"versions": [1], "date": {"a": [None]}, "history": {"loss": 1}},
        {"history": [{"step": "\x1b[2J", "loss": [1]}, {"step": 1, "loss": 1e30}]},
        {"steps": True, "seconds": 1e308, "held_out_nats_per_char": -1e308},
        {"date": "\x1b[2J" * 9000, "versions": {"\n\x1b[2J": "\u202e"}},
    ],
)
def test_a_record_may_hold_anything(run, training):
    texts = [{**OWN, "name": "x\x1b[2J\n", "sha256": "\x1b[2J"},
             {**OWN, "name": "\x1b" * 9000, "kind": "\x1b" * 9000}]  # fmt: skip
    write_own_file(Path("m.h5"), SYMBOLS, training=training, texts=texts)
    result = run("inspect", "m.h5")
    assert (result.status, result.err) == (0, "")
    assert "\x1b" not in result.out
    assert len(result.out) < 9000
    assert r"x\x1b[2J\n: text" in result.out
    assert json.loads(run("inspect", "m.h5", "--json").out)["file"] == "m.h5"


def test_numbers_beyond_all_numbers_are_null(run):
    training = {"seconds": float("inf"), "held_out_nats_per_char": float("nan")}
    write_own_file(Path("m.h5"), SYMBOLS, training=training)
    assert run("inspect", "m.h5").status == 0
    record = json.loads(run("inspect", "m.h5", "--json").out)
    assert record["training"] == dict.fromkeys(training)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "the following arguments are required: MODEL"),
        ("none.h5", "'none.h5': expected a model file"),
        ("text.h5", "'text.h5': "),
        ("weights.pt", "'weights.pt': "),
        ("nobody", "train one, or name a file as MODEL"),
        ("m.h5 n.h5", "unrecognized arguments: n.h5"),
        ("m.h5 --jsn", "did you mean --json?"),
        ("m.h5 --vocabulary-from text.h5", "leave --vocabulary-from out"),
        ("theirs.h5 --vocabulary-from none.txt", "'none.txt' does not exist"),
        ("theirs.h5 --vocabulary-from text.h5", "9 different symbols"),
    ],
)
def test_what_makes_no_sense_is_one_line(run, line, expected):
    write_own_file(Path("m.h5"), SYMBOLS)
    keras_2_lstm().write(Path("theirs.h5"))
    Path("text.h5").write_text("no model, but a text")
    Path("weights.pt").write_bytes(b"PK\x03\x04 archive/data.pkl")
    run("inspect", *line.split()).assert_refused(expected)


def test_a_narrow_terminal_gets_lines_that_fit(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    history = [{"step": n, "loss": 1 / n, "val_loss": 1 / n} for n in range(1, 400)]
    symbols = (
        "\n"
        + "".join(map(chr, range(0x21, 0x7F)))
        + "".join(map(chr, range(0x400, 0x480)))
    )
    write_own_file(Path("m.h5"), symbols, training={**RECORD, "history": history})
    facts = run("inspect", "m.h5").out.partition("\n\n")[0]
    assert max(map(len, facts.splitlines())) <= 60
    assert facts.count("▁") > 8
    joined = "".join(line[14:] for line in facts.splitlines())
    assert symbols[1:] in joined
    of_symbols = re.search(r"symbols .*\n(?= *reads )", facts, re.DOTALL)[0]
    assert {len(line) for line in of_symbols.splitlines()[:-1]} == {60}
    monkeypatch.setenv("COLUMNS", "10")
    assert run("inspect", "m.h5").status == 0


def test_nothing_slow_is_imported(start, folder):
    write_own_file(Path("m.h5"), SYMBOLS)
    for name in ("tensorflow", "keras", "rich"):
        (folder / f"{name}.py").write_text("raise SystemExit('imported')")
    root = Path(cli.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (folder, root)))}
    process = start("textgen/__main__.py", "inspect", "m.h5", env=environment)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out.startswith(b"file        'm.h5'")


def test_help_names_every_option_and_fits_a_screen(run):
    out = run("inspect", "--help").out
    assert "  inspect.py theirs.keras" in out
    for option in ("json", "vocabulary-from TEXT"):
        assert f"\n  --{option}" in out
    assert out.count("\n") <= 44
