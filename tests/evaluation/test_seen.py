"""What of a text a model was trained on, by hand-made memories."""

import gzip
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from textgen.data.corpus import load_corpus
from textgen.data.vocabulary import Vocabulary
from textgen.errors import OptionError
from textgen.evaluation.seen import (
    seen_remark,
    unseen_share,
    was_trained_on,
)
from textgen.saving import own_text
from textgen.saving.own_text import own_corpus
from textgen.saving.trained_model import UNKNOWN_TEXT, TrainedText

VERSE = TrainedText("verse", "text", "a" * 64, 0.02, 1e-3, "cosine")
LETTERS = Vocabulary(("\n", "a", "b"))
NAMES = TrainedText("names", "lines", "b" * 64, 0.1, 1e-3, "cosine")


def model_of(*texts, kind="text", vocabulary=LETTERS, **metadata):
    return SimpleNamespace(
        texts=texts, kind=kind, vocabulary=vocabulary, metadata=metadata
    )


def trained_on(corpus):
    """Return what is asked of a model that was trained on a corpus."""
    own = TrainedText(corpus.name, corpus.kind, corpus.sha256, 0.1, None, "cosine")
    identity, vocabulary = corpus.identity, corpus.vocabulary
    return model_of(own, kind=corpus.kind, vocabulary=vocabulary, corpus=identity)


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
        ([replace(own, sha256="d" * 64)], "unchanged.*give its path as `text`"),
        ([own, UNKNOWN_TEXT], "isn't known"),
    ]:
        with pytest.raises(OptionError, match=expected):
            own_corpus(model_of(*texts))


GIVEN = [
    ("notes.txt", {}),
    ("tales/a.txt", {}),
    ("tales/c.txt.gz", {}),
    ("tales/latin.txt", {"encoding": "latin-1"}),
    ("tales", {"encoding": "latin-1"}),
    ("tales/*.txt", {"encoding": "latin-1", "kind": "lines"}),
    (["tales/a.txt", "notes.txt"], {}),
    ("alone", {}),
    ("rows.csv", {"column": "text"}),
    ("rows.csv", {"column": "text", "kind": "text"}),
    (["rows.csv", "more.jsonl"], {"column": "text"}),
]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """The current folder, with texts of many forms, among others."""
    for name, content in {
        "notes.txt": b"some notes\nof mine\n",
        "tales/a.txt": b"a tale, \nand its end",
        "tales/c.txt.gz": gzip.compress(b"another tale\n"),
        "tales/latin.txt": "na\xefve\n".encode("latin-1"),
        "alone/only.txt": b"the only one",
        "rows.csv": b'id,text\n1,"one,\ntwo"\n2,three\n',
        "more.jsonl": b'{"text": "four"}\n',
        "picture.png": b"\xff\xfe\xfd",
        "tales.txt": b"no tales",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("given", "options"), GIVEN)
def test_the_models_own_text_is_found_in_whatever_form_it_has(tree, given, options):
    corpus = load_corpus(given, **options)
    found = own_corpus(trained_on(corpus))
    assert found.identity == corpus.identity
    np.testing.assert_array_equal(found.ids, corpus.ids)


@pytest.mark.parametrize(("given", "options"), GIVEN)
def test_a_text_that_has_moved_is_found_in_the_current_folder(
    tree, monkeypatch, given, options
):
    """Its folder's contents, or itself with the folder."""
    corpus = load_corpus(given, **options)
    monkeypatch.chdir(tree.parent)
    folder = tree if "/" not in str(given) else tree / "tales"
    if given == "tales" or isinstance(given, list):
        folder = tree
    with pytest.raises(OptionError, match="neither a named corpus nor, unchanged"):
        own_corpus(trained_on(corpus))
    monkeypatch.chdir(folder)
    assert own_corpus(trained_on(corpus)).sha256 == corpus.sha256


@pytest.mark.parametrize(
    ("given", "options", "expected"),
    [
        ("tales/c.txt.gz", {}, r"in this folder as 'tales/c.txt.gz': give its path"),
        (["rows.csv", "more.jsonl"], {"column": "text"},
         r"'rows' \('more.jsonl', 'rows.csv'\), is .* read with `column` 'text': "
         "give a folder or a quoted pattern of just these files as `text`"),
        ("tales", {"encoding": "latin-1"}, r"'latin.txt'\).* `encoding` 'latin-1'"),
    ],
)  # fmt: skip
def test_a_text_that_is_not_found_again_is_told_with_how_it_was_read(
    tree, given, options, expected
):
    model = trained_on(load_corpus(given, **options))
    for file in tree.rglob("*.*"):
        file.write_bytes(b"changed")
    with pytest.raises(OptionError, match=expected) as refused:
        own_corpus(model)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "identity",
    [{"path": 5, "parts": 5}, {"parts": [5, {}, {"name": 5}, {"name": "a\0\ud800"}]},
     {"path": "/", "column": 5}, {"path": "a\0", "encoding": ["x"]},
     {"path": "../x"}, {"path": "..", "parts": [{"name": "x"}]},
     {"path": "", "parts": [{"name": "../x"}]}],
)  # fmt: skip
def test_what_a_file_says_of_its_text_may_be_anything(tree, monkeypatch, identity):
    (tree / "x").write_text("x")
    monkeypatch.chdir("tales")
    text = replace(NAMES, name=f"some\0\ud800{'x' * 9999}")
    looked_for = []
    monkeypatch.setattr(
        own_text, "read_corpus", lambda source, *_: looked_for.append(source)
    )
    with pytest.raises(OptionError, match=r"give (its path|a folder)") as refused:
        own_corpus(model_of(text, corpus=identity))
    assert "\n" not in str(refused.value)
    assert not looked_for  # nothing outside the current folder
