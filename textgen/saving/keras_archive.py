"""A ``.keras`` archive, as Keras 3 writes it → its contents, with nothing trusted.

    metadata.json         who wrote it
    config.json           the description of the model
    model.weights.h5      the arrays, in a folder for each layer (`textgen.saving.hdf5`)
    textgen.json          our own metadata, in an archive that textgen wrote

That is all that the zip file may hold, each once, stored as it is or deflated. Keras
names a layer's folder by its kind, ``simple_rnn``, and numbers those of one kind from
the second on, ``simple_rnn_1``, whatever the layers themselves are called.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections import Counter
from typing import BinaryIO

from textgen.errors import shown
from textgen.saving.container import PIECE_BYTES, Contents, Part, ended, refusal
from textgen.saving.hdf5 import (
    MAX_CONFIG_BYTES,
    MAX_METADATA_BYTES,
    Weights,
    read_layers,
)

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
# Keras stores the weights as they are; only so may they be as large as a file may be.
_MOST_BYTES = {METADATA: 10_000, CONFIG: MAX_CONFIG_BYTES, WEIGHTS: 1 << 27}
OWN_METADATA = "textgen.json"
_MOST_BYTES_OF_ALL = _MOST_BYTES | {OWN_METADATA: MAX_METADATA_BYTES}
MAX_RATIO = 100  # of what an entry holds to what it takes
# Of the zip format.
_END, _END_64, _ENCRYPTED = b"PK\x05\x06", b"PK\x06\x07", 1
_END_BYTES, _END_64_BYTES, _LOCAL_BYTES = 22, 20, 30
_MAX_DIRECTORY_BYTES = 10_000


def read_archive(file: BinaryIO) -> Contents:
    """Read a whole archive; damage may also be any error that h5py has."""
    try:
        return _read(file)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise refusal("a .keras archive", "a damaged one") from error


def _read(file: BinaryIO) -> Contents:
    size = _checked_size(file)
    with zipfile.ZipFile(file) as archive:
        entries = _entries(archive, size)
        config = archive.read(CONFIG).decode()
        version = json.loads(archive.read(METADATA))["keras_version"]
        if not isinstance(version, str):
            raise refusal("the version of a Keras", shown(version))
        weights = read_layers(_weights_part(file, archive, entries[WEIGHTS]))
        own = archive.read(OWN_METADATA).decode() if OWN_METADATA in entries else None
    weights = _of_layers(config, weights)
    return Contents(config, version, weights, own, hashed=own is not None)


def _checked_size(file: BinaryIO) -> int:
    """Return a file's size, unless its directory is larger than that of any model."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END_64_BYTES - _END_BYTES))
    before, end = file.read(_END_64_BYTES), file.read(_END_BYTES)
    directory_bytes = int.from_bytes(end[12:16], "little")
    is_long = before.startswith(_END_64) or directory_bytes > _MAX_DIRECTORY_BYTES
    if not end.startswith(_END) or is_long:
        expected = "a zip file of a few entries that ends with their directory"
        raise refusal(expected, "one cut short, or of another form")
    return size


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by name, if they are those of a model and fill the archive."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name, is_stored = entry.filename, entry.compress_type == zipfile.ZIP_STORED
        if name not in _MOST_BYTES_OF_ALL or name in entries:
            expected = f"{', '.join(_MOST_BYTES_OF_ALL)} in the archive, once each"
            raise refusal(expected, shown(name))
        if entry.flag_bits & _ENCRYPTED or not (
            is_stored or entry.compress_type == zipfile.ZIP_DEFLATED
        ):
            raise refusal(f"{name} stored or deflated", "another form")
        most = size if is_stored and name == WEIGHTS else _MOST_BYTES_OF_ALL[name]
        if entry.file_size > min(most, MAX_RATIO * entry.compress_size):
            expected = f"{name} of at most {most:,} bytes, {MAX_RATIO} times what it"
            raise refusal(f"{expected} takes", f"{entry.file_size:,}")
        entries[name] = entry
    if missing := _MOST_BYTES.keys() - entries.keys():
        raise refusal("a Keras model in the archive", f"one without {min(missing)}")
    packed = sum(entry.compress_size for entry in entries.values())
    if packed > size or size - packed > _MAX_DIRECTORY_BYTES:
        raise refusal("nothing between the entries of the archive", f"{size:,} bytes")
    return entries


def _weights_part(
    file: BinaryIO, archive: zipfile.ZipFile, entry: zipfile.ZipInfo
) -> Part:
    """Return the weights as a file, if their checksum is right."""
    if entry.compress_type == zipfile.ZIP_DEFLATED:
        data = archive.read(entry)
        part = Part(io.BytesIO(data), 0, len(data))
    else:
        with archive.open(entry) as member:
            while member.read(PIECE_BYTES):  # the end of which compares the checksum
                pass
        file.seek(entry.header_offset)
        header = file.read(_LOCAL_BYTES)
        name_bytes, extra_bytes = struct.unpack("<HH", header[-4:])
        start = entry.header_offset + _LOCAL_BYTES + name_bytes + extra_bytes
        part = Part(file, start, entry.file_size)
    return ended(part)


def _of_layers(config: str, weights: Weights) -> Weights:
    """Return the arrays by the names of their layers in place of their folders."""
    named, counts = {}, Counter[str]()
    left = dict(weights)
    for item in json.loads(config)["config"]["layers"]:
        kind = _snake_case(item["class_name"])
        number = counts[kind]
        counts[kind] += 1
        arrays = left.pop(f"{kind}_{number}" if number else kind, ())
        named[str(item["config"]["name"])] = arrays
    if left:
        raise refusal("arrays of the model's own layers only", shown(min(left)))
    return named


def _snake_case(kind: str) -> str:
    """Return ``simple_rnn`` for ``SimpleRNN``, as Keras does."""
    parts = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", parts).lower()
