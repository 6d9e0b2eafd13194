"""What stands before the HDF5 part of our model files, and what a file contains.

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

if TYPE_CHECKING:  # the process that reads starts before NumPy is imported
    import numpy as np

FORMAT_VERSION = 2
BLOCK_BYTES = 512
# What Python raises where JSON, or an answer made of it, has another form.
ANOTHER_FORM = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
ADVICE = "give a file written by train.py, or a Keras model saved as .h5"
_DAMAGED = "copy the file again, or train anew"
_MAGIC = b"textgen model file, format "
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, eq=False)
class Contents:
    """Plain text and arrays out of a model file, which are still to be checked."""

    config: str  # Keras' description of the model, JSON
    keras_version: str | None  # such as ``2.0.6``; the oldest files have none
    weights: Mapping[str, tuple[np.ndarray, ...]]  # each layer's, float32, in its order
    metadata: str | None  # textgen's own JSON
    hashed: bool  # whether the SHA-256 before the HDF5 part is there, and right


def refusal(expected: str, received: str) -> ModelFileError:
    """Return the error for a file that isn't the model that was expected."""
    return ModelFileError(f"expected {expected}, but received {received}", ADVICE)


def user_block(hdf5: bytes | memoryview, version: int = FORMAT_VERSION) -> bytes:
    """Return the block that goes before an HDF5 part, as that version wrote it."""
    text = (
        f"{_MAGIC.decode()}{version}\n"
        f"SHA-256 of all that follows these {BLOCK_BYTES} bytes: "
        f"{hashlib.sha256(hdf5).hexdigest()}\n"
    )
    return text.encode().ljust(BLOCK_BYTES, b"\0")


def checked_hdf5(data: bytes) -> memoryview:
    """Return a file's HDF5 part, whose hash is right if there is a block before it."""
    if not data:
        raise ModelFileError("expected a model, but the file is empty", _DAMAGED)
    view = memoryview(data)
    if data.startswith(_HDF5_SIGNATURE):
        return view
    hdf5 = view[BLOCK_BYTES:]
    if match := re.match(re.escape(_MAGIC) + rb"(\d{1,9})\n", data):
        version = int(match[1])
        if version > FORMAT_VERSION:
            expected = f"expected at most format {FORMAT_VERSION}"
            advice = "use the newer version of textgen that wrote it"
            raise ModelFileError(f"{expected}, but received format {version}", advice)
        if data[:BLOCK_BYTES] != user_block(hdf5, version):
            expected = "expected content that agrees with its SHA-256"
            problem = f"{expected}, but it is damaged or cut short"
            raise ModelFileError(problem, _DAMAGED)
        return hdf5
    if hdf5[: len(_HDF5_SIGNATURE)] == _HDF5_SIGNATURE:
        expected = "HDF5 from the first byte on, or after a block with its SHA-256"
        raise refusal(expected, f"{BLOCK_BYTES} bytes of something else before it")
    raise refusal("a model file (HDF5)", f"{len(data):,} bytes of something else")
