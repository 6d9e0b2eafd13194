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

from textgen.errors import shown
from textgen.inference.generic import apply_pointwise
from textgen.inference.weights import Network, Pointwise, Recurrent
from textgen.saving.container import Contents, refusal
from textgen.saving.keras_config import Layer, is_whole, read_config, read_version
from textgen.saving.keras_layers import SOFTMAX, embedding, pointwise, recurrent
from textgen.saving.keras_schema import IDLE_LAYERS, RECURRENT_LAYERS

MAX_SEQ_LENGTH = 100_000
MAX_FOLDED_FLOATS = 1 << 25  # an eighth of a GiB, and as much again in passing
MAX_FOLDED_PRODUCTS = 1 << 35  # about a second
MAX_IDENTITY = 4096  # symbols for which a one-hot table may be written out

Arrays = Mapping[str, Sequence[np.ndarray]]


@dataclass(frozen=True, eq=False)
class KerasModel:
    """A network out of a file, and how it is to be shown a text."""

    network: Network
    targets: str  # ``all``, or ``last`` if it has only seen windows from zero state
    seq_length: int | None  # T, symbols in a window, if the file says it


def build_model(contents: Contents) -> KerasModel:
    """Build the network that Keras, in the version that wrote the file, would build."""
    version = read_version(contents.keras_version)
    layers = read_config(contents.config, version)
    _check_owners(layers, contents.weights)
    chain = [layer for layer in layers if layer.kind not in IDLE_LAYERS]
    _check_arrangement(layers, chain)
    symbols = [layer for layer in chain if layer.kind == "Dense"][-1].size("units")
    table, width = None, symbols
    if chain[0].kind == "Embedding":
        layer = chain.pop(0)
        table = embedding(layer, contents.weights.get(layer.name, ()), symbols)
        width = table.shape[1]
    masked = _masked(layers, table, symbols)
    if chain[0].kind == "Masking":
        chain.pop(0)
    parts: list[Recurrent | Pointwise] = []
    for layer in chain:
        arrays = contents.weights.get(layer.name, ())
        build = recurrent if layer.kind in RECURRENT_LAYERS else pointwise
        part = build(layer, arrays, width, version)
        width = part.units or width
        parts.append(part)
    network = _assemble(parts, table, masked)
    last = [layer for layer in layers if layer.kind in RECURRENT_LAYERS][-1]
    carries_state = last.flag("return_sequences") or last.flag("stateful")
    targets = "all" if carries_state else "last"
    return KerasModel(network, targets, _seq_length(layers, last, symbols))


def _check_owners(layers: Sequence[Layer], weights: Arrays) -> None:
    """Refuse arrays that no layer of the chain would take."""
    kinds = (*RECURRENT_LAYERS, "Dense", "Embedding")
    takers = {layer.name for layer in layers if layer.kind in kinds}
    for name, arrays in weights.items():
        if arrays and name not in takers:
            received = f"some of {shown(name)}"
            raise refusal("arrays of the model's own layers only", received)


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
        expected = "an Embedding or one-hot input, recurrent layers and a Dense layer"
        raise refusal(expected, ", ".join(kinds[:20]) or "no layers")
    recurrents = [chain[place] for place in recurrent_places]
    followed = recurrents[:-1]
    if any(layer.distributed for layer in chain[recurrent_places[-1] :]):
        followed = recurrents
    for layer in followed:
        if not layer.flag("return_sequences"):
            received = "False, although a recurrent layer or a TimeDistributed follows"
            raise refusal(f"return_sequences=True in {layer.shown}", received)
    for setting in ("stateful", "time_major"):
        if len({layer.flag(setting) for layer in recurrents}) > 1:
            raise refusal(f"the same {setting} in all recurrent layers", "both")


def _masked(
    layers: Sequence[Layer], table: np.ndarray | None, symbols: int
) -> np.ndarray | None:
    """Return which symbols are padding to the recurrent layers, (V,) bool, or None."""
    masked = np.zeros(symbols, bool)
    for layer in layers:
        if layer.kind == "Embedding":
            masked[0] = layer.flag("mask_zero")
        if layer.kind == "Masking":
            value = _mask_value(layer)
            if table is not None:  # a one-hot row is never all one value
                masked[:] = (table == value).all(axis=1)
    if not masked.any():
        return None
    for layer in layers:
        if layer.kind.startswith("CuDNN") or layer.flag("zero_output_for_mask"):
            expected = f"no masking before {layer.shown}, which can't skip symbols"
            raise refusal(expected, "one that masks some")
    return masked


