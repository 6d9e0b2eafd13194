import json
import lzma
import os
import subprocess
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from keras_fixtures import FIXTURES

from textgen.config import Config, ModelConfig
from textgen.errors import ModelFileError, OutputError
from textgen.saving import model_file, trained_model
from textgen.saving.container import BLOCK_BYTES, user_block
from textgen.saving.contents import read_contents
from textgen.saving.hdf5 import METADATA_PATH
from textgen.saving.model_file import load_model, load_trainable, save_model, serialize
from textgen.saving.trained_model import model_of_contents

keras = pytest.importorskip("keras")


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("embedding", [0, 3])
@pytest.mark.parametrize("targets", ["all", "last"])
def test_keras_predicts_the_same_from_our_file(
    small, softmax, tmp_path, layers, embedding, targets
):
    window, path, size = 5, tmp_path / "model.h5", len(small.symbols)
    small.save(path, small.config(layers, embedding, targets, window))
    opened, decoder = keras.models.load_model(path), load_model(path).decoder()
    ids = np.random.default_rng(0).integers(0, size, 9)
    for end in range(1, len(ids) + 1):
        seen = ids[max(0, end - window) : end] if targets == "last" else ids[:end]
        ours = softmax(decoder.step(ids[end - 1 : end])[0])
        theirs = np.asarray(opened(seen[None])).reshape(-1, size)[-1]
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


# Saving


def test_what_is_saved_comes_back(small, tmp_path):
    config = small.config(layers=2, targets="last")
    path = tmp_path / "model.h5"
    keras_model = small.save(path, config)
    model = load_model(path)
    assert (model.path, model.kind, model.end_id) == (path, "text", None)
    assert "".join(model.vocabulary.symbols) == small.symbols
    assert (model.config, model.windows) == (config, config.windows)
    assert model.metadata["training"]["steps"] == 3
    network = model.network
    arrays = [network.embedding]
    for layer in network.layers:
        arrays += [layer.kernel, layer.recurrent_kernel, layer.bias]
    arrays += [network.dense_kernel, network.dense_bias]
    for ours, theirs in zip(arrays, keras_model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)


def test_a_model_is_one_line_and_equal_to_itself_only(small, good_file, tmp_path):
    model, again = load_model(good_file), load_model(good_file)
    assert model == model
    assert model != again
    assert {model: 1, again: 2}[model] == 1
    assert repr(model) == (
        f"<TrainedModel {str(good_file)!r}: text, LSTM(6), 7 symbols, "
        "1.250 nats per character held out>"
    )
    assert len(repr(model.network)) < 250
    small.save(tmp_path / "m.h5", training={"held_out_nats_per_char": [10**400]})
    assert "held out" not in repr(load_model(tmp_path / "m.h5"))


@pytest.mark.parametrize("interrupted", [True, False, None, "yes"])
def test_an_unfinished_model_says_so(small, tmp_path, interrupted):
    small.save(tmp_path / "m.h5", training={"interrupted": interrupted})
    model = load_model(tmp_path / "m.h5")
    assert model.is_unfinished == (interrupted is True)
    assert ("unfinished" in model.remark) == model.is_unfinished


