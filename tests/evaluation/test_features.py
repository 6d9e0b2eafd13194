"""Features of a text, against marks that a reader puts under its characters."""

import numpy as np
import pytest

from textgen.evaluation.features import FEATURES, features_of


@pytest.mark.parametrize(
    ("name", "text", "marks"),
    [
        ("inside quotes", 'a "b c" d', "..####..."),
        ("inside quotes", "a “b ‘c’” d", "..######..."),
        ("inside quotes", 'a "b\n\nc" d', "..###..###"),
        ("inside quotes", "„b“ «c» “d", "##..##..##"),
        ("inside brackets", "a (b [c] d) e", "..########..."),
        ("beginning of a word", "It's o'er - 3a 'tis", "#....#.......#..#.."),
        ("vowel", "Oh, Ely aye", "#...#...#.#"),
        ("capital", "It IS é É", "#..##...#"),
        ("space", "a b\tc\nd", ".#.#..."),
        ("line end", "a\nb\0c", ".#.#."),
        ("punctuation", "a-b, “c” +3.", ".#.#.#.#...#"),
        ("digit", "a1b23", ".#.##"),
    ],
)
def test_what_is_so_or_not(name, text, marks):
    assert features_of(text)[name].tolist() == [mark == "#" for mark in marks]


@pytest.mark.parametrize(
    ("name", "text", "positions"),
    [
        ("position in the line", "ab\nc\0de", "1201012"),
        ("position in the word", "It's a 'tis", "12340100123"),
        ("line of the paragraph", "a\nb\n\nc\nd", "01120011"),
        ("line of the paragraph", "a\nb\0c\nd", "0110011"),
        ("line of the paragraph", "a\nb\nc", "00000"),
    ],
)
def test_positions(name, text, positions):
    assert features_of(text)[name].tolist() == list(map(int, positions))


def test_every_feature_has_a_number_for_each_character():
    for text in ("", "Any text, “at all”.\n\n"):
        found = features_of(text)
        assert found.keys() == FEATURES.keys()
        assert {row.shape for row in found.values()} == {(len(text),)}
        assert {row.dtype for row in found.values()} == {np.dtype(np.float64)}
