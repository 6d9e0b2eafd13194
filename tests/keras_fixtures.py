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


def item(kind: str, name: str, **settings) -> dict:
    return {"class_name": kind, "config": {"name": name, "trainable": True, **settings}}


def keras_1_rnn(kind: str, name: str, units: int, **settings) -> dict:
    gates = {} if kind == "SimpleRNN" else {"inner_activation": "hard_sigmoid"}
    forget = {"forget_bias_init": "one"} if kind == "LSTM" else {}
    return item(
        kind,
        name,
        **{
            "output_dim": units,
            "init": "glorot_uniform",
            "inner_init": "orthogonal",
            **forget,
            "activation": "tanh",
            **gates,
            "return_sequences": False,
            "go_backwards": False,
            "stateful": False,
            "unroll": False,
            "consume_less": "cpu",
            "W_regularizer": None,
            "U_regularizer": None,
            "b_regularizer": None,
            "dropout_W": 0.0,
            "dropout_U": 0.0,
            "input_dim": None,
            "input_length": None,
            **settings,
        },
    )


def keras_1_dense(name: str, units: int, **settings) -> dict:
    return item(
        "Dense",
        name,
        output_dim=units,
        init="glorot_uniform",
        activation="linear",
        W_regularizer=None,
        b_regularizer=None,
        activity_regularizer=None,
        W_constraint=None,
        b_constraint=None,
        bias=True,
        input_dim=None,
        **settings,
    )


def keras_2_rnn(kind: str, name: str, units: int, **settings) -> dict:
    cell = {} if kind.startswith("CuDNN") else {"activation": "tanh", "use_bias": True}
    if kind in ("LSTM", "GRU"):
        cell["recurrent_activation"] = "hard_sigmoid"
    if not kind.startswith("CuDNN"):
        cell |= {"dropout": 0.2, "recurrent_dropout": 0.0, "unroll": False}
    if "LSTM" in kind:
        cell["unit_forget_bias"] = True
    orthogonal = {"class_name": "Orthogonal", "config": {"gain": 1.0, "seed": None}}
    return item(
        kind,
        name,
        **{
            "units": units,
            "return_sequences": False,
            "return_state": False,
            "go_backwards": False,
            "stateful": False,
            **cell,
            "recurrent_initializer": orthogonal,
            "kernel_regularizer": None,
            "bias_constraint": None,
            **settings,
        },
    )


def keras_2_dense(name: str, units: int, **settings) -> dict:
    return item(
        "Dense",
        name,
        **{
            "units": units,
            "activation": "linear",
            "use_bias": True,
            "bias_initializer": {"class_name": "Zeros", "config": {}},
            "kernel_regularizer": None,
            **settings,
        },
    )


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


def named(prefix: str, arrays, suffix: str = ":0") -> list[tuple[str, np.ndarray]]:
    """Keras 2: ``lstm_1/kernel:0`` and so on."""
    letters = ("kernel", "recurrent_kernel", "bias")
    pairs = zip(letters, arrays, strict=False)
    return [(f"{prefix}/{letter}{suffix}", array) for letter, array in pairs]


def dense_named(
    prefix: str, dense: Dense, suffix: str = ":0"
) -> list[tuple[str, np.ndarray]]:
    return [
        (f"{prefix}/kernel{suffix}", dense.kernel),
        (f"{prefix}/bias{suffix}", dense.bias),
    ]


def keras_1_lstm(size: int = 9, units=(5, 4), window: int = 6) -> Fixture:
    """1.2.2: one-hot, many-to-one, an array for each gate."""
    net = stack(1, size, "LSTM", units, gate_activation=OLD_GATE)
    first, second, dense, _ = net.layers
    shape = [None, window, size]
    items = [
        keras_1_rnn(
            "LSTM", "lstm_1", units[0], return_sequences=True, batch_input_shape=shape
        ),
        item("Dropout", "dropout_1", p=0.2),
        keras_1_rnn("LSTM", "lstm_2", units[1]),
        keras_1_dense("dense_1", size),
        item("Activation", "activation_1", activation="softmax"),
    ]
    arrays = {
        "lstm_1": array_names_1("lstm_1", first),
        "dropout_1": [],
        "lstm_2": array_names_1("lstm_2", second),
        "dense_1": [("dense_1_W", dense.kernel), ("dense_1_b", dense.bias)],
        "activation_1": [],
    }
    return Fixture(net, listed(items), "1.2.2", arrays, "last", window)


