"""Model files as each Keras wrote them, and what they predict, from the formulas.

Everything here is written from the description of the formats and of the layers; it
shares no code with the package. A `Net` is a list of layers with one weight matrix a
gate, in float64. `Net.predict` goes through it gate by gate and symbol by symbol;
the functions below it store the same matrices as Keras 1, 2, 3 or cuDNN lay them out,
with h5py alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import h5py
import numpy as np

# The formulas


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS: dict[str, Callable] = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda x: np.where(x > 0, x, 0),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "selu": lambda x: (
        1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1))
    ),
    "softplus": lambda x: np.log(np.exp(x) + 1),
    "softsign": lambda x: x / (np.abs(x) + 1),
    "swish": lambda x: x * sigmoid(x),
    "hard_sigmoid of Keras 2": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "hard_sigmoid of Keras 3": lambda x: np.clip(x + 3, 0, 6) / 6,
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(),
}
GATES = {"LSTM": "ifco", "GRU": "zrh", "SimpleRNN": "h"}


@dataclass
class Rnn:
    """``matrices[gate]`` is W (D, U), U (U, U), b (U,); a GRU with reset_after has a
    fourth, the recurrent bias."""

    kind: str
    matrices: dict[str, list[np.ndarray]]
    activation: str = "tanh"
    gate_activation: str = "sigmoid"
    reset_after: bool = False

    @property
    def units(self) -> int:
        return len(next(iter(self.matrices.values()))[1])

    def zero(self):
        return np.zeros(self.units), np.zeros(self.units)

    def step(self, x, state):
        h, c = state
        act, gate = ACTIVATIONS[self.activation], ACTIVATIONS[self.gate_activation]
        sums = {
            name: x @ w[0] + h @ w[1] + sum(w[2:]) for name, w in self.matrices.items()
        }
        if self.kind == "LSTM":
            i, f, o = (gate(sums[name]) for name in "ifo")
            c = f * c + i * act(sums["c"])
            return o * act(c), (o * act(c), c)
        if self.kind == "SimpleRNN":
            h = act(sums["h"])
            return h, (h, c)
        z, r = gate(sums["z"]), gate(sums["r"])
        w = self.matrices["h"]
        if self.reset_after:
            candidate = act(x @ w[0] + w[2] + r * (h @ w[1] + w[3]))
        else:
            candidate = act(x @ w[0] + (r * h) @ w[1] + w[2])
        h = z * h + (1 - z) * candidate
        return h, (h, c)


@dataclass
class Dense:
    kernel: np.ndarray
    bias: np.ndarray
    activation: str = "linear"


@dataclass
class Net:
    """``table`` (V, D) is the embedding, None for one-hot; ``masked`` ids are padding;
    ``layers`` hold `Rnn`, `Dense` and names of activations."""

    size: int
    table: np.ndarray | None
    layers: list
    masked: tuple[int, ...] = ()

    def predict(self, ids) -> np.ndarray:
        """Return the last layer's output (V,) after the last of these symbols."""
        table = np.eye(self.size) if self.table is None else self.table
        states = {k: x.zero() for k, x in enumerate(self.layers) if isinstance(x, Rnn)}
        for symbol in ids:
            x = table[symbol]
            for k, layer in enumerate(self.layers):
                if isinstance(layer, Rnn):
                    if symbol in self.masked:
                        x = states[k][0]
                    else:
                        x, states[k] = layer.step(x, states[k])
                elif isinstance(layer, Dense):
                    x = ACTIVATIONS[layer.activation](x @ layer.kernel + layer.bias)
                else:
                    x = ACTIVATIONS[layer](x)
        return x


# The arrays as they were stored


def array_names_1(name: str, rnn: Rnn) -> list[tuple[str, np.ndarray]]:
    """Keras 1: an array for each matrix; LSTM in the order i, c, f, o."""
    gates = "icfo" if rnn.kind == "LSTM" else GATES[rnn.kind]
    suffix = (lambda gate: f"_{gate}") if len(gates) > 1 else (lambda gate: "")
    return [
        (f"{name}_{letter}{suffix(gate)}", matrix)
        for gate in gates
        for letter, matrix in zip("WUb", rnn.matrices[gate], strict=True)
    ]


