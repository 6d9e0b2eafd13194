"""Mixtures of models, against the naive mean of what each predicts by itself."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
from fakes import random_network

import textgen
from textgen.config import CompletionConfig, Config, ModelConfig, WindowConfig
from textgen.data.corpus import load_corpus
from textgen.data.vocabulary import Vocabulary
from textgen.errors import ModelFileError, OptionError
from textgen.evaluation.nats import held_out_nats
from textgen.generation.batch import several
from textgen.generation.novel import known_to
from textgen.inference.weights import BidirectionalWeights
from textgen.saving.mixed_model import mix_models
from textgen.saving.trained_model import TrainedModel, TrainedText

SYMBOLS = "\nabcdef"


def model_of(symbols=SYMBOLS, units=5, kind="text", targets="all", window=5,
             level="character", **other):  # fmt: skip
    """Return a model of random weights that depend on its number of units."""
    config = Config(ModelConfig(1, units, 3), WindowConfig(window, targets=targets))
    network = random_network([units], len(symbols))
    vocabulary = Vocabulary(tuple(symbols), level)
    return TrainedModel(network, vocabulary, kind, config, {}, None, **other)


def predicted(model, text: str) -> dict[str, float]:
    """Return the probability of each symbol after a text of symbols that it knows."""
    decoder = model.decoder()
    for symbol in text:
        logits = decoder.step(model.vocabulary.encode(symbol))[0].tolist()
    weights = [math.exp(x - max(logits)) for x in logits]
    shares = [weight / sum(weights) for weight in weights]
    return dict(zip(model.vocabulary.symbols, shares, strict=True))


def naive_nats(model_a, model_b, weight, text) -> list[float]:
    """Return the loss of each symbol of a text but the first."""
    found = []
    for place in range(1, len(text)):
        a, b = (predicted(model, text[:place]) for model in (model_a, model_b))
        chance = weight * a[text[place]] + (1 - weight) * b[text[place]]
        found.append(-math.log(chance))
    return found


def test_probabilities_are_averaged_whatever_the_order_of_symbols():
    a, b = model_of(), model_of("fed\ncab", units=4)
    mixed = mix_models([a, b], [3, 1])
    assert mixed.vocabulary == a.vocabulary
    for text in ("a", "bad\n", "deadbeef"):
        one, other = predicted(a, text), predicted(b, text)
        expected = {x: 0.75 * one[x] + 0.25 * other[x] for x in SYMBOLS}
        assert predicted(mixed, text) == pytest.approx(expected, abs=1e-6)


def test_a_symbol_that_one_lacks_has_the_probability_that_the_others_give_it():
    a, b = model_of("\nabcdé"), model_of("\nabcdeX", units=4)
    mixed = mix_models([a, b])
    assert mixed.vocabulary.symbols == tuple("\nabcdéXe")
    chances = predicted(mixed, "ab")
    assert chances["é"] == pytest.approx(predicted(a, "ab")["é"] / 2, abs=1e-6)
    assert chances["X"] == pytest.approx(predicted(b, "ab")["X"] / 2, abs=1e-6)
    assert sum(chances.values()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("targets", ["all", "last"])
@pytest.mark.parametrize("text", ["aéb", "aéX", "XXa", "X", "éé", "aX", "XbX"])
def test_what_one_lacks_it_reads_folded_or_not_at_all(text, targets):
    """The second model reads é as e, and nothing where X stands."""
    a, b = model_of("\nabéX"), model_of("\nabe", units=4, targets=targets, window=3)
    chances = predicted(mix_models([a, b]), text)
    read = text.replace("é", "e").replace("X", "")
    other = predicted(b, read) if read else dict.fromkeys("\nabe", 0.25)
    one = predicted(a, text)
    for symbol in "\nabéXe":
        expected = one.get(symbol, 0) / 2 + other.get(symbol, 0) / 2
        assert chances[symbol] == pytest.approx(expected, abs=1e-6), symbol


@pytest.mark.parametrize("targets", ["all", "last"])
def test_texts_of_a_batch_go_their_own_ways(targets):
    """Reset, states that are moved, and slots in another order: as if read alone."""
    a, b = model_of("\nabcXé"), model_of("\nabce", units=4, targets=targets, window=3)
    mixed = mix_models([a, b])

    def logits_after(text):
        decoder = mixed.decoder()
        return [decoder.step(mixed.vocabulary.encode(x)).copy() for x in text][-1][0]

    encode = mixed.vocabulary.encode
    together, texts = mixed.decoder(3), ["", "", ""]

    def read(column):
        logits = together.step(encode(column))
        for slot, symbol in enumerate(column):
            texts[slot] += symbol
            expected = logits_after(texts[slot])
            np.testing.assert_allclose(logits[slot], expected, atol=1e-5)

    known = mixed.vocabulary.symbols[-1]  # one that the other model may lack
    for column in ("abc", "c" + known + "b", known + "ab"):
        read(column)
    together.reset([1])
    texts[1] = ""
    read("c" + known + "a")
    together.set_state([2], together.state(0))
    texts[2] = texts[0]
    read("b" + known + known)
    together.reorder(np.array([2, 0]))
    texts[:2] = [texts[2], texts[0]]
    read(known + "bc")
    other = mixed.decoder(2)
    other.set_state([0, 1], together.state(2))
    logits = other.step(encode("a" + known))
    np.testing.assert_allclose(logits[1], logits_after(texts[2] + known), atol=1e-5)


WORDS = ("\n", " ", *"abc", " ab", "cab")


def test_words_are_mixed_as_characters_are():
    a, b = (model_of(WORDS, units=units, level="word") for units in (5, 4))
    mixed = mix_models([a, b])
    assert mixed.vocabulary == a.vocabulary
    one, other = (predicted(model, ["cab", " ab"]) for model in (a, b))
    expected = {x: (one[x] + other[x]) / 2 for x in WORDS}
    received = predicted(mixed, ["cab", " ab"])
    assert received == pytest.approx(expected, abs=1e-6)
    # The prompt's end is spelled anew, by the mixture's own states.
    text = textgen.generate_output(mixed, "cab ", length=30, seed=1)
    assert text.startswith("cab ")
    assert len(text) == 34


def test_other_words_levels_or_labels_are_refused_in_a_line():
    words = model_of(WORDS, level="word")
    pairs = replace(words, vocabulary=replace(words.vocabulary, level="bpe"))
    turned = model_of(WORDS[::-1], level="word")
    keats, shelley = (
        replace(model_of("\nab\U00100000"), vocabulary=Vocabulary(
            tuple("\nab\U00100000"), labels=(name,)
        ))
        for name in ("Keats", "Shelley")
    )  # fmt: skip
    for a, b, expected in (
        (words, turned, "whose symbols are the same"),
        (words, pairs, "words of text .*byte pairs of text"),
        (words, model_of("\nabc"), "words of text .*characters of text"),
        (keats, shelley, "whose labels are the same"),
    ):
        with pytest.raises(ModelFileError, match=expected):
            mix_models([a, b])


def test_a_weight_of_zero_leaves_a_model_out():
    a, b = model_of(), model_of("\nabX", units=4)
    assert mix_models([a, b], [1, 0]) is a
    assert mix_models([b, a], [0, 7]) is a
    assert mix_models([a]) is a


def test_a_model_mixed_with_itself_is_itself():
    model = model_of()
    mixed = mix_models([model, model, model])
    options = {"length": 200, "seed": 1}
    one = textgen.generate_output(model, "bad", **options)
    assert textgen.generate_output(mixed, "bad", **options) == one
    expected = textgen.surprise(model, one).surprisal
    received = textgen.surprise(mixed, one).surprisal
    np.testing.assert_allclose(received, expected, atol=1e-5)


def test_nats_of_a_text():
    text = "deadbeef\nfaced a cab".replace(" ", "a")
    a, b = model_of(), model_of(units=4)
    expected = np.mean(naive_nats(a, b, 0.7, text))
    mixed = mix_models([a, b], [0.7, 0.3])
    assert textgen.evaluate(mixed, text).nats_per_char == pytest.approx(expected)


@pytest.mark.parametrize("targets", ["all", "last"])
def test_nats_of_lines(targets):
    """They may be longer than the windows of one model or of both."""
    lines = ["abcdef", "f", "abadcafe"]
    a = model_of(kind="lines", window=9)
    b = model_of(units=4, kind="lines", targets=targets, window=3)
    nats = [naive_nats(a, b, 0.5, f"\n{line}\n") for line in lines]
    expected = np.mean(np.concatenate(nats))
    ids = a.vocabulary.encode("\n" + "\n".join(lines) + "\n")
    assert held_out_nats(mix_models([a, b]), ids) == pytest.approx(expected, rel=1e-5)


def test_models_of_the_same_windows_are_judged_after_full_ones():
    a, b = (model_of(units=x, targets="last", window=4) for x in (5, 4))
    text = "deadbeefacade"
    expected = [
        -math.log((predicted(a, seen)[symbol] + predicted(b, seen)[symbol]) / 2)
        for seen, symbol in ((text[i : i + 4], text[i + 4]) for i in range(9))
    ]
    found = textgen.evaluate(mix_models([a, b]), text)
    assert found.characters == 9
    assert found.nats_per_char == pytest.approx(np.mean(expected), rel=1e-5)


def test_models_of_other_windows_are_judged_from_the_beginning():
    a, b = model_of(), model_of(units=4, targets="last", window=3)
    text = "deadbeefacade"
    expected = np.mean(naive_nats(a, b, 0.5, text))
    for models in ([a, b], [b, a]):
        found = textgen.evaluate(mix_models(models), text)
        assert found.nats_per_char == pytest.approx(expected, rel=1e-5)


def test_all_ways_of_completing_take_a_mixture():
    a, b = model_of(kind="lines"), model_of("fed\ncabé", units=4, kind="lines")
    mixed = mix_models([a, b])
    options = {"length": 9, "temperature": 1.0}
    many = textgen.generate_many(mixed, ["a", "bad"], seed=[3, 4], **options)
    for prompt, each in zip(("a", "bad"), many, strict=True):
        alone = textgen.generate_output(mixed, prompt, seed=each.seed, **options)
        assert prompt + each.text == alone
        stream = textgen.stream_output(mixed, prompt, seed=each.seed, **options)
        assert "".join(stream) == each.text
    fitting = textgen.generate_many(mixed, 5, seed=1, starts_with="b", ends_with="ad")
    assert {each.text[:1] + each.text[-2:] for each in fitting} == {"bad"}
    likeliest = list(several(mixed, "a", 3, 0, CompletionConfig(beam=4, length=4)))
    assert len(likeliest) == 3
    one, other = predicted(a, "\nb"), predicted(b, "\nb")
    texts = textgen.generate_many(mixed, ["b"] * 2000, seed=1, length=1, temperature=1)
    drawn = sum(each.text == "d" for each in texts) / 2000
    assert drawn == pytest.approx((one["d"] + other["d"]) / 2, abs=0.04)


def text_of(name: str) -> TrainedText:
    sha256 = hashlib.sha256(f"the text {name}".encode()).hexdigest()
    return TrainedText(name, "text", sha256, 0.0, None, "cosine")


def test_it_was_trained_on_all_of_their_texts_and_the_first_ones_is_its_own():
    a = model_of("\n abehtx", texts=(text_of("a"),))
    b = model_of("\n abehtx", units=4, texts=(text_of("b"), text_of("c")))
    mixed = mix_models([a, b])
    assert mixed.texts[-1] == a.texts[0]
    assert mixed.record == {}
    assert textgen.evaluate(mixed, "the text b").trained_on
    assert not textgen.evaluate(mixed, "the text eb").trained_on


def test_novel_is_what_none_of_their_texts_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = []
    for name, lines in (("a", "anna\nbell\n"), ("b", "emil\nfée\n")):
        (tmp_path / f"{name}.txt").write_text(lines)
        corpus = load_corpus(f"{name}.txt", "lines")
        own = TrainedText(name, "lines", corpus.sha256, 0.0, None, "cosine")
        symbols = "".join(corpus.vocabulary.symbols)
        models.append(model_of(symbols, kind="lines", texts=(own,)))
    knows = known_to(mix_models(models))
    assert [knows("", x) for x in ("anna", "fée", "béll")] == [True, True, False]


def test_what_it_is_stands_in_a_line():
    mixed = mix_models([model_of(), model_of(units=4)], [2, 1])
    assert repr(mixed) == "<MixedModel: mixture of 0.667 None + 0.333 None>"
    assert mixed.max_batch_size < model_of().max_batch_size


def test_it_reads_both_ways_if_one_of_the_models_does():
    one = model_of()
    layers = (BidirectionalWeights(*one.network.layers * 2, "sum"),)
    other = replace(one, network=replace(one.network, layers=layers))
    assert not mix_models([one, one]).reads_both_ways
    assert mix_models([one, other]).reads_both_ways
    assert mix_models([other, one]).reads_both_ways


def test_units_are_told_of_one_model_only():
    with pytest.raises(ModelFileError, match="mixture"):
        textgen.activations(mix_models([model_of(), model_of()]), "abc")


@pytest.mark.parametrize(
    ("mix", "named"),
    [([1], "`mix`"), ([1, 2, 3], "`mix`"), (0.5, "`mix`"), ([0, 0], "not all 0"),
     ([1, -1], "at least 0"), ([1, math.nan], "`mix`"), ("1,2", "`mix`")],
)  # fmt: skip
def test_weights_that_make_no_sense_are_refused(mix, named):
    with pytest.raises(OptionError, match=named):
        mix_models([model_of(), model_of()], mix)


def test_who_still_asks_for_the_mean_of_logits_is_told_what_to_do():
    with pytest.raises(OptionError, match="leave it out"):
        mix_models([model_of(), model_of()], mix_logits=True)


def test_models_that_do_not_go_together_are_refused():
    with pytest.raises(OptionError, match="at least one"):
        mix_models([])
    lines = model_of(kind="lines")
    for other in (model_of(), model_of("\0\nabcdef", kind="lines")):
        with pytest.raises(ModelFileError, match="of one kind"):
            mix_models([lines, other])
