"""A trained network with all that is needed to use it, out of a file's contents.

Our own files say what their vocabulary is and how their windows were cut. Those of
other programs don't: the vocabulary is that of the text they were trained on, which the
user names, and what windows they were trained on is told by the network itself.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from textgen.config import PRESETS, Config, ModelConfig, WindowConfig
from textgen.data.vocabulary import END_SYMBOL, KINDS, Vocabulary, end_symbol
from textgen.errors import (
    ModelFileError,
    OptionError,
    VocabularyError,
    shortened,
    shown,
    shown_path,
)
from textgen.inference.decoder import (
    AnyDecoder,
    Decoder,
    WholeWindowDecoder,
    WindowDecoder,
)
from textgen.inference.weights import Network
from textgen.saving.container import ANOTHER_FORM, FORMAT_VERSION, Contents, refusal
from textgen.saving.keras_config import is_whole
from textgen.saving.keras_network import KerasModel, build_model
from textgen.saving.metadata import read_metadata
from textgen.saving.vocabulary_from import NAME_TEXT, read_vocabulary

# Most units computed in one step: those of all layers, times T where T windows are
# staggered, times the batch size. A unit takes up to 65 bytes, so that is half a GiB.
MAX_STAGGERED_UNITS = 1 << 23
# Of one text alone: windows of strangers' files cost no more than tenths of a second.
MAX_WINDOW_UNITS = 1 << 21
KERAS_NAMES = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}
USUAL_SEQ_LENGTH = PRESETS["course"].windows.seq_length


@dataclass(frozen=True)
class TrainedText:
    """A text that weights were trained on, and the rate of that training."""

    name: str
    kind: str
    sha256: str | None  # None if it isn't known
    held_out: float  # the share that was only measured
    learning_rate: float | None
    schedule: str

    def __post_init__(self) -> None:
        words = (self.name, self.kind, self.sha256 or "", self.schedule)
        numbers = (self.held_out, self.learning_rate or 1.0)
        if not all(isinstance(word, str) for word in words) or not all(
            isinstance(number, float | int) and 0 <= number <= 100 for number in numbers
        ):
            raise ValueError("a text described in another way")

    @classmethod
    def of_training(cls, corpus: Mapping[str, Any], config: Config) -> TrainedText:
        """Return the text of a training, from the identity of its corpus."""
        own = config.training
        name, sha256 = corpus.get("name", "unknown"), corpus.get("sha256")
        rate, schedule = own.learning_rate, own.schedule
        return cls(name, corpus["kind"], sha256, own.held_out, rate, schedule)


UNKNOWN_TEXT = TrainedText("unknown", "text", None, 0.0, None, "cosine")


@dataclass(frozen=True, eq=False, repr=False)
class TrainedModel:
    """A trained network with all that is needed to use it."""

    network: Network  # the weights
    vocabulary: Vocabulary  # the symbols of its ids
    kind: str  # ``lines`` or ``text``, what it was trained on
    config: Config  # of its training; another program's file tells the windows only
    metadata: Mapping[str, Any]  # the file's JSON in today's form; {} if it has none
    path: Path | None  # the file; None while it is in training
    texts: tuple[TrainedText, ...] = (UNKNOWN_TEXT,)  # trained on, first to last

    def __post_init__(self) -> None:
        if self.vocabulary.labels:  # which are read, and never written
            network = replace(self.network, undrawn=self.vocabulary.is_label)
            object.__setattr__(self, "network", network)

    def __repr__(self) -> str:
        place = "in memory" if self.path is None else shown_path(self.path)
        facts = [self.kind, *_layer_names(self.network)]
        facts.append(f"{len(self.vocabulary):,} symbols")
        figure = self.record.get("held_out_nats_per_char")
        if isinstance(figure, float):
            facts.append(f"{figure:.3f} nats per character held out")
        return f"<TrainedModel {place}: {shortened(', '.join(facts))}>"

    @property
    def source(self) -> str:
        """Where it is from, for a line: its file."""
        return str(self.path)

    @property
    def record(self) -> Mapping[str, Any]:
        """What the metadata say of the training, if they do."""
        record = self.metadata.get("training")
        return record if isinstance(record, dict) else {}

    @property
    def windows(self) -> WindowConfig:
        """How the training windows were cut."""
        return self.config.windows

    @property
    def is_unfinished(self) -> bool:
        """Whether its training was interrupted, diverged, or still going on."""
        return is_unfinished(self.record)

    @property
    def remark(self) -> str:
        """What a user should know of it, for the end of a line; mostly nothing."""
        if self.record.get("snapshot") is True:
            return " (a snapshot, written while it was trained)"
        if self.is_unfinished:
            return " (unfinished; training with `resume` goes on with it)"
        return ""

    @property
    def end_id(self) -> int | None:
        """Id of the symbol that ends a line, row or document; None if there is none."""
        symbol = end_symbol(self.kind, self.vocabulary)
        return None if symbol is None else self.vocabulary.symbols.index(symbol)

    @property
    def makes_lines(self) -> bool:
        """Whether what it completes is a line, with no newline in it."""
        return end_symbol(self.kind, self.vocabulary) == END_SYMBOL

    @property
    def reads_both_ways(self) -> bool:
        """Whether it reads windows from their end, too."""
        return self.network.reads_both_ways

    @property
    def label_counts(self) -> dict[str, int]:
        """How many rows of its last text each label had, as far as the file says."""
        found = self.metadata.get("corpus", {}).get("labels")
        counts = found if isinstance(found, dict) else {}
        return {
            name: count
            for name, count in counts.items()
            if name in self.vocabulary.labels and is_whole(count)
        }

    @property
    def max_batch_size(self) -> int:
        """How many texts can be advanced together without taking a lot of memory."""
        network = self.network
        units = staggered_units(_units(network), self.windows)
        units += sum(layer.units or 0 for layer in network.head)
        units += len(network.dense_bias)
        return max(1, MAX_STAGGERED_UNITS // units)

    def decoder(self, batch_size: int = 1) -> AnyDecoder:
        """Return the decoder that shows the network what it was trained on."""
        if self.windows.targets == "all":
            return Decoder(self.network, batch_size)
        both_ways = self.network.reads_both_ways
        decoder = WholeWindowDecoder if both_ways else WindowDecoder
        return decoder(self.network, self.windows.seq_length, batch_size)

    def decoder_within(self, length: int, batch_size: int = 1) -> AnyDecoder:
        """Return a decoder for texts of at most so many symbols.

        In one that fits into a window no state would begin anew, so that none has to
        be kept in several copies.
        """
        if length <= self.windows.seq_length and not self.reads_both_ways:
            return Decoder(self.network, batch_size)
        return self.decoder(batch_size)


def is_unfinished(record: Mapping[str, Any]) -> bool:
    """Return whether a record is of a training that hadn't come to its end."""
    stopped = record.get("interrupted") is True or bool(record.get("diverged"))
    return stopped or record.get("snapshot") is True