def fused(rnn: Rnn) -> list[np.ndarray]:
    """Keras 2 and 3, and Keras 1 with ``consume_less="gpu"``."""
    by_letter = list(zip(*(rnn.matrices[g] for g in GATES[rnn.kind]), strict=True))
    arrays = [np.concatenate(parts, axis=-1) for parts in by_letter]
    if rnn.reset_after:
        arrays[2:] = [np.stack(arrays[2:])]
    return arrays


def cudnn(rnn: Rnn, rng) -> list[np.ndarray]:
    """CuDNNLSTM and CuDNNGRU: transposed kernels and two biases in one array."""
    gates = [rnn.matrices[gate] for gate in GATES[rnn.kind]]
    # A (U, D) matrix, row after row, in the place of a (D, U) one.
    kernels = [np.ascontiguousarray(w.T).reshape(w.shape) for w, *_ in gates]
    recurrents = [u.T for _, u, *_ in gates]
    if rnn.reset_after:
        halves = [[gate[2] for gate in gates], [gate[3] for gate in gates]]
    else:
        part = [rng.normal(size=rnn.units) for _ in gates]
        halves = [part, [g[2] - p for g, p in zip(gates, part, strict=True)]]
    bias = np.concatenate([np.concatenate(half) for half in halves])
    return [np.concatenate(kernels, 1), np.concatenate(recurrents, 1), bias]


def write_file(
    path: Path,
    config: dict,
    version: str | None,
    arrays: dict[str, list[tuple[str, np.ndarray]]],
    dtype: str = "f4",
) -> Path:
    """Write an HDF5 file in the layout that all of Keras' versions share."""
    with h5py.File(path, "w") as file:
        if version is not None:
            file.attrs["keras_version"] = version.encode()
            file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps(config).encode()
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [name.encode() for name in arrays]
        for name, named in arrays.items():
            group = weights.create_group(name)
            group.attrs["weight_names"] = [weight.encode() for weight, _ in named]
            for weight, array in named:
                group.create_dataset(weight, data=array.astype(dtype))
        # What a training leaves behind; nobody has to read it.
        file.attrs["training_config"] = b'{"optimizer_config": {"class_name": "Adam"}}'
        file.create_dataset("optimizer_weights/Adam/iterations:0", data=7)
    return path


@dataclass
class Fixture:
    """A file's parts; change them, then `write` it."""

    net: Net
    config: dict
    version: str | None
    arrays: dict[str, list[tuple[str, np.ndarray]]]
    targets: str
    window: int | None = None
    dtype: str = "f4"
    symbols: str = field(init=False)

    def __post_init__(self) -> None:
        self.symbols = "\n abcdefghijklmnopqrstuvwxyz'!,-.:;?&()"[: self.net.size]

    def write(self, path: Path) -> Path:
        return write_file(path, self.config, self.version, self.arrays, self.dtype)

    def layer(self, kind: str) -> dict:
        """Return the settings of the first layer of a kind."""
        items = self.config["config"]
        items = items if isinstance(items, list) else items["layers"]
        return next(x["config"] for x in items if x["class_name"] == kind)


# Nets


def float32(array: np.ndarray) -> np.ndarray:
    """What is stored is float32, so the formulas get just that."""
    return array.astype(np.float32).astype(np.float64)


def make_rnn(rng, kind: str, inputs: int, units: int, **options) -> Rnn:
    def normal(*shape):
        return float32(rng.normal(size=shape, scale=0.6))

    matrices = {}
    for gate in GATES[kind]:
        matrices[gate] = [normal(inputs, units), normal(units, units), normal(units)]
        if options.get("reset_after"):
            matrices[gate].append(normal(units))
    return Rnn(kind, matrices, **options)


