"""What can go wrong that a user can put right.

The commands print the one line of a `TextgenError` and exit with status 2; any other
exception is a defect of the program and keeps its traceback. A message names an option
as its Python keyword in backquotes, which the commands turn into their option:

>>> error = OptionError("`seq_length` must be at least 1, but was 0")
>>> as_command_line(str(error))
'--window must be at least 1, but was 0'
"""

import functools
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

OPTION_NAMES = {"seq_length": "window"}  # where an option isn't named as its keyword
# What a keyword was called once, is called on the command line, or by other programs.
OTHER_NAMES = {
    "window": "seq_length",
    "window_chars": "seq_length",
    "stride_chars": "stride",
    "block_size": "seq_length",
    "seq_len": "seq_length",
    "hidden_size": "units",
    "rnn_size": "units",
    "n_layer": "layers",
    "num_layers": "layers",
    "rnn_layers": "layers",
    "max_epochs": "epochs",
    "num_epochs": "epochs",
    "max_iters": "steps",
}
# What to do in place of an option that there was once.
RETIRED_OPTIONS = {
    "tune": "search for settings by the few lines of Python in docs/tuning.md",
    "mix_logits": "leave it out, and the probabilities are mixed",
}

P = ParamSpec("P")
R = TypeVar("R")

SHOWN_CHARS = 80  # of a received value, in an error's one line
SHOWN_PATH_CHARS = 300  # of a path, which is of use only as a whole
SHOWN_LINE_CHARS = 300  # of a line that another program wrote


def shown(value: Any) -> str:
    """Return the repr of what was received, shortened where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        text = "a number of thousands of digits"
    except RecursionError:  # JSON was read with more of the stack left
        text = "lists within lists without end"
    if "\n" in text:  # as of an array or a data frame
        text = " ".join(text.split())
    return shortened(text, SHOWN_CHARS)


def shown_path(path: str | os.PathLike[str]) -> str:
    """Return the repr of a path, shortened where it is a whole text by mistake."""
    return shortened(repr(os.fspath(path)), SHOWN_PATH_CHARS)


def shortened(text: str, most_chars: int = SHOWN_LINE_CHARS) -> str:
    """Return ``text``, its end left out where it is longer than ``most_chars``."""
    return text if len(text) <= most_chars else f"{text[: most_chars - 4]} ..."


def option_name(keyword: str) -> str:
    """Return the command line's name of a keyword: ``window`` for ``seq_length``."""
    return OPTION_NAMES.get(keyword, keyword.replace("_", "-"))


def as_command_line(text: str, prefix: str = "--") -> str:
    """Return a message with each backquoted keyword written as an option."""
    keyword = "`([a-z][a-z0-9_]*)`"
    return re.sub(keyword, lambda match: prefix + option_name(match[1]), text)


def did_you_mean(word: str, known: Iterable[str], quote: str = "") -> str:
    """Return a message's end that asks if a known word was meant; "" if none is like.

    One that begins with the word is more likely meant than one that only looks alike.
    The ``quote`` stands before and after the known word.
    """
    import difflib  # only now: a command's start shouldn't wait for it

    known = list(known)
    begun = [x for x in known if x.startswith(word)] if len(word) > 3 else []
    close = begun or difflib.get_close_matches(word[:SHOWN_CHARS], known, n=1)
    return f": did you mean {quote}{close[0]}{quote}?" if close else ""


class TextgenError(Exception):
    """Base of everything a user can put right; ``str(error)`` is one line.

    Attributes:
        problem: what is wrong: what was expected, and what was received.
        advice: what to do about it; empty where the problem says it already.
    """

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(problem, advice)
        self.problem = problem
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.problem}: {self.advice}" if self.advice else self.problem


class OptionError(TextgenError):
    """An option or argument has a value that makes no sense."""


class UnknownOptionError(OptionError, TypeError):
    """A function was given a keyword that it doesn't have, for Python a `TypeError`."""

    def __init__(self, name: str, function: str, known: Iterable[str]) -> None:
        problem, advice = f"`{name}` is no option of {function}", ""
        if name in RETIRED_OPTIONS:
            problem, advice = f"{problem} any more", RETIRED_OPTIONS[name]
        else:
            problem += did_you_mean(OTHER_NAMES.get(name, name), known, quote="`")
        super().__init__(problem, advice)


def checks_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function raise `UnknownOptionError` for a keyword that it doesn't have."""
    code = function.__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    @functools.wraps(function)
    def checked(*arguments: P.args, **keywords: P.kwargs) -> R:
        for name in keywords:
            if name not in known:
                raise UnknownOptionError(name, function.__name__, known)
        return function(*arguments, **keywords)

    return checked


class CorpusError(TextgenError):
    """A corpus can't be found, read or used."""


class VocabularyError(TextgenError):
    """A text holds symbols that the vocabulary lacks, and that was not allowed."""


class ModelFileError(TextgenError):
    """A model file can't be found, read or trusted."""


class FormError(TextgenError):
    """A model finds no lines for a form within the tries that it has."""


class OutputError(TextgenError):
    """A result can't be written where it was asked for."""


class CheckpointError(TextgenError):
    """A training can't be resumed from its checkpoint."""


class TrainingError(TextgenError):
    """A training can't go on in a way that is worth anything."""


class PeerError(TextgenError):
    """Another process is lost of those that train together, or never came."""
