"""Text files: pieces, normalising, and where exactly a file is no UTF-8 text."""

import codecs
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.data import text_file
from textgen.data.text_file import text_pieces
from textgen.errors import CorpusError


def failure(path) -> str:
    with pytest.raises(CorpusError) as caught:
        list(text_pieces(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_read_that_fails(written, monkeypatch):
    class Broken(io.BytesIO):
        def peek(self):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(text_file, "open", lambda *_: Broken(), raising=False)
    assert "Input/output error" in failure(written(b"abc"))


@given(st.text(st.sampled_from("aé😀\r\n\ufeff"), min_size=2), st.integers(1, 9))
def test_reading_in_pieces_changes_nothing(tmp_path_factory, text, piece_chars):
    path = tmp_path_factory.getbasetemp() / "pieces.txt"
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "PIECE_CHARS", piece_chars)
        pieces = list(text_pieces(path))
    assert "".join(pieces) == expected
    assert all(0 < len(piece) <= piece_chars for piece in pieces)


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
