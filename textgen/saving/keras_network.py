"""What a Keras file holds, of any version → the network that Keras would build.

Only layers, settings and arrays that are known here are taken. What is accepted is one
chain, with dropout, dense layers and activations at any place:

    Embedding, or other input ─► recurrent layers ─► Dense ─► softmax

The other input is one-hot, or one number a symbol: its id divided by V.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from textgen.errors import shown
from textgen.inference.generic import apply_stepwise
from textgen.inference.weights import (
    BidirectionalWeights,
    Network,
    Pointwise,
    Recurrent,
    Stepwise,
)
from textgen.saving.container import Contents, refusal
from textgen.saving.keras_config import (
    Layer,
    Version,
    is_whole,
    read_config,
    read_version,
)
from textgen.saving.keras_layers import SOFTMAX, embedding, recurrent, stepwise
from textgen.saving.keras_schema import (
    IDLE_LAYERS,
    RECURRENT_LAYERS,
    STEPWISE_LAYERS,
    WITHOUT_ARRAYS,
)

MAX_SEQ_LENGTH = 100_000
MAX_FOLDED_FLOATS = 1 << 25  # an eighth of a GiB, and as much again in passing
FOLDED_ROWS = 1024  # folded at once
MAX_FOLDED_PRODUCTS = 1 << 35  # about a second
MAX_IDENTITY = 4096  # symbols for which a one-hot table may be written out

Arrays = Mapping[str, Sequence[np.ndarray]]


@dataclass(frozen=True, eq=False)
class KerasModel:
    """A network out of a file, and how it is to be shown a text."""

    network: Network
    targets: str  # ``all``, or ``last`` if it has only seen windows from zero state
    seq_length: int | None  # T, symbols in a window, if the file says it
    divides_ids: bool  # whether it is shown ids divided by V, as numbers


def build_model(contents: Contents) -> KerasModel:
    """Build the network that Keras, in the version that wrote the file, would build."""
    version = read_version(contents.keras_version)
    layers = read_config(contents.config)
    _check_owners(layers, contents.weights)
    chain = [layer for layer in layers if layer.kind not in IDLE_LAYERS]
    _check_arrangement(layers, chain)
    symbols = [layer for layer in chain if layer.kind == "Dense"][-1].size("units")
    table, width = None, symbols
    if chain[0].kind == "Embedding":
        layer = chain.pop(0)
        table = embedding(layer, contents.weights.get(layer.name, ()), symbols)
        width = table.shape[1]
    divides_ids = table is None and _reads_numbers(layers[0], symbols)
    if divides_ids:
        table, width = (np.arange(symbols) / symbols).astype(np.float32)[:, None], 1
    last = [layer for layer in layers if layer.kind in RECURRENT_LAYERS][-1]
    parts = _parts(chain, contents.weights, width, version)
    network = _assemble(parts, table)
    carries_state = last.flag("return_sequences") or last.flag("stateful")
    if carries_state and network.reads_both_ways:
        expected = "return_sequences=False, and no state, after a Bidirectional layer"
        raise refusal(expected, f"others in {last.shown}: it would see what follows")
    targets = "all" if carries_state else "last"
    _make_read_only(network)
    seq_length = _seq_length(layers, (1,) if divides_ids else (None, symbols))
    return KerasModel(network, targets, seq_length, divides_ids)


def _parts(
    chain: Sequence[Layer], weights: Arrays, width: int, version: Version
) -> list[Recurrent | Stepwise]:
    """Build the layers of a chain, the first of which is called on ``width`` values."""
    parts: list[Recurrent | Stepwise] = []
    axis = 2  # of the values of (B, T, U)
    for layer in chain:
        arrays = weights.get(layer.name, ())
        if layer.kind in RECURRENT_LAYERS:
            parts.append(recurrent(layer, arrays, width, version))
            axis = 2 if layer.flag("return_sequences") else 1  # or of (B, U)
        else:
            parts.append(stepwise(layer, arrays, width, version, axis))
        width = parts[-1].units or width
    return parts


def _make_read_only(network: Network) -> None:
    """Let nothing write to the arrays of a network that may have several users."""
    parts = [network, *network.layers, *network.head]
    for layer in network.layers:
        if isinstance(layer, BidirectionalWeights):
            parts += [layer.forward, layer.backward]
    for part in parts:
        for value in vars(part).values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False


def _reads_numbers(first: Layer, symbols: int) -> bool:
    """Tell whether the input is one number a symbol, (B, T, 1), and not one-hot."""
    shape = first.input_shape
    return isinstance(shape, list) and shape[2:] == [1] and symbols > 1


def _check_owners(layers: Sequence[Layer], weights: Arrays) -> None:
    """Refuse arrays that no layer of the chain would take."""
    takers = {layer.name for layer in layers if layer.kind not in WITHOUT_ARRAYS}
    for name, arrays in weights.items():
        if arrays and name not in takers:
            received = f"some of {shown(name)}"
            raise refusal("arrays of the model's own layers only", received)


def _check_arrangement(layers: Sequence[Layer], chain: Sequence[Layer]) -> None:
    """Refuse any order but that of the module's docstring."""
    kinds = [layer.kind for layer in chain]
    rest = kinds[1:] if kinds[:1] == ["Embedding"] else kinds
    recurrent_places = [k for k, kind in enumerate(kinds) if kind in RECURRENT_LAYERS]
    if (
        not set(rest) <= {*RECURRENT_LAYERS, *STEPWISE_LAYERS}
        or not recurrent_places
        or "Dense" not in kinds[recurrent_places[-1] :]
        or "InputLayer" in [layer.kind for layer in layers[1:]]
    ):
        expected = "an Embedding or other input, recurrent layers and a Dense layer"
        raise refusal(expected, ", ".join(kinds[:20]) or "no layers")
    recurrents = [chain[place] for place in recurrent_places]
    followed = recurrents[:-1]
    if any(layer.distributed for layer in chain[recurrent_places[-1] :]):
        followed = recurrents
    for layer in followed:
        if not layer.flag("return_sequences"):
            received = "False, although a recurrent layer or a TimeDistributed follows"
            raise refusal(f"return_sequences=True in {layer.shown}", received)
    if len({layer.flag("stateful") for layer in recurrents}) > 1:
        raise refusal("the same stateful in all recurrent layers", "both")


