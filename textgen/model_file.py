"""The trained model as one .h5 file, written atomically and read without trust.

    512 bytes   "textgen model file, format 1", SHA-256 of everything after this block
    the rest    what Keras writes for the model, and a dataset ``textgen/metadata``

The block is an HDF5 user block, so Keras and every HDF5 tool open the file as it is.
The hash covers the bytes, not only the arrays: any flipped bit is noticed. The
metadata are UTF-8 JSON: the symbols in id order, the corpus, the whole configuration
and the record of the training.

Neither writing nor reading imports Keras: writing calls the model's own ``save``, and
reading (`textgen.hdf5_contents`) goes through h5py alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import stat
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from textgen.atomic_file import output_error, write_atomically
from textgen.config import Config, WindowConfig
from textgen.corpus import KINDS
from textgen.errors import ModelFileError, OptionError, OutputError, VocabularyError
from textgen.hdf5_contents import ADVICE, METADATA_PATH, read_contents
from textgen.keras_file import MAX_WEIGHT, build_network
from textgen.stepper import Network, Stepper, WindowStepper, make_stepper
from textgen.vocabulary import END_SYMBOL, Vocabulary

FORMAT_VERSION = 1
BLOCK_BYTES = 512
MAX_FILE_BYTES = 4 << 30
MAX_STAGGERED_UNITS = 1 << 24  # T times all layers' units: buffers of half a GiB

_MAGIC = b"textgen model file, format "
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class TrainedModel:
    """A trained network with all that is needed to use it.

    Attributes:
        network: the weights.
        vocabulary: the symbols of its ids.
        kind: ``lines`` or ``stream``, what it was trained on.
        config: everything that determined its training.
        metadata: the file's JSON, as read.
        path: the file.
    """

    network: Network
    vocabulary: Vocabulary
    kind: str
    config: Config
    metadata: Mapping[str, Any]
    path: Path

    @property
    def windows(self) -> WindowConfig:
        """How the training windows were cut."""
        return self.config.windows

    @property
    def end_id(self) -> int | None:
        """Id of the end symbol, a newline; None if the vocabulary lacks it."""
        if END_SYMBOL not in self.vocabulary:
            return None
        return self.vocabulary.symbols.index(END_SYMBOL)

    def stepper(self, streams: int = 1) -> Stepper | WindowStepper:
        """Return the stepper that shows the network what it was trained on."""
        return make_stepper(self.network, self.windows, streams)


# Writing


def save_model(
    keras_model: Any, metadata: Mapping[str, Any], path: str | os.PathLike[str]
) -> None:
    """Write a trained model, so that ``path`` is the earlier file or the whole new one.

    Args:
        keras_model: a `keras.Model` of `textgen.model`, of float32 policy.
        metadata: plain JSON values with at least ``symbols``, ``corpus`` and
            ``config``; see the README of ``models/``.
        path: the file; its folder exists.

    Raises:
        OutputError: if the weights aren't finite, or the file can't be written.
        ModelFileError: if `load_model` would not take the result.
    """
    for weights in keras_model.get_weights():
        # False for NaN too, which max() hands on.
        if weights.size and not np.abs(weights).max() <= MAX_WEIGHT:
            raise OutputError(
                f"expected finite weights below {MAX_WEIGHT:g}, but received others; "
                "nothing was saved: train anew with a lower --learning-rate"
            )
    path = Path(path)
    try:
        hdf5 = _hdf5_bytes(keras_model, metadata)
    except OSError as error:
        raise output_error(path, error) from error
    data = _block(hdf5) + hdf5
    _trained_model(data, path)
    write_atomically(data, path)


def _hdf5_bytes(keras_model: Any, metadata: Mapping[str, Any]) -> bytes:
    """Return what Keras saves, with the metadata beside it."""
    text = json.dumps(metadata, allow_nan=False).encode()
    with tempfile.TemporaryDirectory(prefix="textgen-") as folder:
        file = Path(folder, "model.h5")
        with _without_legacy_warning():
            keras_model.save(str(file), include_optimizer=False)
        with h5py.File(file, "a") as hdf5:
            fixed_length = h5py.string_dtype("utf-8", len(text))
            hdf5.create_dataset(METADATA_PATH, data=text, dtype=fixed_length)
        return file.read_bytes()


@contextlib.contextmanager
def _without_legacy_warning() -> Iterator[None]:
    """Silence Keras' advice against HDF5, which is what we want; nothing else."""
    logger = logging.getLogger("absl")

    def other(record: logging.LogRecord) -> bool:
        return "HDF5 file" not in record.getMessage()

    logger.addFilter(other)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*HDF5 file")
            yield
    finally:
        logger.removeFilter(other)


