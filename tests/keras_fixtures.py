"""Model files as each Keras wrote them, and what they predict, from the formulas.

Everything here is written from the description of the formats and of the layers; it
shares no code with the package. A `Net` is a list of layers with one weight matrix a
gate, in float64. `Net.predict` goes through it gate by gate and symbol by symbol;
the same matrices are laid out as Keras 2, 3 or cuDNN do. `FIXTURES` has a function
for every form of file.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
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
Arrays = dict[str, list[tuple[str, np.ndarray]]]  # of each layer, with their names
GATES = {"LSTM": "ifco", "GRU": "zrh", "SimpleRNN": "h"}


@dataclass
class Rnn:
    """``matrices[gate]`` is W (D, U), U (U, U), b (U,); a GRU with reset_after has a
    fourth, the recurrent bias."""

    kind: str
    units: int
    matrices: dict[str, list[np.ndarray]]
    activation: str
    gate_activation: str

    def step(self, x, h, c):
        """Return the next h and c; only an LSTM has c."""
        act, gate = ACTIVATIONS[self.activation], ACTIVATIONS[self.gate_activation]
        sums = {
            name: x @ w[0] + h @ w[1] + sum(w[2:]) for name, w in self.matrices.items()
        }
        if self.kind == "LSTM":
            i, f, o = (gate(sums[name]) for name in "ifo")
            c = f * c + i * act(sums["c"])
            return o * act(c), c
        if self.kind == "SimpleRNN":
            return act(sums["h"]), c
        z, r = gate(sums["z"]), gate(sums["r"])
        w = self.matrices["h"]
        if len(w) == 4:
            candidate = act(x @ w[0] + w[2] + r * (h @ w[1] + w[3]))
        else:
            candidate = act(x @ w[0] + (r * h) @ w[1] + w[2])
        return z * h + (1 - z) * candidate, c


@dataclass
class Dense:
    kernel: np.ndarray
    bias: np.ndarray
    activation: str


@dataclass
class Net:
    """``table`` (V, D) is the embedding, None for one-hot; ``layers`` hold `Rnn`,
    `Dense` and names of activations."""

    size: int
    table: np.ndarray | None = None
    layers: list = field(default_factory=list)

    def predict(self, ids) -> np.ndarray:
        """Return the last layer's output (V,) after the last of these symbols."""
        table = np.eye(self.size) if self.table is None else self.table
        states = {
            k: np.zeros((2, layer.units))
            for k, layer in enumerate(self.layers)
            if isinstance(layer, Rnn)
        }
        for symbol in ids:
            x = table[symbol]
            for k, layer in enumerate(self.layers):
                if isinstance(layer, Rnn):
                    states[k] = layer.step(x, *states[k])
                    x = states[k][0]
                elif isinstance(layer, Dense):
                    x = ACTIVATIONS[layer.activation](x @ layer.kernel + layer.bias)
                else:
                    x = ACTIVATIONS[layer](x)
        return x


# The arrays as they were stored


def fused(rnn: Rnn) -> list[np.ndarray]:
    """Keras 2 and 3: the gates side by side."""
    by_letter = list(zip(*(rnn.matrices[g] for g in GATES[rnn.kind]), strict=True))
    arrays = [np.concatenate(parts, axis=-1) for parts in by_letter]
    return arrays if len(arrays) == 3 else [*arrays[:2], np.stack(arrays[2:])]


def cudnn(rnn: Rnn) -> list[np.ndarray]:
    """CuDNNLSTM and CuDNNGRU: transposed kernels and two biases in one array."""
    gates = [rnn.matrices[gate] for gate in GATES[rnn.kind]]
    # A (U, D) matrix, row after row, in the place of a (D, U) one.
    kernels = [np.ascontiguousarray(w.T).reshape(w.shape) for w, *_ in gates]
    recurrents = [u.T for _, u, *_ in gates]
    if rnn.kind == "LSTM":  # which adds both biases
        gates = [(0, 0, 0.3 * b, 0.7 * b) for _, _, b in gates]
    biases = [gate[place] for place in (2, 3) for gate in gates]
    arrays = [np.concatenate(kernels, 1), np.concatenate(recurrents, 1)]
    return [*arrays, np.concatenate(biases)]


# Paths of a layer's arrays
KERAS_2, KERAS_3, TWICE = "{0}/{1}:0", "{0}/{1}", "{0}/{0}/{1}:0"


def stored(kind: str, settings: dict, rnn: Rnn, letters: tuple) -> dict:
    """Return a recurrent layer's arrays by what they are called."""
    arrays = cudnn(rnn) if kind.startswith("CuDNN") else fused(rnn)
    with_bias = settings.get("use_bias", True)
    return dict(zip(letters, arrays if with_bias else arrays[:2], strict=False))