def _assemble(
    parts: Sequence[Recurrent | Stepwise], table: np.ndarray | None
) -> Network:
    """Split the chain into input table, recurrent part, head and last dense layer."""
    places = [k for k, part in enumerate(parts) if isinstance(part, Recurrent)]
    first, last = places[0], places[-1]
    before = [part for part in parts[:first] if isinstance(part, Stepwise)]
    after = [part for part in parts[last:] if isinstance(part, Stepwise)]
    *head, dense = _without_softmax(after)
    others = [x for x in (*parts[:last], *head, dense) if isinstance(x, Pointwise)]
    kernel, bias = getattr(dense, "kernel", None), getattr(dense, "bias", None)
    if any(x.activation == SOFTMAX for x in others) or kernel is None or bias is None:
        expected = "softmax, or nothing, directly after the last Dense layer"
        raise refusal(f"{expected} and nowhere else", "another order")
    assert isinstance(dense, Pointwise)
    if dense.activation != "linear":
        raise refusal("softmax or no activation at the end", repr(dense.activation))
    table = _folded(table, before, len(bias))
    layers = tuple(parts[first : last + 1])
    return Network(table, layers, kernel, bias, tuple(head))


def _without_softmax(head: Sequence[Stepwise]) -> list[Stepwise]:
    """Take the softmax from the end, and activations that do nothing."""
    head = [
        x
        for x in head
        if not isinstance(x, Pointwise) or x.units or x.activation != "linear"
    ]
    *before, last = head
    if not isinstance(last, Pointwise) or last.activation != SOFTMAX:
        return head
    if last.kernel is None:
        return before
    return [*before, Pointwise(last.kernel, last.bias, "linear")]


def _folded(
    table: np.ndarray | None, layers: Sequence[Stepwise], symbols: int
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
    kernels = [getattr(layer, "kernel", None) for layer in layers]
    weights = sum(kernel.size for kernel in kernels if kernel is not None)
    for what, each, most in (
        ("values", widest, MAX_FOLDED_FLOATS),
        ("products", weights, MAX_FOLDED_PRODUCTS),
    ):
        if symbols * each > most:
            expected = f"at most {most:,} {what} of all symbols in the first layers"
            raise refusal(expected, f"{symbols:,} times {each:,}")
    # In blocks, whose intermediate values take little room.
    blocks = np.array_split(table, -(-symbols // FOLDED_ROWS))
    table = np.concatenate([apply_stepwise(block, layers) for block in blocks])
    if not np.isfinite(table).all():
        raise refusal("finite values after the first layers", "some beyond float32")
    return table


def _seq_length(layers: Sequence[Layer], widths: Sequence[int | None]) -> int | None:
    """Return how many symbols a window had, by the first layer's input shape.

    The widths are what one symbol of the input may have, where no Embedding reads it.
    """
    first, shape = layers[0], layers[0].input_shape
    if shape is None:
        length = first.settings.get("input_length")
    else:
        embeds = any(layer.kind == "Embedding" for layer in layers)
        rank = 2 if embeds else 3
        what = "symbols" if embeds else f"{widths[-1]:,} values a symbol"
        fits = isinstance(shape, list) and len(shape) == rank
        if not fits or (not embeds and shape[2] not in widths):
            expected = f"an input of {what} in {first.shown}"
            raise refusal(expected, f"the shape {shown(shape)}")
        length = shape[1]
    if length is not None and not (is_whole(length) and 1 <= length <= MAX_SEQ_LENGTH):
        expected = f"windows of 1 to {MAX_SEQ_LENGTH:,} symbols in {first.shown}"
        raise refusal(expected, shown(length))
    return length