def test_saving_says_nothing_and_writes_nowhere_else(
    small, tmp_path, monkeypatch, good_bytes, caplog, recwarn, capsys
):
    """A folder for temporary files that is full, say, doesn't matter."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    monkeypatch.chdir(tmp_path)
    small.save(tmp_path / "m.h5")
    assert (tmp_path / "m.h5").read_bytes() == good_bytes
    assert os.listdir(tmp_path) == ["m.h5"]
    said = [r.getMessage() for r in caplog.records] + [str(w.message) for w in recwarn]
    assert "HDF5" not in "".join([*said, *capsys.readouterr()])


def test_reading_imports_neither_keras_nor_tensorflow_nor_h5py(good_file):
    code = (
        "import sys; from textgen.saving.model_file import load_model; "
        f"load_model({str(good_file)!r}); "
        "print({m.split('.')[0] for m in sys.modules} & {'keras','tensorflow','h5py'})"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert printed.strip() == "set()"


def test_a_file_too_large_to_be_opened_is_not_written(small, tmp_path, monkeypatch):
    path = tmp_path / "m.h5"
    small.save(path)
    size = path.stat().st_size
    monkeypatch.setattr(model_file, "MAX_FILE_BYTES", size)
    small.save(path)
    monkeypatch.setattr(model_file, "MAX_FILE_BYTES", size - 1)
    path.unlink()
    with pytest.raises(OutputError, match=f"{size - 1:,} bytes, but .* {size:,}"):
        small.save(path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e16])
def test_weights_that_mean_nothing_are_not_saved(small, tmp_path, value):
    model = small.network(small.config())
    model.trainable_variables[1].assign(np.full((3, 24), value))
    with pytest.raises(OutputError, match="finite"):
        save_model(model, small.metadata(small.config()), tmp_path / "m.h5")
    assert os.listdir(tmp_path) == []


def test_a_model_that_could_not_be_read_is_not_saved(small, tmp_path):
    config = small.config()
    with pytest.raises(ModelFileError, match="7 symbols"):
        save_model(small.network(config, 8), small.metadata(config), tmp_path / "m.h5")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs names that are any bytes")
def test_a_corpus_whose_name_is_not_utf8_can_be_saved(make_model_file):
    path = make_model_file("caf\udce9", "text", "\nabé☃")
    model = load_model(path)
    assert model.metadata["corpus"]["name"] == "caf\udce9"
    assert model.vocabulary.symbols == tuple("\nabé☃")


# A Keras that will have changed


@pytest.mark.parametrize("value", [None, False, True, 0, "on", {}])
def test_a_setting_of_a_newer_keras_is_taken_if_it_is_off(small, monkeypatch, value):
    """Each layer's description has one more key than those of today."""
    described = keras.layers.Layer.get_config

    def with_one_more(self):
        return described(self) | {"setting_of_tomorrow": value}

    config = small.config()
    model = small.network(config)
    monkeypatch.setattr(keras.layers.Layer, "get_config", with_one_more)
    if value is None or value is False:
        assert b"setting_of_tomorrow" in serialize(model, small.metadata(config))
    else:
        with pytest.raises(ModelFileError, match="'setting_of_tomorrow'"):
            serialize(model, small.metadata(config))


@pytest.mark.parametrize("change", ["gone", "renamed", "other arguments"])
def test_without_the_private_function_models_are_saved_by_the_public_one(
    small, tmp_path, monkeypatch, good_file, change
):
    name = "keras.src.legacy.saving.legacy_h5_format"
    if change == "gone":
        monkeypatch.setitem(sys.modules, name, None)
    elif change == "renamed":
        monkeypatch.delattr(f"{name}.save_model_to_hdf5")
    else:
        monkeypatch.setattr(f"{name}.save_model_to_hdf5", lambda model: None)
    saved = []
    original = keras.Model.save

    def save(self, path, **options):
        saved.append(path)
        monkeypatch.undo()  # Keras' own save needs its function
        original(self, path, **options)

    monkeypatch.setattr(keras.Model, "save", save)
    small.save(tmp_path / "m.h5")
    assert [os.path.exists(path) for path in saved] == [False]
    ours, theirs = load_model(tmp_path / "m.h5"), load_model(good_file)
    assert ours.metadata == theirs.metadata
    assert ours.decoder().step([1]).tolist() == theirs.decoder().step([1]).tolist()


# Files of format 1


def test_a_shipped_model_of_format_1_loads():
    path = Path("models", "dinos-pretrained.h5")
    with h5py.File(path) as file:
        written = json.loads(file[METADATA_PATH][()])
    assert written["format"] == 1
    assert written["config"]["windows"]["window_chars"] == 64
    model = load_trainable(path)
    assert (model.kind, model.windows.seq_length) == ("lines", 64)
    assert model.metadata["corpus"] == written["corpus"] | {"kind": "lines"}
    assert model.metadata["training"] == written["training"]


def test_a_file_of_format_1_goes_on(softmax, tmp_path):
    """Saved by the last version that wrote format 1, with one unit a layer."""
    packed = Path(__file__).with_name("format_1.h5.xz").read_bytes()
    (tmp_path / "m.h5").write_bytes(lzma.decompress(packed))
    model = load_trainable(tmp_path / "m.h5")
    assert model.kind == "text"
    assert (model.windows.seq_length, model.windows.stride) == (4, 3)
    assert model.vocabulary.symbols == tuple("\n ab")
    expected = keras.models.load_model(tmp_path / "m.h5")(np.array([[2, 1]]))
    decoder = model.decoder()
    logits = [decoder.step([i])[0].copy() for i in (2, 1)]
    np.testing.assert_allclose(softmax(logits[-1]), expected[0, -1], atol=1e-6)


# Damage