def _block(hdf5: bytes) -> bytes:
    """Return the user block that goes before these bytes."""
    text = (
        f"{_MAGIC.decode()}{FORMAT_VERSION}\n"
        f"SHA-256 of all that follows these {BLOCK_BYTES} bytes: "
        f"{hashlib.sha256(hdf5).hexdigest()}\n"
    )
    return text.encode().ljust(BLOCK_BYTES, b"\0")


# Reading


def load_model(path: str | os.PathLike[str]) -> TrainedModel:
    """Read a model file that `save_model` wrote.

    Args:
        path: the .h5 file.

    Raises:
        ModelFileError: if it is missing, damaged, of a newer format, or not such a
            file; one line that begins with the file.
    """
    path = Path(path)
    try:
        return _trained_model(_read_bytes(path), path)
    except ModelFileError as error:
        raise ModelFileError(f"{str(path)!r}: {error}") from error


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(
                f"expected a file, but it is a folder or device: {ADVICE}"
            )
        if status.st_size > MAX_FILE_BYTES:
            raise ModelFileError(
                f"expected at most {MAX_FILE_BYTES:,} bytes, "
                f"but received {status.st_size:,}: {ADVICE}"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelFileError(
            f"expected a model file, but {reason}: {ADVICE}, or train one"
        ) from error


def _trained_model(data: bytes, path: Path) -> TrainedModel:
    hdf5 = _checked_hdf5(data)
    contents = read_contents(hdf5)
    network = build_network(contents)
    if contents.metadata is None:
        raise ModelFileError(
            "expected a model with its vocabulary, but this one was written by another "
            f"program and has none: {ADVICE}"
        )
    if len(hdf5) == len(data):
        raise ModelFileError(
            f"expected the file's SHA-256 in a block before it, found none: {ADVICE}"
        )
    return _with_metadata(network, contents.metadata, path)


def _checked_hdf5(data: bytes) -> bytes:
    """Return the HDF5 part, having compared its hash; all of a file with no block."""
    damaged = "copy the file again, or train anew"
    if not data:
        raise ModelFileError(f"expected a model, but the file is empty: {damaged}")
    if data.startswith(_HDF5_SIGNATURE):
        return data
    version = re.match(re.escape(_MAGIC) + rb"(\d{1,9})\n", data)
    if version and int(version[1]) > FORMAT_VERSION:
        raise ModelFileError(
            f"expected a model file of format {FORMAT_VERSION}, but received format "
            f"{int(version[1])}: use the newer version of textgen that wrote it"
        )
    hdf5 = data[BLOCK_BYTES:]
    if not version and not hdf5.startswith(_HDF5_SIGNATURE):
        raise ModelFileError(
            f"expected a model file (HDF5), but received {len(data):,} bytes of "
            f"something else: {ADVICE}"
        )
    if data[:BLOCK_BYTES] != _block(hdf5):
        raise ModelFileError(
            "expected content that agrees with the file's SHA-256, but it is damaged "
            f"or cut short: {damaged}"
        )
    return hdf5


def _with_metadata(network: Network, text: str, path: Path) -> TrainedModel:
    try:
        metadata = json.loads(text)
        if metadata["format"] != FORMAT_VERSION or metadata["level"] != "character":
            raise ValueError("another format or level")
        if not all(isinstance(symbol, str) for symbol in metadata["symbols"]):
            raise ValueError("symbols that are no text")
        vocabulary = Vocabulary(tuple(metadata["symbols"]))
        kind = metadata["corpus"]["kind"]
        config = Config.from_dict(metadata["config"])
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        OptionError,
        VocabularyError,
    ) as error:
        raise ModelFileError(
            f"expected textgen's metadata of format {FORMAT_VERSION} "
            f"(symbols, corpus, config), but received others: {ADVICE}"
        ) from error
    units = sum(layer.units for layer in network.layers)
    sizes_agree = len(vocabulary) == network.vocabulary_size and kind in KINDS
    staggered = config.windows.window_chars if config.windows.targets == "last" else 1
    if not sizes_agree or staggered * units > MAX_STAGGERED_UNITS:
        raise ModelFileError(
            f"expected metadata that fit the network of {network.vocabulary_size:,} "
            f"symbols, but received {len(vocabulary):,} symbols, kind "
            f"{str(kind)[:40]!r}, window {config.windows.window_chars:,}: {ADVICE}"
        )
    return TrainedModel(network, vocabulary, kind, config, metadata, path)
