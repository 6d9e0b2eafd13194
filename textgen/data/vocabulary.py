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

import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from textgen.config import LEVELS
from textgen.data.pieces import in_whole_pieces
from textgen.data.spelling import Merges, Spelling, by_pairs, by_words, spell
from textgen.errors import VocabularyError, shown

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
    """

    symbols: tuple[str, ...]  # at least one, all different
    level: str = "character"  # or ``word`` or ``bpe``
    merges: Merges = ()  # of ``bpe``, first to last: pairs that are joined to a symbol

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbols", tuple(self.symbols))
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
        self._check_merges()

    @classmethod
    def from_text(cls, text: str) -> Vocabulary:
        """Return the vocabulary of a text: its distinct symbols, sorted."""
        return cls(tuple(sorted(set(text))))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Vocabulary:
        """Rebuild what `to_dict` gave; what else is there is left alone.

        Raises:
            VocabularyError: for symbols or merges that make no vocabulary.
            KeyError, TypeError, ValueError, IndexError: for what has another form.
        """
        symbols, merges = tuple(data["symbols"]), []
        for pair in data.get("merges", ()):
            left, right = pair
            if type(left) is not int or type(right) is not int or min(pair) < 0:
                raise ValueError("merges that aren't pairs of ids")
            merges.append((symbols[left], symbols[right]))
        return cls(symbols, data["level"], tuple(merges))

    def to_dict(self) -> dict[str, Any]:
        """Return level, symbols and any merges, as pairs of ids, as JSON values."""
        data = {"level": self.level, "symbols": list(self.symbols)}
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
        return Vocabulary(tuple(s for s in self.symbols if len(s) == 1))

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.alphabet.symbols)

    def _wrong_symbols(self) -> Iterator[str]:
        """Yield, as an error names them, the symbols that this level can't have."""
        if self.level == "character":
            yield from (shown(s) for s in self.symbols if not _is_character(s))
            return
        single = {s for s in self.symbols if _is_character(s)}
        inside = single - {END_SYMBOL, END_OF_TEXT}
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

    def encode(self, text: str) -> np.ndarray:
        """Return the ids of a text, (N,) of `dtype`, in constant memory beyond them.

        A `VocabularyError` names the symbols that the vocabulary lacks, or a library
        that is missing.
        """
        if self.level != "character":
            blocks = (
                text[start : start + CHUNK_CHARS]
                for start in range(0, len(text), CHUNK_CHARS)
            )
            return np.concatenate([np.empty(0, self.dtype), *self.encoded(blocks)])
        ids = np.empty(len(text), dtype=self.dtype)
        for start in range(0, len(text), CHUNK_CHARS):
            chunk = code_points(text[start : start + CHUNK_CHARS])
            found = self._id_of_code.take(chunk, mode="clip")
            if (found == len(self)).any():
                raise self._unknown(text)
            ids[start : start + len(chunk)] = found
        return ids

    def encoded(self, blocks: Iterable[str]) -> Iterator[np.ndarray]:
        """Yield the ids, as `encode` does, of a text that comes in blocks.

        A block may end anywhere, also where a symbol of several characters would stand.
        """
        if self.level == "character":
            yield from map(self.encode, blocks)
            return
        for block in in_whole_pieces(blocks):
            if not self._known.issuperset(block):
                raise self._unknown(block)
            yield spell(block, self._spelling, self.dtype)

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
            f"expected only the {len(self._known):,} symbols that the model knows, "
            f"but received {_listed(unknown)}",
            "leave them out, or leave out `strict` to have them folded",
        )

    def extended(self, symbols: Iterable[str]) -> Vocabulary:
        """Return a vocabulary with new characters appended, sorted; old ids stay."""
        new = sorted(set(symbols) - self._known)
        return replace(self, symbols=(*self.symbols, *new)) if new else self

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

    def fit(self, text: str) -> Fitted:
        """Make any text encodable: fold what can be folded, skip the rest.

        A symbol that the vocabulary lacks is replaced by the first of these whose
        symbols are all known: another typographic form (straight quotes, hyphens, three
        dots, the letters of a ligature); the other case; without accents, in either
        case; a typographic form in the other case. Accents are removed by Unicode's
        compatibility decomposition (NFKD, Unicode Standard Annex 15) without the
        combining marks.
        """
        replacements: dict[str, str] = {}
        for symbol in dict.fromkeys(text):
            if symbol not in self:
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
