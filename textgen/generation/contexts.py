"""A simple stand-in for a model, by which what lies ahead can be reckoned exactly.

It is an n-gram model of the texts that the model draws freely. What it knows of a text
is the longest end of it, its context, that came often enough in these; the contexts are
numbered, so that a text is in one of C states, as in an automaton. Each has the mean of
the probabilities that the model itself gave the symbols there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from textgen.config import CompletionConfig
from textgen.generation.sampling import probabilities, sample_batch
from textgen.generation.streaming import first_id
from textgen.saving.trained_model import TrainedModel

SAMPLE_ROWS, SAMPLE_SYMBOLS = 64, 128  # of the texts that are drawn
SAMPLE_NUMBERS = 1 << 22  # probabilities of words, of which there are many
MAX_ORDER = 8  # symbols in a context
LEAST_TIMES = 3  # that a context has to come
PRIOR = 2.0  # times that the next shorter context counts within one

Ids = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Contexts:
    """C contexts, the first of which is empty, over V symbols."""

    after: np.ndarray  # (C, V), the probabilities of the next symbol
    following: np.ndarray  # (C, V), the context after each symbol

    @classmethod
    def measured(
        cls,
        model: TrainedModel,
        temperature: float,
        most: int,
        label: str | None = None,
    ) -> Contexts:
        """Let a model draw, always the same, and keep at most so many contexts."""
        given, seen = _sample(model, temperature, label)
        kept = _frequent(seen, most)
        numbers = {context: number for number, context in enumerate(kept)}
        sums = np.zeros((len(kept), given.shape[1]))
        for order in range(MAX_ORDER + 1):
            own = [numbers.get(end[-order:] if order else (), -1) for end in seen]
            is_own = np.array([len(end) >= order for end in seen]) & (
                np.array(own) >= 0
            )
            np.add.at(sums, np.array(own)[is_own], given[is_own])
        after = np.empty_like(sums)
        following = np.zeros(sums.shape, np.int32)
        longer: dict[Ids, list[Ids]] = {}
        for context in kept[1:]:
            longer.setdefault(context[:-1], []).append(context)
        for number, context in enumerate(kept):  # the shorter ones come first
            shorter = numbers[context[1:]]
            prior = after[shorter] if number else np.full(sums.shape[1], 1e-6)
            times = sums[number].sum()
            after[number] = (sums[number] + PRIOR * prior) / (
                times + PRIOR * prior.sum()
            )
            following[number] = following[shorter]
            for each in longer.get(context, ()):
                following[number, each[-1]] = numbers[each]
        return cls(after, following)


def _sample(
    model: TrainedModel, temperature: float, label: str | None = None
) -> tuple[np.ndarray, list[Ids]]:
    """Draw texts; return the probabilities (N, V) at each place and what was before."""
    rows = min(SAMPLE_ROWS, model.max_batch_size)
    config = CompletionConfig(temperature=temperature)
    decoder, rng = model.decoder(rows), np.random.default_rng(0)
    first = first_id(model, label) or 0
    ids = np.full(rows, first)
    ends: list[Ids] = [()] * rows
    given, seen = [], []
    steps = SAMPLE_SYMBOLS
    if model.vocabulary.level != "character":
        steps = min(steps, max(1, SAMPLE_NUMBERS // (rows * len(model.vocabulary))))
    for _ in range(steps):
        ends = [
            (*end[1 - MAX_ORDER :], number)
            for end, number in zip(ends, ids.tolist(), strict=True)
        ]
        seen += ends
        logits = decoder.step(ids)
        given.append(probabilities(logits, config))
        ids = sample_batch(logits, rng.random(rows), config)
        if model.end_id is not None:  # the next text begins
            ended = np.flatnonzero(ids == model.end_id)
            decoder.reset(ended)
            ids[ended] = first
            for row in ended.tolist():
                ends[row] = ()
    return np.concatenate(given), seen


def _frequent(seen: list[Ids], most: int) -> list[Ids]:
    """Return the most frequent contexts, the shortest first, with all their parts."""
    times: Counter[Ids] = Counter()
    for order in range(1, MAX_ORDER + 1):
        times.update(end[-order:] for end in seen if len(end) >= order)
    frequent = [
        context
        for context, number in times.most_common(max(most, 1) - 1)
        if number >= LEAST_TIMES
    ]
    kept: dict[Ids, None] = {(): None}
    for context in sorted(frequent, key=lambda each: (len(each), each)):
        if context[1:] in kept and context[:-1] in kept:
            kept[context] = None
    return list(kept)