def make_dense(rng, inputs: int, units: int, activation: str = "linear") -> Dense:
    kernel = float32(rng.normal(size=(inputs, units)))
    return Dense(kernel, float32(rng.normal(size=units)), activation)


def stack(seed, size, kind, units, table=0, **options) -> Net:
    """Return a net of one-hot or embedded input, stacked layers, dense softmax."""
    rng = np.random.default_rng(seed)
    embedding = float32(rng.normal(size=(size, table))) if table else None
    layers, below = [], table or size
    for u in units:
        layers.append(make_rnn(rng, kind, below, u, **options))
        below = u
    layers += [make_dense(rng, below, size), "softmax"]
    return Net(size, embedding, layers)


# Files of each kind

OLD_GATE = "hard_sigmoid of Keras 2"
KERAS_1_RNN = """{
  "init": "glorot_uniform", "inner_init": "orthogonal", "activation": "tanh",
  "return_sequences": false, "go_backwards": false, "stateful": false, "unroll": false,
  "consume_less": "cpu", "W_regularizer": null, "U_regularizer": null,
  "b_regularizer": null, "dropout_W": 0.0, "dropout_U": 0.0, "input_dim": null,
  "input_length": null}"""
KERAS_1_DENSE = """{
  "init": "glorot_uniform", "activation": "linear", "W_regularizer": null,
  "b_regularizer": null, "activity_regularizer": null, "W_constraint": null,
  "b_constraint": null, "bias": true, "input_dim": null}"""
KERAS_1_EMBEDDING = """{
  "input_dim": 8, "output_dim": 3, "input_length": 1, "init": "uniform",
  "mask_zero": false, "dropout": 0.0, "W_regularizer": null,
  "activity_regularizer": null, "W_constraint": null, "batch_input_shape": [1, 1],
  "input_dtype": "int32"}"""
KERAS_2_RNN = """{
  "return_sequences": false, "return_state": false, "go_backwards": false,
  "stateful": false, "kernel_regularizer": null, "bias_constraint": null,
  "recurrent_initializer":
    {"class_name": "Orthogonal", "config": {"gain": 1.0, "seed": null}}}"""
KERAS_2_NOT_CUDNN = """{
  "activation": "tanh", "use_bias": true, "dropout": 0.2, "recurrent_dropout": 0.0,
  "unroll": false}"""
KERAS_2_DENSE = """{
  "activation": "linear", "use_bias": true, "kernel_regularizer": null,
  "bias_initializer": {"class_name": "Zeros", "config": {}}}"""
KERAS_3_POLICY = """{
  "module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"},
  "registered_name": null}"""


def item(kind: str, name: str, **settings) -> dict:
    return {"class_name": kind, "config": {"name": name, "trainable": True, **settings}}


def keras_1_rnn(kind: str, name: str, units: int, **settings) -> dict:
    gates = {} if kind == "SimpleRNN" else {"inner_activation": "hard_sigmoid"}
    forget = {"forget_bias_init": "one"} if kind == "LSTM" else {}
    settings = json.loads(KERAS_1_RNN) | gates | forget | settings
    return item(kind, name, output_dim=units, **settings)


def keras_1_dense(name: str, units: int) -> dict:
    return item("Dense", name, output_dim=units, **json.loads(KERAS_1_DENSE))


def keras_2_rnn(kind: str, name: str, units: int, **settings) -> dict:
    described = json.loads(KERAS_2_RNN)
    if not kind.startswith("CuDNN"):
        described |= json.loads(KERAS_2_NOT_CUDNN)
    if kind in ("LSTM", "GRU"):
        described["recurrent_activation"] = "hard_sigmoid"
    if "LSTM" in kind:
        described["unit_forget_bias"] = True
    return item(kind, name, units=units, **described | settings)


def keras_2_dense(name: str, units: int, **settings) -> dict:
    return item("Dense", name, units=units, **json.loads(KERAS_2_DENSE) | settings)


def softmax(name: str = "activation_1") -> dict:
    return item("Activation", name, activation="softmax")


