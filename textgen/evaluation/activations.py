"""What the units of a network do along a text, and which of them follow what in it.

Karpathy, Johnson and Fei-Fei ("Visualizing and Understanding Recurrent Networks", 2015,
arXiv 1506.02078) found single units that are on inside quotes or count the characters
of a line. Here they are looked for by correlation: the unit that follows a feature best
in the first half of a text is measured on the second half. Among a thousand units some
follow anything by chance; by chance they don't go on to do so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from textgen.errors import ModelFileError, OptionError, checks_keywords
from textgen.evaluation.features import features_of
from textgen.evaluation.judging import Progress, ReadText
from textgen.generation.streaming import as_model
from textgen.inference.activations import ACTIVATIONS
from textgen.inference.decoder import Decoder, WindowDecoder
from textgen.inference.weights import LSTMWeights, OneDirection
from textgen.saving.trained_model import TrainedModel

MOST_NUMBERS = 1 << 28  # units times characters: 1 GiB
LEAST_CHARS = 200  # in which units that follow something are looked for
PROGRESS_EVERY = 100  # characters


class Follower(NamedTuple):
    """A unit that follows a feature of a text, and how closely.

    The correlations are Pearson's, from -1 to 1.
    """

    feature: str
    layer: int  # from 0 on, as the unit
    unit: int
    found: float  # correlation in the first half, where it was chosen
    checked: float  # correlation in the second half


@dataclass(frozen=True, eq=False, repr=False)
class Activations:
    """What each unit did once a network had read each of N characters.

    Of a symbol of several characters, a word, all have what was after it.

    Attributes:
        text: the N characters, as the model read them.
        layers: of each recurrent layer its units, (N, U) float32: act(c) of an LSTM
            layer, c being its cell and act mostly tanh, and the output h of any other.
    """

    text: str
    layers: tuple[np.ndarray, ...]

    def __repr__(self) -> str:
        units = " + ".join(f"{layer.shape[1]:,}" for layer in self.layers)
        return f"<Activations: {len(self.text):,} characters, {units} units>"

    def followers(self, of_each: int = 1) -> list[Follower]:
        """Return the units that follow features of the text most closely.

        Of each feature that both halves of the text have, they are the ``of_each``
        units whose correlation in the first half is farthest from 0, strongest first.
        The features whose best unit goes on best in the second half come first; one
        whose correlation changes its sign there was followed by chance.

        Raises:
            OptionError: if the text has fewer than 200 characters.
        """
        if len(self.text) < LEAST_CHARS:
            raise OptionError(
                f"units are looked for in a text of at least {LEAST_CHARS} characters, "
                f"but `text` has {len(self.text):,}"
            )
        halves = {
            name: np.array_split(row, 2) for name, row in features_of(self.text).items()
        }
        names = [name for name, (a, b) in halves.items() if np.ptp(a) and np.ptp(b)]
        found, checked = (
            self._correlations([halves[name][half] for name in names], half)
            for half in (0, 1)
        )
        units = [
            (layer, unit)
            for layer, values in enumerate(self.layers)
            for unit in range(values.shape[1])
        ]
        groups = []
        for name, first, second in zip(names, found, checked, strict=True):
            best = np.argsort(-np.abs(first), kind="stable")[:of_each]
            figures = ((*units[k], float(first[k]), float(second[k])) for k in best)
            groups.append([Follower(name, *each) for each in figures])
        groups.sort(key=lambda group: -group[0].checked * np.sign(group[0].found))
        return [follower for group in groups for follower in group]

    def _correlations(self, features: list[np.ndarray], half: int) -> np.ndarray:
        """Return the correlations (F, all units) in the first or the second half."""
        halves = (np.array_split(layer, 2)[half] for layer in self.layers)
        return np.hstack([_correlations(features, units) for units in halves])


def _correlations(features: list[np.ndarray], units: np.ndarray) -> np.ndarray:
    """Return the correlations (F, U) of F features (N,) with units (N, U).

    A unit that never changes follows nothing.
    """
    known = np.array(features).T.reshape(len(units), len(features))
    known = (known - known.mean(axis=0)) / known.std(axis=0)
    # Where the features' mean is 0, the units' own need not be taken off.
    covariances = known.T @ units / len(units)
    deviations = units.std(axis=0, dtype=np.float64)
    return np.divide(
        covariances, deviations, out=np.zeros_like(covariances), where=deviations > 1e-7
    )


@checks_keywords
def activations(
    model: TrainedModel | str | os.PathLike | None,
    text: str,
    *,
    strict: bool = False,
    label: str | None = None,
    progress: Progress | None = None,
) -> Activations:
    """Tell what each unit of a model does along a text.

    Args:
        model: as for `textgen.generate_output`.
        text: what to read, as `textgen.surprise` does; by a model that was trained on
            targets ``last``, each character at the end of a window of its own.
        strict: refuse symbols that the model has never seen, rather than fold or skip
            them.
        label: as for `textgen.evaluate`.
        progress: is called with how many symbols are read, and of how many.

    Returns:
        The units of each recurrent layer, once it had read each character.

    Raises:
        OptionError: if the text is empty, or too long for the memory that all units
            would take.
        VocabularyError: for unknown symbols if ``strict``.
        ModelFileError: if the model can't be found or read, or a layer reads windows
            from their end, too, so that no unit goes along the text.

    Warns:
        UnknownSymbolsWarning: names the symbols that were folded or skipped.
    """
    model = as_model(model)
    read = ReadText.of_string(model, text, strict, label)
    return activations_of(model, read, progress)


def activations_of(
    model: TrainedModel, text: ReadText, progress: Progress | None = None
) -> Activations:
    """Return a model's `Activations` along a text that was read in its ids."""
    decoder = model.decoder()
    if not isinstance(decoder, Decoder | WindowDecoder):
        why = "reads each window from its end, too, so that no unit goes along the text"
        if not model.reads_both_ways:
            why = "is a mixture of several"
        raise ModelFileError(
            f"expected a model that reads a text from its beginning on, but this one "
            f"{why}",
            "take another model",
        )
    ids = text.ids
    layers = [x for x in model.network.layers if isinstance(x, OneDirection)]
    units = sum(layer.units for layer in layers)
    # The end before the first line or document is the reading's own, not the text's,
    # and so are labels.
    own = ~model.vocabulary.is_label[ids]
    own[:1] &= ids[:1] != model.end_id
    each = model.vocabulary.characters[ids[own]]
    if not own.any() or each.sum() * units > MOST_NUMBERS:
        raise OptionError(
            f"`text` must have 1 to {MOST_NUMBERS // units:,} symbols that the model "
            f"knows, of {units:,} units each, but has {each.sum():,}"
        )
    values = [np.empty((len(ids), layer.units), np.float32) for layer in layers]
    starting: set[int | None] = set()  # a line's end or its label begins the next one
    if model.kind == "lines":
        starting = {model.end_id, *model.vocabulary.label_ids.tolist()}
    for place, symbol_id in enumerate(ids):
        if symbol_id in starting:
            decoder.reset([0])
        decoder.step(int(symbol_id))
        for made, memory in zip(values, decoder.memories(), strict=True):
            made[place] = memory[0]
        if progress is not None and place % PROGRESS_EVERY == 0:
            progress(place, len(ids))
    for layer, made in zip(layers, values, strict=True):
        if isinstance(layer, LSTMWeights):
            ACTIVATIONS[layer.activation](made)
    text.warn()
    shown = model.vocabulary.decode(ids[own])
    along = (np.repeat(made[own], each, axis=0) for made in values)
    return Activations(shown, tuple(along))
