"""Regular expressions as automata: they accept what Python's `re` matches."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from textgen.errors import OptionError
from textgen.generation.automaton import Automaton, Distances, automaton_of

SYMBOLS = "\nadnoAé1 "
TEXTS = ["".join(t) for n in range(5) for t in itertools.product(SYMBOLS, repeat=n)]


def accepted(automaton: Automaton) -> set[str]:
    return {text for text in TEXTS if automaton.accepts[automaton.after(text)]}


@pytest.mark.parametrize(
    "expression",
    ["(?s:.*)don", "a.*", "[ad]+n?", "(?i:A)o*", "^a|n$", r"d\.*", ".*(a|d).{2}",
     "[^a]*", r"\w{2,4}", r"[\W1]+", r"[^\s\d]*?", "(?i)é", "(?:ad|d){,2}", r"\S\D",
     r"[\[(?=*+]|a", "a-|[-d]", "", r"(?P<x>a)\\?", "n*(o|)"],
)  # fmt: skip
def test_what_is_accepted_is_what_python_matches(expression):
    matched = {text for text in TEXTS if re.fullmatch(expression, text)}
    assert accepted(automaton_of([expression], SYMBOLS)) == matched


def test_several_expressions_accept_what_all_of_them_match():
    expressions = ["a.*", ".*n", ".{3}"]
    matched = {x for x in TEXTS if all(re.fullmatch(e, x) for e in expressions)}
    assert accepted(automaton_of(expressions, SYMBOLS)) == matched != set()


def test_symbols_that_the_model_lacks_lead_nowhere():
    automaton = automaton_of([".*z|.*"], "ab")
    assert automaton.accepts[automaton.after("ab")]
    assert not automaton.accepts[automaton.after("abz")]


@pytest.mark.parametrize("expression", ["a(dn)*", "(ad|dno).?", "o{3}|a", "z", "\n|dd"])
def test_distances_are_the_lengths_of_what_fits(expression):
    automaton = automaton_of([expression], SYMBOLS)
    distances = Distances(automaton, 6, excluded=0)
    lengths = {len(x) for x in TEXTS if "\n" not in x and re.fullmatch(expression, x)}
    for least, most in itertools.product(range(5), range(-1, 5)):
        start = np.array([automaton.start])
        found = distances.within(start, least, most).item()
        assert found == any(least <= length <= most for length in lengths)


@pytest.mark.parametrize(
    ("expression", "match"),
    [("(", "must be a regular"), ("a(?=d).*", "knows"), ("(?<!a)d", "knows"),
     (r"(a)\1", "knows"), (r"\bd", "knows"), ("a*+a", "knows"), ("(?>a|ad)", "knows"),
     ("[]a]", "knows"), ("[^]a]", "knows"), ("a^d", "knows"), ("(?x) a", "knows"),
     ("a{2001}", "states"), ("(a|d|ad)*.{200}", "states"),
     ("(" * 3000, "must be|knows")],
)  # fmt: skip
def test_what_no_automaton_can_tell_is_refused(expression, match):
    with pytest.raises(OptionError, match=match):
        automaton_of([expression], SYMBOLS)


def test_an_expression_that_takes_long_to_understand_is_given_up(monkeypatch):
    monkeypatch.setattr("textgen.generation.automaton.MAX_S", 0.1)
    with pytest.raises(OptionError, match="seconds to understand"):
        automaton_of(["((a{1,40}){1,40}){1,40}"], "ab")


def test_a_long_text_over_many_symbols_is_an_automaton_soon():
    symbols = "".join(map(chr, range(0x4E00, 0x4E00 + 1500)))
    automaton = automaton_of([f"(?s:.*){symbols[:200]}(?s:.*)"], symbols)
    assert automaton.table.shape == (202, 1500)
    assert automaton.accepts[automaton.after(symbols[7:9] + symbols[:202])]
    assert not automaton.accepts[automaton.after(symbols[7:9] + symbols[1:202])]


def test_pieces_lead_where_their_characters_do():
    automaton = automaton_of(["a*b(ab)*"], "abc")
    pieces = ["a", "ab", "bab", "c", "abab", "bc"]
    table = automaton.over(pieces)
    for number, piece in enumerate(pieces):
        for state in range(len(table)):
            moved = replace(automaton, start=state)
            assert table[state, number] == moved.after(piece)
    np.testing.assert_array_equal(automaton.over("abc"), automaton.table)
