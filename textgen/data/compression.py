"""Opening a file of bytes that may be compressed, or standard input.

How it is compressed is told by the bytes that it begins with, not by its name.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from textgen.errors import CorpusError, shown_path


class Form(NamedTuple):
    """A form of compression, and Python's module for it, imported when it is needed."""

    magic: re.Pattern[bytes]  # what such a file begins with
    modules: tuple[str, ...]  # the first of these that there is has the function `open`
    error: str  # of the module, for what is damaged; besides those of all of them

    def open(self, compressed: BinaryIO) -> tuple[Any, type[Exception]]:
        """Return a stream of what was compressed, and the error that it may raise."""
        for name in self.modules:
            with contextlib.suppress(ImportError):
                module = importlib.import_module(name)
                error = getattr(module, self.error, OSError)
                return module.open(compressed), error
        raise ImportError(self.modules[-1])


SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
FORMS = {
    "gzip": Form(re.compile(rb"\x1f\x8b"), ("gzip",), ""),
    "bzip2": Form(re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), ("bz2",), ""),
    "xz": Form(re.compile(rb"\xfd7zXZ\x00"), ("lzma",), "LZMAError"),
    "zstd": Form(
        re.compile(rb"\x28\xb5\x2f\xfd"),
        ("compression.zstd", "backports.zstd"),  # Python's own is there from 3.14 on
        "ZstdError",
    ),
}
LONGEST_MAGIC_BYTES = 10
BUFFER_BYTES = 1 << 18
STANDARD_INPUT = Path("-")  # a file of that name is ``./-``
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
        for name, form in FORMS.items():
            if form.magic.match(beginning):
                raw = _Decompressed(file, path, name)
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
        try:
            self._stream, error = FORMS[form].open(compressed)
        except ImportError:
            problem = f"{shown_file(path)} is compressed by {form}, which this Python"
            advice = INSTALL_ZSTD if form == "zstd" else "decompress it before"
            raise CorpusError(f"{problem} can't read", advice) from None
        self._errors = (EOFError, OSError, zlib.error, error)

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
