"""The command `evaluate`: its figures are the library's, and all else is one line."""

import gzip
import hashlib
import io
import json
import math
import os
import re
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from keras_fixtures import keras_2_lstm
from model_files import write_own_file

import textgen
from textgen.cli import evaluate as command
from textgen.data.corpus import load_corpus
from textgen.evaluation.judging import Evaluation, evaluate_corpus

SYMBOLS = "\n abcdef"
TEXT = "a bed\nfaced a cab\n" * 12
FIRST, LAST = TEXT[:162], TEXT[162:]  # nine tenths, and the rest
ROWS = ("model", "n-gram", "bz2", "xz")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """Return the current folder, with a model, its own text and another."""
    monkeypatch.chdir(tmp_path)
    Path("own.txt").write_text(TEXT)
    Path("other.txt").write_text("faced beef\na deed\n" * 7)
    sha256 = hashlib.sha256(TEXT.encode()).hexdigest()
    own = {"name": "own", "kind": "text", "sha256": sha256}
    trained = {"held_out": 0.25, "learning_rate": 1e-3, "schedule": "cosine"}
    write_own_file(Path("m.h5"), SYMBOLS, corpus=own, texts=[own | trained])
    return tmp_path


def figures(table: str) -> dict[str, list[str]]:
    """Return the figures of a table's rows, and what the references have read."""
    rows = [
        re.match(r"  (n-gram|\w*)(, [a-z ]*[a-z])? +(.*)", x)
        for x in table.splitlines()
    ]
    return {row[1]: [row[2], *row[3].split()] for row in rows[2:]}


def assert_shows(table: str, title: str, found: Evaluation, read: str) -> None:
    """Check a whole table against an evaluation."""
    heading = table.splitlines()[1].split()
    assert table.splitlines()[0] == title
    assert heading == ["nats/char", "bits/char", "perplexity", "accuracy"]
    rows = figures(table)
    assert tuple(rows) == ROWS
    nats, bits = found.nats_per_char, found.bits_per_char
    own = [f"{nats:.3f}", f"{bits:.3f}", f"{found.perplexity:.2f}"]
    assert rows["model"] == [None, *own, f"{found.accuracy:.1%}"]
    for name, nats in found.references.items():
        assert rows[name][:2] == [f", {read}", f"{nats:.3f}"]
        assert len(rows[name]) == 4


# What comes out


def test_a_text_is_a_table_of_the_librarys_figures(run):
    result = run("evaluate", "m.h5", "other.txt")
    found = textgen.evaluate("m.h5", Path("other.txt").read_text())
    assert_shows(result.out, "other.txt: 125 characters", found, "from nothing")
    assert (result.status, result.err) == (0, "model: 'm.h5'\n")
    lines = result.out.splitlines()
    assert lines[1].endswith("accuracy")
    assert len({len(line) for line in lines[1:3]}) == 1, "columns stand in line"


def test_a_perplexity_without_bounds_stays_in_its_column(run):
    Path("short.txt").write_text("abc\n")
    lines = run("evaluate", "m.h5", "short.txt").out.splitlines()[1:]
    end = lines[0].index("perplexity") + len("perplexity")
    found = textgen.evaluate("m.h5", "abc\n").references
    for line, name in zip(lines[2:], ROWS[1:], strict=True):
        *others, shown = line[:end].split()
        assert len(line) == end
        assert others[-2] == f"{found[name]:.3f}"
        assert float(shown) == pytest.approx(math.exp(found[name]), rel=0.02)
    assert re.search(r" \d\.\d\de\+\d\d+$", lines[-1])


def test_held_out_is_what_the_model_never_saw(run):
    result = run("evaluate", "m.h5", "--held-out")
    found = textgen.evaluate("m.h5")
    title = "own: 53 characters that the model never saw"
    assert_shows(result.out, title, found, "after the rest")
    assert found.nats_per_char == textgen.evaluate("m.h5", TEXT[162:]).nats_per_char
    named = run("evaluate", "m.h5", "own.txt", "--held-out")
    assert named.out.splitlines()[1:] == result.out.splitlines()[1:]


def test_json_is_an_object_a_line_of_all_that_is_known(run):
    result = run("evaluate", "m.h5", "--json", "other.txt", "own.txt")
    records = [json.loads(line) for line in result.out.splitlines()]
    model = textgen.load_model("m.h5")
    for record, name in zip(records, ["other.txt", "own.txt"], strict=True):
        corpus = load_corpus(name, "text")
        told = {"model": "m.h5", "text": name, "sha256": corpus.sha256}
        told |= {"held_out": False, **asdict(evaluate_corpus(model, corpus))}
        assert record == told
    assert [record["trained_on"] for record in records] == [False, True]
    (record,) = map(json.loads, [run("evaluate", "m.h5", "--held-out", "--json").out])
    assert (record["text"], record["held_out"]) == ("own", True)


