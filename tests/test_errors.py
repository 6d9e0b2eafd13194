"""Errors: one line, keywords that become options, what was received shortened."""

import functools
import pickle

import numpy as np
import pytest

from textgen.errors import (
    CorpusError,
    OptionError,
    TextgenError,
    UnknownOptionError,
    as_command_line,
    checks_keywords,
    did_you_mean,
    shown,
    shown_path,
)


@pytest.mark.parametrize(
    ("message", "prefix", "expected"),
    [("`seq_length` must be 1: why?", "--", "--window must be 1: why?"),
     ("`steps` and `init_from`", "--", "--steps and --init-from"),
     ("`top_k` must be 1", "/", "/top-k must be 1"),
     ("symbols `, a`b and `A word`", "--", "symbols `, a`b and `A word`")],
)  # fmt: skip
def test_the_commands_write_keywords_as_options(message, prefix, expected):
    assert as_command_line(message, prefix) == expected


def test_an_error_is_problem_and_advice_in_one_line():
    error = CorpusError("there is no text", "give one")
    assert str(error) == "there is no text: give one"
    assert (error.problem, error.advice) == ("there is no text", "give one")
    assert str(TextgenError("nothing to be done")) == "nothing to be done"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (CorpusError, str(error))


def test_a_mistyped_keyword_is_both_kinds_of_error_and_says_what_was_meant():
    error = UnknownOptionError("unit", "train", ["layers", "units"])
    assert isinstance(error, OptionError)
    assert isinstance(error, TypeError)
    assert str(error) == "`unit` is no option of train: did you mean `units`?"
    assert str(UnknownOptionError("zzz", "train", ["units"])).endswith("of train")
    assert did_you_mean("--unit", ["--units"]) == ": did you mean --units?"
    longer = ["--level", "--label-column"]
    assert did_you_mean("--label", longer) == ": did you mean --label-column?"
    assert did_you_mean("--", longer) == ""


def test_a_keyword_that_there_was_once_is_answered_by_what_to_do():
    error = UnknownOptionError("tune", "train", ["units"])
    assert "docs/tuning.md" in error.advice


def test_a_function_says_which_of_its_keywords_was_meant():
    @checks_keywords
    def complete(prompt, *, length=9, seq_length=3):
        return prompt * length

    assert complete("a", length=2) == "aa"
    for keyword, meant in (("lenght", "length"), ("window", "seq_length")):
        with pytest.raises(UnknownOptionError, match=f"{keyword}.*`{meant}`"):
            complete("a", **{keyword: 2})


def test_what_is_received_is_shown_escaped_and_shortened():
    assert shown("a\x1b\n\u202e") == r"'a\x1b\n\u202e'"
    assert shown(np.zeros((2, 1))) == "array([[0.], [0.]])"
    assert shown("x" * 10_000) == f"'{'x' * 75} ..."
    assert "digits" in shown(10**5000)
    nested = functools.reduce(lambda inner, _: [inner], range(100_000), [])
    assert len(shown(nested)) <= 40
    assert shown_path("a/\x1b\udcff.txt") == r"'a/\x1b\udcff.txt'"
    folder = "folder/" * 40
    assert shown_path(folder) == f"'{folder}'"
    assert len(shown_path(folder * 100)) == 300
