"""What units do along a text, against loops over the formulas, and planted units."""

from dataclasses import replace

import numpy as np
import pytest
from evaluation.test_nats import trained_model
from inference.test_decoder import sigmoid

from textgen.errors import ModelFileError, OptionError, VocabularyError
from textgen.evaluation import activations as module
from textgen.evaluation.activations import Activations, activations
from textgen.evaluation.features import features_of
from textgen.generation.streaming import UnknownSymbolsWarning
from textgen.inference.weights import (
    BidirectionalWeights,
    GRUWeights,
    Network,
    Pointwise,
    SimpleRNNWeights,
)
from textgen.saving.trained_model import TrainedModel

TEXT = "abcdef\nfedface\nbeef\na"


def naive_cells(network: Network, ids, act=np.tanh) -> list[np.ndarray]:
    """Return act(c) of each LSTM layer (U,), in float64, once it has read the ids."""
    outputs = [network.embedding[i].astype(np.float64) for i in ids]
    cells = []
    for layer in network.layers:
        h, c = np.zeros((2, layer.units))
        below, outputs = outputs, []
        for x in below:
            z = x @ layer.kernel + h @ layer.recurrent_kernel + layer.bias
            i, f, g, o = np.split(z, 4)
            c = sigmoid(f) * c + sigmoid(i) * act(g)
            h = sigmoid(o) * act(c)
            outputs.append(h)
        cells.append(act(c))
    return cells


def assert_units(found: Activations, contexts, expected) -> None:
    """Check all layers at each character against a function of what was read."""
    assert len(contexts) == len(found.text)
    for place, ids in enumerate(contexts):
        for layer, values in zip(found.layers, expected(ids), strict=True):
            assert layer.dtype == np.float32
            np.testing.assert_allclose(layer[place], values, atol=2e-5)


@pytest.mark.parametrize("targets", ["all", "last"])
def test_an_lstm_layer_shows_tanh_of_its_cells(targets):
    model = trained_model(targets=targets, window=5)
    ids = model.vocabulary.encode(TEXT)
    ends = range(1, len(ids) + 1)
    contexts = [ids[max(0, k - 5) if targets == "last" else 0 : k] for k in ends]
    found = activations(model, TEXT)
    assert found.text == TEXT
    assert_units(found, contexts, lambda read: naive_cells(model.network, read))


def test_of_lines_each_begins_anew_with_the_end_before_it():
    model = trained_model("lines")
    found = activations(model, "abc\n\nfed")
    assert found.text == "abc\nfed\n"
    lines = ["\na", "\nab", "\nabc", "\n", "\nf", "\nfe", "\nfed", "\n"]
    contexts = [model.vocabulary.encode(line) for line in lines]
    assert_units(found, contexts, lambda read: naive_cells(model.network, read))


def test_a_cell_of_another_activation_goes_through_that():
    model = trained_model()
    layers = tuple(replace(x, activation="softsign") for x in model.network.layers)
    model = replace(model, network=replace(model.network, layers=layers))
    ids = model.vocabulary.encode(TEXT)
    contexts = [ids[:k] for k in range(1, len(ids) + 1)]

    def cells(read):
        return naive_cells(model.network, read, lambda x: x / (1 + np.abs(x)))

    assert_units(activations(model, TEXT), contexts, cells)


def test_other_layers_show_their_outputs():
    """A simple layer, a dense one that is no recurrent one, and a GRU on top."""
    rng = np.random.default_rng(3)
    a, r, d, k, s, out = (
        rng.normal(size=shape, scale=0.7).astype(np.float32)
        for shape in ((7, 4), (4, 4), (4, 3), (3, 6), (2, 6), (2, 7))
    )
    zeros = np.zeros(7, np.float32)
    layers = (
        SimpleRNNWeights(a, r, zeros[:4]),
        Pointwise(d, zeros[:3], "linear"),
        GRUWeights(k, s, zeros[:6], None),
    )
    plain = trained_model()
    model = replace(plain, network=Network(None, layers, out, zeros))

    def outputs(read):
        h, g = np.zeros(4), np.zeros(2)
        for i in read:
            h = np.tanh(a[i] + h @ r)
            x = h @ d @ k
            z, reset = sigmoid(x[:2] + g @ s[:, :2]), sigmoid(x[2:4] + g @ s[:, 2:4])
            g = z * g + (1 - z) * np.tanh(x[4:] + (reset * g) @ s[:, 4:])
        return [h, g]

    ids = plain.vocabulary.encode(TEXT)
    contexts = [ids[:place] for place in range(1, len(ids) + 1)]
    assert_units(activations(model, TEXT), contexts, outputs)


