"""Loss and gradients, in both ways, against TensorFlow's of Keras' whole model."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from textgen.data.batches import WindowBatch
from textgen.modeling import forward
from textgen.modeling.gradients import LayerGradients, ShardedGradients

B, T, V = 8, 6, 11
SEED = tf.constant([3, 9])


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    ids = [tf.constant(rng.integers(0, V, (B, T)), tf.int32) for _ in range(2)]
    return WindowBatch(*ids, tf.constant(rng.random((B, T)), tf.float32))


def compiled(gradients):
    return tf.function(gradients.__call__, autograph=False)


@pytest.mark.parametrize(("layers", "embedding"), [(1, 0), (2, 5), (3, 0)])
@pytest.mark.parametrize("shards", [0, 1, 3])  # 0 stands for Keras' own layers
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_they_are_those_of_the_model(
    batch, random_model, cell, shards, layers, embedding
):
    model = random_model(layers, embedding, V, cell=cell)
    ours = (
        ShardedGradients(model, "float32", shards) if shards else LayerGradients(model)
    )
    loss, gradients = compiled(ours)(batch, SEED)
    with tf.GradientTape() as tape:
        picked = tf.gather(model(batch.inputs), batch.targets, batch_dims=2)
        expected_loss = -tf.reduce_sum(tf.math.log(picked) * batch.weights)
    expected = tape.gradient(
        expected_loss, [v.value for v in model.trainable_variables]
    )
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    for one, other in zip(gradients, expected, strict=True):
        # An array too for the embedding, of whose rows Keras would take another norm.
        np.testing.assert_allclose(one.numpy(), tf.convert_to_tensor(other), atol=1e-4)


def test_shards_of_one_shape_are_traced_once(batch, random_model):
    gradients = ShardedGradients(random_model(1, 5, V), "float32", 2)
    for shards, shapes in [(2, 1), (3, 3)]:  # 4 + 4 rows; 2 + 3 + 3, so 2, 3 and the 4
        gradients.num_shards = shards
        compiled(gradients)(batch, SEED)
        assert gradients._shard.experimental_get_tracing_count() == shapes


@pytest.mark.parametrize("shards", [1, 2])
def test_shards_and_layers_draw_masks_of_their_own(
    monkeypatch, batch, random_model, shards
):
    masks, seeds, drop = [], [], forward.drop

    def note(x, rate, seed):
        seeds.append(tuple(seed.numpy()))
        masks.append(drop(tf.ones_like(x), rate, seed))
        return x * masks[-1]

    monkeypatch.setattr(forward, "drop", note)
    model = random_model(2, 5, V, dropout=0.5, input_dropout=0.5)
    gradients = ShardedGradients(model, "float32", shards)
    monkeypatch.setattr(gradients, "_shard", gradients._shard_gradients)  # not compiled
    gradients(batch, SEED)
    assert len(set(seeds)) == len(masks) == 3 * shards  # of the input and two layers
    for one, other in itertools.combinations(masks, 2):  # the input's are broadcast
        assert np.mean(one.numpy() == other.numpy()) < 0.7
