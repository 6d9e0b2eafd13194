"""How words sound, against what any reader of verse knows."""

import sys

import pytest

from textgen.errors import OptionError
from textgen.generation import prosody
from textgen.generation.prosody import (
    as_estimated,
    do_rhyme,
    places_after,
    pronunciations,
    rhyme_length,
    short_rhymes,
    stresses,
)

pronouncing = pytest.importorskip("pronouncing")


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("love", "L AH1 V"),
        ("o'er", "AO1 R"),
        ("heav'n", "HH EH1 V N"),
        ("pow'r", "P AW1 R"),
        ("tatter'd", "T AE1 T ER0 D"),
        ("feel'st", "F IY1 L S T"),
        ("lov'st", "L AH1 V S T"),
        ("viewest", "V Y UW1 IH0 S T"),
        ("lovest", "L AH1 V IH0 S T"),
        ("loveth", "L AH1 V IH0 TH"),
        ("didst", "D IH1 D S T"),
        ("is't", "IH1 Z T"),
        ("beauty's", "B Y UW1 T IY0 Z"),
        ("light's", "L AY1 T S"),
        ("grace's", "G R EY1 S IH0 Z"),
        ("unbless", "AH0 N B L EH1 S"),
    ],
)
def test_words_of_verse_have_the_sounds_that_the_rules_say(word, phones):
    assert phones in pronunciations(word)


@pytest.mark.parametrize(
    "word", ["", "sh", "xq", "brillig", "mr'x", "'", "thqst", "unxq"]
)
def test_other_words_are_unknown(word):
    assert pronunciations(word) == ()


def test_the_dictionarys_words_sound_as_it_says():
    for word in ("fire", "permit", "desire", "eternity"):
        assert set(pronunciations(word)) == set(pronouncing.phones_for_word(word))


def test_an_unknown_word_of_the_user_is_estimated_by_its_spelling():
    (phones,) = as_estimated("snoreek")
    assert len(stresses(phones)) == 2
    assert do_rhyme("snoreek", "seek")
    assert [len(stresses(as_estimated(x)[0])) for x in ("xq", "outgrabe")] == [1, 2]


@pytest.mark.parametrize(
    ("word", "other"),
    [("day", "may"), ("eyes", "lies"), ("memory", "thee"), ("ever", "never"),
     ("decease", "peace"), ("brow", "now"), ("tatter'd", "scattered")],
)  # fmt: skip
def test_what_rhymes(word, other):
    assert do_rhyme(word, other)
    assert do_rhyme(other, word)


@pytest.mark.parametrize(
    ("word", "other"),
    [("day", "day"), ("sea", "see"), ("light", "delight"), ("right", "write"),
     ("love", "prove"), ("ever", "her"), ("been", "son"), ("thine", "time"), ("", "")],
)  # fmt: skip
def test_what_does_not_rhyme_and_no_word_does_with_itself(word, other):
    assert not do_rhyme(word, other)
    assert not do_rhyme(other, word)


def test_short_rhymes_are_those_of_the_library_that_are_short_enough():
    expected = {
        word
        for word in pronouncing.rhymes("night")
        if any(pronouncing.syllable_count(x) == 1 for x in pronunciations(word))
    }
    found = set(short_rhymes("night"))
    assert {"light", "sight", "write"} <= found <= expected
    assert "knight" not in found
    assert list(short_rhymes("night")) == sorted(found)
    assert {"never", "sever"} <= set(short_rhymes("ever"))
    assert [rhyme_length(x) for x in ("night", "ever", "memory")] == [1, 2, 1]
    assert short_rhymes("month") == ()


IAMBIC = "ws" * 5


@pytest.mark.parametrize(
    ("word", "before", "begins", "after"),
    [
        ("compare", 2, False, {4}),  # com-PARE on weak, strong
        ("compare", 1, False, set()),  # the stress would be weak
        ("making", 1, False, {3}),
        ("making", 2, False, set()),
        ("making", 0, True, {2}),  # inverted: MAK-ing a FAM-ine
        ("making", 4, True, {6}),  # so, too, after a pause
        ("making", 8, True, set()),  # but not at the end
        ("making", 9, False, set()),  # longer than the line
        ("love", 2, False, {3}),
        ("love", 3, False, {4}),
        ("the", 2, False, {3}),
        ("the", 3, False, set()),
        ("eternity", 2, False, {6}),
        ("every", 1, False, {3, 4}),
        ("brillig", 0, True, set()),
    ],
)
def test_where_words_fit_in_iambs(word, before, begins, after):
    assert places_after(word, before, IAMBIC, begins) == after


def test_users_words_are_only_counted():
    assert places_after("making", 2, IAMBIC, False, lenient=True) == {4}
    assert places_after("brillig", 9, IAMBIC, False, lenient=True) == {11}


def test_without_the_library_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pronouncing", None)
    prosody.dictionary.cache_clear()
    with pytest.raises(OptionError, match=r"pip install 'textgen-lstm\[forms\]'"):
        prosody.dictionary()
    monkeypatch.undo()
    prosody.dictionary.cache_clear()
