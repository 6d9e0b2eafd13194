"""Which texts of one's own go on from the model of English."""

import bz2
import math
import random
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from training.helpers import prepared

from textgen.data.corpus import load_corpus
from textgen.saving import find_model
from textgen.saving.model_file import load_model
from textgen.training import base_model
from textgen.training.base_model import base_model_for, why_not

NOT_TRIED = (None, [])
WORDS = ("sea", "hill", "lies", "still", "between", "quiet", "hour", "the", "and")


@pytest.fixture
def shipped(prose_model, tmp_path, monkeypatch):
    """A folder of shipped models in which a tiny one stands for that of English."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    shutil.copy(prose_model, folder / "english-pretrained.h5")
    monkeypatch.setattr(find_model, "data_folder", lambda kind: folder)
    monkeypatch.setattr(base_model, "BASE_MODEL", "english")
    return folder


@pytest.fixture
def story(tmp_path):
    """A file of 1,000 words in random order."""
    path = tmp_path / "story.txt"
    path.write_text(" ".join(random.Random(0).choices(WORDS, k=1000)))
    return path


def predicting(monkeypatch, nats):
    """Let any model predict any text so well; return which ids were measured."""
    measured = []

    def fake(model, ids, max_symbols):
        measured.append(ids)
        return nats

    monkeypatch.setattr(base_model, "held_out_nats", fake)
    return measured


@pytest.mark.parametrize("held_out", [None, 0.5])
def test_a_text_is_compared_with_what_bzip2_makes_of_its_training_part(
    story, prose_model, monkeypatch, held_out
):
    words = story.read_text()
    story.write_text(words.replace(" ", "\n\n    ") + "\n")  # layout doesn't count
    corpus, model = load_corpus(story, "text"), load_model(prose_model)
    training = story.read_text()[: len(corpus.split(held_out or 0.1).training)]
    text = words[: len(" ".join(training.split()))]
    nats = 8 * math.log(2) * len(bz2.compress(text.encode())) / len(text)
    limit = base_model.MOST_OF_BZIP2 * nats
    measured = predicting(monkeypatch, limit - 1e-9)
    assert not why_not(model, corpus, held_out)
    assert model.vocabulary.decode(measured[0]) == text
    predicting(monkeypatch, limit + 1e-9)
    poorly = f"{limit:.2f} nats per character where bzip2 needs {nats:.2f}"
    assert poorly in why_not(model, corpus, held_out)


def test_an_unknown_alphabet_is_not_even_measured(story, prose_model, monkeypatch):
    text = story.read_text()
    story.write_text(text.translate(str.maketrans("aeiou", "αειου")))
    measured = predicting(monkeypatch, 0.0)
    reason = why_not(load_model(prose_model), load_corpus(story), None)
    share = 1 - sum(map(text.count, "aeiou")) / len(text)
    told = int(re.fullmatch(r"knows only (\d+)% of this text's characters", reason)[1])
    assert told == pytest.approx(100 * share, abs=1)
    assert not measured
    # Symbols for which another one stands are known.
    story.write_text(text.translate(str.maketrans("aeiou ", "äéîöù\u00a0")))
    assert not why_not(load_model(prose_model), load_corpus(story), None)
    np.testing.assert_array_equal(
        measured[0], load_model(prose_model).vocabulary.encode(text[: len(measured[0])])
    )
    # Of a text that is all layout there is nothing to measure.
    story.write_text(" \n" * 2000)
    assert "no words" in why_not(
        load_model(prose_model), load_corpus(story, "text"), None
    )


@pytest.mark.parametrize(
    "option",
    [
        {"layers": 2}, {"units": 16}, {"embedding": 8}, {"targets": "last"},
        {"seq_length": 10}, {"stride": 3}, {"cell": "gru"}, {"level": "word"},
        {"vocabulary_size": 300},
    ],
)  # fmt: skip
def test_who_asks_for_another_network_gets_it(shipped, story, monkeypatch, option):
    predicting(monkeypatch, 0.0)
    corpus = load_corpus(story)
    assert base_model_for(corpus, dict.fromkeys(option))[0] is not None
    assert base_model_for(corpus, option) == NOT_TRIED


def test_texts_go_on_but_not_lines_nor_without_the_model(shipped, story, monkeypatch):
    predicting(monkeypatch, 0.0)
    corpus = load_corpus(story)
    assert base_model_for(corpus, {})[0].path.parent == shipped
    assert base_model_for(replace(corpus, named=True), {})[0].path.parent == shipped
    assert base_model_for(load_corpus(story, "lines"), {}) == NOT_TRIED
    (shipped / "english-pretrained.h5").unlink()
    assert base_model_for(corpus, {}) == NOT_TRIED


def test_that_it_was_tried_and_is_not_used_is_said(shipped, story, output, monkeypatch):
    predicting(monkeypatch, 9.0)
    ready = prepared(story, output)
    assert ready.start is None
    (told,) = (note for note in ready.notes if "the model of English" in note)
    assert re.fullmatch(
        r"beginning with new weights: the model of English predicts this text poorly, "
        r"with 9\.00 nats per character where bzip2 needs \d\.\d\d",
        told,
    )
    for options in ({"from_scratch": True}, {"units": 8}, {"kind": "lines"}):
        notes = prepared(story, output, **options).notes
        assert not any("the model of English" in note for note in notes)


def test_a_training_goes_on_from_it_and_says_so(shipped, story, output, monkeypatch):
    predicting(monkeypatch, 0.0)
    story.write_text(story.read_text() + "☃")
    ready = prepared(story, output)
    assert ready.start.path == shipped / "english-pretrained.h5"
    assert ready.config.model.units == 16
    known = ready.start.vocabulary.symbols
    assert ready.corpus.vocabulary.symbols == (*known, "☃")
    assert ready.corpus.vocabulary.decode(ready.corpus.ids) == story.read_text()
    assert any("`from_scratch` trains anew" in note for note in ready.notes)
    for options in ({"from_scratch": True}, {"preset": "sonnets"}):
        assert prepared(story, output, **options).start is None


@pytest.mark.parametrize(("nats", "kind", "told"), [(0.0, "text", 0), (9.0, "text", 1),
                                                    (9.0, "lines", 0)])  # fmt: skip
def test_going_on_from_a_model_of_other_texts_is_advised_against(
    story, prose_model, output, monkeypatch, nats, kind, told
):
    predicting(monkeypatch, nats)
    notes = prepared(story, output, init_from=prose_model, kind=kind).notes
    assert sum("without `init_from`" in note for note in notes) == told
