"""The texts of the command `train`: each form works, or one line tells the way."""

import bz2
import gzip
import lzma
import sys
from functools import partial
from pathlib import Path

import pytest

from textgen.cli import train as command
from textgen.cli.train import parse_arguments
from textgen.data.corpus import read_corpus
from textgen.generation.streaming import generate_output
from textgen.saving.model_file import load_model

TINY = ("--steps", "2", "--layers", "1", "--units", "4", "--window", "4",
        "--batch-size", "4")  # fmt: skip
TEXT = "Now is the hour; the sea, the hill,\nand all between, lie still.\n\n" * 12
TABLE = 'id,date,text\n1,2020-01-02,"hello, you"\n2,2020-01-03,bye\n3,,again\n'


@pytest.fixture
def train(run, monkeypatch, tmp_path):
    """Return a function that runs train.py among texts, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    files = {
        "story.txt": TEXT.encode(),
        "story.txt.gz": gzip.compress(TEXT.encode()),
        "story.bz2": bz2.compress(TEXT.encode()),
        "story.xz": lzma.compress(TEXT.encode()),
        "latin.txt": (TEXT + "café").encode("latin-1"),
        "table.csv": TABLE.encode(),
        "rows.jsonl": b'{"id": 1, "text": "hello"}\n{"id": 2, "text": "bye"}\n',
        "list.json": b'[{"id": 1, "text": "hello"}]',
        "tales/one.txt": TEXT.encode(),
        "tales/two.txt": b"Another tale, of another night.\n" * 9,
        "home/own.txt": TEXT.encode(),
        "picture.png": b"\x89PNG\0\0",
    }
    for name, content in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(content)
    return partial(run, "train")


def corpus_of(*arguments):
    """Read the text that a command line asks for."""
    request = parse_arguments(arguments, "train.py")
    return read_corpus(request.source, request.kind)


@pytest.mark.parametrize(
    ("arguments", "name", "parts"),
    [(["story.txt"], "story", 1), (["--corpus", "story.txt"], "story", 1),
     (["story.txt.gz"], "story", 1), (["story.bz2"], "story", 1),
     (["story.xz", "--units", "3"], "story", 1), (["tales"], "tales", 2),
     (["tales/*.txt"], "one", 2), (["~/own.txt"], "own", 1),
     (["tales/one.txt", "--units", "3", "tales/two.txt"], "one", 2),
     (["latin.txt", "--encoding", "latin-1"], "latin", 1), (["sonnets"], "sonnets", 1),
     (["table.csv", "--column", "text"], "table", 1), (["rows.jsonl", "--column=text"],
      "rows", 1), ([], "sonnets", 1), (["--", "story.txt"], "story", 1)],
)  # fmt: skip
def test_each_form_of_text_is_taken(train, arguments, name, parts):
    corpus = corpus_of(*arguments)
    assert (corpus.name, len(corpus.parts)) == (name, parts)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["table.csv"], "'table.csv' looks like CSV with the columns 'id', 'date', 'text'"
      ": name the one to read by --column"),
     (["rows.jsonl"], "JSON lines with the columns 'id', 'text'"),
     (["list.json"], "JSON with the columns 'id', 'text'"),
     (["story.txt", "table.csv"], "'table.csv' looks like"), (["."], "'latin.txt'"),
     (["table.csv", "--column", "tekst"], "did you mean text?"),
     (["story.txt", "--column", "text"], "first row must name them"),
     (["latin.txt"], "or, if it is a corpus, give its --encoding"),
     (["latin.txt", "--encoding", "latin-one"], "--encoding must be one that Py"),
     (["latin.txt", "--encoding", "ascii"], "give its own --encoding"),
     (["picture.png"], "binary"), (["tales/*.md"], "files that fit 'tales/*.md'"),
     (["nope.txt"], "there is no 'nope.txt'"), (["no.txt", "story.txt"], "'no.txt'"),
     (["story.txt", "--corpus", "sonnets"], "give texts or --corpus, not both"),
     (["story.txt", "--colum", "text"], "did you mean --column?"),
     (["-"], "at least two characters, but 'stdin'")],
)  # fmt: skip
def test_what_is_no_text_gets_a_line_that_tells_the_way(train, arguments, expected):
    train(*arguments).assert_refused(expected)
    assert not Path("models").exists() or not list(Path("models").iterdir())


def test_a_library_that_is_missing_is_told(train, monkeypatch):
    Path("rows.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    train("rows.parquet", "--column", "text").assert_refused("textgen-lstm[parquet]")


def test_that_much_is_read_is_said_before(train, monkeypatch):
    assert train("story.txt", "--kind", "odd").err.startswith("error: ")
    monkeypatch.setattr(command, "LONG_BYTES", 10)
    said = train("story.txt", "--kind", "odd").err
    assert said.startswith("reading 0 MB of text …\nerror: ")


def test_what_is_read_is_said_with_the_reason_and_the_option_that_changes_it(train):
    result = train("tales", *TINY)
    assert result.status == 0
    line = next(x for x in result.err.splitlines() if x.startswith("tales, 2 files: "))
    assert "text (guessed: it has empty lines between its lines; --kind lines" in line


def test_documents_end_where_the_model_has_seen_them_end(train):
    assert train("tales", *TINY).out == "models/tales.h5\n"
    model = load_model("models/tales.h5")
    assert (model.kind, model.vocabulary.symbols[model.end_id]) == ("text", "\0")
    parts = model.metadata["corpus"]["parts"]
    assert [part["name"] for part in parts] == ["one.txt", "two.txt"]
    text = generate_output(model, "N", length=2000, temperature=1.5, seed=1)
    assert "\0" not in text
    assert len(text) < 2001


def test_standard_input_is_trained_on(train):
    result = train("-", *TINY, text=gzip.compress(TEXT.encode()))
    assert result.out == "models/stdin.h5\n"
    assert train("-", "--resume", text=TEXT.encode()).out == "models/stdin.h5\n"


def test_rows_are_examples_and_are_resumed_without_naming_the_column_again(train):
    assert train("table.csv", "--column", "text", *TINY).out == "models/table.h5\n"
    model = load_model("models/table.h5")
    assert (model.kind, model.makes_lines) == ("lines", True)
    assert "finished" in train("table.csv", "--resume").err
    Path("table.csv").write_text(TABLE + "4,,new\n")
    train("table.csv", "--resume").assert_refused(
        "expected the text that this training"
    )


def test_a_file_that_changed_is_named_when_a_training_goes_on(train):
    train("tales", *TINY)
    Path("tales/two.txt").write_text("Another ending.\n")
    train("tales", "--resume").assert_refused("('two.txt' has changed)")
    Path("tales/two.txt").unlink()
    Path("tales/three.txt").write_text("More.\n")
    train("tales", "--resume").assert_refused("('three.txt' is new)")
    Path("tales/three.txt").unlink()
    train("tales", "--resume").assert_refused("'tales' has ")
