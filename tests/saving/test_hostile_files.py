"""Files that were made to do harm, or that no Keras would write: each one refused."""

import io
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
    keras_2_functional,
    keras_2_gru,
    keras_2_lstm,
    mapped,
)

from textgen.errors import ModelFileError
from textgen.saving import hdf5 as hdf5_contents
from textgen.saving import keras_network
from textgen.saving.container import BLOCK_BYTES
from textgen.saving.contents import read_contents
from textgen.saving.model_file import load_model

KERNEL = "model_weights/lstm_1/lstm_1/kernel:0"
LSTM_1 = "model_weights/lstm_1"
SHAPE = (9, 20)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(keras_2_lstm().symbols, newline="")
    return path


@pytest.fixture
def refused_soon(refused, tmp_path, text):
    """Return a function that has a file refused, and not after a long computation."""

    def refuse(path, match: str) -> None:
        started = time.process_time()
        refused(path, match, text)
        assert time.process_time() - started < 5

    return refuse


# In the description


def cudnn() -> Fixture:
    return keras_2_cudnn("LSTM")


UNITS = "units of layer '(lstm|dense)_1'"
SHAPE_OF = "batch_input_shape"
NAN = float("nan")  # JSON to Python only
SETTINGS = [  # the kind of layer, a setting, values, what is said
    ("Dense", "units", [10**9, 10**4000], UNITS),
    ("Dense", "units", [2_000_000], "of the shapes"),
    ("Dense", "activation", ["softmax"], "nowhere else"),
    ("Dense", "activation", ["relu"], "softmax or no activation"),
    ("Activation", "activation", ["relu"], "directly after the last Dense"),
    ("Dense", "quantization_config", [{"mode": "int8"}], "quantization"),
    ("LSTM", "units", [0, True, 5.0, NAN, "5"], UNITS),
    ("LSTM", "cell", ["evil", 0], "received 'cell'"),
    ("LSTM", "activation", ["os.system"], "'os.system'"),
    ("LSTM", "activation", [{"class_name": "f"}], "class_name"),
    ("LSTM", "activation", ["hard_sigmoid_3"], "hard_sigmoid_3"),
    ("LSTM", "activation", ["softmax"], "'softmax'"),
    ("LSTM", "go_backwards", [True], "go_backwards"),
    ("LSTM", "return_state", [True], "return_state"),
    ("LSTM", "return_sequences", [False], "return_sequences=True"),
    ("LSTM", "stateful", ["no"], "stateful of layer"),
    ("LSTM", "stateful", [True], "same stateful"),
    ("LSTM", "time_major", [True, 1], "time_major=False"),
    ("LSTM", "dtype", ["int8", {"class_name": "Evil"}], "float32 policy"),
    ("LSTM", SHAPE_OF, [[None, 6, 10], "1,2"], "the shape"),
    ("LSTM", SHAPE_OF, [[1, 10**9, 9], [1, "x", 9]], "windows of 1"),
    (keras_2_functional, "Embedding", "mask_zero", [True, 1], "without masking"),
    (keras_2_functional, "Embedding", "output_dim", [2_000_000], "of the shapes"),
    (keras_2_functional, "Embedding", "input_dim", [10**12], "input_dim of layer"),
]


@pytest.mark.parametrize("case", SETTINGS, ids=lambda case: f"{case[-4:]}"[:60])
@pytest.mark.usefixtures("read_here")
def test_settings_that_mean_nothing_here(case, refused_soon, tmp_path):
    *make, kind, name, values, match = case
    for value in values:
        fixture = make[0]() if make else keras_2_lstm()
        fixture.layer(kind)[name] = value
        refused_soon(fixture.write(tmp_path / "m.h5"), match)


Change = Callable[[Fixture], None]


def layers_of(fixture: Fixture) -> list[dict]:
    items = fixture.config["config"]
    return items if isinstance(items, list) else items["layers"]


def add(*items: dict, place: int = 2) -> Change:
    """Return a change of a fixture: more layers, which no call mentions."""

    def change(fixture: Fixture) -> None:
        layers_of(fixture)[place:place] = items

    return change


def uncalled(layer: dict) -> dict:
    return layer | {"name": layer["config"]["name"], "inbound_nodes": []}


def around(**changes) -> Change:
    """Return a change of what stands around the settings of the first layer."""
    return lambda fixture: layers_of(fixture)[0].update(changes)


def around_inner(**changes) -> Change:
    return lambda fixture: fixture.layer("TimeDistributed")["layer"].update(changes)


def built_for_another_width(fixture: Fixture) -> None:
    del fixture.layer("LSTM")[SHAPE_OF]
    fixture.config = mapped(fixture.config["config"])
    fixture.config["config"]["build_input_shape"] = [None, 6, 10]


