"""The n-gram against counts of strings, taken anew for every symbol."""

import math

import numpy as np
import pytest

from textgen.evaluation import ngram
from textgen.evaluation.ngram import (
    DISCOUNT,
    STRENGTH,
    ngram_nats,
    readable_in_lines,
    readable_in_text,
)


def naive_likelihood(text: str, readable, place: int, size: int, longest: int) -> float:
    """Return what is said of a symbol by all that stands before it."""

    def occurrences(length: int):
        """Contexts of one length, each with the symbol after it."""
        return [
            (text[j - length : j], text[j])
            for j in range(place)
            if readable[j] >= length
        ]

    def count(before: str, symbol: str) -> int:
        seen = occurrences(len(before))
        if len(before) == longest:
            return seen.count((before, symbol))
        longer = set(occurrences(len(before) + 1))
        left = sum(x[1:] == before and c == symbol for x, c in longer)
        none_longer = sum(
            text[j - len(before) : j] == before and text[j] == symbol
            for j in range(place)
            if readable[j] == len(before)
        )
        return left + none_longer

    def likelihood(before: str) -> float:
        shorter = likelihood(before[1:]) if before else 1 / size
        counts = [count(before, symbol) for symbol in sorted(set(text))]
        total, types = sum(counts), sum(x > 0 for x in counts)
        if not total:
            return shorter
        known = max(count(before, text[place]) - DISCOUNT, 0)
        return (known + (DISCOUNT * types + STRENGTH) * shorter) / (total + STRENGTH)

    return likelihood(text[place - min(longest, readable[place]) : place])


def ids_of(text: str) -> np.ndarray:
    return np.array(["\nabcdef".index(symbol) for symbol in text], np.uint8)


RNG = np.random.default_rng(3)
TEXT = "".join(RNG.choice([*"aab\n", "abc", "cab"], 70))
LINES = "\n" + "".join(RNG.choice(["abc\n", "ab\n", "c\n", "cabab\n"], 25))


@pytest.mark.parametrize("longest", [0, 1, 2, 6])
@pytest.mark.parametrize("kind", ["text", "lines"])
def test_each_symbol_is_as_likely_as_strings_say(kind, longest, monkeypatch):
    monkeypatch.setattr(ngram, "MAX_CONTEXT_CHARS", longest)
    text = TEXT if kind == "text" else LINES
    ids = ids_of(text)
    readable = readable_in_text(ids) if kind == "text" else readable_in_lines(ids, 0)
    nats = ngram_nats(ids, readable, 7)
    expected = [
        -math.log(naive_likelihood(text, readable, place, 7, longest))
        for place in range(len(text))
    ]
    np.testing.assert_allclose(nats, expected, rtol=1e-12)


@pytest.mark.parametrize("length", [0, 1, 5, 60])
def test_the_likelihoods_of_all_symbols_add_up_to_one(length):
    ids = ids_of(TEXT)[:length]
    ends = (np.append(ids, symbol) for symbol in range(7))
    last = [ngram_nats(end, readable_in_text(end), 7)[-1] for end in ends]
    assert np.exp(-np.array(last)).sum() == pytest.approx(1)


def test_what_follows_changes_nothing():
    ids = ids_of(TEXT)
    whole = ngram_nats(ids, readable_in_text(ids), 7)
    part = ngram_nats(ids[:40], readable_in_text(ids[:40]), 7)
    np.testing.assert_allclose(whole[:40], part)


def test_of_lines_only_their_own_symbols_are_read():
    assert readable_in_lines(ids_of("\nab\nc\n"), 0).tolist() == [0, 1, 2, 3, 1, 2]
    assert readable_in_text(ids_of("ab\n")).tolist() == [0, 1, 2]


def test_a_text_that_repeats_is_learnt_and_one_of_dice_is_not():
    ids = np.tile(np.arange(7), 60)
    assert ngram_nats(ids, readable_in_text(ids), 7)[-100:].max() < 0.05
    dice = np.random.default_rng(0).integers(0, 4, 4000)
    mean = ngram_nats(dice, readable_in_text(dice), 4)[2000:].mean()
    assert math.log(4) < mean < 1.25 * math.log(4)
