"""What ONNX Runtime makes of the files, beside our decoder."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import model_of, random_cells, random_network

from textgen.config import WindowConfig
from textgen.data.vocabulary import Vocabulary
from textgen.errors import ModelFileError, TextgenError
from textgen.inference.decoder import Decoder
from textgen.inference.weights import BidirectionalWeights, Pointwise, Scaling
from textgen.saving import onnx_file
from textgen.saving.model_file import load_model
from textgen.saving.onnx_file import ACTIVATIONS, OPSET, onnx_bytes

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

NETWORKS = {
    "one LSTM layer": random_cells("LSTM"),
    "two LSTM layers": random_cells("LSTM LSTM"),
    "one-hot LSTM layers": random_cells("LSTM LSTM", one_hot=True),
    "GRU layers": random_cells("GRU GRU"),
    "GRU layers that reset before": random_cells("GRU-before GRU-before"),
    "simple layers": random_cells("SimpleRNN SimpleRNN", one_hot=True),
    "layers of all kinds": random_cells("SimpleRNN GRU LSTM GRU-before"),
} | {
    f"gates of {name}": random_cells("LSTM GRU", recurrent_activation=name)
    for name in ACTIVATIONS
    if name.startswith("hard")
}
NETWORKS["relu"] = random_cells("GRU SimpleRNN", activation="relu")


def session_of(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx_bytes(model), options)


def zero_states(session, batch_size):
    return {
        each.name: np.zeros((batch_size, each.shape[1]), np.float32)
        for each in session.get_inputs()[1:]
    }


def decoded(network, ids):
    """Logits (B, T, V) of our decoder for ids (B, T)."""
    decoder = Decoder(network, len(ids))
    return np.stack([decoder.step(column).copy() for column in ids.T], axis=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_states_are_those_of_our_decoder(name):
    network = NETWORKS[name]
    session = session_of(model_of(network))
    ids = np.random.default_rng(1).integers(0, network.vocabulary_size, (3, 20))
    states = zero_states(session, 3)
    whole, *_ = session.run(None, {"ids": ids, **states})
    assert whole.shape == (3, 20, 7)
    assert whole.dtype == np.float32
    expected = decoded(network, ids)
    np.testing.assert_allclose(whole, expected, rtol=1e-5, atol=1e-5)
    for step in range(ids.shape[1]):  # a symbol at a time
        logits, *after = session.run(None, {"ids": ids[:, step : step + 1], **states})
        np.testing.assert_allclose(
            logits[:, 0], expected[:, step], rtol=1e-5, atol=1e-5
        )
        states = dict(zip(states, after, strict=True))


@pytest.mark.parametrize("name", ["dinos", "sonnets"])
def test_shipped_models_are_predicted_alike(name):
    model = load_model(name)
    text = "\ntyrannosaurus\n" if name == "dinos" else "Shall I compare thee\nTo a "
    ids = model.vocabulary.encode(text).astype(np.int64)[None]
    session = session_of(model)
    logits, *_ = session.run(None, {"ids": ids, **zero_states(session, 1)})
    expected = decoded(model.network, ids)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_symbols_that_are_never_drawn_have_no_probability():
    undrawn = np.arange(7) >= 5
    network = replace(random_cells("LSTM"), undrawn=undrawn)
    session = session_of(model_of(network))
    ids = np.array([[1, 2, 3]])
    logits, *_ = session.run(None, {"ids": ids, **zero_states(session, 1)})
    np.testing.assert_allclose(logits, decoded(network, ids), rtol=1e-5, atol=1e-5)
    assert np.isneginf(logits[..., undrawn]).all()


def test_inputs_and_outputs_say_what_they_are():
    session = session_of(model_of(random_cells("LSTM GRU")))
    inputs = [(each.name, each.shape, each.type) for each in session.get_inputs()]
    assert inputs == [
        ("ids", ["batch", "time"], "tensor(int64)"),
        ("h_0", ["batch", 5], "tensor(float)"),
        ("c_0", ["batch", 5], "tensor(float)"),
        ("h_1", ["batch", 6], "tensor(float)"),
    ]
    outputs = [(each.name, each.shape) for each in session.get_outputs()]
    assert outputs == [
        ("logits", ["batch", "time", 7]),
        ("next_h_0", ["batch", 5]),
        ("next_c_0", ["batch", 5]),
        ("next_h_1", ["batch", 6]),
    ]


def test_the_file_has_standard_operators_only_and_is_the_same_each_time():
    model = model_of(random_cells("LSTM GRU SimpleRNN"))
    data = onnx_bytes(model)
    assert data == onnx_bytes(model)
    read = onnx.load_from_string(data)
    assert [(each.domain, each.version) for each in read.opset_import] == [("", OPSET)]
    assert {node.domain for node in read.graph.node} == {""}
    assert {"Gather", "LSTM", "GRU", "RNN", "MatMul"} <= {
        node.op_type for node in read.graph.node
    }


def properties_of(model):
    read = onnx.load_from_string(onnx_bytes(model))
    return {each.key: each.value for each in read.metadata_props}


def test_properties_tell_what_a_program_has_to_know():
    found = properties_of(model_of(random_network(), "\n\"é<'☃", kind="lines"))
    assert json.loads(found.pop("symbols")) == list("\n\"é<'☃")
    assert found == {
        "kind": "lines",
        "end_id": "0",
        "targets": "all",
        "seq_length": "100",
        "temperature": "0.7",
    }
    windows = WindowConfig(9, targets="last")
    found = properties_of(model_of(random_network(), windows=windows))
    assert (found["targets"], found["seq_length"]) == ("last", "9")
    assert "end_id" not in found


def test_properties_tell_of_longer_symbols_and_of_labels():
    symbols = ("\n", *"ab", "\U00100000", "ab", "aba", "ba")
    vocabulary = Vocabulary(symbols, "bpe", (("a", "b"), ("ab", "a")), ("Keats",))
    found = properties_of(
        replace(model_of(random_network()), vocabulary=vocabulary, kind="lines")
    )
    assert tuple(json.loads(found["symbols"])) == symbols
    assert (found["level"], json.loads(found["merges"])) == ("bpe", [[1, 2], [4, 1]])
    assert json.loads(found["labels"]) == {"Keats": 3}
    assert found["end_id"] == "0"


LSTM = random_network((5,))
SELU = random_cells("GRU", activation="selu")


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (replace(LSTM, head=(Scaling(np.ones(5), np.ones(5)),)), "further layers"),
        (
            replace(LSTM, layers=(*LSTM.layers, Pointwise(None, None, "tanh"))),
            "further layers",
        ),
        (
            replace(LSTM, layers=(BidirectionalWeights(*LSTM.layers * 2, "sum"),)),
            "both directions",
        ),
        (SELU, "activation selu"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_a_line(network, expected):
    with pytest.raises(ModelFileError, match=expected) as caught:
        onnx_bytes(model_of(network))
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(onnx_file, "is_installed", lambda name: False)
    with pytest.raises(TextgenError, match="pip install 'textgen-lstm"):
        onnx_bytes(model_of(LSTM))
