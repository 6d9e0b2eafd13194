"""Documents and examples: what is marked where, strings, the account of the parts."""

import gzip
import hashlib
import io
import sys
from collections import deque
from pathlib import Path

import numpy as np
import pandas
import pytest

from textgen.data import corpus as module
from textgen.data import text_file
from textgen.data.corpus import Corpus, load_corpus
from textgen.data.vocabulary import Vocabulary
from textgen.errors import CorpusError, OptionError

NOVEL = (
    "It was a dark night. The rain fell.\n\nNobody was on the road; it was late.\n" * 9
)
NAMES = "".join(f"name{n}\n" for n in range(30))


def text_of(corpus: Corpus) -> str:
    return corpus.vocabulary.decode(corpus.ids)


@pytest.fixture
def folder(written, tmp_path, monkeypatch):
    """Three documents, one of them compressed and one empty."""
    monkeypatch.chdir(tmp_path)
    Path("tales").mkdir()
    written("\n\nFirst tale.\n\nIts end.\n\n", "tales/a.txt")
    written(gzip.compress(b"Second tale\r\n"), "tales/b.txt.gz")
    written("\n\n", "tales/c.txt")
    written("Third tale", "tales/d.md")
    return tmp_path / "tales"


# Files


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 1000])
def test_documents_are_kept_apart(folder, piece_bytes, monkeypatch):
    monkeypatch.setattr(text_file, "PIECE_BYTES", piece_bytes)
    corpus = load_corpus(folder)
    assert (corpus.name, corpus.kind) == ("tales", "text")
    expected = "\0First tale.\n\nIts end.\0Second tale\0Third tale\0"
    assert text_of(corpus) == expected
    assert corpus.vocabulary.symbols == tuple(sorted(set(expected)))
    assert corpus.title == "tales, 4 files"


def test_lines_of_several_files_are_lines_like_any_other(folder):
    corpus = load_corpus(folder, "lines")
    lines = ["First tale.", "Its end.", "Second tale", "Third tale"]
    assert text_of(corpus) == "\n" + "".join(f"{line}\n" for line in lines)


def test_a_single_document_is_as_it_is(written):
    corpus = load_corpus([written(NOVEL)])
    assert text_of(corpus) == NOVEL
    assert (corpus.title, corpus.parts[0].characters) == ("some", len(NOVEL))
    sha256 = hashlib.sha256(NOVEL.encode()).hexdigest()
    identity = {"name": "some", "kind": "text", "sha256": sha256, "path": "some.txt"}
    assert corpus.identity == identity


def test_the_kind_is_guessed_of_files_together(written, tmp_path):
    for number in range(30):
        written(f"A message, number {number}\n", f"mail/{number}.txt")
    assert load_corpus(tmp_path / "mail").kind == "lines"
    written(NOVEL, "mail/novel.txt")
    assert load_corpus(tmp_path / "mail").kind == "text"


@pytest.mark.parametrize("end", ["", "\n"])
def test_documents_of_a_model_that_knows_their_ends_are_marked(written, end):
    """Also when there is only one, and a line has the end that the model knows."""
    known = Vocabulary(("\0", "x", "\n", "\r"))
    corpus = load_corpus(written(f"ab\n\ncd{end}"), "text", known)
    assert text_of(corpus) == f"\0ab\n\ncd{end}\0"
    lines = load_corpus(written(f"ab\n\ncd{end}"), "lines", known)
    assert text_of(lines) == "\0ab\0cd\0"
    assert lines.vocabulary.symbols[:4] == known.symbols
    for kind, expected in (("text", corpus), ("lines", lines)):
        moved = load_corpus(written(f"ab\n\ncd{end}"), kind).in_ids_of(known)
        assert text_of(moved) == text_of(expected)
        assert moved.vocabulary.symbols[:4] == known.symbols


# Strings


def test_strings_are_an_example_each():
    corpus = load_corpus(texts=["one", "two, too\n", "", None, "three"])
    assert (corpus.name, corpus.kind, corpus.title) == ("texts", "lines", "texts")
    assert text_of(corpus) == "\none\ntwo, too\nthree\n"
    assert corpus.kind_reason.startswith("guessed: its rows stand alone")


