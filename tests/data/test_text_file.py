"""Text files: pieces, normalising, and where exactly a file is no UTF-8 text."""

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.data import text_file
from textgen.data.text_file import text_pieces
from textgen.errors import CorpusError


@pytest.fixture
def written(tmp_path):
    def write(content: bytes) -> Path:
        path = tmp_path / "some.txt"
        path.write_bytes(content)
        return path

    return write


def failure(path) -> str:
    with pytest.raises(CorpusError) as caught:
        list(text_pieces(path))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("expected ")
    return message


def test_existing_file(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    assert text_file.existing_file(tmp_path / "a.txt") == tmp_path / "a.txt"
    assert text_file.existing_file(str(tmp_path / "b.txt")) is None
    with pytest.raises(CorpusError, match="a folder"):
        text_file.existing_file(tmp_path)


def test_a_read_that_fails(written, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(text_file, "open", fail, raising=False)
    assert "Input/output error" in failure(written(b"abc"))


@given(st.text(st.sampled_from("aé😀\r\n"), min_size=2), st.integers(4, 9))
def test_reading_in_pieces_changes_nothing(tmp_path_factory, text, chunk_bytes):
    path = tmp_path_factory.getbasetemp() / "pieces.txt"
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "CHUNK_BYTES", chunk_bytes)
        assert "".join(text_file.text_pieces(path)) == expected


def test_only_a_mark_at_the_beginning_is_dropped(written, monkeypatch):
    monkeypatch.setattr(text_file, "CHUNK_BYTES", 4)
    path = written("\ufeff\ufeffabc\n\ufeffdef".encode())
    assert "".join(text_pieces(path)) == "\ufeffabc\n\ufeffdef"
    path = written("abcd\ufeffe".encode())
    assert list(text_pieces(path)) == ["abcd", "\ufeffe"]


@pytest.mark.parametrize("chunk_bytes", [4, 5])
def test_a_wide_mark_within_a_text_is_what_it_is(written, chunk_bytes, monkeypatch):
    monkeypatch.setattr(text_file, "CHUNK_BYTES", chunk_bytes)
    message = failure(written(b"abcd" + codecs.BOM_UTF16_LE + b"e"))
    assert "byte 0xff at offset 4," in message


@pytest.mark.parametrize("chunk_bytes", [4, 7, 1 << 18])
def test_binary(written, chunk_bytes, monkeypatch):
    monkeypatch.setattr(text_file, "CHUNK_BYTES", chunk_bytes)
    message = failure(written(b"some text\0more"))
    assert "binary" in message
    assert "offset 9)" in message


@pytest.mark.parametrize("chunk_bytes", [4, 5, 6, 7, 1 << 18])
@pytest.mark.parametrize(
    ("content", "byte", "offset"),
    [
        (b"caf\xe9 au lait", "0xe9", 3),
        (b"\xef\xbb\xbfcaf\xe9 au lait", "0xe9", 6),
        ("é😀é😀".encode() + b"\xff", "0xff", 12),
        ("ééé\r\n".encode() + b"\x80", "0x80", 8),
        ("ab😀".encode()[:-1], "0xf0", 2),
        ("abcd€".encode()[:-1] + b"x", "0xe2", 4),
    ],
)
def test_offset_of_what_is_not_utf8(
    written, content, byte, offset, chunk_bytes, monkeypatch
):
    monkeypatch.setattr(text_file, "CHUNK_BYTES", chunk_bytes)
    message = failure(written(content))
    assert f"byte {byte} at offset {offset}," in message


def test_a_file_cut_within_a_symbol_is_told_from_another_encoding(written):
    cut, other = (failure(written(x)) for x in ("née é".encode()[:-1], b"n\xe9e \xe9"))
    assert "ends after the byte 0xc3 at offset 5, within a symbol: give the" in cut
    assert "byte 0xe9 at offset 1, which begins no UTF-8 symbol: convert it" in other


def test_offset_far_into_a_file(written):
    text = "é" * 300_000
    message = failure(written(b"x" + text.encode() + b"\xc3\x28"))
    assert "byte 0xc3 at offset 600001," in message


@pytest.mark.parametrize("encoding", ["UTF-16", "UTF-32"])
def test_wide_encodings_are_recognised(written, encoding):
    assert f"iconv -f {encoding}" in failure(written("some text".encode(encoding)))
    big = {"UTF-16": codecs.BOM_UTF16_BE, "UTF-32": codecs.BOM_UTF32_BE}[encoding]
    text = big + "some".encode(f"{encoding}-BE")
    assert f"iconv -f {encoding}" in failure(written(text))
