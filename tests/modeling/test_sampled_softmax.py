"""The estimated cross-entropy against the exact one, and the sample against chance."""

import numpy as np
import pytest
import tensorflow as tf

from textgen.data.batches import WindowBatch
from textgen.modeling.gradients import ShardedGradients
from textgen.modeling.ops import cross_entropy, dense
from textgen.modeling.sampled_softmax import SampledSoftmax, chances_of

N, U, V, SIZE = 40, 6, 60, 20
COUNTS = np.append(1000 // np.arange(1, V), 0)


def seeds(number):
    return (tf.constant([seed, 7]) for seed in range(number))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    arrays = rng.normal(0, 1, (N, U)), rng.normal(0, 0.5, (U, V)), rng.normal(0, 1, V)
    targets = tf.constant(rng.integers(0, V, N), tf.int32)
    weights = tf.constant(rng.random(N), tf.float32)
    return [tf.constant(array, tf.float32) for array in arrays], targets, weights


def loss_and_gradients(function, arrays, *rest):
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        loss = function(*arrays, *rest)
    gradients = tape.gradient(loss, arrays)
    return loss.numpy(), [tf.convert_to_tensor(x).numpy() for x in gradients]


def exact(outputs, kernel, bias, targets, weights):
    return cross_entropy(dense(outputs, kernel, bias), targets, weights)


@pytest.mark.parametrize("size", [1, SIZE, V])
def test_chances_are_in_proportion_to_counts_and_at_most_1(size):
    chances = chances_of(COUNTS + 1.0, size)
    assert chances.sum() == pytest.approx(size)
    assert chances.min() > 0
    assert chances.max() <= 1
    uncertain = chances < 1
    shares = chances[uncertain] / (COUNTS[uncertain] + 1)
    np.testing.assert_allclose(shares, shares[:1].repeat(len(shares)))
    assert COUNTS[~uncertain].min(initial=2000) >= COUNTS[uncertain].max(initial=0)


def test_a_sample_has_different_symbols_as_often_as_it_should():
    softmax, number = SampledSoftmax(COUNTS, SIZE), 2000
    chances, drawn = chances_of(COUNTS + 1.0, SIZE), np.zeros(V)
    for seed in seeds(number):
        ids = softmax.draw(seed).numpy()
        assert len(set(ids)) == SIZE
        np.testing.assert_array_equal(ids, softmax.draw(seed))
        drawn[ids] += 1
    error = np.sqrt(chances * (1 - chances) / number)
    assert (np.abs(drawn / number - chances) <= 5 * error + 1e-9).all()
    assert (drawn[chances == 1] == number).all()
    assert (drawn[chances < 0.9] < number).all()


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_a_sample_of_all_symbols_gives_the_exact_loss_and_gradients(data, dtype):
    (outputs, *others), *rest = data
    arrays = [tf.cast(outputs, dtype), *others]
    softmax = SampledSoftmax(COUNTS, V)
    ids = softmax.draw(tf.constant([1, 2]))
    loss, gradients = loss_and_gradients(softmax.cross_entropy, arrays, *rest, ids)
    expected, exact_gradients = loss_and_gradients(exact, arrays, *rest)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    most = 1e-5 if dtype == tf.float32 else 0.01  # operands rounded by 2⁻⁹ each
    for ours, theirs in zip(gradients, exact_gradients, strict=True):
        error = np.abs(ours.astype(np.float32) - theirs.astype(np.float32)).max()
        assert error < most * np.abs(theirs).max()


def test_the_sum_over_all_symbols_is_right_on_average(data):
    """It is the exponential of one target's loss, times something that is exact."""
    (outputs, *others), targets, _ = data
    arrays, target, one = [outputs[:1], *others], targets[:1], tf.ones([1])
    softmax = SampledSoftmax(COUNTS, SIZE)
    sums = [
        np.exp(softmax.cross_entropy(*arrays, target, one, softmax.draw(seed)))
        for seed in seeds(1000)
    ]
    expected = np.exp(exact(*arrays, target, one))
    error = np.std(sums) / np.sqrt(len(sums))
    assert 0 < error < 0.02 * expected
    assert abs(np.mean(sums) - expected) < 5 * error


def test_loss_and_gradients_are_those_of_the_formula(data):
    arrays, *rest = data
    softmax = SampledSoftmax(COUNTS, SIZE)
    ids = softmax.draw(tf.constant([1, 2]))
    chances = tf.constant(chances_of(COUNTS + 1.0, SIZE), tf.float32)

    def naive(outputs, kernel, bias, targets, weights):
        powers, total = tf.exp(outputs @ kernel + bias), 0.0
        for row, target in enumerate(targets.numpy()):
            others = [i for i in ids.numpy() if i != target]
            drawn = tf.gather(powers[row], others) / tf.gather(chances, others)
            own = powers[row, target]
            total -= weights[row] * tf.math.log(own / (own + tf.reduce_sum(drawn)))
        return total

    loss, gradients = loss_and_gradients(softmax.cross_entropy, arrays, *rest, ids)
    expected, by_tensorflow = loss_and_gradients(naive, arrays, *rest)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    for ours, theirs in zip(gradients, by_tensorflow, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_sample_shares_no_random_numbers_with_dropout():
    """Which draws its own by the same seed."""
    softmax, ends = SampledSoftmax(COUNTS, 1), np.cumsum(chances_of(COUNTS + 1.0, 1))
    uniform = [tf.random.stateless_uniform([], seed).numpy() for seed in seeds(30)]
    alike = np.searchsorted(ends, uniform, side="right")
    assert sum(alike == [softmax.draw(seed).numpy()[0] for seed in seeds(30)]) < 20


@pytest.mark.parametrize("shards", [1, 2])
def test_shards_draw_samples_of_their_own(random_model, monkeypatch, shards):
    rng = np.random.default_rng(0)
    ids = [tf.constant(rng.integers(0, V, (4, 6)), tf.int32) for _ in range(2)]
    batch, seed = WindowBatch(*ids, tf.ones([4, 6])), tf.constant([3, 9])
    model, softmax = random_model(1, 5, V), SampledSoftmax(COUNTS, SIZE)
    samples, draw = [], softmax.draw

    def note(seed):
        samples.append(draw(seed).numpy())
        return samples[-1]

    monkeypatch.setattr(softmax, "draw", note)
    ours = ShardedGradients(model, "float32", shards, softmax=softmax)
    monkeypatch.setattr(ours, "_shard", ours._shard_gradients)  # not compiled
    loss, gradients = ours(batch, seed)
    assert len({tuple(sample) for sample in samples}) == shards
    expected, exact_gradients = ShardedGradients(model, "float32", shards)(batch, seed)
    assert 0 < abs(loss - expected) < 0.2 * expected
    for one, other in zip(gradients, exact_gradients, strict=True):
        assert one.shape == other.shape
