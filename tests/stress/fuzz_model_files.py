"""Change model files at random, open each, and see that nothing but refusal happens.

    python tests/stress/fuzz_model_files.py --count 10000 --seed 1
    python tests/stress/fuzz_model_files.py --count 10000 --seed 1 --archives
    python tests/stress/fuzz_model_files.py --count 10000 --seed 1 --own

Files of several kinds of Keras and some of our own, of characters, words, byte pairs
and with labels, with their hash, are changed in their bytes (bits flipped, cut short,
pieces moved, doubled or taken from another file) or in their structure (description,
metadata, arrays, attributes, links). `textgen.load_model` opens
each in a process of its own. What must hold:

    nothing but `TextgenError` comes out, within the time limit, in less than 1 GB
    no changed file of ours is accepted, unless its hash was made anew
    what is accepted holds known layers only, finite weights, and gives finite logits;
        it encodes the text that it knows without loss, and completes it

A file that breaks this is kept, its path is printed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = map(str, Path(__file__).parents[1:3])

import h5py
import numpy as np
from keras_fixtures import FIXTURES, keras_3_mixed, write_archive
from model_files import write_own_file

from textgen.data.labels import label_symbol
from textgen.errors import TextgenError
from textgen.generation.streaming import generate_output
from textgen.saving import model_file, sandbox
from textgen.saving.container import BLOCK_BYTES, user_block
from textgen.saving.sandbox import Reader
from textgen.saving.trained_model import TrainedModel

MARGIN_S = 20  # to notice the limit of the reader; a busy machine needs a while
MOST_BYTES = 1e9
LAYERS = {
    *("InputLayer", "Embedding", "LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU"),
    *("Dropout", "SpatialDropout1D", "Dense", "TimeDistributed", "Activation"),
    *("Bidirectional", "GaussianNoise", "BatchNormalization", "Softmax"),
    *("LayerNormalization", "ReLU", "LeakyReLU"),
}
KERAS_3 = "Keras 3.0 LSTM, hard_sigmoid"
KINDS = (
    "Keras 2.0 SimpleRNN, functional",
    "Keras 2.0 LSTM, one-hot",
    "Keras 2.2 GRU, reset_after",
    "Keras 2.2 CuDNNLSTM",
    "Keras 2.2 LSTM, functional",
    "Keras 2.2 mixed, relu",
    "tf.keras GRU, stateful, logits",
    KERAS_3,
)
MIXED = "Keras 3 of many kinds"
MARKS = [label_symbol(0), label_symbol(1)]
LABELLED = {"labels": ["Keats", "Shelley"]}
# Ours by their symbols, and what else the metadata say.
OWN = {
    "ours": (["\n", *"abcdefgh"], {}),
    "ours of words": (["\n", " ", *"abc", "ab", " ab", " c", "bca"], {"level": "word"}),
    "ours of byte pairs": (
        ["\n", " ", *"abc", "ab", " ab", "abc", "bc"],
        {"level": "bpe", "merges": [[2, 3], [1, 5], [5, 4], [3, 4]]},
    ),
    "ours with labels": (["\n", *"abcdef", *MARKS], LABELLED),
    "ours of words with labels": (
        ["\n", " ", *"abc", " ab", "bca", *MARKS],
        {"level": "word"} | LABELLED,
    ),
}
# Those of these that Keras 3 could have written are archives, too.
ARCHIVES = {
    f"archive of {kind}": kind
    for kind in (KERAS_3, "tf.keras GRU, stateful, logits", MIXED)
}
# Ours and archives about as often as the others.
NAMES = (*KINDS, MIXED, *OWN, *ARCHIVES, next(iter(ARCHIVES)))


class Source(NamedTuple):
    """A valid file, and a text that has its vocabulary."""

    path: Path
    data: bytes
    text: Path | None


def make_sources(folder: Path) -> dict[str, Source]:
    sources = {}
    for number, kind in enumerate((*KINDS, MIXED, *ARCHIVES)):
        fixture = {**FIXTURES, MIXED: keras_3_mixed}[ARCHIVES.get(kind, kind)]()
        if kind in ARCHIVES:
            path = write_archive(folder / f"source{number}.keras", fixture)
        else:
            path = fixture.write(folder / f"source{number}.h5")
        text = folder / f"text{number}.txt"
        text.write_text(fixture.symbols, newline="")
        sources[kind] = Source(path, path.read_bytes(), text)
    for number, (kind, (symbols, told)) in enumerate(OWN.items()):
        path = folder / f"own{number}.h5"
        write_own_file(path, symbols, "lines", **told)
        sources[kind] = Source(path, path.read_bytes(), None)
    return sources


def one_of(rng, choices):
    return choices[rng.integers(len(choices))]


# Changes of bytes; `files` are the contents of the valid ones, ours last


def flip_bits(rng, data: bytearray, _) -> None:
    # Most of what steers HDF5 lies in the first kilobytes and before each object.
    reach = len(data) if rng.random() < 0.5 else min(len(data), 4096)
    for _ in range(int(2 ** rng.uniform(0, 6))):
        data[rng.integers(reach)] ^= one_of(rng, [1, 2, 4, 8, 16, 32, 64, 128])


def set_bytes(rng, data: bytearray, _) -> None:
    size = one_of(rng, [1, 2, 4, 8])
    value = one_of(rng, [b"\0", b"\xff", b"\x7f", b"\x80", rng.bytes(1)])
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(data)))
        data[at : at + size] = value * min(size, len(data) - at)


def cut_short(rng, data: bytearray, _) -> None:
    del data[rng.integers(len(data)) :]


def cut_front(rng, data: bytearray, _) -> None:
    del data[: one_of(rng, [1, 8, BLOCK_BYTES, rng.integers(1, len(data))])]


def append(rng, data: bytearray, files: list[bytes]) -> None:
    data += one_of(rng, [b"\0", rng.bytes(100), one_of(rng, files)])


def splice(rng, data: bytearray, files: list[bytes]) -> None:
    """Put a piece of this or another file somewhere, over what is there or between."""
    other = one_of(rng, [*files, *[bytes(data)] * len(files)])
    size = int(2 ** rng.uniform(0, 12))
    start, at = int(rng.integers(len(other))), int(rng.integers(len(data)))
    replaced = size if rng.random() < 0.7 else 0
    data[at : at + replaced] = other[start : start + size]


def without_block(rng, data: bytearray, files: list[bytes]) -> None:
    """Take away or exchange the 512 bytes before the HDF5 part, and little more."""
    if data[:8] != b"\x89HDF\r\n\x1a\n":
        del data[:BLOCK_BYTES]
    data[:0] = one_of(rng, [b"", bytes(BLOCK_BYTES), files[-1][:BLOCK_BYTES]])
    if rng.random() < 0.5:
        flip_bits(rng, data, files)


BYTES = (flip_bits, flip_bits, set_bytes, cut_short, cut_front, append)
BYTES += (splice, splice, without_block)


# Changes of structure

# fmt: off
VALUES = (
    None, True, False, 0, 1, -1, 2, 5, 9, 2**31, 2**63, 10**30, 10**400, 0.5,
    float("nan"), float("inf"), "", "x", "tanh", "relu", "softmax", "hard_sigmoid",
    "Lambda", "LSTM", "GRU", "Dense", "Evil>Layer", "lstm_1", "\x1b[2J\u202e", [], {},
    [None, 5, 9], [[["lstm_1", 0, 0, {}]]], "word", "bpe", "a", " ab", "\n", "\0",
    "\ud800", "a" * 33, MARKS[0], MARKS, [0, 1], [[0, 1]], [[5, 5]], [-1, 0], "Keats",
    {"class_name": "Lambda", "config": {"name": "l", "function": "x"}},
)
# fmt: on
VOCABULARY = ("level", "symbols", "merges", "labels")
KEYS = ("units", "return_sequences", "stateful", "activation", "dtype", "cell", "layer")


def places(value) -> list[tuple]:
    """Return (owner, key) of every value within nested JSON."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else range(len(value))
    return [(value, k) for k in keys] + [x for k in keys for x in places(value[k])]