def listed(items: list[dict]) -> dict:
    """Sequential of Keras 1 and up to 2.2.2."""
    return {"class_name": "Sequential", "config": items}


def mapped(items: list[dict], name: str = "sequential_1") -> dict:
    """Sequential from 2.2.3 on."""
    return {"class_name": "Sequential", "config": {"name": name, "layers": items}}


def functional(items: list[dict], kind: str = "Model", tail: tuple = ({},)) -> dict:
    """Functional model of Keras 1 (no tail) and 2."""
    before = None
    layers = []
    for x in items:
        name = x["config"]["name"]
        calls = [[[before, 0, 0, *tail]]] if before else []
        layers.append({**x, "name": name, "inbound_nodes": calls})
        before = name
    first, last = layers[0]["name"], layers[-1]["name"]
    model = {"name": "model_1", "layers": layers}
    model |= {"input_layers": [[first, 0, 0]], "output_layers": [[last, 0, 0]]}
    return {"class_name": kind, "config": model}


def weights_of(items: list[dict], net: Net, rnn_arrays, names: tuple) -> dict:
    """Return the arrays of each layer that has any, in the net's order.

    ``rnn_arrays(item, rnn)`` names and lays out those of a recurrent layer; ``names``
    are for a table, a kernel and a bias, ``{0}`` standing for the layer's name.
    """
    parts = iter(x for x in net.layers if not isinstance(x, str))
    arrays = {}
    for x in items:
        kind, name = x["class_name"], x["config"]["name"]
        table, kernel, bias = (template.format(name) for template in names)
        if kind == "Embedding":
            arrays[name] = [(table, net.table)]
        elif kind in ("Dense", "TimeDistributed"):
            dense = next(parts)
            arrays[name] = [(kernel, dense.kernel), (bias, dense.bias)]
        elif kind.endswith(("LSTM", "GRU", "RNN")):
            arrays[name] = rnn_arrays(x, next(parts))
    return arrays


def weights_1(items: list[dict], net: Net) -> dict:
    def rnn_arrays(x, rnn):
        name = x["config"]["name"]
        if x["config"]["consume_less"] == "gpu":
            letters = zip("WUb", fused(rnn), strict=True)
            return [(f"{name}_{letter}", array) for letter, array in letters]
        return array_names_1(name, rnn)

    return weights_of(items, net, rnn_arrays, ("{0}_W", "{0}_W", "{0}_b"))


def weights_2(
    items: list[dict], net: Net, path="{0}", cell="", suffix=":0", seed=0
) -> dict:
    """Keras 2 and 3: ``lstm_1/kernel:0`` and so on."""
    rng = np.random.default_rng(seed)

    def rnn_arrays(x, rnn):
        is_cudnn = x["class_name"].startswith("CuDNN")
        arrays = cudnn(rnn, rng) if is_cudnn else fused(rnn)
        letters = ["kernel", "recurrent_kernel", "bias"]
        if not x["config"].get("use_bias", True):
            letters.pop()
        place = (cell or path).format(x["config"]["name"])
        pairs = zip(letters, arrays, strict=False)
        return [(f"{place}/{letter}{suffix}", array) for letter, array in pairs]

    names = [f"{path}/{x}{suffix}" for x in ("kernel", "bias")]
    return weights_of(items, net, rnn_arrays, (f"{{0}}/embeddings{suffix}", *names))


def keras_1_lstm(size: int = 9, units=(5, 4), window: int = 6) -> Fixture:
    """1.2.2: one-hot, many-to-one, an array for each gate."""
    net = stack(1, size, "LSTM", units, gate_activation=OLD_GATE)
    first = {"return_sequences": True, "batch_input_shape": [None, window, size]}
    items = [
        keras_1_rnn("LSTM", "lstm_1", units[0], **first),
        item("Dropout", "dropout_1", p=0.2),
        keras_1_rnn("LSTM", "lstm_2", units[1]),
        keras_1_dense("dense_1", size),
        softmax(),
    ]
    arrays = weights_1(items, net) | {"dropout_1": [], "activation_1": []}
    return Fixture(net, listed(items), "1.2.2", arrays, "last", window)


