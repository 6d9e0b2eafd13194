"""A trained network in ONNX, the form that other runtimes read.

    ids (B, T) ─► Gather ─► LSTM, GRU or RNN … ─► MatMul, Add ─► logits (B, T, V)

All operators are standard ones; one-hot input has OneHot in place of Gather. The state
of each layer goes in and out, so that a text is completed symbol by symbol; zeros begin
a text. What a program has to know beside the network is in the file's properties:

    symbols       in id order, a JSON list
    level         ``word`` or ``bpe`` if symbols have several characters; else absent
    merges        of ``bpe``: pairs of ids that are joined, first to last, a JSON list
    labels        the id of each label that a text may begin with, JSON; maybe absent
    kind          ``lines`` or ``text``, what the model was trained on
    end_id        what is read before anything else, and ends a completion; maybe absent
    targets       ``all``: the state goes on; ``last``: see `seq_length`
    seq_length    symbols of a training window; a model of targets ``last`` is given
                  exactly the last so many from zero state, for each symbol anew
    temperature   what the logits are divided by, unless one wishes another
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from textgen.config import CompletionConfig
from textgen.errors import ModelFileError, TextgenError
from textgen.inference.weights import (
    BidirectionalWeights,
    GRUWeights,
    LSTMWeights,
    Network,
    OneDirection,
    SimpleRNNWeights,
)
from textgen.saving.trained_model import TrainedModel
from textgen.system.process import is_installed

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8  # of the file's own form, the one that came with this opset
INSTALL = "install it with: pip install 'textgen-lstm[onnx]'"
# The operators' names of activations, with their alpha and beta where they have any.
ACTIVATIONS: dict[str, tuple[str, ...] | tuple[str, float, float]] = {
    "hard_sigmoid": ("HardSigmoid", 0.2, 0.5),
    "hard_sigmoid_3": ("HardSigmoid", 1 / 6, 0.5),
    "relu": ("Relu",),
    "sigmoid": ("Sigmoid",),
    "tanh": ("Tanh",),
}


def exportable_layers(network: Network) -> tuple[OneDirection, ...]:
    """Return the recurrent layers of a network that can be given to other programs.

    It is recurrent layers that read forwards, and one dense layer: all that we train. A
    `ModelFileError` says what another program's has beside them.
    """
    layers = [x for x in network.layers if isinstance(x, OneDirection)]
    others = [x for x in network.layers if not isinstance(x, OneDirection)]
    activations = {name for layer in layers for name in _activations(layer)}
    received = ""
    if any(isinstance(layer, BidirectionalWeights) for layer in others):
        received = "one that reads in both directions"
    elif others or network.head:
        received = "one with further layers between or after them"
    elif unknown := sorted(activations - set(ACTIVATIONS)):
        received = f"one with the activation {unknown[0]}"
    if received:
        expected = "expected a network of recurrent layers and one dense layer"
        advice = "export one that `textgen train` has made"
        raise ModelFileError(f"{expected}, but received {received}", advice)
    return tuple(layers)


def _activations(layer: OneDirection) -> tuple[str, ...]:
    """Return the names of a layer's activations, in the operators' order."""
    if isinstance(layer, LSTMWeights):
        return layer.recurrent_activation, layer.activation, layer.activation
    if isinstance(layer, GRUWeights):
        return layer.recurrent_activation, layer.activation
    return (layer.activation,)


def onnx_bytes(model: TrainedModel) -> bytes:
    """Return a model as an ONNX file, checked by the `onnx` package.

    Inputs are ``ids`` (B, T) int64, and for each layer, from 0, its state ``h_0``
    (B, U) float32 and, of an LSTM layer, ``c_0``. Outputs are ``logits`` (B, T, V)
    after each of the symbols, and the states that they lead to, ``next_h_0`` and so
    forth. The gates' formulas are those of the operators LSTM, GRU and RNN at
    https://onnx.ai/onnx/operators/.

    A `TextgenError` says that the package is missing, a `ModelFileError` that the
    network can't be exported.
    """
    layers = exportable_layers(model.network)
    if not is_installed("onnx"):
        raise TextgenError("writing ONNX needs the package onnx", INSTALL)
    import onnx

    made = onnx.helper.make_model(
        _Graph(model.network, layers).finished(),
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        producer_name="textgen",
    )
    onnx.helper.set_model_props(made, dict(_properties(model)))
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)


def _properties(model: TrainedModel) -> Iterator[tuple[str, str]]:
    """Yield the file's properties, which the module's docstring explains."""
    vocabulary = model.vocabulary
    yield "symbols", json.dumps(vocabulary.symbols)
    if vocabulary.level != "character":
        yield "level", vocabulary.level
    if vocabulary.merges:
        yield "merges", json.dumps(vocabulary.to_dict()["merges"])
    if vocabulary.labels:
        ids = vocabulary.label_ids.tolist()
        yield "labels", json.dumps(dict(zip(vocabulary.labels, ids, strict=True)))
    yield "kind", model.kind
    if model.end_id is not None:
        yield "end_id", str(model.end_id)
    yield "targets", model.windows.targets
    yield "seq_length", str(model.windows.seq_length)
    yield "temperature", str(CompletionConfig.temperature)


class _Graph:
    """The graph in the making; between layers its tensors are (T, B, D)."""

    def __init__(self, network: Network, layers: Sequence[OneDirection]) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs = [_tensor("ids", "batch", "time", kind="INT64")]
        self._outputs = [_tensor("logits", "batch", "time", network.vocabulary_size)]
        self._constant("axis_0", np.array([0]))
        self._constant("axis_1", np.array([1]))
        hidden = self._read_ids(network)
        for number, layer in enumerate(layers):
            hidden = self._recurrent(layer, number, hidden)
        self._constant("dense_kernel", network.dense_kernel)
        self._constant("dense_bias", network.drawn_bias)
        self._node("MatMul", [hidden, "dense_kernel"], "products")
        self._node("Add", ["products", "dense_bias"], "logits_by_time")
        self._node("Transpose", ["logits_by_time"], "logits", perm=[1, 0, 2])

    def finished(self) -> onnx.GraphProto:
        """Return the graph."""
        import onnx

        return onnx.helper.make_graph(
            self._nodes, "textgen", self._inputs, self._outputs, self._constants
        )

    def _read_ids(self, network: Network) -> str:
        """Let ids (B, T) become the first layer's input; return what it is called."""
        self._node("Transpose", ["ids"], "ids_by_time", perm=[1, 0])
        if network.embedding is None:
            self._constant("vocabulary_size", np.array(network.vocabulary_size))
            self._constant("off_on", np.array([0, 1], np.float32))
            self._node(
                "OneHot", ["ids_by_time", "vocabulary_size", "off_on"], "symbols"
            )
        else:
            self._constant("embedding", network.embedding)
            self._node("Gather", ["embedding", "ids_by_time"], "symbols")
        return "symbols"

    def _recurrent(self, layer: OneDirection, number: int, below: str) -> str:
        """Add a layer with its states; return what its outputs are called."""
        operator, kernels, options = _operator(layer)
        named = []
        for name, array in zip(("W", "R", "B"), kernels, strict=True):
            named.append(f"{name}_{number}")
            self._constant(named[-1], array[None])  # of the one direction
        names = [
            f"{letter}_{number}" for letter in ("hc" if operator == "LSTM" else "h")
        ]
        for name in names:
            self._inputs.append(_tensor(name, "batch", layer.units))
            self._outputs.append(_tensor(f"next_{name}", "batch", layer.units))
            self._node("Unsqueeze", [name, "axis_0"], f"{name}_before")
        last = [f"{name}_after" for name in names]
        before = [f"{name}_before" for name in names]
        outputs = f"outputs_{number}"
        self._node(
            operator,
            [below, *named, "", *before],  # no lengths: all texts are as long
            f"{outputs}_of_each",
            *last,
            hidden_size=layer.units,
            **options,
            **_activation_options(layer),
        )
        self._node("Squeeze", [f"{outputs}_of_each", "axis_1"], outputs)
        for name, after in zip(names, last, strict=True):
            self._node("Squeeze", [after, "axis_0"], f"next_{name}")
        return outputs

    def _node(
        self, operator: str, inputs: Sequence[str], *outputs: str, **options: Any
    ) -> None:
        import onnx

        self._nodes.append(onnx.helper.make_node(operator, inputs, outputs, **options))

    def _constant(self, name: str, array: np.ndarray) -> None:
        import onnx

        array = np.ascontiguousarray(array)
        self._constants.append(onnx.numpy_helper.from_array(array, name))


