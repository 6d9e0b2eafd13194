"""Corpus: reading, normalising, splitting, and its memory."""

import gzip
import hashlib
import os
import random
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from textgen.data import corpus as module
from textgen.data import ids as ids_module
from textgen.data import sources, text_file
from textgen.data.corpus import Corpus, load_corpus
from textgen.data.sources import named_corpora
from textgen.data.vocabulary import Vocabulary
from textgen.errors import CorpusError, OptionError

LINES = "".join(f"name{chr(97 + i % 26)}{chr(97 + i // 26)}\n" for i in range(200))


def text_of(corpus: Corpus) -> str:
    return corpus.vocabulary.decode(corpus.ids)


def failure(path, **options) -> str:
    with pytest.raises(CorpusError) as caught:
        load_corpus(path, **options)
    assert "\n" not in str(caught.value)
    assert caught.value.advice
    return str(caught.value)


def lines_corpus(lines: list[str]) -> Corpus:
    text = "\n" + "".join(f"{line}\n" for line in lines)
    vocabulary = Vocabulary.from_text(text)
    return Corpus("some", "lines", "", vocabulary, vocabulary.encode(text))


def split_lines(corpus: Corpus, held_out: float) -> list[list[str]]:
    """Return the lines to train on and those held out, each with its symbols around."""
    texts = map(corpus.vocabulary.decode, vars(corpus.split(held_out)).values())
    parts = [text.split("\n") for text in texts]
    assert all(part[0] == part[-1] == "" for part in parts)
    return [part[1:-1] for part in parts]


@pytest.mark.parametrize(
    ("name", "kind", "symbols"),
    [("sonnets", "text", 61), ("dinos", "lines", 27), ("shakespeare", "text", 83)],
)
def test_named_corpora(name, kind, symbols):
    corpus, data = load_corpus(name), named_corpora()[name].read_bytes()
    assert (corpus.name, corpus.kind) == (name, kind)
    assert corpus.sha256 == hashlib.sha256(data).hexdigest()
    assert len(corpus.vocabulary) == symbols
    assert corpus.ids.dtype == np.uint8
    assert text_of(corpus) == "\n" * (kind == "lines") + data.decode()


def test_another_text_in_the_folder_is_another_named_corpus(tmp_path, monkeypatch):
    (tmp_path / "zoo.txt").write_text("lion and tiger")
    (tmp_path / "README.md").write_text("no corpus")
    monkeypatch.setattr(sources, "data_folder", lambda kind: tmp_path)
    assert named_corpora() == {"zoo": tmp_path / "zoo.txt"}
    assert text_of(load_corpus("zoo")) == "lion and tiger"
    assert "(zoo)" in failure("dinos")


def test_a_named_corpus_goes_before_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dinos").write_text("just this text")
    Path("dinos.txt").write_text("just this text")
    assert len(load_corpus("dinos").vocabulary) == 27
    assert load_corpus("dinos").named
    for corpus in map(load_corpus, ("./dinos", Path("dinos"), "dinos.txt")):
        assert text_of(corpus) == "just this text"
        assert (corpus.name, corpus.named) == ("dinos", False)


def test_text_of_a_path(written):
    corpus = load_corpus(written("hello\n\nwörld\n", "my text.md"))
    assert (corpus.name, corpus.kind) == ("my text", "text")
    assert corpus.kind_reason.startswith("guessed")
    assert text_of(corpus) == "hello\n\nwörld\n"


@pytest.mark.parametrize(
    "content",
    ["ab\ncd\n", "ab\ncd", "\n\nab\n\n\ncd\n\n", "\ufeffab\r\ncd\r\n", "ab\rcd\r\r"],
)
@pytest.mark.parametrize("piece_bytes", [1, 3, 1 << 18])
def test_lines_begin_and_end_with_the_end_symbol(
    written, content, piece_bytes, monkeypatch
):
    monkeypatch.setattr(text_file, "PIECE_BYTES", piece_bytes)
    corpus = load_corpus(written(content), kind="lines")
    assert text_of(corpus) == "\nab\ncd\n"
    assert corpus.kind_reason == "given"
    text = content.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    assert corpus.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_a_vocabulary_given_keeps_its_ids(written):
    saved = Vocabulary(("z", "b", "a"))
    corpus = load_corpus(written("abca!"), vocabulary=saved)
    assert corpus.vocabulary.symbols == ("z", "b", "a", "!", "c")
    assert corpus.ids.tolist() == [2, 1, 4, 2, 3]