def model_of_contents(
    contents: Contents,
    path: Path | None,
    vocabulary_from: str | os.PathLike[str] | None = None,
) -> TrainedModel:
    """Check a file's contents and build the model; the path is None before it is saved.

    A model without vocabulary knows the symbols of the text ``vocabulary_from``.
    """
    keras_model = build_model(contents)
    if contents.metadata is None:
        return _foreign_model(keras_model, path, vocabulary_from)
    if not contents.hashed:
        raise refusal("the file's SHA-256 in a block before it", "none")
    if vocabulary_from is not None:
        problem = "expected a model without vocabulary, but this one brings its own"
        raise ModelFileError(problem, "leave `vocabulary_from` out")
    return _own_model(keras_model.network, contents.metadata, path)


def _own_model(network: Network, text: str, path: Path | None) -> TrainedModel:
    try:
        metadata = read_metadata(text, network.vocabulary_size)
        if metadata["format"] != FORMAT_VERSION:
            raise ValueError("another format")
        vocabulary = Vocabulary.from_dict(metadata)
        kind = metadata["corpus"]["kind"]
        config = Config.from_dict(metadata["config"])
        if config.model.level != vocabulary.level:
            raise ValueError("another level")
    except (OptionError, VocabularyError, *ANOTHER_FORM) as error:
        expected = f"metadata of format {FORMAT_VERSION} (symbols, corpus, config)"
        raise refusal(expected, "others") from error
    size = network.vocabulary_size
    if len(vocabulary) != size or kind not in KINDS or network.reads_both_ways:
        expected = f"metadata that fit the network of {size:,} symbols"
        raise refusal(expected, f"{len(vocabulary):,} symbols, kind {shown(kind)}")
    is_fit = kind == "lines" and config.windows.targets == "all"
    if vocabulary.labels and not is_fit:
        raise refusal("labels of lines, whose targets are all", "others with labels")
    _check_window(network, config.windows)
    texts = _texts(metadata, config)
    return TrainedModel(network, vocabulary, kind, config, metadata, path, texts)