def test_a_perplexity_beyond_all_numbers_is_null():
    corpus = load_corpus("own.txt", "text")
    found = textgen.evaluate("m.h5", TEXT)
    found = Evaluation(**{**vars(found), "perplexity": float("inf")})
    record = json.loads(command._as_json({}, corpus, False, found))
    assert record["perplexity"] is None


def test_several_texts_are_tables_parted_by_an_empty_line(run):
    both = run("evaluate", "m.h5", "other.txt", "own.txt").out
    alone = [run("evaluate", "m.h5", name).out for name in ("other.txt", "own.txt")]
    assert both == "\n".join(alone)


def test_a_model_has_a_name_and_a_text_too(run):
    result = run("evaluate", "dinos", "dinos", "--held-out")
    assert figures(result.out)["model"][1:] == ["1.527", "2.203", "4.60", "54.9%"]
    assert result.out.startswith("dinos: 1,701 characters that the model never saw\n")
    assert result.err.endswith("dinos-pretrained.h5'\n")
    Path("models").mkdir()
    shutil.copy("m.h5", "models/sonnets.h5")
    said = run("evaluate", "sonnets", "own.txt").err
    assert f"{str(Path('models', 'sonnets.h5'))!r}, not the one that comes" in said


def test_another_programs_model_needs_its_vocabulary(run):
    theirs = keras_2_lstm()
    theirs.write(Path("theirs.h5"))
    Path("theirs.txt").write_text(theirs.symbols, newline="")
    run("evaluate", "theirs.h5", "own.txt").assert_refused("--vocabulary-from")
    options = ("--vocabulary-from", "theirs.txt")
    result = run("evaluate", "theirs.h5", "own.txt", *options)
    assert result.out.startswith(f"own.txt: {len(TEXT) - 6:,} characters\n")
    assert "whether the model was trained on this text isn't known" in result.err
    told = run("evaluate", "theirs.h5", "--held-out", *options)
    told.assert_refused("isn't known")


def test_a_text_may_be_whatever_a_training_takes(run, monkeypatch):
    """Compressed, in another encoding, rows of a table, several documents."""
    text = Path("other.txt").read_bytes()
    Path("other.gz").write_bytes(gzip.compress(text))
    Path("wide.txt").write_bytes(text.decode().encode("utf-16"))
    plain = run("evaluate", "m.h5", "other.txt").out.splitlines()[1:]
    assert run("evaluate", "m.h5", "other.gz").out.splitlines()[1:] == plain
    wide = run("evaluate", "m.h5", "wide.txt", "--encoding", "utf-16")
    assert wide.out.splitlines()[1:] == plain
    rows = "\n".join(f'{n},"{row}"' for n, row in enumerate(["a bed", "faced"] * 9))
    Path("table.csv").write_text(f"id,text\n{rows}\n")
    Path("lines.txt").write_text("a bed\nfaced\n" * 9)
    write_own_file(Path("lines.h5"), SYMBOLS, "lines")
    found = run("evaluate", "lines.h5", "table.csv", "--column", "text")
    same = run("evaluate", "lines.h5", "lines.txt")
    assert found.out.splitlines()[1:] == same.out.splitlines()[1:]
    assert "never seen" not in found.err + same.err
    Path("folder").mkdir()
    for number in range(2):
        Path("folder", f"{number}.txt").write_text("a bed\nfaced")
    joined = run("evaluate", "m.h5", "folder")
    assert joined.out.startswith("folder: 24 characters\n")
    Path("joined.txt").write_text("\na bed\nfaced\na bed\nfaced\n")
    alone = run("evaluate", "m.h5", "joined.txt")
    assert joined.out.splitlines()[1:] == alone.out.splitlines()[1:]
    assert "never seen" not in joined.err


# What is said


def test_a_text_that_it_was_trained_on_is_said(run):
    result = run("evaluate", "m.h5", "own.txt", "other.txt")
    notes = [line for line in result.err.splitlines() if line.startswith("note: ")]
    seen = "the model was trained on 75.0% of this text; --held-out measures the rest"
    assert notes == [f"note: own.txt: {seen}"]
    Path("own.txt").write_text(TEXT + "a")
    assert "which may be much the same" in run("evaluate", "m.h5", "own.txt").err


