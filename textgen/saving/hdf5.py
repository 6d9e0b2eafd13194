"""What Keras writes in HDF5 → plain text and arrays, with nothing trusted.

The HDF5 library reads bytes of others here, in a process of its own
(`textgen.saving.sandbox_worker`). Whole models, ``.h5``, are

    attributes model_config, keras_version     the description, in JSON; who wrote it
    model_weights/LAYER                        a group for each layer,
        attribute weight_names                 its arrays' paths below it, in order
        …/NAME                                 and the arrays
    textgen/metadata                           our own JSON

and the weights within a ``.keras`` archive

    layers/FOLDER                              a group for each layer,
        vars/0, cell/vars/1, …                 its arrays, and those of layers within

Nothing else is taken. Links are hard ones and lead to groups or to contiguous,
unfiltered float arrays whose bytes are all there; sizes are checked against what is
stored, and against a limit of their own, before anything is read.
"""

from __future__ import annotations

import math
import re

import h5py
import numpy as np

from textgen.errors import ModelFileError, shown
from textgen.saving.container import MAX_FLOATS, Part, other_model, refusal

MAX_CONFIG_BYTES = 1 << 20
MAX_METADATA_BYTES = 1 << 24  # a vocabulary of every Unicode symbol takes 9 MiB
MAX_VERSION_BYTES = 100
MAX_OBJECTS = 10_000
MAX_DEPTH = 12  # groups within groups
MAX_NAME_CHARS = 1000
FLOATS = ("float16", "float32", "float64")
METADATA_PATH = "textgen/metadata"
LINK = "a link to elsewhere"
# The arrays of a layer's folder: of itself, of its cell, of the layers within it.
_PATH = re.compile(r"(?P<folder>[^/]+)/(?P<owner>.*)vars/(?P<number>0|[1-9]\d?)")
_OWNERS = ("", "cell/", "layer/", "forward_layer/cell/", "backward_layer/cell/")


Weights = dict[str, tuple[np.ndarray, ...]]


def read_model(part: Part) -> tuple[str, str, Weights, str | None]:
    """Return a whole model's description, version, arrays of each layer and metadata.

    What is no model or not stored plainly is a `ModelFileError`; what is damaged may
    also be any error that h5py has.
    """
    with h5py.File(part, "r") as file:
        config = _text_attribute(file, "model_config", MAX_CONFIG_BYTES)
        if config is None and ("layers" in file or "layer_names" in file.attrs):
            advice = "build the model as its program does, call model.load_weights"
            raise other_model("weights alone (.weights.h5)", advice)
        if config is None:
            raise refusal("a Keras model", "HDF5 that holds none")
        version = _text_attribute(file, "keras_version", MAX_VERSION_BYTES)
        version = version or "1.0"  # whose files name none
        arrays = _Arrays(part.size)
        weights = _weights_of_names(_group(file, "model_weights"), arrays)
        return config, version, weights, _read_metadata(file, part.size)


def read_layers(part: Part) -> Weights:
    """Return the arrays of each layer's folder in the weights of an archive.

    Their order is Keras': a layer's own, those of its cell, and of the layers in it.
    """
    with h5py.File(part, "r") as file:
        weights: dict[str, dict[tuple[int, int], np.ndarray]] = {}
        arrays = _Arrays(part.size)
        for path, dataset in _datasets(_group(file, "layers")).items():
            if "seed_generator" in path.split("/"):  # the state of a dropout
                continue
            match = _PATH.fullmatch(path)
            if not match or match["owner"] not in _OWNERS:
                raise refusal("arrays where Keras puts them", shown(path))
            place = _OWNERS.index(match["owner"]), int(match["number"])
            weights.setdefault(match["folder"], {})[place] = arrays.read(path, dataset)
    return {
        folder: tuple(found[place] for place in sorted(found))
        for folder, found in weights.items()
    }


def _is_text(attribute: h5py.h5a.AttrID) -> bool:
    return attribute.dtype.kind == "S" or bool(h5py.check_string_dtype(attribute.dtype))


def _text_attribute(item: h5py.Group, name: str, most_bytes: int) -> str | None:
    """Read one text; None if there is no such attribute."""
    if name not in item.attrs:
        return None
    attribute = item.attrs.get_id(name)
    if attribute.shape != () or not _is_text(attribute):
        raise refusal(f"{name!r} as one text", "something else")
    size = attribute.get_storage_size()
    if size <= most_bytes:
        text = item.attrs[name]
        # Only reading tells how long a text of variable length is.
        text = text if isinstance(text, bytes) else text.encode()
        size = len(text)
    if size > most_bytes:
        raise refusal(f"{name!r} of at most {most_bytes:,} bytes", f"{size:,}")
    return text.decode()


def _group(file: h5py.File, name: str) -> h5py.Group:
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise refusal(f"a group {name!r}", "none")
    return file[name]


