"""A training as a process of its own, and what its model achieves, measured anew."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import contest
import numpy as np
from worker import ROOT, ContestError, worker_environment

from textgen.data.corpus import Corpus, Split, load_corpus
from textgen.data.vocabulary import END_SYMBOL
from textgen.evaluation.metrics import bits_per_char
from textgen.evaluation.nats import held_out_nats
from textgen.saving.model_file import TrainedModel, load_model

HELD_OUT = 0.1
PEERS = ("char-rnn", "torch-rnn")
PEERS_SCRIPT = Path(__file__).resolve().with_name("quality_peers.py")


@dataclass(frozen=True)
class Outcome:
    """What a contestant achieved.

    Attributes:
        name: for people to read.
        nats: per held-out character, as measured here.
        seconds: wall-clock of its whole process; None for what is no process.
        nats_per_line: per held-out name; None for a stream.
        recorded_nats: per character, as train.py measured it.
        network: for people to read; empty if there is none.
        facts: further ones, as JSON values.
    """

    name: str
    nats: float
    seconds: float | None = None
    nats_per_line: float | None = None
    recorded_nats: float | None = None
    network: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def cells(self) -> list[str]:
        """Return the figures as the table shows them."""
        return [
            self.name,
            "–" if self.seconds is None else f"{self.seconds:,.1f}",
            _nats(self.nats),
            f"{bits_per_char(self.nats):.3f}",
            _nats(self.recorded_nats),
            _nats(self.nats_per_line),
            self.network or "–",
        ]


HEADINGS = (
    "contestant",
    "seconds",
    "nats/char",
    "bits/char",
    "recorded nats/char",
    "nats/name",
    "network",
)


def _nats(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def run_training(
    name: str, text: str, options: Sequence[str], folder: Path, *, after_chars: int = 0
) -> Outcome:
    """Run train.py, and measure what it saved.

    Args:
        name: for people to read.
        text: name or path of the corpus.
        options: further ones of train.py.
        folder: for the model file.
        after_chars: count only characters with so many before them.

    Raises:
        ContestError: if train.py fails, or held out another part.
    """
    file = folder / "model.h5"
    command = [sys.executable, str(ROOT / "train.py"), "--corpus", text, *options]
    seconds, _ = run_process(name, [*command, "--output", str(file)])
    return measure_file(name, file, text, seconds=seconds, after_chars=after_chars)


def measure_file(
    name: str,
    file: Path,
    text: str,
    *,
    seconds: float | None = None,
    after_chars: int = 0,
) -> Outcome:
    """Measure a model file on what its training held out.

    Args:
        name: for people to read.
        file: the model file.
        text: name or path of the corpus that it was trained on.
        seconds: that its training took, to be handed on.
        after_chars: count only characters with so many before them.

    Raises:
        ContestError: if it was trained on another text, or held out another part.
    """
    model = load_model(file)
    corpus, split = load_held_out(model, text)
    nats = held_out_nats(model, split.held_out, after_chars=after_chars)
    record = model.metadata["training"]
    return Outcome(
        name,
        nats,
        seconds,
        nats_per_line=per_line(nats, corpus, split),
        recorded_nats=record["held_out_nats_per_char"],
        network=describe_network(model),
        facts={"config": model.config.to_dict(), "record": dict(record)},
    )


def run_peer(recipe: str, text: str, seconds: float, seed: int) -> Outcome:
    """Train PyTorch's LSTM for so many seconds in a process of its own.

    Raises:
        ContestError: if it fails.
    """
    name = f"PyTorch, {recipe}'s recipe"
    command = [sys.executable, str(PEERS_SCRIPT), recipe, text, str(seconds), str(seed)]
    taken, output = run_process(name, command)
    facts = json.loads(output)
    return Outcome(
        name, facts.pop("nats"), taken, network="2×128, T 50, B 50", facts=facts
    )


def run_process(name: str, command: list[str]) -> tuple[float, str]:
    """Run a program to its end; its standard error goes to this one's.

    Returns:
        The seconds that it took and what it printed.

    Raises:
        ContestError: if it fails.
    """
    contest.say(f"  {name}: {' '.join(command[1:])}")
    started = time.perf_counter()
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=worker_environment(),
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise ContestError(f"{name} ended with status {done.returncode}")
    return seconds, done.stdout


def load_held_out(model: TrainedModel, text: str) -> tuple[Corpus, Split]:
    """Read the text that a model was trained on, and split it as it was.

    Raises:
        ContestError: if it was another text, or split in another way.
    """
    corpus = load_corpus(text, model.kind, model.vocabulary)
    if model.metadata["corpus"]["sha256"] != corpus.sha256:
        raise ContestError(f"the model was not trained on {text!r}")
    if model.config.training.held_out != HELD_OUT:
        raise ContestError("the model was trained with another part held out")
    return corpus, corpus.split(HELD_OUT)


def per_line(nats: float, corpus: Corpus, split: Split) -> float | None:
    """Return nats per line for nats per character; None for a stream."""
    if corpus.kind != "lines":
        return None
    end_id = corpus.vocabulary.encode(END_SYMBOL)[0]
    lines = np.count_nonzero(split.held_out == end_id) - 1
    return nats * (len(split.held_out) - 1) / lines


def describe_network(model: TrainedModel) -> str:
    """Return the network's shape and that of its batches."""
    shape, windows = model.config.model, model.config.windows.seq_length
    batch = model.config.training.batch_size
    return f"{shape.layers}×{shape.units}, T {windows}, B {batch}"
