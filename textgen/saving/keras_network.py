"""What a Keras file holds, of any version → the network that Keras would build.

Only layers, settings and arrays that are known here are taken. What is accepted is one
chain, with dropout, dense layers and activations at any place:

    Embedding, or one-hot input ─► Masking? ─► recurrent layers ─► Dense ─► softmax
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from textgen.errors import ModelFileError, shown
from textgen.inference.generic import apply_pointwise
from textgen.inference.weights import Network, Pointwise, Recurrent
from textgen.saving.container import ADVICE, Contents
from textgen.saving.keras_config import SHAPES, Layer, read_config, read_version
from textgen.saving.keras_layers import (
    SOFTMAX,
    embedding_table,
    flag,
    pointwise,
    recurrent,
    size,
)
from textgen.saving.keras_schema import IDLE_LAYERS, RECURRENT_LAYERS

MAX_WINDOW_CHARS = 100_000
MAX_FOLDED_FLOATS = 1 << 25  # an eighth of a GiB, and as much again in passing
MAX_FOLDED_PRODUCTS = 1 << 35  # about a second
MAX_IDENTITY = 4096  # symbols for which a one-hot table may be written out

Arrays = Mapping[str, Sequence[np.ndarray]]


@dataclass(frozen=True)
class KerasModel:
    """A network out of a file, and how it is to be shown a text.

    Attributes:
        network: the weights.
        targets: ``all`` if it carries its state through a text, ``last`` if it has
            only seen windows from zero state.
        seq_length: T, symbols in a window; None if the file doesn't say.
    """

    network: Network
    targets: str
    seq_length: int | None


def build_model(contents: Contents) -> KerasModel:
    """Build the network that the Keras of the file's time would build.

    Raises:
        ModelFileError: for any other layer, setting, arrangement or array size.
    """
    version = read_version(contents.keras_version)
    layers = read_config(contents.config, version)
    _check_owners(layers, contents.weights)
    chain = [layer for layer in layers if layer.kind not in IDLE_LAYERS]
    _check_arrangement(layers, chain)
    symbols = size([layer for layer in chain if layer.kind == "Dense"][-1], "units")
    embedding, width = None, symbols
    if chain[0].kind == "Embedding":
        embedding = _embedding(chain.pop(0), contents.weights, symbols)
        width = embedding.shape[1]
    masked = _masked(layers, embedding, symbols)
    if chain[0].kind == "Masking":
        chain.pop(0)
    parts: list[Recurrent | Pointwise] = []
    for layer in chain:
        arrays = contents.weights.get(layer.name, ())
        build = recurrent if layer.kind in RECURRENT_LAYERS else pointwise
        part = build(layer, arrays, width, version)
        width = part.units or width
        parts.append(part)
    network = _assemble(parts, embedding, masked)
    return KerasModel(network, *_use(layers, symbols))


def _check_owners(layers: Sequence[Layer], weights: Arrays) -> None:
    """Refuse arrays that no layer of the chain would take."""
    takers = {
        layer.name
        for layer in layers
        if layer.kind in (*RECURRENT_LAYERS, "Dense", "Embedding")
    }
    for name, arrays in weights.items():
        if arrays and name not in takers:
            raise ModelFileError(
                "expected arrays of the model's own layers only, but received some of "
                f"{shown(name)}: {ADVICE}"
            )


def _check_arrangement(layers: Sequence[Layer], chain: Sequence[Layer]) -> None:
    """Refuse any order but that of the module's docstring."""
    kinds = [layer.kind for layer in chain]
    rest = kinds[1:] if kinds[:1] == ["Embedding"] else kinds
    rest = rest[1:] if rest[:1] == ["Masking"] else rest
    recurrent_places = [k for k, kind in enumerate(kinds) if kind in RECURRENT_LAYERS]
    if (
        not set(rest) <= {*RECURRENT_LAYERS, "Dense", "Activation"}
        or not recurrent_places
        or "Dense" not in kinds[recurrent_places[-1] :]
        or "InputLayer" in [layer.kind for layer in layers[1:]]
    ):
        raise ModelFileError(
            "expected an Embedding or one-hot input, recurrent layers and a Dense "
            f"layer, but received {', '.join(kinds[:20]) or 'no layers'}: {ADVICE}"
        )
    *lower, last = [chain[place] for place in recurrent_places]
    for layer in lower:
        if not flag(layer, "return_sequences"):
            raise ModelFileError(
                f"expected return_sequences=True in {layer.shown}, since another "
                f"recurrent layer follows, but received False: {ADVICE}"
            )
    for layer in chain[recurrent_places[-1] :]:
        if layer.distributed and not flag(last, "return_sequences"):
            raise ModelFileError(
                f"expected return_sequences=True in {last.shown}, since a "
                f"TimeDistributed follows, but received False: {ADVICE}"
            )
    for setting in ("stateful", "time_major"):
        if len({flag(layer, setting) for layer in (*lower, last)}) > 1:
            raise ModelFileError(
                f"expected the same {setting} in all recurrent layers, "
                f"but received both: {ADVICE}"
            )


def _embedding(layer: Layer, weights: Arrays, symbols: int) -> np.ndarray:
    rows, columns = size(layer, "input_dim"), size(layer, "output_dim")
    if rows != symbols:
        raise ModelFileError(
            f"expected as many outputs as symbols, {rows:,}, but received "
            f"{symbols:,}: {ADVICE}"
        )
    (table,) = embedding_table(layer, weights.get(layer.name, ()), rows, columns)
    return table


