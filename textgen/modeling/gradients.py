"""Loss and gradients of a batch, computed in one of two ways with one interface.

`ShardedGradients` is the fast path, for processors; `LayerGradients` calls Keras' own
layers, for which a GPU has kernels (cuDNN) that no loop of ours beats.
"""

from __future__ import annotations

import itertools

import keras
import numpy as np
import tensorflow as tf

from textgen.data.batches import WindowBatch
from textgen.modeling.forward import (
    StackWeights,
    cell_of,
    dropout_rates,
    fast_outputs,
    layer_logits,
    read_weights,
    round_kernels,
)
from textgen.modeling.model import recurrent_layers
from textgen.modeling.ops import cross_entropy, dense
from textgen.modeling.sampled_softmax import SampledSoftmax
from textgen.modeling.sequence import State

SEEDS_PER_SHARD = 17  # dropout of the input and of at most 16 layers
CarriedStates = list[tuple[keras.Variable, ...]]  # of each layer (B, U) float32


def carried_states(model: keras.Model, batch_size: int) -> CarriedStates:
    """Make variables that carry the states of B rows from one batch to the next."""
    memories = cell_of(model).memories
    return [
        tuple(
            keras.Variable(
                np.zeros([batch_size, layer.units], np.float32), trainable=False
            )
            for _ in range(1 + memories)
        )
        for layer in recurrent_layers(model)
    ]


class ShardedGradients:
    """Cut a batch into shards that the cores compute side by side.

    The shards' losses and gradients are added in a fixed order, so that the same seed
    repeats a training bit for bit. Sums depend on ``num_shards`` in their last bits.

    The model is many-to-many, of `textgen.modeling.model.build_model`; the precision
    is ``float32`` or ``bfloat16``, the type of the products' operands. With ``carried``
    each batch begins in the states in which the last one ended, and leaves its own.
    What ``folded`` is, is told by `textgen.modeling.forward.read_weights`. With a
    ``softmax`` the loss is estimated from samples.
    """

    def __init__(
        self,
        model: keras.Model,
        precision: str,
        num_shards: int,
        carried: CarriedStates | None = None,
        *,
        folded: bool = True,
        softmax: SampledSoftmax | None = None,
    ) -> None:
        self.num_shards = num_shards
        self._folded = folded
        self._model = model
        self._precision = precision
        self._rates, self._cell = dropout_rates(model), cell_of(model)
        self._carried = carried or []
        self._softmax = softmax
        # A function of its own is traced once for shards of one shape, and TensorFlow
        # runs several of its calls at once.
        self._shard = tf.function(self._shard_gradients, autograph=False)

    def __call__(
        self, batch: WindowBatch, seed: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Compute the weighted sum of cross-entropies in nats, and its gradients.

        They are in the order of the model's trainable variables. The seed, (2,) int32,
        is that of the first shard's dropout; `SEEDS_PER_SHARD` is added to its first
        number for each later one. B and T must be known when traced.
        """
        with tf.GradientTape() as tape:
            read = read_weights(self._model, folded=self._folded)
        rounded = round_kernels(read, self._precision)
        results, ends = [], []
        bounds = np.linspace(0, batch.inputs.shape[0], self.num_shards + 1).astype(int)
        for number, (a, b) in enumerate(itertools.pairwise(bounds)):
            shard = WindowBatch(*(x[a:b] for x in batch))
            shard_seed = seed + tf.constant([number * SEEDS_PER_SHARD, 0])
            states = [tuple(x[a:b] for x in layer) for layer in self._carried]
            sums, end = self._shard(shard, shard_seed, rounded, states)
            results.append(sums)
            ends.append(tf.nest.flatten(end))
        carried = tf.nest.flatten(self._carried)
        for variable, parts in zip(carried, zip(*ends, strict=True), strict=True):
            variable.assign(tf.concat(parts, axis=0))
        loss, *summed = [tf.add_n(same) for same in zip(*results, strict=True)]
        variables = [v.value for v in self._model.trainable_variables]
        read = tf.nest.flatten(read)
        return loss, tape.gradient(read, variables, output_gradients=summed)

    def _shard_gradients(
        self,
        shard: WindowBatch,
        seed: tf.Tensor,
        network: StackWeights,
        states: list[State],
    ) -> tuple[list[tf.Tensor], list[State]]:
        """Compute a shard's loss and its gradient for each array of ``network``.

        The layers' states come with them, if they are carried on.
        """
        arrays = tf.nest.flatten(network)
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            outputs, ends = fast_outputs(
                self._cell, network, shard.inputs, self._rates, seed, states
            )
            last = outputs, network.dense_kernel, network.dense_bias
            if self._softmax is None:
                loss = cross_entropy(dense(*last), *_counted(shard))
            else:
                ids = self._softmax.draw(seed)
                loss = self._softmax.cross_entropy(*last, *_counted(shard), ids)
        # Those of what was drawn come as single rows.
        gradients = map(tf.convert_to_tensor, tape.gradient(loss, arrays))
        sums = [loss, *(tf.cast(g, tf.float32) for g in gradients)]
        return sums, ends if states else []


class LayerGradients:
    """Compute a whole batch by Keras' own layers, in float32."""

    num_shards = 1

    def __init__(
        self, model: keras.Model, carried: CarriedStates | None = None
    ) -> None:
        self._model = model
        self._carried = carried or []

    def __call__(
        self, batch: WindowBatch, seed: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Compute what `ShardedGradients` does."""
        states = [tuple(x.value for x in layer) for layer in self._carried]
        with tf.GradientTape() as tape:
            logits, ends = layer_logits(self._model, batch.inputs, seed, states)
            loss = cross_entropy(logits, *_counted(batch))
        for layer, end in zip(self._carried, ends, strict=False):  # none, or all
            for variable, state in zip(layer, end, strict=True):
                variable.assign(state)
        variables = [v.value for v in self._model.trainable_variables]
        # The embedding's comes as single rows, of which Keras' clipping takes the norm.
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]
        return loss, gradients


def _counted(batch: WindowBatch) -> tuple[tf.Tensor, tf.Tensor]:
    """Return targets (T·B,) and their weights, in the order of logits."""
    return tuple(tf.reshape(tf.transpose(x), [-1]) for x in batch[1:])
