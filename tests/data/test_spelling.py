"""The pieces of a text: words, marks and spaces, joined they are the text."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.data.spelling import MAY_GO_ON, MOST_RUN, pieces_of, pieces_of_blocks

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
def test_the_pieces_of_blocks_are_those_of_the_whole_text(blocks):
    cut = list(pieces_of_blocks(blocks))
    assert [x for pieces in cut for x in pieces] == pieces_of("".join(blocks))


@pytest.mark.parametrize("unit", ["永", " ", "a'", "’’a"])
@pytest.mark.parametrize("block", [1, 100, 1000])
def test_runs_without_an_end_are_cut_alike_whatever_the_blocks(unit, block):
    text = unit * (20 * MOST_RUN)
    pieces = pieces_of(text)
    assert "".join(pieces) == text
    longest = max(map(len, pieces))
    assert longest <= 9 * MOST_RUN
    blocks = (text[start : start + block] for start in range(0, len(text), block))
    cut = list(pieces_of_blocks(blocks))
    assert [x for pieces in cut for x in pieces] == pieces
    most = block + MAY_GO_ON * longest
    assert max(sum(map(len, pieces)) for pieces in cut) <= most


def test_a_run_is_cut_where_it_is_too_long():
    assert [*map(len, pieces_of(" " + "a" * 300))] == [1 + MOST_RUN, MOST_RUN, 44]
    spaces = " " * (MOST_RUN + 2)
    assert pieces_of(f"a{spaces}b") == ["a", " " * MOST_RUN, " ", " b"]