def arrays_of(name: str) -> Change:
    return lambda x: x.arrays.update({name: [("kernel:0", np.ones((2, 2)))]})


def weight(value: float, dtype: str = "f4") -> Change:
    def change(fixture: Fixture) -> None:
        fixture.dtype = dtype
        fixture.net.layers[2].kernel[0, 0] = value

    return change


def wrapped_without_sequences(fixture: Fixture) -> None:
    layers_of(fixture)[2]["config"]["return_sequences"] = False


def called_twice(fixture: Fixture) -> None:
    layers_of(fixture)[-1]["inbound_nodes"] *= 2


def of_version(version: str | None) -> Change:
    return lambda fixture: setattr(fixture, "version", version)


LAMBDA = item("Lambda", "l", function=["4wE=", None])
DISTRIBUTED_LSTM = item("TimeDistributed", "t", layer=item("LSTM", "x"))
DROPOUTS = [item("Dropout", f"x{number}", rate=0) for number in range(200)]
SIGMOID = item("Activation", "s", activation="sigmoid")
MASKING = item("Masking", "m", mask_value=0.0)
CANT, CHAIN, FINITE, FLOATS = "can't be read", "one chain", "finite weights", "float64"
STEERING = item("\x1b[31mred\u202e\n\x07", "l" * 9)
DESCRIBED = {
    "Lambda": (add(LAMBDA), "'Lambda'"),
    "steering the terminal": (add(STEERING), r"\\x1b\[31mred\\u202e"),
    "nested": (add({"class_name": "Sequential", "config": {"name": "x"}}), "Sequent"),
    "a number as name": (add(item("Dropout", 5)), CANT),
    "settings in a list": (add({"class_name": "Dropout", "config": []}), CANT),
    "kind in a list": (add(item([1], "l")), r"\[1\]"),
    "long name": (add(item("Dropout", "x" * 300, rate=0)), "200 characters"),
    "wrapped LSTM": (add(DISTRIBUTED_LSTM), "Dense layer in the TimeDistributed"),
    "wrapped nothing": (add(item("TimeDistributed", "t")), CANT),
    "too many layers": (add(*DROPOUTS), "at most 100 layers"),
    "same name twice": (add(item("Dropout", "lstm_1", rate=0)), CHAIN),
    "a Masking layer": (add(MASKING, place=0), "without masking"),
    "sigmoid at the end": (add(SIGMOID, place=5), "directly after the last Dense"),
    "registered name": (around(registered_name="evil>LSTM"), "as 'evil>LSTM'"),
    "module": (around(module="evil"), "registered as 'evil'"),
    "unknown key around": (around(custom_objects={}), "'custom_objects'"),
    "of Keras 1": (of_version("1.2.0"), "open it with Keras 2"),
    "no version": (of_version(None), "open it with Keras 2"),
    "version 4": (of_version("4.0"), "Keras 2 or 3"),
    "version in words": (of_version("two\x1b[31m"), r"\\x1b\[31m"),
    "built for another width": (built_for_another_width, "'lstm_1', but .* shape"),
    "arrays of nobody": (arrays_of("nobody"), "some of 'nobody'"),
    "arrays of a Dropout": (arrays_of("dropout_1"), "some of 'dropout_1'"),
    "NaN": (weight(np.nan), FINITE),
    "infinity": (weight(-np.inf), FINITE),
    "beyond float32": (weight(1e300, "f8"), FINITE),
    "1e16": (weight(1e16), FINITE),
    "whole numbers": (weight(1, "i4"), FLOATS),
    "other byte order": (weight(1, ">f4"), FLOATS),
    "wrapped evil": (around_inner(registered_name="evil"), "as 'evil'", keras_2_gru),
    "wrapped key": (around_inner(evil={}), "'evil'", keras_2_gru),
    "no sequences": (wrapped_without_sequences, "TimeDistributed foll", keras_2_gru),
    "unused Lambda": (add(uncalled(LAMBDA), place=5), "'Lambda'", keras_2_functional),
    "unused Dense": (add(uncalled(keras_2_dense("d", 9))), CHAIN, keras_2_functional),
    "called twice": (called_twice, CHAIN, keras_2_functional),
}


@pytest.mark.parametrize("name", DESCRIBED)
@pytest.mark.usefixtures("read_here")
def test_descriptions_that_no_keras_would_mean(name, refused_soon, tmp_path):
    change, match, *make = DESCRIBED[name]
    fixture = make[0]() if make else keras_2_lstm()
    change(fixture)
    refused_soon(fixture.write(tmp_path / "m.h5"), match)


