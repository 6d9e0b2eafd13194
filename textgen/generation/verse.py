"""Candidates for the next line of a poem, drawn together as one batch.

All rows begin where the poem stands: its state is copied, so that its text is read
once. Each row draws its own line, symbol by symbol, among those symbols that keep to
the metre: a word ends only where it is a known one that fits, a line only where it is
complete, and its last foot is filled by words that rhyme. A row whose model thinks
hardly anything of what is left is given up, and goes on as a copy of another one.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from string import ascii_letters, ascii_uppercase

import numpy as np

from textgen.config import CompletionConfig
from textgen.generation.forms import LineForm
from textgen.generation.prosody import (
    NEVER_LAST,
    do_rhyme,
    places_after,
    rhyme_length,
    short_rhymes,
)
from textgen.generation.sampling import probabilities, sample_batch
from textgen.inference.base import State
from textgen.saving.trained_model import TrainedModel

PAUSES = ",.;:!?"
CAPITALS = set(ascii_uppercase)
WORD_SYMBOLS = f"{ascii_letters}'"
EVERYTHING_READ = f"{WORD_SYMBOLS} -{PAUSES}\n"  # what stands in lines
MOST_CHARS_A_SYLLABLE = 9
# A row is given up where the model gives less than this to all that may follow.
LEAST_SHARE = 2e-3
# The last rows may take long, so that they are left when so few are unfinished.
UNFINISHED_SHARE = 0.25
# Of the mean nats a character in a score: what the model thinks of a line itself. The
# rest of the score is what the form has left of the probability.
NATS_WEIGHT = 4.0
# What the score loses for each time that a word, or two words running, came before in
# the poem: the likeliest lines are all alike.
WORD_NATS, PAIR_NATS = 0.3, 1.5
# A word that others are to rhyme with has at least so many short rhymes.
LEAST_RHYMES = 8

Places = frozenset[tuple[str, int]]  # a metre, and how many of its syllables are there


@dataclass(frozen=True, eq=False)
class Standing:
    """Where a poem stands: a decoder's state, and ids (N,) that it hasn't read."""

    state: State | None  # None: nothing has been read
    unread: np.ndarray


@dataclass(frozen=True)
class Wanted:
    """What the next line has to be, given those before it.

    Attributes:
        form: its metres and so forth.
        beginning: how it begins; only the rest is drawn.
        rhymes: the last words that its last word rhymes with.
        others: last words that it must not rhyme with.
        leads: whether a later line is to rhyme with this one first.
        before: the lines before it, none of which it may repeat.
    """

    form: LineForm
    beginning: str = ""
    rhymes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    leads: bool = False
    before: tuple[str, ...] = ()

    @functools.cached_property
    def taken(self) -> frozenset[str]:
        """The lines before it, as `plain` gives them."""
        return frozenset(map(plain, self.before))

    @functools.cached_property
    def used(self) -> Counter[str | tuple[str, str]]:
        """How often each word, and each pair of words, comes in the lines before it."""
        lines = [words_of(line) for line in self.before]
        return Counter(chain.from_iterable((*x, *pairwise(x)) for x in lines))

    def repetition_nats(self, line: str) -> float:
        """Return what a line's score loses for words that came before."""
        words = words_of(line)
        repeated = sum(self.used[word] for word in words)
        pairs = sum(self.used[pair] for pair in pairwise(words))
        return WORD_NATS * repeated + PAIR_NATS * pairs

    def may_end_with(self, word: str) -> bool:
        """Tell whether the line's last word may be this one, in lower case."""
        if word in NEVER_LAST:
            return False
        if not all(do_rhyme(word, other) for other in self.rhymes):
            return False
        if self.form.rhyme and any(
            word == other or do_rhyme(word, other) for other in self.others
        ):
            return False
        return not self.leads or len(short_rhymes(word)) >= LEAST_RHYMES


@dataclass(frozen=True, eq=False)
class Candidate:
    """A line that fits.

    Attributes:
        text: the line, its beginning included.
        score: higher is better; how probable the model found it, in nats.
        standing: where the poem stands after it.
    """

    text: str
    score: float
    standing: Standing


def plain(line: str) -> str:
    """Return the letters of a line alone, by which two lines are compared."""
    return "".join(x for x in line.lower() if x.isalpha())


def words_of(line: str) -> list[str]:
    """Return the words of a line in lower case."""
    kept = "".join(x if x in WORD_SYMBOLS else " " for x in line.replace("’", "'"))
    return [spoken(word) for word in kept.lower().split() if word.strip("'")]


def _stammers(line: str) -> bool:
    """Tell whether a word comes twice running."""
    return any(one == other for one, other in pairwise(words_of(line)))


def spoken(word: str) -> str:
    """Return a word without an apostrophe at its end that isn't heard."""
    return word[:-1] if word.endswith("s'") else word


