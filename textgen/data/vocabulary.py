"""Symbols and their ids, and what happens to symbols that a vocabulary lacks.

A vocabulary is made once, from a whole text, and from then on belongs to the model:
id i is row i of the embedding and column i of the logits. A text from elsewhere (a
prompt, say) is first made to fit:

    >>> vocabulary = Vocabulary.from_text("a cafe's fire")
    >>> fitted = vocabulary.fit("Café ☃")
    >>> fitted.text
    'cafe '
    >>> fitted.describe()
    "the model has never seen 'C' (folded to 'c'), 'é' (folded to 'e'), '☃' (skipped)"
    >>> vocabulary.decode(vocabulary.encode(fitted.text))
    'cafe '

A symbol is a character or, of the levels ``word`` and ``bpe``, a longer piece of text.
All characters of the text are symbols, too, and are what spells everything else, so
that a text of known characters is always encoded, and decoded to itself:

    >>> words = Vocabulary((" ", *"bdioru", " bird"), level="word")
    >>> words.encode("our bird").tolist(), words.decode([4, 6, 5, 7])
    ([4, 6, 5, 7], 'our bird')

What a vocabulary is made of is told by `textgen.data.levels`.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from textgen.config import LEVELS
from textgen.data.labels import (
    FIRST_CODE,
    MOST_LABELS,
    SYMBOLS,
    label_name,
    label_symbol,
)
from textgen.data.spelling import (
    Merges,
    Spelling,
    by_pairs,
    by_words,
    pieces_of_blocks,
    spell,
)
from textgen.errors import OptionError, VocabularyError, did_you_mean, shown

KINDS = ("lines", "text")
END_SYMBOL = "\n"  # begins and ends every line of a `lines` corpus
END_OF_TEXT = "\0"  # ends what may hold newlines itself; no text that is read has it
SHOWN_SYMBOLS = 5  # a message names no more than these
CHUNK_CHARS = 1 << 18  # encoded at once; 4 bytes each as UTF-32, 8 as indices
MOST_SYMBOL_CHARS = 32  # the longest words of a text are too rare to be symbols

# What may stand for a symbol in print, likeliest first. Keyboards give the straight
# forms and printed texts the curly ones, so both directions are needed.
# fmt: off
TYPOGRAPHIC_FORMS: dict[str, tuple[str, ...]] = {
    "'": ("’", "‘"), '"': ("”", "“", "''"), "-": ("‐", "–", "—"), "…": ("...",),
    "—": ("--", "-"), "―": ("--", "-"), "\t": (" ",), END_OF_TEXT: (END_SYMBOL,),
    **dict.fromkeys("‘’‚‛‹›′´`", ("'",)),
    **dict.fromkeys("“”„‟«»″", ('"', "''")),
    **dict.fromkeys("‐‑‒–−", ("-",)),
    **dict.fromkeys("\u00a0\u2002\u2003\u2009\u202f\u3000", (" ",)),
    "Æ": ("AE", "Ae"), "æ": ("ae",), "Œ": ("OE", "Oe"), "œ": ("oe",), "ß": ("ss",),
    "Þ": ("TH", "Th"), "þ": ("th",), "Ð": ("D",), "ð": ("d",), "Ø": ("O",),
    "ø": ("o",), "Ł": ("L",), "ł": ("l",),
}
# fmt: on


def end_symbol(kind: str, symbols: Container[str]) -> str | None:
    """Return what begins and ends each example or document; None if nothing does.

    A vocabulary that has `END_OF_TEXT` was made of several documents, or of examples
    with newlines in them. Else lines end with a newline, and a text has no end.
    """
    if END_OF_TEXT in symbols:
        return END_OF_TEXT
    return END_SYMBOL if kind == "lines" and END_SYMBOL in symbols else None


def code_points(text: str) -> np.ndarray:
    """Return the code points of ``text`` (N,) uint32; lone surrogates are kept."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


@dataclass(frozen=True)
class Fitted:
    """A text made encodable, and what that took (see `Vocabulary.fit`).

    Each symbol that was folded or skipped is named once, in order of appearance.
    """

    text: str  # every symbol of it is known
    folded: tuple[tuple[str, str], ...] = ()  # symbols, and what stands for them now
    skipped: tuple[str, ...] = ()  # symbols for which nothing stands

    def describe(self) -> str | None:
        """Return one line that says what was changed; None when nothing was."""
        changes = [f"{old!r} (folded to {new!r})" for old, new in self.folded]
        changes += [f"{_named(symbol)} (skipped)" for symbol in self.skipped]
        return f"the model has never seen {_listed(changes)}" if changes else None


