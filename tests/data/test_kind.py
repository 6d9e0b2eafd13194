"""Lines or a text: files of many kinds, and each sign alone."""

import random
from pathlib import Path

import pytest

from textgen.data.kind import kind_of_lines, kind_of_rows
from textgen.data.sources import named_corpora

KINDS = Path(__file__).parent / "kinds"
ROOT = Path(__file__).parents[2]
PROSE = (
    "The road went down through the wood, and nobody had walked on it since the rain "
    "came. At the bridge there was a house; its door stood open, and a dog lay before "
    "it. We asked for water, but the woman who lived there had gone to the village. "
)


def guess(text: str, *, is_whole: bool = True) -> str:
    return kind_of_lines(text, is_whole=is_whole)[0]


@pytest.mark.parametrize("path", sorted(KINDS.glob("*/*.txt")), ids=lambda x: x.stem)
def test_files_of_many_kinds(path):
    kind, reason = kind_of_lines(path.read_text("utf-8"), is_whole=True)
    assert kind == path.parent.name
    assert reason.startswith("guessed: ")
    assert f"`kind` {'text' if kind == 'lines' else 'lines'} " in reason


def test_there_are_twenty_of_them_and_the_document_lists_each():
    listed = (ROOT / "docs" / "texts.md").read_text("utf-8")
    files = sorted(KINDS.glob("*/*.txt"))
    assert len(files) >= 20
    for file in files:
        assert f"`{file.parent.name}/{file.name}`" in listed


@pytest.mark.parametrize(
    ("name", "kind"), [("sonnets", "text"), ("dinos", "lines"), ("shakespeare", "text")]
)
def test_named_corpora(name, kind):
    text = named_corpora()[name].read_text("utf-8")
    assert guess(text) == kind
    assert guess(text[:20_000], is_whole=False) == kind


def wrapped(width: int, sep: str = "\n") -> str:
    """Prose of a single paragraph without a comma at the end of any line."""
    words = PROSE.replace(",", "").replace(";", "").split() * 20
    lines, line = [], ""
    for word in words:
        if len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return sep.join([*lines, line])


def sentences(count: int, spread: float = 0.4, middle: float = 4.5) -> list[str]:
    """Lines that stand alone; the logarithms of their lengths have this spread."""
    rng = random.Random(1)
    lengths = [round(rng.lognormvariate(middle, spread)) for _ in range(count)]
    return [(PROSE * 30)[: max(3, length)].strip(" ,;") for length in lengths]


@pytest.mark.parametrize(
    ("lines", "kind", "reason"),
    [(sentences(19), "text", "fewer than 20 lines"), (sentences(20), "lines", "alone"),
     (sentences(300, 0.8), "lines", "alone"),
     (sentences(300, 1.3), "text", "very different lengths"),
     (sentences(300, 0.3, 6.5), "lines", "alone"),
     (sentences(300, 0.3, 7.2), "text", "characters"),
     ([*sentences(200), "", *sentences(100)], "lines", "alone"),
     ([*sentences(90), *[""] * 4, *sentences(90)], "text", "empty lines"),
     ("\n\n".join(sentences(50)).split("\n"), "lines", "alone"),
     ("\n\n".join(["a line\nand another"] * 20).split("\n"), "text", "empty lines"),
     (wrapped(60).split("\n"), "text", "wrapped"),
     (wrapped(60).split("\n")[:2] * 30, "text", "wrapped"),
     (["a list, of sorts,"] * 3 + sentences(40), "lines", "alone"),
     (["a list, of sorts,"] * 5 + sentences(40), "text", "amid a sentence"),
     (["x = {"] * 6 + sentences(40), "text", "amid a sentence"),
     (["“Yes?” " + x for x in sentences(10)] + sentences(40), "text", "speech"),
     (["“Yes?” " + x for x in sentences(40)], "lines", "alone"),
     (["    " + x for x in sentences(40, 0.3, 5.5)], "text", "indented"),
     (["  12 blue", " 112 red"] * 20, "lines", "alone"),
     ([f"{n:064x}" for n in range(40)], "lines", "alone"),
     ([f"/usr/lib/python/some/where/file{n:03}.py" for n in range(40)], "lines", "al")],
)  # fmt: skip
def test_each_sign_of_a_text_alone(lines, kind, reason):
    found, why = kind_of_lines("\n".join(lines), is_whole=True)
    assert (found, reason in why) == (kind, True), why


def test_a_line_cut_where_the_beginning_ends_is_not_judged():
    text = "\n".join([*sentences(40), "x" * 90_000])
    assert guess(text, is_whole=False) == "lines"
    assert guess(text, is_whole=True) == "text"
    assert guess("x" * 90_000, is_whole=False) == "text"


@pytest.mark.parametrize("text", ["", "\n", "\n\n\n", " \n" * 50, "a", "\t\n \n" * 30])
def test_hardly_any_text(text):
    assert guess(text) == "text"


@pytest.mark.parametrize(
    ("rows", "kind"),
    [(["short", "and shorter"], "lines"), (sentences(30, 0.3, 6.5), "lines"),
     (sentences(30, 0.3, 7.5), "text"), (["x"], "lines"), ([], "lines")],
)  # fmt: skip
def test_rows_are_examples_unless_they_are_texts_of_their_own(rows, kind):
    found, why = kind_of_rows(rows)
    assert found == kind
    assert "rows" in why
