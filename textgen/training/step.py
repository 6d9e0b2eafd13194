"""The compiled training step: several optimizer steps in one call, on any strategy.

A batch is cut into parts, one for each core, that run side by side within one
compiled function; their gradients are added in a fixed order, so that the same
seed repeats a training bit for bit. Under a `tf.distribute` strategy each replica
takes its share of the rows first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from textgen.errors import CheckpointError, OptionError
from textgen.modeling.forward import (
    StackWeights,
    dropout_rates,
    fast_logits,
    layer_logits,
    read_weights,
    round_kernels,
)
from textgen.modeling.ops import cross_entropy
from textgen.system.hardware import available_cores, has_bfloat16
from textgen.system.process import keep_freed_memory

DROPOUTS_AT_MOST = 17  # input and 16 layers; spaces the dropout seeds of parts
MIN_PART_ROWS = 4  # below, cutting a batch costs more than the second core gives


def configure_process() -> None:
    """Settle threads and memory of a process that trains.

    Each operation uses one thread, and as many operations run as there are cores:
    parts of a batch then run side by side. TensorFlow takes these settings only
    before its first operation in a process; later they are left as they are.
    """
    keep_freed_memory()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(available_cores())
    except RuntimeError:
        pass


def choose_precision(wanted: str) -> str:
    """Resolve ``auto``: bfloat16 products where the processor has them.

    Args:
        wanted: ``auto``, ``float32`` or ``bfloat16``.

    Returns:
        ``float32`` or ``bfloat16``.

    Raises:
        OptionError: bfloat16 on a GPU, where Keras' own layers run in float32.
    """
    if _on_gpu():
        if wanted == "bfloat16":
            raise OptionError(
                "--precision must be float32 or auto on a GPU, but was bfloat16: a "
                "training that began so goes on without (CUDA_VISIBLE_DEVICES=-1)"
            )
        return "float32"
    if wanted != "auto":
        return wanted
    return "bfloat16" if has_bfloat16() else "float32"


def _on_gpu() -> bool:
    # Those that are visible: asking for logical devices would settle the threads.
    return bool(tf.config.get_visible_devices("GPU"))


class TrainStep:
    """Train a many-to-many network of `textgen.modeling.model` on stacks of batches.

    Attributes:
        parts: into how many a replica's rows are cut.

    Args:
        model: network whose ``optimizer`` is set and built, made in the strategy's
            scope.
        precision: ``float32`` or ``bfloat16``, type of the products' operands.
        seed: determines dropout, together with step, part and layer.
        batch_size: rows B of every batch.
        strategy: a `tf.distribute.Strategy`; None means the current one.
        average: a network of the same form, made in the strategy's scope, whose
            weights follow those of ``model`` as their average.

    Raises:
        OptionError: when the replicas can't share a batch evenly.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        precision: str,
        seed: int,
        batch_size: int,
        strategy: tf.distribute.Strategy | None = None,
        average: keras.Model | None = None,
    ) -> None:
        self.model = model
        self._average = average
        self.strategy = strategy or tf.distribute.get_strategy()
        self.replicas = self.strategy.num_replicas_in_sync
        if batch_size % self.replicas:
            raise OptionError(
                f"--batch-size must be a multiple of the {self.replicas} replicas, "
                f"but was {batch_size} (a small text has smaller batches)"
            )
        self._rows = batch_size // self.replicas
        self._on_gpu = _on_gpu()
        self.parts = 1 if self._on_gpu else self._most_parts(self._rows)
        self._seed_word = int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1)
        # A GPU has kernels for Keras' own LSTM layers that no loop of ours beats.
        self._gradients = (
            self._layer_gradients if self._on_gpu else self._part_gradients
        )
        self._precision = precision
        self._compiled: dict[tuple[int, ...], Callable] = {}
        self._traced_parts: dict[tuple[int, int], Callable] = {}

    def __call__(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        learning_rates: np.ndarray,
        first_step: int,
        averaging_shares: np.ndarray | None = None,
    ) -> np.ndarray:
        """Take K optimizer steps.

        Args:
            inputs: (K, B, T) int32.
            targets: (K, B, T) int32.
            weights: (K, B, T) float32, 0 where a target doesn't count.
            learning_rates: (K,) float32.
            first_step: number of the first of these steps, from 0.
            averaging_shares: (K,) float32, of the weights after each step in the
                average; 0 leaves it as it is. None means 0.

        Returns:
            (K,) float32, mean loss of each batch in nats per counted target.
        """
        form = self.parts, *inputs.shape[1:]
        if form not in self._compiled:
            self._compiled[form] = self._compile(*form[1:])
        if averaging_shares is None:
            averaging_shares = np.zeros_like(learning_rates)
        rates, shares = (
            x.astype(np.float32) for x in (learning_rates, averaging_shares)
        )
        return self._compiled[form](
            inputs, targets, weights, rates, shares, first_step
        ).numpy()

    def cut_as_before(self, parts: int) -> None:
        """Cut batches as another process did, so that sums are the same to the bit.

        Not on a GPU, where they are never cut.

        Args:
            parts: of the other process.

        Raises:
            CheckpointError: when several replicas' rows can't be cut so.
        """
        if self._on_gpu:
            return
        if self.replicas > 1 and self._rows % parts:
            raise CheckpointError(
                f"this training cut its batches into {parts} parts, which the "
                f"{self._rows} rows of each of {self.replicas} replicas can't be: go "
                "on with it on one device, or train anew"
            )
        self.parts = parts

    def _most_parts(self, rows: int) -> int:
        """Return how many parts a replica's rows are cut into, one for each core.

        Replicas run the same code, so that with several of them parts must be equal.
        """
        most = max(1, min(available_cores(), rows // MIN_PART_ROWS))
        if self.replicas == 1:
            return most
        return max(parts for parts in range(1, most + 1) if rows % parts == 0)

    def _compile(self, rows: int, length: int) -> Callable:
        """Make the compiled function for any K of one shape (B, T)."""
        ids = tf.TensorSpec([None, rows, length], tf.int32)
        weights = tf.TensorSpec([None, rows, length], tf.float32)
        rates, step = tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int32)
        signature = [ids, ids, weights, rates, rates, step]
        return tf.function(self._run_steps, input_signature=signature)

    def _run_steps(self, inputs, targets, weights, learning_rates, shares, first_step):
        steps = tf.shape(inputs)[0]
        losses = tf.TensorArray(tf.float32, steps)
        for k in tf.range(steps):
            replica_losses = self.strategy.run(
                self._replica_step,
                (inputs[k], targets[k], weights[k], learning_rates[k], first_step + k),
            )
            loss = self.strategy.reduce("SUM", replica_losses, axis=None)
            losses = losses.write(k, loss)
            if self._average is not None and shares[k] > 0:
                self._move_average(shares[k])
        return losses.stack()

    @tf.autograph.experimental.do_not_convert
    def _move_average(self, share):
        """Take the average a share of the way to the weights."""
        pairs = zip(self._average.weights, self.model.weights, strict=True)
        for average, weight in pairs:
            self.strategy.extended.update(
                average.value,
                lambda own, new: own.assign_add(share * (new - own)),
                args=(weight.value,),
            )

    @tf.autograph.experimental.do_not_convert
    def _replica_step(self, inputs, targets, weights, learning_rate, step):
        """Compute this replica's gradients and apply them."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        weights = weights / tf.maximum(tf.reduce_sum(weights), 1.0)
        shares = [self._rows_of(x, replica) for x in (inputs, targets, weights)]
        seeds = [
            tf.stack([self._seed_word + number * DROPOUTS_AT_MOST, step])
            for number in (replica * self.parts + part for part in range(self.parts))
        ]
        loss, gradients = self._gradients(list(zip(*shares, seeds, strict=True)))
        optimizer = self.model.optimizer
        optimizer.learning_rate.assign(learning_rate)
        optimizer.apply(gradients, self.model.trainable_variables)
        return loss

    def _rows_of(self, x: tf.Tensor, replica: tf.Tensor) -> list[tf.Tensor]:
        """Cut a replica's rows of the batch into parts of (nearly) equal size."""
        if self.replicas == 1:
            bounds = np.linspace(0, x.shape[0], self.parts + 1).astype(int)
            return [x[a:b] for a, b in itertools.pairwise(bounds)]
        size = x.shape[0] // (self.replicas * self.parts)
        first = replica * self.parts * size
        return [x[first + p * size :][:size] for p in range(self.parts)]

    def _layer_gradients(self, parts: list[tuple]) -> tuple[tf.Tensor, list]:
        """Compute loss and gradients of the only part by Keras' layers."""
        [(inputs, targets, weights, seed)] = parts
        with tf.GradientTape() as tape:
            logits = layer_logits(self.model, inputs, seed)
            targets, weights = _time_major(targets), _time_major(weights)
            loss = cross_entropy(logits, targets, weights)
        variables = [v.value for v in self.model.trainable_variables]
        # The embedding's comes as single rows, of which Keras' clipping takes the norm.
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]
        return loss, gradients

    def _part_gradients(self, parts: list[tuple]) -> tuple[tf.Tensor, list]:
        """Compute the parts side by side; add losses and gradients in a fixed order."""
        with tf.GradientTape() as tape:
            read = read_weights(self.model)
        rounded = round_kernels(read, self._precision)
        results = [self._run_part(rounded, *part) for part in parts]
        loss, *summed = [tf.add_n(same) for same in zip(*results, strict=True)]
        variables = [v.value for v in self.model.trainable_variables]
        read = tf.nest.flatten(read)
        return loss, tape.gradient(read, variables, output_gradients=summed)

    def _run_part(self, weights: StackWeights, *part: tf.Tensor) -> list[tf.Tensor]:
        """Compute a part's loss and its gradients for each array of ``weights``.

        Parts of one shape are traced once.
        """
        arguments = [*part, *tf.nest.flatten(weights)]
        shape = tuple(part[0].shape)
        if shape not in self._traced_parts:
            signature = [tf.TensorSpec(x.shape, x.dtype) for x in arguments]
            function = self._part_function(weights)
            self._traced_parts[shape] = function.get_concrete_function(*signature)
        return self._traced_parts[shape](*arguments)

    def _part_function(self, structure: StackWeights) -> Callable:
        """Make the function of a part: all that it reads are its arguments."""
        rates = dropout_rates(self.model)

        def compute(inputs, targets, counted, seed, *arrays):
            with tf.GradientTape() as tape:
                tape.watch(arrays)
                weights = tf.nest.pack_sequence_as(structure, arrays)
                logits = fast_logits(weights, inputs, rates, seed)
                targets, counted = _time_major(targets), _time_major(counted)
                loss = cross_entropy(logits, targets, counted)
            gradients = tape.gradient(loss, arrays)
            return [loss, *(tf.cast(g, tf.float32) for g in gradients)]

        return tf.function(compute, autograph=False)


def _time_major(x: tf.Tensor) -> tf.Tensor:
    """Flatten (B, T) to (T·B,), the order of the logits."""
    return tf.reshape(tf.transpose(x), [-1])
