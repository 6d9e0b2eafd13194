"""Files of every Keras: what they predict, by formulas written a second time."""

import subprocess
import sys

import numpy as np
import pytest
from keras_fixtures import (
    FIXTURES,
    keras_2_cudnn,
    keras_2_default_gate,
    keras_2_lstm,
    keras_default_gru,
    mapped,
)

from textgen.errors import CorpusError, ModelFileError
from textgen.inference import base as recurrence
from textgen.saving.model_file import load_model

keras = pytest.importorskip("keras")

pytestmark = pytest.mark.usefixtures("read_here")


@pytest.fixture
def text_of(tmp_path):
    """Return a function that writes a text of given symbols, and gives its path."""

    def write(symbols: str):
        (tmp_path / "text.txt").write_text(symbols[::-1] * 2, newline="")
        return tmp_path / "text.txt"

    return write


@pytest.fixture
def opened(tmp_path, text_of):
    """Return a function that writes a fixture's file and loads the model."""
    return lambda fixture: load_model(
        fixture.write(tmp_path / "model.h5"), text_of(fixture.symbols)
    )


@pytest.mark.parametrize("name", FIXTURES)
@pytest.mark.filterwarnings("ignore:the model file doesn't say")
def test_predictions_are_those_of_the_formulas(name, softmax, opened):
    fixture = FIXTURES[name]()
    model = opened(fixture)
    assert "".join(model.vocabulary.symbols) == "".join(sorted(fixture.symbols))
    assert model.windows.targets == fixture.targets
    if fixture.window is not None:
        assert model.windows.seq_length == fixture.window
    ids = np.random.default_rng(0).integers(0, fixture.net.size, (14, 2))
    ids[3:5, 0] = 0
    decoder = model.decoder(batch_size=2)
    spread = []
    for end in range(1, len(ids) + 1):
        logits = decoder.step(ids[end - 1])
        start = max(0, end - fixture.window) if fixture.targets == "last" else 0
        for stream in range(2):
            expected = fixture.net.predict(ids[start:end, stream])
            ours = logits[stream] if "logits" in name else softmax(logits[stream])
            np.testing.assert_allclose(ours, expected, atol=3e-6, rtol=1e-5)
            spread.append(ours)
    assert np.std(spread, axis=0).max() > 0.01  # it does depend on the text


def test_settings_that_are_unknown_and_off_change_nothing(opened):
    """Also those that another layer has: a CuDNNLSTM knows no activation."""
    fixture = keras_2_cudnn("LSTM")
    fixture.layer("CuDNNLSTM").update(activation=None, tomorrow=False)
    (layer, _) = opened(fixture).network.layers
    assert layer.activation == "tanh"


@pytest.mark.parametrize(
    "name",
    ["Keras 2.2 GRU, reset_after", "Keras 2.2 LSTM, functional",
     "Keras 2.2 mixed, relu"],
)  # fmt: skip
def test_states_are_kept_and_reset(name, opened):
    fixture = FIXTURES[name]()
    model = opened(fixture)
    ids = np.random.default_rng(1).integers(0, fixture.net.size, (20, 3))

    def run(decoder, rows):
        return np.array([decoder.step(row).copy() for row in rows])

    whole = run(model.decoder(3), ids)
    decoder = model.decoder(3)
    run(decoder, ids[:8])
    decoder.reset([1])
    after = run(decoder, ids[8:])
    begun = run(model.decoder(3), ids[8:])
    np.testing.assert_array_equal(after[:, [0, 2]], whole[8:, [0, 2]])
    np.testing.assert_array_equal(after[:, 1], begun[:, 1])