HDF5 = b"\x89HDF\r\n\x1a\n"


@pytest.mark.usefixtures("read_here")
def test_every_flipped_bit_is_noticed(refused, tmp_path, good_bytes):
    path = tmp_path / "flipped.h5"
    rng = np.random.default_rng(0)
    beyond = rng.integers(BLOCK_BYTES, len(good_bytes), 400).tolist()
    for position in {*range(0, BLOCK_BYTES, 3), *beyond}:
        flipped = bytearray(good_bytes)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        refused(path, "expected")


@pytest.mark.usefixtures("read_here")
def test_every_truncation_is_noticed(refused, tmp_path, good_bytes):
    path = tmp_path / "short.h5"
    for length in [*range(1, 700, 37), *range(700, len(good_bytes), 1999)]:
        path.write_bytes(good_bytes[:length])
        refused(path, "expected")
    for data in (good_bytes[:-1], good_bytes + b"\0"):
        path.write_bytes(data)
        refused(path, "damaged or cut short")


@pytest.mark.usefixtures("read_here")
def test_missing_empty_folder_and_rubbish(refused, tmp_path):
    refused(tmp_path / "missing\n.h5", "No such file")
    refused(tmp_path, "folder")
    refused(Path("a\0b.h5"), "null")
    path = tmp_path / "m.h5"
    path.write_bytes(b"")
    refused(path, "empty")
    for seed in range(20):
        noise = np.random.default_rng(seed).bytes(3000)
        for data, match in [(noise, "something else"), (HDF5 + noise, "damaged")]:
            path.write_bytes(data)
            refused(path, match)


def test_a_block_that_is_not_of_this_format(refused, tmp_path, good_bytes):
    path, hdf5 = tmp_path / "m.h5", good_bytes[BLOCK_BYTES:]
    for data, match in [
        (good_bytes.replace(b"format 2\n", b"format 3\n", 1), "format 3"),
        (bytes(BLOCK_BYTES) + hdf5, "512 bytes of something else before it"),
        (hdf5, "SHA-256"),
    ]:
        path.write_bytes(data)
        refused(path, match)


@pytest.fixture
def rebuilt(good_bytes, tmp_path):
    """Return a function that changes the HDF5 part, and makes its hash anew."""

    def rebuild(change) -> Path:
        path = tmp_path / "rebuilt.h5"
        path.write_bytes(good_bytes[BLOCK_BYTES:])
        with h5py.File(path, "a") as file:
            change(file)
        path.write_bytes(user_block(path.read_bytes()) + path.read_bytes())
        return path

    return rebuild


def layer(kind: str, **settings):
    """Return a change of a layer's settings."""

    def apply(file):
        config = json.loads(file.attrs["model_config"])
        for item in config["config"]["layers"]:
            if item["class_name"] == kind:
                item["config"].update(settings)
        file.attrs["model_config"] = json.dumps(config)

    return apply


def metadata(*path, **values):
    """Return a change of the metadata, or of what is at a path in them."""

    def apply(file):
        changed = inner = json.loads(file[METADATA_PATH][()])
        for name in path:
            inner = inner[name]
        inner.update(values)
        instead_of_metadata(np.bytes_(json.dumps(changed).encode()))(file)

    return apply


def instead_of_metadata(value):
    def apply(file):
        del file[METADATA_PATH]
        if value is not None:
            file[METADATA_PATH] = value

    return apply


LINK = h5py.ExternalLink("/etc/other.h5", "/x")
LONG_KIND = r"kind \['\\x1b\[2J', '\\x1b\[2J', .{1,60} \.\.\.: "
TAMPERED = {
    "more units": (layer("LSTM", units=7), "shapes"),
    "no bias": (layer("LSTM", use_bias=False), "shapes"),
    "relu": (layer("Dense", activation="relu"), "softmax"),
    "outputs": (layer("Dense", units=8), "outputs"),
    "mask": (layer("Embedding", mask_zero=1), "mask_zero"),
    "no config": (lambda file: file.attrs.pop("model_config"), "holds none"),
    "no weights": (lambda file: file.pop("model_weights"), "model_weights"),
    "external metadata": (instead_of_metadata(LINK), "link"),
    "no metadata": (instead_of_metadata(None), "vocabulary"),
    "metadata array": (instead_of_metadata([1]), "one text"),
    "fewer symbols": (metadata(symbols=list("abcdef")), "6 symbols"),
    "twice": (metadata(symbols=["a"] * 7), "metadata"),
    "numbers": (metadata(symbols=[1] * 7), "metadata"),
    "kind": (metadata("corpus", kind="x"), "kind 'x'"),
    "no word as kind": (metadata("corpus", kind=["\x1b[2J"] * 999), LONG_KIND),
    "format": (metadata(format=3), "format 2"),
    "level": (metadata(level="word"), "metadata"),
    "unknown level": (metadata(level=["x"]), "metadata"),
    "merges": (metadata(merges=[[0, 1]]), "metadata"),
    "nested merges": (metadata(level="bpe", merges=[[[0], 1]]), "metadata"),
    "no config data": (metadata(config=None), "metadata"),
    "bad config": (metadata("config", "model", units=-1), "metadata"),
    "no texts": (metadata(texts=[1]), "texts"),
    "bad text": (metadata(texts=[{"name": 5}]), "texts"),
    "bad own text": (metadata("corpus", sha256=[5]), "texts"),
}


