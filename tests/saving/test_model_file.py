import contextlib
import errno
import json
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import pytest

from textgen.config import Config, ModelConfig, WindowConfig
from textgen.errors import ModelFileError, OutputError
from textgen.saving import model_file, trained_model
from textgen.saving.container import BLOCK_BYTES, user_block
from textgen.saving.hdf5 import METADATA_PATH
from textgen.saving.model_file import load_model, save_model
from textgen.saving.trained_model import TrainedModel
from textgen.system import files as atomic_file

keras = pytest.importorskip("keras")

from textgen.modeling.model import build_model  # noqa: E402

SYMBOLS = "\nabcdé☃"
V = len(SYMBOLS)


def metadata_of(config: Config, symbols=SYMBOLS) -> dict:
    return {
        "format": 2,
        "level": "character",
        "symbols": list(symbols),
        "corpus": {"name": "test", "kind": "text", "sha256": "0" * 64},
        "config": config.to_dict(),
        "training": {"steps": 3},
    }


def small_config(layers=1, embedding=3, targets="all", window=5) -> Config:
    return Config(
        ModelConfig(layers, units=6, embedding=embedding, dropout=0.2),
        WindowConfig(window, targets=targets),
    )


def randomised(model, seed=0):
    """Give every weight but a frozen one a value that isn't special, biases too."""
    rng = np.random.default_rng(seed)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(size=weight.shape, scale=0.7))
    return model


def make_file(path, config=None, symbols=SYMBOLS):
    config = config or small_config()
    model = build_model(config.model, len(symbols), targets=config.windows.targets)
    save_model(randomised(model), metadata_of(config, symbols), path)
    return model


@pytest.fixture(scope="module")
def good_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "model.h5"
    make_file(path)
    return path


@pytest.fixture
def good_bytes(good_file):
    return good_file.read_bytes()


# The three agreeing predictions


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def naive_probabilities(path, layers: int, ids) -> np.ndarray:
    """Read the arrays by name and go gate by gate, symbol by symbol, in float64."""
    with h5py.File(path) as file:
        arrays = {}
        file["model_weights"].visititems(
            lambda name, item: (
                arrays.update({name: item[()].astype(np.float64)})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )

    def named(layer, weight):
        (found,) = [
            array
            for name, array in arrays.items()
            if name.split("/")[0] == layer and name.split("/")[-1] == weight
        ]
        return found

    table = named(
        "embedding" if "embedding/embedding/embeddings" in arrays else "one_hot",
        "embeddings",
    )
    outputs = [table[i] for i in ids]
    for number in range(1, layers + 1):
        kernel = named(f"lstm_{number}", "kernel")
        recurrent = named(f"lstm_{number}", "recurrent_kernel")
        bias = named(f"lstm_{number}", "bias")
        size = len(recurrent)
        h, c = np.zeros(size), np.zeros(size)
        below, outputs = outputs, []
        for x in below:
            z = x @ kernel + h @ recurrent + bias
            i = sigmoid(z[:size])
            f = sigmoid(z[size : 2 * size])
            candidate = np.tanh(z[2 * size : 3 * size])
            o = sigmoid(z[3 * size :])
            c = f * c + i * candidate
            h = o * np.tanh(c)
            outputs.append(h)
    logits = outputs[-1] @ named("probabilities", "kernel")
    logits += named("probabilities", "bias")
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def softmax(logits):
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return weights / weights.sum()


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("embedding", [0, 3])
@pytest.mark.parametrize("targets", ["all", "last"])
def test_keras_stepper_and_naive_reference_agree(tmp_path, layers, embedding, targets):
    window = 5
    config = small_config(layers, embedding, targets, window)
    path = tmp_path / "model.h5"
    make_file(path, config)
    opened = keras.models.load_model(path)
    decoder = load_model(path).decoder()
    ids = np.random.default_rng(0).integers(0, V, 9)
    for end in range(1, len(ids) + 1):
        seen = ids[max(0, end - window) : end] if targets == "last" else ids[:end]
        ours = softmax(decoder.step(ids[end - 1 : end])[0])
        naive = naive_probabilities(path, layers, seen)
        theirs = np.asarray(opened(seen[None])).reshape(-1, V)[-1]
        np.testing.assert_allclose(ours, naive, atol=1e-5)
        np.testing.assert_allclose(theirs, naive, atol=1e-5)


def test_what_is_saved_comes_back(tmp_path):
    config = small_config(layers=2, targets="last")
    path = tmp_path / "model.h5"
    keras_model = make_file(path, config)
    model = load_model(path)
    assert isinstance(model, TrainedModel)
    assert model.path == path
    assert "".join(model.vocabulary.symbols) == SYMBOLS
    assert model.config == config
    assert model.windows == config.windows
    assert model.kind == "text"
    assert model.end_id == 0
    assert model.metadata["training"] == {"steps": 3}
    network = model.network
    arrays = [network.embedding]
    for layer in network.layers:
        arrays += [layer.kernel, layer.recurrent_kernel, layer.bias]
    arrays += [network.dense_kernel, network.dense_bias]
    for ours, theirs in zip(arrays, keras_model.get_weights(), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("interrupted", [True, False, None, "yes"])
def test_an_unfinished_model_says_so(tmp_path, interrupted):
    config = small_config()
    model = build_model(config.model, len(SYMBOLS))
    metadata = metadata_of(config) | {"training": {"interrupted": interrupted}}
    save_model(model, metadata, tmp_path / "m.h5")
    remark = load_model(tmp_path / "m.h5").remark
    assert ("unfinished" in remark) == (interrupted is True)


def test_no_newline_no_end_id(tmp_path):
    make_file(tmp_path / "m.h5", symbols="abc")
    assert load_model(tmp_path / "m.h5").end_id is None


def test_sequential_models_are_taken(tmp_path):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(V, 3),
            layers.LSTM(4, return_sequences=True),
            layers.Dropout(0.5),
            layers.LSTM(5),
            layers.Dense(V, activation="softmax"),
        ]
    )
    save_model(model, metadata_of(small_config()), tmp_path / "m.h5")
    assert [x.units for x in load_model(tmp_path / "m.h5").network.layers] == [4, 5]