def keras_1_gru() -> Fixture:
    """1.0, which wrote no version: every position, arrays without a name of theirs."""
    net = stack(2, 8, "GRU", (5,), gate_activation=OLD_GATE)
    first = {"return_sequences": True, "batch_input_shape": [None, None, 8]}
    inner = keras_1_dense("dense_1", 8)
    items = [
        keras_1_rnn("GRU", "gru_1", 5, **first),
        item("TimeDistributed", "timedistributed_1", layer=inner),
        softmax(),
    ]
    arrays = {
        name: [(f"param_{k}", array) for k, (_, array) in enumerate(pairs)]
        for name, pairs in weights_1(items, net).items()
    }
    return Fixture(net, listed(items), None, arrays, "all")


def keras_1_fused() -> Fixture:
    """1.1 with ``consume_less="gpu"``: one array for all gates; embedded, stateful."""
    net = stack(3, 8, "LSTM", (5,), table=3, gate_activation=OLD_GATE)
    items = [
        item("Embedding", "embedding_1", **json.loads(KERAS_1_EMBEDDING)),
        keras_1_rnn("LSTM", "lstm_1", 5, stateful=True, consume_less="gpu"),
        keras_1_dense("dense_1", 8),
        softmax(),
    ]
    return Fixture(net, listed(items), "1.1.1", weights_1(items, net), "all", 1)


def keras_1_simple_rnn() -> Fixture:
    """1.2.0, functional."""
    net = stack(4, 7, "SimpleRNN", (6,))
    items = [
        item("InputLayer", "input_1", batch_input_shape=[None, 5, 7], sparse=False),
        keras_1_rnn("SimpleRNN", "simplernn_1", 6),
        keras_1_dense("dense_1", 7),
        softmax(),
    ]
    config, arrays = functional(items, tail=()), weights_1(items, net)
    return Fixture(net, config, "1.2.0", arrays, "last", 5)


def keras_2_lstm(size: int = 9, units=(5, 4), window: int = 6) -> Fixture:
    """2.0.6: one-hot, many-to-one, a list of layers, hard_sigmoid, as in the course."""
    net = stack(5, size, "LSTM", units, gate_activation=OLD_GATE)
    first = {"return_sequences": True, "batch_input_shape": [None, window, size]}
    first |= {"dtype": "float32", "implementation": 0}
    items = [
        keras_2_rnn("LSTM", "lstm_1", units[0], **first),
        item("Dropout", "dropout_1", rate=0.2),
        keras_2_rnn("LSTM", "lstm_2", units[1], implementation=0),
        item("Dropout", "dropout_2", rate=0.2),
        keras_2_dense("dense_1", size),
        softmax(),
    ]
    arrays = weights_2(items, net) | {"dropout_1": []}
    return Fixture(net, listed(items), "2.0.6", arrays, "last", window)


def keras_2_default_gate() -> Fixture:
    """2.1.5, in which nothing says what the gates' activation is."""
    fixture = keras_2_lstm()
    fixture.version = "2.1.5"
    for layer in fixture.config["config"]:
        layer["config"].pop("recurrent_activation", None)
    return fixture


def keras_23_default_gate() -> Fixture:
    """2.3.1 likewise, which had another default; a mapping of layers."""
    net = stack(6, 7, "LSTM", (5,))
    items = [
        keras_2_rnn("LSTM", "lstm_1", 5, batch_input_shape=[None, 4, 7]),
        keras_2_dense("dense_1", 7, activation="softmax"),
    ]
    del items[0]["config"]["recurrent_activation"]
    arrays = weights_2(items, net, path="{0}/{0}")
    return Fixture(net, mapped(items), "2.3.1", arrays, "last", 4)


def keras_23_no_activation() -> Fixture:
    """2.3.1 with ``activation=None``, which isn't the default."""
    fixture = keras_23_default_gate()
    fixture.layer("LSTM")["activation"] = None
    fixture.net.layers[0].activation = "linear"
    return fixture


