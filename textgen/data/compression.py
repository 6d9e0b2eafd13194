"""Opening a file of bytes that may be compressed, or standard input.

How it is compressed is told by the bytes that it begins with, not by its name.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import importlib
import io
import lzma
import os
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from textgen.errors import CorpusError, shown_path

SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
MAGIC = {
    "gzip": re.compile(rb"\x1f\x8b"),
    "bzip2": re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
}
LONGEST_MAGIC_BYTES = 10
BUFFER_BYTES = 1 << 18
STANDARD_INPUT = Path("-")  # a file of that name is ``./-``
ZSTD_MODULES = ("compression.zstd", "backports.zstd")  # Python's own from 3.14 on
INSTALL_ZSTD = "install it with: pip install 'textgen-lstm[zstd]'"


def shown_file(path: str | os.PathLike[str]) -> str:
    """Return how a message names a file, or standard input."""
    return "standard input" if path == STANDARD_INPUT else shown_path(path)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file, or standard input for ``-``, to read what it holds decompressed.

    `CorpusError` for a compressed file that is damaged or needs a library.
    """
    with contextlib.ExitStack() as stack:
        file: Any
        if path == STANDARD_INPUT:
            file = _standard_input()
        else:
            file = stack.enter_context(open(path, "rb", buffering=BUFFER_BYTES))
        beginning = file.peek(LONGEST_MAGIC_BYTES)
        for form, magic in MAGIC.items():
            if magic.match(beginning):
                raw = _Decompressed(file, path, form)
                file = stack.enter_context(io.BufferedReader(raw, BUFFER_BYTES))
        yield file


def _standard_input() -> io.BufferedReader:
    if sys.stdin is None:
        problem = "expected a text on standard input, but it is closed"
        raise CorpusError(problem, "give a file, or send a text to it")
    buffer: Any = sys.stdin.buffer
    return buffer if hasattr(buffer, "peek") else io.BufferedReader(buffer)


class _Decompressed(io.RawIOBase):
    """The bytes that a compressed stream holds; whatever it lacks is one line."""

    def __init__(self, compressed: BinaryIO, path: Path, form: str) -> None:
        self._path, self._form = path, form
        self._errors: tuple[type[Exception], ...] = (EOFError, OSError)
        self._stream: Any
        if form == "gzip":
            self._stream = gzip.GzipFile(fileobj=compressed)
            self._errors += (zlib.error,)
        elif form == "bzip2":
            self._stream = bz2.BZ2File(compressed)
        elif form == "xz":
            self._stream = lzma.LZMAFile(compressed)  # noqa: SIM115
            self._errors += (lzma.LZMAError,)
        else:
            zstd = _zstd(path)
            self._stream = zstd.ZstdFile(compressed)
            self._errors += (zstd.ZstdError,)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return self._stream.readinto(buffer)
        except self._errors as error:
            raise CorpusError(
                f"expected a whole {self._form} file, but {shown_file(self._path)} is "
                f"damaged or cut short ({error})",
                "copy or make it anew",
            ) from error


def _zstd(path: Path) -> ModuleType:
    for name in ZSTD_MODULES:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise CorpusError(
        f"{shown_file(path)} is compressed by zstd, which this Python can't read",
        INSTALL_ZSTD,
    )
