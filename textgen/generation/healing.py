"""How a completion may begin whose prompt ends inside a symbol ("token healing").

A model whose symbols have several characters knows texts that are spelled in one way.
"Shall I comp" ends within a word that is perhaps a symbol as a whole; by itself its end
would be spelled by symbols that never come before "are". So the network reads only what
stands before, and the rest is spelled anew together with what follows it:

    the network reads    "Shall", " I"
    the rest is          " comp"
    openings are         " compare" or " company" or " comp", "are" or " ", "c", "ome" …

An opening is a run of symbols whose text begins with the rest, all of which are needed
for that. Its probability is the product of those that the network gives its symbols, by
which one of all openings is drawn as if each were a symbol. So at temperature 1, with
nothing left out, completions have the network's own distribution over texts, under the
condition that the rest comes after what is read. Only openings are passed over that
have together less than `PASSED_OVER` of the probability, or that `MOST_STEPS` of the
network don't find; if these find none, the prompt is spelled as a text that ends there.
"""

from __future__ import annotations

import heapq
import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from textgen.config import CompletionConfig
from textgen.data.spelling import pieces_of
from textgen.data.vocabulary import Vocabulary
from textgen.generation.sampling import sample
from textgen.inference.base import State
from textgen.saving.trained_model import TrainedModel

PASSED_OVER = 1e-3  # of the probability of all openings
MOST_STEPS = 500  # of the network in looking for them
MOST_REST = 64  # characters that are spelled anew, more than any symbol has


@dataclass(frozen=True, eq=False)
class Opening:
    """What is read before the first symbol is drawn."""

    ids: np.ndarray  # (N,)
    text: str = ""  # what they spell beyond the prompt
    state: State | None = None  # a decoder's after all ids but the last


class _Node(NamedTuple):
    """Symbols that spell the beginning of the rest."""

    ids: tuple[int, ...]
    rest: str  # what they leave to be spelled
    state: State  # a decoder's after all ids but the last


class Openings:
    """All ways in which the completions of a prompt may begin."""

    def __init__(
        self,
        model: TrainedModel,
        read: np.ndarray,
        rest: str = "",
        state: State | None = None,
    ) -> None:
        """Look for them, where ``read`` (N,) comes first and then the rest.

        The state, if it is known, is a decoder's after all ids but the last.
        """
        self.read, self.rest, self.state = read, rest, state
        self._vocabulary = model.vocabulary
        self._nodes: list[_Node] = []  # each with the state after all its ids
        self._last: list[np.ndarray] = []  # ids that complete an opening at each node
        self._scores: list[np.ndarray] = []  # logarithms of their probabilities
        if rest:
            self._find(model)

    def _find(self, model: TrainedModel) -> None:
        """Lengthen the likeliest beginning, until hardly anything is left to find."""
        decoder, known = model.decoder(), _index(self._vocabulary.symbols)
        if self.state is None:
            for place in range(len(self.read) - 1):
                decoder.step(self.read[place : place + 1])
            self.state = decoder.state()
        numbers = itertools.count()  # of equal ones the first comes first
        first = _Node((int(self.read[-1]),), self.rest, self.state)
        waiting = [(0.0, next(numbers), first)]
        found = -math.inf
        while waiting and len(self._nodes) < MOST_STEPS:
            left = _log_sum([-each[0] for each in waiting])
            if left <= found + math.log(PASSED_OVER):
                break
            cost, _, (ids, rest, state) = heapq.heappop(waiting)
            decoder.set_state([0], state)
            logits = decoder.step(np.array(ids[-1:]))[0].astype(np.float64)
            scores = logits - logits.max()
            scores -= math.log(np.exp(scores).sum()) + cost
            after = decoder.state()
            self._nodes.append(_Node(ids, rest, after))
            self._last.append(known.beginning_with(rest))
            self._scores.append(scores[self._last[-1]])
            found = float(np.logaddexp(found, _log_sum(self._scores[-1])))
            for number in known.that_begin(rest):
                left_over = rest[len(self._vocabulary.symbols[number]) :]
                node = _Node((*ids, number), left_over, after)
                heapq.heappush(waiting, (-scores[number], next(numbers), node))

    @property
    def are_found(self) -> bool:
        """Whether there is any; not if the rest is very unlikely."""
        return not self.rest or self.scores.size > 0

    @cached_property
    def scores(self) -> np.ndarray:
        """The logarithm of each opening's probability, (K,) float64."""
        return np.concatenate([np.empty(0), *self._scores])

    @cached_property
    def log_probability(self) -> float:
        """The logarithm of the probability that the rest follows what is read."""
        return _log_sum(self.scores) if self.rest else 0.0

    def drawn(self, config: CompletionConfig, seed: int) -> Opening:
        """Draw an opening as a config draws symbols; for a search it is the likeliest.

        The same seed draws the same one, and from other numbers than the symbols.
        """
        if not self.rest:
            return Opening(self.read, state=self.state)
        rng = np.random.default_rng(seed).spawn(1)[0]
        if config.is_plain:
            number = sample(self.scores, rng, config)
        else:
            from textgen.generation.chains import draw_one_of

            number = draw_one_of(self.scores, config, rng)
        ends = np.cumsum([len(last) for last in self._last])
        node = self._nodes[int(ends.searchsorted(number, side="right"))]
        symbol = int(np.concatenate(self._last)[number])
        ids = np.array([*node.ids[1:], symbol], self.read.dtype)
        text = self._vocabulary.symbols[symbol][len(node.rest) :]
        return Opening(np.concatenate([self.read, ids]), text, node.state)


