"""Networks that read a window in both directions, in NumPy.

A layer that begins at the window's end has to read all of it anew whenever a symbol is
added. Such networks therefore have no state between steps, only the last T symbols.
"""

from __future__ import annotations

import numpy as np

from textgen.inference.base import input_table
from textgen.inference.generic import apply_stepwise, make_cell, quietly
from textgen.inference.weights import (
    BidirectionalWeights,
    Network,
    OneDirection,
    Recurrent,
)


class BothWays:
    """Computes what a network of `Network.reads_both_ways` makes of whole windows."""

    def __init__(self, network: Network) -> None:
        """Prepare the first layer's input tables."""
        self._network = network
        first = network.layers[0]
        assert isinstance(first, Recurrent)
        self._tables = {
            id(one): input_table(network.embedding, one.kernel, one.bias)
            for one in _directions(first)
        }
        self._last = len(network.layers) - 1

    @quietly
    def read(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return the last recurrent layer's output (B, U) for windows of ids (B, T).

        Only the last of a window's ids are its text, as many as its ``lengths`` (B,)
        says. Those before are skipped, and not cut off, so that all products have one
        shape: in another one they may be rounded otherwise, and what becomes of a text
        would depend on how long the others are.
        """
        window = ids.shape[1]
        skipped = np.arange(window) < window - lengths[:, None]
        outputs: np.ndarray | None = None  # (B, t, U) of the layer before
        for number, layer in enumerate(self._network.layers):
            if not isinstance(layer, Recurrent):
                assert outputs is not None, "the first layer is a recurrent one"
                outputs = apply_stepwise(outputs, [layer])
                continue
            of_each = [
                self._run(one, ids, outputs, skipped, backwards=place == 1)
                for place, one in enumerate(_directions(layer))
            ]
            if number == self._last:  # what each gives at its end
                of_each = [of_each[0][:, -1], *(one[:, 0] for one in of_each[1:])]
            elif isinstance(layer, BidirectionalWeights):  # as Keras has it
                for one in of_each:
                    one[skipped] = 0
            outputs = _merged(of_each, getattr(layer, "merge", "concat"))
        assert outputs is not None
        return outputs

    def _run(
        self,
        layer: OneDirection,
        ids: np.ndarray,
        outputs: np.ndarray | None,
        skipped: np.ndarray,
        *,
        backwards: bool,
    ) -> np.ndarray:
        """Return a layer's outputs (B, t, U), each where the symbol stands."""
        if outputs is None:
            received = self._tables[id(layer)][ids]
        else:
            received = outputs @ layer.kernel + layer.bias
        rows, steps = ids.shape
        cell = make_cell(layer, rows)
        made = np.empty((rows, steps, layer.units), np.float32)
        for step in range(steps)[:: -1 if backwards else 1]:
            kept = skipped[:, step]
            before = [state[kept] for state in cell.state]
            cell.step(received[:, step])
            for state, earlier in zip(cell.state, before, strict=True):
                state[kept] = earlier
            made[:, step] = cell.output
        return made


def _directions(layer: Recurrent) -> tuple[OneDirection, ...]:
    if isinstance(layer, BidirectionalWeights):
        return layer.forward, layer.backward
    return (layer,)


def _merged(outputs: list[np.ndarray], merge: str) -> np.ndarray:
    if merge == "concat":
        return np.concatenate(outputs, axis=-1)
    one, other = outputs
    if merge == "mul":
        return one * other
    return one + other if merge == "sum" else (one + other) / 2
