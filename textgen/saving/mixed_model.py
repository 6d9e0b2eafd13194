"""Several trained models as one: `mix_models` makes it, and it is used as any other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from textgen.config import MixConfig, WindowConfig
from textgen.data.vocabulary import Vocabulary, end_symbol
from textgen.errors import ModelFileError, OptionError, checks_keywords, shown
from textgen.inference.decoder import AnyDecoder
from textgen.inference.mixture import MixtureDecoder, Voice
from textgen.saving.model_file import load_model
from textgen.saving.trained_model import TrainedModel


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class MixedModel(TrainedModel):
    """Trained models whose predictions are mixed.

    What it is trained on are the texts of all of them, the first model's last. The
    network is that of the first, for whoever asks for one.
    """

    models: tuple[TrainedModel, ...]
    weights: tuple[float, ...]  # their sum is 1

    def __repr__(self) -> str:
        return f"<MixedModel: mixture of {self.source}>"

    @property
    def source(self) -> str:
        """The weight and file of each model."""
        parts = zip(self.weights, self.models, strict=True)
        return " + ".join(f"{weight:.3g} {model.source}" for weight, model in parts)

    @property
    def remark(self) -> str:
        """What a user should know of any of the models."""
        return "".join(dict.fromkeys(model.remark for model in self.models))

    @property
    def reads_both_ways(self) -> bool:
        """Whether any of the models reads windows from their end, too."""
        return any(model.reads_both_ways for model in self.models)

    @property
    def max_batch_size(self) -> int:
        """How many texts can be advanced together without taking a lot of memory."""
        return max(1, int(1 / sum(1 / model.max_batch_size for model in self.models)))

    def decoder(self, batch_size: int = 1) -> AnyDecoder:
        """Return a decoder of all of the models."""
        return self._mixture([model.decoder(batch_size) for model in self.models])

    def decoder_within(self, length: int, batch_size: int = 1) -> AnyDecoder:
        """Return one for texts of at most so many symbols."""
        return self._mixture(
            [model.decoder_within(length, batch_size) for model in self.models]
        )

    def _mixture(self, decoders: Sequence[AnyDecoder]) -> MixtureDecoder:
        voices = [
            _voice(model.vocabulary, weight, self.vocabulary)
            for model, weight in zip(self.models, self.weights, strict=True)
        ]
        return MixtureDecoder(decoders, voices)


def _voice(own: Vocabulary, weight: float, mixed: Vocabulary) -> Voice:
    reads, symbols = own.ids_like(mixed.symbols), frozenset(own.symbols)
    is_own = np.array([symbol in symbols for symbol in mixed.symbols])
    return Voice(weight, reads, np.where(is_own, reads, -1), len(own))


@checks_keywords
def mix_models(
    models: Sequence[TrainedModel | str | os.PathLike[str]],
    mix: Sequence[float] | float | None = MixConfig.mix,
) -> TrainedModel:
    """Mix trained models into one that is used as any other.

    Models that were trained alike with different seeds predict better together than
    each alone (an ensemble). Those of different texts write something between them.

    Args:
        models: what `load_model` gave or takes, all of lines or all of text.
        mix: a weight for each, of any sum; 0 leaves a model out. None means that all
            weigh the same.

    Returns:
        The mixture, or the model itself if all others are left out. It knows the
        symbols of any of the models. A model reads what stands for a symbol that it
        lacks, as in a prompt, or skips it, and gives such a symbol no probability
        itself.

    Raises:
        OptionError: for other than a weight for each model, or only zeros.
        ModelFileError: if a model can't be found or read, or they don't go together.
    """
    loaded = [x if isinstance(x, TrainedModel) else load_model(x) for x in models]
    weights = _weights(MixConfig(mix), len(loaded))
    _check_alike(loaded)
    kept = [(x, w) for x, w in zip(loaded, weights, strict=True) if w > 0]
    if len(kept) == 1:
        return kept[0][0]
    return _mixed([x for x, _ in kept], [w for _, w in kept])


def _weights(given: MixConfig, count: int) -> list[float]:
    """Return the weights of so many models, whose sum is 1."""
    if not count:
        raise OptionError("`models` must be at least one model, but was none")
    mix = given.mix
    weights = [1.0] * count if mix is None else list(np.atleast_1d(mix))
    if len(weights) != count or not sum(weights):
        expected = f"a weight for each of the models, {count} here, and not all 0"
        received = ", ".join(f"{weight:g}" for weight in weights)
        raise OptionError(f"`mix` must be {expected}, but was {received}")
    return [float(weight / sum(weights)) for weight in weights]


def _check_alike(models: Sequence[TrainedModel]) -> None:
    """Raise `ModelFileError` unless all models have the same kind, level and labels.

    Words and byte pairs must be the same, too: between other ones, texts are spelled
    differently, so that there are no places at which all of the models predict.
    """
    found = [_form(model) for model in models]
    for model, form in zip(models, found, strict=True):
        if form != found[0]:
            raise ModelFileError(
                f"models of one kind can be mixed, but {shown(models[0].source)} is of "
                f"{found[0]} and {shown(model.source)} of {form}",
                "mix those of one level that were trained on the same kind of text",
            )
    first = models[0].vocabulary
    for model in models:
        own, shared = model.vocabulary, ""
        if own.labels != first.labels:
            shared = "labels"
        elif own.level != "character" and own != first:
            shared = "symbols"
        if shared:
            raise ModelFileError(
                f"models can be mixed whose {shared} are the same, but those of "
                f"{shown(models[0].source)} and {shown(model.source)} differ",
                "train both on one text, each with another `seed`",
            )


def _form(model: TrainedModel) -> str:
    """Return what models that are mixed have in common, in words."""
    level = {"bpe": "byte pair"}.get(model.vocabulary.level, model.vocabulary.level)
    if model.kind == "text":
        return f"{level}s of text"
    return f"{level}s of lines that end with {end_symbol('lines', model.vocabulary)!r}"


def _mixed(models: Sequence[TrainedModel], weights: Sequence[float]) -> MixedModel:
    first, *others = models
    texts = tuple(text for model in others for text in model.texts) + first.texts
    corpus = first.metadata.get("corpus", {})
    return MixedModel(
        first.network,
        _vocabulary(models),
        first.kind,
        replace(first.config, windows=_windows(models)),
        {"corpus": corpus} if corpus else {},
        None,
        texts,
        models=tuple(models),
        weights=tuple(weights),
    )


def _vocabulary(models: Sequence[TrainedModel]) -> Vocabulary:
    """Return the symbols that any of the models knows."""
    mixed = models[0].vocabulary
    for model in models[1:]:
        mixed = mixed.extended(model.vocabulary.symbols)
    return mixed


def _windows(models: Sequence[TrainedModel]) -> WindowConfig:
    """Return the models' windows if they are all the same.

    Else the mixture can read a text from its beginning on, as if it were of targets
    ``all``: each model's decoder then shows it windows of its own.
    """
    found = {(model.windows.targets, model.windows.seq_length) for model in models}
    if len(found) == 1:
        return models[0].windows
    return WindowConfig(max(model.windows.seq_length for model in models))
