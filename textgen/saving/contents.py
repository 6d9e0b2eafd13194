"""A model file of either form → its contents: text and arrays, still to be checked."""

from __future__ import annotations

from typing import BinaryIO

from textgen.saving.container import ANOTHER_FORM, Contents, checked_hdf5, refusal
from textgen.saving.hdf5 import read_model
from textgen.saving.other_formats import HEAD_BYTES, ZIP_SIGNATURE, other_format

# What h5py and zipfile raise for a damaged file, besides what they share with JSON.
_DAMAGED = (OSError, EOFError, RuntimeError, OverflowError)


def read_contents(file: BinaryIO) -> Contents:
    """Read the description, arrays and metadata out of an ``.h5`` or ``.keras`` file.

    What is neither, damaged, no model or not stored plainly is a `ModelFileError`.
    """
    try:
        head = file.read(HEAD_BYTES)
        if error := other_format(head):
            raise error
        if head.startswith(ZIP_SIGNATURE):
            # Here, since most files need no zipfile, and somebody waits for them.
            from textgen.saving.keras_archive import read_archive

            return read_archive(file)
        hdf5 = checked_hdf5(file)
        config, version, weights, metadata = read_model(hdf5)
        hashed = hdf5.size < file.seek(0, 2)
        return Contents(config, version, weights, metadata, hashed)
    except (*_DAMAGED, *ANOTHER_FORM) as error:
        raise refusal("a model file (HDF5 or .keras)", "a damaged structure") from error
