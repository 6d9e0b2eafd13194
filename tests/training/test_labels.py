"""Training on rows with labels: what is prepared, going on, and resuming."""

import itertools
import random

import numpy as np
import pytest
from training.helpers import assert_same_arrays, prepared, run, weights_of

import textgen
from textgen.errors import CheckpointError, OptionError
from textgen.generation.batch import generate_many
from textgen.saving.model_file import load_model, load_trainable
from textgen.training.progress import sample_of

TINY = {"layers": 1, "units": 8, "embedding": 4, "batch_size": 16, "seq_length": 6}
COLUMNS = {"column": "text", "label_column": "author"}


def table(path, letters, rows=60):
    """Write rows whose letters are told by their label alone."""
    rng = random.Random(1)
    lines = ["text,author,other"]
    for number in range(rows):
        author = rng.choice(sorted(letters))
        text = "".join(rng.choice(letters[author]) for _ in range(rng.randint(3, 9)))
        lines.append(f"{text},{author},{number % 2}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def poems(tmp_path):
    return table(tmp_path / "poems.csv", {"up": "AB", "down": "xy"})


def test_each_window_begins_with_its_label_or_seldom_with_the_end(poems, output):
    ready = prepared(poems, output, steps=5, label_dropout=0.25, **COLUMNS, **TINY)
    vocabulary = ready.corpus.vocabulary
    batch = ready.windows.arrays()
    firsts = batch.inputs[:, 0]
    is_label = vocabulary.is_label[firsts]
    assert 0.7 < is_label.mean() < 0.8
    assert not vocabulary.is_label[batch.targets[batch.weights > 0]].any()
    letters = {vocabulary.label_id("up"): "AB\n", vocabulary.label_id("down"): "xy\n"}
    for first, inputs, weights in zip(firsts, batch.inputs, batch.weights, strict=True):
        length = int(np.flatnonzero(weights)[-1]) + 1
        read = vocabulary.decode(inputs[1:length])
        assert set(read) <= set(letters.get(first, "ABxy\n"))
    assert "2 labels, lines (rows with labels)" in ready.summary
    symbols = len(ready.vocabulary) - 2  # of the text
    assert f" {symbols} symbols, " in ready.summary
    assert len(ready.held_out._ids) > 20


def test_samples_on_the_way_are_three_rows(poems, output):
    run(poems, output, steps=5, **COLUMNS, **TINY)
    model = load_model(output)
    rows = sample_of(model).split("\n")
    assert rows == [x.text for x in generate_many(model, [""] * 3, seed=range(3))]


def words_of_two(path):
    """Write rows of words, of which half are told by their label."""
    lines = ["text,author"]
    for number in range(40):
        lines += [f"a red sun {number % 13},up", f"the blue moon {number % 7},down"]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_label_is_a_symbol_of_its_own_beside_words(tmp_path):
    rows, output = words_of_two(tmp_path / "rows.csv"), tmp_path / "m.h5"
    options = {"level": "word", "steps": 4} | TINY
    windows = prepared(rows, output, **options, **COLUMNS).windows
    run(rows, output, **options, **COLUMNS)
    model = load_model(output)
    vocabulary = model.vocabulary
    assert vocabulary.labels == ("up", "down")
    assert {" sun", " moon"} <= set(vocabulary.symbols)
    firsts = windows.arrays().inputs[:, 0]
    assert 0.6 < vocabulary.is_label[firsts].mean() < 1
    text = vocabulary.decode(vocabulary.without_labels(windows._ids))
    spelled = vocabulary.encode(text)
    assert windows.characters_per_symbol == len(text) / len(spelled)
    # What is measured under a label is what the network says after it.
    line = "a red sun 3"
    ids = [vocabulary.label_id("down"), *vocabulary.encode(line), model.end_id]
    decoder, nats = model.decoder(), 0.0
    for before, after in itertools.pairwise(ids):
        logits = decoder.step(np.array([before]))[0].astype(float)
        nats += np.logaddexp.reduce(logits) - logits[after]
    judged = textgen.evaluate(model, line, label="down")
    assert judged.characters == len(line) + 1
    assert judged.nats_per_char == pytest.approx(nats / (len(line) + 1), rel=1e-5)
    assert textgen.surprise(model, line, label="down").text == line + "\n"
    options = {"label": "up", "length": 30, "seed": 5}
    many = [x.text for x in textgen.generate_many(model, ["the bl"] * 5, **options)]
    assert not any(vocabulary.is_label[vocabulary.encode(text)].any() for text in many)
    assert many[0] == "".join(textgen.stream_output(model, "the bl", **options))


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_label_dropout_is_for_rows_with_labels(poems, output, share):
    columns = {"column": COLUMNS["column"]}
    with pytest.raises(OptionError, match="`label_dropout` is for rows with labels"):
        prepared(poems, output, steps=5, label_dropout=share, **columns, **TINY)


def test_a_training_with_labels_needs_room_for_them(poems, output):
    with pytest.raises(OptionError, match="`targets` all and a `seq_length`"):
        prepared(poems, output, steps=5, preset="course", **COLUMNS)


@pytest.mark.slow
def test_a_stopped_training_goes_on_as_if_nothing_had_happened(
    poems, tmp_path, one_step_a_call
):
    options = {"steps": 6, "seed": 3, **TINY}
    run(poems, tmp_path / "whole.h5", **options, **COLUMNS)
    stopped = tmp_path / "stopped.h5"
    run(poems, stopped, interrupt_after=3, **options, **COLUMNS)
    columns = COLUMNS | {"label_column": "other"}
    with pytest.raises(CheckpointError, match="`label_column` must be what"):
        prepared(poems, stopped, resume=True, **columns)
    run(poems, stopped, resume=True)  # the columns are as they were
    assert_same_arrays(weights_of(tmp_path / "whole.h5"), weights_of(stopped))
    model = load_model(stopped)
    assert sorted(model.vocabulary.labels) == ["down", "up"]
    assert sum(model.label_counts.values()) == 60
    assert model.record["held_out_nats_per_char"] > 0
    # Going on adds labels, and keeps what is known of the old ones.
    more = table(tmp_path / "more.csv", {"down": "xy", "new": "AZ"})
    ready = prepared(more, tmp_path / "b.h5", init_from=stopped, steps=1, **COLUMNS)
    known = ready.corpus.vocabulary
    assert known.labels == (*model.vocabulary.labels, "new")
    assert known.symbols[: len(model.vocabulary)] == model.vocabulary.symbols
    assert set(ready.corpus.labels) == {"down", "new"}
    run(more, tmp_path / "b.h5", init_from=stopped, steps=1, **COLUMNS)
    after, before = load_model(tmp_path / "b.h5"), load_trainable(stopped)
    moved = after.network.embedding[: len(model.vocabulary)] - before.network.embedding
    assert np.abs(moved).max() < 0.1
    # Or it goes on with rows that have none.
    ready = prepared(more, output=tmp_path / "c.h5", init_from=stopped, column="text")
    assert ready.corpus.vocabulary.labels == model.vocabulary.labels
    assert not known.is_label[ready.windows.arrays().inputs[:, 0]].any()


@pytest.mark.slow
def test_a_training_without_labels_says_nothing_of_them(names, tmp_path):
    run(names, tmp_path / "model.h5", steps=1, **TINY)
    model = load_model(tmp_path / "model.h5")
    assert "labels" not in model.metadata
    assert model.network.undrawn is None