@dataclass
class _Row:
    """What a row has drawn."""

    text: str
    word: str  # in lower case, as far as it is there
    places: Places  # before that word
    begins: bool  # whether it stands first in the line, or after a pause
    nats: float = 0.0  # the model's own log-probability
    left: float = 0.0  # log of what the form left of the probability at each step
    is_open: bool = True  # False: its line is complete


class LineDrawer:
    """Draws candidates for a line, B at a time; one thread's."""

    def __init__(
        self, model: TrainedModel, batch_size: int, config: CompletionConfig
    ) -> None:
        """Make a decoder for so many rows."""
        self._decoder = model.decoder(batch_size)
        self._batch_size, self._config = batch_size, config
        self._symbols = model.vocabulary.symbols
        self._masks: dict[str, np.ndarray] = {}

    def draw(
        self, standing: Standing, wanted: Wanted, rng: np.random.Generator
    ) -> list[Candidate]:
        """Return the lines that came out, in the order in which they ended."""
        guide = _Guide(wanted, self._symbols)
        rows = [_first_row(wanted) for _ in range(self._batch_size)]
        ids = self._take_up(standing)
        found: list[Candidate] = []
        for _ in range(max(map(len, wanted.form.metres)) * MOST_CHARS_A_SYLLABLE):
            logits = self._decoder.step(ids).astype(np.float64)
            allowed = np.stack([self._mask(guide.following(row)) for row in rows])
            left = _left(logits, self._config, allowed)
            sources = _sources(rows, left, rng)
            if sources is None:
                break
            for slot in np.flatnonzero(sources != np.arange(len(rows))).tolist():
                rows[slot] = replace(rows[sources[slot]])
                self._decoder.set_state([slot], self._decoder.state(sources[slot]))
            logits, allowed, left = logits[sources], allowed[sources], left[sources]
            masked = np.where(allowed, logits, -np.inf)
            ids = sample_batch(masked, rng.random(len(rows)), self._config)
            nats = _log_softmax(logits)[np.arange(len(rows)), ids]
            for slot, row in enumerate(rows):
                if row.is_open:
                    row.nats += float(nats[slot])
                    row.left += math.log(left[slot])
                    self._advance(slot, row, ids, guide, found)
            if sum(row.is_open for row in rows) <= len(rows) * UNFINISHED_SHARE:
                break
        return found

    def _advance(
        self,
        slot: int,
        row: _Row,
        ids: np.ndarray,
        guide: _Guide,
        found: list[Candidate],
    ) -> None:
        """Let a row go on with the id drawn for it; add its line if that ends it."""
        symbol = self._symbols[ids[slot]]
        if symbol != "\n":
            guide.advance(row, symbol)
            return
        row.is_open = False
        if plain(row.text) not in guide.wanted.taken and not _stammers(row.text):
            drawn = len(row.text) + 1 - len(guide.wanted.beginning)
            score = row.left + NATS_WEIGHT * row.nats / drawn
            score -= guide.wanted.repetition_nats(row.text)
            after = Standing(self._decoder.state(slot), ids[slot : slot + 1])
            found.append(Candidate(row.text, score, after))

    def _take_up(self, standing: Standing) -> np.ndarray:
        """Let all rows stand where the poem stands; return the ids (B,) to read."""
        slots = list(range(self._batch_size))
        if standing.state is None:
            self._decoder.reset(slots)
        else:
            self._decoder.set_state(slots, standing.state)
        *unread, last = standing.unread.tolist()
        for symbol_id in unread:
            self._decoder.step(np.full(self._batch_size, symbol_id))
        return np.full(self._batch_size, last)

    def _mask(self, symbols: str) -> np.ndarray:
        """Return which ids (V,) are those of some symbols."""
        if symbols not in self._masks:
            wanted = set(symbols)
            mask = np.array([symbol in wanted for symbol in self._symbols])
            self._masks[symbols] = mask
        return self._masks[symbols]


def _left(
    logits: np.ndarray, config: CompletionConfig, allowed: np.ndarray
) -> np.ndarray:
    """Return which share (B,) of the probability by logits (B, V) is allowed."""
    plain_config = CompletionConfig(temperature=config.temperature)
    return (probabilities(logits, plain_config) * allowed).sum(axis=1)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    differences = logits - logits.max(axis=1, keepdims=True)
    return differences - np.log(np.exp(differences).sum(axis=1, keepdims=True))


