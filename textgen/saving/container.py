"""What stands before the HDF5 part of our model files, and what a file contains.

    512 bytes   "textgen model file, format 2", SHA-256 of everything after this block
    the rest    HDF5

To HDF5 this is a user block, so Keras and every HDF5 tool open the file as it is. The
hash covers the bytes, not only the arrays: any flipped bit is noticed. It is no seal:
anybody can write one, so a file with the right hash is trusted no more than another.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from textgen.errors import ModelFileError

if TYPE_CHECKING:  # the process that reads starts before NumPy is imported
    import numpy as np

FORMAT_VERSION = 2
BLOCK_BYTES = 512
# What Python raises where JSON, or an answer made of it, has another form.
ANOTHER_FORM = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
ADVICE = "give a file written by train.py, or a Keras model saved as .keras or .h5"
SAVE_WHOLE = "save it whole by model.save('model.keras')"
_DAMAGED = "copy the file again, or train anew"
_MAGIC = b"textgen model file, format "
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
PIECE_BYTES = 1 << 20
# Of all arrays together, as float32. The process that reads holds them once, its parent
# once and then once more to use them: both together are to take less than 1 GB.
MAX_FLOATS = 60_000_000


@dataclass(frozen=True, eq=False)
class Contents:
    """Plain text and arrays out of a model file, which are still to be checked."""

    config: str  # Keras' description of the model, JSON
    keras_version: str  # such as ``2.0.6``
    weights: Mapping[str, tuple[np.ndarray, ...]]  # each layer's, float32, in its order
    metadata: str | None  # textgen's own JSON
    hashed: bool  # whether a checksum, SHA-256 or of the zip, is there, and right


def refusal(expected: str, received: str) -> ModelFileError:
    """Return the error for a file that isn't the model that was expected."""
    return ModelFileError(f"expected {expected}, but received {received}", ADVICE)


def other_model(what: str, advice: str) -> ModelFileError:
    """Return the error for another program's model, with how to make one of Keras."""
    problem = f"expected a whole Keras model (.keras or .h5), but received {what}"
    return ModelFileError(problem, f"{advice}, and {SAVE_WHOLE}")


class Part(io.RawIOBase):
    """A piece of a file, as a file that HDF5 reads: only what is asked for is read."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self.size = size
        self._file, self._start, self._at = file, start, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place, as files do."""
        before = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}
        self._at = before[whence] + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer; what lies beyond the piece is an `OSError`."""
        if self._at + len(buffer) > self.size:
            raise OSError("beyond the end")
        self._file.seek(self._start + self._at)
        if self._file.readinto(buffer) != len(buffer):  # type: ignore[attr-defined]
            raise OSError("beyond the end")
        self._at += len(buffer)
        return len(buffer)

    def pieces(self) -> Iterator[bytes]:
        """Yield the whole of it in small pieces."""
        self._file.seek(self._start)
        for start in range(0, self.size, PIECE_BYTES):
            yield self._file.read(min(PIECE_BYTES, self.size - start))


def user_block(hdf5: bytes, version: int = FORMAT_VERSION) -> bytes:
    """Return the block that goes before an HDF5 part, as that version wrote it."""
    return _block(hashlib.sha256(hdf5).hexdigest(), version)


def _block(sha256: str, version: int) -> bytes:
    text = (
        f"{_MAGIC.decode()}{version}\n"
        f"SHA-256 of all that follows these {BLOCK_BYTES} bytes: {sha256}\n"
    )
    return text.encode().ljust(BLOCK_BYTES, b"\0")


def checked_hdf5(file: BinaryIO) -> Part:
    """Return a file's HDF5 part, whose hash is right if there is a block before it.

    It ends where HDF5 says: nothing may follow it.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(BLOCK_BYTES + len(_HDF5_SIGNATURE))
    if not head:
        raise ModelFileError("expected a model, but the file is empty", _DAMAGED)
    if head.startswith(_HDF5_SIGNATURE):
        return ended(Part(file, 0, size))
    block, begun = head[:BLOCK_BYTES], head[BLOCK_BYTES:]
    hdf5 = Part(file, BLOCK_BYTES, size - BLOCK_BYTES)
    if match := re.match(re.escape(_MAGIC) + rb"(\d{1,9})\n", head):
        version = int(match[1])
        if version > FORMAT_VERSION:
            expected = f"expected at most format {FORMAT_VERSION}"
            advice = "use the newer version of textgen that wrote it"
            raise ModelFileError(f"{expected}, but received format {version}", advice)
        sha256 = hashlib.sha256()
        for piece in hdf5.pieces():
            sha256.update(piece)
        if block != _block(sha256.hexdigest(), version):
            expected = "expected content that agrees with its SHA-256"
            problem = f"{expected}, but it is damaged or cut short"
            raise ModelFileError(problem, _DAMAGED)
        return ended(hdf5)
    if begun.startswith(_HDF5_SIGNATURE):
        expected = "HDF5 from the first byte on, or after a block with its SHA-256"
        raise refusal(expected, f"{BLOCK_BYTES} bytes of something else before it")
    raise refusal("a model file (HDF5)", f"{size:,} bytes of something else")


def ended(hdf5: Part) -> Part:
    """Return an HDF5 part if it ends where it says: at an address in its superblock.

    A file may claim any length without taking room on the disk. Nothing of ours reads
    because of that, and nobody writes such a file.
    """
    superblock = next(hdf5.pieces(), b"")[:56].ljust(56, b"\0")
    # By version: where the width of addresses is, and where the address of the end.
    places = {0: (13, 40), 1: (13, 44), 2: (9, 28), 3: (9, 28)}
    width_at, end_at = places.get(superblock[8], (0, 0))
    end = int.from_bytes(superblock[end_at : end_at + 8], "little")
    is_known = superblock.startswith(_HDF5_SIGNATURE) and superblock[width_at] == 8
    if not is_known or end > hdf5.size:
        raise refusal("an HDF5 model file", "a damaged structure, or one cut short")
    if end < hdf5.size:
        expected = f"a file that ends with its HDF5 part, {end:,} bytes"
        raise refusal(expected, f"{hdf5.size - end:,} more")
    return hdf5