def change_description(rng, file: h5py.File) -> None:
    config = json.loads(file.attrs["model_config"])
    change_json(rng, config)
    file.attrs["model_config"] = json.dumps(config)


def change_metadata(rng, file: h5py.File) -> None:
    """Change what our own files tell, most often of their vocabulary."""
    metadata = json.loads(file["textgen/metadata"][()])
    of_vocabulary = {x: metadata[x] for x in VOCABULARY if x in metadata}
    part = metadata if rng.random() < 0.3 else of_vocabulary
    if rng.random() < 0.3:
        part |= {one_of(rng, VOCABULARY): copy.deepcopy(one_of(rng, VALUES))}
    change_json(rng, part)
    text = json.dumps(metadata | part).encode()
    del file["textgen/metadata"]
    file["textgen/metadata"] = np.bytes_(text)


def change_json(rng, config: dict) -> None:
    for _ in range(rng.integers(1, 4)):
        owner, key = one_of(rng, places(config))
        value, action = copy.deepcopy(one_of(rng, VALUES)), rng.integers(6)
        if action == 0:
            del owner[key]
        elif action == 1 and isinstance(owner, list):
            owner.insert(rng.integers(len(owner) + 1), owner[key])
        elif action == 2 and isinstance(owner, dict):
            owner[one_of(rng, KEYS)] = value
        elif action == 3:
            other, place = one_of(rng, places(config))
            owner[key] = copy.deepcopy(other[place])
        elif action == 4 and isinstance(owner[key], int):
            owner[key] += int(rng.integers(-3, 4))
        else:
            owner[key] = value


