"""Trainings as processes of their own, whose models are measured afterwards."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness.contest import say
from benchmarks.harness.worker import ROOT, BenchmarkError, run_process
from textgen.data.corpus import Corpus, Split, load_corpus
from textgen.data.vocabulary import END_SYMBOL
from textgen.evaluation.nats import bits_per_char, held_out_nats
from textgen.saving.model_file import TrainedModel, load_model

HELD_OUT = 0.1
HEADINGS = (
    "contestant",
    "seconds",
    "nats/char",
    "bits/char",
    "recorded nats/char",
    "nats/name",
    "network",
)


@dataclass(frozen=True)
class Outcome:
    """What a contestant achieved.

    Attributes:
        name: for people to read.
        nats: per held-out character, as measured here.
        seconds: of its whole process; None if it has none.
        nats_per_line: per held-out name; None for a long text.
        recorded_nats: per character, as train.py measured it.
        network: its shape; empty if there is none.
    """

    name: str
    nats: float
    seconds: float | None = None
    nats_per_line: float | None = None
    recorded_nats: float | None = None
    network: str = "–"

    def cells(self) -> list[str]:
        """Return the figures as the table shows them."""
        return [
            self.name,
            "–" if self.seconds is None else f"{self.seconds:,.1f}",
            _three_digits(self.nats),
            _three_digits(bits_per_char(self.nats)),
            _three_digits(self.recorded_nats),
            _three_digits(self.nats_per_line),
            self.network,
        ]


def _three_digits(value: float | None) -> str:
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
        BenchmarkError: if train.py fails, or held out another part.
    """
    file = folder / "model.h5"
    command = [sys.executable, str(ROOT / "train.py"), "--corpus", text, *options]
    say(f"  {name}: {' '.join(command[1:])}")
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
        seconds: that its training took.
        after_chars: count only characters with so many before them.

    Raises:
        BenchmarkError: if it was trained on another text, or held out another part.
    """
    model = load_model(file)
    corpus, split = load_held_out(model, text)
    nats = held_out_nats(model, split.held_out, after_chars=after_chars)
    shape, seq_length = model.config.model, model.config.windows.seq_length
    batch_size = model.config.training.batch_size
    return Outcome(
        name,
        nats,
        seconds,
        nats_per_line=per_line(nats, corpus, split),
        recorded_nats=model.metadata["training"]["held_out_nats_per_char"],
        network=f"{shape.layers}×{shape.units}, T {seq_length}, B {batch_size}",
    )


def run_peer(recipe: str, text: str, seconds: float, seed: int) -> Outcome:
    """Train PyTorch's LSTM for so many seconds in a process of its own.

    Raises:
        BenchmarkError: if it fails.
    """
    name = f"PyTorch, {recipe}'s recipe"
    say(f"  {name}: {seconds:.1f} s")
    command = [sys.executable, "-m", "benchmarks.quality.torch_recipes"]
    command += [recipe, text, str(seconds), str(seed)]
    taken, printed = run_process(name, command)
    say(f"  {printed.strip()}")
    nats = json.loads(printed)["nats"]
    return Outcome(name, nats, taken, network="2×128, T 50, B 50")


def load_held_out(model: TrainedModel, text: str) -> tuple[Corpus, Split]:
    """Read the text that a model was trained on, and split it as it was.

    Raises:
        BenchmarkError: if it was another text, or split in another way.
    """
    corpus = load_corpus(text, model.kind, model.vocabulary)
    if model.metadata["corpus"]["sha256"] != corpus.sha256:
        raise BenchmarkError(f"the model was not trained on {text!r}")
    if model.config.training.held_out != HELD_OUT:
        raise BenchmarkError("the model was trained with another part held out")
    return corpus, corpus.split(HELD_OUT)


def per_line(nats: float, corpus: Corpus, split: Split) -> float | None:
    """Return nats per line for nats per character; None for a long text."""
    if corpus.kind != "lines":
        return None
    end_id = corpus.vocabulary.encode(END_SYMBOL)[0]
    lines = np.count_nonzero(split.held_out == end_id) - 1
    return nats * (len(split.held_out) - 1) / lines
