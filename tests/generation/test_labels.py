"""Labels in every path that generates: read first, and never written.

The network here would write nothing but labels if it were let.
"""

import threading
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from fakes import random_network

from textgen.config import CompletionConfig, Config, ConstraintConfig, WindowConfig
from textgen.data.labels import label_symbol
from textgen.data.vocabulary import Vocabulary
from textgen.errors import OptionError
from textgen.generation.batch import complete_many, generate_many, several
from textgen.generation.batch_decoder import Request
from textgen.generation.contexts import _sample
from textgen.generation.continuations import continuations
from textgen.generation.engine import Engine, Job
from textgen.generation.samplers import NoRepeatNgram, Temperature
from textgen.generation.streaming import (
    UnknownSymbolsWarning,
    generate_output,
    ids_to_read,
    openings_of,
    stream_output,
)
from textgen.inference.decoder import Decoder
from textgen.saving.trained_model import TrainedModel

NAMES = ("Keats", "Shelley")
MARKS = label_symbol(0) + label_symbol(1)
SYMBOLS = "\nabcdef" + MARKS
KEATS = SYMBOLS.index(MARKS[0])
TEXTS = set(SYMBOLS) - set(MARKS)


@pytest.fixture(scope="module")
def network():
    network = random_network((6,), len(SYMBOLS), embedding=4)
    bias = network.dense_bias + np.where(np.isin(list(SYMBOLS), list(MARKS)), 50, 0)
    return replace(network, dense_bias=bias.astype(np.float32))


@pytest.fixture(scope="module")
def model(network):
    vocabulary = Vocabulary(tuple(SYMBOLS), labels=NAMES)
    config = Config(windows=WindowConfig(10))
    return TrainedModel(network, vocabulary, "lines", config, {}, None)


def naive_text(model, label, prompt, length) -> str:
    """The likeliest text, by the unmasked network and a loop."""
    decoder = Decoder(replace(model.network, undrawn=None))
    text = ""
    decoder.step(np.array([SYMBOLS.index(label)]))
    for symbol in prompt[:-1]:
        decoder.step(np.array([SYMBOLS.index(symbol)]))
    current = prompt[-1]
    while len(text) < length:
        logits = decoder.step(np.array([SYMBOLS.index(current)]))[0]
        assert logits.argmax() in (KEATS, KEATS + 1)
        current = SYMBOLS[logits[: len(TEXTS)].argmax()]
        if current == "\n":
            break
        text += current
    return text


def test_a_text_follows_its_label_in_place_of_the_end(model):
    prompt = "ab"
    for name, label in zip((None, *NAMES), ("\n", *MARKS), strict=True):
        wanted = naive_text(model, label, prompt, 12)
        options = {"length": 12, "temperature": 0, "label": name}
        assert generate_output(model, prompt, **options) == prompt + wanted
        assert "".join(stream_output(model, prompt, **options)) == wanted
        (made,) = generate_many(model, [prompt], **options)
        assert made.text == wanted
    assert ids_to_read(model, "a", False, "Keats").tolist() == [KEATS, 1]
    assert ids_to_read(model, "", False, "Keats").tolist() == [KEATS]


def test_labels_differ(model):
    drawn = {
        label: [x.text for x in generate_many(model, ["a"] * 9, seed=1, label=label)]
        for label in (None, *NAMES)
    }
    assert len({tuple(texts) for texts in drawn.values()}) == 3


WAYS = [
    {},
    {"temperature": 100},
    {"temperature": (0.5, 2.0)},
    {"top_k": 9},
    {"top_p": 0.99},
    {"min_p": 0.001},
    {"typical_p": 0.99},
    {"repetition_penalty": 1e6},
    {"no_repeat_ngram": 2},
    {"beam": 3},
    {"sampler": [NoRepeatNgram(2), Temperature(2.0)]},
]


@pytest.mark.parametrize("label", [None, "Shelley"])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_labels_are_never_written(way, label, model):
    options = {"length": 30, "label": label, **way}
    alone = [generate_output(model, "a", seed=seed, **options) for seed in range(5)]
    many = generate_many(model, ["a"] * 5, seed=list(range(5)), **options)
    assert [f"a{each.text}" for each in many] == alone
    assert set("".join(alone)) <= TEXTS


CONSTRAINTS = [
    {"ends_with": "da"},
    {"starts_with": "ab"},
    {"contains": "ff"},
    {"matching": "[^a-c]+"},
    {"matching": ".{3,5}"},
    {"matching": r"\W?[a-f]+", "min_length": 4},
]


