r"""A text by name or path, as one compact array of ids, with its kind and its split.

A corpus is ``lines`` (each line one example, as with names) or ``text`` (one long
text). The ids of ``lines`` begin and end with the end symbol, a newline, and have one
between two lines; empty lines are dropped.

The file is read twice in pieces, first to learn its symbols and then to fill the array,
so that memory is one array of ids (a byte each up to 256 symbols).

    >>> corpus = load_corpus("dinos")
    >>> corpus.kind, len(corpus.vocabulary), corpus.vocabulary.decode(corpus.ids[:14])
    ('lines', 27, '\naachenosaurus')
    >>> split = corpus.split(held_out=0.1)
    >>> len(split.training) > 8 * len(split.held_out)
    True
"""

from __future__ import annotations

import hashlib
import os
import re
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from textgen.data.text_file import existing_file, text_pieces
from textgen.data.vocabulary import END_SYMBOL, Vocabulary, code_points
from textgen.data.windows import places_of
from textgen.errors import CorpusError, VocabularyError, shown, shown_path
from textgen.system.checks import check_choice, check_number

KINDS = ("lines", "text")
BLOCK_LINES = 1 << 14  # decoded together
SPLIT_KEY = bytes(8)  # the same for all trainings, so that their figures compare


@dataclass(frozen=True)
class Split:
    """Ids to train on, and ids that are only measured, of one type."""

    training: np.ndarray  # (N,), never empty
    held_out: np.ndarray  # (M,), may be empty


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text made ready for training; see `load_corpus`."""

    name: str  # of a named corpus, or the file's name without its suffix
    kind: str  # ``lines`` or ``text``
    sha256: str  # of the normalised text as UTF-8
    vocabulary: Vocabulary  # symbols of the whole text, held-out part included
    ids: np.ndarray  # the whole text, (N,) of the vocabulary's dtype
    kind_reason: str = "given"  # how the kind was found, for people to read
    named: bool = False  # the named corpus, not a file that happens to be called so

    @property
    def identity(self) -> dict[str, str]:
        """Which text it is, as plain JSON values."""
        return {"name": self.name, "kind": self.kind, "sha256": self.sha256}

    def in_ids_of(self, vocabulary: Vocabulary) -> Corpus:
        """Return the same text in the ids of a vocabulary, its new symbols appended."""
        vocabulary = vocabulary.extended(self.vocabulary.symbols)
        ids = vocabulary.encode("".join(self.vocabulary.symbols))
        return replace(self, vocabulary=vocabulary, ids=ids[self.ids])

    def split(self, held_out: float) -> Split:
        """Split off a share, 0 to below 1, that is only measured.

        Of a ``text`` the end is held out. Of ``lines``, a share of the *distinct* lines
        is drawn by a hash of the line's text alone, so that all copies of a line are
        on one side. A smaller share is part of a larger one. At least one symbol or
        line is left to train on, and never is a single symbol held out.
        """
        check_number("held_out", held_out, 0, below=1)
        if self.kind == "text":
            cut = max(1, int(len(self.ids) * (1 - held_out)))
            if len(self.ids) - cut < 2:
                cut = len(self.ids)
            return Split(self.ids[:cut], self.ids[cut:])
        ends = places_of(int(self.vocabulary.encode(END_SYMBOL)[0]), self.ids)
        hashes = self._line_hashes(ends)
        distinct = np.unique(hashes)
        drawn = min(round(held_out * len(distinct)), len(distinct) - 1)
        if drawn < 1:
            return Split(self.ids, self.ids[:0])
        # Each id belongs to the line that it stands in or, an end symbol, closes.
        held = np.repeat(hashes <= distinct[drawn - 1], np.diff(ends))
        first, others = self.ids[:1], self.ids[1:]
        parts = (np.concatenate([first, others[mask]]) for mask in (~held, held))
        return Split(*parts)

    def _line_hashes(self, ends: np.ndarray) -> np.ndarray:
        """Return hashes (L,) uint64 of the lines between end symbols at ``ends``."""
        digests = []
        for first in range(0, len(ends) - 1, BLOCK_LINES):
            last = min(first + BLOCK_LINES, len(ends) - 1)
            block = self.ids[ends[first] + 1 : ends[last]]
            for line in self.vocabulary.decode(block).split(END_SYMBOL):
                digest = hashlib.blake2b(line.encode(), digest_size=8, key=SPLIT_KEY)
                digests.append(digest.digest())
        return np.frombuffer(b"".join(digests), dtype="<u8")


def data_folder(kind: str) -> Path:
    """Return the folder of ``corpora`` or ``models`` that come with the program."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "assets" / kind
    return installed if installed.is_dir() else package.parent / kind


def named_corpora() -> dict[str, Path]:
    """Return the named corpora, by name: every text file of the corpora's folder."""
    return {path.stem: path for path in sorted(data_folder("corpora").glob("*.txt"))}


