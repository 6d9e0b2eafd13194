"""Models in files that can't be read: one line that says what each is."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from textgen.errors import ModelFileError
from textgen.saving.model_file import load_model

keras = pytest.importorskip("keras")


def small_model():
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.LSTM(3)(keras.layers.Embedding(4, 3)(ids))
    return keras.Model(ids, keras.layers.Dense(4, "softmax")(x))


def weights(path):
    small_model().save_weights(path)


def weights_of_keras_2(path):
    """Write them as Keras 2 did: a whole model's ``model_weights``, without more."""
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, small_model())


def saved_model(path):
    small_model().export(path, verbose=False)


def zipped(*names):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"\x80\x02}q\x00.")

    return write


def arrays(path):
    with path.open("wb") as file:
        np.savez(file, kernel=np.ones(3))


def one_array(path):
    with path.open("wb") as file:
        np.save(file, np.ones(3))


def pickled(protocol):
    return lambda path: path.write_bytes(pickle.dumps({"x": [1]}, protocol))


OLD_TORCH = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e80024de9032e")
FORMATS = {
    "m.weights.h5": (weights, "weights alone .*model.load_weights"),
    "old.weights.h5": (weights_of_keras_2, "weights alone .*model.load_weights"),
    "saved": (saved_model, "a SavedModel folder.*load_model"),
    "m.pkl": (pickled(4), "a Python pickle.*where you trust it"),
    "old.pkl": (pickled(2), "a Python pickle"),
    "m.pt": (zipped("m/data.pkl", "m/version"), "PyTorch.*copy its weights"),
    "new.pt": (zipped("m/.format_version", "m/data.pkl"), "PyTorch"),
    "old.pt": (lambda path: path.write_bytes(OLD_TORCH), "PyTorch"),
    "m.npz": (arrays, "arrays of NumPy"),
    "m.npy": (one_array, "arrays of NumPy"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_file_is_and_what_to_do_is_one_line(name, tmp_path):
    write, match = FORMATS[name]
    path = tmp_path / name
    write(path)
    with pytest.raises(ModelFileError, match=match) as caught:
        load_model(path)
    message = str(caught.value)
    assert message.startswith(repr(str(path)))
    assert "\n" not in message
    assert "model.save('model.keras')" in message


def test_a_file_that_torch_writes_is_named(tmp_path):
    torch = pytest.importorskip("torch")
    data = io.BytesIO()
    torch.save({"kernel": torch.ones(3)}, data)
    (tmp_path / "m.pt").write_bytes(data.getvalue())
    with pytest.raises(ModelFileError, match="PyTorch"):
        load_model(tmp_path / "m.pt")