def _sources(
    rows: Sequence[_Row], left: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """Return which row (B,) each goes on as; None if no row can go on.

    A row whose model gives too little to what is allowed goes on as another open one.
    """
    is_open = np.array([row.is_open for row in rows])
    alive = np.flatnonzero(is_open & (left >= LEAST_SHARE))
    if not len(alive):
        return None
    sources = np.arange(len(rows))
    lost = np.flatnonzero(is_open & (left < LEAST_SHARE))
    sources[lost] = rng.choice(alive, len(lost))
    return sources


class _Guide:
    """Knows which symbols may follow what a row has drawn."""

    def __init__(self, wanted: Wanted, symbols: Sequence[str]) -> None:
        """Prepare for a line, with the symbols of a model."""
        self.wanted = wanted
        self._initials = "".join(CAPITALS & set(symbols)) or WORD_SYMBOLS
        self._rhymes: list[str] = []  # that may fill the end of the line, in order
        self._rhyme_length = 0
        if wanted.rhymes:
            first = wanted.rhymes[0]
            self._rhyme_length = rhyme_length(first)
            self._rhymes = [x for x in short_rhymes(first) if wanted.may_end_with(x)]
        self._known: dict[tuple, str] = {}

    def following(self, row: _Row) -> str:
        """Return the symbols that may come next; all, after the line's end."""
        if not row.is_open:
            return EVERYTHING_READ
        last = row.text[-1:]
        key = (last, row.word, row.places, row.begins, self._is_users(row))
        if key not in self._known:
            self._known[key] = self._following(row, last)
        return self._known[key]

    def _following(self, row: _Row, last: str) -> str:
        if not last:
            return self._initials
        if last in PAUSES:
            return self._after_pause(row.places, last)
        letters = self._within_word(row)
        return letters + self._after_word(self._ends(row)) if row.word else letters

    def _is_forced(self, row: _Row) -> bool:
        """Tell whether the word is the last one and has to be one of the rhymes."""
        left = {len(metre) - count for metre, count in row.places}
        return bool(self.wanted.rhymes) and left == {self._rhyme_length}

    def _within_word(self, row: _Row) -> str:
        if not self._is_forced(row):
            return WORD_SYMBOLS
        first = bisect_left(self._rhymes, row.word)
        letters = set()
        for rhyme in self._rhymes[first:]:
            if not rhyme.startswith(row.word):
                break
            letters |= set(rhyme[len(row.word) :][:1])
        return "".join(sorted(letters))

    def _ends(self, row: _Row) -> Places:
        """Return the places after a row's word, should it end here."""
        word, is_users = spoken(row.word), self._is_users(row)
        ends = {
            (metre, after)
            for metre, before in row.places
            for after in places_after(word, before, metre, row.begins, is_users)
        }
        is_last = any(after == len(metre) for metre, after in ends)
        if is_last and not self.wanted.may_end_with(word):
            ends = {(metre, after) for metre, after in ends if after < len(metre)}
        return frozenset(ends)

    def _is_users(self, row: _Row) -> bool:
        """Tell whether the user has begun the word, which therefore need not fit."""
        return len(row.text) - len(row.word) < len(self.wanted.beginning)

    def _after_word(self, ends: Places) -> str:
        pause = self.wanted.form.pause
        symbols = ""
        if any(after < len(metre) for metre, after in ends):
            symbols += " -" + PAUSES
        if any(after == len(metre) for metre, after in ends):
            symbols += pause or PAUSES + "\n"
        return symbols

    def _after_pause(self, places: Places, last: str) -> str:
        pause = self.wanted.form.pause
        symbols = ""
        if any(count < len(metre) for metre, count in places):
            symbols += " "
        if any(count == len(metre) for metre, count in places) and (
            not pause or last in pause
        ):
            symbols += "\n"
        return symbols

    def advance(self, row: _Row, symbol: str) -> None:
        """Let a row's text go on with a symbol."""
        if symbol in WORD_SYMBOLS:
            row.word += symbol.lower()
        elif row.word:
            row.places, row.word = self._ends(row), ""
            row.begins = symbol in PAUSES
            if symbol in " -":
                row.places = frozenset(x for x in row.places if x[1] < len(x[0]))
        row.text += symbol


def _first_row(wanted: Wanted) -> _Row:
    """Return a row that has read the beginning of its line, which is as it is."""
    beginning = wanted.beginning
    word = beginning[len(beginning.rstrip(WORD_SYMBOLS)) :].lower()
    places = {(metre, 0) for metre in wanted.form.metres}
    for each in words_of(beginning[: len(beginning) - len(word)]):
        places = {
            (metre, after)
            for metre, before in places
            for after in places_after(each, before, metre, False, lenient=True)
            if after < len(metre)
        }
    begins = beginning.rstrip()[-1:] in PAUSES  # as is "", in Python
    return _Row(beginning, word, frozenset(places), begins)


def syllables_of(line: str) -> set[int]:
    """Return how many syllables a line may have; words that aren't known, by rule."""
    counts = {0}
    for word in words_of(line):
        counts = {
            after
            for before in counts
            for after in places_after(word, before, "", False, lenient=True)
        }
    return counts