def keras_1_gru() -> Fixture:
    """1.0, which wrote no version: every position, arrays without a name of theirs."""
    net = stack(2, 8, "GRU", (5,), gate_activation=OLD_GATE)
    gru, dense, _ = net.layers
    inner = keras_1_dense("dense_1", 8)
    items = [
        keras_1_rnn(
            "GRU", "gru_1", 5, return_sequences=True, batch_input_shape=[None, None, 8]
        ),
        item("TimeDistributed", "timedistributed_1", layer=inner),
        item("Activation", "activation_1", activation="softmax"),
    ]
    matrices = [array for _, array in array_names_1("gru_1", gru)]
    arrays = {
        "gru_1": [(f"param_{k}", array) for k, array in enumerate(matrices)],
        "timedistributed_1": [("param_0", dense.kernel), ("param_1", dense.bias)],
    }
    return Fixture(net, listed(items), None, arrays, "all")


def keras_1_fused() -> Fixture:
    """1.1 with ``consume_less="gpu"``: one array for all gates; embedded, stateful."""
    net = stack(3, 8, "LSTM", (5,), table=3, gate_activation=OLD_GATE)
    lstm, dense, _ = net.layers
    embedding = item(
        "Embedding",
        "embedding_1",
        input_dim=8,
        output_dim=3,
        input_length=1,
        init="uniform",
        mask_zero=False,
        dropout=0.0,
        W_regularizer=None,
        activity_regularizer=None,
        W_constraint=None,
        batch_input_shape=[1, 1],
        input_dtype="int32",
    )
    items = [
        embedding,
        keras_1_rnn("LSTM", "lstm_1", 5, stateful=True, consume_less="gpu"),
        keras_1_dense("dense_1", 8),
        item("Activation", "activation_1", activation="softmax"),
    ]
    letters = ("W", "U", "b")
    pairs = zip(letters, fused(lstm), strict=True)
    arrays = {
        "embedding_1": [("embedding_1_W", net.table)],
        "lstm_1": [(f"lstm_1_{letter}", array) for letter, array in pairs],
        "dense_1": [("dense_1_W", dense.kernel), ("dense_1_b", dense.bias)],
    }
    return Fixture(net, listed(items), "1.1.1", arrays, "all", 1)


def keras_1_simple_rnn() -> Fixture:
    """1.2.0, functional."""
    net = stack(4, 7, "SimpleRNN", (6,))
    rnn, dense, _ = net.layers
    items = [
        item("InputLayer", "input_1", batch_input_shape=[None, 5, 7], sparse=False),
        keras_1_rnn("SimpleRNN", "simplernn_1", 6),
        keras_1_dense("dense_1", 7),
        item("Activation", "activation_1", activation="softmax"),
    ]
    items[2]["config"]["activation"] = "linear"
    arrays = {
        "simplernn_1": array_names_1("simplernn_1", rnn),
        "dense_1": [("dense_1_W", dense.kernel), ("dense_1_b", dense.bias)],
    }
    return Fixture(net, functional(items, tail=()), "1.2.0", arrays, "last", 5)