def unsettled(vocabulary: Vocabulary, text: str) -> int:
    """Return the place in a text from which on its spelling may depend on what follows.

    If a symbol could reach beyond the end, that is where the word or so begins in which
    the longest such symbol does; otherwise it is the text's end.
    """
    known, end = _index(vocabulary.symbols), len(text)
    furthest = range(max(0, end - known.longest), end)
    reaching = (place for place in furthest if known.is_beginning(text[place:]))
    first = next(reaching, None)
    if first is None:
        return end
    start = max(0, end - MOST_REST)
    places = itertools.accumulate(map(len, pieces_of(text[start:])), initial=start)
    return max(place for place in places if place <= first)


@dataclass(frozen=True)
class _Index:
    """Symbols in the order of their texts, where such as begin alike are together."""

    ids: dict[str, int]
    sorted_symbols: list[str]
    sorted_ids: np.ndarray  # (V,)
    longest: int  # characters

    def is_beginning(self, text: str) -> bool:
        """Tell whether a symbol begins with a text and is longer."""
        place = bisect_right(self.sorted_symbols, text)
        return any(x.startswith(text) for x in self.sorted_symbols[place : place + 1])

    def beginning_with(self, text: str) -> np.ndarray:
        """Return the ids of the symbols that begin with a text."""
        first = bisect_left(self.sorted_symbols, text)
        behind = bisect_right(
            self.sorted_symbols, text, key=lambda symbol: symbol[: len(text)]
        )
        return self.sorted_ids[first:behind]

    def that_begin(self, text: str) -> list[int]:
        """Return the ids of the symbols that a text begins with and goes on after."""
        parts = (text[:length] for length in range(1, len(text)))
        return [self.ids[part] for part in parts if part in self.ids]


@lru_cache(maxsize=8)
def _index(symbols: tuple[str, ...]) -> _Index:
    ids = {symbol: number for number, symbol in enumerate(symbols)}
    in_order = sorted(symbols)
    sorted_ids = np.array([ids[symbol] for symbol in in_order])
    return _Index(ids, in_order, sorted_ids, max(map(len, symbols)))


def _log_sum(logarithms: Sequence[float] | np.ndarray) -> float:
    """Return the logarithm of a sum whose terms are given by theirs."""
    return float(np.logaddexp.reduce(logarithms)) if len(logarithms) else -math.inf
