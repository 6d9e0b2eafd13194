"""Trainings on words and byte pairs, from the text to the file and back; tiny."""

import functools
import itertools
import math

import keras
import numpy as np
import pytest
from training.helpers import NAMES, PROSE, assert_same_end, prepared, run

import textgen
from textgen.data.corpus import load_corpus
from textgen.errors import CheckpointError, OptionError
from textgen.modeling.model import build_model
from textgen.modeling.sampled_softmax import SampledSoftmax
from textgen.saving.model_file import load_model
from textgen.training import loop, session

TINY = {
    "layers": 1, "units": 8, "embedding": 4, "seq_length": 6, "batch_size": 4,
    "dropout": 0.3, "schedule": "averaged",
}  # fmt: skip
STEPS = 6
pytestmark = pytest.mark.usefixtures("one_step_a_call")
each_level = pytest.mark.parametrize("level", ["word", "bpe"])


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    path = tmp_path_factory.mktemp("levels") / "story.txt"
    path.write_text(PROSE * 2)
    return path


@pytest.fixture(scope="module")
def names(story):
    path = story.with_name("names.txt")
    path.write_text(NAMES)
    return path


def nats_by_keras(path, ids, vocabulary):
    """Return the nats per character that Keras' own layers find for a text's ids."""
    chances = keras.models.load_model(path).predict(ids[None, :-1], verbose=0)[0]
    nats = -np.log(chances[np.arange(len(ids) - 1), ids[1:]]).sum()
    return nats / sum(len(vocabulary.symbols[i]) for i in ids[1:])


@each_level
def test_a_text_is_trained_saved_opened_by_keras_and_measured(level, story, tmp_path):
    output = tmp_path / "m.h5"
    report = run(story, output, level=level, steps=STEPS, **TINY)
    model, corpus = load_model(output), load_corpus(story)
    vocabulary = model.vocabulary
    assert (vocabulary.level, model.config.model.level) == (level, level)
    assert vocabulary.characters.max() > 2
    held_out = corpus.vocabulary.decode(corpus.split(0.1).held_out)
    expected = nats_by_keras(output, vocabulary.encode(held_out), vocabulary)
    assert report.held_out_nats == pytest.approx(expected, abs=1e-4)
    judged = textgen.evaluate(model, held_out)
    assert judged.nats_per_char == pytest.approx(expected, abs=1e-4)
    first = len(vocabulary.symbols[vocabulary.encode(held_out)[0]])
    assert judged.characters == len(held_out) - first
    found = textgen.surprise(model, held_out)
    assert found.text == held_out
    assert found.nats_per_char == pytest.approx(expected, abs=1e-4)
    assert (found.characters, len(found.surprisal)) == (
        judged.characters,
        len(held_out),
    )
    assert textgen.activations(model, held_out).layers[0].shape == (len(held_out), 8)


@each_level
def test_losses_on_the_way_are_nats_per_character(level, story, tmp_path):
    options = TINY | {"layers": 2, "learning_rate": 1e-9, "dropout": 0.0}
    ready = prepared(story, tmp_path / "m.h5", level=level, epochs=1, **options)
    windows, corpus = ready.windows, ready.corpus
    assert windows.characters == len(corpus.split(0.1).training)
    assert windows.characters_per_step > 1.5 * 4 * 6
    report = run(story, tmp_path / "m.h5", level=level, epochs=1, **options)
    # Before it has learned anything, each symbol is as likely as any other.
    symbols = windows.characters / windows.symbols
    expected = math.log(len(ready.vocabulary)) / symbols
    (row,) = report.history
    assert row.loss == pytest.approx(expected, rel=0.02)
    assert row.val_loss == pytest.approx(expected, rel=0.2)


@each_level
def test_symbols_are_learned_of_what_is_trained_on_alone(level, tmp_path):
    path = tmp_path / "m.txt"
    # The second part validates, and the third one is held out.
    path.write_text("the sea. " * 70 + "my moor. " * 20 + "low hill " * 10)
    how = {"held_out": 0.1, "validation": 20 / 90, "level": level, **TINY}
    ready = prepared(path, tmp_path / "m.h5", kind="text", **how)
    training = "the sea. " * 70
    longer = [x for x in ready.vocabulary.symbols if len(x) > 1]
    assert " sea" in longer
    assert all(x in training for x in longer)
    windows = ready.windows
    assert windows.characters == len(training)
    assert windows.symbols == len(ready.vocabulary.encode(training))


def test_lines_end_with_symbols_of_their_own(names, tmp_path):
    output = tmp_path / "m.h5"
    report = run(names, output, level="bpe", vocabulary_size=26, steps=STEPS, **TINY)
    model, corpus = load_model(output), load_corpus(names)
    vocabulary, held_out = model.vocabulary, corpus.split(0.1).held_out
    assert (model.kind, vocabulary.symbols[model.end_id]) == ("lines", "\n")
    ids = vocabulary.encode(corpus.vocabulary.decode(held_out))
    ends = np.flatnonzero(ids == model.end_id)
    nats = characters = 0
    for begin, end in itertools.pairwise(ends):
        line = ids[begin : end + 1]
        chars = vocabulary.characters[line[1:]].sum()
        nats += chars * nats_by_keras(output, line, vocabulary)
        characters += chars
    assert characters == len(held_out) - 1
    assert report.held_out_nats == pytest.approx(nats / characters, abs=1e-4)


def test_a_window_of_words_predicts_the_word_after_it(story, tmp_path):
    output = tmp_path / "m.h5"
    report = run(story, output, level="word", targets="last", steps=2, **TINY)
    assert load_model(output).windows.targets == "last"
    assert report.held_out_nats > 0


