import numpy as np
import pytest

from textgen.config import WindowConfig
from textgen.inference.decoder import (
    Decoder,
    WindowDecoder,
    make_stepper,
)
from textgen.inference.weights import LSTMWeights, Network

VOCABULARY_SIZE = 7


def random_network(units=(5,), embedding=3, seed=0, one_hot=False) -> Network:
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    table = np.eye(VOCABULARY_SIZE, dtype=np.float32)
    if not one_hot:
        table = normal(VOCABULARY_SIZE, embedding)
    layers, below = [], table.shape[1]
    for u in units:
        layers.append(
            LSTMWeights(normal(below, 4 * u), normal(u, 4 * u), normal(4 * u))
        )
        below = u
    return Network(
        table, tuple(layers), normal(below, VOCABULARY_SIZE), normal(VOCABULARY_SIZE)
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def naive_logits(network: Network, ids) -> np.ndarray:
    """Gate by gate, symbol by symbol, in float64; logits (N, V) after each symbol."""
    outputs = [network.embedding[i].astype(np.float64) for i in ids]
    for layer in network.layers:
        size = layer.units
        h, c = np.zeros(size), np.zeros(size)
        below, outputs = outputs, []
        for x in below:
            z = x @ layer.kernel + h @ layer.recurrent_kernel + layer.bias
            i = sigmoid(z[0 * size : 1 * size])
            f = sigmoid(z[1 * size : 2 * size])
            candidate = np.tanh(z[2 * size : 3 * size])
            o = sigmoid(z[3 * size : 4 * size])
            c = f * c + i * candidate
            h = o * np.tanh(c)
            outputs.append(h)
    return np.array([h @ network.dense_kernel + network.dense_bias for h in outputs])


def run(decoder, columns) -> np.ndarray:
    """Logits (N, B, V) of texts given as (N, B) ids."""
    return np.array([decoder.step(ids).copy() for ids in columns])


@pytest.mark.parametrize("units", [(5,), (4, 6), (6, 3, 5)])
@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("streams", [1, 3])
def test_stepper_agrees_with_the_naive_loop(units, one_hot, streams):
    network = random_network(units, one_hot=one_hot)
    ids = np.random.default_rng(1).integers(0, VOCABULARY_SIZE, (30, streams))
    logits = run(Decoder(network, streams), ids)
    assert logits.dtype == np.float32
    for row in range(streams):
        expected = naive_logits(network, ids[:, row])
        np.testing.assert_allclose(logits[:, row], expected, atol=2e-5)


@pytest.mark.parametrize("window", [1, 2, 5, 9])
@pytest.mark.parametrize("streams", [1, 3])
def test_window_stepper_sees_exactly_the_last_symbols(window, streams):
    network = random_network((4, 5))
    ids = np.random.default_rng(2).integers(0, VOCABULARY_SIZE, (24, streams))
    logits = run(WindowDecoder(network, window, streams), ids)
    for row in range(streams):
        for end in range(1, len(ids) + 1):
            seen = ids[max(0, end - window) : end, row]
            expected = naive_logits(network, seen)[-1]
            np.testing.assert_allclose(logits[end - 1, row], expected, atol=2e-5)


def test_extreme_weights_stay_finite():
    network = random_network((4, 4))
    loud = Network(
        network.embedding * 1e6,
        network.layers,
        network.dense_kernel,
        network.dense_bias,
    )
    with np.errstate(all="raise"):
        logits = run(Decoder(loud), np.zeros((20, 1), np.uint8))
    assert np.isfinite(logits).all()


STEPPERS = {
    "text": lambda network, streams: Decoder(network, streams),
    "window": lambda network, streams: WindowDecoder(network, 4, streams),
}


@pytest.fixture(params=STEPPERS.values(), ids=STEPPERS.keys())
def make(request):
    return request.param


def test_reset_of_some_rows_leaves_the_others_alone(make):
    network = random_network((4, 5))
    ids = np.random.default_rng(3).integers(0, VOCABULARY_SIZE, (20, 3))
    decoder = make(network, 3)
    run(decoder, ids[:7])
    decoder.reset([1])
    logits = run(decoder, ids[7:])
    straight = run(make(network, 3), ids)[7:]
    begun_anew = run(make(network, 3), ids[7:])
    np.testing.assert_array_equal(logits[:, [0, 2]], straight[:, [0, 2]])
    np.testing.assert_array_equal(logits[:, 1], begun_anew[:, 1])


def test_reset_of_all_rows_begins_anew(make):
    network = random_network((4, 5))
    ids = np.random.default_rng(4).integers(0, VOCABULARY_SIZE, (11, 2))
    decoder = make(network, 2)
    first = run(decoder, ids)
    decoder.reset()
    np.testing.assert_array_equal(run(decoder, ids), first)


def test_restore_goes_on_as_if_nothing_had_happened(make):
    network = random_network((4, 5))
    ids = np.random.default_rng(5).integers(0, VOCABULARY_SIZE, (20, 2))
    decoder = make(network, 2)
    run(decoder, ids[:9])
    state = decoder.state
    expected = run(decoder, ids[9:])
    decoder.restore(state)
    np.testing.assert_array_equal(run(decoder, ids[9:]), expected)
    other = make(network, 2)
    other.restore(state)
    np.testing.assert_array_equal(run(other, ids[9:]), expected)


def test_restore_refuses_a_state_of_another_size(make):
    network = random_network((4, 5))
    with pytest.raises(ValueError, match="expected"):
        make(network, 2).restore(make(network, 3).state)


def test_ids_may_be_of_any_integer_kind(make):
    network = random_network((4,))
    expected = run(make(network, 1), [[2], [3]])
    for ids in ([2, 3], np.array([[2], [3]], np.uint8), np.array([2, 3])):
        np.testing.assert_array_equal(run(make(network, 1), ids), expected)


def test_one_int_goes_to_every_stream(make):
    network = random_network((4,))
    logits = make(network, 3).step(2)
    np.testing.assert_array_equal(logits, make(network, 3).step([2, 2, 2]))


def test_make_stepper_follows_the_targets():
    network = random_network()
    assert isinstance(make_stepper(network, WindowConfig(targets="all")), Decoder)
    windowed = make_stepper(network, WindowConfig(40, targets="last"), streams=2)
    assert isinstance(windowed, WindowDecoder)
    assert windowed.streams == 2
    assert windowed.step([1, 1]).shape == (2, VOCABULARY_SIZE)


def test_weights_are_not_changed():
    network = random_network((4, 5))
    before = [w.copy() for w in (network.embedding, network.layers[1].kernel)]
    run(Decoder(network), [[1], [2]])
    np.testing.assert_array_equal(network.embedding, before[0])
    np.testing.assert_array_equal(network.layers[1].kernel, before[1])