@pytest.mark.parametrize("kind", ["lines", "text"])
def test_a_kind_that_is_given_goes_before_the_guess(written, kind):
    assert load_corpus(written(LINES), kind).kind == kind
    assert load_corpus(written(LINES)).kind == "lines"


def test_a_text_in_the_ids_of_another_vocabulary_is_the_same_text(written):
    corpus = load_corpus(written("banana"))
    other = corpus.in_ids_of(Vocabulary(("n", "z", "a")))
    assert other.vocabulary.symbols == ("n", "z", "a", "b")
    assert other.vocabulary.decode(other.ids) == "banana"
    assert other.sha256 == corpus.sha256


def test_unknown_kind_is_refused(written):
    with pytest.raises(OptionError, match="`kind` must be one of lines, text"):
        load_corpus(written("abc"), kind="stream")


# Bad input


@pytest.mark.parametrize(
    ("path", "expected"),
    [("odes", "'odes': name one of the corpora (dinos, shakespeare, sonnets)"),
     ("", "''"), ("no/such.txt", "'no/such.txt'"), ("a\0b", r"'a\x00b'"),
     ("evil\nname\x1b[2J", r"'evil\nname\x1b[2J'"), ("x" * 5000, "can't be read"),
     ("\0" * 5000, "there is no")],
)  # fmt: skip
def test_missing_path(path, expected):
    message = failure(path)
    assert expected in message
    assert len(message) < 500


def test_no_path_at_all_is_refused():
    with pytest.raises(CorpusError, match=r"`corpus`.* was 5"):
        load_corpus(5)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_without_waiting(tmp_path, written):
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in failure(tmp_path / "pipe")
    assert "there is no '" in failure(written("a file") / "more.txt")


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [("", "text", "two characters"), ("", "lines", "a line"),
     ("\n\n\n", "lines", "a line"), ("\ufeffé", None, "two characters"),
     ("\r\n", None, "two characters")],
)  # fmt: skip
def test_a_text_that_is_too_short(written, content, kind, expected):
    path = written(content)
    assert expected in (problem := failure(path, kind=kind))
    assert f"but {str(path)!r} has fewer" in problem


# Splitting


@pytest.mark.parametrize(
    ("length", "held_out", "expected"),
    [(100, 0.1, 10), (100, 0, 0), (100, 0.25, 25), (100, 0.999, 99), (10, 0.1, 0),
     (2, 0.5, 0), (2, 0.999, 0), (3, 0.999, 2), (20, 0.1, 2)],
)  # fmt: skip
def test_text_is_cut_by_position(length, held_out, expected):
    vocabulary = Vocabulary(tuple(map(chr, range(length))))
    ids = np.arange(length, dtype=vocabulary.dtype)
    parts = vars(Corpus("some", "text", "", vocabulary, ids).split(held_out)).values()
    assert [len(part) for part in parts] == [length - expected, expected]
    assert np.concatenate([*parts]).tolist() == ids.tolist()


def test_lines_are_split_without_loss_or_leak():
    rng = random.Random(1)
    lines = [f"line{rng.randrange(300)}" for _ in range(1000)]
    corpus = lines_corpus(lines)
    training, held_out = split_lines(corpus, 0.1)
    assert len(set(held_out)) == round(len(set(lines)) / 10)
    assert training == [line for line in lines if line not in set(held_out)]
    assert held_out == [line for line in lines if line in set(held_out)]


@pytest.mark.parametrize("block", [1, 3, 64, 100])
def test_blocks_do_not_change_the_split(block, monkeypatch):
    corpus = lines_corpus([f"line{i}" * (i % 5 + 1) for i in range(100)])
    whole = split_lines(corpus, 0.3)
    monkeypatch.setattr(module, "BLOCK_LINES", block)
    assert split_lines(corpus, 0.3) == whole


