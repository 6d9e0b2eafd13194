"""The 512 bytes before our model files: what they are, and their SHA-256.

    512 bytes   "textgen model file, format 2", SHA-256 of everything after this block
    the rest    HDF5

To HDF5 this is a user block, so Keras and every HDF5 tool open the file as it is. The
hash covers the bytes, not only the arrays: any flipped bit is noticed. It is no seal:
anybody can write one, so a file with the right hash is trusted no more than another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textgen.errors import ModelFileError

if TYPE_CHECKING:  # the process that reads starts before anything slow is imported
    import numpy as np


# What a model file holds, read but not yet believed.
# How messages about such a file end.
ADVICE = "give a file written by train.py, or a Keras model saved as .h5"


@dataclass(frozen=True)
class Contents:
    """Plain text and arrays out of a model file.

    Attributes:
        config: Keras' description of the model, JSON.
        keras_version: of the program that wrote it, such as ``2.0.6``; None in the
            oldest files.
        weights: each layer's arrays, float32, in the order that Keras gave them.
        metadata: textgen's own JSON; None if there is none.
        hashed: the SHA-256 before the HDF5 part is there, and right.
    """

    config: str
    keras_version: str | None
    weights: Mapping[str, tuple[np.ndarray, ...]]
    metadata: str | None
    hashed: bool = False


FORMAT_VERSION = 2
BLOCK_BYTES = 512

_MAGIC = b"textgen model file, format "
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def user_block(hdf5: bytes, version: int = FORMAT_VERSION) -> bytes:
    """Return the block that goes before these bytes, as that version wrote it."""
    text = (
        f"{_MAGIC.decode()}{version}\n"
        f"SHA-256 of all that follows these {BLOCK_BYTES} bytes: "
        f"{hashlib.sha256(hdf5).hexdigest()}\n"
    )
    return text.encode().ljust(BLOCK_BYTES, b"\0")


def checked_hdf5(data: bytes) -> memoryview:
    """Return the HDF5 part, having compared its hash; all of a file with no block.

    Args:
        data: the whole file.

    Raises:
        ModelFileError: if it is empty, no HDF5, of a newer format, damaged, or has a
            block that isn't ours.
    """
    damaged = "copy the file again, or train anew"
    if not data:
        raise ModelFileError(f"expected a model, but the file is empty: {damaged}")
    view = memoryview(data)
    if data.startswith(_HDF5_SIGNATURE):
        return view
    version = re.match(re.escape(_MAGIC) + rb"(\d{1,9})\n", data)
    if version and int(version[1]) > FORMAT_VERSION:
        raise ModelFileError(
            f"expected a model file of format {FORMAT_VERSION}, but received format "
            f"{int(version[1])}: use the newer version of textgen that wrote it"
        )
    hdf5 = view[BLOCK_BYTES:]
    if not version and hdf5[: len(_HDF5_SIGNATURE)] != _HDF5_SIGNATURE:
        raise ModelFileError(
            f"expected a model file (HDF5), but received {len(data):,} bytes of "
            f"something else: {ADVICE}"
        )
    if not version:
        raise ModelFileError(
            "expected HDF5 from the first byte on, or after a block with its SHA-256, "
            f"but received {BLOCK_BYTES} bytes of something else before it: {ADVICE}, "
            "without a user block"
        )
    if data[:BLOCK_BYTES] != user_block(hdf5, int(version[1])):
        raise ModelFileError(
            "expected content that agrees with the file's SHA-256, but it is damaged "
            f"or cut short: {damaged}"
        )
    return hdf5
