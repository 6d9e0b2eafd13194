"""What a corpus is made of, as one stream of symbols in which every end is marked.

A file is a document, and a row of a table or a string among several is an example; so
is each line of a file of ``lines``. Examples and documents begin and end with an end
symbol, and there is one between two:

    lines of files           a newline, as in the file; empty lines are dropped
    rows, several documents  `END_OF_TEXT`, since they may hold newlines; around a
                             document or row newlines are dropped, and so are empty ones
    rows with labels         the same; each begins with its label's symbol, as
                             `textgen.data.labels` says
    a document of its own    none: its text is the corpus as it is
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from textgen.data.compression import STANDARD_INPUT, shown_file
from textgen.data.kind import kind_of_lines, kind_of_rows
from textgen.data.labels import SYMBOLS, Labels
from textgen.data.rows import refuse_table, rows
from textgen.data.sources import Given, Source, Sources, find_sources
from textgen.data.text_file import PIECE_BYTES, check_encoding
from textgen.data.vocabulary import END_OF_TEXT, END_SYMBOL
from textgen.errors import CorpusError, OptionError, shortened, shown, shown_path

OF_STRINGS = "texts"  # the name of a corpus of strings
LOOKED_AT_CHARS = PIECE_BYTES
MOST_FILES_LOOKED_AT = 64
GIVE_STRINGS = "give a list of strings, or one column of a table"


@dataclass(frozen=True)
class Part:
    """A file of a corpus, or its strings, by what was read."""

    name: str
    sha256: str  # of its normalised text as UTF-8, with each row's end
    characters: int


@dataclass(frozen=True)
class CorpusSource:
    """Which text was asked for; see `textgen.load_corpus`."""

    corpus: Given | Sequence[Given] | None = None
    texts: Iterable[str] | None = None
    column: str | None = None
    encoding: str | None = None
    label_column: str | None = None

    def __post_init__(self) -> None:
        check_encoding(self.encoding)
        for name in ("corpus", "column", "encoding", "label_column"):
            if self.texts is not None and getattr(self, name) is not None:
                raise OptionError(f"give `texts` or `{name}`, not both")
        for name in ("column", "label_column"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise OptionError(f"`{name}` must be a name, but was {shown(value)}")
        if self.label_column is not None and self.column is None:
            rows = "rows of CSV, TSV, JSON or Parquet, whose texts `column` names"
            advice = "give both with such a file, or neither"
            raise OptionError(f"`label_column` is for {rows}", advice)

    @cached_property
    def files(self) -> Sources:
        """The files asked for, in order; `CorpusError` if they can't be found."""
        if self.corpus is None:
            raise OptionError("give a `corpus` or `texts`")
        return find_sources(self.corpus, self.encoding)

    @property
    def size_bytes(self) -> int:
        """How large the files are together, compressed if they are; 0 for strings."""
        paths = [file.path for file in self.files.files] if self.texts is None else []
        return sum(os.path.getsize(path) for path in paths if path != STANDARD_INPUT)

    @property
    def name(self) -> str:
        """What the corpus is called."""
        return OF_STRINGS if self.texts is not None else self.files.name

    @property
    def shown(self) -> str:
        """What a message calls the corpus: by its path, if it is one file."""
        paths = [file.path for file in self.files.files] if self.texts is None else []
        if len(paths) == 1 and paths[0] != STANDARD_INPUT:
            return shown_path(paths[0])
        return shown(self.name)


