"""Loss and gradients of a batch, computed in one of two ways with one interface.

`ShardedGradients` is the fast path, for processors; `LayerGradients` calls Keras' own
layers, for which a GPU has kernels (cuDNN) that no loop of ours beats.
"""

from __future__ import annotations

import itertools

import keras
import numpy as np
import tensorflow as tf

from textgen.modeling.forward import (
    StackWeights,
    dropout_rates,
    fast_logits,
    layer_logits,
    read_weights,
    round_kernels,
)
from textgen.modeling.ops import cross_entropy

SEEDS_PER_SHARD = 17  # dropout of the input and of at most 16 layers


class ShardedGradients:
    """Cut a batch into shards that the cores compute side by side.

    The shards' losses and gradients are added in a fixed order, so that the same seed
    repeats a training bit for bit.

    Attributes:
        num_shards: into how many shards a batch is cut. Sums depend on it in their
            last bits.

    Args:
        model: a many-to-many network of `textgen.modeling.model.build_model`.
        precision: ``float32`` or ``bfloat16``, type of the products' operands.
        num_shards: as above.
    """

    def __init__(self, model: keras.Model, precision: str, num_shards: int) -> None:
        self.num_shards = num_shards
        self._model = model
        self._precision = precision
        self._rates = dropout_rates(model)
        # A function of its own is traced once for shards of one shape, and TensorFlow
        # runs several of its calls at once.
        self._shard = tf.function(self._shard_gradients, autograph=False)

    def __call__(
        self,
        inputs: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor,
        seed: tf.Tensor,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Compute the weighted sum of cross-entropies and its gradients.

        Args:
            inputs: (B, T) int32 ids.
            targets: (B, T) int32 ids.
            weights: (B, T) float32, of each target's cross-entropy in the sum.
            seed: (2,) int32, of the first shard's dropout; `SEEDS_PER_SHARD` is added
                to its first number for each later one.

        Returns:
            The sum in nats, scalar float32, and the gradients in the order of the
            model's trainable variables.
        """
        with tf.GradientTape() as tape:
            read = read_weights(self._model)
        rounded = round_kernels(read, self._precision)
        results = []
        bounds = np.linspace(0, inputs.shape[0], self.num_shards + 1).astype(int)
        for number, (a, b) in enumerate(itertools.pairwise(bounds)):
            shard = inputs[a:b], targets[a:b], weights[a:b]
            shard_seed = seed + tf.constant([number * SEEDS_PER_SHARD, 0])
            results.append(self._shard(*shard, shard_seed, rounded))
        loss, *summed = [tf.add_n(same) for same in zip(*results, strict=True)]
        variables = [v.value for v in self._model.trainable_variables]
        read = tf.nest.flatten(read)
        return loss, tape.gradient(read, variables, output_gradients=summed)

    def _shard_gradients(
        self,
        inputs: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor,
        seed: tf.Tensor,
        network: StackWeights,
    ) -> list[tf.Tensor]:
        """Compute a shard's loss and its gradient for each array of ``network``."""
        arrays = tf.nest.flatten(network)
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            logits = fast_logits(network, inputs, self._rates, seed)
            loss = _loss(logits, targets, weights)
        gradients = tape.gradient(loss, arrays)
        return [loss, *(tf.cast(g, tf.float32) for g in gradients)]


class LayerGradients:
    """Compute a whole batch by Keras' own layers, in float32.

    Args:
        model: a many-to-many network of `textgen.modeling.model.build_model`.
    """

    num_shards = 1

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    def __call__(
        self,
        inputs: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor,
        seed: tf.Tensor,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Compute what `ShardedGradients` does."""
        with tf.GradientTape() as tape:
            logits = layer_logits(self._model, inputs, seed)
            loss = _loss(logits, targets, weights)
        variables = [v.value for v in self._model.trainable_variables]
        # The embedding's comes as single rows, of which Keras' clipping takes the norm.
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]
        return loss, gradients


def _loss(logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Sum cross-entropies of (T·B, V) logits over (B, T) targets."""
    targets, weights = (tf.reshape(tf.transpose(x), [-1]) for x in (targets, weights))
    return cross_entropy(logits, targets, weights)