def keras_2_gru(reset_after: bool = False, use_bias: bool = True) -> Fixture:
    """2.2.4: two GRU layers, TimeDistributed."""
    net = stack(7, 8, "GRU", (5, 4), gate_activation=OLD_GATE, reset_after=reset_after)
    if not use_bias:
        for rnn in net.layers[:2]:
            for matrices in rnn.matrices.values():
                matrices[2:] = [0 * bias for bias in matrices[2:]]
    options = {"reset_after": reset_after, "use_bias": use_bias}
    options |= {"return_sequences": True, "implementation": 1}
    items = [
        keras_2_rnn("GRU", "gru_1", 5, batch_input_shape=[None, None, 8], **options),
        item("SpatialDropout1D", "spatial_dropout1d_1", rate=0.1, noise_shape=None),
        keras_2_rnn("GRU", "gru_2", 4, **options),
        item("TimeDistributed", "out", layer=keras_2_dense("dense_1", 8)),
        softmax(),
    ]
    return Fixture(net, mapped(items), "2.2.4", weights_2(items, net), "all")


def keras_default_gru(version: str, reset_after: bool) -> Fixture:
    """A version's GRU of which nothing but the default says when the reset works."""
    fixture = keras_2_gru(reset_after, use_bias=False)
    for layer in fixture.config["config"]["layers"]:
        layer["config"].pop("reset_after", None)
    fixture.version = version
    return fixture


def keras_2_cudnn(kind: str) -> Fixture:
    """2.2.0: cuDNN's layers, embedded."""
    net = stack(8, 9, kind, (5, 4), table=3, reset_after=kind == "GRU")
    table = {"input_dim": 9, "output_dim": 3, "input_length": 6, "mask_zero": False}
    table |= {"batch_input_shape": [None, 6], "dtype": "float32"}
    items = [
        item("Embedding", "embedding_1", embeddings_regularizer=None, **table),
        keras_2_rnn(f"CuDNN{kind}", "rnn_1", 5, return_sequences=True),
        keras_2_rnn(f"CuDNN{kind}", "rnn_2", 4),
        keras_2_dense("dense_1", 9, activation="softmax"),
    ]
    return Fixture(net, listed(items), "2.2.0", weights_2(items, net), "last", 6)


def tf_stateful_logits() -> Fixture:
    """2.4.0 of TensorFlow: the tutorial's GRU, stateful, with logits for output."""
    net = stack(9, 8, "GRU", (6,), table=4, reset_after=True)
    net.layers.pop()
    first = {"batch_input_shape": [1, None], "dtype": "float32"}
    table = {"input_dim": 8, "output_dim": 4, "mask_zero": False, "input_length": None}
    gru = {"return_sequences": True, "stateful": True, "reset_after": True}
    gru |= {"recurrent_activation": "sigmoid", "time_major": False, "implementation": 2}
    items = [
        item("InputLayer", "embedding_input", sparse=False, ragged=False, **first),
        item("Embedding", "embedding", **first, **table),
        keras_2_rnn("GRU", "gru", 6, **gru),
        keras_2_dense("dense", 8),
    ]
    for x in items:
        del x["config"]["trainable"]
    arrays = weights_2(items, net, cell="{0}/{0}_cell")
    return Fixture(net, mapped(items), "2.4.0", arrays, "all")


def tf_time_major() -> Fixture:
    """2.2.4-tf: time before batch, so that the window is the first axis."""
    net = stack(10, 7, "LSTM", (5, 5))
    options = {"time_major": True, "recurrent_activation": "sigmoid"}
    first = {"return_sequences": True, "batch_input_shape": [4, None, 7]} | options
    items = [
        keras_2_rnn("LSTM", "lstm", 5, **first),
        keras_2_rnn("LSTM", "lstm_1", 5, **options),
        keras_2_dense("dense", 7, activation="softmax"),
    ]
    return Fixture(net, mapped(items), "2.2.4-tf", weights_2(items, net), "last", 4)


