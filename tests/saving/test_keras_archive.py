"""`.keras` archives: those that Keras writes, and those that nobody would write."""

import contextlib
import io
import json
import warnings
import zipfile
import zlib

import h5py
import numpy as np
import pytest

from textgen.errors import ModelFileError
from textgen.saving import keras_archive
from textgen.saving.model_file import load_model, save_model

keras = pytest.importorskip("keras")

pytestmark = pytest.mark.usefixtures("read_here")

SYMBOLS = "abcdefghi"
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
OWN = "textgen.json"


def sequential():
    """Return a model whose layers have other names and numbers than their folders."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 9)),
            layers.LSTM(5, return_sequences=True, name="lstm_1", dropout=0.1),
            layers.SimpleRNN(5, return_sequences=True, name="dense"),
            layers.SpatialDropout1D(0.2),
            layers.LSTM(5, return_sequences=True, name="lstm"),
            layers.TimeDistributed(layers.Dense(7, name="inner")),
            layers.GRU(4, name="bidirectional"),
            layers.Dense(6, "tanh", name="dense_1"),
            layers.Dense(9, name="spatial_dropout1d_1"),
            layers.Activation("softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy")  # its state is saved, too
    return model


def functional():
    ids = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(9, 3)(ids)
    x = keras.layers.GRU(5, reset_after=False, return_sequences=True, name="b")(x)
    x = keras.layers.GRU(5, name="a")(keras.layers.Dropout(0.1, seed=1)(x))
    return keras.Model(ids, keras.layers.Dense(9, "softmax")(x))


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict:
    """Return what the entries of an archive of Keras' own are."""
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("archive") / "m.keras"
    functional().save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(SYMBOLS)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.keras"


@pytest.mark.parametrize("make", [sequential, functional])
def test_an_archive_predicts_what_keras_predicts(make, softmax, path, text):
    model = make()
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(size=weight.shape, scale=0.6))
    model.save(path)
    decoder = load_model(path, text).decoder()
    ids = rng.integers(0, 9, 11)
    for end in range(1, len(ids) + 1):
        ours = softmax(decoder.step(ids[end - 1])[0])
        if end < 6:
            continue
        seen = ids[end - 6 : end]
        given = seen if make is functional else np.eye(9, dtype="f4")[seen]
        expected = np.asarray(model(given[None]))[0]
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_the_state_of_a_dropout_is_left_out(path, text, saved):
    """Some versions of Keras 3 write it, as whole numbers."""

    def add(file):
        file["layers/dropout/seed_generator/vars/0"] = np.zeros(2, "u4")
        file["layers/gru/cell/seed_generator/vars/0"] = np.zeros(2, "u4")

    write(path, saved | {WEIGHTS: changed(saved, add)})
    assert load_model(path, text).network.vocabulary_size == 9


def test_an_archive_may_be_compressed(path, text, saved):
    write(path, saved)
    stored = load_model(path, text).decoder().step(1).copy()
    write(path, saved, compression=zipfile.ZIP_DEFLATED)
    np.testing.assert_array_equal(load_model(path, text).decoder().step(1), stored)


# Archives that nobody would write


def write(path, entries, compression=zipfile.ZIP_STORED, comment=b""):
    """Write an archive of entries, (name, bytes) pairs or a mapping."""
    pairs = entries.items() if isinstance(entries, dict) else entries
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.comment = comment
        for name, data in pairs:
            with warnings.catch_warnings(action="ignore"):  # of names given twice
                archive.writestr(name, data)


def changed(entries, change) -> bytes:
    """Return the weights after a change of their HDF5."""
    file = io.BytesIO(entries[WEIGHTS])
    with h5py.File(file, "a") as opened:
        change(opened)
    return file.getvalue()


def with_entry(name, data):
    return lambda path, saved: write(path, saved | {name: data})


def without(name):
    return lambda path, saved: write(path, {k: saved[k] for k in saved if k != name})


def with_weights(change):
    return lambda path, saved: write(path, saved | {WEIGHTS: changed(saved, change)})


def patched(change):
    """Return what changes the bytes of a whole archive."""

    def make(path, saved):
        write(path, saved)
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)

    return make


def encrypted(data):
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1