def _masked(
    layers: Sequence[Layer], embedding: np.ndarray | None, symbols: int
) -> np.ndarray | None:
    """Return which symbols are padding to the recurrent layers, (V,) bool, or None."""
    masked = np.zeros(symbols, bool)
    for layer in layers:
        if layer.kind == "Embedding":
            masked[0] = flag(layer, "mask_zero")
        if layer.kind == "Masking":
            value = _mask_value(layer)
            if embedding is not None:  # a one-hot row is never all one value
                masked[:] = (embedding == value).all(axis=1)
    if not masked.any():
        return None
    for layer in layers:
        if layer.kind.startswith("CuDNN") or flag(layer, "zero_output_for_mask"):
            raise ModelFileError(
                f"expected no masking before {layer.shown}, which doesn't pass over "
                f"masked symbols: {ADVICE}"
            )
    return masked


def _mask_value(layer: Layer) -> float:
    value = layer.settings.get("mask_value", 0.0)
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # JSON's whole numbers have no end
            return float(value)
    raise ModelFileError(
        f"expected mask_value of {layer.shown} as a number, "
        f"but received {shown(value)}: {ADVICE}"
    )


def _assemble(
    parts: Sequence[Recurrent | Pointwise],
    embedding: np.ndarray | None,
    masked: np.ndarray | None,
) -> Network:
    """Split the chain into input table, recurrent part, head and last dense layer."""
    places = [k for k, part in enumerate(parts) if isinstance(part, Recurrent)]
    first, last = places[0], places[-1]
    head = _without_softmax(parts[last + 1 :])
    others = (*parts[:last], *head)
    if any(part.activation == SOFTMAX for part in others) or head[-1].kernel is None:
        raise ModelFileError(
            "expected softmax, or nothing, directly after the last Dense layer and "
            f"nowhere else, but received another order: {ADVICE}"
        )
    if head[-1].activation != "linear":
        raise ModelFileError(
            "expected softmax or no activation at the end, but received "
            f"{head[-1].activation!r}: {ADVICE}"
        )
    return Network(
        _folded(embedding, parts[:first], len(head[-1].bias)),
        tuple(parts[first : last + 1]),
        head[-1].kernel,
        head[-1].bias,
        tuple(head[:-1]),
        masked,
    )


def _without_softmax(head: Sequence[Pointwise]) -> list[Pointwise]:
    """Take the softmax from the end, and activations that do nothing."""
    head = [part for part in head if not part.is_only("linear")]
    *before, last = head
    if last.is_only(SOFTMAX):
        return before
    if last.activation == SOFTMAX:
        last = Pointwise(last.kernel, last.bias, "linear")
    return [*before, last]


def _folded(
    embedding: np.ndarray | None, layers: Sequence[Pointwise], symbols: int
) -> np.ndarray | None:
    """Apply dense layers and activations of the input to the table of all symbols."""
    if not layers:
        return embedding
    if embedding is None:
        if symbols > MAX_IDENTITY:
            raise ModelFileError(
                f"expected at most {MAX_IDENTITY:,} one-hot symbols where a layer "
                f"comes before the recurrent ones, but received {symbols:,}: {ADVICE}"
            )
        embedding = np.eye(symbols, dtype=np.float32)
    widest = max(layer.units or 0 for layer in layers)
    if symbols * widest > MAX_FOLDED_FLOATS:
        raise ModelFileError(
            f"expected at most {MAX_FOLDED_FLOATS:,} values of all symbols before the "
            f"recurrent layers, but received {symbols:,} times {widest:,}: {ADVICE}"
        )
    kernels = sum(layer.kernel.size for layer in layers if layer.kernel is not None)
    if symbols * kernels > MAX_FOLDED_PRODUCTS:
        raise ModelFileError(
            f"expected at most {MAX_FOLDED_PRODUCTS:,} products of all symbols before "
            f"the recurrent layers, but received {symbols:,} times {kernels:,}: "
            f"{ADVICE}"
        )
    table = apply_pointwise(embedding, layers)
    if not np.isfinite(table).all():
        raise ModelFileError(
            "expected finite values after the first layers, but they grow beyond "
            f"float32: {ADVICE}"
        )
    return table


def _use(layers: Sequence[Layer], symbols: int) -> tuple[str, int | None]:
    """Return targets and window: how the model has been shown a text."""
    last = [layer for layer in layers if layer.kind in RECURRENT_LAYERS][-1]
    carries = flag(last, "return_sequences") or flag(last, "stateful")
    first, settings = layers[0].shown, layers[0].settings
    shapes = (settings.get(key) for key in SHAPES)
    shape = next((shape for shape in shapes if shape is not None), None)
    embeds = any(layer.kind == "Embedding" for layer in layers)
    if shape is None:
        window = settings.get("input_length")
    else:
        rank = 2 if embeds else 3
        if (
            not isinstance(shape, list)
            or len(shape) != rank
            or (not embeds and shape[2] not in (None, symbols))
        ):
            raise ModelFileError(
                f"expected an input of {'symbols' if embeds else 'one-hot symbols'} "
                f"for {symbols:,} outputs, but {first} has the shape "
                f"{shown(shape)}: {ADVICE}"
            )
        window = shape[0 if flag(last, "time_major") else 1]
    whole = isinstance(window, int) and not isinstance(window, bool)
    if window is not None and not (whole and 1 <= window <= MAX_WINDOW_CHARS):
        raise ModelFileError(
            f"expected windows of 1 to {MAX_WINDOW_CHARS:,} symbols, but {first} has "
            f"{shown(window)}: {ADVICE}"
        )
    return ("all" if carries else "last"), window
