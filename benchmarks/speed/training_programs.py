"""The programs that `training_speed` compares, the sizes of the network, and the data.

A program runs in a worker process: it builds the network and returns facts about itself
and a function that takes training steps. Each imports its own libraries only. The LSTM
and plain layers of PyTorch have two biases where one would do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from benchmarks.harness.worker import Turn, serve, timed

VOCABULARY_SIZE = 65
EMBEDDING = 64
TEXT_SYMBOLS = 500_000
CLIP_NORM = 1.0
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.01
BETA_2 = 0.99
PRECISIONS = ("float32", "bfloat16")
KERAS_LAYERS = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}
TORCH_LAYERS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}  # matrices of a layer
PEAK_SIDE = 4096
SMALLER_PEAK_SIDE = 2048
PEAK_PRODUCT_AT_MOST_S = 2.0


@dataclass(frozen=True)
class Size:
    """A network and its batches; the names are those of `textgen.config`."""

    layers: int
    units: int
    seq_length: int
    batch_size: int
    cell: str = "lstm"

    @property
    def characters(self) -> int:
        """Characters predicted in a step."""
        return self.batch_size * self.seq_length

    @property
    def flop(self) -> int:
        """Operations in a step; `training_speed` has the formula."""
        inputs = [EMBEDDING] + [self.units] * (self.layers - 1)
        wide = 2 * GATES[self.cell] * self.units
        recurrent = sum(wide * (d + self.units) for d in inputs)
        return 3 * self.characters * (recurrent + 2 * self.units * VOCABULARY_SIZE)


SIZES = {
    "a": Size(layers=2, units=128, seq_length=40, batch_size=128),
    "b": Size(layers=2, units=512, seq_length=100, batch_size=128),
    "c": Size(layers=1, units=128, seq_length=64, batch_size=32),
}


def textgen_program(size: dict) -> tuple[dict, Any]:
    """Train as train.py does, at its default precision and threads."""
    from textgen.system.process import prepare_process

    prepare_process()
    import tensorflow as tf

    from textgen.config import Config
    from textgen.modeling.model import build_model
    from textgen.training.loop import Training
    from textgen.training.step import choose_precision, configure_process

    size = Size(**size)
    configure_process()
    config = Config().override(
        layers=size.layers,
        units=size.units,
        cell=size.cell,
        embedding=EMBEDDING,
        batch_size=size.batch_size,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        clip_norm=CLIP_NORM,
        precision=choose_precision("auto"),
    )
    model = build_model(config.model, VOCABULARY_SIZE)
    training = Training(model, make_windows(size), config.training)
    training.calibrate()
    intra_op = tf.config.threading.get_intra_op_parallelism_threads()
    facts = {
        "precision": config.training.precision,
        "threads": f"{training.num_shards} shards × {intra_op}",
        "parameters": model.count_params(),
    }
    return facts, timed(lambda steps: training.run(training.global_step + steps))


def keras_program(size: dict, threads: int) -> tuple[dict, Any]:
    """Train with `keras.Model.fit` as its users do, on arrays in memory."""
    import keras
    import numpy as np
    import tensorflow as tf

    size = Size(**size)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    model = make_keras_model(keras, size)
    inputs, targets, _ = make_windows(size).arrays()

    class Stopwatch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 0:
                self.started = time.perf_counter()

        def on_train_batch_end(self, batch, logs=None):
            self.ended = time.perf_counter()

    def take_turn(steps: int) -> Turn:
        rows = np.arange(steps * size.batch_size) % len(inputs)
        watch = Stopwatch()
        model.fit(
            inputs[rows],
            targets[rows],
            batch_size=size.batch_size,
            verbose=0,
            callbacks=[watch],
        )
        return Turn(steps, watch.ended - watch.started)

    take_turn(1)
    facts = {
        "precision": "float32",
        "threads": str(threads),
        "parameters": model.count_params(),
    }
    return facts, take_turn


def make_keras_model(keras: Any, size: Size) -> Any:
    """Build and compile the network as Keras's users write it."""
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((size.seq_length,)), layers.Embedding(VOCABULARY_SIZE, EMBEDDING)]
    )
    layer = getattr(layers, KERAS_LAYERS[size.cell])
    for _ in range(size.layers):
        model.add(layer(size.units, return_sequences=True))
    model.add(layers.Dense(VOCABULARY_SIZE, activation="softmax"))
    optimizer = keras.optimizers.AdamW(
        LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        beta_2=BETA_2,
        global_clipnorm=CLIP_NORM,
    )
    model.compile(optimizer, loss="sparse_categorical_crossentropy")
    return model


