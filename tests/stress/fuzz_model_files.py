"""Change model files at random, open each, and see that nothing but refusal happens.

    python tests/stress/fuzz_model_files.py --count 10000 --seed 1
    python tests/stress/fuzz_model_files.py --seconds 600

Files of several kinds of Keras and one of our own, with its hash, are changed in their
bytes (bits flipped, cut short, pieces moved, doubled or taken from another file) or in
their structure (description, arrays, attributes, links). `textgen.load_model` opens
each in a process of its own. What must hold:

    nothing but `TextgenError` comes out, within the time limit, in less than 1 GB
    no changed file of ours is accepted, unless its hash was made anew
    what is accepted holds known layers only, finite weights, and gives finite logits

A file that breaks this is kept, its path is printed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import copy
import json
import multiprocessing
import re
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).parents[1:3])

import h5py
import numpy as np
from keras_fixtures import FIXTURES

from textgen.config import Config, ModelConfig
from textgen.errors import ModelFileError, TextgenError
from textgen.saving import model_file, sandbox, sandbox_worker
from textgen.saving.container import BLOCK_BYTES, user_block
from textgen.saving.hdf5 import read_contents
from textgen.saving.sandbox import Reader

FORK = multiprocessing.get_context("fork")
FRESH_EVERY = 10
STATUS = Path("/proc/self/status")
MARGIN_S = 20  # to notice the limit of the reader; a busy machine needs a while
MOST_BYTES = 1e9
LAYERS = {
    *("InputLayer", "Embedding", "LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU"),
    *("Dropout", "SpatialDropout1D", "Dense", "TimeDistributed", "Activation"),
    "Masking",
}
KINDS = (
    "Keras 1.2 LSTM, an array a gate",
    "Keras 1.2 SimpleRNN, functional",
    "Keras 2.0 LSTM, one-hot",
    "Keras 2.2 GRU, reset_after",
    "Keras 2.2 CuDNNLSTM",
    "Keras 2.2 LSTM, mask_zero",
    "Keras 2.2 mixed, relu",
    "tf.keras GRU, stateful, logits",
    "Keras 3.0 LSTM, hard_sigmoid",
)
OWN = "ours"


class Sources:
    """The valid files, and a text for each that has its vocabulary."""

    def __init__(self, folder: Path):
        self.paths: dict[str, Path] = {}
        self.texts: dict[str, Path | None] = {}
        for number, kind in enumerate(KINDS):
            fixture = FIXTURES[kind]()
            self.paths[kind] = fixture.write(folder / f"source{number}.h5")
            self.texts[kind] = folder / f"text{number}.txt"
            self.texts[kind].write_text(fixture.symbols, newline="")
        self.paths[OWN] = self._own(folder / "own.h5")
        self.texts[OWN] = None
        self.names = (*KINDS, *[OWN] * 4)  # ours as often as four others
        self.bytes = {name: path.read_bytes() for name, path in self.paths.items()}

    @staticmethod
    def _own(path: Path) -> Path:
        """Write what `save_model` writes, for which no TensorFlow is needed here."""
        fixture = FIXTURES["Keras 3.0 LSTM, hard_sigmoid"]()
        for layer in fixture.config["config"]["layers"]:
            if layer["class_name"] == "LSTM":
                layer["config"]["recurrent_activation"] = "sigmoid"
        fixture.write(path)
        metadata = {
            "format": 2,
            "level": "character",
            "symbols": sorted(fixture.symbols),
            "corpus": {"name": "x", "kind": "text", "sha256": "0" * 64},
            "config": Config(ModelConfig(1, 5, 3)).to_dict(),
        }
        with h5py.File(path, "a") as file:
            file["textgen/metadata"] = np.bytes_(json.dumps(metadata).encode())
        hash_anew(path)
        return path


def hash_anew(path: Path) -> None:
    hdf5 = path.read_bytes()
    path.write_bytes(user_block(hdf5) + hdf5)


# Changes of bytes


def flip_bits(rng, data: bytearray, _: Sources) -> None:
    # Most of what steers HDF5 lies in the first kilobytes and before each object.
    reach = len(data) if rng.random() < 0.5 else min(len(data), 4096)
    for _ in range(int(2 ** rng.uniform(0, 6))):
        data[rng.integers(reach)] ^= 1 << int(rng.integers(8))


def set_bytes(rng, data: bytearray, _: Sources) -> None:
    size = int(rng.choice([1, 2, 4, 8]))
    value = rng.choice([b"\0", b"\xff", b"\x7f", b"\x80", rng.bytes(1)])
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(data)))
        data[at : at + size] = bytes(value)[:1] * min(size, len(data) - at)


def cut_short(rng, data: bytearray, _: Sources) -> None:
    del data[int(rng.integers(len(data))) :]


def cut_front(rng, data: bytearray, _: Sources) -> None:
    del data[: int(rng.choice([1, 8, BLOCK_BYTES, rng.integers(1, len(data))]))]


def append(rng, data: bytearray, sources: Sources) -> None:
    other = sources.bytes[rng.choice(list(sources.bytes))]
    data += rng.choice([b"\0", rng.bytes(100), other])


def splice(rng, data: bytearray, sources: Sources) -> None:
    """Put a piece of this or another file somewhere, over what is there or between."""
    other = sources.bytes[rng.choice(list(sources.bytes))]
    if rng.random() < 0.5:
        other = bytes(data)
    size = int(2 ** rng.uniform(0, 12))
    start, at = int(rng.integers(len(other))), int(rng.integers(len(data)))
    replaced = size if rng.random() < 0.7 else 0
    data[at : at + replaced] = other[start : start + size]


def without_block(rng, data: bytearray, sources: Sources) -> None:
    """Take away or exchange the 512 bytes before the HDF5 part, and little more."""
    block = rng.choice([b"", b"\0" * BLOCK_BYTES, sources.bytes[OWN][:BLOCK_BYTES]])
    if data[:8] != b"\x89HDF\r\n\x1a\n":
        del data[:BLOCK_BYTES]
    data[:0] = block
    if rng.random() < 0.5:
        flip_bits(rng, data, sources)


BYTES = (flip_bits, flip_bits, set_bytes, cut_short, cut_front, append)
BYTES += (splice, splice, without_block)


# Changes of structure

# fmt: off
VALUES = (
    None, True, False, 0, 1, -1, 2, 5, 9, 2**31, 2**63, 10**30, 10**400, 0.5,
    float("nan"), float("inf"), "", "x", "tanh", "relu", "softmax", "hard_sigmoid",
    "Lambda", "LSTM", "GRU", "Dense", "Evil>Layer", "lstm_1", "\x1b[2J\u202e", [], {},
    [None, 5, 9], [[["lstm_1", 0, 0, {}]]],
    {"class_name": "Lambda", "config": {"name": "l", "function": "x"}},
)
# fmt: on
KEYS = ("units", "return_sequences", "stateful", "activation", "dtype", "cell", "layer")


def places(value, path=()) -> list[tuple]:
    """Return the path of every value within nested JSON."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, dict | list):
        for key, item in inner:
            found += places(item, (*path, key))
    return found


