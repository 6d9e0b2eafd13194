r"""A text as one compact array of ids, with its kind and its split.

A corpus is ``lines`` (each line or row one example, as with names) or ``text`` (one
long text, or several documents). The ids of ``lines`` and of several documents begin
and end with an end symbol, and have one between two; see `textgen.data.documents`.

It is read once, in pieces, so that memory is one array of ids (a byte each up to 256
symbols).

    >>> corpus = load_corpus("dinos")
    >>> corpus.kind, len(corpus.vocabulary), corpus.vocabulary.decode(corpus.ids[:14])
    ('lines', 27, '\naachenosaurus')
    >>> split = corpus.split(held_out=0.1)
    >>> len(split.training) > 8 * len(split.held_out)
    True
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from textgen.data.documents import CorpusSource, Documents, Part
from textgen.data.ids import IdArray, IdsOfText, blocks_of
from textgen.data.labels import Labels
from textgen.data.sources import Given
from textgen.data.vocabulary import (
    END_OF_TEXT,
    END_SYMBOL,
    KINDS,
    Vocabulary,
    end_symbol,
)
from textgen.data.windows import places_of
from textgen.errors import CorpusError, OptionError
from textgen.system.checks import check_choice, check_number

BLOCK_LINES = 1 << 14  # decoded together
MOST_PARTS = 1000  # told one by one in a model file
SPLIT_KEY = bytes(8)  # the same for all trainings, so that their figures compare


@dataclass(frozen=True)
class Split:
    """Ids to train on, and ids that are only measured, of one type."""

    training: np.ndarray  # (N,), never empty
    held_out: np.ndarray  # (M,), may be empty


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text made ready for training; see `load_corpus`."""

    name: str  # of a named corpus or, as told by `find_sources`, of files
    kind: str  # ``lines`` or ``text``
    sha256: str  # of the normalised text as UTF-8; of several parts, of their SHA-256s
    vocabulary: Vocabulary  # characters of the whole text, held-out part included
    ids: np.ndarray  # the whole text, (N,) of the vocabulary's dtype
    kind_reason: str = "given"  # how the kind was found, for people to read
    named: bool = False  # the named corpus, not a file that happens to be called so
    parts: tuple[Part, ...] = ()  # what it was read from
    column: str | None = None  # that was asked for, as was
    encoding: str | None = None
    path: str | None = None  # of its file or folder, from the current folder
    label_column: str | None = None  # that was asked for
    # How many rows each label has here; a model's vocabulary may know others.
    labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name, and how many parts it has if they are several."""
        many = len(self.parts)
        return f"{self.name}, {many:,} files" if many > 1 else self.name

    @property
    def identity(self) -> dict[str, Any]:
        """Which text it is and how to read it again, as plain JSON values.

        Of more than `MOST_PARTS` parts, neighbours are told together.
        """
        known: dict[str, Any] = {"name": self.name, "kind": self.kind}
        known["sha256"] = self.sha256
        for name in ("path", "column", "encoding", "label_column"):
            if (value := getattr(self, name)) is not None:
                known[name] = value
        if self.labels:
            known["labels"] = dict(self.labels)
        if len(self.parts) < 2:
            return known
        return known | {"parts": [vars(part) for part in _told_together(self.parts)]}

    def in_ids_of(self, vocabulary: Vocabulary) -> Corpus:
        """Return the same text in the ids of a vocabulary, its new symbols appended.

        Its ends are marked as the vocabulary's are.
        """
        own = self.vocabulary.symbols
        vocabulary = vocabulary.extended(own)
        was, end = end_symbol(self.kind, own), end_symbol(self.kind, vocabulary)
        symbols = (end if end and symbol == was else symbol for symbol in own)
        numbers = vocabulary.encode("".join(symbols), labels=True)
        marks = vocabulary.encode(end if end and was is None else "")
        ids = IdArray(numbers.dtype)
        ids.append(marks)
        for block in blocks_of(self.ids):
            ids.append(numbers[block])
        ids.append(marks)
        return replace(self, vocabulary=vocabulary, ids=ids.array())

    def split(self, held_out: float) -> Split:
        """Split off a share, 0 to below 1, that is only measured.

        Of a ``text`` the end is held out. Of ``lines``, a share of the *distinct* lines
        is drawn by a hash of the line's text alone, so that all copies of a line are
        on one side, whatever their labels. A smaller share is part of a larger one. At
        least one symbol or line is left to train on, and never is a single symbol held
        out.
        """
        check_number("held_out", held_out, 0, below=1)
        if self.kind == "text":
            cut = max(1, int(len(self.ids) * (1 - held_out)))
            if len(self.ids) - cut < 2:
                cut = len(self.ids)
            return Split(self.ids[:cut], self.ids[cut:])
        ends = places_of(int(self.ids[0]), self.ids)
        hashes = self._line_hashes(ends)
        distinct = np.unique(hashes)
        drawn = min(round(held_out * len(distinct)), len(distinct) - 1)
        if drawn < 1:
            return Split(self.ids, self.ids[:0])
        is_held_out = hashes <= distinct[drawn - 1]
        parts = training, held_out_ids = [IdArray(self.ids.dtype) for _ in range(2)]
        for part in parts:
            part.append(self.ids[:1])
        for first, last in self._line_blocks(ends):
            block = self.ids[ends[first] + 1 : ends[last] + 1]
            # Each id belongs to the line that it stands in or, an end symbol, closes.
            lengths = np.diff(ends[first : last + 1])
            held = np.repeat(is_held_out[first:last], lengths)
            training.append(block[~held])
            held_out_ids.append(block[held])
        return Split(training.array(), held_out_ids.array())

    def _line_hashes(self, ends: np.ndarray) -> np.ndarray:
        """Return hashes (L,) uint64 of the lines between end symbols at ``ends``."""
        end_symbol = self.vocabulary.symbols[self.ids[0]]
        hashes = np.empty(len(ends) - 1, dtype="<u8")
        for first, last in self._line_blocks(ends):
            ids = self.vocabulary.without_labels(self.ids[ends[first] + 1 : ends[last]])
            block = self.vocabulary.decode(ids)
            digests = (
                hashlib.blake2b(line.encode(), digest_size=8, key=SPLIT_KEY).digest()
                for line in block.split(end_symbol)
            )
            hashes[first:last] = np.frombuffer(b"".join(digests), dtype="<u8")
        return hashes

    def _line_blocks(self, ends: np.ndarray) -> Iterator[tuple[int, int]]:
        """Yield the first line of each block of lines, and the first after it."""
        for first in range(0, len(ends) - 1, BLOCK_LINES):
            yield first, min(first + BLOCK_LINES, len(ends) - 1)


def _told_together(parts: tuple[Part, ...]) -> list[Part]:
    """Return at most `MOST_PARTS` parts, each of one or of several neighbours."""
    size = -(-len(parts) // MOST_PARTS)
    together: list[Part] = []
    for first in range(0, len(parts), size):
        group = parts[first : first + size]
        name = group[0].name if size == 1 else f"{group[0].name} … {group[-1].name}"
        characters = sum(part.characters for part in group)
        together.append(Part(name, _sha256_of(group), characters))
    return together


def load_corpus(
    corpus: Given | Sequence[Given] | None = None,
    kind: str | None = None,
    vocabulary: Vocabulary | None = None,
    *,
    texts: Iterable[str] | None = None,
    column: str | None = None,
    encoding: str | None = None,
    label_column: str | None = None,
) -> Corpus:
    """Read a corpus.

    Args:
        corpus: name of a named corpus (which goes before a file of the same name; that
            is ``./name``); the path of a text, also one compressed by gzip, bzip2, xz
            or zstd; a folder; a pattern such as ``chapters/*.txt``; ``-`` for standard
            input; or a list of these. Several files are documents of one corpus, in the
            order of their paths, each with its end.
        kind: ``lines`` or ``text``; None guesses it, see `textgen.data.kind`. Where it
            is given, a table without ``column`` is read as it is.
        vocabulary: that of a saved model, to go on from: the ids of its characters are
            kept and the text's new ones appended. None makes one from the text.
        texts: strings in place of ``corpus``: a list, a column of a data frame, or
            anything that yields them. Several are an example each; missing ones (None,
            NaN) and empty ones are left out.
        column: the column of CSV, TSV, JSON, JSON lines or Parquet whose rows are an
            example each. The first row of CSV and TSV names the columns.
        encoding: of the files; None means UTF-8.
        label_column: the column of what each row is, such as its author; see
            `textgen.data.labels`. The ids of a row begin with that of its label.

    Raises:
        CorpusError: when the text can't be found, read, decoded or used; for a table
            without ``column``; for a row without a label; for a library that is
            missing.
        OptionError: for an unknown ``kind`` or ``encoding``, and for options that don't
            go together.
    """
    source = CorpusSource(corpus, texts, column, encoding, label_column)
    return read_corpus(source, kind, vocabulary)


def read_corpus(
    source: CorpusSource,
    kind: str | None = None,
    vocabulary: Vocabulary | None = None,
    *,
    usual_kind: str | None = None,
) -> Corpus:
    """Read a corpus; ``usual_kind``, if there is one, stands in for the guess.

    Its ids are of characters, also where a vocabulary is given that has words.
    """
    if kind is not None:
        check_choice("kind", kind, KINDS)
    labels = None
    if source.label_column is not None:
        labels = Labels(source.label_column, vocabulary.labels if vocabulary else ())
        if kind == "text":
            problem = (
                "`label_column` is for rows that are an example each, `kind` lines"
            )
            raise OptionError(problem, "leave `kind` out")
        usual_kind = "lines"
    documents = Documents(source, as_it_is=kind is not None, labels=labels)
    reason = "given"
    if kind is None and usual_kind is not None:
        kind, reason = usual_kind, "rows with labels" if labels else "usual"
    elif kind is None:
        kind, reason = documents.guess_kind()
    if vocabulary is not None:
        vocabulary = vocabulary.alphabet
    is_marked = vocabulary is not None and END_OF_TEXT in vocabulary
    ids = IdsOfText(vocabulary)
    for piece in documents.pieces(kind, always_marked=is_marked):
        ids.add(piece)
    parts, replaced = documents.parts, {}
    if kind == "lines":
        is_marked = is_marked or (documents.are_rows and documents.have_newlines)
        mark = END_OF_TEXT if documents.are_rows else END_SYMBOL
        replaced = {mark: END_OF_TEXT if is_marked else END_SYMBOL}
        is_empty, wanted = len(ids) < 3, "a line that isn't empty"
    else:
        is_empty = sum(part.characters for part in parts) < 2
        wanted = "two characters"
    if is_empty:
        problem = f"expected at least {wanted}, but {source.shown} has fewer"
        raise CorpusError(problem, "give a longer text")
    known, array = ids.finish(replaced, labels.names if labels else ())
    return Corpus(
        source.name,
        kind,
        _sha256_of(parts),
        known,
        array,
        reason,
        named=source.texts is None and source.files.named,
        parts=parts,
        column=source.column,
        encoding=source.encoding,
        path=source.files.path if source.texts is None else None,
        label_column=source.label_column,
        labels=labels.counts if labels else {},
    )


def _sha256_of(parts: Sequence[Part]) -> str:
    """Return the SHA-256 of a part, or that of those of several."""
    if len(parts) == 1:
        return parts[0].sha256
    return hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()