def _weights_of_names(root: h5py.Group, arrays: _Arrays) -> Weights:
    """Read the arrays that each layer names, in its own order."""
    unread = _datasets(root)
    weights = {}
    for layer, group in root.items():
        paths = [f"{layer}/{name}" for name in _names(group, layer)]
        for path in paths:
            if path not in unread:
                raise refusal(f"the array {shown(path)}, as its layer says", "none")
        weights[layer] = tuple(arrays.read(path, unread.pop(path)) for path in paths)
    if unread:
        raise refusal("only arrays that layers name", shown(next(iter(unread))))
    return weights


def _datasets(root: h5py.Group) -> dict[str, h5py.Dataset]:
    """Return every dataset below a group by its path; nothing else may be there."""
    datasets: dict[str, h5py.Dataset] = {}
    waiting = [("", root, 0)]
    objects = 0
    while waiting:
        prefix, group, depth = waiting.pop()
        for name in group:
            path = prefix + name
            objects += 1
            if len(name) > MAX_NAME_CHARS:
                most = f"{MAX_NAME_CHARS:,} characters"
                raise refusal(f"names of at most {most}", shown(path))
            if objects > MAX_OBJECTS or depth > MAX_DEPTH:
                most = f"{MAX_OBJECTS:,} objects, {MAX_DEPTH} groups deep"
                raise refusal(f"at most {most}", "more")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise refusal(f"{shown(path)} in the file itself", LINK)
            item = group[name]
            if isinstance(item, h5py.Dataset) and depth:
                datasets[path] = item
            elif isinstance(item, h5py.Group):
                waiting.append((f"{path}/", item, depth + 1))
            else:
                expected = f"a group for each layer at {shown(path)}"
                raise refusal(expected, "another kind of object")
    return datasets


def _names(group: h5py.Group, layer: str) -> list[str]:
    """Return what a layer's attribute ``weight_names`` lists; [] if it is empty."""
    if "weight_names" not in group.attrs:
        return []
    attribute = group.attrs.get_id("weight_names")
    if attribute.shape == (0,):  # Keras leaves it without a type of text
        return []
    shape = attribute.shape
    if not _is_text(attribute) or len(shape) != 1 or shape[0] > MAX_OBJECTS:
        expected = f"'weight_names' of layer {shown(layer)} as a list of texts"
        raise refusal(expected, "something else")
    names = [
        name.decode() if isinstance(name, bytes) else str(name)
        for name in group.attrs["weight_names"]
    ]
    if len(set(names)) < len(names):
        raise refusal(f"different arrays of layer {shown(layer)}", "one named twice")
    return names


def _read_metadata(file: h5py.File, file_bytes: int) -> str | None:
    for path in (METADATA_PATH.split("/")[0], METADATA_PATH):
        link = file.get(path, getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise refusal(f"{path!r} in the file itself", LINK)
    dataset = file[METADATA_PATH]
    if dataset.shape != () or dataset.dtype.kind != "S":
        raise refusal(f"{METADATA_PATH!r} as one text of fixed length", "another")
    _check_plain(METADATA_PATH, dataset, min(file_bytes, MAX_METADATA_BYTES))
    return bytes(dataset[()]).decode()


def _check_plain(path: str, dataset: h5py.Dataset, most_bytes: int) -> None:
    """Check that a dataset is stored contiguously, unfiltered, in the file itself."""
    layout = dataset.id.get_create_plist()
    stored = dataset.id.get_storage_size()
    declared = math.prod(dataset.shape) * dataset.dtype.itemsize
    if (
        layout.get_layout() != h5py.h5d.CONTIGUOUS
        or layout.get_external_count()
        or layout.get_nfilters()
    ):
        raise refusal("arrays in one plain piece", f"{shown(path)} in another way")
    if stored != declared or declared > most_bytes or dataset.id.get_offset() is None:
        expected = f"{declared:,} bytes for {shown(path)} as its shape says"
        raise refusal(expected, "a file that does not hold them")


class _Arrays:
    """Reads arrays as float32, no more of them than a file can hold."""

    def __init__(self, file_bytes: int) -> None:
        self._bytes_left, self._floats_left = file_bytes, MAX_FLOATS

    def read(self, path: str, dataset: h5py.Dataset) -> np.ndarray:
        _check_plain(path, dataset, self._bytes_left)
        if dataset.dtype.name not in FLOATS or not dataset.dtype.isnative:
            expected = f"expected weights in one of {', '.join(FLOATS)}"
            problem = f"{expected}, but {shown(path)} is {dataset.dtype}"
            raise ModelFileError(problem, "save the model with the float32 policy")
        self._bytes_left -= dataset.id.get_storage_size()
        self._floats_left -= math.prod(dataset.shape)
        if self._floats_left < 0:
            raise refusal(f"at most {MAX_FLOATS:,} weights", "more")
        # HDF5 converts in small pieces. What is too large for float32 becomes infinite,
        # and is refused as that.
        return np.asarray(dataset.astype("<f4")[()])