@pytest.mark.parametrize("kind", ["lines", "text"])
def test_a_smaller_share_is_part_of_a_larger_one(kind):
    corpus = replace(lines_corpus([f"line{i}" for i in range(200)]), kind=kind)
    parts = [corpus.split(share).held_out for share in (0.1, 0.4)]
    small, large = (set(corpus.vocabulary.decode(part).split()) for part in parts)
    assert 0 < len(small) < len(large)
    assert len(small - large) <= (kind == "text")  # a line that was cut


def test_the_lines_held_out_are_these_for_good():
    corpus = load_corpus("dinos")
    held_out = corpus.vocabulary.decode(corpus.split(0.1).held_out)
    assert held_out.startswith("\naachenosaurus\nachillobator\n")
    assert hashlib.sha256(held_out.encode()).hexdigest() == (
        "9435e0f38415d515a6d8b41ecedb1ed28687dd47ff06f5ba49baf65cb6fc5fe8"
    )


def test_the_draw_depends_on_lines_only_not_on_ids():
    corpus = lines_corpus([f"line{i}" for i in range(200)])
    vocabulary = Vocabulary(("q", *reversed(corpus.vocabulary.symbols)))
    ids = vocabulary.encode(text_of(corpus))
    other = Corpus("some", "lines", "", vocabulary, ids)
    assert split_lines(other, 0.1) == split_lines(corpus, 0.1)


@pytest.mark.parametrize(
    ("lines", "held_out", "expected"),
    [("a", 0.5, 0), ("aaa", 0.9, 0), ("ab", 0.99, 1), ("ab", 0.1, 0), ("abc", 0.0, 0),
     ("abcdefghij", 0.1, 1)],
)  # fmt: skip
def test_tiny_lines_keep_a_line_to_train_on(lines, held_out, expected):
    corpus = lines_corpus(list(lines))
    ids = corpus.split(held_out).held_out
    assert corpus.vocabulary.decode(ids).count("\n") == expected + (expected > 0)


@pytest.mark.parametrize("held_out", [-0.1, 1, "x"])
def test_nonsense_share_is_refused(held_out):
    with pytest.raises(OptionError, match="held_out"):
        lines_corpus(["a", "b"]).split(held_out)


# Size


@pytest.mark.parametrize("kind", ["lines", "text"])
@pytest.mark.parametrize("form", ["plain", "gzip"])
def test_memory_is_one_array_and_a_piece(written, kind, form):
    """The array is up to a quarter too long until it is whole."""
    text = b"some words of a text\n" * 1_000_000
    path = written(gzip.compress(text, 1) if form == "gzip" else text)
    tracemalloc.start()
    corpus = load_corpus(path, kind=kind)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(corpus.ids) == len(text) + (kind == "lines")
    assert peak < 1.7 * len(text)


@pytest.mark.parametrize("kind", ["lines", "text"])
@pytest.mark.parametrize("vocabulary", [None, Vocabulary(("z", "e", "é"))])
def test_a_text_is_the_same_in_blocks_of_any_size(
    written, kind, vocabulary, monkeypatch
):
    """Both with all its symbols in a byte, and when it turns out that they are more."""
    many = "".join(map(chr, range(0x100, 0x300)))
    for text in (LINES * 30, LINES * 30 + many + "\n" + LINES):
        whole = load_corpus(written(text), kind, vocabulary)
        with monkeypatch.context() as patch:
            patch.setattr(ids_module, "BLOCK_IDS", 777)
            patch.setattr(ids_module, "FIRST_BYTES", 16)
            blocks = load_corpus(written(text), kind, vocabulary)
            other = blocks.in_ids_of(Vocabulary(("q", "a")))
        assert blocks.vocabulary == whole.vocabulary
        np.testing.assert_array_equal(blocks.ids, whole.ids)
        assert blocks.ids.dtype == whole.ids.dtype
        assert text_of(other) == text_of(whole) == "\n" * (kind == "lines") + text


def test_a_split_of_lines_takes_no_second_copy_of_each_line():
    """100,000 lines of 20 MB: the parts, 8 bytes of hash a line, and what is sorted."""
    ids = np.full(20_000_001, 1, np.uint8)
    ids[::200] = 0
    corpus = Corpus("some", "lines", "", Vocabulary(("\n", "a")), ids)
    tracemalloc.start()
    corpus.split(0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.6 * len(ids)
