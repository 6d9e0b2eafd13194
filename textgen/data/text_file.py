"""A text file as normalised pieces, so that a text of any size takes little memory.

It may be compressed. A byte-order mark is dropped, and CRLF and a lone CR become LF.
"""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from textgen.data.compression import STANDARD_INPUT, opened, shown_file
from textgen.errors import CorpusError, OptionError, shown, shown_path

PIECE_BYTES = 1 << 18  # decoded at once
BYTE_ORDER_MARK = "\ufeff"
UTF_8 = "utf-8"
CONVERT_IT = (
    "convert it, say with 'iconv -f {0} -t UTF-8 OLD > NEW', or, if it is a corpus, "
    "give its `encoding`, {0} say"
)
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
        raise unreadable(given, error) from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        problem = f"expected a text file, but {shown_path(given)} is {what}"
        raise CorpusError(problem, "give the path of a text file")
    path = Path(given)
    return path.absolute() if path == STANDARD_INPUT else path


def check_encoding(encoding: str | None) -> None:
    """Raise `OptionError` unless Python knows how to decode this; None means UTF-8."""
    if encoding is None:
        return
    try:
        codecs.getincrementaldecoder(encoding)
        b" ".decode(encoding)
    except UnicodeError:  # no whole character
        pass
    except (LookupError, TypeError, ValueError):
        raise OptionError(
            "`encoding` must be one that Python knows, such as utf-16 or windows-1252, "
            f"but was {shown(encoding)}"
        ) from None


def text_pieces(path: Path, encoding: str | None = None) -> Iterator[str]:
    """Yield the normalised text of a file in pieces, none of them empty.

    The `CorpusError` for what isn't text in the encoding, None for UTF-8, gives the
    offset in bytes where that shows.
    """
    encoding = codecs.lookup(encoding or UTF_8).name.removesuffix("-sig")
    decoder = codecs.getincrementaldecoder(encoding)()
    text = io.IncrementalNewlineDecoder(decoder, translate=True)
    bytes_read, is_first = 0, True
    try:
        with opened(path) as file:
            if encoding == UTF_8:
                _check_mark(path, file.peek())
            while True:
                data = file.read(PIECE_BYTES)
                bytes_read += len(data)
                piece = text.decode(data, final=not data)
                if piece and is_first:
                    piece, is_first = piece.removeprefix(BYTE_ORDER_MARK), False
                if "\0" in piece:
                    raise _binary(path, encoding)
                if piece:
                    yield piece
                if not data:
                    return
    except UnicodeDecodeError as error:
        offset = bytes_read - len(error.object) + error.start
        raise _undecodable(path, encoding, error, offset) from None
    except UnicodeError as error:  # of some codecs without a place
        raise _no_text(path, encoding, f"isn't ({error})", "") from None
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: str | os.PathLike[str], error: OSError) -> CorpusError:
    """Return what to raise for a file that the system doesn't let us read."""
    return CorpusError(
        f"expected a readable text file, but {shown_file(path)} can't be read "
        f"({error.strerror or error})",
        "check its permissions, or give another path",
    )


def _check_mark(path: Path, beginning: bytes) -> None:
    for mark, encoding in WIDE_MARKS.items():
        if beginning.startswith(mark):
            fault = f"begins with the mark of {encoding}"
            raise _no_text(path, UTF_8, fault, CONVERT_IT.format(encoding))


def _no_text(path: Path, encoding: str, fault: str, advice: str) -> CorpusError:
    problem = f"expected {encoding.upper()} text, but {shown_file(path)} {fault}"
    return CorpusError(problem, advice or "give its own `encoding`")


def _binary(path: Path, encoding: str) -> CorpusError:
    return _no_text(path, encoding, "is binary (it has a zero byte)", "give a text")


def _undecodable(
    path: Path, encoding: str, error: UnicodeDecodeError, offset: int
) -> CorpusError:
    """Return what to raise for bytes that aren't text, from ``offset`` on."""
    if encoding == UTF_8 and b"\0" in error.object:
        return _binary(path, encoding)
    where = f"0x{error.object[error.start]:02x} at offset {offset}"
    if encoding != UTF_8:
        fault = f"has the byte {where}, which is none ({error.reason})"
        return _no_text(path, encoding, fault, "")
    advice = CONVERT_IT.format("WINDOWS-1252")
    if error.reason == "unexpected end of data":
        fault = f"ends after the byte {where}, within a symbol"
        advice = f"give the whole file or, if it is not UTF-8, {advice}"
    else:
        fault = f"has the byte {where}, which begins no UTF-8 symbol"
    return _no_text(path, encoding, fault, advice)