@pytest.mark.parametrize("name", TAMPERED)
@pytest.mark.usefixtures("read_here")
def test_tampered_files_are_refused(refused, rebuilt, name):
    change, match = TAMPERED[name]
    refused(rebuilt(change), match)


def test_windows_too_long_to_stagger_are_refused(refused, rebuilt, monkeypatch):
    long = {"targets": "last", "seq_length": 100_000}
    path = rebuilt(metadata("config", "windows", **long))
    assert load_model(path).windows.seq_length == 100_000  # few enough of 6 units
    monkeypatch.setattr(trained_model, "MAX_WINDOW_UNITS", 500_000)
    refused(path, "received 100,000")


def test_fewer_texts_at_once_where_windows_are_long(small, tmp_path):
    small.save(tmp_path / "m.h5", small.config(2, targets="last", window=10_000))
    model = load_model(tmp_path / "m.h5")
    assert model.max_batch_size == 69  # times 2 * 6 * 10,000 + 7 units
    small.save(tmp_path / "m.h5", small.config(2, window=10_000))
    assert load_model(tmp_path / "m.h5").max_batch_size > 400_000


def test_hdf5_that_is_no_model(refused, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1, 2, 3]
    refused(tmp_path / "other.h5", "Keras model")


def test_a_model_that_is_no_chain_or_has_no_memory_is_refused(refused, tmp_path):
    layers, ids = keras.layers, keras.Input((None,), dtype="int32")
    x = layers.Embedding(7, 4)(ids)
    y = layers.LSTM(4, return_sequences=True)(x)
    z = layers.Dense(7, activation="softmax")(layers.LSTM(4)(x))
    for outputs, match in [
        ([z, y], "chain"),
        (layers.Dense(7, activation="softmax")(x), "Embedding, Dense"),
    ]:
        keras.Model(ids, outputs).save(tmp_path / "m.h5")
        refused(tmp_path / "m.h5", match)


# Going on with a training


FOREIGN_SYMBOLS = "abcdefghi"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(FOREIGN_SYMBOLS)
    return path


@pytest.mark.parametrize(
    ("form", "cell"),
    [("one-hot", "LSTM"), ("embedding", "LSTM"), ("numbers", "LSTM"),
     ("embedding", "GRU"), ("one-hot", "SimpleRNN")],
)  # fmt: skip
def test_a_training_goes_on_from_another_programs_layers(
    form, cell, softmax, tmp_path, text
):
    """What the network is made of that a training begins with predicts the same."""
    from textgen.modeling.model import build_model, set_network

    layers, size = keras.layers, len(FOREIGN_SYMBOLS)
    shape = {"one-hot": (5, size), "embedding": (5,), "numbers": (5, 1)}[form]
    chain = [layers.Embedding(size, 4)] if form == "embedding" else []
    recurrent = getattr(layers, cell)
    chain += [recurrent(6, return_sequences=True), layers.Dropout(0.1)]
    chain += [recurrent(6), layers.Dense(size, "softmax")]
    theirs = keras.Sequential([keras.Input(shape), *chain])
    theirs.save(tmp_path / "m.keras")
    with pytest.raises(ModelFileError, match="`vocabulary_from`"):
        load_trainable(tmp_path / "m.keras")
    with warnings.catch_warnings(action="ignore"):
        model = load_trainable(tmp_path / "m.keras", text)
    config = model.config.model
    names = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}
    assert (config.layers, config.units, config.cell) == (2, 6, names[cell])
    assert config.embedding == {"one-hot": 0, "embedding": 4, "numbers": 1}[form]
    network = build_model(config, size, targets="last", seed=3)
    set_network(network, model.network)
    ids = np.array([[1, 5, 0, 8, 2]])
    given = {"one-hot": np.eye(size)[ids], "embedding": ids,
             "numbers": (ids / size)[..., None]}[form]  # fmt: skip
    received, expected = np.asarray(network(ids)), np.asarray(theirs(given))
    np.testing.assert_allclose(received, expected, atol=1e-6)