def another_name_before_the_entry(data):
    data[data.index(CONFIG.encode())] ^= 1


def a_gap(data):
    """Let the first entry begin later: what is before it belongs to nothing."""
    end = data.rindex(b"PK\x05\x06")
    start = int.from_bytes(data[end + 16 : end + 20], "little")
    gap = 20_000
    for place in range(start, end):
        if data[place : place + 4] == b"PK\x01\x02":
            old = int.from_bytes(data[place + 42 : place + 46], "little")
            data[place + 42 : place + 46] = (old + gap).to_bytes(4, "little")
    data[end + 16 : end + 20] = (start + gap).to_bytes(4, "little")
    data[:0] = b"PK\x03\x04" + bytes(gap - 4)


def bomb(path, saved):
    zeros = bytes(64 << 20)
    assert len(zlib.compress(zeros)) < 100_000
    write(path, saved | {WEIGHTS: zeros}, zipfile.ZIP_DEFLATED)


def large(path, saved):
    data = np.random.default_rng(0).bytes((1 << 27) // 16) * 16 + b"\0"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (METADATA, CONFIG):
            archive.writestr(name, saved[name])
        archive.writestr(WEIGHTS, data, zipfile.ZIP_DEFLATED)


def many_entries(path, saved):
    write(path, saved | {f"assets/{number}": b"" for number in range(3000)})


def relinked(link):
    def change(file):
        del file["layers/gru/cell/vars/0"]
        file["layers/gru/cell/vars/0"] = link

    return with_weights(change)


def array_at(path, **options):
    array = options or {"data": np.ones(3, "f4")}
    return with_weights(lambda file: file.create_dataset(path, **array))


def compressed_array(file):
    array = file["layers/embedding/vars/0"][()]
    del file["layers/embedding/vars/0"]
    options = {"chunks": (3, 3), "compression": "gzip"}
    file.create_dataset("layers/embedding/vars/0", data=array, **options)


def in_reverse(path, saved):
    layers = json.loads(saved[CONFIG])
    layers["config"]["layers"].reverse()
    write(path, saved | {CONFIG: json.dumps(layers).encode()})


ONCE, FORM, DAMAGED = "once each", "another form", "damaged"
HOSTILE = {
    "no config": (without(CONFIG), "without config.json"),
    "no metadata": (without(METADATA), "without metadata.json"),
    "no weights": (without(WEIGHTS), "without model.weights.h5"),
    "a program": (with_entry("evil.py", b"1"), ONCE),
    "assets": (with_entry("assets/x", b"1"), ONCE),
    "a folder": (with_entry("x/", b""), ONCE),
    "a name upwards": (with_entry("../config.json", b"{}"), ONCE),
    "a name of Windows": (with_entry("C:\\config.json", b"{}"), ONCE),
    "twice": (lambda p, x: write(p, [*x.items(), (CONFIG, b"{}")]), ONCE),
    "many entries": (many_entries, FORM),
    "a comment": (lambda p, x: write(p, x, comment=b"x" * 60), FORM),
    "something after it": (patched(lambda data: data.extend(bytes(99))), FORM),
    "something before it": (patched(a_gap), "nothing between"),
    "cut short": (patched(lambda data: data.__delitem__(slice(-30, None))), FORM),
    "no directory": (patched(lambda data: data.__delitem__(slice(40, None))), FORM),
    "LZMA": (lambda p, x: write(p, x, zipfile.ZIP_LZMA), "stored or deflated"),
    "encrypted": (patched(encrypted), "stored or deflated"),
    "two names": (patched(another_name_before_the_entry), DAMAGED),
    "a flipped bit": (patched(lambda x: x.__setitem__(9000, x[9000] ^ 1)), DAMAGED),
    "a long config": (with_entry(CONFIG, b" " * (1 << 20) + b"{}"), "1,048,576 bytes"),
    "long metadata": (with_entry(METADATA, b" " * 10_001), "10,000 bytes"),
    "long metadata of ours": (
        with_entry(OWN, b" " * ((1 << 24) + 1)), "16,777,216 bytes"),
    "a bomb": (bomb, "100 times what it takes"),
    "inflated weights": (large, "134,217,728 bytes"),
    "an archive within": (with_entry(WEIGHTS, b"PK\x03\x04" + bytes(99)), DAMAGED),
    "no HDF5": (with_entry(WEIGHTS, b"x" * 9000), DAMAGED),
    "nothing": (with_entry(WEIGHTS, b""), DAMAGED),
    "a block before HDF5": (
        lambda p, x: write(p, x | {WEIGHTS: bytes(512) + x[WEIGHTS]}), DAMAGED),
    "bytes after HDF5": (
        lambda p, x: write(p, x | {WEIGHTS: x[WEIGHTS] + b"\0"}), "1 more"),
    "no layers": (with_weights(lambda x: x.move("layers", "other")), "group 'layers'"),
    "a soft link": (relinked(h5py.SoftLink("/layers/gru/cell/vars/1")), "elsewhere"),
    "an external link": (relinked(h5py.ExternalLink("/x.h5", "x")), "elsewhere"),
    "a compressed array": (with_weights(compressed_array), "one plain piece"),
    "an array not stored": (
        array_at("layers/dense/vars/2", shape=(40_000, 50_000), dtype="f4"),
        "does not hold them"),
    "an array elsewhere": (array_at("layers/gru/evil/vars/0"), "where Keras puts them"),
    "a number too long": (array_at("layers/gru/vars/123"), "where Keras puts them"),
    "arrays of nobody": (array_at("layers/lstm_9/vars/0"), "'lstm_9'"),
    "one array more": (array_at("layers/dense/vars/2"), "shapes"),
    "whole numbers": (array_at("layers/dense/vars/2", data=[1]), "float16"),
    "no JSON": (with_entry(CONFIG, b"{"), DAMAGED),
    "no text": (with_entry(CONFIG, b"\xff"), DAMAGED),
    "no layers described": (with_entry(CONFIG, b"{}"), DAMAGED),
    "another order": (in_reverse, "one chain"),
    "no version": (with_entry(METADATA, b"{}"), DAMAGED),
    "a number as version": (with_entry(METADATA, b'{"keras_version": 3}'), "version"),
    "Keras 9": (with_entry(METADATA, b'{"keras_version": "9.0"}'), "2 or 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_archives_that_nobody_would_write(name, refused, path, text, saved):
    make, match = HOSTILE[name]
    make(path, saved)
    refused(path, match, text)


def test_an_archive_of_64_bit_form_is_refused(refused, path, text, saved):
    write(path, saved)
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    path.write_bytes(data[:end] + b"PK\x06\x07" + bytes(16) + data[end:])
    refused(path, "another form", text)


def test_an_archive_of_ours_has_its_vocabulary_and_shows_any_damage(path, prose_model):
    first = load_model(prose_model)
    save_model(keras.models.load_model(prose_model), first.metadata, path)
    again = load_model(path)
    assert (again.vocabulary, again.metadata) == (first.vocabulary, first.metadata)
    step = first.decoder().step(1)
    np.testing.assert_array_equal(again.decoder().step(1), step)
    keras.models.load_model(path)
    good = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        places = {
            entry.header_offset + 30 + len(entry.filename) + at
            for entry in archive.infolist()
            for at in range(0, entry.file_size, 997)
        }
    for place in places:
        data = bytearray(good)
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match="damaged"):
            load_model(path)


def test_where_an_archive_is_damaged_and_how_does_not_matter(path, text, saved):
    """Each byte of what is not weights, and some of these, is changed."""
    write(path, saved)
    good = path.read_bytes()
    expected = load_model(path, text).decoder().step(1).copy()
    for place in range(0, len(good), 97):
        data = bytearray(good)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        with contextlib.suppress(ModelFileError):  # accepted if it is a date, say
            received = load_model(path, text).decoder().step(1)
            np.testing.assert_array_equal(received, expected)


def test_names_of_folders_are_those_of_keras():
    from keras.src.utils.naming import to_snake_case

    for kind in ("LSTM", "GRU", "SimpleRNN", "TimeDistributed", "SpatialDropout1D",
                 "BatchNormalization", "LeakyReLU", "ReLU", "InputLayer"):  # fmt: skip
        assert keras_archive._snake_case(kind) == to_snake_case(kind)
