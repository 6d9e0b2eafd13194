"""Files that were made to do harm, or that no Keras would write: each one refused."""

import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable

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
LSTM_1 = "model_weights/lstm_1"
SHAPE = (9, 20)
SECRET = 7.25
Make = Callable[[], Fixture]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(keras_2_lstm().symbols, newline="")
    return path


# In the description


def setting(kind: str, make: Make = keras_2_lstm, **changes) -> Make:
    """Return what makes a file whose first layer of a kind has other settings."""

    def changed() -> Fixture:
        fixture = make()
        fixture.layer(kind).update(changes)
        return fixture

    return changed


def more(*items: dict, place: int = 2, make: Make = keras_2_lstm) -> Make:
    """Return what makes a file with more layers."""

    def changed() -> Fixture:
        fixture = make()
        fixture.config["config"][place:place] = items
        return fixture

    return changed


def around(make: Make = keras_2_lstm, **changes) -> Make:
    """Return what makes a file with something else around a layer's settings."""

    def changed() -> Fixture:
        fixture = make()
        if make is keras_2_gru:
            fixture.layer("TimeDistributed")["layer"].update(changes)
        else:
            fixture.config["config"][0].update(changes)
        return fixture

    return changed


def of_version(version: str | None) -> Make:
    def changed() -> Fixture:
        fixture = keras_2_lstm()
        fixture.version = version
        return fixture

    return changed


def built_for(shape) -> Make:
    def changed() -> Fixture:
        fixture = keras_2_lstm()
        del fixture.layer("LSTM")["batch_input_shape"]
        fixture.config = mapped(fixture.config["config"])
        fixture.config["config"]["build_input_shape"] = shape
        return fixture

    return changed


def unused(layer: dict, place: int) -> Make:
    """Return what makes a functional model with a layer that nothing calls."""

    def changed() -> Fixture:
        fixture = keras_2_masked()
        extra = {**layer, "name": layer["config"]["name"], "inbound_nodes": []}
        fixture.config["config"]["layers"].insert(place, extra)
        return fixture

    return changed


def arrays_of(name: str) -> Make:
    def changed() -> Fixture:
        fixture = keras_2_lstm()
        fixture.arrays[name] = [("kernel:0", np.ones((2, 2)))]
        return fixture

    return changed


def weight(value, dtype: str = "f4") -> Make:
    def changed() -> Fixture:
        fixture = keras_2_lstm()
        fixture.dtype = dtype
        fixture.net.layers[2].kernel[0, 0] = value
        return fixture

    return changed


def wrapped_without_sequences() -> Fixture:
    fixture = keras_2_gru()
    fixture.config["config"]["layers"][2]["config"]["return_sequences"] = False
    return fixture


def called_twice() -> Fixture:
    fixture = keras_2_masked()
    fixture.config["config"]["layers"][-1]["inbound_nodes"] *= 2
    return fixture


def same_name_twice() -> Fixture:
    """Two layers of one name, which would share their arrays."""
    fixture = keras_2_lstm()
    fixture.config["config"][2]["config"]["name"] = "lstm_1"
    return fixture


def cudnn() -> Fixture:
    return keras_2_cudnn("LSTM")


LAMBDA = item("Lambda", "l", function=["4wE=", None])
NESTED = {"class_name": "Sequential", "config": {"name": "inner"}}
DISTRIBUTED_LSTM = item("TimeDistributed", "t", layer=item("LSTM", "x"))
DROPOUTS = [item("Dropout", f"x{number}", rate=0) for number in range(200)]
SIGMOID = item("Activation", "s", activation="sigmoid")
MASKING = item("Masking", "m", mask_value=0.0)
UNITS_OF_LSTM = "units of layer 'lstm_1'"
UNITS_OF_DENSE = "units of layer 'dense_1'"
MASK_VALUE = "mask_value of layer 'masking_1'"