@pytest.mark.parametrize("wanted", CONSTRAINTS, ids=str)
def test_labels_fit_nothing(wanted, model):
    config = CompletionConfig(length=20, label="Keats")
    made = several(model, "", 5, 1, config, ConstraintConfig(**wanted))
    texts = [each.text for each in made]
    assert len(texts) == 5
    assert set("".join(texts)) <= TEXTS
    if "ends_with" in wanted:
        assert all(text.endswith("da") for text in texts)


def test_what_lies_ahead_is_reckoned_from_texts_of_the_label(model):
    _, seen = _sample(model, 1.0, NAMES[0])
    firsts = [end for end in seen if len(end) == 1]
    assert len(firsts) > 100
    assert set(firsts) == {(KEATS,)}


def test_what_only_labels_would_fit_is_impossible(model):
    with pytest.raises(OptionError, match="nothing that the model can write"):
        generate_many(model, 1, matching="[^a-f]+", length=5)
    with pytest.raises(OptionError, match="never seen"):
        generate_many(model, 1, starts_with=MARKS[0])


def test_a_prompt_holds_no_label(model):
    with pytest.warns(UnknownSymbolsWarning, match="skipped"):
        text = generate_output(model, f"{MARKS[0]}ab", seed=1, label="Shelley")
    assert text[3:] == generate_output(model, "ab", seed=1, label="Shelley")[2:]


def test_ways_to_go_on_know_the_label(model):
    for label in (None, "Keats"):
        found = continuations(model, "ab", 30, 1, CompletionConfig(label=label))
        assert set("".join(each.text for each in found)) <= TEXTS
        assert sum(each.probability for each in found) <= 1 + 1e-9
    other = continuations(model, "ab", 30, 1, CompletionConfig())
    shares = {each.text: each.probability for each in other}
    both = [each for each in found if each.text in shares]
    assert both
    assert all(abs(x.probability / shares[x.text] - 1) > 1e-6 for x in both)


def test_texts_of_several_labels_share_a_batch(model):
    configs = [CompletionConfig(length=25, label=label) for label in (None, *NAMES)]
    ended, texts = threading.Event(), {}

    def deliver(deliveries):
        for each in deliveries:
            texts[each.job.request.index] = each.text
        if len(texts) == len(configs):
            ended.set()

    engine = Engine({"m": model}, deliver)
    engine.submit(
        [
            Job("m", Request(i, "a", ids_to_read(model, "a", True, c.label), i, c, 25))
            for i, c in enumerate(configs)
        ]
    )
    assert ended.wait(60)
    engine.close()
    for index, config in enumerate(configs):
        (alone,) = complete_many(model, ["a"], [index], config)
        assert texts[index] == alone.text


def test_a_label_that_the_model_does_not_know(model):
    for make in (generate_output, stream_output):
        with pytest.raises(OptionError, match="one of 'Keats', 'Shelley', but was"):
            make(model, "a", label="Byron")
    with pytest.raises(OptionError, match="one of 'Keats'"):
        generate_many(model, 3, label="Byron")
    with pytest.raises(OptionError, match="`label` must be"):
        generate_output(model, "a", label="")


def test_the_logits_of_labels_are_minus_infinity_and_others_as_they_were(model):
    masked, raw = (
        Decoder(network)
        for network in (model.network, replace(model.network, undrawn=None))
    )
    for symbol_id in islice((KEATS, 1, 2), 3):
        one, other = (x.step(np.array([symbol_id]))[0] for x in (masked, raw))
        is_label = model.vocabulary.is_label
        assert np.isneginf(one[is_label]).all()
        np.testing.assert_array_equal(one[~is_label], other[~is_label])


@pytest.mark.parametrize("level", ["word", "bpe"])
def test_words_follow_a_label_too(level):
    """The end of the prompt, which is spelled anew, comes after it as the rest does."""
    symbols = ("\n", *"abc", *MARKS, "ab", "abc")
    network = random_network((6,), len(symbols), embedding=4)
    vocabulary = Vocabulary(symbols, level, labels=NAMES)
    config = Config(windows=WindowConfig(10))
    model = TrainedModel(network, vocabulary, "lines", config, {}, None)
    for label, mark in zip(NAMES, MARKS, strict=True):
        openings = openings_of(model, "ca", strict=True, label=label)
        assert openings.read.tolist() == [symbols.index(mark)]
        assert openings.rest == "ca"
    assert openings_of(model, "ca", strict=True).read.tolist() == [0]
