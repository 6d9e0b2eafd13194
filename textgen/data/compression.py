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
from typing import Any, NamedTuple

from textgen.errors import CorpusError, shown_path


class Form(NamedTuple):
    """A form of compression, and Python's module for it, imported when it is needed."""

    magic: re.Pattern[bytes]  # what such a file begins with
    modules: tuple[str, ...]  # the first of these that there is has the function `open`
    error: str = "error"  # of the module, for what is damaged; some have none


SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
FORMS = {
    "gzip": Form(re.compile(rb"\x1f\x8b"), ("gzip",)),
    "bzip2": Form(re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), ("bz2",)),
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
        name = next((x for x in FORMS if FORMS[x].magic.match(beginning)), None)
        if name is None:
            yield file
            return
        module = _module_of(name, path)
        own_error = getattr(module, FORMS[name].error, OSError)
        try:
            yield io.BufferedReader(module.open(file), BUFFER_BYTES)
        except (EOFError, OSError, zlib.error, own_error) as error:
            raise CorpusError(
                f"expected a whole {name} file, but {shown_file(path)} is damaged or "
                f"cut short ({error})",
                "copy or make it anew",
            ) from error


def _module_of(form: str, path: Path) -> Any:
    """Import what decompresses a form, or say how to get it."""
    for name in FORMS[form].modules:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    problem = f"{shown_file(path)} is compressed by {form}, which this Python"
    advice = INSTALL_ZSTD if form == "zstd" else "decompress it before"
    raise CorpusError(f"{problem} can't read", advice)


def _standard_input() -> io.BufferedReader:
    if sys.stdin is None:
        problem = "expected a text on standard input, but it is closed"
        raise CorpusError(problem, "give a file, or send a text to it")
    buffer: Any = sys.stdin.buffer
    return buffer if hasattr(buffer, "peek") else io.BufferedReader(buffer)