DESCRIBED = {
    "huge Dense": (setting("Dense", units=10**9), UNITS_OF_DENSE),
    "large Dense": (setting("Dense", units=2_000_000), "of the shapes"),
    "huge number": (setting("Dense", units=10**4000), UNITS_OF_DENSE),
    "negative units": (setting("LSTM", units=-5), UNITS_OF_LSTM),
    "no units": (setting("LSTM", units=0), UNITS_OF_LSTM),
    "units true": (setting("LSTM", units=True), UNITS_OF_LSTM),
    "units 5.0": (setting("LSTM", units=5.0), UNITS_OF_LSTM),
    "units in words": (setting("LSTM", units="5"), UNITS_OF_LSTM),
    "huge LSTM": (setting("LSTM", units=2_000_000), "of the shapes"),
    "huge Embedding": (
        setting("Embedding", keras_2_masked, output_dim=2_000_000),
        "of the shapes",
    ),
    "more rows": (
        setting("Embedding", keras_2_masked, input_dim=10**12),
        "input_dim of layer",
    ),
    "Lambda": (more(LAMBDA), "'Lambda'"),
    "unknown layer": (more(item("Evil>LSTM", "l")), "Evil"),
    "nested model": (more(NESTED), "'Sequential'"),
    "kind in a list": (more(item([1], "l")), r"\[1\]"),
    "Bidirectional": (more(item("Bidirectional", "b", layer={})), "'Bidirectional'"),
    "long name": (more(item("Dropout", "x" * 300, rate=0)), "200 characters"),
    "wrapped LSTM": (more(DISTRIBUTED_LSTM), "Dense layer in the TimeDistributed"),
    "wrapped nothing": (more(item("TimeDistributed", "t")), "can't be read"),
    "registered name": (around(registered_name="evil>LSTM"), "as 'evil>LSTM'"),
    "module": (around(module="evil"), "registered as 'evil'"),
    "module os": (around(module="keras/../os"), "registered as"),
    "wrapped registered name": (
        around(keras_2_gru, registered_name="evil>Dense"),
        "registered as 'evil>Dense'",
    ),
    "wrapped unknown key": (
        around(keras_2_gru, custom_objects={}),
        "'custom_objects'",
    ),
    "wrapped, no sequences": (
        wrapped_without_sequences,
        "'gru_2', since a TimeDistributed follows",
    ),
    "unknown key around": (around(custom_objects={}), "'custom_objects'"),
    "unknown setting": (setting("LSTM", cell="evil"), "received 'cell'"),
    "unknown setting, 0": (setting("LSTM", cell=0), "received 'cell'"),
    "setting of Keras 1": (setting("LSTM", inner_activation="tanh"), "of Keras 1"),
    "setting of Keras 2": (of_version("1.2.0"), "of Keras 2"),
    "no version": (of_version(None), "of Keras 2"),
    "version 4": (of_version("4.0"), "Keras 1, 2 or 3"),
    "version in words": (of_version("two\x1b[31m"), r"\\x1b\[31m"),
    "activation": (setting("LSTM", activation="os.system"), "'os.system'"),
    "activation object": (
        setting("LSTM", activation={"class_name": "f"}),
        "class_name",
    ),
    "hidden name": (setting("LSTM", activation="hard_sigmoid_3"), "hard_sigmoid_3"),
    "hidden softmax": (setting("LSTM", activation="softmax"), "'softmax'"),
    "Dense softmax twice": (setting("Dense", activation="softmax"), "nowhere else"),
    "sigmoid at the end": (more(SIGMOID, place=5), "directly after the last Dense"),
    "backwards": (setting("LSTM", go_backwards=True), "go_backwards"),
    "state": (setting("LSTM", return_state=True), "return_state"),
    "flag in words": (setting("LSTM", stateful="no"), "stateful of layer"),
    "some stateful": (setting("LSTM", stateful=True), "same stateful"),
    "some time-major": (setting("LSTM", time_major=True), "same time_major"),
    "no sequences": (setting("LSTM", return_sequences=False), "return_sequences=True"),
    "quantized": (
        setting("Dense", quantization_config={"mode": "int8"}),
        "quantization",
    ),
    "integers": (setting("LSTM", dtype="int8"), "float32 policy"),
    "policy object": (setting("LSTM", dtype={"class_name": "Evil"}), "float32 policy"),
    "wrong width": (setting("LSTM", batch_input_shape=[None, 6, 10]), "the shape"),
    "built for another width": (built_for([None, 6, 10]), "'lstm_1', but .* shape"),
    "built for words": (built_for("1,2"), "'lstm_1', but received the shape"),
    "built for endless windows": (built_for([1, 10**9, 9]), "windows of 1"),
    "endless window": (
        setting("LSTM", batch_input_shape=[1, 10**9, 9]),
        "windows of 1",
    ),
    "window in words": (setting("LSTM", batch_input_shape=[1, "x", 9]), "windows of 1"),
    "shape in words": (setting("LSTM", batch_input_shape="1,2"), "the shape"),
    "masked to the end": (more(MASKING, place=1), "Masking"),
    "zeros where masked": (
        setting("LSTM", keras_2_masked, zero_output_for_mask=True),
        "no masking",
    ),
    "mask without end": (
        setting("Masking", keras_2_masking_embedded, mask_value=10**400),
        MASK_VALUE,
    ),
    "mask true": (
        setting("Masking", keras_2_masking_embedded, mask_value=True),
        MASK_VALUE,
    ),
    "masked cuDNN": (
        setting("Embedding", cudnn, mask_zero=True),
        "no masking before layer 'rnn_1'",
    ),
    "same name twice": (same_name_twice, "one chain"),
    "too many layers": (more(*DROPOUTS), "at most 100 layers"),
    "unused Lambda": (unused(LAMBDA, 5), "one chain"),
    "unused Dense": (unused(keras_2_dense("unused", 1 << 20), 2), "one chain"),
    "called twice": (called_twice, "one chain"),
    "arrays of nobody": (arrays_of("nobody"), "some of 'nobody'"),
    "arrays of a Dropout": (arrays_of("dropout_1"), "some of 'dropout_1'"),
    "NaN": (weight(np.nan), "finite weights"),
    "infinity": (weight(-np.inf), "finite weights"),
    "beyond float32": (weight(1e300, "f8"), "finite weights"),
    "1e16": (weight(1e16), "finite weights"),
    "whole numbers": (weight(1, "i4"), "float16, float32, float64"),
    "other byte order": (weight(1, ">f4"), "float16, float32, float64"),
}


