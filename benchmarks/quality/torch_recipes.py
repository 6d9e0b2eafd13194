"""PyTorch's LSTM, trained by the recipes of char-rnn and torch-rnn.

    python -m benchmarks.quality.torch_recipes char-rnn TEXT SECONDS SEED

trains by a recipe on a text's first nine tenths, measures the last tenth as one stream,
and prints the outcome as JSON. The whole process takes so many seconds. The recipes are
the published defaults of their programs, in a plain loop around `torch.nn.LSTM`:

  char-rnn   github.com/karpathy/char-rnn: 2×128, one-hot input, windows of 50, 50
             streams, RMSprop (decay 0.95), rate 2e-3, times 0.97 after each epoch from
             the tenth on, gradients cut at ±5, no dropout
  torch-rnn  github.com/jcjohnson/torch-rnn: 2×128, embedding of 64, windows of 50, 50
             streams, Adam, rate 2e-3, halved every five epochs, gradients cut at ±5,
             no dropout

Both cut the text into as many streams as a batch has rows, and each stream's state
goes on from batch to batch until the epoch ends.
"""

# The clock starts before the imports.
# ruff: noqa: E402

from __future__ import annotations

import time

STARTED_S = time.monotonic()  # before the slow imports, which count

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks.harness.worker import available_cores
from textgen.data.corpus import Split, load_corpus

HELD_OUT = 0.1
LAYERS, UNITS = 2, 128
WINDOW_CHARS, STREAMS = 50, 50
LEARNING_RATE = 2e-3
CLIP_VALUE = 5.0
MEASURED_CHARS = 2_000  # of the training part, to time the measuring
CHUNK_CHARS = 10_000  # of a stream, measured in one call
LEAVING_S = 0.3  # kept back for ending the process
TRIED_STEPS = 3  # with each number of threads

State = tuple[torch.Tensor, torch.Tensor]  # an LSTM's outputs and cells


