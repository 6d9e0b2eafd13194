"""The trained model as one file, written atomically and read without trust.

    512 bytes   the SHA-256 of everything after them (`textgen.saving.container`)
    the rest    what Keras writes for the model, and a dataset ``textgen/metadata``

Or it is a ``.keras`` archive, if it is called so (`textgen.saving.keras_archive`). The
metadata are JSON: the symbols in id order, the corpus, the whole configuration and
the record of the training. Reading doesn't import Keras, and leaves the file to h5py in
a process of its own (`textgen.saving.sandbox`).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textgen.errors import ModelFileError, OutputError, shown, shown_path
from textgen.saving.container import (
    ADVICE,
    Contents,
    other_model,
    refusal,
    user_block,
)
from textgen.saving.find_model import choose_model, is_model_name
from textgen.saving.keras_layers import MAX_WEIGHT
from textgen.saving.sandbox import Reader
from textgen.saving.trained_model import (
    TrainedModel,
    model_of_contents,
    trainable,
)
from textgen.system.files import write_atomically

if TYPE_CHECKING:
    import h5py

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
        keras_model: the `keras.Model`, with the float32 policy.
        metadata: plain JSON values ``format``, ``level``, ``symbols``, ``merges`` of
            byte pairs, ``corpus``, ``config`` and, if they are known, ``texts`` and
            ``training``; see the README of ``models/``.
        path: the file; its folder exists. It is HDF5, or a Keras archive if its name
            ends in ``.keras``.
        previous: under this name the earlier file is kept, if given.

    Raises:
        OutputError: if the file can't be written, or as `serialize`.
        ModelFileError: as `serialize`.
    """
    as_archive = Path(path).suffix == ".keras"
    data = serialize(keras_model, metadata, as_archive=as_archive)
    write_atomically(data, path, previous=previous)


def serialize(
    keras_model: Any, metadata: Mapping[str, Any], *, as_archive: bool = False
) -> bytes:
    """Return the model file's bytes, having read them back; arguments of `save_model`.

    A training calls this with its untrained network, too, to find out at once whether
    the model can be saved at the end. It raises `OutputError` for weights that aren't
    finite and for a file too large for `load_model`, and `ModelFileError` for anything
    else that `load_model` would not take.
    """
    for weights in keras_model.get_weights():
        # False for NaN too, which max() returns.
        if weights.size and not np.abs(weights).max() <= MAX_WEIGHT:
            expected = f"expected finite weights below {MAX_WEIGHT:g}"
            problem = f"{expected}, but received others; nothing was saved"
            raise OutputError(problem, "train anew with a lower `learning_rate`")
    # Not at the top, since opening a file leaves h5py to another process.
    from textgen.saving.contents import read_contents

    # ASCII: the name of a corpus may hold bytes that are not UTF-8.
    text = json.dumps(metadata, allow_nan=False).encode("ascii")
    data = (_archive_of if as_archive else _hdf5_of)(keras_model, text)
    if len(data) > MAX_FILE_BYTES:
        raise OutputError(
            f"expected a model file of at most {MAX_FILE_BYTES:,} bytes, but it would "
            f"have {len(data):,}; nothing was saved",
            "train a smaller network",
        )
    model_of_contents(read_contents(io.BytesIO(data)), None)
    return data


def _hdf5_of(keras_model: Any, metadata: bytes) -> bytes:
    import h5py

    from textgen.saving.hdf5 import METADATA_PATH

    with _saved_by_keras(keras_model) as file:
        fixed_length = h5py.string_dtype("utf-8", len(metadata))
        file.create_dataset(METADATA_PATH, data=metadata, dtype=fixed_length)
        file.flush()
        hdf5 = file.id.get_file_image()
    return user_block(hdf5) + hdf5


