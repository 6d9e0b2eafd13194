"""Vocabulary: ids, unknown symbols, folding."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.data import vocabulary as module
from textgen.data.vocabulary import Fitted, Vocabulary
from textgen.errors import VocabularyError

ANY_UNICODE = st.text(st.characters(exclude_categories=()))  # surrogates included


def test_from_text_is_sorted_and_distinct():
    vocabulary = Vocabulary.from_text("hello\nworld")
    assert vocabulary.symbols == tuple("\ndehlorw")
    assert len(vocabulary) == 8
    assert ("h" in vocabulary, "x" in vocabulary) == (True, False)


@pytest.mark.parametrize(
    ("symbols", "dtype"),
    [(1, np.uint8), (256, np.uint8), (257, np.uint16), (65_536, np.uint16),
     (65_537, np.uint32)],
)  # fmt: skip
def test_dtype_is_the_smallest_that_holds_every_id(symbols, dtype):
    vocabulary = Vocabulary(tuple(chr(0x10000 + i) for i in range(symbols)))
    assert vocabulary.dtype == dtype
    assert vocabulary.encode(vocabulary.symbols[-1]).tolist() == [symbols - 1]


@pytest.mark.parametrize("ids", [[-1], [2], [0, 1, 300]])
def test_decode_refuses_what_is_no_id(ids):
    with pytest.raises(ValueError, match="from 0 to 1"):
        Vocabulary(("a", "b")).decode(ids)


@pytest.mark.parametrize(
    ("symbols", "named"),
    [((), "none"), (("a", "b", "a"), "'a' 2 times"), (("ab",), "'ab'"), (("",), "''"),
     (([7], None), "[7], None"), (("\ud800",), r"\ud800"), (("x" * 1000,), "...")],
)  # fmt: skip
def test_bad_symbols_are_refused_in_one_short_line(symbols, named):
    with pytest.raises(VocabularyError) as caught:
        Vocabulary(symbols)
    assert named in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "named"),
    [("a\x1b☃b☃\ud800\n", r"'\x1b', '☃', '\ud800', '\n'"),
     ("\U0010ffff", r"'\U0010ffff'"), ("a\udcffb", "byte 0xff"),
     ("abcdefghijklmnop", "'d', 'e', 'f', 'g', 'h' and 8 more")],
)  # fmt: skip
def test_encode_names_the_first_few_unknown_symbols_escaped(text, named):
    with pytest.raises(VocabularyError) as caught:
        Vocabulary.from_text("abc").encode(text)
    assert f"received {named}:" in str(caught.value)


def test_extended_keeps_ids_and_appends_sorted():
    vocabulary = Vocabulary.from_text("mn").extended("zambn")
    assert vocabulary.symbols == ("m", "n", "a", "b", "z")
    assert vocabulary.encode("nz").tolist() == [1, 4]
    assert vocabulary.extended("ma") is vocabulary


@pytest.mark.parametrize(
    ("known", "received", "text"),
    [("abc", "abc", "abc"), ("dont'", "don’t", "don't"), ("dont’", "don't", "don’t"),
     ('ab"', "“ab”", '"ab"'), ("ab-", "a—b", "a--b"), ("ab.", "a…b", "a...b"),
     ("fin", "ﬁn", "fin"), ("ae", "æ", "ae"), ("ae", "Æ", "ae"),
     ("ab ", "a\u00a0b\tb", "a b b"), ("abc", "ABC", "abc"), ("ABC", "abc", "ABC"),
     ("eE", "éÉ", "eE"), ("eé", "É", "é"), ("eÉ", "é", "É"), ("e", "É", "e"),
     ("E", "é", "E"), ("Rr", "ß☃", ""), ("e", "e\u0301", "e"),
     ("\nab", "a\r\nb", "a\nb"), ("a", "\ud800a", "a")],
)  # fmt: skip
def test_fit_folds_what_it_can(known, received, text):
    assert Vocabulary.from_text(known).fit(received).text == text


def test_fit_reports_each_change_once_in_order():
    fitted = Vocabulary.from_text("ae").fit("☃AéAé\x07☃")
    assert fitted == Fitted("aeae", (("A", "a"), ("é", "e")), ("☃", "\x07"))
    assert fitted.describe() == (
        "the model has never seen 'A' (folded to 'a'), 'é' (folded to 'e'), "
        "'☃' (skipped), '\\x07' (skipped)"
    )


@given(st.text(min_size=1))
def test_any_text_survives_its_own_vocabulary_in_chunks_of_any_size(text):
    vocabulary = Vocabulary.from_text(text)
    for chunk_chars in (1, 3, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "CHUNK_CHARS", chunk_chars)
            ids = vocabulary.encode(text)
        assert ids.tolist() == [vocabulary.symbols.index(symbol) for symbol in text]
    assert vocabulary.decode(ids) == text
    assert vocabulary.fit(text) == Fitted(text)
    assert vocabulary.encode("").shape == (0,)
    assert vocabulary.decode([]) == ""


def test_symbols_are_like_themselves_or_what_one_symbol_stands_for():
    vocabulary = Vocabulary.from_text("'.ae")
    # "æ" is like two symbols and "☃" like none.
    assert vocabulary.ids_like("ea’Éæ☃").tolist() == [3, 2, 0, 3, -1, -1]
    assert vocabulary.ids_like("").shape == (0,)


@given(st.text(min_size=1), ANY_UNICODE)
def test_whatever_is_fitted_can_be_encoded(known, text):
    vocabulary = Vocabulary.from_text(known)
    fitted = vocabulary.fit(text)
    assert vocabulary.decode(vocabulary.encode(fitted.text)) == fitted.text
    changed = {old for old, _ in fitted.folded} | set(fitted.skipped)
    assert changed == set(text) - set(known)
    line = fitted.describe()
    assert (line is None) == (not changed)
    assert line is None or (line.isprintable() and len(line) < 300)


def test_many_symbols_are_quick_and_encoding_needs_little_more_than_its_result():
    # Looking through all symbols for each would take many minutes.
    text = "".join(chr(0x10000 + i) for i in range(100_000)) * 80
    vocabulary = Vocabulary.from_text(text)
    tracemalloc.start()
    ids = vocabulary.encode(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < ids.nbytes + 8_000_000
    assert vocabulary.decode(ids[:100_000]) == text[:100_000]