@dataclass(frozen=True)
class Recipe:
    """How a program trains by default.

    Attributes:
        optimizer: of `torch.optim`, with the ``settings``.
        settings: keyword arguments of the optimizer.
        embedding: size D of the embedding; 0 for one-hot input.
        decay: factor of the rate, after every ``decay_epochs``.
        decay_epochs: epochs from one decay to the next.
        first_epochs: epochs before the first decay.
    """

    optimizer: str
    settings: dict[str, float]
    embedding: int
    decay: float
    decay_epochs: int
    first_epochs: int

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, the first of which is 0."""
        decays = max(0, (epoch - self.first_epochs) // self.decay_epochs + 1)
        return LEARNING_RATE * self.decay**decays


RECIPES = {
    "char-rnn": Recipe("RMSprop", {"alpha": 0.95}, 0, 0.97, 1, 10),
    "torch-rnn": Recipe("Adam", {}, 64, 0.5, 5, 5),
}


class Network(nn.Module):
    """Embedding or one-hot input, stacked LSTM layers, a dense layer.

    Args:
        size: V, number of symbols.
        embedding: size D of the embedding; 0 for one-hot input.
    """

    def __init__(self, size: int, embedding: int) -> None:
        super().__init__()
        if embedding:
            self.embedding = nn.Embedding(size, embedding)
        else:
            self.embedding = nn.Embedding.from_pretrained(torch.eye(size))  # frozen
        self.lstm = nn.LSTM(embedding or size, UNITS, LAYERS, batch_first=True)
        self.dense = nn.Linear(UNITS, size)

    def forward(
        self, ids: torch.Tensor, state: State | None = None
    ) -> tuple[torch.Tensor, State]:
        """Predict each row's symbols from those before.

        Args:
            ids: (B, T + 1) int64.
            state: that of the symbols before, or None for zeros.

        Returns:
            (B · T,) losses in nats, and the state after the T-th symbol, detached.
        """
        outputs, state = self.lstm(self.embedding(ids[:, :-1]), state)
        logits = self.dense(outputs).flatten(0, 1)
        targets = ids[:, 1:].flatten()
        losses = nn.functional.cross_entropy(logits, targets, reduction="none")
        return losses, tuple(part.detach() for part in state)


def train(recipe: Recipe, split: Split, size: int, seconds: float) -> dict:
    """Train for a time, then measure.

    Args:
        recipe: how.
        split: of a stream.
        size: V, number of symbols.
        seconds: since `STARTED_S`, measuring included.

    Returns:
        Nats per held-out character, steps and epochs taken, threads used.
    """
    network = Network(size, recipe.embedding)
    trained = [weights for weights in network.parameters() if weights.requires_grad]
    make_optimizer = getattr(torch.optim, recipe.optimizer)
    optimizer = make_optimizer(trained, LEARNING_RATE, **recipe.settings)
    streams = as_streams(split.training)

    def take_step(window: torch.Tensor, state: State | None) -> State:
        losses, state = network(window, state)
        optimizer.zero_grad()
        losses.mean().backward()
        nn.utils.clip_grad_value_(trained, CLIP_VALUE)
        optimizer.step()
        return state

    threads = choose_threads(lambda: take_step(streams[:, : WINDOW_CHARS + 1], None))
    started = time.monotonic()
    measure(network, split.training[:MEASURED_CHARS])
    measuring_s = (time.monotonic() - started) * len(split.held_out) / MEASURED_CHARS
    end_s = STARTED_S + seconds - measuring_s - LEAVING_S
    steps_per_epoch = (streams.shape[1] - 1) // WINDOW_CHARS
    steps, state = 0, None
    while time.monotonic() < end_s:
        epoch, number = divmod(steps, steps_per_epoch)
        optimizer.param_groups[0]["lr"] = recipe.rate(epoch)
        start = number * WINDOW_CHARS
        window = streams[:, start : start + WINDOW_CHARS + 1]
        state = take_step(window, state if number else None)
        steps += 1
    return {
        "nats": measure(network, split.held_out),
        "steps": steps,
        "epochs": steps / steps_per_epoch,
        "threads": threads,
    }


def as_streams(ids: np.ndarray) -> torch.Tensor:
    """Cut a text into rows that each go on, with one more symbol to predict.

    Args:
        ids: (N,) ids.

    Returns:
        (`STREAMS`, n · `WINDOW_CHARS` + 1) int64, n as large as the text allows.

    Raises:
        ValueError: if it allows none.
    """
    windows = (len(ids) - 1) // (STREAMS * WINDOW_CHARS)
    if not windows:
        least = STREAMS * WINDOW_CHARS + 1
        raise ValueError(f"expected {least:,} characters or more, but got {len(ids):,}")
    length = windows * WINDOW_CHARS
    places = np.arange(STREAMS)[:, None] * length + np.arange(length + 1)
    return torch.from_numpy(ids[places].astype(np.int64))


def choose_threads(take_step: Callable[[], object]) -> int:
    """Set and return the number of threads with which a step is fastest."""
    seconds = {}
    for threads in sorted({1, available_cores()}):
        torch.set_num_threads(threads)
        take_step()
        started = time.monotonic()
        for _ in range(TRIED_STEPS):
            take_step()
        seconds[threads] = time.monotonic() - started
    best = min(seconds, key=seconds.get)
    torch.set_num_threads(best)
    return best


@torch.no_grad()
def measure(network: Network, ids: np.ndarray) -> float:
    """Return the nats per character of a text (N,), read as one stream."""
    stream = torch.from_numpy(ids.astype(np.int64))[None]
    nats, state = 0.0, None
    for start in range(0, len(ids) - 1, CHUNK_CHARS):
        losses, state = network(stream[:, start : start + CHUNK_CHARS + 1], state)
        nats += losses.double().sum().item()
    return nats / (len(ids) - 1)


def main() -> None:
    """Do what the command line says."""
    recipe, text, seconds, seed = sys.argv[1:]
    torch.manual_seed(int(seed))
    corpus = load_corpus(text, "text")
    split, size = corpus.split(HELD_OUT), len(corpus.vocabulary)
    print(json.dumps(train(RECIPES[recipe], split, size, float(seconds))))


if __name__ == "__main__":
    main()