def change_description(rng, file: h5py.File) -> None:
    config = json.loads(file.attrs["model_config"])
    for _ in range(int(rng.integers(1, 4))):
        paths = places(config)
        *way, last = paths[rng.integers(len(paths))]
        owner = config
        for step in way:
            owner = owner[step]
        value = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
        action = rng.integers(6)
        if action == 0:
            del owner[last]
        elif action == 1 and isinstance(owner, list):
            owner.insert(int(rng.integers(len(owner) + 1)), owner[last])
        elif action == 2 and isinstance(owner, dict):
            owner[KEYS[rng.integers(len(KEYS))]] = value
        elif action == 3:
            other = paths[rng.integers(len(paths))]
            target = config
            for step in other:
                target = target[step]
            owner[last] = copy.deepcopy(target)
        elif action == 4 and isinstance(owner[last], int):
            owner[last] = int(owner[last]) + int(rng.integers(-3, 4))
        else:
            owner[last] = value
        if not isinstance(config, dict | list) or not places(config):
            break
    file.attrs["model_config"] = json.dumps(config)


def change_text(rng, file: h5py.File) -> None:
    """Damage the JSON itself."""
    text = file.attrs["model_config"]
    text = text.encode() if isinstance(text, str) else bytes(text)
    at = int(rng.integers(len(text)))
    piece = rng.choice([b"", b"[" * 3000, b"9" * 400, b"\\u0000", b"\xff", b'"', b"}"])
    file.attrs["model_config"] = np.bytes_(text[:at] + bytes(piece) + text[at + 1 :])