def change_text(rng, file: h5py.File) -> None:
    text = file.attrs["model_config"]
    text = bytearray(text.encode() if isinstance(text, str) else text)
    at = rng.integers(len(text))
    pieces = [b"", b"[" * 3000, b"9" * 400, b"\\u0000", b"\xff", b'"', b"}"]
    text[at : at + 1] = one_of(rng, pieces)
    file.attrs["model_config"] = np.bytes_(text)


def objects(file: h5py.File) -> list[str]:
    """Return the paths of all groups and arrays of layers."""
    root = "layers" if "layers" in file else "model_weights"
    names = [root]
    file[root].visit(lambda name: names.append(f"{root}/{name}"))
    return names


def change_array(rng, file: h5py.File) -> None:
    names = objects(file)
    name = one_of(rng, [x for x in names if isinstance(file[x], h5py.Dataset)])
    if file[name].size > 1e6:  # an earlier change declared it
        return
    array, options, rank = file[name][()], {}, file[name].ndim
    action = rng.integers(9)
    if action == 0:
        numbers = [np.nan, np.inf, -np.inf, 3e38, 1e15, 1e16]
        array.flat[rng.integers(array.size)] = one_of(rng, numbers)
    elif action == 1:
        array = array.astype(one_of(rng, ["f2", "f8", ">f4", "i4", "u1", "c8", "S3"]))
    elif action == 2 and rank:
        options = {"chunks": tuple(max(1, n // 2) for n in array.shape)}
        options["compression"] = one_of(rng, [None, "gzip", "lzf"])
    elif action == 3:
        options = {"shape": tuple(int(n) for n in rng.integers(0, 10**5, rank))}
        options["dtype"], array = "f4", None  # declared, and not stored
    else:
        factor = 10.0 ** rng.integers(-9, 20)
        other = rng.normal(size=array.shape).astype("f4") * factor
        shorter, longer = array[: len(array) - 1], np.concatenate([array, array])
        array = one_of(rng, [array.T, array.reshape(-1), shorter, longer, other])
    del file[name]
    file.create_dataset(name, data=array, **options)


def change_attribute(rng, file: h5py.File) -> None:
    names = ["/"]
    file.visit(names.append)
    attributes = file[one_of(rng, names)].attrs
    name = one_of(rng, list(attributes) or ["weight_names"])
    values = ["", "1", "2.2.4", "3.1.0", "9", 7, [1.5], ["a", "b"], b"\xff" * 50, [[1]]]
    action = rng.integers(3)
    if action == 0 and name in attributes:
        del attributes[name]
    elif action == 1 and name in attributes and np.ndim(attributes[name]):
        attributes[name] = attributes[name][::-1]
    else:
        attributes[name] = one_of(rng, values)


def change_links(rng, file: h5py.File) -> None:
    names = objects(file)
    one, other, action = one_of(rng, names), one_of(rng, names), rng.integers(5)
    if action == 0:
        file[f"{names[0]}/more{rng.integers(9)}"] = file[one]
    elif action == 1:
        file.move(one, f"{names[0]}/moved{rng.integers(9)}")
    else:
        del file[one]
    if action == 2:
        file[one] = h5py.SoftLink(f"/{other}")
    elif action == 3:
        file[one] = h5py.ExternalLink("source0.h5", f"/{other}")


STRUCTURE = (change_description,) * 3 + (change_array,) * 2
STRUCTURE += (change_text, change_attribute, change_links)
STRUCTURE_OF_OURS = (*STRUCTURE, *(change_metadata,) * 8)


# Changes of an archive's entries, {name: bytes}; `files` are as above


def change_config(rng, entries: dict[str, bytes], _) -> None:
    config = json.loads(entries["config.json"])
    change_json(rng, config)
    entries["config.json"] = json.dumps(config).encode()


def change_bytes(rng, entries: dict[str, bytes], files: list[bytes]) -> None:
    """Change the bytes of an entry, whose checksum is right then."""
    name = one_of(rng, [*entries, *["model.weights.h5"] * 3])
    data = bytearray(entries[name])
    one_of(rng, BYTES)(rng, data, files)
    entries[name] = bytes(data)


def change_weights(rng, entries: dict[str, bytes], _) -> None:
    weights = io.BytesIO(entries["model.weights.h5"])
    with h5py.File(weights, "a") as file, contextlib.suppress(Exception):
        one_of(rng, (change_array, change_array, change_attribute, change_links))(
            rng, file
        )
    entries["model.weights.h5"] = weights.getvalue()


def change_entries(rng, entries: dict[str, bytes], files: list[bytes]) -> None:
    name, action = one_of(rng, list(entries)), rng.integers(4)
    other = one_of(rng, ["../x", "assets/x", "config.json/", "x" * 9000, "x"])
    if action == 0:
        del entries[name]
    elif action == 1:
        entries[other] = entries.pop(name)
    else:
        entries[other if action == 2 else name] = one_of(rng, files)


ENTRIES = (change_config, change_config, change_bytes, change_bytes, change_weights)
ENTRIES += (change_weights, change_entries)


def change_archive(rng, original: bytes, path: Path, files: list[bytes]) -> list:
    """Write an archive with changed entries; return what was done."""
    with zipfile.ZipFile(io.BytesIO(original)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    done = [one_of(rng, ENTRIES) for _ in range(rng.integers(1, 3))]
    for change in done:
        with contextlib.suppress(Exception):
            change(rng, entries, files)
    stored = rng.random() < 0.7
    compressions = [zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]
    compression = zipfile.ZIP_STORED if stored else one_of(rng, compressions)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
            if rng.random() < 0.02:
                with warnings.catch_warnings(action="ignore"):
                    archive.writestr(name, data)
    return done


def make(
    rng, sources: dict[str, Source], path: Path, names=NAMES
) -> tuple[str, str, bool]:
    """Write one changed file.

    Returns:
        Its source; what was done; whether it is ours and must be refused.
    """
    name = one_of(rng, names)
    original = sources[name].data
    files = [source.data for source in sources.values()]
    is_ours, done, anew = name in OWN, [], False
    if rng.random() < (0.3 if name in ARCHIVES else 0.6):
        done = [one_of(rng, BYTES)]
        data = bytearray(original)
        done[0](rng, data, files)
        path.write_bytes(data)
    elif name in ARCHIVES:
        done = change_archive(rng, original, path, files)
    else:
        path.write_bytes(original[BLOCK_BYTES:] if is_ours else original)
        with h5py.File(path, "a") as file:
            for _ in range(rng.integers(1, 3)):
                done.append(one_of(rng, STRUCTURE_OF_OURS if is_ours else STRUCTURE))
                # A second change may find nothing that can be changed any more.
                with contextlib.suppress(Exception):
                    done[-1](rng, file)
        anew = is_ours and rng.random() < 0.8
        block = user_block(path.read_bytes()) if anew else original[:BLOCK_BYTES]
        path.write_bytes(block * is_ours + path.read_bytes())
    changed = path.read_bytes() != original
    said = "+".join(change.__name__ for change in done)
    return name, said, is_ours and changed and not anew


# What must hold


class Recorder:
    """Stands for `Reader`, keeps what is read, and starts each reader a file ahead."""

    def __init__(self):
        self.contents, self.ahead = None, Reader()

    def read(self, path: Path):
        reader, self.ahead = self.ahead, Reader()
        with reader:
            self.contents = reader.read(path)
        return self.contents


def layer_kinds(config: str) -> set[str]:
    """Return the kinds of all layers in a description, read here anew."""
    model = json.loads(config)["config"]
    layers = model if isinstance(model, list) else model["layers"]
    layers = [x for x in layers if x["class_name"] != "NotEqual"]  # an operation
    inner = [x["config"]["layer"] for x in layers if "layer" in x["config"]]
    return {x["class_name"] for x in [*layers, *inner]}


def write_a_little(model: TrainedModel) -> None:
    """Complete a prompt, and see that what is known is encoded without loss."""
    vocabulary = model.vocabulary
    text = "".join(x for x in vocabulary.alphabet.symbols if x in vocabulary)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    label = vocabulary.labels[0] if vocabulary.labels else None
    made = generate_output(model, text[:4], length=9, seed=0, label=label)
    assert len(made) <= 13
    assert set(made) <= set(text)


def broken_rule(path: Path, text: Path | None, ours: bool, recorder: Recorder) -> str:
    """Open a file; return which rule it breaks, ``""`` if none, ``"accepted"`` if none
    and it was accepted."""
    started = time.monotonic()
    try:
        model = model_file.load_model(path, text)
        decoder = model.decoder()
        logits = [decoder.step([0])[:, ~model.vocabulary.is_label] for _ in range(3)]
        write_a_little(model)
        refusal = ""
    except TextgenError as error:
        refusal = str(error)
    except BaseException:
        return traceback.format_exc()
    if time.monotonic() - started > sandbox.WALL_S + MARGIN_S:
        return "too slow"
    if refusal:
        is_line = "\n" not in refusal and len(refusal) <= 2000
        return "" if is_line else f"refused in more than a line: {refusal[:500]!r}"
    if ours:
        return "a changed file of ours was accepted"
    if unknown := layer_kinds(recorder.contents.config) - LAYERS:
        return f"accepted with the layers {unknown}"
    weights = [a for arrays in recorder.contents.weights.values() for a in arrays]
    if not all(np.isfinite(array).all() for array in (*weights, *logits)):
        return "accepted, but not finite"
    return "accepted"


def peak_bytes() -> int:
    """Return the most memory of this process and of a child that has ended, on Linux.

    `getrusage` counts for this process what the program had that started it.
    """
    status = Path("/proc/self/status").read_text()
    ours = int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1])
    return 1024 * (ours + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def fuzz(count: int, seed: int, folder: Path, names=NAMES) -> int:
    """Change and open files; return the number of rules broken."""
    accepted, broken, recorder = 0, 0, Recorder()
    model_file.Reader = lambda: contextlib.nullcontext(recorder)
    sources, path = make_sources(folder), folder / "changed.h5"
    for kind, source in sources.items():
        rule = broken_rule(source.path, source.text, False, recorder)
        assert rule == "accepted", f"the unchanged file {kind!r} is refused: {rule}"
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        kind, change, ours = make(rng, sources, path, names)
        some_text = sources[KERAS_3].text if rng.random() < 0.3 else None
        text = some_text if kind in OWN else sources[kind].text
        rule = broken_rule(path, text, ours, recorder)
        accepted += rule == "accepted"
        if rule not in ("", "accepted"):
            broken += 1
            kept = Path(tempfile.gettempdir(), f"fuzz-{seed}-{number}.h5")
            shutil.copy(path, kept)
            print(f"{kept}: {kind}, {change}: {rule}", flush=True)
    most = peak_bytes()
    broken += most > MOST_BYTES
    print(f"{count:,} changed files of {len(set(names))} kinds, seed {seed}")
    print(
        f"{accepted:,} accepted, the others refused; most memory {most / 1e6:,.0f} MB"
    )
    print(f"rules broken: {broken}")
    return broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="so many files")
    parser.add_argument("--seed", type=int, default=0)
    only = parser.add_mutually_exclusive_group().add_argument
    only("--archives", action="store_true", help="only .keras files")
    only("--own", action="store_true", help="only files of textgen")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        names = tuple(ARCHIVES) if given.archives else NAMES
        names = tuple(OWN) if given.own else names
        sys.exit(fuzz(given.count, given.seed, Path(folder), names) > 0)


if __name__ == "__main__":
    main()