# Units that follow something


PROSE = 'He said "go on, and on", and went.\nShe said "no" to him (again).\n\n' * 8


def planted(text: str = PROSE) -> Activations:
    """Return two layers of noise in which some units do something."""
    rng = np.random.default_rng(1)
    layers = [
        rng.normal(size=(len(text), units)).astype(np.float32) for units in (5, 9)
    ]
    features = features_of(text)
    layers[1][:, 4] = 0.2 - 0.5 * features["inside quotes"]
    layers[0][:, 3] += features["position in the line"]
    layers[0][:, 1] = 0.7  # never changes
    half = (len(text) + 1) // 2  # one that follows capitals in the first half only
    layers[1][:half, 8] = features["capital"][:half]
    return Activations(text, tuple(layers))


def test_followers_are_found_in_the_first_half_and_checked_in_the_second():
    found = planted()
    followers = {each.feature: each for each in found.followers()}
    quotes, capital = followers["inside quotes"], followers["capital"]
    assert quotes[1:3] == (1, 4)
    assert (quotes.found, quotes.checked) == pytest.approx((-1, -1), abs=1e-6)
    assert followers["position in the line"][1:3] == (0, 3)
    assert capital[1:3] == (1, 8)
    assert capital.found == pytest.approx(1, abs=1e-6)
    assert abs(capital.checked) < 0.3
    assert "digit" not in followers, "the text has none"
    assert next(iter(followers)) == "inside quotes"
    assert 0 not in [each.layer for each in followers.values() if each.unit == 1]


def test_correlations_are_those_of_numpy():
    found = planted()
    features = features_of(PROSE)
    halves = slice(0, len(PROSE) // 2), slice(len(PROSE) // 2, None)
    followers = found.followers(of_each=14)
    assert len(followers) == 14 * len({each.feature for each in followers})
    for each in followers:
        if (each.layer, each.unit) == (0, 1):
            assert (each.found, each.checked) == (0, 0)
            continue
        for received, half in zip((each.found, each.checked), halves, strict=True):
            values = found.layers[each.layer][half, each.unit]
            expected = np.corrcoef(features[each.feature][half], values)[0, 1]
            assert received == pytest.approx(expected, abs=1e-5)
    quotes = [abs(x.found) for x in followers if x.feature == "inside quotes"]
    assert quotes == sorted(quotes, reverse=True)


def test_a_feature_whose_unit_turns_round_comes_last():
    text = "ab cc" * 60
    features = features_of(text)
    units = np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32)
    units[:, 0] += 2 * features["space"]
    units[:, 1] = features["vowel"]
    units[150:, 1] *= -1
    found = Activations(text, (units,)).followers()
    assert (found[0].feature, found[0].unit) == ("space", 0)
    assert (found[-1].feature, found[-1].unit) == ("vowel", 1)
    assert (found[-1].found, found[-1].checked) == pytest.approx((1, -1), abs=1e-6)


# What is refused


def test_unknown_symbols_are_named_and_the_text_is_what_was_read():
    model = trained_model()
    with pytest.warns(UnknownSymbolsWarning, match="'A' .* '☃'"):
        assert activations(model, "Abc☃d").text == "abcd"
    with pytest.raises(VocabularyError, match="'A', '☃'"):
        activations(model, "Abc☃d", strict=True)


def both_ways() -> TrainedModel:
    model = trained_model(targets="last")
    first, second = model.network.layers
    layers = (BidirectionalWeights(first, first, "sum"), second)
    return replace(model, network=replace(model.network, layers=layers))


@pytest.mark.filterwarnings("ignore::textgen.UnknownSymbolsWarning")
@pytest.mark.parametrize(
    ("model", "text", "error", "told"),
    [
        (both_ways, "abcabc", ModelFileError, "from its end, too"),
        (trained_model, "", OptionError, "must have 1 to 8 symbols"),
        (trained_model, "☃", OptionError, "but has 0"),
        (trained_model, "abcdefabc", OptionError, "but has 9"),
        (trained_model, b"abc", OptionError, "`text` must be text"),
    ],
)
def test_what_makes_no_sense_is_refused(model, text, error, told, monkeypatch):
    monkeypatch.setattr(module, "MOST_NUMBERS", 99)
    with pytest.raises(error, match=told):
        activations(model(), text)


def test_a_short_text_has_units_but_no_followers():
    found = activations(trained_model(), TEXT)
    assert "21 characters, 6 + 6 units" in repr(found)
    with pytest.raises(OptionError, match="at least 200 characters, but `text` has 21"):
        found.followers()
