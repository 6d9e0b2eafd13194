"""What can go wrong that a user can put right.

Every message is one line that says what was expected, what was received and what
to do. The command lines print it after ``error:`` and exit with status 2; anything
that is not a `TextgenError` is a defect of ours and keeps its traceback.
"""

from typing import Any

SHOWN_CHARS = 80  # of a received value, in an error's one line


def shown(value: Any) -> str:
    """Return the repr of what was received, shortened where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 4]} ..."


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