def test_unknown_characters_are_one_line_and_strict_refuses(run):
    Path("new.txt").write_text("A bed ☃\n" * 9)
    result = run("evaluate", "m.h5", "new.txt")
    (note,) = [line for line in result.err.splitlines() if "never seen" in line]
    assert "'A' (folded to 'a'), '☃' (skipped): 18 of 72 characters" in note
    run("evaluate", "m.h5", "new.txt", "--strict").assert_refused("'A', '☃'")


def test_references_that_read_a_part_only_say_so(run, monkeypatch):
    for module in ("references", "judging"):
        monkeypatch.setattr(f"textgen.evaluation.{module}.MOST_CHARS", 80)
    out = run("evaluate", "m.h5", "own.txt").out
    assert "\n  xz, from nothing, first 80  " in out
    assert (
        json.loads(run("evaluate", "m.h5", "own.txt", "--json").out)[
            "reference_characters"
        ]
        == 80
    )


def test_a_hostile_name_is_shown_escaped(run):
    Path("x\x1b[2J\n.txt").write_text(TEXT)
    result = run("evaluate", "m.h5", "x\x1b[2J\n.txt")
    assert result.out.startswith(r"x\x1b[2J\n.txt: 215 characters")
    assert "\x1b" not in result.err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "the following arguments are required: MODEL"),
        ("m.h5", "a TEXT to measure is needed, or --held-out for"),
        ("m.h5 --held-out --column a", "--column tells how to read a TEXT"),
        ("m.h5 --novelty --label-column a", "--label-column tells how to read"),
        ("m.h5 --held-out --encoding utf-8", "--encoding tells how to read"),
        ("m.h5 none.txt", "there is no 'none.txt'"),
        ("m.h5 own.txt none.txt", "there is no 'none.txt'"),
        ("m.h5 folder", "'folder' has no file"),
        ("m.h5 table.csv", "--column"),
        ("m.h5 table.csv --column id2", "id2"),
        ("m.h5 own.txt --encoding none", "--encoding must be one that Python knows"),
        ("m.h5 latin.txt", "0xe9 at offset 3"),
        ("m.h5 short.txt", "at least two characters"),
        ("m.h5 unknown.txt", "TEXT is too short to be measured"),
        ("none.h5 own.txt", "'none.h5': expected a model file"),
        ("own.txt own.txt", "'own.txt': "),
        ("nobody own.txt", "train one, or name a file as MODEL"),
        ("m.h5 other.txt --held-out", "--held-out is for a text that the model"),
        ("all.h5 own.txt --held-out", "the model was trained on all of 'own'"),
        ("lost.h5 --held-out", "give its path as TEXT"),
        ("m.h5 own.txt --vocabulary-from own.txt", "leave --vocabulary-from out"),
        ("m.h5 own.txt --jsonl", "did you mean --json?"),
        ("m.h5 own.txt --held_out", "did you mean --held-out?"),
    ],
)
def test_what_makes_no_sense_is_one_line(run, line, expected):
    Path("folder").mkdir()
    Path("latin.txt").write_bytes(b"caf\xe9 au lait\n" * 40)
    Path("short.txt").write_text("a")
    Path("table.csv").write_text("id,text\n1,a bed\n2,faced\n" * 9)
    Path("unknown.txt").write_text("☃" * 40)
    sha256 = hashlib.sha256(TEXT.encode()).hexdigest()
    for name, of in (("all.h5", sha256), ("lost.h5", "0" * 64)):
        own = {"name": "own", "kind": "text", "sha256": of}
        trained = {"held_out": 0.0, "learning_rate": 1e-3, "schedule": "cosine"}
        write_own_file(Path(name), SYMBOLS, corpus=own, texts=[own | trained])
    refused = run("evaluate", *line.split())
    refused.assert_refused(expected)
    assert "--kind" not in refused.err


# How far it is


class Stream(io.StringIO):
    """Standard error as a terminal, or none; it may break when it is written to."""

    def __init__(self, is_terminal: bool, broken: bool = False) -> None:
        super().__init__()
        self._is_terminal, self._broken = is_terminal, broken

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str) -> int:
        if self._broken:
            raise BrokenPipeError
        return super().write(text)


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """Return the time in seconds, which only the test changes."""
    now = [0.0]
    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_progress_is_a_line_on_a_terminal_that_vanishes(clock, monkeypatch):
    stream = Stream(is_terminal=True)
    monkeypatch.setattr(sys, "stderr", stream)
    with command._ProgressLine("a\x1b.txt") as progress:
        for clock[0], done in ((0.5, 50), (2.0, 100), (2.1, 105), (100.0, 600)):
            progress(done, 1000)
    first, second = r"a\x1b.txt: 10% read, 0:18 left", r"a\x1b.txt: 60% read, 1:06 left"
    assert stream.getvalue() == f"\r{first}\x1b[K\r{second}\x1b[K\r\x1b[K"


