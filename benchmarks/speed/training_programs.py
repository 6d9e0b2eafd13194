"""Who trains in `training_speed`, and what: sizes, data, and a role for each program.

A role builds the network in its worker process, and returns what it has to say of
itself and a function that takes training steps. Libraries are imported there, each
by its own role only. (PyTorch's LSTM layers have two biases where one would do.)
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from worker import Turn, timed

VOCABULARY_SIZE = 65
EMBEDDING = 64
TEXT_SYMBOLS = 500_000
CLIP_NORM = 1.0
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.01
BETA_2 = 0.99
PRECISIONS = ("float32", "bfloat16")
PEAK_SIDE = 4096
SMALLER_PEAK_SIDE = 2048
PEAK_PRODUCT_AT_MOST_S = 2.0


@dataclass(frozen=True)
class Size:
    """A network and the form of its batches; see `textgen.config` for the names."""

    layers: int
    units: int
    window: int
    batch: int
    targets: str = "all"
    stride: int | None = None

    @property
    def predictions(self) -> int:
        """Characters predicted in a step."""
        return self.batch * (self.window if self.targets == "all" else 1)


SIZES = {
    "a": Size(layers=2, units=128, window=40, batch=128),
    "b": Size(layers=2, units=512, window=100, batch=128),
    "c": Size(layers=1, units=128, window=64, batch=32),
    "d": Size(layers=2, units=128, window=40, batch=128, targets="last", stride=3),
}


def flop_per_step(size: Size) -> int:
    """Count a training step's operations; `training_speed` has the formula."""
    inputs = [EMBEDDING] + [size.units] * (size.layers - 1)
    recurrent = sum(8 * size.units * (d + size.units) for d in inputs)
    output = 2 * size.units * VOCABULARY_SIZE
    return 3 * (size.batch * size.window * recurrent + size.predictions * output)


def textgen_role(size: dict) -> tuple[dict, Any]:
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
        embedding=EMBEDDING,
        batch_size=size.batch,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        clip_norm=CLIP_NORM,
        precision=choose_precision("auto"),
    )
    model = build_model(config.model, VOCABULARY_SIZE)
    precision = config.training.precision
    training = Training(model, make_windows(size), config.training, precision=precision)
    training.calibrate()
    intra_op = tf.config.threading.get_intra_op_parallelism_threads()
    facts = {
        "precision": precision,
        "threads": f"{training.parts} parts × {intra_op}",
        "parameters": model.count_params(),
    }
    return facts, timed(lambda steps: training.run(training.step + steps))


def keras_role(size: dict, threads: int) -> tuple[dict, Any]:
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
        rows = np.arange(steps * size.batch) % len(inputs)
        watch = Stopwatch()
        model.fit(
            inputs[rows],
            targets[rows],
            batch_size=size.batch,
            verbose=0,
            callbacks=[watch],
        )
        return Turn(steps, watch.ended - watch.started)

    take_turn(1)
    facts = {
        "precision": "float32",
        "threads": str(threads),
        "parameters": model.count_params(),
        "jit_compile": model.jit_compile,
    }
    return facts, take_turn


def make_keras_model(keras: Any, size: Size) -> Any:
    """Build and compile the network as Keras's users write it."""
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((size.window,)), layers.Embedding(VOCABULARY_SIZE, EMBEDDING)]
    )
    for number in range(1, size.layers + 1):
        sequences = size.targets == "all" or number < size.layers
        model.add(layers.LSTM(size.units, return_sequences=sequences))
    model.add(layers.Dense(VOCABULARY_SIZE, activation="softmax"))
    optimizer = keras.optimizers.AdamW(
        LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        beta_2=BETA_2,
        global_clipnorm=CLIP_NORM,
    )
    model.compile(optimizer, loss="sparse_categorical_crossentropy")
    return model


def torch_role(size: dict, threads: int, precision: str) -> tuple[dict, Any]:
    """Train with PyTorch, in float32 or under bfloat16 autocast."""
    import torch

    size = Size(**size)
    torch.set_num_threads(threads)
    inputs, targets, _ = map(torch.from_numpy, make_windows(size).arrays())
    inputs, targets = inputs.long(), targets.long()
    parts = torch.nn.ModuleList(
        [
            torch.nn.Embedding(VOCABULARY_SIZE, EMBEDDING),
            torch.nn.LSTM(EMBEDDING, size.units, size.layers, batch_first=True),
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
        embedding, lstm, dense = parts
        states, _ = lstm(embedding(x))
        if size.targets == "last":
            states = states[:, -1]
        logits = dense(states).view(-1, VOCABULARY_SIZE)
        return torch.nn.functional.cross_entropy(logits, y.view(-1))

    def train(steps: int) -> None:
        for step in range(steps):
            rows = torch.arange(step * size.batch, (step + 1) * size.batch)
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


def peak_role(precision: str) -> tuple[dict, Any]:
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
    config = WindowConfig(size.window, size.stride, size.targets)
    return windows.make_windows(
        ids.astype(np.uint8), "text", config, size.batch, seed=0
    )


ROLES = {
    "textgen": textgen_role,
    "keras": keras_role,
    "torch": torch_role,
    "peak": peak_role,
}
