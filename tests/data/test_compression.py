"""Compressed files: told by their bytes, damaged ones in a line, zstd's library."""

import bz2
import gzip
import io
import lzma
import sys
from pathlib import Path

import pytest

from textgen.data import compression
from textgen.data.text_file import text_pieces
from textgen.errors import CorpusError

try:
    from compression import zstd  # Python's own from 3.14 on
except ImportError:
    from backports import zstd

TEXT = "Now is the hour; the sea, the hill.\n" * 9000
FORMS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
}


def read(path) -> str:
    return "".join(text_pieces(Path(path)))


def failure(path) -> str:
    with pytest.raises(CorpusError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["some.txt.gz", "some.txt", "some"])
def test_a_compressed_file_is_read_whatever_it_is_called(written, form, name):
    assert read(written(FORMS[form](TEXT.encode()), name)) == TEXT
    assert read(written(FORMS[form](b""), name)) == ""


@pytest.mark.parametrize("form", FORMS)
def test_several_streams_in_a_file_are_read_one_after_another(written, form):
    both = FORMS[form](b"one ") + FORMS[form](b"two")
    assert read(written(both)) == "one two"


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_file_is_told(written, form):
    data = FORMS[form](bytes(range(65, 91)) * 3 + TEXT.encode())
    middle = len(data) // 2
    for broken in (data[:-9], data[:middle], data[:12] + b"?????" + data[17:]):
        message = failure(written(broken))
        assert f"a whole {form} file, but" in message
        assert "some.txt" in message


def test_text_that_begins_like_a_compressed_file_is_text(written):
    for text in ("BZh is a mark", "BZh9 and more", "(µ/ý is one, too"):
        assert read(written(text)) == text


def test_a_byte_order_mark_inside_of_a_compressed_file(written):
    assert read(written(gzip.compress(b"\xef\xbb\xbfabc"))) == "abc"
    wide = failure(written(gzip.compress("\ufeffabc".encode("utf-16-le"))))
    assert "mark of UTF-16" in wide


def test_zstd_without_its_library_is_told_with_what_to_install(written, monkeypatch):
    missing = compression.FORMS["zstd"]._replace(modules=("no.such", "neither.this"))
    monkeypatch.setitem(compression.FORMS, "zstd", missing)
    message = failure(written(FORMS["zstd"](b"abc")))
    assert "pip install 'textgen-lstm[zstd]'" in message


@pytest.mark.parametrize("form", [None, *FORMS])
def test_standard_input(form, monkeypatch):
    data = TEXT.encode() if form is None else FORMS[form](TEXT.encode())
    for stream in (io.BytesIO(data), io.BufferedReader(io.BytesIO(data))):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        assert read("-") == TEXT


def test_faults_of_standard_input_are_named(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9 au lait")))
    assert "but standard input has the byte 0xe9 at offset 3" in failure("-")
    monkeypatch.setattr(sys, "stdin", None)
    assert "closed" in failure("-")
