import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from fakes import random_network

from textgen.config import Config, ModelConfig, WindowConfig
from textgen.data.vocabulary import Vocabulary
from textgen.evaluation import nats
from textgen.evaluation.nats import (
    bits_per_char,
    cross_entropy,
    describe,
    held_out_nats,
    losses,
    perplexity,
    predictions,
)
from textgen.inference.decoder import Decoder
from textgen.saving.trained_model import TrainedModel

SYMBOLS = "\nabcdef"


def trained_model(
    kind="text", targets="all", window=5, units=6, layers=2, symbols=SYMBOLS
) -> TrainedModel:
    network = random_network([units] * layers, len(symbols), scale=0.6)
    config = Config(
        ModelConfig(layers, units, 3), WindowConfig(window, targets=targets)
    )
    return TrainedModel(
        network, Vocabulary(tuple(symbols)), kind, config, {}, Path("m.h5")
    )


def naive_loss(model, seen, target) -> float:
    """Loss of one symbol after ``seen``, from zero state."""
    decoder = Decoder(model.network)
    for symbol in seen:
        logits = decoder.step(int(symbol))[0].astype(np.float64)
    weights = [math.exp(x - max(logits)) for x in logits]
    return -math.log(weights[target] / sum(weights))


def random_ids(count, seed=1):
    return np.random.default_rng(seed).integers(1, len(SYMBOLS), count, dtype=np.uint8)


def line_ids(*lines: str) -> np.ndarray:
    return np.array([SYMBOLS.index(s) for s in "\n" + "\n".join(lines) + "\n"])


WORDS = ("abc", "f", "deadbeef", "abc", "ee", "facade", "bb")
LINES = line_ids(*WORDS)


@pytest.fixture
def counts(monkeypatch) -> list[int]:
    """Return a list to which each call that takes losses adds how many."""
    counts = []

    def counted(logits, targets):
        counts.append(len(targets))
        return cross_entropy(logits, targets)

    monkeypatch.setattr("textgen.evaluation.nats.cross_entropy", counted)
    return counts


@pytest.mark.parametrize("after_chars", [0, 1, 7, 39])
def test_a_text_is_read_from_beginning_to_end(after_chars):
    model, ids = trained_model(), random_ids(40)
    places = range(max(1, after_chars), 40)
    expected = np.mean([naive_loss(model, ids[:p], ids[p]) for p in places])
    received = held_out_nats(model, ids, after_chars=after_chars)
    assert received == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("after_chars", [0, 3, 9])
def test_targets_last_count_after_full_windows(after_chars):
    model, ids = trained_model(targets="last", window=5), random_ids(40)
    places = range(max(5, after_chars), 40)
    expected = np.mean([naive_loss(model, ids[p - 5 : p], ids[p]) for p in places])
    received = held_out_nats(model, ids, after_chars=after_chars)
    assert received == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("targets", ["all", "last"])
@pytest.mark.parametrize("window", [4, 9, 30])
@pytest.mark.parametrize("after_chars", [0, 3])
def test_lines_are_read_each_from_zero_state(targets, window, after_chars):
    model = trained_model("lines", targets, window)
    expected = []
    for ids in map(line_ids, WORDS):
        for p in range(max(1, after_chars), len(ids)):
            begin = max(0, p - window) if targets == "last" else 0
            expected.append(naive_loss(model, ids[begin:p], ids[p]))
    received = held_out_nats(model, LINES, after_chars=after_chars)
    assert received == pytest.approx(np.mean(expected), abs=1e-5)


def test_more_lines_than_a_batch_holds():
    model = trained_model("lines")
    once = held_out_nats(model, LINES)
    often = np.concatenate([LINES, *[LINES[1:]] * 40])
    assert held_out_nats(model, often) == pytest.approx(once, abs=1e-6)


def naive_pieces(model, ids, starts, length) -> float:
    """Mean loss of pieces of a text, each from zero state after a lead of 128."""
    losses = []
    for start in starts:
        decoder = Decoder(model.network)
        for p in range(max(1, start - 128), start + length):
            logits = decoder.step(int(ids[p - 1]))[0]
            if p >= start:
                losses.append(cross_entropy(logits[None], ids[p : p + 1])[0])
    return np.mean(losses)


def test_a_sample_of_a_text_counts_spread_pieces(counts):
    model, ids = trained_model(), random_ids(3000)
    sampled = held_out_nats(model, ids, max_symbols=512)
    assert sum(counts) == 512
    # Four pieces of 128, the first at the beginning, the last at the end.
    expected = naive_pieces(model, ids, [1, 958, 1915, 2872], 128)
    assert sampled == pytest.approx(expected, abs=1e-5)


def test_a_whole_text_is_read_in_pieces_that_lie_side_by_side(counts):
    model, ids = trained_model(), random_ids(1 + 5 * 150)
    whole = held_out_nats(model, ids)
    assert sum(counts) == 5 * 150
    expected = naive_pieces(model, ids, range(1, 751, 150), 150)
    assert whole == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("length", [255, 256, 700, 4000, 9001])
