"""The bytes of a Keras HDF5 file → plain text and arrays, with nothing trusted.

Sizes are checked against what is really stored before anything is read, and nothing
from the file is ever executed. `read_contents` is the only function that lets the
HDF5 library loose on the bytes; what it returns is plain text and arrays, so it can
run in a process of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import h5py
import numpy as np

from textgen.errors import ModelFileError

MAX_CONFIG_BYTES = 1 << 20
MAX_OBJECTS = 10_000
METADATA_PATH = "textgen/metadata"
ADVICE = "give a file written by train.py"


@dataclass(frozen=True)
class Contents:
    """What a file holds, read but not yet believed.

    Attributes:
        config: Keras' description of the model, JSON.
        arrays: the weights, float32, by their path below ``model_weights``.
        metadata: textgen's own JSON; None if there is none.
    """

    config: str
    arrays: Mapping[str, np.ndarray]
    metadata: str | None


def read_contents(data: bytes) -> Contents:
    """Read the model's description, arrays and metadata from an HDF5 file's bytes.

    Raises:
        ModelFileError: if it isn't HDF5, holds no model, or an array isn't plain
            float32 of exactly its declared size.
    """
    try:
        with h5py.File(h5py.h5f.open_file_image(data)) as file:
            return Contents(
                _read_config(file),
                _read_arrays(file, len(data)),
                _read_metadata(file),
            )
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ModelFileError(
            f"expected an HDF5 model file, but its structure is damaged: {ADVICE}"
        ) from error


def _read_config(file: h5py.File) -> str:
    if "model_config" not in file.attrs:
        raise ModelFileError(
            f"expected a Keras model, but the HDF5 file holds none: {ADVICE}"
        )
    attribute = file.attrs.get_id("model_config")
    is_text = attribute.dtype.kind == "S" or h5py.check_string_dtype(attribute.dtype)
    if attribute.shape != () or not is_text:
        raise ModelFileError(
            f"expected the model's description as one text, but it isn't: {ADVICE}"
        )
    if attribute.get_storage_size() > MAX_CONFIG_BYTES:
        raise ModelFileError(
            f"expected a model's description of at most {MAX_CONFIG_BYTES:,} bytes, "
            f"but received {attribute.get_storage_size():,}: {ADVICE}"
        )
    config = file.attrs["model_config"]
    return config.decode() if isinstance(config, bytes) else str(config)


def _read_arrays(file: h5py.File, file_bytes: int) -> dict[str, np.ndarray]:
    """Read every dataset below ``model_weights`` that a hard link leads to."""
    weights = file.get("model_weights", getlink=True)
    if not isinstance(weights, h5py.HardLink):
        raise ModelFileError(
            f"expected a group 'model_weights', but there is none: {ADVICE}"
        )
    datasets: dict[str, h5py.Dataset] = {}
    objects = 0

    def collect(path: str, item: h5py.Group | h5py.Dataset) -> bool | None:
        nonlocal objects
        objects += 1
        if isinstance(item, h5py.Dataset):
            datasets[path] = item
        return True if objects > MAX_OBJECTS else None  # True ends the visit

    file["model_weights"].visititems(collect)
    if objects > MAX_OBJECTS:
        raise ModelFileError(
            f"expected at most {MAX_OBJECTS:,} objects in a model, "
            f"but there are more: {ADVICE}"
        )
    left = file_bytes
    arrays = {}
    for path, dataset in datasets.items():
        if dataset.dtype != np.float32:
            raise ModelFileError(
                f"expected weights in float32, but {path!r} is {dataset.dtype}: "
                "save the model with the float32 policy"
            )
        arrays[path] = _read_plain(path, dataset, left)
        left -= arrays[path].nbytes
    return arrays


def _read_metadata(file: h5py.File) -> str | None:
    parts = METADATA_PATH.split("/")
    for depth in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:depth]), getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise ModelFileError(
                f"expected {METADATA_PATH!r} in the file itself, but it is a link to "
                f"elsewhere: {ADVICE}"
            )
    dataset = file[METADATA_PATH]
    if dataset.shape != () or dataset.dtype.kind != "S":
        raise ModelFileError(
            f"expected {METADATA_PATH!r} to be one text of fixed length, but it isn't: "
            f"{ADVICE}"
        )
    return bytes(_read_plain(METADATA_PATH, dataset, file.id.get_filesize())).decode()


def _read_plain(path: str, dataset: h5py.Dataset, most_bytes: int) -> np.ndarray:
    """Read a dataset that is stored contiguously, unfiltered, in the file itself."""
    layout = dataset.id.get_create_plist()
    stored = dataset.id.get_storage_size()
    declared = dataset.size * dataset.dtype.itemsize
    if (
        layout.get_layout() != h5py.h5d.CONTIGUOUS
        or layout.get_external_count()
        or layout.get_nfilters()
    ):
        raise ModelFileError(
            f"expected arrays in one plain piece, but {path!r} is stored otherwise: "
            f"{ADVICE}"
        )
    if stored != declared or declared > most_bytes or dataset.id.get_offset() is None:
        raise ModelFileError(
            f"expected {declared:,} bytes for {path!r} as its shape says, "
            f"but the file does not hold them: {ADVICE}"
        )
    return dataset[()]
