"""`evaluate` shows a text itself: in colours on a terminal, and as pages."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from model_files import write_own_file

import textgen
from textgen.cli import looking
from textgen.evaluation.nats import describe

SYMBOLS = "\n abcdef"
TEXT = "a bed\nfaced a cab\n" * 12
PAGE_DATA = r'(?s)<script type="application/json" id="data">(.*?)</script>'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """Return the current folder, with models and texts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm-256color")
    Path("a.txt").write_text(TEXT)
    Path("lines.txt").write_text("deed\nfaced\nbad cab\n" * 12)
    write_own_file(Path("m.h5"), SYMBOLS)
    write_own_file(Path("lines.h5"), SYMBOLS, "lines")
    write_own_file(Path("windows.h5"), SYMBOLS, targets="last", seq_length=10)
    return tmp_path


def shown(out: str) -> list[tuple[str, bool]]:
    """Return the characters of a coloured text, and whether each has a colour."""
    body = out.split("\n\n", 1)[1].rsplit("\n\n", 1)[0]
    found, coloured = [], False
    for style, character in re.findall(r"\x1b\[([\d;]+)m|(.)", body, re.DOTALL):
        if style:
            coloured = style != "0"
        else:
            found.append((character, coloured))
    return found


@pytest.mark.parametrize("model", ["m.h5", "windows.h5", "lines.h5"])
def test_a_text_is_coloured_where_it_is_surprising(run, monkeypatch, model):
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = "lines.txt" if model == "lines.h5" else "a.txt"
    result = run("evaluate", model, text, "--surprise")
    found = textgen.surprise(model, Path(text).read_text())
    assert result.status == 0
    assert "takes no colours" not in result.err
    title = f"{text}: {len(found.text)} characters, {describe(found.nats_per_char)}"
    assert result.out.splitlines()[0] == title
    drawn = [each for each in shown(result.out) if each[0] != "\n"]
    expected = np.nan_to_num(found.surprisal) >= 1
    assert [mark for mark, _ in drawn] == list(found.text.replace("\n", "↵"))
    assert [coloured for _, coloured in drawn] == expected.tolist()
    assert expected.any()
    assert expected.all() == (model == "lines.h5")
    assert "0–1" in result.out.splitlines()[-1]
    assert "5+" in result.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("nats", "level"),
    [(np.nan, 0), (0, 0), (0.99, 0), (1, 1), (4.2, 4), (5, 5), (99, 5), (np.inf, 5)],
)
def test_each_nat_is_a_colour_up_to_five(nats, level):
    assert looking._level(nats) == level


def test_without_colours_the_text_is_told_and_how_to_get_them(run, monkeypatch):
    result = run("evaluate", "m.h5", "a.txt", "--surprise")
    assert "\x1b" not in result.out
    assert TEXT.replace("\n", "↵\n") in result.out
    assert "takes no colours here: --html writes a page" in result.err
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    assert run("evaluate", "m.h5", "a.txt", "--surprise").err == result.err


def test_a_long_text_is_read_in_part_and_that_is_said(run, monkeypatch):
    monkeypatch.setattr(looking, "TERMINAL_CHARS", 100)
    out = run("evaluate", "m.h5", "a.txt", "--surprise").out
    assert out.startswith("a.txt: the first 100 of 216 characters, ")
    assert len(shown(out)) == 100 + TEXT[:100].count("\n")
    out = run("evaluate", "lines.h5", "lines.txt", "--surprise").out
    assert out.startswith("lines.txt: the first 95 of 228 characters, "), "whole lines"
    monkeypatch.setattr(looking, "TERMINAL_CHARS", 1)
    out = run("evaluate", "lines.h5", "lines.txt", "--surprise").out
    assert "the first 5 of" in out, "one line at least"
    Path("new.txt").write_text(TEXT + "☃")
    monkeypatch.setattr(looking, "TERMINAL_CHARS", 900)
    result = run("evaluate", "m.h5", "new.txt", "--surprise")
    assert result.out.startswith("new.txt: 216 characters, "), "but for one unknown"
    assert "'☃' (skipped): 1 of 217 characters" in result.err


