"""The bytes of a Keras HDF5 file → plain text and arrays, with nothing trusted.

`read_contents` is the only function that lets the HDF5 library read bytes of others;
it runs in a process of its own (`textgen.saving.sandbox_worker`). It takes what Keras
wrote and nothing else:

    attributes model_config, keras_version     the description, in JSON; who wrote it
    model_weights/LAYER                        a group for each layer,
        attribute weight_names                 its arrays' paths below it, in order
        …/NAME                                 and the arrays
    textgen/metadata                           our own JSON

Links are hard ones and lead to groups or to contiguous, unfiltered float arrays whose
bytes are all there; sizes are checked against what is stored before anything is read.
"""

from __future__ import annotations

import math

import h5py
import numpy as np

from textgen.errors import ModelFileError, shown
from textgen.saving.container import ANOTHER_FORM, Contents, checked_hdf5, refusal

MAX_CONFIG_BYTES = 1 << 20
MAX_METADATA_BYTES = 1 << 24  # a vocabulary of every Unicode symbol takes 9 MiB
MAX_VERSION_BYTES = 100
MAX_OBJECTS = 10_000
MAX_DEPTH = 12  # groups within groups
MAX_NAME_CHARS = 1000
FLOATS = ("float16", "float32", "float64")
METADATA_PATH = "textgen/metadata"
LINK = "a link to elsewhere"


def read_contents(data: bytes) -> Contents:
    """Read the description, arrays and metadata out of a whole file's bytes.

    What is no HDF5, damaged, no model or not stored plainly is a `ModelFileError`.
    """
    hdf5 = checked_hdf5(data)
    try:
        with h5py.File(h5py.h5f.open_file_image(hdf5)) as file:
            config = _text_attribute(file, "model_config", MAX_CONFIG_BYTES)
            if config is None:
                raise refusal("a Keras model", "HDF5 that holds none")
            return Contents(
                config,
                _text_attribute(file, "keras_version", MAX_VERSION_BYTES),
                _read_weights(file, len(hdf5)),
                _read_metadata(file, len(hdf5)),
                hashed=len(hdf5) < len(data),
            )
    except (OSError, RuntimeError, OverflowError, *ANOTHER_FORM) as error:
        raise refusal("an HDF5 model file", "a damaged structure") from error


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


def _read_weights(
    file: h5py.File, file_bytes: int
) -> dict[str, tuple[np.ndarray, ...]]:
    """Read the arrays of each layer, in its own order."""
    if not isinstance(file.get("model_weights", getlink=True), h5py.HardLink):
        raise refusal("a group 'model_weights'", "none")
    unread = _datasets(file["model_weights"])
    weights, left = {}, file_bytes
    for layer, group in file["model_weights"].items():
        arrays = []
        for name in _names(group, layer):
            path = f"{layer}/{name}"
            if path not in unread:
                raise refusal(f"the array {shown(path)}, as its layer says", "none")
            dataset = unread.pop(path)
            arrays.append(_float32(path, _read_plain(path, dataset, left)))
            left -= dataset.id.get_storage_size()
        weights[layer] = tuple(arrays)
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
    most_bytes = min(file_bytes, MAX_METADATA_BYTES)
    return bytes(_read_plain(METADATA_PATH, dataset, most_bytes)).decode()


def _read_plain(path: str, dataset: h5py.Dataset, most_bytes: int) -> np.ndarray:
    """Read a dataset that is stored contiguously, unfiltered, in the file itself."""
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
    return dataset[()]


def _float32(path: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.name not in FLOATS or not array.dtype.isnative:
        expected = f"expected weights in one of {', '.join(FLOATS)}"
        problem = f"{expected}, but {shown(path)} is {array.dtype}"
        raise ModelFileError(problem, "save the model with the float32 policy")
    # What is too large for float32 becomes infinite, and is refused as that.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, "<f4")
