"""A text file as normalised pieces, so that a text of any size takes little memory.

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

PIECE_CHARS = 1 << 18
CONVERT_IT = "convert it, say with 'iconv -f {} -t UTF-8 OLD > NEW'"
WIDE_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}  # the longer first: the mark of UTF-32-LE begins with that of UTF-16-LE


def existing_file(given: str | os.PathLike[str]) -> Path | None:
    """Return a file's path, None if there is nothing; a folder is a `CorpusError`."""
    try:
        mode = os.stat(given).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise _unreadable(given, error) from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        problem = f"expected a text file, but {shown_path(given)} is {what}"
        raise CorpusError(problem, "give the path of a UTF-8 text file")
    return Path(given)


def text_pieces(path: Path) -> Iterator[str]:
    """Yield the normalised text of a UTF-8 file in pieces, none of them empty.

    The `CorpusError` for what isn't UTF-8 gives the offset in bytes where that shows.
    """
    try:
        with open(path, "rb") as file:
            beginning = file.peek()
            for mark, encoding in WIDE_MARKS.items():
                if beginning.startswith(mark):
                    advice = CONVERT_IT.format(encoding)
                    raise _no_utf8(path, f"begins with the mark of {encoding}", advice)
            text = io.TextIOWrapper(file, encoding="utf-8-sig")
            try:
                while piece := text.read(PIECE_CHARS):
                    if "\0" in piece:
                        raise _binary(path)
                    yield piece
            except UnicodeDecodeError as error:
                offset = file.tell() - len(error.object) + error.start
                raise _undecodable(path, error, offset) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str | os.PathLike[str], error: OSError) -> CorpusError:
    return CorpusError(
        f"expected a readable text file, but {shown_path(path)} can't be read "
        f"({error.strerror or error})",
        "check its permissions, or give another path",
    )


def _no_utf8(path: Path, fault: str, advice: str) -> CorpusError:
    return CorpusError(f"expected UTF-8 text, but {str(path)!r} {fault}", advice)


def _binary(path: Path) -> CorpusError:
    return _no_utf8(path, "is binary (it has a zero byte)", "give a text file")


def _undecodable(path: Path, error: UnicodeDecodeError, offset: int) -> CorpusError:
    """Return what to raise for bytes that aren't UTF-8, from ``offset`` on."""
    if b"\0" in error.object:
        return _binary(path)
    where = f"0x{error.object[error.start]:02x} at offset {offset}"
    advice = CONVERT_IT.format("WINDOWS-1252")
    if error.reason == "unexpected end of data":
        fault = f"ends after the byte {where}, within a symbol"
        advice = f"give the whole file or, if it is not UTF-8, {advice}"
    else:
        fault = f"has the byte {where}, which begins no UTF-8 symbol"
    return _no_utf8(path, fault, advice)