def test_what_the_model_never_saw(run):
    sha256 = hashlib.sha256(TEXT.encode()).hexdigest()
    own = {"name": "a", "kind": "text", "sha256": sha256}
    trained = {"held_out": 0.25, "learning_rate": 1e-3, "schedule": "cosine"}
    write_own_file(Path("own.h5"), SYMBOLS, corpus=own, texts=[own | trained])
    out = run("evaluate", "own.h5", "--held-out", "--surprise").out
    figures = describe(textgen.evaluate("own.h5").nats_per_char)
    assert out.startswith(f"a, what the model never saw: 54 characters, {figures}")
    seen = run("evaluate", "own.h5", "a.txt", "--surprise").err
    assert "was trained on 75.0% of this text; --held-out measures the rest" in seen


def test_several_texts_follow_each_other(run):
    out = run("evaluate", "m.h5", "a.txt", "lines.txt", "--surprise").out
    alone = [
        run("evaluate", "m.h5", name, "--surprise").out
        for name in ("a.txt", "lines.txt")
    ]
    assert out == "\n".join(alone)


def test_units_are_a_table(run):
    result = run("evaluate", "m.h5", "a.txt", "--activations")
    found = textgen.activations("m.h5", TEXT).followers()
    title, note, heads, *rows = result.out.splitlines()
    assert title == "a.txt: 216 characters"
    assert "chosen in the first half" in note
    assert heads.split() == ["unit", "first", "half", "second", "half"]
    for row, each in zip(rows, found, strict=True):
        figures = f"{each.found:+.2f} {each.checked:+.2f}"
        expected = f"{each.feature} layer {each.layer}, unit {each.unit} {figures}"
        assert " ".join(row.split()) == expected
    assert len({len(row) for row in (heads, *rows)}) == 1, "columns stand in line"


@pytest.mark.parametrize("what", ["surprise", "activations"])
@pytest.mark.parametrize("model", ["m.h5", "windows.h5", "lines.h5"])
def test_a_page_is_written_and_its_path_is_the_result(run, what, model):
    text = "lines.txt" if model == "lines.h5" else "a.txt"
    result = run("evaluate", model, text, f"--{what}", "--html", "page.html")
    assert (result.status, result.out) == (0, "page.html\n")
    page = Path("page.html").read_text(encoding="utf-8")
    (data,) = re.findall(PAGE_DATA, page)
    assert json.loads(data)["text"] == Path(text).read_text()
    assert f"{model} reads {text}. " in page
    if what == "surprise":
        assert (
            describe(textgen.evaluate(model, Path(text).read_text()).nats_per_char)
            in page
        )


def test_a_page_of_a_long_text_has_its_beginning(run, monkeypatch):
    monkeypatch.setattr(looking, "SHOWN_CHARS", 210)
    for what in ("surprise", "activations"):
        result = run("evaluate", "m.h5", "a.txt", f"--{what}", "--html", "page.html")
        assert "a.txt: the first 210 of 216 characters" in result.err
        page = Path("page.html").read_text()
        assert "Shown: the first 210 of 216 characters." in page
        (data,) = re.findall(PAGE_DATA, page)
        assert json.loads(data)["text"] == TEXT[:210]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a.txt --surprise --activations", "one at a time"),
        ("a.txt --surprise --json", "--json prints figures, without --surprise"),
        ("a.txt --activations --json", "--json prints figures, without --activations"),
        (
            "a.txt --html page.html",
            "--html is a page of --surprise or of --activations",
        ),
        ("a.txt --surprise --html", "--html: expected one argument"),
        ("a.txt lines.txt --surprise --html page.html", "one TEXT, but received 2"),
        ("a.txt --surprise --html none/page.html", "choose another place by --html"),
        ("a.txt --surprise --html .", "no ordinary file"),
        ("a.txt --surprise --html a.txt", "a page that it replaces, but 'a.txt' is"),
        ("a.txt --activations --html m.h5", "'m.h5' is neither: choose another name"),
        ("short.txt --activations", "at least 200 characters, but TEXT has 5"),
        ("unknown.txt --surprise", "TEXT is too short"),
        ("unknown.txt --activations", "TEXT must have 1 to"),
        ("unknown.txt --surprise --strict", "'☃'"),
        ("--surprise", "a TEXT to measure is needed"),
    ],
)
def test_what_makes_no_sense_is_one_line(run, line, expected):
    Path("short.txt").write_text("a bed")
    Path("unknown.txt").write_text("☃" * 300)
    result = run("evaluate", "m.h5", *line.split())
    assert result.status == 2
    assert result.err.splitlines()[-1].startswith("error: ")
    assert expected in result.err.splitlines()[-1]
    assert not result.out.strip()