@pytest.mark.parametrize(
    ("tail", "match"),
    [((), CHAIN), (({"training": None},), None), ((1,), CANT),
     (({"initial_state": ["x", 0, 0]},), CHAIN)],
)  # fmt: skip
def test_calls_of_functional_models_are_read_as_keras_2_writes_them(
    tail, match, refused, tmp_path, text
):
    fixture = keras_2_functional()
    items = [{k: x[k] for k in ("class_name", "config")} for x in layers_of(fixture)]
    fixture.config = functional(items, tail=tail)
    text.write_text(fixture.symbols, newline="")
    path = fixture.write(tmp_path / "m.h5")
    if match:
        refused(path, match, text)
    else:
        assert load_model(path, text).network.vocabulary_size == 7


# In the file


def replaced(name: str = KERNEL, **options) -> Callable[[h5py.File], None]:
    """Return a change of a file: another array in the place of one."""

    def change(file):
        del file[name]
        file.create_dataset(name, **options)

    return change


def attribute(name: str, value, of: str = "/") -> Callable[[h5py.File], None]:
    return lambda file: file[of].attrs.create(name, value)


def group(path: str) -> Callable[[h5py.File], None]:
    return lambda file: file["model_weights"].create_group(path)


def put(path: str, value) -> Callable[[h5py.File], None]:
    return lambda file: file.__setitem__(path, value)


def recursive_link(file):
    file["model_weights/lstm_1/again"] = file["model_weights"]


def soft_link(file):
    file.move(KERNEL, "elsewhere")
    file[KERNEL] = h5py.SoftLink("/elsewhere")


def secret_file(file) -> str:
    """Write another file, which is not to be read by way of this one."""
    name = f"{file.filename}.secret"
    with h5py.File(name, "w") as other:
        other["weights"] = np.full(SHAPE, 7.25, "f4")
        file.copy("model_weights", other)
    return name


def external_link(file):
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink(secret_file(file), "weights")


def external_group(file):
    link = h5py.ExternalLink(secret_file(file), "model_weights")
    del file["model_weights"]
    file["model_weights"] = link


def virtual_dataset(file):
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[:] = h5py.VirtualSource(secret_file(file), "weights", SHAPE)
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


def external_storage(file):
    external = [(secret_file(file), 0, 720)]
    replaced(shape=SHAPE, dtype="f4", external=external)(file)


def compressed_bomb(file):
    """A chunk of some hundred kilobytes that inflates to a quarter of a gigabyte."""
    shape = (8192, 8192)
    packed = zlib.compress(bytes(4 * shape[0] * shape[1]), 1)
    replaced(shape=shape, dtype="f4", chunks=shape, compression="gzip")(file)
    file[KERNEL].id.write_direct_chunk((0, 0), packed)


def long_config(file):
    file.attrs["model_config"] = "[" + " " * 100_000_000 + "]"


def many_objects(file):
    for number in range(10_001):
        file["model_weights"].create_group(str(number))


def overlapping(file):
    """Many layers that all name the same bytes: more than the file holds."""
    names = [f"again{number}" for number in range(2000)]
    for name in names:
        file[LSTM_1][name] = file[KERNEL]
    attributes = file[LSTM_1].attrs
    attributes["weight_names"] = [*attributes["weight_names"], *names]


def config(text) -> Callable[[h5py.File], None]:
    return attribute("model_config", text)


def names(*names) -> Callable[[h5py.File], None]:
    return attribute("weight_names", names, LSTM_1)


