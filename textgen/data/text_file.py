"""A text file as normalised pieces: O(piece) memory, and a clear word on what's wrong.

A byte-order mark is dropped, and CRLF and a lone CR become LF.
"""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from textgen.errors import CorpusError, shown_path

CHUNK_BYTES = 1 << 18
WIDE_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}  # the longer first: the mark of UTF-32-LE begins with that of UTF-16-LE


def existing_file(given: str | os.PathLike[str]) -> Path | None:
    """Return the path of a regular file, or None when there is nothing.

    Raises:
        CorpusError: when there is something else, such as a folder.
    """
    try:
        mode = os.stat(given).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise _unreadable(given, error) from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise CorpusError(
            f"expected a text file, but {shown_path(given)} is {what}: "
            "give the path of a UTF-8 text file"
        )
    return Path(given)


def text_pieces(path: Path) -> Iterator[str]:
    """Yield the normalised text of a UTF-8 file in pieces, none of them empty.

    Raises:
        CorpusError: when the file can't be read, is binary or isn't UTF-8, with the
            offset in bytes at which that shows.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    at_start = True
    offset = 0  # of the chunk in the file
    for chunk in _chunks(path):
        _check_looks_like_text(path, chunk, offset)
        text = _decoded(decoder, chunk, offset, path)
        if at_start and text:
            text = text.removeprefix("\ufeff")
            at_start = False
        if piece := newlines.decode(text):
            yield piece
        offset += len(chunk)
    _decoded(decoder, b"", offset, path, final=True)
    if piece := newlines.decode("", final=True):
        yield piece


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str | os.PathLike[str], error: OSError) -> CorpusError:
    return CorpusError(
        f"expected a readable text file, but {shown_path(path)} can't be read "
        f"({error.strerror or error}): check its permissions, or give another path"
    )


def _check_looks_like_text(path: Path, chunk: bytes, offset: int) -> None:
    for mark, encoding in WIDE_MARKS.items():
        if offset == 0 and chunk.startswith(mark):
            raise CorpusError(
                f"expected UTF-8 text, but {str(path)!r} begins with the mark of "
                f"{encoding}: convert it, say with "
                f"'iconv -f {encoding} -t UTF-8 OLD > NEW'"
            )
    if (zero := chunk.find(b"\0")) >= 0:
        raise CorpusError(
            f"expected UTF-8 text, but {str(path)!r} is binary (a zero byte at "
            f"offset {offset + zero}): give a text file"
        )


def _decoded(
    decoder: codecs.IncrementalDecoder,
    chunk: bytes,
    offset: int,
    path: Path,
    final: bool = False,
) -> str:
    """Decode a chunk that begins at ``offset``; say where in the file it fails."""
    unfinished, _ = decoder.getstate()  # bytes of a symbol cut by the chunk's border
    try:
        return decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        where = f"0x{byte:02x} at offset {offset - len(unfinished) + error.start}"
        fault, remedy = f"has the byte {where}, which begins no UTF-8 symbol", ""
        if error.reason == "unexpected end of data":
            fault = f"ends after the byte {where}, within a symbol"
            remedy = "give the whole file or, if it is not UTF-8, "
        raise CorpusError(
            f"expected UTF-8 text, but {str(path)!r} {fault}: {remedy}convert it, say "
            "with 'iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW'"
        ) from None
