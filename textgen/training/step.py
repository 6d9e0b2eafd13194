"""The compiled training step: several optimizer steps in one call, on any strategy.

Under a `tf.distribute` strategy each replica computes its own rows of the batch. Their
losses and gradients are added up; then each clips and applies the same sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from textgen.config import TrainingConfig
from textgen.data.batches import WindowBatch
from textgen.errors import OptionError
from textgen.modeling.gradients import (
    SEEDS_PER_SHARD,
    LayerGradients,
    ShardedGradients,
    carried_states,
)
from textgen.modeling.optimizer import make_optimizer
from textgen.modeling.sampled_softmax import SampledSoftmax
from textgen.system.hardware import available_cores, has_bfloat16
from textgen.system.process import keep_freed_memory

MIN_SHARD_ROWS = 4  # with fewer, a shard costs more than another core gives


def configure_process(cores: int | None = None) -> None:
    """Settle threads and memory of a process that trains.

    Each operation uses one thread, and as many operations run as there are cores:
    the shards of a batch then run side by side. TensorFlow takes these settings only
    before its first operation in a process; later they are left as they are. None
    means all the cores that the process may use.
    """
    keep_freed_memory()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        threads = cores or available_cores()
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        pass


def choose_precision(wanted: str) -> str:
    """Resolve ``auto``: bfloat16 products where the processor has them.

    On a GPU, where Keras' own layers run in float32, bfloat16 is an `OptionError`.
    """
    if _on_gpu():
        if wanted == "bfloat16":
            raise OptionError(
                "`precision` must be float32 or auto on a GPU, but was bfloat16",
                "a training that began so goes on without (CUDA_VISIBLE_DEVICES=-1)",
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

    The network was made in the strategy's scope. The ``optimizer`` of it and of its
    average is set here, where Keras callbacks look for it. The configuration names the
    precision, ``auto`` no longer. Dropout depends on the seed, the step, the shard and
    the layer. Of several processes that train together, ``process`` is the number of
    this one, and it has ``cores``; None means all that it may use. If it is
    ``stateful``, the layers begin each batch in the states in which they ended the one
    before, row by row. What ``folded`` and ``softmax`` are, is told by
    `textgen.modeling.gradients.ShardedGradients`.

    Attributes:
        rows: of each batch, that this process is to be given; None means all.
        result: the network to measure and save, and that of callbacks: the one in
            training, or one whose weights are its running averages.

    Raises:
        OptionError: if the replicas can't share the rows of a batch evenly, or there
            are several of a stateful training.
    """

    def __init__(
        self,
        model: keras.Model,
        config: TrainingConfig,
        batch_size: int,
        strategy: tf.distribute.Strategy | None = None,
        *,
        process: int = 0,
        cores: int | None = None,
        stateful: bool = False,
        folded: bool = True,
        softmax: SampledSoftmax | None = None,
    ) -> None:
        self._model = self.result = model
        self._strategy = strategy or tf.distribute.get_strategy()
        self.replicas = self._strategy.num_replicas_in_sync
        with self._strategy.scope():
            model.optimizer = make_optimizer(config, model.trainable_variables)
            if config.schedule == "averaged":
                self.result = keras.models.clone_model(model)
                self.result.set_weights(model.get_weights())
                self.result.optimizer = model.optimizer
        if batch_size % self.replicas:
            raise OptionError(
                f"`batch_size` must be a multiple of the {self.replicas} replicas, "
                f"but was {batch_size} (a small text has smaller batches)"
            )
        self._rows = batch_size // self.replicas
        # Replicas are numbered through all processes.
        self._first_replica, self.rows = 0, None
        here = self.replicas
        if self.replicas > 1:
            here = len(self._strategy.extended.worker_devices)
        if here < self.replicas:
            self._first_replica = process * here
            first = self._first_replica * self._rows
            self.rows = slice(first, first + here * self._rows)
        if stateful and self.replicas > 1:
            raise OptionError(
                "`stateful` is for one device, but this training is on "
                f"{self.replicas} replicas",
                "leave it out",
            )
        self._carried = carried_states(model, batch_size) if stateful else []
        self._gradients: ShardedGradients | LayerGradients
        if _on_gpu():
            self._gradients = LayerGradients(model, self._carried)
        else:
            shards = _usual_shards(self._rows, self.replicas, cores)
            self._gradients = ShardedGradients(
                model,
                config.precision,
                shards,
                self._carried,
                folded=folded,
                softmax=softmax,
            )
        (word,) = np.random.SeedSequence(config.seed).generate_state(1)
        self._seed_word = int(word >> 1)
        self._compiled: dict[tuple[int, ...], Callable] = {}

    @property
    def variables(self) -> list[keras.Variable]:
        """All that a step changes: of the network, its optimizer and its average.

        After these come the states that are carried on, if there are any.
        """
        averages = self.result.weights if self.result is not self._model else []
        states = [variable for layer in self._carried for variable in layer]
        optimizer = self._model.optimizer.variables
        return [*self._model.weights, *optimizer, *averages, *states]

    @property
    def learning_rate(self) -> float:
        """That of the last step, unless a callback has set another."""
        return float(keras.ops.convert_to_numpy(self._model.optimizer.learning_rate))

    @property
    def num_shards(self) -> int:
        """Shards that a batch is cut into, by all replicas; see `ShardedGradients`."""
        return self.replicas * self._gradients.num_shards

    @num_shards.setter
    def num_shards(self, count: int) -> None:
        """Cut batches as another process did, if these replicas can share the shards.

        They are then drawn the same dropout. On a GPU a replica's rows are never cut.
        """
        each, left = divmod(count, self.replicas)
        fits = self.replicas == 1 or (not left and each and self._rows % each == 0)
        if isinstance(self._gradients, ShardedGradients) and fits:
            self._gradients.num_shards = each

    def begin_epoch(self) -> None:
        """Let the layers begin from zero state, where states are carried on."""
        for layer in self._carried:
            for variable in layer:
                variable.assign(np.zeros(variable.shape))

    def __call__(
        self,
        stacks: Iterable[WindowBatch],
        learning_rates: np.ndarray,
        first_step: int,
        averaging_factors: np.ndarray | None = None,
    ) -> np.ndarray:
        """Take K optimizer steps, one a batch: rates (K,) → losses (K,) float32.

        The batches are of `Windows.stacked_batches`, with ``rows``. Those of a stack,
        (k, B, T), are taken in one compiled call; T may be another in each. The losses
        are nats per counted target, means of each batch. The first step is number 0.
        After each step the average moves by a factor (K,) of its distance to the
        weights; None means 0.
        """
        rates = learning_rates.astype(np.float32)
        factors = np.zeros_like(rates)
        if averaging_factors is not None:
            factors = averaging_factors.astype(np.float32)
        losses: list[np.float32] = []
        for batches in stacks:
            form = self.num_shards, *batches.inputs.shape[1:]
            if form not in self._compiled:
                self._compiled[form] = self._compile(*form[1:])
            done = len(losses)
            these = slice(done, done + len(batches.inputs))
            step = first_step + done
            results = self._compiled[form](batches, rates[these], factors[these], step)
            losses.extend(results.numpy())
        return np.array(losses)

    def _compile(self, rows: int, length: int) -> Callable:
        """Return `_run_steps` as a TensorFlow function of any number of batches."""
        shape, each = [None, rows, length], tf.TensorSpec([None], tf.float32)
        ids, weights = tf.TensorSpec(shape, tf.int32), tf.TensorSpec(shape, tf.float32)
        batches, first = WindowBatch(ids, ids, weights), tf.TensorSpec([], tf.int32)
        signature = [batches, each, each, first]
        return tf.function(self._run_steps, input_signature=signature)

    def _run_steps(
        self,
        batches: WindowBatch,
        learning_rates: tf.Tensor,
        factors: tf.Tensor,
        first_step: tf.Tensor,
    ) -> tf.Tensor:
        steps = tf.shape(learning_rates)[0]
        losses = tf.TensorArray(tf.float32, steps)
        for k in tf.range(steps):
            inputs, targets, weights = batches
            batch = WindowBatch(inputs[k], targets[k], weights[k])
            replica_losses = self._strategy.run(
                self._replica_step, (batch, learning_rates[k], first_step + k)
            )
            loss, *_ = self._strategy.experimental_local_results(replica_losses)
            losses = losses.write(k, loss)
            if self.result is not self._model and factors[k] > 0:
                self._move_average(factors[k])
        return losses.stack()

    @tf.autograph.experimental.do_not_convert
    def _replica_step(
        self, batch: WindowBatch, learning_rate: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        """Compute the gradients of this replica's rows and apply those of all."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        if self.rows is None:  # otherwise the whole batch's weights are not here
            counted = tf.maximum(tf.reduce_sum(batch.weights), 1.0)
            batch = batch._replace(weights=batch.weights / counted)
        if self.replicas > 1:
            first = (replica - self._first_replica) * self._rows
            batch = WindowBatch(*(x[first:][: self._rows] for x in batch))
        first_shard = replica * self._gradients.num_shards
        seed = tf.stack([self._seed_word + first_shard * SEEDS_PER_SHARD, step])
        loss, gradients = self._gradients(batch, seed)
        if self.replicas > 1:
            # Callbacks may have changed the rate where the first replica is.
            rate = tf.where(replica == 0, learning_rate, 0.0)
            loss, learning_rate, *gradients = _summed([loss, rate, *gradients])
        optimizer = self._model.optimizer
        optimizer.learning_rate.assign(learning_rate)
        optimizer.apply(gradients, self._model.trainable_variables)
        return loss

    @tf.autograph.experimental.do_not_convert
    def _move_average(self, factor: tf.Tensor) -> None:
        """Move the average towards the weights, by a part of the distance."""
        pairs = zip(self.result.weights, self._model.weights, strict=True)
        for mean, weight in pairs:
            self._strategy.extended.update(
                mean.value,
                lambda own, new: own.assign_add(factor * (new - own)),
                args=(weight.value,),
            )


def _summed(arrays: list[tf.Tensor]) -> list[tf.Tensor]:
    """Add float32 arrays up over all replicas, in one message."""
    flat = tf.concat([tf.reshape(x, [-1]) for x in arrays], axis=0)
    flat = tf.distribute.get_replica_context().all_reduce("SUM", flat)
    parts = tf.split(flat, [x.shape.num_elements() for x in arrays])
    return [tf.reshape(part, x.shape) for part, x in zip(parts, arrays, strict=True)]


def _usual_shards(rows: int, replicas: int, cores: int | None) -> int:
    """Return how many shards a replica's rows are cut into, one for each core.

    Several replicas take equal ones, so that there is a single shape to compile.
    """
    most = max(1, min(cores or available_cores(), rows // MIN_SHARD_ROWS))
    if replicas == 1:
        return most
    return max(shards for shards in range(1, most + 1) if rows % shards == 0)