def _tensor(name: str, *shape: str | int, kind: str = "FLOAT") -> onnx.ValueInfoProto:
    import onnx

    kind_id = getattr(onnx.TensorProto, kind)
    return onnx.helper.make_tensor_value_info(name, kind_id, shape)


def _operator(layer: OneDirection) -> tuple[str, list[np.ndarray], dict[str, Any]]:
    """Return a layer's operator, its W (G, D), R (G, U) and B (2G,), and options.

    The rows are those of G gate units: i, o, f, c of an LSTM, where Keras has
    i, f, c, o, and z, r, h of a GRU, as in Keras.
    """
    kernels = [layer.kernel.T, layer.recurrent_kernel.T]
    recurrent_bias = np.zeros_like(layer.bias)
    if isinstance(layer, SimpleRNNWeights):
        return "RNN", [*kernels, np.concatenate([layer.bias, recurrent_bias])], {}
    if isinstance(layer, GRUWeights):
        resets_after = layer.recurrent_bias is not None
        if layer.recurrent_bias is not None:
            recurrent_bias = layer.recurrent_bias
        bias = np.concatenate([layer.bias, recurrent_bias])
        return "GRU", [*kernels, bias], {"linear_before_reset": int(resets_after)}
    ordered = []
    for weights in (*kernels, layer.bias):
        i, f, c, o = np.split(weights, 4)
        ordered.append(np.concatenate([i, o, f, c]))
    ordered[-1] = np.concatenate([ordered[-1], recurrent_bias])
    return "LSTM", ordered, {}


def _activation_options(layer: OneDirection) -> dict[str, Any]:
    found = [ACTIVATIONS[name] for name in _activations(layer)]
    options: dict[str, Any] = {"activations": [name for name, *_ in found]}
    if numbers := [rest for _, *rest in found if rest]:
        alphas, betas = zip(*numbers, strict=True)
        options |= {"activation_alpha": alphas, "activation_beta": betas}
    return options