def random_net(
    items: list[dict], size: int, path: str, dtype: str
) -> tuple[Net, Arrays]:
    """Return the net that layers describe, of random weights, and what is stored."""
    rng = np.random.default_rng(4)
    letters = ("kernel", "recurrent_kernel", "bias")

    def draw(*shape, scale=1.0):
        return rng.normal(size=shape, scale=scale).astype(dtype).astype("f8")

    def rnn(kind: str, settings: dict) -> Rnn:
        gate = settings.get("recurrent_activation")
        if gate == "hard_sigmoid":
            gate = f"hard_sigmoid of Keras {3 if path == KERAS_3 else 2}"
        biases = 2 if settings.get("reset_after", kind == "CuDNNGRU") else 1
        kind = kind.removeprefix("CuDNN")
        matrices = {}
        for letter in GATES[kind]:
            shapes = [(below, units), (units, units), *[(units,)] * biases]
            matrices[letter] = [draw(*shape, scale=0.6) for shape in shapes]
            if not settings.get("use_bias", True):
                matrices[letter][2:] = [np.zeros(units)] * biases
        activation = settings.get("activation", "tanh") or "linear"
        return Rnn(kind, units, matrices, activation, gate or "sigmoid")

    net, arrays, below = Net(size), {}, size
    for x in items:
        kind, settings, named = x["class_name"], x["config"], {}
        name = settings["name"]
        if kind == "TimeDistributed":
            kind, settings = "Dense", settings["layer"]["config"]
        units = settings.get("units") or settings.get("output_dim") or below
        if kind == "Embedding":
            net.table = draw(size, units)
            named = {"embeddings": net.table}
        elif kind == "Dense":
            kernel, bias = draw(below, units), draw(units)
            net.layers.append(Dense(kernel, bias, settings["activation"]))
            named = {letters[0]: kernel, letters[2]: bias}
        elif kind == "Activation":
            net.layers.append(settings["activation"])
        elif kind.removeprefix("CuDNN") in GATES:
            net.layers.append(rnn(kind, settings))
            named = stored(kind, settings, net.layers[-1], letters)
        arrays[name] = [
            (path.format(name, called, place), array)
            for place, (called, array) in enumerate(named.items())
        ]
        below = units
    return net, arrays