def _mask_value(layer: Layer) -> float:
    value = layer.settings.get("mask_value", 0.0)
    if is_whole(value) or isinstance(value, float):
        with contextlib.suppress(OverflowError):  # JSON's whole numbers have no end
            return float(value)
    raise refusal(f"mask_value of {layer.shown} as a number", shown(value))


def _assemble(
    parts: Sequence[Recurrent | Pointwise],
    table: np.ndarray | None,
    masked: np.ndarray | None,
) -> Network:
    """Split the chain into input table, recurrent part, head and last dense layer."""
    places = [k for k, part in enumerate(parts) if isinstance(part, Recurrent)]
    first, last = places[0], places[-1]
    before = [part for part in parts[:first] if isinstance(part, Pointwise)]
    after = [part for part in parts[last:] if isinstance(part, Pointwise)]
    *head, dense = _without_softmax(after)
    others = (*parts[:last], *head, dense)
    kernel, bias = dense.kernel, dense.bias
    if any(x.activation == SOFTMAX for x in others) or kernel is None or bias is None:
        expected = "softmax, or nothing, directly after the last Dense layer"
        raise refusal(f"{expected} and nowhere else", "another order")
    if dense.activation != "linear":
        raise refusal("softmax or no activation at the end", repr(dense.activation))
    table = _folded(table, before, len(bias))
    layers = tuple(parts[first : last + 1])
    return Network(table, layers, kernel, bias, tuple(head), masked)


def _without_softmax(head: Sequence[Pointwise]) -> list[Pointwise]:
    """Take the softmax from the end, and activations that do nothing."""
    head = [x for x in head if x.kernel is not None or x.activation != "linear"]
    *before, last = head
    if last.activation != SOFTMAX:
        return head
    if last.kernel is None:
        return before
    return [*before, Pointwise(last.kernel, last.bias, "linear")]


def _folded(
    table: np.ndarray | None, layers: Sequence[Pointwise], symbols: int
) -> np.ndarray | None:
    """Apply dense layers and activations of the input to the table of all symbols."""
    if not layers:
        return table
    if table is None:
        if symbols > MAX_IDENTITY:
            expected = f"at most {MAX_IDENTITY:,} one-hot symbols for the first layers"
            raise refusal(expected, f"{symbols:,}")
        table = np.eye(symbols, dtype=np.float32)
    widest = max(layer.units or 0 for layer in layers)
    weights = sum(layer.kernel.size for layer in layers if layer.kernel is not None)
    for what, each, most in (
        ("values", widest, MAX_FOLDED_FLOATS),
        ("products", weights, MAX_FOLDED_PRODUCTS),
    ):
        if symbols * each > most:
            expected = f"at most {most:,} {what} of all symbols in the first layers"
            raise refusal(expected, f"{symbols:,} times {each:,}")
    table = apply_pointwise(table, layers)
    if not np.isfinite(table).all():
        raise refusal("finite values after the first layers", "some beyond float32")
    return table


def _seq_length(layers: Sequence[Layer], last: Layer, symbols: int) -> int | None:
    """Return how many symbols a window had, by the first layer's input shape."""
    first, shape = layers[0], layers[0].input_shape
    if shape is None:
        length = first.settings.get("input_length")
    else:
        embeds = any(layer.kind == "Embedding" for layer in layers)
        rank, what = (2, "symbols") if embeds else (3, "one-hot symbols")
        fits = isinstance(shape, list) and len(shape) == rank
        if not fits or (not embeds and shape[2] not in (None, symbols)):
            expected = f"an input of {what} for {symbols:,} outputs in {first.shown}"
            raise refusal(expected, f"the shape {shown(shape)}")
        length = shape[0 if last.flag("time_major") else 1]
    if length is not None and not (is_whole(length) and 1 <= length <= MAX_SEQ_LENGTH):
        expected = f"windows of 1 to {MAX_SEQ_LENGTH:,} symbols in {first.shown}"
        raise refusal(expected, shown(length))
    return length
