"""The surprise of each character, against formulas and against an evaluation."""

import math

import numpy as np
import pytest
from evaluation.test_judging import LINES, SYMBOLS, TEXT, contexts
from model_files import write_own_file

from textgen.errors import OptionError, VocabularyError
from textgen.evaluation.judging import evaluate
from textgen.evaluation.surprise import surprise
from textgen.generation.streaming import UnknownSymbolsWarning
from textgen.saving.model_file import load_model


@pytest.fixture
def write(tmp_path, read_here):
    """Return a function that writes a model and gives its net and what is loaded."""

    def write_one(symbols=SYMBOLS, **options):
        net = write_own_file(tmp_path / "m.h5", symbols, **options)
        return net, load_model(tmp_path / "m.h5")

    return write_one


@pytest.mark.parametrize(
    ("kind", "targets"),
    [("text", "all"), ("text", "last"), ("lines", "all"), ("lines", "last")],
)
def test_each_character_has_the_figures_of_the_formulas(write, kind, targets):
    net, model = write(kind=kind, targets=targets, seq_length=4)
    text = TEXT if kind == "text" else "\n".join(LINES)
    places = contexts(text, kind, 4 if targets == "last" else None)
    predicted = [net.predict([SYMBOLS.index(x) for x in seen]) for seen, _ in places]
    found = surprise(model, text)
    assert found.text == (text if kind == "text" else f"{text}\n")
    unread = len(found.text) - len(places)
    assert unread == {"lines": 0, "text": 4 if targets == "last" else 1}[kind]
    for figures in (found.surprisal, found.entropy, found.probabilities[:, 0]):
        assert np.isnan(figures[:unread]).all()
    for row, (p, (_, symbol)) in enumerate(zip(predicted, places, strict=True), unread):
        assert found.text[row] == symbol
        own = -math.log(p[SYMBOLS.index(symbol)])
        assert found.surprisal[row] == pytest.approx(own, abs=1e-5)
        expected = -sum(x * math.log(x) for x in p)
        assert found.entropy[row] == pytest.approx(expected, abs=1e-5)
        best = sorted(range(len(SYMBOLS)), key=lambda k, p=p: -p[k])[:5]
        assert found.likeliest[row].tolist() == best
        assert found.probabilities[row] == pytest.approx(p[best], abs=1e-6)


@pytest.mark.parametrize("kind", ["text", "lines"])
@pytest.mark.parametrize("targets", ["all", "last"])
def test_the_mean_is_what_an_evaluation_says(write, kind, targets):
    _, model = write(kind=kind, targets=targets)
    text = "deadbeef\nfaced\na\nabcdefabcdef\n" * 30
    told: list[tuple[int, int]] = []
    found = surprise(model, text, progress=lambda *x: told.append(x))
    figures = evaluate(model, text)
    assert found.nats_per_char == pytest.approx(figures.nats_per_char, abs=1e-12)
    assert found.characters == figures.characters == told[-1][0]
    best = "".join(found.symbols[row[0]] for row in found.likeliest)
    right = [a == b for a, b in zip(best, found.text, strict=True)]
    read = np.isfinite(found.surprisal)
    assert np.array(right)[read].mean() == pytest.approx(figures.accuracy)
    assert f"{found.characters} characters" in repr(found)


def test_documents_are_predicted_with_their_ends(write):
    _, model = write("\0\nab")
    found = surprise(model, "ab\nb\0a")
    assert found.text == "ab\nb\0a\0"
    assert found.characters == 7
    figures = evaluate(model, "ab\nb\0a")
    assert found.nats_per_char == pytest.approx(figures.nats_per_char)


def test_fewer_than_five_symbols_are_all_told(write):
    _, model = write("\nab")
    found = surprise(model, "ab\nb")
    assert found.likeliest.shape == found.probabilities.shape == (4, 3)
    assert found.probabilities[1:].sum(axis=1) == pytest.approx(1)


def test_what_has_no_chance_at_all_adds_nothing_to_the_entropy(write, monkeypatch):
    from textgen.evaluation import surprise as module

    logits = np.array([[0, -2000.0, 0], [0, -np.inf, -np.inf]])
    parts = [(np.array([1, 2]), logits)]
    monkeypatch.setattr(module, "predictions", lambda *_: parts)
    _, model = write("\nab")
    found = surprise(model, "ab\n")
    assert found.entropy[1:] == pytest.approx([math.log(2), 0])
    assert found.surprisal[1:] == pytest.approx([math.log(2), 0])


def test_unknown_symbols_are_named_and_the_text_is_what_was_read(write):
    _, model = write()
    with pytest.warns(UnknownSymbolsWarning, match="'A' .* '☃'") as caught:
        found = surprise(model, "Abc☃d")
    assert caught[0].filename == __file__
    assert found.text == "abcd"
    with pytest.raises(VocabularyError, match="'A', '☃'"):
        surprise(model, "Abc☃d", strict=True)


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("a", {}, "too short"),
        ("", {}, "too short"),
        (b"abc", {}, "`text` must be text"),
        (7, {}, "`text` must be text"),
        ("abc", {"strickt": True}, "did you mean `strict`"),
    ],
)
def test_what_makes_no_sense_is_refused(write, text, options, told):
    _, model = write()
    with pytest.raises(OptionError, match=told):
        surprise(model, text, **options)