def write_file(
    path: Path, config: dict, version: str | None, arrays: Arrays, dtype: str = "f4"
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


def sparse_array(group: h5py.Group, name: str, shape: tuple, dtype: str = "f4"):
    """Make an array that takes no room on the disk, though all of it is stored."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    kind = h5py.h5t.py_create(np.dtype(dtype))
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(group.id, name.encode(), kind, space, plist)


# Where an archive has a layer's arrays: its folder, and whose they are within it.
FOLDERS = {
    "Embedding": ("embedding", [""]),
    "Dense": ("dense", [""]),
    "TimeDistributed": ("time_distributed", ["layer/"]),
    "LSTM": ("lstm", ["cell/"]),
    "GRU": ("gru", ["cell/"]),
    "SimpleRNN": ("simple_rnn", ["cell/"]),
    "Bidirectional": ("bidirectional", ["forward_layer/cell/", "backward_layer/cell/"]),
    "BatchNormalization": ("batch_normalization", [""]),
    "LayerNormalization": ("layer_normalization", [""]),
}


def write_archive(path: Path, fixture: Fixture) -> Path:
    """Write the ``.keras`` file that Keras 3 writes for a mapping of layers."""
    weights, counts = io.BytesIO(), Counter()
    with h5py.File(weights, "w") as file:
        for layer in fixture.config["config"]["layers"]:
            if layer["class_name"] not in FOLDERS:
                continue
            folder, owners = FOLDERS[layer["class_name"]]
            number, counts[folder] = counts[folder], counts[folder] + 1
            folder += f"_{number}" if number else ""
            arrays = [array for _, array in fixture.arrays[layer["config"]["name"]]]
            each = len(arrays) // len(owners)
            for place, array in enumerate(arrays):
                owner = owners[place // each]
                name = f"layers/{folder}/{owner}vars/{place % each}"
                file.create_dataset(name, data=array.astype(fixture.dtype))
        file["optimizer/vars/0"] = 7
    metadata = {"keras_version": fixture.version, "date_saved": "2026-01-01@00:00:00"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps(metadata))
        archive.writestr("config.json", json.dumps(fixture.config))
        archive.writestr("model.weights.h5", weights.getvalue())
    return path


# The layers and models as they were described


def item(kind: str, name: str, **settings) -> dict:
    return {"class_name": kind, "config": {"name": name, "trainable": True, **settings}}


def keras_2_rnn(kind: str, name: str, units: int, **settings) -> dict:
    orthogonal = {"class_name": "Orthogonal", "config": {"gain": 1.0, "seed": None}}
    described = {"return_sequences": False, "recurrent_initializer": orthogonal}
    if not kind.startswith("CuDNN"):
        described |= {"activation": "tanh", "use_bias": True, "dropout": 0.2}
        described |= {"recurrent_dropout": 0.0, "unroll": False}
    if kind in ("LSTM", "GRU"):
        described["recurrent_activation"] = "hard_sigmoid"
    if "LSTM" in kind:
        described["unit_forget_bias"] = True
    return item(kind, name, units=units, **described | settings)


def keras_2_dense(name: str, units: int, activation: str = "linear", **other) -> dict:
    settings = {"units": units, "activation": activation, "use_bias": True, **other}
    settings["bias_initializer"] = {"class_name": "Zeros", "config": {}}
    return item("Dense", name, kernel_regularizer=None, **settings)


def softmax() -> dict:
    return item("Activation", "activation_1", activation="softmax")


def listed(items: list[dict]) -> dict:
    """Sequential up to Keras 2.2.2."""
    return {"class_name": "Sequential", "config": items}


def mapped(items: list[dict]) -> dict:
    """Sequential from 2.2.3 on."""
    config = {"name": "sequential_1", "layers": items}
    return {"class_name": "Sequential", "config": config}


def functional(items: list[dict], tail: tuple = ({},), keras_3: bool = False) -> dict:
    """Functional model of Keras 2 and 3."""
    layers = [x | {"name": x["config"]["name"], "inbound_nodes": []} for x in items]
    for before, layer in pairwise(layers):
        history = [before["name"], 0, 0]
        tensor = {"shape": [None, None], "keras_history": history}
        argument = {"class_name": "__keras_tensor__", "config": tensor}
        call = {"args": [argument], "kwargs": {}} if keras_3 else [[*history, *tail]]
        layer["inbound_nodes"] = [call]
    ends = [[x["name"], 0, 0] for x in (layers[0], layers[-1])]
    first, last = ends if keras_3 else ([end] for end in ends)
    model = {"name": "model_1", "layers": layers}
    model |= {"input_layers": first, "output_layers": last}
    return {"class_name": "Functional" if keras_3 else "Model", "config": model}


# Files of each kind


@dataclass
class Fixture:
    """A file's parts; change them, then `write` it."""

    net: Net
    config: dict
    version: str | None
    arrays: Arrays
    targets: str
    window: int | None
    dtype: str

    @property
    def symbols(self) -> str:
        return "\n abcdefghijklmnopqrstuvwxyz'!,-.:;?&()"[: self.net.size]

    def write(self, path: Path) -> Path:
        return write_file(path, self.config, self.version, self.arrays, self.dtype)

    @property
    def items(self) -> list[dict]:
        layers = self.config["config"]
        return layers if isinstance(layers, list) else layers["layers"]

    def layer(self, kind: str) -> dict:
        """Return the settings of the first layer of a kind."""
        return next(x["config"] for x in self.items if x["class_name"] == kind)

    def without(self, setting: str, version: str) -> Fixture:
        """Return a file of a version that says nothing of a setting."""
        for x in self.items:
            x["config"].pop(setting, None)
        return replace(self, version=version)


def make(
    items, size, version, window=None, form=mapped, path=KERAS_2, *, dtype="f4"
) -> Fixture:
    """Return a file of random weights: many-to-one if windows have a length."""
    net, arrays = random_net(items, size, path, dtype)
    targets = "last" if window else "all"
    return Fixture(net, form(items), version, arrays, targets, window, dtype)


FIXTURES: dict[str, Callable[[], Fixture]] = {}


def named(name: str, *arguments) -> Callable:
    """Enter what a function makes of these arguments in the table."""

    def enter(function: Callable) -> Callable:
        FIXTURES[name] = partial(function, *arguments)
        return function

    return enter


def first(*shape: int | None, **settings) -> dict:
    """Return the settings of a first layer that another one follows."""
    return {"batch_input_shape": [None, *shape], "return_sequences": True, **settings}


@named("Keras 2.0 LSTM, one-hot")
@named("Keras 2.0 LSTM, float16", 9, (5, 4), 6, "f2")
@named("Keras 2.0 LSTM, float64", 9, (5, 4), 6, "f8")
def keras_2_lstm(
    size: int = 9, units=(5, 4), window: int = 6, dtype: str = "f4"
) -> Fixture:
    """One-hot, many-to-one, a list of layers, hard_sigmoid, as in the course."""
    policy = {"f2": "float16", "f4": "float32", "f8": "float64"}[dtype]
    given = first(window, size, dtype=policy, implementation=0)
    items = [
        keras_2_rnn("LSTM", "lstm_1", units[0], **given),
        item("Dropout", "dropout_1", rate=0.2),
        keras_2_rnn("LSTM", "lstm_2", units[1], implementation=0),
        item("Dropout", "dropout_2", rate=0.2),
        keras_2_dense("dense_1", size),
        softmax(),
    ]
    return make(items, size, "2.0.6", window, listed, dtype=dtype)


@named("Keras 2.1 LSTM, default gates")
def keras_2_default_gate() -> Fixture:
    return keras_2_lstm().without("recurrent_activation", "2.1.5")


@named("Keras 2.3 LSTM, default gates")
@named("Keras 2.3 LSTM, no activation", None)
def keras_23_default_gate(activation: str | None = "tanh") -> Fixture:
    """activation=None isn't the default."""
    given = {"batch_input_shape": [None, 4, 7], "recurrent_activation": "sigmoid"}
    items = [
        keras_2_rnn("LSTM", "lstm_1", 5, activation=activation, **given),
        keras_2_dense("dense_1", 7, "softmax"),
    ]
    fixture = make(items, 7, "2.3.1", 4, path=TWICE)
    return fixture.without("recurrent_activation", "2.3.1")


@named("Keras 2.2 GRU")
@named("Keras 2.2 GRU, reset_after", True)
@named("Keras 2.2 GRU, no bias", False, False)
@named("Keras 2.2 GRU, reset_after, no bias", True, False)
def keras_2_gru(reset_after: bool = False, use_bias: bool = True) -> Fixture:
    given = {"reset_after": reset_after, "use_bias": use_bias, "implementation": 1}
    items = [
        keras_2_rnn("GRU", "gru_1", 5, **first(None, 8, **given)),
        item("SpatialDropout1D", "spatial_dropout1d_1", rate=0.1, noise_shape=None),
        keras_2_rnn("GRU", "gru_2", 4, return_sequences=True, **given),
        item("TimeDistributed", "out", layer=keras_2_dense("dense_1", 8)),
        softmax(),
    ]
    return make(items, 8, "2.2.4")


def keras_default_gru(version: str, reset_after: bool) -> Fixture:
    return keras_2_gru(reset_after, use_bias=False).without("reset_after", version)


for version in ("2.3.1", "2.1.6-tf", "2.3.0-tf", "2.4.0", "2.15.0"):
    after = version not in ("2.3.1", "2.1.6-tf")
    named(f"Keras {version} GRU, default reset_after", version, after)(
        keras_default_gru
    )


@named("Keras 2.2 CuDNNLSTM", "LSTM")
@named("Keras 2.2 CuDNNGRU", "GRU")
def keras_2_cudnn(kind: str) -> Fixture:
    table = {"input_dim": 9, "output_dim": 3, "input_length": 6, "mask_zero": False}
    table |= {"batch_input_shape": [None, 6], "dtype": "float32"}
    items = [
        item("Embedding", "embedding_1", embeddings_regularizer=None, **table),
        keras_2_rnn(f"CuDNN{kind}", "rnn_1", 5, return_sequences=True),
        keras_2_rnn(f"CuDNN{kind}", "rnn_2", 4),
        keras_2_dense("dense_1", 9, "softmax"),
    ]
    return make(items, 9, "2.2.0", 6, listed)


@named("tf.keras GRU, stateful, logits")
def tf_stateful_logits() -> Fixture:
    """TensorFlow's tutorial."""
    given = {"batch_input_shape": [1, None], "dtype": "float32"}
    table = {"input_dim": 8, "output_dim": 4, "mask_zero": False, "input_length": None}
    gru = {"return_sequences": True, "stateful": True, "reset_after": True}
    gru |= {"recurrent_activation": "sigmoid", "time_major": False, "implementation": 2}
    items = [
        item("InputLayer", "embedding_input", sparse=False, ragged=False, **given),
        item("Embedding", "embedding", **given, **table),
        keras_2_rnn("GRU", "gru", 6, **gru),
        keras_2_dense("dense", 8),
    ]
    for x in items:
        del x["config"]["trainable"]
    return make(items, 8, "2.4.0", path=TWICE)


@named("Keras 2.2 LSTM, functional")
def keras_2_functional() -> Fixture:
    items = [
        item("InputLayer", "input_1", batch_input_shape=[None, None], dtype="int32"),
        item("Embedding", "embedding_1", input_dim=7, output_dim=3, mask_zero=False),
        keras_2_rnn("LSTM", "lstm_1", 5, return_sequences=True),
        keras_2_rnn("LSTM", "lstm_2", 4, return_sequences=True),
        keras_2_dense("dense_1", 7, "softmax"),
    ]
    return make(items, 7, "2.2.4", form=functional)


@named("Keras 2.0 SimpleRNN, functional")
def keras_2_simple_rnn() -> Fixture:
    items = [
        item("InputLayer", "input_1", batch_input_shape=[None, 5, 7], sparse=False),
        keras_2_rnn("SimpleRNN", "simple_rnn_1", 6),
        keras_2_dense("dense_1", 7),
        softmax(),
    ]
    return make(items, 7, "2.0.6", 5, functional)


def keras_2_mixed(activation: str) -> Fixture:
    """Dense layers before, between and after, and another activation."""
    items = [
        keras_2_dense("d1", 5, "tanh", batch_input_shape=[None, 5, 8]),
        item("Activation", "a1", activation="softsign"),
        keras_2_rnn("LSTM", "r1", 4, return_sequences=True, activation="softsign"),
        item("TimeDistributed", "d2", layer=keras_2_dense("x", 6, activation)),
        item("Activation", "a2", activation="sigmoid"),
        keras_2_rnn("SimpleRNN", "r2", 5),
        item("Activation", "a3", activation=activation),
        keras_2_dense("d3", 6, "tanh"),
        item("Dropout", "drop", rate=0.5),
        keras_2_dense("d4", 8, "softmax"),
    ]
    return make(items, 8, "2.2.4", 5)


for name in ("relu", "elu", "selu", "softplus", "swish", "linear"):
    named(f"Keras 2.2 mixed, {name}", name)(keras_2_mixed)


@named("Keras 3.0 LSTM, hard_sigmoid")
def keras_3_hard_sigmoid() -> Fixture:
    policy = {"module": "keras", "class_name": "DTypePolicy", "registered_name": None}
    policy["config"] = {"name": "float32"}
    items = [
        item("InputLayer", "ids", batch_shape=[None, None], dtype="int32"),
        item("Embedding", "embedding", dtype=policy, input_dim=7, output_dim=3),
        keras_2_rnn("LSTM", "lstm", 5, dtype=policy, return_sequences=True, seed=None),
        keras_2_dense("dense", 7, "softmax", quantization_config=None),
    ]
    form = partial(functional, keras_3=True)
    fixture = make(items, 7, "3.0.5", form=form, path=KERAS_3)
    fixture.arrays["top_level_model_weights"] = []
    return fixture


def keras_3_mixed() -> Fixture:
    """Windows read both ways, normalizations; arrays without formulas."""
    rng, size = np.random.default_rng(7), 9

    def arrays(*shapes):
        return [
            (f"param_{k}", rng.uniform(0.1, 1, shape)) for k, shape in enumerate(shapes)
        ]

    inner = keras_2_rnn("LSTM", "f", 4)
    backward = keras_2_rnn("LSTM", "b", 4, go_backwards=True)
    items = [
        item("InputLayer", "input", batch_shape=[None, 6, 1], dtype="float32"),
        keras_2_rnn("GRU", "gru", 5, return_sequences=True, reset_after=True),
        item("BatchNormalization", "bn", axis=-1, epsilon=0.001, center=True),
        item("Bidirectional", "both", layer=inner, backward_layer=backward,
             merge_mode="concat"),
        item("LayerNormalization", "ln", axis=[-1], epsilon=0.001, rms_scaling=False),
        item("LeakyReLU", "leaky", negative_slope=0.3),
        keras_2_dense("dense_1", 6, "gelu"),
        item("ReLU", "relu", max_value=6.0, negative_slope=0.1, threshold=0.0),
        keras_2_dense("dense", size),
        item("Softmax", "softmax", axis=-1),
    ]  # fmt: skip
    one = [(5, 16), (4, 16), (16,)]
    named = {
        "gru": arrays((1, 15), (5, 15), (2, 15)),
        "bn": arrays(*[(5,)] * 4),
        "both": arrays(*one, *one),
        "ln": arrays(*[(8,)] * 2),
        "dense_1": arrays((8, 6), (6,)),
        "dense": arrays((6, size), (size,)),
    }
    return Fixture(Net(size), mapped(items), "3.15.1", named, "last", 6, "f4")
