"""Which symbols another program's model was trained on: forms of texts, and JSON."""

import json
import re

import pytest

from textgen.data.vocabulary import Vocabulary
from textgen.errors import CorpusError, ModelFileError, TextgenError
from textgen.saving.vocabulary_from import MAX_JSON_BYTES, read_vocabulary

MARK = "\ufeff"
# Twelve symbols as it is, eight in lower case; with a mark or without newlines one
# more or less.
TEXT = "ABCDabcd\nef "


@pytest.fixture
def path(tmp_path):
    return tmp_path / "text.txt"


@pytest.mark.parametrize(
    ("size", "symbols", "said"),
    [
        (12, "\n ABCDabcdef", None),
        (13, f"\n ABCDabcdef{MARK}", "with a byte-order mark"),
        (11, " ABCDabcdef", "with newlines as spaces"),
        (8, "\n abcdef", "in lower case"),
        (9, f"\n abcdef{MARK}", "in lower case and with a byte-order mark"),
        (7, " abcdef", "in lower case and with newlines as spaces"),
    ],
)
@pytest.mark.parametrize("written", [TEXT, MARK + TEXT, TEXT.replace("\n", "\r\n")])
def test_the_form_that_fits_is_taken_and_said(
    size, symbols, said, written, path, recwarn
):
    path.write_text(written, newline="", encoding="utf-8")
    assert read_vocabulary(path, size).symbols == tuple(symbols)
    assert [str(w.message).split("symbols ")[1] for w in recwarn] == [said] * bool(said)


@pytest.mark.parametrize(
    ("written", "size", "one", "other"),
    [
        ("Abcdefgh-", 9, "as it is", "in lower case"),
        ("aA\nb", 4, "as it is", "in lower case and with a byte-order mark"),
        ("aAbB\n c", 6, "with newlines as spaces", "and with a byte-order mark"),
    ],
)
def test_two_forms_that_fit_are_refused(written, size, one, other, path):
    path.write_text(written)
    with pytest.raises(ModelFileError, match=f"{one} and also .*{other}") as caught:
        read_vocabulary(path, size)
    assert "vocab.json" in str(caught.value)


def test_a_text_that_fits_in_no_form_says_what_it_has(path):
    path.write_text(TEXT)
    expected = r"of 30 different .* 12 as it is, 13 with .*, 8 in lower case, .* 7 in"
    with pytest.raises(ModelFileError, match=expected):
        read_vocabulary(path, 30)
    path.write_text("abc")  # a form that is the same is no other form
    assert read_vocabulary(path, 3).symbols == ("a", "b", "c")
    with pytest.raises(ModelFileError, match=r"has other numbers"):
        read_vocabulary(path, 2)


# Saved by the program


@pytest.mark.parametrize(
    "saved",
    [
        ["b", "a", "\n", "7"],
        {"a": 1, "b": 0, "7": 3, "\n": 2},
        {"0": "b", "3": "7", "1": "a", "2": "\n"},
    ],
)
def test_json_gives_the_order_of_the_program(saved, tmp_path):
    path = tmp_path / "vocab.JSON"
    path.write_text(json.dumps(saved))
    assert read_vocabulary(path, 4) == Vocabulary(("b", "a", "\n", "7"))


NO_LIST = "holds something else"
BAD_JSON = {
    "a number more": ('["a", "b", "c"]', "of 2 symbols, .* has 3"),
    "no JSON": ('["a", ', NO_LIST),
    "no UTF-8": (b'["\xff", "b"]', NO_LIST),
    "a number": ("7", NO_LIST),
    "nothing": ("", NO_LIST),
    "words": ('["ab", "c"]', NO_LIST),
    "numbers": ("[1, 2]", NO_LIST),
    "lists": ('[["a"], "b"]', NO_LIST),
    "twice": ('["a", "a"]', NO_LIST),
    "an empty list": ("[]", NO_LIST),
    "an empty mapping": ("{}", NO_LIST),
    "from one on": ('{"a": 1, "b": 2}', NO_LIST),
    "a number twice": ('{"a": 0, "b": 0}', NO_LIST),
    "true and false": ('{"a": false, "b": true}', NO_LIST),
    "halves": ('{"a": 0, "b": 0.5}', NO_LIST),
    "no numbers": ('{"x": "a", "y": "b"}', NO_LIST),
    "deep": ("[" * 100_000, NO_LIST),
    "long": (json.dumps(["a", "b"]) + " " * MAX_JSON_BYTES, NO_LIST),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_json_of_another_form_is_one_line(name, tmp_path):
    data, match = BAD_JSON[name]
    path = tmp_path / "vocab.json"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(ModelFileError, match=match) as caught:
        read_vocabulary(path, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [5, None, b"text.txt", ["a"], "missing.json", "."])
def test_what_is_no_file_is_one_line(given):
    kind = TextgenError if not isinstance(given, str) else CorpusError
    with pytest.raises(kind, match=re.escape(repr(given)[:20])):
        read_vocabulary(given, 2)