def load_corpus(
    name_or_path: str | os.PathLike[str],
    kind: str | None = None,
    vocabulary: Vocabulary | None = None,
) -> Corpus:
    """Read a corpus.

    Args:
        name_or_path: name of a named corpus, or the path of any UTF-8 text (a named
            corpus goes before a file of the same name, which ``./name`` reaches).
        kind: ``lines`` or ``text``; None guesses it: ``lines`` when the first 262,144
            characters are at least 20 lines, none of them empty or longer than 64
            characters, and 95 % of them have at most 3 words (more than 5 % of the
            lines of verse and code have more, or they have empty lines).
        vocabulary: that of a saved model, to go on from: its ids are kept and the
            text's new symbols appended. None makes one from the text.

    Raises:
        CorpusError: when the text can't be found, read, decoded or used.
        OptionError: for an unknown ``kind``.
    """
    if kind is not None:
        check_choice("kind", kind, KINDS)
    if not isinstance(name_or_path, str | os.PathLike):
        problem = f"`corpus` must be a name or a path, but was {shown(name_or_path)}"
        raise CorpusError(problem)
    path, named = _find(name_or_path)
    reason = "given"
    if kind is None:
        kind, reason = _guess_kind(path)
    symbols, length, sha256 = _survey(path, kind)
    if vocabulary:
        vocabulary = vocabulary.extended(symbols)
    else:
        vocabulary = Vocabulary.from_text(symbols)
    ids = _fill(path, kind, vocabulary, length)
    return Corpus(path.stem, kind, sha256, vocabulary, ids, reason, named)


def corpus_name(name_or_path: str | os.PathLike[str]) -> str:
    """Return the name that a corpus will have; `CorpusError` when there is none."""
    return _find(name_or_path)[0].stem


def _find(name_or_path: str | os.PathLike[str]) -> tuple[Path, bool]:
    """Return the path of a named corpus or of a file, and whether it was named."""
    named = named_corpora()
    if isinstance(name_or_path, str) and name_or_path in named:
        return named[name_or_path], True
    path = existing_file(name_or_path)
    if path is None:
        raise CorpusError(
            f"expected a corpus or a file, but there is no {shown_path(name_or_path)}",
            f"name one of the corpora ({', '.join(named)}) or the path of a UTF-8 text",
        )
    return path, False


def _guess_kind(path: Path) -> tuple[str, str]:
    """Return a kind and why; `load_corpus` documents the rule."""
    pieces = text_pieces(path)
    lines = next(pieces, "").strip(END_SYMBOL).split(END_SYMBOL)
    if next(pieces, None) is not None:
        lines = lines[:-1]  # cut where the piece ends
    if len(lines) < 20:
        return "text", "guessed: it has fewer than 20 lines"
    if "" in lines:
        return "text", "guessed: it has empty lines between its lines"
    if max(map(len, lines)) > 64:
        return "text", "guessed: it has lines of more than 64 characters"
    if statistics.fmean(len(line.split()) <= 3 for line in lines) < 0.95:
        return "text", "guessed: its lines have more than 3 words"
    return "lines", "guessed: its lines are of at most 3 words, and none is empty"


def _of_kind(pieces: Iterable[str], kind: str) -> Iterator[str]:
    """Yield a text as its kind needs it: ``lines`` without empty ones, all closed."""
    if kind == "text":
        yield from pieces
        return
    last = END_SYMBOL
    yield END_SYMBOL
    for piece in pieces:
        text = re.sub("\n+", "\n", last + piece)[1:]
        if text:
            yield text
            last = text[-1]
    if last != END_SYMBOL:
        yield END_SYMBOL


def _survey(path: Path, kind: str) -> tuple[str, int, str]:
    """Read a text once: its distinct symbols, how many ids it has, its SHA-256."""
    digest = hashlib.sha256()

    def hashed_pieces() -> Iterator[str]:
        for piece in text_pieces(path):
            digest.update(piece.encode())
            yield piece

    seen = np.zeros(0x110000, dtype=bool)
    length = 0
    for piece in _of_kind(hashed_pieces(), kind):
        seen[code_points(piece)] = True
        length += len(piece)
    if length < (3 if kind == "lines" else 2):
        wanted = "a line that isn't empty" if kind == "lines" else "two characters"
        problem = f"expected at least {wanted}, but {str(path)!r} has fewer"
        raise CorpusError(problem, "give a longer text")
    return "".join(map(chr, np.flatnonzero(seen))), length, digest.hexdigest()


def _fill(path: Path, kind: str, vocabulary: Vocabulary, length: int) -> np.ndarray:
    """Read a surveyed text again, into one array of ids (``length``,)."""
    ids = np.empty(length, dtype=vocabulary.dtype)
    filled = 0
    try:
        for piece in _of_kind(text_pieces(path), kind):
            ids[filled : filled + len(piece)] = vocabulary.encode(piece)
            filled += len(piece)
    except (ValueError, VocabularyError):
        filled = -1
    if filled != length:
        problem = f"{str(path)!r} changed while it was read"
        raise CorpusError(problem, "try again when nothing writes to it")
    return ids
