"""The pieces of a text: words, marks and spaces, joined they are the text."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.data.pieces import in_whole_pieces, pieces_of

ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)))
# What decides where a piece ends, more often than all of Unicode would have it.
SPACED = st.text(st.sampled_from("aé’' \n\t\0.\u0301"), max_size=30)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [("Don't go, summer's done.", ["Don't", " go", ",", " summer's", " done", "."]),
     ("'Tis “so” — no", ["'", "Tis", " “", "so", "”", " —", " no"]),
     ("don’t l'’amour", ["don’t", " l", "'", "’", "amour"]),
     ("می\u200cخواهم क्\u200dष", ["می\u200cخواهم", " क्\u200dष"]),
     ("the lovers’ eyes", ["the", " lovers", "’", " eyes"]),
     ("a  b   c", ["a", " ", " b", "  ", " c"]),
     ("end \n\n  next", ["end", " ", "\n", "\n", " ", " next"]),
     ("one\0two", ["one", "\0", "two"]),
     ("\tx y_2 3.5", ["\t", "x", " y_2", " 3", ".", "5"]),
     ("cafe\u0301 нов हिन्दी", ["cafe\u0301", " нов", " हिन्दी"]),
     ("", [])],
)  # fmt: skip
def test_words_marks_and_spaces(text, pieces):
    assert pieces_of(text) == pieces


@settings(max_examples=200)
@given(ANY_TEXT | SPACED)
def test_the_pieces_are_the_text_and_ends_stand_alone(text):
    pieces = pieces_of(text)
    assert "".join(pieces) == text
    assert all(len(x) == 1 for x in pieces if re.search(r"[\n\0]", x))


@settings(max_examples=200)
@given(st.lists(SPACED, max_size=6))
def test_blocks_are_cut_where_pieces_end(blocks):
    text = "".join(blocks)
    cut = list(in_whole_pieces(blocks))
    assert "".join(cut) == text
    assert [x for block in cut for x in pieces_of(block)] == pieces_of(text)
