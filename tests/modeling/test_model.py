"""The Keras network: shapes, seeds, and weights that go in and out."""

import random

import keras
import numpy as np
import pytest
from fakes import random_network

from textgen.config import ModelConfig
from textgen.inference.decoder import Decoder
from textgen.inference.weights import Network
from textgen.modeling.model import (
    build_model,
    network_of,
    predict_frequencies,
    set_network,
)

V = 7


def small(embedding=3, layers=2, **options):
    return ModelConfig(layers=layers, units=5, embedding=embedding, **options)


def arrays_of(network: Network) -> list[np.ndarray]:
    cells = [x for c in network.layers for x in (c.kernel, c.recurrent_kernel, c.bias)]
    return [network.embedding, *cells, network.dense_kernel, network.dense_bias]


def assert_same(one: Network, other: Network) -> None:
    for a, b in zip(arrays_of(one), arrays_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


def random_ids(rows: int, length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, (rows, length)).astype(np.int32)


@pytest.mark.parametrize("embedding", [0, 3])
@pytest.mark.parametrize("targets", ["all", "last"])
@pytest.mark.parametrize("layers", [1, 3])
def test_ids_in_probabilities_out(embedding, targets, layers):
    model = build_model(small(embedding, layers), V, targets=targets)
    for length in (1, 6):  # any T
        probabilities = model(random_ids(4, length)).numpy()
        assert probabilities.dtype == np.float32
        shape = (4, length, V) if targets == "all" else (4, V)
        assert probabilities.shape == shape
        np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)


def test_the_last_prediction_is_the_same_for_both_targets():
    models = [build_model(small(), V, targets=t, seed=8) for t in ("all", "last")]
    each, last = (model(random_ids(4, 6)).numpy() for model in models)
    np.testing.assert_allclose(each[:, -1], last, atol=1e-6)


def test_one_hot_input_is_a_frozen_identity():
    model = build_model(small(embedding=0), V)
    one_hot = model.layers[1]
    np.testing.assert_array_equal(one_hot.get_weights()[0], np.eye(V))
    assert not one_hot.trainable
    assert all(v is not one_hot.embeddings for v in model.trainable_variables)
    # Two LSTM layers of three variables each, and the dense layer's two.
    assert len(model.trainable_variables) == 8
    assert len(build_model(small(embedding=3), V).trainable_variables) == 9


def test_dropout_follows_each_lstm_layer_and_only_if_asked_for():
    def kinds(**dropout):
        layers = build_model(small(**dropout), V).layers
        return [type(layer).__name__ for layer in layers[2:-1]]

    assert kinds(dropout=0.25) == ["LSTM", "Dropout", "LSTM", "Dropout"]
    assert kinds(input_dropout=0.1) == ["Dropout", "LSTM", "LSTM"]
    assert kinds() == ["LSTM", "LSTM"]


def test_input_dropout_hides_whole_symbols():
    model = build_model(small(input_dropout=0.5), V)
    embedded = model.layers[1](np.arange(V)[None].repeat(40, axis=0))
    hidden = np.array(model.layers[2](embedded, training=True) == 0)
    assert (hidden.all(-1) == hidden.any(-1)).all()
    assert 0.3 < hidden.mean() < 0.7


def test_a_seed_determines_the_dropout_of_keras_layers_too():
    def dropped(seed: int) -> np.ndarray:
        model = build_model(small(dropout=0.5, input_dropout=0.5), V, seed=seed)
        same_weights = build_model(small(), V, seed=1)
        set_network(model, network_of(same_weights))
        return np.array(model(np.arange(V)[None].repeat(9, axis=0), training=True))

    np.testing.assert_array_equal(dropped(1), dropped(1))
    assert np.abs(dropped(1) - dropped(2)).max() > 1e-3


def test_starting_weights_are_those_of_keras():
    network = network_of(build_model(small(), V, seed=5))
    for layer in network.layers:
        # Gate order i, f, c, o; the forget gate's bias starts at one.
        np.testing.assert_array_equal(layer.bias, np.repeat([0, 1, 0, 0], 5))
        recurrent = layer.recurrent_kernel.astype(np.float64)
        np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(5), atol=1e-6)
        limit = np.sqrt(6 / sum(layer.kernel.shape))
        assert 0.8 * limit < np.abs(layer.kernel).max() <= limit