def test_strings_with_newlines_end_with_another_symbol():
    corpus = load_corpus(texts=["one\r\nand more", "two\r", "\n\nthree\n"])
    assert text_of(corpus) == "\0one\nand more\0two\0three\0"
    known = Vocabulary(("\n", "a"))
    assert text_of(load_corpus(texts=["a", "b"], vocabulary=known)) == "\na\nb\n"
    later = load_corpus(texts=["a", "b\nc"], vocabulary=known)
    assert text_of(later) == "\0a\0b\nc\0"
    assert later.vocabulary.symbols == ("\n", "a", "\0", "b", "c")
    again = load_corpus(texts=["a", "b"], vocabulary=later.vocabulary)
    assert text_of(again) == "\0a\0b\0"


@pytest.mark.parametrize(
    "make",
    [list, tuple, iter, pandas.Series, lambda x: pandas.Series(x, dtype="string"),
     lambda x: pandas.DataFrame({"a": x})["a"], np.array, deque],
)  # fmt: skip
def test_anything_that_yields_strings(make):
    strings = ["one", "two", "three"]
    assert text_of(load_corpus(texts=make(strings))) == "\none\ntwo\nthree\n"


def test_missing_values_of_data_frames_are_left_out():
    values = ["one", None, float("nan"), pandas.NA, pandas.NaT, np.nan, "two"]
    assert text_of(load_corpus(texts=values)) == "\none\ntwo\n"


def test_a_single_string_is_a_text_as_from_a_file():
    assert text_of(load_corpus(texts=[NOVEL])) == NOVEL
    assert load_corpus(texts=[NOVEL]).kind == "text"
    assert load_corpus(texts=[NAMES]).kind == "lines"
    assert text_of(load_corpus(texts=[NAMES])) == "\n" + NAMES


def test_long_strings_are_documents():
    corpus = load_corpus(texts=[NOVEL * 4, NOVEL * 2])
    assert corpus.kind == "text"
    assert (
        text_of(corpus) == f"\0{NOVEL * 4}".rstrip() + f"\0{NOVEL * 2}".rstrip() + "\0"
    )
    assert load_corpus(texts=[NOVEL * 4, NOVEL], kind="lines").kind == "lines"
    assert load_corpus(texts=["", NOVEL * 4, NOVEL * 2]).kind == "text"


@pytest.mark.parametrize(
    ("texts", "error", "said"),
    [("one text", OptionError, "was 'one text': give a list"),
     (b"x", OptionError, "was b'x'"),
     (Path("x.txt"), OptionError, "give a list"), (5, OptionError, "was 5"),
     ({"a": 1}, OptionError, "a table with the columns 'a'"),
     (pandas.DataFrame({"a": ["x"], "b": ["y"]}), OptionError, "columns 'a', 'b': g"),
     (["x", 7], OptionError, "number 1 was 7"), (["x", b"y"], OptionError, "was b'y'"),
     (["x", ["y"]], OptionError, "was ['y']"), (["x", np.zeros(2)], OptionError, "was"),
     (["x", "y\0z"], CorpusError, "number 1 of `texts` has a zero byte in it"),
     (["x", "y\ud800z"], CorpusError, "half of a surrogate pair"),
     ([], CorpusError, "two characters"), ([None, "", "\n"], CorpusError, "a line")],
)  # fmt: skip
def test_what_are_no_strings(texts, error, said):
    with pytest.raises(error) as caught:
        load_corpus(texts=texts)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"corpus": "sonnets", "texts": ["a"]}, "`texts` or `corpus`, not both"),
     ({"texts": ["a"], "column": "b"}, "`texts` or `column`"),
     ({"texts": ["a"], "encoding": "ascii"}, "`texts` or `encoding`"),
     ({}, "give a `corpus` or `texts`"), ({"corpus": "sonnets", "column": 5}, "was 5"),
     ({"corpus": "sonnets", "encoding": "x"}, "`encoding` must be")],
)  # fmt: skip
def test_options_that_do_not_go_together(options, said):
    with pytest.raises(OptionError, match=said):
        load_corpus(**options)


# Rows


