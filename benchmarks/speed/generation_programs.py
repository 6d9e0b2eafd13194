"""Who generates in `generation_speed`: random models, and a role for each program.

A role loads or builds its network in its worker process, and returns what it has to
say of itself and a function that generates characters. All networks of a contest have
the same shape; what is generated is noise, which takes as long as verse.
"""

from __future__ import annotations

import os
import string
import sys
from pathlib import Path
from typing import Any

from worker import ROOT, Turn, timed

PROSE = "\n " + string.ascii_letters + string.punctuation[:11]
NAMES = "\n" + string.ascii_lowercase
VOCABULARY_SIZE = len(PROSE)
EMBEDDING = 64
TEMPERATURE = 0.7
COURSE_WINDOW = 40


def save_random_model(path: Path, kind: str, **model: Any) -> None:
    """Save an untrained network as textgen saves a trained one.

    Args:
        path: the .h5 file to write.
        kind: ``text``, with 65 symbols, or ``lines``, with the small letters.
        **model: fields of `textgen.config.ModelConfig`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from textgen.config import Config
    from textgen.modeling.model import build_model
    from textgen.saving.model_file import save_model

    symbols = PROSE if kind == "text" else NAMES
    config = Config().override(**model)
    metadata = {
        "format": 1,
        "level": "character",
        "symbols": list(symbols),
        "corpus": {"name": path.stem, "kind": kind, "sha256": "0" * 64},
        "config": config.to_dict(),
        "training": {},
    }
    save_model(build_model(config.model, len(symbols)), metadata, path)


def textgen_role(model: str, streams: int) -> tuple[dict, Any]:
    """Generate as generate.py does, one stream or many together."""
    sys.path.insert(0, str(ROOT))
    from textgen.system.process import prepare_process

    prepare_process()  # sets the threads before NumPy is imported, as generate.py does

    from textgen.generation.batch import generate_many, lanes_for
    from textgen.generation.streaming import stream_output
    from textgen.saving.model_file import load_model

    trained = load_model(model)
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "all")
    if (lanes := lanes_for(streams)) > 1:
        threads = f"{lanes} × {threads}"
    facts = {"threads": threads}

    def one(count: int) -> None:
        options = {"length": count, "temperature": TEMPERATURE, "seed": 0}
        "".join(stream_output(trained, "", **options))

    def many(count: int) -> Turn:
        length = -(-count // streams)
        options = {"length": length, "temperature": TEMPERATURE}
        seeds = range(streams)
        together = timed(
            lambda _: generate_many(trained, [""] * streams, seeds=seeds, **options)
        )
        return together(length * streams)

    return facts, timed(one) if streams == 1 else many


def torch_role(layers: int, units: int, threads: int) -> tuple[dict, Any]:
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
            text.append(PROSE[drawn.item()])

    return {"threads": str(threads)}, timed(generate)


def course_role(layers: int, units: int, threads: int) -> tuple[dict, Any]:
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


ROLES = {"textgen": textgen_role, "torch": torch_role, "course": course_role}
