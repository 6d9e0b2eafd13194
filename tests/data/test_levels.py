"""Words and byte pairs as symbols: what is learned, and that nothing is lost."""

import itertools
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.config import LEVELS, ModelConfig
from textgen.data import vocabulary as vocabulary_module
from textgen.data.labels import label_symbol
from textgen.data.levels import (
    LEAST_TIMES,
    in_characters,
    in_symbols,
    learn_vocabulary,
    most_symbols,
)
from textgen.data.spelling import pieces_of
from textgen.data.vocabulary import MOST_SYMBOL_CHARS, Vocabulary
from textgen.errors import OptionError, VocabularyError

TEXT = "the sea, the hill and the sea's shore;\nthe shore and the hill. " * 8
LONGER = LEVELS[1:]
ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)))


def learned(level, text, more="", size=None):
    """Return what is learned of a text, and the alphabet with ``more`` characters."""
    alphabet = Vocabulary.from_text(text + more)
    config = ModelConfig(level=level, vocabulary_size=size)
    return learn_vocabulary(config, alphabet, alphabet.encode(text)), alphabet


def by_merging(piece, vocabulary):
    """Join the pair that was learned first as long as there is one, as in the paper."""
    parts = list(piece)
    while known := set(itertools.pairwise(parts)) & set(vocabulary.merges):
        first = min(known, key=vocabulary.merges.index)
        place = list(itertools.pairwise(parts)).index(first)
        parts[place : place + 2] = ["".join(first)]
    return parts


def test_words_that_come_often_are_symbols_and_others_are_spelled():
    vocabulary, alphabet = learned("word", TEXT + "a rare bird")
    counts = Counter(pieces_of(TEXT))
    often = {x for x, n in counts.items() if n >= LEAST_TIMES and len(x) > 1}
    assert set(vocabulary.symbols) == often | set(alphabet.symbols)
    assert vocabulary.symbols[: len(alphabet)] == alphabet.symbols
    ids = vocabulary.encode("the rare sea's")
    assert [vocabulary.symbols[i] for i in ids] == ["the", *" rare", " sea's"]
    assert vocabulary.characters[ids].tolist() == [3, 1, 1, 1, 1, 1, 6]


@pytest.mark.parametrize("level", LONGER)
def test_what_comes_seldom_is_no_symbol_and_of_the_others_the_commonest(level):
    text = "xy\n" * (LEAST_TIMES - 1) + "ab\n" * LEAST_TIMES + "cd\n" * 9
    vocabulary, alphabet = learned(level, text)
    assert vocabulary.symbols == (*alphabet.symbols, "cd", "ab")
    one, _ = learned(level, text, size=len(alphabet) + 1)
    assert one.symbols[-1] == "cd"


@pytest.mark.parametrize("level", LEVELS)
def test_a_labels_symbol_is_of_no_text(level):
    mark = label_symbol(0)
    symbols = (*sorted(set(TEXT)), mark)
    vocabulary = Vocabulary(symbols, level, labels=("Keats",))
    labelled = f"\n{mark}the sea\n"
    ids = vocabulary.encode(labelled, labels=True)
    assert vocabulary.decode(ids) == labelled
    with pytest.raises(VocabularyError, match=r"received '\\U00100000'"):
        vocabulary.encode(labelled)


def test_pairs_are_joined_as_they_were_learned():
    vocabulary, alphabet = learned("bpe", TEXT, size=30)
    assert len(vocabulary) == 30 > len(alphabet) + 10
    for text in (TEXT, "seashore hills, the hare lost"):
        expected = [
            x for piece in pieces_of(text) for x in by_merging(piece, vocabulary)
        ]
        found = [vocabulary.symbols[i] for i in vocabulary.encode(text)]
        assert found == expected
    assert any(len(x) > 1 for x in found)
    assert all("\n" not in x for x in vocabulary.symbols if len(x) > 1)


@pytest.mark.parametrize("level", LONGER)
@settings(max_examples=60, deadline=None)
@given(learned_of=ANY_TEXT, text=ANY_TEXT)
def test_any_text_is_encoded_without_loss(level, learned_of, text):
    for one in (TEXT, f"a{learned_of}" * LEAST_TIMES):
        vocabulary, alphabet = learned(level, one, text)
        ids = vocabulary.encode(text)
        assert ids.dtype == vocabulary.dtype
        assert vocabulary.decode(ids) == text
        assert vocabulary.characters[ids].sum() == len(text)
        assert vocabulary.alphabet == alphabet
        assert Vocabulary.from_dict(vocabulary.to_dict()) == vocabulary