ANYTHING_ELSE = "another kind of object"
PLAIN = "in one plain piece"
NOT_HELD = "does not hold them"
BIAS = "lstm_1/bias:0"
STORED = {
    "recursive link": (recursive_link, f"groups deep|{ANYTHING_ELSE}"),
    "soft link": (soft_link, "link to elsewhere"),
    "external link": (external_link, "link to elsewhere"),
    "external group": (external_group, "a group 'model_weights'"),
    "virtual dataset": (virtual_dataset, PLAIN),
    "external storage": (external_storage, PLAIN),
    "compressed bomb": (compressed_bomb, PLAIN),
    "beyond 64 bits": (replaced(shape=(2**31,) * 2, dtype="f4", chunks=(1, 1)), PLAIN),
    "declared, not stored": (replaced(shape=(40_000, 50_000), dtype="f4"), NOT_HELD),
    "no numbers": (replaced(data=h5py.Empty("f4")), "damaged|plain piece"),
    "texts": (replaced(data=["a"]), NOT_HELD),
    "bytes used twice": (overlapping, NOT_HELD),
    "complex": (replaced(data=np.ones(SHAPE, "c8")), "float16"),
    "config of 100 MB": (long_config, "at most 1,048,576 bytes"),
    "fixed config": (config(np.bytes_(b" " * 60_000)), "can't be read"),
    "two configs": (config(["{}", "{}"]), "as one text"),
    "no JSON": (config("{"), "can't be read"),
    "deep JSON": (config("[" * 60_000), "can't be read"),
    "other JSON": (config('{"class_name": 1}'), "can't be read"),
    "endless number": (config("9" * 60_000), "can't be read"),
    "no layers": (config('{"class_name": "Sequential", "config": []}'), "own layers"),
    "no UTF-8": (config(b"\xff\xfe"), "damaged"),
    "version of 1 MB": (attribute("keras_version", "2" * 10**6), "at most 100 bytes"),
    "no names": (attribute("weight_names", [1, 2], LSTM_1), "list of texts"),
    "name of nothing": (names("x"), "received none"),
    "name twice": (names(BIAS, BIAS), "named twice"),
    "name upwards": (names("../lstm_2/bias:0"), "received none"),
    "unnamed arrays": (names(BIAS), "only arrays that layers name"),
    "array for a layer": (replaced(LSTM_1, data=[1.0]), ANYTHING_ELSE),
    "named type": (put("model_weights/kind", np.dtype("f4")), ANYTHING_ELSE),
    "many objects": (many_objects, "10,000 objects"),
    "deep groups": (group("/".join("x" * 40)), "12 groups deep"),
    "long name": (group("x" * 1001), "1,000 characters"),
}


def written(path, change):
    keras_2_lstm().write(path)
    with h5py.File(path, "a") as file:
        change(file)
    return path


@pytest.mark.parametrize("name", STORED)
@pytest.mark.usefixtures("read_here")
def test_files_that_no_keras_would_write(name, refused_soon, tmp_path):
    change, match = STORED[name]
    refused_soon(written(tmp_path / "m.h5", change), match)


@pytest.mark.usefixtures("read_here")
def test_a_long_text_of_fixed_length_is_refused_unread(refused_soon, tmp_path):
    with h5py.File(tmp_path / "m.h5", "w", libver="latest") as file:
        file.attrs["model_config"] = np.bytes_(b"[" + b" " * 100_000_000 + b"]")
    refused_soon(tmp_path / "m.h5", "at most 1,048,576 bytes")


@pytest.mark.parametrize("change", [compressed_bomb, long_config, overlapping])
def test_the_process_that_reads_strangers_files_refuses_the_same(
    change, refused, tmp_path, text
):
    refused(written(tmp_path / "m.h5", change), "piece|at most|does not hold", text)


def test_metadata_have_a_limit_of_their_own(prose_model, monkeypatch):
    hdf5 = prose_model.read_bytes()[BLOCK_BYTES:]
    size = len(read_contents(io.BytesIO(hdf5)).metadata)
    monkeypatch.setattr(hdf5_contents, "MAX_METADATA_BYTES", size - 1)
    with pytest.raises(ModelFileError, match="for 'textgen/metadata'"):
        read_contents(io.BytesIO(hdf5))


# Those that get further


def test_overflow_in_use_is_one_line(tmp_path, text):
    """Finite weights of a layer without bounds can still grow beyond float32."""
    fixture = FIXTURES["Keras 2.2 mixed, linear"]()
    fixture.layer("SimpleRNN")["activation"] = "linear"
    text.write_text(fixture.symbols, newline="")
    fixture.arrays["r2"][1] = (fixture.arrays["r2"][1][0], np.full((5, 5), 1e12))
    model = load_model(fixture.write(tmp_path / "m.h5"), text)
    decoder = model.decoder()
    with pytest.raises(ModelFileError, match="beyond float32"):
        [decoder.step([1]) for _ in range(7)]


@pytest.mark.parametrize(
    ("limit", "most", "match"),
    [("MAX_FOLDED_FLOATS", 8 * 5, "values of all symbols .* 8 times 5:"),
     ("MAX_FOLDED_PRODUCTS", 8 * 8 * 5, "products of all symbols .* 8 times 40:")],
)  # fmt: skip
@pytest.mark.usefixtures("read_here")
def test_small_dense_layers_make_neither_a_huge_table_nor_an_endless_computation(
    limit, most, match, refused, tmp_path, text, monkeypatch
):
    """(V, 1) and (1, D) are little to store, but V times D is not."""
    fixture = FIXTURES["Keras 2.2 mixed, relu"]()
    path = fixture.write(tmp_path / "m.h5")
    text.write_text(fixture.symbols, newline="")
    monkeypatch.setattr(keras_network, limit, most)
    load_model(path, text)
    monkeypatch.setattr(keras_network, limit, most - 1)
    refused(path, match, text)