@pytest.mark.parametrize("name", DESCRIBED)
@pytest.mark.usefixtures("read_here")
def test_descriptions_that_no_keras_would_mean(name, refused, tmp_path, text):
    make, match = DESCRIBED[name]
    path = make().write(tmp_path / "m.h5")
    started = time.process_time()
    refused(path, match, text)
    assert time.process_time() - started < 5


# In the file


def replaced(name: str = KERNEL, **options):
    """Return a change that puts another array in the place of one."""

    def change(path):
        with h5py.File(path, "a") as file:
            del file[name]
            file.create_dataset(name, **options)

    return change


def attribute(name: str, value, of: str = "/"):
    """Return a change of an attribute."""

    def change(path):
        with h5py.File(path, "a") as file:
            file[of].attrs[name] = value

    return change


def recursive_link(path):
    with h5py.File(path, "a") as file:
        file["model_weights/lstm_1/again"] = file["model_weights"]


def soft_link(path):
    with h5py.File(path, "a") as file:
        file.move(KERNEL, "elsewhere")
        file[KERNEL] = h5py.SoftLink("/elsewhere")


def secret_file(path):
    other = path.with_name("secret.h5")
    with h5py.File(other, "w") as file:
        file["weights"] = np.full(SHAPE, SECRET, "f4")
    return other


def external_link(path):
    other = secret_file(path)
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
    other = secret_file(path)
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[:] = h5py.VirtualSource(str(other), "weights", SHAPE)
    with h5py.File(path, "a") as file:
        del file[KERNEL]
        file.create_virtual_dataset(KERNEL, layout)


def external_storage(path):
    secret = path.with_name("secret.bin")
    secret.write_bytes(np.full(SHAPE, SECRET, "f4").tobytes())
    replaced(shape=SHAPE, dtype="f4", external=[(str(secret), 0, 720)])(path)


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


def long_name(path):
    with h5py.File(path, "a") as file:
        file["model_weights"].create_group("x" * 1001)