@pytest.mark.parametrize("level", LONGER)
def test_a_corpus_in_blocks_is_encoded_as_its_whole_text(level, monkeypatch):
    vocabulary, alphabet = learned(level, TEXT)
    whole = vocabulary.encode(TEXT)
    monkeypatch.setattr("textgen.data.ids.BLOCK_IDS", 7)
    ids = in_symbols(alphabet.encode(TEXT), alphabet, vocabulary)
    assert (ids.tolist(), ids.dtype) == (whole.tolist(), whole.dtype)
    assert alphabet.decode(in_characters(vocabulary, ids)) == TEXT
    monkeypatch.setattr(vocabulary_module, "CHUNK_CHARS", 5)
    assert vocabulary.encode(TEXT).tolist() == whole.tolist()


def test_characters_stay_as_they_are():
    alphabet = Vocabulary.from_text(TEXT)
    ids = alphabet.encode(TEXT)
    assert learn_vocabulary(ModelConfig(), alphabet, ids) is alphabet
    assert in_symbols(ids, alphabet, alphabet) is ids
    assert in_characters(alphabet, ids) is ids


def test_new_characters_spell_what_is_new_and_keep_the_ids():
    for level in LONGER:
        vocabulary, _ = learned(level, TEXT)
        grown = vocabulary.extended("the ☃!")
        assert grown.symbols == (*vocabulary.symbols, "!", "☃")
        assert grown.encode(TEXT).tolist() == vocabulary.encode(TEXT).tolist()
        assert grown.decode(grown.encode("the ☃")) == "the ☃"
        with pytest.raises(VocabularyError, match="☃"):
            vocabulary.encode("the ☃")
        assert vocabulary.fit("The ☃").text == "the "


def test_how_many_symbols_there_are_follows_from_the_text_or_is_asked_for():
    words = ModelConfig(level="word")
    assert most_symbols(words, 60, 1_000_000) == 2060
    assert most_symbols(ModelConfig(level="bpe"), 60, 90_000) == 160
    assert most_symbols(words, 60, 10**12) == 32_768
    assert most_symbols(ModelConfig(), 60, 1_000_000) == 60
    for level, size in (("character", 100), ("word", 60), ("bpe", 2)):
        config = ModelConfig(level=level, vocabulary_size=size)
        with pytest.raises(OptionError, match="`vocabulary_size`"):
            most_symbols(config, 60, 1_000_000)
    assert len(learned("word", TEXT, size=24)[0]) == 24


@pytest.mark.parametrize("level", LONGER)
def test_no_symbol_is_longer_than_a_file_may_have(level):
    text = ("x" * (MOST_SYMBOL_CHARS + 9) + " y ") * 20
    vocabulary, _ = learned(level, text)
    assert max(map(len, vocabulary.symbols)) <= MOST_SYMBOL_CHARS
    assert vocabulary.decode(vocabulary.encode(text)) == text


BPE = {"level": "bpe", "symbols": ["a", "b", "c", "ab", "abc"], "merges": [[0, 1]]}


@pytest.mark.parametrize(
    "changes",
    [{"level": "syllable"}, {"level": ["bpe"]}, {"level": "word"},
     {"symbols": ["a", "b", "c", "abc"]}, {"merges": [[0, 2]]}, {"merges": [[0, 9]]},
     {"merges": [[0, -5]]}, {"merges": [[0, True]]}, {"merges": [[0, 1.0]]},
     {"merges": [["a", "b"]]}, {"merges": [[0]]}, {"merges": [[0, 1, 2]]},
     {"merges": 7}, {"symbols": [*"ab", "ab", "xy"]}, {"symbols": [*"ab", "ab", ""]},
     {"symbols": [*"ab", "ab", "ab"]}, {"symbols": [*"ab", "ab", "\n", "a\n"]},
     {"symbols": [*"ab", "ab", "a" * 33]}, {"symbols": [*"ab", "ab", "\0b", "\0"]},
     {"symbols": [*"ab", "ab", "\ud800"]}, {"symbols": []}],
)  # fmt: skip
def test_what_makes_no_vocabulary_is_refused(changes):
    with pytest.raises((VocabularyError, ValueError, TypeError, LookupError)):
        Vocabulary.from_dict(BPE | changes)


@pytest.mark.parametrize("level", ["character", *LONGER])
@pytest.mark.parametrize(
    "symbols", ["abc", {"a": 0, "b": 1}, b"abc", 7, None, ["a", 7], ["a", ["b"]]]
)
def test_symbols_are_a_list_of_texts_and_nothing_like_it(symbols, level):
    with pytest.raises((ValueError, TypeError)):
        Vocabulary.from_dict({"level": level, "symbols": symbols})


def test_a_missing_library_is_told_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    vocabulary = Vocabulary.from_dict(BPE)
    with pytest.raises(VocabularyError, match=r"pip install 'textgen-lstm\[bpe\]'"):
        vocabulary.encode("abc")
    with pytest.raises(VocabularyError, match="tokenizers"):
        learned("bpe", TEXT)
    assert vocabulary.decode(np.array([4, 0])) == "abca"
