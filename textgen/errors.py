"""What can go wrong that a user can put right.

Every message is one line that says what was expected, what was received and what
to do. The command lines print it after ``error:`` and exit with status 2; anything
that is not a `TextgenError` is a defect of ours and keeps its traceback.
"""

import os
from typing import Any

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
    return shortened(text, SHOWN_CHARS)


def shown_path(path: str | os.PathLike[str]) -> str:
    """Return the repr of a path, shortened where it is a whole text by mistake."""
    return shortened(repr(os.fspath(path)), SHOWN_PATH_CHARS)


def shortened(text: str, most_chars: int = SHOWN_LINE_CHARS) -> str:
    """Return ``text``, its end left out where it is longer than ``most_chars``."""
    return text if len(text) <= most_chars else f"{text[: most_chars - 4]} ..."


class TextgenError(Exception):
    """Base of everything a user can put right; ``str(error)`` is one line."""


class OptionError(TextgenError):
    """An option or argument has a value that makes no sense."""


class CorpusError(TextgenError):
    """A corpus can't be found, read or used."""


class VocabularyError(TextgenError):
    """A text holds symbols that the vocabulary lacks, and that was not allowed."""


class ModelFileError(TextgenError):
    """A model file can't be found, read or trusted."""


class OutputError(TextgenError):
    """A result can't be written where it was asked for."""


class CheckpointError(TextgenError):
    """A training can't be resumed from its checkpoint."""


class TrainingError(TextgenError):
    """A training can't go on in a way that is worth anything."""