@dataclass(frozen=True)
class Vocabulary:
    """Symbols in id order: ``symbols[i]`` is the symbol of id i.

    Of the level ``character`` each is one character. Of ``word`` and ``bpe`` there are
    longer ones, whose characters are symbols by themselves, and which have neither a
    newline nor the end of a text in them. `fit` and ``in`` are about characters.

    Some may stand for ``labels``, which are of no text; see `textgen.data.labels`.
    """

    symbols: tuple[str, ...]  # at least one, all different
    level: str = "character"  # or ``word`` or ``bpe``
    merges: Merges = ()  # of ``bpe``, first to last: pairs that are joined to a symbol
    labels: tuple[str, ...] = ()  # their names, in the order of their symbols

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbols", tuple(self.symbols))
        object.__setattr__(self, "labels", tuple(self.labels))
        if self.level not in LEVELS:
            raise VocabularyError(f"expected a level of {', '.join(LEVELS)}")
        wrong = list(self._wrong_symbols())
        if not wrong:
            counts = Counter(self.symbols).items()
            wrong = [f"{shown(s)} {count} times" for s, count in counts if count > 1]
        if wrong or not self.symbols:
            rule = "the symbols of a vocabulary must be different Unicode characters"
            if self.level != "character":
                rule += f", or at most {MOST_SYMBOL_CHARS} of these"
            problem = f"{rule}, but received {_listed(wrong) or 'none'}"
            raise VocabularyError(problem, "make the vocabulary from a text")
        if self.labels:
            self._check_labels()
        self._check_merges()

    def _check_labels(self) -> None:
        """Raise `VocabularyError` unless labels are names that have a symbol each."""
        names = [name for name in self.labels if name and name == label_name(name)]
        marks = {symbol for symbol in self.symbols if SYMBOLS.match(symbol)}
        of_names = set(map(label_symbol, range(min(len(names), MOST_LABELS))))
        most = min(len(set(names)), MOST_LABELS)
        if len(self.labels) > most or marks != of_names:
            rule = f"at most {MOST_LABELS:,} different names that have a symbol each"
            received = _listed(list(map(shown, self.labels)))
            problem = f"the labels of a vocabulary must be {rule}, but were {received}"
            raise VocabularyError(problem, "make the vocabulary from a text")
        if len(self.symbols) == len(marks):
            problem = "expected symbols of a text, but received those of labels only"
            raise VocabularyError(problem, "make the vocabulary from a text")

    @classmethod
    def from_text(cls, text: str, labels: Sequence[str] = ()) -> Vocabulary:
        """Return the vocabulary of a text: its distinct symbols, sorted."""
        return cls(tuple(sorted(set(text))), labels=tuple(labels))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Vocabulary:
        """Rebuild what `to_dict` gave; what else is there is left alone.

        Raises:
            VocabularyError: for symbols or merges that make no vocabulary.
            KeyError, TypeError, ValueError, IndexError: for what has another form.
        """
        symbols, merges = data["symbols"], []
        is_list = isinstance(symbols, (list, tuple))
        if not is_list or not all(isinstance(symbol, str) for symbol in symbols):
            raise ValueError("symbols that are no list of texts")
        for pair in data.get("merges", ()):
            left, right = pair
            if type(left) is not int or type(right) is not int or min(pair) < 0:
                raise ValueError("merges that aren't pairs of ids")
            merges.append((symbols[left], symbols[right]))
        labels = data.get("labels", ())
        if not isinstance(labels, (list, tuple)):
            raise ValueError("labels that are no list")
        return cls(tuple(symbols), data["level"], tuple(merges), tuple(labels))

    def to_dict(self) -> dict[str, Any]:
        """Return level, symbols, any labels, and merges as pairs of ids, for JSON."""
        data: dict[str, Any] = {"level": self.level, "symbols": list(self.symbols)}
        if self.labels:
            data["labels"] = list(self.labels)
        if not self.merges:
            return data
        ids = {symbol: number for number, symbol in enumerate(self.symbols)}
        return data | {"merges": [[ids[a], ids[b]] for a, b in self.merges]}

    def __len__(self) -> int:
        return len(self.symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._known

    @property
    def dtype(self) -> np.dtype:
        """Smallest unsigned type that holds every id: uint8 up to 256 symbols."""
        return np.min_scalar_type(len(self.symbols) - 1)

    @cached_property
    def characters(self) -> np.ndarray:
        """How many characters each symbol has, (V,) int64."""
        return np.array([len(symbol) for symbol in self.symbols])

    @cached_property
    def alphabet(self) -> Vocabulary:
        """The vocabulary of the single characters, in the order of their ids."""
        if self.level == "character":
            return self
        single = tuple(s for s in self.symbols if len(s) == 1)
        return Vocabulary(single, labels=self.labels)

    @cached_property
    def _known(self) -> frozenset[str]:
        """The characters that a text may be made of."""
        marks = set(map(label_symbol, range(len(self.labels))))
        return frozenset(self.alphabet.symbols) - marks

    @cached_property
    def label_ids(self) -> np.ndarray:
        """Id of each label, (L,) int64."""
        symbols = list(map(label_symbol, range(len(self.labels))))
        return np.array([self.symbols.index(x) for x in symbols], np.int64)

    @cached_property
    def is_label(self) -> np.ndarray:
        """Which ids are those of labels, (V,) bool."""
        return np.isin(np.arange(len(self)), self.label_ids)

    def label_id(self, name: str, received: str = "`label`") -> int:
        """Return the id of a label; an `OptionError` names those that there are.

        ``received`` is what the error calls a label that isn't one of them.
        """
        known = label_name(name)
        if known in self.labels:
            return int(self.label_ids[self.labels.index(known)])
        if not self.labels:
            problem = f"the model knows no labels, but {received} was {shown(name)}"
            raise OptionError(problem, "leave it out, or train with a column of labels")
        meant = did_you_mean(known or "", self.labels, quote="'")
        one_of = _listed(list(map(repr, self.labels)))
        raise OptionError(
            f"{received} must be one of {one_of}, but was {shown(name)}{meant}"
        )

    def without_labels(self, ids: np.ndarray) -> np.ndarray:
        """Return ids (N,) without those of labels: what the text itself is."""
        return ids[~self.is_label[ids]] if self.labels else ids

    def _wrong_symbols(self) -> Iterator[str]:
        """Yield, as an error names them, the symbols that this level can't have."""
        if self.level == "character":
            yield from (shown(s) for s in self.symbols if not _is_character(s))
            return
        single = {s for s in self.symbols if _is_character(s)}
        marks = set(map(label_symbol, range(min(len(self.labels), MOST_LABELS))))
        inside = single - {END_SYMBOL, END_OF_TEXT} - marks
        for symbol in self.symbols:
            is_text = isinstance(symbol, str) and 0 < len(symbol) <= MOST_SYMBOL_CHARS
            if not is_text or (symbol not in single and not inside.issuperset(symbol)):
                yield shown(symbol)

    def _check_merges(self) -> None:
        """Raise `VocabularyError` unless all that merges join and make are symbols."""
        if self.merges and self.level != "bpe":
            raise VocabularyError("expected merges of the level 'bpe' only")
        symbols = frozenset(self.symbols)
        for left, right in self.merges:
            if not symbols.issuperset((left, right, left + right)):
                problem = "expected merges of symbols to symbols, but received"
                raise VocabularyError(f"{problem} {shown((left, right))}")

    @cached_property
    def _codes(self) -> np.ndarray:
        """Code point of each id, (V,) uint32."""
        return code_points("".join(self.symbols))

    @cached_property
    def _spelling(self) -> Callable[[str], Spelling]:
        """What gives the ids of a piece of text, of the levels that have pieces."""
        if self.level == "word":
            return by_words(self.symbols)
        return by_pairs(self.symbols, self.merges)

    @cached_property
    def _id_of_code(self) -> np.ndarray:
        """Id of each code point; V, which is no id, for all that are unknown."""
        # The last entry is unknown too, so clipping an index to the table is right.
        table = np.full(int(self._codes.max()) + 2, len(self), dtype=np.uint32)
        table[self._codes] = np.arange(len(self), dtype=np.uint32)
        return table

    @cached_property
    def _id_in_text(self) -> np.ndarray:
        """The same, to which the symbols of labels are unknown."""
        table = self._id_of_code.copy()
        table[FIRST_CODE : FIRST_CODE + len(self.labels)] = len(self)
        return table

    def encode(self, text: str, *, labels: bool = False) -> np.ndarray:
        """Return the ids of a text, (N,) of `dtype`, in constant memory beyond them.

        With ``labels``, their symbols may be in it, as in a labelled corpus. A
        `VocabularyError` names the symbols that the vocabulary lacks, or a library
        that is missing.
        """
        if self.level != "character":
            blocks = (
                text[start : start + CHUNK_CHARS]
                for start in range(0, len(text), CHUNK_CHARS)
            )
            parts = self.encoded(blocks, labels=labels)
            return np.concatenate([np.empty(0, self.dtype), *parts])
        ids = np.empty(len(text), dtype=self.dtype)
        id_of_code = self._id_of_code if labels else self._id_in_text
        for start in range(0, len(text), CHUNK_CHARS):
            chunk = code_points(text[start : start + CHUNK_CHARS])
            found = id_of_code.take(chunk, mode="clip")
            if (found == len(self)).any():
                raise self._unknown(text)
            ids[start : start + len(chunk)] = found
        return ids

    def encoded(
        self, blocks: Iterable[str], *, labels: bool = False
    ) -> Iterator[np.ndarray]:
        """Yield the ids, as `encode` does, of a text that comes in blocks.

        A block may end anywhere, also where a symbol of several characters would stand.
        """
        if self.level == "character":
            yield from (self.encode(block, labels=labels) for block in blocks)
            return
        known = frozenset(self.alphabet.symbols) if labels else self._known
        for pieces in pieces_of_blocks(blocks):
            if not known.issuperset(itertools.chain.from_iterable(pieces)):
                raise self._unknown("".join(pieces))
            yield spell(pieces, self._spelling, self.dtype)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of ids (N,); a ValueError unless all are from 0 to V - 1."""
        ids = np.asarray(ids)
        if not ids.size:
            return ""
        if ids.min() < 0 or ids.max() >= len(self):
            raise ValueError(f"ids must be from 0 to {len(self) - 1}")
        if self.level != "character":
            return "".join(map(self.symbols.__getitem__, ids.tolist()))
        return self._codes[ids].astype("<u4", copy=False).tobytes().decode("utf-32-le")

    def _unknown(self, text: str) -> VocabularyError:
        """Return the error that names what the vocabulary lacks of a text."""
        unknown = [_named(s) for s in dict.fromkeys(text) if s not in self]
        return VocabularyError(
            f"expected only the {len(self._known):,} characters that the model knows, "
            f"but received {_listed(unknown)}",
            "leave them out, or leave out `strict` to have them folded",
        )

    def extended(
        self, symbols: Iterable[str], labels: Sequence[str] = ()
    ) -> Vocabulary:
        """Return a vocabulary with new characters appended, sorted; old ids stay.

        The ``labels`` are the old ones and what may follow them; none means the old.
        """
        new = sorted(set(symbols) - set(self.symbols))
        own = tuple(labels) or self.labels
        return replace(self, symbols=(*self.symbols, *new), labels=own) if new else self

    def ids_like(self, symbols: Iterable[str]) -> np.ndarray:
        """Return for each symbol (N,) its id or that of what best stands for it.

        It is -1 where no single symbol that is known does.
        """
        ids = {known: number for number, known in enumerate(self.symbols)}
        likest = (
            next((ids[s] for s in (symbol, *_stand_ins(symbol)) if s in ids), -1)
            for symbol in symbols
        )
        return np.fromiter(likest, np.int64)

    def fit(self, text: str, *, labels: bool = False) -> Fitted:
        """Make any text encodable: fold what can be folded, skip the rest.

        With ``labels``, their symbols stay as they are.

        A symbol that the vocabulary lacks is replaced by the first of these whose
        symbols are all known: another typographic form (straight quotes, hyphens, three
        dots, the letters of a ligature); the other case; without accents, in either
        case; a typographic form in the other case. Accents are removed by Unicode's
        compatibility decomposition (NFKD, Unicode Standard Annex 15) without the
        combining marks.
        """
        replacements: dict[str, str] = {}
        for symbol in dict.fromkeys(text):
            if symbol not in self and not (labels and symbol in self.symbols):
                known = (s for s in _stand_ins(symbol) if self._known.issuperset(s))
                replacements[symbol] = next(known, "")
        return Fitted(
            text.translate({ord(old): new for old, new in replacements.items()}),
            folded=tuple((old, new) for old, new in replacements.items() if new),
            skipped=tuple(old for old, new in replacements.items() if not new),
        )


def _stand_ins(symbol: str) -> Iterator[str]:
    """Yield what may stand for a symbol, best first; see `Vocabulary.fit`."""
    forms = TYPOGRAPHIC_FORMS.get(symbol, ())
    yield from forms
    yield symbol.swapcase()
    decomposed = unicodedata.normalize("NFKD", symbol)
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    yield bare
    yield bare.swapcase()
    for form in forms:
        yield form.swapcase()


def _is_character(symbol: Any) -> bool:
    """Tell whether this is one character that UTF-8 can write (no lone surrogate)."""
    one = isinstance(symbol, str) and len(symbol) == 1
    return one and not "\ud800" <= symbol <= "\udfff"


def _listed(items: Sequence[str]) -> str:
    """Join the first few items; say how many more there are."""
    more = len(items) - SHOWN_SYMBOLS
    named = ", ".join(items[:SHOWN_SYMBOLS])
    return f"{named} and {more:,} more" if more > 0 else named


def _named(symbol: str) -> str:
    """Name a symbol; what stands for a byte that isn't UTF-8 is named as the byte."""
    byte = ord(symbol) - 0xDC00  # how Python reads such bytes
    return f"byte 0x{byte:02x}" if 0x80 <= byte <= 0xFF else repr(symbol)