@pytest.fixture
def sampled(monkeypatch):
    """Let this text's few symbols be so many that a softmax is of a sample."""
    monkeypatch.setattr(loop, "WIDE_SYMBOLS", 20)
    monkeypatch.setattr(
        loop, "SampledSoftmax", functools.partial(SampledSoftmax, size=9)
    )


@pytest.mark.parametrize(("layers", "few"), [(1, 256), (2, 20), (2, 256)])
def test_one_layer_begins_at_the_frequencies_and_so_do_many_symbols(
    story, tmp_path, monkeypatch, layers, few
):
    monkeypatch.setattr(session, "FEW_SYMBOLS", few)
    output = tmp_path / "m.h5"
    options = TINY | {"layers": layers, "steps": 1, "learning_rate": 1e-9}
    run(story, output, level="word", **options)
    model, corpus = load_model(output), load_corpus(story)
    training = corpus.vocabulary.decode(corpus.split(0.1).training)
    ids = model.vocabulary.encode(training)
    seen = [1 + list(ids).count(symbol) for symbol in range(len(model.vocabulary))]
    assert 20 < len(seen) < 256
    expected = 0 if few > len(seen) and layers > 1 else np.log(seen / np.sum(seen))
    np.testing.assert_allclose(model.network.dense_bias, expected, atol=1e-5)


def test_what_goes_on_from_a_model_keeps_its_biases(story, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "FEW_SYMBOLS", 20)
    first, second = tmp_path / "first.h5", tmp_path / "second.h5"
    run(story, first, level="word", steps=1, **TINY | {"learning_rate": 0.1})
    run(story, second, init_from=first, steps=1, learning_rate=1e-9)
    biases = [load_model(path).network.dense_bias for path in (first, second)]
    np.testing.assert_allclose(*biases, atol=1e-6)


def test_samples_are_drawn_by_how_often_a_symbol_is_trained_on(
    story, tmp_path, monkeypatch
):
    ready = prepared(story, tmp_path / "m.h5", level="word", steps=1, **TINY)
    symbols, given = len(ready.vocabulary), []

    class Noted(SampledSoftmax):
        def __init__(self, counts):
            given.append(counts)
            super().__init__(counts, 9)

    monkeypatch.setattr(loop, "SampledSoftmax", Noted)
    for wide in (symbols + 1, symbols):
        monkeypatch.setattr(loop, "WIDE_SYMBOLS", wide)
        model = build_model(ready.config.model, symbols)
        loop.Training(model, ready.windows, ready.config.training)
    (counts,) = given  # of the second alone
    np.testing.assert_array_equal(counts, ready.windows.counts(symbols))


def test_a_training_with_a_sampled_softmax_resumes_bit_for_bit(
    story, tmp_path, sampled
):
    whole, output = tmp_path / "whole.h5", tmp_path / "m.h5"
    options = {"level": "word", "steps": STEPS} | TINY
    run(story, whole, **options)
    with pytest.raises(KeyboardInterrupt):
        raise run(story, output, interrupt_after=3, **options).interruption
    run(story, output, resume=True)
    assert_same_end(output, whole)


def test_a_sampled_softmax_learns_what_the_whole_one_does(story, tmp_path, request):
    options = TINY | {"level": "word", "steps": 150, "units": 24, "learning_rate": 0.02}
    exact = run(story, tmp_path / "exact.h5", **options).held_out_nats
    untrained = run(story, tmp_path / "m.h5", **options | {"steps": 1}).held_out_nats
    request.getfixturevalue("sampled")
    learned = run(story, tmp_path / "sampled.h5", **options).held_out_nats
    assert learned != exact
    assert learned - exact < 0.2 * (untrained - exact)


def test_a_training_resumes_bit_for_bit_in_its_own_symbols(story, tmp_path):
    whole, output = tmp_path / "whole.h5", tmp_path / "m.h5"
    options = {"level": "bpe", "steps": STEPS} | TINY
    run(story, whole, **options)
    with pytest.raises(KeyboardInterrupt):
        raise run(story, output, interrupt_after=3, **options).interruption
    with pytest.raises(CheckpointError, match="`level` must be what"):
        prepared(story, output, resume=True, level="character")
    run(story, output, resume=True)
    assert_same_end(output, whole)
    assert load_model(output).vocabulary == load_model(whole).vocabulary


def test_a_saved_model_is_gone_on_from_with_new_characters(story, tmp_path):
    first, other = tmp_path / "first.h5", tmp_path / "other.txt"
    run(story, first, level="bpe", steps=2, **TINY)
    saved = load_model(first).vocabulary
    other.write_text("Now is the other hour? " * 40)
    with pytest.raises(OptionError, match="`level` must be the saved model's"):
        prepared(other, tmp_path / "m.h5", init_from=first, level="character")
    with pytest.raises(OptionError, match="must be the saved model's own, but was 900"):
        prepared(other, tmp_path / "m.h5", init_from=first, vocabulary_size=900)
    run(other, tmp_path / "m.h5", init_from=first, steps=2)
    grown = load_model(tmp_path / "m.h5").vocabulary
    assert grown == saved.extended("?")
    assert len(grown) == len(saved) + 1


def test_minutes_are_worth_a_smaller_network_where_its_softmax_is_wide(story, tmp_path):
    path = tmp_path / "m.h5"
    letters, words = (
        prepared(story, path, minutes=1, from_scratch=True, level=level).config.model
        for level in ("character", "word")
    )
    assert (letters.level, words.level) == ("character", "word")
    assert words.units < letters.units


def test_characters_are_as_many_as_there_are(story, tmp_path):
    with pytest.raises(OptionError, match="`vocabulary_size` is for `level`"):
        prepared(story, tmp_path / "m.h5", vocabulary_size=100)