def test_one_id_goes_to_every_stream(opened):
    model = opened(FIXTURES["Keras 2.2 LSTM, functional"]())
    decoder, one = model.decoder(2), model.decoder()
    for symbol in (2, 0, 3):
        logits = decoder.step(symbol)
        expected = np.repeat(one.step([symbol]), 2, 0)
        np.testing.assert_allclose(logits, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("limit", ["MAX_TABLE_FLOATS", "MAX_TABLE_PRODUCTS"])
def test_large_tables_are_made_row_by_row(limit, opened, monkeypatch):
    fixture = FIXTURES["Keras 2.2 CuDNNLSTM"]()
    model = opened(fixture)
    expected = model.decoder(2).step([1, 2]).copy()
    monkeypatch.setattr(recurrence, limit, 10)
    first = model.network.layers[0]
    table = recurrence.input_table(model.network.embedding, first.kernel, first.bias)
    assert not isinstance(table, np.ndarray)
    received = model.decoder(2).step([1, 2])
    np.testing.assert_allclose(received, expected, atol=1e-6, rtol=1e-5)


# With the Keras that is installed


RECURRENT = [
    ("LSTM", {}),
    ("LSTM", {"recurrent_activation": "hard_sigmoid", "use_bias": False}),
    ("GRU", {}),
    ("GRU", {"reset_after": False, "activation": "softsign"}),
    ("SimpleRNN", {}),
    ("SimpleRNN", {"activation": "relu"}),
]


def keras_model(kind: str, options: dict, one_hot: bool):
    layers = keras.layers
    layer = getattr(layers, kind)
    if one_hot:
        return keras.Sequential(
            [
                keras.Input((None, 9)),
                layer(5, return_sequences=True, **options),
                layers.SpatialDropout1D(0.1),
                layer(4, return_sequences=True, **options),
                layers.TimeDistributed(layers.Dense(9)),
                layers.Activation("linear"),
                layers.Activation("softmax"),
            ]
        )
    ids = keras.Input((6,), dtype="int32")
    x = layers.Dropout(0.3)(layer(5, **options)(layers.Embedding(9, 3)(ids)))
    return keras.Model(ids, layers.Dense(9, "softmax")(x))


@pytest.mark.slow
@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize(("kind", "options"), RECURRENT)
def test_files_of_the_keras_that_is_installed(
    kind, options, one_hot, softmax, tmp_path, text_of
):
    rng, built = np.random.default_rng(0), keras_model(kind, options, one_hot)
    for weight in built.trainable_variables:
        weight.assign(rng.normal(size=weight.shape, scale=0.6))
    built.save(tmp_path / "m.h5")
    theirs = keras.models.load_model(tmp_path / "m.h5")
    decoder = load_model(tmp_path / "m.h5", text_of("abcdefghi")).decoder()
    ids = rng.integers(0, 9, 13)
    for end in range(1, len(ids) + 1):
        ours = softmax(decoder.step(ids[end - 1 : end])[0])
        if end < 6 and not one_hot:
            continue  # Keras takes whole windows only
        given = np.eye(9, dtype="f4")[ids[:end]] if one_hot else ids[end - 6 : end]
        expected = np.asarray(theirs(given[None])).reshape(-1, 9)[-1]
        np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=1e-5)


# The vocabulary


def test_an_old_file_of_full_size_completes_a_prompt(tmp_path):
    fixture = keras_2_lstm(38, (128, 128), window=40)
    path = fixture.write(tmp_path / "course.h5")
    assert path.stat().st_size > 800_000
    text = tmp_path / "text.txt"
    text.write_text(fixture.symbols.upper() + fixture.symbols, newline="")
    prompt = "Shall I compare thee to a summer's day? "
    command = [
        sys.executable,
        "generate.py",
        "--model",
        path,
        "--vocabulary-from",
        text,
    ]
    command += ["--prompt", prompt, "--length", "5", "--temperature", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'S' (folded to 's')" in done.stderr
    # The likeliest symbols by the formulas, each from the last 40 symbols.
    symbols = sorted(fixture.symbols)
    ids = [symbols.index(c) for c in prompt.lower()]
    for _ in range(5):
        ids.append(int(fixture.net.predict(ids[-40:]).argmax()))
    completion = "".join(symbols[i] for i in ids[len(prompt) :])
    assert done.stdout == f"{prompt}{completion}\n"


def test_without_vocabulary_the_advice_is_to_name_one(tmp_path):
    path = keras_2_lstm().write(tmp_path / "m.h5")
    with pytest.raises(ModelFileError, match="`vocabulary_from`"):
        load_model(path)
    for text, match in [("missing.txt", "does not exist"), (".", "folder")]:
        with pytest.raises(CorpusError, match=match):
            load_model(path, tmp_path / text)


def test_our_own_files_bring_their_vocabulary(prose_model):
    with pytest.raises(ModelFileError, match="leave `vocabulary_from` out"):
        load_model(prose_model, "README.md")


def test_a_window_that_the_file_does_not_say_is_said(opened):
    fixture = keras_2_lstm()
    fixture.layer("LSTM")["batch_input_shape"] = [None, None, 9]
    with pytest.warns(UserWarning, match="the last 40"):
        model = opened(fixture)
    assert model.windows.seq_length == 40


def built_for_windows():
    """TensorFlow 2.1, a model that was given no shape before it was built."""
    fixture = keras_2_lstm()
    shape = fixture.layer("LSTM").pop("batch_input_shape")
    fixture.config = mapped(fixture.config["config"])
    fixture.config["config"]["build_input_shape"] = shape
    fixture.version = "2.2.4-tf"
    return fixture


def windows_of_the_embedding():
    fixture = keras_2_cudnn("GRU")
    del fixture.layer("Embedding")["batch_input_shape"]
    return fixture


@pytest.mark.parametrize("make", [built_for_windows, windows_of_the_embedding])
@pytest.mark.filterwarnings("error")
def test_a_window_may_be_said_in_other_places(make, opened):
    model = opened(make())
    assert (model.windows.targets, model.windows.seq_length) == ("last", 6)


@pytest.mark.parametrize(
    ("make", "setting"),
    [(keras_2_default_gate, "recurrent_activation of layer 'lstm_1'"),
     (lambda: keras_default_gru("", reset_after=True), "reset_after of layer")],
)  # fmt: skip
def test_what_a_file_does_not_say_and_tensorflow_had_twice(make, setting, opened):
    fixture = make()
    fixture.version = "2.2.4-tf"
    with pytest.raises(ModelFileError, match=setting):
        opened(fixture)
