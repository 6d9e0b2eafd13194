"""Layers of other programs: what Keras says of them, and settings that mean nothing."""

import json

import h5py
import numpy as np
import pytest

from textgen.evaluation.nats import held_out_nats
from textgen.saving.model_file import load_model

keras = pytest.importorskip("keras")

pytestmark = [
    pytest.mark.usefixtures("read_here"),
    pytest.mark.filterwarnings("ignore:the model reads one number"),
]

SYMBOLS = "abcdefghi"
V, T = len(SYMBOLS), 5


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(SYMBOLS)
    return path


def filled(model):
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype.startswith("float"):
            low = 0.2 if "variance" in weight.path else -1
            weight.assign(rng.uniform(low, 1, weight.shape))
    return model


@pytest.fixture(scope="module")
def mixed():
    """Return a model of windows that has every layer that is new to Keras 3."""
    layers = keras.layers
    return filled(
        keras.Sequential(
            [
                keras.Input((T, V)),
                layers.GaussianNoise(0.1),
                layers.BatchNormalization(),
                layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
                layers.LayerNormalization(),
                layers.ReLU(max_value=2.0, negative_slope=0.1),
                layers.Bidirectional(layers.GRU(4), merge_mode="mul"),
                layers.LeakyReLU(),
                layers.Dense(6, "gelu"),
                layers.Dense(V),
                layers.Softmax(),
            ]
        )
    )


@pytest.fixture(scope="module")
def numbers():
    """Return the most copied tutorial's form: one number a symbol."""
    layers = keras.layers
    return filled(
        keras.Sequential(
            [
                keras.Input((T, 1)),
                layers.LSTM(6, return_sequences=True),
                layers.Dropout(0.2),
                layers.LSTM(6),
                layers.Dropout(0.2),
                layers.Dense(V, activation="softmax"),
            ]
        )
    )