def keras_2_lstm(size: int = 9, units=(5, 4), window: int = 6) -> Fixture:
    """2.0.6: one-hot, many-to-one, a list of layers, hard_sigmoid, as in the course."""
    net = stack(5, size, "LSTM", units, gate_activation=OLD_GATE)
    first, second, dense, _ = net.layers
    shape = [None, window, size]
    items = [
        keras_2_rnn(
            "LSTM",
            "lstm_1",
            units[0],
            return_sequences=True,
            batch_input_shape=shape,
            dtype="float32",
            implementation=0,
        ),
        item("Dropout", "dropout_1", rate=0.2),
        keras_2_rnn("LSTM", "lstm_2", units[1], implementation=0),
        item("Dropout", "dropout_2", rate=0.2),
        keras_2_dense("dense_1", size),
        item("Activation", "activation_1", activation="softmax"),
    ]
    arrays = {
        "lstm_1": named("lstm_1", fused(first)),
        "dropout_1": [],
        "lstm_2": named("lstm_2", fused(second)),
        "dense_1": dense_named("dense_1", dense),
    }
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
    lstm, dense, _ = net.layers
    items = [
        keras_2_rnn("LSTM", "lstm_1", 5, batch_input_shape=[None, 4, 7]),
        keras_2_dense("dense_1", 7, activation="softmax"),
    ]
    del items[0]["config"]["recurrent_activation"]
    arrays = {
        "lstm_1": named("lstm_1/lstm_1", fused(lstm)),
        "dense_1": dense_named("dense_1/dense_1", dense),
    }
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
    first, second, dense, _ = net.layers
    if not use_bias:
        for rnn in (first, second):
            for matrices in rnn.matrices.values():
                matrices[2:] = [0 * bias for bias in matrices[2:]]
    options = {
        "reset_after": reset_after,
        "return_sequences": True,
        "implementation": 1,
    }
    options["use_bias"] = use_bias
    items = [
        keras_2_rnn("GRU", "gru_1", 5, batch_input_shape=[None, None, 8], **options),
        item("SpatialDropout1D", "spatial_dropout1d_1", rate=0.1, noise_shape=None),
        keras_2_rnn("GRU", "gru_2", 4, **options),
        item("TimeDistributed", "out", layer=keras_2_dense("dense_1", 8)),
        item("Activation", "activation_1", activation="softmax"),
    ]
    kept = 3 if use_bias else 2
    arrays = {
        "gru_1": named("gru_1", fused(first)[:kept]),
        "gru_2": named("gru_2", fused(second)[:kept]),
        "out": dense_named("out", dense),
    }
    return Fixture(net, mapped(items), "2.2.4", arrays, "all")


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
    first, second, dense, _ = net.layers
    rng = np.random.default_rng(0)
    embedding = item(
        "Embedding",
        "embedding_1",
        batch_input_shape=[None, 6],
        dtype="float32",
        input_dim=9,
        output_dim=3,
        embeddings_regularizer=None,
        mask_zero=False,
        input_length=6,
    )
    items = [
        embedding,
        keras_2_rnn(f"CuDNN{kind}", "rnn_1", 5, return_sequences=True),
        keras_2_rnn(f"CuDNN{kind}", "rnn_2", 4),
        keras_2_dense("dense_1", 9, activation="softmax"),
    ]
    arrays = {
        "embedding_1": [("embedding_1/embeddings:0", net.table)],
        "rnn_1": named("rnn_1", cudnn(first, rng)),
        "rnn_2": named("rnn_2", cudnn(second, rng)),
        "dense_1": dense_named("dense_1", dense),
    }
    return Fixture(net, listed(items), "2.2.0", arrays, "last", 6)


def tf_stateful_logits() -> Fixture:
    """2.4.0 of TensorFlow: the tutorial's GRU, stateful, with logits for output."""
    net = stack(9, 8, "GRU", (6,), table=4, reset_after=True)
    gru, dense, _ = net.layers
    net.layers.pop()
    items = [
        item(
            "InputLayer",
            "embedding_input",
            batch_input_shape=[1, None],
            dtype="float32",
            sparse=False,
            ragged=False,
        ),
        item(
            "Embedding",
            "embedding",
            batch_input_shape=[1, None],
            dtype="float32",
            input_dim=8,
            output_dim=4,
            mask_zero=False,
            input_length=None,
        ),
        keras_2_rnn(
            "GRU",
            "gru",
            6,
            return_sequences=True,
            stateful=True,
            reset_after=True,
            recurrent_activation="sigmoid",
            time_major=False,
            implementation=2,
        ),
        keras_2_dense("dense", 8),
    ]
    for x in items:
        del x["config"]["trainable"]
    arrays = {
        "embedding": [("embedding/embeddings:0", net.table)],
        "gru": named("gru/gru_cell", fused(gru)),
        "dense": dense_named("dense", dense),
    }
    return Fixture(net, mapped(items), "2.4.0", arrays, "all")


def tf_time_major() -> Fixture:
    """2.2.4-tf: time before batch, so that the window is the first axis."""
    net = stack(10, 7, "LSTM", (5, 5))
    first, second, dense, _ = net.layers
    options = {"time_major": True, "recurrent_activation": "sigmoid"}
    shape = [4, None, 7]
    items = [
        keras_2_rnn(
            "LSTM",
            "lstm",
            5,
            return_sequences=True,
            batch_input_shape=shape,
            **options,
        ),
        keras_2_rnn("LSTM", "lstm_1", 5, **options),
        keras_2_dense("dense", 7, activation="softmax"),
    ]
    arrays = {
        "lstm": named("lstm", fused(first)),
        "lstm_1": named("lstm_1", fused(second)),
        "dense": dense_named("dense", dense),
    }
    return Fixture(net, mapped(items), "2.2.4-tf", arrays, "last", 4)


