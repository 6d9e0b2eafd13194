"""Judging a model on a text, against formulas and what its file remembers."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from fakes import random_network
from model_files import is_likeliest, loss, write_own_file

import textgen
from textgen.config import Config
from textgen.data.corpus import load_corpus
from textgen.data.vocabulary import Vocabulary
from textgen.errors import OptionError, VocabularyError
from textgen.evaluation import judging
from textgen.evaluation.judging import evaluate, evaluate_corpus
from textgen.evaluation.references import reference_nats
from textgen.generation.streaming import UnknownSymbolsWarning
from textgen.saving.model_file import load_model
from textgen.saving.trained_model import TrainedModel

SYMBOLS = "\nabcdef"
TEXT = "abcdef\nfedface\n\nbeef"
LINES = ["abc", "f", "deadbeef", "abc"]


@pytest.fixture
def write(tmp_path, read_here):
    """Return a function that writes a model and gives its net and what is loaded."""

    def write_one(symbols=SYMBOLS, **options):
        net = write_own_file(tmp_path / "m.h5", symbols, **options)
        return net, load_model(tmp_path / "m.h5")

    return write_one


def trained(text: str, kind: str = "text", held_out: float = 0.25, name: str = "own"):
    """Return how a model file remembers a training on a text."""
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    given = {"learning_rate": 1e-3, "schedule": "cosine", "held_out": held_out}
    return {"name": name, "kind": kind, "sha256": sha256, **given}


def contexts(text: str, kind: str, window: int | None) -> list[tuple[str, str]]:
    """Return each symbol that is predicted, after what the model has read."""
    if kind == "lines":
        lines = [f"\n{line}\n" for line in text.split("\n") if line]
        places = [(x, i) for x in lines for i in range(1, len(x))]
        return [(x[max(0, i - (window or i)) : i], x[i]) for x, i in places]
    first = window or 1
    begins = [max(0, i - (window or i)) for i in range(len(text))]
    return [(text[begins[i] : i], text[i]) for i in range(first, len(text))]


@pytest.mark.parametrize(
    ("kind", "targets"),
    [("text", "all"), ("text", "last"), ("lines", "all"), ("lines", "last")],
)
def test_the_figures_are_those_of_the_formulas(write, kind, targets):
    net, model = write(kind=kind, targets=targets, seq_length=4)
    text = TEXT if kind == "text" else "\n".join(LINES)
    window = 4 if targets == "last" else None
    places = contexts(text, kind, window)
    losses = [loss(net, SYMBOLS, *place) for place in places]
    right = [is_likeliest(net, SYMBOLS, *place) for place in places]
    found = evaluate(model, text)
    assert found.characters == len(places)
    assert found.nats_per_char == pytest.approx(np.mean(losses), abs=1e-5)
    assert found.bits_per_char == pytest.approx(found.nats_per_char / math.log(2))
    assert found.perplexity == pytest.approx(math.exp(found.nats_per_char))
    assert found.accuracy == np.mean(right)
    assert (found.trained_on, found.changed) == (False, 0)
    end_id = 0 if kind == "lines" else None
    ids = model.vocabulary.encode(text if kind == "text" else f"\n{text}\n")
    first = 4 if (kind, targets) == ("text", "last") else 1
    expected = reference_nats(ids, model.vocabulary, end_id, first=first)
    assert found.references == expected
    assert found.reference_characters == found.characters


@pytest.mark.parametrize("text", ["abc\nf\nee", "\nabc\n\nf\nee\n"])
def test_lines_are_read_whole_and_empty_ones_skipped(write, text):
    _, model = write(kind="lines")
    assert evaluate(model, text) == evaluate(model, "abc\nf\nee\n")
    assert evaluate(model, text).characters == len("abc\nf\nee\n")


def test_unknown_symbols_are_named_and_counted_and_figures_are_of_the_rest(write):
    _, model = write()
    with pytest.warns(UnknownSymbolsWarning) as caught:
        found = evaluate(model, "Abc☃ dA")
    (warning,) = caught
    assert warning.filename == __file__
    assert "'A' (folded to 'a'), '☃' (skipped), ' ' (skipped)" in str(warning.message)
    assert "4 of 7 characters" in str(warning.message)
    assert found.changed == 4
    plain = evaluate(model, "abcda")
    for figure in ("characters", "nats_per_char", "accuracy", "references"):
        assert getattr(found, figure) == getattr(plain, figure)
    with pytest.raises(VocabularyError, match="'A', '☃', ' '"):
        evaluate(model, "Abc☃ dA", strict=True)


@pytest.mark.filterwarnings("ignore::textgen.UnknownSymbolsWarning")
def test_a_line_of_which_nothing_is_known_is_none(write):
    _, model = write(kind="lines")
    found = evaluate(model, "abc\n☃☃\n?\nf")
    assert found.nats_per_char == evaluate(model, "abc\nf").nats_per_char
    with pytest.raises(OptionError, match="too short"):
        evaluate(model, "☃☃\n?\n")


@pytest.mark.filterwarnings("ignore::textgen.UnknownSymbolsWarning")
@pytest.mark.parametrize(
    ("kind", "targets", "text"),
    [
        ("text", "all", "a"),
        ("text", "all", ""),
        ("text", "all", "??????"),
        ("text", "last", "abcd"),
        ("lines", "all", ""),
        ("lines", "all", "\n\n"),
    ],
)
def test_a_text_that_is_too_short_is_refused(write, kind, targets, text):
    _, model = write(kind=kind, targets=targets, seq_length=4)
    with pytest.raises(OptionError, match="too short"):
        evaluate(model, text)


def test_what_is_no_text_or_no_option_is_refused(write):
    _, model = write()
    for text in (Path("a.txt"), b"abc", 7):
        with pytest.raises(OptionError, match="`text` must be text"):
            evaluate(model, text)
    with pytest.raises(OptionError, match="did you mean `strict`"):
        evaluate(model, TEXT, strickt=True)
    with pytest.raises(OptionError, match="`model`"):
        evaluate(7, TEXT)


def test_whether_it_was_trained_on_the_text_is_told(write):
    _, model = write(texts=[trained("other"), trained(TEXT)])
    assert evaluate(model, TEXT).trained_on is True
    assert evaluate(model, TEXT + "a").trained_on is False
    _, model = write(texts=[{**trained("other"), "sha256": None}])
    assert evaluate(model, TEXT).trained_on is None


def test_progress_is_told_up_to_the_end(write, monkeypatch):
    monkeypatch.setattr("textgen.evaluation.nats.BLOCK_FLOATS", 7 * 5)
    for kind, targets in (("text", "all"), ("text", "last"), ("lines", "all")):
        _, model = write(kind=kind, targets=targets, seq_length=3)
        told = []
        found = evaluate(model, TEXT, progress=lambda *given: told.append(given))  # noqa: B023
        assert told[-1] == (found.characters, found.characters)
        assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_documents_end_with_their_mark(write):
    _, model = write(symbols="\0\nabcdef")
    found = evaluate(model, "abc\nd\0feed")
    assert found.characters == len("abc\nd\0feed\0")
    ids = model.vocabulary.encode("\0abc\nd\0feed\0")
    expected = reference_nats(ids, model.vocabulary)
    assert found.references == expected


# Of what the model never saw


@pytest.fixture
def own_text(tmp_path, monkeypatch) -> str:
    """Return a text that lies as own.txt in the current folder."""
    monkeypatch.chdir(tmp_path)
    text = "".join(np.random.default_rng(0).choice([*SYMBOLS], 200))
    Path("own.txt").write_text(text)
    return text


def test_held_out_is_the_end_of_the_text_that_no_training_saw(write, own_text):
    corpus = {"name": "own", "kind": "text"}
    corpus["sha256"] = trained(own_text)["sha256"]
    texts = [trained(own_text, held_out=0.25), trained(own_text, held_out=0.4)]
    _, model = write(corpus=corpus, texts=texts)
    found = evaluate(model)
    alone = evaluate(model, own_text[150:])
    assert (found.characters, found.trained_on) == (49, False)
    assert found.nats_per_char == alone.nats_per_char
    encode = model.vocabulary.encode
    before, rest = encode(own_text[:150]), encode(own_text[150:])
    expected = reference_nats(rest, model.vocabulary, before=before)
    assert found.references == expected
    assert (
        evaluate_corpus(model, load_corpus("own.txt", "text"), held_out=True) == found
    )


@pytest.mark.parametrize("name", ["{}", "{}/own.txt", "{}/own", "..", "../x", "\0"])
def test_a_model_file_sends_nobody_out_of_the_current_folder(
    write, own_text, monkeypatch, name
):
    folder = Path.cwd()
    (folder / "x").mkdir()
    monkeypatch.chdir(folder / "x")
    monkeypatch.setattr("textgen.saving.own_text.read_corpus", pytest.fail)
    name = name.format(folder)
    corpus = {"name": name, "kind": "text", "sha256": trained(own_text)["sha256"]}
    _, model = write(corpus=corpus, texts=[trained(own_text, name=name)])
    with pytest.raises(OptionError, match="give its path"):
        evaluate(model)


def test_held_out_lines_are_those_that_training_leaves_out(
    write, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    lines = ["".join(rng.choice([*"abcdef"], rng.integers(1, 9))) for _ in range(60)]
    text = "\n".join(lines)
    Path("own.txt").write_text(text)
    corpus = load_corpus("own.txt", "lines")
    _, model = write(kind="lines", texts=[trained(text, "lines", 0.2)])
    found = evaluate_corpus(model, corpus, held_out=True)
    split = corpus.split(0.2)
    held_out = corpus.vocabulary.decode(split.held_out)
    assert held_out.count("\n") > 8
    alone = evaluate(model, held_out)
    assert found.nats_per_char == alone.nats_per_char
    assert found.characters == alone.characters == len(held_out) - 1
    before = model.vocabulary.encode(corpus.vocabulary.decode(split.training))
    ids = model.vocabulary.encode(held_out)
    expected = reference_nats(ids, model.vocabulary, 0, before=before)
    assert found.references == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([trained("another")], "wasn't on 'own'"),
        ([trained("", held_out=0.1)], "wasn't on 'own'"),
        (["own", 0.0], "all of 'own'"),
        (["own", "lines"], "all of 'own'"),
        (["own", 0.001], "too short"),
    ],
)
def test_nothing_held_out_is_told(write, own_text, texts, expected):
    if texts[0] == "own":
        how = {"kind" if texts[1] == "lines" else "held_out": texts[1]}
        texts = [trained(own_text, **how)]
    _, model = write(texts=texts)
    corpus = load_corpus("own.txt", "text")
    with pytest.raises(OptionError, match=expected):
        evaluate_corpus(model, corpus, held_out=True)


def test_a_corpus_is_read_in_pieces_as_a_text_at_once(write, own_text, monkeypatch):
    Path("more.txt").write_text(f"{own_text}\nÉa…☃B")
    _, model = write(symbols=SYMBOLS + ".")
    with pytest.warns(UnknownSymbolsWarning, match="4 of 206"):
        whole = evaluate(model, Path("more.txt").read_text())
    monkeypatch.setattr(judging, "PIECE_CHARS", 7)
    corpus = load_corpus("more.txt", "text")
    with pytest.warns(UnknownSymbolsWarning, match="4 of 206 characters") as caught:
        assert evaluate_corpus(model, corpus) == whole
    for told in ("'É' (folded to 'e')", "'…' (folded to '...')", "'☃' (skipped)"):
        assert told in str(caught[0].message)


def test_the_shipped_models_are_as_good_as_their_files_say():
    for name, nats in (("sonnets", 1.196), ("dinos", 1.527)):
        model = textgen.load_model(name)
        found = textgen.evaluate(model)
        recorded = model.record["held_out_nats_per_char"]
        assert found.nats_per_char == pytest.approx(recorded, abs=1e-3)
        assert round(found.nats_per_char, 3) == nats
        assert min(found.references.values()) > found.nats_per_char


def test_the_references_read_characters_where_a_model_reads_words():
    """All but those of the first word, which no model of words predicts."""
    symbols = ("\n", " ", *"abc", " ab", "cab")
    vocabulary = Vocabulary(symbols, "word")
    network = random_network((5,), len(symbols))
    model = TrainedModel(network, vocabulary, "text", Config(), {}, None)
    text = "cab ab bac\ncab ab"
    found = evaluate(model, text)
    ids = vocabulary.alphabet.encode(text)
    assert found.characters == found.reference_characters == len(text) - 3
    assert found.references == reference_nats(ids, vocabulary.alphabet, first=3)