def test_progress_elsewhere_is_a_line_each_half_minute(clock, monkeypatch):
    stream = Stream(is_terminal=False)
    monkeypatch.setattr(sys, "stderr", stream)
    with command._ProgressLine("a.txt") as progress:
        for clock[0], done in ((29, 290), (31, 310), (60, 600), (62, 620)):
            progress(done, 1000)
    lines = ["a.txt: 31% read, 1:09 left", "a.txt: 62% read, 0:38 left"]
    assert stream.getvalue().splitlines() == lines


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_broken_display_ends_nothing(clock, monkeypatch, is_terminal):
    monkeypatch.setattr(sys, "stderr", Stream(is_terminal, broken=True))
    with command._ProgressLine("a.txt") as progress:
        clock[0] = 99.0
        progress(1, 2)
    assert progress._shown == is_terminal


# As a process


def test_nothing_slow_is_imported_and_python_m_textgen_is_the_same(start, folder):
    for name in ("tensorflow", "keras", "rich"):
        (folder / f"{name}.py").write_text("raise SystemExit('imported')")
    root = Path(command.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (folder, root)))}
    process = start(
        "textgen/__main__.py", "evaluate", "m.h5", "other.txt", env=environment
    )
    out, err = process.communicate()
    assert (process.returncode, err.decode()) == (0, "model: 'm.h5'\n")
    assert figures(out.decode()).keys() == set(ROWS)


def test_help_names_every_option_and_fits_a_screen(run):
    out = run("evaluate", "--help").out
    assert "  evaluate.py sonnets letters.txt" in out
    for option in ("held-out", "strict", "json", "vocabulary-from TEXT"):
        assert f"\n  --{option}" in out
    assert out.count("\n") <= 48  # two screens of a small terminal


# Novelty


def test_the_novelty_of_what_it_writes_is_the_librarys(run, monkeypatch):
    monkeypatch.setattr("textgen.evaluation.novelty.LINES", 60)
    found = textgen.novelty("dinos")
    table = run("evaluate", "dinos", "--novelty").out
    assert table.startswith("dinos: 60 lines at temperature 0.7\n")
    assert re.search(rf"not in the text +{found.novel[8]:.1%}", table)
    assert re.search(rf"lines in the text +{found.known_lines:.1%}\n", table)
    assert table.endswith(f"{found.copies[-1]!r}\n")
    record = json.loads(run("evaluate", "dinos", "--novelty", "--json").out)
    assert record["text"] == "dinos"
    assert record["known_lines"] == found.known_lines
    assert record["novel"] == {str(n): share for n, share in found.novel.items()}


def test_novelty_is_measured_against_other_texts_too(run, monkeypatch):
    monkeypatch.setattr("textgen.evaluation.novelty.TEXTS", 2)
    own = run("evaluate", "m.h5", "--novelty").out
    assert own.startswith("own: 2 texts, 2,000 characters at")
    both = run("evaluate", "m.h5", "own.txt", "other.txt", "--novelty", "--json").out
    records = [json.loads(line) for line in both.splitlines()]
    assert [record["text"] for record in records] == ["own.txt", "other.txt"]
    assert records[0]["novel_held_out"]
    assert not records[1]["novel_held_out"]
    refused = run("evaluate", "m.h5", "--novelty", "--held-out")
    refused.assert_refused("--novelty measures what the model writes")


# Mixtures


def test_a_mixture_is_measured(run):
    write_own_file(Path("n.h5"), SYMBOLS + "g", kind="text", seq_length=7)
    options = ("other.txt", "--with", "n.h5", "--mix", "3,1", "--json")
    result = run("evaluate", "m.h5", *options)
    mixed = textgen.mix_models(["m.h5", "n.h5"], [3, 1])
    expected = evaluate_corpus(mixed, load_corpus("other.txt", "text"))
    found = json.loads(result.out)
    assert found["model"] == "0.75 m.h5 + 0.25 n.h5"
    assert found["nats_per_char"] == expected.nats_per_char
    assert (
        found["nats_per_char"]
        != textgen.evaluate("m.h5", Path("other.txt").read_text()).nats_per_char
    )
    held_out = run("evaluate", "m.h5", "--held-out", "--with", "n.h5", "--surprise")
    assert "what the model never saw" in held_out.out, held_out.err
    refused = run("evaluate", "m.h5", "other.txt", "--with", "n.h5", "--mix", "1")
    refused.assert_refused("--mix must be a weight")
    refused = run("evaluate", "m.h5", "other.txt", "--mix", "0")
    refused.assert_refused("is for several models: give the others as --with")