class Documents:
    """The text of a corpus, which is read once, from first to last."""

    def __init__(
        self,
        source: CorpusSource,
        *,
        as_it_is: bool = False,
        labels: Labels | None = None,
    ) -> None:
        """Find what there is; a table is refused, unless it is taken ``as_it_is``.

        The ``labels`` are told of each row's, where the source has such a column.
        """
        self.are_rows = source.column is not None
        self._files: tuple[Source, ...] = ()
        if source.texts is not None:
            strings = _strings(source.texts)
            first = list(itertools.islice(strings, 2))
            self.are_rows = len(first) > 1
            all_of_them: Iterator[str] = itertools.chain(first, strings)
            found = [(OF_STRINGS, all_of_them)]
        else:
            self._files = source.files.files
            if source.column is None and not as_it_is:
                for file in self._files:
                    refuse_table(file)
            found = [(file.name, _read(file, source, labels)) for file in self._files]
        self._readings = [
            _Reading(*each, are_rows=self.are_rows, labels=labels) for each in found
        ]

    @property
    def parts(self) -> tuple[Part, ...]:
        """What was read."""
        return tuple(reading.part for reading in self._readings)

    @property
    def have_newlines(self) -> bool:
        """Whether there were newlines in what was read."""
        return any(reading.has_newlines for reading in self._readings)

    def guess_kind(self) -> tuple[str, str]:
        """Return a kind and why, by how what there is begins."""
        if self.are_rows or not self._files:
            first = self._readings[0].first_strings()
            if self.are_rows:
                return kind_of_rows(first)
            text = "".join(first)
            is_whole = len(text) <= LOOKED_AT_CHARS
            return kind_of_lines(text[:LOOKED_AT_CHARS], is_whole=is_whole)
        if len(self._files) == 1:
            text, is_whole = self._files[0].beginning()
            return kind_of_lines(text, is_whole=is_whole)
        some = self._files[:: -(-len(self._files) // MOST_FILES_LOOKED_AT)]
        share = LOOKED_AT_CHARS // len(some)
        texts = (file.beginning()[0][:share].strip(END_SYMBOL) for file in some)
        # The last line of each may be cut, which makes little difference.
        return kind_of_lines(END_SYMBOL.join(texts), is_whole=True)

    def pieces(self, kind: str, *, always_marked: bool) -> Iterator[str]:
        """Yield the text in pieces, marked as the kind needs it.

        A single document has an end only if documents are ``always_marked``.
        """
        are_lines = kind == "lines" and not self.are_rows
        is_alone = len(self._readings) == 1 and not self.are_rows
        if are_lines or not is_alone or always_marked:
            yield END_SYMBOL if are_lines else END_OF_TEXT
        for reading in self._readings:
            if are_lines:
                yield from _closed_lines(reading.pieces())
            elif self.are_rows or is_alone:
                yield from reading.pieces()
            else:
                yield from _closed_document(reading.pieces())
        if not are_lines and is_alone and always_marked:
            yield END_OF_TEXT


class _Reading:
    """The text of one part, and the account of what was read of it."""

    def __init__(
        self,
        name: str,
        strings: Iterator[str],
        *,
        are_rows: bool,
        labels: Labels | None,
    ) -> None:
        self.has_newlines = False
        self._labels = labels
        self._name = name
        self._strings = strings
        self._are_rows = are_rows
        self._digest = hashlib.sha256()
        self._characters = 0

    @property
    def part(self) -> Part:
        return Part(self._name, self._digest.hexdigest(), self._characters)

    def first_strings(self) -> list[str]:
        """Return the first rows or strings, without using them up."""
        first: list[str] = []
        chars = 0
        for string in self._strings:
            first.append(string)
            chars += len(string)
            if chars >= LOOKED_AT_CHARS:
                break
        self._strings = itertools.chain(first, self._strings)
        return first

    def pieces(self) -> Iterator[str]:
        """Yield the text in pieces, each row of it with its end."""
        pieces = _with_ends(self._strings) if self._are_rows else self._strings
        for piece in pieces:
            read = piece if self._labels is None else self._labels.spelled_out(piece)
            self._digest.update(read.encode())
            self._characters += len(piece)
            self.has_newlines = self.has_newlines or END_SYMBOL in piece
            yield piece


def _read(file: Source, source: CorpusSource, labels: Labels | None) -> Iterator[str]:
    """Return an iterator over a file's pieces, or the rows of a column."""
    if source.column is None:
        return file.pieces()
    what = f"a row of {shown_file(file.path)}"
    found = rows(file, source.column, source.label_column)
    cleaned = ((_clean(row, what), label) for row, label in found)
    if labels is None:
        return (row for row, _ in cleaned)
    return _marked(cleaned, what, labels)


def _marked(
    found: Iterable[tuple[str, str]], what: str, labels: Labels
) -> Iterator[str]:
    """Yield rows that aren't empty, each with its label's symbol before it."""
    for row, label in found:
        if SYMBOLS.search(row):
            problem = f"expected text, but {what} has a character that stands for a"
            raise CorpusError(f"{problem} label, {shown(row)}", "leave it out")
        if text := row.strip(END_SYMBOL):
            yield labels.marked(label, text)


def _strings(texts: Iterable[str]) -> Iterator[str]:
    """Return an iterator over strings, without missing ones; check what they are."""
    wrong = None
    if isinstance(texts, str | bytes | os.PathLike):
        wrong = shown(texts)
    elif isinstance(texts, Mapping) or hasattr(texts, "columns"):
        columns = ", ".join(map(shown, getattr(texts, "columns", texts)))
        wrong = f"a table with the columns {shortened(columns)}"
    elif not isinstance(texts, Iterable):
        wrong = shown(texts)
    if wrong is not None:
        raise OptionError(f"`texts` must be strings, but was {wrong}: {GIVE_STRINGS}")
    return _checked_strings(texts)


def _checked_strings(texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if isinstance(text, str):
            yield _clean(text, f"number {number:,} of `texts`")
        elif not _is_missing(text):
            problem = (
                f"`texts` must be strings, but number {number:,} was {shown(text)}"
            )
            raise OptionError(problem)


def _is_missing(value: Any) -> bool:
    """Tell None and what data frames have where there is no value: NaN, NaT, NA."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):  # NA is neither equal nor not; an array is both
        return type(value).__name__ == "NAType"


def _clean(text: str, what: str) -> str:
    """Return a string with LF as its newlines; refuse what is no text."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    has_zero = END_OF_TEXT in text
    if has_zero or not (text.isascii() or _is_encodable(text)):
        fault = "a zero byte" if has_zero else "half of a surrogate pair"
        problem = f"expected text, but {what} has {fault} in it, {shown(text)}"
        raise CorpusError(problem, "leave it out, or mend it")
    return text


def _is_encodable(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def _with_ends(rows: Iterable[str]) -> Iterator[str]:
    """Join rows to pieces, each row with its end; without newlines around it."""
    joined: list[str] = []
    chars = 0
    for row in rows:
        if text := row.strip(END_SYMBOL):
            joined.append(text)
            chars += len(text)
            if chars >= PIECE_BYTES:
                yield END_OF_TEXT.join([*joined, ""])
                joined, chars = [], 0
    if joined:
        yield END_OF_TEXT.join([*joined, ""])


def _closed_lines(pieces: Iterable[str]) -> Iterator[str]:
    """Yield lines without empty ones, all of them closed."""
    last = END_SYMBOL
    for piece in pieces:
        text = re.sub("\n+", "\n", last + piece)[1:]
        if text:
            yield text
            last = text[-1]
    if last != END_SYMBOL:
        yield END_SYMBOL


def _closed_document(pieces: Iterable[str]) -> Iterator[str]:
    """Yield a document without newlines around it, closed; nothing if it is empty."""
    is_begun, newlines = False, ""
    for piece in pieces:
        text = newlines + piece if is_begun else piece.lstrip(END_SYMBOL)
        inner = text.rstrip(END_SYMBOL)
        newlines = text[len(inner) :]
        if inner:
            yield inner
            is_begun = True
    if is_begun:
        yield END_OF_TEXT