ANYTHING_ELSE = "another kind of object"
PLAIN = "in one plain piece"
NO_LAYERS = '{"class_name": "Sequential", "config": []}'
STORED = {
    "recursive link": (recursive_link, f"groups deep|{ANYTHING_ELSE}"),
    "soft link": (soft_link, "link to elsewhere"),
    "external link": (external_link, "link to elsewhere"),
    "external group": (external_group, "a group 'model_weights'"),
    "virtual dataset": (virtual_dataset, PLAIN),
    "external storage": (external_storage, PLAIN),
    "compressed bomb": (compressed_bomb, PLAIN),
    "chunks": (replaced(data=np.ones(SHAPE, "f4"), chunks=(3, 4)), PLAIN),
    "beyond 64 bits": (replaced(shape=(2**31,) * 2, dtype="f4", chunks=(1, 1)), PLAIN),
    "declared, not stored": (
        replaced(shape=(40_000, 50_000), dtype="f4"),
        "does not hold them",
    ),
    "no numbers": (replaced(data=h5py.Empty("f4")), "damaged|plain piece"),
    "texts": (replaced(data=["a"]), "does not hold them"),
    "complex": (replaced(data=np.ones(SHAPE, "c8")), "float16"),
    "config of 100 MB": (long_config, "at most 1,048,576 bytes"),
    "fixed config of 100 MB": (long_fixed_config, "at most 1,048,576 bytes"),
    "two configs": (two_configs, "as one text"),
    "config of numbers": (attribute("model_config", [1, 2]), "as one text"),
    "no JSON": (attribute("model_config", "{"), "can't be read"),
    "deep JSON": (attribute("model_config", "[" * 60_000), "can't be read"),
    "other JSON": (attribute("model_config", '{"class_name": 1}'), "can't be read"),
    "no layers": (attribute("model_config", NO_LAYERS), "model's own layers only"),
    "endless number": (attribute("model_config", "9" * 60_000), "can't be read"),
    "no UTF-8": (attribute("model_config", b"\xff\xfe"), "damaged"),
    "version of 1 MB": (attribute("keras_version", "2" * 10**6), "at most 100 bytes"),
    "no names": (attribute("weight_names", [1, 2], LSTM_1), "list of texts"),
    "name of nothing": (attribute("weight_names", ["x"], LSTM_1), "received none"),
    "name twice": (
        attribute("weight_names", ["lstm_1/bias:0"] * 3, LSTM_1),
        "named twice",
    ),
    "name upwards": (
        attribute("weight_names", ["../lstm_2/bias:0"], LSTM_1),
        "received none",
    ),
    "unnamed arrays": (
        attribute("weight_names", ["lstm_1/bias:0"], LSTM_1),
        "only arrays that layers name",
    ),
    "array for a layer": (replaced(LSTM_1, data=[1.0]), ANYTHING_ELSE),
    "named type": (named_type, ANYTHING_ELSE),
    "many objects": (many_objects, "10,000 objects"),
    "deep groups": (deep_groups, "12 groups deep"),
    "long name": (long_name, "1,000 characters"),
    "bytes used twice": (overlapping, "does not hold them"),
}


@pytest.mark.parametrize("name", STORED)
@pytest.mark.usefixtures("read_here")
def test_files_that_no_keras_would_write(name, refused, tmp_path, text):
    change, match = STORED[name]
    path = keras_2_lstm().write(tmp_path / "m.h5")
    change(path)
    started = time.process_time()
    refused(path, match, text)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("change", [compressed_bomb, long_config, overlapping])
def test_the_process_that_reads_strangers_files_refuses_the_same(
    change, refused, tmp_path, text
):
    path = keras_2_lstm().write(tmp_path / "m.h5")
    change(path)
    refused(path, "plain piece|at most|does not hold", text)


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
    fixture = more(item("Lambda", "\x1b[31mred\u202e\n\x07" * 9))()
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


def test_small_dense_layers_do_not_make_a_huge_table(refused, tmp_path, text):
    """(V, 1) and (1, D) are little to store, but V times D is not."""
    path = dense_first(tmp_path / "m.h5", 4000, 1, 40_000)
    refused(path, "values of all symbols .* 4,000 times 40,000", text)


def test_dense_layers_do_not_make_an_endless_computation(refused, tmp_path, text):
    path = dense_first(tmp_path / "m.h5", 4000, 3000, 3000)
    refused(path, "products of all symbols .* 4,000 times 21,000,000", text)


def test_functional_without_tail_is_read_as_keras_1_wrote_it(refused, tmp_path, text):
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
            refused(path, "can't be read", text)
    fixture.config = functional(items, tail=({"initial_state": ["x", 0, 0]},))
    refused(fixture.write(path), "one chain", text)


def test_json_that_python_alone_takes(refused, tmp_path, text):
    fixture = keras_2_lstm()
    path = fixture.write(tmp_path / "m.h5")
    config = json.dumps(fixture.config).replace('"units": 5', '"units": NaN')
    attribute("model_config", config)(path)
    refused(path, "units of layer", text)