def test_the_same_model_gives_the_same_bytes(tmp_path, good_bytes):
    make_file(tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == good_bytes


def test_saving_says_nothing(tmp_path, caplog, recwarn, capsys):
    make_file(tmp_path / "m.h5")
    assert not [r for r in caplog.records if "HDF5" in r.getMessage()]
    assert not [w for w in recwarn if "HDF5" in str(w.message)]
    captured = capsys.readouterr()
    assert "HDF5" not in captured.out + captured.err


def test_saving_writes_nowhere_else(tmp_path, monkeypatch, good_bytes):
    """A folder for temporary files that is full, say, doesn't matter."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    monkeypatch.chdir(tmp_path)
    make_file(tmp_path / "m.h5")
    assert (tmp_path / "m.h5").read_bytes() == good_bytes
    assert os.listdir(tmp_path) == ["m.h5"]


def test_arrays_are_stored_plainly(good_file):
    with h5py.File(good_file) as file:
        assert file.userblock_size == BLOCK_BYTES
        assert json.loads(file[METADATA_PATH][()])["symbols"] == list(SYMBOLS)
        found = []
        file.visititems(lambda _, x: found.append(x) if hasattr(x, "shape") else None)
        assert len(found) == 7
        for dataset in found:
            assert dataset.chunks is None
            assert dataset.id.get_storage_size() == dataset.nbytes


def test_reading_imports_neither_keras_nor_tensorflow(good_file):
    code = (
        "import sys; from textgen.saving.model_file import load_model; "
        f"load_model({str(good_file)!r}); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'keras','tensorflow'}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr


# Damage


def refused(path, match: str | None = None) -> None:
    with pytest.raises(ModelFileError, match=match) as caught:
        load_model(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(repr(str(path)))
    assert "expected" in message


@pytest.mark.usefixtures("read_here")
def test_every_flipped_bit_is_noticed(tmp_path, good_bytes):
    path = tmp_path / "flipped.h5"
    rng = np.random.default_rng(0)
    positions = set(range(0, BLOCK_BYTES, 3)) | set(
        rng.integers(BLOCK_BYTES, len(good_bytes), 400).tolist()
    )
    for position in positions:
        flipped = bytearray(good_bytes)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        refused(path)


@pytest.mark.usefixtures("read_here")
def test_every_truncation_is_noticed(tmp_path, good_bytes):
    path = tmp_path / "short.h5"
    for length in [*range(1, 700, 37), *range(700, len(good_bytes), 1999)]:
        path.write_bytes(good_bytes[:length])
        refused(path)
    path.write_bytes(good_bytes[:-1])
    refused(path, "damaged or cut short")
    path.write_bytes(good_bytes + b"\0")
    refused(path, "damaged or cut short")


@pytest.mark.usefixtures("read_here")
def test_missing_empty_folder_and_rubbish(tmp_path):
    refused(tmp_path / "missing\n.h5", "No such file")
    refused(tmp_path, "folder")
    path = tmp_path / "m.h5"
    path.write_bytes(b"")
    refused(path, "empty")
    for seed in range(20):
        path.write_bytes(np.random.default_rng(seed).bytes(3000))
        refused(path, "something else")
    for seed in range(20):
        noise = np.random.default_rng(seed).bytes(3000)
        path.write_bytes(b"\x89HDF\r\n\x1a\n" + noise)
        refused(path, "damaged")


def test_a_null_character_in_the_path():
    with pytest.raises(ModelFileError, match="null"):
        load_model("a\0b.h5")


def test_a_newer_format_is_named(tmp_path, good_bytes):
    path = tmp_path / "m.h5"
    path.write_bytes(good_bytes.replace(b"format 2\n", b"format 3\n", 1))
    refused(path, "format 3")


def test_a_block_of_another_program_has_no_hash_to_disagree_with(tmp_path, good_bytes):
    path = tmp_path / "m.h5"
    path.write_bytes(bytes(BLOCK_BYTES) + good_bytes[BLOCK_BYTES:])
    refused(path, "512 bytes of something else before it")


def rebuilt(good_bytes, tmp_path, change):
    """Apply ``change`` to the open HDF5 file and give it a block that agrees."""
    inner = tmp_path / "inner.h5"
    inner.write_bytes(good_bytes[BLOCK_BYTES:])
    with h5py.File(inner, "a") as file:
        change(file)
    hdf5 = inner.read_bytes()
    path = tmp_path / "rebuilt.h5"
    path.write_bytes(user_block(hdf5) + hdf5)
    return path


def change_config(change):
    def apply(file):
        config = json.loads(file.attrs["model_config"])
        change({x["class_name"]: x["config"] for x in config["config"]["layers"]})
        file.attrs["model_config"] = json.dumps(config)

    return apply


def change_metadata(change):
    def apply(file):
        metadata = json.loads(file[METADATA_PATH][()])
        change(metadata)
        text = json.dumps(metadata).encode()
        del file[METADATA_PATH]
        file[METADATA_PATH] = np.bytes_(text)

    return apply


KERNEL = "model_weights/lstm_1/lstm_1/lstm_cell/kernel"


def replace_kernel(**options):
    def apply(file):
        del file[KERNEL]
        file.create_dataset(KERNEL, **options)

    return apply


def soft_link(file):
    file.move(KERNEL, "elsewhere")
    file[KERNEL] = h5py.SoftLink("/elsewhere")


def external_link(file):
    del file["model_weights"]
    file["model_weights"] = h5py.ExternalLink("/etc/other.h5", "/model_weights")


def external_metadata(file):
    del file[METADATA_PATH]
    file[METADATA_PATH] = h5py.ExternalLink("/etc/other.h5", "/x")


NAN_KERNEL = np.full((3, 24), np.nan, np.float32)
TAMPERED = {
    "units": (change_config(lambda c: c["LSTM"].update(units=10**9)), "1 to"),
    "more units": (change_config(lambda c: c["LSTM"].update(units=7)), "shapes"),
    "units text": (change_config(lambda c: c["LSTM"].update(units="6")), "whole"),
    "activation": (
        change_config(lambda c: c["LSTM"].update(activation="evil")),
        "activation of",
    ),
    "hard": (
        change_config(lambda c: c["LSTM"].update(recurrent_activation="softmax")),
        "recurrent_activation",
    ),
    "backwards": (
        change_config(lambda c: c["LSTM"].update(go_backwards=True)),
        "go_backwards",
    ),
    "no bias": (change_config(lambda c: c["LSTM"].update(use_bias=False)), "shapes"),
    "relu": (
        change_config(lambda c: c["Dense"].update(activation="relu")),
        "softmax",
    ),
    "outputs": (change_config(lambda c: c["Dense"].update(units=8)), "outputs"),
    "mask": (change_config(lambda c: c["Embedding"].update(mask_zero=1)), "mask_zero"),
    "policy": (
        change_config(lambda c: c["LSTM"].update(dtype="int8")),
        "float32",
    ),
    "no json": (
        lambda f: f.attrs.__setitem__("model_config", "{"),
        "can't be read",
    ),
    "deep json": (
        lambda f: f.attrs.__setitem__("model_config", "[" * 30_000),
        "can't be read",
    ),
    "config array": (
        lambda f: f.attrs.__setitem__("model_config", [1, 2]),
        "one text",
    ),
    "no config": (lambda f: f.attrs.__delitem__("model_config"), "holds none"),
    "no weights": (lambda f: f.__delitem__("model_weights"), "model_weights"),
    "no kernel": (lambda f: f.__delitem__(KERNEL), "there is none"),
    "shape": (replace_kernel(data=np.ones((4, 24), "f4")), "shape"),
    "declared only": (replace_kernel(shape=(50_000, 50_000), dtype="f4"), "hold"),
    "chunked": (replace_kernel(shape=(3, 24), dtype="f4", chunks=(3, 24)), "plain"),
    "integers": (replace_kernel(data=np.ones((3, 24), "i4")), "float32"),
    "big-endian": (replace_kernel(data=np.ones((3, 24), ">f4")), "float32"),
    "nan": (replace_kernel(data=NAN_KERNEL), "finite"),
    "huge": (replace_kernel(data=np.full((3, 24), 3e38, "f4")), "finite"),
    "external data": (
        replace_kernel(shape=(3, 24), dtype="f4", external=[("/etc/hostname", 0, 288)]),
        "plain",
    ),
    "soft link": (soft_link, "link"),
    "external link": (external_link, "no"),
    "external metadata": (external_metadata, "link"),
    "no vocabulary": (lambda f: f.__delitem__(METADATA_PATH), "vocabulary"),
    "metadata array": (
        lambda f: (f.__delitem__(METADATA_PATH), f.__setitem__(METADATA_PATH, [1])),
        "one text",
    ),
    "fewer symbols": (change_metadata(lambda m: m["symbols"].pop()), "6 symbols"),
    "twice": (change_metadata(lambda m: m.update(symbols=["a"] * V)), "metadata"),
    "numbers": (change_metadata(lambda m: m.update(symbols=[1] * V)), "metadata"),
    "kind": (change_metadata(lambda m: m["corpus"].update(kind="x")), "kind 'x'"),
    "no word as kind": (
        change_metadata(lambda m: m["corpus"].update(kind=["\x1b[2J"] * 999)),
        r"kind \['\\x1b\[2J', '\\x1b\[2J', .{1,60} \.\.\.: ",
    ),
    "format": (change_metadata(lambda m: m.update(format=3)), "format 2"),
    "level": (change_metadata(lambda m: m.update(level="word")), "metadata"),
    "no config data": (change_metadata(lambda m: m.pop("config")), "metadata"),
    "bad config": (
        change_metadata(lambda m: m["config"]["model"].update(units=-1)),
        "metadata",
    ),
    "endless window": (
        change_metadata(
            lambda m: m["config"]["windows"].update(targets="last", seq_length=100_000)
        ),
        None,
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
@pytest.mark.usefixtures("read_here")
def test_tampered_files_are_refused(tmp_path, good_bytes, name):
    change, match = TAMPERED[name]
    path = rebuilt(good_bytes, tmp_path, change)
    if match is None:
        load_model(path)  # 6 units: small enough to stagger
    else:
        refused(path, match)


def test_windows_too_long_to_stagger_are_refused(tmp_path, good_bytes, monkeypatch):
    path = rebuilt(good_bytes, tmp_path, TAMPERED["endless window"][0])
    monkeypatch.setattr(trained_model, "MAX_STAGGERED_UNITS", 500_000)
    refused(path, "window 100,000")


def test_fewer_texts_at_once_where_windows_are_long(tmp_path):
    make_file(tmp_path / "m.h5", small_config(layers=2, targets="last", window=10_000))
    model = load_model(tmp_path / "m.h5")
    units = 2 * 6 * 10_000 + V
    assert model.max_batch_size == trained_model.MAX_STAGGERED_UNITS // units == 69
    make_file(tmp_path / "m.h5", small_config(layers=2, window=10_000))
    assert load_model(tmp_path / "m.h5").max_batch_size > 400_000


def test_hdf5_that_is_no_model(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1, 2, 3]
    refused(tmp_path / "other.h5", "Keras model")


def plain_keras(path, *layers):
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    model.save(path)


def test_models_of_other_layers_are_refused(tmp_path):
    path, layers = tmp_path / "m.h5", keras.layers
    for between, match in [
        ([layers.Conv1D(3, 4), layers.GRU(4)], "'Conv1D'"),
        ([layers.Bidirectional(layers.LSTM(4))], "'Bidirectional'"),
        ([], "Embedding, Dense"),
    ]:
        dense = layers.Dense(V, activation="softmax")
        plain_keras(path, layers.Embedding(V, 3), *between, dense)
        refused(path, match)


def test_a_model_that_is_no_chain_is_refused(tmp_path):
    layers = keras.layers
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(V, 4)(ids)
    y = layers.LSTM(4, return_sequences=True)(x)
    z = layers.LSTM(4)(x)
    keras.Model(ids, [layers.Dense(V, activation="softmax")(z), y]).save(
        tmp_path / "m.h5"
    )
    refused(tmp_path / "m.h5", "chain")


def test_a_model_without_vocabulary_says_so(tmp_path):
    layers = keras.layers
    plain_keras(
        tmp_path / "m.h5",
        layers.Embedding(V, 3),
        layers.LSTM(4),
        layers.Dense(V, activation="softmax"),
    )
    refused(tmp_path / "m.h5", "vocabulary")


def test_a_file_whose_block_was_lost_is_refused(tmp_path, good_bytes):
    (tmp_path / "m.h5").write_bytes(good_bytes[BLOCK_BYTES:])
    refused(tmp_path / "m.h5", "SHA-256")


# Atomic writing


@contextlib.contextmanager
def failing(monkeypatch, module, name, call=1, error=None):
    """Let the ``call``-th call of a function raise."""
    original, calls = getattr(module, name), []

    def replacement(*args, **kwargs):
        calls.append(name)
        if len(calls) == call:
            raise error or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, replacement)
        yield


@pytest.mark.parametrize(
    ("module", "name"),
    [(atomic_file, "_write"), (os, "fsync"), (os, "replace")],
)
@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_a_failing_write_leaves_the_earlier_file(
    tmp_path, monkeypatch, module, name, error
):
    path = tmp_path / "m.h5"
    make_file(path)
    before = path.read_bytes()
    config = small_config(layers=2)
    model = build_model(config.model, V)
    expected = KeyboardInterrupt if error else OutputError
    with (
        failing(monkeypatch, module, name, error=error),
        pytest.raises(expected) as caught,
    ):
        save_model(model, metadata_of(config), path)
    if not error:
        message = str(caught.value)
        assert "No space left" in message
        assert "\n" not in message
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.h5"]


def test_a_file_too_large_to_be_opened_is_not_written(tmp_path, monkeypatch):
    path = tmp_path / "m.h5"
    make_file(path)
    size = path.stat().st_size
    monkeypatch.setattr(model_file, "MAX_FILE_BYTES", size)
    make_file(path)
    monkeypatch.setattr(model_file, "MAX_FILE_BYTES", size - 1)
    path.unlink()
    with pytest.raises(
        OutputError, match=f"at most {size - 1:,} bytes, but .* {size:,}"
    ):
        make_file(path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e16])
def test_weights_that_mean_nothing_are_not_saved(tmp_path, value):
    config = small_config()
    model = build_model(config.model, V)
    weights = model.get_weights()
    weights[1][0, 0] = value
    model.set_weights(weights)
    with pytest.raises(OutputError, match="finite"):
        save_model(model, metadata_of(config), tmp_path / "m.h5")
    assert os.listdir(tmp_path) == []


def test_a_model_that_could_not_be_read_is_not_saved(tmp_path):
    config = small_config()
    with pytest.raises(ModelFileError, match="7 symbols"):
        save_model(
            build_model(config.model, V + 1), metadata_of(config), tmp_path / "m.h5"
        )
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs names that are any bytes")
def test_a_corpus_whose_name_is_not_utf8_can_be_saved(make_model_file):
    path = make_model_file("caf\udce9", "text", "\nabé☃")
    model = load_model(path)
    assert model.metadata["corpus"]["name"] == "caf\udce9"
    assert model.vocabulary.symbols == tuple("\nabé☃")