@pytest.mark.parametrize(
    "chain",
    [
        lambda x: [x.GRU(6, reset_after=False)],
        lambda x: [x.SimpleRNN(6, activation="relu")],
        lambda x: [x.LSTM(6, return_sequences=True), x.GRU(6)],
        lambda x: [x.LSTM(6, activation="relu")],
        lambda x: [x.LSTM(6, return_sequences=True), x.LSTM(5)],
        lambda x: [x.LSTM(6, return_sequences=True), x.Dense(6), x.LSTM(6)],
        lambda x: [x.LSTM(6), x.Dense(7, "relu")],
        lambda x: [x.LSTM(6), x.BatchNormalization()],
        lambda x: [x.Bidirectional(x.LSTM(6))],
    ],
)
def test_a_training_does_not_go_on_from_other_programs_networks(chain, tmp_path, text):
    layers, size = keras.layers, len(FOREIGN_SYMBOLS)
    last = layers.Dense(size, "softmax")
    model = keras.Sequential([keras.Input((5, size)), *chain(layers), last])
    model.save(tmp_path / "m.keras")
    assert load_model(tmp_path / "m.keras", text).network.vocabulary_size == size
    with pytest.raises(ModelFileError, match="to go on from"):
        load_trainable(tmp_path / "m.keras", text)


def test_our_metadata_fit_no_network_that_reads_both_ways(good_file, tmp_path):
    size = len(load_model(good_file).vocabulary)
    layers = [keras.layers.Bidirectional(keras.layers.LSTM(6)),
              keras.layers.Dense(size, "softmax")]  # fmt: skip
    keras.Sequential([keras.Input((5, size)), *layers]).save(tmp_path / "m.keras")
    with good_file.open("rb") as ours, (tmp_path / "m.keras").open("rb") as theirs:
        metadata = read_contents(ours).metadata
        mixed = replace(read_contents(theirs), metadata=metadata, hashed=True)
    with pytest.raises(ModelFileError, match="metadata that fit the network"):
        model_of_contents(mixed, None)


def test_nothing_writes_to_the_arrays_of_a_model(good_file, tmp_path):
    models = [load_model(good_file)]
    for name in ("Keras 2.2 CuDNNGRU", "Keras 2.2 mixed, relu"):  # fmt: skip
        fixture = FIXTURES[name]()
        (tmp_path / "text.txt").write_text(fixture.symbols, newline="")
        path = fixture.write(tmp_path / "m.h5")
        models.append(load_model(path, tmp_path / "text.txt"))
    for model in models:
        parts = [model.network, *model.network.layers, *model.network.head]
        arrays = [x for part in parts for x in vars(part).values()]
        arrays = [x for x in arrays if isinstance(x, np.ndarray)]
        assert len(arrays) > 4
        for array in arrays:
            with pytest.raises(ValueError, match="read-only"):
                array[:] = 0


@pytest.mark.parametrize(
    ("kind", "units", "gate"),
    [("GRU", 16, "sigmoid"), ("LSTM", 15, "sigmoid"), ("LSTM", 16, "hard_sigmoid")],
)
def test_a_training_does_not_go_on_from_other_networks(
    small, tmp_path, kind, units, gate
):
    """A file with our metadata and hash, but not the network that they describe."""
    layers, ids = keras.layers, keras.Input((None,), dtype="int32")
    recurrent = getattr(layers, kind)
    x = recurrent(units, return_sequences=True, recurrent_activation=gate)(
        layers.Embedding(3, 8)(ids)
    )
    model = keras.Model(ids, layers.Dense(3, activation="softmax")(x))
    config = Config(ModelConfig(layers=1, units=16, embedding=8))
    save_model(model, small.metadata(config, "\nab"), tmp_path / "m.h5")
    assert load_model(tmp_path / "m.h5").decoder().step([1]).shape == (1, 3)
    with pytest.raises(ModelFileError, match=r"m\.h5'.* to go on"):
        load_trainable(tmp_path / "m.h5")
