"""The trained model as one .h5 file, written atomically and read without trust.

    512 bytes   a block with the SHA-256 of everything after it
    (`textgen.saving.container`)
    the rest    what Keras writes for the model, and a dataset ``textgen/metadata``

The metadata are UTF-8 JSON: the symbols in id order, the corpus, the whole
configuration and the record of the training.

Reading doesn't import Keras: it leaves the file to h5py in a process of its own
(`textgen.saving.sandbox`).
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from textgen.errors import ModelFileError, OutputError, shown_path
from textgen.saving.container import ADVICE, BLOCK_BYTES, Contents, user_block
from textgen.saving.keras_layers import MAX_WEIGHT
from textgen.saving.sandbox import Reader
from textgen.saving.trained_model import (
    TrainedModel,
    check_trainable,
    model_of_contents,
)
from textgen.system.files import write_atomically

MAX_FILE_BYTES = 1 << 30


# Writing


def save_model(
    keras_model: Any,
    metadata: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    previous: str | os.PathLike[str] | None = None,
) -> None:
    """Write a trained model, so that ``path`` is the earlier file or the whole new one.

    Args:
        keras_model: a `keras.Model` of `textgen.modeling.model`, of float32 policy.
        metadata: plain JSON values with at least ``symbols``, ``corpus`` and
            ``config``; see the README of ``models/``.
        path: the file; its folder exists.
        previous: under this name the earlier file is kept, if given.

    Raises:
        OutputError: if the weights aren't finite, the file would be larger than
            `load_model` takes, or it can't be written.
        ModelFileError: if `load_model` would not take the result.
    """
    for weights in keras_model.get_weights():
        # False for NaN too, which max() hands on.
        if weights.size and not np.abs(weights).max() <= MAX_WEIGHT:
            raise OutputError(
                f"expected finite weights below {MAX_WEIGHT:g}, but received others; "
                "nothing was saved: train anew with a lower --learning-rate"
            )
    # Not for reading, which h5py does in a process of its own.
    from textgen.saving.hdf5 import read_contents

    path = Path(path)
    hdf5 = _hdf5_bytes(keras_model, metadata)
    file_bytes = BLOCK_BYTES + len(hdf5)
    if file_bytes > MAX_FILE_BYTES:
        raise OutputError(
            f"expected a model file of at most {MAX_FILE_BYTES:,} bytes, but it would "
            f"have {file_bytes:,}; nothing was saved: train a smaller network"
        )
    model_of_contents(replace(read_contents(hdf5), hashed=True), path)
    write_atomically(user_block(hdf5) + hdf5, path, previous=previous)


def _hdf5_bytes(keras_model: Any, metadata: Mapping[str, Any]) -> bytes:
    """Return what Keras saves, with the metadata beside it."""
    import h5py

    # A private function, but what the model's own save() comes to for a path that ends
    # in .h5; save() takes no open file, and a path would need room on a disk.
    from keras.src.legacy.saving.legacy_h5_format import save_model_to_hdf5

    from textgen.saving.hdf5 import METADATA_PATH

    # ASCII: the name of a corpus may hold bytes that are not UTF-8.
    text = json.dumps(metadata, allow_nan=False).encode("ascii")
    with h5py.File.in_memory() as hdf5:
        save_model_to_hdf5(keras_model, hdf5, include_optimizer=False)
        fixed_length = h5py.string_dtype("utf-8", len(text))
        hdf5.create_dataset(METADATA_PATH, data=text, dtype=fixed_length)
        hdf5.flush()
        return hdf5.id.get_file_image()


# Reading


def load_model(
    path: str | os.PathLike[str],
    vocabulary_from: str | os.PathLike[str] | None = None,
    *,
    reader: Reader | None = None,
) -> TrainedModel:
    """Open a model file: one of ours, or what any Keras saved as .h5.

    The HDF5 library reads it in a process of its own, with limits of time and memory,
    and nothing in the file is executed or trusted with a size.

    Args:
        path: the .h5 file.
        vocabulary_from: for a model of another program, the text that it was trained
            on; its sorted symbols are the vocabulary, in lower case if only that fits.
        reader: a process that was started earlier, which is closed then; None means a
            new one.

    Raises:
        ModelFileError: if it is missing, damaged, of a newer format, or holds
            anything that isn't known here; one line that begins with the file.
        CorpusError: if ``vocabulary_from`` can't be read.
    """
    path = Path(path)
    with _named(path):
        return model_of_contents(_read(path, reader), path, vocabulary_from)


def load_trainable(path: str | os.PathLike[str]) -> TrainedModel:
    """Open a model file of ours that a training can go on from.

    Raises:
        ModelFileError: as `load_model`, and for a network that we don't train.
    """
    path = Path(path)
    with _named(path):
        contents = _read(path)
        if contents.metadata is None:
            raise ModelFileError(
                "expected a model of train.py to go on from, but this one was written "
                "by another program: train a new one"
            )
        model = model_of_contents(contents, path)
        check_trainable(model)
        return model


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let errors begin with the file."""
    try:
        yield
    except ModelFileError as error:
        raise ModelFileError(f"{shown_path(path)}: {error}") from error


def _read(path: Path, reader: Reader | None = None) -> Contents:
    with reader or Reader() as reader:
        _check_file(path)
        return reader.read(path)


def _check_file(path: Path) -> None:
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
        path.open("rb").close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelFileError(
            f"expected a model file, but it can't be read ({reason}): {ADVICE}"
        ) from error