def _archive_of(keras_model: Any, metadata: bytes) -> bytes:
    import tempfile
    import zipfile

    from textgen.saving.keras_archive import OWN_METADATA

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        keras_model.save(path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(OWN_METADATA, metadata)
        return path.read_bytes()


def _saved_by_keras(keras_model: Any) -> h5py.File:
    """Return an open file in memory that holds what Keras saves."""
    import h5py

    try:
        # Not public, but what the model's own save() calls for a path that ends in
        # .h5; save() takes no open file, and a path needs room on a disk.
        from keras.src.legacy.saving.legacy_h5_format import save_model_to_hdf5

        file = h5py.File.in_memory()
        save_model_to_hdf5(keras_model, file, include_optimizer=False)
        return file
    except (ImportError, AttributeError, TypeError):  # a Keras that has changed it
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.h5")
            keras_model.save(path, include_optimizer=False)
            return h5py.File.in_memory(path.read_bytes())


# Reading


def load_model(
    model: str | os.PathLike[str],
    vocabulary_from: str | os.PathLike[str] | None = None,
    *,
    reader: Reader | None = None,
) -> TrainedModel:
    """Open a trained model: one of ours, or what any Keras saved as .h5.

    Nothing in the file is executed, and none of its sizes is trusted.

    Args:
        model: path of the .h5 file, or a name such as ``sonnets``; see
            `load_model_for`.
        vocabulary_from: for a model of another program, the text that it was trained
            on, whose sorted symbols are the vocabulary; or a ``.json`` file of them.
            Of the text as it is, in lower case, with a byte-order mark and with
            newlines as spaces, it is what has as many symbols as the model.
        reader: a process that was started earlier, which is used up; None means a
            new one.

    Raises:
        ModelFileError: if it is missing, damaged, of a newer format, or holds
            anything that isn't known here; one line that begins with the file.
        CorpusError: if ``vocabulary_from`` can't be read.
    """
    if isinstance(model, str) and is_model_name(model):
        return load_model_for(model, vocabulary_from, reader=reader)
    if not isinstance(model, str | os.PathLike) or isinstance(os.fspath(model), bytes):
        raise refusal("the path or name of a model", shown(model))
    path = Path(model)
    with named(path):
        return model_of_contents(read_file(path, reader), path, vocabulary_from)


def load_model_for(
    corpus: str,
    vocabulary_from: str | os.PathLike[str] | None = None,
    *,
    reader: Reader | None = None,
) -> TrainedModel:
    """Open the model for a corpus: the user's own, else the pretrained one.

    An unfinished model is used only if there is no other; a warning says so. The corpus
    is a name or a path, see `find_models`; the rest is as for `load_model`.
    """
    return load_model(choose_model(corpus), vocabulary_from, reader=reader)


def load_trainable(
    path: str | os.PathLike[str],
    vocabulary_from: str | os.PathLike[str] | None = None,
) -> TrainedModel:
    """Open a model that a training can go on from: plain layers of one kind and size.

    One of another program has the vocabulary that `load_model` finds.
    """
    is_name = isinstance(path, str) and is_model_name(path)
    path = choose_model(str(path), "init_from") if is_name else Path(path)
    with named(path):
        return trainable(model_of_contents(read_file(path), path, vocabulary_from))


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Let a `ModelFileError` begin with the file."""
    try:
        yield
    except ModelFileError as error:
        problem = f"{shown_path(path)}: {error.problem}"
        raise ModelFileError(problem, error.advice) from error.__cause__


def read_file(path: Path, reader: Reader | None = None) -> Contents:
    """Read what a file contains, which is still to be checked; see `load_model`."""
    with reader or Reader() as reader:  # first, since it takes a while to get ready
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode) and (path / "saved_model.pb").exists():
                advice = "load it by keras.models.load_model of the Keras that wrote it"
                raise other_model("a SavedModel folder", advice)
            if not stat.S_ISREG(status.st_mode):
                raise refusal("a file", "a folder or device")
            if (size := status.st_size) > MAX_FILE_BYTES:
                raise refusal(f"at most {MAX_FILE_BYTES:,} bytes", f"{size:,}")
            path.open("rb").close()
            # The process that reads has another standard input.
            path = Path(os.path.realpath(path))
            if path.parts[1:2] == ("proc",) or path.parts[1:3] == ("dev", "fd"):
                raise refusal("a file", "a device")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            problem = f"expected a model file, but it can't be read ({reason})"
            raise ModelFileError(problem, ADVICE) from None
        return reader.read(path)
