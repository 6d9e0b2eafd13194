"""Labels where a text is judged: each row under its own, against a naive loop."""

import math
from dataclasses import replace

import numpy as np
import pytest
from fakes import random_network

from textgen.config import Config, WindowConfig
from textgen.data.corpus import Corpus
from textgen.data.labels import label_symbol
from textgen.data.vocabulary import Vocabulary
from textgen.errors import OptionError
from textgen.evaluation.activations import activations
from textgen.evaluation.judging import evaluate, evaluate_corpus
from textgen.evaluation.nats import held_out_nats, total_losses
from textgen.evaluation.novelty import novelty_of
from textgen.evaluation.references import reference_nats
from textgen.evaluation.surprise import surprise
from textgen.generation.novel import known_to
from textgen.inference.decoder import Decoder
from textgen.saving.trained_model import TrainedModel

KEATS, SHELLEY = label_symbol(0), label_symbol(1)
SYMBOLS = f"\nabcdef{KEATS}{SHELLEY}"
ROWS = [("abc", KEATS), ("fade", SHELLEY), ("b", KEATS), ("deed", "\n"), ("ace", KEATS)]
PLAIN = "".join(f"{row}\n" for row, _ in ROWS)


@pytest.fixture(scope="module")
def model():
    vocabulary = Vocabulary(tuple(SYMBOLS), labels=("Keats", "Shelley"))
    network = random_network((6,), len(SYMBOLS), embedding=4)
    config = Config(windows=WindowConfig(10))
    return TrainedModel(network, vocabulary, "lines", config, {}, None)


def text_of(rows) -> str:
    return "\n" + "".join(f"{label.strip()}{row}\n" for row, label in rows)


def corpus_of(model, rows, **facts) -> Corpus:
    ids = model.vocabulary.encode(text_of(rows), labels=True)
    return Corpus("rows", "lines", "0" * 64, model.vocabulary, ids, **facts)


def naive_losses(model, rows) -> list[float]:
    """Each row from zero state, its label first, by softmax without labels."""
    found = []
    for row, label in rows:
        decoder = Decoder(replace(model.network, undrawn=None))
        current = label
        for symbol in [*row, "\n"]:
            logits = decoder.step(np.array([SYMBOLS.index(current)]))[0, :-2]
            logits = logits.astype(np.float64)
            chosen = logits[SYMBOLS.index(symbol)]
            found.append(math.log(np.exp(logits - chosen).sum()))
            current = symbol
    return found


def test_each_row_is_judged_from_its_label_on(model):
    ids = corpus_of(model, ROWS).ids
    expected = naive_losses(model, ROWS)
    total = total_losses(model, ids)
    assert total.symbols == len(PLAIN) == len(expected)
    assert total.nats == pytest.approx(sum(expected), rel=1e-5)
    sampled = total_losses(model, ids, max_symbols=8)
    assert 0 < sampled.symbols < len(PLAIN)


@pytest.mark.parametrize("label", [None, "Keats", "Shelley"])
def test_a_text_is_judged_under_a_label(label, model):
    symbol = {None: "\n", "Keats": KEATS, "Shelley": SHELLEY}[label]
    expected = naive_losses(model, [(row, symbol) for row, _ in ROWS])
    found = evaluate(model, PLAIN, label=label)
    assert found.nats_per_char == pytest.approx(np.mean(expected), rel=1e-5)
    assert found.characters == len(PLAIN)
    one = surprise(model, PLAIN, label=label)
    assert one.text == PLAIN
    assert one.surprisal == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(one.entropy).all()
    assert not model.vocabulary.is_label[one.likeliest].any()


def test_a_corpus_has_its_own_labels_or_one_for_all(model):
    corpus = corpus_of(model, ROWS)
    own = evaluate_corpus(model, corpus)
    assert own.nats_per_char == pytest.approx(np.mean(naive_losses(model, ROWS)))
    assert own.changed == 0
    one = evaluate_corpus(model, corpus, label="Shelley")
    assert one == evaluate(model, PLAIN, label="Shelley")
    with pytest.raises(OptionError, match="one of 'Keats'"):
        evaluate_corpus(model, corpus, label="Byron")


def test_the_references_read_the_text_alone(model):
    found = evaluate_corpus(model, corpus_of(model, ROWS))
    ids = model.vocabulary.encode(f"\n{PLAIN}")
    expected = reference_nats(ids, model.vocabulary, model.end_id)
    assert found.references == expected


def test_a_row_that_is_skipped_takes_its_label_with_it(model):
    rows = [("ab", KEATS), ("ü", SHELLEY), ("cd", SHELLEY)]
    pieces = text_of(rows)
    vocabulary = model.vocabulary.extended("ü")
    corpus = replace(
        corpus_of(model, ROWS),
        vocabulary=vocabulary,
        ids=vocabulary.encode(pieces, labels=True),
    )
    with pytest.warns(UserWarning, match="1 of"):
        found = evaluate_corpus(model, corpus)
    expected = naive_losses(model, [rows[0], rows[2]])
    assert found.nats_per_char == pytest.approx(np.mean(expected), rel=1e-5)


def test_units_begin_anew_at_each_label(model):
    under = activations(model, "ab\nab\n", label="Keats").layers[0]
    np.testing.assert_array_equal(under[:3], under[3:])
    decoder = model.decoder()
    for place, symbol in enumerate(f"{KEATS}ab"):
        decoder.step(np.array([SYMBOLS.index(symbol)]))
        if place:
            cell = np.tanh(decoder.memories()[0][0])
            np.testing.assert_allclose(under[place - 1], cell, rtol=1e-5)


def test_what_is_known_are_lines_without_their_labels(model, monkeypatch):
    corpus = corpus_of(model, ROWS)
    found = novelty_of(model, corpus, samples=50)
    assert set("".join(found.copies)) <= set("abcdef")
    monkeypatch.setattr("textgen.generation.novel.own_corpus", lambda model: corpus)
    known = known_to(model)
    assert known("a", "bc")
    assert not known("a", "bcd")


def test_own_label_and_others_by_a_matrix(model):
    from benchmarks.quality.labels import WITHOUT, matrix

    rows = [row for row in ROWS if row[1] != "\n"]
    found = matrix(model, corpus_of(model, rows).ids)
    own = [row for row, label in rows if label == KEATS]
    symbols = {"Keats": KEATS, "Shelley": SHELLEY, WITHOUT: "\n"}
    for name, symbol in symbols.items():
        expected = np.mean(naive_losses(model, [(row, symbol) for row in own]))
        assert found["Keats"][name] == pytest.approx(expected, rel=1e-5)
    assert held_out_nats(model, corpus_of(model, rows).ids) < 100