def _texts(metadata: Mapping[str, Any], config: Config) -> tuple[TrainedText, ...]:
    """Return what was trained on; earlier files tell of their own training only."""
    try:
        texts = tuple(TrainedText(**text) for text in metadata.get("texts", []))
        return texts or (TrainedText.of_training(metadata["corpus"], config),)
    except ANOTHER_FORM as error:
        raise refusal("texts that a model was trained on", "others") from error


def _foreign_model(
    keras_model: KerasModel,
    path: Path | None,
    vocabulary_from: str | os.PathLike[str] | None,
) -> TrainedModel:
    if vocabulary_from is None:
        expected = "expected a model with its vocabulary"
        received = "this one was written by another program and has none"
        raise ModelFileError(f"{expected}, but {received}", NAME_TEXT)
    network = keras_model.network
    window = keras_model.seq_length or USUAL_SEQ_LENGTH
    windows = WindowConfig(window, targets=keras_model.targets)
    _check_window(network, windows)
    vocabulary = read_vocabulary(vocabulary_from, network.vocabulary_size)
    for assumption in assumptions_of(keras_model):
        warnings.warn(assumption, stacklevel=2)
    return TrainedModel(network, vocabulary, "text", Config(windows=windows), {}, path)


def assumptions_of(keras_model: KerasModel) -> list[str]:
    """Return what is assumed of how another program's model is shown a text."""
    assumptions, size = [], keras_model.network.vocabulary_size
    if keras_model.divides_ids:
        scale = "the symbols' numbers divided by how many symbols there are"
        assumptions.append(
            f"the model reads one number a symbol: {scale}, from 0 to "
            f"{size - 1} / {size}, are assumed"
        )
    if keras_model.seq_length is None and keras_model.targets == "last":
        unknown = "the model file doesn't say how many symbols its windows had"
        assumptions.append(f"{unknown}: it is given the last {USUAL_SEQ_LENGTH}")
    return assumptions


def _check_window(network: Network, windows: WindowConfig) -> None:
    units = _units(network)
    if staggered_units(units, windows) > MAX_WINDOW_UNITS:
        most = f"{MAX_WINDOW_UNITS // units:,} symbols for {units:,} units"
        raise refusal(f"windows of at most {most}", f"{windows.seq_length:,}")


def staggered_units(units: int, windows: WindowConfig) -> int:
    """Return how many of a model's units are computed at each step of one text."""
    windows_at_once = windows.seq_length if windows.targets == "last" else 1
    return windows_at_once * units


def _units(network: Network) -> int:
    return sum(layer.units or 0 for layer in network.layers)


def trainable(model: TrainedModel) -> TrainedModel:
    """Return the model with its network's form in its configuration.

    That of our own says it already; another program's is told by the network. It is a
    `ModelFileError` unless `textgen.modeling.model` builds such a network.
    """
    network = model.network
    if not model.metadata:
        width = 0 if network.embedding is None else network.embedding.shape[1]
        units = network.layers[0].units or 0
        try:
            cell = network.plain_cell or "lstm"
            form = ModelConfig(len(network.layers), units, width, cell)
        except OptionError as error:
            expected = "a network that train.py could have made"
            raise refusal(expected, str(error)) from error
        model = replace(model, config=replace(model.config, model=form))
    config = model.config.model
    received = _layer_names(network)
    ours = [f"{KERAS_NAMES[config.cell]}({config.units})"] * config.layers
    width = config.embedding or network.vocabulary_size
    if network.embedding is None:
        is_fitting = not config.embedding  # one-hot input
    else:
        is_fitting = network.embedding.shape[1] == width
    if network.plain_cell != config.cell or received != ours or not is_fitting:
        raise ModelFileError(
            f"expected a model of train.py to go on from, {', '.join(ours)} and one "
            f"Dense layer, but received {', '.join(received)}",
            "train a new one",
        )
    return model


def _layer_names(network: Network) -> list[str]:
    """Return kind and size of each layer but the last dense one, as ``LSTM(224)``."""
    return [
        type(layer).__name__.removesuffix("Weights")
        + (f"({layer.units})" if layer.units else "")
        for layer in network.layers
    ]
