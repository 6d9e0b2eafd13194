"""What a file costs that claims to be large: memory of both processes, and time."""

import json
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from keras_fixtures import FIXTURES, keras_2_lstm, sparse_array

from textgen.errors import ModelFileError
from textgen.saving import metadata as metadata_module
from textgen.saving.container import BLOCK_BYTES, MAX_FLOATS, user_block
from textgen.saving.hdf5 import METADATA_PATH
from textgen.saving.metadata import read_metadata
from textgen.saving.model_file import MAX_FILE_BYTES, load_model

MEBIBYTE = 1 << 20


def sparse_tail(path, _):
    """Make valid HDF5 followed by nothing, which takes no room on the disk."""
    keras_2_lstm().write(path)
    with path.open("r+b") as file:
        file.truncate(MAX_FILE_BYTES)


def with_sparse_kernel(dtype, floats):
    def make(path, _):
        keras_2_lstm().write(path)
        with h5py.File(path, "a") as file:
            group = file["model_weights/lstm_1/lstm_1"]
            del group["kernel:0"]
            sparse_array(group, "kernel:0", (floats,), dtype)

    return make


def long_config(path, _):
    keras_2_lstm().write(path)
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = "[" + " " * 100_000_000 + "]"


def with_metadata(**changes):
    def make(path, good):
        inner = path.with_suffix(".inner")
        inner.write_bytes(good[BLOCK_BYTES:])
        with h5py.File(inner, "a") as file:
            text = json.dumps(json.loads(file[METADATA_PATH][()]) | changes)
            for name, value in NESTED.items():
                text = text.replace(name, value)
            del file[METADATA_PATH]
            file[METADATA_PATH] = np.bytes_(text.encode())
        hdf5 = inner.read_bytes()
        path.write_bytes(user_block(hdf5) + hdf5)

    return make


NESTED = {'"LISTS"': "[" + "[],[[]]," * (2 * MEBIBYTE - 9000) + "[]]"}
TWO = ["ab"] * 2_000_000


def inflated(path, _):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", b"{}")
        archive.writestr("config.json", b"{}")
        archive.writestr("model.weights.h5", bytes(1 << 27))


def long_directory(path, _):
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(60_000):
            archive.writestr(str(number), b"")


FILES = {
    "a tail that isn't there": (sparse_tail, "ends with its HDF5 part"),
    "an array of zeros": (with_sparse_kernel("f4", MAX_FLOATS - 9999), "of the shapes"),
    "of float16": (with_sparse_kernel("f2", MAX_FLOATS - 9999), "of the shapes"),
    "of float64": (with_sparse_kernel("f8", MAX_FLOATS - 9999), "of the shapes"),
    "one number more": (with_sparse_kernel("f2", MAX_FLOATS + 1), "60,000,000 weights"),
    "a description of 100 MB": (long_config, "at most 1,048,576 bytes"),
    "nested metadata": (with_metadata(training="LISTS"), "of at most 1,048,576"),
    "nested symbols": (with_metadata(symbols="LISTS"), "metadata of format"),
    "many symbols": (with_metadata(symbols=TWO), "of at most 1,048,576"),
    "unknown metadata": (with_metadata(x=1), "only config, corpus, .* 'x'"),
    "a bomb": (inflated, "100 times"),
    "a directory of 60,000": (long_directory, "another form"),
}
CODE = """
import resource, sys
from textgen.errors import ModelFileError
from textgen.saving.model_file import load_model
try: load_model(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
except ModelFileError as error: print(error)
else: sys.exit('accepted')
status = open('/proc/self/status').read()
print(status.split('VmHWM:')[1].split()[0])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", FILES)
def test_both_processes_together_take_less_than_a_gigabyte(name, tmp_path, prose_model):
    make, match = FILES[name]
    path = tmp_path / "m.h5"
    make(path, prose_model.read_bytes())
    command = [sys.executable, "-c", CODE, str(path)]
    command += [] if "metadata" in name or "symbols" in name else [__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    refusal, *kibibytes = done.stdout.splitlines()
    ours, childs = (1024 * int(kib) for kib in kibibytes)
    assert re.search(match, refusal)
    assert ours + childs < 1e9
    if "array" not in name and "float" not in name and "100 MB" not in name:
        assert ours + childs < 400e6


def test_symbols_may_be_as_many_as_the_model_has(monkeypatch):
    """They don't count among the metadata that are limited."""
    symbols = [chr(code) for code in range(0x10000, 0x20000)]
    written = json.dumps({"format": 2, "symbols": ['"', "\\", "]", *symbols]})
    assert len(written) > metadata_module.MAX_BYTES
    read = read_metadata(written, len(symbols) + 3)
    assert read == {"format": 2, "symbols": ['"', "\\", "]", *symbols]}
    with pytest.raises(ModelFileError, match="of at most"):
        read_metadata(written, 3)
    monkeypatch.setattr(metadata_module, "MAX_BYTES", 10)
    with pytest.raises(ModelFileError, match="metadata of at most 10 "):
        read_metadata(written, len(symbols) + 3)


def test_a_long_window_of_many_units_is_refused(refused, tmp_path):
    """Of 80,000 symbols, say, each step of which would take 320 MB and seconds."""
    fixture = keras_2_lstm(9, (20, 20), 80_000)
    text = tmp_path / "text.txt"
    text.write_text(fixture.symbols, newline="")
    path = fixture.write(tmp_path / "m.h5")
    refused(path, "windows of at most 52,428 symbols for 40 units", text)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/stdin")
def test_standard_input_is_the_file_that_it_stands_for(tmp_path):
    fixture = FIXTURES["Keras 2.0 LSTM, one-hot"]()
    path, text = fixture.write(tmp_path / "m.h5"), tmp_path / "text.txt"
    text.write_text(fixture.symbols, newline="")
    command = [sys.executable, "generate.py", "--model", "/dev/stdin"]
    command += ["--vocabulary-from", text, "--prompt", "abc", "--length", "3"]
    with path.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True)
    assert (done.returncode, done.stdout[:3]) == (0, "abc"), done.stderr
    started = time.monotonic()
    done = subprocess.run(command, input="x", capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "a folder or device" in done.stderr
    assert time.monotonic() - started < 8


def test_a_device_by_any_name_is_refused(refused, tmp_path):
    link = tmp_path / "m.h5"
    link.symlink_to("/dev/zero")
    refused(link, "a folder or device")
    link.unlink()
    link.symlink_to("/proc/self/status")
    refused(link, "a device")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs /dev/shm")
def test_a_file_in_shared_memory_is_a_file(prose_model):
    with tempfile.NamedTemporaryFile(dir="/dev/shm", suffix=".h5") as file:
        file.write(prose_model.read_bytes())
        file.flush()
        assert load_model(file.name).kind == "text"


def test_names_that_are_no_path_are_refused():
    for given in (5, None, b"m.h5", ["m.h5"], 1.5):
        with pytest.raises(ModelFileError, match="path or name of a model, but rec"):
            load_model(given)