def keras_2_masked() -> Fixture:
    """2.2.4, functional: symbol 0 is padding."""
    net = stack(11, 7, "LSTM", (5, 4), table=3, gate_activation=OLD_GATE)
    net.masked = (0,)
    first, second, dense, _ = net.layers
    items = [
        item("InputLayer", "input_1", batch_input_shape=[None, None], dtype="int32"),
        item("Embedding", "embedding_1", input_dim=7, output_dim=3, mask_zero=True),
        keras_2_rnn("LSTM", "lstm_1", 5, return_sequences=True),
        keras_2_rnn("LSTM", "lstm_2", 4, return_sequences=True),
        keras_2_dense("dense_1", 7, activation="softmax"),
    ]
    arrays = {
        "embedding_1": [("embedding_1/embeddings:0", net.table)],
        "lstm_1": named("lstm_1", fused(first)),
        "lstm_2": named("lstm_2", fused(second)),
        "dense_1": dense_named("dense_1", dense),
    }
    return Fixture(net, functional(items), "2.2.4", arrays, "all")


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
    fixture.config = mapped([embedding, masking, first, second, dense])
    fixture.arrays["rnn_1"] = named("rnn_1", fused(net.layers[0]))
    fixture.arrays["rnn_2"] = named("rnn_2", fused(net.layers[1]))
    fixture.version = "2.2.4"
    return fixture


def keras_2_mixed(activation: str = "relu") -> Fixture:
    """2.2.4: dense layers before, between and after, and another activation."""
    inner = keras_2_dense("x", 6, activation=activation)
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
    arrays = {
        "d1": dense_named("d1", layers[0]),
        "r1": named("r1", fused(layers[2])),
        "d2": dense_named("d2", layers[3]),
        "r2": named("r2", fused(layers[5])),
        "d3": dense_named("d3", layers[7]),
        "d4": dense_named("d4", layers[8]),
    }
    return Fixture(net, mapped(items), "2.2.4", arrays, "last", 5)


def keras_3_hard_sigmoid() -> Fixture:
    """3.0: functional, with the hard_sigmoid of Keras 3."""
    new_gate = "hard_sigmoid of Keras 3"
    net = stack(13, 7, "LSTM", (5,), table=3, gate_activation=new_gate)
    lstm, dense, _ = net.layers
    policy = {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": "float32"},
        "registered_name": None,
    }
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
    arrays = {
        "embedding": [("embedding/embeddings", net.table)],
        "lstm": [
            (n.removesuffix(":0"), a) for n, a in named("lstm/lstm_cell", fused(lstm))
        ],
        "dense": [(n.removesuffix(":0"), a) for n, a in dense_named("dense", dense)],
        "top_level_model_weights": [],
    }
    return Fixture(net, config, "3.0.5", arrays, "all")


def of_precision(dtype: str) -> Fixture:
    """2.2.4 with another ``floatx``."""
    fixture = keras_2_lstm()
    fixture.version, fixture.dtype = "2.2.4", dtype
    if dtype == "f2":
        for layer in fixture.net.layers:
            if isinstance(layer, Rnn):
                owned = [array for gate in layer.matrices.values() for array in gate]
            else:
                owned = [layer.kernel, layer.bias] if layer != "softmax" else []
            for array in owned:
                array[...] = array.astype(np.float16)
        first, second, dense, _ = fixture.net.layers
        fixture.arrays |= {
            "lstm_1": named("lstm_1", fused(first)),
            "lstm_2": named("lstm_2", fused(second)),
            "dense_1": dense_named("dense_1", dense),
        }
    fixture.layer("LSTM")["dtype"] = {"f2": "float16", "f8": "float64"}[dtype]
    return fixture


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
        f"Keras {version} GRU, default reset_after": (
            lambda version=version, after=after: keras_default_gru(version, after)
        )
        for version, after in [
            ("2.3.1", False),
            ("2.1.6-tf", False),
            ("2.3.0-tf", True),
            ("2.4.0", True),
            ("2.15.0", True),
        ]
    },
    "Keras 2.2 CuDNNLSTM": lambda: keras_2_cudnn("LSTM"),
    "Keras 2.2 CuDNNGRU": lambda: keras_2_cudnn("GRU"),
    "tf.keras GRU, stateful, logits": tf_stateful_logits,
    "tf.keras LSTM, time-major": tf_time_major,
    "Keras 2.2 LSTM, mask_zero": keras_2_masked,
    "Keras 2.2 LSTM, Masking": keras_2_masking_layer,
    "Keras 2.2 LSTM, Embedding and Masking": keras_2_masking_embedded,
    **{
        f"Keras 2.2 mixed, {name}": lambda name=name: keras_2_mixed(name)
        for name in ("relu", "elu", "selu", "softplus", "swish", "linear")
    },
    "Keras 3.0 LSTM, hard_sigmoid": keras_3_hard_sigmoid,
    "Keras 2.2 LSTM, float16": lambda: of_precision("f2"),
    "Keras 2.2 LSTM, float64": lambda: of_precision("f8"),
}