def test_a_seed_repeats_and_another_differs_in_every_random_array():
    one, same, other = (
        arrays_of(network_of(build_model(small(), V, seed=s))) for s in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    differing = [not np.array_equal(a, b) for a, b in zip(one, other, strict=True)]
    bias = [False]
    assert differing == [True, *[True, True, *bias] * 2, True, *bias]
    # Within a network, no two arrays of one shape begin alike.
    assert not np.array_equal(one[2], one[5])


def test_it_begins_by_predicting_frequencies():
    model, counts = build_model(small(), V), np.array([900, 50, 30, 10, 9, 1, 0])
    predict_frequencies(model, counts)
    predictions = model.predict(random_ids(4, 20), verbose=0)
    expected = (counts + 1) / (counts + 1).sum()
    np.testing.assert_allclose(predictions / expected, 1, atol=0.1)
    np.testing.assert_allclose(predictions.sum(-1), 1, rtol=1e-5)


def test_building_leaves_the_global_random_states_alone():
    keras.utils.set_random_seed(1)
    expected = np.random.random(), random.random()  # noqa: NPY002
    keras.utils.set_random_seed(1)
    build_model(small(dropout=0.5, input_dropout=0.5), V, seed=9)
    assert (np.random.random(), random.random()) == expected  # noqa: NPY002


@pytest.mark.parametrize("embedding", [0, 3])
def test_weights_that_go_in_come_out_as_a_copy(embedding):
    network = random_network((5, 5), V, embedding, one_hot=not embedding)
    model = build_model(small(embedding), V)
    set_network(model, network)
    received = network_of(model)
    model.set_weights([w + 1 for w in model.get_weights()])
    assert_same(received, network)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_the_decoder_predicts_what_keras_does_with_weights_that_went_round(cell):
    model, other = (build_model(small(cell=cell), V, seed=s) for s in (1, 2))
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.6, variable.shape))
    network = network_of(model)
    assert network.plain_cell == cell
    set_network(other, network)
    ids = random_ids(4, 9)
    decoder, expected = Decoder(network, 4), np.array(other(ids))
    for place in range(9):
        powers = np.exp(decoder.step(ids[:, place]))
        received = powers / powers.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(received, expected[:, place], atol=1e-5)
    np.testing.assert_array_equal(expected, np.array(model(ids)))


@pytest.mark.parametrize("embedding", [0, 3])
def test_more_symbols_keep_what_is_known_of_the_old(embedding):
    network = random_network((5, 5), V, embedding, one_hot=not embedding)
    model = build_model(small(embedding), V + 3, seed=4)
    fresh = network_of(model)
    set_network(model, network)
    wider = network_of(model)
    np.testing.assert_array_equal(wider.dense_kernel[:, :V], network.dense_kernel)
    np.testing.assert_array_equal(wider.dense_kernel[:, V:], fresh.dense_kernel[:, V:])
    np.testing.assert_array_equal(wider.dense_bias[:V], network.dense_bias)
    np.testing.assert_array_equal(wider.dense_bias[V:], network.dense_bias.min())
    first, known = wider.layers[0], network.layers[0]
    if embedding:
        np.testing.assert_array_equal(wider.embedding[:V], network.embedding)
        np.testing.assert_array_equal(wider.embedding[V:], fresh.embedding[V:])
        np.testing.assert_array_equal(first.kernel, known.kernel)
    else:
        np.testing.assert_array_equal(wider.embedding, np.eye(V + 3))
        np.testing.assert_array_equal(first.kernel[:V], known.kernel)
        np.testing.assert_array_equal(first.kernel[V:], fresh.layers[0].kernel[V:])
    np.testing.assert_array_equal(first.recurrent_kernel, known.recurrent_kernel)
    np.testing.assert_array_equal(first.bias, known.bias)


@pytest.mark.parametrize("embedding", [0, 3])
def test_a_new_symbol_begins_as_the_one_that_stands_for_it(embedding):
    network = random_network((5, 5), V, embedding, one_hot=not embedding)
    model = build_model(small(embedding), V + 2, seed=4)
    set_network(model, network, np.array([*range(V), 1, -1]))
    wider, first = network_of(model), network.layers[0]
    np.testing.assert_array_equal(wider.dense_kernel[:, V], network.dense_kernel[:, 1])
    assert wider.dense_bias[V] == network.dense_bias[1]
    assert wider.dense_bias[V + 1] == network.dense_bias.min()
    if embedding:
        np.testing.assert_array_equal(wider.embedding[V], network.embedding[1])
    else:
        np.testing.assert_array_equal(wider.layers[0].kernel[V], first.kernel[1])


def test_other_layers_are_refused():
    with pytest.raises(ValueError, match="zip"):
        set_network(build_model(small(layers=1), V), random_network((5, 5), V, 3))