def keras_2_masked() -> Fixture:
    """2.2.4, functional: symbol 0 is padding."""
    net = stack(11, 7, "LSTM", (5, 4), table=3, gate_activation=OLD_GATE)
    net.masked = (0,)
    items = [
        item("InputLayer", "input_1", batch_input_shape=[None, None], dtype="int32"),
        item("Embedding", "embedding_1", input_dim=7, output_dim=3, mask_zero=True),
        keras_2_rnn("LSTM", "lstm_1", 5, return_sequences=True),
        keras_2_rnn("LSTM", "lstm_2", 4, return_sequences=True),
        keras_2_dense("dense_1", 7, activation="softmax"),
    ]
    return Fixture(net, functional(items), "2.2.4", weights_2(items, net), "all")


def keras_2_masking_layer() -> Fixture:
    """2.2.4: a Masking layer, which no one-hot symbol is hidden by."""
    fixture = keras_2_lstm()
    shape = fixture.layer("LSTM").pop("batch_input_shape")
    masking = item("Masking", "masking_1", mask_value=0.0, batch_input_shape=shape)
    fixture.config["config"].insert(0, masking)
    fixture.version = "2.2.2"
    return fixture


def keras_2_masking_embedded() -> Fixture:
    """2.2.4: a Masking layer after an Embedding, of which it hides one symbol."""
    fixture = keras_2_cudnn("LSTM")
    net = fixture.net
    for rnn in net.layers[:2]:
        rnn.gate_activation = OLD_GATE
    net.table[2], net.table[4, 1], net.masked = 0.5, 0.5, (2,)
    embedding, first, second, dense = fixture.config["config"]
    first["class_name"] = second["class_name"] = "LSTM"
    first["config"]["recurrent_activation"] = "hard_sigmoid"
    masking = item("Masking", "masking_1", mask_value=0.5)
    items = [embedding, masking, first, second, dense]
    return Fixture(net, mapped(items), "2.2.4", weights_2(items, net), "last", 6)


def keras_2_mixed(activation: str = "relu") -> Fixture:
    """2.2.4: dense layers before, between and after, and another activation."""
    rng = np.random.default_rng(12)
    layers = [
        make_dense(rng, 8, 5, "tanh"),
        "softsign",
        make_rnn(rng, "LSTM", 5, 4, gate_activation=OLD_GATE, activation="softsign"),
        make_dense(rng, 4, 6, activation),
        "sigmoid",
        make_rnn(rng, "SimpleRNN", 6, 5),
        activation,
        make_dense(rng, 5, 6, "tanh"),
        make_dense(rng, 6, 8, "softmax"),
    ]
    net = Net(8, None, layers)
    inner = keras_2_dense("x", 6, activation=activation)
    items = [
        keras_2_dense("d1", 5, activation="tanh", batch_input_shape=[None, 5, 8]),
        item("Activation", "a1", activation="softsign"),
        keras_2_rnn("LSTM", "r1", 4, return_sequences=True, activation="softsign"),
        item("TimeDistributed", "d2", layer=inner),
        item("Activation", "a2", activation="sigmoid"),
        keras_2_rnn("SimpleRNN", "r2", 5),
        item("Activation", "a3", activation=activation),
        keras_2_dense("d3", 6, activation="tanh"),
        item("Dropout", "drop", rate=0.5),
        keras_2_dense("d4", 8, activation="softmax"),
    ]
    return Fixture(net, mapped(items), "2.2.4", weights_2(items, net), "last", 5)