def datasets(file: h5py.File) -> list[str]:
    found = []
    file["model_weights"].visititems(
        lambda name, item: (
            found.append(name) if isinstance(item, h5py.Dataset) else None
        )
    )
    return found


def change_array(rng, file: h5py.File) -> None:
    names = datasets(file)
    name = f"model_weights/{names[rng.integers(len(names))]}"
    if file[name].size > 1e6:  # an earlier change declared it
        return
    array, options, rank = file[name][()], {}, file[name].ndim
    numbers = [np.nan, np.inf, -np.inf, 3e38, 1e15, 1e16]
    types = ["f2", "f8", ">f4", "i4", "u1", "c8", "S3"]
    action = rng.integers(9)
    if action == 0:
        array.flat[rng.integers(array.size)] = rng.choice(numbers)
    elif action == 4:
        array = array.astype(rng.choice(types))
    elif action == 5 and rank:
        options = {"chunks": tuple(max(1, n // 2) for n in array.shape)}
        options["compression"] = rng.choice([None, "gzip", "lzf"])
    elif action == 6:
        options = {"shape": tuple(int(n) for n in rng.integers(0, 10**5, rank))}
        options["dtype"], array = "f4", None  # declared, and not stored
    else:
        array = (
            *(array, array.T, array.reshape(-1), array[: len(array) - 1]),
            *(array, array, array, np.concatenate([array, array])),
            rng.normal(size=array.shape).astype("f4") * 10.0 ** rng.integers(-9, 20),
        )[action]
    del file[name]
    file.create_dataset(name, data=array, **options)


def change_attribute(rng, file: h5py.File) -> None:
    names = [""]
    file.visit(names.append)
    item = file[names[rng.integers(len(names))] or "/"]
    attributes = list(item.attrs) or ["weight_names"]
    name = attributes[rng.integers(len(attributes))]
    values = ["", "1", "2.2.4", "3.1.0", "9", 7, [1.5], ["a", "b"], b"\xff" * 50, [[1]]]
    action = rng.integers(3)
    if action == 0 and name in item.attrs:
        del item.attrs[name]
    elif action == 1 and name in item.attrs and np.ndim(item.attrs[name]):
        item.attrs[name] = item.attrs[name][::-1]
    else:
        item.attrs[name] = values[rng.integers(len(values))]


def change_links(rng, file: h5py.File) -> None:
    names = ["model_weights"]
    file["model_weights"].visit(lambda name: names.append(f"model_weights/{name}"))
    one, other = (names[rng.integers(len(names))] for _ in range(2))
    action = rng.integers(5)
    if action == 0:
        del file[one]
    elif action == 1:
        del file[one]
        file[one] = h5py.SoftLink(f"/{other}")
    elif action == 2:
        del file[one]
        file[one] = h5py.ExternalLink("source0.h5", f"/{other}")
    elif action == 3:
        file[f"model_weights/more{rng.integers(9)}"] = file[one]
    else:
        file.move(one, f"model_weights/moved{rng.integers(9)}")


STRUCTURE = (change_description,) * 3 + (change_array,) * 2
STRUCTURE += (change_text, change_attribute, change_links)


def make(rng, sources: Sources, path: Path) -> tuple[str, str, bool]:
    """Write one changed file.

    Returns:
        Its source; what was done; whether it is ours and must be refused.
    """
    name = sources.names[rng.integers(len(sources.names))]
    original = sources.bytes[name]
    if rng.random() < 0.6:
        change = BYTES[rng.integers(len(BYTES))]
        data = bytearray(original)
        change(rng, data, sources)
        path.write_bytes(data)
        return name, change.__name__, name == OWN and bytes(data) != original
    path.write_bytes(original[BLOCK_BYTES:] if name == OWN else original)
    done = []
    with h5py.File(path, "a") as file:
        for _ in range(int(rng.integers(1, 3))):
            change = STRUCTURE[rng.integers(len(STRUCTURE))]
            done.append(change.__name__)
            # A second change may find nothing that can be changed any more.
            with contextlib.suppress(Exception):
                change(rng, file)
    anew = name == OWN and rng.random() < 0.8
    if anew:
        hash_anew(path)
    elif name == OWN:
        path.write_bytes(original[:BLOCK_BYTES] + path.read_bytes())
    changed = path.read_bytes() != original
    return name, "+".join(done), name == OWN and not anew and changed


# What must hold


class Recorder:
    """Stands for `Reader` and keeps the contents.

    A fresh process takes longer to start than to read, so most files are read by forks
    of this one, with the same limits; every `FRESH_EVERY`-th is left to a `Reader`.
    """

    def __init__(self):
        self.contents = None
        self.deaths: collections.Counter = collections.Counter()
        self._number = 0

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_) -> None:
        pass

    def read(self, path):
        self.contents = None
        self._number += 1
        try:
            if self._number % FRESH_EVERY == 0:
                with Reader() as reader:
                    self.contents = reader.read(path)
            else:
                self.contents = self._read_by_fork(path)
        except ModelFileError as error:
            for sign in ("took more than", "ended the process"):
                self.deaths[sign] += sign in str(error)
            raise
        return self.contents

    @staticmethod
    def _read_by_fork(path):
        receiver, sender = FORK.Pipe(duplex=False)
        process = FORK.Process(target=answer, args=(path, sender))
        process.start()
        sender.close()
        try:
            if not receiver.poll(sandbox.WALL_S):
                raise ModelFileError("reading it took more than the time")
            answered = receiver.recv()
        except EOFError:
            raise ModelFileError("reading it ended the process") from None
        finally:
            process.kill()
            process.join()
        if isinstance(answered, Exception):
            raise answered
        return answered


def answer(path: Path, sender) -> None:
    """Do in a fork what `sandbox_worker` does."""
    try:
        sandbox_worker.limit_resources(path.stat().st_size)
        sender.send(read_contents(path.read_bytes()))
    except ModelFileError as error:
        sender.send(error)
    except MemoryError:
        sender.send(ModelFileError(sandbox_worker.TOO_LARGE))


def layer_kinds(config: str) -> set[str]:
    """Return the kinds of all layers in a description, read here anew."""
    model = json.loads(config)["config"]
    kinds = set()
    waiting = list(model if isinstance(model, list) else model["layers"])
    while waiting:
        layer = waiting.pop()
        kinds.add(layer["class_name"])
        if "layer" in layer["config"]:
            waiting.append(layer["config"]["layer"])
    return kinds


def broken_rule(path: Path, text: Path | None, ours: bool, recorder: Recorder) -> str:
    """Open a file; return which rule it breaks, ``""`` if none, ``"accepted"`` if none
    and it was accepted."""
    started = time.monotonic()
    try:
        model = model_file.load_model(path, text)
        decoder = model.decoder()
        logits = [decoder.step([0]).copy() for _ in range(3)]
        rule = "accepted"
    except TextgenError as error:
        rule = ""
        if "\n" in str(error) or len(str(error)) > 2000:
            return f"refused in more than a line: {str(error)[:500]!r}"
    except BaseException:
        return traceback.format_exc()
    if time.monotonic() - started > sandbox.WALL_S + MARGIN_S:
        return "too slow"
    if not rule:
        return rule
    if ours:
        return "a changed file of ours was accepted"
    if unknown := layer_kinds(recorder.contents.config) - LAYERS:
        return f"accepted with the layers {unknown}"
    weights = [a for arrays in recorder.contents.weights.values() for a in arrays]
    if not all(np.isfinite(array).all() for array in (*weights, *logits)):
        return "accepted, but not finite"
    return rule


def peak_bytes() -> tuple[int, int]:
    """Return the most memory of this process, and of any child that has ended."""
    try:
        import resource
    except ImportError:
        return 0, 0
    unit = 1 if sys.platform == "darwin" else 1024
    ours, childs = (
        resource.getrusage(who).ru_maxrss * unit
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    if STATUS.exists():
        # Linux counts in what the program had that started this one: the tests, say.
        peak_kib = re.search(r"^VmHWM:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
        ours = int(peak_kib[1]) * 1024
    return ours, childs


def fuzz(count: int | None, seconds: float | None, seed: int) -> int:
    """Change and open files; return the number of rules broken."""
    tally: collections.Counter = collections.Counter()
    recorder = Recorder()
    model_file.Reader = lambda: recorder
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        sources, path = Sources(Path(name)), Path(name, "changed.h5")
        for kind, unchanged in sources.paths.items():
            rule = broken_rule(unchanged, sources.texts[kind], False, recorder)
            if rule != "accepted":
                raise SystemExit(f"the unchanged file {kind!r} is refused: {rule}")
        number = 0
        while (count is None or number < count) and (
            seconds is None or time.monotonic() - started < seconds
        ):
            rng = np.random.default_rng((seed, number))
            kind, change, ours = make(rng, sources, path)
            text = sources.texts[kind]
            if kind == OWN and rng.random() < 0.3:
                text = sources.texts["Keras 3.0 LSTM, hard_sigmoid"]
            rule = broken_rule(path, text, ours, recorder)
            tally[rule if rule in ("", "accepted") else "broken"] += 1
            tally["ours"] += kind == OWN
            tally["ours, to be refused"] += ours
            tally["ours, refused"] += ours and rule == ""
            if rule not in ("", "accepted"):
                kept = Path(tempfile.gettempdir(), f"fuzz-{seed}-{number}.h5")
                shutil.copy(path, kept)
                print(f"{kept}: {kind}, {change}: {rule}", flush=True)
            number += 1
    ours, childs = peak_bytes()
    if max(ours, childs) > MOST_BYTES:
        tally["broken"] += 1
        print(f"too much memory: {ours:,} and {childs:,} bytes")
    print(
        f"""{number:,} changed files of {len(sources.paths)} kinds, seed {seed}, \
{time.monotonic() - started:,.0f} s
refused {tally[""]:,}, accepted {tally["accepted"]:,}
files of ours {tally["ours"]:,}; changed, without a new hash \
{tally["ours, to be refused"]:,}, of these refused {tally["ours, refused"]:,}
reading processes that ended: {recorder.deaths["ended the process"]:,} by a crash or \
a limit of memory, {recorder.deaths["took more than"]:,} by one of time
most memory: {ours / 1e6:,.0f} MB here, {childs / 1e6:,.0f} MB in a reading process
rules broken: {tally["broken"]}"""
    )
    return tally["broken"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, help="so many files")
    parser.add_argument("--seconds", type=float, help="so long")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.count is None and arguments.seconds is None:
        arguments.count = 1000
    sys.exit(1 if fuzz(arguments.count, arguments.seconds, arguments.seed) else 0)


if __name__ == "__main__":
    main()
