"""What of a text a model was trained on, by hand-made memories."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from textgen.data.corpus import load_corpus
from textgen.data.vocabulary import Vocabulary
from textgen.errors import OptionError
from textgen.evaluation.seen import (
    seen_remark,
    unseen_share,
    was_trained_on,
)
from textgen.saving.own_text import own_corpus
from textgen.saving.trained_model import UNKNOWN_TEXT, TrainedText

VERSE = TrainedText("verse", "text", "a" * 64, 0.02, 1e-3, "cosine")
NAMES = TrainedText("names", "lines", "b" * 64, 0.1, 1e-3, "cosine")


def model_of(*texts, kind="text"):
    symbols = Vocabulary(("\n", "a", "b"))
    return SimpleNamespace(texts=texts, kind=kind, vocabulary=symbols, metadata={})


@pytest.mark.parametrize(
    ("texts", "sha256", "expected"),
    [
        ([VERSE], "a", True),
        ([VERSE], "b", False),
        ([NAMES, VERSE], "b", True),
        ([UNKNOWN_TEXT], "a", None),
        ([UNKNOWN_TEXT, VERSE], "a", True),
        ([UNKNOWN_TEXT, VERSE], "b", None),
    ],
)
def test_a_text_is_known_by_its_hash(texts, sha256, expected):
    assert was_trained_on(model_of(*texts), sha256 * 64) is expected


@pytest.mark.parametrize(
    ("texts", "kind", "expected"),
    [
        ([VERSE], "text", 0.02),
        ([VERSE], "lines", 0.0),
        ([NAMES], "text", None),
        ([VERSE, replace(VERSE, held_out=0.1)], "text", 0.02),
        ([replace(VERSE, held_out=0.1), NAMES, VERSE], "text", 0.02),
        ([VERSE, replace(VERSE, held_out=0.0)], "text", 0.0),
        ([VERSE, replace(VERSE, kind="lines")], "text", 0.0),
    ],
)
def test_what_no_training_saw_is_the_least_that_one_held_out(texts, kind, expected):
    corpus = SimpleNamespace(kind=kind, sha256=VERSE.sha256)
    assert unseen_share(texts, corpus) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([VERSE], "98.0% of this text; `held_out` measures the rest"),
        ([replace(VERSE, held_out=0.0)], "the model was trained on this text"),
        ([replace(VERSE, sha256="c" * 64)], "a text called 'verse', with other"),
        ([UNKNOWN_TEXT], "isn't known"),
        ([NAMES, UNKNOWN_TEXT], "isn't known"),
        ([NAMES], ""),
    ],
)
def test_a_figure_that_may_be_of_learnt_text_says_so(texts, expected):
    corpus = SimpleNamespace(name="verse", kind="text", sha256="a" * 64)
    remark = seen_remark(model_of(*texts), corpus)
    assert expected in remark
    assert bool(expected) == bool(remark)


def test_the_models_own_text_is_a_named_corpus_or_an_unchanged_file_here(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    sonnets = load_corpus("sonnets")
    own = TrainedText("sonnets", "text", sonnets.sha256, 0.1, None, "cosine")
    assert own_corpus(model_of(VERSE, own)).sha256 == sonnets.sha256
    (tmp_path / "names.txt").write_text("ada\nbob\n")
    mine = replace(NAMES, sha256=load_corpus("names.txt").sha256)
    found = own_corpus(model_of(own, mine, kind="lines"))
    assert (found.name, found.kind, found.sha256) == ("names", "lines", mine.sha256)
    (tmp_path / "names.txt").write_text("ada\nbob\neve\n")
    for texts, expected in [
        ([own, mine], "'names'"),
        ([replace(own, sha256="d" * 64)], "unchanged"),
        ([own, UNKNOWN_TEXT], "isn't known"),
    ]:
        with pytest.raises(OptionError, match=expected):
            own_corpus(model_of(*texts))