def keras_3_hard_sigmoid() -> Fixture:
    """3.0: functional, with the hard_sigmoid of Keras 3."""
    new_gate = "hard_sigmoid of Keras 3"
    net = stack(13, 7, "LSTM", (5,), table=3, gate_activation=new_gate)
    policy = json.loads(KERAS_3_POLICY)
    items = [
        item("InputLayer", "ids", batch_shape=[None, None], dtype="int32"),
        item("Embedding", "embedding", dtype=policy, input_dim=7, output_dim=3),
        keras_2_rnn("LSTM", "lstm", 5, dtype=policy, return_sequences=True, seed=None),
        keras_2_dense("dense", 7, activation="softmax", quantization_config=None),
    ]
    config = functional(items, "Functional")
    for layer in config["config"]["layers"]:
        if layer["inbound_nodes"]:
            history = layer["inbound_nodes"][0][0][:3]
            tensor = {"shape": [None, None], "keras_history": history}
            argument = {"class_name": "__keras_tensor__", "config": tensor}
            layer["inbound_nodes"] = [{"args": [argument], "kwargs": {}}]
    for end in ("input_layers", "output_layers"):
        config["config"][end] = config["config"][end][0]
    arrays = weights_2(items, net, cell="{0}/{0}_cell", suffix="")
    arrays["top_level_model_weights"] = []
    return Fixture(net, config, "3.0.5", arrays, "all")


def of_precision(dtype: str) -> Fixture:
    """2.2.4 with another ``floatx``."""
    fixture = keras_2_lstm()
    fixture.version, fixture.dtype = "2.2.4", dtype
    if dtype == "f2":
        *rnns, dense, _ = fixture.net.layers
        owned = [x for rnn in rnns for gate in rnn.matrices.values() for x in gate]
        for array in (*owned, dense.kernel, dense.bias):
            array[...] = array.astype(np.float16)
        fixture.arrays = weights_2(fixture.config["config"], fixture.net)
    fixture.layer("LSTM")["dtype"] = {"f2": "float16", "f8": "float64"}[dtype]
    return fixture


DEFAULT_RESETS = {"2.3.1": False, "2.1.6-tf": False, "2.3.0-tf": True}
DEFAULT_RESETS |= {"2.4.0": True, "2.15.0": True}
FIXTURES: dict[str, Callable[[], Fixture]] = {
    "Keras 1.2 LSTM, an array a gate": keras_1_lstm,
    "Keras 1.0 GRU, no version": keras_1_gru,
    "Keras 1.1 LSTM, fused, stateful": keras_1_fused,
    "Keras 1.2 SimpleRNN, functional": keras_1_simple_rnn,
    "Keras 2.0 LSTM, one-hot": keras_2_lstm,
    "Keras 2.1 LSTM, default gates": keras_2_default_gate,
    "Keras 2.3 LSTM, default gates": keras_23_default_gate,
    "Keras 2.3 LSTM, no activation": keras_23_no_activation,
    "Keras 2.2 GRU": keras_2_gru,
    "Keras 2.2 GRU, reset_after": lambda: keras_2_gru(reset_after=True),
    "Keras 2.2 GRU, no bias": lambda: keras_2_gru(use_bias=False),
    "Keras 2.2 GRU, reset_after, no bias": lambda: keras_2_gru(True, False),
    **{
        f"Keras {version} GRU, default reset_after": partial(
            keras_default_gru, version, after
        )
        for version, after in DEFAULT_RESETS.items()
    },
    "Keras 2.2 CuDNNLSTM": lambda: keras_2_cudnn("LSTM"),
    "Keras 2.2 CuDNNGRU": lambda: keras_2_cudnn("GRU"),
    "tf.keras GRU, stateful, logits": tf_stateful_logits,
    "tf.keras LSTM, time-major": tf_time_major,
    "Keras 2.2 LSTM, mask_zero": keras_2_masked,
    "Keras 2.2 LSTM, Masking": keras_2_masking_layer,
    "Keras 2.2 LSTM, Embedding and Masking": keras_2_masking_embedded,
    **{
        f"Keras 2.2 mixed, {name}": partial(keras_2_mixed, name)
        for name in ("relu", "elu", "selu", "softplus", "swish", "linear")
    },
    "Keras 3.0 LSTM, hard_sigmoid": keras_3_hard_sigmoid,
    "Keras 2.2 LSTM, float16": lambda: of_precision("f2"),
    "Keras 2.2 LSTM, float64": lambda: of_precision("f8"),
}
