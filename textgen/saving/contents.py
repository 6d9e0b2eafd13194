"""A model file of either form → its contents: text and arrays, still to be checked.

Files that hold a model and can't be read here are told by name, with what to do.
"""

from __future__ import annotations

from typing import BinaryIO

from textgen.saving.container import (
    ANOTHER_FORM,
    Contents,
    checked_hdf5,
    other_model,
    refusal,
)
from textgen.saving.hdf5 import read_model

HEAD_BYTES = 4096
_ZIP = b"PK\x03\x04"
_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
# The number that PyTorch began its pickles with, before it wrote zip files.
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_TORCH_ENTRIES = (b"data.pkl", b"/.format_version", b"/byteorder", b"/version")
# What h5py and zipfile raise for a damaged file, besides what they share with JSON.
_DAMAGED = (OSError, EOFError, RuntimeError, OverflowError)


def read_contents(file: BinaryIO) -> Contents:
    """Read the description, arrays and metadata out of an ``.h5`` or ``.keras`` file.

    What is neither, damaged, no model or not stored plainly is a `ModelFileError`.
    """
    try:
        head = file.read(HEAD_BYTES)
        _check_form(head)
        if head.startswith(_ZIP):
            # Here, since most files need no zipfile, and somebody waits for them.
            from textgen.saving.keras_archive import read_archive

            return read_archive(file)
        hdf5 = checked_hdf5(file)
        config, version, weights, metadata = read_model(hdf5)
        hashed = hdf5.size < file.seek(0, 2)
        return Contents(config, version, weights, metadata, hashed)
    except (*_DAMAGED, *ANOTHER_FORM) as error:
        raise refusal("a model file (HDF5 or .keras)", "a damaged structure") from error


def _check_form(head: bytes) -> None:
    """Raise the error for a file that begins so, if it is known to be no model."""
    name_bytes = int.from_bytes(head[26:28], "little")
    first_entry = head[30 : 30 + name_bytes] if head.startswith(_ZIP) else b""
    if head.startswith(_OLD_TORCH) or first_entry.endswith(_TORCH_ENTRIES):
        advice = "copy its weights into a Keras model of the same layers"
        raise other_model("a file of PyTorch", advice)
    if head.startswith(_PICKLES):
        what = "a Python pickle, which can run any program when it is opened"
        advice = "where you trust it, load it with the program that wrote it"
        raise other_model(what, advice)
    if head.startswith(b"\x93NUMPY") or first_entry.endswith(b".npy"):
        raise other_model("arrays of NumPy", "set a Keras model's weights")