def test_rows_of_several_tables(written, tmp_path):
    written("id,text\n1,one\n2,\n3,two\n", "t/a.csv")
    written('{"text": "three"}\n{"text": null}\n', "t/b.jsonl.gz")
    corpus = load_corpus(tmp_path / "t", column="text")
    assert text_of(corpus) == "\none\ntwo\nthree\n"
    assert corpus.identity["column"] == "text"
    assert [part.name for part in corpus.parts] == ["a.csv", "b.jsonl.gz"]
    with pytest.raises(CorpusError, match=r"a\.csv' looks like CSV .* 'id', 'text'"):
        load_corpus(tmp_path / "t")
    written("id,message\n1,one\n", "t/c.csv")
    with pytest.raises(CorpusError, match=r"c\.csv'.* columns 'id', 'message'"):
        load_corpus(tmp_path / "t", column="text")


def test_a_table_is_a_text_for_whoever_gives_the_kind(written):
    table = "id,text\n1,one\n2,two\n"
    assert text_of(load_corpus(written(table, "a.csv"), "text")) == table


def test_a_row_that_is_no_text_is_told(written):
    path = written('{"a": "x"}\n{"a": "y\\u0000"}\n', "a.jsonl")
    with pytest.raises(CorpusError, match=r"a row of '.*a\.jsonl' has a zero byte"):
        load_corpus(path, column="a")


def test_rows_of_standard_input(monkeypatch):
    table = b"id,text\n1,one\n2,two\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(table)))
    assert text_of(load_corpus("-", column="text")) == "\none\ntwo\n"


# What it was


def test_the_identity_names_every_part(folder):
    corpus = load_corpus(folder)
    texts = {"a.txt": "\n\nFirst tale.\n\nIts end.\n\n", "b.txt.gz": "Second tale\n",
             "c.txt": "\n\n", "d.md": "Third tale"}  # fmt: skip
    parts = [
        {
            "name": name,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "characters": len(text),
        }
        for name, text in texts.items()
    ]
    joined = "".join(part["sha256"] for part in parts)
    assert corpus.identity == {
        "name": "tales",
        "kind": "text",
        "sha256": hashlib.sha256(joined.encode()).hexdigest(),
        "path": "tales",
        "parts": parts,
    }


def test_the_identity_is_that_of_the_contents_not_of_the_place(folder, tmp_path):
    before = load_corpus(folder).identity
    folder.rename(tmp_path / "moved")
    files = sorted(str(path) for path in (tmp_path / "moved").iterdir())
    for given in (tmp_path / "moved", files[::-1]):
        after = load_corpus(given).identity
        for name in ("kind", "sha256", "parts"):
            assert after[name] == before[name]
    (tmp_path / "moved" / "a.txt").write_text("First tail")
    assert load_corpus(tmp_path / "moved").sha256 != before["sha256"]


def test_very_many_parts_are_told_together(written, tmp_path, monkeypatch):
    for number in range(7):
        written(f"text {number}", f"many/{number}.txt")
    monkeypatch.setattr(module, "MOST_PARTS", 3)
    before = load_corpus(tmp_path / "many").identity["parts"]
    names = ["0.txt … 2.txt", "3.txt … 5.txt", "6.txt … 6.txt"]
    assert [part["name"] for part in before] == names
    assert sum(part["characters"] for part in before) == 7 * 6
    written("other", "many/4.txt")
    after = load_corpus(tmp_path / "many").identity["parts"]
    changed = [
        one["sha256"] != two["sha256"] for one, two in zip(before, after, strict=True)
    ]
    assert changed == [False, True, False]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_rows_with_newlines_are_split_like_lines(share):
    texts = [f"row {n}\nof two lines" for n in range(200)] + [
        "row 5\nof two lines"
    ] * 20
    with_newlines = load_corpus(texts=texts)
    without = load_corpus(texts=[text.replace("\n", " ") for text in texts])
    for corpus in (with_newlines, without):
        end = corpus.vocabulary.symbols[corpus.ids[0]]
        parts = [
            corpus.vocabulary.decode(part).split(end)[1:-1]
            for part in vars(corpus.split(share)).values()
        ]
        assert sorted(parts[0] + parts[1]) == sorted(text_of(corpus).split(end)[1:-1])
        assert len(set(parts[1])) == round(200 * share)
        assert not set(parts[0]) & set(parts[1])