def test_the_tutorials_form_is_ids_divided_by_their_number(
    numbers, softmax, tmp_path, text
):
    numbers.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match=r"one number a symbol: .* from 0 to 8 / 9"):
        model = load_model(tmp_path / "m.keras", text)
    assert (model.windows.targets, model.windows.seq_length) == ("last", T)
    ids = np.random.default_rng(1).integers(0, V, T)
    decoder = model.decoder()
    logits = [decoder.step(symbol).copy() for symbol in ids][-1][0]
    expected = np.asarray(numbers((ids / float(V)).reshape(1, T, 1)))[0]
    np.testing.assert_allclose(softmax(logits), expected, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_windows_read_both_ways_are_those_of_each_text(
    mixed, softmax, batch_size, tmp_path, text
):
    """Shorter ones at first; one text begins anew between."""
    mixed.save(tmp_path / "m.keras")
    model = load_model(tmp_path / "m.keras", text)
    layers = "Bidirectional(6), LayerNormalization, Rectifier, Bidirectional(4)"
    assert layers in repr(model)
    decoder = model.decoder(batch_size)
    assert decoder.batch_size == batch_size
    rng = np.random.default_rng(2)
    texts = [[] for _ in range(batch_size)]
    for step in range(9):
        if step == 6:
            decoder.reset([batch_size - 1])
            texts[-1] = []
        ids = rng.integers(0, V, batch_size)
        for seen, symbol in zip(texts, ids, strict=True):
            seen.append(symbol)
        logits = decoder.step(ids)
        for seen, ours in zip(texts, logits, strict=True):
            window = np.eye(V, dtype="f4")[seen[-T:]]
            expected = np.asarray(mixed(window[None]))[0]
            np.testing.assert_allclose(softmax(ours), expected, atol=1e-6)


def test_a_model_that_reads_both_ways_is_measured_as_others_are(
    mixed, softmax, tmp_path, text
):
    mixed.save(tmp_path / "m.keras")
    model = load_model(tmp_path / "m.keras", text)
    ids = np.random.default_rng(3).integers(0, V, 40)
    places = range(T, len(ids))
    windows = [np.eye(V, dtype="f4")[ids[place - T : place]] for place in places]
    predicted = np.asarray(mixed(np.array(windows)))
    expected = -np.log(predicted[range(len(places)), ids[T:]]).mean()
    assert held_out_nats(model, ids) == pytest.approx(expected, abs=1e-5)


# Settings and arrays that mean nothing here


@pytest.fixture
def refused_when(refused, tmp_path, text):
    """Return a function that has a model refused after a change of its description."""

    def refuse(model, change, match):
        path = tmp_path / "m.h5"
        model.save(path)
        with h5py.File(path, "a") as file:
            config = json.loads(file.attrs["model_config"])
            change(config["config"]["layers"])
            file.attrs["model_config"] = json.dumps(config)
        refused(path, match, text)

    return refuse


def first(layers, kind):
    return next(item for item in layers if item["class_name"] == kind)


BN, LN, BOTH = "BatchNormalization", "LayerNormalization", "Bidirectional"
SETTINGS = [
    (BN, {"axis": 1}, "axis=-1 in layer 'batch_normalization"),
    (BN, {"axis": [0, 2]}, "axis=-1"),
    (BN, {"renorm": True}, "renorm=False"),
    (BN, {"center": False}, "of the shapes"),
    (BN, {"epsilon": -3}, "variances above zero"),
    (BN, {"epsilon": "small"}, "epsilon of layer .* as a number"),
    (BN, {"epsilon": True}, "epsilon of layer .* as a number"),
    (BN, {"virtual_batch_size": 4}, "'virtual_batch_size'"),
    (LN, {"rms_scaling": True}, "rms_scaling=False"),
    (LN, {"axis": [1, 2]}, "axis=-1"),
    (LN, {"epsilon": -1e-9}, "variances above zero"),
    (LN, {"epsilon": float("nan")}, "as a number"),
    ("Softmax", {"axis": 0}, "axis=-1"),
    ("ReLU", {"max_value": "6"}, "max_value of layer"),
    ("ReLU", {"threshold": 10**400}, "threshold of layer"),
    ("ReLU", {"negative_slope": None}, "negative_slope of layer"),
    ("LeakyReLU", {"negative_slope": False}, "negative_slope of layer"),
    (BOTH, {"merge_mode": None}, "merge_mode"),
    (BOTH, {"merge_mode": ["sum"]}, "merge_mode"),
    (BOTH, {"layer": {"class_name": "Lambda", "config": {}}}, "a recurrent layer in"),
    (BOTH, {"weights": [1]}, "'weights'"),
]


@pytest.mark.parametrize("case", SETTINGS, ids=lambda case: f"{case[:2]}"[:60])
def test_settings_that_mean_nothing_here(case, mixed, refused_when):
    kind, settings, match = case
    refused_when(mixed, lambda x: first(x, kind)["config"].update(settings), match)


def of_both(**settings):
    """Return a change of both layers within a Bidirectional, the last one."""

    def change(layers):
        last = [item for item in layers if item["class_name"] == BOTH][-1]["config"]
        for inner in ("layer", "backward_layer"):
            last[inner]["config"].update(settings)

    return change


def of_second(**settings):
    return lambda x: first(x, BOTH)["config"]["backward_layer"]["config"].update(
        settings
    )


def softmax_before_the_end(layers):
    layers.insert(-2, {"class_name": "Softmax", "config": {"name": "s", "axis": -1}})


CHANGES = [
    (of_both(return_sequences=True), "would see what follows"),
    (of_both(stateful=True), "same stateful"),
    (of_both(go_backwards=True), "go_backwards=False"),
    (of_second(go_backwards=False), "go_backwards=True"),
    (of_second(units=4), "the same units"),
    (of_second(return_sequences=False), "the same units, return_sequences"),
    (of_second(name=5), "can't be read"),
    (softmax_before_the_end, "nowhere else"),
]


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case[1])
def test_chains_that_mean_nothing_here(case, mixed, refused_when):
    refused_when(mixed, *case)


def test_a_variance_below_zero_is_refused(mixed, refused, tmp_path, text):
    mixed.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        root, paths = file["model_weights"], []
        root.visit(lambda name: paths.append(name) if "variance" in name else None)
        root[paths[0]][2] = -0.5
    refused(tmp_path / "m.h5", "variances above zero", text)


def test_keras_own_files_with_a_mask_are_refused_with_the_remedy(
    refused, tmp_path, text
):
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(V, 3, mask_zero=True)(ids)
    x = keras.layers.LSTM(4, return_sequences=True)(x)
    model = keras.Model(ids, keras.layers.Dense(V, "softmax")(x))
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        refused(tmp_path / name, "without masking", text)