def test_each_symbol_of_a_whole_text_counts_once(length):
    parts = predictions(trained_model(), random_ids(length))
    places = np.concatenate([places for places, _ in parts])
    assert sorted(places) == list(range(1, length))


def test_however_many_threads_there_are_the_figure_is_the_same(monkeypatch):
    found = set()
    for threads in (1, 2, 3):
        monkeypatch.setattr(nats, "_threads", lambda count=threads: count)
        found.add(round(held_out_nats(trained_model(), random_ids(2000)), 6))
    assert len(found) == 1


@pytest.mark.parametrize("kind", ["text", "lines"])
@pytest.mark.parametrize("targets", ["all", "last"])
def test_a_sample_is_near_the_whole_and_of_about_the_size(kind, targets, counts):
    model = trained_model(kind, targets)
    if kind == "text":
        ids = random_ids(4000)
    else:
        lengths = np.random.default_rng(2).integers(1, 12, 600)
        ids = line_ids(*["abcdefabcdef"[-n:] for n in lengths])
    sampled = held_out_nats(model, ids, max_symbols=1000)
    assert sum(counts) == pytest.approx(1000, rel=0.1)
    whole = held_out_nats(model, ids)
    assert sampled == pytest.approx(whole, abs=0.1)
    assert held_out_nats(model, ids, max_symbols=10**9) == pytest.approx(whole)
    assert 0 < held_out_nats(model, ids, max_symbols=1) < 20


@pytest.mark.parametrize("targets", ["all", "last"])
def test_nothing_to_count_is_nan(targets):
    model = trained_model(targets=targets)
    for count in (0, 1):
        assert math.isnan(held_out_nats(model, random_ids(count)))
        assert math.isnan(held_out_nats(model, random_ids(count), max_symbols=10))
    assert math.isnan(held_out_nats(model, random_ids(8), after_chars=8))


def test_only_whole_lines_count():
    model = trained_model("lines")
    whole = held_out_nats(model, LINES)
    part = np.concatenate([[2, 3], LINES, [4, 5]])
    assert held_out_nats(model, part) == pytest.approx(whole, abs=1e-6)
    assert math.isnan(held_out_nats(model, LINES[:1]))
    assert math.isnan(held_out_nats(model, LINES[1:3]))


def test_lines_without_an_end_symbol_are_refused():
    with pytest.raises(ValueError, match="end symbol"):
        held_out_nats(trained_model("lines", symbols="abcdefg"), LINES)


def test_cross_entropy_of_huge_logits_is_finite():
    logits = np.array([[3e38, -3e38, 0], [0, 0, 0]], np.float32)
    losses = cross_entropy(logits, np.array([0, 1], np.uint8))
    np.testing.assert_allclose(losses, [0, math.log(3)])
    assert np.isfinite(cross_entropy(logits, np.array([1, 1]))).all()


@pytest.mark.parametrize("kind", ["text", "lines"])
def test_what_the_model_thought_the_likeliest_is_counted(kind):
    model = trained_model(kind)
    right = places = 0
    for ids in [random_ids(60)] if kind == "text" else map(line_ids, WORDS):
        decoder = Decoder(model.network)
        for symbol, target in pairwise(ids):
            right += int(decoder.step(int(symbol))[0].argmax()) == target
            places += 1
    parts = list(losses(model, random_ids(60) if kind == "text" else LINES))
    assert sum(part.right for part in parts) == right > 0
    assert sum(part.symbols for part in parts) == places


@pytest.mark.parametrize("symbols", [1, 2, 8, 61])
def test_a_uniform_guess(symbols):
    nats = math.log(symbols)
    assert bits_per_char(nats) == pytest.approx(math.log2(symbols))
    assert perplexity(nats) == pytest.approx(symbols)


def test_describe():
    line = "1.632 nats/char, 2.354 bits/char, perplexity 5.11"
    assert describe(1.632) == describe(np.float32(1.632)) == line


def test_a_diverged_loss_has_infinite_perplexity():
    assert perplexity(800.0) == perplexity(math.inf) == math.inf
    assert describe(math.nan) == "nan nats/char, nan bits/char, perplexity nan"


def test_nats_of_words_are_divided_by_their_characters():
    vocabulary = Vocabulary(("\n", " ", *"abc", " ab", "abc"), level="word")
    network = random_network([6, 6], len(vocabulary), scale=0.6)
    config = Config(ModelConfig(2, 6, 3, level="word"), WindowConfig(5))
    model = TrainedModel(network, vocabulary, "text", config, {}, Path("m.h5"))
    ids = vocabulary.encode("abc ab ca ab\nabc ab")
    places = range(1, len(ids))
    nats = sum(naive_loss(model, ids[:p], ids[p]) for p in places)
    characters = len("abc ab ca ab\nabc ab") - len("abc")
    assert characters > len(ids)
    (found,) = losses(model, ids)
    assert held_out_nats(model, ids) == pytest.approx(nats / characters, abs=1e-5)
    assert (found.symbols, found.characters) == (len(ids) - 1, characters)
