"""The programs that `generation_speed` compares, and random models for them.

A program runs in a worker process: it loads or builds its network and returns facts
about itself and a function that generates characters. All networks of a contest have
the same shape. Random weights generate noise, which takes as long as verse.
"""

from __future__ import annotations

import os
import string
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness.worker import Turn, serve, timed

SYMBOLS = "\n " + string.ascii_letters + string.punctuation[:11]
VOCABULARY_SIZE = len(SYMBOLS)
EMBEDDING = 64
TEMPERATURE = 0.7
COURSE_WINDOW = 40


def save_random_model(path: Path, **model: Any) -> None:
    """Save an untrained network of 65 symbols as textgen saves a trained one.

    Args:
        path: the .h5 file to write.
        **model: fields of `textgen.config.ModelConfig`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from textgen.config import Config
    from textgen.modeling.model import build_model
    from textgen.saving.model_file import save_model

    config = Config().override(**model)
    metadata = {
        "format": 2,
        "level": "character",
        "symbols": list(SYMBOLS),
        "corpus": {"name": path.stem, "kind": "text", "sha256": "0" * 64},
        "config": config.to_dict(),
        "training": {},
    }
    save_model(build_model(config.model, len(SYMBOLS)), metadata, path)


def textgen_program(model: str, batch_size: int) -> tuple[dict, Any]:
    """Generate as generate.py does, one stream or a batch of them."""
    from textgen.system.process import prepare_process

    prepare_process()  # sets the threads before NumPy is imported, as generate.py does

    from textgen.generation.batch import generate_many
    from textgen.generation.halves import threads_for
    from textgen.generation.streaming import stream_output
    from textgen.inference.threads import take_all_cores
    from textgen.saving.model_file import load_model

    trained = load_model(model)
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "all")
    if batch_size == 1:
        threads = str(take_all_cores(trained.network) or threads)
    if (halves := threads_for(batch_size)) > 1:
        threads = f"{halves} × {threads}"

    def one(count: int) -> None:
        options = {"length": count, "temperature": TEMPERATURE, "seed": 0}
        "".join(stream_output(trained, "", **options))

    def many(count: int) -> Turn:
        length = -(-count // batch_size)
        options = {"length": length, "temperature": TEMPERATURE}
        prompts, seeds = [""] * batch_size, range(batch_size)
        together = timed(
            lambda _: generate_many(trained, prompts, seed=seeds, **options)
        )
        return together(length * batch_size)

    return {"threads": threads}, timed(one) if batch_size == 1 else many


def numpy_program(layers: int, units: int, threads: int) -> tuple[dict, Any]:
    """Generate with the fewest lines of NumPy, carrying the state."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads, user_api="blas")
    rng = np.random.default_rng(0)
    random = partial(rng.uniform, -0.1, 0.1)
    embedding = random((VOCABULARY_SIZE, EMBEDDING)).astype(np.float32)
    sizes = [EMBEDDING, *[units] * (layers - 1)]
    kernels = [random((size + units, 4 * units)).astype(np.float32) for size in sizes]
    dense = random((units, VOCABULARY_SIZE)).astype(np.float32)

    def generate(count: int) -> None:
        h, c = np.zeros((2, layers, units), np.float32)
        drawn, text = 0, []
        for _ in range(count):
            x = embedding[drawn]
            for layer, kernel in enumerate(kernels):
                gates = np.concatenate([x, h[layer]]) @ kernel
                i, f, o = 1 / (1 + np.exp(-gates[: 3 * units].reshape(3, units)))
                c[layer] = f * c[layer] + i * np.tanh(gates[3 * units :])
                x = h[layer] = o * np.tanh(c[layer])
            weights = np.exp(x @ dense / TEMPERATURE)
            drawn = rng.choice(VOCABULARY_SIZE, p=weights / weights.sum())
            text.append(SYMBOLS[drawn])

    return {"threads": str(threads)}, timed(generate)


def torch_program(layers: int, units: int, threads: int) -> tuple[dict, Any]:
    """Generate with PyTorch, which carries the state from character to character."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(VOCABULARY_SIZE, EMBEDDING)
    lstm = torch.nn.LSTM(EMBEDDING, units, layers, batch_first=True).eval()
    dense = torch.nn.Linear(units, VOCABULARY_SIZE)

    @torch.no_grad()
    def generate(count: int) -> None:
        drawn, state, text = torch.zeros((1, 1), dtype=torch.long), None, []
        for _ in range(count):
            outputs, state = lstm(embedding(drawn), state)
            logits = dense(outputs[:, -1]) / TEMPERATURE
            drawn = torch.multinomial(torch.softmax(logits, dim=-1), 1)
            text.append(SYMBOLS[drawn.item()])

    return {"threads": str(threads)}, timed(generate)


def course_program(layers: int, units: int, threads: int) -> tuple[dict, Any]:
    """Generate as the course's exercise does: `predict` on a window, each time."""
    import keras
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    model = keras.Sequential([keras.Input((COURSE_WINDOW, VOCABULARY_SIZE))])
    for number in range(1, layers + 1):
        model.add(keras.layers.LSTM(units, return_sequences=number < layers))
    model.add(keras.layers.Dense(VOCABULARY_SIZE, activation="softmax"))
    rng = np.random.default_rng(0)

    def draw(probabilities: np.ndarray) -> int:
        weights = np.exp(np.log(probabilities.astype(np.float64)) / TEMPERATURE)
        return rng.choice(VOCABULARY_SIZE, p=weights / weights.sum())

    def generate(count: int) -> None:
        text = [0] * COURSE_WINDOW
        for _ in range(count):
            window = np.zeros((1, COURSE_WINDOW, VOCABULARY_SIZE), np.float32)
            window[0, np.arange(COURSE_WINDOW), text[-COURSE_WINDOW:]] = 1
            text.append(draw(model.predict(window, verbose=0)[0]))

    return {"threads": str(threads)}, timed(generate)


PROGRAMS = {
    "textgen": textgen_program,
    "numpy": numpy_program,
    "torch": torch_program,
    "course": course_program,
}


if __name__ == "__main__":
    serve(PROGRAMS)
