"""Text files: pieces, normalising, and where exactly a file is no UTF-8 text."""

import codecs
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.data import compression, text_file
from textgen.data.text_file import check_encoding, text_pieces
from textgen.errors import CorpusError, OptionError


def failure(path) -> str:
    with pytest.raises(CorpusError) as caught:
        list(text_pieces(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_read_that_fails(written, monkeypatch):
    class Broken(io.BytesIO):
        def peek(self, size):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(compression, "open", lambda *_, **__: Broken(), raising=False)
    assert "Input/output error" in failure(written(b"abc"))


@given(st.text(st.sampled_from("aé😀\r\n\ufeff"), min_size=2), st.integers(1, 9))
def test_reading_in_pieces_changes_nothing(tmp_path_factory, text, piece_bytes):
    path = tmp_path_factory.getbasetemp() / "pieces.txt"
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "PIECE_BYTES", piece_bytes)
        pieces = list(text_pieces(path))
    assert "".join(pieces) == expected
    assert all(pieces)
    assert len(pieces) == 1 or max(map(len, pieces)) < piece_bytes + 4


@pytest.mark.parametrize("content", [b"some text\0more", b"\x89PNG\0\xff", b"\0" * 9])
def test_binary(written, content):
    assert "zero byte" in failure(written(content))
    assert "zero byte" in failure(written(b"x" * 20_000 + content))


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", "é€😀".encode() * 70_000])
@pytest.mark.parametrize(
    ("content", "byte", "offset"),
    [(b"caf\xe9 au lait", "0xe9", 3), ("é😀é😀".encode() + b"\xff", "0xff", 12),
     ("ééé\r\n".encode() + b"\x80", "0x80", 8), ("ab😀".encode()[:-1], "0xf0", 2),
     ("abcd€".encode()[:-1] + b"x", "0xe2", 4),
     (b"abcd" + codecs.BOM_UTF16_LE + b"e", "0xff", 4)],
)  # fmt: skip
def test_offset_of_what_is_not_utf8(written, before, content, byte, offset):
    message = failure(written(before + content))
    assert f"byte {byte} at offset {len(before) + offset}," in message


def test_a_file_cut_within_a_symbol_is_told_from_another_encoding(written):
    assert "whole file" in failure(written("née é".encode()[:-1]))
    assert "whole file" not in failure(written(b"n\xe9e \xe9"))


@pytest.mark.parametrize("width", [16, 32])
@pytest.mark.parametrize("order", ["LE", "BE"])
def test_wide_encodings_are_recognised(written, width, order):
    encoding = f"UTF-{width}-{order}"
    text = "\ufeffsome".encode(encoding)
    assert f"iconv -f {encoding[:6]} " in failure(written(text))
    assert f"`encoding`, {encoding[:6]} say" in failure(written(text))


# Other encodings


TEXT = "naïve café\r\nÜber Ærøskøbing\r\n"


@pytest.mark.parametrize(
    "encoding", ["latin-1", "WINDOWS-1252", "utf-16", "utf-16-le", "utf-32", "utf-8"]
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("piece_bytes", [1, 3, 100])
def test_an_encoding_that_is_given(written, encoding, mark, piece_bytes, monkeypatch):
    monkeypatch.setattr(text_file, "PIECE_BYTES", piece_bytes)
    mark = mark if encoding.lower().startswith("utf") else ""
    path = written((mark + TEXT).encode(encoding))
    assert "".join(text_pieces(path, encoding)) == TEXT.replace("\r\n", "\n")


@pytest.mark.parametrize("encoding", ["latin-one", "", "rot13", "base64", 5, "a\0b"])
def test_an_encoding_that_does_not_exist(encoding):
    with pytest.raises(OptionError, match="`encoding` must be one that Python knows"):
        check_encoding(encoding)


@pytest.mark.parametrize(
    ("content", "encoding", "expected"),
    [(b"abc\xe9", "ascii", "0xe9 at offset 3"), (b"a\x81b", "cp1252", "offset 1"),
     ("a\ufeffb".encode("utf-16-le") + b"x", "utf-16-le", "at offset 6"),
     ("a\0b".encode("utf-16"), "utf-16", "zero byte")],
)  # fmt: skip
def test_what_is_not_of_the_encoding_given(written, content, encoding, expected):
    with pytest.raises(CorpusError) as caught:
        list(text_pieces(written(content), encoding))
    assert expected in str(caught.value)
    assert "`encoding`" in str(caught.value) or "zero" in expected
