from dataclasses import replace

import numpy as np
import pytest
from fakes import random_network

from textgen.inference.decoder import Decoder, WholeWindowDecoder, WindowDecoder
from textgen.inference.weights import Network

VOCABULARY_SIZE = 7


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def naive_logits(network: Network, ids) -> np.ndarray:
    """Gate by gate, symbol by symbol, in float64; logits (N, V) after each symbol."""
    outputs = [network.embedding[i].astype(np.float64) for i in ids]
    for layer in network.layers:
        h, c = np.zeros((2, layer.units))
        below, outputs = outputs, []
        for x in below:
            z = x @ layer.kernel + h @ layer.recurrent_kernel + layer.bias
            i, f, candidate, o = np.split(z, 4)
            i, f, candidate, o = sigmoid(i), sigmoid(f), np.tanh(candidate), sigmoid(o)
            c = f * c + i * candidate
            h = o * np.tanh(c)
            outputs.append(h)
    return np.array([h @ network.dense_kernel + network.dense_bias for h in outputs])


def random_ids(steps: int, batch_size: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, VOCABULARY_SIZE, (steps, batch_size))


def run(decoder, columns) -> np.ndarray:
    """Logits (N, B, V) of texts given as (N, B) ids."""
    return np.array([decoder.step(ids).copy() for ids in columns])


@pytest.mark.parametrize("units", [(5,), (4, 6), (6, 3, 5)])
@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_decoder_agrees_with_the_naive_loop(units, one_hot, batch_size):
    network = random_network(units, one_hot=one_hot)
    ids = random_ids(30, batch_size)
    logits = run(Decoder(network, batch_size), ids)
    assert logits.dtype == np.float32
    for row in range(batch_size):
        expected = naive_logits(network, ids[:, row])
        np.testing.assert_allclose(logits[:, row], expected, atol=2e-5)


@pytest.mark.parametrize("window", [1, 2, 5, 9])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_window_decoder_sees_exactly_the_last_symbols(window, batch_size):
    network = random_network((4, 5))
    ids = random_ids(24, batch_size)
    logits = run(WindowDecoder(network, window, batch_size), ids)
    for row in range(batch_size):
        for end in range(1, len(ids) + 1):
            seen = ids[max(0, end - window) : end, row]
            expected = naive_logits(network, seen)[-1]
            np.testing.assert_allclose(logits[end - 1, row], expected, atol=2e-5)


def test_extreme_weights_stay_finite():
    network = random_network((4, 4))
    loud = replace(network, embedding=network.embedding * 1e6)
    with np.errstate(all="raise"):
        logits = run(Decoder(loud), np.zeros((20, 1), np.uint8))
    assert np.isfinite(logits).all()


@pytest.fixture(params=[Decoder, WindowDecoder, WholeWindowDecoder])
def make(request):
    if request.param is Decoder:
        return Decoder
    return lambda network, batch_size: request.param(network, 4, batch_size)


def test_reset_of_some_slots_leaves_the_others_alone(make):
    network = random_network((4, 5))
    ids = random_ids(20, 3)
    decoder = make(network, 3)
    assert decoder.batch_size == 3
    run(decoder, ids[:7])
    decoder.reset([1])
    logits = run(decoder, ids[7:])
    straight = run(make(network, 3), ids)[7:]
    begun_anew = run(make(network, 3), ids[7:])
    np.testing.assert_array_equal(logits[:, [0, 2]], straight[:, [0, 2]])
    np.testing.assert_array_equal(logits[:, 1], begun_anew[:, 1])


def test_what_one_has_read_another_goes_on_from(make):
    network = random_network((4, 5))
    ids = random_ids(20, 1)
    one, other = make(network, 1), make(network, 3)
    run(one, ids[:7])
    run(other, np.repeat(ids[5:9], 3, axis=1))
    state = one.state()
    run(one, ids[:2])  # which is not to change what was returned
    other.set_state([0, 2], state)
    logits = run(other, np.repeat(ids[7:], 3, axis=1))
    expected = run(make(network, 3), np.repeat(ids, 3, axis=1))[7:]
    np.testing.assert_allclose(logits[:, [0, 2]], expected[:, [0, 2]], atol=2e-6)
    assert np.abs(logits[:, 1] - expected[:, 1]).max() > 1e-3
    third = make(network, 2)
    third.set_state([1], other.state(2))
    going_on = run(third, np.repeat(ids[:5], 2, axis=1))[:, 1]
    np.testing.assert_allclose(
        going_on, run(other, np.repeat(ids[:5], 3, axis=1))[:, 2], atol=2e-6
    )


def test_the_state_of_any_slot_goes_on_elsewhere(make):
    network, ids = random_network((4, 5)), random_ids(20, 3)
    full, small = make(network, 3), make(network, 2)
    run(full, ids[:7])
    small.set_state([1], full.state(2))
    logits = run(small, ids[7:, 1:])
    expected = run(make(network, 3), ids)[7:]
    np.testing.assert_allclose(logits[:, 1], expected[:, 2], atol=2e-6)


def test_slots_that_are_reordered_go_on_from_what_others_read(make):
    network, ids = random_network((4, 5)), random_ids(9, 3)
    decoder = make(network, 3)
    run(decoder, ids[:7])
    decoder.reorder(np.array([2, 0]))
    logits = run(decoder, ids[7:])
    ids[:7] = ids[:7, [2, 0, 2]]
    expected = run(make(network, 3), ids)[7:]
    np.testing.assert_allclose(logits[:, :2], expected[:, :2], atol=2e-6)


def test_ids_may_be_of_any_integer_kind(make):
    network = random_network((4,))
    expected = run(make(network, 1), [[2], [3]])
    for ids in ([2, 3], np.array([[2], [3]], np.uint8)):
        np.testing.assert_array_equal(run(make(network, 1), ids), expected)
