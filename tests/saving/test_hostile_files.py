"""Files that were made to do harm, or that no Keras would write: each one refused."""

import json
import os
import subprocess
import sys
import time
import zlib

import h5py
import numpy as np
import pytest
from keras_fixtures import (
    FIXTURES,
    Fixture,
    functional,
    item,
    keras_2_cudnn,
    keras_2_dense,
    keras_2_gru,
    keras_2_lstm,
    keras_2_masked,
    keras_2_masking_embedded,
    keras_2_rnn,
    mapped,
    write_file,
)

from textgen.errors import ModelFileError
from textgen.saving import hdf5 as hdf5_contents
from textgen.saving.container import BLOCK_BYTES
from textgen.saving.model_file import load_model
from textgen.saving.sandbox_worker import MEMORY_BYTES

KERNEL = "model_weights/lstm_1/lstm_1/kernel:0"
SHAPE = (9, 20)
SECRET = 7.25


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(keras_2_lstm().symbols, newline="")
    return path


def refused(path, text, match: str) -> str:
    started = time.process_time()
    with pytest.raises(ModelFileError, match=match) as caught:
        load_model(path, text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(repr(str(path)))
    assert len(message) < 1000 + len(str(path))
    for limit in ("took more than", "ended the process", "in the memory of"):
        assert limit not in message, "no limit is to refuse it, but a check"
    assert time.process_time() - started < 5  # here; the other process has its limit
    return message


# In the description


def first_settings(fixture: Fixture, **changes) -> Fixture:
    fixture.layer("LSTM").update(changes)
    return fixture


def insert(fixture: Fixture, *items: dict, place: int = 2) -> Fixture:
    fixture.config["config"][place:place] = items
    return fixture


def dense(**changes) -> Fixture:
    fixture = keras_2_lstm()
    fixture.layer("Dense").update(changes)
    return fixture


def embedding(**changes) -> Fixture:
    fixture = keras_2_masked()
    fixture.layer("Embedding").update(changes)
    return fixture


def lstm(**changes) -> Fixture:
    return first_settings(keras_2_lstm(), **changes)


def built_for(shape) -> Fixture:
    fixture = keras_2_lstm()
    del fixture.layer("LSTM")["batch_input_shape"]
    fixture.config = mapped(fixture.config["config"])
    fixture.config["config"]["build_input_shape"] = shape
    return fixture


def registered(**changes) -> Fixture:
    fixture = keras_2_lstm()
    fixture.config["config"][0].update(changes)
    return fixture


def wrapped(**changes) -> Fixture:
    fixture = keras_2_gru()
    fixture.layer("TimeDistributed")["layer"].update(changes)
    return fixture


def wrapped_without_sequences() -> Fixture:
    fixture = keras_2_gru()
    fixture.config["config"]["layers"][2]["config"]["return_sequences"] = False
    return fixture


def with_unused_layer() -> Fixture:
    fixture = keras_2_masked()
    unused = item("Lambda", "unused", function="evil")
    fixture.config["config"]["layers"].append(
        {**unused, "name": "unused", "inbound_nodes": []}
    )
    return fixture


def with_unused_known_layer() -> Fixture:
    fixture = keras_2_masked()
    unused = keras_2_dense("unused", 1 << 20)
    fixture.config["config"]["layers"].insert(
        2, {**unused, "name": "unused", "inbound_nodes": []}
    )
    return fixture


def called_twice() -> Fixture:
    fixture = keras_2_masked()
    last = fixture.config["config"]["layers"][-1]
    last["inbound_nodes"] *= 2
    return fixture


def masking(value) -> Fixture:
    fixture = keras_2_masking_embedded()
    fixture.layer("Masking")["mask_value"] = value
    return fixture


def masked_cudnn() -> Fixture:
    fixture = keras_2_cudnn("LSTM")
    fixture.layer("Embedding")["mask_zero"] = True
    return fixture


def nested() -> Fixture:
    fixture = keras_2_lstm()
    return insert(fixture, {"class_name": "Sequential", "config": {"name": "inner"}})


def of_version(version) -> Fixture:
    fixture = keras_2_lstm()
    fixture.version = version
    return fixture


def without_sequences() -> Fixture:
    return first_settings(keras_2_lstm(), return_sequences=False)


def shadowed() -> Fixture:
    """Two layers of one name, which would share their arrays."""
    fixture = keras_2_lstm()
    fixture.config["config"][2]["config"]["name"] = "lstm_1"
    return fixture


def extra_arrays() -> Fixture:
    fixture = keras_2_lstm()
    fixture.arrays["nobody"] = [("kernel:0", np.ones((2, 2)))]
    return fixture


def dropout_with_arrays() -> Fixture:
    fixture = keras_2_lstm()
    fixture.arrays["dropout_1"] = [("kernel:0", np.ones((2, 2)))]
    return fixture


def weights_of(value, dtype="f4") -> Fixture:
    fixture = keras_2_lstm()
    fixture.dtype = dtype
    fixture.net.layers[2].kernel[0, 0] = value
    return fixture


DESCRIBED = {
    "huge Dense": (lambda: dense(units=10**9), "units of layer 'dense_1'"),
    "large Dense": (lambda: dense(units=2_000_000), "of the shapes"),
    "huge number": (lambda: dense(units=10**4000), "units of layer 'dense_1'"),
    "negative units": (lambda: lstm(units=-5), "units of layer 'lstm_1'"),
    "units true": (lambda: lstm(units=True), "units of layer 'lstm_1'"),
    "units 5.0": (lambda: lstm(units=5.0), "units of layer 'lstm_1'"),
    "huge LSTM": (lambda: lstm(units=2_000_000), "of the shapes"),
    "huge Embedding": (lambda: embedding(output_dim=2_000_000), "of the shapes"),
    "more rows": (lambda: embedding(input_dim=10**12), "input_dim of layer"),
    "Lambda": (
        lambda: insert(keras_2_lstm(), item("Lambda", "l", function=["4wE=", None])),
        "is 'Lambda'",
    ),
    "unknown layer": (lambda: insert(keras_2_lstm(), item("Evil>LSTM", "l")), "Evil"),
    "nested model": (nested, "is 'Sequential'"),
    "kind in a list": (lambda: insert(keras_2_lstm(), item([1], "l")), "is \\[1\\]"),
    "Bidirectional": (
        lambda: insert(keras_2_lstm(), item("Bidirectional", "b", layer={})),
        "is 'Bidirectional'",
    ),
    "wrapped LSTM": (
        lambda: insert(
            keras_2_lstm(), item("TimeDistributed", "t", layer=item("LSTM", "x"))
        ),
        "Dense layer in the TimeDistributed",
    ),
    "registered name": (
        lambda: registered(registered_name="evil>LSTM"),
        "registered as 'evil>LSTM'",
    ),
    "module": (lambda: registered(module="evil"), "registered as 'evil'"),
    "module os": (lambda: registered(module="keras/../os"), "registered as"),
    "wrapped registered name": (
        lambda: wrapped(registered_name="evil>Dense"),
        "registered as 'evil>Dense'",
    ),
    "wrapped unknown key": (lambda: wrapped(custom_objects={}), "'custom_objects'"),
    "wrapped, no sequences": (
        wrapped_without_sequences,
        "'gru_2', since a TimeDistributed follows",
    ),
    "unknown key around": (lambda: registered(custom_objects={}), "'custom_objects'"),
    "unknown setting": (lambda: lstm(cell="evil"), "received 'cell'"),
    "setting of Keras 1": (lambda: lstm(inner_activation="tanh"), "of Keras 1"),
    "setting of Keras 2": (lambda: of_version("1.2.0"), "of Keras 2"),
    "no version": (lambda: of_version(None), "of Keras 2"),
    "version 4": (lambda: of_version("4.0"), "Keras 1, 2 or 3"),
    "version in words": (lambda: of_version("two\x1b[31m"), r"\\x1b\[31m"),
    "activation": (lambda: lstm(activation="os.system"), "'os.system'"),
    "activation object": (lambda: lstm(activation={"class_name": "f"}), "class_name"),
    "hidden name": (lambda: lstm(activation="hard_sigmoid_3"), "hard_sigmoid_3"),
    "hidden softmax": (lambda: lstm(activation="softmax"), "'softmax'"),
    "Dense softmax twice": (lambda: dense(activation="softmax"), "nowhere else"),
    "sigmoid at the end": (
        lambda: insert(dense(), item("Activation", "s", activation="sigmoid"), place=5),
        "directly after the last Dense",
    ),
    "backwards": (lambda: lstm(go_backwards=True), "go_backwards"),
    "state": (lambda: lstm(return_state=True), "return_state"),
    "flag in words": (lambda: lstm(stateful="no"), "stateful of layer"),
    "some stateful": (lambda: lstm(stateful=True), "same stateful"),
    "some time-major": (lambda: lstm(time_major=True), "same time_major"),
    "no sequences": (without_sequences, "return_sequences=True"),
    "quantized": (lambda: dense(quantization_config={"mode": "int8"}), "quantization"),
    "integers": (lambda: lstm(dtype="int8"), "float32 policy"),
    "policy object": (lambda: lstm(dtype={"class_name": "Evil"}), "float32 policy"),
    "wrong width": (lambda: lstm(batch_input_shape=[None, 6, 10]), "has the shape"),
    "built for another width": (
        lambda: built_for([None, 6, 10]),
        "layer 'lstm_1' has the shape",
    ),
    "built for words": (lambda: built_for("1,2"), "layer 'lstm_1' has the shape"),
    "built for endless windows": (lambda: built_for([1, 10**9, 9]), "windows of 1"),
    "endless window": (lambda: lstm(batch_input_shape=[1, 10**9, 9]), "windows of 1"),
    "window in words": (lambda: lstm(batch_input_shape=[1, "x", 9]), "windows of 1"),
    "shape in words": (lambda: lstm(batch_input_shape="1,2"), "has the shape"),
    "masked to the end": (
        lambda: insert(keras_2_lstm(), item("Masking", "m", mask_value=0.0), place=1),
        "Masking",
    ),
    "zeros where masked": (
        lambda: first_settings(keras_2_masked(), zero_output_for_mask=True),
        "no masking",
    ),
    "mask without end": (lambda: masking(10**400), "mask_value of layer 'masking_1'"),
    "mask true": (lambda: masking(True), "mask_value of layer 'masking_1'"),
    "masked cuDNN": (masked_cudnn, "no masking before layer 'rnn_1'"),
    "same name twice": (shadowed, "one chain"),
    "too many layers": (
        lambda: insert(
            keras_2_lstm(), *(item("Dropout", f"x{k}", rate=0) for k in range(200))
        ),
        "at most 100 layers",
    ),
    "unused Lambda": (with_unused_layer, "one chain"),
    "unused Dense": (with_unused_known_layer, "one chain"),
    "called twice": (called_twice, "one chain"),
    "arrays of nobody": (extra_arrays, "some of 'nobody'"),
    "arrays of a Dropout": (dropout_with_arrays, "some of 'dropout_1'"),
    "NaN": (lambda: weights_of(np.nan), "finite weights"),
    "infinity": (lambda: weights_of(-np.inf), "finite weights"),
    "beyond float32": (lambda: weights_of(1e300, "f8"), "finite weights"),
    "1e16": (lambda: weights_of(1e16), "finite weights"),
    "whole numbers": (lambda: weights_of(1, "i4"), "float16, float32, float64"),
    "other byte order": (lambda: weights_of(1, ">f4"), "float16, float32, float64"),
}


@pytest.mark.parametrize("name", DESCRIBED)
@pytest.mark.usefixtures("read_here")
def test_descriptions_that_no_keras_would_mean(name, tmp_path, text):
    make, match = DESCRIBED[name]
    refused(make().write(tmp_path / "m.h5"), text, match)


# In the file


def replaced(path, name: str = KERNEL, **options) -> None:
    with h5py.File(path, "a") as file:
        del file[name]
        file.create_dataset(name, **options)


def recursive_link(path):
    with h5py.File(path, "a") as file:
        file["model_weights/lstm_1/again"] = file["model_weights"]


def soft_link(path):
    with h5py.File(path, "a") as file:
        file.move(KERNEL, "elsewhere")
        file[KERNEL] = h5py.SoftLink("/elsewhere")


def external_link(path):
    other = path.with_name("secret.h5")
    with h5py.File(other, "w") as file:
        file["weights"] = np.full(SHAPE, SECRET, "f4")
    with h5py.File(path, "a") as file:
        del file[KERNEL]
        file[KERNEL] = h5py.ExternalLink(str(other), "weights")


def external_group(path):
    other = path.with_name("secret.h5")
    os.rename(path, other)
    with h5py.File(other) as source, h5py.File(path, "w") as file:
        file.attrs.update(source.attrs)
        file["model_weights"] = h5py.ExternalLink(str(other), "model_weights")


def virtual_dataset(path):
    other = path.with_name("secret.h5")
    with h5py.File(other, "w") as file:
        file["weights"] = np.full(SHAPE, SECRET, "f4")
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[:] = h5py.VirtualSource(str(other), "weights", SHAPE)
    with h5py.File(path, "a") as file:
        del file[KERNEL]
        file.create_virtual_dataset(KERNEL, layout)


def external_storage(path):
    secret = path.with_name("secret.bin")
    secret.write_bytes(np.full(SHAPE, SECRET, "f4").tobytes())
    replaced(path, shape=SHAPE, dtype="f4", external=[(str(secret), 0, 720)])


def compressed_bomb(path):
    """A chunk of some hundred kilobytes that inflates to a quarter of a gigabyte."""
    shape = (8192, 8192)
    packed = zlib.compress(bytes(4 * shape[0] * shape[1]), 1)
    with h5py.File(path, "a") as file:
        del file[KERNEL]
        dataset = file.create_dataset(
            KERNEL, shape, "f4", chunks=shape, compression="gzip"
        )
        dataset.id.write_direct_chunk((0, 0), packed)


def long_config(path):
    with h5py.File(path, "a") as file:
        del file.attrs["model_config"]
        file.attrs["model_config"] = "[" + " " * 100_000_000 + "]"


def long_fixed_config(path):
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["model_config"] = np.bytes_(b"[" + b" " * 100_000_000 + b"]")


def two_configs(path):
    with h5py.File(path, "a") as file:
        config = file.attrs["model_config"]
        file.attrs["model_config"] = [config, config]


def attribute(path, name, value, of="/"):
    with h5py.File(path, "a") as file:
        file[of].attrs[name] = value


def many_objects(path):
    with h5py.File(path, "a") as file:
        for number in range(10_001):
            file["model_weights"].create_group(str(number))


def deep_groups(path):
    with h5py.File(path, "a") as file:
        file["model_weights"].create_group("/".join("x" * 40))


def named_type(path):
    with h5py.File(path, "a") as file:
        file["model_weights/kind"] = np.dtype("f4")


def overlapping(path):
    """Many layers that all name the same bytes: more than the file holds."""
    with h5py.File(path, "a") as file:
        group = file["model_weights/lstm_1"]
        names = [f"again{number}" for number in range(2000)]
        for name in names:
            group[name] = file[KERNEL]
        group.attrs["weight_names"] = [*group.attrs["weight_names"], *names]


STORED = {
    "recursive link": (recursive_link, "groups deep|another kind"),
    "soft link": (soft_link, "link to elsewhere"),
    "external link": (external_link, "link to elsewhere"),
    "external group": (external_group, "a group 'model_weights'"),
    "virtual dataset": (virtual_dataset, "in one plain piece"),
    "external storage": (external_storage, "in one plain piece"),
    "compressed bomb": (compressed_bomb, "in one plain piece"),
    "chunks": (
        lambda path: replaced(path, data=np.ones(SHAPE, "f4"), chunks=(3, 4)),
        "in one plain piece",
    ),
    "declared, not stored": (
        lambda path: replaced(path, shape=(40_000, 50_000), dtype="f4"),
        "the file does not hold them",
    ),
    "beyond 64 bits": (
        lambda path: replaced(path, shape=(2**31, 2**31), dtype="f4", chunks=(1, 1)),
        "in one plain piece",
    ),
    "no numbers": (
        lambda path: replaced(path, data=h5py.Empty("f4")),
        "damaged|plain piece",
    ),
    "texts": (lambda path: replaced(path, data=["a"]), "does not hold them"),
    "complex": (lambda path: replaced(path, data=np.ones(SHAPE, "c8")), "float16"),
    "config of 100 MB": (long_config, "at most 1,048,576 bytes"),
    "fixed config of 100 MB": (long_fixed_config, "at most 1,048,576 bytes"),
    "two configs": (two_configs, "as one text"),
    "no JSON": (lambda path: attribute(path, "model_config", "{"), "can't be read"),
    "deep JSON": (
        lambda path: attribute(path, "model_config", "[" * 60_000),
        "can't be read",
    ),
    "other JSON": (
        lambda path: attribute(path, "model_config", '{"class_name": 1}'),
        "can't be read",
    ),
    "no layers": (
        lambda path: attribute(
            path, "model_config", '{"class_name": "Sequential", "config": []}'
        ),
        "model's own layers only",
    ),
    "endless number": (
        lambda path: attribute(path, "model_config", "9" * 60_000),
        "can't be read",
    ),
    "no UTF-8": (lambda path: attribute(path, "model_config", b"\xff\xfe"), "damaged"),
    "version of 1 MB": (
        lambda path: attribute(path, "keras_version", "2" * 1_000_000),
        "at most 100 bytes",
    ),
    "no names": (
        lambda path: attribute(path, "weight_names", [1, 2], "model_weights/lstm_1"),
        "list of texts",
    ),
    "name of nothing": (
        lambda path: attribute(path, "weight_names", ["x"], "model_weights/lstm_1"),
        "there is none",
    ),
    "name twice": (
        lambda path: attribute(
            path, "weight_names", ["lstm_1/bias:0"] * 3, "model_weights/lstm_1"
        ),
        "named twice",
    ),
    "name upwards": (
        lambda path: attribute(
            path, "weight_names", ["../lstm_2/bias:0"] * 1, "model_weights/lstm_1"
        ),
        "there is none",
    ),
    "unnamed arrays": (
        lambda path: attribute(
            path, "weight_names", ["lstm_1/bias:0"], "model_weights/lstm_1"
        ),
        "no array but those",
    ),
    "array for a layer": (
        lambda path: replaced(path, "model_weights/lstm_1", data=[1.0]),
        "another kind of object",
    ),
    "named type": (named_type, "another kind of object"),
    "many objects": (many_objects, "10,000 objects"),
    "deep groups": (deep_groups, "12 groups deep"),
    "bytes used twice": (overlapping, "does not hold them"),
}


@pytest.mark.parametrize("name", STORED)
@pytest.mark.usefixtures("read_here")
def test_files_that_no_keras_would_write(name, tmp_path, text):
    change, match = STORED[name]
    path = keras_2_lstm().write(tmp_path / "m.h5")
    change(path)
    refused(path, text, match)


def test_metadata_have_a_limit_of_their_own(prose_model, monkeypatch):
    hdf5 = prose_model.read_bytes()[BLOCK_BYTES:]
    size = len(hdf5_contents.read_contents(hdf5).metadata)
    monkeypatch.setattr(hdf5_contents, "MAX_METADATA_BYTES", size - 1)
    with pytest.raises(ModelFileError, match="for 'textgen/metadata'"):
        hdf5_contents.read_contents(hdf5)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_refused_costs_little_memory(tmp_path):
    """A fresh process opens the bombs, and tells how much it and its child took."""
    path = tmp_path / "m.h5"
    for change in (compressed_bomb, long_config):
        keras_2_lstm().write(path)
        change(path)
        code = (
            "import resource, sys\n"
            "from textgen.errors import ModelFileError\n"
            "from textgen.saving.model_file import load_model\n"
            "try: load_model(sys.argv[1], sys.argv[1])\n"
            "except ModelFileError: pass\n"
            "else: sys.exit('accepted')\n"
            "status = open('/proc/self/status').read()\n"
            "print(status.split('VmHWM:')[1].split()[0])\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        command = [sys.executable, "-c", code, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        ours, childs = (1024 * int(kib) for kib in done.stdout.split())
        assert ours < 200e6
        assert childs < MEMORY_BYTES + 6 * path.stat().st_size
        assert childs < 1e9


def test_names_do_not_steer_the_terminal(tmp_path, text):
    fixture = insert(keras_2_lstm(), item("Lambda", "\x1b[31mred\u202e\n\x07" * 9))
    path = fixture.write(tmp_path / "m\x1b.h5")
    arguments = ["--model", str(path), "--vocabulary-from", str(text), "--prompt", "a"]
    done = subprocess.run(
        [sys.executable, "generate.py", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "\\x1b[31mred\\u202e" in done.stderr
    assert done.stderr.strip().isprintable()


def test_overflow_in_use_is_one_line(tmp_path, text):
    """Finite weights of a layer without bounds can still grow beyond float32."""
    fixture = FIXTURES["Keras 2.2 mixed, linear"]()
    for layer in fixture.config["config"]["layers"]:
        if layer["class_name"] == "SimpleRNN":
            layer["config"]["activation"] = "linear"
    text.write_text(fixture.symbols, newline="")
    fixture.arrays["r2"][1] = (fixture.arrays["r2"][1][0], np.full((5, 5), 1e12))
    model = load_model(fixture.write(tmp_path / "m.h5"), text)
    decoder = model.decoder()
    for _ in range(3):
        decoder.step([1])
    with pytest.raises(ModelFileError, match="beyond float32"):
        [decoder.step([1]) for _ in range(4)]


def dense_first(path, size: int, *widths: int):
    """Write a model whose one-hot symbols go through dense layers at first."""
    items = [keras_2_dense(f"d{k}", width) for k, width in enumerate(widths)]
    items[0]["config"]["batch_input_shape"] = [None, 5, size]
    items += [
        keras_2_rnn("SimpleRNN", "r", 1),
        keras_2_dense("last", size, activation="softmax"),
    ]
    shapes = {
        f"d{k}": [(inputs, width), (width,)]
        for k, (inputs, width) in enumerate(zip((size, *widths), widths, strict=False))
    }
    shapes |= {
        "r": [(widths[-1], 1), (1, 1), (1,)],
        "last": [(1, size), (size,)],
    }
    arrays = {
        name: [(f"{name}/{k}:0", np.ones(shape)) for k, shape in enumerate(of_layer)]
        for name, of_layer in shapes.items()
    }
    return write_file(path, mapped(items), "2.2.4", arrays, "f2")


def test_small_dense_layers_do_not_make_a_huge_table(tmp_path, text):
    """(V, 1) and (1, D) are little to store, but V times D is not."""
    path = dense_first(tmp_path / "m.h5", 4000, 1, 40_000)
    refused(path, text, "values of all symbols .* 4,000 times 40,000")


def test_dense_layers_do_not_make_an_endless_computation(tmp_path, text):
    path = dense_first(tmp_path / "m.h5", 4000, 3000, 3000)
    refused(path, text, "products of all symbols .* 4,000 times 21,000,000")


def test_functional_without_tail_is_read_as_keras_1_wrote_it(tmp_path, text):
    """The notation of calls is known in three forms, and in no other."""
    fixture = keras_2_masked()
    items = [
        {"class_name": x["class_name"], "config": x["config"]}
        for x in fixture.config["config"]["layers"]
    ]
    text.write_text(fixture.symbols, newline="")
    for tail, accepted in [((), True), (({"training": None},), True), ((1,), False)]:
        fixture.config = functional(items, tail=tail)
        path = fixture.write(tmp_path / "m.h5")
        if accepted:
            assert load_model(path, text).network.vocabulary_size == 7
        else:
            refused(path, text, "can't be read")
    fixture.config = functional(items, tail=({"initial_state": ["x", 0, 0]},))
    refused(fixture.write(path), text, "one chain")


def test_json_that_python_alone_takes(tmp_path, text):
    fixture = keras_2_lstm()
    path = fixture.write(tmp_path / "m.h5")
    config = json.dumps(fixture.config).replace('"units": 5', '"units": NaN')
    attribute(path, "model_config", config)
    refused(path, text, "units of layer")