def torch_program(size: dict, threads: int, precision: str) -> tuple[dict, Any]:
    """Train with PyTorch, in float32 or under bfloat16 autocast."""
    import torch

    size = Size(**size)
    torch.set_num_threads(threads)
    inputs, targets, _ = map(torch.from_numpy, make_windows(size).arrays())
    inputs, targets = inputs.long(), targets.long()
    layers = getattr(torch.nn, TORCH_LAYERS[size.cell])
    parts = torch.nn.ModuleList(
        [
            torch.nn.Embedding(VOCABULARY_SIZE, EMBEDDING),
            layers(EMBEDDING, size.units, size.layers, batch_first=True),
            torch.nn.Linear(size.units, VOCABULARY_SIZE),
        ]
    )
    optimizer = torch.optim.AdamW(
        parts.parameters(),
        LEARNING_RATE,
        betas=(0.9, BETA_2),
        weight_decay=WEIGHT_DECAY,
        fused=True,
    )

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        embedding, recurrent, dense = parts
        states, _ = recurrent(embedding(x))
        logits = dense(states).view(-1, VOCABULARY_SIZE)
        return torch.nn.functional.cross_entropy(logits, y.view(-1))

    def train(steps: int) -> None:
        for step in range(steps):
            rows = torch.arange(step * size.batch_size, (step + 1) * size.batch_size)
            rows %= len(inputs)
            with torch.autocast("cpu", torch.bfloat16, precision == "bfloat16"):
                loss = loss_of(inputs[rows], targets[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parts.parameters(), CLIP_NORM)
            optimizer.step()

    facts = {
        "precision": precision,
        "threads": str(threads),
        "parameters": sum(x.numel() for x in parts.parameters()),
    }
    return facts, timed(train)


def peak_program(precision: str) -> tuple[dict, Any]:
    """Multiply large square matrices with TensorFlow and oneDNN, on all cores."""
    from textgen.system.process import prepare_process

    prepare_process()
    import tensorflow as tf

    product = tf.function(tf.matmul)

    def multiply(matrix: tf.Tensor, count: int) -> None:
        for _ in range(count):
            product(matrix, matrix)

    def matrix(side: int) -> tf.Tensor:
        return tf.cast(tf.random.normal((side, side), seed=0), precision)

    small = matrix(PEAK_SIDE // 4)
    multiply(small, 1)  # the first one compiles
    small_s = min(timed(lambda n: multiply(small, n))(1).seconds for _ in range(5))
    fast = small_s * 4**3 < PEAK_PRODUCT_AT_MOST_S
    side = PEAK_SIDE if fast else SMALLER_PEAK_SIDE
    large = matrix(side)
    facts = {"precision": precision, "side": side, "flop": 2 * side**3}
    return facts, timed(lambda n: multiply(large, n))


def make_windows(size: Size) -> Any:
    """Return the windows of a random text, the same for everyone."""
    import numpy as np

    from textgen.config import WindowConfig
    from textgen.data import windows

    ids = np.random.default_rng(0).integers(VOCABULARY_SIZE, size=TEXT_SYMBOLS)
    config = WindowConfig(size.seq_length)
    return windows.make_windows(
        ids.astype(np.uint8), "text", config, size.batch_size, seed=0
    )


PROGRAMS = {
    "textgen": textgen_program,
    "keras": keras_program,
    "torch": torch_program,
    "peak": peak_program,
}

if __name__ == "__main__":
    serve(PROGRAMS)
